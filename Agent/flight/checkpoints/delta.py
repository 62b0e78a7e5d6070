"""Exact deltas between two JSON values: `diff` computes one, `apply` turns the old value into the new one.

Checkpoints store deltas between full snapshots. A delta has the nesting of the value, so that no path is
written twice, and it preserves the order of keys: the result equals the new value to the byte.

    [0, value]                                  replace by this value
    [1, {key: delta}, {key: value}, [key], script]    an object: changed, added, removed, order
    [2, script]                                 a list: n > 0 keeps n items, n < 0 skips n,
                                                [values] inserts them, {"0": delta} changes the next one

Blocks of equal items in two lists are found by items that are unique in both, and then by unique runs of
items, as `diff --patience` does for lines. So an insertion does not affect the rest of the list, and the time
is O(n log n) for all lists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from Agent.errors import DamagedInput
from Agent.event.pointers import escape, fold_tags
from Agent.event.values.digest import digest_bytes
from Agent.event.values.plain import ask_memory_for, read_json, write_json
from Agent.event.values.reading import Limits
from Agent.event.values.values import decode_value
from Agent.record.encode.capture import Capture

Block = tuple[int, int, int]
"""(position in the old list, position in the new list, number of equal items)."""

_WIDTHS = (1, 2, 4, 16)
"""The lengths of runs that are tried: lists of few distinct values have no unique items, but unique runs."""


def matching_blocks(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Block]:
    """Find blocks of equal items whose positions increase in both lists; not always the largest ones.

    Args:
        old, new: the keys, or the JSON texts of the items.
    """
    blocks: list[Block] = []

    def add_between(a: int, a_end: int, b: int, b_end: int, widths: tuple[int, ...]) -> None:
        """Add the blocks of one region; regions between anchors are searched for longer runs."""
        begin = a
        while a < a_end and b < b_end and old[a] == new[b]:
            a += 1
            b += 1
        if a > begin:
            blocks.append((begin, b - (a - begin), a - begin))
        tail = 0
        while a < a_end - tail and b < b_end - tail and old[a_end - tail - 1] == new[b_end - tail - 1]:
            tail += 1
        a_end -= tail
        b_end -= tail
        for number, width in enumerate(widths) if a < a_end and b < b_end else ():
            theirs = _unique(new, (b, b_end), width)
            pairs = [
                (at, theirs[run]) for run, at in _unique(old, (a, a_end), width).items() if run in theirs
            ]
            anchors = _rising(sorted(pairs))
            if not anchors:
                continue
            for a_next, b_next in [*anchors, (a_end, b_end)]:
                if a_next < a or b_next < b:
                    continue  # the previous block already covers this anchor
                add_between(a, a_next, b, b_next, widths[number + 1 :])
                a, b = a_next, b_next
                while a < a_end and b < b_end and old[a] == new[b]:
                    a += 1
                    b += 1
                if a > a_next:
                    blocks.append((a_next, b_next, a - a_next))
            break
        if tail:
            blocks.append((a_end, b_end, tail))

    add_between(0, len(old), 0, len(new), _WIDTHS)
    return blocks


def _unique(items: Sequence[Hashable], region: tuple[int, int], width: int) -> dict[Hashable, int]:
    """{run of that width that occurs once in the region: its position}."""
    seen: dict[Hashable, int] = {}
    doubled: set[Hashable] = set()
    begin, end = region
    for position in range(begin, end - width + 1):
        run: Hashable = items[position] if width == 1 else tuple(items[position : position + width])
        if run in seen:
            doubled.add(run)
        else:
            seen[run] = position
    for run in doubled:
        del seen[run]
    return seen


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence of pairs, sorted by the first item, whose second items increase."""
    seconds = [b for _, b in pairs]
    if seconds == sorted(seconds):  # the common case: no item moved
        return pairs
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for number, (_, b) in enumerate(pairs):
        length = bisect_left(ends, b)
        before.append(tops[length - 1] if length else -1)
        if length == len(ends):
            ends.append(b)
            tops.append(number)
        else:
            ends[length] = b
            tops[length] = number
    series: list[tuple[int, int]] = []
    number = tops[-1] if tops else -1
    while number >= 0:
        series.append(pairs[number])
        number = before[number]
    series.reverse()
    return series


Delta = list[Any]
_ABSENT: Any = object()
_CONTAINERS = frozenset({dict, list})
_PUT, _OBJECT, _LIST = 0, 1, 2
_MAX_TRIED: Final = 8
"""The longest gap in which both alignments of unequal numbers of items are tried."""
_FEW: Final = 8
"""`_nearby_blocks` follows up to 8 differences plus one per 20 items before it gives up."""
_NEAR: Final = 6
"""How many items `_meeting` looks ahead."""
_ALIKE: Final = 3
"""The number of equal items in a row after which two lists count as aligned again."""


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values have the same text; unlike in Python, 1 is not True, and key order counts."""
    kind = type(one)
    if kind is not type(other) or one != other:
        return False
    if kind in _CONTAINERS:
        return not one or orjson.dumps(one) == orjson.dumps(other)
    return kind is not float or one != 0.0 or str(one) == str(other)


def diff(old: Any, new: Any) -> Delta | None:
    """Compute the delta from one JSON value to another; None if they have the same text.

    Neither value is changed; the delta shares objects with `new`.
    """
    ask_memory_for([old, new])
    return None if same(old, new) else _delta(old, new)


def apply(value: Any, delta: Delta) -> Any:
    """Apply a delta and return the new value, which shares objects with the delta.

    The old value may be changed in place, so do not use it afterwards.

    Raises:
        LookupError, TypeError, ValueError: the delta does not fit the value.
    """
    kind = delta[0]
    if kind == _PUT:
        return delta[1]
    if kind == _LIST:
        return _scripted(value, delta[1])
    if kind != _OBJECT:
        raise ValueError(f"a delta of the unknown kind {kind!r}")
    changed, added, removed, order = _parts(delta)
    for key, inner in changed.items():
        value[key] = apply(value[key], inner)
    for key in removed:
        del value[key]
    value.update(added)
    if order:
        value = {key: value[key] for key in _scripted(list(value), order)}
    return value


def _parts(delta: Delta) -> tuple[dict[str, Delta], dict[str, Any], list[str], list[Any]]:
    padded = [*delta[1:], *({}, {}, [], [])[len(delta) - 1 :]]
    return padded[0], padded[1], padded[2], padded[3]


def _scripted(items: list[Any], script: list[Any]) -> list[Any]:
    """Apply a list script; items after its last step are kept."""
    result: list[Any] = []
    position = 0
    for step in script:
        if type(step) is int:
            if step > 0:
                result += items[position : position + step]
            position += abs(step)
        elif type(step) is list:
            result += step
        else:
            result.append(apply(items[position], step["0"]))
            position += 1
    if position > len(items):
        raise ValueError("a delta is longer than its list")
    return result + items[position:]


def _delta(old: Any, new: Any) -> Delta:
    """The delta between different values; a replacement if a nested delta would not be shorter."""
    kind = type(new)
    if kind is not type(old) or kind not in _CONTAINERS or not old or not new:
        return [_PUT, new]
    delta = _object_delta(old, new) if kind is dict else [_LIST, _list_script(old, new)]
    return delta if len(orjson.dumps(delta)) < len(orjson.dumps(new)) else [_PUT, new]


def _object_delta(old: dict[str, Any], new: dict[str, Any]) -> Delta:
    """The delta between two objects, including the order of keys."""
    changed: dict[str, Delta] = {}
    added: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key, _ABSENT)
        if before is _ABSENT:
            added[key] = value
        elif not same(before, value):
            changed[key] = _delta(before, value)
    removed = [key for key in old if key not in new]
    left = [key for key in old if key in new]
    left += added
    order = list(new)
    # Removing and adding keys alone gives another order, which a script over the keys restores.
    script = [] if left == order else _script(left, order, matching_blocks(left, order), _replace)
    delta: Delta = [_OBJECT, changed, added, removed, script]
    while not delta[-1]:
        delta.pop()
    return delta


def _list_script(old: list[Any], new: list[Any]) -> list[Any]:
    blocks = _nearby_blocks(old, new)
    if blocks is None:
        blocks = matching_blocks(_texts(old), _texts(new))
    return _script(old, new, blocks, _gap)


def _script(
    old: list[Any],
    new: list[Any],
    blocks: list[Block],
    gap: Callable[[list[Any], list[Any], list[Any]], None],
) -> list[Any]:
    """The script that keeps blocks of equal items; `gap` appends the steps for the items between them."""
    script: list[Any] = []
    a = b = 0
    for a_next, b_next, count in [*blocks, (len(old), len(new), 0)]:
        gap(script, old[a:a_next], new[b:b_next])
        _append_step(script, count)
        a, b = a_next + count, b_next + count
    # `_scripted` keeps the rest of the list, so a last "keep" step is redundant.
    if script and type(script[-1]) is int and script[-1] > 0:
        script.pop()
    return script


def _replace(script: list[Any], old: list[Any], new: list[Any]) -> None:
    """A gap between two blocks of equal keys: remove the old keys and insert the new ones."""
    _append_step(script, -len(old))
    if new:
        script.append(new)


def _texts(items: list[Any]) -> list[str]:
    # Decoded, because each bytes object would keep the 1 KiB buffer that orjson allocates.
    return [write_json(item).decode() for item in items]


def _nearby_blocks(old: list[Any], new: list[Any]) -> list[Block] | None:
    """Find the blocks in one pass if few items changed and none moved far; None for other lists."""
    blocks: list[Block] = []
    a = b = 0
    left = _FEW + len(old) // 20
    while True:
        begin = a
        a += _alike(old, new, a, b)
        b += a - begin
        if a > begin:
            blocks.append((begin, b - (a - begin), a - begin))
        if a == len(old) or b == len(new):
            return blocks
        left -= 1
        meeting = _meeting(old, new, a, b) if left >= 0 else None
        if meeting is None:
            return None
        a, b = meeting


def _alike(old: list[Any], new: list[Any], a: int, b: int) -> int:
    """The number of items from these positions on that have the same text."""
    count = 0
    most = min(len(old) - a, len(new) - b)
    while count < most and old[a + count] == new[b + count]:
        count += 1
    # `==` is fast, but takes 1 for True; one comparison of the texts confirms all items at once.
    if not count or orjson.dumps(old[a : a + count]) == orjson.dumps(new[b : b + count]):
        return count
    return next(number for number in range(count) if not same(old[a + number], new[b + number]))


def _meeting(old: list[Any], new: list[Any], a: int, b: int) -> tuple[int, int] | None:
    """The next positions, up to `_NEAR` items ahead in one or both lists, from which they are equal again."""
    for ahead in range(1, _NEAR + 1):
        for i, other in ((a + ahead, b + ahead), (a, b + ahead), (a + ahead, b)):
            # Require several equal items: in lists of few distinct values, one may be equal by chance.
            alike = 0
            while (
                alike < _ALIKE
                and i + alike < len(old)
                and other + alike < len(new)
                and same(old[i + alike], new[other + alike])
            ):
                alike += 1
            at_end = i + alike == len(old) and other + alike == len(new)
            if alike == _ALIKE or at_end:
                return i, other
    return None


def _gap(script: list[Any], old: list[Any], new: list[Any]) -> None:
    """A gap between two blocks of equal items: change items in pairs, insert or remove the surplus."""
    surplus = len(new) - len(old)
    if not surplus or not old or not new:
        _paired(script, old, new, 0)
        return
    candidates: list[list[Any]] = []
    for lead in (0, abs(surplus)) if max(len(old), len(new)) <= _MAX_TRIED else (0,):
        tried: list[Any] = []
        _paired(tried, old, new, lead)
        candidates.append(tried)
    for step in min(candidates, key=lambda tried: len(orjson.dumps(tried))):
        if type(step) is int:
            _append_step(script, step)
        else:
            script.append(step)


def _paired(script: list[Any], old: list[Any], new: list[Any], lead: int) -> None:
    """Pair items in order, after the first `lead` items of the longer list; insert or remove the rest."""
    if len(new) > len(old):
        if lead:
            script.append(new[:lead])
        for before, after in zip(old, new[lead:], strict=False):
            _change(script, before, after)
        if new[lead + len(old) :]:
            script.append(new[lead + len(old) :])
        return
    _append_step(script, -lead)
    for before, after in zip(old[lead:], new, strict=False):
        _change(script, before, after)
    _append_step(script, -(len(old) - lead - len(new)))


def _change(script: list[Any], before: Any, after: Any) -> None:
    delta = _delta(before, after) if not same(before, after) else None
    if delta is None:
        _append_step(script, 1)
    else:
        script.append({"0": delta})


def _append_step(script: list[Any], count: int) -> None:
    """Append a step that keeps (> 0) or skips (< 0) items, merged with a previous step of the same sign."""
    if not count:
        return
    if script and type(script[-1]) is int and (script[-1] > 0) == (count > 0):
        script[-1] += count
    else:
        script.append(count)


CHECKPOINT_LIMITS: Final = Limits(
    max_string_chars=64 << 20, max_bytes=256 << 20, max_items=20_000_000, max_depth=100
)
"""Much larger limits than for an event: a truncated checkpoint could not be resumed."""

_TYPE, _VALUE = "$type", "$value"
_MARK = b'"$type"'
_PLAIN = "plain"
_LOST_TAGS = ("opaque", "truncated")


class CheckpointDocument(NamedTuple):
    """The values of a checkpoint in the stored form."""

    text: bytes
    """One JSON object, with tags in place as `{"$type": tag, "$value": value}`."""
    value: Any
    """The parsed text; it is shared, so do not change it."""
    digest: str
    """The digest of the text."""
    opaque: tuple[str, ...]
    """Pointers of the values that cannot be restored."""


def encode_document(values: Mapping[str, Any], capture: Capture) -> CheckpointDocument:
    """Encode values as one redacted JSON object; never raises because of a value.

    Args:
        values: {name in the document, such as `state`: value}.
        capture: converts and redacts the values.
    """
    body, types = capture.body(values, "")
    text = b"{" + body + b"}"
    value = read_json(text)
    if capture.levels is not None and capture.levels.reads_lines:
        types = dict(types or {})
        value = capture.levels.document(value, types)
        text = write_json(value)
    if types or _MARK in text:
        value = _marked(value, types or {}, escaping=_MARK in text)
        text = write_json(value)
    lost = tuple(pointer for pointer, tag in (types or {}).items() if tag in _LOST_TAGS)
    return CheckpointDocument(text, value, digest_bytes(text), lost)


def decode_document(document: Any, text: bytes, unrestored: list[str] | None = None) -> dict[str, Any]:
    """Restore the Python values of a document.

    Args:
        document: the parsed document; it is changed in place.
        text: the document as text.
        unrestored: if given, collects the pointers of the values that could not be restored.

    Raises:
        DamagedInput: the document is not a JSON object, or a tag has no value.
    """
    value, types = plain_document(document, text)
    return dict(decode_value(value, types, unrestored=unrestored)) if types else value


def plain_document(document: Any, text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert a document to plain JSON and {JSON Pointer: tag}, as in events; raises DamagedInput."""
    if type(document) is not dict:
        raise DamagedInput("a checkpoint's document is not a JSON object")
    types: dict[str, str] = {}
    if _MARK not in text:
        return document, types
    try:
        return _unmarked(document, "", types), types
    except LookupError:
        raise DamagedInput("a tag in a checkpoint's document has no value") from None


def _marked(value: Any, types: Mapping[str, str], *, escaping: bool) -> Any:
    """Put the tags into a copy of the value as marks; a user's mapping with a key `$type` is marked as plain.

    Args:
        value: plain JSON.
        types: {JSON Pointer: tag}.
        escaping: whether the text contains `"$type"`, so that all mappings must be searched for the key.
    """
    plain = set(_like_marks(value, "")) if escaping else set()

    def mark(tag: str, node: Any, at: str) -> Any:
        if at in plain:
            node = {_TYPE: _PLAIN, _VALUE: node}
        return {_TYPE: tag, _VALUE: node} if at in types else node

    return fold_tags(value, {**dict.fromkeys(plain, _PLAIN), **types}, "", mark)


def _like_marks(value: Any, at: str) -> Iterator[str]:
    """Yield the pointers of the mappings with a key `$type`."""
    if type(value) is dict and _TYPE in value:
        yield at
    for key, child in _children(value):
        yield from _like_marks(child, f"{at}/{escape(str(key))}")


def _unmarked(value: Any, at: str, types: dict[str, str]) -> Any:
    """Replace the marks in the value at a pointer by the marked values; collect the tags in `types`."""
    if type(value) is dict and (tag := value.get(_TYPE)) is not None:
        value = value[_VALUE]
        if tag != _PLAIN:
            types[at] = tag
            # A tagged value is not a mark itself, unless it is a mapping that was escaped as plain.
            if type(value) is dict and value.get(_TYPE) == _PLAIN:
                value = value[_VALUE]
    for key, child in _children(value):
        if type(child) in _CONTAINERS:
            value[key] = _unmarked(child, f"{at}/{escape(str(key))}", types)
    return value


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    """(key or index, value) of the members of a mapping or a list; none for other values."""
    if type(value) is dict:
        return value.items()
    return enumerate(value) if type(value) is list else ()
