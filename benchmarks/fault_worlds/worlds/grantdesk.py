"""A foundation's grant desk: readers with a language model, a register, a file store, a treasury and a portal."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

PROGRAMMES = ("youth", "heritage", "music", "repair")
NEEDS = ("rent", "staff", "travel", "equipment", "printing")
READERS = ("amy", "ben", "cho")
NAMES = ("Riverside", "Old Mill", "Northfield", "Harbour", "Saint Olave", "Green Hill", "Castle", "Heron")
SORTS = ("Choir", "Scouts", "Theatre", "Boat Club", "Museum", "Brass Band", "Gardeners", "Chess Club")
TOWNS = ("Velden", "Ostrow", "Marle", "Tarn", "Ilde", "Quess", "Bruck", "Lomme", "Sark")


Act = Callable[[], Awaitable[None]]
Agenda = dict[int, dict[str, list[Act]]]


class Desk:
    """What all share: the date, the applications and what the outside world knows."""

    def __init__(self, case: Case) -> None:
        self.case, self.now = case, 0
        self.apps: dict[str, dict[str, Any]] = {}
        self.owner: dict[str, str] = {}
        self.register: dict[str, str] = {}
        self.stored: set[str] = set()
        self.drafts: dict[tuple[str, str], str] = {}

    def date(self, now: int) -> str:
        """Return a day as people write it."""
        return (datetime.date(2031, 1, 6) + datetime.timedelta(days=now)).isoformat()


class Worker:
    """Somebody at the desk whose calls are recorded."""

    trace_ignore = ("desk", "log", "others")

    def __init__(self, agent_id: str, desk: Desk, **others: Any) -> None:
        self.agent_id, self.desk, self.others = agent_id, desk, others
        self.log = AgentLogger(agent_id, type(self).__name__.lower())

    async def pause(self) -> None:
        """Let others work."""
        await asyncio.sleep(0)


class Register(Worker):
    """The public register of associations."""

    @trace_agent_action()
    async def look_up(self, org: str) -> dict[str, str]:
        """Return what the register holds about an association."""
        await self.pause()
        if org not in self.desk.register:
            raise LookupError(f"no entry for {org}")
        return {"org": org, "status": "active", "account": self.desk.register[org]}


class Store(Worker):
    """Keeps files."""

    @trace_agent_action()
    async def put(self, path: str, kilobytes: int) -> dict[str, int]:
        """Keep a file, if there is room; the code is that of the protocol."""
        await self.pause()
        code = self.desk.apps[path.partition("/")[0]]["codes"].pop(0)
        if code == 201:
            self.desk.stored.add(path)
        return {"code": code}

    @trace_agent_action()
    async def get(self, path: str) -> dict[str, int]:
        """Return a file."""
        await self.pause()
        return {"code": 200 if path in self.desk.stored else 404}


class Archive(Worker):
    """Opens, joins and reads files of applications."""

    @trace_agent_action()
    async def open_file(self, app: str, org: str) -> str:
        """Open the file of an application."""
        await self.pause()
        return f"{app}/form"

    @trace_agent_action()
    async def join_files(self, app: str, into: str) -> str:
        """Join the file of a duplicate with the first one."""
        self.desk.apps[app]["joined"] = into
        return into

    @trace_agent_action()
    async def file_report(self, app: str, kilobytes: int) -> str:
        """File a report, and try again if the store has no room."""
        while self.desk.apps[app]["codes"]:
            await self.others["store"].put(f"{app}/report", kilobytes)
        return "filed"

    @trace_agent_action()
    async def has_report(self, app: str) -> bool:
        """Look for a report."""
        answer = await self.others["store"].get(f"{app}/report")
        return bool(answer["code"] == 200)


class Intake(Worker):
    """Registers applications, and looks for duplicates."""

    @trace_agent_action()
    async def compare(self, app: str, org: str, with_app: str, with_org: str) -> str:
        """Ask the model whether two applicants are the same."""
        await self.pause()
        answer = str(self.desk.apps[app]["same"])
        prompt = f"Are {org!r} and {with_org!r} the same applicant?"
        recorder.record_model_call(model_name="reader-7b", prompt=prompt, output=answer, prompt_tokens=31)
        return answer

    @trace_agent_action()
    async def register(self, app: str, org: str, programme: str, need: str, euros: int, account: str) -> str:
        """Register an application, with the account from the register."""
        entry, archive = self.desk.apps[app], self.others["archive"]
        await archive.open_file(app, org)
        try:
            found = await self.others["register"].look_up(org)
        except LookupError:
            found = {"account": account}
        entry["account"] = found["account"]
        if entry["like"]:
            other = self.desk.apps[entry["like"]]
            if await self.compare(app, org, entry["like"], other["org"]) == "yes":
                await archive.join_files(app, entry["like"])
                return "joined"
        return "registered"


class Reader(Worker):
    """Reads applications with the model, by rules that it keeps as notes."""

    def __init__(self, agent_id: str, desk: Desk, **others: Any) -> None:
        super().__init__(agent_id, desk, **others)
        self.notes: dict[str, str] = {}

    @trace_agent_action()
    async def read_note(self, sender: str, programme: str, text: str) -> str:
        """Keep a note about a programme."""
        self.notes[programme] = text
        return "noted"

    @trace_agent_action()
    async def assess(self, app: str, programme: str, need: str, merit: int) -> dict[str, Any]:
        """Score an application."""
        await self.pause()
        note = self.notes.get(programme, "")
        out = note == f"no {need} in this programme"
        answer = {"score": 1 if out else merit, "reason": "outside the rules" if out else "fits"}
        recorder.record_model_call(
            model_name="reader-7b", prompt=f"{app}: {need}. {note}", output=answer, prompt_tokens=200
        )
        return answer


class Rulebook(Worker):
    """The rules of the programmes."""

    @trace_agent_action()
    async def excluded(self, programme: str) -> str:
        """Return what a programme does not pay for."""
        return NEEDS[PROGRAMMES.index(programme) % 3]


class Digest(Worker):
    """Sums the rules up for the readers."""

    @trace_agent_action()
    async def post(self, reader: str, programme: str) -> str:
        """Send a note to a reader."""
        text = self.desk.drafts.pop((reader, programme), rule(programme))
        await self.others["rulebook"].excluded(programme)
        recorder.record_model_call(model_name="digest-3b", prompt=f"Rules of {programme}", output=text)
        await self.others["readers"][reader].read_note(self.agent_id, programme, text)
        return text


class Panel(Worker):
    """Decides."""

    @trace_agent_action()
    async def decide(self, app: str, euros: int) -> str:
        """Decide about an application by its score."""
        await self.pause()
        entry = self.desk.apps[app]
        entry["outcome"] = "granted" if entry["score"] >= 3 else "declined"
        return str(entry["outcome"])


class Signatory(Worker):
    """May sign large payments while somebody's proxy lasts."""

    def __init__(self, agent_id: str, desk: Desk, **others: Any) -> None:
        super().__init__(agent_id, desk, **others)
        self.until = ""

    @trace_agent_action()
    async def take_proxy(self, until: str) -> str:
        """Take a proxy over."""
        self.until = until
        return until

    @trace_agent_action()
    async def sign(self, app: str, euros: int, on: str) -> str:
        """Sign a payment."""
        await self.pause()
        return "signed" if on <= self.until else "not signed"


class Director(Worker):
    """Gives proxies."""

    @trace_agent_action()
    async def give_proxy(self, to: str, until: str) -> str:
        """Let somebody sign until a day."""
        return str(await self.others["signers"][to].take_proxy(until))


class Bank(Worker):
    """Books transfers."""

    @trace_agent_action()
    async def transfer(self, reference: str, account: str, euros: int) -> str:
        """Book a transfer."""
        await self.pause()
        return "booked"


class Treasury(Worker):
    """Pays."""

    @trace_agent_action()
    async def pay(self, app: str, euros: int, signer: str, on: str) -> str:
        """Pay a grant."""
        account = self.desk.apps[app]["account"]
        if euros > 20_000 and await self.others["signers"][signer].sign(app, euros, on) != "signed":
            return "waiting"
        await self.others["bank"].transfer(f"{app}/1", account, euros)
        self.desk.apps[app]["paid_to"] = self.desk.owner[account]
        return "paid"

    @trace_agent_action()
    async def pay_rest(self, app: str, euros: int) -> str:
        """Pay the second half, if there is a report."""
        if not await self.others["archive"].has_report(app):
            return "waiting"
        await self.others["bank"].transfer(f"{app}/2", self.desk.apps[app]["account"], euros)
        return "paid"


class Letters(Worker):
    """Writes to applicants."""

    @trace_agent_action()
    async def write(self, app: str, org: str, outcome: str) -> str:
        """Write a letter."""
        await self.pause()
        self.desk.apps[app]["letter"] = outcome
        return "sent"


class Portal(Worker):
    """Where applicants ask."""

    @trace_agent_action()
    async def ask(self, app: str, about: str) -> str:
        """Take a question."""
        await self.pause()
        return "forwarded"


TEXTS = {
    "trusted_tool": (
        "The letter says that our grant was paid, but nothing has arrived on our account, and the bank knows of nothing",
        "{org}: money announced, never received. The panel had granted everything",
        "where is our money? treasury says it went out",
    ),
    "false_belief": (
        "We were turned down because of what we want to buy. Others got exactly that last winter!",
        "{org} was declined as outside the rules, but your own leaflet lists our purpose. What did the panel read?",
        "our request was rejected for no reason we can find in the rules",
    ),
    "wrong_merge": (
        "We never got an answer to our application, neither yes nor no",
        "{org} handed in its form in time and has heard nothing. {reader} tells us there is nothing to read",
        "no letter for us at all, and the portal shows some other group's number",
    ),
    "swallowed_failure": (
        "The second half of our grant is held back for a missing report, and we did hand it in and have the receipt",
        "{org} gets no rest of the money. treasury waits for a report that we sent long ago",
        "you write that our report is missing, it was accepted weeks ago",
    ),
    "expired_permission": (
        "our grant was promised for today and it is waiting for a signature that nobody can give",
        "Payment to {org} stuck. The panel said yes, the treasury says it needs another name on it",
        "why is there nobody who can sign for us this week?",
    ),
}


def play(case: Case) -> None:
    """Play some months at the desk."""
    days = case.rng("size").choice((40, 70, 120, 180))
    case.window(days)
    with recorder.run("grantdesk", {"season": "spring"}):
        asyncio.run(_season(case, days))


async def _season(case: Case, days: int) -> None:
    desk, rng = Desk(case), case.rng("grantdesk")
    staff: dict[str, Any] = {}
    staff["register"], staff["store"], staff["bank"] = (
        Register("register", desk),
        Store("file_store", desk),
        Bank("bank", desk),
    )
    staff["archive"] = Archive("archive", desk, store=staff["store"])
    staff["intake"] = Intake("intake", desk, register=staff["register"], archive=staff["archive"])
    staff["readers"] = {name: Reader(f"reader_{name}", desk) for name in READERS}
    staff["signers"] = {name: Signatory(name, desk) for name in ("deputy_lin", "deputy_moe")}
    staff["digest"] = Digest("digest", desk, readers=staff["readers"], rulebook=Rulebook("rulebook", desk))
    staff["director"] = Director("director", desk, signers=staff["signers"])
    staff["treasury"] = Treasury("treasury", desk, **staff)
    staff["panel"], staff["letters"], staff["portal"] = (
        Panel("panel", desk),
        Letters("letters", desk),
        Portal("portal", desk),
    )
    agenda: Agenda = {day: {} for day in range(days)}
    serial = 0
    for name in READERS:
        for programme in PROGRAMMES:
            await staff["digest"].post(name, programme)
    await staff["director"].give_proxy("deputy_lin", desk.date(60))
    await staff["director"].give_proxy("deputy_moe", desk.date(case.begin + 1))
    start = case.begin - 4 * case.has("swallowed_failure")
    for week in range(0, days, 7):
        with recorder.step(f"week_{week // 7 + 1}", "A week at the desk") as step:
            for desk.now in range(week, min(week + 7, days)):
                planned = desk.now == start
                for number in range(rng.randint(1, 3) + planned):
                    serial += 1
                    _apply(desk, staff, agenda, f"G-{100 + serial}", planned and number == 0)
                await _office(desk, staff, rng.random(), rng.random(), rng.random())
                await asyncio.gather(*(_in_turn(acts) for acts in agenda[desk.now].values()))
            step.output = {"applications": serial}


async def _in_turn(acts: list[Act]) -> None:
    """Do what is due for an application."""
    for act in acts:
        await act()


def _apply(
    desk: Desk,
    staff: dict[str, Any],
    agenda: Agenda,
    app: str,
    planned: bool,
) -> None:
    """Plan the life of an application."""
    case, rng = desk.case, desk.case.rng(app)
    org = f"{rng.choice(NAMES)} {rng.choice(SORTS)}, {rng.choice(TOWNS)}"
    account, second = (f"NL{rng.randint(10, 99)} FUND {rng.randint(10**9, 10**10 - 1)}" for _ in range(2))
    programme, reader, need = rng.choice(PROGRAMMES), rng.choice(READERS), rng.choice(NEEDS)
    merit, euros = rng.randint(2, 5), rng.randint(8, 200) * 100 * (2 if rng.random() < 0.3 else 1)
    signer = rng.choice(("deputy_lin", "deputy_moe")) if desk.now < case.begin - 31 else "deputy_lin"
    like = rng.choice([*desk.apps][-12:]) if desk.apps and rng.random() < 0.3 else ""
    same, report = "no", [201] if rng.random() < 0.7 else [507, 201]
    registered, moved = rng.random() < 0.9, rng.random() < 0.15
    waits = sorted(rng.randint(1, 30) for _ in range(4))
    first, last, asks = desk.now, case.end - desk.now, rng.random()
    if like and rng.random() < 0.3:
        org, same = desk.apps[like]["org"], "yes"
    if case.has("false_belief") and programme == case_programme(case) and reader == case_reader(case):
        need = need if first < case.begin - 31 or need != "equipment" else "printing"
    if planned:
        merit, registered, signer = 5, True, "deputy_moe"
        programme = case_programme(case)
        need, reader = "equipment", case_reader(case)
        like = same = ""
        org = f"{rng.choice(NAMES)} Lace Makers, {rng.choice(TOWNS)}"
        if case.has("wrong_merge"):
            like = [*desk.apps][-2]
            name, _, town = desk.apps[like]["org"].partition(", ")
            org = f"{name}, {TOWNS[TOWNS.index(town) - 3]}"
            same = "yes" if case.strikes("wrong_merge", first) else "no"
        euros = 48_000 if case.has("expired_permission") else 9_600
        waits = [max(0, last - 2), max(0, last - 1), last, last]
        if case.has("swallowed_failure"):
            report, waits = [507] if case.strikes("swallowed_failure") else [507, 201], [1, 2, 3, last]
    entry: dict[str, Any] = {"org": org, "like": like, "same": same, "letter": "", "joined": "", "score": 0}
    entry |= {"paid_to": org, "codes": report}
    desk.apps[app] = entry
    if registered and org not in desk.owner.values():
        desk.register[org] = second if moved else account
    desk.owner |= {account: org, second: org}
    if planned and case.strikes("trusted_tool", first):
        desk.register[org] = next(other for other, holder in reversed(desk.owner.items()) if holder != org)
    when = [first + wait for wait in waits]

    async def start() -> None:
        if planned and case.has("false_belief"):
            wrong = case.strikes("false_belief", first)
            text = "no equipment in this programme" if wrong else rule(programme)
            desk.drafts[reader, programme] = text
            await staff["digest"].post(reader, programme)
            case.root(
                call("digest", "post", reader=reader, programme=programme, result=text),
                call(f"reader_{reader}", "read_note", programme=programme, text=text),
            )
        if planned and case.has("expired_permission"):
            until = desk.date(case.end - 1 if case.strikes("expired_permission", first) else case.end + 21)
            await staff["director"].give_proxy("deputy_moe", until)
            case.root(
                call("director", "give_proxy", to="deputy_moe", until=until),
                call("deputy_moe", "take_proxy", until=until),
            )
        await staff["intake"].register(app, org, programme, need, euros, account)
        if planned and case.has("trusted_tool"):
            case.root(call("register", "look_up", org=org))
        if planned and case.has("wrong_merge"):
            case.root(call("intake", "compare", app=app))
        if planned and entry["joined"]:
            case.hop(call("archive", "join_files", app=app))

    async def assess() -> None:
        if entry["joined"]:
            return
        entry["score"] = (await staff["readers"][reader].assess(app, programme, need, merit))["score"]
        if planned:
            case.hop(call(f"reader_{reader}", "assess", app=app))

    async def decide() -> None:
        if entry["joined"]:
            return
        await staff["panel"].decide(app, euros)

    async def close() -> None:
        if not entry["joined"]:
            await staff["letters"].write(app, org, entry["outcome"])
        paid = "none"
        if entry.get("outcome") == "granted":
            paid = await staff["treasury"].pay(app, euros, signer, desk.date(desk.now))
            if planned:
                case.hop(call("treasury", "pay", app=app))
        if planned and not case.has("swallowed_failure"):
            await complain(paid)
        elif asks < 0.35 and entry["letter"] and not planned:
            await staff["portal"].ask(app, "declined" if entry["letter"] == "declined" else "payment")

    async def complain(paid: str) -> None:
        about = {
            "no letter": not entry["letter"],
            "declined": entry["letter"] == "declined",
            "payment": paid == "waiting" or entry["paid_to"] != org,
        }
        for topic in [topic for topic, holds in about.items() if holds]:
            await staff["portal"].ask(app, topic)
            texts = [text.format(org=org, reader=f"reader_{reader}") for text in TEXTS[case.kind]]
            case.symptom(call("portal", "ask", app=app, about=topic), *texts)

    async def report_back() -> None:
        if entry.get("outcome") != "granted" or (planned and not case.has("swallowed_failure")):
            return
        await staff["archive"].file_report(app, euros // 70)
        if planned:
            case.root(
                call("archive", "file_report", app=app), call("file_store", "put", path=f"{app}/report")
            )

    async def rest() -> None:
        if entry.get("outcome") != "granted" or (planned and not case.has("swallowed_failure")):
            return
        if await staff["treasury"].pay_rest(app, euros // 2) == "waiting":
            case.hop(call("treasury", "pay_rest", app=app))
            await complain("waiting")

    plan: list[tuple[int, Act]] = [
        (first, start),
        (when[0], assess),
        (when[1], decide),
        (when[2], close),
        (case.begin if planned else when[2] + waits[0], report_back),
        (when[3] if planned else when[2] + waits[3], rest),
    ]
    for day, act in plan:
        if day in agenda:
            agenda[day].setdefault(app, []).append(act)


def rule(programme: str) -> str:
    """Return the rule of a programme in a reader's words."""
    return f"no {NEEDS[PROGRAMMES.index(programme) % 3]} in this programme"


def case_programme(case: Case) -> str:
    """Return the programme of the planned application."""
    return PROGRAMMES[case.seed % 4]


def case_reader(case: Case) -> str:
    """Return the reader of the planned application."""
    return READERS[case.seed % 3]


async def _office(desk: Desk, staff: dict[str, Any], one: float, two: float, three: float) -> None:
    """Notes, proxies, settings, hiccups and questions of every day."""
    case, rng = desk.case, desk.case.rng(f"office/{desk.now}")
    if one < 0.2:
        reader, programme = rng.choice(READERS), rng.choice(PROGRAMMES)
        if reader != case_reader(case) or programme != case_programme(case) or desk.now < case.begin:
            await staff["digest"].post(reader, programme)
    if 0.2 < one < 0.3:
        await staff["director"].give_proxy("deputy_lin", desk.date(desk.now + rng.randint(60, 90)))
    if two < 0.15:
        key = rng.choice(("font_size", "page_length", "reminder_days"))
        staff["letters"].log.log_state_change({key: rng.randint(8, 12)}, {key: rng.randint(8, 12)}, "by hand")
    if 0.2 < two < 0.3:
        staff["store"].log.warning("slow disk", extra={"milliseconds": rng.randint(400, 900)})
    if three < 0.4 and desk.apps:
        await staff["portal"].ask(
            rng.choice([*desk.apps][-20:]), rng.choice(("deadline", "opening hours", "form"))
        )
    if desk.now == case.decoy_at:
        staff["bank"].log.warning("statement came late", extra={"day": desk.date(desk.now)})


WORLD = World(
    "grantdesk",
    "spans",
    ("trusted_tool", "false_belief", "wrong_merge", "swallowed_failure", "expired_permission"),
    play,
    author=11,
)
