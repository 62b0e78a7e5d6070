"""A generated session, what is known of it, and its events read by a few independent lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.known_truth import Fault, Truth, make_session

EVENTS, AGENTS, SEED = 30_000, 24, 5


@dataclass(frozen=True)
class Known:
    """Live and sealed form of the same events, with all faults in it."""

    truth: Truth
    sealed: Truth
    events: list[dict[str, Any]]

    def fault(self, name: str) -> Fault:
        return next(fault for fault in self.truth.faults if fault.name == name)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["extra"]["event_type"] in kinds]


def make_known(directory: Path, faults: list[str]) -> Known:
    arguments: dict[str, Any] = {"events": EVENTS, "agents": AGENTS, "seed": SEED, "faults": faults}
    truth = make_session(directory / "live", **arguments)
    sealed = make_session(directory / "sealed", **arguments, sealed=True)
    events = []
    for file in sorted(truth.session.rglob("*.log")):
        for line in file.read_bytes().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    events.sort(key=lambda event: (event["timestamp"], event["id"]))
    return Known(truth, sealed, events)
