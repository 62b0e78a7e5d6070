"""Shared bicycles: riders, docks, vans and a workshop. Decorated methods that call each other; only their nesting is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

HOURS = 130
PLACES = ("opera", "market", "castle", "lake", "station", "campus", "quay", "zoo")


class Van:
    def __init__(self, number: int) -> None:
        self.agent_id, self.agent_role = f"van_{number}", "van"
        self.load = 0

    @trace_agent_action()
    def bring(self, station: Station, bikes: int) -> int:
        self.load = bikes
        return station.put(bikes)

    @trace_agent_action()
    def fetch(self, station: Station, bikes: int) -> int:
        self.load = station.take(bikes)
        return self.load


class Station:
    trace_ignore = ("sticks",)  # what no program knows of its hardware is not part of its state

    def __init__(self, place: str) -> None:
        self.agent_id, self.agent_role = f"dock_{place}", "station"
        self.bikes, self.locks = 9, 6
        self.deposit_cents = 300
        self.sticks: Callable[[], bool] = lambda: False
        self.log = AgentLogger(self.agent_id, "station")

    @trace_agent_action()
    def put(self, bikes: int) -> int:
        self.bikes += bikes
        return self.bikes

    @trace_agent_action()
    def take(self, bikes: int) -> int:
        taken = min(bikes, self.bikes)
        self.bikes -= taken
        return taken

    @trace_agent_action()
    def unlock(self, rider: str, bank: Bank) -> str:
        if self.locks == 0:
            return "all locks busy"
        self.locks -= 1
        if not bank.reserve(rider, self.deposit_cents):
            if not self.sticks():
                self.release(rider)
            return "no deposit"
        self.release(rider)
        self.bikes = max(2, self.bikes - 1)
        return "rides"

    @trace_agent_action()
    def release(self, rider: str) -> int:
        self.locks += 1
        return self.locks

    @trace_agent_action()
    def set_deposit(self, cents: int) -> dict[str, int]:
        old, self.deposit_cents = self.deposit_cents, cents
        self.log.log_strategy_update("deposit", {"cents": old}, {"cents": cents})
        return {"old": old, "new": cents}


class Bank:
    agent_id, agent_role = "card_bank", "bank"

    def __init__(self) -> None:
        self.funds: dict[str, int] = {}

    @trace_agent_action()
    def reserve(self, rider: str, cents: int) -> bool:
        return self.funds.get(rider, 2_000) >= cents


class Map:
    """What the app shows: copies of the stations' counts."""

    agent_id, agent_role = "city_map", "map"

    def __init__(self, stations: dict[str, Station]) -> None:
        self.stations = stations
        self.copies: dict[str, int] = {}

    @trace_agent_action()
    def drop(self, place: str) -> bool:
        return self.copies.pop(place, None) is not None

    @trace_agent_action()
    def show(self, place: str) -> dict[str, Any]:
        fresh = place not in self.copies
        if fresh:
            self.copies[place] = self.stations[place].bikes
        return {"bikes": self.copies[place], "fresh": fresh}


class Workshop:
    """Mends one bicycle an hour: the oldest of a class, classes in the order of its list."""

    agent_id, agent_role = "workshop", "workshop"

    def __init__(self) -> None:
        self.order = ["cargo", "plain", "electric"]
        self.shelf: list[tuple[int, str, str]] = []
        self.turn = 0

    @trace_agent_action()
    def hand_in(self, bike: str, sort: str, hour: int) -> int:
        self.shelf.append((hour, sort, bike))
        return len(self.shelf)

    @trace_agent_action()
    def arrange(self, order: list[str], strict: bool) -> dict[str, Any]:
        self.order = order
        self.strict = strict
        return {"order": order, "strict": strict}

    strict = False

    @trace_agent_action()
    def mend(self) -> dict[str, Any]:
        if not self.shelf:
            return {"bike": None}
        ranked = sorted(
            self.shelf, key=lambda entry: (self.order.index(entry[1]) if self.strict else 0, entry[0])
        )
        hour, sort, bike = ranked[0]
        self.shelf.remove(ranked[0])
        return {"bike": bike, "sort": sort, "since": hour}


class Planner:
    """Sends the vans: each station has a place in the round of the night."""

    agent_id, agent_role = "planner", "planner"

    def __init__(self) -> None:
        self.rota: dict[int, list[tuple[str, int]]] = {}

    @trace_agent_action()
    def plan_visit(self, place: str, wanted_hour: int, booked_hour: int) -> dict[str, int]:
        self.rota.setdefault(booked_hour, []).append((place, 8))
        return {"hour": booked_hour}

    @trace_agent_action()
    def send(self, hour: int, van: Van, stations: dict[str, Station]) -> int:
        visits = self.rota.pop(hour, [])
        return sum(van.bring(stations[place], bikes) for place, bikes in visits)


class App:
    agent_id, agent_role = "rider_app", "app"

    def __init__(self, city: Map, bank: Bank) -> None:
        self.city, self.bank = city, bank

    @trace_agent_action()
    def rent(self, rider: str, station: Station) -> str:
        return station.unlock(rider, self.bank)

    @trace_agent_action()
    def look(self, rider: str, place: str) -> dict[str, Any]:
        return self.city.show(place)

    @trace_agent_action()
    def walk_to(self, rider: str, place: str, promised: int, found: int) -> str:
        return "rides" if found or not promised else "empty rack"

    @trace_agent_action()
    def ask_repair(self, rider: str, bike: str, done: bool) -> str:
        return "ready" if done else "not yet"


def play(case: Case) -> None:
    rng, plan = case.rng("riders"), case.rng("plan")
    stations = {place: Station(place) for place in PLACES}
    bank, shop, planner = Bank(), Workshop(), Planner()
    city = Map(stations)
    app = App(city, bank)
    vans = [Van(number) for number in range(3)]
    place, _other = plan.sample(PLACES, 2)
    home = stations[place]
    begin, end = case.window(HOURS)
    desk = AgentLogger("help_desk", "desk")
    mended: set[str] = set()
    starving = case.has("starved_queue")
    special = "tandem_7"
    if starving:
        shop.order.append("tandem")

    def symptom(what: str, rider: str, *texts: str, **where: Any) -> None:
        case.hop(call("rider_app", what, rider=rider, **where))
        seen = desk.log_action("take_call", {"rider": rider, "about": what})
        case.symptom(seen, *texts)

    for hour in range(HOURS):
        with tick(hour):
            for number in range(rng.randint(2, 4)):
                rider, where = f"r{hour:03}{number}", rng.choice([name for name in PLACES if name != place])
                bank.funds[rider] = rng.choice((100, 1_500, 2_000, 5_000))
                shown = app.look(rider, where)
                if app.rent(rider, stations[where]) == "rides":
                    app.walk_to(rider, where, shown["bikes"], stations[where].bikes)
            for name in rng.sample([name for name in PLACES if name != place], 2):
                city.drop(name)
            spot = rng.choice([name for name in PLACES if name != place])
            vans[hour % 3].bring(stations[spot], rng.randint(1, 3))
            vans[(hour + 1) % 3].fetch(stations[rng.choice([name for name in PLACES if name != place])], 2)
            if rng.random() < 0.3:
                planner.plan_visit(spot, hour + 5, hour + 5)
            if rng.random() < 0.25:
                stations[spot].set_deposit(rng.choice((200, 250, 300, 350)))
            if rng.random() < 0.12:
                desk.log_action(
                    "take_call",
                    {
                        "rider": f"r{hour:03}0",
                        "about": rng.choice(("lost glove", "rent", "walk_to", "ask_repair")),
                    },
                )
            if rng.random() < 0.15:
                stations[spot].log.error("the lamp of the dock did not answer, tried again", {"attempt": 1})
            if rng.random() < 0.2:
                # The shop always has one more of these than it can mend, while it is strict.
                if hour < begin:
                    shop.strict = rng.random() < 0.5
                shop.arrange(
                    [*rng.sample(["cargo", "plain", "electric"], 3), *(["tandem"] if starving else [])],
                    shop.strict,
                )
            for sort in ("plain", "cargo") if starving else ("plain",):
                if starving or rng.random() < 0.8:
                    shop.hand_in(f"{sort}_{hour}", sort, hour)
            for _ in range(2 if starving else 1):
                result = shop.mend()
                mended.add(str(result["bike"]))
            planner.send(hour, vans[0], stations)
            if hour == case.decoy_at:
                desk.log_action("test_siren", {"town": "all"})
                desk.warning("the siren was tested; riders asked about it", {"calls": 3})

            if case.has("leaked_resource"):
                # A rider without money at each of six hours before the last one finds the lock.
                hours = {begin + round(step * (end - begin) / 6) for step in range(6)}
                tries = 6 if end - begin < 6 and hour == begin else int(hour in hours)
                for number in range(tries):
                    rider = f"poor{hour:03}{number}"
                    bank.funds[rider] = 50
                    home.sticks = lambda: case.strikes("leaked_resource")
                    home.unlock(rider, bank)
                    if case.faulty and len(case.roots) < 3:
                        case.root(call(home.agent_id, "unlock", rider=rider))
                        case.hop(call("card_bank", "reserve", rider=rider))
                if hour == end and app.rent("r_anna", home) == "all locks busy":
                    symptom(
                        "rent",
                        "r_anna",
                        f"no bicycle can be taken at the {place} although the rack is full",
                        f"{home.agent_id} has many bicycles and gives none to anybody",
                        f"a rider was told at {place} that everything is busy, but nobody was there",
                    )
            elif case.has("config_change"):
                if hour == begin:
                    wrong = case.strikes("config_change", hour)
                    home.set_deposit(30_000 if wrong else 310)
                    if wrong:
                        case.root(call(home.agent_id, "set_deposit", cents=30_000))
                        case.root(call(home.agent_id, "strategy_update", cents=30_000))
                if hour == end:
                    bank.funds["r_bo"] = 4_000
                    case.trigger(call("rider_app", "rent", rider="r_bo")) if case.faulty else None
                    if app.rent("r_bo", home) == "no deposit":
                        case.hop(call("card_bank", "reserve", rider="r_bo"))
                        symptom(
                            "rent",
                            "r_bo",
                            "my card is refused for a bicycle, and it works everywhere else",
                            "card_bank says no to a customer who has plenty of money",
                            f"nobody can rent at the {place} any more, ask card_bank",
                        )
            elif case.has("stale_cache"):
                if hour == begin - 1:
                    app.look("r_cai", place)
                if hour == begin:
                    home.take(home.bikes)
                    if not case.strikes("stale_cache", hour):
                        city.drop(place)
                    else:
                        case.root(call(home.agent_id, "take", bikes=9))
                if hour == end:
                    shown = app.look("r_dov", place)
                    if case.faulty:
                        case.hop(call("city_map", "show", place=place, fresh=False))
                        case.root(call("city_map", "show", place=place, fresh=False))
                    if app.walk_to("r_dov", place, shown["bikes"], home.bikes) == "empty rack":
                        symptom(
                            "walk_to",
                            "r_dov",
                            f"I walked to the {place} because the app showed bicycles, and there were none",
                            f"rider_app promises bicycles at the {place} where the rack is bare",
                            "rider_app sent me to an empty rack",
                        )
            elif case.has("off_by_one"):
                if hour == begin:
                    late = case.strikes("off_by_one", hour)
                    home.take(home.bikes)
                    planner.plan_visit(place, wanted_hour=end, booked_hour=end + 1 if late else end)
                    if late:
                        case.root(call("planner", "plan_visit", place=place, wanted_hour=end))
                if hour == end:
                    case.hop(call("planner", "send", hour=hour)) if case.faulty else None
                    if app.walk_to("r_eli", place, 1, home.bikes) == "empty rack":
                        symptom(
                            "walk_to",
                            "r_eli",
                            f"there was no bicycle at the {place} when the theatre closed, although that was agreed",
                            f"{home.agent_id} was empty at the hour for which we had ordered bicycles",
                            "a group stood before an empty rack tonight and rider_app had nothing else to offer",
                        )
            elif starving:
                if hour == begin:
                    strict = case.strikes("starved_queue", hour)
                    order = ["plain", "cargo", "electric", "tandem"]
                    shop.arrange(order, strict)
                    if strict:
                        case.root(call("workshop", "arrange", strict=True))
                    shop.hand_in(special, "tandem", hour - 1)
                    shop.hand_in(f"more_{hour}", "plain", hour)
                if hour == end and app.ask_repair("r_fia", special, special in mended) == "not yet":
                    case.hop(call("rider_app", "ask_repair", rider="r_fia"))
                    symptom(
                        "ask_repair",
                        "r_fia",
                        f"{special} was handed in and is still not mended",
                        f"how long can a repair take? rider_app keeps saying that {special} is not ready",
                        f"everybody else's bicycle comes back mended, but not {special}",
                    )


WORLD = World(
    "bikes",
    "spans",
    ("leaked_resource", "config_change", "stale_cache", "off_by_one", "starved_queue"),
    play,
    author=2,
)
