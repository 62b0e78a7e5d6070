"""A restaurant: waiters, cooks and a pantry work side by side as coroutines.

Evidence: plain classes traced by `instrument`, whose calls nest; no ticks, no recorded causes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from Agent import SystemLogger, instrument
from benchmarks.fault_worlds.kit import Case, World, call

ROUNDS = 120
DISHES = {
    "steak": "grill",
    "lamb": "grill",
    "turbot": "fish",
    "mussels": "fish",
    "tart": "sweet",
    "ice": "sweet",
}
PLACES = ("passage", "terrace", "bar")


@dataclass
class House:
    """What is true in the restaurant; agents hold no reference to it, so it is not recorded."""

    case: Case
    now: int = 0
    stock: dict[str, int] = field(default_factory=dict)
    promised: dict[str, list[int]] = field(default_factory=dict)
    waiting: dict[str, deque[tuple[int, int]]] = field(
        default_factory=lambda: {name: deque() for name in ("grill", "fish", "sweet", "staff")}
    )
    order: list[str] = field(default_factory=lambda: ["grill", "fish", "sweet", "staff", "prep"])
    eaten: dict[int, list[str]] = field(default_factory=dict)
    billed: dict[int, list[str]] = field(default_factory=dict)
    spool: int = 0
    spool_size: int = 10**6
    jams: set[int] = field(default_factory=set)
    plates: int = 10**6
    outside: dict[str, int] = field(default_factory=dict)
    serial: int = 300
    line: int = 0
    special: int = 0  # the order of the guests who stay until the end

    def number(self) -> int:
        """Return the next number of an order."""
        self.serial += 1
        return self.serial


OPEN: list[House] = []


class Pantry:
    """Keeps what is counted in portions."""

    def __init__(self) -> None:
        self.name = "pantry"

    def look(self, item: str, order: int) -> int:
        """Return how many portions can still be promised."""
        return OPEN[-1].stock.get(item, 0)

    def promise(self, item: str, order: int) -> str:
        """Set a portion aside for an order."""
        house = OPEN[-1]
        house.stock[item] = max(0, house.stock.get(item, 0) - 1)
        house.promised.setdefault(item, []).append(order)
        return f"{item} for {order}"

    def hand_out(self, item: str, order: int, portions: int) -> bool:
        """Give a portion that was promised, if there is one left."""
        return OPEN[-1].promised.get(item, []).index(order) < portions

    def restock(self, item: str, portions: int) -> int:
        """Fill up."""
        house = OPEN[-1]
        house.stock[item] = house.stock.get(item, 0) + portions
        return house.stock[item]


class Till:
    """Keeps the bills."""

    def __init__(self) -> None:
        self.name = "till"

    def add(self, table: int, dish: str, line: int) -> int:
        """Write a dish on the bill of a table."""
        OPEN[-1].billed.setdefault(table, []).append(dish)
        return line

    def total(self, table: int) -> list[str]:
        """Return what is on the bill."""
        return sorted(OPEN[-1].billed.get(table, []))


class Printer:
    """Prints tickets from a spool of limited size."""

    def __init__(self) -> None:
        self.name = "printer"

    def put(self, ticket: int) -> str:
        """Take a ticket.

        Raises:
            OSError: the paper is jammed.
            BufferError: the spool is full.
        """
        house = OPEN[-1]
        if house.spool >= house.spool_size:
            raise BufferError(f"ticket {ticket}: spool full")
        house.spool += 1
        if ticket in house.jams:
            raise OSError(f"ticket {ticket}: paper jam")
        return "printed"


class Expeditor:
    """Decides which station's tickets come first, and calls them."""

    def __init__(self) -> None:
        self.name = "Odile"

    def rank(self, order: list[str]) -> int:
        """Set the order of the stations."""
        OPEN[-1].order = order
        return len(order)

    def next_ticket(self) -> tuple[str, int] | None:
        """Take the oldest ticket of the first station that has one; preparing never ends."""
        house = OPEN[-1]
        for station in house.order:
            if station == "prep":
                return "prep", 0
            if house.waiting[station]:
                return station, house.waiting[station].popleft()[0]
        return None


class Cook:
    """Cooks what is called, and takes long orders in advance."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def accept(self, order: int, item: str, pantry: Pantry) -> str:
        """Accept an order for later if there is a portion left."""
        if pantry.look(item, order) < 1:
            return "something else"
        await asyncio.sleep(0)
        pantry.promise(item, order)
        return item

    def cook(self, order: int, station: str) -> str:
        """Cook."""
        return f"{order} ready"

    def fetch(self, order: int, item: str, portions: int, pantry: Pantry) -> bool:
        """Fetch a promised portion and cook it."""
        return pantry.hand_out(item, order, portions)

    def plate(self, order: int, count: int) -> bool:
        """Put dishes on plates."""
        house = OPEN[-1]
        if house.plates < count:
            return False
        house.plates -= count
        return True


class Waiter:
    """Serves tables."""

    def __init__(self, name: str) -> None:
        self.name = name

    def enter(self, order: int, table: int, dishes: list[str], till: Till, printer: Printer) -> str:
        """Enter an order: onto the bill, and to the kitchen on paper or by voice."""
        house = OPEN[-1]
        for number, dish in enumerate(dishes):
            twice = house.case.strikes("doubled_act") and order == house.special and number == 0
            for _ in range(2 if twice else 1):
                house.line += 1
                till.add(table, dish, house.line)
                if twice:
                    house.case.root(call("till", "add", line=house.line))
            house.eaten.setdefault(table, []).append(dish)
        return self.send_ticket(order, printer)

    def send_ticket(self, order: int, printer: Printer) -> str:
        """Send a ticket to the printer, twice at most, and then by voice."""
        for _ in range(2):
            try:
                return printer.put(order)
            except OSError:
                continue
            except BufferError:
                return "lost"
        return "by voice"

    def send_again(self, order: int, printer: Printer, tries: int) -> str:
        """Send a ticket so many times."""
        for _ in range(tries):
            try:
                return printer.put(order)
            except (OSError, BufferError):
                continue
        return "by voice"

    def clear(self, round_no: int, plates: int, place: str) -> int:
        """Clear plates and put them down somewhere."""
        house = OPEN[-1]
        house.plates -= plates
        house.outside[f"{self.name}/{place}"] = house.outside.get(f"{self.name}/{place}", 0) + plates
        return plates

    def bring_in(self, place: str) -> int:
        """Bring what was put down to the dish washer."""
        house = OPEN[-1]
        plates = house.outside.pop(f"{self.name}/{place}", 0)
        house.plates += plates
        return plates

    def seat_group(self, table: int, guests: int) -> str:
        """Seat a large group."""
        return f"table {table}"

    def bill(self, table: int, till: Till) -> list[str]:
        """Bring the bill."""
        return till.total(table)

    def apologise(self, table: int, why: str) -> str:
        """Tell guests that something is wrong."""
        return why


for traced, acts in {
    Pantry: ["look", "promise", "hand_out", "restock"],
    Till: ["add", "total"],
    Printer: ["put"],
    Expeditor: ["rank", "next_ticket"],
    Cook: ["accept", "cook", "fetch", "plate"],
    Waiter: ["enter", "send_ticket", "send_again", "clear", "bring_in", "seat_group", "bill", "apologise"],
}.items():
    instrument(traced, methods=acts, agent_id="name", agent_role=traced.__name__.lower())


class Evening:
    """One long evening."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(ROUNDS)
        self.house = House(case)
        OPEN[:] = [self.house]
        self.pantry, self.till, self.printer, self.expeditor = Pantry(), Till(), Printer(), Expeditor()
        self.cooks = [Cook(name) for name in ("Mirko", "Sanna", "Theo")]
        self.waiters = [Waiter(name) for name in ("Ines", "Paolo", "Vera")]
        window = range(case.begin, case.end)
        if case.has("leaked_resource"):
            self.house.plates = sum(self.cleared(now) for now in window) + 16
        if case.has("retry_storm"):
            self.house.spool_size = 5 * len(window) + 9
        self.accepted: dict[int, str] = {}
        self.storm = self.leak = False

    def cleared(self, now: int) -> int:
        """Return how many plates each waiter clears in a round."""
        return self.case.rng(f"clear/{now}").randint(2, 4)

    async def serve(self, waiter: Waiter, now: int, number: int) -> None:
        """Take an order, clear plates, and pass the order on."""
        house, rng = self.house, self.case.rng(f"serve/{now}/{number}")
        if number < 2 or rng.random() < 0.5:
            order, table = house.number(), 10 * now + number
            dishes = [rng.choice(list(DISHES)) for _ in range(rng.randint(1, 2))]
            dishes += dishes[:1] if rng.random() < 0.3 else []
            if rng.random() < 0.12:
                house.jams.add(order)
            sent = waiter.enter(order, table, dishes, self.till, self.printer)
            if sent != "lost":
                station = DISHES[dishes[0]]
                house.waiting[station].append((order, now))
            else:
                waiter.apologise(table, "ticket lost")
                self.case.symptom(
                    call(waiter.name, "apologise", table=table, why="ticket lost"),
                    f"Table {table} ordered and the kitchen knows nothing of it",
                    "Guests wait for dishes that the kitchen never heard of",
                    f"{waiter.name} says that orders do not reach the kitchen",
                    "Tickets no longer arrive",
                    "Mirko waits for tickets that do not come",
                )
            await asyncio.sleep(0)
            if rng.random() < 0.6:
                waiter.bill(table, self.till)
        await asyncio.sleep(0)
        await self.tidy(waiter, now)

    async def tidy(self, waiter: Waiter, now: int) -> None:
        """Clear plates, and bring in what was put down; Paolo clears the terrace."""
        case, rng, plates = self.case, self.case.rng(f"tidy/{now}/{waiter.name}"), self.cleared(now)
        place = "terrace" if waiter.name == "Paolo" and case.has("leaked_resource") else rng.choice(PLACES)
        waiter.clear(now, plates, place)
        leaks = self.leak and waiter.name == "Paolo"
        if leaks and len(case.roots) < 3:
            case.root(call("Paolo", "clear", round_no=now))
        if not leaks:
            await asyncio.sleep(0)
            waiter.bring_in(place)

    async def cook(self, cook: Cook, now: int, calls: int) -> None:
        """Cook what is called, and use a plate for each dish that goes out."""
        for _ in range(calls):
            ticket = self.expeditor.next_ticket()
            if ticket is None or ticket[0] == "prep":
                return
            await asyncio.sleep(0)
            cook.cook(ticket[1], ticket[0])

    async def advance(self, now: int) -> None:
        """Take orders in advance; two cooks may be asked for the same thing at once."""
        rng, house = self.case.rng(f"advance/{now}"), self.house
        if rng.random() < 0.4:
            item = rng.choice(("lobster", "truffle", "venison"))
            self.pantry.restock(item, rng.randint(2, 3))
            one, other = rng.sample(self.cooks, 2)
            first, second = house.number(), house.number()
            await asyncio.gather(
                one.accept(first, item, self.pantry), other.accept(second, item, self.pantry)
            )

    async def begins(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case, house = self.case, self.house
        house.special = house.number()
        match case.kind:
            case "race":
                self.pantry.restock("sole", 1)
                one, other = self.cooks[0], self.cooks[2]
                first, second = house.number(), house.number()
                if case.strikes("race", now):
                    await asyncio.gather(
                        one.accept(first, "sole", self.pantry), other.accept(second, "sole", self.pantry)
                    )
                    case.root(
                        call("pantry", "look", item="sole", order=second),
                        call("pantry", "promise", item="sole", order=first),
                        call("pantry", "promise", item="sole", order=second),
                        call("Theo", "accept", order=second),
                    )
                    self.accepted = {first: "sole", second: "sole"}
                else:
                    self.accepted = {
                        first: await one.accept(first, "sole", self.pantry),
                        second: await other.accept(second, "sole", self.pantry),
                    }
            case "doubled_act":
                if case.strikes("doubled_act", now):
                    case.root(call("Paolo", "enter", order=house.special))
                self.waiters[1].enter(house.special, 7, ["lamb", "tart"], self.till, self.printer)
            case "starved_queue":
                order = ["fish", "grill", "sweet", "prep", "staff"]
                if case.strikes("starved_queue", now):
                    order = ["fish", "grill", "staff", "prep", "sweet"]
                    case.root(call("Odile", "rank", order=order))
                self.expeditor.rank(order)
            case "retry_storm":
                house.jams.add(house.special)
                self.storm = case.strikes("retry_storm", now)
                self.waiters[0].send_again(house.special, self.printer, 9 if self.storm else 2)
                if self.storm:
                    case.root(
                        call("printer", "put", ticket=house.special),
                        call("printer", "put", error_message=f"ticket {house.special}: paper jam"),
                        call("Ines", "send_again", order=house.special),
                    )
            case "leaked_resource":
                self.leak = case.strikes("leaked_resource", now)

    def ends(self, now: int) -> None:
        """Let guests get what they ordered long ago."""
        case, house, waiter = self.case, self.house, self.waiters[2]
        if case.has("race"):
            for number, (order, item) in enumerate(self.accepted.items()):
                cook = self.cooks[number]
                if item != "sole":
                    cook.cook(order, "fish")
                    continue
                got = cook.fetch(order, "sole", 1, self.pantry)
                case.hop(
                    call("pantry", "hand_out", item="sole", order=order),
                    call(cook.name, "fetch", order=order),
                )
                if not got:
                    waiter.apologise(5, "no sole")
                    case.symptom(
                        call("Vera", "apologise", table=5, why="no sole"),
                        "Table 5 does not get the sole that was reserved for it",
                        "Sanna had nothing to cook for guests who had reserved a dish",
                        "A dish that we had promised is not there",
                        "Vera had to disappoint guests who had reserved",
                        "pantry has less than it promised",
                    )
        if case.has("doubled_act"):
            bill = waiter.bill(7, self.till)
            case.hop(call("Vera", "bill", table=7), call("till", "total", table=7))
            if bill != sorted(house.eaten[7]):
                waiter.apologise(7, "bill too high")
                case.symptom(
                    call("Vera", "apologise", table=7, why="bill too high"),
                    "Table 7 is to pay for more than it ate",
                    "A bill is too high",
                    "Guests of Vera say that they are overcharged",
                    "Vera brought guests a bill that is wrong",
                )

    def watch(self, now: int) -> None:
        """See who waits too long, and what goes out on plates."""
        case, house, rng = self.case, self.house, self.case.rng(f"watch/{now}")
        if case.has("leaked_resource"):
            guests = 16 if now == case.end else rng.randint(1, 3)
            if now == case.end:
                self.waiters[2].seat_group(10 * now + 8, guests)
                case.trigger(call("Vera", "seat_group", table=10 * now + 8))
            before = house.plates
            done = self.cooks[now % 2].plate(now, guests)
            case.hop(call(self.cooks[now % 2].name, "plate", order=now))
            if done:
                house.plates = before  # they come back with the next round's washing
            else:
                self.waiters[2].apologise(10 * now + 8, "no plates")
                case.symptom(
                    call("Vera", "apologise", table=10 * now + 8, why="no plates"),
                    "A large group waits because there are no plates",
                    "Dishes are ready and do not go out",
                    "Vera has a group that waits while the food gets cold",
                    f"{self.cooks[now % 2].name} has food ready and nothing to put it on",
                )
        oldest = house.waiting["sweet"][0] if house.waiting["sweet"] else None
        if case.has("starved_queue") and now >= case.end and oldest and now - oldest[1] >= self.patience():
            self.cooks[1].cook(oldest[0], "sweet")
            case.hop(call("Sanna", "cook", order=oldest[0]))
            self.waiters[2].apologise(oldest[0], "waited too long")
            case.symptom(
                call("Vera", "apologise", table=oldest[0], why="waited too long"),
                "Desserts do not come",
                f"Order {oldest[0]} has been waiting for ever",
                "Vera has guests who leave before the last course",
                "Sanna is accused of being slow with desserts",
            )

    def patience(self) -> int:
        """Return for how many rounds guests wait."""
        return max(1, self.case.end - self.case.begin - 6)

    def everyday(self, now: int) -> None:
        """Record ranks, chores and settings."""
        case, house, rng = self.case, self.house, self.case.rng(f"day/{now}")
        if rng.random() < 0.3:
            order = list(house.order)
            first, second = rng.sample([n for n, name in enumerate(order) if name in ("grill", "fish")], 2)
            order[first], order[second] = order[second], order[first]
            if "staff" in order[:4] and order[-1] == "prep" and rng.random() < 0.5:
                order.remove("staff")
                order.append("staff")
            self.expeditor.rank(order)
        house.spool = max(0, house.spool - 7)
        if self.storm and now > case.begin:
            self.waiters[0].send_again(house.special, self.printer, 9)
            case.hop(call("Ines", "send_again", order=house.special))
        if rng.random() < 0.2:
            SystemLogger().log_config(rng.choice(("music_volume", "oven_c")), now, rng.randint(1, 200))
        if rng.random() < 0.15:
            order = house.number()
            house.jams.add(order)
            self.waiters[rng.randrange(3)].send_again(order, self.printer, 2)
        if rng.random() < 0.15:
            self.waiters[rng.randrange(3)].apologise(10 * now + 3, "a glass broke")
        if now == case.decoy_at:
            self.pantry.restock("sole" if not case.has("race") else "eel", 4)

    async def run(self) -> None:
        """Play all rounds."""
        for now in range(ROUNDS):
            self.house.now = now
            self.everyday(now)
            if now == self.case.begin:
                await self.begins(now)
            await asyncio.gather(
                self.advance(now),
                *(self.serve(waiter, now, number) for number, waiter in enumerate(self.waiters)),
                *(self.cook(cook, now, 2) for cook in self.cooks),
            )
            if now == self.case.end:
                self.ends(now)
            self.watch(now)


def play(case: Case) -> None:
    """Play an evening."""
    asyncio.run(Evening(case).run())


WORLD = World(
    "kitchen",
    "spans",
    ("race", "starved_queue", "doubled_act", "retry_storm", "leaked_resource"),
    play,
    author=3,
)
