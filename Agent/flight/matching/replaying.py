"""`with replaying_tools(run):` decorated tools and recorded models in the block answer from the recording."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Literal

from Agent.errors import RecordingMiss
from Agent.flight.calls.call_site import OPEN_PLAYERS
from Agent.flight.matching.tool_replayer import ToolReplayer, check_live, is_live
from Agent.flight.runs.reading import RunRef
from Agent.record.emit.player import Answer, Player, TracedCall, current_player

__all__ = ["replaying_tools"]

_KINDS = frozenset({"tool.call", "model.call"})


class ToolPlayer:
    """Answers calls of tools and models; all others it leaves to the player around it.

    Args:
        outer: who is asked about what agents do; None for nobody.
    """

    def __init__(
        self,
        replayer: ToolReplayer,
        outer: Player | None,
        *,
        live: bool | Collection[str],
        on_miss: str,
        models: bool,
    ) -> None:
        self._replayer = replayer
        self._outer = outer
        self._live = live
        self._calls_missed = on_miss == "live"
        self._models = models

    def enter(self, call: TracedCall) -> Answer | None:
        """The recorded response; None lets the body run.

        Raises:
            RecordingMiss: there is none, and no call live is allowed.
            ReplayError: a write tool may not be called live.
        """
        if call.kind not in _KINDS:
            return None if self._outer is None else self._outer.enter(call)
        name = call.action_type
        if (call.kind == "model.call" and not self._models) or is_live(self._live, name):
            check_live(name, call.place)
            return None
        kind: Literal["tool.call", "model.call"] = "tool.call" if call.kind == "tool.call" else "model.call"
        try:
            return self._replayer.answer(kind, name, dict(call.args), call.place)
        except RecordingMiss:
            if not self._calls_missed:
                raise
            check_live(name, call.place)
            self._replayer.forget_miss()
            return None

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:
        """A call was made live."""
        if call.kind not in _KINDS and self._outer is not None:
            self._outer.leave(call, result, error)


class replaying_tools:  # noqa: N801 - used like a function
    """In the block, tools decorated with `record_tool` and models of `recorded_model` answer from a run.

    `with ... as replayer` gives the `ToolReplayer`. Threads of the process are answered, too. A call that
    the recording has no answer for ends the block with a RecordingMiss, even if the code in it swallowed it.

    Args:
        run, root: as `ToolReplayer` takes them; or such a replayer itself.
        live: the names of tools and models that are called live, or True for all; a write tool is so only
            with an idempotency key.
        on_miss: `live` calls live what the recording has no answer for, as a fork does behind its point.
        models: False leaves models as they are.
        tolerance, codecs: as `ToolReplayer` takes them.
    """

    def __init__(
        self,
        run: str | os.PathLike[str] | RunRef | ToolReplayer | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        live: bool | Collection[str] = False,
        on_miss: Literal["stop", "live"] = "stop",
        models: bool = True,
        tolerance: float = 0.5,
        codecs: Mapping[str, Any] | None = None,
    ) -> None:
        self._run = run, root
        self._policy = {
            "live": {live} if isinstance(live, str) else live,
            "on_miss": on_miss,
            "models": models,
        }
        self._how: dict[str, Any] = {"tolerance": tolerance, "codecs": codecs}
        self._token: Token[Player | None] | None = None
        self._player: ToolPlayer | None = None
        self.replayer: ToolReplayer | None = None

    def __enter__(self) -> ToolReplayer:
        run, root = self._run
        self.replayer = run if isinstance(run, ToolReplayer) else ToolReplayer(run, root, **self._how)
        policy: dict[str, Any] = self._policy
        self._player = ToolPlayer(self.replayer, current_player.get(), **policy)
        self._token = current_player.set(self._player)
        OPEN_PLAYERS.append(self._player)
        return self.replayer

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._player in OPEN_PLAYERS:
            OPEN_PLAYERS.remove(self._player)
        if self._token is not None:
            current_player.reset(self._token)
        missed = self.replayer.missed if self.replayer is not None else None
        if missed is not None and error is None:
            raise missed

    async def __aenter__(self) -> ToolReplayer:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
