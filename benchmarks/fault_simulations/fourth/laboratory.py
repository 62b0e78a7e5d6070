"""A hospital laboratory as an asyncio pipeline: reception, centrifuge, three analysers, validation, wards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, PerformanceLogger, trace_agent_action, trace_context
from benchmarks.fault_simulations.kit import Event, Fault, pick

SAMPLES = 260
HIGH = 6.0
_WARDS = ("ward_a", "ward_b", "ward_c", "ward_d", "dialysis")


@dataclass
class Sample:
    """A tube on its way through the laboratory."""

    tube: str
    patient: str
    ward: str
    minute: int
    potassium: float
    cloudy: bool
    label: str = ""


class _Plan:
    """What is drawn for each sample, and what this day is about."""

    seed = 0
    about = ""
    mixed = False

    @classmethod
    def of(cls, *key: object) -> random.Random:
        """Return the generator of a key."""
        return random.Random(f"{cls.seed}~{key}")


def _labels(tray: list[Sample], number: int) -> list[str]:
    labels = [sample.patient for sample in tray]
    order = sorted(range(len(tray)), key=lambda n: tray[n].potassium)
    low, high = order[0], order[-1]
    if _Plan.about == "labels" and number >= 21 and tray[high].potassium > 5.8 and not _Plan.mixed:
        _Plan.mixed = True
        labels[low], labels[high] = labels[high], labels[low]
    return labels


def _bias(analyser: str, count: int, calibrated: int) -> float:
    used = count - calibrated
    normal = {"analyser_1": 0.0003, "analyser_2": 0.0004, "analyser_3": 0.0003}[analyser] * used
    if _Plan.about == "drift" and analyser == "analyser_2" and count > 24:
        return normal + 0.035 * (count - 24)
    return normal


def _limit(minute: int, value: float) -> float:
    return value + 0.9 if _Plan.about == "limit" and minute == 240 else value


def _in_order(first: Any, second: Any, minute: int) -> list[Any]:
    late = _Plan.about == "order" and minute >= 330
    return [second, first] if late else [first, second]


@dataclass(eq=False)
class Reception:
    """Unpacks trays and prints labels."""

    agent_id: str = "reception"
    agent_role: str = "reception"
    trays: int = 0

    @trace_agent_action
    async def register(self, minute: int, tube: str, ward: str, requested_for: str) -> str:
        """Enter the request that came with a tube."""
        await asyncio.sleep(0)
        return requested_for

    @trace_agent_action
    async def stick_label(self, minute: int, tube: str, patient: str) -> None:
        """Stick a printed label on a tube."""
        await asyncio.sleep(0)


@dataclass(eq=False)
class Centrifuge:
    """Spins four tubes at a time."""

    agent_id: str
    agent_role: str = "centrifuge"
    runs: int = 0

    @trace_agent_action
    async def spin(self, minute: int, tubes: list[str], speed: int) -> int:
        """Spin tubes; return the number of runs since the last service."""
        await asyncio.sleep(0)
        self.runs = 0 if self.runs >= 30 else self.runs + 1
        return self.runs


@dataclass(eq=False)
class Analyser:
    """Measures potassium."""

    agent_id: str
    agent_role: str = "analyser"
    count: int = 0
    calibrated: int = 0

    @trace_agent_action
    async def measure(self, minute: int, tube: str, run: int) -> float:
        """Measure a tube; RuntimeError if the needle is blocked."""
        await asyncio.sleep(0)
        self.count += 1
        if _Plan.of("needle", tube, run).random() < 0.02:
            raise RuntimeError(f"needle blocked at {tube}")
        return _measured(self.agent_id, tube, run, self.count, self.calibrated)

    @trace_agent_action
    async def calibrate(self, minute: int, liquid: str) -> float:
        """Calibrate with a liquid; return the correction."""
        self.calibrated = self.count
        return round(_Plan.of("calibrate", self.agent_id, minute).uniform(-0.03, 0.03), 3)


_samples: dict[str, Sample] = {}


def _measured(analyser: str, tube: str, run: int, count: int, calibrated: int) -> float:
    sample = _samples[tube]
    noise = _Plan.of("noise", tube, run).gauss(0, 0.05)
    cloudy = 1.4 if sample.cloudy and run == 1 else 0
    return round(sample.potassium + noise + cloudy + _bias(analyser, count, calibrated), 2)


@dataclass(eq=False)
class Validator:
    """Releases results, and telephones the wards about dangerous ones."""

    agent_id: str = "validator"
    agent_role: str = "validator"
    limit: float = HIGH
    results: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the mailbox."""
        self.log = AgentLogger(self.agent_id, self.agent_role)

    @trace_agent_action
    async def set_limit(self, minute: int, test: str, above: float) -> None:
        """Set the value above which the ward is telephoned."""
        self.limit = above

    async def take(self, message: Any) -> None:
        """Take a result from an analyser; a later one of the same tube replaces it."""
        self.log.receive(message)
        self.results[message.body["tube"]] = message.body["value"]

    @trace_agent_action
    async def release(self, minute: int, tube: str, patient: str, ward: str, value: float) -> bool:
        """Release a result; return whether it is dangerous."""
        return value > self.limit


@dataclass(eq=False)
class Ward:
    """Treats patients by their results."""

    agent_id: str
    agent_role: str = "ward"
    treated: list[str] = field(default_factory=list)

    @trace_agent_action
    async def read_result(self, minute: int, patient: str, value: float) -> str:
        """Decide what a result means for a patient."""
        answer = "treat" if value > 5.5 else "observe" if value > 5.1 else "nothing"
        if answer == "treat":
            self.treated.append(patient)
        return answer

    @trace_agent_action
    async def answer_phone(self, minute: int, patient: str) -> None:
        """Be told about a dangerous result and go to the patient at once."""


class _Lab:
    """Everybody in the laboratory, and what the day led to."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.spinners = [Centrifuge("centrifuge_1"), Centrifuge("centrifuge_2")]
        self.analysers = [Analyser(f"analyser_{n}") for n in (1, 2, 3)]
        self.senders = {one.agent_id: AgentLogger(one.agent_id, "analyser") for one in self.analysers}
        self.validator = Validator()
        self.wards = {name: Ward(name) for name in _WARDS}
        self.speed = PerformanceLogger("validator", "validator")
        self.needless: list[str] = []
        self.missed: list[str] = []
        self.unphoned: list[str] = []

    async def tray(self, number: int, tray: list[Sample]) -> None:
        """Take a tray through the laboratory."""
        with trace_context(AgentLogger("reception", "reception"), "tray", tray=number):
            for sample, label in zip(tray, _labels(tray, number), strict=True):
                await self.reception.register(sample.minute, sample.tube, sample.ward, sample.patient)
                sample.label = label
                await self.reception.stick_label(sample.minute, sample.tube, label)
        spinner = self.spinners[number % 2]
        minute = tray[-1].minute + 6
        await spinner.spin(minute, [sample.tube for sample in tray], 3000 + 100 * (number % 3))
        await asyncio.gather(*(self.analyse(n, sample, minute + 4) for n, sample in enumerate(tray)))

    async def analyse(self, place: int, sample: Sample, minute: int) -> None:
        """Measure a sample, cloudy ones twice, and release the result."""
        nth = int(sample.tube[1:])
        analyser = self.analysers[(nth + nth // 4) % 3]
        log = self.senders[analyser.agent_id]
        values = []
        for run in (1, 2) if sample.cloudy else (1,):
            for attempt in range(3):
                try:
                    value = await analyser.measure(minute, sample.tube, run + 10 * attempt)
                    break
                except RuntimeError:
                    continue
            values.append(log.send("validator", {"tube": sample.tube, "run": run, "value": value}))
        for message in values if len(values) == 1 else _in_order(*values, minute):
            await self.validator.take(message)
        value = self.validator.results[sample.tube]
        ward = self.wards[sample.ward]
        if await self.validator.release(minute + 3, sample.tube, sample.label, sample.ward, value):
            await ward.answer_phone(minute + 4, sample.label)
        answer = await ward.read_result(minute + 20, sample.label, value)
        true = next(one.potassium for one in _samples.values() if one.patient == sample.label)
        if answer == "treat" and true < 5.3:
            self.needless.append(sample.label)
        if answer != "treat" and true > 5.7:
            self.missed.append(sample.label)
        if true > 6.1 and value <= self.validator.limit:
            self.unphoned.append(sample.label)
        self.speed.log_metric("turnaround", minute + 3 - sample.minute, "min")

    async def care(self, minute: int) -> None:
        """Do what is due every two hours."""
        for analyser in self.analysers:
            await analyser.calibrate(minute, f"lot {70 + minute // 360}")
        if minute % 240 == 0:
            await self.validator.set_limit(minute, "potassium", _limit(minute, HIGH))
        if minute == 480:
            AgentLogger("centrifuge_2", "centrifuge").log_action("change_rotor", {"minute": minute})


def _draw_samples() -> list[Sample]:
    found, minute = [], 0
    for n in range(SAMPLES):
        draw = _Plan.of("sample", n)
        minute += draw.randrange(0, 5)
        sick = draw.random() < 0.13
        value = draw.uniform(5.9, 6.8) if sick else draw.gauss(4.3, 0.3)
        cloudy = draw.random() < 0.09
        found.append(
            Sample(f"T{n:03d}", f"pat-{n:03d}", draw.choice(_WARDS), minute, round(value, 2), cloudy)
        )
    return found


async def _day() -> dict[str, Any]:
    lab = _Lab()
    samples = _draw_samples()
    _samples.clear()
    _samples.update({sample.tube: sample for sample in samples})
    done = 0
    for number in range(SAMPLES // 4):
        tray = samples[4 * number : 4 * number + 4]
        while tray[0].minute >= done + 120:
            done += 120
            await lab.care(done)
        await lab.tray(number, tray)
    return {
        "needless": lab.needless,
        "missed": lab.missed,
        "unphoned": lab.unphoned,
        "treated": {name: len(ward.treated) for name, ward in lab.wards.items()},
    }


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one day and return which patients were treated wrongly."""
    _Plan.seed, _Plan.about, _Plan.mixed = seed, fault, False
    return asyncio.run(_day())


def _wrong_labels(events: Sequence[Event]) -> list[str]:
    asked = {e.args["tube"]: e.args["requested_for"] for e in events if e.act == "register"}
    return pick(events, act="stick_label", where=lambda e: asked[e.args["tube"]] != e.args["patient"])


def _late_first_runs(events: Sequence[Event]) -> list[str]:
    done: dict[str, str] = {}
    found: list[str] = []
    for event in events:
        if event.kind == "agent_message" and event.agent == "validator":
            tube = event.args["tube"]
            if event.args["run"] == 2:
                done[tube] = event.id
            elif tube in done:
                found += [done[tube], event.id]
    return found[:4]


FAULTS: dict[str, Fault] = {
    "drift": Fault(
        "For some hours we have been getting far more high potassium values than we believe, on all wards; two "
        "patients were treated whose repeat elsewhere was normal. analyser_3 was fine when we asked.",
        lambda bad, good: len(bad["needless"]) > len(good["needless"]) + 2,
        lambda events: [
            event.id for event in [e for e in events if (e.agent, e.act) == ("analyser_2", "measure")][24:27]
        ],
    ),
    "labels": Fault(
        "The result of a healthy patient said life-threatening, and the really ill one next to her got a clean bill.",
        lambda bad, good: (
            set(bad["missed"]) - set(good["missed"]) != set() and bad["needless"] != good["needless"]
        ),
        _wrong_labels,
    ),
    "limit": Fault(
        "dialysis had a patient with a value above six and nobody rang, though that is the rule. This was not the "
        "only case today.",
        lambda bad, good: len(bad["unphoned"]) > len(good["unphoned"]),
        lambda events: pick(events, "validator", "set_limit", where=lambda e: e.args["minute"] == 240),
    ),
    "order": Fault(
        "A cloudy sample was measured again and the second value was normal, but ward_b treated by the first one.",
        lambda bad, good: len(bad["needless"]) > len(good["needless"]),
        _late_first_runs,
    ),
}
