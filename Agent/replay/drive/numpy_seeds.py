"""Entropy that seeds numpy generators: a read counts unless a known seed replaces it before any draw.

`RandomState(7)` first reads entropy and then seeds itself with 7; so does code that creates a `RandomState()`
and seeds it later. A replay replaces, in its own process, the two numpy functions that reveal this: the one
through which a `SeedSequence` reads entropy, and the one that seeds a Mersenne twister with a number.
Since numpy 2.3, `numpy.random` is loaded when a program first uses it, often to create a generator.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from Agent.replay.compare.outcome import SourceRead


class _Made(NamedTuple):
    """A generator made by `default_rng`, with its initial state."""

    generator: Any
    state: str


class NumpySeeds:
    """Tracks numpy's reads of entropy that no known seed has replaced."""

    def __init__(self) -> None:
        self.is_global_known = False
        """Whether the global generator of `numpy.random` got a known seed."""
        self._is_in = False
        self._is_seeding_seen = False
        self._given: list[Any] = []
        """Mersenne twisters that got a known seed."""
        self._is_reading = False
        self._read: SourceRead | None = None
        self._open: dict[int, SourceRead] = {}
        """{entropy: the read that returned it}."""
        self._built: dict[int, SourceRead] = {}

    def holds(self, read: SourceRead) -> bool:
        """Whether numpy is reading now: then the use of the generator decides whether the read counts."""
        if self._is_reading:
            self._read = read
        return self._is_reading

    def install(self) -> None:
        """Replace the two functions once numpy is loaded; repeated calls have no effect."""
        entropy: Any = sys.modules.get("numpy.random.bit_generator")
        twister: Any = getattr(sys.modules.get("numpy.random._mt19937"), "MT19937", None)
        if self._is_in or twister is None or not hasattr(entropy, "randbits"):
            return
        self._is_in = True
        self.look_at_seeding()
        read = entropy.randbits

        def randbits(bits: int) -> int:
            self._is_reading = True
            try:
                value: int = read(bits)
            finally:
                self._is_reading = False
            found, self._read = self._read, None
            if found is not None:
                self._open[value] = found
            return value

        entropy.randbits = randbits

    def look_at_seeding(self) -> None:
        """Watch which Mersenne twisters get a known seed, once numpy is loaded."""
        twister: Any = getattr(sys.modules.get("numpy.random._mt19937"), "MT19937", None)
        if self._is_seeding_seen or twister is None:
            return
        self._is_seeding_seen = True
        seed = twister._legacy_seeding  # noqa: SLF001 - all seeding goes through it

        def legacy_seeding(generator: Any, value: Any) -> None:
            known = None if value is None else _entropy_of(generator)
            is_fresh = known in self._open and _is_fresh(generator)
            seed(generator, value)
            if value is not None:
                self._given.append(generator)
                if generator is _bits_of_module():
                    self.is_global_known = True
            if is_fresh:
                self._open.pop(known, None)  # type: ignore[arg-type]

        # The class does not accept attributes, so change its dict directly and invalidate the type cache.
        gc.get_referents(twister.__dict__)[0]["_legacy_seeding"] = legacy_seeding
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(twister))

    def not_given(self) -> list[Any]:
        """Return numpy's bit generators that got no known seed."""
        return [each for each in _bit_generators() if not any(given is each for given in self._given)]

    def take(self) -> list[SourceRead]:
        """Remove and return the reads that no seed replaced."""
        if not self._open:
            return []
        reads, self._open = list(self._open.values()), {}
        return reads

    @contextmanager
    def looking_at_made(self, module: Any) -> Iterator[None]:
        """Ignore the entropy of `default_rng` generators made in the block but neither used nor kept.

        Args:
            module: `numpy.random`; None if it is not loaded.
        """
        make = None if module is None else vars(module).get("default_rng")
        if make is None:
            yield
            return
        kept: list[_Made] = []

        @wraps(make)
        def default_rng(*args: Any, **kwargs: Any) -> Any:
            generator = make(*args, **kwargs)
            if _entropy_of(generator.bit_generator) in self._open:
                kept.append(_Made(generator, repr(generator.bit_generator.state)))
            return generator

        vars(module)["default_rng"] = default_rng
        try:
            yield
        finally:
            if vars(module).get("default_rng") is default_rng:
                vars(module)["default_rng"] = make
            alone = _holders(_Made(make(0), ""))
            for each in kept:  # naming its bit generator would add a reference
                if _holders(each) == alone and repr(each.generator.bit_generator.state) == each.state:
                    self._open.pop(_entropy_of(each.generator.bit_generator), None)  # type: ignore[arg-type]

    def set_built(self) -> None:
        """Mark the reads so far as made while the target was built."""
        self._built |= self._open
        self._open = {}

    def built(self, restored: Iterable[Any]) -> list[SourceRead]:
        """Return the reads made while the target was built, except by generators whose state was restored."""
        known = {_entropy_of(getattr(each, "_bit_generator", None)) for each in restored}
        return [read for entropy, read in self._built.items() if entropy not in known]


def _bits_of_module() -> Any:
    hidden: Any = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    return getattr(hidden, "_bit_generator", None)


def _entropy_of(bits: Any) -> int | None:
    sequence = getattr(bits, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return entropy if type(entropy) is int else None


def numpy_state_if_used() -> list[dict[str, Any]]:
    """Return the state of numpy's global generator if it was seeded or drawn from, else nothing."""
    bits = _bits_of_module()
    return [] if bits is None or _is_fresh(bits) else [bits.state]


def _is_fresh(generator: Any) -> bool:
    """Whether a Mersenne twister has made no draw since it was seeded from its entropy."""
    now, begun = generator.state["state"], type(generator)(_entropy_of(generator)).state["state"]
    return bool(now["pos"] == begun["pos"] and (now["key"] == begun["key"]).all())


def _holders(entry: _Made) -> tuple[int, ...]:
    """Return the reference counts of a generator, its bit generator, and its seed sequence."""
    bits = entry.generator.bit_generator
    return sys.getrefcount(entry.generator), sys.getrefcount(bits), sys.getrefcount(bits.seed_seq)


def _bit_generators() -> list[Any]:
    """Return all bit generators of numpy in this process, except the global one."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return []
    hidden = numpy_random.mtrand._rand._bit_generator  # noqa: SLF001 - it has no public name
    holders = [
        each
        for each in gc.get_objects()
        if issubclass(type(each), (numpy_random.Generator, numpy_random.RandomState))
    ]
    by_id = {id(bits): bits for each in holders if (bits := each._bit_generator) is not hidden}  # noqa: SLF001 - as above
    return list(by_id.values())
