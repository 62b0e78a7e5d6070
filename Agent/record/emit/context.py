"""The context of a call, in one context variable, and the protocols that other packages implement.

A `SpanScope` is immutable and caches its bytes, so that each event inside it copies them instead of encoding
them again. `Reads` holds the reads of recorded sources by one traced action, the field `reads` of its event:
for a generator the position and number of its draws, for all other sources the values.

`replay/` installs a `Player` in a context variable, which decorators check once per call, and a
`SourcePlayer` as `installed.source_player`; nothing else in this package depends on replay. `flight/`
installs a `RunWatcher` with the first run that uses checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from Agent.event.ids import split_event_id
from Agent.event.kinds import POSITIONS
from Agent.record.health import note
from Agent.record.state.identity import player_of_calls

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture, Types
    from Agent.record.encode.event_template import AgentBinding


T = TypeVar("T")


class CallPlace(NamedTuple):
    """The place of a call of a tool or model, and whether the call has side effects."""

    site: str
    """The qualified name of the calling function, without a line number."""
    path: tuple[str, ...]
    """The names of the enclosing spans, outermost first."""
    is_write: bool = False
    """Whether the call changes something outside the program."""
    idempotency_key: str | None = None
    """The key by which the called service recognises a repeated call."""


class TracedCall(NamedTuple):
    """A call of a traced function that is about to run."""

    kind: str
    """The kind of its event: `agent_action`, `learning_update`, `metric`, `tool.call`, `model.call`."""
    agent_id: str | None
    agent_role: str | None
    action_type: str
    qualname: str
    args: Mapping[str, Any]
    """The arguments by name, as the objects that were passed."""
    target: object
    """The object whose method is called; None for a function."""
    is_root: bool
    """Whether no other traced action is open."""
    is_generator: bool = False
    """Whether it yields items; the items of a tool are recorded, those of another traced function are not."""
    place: CallPlace | None = None
    """The place of a call of a tool or model; None for actions of agents."""
    defaults: Callable[[Any], str] | None = None
    """Returns the digest of the defaults that a call of a tool uses, given what finds secrets."""


class ResponseTurn(Protocol):
    """The place of a recorded response among the others of its action."""

    async def wait(self) -> None:
        """Let the tasks go on that got their responses earlier."""

    def came(self) -> None:
        """The caller gets the response."""


class Response(NamedTuple):
    """The recorded response of a call: a result, or an exception to raise."""

    result: Any = None
    error: BaseException | None = None
    items: tuple[Any, ...] | None = None
    """The items that a tool yielded before; None if it is not a generator."""
    event_id: str | None = None
    """The id of the event with the response."""
    change: Callable[[], None] | None = None
    """Changes the arguments in place as the recorded call did; call it before the response is returned."""
    waits_s: float = 0.0
    """How long a coroutine waits to be cancelled before it raises `error`."""
    turn: ResponseTurn | None = None
    """When it came in the recording, among other responses that were awaited."""

    def given(self) -> Any:
        """Return the result, or raise the error."""
        if self.turn is not None:
            self.turn.came()
        if self.error is not None:
            raise self.error
        return self.result

    async def awaited(self) -> Any:
        """Return or raise the same as a coroutine does."""
        if self.waits_s:
            import asyncio

            with suppress(RuntimeError):  # no loop of asyncio runs here
                asyncio.get_running_loop()
                await asyncio.sleep(self.waits_s)
        elif self.turn is not None:
            await self.turn.wait()
        return self.given()


class Player(Protocol):
    """Decides for each traced call whether its body runs."""

    def enter(self, call: TracedCall) -> Response | None:
        """Return the recorded response, which replaces the body; None lets the body run."""

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """Receive the result of a body that ran."""


current_player: ContextVar[Player | Literal[False] | None] = player_of_calls

making_answer: ContextVar[bool] = ContextVar("agent_trace_making_answer", default=False)
"""True while a model runs or its recorded response is rebuilt: reads of sources then belong to no action."""


class SourcePlayer(Protocol):
    """Answers reads of sources from the recording; a read that is not recorded is made and noted.

    `adopted` is the `sources.adopted.Adopted` of a generator.
    """

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:
        """Return the value that the replayed action read from the source.

        Args:
            decode: makes the value from JSON; raises `OtherSize` if the call cannot return it.
        """

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:
        """Return the recorded value of an environment variable, None if it was unset; for `*` all names."""

    def draw(self, adopted: Any, count: int, now: Callable[[], T], bits: int | None = None) -> T:
        """Draw from an adopted generator, after setting it to its recorded position.

        Args:
            bits: the argument of `getrandbits`, for generators whose draws are recorded by value.
        """

    def restarted(self, adopted: Any, *, is_known: bool, mark: str | None = None) -> None:
        """Note that a generator was seeded or its state was set.

        Args:
            is_known: whether with a given value, not with entropy.
            mark: identifies the value, for generators whose draws are recorded by value.
        """


class OtherSize(Exception):
    """The recorded value of a source has another size than the one that is asked for now."""

    def __init__(self, recorded_bytes: int, asked_bytes: int) -> None:
        super().__init__(f"{recorded_bytes} bytes instead of {asked_bytes}")
        self.recorded_bytes, self.asked_bytes = recorded_bytes, asked_bytes


class RunWatcher(Protocol):
    """Called after each event, in the context around it; its methods do not raise."""

    def action_ended(self, call: Any, event_id: str, error: BaseException | None) -> None:
        """Handle the end of the outermost action of an agent, after its event was written.

        Args:
            call: the action, a `tracing.traced_call.Call`.
            event_id: the id of its event, "" if that could not be written.
            error: the exception of the body; None without one and for a cancellation, which is not an error.
        """

    def tick_ended(self, number: int) -> None:
        """Handle the end of a step of the simulation, `with tick(number):`."""

    def phase_began(self, name: str) -> None:
        """Handle the start of a phase, as recorded by the program."""


ahead_us: ContextVar[int] = ContextVar("agent_trace_ahead_us", default=0)
"""By how many microseconds the clock is behind that of an adopted context; see `record/messages.py`."""
is_behind = False
"""Whether a context was adopted for which that is not 0; until then nobody asks."""

MAX_PATH = 32
"""The most span names in a scope; deeper spans, as of tasks that start tasks, add none."""
MAX_SECRETS = 64
"""The most secrets of nested calls in a scope; the innermost ones are kept."""


class SpanScope:
    """One level of nesting: everything that the events inside it inherit.

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
            # A cause applies to the events directly in its span, not to those of nested spans.
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
        """Return the bytes of the keys from `run_id` to `hlc` for an event in this scope."""
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
            parts.append(hlc_link())
            links = "".join(parts).encode()
            # In a scope with secrets the links are not cached: the native lane then passes each event to
            # `Pipeline.emit`, which removes the secrets.
            if not more_causes and not self.secrets:
                self.links = links
        return links


def hlc_link() -> str:
    """Return the key `hlc` of an event, if a context was adopted that was later than this clock; else ""."""
    return f',"hlc":{ahead}' if is_behind and (ahead := ahead_us.get()) else ""


def learn_secrets(scope: SpanScope, found: list[str]) -> None:
    """Add the secrets among a call's arguments to its scope, before any event in it."""
    if found:
        scope.secrets = (*scope.secrets, *found)[-MAX_SECRETS:]
        scope.links = None


def event_ids(ids: Iterable[object]) -> tuple[str, ...]:
    """Return the values that are event ids, without "", the id of an event that was not recorded."""
    found = []
    for one in ids:
        if one is None or (type(one) is str and not one):
            continue
        try:
            if type(one) is not str or not one.isascii():
                raise ValueError  # noqa: TRY301 - handled below like an id with a wrong form
            split_event_id(one)
        except ValueError:
            note("a cause that is no event's id was left out")
        else:
            found.append(one)
    return tuple(found)


current_scope: ContextVar[SpanScope | None] = ContextVar("agent_trace_scope", default=None)


@contextmanager
def caused_by(*ids: str) -> Iterator[None]:
    """Record these events as causes of all events directly in the block."""
    token = current_scope.set(SpanScope(current_scope.get(), causes=event_ids(ids)))
    try:
        yield
    finally:
        current_scope.reset(token)


ENVIRONMENT = "os.environ"
ALL_NAMES = "*"
"""The key, instead of a variable's name, for a read of the names of all variables."""
_MAX_VALUES = 100_000


def kinds_of_draws(reads: Any) -> list[tuple[str, str]]:
    """Return (kind, key) of the generators from which an action drew; see `Adopted.kind`."""
    keys = list(reads) if isinstance(reads, dict) else []
    return [(key.partition("@")[0], key) for key in keys if "@" in key]


def states_of(extra: Mapping[str, Any]) -> set[str]:
    """Return the ids of the `source.state` events to which reads, or moves of generators, refer."""
    found: set[str] = set()
    reads, moved = extra.get("reads"), extra.get("moved")
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
    for moves in moved.values() if isinstance(moved, dict) else ():
        for move in moves.values() if isinstance(moves, dict) else ():
            places = [move.get(key) for key in POSITIONS] if isinstance(move, dict) else []
            found.update(place[0] for place in places if isinstance(place, list) and type(place[0]) is str)
    return found


class Reads:
    """The reads of one action, in order."""

    __slots__ = ("at_close", "closed", "environment", "segments", "values")

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}
        self.environment: dict[str, list[list[Any]]] = {}
        self.segments: dict[str, list[list[Any]]] = {}
        self.at_close: list[Callable[[Reads], None]] = []
        """Functions of generators that add the state at the end of their last segment."""
        self.closed = False

    def add(self, source: str, value: Any) -> None:
        """Add a value read from a source, as JSON."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        values = self.values.setdefault(source, [])
        if len(values) < _MAX_VALUES:
            values.append(value)
        else:
            note(f"an action read a source more than {_MAX_VALUES:,} times, and the rest is not recorded")

    def add_variable(self, name: str, value: Any) -> None:
        """Add a read of an environment variable; consecutive equal reads are one entry with a count."""
        if self.closed:
            note("a source was read after its action had ended, so it was not recorded")
            return
        runs = self.environment.setdefault(name, [])
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])

    def begin_segment(self, key: str, segment: list[Any]) -> list[Any]:
        """Add a segment, in which later draws from a generator are counted, and return it."""
        if self.closed:
            note("a generator was drawn from after its action had ended, so it was not recorded")
        else:
            self.segments.setdefault(key, []).append(segment)
        return segment

    def close(self) -> None:
        """Close the reads at the end of the action; later reads are not recorded."""
        self.closed = True
        for tell in self.at_close:
            tell(self)

    def _draws(self) -> dict[str, list[list[Any]]]:
        """Return the segments without those of 0 draws: a thread may begin a segment and not draw."""
        return {
            key: kept if key.startswith("draws@") else [each for each in kept if each[1]]
            for key, kept in self.segments.items()
        }

    def plain_body(self) -> bytes | None:
        """Return the same as `body` if only counted draws were recorded, else None.

        This closes the reads unless it returns None.
        """
        if self.at_close or self.values or self.environment:
            return None
        self.closed = True
        if not self.segments:
            return b""
        import orjson

        return b'"reads":%s,' % orjson.dumps(self._draws())

    def body(self, capture: Capture) -> tuple[bytes, Types | None]:
        """Return `"reads":{...},` for the event, with its tags; empty if nothing was read."""
        if not (self.values or self.segments or self.environment):
            return b"", None
        import orjson

        types = None
        parts = []
        if self.values or self.segments:
            parts.append(orjson.dumps({**self.values, **self._draws()})[1:-1])
        if self.environment:
            # Values of variables are captured like all values: those with names such as API_KEY are redacted.
            shown = {name: runs[0][0] if len(runs) == 1 else runs for name, runs in self.environment.items()}
            raw, types = capture.body({"reads": {ENVIRONMENT: shown}})
            parts.append(raw.removeprefix(b'"reads":{').removesuffix(b"}"))
        return b'"reads":{%s},' % b",".join(parts), types
