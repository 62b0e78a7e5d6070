"""A restaurant kitchen: waiters order by handheld, a printer hangs tickets at stations, cooks prepare and plate."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from Agent import (
    AgentLogger,
    InteractionLogger,
    PerformanceLogger,
    SystemLogger,
    receive,
    send,
    tick,
    trace_agent_action,
)
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

STATIONS = ("grill", "sauce", "cold", "pastry")
GRAMS = {"g": 1.0, "tsp": 6.0}
BREAK_TICKS = 4


@dataclass(frozen=True)
class Dish:
    """Where a dish is made, how hot it has to get, and how much salt belongs into a batch."""

    station: str
    safe_c: int
    salt_g: float


MENU = {
    "chicken": Dish("grill", 74, 9.0),
    "burger": Dish("grill", 70, 6.0),
    "salmon": Dish("sauce", 62, 6.0),
    "risotto": Dish("sauce", 78, 12.0),
    "soup": Dish("sauce", 76, 12.0),
    "salad": Dish("cold", 24, 3.0),
    "tartare": Dish("cold", 24, 6.0),
    "tart": Dish("pastry", 66, 3.0),
    "fondant": Dish("pastry", 58, 3.0),
}


class PaperJam(Exception):
    """The printer is stuck and somebody has to open it."""


class Printer:
    """Hangs tickets at the stations; prints once more where no station has confirmed in time."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "printer"
        self.agent_role = "device"
        self._rng = rng
        self.confirm_within_s = 120

    @trace_agent_action()
    def set_confirmation(self, within_s: int) -> int:
        """How long a station may take to confirm a ticket."""
        self.confirm_within_s = within_s
        return within_s

    @trace_agent_action()
    def print_ticket(self, order: Message, copy: int) -> Message:
        """One ticket for the rail of a station; PaperJam now and then."""
        if copy == 1:
            receive(order)
        if self._rng.random() < 0.02:
            raise PaperJam("open the cover and pull")
        return send(f"{MENU[order.body['dish']].station} station", dict(order.body))


class Chef:
    """Says from what core temperature on a dish is done, and writes the recipe cards."""

    def __init__(self) -> None:
        self.agent_id = "chef"
        self.agent_role = "chef"
        self.done_at_c = {name: dish.safe_c for name, dish in MENU.items()}
        self.cards = {name: (dish.salt_g, "g") for name, dish in MENU.items()}

    @trace_agent_action()
    def set_done_at(self, dish: str, core_c: int) -> int:
        """The core temperature at which a dish may go out."""
        self.done_at_c = {**self.done_at_c, dish: core_c}
        return core_c

    @trace_agent_action()
    def write_card(self, dish: str, salt: float, unit: str, garnish: str) -> str:
        """The recipe that hangs at the station."""
        self.cards = {**self.cards, dish: (salt, unit)}
        return f"{salt:g} {unit}"


class Cook:
    """Takes the next ticket of a station, heats, tastes and plates."""

    def __init__(self, agent_id: str, station: str, chef: Chef, rng: random.Random) -> None:
        self.agent_id = agent_id
        self.agent_role = f"{station} cook"
        self.station = station
        self._rail: list[Message] = []
        self._chef, self._rng = chef, rng
        self._log = AgentLogger(agent_id, self.agent_role)
        self._presence, self._back_at = "at the station", -1
        self._ticket: dict[str, Any] = {}
        self.core_c = 0.0

    @trace_agent_action()
    def next_ticket(self) -> str:
        """The first course first, and older tickets before younger ones."""
        self._rail.sort(key=lambda one: (int(one.body["course"]), one.body["ticket"]))
        ticket = self._rail.pop(0)
        receive(ticket)
        self._ticket, self.core_c = dict(ticket.body), 18.0
        return str(ticket.body["ticket"])

    @trace_agent_action()
    def heat(self, dish: str) -> float:
        """Some minutes more."""
        rise = self._rng.uniform(16, 25) if MENU[dish].safe_c > 30 else self._rng.uniform(2, 5)
        self.core_c = round(self.core_c + rise, 1)
        return self.core_c

    @trace_agent_action()
    def plate(self, ticket: str, dish: str) -> dict[str, Any]:
        """The finished dish."""
        salt, unit = self._chef.cards[dish]
        used_g = round(salt * GRAMS[unit] * self._rng.uniform(0.85, 1.15), 1)
        plated = {**self._ticket, "core_c": self.core_c, "salt_g": used_g}
        self._ticket = {}
        return plated

    def presence(self, new: str, why: str, back_at: int = -1) -> str:
        """Leaves the station or comes back to it; gives the event."""
        old, self._presence, self._back_at = self._presence, new, back_at
        return self._log.log_state_change(old, new, trigger=why)

    def work(self) -> dict[str, Any] | None:
        """What a cook does in a tick; the dish, where one has become ready."""
        if self._presence != "at the station":
            return None
        if not self._ticket:
            if self._rail:
                self.next_ticket()
            return None
        dish = str(self._ticket["dish"])
        if self.heat(dish) < self._chef.done_at_c[dish]:
            return None
        return self.plate(str(self._ticket["ticket"]), dish)


class Restaurant:
    """Everybody, the rails of the stations, and a board that says what has run out."""

    def __init__(self, plan: Plan, appetite: float) -> None:
        self.plan, self.appetite = plan, appetite
        self.printer, self.chef = Printer(plan.chance("printer")), Chef()
        names = [plan.name("cook", n) for n in range(plan.size)]
        self.cooks = [
            Cook(name, STATIONS[n % 4], self.chef, plan.chance(name)) for n, name in enumerate(names)
        ]
        self.waiters = [AgentLogger(f"waiter_{name}", "waiter") for name in ("ana", "ben", "cleo")]
        self.board = AgentLogger("board", "board")
        self.guests, self.metrics = InteractionLogger("dining_room", "guests"), PerformanceLogger()
        self.rails: dict[str, list[Message]] = {name: [] for name in STATIONS}
        for cook in self.cooks:
            cook._rail = self.rails[cook.station]
        self.jammed: list[Message] = []
        self.written: list[str] = []  # what the board says
        self.gone: dict[str, int] = {}  # what has run out in truth, and when it comes again
        self.served: set[str] = set()
        self.rng, self.hands = plan.chance("guests"), plan.chance("upkeep")
        self.numbered, self.slip = 0, ""
        self.slipped: list[Message] = []

    def order(self, now: int) -> None:
        """Somebody orders a dish that the board does not forbid."""
        waiter = self.rng.choice(self.waiters)
        station = self.rng.choice(self.cooks).station
        wanted = [name for name, dish in MENU.items() if dish.station == station]
        dish, table = self.rng.choice(wanted), self.rng.randint(1, 20)
        course = self.rng.randint(1, 3)
        self.numbered += 1
        if dish in self.written:
            waiter.log_action("suggest_other", {"table": table, "instead_of": dish})
            return
        body = {"ticket": f"t{self.numbered:04d}", "table": table, "dish": dish, "course": course}
        if dish in self.gone:
            waiter.warning("kitchen has none left, asked the table again", body)
            return
        order = waiter.send("printer", {**body, "course": self.slip or course, "at": now})
        if self.slip:
            self.slipped, self.slip = [order], ""
        self.hang(order)

    def hang(self, order: Message) -> None:
        """Prints a ticket, and once more where the station takes too long to confirm."""
        try:
            ticket = self.printer.print_ticket(order, 1)
        except PaperJam:
            self.jammed.append(order)
            return
        rail = self.rails[MENU[order.body["dish"]].station]
        rail.append(ticket)
        if order in self.slipped:
            self.slipped.append(ticket)
        if self.rng.randint(20, 80) > self.printer.confirm_within_s:
            try:
                rail.append(self.printer.print_ticket(order, 2))
            except PaperJam:
                return  # one ticket hangs already

    def serve(self, plated: dict[str, Any], now: int) -> None:
        """Brings a dish to its table and hears what the guests say."""
        waiter, dish, told = self.rng.choice(self.waiters), MENU[plated["dish"]], ""
        waited = now - plated["at"]
        waiter.log_action("serve", {"ticket": plated["ticket"], "dish": plated["dish"], "waited": waited})
        self.metrics.log_metric("wait", waited, "ticks")
        taste = self.rng.random()
        if plated["ticket"] in self.served:
            told = "came twice"
        elif plated["core_c"] < dish.safe_c - 7:
            told = "not done"
        elif plated["salt_g"] > 2 * dish.salt_g:
            told = "too salty"
        elif taste < 0.04:
            told = self.rng.choice(["not done", "too salty", "not hot"])
        self.served.add(plated["ticket"])
        if told:
            what = {"dish": plated["dish"], "ticket": plated["ticket"], "reason": told}
            self.guests.log_interaction("sent_back", f"table_{plated['table']}", "kitchen", data=what)
        elif taste > 0.9:
            self.guests.log_interaction("praise", f"table_{plated['table']}", "kitchen")

    def minutes(self, now: int) -> None:
        """What happens in a tick."""
        again, self.jammed = self.jammed, []
        for order in again:
            self.hang(order)
        for _ in self.cooks:
            if self.rng.random() < self.appetite:
                self.order(now)
        for cook in self.cooks:
            if cook._back_at == now:
                cook.presence("at the station", "end of the break")
            try:
                plated = cook.work()
            except ValueError:
                continue  # recorded as an error; the cook tries again
            if plated:
                self.serve(plated, now)
        self.metrics.log_metric("hanging", sum(map(len, self.rails.values())), "tickets")

    def read_board(self, reader: str) -> tuple[list[str], str]:
        """What the board says, and the event."""
        return list(self.written), self.board.log_action("read", {"by": reader, "out": list(self.written)})

    def write_board(self, out: list[str], writer: str) -> str:
        """Wipes the board and writes it anew; gives the event."""
        self.written = list(out)
        return self.board.log_action("write", {"by": writer, "out": out})

    def runs_out(self, dishes: dict[str, str], until: int, together: bool) -> list[str]:
        """Somebody finds each dish gone and puts it on the board; gives the events."""
        self.gone.update(dict.fromkeys(dishes, until))
        before = {dish: self.read_board(who) for dish, who in dishes.items()} if together else {}
        events = []
        for dish, who in dishes.items():
            out, read = before[dish] if together else self.read_board(who)
            events += [read, self.write_board([*out, dish], who)]
        return events


def run(plan: Plan, truth: Truth, appetite: float = 0.2) -> None:
    """One session of the restaurant, a tick being some minutes."""
    house, system = Restaurant(plan, appetite), SystemLogger("restaurant")
    system.log_simulation_start("restaurant", {"cooks": plan.size, "tables": 20})
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 4:
                system.log_config("music_volume", 4, 6)
            _upkeep(house, now)
            _plant(plan, truth, house, now)
            house.minutes(now)
            if plan.fault == "poisoned_message" and house.slipped and not truth.ids:
                ticket = house.slipped[0].body["ticket"]
                truth.note(*(message.event_id for message in house.slipped))
                truth.seek_event("printer", "agent_message", now, contains=ticket)
                truth.seek("printer", "print_ticket", now, contains=ticket)
    system.log_simulation_end("restaurant", "closed")


def _upkeep(house: Restaurant, now: int) -> None:
    """What is set and noted in the ordinary course of an evening."""
    plan, rng = house.plan, house.hands
    before, fault = now < plan.at - 4, plan.fault
    cook = house.cooks[(now * 3 + 2) % plan.size]
    if now % 7 == 3:
        dish = rng.choice([name for name in MENU if before or fault != "bad_threshold" or name != "chicken"])
        house.chef.set_done_at(dish, MENU[dish].safe_c + rng.randint(-2, 3))
    if now % 9 == 5:
        dish = rng.choice([name for name in MENU if before or fault != "unit_mixup" or name != "soup"])
        garnish, grams = rng.choice(["parsley", "cress", "lemon", "none"]), MENU[dish].salt_g
        salt, unit = (grams / GRAMS["tsp"], "tsp") if rng.random() < 0.5 else (grams, "g")
        house.chef.write_card(dish, salt, unit, garnish)
    if now % 16 == 6 and (before or fault != "duplicate_delivery"):
        house.printer.set_confirmation(rng.randint(90, 150))
    free = before or fault != "silent_agent" or cook is not house.cooks[plan.victim]
    if now % 8 == 4 and free and cook._presence == "at the station":
        cook.presence("on a break", "break", now + BREAK_TICKS)
    if now % 19 == 10:
        dish = rng.choice(sorted(set(MENU) - {"soup", "burger"} - set(house.gone)))
        house.runs_out({dish: "sous_chef"}, now + rng.randint(5, 9), together=False)
    back = [dish for dish, until in house.gone.items() if until <= now]
    for dish in back:
        del house.gone[dish]
        out, _ = house.read_board("sous_chef")
        house.write_board([one for one in out if one != dish], "sous_chef")


def _plant(plan: Plan, truth: Truth, house: Restaurant, now: int) -> None:
    victim = house.cooks[plan.victim]
    if plan.begins("poisoned_message", now):
        house.slip = plan.rng.choice(["2 bis", "1+2", "after 2"])
    if plan.begins("duplicate_delivery", now):
        within_s = plan.rng.choice([1, 2, 10])
        house.printer.set_confirmation(within_s)
        truth.seek("printer", "set_confirmation", now, contains=f'"within_s": {within_s}')
    if plan.begins("bad_threshold", now):
        core_c = plan.rng.choice([47, 48, 50])
        house.chef.set_done_at("chicken", core_c)
        truth.seek("chef", "set_done_at", now, contains=f'"core_c": {core_c}')
    if plan.begins("silent_agent", now):
        truth.note(victim.presence("on a break", "telephone"))
    if plan.begins("unit_mixup", now):
        house.chef.write_card("soup", 12.0, "tsp", "cress")
        truth.seek("chef", "write_card", now, contains='"soup"')
    if now == plan.at and plan.fault in {None, "lost_update"}:
        both = {"burger": "sous_chef", "soup": "steward"}
        events = house.runs_out(both, plan.ticks, together=plan.fault is not None)
        truth.note(*(events if plan.fault else []))


WORLD = World(
    name="kitchen",
    run=run,
    prefix="cook",
    sizes=(5, 8),
    ticks=(100, 140),
    complaints={
        "poisoned_message": "for a long time nothing has come out of one of the stations, its tickets just hang there",
        "duplicate_delivery": "guests tell us again and again that they got the same dish twice",
        "bad_threshold": "the chicken is sent back all the time because it is pink inside",
        "silent_agent": "{victim} was as quick as the others at first, now the others do all the work",
        "unit_mixup": "since about tick {when} guests send plates back and say there is far too much salt in it",
        "lost_update": "the waiters keep taking orders for something that the kitchen does not have any more",
    },
)
CALM = World(
    name="kitchen_brunch",
    run=partial(run, appetite=0.16),
    prefix="cook",
    sizes=(4, 9),
    ticks=(90, 140),
    complaints={
        "suspects_agent": "I think {victim} is slower than the rest, was there anything?",
        "suspects_printer": "does the printer lose tickets since about tick {when}?",
        "suspects_recipes": "some guests say that the food is too salty, has somebody changed the recipes?",
    },
)
