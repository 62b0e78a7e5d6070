"""A call of a tool or a model, outside of the program: asked of a replay, opened, written as one event.

`tool_calls.py` and `model_calls.py` say what is kept of theirs; `recorded_calls.py` reads both back.
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
"""Tells a player what a call gave that it let through, or what it raised."""


class ExternalCall:
    """A call that is open: where it is made, in which run, and what is kept of it.

    Args:
        name: of what is called.
        agent: the agent whose method it is; None for the one around the call.
        site: the function that calls it.
        answer: what the recording says, which stands for the call; None where it is made.
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
        """Put it on the board under that name; its time begins."""
        self._board_slot = open_on_board(self._pipeline, self._span_id, self._own_agent, shown)
        self._started_ns = self._pipeline.monotonic_ns()

    def _elapsed_ms(self) -> float:
        return (self._pipeline.monotonic_ns() - self._started_ns) / 1e6

    def _leave_board(self) -> None:
        board = self._pipeline.board
        if self._board_slot >= 0 and board is not None:
            board.close_span(self._board_slot)

    def _is_late(self, what: str) -> bool:
        """Whether the recording in which it began has ended, so that its end has no place to stand."""
        if self._pipeline.closed:
            self._pipeline.health.note(f"{what} outlived the recording that it began in")
        return self._pipeline.closed

    def _add_place(self, payload: dict[str, Any]) -> None:
        """Say in its event where it was made."""
        if self._site:
            payload["site"] = self._site
        if self._scope is not None and self._scope.path:
            payload["path"] = list(self._scope.path)

    def _add_answer(self, payload: dict[str, Any]) -> None:
        """Say in its event whose recorded response it got."""
        if self.answer is not None and self.answer.event_id is not None:
            payload["answered_by"] = self.answer.event_id

    def _ending(self, error: BaseException, call: str) -> dict[str, Any]:
        """What its event says of an exception, which is recorded as the error of that call."""
        ending: dict[str, Any] = {"outcome": outcome_of(error)}
        if ending["outcome"] != "error":
            return ending
        pipeline, secrets = self._pipeline, self._parts.secrets
        try:
            told = f"{type(error).__qualname__}: {message_of(error)[:_MAX_ERROR_CHARS]}"
            ending["error"] = pipeline.redactor.text_without(secrets, told) if secrets else told
            agent = self._own_agent or pipeline.binding(self._run.agent_id, None, "flight", "errors")
            ending["error_id"] = record_error(pipeline, agent, error, more={"call": call})
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        return ending

    def _emit(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Write the event; it stands in the run in which the call began."""
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
        """Count that its end could not be recorded."""
        raise NotImplementedError


_NOWHERE = SpanScope(None)
"""In which no span, agent or run is."""


def note_trouble(what: str, error: BaseException, lost: str) -> None:
    """Count that something of a call could not be recorded, and what is lost by that."""
    active = installed.active_pipeline()
    if active is not None:
        active.health.trouble(what, error)
        active.health.drop(lost)


def asked_of(player: Player, call: TracedCall) -> tuple[Answer | None, Leave | None]:
    """The recorded response; where there is none, what is called when the call has been made.

    Raises:
        ReplayError: a replay has no answer, or refuses a live call.
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
    """A call of a tool or a model as a player is asked about it; the agent is the one around it."""
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
"""The replays of tools that are open in this process, the newest last."""


def player_here() -> Player | None:
    """The player that is to be asked, None outside of every replay."""
    player = current_player.get()
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player


# What stands between a call and the function that made it: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
# Where a task or a thread begins: what stands below only waits for it, and differs from program to program.
_BEGINNINGS = frozenset({"asyncio.events", "asyncio.base_events", "asyncio.runners", "threading"})
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the function that calls, "" if there is none, as of a task of its own.

    Args:
        depth: how many callers up the search begins; 1 is the caller of this function.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the one way to the caller at this price
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _BEGINNINGS:
            return ""
        if not module.startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # From Python 3.12 on these have no frames of their own.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""
