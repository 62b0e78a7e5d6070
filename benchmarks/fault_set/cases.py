"""All cases, and the healthy sessions that somebody complains about all the same."""

from __future__ import annotations

from benchmarks.fault_set import (
    auction,
    bandits,
    build_farm,
    building,
    bureau,
    chat_team,
    crew,
    epidemic,
    fleet,
    grid,
    harbour,
    helpdesk,
    kitchen,
    lifts,
    market,
    newsroom,
    pipeline,
    ward,
    warehouse,
)
from benchmarks.fault_set.case import Case, digest

_WITH_CALM = (
    auction,
    build_farm,
    bureau,
    crew,
    epidemic,
    grid,
    harbour,
    helpdesk,
    kitchen,
    lifts,
    newsroom,
    ward,
    warehouse,
)
WORLDS = tuple(
    module.WORLD for module in (bandits, building, chat_team, fleet, market, pipeline, *_WITH_CALM)
)
CASES = tuple(
    sorted(
        (Case(kind, world) for world in WORLDS for kind in world.complaints),
        key=lambda case: (case.kind, digest(case.name)),
    )
)
CALM = tuple(Case(kind, module.CALM) for module in _WITH_CALM for kind in module.CALM.complaints)
"""Sessions in which something odd is as it should be."""


def healthy() -> list[Case]:
    """Cases to be run without their fault: one of each world, with the same parameters, and the calm ones."""
    first = {case.world.name: case for case in sorted(CASES, key=lambda case: digest(f"healthy/{case.name}"))}
    return [*first.values(), *CALM]


def case_named(name: str) -> Case:
    """The case of that name; KeyError where there is none."""
    return {case.name: case for case in (*CASES, *CALM)}[name]
