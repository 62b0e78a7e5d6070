"""A travel bureau of assistants: coroutines side by side in runs with steps and model calls. No ticks."""

from __future__ import annotations

import asyncio
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

LANDS = ("Peru", "Oman", "Fiji", "Mali", "Laos", "Chad", "Cuba", "Iran")
NAMES = ("Okafor", "Nilsen", "Bauer", "Costa", "Haddad", "Mori", "Novak", "Reyes", "Silva", "Kaya")
PLANNERS = ("planner_red", "planner_blue", "planner_grey")


class Bureau:
    """What is true of travellers, seats and bookings."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("bureau")
        self.rounds = self.rng.choice((40, 70, 110, 170))
        self.now = 0
        self.allowance = 0
        self.visa: dict[str, bool] = {}
        self.profile: dict[str, str] = {}
        self.held: dict[str, list[str]] = {}
        self.hotel: dict[str, str] = {}
        self.trip = f"T{self.rng.randint(6000, 9000)}"
        self.rival = f"T{self.rng.randint(2000, 5000)}"
        self.planner, self.other = self.rng.sample(PLANNERS, 2)
        self.storm = 0


class Member:
    """Somebody who works for the bureau."""

    trace_ignore = ("bureau",)

    def __init__(self, agent_id: str, bureau: Bureau) -> None:
        self.agent_id, self.bureau = agent_id, bureau
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class VisaService(Member):
    """A tool that knows the rules of entry."""

    @trace_agent_action()
    async def ask_rules(self, trip: str, land: str) -> dict[str, Any]:
        """Tell whether a visa is needed."""
        await asyncio.sleep(0)
        needed = land in LANDS[:5]
        if trip == self.bureau.trip and self.bureau.case.strikes("trusted_tool"):
            needed = False
        return {"trip": trip, "needed": needed}


class FareService(Member):
    """A tool with an allowance of questions."""

    @trace_agent_action()
    async def ask_fare(self, trip: str, attempt: int) -> dict[str, Any]:
        """Tell a fare, or that the line is busy."""
        self.bureau.allowance -= 1
        if self.bureau.allowance < 0:
            self.log.error("no questions left", extra={"trip": trip})
            return {"trip": trip, "fare": None, "why": "allowance"}
        busy = attempt == 1 and self.bureau.case.rng(f"busy/{trip}").random() < 0.2
        return {
            "trip": trip,
            "fare": None if busy else self.bureau.case.rng(f"fare/{trip}").randint(300, 900),
        }


class Registrar(Member):
    """Keeps profiles of travellers."""

    @trace_agent_action()
    async def enrol(self, trip: str, surname: str, born: int, profile: str) -> str:
        """Connect a trip with the profile of its traveller."""
        self.bureau.profile[trip] = profile
        return profile


class SeatBoard(Member):
    """Shows free seats, and holds them."""

    @trace_agent_action()
    async def look(self, flight: str, trip: str) -> dict[str, Any]:
        """Show who holds the last seats of a flight."""
        return {"flight": flight, "holders": list(self.bureau.held.get(flight, []))}

    @trace_agent_action()
    async def hold(self, flight: str, trip: str) -> str:
        """Hold a seat."""
        self.bureau.held.setdefault(flight, []).append(trip)
        return "held"


class HotelDesk(Member):
    """Changes and cancels rooms."""

    @trace_agent_action()
    async def apply(self, trip: str, order: int, change: str) -> dict[str, Any]:
        """Apply a change of a room."""
        self.bureau.hotel[trip] = change
        return {"trip": trip, "order": order, "room": change}


class Planner(Member):
    """Plans trips with the help of tools and a model."""

    @trace_agent_action()
    async def gather(self, trip: str, land: str, tools: Any) -> dict[str, Any]:
        """Ask about rules and fares."""
        visa, fares = tools
        rules = await visa.ask_rules(trip, land)
        self.bureau.visa[trip] = rules["needed"]
        fare = await fares.ask_fare(trip, 1)
        tries = 1
        limit = 2
        case = self.bureau.case
        if (
            case.strikes("retry_storm")
            and self.bureau.now >= case.begin
            and self.agent_id == self.bureau.planner
        ):
            limit = 14
        while (fare["fare"] is None and tries < limit) or (limit == 14 and tries < 12):
            tries += 1
            fare = await fares.ask_fare(trip, tries)
        if limit == 14 and self.bureau.storm < 3:
            self.bureau.storm += 1
            case.root(call(self.agent_id, "gather", trip=trip))
        return {"trip": trip, "fare": fare["fare"], "tries": tries, "visa": rules["needed"]}

    @trace_agent_action()
    async def propose(self, trip: str, gathered: dict[str, Any]) -> str:
        """Write a proposal."""
        return "sent" if gathered["fare"] is not None else "without a price"


class Concierge(Member):
    """Is there on the day of departure."""

    @trace_agent_action()
    async def see_off(self, trip: str, land: str) -> dict[str, Any]:
        """See travellers off."""
        return {"trip": trip, "outcome": await self._outcome(trip, land)}

    async def _outcome(self, trip: str, land: str) -> str:
        bureau = self.bureau
        if land in LANDS[:5] and not bureau.visa.get(trip, True):
            return "refused at the gate"
        if trip == bureau.trip and bureau.profile.get(trip, f"profile-{trip}") != f"profile-{trip}":
            return "ticket bears another birthday"
        if (
            any(trip in h and len(h) > 1 for f, h in bureau.held.items() if f.startswith("last"))
            and trip == bureau.trip
        ):
            return "no seat"
        if trip == bureau.trip and bureau.hotel.get(trip) == "cancelled":
            return "no room"
        return "gone"


TEXTS = {
    "refused at the gate": (
        "I was not let on board since I have no permission to enter that country. You told me that I need none!",
        "{trip} was turned back at the airport",
        "stranded at the airport, no papers. {other} was always so careful with mine",
    ),
    "ticket bears another birthday": (
        "they would not let me fly as the ticket was for another person with my name",
        "wrong birthday on the ticket of {trip}",
        "someone mixed me up. {other} says it was not them",
    ),
    "no seat": (
        "two of us for one seat and I had to stay at home",
        "{trip} had a confirmed seat, and there was none",
        "overbooked! {other} looked into it and found nothing",
    ),
    "no room": (
        "The hotel had nothing for us when we came, they say we gave up the room",
        "{trip}: the room was gone on arrival, although it was only moved by a day",
        "no bed tonight. {other} had booked everything properly last time",
    ),
}


async def _trip(bureau: Bureau, people: dict[str, Any], trip: str, planner: str, land: str) -> None:
    """Plan one trip from its enquiry to its proposal."""
    rng, case = bureau.rng, bureau.case
    surname, born = rng.choice(NAMES), rng.randint(1940, 2004)
    profile, mine = f"profile-{trip}", trip == bureau.trip
    with recorder.step("enrol", f"Enrol {trip}"):
        if mine and case.strikes("wrong_merge"):
            profile = f"profile-{bureau.rival}"
        await people["registrar"].enrol(trip, surname, born, profile)
        if mine and case.has("wrong_merge"):
            case.root(call("registrar", "enrol", trip=trip))
    with recorder.step("plan", f"Plan {trip}"):
        found = await people[planner].gather(trip, land, (people["visa_service"], people["fare_service"]))
        if mine and case.has("trusted_tool"):
            case.root(call("visa_service", "ask_rules", trip=trip))
            case.hop(call(planner, "gather", trip=trip))
        if rng.random() < 0.3:
            recorder.record_model_call(
                step_id="plan",
                call_id=f"word_{trip}",
                model_name="writer",
                prompt=f"Word {trip}",
                output="worded",
            )
        said = await people[planner].propose(trip, found)
        if said != "sent" and found["fare"] is None and planner != bureau.planner and bureau.allowance < 0:
            case.symptom(
                call(planner, "propose", trip=trip),
                "offers come without any price today, is something used up?",
                f"{planner} cannot find fares any more, each request is turned down",
                f"no price in the offer for {trip}",
            )
    await asyncio.sleep(0)


async def _seats(bureau: Bureau, people: dict[str, Any], now: int) -> None:
    """Two planners want the same last seat; whoever looks after the other one leaves it."""
    rng, case = bureau.rng, bureau.case
    mine = now == case.begin and case.has("race")
    if not mine and rng.random() > 0.35:
        return
    board, flight = people["seat_board"], f"last-{now}"
    one, two = (bureau.trip, bureau.rival) if mine else (f"S{now}a", f"S{now}b")
    await board.look(flight, one)
    if mine and case.strikes("race"):
        await board.look(flight, two)
        await board.hold(flight, one)
        await board.hold(flight, two)
        case.root(
            *(call("seat_board", n, flight=flight, trip=t) for n in ("look", "hold") for t in (one, two))
        )
    else:
        await board.hold(flight, one)
        await board.look(flight, two)
        if rng.random() < 0.1:
            await board.hold(flight + "-next", two)


async def _rooms(bureau: Bureau, people: dict[str, Any], now: int) -> None:
    """Cancel one night and book another: two orders, applied in the order of their numbers."""
    rng, case = bureau.rng, bureau.case
    mine = now == case.begin and case.has("out_of_order")
    if not mine and rng.random() > 0.35:
        return
    trip = bureau.trip if mine else f"R{now}"
    orders = [(10 * now + 1, "cancelled"), (10 * now + 2, "moved by a day")]
    if rng.random() < 0.4:
        orders.insert(0, (10 * now, "sea view"))
    if mine and case.strikes("out_of_order"):
        orders[-2], orders[-1] = orders[-1], orders[-2]
    for number, change in orders:
        await people["hotel_desk"].apply(trip, number, change)
        if mine and change != "sea view":
            case.root(call("hotel_desk", "apply", trip=trip, order=number))


async def _depart(bureau: Bureau, people: dict[str, Any], trip: str, land: str) -> None:
    """The day of departure."""
    case = bureau.case
    seen = await people["concierge"].see_off(trip, land)
    if trip == bureau.trip and seen["outcome"] != "gone":
        case.hop(call("concierge", "see_off", trip=trip))
        people["complaints"].log.warning("traveller writes", {"trip": trip, "about": "departure"})
        people["complaints"].log.log_action("open_file", {"trip": trip})
        case.symptom(
            call("complaints", "open_file", trip=trip),
            *(t.format(trip=trip, other=bureau.other) for t in TEXTS[seen["outcome"]]),
        )


async def _play(bureau: Bureau) -> None:
    rng, case = bureau.rng, bureau.case
    people: dict[str, Any] = {p: Planner(p, bureau) for p in PLANNERS}
    people |= {
        "visa_service": VisaService("visa_service", bureau),
        "fare_service": FareService("fare_service", bureau),
        "registrar": Registrar("registrar", bureau),
        "seat_board": SeatBoard("seat_board", bureau),
        "hotel_desk": HotelDesk("hotel_desk", bureau),
        "concierge": Concierge("concierge", bureau),
        "complaints": Member("complaints", bureau),
    }
    case.window(bureau.rounds, shortest=3)
    full = bureau.allowance = 10 * (case.end - case.begin) + 5  # five questions come back each round
    trips: list[tuple[int, str, str]] = []
    shared = case.has("trusted_tool") or case.has("wrong_merge")
    for now in range(bureau.rounds):
        bureau.now = now
        bureau.allowance = min(full, bureau.allowance + 5)
        with recorder.run("round", {"number": str(now)}):
            jobs = []
            for turn, planner in enumerate(PLANNERS):
                mine = shared and now == case.begin and planner == bureau.planner
                trip = bureau.trip if mine else f"T{10000 + 10 * now + turn}"
                land = LANDS[0] if mine else rng.choice(LANDS)
                jobs.append(_trip(bureau, people, trip, planner, land))
                trips.append((case.end if mine else now + rng.randint(1, 25), trip, land))
            await asyncio.gather(*jobs)
            await _seats(bureau, people, now)
            await _rooms(bureau, people, now)
            if now == case.end and not shared:
                trips.append((now, bureau.trip, "Cuba"))
            for item in [t for t in trips if t[0] <= now]:
                trips.remove(item)
                await _depart(bureau, people, item[1], item[2])
            for member in rng.sample(sorted(people), 2):
                log = people[member].log
                if rng.random() < 0.2:
                    key = rng.choice(("greeting", "font", "office_plants"))
                    log.log_state_change({key: rng.randint(1, 4)}, {key: rng.randint(5, 9)}, trigger="office")
                if rng.random() < 0.1:
                    log.warning(rng.choice(("answer slow", "cable loose")), {"seconds": rng.randint(1, 9)})
                if rng.random() < 0.1:
                    log.log_action(
                        rng.choice(("water_plants", "empty_inbox")), {"minutes": rng.randint(1, 30)}
                    )
            if now == case.decoy_at:
                people[bureau.other].log.warning("printer on fire", {"pages": 3})


def play(case: Case) -> None:
    """Play a season of trips."""
    asyncio.run(_play(Bureau(case)))


WORLD = World(
    "travelbureau",
    "spans",
    ("trusted_tool", "wrong_merge", "retry_storm", "race", "out_of_order"),
    play,
    author=9,
)
