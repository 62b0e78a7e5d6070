"""A warehouse that rents costumes: halls with rails, a booking desk, a fitting studio, vans, trunks and theatres."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

HALLS = ("hall_east", "hall_west", "hall_attic")
VANS = ("van_Otto", "van_Paula", "van_Quirin")
THEATRES = ("Schauburg", "Opera_Nord", "Kammerspiele", "Freilichtbuehne", "Marionettes", "Stadttheater")
STYLES = ("rococo", "tudor", "empire", "twenties", "folk", "uniform", "commedia", "fifties")
ROLES = ("Figaro", "Violetta", "Malvolio", "Elektra", "Papageno", "Nora", "Lulu", "Tartuffe")


@dataclass
class Order:
    """What a theatre rents: one costume for one performer, from one rail, for one opening."""

    code: str
    theatre: str
    performer: str
    rail: str
    opening: int
    picked_on: int
    by_van: bool = True
    packed: str = ""
    match: int = 100
    asked_cm: int = 0
    cut_cm: int = 0


@dataclass
class Stock:
    """What the warehouse really has, and what has been ordered."""

    case: Case
    trunks: int = 0
    body_cm: dict[str, int] = field(default_factory=dict)
    cards: dict[str, int] = field(default_factory=dict)
    shut: set[str] = field(default_factory=set)
    similar: dict[str, int] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    due_back: list[tuple[int, str, str, str]] = field(default_factory=list)


class Someone:
    """Whoever works for the warehouse or rents from it."""

    trace_ignore = ("stock",)

    def __init__(self, agent_id: str, stock: Stock) -> None:
        self.agent_id, self.agent_role, self.stock = agent_id, type(self).__name__, stock
        self.log = AgentLogger(agent_id, self.agent_role)


class Desk(Someone):
    """Takes orders and says on which day they are picked."""

    @trace_agent_action()
    def accept(self, order: str, theatre: str, rail: str, opening: int) -> None:
        """Write an order into the book."""

    @trace_agent_action()
    def plan_pick(self, order: str, day: int, way: str) -> None:
        """Plan the evening on which an order is taken from its rail."""
        next(item for item in self.stock.orders if item.code == order).picked_on = day

    @trace_agent_action()
    def promise_trunks(self, tour: str, count: int) -> None:
        """Promise trunks to a tour."""


class Studio(Someone):
    """Measures performers."""

    @trace_agent_action()
    def measure(self, performer: str, chest_cm: int, visit: str) -> int:
        """Measure a performer."""
        self.stock.body_cm[performer] = chest_cm
        return chest_cm


class Hall(Someone):
    """Keeps rails, and a card for each performer; packs what is ordered."""

    @trace_agent_action()
    def copy_card(self, performer: str, chest_cm: int, visit: str) -> None:
        """Write what was measured on the card in the hall."""
        self.stock.cards[performer] = chest_cm

    @trace_agent_action()
    def close_rail(self, rail: str, reason: str, note: str) -> None:
        """Let nobody take from a rail."""
        self.stock.shut.add(rail)

    @trace_agent_action()
    def air_out(self, rail: str, note: str) -> str:
        """Air a rail and look at it."""
        return "dry and clean"

    @trace_agent_action()
    def open_rail(self, rail: str, note: str) -> None:
        """Let everybody take from a rail again."""
        self.stock.shut.discard(rail)

    @trace_agent_action()
    def alter(self, order: str, performer: str) -> int:
        """Take a costume in or let it out, by the card."""
        return self.stock.cards[performer]

    @trace_agent_action()
    def pick(self, order: str, rail: str, performer: str) -> dict[str, object]:
        """Take a costume from its rail, or the most similar one, and alter it."""
        wanted = next(item for item in self.stock.orders if item.code == order)
        wanted.match = self.stock.similar[rail] if rail in self.stock.shut else 100
        wanted.packed = rail if wanted.match == 100 else "similar rail"
        wanted.asked_cm, wanted.cut_cm = self.stock.body_cm[performer], self.alter(order, performer)
        return {"order": order, "from": wanted.packed}

    @trace_agent_action()
    def lend_trunk(self, slip: str) -> str:
        """Lend a trunk."""
        if self.stock.trunks <= 0:
            return "none"
        self.stock.trunks -= 1
        return "lent"

    @trace_agent_action()
    def return_trunk(self, slip: str) -> None:
        """Put a trunk back on the pile."""
        self.stock.trunks += 1


class Van(Someone):
    """Brings costumes to theatres, and fetches trunks."""

    @trace_agent_action()
    def load(self, order: str, hall: Hall, slip: str) -> str:
        """Load what stands at the ramp for an opening, in a trunk."""
        if not next(item for item in self.stock.orders if item.code == order).packed:
            return "nothing at the ramp"
        return "loaded" if hall.lend_trunk(slip) == "lent" else "loose"

    @trace_agent_action()
    def collect(self, theatre: str, slip: str) -> None:
        """Fetch an empty trunk."""


class Theatre(Someone):
    """Dresses its people and plays."""

    @trace_agent_action()
    def unpack(self, order: str, performer: str, loaded: str) -> str:
        """Unpack a costume and put it on."""
        got = next(item for item in self.stock.orders if item.code == order)
        if not got.packed:
            return "plays in street clothes"
        if got.match < 60:
            return "plays in another century"
        return "plays" if abs(got.asked_cm - got.cut_cm) <= 3 else "cannot close the hooks"

    @trace_agent_action()
    def count_trunks(self, tour: str, wanted: int, got: int) -> str:
        """Count what came for a tour."""
        return "complete" if got >= wanted else "some left standing"


TEXTS = {
    "plays in street clothes": (
        "Our {performer} had to sing the first night in jeans since no costume was in the delivery",
        "{theatre} opened without the {style} costume that was ordered in good time (order {order})",
        "order {order} was simply not on the truck on the morning of the opening, why?",
        "no costume for {performer} on opening day at {theatre}, although the warehouse had confirmed it",
    ),
    "plays in another century": (
        "{performer} walked on in something that had nothing to do with {style}. We ordered {style}!",
        "Why did {theatre} get a replacement instead of the {style} costume of order {order}?",
        "the {style} piece must have hung there all the time, and they packed us some other dress",
        "wrong period on stage at {theatre}: what came for {performer} was a substitute",
    ),
    "cannot close the hooks": (
        "the costume of {performer} does not close any more, it was cut for somebody thinner or wider",
        "At {theatre} the {style} costume from order {order} did not fit, though we had been to the fitting",
        "why was {performer}'s costume altered to the wrong size",
        "Hooks burst on opening night; {performer} had been measured properly before",
    ),
    "some left standing": (
        "The tour was promised {wanted} trunks and only {got} turned up",
        "{theatre} could not pack for its tour: {got} trunks instead of {wanted}",
        "Where have all the trunks gone? we got {got}, the list says {wanted}",
        "half our wardrobe stayed on the pavement because there were not enough trunks ({got} of {wanted})",
    ),
}


class Warehouse:
    """The people, the days, and what is special about the case."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.stock = case, days, Stock(case)
        rng = case.rng("warehouse")
        self.desk, self.studio = Desk("booking_desk", self.stock), Studio("fitting_studio", self.stock)
        self.halls = {name: Hall(name, self.stock) for name in HALLS}
        self.vans = {name: Van(name, self.stock) for name in VANS}
        self.theatres = {name: Theatre(name, self.stock) for name in THEATRES}
        self.rails = {f"{style}_{n}": rng.choice(HALLS) for style in STYLES for n in (1, 2, 3)}
        self.performers = [f"{role} {letter}." for role in ROLES for letter in "BKS"]
        self.star, self.rail = rng.choice(self.performers), rng.choice(list(self.rails))
        self.house, self.careless = rng.choice(THEATRES), rng.choice(VANS)
        self.stock.body_cm = {name: rng.randint(82, 120) for name in self.performers}
        self.stock.cards = dict(self.stock.body_cm)
        self.stock.similar = {rail: rng.randint(75, 95) for rail in self.rails} | {self.rail: 30}
        lag = case.end - case.begin
        self.leaks = sorted({case.begin + round(i * (lag - 1) / 7) for i in range(min(lag, 8))})
        self.stock.trunks = self.pile = 32 + len(self.leaks)
        self.lost: set[str] = set()
        self.reopen: list[tuple[int, str, str]] = []
        self.serial = 4000

    def order(self, now: int, rng: Random, special: bool) -> None:
        """Let a theatre order something."""
        case, self.serial = self.case, self.serial + rng.randint(1, 9)
        code, by_van = f"K{self.serial}", special or rng.random() < 0.85
        others = [name for name in self.performers if name != self.star]
        rails = [rail for rail in self.rails if rail != self.rail]
        theatre, performer, rail = rng.choice(THEATRES), rng.choice(others), rng.choice(rails)
        opening = now + (rng.randint(1, 9) if rng.random() < 0.85 else rng.randint(10, self.days * 6 // 10))
        if special:
            theatre, performer, rail, opening = self.house, self.star, self.rail, case.end
        self.stock.orders.append(Order(code, theatre, performer, rail, opening, opening - 1, by_van))
        self.desk.accept(code, theatre, rail, opening)
        late = special and case.strikes("off_by_one", now)
        pick = opening if late or not by_van else opening - 1  # who comes himself comes in the evening
        self.desk.plan_pick(code, pick, "van" if by_van else "counter")
        if special and case.has("off_by_one"):
            case.root(call("booking_desk", "plan_pick", order=code))

    def measures(self, now: int, rng: Random) -> None:
        """Measure performers again, and copy what has changed to the cards."""
        todo = (
            [rng.choice([name for name in self.performers if name != self.star])]
            if rng.random() < 0.5
            else []
        )
        todo += [self.star] if self.case.has("stale_cache") and now == self.case.begin else []
        for performer in todo:
            visit = f"{performer[:3]}/{now}"
            change = (
                rng.choice((-7, -5, 5, 6)) if performer == self.star else rng.choice((-6, -4, -1, 0, 1, 5))
            )
            chest = self.stock.cards[performer] + change
            self.studio.measure(performer, chest, visit)
            hall = self.halls[rng.choice(HALLS)]
            if performer == self.star:
                self.case.root(call("fitting_studio", "measure", visit=visit))
            if abs(change) > 1 and not (performer == self.star and self.case.strikes("stale_cache", now)):
                hall.copy_card(performer, chest, visit)

    def rails_of_day(self, now: int, rng: Random) -> None:
        """Close rails for a while, and open them again."""
        case = self.case
        todo = [rng.choice([rail for rail in self.rails if rail != self.rail])] if rng.random() < 0.35 else []
        todo += [self.rail] if case.has("forgotten_undo") and now == case.begin else []
        for rail in todo:
            lasts, note = rng.randint(0, 4), f"n{now}{rail[:2]}"
            if rail == self.rail:
                lasts = min(lasts, case.end - case.begin - 1)
                case.root(call(self.rails[rail], "close_rail", note=note))
                case.root(call(self.rails[rail], "air_out", note=note))
            reason = rng.choice(("moths", "damp", "new labels", "stocktaking"))
            self.halls[self.rails[rail]].close_rail(rail, reason, note)
            self.reopen.append((now + lasts, rail, note))
        for item in [item for item in self.reopen if item[0] <= now]:
            self.reopen.remove(item)
            hall = self.halls[self.rails[item[1]]]
            hall.air_out(item[1], item[2])
            if not (item[1] == self.rail and case.strikes("forgotten_undo")):
                hall.open_rail(item[1], item[2])

    def morning(self, now: int, rng: Random) -> None:
        """Fetch trunks, deliver what opens today, and hear what the theatres say."""
        case = self.case
        for item in [item for item in self.stock.due_back if item[0] <= now]:
            self.stock.due_back.remove(item)
            _, van, theatre, slip = item
            self.vans[van].collect(theatre, slip)
            if slip not in self.lost:
                self.halls[rng.choice(HALLS)].return_trunk(slip)
        for order in [item for item in self.stock.orders if item.opening == now and item.by_van]:
            hall, van, slip = self.rails[order.rail], rng.choice(VANS), f"T{now}-{order.code[1:]}"
            loaded = self.vans[van].load(order.code, self.halls[hall], slip)
            if loaded == "loaded":
                self.stock.due_back.append((now + rng.randint(1, 3), van, order.theatre, slip))
            result = self.theatres[order.theatre].unpack(order.code, order.performer, loaded)
            if result != "plays":
                case.hop(call(hall, "pick", order=order.code)) if order.packed else None
                case.hop(call(van, "load", order=order.code))
                event = call(order.theatre, "unpack", order=order.code)
                case.symptom(event, *self.texts(result, order=order.code))
        if rng.random() < 0.5:  # a theatre moves house, and rents trunks alone
            slip, van = f"T{now}-{rng.randint(9001, 9499)}", rng.choice(VANS)
            self.halls[rng.choice(HALLS)].lend_trunk(slip)
            self.stock.due_back.append((now + rng.randint(1, 2), van, rng.choice(THEATRES), slip))
        if case.has("leaked_resource") and now in self.leaks:
            hall, slip = rng.choice(HALLS), f"T{now}-{rng.randint(9501, 9999)}"
            self.halls[hall].lend_trunk(slip)
            self.stock.due_back.append((now + 1, self.careless, self.house, slip))
            if case.strikes("leaked_resource"):
                self.lost.add(slip)
                if len(self.lost) <= 3:
                    case.root(call(hall, "lend_trunk", slip=slip), call(self.careless, "collect", slip=slip))
        if case.has("leaked_resource") and now == case.end:
            self.tour(now, rng)

    def tour(self, now: int, rng: Random) -> None:
        """Lend a touring theatre all trunks that are not with somebody."""
        case, name = self.case, f"tour{now}"
        house = rng.choice([theatre for theatre in THEATRES if theatre != self.house])
        wanted = self.pile - len(self.stock.due_back)
        self.desk.promise_trunks(name, wanted)
        case.trigger(call("booking_desk", "promise_trunks", tour=name))
        lent = [self.halls[rng.choice(HALLS)].lend_trunk(f"{name}.{n}") for n in range(wanted)]
        got = lent.count("lent")
        case.hop(call("booking_desk", "promise_trunks", tour=name))
        for number in range(got):
            self.stock.due_back.append((now + 2, self.careless, house, f"{name}.{number}"))
        if self.theatres[house].count_trunks(name, wanted, got) != "complete":
            event = call(house, "count_trunks", tour=name)
            self.house = house
            case.symptom(event, *self.texts("some left standing", wanted=wanted, got=got))

    def texts(self, result: str, **more: object) -> list[str]:
        """Return what a user writes about a result."""
        style = self.rail.split("_")[0]
        return [
            text.format(performer=self.star, theatre=self.house, style=style, **more)
            for text in TEXTS[result]
        ]

    def chores(self, now: int, rng: Random) -> None:
        """Everyday work, settings and hiccups."""
        hall, van = self.halls[rng.choice(HALLS)], self.vans[rng.choice(VANS)]
        if rng.random() < 0.4:
            hall.log.log_action(
                rng.choice(("steam_wigs", "sew_buttons", "brush_hats")), {"pieces": rng.randint(2, 30)}
            )
        if rng.random() < 0.12:
            van.log.warning("tyre low, pumped up", extra={"bar": round(rng.uniform(1.6, 2.1), 1)})
        if rng.random() < 0.1:
            hall.log.error("label printer jammed, second try worked", extra={"sheet": rng.randint(1, 60)})
        if rng.random() < 0.15:
            self.desk.log.log_action("change_plan", {"lunch_at": rng.randint(11, 14)})
        if rng.random() < 0.12:
            old, new = rng.sample(("low", "middle", "bright"), 2)
            hall.log.log_state_change({"lamps": old}, {"lamps": new}, trigger="by hand")
        if now == self.case.decoy_at:
            van.log.warning("parked in the wrong yard, moved on", extra={"minutes": rng.randint(5, 40)})

    def day(self, now: int) -> None:
        """Live through a day."""
        case, rng = self.case, self.case.rng(f"day/{now}")
        self.morning(now, rng)
        self.chores(now, rng)
        for _ in range(rng.randint(1, 3)):
            self.order(now, rng, special=False)
        if not case.has("leaked_resource"):
            asked_on = case.begin if case.has("off_by_one") else max(case.begin, case.end - 5)
            if now == asked_on:
                self.order(now, rng, special=True)
        self.measures(now, rng)
        self.rails_of_day(now, rng)
        for order in [item for item in self.stock.orders if item.picked_on == now]:
            self.halls[self.rails[order.rail]].pick(order.code, order.rail, order.performer)


def play(case: Case) -> None:
    """Play a season of rentals."""
    days = case.rng("days").choice((45, 80, 130, 220))
    case.window(days)
    warehouse = Warehouse(case, days)
    for now in range(days):
        with tick(now):
            warehouse.day(now)


WORLD = World(
    "costumes", "spans", ("stale_cache", "forgotten_undo", "leaked_resource", "off_by_one"), play, author=21
)
