"""An orchestra on tour: programmes, things that halls provide, permits of soloists, and letters to hotels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

CITIES = ("Ghent", "Graz", "Genoa", "Malmo", "Mainz", "Bergen", "Basel", "Porto")
LEADERS = ("leader_strings", "leader_winds", "leader_brass", "leader_drums")
SOLOISTS = ("Ilse Brandt", "Tomas Reyes", "Yuki Mori", "Noor Haddad", "Pavel Sykora")
WORKS = ("Dvorak 7", "Sibelius 2", "Brahms 3", "Nielsen 4", "Haydn 88", "Ravel La Valse", "Elgar 1")
THINGS = ("harp", "celesta", "tubular bells", "podium", "choir risers", "organ tuning")
NOTES = ("new bowings", "solo at letter F", "mute from bar 40", "page turn")


@dataclass
class Concert:
    """A concert, with what was arranged for it and the events that tell of it."""

    mark: str
    day: int
    city: str
    soloist: str
    work: str
    thing: str
    told: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    permit: tuple[int, str] = (-1, "")
    rooms: dict[str, str] = field(default_factory=dict)
    target: bool = False

    @property
    def hall(self) -> str:
        """The hall in which it takes place."""
        return f"hall_{self.city}"

    @property
    def hotel(self) -> str:
        """The hotel where the orchestra sleeps."""
        return f"hotel_{self.city}"


class Tour:
    """The tour, played day by day from an agenda."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(65, 110)
        self.begin, self.end = case.window(self.days)
        roles = {f"{kind}_{city}": kind for city in CITIES for kind in ("hall", "hotel", "border")}
        roles |= dict.fromkeys(LEADERS, "leader") | dict.fromkeys(SOLOISTS, "soloist")
        roles |= {
            name: name
            for name in ("tour_office", "library", "stage", "consulate", "mailroom", "coach", "critic")
        }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        who = case.rng("who")
        self.left_out = who.choice(LEADERS)
        self.city, self.mixed_up = who.sample(CITIES, 2)
        self.soloist = who.choice(SOLOISTS)
        self.now = 0
        self.numbers = iter(range(200, 9_999))
        self.agenda: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.pile: list[tuple[Concert, str, str, str]] = []
        self.concerts = [
            self.plan(day) for day in range(2, self.days) if day == self.end or who.random() < 0.45
        ]

    def plan(self, day: int) -> Concert:
        """Plan a concert and put into the agenda when each thing is arranged for it."""
        rng, target = self.case.rng(f"concert {day}"), day == self.end
        concert = Concert(
            f"c{day:03}",
            day,
            self.city if target else rng.choice(CITIES),
            self.soloist if target else rng.choice(SOLOISTS),
            rng.choice(WORKS),
            rng.choice(THINGS),
            target=target,
        )
        acts = {
            "wrong_recipient": self.order_thing,
            "expired_permission": self.get_permit,
            "dead_letter": self.write_to_hotel,
        }
        for kind, act in acts.items():
            on = self.begin if target and self.case.has(kind) else max(0, day - self.lead(rng))
            self.agenda[on].append(partial(act, concert))
        change = self.begin if target else max(1, day - self.lead(rng))
        if (target and self.case.has("omitted_message")) or rng.random() < 0.3:
            self.agenda[change].append(partial(self.change_work, concert))
            self.agenda[max(0, change - self.lead(rng))].append(partial(self.fix_work, concert))
        else:
            self.agenda[max(0, day - self.lead(rng))].append(partial(self.fix_work, concert))
        self.agenda[day].append(partial(self.perform, concert))
        return concert

    def lead(self, rng: Random) -> int:
        """Draw how many days ahead something is arranged."""
        return max(1, round(math.exp(rng.uniform(0, math.log(0.6 * self.days)))))

    def tell(
        self, sender: str, to: str, body: dict[str, object], because: str | list[str]
    ) -> tuple[str, str]:
        """Send a message and let it be read; return the events of both."""
        message = self.log[sender].send(to, body, causes=because)
        return message.event_id, self.log[to].receive(message)

    # ---- programmes

    def fix_work(self, concert: Concert) -> None:
        """Fix what is played, and tell the library and all leaders."""
        data = {"concert": concert.mark, "city": concert.city, "work": concert.work}
        self.spread(concert, self.log["tour_office"].log_action("fix_programme", data), LEADERS)

    def change_work(self, concert: Concert) -> None:
        """Change what is played, and tell the library and all leaders."""
        case = self.case
        rng = case.rng(f"change {concert.mark}")
        concert.work = rng.choice([work for work in WORKS if work != concert.work])
        data = {"concert": concert.mark, "city": concert.city, "work": concert.work}
        changed = self.log["tour_office"].log_action("fix_programme", data)
        planned = concert.target and case.has("omitted_message")
        struck = planned and case.strikes("omitted_message", self.now)
        sent = self.spread(
            concert, changed, [one for one in LEADERS if not (struck and one == self.left_out)]
        )
        if planned:
            case.root(changed, *sent)

    def spread(self, concert: Concert, because: str, leaders: list[str] | tuple[str, ...]) -> list[str]:
        """Tell the library and some leaders what is played; return the messages."""
        sent = []
        for to in ("library", *leaders):
            message, got = self.tell(
                "tour_office",
                to,
                {"concert": concert.mark, "on": concert.day, "plays": concert.work},
                because,
            )
            concert.told[to] = (concert.work, got)
            sent.append(message)
        return sent

    # ---- things, permits, letters

    def order_thing(self, concert: Concert) -> None:
        """Ask the hall for something that the orchestra does not carry."""
        case, to = self.case, concert.hall
        planned = concert.target and case.has("wrong_recipient")
        if planned and case.strikes("wrong_recipient", self.now):
            to = f"hall_{self.mixed_up}"
        noted = self.log["stage"].log_action("note_need", {"concert": concert.mark, "need": concert.thing})
        sent, got = self.tell("stage", to, {"please_have": concert.thing, "day": concert.day}, noted)
        kept = self.log[to].log_action("put_on_list", {"item": concert.thing, "day": concert.day}, causes=got)
        concert.asked[to] = kept
        if planned:
            case.root(sent, got)

    def get_permit(self, concert: Concert) -> None:
        """Let a soloist ask for a permit to work."""
        case, rng = self.case, self.case.rng(f"permit {concert.mark}")
        until = concert.day + rng.randint(0, 25)
        planned = concert.target and case.has("expired_permission")
        if planned and case.strikes("expired_permission", self.now):
            until = concert.day - 1
        _, asked = self.tell(
            concert.soloist, "consulate", {"work_in": concert.city, "invited_by": concert.hall}, ""
        )
        data = {"holder": concert.soloist, "city": concert.city, "valid_until": until}
        issued = self.log["consulate"].log_action("issue_permit", data, causes=asked)
        sent, got = self.tell(
            "consulate", concert.soloist, {"permit": concert.city, "valid_until": until}, issued
        )
        concert.permit = (until, got)
        if planned:
            case.root(issued, sent)

    def write_to_hotel(self, concert: Concert) -> None:
        """Write to a hotel for rooms; letters whose box is shut are laid aside and fetched after a few days."""
        case, rng = self.case, self.case.rng(f"letter {concert.mark}")
        planned, letter = concert.target and case.has("dead_letter"), f"no. {next(self.numbers)}"
        data = {"letter": letter, "rooms": rng.randint(60, 90), "night": concert.day}
        written = self.log["tour_office"].log_action("write_letter", {**data, "to": concert.hotel})
        _, got = self.tell("tour_office", "mailroom", {"letter": letter, "to": concert.hotel}, written)
        shut = rng.random() < 0.2 and concert.day - self.now > 5 and not planned
        if planned and case.strikes("dead_letter", self.now):
            aside = self.log["mailroom"].log_action(
                "lay_aside", {"letter": letter, "box": "shut"}, causes=got
            )
            case.root(aside)
        elif shut:
            aside = self.log["mailroom"].log_action(
                "lay_aside", {"letter": letter, "box": "shut"}, causes=got
            )
            fetch = partial(self.fetch_letter, concert, letter, aside)
            self.agenda[self.now + rng.randint(1, 4)].append(fetch)
        else:
            self.deliver(concert, letter, got)

    def fetch_letter(self, concert: Concert, letter: str, aside: str) -> None:
        """Fetch a letter from the pile."""
        self.deliver(
            concert, letter, self.log["mailroom"].log_action("take_up", {"letter": letter}, causes=aside)
        )

    def deliver(self, concert: Concert, letter: str, because: str) -> None:
        """Bring a letter to its hotel, which keeps rooms."""
        _, got = self.tell("mailroom", concert.hotel, {"letter": letter, "from": "tour_office"}, because)
        kept = {"night": concert.day, "letter": letter}
        concert.rooms[concert.hotel] = self.log[concert.hotel].log_action("keep_rooms", kept, causes=got)

    # ---- the day of a concert

    def perform(self, concert: Concert) -> None:
        """Play a concert: travel, set up, rehearse, perform and go to bed."""
        self.cross(concert)
        self.set_up(concert)
        self.lay_out(concert)
        self.sleep(concert)

    def cross(self, concert: Concert) -> None:
        """Let the soloist cross the border; one who is sent back is a symptom."""
        case, border, (until, permit) = self.case, f"border_{concert.city}", concert.permit
        left = self.log[concert.soloist].log_action("set_off", {"to": concert.city}, causes=permit or None)
        _, shown = self.tell(concert.soloist, border, {"shows": "permit", "valid_until": until}, left)
        if until >= self.now:
            self.log[border].log_action("wave_on", {"traveller": concert.soloist}, causes=shown)
            return
        refused = self.log[border].log_action("send_back", {"traveller": concert.soloist}, causes=shown)
        case.trigger(left)
        case.hop(left, refused)
        _, heard = self.tell(border, concert.hall, {"not_coming": concert.soloist}, refused)
        event = self.log[concert.hall].log_action(
            "put_up_notice", {"instead_of": concert.soloist}, causes=heard
        )
        case.symptom(
            event,
            f"{concert.soloist} did not appear in {concert.city} on day {concert.day}. The audience wants its money back.",
            f"Why was {concert.soloist} not let into the country for the concert on day {concert.day}?",
            f"{concert.hall} had to put up a notice that somebody else plays. Nobody had warned them.",
            f"How could a star be missing in {concert.city}? The papers were all in order, we were told.",
        )

    def set_up(self, concert: Concert) -> None:
        """Set up the stage; a thing that the hall does not have ready is a symptom."""
        case, ready = self.case, concert.asked.get(concert.hall)
        data = {"concert": concert.mark, "ready": [concert.thing] if ready else []}
        looked = self.log[concert.hall].log_action("open_stage", data, causes=ready)
        _, seen = self.tell(concert.hall, "stage", {"ready": data["ready"], "day": concert.day}, looked)
        if ready:
            self.log["stage"].log_action("tick_off", {"concert": concert.mark}, causes=seen)
            return
        case.hop(looked)
        event = self.log["stage"].log_action(
            "send_for", {"item": concert.thing, "in": concert.city}, causes=seen
        )
        case.hop(event)
        _, read = self.tell("stage", "critic", {"without": concert.thing, "concert": concert.mark}, event)
        event = self.log["critic"].log_action("write_review", {"city": concert.city, "stars": 2}, causes=read)
        case.symptom(
            event,
            f"We played in {concert.city} without the {concert.thing}. It should have been there.",
            f"{concert.hall} says that nobody asked for a {concert.thing}. Who is right?",
            f"The review from {concert.city} is bad: the {concert.thing} was missing.",
            f"Why did {concert.hall} have no {concert.thing} ready on day {concert.day}?",
        )

    def lay_out(self, concert: Concert) -> None:
        """Pack parts and lay them out; parts that do not fit together are a symptom."""
        case = self.case
        score, from_library = concert.told["library"]
        packed, odd = [], []
        for leader in LEADERS:
            work, told = concert.told[leader]
            packed.append(
                self.log[leader].log_action("pack_parts", {"concert": concert.mark, "of": work}, causes=told)
            )
            if work != score:
                odd.append(packed[-1])
        laid = {"concert": concert.mark, "score": score}
        out = self.log["stage"].log_action("lay_out", laid, causes=[from_library, *packed])
        begun = {"concert": concert.mark, "minutes_late": 40 if odd else 0}
        event = self.log[concert.hall].log_action("lights_down", begun, causes=out)
        if odd:
            case.hop(*odd, out)
            case.symptom(
                event,
                f"The concert in {concert.city} began 40 minutes late, because some desks had the wrong music.",
                f"{concert.hall} asks why the lights went down so late on day {concert.day}.",
                f"Why did part of the orchestra not have {score} on its stands in {concert.city}?",
                f"{concert.hall} was full and nothing happened for 40 minutes on day {concert.day}.",
            )

    def sleep(self, concert: Concert) -> None:
        """Drive to the hotel; one that has no rooms is a symptom."""
        case, hotel, kept = self.case, concert.hotel, concert.rooms.get(concert.hotel)
        arrived = self.log["coach"].log_action("pull_up", {"at": hotel, "night": concert.day})
        causes = [arrived, *([kept] if kept else [])]
        said = self.log[hotel].log_action(
            "look_in_book", {"night": concert.day, "kept": bool(kept)}, causes=causes
        )
        if kept:
            return
        _, heard = self.tell(hotel, "coach", {"rooms": 0, "night": concert.day}, said)
        event = self.log["coach"].log_action(
            "drive_on", {"looking_for": "beds", "night": concert.day}, causes=heard
        )
        case.hop(said)
        case.symptom(
            event,
            f"{hotel} had no beds for us on day {concert.day}. Eighty tired people sat in the road.",
            f"Why did nobody at {hotel} know of us?",
            f"The orchestra spent the night after {concert.city} on the motorway, since no rooms were kept.",
            "We had written for rooms well in time, and still there were none. What happened?",
        )

    # ---- everything else

    def chores(self) -> None:
        """Send notes, adverts and greetings, change rehearsals, and note small troubles."""
        rng = self.case.rng(f"chores {self.now}")
        for _ in range(rng.randint(0, 2)):
            to, note = rng.choice(LEADERS), rng.choice(NOTES)
            put = self.log["library"].log_action("mark_part", {"note": note, "for": to})
            self.tell("library", to, {"note": note}, put)
        if rng.random() < 0.25:
            letter, to = f"no. {next(self.numbers)}", f"hotel_{rng.choice(CITIES)}"
            _, got = self.tell("critic", "mailroom", {"letter": letter, "to": to}, "")
            if rng.random() < 0.5:
                self.log["mailroom"].log_action("lay_aside", {"letter": letter, "box": "shut"}, causes=got)
            else:
                self.tell("mailroom", to, {"letter": letter, "from": "critic"}, got)
        if rng.random() < 0.2:
            soloist, city = rng.choice(SOLOISTS), rng.choice(CITIES)
            data = {"holder": soloist, "city": city, "valid_until": self.now + rng.randint(1, 4)}
            issued = self.log["consulate"].log_action("issue_permit", data)
            self.tell("consulate", soloist, {"permit": city, "valid_until": data["valid_until"]}, issued)
        if rng.random() < 0.2:
            hall, item = f"hall_{rng.choice(CITIES)}", rng.choice(THINGS)
            need = self.log["stage"].log_action("note_need", {"concert": "matinee", "need": item})
            _, got = self.tell(
                "stage", hall, {"please_have": item, "day": self.now + rng.randint(1, 30)}, need
            )
            self.log[hall].log_action("put_on_list", {"item": item, "day": self.now}, causes=got)
        if rng.random() < 0.25:
            self.log["stage"].log_action("change_plan", {"rehearsal_minutes": rng.randrange(30, 120, 5)})
        if rng.random() < 0.08:
            self.log["coach"].warning("tyre pressure low, pumped up at the next stop")
        if rng.random() < 0.06:
            self.log["library"].error("copier out of toner, copies made next door")
        if self.now == self.case.decoy_at:
            self.log[f"hall_{self.city}"].warning(
                f"fire drill while {self.soloist} and {self.left_out} were expected"
            )

    def play(self) -> None:
        """Play all days."""
        for day in range(self.days):
            self.now = day
            with tick(day):
                self.chores()
                for act in self.agenda.pop(self.now, []):
                    act()


def play(case: Case) -> None:
    """Play a case."""
    Tour(case).play()


WORLD = World(
    "orchestra",
    "edges",
    ("omitted_message", "wrong_recipient", "expired_permission", "dead_letter"),
    play,
    18,
)
