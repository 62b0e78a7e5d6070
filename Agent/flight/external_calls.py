"""Calls of tools and models: get the recorded response in a replay, open the call, write it as one event.

`tool_calls.py` and `model_calls.py` define what each of them records; `recorded_calls.py` reads both back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from Agent.flight.artifact_saving import CallParts
from Agent.flight.open_runs import Run, emit_run_event, open_on_board, settled_scope, surrounding_run
from Agent.record.emit import installed
from Agent.record.emit.context import (
    Answer,
    CallPlace,
    Player,
    SpanScope,
    TracedCall,
    current_player,
    current_scope,
)
from Agent.record.encode.safe_text import message_of
from Agent.record.tracing.failures import outcome_of, record_error

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding

_MAX_ERROR_CHARS = 400

Leave = Callable[[Any, BaseException | None], None]
"""Reports the result or the exception of a live call to the player that allowed it."""


class ExternalCall:
    """An open call: its call site, its run, and the parts of it that are recorded.

    Args:
        name: the name of the tool or model.
        agent: the agent whose method is called; None for the agent around the call.
        site: the qualified name of the calling function.
        answer: the recorded response, returned in place of a call; None if the call is made.
    """

    __slots__ = (
        "_board_slot", "_name", "_own_agent", "_parts", "_pipeline", "_run", "_scope", "_site", "_span_id",
        "_started_ns", "answer",
    )  # fmt: skip

    def __init__(
        self, pipeline: Pipeline, name: str, agent: AgentBinding | None, site: str, answer: Answer | None
    ) -> None:
        self._pipeline = pipeline
        self._name = name
        self._site = site
        self.answer = answer
        scope = settled_scope()
        if agent is not None and (scope is None or scope.agent is not agent):
            scope = SpanScope(scope, agent=agent)
        self._scope = scope
        self._own_agent = agent if agent is not None or scope is None else scope.agent
        self._run: Run = surrounding_run(pipeline)
        self._span_id = pipeline.next_span_id()
        self._parts = CallParts(pipeline, self._run, self._span_id, name)

    def _begin(self, shown: str) -> None:
        """Add the call to the board of open spans under that name, and start its clock."""
        self._board_slot = open_on_board(self._pipeline, self._span_id, self._own_agent, shown)
        self._started_ns = self._pipeline.monotonic_ns()

    def _elapsed_ms(self) -> float:
        return (self._pipeline.monotonic_ns() - self._started_ns) / 1e6

    def _leave_board(self) -> None:
        board = self._pipeline.board
        if self._board_slot >= 0 and board is not None:
            board.close_span(self._board_slot)

    def _is_late(self, subject: str) -> bool:
        """Whether the recording in which it began is closed, so that its event cannot be written."""
        if self._pipeline.closed:
            self._pipeline.health.note(f"{subject} outlived the recording that it began in")
        return self._pipeline.closed

    def _add_call_site(self, payload: dict[str, Any]) -> None:
        """Add call site and path to the payload."""
        if self._site:
            payload["site"] = self._site
        if self._scope is not None and self._scope.path:
            payload["path"] = list(self._scope.path)

    def _add_answered_by(self, payload: dict[str, Any]) -> None:
        """Add the id of the recorded call whose response was returned."""
        if self.answer is not None and self.answer.event_id is not None:
            payload["answered_by"] = self.answer.event_id

    def _ending(self, error: BaseException, call: str) -> dict[str, Any]:
        """The payload keys for an exception, which is also recorded as an `error` event.

        Args:
            error: the exception.
            call: the name under which the error event refers to the call.
        """
        ending: dict[str, Any] = {"outcome": outcome_of(error)}
        if ending["outcome"] != "error":
            return ending
        pipeline, secrets = self._pipeline, self._parts.secrets
        try:
            message = f"{type(error).__qualname__}: {message_of(error)[:_MAX_ERROR_CHARS]}"
            ending["error"] = pipeline.redactor.text_without(secrets, message) if secrets else message
            agent = self._own_agent or pipeline.binding(self._run.agent_id, None, "flight", "errors")
            ending["error_id"] = record_error(pipeline, agent, error, more={"call": call})
        except Exception as trouble:  # noqa: BLE001 - it must not replace the user's exception
            self._trouble(trouble)
        return ending

    def _emit(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Write the event to the run in which the call began."""
        emit_run_event(
            self._pipeline,
            self._run,
            kind,
            payload,
            scope=self._scope or _NOWHERE,
            span_id=self._span_id,
            judged=self._parts.members(),
            judged_types=self._parts.types,
        )

    def _trouble(self, error: BaseException) -> None:
        """Count a failure to record its end."""
        raise NotImplementedError


_NOWHERE = SpanScope(None)
"""A scope without span, agent or run, for calls outside of all of them; None would mean the current scope."""


def note_trouble(action: str, error: BaseException, lost: str) -> None:
    """Count a failure to record a part of a call, and the event or part that is lost."""
    active = installed.active_pipeline()
    if active is not None:
        active.health.trouble(action, error)
        active.health.drop(lost)


def ask_player(player: Player, call: TracedCall) -> tuple[Answer | None, Leave | None]:
    """Return (recorded response, None), or (None, the callback for the end of the live call).

    Raises:
        ReplayError: the replay has no response for the call, or refuses a live call.
    """
    answer = player.enter(call)
    return answer, None if answer is not None else partial(player.leave, call)


def described_call(
    kind: str,
    name: str,
    args: Mapping[str, Any],
    site: str,
    *,
    qualname: str,
    streams: bool,
    target: Any = None,
    is_write: bool = False,
    idempotency_key: str | None = None,
) -> TracedCall:
    """Describe a call of a tool or a model for a player; its agent is the one around the call."""
    scope = current_scope.get()
    agent = scope.agent if scope is not None else None
    path = scope.path if scope is not None else ()
    return TracedCall(
        kind=kind,
        agent_id=agent.agent_id if agent is not None else None,
        agent_role=agent.agent_role if agent is not None else None,
        action_type=name,
        qualname=qualname,
        args=args,
        target=target,
        is_root=False,
        is_generator=streams,
        place=CallPlace(site, path, is_write=is_write, idempotency_key=idempotency_key),
    )


OPEN_PLAYERS: list[Player] = []
"""The tool replays that are open in this process, newest last."""


def active_player() -> Player | None:
    """The player that provides recorded responses; None outside of a replay."""
    player = current_player.get()
    # A thread does not inherit the context of the one that started it, so fall back to the newest replay.
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player


# Modules whose frames lie between a call and its caller: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
# Modules that start a task or a thread: frames below only wait for it, and differ between programs.
_BEGINNINGS = frozenset({"asyncio.events", "asyncio.base_events", "asyncio.runners", "threading"})
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the calling function; "" if no frame of the user's code is found.

    That is the case if the call itself is what a task or thread runs.

    Args:
        depth: the number of frames to go up before the search begins; 1 is the caller of `call_site`.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - `inspect.stack` is far slower
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _BEGINNINGS:
            return ""
        if not module.startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # Python 3.12 inlines comprehensions; skipping their frames gives the same name in 3.11.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""
