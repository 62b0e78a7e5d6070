"""`recorded_sources()` and `adopt()`: what turns the recording of chance and time on.

Within an action that is traced, what the code reads is kept in its event; outside of any nothing is.
"""

from __future__ import annotations

import os
import random
import sys
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar

from Agent.errors import ConfigurationError
from Agent.record.emit import installed
from Agent.record.emit.context import Reads
from Agent.record.encode.safe_text import as_message
from Agent.record.health import note, trouble
from Agent.record.sources import adopted as adopted_generators
from Agent.record.sources.adopted import Adopted, numbered
from Agent.record.sources.generators import (
    adopt_random,
    adopt_random_module,
    adopted_of,
    hidden_random,
    release_random_module,
)
from Agent.record.sources.numpy_generators import adopt_numpy, numpy_module_seams, numpy_random_module
from Agent.record.sources.seams import Swaps, rebind, seams
from Agent.record.sources.watch import ReadNotice, UnrecordedRead, answer_hidden_reads, end_hidden_reads

T = TypeVar("T")


class _Adoptions:
    """What is adopted in this process beyond any block, and what the outermost block adopted for itself."""

    def __init__(self) -> None:
        self.random_of_block = False
        self.numpy_of_block: Swaps | None = None
        self.has_numpy = False
        self.notice: ReadNotice | None = None
        """Of the outermost block."""
        self.is_lasting = False
        self.lasting_notice: ReadNotice | None = None
        """Of what `adopt` adopted: draws alone."""

    def open(self, *, lasting: bool = False, notices: bool = True) -> None:
        """From now on actions keep what they read."""
        self.is_lasting |= lasting
        if lasting and notices and self.lasting_notice is None:
            self.lasting_notice = ReadNotice(draws_only=True)
        installed.open_reads = self._reads

    def close(self) -> None:
        """The outermost block ends."""
        notice, self.notice = self.notice, None
        if notice is not None:
            notice.tell_counts()
        if not self.is_lasting:
            installed.open_reads = None

    def _reads(self, function: object) -> Reads:
        """The reads of a call of that traced function."""
        reads = Reads()
        if (
            not self.has_numpy and "numpy" in sys.modules and seams.are_in
        ):  # it was loaded since the block began
            self.numpy_of_block = self.adopt_numpy_module()
        notice = self.notice if seams.are_in else self.lasting_notice
        if notice is not None and notice.begin(function):
            reads.at_close.append(lambda _reads: notice.end())
        return reads

    def adopt_numpy_module(self) -> Swaps | None:
        """The functions of `numpy.random`, replaced; None where they are already, or numpy is not loaded."""
        module = None if self.has_numpy else numpy_random_module()
        if module is None:
            return None
        swaps = Swaps()
        for owner, name, recorded in numpy_module_seams(module):
            swaps.put(owner, name, recorded)
        rebind(swaps.pairs())
        self.has_numpy = True
        return swaps


_adoptions = _Adoptions()


def adopt(source: T, name: str | None = None) -> T:
    """Have what is drawn from a generator recorded, so that a replay draws the same; gives it back.

    A `random.Random`, and the module `random` or `numpy.random`, is adopted in place, whoever holds it.
    numpy's generators come back as another object over the same stream: keep that one. Adopting again
    changes nothing, a copy is not adopted, and what cannot be adopted comes back as it is, counted in
    `Agent.health()`.

    Args:
        source: the generator.
        name: what a replay tells it from others by, where its target adopts several in other functions.
    """
    try:
        found = _adopt(source, None if name is None else as_message(name).replace("#", "_"))
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        trouble("adopting a generator", error)
        return source
    if found is None:
        note(f"a {type(source).__qualname__} cannot be adopted")
        return source
    _adoptions.open(lasting=True)
    return found  # type: ignore[no-any-return]


def adopt_held(generator: random.Random, place: str) -> None:
    """Have the draws of a generator recorded that the recorder itself came upon.

    Args:
        place: the class that holds it, and its attribute.
    """
    if generator is not hidden_random and adopted_of(generator) is None:
        adopt_random(generator, numbered(place))
        _adoptions.open(lasting=True, notices=False)  # which nobody asked for, and they take time


def _adopt(source: Any, name: str | None) -> Any:
    if source is random:
        adopt_random_module()
        _adoptions.random_of_block = False
        return source
    if isinstance(source, ModuleType):
        if source is not sys.modules.get("numpy.random"):
            return None
        _adoptions.adopt_numpy_module()
        _adoptions.numpy_of_block = None
        return source
    if isinstance(source, random.Random):
        if source is hidden_random:
            return _adopt(random, None) and source
        adopt_random(source, name)
        return source
    return adopt_numpy(source, name)


def adoption_of(generator: Any) -> Adopted | None:
    """What records the draws of a generator, None where nobody does."""
    if isinstance(generator, random.Random):
        return adopted_of(generator)
    return getattr(generator, "agent_trace_adopted", None)


class recorded_sources:  # noqa: N801 - used like a function
    """A block in which reads of clock, chance and environment are recorded: `with recorded_sources():`.

    These are the functions of `random` and `numpy.random`, clocks, `datetime.now` and its like, `uuid1`,
    `uuid4`, `os.urandom`, `secrets` and `os.environ`. Blocks may nest, in threads, too; the last that ends
    puts everything back as it was.

    Args:
        notice: tell of reads that go round it, once a place (`unrecorded`): `some` looks at the first calls
            of each traced function and at every 64th, `all` at each, which takes some three times as long,
            `none` at none. A replay notices all of them. Of nested blocks the outermost says.
    """

    def __init__(self, *, notice: str = "some") -> None:
        if notice not in {"some", "all", "none"}:
            raise ConfigurationError(f"notice={notice!r} is unknown", remedy="use some, all or none")
        self._how = notice
        self._notice: ReadNotice | None = None
        self._is_in = False

    @property
    def unrecorded(self) -> tuple[UnrecordedRead, ...]:
        """Places that read a source past the recorder so far."""
        return () if self._notice is None else tuple(self._notice.found.values())

    def __enter__(self) -> Self:
        try:
            self._enter()
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            trouble("recorded_sources", error)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._exit()
        except Exception as error:  # noqa: BLE001 - as above
            trouble("recorded_sources", error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _enter(self) -> None:
        is_first = seams.put_in()
        self._is_in = True
        if is_first:
            answer_hidden_reads()
            _adoptions.random_of_block = adopted_of(hidden_random) is None
            adopt_random_module()
            _adoptions.numpy_of_block = _adoptions.adopt_numpy_module()
            _adoptions.notice = None if self._how == "none" else ReadNotice(is_full=self._how == "all")
            _adoptions.open()
        self._notice = _adoptions.notice

    def _exit(self) -> None:
        if not self._is_in:
            return
        self._is_in = False
        if not seams.take_away():
            return
        end_hidden_reads()
        if _adoptions.random_of_block:
            release_random_module()
            _adoptions.random_of_block = False
        if _adoptions.numpy_of_block is not None:
            _adoptions.numpy_of_block.take_back()
            _adoptions.numpy_of_block = None
            _adoptions.has_numpy = False
        _adoptions.close()


def _after_fork_in_child() -> None:
    seams.after_fork()
    adopted_generators.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
