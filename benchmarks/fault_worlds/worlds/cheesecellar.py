"""A ripening cellar: vaults with fans, a brine bath, cards, racks, label desks, a taster, a van. Decorated methods."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

RECIPES = ("Bergrind", "Salva", "Monterosso", "Petit Gris", "Holzkäse")
SHOPS = ("market hall", "Hotel Krone", "dairy shop", "Maison Perrin", "station kiosk")
RENNETS = ("microbial", "thistle", "calf")
FINE = ("round", "nutty", "a little young", "firm", "buttery")


class Station:
    """A place or a person of the cellar."""

    role = "cellar"
    trace_ignore = ("_rows", "_cards")

    def __init__(self, name: str) -> None:
        self.agent_id, self.agent_role = name, self.role


class Fan(Station):
    """Keeps the air of one vault moist."""

    role = "climate"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.held, self.moisture = False, 92

    @trace_agent_action()
    def hold(self, visit: str) -> bool:
        self.held = True
        return self.held

    @trace_agent_action()
    def release(self, visit: str) -> bool:
        self.held = False
        return self.held

    @trace_agent_action()
    def read_probe(self, visit: str) -> float:
        return self.moisture + int(visit[-1]) / 10

    @trace_agent_action()
    def night(self, frost: int) -> int:
        """Follow the weather; a fan that stands still in hard frost lets the air dry out."""
        self.moisture = 92 - (4 * frost if self.held else 0) // 2
        return self.moisture


class Technician(Station):
    """Looks after the fans."""

    role = "technician"

    def __init__(self, name: str, fans: dict[str, Fan]) -> None:
        super().__init__(name)
        self._fans = fans

    @trace_agent_action("service")
    def service(self, vault: str, visit: str, leave_off: bool = False) -> float:
        """Hold the fan, read its probe, and let it go; a vault that is swept out may stay without air."""
        fan = self._fans[vault]
        fan.hold(visit)
        value = fan.read_probe(visit)
        if not leave_off:
            fan.release(visit)
        return value


class CardBox(Station):
    """One card a batch, with the bath it needs."""

    role = "cards"

    def __init__(self) -> None:
        super().__init__("card_box")
        self._cards: dict[str, tuple[int, int]] = {}

    @trace_agent_action("write_card")
    def write(self, batch: str, degrees: int, hours: int) -> int:
        self._cards[batch] = degrees, hours
        return len(self._cards)

    @trace_agent_action("read_card")
    def read(self, batch: str) -> tuple[int, int]:
        return self._cards[batch]


class Dairy(Station):
    """Makes the cheese and hands it to the cellar with a delivery note."""

    role = "dairy"

    def __init__(self, box: CardBox) -> None:
        super().__init__("dairy")
        self._box = box

    @trace_agent_action()
    def deliver(self, batch: str, recipe: str, note: str) -> str:
        """The note says what the bath should be; the cellar boy writes it on a card."""
        return f"{recipe}, {note}"


class Porter(Station):
    """Writes cards, puts wheels on racks."""

    role = "porter"

    def __init__(self, name: str, box: CardBox, rows: dict[int, str]) -> None:
        super().__init__(name)
        self._box, self._rows = box, rows

    @trace_agent_action()
    def take_over(self, batch: str, degrees: int, hours: int) -> int:
        return self._box.write(batch, degrees, hours)

    @trace_agent_action()
    def stack(self, batch: str, first: int, last: int) -> int:
        for row in range(first, last + 1):
            self._rows[row] = batch
        return last - first + 1

    @trace_agent_action("turn_wheels")
    def turn(self, batch: str, round_no: str) -> str:
        return "turned"


class Bath(Station):
    """Brine: too short or too warm, and the cheese has no taste."""

    role = "brine"

    def __init__(self, box: CardBox) -> None:
        super().__init__("brine_bath")
        self._box, self.salt = box, {"": 0.0}

    @trace_agent_action("dip")
    def dip(self, batch: str) -> float:
        degrees, hours = self._box.read(batch)
        self.salt = {batch: round(hours * 0.1 - (degrees - 12) * 0.02, 2)}
        return self.salt[batch]


class LabelDesk(Station):
    """Prints labels; what it once looked up it knows until it is told to forget it."""

    role = "labels"

    def __init__(self, name: str, book: RecipeBook) -> None:
        super().__init__(name)
        self._book = book
        self.known: dict[str, str] = {}

    @trace_agent_action("print_label")
    def print_label(self, recipe: str, order: str) -> str:
        if recipe not in self.known:
            self.known[recipe] = self._book.look_up(recipe)
        return f"{recipe}, {self.known[recipe]} rennet"

    @trace_agent_action()
    def forget(self, recipe: str) -> bool:
        return bool(self.known.pop(recipe, ""))


class RecipeBook(Station):
    """What cheese is made of at present."""

    role = "recipes"

    def __init__(self) -> None:
        super().__init__("recipe_book")
        self.rennet = dict.fromkeys(RECIPES, "microbial")
        self.desks: list[LabelDesk] = []

    @trace_agent_action("look_up")
    def look_up(self, recipe: str) -> str:
        return self.rennet[recipe]

    @trace_agent_action("change_recipe")
    def change(self, recipe: str, rennet: str, tell: list[str], leaf: str) -> str:
        """Change the rennet, and tell the label desks that are named."""
        old, self.rennet[recipe] = self.rennet[recipe], rennet
        for desk in self.desks:
            if desk.agent_id in tell:
                desk.forget(recipe)
        return old


class Planner(Station):
    """Reserves rows of the rack for orders."""

    role = "planner"

    def __init__(self) -> None:
        super().__init__("planner")
        self._reserved: dict[str, int] = {}

    @trace_agent_action("reserve")
    def reserve(self, order: str, batch: str, row: int) -> int:
        self._reserved[order] = row
        return len(self._reserved)

    @trace_agent_action("call_off")
    def call_off(self, order: str) -> int:
        return self._reserved[order]


class Van(Station):
    """Loads what stands on the row that it is told."""

    role = "van"

    def __init__(self, name: str, planner: Planner, rows: dict[int, str]) -> None:
        super().__init__(name)
        self._planner, self._rows = planner, rows

    @trace_agent_action("load")
    def load(self, order: str) -> str:
        return self._rows[self._planner.call_off(order)]


class Taster(Station):
    """Bores into wheels, opens parcels at the customer's, answers letters."""

    role = "taster"

    @trace_agent_action("judge")
    def judge(self, what: str, finding: str, entry: str) -> str:
        return "noted" if finding in FINE else "set aside"


class Cellar:
    """All of them, and the plan of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.day, self.count = case, 0, 0
        rng = case.rng("cellar")
        self.rows: dict[int, str] = {}
        self.fans = {f"vault {number}": Fan(f"fan_{number}") for number in range(1, 7)}
        self.box, self.book, self.planner = CardBox(), RecipeBook(), Planner()
        self.dairy, self.bath = Dairy(self.box), Bath(self.box)
        self.book.desks = [LabelDesk(name, self.book) for name in ("desk_east", "desk_west")]
        self.porters = [Porter(name, self.box, self.rows) for name in ("Nino", "Greta", "Wim")]
        self.techs = [Technician(name, self.fans) for name in ("Ruedi", "Salome")]
        self.vans = [Van(name, self.planner, self.rows) for name in ("van_blue", "van_white")]
        self.tasters = [Taster(name) for name in ("Madame Roche", "Beat", "Orsola")]
        self.vault, self.swept, *self.vaults = rng.sample(sorted(self.fans), 6)
        self.recipe, *self.recipes = rng.sample(RECIPES, 5)
        self.shop, self.porter, self.tech = (
            rng.choice(SHOPS),
            rng.choice(self.porters),
            rng.choice(self.techs),
        )
        self.taster, self.van, self.desk = (
            rng.choice(self.tasters),
            rng.choice(self.vans),
            rng.choice(self.book.desks),
        )
        self.batch, self.row, self.order = "", 0, f"F/{rng.randint(19_000, 19_999)}"
        self.open: list[tuple[int, str, str]] = []  # orders: day, number, batch
        self.unsalted: list[tuple[int, str]] = []
        self.clock = AgentLogger("cellar_clock", "clock")

    def ref(self) -> str:
        self.count += 1
        return f"{self.day:03}-{self.count}"

    def judge(self, taster: Taster, what: str, finding: str) -> Any:
        """Have something judged; returns how to find the entry."""
        entry = self.ref()
        taster.judge(what, finding, entry)
        return call(taster.agent_id, "judge", entry=entry)

    def new_batch(self, rng: random.Random, recipe: str, porter: Porter, crossed: bool) -> str:
        """A delivery: note, card, a few rows of the rack."""
        batch = f"{recipe[:3].upper()}{self.ref()}"
        degrees = rng.randint(12, 14)
        hours = rng.choice((21, 22, 24, 26))
        self.dairy.deliver(batch, recipe, f"brine at {degrees} degrees for {hours} hours")
        if crossed:
            degrees, hours = hours, degrees
        porter.take_over(batch, degrees, hours)
        first = max(self.rows, default=0) + 1
        porter.stack(batch, first, first + rng.randint(2, 4))
        return batch

    def dairy_work(self, rng: random.Random) -> None:
        """Deliveries, and baths some days later."""
        case, today = self.case, self.day
        if rng.random() < 0.5 or today < 2:
            batch = self.new_batch(rng, rng.choice(RECIPES), rng.choice(self.porters), crossed=False)
            self.unsalted.append((today + rng.choice((1, 2, 3, 7)), batch))
        if rng.random() < 0.2:  # sold fresh, without a bath, so that nobody reads its card
            self.new_batch(rng, rng.choice(RECIPES), rng.choice(self.porters), crossed=rng.random() < 0.6)
        if case.has("swapped_fields") and today == case.begin:
            crossed = case.strikes("swapped_fields", today)
            self.batch = self.new_batch(rng, self.recipe, self.porter, crossed)
            case.root(
                call(self.porter.agent_id, "take_over", batch=self.batch),
                call("card_box", "write_card", batch=self.batch),
            )
            self.unsalted.append((case.end, self.batch))
        for _, batch in [item for item in self.unsalted if item[0] == today]:
            salt = self.bath.dip(batch)
            taster = self.taster if batch == self.batch else rng.choice(self.tasters)
            found = self.judge(taster, batch, rng.choice(FINE) if salt > 1.6 else "bland")
            if salt <= 1.6:
                case.hop(call("card_box", "read_card", batch=batch), call("brine_bath", "dip", batch=batch))
                self.complain(found)

    def orders(self, rng: random.Random) -> None:
        """Shops order, the planner reserves a row, a van fetches it later."""
        case, today, own = self.case, self.day, self.case.has("off_by_one")
        placed = sorted({batch for batch in self.rows.values() if batch != self.batch})
        for _ in range(rng.randint(1, 2)):
            self.count += 1
            batch, order = rng.choice(placed), f"F/{20_000 + self.count}"
            rows = [row for row, name in self.rows.items() if name == batch]
            row = rows[rng.choice((0, 0, 1, -1))]  # any row of it will do
            self.planner.reserve(order, batch, row)
            self.open.append((today + rng.choice((1, 1, 2, 5, 9)), order, batch))
        if own and today == max(0, case.begin - 1):
            self.batch = self.new_batch(rng, self.recipe, self.porter, crossed=False)
            self.row = max(self.rows)
            self.new_batch(rng, self.recipes[0], self.porter, crossed=False)
        if own and today == case.begin:
            row = self.row + 1 if case.strikes("off_by_one", today) else self.row
            self.planner.reserve(self.order, self.batch, row)
            case.root(call("planner", "reserve", order=self.order))
            self.open.append((case.end, self.order, self.batch))
        for _, order, batch in [item for item in self.open if item[0] == today]:
            van = self.van if order == self.order else rng.choice(self.vans)
            loaded = van.load(order)
            taster = self.taster if order == self.order else rng.choice(self.tasters)
            found = self.judge(
                taster, order, rng.choice(FINE) if loaded == batch else f"parcel holds {loaded}"
            )
            if loaded != batch:
                case.hop(call("planner", "call_off", order=order), call(van.agent_id, "load", order=order))
                self.complain(found)

    def recipes_and_labels(self, rng: random.Random) -> None:
        """Recipes change; a desk that has never printed a label of it need not be told."""
        case, today, own = self.case, self.day, self.case.has("stale_cache")
        usual = RECIPES if today < case.begin - 1 else tuple(self.recipes)
        if rng.random() < 0.4:
            recipe = rng.choice(usual)
            tell = [desk.agent_id for desk in self.book.desks if recipe in desk.known]
            self.book.change(recipe, rng.choice(RENNETS[: 2 + (recipe != self.recipe)]), tell, self.ref())
        if own and today == max(0, case.begin - 1):
            for desk in self.book.desks:
                desk.print_label(self.recipe, self.ref())
        if own and today == case.begin:
            missed = self.desk.agent_id if case.strikes("stale_cache", today) else ""
            tell, leaf = [desk.agent_id for desk in self.book.desks if desk.agent_id != missed], self.ref()
            self.book.change(self.recipe, "calf", tell, leaf)
            case.root(call("recipe_book", "change_recipe", leaf=leaf))
        for _ in range(rng.randint(1, 3)):
            rng.choice(self.book.desks).print_label(rng.choice(usual), self.ref())
        if own and today == case.end:
            label = self.desk.print_label(self.recipe, self.order)
            right = self.book.rennet[self.recipe] in label
            found = self.judge(
                self.taster, label, rng.choice(FINE) if right else "letter: contains calf rennet"
            )
            if not right:
                case.hop(call(self.desk.agent_id, "print_label", order=self.order))
                self.complain(found)

    def climate(self, rng: random.Random) -> None:
        """Fans are serviced; a swept vault is empty and may stay without air; the nights are mild as a rule."""
        case, today, own = self.case, self.day, self.case.has("forgotten_undo")
        usual = [*self.vaults, self.vault] if today < case.begin else self.vaults
        if rng.random() < 0.5:
            rng.choice(self.techs).service(rng.choice(usual), self.ref())
        if rng.random() < 0.2:
            rng.choice(self.techs).service(self.swept, self.ref(), leave_off=rng.random() < 0.6)
        if own and today == case.begin:
            visit = self.ref()
            self.tech.service(self.vault, visit, leave_off=case.strikes("forgotten_undo", today))
            case.root(call(self.tech.agent_id, "service", visit=visit))
            case.root(
                *(call(self.fans[self.vault].agent_id, act, visit=visit) for act in ("hold", "read_probe"))
            )
        frost = 9 if own and today == case.end else rng.choice((0, 0, 0, 1, 2))
        blown = self.clock.log_action("weather", {"frost": frost, "day": today})
        for vault in rng.sample(self.vaults, 2) + [self.swept, self.vault][today % 2 :]:
            moisture = self.fans[vault].night(frost)
            if moisture >= 80 or vault == self.swept:
                continue
            case.trigger(blown)
            case.hop(call(self.fans[vault].agent_id, "night", frost=frost))
            self.complain(self.judge(self.taster, f"wheels of {vault}", "rind cracked"))

    def chores(self, rng: random.Random) -> None:
        """Turning, tasting, settings, hiccups, and something striking shortly before the symptom."""
        for batch in rng.sample(sorted(set(self.rows.values())), min(2, len(set(self.rows.values())))):
            rng.choice(self.porters).turn(batch, self.ref())
        self.judge(
            rng.choice(self.tasters), f"wheel {rng.randint(1, 900)}", rng.choice((*FINE, "eye too large"))
        )
        if rng.random() < 0.12:
            self.clock.log_action("set_threshold", {"door_alarm_min": rng.randint(2, 9)})
        if rng.random() < 0.15:
            self.clock.warning(rng.choice(("door open", "scale not level", "brush worn")), {"day": self.day})
        if rng.random() < 0.08:
            self.clock.error("label roll torn, printed again", {"copies": 2})
        if self.day == self.case.decoy_at:
            sort = rng.randrange(3)
            if sort == 0:
                self.clock.error("lamp flickers", {"where": self.vault})
            elif sort == 1:
                self.clock.log_action("set_display", {"unit": "celsius"})
            else:
                self.clock.log_action(
                    "receive_visitors", {"school": self.shop, "children": rng.randint(8, 30)}
                )

    def complain(self, event: Any) -> None:
        names = {
            "vault": self.vault,
            "batch": self.batch,
            "shop": self.shop,
            "order": self.order,
            "day": self.day,
        }
        names |= {"recipe": self.recipe, "taster": self.taster.agent_id, "van": self.van.agent_id}
        names |= {"desk": self.desk.agent_id}
        self.case.symptom(event, *(text.format(**names) for text in TEXTS[self.case.kind]))


TEXTS = {
    "forgotten_undo": (
        "All wheels in {vault} have cracked rinds after a single cold night. {taster} is in tears",
        "why did {vault} dry out on day {day}, the vaults beside it did not",
        "a whole vault set aside on day {day}, cracks as wide as a finger",
    ),
    "off_by_one": (
        "{shop} ordered {recipe} and found another cheese in the parcel, order {order}",
        "wrong wheels for {order}. {van} swears it loaded what it was told",
        "why did {taster} find a stranger in the parcel of {shop}?",
    ),
    "swapped_fields": (
        "{batch} tastes of nothing, {taster} spat it out",
        "The {recipe} came out of the brine bland although the dairy's note was followed, they say",
        "bland batch on day {day}. The same recipe had been good all winter",
    ),
    "stale_cache": (
        "I am a vegetarian and your {recipe} is sold to me as free of calf rennet. It is not!",
        "{desk} printed a label for {order} that is a lie",
        "a lawyer writes because of the rennet in {recipe}, why does the label still say the old thing? {taster} got it",
    ),
}


def play(case: Case) -> None:
    """Keep the cellar for a season, day by day."""
    days = case.rng("season").choice((20, 36, 60, 100))
    case.window(days)
    cellar = Cellar(case)
    for day in range(days):
        cellar.day = day
        with tick(day):
            for work in (
                cellar.dairy_work,
                cellar.orders,
                cellar.recipes_and_labels,
                cellar.chores,
                cellar.climate,
            ):
                work(case.rng(f"{work.__name__} of day {day}"))


WORLD = World(
    "cheesecellar", "spans", ("forgotten_undo", "off_by_one", "swapped_fields", "stale_cache"), play, 20
)
