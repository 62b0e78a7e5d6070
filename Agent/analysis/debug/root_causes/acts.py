"""Events as `root_causes` reads them: who, what, when, and every value under its path."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any, Final, TypeGuard

from Agent.event.kinds import SNAPSHOT, Meaning, is_of_generators
from Agent.event.payloads import NAMED_BY, kinds_of

Sort = tuple[str, str, str]
"""The class of an event: (role, or agent without a role; kind; name)."""

MAX_DEPTH: Final = 4
MAX_KEYS: Final = 40
MAX_ITEMS: Final = 6
MAX_TEXT: Final = 80

NAMES: Final = (
    "action_type", "decision_type", "interaction_type", "metric_name", "collaboration_type", "strategy_type",
    "learning_stage", "name", "component", "module", "content_type", "operation", "error_type",
    "learning_type", "context",
)  # fmt: skip
"""The keys that name the class of an event: the first that it has, else the one of its kind (`NAMED_BY`)."""
SILENT_KINDS: Final = kinds_of(Meaning.BOOKKEEPING, Meaning.FRAME) - {"source.state"}
"""Kinds that are not read; of bookkeeping only the states of generators are."""
# Fields that say how an event was recorded, not what happened in it.
ENVELOPE: Final = frozenset(
    {
        *NAMES, "agent_id", "agent_role", "event_type", "error_id", "call", "call_id", "root", "active_ms",
        "traceback", "fingerprint", "digest", "source", "span_id", "context_span", "class", "init", "shared",
        "unseen", "capture_ms", "loop_turns", "loop_turn", "ref", "output_ref", "prompt_ref", "media_type",
        "step_span", "asked_at", "tick_number", "tick_in_span",
        "error_module", "error_args", "error_left_out", "error_attributes", "error_members", "error_cause",
        "error_suppressed",
        "code_version", "yielded", "returned", "reads", "adopted", "args_after", "args_held", "args_shared",
        "result_is",
        "old_state", "old_value", "old_strategy", "old_policy", "old_parameters", "previous", "step_id",
    }
)  # fmt: skip
OUTCOMES: Final = ("result", "outcome", "status")
"""Fields that say how an act ended."""
TICK: Final = "tick"
"""The path under which relations compare values with the tick of their event."""
BEFORE: Final = ("old_state", "old_value", "old_strategy", "old_policy", "old_parameters", "previous")
_NUMBER: Final = re.compile(r"[0-9]+")


class Group:
    """A set of acts with the same agent, the same value of a field, or both; one object per group."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[tuple[str, str], ...]) -> None:
        self.key = key
        """The (field, value) pairs that define the group."""


@dataclass(slots=True)
class Act:
    """One event; `place` is its index among all events, `step` its tick or its slice of the sequence."""

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
    """{path: scalar} of the event: strings, numbers and booleans; `#` at the end of a path marks a size."""
    before: dict[str, Any]
    """{path: scalar} of the values that it replaced, under the paths of the new values."""
    span: str | None
    parent: str | None
    causes: tuple[str, ...]
    duration_ms: float | None
    things: tuple[Any, ...] = ()
    """Identifiers of what the event is about: an order, a document."""
    named: tuple[str, ...] = ()
    """The field that holds each of `things`."""
    tokens: tuple[Any, ...] = ()
    """Links to other events: agents, things, values, spans; only those that another event has too."""
    mentions: tuple[str, ...] = ()
    """Other agents that the event names."""
    sort: Sort = ("", "", "")
    """The class of the event."""
    groups: tuple[Group, ...] = ()
    """The groups by which acts of this sort are compared."""
    near: float = 0.0
    """Nearness to a thing that the issue names, 0 to 1."""

    @property
    def is_error(self) -> bool:
        """Whether it is an error, or a log line of that level."""
        return self.kind == "error" or (self.kind == "log" and self.failed)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether the value is a number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


@dataclass(slots=True)
class Log:
    """All acts of a session in order, with facts about the whole session."""

    acts: list[Act]
    roles: dict[str, str]
    """{agent: role}."""
    steps: int
    by_sort: dict[Sort, list[Act]] = field(default_factory=lambda: defaultdict(list))
    by_thing: dict[Any, list[Act]] = field(default_factory=lambda: defaultdict(list))
    peers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """{role: agents}."""
    by_token: dict[Any, list[Act]] = field(default_factory=lambda: defaultdict(list))
    each: float = 1.0
    """Number of events of the session for each act: above 1 if the acts are a sample."""
    alike: Counter[tuple[str, str]] = field(default_factory=Counter)
    """{(kind, name): number of acts, whoever did them}."""
    surprises: Any = None
    """What `measures.surprises` returns; None until it is called."""


def read_acts(rows: Iterable[Mapping[str, Any]], step_of: Any) -> Log:
    """Return the acts of event rows, in order.

    Args:
        rows: rows as returned by `engine_row`, with `ts_us`.
        step_of: a function that returns the step of a row, or None.
    """
    acts: list[Act] = []
    roles: dict[str, str] = {}
    states: dict[str, dict[str, tuple[Any, bool]]] = defaultdict(dict)
    step = last = 0
    for row in rows:
        at = step_of(row)
        step = step if at is None else at
        last = max(last, step)
        kind, extra = row["event_type"], row["extra"]
        if kind in SILENT_KINDS or is_of_generators(extra):
            continue
        agent = row["agent_id"] or ""
        if agent and row["agent_role"]:
            roles[agent] = row["agent_role"]
        message = row["message"] or ""
        values, before = _values(kind, extra, row["state"])
        _keep_changes(values, before, states[agent], kind)
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
    _add_failed(acts)
    _one_name(acts, roles)
    _add_roles(acts, roles)
    log = Log(acts, roles, last + 1)
    for agent, role in sorted(roles.items()):
        log.peers[role].append(agent)
    _one_path(log)
    for act in acts:
        if act.kind == "agent_message":
            # An agent that sends orders to three roles does three different things.
            other = act.values.get("recipient" if act.name == "sent" else "sender")
            role = roles.get(other, "") if isinstance(other, str) else ""
            act.name += f" {'to' if act.name == 'sent' else 'from'} {role}" if role else ""
        act.sort = act.role, act.kind, act.name
    _name_things(log)
    _add_parts(log)
    for act in acts:
        log.by_sort[act.sort].append(act)
        log.alike[act.sort[1:]] += 1
        for thing in act.things:
            log.by_thing[thing].append(act)
    _add_groups(log)
    _add_tokens(log)
    return log


def _one_name(acts: Sequence[Act], agents: Mapping[str, str]) -> None:
    """Unify event names that differ in an agent or a number: limit/till_3 becomes limit/*, try_2 try_#."""
    known: dict[str, tuple[str, str]] = _entity_names(acts, agents)
    numbered: dict[str, set[str]] = defaultdict(set)
    for name in {act.name: None for act in acts}:
        if name not in known:
            parts = _NAME_PARTS.split(name)
            named = next((part for part in parts if part in agents), "") if len(parts) > 1 else ""
            known[name] = name.replace(named, "*") if named else name, named
        numbered[_NUMBER.sub("#", known[name][0])].add(known[name][0])
    for act in acts:
        name, named = known[act.name]
        pattern = _NUMBER.sub("#", name)
        # A number that does not vary is a part of the name: log2, http2.
        act.name = pattern if len(numbered[pattern]) > 1 else name
        if named:
            act.values["name"] = named


def _entity_names(acts: Sequence[Act], agents: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return {name: (pattern, value)} of names that differ only in a word that is a value elsewhere."""
    said = {
        value for act in acts for value in act.values.values() if isinstance(value, str) and len(value) > 1
    }
    patterns: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for kind, name in {(act.kind, act.name): None for act in acts}:
        parts = _NAME_PARTS.split(name)
        if len(parts) > 1 and said.intersection(parts) and not any(part in agents for part in parts):
            for part in parts:
                if part in said:
                    patterns[kind, name.replace(part, "*")][name] = part
    return {
        name: (pattern, part)
        for (_, pattern), names in patterns.items()
        if len(names) >= MIN_KEYS
        for name, part in names.items()
    }


_NAME_PARTS: Final = re.compile(r"[^\w-]+")


def _add_roles(acts: Sequence[Act], roles: dict[str, str]) -> None:
    """Assign a common role to agents without one that do the same things: the name of the first of them."""
    done: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for act in acts:
        if act.agent and act.role == act.agent and act.kind != "error":
            done[act.agent][act.kind, act.name] += 1
    alike: dict[frozenset[tuple[str, str]], str] = {}
    made: dict[str, str] = {}
    for agent, counts in done.items():
        # Rare acts do not define a role.
        usual = frozenset(sort for sort, number in counts.items() if number >= USUAL * counts.total())
        made[agent] = alike.setdefault(usual, agent)
    shared = Counter(made.values())
    for act in acts:
        role = made.get(act.agent)
        if role is not None and shared[role] > 1:
            act.role = roles[act.agent] = role


USUAL: Final = 0.1
MAX_LEVELS: Final = 14
"""A field with more distinct values does not define groups."""
MAX_FIELDS: Final = 6


def _add_groups(log: Log) -> None:
    """Fill `groups`: by agent, by each field with few distinct values, and by both together."""
    known: dict[tuple[tuple[str, str], ...], Group] = {}
    for acts in log.by_sort.values():
        fields = _fields(acts)
        same: dict[tuple[Any, ...], tuple[Group, ...]] = {}
        for act in acts:
            # As dict keys True and 1 are equal, so compare their strings.
            values = tuple(str(act.values[path]) if path in act.values else None for path in fields)
            if (act.agent, *values) not in same:
                said = [
                    (path, value) for path, value in zip(fields, values, strict=True) if value is not None
                ]
                own = [("agent", act.agent)] if act.agent else []
                keys = [(key,) for key in (*own, *said)] + [(agent, key) for agent in own for key in said]
                same[act.agent, *values] = tuple(known.setdefault(key, Group(key)) for key in keys)
            act.groups = same[act.agent, *values]


def _fields(acts: Sequence[Act]) -> list[str]:
    """Return the fields that split some acts into a few groups."""
    levels: dict[str, set[Any]] = defaultdict(set)
    number: Counter[str] = Counter()
    for act in acts:
        number.update(act.values.keys())
        for path, value in act.values.items():
            if len(levels[path]) <= MAX_LEVELS and isinstance(value, str | int):
                levels[path].add(value)
    return [
        path
        for path, values in levels.items()
        if 2 <= len(values) <= MAX_LEVELS and number[path] >= 0.5 * len(acts)
    ][:MAX_FIELDS]


def _name(kind: str, extra: Mapping[str, Any], message: str, values: Mapping[str, Any]) -> str:
    """Return the name of an event's class; a state change is named after the fields that it changes."""
    if kind == "agent_message":
        return "received" if str(extra.get("direction", "")).startswith("rec") else "sent"
    if kind == "state_change":
        return _changed(values)
    for key in (*NAMES, NAMED_BY.get(kind, "")):
        name = extra.get(key)
        if isinstance(name, str):
            return name
    return _NUMBER.sub("#", message)[:MAX_TEXT] if kind in {"log", "error"} else ""


def _changed(values: Mapping[str, Any]) -> str:
    return ",".join(
        sorted(path for path in values if path.startswith("new_state.") and not path.endswith("@"))[:6]
    )


def _values(
    kind: str, extra: Mapping[str, Any], state: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    found: dict[str, Any] = {}
    not_values = "duration_ms", NAMED_BY.get(kind)
    for key, value in extra.items():
        # The path of an artifact says where the recorder stored it.
        if key not in ENVELOPE and key not in not_values and not (key == "path" and "ref" in extra):
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


def _keep_changes(
    values: dict[str, Any], before: dict[str, Any], known: dict[str, tuple[Any, bool]], kind: str
) -> None:
    """Drop what an event only repeats of its agent's state; a first change keeps what it replaced.

    A field is recorded as a whole when one of its members changes.

    Args:
        known: {path: (value, whether only a full state has it)} of the agent, kept up to date.
    """
    if kind == SNAPSHOT:
        for path, value in values.items():
            if path.startswith("fields."):
                known[f"state.{path[7:]}"] = value, True
        return
    for path in [path for path in values if path.startswith("state.")]:
        value, (old, is_first) = values[path], known.get(path, (_UNKNOWN, False))
        if old == value and type(old) is type(value):
            if path.count(".") > 1 or path.endswith(("#", "]")):
                del values[path]
            continue
        if is_first:
            before.setdefault(path, old)
        known[path] = value, False


_UNKNOWN: Final = object()


def _add_failed(acts: Sequence[Act]) -> None:
    """Note whether an act failed as one of its values, if some acts of its name fail and others do not."""
    ends: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for act in acts:
        ends[act.kind, act.name].add(act.failed)
    for act in acts:
        if len(ends[act.kind, act.name]) > 1 and act.kind not in {"error", "log"}:
            act.values["failed"] = act.failed
            act.values.pop("outcome", None)


def scalars(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the scalars inside a JSON value, each with its path."""
    if isinstance(value, dict):
        if len(value) > MAX_KEYS or depth >= MAX_DEPTH:
            yield f"{path}#", len(value)
            return
        is_object = "repr" in value and "class" in value
        for key, inner in value.items():
            if not (is_object and key in _OF_CONTENT):
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


_OF_CONTENT: Final = frozenset({"digest", "without_code", "made", "without_made", "size_bytes"})
"""Of an object without a codec: by what replays compare it, which says nothing about it to a reader."""


@lru_cache(maxsize=4096)
def leaf(path: str) -> str:
    """Return the last name of a path without identifier suffixes: args.order_id becomes order."""
    name = path.rsplit(".", 1)[-1].partition("[")[0]
    return _ID_ENDING.sub("", name).lower() or name


def _one_path(log: Log) -> None:
    """Unify paths whose keys name things: limit.acc-31 becomes limit.*, and the key is kept as limit.*@."""
    said: set[str] = set(log.roles)
    for act in log.acts:
        said.update(value for value in act.values.values() if isinstance(value, str) and len(value) > 1)
    patterns: dict[str, tuple[str, str] | None] = {}
    for path in dict.fromkeys(path for act in log.acts for path in act.values):
        parts = path.split(".")
        names = [part.partition("[")[0] for part in parts]
        at = next((n for n in range(len(parts) - 1, 0, -1) if names[n] in said), None)
        if at is None:
            patterns[path] = None
        else:
            general = f"*{parts[at][len(names[at]) :]}"
            patterns[path] = ".".join([*parts[:at], general, *parts[at + 1 :]]), names[at]
    kept = _patterns_of_one(log, patterns)
    if not kept:
        return
    for act in log.acts:
        moved = {
            path: found for path in act.values if (found := patterns[path]) is not None and found[0] in kept
        }
        if not moved:
            continue
        for path, (pattern, key) in moved.items():
            act.values[pattern] = act.values.pop(path)
            act.values[f"{pattern}@"] = key
            if path in act.before:
                act.before[pattern] = act.before.pop(path)
        if act.kind == "state_change":
            act.name = _changed(act.values)


def _patterns_of_one(log: Log, patterns: Mapping[str, tuple[str, str] | None]) -> set[str]:
    """Return the patterns with several keys of which no event has more than one."""
    keys: dict[str, set[str]] = defaultdict(set)
    several: set[str] = set()
    for act in log.acts:
        own: set[str] = set()
        for path in act.values:
            found = patterns[path]
            if found is not None:
                pattern, key = found
                # A full state has all keys of the fields that later events set.
                keys[pattern.replace("fields.", "state.", 1) if act.kind == "state" else pattern].add(key)
                if pattern in own:
                    several.add(pattern)
                own.add(pattern)
    return {pattern for pattern, found in keys.items() if len(found) >= MIN_KEYS} - several


MIN_KEYS: Final = 3
MAX_PARTS: Final = 4
_PARTS: Final = re.compile(r"[^A-Za-z0-9]+")


def _add_parts(log: Log) -> None:
    """Add the parts of composite names that take few values: bed 4-7 gets bed~0 = 4."""
    split: dict[tuple[Sort, str], dict[str, list[str]]] = defaultdict(dict)
    for act in log.acts:
        for path, value in act.values.items():
            if isinstance(value, str) and not _PARTS.fullmatch(value):
                found = split[act.sort, path]
                if value not in found:
                    found[value] = [part for part in _PARTS.split(value) if part]
    wanted = {key: (texts, places) for key, texts in split.items() if (places := _places(texts))}
    for act in log.acts:
        for path, value in list(act.values.items()):
            if isinstance(value, str) and (act.sort, path) in wanted:
                texts, places = wanted[act.sort, path]
                parts = texts[value]
                act.values.update({f"{path}~{n}": parts[n] for n in places if n < len(parts)})


def _places(texts: Mapping[str, list[str]]) -> list[int]:
    """Return the positions of parts with few distinct values, in names with many."""
    if len(texts) <= MAX_LEVELS:
        return []
    found = []
    for n in range(MAX_PARTS):
        counts = Counter(parts[n] for parts in texts.values() if len(parts) > max(1, n))
        if 2 <= len(counts) <= MAX_LEVELS and counts.total() >= 0.8 * len(texts):
            found.append(n)
    return found


MAX_NAME: Final = 40
MAX_SAME: Final = 8
MAX_TOKEN_SHARE: Final = 0.3
_LAST_NUMBER: Final = re.compile(r"(?:^|[^0-9])0*([0-9]{1,4})$")
RANDOM_ID: Final = re.compile(r"(?=.*[0-9][a-f])[0-9a-f-]{8,}$")
"""A random id in hexadecimal digits, such as that of a message; its last digits are no number of a thing."""


def _add_tokens(log: Log) -> None:
    """Fill `tokens` and `by_token`."""
    own = _own_tokens(log)
    spans = {act.span for act in log.acts if act.span}
    caused = {cause for act in log.acts for cause in act.causes}
    counts: Counter[Any] = Counter()
    found: list[dict[Any, None]] = []
    said: dict[tuple[str, Any], tuple[Any, ...]] = {}
    for act in log.acts:
        tokens: dict[Any, None] = dict.fromkeys(own.get(act.agent, ()))
        tokens.update(dict.fromkeys(("agent", other) for other in act.mentions))
        tokens.update(dict.fromkeys(("span", span) for span in (act.span, act.parent) if span in spans))
        tokens.update(dict.fromkeys(("event", cause) for cause in act.causes))
        if act.id in caused:
            tokens["event", act.id] = None
        for path, value in act.values.items():
            if type(value) is float:
                if not value.is_integer():
                    tokens["=", value] = None
            elif type(value) is not bool and value is not None:
                if (path, value) not in said:
                    said[path, value] = tuple(_value_tokens(path, value, log.roles))
                for token in said[path, value]:
                    tokens[token] = None
        counts.update(tokens.keys())
        found.append(tokens)
    most = MAX_TOKEN_SHARE * len(log.acts)
    for act, tokens in zip(log.acts, found, strict=True):
        act.tokens = tuple(
            token
            for token in tokens
            if 1 < counts[token] <= most
            and (not isinstance(token, tuple) or token[0] != "=" or counts[token] <= MAX_SAME)
        )
        for token in act.tokens:
            log.by_token[token].append(act)


def _own_tokens(log: Log) -> dict[str, list[Any]]:
    """Return {agent: tokens of its name}: the name, its number, and the part that is a value elsewhere."""
    known = {
        value
        for act in log.acts
        for value in act.values.values()
        if isinstance(value, str) and 2 < len(value) <= MAX_NAME and not value.isdigit()
    }
    own: dict[str, list[Any]] = {}
    for agent in {act.agent for act in log.acts if act.agent}:
        number = _LAST_NUMBER.search(agent)
        pieces = re.split(r"[_\-/:. ]", agent)
        ends = ["_".join(part) for n in range(1, len(pieces)) for part in (pieces[n:], pieces[:n])]
        own[agent] = [("agent", agent), *(end for end in ends if end in known)]
        if number:
            own[agent].append(("#", int(number[1])))
    return own


def _value_tokens(path: str, value: str | int, agents: Mapping[str, str]) -> Iterator[Any]:
    if isinstance(value, str):
        if value in agents:
            yield "agent", value
        elif value.isdecimal():
            yield "#", int(value)
        elif 0 < len(value) <= MAX_NAME and value.count(" ") < 3:
            yield value
            number = _LAST_NUMBER.search(value)
            if number and not RANDOM_ID.match(value):
                yield "#", int(number[1])
    elif not path.endswith("#"):
        yield leaf(path), value


_ID_ENDING: Final = re.compile(
    r"(?i:(?:(?:^|[_-])(?:id|no|nr|num|key)|[_-]?(?:number|name))$)|(?<=[a-z0-9])(?:I[dD]|N[oO]|N[rR]|Num|Key)$"
)
"""A short suffix needs a separator or a capital letter: "paid" and "monkey" are whole words."""
_SAYS_ID: Final = re.compile(r"(?:^|[_-])(?:id|no|nr|number|uuid|key)$|(?:^|[a-z])Id$")

MIN_THINGS: Final = 6
MAX_EACH: Final = 8
SHARE: Final = 0.1
"""Minimum share of distinct values per event for a path that identifies things.

Most of its values must also occur at most `MAX_EACH` times.
"""


def _name_things(log: Log) -> None:
    """Fill `things`, `named` and `mentions` of every act."""
    texts: dict[tuple[Sort, str], Counter[Any]] = defaultdict(Counter)
    for act in log.acts:
        for path, value in act.values.items():
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                texts[act.sort, path][value] += 1
    naming: dict[tuple[Sort, str], bool] = {}
    joined = _joined(texts)
    for (sort, path), counts in texts.items():
        number = counts.total()
        says = bool(_SAYS_ID.search(path.rsplit(".", 1)[-1]))
        whole = sum(1 for value in counts if isinstance(value, int)) > len(counts) / 2
        # One thing may recur often, but most must not.
        many = len(counts) >= MIN_THINGS and median(counts.values()) <= MAX_EACH
        spread = len(counts) >= SHARE * number
        if not many or path.endswith("#"):
            continue
        says = says or (sort, path) in joined
        naming[sort, path] = (says if whole else any(map(_has_digit, counts)) or says) and spread
    for act in log.acts:
        things: dict[Any, str] = {}
        mentions: dict[str, None] = {}
        for path, value in act.values.items():
            if isinstance(value, str):
                if value in log.roles and value != act.agent:
                    mentions[value] = None
                elif naming.get((act.sort, path)) and " " not in value:
                    things[value] = leaf(path)
            elif naming.get((act.sort, path)) and isinstance(value, int):
                things[leaf(path), value] = leaf(path)
        act.things, act.named, act.mentions = tuple(things), tuple(things.values()), tuple(mentions)


def _joined(texts: Mapping[tuple[Sort, str], Counter[Any]]) -> set[tuple[Sort, str]]:
    """Return the paths of integers, mostly distinct, that acts of several sorts have under one name."""
    by_name: dict[str, list[tuple[tuple[Sort, str], set[Any]]]] = defaultdict(list)
    for key, counts in texts.items():
        values = {value for value in counts if isinstance(value, int)}
        if len(values) >= MIN_JOINED and 2 * len(values) >= counts.total():
            by_name[leaf(key[1])].append((key, values))
    return {
        key
        for group in by_name.values()
        for key, values in group
        if any(2 * len(values & others) >= len(values) for other, others in group if other[0] != key[0])
    }


MIN_JOINED: Final = 20


def _has_digit(value: Any) -> bool:
    return isinstance(value, str) and any(map(str.isdigit, value)) and " " not in value
