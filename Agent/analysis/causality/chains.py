"""Causal chains: edges that were recorded, inferred by named rules, or tested by forks.

Chains cross agents. `event_links` loads the events, `graph` shows chains; `debug` uses both.

For numbers, the effect in forks is the difference of two means with Welch's interval (`welch`). For shares
it has Newcombe's interval, which combines two Wilson intervals: R. G. Newcombe, "Interval estimation for the
difference between independent proportions", Statistics in Medicine 17 (1998), method 10. A run that only
differs by chance from n others exceeds all of them with probability 1 / (n + 1) on either side: S. S. Wilks,
"Determination of sample sizes for setting tolerance limits", Annals of Mathematical Statistics 12 (1941).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from statistics import NormalDist
from typing import Any, Literal

from Agent.analysis.causality.event_links import (
    EventWindow,
    Links,
    Row,
    changed_fields,
    find_event,
    givers,
    name_of,
    no_event,
    order,
    rare_values,
    started_us,
    time_us,
)
from Agent.analysis.query.engine import Engine
from Agent.analysis.stats import fmean, welch
from Agent.errors import UsageError
from Agent.event.clock import format_timestamp
from Agent.event.kinds import Meaning, is_of_generators
from Agent.event.model import Event
from Agent.event.payloads import kinds_of
from Agent.render.formats import plural, short_number
from Agent.tree.read.reader import TreeReader

Verdict = Literal["SHOWN", "CONTRARY", "INCONCLUSIVE"]

LEVEL = 0.99
"""The confidence level: if each report tests 5 false causes, 1 in 20 reports shows a false one."""

MIN_OTHERS = 19
"""With 19 other seeds, a run is worse than all of them by chance with probability 1/20."""


LEAST_SHARE = 0.1
"""A cause that explains a smaller share of the complaint is not shown."""
_NO_NUMBER = "the quantity of the complaint is not a number in the forks"


@dataclass(frozen=True, slots=True)
class CauseTest:
    """The result of testing one cause."""

    verdict: Verdict
    """SHOWN: the complaint is worse with the cause; CONTRARY: it is milder; INCONCLUSIVE: neither."""
    change: str
    """What was changed in the forks without the cause, in words."""
    with_it: float | None = None
    """The mean of the measured quantity with the cause."""
    without_it: float | None = None
    effect: float | None = None
    """`with_it` less `without_it`."""
    low: float | None = None
    high: float | None = None
    level: float | None = None
    """The confidence level of the interval from `low` to `high`."""
    forks: int = 0
    """The number of forks, with and without the cause together."""
    method: str = ""
    reason: str | None = None
    """Why the verdict is not SHOWN."""
    expected: float | None = None
    """What the quantity would be if the run went on as before the cause; None if that is unknown."""

    @property
    def complaint(self) -> float | None:
        """How far the quantity with the cause is from the expected one; None if that is unknown."""
        return None if self.expected is None or self.with_it is None else self.with_it - self.expected

    @property
    def share(self) -> float | None:
        """The share of the complaint that the cause explains, 0 to 1; None if the complaint has no size."""
        if self.effect is None or not self.complaint:
            return None
        return min(max(0.0, self.effect / self.complaint), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"share": self.share}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> CauseTest:
        """The result whose `to_dict` this is."""
        return cls(**{name: plain[name] for name in cls.__slots__})

    def __str__(self) -> str:
        if self.effect is None:
            return f"INCONCLUSIVE: {self.reason}"
        assert self.with_it is not None and self.without_it is not None  # noqa: S101 - they come together
        numbers = (
            f"{short_number(self.with_it)} with it, {short_number(self.without_it)} without; effect "
            f"{self.effect:+.3g}"
        )
        if self.low is not None and self.high is not None and self.low != self.high:
            numbers += f" ({self.low:+.3g} to {self.high:+.3g})"
        if self.share and self.complaint:
            size = abs(self.complaint)
            numbers += (
                f", explains {short_number(self.share * size)} of {short_number(size)} ({self.share:.0%}),"
            )
        numbers += f" in {plural(self.forks, 'fork')}, {self.method}"
        ending = "" if self.reason is None else f"; {self.reason}"
        return f"{self.verdict}: {self.change}: {numbers}{ending}"


def judged(
    intervention: str,
    with_it: Sequence[Any],
    without_it: Sequence[Any],
    worse: int,
    expected: float | None = None,
) -> CauseTest:
    """Judge a cause from forks with it and forks without it.

    Args:
        intervention: what was changed in the forks without the cause.
        with_it: numbers, or booleans if the complaint is a condition.
        without_it: the same for the forks without the cause.
        worse: 1 if a larger value is worse, -1 if a smaller one is, 0 if unknown.
        expected: the quantity if the run had gone on as before; a cause has to explain a share of at least
            `LEAST_SHARE` of the difference from it. Ignored if the quantity is not worse than that.
    """
    values = [*with_it, *without_it]
    undecided = CauseTest("INCONCLUSIVE", intervention)
    if not all(isinstance(value, (bool, int, float)) and math.isfinite(value) for value in values):
        return replace(undecided, reason=_NO_NUMBER)
    if len(with_it) < 1 or len(without_it) < 1:
        return replace(undecided, reason="nothing was compared")
    is_share = all(isinstance(value, bool) for value in values)
    first, second = [float(value) for value in with_it], [float(value) for value in without_it]
    mean_1, mean_2 = fmean(first), fmean(second)
    effect = mean_1 - mean_2
    if len({*first}) == 1 and len({*second}) == 1:
        low, high, method = effect, effect, "the same under every seed"
    elif len(first) < 2 or len(second) < 2:
        return replace(undecided, reason="randomness matters, and there is only one fork of each")
    elif is_share:
        low, high = newcombe(sum(first), len(first), sum(second), len(second))
        method = f"Newcombe's interval at {LEVEL:.0%}"
    else:
        interval = welch(second, first, LEVEL)
        assert interval.low is not None and interval.high is not None  # noqa: S101 - there are two of each
        low, high, method = interval.low, interval.high, f"Welch's interval at {LEVEL:.0%}"
    verdict, reason = _verdict(low, high, effect, worse)
    forks = len(first) + len(second)
    if expected is not None and (mean_1 - expected) * worse < 0:
        expected = None
    test = CauseTest(
        verdict, intervention, mean_1, mean_2, effect, low, high, LEVEL, forks, method, reason, expected
    )
    if verdict == "SHOWN" and test.share is not None and test.share < LEAST_SHARE:
        return replace(test, verdict="INCONCLUSIVE", reason="it explains too little of the complaint")
    return test


def _verdict(low: float, high: float, effect: float, worse: int) -> tuple[Verdict, str | None]:
    if low <= 0.0 <= high:
        if low == high:
            return "INCONCLUSIVE", "the same happens without it"
        return "INCONCLUSIVE", "the interval contains zero"
    if worse and effect * worse < 0:
        return "CONTRARY", "the complaint is milder with it"
    return "SHOWN", None


def judged_chance(intervention: str, recorded: Any, others: Sequence[Any], worse: int) -> CauseTest:
    """Test whether a run lies outside the range of runs with other seeds."""
    values = [recorded, *others]
    if not others or not all(isinstance(value, (bool, int, float)) for value in values):
        return CauseTest("INCONCLUSIVE", intervention, reason=_NO_NUMBER)
    numbers = [float(value) for value in others]
    own = float(recorded)
    mean = fmean(numbers)
    low, high = own - max(numbers), own - min(numbers)
    share = 1 - 1 / (len(numbers) + 1)
    method = "from the nearest to the farthest of other seeds"
    test = CauseTest(
        "INCONCLUSIVE", intervention, own, mean, own - mean, low, high, share, len(values), method
    )
    if len(numbers) < MIN_OTHERS:
        return replace(test, reason=f"{len(numbers)} other seeds are too few; {MIN_OTHERS} are required")
    if low <= 0.0 <= high:
        if not worse:
            ends = f"{short_number(min(numbers))} to {short_number(max(numbers))}"
            return replace(test, reason=f"{short_number(own)} is within what other seeds do, {ends}")
        as_bad = sum((value - own) * worse >= 0 for value in numbers)
        return replace(test, reason=f"{as_bad} of {len(numbers)} other seeds do as badly")
    verdict, reason = _verdict(low, high, own - mean, worse)
    return replace(test, verdict=verdict, reason=reason)


def newcombe(hits_1: float, n1: int, hits_2: float, n2: int, level: float = LEVEL) -> tuple[float, float]:
    """Newcombe's interval of the difference of two shares, first less second."""
    share_1, share_2 = hits_1 / n1, hits_2 / n2
    low_1, high_1 = wilson(hits_1, n1, level)
    low_2, high_2 = wilson(hits_2, n2, level)
    difference = share_1 - share_2
    return (
        difference - math.hypot(share_1 - low_1, high_2 - share_2),
        difference + math.hypot(high_1 - share_1, share_2 - low_2),
    )


def wilson(hits: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. American
    Statistical Association 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


RECORDED = "recorded"
INFERRED = "inferred"
TESTED = "tested"
"""The effect was shown by forks."""

MAX_HOPS = 8
MAX_INFERRED_HOPS = 3
"""A chain contains at most this many inferred edges."""
MAX_CAUSES = 100
_MAX_PASSED = 8
_MAX_SHOWN = 3
_LOOK_AHEAD = 200
_LOOK_BEHIND = 2_000
"""The number of earlier events of the agent that the rules search."""

_UPDATES = kinds_of(Meaning.UPDATE)
_ACTS = kinds_of(Meaning.ACT)

Forward = Callable[[list[Row]], list[Row]]
"""Returns the events of other agents that the recording links to some events."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One event led to another; `basis` is recorded, inferred or tested, `rule` names the rule."""

    cause_id: str
    effect_id: str
    basis: str
    rule: str
    reason: str
    test: CauseTest | None = None
    """The result of forks without the cause, if there were any."""

    def to_dict(self) -> dict[str, Any]:
        """The edge as a plain dict; without `test` if it was not tested."""
        plain = asdict(replace(self, test=None))
        del plain["test"]
        return plain if self.test is None else plain | {"test": self.test.to_dict()}


def is_failure(row: Row) -> bool:
    """Whether the event is an error, or a span that ended with one."""
    extra = row["extra"]
    if row["event_type"] == "error" or row["level"] in {"ERROR", "CRITICAL"}:
        return True
    return extra.get("outcome") == "error" or extra.get("error_id") is not None


def changes_state(row: Row) -> bool:
    """Whether the event records a change of its agent's state."""
    if row["event_type"] == "state_change":
        return not is_of_generators(row["extra"])
    return bool(changed_fields(row))


def direct_causes(row: Row, window: EventWindow) -> Iterator[tuple[Row, Edge]]:
    """Yield the direct causes of an event with their edges, recorded ones first."""
    seen = {row["id"]}
    for basis, links in ((RECORDED, _recorded(row, window)), (INFERRED, _inferred(row, window))):
        for cause, rule, reason in links:
            if cause["id"] not in seen:
                seen.add(cause["id"])
                yield cause, Edge(cause["id"], row["id"], basis, rule, reason)


_Link = tuple[Row, str, str]


def _recorded(row: Row, window: EventWindow) -> Iterator[_Link]:
    extra = row["extra"]
    error = window.by_id.get(extra.get("error_id", ""))
    if error is not None:
        yield error, "error", f"it ended with the error {_described(error)}"
    message_id = extra.get("message_id")
    if row["event_type"] == "agent_message" and message_id is not None:
        sent = window.sent.get(str(message_id))
        if sent is not None:
            yield sent, "message", f"it is the message that {_sender(sent)} sent"
    for cause_id in row["causes"]:
        if cause_id in window.by_id:
            yield window.by_id[cause_id], "cause", f"the program recorded {cause_id} as a cause of it"
    # A span is written at its end, so failures and messages inside it can cause its outcome or change.
    if row["span_id"] and (is_failure(row) or changes_state(row)):
        for inner in reversed(window.inside[row["span_id"]]):
            if is_failure(inner):
                yield inner, "span", f"{_described(inner)} happened inside it"
            elif inner["event_type"] == "agent_message" and inner is not window.sent.get(
                str(inner["extra"].get("message_id"))
            ):
                yield inner, "span", f"{_described(inner)} arrived inside it"
    outer = window.by_span.get(row["parent_span_id"] or "")
    if outer is not None and outer["id"] != row["id"]:
        yield outer, "span", f"it happened inside {_described(outer)}"


def _described(row: Row) -> str:
    """An event in words: its message, or its kind and name, such as step 'plan' or tool call 'search'.

    A run has its agent's name, or else its id.
    """
    if row["message"]:
        return repr(row["message"])
    kind = row["event_type"]
    name = row["agent_id"] or row.get("run_id") if kind.startswith("run.") else name_of(row)
    words = kind.removesuffix(".finished").replace(".", " ").replace("_", " ")
    return words if name in {None, kind} else f"{words} {name!r}"


def _sender(row: Row) -> str:
    return str(row["extra"].get("sender") or "an unknown sender")


def _inferred(row: Row, window: EventWindow) -> Iterator[_Link]:
    """Rules for unrecorded links; each takes the same agent's nearest earlier event of some kind."""
    earlier = window.before(row, started_us(row), _LOOK_BEHIND)
    kind = row["event_type"]
    sorts = {"act": kind in _ACTS, "failure": is_failure(row), "update": kind in _UPDATES}
    for of, is_cause, rule, reason in _RULES:
        cause = next(filter(is_cause, earlier), None) if any(sorts[sort] for sort in of) else None
        if cause is not None:
            names = ", ".join(list(changed_fields(cause))[:4]) or "its state"
            sender, message = _sender(cause), cause["message"] or _described(cause)
            text = reason.format(agent=row["agent_id"], names=names, sender=sender, message=message)
            yield cause, rule, text


def _has_arrived(row: Row) -> bool:
    return row["event_type"] == "agent_message" and str(row["extra"].get("direction", "")).startswith("rec")


_RULES: tuple[tuple[tuple[str, ...], Callable[[Row], bool], str, str], ...] = (
    (("act", "failure"), changes_state, "state_before", "the last change of {agent} before it set {names}"),
    (("act",), lambda row: row["event_type"] in _UPDATES, "learning_before_action",
     "the last learning update before it"),
    (("act",), lambda row: row["event_type"] == "strategy_update", "strategy_before_action",
     "the last strategy update before it"),
    (("act",), _has_arrived, "message_before_decision", "the last message before it came from {sender}"),
    (("act", "failure", "update"), is_failure, "error_before",
     "the last failure of {agent} before it: {message}"),
)  # fmt: skip
"""The rules in their order: for which sorts of events, what the cause is, the rule's name, and the reason."""


def passed_value(row: Row, links: Links) -> Iterator[tuple[Row, Edge]]:
    """Yield the event that has most of the rare values of an event's arguments as result or new state.

    It is the newest of these. Nothing is yielded for an event inside an action, which gave it its arguments.
    """
    outer: Row | None = row
    for _ in range(MAX_HOPS):  # spans of a damaged session may enclose each other
        outer = None if outer is None else links.by_span.get(outer["parent_span_id"] or "")
        if outer is not None and outer["event_type"] == "agent_action":
            return
    values = rare_values(row["extra"].get("args"))[:_MAX_PASSED]
    found = [each for each in givers(links, row, values) if each[0].row["id"] != row["id"]] if values else []
    if found:
        given = max(found, key=len)
        text = ", ".join(f"{each.value!r} as {each.path}" for each in given[:_MAX_SHOWN])
        cause = given[0].row
        reason = f"the newest result or state before it that has values of its arguments: {text}"
        yield cause, Edge(cause["id"], row["id"], INFERRED, "passed_value", reason)


def chain(
    row: Row,
    window: EventWindow,
    *,
    since_us: int | None = None,
    more: Callable[[Row], Iterable[tuple[Row, Edge]]] = lambda _: (),
) -> list[dict[str, Any]]:
    """Follow the causes of an event, their causes, and so on: nearest first, recorded before inferred.

    Args:
        row: the event.
        window: the events to search.
        since_us: ignore causes before this time.
        more: returns further inferred causes of the event itself; theirs are not followed, which would take
            more queries.

    Returns:
        Event dicts with `started_at` (`timestamp` is the end of an action or a metric), `edge` (cause_id,
        effect_id, basis, rule, reason), `hops` (1 for a direct cause) and `inferred_hops` (the number of
        inferred edges on the path).
    """
    at = time_us(row)
    last: set[str] = set()

    def causes(front: _Front, known: Container[str]) -> Iterator[_Step]:
        front = [pair for pair in front if pair[0]["id"] not in last]
        window.prepare([effect for effect, _ in front], fails=_has_inside)
        for effect, guesses in front:
            direct = [*direct_causes(effect, window)]
            further = [*more(row)] if effect is row else []
            last.update({cause["id"] for cause, _ in further} - {cause["id"] for cause, _ in direct})
            for cause, edge in sorted([*further, *direct], key=lambda pair: pair[1].basis == INFERRED):
                inferred = guesses + (edge.basis == INFERRED)
                # Skip a span that began after the event, unless it encloses the effect: an enclosing span
                # began earlier, even if a delay at its end makes its computed start look later.
                is_around = cause["span_id"] and cause["span_id"] == effect["parent_span_id"]
                is_later = started_us(cause) > at and not is_around
                is_too_old = since_us is not None and time_us(cause) < since_us
                if not (cause["id"] in known or is_later or is_too_old or inferred > MAX_INFERRED_HOPS):
                    yield cause, edge, inferred

    return _followed(row, causes)


_Front = list[tuple[Row, int]]
"""Events, each with the number of inferred edges on its path."""
_Step = tuple[Row, Edge, int]


def _followed(row: Row, further: Callable[[_Front, Container[str]], Iterator[_Step]]) -> list[dict[str, Any]]:
    """Follow links from an event, nearest first; `further` yields those from some events to unknown ones."""
    linked: dict[str, dict[str, Any]] = {row["id"]: {}}
    front: _Front = [(row, 0)]
    for hops in range(1, MAX_HOPS + 1):
        reached: _Front = []
        for found, edge, inferred in further(front, linked):
            linked[found["id"]] = found | {
                "started_at": format_timestamp(started_us(found)),
                "edge": edge.to_dict(),
                "hops": hops,
                "inferred_hops": inferred,
            }
            reached.append((found, inferred))
            if len(linked) > MAX_CAUSES:
                reached = []
                break
        front = reached
        if not front:
            break
    del linked[row["id"]]
    at = time_us(row)
    return sorted(
        linked.values(),
        key=lambda cause: (
            cause["hops"],
            cause["edge"]["basis"] == INFERRED,
            abs(at - time_us(cause)),
            cause["id"],
        ),
    )


def _has_inside(row: Row) -> bool:
    return is_failure(row) or changes_state(row)


def effects(row: Row, window: EventWindow, *, until_us: int, forward: Forward) -> list[dict[str, Any]]:
    """Follow the effects of an event, nearest first: events with it as a direct cause, and so on.

    Args:
        row: the event.
        window: the events to search.
        until_us: ignore effects after this time.
        forward: loads other agents' events linked to some events.

    Returns:
        Event dicts with `edge`, `hops` and `inferred_hops`, as from `chain`.
    """

    def later(front: _Front, known: Container[str]) -> Iterator[_Step]:
        causes = [cause for cause, _ in front]
        window.prepare(causes, fails=_has_inside)
        others = forward(causes)
        window.prepare(others, fails=_has_inside)
        for cause, guesses in front:
            for effect in [*islice(window.after(cause), _LOOK_AHEAD), *others]:
                if effect["id"] in known or time_us(effect) > until_us:
                    continue
                edges = (edge for each, edge in direct_causes(effect, window) if each["id"] == cause["id"])
                edge = next(edges, None)
                inferred = guesses + (edge is not None and edge.basis == INFERRED)
                if edge is not None and inferred <= 1 and order(effect) >= order(cause):
                    yield effect, edge, inferred

    return _followed(row, later)


def event_asked(
    reader: TreeReader, engine: Engine, event: str | Row | Event, lookback_seconds: float
) -> tuple[Row, int, int]:
    """Load an event given as id, dict or Event; return it, its time, and how many microseconds to look back.

    Raises:
        EventNotFound: the session does not have this event.
        UsageError: `event` is not an event, or the seconds are negative.
    """
    event_id = event.id if isinstance(event, Event) else event.get("id") if isinstance(event, dict) else event
    if not isinstance(event_id, str):
        raise UsageError("no event given", remedy="give an event id, or an event dict that has one")
    checked_lookback_us(lookback_seconds, 0)
    row = find_event(reader, engine, event_id)
    if row is None:
        raise no_event(event_id)
    at = time_us(row)
    return row, at, checked_lookback_us(lookback_seconds, at)


def checked_lookback_us(lookback_seconds: float, at_us: int) -> int:
    """The seconds as microseconds, at most `at_us`; UsageError if they are negative."""
    if not lookback_seconds >= 0:
        raise UsageError(
            f"cannot look back {lookback_seconds} seconds", remedy="give a number of seconds, 0 or more"
        )
    return int(min(lookback_seconds * 1_000_000, at_us))


def causality_chain(
    reader: TreeReader, engine: Engine, event: str | Row | Event, lookback_seconds: float = 60
) -> list[dict[str, Any]]:
    """Find what led to an event in the seconds before it, nearest cause first.

    Args:
        reader: of the session.
        engine: over the session; queried only for events that are not in the agents' files.
        event: an event id, an event dict (from `get_errors`, a journey, ...) or an Event.
        lookback_seconds: how far back to look for causes, recorded ones too.

    Returns:
        As from `chain`; [] if nothing in the recording led to it.

    Raises:
        EventNotFound: the session does not have this event.
        UsageError: `event` is not an event, or the seconds are negative.
    """
    row, at, span = event_asked(reader, engine, event, lookback_seconds)
    return with_passed_value(row, Links(reader, engine, at - span, at))


def with_passed_value(row: Row, links: Links) -> list[dict[str, Any]]:
    """The causes of an event in the range of its links, as `chain`, with the one of `passed_value`."""
    return chain(row, links, since_us=links.since_us, more=partial(passed_value, links=links))
