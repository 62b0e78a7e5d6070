"""Adopted generators of `random` and numpy: their draws are counted for every holder.

All methods of `random.Random` draw by `random()` and `getrandbits()`, so attributes in the place of these
two are enough. A Mersenne twister stands at a number of 32-bit words behind a known state, so that position
and count say it all. The functions of `random` are methods of one hidden generator; those that draw
themselves are replaced in the module, and where other modules bound them.

numpy's own generators take no attributes, so adopting one gives another object, of a class of ours, that
draws from the same stream. What it draws is kept as the state before, the number of calls and a mark of the
state behind them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from threading import get_ident
from typing import Any, TypeVar

from Agent.event.values.digest import digest_bytes
from Agent.record.emit import installed
from Agent.record.emit.context import Reads, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.native import native
from Agent.record.sources.adopted import Adopted, place_of_caller, reads_here, tell_state
from Agent.record.sources.seams import Swaps, rebind

T = TypeVar("T")

_OWN_METHODS = ("random", "getrandbits", "seed", "setstate", "getstate", "gauss")
_WORD_BITS = 32
_DOUBLE_WORDS = 2
_JUMP_WORDS = 1 << 16
_scope_here = current_scope.get


def place_in_stream(generator: object) -> str:
    """A digest of where a `random.Random` stands; "" for others."""
    if not isinstance(generator, random.Random):
        return ""
    adopted = adopted_of(generator)
    found = None if native is None else native.random_words(generator)
    if found is None or not isinstance(adopted, AdoptedRandom):
        return digest_bytes(_text_of_state(generator))
    words, place = found
    end = b", %d), %r)" % (place, vars(generator)["gauss_next"])
    if adopted.digested is None or adopted.digested[0] != words:
        # Not at the top: it loads OpenSSL.
        from hashlib import blake2b

        text = _text_of_state(generator)
        if not text.endswith(end):
            return digest_bytes(text)
        adopted.digested = words, blake2b(text[: -len(end)], digest_size=8)
    digest = adopted.digested[1].copy()
    digest.update(end)
    return digest.hexdigest()


def _text_of_state(generator: random.Random) -> bytes:
    return repr(random.Random.getstate(generator)).encode()


class AdoptedRandom(Adopted):
    """A Mersenne twister, kept by position."""

    __slots__ = ("_pipeline", "_was_seeded", "digested", "key", "position", "rng")

    kind = "random"

    def __init__(self, rng: random.Random, place: str) -> None:
        super().__init__("random.Random", place)
        self.rng = rng
        self.position = 0
        """Words drawn since its base."""
        self.key = ""
        """What its segments stand under: the event with its base."""
        self._pipeline: Pipeline | None = None
        self._was_seeded = False
        self.digested: tuple[bytes, Any] | None = None
        """The words of its state, and the digest of their text, which draws continue for a while."""

    def restart(self) -> None:
        """It was seeded or set: what comes next is counted from a new base."""
        self._pipeline = None
        self._was_seeded = True
        self.position = 0
        self.owner = self

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: position, number of words and of calls of `gauss`, and its spare value if any."""
        self.tell_base()
        spare = self.rng.gauss_next  # type: ignore[attr-defined]
        segment = [self.position, 0] if spare is None else [self.position, 0, spare]
        return reads.begin_segment(self.key, segment)

    def base_id(self, key: str, segment: list[Any]) -> str | None:  # noqa: ARG002 - one signature for all
        """See `Adopted`."""
        return key.partition("@")[2]

    def outside(self) -> list[Any]:
        """See `Adopted`; its base is where it was seeded, whoever draws first behind that."""
        if self._was_seeded:
            self.tell_base()
        return super().outside()

    def tell_base(self) -> None:
        """Keep the state that positions are counted from, if there is none yet."""
        pipeline = installed.active_pipeline()
        if pipeline is None or self._pipeline is pipeline:
            return
        state = random.Random.getstate(self.rng)
        twin = random.Random(0)  # of the class that the codec knows, without our attributes
        twin.setstate(state)
        self.key = f"random@{tell_state(pipeline, self, repr(state).encode(), twin)}"
        self._pipeline, self.position = pipeline, 0
        self._was_seeded = False

    def put(self, segment: list[Any], base: random.Random) -> None:
        """See `Adopted`; `base` is a generator in the recorded state."""
        random.Random.setstate(self.rng, _state_at(base, segment))

    def move(self, segment: list[Any], base: random.Random) -> None:
        """See `Adopted`."""
        before = self.snapshot()
        self.put(segment, base)
        if before != self.snapshot():
            self.restart()

    def drawn(self, count: int, now: Callable[[], T]) -> T:
        """See `Adopted`; a call of `gauss` counts and draws no words itself."""
        if now is not _no_words:
            self.follow()
            self.position += count
        return super().drawn(count, now)

    def snapshot(self) -> Any:
        """See `Adopted`."""
        return random.Random.getstate(self.rng)

    def began_at(self, snapshot: Any, base: random.Random) -> bool:
        """See `Adopted`."""
        return bool(snapshot == random.Random.getstate(base))


def _state_at(base: random.Random, segment: list[Any]) -> tuple[Any, ...]:
    """The state so many words behind a base; base generators remember how far they came."""
    position, spare = segment[0], segment[2] if len(segment) > 2 else None
    state = random.Random.getstate(base)
    walker: Any = base
    reached, latest = getattr(walker, "latest", (0, state))
    if reached > position:
        reached, latest = 0, state
    mover = random.Random(0)
    mover.setstate(latest)
    left = position - reached
    while left:
        step = min(left, _JUMP_WORDS)
        mover.getrandbits(step * _WORD_BITS)
        left -= step
    walker.latest = position, mover.getstate()
    version, words, _ = mover.getstate()
    return version, words, spare


if native is not None:
    native.learn({"AdoptedRandom": AdoptedRandom})


class AdoptedDraws(Adopted):
    """A generator of another kind, `SystemRandom` or one with methods of its own: each draw is kept."""

    kind = "draws"

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name, place)
        self.drawing_thread = 0
        """The thread in which one of its methods runs, whose own draws are part of what that gives."""

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: the values themselves."""
        return reads.begin_segment(f"draws@{self.place}", [])

    def drawn(self, count: int, now: Callable[[], Any]) -> Any:  # noqa: ARG002 - one signature for all
        """See `Adopted`: the value is kept."""
        before, self.drawing_thread = self.drawing_thread, get_ident()
        try:
            value = now()
        finally:
            self.drawing_thread = before
        self.follow()
        if reads_here() is not None:
            self.segment.append(hex(value) if type(value) is int else value)
        return value

    def marked(self, mark: str) -> None:
        """See `Adopted`."""
        if reads_here() is not None:
            self.follow()
            self.segment.append(mark)


def adopt_random(rng: random.Random, place: str | None = None) -> Adopted:
    """Have the draws of a generator recorded, in place; a second time changes nothing."""
    known = adopted_of(rng)
    if known is not None:
        return known
    place = place or place_of_caller()
    kind = type(rng)
    if all(getattr(kind, name) is getattr(random.Random, name) for name in _OWN_METHODS):
        counted = AdoptedRandom(rng, place)
        adopted: Adopted = counted
        methods = _counting(counted, rng)
    else:
        kept = AdoptedDraws(f"{kind.__module__}.{kind.__qualname__}", place)
        adopted = kept
        methods = _keeping(kept, rng)
    for name, method in methods.items():
        method.__name__ = name
        method.__doc__ = getattr(kind, name).__doc__
        method.agent_trace_adopted = adopted  # type: ignore[attr-defined]
    vars(rng).update(methods)
    return adopted


def release_random(rng: random.Random) -> None:
    """Take that back: the generator is as it was before."""
    for name in recorded_methods(rng):
        del vars(rng)[name]


def recorded_methods(rng: random.Random) -> dict[str, Callable[..., Any]]:
    """The attributes of an adopted generator that record."""
    return {name: value for name, value in vars(rng).items() if hasattr(value, "agent_trace_adopted")}


def adopted_of(rng: random.Random) -> Adopted | None:
    """What records a generator's draws, None where nobody does. Copies are not adopted."""
    adopted = getattr(vars(rng).get("random"), "agent_trace_adopted", None)
    return adopted if isinstance(adopted, Adopted) else None


def _counting(adopted: AdoptedRandom, rng: random.Random) -> dict[str, Callable[..., Any]]:
    """Methods that count words. Nothing may come between count and draw: threads change only at calls."""
    kind = random.Random
    draw: Callable[[], float] = kind.random.__get__(rng)
    bits: Callable[[int], int] = kind.getrandbits.__get__(rng)

    def count_one() -> float:
        player = installed.source_player
        if player is not None:
            return player.draw(adopted, _DOUBLE_WORDS, draw)
        scope = _scope_here()
        reads = None if scope is None else scope.reads
        while adopted.owner is not reads:
            adopted.begin(reads)
        adopted.position += _DOUBLE_WORDS
        adopted.segment[1] += _DOUBLE_WORDS
        return draw()

    def count_bits(k: int, /) -> int:
        words = (k + _WORD_BITS - 1) // _WORD_BITS if type(k) is int and k > 0 else _words(k)
        player = installed.source_player
        if player is not None:
            return player.draw(adopted, words, lambda: bits(k))
        scope = _scope_here()
        reads = None if scope is None else scope.reads
        while adopted.owner is not reads:
            adopted.begin(reads)
        adopted.position += words
        adopted.segment[1] += words
        return bits(k)

    draw_one, draw_bits = count_one, count_bits
    if native is not None:
        more = vars(installed), current_scope
        quick_draw = native.Draw(adopted, rng, draw, count_one, _DOUBLE_WORDS, *more)
        quick_bits = native.Draw(adopted, rng, bits, count_bits, 0, *more)

        def draw_one() -> float:
            return quick_draw()  # type: ignore[no-any-return]

        def draw_bits(k: int, /) -> int:
            return quick_bits(k)  # type: ignore[no-any-return]

    def gauss(*args: Any, **kwargs: Any) -> float:
        # It may give the value that is left of the pair before, and draw nothing: so the call counts itself.
        _count_call(adopted)
        return kind.gauss(rng, *args, **kwargs)

    def seed(*args: Any, **kwargs: Any) -> None:
        kind.seed(rng, *args, **kwargs)
        known = args[0] if args else kwargs.get("a")
        _restarted(adopted, is_known=known is not None)

    def setstate(state: Any) -> None:
        kind.setstate(rng, state)
        _restarted(adopted, is_known=True)

    return {
        "random": draw_one, "getrandbits": draw_bits, "gauss": gauss, "seed": seed, "setstate": setstate,
    }  # fmt: skip


def _words(k: Any) -> int:
    """The words that `getrandbits(k)` draws for an unusual k; 0 where it will raise."""
    try:
        number: int = k.__index__()
    except Exception:  # noqa: BLE001 - getrandbits itself says what is wrong with it
        return 0
    return max(0, (number + _WORD_BITS - 1) // _WORD_BITS)


def _no_words() -> None:
    """What a call draws that only counts itself."""


def _count_call(adopted: AdoptedRandom) -> None:
    player = installed.source_player
    if player is not None:
        player.draw(adopted, 1, _no_words)
        return
    reads = reads_here()
    while adopted.owner is not reads:
        adopted.begin(reads)
    adopted.segment[1] += 1


def _restarted(adopted: AdoptedRandom, *, is_known: bool) -> None:
    adopted.restart()
    player = installed.source_player
    if player is not None:
        player.restarted(adopted, is_known=is_known)


def _keeping(adopted: AdoptedDraws, rng: random.Random) -> dict[str, Callable[..., Any]]:
    """Methods that keep each value."""
    kind = type(rng)
    draw, bits = kind.random.__get__(rng), kind.getrandbits.__get__(rng)

    def kept(now: Callable[[], Any]) -> Any:
        if adopted.drawing_thread == get_ident():
            return now()
        player = installed.source_player
        return adopted.drawn(1, now) if player is None else player.draw(adopted, 1, now)

    def seed(*args: Any, **kwargs: Any) -> None:
        kind.seed(rng, *args, **kwargs)
        known = args[0] if args else kwargs.get("a")
        seeded("seed", known)

    def setstate(state: Any) -> None:
        kind.setstate(rng, state)
        seeded("setstate", state)

    def seeded(how: str, value: Any) -> None:
        player = installed.source_player
        # What is drawn behind it is kept by value, so what it was seeded with must not get lost.
        mark = f"{how} {digest_bytes(repr(value).encode())}"
        if player is not None:
            player.restarted(adopted, is_known=value is not None, mark=mark)
        else:
            adopted.marked(mark)

    def draw_one() -> float:
        return kept(draw)  # type: ignore[no-any-return]

    def draw_bits(k: int, /) -> int:
        drawn: int = kept(lambda: bits(k))
        return drawn

    return {"random": draw_one, "getrandbits": draw_bits, "seed": seed, "setstate": setstate}


hidden_random: random.Random = vars(random)["_inst"]
"""The generator behind the functions of `random`."""
_swaps = Swaps()


def adopt_random_module() -> None:
    """Have the functions of `random` recorded; a second time changes nothing."""
    if adopted_of(hidden_random) is not None:
        return
    adopt_random(hidden_random, "random")
    methods: dict[str, Any] = recorded_methods(hidden_random)
    for name, method in methods.items():
        _swaps.put(random, name, method)
    rebind(_swaps.pairs())


def release_random_module() -> None:
    """Take that back."""
    release_random(hidden_random)
    _swaps.take_back()


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
