"""Twelve nights of a small observatory with three telescopes, run from one queue of events."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

NIGHTS = 12
SLOT = 55
PROGRAMS = [f"P{n:02}" for n in range(1, 25)]
WINDOWS = {2: ("P03", 5, 120), 3: ("P21", 7, 300), 5: ("P10", 8, 95), 6: ("P14", 9, 205), 7: ("P05", 11, 260)}
"""Night of entry: program, night of the event in the sky, minute after dusk at which it begins."""


class Observatory:
    """The state of the site, and a queue of what happens when."""

    def __init__(self, seed: int, fault: str) -> None:
        """Open the observatory."""
        self.fault = fault
        self.rng = random.Random(f"dome{seed}")
        self.queue: list[tuple[int, int, int, Callable[[], None]]] = []
        self.count = 0
        self.night = self.minute = 0
        self.logs: dict[str, AgentLogger] = {}
        self.metrics = PerformanceLogger("site")
        self.flats = {"pipe_a": "flat_n00", "pipe_b": "flat_n00", "pipe_c": "flat_n00"}
        self.newest_flat = "flat_n00"
        self.shift = {"t1": 0.0, "t2": 0.0, "t3": 0.0}
        self.is_open = {"t1": True, "t2": True, "t3": True}
        self.windows: dict[str, tuple[int, int]] = {}
        self.outcome: dict[str, Any] = {"dips": [], "offsets": {}, "blurred": {}, "wet": [], "frames": 0}

    def log(self, agent: str, role: str) -> AgentLogger:
        """Return the logger of an agent."""
        return self.logs.setdefault(agent, AgentLogger(agent, role))

    def at(self, night: int, minute: int, what: Callable[[], None]) -> None:
        """Put something into the queue."""
        self.count += 1
        heapq.heappush(self.queue, (night, minute, self.count, what))

    def play(self) -> dict[str, Any]:
        """Let all nights pass."""
        for night in range(1, NIGHTS + 1):
            self.at(night, 0, self.dusk)
        while self.queue:
            self.night, self.minute, _, what = heapq.heappop(self.queue)
            what()
        return self.outcome

    def dusk(self) -> None:
        """Prepare the night: flats, pipelines, windows of programs, the plan."""
        night, rng = self.night, self.rng
        SystemLogger("site").log_phase(
            f"night {night}", data={"operator": ["Ines", "Tomo", "Ruth"][night % 3]}
        )
        if night == 7:
            self.log("day_crew", "crew").log_action("swap_filter_wheel", {"night": 7, "wheel": "B"})
        cloudy = rng.random() < 0.3 and night != 7
        for pipe in self.flats:
            if not cloudy:
                self.newest_flat = f"flat_n{night:02}"
            chosen = self.newest_flat
            if self.fault == "old_flat" and pipe == "pipe_b" and night >= 7:
                chosen = self.flats[pipe]
            self.flats[pipe] = chosen
            self.log(pipe, "pipeline").log_action("load_flat", {"night": night, "name": chosen})
        if night in WINDOWS:
            program, when, start = WINDOWS[night]
            if self.fault == "summer_time" and program == "P14":
                start += 120
            self.windows[program] = (when, start)
            self.log("liaison", "liaison").log_action(
                "enter_window", {"program": program, "night": when, "from_minute": start, "length": 80}
            )
        if night in (4, 8, 11):
            minute = {4: 410, 8: 297, 11: 180}[night]
            self.at(night, minute, self.rain_ahead)
        for number, scope in enumerate(("t1", "t2", "t3")):
            for slot in range(9):
                program = PROGRAMS[
                    (number * 8 + slot + night * 3 * (number != 1)) % (24 if number != 1 else 8)
                ]
                if number == 1:
                    program = PROGRAMS[14 + slot % 4]
                self.at(night, 20 + slot * SLOT + number * 4, lambda s=scope, p=program: self.observe(s, p))

    def rain_ahead(self) -> None:
        """Tell all domes that rain is near; the rain comes eight minutes later."""
        weather = self.log("weather", "sensor")
        for scope in self.is_open:
            sent = weather.send(
                f"dome_{scope}", {"alert": "rain", "night": self.night, "minute": self.minute}
            )
            delay = self.rng.randint(1, 3)
            if self.fault == "slow_line" and scope == "t3" and self.night == 8:
                delay = 14

            def close(scope: str = scope, sent: Any = sent, rain: int = self.minute + 8) -> None:
                self.log(f"dome_{scope}", "dome").receive(sent)
                self.log(f"dome_{scope}", "dome").log_action(
                    "close", {"night": self.night, "minute": self.minute}
                )
                self.is_open[scope] = False
                if self.minute > rain:
                    self.outcome["wet"].append(f"{scope} night {self.night}")
                    self.at(self.night, self.minute + 20, lambda: self.wipe(scope))

            def reopen(scope: str = scope) -> None:
                self.log(f"dome_{scope}", "dome").log_action(
                    "open", {"night": self.night, "minute": self.minute}
                )
                self.is_open[scope] = True

            self.at(self.night, self.minute + delay, close)
            self.at(self.night, self.minute + 70, reopen)

    def wipe(self, scope: str) -> None:
        """Note water on a mirror."""
        self.log("day_crew", "crew").log_action("inspect_mirror", {"telescope": scope, "drops": True})

    def observe(self, scope: str, program: str) -> None:
        """Take the frame of a slot, and hand it on."""
        night, minute, rng = self.night, self.minute, self.rng
        for wanted, (when, start) in self.windows.items():
            if when == night and start <= minute < start + SLOT and scope == "t1":
                program = wanted
        queue = self.log("queue", "scheduler")
        queue.log_decision(
            "assign", {"night": night, "minute": minute, "telescope": scope, "program": program}
        )
        if not self.is_open[scope]:
            queue.info("slot lost to weather", {"telescope": scope})
            return
        telescope = self.log(scope, "telescope")
        telescope.log_action("slew", {"program": program, "azimuth": rng.randint(0, 359)})
        if rng.random() < 0.05:
            telescope.warning("guide star lost, acquired again", {"attempts": rng.randint(2, 4)})
        temperature = round(9 - minute / 90 + rng.uniform(-0.4, 0.4), 1)
        if self.fault == "slipping_belt" and scope == "t2" and night >= 5:
            self.shift[scope] += 1.7
        right = 4200 - 11 * temperature
        place = right + self.shift[scope] + rng.uniform(-6, 6)
        self.log(f"focuser_{scope}", "focuser").log_action(
            "focus", {"temperature": temperature, "microns": round(place)}
        )
        blur = (rng.uniform(1.0, 1.5) ** 2 + ((place - right) / 38) ** 2) ** 0.5
        transit = WINDOWS[6][1] == night and program == "P14" and abs(minute - 205) < SLOT
        frame = f"f{night:02}{minute:03}{scope}"
        telescope.log_action(
            "expose", {"frame": frame, "seconds": rng.choice([600, 900]), "width": round(blur, 2)}
        )
        pipe = ("pipe_a", "pipe_b", "pipe_c")[PROGRAMS.index(program) % 3]
        self.at(night, minute + 12, lambda: self.reduce(pipe, program, frame, blur, transit, scope))

    def reduce(self, pipe: str, program: str, frame: str, blur: float, transit: bool, scope: str) -> None:
        """Reduce a frame, archive it, and let the program's astronomer look at some."""
        rng = self.rng
        stale = self.night >= 7 and int(self.flats[pipe][-2:]) < 7
        offset = round(rng.gauss(0.0, 0.008) + (0.11 if stale else 0.0), 3)
        reducer = self.log(pipe, "pipeline")
        done = reducer.log_action("reduce", {"frame": frame, "flat": self.flats[pipe], "offset": offset})
        archive = self.log("archive", "archive")
        archive.log_action("store", {"frame": frame, "program": program}, causes=done)
        self.outcome["frames"] += 1
        self.metrics.log_metric("width", round(blur, 2), "arcsec")
        reader = self.log(f"pi_{program[1:]}", "astronomer")
        if transit:
            self.outcome["dips"].append(program)
        if blur > 2.2:
            self.outcome["blurred"][program] = self.outcome["blurred"].get(program, 0) + 1
        if abs(offset) > 0.06:
            self.outcome["offsets"][program] = self.outcome["offsets"].get(program, 0) + 1
        if rng.random() < 0.5 or program in self.windows:
            usable = "blurred" if blur > 2.2 else "calibration?" if abs(offset) > 0.06 else "good"
            reader.log_decision("grade_frame", {"frame": frame, "grade": usable, "night": self.night})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play twelve nights."""
    system = SystemLogger("site")
    system.log_simulation_start("season", {"nights": NIGHTS, "telescopes": 3})
    site = Observatory(seed, fault)
    outcome = site.play()
    system.log_simulation_end("season", {"frames": outcome["frames"]})
    return outcome


def _blurred(outcome: Mapping[str, Any]) -> int:
    return sum(outcome["blurred"].values())


def _night(events: Sequence[Event], night: int) -> int:
    return next(
        e.number for e in events if e.kind == "phase" and e.record["extra"]["name"] == f"night {night}"
    )


FAULTS = {
    "summer_time": Fault(
        "pi_14 here: the planet should have crossed its star on the ninth night. I got a perfectly flat light curve, "
        "taken long after it was over.",
        lambda faulty, healthy: len(faulty["dips"]) < len(healthy["dips"]),
        lambda events: pick(events, "liaison", "enter_window", where=lambda e: e.args["program"] == "P14"),
    ),
    "old_flat": Fault(
        "My stars jumped by a tenth of a magnitude from one night to the next, all of them together, since the "
        "instrument was opened.",
        lambda faulty, healthy: sum(faulty["offsets"].values()) > sum(healthy["offsets"].values()) + 4,
        lambda events: pick(events, "pipe_b", "load_flat", where=lambda e: e.args["night"] >= 7),
    ),
    "slipping_belt": Fault(
        "pi_17 has hardly had a sharp frame in the last nights of the run, at the beginning they were beautiful.",
        lambda faulty, healthy: _blurred(faulty) > _blurred(healthy) + 6,
        lambda events: pick(
            events,
            "focuser_t2",
            "focus",
            where=lambda e: e.number > _night(events, 5),
        ),
    ),
    "slow_line": Fault(
        "The mirror of t3 got wet on night 8 while the two others stayed dry.",
        lambda faulty, healthy: len(faulty["wet"]) > len(healthy["wet"]),
        lambda events: [
            e.id
            for e in events
            if e.kind == "agent_message"
            and e.record["extra"]["recipient"] == "dome_t3"
            and (e.record["extra"].get("body") or {}).get("night") == 8
        ],
    ),
}
