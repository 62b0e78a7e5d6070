"""Values of numpy and pandas that are more than an array of numbers, as parts, and back by constructors.

Parts are read past what pandas keeps for the next time it is asked, so that looking changes nothing. Neither
library is loaded here. What a constructor gives counts only if its content has the recorded digest, so that a
version of pandas that builds something else is found out.
"""

# ruff: noqa: SLF001 - see above
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from Agent.event.classes import class_name

__all__ = ["Form", "table_form"]


class Form(NamedTuple):
    """How objects over a class written in C are taken apart and made again."""

    split: Callable[[Any], list[Any] | None]
    """Their parts; None where they cannot be made again."""
    make: Callable[..., Any]
    """From their class and the parts to an object; attributes are put back afterwards."""


def table_form(cls: type) -> Form | None:
    """How objects of exactly that class of numpy or pandas are made again; None for others."""
    library = class_name(cls).partition(".")[0]
    module = sys.modules.get(library)
    if library not in _FORMS or module is None:
        return None
    form = _FORMS[library].get(cls.__name__)
    is_there = form is not None and any(
        vars(each).get(cls.__name__) is cls
        for each in (
            module,
            *(sys.modules.get(f"{library}.{name}", module) for name in ("arrays", "api.typing", "ma")),
        )
    )
    return form if is_there else None


_OBJECTS = "O"


def _array_parts(value: Any) -> list[Any] | None:
    numpy: Any = sys.modules["numpy"]
    dtype, shape = value.dtype, list(value.shape)
    if dtype.names is None:
        if dtype.kind != _OBJECTS:
            return [dtype.str, shape, value.tobytes()] if dtype.kind == "S" else None
        return [_OBJECTS, shape, numpy.ndarray.tolist(value.reshape(-1))]
    if dtype.hasobject:
        return [dtype.descr, shape, [value[name] for name in dtype.names]]
    return [dtype.descr, shape, value.tobytes()]


def _make_array(_cls: type, dtype: Any, shape: list[int], data: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    if dtype == _OBJECTS:
        made = numpy.empty(len(data), object)
        for index, item in enumerate(data):
            made[index] = item
        return made.reshape(shape)
    known = numpy.dtype(dtype)
    if type(data) is bytes:
        if known.hasobject:
            raise LookupError("addresses")
        return numpy.frombuffer(data, known).reshape(shape).copy()
    made = numpy.empty(shape, known)
    for name, column in zip(known.names, data, strict=True):
        made[name] = column
    return made


def _make_scalar(_cls: type, dtype: Any, data: bytes) -> Any:
    return _make_array(_cls, dtype, [1], data)[0]


def _scalar_parts(value: Any) -> list[Any] | None:
    dtype = value.dtype
    return None if dtype.hasobject else [dtype.descr if dtype.names else dtype.str, value.tobytes()]


def _masked_parts(value: Any) -> list[Any]:
    numpy: Any = sys.modules["numpy"]
    fill = vars(value).get("_fill_value")
    return [numpy.asarray(value.data), numpy.asarray(value.mask), fill, bool(value.hardmask)]


def _make_masked(cls: Any, data: Any, mask: Any, fill: Any, is_hard: bool) -> Any:
    made = cls(data, mask=mask, hard_mask=is_hard)
    if fill is not None:
        made.fill_value = fill
    return made


def _pandas() -> Any:
    return sys.modules["pandas"]


def _make_timestamp(cls: Any, moment: Any, zone: Any, fold: int) -> Any:
    made = cls(moment)
    if zone is not None:
        made = made.tz_localize("UTC").tz_convert(zone)
    return made.replace(fold=fold) if fold else made


def _index_parts(value: Any) -> list[Any]:
    return [value._data, value._name]


def _make_index(cls: Any, values: Any, name: Any) -> Any:
    return cls(values, dtype=values.dtype, name=name)


def _times_parts(value: Any) -> list[Any]:
    held = getattr(value, "_data", value)  # an index, or the array itself
    freq = getattr(held, "_freq", None) or getattr(value, "_freq", None)
    return [held._ndarray, getattr(held.dtype, "tz", None), None if freq is None else freq.freqstr]


def _make_times(cls: Any, moments: Any, zone: Any, freq: str | None, name: Any = None) -> Any:
    pandas = _pandas()
    index = pandas.DatetimeIndex if moments.dtype.kind == "M" else pandas.TimedeltaIndex
    made = index(moments, freq=freq, name=name)
    if zone is not None:
        made = made.tz_localize("UTC").tz_convert(zone)
    return made if issubclass(cls, pandas.Index) else made.array


def _series_parts(value: Any) -> list[Any]:
    return [value._mgr.blocks[0].values, value.index, value.name, dict(value.attrs)]


def _make_series(cls: Any, values: Any, index: Any, name: Any, attributes: dict[Any, Any]) -> Any:
    made = cls(values, index=index, name=name, dtype=values.dtype)
    made.attrs.update(attributes)
    return made


def _frame_parts(value: Any) -> list[Any]:
    numpy: Any = sys.modules["numpy"]
    columns: dict[int, Any] = {}
    for block in value._mgr.blocks:
        held = block.values
        columns.update(
            zip(map(int, block.mgr_locs), held if type(held) is numpy.ndarray else [held], strict=True)
        )
    return [[columns[at] for at in sorted(columns)], value.columns, value.index, dict(value.attrs)]


def _make_frame(cls: Any, columns: list[Any], names: Any, index: Any, attributes: Any) -> Any:
    made = cls(dict(enumerate(columns)), index=index)
    made.columns = names
    made.attrs.update(attributes)
    return made


def _text_array_parts(value: Any) -> list[Any] | None:
    return [[None if item is not item or item is _pandas().NA else item for item in value], str(value.dtype)]


def _make_text_array(_cls: type, texts: list[Any], dtype: str) -> Any:
    if dtype not in {"str", "string"}:
        raise LookupError(dtype)
    return _pandas().array(texts, dtype=dtype)


_TIMES = Form(_times_parts, _make_times)
_NAMED_TIMES = Form(lambda value: [*_times_parts(value), value._name], _make_times)
_TEXTS = Form(_text_array_parts, _make_text_array)
_NULLABLE = Form(
    lambda value: [value._data, value._mask],
    lambda cls, values, mask: cls(values, mask),
)
_INDEX = Form(_index_parts, _make_index)

_FORMS: dict[str, dict[str, Form]] = {
    "numpy": {
        "ndarray": Form(_array_parts, _make_array),
        "void": Form(_scalar_parts, _make_scalar),
        "bytes_": Form(_scalar_parts, _make_scalar),
        "MaskedArray": Form(_masked_parts, _make_masked),
    },
    "pandas": {
        "Timestamp": Form(lambda value: [value.asm8, value.tz, value.fold], _make_timestamp),
        "Timedelta": Form(lambda value: [value.asm8], lambda cls, held: cls(held)),
        "Period": Form(
            lambda value: [value.ordinal, value.freqstr],
            lambda cls, ordinal, freq: cls(ordinal=ordinal, freq=freq),
        ),
        "Interval": Form(
            lambda value: [value.left, value.right, value.closed], lambda cls, *parts: cls(*parts)
        ),
        "NAType": Form(lambda _: [], lambda _: _pandas().NA),
        "NaTType": Form(lambda _: [], lambda _: _pandas().NaT),
        "Index": _INDEX,
        "CategoricalIndex": _INDEX,
        "RangeIndex": Form(
            lambda value: [value.start, value.stop, value.step, value.name],
            lambda cls, start, stop, step, name: cls(start, stop, step, name=name),
        ),
        "DatetimeIndex": _NAMED_TIMES,
        "TimedeltaIndex": _NAMED_TIMES,
        "DatetimeArray": _TIMES,
        "TimedeltaArray": _TIMES,
        "MultiIndex": Form(
            lambda value: [list(value._levels), list(value._codes), list(value._names)],
            lambda cls, levels, codes, names: cls(levels=levels, codes=codes, names=names),
        ),
        "Categorical": Form(
            lambda value: [value._ndarray.tolist(), value.dtype.categories, bool(value.dtype.ordered)],
            lambda cls, codes, categories, is_ordered: cls.from_codes(codes, categories, ordered=is_ordered),
        ),
        "ArrowStringArray": _TEXTS,
        "StringArray": _TEXTS,
        **dict.fromkeys(("IntegerArray", "FloatingArray", "BooleanArray"), _NULLABLE),
        "Series": Form(_series_parts, _make_series),
        "DataFrame": Form(_frame_parts, _make_frame),
    },
}
