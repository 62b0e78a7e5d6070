"""Answers of chance, clock and environment: what each replayed action read in the recording, in its order.

The seams of `record/sources/` ask here. What an action reads beyond what the recording has of that source is
a difference; a source of which the recording has nothing there is noted by the watch, with its place.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.record.emit.context import ALL_NAMES, ENVIRONMENT, kinds_of_draws, making_answer
from Agent.record.sources.adopted import Adopted, Asker, asker_of, is_own, living, place_of
from Agent.record.sources.generators import adopted_of, hidden_random
from Agent.record.sources.seams import IDS_OF_LIBRARY
from Agent.replay.compare.comparison import Difference, in_payload
from Agent.replay.drive.player import ReplayKit, driven_here, open_call
from Agent.replay.drive.watched import SourceWatch
from Agent.replay.plan.actions import DrivenAction, PlannedCall
from Agent.replay.plan.recording import Recording

T = TypeVar("T")

_READS = "/extra/reads"


class CallReads:
    """What one recorded call read itself, and how much of it was read again."""

    def __init__(self, event: Event, places: GeneratorPlaces) -> None:
        reads = event.extra.get("reads")
        self.values: dict[str, list[Any]] = {}
        self.variables: dict[str, list[list[Any]]] = {}
        self.draws: list[RecordedDraws] = []
        self.taken: Counter[str] = Counter()
        self.of: dict[int, RecordedDraws] = {}
        """The draws by the number of the adopted generator that makes them here."""
        for source, kept in reads.items() if isinstance(reads, dict) else ():
            if source == ENVIRONMENT and isinstance(kept, dict):
                self.variables = {name: runs_of(name, value) for name, value in kept.items()}
            elif isinstance(kept, list):
                kind = source.partition("@")[0] if "@" in source else ""
                if kind:
                    self.draws.append(RecordedDraws(kind, source, places.of_key(source), kept))
                else:
                    self.values[source] = list(kept)

    def draws_for(self, adopted: Adopted, place: str) -> RecordedDraws | None:
        """What that generator drew, which is told from others by its place."""
        found = self.of.get(adopted.number)
        if found is None:
            for each in self.draws:
                if each.is_free and (each.kind, each.place) == (adopted.kind, place):
                    each.is_free = False
                    self.of[adopted.number] = each
                    return each
        return found

    def next_of(self, name: str, runs: list[list[Any]]) -> Any:
        """What a variable held at the next read of it."""
        self.taken[f"{ENVIRONMENT}/{name}"] += 1
        number, passed = self.taken[f"{ENVIRONMENT}/{name}"], 0
        for value, count in runs:
            passed += count
            if number <= passed:
                return value
        return runs[-1][0]

    def left(self) -> tuple[str, str] | None:
        """A source that was read less than in the recording: (recorded, replayed)."""
        for source, values in self.values.items():
            if self.taken[source] < len(values):
                return f"{len(values)} reads of {source}", f"{self.taken[source]}"
        for draws in self.draws:
            left = draws.left()
            if left is not None:
                return left
        return None


def runs_of(name: str, value: Any) -> list[list[Any]]:
    """What a variable held, as [value, number of reads] in order."""
    is_runs = isinstance(value, list) and all(isinstance(run, list) and len(run) == 2 for run in value)
    if is_runs and not (name == ALL_NAMES and all(isinstance(item, str) for item in value)):
        return [list(run) for run in value]
    return [[value, 1]]


class SourceAnswers:
    """Answers sources from the recording while an action is replayed.

    Args:
        watch: takes what the record does not hold.
        clock_shift_s: how far ahead the clocks are that libraries read and the record does not hold.
    """

    def __init__(self, kit: ReplayKit, watch: SourceWatch, clock_shift_s: int = 0) -> None:
        self._recording = kit.recording
        self._player = kit.player
        self._watch = watch
        self._clock_shift_s = clock_shift_s
        self._decoder = kit.decoder
        self._outcome = kit.outcome
        self.is_putting = False
        """Recorded state is being put back: that seeds nothing."""
        self._calls: dict[str, CallReads] = {}
        self._bases: dict[str, Any] = {}
        self._seeded: dict[int, Any] = {}
        """Adopted generators that replayed code seeded with known values, and their states then."""
        self._variables = _variables(kit.recording)
        self._places = GeneratorPlaces(kit.recording)

    def begin(self) -> None:
        """The next action is replayed."""
        self._calls.clear()

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:
        """See `SourcePlayer`."""
        if not self._watch.is_on or making_answer.get():
            return now()
        reads = self._reads()
        values = None if reads is None else reads.values.get(source)
        if reads is None or values is None:
            # Without `recorded_sources()` nobody sees what compiled code makes, in no program.
            if not source.startswith(IDS_OF_LIBRARY):
                self._watch.unrecorded(source, frame)
            return self._watch.noted(now(), frame, self._clock_shift_s)
        number = reads.taken[source]
        if number == len(values):
            self._more(f"{number} reads of {source}", f"one more, by {place_of(frame)}")
        reads.taken[source] += 1
        try:
            return decode(values[number])
        except Exception as error:  # noqa: BLE001 - it was hidden, or somebody changed it
            self._player.stop(f"what {source} gave is not in the recording: {type(error).__name__}: {error}")

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:
        """See `SourcePlayer`; a variable that was recorded anywhere with one value has that everywhere."""
        if not self._watch.is_on or making_answer.get():
            return now()
        reads = self._reads()
        runs = None if reads is None else reads.variables.get(name)
        if reads is None or runs is None:
            known = self._variables.get(name)
            if known is None or len(known) != 1:
                self._watch.unrecorded(ENVIRONMENT, frame)
                return now()
            return self._shown(name, next(iter(known.values())))
        return self._shown(name, reads.next_of(name, runs))

    def draw(self, adopted: Adopted, count: int, now: Callable[[], T]) -> T:
        """See `SourcePlayer`."""
        if not self._watch.is_on or self.is_putting or making_answer.get():
            return now()
        draws = self._draws(adopted)
        if draws is None:
            if self._drew_in_action(adopted):
                self._more(f"no draw from {adopted.name} there", f"one, by {_asker()}")
            self._undrawn(adopted)
            return now()
        self._watch.answered(_module_of(adopted))
        segment = draws.take(count, lambda segment: self._put(adopted, draws, segment))
        if segment is None:
            self._more(draws.recorded, f"one more, by {_asker()}")
            return now()
        if draws.kind == "draws":
            if isinstance(draws.value, str):
                self._more(f"a generator that is seeded ({draws.value})", f"a draw from it, by {_asker()}")
            return draws.value  # type: ignore[no-any-return]
        value = now()
        if draws.is_at_end_of(segment) and adopted.end_differs(segment):
            self._more(draws.recorded, f"as many calls that drew another number of values, by {_asker()}")
        return value

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """See `SourcePlayer`."""
        if not self._watch.is_on or self.is_putting or making_answer.get():
            return
        reads = self._reads()
        if mark is not None:
            draws = self._draws(adopted)
            taken = None if draws is None else draws.take(1, lambda _: None)
            if draws is not None and (taken is None or draws.value != mark):
                self._more(draws.recorded, f"a generator that is seeded differently, by {_asker()}")
            elif draws is None:
                self._undrawn(adopted)
            return
        if reads is not None:
            reads.of.pop(adopted.number, None)  # what it draws now stands under another state
        if is_known:
            self._seeded[adopted.number] = adopted.snapshot()
        else:
            self._seeded.pop(adopted.number, None)

    def compare_left(self, action: DrivenAction) -> None:
        """Tell what the action and the calls in it read less often than in the recording."""
        if action.is_plain and "reads" not in action.event.extra:
            return
        pending = [action.call]
        while pending:
            call = pending.pop()
            pending += [
                each for each in call.children if each.is_taken and each.agent_id in self._player.live
            ]
            left = self._of(call).left()
            if left is not None:
                recorded, replayed = left
                if any(draws.is_free for draws in self._of(call).draws) and not self._adopts_any():
                    self._player.stop(
                        f"{call.whose} drew from an adopted generator, and the target adopted "
                        "none: call recorder.adopt() where it makes its generators"
                    )
                self._diverge(recorded, replayed, call.whose, action)

    def _adopts_any(self) -> bool:
        return any(reads.of for reads in self._calls.values())

    def _reads(self) -> CallReads | None:
        call = open_call()
        return None if call is None else self._of(call)

    def _of(self, call: PlannedCall) -> CallReads:
        known = self._calls.get(call.event.id)
        if known is None:
            known = self._calls[call.event.id] = CallReads(call.event, self._places)
        return known

    def identify(self, adopted: Adopted, place: str) -> None:
        """Say which recorded generator that is."""
        self._places.identify(adopted, place)

    def _draws(self, adopted: Adopted) -> RecordedDraws | None:
        """What that generator drew in the call that is open, None where it drew nothing."""
        reads = self._reads()
        place = self._places.of(adopted)
        if place is None:
            self._outcome.reason(
                "generators that the target adopts cannot be told apart: adopt them in the functions in "
                "which the program does it, or name them, recorder.adopt(rng, name=...)"
            )
        return None if reads is None or place is None else reads.draws_for(adopted, place)

    def _drew_in_action(self, adopted: Adopted) -> bool:
        """Whether the recorded action drew from that generator elsewhere: then all draws were recorded."""
        action, place = driven_here() or self._watch.action, self._places.of(adopted)
        pending = [] if action is None or place is None or self._watch.allows(adopted) else [action.call]
        while pending:
            call = pending.pop()
            if any((each.kind, each.place) == (adopted.kind, place) for each in self._of(call).draws):
                return True
            pending += call.children
        return False

    def _undrawn(self, adopted: Adopted) -> None:
        """A draw of which the recording has nothing: from an agent's own state it comes by itself."""
        if self._watch.allows(adopted) or self._watch.is_seeded(_module_of(adopted)):
            return
        asker = _drawer()
        if asker is not None:
            self._watch.unrecorded(_module_of(adopted) or adopted.name, asker.frame)

    def _put(self, adopted: Adopted, draws: RecordedDraws, segment: list[Any]) -> None:
        base_id = adopted.base_id(draws.key, segment) if draws.kind != "draws" else None
        base = None
        if base_id is not None:
            base = self._base(base_id)
            if base is None:
                self._player.stop(
                    f"the state that draws from {adopted.name} begin with is not in the recording"
                )
        if draws.kind == "draws":
            return
        seeded = self._seeded.pop(adopted.number, None)
        if seeded is not None and not adopted.began_at(seeded, base):
            self._more(draws.recorded, f"a generator that was seeded differently, by {_asker()}")
        try:
            adopted.put(segment, base)
        except Exception as error:  # noqa: BLE001 - a state of another version, or that somebody changed
            self._player.stop(f"a recorded state of {adopted.name} cannot be put back: {error}")

    def _base(self, event_id: str) -> Any:
        if event_id not in self._bases:
            event = self._recording.generator_states.get(event_id)
            if event is None:
                return None
            restored = self._decoder.restore(in_payload(event, "value"))
            self._bases[event_id] = None if restored.unrestored else restored.value
        return self._bases[event_id]

    def _shown(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name in self._recording_hidden():
            hidden = f"the variable {name} of the environment, hidden in the recording"
            if hidden not in self._outcome.normalisers:
                self._outcome.normalisers.append(hidden)
                self._outcome.doubts.append(f"the variable {name} of the environment is redacted")
        return value

    def _recording_hidden(self) -> frozenset[str]:
        if not hasattr(self, "_hidden"):
            self._hidden = _hidden_variables(self._recording)
        return self._hidden

    def _more(self, recorded: str, replayed: str) -> None:
        call = open_call()
        self._diverge(recorded, replayed, "" if call is None else call.whose)

    def _diverge(self, recorded: str, replayed: str, place: str, action: DrivenAction | None = None) -> None:
        action = action or driven_here() or self._watch.action
        assert action is not None  # noqa: S101 - sources are answered while one is replayed
        self._player.differs(action, "reads", Difference("", recorded, replayed), place=place)


def _module_of(adopted: Adopted) -> str:
    """The module whose hidden generator it is; "" for others."""
    if adopted is adopted_of(hidden_random):
        return "random"
    return "numpy.random" if adopted.name == "numpy.RandomState" else ""


def _drawer() -> Asker | None:
    """Who draws: the first frame outside this package, or whoever that one does it for."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the one way to a caller
    while frame is not None and is_own(frame):
        frame = frame.f_back
    return asker_of(frame)


def _asker() -> str:
    asker = _drawer()
    return "code of a library" if asker is None else place_of(asker.frame)


def recorded_counts(recording: Recording, agent_id: str | None) -> dict[str, int]:
    """How often each source was read in the actions of an agent, None for all; draws count by generator."""
    found: Counter[str] = Counter()
    for event in recording.events:
        reads = event.extra.get("reads")
        if not isinstance(reads, dict) or agent_id not in {None, event.agent_id}:
            continue
        for source, kept in reads.items():
            found[source.partition("@")[0]] += len(kept)
    return dict(found)


def _variables(recording: Recording) -> dict[str, dict[str, Any]]:
    """Every value that each variable was recorded with, by its text."""
    found: dict[str, dict[str, Any]] = {}
    for event in recording.events:
        reads = event.extra.get("reads")
        kept = reads.get(ENVIRONMENT) if isinstance(reads, dict) else None
        for name, value in kept.items() if isinstance(kept, dict) else ():
            for held, _ in runs_of(name, value):
                found.setdefault(name, {})[repr(held)] = held
    return found


def _hidden_variables(recording: Recording) -> frozenset[str]:
    """Names of variables whose values stand as tokens in the recording."""
    found = set()
    for event in recording.events:
        reads = event.extra.get("reads")
        kept = reads.get(ENVIRONMENT) if isinstance(reads, dict) else None
        for name in kept if isinstance(kept, dict) else ():
            below = f"{_READS}/{escape(ENVIRONMENT)}/{escape(name)}"
            if any(at == below or at.startswith(f"{below}/") for at in event.types or {}):
                found.add(name)
    return frozenset(found)


# Recorded draws of generators: taken again one by one, and which generator of a replay made them.
#
# Generators are told apart by the field of the agent that holds one, by the name or the function that
# adopted it, or because there is only one.

_WHAT = {"random": "words", "numpy": "calls"}


_HIDDEN = frozenset({"random", "numpy.random"})
"""The generators behind modules, which are the same everywhere."""


class RecordedDraws:
    """Segments of draws: where each began, and how many there were.

    Args:
        kind: `random`, `numpy` or `draws`, see `Agent/record/sources/`.
        key: under which they stand in the event.
        place: what their generator is told from others by.
        segments: as they stand there.
    """

    def __init__(self, kind: str, key: str, place: str, segments: list[Any]) -> None:
        self.kind = kind
        self.place = place
        self.key = key
        self.is_free = True
        """No generator of the replay has drawn them yet."""
        self.value: Any = None
        """What was drawn last, of kind `draws`."""
        self._segments = segments
        self._index = 0
        self._used = 0
        self._is_put = False

    @property
    def recorded(self) -> str:
        """How much was drawn, for people."""
        return f"{sum(map(self._length, self._segments))} {_WHAT.get(self.kind, 'draws')} from {self._name}"

    @property
    def _name(self) -> str:
        return {"random": "a random.Random", "numpy": "a numpy generator"}.get(self.kind, "a generator")

    def _length(self, segment: list[Any]) -> int:
        return len(segment) if self.kind == "draws" else int(segment[1])

    def take(self, count: int, put: Callable[[list[Any]], None]) -> list[Any] | None:
        """The segment in which so many more draws stand, None where they are more than was recorded.

        Args:
            count: draws.
            put: puts the generator where a segment begins.
        """
        while self._index < len(self._segments):
            segment: list[Any] = self._segments[self._index]
            if not self._is_put:
                put(segment)
                self._is_put = True
            length = self._length(segment)
            if self._used + count <= length:
                if self.kind == "draws":
                    self.value = _value(segment[self._used])
                self._used += count
                return segment
            if self._used < length:
                return None
            self._index, self._used, self._is_put = self._index + 1, 0, False
        return None

    def is_at_end_of(self, segment: list[Any]) -> bool:
        """Whether all draws of a segment were taken."""
        return self._used == self._length(segment)

    def left(self) -> tuple[str, str] | None:
        """(recorded, replayed) where less was drawn than in the recording."""
        taken = sum(map(self._length, self._segments[: self._index])) + self._used
        if taken == sum(map(self._length, self._segments)):
            return None
        return self.recorded, str(taken)


def _value(kept: Any) -> Any:
    """A drawn value: integers stand as text, being of any size; other text marks a seed."""
    return int(kept, 16) if isinstance(kept, str) and kept.startswith(("0x", "-0x")) else kept


class GeneratorPlaces:
    """Tells generators apart by their places, see `Adopted.place`."""

    def __init__(self, recording: Recording) -> None:
        self._states = recording.generator_states
        self._recorded: dict[str, dict[str, None]] = {}
        self._known: dict[int, str | None] = {}
        self._of_fields: dict[int, str] = {}
        for event in recording.events:
            for kind, key in kinds_of_draws(event.extra.get("reads")):
                self._recorded.setdefault(kind, {})[self.of_key(key)] = None

    def of_key(self, key: str) -> str:
        """The place of the generator whose draws stand under a key of `reads`."""
        kind, _, rest = key.partition("@")
        if kind != "random":
            return rest
        state = self._states.get(rest)
        return "" if state is None else str(state.extra.get("name", ""))

    def identify(self, adopted: Adopted, place: str) -> None:
        """Say which one it is."""
        self._known[adopted.number] = self._of_fields[adopted.number] = place

    def of(self, adopted: Adopted) -> str | None:
        """Its place in the recording, where one that is not known drew nothing; None where it is unclear."""
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
            # Others belong to what is not replayed; these stand in the order in which they were adopted.
            return _in_order(same)[_in_order(mine).index(place)] if len(same) == len(mine) else None
        functions = set(map(_function, here))
        free = [each for each in recorded if _function(each) not in functions]
        if not free:
            return place
        known = set(map(_function, recorded))
        mine = [each for each in here if _function(each) not in known]
        return free[0] if len(free) == len(mine) == 1 else None

    def _unidentified(self, kind: str) -> list[str]:
        """Places of the generators that were adopted here and that no field or name distinguishes."""
        return [
            each.place
            for each in list(living)
            if each.kind == kind and "#" in each.place and each.number not in self._of_fields
        ]


def _function(place: str) -> str:
    return place.rpartition("#")[0]


def _in_order(places: list[str]) -> list[str]:
    return sorted(places, key=lambda place: int(place.rpartition("#")[2] or 0))
