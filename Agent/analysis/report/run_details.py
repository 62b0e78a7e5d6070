"""A recorded run as sections of blocks: its steps, calls of models and tools, artifacts and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from Agent.flight.run_reading import RunRecord
from Agent.render import formats
from Agent.render.blocks import Block, Column, Section, Words, first_of

STATE_STYLES: Final = {"running": "good", "crashed": "bad", "failure": "bad", "error": "bad", "open": "warn"}
_MOST_ROWS: Final = 500
_TITLES: Final = {
    "steps": "Steps",
    "model_calls": "Model calls",
    "tool_calls": "Tool calls",
    "artifacts": "Artifacts",
    "checkpoints": "Checkpoints",
}


def _short(ref: str | None) -> str:
    return "-" if ref is None else ref.removeprefix("artifact://artifacts/")


def cost(paid: float | None, currency: str | None) -> str:
    """An amount of money with enough digits for a single call."""
    if paid is None:
        return "-"
    digits = 2 if paid >= 1 else 6
    return f"{paid:,.{digits}f} {currency or ''}".rstrip()


_CALL_LOOKS = {"error": "bad", "cancelled": "warn", "closed": "warn", "recorded": "soft"}
"""`closed`: a stream that was not read to its end; `recorded`: a response from a replay."""
_TIME = Column("TIME (UTC)", "timestamp", formats.clock, whole=True)
_OUTCOME = Column(
    "STATE",
    lambda call: call.outcome or ("ok" if call.answered_by is None else "recorded"),
    looks=_CALL_LOOKS,
)
COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "steps": (
        Column("STEP", "step_id"),
        Column("NAME", "name"),
        Column("STATE", "state", looks=STATE_STYLES),
        Column("DURATION", "duration_ms", formats.milliseconds),
        Column("OUTPUT", lambda step: _short(step.output_ref) if step.error is None else step.error),
    ),
    "artifacts": (
        Column("ARTIFACT", "path"),
        Column("SIZE", "size_bytes", formats.size),
        Column("TYPE", "media_type"),
        Column("STEP", "step_id"),
    ),
    "tool_calls": (
        _TIME,
        Column("TOOL", "name"),
        Column("KIND", "kind"),
        _OUTCOME,
        Column("DURATION", "duration_ms", formats.milliseconds),
        Column("CALLED IN", "site"),
        Column("WITHIN", lambda each: " > ".join(each.path) if each.error is None else each.error),
    ),
    "model_calls": (
        _TIME,
        Column("MODEL", "model_name"),
        _OUTCOME,
        Column("IN", "prompt_tokens", formats.count),
        Column("OUT", "completion_tokens", formats.count),
        Column("COST", lambda each: cost(each.cost, each.currency), right=True),
        Column("FIRST", "first_chunk_ms", formats.milliseconds),
        Column("DURATION", "latency_ms", formats.milliseconds),
        Column("WITHIN", lambda each: " > ".join(each.path) or each.step_id),
    ),
    "checkpoints": (
        Column("STEP", "step_id"),
        Column("AGENT", "agent_id", formats.named),
        _TIME,
        Column("WHY", "reason", looks=STATE_STYLES),
        Column("TICK", "tick", right=True),
        Column("PHASE", "phase"),
        Column("STATE", "state_bytes", formats.size),
        Column("STORED", "size_bytes", formats.size),
        Column("AS", "kind"),
        Column("VERSION", "agent_version"),
        Column("CODE", lambda each: each.code and each.code[:8]),
    ),
}
"""How to list each part of a run."""


def run_sections(record: RunRecord) -> Iterator[Section]:
    """Yield the recorded parts of a run, a section for each kind with at most 500 rows.

    Yields:
        nothing for a root run without recorded parts.
    """
    run = record.summary
    parts = {name: getattr(record, name) for name in _TITLES if name != "checkpoints"}
    parts["checkpoints"] = record.checkpoints()
    blocks: list[Block] = []
    for name, rows in parts.items():
        if rows:
            blocks += [Words(f"{_TITLES[name]}: {formats.count(len(rows))}", "soft")]
            blocks += first_of(rows, _MOST_ROWS, *COLUMNS[name])
    if run.state != "root":
        facts = [run.agent, run.started_at and formats.date_time(run.started_at), run.error]
        blocks.insert(
            0,
            Words(
                " · ".join([run.state, *(str(each) for each in facts if each)]), STATE_STYLES.get(run.state)
            ),
        )
    if blocks:
        yield Section("Outside of runs" if run.state == "root" else f"Run {run.run_id}", blocks)
