"""The seams for packages above: a replay answers calls and sources, checkpoints learn what ends.

`replay/` installs a `Player` in a context variable, which decorators ask once a call, and a `SourcePlayer` as
`installed.source_player`; nothing else in this package knows about replay. `flight/` installs a `RunWatcher`
with the first run that wants checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

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
