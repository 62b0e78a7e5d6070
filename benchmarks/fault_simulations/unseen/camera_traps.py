"""Camera traps in a forest for ten weeks: cards are collected, lynxes told apart, numbers reported."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
    trace_agent_action,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

WEEKS = 10
CAMERAS = tuple(f"cam_{number:02d}" for number in range(1, 13))
LYNXES = ("ada", "bruno", "cleo", "diana", "egon", "frida", "gustav")
NIGHT = ("badger", "marten", "lynx")
SPECIES = ("deer", "boar", "hare", "badger", "marten", "fox")
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Camera:
    """A camera on a tree, with a clock and a card."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id, self.agent_role = agent_id, "camera"
        self.rng = random.Random(f"{seed}/{agent_id}")
        self.shift = 0
        self.card: list[dict[str, Any]] = []
        self.count = 0

    @trace_agent_action()
    def capture(self, week: int, animal: str, size: float, sharpness: float, hour: int) -> dict[str, Any]:
        """Take a picture; the clock of the camera writes its hour."""
        self.count += 1
        picture = {
            "picture": f"{self.agent_id}-{self.count:03d}",
            "hour": (hour + self.shift) % 24,
            "sharpness": sharpness,
        }
        self.card.append({**picture, "truth": animal, "size": size})
        return picture


class Ranger:
    """Walks to the cameras, changes batteries and brings the cards."""

    agent_id, agent_role = "field_worker", "field"

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"{seed}/field")
        self.log = AgentLogger(self.agent_id, self.agent_role)

    @trace_agent_action()
    def change_battery(self, camera: str, week: int) -> None:
        """Put in a new battery; the clock starts at zero then."""

    @trace_agent_action()
    def set_clock(self, camera: str, reads: str) -> str:
        """Set the clock by the watch."""
        return reads

    @trace_agent_action()
    def read_card(self, camera: str, pictures: int, week: int) -> int:
        """Copy a card to the laptop."""
        if self.rng.random() < 0.04:
            self.log.warning("card reader not found, plugged in again", {"camera": camera})
        return pictures


class Detector:
    """A network that says which animal is on a picture, if it is sure enough."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "detector", "model"
        self.rng = random.Random(f"{seed}/detector")
        self.threshold = 0.55
        self.learning = LearningLogger("finetuning", "detector", "model")

    @trace_agent_action()
    def classify(self, picture: dict[str, Any], truth: str) -> dict[str, Any]:
        """Classify one picture."""
        score = min(0.99, 0.45 + 0.5 * picture["sharpness"] + self.rng.gauss(0, 0.03))
        label = truth if score >= self.threshold else "empty"
        return {"picture": picture["picture"], "label": label, "score": round(score, 2)}

    @trace_agent_action()
    def retrain(self, week: int, pictures: int) -> dict[str, float]:
        """Train on the newest pictures; choose the threshold anew."""
        for step in range(3):
            loss = round(0.4 / (step + 1) + 0.02 * self.rng.random(), 3)
            self.learning.log_learning_update("epoch", {"step": step, "loss": loss})
        self.threshold = round(0.53 + 0.03 * self.rng.random(), 2)
        if _with("threshold") and week >= 6:
            self.threshold = round(self.threshold + 0.26, 2)
        return {"threshold": self.threshold}


class Identifier:
    """Compares the coats of lynxes with the catalogue."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "identifier", "model"
        self.rng = random.Random(f"{seed}/identifier")
        self.catalogue: dict[str, str] = {}

    @trace_agent_action()
    def match(self, picture: str, coat: str) -> dict[str, Any]:
        """Find the animal of a coat; a new coat becomes a new entry."""
        known = self.catalogue.get(coat)
        if known is None:
            known = f"L{len(self.catalogue) + 1:02d}"
            self.catalogue[coat] = known
        return {"lynx": known, "likeness": round(0.8 + 0.18 * self.rng.random(), 2)}


class Curator:
    """Looks through the catalogue by hand: joins entries of one animal."""

    def __init__(self, identifier: Identifier) -> None:
        self.agent_id, self.agent_role = "curator", "curator"
        self.identifier = identifier
        self.social = InteractionLogger("curator", "curator")

    @trace_agent_action()
    def join(self, kept: str, other: str) -> int:
        """Join two entries of the catalogue."""
        moved = 0
        for coat, name in self.identifier.catalogue.items():
            if name == other:
                self.identifier.catalogue[coat] = kept
                moved += 1
        return moved

    def look(self, lynx: str, picture: str) -> None:
        """Confirm an identification."""
        self.social.log_content_interaction("curator", picture, "confirm", data={"lynx": lynx})


class Table:
    """The table of records, from which the weekly sheet is made."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "records", "store"
        self.rows: list[dict[str, Any]] = []

    @trace_agent_action()
    def add(self, week: int, camera: str, label: str, hour: int, lynx: str) -> int:
        """Add one record."""
        self.rows.append({"week": week, "camera": camera, "label": label, "hour": hour, "lynx": lynx})
        return len(self.rows)


class Statistician:
    """Writes the sheet of each week."""

    def __init__(self, table: Table) -> None:
        self.agent_id, self.agent_role = "statistician", "statistics"
        self.table = table

    @trace_agent_action()
    def weekly_counts(self, week: int) -> dict[str, int]:
        """Count records by species."""
        rows = [row for row in self.table.rows if row["week"] == week]
        return {label: sum(row["label"] == label for row in rows) for label in (*SPECIES, "lynx")}

    @trace_agent_action()
    def activity(self, week: int) -> dict[str, int]:
        """Count animals of the night by day and by night, over two weeks."""
        rows = [row for row in self.table.rows if week - 1 <= row["week"] <= week and row["label"] in NIGHT]
        return {
            "day": sum(8 <= row["hour"] < 18 for row in rows),
            "night": sum(not 8 <= row["hour"] < 18 for row in rows),
        }

    @trace_agent_action()
    def busiest(self, week: int) -> dict[str, Any]:
        """Find the camera with most records."""
        counts: dict[str, int] = {}
        for row in self.table.rows:
            if row["week"] == week:
                counts[row["camera"]] = counts.get(row["camera"], 0) + 1
        best = max(counts, key=lambda name: (counts[name], name))
        return {"camera": best, "records": counts[best]}

    @trace_agent_action()
    def estimate(self, week: int) -> float:
        """Estimate the number of lynxes in the forest from who was seen in both halves of five weeks."""
        seen = [row for row in self.table.rows if row["lynx"] and row["week"] > week - 5]
        early = {row["lynx"] for row in seen if row["week"] <= week - 3}
        late = {row["lynx"] for row in seen if row["week"] > week - 3}
        both = len(early & late)
        return round((len(early) + 1) * (len(late) + 1) / (both + 1) - 1, 1)


class Study:
    """The study."""

    def __init__(self, seed: int) -> None:
        self.cameras = {name: Camera(name, seed) for name in CAMERAS}
        self.field, self.detector, self.table = Ranger(seed), Detector(seed), Table()
        self.identifier = Identifier(seed)
        self.curator, self.statistician = Curator(self.identifier), Statistician(self.table)
        self.forest = random.Random(f"{seed}/forest")
        self.desk = random.Random(f"{seed}/desk")
        self.system = SystemLogger("study")
        self.out: dict[str, Any] = {"counts": [], "activity": [], "busiest": [], "estimate": []}

    def animals(self, week: int) -> list[tuple[str, str, float, float, int]]:
        """What passes which camera in a week."""
        passing = []
        for number, camera in enumerate(CAMERAS):
            for _ in range(self.forest.choice([2, 3, 3])):
                animal = self.forest.choice(SPECIES)
                passing.append((camera, animal, *self._look(animal)))
            if (number + week) % 3 == 0:
                lynx = LYNXES[(number // 2 + self.forest.randrange(2)) % len(LYNXES)]
                passing.append((camera, f"lynx {lynx}", *self._look("lynx")))
        self.forest.shuffle(passing)
        return passing

    def _look(self, animal: str) -> tuple[float, float, int]:
        night = animal in NIGHT
        sharp = self.forest.uniform(0.32, 0.6) if night else self.forest.uniform(0.65, 0.98)
        hour = (20 + self.forest.randrange(9)) % 24 if night else 7 + self.forest.randrange(14)
        return round(self.forest.uniform(0.1, 1.0), 2), round(sharp, 2), hour

    def week(self, week: int) -> None:
        """Play one week."""
        if week in {2, 4, 5}:
            self._batteries(week)
        for camera, animal, size, sharp, hour in self.animals(week):
            self.cameras[camera].capture(week, animal, size, sharp, hour)
        cards = list(CAMERAS)
        if _with("card") and week == 8:
            cards.insert(9, "cam_03")
        for place, name in enumerate(cards):
            self._card(name, week, keep=name in cards[place + 1 :])
        if week in {3, 6}:
            self.detector.retrain(week, len(self.table.rows))
        if week == 4:
            names = list(dict.fromkeys(self.identifier.catalogue.values()))
            pairs = [(names[0], names[0])]
            if _with("joined"):
                pairs += [(names[1], other) for other in names[2:4]]
            for kept, other in pairs:
                self.curator.join(kept, other)
        if week == 7:
            self.system.info("a bear rubbed its back on cam_09", {"film": "cam_09-bear.mp4"})
        self._sheets(week)

    def _batteries(self, week: int) -> None:
        for name in CAMERAS[week % 3 :: 3]:
            self.field.change_battery(name, week)
            wrong = _with("clock") and week == 4
            self.field.set_clock(name, "09:30 PM" if wrong else "09:30 AM")
            self.cameras[name].shift = 12 if wrong else 0

    def _card(self, name: str, week: int, keep: bool) -> None:
        camera = self.cameras[name]
        pictures = list(camera.card)
        self.field.read_card(name, len(pictures), week)
        if not keep:
            camera.card = []
        for picture in pictures:
            truth = picture.pop("truth")
            species = truth.split()[0]
            shown = {key: picture[key] for key in ("picture", "hour", "sharpness")}
            found = self.detector.classify(shown, species)
            picture["truth"] = truth
            if found["label"] == "empty":
                continue
            lynx = ""
            if species == "lynx":
                lynx = self.identifier.match(found["picture"], truth)["lynx"]
                if self.desk.random() < 0.4:
                    self.curator.look(lynx, found["picture"])
            self.table.add(week, name, found["label"], shown["hour"], lynx)

    def _sheets(self, week: int) -> None:
        self.out["counts"].append(self.statistician.weekly_counts(week))
        self.out["activity"].append(self.statistician.activity(week))
        self.out["busiest"].append(self.statistician.busiest(week))
        if week % 3 == 0 and week:
            self.out["estimate"].append(self.statistician.estimate(week))


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play ten weeks; return what the reports say."""
    _PLAY["fault"] = fault
    setup_logging()
    study = Study(seed)
    for week in range(WEEKS):
        study.system.log_phase(f"week {week + 1}")
        study.week(week)
    shutdown_logging()
    return study.out


def _by_day(outcome: Mapping[str, Any]) -> int:
    return max(int(sheet["day"]) for sheet in outcome["activity"])


def _late_badgers(outcome: Mapping[str, Any]) -> int:
    return sum(int(week["badger"] + week["marten"]) for week in outcome["counts"][7:])


def _second_reading(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        "field_worker",
        "read_card",
        where=lambda event: event.args["camera"] == "cam_03" and event.args["week"] == 8,
    )[1:2]


FAULTS: dict[str, Fault] = {
    "clock": Fault(
        "The report has badgers and lynxes walking about in bright daylight at noon, which they never do.",
        lambda faulty, healthy: _by_day(faulty) > 1 > _by_day(healthy),
        lambda events: pick(
            events, "field_worker", "set_clock", where=lambda event: event.args["reads"].endswith("PM")
        ),
    ),
    "threshold": Fault(
        "Badgers and martens have all but vanished from our tables this month.",
        lambda faulty, healthy: _late_badgers(faulty) < 0.4 * _late_badgers(healthy),
        lambda events: pick(
            events, "detector", "retrain", where=lambda event: event.result["threshold"] > 0.65
        ),
    ),
    "card": Fault(
        "The report claims twice as many animals at one of the trees as in any other week, cam_09 "
        "shows nothing of the kind.",
        lambda faulty, healthy: faulty["busiest"][8]["records"] > healthy["busiest"][8]["records"],
        _second_reading,
    ),
    "joined": Fault(
        "According to the final estimate two of our lynxes are gone, but walkers have met all of them.",
        lambda faulty, healthy: faulty["estimate"][-1] < healthy["estimate"][-1] - 1,
        lambda events: pick(
            events, "curator", "join", where=lambda event: event.args["kept"] != event.args["other"]
        ),
    ),
}
