"""Whether the record is whole: what was lost, what is damaged, what had begun and not ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Agent.analysis.engine import Engine
from Agent.analysis.views import scan
from Agent.event.clock import format_timestamp
from Agent.tree.claim import read_claims
from Agent.tree.losses import Losses, WriterLosses
from Agent.tree.reader import TreeReader


def in_flight(reader: TreeReader) -> list[dict[str, Any]]:
    """The spans that had begun and not ended, oldest first; `alive` says whether their process still runs."""
    return [
        {
            "agent_id": span.agent_id,
            "name": span.name,
            "span_id": span.span_id,
            "started_at": format_timestamp(span.started_us),
            "writer": span.writer,
            "pid": span.pid,
            "alive": span.alive,
        }
        for span in reader.in_flight()
    ]


def losses(path: Path, reader: TreeReader, engine: Engine) -> dict[str, Any]:
    """What the record lacks: `total_lost`, `clean`, and what `Losses.to_dict` gives, by writer and in total."""
    found = _closed_without_gaps(path, engine) or reader.losses()
    return {"total_lost": found.total_lost} | found.to_dict()


def _closed_without_gaps(path: Path, engine: Engine) -> Losses | None:
    """The account where every writer ended cleanly and nothing is missing, without decoding every line; else None."""
    claims = read_claims(path)
    rows = engine.rows(
        "SELECT writer, count(*) AS read, max(seq) AS highest, sum(seq) AS numbers, sum(seq * seq) AS squares, "
        f"max(last_seq) FILTER (WHERE event_type = 'log.closed') AS closed FROM {scan('last_seq')} GROUP BY writer"
    )
    if (
        not all(_has_each_once(row) for row in rows)
        or {row["writer"] for row in rows} != claims.keys()
        or engine.damaged_lines()
    ):
        return None
    return Losses(
        tuple(
            WriterLosses(
                writer=row["writer"],
                pid=claims[row["writer"]].pid,
                kind=claims[row["writer"]].kind,
                durability=claims[row["writer"]].durability,
                closed=True,
                alive=False,
                last_seq=row["highest"],
                read=row["read"],
                gaps=(),
            )
            for row in sorted(rows, key=lambda row: str(row["writer"]))
        )
    )


def _has_each_once(row: dict[str, Any]) -> bool:
    """Whether a writer's numbers are 1 to n and its clean end says n; by their sums, so that none is held."""
    n = row["highest"]
    return bool(
        row["read"] == n == row["closed"]
        and row["numbers"] == n * (n + 1) // 2
        and row["squares"] == n * (n + 1) * (2 * n + 1) // 6
    )
