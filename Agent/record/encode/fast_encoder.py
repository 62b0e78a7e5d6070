"""The sweeps of the hot path: they find plain values with known keys and no secrets, and encode them.

`fast_lane.py` and `capture.py` ask here first, and take the slow path if the answer is None. The sweeps are
in C (`_native.c`) if the package was built with a compiler, otherwise in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from Agent.event.limits import Limits
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, any_nonfinite, exceeds
from Agent.record.encode.native import native
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.quick_look import NAME_ENDS, NAMES_NEARBY, literals, looks_clean

Types = dict[str, str]

_MAX_PLAIN_DEPTH = 8
# With these the codec writes times as text by itself, which the native judge then tags.
_TAG_OPTIONS = DUMP_OPTIONS & ~orjson.OPT_PASSTHROUGH_DATETIME
# What the native judge has as constants must lie within the limits.
_NATIVE_DEPTH, _NATIVE_ITEMS = 16, 4096

_ABSENT = object()
_all_scalars = SCALARS.issuperset
_no_floats = (SCALARS - {float}).issuperset


class Judge(Protocol):
    """Checks the payloads of one pipeline; None, also after any error, means: take the slow path."""

    def line_end(self, payload: dict[str, Any], /) -> bytes | None:
        """Return the end of a line whose payload is plain, with known keys and without secrets.

        It is the payload's JSON after its first brace, and the end of the event.
        """

    def tagged(self, payload: Any, pointer: str, /) -> tuple[bytes, Types | None] | None:
        """Like `line_end`, with tags, for payloads with times, UUIDs, tuples and simple objects."""

    def value(self, value: Any, /) -> bytes | None:
        """Return the JSON of one plain value with known keys; its texts are not searched for secrets."""

    def clean(self, raw: bytes, /) -> bool:
        """Tell whether JSON bytes contain nothing in the format of a secret."""


KeysPass = Callable[[Mapping[str, Any]], bool]
"""Whether every key of a mapping is harmless for what stands under it (`Redactor.keys_pass`)."""
FormOf = Callable[[Any], dict[str, Any] | None]


def make_judge(redactor: Redactor, limits: Limits, form_of: FormOf | None = None) -> Judge:
    """Return the fastest available judge for these limits.

    Args:
        form_of: returns the replacement of an object without a codec, or None if that needs the slow path.
    """
    if native is None or limits.max_depth < _NATIVE_DEPTH or limits.max_items < _NATIVE_ITEMS:
        return SweepingJudge(redactor, limits)
    judge: Judge = native.Judge(
        known_keys=redactor.known_keys,
        number_keys=redactor.number_keys,
        dumps=orjson.dumps,
        looks_clean=looks_clean if redactor.enabled and redactor.reads_texts else None,
        options=DUMP_OPTIONS,
        tag_options=_TAG_OPTIONS,
        unread_bytes=limits.unread_bytes,
        prefixes=literals().beginnings,
        heads=literals().heads,
        near_names=NAMES_NEARBY,
        name_ends=NAME_ENDS,
        form_of=form_of,
    )
    if redactor.enabled and redactor.reads_texts:
        redactor.looks_clean = judge.clean
    return judge


class SweepingJudge:
    """The judge in Python: each sweep is one call of something that loops in C."""

    def __init__(self, redactor: Redactor, limits: Limits) -> None:
        self._keys_pass = redactor.keys_pass
        self._check = redactor.enabled and redactor.reads_texts
        self._unread_bytes = limits.unread_bytes

    def line_end(self, payload: dict[str, Any], /) -> bytes | None:
        """See `Judge`."""
        raw = self._plain(payload)
        return None if raw is None else raw[1:] + b"}\n"

    def tagged(self, payload: Any, pointer: str, /) -> tuple[bytes, Types | None] | None:  # noqa: ARG002
        """See `Judge`; here no value has a tag."""
        raw = self._plain(payload) if type(payload) is dict else None
        return None if raw is None else (raw, None)

    def _plain(self, payload: dict[str, Any]) -> bytes | None:
        try:
            if exceeds(payload, self._unread_bytes) or not is_plain(payload, self._keys_pass):
                return None
            raw = orjson.dumps(payload, None, DUMP_OPTIONS)
            if (
                len(raw) > self._unread_bytes
                or (raw.find(b"null") >= 0 and holds_nonfinite(payload))
                or (self._check and not looks_clean(raw))
            ):
                return None
        except Exception:  # noqa: BLE001 - a key that cannot be hashed, a dict that changes meanwhile
            return None
        return raw

    def value(self, value: Any, /) -> bytes | None:
        """See `Judge`."""
        kind = type(value)
        try:
            if exceeds(value, self._unread_bytes):
                return None
            if kind is dict:
                if not self._keys_pass(value):
                    return None
                if _no_floats(map(type, value.values())):
                    raw = orjson.dumps(value, None, DUMP_OPTIONS)
                    return raw if len(raw) <= self._unread_bytes else None
            elif value is None:
                return b"null"
            elif kind is not list and (kind not in SCALARS or value != value):
                return None
            if (kind is dict or kind is list) and not _is_deeply_plain(value, self._keys_pass):
                return None
            raw = orjson.dumps(value, None, DUMP_OPTIONS)
            if len(raw) > self._unread_bytes or (raw.find(b"null") >= 0 and not _is_finite(value)):
                return None
        except Exception:  # noqa: BLE001 - as above
            return None
        return raw

    def clean(self, raw: bytes, /) -> bool:
        """See `Judge`."""
        return not self._check or looks_clean(raw)


def _differing(
    present: Mapping[str, Any], last: Mapping[str, Any], ignored: Mapping[str, type]
) -> list[tuple[str, Any]] | None:
    found = []
    for name, value in list(present.items()):
        before, kind = last.get(name, _ABSENT), type(value)
        if kind in SCALARS and (before is value or (type(before) is kind and before == value)):
            continue
        if ignored.get(name) is not kind:
            found.append((name, value))
    return found if found or not last.keys() <= present.keys() else None


Differing = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, type]], list[tuple[str, Any]] | None]
differing: Differing = _differing if native is None else native.differing
"""The items of a state, a dict, that are neither the scalars recorded last nor of the type that is ignored.

None where there are none and no name of the last state is gone.
"""


def is_plain(payload: Mapping[str, Any], keys_pass: KeysPass) -> bool:
    """Tell whether JSON holds these values exactly and every nested key is known to be harmless."""
    for value in payload.values():
        kind = type(value)
        if kind is dict:
            if not keys_pass(value):
                return False
            if not _all_scalars(map(type, value.values())) and not _is_deeply_plain(value, keys_pass):
                return False
        elif kind is list:
            if not _all_scalars(map(type, value)) and not _is_deeply_plain(value, keys_pass):
                return False
        elif kind not in SCALARS:
            return False
    return True


def _is_deeply_plain(value: Any, keys_pass: KeysPass, depth: int = 0) -> bool:
    """The same for the items of one container."""
    if depth > _MAX_PLAIN_DEPTH:
        return False
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is dict:
            if not keys_pass(item):
                return False
            if not _all_scalars(map(type, item.values())) and not _is_deeply_plain(
                item, keys_pass, depth + 1
            ):
                return False
        elif kind is list:
            if not _all_scalars(map(type, item)) and not _is_deeply_plain(item, keys_pass, depth + 1):
                return False
        elif kind not in SCALARS:
            return False
    return True


def holds_nonfinite(value: Any) -> bool:
    """Tell whether a plain container holds a NaN or infinity, which the encoder would write as null."""
    children = list(value.values() if type(value) is dict else value)
    return any_nonfinite(children) or any(
        holds_nonfinite(child) for child in children if type(child) is dict or type(child) is list
    )


def _is_finite(value: Any) -> bool:
    """Whether orjson wrote no null for a number of the value."""
    if type(value) is dict or type(value) is list:
        return not holds_nonfinite(value)
    return not any_nonfinite((value,))
