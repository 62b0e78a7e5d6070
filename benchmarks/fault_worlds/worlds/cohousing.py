"""A co-housing block: shared circuits, charging docks, stoves with child locks, a robot cart, and those who live there."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

NEIGHBOURS = ("bettina", "jonas", "selin", "ottokar", "granny_w", "philippa")
PLACES = ("deep_freezer", "cold_pantry", "broom_closet", "dry_rack")
FROZEN, DRY = ("peas", "sorbet", "fish sticks", "spinach"), ("rice", "lentils", "soap", "flour", "candles")
TOASTS = ("kettle", "toaster", "blender", "waffles")


class Circuit:
    """Gives amperes to whoever asks, until the fuse would blow."""

    def __init__(self, who: str, limit: int) -> None:
        self.who, self.limit = who, limit
        self.held: dict[str, int] = {}

    def draw(self, load: str, amps: int) -> str:
        """Ask for amperes."""
        if sum(self.held.values()) + amps > self.limit:
            return "refused"
        self.held[load] = amps
        return "on"

    def release(self, load: str, rest: int) -> int:
        """Give them back, but for what stays on."""
        self.held.pop(load, None)
        if rest:
            self.held[load] = rest
        return sum(self.held.values())

    def main_switch(self) -> int:
        """Cut everything off for the night."""
        self.held.clear()
        return 0


class Machine:
    """Anything with a motor and a firmware."""

    def __init__(self, who: str, circuit: Circuit, amps: int) -> None:
        self.who, self.circuit, self.amps, self.standby = who, circuit, amps, 0

    def update(self, version: str, standby: int) -> str:
        """Install a firmware."""
        self.standby = standby
        return version

    def run(self, load: str) -> str:
        """Work through one load."""
        told = self.circuit.draw(load, self.amps)
        if told == "on":
            self.circuit.release(load, self.standby)
        return told


class Dock:
    """Charges three batteries in a night."""

    def __init__(self, who: str) -> None:
        self.who, self.order = who, ["scooter", "cargo", "car"]
        self.line: dict[str, str] = {}

    def arrange(self, order: list[str]) -> list[str]:
        """Say which sort is charged first."""
        self.order = order
        return order

    def plug_in(self, battery: str, sort: str) -> int:
        """Join the line if it is not too long already."""
        if list(self.line.values()).count(sort) < 6:
            self.line[battery] = sort
        return len(self.line)

    def charge(self) -> list[str]:
        """Charge those whose turn it is."""
        ready = sorted(self.line, key=lambda battery: self.order.index(self.line[battery]))[:3]
        for battery in ready:
            del self.line[battery]
        return ready

    def unplug(self, battery: str) -> str:
        """Take a battery out."""
        return "flat" if self.line.pop(battery, None) else "charged"


class Stove:
    """Cooks, if it is not locked."""

    def __init__(self, who: str) -> None:
        self.who, self.locked = who, False

    def child_lock(self, on: bool) -> bool:
        """Lock the knobs, or free them."""
        self.locked = on
        return on

    def heat(self, dish: str) -> str:
        """Warm something."""
        return "stays cold" if self.locked else "hot"


class Place:
    """Keeps things, warm or cold."""

    def __init__(self, who: str, degrees: int) -> None:
        self.who, self.degrees = who, degrees
        self.since: dict[str, int] = {}

    def keep(self, item: str, now: int) -> int:
        """Take something in."""
        self.since[item] = now
        return len(self.since)

    def hand_out(self, item: str, now: int) -> dict[str, Any]:
        """Give something out as it has become."""
        lay = now - self.since.pop(item, now)
        return {"degrees": self.degrees, "thawed": self.degrees > -8 and lay > 0}


class Cart:
    """Rides from the door to the store rooms."""

    def __init__(self, places: dict[str, Place]) -> None:
        self.who, self.places = "robot_cart", places
        self.list: dict[str, str] = {}

    def put_away(self, item: str, what: str, place: str, now: int) -> str:
        """Bring one item somewhere."""
        self.places[place].keep(item, now)
        self.list[item] = place
        return place

    def bring(self, item: str, now: int) -> dict[str, Any]:
        """Fetch one item."""
        return self.places[self.list.pop(item)].hand_out(item, now)


class Neighbour:
    """Lives here."""

    def __init__(self, who: str, stove: Stove) -> None:
        self.who, self.stove = who, stove

    def welcome(self, visitor: str, toddler: bool) -> str:
        """Let somebody in."""
        if toddler:
            self.stove.child_lock(True)
        return visitor

    def see_off(self, visitor: str, free_knobs: bool) -> str:
        """Say good-bye."""
        if free_knobs:
            self.stove.child_lock(False)
        return visitor

    def cook(self, dish: str, stove: Stove) -> str:
        """Warm a dish."""
        return stove.heat(dish)

    def bake(self, loaf: str, circuit: Circuit) -> str:
        """Use the big oven in the shared kitchen."""
        told = circuit.draw(loaf, 16)
        circuit.release(loaf, 0)
        return told

    def unwrap(self, item: str, cart: Cart, now: int) -> bool:
        """Have something brought for supper; tell whether it is good."""
        return not cart.bring(item, now)["thawed"]

    def ride_off(self, battery: str, dock: Dock) -> str:
        """Take the own battery."""
        return dock.unplug(battery)


class Pinboard:
    """Where notes are pinned."""

    def __init__(self) -> None:
        self.who = "pinboard"

    def pin(self, slip: int, says: str) -> int:
        """Pin a note."""
        return slip


instrument(Circuit, ["draw", "release", "main_switch"], agent_id="who", agent_role="circuit")
instrument(Machine, ["update", "run"], agent_id="who", agent_role="machine", ignore=["circuit"])
instrument(Dock, ["arrange", "plug_in", "charge", "unplug"], agent_id="who", agent_role="dock")
instrument(Stove, ["child_lock", "heat"], agent_id="who", agent_role="stove")
instrument(Place, ["keep", "hand_out"], agent_id="who", agent_role="place")
instrument(Cart, ["put_away", "bring"], agent_id="who", agent_role="cart", ignore=["places"])
instrument(
    Neighbour,
    ["welcome", "see_off", "cook", "bake", "unwrap", "ride_off"],
    agent_id="who",
    agent_role="neighbour",
    ignore=["stove"],
)
instrument(Pinboard, ["pin"], agent_id="who", agent_role="board")

WORDS = {
    "bake": (
        "I had the dough ready, and the big oven will not come on.",
        "{who} wanted to bake {what} and the shared kitchen is out of power, although nothing else was on",
        "What eats up all the current? circuit_kitchen refuses the oven.",
        "no bread tonight, the oven said no",
    ),
    "ride": (
        "{what} was plugged in ages ago and is stone dead, I had to take the tram",
        "{who} stood in the yard with a flat battery this morning. It is {what}",
        "Why is a scooter never charged in this house? {who} has waited since forever.",
        "scooter empty. again nobody knows why",
    ),
    "cook": (
        "my stove is dead, there is a soup in front of me that does not get warm",
        "The knobs do nothing, and {who} has guests at eight!",
        "{stove} stays cold whatever I turn.",
        "{who} ate cold {what}, somebody please look at that stove",
    ),
    "thaw": (
        "the {what} for tonight is a puddle",
        "{who} unwrapped {what} and it was soft and smelly, into the bin with it",
        "Supper is ruined: what should have been hard as stone was mush when {who} got it",
        "How come our {what} had melted?",
    ),
}


class Block:
    """The house with all that is in it."""

    def __init__(self, case: Case, steps: int) -> None:
        self.case, self.rng = case, case.rng("block")
        rng = self.rng
        self.washes = [rng.random() < min(0.8, 9 / (case.end - case.begin)) for _ in range(steps)]
        self.washes[case.begin] = True
        leaks = sum(self.washes[case.begin : case.end])
        self.kitchen, self.shop = Circuit("circuit_kitchen", 15 + leaks), Circuit("circuit_workshop", 40)
        self.dishes = Machine("dishwasher", self.kitchen, 6)
        self.saws = [Machine(name, self.shop, 8) for name in ("bandsaw", "lathe", "compressor")]
        self.yard, self.cellar = Dock("dock_yard"), Dock("dock_cellar")
        warm = (-18, 9, 19, 20)
        self.places = {name: Place(name, degrees) for name, degrees in zip(PLACES, warm, strict=True)}
        self.cart, self.board, self.slip = Cart(self.places), Pinboard(), 0
        self.people = [
            Neighbour(name, Stove(f"stove_{flat}")) for flat, name in enumerate(NEIGHBOURS, start=1)
        ]
        self.key = rng.choice(self.people)
        self.others = [one for one in self.people if one is not self.key]
        self.serial, self.leaked = 100 + case.seed % 50, 0
        self.stored: list[tuple[str, str]] = []
        self.item, self.what, self.battery = "", rng.choice(FROZEN), ""
        self.wrong = rng.choice(PLACES[1:])

    def new(self, letters: str) -> str:
        """Return a name that nothing else has."""
        self.serial += 1
        return f"{letters}{self.serial}"

    def grumble(self, about: str, **words: str) -> None:
        """Pin a note about something that went wrong."""
        self.slip += 1
        self.board.pin(self.slip, f"{words['who']}: {about} {words['what']}")
        self.case.symptom(
            call("pinboard", "pin", slip=self.slip), *(text.format(**words) for text in WORDS[about])
        )

    def machines(self, now: int) -> None:
        """Wash dishes, saw wood, bake."""
        case, rng = self.case, self.rng
        if case.has("leaked_resource") and now == case.begin:
            self.dishes.update("4.2", 1 if case.strikes("leaked_resource", now) else 0)
            case.root(call("dishwasher", "update", version="4.2"))
        elif rng.random() < 0.2:
            rng.choice(self.saws).update(f"{rng.randint(1, 9)}.{now}", rng.randint(0, 1))
        if self.washes[now]:
            load = self.new("load-")
            self.dishes.run(load)
            if self.dishes.standby and self.leaked < 3:
                self.leaked += 1
                case.root(call("circuit_kitchen", "release", load=load), call("dishwasher", "run", load=load))
        for saw in rng.sample(self.saws, rng.randint(0, 2)):
            saw.run(self.new("cut-"))
        if now % 2:
            self.shop.main_switch()
        if rng.random() < 0.3:
            self.kitchen.draw(rng.choice(TOASTS), 4)
            for toast in TOASTS:
                self.kitchen.release(toast, 0)
        due = case.has("leaked_resource") and now == case.end
        if due or rng.random() < 0.12:
            baker, loaf = rng.choice(self.people), self.new("loaf-")
            if due:
                case.trigger(call(baker.who, "bake", loaf=loaf))
            if baker.bake(loaf, self.kitchen) == "refused":
                case.hop(call("circuit_kitchen", "draw", load=loaf), call(baker.who, "bake", loaf=loaf))
                self.grumble("bake", who=baker.who, what=loaf)

    def docks(self, now: int) -> None:
        """Plug in, charge, ride away."""
        case, rng = self.case, self.rng
        order = rng.sample(("scooter", "cargo", "car"), 3)
        if case.has("starved_queue") and now == case.begin:
            order = ["car", "cargo", "scooter"] if case.strikes("starved_queue", now) else self.yard.order
            self.yard.arrange(order)
            case.root(call("dock_yard", "arrange", order=order))
        elif rng.random() < 0.2:
            self.cellar.arrange(order)
        if now == case.begin:
            self.battery = self.new("bat-")
            self.yard.plug_in(self.battery, "scooter")
        elif now < case.begin and rng.random() < 0.2:
            self.yard.plug_in(self.new("bat-"), "scooter")
        for sort in ("car", "cargo", rng.choice(("car", "cargo"))):
            self.yard.plug_in(self.new("bat-"), sort)
        for _ in range(rng.randint(0, 2)):
            self.cellar.plug_in(self.new("bat-"), rng.choice(("scooter", "car", "cargo")))
        for dock in (self.yard, self.cellar):
            full = dock.charge()
            if full and rng.random() < 0.3:
                rng.choice(self.people).ride_off(full[0], dock)
        if case.has("starved_queue") and now == case.end:
            told = self.key.ride_off(self.battery, self.yard)
            if told == "flat":
                case.hop(
                    call("dock_yard", "unplug", battery=self.battery),
                    call(self.key.who, "ride_off", battery=self.battery),
                )
                self.grumble("ride", who=self.key.who, what=self.battery)

    def flats(self, now: int) -> None:
        """Have visitors, and cook."""
        case, rng, key = self.case, self.rng, self.key
        mine = case.has("forgotten_undo")
        if mine and now == case.begin:
            visitor = self.new("aunt-")
            key.welcome(visitor, True)
            key.see_off(visitor, not case.strikes("forgotten_undo", now))
            case.root(
                call(key.who, "see_off", visitor=visitor),
                call(key.who, "welcome", visitor=visitor),
            )
        if rng.random() < 0.35:
            host, visitor = rng.choice(self.others), self.new("guest-")
            toddler = rng.random() < 0.4
            host.welcome(visitor, toddler)
            host.see_off(visitor, toddler)
        cooks = rng.sample(self.others, rng.randint(1, 2))
        if not mine or now < case.begin or now == case.end:
            cooks.append(key)
        for cook in cooks:
            dish = self.new("stew-")
            if cook.cook(dish, cook.stove) != "hot":
                case.hop(call(cook.stove.who, "heat", dish=dish), call(cook.who, "cook", dish=dish))
                self.grumble("cook", who=cook.who, what=dish, stove=cook.stove.who)

    def groceries(self, now: int) -> None:
        """Have the cart put things away, and use some of them."""
        case, rng = self.case, self.rng
        if case.has("misrouted_thing") and now == case.begin:
            self.item = self.new("box-")
            place = self.wrong if case.strikes("misrouted_thing", now) else "deep_freezer"
            self.cart.put_away(self.item, self.what, place, now)
            case.root(call("robot_cart", "put_away", item=self.item))
        for _ in range(rng.randint(0, 2)):
            item, is_frozen = self.new("box-"), rng.random() < 0.5
            what = rng.choice(FROZEN if is_frozen else DRY)
            self.cart.put_away(item, what, "deep_freezer" if is_frozen else rng.choice(PLACES[1:]), now)
            self.stored.append((item, what))
        if len(self.stored) > 4:
            item, what = self.stored.pop(rng.randrange(4))
            if what in FROZEN:
                self.eat(item, what, now)
            else:
                self.cart.bring(item, now)
        if case.has("misrouted_thing") and now == case.end:
            self.eat(self.item, self.what, now)

    def eat(self, item: str, what: str, now: int) -> None:
        """Let somebody unwrap what should be frozen."""
        eater = self.rng.choice(self.people)
        if not eater.unwrap(item, self.cart, now):
            self.case.hop(call("robot_cart", "bring", item=item), call(eater.who, "unwrap", item=item))
            self.grumble("thaw", who=eater.who, what=what)

    def trifles(self, now: int, rng: random.Random) -> None:
        """Let small things happen."""
        somebody = AgentLogger(rng.choice(NEIGHBOURS), "neighbour")
        chance = rng.random()
        if chance < 0.25:
            somebody.log_action(
                rng.choice(("water_ferns", "sweep_stairs", "oil_hinge")), {"min": rng.randint(2, 40)}
            )
        elif chance < 0.33:
            somebody.warning("wifi gone, router restarted", extra={"minute": rng.randint(0, 59)})
        elif chance < 0.45:
            self.slip += 1
            self.board.pin(
                self.slip, rng.choice(("found: one glove", "choir on Friday", "who took my ladder"))
            )
        if now == self.case.decoy_at:
            AgentLogger("robot_cart").error("wheel stuck on a door sill, freed itself", extra={"try": 2})


def play(case: Case) -> None:
    """Live together for some months, by half-days."""
    steps = case.rng("steps").choice((70, 110, 160, 230))
    case.window(steps)
    block = Block(case, steps)
    for now in range(steps):
        with tick(now):
            block.docks(now)
            block.machines(now)
            block.groceries(now)
            block.flats(now)
            block.trifles(now, block.rng)


WORLD = World(
    "cohousing", "spans", ("leaked_resource", "starved_queue", "forgotten_undo", "misrouted_thing"), play, 28
)
