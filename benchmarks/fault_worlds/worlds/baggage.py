"""Baggage at an airport: desks tag, belts keep and release, carts drive, gates load, the reclaim hall counts.

Evidence: every message is sent and received, and acts name the message that led to them.
"""

from __future__ import annotations

from dataclasses import dataclass

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

HORIZON = 160
STANDS = range(21, 27)
BELTS = ("belt-elm", "belt-oak", "belt-fir")
DESKS = ("desk-hall", "desk-family", "desk-club")
CARTS = ("cart-red", "cart-blue", "cart-green")


@dataclass
class Bag:
    """A suitcase: what its tag says, and where it is."""

    tag: str
    flight: int
    lane: int
    stand: int
    slot: int
    cleared: bool = True
    place: str = "belt"
    last: str = ""
    traced: bool = False


@dataclass
class Flight:
    """A flight, which leaves at the tick that is its number."""

    stand: int
    grace: bool = True
    name: str = ""


class Airport:
    """One day; each tick is five minutes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(HORIZON)
        rng = case.rng("board")
        self.flights = {
            number: Flight(rng.choice(STANDS), rng.random() < 0.9, f"KV{300 + 7 * number}")
            for number in range(HORIZON + 3)
        }
        self.target = self.flights[case.end]
        if case.has("off_by_one"):
            self.target.grace = False
        self.bags: dict[str, Bag] = {}
        self.parked: list[str] = []
        self.log = {belt: AgentLogger(belt, "belt") for belt in BELTS}
        self.log |= {desk: AgentLogger(desk, "desk") for desk in DESKS}
        self.log |= {cart: AgentLogger(cart, "cart") for cart in CARTS}
        self.log |= {f"gate-{stand}": AgentLogger(f"gate-{stand}", "gate") for stand in STANDS}
        self.log |= {
            name: AgentLogger(name, name) for name in ("tower", "reclaim", "switchboard", "security")
        }

    def belt_of(self, flight: int) -> str:
        """Return the belt that keeps the bags of a flight."""
        return BELTS[flight % 3]

    def check_in(self, now: int, flight: int, serial: int, victim: bool = False) -> None:
        """Tag a bag, bring it to its belt and give it a slot; some have to be cleared first."""
        case, rng = self.case, self.case.rng(f"bag/{now}/{serial}/{victim}")
        desk, belt, board = rng.choice(DESKS), self.belt_of(flight), self.flights[flight]
        tag = f"B{1000 + 43 * now + 6 * serial}"
        lane, stand = rng.choice([n for n in STANDS if n != board.stand]), board.stand
        if victim and case.strikes("swapped_fields", now):
            lane, stand = stand, lane
        tagged = self.log[desk].log_action(
            "tag_bag", {"tag": tag, "flight": board.name, "lane": lane, "stand": stand}
        )
        note = self.log[desk].send(belt, {"tag": tag, "flight": board.name, "stand": stand}, causes=tagged)
        got = self.log[belt].receive(note)
        slot = max(now, flight - rng.choice((0, 1, 1, 2)))
        late = rng.random() < 0.25 and board.grace and not victim
        slot = flight + 1 if late or (victim and case.strikes("off_by_one", now)) else slot
        planned = self.log[belt].log_action(
            "plan_release", {"tag": tag, "lane": lane, "slot": slot, "flight": board.name}, causes=got
        )
        bag = self.bags[tag] = Bag(tag, flight, lane, stand, slot, last=planned)
        if rng.random() < 0.3 or (victim and case.has("dead_letter")):
            self.clear(now, bag, belt, planned, rng.random() < 0.3, victim)
        if victim and case.faulty:
            case.root(*({"swapped_fields": [tagged], "off_by_one": [planned]}.get(case.kind, [])))
            case.hop(got, planned)

    def clear(self, now: int, bag: Bag, belt: str, planned: str, busy: bool, victim: bool) -> None:
        """Clear a bag; the switchboard forwards the clearance, or parks it while the line is busy."""
        bag.cleared = False
        seen = self.log["security"].log_action("clear_bag", {"tag": bag.tag, "images": 2}, causes=planned)
        note = self.log["security"].send("switchboard", {"clears": bag.tag, "to": belt}, causes=seen)
        got = self.log["switchboard"].receive(note)
        lost = victim and self.case.strikes("dead_letter", now)
        if busy or lost:
            parked = self.log["switchboard"].warning(
                "Line busy, note parked", {"clears": bag.tag, "to": belt}, causes=got
            )
            if lost:
                self.case.root(parked)
                return
            self.log["switchboard"].log_action("fetch_parked", {"clears": bag.tag, "to": belt}, causes=parked)
        self.forward(bag, belt, got)

    def forward(self, bag: Bag, belt: str, why: str) -> None:
        """Bring a clearance to the belt."""
        got = self.log[belt].receive(self.log["switchboard"].send(belt, {"clears": bag.tag}, causes=why))
        bag.cleared, bag.last = True, got

    def change_stand(self, now: int, flight: int, victim: bool) -> None:
        """Move a flight to another stand, and tell its gate and its belt."""
        case, rng, board, belt = (
            self.case,
            self.case.rng(f"move/{now}/{victim}"),
            self.flights[flight],
            self.belt_of(flight),
        )
        old, board.stand = board.stand, rng.choice([n for n in STANDS if n != board.stand])
        moved = self.log["tower"].log_action(
            "change_stand", {"flight": board.name, "from": old, "to": board.stand}
        )
        gate = f"gate-{board.stand}"
        first = self.log["tower"].send(gate, {"flight": board.name, "stand": board.stand}, causes=moved)
        self.log[gate].receive(first)
        waiting = [bag for bag in self.bags.values() if bag.flight == flight and bag.place == "belt"]
        if victim and case.strikes("omitted_message", now):
            case.root(moved, first.event_id)
            return
        told = [belt] if waiting else []
        told += [other for other in BELTS if other != belt and rng.random() < 0.2]
        wrong = victim and case.strikes("wrong_recipient", now)
        if wrong:
            told = [next(other for other in BELTS if other != belt)]
        for name in told:
            note = self.log["tower"].send(name, {"flight": board.name, "stand": board.stand}, causes=moved)
            got = self.log[name].receive(note)
            mine = [bag for bag in waiting if self.belt_of(bag.flight) == name]
            done = self.log[name].log_action(
                "note_stand", {"flight": board.name, "bags": len(mine)}, causes=got
            )
            for bag in mine:
                bag.stand, bag.last = board.stand, done
            if wrong:
                case.root(note.event_id)
                case.hop(got, done)

    def release(self, now: int) -> None:
        """Release the bags whose slot has come, and drive them to the stand of their tag."""
        for number, bag in enumerate(list(self.bags.values())):
            if bag.place != "belt" or bag.slot > now:
                continue
            belt, mine = self.belt_of(bag.flight), bag.flight == self.case.end
            if not bag.cleared:
                held = self.log[belt].log_action("hold_bag", {"tag": bag.tag, "lane": bag.lane})
                bag.place, bag.last = "held", held
                self.case.hop(held)
                continue
            cart = CARTS[(now + number) % 3]
            out = self.log[belt].log_action("release", {"tag": bag.tag, "stand": bag.stand}, causes=bag.last)
            took = self.log[cart].receive(
                self.log[belt].send(cart, {"tag": bag.tag, "stand": bag.stand}, causes=out)
            )
            gate = f"gate-{bag.stand}"
            came = self.log[gate].log_action("unload_cart", {"tag": bag.tag, "cart": cart}, causes=took)
            right = bag.stand == self.flights[bag.flight].stand
            bag.place, bag.last = ("aboard" if right and self.in_time(bag, now) else "left"), came
            if mine:
                self.case.hop(out, took, came)

    def in_time(self, bag: Bag, now: int) -> bool:
        """Tell whether the hold of the flight is still open."""
        return now <= bag.flight + self.flights[bag.flight].grace

    def depart(self, now: int) -> None:
        """Close the hold of a flight, and let passengers at the other end look for their bags."""
        board = self.flights[now]
        closed = self.log[f"gate-{board.stand}"].log_action(
            "close_hold", {"flight": board.name, "wait_min": 5 * board.grace}
        )
        if now == self.case.end and self.case.has("off_by_one"):
            self.case.trigger(closed)

    def count(self, now: int) -> None:
        """Let the reclaim hall count the bags of the last flight."""
        flight = now - 1
        if flight < 0:
            return
        board = self.flights[flight]
        bags = [bag for bag in self.bags.values() if bag.flight == flight]
        missing = [bag for bag in bags if bag.place != "aboard"]
        self.log["reclaim"].log_action("count_bags", {"flight": board.name, "bags": len(bags) - len(missing)})
        for bag in missing:
            seen = self.log["reclaim"].log_action(
                "report_missing", {"tag": bag.tag, "flight": board.name}, causes=bag.last
            )
            self.case.symptom(seen, *self.words(bag, board))

    def words(self, bag: Bag, board: Flight) -> tuple[str, ...]:
        """Return what travellers and staff write."""
        third = {
            "off_by_one": f"{self.belt_of(bag.flight)} or somebody after it lost our luggage, flight {board.name}",
            "dead_letter": f"Suitcase {bag.tag} was never put on the plane",
        }.get(self.case.kind, "Some travellers wait for luggage that does not come")
        return (
            f"A passenger of {board.name} came to reclaim and says the suitcase is not there",
            "People are standing at reclaim without their luggage",
            third,
            f"gate-{board.stand} closed its hold and a suitcase of {board.name} was left behind",
            "Luggage goes missing",
            f"My bag {bag.tag} did not arrive with me",
        )

    def noise(self, now: int) -> None:
        """Record what happens every day: settings, chores, and errors that somebody deals with."""
        rng, case = self.case.rng(f"noise/{now}"), self.case
        if rng.random() < 0.25:
            SystemLogger().log_config(
                rng.choice(("belt_speed", "display_brightness", "cart_limit")),
                rng.randint(1, 5),
                rng.randint(1, 5),
            )
        if rng.random() < 0.15:
            cart = rng.choice(CARTS)
            bad = self.log[cart].error("Battery low", {"charge": rng.randint(5, 12)})
            self.log[cart].log_action("change_battery", {"charge": 100}, causes=bad)
        if rng.random() < 0.1:
            self.log["switchboard"].warning(
                "Line busy, note parked", {"about": rng.choice(("catering", "cleaning"))}
            )
        if rng.random() < 0.4:
            self.log[rng.choice(BELTS)].log_action("grease_rollers", {"lane": rng.choice(STANDS)})
        if now == case.decoy_at:
            self.log[self.belt_of(case.end)].error("Roller stuck", {"lane": rng.choice(STANDS)})
            self.log[self.belt_of(case.end)].log_action("free_roller", {"seconds": rng.randint(4, 30)})

    def day(self) -> None:
        """Play all ticks."""
        case = self.case
        moves = case.has("omitted_message") or case.has("wrong_recipient")
        for now in range(HORIZON):
            rng = case.rng(f"tick/{now}")
            with tick(now):
                self.noise(now)
                for serial in range(rng.choice((1, 2, 2, 3))):
                    far = round(2 ** rng.uniform(0, 5.5))
                    self.check_in(now, min(now + far, HORIZON + 2), serial)
                if now == case.begin - (1 if moves else 0):
                    self.check_in(now, case.end, 7, victim=True)
                other = now + rng.randint(2, 25)
                if rng.random() < 0.35 and other < HORIZON and other != case.end:
                    self.change_stand(now, other, victim=False)
                if moves and now == case.begin:
                    self.change_stand(now, case.end, victim=True)
                self.release(now)
                self.depart(now)
                self.count(now)


def play(case: Case) -> None:
    """Play one day at the airport."""
    Airport(case).day()


WORLD = World(
    "baggage",
    "edges",
    ("swapped_fields", "wrong_recipient", "off_by_one", "omitted_message", "dead_letter"),
    play,
    author=3,
)
