"""A violin workshop: instruments come in, are glued, varnished, strung, hung in rooms, carried home and played.

Decorated methods that call each other, one tick a day; nothing names its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

SURNAMES = ("Weber", "Okafor", "Lindqvist", "Marchetti", "Sato", "Novak", "Duarte", "Hughes")
FIRST = ("Anna", "Bela", "Carla", "David", "Eszter", "Finn", "Greta", "Hugo")
GAUGES = ("light", "medium", "heavy")
ROOMS = ("loft", "north room", "long room")
KINDS_OF = ("violin", "viola", "cello")
MAKERS = ("Tomasz", "Ilse", "Renaud")
DRIEST, USUAL, FOR_VARNISH = 40, 52, 31


@dataclass
class Card:
    """What the index knows of one customer."""

    name: str
    street: str
    gauge: str


@dataclass
class Piece:
    """What is really true of one instrument."""

    owner: str
    sort: str
    strength: float = 1.0
    gauge: str = "medium"
    is_cracked: bool = False


class Person:
    """Somebody, or some place, that takes part in the work."""

    trace_ignore: ClassVar[tuple[str, ...]] = ("shop", "piece", "notes")

    def __init__(self, agent_id: str, agent_role: str, shop: Shop) -> None:
        self.agent_id, self.agent_role, self.shop = agent_id, agent_role, shop


class Index(Person):
    """Keeps the customers' cards."""

    @trace_agent_action()
    def open_card(self, number: str, name: str, street: str, gauge: str) -> None:
        """Write a card."""
        self.shop.cards[number] = Card(name, street, gauge)

    @trace_agent_action()
    def amend(self, number: str, gauge: str) -> list[str]:
        """Change what somebody likes to play on, and let the benches that have a note renew it."""
        shop = self.shop
        shop.cards[number].gauge = gauge
        holders = [maker for maker in shop.makers.values() if number in maker.notes]
        if number == shop.star and shop.day == shop.case.begin and shop.case.strikes("stale_cache"):
            shop.case.root(call(self.agent_id, "amend", number=number, gauge=gauge))
            holders = []
        for maker in holders:
            maker.renew_note(number, gauge)
        return [maker.agent_id for maker in holders]

    @trace_agent_action()
    def look_alike(self, number: str, other: str) -> str:
        """Compare two cards of one surname, and put them together if they are of one person."""
        shop = self.shop
        is_same = shop.cards[number].street == shop.cards[other].street
        if other == shop.star and shop.case.strikes("wrong_merge", shop.day):
            shop.case.root(call(self.agent_id, "put_together", number=number, other=other))
            is_same = True
        return self.put_together(number, other) if is_same else "two people"

    @trace_agent_action()
    def put_together(self, number: str, other: str) -> str:
        """Make one card of two."""
        self.shop.cards[other] = self.shop.cards[number]
        return "one card"

    @trace_agent_action()
    def find(self, number: str) -> dict[str, str]:
        """Read a card."""
        card = self.shop.cards[number]
        return {"name": card.name, "street": card.street}


class Climate(Person):
    """Holds the air of each room as it is told."""

    @trace_agent_action()
    def set_air(self, room: str, job: str, percent: int) -> None:
        """Make a room as dry or as moist as a job needs it."""
        self.shop.air[room] = percent


class Maker(Person):
    """Works at a bench, with notes of what the customers like."""

    def __init__(self, agent_id: str, agent_role: str, shop: Shop) -> None:
        super().__init__(agent_id, agent_role, shop)
        self.notes: dict[str, str] = {}

    @trace_agent_action()
    def renew_note(self, number: str, gauge: str) -> str:
        """Write the note of a customer again."""
        self.notes[number] = gauge
        return gauge

    @trace_agent_action()
    def string_up(self, piece: str, number: str) -> dict[str, str]:
        """Put on the strings that the owner likes."""
        if number not in self.notes:
            self.notes[number] = self.shop.cards[number].gauge
        gauge = self.notes[number]
        self.shop.pieces[piece].gauge = gauge
        return {"gauge": gauge}

    @trace_agent_action()
    def varnish(self, piece: str, job: str, room: str) -> str:
        """Varnish in a room that is dry meanwhile."""
        shop = self.shop
        shop.climate.set_air(room, job, FOR_VARNISH)
        self.brush(piece, job)
        if job == shop.star and shop.case.strikes("forgotten_undo"):
            shop.case.root(
                call("climate", "set_air", job=job, percent=FOR_VARNISH),
                call(self.agent_id, "brush", job=job),
            )
        else:
            shop.climate.set_air(room, job, USUAL)
        return "done"

    @trace_agent_action()
    def brush(self, piece: str, job: str) -> None:
        """Put on thin layers."""

    @trace_agent_action()
    def reset_neck(self, piece: str, job: str) -> str:
        """Glue a neck, press it, and let it rest."""
        self.glue(piece, job)
        if job == self.shop.star and self.shop.case.strikes("omitted_step"):
            self.shop.case.root(call(self.agent_id, "glue", job=job), call(self.agent_id, "rest", job=job))
        else:
            self.clamp(piece, job)
        self.rest(piece, job)
        return "neck set"

    @trace_agent_action()
    def glue(self, piece: str, job: str) -> str:
        """Bring hot glue into the joint."""
        self.shop.pieces[piece].strength = 0.35
        return "glued"

    @trace_agent_action()
    def clamp(self, piece: str, job: str) -> str:
        """Press the joint until it holds."""
        self.shop.pieces[piece].strength = 1.0
        return "pressed"

    @trace_agent_action()
    def rest(self, piece: str, job: str) -> None:
        """Leave the piece alone for a night."""


class Store(Person):
    """Hangs instruments up in rooms."""

    @trace_agent_action()
    def hang(self, piece: str, room: str, job: str) -> str:
        """Hang an instrument into a room for a night; thick wood does not stand dry air."""
        thing = self.shop.pieces[piece]
        thing.is_cracked |= thing.sort == "cello" and self.shop.air[room] < DRIEST
        return room


class Carrier(Person):
    """Takes instruments to where people live."""

    @trace_agent_action()
    def bring(self, piece: str, name: str, street: str) -> str:
        """Ring at a door."""
        return f"left at {street}"


class Player(Person):
    """Owns an instrument and plays it."""

    @trace_agent_action()
    def unpack(self, piece: str) -> str:
        """Look at what came back."""
        return "cracked" if self.shop.pieces[piece].is_cracked else "fine"

    @trace_agent_action()
    def tune(self, piece: str, hertz: int) -> str:
        """Bring the strings to pitch; a weak joint gives way at that of an orchestra."""
        return "gave way" if self.shop.pieces[piece].strength < 0.5 and hertz > 435 else "holds"

    @trace_agent_action()
    def play_scale(self, piece: str, gauge: str, liked: str) -> str:
        """Play in the new strings."""
        return "sings" if gauge == liked else "hard under the bow"

    @trace_agent_action()
    def wait_in(self, piece: str, street: str, came_to: str) -> str:
        """Wait for the carrier."""
        return "signed" if came_to == f"left at {street}" else "nobody rang"


class Desk(Person):
    """Speaks with customers and sends things out."""

    @trace_agent_action()
    def send_home(self, piece: str, number: str) -> str:
        """Look up where an owner lives and give the instrument to the carrier."""
        found = self.shop.index.find(number)
        return str(self.shop.carrier.bring(piece, found["name"], found["street"]))

    @trace_agent_action()
    def take_in(self, piece: str, sort: str, number: str) -> None:
        """Write a ticket for an instrument."""
        self.shop.pieces[piece] = Piece(number, sort)


class Shop:
    """The workshop, its customers, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.day, self.jobs = case, -1, case.seed % 300
        self.days = case.rng("days").randint(90, 170)
        case.window(self.days)
        self.cards: dict[str, Card] = {}
        self.pieces: dict[str, Piece] = {}
        self.air = dict.fromkeys(ROOMS, USUAL)
        self.index, self.climate = Index("card box", "index", self), Climate("climate", "device", self)
        self.makers = {name: Maker(name, "maker", self) for name in MAKERS}
        self.store, self.carrier = Store("rack", "store", self), Carrier("Pelle", "carrier", self)
        self.desk = Desk("Frau Kessel", "desk", self)
        self.players: dict[str, Player] = {}
        self.star = ""
        rng = case.rng("plan")
        self.maker = self.makers[rng.choice(MAKERS)]
        self.room, self.owner, self.other = rng.choice(ROOMS), "", ""
        self.hertz, self.piece, self.street = rng.choice((440, 442, 443)), f"P{rng.randint(2000, 2900)}", ""

    def settle(self) -> None:
        """Write the cards of the first customers."""
        rng = self.case.rng("people")
        for number in range(40):
            name = f"{FIRST[number % 8]} {SURNAMES[(number * 3 + number // 8) % 8]}"
            card = f"K{number + 101}"
            street = f"{rng.choice(('Mill', 'Ring', 'Church'))} St {number + 3}"
            self.index.open_card(card, name, street, rng.choice(GAUGES))
            self.players[card] = Player(name, "player", self)
        rng.shuffle(known := list(self.cards))
        self.owner, self.other, self.everyone = known[0], known[1], known[2:]

    def ticket(self) -> str:
        """Return the number of the next job."""
        self.jobs += 1
        return f"J{self.jobs:04}"

    def everyday(self) -> None:
        """Do the work of a day."""
        case, rng = self.case, self.case.rng(f"day/{self.day}")
        for _ in range(rng.randint(2, 3)):
            number, job = rng.choice(self.everyone), self.ticket()
            piece, maker, player = f"P{job[1:]}", self.makers[rng.choice(MAKERS)], self.players[number]
            room = rng.choice([one for one in ROOMS if one != self.room or not case.has("forgotten_undo")])
            self.desk.take_in(piece, rng.choice(KINDS_OF), number)
            work = rng.random()
            if work < 0.3:
                maker.varnish(piece, job, room)
            elif work < 0.6:
                maker.reset_neck(piece, job)
            gauge = maker.string_up(piece, number)["gauge"]
            self.store.hang(piece, room, job)
            self.desk.send_home(piece, number)
            if rng.random() < 0.6:
                player.unpack(piece)
                player.tune(piece, rng.choice((415, 430, 440, 442)))
            else:
                player.play_scale(piece, gauge, self.cards[number].gauge)
        if rng.random() < 0.35:
            self.index.amend(rng.choice(self.everyone), rng.choice(GAUGES))
        if rng.random() < 0.2:
            self.again(rng.choice(self.everyone))
        if rng.random() < 0.2:
            self.index.look_alike(*rng.sample(self.everyone, 2))
        if rng.random() < 0.15 or self.day == case.decoy_at:
            AgentLogger(rng.choice(MAKERS), "maker").warning("a peg snapped", {"spare": rng.randint(1, 9)})
        if self.day == case.decoy_at:
            self.index.amend(rng.choice(self.everyone), rng.choice(GAUGES))
            AgentLogger("Pelle", "carrier").error("flat tyre, came an hour late", {"street": "Ring St"})
        if rng.random() < 0.2:
            setting = rng.choice(("lamp_warmth", "glue_pot_c", "bell_volume"))
            SystemLogger("workshop").log_config(setting, 3, rng.randint(1, 9))

    def again(self, number: str) -> None:
        """File a second card for somebody who is known, and find that out."""
        card, twice = self.cards[number], f"K{self.day + 400}-{number[1:]}"
        self.index.open_card(twice, card.name, card.street, card.gauge)
        self.index.look_alike(number, twice)

    def begin(self) -> None:
        """Do what the case is about, well or badly."""
        case = self.case
        if case.has("stale_cache"):
            self.maker.string_up(self.piece, self.owner)
            liked = self.cards[self.owner].gauge
            self.index.amend(self.owner, "heavy" if liked != "heavy" else "light")
        elif case.has("wrong_merge"):
            self.index.look_alike(self.other, self.owner)
        elif case.has("forgotten_undo"):
            self.maker.varnish(self.piece, self.star, self.room)
        else:
            self.maker.reset_neck(self.piece, self.star)

    def end(self) -> None:
        """Let the owner come back, and see."""
        case, player, job = self.case, self.players[self.owner], self.ticket()
        name, piece = player.agent_id, self.piece
        if case.has("stale_cache"):
            gauge = self.maker.string_up(piece, self.owner)["gauge"]
            case.hop(call(self.maker.agent_id, "string_up", piece=piece, result={"gauge": gauge}))
            liked = self.cards[self.owner].gauge
            if player.play_scale(piece, gauge, liked) != "sings":
                case.symptom(
                    call(name, "play_scale", piece=piece),
                    f"I got {gauge} strings on my instrument {piece} and I cannot stand them. I told you so!",
                    f"{name} is unhappy with the sound, the strings are not what was wished for",
                    "My fingers hurt after ten minutes, this is not the set that I play",
                )
        elif case.has("forgotten_undo"):
            self.pieces[piece].sort = "cello"
            self.store.hang(piece, self.room, job)
            case.trigger(call("rack", "hang", job=job))
            case.hop(call("rack", "hang", job=job))
            if player.unpack(piece) == "cracked":
                case.symptom(
                    call(name, "unpack", piece=piece, result="cracked"),
                    f"My cello {piece} has a crack from the bridge down. It was whole when you got it!",
                    f"{name} picked a cello up and the top is split",
                    f"Why did the wood of {piece} split overnight in your house? The {self.room} is to blame?",
                )
        elif case.has("omitted_step"):
            self.desk.send_home(piece, self.owner)
            case.hop(call("Frau Kessel", "send_home", piece=piece))
            case.trigger(call(name, "tune", piece=piece, hertz=self.hertz))
            if player.tune(piece, self.hertz) != "holds":
                case.symptom(
                    call(name, "tune", piece=piece, hertz=self.hertz),
                    f"The neck came off in my hands an hour before the concert, {piece} is in two parts",
                    f"{name} tuned to {self.hertz} and the instrument fell apart",
                    "It broke at the first rehearsal although you had it for weeks",
                )
        else:
            came = self.desk.send_home(piece, self.owner)
            case.hop(call("Frau Kessel", "send_home", piece=piece), call("Pelle", "bring", piece=piece))
            if player.wait_in(piece, self.street, came) != "signed":
                case.symptom(
                    call(name, "wait_in", piece=piece),
                    f"I waited all day and nobody brought {piece}",
                    f"{name} says that the instrument never came to {self.street}",
                    f"Pelle left a valuable {self.pieces[piece].sort} at the door of a stranger",
                )

    def run(self) -> None:
        """Play all days."""
        case = self.case
        self.settle()
        self.street = self.cards[self.owner].street
        for day in range(self.days):
            self.day = day
            with tick(day):
                if day == case.begin:
                    is_job = case.has("forgotten_undo") or case.has("omitted_step")
                    self.star = self.ticket() if is_job else self.owner
                    self.desk.take_in(self.piece, case.rng("sort").choice(KINDS_OF[:2]), self.owner)
                    self.begin()
                self.everyday()
                if day == case.end:
                    self.end()


def play(case: Case) -> None:
    """Play some months of the workshop."""
    Shop(case).run()


FAULTS = ("stale_cache", "forgotten_undo", "omitted_step", "wrong_merge")
WORLD = World("luthiers", "spans", FAULTS, play, author=26)
