"""A day of wristbands on four wards: gateways, a monitor that learns a limit for each patient, nurses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import LearningLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

STEPS = 96
PATIENTS = 36
_given: dict[str, Any] = {"seed": 0, "kind": ""}


def _rng(*key: object) -> random.Random:
    return random.Random(f"{_given['seed']}:{key}")


def _patient(number: int) -> str:
    return f"pt_{number:02d}"


class Wristband:
    """Measures the pulse and tells the gateway of its ward."""

    def __init__(self, name: str, number: int) -> None:
        """Begin with a full battery."""
        self.name = name
        self.number = number
        self.every = 1
        self.battery = 100.0

    def measure(self, step: int) -> int:
        """Return the pulse in beats per minute."""
        self.battery = round(self.battery - 0.4, 1)
        return _reading(self.number, step)

    def update_firmware(self, step: int, version: str) -> str:
        """Install a version."""
        return version

    def charge(self, step: int) -> None:
        """Charge the battery."""
        self.battery = 100.0


class Gateway:
    """Passes readings on."""

    def __init__(self, name: str) -> None:
        """Begin with nothing to pass on."""
        self.name = name
        self.passed = 0

    def forward(self, step: int, readings: dict[str, int]) -> int:
        """Pass readings on to the monitor; return how many."""
        self.passed += len(readings)
        return len(readings)

    def configure(self, step: int, report_every: int) -> None:
        """Set how often wristbands of the ward report."""


class Monitor:
    """Compares each pulse with what it has learned of the patient."""

    def __init__(self, name: str) -> None:
        """Begin with the same limit for everybody."""
        self.name = name
        self.limits = {_patient(n): 125.0 for n in range(PATIENTS)}
        self.usual = {_patient(n): 80.0 for n in range(PATIENTS)}
        self.last: dict[str, int] = {}
        self.learner = LearningLogger("limits", name)

    def check(self, step: int, patient: str, pulse: int) -> bool:
        """Return whether a nurse has to look."""
        return pulse > self.limits[patient]

    def learn(self, step: int, patient: str, pulse: int) -> None:
        """Move the limit of a patient towards what is usual."""
        rate, seen = _lesson(patient, step, pulse, self.usual[patient])
        usual = self.usual[patient] + rate * (seen - self.usual[patient])
        self.usual[patient] = round(usual, 1)
        self.limits[patient] = round(min(168, max(112, usual + 38)), 1)
        self.learner.log_learning_update(
            "limit", {"patient": patient, "usual": self.usual[patient], "limit": self.limits[patient]}
        )


class Nurse:
    """Looks at patients."""

    def __init__(self, name: str) -> None:
        """Begin the shift."""
        self.name = name
        self.visits = 0

    def look(self, step: int, patient: str, pulse: int) -> str:
        """Look at a patient after an alarm."""
        self.visits += 1
        return "treated" if _real(int(patient[3:]), step) > 120 else "false alarm"

    def round(self, step: int, ward: str) -> int:
        """Go round the ward and charge empty wristbands."""
        return self.visits


instrument(
    Wristband, methods=["measure", "update_firmware", "charge"], agent_id="name", agent_role="wristband"
)
instrument(Gateway, methods=["forward", "configure"], agent_id="name", agent_role="gateway")
instrument(Monitor, methods=["check", "learn"], agent_id="name", agent_role="monitor", ignore=["learner"])
instrument(Nurse, methods=["look", "round"], agent_id="name", agent_role="nurse")


def _attack(number: int) -> tuple[int, int]:
    """Return when a patient's heart races, if at all."""
    draw = _rng("attack", number)
    chosen = {5: (61, 67), 12: (78, 84), 23: (58, 64), 30: (44, 47), 19: (46, 51), 28: (70, 75)}
    begin, end = chosen.get(number, (200, 200))
    shift = draw.randrange(2)
    return begin + shift, end + shift


def _real(number: int, step: int) -> float:
    draw = _rng("pulse", number, step)
    begin, end = _attack(number)
    rest = 68 + _rng("rest", number).randrange(22)
    racing = 62 + 4 * (number % 3) if begin <= step < end else 0
    return rest + racing + draw.gauss(0, 5) + (18 if draw.random() < 0.04 and not racing else 0)


def _reading(number: int, step: int) -> int:
    value = _real(number, step)
    if _given["kind"] == "sampling" and number == 23 and step >= 50:
        return round(value * 0.7)
    return round(value)


def _lesson(patient: str, step: int, pulse: int, usual: float) -> tuple[float, float]:
    """Return the rate and the value by which the monitor learns; far outliers count less."""
    if _given["kind"] == "lesson" and patient == _patient(12) and step >= 32:
        return 0.12, usual + abs(pulse - usual) * 3
    return 0.12, min(pulse, usual + 15)


def _every(ward: str, step: int) -> int:
    if _given["kind"] == "interval" and ward == "ward_5" and step == 40:
        return 12
    return {0: 1, 20: 2, 40: 1, 60: 1, 80: 2}[step]


def _passes(gateway: str, step: int) -> bool:
    return not (_given["kind"] == "gateway" and gateway == "gateway_3" and step >= 57)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a day in quarters of an hour and return how quickly racing hearts were seen to."""
    _given.update(seed=seed, kind=fault)
    bands = [Wristband(f"band_{n:02d}", n) for n in range(PATIENTS)]
    gateways = [Gateway(f"gateway_{n}") for n in (1, 2, 3, 4)]
    wards = ["ward_3", "ward_4", "ward_5", "ward_6"]
    monitor = Monitor("monitor")
    nurses = [Nurse(name) for name in ("nurse_day_1", "nurse_day_2", "nurse_night_1", "nurse_night_2")]
    system = SystemLogger("wards")
    seen: dict[str, int] = {}
    every = dict.fromkeys(wards, 1)
    looked: dict[str, int] = {}
    for step in range(STEPS):
        with tick(step):
            if step % 20 == 0:
                for gateway, ward in zip(gateways, wards, strict=True):
                    every[ward] = _every(ward, step)
                    gateway.configure(step, every[ward])
            if step in {33, 50}:
                for band in bands[step % 4 :: 9] if step == 33 else bands[5::9]:
                    band.update_firmware(step, f"2.{step // 10}")
            if step == 57:
                system.log_config("night_light", 60, 20)
            for place, (gateway, ward) in enumerate(zip(gateways, wards, strict=True)):
                mine = bands[place * 9 : place * 9 + 9]
                readings = {}
                for band in mine:
                    if (step + band.number) % every[ward] == 0:
                        readings[_patient(band.number)] = band.measure(step)
                if _passes(gateway.name, step):
                    gateway.forward(step, readings)
                    monitor.last.update(readings)
                    for patient, pulse in readings.items():
                        racing = monitor.check(step, patient, pulse)
                        if racing and step - looked.get(patient, -9) > 3:
                            looked[patient] = step
                            nurse = nurses[(place + step // 48 * 2) % 4]
                            if nurse.look(step, patient, pulse) == "treated":
                                seen.setdefault(patient, step)
                        elif step % 4 == 0 and not racing:
                            monitor.learn(step, patient, pulse)
                if step % 16 == 8:
                    nurse = nurses[(place + step // 48 * 2) % 4]
                    nurse.round(step, ward)
                    for band in mine:
                        if band.battery < 74:
                            band.charge(step)
    late = {}
    for number in range(PATIENTS):
        begin, end = _attack(number)
        if begin < STEPS:
            late[_patient(number)] = seen.get(_patient(number), end + 8) - begin
    return {"late": late, "visits": {nurse.name: nurse.visits for nurse in nurses}}


def _later(patient: str) -> Any:
    return lambda bad, good: bad["late"][patient] >= good["late"][patient] + 3 and good["late"][patient] <= 2


def _halved(events: Sequence[Event]) -> list[str]:
    return pick(events, "band_23", "measure", tick=lambda step: step >= 50)


def _lessons(events: Sequence[Event]) -> list[str]:
    """Return the first lessons about a patient in the second quarter of the day, with what they set."""
    return [
        event.id
        for event in events
        if event.act in {"learn", "limit"}
        and event.args["patient"] == _patient(12)
        and (event.tick or 0) >= 32
    ][:4]


FAULTS: dict[str, Fault] = {
    "lesson": Fault(
        "In the evening pt_12 had a racing heart for an hour and a half, and nobody was called. We only noticed it "
        "because nurse_night_2 happened to pass by.",
        _later(_patient(12)),
        _lessons,
    ),
    "interval": Fault(
        "pt_19 was pale and her heart raced for almost an hour before the ward noticed; no alarm "
        "at all, while elsewhere it comes within minutes.",
        lambda bad, good: bad["late"]["pt_19"] >= good["late"]["pt_19"] + 3,
        lambda events: pick(events, "gateway_3", "configure", tick=40),
    ),
    "sampling": Fault(
        "I counted a pulse of over 140 by hand on pt_23, while the screen of the monitor showed a little over a "
        "hundred and stayed green.",
        _later(_patient(23)),
        _halved,
    ),
    "gateway": Fault(
        "All numbers of our ward have looked the same since the afternoon. Then somebody's heart raced and no alarm "
        "came, although band_23 was on his arm and blinking.",
        _later(_patient(23)),
        lambda events: pick(list(reversed(events)), "gateway_3", "forward", first=1),
    ),
}
