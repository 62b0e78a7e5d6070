"""Adopted numpy generators: a `Generator` or `RandomState` of a class of ours over the same bit generator.

numpy's own take no attributes, so adopting one gives another object that draws from the same stream. What it
draws is kept as the state before, the number of calls and a mark of the state behind them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from threading import get_ident
from typing import Any

from Agent.record.emit import installed
from Agent.record.emit.context import Reads
from Agent.record.sources.adopted import Adopted, place_of_caller, reads_here, tell_state

# Seeding counts as a draw: what follows is determined by where the generator stood before it, or not at all.
_NO_DRAWS = frozenset({"bit_generator", "spawn", "get_state"})
_LOW_BITS = (1 << 32) - 1
_classes: dict[str, Any] = {}


class AdoptedNumpy(Adopted):
    """A numpy generator, kept by its states.

    Args:
        name: `numpy.Generator` or `numpy.RandomState`.
        read: gives its state as numpy does, a mapping.
        write: puts it into such a state.
    """

    kind = "numpy"

    def __init__(
        self,
        name: str,
        place: str,
        read: Callable[[], dict[str, Any]],
        write: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(name, place)
        self.read, self.write = read, write
        self.bits: Any = None
        """Its bit generator, where it is not the one behind the module functions."""
        self.drawing_thread = 0
        """The thread in which one of its methods runs, whose own draws are part of what that gives."""

    def begin(self, reads: Reads | None) -> None:
        """See `Adopted`; whoever drew before is told how far it came."""
        before = self.owner
        if isinstance(before, Reads):
            self._end(before)
        super().begin(reads)

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: the state, the number of calls, and behind them the mark of where they led."""
        reads.at_close.append(self._end)
        return reads.begin_segment(f"numpy@{self.place}", [self._compact(self.read()), 0])

    def _end(self, reads: Reads) -> None:
        if self.owner is reads and len(self.segment) == 2:
            self.segment.append(_mark(self.read()))

    def _compact(self, state: dict[str, Any]) -> list[Any]:
        """A state in a few words; the large part of one as an event, which others refer to."""
        name = state["bit_generator"]
        inner = state["state"]
        if name.startswith("PCG"):
            spare = [state["has_uint32"], state["uinteger"]]
            return [name, f"{inner['state']:x}", f"{inner['inc']:x}", *spare]
        pipeline = installed.active_pipeline()
        large = {"bit_generator": name, "key": inner["key"]} if name == "MT19937" else state
        known = large["key"].tobytes() if name == "MT19937" else repr(_plain(state)).encode()
        base = "" if pipeline is None else tell_state(pipeline, self, known, _plain(large))
        if name == "MT19937":
            return [name, base, int(inner["pos"]), state.get("has_gauss", 0), state.get("gauss", 0.0)]
        return [name, base]

    def base_id(self, key: str, segment: list[Any]) -> str | None:  # noqa: ARG002 - one signature for all
        """See `Adopted`."""
        return None if segment[0][0].startswith("PCG") else segment[0][1]

    def put(self, segment: list[Any], base: Any) -> None:
        """See `Adopted`; `base` is what its `source.state` event holds."""
        self.write(_expand(segment[0], base))

    def move(self, segment: list[Any], base: Any) -> None:
        """See `Adopted`."""
        state = _expand(segment[0], base)
        if _plain(state) != _plain(self.read()):
            if isinstance(self.owner, Reads):
                self._end(self.owner)
            self.owner = self
            self.write(state)

    def end_differs(self, segment: list[Any]) -> bool:
        """See `Adopted`."""
        return len(segment) > 2 and segment[2] != _mark(self.read())


def _mark(state: dict[str, Any]) -> int:
    """A number that tells a state from those that a few draws more or less would have left."""
    inner = state["state"]
    if "pos" in inner:
        return int(inner["key"][0]) ^ int(inner["pos"])
    if "state" in inner and not hasattr(inner["state"], "tobytes"):
        return int(inner["state"]) & _LOW_BITS
    counted = inner.get("counter", inner.get("state"))
    return (int(counted[-1]) ^ int(counted[0]) ^ int(state.get("buffer_pos", 0))) & _LOW_BITS


def _plain(value: Any) -> Any:
    """A state with lists in the place of arrays."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _expand(compact: list[Any], base: Any) -> dict[str, Any]:
    name, *rest = compact
    if name.startswith("PCG"):
        state, increment, has_spare, spare = rest
        inner = {"state": int(state, 16), "inc": int(increment, 16)}
        return {"bit_generator": name, "state": inner, "has_uint32": has_spare, "uinteger": spare}
    numpy: Any = sys.modules["numpy"]
    if name == "MT19937":
        _, position, has_gauss, gauss = rest
        key = numpy.array(base["key"], numpy.uint32)
        whole = {"bit_generator": name, "state": {"key": key, "pos": position}}
        return {**whole, "has_gauss": has_gauss, "gauss": gauss}
    arrays = {key: numpy.array(item, numpy.uint64) for key, item in base["state"].items()}
    more = {"buffer": numpy.array(base["buffer"], numpy.uint64)} if "buffer" in base else {}
    return {**base, "state": arrays, **more}


def adopt_numpy(generator: Any, place: str | None = None) -> Any:
    """The generator whose draws are recorded, from the same stream; None for what cannot be adopted."""
    random = sys.modules.get("numpy.random")
    if random is None:
        return None
    if hasattr(type(generator), "agent_trace_adopts"):
        return generator
    if type(generator) is random.Generator:
        recorded = _class_over(random.Generator)(generator.bit_generator)
        bits = recorded.bit_generator
        adopted = AdoptedNumpy(
            "numpy.Generator",
            place or place_of_caller(),
            lambda: bits.state,
            lambda state: _set_bits(bits, state),
        )
    elif type(generator) is random.RandomState:
        recorded = _class_over(random.RandomState)(generator._bit_generator)  # noqa: SLF001 - its stream
        write = partial(random.RandomState.set_state, recorded)  # its own would count as a draw
        write(generator.get_state(legacy=False))
        adopted = AdoptedNumpy(
            "numpy.RandomState", place or place_of_caller(), lambda: recorded.get_state(legacy=False), write
        )
    else:
        return None
    adopted.bits = recorded._bit_generator  # noqa: SLF001 - that of a RandomState has no other name
    recorded.agent_trace_adopted = adopted
    return recorded


def _set_bits(bits: Any, state: dict[str, Any]) -> None:
    bits.state = state


def _class_over(base: Any) -> Any:
    """A class like `base` whose methods record what they draw, made once."""
    known = _classes.get(base.__name__)
    if known is not None:
        return known
    methods: dict[str, Any] = {"agent_trace_adopts": base, "__reduce__": _reduced_as(base)}
    for name in dir(base):
        if not name.startswith("_") and name not in _NO_DRAWS and callable(getattr(base, name)):
            methods[name] = _recorded(getattr(base, name))
    if hasattr(base, "spawn"):
        methods["spawn"] = _spawn
    made = type(base.__name__, (base,), {**methods, "__module__": base.__module__})
    return _classes.setdefault(base.__name__, made)


def _reduced_as(base: Any) -> Callable[[Any], Any]:
    def reduce(self: Any) -> Any:
        # A copy is numpy's own, and not adopted.
        maker, arguments, *more = base.__reduce__(self)
        return (maker, arguments, *more)

    return reduce


def _spawn(self: Any, n_children: int) -> list[Any]:
    """Generators that are adopted like the one that gives them, distinguished by their keys in the seed."""
    parent = self.agent_trace_adopted.place.replace("#", "~").partition(".spawn(")[0]
    random = sys.modules["numpy.random"]
    children = [random.Generator(bits) for bits in self.bit_generator.spawn(n_children)]
    keys = [",".join(map(str, child.bit_generator.seed_seq.spawn_key)) for child in children]
    return [
        adopt_numpy(*pair) for pair in zip(children, (f"{parent}.spawn({key})" for key in keys), strict=True)
    ]


def _recorded(method: Any) -> Callable[..., Any]:
    @wraps(method)
    def draw(self: Any, *args: Any, **kwargs: Any) -> Any:
        return drawn(self.agent_trace_adopted, lambda: method(self, *args, **kwargs))

    return draw


def drawn(adopted: AdoptedNumpy, now: Callable[[], Any]) -> Any:
    """A draw, counted as one call whatever it calls itself."""
    if adopted.drawing_thread == get_ident():
        return now()
    before, adopted.drawing_thread = adopted.drawing_thread, get_ident()
    try:
        player = installed.source_player
        if player is not None:
            return player.draw(adopted, 1, now)
        reads = reads_here()
        if adopted.owner is not reads:
            adopted.begin(reads)
        adopted.segment[1] += 1
        return now()
    finally:
        adopted.drawing_thread = before


def numpy_random_module() -> Any:
    """The module `numpy.random`; None where numpy is not loaded.

    numpy loads it when somebody first asks for it, maybe after its functions were to be replaced.
    """
    numpy = sys.modules.get("numpy")
    if "numpy.random" not in sys.modules and not _is_loaded(numpy):
        return None
    return import_module("numpy.random")


def _is_loaded(module: Any) -> bool:
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


def numpy_module_seams(random: Any) -> list[tuple[Any, str, Any]]:
    """(module, name, what stands in its place) for the functions of `numpy.random`."""
    hidden = random.mtrand._rand  # noqa: SLF001 - the generator behind the module functions
    adopted = AdoptedNumpy(
        "numpy.RandomState", "numpy.random", lambda: hidden.get_state(legacy=False), hidden.set_state
    )

    def over(function: Any) -> Callable[..., Any]:
        @wraps(function)
        def draw(*args: Any, **kwargs: Any) -> Any:
            return drawn(adopted, lambda: function(*args, **kwargs))

        draw.agent_trace_adopted = adopted  # type: ignore[attr-defined]
        return draw

    return [
        (random, name, over(function))
        for name, function in list(vars(random).items())
        if getattr(function, "__self__", None) is hidden and name not in _NO_DRAWS
    ]
