"""Put events, and what is unusual about them, into plain words: who, what, when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import RANDOM_ID, TICK, Act, Log, Sort, is_number
from Agent.analysis.debug.root_causes.baseline import UNLIKE
from Agent.analysis.debug.root_causes.scan import Beside, Finding, Recurring
from Agent.event.clock import format_timestamp
from Agent.event.kinds import SNAPSHOT
from Agent.event.payloads import KINDS
from Agent.render.formats import plural, short_number

__all__ = ["Wording", "moment", "short"]

MAX_VALUES: Final = 3
_MAX_TEXT: Final = 48
_MAX_CODE: Final = 16
_LOCATION: Final = re.compile(
    r"\b(?:new_state|state|args|action_data|decision_data|metadata|body|metrics|result|observation)\.(?=\w)"
)
"""Prefixes that locate a field inside an event; they mean nothing to a reader."""
_PART: Final = re.compile(r"~([0-9]+)$")
_PLUMBING: Final = frozenset({"message_id", "sender", "recipient", "direction", "thread_id", "content_type"})
"""Fields of a message that its description has said already, or that identify it for programs only."""
_NEAR: Final = 8
"""The error of a failed call is looked for among this many events before the call."""
_SAID_ANYWAY: Final = frozenset({"name", "failed"})
"""Values that are part of the words for an event."""


class Wording:
    """Words for the events of one session."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._telling: dict[Sort, frozenset[str]] = {}
        self._ids = {act.id for act in log.acts}

    def told(self, act: Act, finding: Finding | None, *, whose: str = "") -> str:
        """Return who, what and when: what is unusual about an event, otherwise what it did.

        Args:
            whose: the agent that the sentence has named already.
        """
        if finding is not None and any(each.place == act.place for each in finding.acts[1:]):
            finding = _at_later(finding, act)
        if finding is None or finding.rule == "about it":
            return f"{_prefix(act.agent, act, whose)}{self.act(act)} at {moment(act)}"
        return f"{self.who(finding, whose)}{self.finding(finding)}"

    def who(self, finding: Finding, whose: str = "") -> str:
        """Return the beginning of a sentence about a finding: its agent."""
        return _prefix(dict(finding.group).get("agent") or finding.first.agent, finding.first, whose)

    def act(self, act: Act) -> str:
        """Return what an event did, with the values that distinguish it from others of its sort."""
        moves = [
            f"{_field(path)} from {short(act.before[path])} to {short(value)}"
            for path, value in act.values.items()
            if path in act.before and act.before[path] != value and not _is_opaque(act, value)
        ]
        if act.kind == "state_change" and act.before and not moves and not act.failed:
            return f"left {_noun(act.name).removeprefix('change of ')} unchanged"
        if moves:
            return f"set {_and(moves[:2])}" + (f" in {_name(act)}" if _is_called(act) else "")
        if act.kind == "error" and act.message:  # its fields lack the class of the error
            name = _verb(act).removeprefix("failed with ")
            where = f" in {name}" if name not in act.message else ""
            return f"failed{where} with {short(act.message)}"
        said = dict.fromkeys(holds(path, act.values[path]) for path in self._worth_saying(act))
        told = f"{_verb(act)} ({', '.join(said)})" if said else _verb(act)
        return f"{told}, which failed{self._with_error(act)}" if act.failed and _is_called(act) else told

    def _with_error(self, act: Act) -> str:
        """Return the error of a failed call, if it was recorded, which happens before the call itself is."""
        inside = self.log.acts[max(0, act.place - _NEAR) : act.place]
        errors = [each for each in inside if each.kind == "error" and act.span in {each.span, each.parent}]
        return f" with {short(errors[-1].message)}" if act.span and errors else ""

    def _worth_saying(self, act: Act) -> list[str]:
        """Return the fields of an event to name: those that name things first, then those that vary."""
        if act.sort not in self._telling:
            values: dict[str, set[Any]] = {}
            untold: set[str] = set()
            alike = self.log.by_sort[act.sort]
            for each in alike:
                for path, value in each.values.items():
                    values.setdefault(path, set()).add(value)
                    if value != each.tick:
                        untold.add(path)  # else it only repeats the tick
            self._telling[act.sort] = frozenset(
                path for path in untold if len(values[path]) > 1 or len(alike) == 1
            )
        telling = self._telling[act.sort]
        paths = [
            path
            for path, value in act.values.items()
            if path in telling
            and path.rsplit(".", 1)[-1] not in _PLUMBING
            and path not in _SAID_ANYWAY
            and not path.endswith(("#", "@"))
            and "~" not in path
            and value != act.agent
            and value not in self._ids
            and not _is_opaque(act, value)
        ]
        paths.sort(key=lambda path: act.values[path] not in act.things)
        # Of a list, and of things of one kind, one is enough.
        return [*{_field(path): path for path in reversed(paths)}.values()][::-1][:MAX_VALUES]

    def finding(self, finding: Finding) -> str:
        """Return what is unusual, and when."""
        since = moment(finding.first)
        number = len(finding.acts)
        times = f"{number} times from {since} on" if number > 1 else f"at {since}"
        if finding.rule == "rate changes":
            return _rate(finding, since)
        if finding.rule == "fields differ":
            # A failed call has no result; saying so explains nothing.
            return (
                f"{self.act(finding.first)} at {since}" if finding.first.failed else _fields(finding, since)
            )
        if finding.rule == "order never seen":
            before, after, _ = finding.found
            about = finding.about.removeprefix("events about one ")
            return (
                f"{_noun(after)} directly follows {_noun(before)} about the same {about} for the first time "
                f"at {since}"
            )
        if finding.rule == UNLIKE and finding.usual is None:
            return f"{_noun_of(finding.first.sort)} at {since}, which no baseline has"
        if finding.beside is not None:
            return f"{self._related(finding, finding.beside, since)}{_more(number)}"
        first, _, second = finding.about.replace(" before ", " -> ").partition(" -> ")
        ends = list(dict.fromkeys(map(short, finding.usual))) if isinstance(finding.usual, tuple) else []
        said = _SAID.get(finding.rule, "{about}{where}: {rule} {times}")
        if finding.local:
            said = _SAID_OF_ONE.get(finding.rule, said)
        if finding.rule == "rounded" and finding.group:
            said = _ROUND_IN_GROUP  # `of` counts the events of all groups
        if finding.rule == "value beyond range" and not finding.local and not finding.since:
            said = _ALONE
        return said.format(
            about=_about(finding), where=_where(finding), since=since, times=times, rule=finding.rule,
            usual=_listed(finding.usual), found=_listed(finding.found, ": "), of=finding.of,
            present=finding.of - number, first=_noun(first), second=_noun(second), range=" to ".join(ends),
            again=_thing(finding), same=self._same(finding),
        )  # fmt: skip

    def _same(self, finding: Finding) -> str:
        """Return the thing for which an event is missing, or a value of the event that it should follow."""
        if not isinstance(finding.found, Recurring):
            return ""
        act = finding.first
        if not RANDOM_ID.match(str(finding.found.thing)):
            return f" of {_thing(finding)}"
        return "".join(f" with {holds(path, act.values[path])}" for path in self._worth_saying(act)[:1])

    def _related(self, finding: Finding, beside: Beside, since: str) -> str:
        """Return which relation of two values an event breaks."""
        act = finding.first
        name, other = _field(beside.path), _field(beside.other)
        if name == other and beside.earlier is None:
            name, other = _whole(beside.path), _whole(beside.other)
        subject = _noun_of(act.sort)
        own, others = holds(beside.path, beside.value, name), holds(beside.other, beside.level, other)
        earlier = beside.earlier
        if finding.rule in {"amounts part", "not carried on"}:
            if beside.other == TICK and is_number(beside.usual):
                apart = (
                    f" {'+' if beside.usual > 0 else '-'} {short(abs(beside.usual))}" if beside.usual else ""
                )
                return f"{subject} has {own} at {since}; {_shares(beside)} it is the tick{apart}"
            if earlier is None:
                return f"{subject} has {own} and {others} at {since}; {_gap(beside)}"
            return f"{subject} has {own} at {since}, but {_which(beside)} has {others}; {_gap(beside)}"
        usual = f"about {short(beside.usual)}" if finding.rule == "far from usual" else short(beside.usual)
        if earlier is None:
            return f"{subject} with {others} has {own} at {since}, not {usual} as usual"
        return f"{subject} has {own} at {since}, not {usual} as usual after {_any(beside)} with {others}"


def _at_later(finding: Finding, act: Act) -> Finding | None:
    """Return a finding as one about a later event of it; None if its words hold for the first event only."""
    if finding.beside is not None or finding.rule in _OF_SERIES:
        return None
    return replace(finding, acts=[act])


def _gap(beside: Beside) -> str:
    """Return how far two values are usually apart."""
    usual = beside.usual
    if usual is True or usual == 0:
        return f"{_shares(beside)} they are equal"
    return f"{_shares(beside)} it is {short(abs(usual))} {'more' if usual > 0 else 'less'}"


def _shares(beside: Beside) -> str:
    return "in {} of {} events".format(*beside.shares)


def _which(beside: Beside) -> str:
    """Return the earlier event of a relation, and what links it."""
    noun = _noun_of(beside.earlier or ("", "event", ""))
    ends = {"agent": " before it", "span": " in the same call", "event": " recorded as its cause"}
    return f"the last {noun}{ends.get(beside.link, f' of the same {beside.link}')}"


def _any(beside: Beside) -> str:
    """Return an earlier event like that of a relation, and what would link it."""
    noun = _noun_of(beside.earlier or ("", "event", ""))
    ends = {"agent": "", "span": " in the same call", "event": " recorded as its cause"}
    return (
        f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}{ends.get(beside.link, f' of the same {beside.link}')}"
    )


def _more(number: int) -> str:
    return f" ({number - 1} more later)" if number > 1 else ""


def _prefix(agent: str, act: Act, whose: str) -> str:
    """Return an agent's name as the beginning of a sentence, with its role if the name is a bare number."""
    if not agent or agent == whose:
        return ""
    return f"{act.role} {agent}: " if agent.isdigit() and act.role != agent else f"{agent}: "


def _where(finding: Finding) -> str:
    group = [f"{_field(name)} {short(value)}" for name, value in finding.group if name != "agent"]
    return f" with {_and(group)}" if group else ""


def _about(finding: Finding) -> str:
    """Return what a finding is about: a field of a sort of events, or the events."""
    act = finding.first
    label = act.sort[2] or act.sort[1]
    path = finding.about.removeprefix(f"{label} ")
    if path == finding.about:
        return _noun(finding.about)
    field, noun = _field(path), _noun_of(act.sort)
    return field if field in noun.replace(",", "").split() else f"{field} of {noun}"


def _noun(name: str) -> str:
    """Return the name of a class of events, without prefixes of fields."""
    plain = " ".join(_LOCATION.sub("", name).split())
    if " " not in plain:  # else it is a text of the program's, whose commas and repetitions are its own
        *names, last = dict.fromkeys(plain.split(","))
        plain = f"{', '.join(names)} and {last}" if names else last
    for begin in ("sent", "received"):
        if plain.split(" ", 1)[0] == begin:
            return f"message {plain.removeprefix(begin).strip()}".rstrip()
    if name.startswith("new_state."):
        return f"change of {plain}"
    return plain or "event"


def _noun_of(sort: Sort) -> str:
    """Return a sort of events as a noun."""
    kind, name = sort[1], sort[2]
    if kind == "agent_message":
        return f"message {name.partition(' ')[2]}".rstrip() if name != "sent" else "message"
    if kind == "state_change":
        return _noun(name) if name else "change of state"
    return _noun(name) if name else _KINDS.get(kind, _spaced(kind))


def _is_opaque(act: Act, value: object) -> bool:
    """Whether a value is a long code that no other event holds, such as a digest."""
    return isinstance(value, str) and len(value) > _MAX_CODE and " " not in value and value not in act.tokens


def _is_called(act: Act) -> bool:
    return bool(act.name) and act.kind in {"agent_action", "tool.call", "model.call"}


def _name(act: Act) -> str:
    """Return the name of an event as it was recorded: without the pattern that unites it with others."""
    name = act.values.get("name")
    return act.name.replace("*", name) if isinstance(name, str) else act.name


def _verb(act: Act) -> str:
    """Return what an event does, without its values."""
    if act.kind == "agent_message":
        if act.values.get("recipient") and act.name.startswith("sent"):
            return f"sent {act.values['recipient']} a message"
        return f"received a message from {act.values.get('sender') or 'another agent'}"
    if act.kind == SNAPSHOT:
        return "its state was recorded"
    name = _LOCATION.sub("", _name(act)).replace(",", " and ")
    if not name:
        return _spaced(act.kind)
    return KINDS[act.kind].verb.format(name=name) if act.kind in KINDS else name


def _spaced(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")


_KINDS: Final = {"agent_action": "action", "state_change": "change of state"}


@lru_cache(maxsize=4096)
def _field(path: str) -> str:
    """Return the name of a field as a reader knows it: args.order.items# becomes items."""
    path = path.removesuffix("@").removesuffix("#")
    part = _PART.search(path)
    if part:
        return f"part {int(part[1]) + 1} of {_field(path[: part.start()])}"
    names = [name.partition("[")[0] for name in path.split(".")]
    while len(names) > 1 and names[-1] in {"*", ""}:
        names.pop()
    return names[-1].removeprefix("new_") if len(names) == 1 else names[-1]


def _whole(path: str) -> str:
    """Return the name of a field with the field that it is in, to tell it from another one of its name."""
    names = path.removesuffix("@").removesuffix("#").split(".")
    return f"{_field(path)} of {names[-2]}" if len(names) > 1 else _field(path)


def holds(path: str, value: Any, name: str = "") -> str:
    """Return that a field has a value."""
    name = name or _field(path)
    if path.endswith("#") and isinstance(value, int):
        return f"{name} of {plural(value, 'item')}"
    if path == "failed":
        return "a failure" if value else "no failure"
    return f"no {name}" if value is None else f"{name} {short(value)}"


def moment(act: Act) -> str:
    """Return when an event happened: its tick, otherwise the time of day."""
    return f"tick {act.tick}" if act.tick is not None else format_timestamp(act.us)[11:23]


def short(value: Any) -> str:
    """Return a value in few characters."""
    if isinstance(value, list | tuple):
        text = ", ".join(map(short, value))
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = short_number(value)
    else:
        text = " ".join(str(value).split())
        text = f'"{text}"' if " " in text else text
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _listed(value: Any, between: str = ", ") -> str:
    """Return some values, one after the other."""
    parts = dict.fromkeys(map(str, filter(None, value))) if isinstance(value, tuple) else (short(value),)
    return between.join(parts)


def _and(parts: Iterable[str]) -> str:
    return " and ".join(parts)


def _fields(finding: Finding, since: str) -> str:
    """Return which fields an event has, or lacks, beside the usual events of its class."""
    usual = set(finding.usual[0])
    more = [*dict.fromkeys(_field(path) for path in finding.found if path not in usual)]
    less = [*dict.fromkeys(map(_field, sorted(usual.difference(finding.found))))]
    told = [f"has {', '.join(more[:3])}"] * bool(more) + [f"lacks {', '.join(less[:3])}"] * bool(less)
    return f"{_noun_of(finding.first.sort)} {_and(told)} for the first time at {since}"


def _thing(finding: Finding) -> str:
    """Return the thing for which an event happens again."""
    if len(finding.acts) > 1 or not isinstance(finding.found, Recurring):
        return "the same thing"
    named, thing = finding.found
    return f"{_field(named)} {short(thing[1] if isinstance(thing, tuple) else thing)}"


def _rate(finding: Finding, since: str) -> str:
    before, after = short(finding.usual), short(finding.found)
    each = "tick" if finding.first.tick is not None else "step"
    about = f"{_noun(finding.about)}{_where(finding)}"
    if finding.found == 0:
        return f"no {about} from {since} on ({before} per {each} before)"
    return f"{about} went from {before} to {after} per {each} at {since}"


_MOVED: Final = "{about}{where} went from {usual} to {found} at {since}"
_ROUND_IN_GROUP: Final = "{about}{where} is round {found} times, first at {since}"
_ALONE: Final = "{about} is {found} at {since} (all others: {range})"
_OF_SERIES: Final = frozenset({"level shifts", "drifts", "duration shifts", "rate changes", "rounded"})
"""Rules about a series; their sentences describe where the series changes."""
_SAID: Final[Mapping[str, str]] = {
    "level shifts": _MOVED,
    "drifts": "{about}{where} drifts from {since} on, from {usual} to {found}",
    "duration shifts": "{about}{where} took {found} ms instead of {usual} ms from {since} on",
    UNLIKE: "{about} is {found} at {since}, as in no baseline (there: {usual})",
    "value beyond range": "{about} is {found} at {since} (earlier values: {range})",
    "new value": "{about} is {found} for the first time at {since} (before: {usual})",
    "new error": "an error that is new at {since}: {found}",
    "follow-up missing": "no {second} follows {first}{where}{same} {times} (it does in {present} of {of})",
    "precondition missing": (
        "no {first} comes before {second}{where}{same} {times} (it does in {present} of {of})"
    ),
    "left open": "{first} is not followed by {second} {found} times, first at {since}",
    "rounded": "{about}{where} is round {found} of {of} times, first at {since}",
    "fails": "{about}{where} fails {times}",
    "error comes up": "an error in {about}{where} {times}",
    "never done": "no {about}; its {of} peers have {usual} each",
    "empty": "{about}{where} is empty {times}",
    "happens again": "{about}{where} is repeated for {again} {times}",
}
"""Sentence templates for the findings of each rule."""
_SAID_OF_ONE: Final[Mapping[str, str]] = {
    "value beyond range": "{about} is {found} at {since} (eight in ten are {range})",
    "new value": "{about} is {found} at {since}, as it rarely is (mostly: {usual})",
}
"""The same for a single deviation near what the issue names, which need not be the first of its kind."""
