"""The walk over one value: budgets, path, tags. It cuts values that are too large and always terminates.

`values.py` starts it; at each node it looks up the reduced form of types that JSON lacks in `codecs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import orjson

from Agent.event.classes import attributes_of, class_name
from Agent.event.limits_of_time import pass_on
from Agent.event.pointers import escape
from Agent.event.values.arrays import NAMES_OF_FLOATS
from Agent.event.values.class_codecs import MEMBER, class_reducer, tag_of_member
from Agent.event.values.class_contents import contents_of_cell, handle_of, reference_of
from Agent.event.values.codecs import (
    builtin_reducer,
    is_plain_class,
    is_queue,
    is_read_generator,
    registered_codec,
)
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import ALGORITHM, canonical_bytes, digest_json
from Agent.event.values.marks import content_by_mark
from Agent.event.values.opaque import (
    CONTENT,
    CYCLE,
    NAMED,
    OBJECT,
    SAME,
    SHARED,
    STAND_IN,
    Content,
    OpaqueKind,
    ReachedObjects,
    describe,
    form_head,
    head_of_text,
    is_lock,
    parts_of_idle,
)
from Agent.event.values.parts import name_of, parts_of
from Agent.event.values.plain import (
    DUMP_OPTIONS,
    SCALARS,
    all_scalars,
    all_strings,
    ask_memory,
    ask_memory_for_more,
    exceeds,
    is_surely_small,
    most_utf8,
    scalars_fit,
    write_json,
)
from Agent.event.values.reading import USUAL, AgentOf, Limits, Named, Reading

_NO_TAG = ("opaque", "truncated")
_ORDERED_KINDS = ({str}, {int})
_DECIMAL_BITS = 13_000  # about 3,900 digits; Python refuses to convert slightly more
_SPENT: Any = object()
_MADE_BY_FUNCTION = "defaultdict:"
_OF_CYCLES = 2  # keys of the form for a cycle


def _items(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Return a snapshot of the items, even while another thread writes."""
    try:
        return list(mapping.items())
    except RuntimeError:
        items: list[tuple[Any, Any]] = _retried(lambda: list(mapping.items()))
        return items


def _retried(read: Callable[[], Any]) -> Any:
    for _ in range(3):
        try:
            return read()
        except RuntimeError as error:
            if type(error) is not RuntimeError:
                raise
    return read()


_MOST_KEPT_BYTES = 65_536
"""Above this size of its content, only the digest of an object is written."""
_KEPT_LIMITS = Limits(max_bytes=_MOST_KEPT_BYTES)
_NO_MEMORY = class_name(MemoryError)
_MOST_REFUSED = 8
_ASKED_EACH = 100  # values
_UNCHANGING = frozenset({tuple, frozenset, bytes})
_CHANGING = frozenset(
    "set bytearray deque OrderedDict Counter defaultdict ndarray Random Generator RandomState".split()
)
_SHOWN: Any = object()
"""The form already contains everything needed to restore the object."""
_UNKEPT: Any = object()
"""Nothing restores the object."""


class BudgetSpent(Exception):
    """The value exceeds its limits."""


class RepeatsSpent(BudgetSpent):
    """Parts of the value recur so often that its JSON would be much larger than the value."""


class _NotPlain(BudgetSpent):
    """The content of an object is more than a tree of restorable values."""


class _First(NamedTuple):
    """The first occurrence of an object."""

    at: str
    """The pointer relative to the beginning of the value."""
    value: object
    """Keeps the object alive, so that its id is not reused."""
    form: dict[str, Any] | None = None
    """The form of the object that holds it, if it occurred inside one."""


class Walk:
    """One pass over one value.

    With `cutting` off, BudgetSpent is raised if the value is too large. With it on, each container keeps what
    fits, and none takes more than half of the remaining budget, so that one large field does not hide the
    others.
    """

    __slots__ = (
        "_contents", "_cuts", "_reached", "_refused", "_seen", "_sets_around", "agent_of", "bytes_left",
        "cutting", "first", "items_left", "limits", "max_depth", "met", "opaque", "path", "reading",
        "repeats_left", "start", "types",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        agent_of: AgentOf | None,
        *,
        cutting: bool,
        reading: Reading = USUAL,
        start: str = "",
    ) -> None:
        self.limits = limits
        self.agent_of = agent_of
        self.reading = reading
        self.cutting = cutting
        self.bytes_left = limits.max_bytes * 3 // 4 if cutting else limits.max_bytes
        self.items_left = limits.max_items
        # A value under a name may be as deep as a separate value.
        self.max_depth = limits.max_depth + reading.is_of_names
        self.path: dict[int, int] = {}
        self.met: dict[tuple[int, str], str] = {}
        """First pointers of values without a codec, by (id, name that they are under)."""
        self.start = start
        self.types: dict[str, str] = {}
        self.opaque: list[str] = []
        self._cuts: list[tuple[str, dict[str, Any], Any]] | None = None
        self._contents: dict[tuple[int, ...], tuple[Any, Content]] | None = None
        self._reached: dict[str, ReachedObjects] = {}
        """{name: objects reached by its walks}, for values that are compared per name."""
        self.first: dict[tuple[int, str], _First] = {}
        """First occurrences of containers and objects, by (id, name that they are under)."""
        self._sets_around = 0
        self._refused = 0
        self.repeats_left = limits.max_repeats
        self._seen: dict[int, Any] | None = {} if limits.max_items > limits.max_repeats else None
        """Visited values, so that no id is reused; None if the limits allow only few values."""

    def whole(self, value: Any, pointer: str) -> Any:
        """Return the JSON of the whole value."""
        encoded = self.node(value, pointer)
        if self._cuts:
            self._finish_cuts(0)
        return encoded

    def node(self, value: Any, pointer: str) -> Any:
        """Return the JSON of one value of any type inside the whole."""
        self.items_left -= 1
        if self.items_left < 0:
            raise BudgetSpent
        if not self.items_left % _ASKED_EACH:
            ask_memory_for_more()
        kind = type(value)
        if kind is str:
            return self._text(value, pointer)
        if value is None or value is True or value is False:
            return self._spend(5 if value is False else 4, value)
        if kind is int:
            return self._integer(value, pointer)
        if kind is float:
            if math.isfinite(value):
                ask_memory(0)
                return self._spend(len(orjson.dumps(value)), value)
            name = NAMES_OF_FLOATS[repr(value)]
            return self._tagged(self._spend(len(name) + 2, name), "float", pointer)
        return self._composite(value, kind, pointer)

    def _spend(self, size_bytes: int, value: Any) -> Any:
        """Charge the bytes to the budget and return the value."""
        if size_bytes > self.bytes_left:
            raise BudgetSpent
        self.bytes_left -= size_bytes
        return value

    def _tagged(self, encoded: Any, tag: str, pointer: str) -> Any:
        """Note the tag, charge it to the budget, and return the JSON."""
        self.bytes_left -= len(pointer) + len(tag) + 6
        if self.bytes_left < 0 and not self.cutting:
            raise BudgetSpent
        self.types[pointer] = tag
        if tag in _NO_TAG:
            self.opaque.append(pointer)
        return encoded

    def _integer(self, value: int, pointer: str) -> Any:
        if -(2**63) <= value < 2**64:
            return self._spend(len(str(value)), value)
        bits = value.bit_length()
        if bits // 4 + 4 > self.limits.max_string_chars:
            digest = f"{ALGORITHM}:{digest_json([hex(value)])}"
            head = hex(value >> max(bits - 256, 0))
            return self._tagged({"head": head, "bits": bits, "digest": digest}, "truncated", pointer)
        text = str(value) if bits <= _DECIMAL_BITS else hex(value)
        return self._tagged(self._spend(len(text) + 2, text), "int", pointer)

    def _text(self, value: str, pointer: str) -> Any:
        if len(value) > self.limits.max_string_chars:
            return self._cut_text(value, pointer)
        ask_memory(most_utf8(value))
        try:
            size, encoded = len(orjson.dumps(value)), value
        except TypeError:
            encoded = value.encode("unicode_escape").decode("ascii")
            size = len(write_json(encoded))
        if size > self.bytes_left:
            if not self.cutting or self.bytes_left < 512:
                raise BudgetSpent
            return self._cut_text(value, pointer)
        self.bytes_left -= size
        return value if encoded is value else self._tagged(encoded, "str", pointer)

    def _cut_text(self, value: str, pointer: str) -> Any:
        chars = min(self.limits.head_chars, max(self.bytes_left, 0) // 8)
        head = head_of_text(value, chars)
        return self._tagged(self._spend(len(write_json(head)), head), "truncated", pointer)

    def _composite(self, value: Any, kind: type, pointer: str) -> Any:
        """Return the JSON of anything but a scalar; a value that fails is described instead."""
        mark = len(self.types), len(self.opaque)
        identity = id(value)
        if identity in self.path:
            up = len(self.path) - self.path[identity]
            form = {"repr": f"<cycle: {up} up>", "class": class_name(kind)}
            return self._describe(pointer, form, begins=self.first.get((identity, self._root(pointer))))
        if len(self.path) >= self.max_depth:
            return self._describe(
                pointer, describe(value, self._content_once(value, (id(value),))) | {"repr": "<too deep>"}
            )
        if self._seen is not None:
            if identity in self._seen:
                self.repeats_left -= 1
                if self.repeats_left < 0:
                    raise RepeatsSpent
            self._seen[identity] = value
        self.path[identity] = len(self.path)
        if self.reading.keeps_content and kind is not tuple and not self._sets_around:
            self._note_first(value, pointer)
        try:
            if kind is list:
                return self._array(value[:], pointer, "list")
            if kind is dict:
                return self._mapping(_items(value), pointer, "dict")
            if kind is tuple:
                return self._reduced("tuple", list(value), pointer)
            tag, reduced = self._reduce(value, kind, pointer)
            return self._reduced(tag, reduced, pointer)
        except BudgetSpent:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the value's own class raises
            pass_on(error)
            if type(error) is MemoryError:
                self._lack_memory()
            self._forget(mark)
            content = self._content(value)
            form = describe(value, content, error)
            if content.kind is OpaqueKind.COMPARABLE and self.reading.keeps_content:
                self._keep_content(value, content, form, pointer)
            return self._describe(pointer, form)
        finally:
            del self.path[identity]

    def _root(self, pointer: str) -> str:
        """Return the name that a pointer is under, if each name has a separate value."""
        below = pointer[len(self.start) :] if self.reading.is_of_names else ""
        return below.split("/")[1] if below else ""

    def _below(self, pointer: str) -> str:
        """Return the pointer relative to the whole value, or to the value under the name."""
        root = self._root(pointer)
        return pointer[len(self.start) + (len(root) + 1 if root else 0) :]

    def _note_first(self, value: Any, pointer: str) -> None:
        """Note the first occurrence of a container or object; if an object holds it, add it to that form."""
        key = id(value), self._root(pointer)
        known = self.first.get(key)
        if known is None:
            self.first[key] = _First(self._below(pointer), value)
        elif known.form is not None:
            known.form.setdefault(SHARED, []).append([self._below(pointer), known.at])
            self.bytes_left -= len(pointer) + len(known.at) + 8

    def _content(self, value: Any, reached: ReachedObjects | None = None) -> Content:
        content = content_of(value, self.agent_of, self.reading, reached)
        if content.text.startswith(_NO_MEMORY):
            self._lack_memory()
        return content

    def _lack_memory(self) -> None:
        """Count a failed allocation; after a few of these, cut the rest, since each one takes long."""
        self._refused += 1
        if self._refused > _MOST_REFUSED:
            raise BudgetSpent

    def _reduce(self, value: Any, kind: type, pointer: str) -> tuple[str, Any]:
        """Return the tag and reduced form of a value, by the codec of its type."""
        reducer = builtin_reducer(kind)
        if kind is Named:
            return "opaque", describe(value.value, self._content(value))
        if reducer is None:
            registered = registered_codec(kind)
            if registered is not None:
                encoded = registered.encode(value)
                return f"registered:{class_name(kind)}", list(encoded) if type(encoded) is tuple else encoded
            agent = None if self.agent_of is None else self.agent_of(value)
            if type(agent) is str or type(agent) is int:
                return "agent", agent
            reducer = class_reducer(kind)
            if reducer is None:
                return "opaque", self._described(value, pointer)
        try:
            tag, reduced = reducer(value, self.limits)
        except RuntimeError:
            tag, reduced = _retried(lambda: reducer(value, self.limits))
        if tag.startswith(MEMBER):
            return tag_of_member(tag, value, self.reading.hides, self._content), reduced
        if not tag.startswith(_MADE_BY_FUNCTION):
            return tag, reduced
        return self._with_factory(value, tag, reduced)

    def _with_factory(self, value: Any, tag: str, reduced: Any) -> tuple[str, Any]:
        """Return the tag of a `defaultdict`; if its factory is a function, with the function's digest."""
        factory = value.default_factory
        if factory is None or issubclass(type(factory), type):
            return tag, reduced
        if self.agent_of is None:
            content = self._content(factory)
        else:
            content = content_by_mark(factory, self.agent_of, self.reading.hides, self._content)
        if content.kind is not OpaqueKind.COMPARABLE:
            return "opaque", describe(value, self._content(value))
        return f"{tag}@{content.text}", reduced

    def _described(self, value: Any, pointer: str) -> dict[str, Any]:
        """Return the form of a value without a codec; of a repeated one with its first pointer."""
        root, below = self._root(pointer), self._below(pointer)
        if below and self.reading.places is not None:
            name = self.reading.places.field_of(value)
            if name is not None and reference_of(value) is None and handle_of(type(value)) is None:
                return {**form_head(type(value)), OpaqueKind.REFERENCE.value: f"field {name}"}
        reached = self._reached.get(root)
        if reached is None:
            reached = self._reached[root] = ReachedObjects(are_of_one_moment=True)
        content = self._content(value, reached)
        is_shown = self.reading.shows_references or content.kind is not OpaqueKind.REFERENCE
        form = describe(value, content, shows=is_shown)
        if content.kind is not OpaqueKind.COMPARABLE:
            if content.kind is OpaqueKind.HANDLE and is_lock(type(value)):
                # an idle lock that occurs once can be replaced by a new one
                is_first = self.met.setdefault((id(value), root), below) == below
                if is_first and self.reading.keeps_content and parts_of_idle(value) is not None:
                    form[CONTENT] = {}
            elif content.text.startswith("class ") and self.reading.keeps_content:
                self._keep_content(value, content, form, pointer)
            return form
        position = self.met.setdefault((id(value), root), below)
        if position != below:
            form["same_as"] = position
        elif self.reading.keeps_content:
            self._keep_content(value, content, form, pointer)
        return form

    def _keep_content(self, value: Any, content: Content, form: dict[str, Any], pointer: str) -> None:
        """Add the content of an object to its form, if all of it can be restored."""
        # An object that an earlier walk reached is part of a large graph, which was tried with the first one.
        if content.agents or content.size_bytes > _MOST_KEPT_BYTES or "@" in content.text:
            return
        key = id(value), self._root(pointer)
        before = self.first.get(key)
        if before is not None and before.form is not None:
            return  # an earlier object holds it, and its form says so
        at = f"{pointer}/{CONTENT}"
        walk = _ContentWalk(self, value, form, at)
        try:
            kept = walk.held(value, at)
        except BudgetSpent:
            kept = _UNKEPT
        if kept is _UNKEPT or walk.opaque:
            for each in walk.noted:
                del self.first[each]
            if before is not None:
                self.first[key] = before
            return
        self.types.update(walk.types)
        if kept is not _SHOWN:
            form[CONTENT] = kept
        if walk.has_stand_ins:
            form[STAND_IN] = True

    def _reduced(self, tag: str, reduced: Any, pointer: str) -> Any:
        """Return the JSON of a reduced form, under the tag of the whole."""
        kind = type(reduced)
        if tag in _NO_TAG:
            return self._describe(pointer, reduced, tag)
        if kind is list:
            encoded = self._array(reduced, pointer, tag)
        elif kind is dict:
            encoded = self._mapping(_items(reduced), pointer, tag)
        elif kind is frozenset:
            encoded = self._members(reduced, pointer, tag)
        elif kind in SCALARS:
            encoded = self.node(reduced, pointer)
        else:
            raise TypeError(f"a codec returned a {class_name(kind)}")
        inner = self.types.get(pointer)
        if inner in _NO_TAG:
            return encoded
        if inner is not None and (inner != "map" or tag.startswith("registered:")):
            raise TypeError(f"a codec returned a value that needs the tag {inner} itself")
        return self._tagged(encoded, tag, pointer)

    def _describe(
        self, pointer: str, form: dict[str, Any], tag: str = "opaque", begins: _First | None = None
    ) -> Any:
        if tag == "opaque" and len(form) == _OF_CYCLES:
            form["digest"] = f"{ALGORITHM}:{digest_json(form)}"
        if begins is not None:
            form[CYCLE] = begins.at
        return self._tagged(self._spend(len(write_json(form)), form), tag, pointer)

    def _forget(self, mark: tuple[int, int]) -> None:
        """Drop the tags noted since the mark."""
        while len(self.types) > mark[0]:
            self.types.popitem()
        del self.opaque[mark[1] :]

    def _flat(self, container: list[Any] | dict[str, Any], values: list[Any]) -> bool:
        """Whether the container holds only plain scalars and fits; if so, charge it to the budget."""
        if len(values) > self.items_left or not all_scalars(values):
            return False
        if not is_surely_small(container) and exceeds(container, self.bytes_left):
            return False
        try:
            data = write_json(container, DUMP_OPTIONS)
        except TypeError:
            return False
        if len(data) > self.bytes_left:
            return False
        short = len(data) <= self.limits.max_string_chars
        if not (short and data.find(b"null") < 0) and not scalars_fit(container, data, self.limits):
            return False
        self.items_left -= len(values)
        self.bytes_left -= len(data)
        return True

    def _array(self, items: list[Any], pointer: str, tag: str) -> Any:
        """Return the JSON of a list that nothing else holds."""
        if self._flat(items, items):
            return items
        if self.cutting:
            return self._cut_array(items, pointer, tag)
        if len(items) > self.items_left:
            raise BudgetSpent
        self._spend(max(len(items), 1) + 1, None)
        return [self.node(item, f"{pointer}/{index}") for index, item in enumerate(items)]

    def _cut_array(self, items: list[Any], pointer: str, tag: str) -> Any:
        mark = len(self.types), len(self.opaque)
        self._spend(2, None)
        head: list[Any] = []
        for index, item in enumerate(items):
            encoded = self._share(item, f"{pointer}/{index}")
            if encoded is _SPENT:
                return self._cut(head, items, pointer, tag, mark)
            head.append(encoded)
            self.bytes_left -= 1
        return head

    def _mapping(self, items: list[tuple[Any, Any]], pointer: str, tag: str) -> Any:
        """Return the JSON object of a mapping, or a list of pairs if a key is not plain text."""
        if len(items) > self.items_left and not self.cutting:
            raise BudgetSpent
        if not all_strings([key for key, _ in items]):
            return self._pairs(items, pointer, tag)
        plain = dict(items)
        if self._flat(plain, list(plain.values())):
            return plain
        sizes = self._key_sizes(plain)
        if sizes is None:
            return self._pairs(items, pointer, tag)
        if self.cutting:
            return self._cut_mapping(plain, sizes, pointer, tag)
        self._spend(max(len(items), 1) + 1 + sum(sizes), None)
        return {key: self.node(value, f"{pointer}/{escape(key)}") for key, value in items}

    def _pairs(self, items: list[tuple[Any, Any]], pointer: str, tag: str) -> Any:
        """Return the JSON of a mapping as a list of pairs."""
        if not self.cutting:
            if 2 * len(items) > self.items_left:
                raise BudgetSpent
            self._spend(max(len(items), 1) + 1 + 3 * len(items), None)
            pairs = []
            for index, (key, value) in enumerate(items):
                at = f"{pointer}/{index}"
                pairs.append([self.node(key, f"{at}/0"), self.node(value, f"{at}/1")])
        else:
            pairs = self._cut_array([list(item) for item in items], pointer, tag)
            if self.types.get(pointer) == "truncated":
                return pairs
        return self._tagged(pairs, "map", pointer)

    def _key_sizes(self, keys: dict[str, Any]) -> list[int] | None:
        """Return the bytes of each key with its colon; None if one cannot be the key of a JSON object."""
        if any(len(key) > self.limits.max_string_chars for key in keys):
            return None
        try:
            ask_memory(3 * max(map(len, keys), default=0))
            return [len(orjson.dumps(key)) + 1 for key in keys]
        except TypeError:
            return None  # the caller handles the keys one by one

    def _cut_mapping(self, items: dict[str, Any], sizes: list[int], pointer: str, tag: str) -> Any:
        mark = len(self.types), len(self.opaque)
        self._spend(2, None)
        head: dict[str, Any] = {}
        for (key, value), size in zip(items.items(), sizes, strict=True):
            encoded = _SPENT
            if size < self.bytes_left:
                self.bytes_left -= size + 1
                encoded = self._share(value, f"{pointer}/{escape(key)}")
            if encoded is _SPENT:
                return self._cut(head, items, pointer, tag, mark)
            head[key] = encoded
        return head

    def _members(self, values: frozenset[Any], pointer: str, tag: str) -> Any:
        """Return the JSON of a set, in an order that does not depend on hashes."""
        items = list(values)
        kinds = set(map(type, items))
        if kinds in _ORDERED_KINDS or not items:
            return self._array(sorted(items), pointer, tag)
        if len(items) > self.items_left and not self.cutting:
            raise BudgetSpent
        outer = self.types, self.opaque
        self._sets_around += 1
        rows: list[tuple[bytes, Any, dict[str, str], list[str]]] = []
        try:
            for item in items:
                self.types, self.opaque = {}, []
                begun = len(self._cuts or ())
                encoded = self._share(item, "") if self.cutting else self.node(item, "")
                if encoded is _SPENT:
                    self._cuts = (self._cuts or [])[:begun]
                    break
                self._finish_cuts(begun)
                rows.append((canonical_bytes(encoded, self.types), encoded, self.types, self.opaque))
        finally:
            self.types, self.opaque = outer
            self._sets_around -= 1
        rows.sort(key=lambda row: row[0])
        encoded_items = [row[1] for row in rows]
        self.bytes_left -= len(rows) + 1
        if len(rows) < len(items):
            return self._cut(encoded_items, values, pointer, tag, (len(self.types), len(self.opaque)))
        for index, (_, _, types, opaque) in enumerate(rows):
            for inner, inner_tag in types.items():
                self.types[f"{pointer}/{index}{inner}"] = inner_tag
                self.bytes_left -= len(pointer) + 8
            self.opaque += [f"{pointer}/{index}{inner}" for inner in opaque]
        return self._spend(0, encoded_items)

    def _share(self, value: Any, pointer: str) -> Any:
        """Return the JSON of a value within half of the remaining budget; `_SPENT` if it does not fit."""
        mark = len(self.types), len(self.opaque)
        kept_bytes, kept_items = (
            self.bytes_left - self.bytes_left // 2,
            self.items_left - self.items_left // 2,
        )
        self.bytes_left //= 2
        self.items_left //= 2
        try:
            return self.node(value, pointer)
        except BudgetSpent:
            self._forget(mark)
            return _SPENT
        finally:
            self.bytes_left += kept_bytes
            self.items_left += kept_items

    def _cut(self, head: Any, whole: Any, pointer: str, tag: str, mark: tuple[int, int]) -> Any:
        """Return the form of a container that was cut, and drop the tags below it, which are useless then."""
        self._forget(mark)
        form = {"head": head, "items": len(whole), "tag": tag}
        if self._cuts is None:
            self._cuts = []
        self._cuts.append((pointer, form, whole))
        self.bytes_left -= 64
        return self._tagged(form, "truncated", pointer)

    def _finish_cuts(self, begun: int) -> None:
        """Add the content to the forms of outermost containers that were cut since then."""
        cuts = self._cuts or []
        for pointer, form, whole in cuts[begun:]:
            if self.types.get(pointer) == "truncated":
                parts = [*whole.keys(), *whole.values()] if type(whole) is dict else whole
                content = self._content_once(whole, (len(whole), *map(id, parts)))
                form[content.kind.value] = content.text
        del cuts[begun:]

    def _content_once(self, value: Any, key: tuple[int, ...]) -> Content:
        """Return the cached content of a value; `key` has the ids of the value or of its parts."""
        if self._contents is None:
            self._contents = {}
        known = self._contents.get(key)
        if known is None:
            known = self._contents[key] = (value, self._content(value))
        return known[1]


class _ContentWalk(Walk):
    """A walk over the content of an object that can be restored completely; raises `_NotPlain` otherwise."""

    __slots__ = ("_form", "_may_refer", "has_stand_ins", "noted")

    def __init__(self, outer: Walk, holder: object, form: dict[str, Any], pointer: str) -> None:
        super().__init__(
            _KEPT_LIMITS, outer.agent_of, cutting=False, reading=outer.reading, start=outer.start
        )
        self._form = form
        self._may_refer = not outer._sets_around  # noqa: SLF001 - of the same class
        """False inside sets, whose members are encoded before their positions are known."""
        if self._may_refer:
            self.first = outer.first
        self.noted: list[tuple[int, str]] = []
        """Keys that this walk added to `first`."""
        self.has_stand_ins = False
        self._note(holder, pointer, None)

    def held(self, value: Any, pointer: str) -> Any:
        """Return the JSON that restores an object; `_SHOWN` if its form does, `_UNKEPT` if nothing does."""
        kind = type(value)
        if is_lock(kind):
            parts = parts_of_idle(value)
            return _UNKEPT if parts is None else self._mapping(_items(parts), pointer, "dict")
        if not is_plain_class(kind) or class_reducer(kind) is not None:
            found = self._parts_of(value, kind)
            return _UNKEPT if found is None else self._reduced(*found, pointer)
        named = name_of(value)
        if named is not None:
            self._form[NAMED] = named
        attributes = attributes_of(value)
        if len(attributes) == len(self._form.get("attributes", ())) and attributes:
            return _SHOWN
        if not attributes and kind is object:
            return _UNKEPT  # a sentinel: only its identity counts
        return self._mapping(_items(attributes), pointer, "dict")

    def _note(self, value: Any, pointer: str, form: dict[str, Any] | None) -> None:
        key = id(value), self._root(pointer)
        if key not in self.first:
            self.noted.append(key)
        self.first[key] = _First(self._below(pointer), value, form)

    def _note_first(self, value: Any, pointer: str) -> None:
        """Do nothing: `_composite` notes what it visits."""

    def _composite(self, value: Any, kind: type, pointer: str) -> Any:
        if _is_unchanging(kind):
            return super()._composite(value, kind, pointer)
        known = self.first.get((id(value), self._root(pointer)))
        if known is not None:
            if not self._may_refer or self._sets_around:
                raise _NotPlain
            return self._tagged(self._spend(len(known.at) + 2, known.at), SAME, pointer)
        if self.reading.places is not None and self.reading.places.field_of(value) is not None:
            raise _NotPlain
        if len(self.path) >= self.max_depth:
            raise _NotPlain
        self._note(value, pointer, self._form if self._may_refer and not self._sets_around else None)
        return super()._composite(value, kind, pointer)

    def _reduce(self, value: Any, kind: type, pointer: str) -> tuple[str, Any]:
        if is_lock(kind):
            parts = parts_of_idle(value)
            if parts is None:
                raise _NotPlain
            return f"{OBJECT}:{class_name(kind)}", parts
        if is_read_generator(value):
            raise _NotPlain  # before its state is read, which takes long
        if builtin_reducer(kind) is None and registered_codec(kind) is None:
            if self.agent_of is not None and self.agent_of(value) is not None:
                raise _NotPlain
            if class_reducer(kind) is None:
                return self._without_codec(value, kind)
        try:
            tag, reduced = super()._reduce(value, kind, pointer)
        except (ValueError, TypeError):
            tag, reduced = "opaque", None
        if tag == "opaque" or (tag.startswith(_MADE_BY_FUNCTION) and "@" in tag):
            tag_and_parts = self._parts_of(value, kind)
            tag, reduced = ("opaque", None) if tag_and_parts is None else tag_and_parts
        if tag in _NO_TAG:
            raise _NotPlain
        return tag, reduced

    def _parts_of(self, value: Any, kind: type) -> tuple[str, Any] | None:
        return parts_of(value, kind, takes_code=self.reading.owner is None, hides=self.reading.hides)

    def _without_codec(self, value: Any, kind: type) -> tuple[str, Any]:
        if not is_plain_class(kind):
            if _is_of_process(value):
                self.has_stand_ins = True
                return f"{STAND_IN}:{class_name(kind)}", None
            parts = self._parts_of(value, kind)
            if parts is None:
                raise _NotPlain
            return parts
        attributes = attributes_of(value)
        if not attributes:
            named = name_of(value)
            if named is not None:
                return f"named:{named}", None
            if kind is object:
                raise _NotPlain  # a sentinel: only its identity counts
        return f"{OBJECT}:{class_name(kind)}", attributes


def _is_unchanging(kind: type) -> bool:
    """Whether objects of a type are immutable, so that their identity does not matter."""
    try:
        return kind in _UNCHANGING or (
            builtin_reducer(kind) is not None and kind.__name__ not in _CHANGING and not is_queue(kind)
        )
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
        return False


def _is_of_process(value: Any) -> bool:
    """Whether it is a task, a loop, or a local function that holds one, such as a cancelling callback."""
    if type(value) is not FunctionType:
        return handle_of(type(value)) in _TASKS
    held = [content for cell in value.__closure__ or () for content in contents_of_cell(cell)]
    return "<locals>" in value.__qualname__ and any(handle_of(type(content)) in _TASKS for content in held)


_TASKS = ("task", "event loop")
