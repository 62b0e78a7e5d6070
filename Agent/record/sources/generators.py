"""Adopted generators of `random` and numpy: their draws are recorded for every holder of the generator.

All methods of `random.Random` draw through `random()` and `getrandbits()`, so replacing these two attributes
is enough. The position of a Mersenne twister is a number of 32-bit words after a known state, so position and
count describe the draws completely. The functions of `random` are methods of one hidden generator; those that
draw directly are replaced in the module, and in other modules that imported them by name.

numpy's generators accept no attributes, so adopting one returns an object of a recording class that draws
from the same stream. Its draws are recorded as the state before them, the number of calls and a short mark of
the state after them.
"""

from __future__ import annotations

import random
import sys
from _blake2 import blake2b
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib import import_module
from operator import index
from threading import get_ident
from typing import Any, TypeVar

from Agent.event.values.digest import digest_bytes
from Agent.record.emit import installed
from Agent.record.emit.context import Reads, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.native import native
from Agent.record.sources.adopted import Adopted, place_of_caller, reads_here, tell_state
from Agent.record.sources.patches import Patches

T = TypeVar("T")

_OWN_METHODS = ("random", "getrandbits", "seed", "setstate", "getstate", "gauss")
_WORD_BITS = 32
_DOUBLE_WORDS = 2
_JUMP_WORDS = 1 << 16
_scope_here = current_scope.get


def place_in_stream(generator: object) -> str:
    """Return a digest of the state of a `random.Random`; "" for other objects."""
    if not isinstance(generator, random.Random):
        return ""
    adopted = adopted_of(generator)
    words_and_place = None if native is None else native.random_words(generator)
    if words_and_place is None or not isinstance(adopted, AdoptedRandom):
        return digest_bytes(_text_of_state(generator))
    words, place = words_and_place
    end = b", %d), %r)" % (place, vars(generator)["gauss_next"])
    if adopted.digested is None or adopted.digested[0] != words:
        # The beginning of `_text_of_state`, without converting 625 numbers to Python integers.
        text = b"(%r, (%s" % (generator.VERSION, native.words_text(words))  # type: ignore[union-attr]
        adopted.digested = words, blake2b(text, digest_size=8)
    digest = adopted.digested[1].copy()
    digest.update(end)
    return digest.hexdigest()


def _text_of_state(generator: random.Random) -> bytes:
    return repr(random.Random.getstate(generator)).encode()


class AdoptedRandom(Adopted):
    """A Mersenne twister, whose draws are recorded as positions."""

    __slots__ = ("_pipeline", "_was_seeded", "digested", "key", "position", "rng")

    kind = "random"

    def __init__(self, rng: random.Random, place: str) -> None:
        super().__init__("random.Random", place)
        self.rng = rng
        self.position = 0
        """The number of words drawn since its base."""
        self.key = ""
        """The key of its segments: `random@` and the id of the event with its base."""
        self._pipeline: Pipeline | None = None
        self._was_seeded = False
        self.digested: tuple[bytes, Any] | None = None
        """Cached: the words of its state, which change every 624 draws, and the digest of these."""

    def restart(self) -> None:
        """Count from a new base, after the generator was seeded or its state was set."""
        self._pipeline = None
        self._was_seeded = True
        self.position = 0
        self.owner = self

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: position, number of words and `gauss` calls, spare value of `gauss` if any."""
        self.tell_base()
        spare = self.rng.gauss_next  # type: ignore[attr-defined]
        segment = [self.position, 0] if spare is None else [self.position, 0, spare]
        return reads.begin_segment(self.key, segment)

    def base_id(self, key: str, segment: list[Any]) -> str | None:  # noqa: ARG002 - one signature for all
        """See `Adopted`."""
        return key.partition("@")[2]

    def outside(self) -> list[Any]:
        """See `Adopted`; after a seed, the base is written even if the first draw is outside of actions."""
        if self._was_seeded:
            self.tell_base()
        return super().outside()

    def tell_base(self) -> None:
        """Record the state from which positions are counted, unless this session already has it."""
        pipeline = installed.active_pipeline()
        if pipeline is None or self._pipeline is pipeline:
            return
        self.key = f"random@{tell_twister(pipeline, self.place, twin_of(self.rng))}"
        self._pipeline, self.position = pipeline, 0
        self._was_seeded = False

    def put(self, segment: list[Any], base: random.Random) -> None:
        """See `Adopted`; `base` is a generator in the recorded state."""
        random.Random.setstate(self.rng, state_at(base, segment))

    def move(self, segment: list[Any], base: random.Random) -> None:
        """See `Adopted`."""
        before = self.snapshot()
        self.put(segment, base)
        if before != self.snapshot():
            self.restart()

    def drawn(self, count: int, now: Callable[[], T]) -> T:
        """See `Adopted`; a call of `gauss` is counted, but its words are counted by the draws inside it."""
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


def twin_of(rng: random.Random) -> random.Random:
    """Return a generator in the same state, of the class that the codec handles, without other methods."""
    twin = random.Random(0)
    twin.setstate(random.Random.getstate(rng))
    return twin


def tell_twister(pipeline: Pipeline, place: str, twin: random.Random) -> str:
    """Record a state from which positions are counted, once per session; return the id of its event."""
    return tell_state(pipeline, "random.Random", place, repr(twin.getstate()).encode(), twin)


def state_at(base: random.Random, segment: Sequence[Any]) -> tuple[Any, ...]:
    """Return the state at the position of a segment; base generators cache the last position reached."""
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
    """Another generator, `SystemRandom` or a class that overrides methods: each value is recorded."""

    kind = "draws"

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name, place)
        self.drawing_thread = 0
        """The thread in which one of its methods runs: draws inside the method are part of its result."""

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: a segment is the list of the values."""
        return reads.begin_segment(f"draws@{self.place}", [])

    def drawn(self, count: int, now: Callable[[], Any], bits: int | None = None) -> Any:  # noqa: ARG002
        """See `Adopted`: the value is recorded, an integer with the number of bits that were asked for."""
        before, self.drawing_thread = self.drawing_thread, get_ident()
        try:
            value = now()
        finally:
            self.drawing_thread = before
        self.follow()
        if reads_here() is not None:
            with_bits = "" if bits is None else f"/{bits}"
            self.segment.append(f"{value:#x}{with_bits}" if type(value) is int else value)
        return value

    def marked(self, mark: str) -> None:
        """See `Adopted`."""
        if reads_here() is not None:
            self.follow()
            self.segment.append(mark)


def adopt_random(rng: random.Random, place: str | None = None) -> Adopted:
    """Record the draws of a generator from now on, in place; adopting it again changes nothing."""
    known = adopted_of(rng)
    if known is not None:
        return known
    place = place or place_of_caller()
    kind = type(rng)
    if all(getattr(kind, name) is getattr(random.Random, name) for name in _OWN_METHODS):
        adopted: Adopted = (counted := AdoptedRandom(rng, place))
        methods = _counting(counted, rng)
    else:
        adopted = kept = AdoptedDraws(f"{kind.__module__}.{kind.__qualname__}", place)
        methods = _keeping(kept, rng)
    for name, method in methods.items():
        method.__name__ = name
        method.__doc__ = getattr(kind, name).__doc__
        method.agent_trace_adopted = adopted  # type: ignore[attr-defined]
    vars(rng).update(methods)
    return adopted


def release_random(rng: random.Random) -> None:
    """Undo `adopt_random`."""
    for name in recorded_methods(rng):
        del vars(rng)[name]


def recorded_methods(rng: random.Random) -> dict[str, Callable[..., Any]]:
    """Return the recording methods that `adopt_random` set on a generator, by name."""
    return {name: value for name, value in vars(rng).items() if hasattr(value, "agent_trace_adopted")}


def adopted_of(rng: random.Random) -> Adopted | None:
    """Return the `Adopted` of a generator, None if it is not adopted. Copies are not adopted."""
    adopted = getattr(vars(rng).get("random"), "agent_trace_adopted", None)
    return adopted if isinstance(adopted, Adopted) else None


def _counting(adopted: AdoptedRandom, rng: random.Random) -> dict[str, Callable[..., Any]]:
    """Make methods that count words.

    No Python call may come between count and draw: threads switch only at calls, so both are one step.
    """
    kind = random.Random
    draw: Callable[[], float] = kind.random.__get__(rng)
    bits: Callable[[int], int] = kind.getrandbits.__get__(rng)

    def counted(words: int, now: Callable[[], T]) -> T:
        player = installed.source_player
        if player is not None:
            return player.draw(adopted, words, now)
        scope = _scope_here()
        reads = None if scope is None else scope.reads
        while adopted.owner is not reads:
            adopted.begin(reads)
        adopted.position += words
        adopted.segment[1] += words
        return now()

    def count_one() -> float:
        return counted(_DOUBLE_WORDS, draw)

    def count_bits(k: int, /) -> int:
        words = (k + _WORD_BITS - 1) // _WORD_BITS if type(k) is int and k > 0 else _words(k)
        return counted(words, partial(bits, k))  # in C, so that no other thread draws in between

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
        # `gauss` may return the second value of the last pair and draw nothing, so its calls are counted.
        _count_call(adopted)
        return kind.gauss(rng, *args, **kwargs)

    def seeded(_how: str, value: Any) -> None:
        adopted.restart()
        player = installed.source_player
        if player is not None:
            player.restarted(adopted, is_known=value is not None)

    return {"random": draw_one, "getrandbits": draw_bits, "gauss": gauss, **_seeding(rng, kind, seeded)}


def _seeding(
    rng: random.Random, kind: type[random.Random], seeded: Callable[[str, Any], None]
) -> dict[str, Callable[..., Any]]:
    """Make methods that call `seeded` with their name and what they were given."""

    def seed(*args: Any, **kwargs: Any) -> None:
        kind.seed(rng, *args, **kwargs)
        seeded("seed", args[0] if args else kwargs.get("a"))

    def setstate(state: Any) -> None:
        kind.setstate(rng, state)
        seeded("setstate", state)

    return {"seed": seed, "setstate": setstate}


def _words(k: Any) -> int:
    """Return the number of words that `getrandbits(k)` draws for an unusual k; 0 if it will raise."""
    try:
        number: int = k.__index__()
    except Exception:  # noqa: BLE001 - getrandbits raises the error
        return 0
    return max(0, (number + _WORD_BITS - 1) // _WORD_BITS)


def _no_words() -> None:
    """Draw nothing: passed to `drawn` for a call of `gauss`, which is only counted."""


def _count_call(adopted: AdoptedRandom) -> None:
    player = installed.source_player
    if player is not None:
        player.draw(adopted, 1, _no_words)
        return
    reads = reads_here()
    while adopted.owner is not reads:
        adopted.begin(reads)
    adopted.segment[1] += 1


def _keeping(adopted: AdoptedDraws, rng: random.Random) -> dict[str, Callable[..., Any]]:
    """Make methods that record each value."""
    kind = type(rng)
    draw, bits = kind.random.__get__(rng), kind.getrandbits.__get__(rng)

    def kept(now: Callable[[], Any], bits: int | None = None) -> Any:
        if adopted.drawing_thread == get_ident():
            return now()
        player = installed.source_player
        return adopted.drawn(1, now, bits) if player is None else player.draw(adopted, 1, now, bits)

    def seeded(how: str, value: Any) -> None:
        player = installed.source_player
        # Later draws are recorded by value, so a replay can notice another seed only by this mark.
        mark = f"{how} {digest_bytes(repr(value).encode())}"
        if player is not None:
            player.restarted(adopted, is_known=value is not None, mark=mark)
        else:
            adopted.marked(mark)

    def draw_one() -> float:
        return kept(draw)  # type: ignore[no-any-return]

    def draw_bits(k: int, /) -> int:
        drawn: int = kept(lambda: bits(k), _bits_in(k))
        return drawn

    return {"random": draw_one, "getrandbits": draw_bits, **_seeding(rng, kind, seeded)}


def _bits_in(k: Any) -> int | None:
    """Return the number of bits that `getrandbits(k)` draws; None if it will raise."""
    try:
        return index(k)
    except TypeError:
        return None


hidden_random: random.Random = vars(random)["_inst"]
"""The generator behind the functions of `random`."""
_patches = Patches()


def adopt_random_module() -> None:
    """Record the functions of `random` from now on; calling it again changes nothing."""
    if adopted_of(hidden_random) is not None:
        return
    adopt_random(hidden_random, "random")
    _patches.apply([(random, *each) for each in recorded_methods(hidden_random).items()])


def release_random_module() -> None:
    """Undo `adopt_random_module`."""
    release_random(hidden_random)
    _patches.undo()


# Seeding is not among these: it counts as a draw. The draws after it follow from the state at the start of
# the segment and the seed; after a seed from entropy they cannot be reproduced.
_NO_DRAWS = frozenset({"bit_generator", "spawn", "get_state"})
_LOW_BITS = (1 << 32) - 1
_classes: dict[str, Any] = {}


class AdoptedNumpy(Adopted):
    """A numpy generator, whose draws are recorded as states.

    Args:
        name: `numpy.Generator` or `numpy.RandomState`.
        read: returns its state, a mapping as in numpy.
        write: sets its state.
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
        """Its bit generator; None for the one behind the module functions."""
        self.drawing_thread = 0
        """The thread in which one of its methods runs: draws inside the method are part of its result."""

    def begin(self, reads: Reads | None) -> None:
        """See `Adopted`; the segment of the previous owner gets the mark of the state at its end."""
        before = self.owner
        if isinstance(before, Reads):
            self._end(before)
        super().begin(reads)

    def new_segment(self, reads: Reads) -> list[Any]:
        """See `Adopted`: the state, the number of calls, and at the end the mark of the state after them."""
        reads.at_close.append(self._end)
        return reads.begin_segment(f"numpy@{self.place}", [self._compact(self.read()), 0])

    def _end(self, reads: Reads) -> None:
        if self.owner is reads and len(self.segment) == 2:
            self.segment.append(_mark(self.read()))

    def _compact(self, state: dict[str, Any]) -> list[Any]:
        """Return a short form of a state; a large part is written as an event, and the form has its id."""
        name = state["bit_generator"]
        inner = state["state"]
        if name.startswith("PCG"):
            spare = [state["has_uint32"], state["uinteger"]]
            return [name, f"{inner['state']:x}", f"{inner['inc']:x}", *spare]
        pipeline = installed.active_pipeline()
        large = {"bit_generator": name, "key": inner["key"]} if name == "MT19937" else state
        known = large["key"].tobytes() if name == "MT19937" else repr(_plain(state)).encode()
        base = "" if pipeline is None else tell_state(pipeline, self.name, self.place, known, _plain(large))
        if name == "MT19937":
            return [name, base, int(inner["pos"]), state.get("has_gauss", 0), state.get("gauss", 0.0)]
        return [name, base]

    def base_id(self, key: str, segment: list[Any]) -> str | None:  # noqa: ARG002 - one signature for all
        """See `Adopted`."""
        return None if segment[0][0].startswith("PCG") else segment[0][1]

    def put(self, segment: list[Any], base: Any) -> None:
        """See `Adopted`; `base` is the value in its `source.state` event."""
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
    """Return a number that differs between a state and the states a few draws before or after it."""
    inner = state["state"]
    if "pos" in inner:
        return int(inner["key"][0]) ^ int(inner["pos"])
    if "state" in inner and not hasattr(inner["state"], "tobytes"):
        return int(inner["state"]) & _LOW_BITS
    counted = inner.get("counter", inner.get("state"))
    return (int(counted[-1]) ^ int(counted[0]) ^ int(state.get("buffer_pos", 0))) & _LOW_BITS


def _plain(value: Any) -> Any:
    """Convert the arrays in a state to lists."""
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
    """Return a recording generator over the same stream; None for an object that cannot be adopted."""
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
            partial(setattr, bits, "state"),
        )
    elif type(generator) is random.RandomState:
        recorded = _class_over(random.RandomState)(generator._bit_generator)  # noqa: SLF001 - its stream
        write = partial(random.RandomState.set_state, recorded)  # the recording method would count a draw
        write(generator.get_state(legacy=False))
        adopted = AdoptedNumpy(
            "numpy.RandomState", place or place_of_caller(), lambda: recorded.get_state(legacy=False), write
        )
    else:
        return None
    adopted.bits = recorded._bit_generator  # noqa: SLF001 - a RandomState has no public name for it
    recorded.agent_trace_adopted = adopted
    return recorded


def _class_over(base: Any) -> Any:
    """Return a subclass of `base` whose methods record their draws; it is made once."""
    known = _classes.get(base.__name__)
    if known is not None:
        return known
    methods: dict[str, Any] = {"agent_trace_adopts": base}
    for name in dir(base):
        if not name.startswith("_") and name not in _NO_DRAWS and callable(getattr(base, name)):
            methods[name] = _recorded(getattr(base, name))
    if hasattr(base, "spawn"):
        methods["spawn"] = _spawn
    cls = type(base.__name__, (base,), {**methods, "__module__": base.__module__})
    return _classes.setdefault(base.__name__, cls)


def _spawn(self: Any, n_children: int) -> list[Any]:
    """Spawn adopted generators; each is identified by the spawn key in its seed sequence."""
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
    """Make and record a draw; it counts as one call, even if it calls other drawing methods."""
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
    """Return the module `numpy.random`; None if numpy is not loaded.

    numpy loads it lazily, at its first use; so it is imported here to replace its functions in time.
    """
    numpy = sys.modules.get("numpy")
    is_being_loaded = getattr(getattr(numpy, "__spec__", None), "_initializing", False)
    if "numpy.random" not in sys.modules and (numpy is None or is_being_loaded):
        return None
    return import_module("numpy.random")


def numpy_module_patches(random: Any) -> list[tuple[Any, str, Any]]:
    """Return (module, name, replacement) for the functions of `numpy.random`."""
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
