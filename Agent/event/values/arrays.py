"""Codecs of numpy scalars, arrays and generators, and of `random.Random`: recognised, never imported by us.

numpy is looked up among the loaded modules; a process without it gets the recorded form back, unbound.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

from Agent.event.classes import class_name, remember
from Agent.event.limits import Limits
from Agent.event.values.class_codecs import Binding, Builder, Reducer
from Agent.event.values.digest import ALGORITHM, digest_bytes

__all__ = ["ARRAY_BUILDERS", "number_tag", "numpy_reducer", "reduce_random"]

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_ARRAY_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[mM]8(\[\d{0,6}\w{1,2}\])?|U\d{1,4})\Z")
_SCALAR_KINDS = "biufcmM"
_TEXT_OF = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_FLOAT_OF = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_HEAD_ITEMS = 64
_MOST_BYTES = 1 << 26  # of an array that is made from what stands on disk


def _numpy() -> Any:
    module = sys.modules.get("numpy")
    if module is None:
        raise LookupError("numpy is not loaded")
    return module


def numpy_reducer(cls: type) -> Reducer | None:
    """The codec of a type of numpy's own; None for others and for subclasses of them.

    A class with `agent_trace_adopts` counts as the one that this names: a generator whose draws are recorded.
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


_number_tags: dict[type, str | None] = {}


def number_tag(cls: type) -> str | None:
    """The tag of numpy's booleans, integers and floats of up to 8 bytes; None of every other type.

    What their `item()` gives is in JSON as it is, unless it is a NaN or infinite.
    """
    try:
        return _number_tags[cls]
    except KeyError:
        pass  # the first of its type: looked at below
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        return None
    tag = None
    if numpy_reducer(cls) is _reduce_scalar:
        dtype = _numpy().dtype(cls)
        tag = f"numpy:{cls.__name__}" if dtype.kind in "biuf" and dtype.itemsize <= 8 else None
    return remember(_number_tags, cls, tag)


def _number(value: Any) -> Any:
    """A Python number for JSON; NaN and infinities as their names: the tag of the whole speaks for them."""
    if type(value) is float and not math.isfinite(value):
        return _TEXT_OF[repr(value)]
    return value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    return _FLOAT_OF[value]


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
        raise LookupError(argument)  # noqa: TRY004 - the name is not found, whatever else stands there
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
    if value.size >= limits.max_items or value.nbytes > limits.max_bytes:
        head = [_number(item) for item in _numbers(value.flat[:_HEAD_ITEMS])]
        digest = f"{ALGORITHM}:{digest_bytes(value.tobytes())}"
        whole = {"dtype": dtype, "shape": shape, "items": value.size, "digest": digest}
        return "truncated", {"head": head, **whole}
    data = _numbers(value.ravel())
    if value.dtype.kind in "fc":
        data = [_number(item) for item in data]
    return f"ndarray:{dtype}", {"shape": shape, "data": data}


def _numbers(flat: Any) -> list[Any]:
    """Python numbers of a flat array: complex as pairs in a row, moments as integers."""
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
        raise ValueError("larger than what is recorded")
    numbers = [_float(item) if allowed is float else item for item in data]
    if type(data) is not list or any(type(item) is not allowed for item in numbers):
        raise ValueError("data of another type")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("no shape")
    parts = {"c": f"f{dtype.itemsize // 2}", "m": "i8", "M": "i8"}.get(dtype.kind)
    stored = dtype if parts is None else numpy.dtype(dtype.str[0] + parts)
    return numpy.array(numbers, stored).view(dtype).reshape(shape)


def _reduce_generator(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    bits = value.bit_generator
    name = type(bits).__name__
    numpy = _numpy()
    if name not in _BIT_GENERATORS or type(bits) is not getattr(numpy.random, name):
        raise ValueError(f"a bit generator of class {class_name(type(bits))}")
    form: dict[str, Any] = {"bit_generator": name, "state": bits.state}
    seed = getattr(bits, "seed_seq", None)
    # The seed sequence decides what `spawn` gives next.
    if seed is not None and type(seed) is numpy.random.SeedSequence:
        form["seed"] = dict(seed.state)
    return "numpy.Generator", form


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


def _check_position(name: str, state: Any) -> None:
    # numpy takes these on trust and would read outside its buffers.
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
    """The state of a `random.Random`: version, 625 integers, the spare gauss value."""
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
