"""How often recording reads what has much content: arguments, results, and large fields in early full states.

Reading such a value takes time in proportion to its content, at every call, whether or not it changed. The
first eight calls of a function read them until 8 MB is read, and later ones until 1 MB is read. After that,
an average of 1 KiB a call is read, of results 8 KiB: the other calls record the class and the plain
attributes. Agents with large fields get no full states besides the periodic ones then.

A program may have hundreds of functions that are all given one session of a database. So there is also one
account for all functions of a program, which `LargeContents` asks first. Once it is spent, an argument counts
as large in a function's first call, too, if an object of its class was large in a call of another function.

Containers and texts of builtin types are large only where the limits would cut them, so that what is recorded
whole, and can be given again in a replay, is in every call. Their size is known before they are read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from Agent.event.classes import MOST_CLASSES
from Agent.event.pointers import unescape, value_at
from Agent.event.values.arrays import is_cut_array
from Agent.event.values.opaque import LARGE_BYTES, NOT_READ
from Agent.event.values.plain import SCALARS, read_json, write_json
from Agent.event.values.reading import Limits, Named

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture, Types

FREE_BYTES = 1_000_000
"""Read before any call leaves something out: it takes about 0.3 s."""
BYTES_A_CALL = 1024
BYTES_A_RESULT = 8 * BYTES_A_CALL
"""A result is what a changed program shows first, so more of it is read: about 2 ms a call."""
MUCH_BYTES = 100_000
"""A full state that reads more counts by this, and not only by the number of its large fields."""
FREE_CALLS = 8
"""Calls that leave nothing out, so that a short program is recorded whole."""
FREE_BYTES_OF_CALLS = 8_000_000
"""These calls, too, leave out what is large once so much was read, which takes about 0.5 s."""


FREE_BYTES_OF_PROGRAM = 16_000_000
"""Read by all functions together before each is bounded by what the others read: it takes 4 to 10 s."""


class ProgramContents:
    """The account of all functions of a program, those of each, and the classes whose objects were large.

    Args:
        reads_always: whether every call reads them.
    """

    __slots__ = ("_accounts", "_bytes_left", "_classes", "_reads_always")

    def __init__(self, *, reads_always: bool) -> None:
        self._reads_always = reads_always
        self._accounts: dict[tuple[object, bool], LargeContents] = {}
        self._bytes_left = FREE_BYTES_OF_PROGRAM
        self._classes: dict[int, type] = {}
        """By `id`, because a metaclass may have its own `__hash__`."""

    def of(self, function: object, *, of_results: bool = False) -> LargeContents:
        """Return the account of a traced function's large arguments, or of its large results."""
        account = self._accounts.get((function, of_results))
        if account is None:
            account = self._accounts[function, of_results] = LargeContents(
                reads_always=self._reads_always,
                bytes_a_call=BYTES_A_RESULT if of_results else 0,
                program=self,
            )
        return account

    @property
    def is_spent(self) -> bool:
        """Whether no function may read more at the moment."""
        return self._bytes_left <= 0

    def earn(self, size_bytes: int) -> None:
        """Count what a call adds to the account."""
        self._bytes_left = min(self._bytes_left + size_bytes, FREE_BYTES_OF_PROGRAM)

    def spend(self, size_bytes: int) -> None:
        """Count content that was read."""
        self._bytes_left -= size_bytes

    def note_large(self, values: Iterable[object]) -> None:
        """Remember the classes of large values, except containers and texts, which differ in size."""
        for value in values:
            cls = type(value)
            if id(cls) in self._classes or id(cls) in _SIZED_IDS or len(self._classes) >= MOST_CLASSES:
                continue
            self._classes[id(cls)] = cls

    def large_of(self, arguments: Mapping[str, object]) -> set[str]:
        """Return the arguments that are probably large; none while there is something left to read them."""
        if self._reads_always or not self.is_spent:
            return set()
        return {name for name, value in arguments.items() if id(type(value)) in self._classes}


class LargeContents:
    """The account of one function's arguments or results, or of all agents' fields.

    Args:
        reads_always: whether every call reads them.
        are_first_free: whether the first calls read them whatever their size.
        bytes_a_call: what each call may read on average; BYTES_A_CALL by default.
        program: the account of all functions together, if it counts.
    """

    __slots__ = ("_are_first_free", "_bytes_a_call", "_bytes_left", "_calls", "_program", "_reads_always")

    def __init__(
        self,
        *,
        reads_always: bool,
        are_first_free: bool = True,
        bytes_a_call: int = 0,
        program: ProgramContents | None = None,
    ) -> None:
        self._are_first_free = are_first_free
        self._bytes_a_call = bytes_a_call or BYTES_A_CALL
        self._bytes_left = FREE_BYTES
        self._calls = 0
        self._program = program
        self._reads_always = reads_always

    def is_due(self, calls: int = 1) -> bool:
        """Whether a call reads them; asked once for its arguments, and once for what it adds to them.

        Args:
            calls: how many calls there were since it was asked last.
        """
        if self._reads_always:
            return True
        self._calls += 1
        self._bytes_left = min(self._bytes_left + calls * self._bytes_a_call, FREE_BYTES)
        if self._program is not None:
            self._program.earn(calls * self._bytes_a_call)
            if self._program.is_spent:
                return False
        if self._bytes_left > 0:
            return True
        is_first = self._are_first_free and self._calls <= FREE_CALLS
        return is_first and FREE_BYTES - self._bytes_left < FREE_BYTES_OF_CALLS

    def spend(self, size_bytes: int) -> None:
        """Count content that was read."""
        self._bytes_left -= size_bytes
        if self._program is not None:
            self._program.spend(size_bytes)


BYTES_AN_ITEM = 8
"""Reading an item of a large container takes about as long as reading this much content of objects."""
CHARS_A_BYTE = 64
"""Reading this many characters of a text takes as long as reading one byte of the content of objects."""
ARRAY_BYTES_A_BYTE = 128
"""The same for the bytes of an array, so that each frame of 210 x 160 pixels in three colours is read."""

# By `id`, because a metaclass may have its own `__hash__`.
_TEXT_IDS = frozenset(map(id, (str, bytes, bytearray)))
_SIZED_IDS = _TEXT_IDS.union(map(id, (list, dict, tuple, set, frozenset, deque)))


def size_if_cut(value: Any, limits: Limits) -> int:
    """Return how much content a container, text or array counts for if the limits cut it; 0 for all else.

    Only builtin types and arrays of numpy are looked at, and of a container the lengths of its members.
    """
    kind = type(value)
    if id(kind) not in _SIZED_IDS:
        return max(1, value.nbytes // ARRAY_BYTES_A_BYTE) if is_cut_array(value, limits) else 0
    count = len(value)
    if id(kind) in _TEXT_IDS:
        return count // CHARS_A_BYTE if count > limits.max_bytes else 0
    if count > limits.max_items:
        return count * BYTES_AN_ITEM
    members = tuple(value.values() if kind is dict else value)  # in C: another thread may change it
    if _SIZED_IDS.isdisjoint(map(id, map(type, members))):
        return 0
    chars, items = _lengths_of(members)
    if count + items <= limits.max_items and chars <= limits.max_bytes:
        return 0
    return (count + items) * BYTES_AN_ITEM + chars // CHARS_A_BYTE


def _lengths_of(members: Iterable[Any]) -> tuple[int, int]:
    """Return the number of characters in texts among some values, and the number of items in containers."""
    chars = items = 0
    for member in members:
        kind = id(type(member))
        if kind in _TEXT_IDS:
            chars += len(member)
        elif kind in _SIZED_IDS:
            items += len(member)
    return chars, items


def sizes_if_cut(values: Mapping[str, Any], limits: Limits) -> dict[str, int]:
    """Return {name: size} of the values that the limits would cut."""
    found: dict[str, int] = {}
    for name, value in values.items():
        if size := size_if_cut(value, limits):
            found[name] = size
    return found


def sizes_of_large(
    body: bytes, types: Mapping[str, str] | None, key: str, limits: Limits, above: str = "/extra"
) -> dict[str, int]:
    """Return {name: bytes} of the values below a key that have over 4 KiB and an object without a codec.

    A container that was cut deep inside a value, or for what its objects hold, counts, too: `size_if_cut` did
    not see that.

    Args:
        body: a payload's inner JSON.
        types: its tags.
        key: `args` or `args_after`; `args` or `kwargs` of a constructor.
        above: the pointer to the payload.
    """
    if types is None:
        return {}
    is_short = len(body) <= LARGE_BYTES and b'"size_bytes":' not in body
    if is_short and "truncated" not in types.values():  # an array that is cut is short, too
        return {}
    payload = read_json(b"{%s}" % body)
    start = f"{above}/{key}/"
    contents: dict[str, set[int]] = {}
    for pointer, tag in types.items():
        if tag in {"opaque", "truncated"} and pointer.startswith(start):
            form: Any = value_at(payload, pointer.removeprefix(above))
            size = form.get("size_bytes", 0) if type(form) is dict else 0
            if tag == "truncated":
                items = form.get("items", 0) if type(form) is dict else 0
                if "/" not in pointer[len(start) :] and not 0 < items <= limits.max_items:
                    continue  # `size_if_cut` has counted it
                size = _size_of_items(items, form.get("dtype", ""))
            # Objects that lead to one graph have equal sizes, and it was walked once.
            contents.setdefault(unescape(pointer[len(start) :].partition("/")[0]), set()).add(size)
    held = payload[key]
    raw = {name: held[int(name)] if type(held) is list else held[name] for name in contents}
    sizes = {name: len(write_json(raw[name])) + sum(found) for name, found in contents.items()}
    return {name: size for name, size in sizes.items() if size > LARGE_BYTES}


_ITEM_BYTES = re.compile(r"\d+")


def _size_of_items(items: int, dtype: str) -> int:
    """Return how much content a cut container counts for, or an array if it has a `dtype`, such as `<f8`."""
    found = _ITEM_BYTES.search(dtype)
    return items * int(found[0]) // ARRAY_BYTES_A_BYTE if found is not None else items * BYTES_AN_ITEM


class LargeArguments(Protocol):
    """The arguments of a constructor that had over 4 KiB of content when all were read last."""

    large_args: Collection[str]
    """Positions, as texts."""
    large_kwargs: Collection[str]


def constructor_body(
    capture: Capture,
    contents: LargeContents,
    large: LargeArguments,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    positional: Mapping[int, str] | None,
) -> tuple[bytes, Types | None]:
    """Encode a constructor's arguments; read large ones as often as the account allows.

    Hundreds of agents may be given one world: reading it for each takes time quadratic in their number.

    Args:
        positional: as for `Capture.constructor_body`.
    """
    cut = {at: size for at, each in enumerate(args) if (size := size_if_cut(each, capture.limits))}
    cut_by_name = sizes_if_cut(kwargs, capture.limits)
    if (large.large_args or large.large_kwargs or cut or cut_by_name) and not contents.is_due():
        args = tuple(
            unread(each, is_cut=at in cut) if at in cut or str(at) in large.large_args else each
            for at, each in enumerate(args)
        )
        kwargs = {
            name: unread(each, is_cut=name in cut_by_name)
            if name in cut_by_name or name in large.large_kwargs
            else each
            for name, each in kwargs.items()
        }
        return capture.constructor_body(args, kwargs, _INIT, positional)
    body, types = capture.constructor_body(args, kwargs, _INIT, positional)
    sizes = [sizes_of_large(body, types, key, capture.limits, _INIT) for key in ("args", "kwargs")]
    large.large_args, large.large_kwargs = sizes
    contents.spend(sum(sum(each.values()) for each in (*sizes, cut_by_name)) + sum(cut.values()))
    return body, types


_INIT = "/extra/init"


def unread(value: object, *, is_cut: bool = False) -> object:
    """Return what is recorded for a value that is not read; a scalar itself, which costs nothing to read.

    Args:
        is_cut: whether the limits would cut it, so that even a text is not read.
    """
    return value if not is_cut and type(value) in SCALARS else Named(value, NOT_READ)


def unread_arguments(payload: Mapping[str, Any], key: str = "args") -> list[str]:
    """Return the arguments that a recorded call did not read; their changes are not recorded either.

    Args:
        key: `args_after` for those that the call made so large that only their change was not read.
    """
    args = payload.get(key)
    forms = args.items() if type(args) is dict else ()
    return [name for name, form in forms if type(form) is dict and form.get("reference") == NOT_READ]
