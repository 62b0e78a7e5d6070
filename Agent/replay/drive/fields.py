"""Which fields of agents a replay compares, and what it found of those that cannot be compared.

A field is left out if somebody asked for that by name, or if it holds an object that something else changes:
an agent whose code does not run, or what the program does between the actions. That does not happen in the
replay. A plain value in its place is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from Agent.event.pointers import escape, unescape
from Agent.event.values.opaque import WRITTEN_OUTSIDE
from Agent.replay.compare.comparison import OLDER, Agreement, Recorded
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.plan.recording import AgentFacts
from Agent.replay.plan.values import is_tag_of_generator

SHARED = "shared with agents that do not run"


class FieldRules:
    """The rules for the fields of one replay; what comes of them goes into the outcome.

    Args:
        ignore: patterns of names, `field` or `agent.field`.
    """

    def __init__(self, outcome: ReplayOutcome, ignore: Collection[str] = ()) -> None:
        self._outcome = outcome
        self._ignore = tuple(ignore)
        self._elsewhere: Mapping[str, Mapping[str, str]] = {}
        self._known: dict[tuple[str, str], bool] = {}
        self._noted: set[str] = set()
        self.is_older = False
        """The recording was made before content had digests, and holds no field that only they show."""

    def begin(self, facts: Mapping[str, AgentFacts], live: frozenset[str]) -> None:
        """Take in who shares objects with whom.

        Args:
            live: the agents whose code runs.
        """
        self._elsewhere = _held_elsewhere(facts, live)
        firsts = [fact.first_state for fact in facts.values() if fact.first_state is not None]
        self.is_older = any(":" not in str(first.extra.get("digest")) for first in firsts)
        self._known.clear()

    def leaves_out(self, agent_id: str, name: str, *tags: str | None) -> bool:
        """Whether a field takes no part.

        Args:
            tags: those of its values, where they are at hand: only objects can be changed by other agents.
        """
        key = (agent_id, name)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._is_ignored(agent_id, name)
        return known or self._is_elsewhere(agent_id, name, tags)

    def _is_ignored(self, agent_id: str, name: str) -> bool:
        full = f"{agent_id}.{name}"
        found = any(fnmatchcase(name, pattern) or fnmatchcase(full, pattern) for pattern in self._ignore)
        if found:
            self._add(self._outcome.ignored, full)
        return found

    def _is_elsewhere(self, agent_id: str, name: str, tags: Collection[str | None]) -> bool:
        why = self._elsewhere.get(agent_id, {}).get(name)
        if why is None:
            return False
        self._add(self._outcome.references, f"{agent_id}.{name} ({why})")
        return all(tag == "opaque" or is_tag_of_generator(tag or "") for tag in tags)

    def is_shared(self, agent_id: str, name: str) -> bool:
        """Whether a field that takes no part is one that agents share which do not run."""
        return not self._known.get((agent_id, name)) and self._elsewhere.get(agent_id, {}).get(name) == SHARED

    def doubt_shared(self, agent_id: str, name: str) -> None:
        """Say that such a field differs: others may have changed it, or the code that ran."""
        self._outcome.reason(
            f"{agent_id}.{name} differs from the recording, and agents that do not run share it: replay them "
            f"as well (--all), or ignore the field: --ignore {name}"
        )

    def kept(
        self, agent_id: str, fields: Mapping[str, Any], types: Mapping[str, str], pointer: str
    ) -> dict[str, Any]:
        """Those of the fields that are compared; their tags stand in `types` below the pointer."""
        return {
            name: value
            for name, value in fields.items()
            if not self.leaves_out(agent_id, name, types.get(f"{pointer}/{escape(name)}"))
        }

    def note(self, agent_id: str, name: str, found: Agreement) -> None:
        """Keep what a comparison of one field could not see, or saw by name alone."""
        full = f"{agent_id}.{name}"
        for why in found.unseen.values():
            self._once(full, lambda: self._outcome.unseen_fields.setdefault(full, why))  # noqa: B023
        if found.older:
            self._once(full, lambda: self._outcome.reason(f"{full} was {OLDER}"))
        for text in found.references.values():
            if text.startswith(("environment ", WRITTEN_OUTSIDE)):
                self._add(self._outcome.references, f"{full} ({text})")
        for kind in found.handles.values():
            self._add(self._outcome.handles, f"{full} ({kind})")

    def pass_older(self, agent_id: str, recorded: Mapping[str, Any], made: Recorded) -> Recorded:
        """What an action changed, without fields of which an older recording could not hold anything."""
        changed = made.value["set"]
        newer = [
            name for name in changed if name not in recorded and self.is_newer(made, f"/set/{escape(name)}")
        ]
        for name in newer:
            self.note(agent_id, name, Agreement(older={""}))
        kept = {name: value for name, value in changed.items() if name not in newer}
        return made._replace(value={**made.value, "set": kept}) if newer else made

    def is_newer(self, made: Recorded, below: str) -> bool:
        """Whether an older recording could not hold what stands there: it has no codec."""
        return self.is_older and made.types.get(made.pointer + below) == "opaque"

    def note_state(self, agent_id: str, found: Agreement) -> None:
        """The same for a comparison of changed fields: pointers begin with `/set/<field>`."""
        for key in ("unseen", "older", "references", "handles"):
            for path in getattr(found, key):
                name = unescape(path.removeprefix("/set/").partition("/")[0])
                self.note(agent_id, name, _only(found, path))

    def note_value(self, what: str, found: Agreement) -> None:
        """The same for a value that is no field, such as a result: one that cannot be seen proves nothing."""
        for path, why in found.unseen.items():
            at = f" at {path}" if path else ""
            self._outcome.reason(f"{what}{at} cannot be seen: {why}")
        if found.older:
            self._outcome.reason(f"{what} was {OLDER}")

    def _once(self, key: str, note: Any) -> None:
        if key not in self._noted:
            self._noted.add(key)
            note()

    def _add(self, names: list[str], name: str) -> None:
        if name not in names:
            names.append(name)


def _only(found: Agreement, path: str) -> Agreement:
    one = Agreement()
    for key in ("unseen", "references", "handles"):
        known = getattr(found, key)
        if path in known:
            getattr(one, key)[path] = known[path]
    if path in found.older:
        one.older.add(path)
    return one


def _held_elsewhere(facts: Mapping[str, AgentFacts], live: Iterable[str]) -> dict[str, dict[str, str]]:
    """By agent, the fields with an object that something else may change, and what that is."""
    running = frozenset(live)
    found: dict[str, dict[str, str]] = {}
    for agent_id, fact in facts.items():
        why = dict.fromkeys(sorted(fact.written_outside), WRITTEN_OUTSIDE)
        for name, others in fact.shared_objects.items():
            if others - running:
                why[name] = SHARED
        if why:
            found[agent_id] = why
    return found
