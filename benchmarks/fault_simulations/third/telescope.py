"""A night at a radio interferometer: antennas, correlator, calibrator, imager and line finder."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_simulations.kit import Fault, pick

ANTENNAS = [f"antenna_{i}" for i in range(1, 9)]
SCANS = 64
CHANNELS = [1402, 1408, 1414, 1420, 1426, 1432]


@dataclass
class Scan:
    """One pointing and what became of it."""

    number: int
    source: str
    x: dict[str, float] = field(default_factory=dict)
    y: dict[str, float] = field(default_factory=dict)
    coherence: dict[str, float] = field(default_factory=dict)
    spectrum: dict[int, float] = field(default_factory=dict)


@dataclass
class Array:
    """The hardware of the array and the solutions that were found for it."""

    seed: int
    fault: str
    gain: dict[str, float] = field(default_factory=dict)
    solved: dict[str, float] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    needed: dict[str, float] = field(default_factory=dict)
    mask: set[int] = field(default_factory=set)
    flux: list[float] = field(default_factory=list)
    polarised: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        for name in ANTENNAS:
            self.gain[name] = self.rng.uniform(0.8, 1.2)
            self.solved[name] = 1.0
            self.delay[name] = self.needed[name] = 0.0
        self.logs = {name: AgentLogger(name, "antenna") for name in ANTENNAS}
        self.correlator = AgentLogger("correlator", "backend")
        self.calibrator = AgentLogger("calibrator", "pipeline")
        self.classifier = AgentLogger("rfi_classifier", "model")
        self.finder = AgentLogger("line_finder", "pipeline")
        self.imager = PerformanceLogger("imager", "pipeline")


def schedule() -> Iterator[Scan]:
    """Yield the scans: a calibrator after every three scans of the target."""
    operator = AgentLogger("scheduler", "operator")
    for number in range(SCANS):
        source = "calibrator_3C48" if number % 4 == 0 else "target_M33"
        operator.log_action("next_scan", {"scan": number, "source": source})
        yield Scan(number, source)


def observe(array: Array, scans: Iterator[Scan]) -> Iterator[Scan]:
    """Point all antennas, track their delays and take both polarisations."""
    for scan in scans:
        if scan.number == 17:  # the amplifier is replaced
            array.gain["antenna_3"] *= 1.9
            array.logs["antenna_3"].log_state_change("amplifier A", "amplifier B", "maintenance")
        for i, name in enumerate(ANTENNAS):
            rate = 0.034 + 0.011 * i
            array.needed[name] += rate
            step = (
                round(rate, 1)
                if array.fault == "rounding" and name == "antenna_6" and scan.number > 12
                else rate
            )
            array.delay[name] = round(array.delay[name] + step, 4)
            data = {"scan": scan.number, "delay_ns": array.delay[name]}
            array.logs[name].log_action("track_delay", data)
            flux = 1.0 if scan.source.startswith("cal") else 0.42
            share = 0.5 if scan.source.startswith("cal") else 0.65
            x = array.gain[name] * flux * 2 * share * array.rng.gauss(1, 0.012)
            y = array.gain[name] * flux * 2 * (1 - share) * array.rng.gauss(1, 0.012)
            if array.fault == "swapped" and name == "antenna_5" and scan.number >= 22:
                x, y = y, x
            scan.x[name], scan.y[name] = round(x, 4), round(y, 4)
            scan.coherence[name] = math.cos(min(1.5, 1.3 * (array.delay[name] - array.needed[name])))
            array.logs[name].log_action(
                "integrate", {"scan": scan.number, "x": scan.x[name], "y": scan.y[name]}
            )
        yield scan


def correlate(array: Array, scans: Iterator[Scan]) -> Iterator[Scan]:
    """Form the spectrum and drop channels that the classifier masks."""
    for scan in scans:
        mean = sum(scan.coherence.values()) / len(ANTENNAS)
        burst = CHANNELS[array.rng.randrange(3)] if array.rng.random() < 0.25 else None
        for channel in CHANNELS:
            line = 0.3 if channel == 1420 and scan.source.startswith("target") else 0.0
            spike = 2.0 if channel == burst else 0.0
            scan.spectrum[channel] = round(0.4 * mean + line + spike + array.rng.gauss(0, 0.02), 3)
        if burst or scan.number == 20:
            channel = burst or 1432
            wrong = array.fault == "wrong_label" and scan.number == 20
            label = {
                "scan": scan.number,
                "channel": 1420 if wrong else channel,
                "power": scan.spectrum[channel],
            }
            kind = "permanent carrier" if scan.number == 20 else "burst"
            array.classifier.log_decision(
                "label_interference", {**label, "kind": kind}, "shape of the power over time"
            )
            if kind == "permanent carrier":
                array.mask.add(label["channel"])
            else:
                scan.spectrum[channel] = 0.4
        kept = {str(c): p for c, p in scan.spectrum.items() if c not in array.mask}
        array.correlator.log_action(
            "correlate", {"scan": scan.number, "coherence": round(mean, 4), "spectrum": kept}
        )
        yield scan


def calibrate(array: Array, scans: Iterator[Scan]) -> Iterator[Scan]:
    """Solve for the gains on calibrator scans and pass target scans on."""
    for scan in scans:
        if not scan.source.startswith("cal"):
            yield scan
            continue
        for name in ANTENNAS:
            if array.fault == "not_solved" and name == "antenna_3" and scan.number > 17:
                continue
            array.solved[name] = round((scan.x[name] + scan.y[name]) / 2, 4)
            array.calibrator.log_action(
                "solve", {"scan": scan.number, "antenna": name, "gain": array.solved[name]}
            )
        array.calibrator.log_action("write_table", {"scan": scan.number, "gains": dict(array.solved)})


def image(array: Array, scans: Iterator[Scan]) -> Iterator[Scan]:
    """Apply the gains and measure flux, polarisation and noise."""
    for scan in scans:
        xs = [scan.x[n] / array.solved[n] for n in ANTENNAS]
        ys = [scan.y[n] / array.solved[n] for n in ANTENNAS]
        flux = sum(xs + ys) / 16 * sum(scan.coherence.values()) / 8
        fraction = (sum(xs) - sum(ys)) / (sum(xs) + sum(ys))
        spread = math.sqrt(sum((c - 1) ** 2 for c in scan.coherence.values()) / 8) + 0.02
        for series, value in ((array.flux, flux), (array.polarised, fraction), (array.noise, spread)):
            series.append(round(value, 4))
        data = {"scan": scan.number}
        array.imager.log_metric("flux", array.flux[-1], "Jy", data)
        array.imager.log_metric("polarised_fraction", array.polarised[-1], None, data)
        array.imager.log_metric("noise", array.noise[-1], "Jy", data)
        yield scan


def find_lines(array: Array, scans: Iterator[Scan]) -> None:
    """Average five scans and look for the hydrogen line."""
    stack: list[Scan] = []
    for scan in scans:
        stack.append(scan)
        if len(stack) == 5:
            means = {c: sum(s.spectrum[c] for s in stack) / 5 for c in CHANNELS if c not in array.mask}
            floor = sorted(means.values())[len(means) // 2]
            found = [c for c, power in means.items() if power > floor + 0.15]
            array.lines.append(len(found))
            array.finder.log_action(
                "search", {"up_to_scan": scan.number, "channels": len(means), "lines": found}
            )
            stack = []


def run(seed: int, fault: str) -> dict[str, Any]:
    """Observe for a night."""
    array, system = Array(seed, fault), SystemLogger("observatory")
    system.log_simulation_start("night", {"antennas": len(ANTENNAS), "scans": SCANS, "channels": CHANNELS})
    system.log_config("integration_seconds", 30, 20)
    find_lines(array, image(array, calibrate(array, correlate(array, observe(array, schedule())))))
    late = slice(-10, None)
    return {
        "flux": round(sum(array.flux[late]) / 10, 3), "polarised": round(sum(array.polarised[late]) / 10, 3),
        "noise": round(sum(array.noise[late]) / 10, 3), "lines": sum(array.lines[4:]),
    }  # fmt: skip


FAULTS = {
    "swapped": Fault(
        "The polarised fraction of M33 dropped by a quarter some time during the night. Is that real?",
        lambda f, h: f["polarised"] < h["polarised"] - 0.05,
        lambda events: pick(events, "antenna_5", "integrate", where=lambda e: e.args["scan"] >= 22),
    ),
    "not_solved": Fault(
        "why is the flux in the images ten percent higher in the last hours than at the start?",
        lambda f, h: f["flux"] > h["flux"] + 0.03,
        lambda events: pick(events, "calibrator", "write_table", where=lambda e: e.args["scan"] > 17),
    ),
    "rounding": Fault(
        "noise in the images creeps up scan after scan and the source gets fainter",
        lambda f, h: f["noise"] > h["noise"] + 0.05,
        lambda events: pick(events, "antenna_6", "track_delay", where=lambda e: e.args["scan"] > 12),
    ),
    "wrong_label": Fault(
        "The line finder saw the hydrogen line at first and then never again. What happened to it?",
        lambda f, h: f["lines"] < h["lines"] - 2,
        lambda events: pick(
            events, "rfi_classifier", "label_interference", where=lambda e: e.args["scan"] == 20
        ),
    ),
}
