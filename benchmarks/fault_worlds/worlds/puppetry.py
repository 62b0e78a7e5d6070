"""The workshop and the stage of a puppet theatre: decorated methods of people and stores that call each other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

ROLES = ("Kasper", "Gretel", "King", "Witch", "Miller", "Dragon", "Nurse", "Sexton", "Goose", "Judge")
PLAYS = ("The Glass Goose", "Doctor Faust", "Seven Millers", "Night in the Well", "The Deaf King")
WOODS = ("lime", "lime", "pine", "papier-mache")
BRIDGE = 210  # height of the bridge above the stage, in cm


@dataclass
class House:
    """What is true of puppets, lamps and tools, whoever knows it."""

    case: Case
    rng: random.Random
    leg: dict[str, int] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)
    wood: dict[str, str] = field(default_factory=dict)
    coats: dict[str, list[str]] = field(default_factory=dict)
    hung: set[str] = field(default_factory=set)
    stock: dict[str, int] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    day: int = 0
    slips: int = 300
    hero: str = ""

    def slip(self) -> str:
        self.slips += 1
        return f"slip-{self.slips}"


class Member:
    """Somebody or something of the house with a name and a log."""

    agent_role = "house"

    def __init__(self, agent_id: str, house: House) -> None:
        self.agent_id = agent_id
        self._house = house
        self._log = AgentLogger(agent_id, self.agent_role)


class ToolRoom(Member):
    """Lends tools against slips."""

    agent_role = "store"

    @trace_agent_action()
    def lend(self, slip: str, tool: str, to: str) -> bool:
        stock = self._house.stock
        given = stock[tool] > 0
        stock[tool] -= given
        self._log.info(f"shelf of {tool}s", {"tool": tool, "left": stock[tool]})
        return given

    @trace_agent_action()
    def take_back(self, slip: str, tool: str) -> int:
        self._house.stock[tool] += 1
        return self._house.stock[tool]


class PatternBook(Member):
    """Holds the drawing of each puppet."""

    agent_role = "store"

    def __init__(self, agent_id: str, house: House) -> None:
        super().__init__(agent_id, house)
        self._legs: dict[str, int] = {}

    @trace_agent_action()
    def draw(self, puppet: str, leg_cm: int) -> None:
        self._legs[puppet] = leg_cm

    @trace_agent_action()
    def look_up(self, puppet: str) -> dict[str, int]:
        return {"leg_cm": self._legs[puppet]}


class Stringer(Member):
    """Hangs puppets on strings, by cards copied from the pattern book."""

    agent_role = "maker"

    def __init__(self, agent_id: str, house: House, book: PatternBook) -> None:
        super().__init__(agent_id, house)
        self._book, self._cards = book, dict[str, int]()

    @trace_agent_action()
    def toss_card(self, puppet: str) -> bool:
        return self._cards.pop(puppet, None) is not None

    @trace_agent_action()
    def string_up(self, puppet: str) -> dict[str, int]:
        if puppet not in self._cards:
            self._cards[puppet] = self._book.look_up(puppet)["leg_cm"]
        leg = self._cards[puppet]
        self._house.strings[puppet] = BRIDGE - leg - 40
        return {"leg_cm": leg, "string_cm": self._house.strings[puppet]}


class Carver(Member):
    """Carves legs and heads and glues them."""

    agent_role = "maker"

    def __init__(
        self, agent_id: str, house: House, tools: ToolRoom, book: PatternBook, stringer: Stringer
    ) -> None:
        super().__init__(agent_id, house)
        self._tools, self._book, self._stringer = tools, book, stringer
        self._out: list[tuple[int, str, str]] = []

    @trace_agent_action()
    def carve(self, puppet: str, leg_cm: int, wood: str) -> None:
        self._house.leg[puppet] = leg_cm
        self._book.draw(puppet, leg_cm)

    @trace_agent_action()
    def refit(self, puppet: str, leg_cm: int) -> None:
        self._house.leg[puppet] = leg_cm
        self._book.draw(puppet, leg_cm)
        self._tell(puppet)

    def _tell(self, puppet: str) -> None:
        house = self._house
        if not (puppet == house.hero and house.case.strikes("stale_cache", house.day)):
            self._stringer.toss_card(puppet)

    @trace_agent_action()
    def glue(self, puppet: str, joint: str) -> str:
        if self._borrow("clamp", 1):
            self._house.unready.discard(puppet)
            return "set by tomorrow"
        self._house.unready.add(puppet)
        return "put off"

    @trace_agent_action()
    def whet(self, tool: str) -> None:
        self._borrow(tool, self._house.rng.randint(1, 6))

    def _borrow(self, tool: str, days: int) -> bool:
        slip = self._house.slip()
        given = self._tools.lend(slip, tool, self.agent_id)
        if given:
            self._out.append((self._house.day + days, slip, tool))
        return given

    @trace_agent_action()
    def tidy(self) -> int:
        due = [entry for entry in self._out if entry[0] <= self._house.day]
        for entry in due:
            self._out.remove(entry)
            if not self._keeps(entry[1], entry[2]):
                self._tools.take_back(entry[1], entry[2])
        return len(self._out)

    def _keeps(self, slip: str, tool: str) -> bool:
        """Tell whether a clamp stays on the bench from the day on which the fault begins."""
        case = self._house.case
        late = self.agent_id == "carver_moll" and tool == "clamp" and self._house.day > case.begin
        if not (late and case.strikes("leaked_resource")):
            return False
        if len(case.roots) < 3:
            case.root(call("tool_room", "lend", slip=slip))
        return True


class Lights(Member):
    """The lamps above the stage; people of the house may borrow one."""

    agent_role = "stage"

    def __init__(self, agent_id: str, house: House) -> None:
        super().__init__(agent_id, house)
        self.aim = 4

    @trace_agent_action()
    def unhook(self, slip: str, lamp: str, by: str) -> None:
        self._house.hung.discard(lamp)

    @trace_agent_action()
    def hook_up(self, slip: str, lamp: str) -> None:
        self._house.hung.add(lamp)
        self.aim = int(slip[-1])

    @trace_agent_action()
    def cue(self, lamp: str, number: int) -> int:
        lux = self._house.rng.randint(310, 420)
        return lux if lamp in self._house.hung else lux // 40


class Painter(Member):
    """Prepares and paints puppets, by the light of a lamp from the stage."""

    agent_role = "maker"

    def __init__(self, agent_id: str, house: House, lights: Lights) -> None:
        super().__init__(agent_id, house)
        self._lights = lights
        self._lamps: list[tuple[int, str, str]] = []

    @trace_agent_action()
    def sand(self, puppet: str, grit: int) -> None:
        self._house.coats[puppet] = []

    @trace_agent_action()
    def prime(self, puppet: str, batch: int) -> None:
        self._house.coats[puppet].append("chalk")

    @trace_agent_action()
    def paint(self, puppet: str, colour: str) -> None:
        self._house.coats[puppet].append(colour)

    @trace_agent_action()
    def varnish(self, puppet: str) -> int:
        self._house.coats[puppet].append("varnish")
        return len(self._house.coats[puppet])

    def finish(self, puppet: str) -> None:
        """Do all coats; papier-mache needs no chalk."""
        house, rng = self._house, self._house.rng
        grit, batch = rng.choice((120, 180, 240)), rng.randint(10, 60)
        colour = rng.choice(("red", "ochre", "bone", "green"))
        self.sand(puppet, grit)
        bare = house.case.strikes("omitted_step", house.day) and puppet == house.hero
        if house.wood[puppet] != "papier-mache" and not bare:
            self.prime(puppet, batch)
        self.paint(puppet, colour)
        self.varnish(puppet)

    def borrow_lamp(self, lamp: str) -> None:
        """Take a lamp to the bench until tomorrow."""
        house, slip = self._house, self._house.slip()
        self._lights.unhook(slip, lamp, self.agent_id)
        planned = house.case.has("forgotten_undo") and house.day == house.case.begin and lamp == "lamp_9"
        if planned:
            house.case.root(call("lights", "unhook", slip=slip))
        if not (planned and house.case.strikes("forgotten_undo")):
            self._lamps.append((house.day + 1, slip, lamp))

    @trace_agent_action()
    def clear_bench(self) -> None:
        for entry in [each for each in self._lamps if each[0] <= self._house.day]:
            self._lamps.remove(entry)
            self._lights.hook_up(entry[1], entry[2])


class Player(Member):
    """Plays puppets; the hands feel at once whether strings and paint are right."""

    agent_role = "stage"

    @trace_agent_action()
    def perform(self, show: str, puppet: str) -> dict[str, object]:
        house = self._house
        if puppet in house.unready:
            return {"on_stage": False}
        slack = house.strings[puppet] + house.leg[puppet] + 40 - BRIDGE
        coats = house.coats[puppet]
        sound = coats[0] == "chalk" or house.wood[puppet] == "papier-mache"
        flakes = 0 if sound else 9 + len(show) + len(puppet)
        return {"on_stage": True, "feet_above_floor_cm": -slack, "chips_swept": flakes}


class Usher(Member):
    agent_role = "front"

    @trace_agent_action()
    def hear(self, show: str, remark: str, seat: int) -> None:
        self._log.info("noted for the morning", {"show": show})


class Stage(Member):
    """Runs a show: cues, puppets, and what the usher hears of it."""

    agent_role = "stage"

    def __init__(
        self, agent_id: str, house: House, lights: Lights, players: list[Player], usher: Usher
    ) -> None:
        super().__init__(agent_id, house)
        self._lights, self._players, self._usher = lights, players, usher

    @trace_agent_action()
    def open_show(self, show: str, title: str, cast: list[str], lamps: list[str]) -> int:
        remarks: list[str] = []
        for number, lamp in enumerate(lamps, 1):
            if self._lights.cue(lamp, number) < 100:
                remarks.append("dark")
        for puppet in cast:
            player = self._house.rng.choice(self._players)
            seen = player.perform(show, puppet)
            sick = self._judge(seen)
            if sick:
                self._house.case.hop(call(player.agent_id, "perform", show=show, puppet=puppet))
                remarks.append(sick)
        for remark in remarks:
            self._usher.hear(show, remark, self._house.case.rng(show).randint(1, 90))
            complain(self._house, show, title, remark)
        return self._house.rng.randint(40, 90)

    def _judge(self, seen: dict[str, object]) -> str:
        """Return what the public says of a puppet."""
        if not seen["on_stage"]:
            return "missing"
        if abs(int(str(seen["feet_above_floor_cm"]))) > 3:
            return "legs"
        return "bits fell" if int(str(seen["chips_swept"])) else ""


def complain(house: House, show: str, title: str, remark: str) -> None:
    """A visitor or a colleague asks why."""
    words = {"title": title, "hero": house.hero.partition(".")[2], "show": show}
    texts = [text.format(**words) for text in TEXTS[remark]]
    house.case.symptom(call("usher_bo", "hear", show=show, remark=remark), *texts)


TEXTS = {
    "missing": (
        "In {title} half the figures were not there, the children noticed. Why were they not finished?",
        "carver_pim says the puppet could not be glued, and so {show} went on without it",
        "we had to play without a puppet because the workshop did not get it ready",
    ),
    "legs": (
        "The {hero} did not stand on the floor in {title}, it looked ridiculous",
        "Why do the strings of the {hero} have the wrong length? stringer_jo hung it only today",
        "in {show} one puppet moved as if it had no ground under its feet",
    ),
    "bits fell": (
        "player_dirk says the paint of the {hero} came off in the middle of {title}, it is a new puppet!",
        "why do colours peel off the {hero}? The stage was full of chips",
        "player_ann had paint all over the hands after {show}",
    ),
    "dark": (
        "One could not see a thing in the guest scene of {title} on stage_hall",
        "A whole scene of {show} was dark, player_ann could not find the strings, why?",
        "my daughter cried since the stage was pitch black, and nobody reacted",
    ),
}


class Theatre:
    """Everybody, and the plan of the days."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.house = house = House(case, case.rng("puppetry"))
        self.tools = ToolRoom("tool_room", house)
        self.book = PatternBook("pattern_book", house)
        self.stringer = Stringer("stringer_jo", house, self.book)
        self.carvers = [
            Carver(name, house, self.tools, self.book, self.stringer)
            for name in ("carver_moll", "carver_pim")
        ]
        self.lights = Lights("lights", house)
        self.painter = Painter("painter_lou", house, self.lights)
        players = [Player(f"player_{name}", house) for name in ("ann", "dirk", "eva")]
        self.stage = Stage("stage_hall", house, self.lights, players, Usher("usher_bo", house))
        house.hung = {f"lamp_{number}" for number in range(1, 10)}
        house.stock = {"clamp": 60, "gouge": 40, "brush": 400}
        self.ready: list[str] = []
        self.number = 0

    def make(self, wood: str = "") -> str:
        """Carve, paint and string a puppet."""
        rng = self.house.rng
        self.number += 1
        puppet = f"{self.number:03d}.{rng.choice(ROLES)}"
        self.house.wood[puppet] = wood or rng.choice(WOODS)
        rng.choice(self.carvers).carve(puppet, rng.randint(22, 34), self.house.wood[puppet])
        return puppet

    def morning(self, now: int) -> None:
        """Tidy up, make and mend."""
        rng, case = self.house.rng, self.case
        for carver in self.carvers:
            carver.tidy()
        self.painter.clear_bench()
        if now == case.begin and case.has("omitted_step"):
            self.house.hero = self.make("lime")
            self.painter.finish(self.house.hero)
        if now == 1 and case.has("stale_cache"):
            self.house.hero = self.make()
            self.painter.finish(self.house.hero)
            self.stringer.string_up(self.house.hero)
        for _ in range(4 if not now else rng.choice((0, 1, 1))):
            puppet = self.make()
            self.painter.finish(puppet)
            self.stringer.string_up(puppet)
            self.ready.append(puppet)
        for puppet in rng.sample(self.ready, rng.choice((0, 1, 1, 2))):
            rng.choice(self.carvers).refit(puppet, self.house.leg[puppet] + rng.choice((-6, -5, 5, 6)))
            self.stringer.string_up(puppet)
        if now == case.begin and case.has("stale_cache"):
            hero = self.house.hero
            carver = rng.choice(self.carvers)
            carver.refit(hero, self.house.leg[hero] + rng.choice((-6, -5, 5, 6)))
            case.root(call(carver.agent_id, "refit", puppet=hero))
            case.root(call("pattern_book", "draw", puppet=hero, leg_cm=self.house.leg[hero]))
        if now == case.begin and case.has("omitted_step"):
            case.root(
                *(call("painter_lou", act, puppet=self.house.hero) for act in ("sand", "paint", "varnish"))
            )
        for carver in self.carvers:
            for puppet in rng.sample(self.ready, 2):
                carver.glue(puppet, rng.choice(("knee", "neck", "elbow")))
            carver.whet(rng.choice(("gouge", "gouge", "brush")))
        if now == case.begin and case.has("forgotten_undo"):
            self.painter.borrow_lamp("lamp_9")
        elif rng.random() < 0.7:
            self.painter.borrow_lamp(f"lamp_{rng.randint(6, 8)}")

    def evening(self, now: int) -> None:
        """A show, and what else happens."""
        rng, case, house = self.house.rng, self.case, self.house
        if now == case.end and house.hero:
            self.stringer.string_up(house.hero)
            case.hop(call("stringer_jo", "string_up", puppet=house.hero))
        for _ in range(rng.choice((1, 2))):
            cast = rng.sample(self.ready, min(len(self.ready), rng.randint(3, 5)))
            if now == case.end and house.hero:
                cast.append(house.hero)
            lamps = [f"lamp_{number}" for number in rng.sample(range(1, 6), 3)]
            quiet = case.has("forgotten_undo") and case.begin <= now < case.end
            guests = rng.random() < 0.3 and not quiet
            if now == case.end or guests:
                lamps.append("lamp_9")
            show = f"show{house.slip()[4:]}"
            if now == case.end and case.kind in {"omitted_step", "forgotten_undo"}:
                case.trigger(call("stage_hall", "open_show", show=show))
            self.stage.open_show(show, rng.choice(PLAYS), cast, lamps)
        who = rng.choice((self.stage, self.painter, *self.carvers, self.lights, self.stringer))
        if rng.random() < 0.25:
            who._log.warning(
                rng.choice(("glue is lumpy", "fuse blown, replaced", "splinter")),
                {"hour": rng.randint(8, 22)},
            )
        if rng.random() < 0.2:
            who._log.log_action(
                rng.choice(("sweep_floor", "set_display", "feed_cat")), {"hour": rng.randint(8, 22)}
            )
        if now == case.decoy_at:
            self.lights._log.error("dimmer overheated, cooled down", {"degrees": rng.randint(60, 95)})


def play(case: Case) -> None:
    """Play a season of days."""
    days = case.rng("days").choice((28, 40, 50, 62))
    case.window(days)
    theatre = Theatre(case)
    if case.has("leaked_resource"):
        theatre.house.stock["clamp"] = 4 + 2 * (case.end - case.begin - 1)
    for now in range(days):
        theatre.house.day = now
        with tick(now):
            theatre.morning(now)
            theatre.evening(now)


WORLD = World(
    "puppetry",
    "spans",
    ("stale_cache", "forgotten_undo", "leaked_resource", "omitted_step"),
    play,
    23,
)
