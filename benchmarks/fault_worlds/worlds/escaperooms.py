"""A house of escape rooms: codes, hints, emergency doors, fog and surprise parties. Decorated methods that call each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from Agent import tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

ROOMS = ("Submarine", "Pharaoh", "Asylum", "Casino", "Attic", "Orbit")
MASTERS = ("Quentin", "Rosa", "Sverre", "Tomasz")
FOGGY = ("Submarine", "Pharaoh", "Asylum", "Orbit")
PEOPLE = (
    "Marta",
    "Pavel",
    "Ines",
    "Oluf",
    "Salma",
    "Theo",
    "Ursula",
    "Viktor",
    "Wanda",
    "Yusuf",
    "Zoe",
    "Artur",
)


class Part:
    """Somebody or something of the house."""

    trace_ignore: tuple[str, ...] = ("house",)
    agent_role = "part"

    def __init__(self, name: str, house: House) -> None:
        self.agent_id, self.house = name, house


class Room(Part):
    """A room with a safe."""

    agent_role = "room"
    code = 1000
    lit = True
    guests = ""

    @trace_agent_action()
    def let_in(self, game: str, team: str) -> None:
        self.guests = team

    @trace_agent_action()
    def try_code(self, game: str, code: int) -> str:
        return "click" if code == self.code else "buzz"

    @trace_agent_action()
    def turn_wheel(self, code: int) -> None:
        self.code = code

    @trace_agent_action()
    def switch(self, cut: str, on: bool) -> str:
        self.lit = on
        return "people inside" if self.guests and not on else "empty"

    @trace_agent_action()
    def let_out(self, game: str) -> None:
        self.guests = ""

    @trace_agent_action()
    def smoulder(self, spot: str) -> str:
        """A lamp chars its cloth; an awake panel makes an end of it at once."""
        return "put out" if self.house.panel.sense(spot, self.agent_id) else "full of smoke"


class Codebook(Part):
    """Where codes are written."""

    agent_role = "store"

    def __init__(self, name: str, house: House) -> None:
        super().__init__(name, house)
        self.codes = dict.fromkeys(ROOMS, 1000)

    @trace_agent_action()
    def put(self, room: str, code: int) -> None:
        self.codes[room] = code

    @trace_agent_action()
    def get(self, room: str) -> int:
        return self.codes[room]


class Tablet(Part):
    """Gives hints, and remembers the code after it has looked it up."""

    agent_role = "tablet"
    code = 0

    @trace_agent_action()
    def last_hint(self, game: str) -> int:
        if not self.code:
            self.code = self.house.codebook.get(self.agent_id[7:])
        return self.code

    @trace_agent_action()
    def clear(self, slot: int) -> None:
        self.code = 0

    @trace_agent_action()
    def update(self, slot: int) -> None:
        """Install what the maker sends; it starts again with nothing in mind."""
        self.code = 0


class Locksmith(Part):
    """Sets codes, and oils doors."""

    agent_role = "craft"

    @trace_agent_action()
    def recode(self, job: str, room: str, code: int) -> None:
        """Set a new code at the safe and in the book, and have the tablet forget the old one."""
        house = self.house
        house.rooms[room].turn_wheel(code)
        house.codebook.put(room, code)
        if job not in house.hurried:
            house.tablets[room].clear(house.slot)

    @trace_agent_action()
    def oil(self, room: str, slot: int) -> None:
        self.house.doors[room].drip()


class Door(Part):
    """An emergency door."""

    agent_role = "door"
    stiff = False

    @trace_agent_action()
    def pulse(self, number: int) -> str:
        return "stays shut" if self.stiff else "opens"

    @trace_agent_action()
    def drip(self) -> None:
        self.stiff = False


class Panel(Part):
    """The panel of the smoke detectors, zone by zone."""

    agent_role = "panel"

    def __init__(self, name: str, house: House) -> None:
        super().__init__(name, house)
        self.asleep: list[str] = []

    @trace_agent_action()
    def mute(self, zone: str, game: str) -> None:
        self.asleep.append(zone)

    @trace_agent_action()
    def wake(self, zone: str, game: str) -> None:
        self.asleep = [name for name in self.asleep if name != zone]

    @trace_agent_action()
    def sense(self, spot: str, zone: str) -> bool:
        return zone not in self.asleep


class Master(Part):
    """Leads teams through games, and tests doors."""

    agent_role = "master"

    @trace_agent_action()
    def host(self, game: str, room: str, team: str, wish: str) -> str:
        """Lead a team through a game; its wish is a hint, fog, a way out, or none."""
        house, place = self.house, self.house.rooms[room]
        place.let_in(game, team)
        result = "fine"
        if wish == "fog":
            self.blow_fog(game, room)
        elif wish == "hint":
            result = place.try_code(game, house.tablets[room].last_hint(game))
        elif wish == "out":
            house.pulses += 1
            result = house.doors[room].pulse(house.pulses)
        if wish != "stay":
            place.let_out(game)
        return result

    @trace_agent_action()
    def blow_fog(self, game: str, room: str) -> None:
        """Blow fog, with the detectors of the room muted as long as it hangs there."""
        house = self.house
        house.panel.mute(room, game)
        if game in house.still_foggy:
            return
        house.panel.wake(room, game)

    @trace_agent_action()
    def test_door(self, test: str, room: str) -> None:
        """Test the emergency door and tick it off, or have it oiled."""
        house = self.house
        house.pulses += 1
        found = house.doors[room].pulse(house.pulses)
        verdict = "in order" if found == "opens" or test in house.glossed_over else "sticks"
        house.checklist.tick_off(test, room, verdict)
        if verdict == "sticks":
            house.locksmith.oil(room, house.slot)


class Checklist(Part):
    """What was tested."""

    agent_role = "store"
    ticked = 0

    @trace_agent_action()
    def tick_off(self, test: str, room: str, verdict: str) -> None:
        self.ticked += 1


class Website(Part):
    """Where people book."""

    agent_role = "website"

    @trace_agent_action()
    def submit(self, booking: str, host: str, star: str, slot: int) -> None:
        """Take a surprise party: who gives it, and for whom."""
        self.house.forms[booking] = host
        self.house.desk.enter(booking, host, star, slot)


class Desk(Part):
    """Enters bookings into the calendar, by hand."""

    agent_role = "desk"

    @trace_agent_action()
    def enter(self, booking: str, host: str, star: str, slot: int) -> None:
        house = self.house
        if booking in house.mixed_up:
            host, star = star, host
        house.calendar.keep(booking, host, star, slot)

    @trace_agent_action()
    def amend(self, booking: str, host: str, star: str, slot: int) -> None:
        self.house.calendar.keep(booking, host, star, slot)

    @trace_agent_action()
    def read_card(self, card: str) -> str:
        if card.endswith("0"):
            raise OSError("chip not readable")
        return "paid"

    @trace_agent_action()
    def take_cash(self, card: str) -> None: ...


class Calendar(Part):
    """All bookings."""

    agent_role = "store"
    trace_ignore = ("house", "parties")

    def __init__(self, name: str, house: House) -> None:
        super().__init__(name, house)
        self.parties: dict[str, tuple[str, str]] = {}

    @trace_agent_action()
    def keep(self, booking: str, host: str, star: str, slot: int) -> None:
        self.parties[booking] = (host, star)

    @trace_agent_action()
    def who(self, booking: str) -> dict[str, str]:
        host, star = self.parties[booking]
        return {"host": host, "star": star}


class Texter(Part):
    """Sends a text to the host before a party."""

    agent_role = "service"

    @trace_agent_action()
    def remind(self, booking: str) -> str:
        people = self.house.calendar.who(booking)
        return self.house.phones.ring(booking, people["host"], f"The surprise for {people['star']} is on")


class Phones(Part):
    """The phones of guests."""

    agent_role = "guests"

    @trace_agent_action()
    def ring(self, booking: str, owner: str, text: str) -> str:
        return "thumbs up" if self.house.forms[booking] == owner else "what surprise?"


class Landlord(Part):
    """Wants to get at the wiring now and then."""

    agent_role = "landlord"

    @trace_agent_action()
    def announce(self, cut: str, room: str, slot: int) -> None:
        self.house.plan.enter(cut, room, slot + self.house.slips.get(cut, 0))


class Plan(Part):
    """When which room has no power."""

    agent_role = "office"

    @trace_agent_action()
    def enter(self, cut: str, room: str, slot: int) -> None:
        self.house.at(slot, lambda: self.house.electrician.cut_power(cut, room))
        self.house.dark.add((room, slot))


class Electrician(Part):
    """Cuts power, and gives it back."""

    agent_role = "craft"

    @trace_agent_action()
    def cut_power(self, cut: str, room: str) -> str:
        found = self.house.rooms[room].switch(cut, on=False)
        self.house.rooms[room].switch(cut, on=True)
        return found

    @trace_agent_action()
    def change_bulb(self, room: str, slot: int) -> None: ...


class Cleaner(Part):
    """Cleans."""

    agent_role = "cleaner"

    @trace_agent_action()
    def mop(self, room: str, slot: int) -> None: ...

    @trace_agent_action()
    def dust_tablet(self, room: str, slot: int) -> None:
        self.house.tablets[room].update(slot)


@dataclass
class House:
    """The house; `mine` is the room of the case, and `agenda` what happens in which slot."""

    case: Case
    slot: int = 0
    pulses: int = 0
    games: int = 0
    agenda: dict[int, list[Callable[[], object]]] = field(default_factory=lambda: defaultdict(list))
    hurried: set[str] = field(default_factory=set)
    still_foggy: set[str] = field(default_factory=set)
    glossed_over: set[str] = field(default_factory=set)
    mixed_up: set[str] = field(default_factory=set)
    slips: dict[str, int] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    dark: set[tuple[str, int]] = field(default_factory=set)

    def build(self) -> None:
        """Build everything that acts."""
        rng = self.case.rng("house")
        self.rooms = {name: Room(name, self) for name in ROOMS}
        self.tablets = {name: Tablet(f"tablet_{name}", self) for name in ROOMS}
        self.doors = {name: Door(f"door_{name}", self) for name in ROOMS}
        self.masters = {name: Master(name, self) for name in MASTERS}
        self.codebook, self.locksmith = Codebook("codebook", self), Locksmith("locksmith", self)
        self.panel, self.checklist = Panel("smoke_panel", self), Checklist("checklist", self)
        self.website, self.desk, self.calendar = (
            Website("website", self),
            Desk("front_desk", self),
            Calendar("calendar", self),
        )
        self.texter, self.phones = Texter("texter", self), Phones("phones", self)
        self.landlord, self.plan = Landlord("landlord", self), Plan("wiring_plan", self)
        self.electrician, self.cleaner = Electrician("electrician", self), Cleaner("cleaner", self)
        self.mine = rng.choice(FOGGY if self.case.has("forgotten_undo") else ROOMS)
        self.calm = [name for name in ROOMS if name != self.mine]
        self.master, self.late_master = rng.sample(MASTERS, 2)
        self.other = rng.choice(self.calm)

    def at(self, slot: int, what: Callable[[], object]) -> None:
        """Have something happen in a slot."""
        self.agenda[slot].append(what)

    def dice(self, topic: str) -> Random:
        """Return the dice of a topic for this slot."""
        return self.case.rng(f"{topic}/{self.slot}")

    def play_game(self, master: str, room: str, team: str, wish: str) -> tuple[str, str]:
        """Have a game played; return its number and how it went."""
        self.games += 1
        game = f"G{self.games:04}"
        return game, self.masters[master].host(game, room, team, wish)


def _games(house: House) -> None:
    """Everyday games."""
    case, rng, slot = house.case, house.dice("games"), house.slot
    guarded = case.begin - 2 <= slot
    rooms = rng.sample(ROOMS, rng.randint(1, 3))
    for room in rooms:
        wish, team = rng.choice(("hint", "hint", "fog", "out", "none", "none")), rng.choice(PEOPLE)
        if (room, slot) in house.dark or (room == house.mine and slot >= case.end - 1):
            continue
        if room == house.mine and guarded and wish in {"hint", "fog", "out"}:
            wish = "none"
        if wish == "fog" and room not in FOGGY:
            wish = "none"
        if wish == "fog" and rng.random() < 0.3:  # it hangs on, and somebody opens a window
            game = f"G{house.games + 1:04}"
            house.still_foggy.add(game)
            house.at(slot + 1, lambda room=room, game=game: house.panel.wake(room, game))
        house.play_game(rng.choice(MASTERS), room, team, wish)


def _codes(house: House) -> None:
    """Change codes, and give last hints."""
    case, rng, slot = house.case, house.dice("codes"), house.slot
    stale = case.has("stale_cache")
    if rng.random() < 0.2:
        room, job = rng.choice(house.calm), f"N{slot}"
        if rng.random() < 0.35:  # the tablet has its dust wiped off, and is started again
            house.hurried.add(job)
            house.locksmith.recode(job, room, rng.randint(1001, 9999))
            house.cleaner.dust_tablet(room, slot)
        else:
            house.locksmith.recode(job, room, rng.randint(1001, 9999))
    if stale and slot == 1:
        house.play_game(house.master, house.mine, "Zoe", "hint")
    if stale and slot == case.begin:
        job, code = f"N{slot}-x", rng.randint(1001, 9999)
        if case.strikes("stale_cache", slot):
            house.hurried.add(job)
        house.locksmith.recode(job, house.mine, code)
        case.root(
            call("locksmith", "recode", job=job),
            call("codebook", "put", room=house.mine, code=code),
            call(house.mine, "turn_wheel", code=code),
        )
    if stale and slot == case.end:
        game, went = house.play_game(house.late_master, house.mine, "Ines", "hint")
        if went == "buzz":
            case.hop(call(f"tablet_{house.mine}", "last_hint", game=game))
            case.symptom(
                call(house.mine, "try_code", game=game),
                "We typed in exactly what the screen told us, five times. buzz buzz buzz",
                f"the very last safe in {house.mine} does not open with the code we get as a hint",
                f"In {house.other} the hints are right. in the room after it they are nonsense",
                "hint wrong, want my money back",
            )


def _parties(house: House) -> None:
    """Book surprise parties, and remind their hosts."""
    case, rng, slot = house.case, house.dice("parties"), house.slot
    orders = []
    if rng.random() < 0.3:
        orders.append((f"K{slot}", slot + rng.randint(1, 12), rng.random() < 0.2))
    if case.has("swapped_fields") and slot == case.begin:
        orders.append((f"K{slot}-x", case.end, False))
    for booking, due, is_mixed_up in orders:
        host, star = rng.sample(PEOPLE, 2)
        if booking.endswith("x"):
            house.mixed_up |= {booking} if case.strikes("swapped_fields", slot) else set()
            case.root(call("front_desk", "enter", booking=booking), call("calendar", "keep", booking=booking))
        elif is_mixed_up:
            house.mixed_up.add(booking)
        house.website.submit(booking, host, star, due)
        if is_mixed_up:
            house.desk.amend(booking, host, star, due)
        house.at(due, lambda booking=booking: _remind(house, booking))


def _remind(house: House, booking: str) -> None:
    """Remind the host of a party."""
    case = house.case
    if house.texter.remind(booking) == "what surprise?":
        case.hop(call("calendar", "who", booking=booking), call("texter", "remind", booking=booking))
        host = house.forms[booking]
        case.symptom(
            call("phones", "ring", booking=booking),
            f"Surprise ruined. I booked for my best friend and she got the text, not me. {host}",
            f"the texter of yours wrote to the birthday girl herself. booking {booking}. thanks a lot",
            "my husband knows everything now because you told him",
            "Why would you send the message about a secret party to the person it is secret from???",
        )


def _doors(house: House) -> None:
    """Test emergency doors."""
    case, rng, slot = house.case, house.dice("doors"), house.slot
    hidden = case.has("swallowed_failure")
    if rng.random() < 0.35:
        room, test = rng.choice(house.calm), f"T{slot}"
        house.doors[room].stiff = rng.random() < 0.35
        if house.doors[room].stiff and rng.random() < 0.35:  # the locksmith comes round to it anyway
            house.glossed_over.add(test)
        house.masters[rng.choice(MASTERS)].test_door(test, room)
        if test in house.glossed_over:
            house.locksmith.oil(room, slot)
    if hidden and slot == case.begin:
        test = f"T{slot}-x"
        house.doors[house.mine].stiff = True
        if case.strikes("swallowed_failure", slot):
            house.glossed_over.add(test)
        house.masters[house.master].test_door(test, house.mine)
        case.root(
            call(house.master, "test_door", test=test),
            call("checklist", "tick_off", test=test),
            call(f"door_{house.mine}", "pulse", number=house.pulses),
        )
    if hidden and slot == case.end:
        game, went = house.play_game(house.late_master, house.mine, "Oluf", "out")
        if went == "stays shut":
            case.trigger(call(house.mine, "let_in", game=game))
            case.hop(call(f"door_{house.mine}", "pulse", number=house.pulses))
            case.symptom(
                call(house.late_master, "host", game=game),
                "panic attack in there, pressed the green button, NOTHING. This is dangerous!",
                f"We could not get out of {house.mine}. {house.late_master} had to kick the door in from outside",
                f"the way out of {house.mine} was jammed when my son felt sick. I was told all doors are checked",
                "locked in for real",
            )


def _fog(house: House) -> None:
    """Fog in the room of the case, and lamps that char."""
    case, rng, slot = house.case, house.dice("fog"), house.slot
    mine = case.has("forgotten_undo")
    if mine and slot == case.begin:
        game = f"G{house.games + 1:04}"
        if case.strikes("forgotten_undo", slot):
            house.still_foggy.add(game)
        house.play_game(house.master, house.mine, "Theo", "fog")
        case.root(
            call(house.master, "blow_fog", game=game),
            call("smoke_panel", "mute", zone=house.mine, game=game),
            call(house.master, "host", game=game),
        )
        case.hop(call("smoke_panel", "mute", zone=house.mine, game=game))
    burning = [rng.choice(house.calm)] if rng.random() < 0.1 else []
    burning = [room for room in burning if room not in house.panel.asleep]
    burning += [house.mine] if mine and slot == case.end else []
    for room in burning:
        spot = f"B{slot}-{room}"
        if house.rooms[room].smoulder(spot) == "full of smoke":
            case.hop(call("smoke_panel", "sense", spot=spot))
            case.symptom(
                call(room, "smoulder", spot=spot),
                "a lamp burnt through half the curtain before anybody noticed",
                f"{room} is black with soot. The detector hangs right above it and did not make a sound",
                f"why was there no alarm?? last month in {house.other} it went off at once, for less",
                "smoke everywhere and no alarm, we only smelled it in the lobby",
            )


def _power(house: House) -> None:
    """Plan cuts of power."""
    case, rng, slot = house.case, house.dice("power"), house.slot
    early = case.has("off_by_one")
    cuts = []
    if rng.random() < 0.25:
        cuts.append((f"P{slot}", rng.choice(house.calm), slot + rng.randint(2, 9)))
        if rng.random() < 0.3:
            house.slips[f"P{slot}"] = rng.choice((-1, 1))
    if early and slot == case.begin:
        cuts.append((f"P{slot}-x", house.mine, case.end - 1))
        if case.strikes("off_by_one", slot):
            house.slips[f"P{slot}-x"] = 1
    for cut, room, due in cuts:
        house.landlord.announce(cut, room, due)
        if room == house.mine:
            case.root(call("wiring_plan", "enter", cut=cut), call("landlord", "announce", cut=cut))
    if early and slot == case.end:
        game, _ = house.play_game(house.late_master, house.mine, "Salma", "stay")
        case.hop(call(house.mine, "let_in", game=game))


def _finish(house: House) -> None:
    """Do what the agenda has for this slot, and see whether somebody sat in the dark."""
    case, slot = house.case, house.slot
    for what in house.agenda.pop(slot, []):
        if what() == "people inside":
            cut = f"P{case.begin}-x"
            case.hop(call("electrician", "cut_power", cut=cut))
            case.symptom(
                call(house.mine, "switch", cut=cut, on=False),
                "suddenly pitch dark, and it was NOT part of the game",
                f"The lights went out on us in {house.mine}, the kids screamed, {house.late_master} knew nothing of it",
                f"is it true that somebody switched off the power in the middle of our hour? {house.other} had light all the time",
                "blackout at our birthday",
            )


def _chores(house: House) -> None:
    """Mops, bulbs and cards."""
    rng, slot = house.dice("chores"), house.slot
    for room in rng.sample(ROOMS, rng.randint(1, 2)):
        house.cleaner.mop(room, slot)
    for number in range(rng.randint(0, 2)):
        card = f"{slot:03}{number}{rng.randint(0, 6)}"
        try:
            house.desk.read_card(card)
        except OSError:
            house.desk.take_cash(card)
    if rng.random() < 0.15:
        house.electrician.change_bulb(rng.choice(ROOMS), slot)
    if slot == house.case.decoy_at:
        house.electrician.change_bulb(house.mine, slot)
        house.cleaner.mop(house.mine, slot)


def play(case: Case) -> None:
    """Play some weeks of slots."""
    steps = case.rng("steps").choice((28, 55, 90, 160))
    case.window(steps, 2)
    house = House(case)
    house.build()
    for slot in range(steps):
        house.slot = slot
        with tick(slot):
            for part in (_chores, _games, _codes, _parties, _doors, _fog, _power, _finish):
                part(house)


WORLD = World(
    "escaperooms",
    "spans",
    ("stale_cache", "swapped_fields", "swallowed_failure", "forgotten_undo", "off_by_one"),
    play,
    author=15,
)
