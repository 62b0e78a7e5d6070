"""A county court: files are opened, hearings fixed, notices sent and cases called on. Messages and `causes=`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

FIRMS = ("Kestrel", "Rowan", "Alder", "Finch", "Larch", "Heron")
JUDGES = ("Hale", "Denning", "Bingham", "Woolf")
USHERS = ("Orla", "Basil", "Minna")
OFFICES = ("intake_desk", "hearings_office", "postroom", "translation_service", "cell_escort", "enforcement")
NAMES = ("Novak", "Bauer", "Silva", "Petrov", "Okafor", "Lindqvist", "Haddad", "Marsh")
STREETS = ("Quay Street", "Mill Row", "Station Road", "Vine Lane")
TONGUES = ("Polish", "Tamil", "Somali")


@dataclass
class Matter:
    """One case before the court, with the events that made it what it is."""

    number: str
    firms: tuple[str, str]
    judge: str
    usher: str
    party: str
    address: str
    tongue: str = ""
    custody: bool = False
    day: int = 0
    opened: str = ""
    told: dict[str, str] = field(default_factory=dict)
    order_until: int = 0
    order: str = ""
    excuse: str = ""
    joined: list[Matter] = field(default_factory=list)


class Court:
    """The court: its people, its diary and the matter in which the plan of the case shows."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("court")
        roles = (
            dict.fromkeys(FIRMS, "solicitor")
            | dict.fromkeys(JUDGES, "judge")
            | dict.fromkeys(USHERS, "usher")
        )
        roles |= dict.fromkeys(OFFICES, "office")
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.settings = SystemLogger("courthouse")
        self.diary: dict[int, list[Matter]] = {}
        self.opened = 0
        self.letters: list[tuple[int, str, str]] = []
        self.planned: Matter | None = None
        self.stranger: Matter | None = None

    def act(self, who: str, name: str, *causes: str, **data: object) -> str:
        """Record one act that these events led to."""
        return self.log[who].log_action(name, dict(data), causes=causes or None)

    def tell(self, who: str, to: str, *causes: str, **body: object) -> tuple[str, str]:
        """Send a message and let it arrive; return both events."""
        message = self.log[who].send(to, dict(body), causes=causes or None)
        return message.event_id, self.log[to].receive(message)

    def say(self, event: str, matter: Matter, *texts: str) -> None:
        """A user complains, in one of these wordings."""
        first, second = matter.firms
        fill = {"judge": matter.judge, "usher": matter.usher, "first": first, "second": second}
        fill |= {"party": matter.party, "number": matter.number}
        self.case.symptom(event, *(text.format(**fill) for text in texts))


def _open(
    court: Court, *, tongue: str = "", custody: bool = False, party: str = "", against: Matter | None = None
) -> Matter:
    """Take in a claim, or one that answers another (`against`), and open its file."""
    rng = court.rng
    court.opened += 1
    first, second = rng.sample(FIRMS, 2)
    address = f"{rng.randint(1, 90)} {rng.choice(STREETS)}"
    party = party or f"{rng.choice('ABCDEFGH')}. {rng.choice(NAMES)}"
    if against is not None:
        second, first = against.firms
        party, address = against.party, against.address
    number = f"K{court.opened:04}"
    matter = Matter(
        number, (first, second), rng.choice(JUDGES), rng.choice(USHERS), party, address, tongue, custody
    )
    _, got = court.tell(first, "intake_desk", claim="rent" if rng.random() < 0.5 else "debt", against=party)
    needs = {"interpreter": tongue} if tongue else {}
    matter.opened = court.act(
        "intake_desk", "open_file", got, file=number, party=party, address=address, custody=custody, **needs
    )
    return matter


def _fix(court: Court, matter: Matter, day: int, *, mine: bool) -> None:
    """Fix the day of the hearing, and tell everybody who has to be there."""
    case, matter.day = court.case, day
    data: dict[str, object] = {"file": matter.number, "day": day, "judge": matter.judge}
    _, got = court.tell(
        "intake_desk", "hearings_office", matter.opened, file=matter.number, tongue=matter.tongue
    )
    fixed = court.act("hearings_office", "fix_hearing", got, **data)
    matter.told["hearings_office"] = fixed
    court.diary.setdefault(day, []).append(matter)
    to = [*matter.firms, matter.judge, *(["translation_service"] if matter.tongue else [])]
    strange = court.rng.choice([firm for firm in FIRMS if firm not in matter.firms])
    for who in to:
        if mine and who == "translation_service" and case.strikes("omitted_message"):
            case.root(fixed)
            continue
        reader = who
        if mine and who == matter.firms[1] and case.strikes("wrong_recipient"):
            reader = strange
        sent, got = court.tell("hearings_office", reader, fixed, **data, language=matter.tongue or "English")
        noted = court.act(
            reader, "enter_in_diary" if reader == who else "put_on_file", got, file=matter.number, day=day
        )
        if reader == who:
            matter.told[who] = noted
        else:
            case.root(sent)
            case.hop(noted)
        if mine and case.strikes("omitted_message") and who == matter.judge:
            case.root(sent)
    if court.rng.random() < 0.15:  # a firm that only follows the matter is told as well
        _, got = court.tell("hearings_office", strange, fixed, **data, language="English")
        court.act(strange, "put_on_file", got, file=matter.number, day=day)


def _order(court: Court, matter: Matter, until: int, *, mine: bool) -> None:
    """The duty judge orders that a prisoner be brought to court, up to some day."""
    duty = court.rng.choice([judge for judge in JUDGES if judge != matter.judge])
    matter.order_until = until
    signed = court.act(
        duty, "sign_order", matter.opened, file=matter.number, prisoner=matter.party, valid_until=until
    )
    _, got = court.tell(duty, "cell_escort", signed, file=matter.number, prisoner=matter.party)
    matter.order = court.act("cell_escort", "plan_transport", got, prisoner=matter.party, day=matter.day)
    if mine:
        court.case.root(signed)
        court.case.hop(matter.order)


def _excuse(court: Court, matter: Matter, now: int, *, mine: bool) -> None:
    """A firm posts a certificate for a client who cannot come; the post room sorts it."""
    item = f"P{now}-{matter.number}"
    _, got = court.tell(
        matter.firms[1], "postroom", matter.told[matter.firms[1]], item=item, file=matter.number
    )
    tray = "unclaimed" if mine and court.case.strikes("dead_letter", now) else matter.judge
    sorted_in = court.act("postroom", "sort", got, item=item, tray=tray)
    if mine:
        court.case.root(sorted_in)
    if tray == matter.judge:
        _, got = court.tell("postroom", matter.judge, sorted_in, item=item, file=matter.number)
        matter.excuse = court.act(matter.judge, "excuse_party", got, file=matter.number, party=matter.party)


def _post(court: Court, now: int) -> None:
    """Other post: leaflets stay unclaimed, some letters wait a day until somebody asks for them."""
    rng = court.rng
    for due, item, office in [letter for letter in court.letters if letter[0] == now]:
        court.letters.remove((due, item, office))
        court.act(office, "fetch_item", item=item, tray="unclaimed")
    for number in range(rng.randint(0, 2)):
        item = f"P{now}-{number}"
        tray = rng.choice(("unclaimed", *JUDGES[:2], "enforcement"))
        court.act("postroom", "sort", item=item, tray=tray)
        if tray == "unclaimed" and rng.random() < 0.4:
            court.letters.append((now + 1, item, rng.choice(OFFICES[:2])))


def _intake(court: Court, now: int, days: int) -> None:
    """Open the files of the day."""
    rng, case = court.rng, court.case
    for _ in range(rng.randint(1, 3)):
        tongue = rng.choice(TONGUES) if rng.random() < 0.3 else ""
        matter = _open(court, tongue=tongue, custody=rng.random() < 0.25)
        _fix(court, matter, now + round(math.exp(rng.uniform(0, math.log(0.6 * days)))), mine=False)
        if matter.custody:
            free = rng.random() < 0.15  # let out before the hearing: a short order does no harm
            until = max(now, matter.day - 2) if free else matter.day + rng.choice((0, 2, 5, 14))
            _order(court, matter, until, mine=False)
            if free:
                matter.custody = False
                court.act("cell_escort", "release", matter.order, prisoner=matter.party)
        elif rng.random() < 0.15:
            _excuse(court, matter, now, mine=False)
        if rng.random() < 0.15:
            counter = _open(court, against=matter)
            court.act("intake_desk", "join_files", counter.opened, file=matter.number, joined=counter.number)
            matter.joined.append(counter)
    if now != case.begin:
        return
    tongue, held = rng.choice(TONGUES), case.has("expired_permission")
    mine = court.planned = _open(court, tongue=tongue if case.has("omitted_message") else "", custody=held)
    _fix(court, mine, case.end, mine=True)
    if held:
        early = now + (case.end - now - 1) // 2
        _order(court, mine, early if case.strikes("expired_permission", now) else case.end + 2, mine=True)
    if case.has("dead_letter"):
        _excuse(court, mine, now, mine=True)
    if case.has("wrong_merge"):
        counter = _open(court, against=mine)
        court.stranger = stranger = _open(court, party=mine.party)
        other = stranger if case.strikes("wrong_merge", now) else counter
        mine.joined.append(other)
        case.root(court.act("intake_desk", "join_files", other.opened, file=mine.number, joined=other.number))


def _hear(court: Court, matter: Matter, now: int) -> None:
    """Call a matter on, see who is there, and decide."""
    rng, case, mine = court.rng, court.case, matter is court.planned
    luck, result = rng.random(), rng.choice(("possession", "payment", "dismissed"))
    called = court.act(
        matter.usher, "call_on", matter.told["hearings_office"], file=matter.number, room=rng.randint(1, 3)
    )
    if mine:
        case.hop(called)
    if matter.custody:
        if matter.order_until < now:
            stays = court.act("cell_escort", "stand_down", matter.order, prisoner=matter.party)
            case.hop(stays)
            event = court.act(
                matter.judge, "adjourn", called, stays, file=matter.number, reason="defendant not here"
            )
            court.say(
                event,
                matter,
                "my brother should have been in court today and he was simply left in his cell",
                "{party} was not brought up, {usher} called the name three times",
                "we all waited for the man from the prison, Judge {judge} sent us home again",
            )
            return
        court.act("cell_escort", "bring_up", matter.order, prisoner=matter.party)
    missing = matter.firms[1] not in matter.told
    for firm in matter.firms:
        if firm in matter.told and (mine or luck > 0.04 or firm == matter.firms[0]):
            court.act(firm, "appear", called, matter.told[firm], file=matter.number)
    if missing or (luck <= 0.04 and not mine):
        event = court.act(matter.judge, "default_judgment", called, file=matter.number, against=matter.party)
        if missing:
            court.say(
                event,
                matter,
                "I lost my case without anybody speaking for me. My lawyers say they knew nothing of a hearing",
                "judgment against {party} in their absence, {second} never turned up",
                "{number} was decided behind our backs. How can {judge} do that",
            )
        return
    if matter.tongue:
        here = "translation_service" in matter.told
        if here and (mine or luck > 0.1):
            court.act("translation_service", "interpret", called, file=matter.number, language=matter.tongue)
        elif here:
            ill = court.log["translation_service"].warning("interpreter is ill", {"file": matter.number})
            court.act(matter.judge, "interpret_by_phone", called, ill, file=matter.number)
        else:
            event = court.act(matter.judge, "adjourn", called, file=matter.number, reason="no interpreter")
            court.say(
                event,
                matter,
                "my client could not understand a word and nobody was there to translate",
                "{judge} had to stop the hearing, no one spoke the language of {party}",
                "third time off work for nothing: hearing broken off because nobody could talk with the other side",
            )
            return
    if matter.excuse:
        court.act(matter.judge, "put_off", called, matter.excuse, file=matter.number)
        return
    if mine and case.has("dead_letter"):
        event = court.act(
            matter.judge, "fine_absent", called, file=matter.number, party=matter.party, pounds=300
        )
        court.say(
            event,
            matter,
            "fined 300 pounds for not coming although I sent in a doctor's note",
            "{party} was in hospital, we wrote that to the court, and {judge} fines them",
            "a fine for being ill? The certificate was handed in in good time",
        )
        return
    if mine and case.has("wrong_merge"):
        result = "possession"
    decided = court.act(matter.judge, "decide", called, file=matter.number, result=result)
    if result == "possession":
        files = [matter, *matter.joined]
        _, got = court.tell(matter.judge, "enforcement", decided, files=[one.number for one in files])
        if mine and case.has("wrong_merge"):
            case.trigger(decided)
            case.hop(decided, got)
        for one in files:
            event = court.act("enforcement", "change_locks", got, file=one.number, address=one.address)
            if one is court.stranger:
                court.say(
                    event,
                    matter,
                    "I came home and strangers had changed my locks. I never owed anybody any rent",
                    f"the bailiffs went to the wrong door, nothing was ever decided about {one.address}",
                    "a tenant of ours stands in the street; {judge} says that this was not in the judgment",
                )


def _house(court: Court, now: int) -> None:
    """Chores, settings and mishaps of the house."""
    rng = court.rng
    if rng.random() < 0.4:
        chore = rng.choice(("test_microphones", "count_chairs", "water_plants"))
        court.act(rng.choice(USHERS), chore, room=rng.randint(1, 3))
    if rng.random() < 0.12:
        name = rng.choice(("heating_degrees", "screen_brightness", "list_font_size"))
        court.settings.log_config(name, rng.randint(10, 14), rng.randint(15, 21))
    if rng.random() < 0.1:
        lost = court.log[rng.choice(JUDGES)].warning("recording stopped", {"room": rng.randint(1, 3)})
        court.act(rng.choice(USHERS), "restart_recording", lost)
    if now == court.case.decoy_at:
        court.log[rng.choice(USHERS)].warning(
            "fire alarm, building cleared", {"minutes": rng.randint(10, 40)}
        )


def play(case: Case) -> None:
    """Play a term of the court."""
    court = Court(case)
    days = court.rng.choice((12, 30, 70, 130))
    case.window(days)
    for now in range(days):
        with tick(now):
            _house(court, now)
            _post(court, now)
            _intake(court, now, days)
            for matter in court.diary.pop(now, ()):
                _hear(court, matter, now)


WORLD = World(
    "courtlist",
    "edges",
    ("omitted_message", "wrong_recipient", "dead_letter", "expired_permission", "wrong_merge"),
    play,
    author=10,
)
