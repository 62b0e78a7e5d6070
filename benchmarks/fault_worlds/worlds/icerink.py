"""An ice rink with three pads: the cooling plant, two ice machines, lending desks, sharpening benches, and clubs."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

PADS = (1, 2, 3)
CLUBS = ("comets", "larks", "bears", "swifts")
CLERKS = ("Nils", "Jo", "Petra", "Amir", "Lea")
FIRST_NAMES = ("Ana", "Bo", "Cid", "Dora", "Emil", "Fay", "Gus", "Hedy", "Ivo", "Kim")


class Plant:
    """Cools the pads."""

    def __init__(self) -> None:
        self.who = "plant"
        self.brine = dict.fromkeys(PADS, -9.0)
        self.ice = dict.fromkeys(PADS, -5.0)

    def adjust(self, pad: int, knob: str, to: float) -> float:
        """Turn a knob of a pad."""
        if knob == "brine":
            self.brine[pad] = to
        return to

    def chill(self, pad: int, outside: float) -> dict[str, float]:
        """Run the pumps for half an hour."""
        self.ice[pad] = round(self.brine[pad] + 3.6 + outside / 40, 2)
        return {"brine": self.brine[pad], "ice": self.ice[pad]}


class Machine:
    """Floods pads by the planner's jobs."""

    def __init__(self, who: str, cuts: dict[int, int]) -> None:
        self.who, self.cuts, self.litres = who, cuts, 0

    def flood(self, job: str, pad: int) -> int:
        """Shave a pad and flood it."""
        self.cuts[pad] = 0
        self.litres += 480
        return self.litres

    def refill(self, litres: int) -> int:
        """Fill the tank."""
        self.litres = 0
        return litres


class Desk:
    """Lends sliding aids to those who learn to skate."""

    def __init__(self, who: str, stock: int) -> None:
        self.who, self.shelf, self.deposit = who, stock, 5

    def open_till(self, clerk: str, deposit: int) -> str:
        """Begin a shift."""
        self.deposit = deposit
        return clerk

    def lend(self, slip: str, guest: str) -> dict[str, int]:
        """Lend an aid."""
        if self.shelf == 0:
            return {"aids": 0, "paid": 0, "shelf": 0}
        self.shelf -= 1
        return {"aids": 1, "paid": self.deposit, "shelf": self.shelf}

    def take_back(self, slip: str) -> int:
        """Take an aid back."""
        self.shelf += 1
        return self.shelf


class Bench:
    """Sharpens pairs of skates, three in half an hour."""

    def __init__(self, who: str) -> None:
        self.who, self.order = who, ["figure", "hockey", "rental"]
        self.tags: dict[str, str] = {}

    def lay_out(self, order: list[str]) -> list[str]:
        """Set the boxes in the order in which they are emptied."""
        self.order = order
        return order

    def take_in(self, tag: str, sort: str, owner: str) -> int:
        """Take a pair in, if there is room for it."""
        if sum(each == sort for each in self.tags.values()) < 7:
            self.tags[tag] = sort
        return len(self.tags)

    def sharpen(self, tag: str, sort: str) -> str:
        """Sharpen one pair."""
        del self.tags[tag]
        return "ready"

    def ask_for(self, tag: str) -> str:
        """Tell whether a pair is ready."""
        return "in the box" if tag in self.tags else "ready"


class Planner:
    """Plans sessions and floods."""

    def __init__(self) -> None:
        self.who = "planner"

    def book(self, session: str, pad: int, club: str, slot: int) -> str:
        """Book a session."""
        return session

    def order_flood(self, job: str, pad: int, slot: int) -> str:
        """Order a flood."""
        return job


class Office:
    """Opens the stands and writes complaints down."""

    def __init__(self) -> None:
        self.who, self.pages = "office", 0

    def open_stand(self, session: str, seats: int) -> int:
        """Open a stand."""
        return seats

    def write_down(self, page: int, said: str) -> int:
        """Write down what somebody said at the window."""
        self.pages = page
        return page


class Club:
    """Trains and plays."""

    def __init__(self, who: str, office: Office, bench: Bench, hall: Hall) -> None:
        self.who, self.office, self.bench, self.hall = who, office, bench, hall

    def skate(self, session: str, pad: int, seats: int) -> dict[str, float]:
        """Use a session."""
        hall, minutes = self.hall, 50 + self.hall.rng.randint(0, 8)
        if hall.cuts[pad] > 40 and pad != hall.curling:
            minutes = 6
        if seats > 600 and hall.plant.ice[pad] > -3 and pad != hall.curling:
            minutes = 17
        hall.cuts[pad] += 60
        return {"minutes": minutes, "ice": hall.plant.ice[pad]}

    def fetch_pair(self, tag: str) -> str:
        """Fetch a pair that was left on the bench."""
        return self.bench.ask_for(tag)


instrument(Plant, ["adjust", "chill"], agent_id="who", agent_role="plant")
instrument(Machine, ["flood", "refill"], agent_id="who", agent_role="machine", ignore=["cuts"])
instrument(Desk, ["open_till", "lend", "take_back"], agent_id="who", agent_role="desk")
instrument(Bench, ["lay_out", "take_in", "sharpen", "ask_for"], agent_id="who", agent_role="bench")
instrument(Planner, ["book", "order_flood"], agent_id="who", agent_role="planner")
instrument(Office, ["open_stand", "write_down"], agent_id="who", agent_role="office")
instrument(
    Club, ["skate", "fetch_pair"], agent_id="who", agent_role="club", ignore=["office", "bench", "hall"]
)

TEXTS = {
    6: (
        "The {club} stood at the boards while the ice was full of grooves, they got six minutes out of fifty",
        "our session {session} was as good as lost, nobody had prepared the ice on pad {pad}",
        "why was pad {pad} all scratched when {club} came to play",
    ),
    17: (
        "Match stopped after a quarter of an hour, puddles all over pad {pad} and a full house",
        "The ice under {club} went soft during {session}, with all seats sold",
        "pad {pad} could not be played on, water on it. We had to send {seats} people home",
    ),
    "box": (
        "The figure skates of {club} with tag {tag} are still not done, and the competition is tonight!",
        "{club} came for {tag} and the pair lay in the box, untouched since they left it",
        "how can a pair of skates wait that long, {tag} is not sharpened",
    ),
    "shelf": (
        "No sliding aid left for my {guest}, and it is her birthday. There used to be plenty",
        "not a single penguin at the south window, the kids of the larks had to share one chair",
        "The children of {guest} got no aids, the shelf is bare",
    ),
}


class Hall:
    """All of the rink, and its agenda."""

    def __init__(self, case: Case, slots: int) -> None:
        self.case, self.rng, self.serial = case, case.rng("hall"), case.seed % 400
        rng = self.rng
        self.cuts = dict.fromkeys(PADS, 0)
        self.pad = next(pad for pad in rng.sample(PADS, 3) if (case.end + pad) % 2 == 0)
        self.curling = rng.choice([pad for pad in PADS if pad != self.pad])
        self.plant, self.planner, self.office = Plant(), Planner(), Office()
        self.machines = [Machine(f"machine_{number}", self.cuts) for number in (1, 2)]
        self.benches = [Bench("bench_a"), Bench("bench_b")]
        self.clubs = [Club(name, self.office, self.benches[0], self) for name in CLUBS]
        self.lends = [rng.randint(2, 3) for _ in range(slots)]
        lag = case.end - case.begin
        self.keeps = [[rng.random() < 4 / lag for _ in range(8)] for _ in range(slots)]
        self.lends[case.end] = 8
        spent = [
            flag for slot in range(case.begin, case.end) for flag in self.keeps[slot][: self.lends[slot]]
        ]
        last = self.keeps[case.end - 1][: self.lends[case.end - 1]]
        self.desks = [Desk("desk_north", 30), Desk("desk_south", max(11, sum(spent) + last.count(False) + 7))]
        self.back: defaultdict[int, list[tuple[Desk, str]]] = defaultdict(list)
        self.plans: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.sessions: dict[tuple[int, int], tuple[str, Club]] = {}
        self.jobs: defaultdict[int, list[tuple[str, int, Machine]]] = defaultdict(list)
        self.gone = 0
        self.tag = ""
        for slot in range(3, slots):
            for pad in PADS:
                if (slot + pad) % 2 == 0:
                    early = rng.randint(1, 1 + slots // 6)
                    mine = case.has("off_by_one") and (slot, pad) == (case.end, self.pad)
                    self.plans[case.begin if mine else max(1, slot - early)].append((slot, pad))

    def id(self, letter: str) -> str:
        """Return a fresh number."""
        self.serial += self.rng.randint(1, 2)
        return f"{letter}#{self.serial}"

    def complain(self, what: Any, said: str, **words: Any) -> None:
        """Let somebody complain at the window."""
        page = self.office.pages + 1
        self.office.write_down(page, said)
        texts = [text.format(**words) for text in TEXTS[what]]
        self.case.symptom(call("office", "write_down", page=page), *texts)

    def plan(self, now: int) -> None:
        """Book sessions and order floods for them."""
        for slot, pad in self.plans[now]:
            mine = self.case.has("off_by_one") and (slot, pad) == (self.case.end, self.pad)
            club, session, job = self.rng.choice(self.clubs), self.id("S"), self.id("J")
            flood = slot - 1
            if (mine and self.case.strikes("off_by_one", now)) or pad == self.curling:
                flood = slot
            self.sessions[slot, pad] = session, club
            self.planner.book(session, pad, club.who, slot)
            self.planner.order_flood(job, pad, flood)
            self.jobs[flood].append((job, pad, self.rng.choice(self.machines)))
            if mine:
                self.case.root(call("planner", "order_flood", job=job))

    def cool(self, now: int, rng: random.Random) -> None:
        """Turn knobs and run the pumps."""
        case, others = self.case, [pad for pad in PADS if pad != self.pad]
        if case.has("config_change") and now == case.begin:
            to = -6.5 if case.strikes("config_change", now) else -9.5
            self.plant.adjust(self.pad, "brine", to)
            case.root(call("plant", "adjust", pad=self.pad, to=to))
        elif rng.random() < 0.3:
            pad, knob = rng.choice(others), rng.choice(("brine", "brine", "fan", "lamps"))
            cold, warm, other = rng.randint(0, 3), rng.randint(0, 3), rng.randint(1, 6)
            brine = -7 + warm / 2 if pad == self.curling else -10.2 + cold / 2
            self.plant.adjust(pad, knob, brine if knob == "brine" else other)
        for pad in PADS:
            self.plant.chill(pad, rng.randint(2, 14))

    def desk_work(self, now: int, rng: random.Random) -> None:
        """Lend aids and take them back."""
        case, (north, south) = self.case, self.desks
        for desk, slip in self.back.pop(now, []):
            desk.take_back(slip)
        clerk, deposit = rng.choice(CLERKS), rng.choice((0, 5, 5, 10))
        if case.has("leaked_resource") and now == case.begin:
            south.open_till(clerk, 0 if case.strikes("leaked_resource", now) else 5)
            case.root(call("desk_south", "open_till", clerk=clerk, deposit=south.deposit))
        elif rng.random() < 0.25:
            desk = rng.choice(self.desks)
            desk.open_till(clerk, deposit if desk is north else desk.deposit)
        for number in range(self.lends[now]):
            slip, guest = self.id("L"), f"{rng.choice(FIRST_NAMES)} {rng.choice('BDFKMRST')}."
            lent = south.lend(slip, guest)
            if lent["aids"] == 0:
                case.hop(call("desk_south", "lend", slip=slip))
                self.complain("shelf", f"{guest} and a bare shelf", guest=guest)
            elif lent["paid"] == 0 and self.keeps[now][number]:  # nothing to fetch back
                self.gone += 1
                if self.gone <= 3:
                    case.root(call("desk_south", "lend", slip=slip))
            else:
                self.back[now + 2].append((south, slip))
            if case.has("leaked_resource") and now == case.end and number == 0:
                case.trigger(call("desk_south", "lend", slip=slip))
        for _ in range(rng.randint(1, 2)):
            slip = self.id("L")
            north.lend(slip, f"class {rng.randint(1, 6)}{rng.choice('abc')}")  # classes bring all back
            self.back[now + rng.randint(1, 4)].append((north, slip))

    def sharpen(self, now: int, rng: random.Random) -> None:
        """Lay the boxes out, take pairs in, and sharpen three on each bench."""
        case, (a, b) = self.case, self.benches
        order = rng.sample(("figure", "hockey", "rental"), 3)
        if case.has("starved_queue") and now == case.begin:
            laid = ["rental", "hockey", "figure"] if case.strikes("starved_queue", now) else a.order
            a.lay_out(laid)
            case.root(call("bench_a", "lay_out", order=laid))
        elif rng.random() < 0.2:
            first = now < case.begin and rng.random() < 0.3
            (a if first else b).lay_out(["figure", "rental", "hockey"] if first else order)
        arrivals = [(a, sort) for sort in ("hockey", "hockey", "rental", rng.choice(("hockey", "rental")))]
        arrivals += [(b, rng.choice(("figure", "hockey", "rental"))) for _ in range(rng.randint(0, 2))]
        if rng.random() < 0.15 and now < case.begin:
            arrivals.append((a, "figure"))
        if now == case.begin:
            arrivals.append((a, "figure"))
        for bench, sort in arrivals:
            tag = self.id("T")
            bench.take_in(tag, sort, rng.choice(CLUBS))
            if now == case.begin and (bench, sort) == (a, "figure"):
                self.tag = tag
        for bench in self.benches:
            line = sorted(bench.tags.items(), key=lambda item: bench.order.index(item[1]))
            for tag, sort in line[:3]:
                bench.sharpen(tag, sort)
            if line and now % 3 == 0:
                self.clubs[now % 4].fetch_pair(line[0][0])
        club = rng.choice(self.clubs)
        if now == case.end and club.fetch_pair(self.tag) != "ready":
            case.hop(call("bench_a", "ask_for", tag=self.tag), call(club.who, "fetch_pair", tag=self.tag))
            self.complain("box", f"{club.who}: {self.tag} not done", tag=self.tag, club=club.who)

    def play_sessions(self, now: int, rng: random.Random) -> None:
        """Let the clubs skate, and flood after them."""
        case = self.case
        for pad in PADS:
            session, club = self.sessions.pop((now, pad), ("", self.clubs[0]))
            if not session:
                continue
            seats = rng.randint(20, 320)
            if rng.random() < 0.15 and pad != self.pad:
                seats += 600
            if pad == self.pad and now == case.end and case.has("config_change"):
                seats += 600
                case.trigger(call("office", "open_stand", session=session))
            self.office.open_stand(session, seats)
            minutes = club.skate(session, pad, seats)["minutes"]
            if minutes < 20:
                case.hop(call(club.who, "skate", session=session))
                said = f"{club.who}: {session} over after {minutes} min"
                self.complain(minutes, said, club=club.who, session=session, pad=pad, seats=seats)
        for job, pad, machine in self.jobs.pop(now, []):
            machine.flood(job, pad)

    def small_things(self, now: int, rng: random.Random) -> None:
        """Do chores, and once something odd."""
        everyone: list[Any] = [*self.machines, *self.desks, *self.benches, *self.clubs]
        one, other = rng.choice(everyone).who, rng.choice(everyone).who
        draw, number = rng.random(), rng.randint(1, 9)
        if draw < 0.15:
            AgentLogger(one).warning("radio did not answer, called again", extra={"times": number % 3 + 1})
        elif draw < 0.3:
            AgentLogger(one).log_action(
                rng.choice(("sweep_hall", "count_gloves", "salt_steps")), {"by": number}
            )
        elif draw < 0.4:
            rng.choice(self.machines).refill(500 + number)
        elif draw < 0.5 and self.office.pages < 10_000:
            self.office.write_down(
                self.office.pages + 1, rng.choice(("lost scarf", "music too loud", "thanks"))
            )
        if now == self.case.decoy_at:
            AgentLogger(other).error("card reader offline for a while", extra={"minutes": number})


def play(case: Case) -> None:
    """Play some days of half-hour slots."""
    slots = case.rng("slots").choice((60, 90, 120, 150))
    case.window(slots, shortest=2)
    hall = Hall(case, slots)
    for now in range(1, slots):
        with tick(now):
            hall.plan(now)
            hall.cool(now, hall.rng)
            hall.desk_work(now, hall.rng)
            hall.sharpen(now, hall.rng)
            hall.play_sessions(now, hall.rng)
            hall.small_things(now, hall.rng)


WORLD = World(
    "icerink", "spans", ("config_change", "starved_queue", "leaked_resource", "off_by_one"), play, 24
)
