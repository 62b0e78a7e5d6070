"""Answers of random, time and environment sources: what each replayed action read in the recording, in order.

The interception of sources in `record/sources/` calls this. A read beyond the recorded ones of a source is a
difference. If the recording has no read of the source in that call, the watch notes the read and its place.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from types import FrameType
from typing import Any, NoReturn, TypeVar

from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.record.emit.context import ALL_NAMES, ENVIRONMENT, OtherSize, kinds_of_draws, making_answer
from Agent.record.sources.adopted import Adopted, Asker, asker_of, living, place_of
from Agent.record.sources.generators import adopted_of, hidden_random
from Agent.record.sources.patches import IDS_OF_LIBRARY
from Agent.replay.compare.comparison import Difference, in_payload
from Agent.replay.drive.player import ReplayContext, driven_here, open_call
from Agent.replay.drive.thread_watch import first_frame
from Agent.replay.drive.watched import SourceWatch
from Agent.replay.plan.actions import DrivenAction, PlannedCall, calls_in
from Agent.replay.plan.recording import Recording, members

T = TypeVar("T")

_READS = "/extra/reads"


class CallReads:
    """The reads of one recorded call, and how many of them were repeated."""

    def __init__(self, event: Event, places: GeneratorPlaces) -> None:
        self.values: dict[str, list[Any]] = {}
        self.variables: dict[str, list[list[Any]]] = {}
        self.draws: list[RecordedDraws] = []
        self.taken: Counter[str] = Counter()
        self.of: dict[int, RecordedDraws] = {}
        """{number of an adopted generator here: its draws}."""
        for source, recorded_reads in members(event, "reads").items():
            if source == ENVIRONMENT and isinstance(recorded_reads, dict):
                self.variables = {name: runs_of(name, value) for name, value in recorded_reads.items()}
            elif isinstance(recorded_reads, list):
                kind = source.partition("@")[0] if "@" in source else ""
                if kind:
                    self.draws.append(RecordedDraws(kind, source, places.of_key(source), recorded_reads))
                else:
                    self.values[source] = list(recorded_reads)

    def draws_for(self, adopted: Adopted, place: str) -> RecordedDraws | None:
        """Return the recorded draws of a generator, identified by its place."""
        draws = self.of.get(adopted.number)
        if draws is None:
            for each in self.draws:
                if each.is_free and (each.kind, each.place) == (adopted.kind, place):
                    each.is_free = False
                    self.of[adopted.number] = each
                    return each
        return draws

    def next_of(self, name: str) -> Any:
        """Return the value of a variable at its next read; after the last recorded one, the last value."""
        key, passed = f"{ENVIRONMENT}/{name}", 0
        self.taken[key] += 1
        for value, count in self.variables[name]:
            passed += count
            if self.taken[key] <= passed:
                return value
        return self.variables[name][-1][0]

    def left(self) -> tuple[str, str] | None:
        """Return (recorded, replayed) for a source that was read less than in the recording."""
        for source, values in self.values.items():
            if self.taken[source] < len(values):
                return f"{len(values)} reads of {source}", f"{self.taken[source]}"
        for draws in self.draws:
            left = draws.left()
            if left is not None:
                return left
        return None


def runs_of(name: str, value: Any) -> list[list[Any]]:
    """Return the values of a variable as [value, number of reads], in order."""
    is_runs = isinstance(value, list) and all(isinstance(run, list) and len(run) == 2 for run in value)
    if is_runs and not (name == ALL_NAMES and all(isinstance(item, str) for item in value)):
        return [list(run) for run in value]
    return [[value, 1]]


class SourceAnswers:
    """Answers sources from the recording while an action is replayed.

    Args:
        watch: notes reads that the recording lacks.
        clock_shift_s: shift in seconds of the clocks for unrecorded reads by libraries.
    """

    def __init__(self, context: ReplayContext, watch: SourceWatch, clock_shift_s: int = 0) -> None:
        self._recording = context.recording
        self._player = context.player
        self._live = context.live
        self._watch = watch
        self._clock_shift_s = clock_shift_s
        self._decoder = context.decoder
        self._outcome = context.outcome
        self.is_putting = False
        """Recorded state is being restored, which does not count as seeding."""
        self._calls: dict[str, CallReads] = {}
        self._bases: dict[str, Any] = {}
        self._seeded: dict[int, Any] = {}
        """Adopted generators that replayed code seeded with known values, and their states at that time."""
        self._variables = _variables(context.recording)
        self.places = GeneratorPlaces(context.recording)

    def begin(self) -> None:
        """Reset for the next action."""
        self._calls.clear()

    @property
    def _is_off(self) -> bool:
        """Whether sources are read as without a replay."""
        return not self._watch.is_on or making_answer.get()

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:
        """Implement `SourcePlayer`."""
        if self._is_off:
            return now()
        reads = self._reads()
        values = None if reads is None else reads.values.get(source)
        if reads is None or values is None:
            # Without `recorded_sources()` ids made by compiled code are not recorded in any program.
            if not source.startswith(IDS_OF_LIBRARY):
                self._watch.unrecorded(source, frame)
            return self._watch.noted(now(), frame, self._clock_shift_s)
        number = reads.taken[source]
        if number == len(values):
            self._more(f"{number} reads of {source}", f"one more, by {place_of(frame)}")
        reads.taken[source] += 1
        try:
            return decode(values[number])
        except OtherSize as size:
            asked = f"a read of {_bytes(size.asked_bytes)}, by {place_of(frame)}"
            self._more(f"a read of {_bytes(size.recorded_bytes)} from {source}", asked)
        except Exception as error:  # noqa: BLE001 - it was redacted or edited
            self._player.stop(f"the value of {source} cannot be restored: {type(error).__name__}: {error}")

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:
        """Implement `SourcePlayer`; a variable recorded with only one value has that value everywhere."""
        if self._is_off:
            return now()
        reads = self._reads()
        if reads is not None and name in reads.variables:
            return self._shown(name, reads.next_of(name))
        known = self._variables.get(name, {})
        if len(known) == 1:
            return self._shown(name, next(iter(known.values())))
        self._watch.unrecorded(ENVIRONMENT, frame)
        return now()

    def draw(self, adopted: Adopted, count: int, now: Callable[[], T], bits: int | None = None) -> T:
        """Implement `SourcePlayer`."""
        if self._is_off or self.is_putting:
            return now()
        draws = self._draws(adopted)
        if draws is None:
            if self._drew_in_action(adopted):
                self._drew(f"no draw from {adopted.name} there", "one")
            self._undrawn(adopted)
            return now()
        self._watch.answered(_module_of(adopted))
        segment = draws.take(count, lambda segment: self._put(adopted, draws, segment))
        if segment is None:
            self._drew(draws.recorded, "one more")
        if draws.kind == "draws":
            if isinstance(draws.value, str):
                self._drew(f"a generator that is seeded ({draws.value})", "a draw from it")
            if not draws.fits(bits):
                self._drew(draws.size, size_of_draw(bits))
            return draws.value  # type: ignore[no-any-return]
        value = now()
        if draws.is_at_end_of(segment) and adopted.end_differs(segment):
            self._drew(draws.recorded, "as many calls that drew a different number of values")
        return value

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """Implement `SourcePlayer`."""
        if self._is_off or self.is_putting:
            return
        reads = self._reads()
        if mark is not None:
            draws = self._draws(adopted)
            taken = None if draws is None else draws.take(1, lambda _: None)
            if draws is not None and (taken is None or draws.value != mark):
                self._drew(draws.recorded, "a generator that is seeded differently")
            elif draws is None:
                self._undrawn(adopted)
            return
        if reads is not None:
            reads.of.pop(adopted.number, None)  # its next draws begin with a new state
        if is_known:
            self._seeded[adopted.number] = adopted.snapshot()
        else:
            self._seeded.pop(adopted.number, None)

    def compare_left(self, action: DrivenAction) -> None:
        """Stop with a difference if the action or a call in it read less than in the recording."""
        if action.is_plain and "reads" not in action.event.extra:
            return
        pending = [action.call]
        while pending:
            call = pending.pop()
            pending += [each for each in call.children if each.is_taken and each.agent_id in self._live]
            reads_left = self._of(call).left()
            if reads_left is not None:
                recorded, replayed = reads_left
                adopts_any = any(reads.of for reads in self._calls.values())
                if any(draws.is_free for draws in self._of(call).draws) and not adopts_any:
                    self._player.stop(
                        f"{call.whose} drew from an adopted generator, and the target adopted "
                        "none: call recorder.adopt() where it makes its generators"
                    )
                self._diverge(recorded, replayed, call.whose, action)

    def _reads(self) -> CallReads | None:
        call = open_call()
        return None if call is None else self._of(call)

    def _of(self, call: PlannedCall) -> CallReads:
        known = self._calls.get(call.event.id)
        if known is None:
            known = self._calls[call.event.id] = CallReads(call.event, self.places)
        return known

    def _draws(self, adopted: Adopted) -> RecordedDraws | None:
        """Return the recorded draws of that generator in the open call; None if it made none."""
        reads = self._reads()
        place = self.places.of(adopted)
        if place is None:
            self._outcome.reason(
                "generators that the target adopts cannot be distinguished: adopt them in the same functions "
                "as the program, or name them, recorder.adopt(rng, name=...)"
            )
        return None if reads is None or place is None else reads.draws_for(adopted, place)

    def _drew_in_action(self, adopted: Adopted) -> bool:
        """Whether the recorded action drew from that generator elsewhere: then all draws are recorded."""
        action, place = driven_here() or self._watch.action, self.places.of(adopted)
        if action is None or place is None or self._watch.allows(adopted):
            return False
        draws = (each for call in (action.call, *calls_in(action.call)) for each in self._of(call).draws)
        return any((each.kind, each.place) == (adopted.kind, place) for each in draws)

    def _undrawn(self, adopted: Adopted) -> None:
        """Report a draw that the recording lacks, unless it follows from the agent's state."""
        if self._watch.allows(adopted) or self._watch.is_seeded(_module_of(adopted)):
            return
        asker = _drawing_code()
        if asker is not None:
            self._watch.unrecorded(_module_of(adopted) or adopted.name, asker.frame)

    def _put(self, adopted: Adopted, draws: RecordedDraws, segment: list[Any]) -> None:
        if draws.kind == "draws":
            return
        base_id = adopted.base_id(draws.key, segment)
        base = None if base_id is None else self._base(base_id)
        if base_id is not None and base is None:
            self._player.stop(f"the state from which draws of {adopted.name} begin is not in the recording")
        seeded = self._seeded.pop(adopted.number, None)
        if seeded is not None and not adopted.began_at(seeded, base):
            self._drew(draws.recorded, "a generator that was seeded differently")
        try:
            adopted.put(segment, base)
        except Exception as error:  # noqa: BLE001 - a state of another version, or one that was edited
            self._player.stop(f"a recorded state of {adopted.name} cannot be restored: {error}")

    def _base(self, event_id: str) -> Any:
        if event_id not in self._bases:
            event = self._recording.generator_states.get(event_id)
            if event is None:
                return None
            restored = self._decoder.restore(in_payload(event, "value"))
            self._bases[event_id] = None if restored.unrestored else restored.value
        return self._bases[event_id]

    def _shown(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name in self._hidden:
            hidden = f"the variable {name} of the environment, hidden in the recording"
            if hidden not in self._outcome.normalisers:
                self._outcome.normalisers.append(hidden)
                self._outcome.doubts.append(f"the variable {name} of the environment is redacted")
        return value

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return _hidden_variables(self._recording)

    def _drew(self, recorded: str, replayed: str) -> NoReturn:
        asker = _drawing_code()
        place = "code of a library" if asker is None else place_of(asker.frame)
        self._more(recorded, f"{replayed}, by {place}")

    def _more(self, recorded: str, replayed: str) -> NoReturn:
        call = open_call()
        self._diverge(recorded, replayed, "" if call is None else call.whose)

    def _diverge(
        self, recorded: str, replayed: str, place: str, action: DrivenAction | None = None
    ) -> NoReturn:
        action = action or driven_here() or self._watch.action
        assert action is not None  # noqa: S101 - sources are answered only during an action
        self._player.differs(action, "reads", Difference("", recorded, replayed), place=place)


def _module_of(adopted: Adopted) -> str:
    """Return the module whose global generator it is; "" for others."""
    if adopted is adopted_of(hidden_random):
        return "random"
    return "numpy.random" if adopted.name == "numpy.RandomState" else ""


def _bytes(count: int) -> str:
    return f"{count:,} byte{'s' * (count != 1)}"


def _drawing_code() -> Asker | None:
    """Return the code that draws: the first frame outside this package, or the one it acts for."""
    return asker_of(first_frame(sys._getframe(1)))  # noqa: SLF001 - the only way to a caller


def recorded_counts(recording: Recording, agent_id: str | None) -> dict[str, int]:
    """Count reads of each source in the actions of an agent (None for all); draws count by generator."""
    counts: Counter[str] = Counter()
    for event, source, recorded_reads in recording.reads():
        if agent_id in {None, event.agent_id}:
            counts[source.partition("@")[0]] += len(recorded_reads)
    return dict(counts)


def _variables_in(recording: Recording) -> Iterator[tuple[Event, str, Any]]:
    """Yield the variables of the environment that actions read, each with its recorded values."""
    for event, source, variables in recording.reads():
        if source == ENVIRONMENT and isinstance(variables, dict):
            for name, value in variables.items():
                yield event, name, value


def _variables(recording: Recording) -> dict[str, dict[str, Any]]:
    """Return all recorded values of each variable, keyed by their text."""
    variables: dict[str, dict[str, Any]] = {}
    for _, name, value in _variables_in(recording):
        for held, _ in runs_of(name, value):
            variables.setdefault(name, {})[repr(held)] = held
    return variables


def _hidden_variables(recording: Recording) -> frozenset[str]:
    """Return the names of variables whose values are redacted in the recording."""
    names = set()
    for event, name, _ in _variables_in(recording):
        below = f"{_READS}/{escape(ENVIRONMENT)}/{escape(name)}"
        if any(at == below or at.startswith(f"{below}/") for at in event.types or {}):
            names.add(name)
    return frozenset(names)


# Recorded draws of generators: repeated one by one, and matched to the generators of a replay.
#
# Generators are distinguished by the agent's field that holds one, by the name or the function that adopted
# it, or because only one exists.

_WHAT = {"random": "words from a random.Random", "numpy": "calls from a numpy generator"}


_HIDDEN = frozenset({"random", "numpy.random"})
"""The global generators of modules, which are the same everywhere."""


class RecordedDraws:
    """Segments of draws: where each began, and how many draws it has.

    Args:
        kind: `random`, `numpy` or `draws`; see `Agent/record/sources/`.
        key: their key in the event.
        place: identifies their generator.
        segments: as stored in the event.
    """

    def __init__(self, kind: str, key: str, place: str, segments: list[Any]) -> None:
        self.kind = kind
        self.place = place
        self.key = key
        self.is_free = True
        """Whether no generator of the replay has drawn them yet."""
        self.value: Any = None
        """The last drawn value, for kind `draws`."""
        self._bits: int | None = None
        """The bits that were asked for; None for a float, and in recordings that lack them."""
        self._segments = segments
        self._index = 0
        self._used = 0
        self._is_put = False

    @property
    def recorded(self) -> str:
        """The amount that was drawn, in words."""
        what = _WHAT.get(self.kind, "draws from a generator")
        return f"{sum(map(self._length, self._segments))} {what}"

    def _length(self, segment: list[Any]) -> int:
        return len(segment) if self.kind == "draws" else int(segment[1])

    def take(self, count: int, put: Callable[[list[Any]], None]) -> list[Any] | None:
        """Return the segment that holds the next `count` draws; None if fewer were recorded.

        Args:
            count: number of draws.
            put: sets the generator to the beginning of a segment.
        """
        while self._index < len(self._segments):
            segment: list[Any] = self._segments[self._index]
            if not self._is_put:
                put(segment)
                self._is_put = True
            length = self._length(segment)
            if self._used + count <= length:
                if self.kind == "draws":
                    self.value, self._bits = _value(segment[self._used])
                self._used += count
                return segment
            if self._used < length:
                return None
            self._index, self._used, self._is_put = self._index + 1, 0, False
        return None

    def fits(self, bits: int | None) -> bool:
        """Whether a draw may return the last value, for kind `draws`.

        Args:
            bits: the argument of `getrandbits`; None for `random`.
        """
        if self.kind != "draws" or type(self.value) is not int or bits is None:
            return self.kind != "draws" or (type(self.value) is not int and bits is None)
        return self.value.bit_length() <= bits if self._bits is None else self._bits == bits

    @property
    def size(self) -> str:
        """The size of the last value, in words."""
        bits = self.value.bit_length() if type(self.value) is int and self._bits is None else self._bits
        return size_of_draw(bits)

    def is_at_end_of(self, segment: list[Any]) -> bool:
        """Whether all draws of a segment were taken."""
        return self._used == self._length(segment)

    def left(self) -> tuple[str, str] | None:
        """Return (recorded, replayed) if less was drawn than in the recording."""
        taken = sum(map(self._length, self._segments[: self._index])) + self._used
        if taken == sum(map(self._length, self._segments)):
            return None
        return self.recorded, str(taken)


def size_of_draw(bits: int | None) -> str:
    """Describe a draw by the bits that were asked for; None for a float."""
    return "a float" if bits is None else f"an integer of {bits} bits"


def _value(recorded: Any) -> tuple[Any, int | None]:
    """Return a drawn value and its bits: integers of any size are stored as text; other text marks a seed."""
    if not isinstance(recorded, str) or not recorded.startswith(("0x", "-0x")):
        return recorded, None
    value, _, bits = recorded.partition("/")
    return int(value, 16), int(bits) if bits else None


class GeneratorPlaces:
    """Distinguishes generators by their places; see `Adopted.place`."""

    def __init__(self, recording: Recording) -> None:
        self._states = recording.generator_states
        self._recorded: dict[str, dict[str, None]] = {}
        self._known: dict[int, str | None] = {}
        self._of_fields: dict[int, str] = {}
        for event in recording.events:
            for kind, key in kinds_of_draws(event.extra.get("reads")):
                self._recorded.setdefault(kind, {})[self.of_key(key)] = None

    def of_key(self, key: str) -> str:
        """Return the place of the generator whose draws are stored under a key of `reads`."""
        kind, _, rest = key.partition("@")
        if kind != "random":
            return rest
        state = self._states.get(rest)
        return "" if state is None else str(state.extra.get("name", ""))

    def identify(self, adopted: Adopted, place: str) -> None:
        """Set the place of a generator."""
        self._known[adopted.number] = self._of_fields[adopted.number] = place

    def of(self, adopted: Adopted) -> str | None:
        """Return its place, or None if ambiguous; a generator without a recorded place drew nothing."""
        if adopted.number not in self._known:
            self._known[adopted.number] = self._find(adopted)
        return self._known[adopted.number]

    def _find(self, adopted: Adopted) -> str | None:
        place = adopted.place
        known_otherwise = {*_HIDDEN, *self._of_fields.values()}
        recorded = [each for each in self._recorded.get(adopted.kind, ()) if each not in known_otherwise]
        if place in _HIDDEN or "#" not in place:
            return place
        here = self._unidentified(adopted.kind)
        same = [each for each in recorded if _function(each) == _function(place)]
        if same:
            mine = [each for each in here if _function(each) == _function(place)]
            if set(same) <= set(mine):
                return place
            # The others belong to code that is not replayed; match these in the order of adoption.
            return _in_order(same)[_in_order(mine).index(place)] if len(same) == len(mine) else None
        functions = set(map(_function, here))
        free = [each for each in recorded if _function(each) not in functions]
        if not free:
            return place
        known = set(map(_function, recorded))
        mine = [each for each in here if _function(each) not in known]
        return free[0] if len(free) == len(mine) == 1 else None

    def _unidentified(self, kind: str) -> list[str]:
        """Return places of generators adopted here that no field or name distinguishes."""
        return [
            each.place
            for each in list(living)
            if each.kind == kind and "#" in each.place and each.number not in self._of_fields
        ]


def _function(place: str) -> str:
    return place.rpartition("#")[0]


def _in_order(places: list[str]) -> list[str]:
    return sorted(places, key=lambda place: int(place.rpartition("#")[2] or 0))
