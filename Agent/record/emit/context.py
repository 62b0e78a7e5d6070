"""The context of a call, in one context variable, and the seams for packages above.

A `SpanScope` is immutable and keeps its own bytes, so that each event inside it copies them instead of
encoding them again. `Reads` is what one traced action read of recorded sources, which stands as `reads` in
its event: a generator by where its draws began and how many there were, everything else by value.

`replay/` installs a `Player` in a context variable, which decorators ask once a call, and a `SourcePlayer` as
`installed.source_player`; nothing else in this package knows about replay. `flight/` installs a `RunWatcher`
with the first run that wants checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from Agent.event.ids import split_event_id
from Agent.record.health import note

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture, Types
    from Agent.record.encode.event_template import AgentBinding


T = TypeVar("T")


class CallPlace(NamedTuple):
    """Where a tool or model is called, and what the call may do."""

    site: str
    """The qualified name of the function that calls; never a line number."""
    path: tuple[str, ...]
    """The names of the spans around it, the outermost first."""
    is_write: bool = False
    """Whether it changes something outside."""
    idempotency_key: str | None = None
    """By which the outside knows that the same call comes again."""


class TracedCall(NamedTuple):
    """A call of a traced function that is about to run."""

    kind: str
    """The kind of event it leaves: `agent_action`, `learning_update`, `metric`, `tool.call`, `model.call`."""
    agent_id: str | None
    agent_role: str | None
    action_type: str
    qualname: str
    args: Mapping[str, Any]
    """The arguments by name, as the objects that were passed."""
    target: object
    """The object whose method it is; None for a function."""
    is_root: bool
    """Whether no other traced action is open."""
    is_generator: bool = False
    """Whether it yields items; those of a traced function are not in the recording, those of a tool are."""
    place: CallPlace | None = None
    """Of a tool or model; None for what agents do."""


class Answer(NamedTuple):
    """The recorded response of a call: a result, or an exception to raise."""

    result: Any = None
    error: BaseException | None = None
    items: tuple[Any, ...] | None = None
    """What a tool yielded before that, None where it is no generator."""
    event_id: str | None = None
    """The event that holds it."""
    change: Callable[[], None] | None = None
    """Changes the arguments in place as the recorded call did; to be called before the answer is given."""


class Player(Protocol):
    """Decides for each traced call whether its body runs."""

    def enter(self, call: TracedCall) -> Answer | None:
        """Return the recorded response, which replaces the body; None lets the body run."""

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """Take the result of a body that ran."""


current_player: ContextVar[Player | None] = ContextVar("agent_trace_player", default=None)

making_answer: ContextVar[bool] = ContextVar("agent_trace_making_answer", default=False)
"""Set while a model works or its recorded response is made again: what is read then belongs to no action."""


class SourcePlayer(Protocol):
    """Gives what was read in the recording, or what the source gives now, which it notes.

    `adopted` is the `sources.adopted.Adopted` that records a generator.
    """

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:
        """What the source gave the action that is replayed; `decode` makes it of its JSON."""

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:
        """What a variable of the environment held: text, None for nothing, a list under the name `*`."""

    def draw(self, adopted: Any, count: int, now: Callable[[], T]) -> T:
        """A draw from an adopted generator, which is put first where it stood in the recording."""

    def restarted(self, adopted: Any, *, is_known: bool, mark: str | None = None) -> None:
        """A generator was seeded or set.

        Args:
            is_known: by values that the code has, not by entropy.
            mark: what tells these values from others, where draws are kept by value.
        """


class RunWatcher(Protocol):
    """Told behind each event, in the context around it; none of its calls raises."""

    def action_ended(self, call: Any, event_id: str, error: BaseException | None) -> None:
        """The outermost action of an agent has ended, and its event has been written.

        Args:
            call: which one, a `tracing.traced_call.Call`.
            event_id: its event, "" if that could not be written.
            error: what the body raised, None for none and for what is no error, such as a cancellation.
        """

    def tick_ended(self, number: int) -> None:
        """A step of the simulation, `with tick(number):`, has ended."""

    def phase_began(self, name: str) -> None:
        """The program said that a phase begins."""


MAX_PATH = 32
"""How many names of spans a scope keeps; what nests deeper, as tasks that begin tasks do, adds none."""
MAX_SECRETS = 64
"""How many secrets of nested calls a scope knows, the innermost ones."""


class SpanScope:
    """One level of nesting: everything that an event inside it inherits.

    `path` names the enclosing spans. `secrets` are values recognised as secret by the names of arguments of
    open calls, at most 16 per call.
    """

    __slots__ = (
        "actions",
        "agent",
        "causes",
        "fields",
        "links",
        "path",
        "reads",
        "run_id",
        "secrets",
        "span_id",
        "tick",
    )

    def __init__(
        self,
        parent: SpanScope | None,
        *,
        span_id: str | None = None,
        name: str | None = None,
        agent: AgentBinding | None = None,
        is_action: bool = False,
        tick: int | None = None,
        causes: tuple[str, ...] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        if parent is None:
            self.span_id = span_id
            self.agent = agent
            self.tick = tick
            self.causes = causes or ()
            self.fields = fields
            self.run_id: str | None = None
            self.reads: Reads | None = None
            self.path: tuple[str, ...] = ()
            self.actions: tuple[AgentBinding, ...] = ()
            self.secrets: tuple[str, ...] = ()
        else:
            self.span_id = span_id or parent.span_id
            self.agent = agent or parent.agent
            self.tick = parent.tick if tick is None else tick
            # A cause belongs to what happens directly under it, not to every span further down.
            self.causes = causes if causes is not None else () if span_id else parent.causes
            self.fields = {**parent.fields, **fields} if parent.fields and fields else fields or parent.fields
            self.run_id = parent.run_id
            self.reads = parent.reads
            self.path = parent.path
            self.actions = parent.actions
            self.secrets = parent.secrets
        if name is not None and len(self.path) < MAX_PATH:
            self.path = (*self.path, name)
        if is_action and agent is not None:
            self.actions = (*self.actions, agent)
        self.links: bytes | None = None

    def link_bytes(self, more_causes: tuple[str, ...] = ()) -> bytes:
        """Return the bytes of `run_id`, `parent_span_id`, `causes` and `tick` for an event in this scope."""
        links = None if more_causes else self.links
        if links is None:
            parts = []
            causes = tuple(dict.fromkeys((*self.causes, *more_causes))) if more_causes else self.causes
            if self.run_id is not None:
                parts.append(f',"run_id":"{self.run_id}"')
            if self.span_id is not None:
                parts.append(f',"parent_span_id":"{self.span_id}"')
            if causes:
                import orjson

                parts.append(f',"causes":{orjson.dumps(causes).decode()}')
            if self.tick is not None:
                parts.append(f',"tick":{self.tick}')
            links = "".join(parts).encode()
            # Without them the lane hands over to where what happens here is searched for the secrets.
            if not more_causes and not self.secrets:
                self.links = links
        return links


def learn_secrets(scope: SpanScope, found: list[str]) -> None:
    """Tell a call's scope the secrets among its arguments, before anything happens in it."""
    if found:
        scope.secrets = (*scope.secrets, *found)[-MAX_SECRETS:]
        scope.links = None


def event_ids(ids: Iterable[object]) -> tuple[str, ...]:
    """Return the values that are event ids; "", returned by a call that was not recorded, is left out."""
    found = []
    for one in ids:
        if one is None or (type(one) is str and not one):
            continue
        try:
            if type(one) is not str or not one.isascii():
                raise ValueError  # noqa: TRY301 - the one way out for what is no id
            split_event_id(one)
        except ValueError:
            note("a cause that is no event's id was left out")
        else:
            found.append(one)
    return tuple(found)


current_scope: ContextVar[SpanScope | None] = ContextVar("agent_trace_scope", default=None)


@contextmanager
def caused_by(*ids: str) -> Iterator[None]:
    """Name these events as causes of everything recorded directly in the block."""
    token = current_scope.set(SpanScope(current_scope.get(), causes=event_ids(ids)))
    try:
        yield
    finally:
        current_scope.reset(token)


ENVIRONMENT = "os.environ"
ALL_NAMES = "*"
"""Stands in the place of a name where the names of all variables were read."""
_MAX_VALUES = 100_000


def kinds_of_draws(reads: Any) -> list[tuple[str, str]]:
    """(kind, key) of the generators that an action drew from; see `Adopted.kind`."""
    keys = list(reads) if isinstance(reads, dict) else []
    return [(key.partition("@")[0], key) for key in keys if "@" in key]


def states_of(reads: Any) -> set[str]:
    """The ids of the `source.state` events that the reads of an action refer to."""
    found: set[str] = set()
    for source, kept in reads.items() if isinstance(reads, dict) else ():
        kind, _, base = source.partition("@")
        if kind == "random":
            found.add(base)
        elif kind == "numpy" and isinstance(kept, list):
            # A state of another bit generator than PCG64 begins with its name and the event's id.
            states = [segment[0] for segment in kept if isinstance(segment, list) and segment]
            found.update(
                state[1] for state in states if isinstance(state, list) and isinstance(state[1], str)
            )
    return found


class Reads:
    """The reads of one action, in order."""

    __slots__ = ("at_close", "closed", "environment", "segments", "values")

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self.environment: dict[str, list[list[Any]]] = {}
        self.segments: dict[str, list[list[Any]]] = {}
        self.at_close: list[Callable[[Reads], None]] = []
        """Generators that tell how far they came."""
        self.closed = False

    def add(self, source: str, value: Any) -> None:
        """Keep what a source gave, as JSON."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        values = self.values.setdefault(source, [])
        if len(values) < _MAX_VALUES:
            values.append(value)
        else:
            note(f"an action read a source more than {_MAX_VALUES:,} times, and the rest is not recorded")

    def add_variable(self, name: str, value: Any) -> None:
        """Keep what a variable of the environment held; equal reads in a row are one with a count."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        runs = self.environment.setdefault(name, [])
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])

    def begin_segment(self, key: str, segment: list[Any]) -> list[Any]:
        """Let draws from a generator be counted in this segment from here on."""
        if self.closed:
            note("a generator was drawn from after its action had ended, so it was not recorded")
        else:
            self.segments.setdefault(key, []).append(segment)
        return segment

    def close(self) -> None:
        """The action ends."""
        self.closed = True
        for tell in self.at_close:
            tell(self)

    def _draws(self) -> dict[str, list[list[Any]]]:
        """The segments; of those that are counts, such as hold any: threads may begin one and not draw."""
        return {
            key: kept if key.startswith("draws@") else [each for each in kept if each[1]]
            for key, kept in self.segments.items()
        }

    def plain_body(self) -> bytes | None:
        """The same where nothing was read but counted draws; None where `body` has to look closer.

        The action ends, as with `close`.
        """
        if self.at_close or self.values or self.environment:
            return None
        self.closed = True
        if not self.segments:
            return b""
        import orjson

        return b'"reads":%s,' % orjson.dumps(self._draws())

    def body(self, capture: Capture) -> tuple[bytes, Types | None]:
        """`"reads":{...},` as it stands in the event, with its tags; nothing where nothing was read."""
        if not (self.values or self.segments or self.environment):
            return b"", None
        import orjson

        types = None
        parts = []
        if self.values or self.segments:
            parts.append(orjson.dumps({**self.values, **self._draws()})[1:-1])
        if self.environment:
            # What variables hold goes the way of all values: names such as API_KEY make secrets of them.
            shown = {name: runs[0][0] if len(runs) == 1 else runs for name, runs in self.environment.items()}
            raw, types = capture.body({"reads": {ENVIRONMENT: shown}})
            parts.append(raw.removeprefix(b'"reads":{').removesuffix(b"}"))
        return b'"reads":{%s},' % b",".join(parts), types
