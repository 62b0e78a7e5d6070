"""A ski area, written without any thought of recording: `instrument` traces the methods of its plain classes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

STEPS = 100
LIFTS = ("gondola_1", "chair_2", "chair_3", "chair_4", "drag_5")
PISTES = ("Larch", "Fox", "Chapel", "Ridge", "Mill", "Raven", "Meadow", "Gully")
ARRIVALS = 60
LONG_QUEUE = 150
BENCH_JOBS = 4
BACKLOG = 12


@dataclass
class Job:
    """Something that a guest has left at a workshop."""

    ticket: str
    sort: str
    workshop: int
    collect: int
    done: bool = False


class Lift:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill
        self.speed = 3.0
        self.waiting = 0
        self.brake = "sound"

    def carry(self, arrived: int, seats: int) -> dict[str, int]:
        self.waiting = max(0, self.waiting + arrived - seats)
        return {"carried": seats, "waiting": self.waiting}

    def set_speed(self, metres_per_s: float) -> float:
        self.speed = metres_per_s
        return metres_per_s

    def brake_once(self, reason: str, number: int) -> dict[str, object]:
        ran_on = 0.4 if self.brake == "sound" else 6.5
        return {"ran_on_m": ran_on}

    def tighten_brake(self) -> str:
        self.brake = "sound"
        return "tightened"


class Patroller:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def bring_class(self, lift: str, children: int, metres_per_s: float, number: int) -> str:
        self.hill.lifts[lift].set_speed(metres_per_s)
        return "boarding"

    def see_class_off(self, lift: str, number: int) -> str:
        if not self.hill.forgets(number):
            self.hill.lifts[lift].set_speed(3.0)
        return "all are up"

    def probe_snow(self, piste: str, number: int) -> int:
        return 40 + number % 30

    def check_nets(self, piste: str, number: int) -> str:
        if piste in self.hill.torn:
            self.mend_net(piste, number)
            return "was torn"
        return "whole"

    def mend_net(self, piste: str, number: int) -> str:
        self.hill.torn.discard(piste)
        return "tied"

    def set_markers(self, piste: str, number: int) -> int:
        return 12

    def open_piste(self, piste: str, number: int) -> str:
        self.probe_snow(piste, number)
        if not self.hill.skips(number):
            self.check_nets(piste, number)
        self.set_markers(piste, number)
        return "open"

    def help_fallen(self, piste: str, number: int, where: str) -> str:
        return "brought down"

    def drill(self, what: str) -> str:
        return "done"


class Guest:
    """The people on one piste, as one agent."""

    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def fall(self, piste: str, number: int) -> dict[str, str]:
        return {"stopped_by": "trees" if piste in self.hill.torn else "net"}


class Mechanic:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def test_brake(self, lift: str, number: int) -> str:
        tested = self.hill.lifts[lift]
        outcome = tested.brake_once("test", number)
        if float(str(outcome["ran_on_m"])) > 1 and not self.hill.ignores(number):
            tested.tighten_brake()
            tested.brake_once("test again", number)
        return "passed"

    def grease(self, lift: str) -> str:
        return "done"

    def read_sensor(self, lift: str) -> float:
        raise OSError("sensor cable cold")

    def read_sensor_again(self, lift: str) -> float:
        return 0.7


class Workshop:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill
        self.order = "as they come"

    def take_in(self, ticket: str, sort: str) -> str:
        return "on the pile"

    def finish(self, ticket: str, sort: str) -> str:
        return "ready"

    def hand_over(self, ticket: str, sort: str) -> str:
        return "handed over" if self.hill.jobs[ticket].done else "not started"

    def set_order(self, order: str) -> str:
        self.order = order
        return order


class Foreman:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def give_order(self, workshop: str, order: str, note: int) -> str:
        shop = next(one for one in self.hill.shops if one.agent_id == workshop)
        return shop.set_order(order)


class Counter:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def ask_for(self, ticket: str, sort: str) -> str:
        job = self.hill.jobs[ticket]
        return self.hill.shops[job.workshop].hand_over(ticket, sort)


class Steward:
    def __init__(self, agent_id: str, hill: Hill) -> None:
        self.agent_id = agent_id
        self.hill = hill

    def count_queue(self, lift: str, minute: int) -> int:
        return self.hill.lifts[lift].waiting

    def press_stop(self, lift: str, number: int) -> dict[str, object]:
        outcome = self.hill.lifts[lift].brake_once("stop button", number)
        return {"lift": lift, "ran_on_m": outcome["ran_on_m"]}

    def chore(self, what: str) -> str:
        return "done"


TRACED = {
    Lift: ("lift", ["carry", "set_speed", "brake_once", "tighten_brake"]),
    Patroller: (
        "patrol",
        [
            "bring_class",
            "see_class_off",
            "probe_snow",
            "check_nets",
            "mend_net",
            "set_markers",
            "open_piste",
            "help_fallen",
            "drill",
        ],
    ),
    Guest: ("guests", ["fall"]),
    Mechanic: ("mechanic", ["test_brake", "grease", "read_sensor", "read_sensor_again"]),
    Workshop: ("workshop", ["take_in", "finish", "hand_over", "set_order"]),
    Foreman: ("foreman", ["give_order"]),
    Counter: ("counter", ["ask_for"]),
    Steward: ("steward", ["count_queue", "press_stop", "chore"]),
}


for traced, (its_role, its_methods) in TRACED.items():
    instrument(traced, methods=its_methods, agent_id="agent_id", agent_role=its_role, ignore=("hill",))


class Hill:
    """One day of the ski area."""

    def __init__(self, case: Case) -> None:
        self.case = case
        shortest = {"starved_queue": 6, "forgotten_undo": 4}.get(case.kind, 2)
        case.window(STEPS, shortest)
        self.rng = case.rng("day")
        self.now = 0
        self.lifts = {name: Lift(name, self) for name in LIFTS}
        self.patrol = [Patroller(f"patrol_{number}", self) for number in range(1, 5)]
        self.guests = {name: Guest(f"guests_{name}", self) for name in PISTES}
        self.mechanics = [Mechanic(f"mechanic_{number}", self) for number in (1, 2)]
        self.shops = [Workshop(f"workshop_{number}", self) for number in (1, 2)]
        self.foremen = [Foreman(f"foreman_{number}", self) for number in (1, 2)]
        self.counter = Counter("counter_1", self)
        self.stewards = [Steward(f"steward_{number}", self) for number in (1, 2, 3)]
        self.torn: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.piles: list[list[Job]] = [[], []]
        self.collects: dict[int, list[Job]] = defaultdict(list)
        self.closing: dict[int, list[tuple[Patroller, str, int]]] = defaultdict(list)
        self.number = 100
        self.marked = -1
        who = case.rng("who")
        self.lift = who.choice(LIFTS[:4])
        self.piste = who.choice(PISTES)
        self.person = who.randrange(3)
        self.seats = dict.fromkeys(LIFTS, ARRIVALS + 8)

    def count(self) -> int:
        self.number += 1
        return self.number

    # What the plan lets go wrong, each at one numbered act

    def forgets(self, number: int) -> bool:
        return number == self.marked and self.case.strikes("forgotten_undo")

    def skips(self, number: int) -> bool:
        return number == self.marked and self.case.strikes("omitted_step", self.now)

    def ignores(self, number: int) -> bool:
        return number == self.marked and self.case.strikes("swallowed_failure", self.now)

    # Lifts

    def school(self, lift: str, slow: float, minutes: int, marked: bool = False) -> None:
        number = self.count()
        guide = self.patrol[self.person if marked else self.rng.randrange(4)]
        if marked:
            self.marked = number
        guide.bring_class(lift, self.rng.randint(8, 20), slow, number)
        self.closing[self.now + minutes].append((guide, lift, number))

    def run_lifts(self) -> None:
        for guide, lift, number in self.closing.pop(self.now, ()):
            guide.see_class_off(lift, number)
            if self.forgets(number):
                self.case.root(
                    call(guide.agent_id, "see_class_off", number=number),
                    call(guide.agent_id, "bring_class", number=number),
                )
        for name, machine in self.lifts.items():
            seats = self.seats[name] if machine.speed >= 3 else self.slow_seats(machine)
            machine.carry(ARRIVALS + self.case.rng(f"come/{name}/{self.now}").randint(-5, 5), seats)
        for place, name in enumerate(LIFTS):
            if (self.now + place) % 2:
                continue
            steward = self.stewards[place % 3]
            waiting = steward.count_queue(name, self.now)
            if waiting > LONG_QUEUE:
                self.case.hop(call(name, "carry", waiting=waiting))
                self.case.symptom(
                    call(steward.agent_id, "count_queue", lift=name, minute=self.now),
                    f"More than {LONG_QUEUE} people stand at {name} and it gets worse. There are no more guests than on other days.",
                    f"{steward.agent_id} counts {waiting} in the line, nobody there has ever seen that many.",
                    "The wait at the bottom has become endless at one of the lifts, although it runs and is not broken.",
                )

    def slow_seats(self, lift: Lift) -> int:
        """Return the seats of a slow lift; its line grows so that it is too long when the plan wants it."""
        if self.case.has("forgotten_undo") and lift.agent_id == self.lift:
            return ARRIVALS - round((LONG_QUEUE + 6) / max(1, self.case.end - self.case.begin))
        return ARRIVALS - 6

    def brakes(self) -> None:
        rng, case = self.rng, self.case
        if case.has("swallowed_failure") and self.now == case.begin:
            self.lifts[self.lift].brake = "worn"
            self.marked = self.count()
            mechanic = self.mechanics[self.person % 2]
            mechanic.test_brake(self.lift, self.marked)
            if case.strikes("swallowed_failure", self.now):
                case.root(
                    call(mechanic.agent_id, "test_brake", number=self.marked),
                    call(self.lift, "brake_once", number=self.marked),
                )
        elif self.now % 6 == 2:
            lift = rng.choice([name for name in LIFTS if name != self.lift])
            if rng.random() < 0.2:
                self.lifts[lift].brake = "worn"
            rng.choice(self.mechanics).test_brake(lift, self.count())
        stopped = self.lift if case.has("swallowed_failure") and self.now == case.end else ""
        if rng.random() < 0.15 and not stopped:
            stopped = rng.choice([name for name in LIFTS if name != self.lift])
        if stopped:
            number = self.count()
            steward = self.stewards[number % 3]
            outcome = steward.press_stop(stopped, number)
            if float(str(outcome["ran_on_m"])) > 1:
                pressed = call(steward.agent_id, "press_stop", number=number)
                case.trigger(call(stopped, "brake_once", number=number))
                case.hop(call(stopped, "brake_once", number=number))
                case.symptom(
                    pressed,
                    f"{stopped} ran on for more than six metres after the stop button was pressed.",
                    f"{steward.agent_id} pressed the button because a child had fallen, and the lift just went on.",
                    "A lift did not stop at once today when it had to. They are all tested, I am told!",
                )

    # Pistes

    def pistes(self) -> None:
        rng, case = self.rng, self.case
        wanted = case.has("omitted_step")
        if wanted and self.now == case.begin:
            self.torn.add(self.piste)
            self.marked = self.count()
            guide = self.patrol[self.person]
            guide.open_piste(self.piste, self.marked)
            if case.strikes("omitted_step", self.now):
                case.root(
                    call(guide.agent_id, "open_piste", number=self.marked),
                    call(guide.agent_id, "probe_snow", number=self.marked),
                    call(guide.agent_id, "set_markers", number=self.marked),
                )
        elif rng.random() < 0.3:
            piste = rng.choice([name for name in PISTES if not (wanted and name == self.piste)])
            if rng.random() < 0.25:
                self.torn.add(piste)
            rng.choice(self.patrol).open_piste(piste, self.count())
        falls = [name for name in PISTES if rng.random() < 0.06 and not (wanted and name == self.piste)]
        if wanted and self.now == case.end:
            falls.append(self.piste)
        for piste in falls:
            number = self.count()
            outcome = self.guests[piste].fall(piste, number)
            helper = self.patrol[3]
            helper.help_fallen(piste, number, outcome["stopped_by"])
            if outcome["stopped_by"] == "trees":
                case.trigger(call(f"guests_{piste}", "fall", number=number))
                case.hop(call(f"guests_{piste}", "fall", number=number))
                case.symptom(
                    call(helper.agent_id, "help_fallen", number=number),
                    f"{helper.agent_id} had to bring somebody out of the trees beside {piste}. The net should have held him.",
                    f"A skier flew off {piste} into the trees. How can a piste like that be open?",
                    "Somebody fell today and nothing stopped him before the trees. Everywhere else people land in the nets.",
                )

    # Workshops

    def repairs(self) -> None:
        rng, case, now = self.rng, self.case, self.now
        wanted = case.has("starved_queue")
        for place, shop in enumerate(self.shops):
            arriving = BACKLOG + BENCH_JOBS if now == 0 and place == 0 else BENCH_JOBS if place == 0 else 2
            for number in range(arriving):
                sort = rng.choice(("skis", "skis", "boots"))
                if number == 0 and now % 3 == 1:
                    sort = "board"
                collect = now + rng.randint(9, 35)
                if wanted and place == 0 and sort == "board" and case.begin - 5 <= now and collect < case.end:
                    collect = case.end + rng.randint(0, 3)
                if wanted and place == 0 and sort == "board" and now > case.end - 6:
                    collect = max(collect, now + 9)
                job = Job(f"T{len(self.jobs) + 1000}", sort, place, collect)
                self.jobs[job.ticket] = job
                self.piles[place].append(job)
                self.collects[collect].append(job)
                shop.take_in(job.ticket, sort)
            if wanted and place == 0 and now == case.begin:
                order = "boards last" if case.strikes("starved_queue", now) else "as they come"
                note = self.count()
                self.foremen[0].give_order(shop.agent_id, order, note)
                if case.strikes("starved_queue", now):
                    case.root(
                        call("foreman_1", "give_order", note=note),
                        call(shop.agent_id, "set_order", order="boards last"),
                    )
            elif place == 1 and now % 17 == 5:
                self.foremen[1].give_order(
                    shop.agent_id, rng.choice(("boards last", "boots last", "as they come")), self.count()
                )
            for _ in range(BENCH_JOBS if place == 0 else 3):
                pile = self.piles[place]
                if pile:
                    last = shop.order.partition("s last")[0] if shop.order.endswith("last") else ""
                    job = next((one for one in pile if one.sort.rstrip("s") != last), pile[0])
                    pile.remove(job)
                    job.done = True
                    shop.finish(job.ticket, job.sort)
        for job in self.collects.pop(now, ()):
            told = self.counter.ask_for(job.ticket, job.sort)
            if told != "handed over":
                case.hop(call(self.shops[job.workshop].agent_id, "hand_over", ticket=job.ticket))
                case.symptom(
                    call("counter_1", "ask_for", ticket=job.ticket),
                    f"counter_1 could not hand over {job.ticket}: my {job.sort} has not even been started.",
                    f"I left a {job.sort} with you in good time (ticket {job.ticket}) and nobody has touched it.",
                    "Snowboarders stand at the counter and nothing of theirs is ready. Skis are done within minutes.",
                )

    # Everyday life

    def everyday(self) -> None:
        rng = self.case.rng(f"everyday/{self.now}")
        others = [name for name in LIFTS if name != self.lift]
        if rng.random() < 0.12:
            self.school(rng.choice(others), rng.choice((1.5, 2.0, 2.2)), rng.randint(1, 3))
        if rng.random() < 0.3:
            rng.choice(self.mechanics).grease(rng.choice(LIFTS))
        if rng.random() < 0.3:
            rng.choice(self.stewards).chore(
                rng.choice(("sweep platform", "salt steps", "fill napkins", "sell map", "wipe window"))
            )
        if rng.random() < 0.1:
            rng.choice(self.patrol).drill(rng.choice(("beacon search", "rope rescue", "radio check")))
        if rng.random() < 0.1:
            mechanic, lift = rng.choice(self.mechanics), rng.choice(LIFTS)
            try:
                mechanic.read_sensor(lift)
            except OSError:
                mechanic.read_sensor_again(lift)
        if self.now == self.case.decoy_at:
            self.stewards[2].chore("restart the lamp panel")
            self.lifts[others[0]].set_speed(2.8)
            self.lifts[others[0]].set_speed(3.0)

    def step(self, now: int) -> None:
        self.now = now
        case = self.case
        self.everyday()
        if case.has("forgotten_undo"):
            if now == case.begin:
                self.school(self.lift, 2.0, 1, marked=True)
            elif now == case.begin - 6 or now == case.begin - 12:
                self.school(self.lift, 2.0, 1)
        self.run_lifts()
        self.brakes()
        self.pistes()
        self.repairs()


def play(case: Case) -> None:
    """Play one day."""
    hill = Hill(case)
    for now in range(STEPS):
        with tick(now):
            hill.step(now)


WORLD = World(
    "skiarea",
    "spans",
    ("starved_queue", "forgotten_undo", "omitted_step", "swallowed_failure"),
    play,
    author=4,
)
