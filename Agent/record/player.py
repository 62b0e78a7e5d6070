"""The seam through which a replay answers traced calls; nothing else in this room knows about replay.

`replay/` installs a `Player` in the context variable; decorators ask it once a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol


class TracedCall(NamedTuple):
    """A call to a traced function that is about to run."""

    kind: str
    """The kind of event it leaves: `agent_action`, `learning_update`, `metric` or `error`."""
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
    """Whether it yields items: those are not in the record, so that no answer can stand for its body."""


class Answer(NamedTuple):
    """What the record says this call gave: a result, or an exception to raise."""

    result: Any = None
    error: BaseException | None = None


class Player(Protocol):
    """Decides for each traced call whether its body runs."""

    def enter(self, call: TracedCall) -> Answer | None:
        """The recorded answer, which stands for the body; None lets the body run."""

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """The body ran and gave this."""


current_player: ContextVar[Player | None] = ContextVar("agent_trace_player", default=None)
