"""Exact comparison of two recorded values with type tags: the first difference, and how they agree.

Both sides are tagged JSON as in events, so redacted or truncated values are compared in that form.
`emitted_events.py` compares whole events with this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson

from Agent.event.model import Event
from Agent.event.pointers import escape, fold_tags, tags_below
from Agent.event.values.codecs import WITH_OWN
from Agent.event.values.digest import (
    differ_in_tokens_alone,
    leaves_out_secrets,
    version_in,
)
from Agent.event.values.opaque import CONTENT, ELSEWHERE, SHARED, OpaqueKind
from Agent.replay.compare.folded_values import (
    ABSENT,
    MAX_SHOWN_CHARS,
    Folded,
    by_key_of,
    content_in,
    is_object,
    is_redacted,
    is_unread,
    key_of,
    name_of,
    plain,
    shown,
    shown_beside,
    shown_with_tag,
    without_redaction,
)
from Agent.replay.compare.normaliser import LibraryValues, Normaliser, Overlooked
from Agent.replay.compare.python_text import differing_pieces, shared_text, text_with_digest

_UNORDERED = frozenset({"set", "frozenset"})
_PAIRS = frozenset({"map", "Counter", "defaultdict"})
_UNSURE = ("opaque", "redacted", "truncated")
_OF_NAMES = frozenset({"dataclass", "pydantic", "namedtuple"})
_OF_CUTS = frozenset({"head", "digest", "unseen"})
SOMEWHERE_INSIDE = ", changed somewhere inside"
"""Suffix for an object whose content differs somewhere that the recording does not show."""
_SCRIPT = re.compile(r"\b__main__\b")
_MOST_UNORDERED = 2_000
T = TypeVar("T")


class Recorded(NamedTuple):
    """A JSON value with its tags, as in an event."""

    value: Any
    types: Mapping[str, str]
    pointer: str

    def part(self, name: str) -> Recorded:
        """Return a mapping's value under a key."""
        return Recorded(self.value[name], self.types, f"{self.pointer}/{escape(name)}")


def in_payload(event: Event, name: str) -> Recorded:
    """Return an event's payload value under a name; its value is None if it is missing."""
    return Recorded(event.extra.get(name), event.types or {}, f"/extra/{escape(name)}")


def as_captured(captured: tuple[bytes, Mapping[str, str] | None], pointer: str) -> Recorded:
    """Wrap values by name that a pipeline's capture encoded for a pointer."""
    body, types = captured
    return Recorded(orjson.loads(b"{" + body + b"}"), types or {}, pointer)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of two values: a JSON Pointer, and both sides there."""

    path: str
    recorded: Any
    replayed: Any

    def under(self, pointer: str) -> Difference:
        """Return the difference as one of the value that holds these two at a pointer."""
        return replace(self, path=f"{pointer}{self.path}")


@dataclass(slots=True)
class Agreement:
    """Values that agree without being byte-equal, and values that could not be compared."""

    redacted: int = 0
    """The number of values that are redacted on both sides."""
    identifiers: int = 0
    """The number of ids that differ in every run but refer to the same event."""
    unseen: dict[str, str] = field(default_factory=dict)
    """{JSON Pointer: why one side could not see the value}."""
    references: dict[str, str] = field(default_factory=dict)
    """{JSON Pointer: name} of values that are compared by name."""
    unread: int = 0
    """The number of values with much content that one side did not read in its call."""
    handles: dict[str, str] = field(default_factory=dict)
    """{JSON Pointer: kind} of values that belong to their process, such as locks and files."""
    code: set[str] = field(default_factory=set)
    """JSON Pointers of values that differ only in the code they contain, if such values count as equal."""
    generators: dict[str, None] = field(default_factory=dict)
    """Functions of suspended generators whose code changed, so that their places and variables differ."""

    def take(self, other: Agreement) -> None:
        """Add the agreement of another comparison."""
        for name in _OF_AGREEMENT:
            mine, its = getattr(self, name), getattr(other, name)
            setattr(self, name, mine + its if type(mine) is int else mine | its)

    def copy(self) -> Agreement:
        """Return a copy that later notes do not change."""
        return Agreement(*(copy(getattr(self, name)) for name in _OF_AGREEMENT))


_OF_AGREEMENT = tuple(each.name for each in fields(Agreement))


NAMES_OF_PAYLOADS = ("", "/args", "/fields", "/changed", "/init", "/init/args")
"""JSON Pointers of mappings in an event's payload whose order of keys does not matter."""
NAMES_OF_STATE = ("", "/set")
NAMES = ("",)
_OLDER = "recorded before content digests: record the program again to compare it"


SameId = Callable[[str, str], bool]


class ComparedFields(Protocol):
    """Selects the compared fields of agents, and collects what could not be compared; see `drive.states`."""

    def kept(
        self, agent_id: str, fields: Mapping[str, Any], types: Mapping[str, str], pointer: str
    ) -> dict[str, Any]:
        """Return the fields that are compared."""

    def leaves_out(self, agent_id: str, name: str, *tags: str | None) -> bool:
        """Whether a field is not compared."""

    def note(self, agent_id: str, name: str, agreement: Agreement) -> None:
        """Store what could not be compared in one field."""

    def note_state(self, agent_id: str, agreement: Agreement) -> None:
        """Store what could not be compared in the fields that an action changed."""

    def note_value(self, what: str, agreement: Agreement) -> None:
        """Store what could not be compared in another value."""


class Comparison:
    """Compares values; collects in `agreement` what it could not compare exactly.

    Args:
        main_module: the name under which this process imported the program that was `__main__` during
            recording, or None.
        same_id: whether a recorded and a replayed text are ids of the same event.
        normaliser: differences to allow; default: none.
        scripts: names of modules that may be `__main__` on either side.
        fields: which fields of agents to compare; None compares all.
        made: values that installed libraries made in this replay, which may differ.
    """

    def __init__(
        self,
        main_module: str | None = None,
        same_id: SameId | None = None,
        normaliser: Normaliser | None = None,
        scripts: Collection[str] = (),
        fields: ComparedFields | None = None,
        made: LibraryValues | None = None,
    ) -> None:
        self.fields = fields
        self._scripts = "|".join(map(re.escape, sorted(scripts)))
        self.agreement = Agreement()
        self.overlooked = Overlooked(normaliser or Normaliser(), made)
        self.main_module = main_module
        self.passes_code = False
        """Whether values that differ only in the code they contain count as equal."""
        self.passes_frames = False
        """Whether generators suspended in changed code count as equal, and are noted."""
        self.compares_sharing = False
        """Whether to compare which of several equal objects another one holds; not for copied responses."""
        self.contents: Callable[[Event, Event], tuple[Recorded, Recorded] | str] | None = None
        """Reads the contents of two artifacts whose digests differ; None if only the digests count."""
        self._same_id = same_id
        self._names: Collection[str] | None = ()

    def difference(
        self, recorded: Recorded, replayed: Recorded, names: Collection[str] | None = ()
    ) -> Difference | None:
        """Return the first difference of two values, or None.

        Args:
            names: pointers of mappings whose keys are names, such as fields or keyword arguments: their order
                does not matter; None for all mappings.
        """
        return self.compare(recorded, replayed, names)[0]

    def compare(
        self, recorded: Recorded, replayed: Recorded, names: Collection[str] | None = ()
    ) -> tuple[Difference | None, Agreement]:
        """Like `difference`, and also return how these two agreed, or what could not be compared."""
        before, self.agreement = self.agreement, Agreement()
        self._names = names
        try:
            difference = self._difference(recorded, replayed)
        finally:
            now, self.agreement = self.agreement, before
            before.take(now)
        return difference, now

    def _difference(self, recorded: Recorded, replayed: Recorded) -> Difference | None:
        one, other = recorded.value, replayed.value
        if self._are_same_bytes(recorded, replayed):
            return None
        # Without tags nothing is folded, and comparing changes nothing: no copies are needed.
        if recorded.types:
            one = fold_tags(one, recorded.types, recorded.pointer, self._node_of_record)
        if replayed.types:
            other = fold_tags(
                other, replayed.types, replayed.pointer, lambda tag, node, _at: Folded(tag, node)
            )
        return self._walk(one, other, "")

    def _are_same_bytes(self, recorded: Recorded, replayed: Recorded) -> bool:
        """Whether two values are byte-equal with nothing to note; False means unknown."""
        kind = type(recorded.value)
        if (kind is not dict and kind is not list) or type(replayed.value) is not kind:
            return False
        if recorded.types or replayed.types:
            tags = _tags_below(recorded)
            if tags is None or tags != _tags_below(replayed):
                return False
        try:
            raw = orjson.dumps(recorded.value)
            # Redaction tokens must be counted (the verdict is then EQUIVALENT at best), which `_walk` does.
            return raw == orjson.dumps(replayed.value) and b"[redacted:" not in raw
        except (orjson.JSONEncodeError, RecursionError):
            return False

    def same_ids(self, recorded: Sequence[str], replayed: Sequence[str]) -> bool:
        """Whether two lists of event ids name the same events."""
        return len(recorded) == len(replayed) and all(
            one == other or (self._same_id is not None and self._same_id(one, other))
            for one, other in zip(recorded, replayed, strict=True)
        )

    def _node_of_record(self, tag: str, node: Any, _at: str) -> Folded:
        # The recorded program was `__main__`; here it is imported under its name.
        if self.main_module is not None and ":__main__." in tag:
            tag = tag.replace(":__main__.", f":{self.main_module}.", 1)
        return Folded(tag, node)

    def _walk(self, one: Any, other: Any, path: str) -> Difference | None:
        if type(one) is Folded or type(other) is Folded:
            return self._tagged(one, other, path)
        if type(one) is not type(other):
            if _is_number(one) and _is_number(other) and self.overlooked.number(one, other):
                return None
            return Difference(path, *shown_beside(one, other))
        if type(one) is str:
            return self._text(one, other, path)
        if type(one) is dict:
            return self._dict(one, other, path, has_order=not self._is_of_names(path))
        if type(one) is list:
            return self._list(one, other, path)
        # Compare floats by their text, so that NaN equals NaN and 0.0 differs from -0.0.
        same = repr(one) == repr(other) if type(one) is float else one == other
        same = same or (_is_number(one) and self.overlooked.number(one, other))
        return None if same else Difference(path, one, other)

    def _text(self, one: str, other: str, path: str) -> Difference | None:
        if differ_in_tokens_alone(one, other):
            self.agreement.redacted += 1
            return None
        # Two texts may differ in the script's module name, as in `__name__` or a `repr`.
        if one == other or (self.main_module is not None and _SCRIPT.sub(self.main_module, one) == other):
            return None
        if self._same_id is not None and self._same_id(one, other):
            self.agreement.identifiers += 1
            return None
        if self.overlooked.text(one, other):
            return None
        return Difference(path, *differing_pieces(one, other, MAX_SHOWN_CHARS))

    def _tagged(self, one: Any, other: Any, path: str) -> Difference | None:
        if is_unread(one) or is_unread(other):
            return self._unread(one, other, path)
        if is_redacted(one) or is_redacted(other):
            return self._walk(without_redaction(one), without_redaction(other), path)
        if type(one) is not Folded or type(other) is not Folded or not self._is_one_tag(one.tag, other.tag):
            return Difference(path, shown_with_tag(one), shown_with_tag(other))
        self._count_hidden(one.tag, other.tag)
        name, left, right = one.tag.partition(":")[0], one.node, other.node
        if name == "opaque":
            return self._opaque(left, right, path)
        if name == "truncated":
            return self._cut(left, right, path)
        if left != right and self.overlooked.tagged(name):
            return None
        are_lists = type(left) is list and type(right) is list
        are_dicts = type(left) is dict and type(right) is dict
        if are_lists and name in _UNORDERED:
            return self._set(left, right, path)
        if are_lists and name in _PAIRS:
            return self._pairs(left, right, path)
        if are_dicts and name in _OF_NAMES:
            return self._dict(left, right, path, has_order=False)
        if are_dicts and name == "numpy.Generator":
            left, right = _with_spawned(left, right)
        return self._walk(left, right, path)

    def _is_one_tag(self, one: str, other: str) -> bool:
        """Whether two tags are equal except for a script's module name."""
        if self._scripts and one != other:
            one, other = self._of_main(one), self._of_main(other)
        return one == other

    def _of_main(self, tag: str) -> str:
        return re.sub(rf":(?:[\w.]+\.)?(?:{self._scripts})\.", ":__main__.", tag, count=1)

    def _opaque(self, one: Any, other: Any, path: str) -> Difference | None:
        """Compare the recorded forms of two values without a codec."""
        left, right = content_in(one), content_in(other)
        for content in (left, right):
            if content.kind is OpaqueKind.UNSEEN:
                self.agreement.unseen[path] = content.text
                return None
        # A digest without an algorithm is an older one, computed from the description only.
        if left.kind is OpaqueKind.COMPARABLE and ":" not in left.text:
            self.agreement.unseen[path] = _OLDER
            return None
        if WITH_OWN in left.text and WITH_OWN in right.text and left.text != right.text:
            return self._inside_object(one, other, path)
        for content in (left, right):
            if content.kind is OpaqueKind.REFERENCE and content.text.startswith(ELSEWHERE):
                self.agreement.references[path] = content.text
                self._count_hidden(left.text, right.text)
                return None
        if left.kind is not right.kind:
            return Difference(path, text_with_digest(one), text_with_digest(other))
        if one.get("same_as") != other.get("same_as"):
            return Difference(path, *(shared_text(form.get("same_as")) for form in (one, other)))
        if left.kind is OpaqueKind.HANDLE:
            self.agreement.handles[path] = left.text
            return None
        if left.kind is OpaqueKind.REFERENCE:
            self.agreement.references[path] = left.text
            self._count_hidden(left.text, right.text)
            same = left.text == right.text
            return None if same else Difference(path, left.text, right.text)
        return self._digests(one, other, path) or self._sharing(one, other, path)

    def _sharing(self, one: Any, other: Any, path: str) -> Difference | None:
        """Compare which enclosing objects an object also holds, if both forms have its whole content."""
        if not (self.compares_sharing and CONTENT in one and CONTENT in other):
            return None
        held = ({inner: outer for outer, inner in form.get(SHARED, ())} for form in (one, other))
        left, right = held
        for inner in (*left, *(each for each in right if each not in left)):
            if left.get(inner) != right.get(inner):
                return Difference(
                    path, *(f"an object that holds {shared_text(each.get(inner))}" for each in (left, right))
                )
        return None

    def _inside_object(self, one: Any, other: Any, path: str) -> Difference:
        """Return the plain attribute in which two objects differ, or else the whole objects."""
        difference = self._in_attributes(one, other, path)
        texts = text_with_digest(one), f"{text_with_digest(other)}{SOMEWHERE_INSIDE}"
        return difference or Difference(path, *texts)

    def _unread(self, one: Any, other: Any, path: str) -> Difference | None:
        """Compare two values of which one was not read in its call."""
        self.agreement.unread += 1
        if any(type(each) in _NEVER_LARGE for each in (one, other)):
            return Difference(path, shown_with_tag(one), shown_with_tag(other))
        if any(type(each) is not Folded or each.tag != "opaque" for each in (one, other)):
            # a container, for example, that one of the calls read
            names = {_builtin_class(each) for each in (one, other)} - {None}
            return Difference(path, shown_with_tag(one), shown_with_tag(other)) if len(names) > 1 else None
        return self._in_attributes(one.node, other.node, path)

    def _in_attributes(self, one: Any, other: Any, path: str) -> Difference | None:
        """Compare the class and the plain attributes of two objects."""
        if self._walk(one.get("class"), other.get("class"), path) is not None:
            return Difference(path, text_with_digest(one), text_with_digest(other))
        left, right = (form.get("attributes") or {} for form in (one, other))
        for name in (*left, *(name for name in right if name not in left)):
            # A script is `__main__` when it runs and has another name as a target.
            if name != "__module__" and left.get(name, ABSENT) != right.get(name, ABSENT):
                at = f"{path}/{escape(name)}"
                return Difference(at, *shown_beside(left.get(name, ABSENT), right.get(name, ABSENT)))
        return None

    def _digests(self, one: Any, other: Any, path: str) -> Difference | None:
        left, right = str(one["digest"]), str(other["digest"])
        algorithm, other_algorithm = left.partition(":")[0], right.partition(":")[0]
        rest = one.get("without_code")
        are_alike = left == right or rest == other.get("without_code")  # but for code
        if not are_alike and self.passes_frames and (changed := _changed_generators(one, other)):
            self.agreement.generators |= changed
            return None
        is_code = self.passes_code and rest and rest == other.get("without_code")
        is_made = left != right and self._differ_in_made(one, other)
        if left != right and (is_made or (is_code and self._agree_in_made(one, other))):
            self.agreement.code |= set() if is_made else {path}
            self._count_hidden(left, right)
            return None
        if left != right:
            # Bytecode differs between versions of Python, so such digests cannot be compared.
            versions = {version_in(algorithm), version_in(other_algorithm)}
            if len(versions) > 1 and "" not in versions:
                self.agreement.unseen[path] = "code of another version of Python"
                return None
            return self._inside_object(one, other, path)
        self._count_hidden(left, right)
        return None

    def _count_hidden(self, *texts: str) -> None:
        """Count values that agree as redacted if their digests leave secrets out."""
        self.agreement.redacted += any(map(leaves_out_secrets, texts))

    def _differ_in_made(self, one: Any, other: Any) -> bool:
        """Whether two contents differ only in ids and times that libraries made."""
        rest = one.get("without_made")
        return rest is not None and rest == other.get("without_made") and self._agree_in_made(one, other)

    def _agree_in_made(self, one: Any, other: Any) -> bool:
        """Whether the ids and times in two contents agree, those of libraries by form."""
        entries, other_entries = one.get("made", []), other.get("made", [])
        if type(entries) is not list or type(other_entries) is not list:
            return False
        are_as_many = len(entries) == len(other_entries)
        return are_as_many and self.agrees(lambda: self._in_order(entries, other_entries, ""))

    def _cut(self, one: Any, other: Any, path: str) -> Difference | None:
        """Compare the recorded forms of two values that were too large to record whole."""
        if type(one) is not dict or type(other) is not dict:
            return Difference(path, *shown_beside(one, other))
        rest, other_rest = ({k: v for k, v in each.items() if k not in _OF_CUTS} for each in (one, other))
        sizes = [key for key in rest if rest[key] != other_rest.get(key)]
        if sizes:
            return Difference(path, *shown_beside(one, other))
        if OpaqueKind.UNSEEN in one or OpaqueKind.UNSEEN in other:
            self.agreement.unseen[path] = str(one.get(OpaqueKind.UNSEEN) or other.get(OpaqueKind.UNSEEN))
            return None
        left, right = str(one.get("digest", "")), str(other.get("digest", ""))
        if ":" not in left and left != right.partition(":")[2]:
            # Old digests, without an algorithm, are still comparable for texts and bytes, not for containers.
            self.agreement.unseen[path] = _OLDER
            return None
        if left.rpartition(":")[2] == right.rpartition(":")[2]:
            self._count_hidden(left, right)
            return None
        difference = self._walk(one.get("head"), other.get("head"), path)
        ends = (f"<cut, digest {each.rpartition(':')[2]}>" for each in (left, right))
        return difference or Difference(path, *ends)

    def _dict(
        self, one: dict[str, Any], other: dict[str, Any], path: str, *, has_order: bool
    ) -> Difference | None:
        renamed = self._agreeing_keys({key: key for key in one}, {key: key for key in other})
        if renamed:
            other = {renamed.get(key, key): value for key, value in other.items()}
        for key in sorted(one.keys() | other.keys()):
            at = f"{path}/{escape(key)}"
            if key not in one or key not in other:
                return Difference(at, *shown_beside(one.get(key, ABSENT), other.get(key, ABSENT)))
            difference = self._walk(one[key], other[key], at)
            if difference is not None:
                return difference
        return self._order(list(one), list(other), path) if has_order else None

    def _is_of_names(self, path: str) -> bool:
        """Whether the order of keys does not matter in the mapping at a pointer."""
        return self._names is None or path in self._names

    def _order(self, one: list[Any], other: list[Any], path: str) -> Difference | None:
        """Compare the order of keys of two mappings that have the same keys."""
        if one == other:
            return None
        if self.overlooked.normaliser.order:
            self.overlooked.counts["orders"] += 1
            return None
        return Difference(path, {"order of keys": shown(one)}, {"order of keys": shown(other)})

    def _list(self, one: list[Any], other: list[Any], path: str) -> Difference | None:
        if not self.overlooked.normaliser.order:
            return self._in_order(one, other, path)
        mark = self.mark()
        difference = self._in_order(one, other, path)
        if difference is None:
            return None
        self.go_back(mark)
        if not self._are_members(one, other):
            return difference
        self.overlooked.counts["orders"] += 1
        return None

    def _are_members(self, one: list[Any], other: list[Any]) -> bool:
        """Whether two lists have the same members in any order; False for more than _MOST_UNORDERED."""
        return len(one) <= _MOST_UNORDERED and self.agree_in_any_order(one, other, self._at_top)

    def agree_in_any_order(
        self, one: Sequence[T], other: Sequence[T], difference: Callable[[T, T], object | None]
    ) -> bool:
        """Whether each of the first has a counterpart among the second, and the other way round."""
        if len(one) != len(other):
            return False
        free = list(other)
        for left in one:
            agreeing = (i for i, right in enumerate(free) if self.agrees(partial(difference, left, right)))
            match = next(agreeing, None)
            if match is None:
                return False
            del free[match]
        return True

    def _at_top(self, one: Any, other: Any) -> Difference | None:
        return self._walk(one, other, "")

    def agrees(self, compare: Callable[[], object | None]) -> bool:
        """Whether a comparison finds no difference; else everything that it collected is discarded."""
        mark = self.mark()
        if compare() is None:
            return True
        self.go_back(mark)
        return False

    def mark(self) -> tuple[Agreement, Any]:
        """Return a copy of what was collected so far, for `go_back` after a failed attempt."""
        return self.agreement.copy(), self.overlooked.mark()

    def passes_code_from_here(self, compare_again: Callable[[], object | None]) -> bool:
        """Whether only code in values differs; if so, such differences are ignored from now on."""
        if self.passes_code:
            return False
        self.passes_code = True
        self.passes_code = self.agrees(compare_again)
        return self.passes_code

    def go_back(self, mark: tuple[Agreement, Any]) -> None:
        """Discard what was collected since the mark."""
        self.agreement = mark[0]
        self.overlooked.go_back(mark[1])

    def _in_order(self, one: list[Any], other: list[Any], path: str) -> Difference | None:
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            difference = self._walk(left, right, f"{path}/{index}")
            if difference is not None:
                return difference
        if len(one) == len(other):
            return None
        index = min(len(one), len(other))
        left = one[index] if index < len(one) else ABSENT
        right = other[index] if index < len(other) else ABSENT
        return Difference(f"{path}/{index}", *shown_beside(left, right))

    def _set(self, one: list[Any], other: list[Any], path: str) -> Difference | None:
        left = sorted(one, key=key_of)
        right = sorted(other, key=key_of)
        mark = self.mark()
        difference = self._in_order(left, right, path)
        if difference is not None:
            self.go_back(mark)
            difference = None if self._are_members(left, right) else difference
        if difference is None or plain(left) == plain(right):
            return difference and replace(difference, path=path)  # only tags of members differ
        return Difference(path, *shown_beside(left, right))

    def _pairs(self, one: list[Any], other: list[Any], path: str) -> Difference | None:
        left, right = by_key_of(one), by_key_of(other)
        renamed = self._agreeing_keys(
            {key: name for key, (name, _) in left.items()}, {key: name for key, (name, _) in right.items()}
        )
        right = {renamed.get(key, key): pair for key, pair in right.items()}
        sides = (left, right), (right, left)
        lacking, new = ([key for key in one if key not in other] for one, other in sides)
        for key, other_key in zip(lacking, new, strict=False):
            name, other_name = left[key][0], right[other_key][0]
            if is_object(name) and is_object(other_name):
                # An object used as a key has changed: report its attribute rather than a missing key.
                difference = self._walk(name, other_name, f"{path}/{escape(name_of(name))}")
                if difference is not None:
                    return difference
        for key in sorted(left.keys() | right.keys()):
            name, value = left.get(key, (None, ABSENT))
            other_name, other_value = right.get(key, (None, ABSENT))
            at = f"{path}/{escape(name_of(name if key in left else other_name))}"
            if value is ABSENT or other_value is ABSENT:
                return Difference(at, *shown_beside(value, other_value))
            difference = self._walk(name, other_name, at) or self._walk(value, other_value, at)
            if difference is not None:
                return difference
        if self._is_of_names(path):
            return None
        names = [name_of(name) for name, _ in left.values()]
        return self._order(names, [name_of(left[key][0]) for key in right], path)

    def _agreeing_keys(self, one: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        """Match keys that differ in text but agree, such as two tokens of a secret.

        Args:
            one: the recorded keys, by a unique form of each.
            other: the replayed keys, by a unique form of each.

        Returns:
            {form of the replayed key: form of the recorded key}; empty if not all of them can be matched.
        """
        if one.keys() == other.keys():
            return {}
        free = {key: name for key, name in one.items() if key not in other}
        rest = {key: name for key, name in other.items() if key not in one}
        if len(free) != len(rest) or len(free) > _MOST_UNORDERED:
            return {}
        partners: dict[Any, Any] = {}
        for key, name in rest.items():
            agreeing = (each for each, own in free.items() if self.agrees(partial(self._at_top, own, name)))
            partner = next(agreeing, None)
            if partner is None:
                return {}
            partners[key] = partner
            del free[partner]
        return partners


def _tags_below(recorded: Recorded) -> dict[str, str] | None:
    """Return the tags of a value by relative pointer; None if values with equal bytes may still differ."""
    tags = tags_below(recorded.types, recorded.pointer)
    is_sure = all(
        type(tag) is str
        and not tag.startswith(_UNSURE)
        and ":__main__." not in tag
        and not leaves_out_secrets(tag)
        for tag in tags.values()
    )
    return tags if is_sure else None


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _without(node: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != key}


def _with_spawned(*generators: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the states of two generators of numpy, with how many children each has spawned.

    Only `spawn` uses the seed, and a replay does not restore it everywhere, so the rest of it is left out.
    """
    spawned = [seed.get(_SPAWNED) if type(seed := each.get("seed")) is dict else None for each in generators]
    bare = [_without(each, "seed") for each in generators]
    if None in spawned:
        return bare
    return [{**each, _SPAWNED: count} for each, count in zip(bare, spawned, strict=True)]


_SPAWNED = "n_children_spawned"


def with_other_frames(generator: str) -> str:
    """Return what is said of a suspended generator whose code changed."""
    return f"the generator {generator} (its place and variables cannot be compared)"


def _changed_generators(one: Any, other: Any) -> dict[str, None]:
    """Return the functions of suspended generators with changed code; none if more than these differs.

    The place and the variables of a generator in other code are not comparable.
    """
    both = [each.get("generators") or () for each in (one, other)]
    names = [[name for name, _ in each] for each in both]
    if names[0] != names[1] or one.get("without_frames") != other.get("without_frames"):
        return {}
    codes = [(name, code, other_code) for (name, code), (_, other_code) in zip(*both, strict=True)]
    # Bytecode differs between versions of Python.
    is_comparable = all(code.partition(":")[0] == another.partition(":")[0] for _, code, another in codes)
    return dict.fromkeys(name for name, code, another in codes if is_comparable and code != another)


_NEVER_LARGE = (int, float, bool, type(None))


def _builtin_class(value: Any) -> str | None:
    """Return the class of an unread value or a builtin container, as the form of an unread one names it."""
    if type(value) is not Folded:
        return f"builtins.{type(value).__name__}"
    tag, form = value.tag, value.node if type(value.node) is dict else {}
    if tag == "opaque":
        return form.get("class")
    if tag == "truncated":
        tag = str(form.get("tag"))
    return f"builtins.{tag}" if tag in _BUILTIN_TAGS else None


_BUILTIN_TAGS = frozenset({"list", "dict", "tuple", "set", "frozenset", "bytearray"})
"""Tags that are the names of their classes."""
