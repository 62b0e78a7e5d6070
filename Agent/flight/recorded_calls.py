"""Read back the tool and model calls of a run: call site, arguments and response of each.

`tool_replayer.py` uses it to find the recorded response for a call that is made now.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from Agent.errors import DamagedInput, InputError, RecordingMiss
from Agent.event.classes import find_class
from Agent.event.model import Event
from Agent.event.pointers import escape, tags_below
from Agent.event.values.digest import canonical_bytes, differ_in_tokens_alone, hidden, is_shape
from Agent.event.values.values import Unrestored, decode_value
from Agent.flight.artifact_saving import Tagged, is_unseen, opaque_key
from Agent.flight.run_reading import RunRef, read_run
from Agent.record.emit.context import Response
from Agent.record.tracing.changed_arguments import with_changes
from Agent.record.tracing.failures import LACKING, Unanswerable, remake_error, value_in
from Agent.tree.files.session import open_session
from Agent.tree.read.reader import TreeReader
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

CALL_KINDS = {"tool.call": "name", "model.call": "model_name"}
"""{kind of event with a recorded response: the key that names the tool or model}."""

_KEPT_KINDS = frozenset({*CALL_KINDS, "artifact.saved"})

Decode = Callable[[Any], Any]


class Decoding(NamedTuple):
    """How recorded values are restored to objects in this process."""

    codecs: Mapping[str, Any] = {}
    """{`module.QualName` in the recording: the corresponding class here}, as for `decode_value`."""
    find_class: Callable[[str], type | None] = lambda _name: None
    """Returns the loaded class with such a name, or None."""
    errors: Mapping[str, Event] | None = None
    """The `error` events by id, if already read; None reads them from the session when needed."""
    scripts: Callable[[], Collection[str]] = tuple
    """Returns the names under which this process imported the recorded script, which is `__main__` there."""


class _ArtifactFacts(NamedTuple):
    """The facts about one file from its `artifact.saved` event."""

    run_id: str | None
    digest: str | None
    media_type: str | None
    types: Mapping[str, str]


@dataclass(eq=False)
class RecordedCall:
    """One call as it was recorded."""

    book: CallBook = field(repr=False)
    event: Event = field(repr=False)
    kind: str
    name: str
    number: int
    """Its number among the calls of the run in the order of their beginnings, from 1."""
    site: str
    path: tuple[str, ...]
    ordinal: int = 0
    """The number of earlier calls of that name at the same place."""

    @property
    def place(self) -> tuple[str, tuple[str, ...]]:
        """Its call site and its path of spans."""
        return self.site, self.path

    @cached_property
    def arguments(self) -> Tagged:
        """Its arguments, with tokens in place of secrets."""
        part = "args" if self.kind == "tool.call" else "prompt"
        arguments = self.book.part(self.event, part)
        return Tagged({}, {}) if arguments is None else arguments

    @property
    def defaults(self) -> str | None:
        """The digest of the defaults that it used; None if it used none, or its recording is older."""
        defaults = self.event.extra.get("defaults")
        return defaults if isinstance(defaults, str) else None

    @cached_property
    def digest(self) -> str:
        """The digest of its arguments."""
        return self.arguments.digest


@dataclass(eq=False)
class CallBook:
    """The calls of a run, and access to their recorded values."""

    ref: RunRef
    decoding: Decoding = field(default_factory=Decoding)
    calls: list[RecordedCall] = field(default_factory=list)
    earlier: list[RecordedCall] = field(default_factory=list)
    """Calls whose responses are not used because a replay continues after them."""
    lacks: dict[str, str] = field(default_factory=dict)
    """{id of the call's event: how its restored answer is less complete than the recorded one}."""
    _artifacts: dict[str, _ArtifactFacts] = field(default_factory=dict)
    _has_tokens: bool = field(default=False, repr=False)
    """Whether the answer that is being restored has tokens in place of secrets."""

    def part(self, event: Event, part: str) -> Tagged | None:
        """A value of a call, from its event or its artifact; None if it was not recorded.

        Raises:
            DamagedInput: the artifact is damaged.
        """
        ref = event.extra.get(f"{part}_ref")
        if not isinstance(ref, str):
            if part not in event.extra:
                return None
            return Tagged(event.extra[part], tags_below(event.types, f"/extra/{part}"))
        artifact = self._artifacts.get(f"{event.run_id}:{ref}") or _ArtifactFacts(
            event.run_id, None, None, {}
        )
        path = artifact_path(self.ref.session, event.run_id or ROOT_RUN, ref)
        raw = b"".join(read_artifact(path, artifact.digest))
        if artifact.media_type is not None and artifact.media_type.startswith("text/"):
            return Tagged(raw.decode("utf-8", "surrogateescape"), {})
        try:
            return Tagged(orjson.loads(raw), artifact.types)
        except orjson.JSONDecodeError:
            raise DamagedInput("an artifact is not valid JSON", path=path) from None

    def answer(
        self, call: RecordedCall, decode: Decode | None = None, arguments: Mapping[str, Any] | None = None
    ) -> Response:
        """The response of a recorded call, restored.

        Args:
            call: a call of this book.
            decode: the `decode` of the tool's codec.
            arguments: the current arguments; `Response.change` repeats on them what the recorded call changed
                in place.

        Raises:
            RecordingMiss: the response was not recorded, or it cannot be restored.
        """

        def change() -> None:
            with self._naming(call):
                answer.change()  # type: ignore[misc]

        with self._naming(call):
            answer = self._answer(call, decode)
            if arguments is not None:
                answer = with_changes(call.event.extra, partial(self._part_at, call.event), arguments, answer)
        return answer if answer.change is None else answer._replace(change=change)

    @contextmanager
    def _naming(self, call: RecordedCall) -> Iterator[None]:
        """Convert `Unanswerable` to an error that names the call.

        Raises:
            RecordingMiss: in place of `Unanswerable`.
        """
        try:
            yield
        except Unanswerable as error:
            raise RecordingMiss(
                f"the answer of {call.name} (event {call.event.id}) cannot be restored: {error}",
                path=self.ref.session,
                remedy=f"give the tool a codec, @record_tool(codec=...), and record again; "
                f"or allow the call: live={{{call.name!r}}}",
            ) from None

    def _answer(self, call: RecordedCall, decode: Decode | None) -> Response:
        """Restore items, exception and result of a call; raises Unanswerable."""
        event = call.event
        self._has_tokens = False
        if event.extra.get("coded") is True and decode is None:
            raise Unanswerable(f"it was recorded by the codec of {call.name}, which is not imported here")
        if event.extra.get("coded") is not True:
            decode = None
        outcome = event.extra.get("outcome")
        is_tool = call.kind == "tool.call"
        items = self._items(event, *(("yielded", "items") if is_tool else ("chunks", "chunks")), decode)
        error = None if outcome is None else self._raised(event, str(outcome))
        result = None
        if outcome is None:
            part = "output" if not is_tool else "result" if items is None else "returned"
            value = self.part(event, part)
            if value is None and items is None:
                raise Unanswerable("it is not in the recording")
            if value is not None:
                result = self._restored(value, decode if part == "result" else None)
        if self._has_tokens:
            self.lacks.setdefault(event.id, "a secret in it was replaced by a token")
        return Response(result, error, items, event.id)

    def _items(self, event: Event, count: str, part: str, decode: Decode | None) -> tuple[Any, ...] | None:
        """The items of a generator or the pieces of a stream; None if the call returned a single response."""
        if count not in event.extra:
            return None
        items = Tagged([], {}) if event.extra[count] == 0 else self.part(event, part)
        if items is None or not isinstance(items.value, list):
            raise Unanswerable("only the number of its items was recorded")
        return tuple(
            self._restored(Tagged(item, tags_below(items.types, f"/{number}")), decode)
            for number, item in enumerate(items.value)
        )

    def _raised(self, event: Event, outcome: str) -> BaseException:
        """The exception that ended the call, restored."""
        if outcome == "cancelled":
            from asyncio import CancelledError

            return CancelledError()
        if outcome == "closed":
            return RecordingMiss(
                "it was not read further when it was recorded, so the rest is unknown",
                path=self.ref.session,
            )
        if outcome != "error":
            raise Unanswerable(f"it was {outcome}, and its exception is not in the recording")
        error_id = str(event.extra.get("error_id"))
        error_event = self._errors.get(error_id)
        if error_event is None:
            raise Unanswerable(f"its error event {error_id} is not in the recording")

        part = partial(self._part_at, error_event)
        find_class = self.decoding.find_class
        exception = remake_error(
            error_event.extra, error_id, error_event.session_id, part=part, find_class=find_class
        )
        if exception.lack is not None:
            self.lacks[event.id] = exception.lack
        return exception.error

    def _part_at(self, event: Event, path: tuple[str, ...]) -> Any:
        """A restored value of an event; `LACKING` if it is missing or cannot be restored."""
        node = value_in(event.extra, path)
        if node is LACKING:
            return LACKING
        try:
            pointer = "/".join(("/extra", *map(escape, path)))
            return self._restored(Tagged(node, tags_below(event.types, pointer)))
        except Unanswerable:
            return LACKING

    def _restored(self, stored: Tagged, decode: Decode | None = None) -> Any:
        """The original value; a secret stays replaced by its token."""
        tags = {pointer: tag for pointer, tag in stored.types.items() if tag != "redacted"}
        self._has_tokens = self._has_tokens or len(tags) < len(stored.types)
        missing: list[str] = []
        value = decode_value(stored.value, tags, codecs=self.decoding.codecs, unrestored=missing)
        if missing:
            node = value if isinstance(value, Unrestored) else None
            reason = tags.get(missing[0], "?")
            if reason == "opaque" and node is not None and isinstance(node.value, dict):
                reason = f"opaque, a {node.value.get('class')}"
            raise Unanswerable(
                f"it contains a value without an exact form ({reason} at {missing[0] or 'its root'})"
            )
        if decode is None:
            return value
        try:
            return decode(value)
        except Exception as error:
            raise Unanswerable(
                f"the codec of the tool refuses it: {type(error).__name__}: {error}"
            ) from error

    @cached_property
    def _errors(self) -> Mapping[str, Event]:
        """The `error` events of failed calls by id, read from the session on first access."""
        if self.decoding.errors is not None:
            return self.decoding.errors
        error_ids = {call.event.extra.get("error_id") for call in self.calls} - {None}
        events = TreeReader(self.ref.session).events(kinds={"error"})
        return {event.id: event for event in events if event.id in error_ids}

    def keep(self, event: Event) -> None:
        """Store the facts of an `artifact.saved` event."""
        extra = event.extra
        types = extra.get("value_types")
        digest, media_type = extra.get("digest"), extra.get("media_type")
        self._artifacts[f"{event.run_id}:{extra.get('ref')}"] = _ArtifactFacts(
            event.run_id,
            digest if isinstance(digest, str) else None,
            media_type if isinstance(media_type, str) else None,
            types if isinstance(types, dict) else {},
        )


def read_calls(ref: RunRef) -> CallBook:
    """Read the calls of a run and of its nested runs, in the order of their beginnings."""
    events: list[Event] = []
    waiting, seen = [ref], set()
    while waiting:
        record = read_run(waiting.pop())
        events += (event for event in record.events() if event.kind in _KEPT_KINDS)
        for run_id in record.children:
            if run_id not in seen:
                seen.add(run_id)
                waiting.append(RunRef(ref.session, run_id))
    return calls_among(events, ref)


def calls_among(events: Iterable[Event], ref: RunRef, decoding: Decoding | None = None) -> CallBook:
    """Collect the calls among events of a run, in the order of their beginnings.

    Args:
        events: the events of the calls and of their artifacts (`artifact.saved`); others are ignored.
        ref: the run that holds the artifacts.
        decoding: how recorded classes are found in this process; default: among the loaded modules.
    """
    if decoding is None:
        program = RecordedProgram(ref.session)
        decoding = Decoding(program, program.find, scripts=program.modules)
    book = CallBook(ref, decoding)
    call_events: list[Event] = []
    for event in events:
        if event.kind == "artifact.saved":
            book.keep(event)
        elif event.kind in CALL_KINDS:
            call_events.append(event)
    counts: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
    for number, event in enumerate(_by_beginning(call_events), start=1):
        extra = event.extra
        path = extra.get("path")
        call = RecordedCall(
            book,
            event,
            event.kind,
            str(extra.get(CALL_KINDS[event.kind], "")),
            number,
            str(extra.get("site", "")),
            tuple(map(str, path)) if isinstance(path, list) else (),
        )
        key = (call.kind, call.name, *call.place)
        call.ordinal = counts[key]
        counts[key] += 1
        book.calls.append(call)
    return book


def _by_beginning(events: list[Event]) -> list[Event]:
    """Sort calls by their beginning: events are written at the end of a call, span ids at its beginning.

    Span ids are ordered within a process; processes are ordered by their earliest call.
    """
    began: dict[str, float] = {}
    for event in events:
        process = (event.span_id or "")[:8]
        began[process] = min(began.get(process, float("inf")), _began_us(event))

    def key(event: Event) -> tuple[float, str, float]:
        span_id = event.span_id or ""
        return began[span_id[:8]], span_id, 0.0 if span_id else _began_us(event)

    return sorted(events, key=key)


def _began_us(event: Event) -> float:
    """The start time in microseconds: the timestamp minus the duration, if that was recorded."""
    duration = event.extra.get("duration_ms", event.extra.get("latency_ms"))
    if not isinstance(duration, (int, float)) or isinstance(duration, bool):
        return float(event.timestamp_us)
    return event.timestamp_us - duration * 1000


_UNORDERED = frozenset({"set", "frozenset", "map", "Counter", "defaultdict"})
_MAX_COMPARED_CHARS = 1_000
_MAX_MEASURED = 24
_SHOWN_NEAREST = 3


class Rung(StrEnum):
    """How a call was matched, from best to worst.

    `exact`: same arguments at the same place. `moved`: same arguments at another place. `hidden`: arguments
    that differ in secrets only. `near`: the next call at the place, with arguments within the tolerance.
    """

    EXACT = "exact"
    MOVED = "moved"
    HIDDEN = "hidden"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call that is made now.

    Args:
        place: the call site and the path of spans; None if only name and arguments count.
        ordinal: the number of earlier calls of that name at that place.
        defaults: the digest of the defaults that it uses, "" for none; None if its function is not known.
    """

    kind: str
    name: str
    arguments: Tagged
    place: tuple[str, tuple[str, ...]] | None = None
    ordinal: int = 0
    defaults: str | None = None

    def uses_defaults_of(self, call: RecordedCall) -> bool:
        """Whether the recorded call used the same defaults, as far as both are known."""
        return self.defaults is None or call.defaults in {None, self.defaults}

    def is_at(self, call: RecordedCall) -> bool:
        """Whether the recorded call was made at the same place; True without a place."""
        return self.place is None or self.place == call.place


@dataclass(frozen=True, slots=True)
class Match:
    """The recorded call that matches a requested one."""

    call: RecordedCall
    rung: Rung
    distance: Mapping[str, float]
    """{pointer of an argument that differs, `site` or `path`: how much}, from 0 (hidden) to 1 (different)."""

    @property
    def is_exact(self) -> bool:
        """Whether name, arguments and place are equal to the recorded ones."""
        return self.rung is Rung.EXACT


DEFAULTS = "defaults"
"""The key in a distance of calls that use other defaults."""


class Nearest(NamedTuple):
    """A recorded call that does not match, and where it differs."""

    call: RecordedCall
    distance: Mapping[str, float]


def find_match(
    free: Sequence[RecordedCall], request: RequestedCall, tolerance: float
) -> Match | tuple[Nearest, ...]:
    """Find the match on the best rung; if there is none, return up to 3 nearest calls.

    Args:
        free: the recorded calls of that name whose response was not used yet, in recorded order.
        request: the requested call.
        tolerance: the largest difference of one argument on the rung `near`; 0 disables that rung.
    """
    of_defaults = [call for call in free if request.uses_defaults_of(call)]
    found = _find_by_arguments(of_defaults, request, tolerance)
    if isinstance(found, Match) or len(of_defaults) == len(free):
        return found
    by_arguments = _find_by_arguments(free, request, tolerance)
    return (Nearest(by_arguments.call, {DEFAULTS: 1.0}),) if isinstance(by_arguments, Match) else by_arguments


def _find_by_arguments(
    free: Sequence[RecordedCall], request: RequestedCall, tolerance: float
) -> Match | tuple[Nearest, ...]:
    digest = request.arguments.digest
    elsewhere = None
    for call in free:
        if digest and call.digest == digest:
            if request.is_at(call):
                hides = request.arguments.leaves_out_secrets
                return Match(call, Rung.HIDDEN if hides else Rung.EXACT, {})
            elsewhere = elsewhere or call
    if elsewhere is not None:
        return Match(elsewhere, Rung.MOVED, _moved(elsewhere, request))
    at_place = [call for call in free if request.is_at(call)]
    turn = _next_in_order(at_place, request)
    # Distances cost up to quadratic time in the length of texts, so only some candidates are measured.
    looked_at = dict.fromkeys((*filter(None, (turn,)), *at_place[:_MAX_MEASURED], *free[:_MAX_MEASURED]))
    measured = [Nearest(call, distances(call.arguments, request.arguments)) for call in looked_at]
    for call, distance in measured:
        if not any(distance.values()):
            return Match(call, Rung.HIDDEN, {**_moved(call, request), **distance})
    for call, distance in measured:
        if call is turn and max(distance.values()) <= tolerance:
            return Match(call, Rung.NEAR, distance)
    return tuple(sorted(measured, key=lambda one: sum(one.distance.values()))[:_SHOWN_NEAREST])


def _next_in_order(at_place: Sequence[RecordedCall], request: RequestedCall) -> RecordedCall | None:
    """The next recorded call here: the one with the same ordinal, or the first one if no place is known."""
    if request.place is None:
        return at_place[0] if at_place else None
    return next((call for call in at_place if call.ordinal == request.ordinal), None)


def _moved(call: RecordedCall, request: RequestedCall) -> dict[str, float]:
    if request.place is None:
        return {}
    pairs = zip(("site", "path"), call.place, request.place, strict=True)
    return {name: 1.0 for name, recorded, given in pairs if recorded != given}


def distances(recorded: Tagged, requested: Tagged) -> dict[str, float]:
    """The distance of two values, by the JSON Pointer of each part that differs.

    The distance is 0 if a secret hides the difference. For texts it is 1 minus the ratio of `difflib`
    (Ratcliff and Obershelp), for floats the relative difference. It is 1 for all other values, and for texts
    of which only the shape was recorded.
    """
    differences: dict[str, float] = {}
    _walk(recorded.value, requested.value, ("", ""), (recorded.types, requested.types), differences)
    return differences


def _walk(
    one: Any,
    other: Any,
    at: tuple[str, str],
    tags: tuple[Mapping[str, str], Mapping[str, str]],
    differences: dict[str, float],
) -> None:
    """Compare two nodes, each at its pointer, and add to `differences` how far apart their parts are."""
    here, _ = at
    tag, other_tag = (each.get(pointer) for each, pointer in zip(tags, at, strict=True))
    if isinstance(one, str) and isinstance(other, str):
        if one != other:
            # Digests of different texts share digits by chance, so comparing them as texts means nothing.
            unlike = "opaque" in {tag, other_tag} and (is_shape(one) or is_shape(other))
            differences[here] = 1.0 if unlike else _text_distance(one, other)
        elif tag != other_tag and "redacted" not in {tag, other_tag}:
            differences[here] = 1.0
        return
    is_object = tag == "opaque" and isinstance(one, dict)
    if tag != other_tag or type(one) is not type(other) or (is_object and not _are_one_object(one, other)):
        differences[here] = 1.0
    elif is_object:
        return
    elif isinstance(one, dict):
        partners = _partners(one, other)
        for key, its_key in partners.items():
            below = (f"{here}/{escape(key)}", f"{at[1]}/{escape(its_key)}")
            if key != its_key:
                differences[below[0]] = 0.0
            _walk(one[key], other[its_key], below, tags, differences)
        # A key that only one side has counts as completely different.
        alone = [*(one.keys() - partners.keys()), *(other.keys() - set(partners.values()))]
        differences.update({f"{here}/{escape(key)}": 1.0 for key in alone})
    elif isinstance(one, list) and (tag or "").partition(":")[0] in _UNORDERED:
        if canonical_bytes(one, tags[0], here) != canonical_bytes(other, tags[1], at[1]):
            differences[here] = 1.0
    elif isinstance(one, list):
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            _walk(left, right, (f"{here}/{index}", f"{at[1]}/{index}"), tags, differences)
        shorter, longer = sorted((len(one), len(other)))
        differences.update({f"{here}/{index}": 1.0 for index in range(shorter, longer)})
    elif repr(one) != repr(other):  # 0.0 == -0.0, but they are different values
        differences[here] = _number_distance(one, other)


def _partners(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """Return {key: the same key of the other mapping, or the next that differs in hidden secrets alone}."""
    partners = {key: key for key in one if key in other}
    waiting: dict[str, list[str]] = defaultdict(list)
    for key in other:
        if key not in partners:
            waiting[hidden(key)].append(key)
    for key in one:
        if key not in partners and "[redacted:" in key and waiting[hidden(key)]:
            partners[key] = waiting[hidden(key)].pop(0)
    return partners


def _are_one_object(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects without a codec have equal descriptions; False if one could not be inspected."""
    left, right = opaque_key(one), opaque_key(other)
    if is_unseen("opaque", left) or is_unseen("opaque", right):
        return False
    if ("digest" in left) == ("digest" in right):
        return left == right
    # One was recorded before content digests.
    return all(one.get(key) == other.get(key) for key in ("class", "repr", "attributes"))


def _text_distance(one: str, other: str) -> float:
    """The distance of two different texts; longer ones are compared by words, very long ones are 1 apart."""
    if differ_in_tokens_alone(one, other):
        return 0.0
    if max(len(one), len(other)) > _MAX_COMPARED_CHARS:
        one_words, other_words = one.split(), other.split()
        if max(len(one_words), len(other_words)) > _MAX_COMPARED_CHARS:
            return 1.0
        ratio = SequenceMatcher(None, one_words, other_words, autojunk=False).quick_ratio()
    else:
        ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return round(1.0 - ratio, 4) or 0.0001


def _number_distance(one: Any, other: Any) -> float:
    """The relative difference of two floats; other numbers, such as counts, are 1 apart if they differ."""
    if type(one) is not float:
        return 1.0
    if one == other:
        return 0.0001
    return round(min(1.0, abs(one - other) / max(abs(one), abs(other))), 4) or 0.0001


class RecordedProgram(Mapping[str, Any]):
    """{`__main__.QualName`: class} for a session; searches the loaded modules and imports nothing."""

    def __init__(self, session: Path) -> None:
        self._session = session

    def __getitem__(self, name: str) -> type:
        if name.startswith("__main__.") and find_class(name) is None:
            classes = {id(cls): cls for cls in self._candidates(name.removeprefix("__main__."))}
            if len(classes) == 1:
                return next(iter(classes.values()))
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True  # its keys are not enumerable, and an empty mapping would be ignored

    def find(self, name: str) -> type | None:
        """The loaded class with that `module.QualName`, or None."""
        return self.get(name) or find_class(name)

    def modules(self) -> list[str]:
        """Names of the loaded modules that may be the recorded program: those with the same file name."""
        return [
            name
            for name, module in list(sys.modules.items())
            if self._file_name
            and isinstance(file := getattr(module, "__file__", None), str)
            and file.endswith(self._file_name)
            and Path(file).name == self._file_name
        ]

    def _candidates(self, qualname: str) -> Iterator[type]:
        classes = (find_class(f"{name}.{qualname}") for name in self.modules())
        return (cls for cls in classes if cls is not None)

    @cached_property
    def _file_name(self) -> str | None:
        """The file name of the recorded program; None if it is unknown."""
        try:
            argv = open_session(self._session).argv
        except InputError:
            return None  # then no loaded module is taken for the program
        return Path(argv[0]).name if argv else None
