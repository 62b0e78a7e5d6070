"""A ferry company: harbours with copies of the tide table, boats, a crew desk, a fuel barge, a yard and lent trailers."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

PORTS = ("harbour_arn", "harbour_byre", "harbour_coll", "harbour_dorn")
BOATS = ("petrel", "gannet", "osprey", "shearwater", "kittiwake")
MATES = ("Ida", "Bjorn", "Sven", "Tove", "Lars", "Mette", "Niels", "Olga")


class Place:
    """What all share: the case, the draws, and the true state of the coast."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("ferries")
        self.edition = dict.fromkeys(PORTS, 1)
        self.tank = dict.fromkeys(BOATS, 5000.0)
        self.greased = dict.fromkeys(BOATS, True)
        self.crewed: dict[str, int] = {}
        self.trailers = 20
        self.guilty_port, self.port = self.rng.sample(PORTS, 2)
        self.boat, self.other = self.rng.sample(BOATS, 2)


class Worker:
    """Somebody with a name whose calls are recorded."""

    trace_ignore = ("place",)

    def __init__(self, agent_id: str, place: Place) -> None:
        self.agent_id, self.place = agent_id, place
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class TideOffice(Worker):
    """Publishes tide tables, one for each port."""

    @trace_agent_action()
    def publish(self, port: str, edition: int, lowest_cm: int) -> dict[str, Any]:
        """Publish a new table."""
        return {"port": port, "edition": edition}


class Harbour(Worker):
    """Clears boats by its own copy of the table, and lends trailers."""

    @trace_agent_action()
    def copy_table(self, port: str, edition: int) -> str:
        """Take the newest table over."""
        self.place.edition[port] = edition
        return "copied"

    @trace_agent_action()
    def read_depth(self, boat: str, now: int) -> dict[str, Any]:
        """Read the depth for a boat that wants to leave."""
        return {"edition": self.place.edition[self.agent_id], "depth_cm": self.place.rng.randint(420, 600)}

    @trace_agent_action()
    def clear(self, boat: str, now: int) -> str:
        """Let a boat leave."""
        self.read_depth(boat, now)
        return "cleared"

    @trace_agent_action()
    def lend_trailer(self, boat: str, slip: str) -> str:
        """Lend a trailer for cargo."""
        if self.place.trailers <= 0:
            self.log.error("no trailer left in the yard", extra={"slip": slip})
            return "none"
        self.place.trailers -= 1
        return "lent"

    @trace_agent_action()
    def take_back(self, boat: str, slip: str) -> str:
        """Take a trailer back."""
        self.place.trailers += 1
        return "back"


class Crews(Worker):
    """Plans who sails where."""

    @trace_agent_action()
    def assign(self, boat: str, mate: str, first: int, last: int) -> str:
        """Assign a mate to a boat for some days."""
        self.place.crewed[boat] = last
        return f"{mate} on {boat}"


class Barge(Worker):
    """Sells fuel."""

    @trace_agent_action()
    def bunker(self, boat: str, ticket: str, amount: int, unit: str) -> dict[str, Any]:
        """Pump fuel into the reserve tank of a boat."""
        return {"ticket": ticket, "pumped": amount}


class Yard(Worker):
    """Maintains boats, step by step."""

    @trace_agent_action()
    def hoist(self, boat: str, job: str) -> str:
        """Hoist a boat out of the water."""
        return "up"

    @trace_agent_action()
    def grease_ramp(self, boat: str, job: str) -> str:
        """Grease the ramp."""
        self.place.greased[boat] = True
        return "greased"

    @trace_agent_action()
    def sign_off(self, boat: str, job: str) -> str:
        """Sign a job off."""
        return "signed"

    @trace_agent_action()
    def overhaul(self, boat: str, job: str, *, ramp: bool) -> str:
        """Do a whole job."""
        self.hoist(boat, job)
        if ramp:
            self.grease_ramp(boat, job)
        return self.sign_off(boat, job)


class Boat(Worker):
    """Crosses between ports; its purser sells tickets."""

    @trace_agent_action()
    def sell(self, trip: str, tickets: int) -> int:
        """Sell tickets."""
        return tickets * 12

    @trace_agent_action()
    def cross(self, trip: str, to: str, now: int, wind: int) -> dict[str, Any]:
        """Cross to another port."""
        place, case, happened = self.place, self.place.case, "arrived"
        due = now == case.end and self.agent_id == place.boat
        if due and wind > 8 and place.tank[self.agent_id] < 2000:
            happened = "towed in"
        elif due and not place.greased[self.agent_id]:
            happened = "ramp stuck"
        elif place.crewed[self.agent_id] < now:
            happened = "did not sail"
        elif due and case.has("stale_cache") and place.edition[place.guilty_port] == 1:
            happened = "touched ground"
        return {"trip": trip, "outcome": happened, "minutes": place.rng.randint(38, 55)}


class Quay(Worker):
    """Where passengers wait, and grumble."""

    @trace_agent_action()
    def note(self, trip: str, outcome: str, waiting: int) -> str:
        """Write down how a trip went for the passengers."""
        return "noted"


TEXTS = {
    "towed in": (
        "We drifted for an hour in the storm and had to be towed in. They say the engine had nothing left to burn!",
        "The {boat} ran dry in bad weather although it had been refuelled",
        "boat without fuel in the gale, how come? {port} had warned about the wind in time",
    ),
    "ramp stuck": (
        "cars could not get off for three hours because the ramp would not go down",
        "The ramp of {boat} stuck. It came out of maintenance with a clean paper",
        "stuck ramp at {port}, all cars had to wait",
    ),
    "did not sail": (
        "our ferry just did not sail, nobody was on board to steer it",
        "{boat} stayed at the quay without a crew, and nobody knew why",
        "no crossing today! at {port} they say a mate was missing",
    ),
    "touched ground": (
        "we hit the sand right outside of the port, cups everywhere",
        "{boat} touched the ground on leaving although it was cleared. Who let it go at that water?",
        "grounding of a ferry near low water. {port} never has that",
    ),
    "no trailer": (
        "Since this week there is never a trailer for our goods, everything stands on the quay",
        "{boat} gets no trailers any more. What happened to all of them?",
        "goods pile up at {port} as the yard has no trailers",
    ),
}


def play(case: Case) -> None:
    """Play some weeks of crossings."""
    place = Place(case)
    rng, days = place.rng, place.rng.choice((60, 90, 140, 200))
    case.window(days, shortest=3)
    ports, boats = {p: Harbour(p, place) for p in PORTS}, {b: Boat(b, place) for b in BOATS}
    tides, crews, barge, yard, quay = (
        TideOffice("tide_office", place),
        Crews("crew_desk", place),
        Barge("fuel_barge", place),
        Yard("north_yard", place),
        Quay("passenger_quay", place),
    )
    leaked: list[str] = []
    if case.has("leaked_resource"):
        place.trailers = 15 + round((case.end - case.begin) * 0.65)
    lent: list[tuple[int, str, str, str]] = []
    serial = 100
    for boat in BOATS:
        crews.assign(boat, rng.choice(MATES), 0, 6 + rng.randint(0, 6))
    for now in range(days):
        with tick(now):
            _chores(now, place, rng, [*ports.values(), *boats.values(), yard], case)
            for boat in BOATS:  # the next mate comes on the last day of the one before
                pinned = case.has("off_by_one") and boat == place.boat
                if pinned and now == case.begin:
                    last = case.end - (1 if case.strikes("off_by_one", now) else 0)
                    crews.assign(boat, mate := rng.choice(MATES), now, last)
                    case.root(call("crew_desk", "assign", boat=boat, mate=mate, first=now, last=last))
                elif place.crewed[boat] <= now and not (pinned and case.begin < now <= case.end):
                    crews.assign(boat, rng.choice(MATES), now, now + rng.randint(5, 12))
            _supply(now, place, rng, tides, ports, barge, yard)
            for due, port, boat, slip in [item for item in lent if item[0] <= now]:
                lent.remove((due, port, boat, slip))
                if case.strikes("leaked_resource") and now >= case.begin and boat == place.other:
                    leaked.append(slip)
                    if len(leaked) <= 3:
                        case.root(call(port, "lend_trailer", slip=slip))
                else:
                    ports[port].take_back(boat, slip)
            for boat in rng.sample(BOATS, len(BOATS)):
                serial += 1
                port = place.guilty_port if now == case.end and boat == place.boat else rng.choice(PORTS)
                trip, wind = f"trip{serial}", 9 if now == case.end else rng.randint(0, 9)
                boats[boat].sell(trip, rng.randint(10, 140))
                if rng.random() < 0.7:
                    slip = f"slip{serial}"
                    if ports[port].lend_trailer(boat, slip) == "lent":
                        lent.append((now + rng.randint(1, 3), port, boat, slip))
                    elif boat != place.other:
                        quay.note(trip, "no trailer", rng.randint(2, 9))
                        case.symptom(
                            call("passenger_quay", "note", trip=trip), *_texts("no trailer", boat, place)
                        )
                ports[port].clear(boat, now)
                done = boats[boat].cross(trip, rng.choice(PORTS), now, wind)
                quay.note(trip, done["outcome"], rng.randint(0, 5))
                if done["outcome"] != "arrived" and boat == place.boat:
                    case.hop(call(boat, "cross", trip=trip))
                    case.symptom(
                        call("passenger_quay", "note", trip=trip), *_texts(done["outcome"], boat, place)
                    )


def _texts(outcome: str, boat: str, place: Place) -> list[str]:
    return [text.format(boat=boat, port=place.port) for text in TEXTS[outcome]]


def _supply(
    now: int,
    place: Place,
    rng: random.Random,
    tides: TideOffice,
    ports: dict[str, Harbour],
    barge: Barge,
    yard: Yard,
) -> None:
    """Publish tables, sell fuel, and maintain boats: everyday, and once with the fault."""
    case, struck = place.case, now == place.case.begin
    if struck and case.has("stale_cache"):
        edition, port = 2, place.guilty_port
        tides.publish(port, edition, 180)
        if case.strikes("stale_cache"):
            case.root(call("tide_office", "publish", port=port, edition=edition, lowest_cm=180))
        else:
            ports[port].copy_table(port, edition)
    elif rng.random() < 0.12:
        port = rng.choice([p for p in PORTS if p != place.guilty_port])
        edition = place.edition[port] + 1
        tides.publish(port, edition, rng.randint(170, 240))
        if rng.random() < 0.85:  # a small change is often not worth a copy
            ports[port].copy_table(port, edition)
    if struck and case.has("wrong_unit"):
        wrong = case.strikes("wrong_unit")
        barge.bunker(place.boat, f"F{now}", 1100 if wrong else 4200, "l")
        place.tank[place.boat] = 1100 if wrong else 4200
        case.root(call("fuel_barge", "bunker", ticket=f"F{now}"))
    elif rng.random() < 0.25:
        boat = rng.choice([b for b in BOATS if b != place.boat])
        gallons = rng.random() < 0.15
        amount = rng.randint(3600, 4600)
        barge.bunker(boat, f"F{now}", round(amount / 3.785) if gallons else amount, "gal" if gallons else "l")
    if struck and case.has("omitted_step"):
        wrong = case.strikes("omitted_step")
        place.greased[place.boat] = not wrong
        yard.overhaul(place.boat, f"J{now}", ramp=not wrong)
        case.root(*(call("north_yard", name, job=f"J{now}") for name in ("hoist", "sign_off", "overhaul")))
    elif rng.random() < 0.15:
        boat = rng.choice([b for b in BOATS if b != place.boat])
        yard.overhaul(boat, f"J{now}", ramp=rng.random() < 0.9)  # some boats have no ramp on that side


def _chores(now: int, place: Place, rng: random.Random, workers: list[Any], case: Case) -> None:
    """Settings, hiccups and chores of no consequence, and one more shortly before the symptom."""
    for _ in range(2):
        worker = rng.choice(workers)
        if rng.random() < 0.2:
            key = rng.choice(("radio_channel", "flag", "lamp_minutes"))
            worker.log.log_state_change({key: rng.randint(1, 4)}, {key: rng.randint(5, 9)}, trigger="by hand")
        if rng.random() < 0.08:
            worker.log.warning("radar slow", extra={"tries": 1})
        if rng.random() < 0.1:
            worker.log.log_action(
                rng.choice(("paint_rail", "count_vests", "rinse_deck")), {"minutes": rng.randint(5, 50)}
            )
    if now == case.decoy_at:
        rng.choice(workers).log.warning("fog horn out of order", {"day": now})


WORLD = World(
    "ferries",
    "spans",
    ("stale_cache", "off_by_one", "leaked_resource", "omitted_step", "wrong_unit"),
    play,
    author=9,
)
