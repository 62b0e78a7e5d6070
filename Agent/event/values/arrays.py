"""Codecs for values of numpy and pandas and for `random.Random`, without importing either library.

numpy is looked up among the loaded modules; in a process without it, values stay in their recorded form.
"""

# ruff: noqa: SLF001 - see above
from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from Agent.event.classes import by_class, class_name
from Agent.event.values.class_codecs import Binding, Builder, Reducer
from Agent.event.values.digest import ALGORITHM, digest_bytes
from Agent.event.values.plain import any_nonfinite
from Agent.event.values.reading import Limits

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_ARRAY_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[mM]8(\[\d{0,6}\w{1,2}\])?|U\d{1,4})\Z")
_SCALAR_KINDS = "biufcmM"
NAMES_OF_FLOATS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
FLOATS_BY_NAME = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_HEAD_ITEMS = 64
_MOST_BYTES = 1 << 26  # for an array that is built from recorded data
_SMALL_ITEMS = 64


def _numpy() -> Any:
    module = sys.modules.get("numpy")
    if module is None:
        raise LookupError("numpy is not loaded")
    return module


def numpy_reducer(cls: type) -> Reducer | None:
    """Return the codec of a numpy type; None for other types and for subclasses of numpy's.

    A class with `agent_trace_adopts` counts as the class named there: a generator whose draws are recorded.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or not class_name(cls).startswith("numpy"):
        return None
    if cls is getattr(numpy, "ndarray", None):
        return _reduce_array
    random = getattr(numpy, "random", None)
    cls = getattr(cls, "agent_trace_adopts", cls)
    if cls is getattr(random, "Generator", None):
        return _reduce_generator
    if cls is getattr(random, "RandomState", None):
        return _reduce_random_state
    generic = getattr(numpy, "generic", None)
    if generic is not None and issubclass(cls, generic) and getattr(numpy, cls.__name__, None) is cls:
        return _reduce_scalar
    return None


@by_class
def number_tag(cls: type) -> str | None:
    """Return the tag of a numpy boolean, integer or float type of up to 8 bytes; None for other types.

    The result of `item()` is valid JSON, unless it is NaN or infinite.
    """
    if numpy_reducer(cls) is not _reduce_scalar:
        return None
    dtype = _numpy().dtype(cls)
    return f"numpy:{cls.__name__}" if dtype.kind in "biuf" and dtype.itemsize <= 8 else None


def _number(value: Any) -> Any:
    """Return a Python number for JSON; NaN and infinities by name, as the tag says that it is a number."""
    if type(value) is float and not math.isfinite(value):
        return NAMES_OF_FLOATS[repr(value)]
    return value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    return FLOATS_BY_NAME[value]


def _reduce_scalar(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001 - one signature for all
    kind, name = value.dtype.kind, type(value).__name__
    if name == "str_":
        return "numpy:str_", str.__str__(value)
    if kind not in _SCALAR_KINDS or value.dtype.itemsize > (16 if kind == "c" else 8):
        raise ValueError(f"a numpy scalar of type {name}")
    if kind in "mM":
        return f"numpy:{value.dtype.name}", int(value.view("i8"))
    if kind == "c":
        return f"numpy:{name}", [_number(float(value.real)), _number(float(value.imag))]
    return f"numpy:{name}", _number(value.item())


def _build_scalar(reduced: Any, argument: str, _binding: Binding) -> Any:
    numpy = _numpy()
    if argument.startswith(("datetime64", "timedelta64")):
        dtype = numpy.dtype(argument)
        if type(reduced) is not int or dtype.kind not in "mM":
            raise ValueError("no moment")
        return numpy.array(reduced, "i8").view(dtype)[()]
    cls: Any = getattr(numpy, argument, None)
    if not issubclass(type(cls), type) or not issubclass(cls, numpy.generic):
        raise LookupError(argument)  # noqa: TRY004 - the name is not found, whatever its type
    kind = numpy.dtype(cls).kind
    if kind == "c":
        real, imaginary = reduced
        return cls(complex(_float(real), _float(imaginary)))
    if kind == "f":
        return cls(_float(reduced))
    allowed = {"b": bool, "i": int, "u": int, "U": str}.get(kind)
    if type(reduced) is not allowed:
        raise ValueError(f"no {argument}")
    return cls(reduced)


def _reduce_array(value: Any, limits: Limits) -> tuple[str, Any]:
    dtype = value.dtype.str
    if not _ARRAY_DTYPE.match(dtype):
        raise ValueError(f"an array of dtype {dtype}")
    shape = list(value.shape)
    if is_cut_array(value, limits):
        head = [_number(item) for item in _numbers(value.flat[:_HEAD_ITEMS])]
        digest = f"{ALGORITHM}:{digest_bytes(_bytes_of(value))}"
        whole = {"dtype": dtype, "shape": shape, "items": value.size, "digest": digest}
        return "truncated", {"head": head, **whole}
    if value.dtype.kind == "U" and not _is_unicode(value):
        raise ValueError("a text with a code point that Unicode does not have")
    data = _numbers(value.ravel())
    if value.dtype.kind in "fc" and not _numpy().isfinite(value).all():
        data = [_number(item) for item in data]
    return f"ndarray:{dtype}", {"shape": shape, "data": data}


def _bytes_of(array: Any) -> Any:
    """Return the bytes of an array in C order, without a copy where it has this order."""
    try:
        return memoryview(array).cast("B") if array.flags.c_contiguous else array.tobytes()
    except (TypeError, ValueError, BufferError):  # moments, complex numbers and texts have no such view
        return array.tobytes()


def is_cut_array(value: Any, limits: Limits) -> bool:
    """Whether an array is recorded by its digest only, as its numbers exceed the limits."""
    if type(value) is not getattr(sys.modules.get("numpy"), "ndarray", None):
        return False
    return bool(value.size >= limits.max_items or value.nbytes > limits.max_bytes)


def small_array(value: Any) -> tuple[bytes, str] | None:
    """Return the JSON and the tag of an array of at most 64 finite numbers or booleans; None for all else."""
    if type(value) is not getattr(sys.modules.get("numpy"), "ndarray", None):
        return None
    dtype = value.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or value.size > _SMALL_ITEMS:
        return None
    data = value.ravel().tolist()
    if dtype.kind == "f" and any_nonfinite(data):
        return None
    return orjson.dumps({"shape": list(value.shape), "data": data}), f"ndarray:{dtype.str}"


def _is_unicode(texts: Any) -> bool:
    """Whether Unicode has all code points of an array of texts, which numpy does not check."""
    if not texts.nbytes:
        return True
    return bool(texts.ravel().view(texts.dtype.str[0] + "u4").max() <= sys.maxunicode)


def _numbers(flat: Any) -> list[Any]:
    """Return the Python numbers of a flat array: complex as consecutive pairs, moments as integers."""
    kind = flat.dtype.kind
    if kind == "c":
        flat = flat.view(flat.real.dtype)
    elif kind in "mM":
        flat = flat.view(flat.dtype.str[0] + "i8")
    numbers: list[Any] = flat.tolist()
    return numbers


def _build_array(reduced: Any, argument: str, _binding: Binding) -> Any:
    numpy = _numpy()
    if not _ARRAY_DTYPE.match(argument):
        raise ValueError("a dtype that is not recorded")
    dtype = numpy.dtype(argument)
    data, shape = reduced["data"], reduced["shape"]
    allowed = {"b": bool, "f": float, "c": float, "U": str}.get(dtype.kind, int)
    if len(data) * dtype.itemsize > _MOST_BYTES:
        raise ValueError("larger than any recorded array")
    numbers = [_float(item) if allowed is float else item for item in data]
    if type(data) is not list or any(type(item) is not allowed for item in numbers):
        raise ValueError("data of another type")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("no shape")
    parts = {"c": f"f{dtype.itemsize // 2}", "m": "i8", "M": "i8"}.get(dtype.kind)
    stored = dtype if parts is None else numpy.dtype(dtype.str[0] + parts)
    return numpy.array(numbers, stored).view(dtype).reshape(shape)


def _reduce_generator(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    bits, numpy = value.bit_generator, _numpy()
    if not _are_known_bits(bits):
        raise ValueError(f"a bit generator of class {class_name(type(bits))}")
    form: dict[str, Any] = {"bit_generator": type(bits).__name__, "state": bits.state}
    seed = getattr(bits, "seed_seq", None)
    # The seed sequence determines the next result of `spawn`.
    if seed is not None and type(seed) is numpy.random.SeedSequence:
        form["seed"] = dict(seed.state)
    return "numpy.Generator", form


def _are_known_bits(bits: Any) -> bool:
    name = type(bits).__name__
    return name in _BIT_GENERATORS and type(bits) is getattr(_numpy().random, name)


def _build_generator(reduced: Any, _argument: str, _binding: Binding) -> Any:
    numpy = _numpy()
    name = reduced["bit_generator"]
    if name not in _BIT_GENERATORS:
        raise ValueError("an unknown bit generator")
    _check_position(name, reduced["state"])
    seed = numpy.random.SeedSequence(**_checked_seed(reduced["seed"])) if "seed" in reduced else 0
    bits = getattr(numpy.random, name)(seed)
    bits.state = reduced["state"]
    return numpy.random.Generator(bits)


def _reduce_random_state(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    state: dict[str, Any] = value.get_state(legacy=False)
    if state.get("bit_generator") != "MT19937":
        raise ValueError("a bit generator other than MT19937")
    return "numpy.RandomState", state


def reads_generator(reducer: Reducer, value: Any) -> bool:
    """Whether a codec is that of a class of random generators and can read this one, without its state."""
    if reducer is _reduce_generator:
        return _are_known_bits(value.bit_generator)
    if reducer is _reduce_random_state:
        return type(getattr(value, "_bit_generator", None)).__name__ == "MT19937"
    return type(value).__name__ == "Random"


def _check_position(name: str, state: Any) -> None:
    # numpy does not check these and would read outside its buffers.
    inner, last = (state["state"], 624) if name == "MT19937" else (state, 4)
    position = inner.get("pos" if name == "MT19937" else "buffer_pos", 0)
    if type(position) is not int or not 0 <= position <= last:
        raise ValueError("a position outside the state")


def _checked_seed(seed: Any) -> dict[str, Any]:
    if type(seed) is not dict or not 4 <= seed.get("pool_size", 4) <= 1024:
        raise ValueError("no seed")
    return seed


def _build_random_state(reduced: Any, _argument: str, _binding: Binding) -> Any:
    _check_position("MT19937", reduced)
    state: Any = _numpy().random.RandomState(0)
    state.set_state(reduced)
    return state


def reduce_random(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    """Return the state of a `random.Random`: version, 625 integers, the spare gauss value."""
    version, words, gauss = type(value).getstate(value)
    return "random.Random", [version, list(words), gauss]


def _build_random(reduced: Any, _argument: str, _binding: Binding) -> Any:
    from random import Random

    version, words, gauss = reduced
    if type(words) is not list or type(gauss) not in (float, type(None)):
        raise ValueError("no state")
    generator = Random(0)
    generator.setstate((version, tuple(words), gauss))
    return generator


ARRAY_BUILDERS: Mapping[str, Builder] = {
    "numpy": _build_scalar,
    "ndarray": _build_array,
    "numpy.Generator": _build_generator,
    "numpy.RandomState": _build_random_state,
    "random.Random": _build_random,
}


# Values of numpy and pandas beyond arrays of numbers: split into parts, and rebuilt by constructors.
#
# Reading the parts bypasses the caches of pandas, so the value does not change. Neither library is loaded
# here. A rebuilt value counts only if its content has the recorded digest, since another version of pandas
# may build a different value.


class Form(NamedTuple):
    """How objects of a C class are split into parts and rebuilt."""

    split: Callable[[Any], list[Any] | None]
    """Returns the parts; None if the object cannot be rebuilt."""
    make: Callable[..., Any]
    """Builds an object from its class and the parts; attributes are restored afterwards."""


def table_form(cls: type) -> Form | None:
    """Return how objects of exactly that numpy or pandas class are rebuilt; None for other classes."""
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


def bytes_of(value: Any) -> bytes:
    """Return the bytes of an array or a scalar of numpy: zero where long doubles and records have padding.

    What is there depends on the memory that the value was made in.
    """
    numpy: Any = sys.modules["numpy"]
    is_array = issubclass(type(value), numpy.ndarray)
    if not _has_padding(value.dtype):
        return numpy.ndarray.tobytes(value) if is_array else value.tobytes()  # type: ignore[no-any-return]
    array = numpy.ndarray.view(value, numpy.ndarray) if is_array else numpy.asarray(value)
    clean = numpy.zeros(array.shape, array.dtype)
    _copy_without_padding(clean, array)
    return clean.tobytes()  # type: ignore[no-any-return]


_LONG_DOUBLES = "gG"
_X87_BYTES = 10  # of a long double of 12 or 16 bytes
_X87_DIGITS = 63


def _has_padding(dtype: Any) -> bool:
    dtype = dtype.base
    if dtype.names is None:
        numpy: Any = sys.modules["numpy"]
        return dtype.char in _LONG_DOUBLES and numpy.finfo(dtype).nmant == _X87_DIGITS
    members = [dtype[name] for name in dtype.names]
    return sum(each.itemsize for each in members) < dtype.itemsize or any(map(_has_padding, members))


def _copy_without_padding(copy: Any, array: Any) -> None:
    dtype = array.dtype
    for name in dtype.names or ():
        _copy_without_padding(copy[name], array[name])
    if dtype.names is None:
        copy[...] = array
        if _has_padding(dtype):
            size = dtype.itemsize // (1 + (dtype.kind == "c"))
            is_at_end = dtype.isnative == (sys.byteorder == "little")
            begin, end = (_X87_BYTES, size) if is_at_end else (0, size - _X87_BYTES)
            raw = copy[..., None].view("u1")
            for at in range(0, dtype.itemsize, size):
                raw[..., at + begin : at + end] = 0


_OBJECTS = "O"


def _array_parts(value: Any) -> list[Any] | None:
    numpy: Any = sys.modules["numpy"]
    dtype, shape = value.dtype, list(value.shape)
    if dtype.names is None:
        if dtype.kind != _OBJECTS:
            return [dtype.str, shape, value.tobytes()] if dtype.kind in "SU" else None
        return [_OBJECTS, shape, numpy.ndarray.tolist(value.reshape(-1))]
    if dtype.hasobject:
        return [dtype.descr, shape, [value[name] for name in dtype.names]]
    return [dtype.descr, shape, bytes_of(value)]


def _make_array(_cls: type, dtype: Any, shape: list[int], data: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    if dtype == _OBJECTS:
        array = numpy.empty(len(data), object)
        for index, item in enumerate(data):
            array[index] = item
        return array.reshape(shape)
    known = numpy.dtype(dtype)
    if type(data) is bytes:
        if known.hasobject:
            raise LookupError("addresses")
        return numpy.frombuffer(data, known).reshape(shape).copy()
    array = numpy.empty(shape, known)
    for name, column in zip(known.names, data, strict=True):
        array[name] = column
    return array


def _make_scalar(_cls: type, dtype: Any, data: bytes) -> Any:
    return _make_array(_cls, dtype, [1], data)[0]


def _scalar_parts(value: Any) -> list[Any] | None:
    dtype = value.dtype
    return None if dtype.hasobject else [dtype.descr if dtype.names else dtype.str, bytes_of(value)]


def _masked_parts(value: Any) -> list[Any]:
    numpy: Any = sys.modules["numpy"]
    fill = vars(value).get("_fill_value")
    return [numpy.asarray(value.data), numpy.asarray(value.mask), fill, bool(value.hardmask)]


def _make_masked(cls: Any, data: Any, mask: Any, fill: Any, is_hard: bool) -> Any:
    array = cls(data, mask=mask, hard_mask=is_hard)
    if fill is not None:
        array.fill_value = fill
    return array


def _pandas() -> Any:
    return sys.modules["pandas"]


def _make_timestamp(cls: Any, moment: Any, zone: Any, fold: int) -> Any:
    timestamp = cls(moment)
    if zone is not None:
        timestamp = timestamp.tz_localize("UTC").tz_convert(zone)
    return timestamp.replace(fold=fold) if fold else timestamp


def _times_parts(value: Any) -> list[Any]:
    array = getattr(value, "_data", value)  # an index, or the array itself
    freq = getattr(array, "_freq", None) or getattr(value, "_freq", None)
    return [array._ndarray, getattr(array.dtype, "tz", None), None if freq is None else freq.freqstr]


def _named_times_parts(value: Any) -> list[Any]:
    # Some constructors leave `_freq` to the class, where it is None.
    return [*_times_parts(value), value._name, "_freq" in vars(value)]


def _make_times(
    cls: Any, moments: Any, zone: Any, freq: str | None, name: Any = None, has_freq: bool = True
) -> Any:
    pandas = _pandas()
    index = pandas.DatetimeIndex if moments.dtype.kind == "M" else pandas.TimedeltaIndex
    times = index(moments, freq=freq, name=name)
    if zone is not None:
        times = times.tz_localize("UTC").tz_convert(zone)
    if not has_freq:
        vars(times).pop("_freq", None)
    return times if issubclass(cls, pandas.Index) else times.array


def _make_series(cls: Any, values: Any, index: Any, name: Any, attributes: dict[Any, Any]) -> Any:
    series = cls(values, index=index, name=name, dtype=values.dtype)
    series.attrs.update(attributes)
    return series


def columns_of(manager: Any) -> list[Any]:
    """Return the columns of the manager of a table in order, however operations have arranged its blocks."""
    columns: dict[int, Any] = {}
    for block in manager.blocks:
        values = block.values
        # Numbers and times of several columns lie in one array with two dimensions, other columns alone.
        columns.update(zip(map(int, block.mgr_locs), values if values.ndim == 2 else [values], strict=True))
    return [columns[at] for at in sorted(columns)]


def _make_frame(cls: Any, columns: list[Any], names: Any, index: Any, attributes: Any) -> Any:
    frame = cls(dict(enumerate(columns)), index=index)
    frame.columns = names
    frame.attrs.update(attributes)
    return frame


def _text_array_parts(value: Any) -> list[Any] | None:
    return [[None if item is not item or item is _pandas().NA else item for item in value], str(value.dtype)]


def _make_text_array(_cls: type, texts: list[Any], dtype: str) -> Any:
    if dtype not in {"str", "string"}:
        raise LookupError(dtype)
    return _pandas().array(texts, dtype=dtype)


_TIMES = Form(_times_parts, _make_times)
_NAMED_TIMES = Form(_named_times_parts, _make_times)
_TEXTS = Form(_text_array_parts, _make_text_array)
_NULLABLE = Form(
    lambda value: [value._data, value._mask],
    lambda cls, values, mask: cls(values, mask),
)
_INDEX = Form(
    lambda value: [value._data, value._name],
    lambda cls, values, name: cls(values, dtype=values.dtype, name=name),
)

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
        "Series": Form(
            lambda value: [value._mgr.blocks[0].values, value.index, value.name, dict(value.attrs)],
            _make_series,
        ),
        "DataFrame": Form(
            lambda value: [columns_of(value._mgr), value.columns, value.index, dict(value.attrs)], _make_frame
        ),
    },
}
