"""Generators that no recorded state holds: only driving what stands before a point again brings these to it.

They are those behind the functions of a module that the target seeds, those that stand in modules and classes
of the program, and adopted ones that drew before the point and never again.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.record.sources.callers import is_foreign_name
from Agent.record.sources.reads import kinds_of_draws
from Agent.record.sources.sources import adoption_of
from Agent.record.state.introspection import Sort, sort_of
from Agent.replay.drive.states import generators_in
from Agent.replay.plan.recording import Recording
from Agent.replay.sources.rng_sites import GeneratorPlaces

_LIBRARIES = {"site-packages", "dist-packages"}


def hidden_generator(
    objects: Mapping[str, object], first: Event | None, recording: Recording, seeded: Collection[str]
) -> str | None:
    """A generator that no recorded state holds, in words; None if there is none.

    Args:
        objects: what the target gave, by agent.
        first: the first event behind the point; None behind all.
        seeded: modules whose own generators the target seeded with known values.
    """
    before, behind = _places(recording, first)
    for place in sorted(before - behind):
        return f"the generator {place}, which draws no more after the point"
    for module in sorted(set(seeded) - before - behind):
        return f"the generator of {module}, which the target seeds"
    exposed = {id(generator) for obj in objects.values() for _, generator in generators_in(obj)}
    for where, generator in _in_modules():
        if id(generator) not in exposed and adoption_of(generator) is None:
            return f"the generator {where}"
    return None


def _places(recording: Recording, first: Event | None) -> tuple[set[str], set[str]]:
    """What tells adopted generators apart that drew before an event, and behind it."""
    places, found = GeneratorPlaces(recording), (set[str](), set[str]())
    for event in recording.events:
        for kind, key in kinds_of_draws(event.extra.get("reads")):
            if kind != "draws":
                is_behind = first is not None and order_key(event) >= order_key(first)
                found[is_behind].add(places.of_key(key))
    return found


def _in_modules() -> Iterator[tuple[str, Any]]:
    """The generators in modules of the program, and in classes there, each with its name."""
    for name, module in list(sys.modules.items()):
        if not is_foreign_name(name) or not _is_of_program(module):
            continue
        for attribute, value in list(vars(module).items()):
            if sort_of(type(value)) is Sort.GENERATOR:
                yield f"{name}.{attribute}", value
            elif isinstance(value, type) and value.__module__ == name:
                for inner, each in list(vars(value).items()):
                    if sort_of(type(each)) is Sort.GENERATOR:
                        yield f"{name}.{attribute}.{inner}", each


def _is_of_program(module: object) -> bool:
    path = getattr(module, "__file__", None)
    return isinstance(module, ModuleType) and type(path) is str and _LIBRARIES.isdisjoint(Path(path).parts)
