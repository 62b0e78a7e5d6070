"""Put events, and what is unusual about them, into plain words: who, what, when.

What is missing about things is counted again for that: of the acts that lack something, how many in the
session have it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import OUTCOMES, RANDOM_ID, TICK, Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.detectors.values import UNLIKE
from Agent.analysis.debug.root_causes.scan import Absence, Beside, Finding, KindOfAct, Recurring
from Agent.event.clock import format_timestamp
from Agent.event.kinds import SNAPSHOT
from Agent.event.payloads import KINDS
from Agent.render.formats import plural, short_number

Places = Mapping[Any, list[int]]
_FAILED: Final = "failed"


def plain(thing: Any) -> Any:
    """Return the value that names a thing."""
    return thing[1] if isinstance(thing, tuple) else thing


class Absences:
    """Which acts about the same things follow, or precede, others in one session."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: dict[KindOfAct, Places] = {}
        self._kept: dict[Hashable, dict[int, bool]] = {}

    def fails(self, step: KindOfAct) -> bool:
        """Whether acts of the sort of a step fail, too, although the step is of those that do not."""
        return not step.ended and any(act.failed for act in self._log.by_sort[step.sort])

    def places(self, step: KindOfAct) -> Places:
        """Return {thing: places of the acts of a step about it}."""
        if step not in self._found:
            found: dict[Any, list[int]] = defaultdict(list)
            for act in self._log.by_sort[step.sort]:
                if _is_of(act, step):
                    for value in _under(act, step.named):
                        found[value].append(act.place)
            self._found[step] = found
        return self._found[step]

    def kept(
        self, missing: Absence, group: Collection[tuple[str, str]], *, is_after: bool
    ) -> dict[int, bool]:
        """Return {place of an act of a group: whether it has what others lack, about all of its things}.

        Args:
            missing: what is missing.
            group: (field, value) pairs of the acts to count; empty for all.
            is_after: whether it is missing after these acts, not before.
        """
        key = missing, tuple(group), is_after
        if key not in self._kept:
            self._kept[key] = self._recounted(missing, group, is_after=is_after)
        return self._kept[key]

    def _recounted(
        self, missing: Absence, group: Collection[tuple[str, str]], *, is_after: bool
    ) -> dict[int, bool]:
        others = self.places(missing.other)
        kept: dict[int, bool] = {}
        for thing, own in self.places(missing.step).items():
            held = others.get(thing, [])
            for n, place in enumerate(own):
                if missing.is_of_repeated and not n:
                    continue
                again = missing.is_until_again
                if is_after:
                    end = own[n + 1] if again and n + 1 < len(own) else len(self._log.acts)
                    has = bisect_right(held, place) < bisect_left(held, end)
                else:
                    has = bisect_right(held, own[n - 1] if again and n else -1) < bisect_left(held, place)
                kept[place] = kept.get(place, True) and has
        if group:
            wanted = set(group)
            kept = {
                place: has
                for place, has in kept.items()
                if wanted <= {pair for each in self._log.acts[place].groups for pair in each.key}
            }
        return kept

    def comes_anyway(self, act: Act, thing: Any, other: KindOfAct, *, is_after: bool) -> bool:
        """Whether what an act lacks happens about the thing, but not before such an act recurs."""
        held = self.places(other).get(thing, [])
        return bool(held) and (held[-1] > act.place if is_after else held[0] < act.place)

    def comes_elsewhere(self, act: Act, thing: Any, other: KindOfAct, *, is_after: bool) -> bool:
        """Whether an act of the name that is missing has the thing, in another field or by another role."""
        return any(
            (act.place < each.place if is_after else each.place < act.place)
            for sort, acts in self._log.by_sort.items()
            if sort[1:] == other.sort[1:]
            for each in acts
            if _is_of(each, other) and thing in each.values.values()
        )

    @staticmethod
    def things(act: Act, step: KindOfAct) -> list[Any]:
        """Return the things that an act has in the field that names them."""
        return _under(act, step.named)


def _under(act: Act, named: str) -> list[Any]:
    found = (value for path, value in act.values.items() if leaf(path) == named and not path.endswith("#"))
    return [*dict.fromkeys(found)]


def _is_of(act: Act, step: KindOfAct) -> bool:
    if not step.ended or act.failed:
        return act.failed == (step.ended == _FAILED)
    return step.ended in {str(act.values[path]) for path in OUTCOMES if path in act.values}


MAX_VALUES: Final = 3
_MAX_TEXT: Final = 48
_MAX_CODE: Final = 16
_LOCATION: Final = re.compile(
    r"\b(?:new_state|state|args|action_data|decision_data|metadata|body|metrics|result|observation)\.(?=\w)"
)
"""Prefixes that locate a field inside an event; they mean nothing to a reader."""
_ITEM: Final = re.compile(r"\[[0-9]+\]")
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
        self._absences = Absences(log)
        self._ids = {act.id for act in log.acts}
        self._called = {_name(act) for act in log.acts if _is_called(act)}
        # The names of messages end in the role of the other agent.
        ends = {sort[2] for sort in log.by_sort if sort[1] == "agent_message" and " " in sort[2]}
        roles = sorted((each.split(" ", 2)[2] for each in ends), key=len, reverse=True)
        self._message = re.compile(
            rf"\b(messages? (?:sent to|received from) )({'|'.join(map(re.escape, roles))})(?![\w-])"
        )

    def sentence(self, act: Act, finding: Finding | None, *, whose: str = "") -> str:
        """Return who, what and when: what is unusual about an event, otherwise what it did.

        Args:
            whose: the agent that the sentence has named already.
        """
        if finding is not None and any(each.place == act.place for each in finding.acts[1:]):
            finding = _at_later(finding, act)
        did = f"{_prefix([act.agent], act, whose)}{self.act(act)} at {moment(act)}"
        if finding is None or finding.rule == "about it":
            return did
        # A series has no event of its own: the acts that stand for it are some of many.
        is_of_it = finding.first.place == act.place or finding.rule in _OF_SERIES
        said = f"{self.who(finding, whose if is_of_it else act.agent)}{self.finding(finding)}"
        return said if is_of_it else f"{did}; {said}"

    def who(self, finding: Finding, whose: str = "") -> str:
        """Return the beginning of a sentence about a finding: its agent."""
        of_group = dict(finding.group).get("agent")
        acts = finding.acts if finding.rule in _OF_ALL else finding.acts[:1]
        if finding.rule in _OF_SERIES:
            acts = [
                act
                for sort, own in self.log.by_sort.items()
                if f"{finding.about} ".startswith(f"{sort[2] or sort[1]} ")
                for act in own
            ]
            acts = acts if len({act.agent for act in acts}) == 1 else []
        agents = [of_group] if of_group else [*dict.fromkeys(act.agent for act in acts)]
        return _prefix(agents, finding.first, whose)

    def act(self, act: Act) -> str:
        """Return what an event did, with the values that distinguish it from others of its sort."""
        moves = [
            f"{'the length of ' if path.endswith('#') else ''}{_field(path)} "
            f"from {short(act.before[path])} to {short(value)}"
            for path, value in act.values.items()
            if path in act.before and act.before[path] != value and not _is_opaque(act, value)
        ]
        if act.kind == "state_change" and act.before and not moves and not act.failed:
            return f"left {_noun(act.name).removeprefix('change of ')} unchanged"
        if moves:
            return f"set {_and(moves[:2])}" + (f" in {_name(act)}" if _is_called(act) else "")
        if act.kind == "error" and act.message:  # its fields lack the class of the error
            name = _verb(act).removeprefix("failed with ")
            if name in act.message:
                return f"failed with {short(act.message)}"
            if name in self._called:
                return f"failed in {name} with {short(act.message)}"
            return f"logged {short(act.message)} with {name}"  # an error that was handled
        said = dict.fromkeys(_holds_of(act, path) for path in self._worth_saying(act))
        text = f"{_verb(act)} ({', '.join(said)})" if said else _verb(act)
        return f"{text}, which failed{self._with_error(act)}" if act.failed and _is_called(act) else text

    def _with_error(self, act: Act) -> str:
        """Return the error of a failed call, if it was recorded, which happens before the call itself is."""
        inside = self.log.acts[max(0, act.place - _NEAR) : act.place]
        errors = [each for each in inside if each.kind == "error" and act.span in {each.span, each.parent}]
        return f" with {short(errors[-1].message)}" if act.span and errors else ""

    def _worth_saying(self, act: Act) -> list[str]:
        """Return the fields of an event to name: those that name things first, then those that vary."""
        if act.sort not in self._telling:
            values: dict[str, set[Any]] = {}
            new_paths: set[str] = set()
            alike = self.log.by_sort[act.sort]
            for each in alike:
                for path, value in each.values.items():
                    values.setdefault(path, set()).add(value)
                    if value != each.tick:
                        new_paths.add(path)  # else it only repeats the tick
            self._telling[act.sort] = frozenset(
                path for path in new_paths if len(values[path]) > 1 or len(alike) == 1
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
        return [*{_ITEM.sub("", _field(path)): path for path in reversed(paths)}.values()][::-1][:MAX_VALUES]

    def finding(self, finding: Finding) -> str:
        """Return what is unusual, and when."""
        return self._message.sub(lambda found: found[1] + self._one_of(found[2]), self._found(finding))

    def _one_of(self, role: str) -> str:
        """Return an agent of a role in words: its name if there is only one."""
        agents = self.log.peers.get(role) or [role]
        if len(agents) == 1:
            return f"{role} {agents[0]}" if agents[0].isdigit() and role != agents[0] else agents[0]
        if role in self.log.roles:  # agents without a role have the name of the first that does the same
            return f"an agent such as {role}"
        return f"{'an' if role[:1] in 'aeiou' else 'a'} {role}"

    def _found(self, finding: Finding) -> str:
        since = moment(finding.first)
        number = len(finding.acts)
        times = _times(finding.acts)
        if finding.rule == "rate changes":
            return _rate(finding, since)
        if finding.rule == "fields differ":
            # A failed call has no result; saying so explains nothing.
            text = self.act(finding.first) if finding.first.failed else self._fields(finding)
            return f"{text} at {since}"
        if finding.rule == "order never seen":
            before, after, is_own = finding.found
            about = finding.about.removeprefix("events about one ")
            same = "" if about in _PLUMBING else f" about the same {_link(about)}"
            what = f"{_noun(before)} by {'the same' if is_own else 'another'} agent{same}"
            return f"{_noun(after)} directly follows {what} for the first time at {since}"
        if finding.rule == UNLIKE and finding.usual is None:
            return f"{_noun_of(finding.first.sort)} at {since}, which no baseline has"
        if finding.beside is not None:
            return f"{self._related(finding, finding.beside, since)}{_more(number)}"
        if finding.missing is not None:
            return self._missing(finding, finding.missing)
        first, _, second = finding.about.partition(" -> ")
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
            failed="failed in" if finding.first.name in self._called else "had the error",
            first=_noun(first), second=_noun(second), range=" to ".join(ends), again=_thing(finding),
            thing=_recurring(finding.found),
        )  # fmt: skip

    def _fields(self, finding: Finding) -> str:
        """Return which fields an event is the first to have, or to lack, of all of its sort."""
        act, usual = finding.first, set(finding.usual[0])
        earlier = [set(each.values) for each in self.log.by_sort[act.sort] if each.place < act.place]
        known, always = set().union(*earlier), set(usual).intersection(*earlier)
        more = [*dict.fromkeys(_field(path) for path in finding.found if path not in usual)]
        less = [*dict.fromkeys(map(_field, sorted(usual.difference(finding.found))))]
        new = [name for name in more if name not in {*map(_field, known)}]
        gone = [name for name in less if name in {*map(_field, always)}]
        changes = [f"has {', '.join(new[:3])}"] * bool(new) + [f"lacks {', '.join(gone[:3])}"] * bool(gone)
        if changes:
            return f"{_noun_of(act.sort)} {_and(changes)} for the first time"
        both = [f"with {', '.join(more[:3])}"] * bool(more) + [f"without {', '.join(less[:3])}"] * bool(less)
        return f"{_noun_of(act.sort)} has a combination of fields ({_and(both)}) for the first time"

    def is_true(self, finding: Finding) -> bool:
        """Whether a finding is worth saying.

        What seems to be missing is: a list may name it at a place that seldom names any. A relation that most
        events of the session do not have is none to its reader.
        """
        if finding.beside is not None:
            having, number = finding.beside.shares
            return 2 * having >= number
        if finding.missing is None:
            return True
        kept = self._absences.kept(finding.missing, (), is_after=finding.rule == "follow-up missing")
        return not all(kept.get(act.place, False) for act in finding.acts)

    def _missing(self, finding: Finding, missing: Absence) -> str:
        """Return what does not follow, or come before, some acts, and in how many of all it does."""
        step, other, act = missing.step, missing.other, finding.first
        is_after = finding.rule == "follow-up missing"
        noun, lacks, where = self._noun_of_step(step), self._noun_of_step(other), _where(finding)
        if other.sort[1] == "agent_message" and other.sort[0] != step.sort[0]:
            lacks += f" by {self._one_of(other.sort[0])}"
        one = isinstance(finding.found, Recurring)
        if one:
            things = [(act, plain(finding.found.thing))]
            # A random id tells a reader less than another value.
            is_random = RANDOM_ID.match(str(things[0][1])) is not None
            known = [_holds_of(act, path) for path in self._worth_saying(act)[:1]]
            for thing in known if is_random else [_thing(finding)]:
                if f" {thing}" not in where:  # the group may have said it
                    where += f" {'and' if where else 'with'} {thing}"
        else:
            things = [(each, thing) for each in finding.acts for thing in self._absences.things(each, step)]
            lacks += (
                f" of the same {_link(step.named)}"
                if step.named == other.named
                else f" with its {_link(step.named)} in {_link(other.named)}"
            )
        again = ""
        if missing.is_until_again and any(
            self._absences.comes_anyway(each, thing, other, is_after=is_after) for each, thing in things
        ):
            until = "before the next" if is_after else "since the last"
            again = f" {until} {noun} of the same {_link(step.named)}"
        elif one and self._absences.comes_elsewhere(*things[0], other, is_after=is_after):
            by = f" by {self._one_of(other.sort[0])}"
            lacks += by if other.sort[0] != step.sort[0] and by not in lacks else ""
            lacks += f" with {_link(other.named)} {short(things[0][1])}"
        group = [] if missing.is_until_again else finding.group
        shown = missing if again else missing._replace(is_until_again=False)
        kept = self._absences.kept(shown, group, is_after=is_after)
        lacking = [each for each in finding.acts if not kept.get(each.place, False)]
        times = _times(lacking or finding.acts)
        verb = "follows" if is_after else "comes before"
        all_of = " in all" if finding.group and not group else ""
        repeated = "a repeated " if missing.is_of_repeated else ""
        how_often = f"(it does in {sum(kept.values())} of {len(kept)}{all_of})"
        return f"no {lacks} {verb} {repeated}{noun}{where} {times}{again} {how_often}"

    def _noun_of_step(self, step: KindOfAct) -> str:
        """Return a step in the life of a thing as a noun, with how it ended."""
        noun = _noun_of(step.sort)
        if step.ended:
            return f"{noun} ({step.ended})"
        return f"successful {noun}" if self._absences.fails(step) else noun

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
                return f"{subject} has {own} at {since}; {_shares(beside)} {name} is the tick{apart}"
            if earlier is None:
                return f"{subject} has {own} and {others} at {since}; {_gap(beside)}"
            return f"{subject} has {own} at {since}, but {_which(beside)} has {others}; {_gap(beside)}"
        # What is usual is known from the whole session, so from later events, too.
        usual = f"it is {'about' if finding.rule == 'far from usual' else 'mostly'} {short(beside.usual)}"
        if (
            isinstance(beside.level, str)
            and beside.level != beside.usual
            and beside.level in str(beside.usual)
        ):
            usual = f"{name} contains {other}"
        if earlier is None:
            return f"{subject} with {others} has {own} at {since}; elsewhere {usual}"
        return f"{subject} has {own} at {since} after {_any(beside)} with {others}; elsewhere {usual} then"


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
    return "in {} of {} such events".format(*beside.shares)


def _which(beside: Beside) -> str:
    """Return the earlier event of a relation, and what links it."""
    return f"the last {_noun_of(beside.earlier or ('', 'event', ''))}{_linked(beside, ' before it')}"


def _any(beside: Beside) -> str:
    """Return an earlier event like that of a relation, and what would link it."""
    noun = _noun_of(beside.earlier or ("", "event", ""))
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}{_linked(beside)}"


def _linked(beside: Beside, of_agent: str = "") -> str:
    ends = {"agent": of_agent, "span": " in the same call", "event": " recorded as its cause"}
    # The noun for a message says its direction.
    return "" if beside.link in _PLUMBING else ends.get(beside.link, f" of the same {_link(beside.link)}")


def _times(acts: Sequence[Act]) -> str:
    """Return how often something happens, and when for the first time."""
    number = len({act.place for act in acts})
    return f"{number} times from {moment(acts[0])} on" if number > 1 else f"at {moment(acts[0])}"


def _more(number: int) -> str:
    return f" ({number - 1} more later)" if number > 1 else ""


def _prefix(agents: Iterable[str], act: Act, whose: str) -> str:
    """Return agents as the beginning of a sentence, with their role if a name is a bare number."""
    names = [f"{act.role} {each}" if each.isdigit() and act.role != each else each for each in agents if each]
    if not names or names == [whose]:
        return ""
    return f"{_and(names) if len(names) <= MAX_VALUES else plural(len(names), 'agent')}: "


def _where(finding: Finding) -> str:
    group = [
        holds(name, int(value) if name.endswith("#") else value)
        for name, value in finding.group
        if name != "agent"
    ]
    return f" with {_and(group)}" if group else ""


def _about(finding: Finding) -> str:
    """Return what a finding is about: a field of a sort of events, or the events."""
    sort = finding.first.sort
    label = sort[2] or sort[1]
    if finding.about == label:
        return _noun_of(sort)
    path = finding.about.removeprefix(f"{label} ")
    if path == finding.about:
        return _noun(finding.about)
    field, noun = _field(path), _noun_of(sort)
    if field in noun.replace(",", "").split():
        return field
    return f"{field} {'in' if _PART.search(path) else 'of'} {noun}"


def _noun(name: str) -> str:
    """Return the name of a class of events, without prefixes of fields."""
    if name.split(" ", 1)[0] in {"sent", "received"}:
        return f"message {name}"
    if " " in name:  # a text of the program's, in which a number stands for all
        return short(name.replace("#", "..."))
    *names, last = dict.fromkeys(_LOCATION.sub("", name).split(","))
    plain = f"{', '.join(names)} and {last}" if names else last
    if name.startswith("new_state."):
        return f"change of {plain}"
    return _KINDS.get(plain, plain) or "event"


def _noun_of(sort: Sort) -> str:
    """Return a sort of events as a noun."""
    kind, name = sort[1], sort[2]
    if kind == "agent_message":
        return _noun(name)
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
    name = _LOCATION.sub("", _name(act))
    if not name:
        return "changed state" if act.kind == "state_change" else _spaced(act.kind)
    if act.kind == "log":
        return f"logged {short(act.message, is_text=True)}"
    if act.kind == "state_change":
        name = _and(name.split(","))
    return KINDS[act.kind].verb.format(name=name) if act.kind in KINDS else name


def _spaced(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")


_KINDS: Final = {"agent_action": "action", "state_change": "change of state", SNAPSHOT: "recorded state"}


@lru_cache(maxsize=4096)
def _field(path: str) -> str:
    """Return the name of a field as a reader knows it: args.order.items# becomes items."""
    path = path.removesuffix("@").removesuffix("#").replace("[]", "").replace(".*", "")
    part = _PART.search(path)
    if part:
        return f"the {_ordinal(int(part[1]) + 1)} part of {_field(path[: part.start()])}"
    names = path.split(".")
    while len(names) > 1 and names[-1] in {"*", ""}:
        names.pop()
    # An item of a list is described with its index, and with the list that it is in.
    item = next((n for n, name in enumerate(names) if "[" in name), len(names) - 1)
    name = ".".join(names[item:]).removeprefix("new_")
    return "key" if name == "*" else name  # keys of a dict that name things


def _link(named: str) -> str:
    """Return the field by which events are about the same thing."""
    return _field(named).removeprefix("the ")


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}{ending}")


def _whole(path: str) -> str:
    """Return the name of a field with the field that it is in, to tell it from another one of its name."""
    names = path.removesuffix("@").removesuffix("#").split(".")
    return f"{_field(path)} of {names[-2]}" if len(names) > 1 and "[" not in path else _field(path)


def holds(path: str, value: Any, name: str = "") -> str:
    """Return that a field has a value."""
    name = name or _field(path)
    if _PART.search(path):
        return f"{short(value)} as {name}"
    if path.endswith("#") and isinstance(value, int):
        return f"{name} of {plural(value, 'item')}"
    if path == "failed":
        return "a failure" if value else "no failure"
    return f"no {name}" if value is None else f"{name} {short(value)}"


def _holds_of(act: Act, path: str) -> str:
    """Return that an event has the value of a field, and of an item of a list the whole list."""
    base = path.rpartition("[")[0]
    size = act.values.get(f"{base}#") if path.endswith("]") else None
    items = [act.values.get(f"{base}[{n}]") for n in range(size)] if isinstance(size, int) else [None]
    if None in items:
        return holds(path, act.values[path])
    return f"{_field(base)} [{', '.join(map(short, items))}]"


def moment(act: Act) -> str:
    """Return when an event happened: its tick, otherwise the time of day."""
    return f"tick {act.tick}" if act.tick is not None else format_timestamp(act.us)[11:23]


def short(value: Any, *, is_text: bool = False) -> str:
    """Return a value in few characters; a text as it is, in quotes."""
    is_quoted = False
    if isinstance(value, list | tuple):
        text = ", ".join(map(short, value))
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float):
        text = short_number(value)
    else:
        text = " ".join(str(value).splitlines())
        is_quoted = is_text or " " in text
    text = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."
    return f'"{text}"' if is_quoted else text


def _listed(value: Any, between: str = ", ") -> str:
    """Return some values, one after the other."""
    parts = dict.fromkeys(map(str, filter(None, value))) if isinstance(value, tuple) else (short(value),)
    return between.join(parts)


def _and(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _thing(finding: Finding) -> str:
    """Return the thing for which an event happens again."""
    if len(finding.acts) > 1 or not isinstance(finding.found, Recurring):
        return "the same thing"
    return _recurring(finding.found)


def _recurring(found: Any) -> str:
    return f"{_field(found.named)} {short(plain(found.thing))}" if isinstance(found, Recurring) else ""


def _rate(finding: Finding, since: str) -> str:
    before, after = short(finding.usual), short(finding.found)
    each = "tick" if finding.first.tick is not None else "step"
    about = f"{_noun(finding.about)}{_where(finding)}"
    if finding.found == 0:
        return f"no {about} from {since} on ({before} per {each} before)"
    return f"on average {after} {_several(about)} per {each} from {since} on ({before} before)"


def _several(noun: str) -> str:
    """Return a noun of this module's in the plural; the name of an action stays as it is."""
    kind = next((kind for kind in _COUNTABLE if noun == kind or noun.startswith(f"{kind} ")), "")
    return f"{kind}s{noun[len(kind) :]}" if kind else noun


_COUNTABLE: Final = ("action", "change", "event", "message")
_MOVED: Final = "{about}{where} is {found} on average from {since} on ({usual} before)"
_ROUND_IN_GROUP: Final = "{about}{where} is round {found} times, first at {since}"
_ALONE: Final = "{about} is {found} at {since} (all others: {range})"
_OF_SERIES: Final = frozenset({"level shifts", "drifts", "duration shifts", "rate changes", "rounded"})
"""Rules about a series; their sentences describe where the series changes."""
_OF_ALL: Final = frozenset(
    {"follow-up missing", "precondition missing", "fails", "error comes up", "empty", "happens again"}
)
"""Rules whose sentences count the events of all agents that show it."""
_SAID: Final[Mapping[str, str]] = {
    "level shifts": _MOVED,
    "drifts": "{about}{where} drifts from {since} on: about {usual} before, {found} at the end",
    "duration shifts": "{about}{where} takes about {found} ms from {since} on (about {usual} ms before)",
    UNLIKE: "{about} is {found} at {since}, as in no baseline (there: {usual})",
    "value beyond range": "{about} is {found} at {since} (earlier values: {range})",
    "new value": "{about} is {found} for the first time at {since} (before: {usual})",
    "new error": "an error that is new at {since}: {found}",
    "left open": "{first} is not followed by {second} before its agent does it again, {found} times, "
    "first at {since}",
    "rounded": "{about}{where} is round {found} of {of} times, first at {since}",
    "fails": "{about}{where} fails {times}",
    "error comes up": "{failed} {about}{where} {times}",
    "never done": "no {about}; its {of} peers have {usual} each",
    "empty": "{about}{where} is empty {times}",
    "happens again": "{about}{where} is repeated for {again} {times}",
    "too often": "{about} happens {of} times for {thing} (at most {usual} for any other), more than usual "
    "from {since} on",
}
"""Sentence templates for the findings of each rule."""
_SAID_OF_ONE: Final[Mapping[str, str]] = {
    "value beyond range": "{about} is {found} at {since} (eight in ten are {range})",
    "new value": "{about} is {found} at {since}, as it rarely is (mostly: {usual})",
}
"""The same for a single deviation near what the issue names, which need not be the first of its kind."""
