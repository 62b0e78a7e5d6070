"""Comparison of the program's globals, functions, closures and defaults at the end of runs of changed code.

A recording has digests of what changed while agents acted, and the names of what did not. Only changed code
can make a difference here, so nothing is compared if no code changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from Agent.event.model import Event
from Agent.event.values.digest import HIDING, leaves_out_secrets

UNCHANGED = "unchanged"
_NO_VALUE = "no value"
_DIGEST = re.compile(r"[a-z][0-9][\w./]*:[0-9a-f]+")  # not a token in the place of a secret


class LeftInProgram(NamedTuple):
    """The state of the program at the end of one run."""

    changed: Mapping[str, str]
    """{name: digest} of what changed while agents acted."""
    unchanged: frozenset[str]
    numbers: Mapping[str, int | float] = MappingProxyType({})
    """Those of them that are numbers."""
    unknown: frozenset[str] | None = None
    """Names without a digest; None if the recording predates this list."""
    redacted: frozenset[str] = frozenset()
    """Names whose digests leave out secrets, which equal digests therefore do not compare."""
    carried: Mapping[str, str] = MappingProxyType({})
    """{name: digest} of the attributes of classes of which values are instances."""

    def shown(self, name: str) -> Any:
        """Return the content under a name for a report."""
        at = self.carried.get(name) or self.at(name)
        return self.numbers.get(name, at if at in {UNCHANGED, _NO_VALUE} else f"content {at}")

    def at(self, name: str) -> str | None:
        """Return the digest under a name, `UNCHANGED`, "no value" for a key that its dict lacks, or None."""
        if name in self.changed or name in self.unchanged:
            return self.changed.get(name, UNCHANGED)
        holder, bracket, _ = name.partition("[")
        if not bracket or self.unknown is None or not self.unknown.isdisjoint((name, holder)):
            return None
        known = (*self.changed, *self.unchanged, *self.unknown)
        is_dict_known = any(each == holder or each.startswith(f"{holder}[") for each in known)
        return _NO_VALUE if is_dict_known else None

    @classmethod
    def of(cls, recorded: object) -> LeftInProgram | None:
        """Read the state from an event's payload; None if it is missing or damaged."""
        if type(recorded) is not dict:
            return None
        changed, unchanged = recorded.get("changed"), recorded.get("unchanged")
        if type(changed) is not dict or type(unchanged) is not list:
            return None
        numbers = recorded.get("numbers")
        carried = recorded.get("carried")
        digests, of_classes = (
            {
                str(name): digest
                for name, digest in each.items()
                if type(digest) is str and _DIGEST.fullmatch(digest)
            }
            for each in (changed, carried if type(carried) is dict else {})
        )
        unknown = recorded.get("unknown")
        redacted = recorded.get("redacted")
        return cls(
            digests,
            frozenset(map(str, unchanged)),
            numbers if type(numbers) is dict else {},
            frozenset(map(str, unknown)) if type(unknown) is list else None,
            frozenset(name for name, digest in (digests | of_classes).items() if leaves_out_secrets(digest))
            | (frozenset(map(str, redacted)) if type(redacted) is list else frozenset()),
            of_classes,
        )


def program_state_of(events: Iterable[Event]) -> LeftInProgram | None:
    """Return the program state of a recording's only process; None if unknown, or for several processes."""
    recorded: list[Any] = [
        event.extra["program"] for event in events if event.kind == "log.closed" and "program" in event.extra
    ]
    return LeftInProgram.of(recorded[0]) if len(recorded) == 1 else None


class LeftOtherwise(NamedTuple):
    """A name of the program whose final content differs from the recording."""

    name: str
    recorded: str
    runs: tuple[str | None, ...]
    """Its digest in each other run; None if it is not known there."""

    @property
    def is_steady(self) -> bool:
        """Whether all other runs agree."""
        return None not in self.runs and len(set(self.runs)) == 1


def carried_otherwise(
    recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]
) -> list[LeftOtherwise]:
    """Return the differing attributes of classes of which values are instances, beginning with steady ones.

    A class of which a run has no values, and attributes that only the runs have, are not compared.
    """
    known = [run for run in runs if run is not None]
    if recorded is None or len(known) < len(runs):
        return []
    classes = [{name.rpartition(".")[0] for name in run.carried} for run in known]
    differing = [
        LeftOtherwise(name, one, tuple(run.carried.get(name, _NO_VALUE) for run in known))
        for name, one in recorded.carried.items()
        if all(name.rpartition(".")[0] in each for each in classes)
    ]
    differing = [each for each in differing if set(each.runs) != {each.recorded}]
    return sorted(differing, key=lambda each: not each.is_steady)


def left_otherwise(
    recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]
) -> list[LeftOtherwise]:
    """Return the names whose final content differs, beginning with those on which the runs agree.

    The attributes of classes that values have are among them.

    A name that only the recording has counts as renamed if the runs have another name with the same content.
    A name that only the runs have, such as a new cache, cannot be compared; a new key of a dict that the
    recording has is a difference.
    """
    known = [run for run in runs if run is not None]
    if recorded is None or len(known) < len(runs):
        return []
    differing = carried_otherwise(recorded, runs)
    for name in dict.fromkeys((*recorded.changed, *(name for run in known for name in run.changed))):
        one, others = recorded.at(name), tuple(run.at(name) for run in known)
        if one is None or all(other == one for other in others) or _is_of_another_python(one, others):
            continue
        if others == (None,) * len(others) and all(_is_elsewhere(one, run, recorded) for run in known):
            continue
        differing.append(LeftOtherwise(name, one, others))
    return sorted(differing, key=lambda each: not each.is_steady)


def redacted_in_all(recorded: LeftInProgram | None, runs: Sequence[LeftInProgram | None]) -> int:
    """Return the number of names that ended equal in all runs except for secrets, which may differ."""
    known = [run for run in (recorded, *runs) if run is not None]
    if recorded is None or len(known) <= len(runs):
        return 0
    names = {name for run in known for name in run.redacted}
    return sum(len({run.at(name) for run in known}) == 1 for name in names)


def _is_elsewhere(digest: str, run: LeftInProgram, recorded: LeftInProgram) -> bool:
    return any(each == digest and recorded.at(name) is None for name, each in run.changed.items())


def _is_of_another_python(one: str, others: Iterable[str | None]) -> bool:
    """Whether digests of code cannot be compared, since bytecode differs between versions of Python."""
    algorithms = {
        each.partition(":")[0].removesuffix(HIDING)
        for each in (one, *others)
        if each not in {None, UNCHANGED, _NO_VALUE}
    }
    return len(algorithms) > 1
