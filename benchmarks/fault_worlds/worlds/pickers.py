"""A warehouse in which robots pick orders. The classes know nothing of recording: `instrument` traces their methods."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

MINUTES = 120
AISLES = 24
RADIO_SLOTS = 60


class Robot:
    def __init__(self, name: str) -> None:
        self.name = name
        self.believed_mm = 0
        self.wheel_error_mm = 0.0

    def drive(self, aisle: int, marker_mm: int | None = None) -> dict[str, Any]:
        """Drive to an aisle; a marker on the floor shows where the robot really is."""
        self.believed_mm = aisle * 1500
        return {"believed_mm": self.believed_mm, "marker_mm": marker_mm or self.believed_mm}

    def fetch(self, floor: Floor, item: str, aisle: int, marker_mm: int | None = None) -> dict[str, Any]:
        place = self.drive(aisle, marker_mm)
        off = abs(place["marker_mm"] - place["believed_mm"])
        return {"item": item if off < 200 else floor.neighbour(item, aisle), "aisle": aisle}

    def charge(self, station: Chargers, job: str) -> str:
        return station.take(self.name, job)


class Floor:
    name = "floor_plan"

    def __init__(self) -> None:
        self.reserved: dict[int, str] = {}

    def look(self, cell: int, who: str) -> str:
        return self.reserved.get(cell, "free")

    def reserve(self, cell: int, who: str) -> str:
        self.reserved[cell] = who
        return who

    def leave(self, cell: int, who: str) -> bool:
        return self.reserved.pop(cell, None) is not None

    def neighbour(self, item: str, aisle: int) -> str:
        return f"item_{(aisle + 1) % AISLES:02}"


class Chargers:
    name = "chargers"

    def __init__(self) -> None:
        self.free = 5

    def take(self, who: str, job: str) -> str:
        if not self.free:
            return "none free"
        self.free -= 1
        return f"plug {self.free}"

    def give_back(self, who: str) -> int:
        self.free += 1
        return self.free


class Radio:
    name = "radio"

    def __init__(self) -> None:
        self.left = RADIO_SLOTS

    def send(self, who: str, text: str) -> bool:
        self.left -= 1
        return self.left >= 0


class Scanner:
    def __init__(self, number: int, radio: Radio) -> None:
        self.name = f"scanner_{number}"
        self.radio = radio
        self.hurried: Callable[[], bool] = lambda: False

    def scan(self, code: str, readable_after: int) -> dict[str, Any]:
        """Ask the stock computer by radio until the label is understood; pause after the second attempt."""
        heard, attempt = False, 0
        while attempt < readable_after:
            attempt += 1
            heard = self.radio.send(self.name, code)
            if attempt == 2 and not self.hurried():
                break
        return {"code": code, "heard": heard, "attempts": attempt}


class Orders:
    name = "order_book"

    def __init__(self) -> None:
        self.open: dict[str, str] = {}
        self.boxes: dict[str, str] = {}

    def enter(self, order: str, customer: str, street: str) -> str:
        self.open[order] = customer
        self.boxes[order] = f"box of {order}"
        return self.boxes[order]

    def join(self, order: str, into: str, customer: str, other: str) -> str:
        """Put two orders of one customer into one box."""
        self.boxes[order] = self.boxes[into]
        return self.boxes[order]

    def box_of(self, order: str) -> str:
        return self.boxes[order]


class Packer:
    def __init__(self, name: str) -> None:
        self.name = name

    def pack(
        self, orders: Orders, order: str, robot: Robot, floor: Floor, aisle: int, marker_mm: int | None
    ) -> dict[str, Any]:
        box = orders.box_of(order)
        got = robot.fetch(floor, f"item_{aisle:02}", aisle, marker_mm)
        return {"box": box, "item": got["item"], "wanted": f"item_{aisle:02}"}


class Gate:
    name = "dispatch_gate"

    def weigh(self, order: str, box: str, expected: str) -> str:
        return "sent" if box == expected else "two addresses"

    def report(self, what: str, about: str) -> str:
        return what


@functools.cache
def traced() -> None:
    """Trace the classes, once in a process."""
    for cls, methods in (
        (Robot, ["drive", "fetch", "charge"]),
        (Floor, ["look", "reserve", "leave"]),
        (Chargers, ["take", "give_back"]),
        (Radio, ["send"]),
        (Scanner, ["scan"]),
        (Orders, ["enter", "join", "box_of"]),
        (Packer, ["pack"]),
        (Gate, ["weigh", "report"]),
    ):
        instrument(cls, methods=methods, agent_id="name", ignore=("wheel_error_mm", "hurried"))


class Shift:
    """One shift: what is planned for it, and its everyday work."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("work")
        plan = case.rng("plan")
        self.robots = [Robot(f"robot_{number:02}") for number in range(9)]
        self.floor, self.chargers, self.radio, self.orders, self.gate = (
            Floor(),
            Chargers(),
            Radio(),
            Orders(),
            Gate(),
        )
        self.scanners = [Scanner(number, self.radio) for number in range(4)]
        self.packers = [Packer(name) for name in ("packer_ole", "packer_ida", "packer_max")]
        self.mine, self.rival = plan.sample(self.robots[6:], 2)
        self.helpers = [robot for robot in self.robots if robot not in (self.mine, self.rival)]
        self.scanner = plan.choice(self.scanners)
        self.packer = plan.choice(self.packers)
        self.cell = plan.randint(40, 49)
        self.lead = AgentLogger("shift_lead", "lead")
        self.number = 0
        self.owed: set[str] = set()
        self.begin, self.end = case.window(MINUTES)

    def complain(self, what: str, about: str, *texts: str) -> None:
        self.gate.report(what, about)
        self.case.symptom(call("dispatch_gate", "report", what=what, about=about), *texts)

    def everyday(self, now: int) -> None:
        rng = self.rng
        self.radio.left = min(RADIO_SLOTS, self.radio.left + 8)
        for _ in range(rng.randint(1, 2)):
            self.number += 1
            order, customer = f"o{self.number:04}", f"c{rng.randint(100, 180)}"
            self.orders.enter(order, customer, rng.choice(("Elm Street", "Quay", "Mill Lane")))
            if rng.random() < 0.25:
                self.number += 1
                second = f"o{self.number:04}"
                self.orders.enter(second, customer, "same")
                self.orders.join(second, order, customer, customer)
            robot = rng.choice(self.helpers)
            aisle = rng.randrange(AISLES)
            packer = rng.choice(self.packers)
            packer.pack(self.orders, order, robot, self.floor, aisle, aisle * 1500 + rng.randint(-60, 60))
            box = self.orders.boxes[order]
            self.gate.weigh(order, box, box)
        robot, cell = rng.choice(self.helpers), rng.randint(0, 39)
        if self.floor.look(cell, robot.name) == "free":
            self.floor.reserve(cell, robot.name)
            robot.drive(cell % AISLES)
            self.floor.leave(cell, robot.name)
        if rng.random() < 0.4:
            robot = rng.choice(self.helpers)
            if robot.charge(self.chargers, f"c{now}") != "none free":
                self.chargers.give_back(robot.name)
        for scanner in rng.sample(self.scanners, 2):
            scanner.scan(f"code{now:03}{scanner.name[-1]}", rng.choice((1, 1, 1, 2, 9)))
        if rng.random() < 0.15:
            self.gate.report("late truck", f"door {rng.randint(1, 6)}")
        if rng.random() < 0.2:
            self.lead.log_strategy_update("robots per aisle", {"most": 2}, {"most": rng.randint(1, 4)})
        if rng.random() < 0.15:
            self.lead.error("the belt stopped for a moment and ran again", {"belt": rng.randint(1, 3)})
        if now == self.case.decoy_at:
            self.lead.log_action("open_door", {"door": 7})
            self.lead.warning("cold air came in through the door", {"door": 7})

    def race(self, now: int) -> None:
        """Two robots look at a cell for the truck at the end; the second one should see the first one's name."""
        case, floor, mine, rival = self.case, self.floor, self.mine, self.rival
        if now == self.begin:
            seen = floor.look(self.cell, mine.name)
            early = floor.look(self.cell, rival.name) if case.strikes("race", now) else ""
            floor.reserve(self.cell, mine.name)
            self.owed.add(mine.name)
            if (early or floor.look(self.cell, rival.name)) == seen:
                floor.reserve(self.cell, rival.name)
                self.owed.add(rival.name)
            if case.faulty:
                refs = [
                    call("floor_plan", do, cell=self.cell, who=who.name)
                    for who in (rival, mine)
                    for do in ("reserve", "look")
                ]
                case.root(*refs)
        if now == self.end:
            for robot in (mine, rival):
                if robot.name in self.owed:
                    robot.drive(self.cell % AISLES)
            if len(self.owed) == 2:
                case.hop(call(mine.name, "drive"), call(rival.name, "drive"))
                self.complain(
                    "standstill",
                    f"cell {self.cell}",
                    f"two machines stand nose to nose in cell {self.cell} and nothing moves there",
                    f"{self.packer.name} waits for goods: there is a jam at cell {self.cell}",
                    "the aisle is blocked since a minute ago and the truck is leaving",
                )

    def leaked_resource(self, now: int) -> None:
        case = self.case
        marks = {self.begin + round(part * (self.end - self.begin) / 5) for part in range(5)}
        for number in range(5 if self.end - self.begin < 5 and now == self.begin else int(now in marks)):
            job = f"c{now}r{number}"
            self.rival.charge(self.chargers, job)
            if not case.strikes("leaked_resource"):
                self.chargers.give_back(self.rival.name)
            elif len(case.roots) < 6:
                case.root(call("chargers", "take", job=job), call(self.rival.name, "charge", job=job))
        if now == self.end and self.mine.charge(self.chargers, f"c{now}") == "none free":
            case.hop(call(self.mine.name, "charge"))
            self.complain(
                "flat battery",
                self.mine.name,
                f"{self.mine.name} ran flat in the middle of an aisle",
                f"{self.mine.name} could not load although the charging wall is empty",
                "there is not one plug left, and nobody is loading",
            )

    def retry_storm(self, now: int) -> None:
        """A label that cannot be read; the scanner should pause after the second attempt."""
        case = self.case
        self.scanner.hurried = lambda: case.strikes("retry_storm") and now >= self.begin
        if self.begin <= now < self.end:
            lag = self.end - self.begin
            self.scanner.scan("torn label", readable_after=max(14, 120 // lag))
            if case.faulty and not case.roots:
                case.root(
                    call("radio", "send", who=self.scanner.name, text="torn label"),
                    call(self.scanner.name, "scan", code="torn label"),
                )
        if now == self.end:
            self.radio.send("yard_truck", "where to")
            heard = self.radio.left >= 0
            if case.faulty:
                case.hop(call("radio", "send", who="yard_truck"))
            if not heard:
                self.complain(
                    "truck waits",
                    "yard_truck",
                    "yard_truck asked by radio where to go and nobody answered",
                    "the yard hears nothing any more, all calls are lost",
                    "trucks stand in the yard without orders",
                )

    def wrong_merge(self, now: int) -> None:
        case, book = self.case, self.orders
        if now == self.begin:
            book.enter("o8801", "c771", "Quay")
            book.enter("o8802", "c717", "Quay")
            if case.strikes("wrong_merge", now):
                book.join("o8802", "o8801", "c717", "c771")
                case.root(call("order_book", "join", order="o8802"))
        if now == self.end:
            done = self.packer.pack(book, "o8802", self.mine, self.floor, 5, 7510)
            verdict = self.gate.weigh("o8802", done["box"], "box of o8802")
            if verdict != "sent":
                case.hop(
                    call(self.packer.name, "pack", order="o8802"),
                    call("dispatch_gate", "weigh", order="o8802"),
                )
                self.lead.log_action("open_box", {"order": "o8802"})
                self.complain(
                    "wrong address",
                    "o8802",
                    "a customer got a stranger's goods in her parcel",
                    f"{self.packer.name} found two delivery notes in a single box",
                    "o8802 never reached its buyer, somebody else has it",
                )

    def slow_drift(self, now: int) -> None:
        """The wheels of one robot wear; markers on the floor show it."""
        case, robot = self.case, self.mine
        if self.begin <= now < self.end:
            aisle = 1 + now % 20
            if case.strikes("slow_drift"):
                robot.wheel_error_mm += 260 / (self.end - self.begin)
            wobble = random.Random(f"{case.seed}/{now}").randint(-20, 20)
            marker = round(aisle * 1500 - robot.wheel_error_mm) + wobble
            robot.drive(aisle, marker)
            if case.faulty and len(case.roots) < 3:
                case.root(call(robot.name, "drive", marker_mm=marker))
        if now == self.end:
            self.orders.enter("o9900", "c900", "Quay")
            marker = round(8 * 1500 - robot.wheel_error_mm)
            done = self.packer.pack(self.orders, "o9900", robot, self.floor, 8, marker)
            if done["item"] != done["wanted"]:
                case.hop(call(robot.name, "fetch", aisle=8), call(self.packer.name, "pack", order="o9900"))
                case.trigger(call(self.packer.name, "pack", order="o9900"))
                self.complain(
                    "wrong goods",
                    "o9900",
                    "the customer of o9900 unpacked something that she had not ordered",
                    f"{self.packer.name} put the goods of the next shelf into the box",
                    "o9900 contained the neighbour's article",
                )


KINDS = ("race", "leaked_resource", "retry_storm", "wrong_merge", "slow_drift")


def play(case: Case) -> None:
    traced()
    shift = Shift(case)
    story = getattr(shift, case.kind)
    for now in range(MINUTES):
        with tick(now):
            shift.everyday(now)
            story(now)


WORLD = World("pickers", "spans", KINDS, play, author=2)
