"""Constructors: with which arguments an agent was made, kept for its first `state` event and its replay."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from Agent.event.kinds import LEVELS, Category
from Agent.record.emit import installed
from Agent.record.emit.installed import current_pipeline
from Agent.record.emit.levels import LIMITS

if TYPE_CHECKING:
    from Agent.record.encode.fast_encoder import Types


def record_construction(original: Callable[..., Any]) -> Callable[..., Any]:
    """The constructor, which leaves its arguments to the first state of the object that it makes."""

    @functools.wraps(original)
    def traced_init(self: Any, *args: Any, **kwargs: Any) -> None:
        # A subclass that calls this one has a constructor of its own, whose arguments these are not.
        captured = _captured(args, kwargs) if type(self).__init__ is traced_init else None
        original(self, *args, **kwargs)
        if captured is not None:
            _attach(self, captured)

    return traced_init


def _captured(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, Types | None] | None:
    """The arguments as bytes, made before the constructor can change them."""
    if LIMITS[Category.AGENTS.value].value > LEVELS["INFO"]:
        return None
    try:
        pipeline = installed.active_pipeline() or current_pipeline()
        return pipeline.capture.constructor_body(args, kwargs, "/extra/init")
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        active = installed.active_pipeline()
        if active is not None:
            active.health.trouble("a constructor's arguments", error)
        return None


def _attach(obj: Any, captured: tuple[bytes, Types | None]) -> None:
    pipeline = installed.active_pipeline()
    if pipeline is None:
        return
    try:
        known = pipeline.agents.find(obj)
        if known is not None:
            pipeline.agents.tracker(known, obj).init = captured
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        pipeline.health.trouble("a constructor's arguments", error)
