"""What `runs` shows of the calls of a run: tools with their outcome, models with tokens, cost and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from Agent.cli.output import render

if TYPE_CHECKING:
    from Agent.flight.open_runs.fold import ModelCall, RunSummary, ToolCall

_STATES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red"},
    "cancelled": {"fg": "yellow"},
    "closed": {"fg": "yellow"},
    "recorded": {"fg": "cyan"},
}
"""`closed` is a stream that nobody read to its end, `recorded` an answer that a replay gave."""


def tools(calls: Sequence[ToolCall]) -> None:
    """A row for each call of a tool, in recorded order."""
    if not calls:
        render.note("no tool calls in this run; @record_tool records them")
        return
    render.table(
        ("TIME (UTC)", "TOOL", "KIND", "STATE", "DURATION", "CALLED IN", "WITHIN"),
        [
            (
                _time(each.timestamp),
                each.name,
                each.kind or "-",
                _state(each.outcome, each.answered_by),
                _duration(each.duration_ms),
                each.site or "-",
                " > ".join(each.path) or "-" if each.error is None else str(each.error),
            )
            for each in calls
        ],
        right=("DURATION",),
        styles={"STATE": _STATES},
    )


def models(calls: Sequence[ModelCall], run: RunSummary) -> None:
    """A row for each call of a model, and their sum."""
    if not calls:
        render.note("no model calls in this run; recorder.record_model_call and recorded_model record them")
        return
    render.table(
        ("TIME (UTC)", "MODEL", "STATE", "IN", "OUT", "COST", "FIRST", "DURATION", "WITHIN"),
        [
            (
                _time(each.timestamp),
                each.model_name or "-",
                _state(each.outcome, each.answered_by),
                _count(each.prompt_tokens),
                _count(each.completion_tokens),
                "-" if each.cost is None else cost(each.cost, each.currency),
                _duration(each.first_chunk_ms),
                _duration(each.latency_ms),
                " > ".join(each.path) or each.step_id or "-",
            )
            for each in calls
        ],
        right=("IN", "OUT", "COST", "FIRST", "DURATION"),
        styles={"STATE": _STATES},
    )
    sums = [f"{render.count(run.prompt_tokens)} + {render.count(run.completion_tokens)} tokens"]
    sums += [cost(paid, currency) for currency, paid in run.costs.items()]
    unpriced = sum(each.cost is None and each.answered_by is None for each in calls)
    if unpriced:
        sums.append(f"{unpriced} of unknown cost (set_prices sets prices)")
    render.note("together " + ", ".join(sums))


def cost(paid: float, currency: str | None) -> str:
    """A sum of money with enough digits for a single call."""
    digits = 2 if paid >= 1 else 6
    return f"{paid:,.{digits}f} {currency or ''}".rstrip()


def _state(outcome: str | None, answered_by: str | None) -> str:
    return outcome or ("ok" if answered_by is None else "recorded")


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else render.count(tokens)


def _duration(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else render.duration(milliseconds / 1000)


def _time(timestamp: str) -> str:
    return timestamp[11:23]
