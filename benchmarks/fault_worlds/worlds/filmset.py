"""A film shoot: scenes planned for a later day, calls to the cast, permits for places, props lent and returned, drivers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

ACTORS = ("mia_holm", "mia_holt", "theo_lind", "theo_lund", "ava_brandt", "noel_carr")
NAMESAKES = {
    "mia_holm": "mia_holt",
    "mia_holt": "mia_holm",
    "theo_lind": "theo_lund",
    "theo_lund": "theo_lind",
}
PLACES = ("mill", "pier", "arcade", "orchard", "quarry", "chapel", "depot_square")
PROPS = ("bicycles", "lanterns", "suitcases", "crates", "chairs")
DRIVERS = ("driver_abe", "driver_bo", "driver_cy")
UMBRELLAS, OWNED = "umbrellas", 12


@dataclass
class Scene:
    """A scene, with what each department holds about it."""

    number: str
    day: int
    place: str
    actor: str
    prop: str
    pieces: int
    driver: str
    target: bool = False
    called: dict[str, str] = field(default_factory=dict)  # who noted the call, and in which event
    sheet_place: str = ""
    sheet: str = ""
    permit_until: int = 0
    permit: str = ""
    promised: str = ""
    hired: int = 0
    planned: str = ""


class Shoot:
    """The shoot, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("days")
        self.days = self.rng.randint(60, 120)
        self.begin, self.end = case.window(self.days)
        self.planner = AgentLogger("first_ad", "planning")
        self.second = AgentLogger("second_ad", "planning")
        self.scout = AgentLogger("scout", "locations")
        self.city = AgentLogger("city_desk", "authority")
        self.props = AgentLogger("prop_store", "props")
        self.camera = AgentLogger("camera", "camera")
        self.runner = AgentLogger("runner", "runner")
        self.guard = AgentLogger("gatekeeper", "locations")
        self.actors = {name: AgentLogger(name, "cast") for name in ACTORS}
        self.drivers = {name: AgentLogger(name, "transport") for name in DRIVERS}
        who = case.rng("who")
        self.actor, self.driver = who.choice(tuple(NAMESAKES)), who.choice(DRIVERS)
        self.place, self.other_place = who.sample(PLACES, 2)
        self.drawn = case.rng("drawn").randint(self.begin, self.end - 1)
        self.due: dict[int, list[Scene]] = {}
        self.numbers = iter(range(301, 9_999))
        self.card, self.card_event = OWNED, ""
        self.there = OWNED

    def plan(self, now: int, scene: Scene) -> None:
        """Plan a scene: tell the actor, book the place, reserve the prop, brief the driver."""
        case, number = self.case, scene.number
        self.due.setdefault(scene.day, []).append(scene)
        data = {"scene": number, "day": scene.day, "place": scene.place, "actor": scene.actor}
        scene.planned = self.planner.log_action("plan_scene", data | {"prop": scene.prop})
        hit = scene.target and case.strikes("omitted_message", now)
        if hit:
            case.root(scene.planned)
        else:
            to = scene.actor
            wrong = scene.target and case.strikes("wrong_recipient", now)
            if wrong:
                to = NAMESAKES[to]
            call = self.planner.send(to, {"call": number, "day": scene.day}, causes=scene.planned)
            heard = self.actors[to].receive(call)
            scene.called[to] = self.actors[to].log_action(
                "note_call", {"scene": number, "day": scene.day}, causes=heard
            )
            if wrong:
                case.root(call.event_id, heard)
                case.hop(scene.called[to])
        self.book(now, scene)
        self.reserve(scene)
        self.brief(scene, scene.place, 1, scene.planned)

    def book(self, now: int, scene: Scene) -> None:
        """Ask for a permit, which the city gives for some days around the one that is asked for."""
        case = self.case
        wish = self.planner.send(
            "scout", {"book": scene.place, "scene": scene.number, "day": scene.day}, causes=scene.planned
        )
        heard = self.scout.receive(wish)
        asked = self.scout.send(
            "city_desk", {"permit": scene.place, "for": scene.number, "day": scene.day}, causes=heard
        )
        got = self.city.receive(asked)
        scene.permit_until = scene.day + self.rng.randint(1, 6)
        short = scene.target and case.strikes("expired_permission", now)
        if short or (not scene.target and self.rng.random() < 0.08):
            scene.permit_until = scene.day - 1
        data = {"place": scene.place, "for": scene.number, "from": now, "until": scene.permit_until}
        granted = self.city.log_action("grant_permit", data, causes=got)
        if short:
            case.root(granted)
        answer = self.city.send("scout", {"permit": scene.place, "for": scene.number}, causes=granted)
        back = self.scout.receive(answer)
        scene.permit = self.scout.log_action(
            "file_permit", {"scene": scene.number, "until": scene.permit_until}, causes=back
        )
        if scene.target and case.has("expired_permission"):
            case.hop(back, scene.permit)

    def reserve(self, scene: Scene) -> None:
        """Promise the prop; what the card does not have is hired."""
        case = self.case
        data = {"scene": scene.number, "prop": scene.prop, "pieces": scene.pieces}
        wish = self.planner.send("prop_store", data, causes=scene.planned)
        heard = self.props.receive(wish)
        known = [heard, self.card_event] if scene.prop == UMBRELLAS and self.card_event else [heard]
        if scene.prop == UMBRELLAS:
            scene.hired = max(0, scene.pieces - self.card)
        if scene.hired:
            hired = self.props.log_action(
                "hire_more", {"scene": scene.number, "prop": scene.prop, "pieces": scene.hired}, causes=known
            )
            known.append(hired)
        scene.promised = self.props.log_action("promise_prop", data, causes=known)
        if scene.target and case.has("doubled_act"):
            case.hop(scene.promised)

    def brief(self, scene: Scene, place: str, version: int, because: str) -> None:
        """Tell the driver where to go; the driver prints a sheet."""
        log = self.drivers[scene.driver]
        message = self.planner.send(
            scene.driver, {"scene": scene.number, "place": place, "version": version}, causes=because
        )
        heard = log.receive(message)
        scene.sheet_place = place
        scene.sheet = log.log_action(
            "print_sheet", {"scene": scene.number, "place": place, "version": version}, causes=heard
        )

    def revise(self, now: int, scene: Scene, place: str) -> None:
        """Revise a scene: another place, or only another hour; drivers print again where the place is another."""
        case, log = self.case, self.drivers[scene.driver]
        moved = place != scene.place
        scene.place = place
        hour = self.rng.randint(6, 17)
        revised = self.planner.log_action(
            "revise_scene",
            {"scene": scene.number, "place": place, "hour": hour, "version": 2},
            causes=scene.planned,
        )
        if scene.target and case.strikes("stale_cache", now):
            message = self.planner.send(
                scene.driver, {"scene": scene.number, "place": place, "version": 2}, causes=revised
            )
            case.root(log.receive(message), message.event_id, revised)
        elif moved:
            self.brief(scene, place, 2, revised)
        else:
            message = self.planner.send(
                scene.driver, {"scene": scene.number, "place": place, "version": 2}, causes=revised
            )
            log.receive(message)
        told = self.planner.send("scout", {"scene": scene.number, "place": place}, causes=revised)
        scene.permit = self.scout.log_action(
            "file_permit",
            {"scene": scene.number, "until": scene.permit_until},
            causes=self.scout.receive(told),
        )

    def lend_umbrellas(self, now: int, pieces: int) -> None:
        """Lend umbrellas to another crew for a day, and book their return; once in a while an entry is struck again."""
        case, number = self.case, f"U{next(self.numbers)}"
        data = {"loan": number, "prop": UMBRELLAS, "pieces": pieces}
        lent = self.props.log_action("lend", data | {"card": self.card - pieces})
        back = self.runner.log_action("bring_back", data, causes=lent)
        self.card_event = self.props.log_action("book_return", data | {"card": self.card}, causes=back)
        if now == self.begin and case.has("doubled_act"):
            if case.strikes("doubled_act", now):
                self.card += pieces
                self.card_event = self.props.log_action(
                    "book_return", data | {"card": self.card}, causes=back
                )
                case.root(self.card_event)
        elif self.rng.random() < 0.12:
            again = self.props.log_action(
                "book_return", data | {"card": self.card + pieces}, causes=self.card_event
            )
            self.card_event = self.props.log_action("strike_entry", data | {"card": self.card}, causes=again)

    def shoot(self, now: int, scene: Scene) -> None:
        """Shoot a scene if all is there; a day that is lost is the symptom."""
        case, number = self.case, scene.number
        published = self.second.log_action(
            "publish_sheet", {"scene": number, "place": scene.place}, causes=scene.planned
        )
        causes = [published]
        cast = [
            self.actors[name].log_action("arrive", {"scene": number}, causes=noted)
            for name, noted in scene.called.items()
        ]
        driven = self.drivers[scene.driver].log_action(
            "drive", {"scene": number, "to": scene.sheet_place, "prop": scene.prop}, causes=scene.sheet
        )
        there = scene.pieces
        if scene.prop == UMBRELLAS:
            there = min(scene.pieces, self.there + scene.hired)
        loaded = self.runner.log_action(
            "unload",
            {"scene": number, "at": scene.sheet_place, "prop": scene.prop, "pieces": there},
            causes=[driven, scene.promised],
        )
        if scene.permit_until < now and not scene.target:
            scene.permit_until = now
            scene.permit = self.scout.log_action(
                "extend_permit", {"scene": number, "until": now}, causes=scene.permit
            )
        checked = self.guard.log_action(
            "check_permit", {"scene": number, "until": scene.permit_until}, causes=scene.permit
        )
        causes += [*cast, driven, loaded, checked]
        if self.rng.random() < 0.15:
            causes.append(
                self.camera.log_action("wait", {"scene": number, "minutes": self.rng.randint(5, 40)})
            )
        good = (
            scene.actor in scene.called
            and scene.sheet_place == scene.place
            and there == scene.pieces
            and now <= scene.permit_until
        )
        if good:
            takes = self.rng.randint(2, 9)
            self.camera.log_action("shoot", {"scene": number, "takes": takes}, causes=causes)
            return
        takes = self.rng.randint(2, 9)
        path = {
            "expired_permission": [checked],
            "omitted_message": [published],
            "wrong_recipient": cast,
            "stale_cache": [driven, loaded],
            "doubled_act": [loaded],
        }[case.kind]
        case.hop(*path)
        lost = self.camera.log_action("shoot", {"scene": number, "takes": 0}, causes=causes)
        case.symptom(
            lost,
            f"Scene {number} was not filmed on day {now}. Even {scene.actor} cannot say why.",
            f"On day {now} the whole crew stood around with camera ready and {number} is still not in the can. Why?",
            "We paid forty people for a day without a single take. Where did that begin?",
            "A shooting day was lost, and everyone says that they had done their part.",
        )

    def everyday(self, now: int) -> None:
        """Do what has nothing to do with any scene."""
        rng = self.rng
        for log in (self.camera, self.runner, self.guard):
            checked = log.log_action("check_radio", {"channel": rng.randint(1, 8)})
            if rng.random() < 0.2:
                log.log_action("change_battery", {"percent": rng.randint(3, 20)}, causes=checked)
        for log in self.drivers.values():
            log.log_action("fill_tank", {"litres": rng.randint(10, 60)})
        if rng.random() < 0.15:
            self.planner.log_action("change_plan", {"lunch": rng.choice(("12:00", "12:30", "13:00"))})
        if rng.random() < 0.1:
            rng.choice(list(self.actors.values())).warning("no answer at first, reached on the second number")
        if now == self.case.decoy_at:
            self.camera.warning("lens fogged in the rain, wiped, all takes fine")

    def scene(self, day: int, *, target: bool = False) -> Scene:
        """Make up a scene."""
        rng = self.case.rng("scene") if target else self.rng
        prop, place = rng.choice(PROPS), rng.choice(PLACES)
        actor, driver, pieces = rng.choice(ACTORS), rng.choice(DRIVERS), rng.randint(1, 8)
        if target:
            actor, driver, place = self.actor, self.driver, self.place
            if self.case.has("doubled_act"):
                prop, pieces = UMBRELLAS, OWNED + 3
        elif rng.random() < 0.15:
            prop = UMBRELLAS
        return Scene(f"S{next(self.numbers)}", day, place, actor, prop, pieces, driver, target)

    def play(self) -> None:
        """Play all days."""
        case, rng = self.case, self.rng
        target: Scene | None = None
        planned_on = {"stale_cache": max(1, self.begin - 2), "doubled_act": self.drawn}.get(
            case.kind, self.begin
        )
        for now in range(self.days):
            with tick(now):
                self.everyday(now)
                if rng.random() < 0.3 or now == self.begin:
                    self.lend_umbrellas(now, 5 if now == self.begin else rng.randint(2, 9))
                if now == planned_on:
                    target = self.scene(self.end, target=True)
                    self.plan(now, target)
                    if case.has("doubled_act"):
                        case.trigger(target.planned)
                if now == self.begin and case.has("stale_cache") and target is not None:
                    self.revise(now, target, self.other_place)
                for _ in range(rng.randint(1, 3)):
                    day = now + max(1, round(math.exp(rng.uniform(0, math.log(0.6 * self.days)))))
                    if day < self.days:
                        self.plan(now, self.scene(day))
                open_scenes = [
                    one for day in self.due if day > now for one in self.due[day] if not one.target
                ]
                if open_scenes and rng.random() < 0.35:
                    chosen = rng.choice(open_scenes)
                    self.revise(now, chosen, rng.choice((chosen.place, rng.choice(PLACES))))
                for one in self.due.pop(now, []):
                    self.shoot(now, one)


def play(case: Case) -> None:
    """Play a case."""
    Shoot(case).play()


WORLD = World(
    "filmset",
    "edges",
    ("expired_permission", "omitted_message", "wrong_recipient", "stale_cache", "doubled_act"),
    play,
    author=7,
)
