"""Carry the context of a call to another process or host, and adopt it there.

The text of `carry` fits into an environment variable, a header or a queue message. Events recorded inside
`adopt` belong to the carried span, run and tick, and have the carried events as causes.

Clocks of hosts differ. So the text contains the time, and a process whose clock is behind that time notes the
difference in the key `hlc` of its events: timestamp plus `hlc` never orders an effect before its cause. This
is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014), stored as its difference to the
writer's clock, so that a program that adopts nothing, or whose clock agrees, records no `hlc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from Agent.record.emit import context
from Agent.record.emit.context import SpanScope, ahead_us, current_scope, event_ids
from Agent.record.emit.installed import current_pipeline
from Agent.record.health import note

_VERSION: Final = "at1"
_FORM: Final = re.compile(
    r"at1;(?P<us>[0-9]{1,17});(?P<span>(?:[0-9a-f]{16})?);(?P<tick>(?:-?[0-9]{1,18})?)"
    r";(?P<run>[\w.:-]{0,200});(?P<causes>[a-z2-7]{8}-[0-9]{1,17}(?:,[a-z2-7]{8}-[0-9]{1,17}){0,63})?",
    re.ASCII,
)
_RUN: Final = re.compile(r"[\w.:-]{1,200}", re.ASCII)
MOST_CAUSES: Final = 64


def carry(*causes: str) -> str:
    """Return the current context as text, for `adopt` in another process or on another host.

    Args:
        causes: ids of events, as `log_action` and others return them, that caused the work done there; 64 at
            most.

    Returns:
        ASCII text without spaces; "" if nothing is recorded.
    """
    try:
        pipeline = current_pipeline()
    except RuntimeError:
        return ""
    scope = current_scope.get()
    span = tick = run = ""
    if scope is not None:
        span, run = scope.span_id or "", scope.run_id or ""
        run = run if _RUN.fullmatch(run) else ""
        tick = "" if scope.tick is None else str(scope.tick)
    now_us = pipeline.stamps.now_us() + ahead_us.get()
    return ";".join((_VERSION, str(now_us), span, tick, run, ",".join(event_ids(causes[:MOST_CAUSES]))))


@contextmanager
def adopt(carried: str | None) -> Iterator[None]:
    """Record the block as a part of the carried context; a missing or damaged one is ignored."""
    match = None if not carried else _FORM.fullmatch(carried)
    if match is None:
        if carried:
            note("an invalid carried context was ignored")
        yield
        return
    scope = SpanScope(
        current_scope.get(),
        span_id=match["span"] or None,
        tick=int(match["tick"]) if match["tick"] else None,
        causes=tuple((match["causes"] or "").split(",")) if match["causes"] else (),
    )
    if match["run"]:
        scope.run_id = match["run"]
    ahead = ahead_us.set(max(ahead_us.get(), _ahead_us(int(match["us"]))))
    token = current_scope.set(scope)
    try:
        yield
    finally:
        current_scope.reset(token)
        ahead_us.reset(ahead)


def _ahead_us(carried_us: int) -> int:
    """Return how far this process's clock is behind the carried time, in microseconds."""
    try:
        now_us = current_pipeline().stamps.now_us()
    except RuntimeError:
        return 0
    ahead = max(0, carried_us + 1 - now_us)
    if ahead:
        context.is_behind = True
    return ahead
