"""Every event as `root_causes` reads it: who, what, when, and each value it holds under its path."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

__all__ = ["Act", "Log", "Sort", "read_acts"]

Sort = tuple[str, str, str]
"""What an event is one of many of: role (or agent without one), kind, name."""

MAX_DEPTH: Final = 4
MAX_KEYS: Final = 40
MAX_ITEMS: Final = 6
MAX_TEXT: Final = 80

NAMES: Final = (
    "action_type", "decision_type", "interaction_type", "metric_name", "collaboration_type", "strategy_type",
    "learning_stage", "name", "component", "module", "content_type", "operation", "error_type",
    "learning_type", "context",
)  # fmt: skip
SILENT_KINDS: Final = frozenset(
    {"code", "log.opened", "log.closed", "log.dropped", "log.retired", "source.read", "simulation_start",
     "simulation_end", "run.started", "run.finished"}
)  # fmt: skip
# How an event was recorded, not what happened in it.
ENVELOPE: Final = frozenset(
    {
        *NAMES, "agent_id", "agent_role", "event_type", "error_id", "call", "call_id", "root", "active_ms",
        "traceback", "fingerprint", "digest", "source", "span_id", "context_span", "class", "init", "shared",
        "unseen", "error_module", "error_args", "error_attributes", "error_members", "error_cause",
        "code_version", "yielded", "returned", "reads", "adopted", "args_after", "result_is", "old_state",
        "old_value", "old_strategy", "old_policy", "old_parameters", "previous", "step_id",
    }
)  # fmt: skip
BEFORE: Final = ("old_state", "old_value", "old_strategy", "old_policy", "old_parameters", "previous")
_NUMBER: Final = re.compile(r"[0-9]+")


@dataclass(slots=True)
class Act:
    """One event; `place` is its position among all, `step` its tick or its slice of the clock."""

    place: int
    id: str
    us: int
    step: int
    tick: int | None
    agent: str
    role: str
    kind: str
    name: str
    message: str
    failed: bool
    values: dict[str, Any]
    """{path: scalar} of what it says: texts, numbers, truth values; `#` behind a path is a size."""
    before: dict[str, Any]
    """{path: scalar} of the values that it replaced, under the paths of the new ones."""
    span: str | None
    parent: str | None
    causes: tuple[str, ...]
    duration_ms: float | None
    things: tuple[Any, ...] = ()
    """Identifiers of what it is about: an order, a document."""
    mentions: tuple[str, ...] = ()
    """Other agents that it names."""

    @property
    def sort(self) -> Sort:
        """What it is one of many of."""
        return self.role, self.kind, self.name


@dataclass(slots=True)
class Log:
    """All acts of a session, in order, with what is known of them as a whole."""

    acts: list[Act]
    roles: dict[str, str]
    """{agent: role}."""
    steps: int
    by_sort: dict[Sort, list[Act]] = field(default_factory=lambda: defaultdict(list))
    by_thing: dict[Any, list[Act]] = field(default_factory=lambda: defaultdict(list))
    peers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """{role: agents}."""


def read_acts(rows: Iterable[Mapping[str, Any]], step_of: Any) -> Log:
    """The acts of event rows in order.

    Args:
        rows: as `engine_row` makes them, with `ts_us`.
        step_of: gives the step of a row, or None where it has none.
    """
    acts: list[Act] = []
    roles: dict[str, str] = {}
    step = last = 0
    for row in rows:
        at = step_of(row)
        step = step if at is None else at
        last = max(last, step)
        kind, extra = row["event_type"], row["extra"]
        if kind in SILENT_KINDS:
            continue
        agent = row["agent_id"] or ""
        if agent and row["agent_role"]:
            roles[agent] = row["agent_role"]
        message = row["message"] or ""
        values, before = _values(extra, row["state"])
        duration = extra.get("duration_ms")
        acts.append(
            Act(
                len(acts), row["id"], row["ts_us"], step, row["tick"], agent,
                row["agent_role"] or roles.get(agent) or agent,
                kind, _name(kind, extra, message, values), message,
                kind == "error" or row["level"] in {"ERROR", "CRITICAL"} or extra.get("outcome") == "error",
                values, before, row["span_id"], row["parent_span_id"], tuple(row["causes"]),
                float(duration) if isinstance(duration, int | float) else None,
            )
        )  # fmt: skip
    log = Log(acts, roles, last + 1)
    for agent, role in sorted(roles.items()):
        log.peers[role].append(agent)
    _name_things(log)
    for act in acts:
        log.by_sort[act.sort].append(act)
        for thing in act.things:
            log.by_thing[thing].append(act)
    return log


def _name(kind: str, extra: Mapping[str, Any], message: str, values: Mapping[str, Any]) -> str:
    """The name under which an event is one of many; a change of state is named by the fields it changes."""
    if kind == "agent_message":
        return "received" if str(extra.get("direction", "")).startswith("rec") else "sent"
    if kind == "state_change":
        return ",".join(sorted(path for path in values if path.startswith("new_state."))[:6])
    for key in NAMES:
        name = extra.get(key)
        if isinstance(name, str):
            return _NUMBER.sub("#", name)
    return _NUMBER.sub("#", message)[:MAX_TEXT] if kind in {"log", "error"} else ""


def _values(
    extra: Mapping[str, Any], state: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    found: dict[str, Any] = {}
    for key, value in extra.items():
        if key not in ENVELOPE and key != "duration_ms":
            found.update(scalars(value, key))
    changed = (state or {}).get("set")
    if isinstance(changed, dict):
        for key, value in changed.items():
            found.update(scalars(value, f"state.{key}"))
    before: dict[str, Any] = {}
    for key in BEFORE:
        if key in extra:
            before.update(scalars(extra[key], key.replace("old", "new")))
    return found, before


def scalars(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The scalars inside a JSON value, each with its path."""
    if isinstance(value, dict):
        if len(value) > MAX_KEYS or depth >= MAX_DEPTH:
            yield f"{path}#", len(value)
            return
        for key, inner in value.items():
            yield from scalars(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        yield f"{path}#", len(value)
        if len(value) <= MAX_ITEMS and depth < MAX_DEPTH:
            for place, inner in enumerate(value):
                yield from scalars(inner, f"{path}[{place}]", depth + 1)
    elif isinstance(value, str):
        yield path, value[:MAX_TEXT]
    else:
        yield path, value


def leaf(path: str) -> str:
    """The last name of a path, without the words for an identifier: args.order_id is order."""
    name = path.rsplit(".", 1)[-1].partition("[")[0]
    return _ID_ENDING.sub("", name.lower()) or name


_ID_ENDING: Final = re.compile(r"[_-]?(?:id|no|nr|num|number|key|name)$")
_SAYS_ID: Final = re.compile(r"(?:^|[_-])(?:id|no|nr|number|uuid|key)$|(?:^|[a-z])Id$")

MIN_THINGS: Final = 6
MAX_EACH: Final = 8
SHARE: Final = 0.1
"""A path names things where its values are many: most of at most so many events, and so many an event."""


def _name_things(log: Log) -> None:
    """Fill `things` and `mentions` of every act."""
    texts: dict[tuple[Sort, str], Counter[Any]] = defaultdict(Counter)
    for act in log.acts:
        for path, value in act.values.items():
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                texts[act.sort, path][value] += 1
    naming: dict[tuple[Sort, str], bool] = {}
    for (sort, path), counts in texts.items():
        number = counts.total()
        says = bool(_SAYS_ID.search(path.rsplit(".", 1)[-1]))
        whole = sum(1 for value in counts if isinstance(value, int)) > len(counts) / 2
        # one may come again and again, most do not
        many = len(counts) >= MIN_THINGS and median(counts.values()) <= MAX_EACH
        spread = len(counts) >= SHARE * number
        if not many or path.endswith("#"):
            continue
        naming[sort, path] = (says if whole else any(map(_has_digit, counts)) or says) and spread
    for act in log.acts:
        things: dict[Any, None] = {}
        mentions: dict[str, None] = {}
        for path, value in act.values.items():
            if isinstance(value, str):
                if value in log.roles and value != act.agent:
                    mentions[value] = None
                elif naming.get((act.sort, path)) and " " not in value:
                    things[value] = None
            elif naming.get((act.sort, path)) and isinstance(value, int):
                things[leaf(path), value] = None
        act.things, act.mentions = tuple(things), tuple(mentions)


def _has_digit(value: Any) -> bool:
    return isinstance(value, str) and any(map(str.isdigit, value)) and " " not in value
