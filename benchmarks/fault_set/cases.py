"""All cases, their two halves by a fixed rule, and the healthy sessions."""

from __future__ import annotations

from itertools import groupby

from benchmarks.fault_set import bandits, building, chat_team, fleet, market, pipeline
from benchmarks.fault_set.blind_cases import BLIND, BLIND_HEALTHY
from benchmarks.fault_set.case import Case, digest
from benchmarks.fault_set.second_blind_cases import SECOND_BLIND, SECOND_BLIND_HEALTHY
from benchmarks.fault_set.third_blind_cases import THIRD_BLIND, THIRD_BLIND_HEALTHY

WORLDS = tuple(module.WORLD for module in (bandits, building, chat_team, fleet, market, pipeline))
CASES = tuple(
    sorted(
        (Case(kind, world) for world in WORLDS for kind in world.complaints),
        key=lambda case: (case.kind, digest(case.name)),
    )
)
HEALTHY = 30


def halves() -> dict[str, list[Case]]:
    """Both halves: the cases of a kind go to them in turn, beginning with the one that holds fewer."""
    split: dict[str, list[Case]] = {"tuning": [], "final": []}
    for _, of_kind in groupby(CASES, key=lambda case: case.kind):
        sides = sorted(split, key=lambda side: (len(split[side]), side != "tuning"))
        for number, case in enumerate(of_kind):
            split[sides[number % 2]].append(case)
    return split


def healthy() -> list[Case]:
    """Cases whose simulation is run with the same parameters and without the fault."""
    return sorted(CASES, key=lambda case: digest(f"healthy/{case.name}"))[:HEALTHY]


def case_named(name: str) -> Case:
    """The case of that name; KeyError where there is none."""
    blind = (*BLIND, *BLIND_HEALTHY, *SECOND_BLIND, *SECOND_BLIND_HEALTHY, *THIRD_BLIND, *THIRD_BLIND_HEALTHY)
    return {case.name: case for case in (*CASES, *blind)}[name]
