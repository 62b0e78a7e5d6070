"""A freight railway: firms order wagons, boxes let trains pass, yards sort, local engines bring, a counter charges.

Whatever one place tells another is a message, sent and received, and each act names what led to it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

FIRMS = ("glassworks", "sawmill", "brickyard", "tannery", "ropewalk", "foundry", "maltings", "tileworks")
FORWARDERS = ("forwarder_amsel", "forwarder_krug")
LINES = {
    "valley": ("box_weir", "box_mill", "box_gorge"),
    "coast": ("box_dune", "box_pier", "box_cliff"),
}
DRIVERS = ("driver_ada", "driver_bo", "driver_carl", "driver_dina", "driver_emil")
APPRENTICES = ("driver_finn", "driver_gesa")
ENGINES = ("engine_red", "engine_blue", "engine_grey")
TRACKS = {name: f"track_{number}" for number, name in enumerate((*FIRMS, "spare"), 1)}


@dataclass
class Wagon:
    """A wagon on its way to a firm: the days on which it runs on the line, and to the siding of the firm."""

    number: str
    firm: str
    line: str
    runs: int
    local: int
    driver: str
    target: bool = False
    booked: str = ""
    confirmed: str = ""
    orders: dict[str, str] = field(default_factory=dict)
    track: str = ""
    rolled: str = ""


@dataclass
class Placed:
    """A wagon on the siding of a firm, with the last day on which it may stand there for nothing."""

    wagon: Wagon
    free_until: int
    event: str
    filed: str
    to: str
    unload_on: int


@dataclass
class Permit:
    """A driver's permit for a line; one with an entry in the diary is renewed in time."""

    until: int
    event: str
    in_diary: bool = True


@dataclass(eq=False)
class Job:
    """What an engine has to do, with the keys that it needs, in its order, and those that it has."""

    engine: str
    wants: list[str]
    because: list[str]
    firm: str = ""
    wagons: list[Wagon] = field(default_factory=list)
    has: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    stuck: str = ""
    brought: str = ""
    done: bool = False


class Railway:
    """The railway, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(70, 120)
        self.begin, self.end = case.window(self.days)
        self.now = 0
        roles = {
            **dict.fromkeys(FIRMS, "firm"),
            **dict.fromkeys(FORWARDERS, "forwarder"),
            **dict.fromkeys((box for boxes in LINES.values() for box in boxes), "box"),
            **dict.fromkeys((*DRIVERS, *APPRENTICES), "driver"),
            **dict.fromkeys(ENGINES, "engine"),
            "train_office": "office",
            "roster": "roster",
            "hump_yard": "yard",
            "key_hut": "keys",
            "counter": "counter",
        }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.coming: dict[int, list[Wagon]] = {}
        self.expected: dict[tuple[int, str], list[Wagon]] = {}
        self.waiting: list[Wagon] = []
        self.arrived: dict[str, str] = {}
        self.placed: list[Placed] = []
        self.keys: dict[str, str] = {}
        self.lent: dict[str, str] = {}
        self.numbers = iter(range(3000, 99_999))
        who = case.rng("who")
        self.firm, self.other = who.sample(FIRMS, 2)
        self.line, self.driver = who.choice(sorted(LINES)), who.choice(DRIVERS)
        self.box = who.choice(LINES[self.line])
        self.worker, self.puller = who.sample(ENGINES, 2)
        self.agent = {firm: who.choice(FORWARDERS) for firm in who.sample(FIRMS, 3) if firm != self.firm}
        self.contract = {firm: who.randint(3, 12) for firm in FIRMS}
        first = case.rng("permits")
        self.permits = {
            (driver, line): Permit(first.randint(15, 50), "") for driver in DRIVERS for line in sorted(LINES)
        }
        if case.has("expired_permission"):
            self.permits[self.driver, self.line].until = self.begin + 1
        self.works = Job(self.worker, [], [])
        self.nightly: list[Job] = []

    def number(self, letter: str) -> str:
        """Return a new number."""
        return f"{letter}{next(self.numbers)}"

    def lead(self, rng: random.Random) -> int:
        """Draw how many days ahead something is arranged; short times are as frequent as long ones."""
        return max(1, round(math.exp(rng.uniform(0, math.log(0.5 * self.days)))))

    def tell(self, sender: str, to: str, body: dict[str, object], because: str) -> tuple[str, str]:
        """Send a message and let it be received; return the events of both."""
        message = self.log[sender].send(to, body, causes=because)
        return message.event_id, self.log[to].receive(message)

    def renew(self, driver: str, line: str, rng: random.Random) -> None:
        """Renew a driver's permit, and send it."""
        case, until, in_diary = self.case, self.now + rng.randint(15, 50), True
        struck = (driver, line) == (self.driver, self.line) and case.strikes("expired_permission", self.now)
        if struck:
            until, in_diary = self.end - 1, False
        data = {"driver": driver, "line": line, "until": until}
        renewed = self.log["roster"].log_action("renew_permit", data)
        sent, got = self.tell("roster", driver, {"permit": line, "until": until}, renewed)
        if struck:
            case.root(renewed, sent)
        self.permits[driver, line] = Permit(until, got, in_diary)

    def keep_roster(self, rng: random.Random) -> None:
        """Renew the permits that the diary names today, and give day permits to apprentices who watch."""
        for (driver, line), permit in self.permits.items():
            draws = self.case.rng(f"permit/{driver}/{line}/{self.now}")
            if permit.in_diary and permit.until - 1 == self.now:
                self.renew(driver, line, draws)
        if rng.random() < 0.3:
            data = {"driver": rng.choice(APPRENTICES), "line": rng.choice(sorted(LINES))}
            until = self.now + rng.randint(0, 6)
            given = self.log["roster"].log_action("renew_permit", {**data, "until": until})
            self.tell("roster", data["driver"], {"permit": data["line"], "until": until}, given)

    def book(self, firm: str, line: str, driver: str, runs: int, local: int, target: bool = False) -> None:
        """Let a firm order a wagon; the office books it, tells all boxes and the driver, and confirms."""
        case, wagon = self.case, Wagon(self.number("W"), firm, line, runs, local, driver, target=target)
        _, asked = self.tell(
            firm, "train_office", {"want": wagon.number, "from": line, "by": local}, because=""
        )
        data = {"wagon": wagon.number, "line": line, "day": runs, "driver": driver}
        booked = self.log["train_office"].log_action("book_train", data, causes=asked)
        if target and case.has("expired_permission"):
            case.hop(booked)
            case.trigger(booked)
        for box in LINES[line]:
            if target and box == self.box and case.strikes("omitted_message", self.now):
                case.root(booked)
                continue
            sent, wagon.orders[box] = self.tell(
                "train_office", box, {"let_pass": wagon.number, "day": runs}, booked
            )
            if target and case.strikes("omitted_message", self.now):
                case.root(sent)
        _, wagon.booked = self.tell("train_office", driver, {"drive": wagon.number, "day": runs}, booked)
        _, wagon.confirmed = self.tell("train_office", firm, {"coming": wagon.number, "day": local}, booked)
        self.coming.setdefault(runs, []).append(wagon)
        self.expected.setdefault((local, firm), []).append(wagon)

    def order(self, rng: random.Random) -> None:
        """Let firms order; who drives must have a permit that the diary keeps alive."""
        for _ in range(rng.randint(1, 3)):
            firm, line = rng.choice(FIRMS), rng.choice(sorted(LINES))
            runs = self.now + self.lead(rng)
            local, ways = runs + self.lead(rng) // 2, rng.sample(DRIVERS, len(DRIVERS))
            if self.case.has("expired_permission") and line == self.line and runs >= self.begin:
                ways.remove(self.driver)
            busy = (self.begin if self.case.has("deadlock") else self.end) <= local <= self.end
            if local < self.days and not (firm == self.firm and busy):
                self.book(firm, line, ways[0], runs, local)
        case, who = self.case, self.case.rng("target")
        ahead, driver = self.begin - who.randint(1, 2), who.choice(DRIVERS)
        if case.has("omitted_message") and self.now == self.begin:
            self.book(self.firm, self.line, driver, self.end, self.end, target=True)
        elif case.has("expired_permission") and self.now == who.randint(self.begin, self.end - 1):
            self.book(self.firm, self.line, self.driver, self.end, self.end, target=True)
        elif case.has("wrong_recipient") and self.now == ahead:
            self.book(self.firm, self.line, driver, self.begin, self.begin, target=True)
        elif (case.has("misrouted_thing") or case.has("deadlock")) and self.now == ahead:
            self.book(self.firm, self.line, driver, self.begin, self.end, target=True)

    def run(self, wagon: Wagon, rng: random.Random) -> None:
        """Run a train past its boxes; one that was not announced, or whose driver has no permit, waits for a day."""
        permit = self.permits[wagon.driver, wagon.line]
        papers = [one for one in (wagon.booked, permit.event) if one]
        on = self.log[wagon.driver].log_action("depart", {"wagon": wagon.number}, causes=papers)
        for box in LINES[wagon.line]:
            why = "" if box in wagon.orders else "not announced"
            if permit.until < self.now:
                why = "permit"
            if why:
                held = self.log[box].log_action(
                    "hold_at_signal", {"wagon": wagon.number, "why": why}, causes=on
                )
                if wagon.target:
                    self.case.hop(held)
                wagon.orders[box] = held
                if why == "permit":
                    self.renew(wagon.driver, wagon.line, rng)
                self.coming.setdefault(self.now + 1, []).append(wagon)
                return
            if rng.random() < 0.04:
                fog = {"wagon": wagon.number, "why": rng.choice(("fog", "deer", "crossing"))}
                on = self.log[box].log_action("hold_at_signal", fog, causes=on)
            on = self.log[box].log_action("let_pass", {"wagon": wagon.number}, causes=(on, wagon.orders[box]))
        self.sort(wagon, on, rng)

    def sort(self, wagon: Wagon, on: str, rng: random.Random) -> None:
        """Let the yard roll a wagon onto the track of its firm; a full track is emptied first."""
        case = self.case
        arrived = self.log["hump_yard"].log_action("take_over", {"wagon": wagon.number}, causes=on)
        wagon.track = wagon.firm
        struck = wagon.target and case.strikes("misrouted_thing", self.now)
        if struck:
            wagon.track = self.other
        if rng.random() < 0.1:
            spare = {"wagon": wagon.number, "track": TRACKS["spare"]}
            arrived = self.log["hump_yard"].log_action("roll", spare, causes=arrived)
        wagon.rolled = self.log["hump_yard"].log_action(
            "roll", {"wagon": wagon.number, "track": TRACKS[wagon.track]}, causes=arrived
        )
        if struck:
            case.root(wagon.rolled)
        self.waiting.append(wagon)

    def take(self, job: Job) -> bool:
        """Let an engine ask for its next key; tell whether it has all of them now."""
        key = job.wants[len(job.has)]
        asked = self.log[job.engine].log_action("ask_for_key", {"key": key}, causes=job.because)
        if self.keys.get(key, job.engine) != job.engine:
            waits = self.log["key_hut"].log_action(
                "put_in_line", {"key": key, "engine": job.engine}, causes=(asked, self.lent[key])
            )
            job.stuck = self.log[job.engine].log_action("wait", {"key": key}, causes=waits)
            return False
        self.keys[key] = job.engine
        self.lent[key] = self.log["key_hut"].log_action(
            "lend_key", {"key": key, "engine": job.engine}, causes=asked
        )
        job.has.append(key)
        job.asked.append(asked)
        return len(job.has) == len(job.wants)

    def give_back(self, job: Job, act: str = "return_key") -> None:
        """Bring all keys of an engine back."""
        for key in job.has:
            back = self.log[job.engine].log_action(act, {"key": key}, causes=self.lent[key])
            self.log["key_hut"].log_action("hang_up", {"key": key}, causes=back)
            del self.keys[key]
        job.has = []

    def shunt(self, rng: random.Random) -> None:
        """Do the jobs of the yard engines: keys are taken, wagons brought, keys returned."""
        jobs = []
        for day, firm in [key for key in self.expected if key[0] == self.now]:
            there = [one for one in self.expected[day, firm] if one in self.waiting and one.track == firm]
            engine = self.puller if firm == self.firm else rng.choice(ENGINES)
            papers = [one.rolled for one in there] or [one.confirmed for one in self.expected[day, firm]]
            jobs.append(Job(engine, ["crossing", f"siding_{FIRMS.index(firm)}"], papers, firm, there))
        late = [one for one in self.waiting if one.local < self.now]
        for wagon in late:
            keys = ["crossing", f"siding_{FIRMS.index(wagon.firm)}"]
            jobs.append(Job(rng.choice(ENGINES), keys, [wagon.rolled], "", [wagon]))
        if rng.random() < 0.3:
            keys = rng.choice((["siding_old"], ["crossing"], ["siding_old", "crossing"]))
            jobs.append(Job(rng.choice(ENGINES), keys, []))
        last = [job for job in jobs if job.firm == self.firm and self.now == self.end]
        for job in [one for one in jobs if one not in last]:
            if job.engine == self.worker and self.case.has("deadlock"):
                job.engine = next(one for one in ENGINES if one != self.worker)
            self.do([job])
        if self.case.has("deadlock") and self.now == self.end:
            last.append(self.works)
            if not self.works.has:
                self.works.wants.sort()
        self.do(last)

    def survey(self, rng: random.Random) -> None:
        """Let an engine look at a siding over night, with its key alone; the next day brings it back."""
        for job in self.nightly:
            self.give_back(job)
        self.nightly = []
        if rng.random() < 0.2:
            firm, engine = rng.choice([one for one in FIRMS if one != self.firm]), rng.choice(ENGINES)
            siding, day = f"siding_{FIRMS.index(firm)}", self.now + rng.randint(1, 30)
            planned = self.log[engine].log_action("plan_works", {"siding": siding, "day": day})
            if rng.random() < 0.7:
                self.nightly.append(Job(engine, [siding], [planned]))

    def begin_works(self) -> None:
        """Plan works in the siding of the firm; the rule is that the key of the crossing comes first, on the day."""
        siding = f"siding_{FIRMS.index(self.firm)}"
        planned = self.log[self.worker].log_action("plan_works", {"siding": siding, "day": self.end})
        self.works = Job(self.worker, [siding, "crossing"], [planned])
        if self.case.strikes("deadlock", self.now):
            self.take(self.works)
            self.case.root(self.works.asked[0], self.lent[siding])

    def do(self, jobs: list[Job]) -> None:
        """Let engines take turns until all are done or none gets on; the hut then calls all keys back."""
        for _ in range(4):
            for job in [one for one in jobs if not one.done]:
                if self.take(job):
                    self.bring(job)
                    self.give_back(job)
                    job.done = True
        for job in [one for one in jobs if not one.done]:
            if job.firm == self.firm:
                self.case.hop(job.stuck)
            self.give_back(job, "give_up_key")

    def bring(self, job: Job) -> None:
        """Bring wagons to the siding of their firm, and send notice to whom the firm has named."""
        case = self.case
        if not job.wagons and not job.firm:
            self.log[job.engine].log_action(
                "clear_track", {"key": job.wants[-1]}, causes=self.lent[job.wants[-1]]
            )
            return
        job.brought = self.log[job.engine].log_action(
            "bring",
            {"wagons": [one.number for one in job.wagons]},
            causes=[*job.because, self.lent[job.wants[-1]]],
        )
        if job.firm == self.firm and self.now == self.end:
            case.hop(job.brought)
        for wagon in job.wagons:
            self.waiting.remove(wagon)
            self.arrived[wagon.number] = job.brought
            to = self.agent.get(wagon.firm, wagon.firm)
            days = self.contract[wagon.firm]
            struck = wagon.target and case.strikes("wrong_recipient", self.now)
            if wagon.target and case.has("wrong_recipient"):
                days = self.end - 1 - self.now
            if struck:
                to = self.other
            placed = self.log["hump_yard"].log_action(
                "place", {"wagon": wagon.number, "free_days": days}, causes=job.brought
            )
            sent, got = self.tell("hump_yard", to, {"placed": wagon.number, "free_days": days}, placed)
            if struck:
                case.root(sent, got)
            filed = self.log[to].log_action("file_notice", {"wagon": wagon.number}, causes=got)
            known = to == self.agent.get(wagon.firm, wagon.firm)
            unload = self.now + case.rng(f"unload/{wagon.number}").randint(0, min(3, days)) if known else -1
            self.placed.append(Placed(wagon, self.now + days, placed, filed, to, unload))

    def count(self) -> None:
        """Let firms count what came today; a wagon that is missing is the symptom."""
        for day, firm in [key for key in self.expected if key[0] == self.now]:
            wagons = self.expected.pop((day, firm))
            came = [self.arrived[one.number] for one in wagons if one.number in self.arrived]
            event = self.log[firm].log_action(
                "count_wagons",
                {"expected": len(wagons), "there": len(came)},
                causes=[*came, *(one.confirmed for one in wagons)],
            )
            if len(came) < len(wagons):
                self.case.symptom(
                    event,
                    f"The shift at the {firm} stood idle on day {day}, because the freight did not come.",
                    f"Day {day}: a customer was promised a delivery and got nothing. Everyone else was served.",
                    f"Why did the {firm} wait in vain on day {day}?",
                    "Our goods were one day late, and nobody had called. They were ordered properly.",
                )

    def unload(self) -> None:
        """Unload what firms know of; whoever leaves a wagon too long is charged, which is the symptom."""
        for one in list(self.placed):
            if one.unload_on == self.now:
                self.log[one.to].log_action("unload", {"wagon": one.wagon.number}, causes=one.filed)
                self.placed.remove(one)
            elif one.free_until < self.now:
                firm = one.wagon.firm
                charged = self.log["counter"].log_action(
                    "charge", {"wagon": one.wagon.number, "firm": firm}, causes=one.event
                )
                self.case.hop(charged)
                _, got = self.tell("counter", firm, {"pay_for": one.wagon.number, "euro": 180}, charged)
                event = self.log[firm].log_action("open_bill", {"euro": 180}, causes=got)
                self.case.symptom(
                    event,
                    f"The {firm} got a bill for standing time on day {self.now}, and did not know that anything stood there.",
                    "A customer refuses to pay a late fee: it says that it never heard of the delivery.",
                    f"Why do we ask the {firm} for a penalty? It always empties everything at once.",
                )
                self.placed.remove(one)

    def chores(self, rng: random.Random) -> None:
        """Note small troubles and everyday settings."""
        boxes = [box for line in LINES.values() for box in line]
        if rng.random() < 0.25:
            self.log[rng.choice(boxes)].log_action("set_threshold", {"wind_km_h": rng.randint(60, 90)})
        if rng.random() < 0.2:
            self.log["hump_yard"].log_action("set_weight", {"scale_kg": rng.randint(-20, 20)})
        if rng.random() < 0.12:
            self.log[rng.choice(boxes)].warning("lamp went out, spare lamp lit")
        if rng.random() < 0.08:
            self.log["train_office"].error("line printer jammed, sheet printed again")
        if self.now == self.case.decoy_at:
            self.log[self.puller].warning("brake shoe worn, changed during the break")

    def play(self) -> None:
        """Play all days."""
        case = self.case
        for now in range(self.days):
            self.now = now
            with tick(now):
                self.keep_roster(case.rng(f"roster/{now}"))
                self.order(case.rng(f"order/{now}"))
                self.chores(case.rng(f"chores/{now}"))
                if now == self.begin and case.has("deadlock"):
                    self.begin_works()
                for wagon in self.coming.pop(now, []):
                    self.run(wagon, case.rng(f"run/{wagon.number}/{now}"))
                self.survey(case.rng(f"survey/{now}"))
                self.shunt(case.rng(f"shunt/{now}"))
                for job in self.nightly:
                    self.take(job)
                self.count()
                self.unload()


def play(case: Case) -> None:
    """Play a case."""
    Railway(case).play()


WORLD = World(
    "freight",
    "edges",
    ("omitted_message", "wrong_recipient", "expired_permission", "deadlock", "misrouted_thing"),
    play,
    author=6,
)
