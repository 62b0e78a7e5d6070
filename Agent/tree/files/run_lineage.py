"""Where a forked or resumed run comes from, and what came of a run: lineage, as `session.json` keeps it.

A replay that forks writes it and compares from there on; the lists of sessions and runs show it as a tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from Agent.errors import DamagedInput, SessionNotFound
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.layout import FORKED, RESUMED

__all__ = ["FORKED", "RESUMED", "Lineage", "as_tree", "lineage_of", "lineage_within"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a run was made from."""

    run: str
    """The original as a command line names it: a run's id, a session's, or `SESSION/agent_id`."""
    session_id: str
    session_uid: str
    step: str
    """Where it continues from, as it was asked for."""
    run_id: str = ""
    """This run's own id."""
    patch: Any = None
    """What was changed there; None where it was resumed as it was."""
    seed: int | None = None
    """What its generators were seeded with there, where they were."""
    agents: tuple[str, ...] = ()
    """Whose code ran; the rest was answered from the original."""
    by_itself: bool = False
    """Whether it went on by a method of its own, not by the original's actions being called again."""
    from_event: str | None = None
    """The first event of the original that this run has its own counterpart of."""
    from_timestamp: str | None = None
    relation: str = field(default=FORKED)
    """`forked_from` or `resumed_from`."""

    def to_object(self) -> dict[str, Any]:
        """As a JSON object, without the relation, which is the key that it stands under."""
        stored = asdict(self)
        del stored["relation"]
        return {name: value for name, value in stored.items() if value is not None}

    @classmethod
    def from_object(cls, relation: str, stored: Mapping[str, Any]) -> Self:
        """Back from that; TypeError where something necessary is missing."""
        names = {each.name for each in fields(cls)} - {"relation"}
        known = {name: value for name, value in stored.items() if name in names}
        known["agents"] = tuple(known.get("agents", ()))
        return cls(**known, relation=relation)


def lineage_within(info: SessionInfo) -> Lineage | None:
    """What the description of a session says of where its run comes from; None for an original."""
    for relation in (FORKED, RESUMED):
        stored = info.other.get(relation)
        if isinstance(stored, Mapping):
            try:
                return Lineage.from_object(relation, stored)
            except TypeError:
                return None  # of a later version: it is a session like others then
    return None


def lineage_of(session: Path) -> Lineage | None:
    """The same for the session in a directory."""
    try:
        return lineage_within(open_session(session))
    except (SessionNotFound, DamagedInput):
        return None  # its events can be read all the same


def as_tree(rows: Iterable[tuple[str, str | None]]) -> list[tuple[str, int]]:
    """(name, depth) of each of (name, name of what it was made from), children behind their origin.

    What comes from something that is not among them stands at the root, in the order given.
    """
    listed = list(rows)
    names = {name for name, _ in listed}
    children: dict[str | None, list[str]] = {}
    for name, origin in listed:
        children.setdefault(origin if origin in names and origin != name else None, []).append(name)
    found: list[tuple[str, int]] = []
    waiting = [(name, 0) for name in reversed(children.get(None, []))]
    while waiting:
        name, depth = waiting.pop()
        found.append((name, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return found
