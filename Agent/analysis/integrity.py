"""Whether the record is whole: what was lost, what is damaged, what had begun and not ended.

The numbers are gathered by the engine; what their gaps mean is decided by the tree's own account.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Agent.analysis.engine import Engine
from Agent.analysis.views import scan, whole_lines
from Agent.event.clock import format_timestamp
from Agent.tree.losses import Accounting, Losses
from Agent.tree.reader import TreeReader
from Agent.tree.scan import Writers
from Agent.tree.seqset import SeqSet


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
    """What the record lacks, by writer and in total.

    Returns:
        What `Losses.to_dict` gives, `total_lost`, and `dropped`: {reason: count} of the events that were
        never written and never had a number, as recording itself tells.
    """
    found = counted_losses(path, engine) or reader.losses()
    return {"total_lost": found.total_lost, "dropped": _dropped(engine)} | found.to_dict()


def _dropped(engine: Engine) -> dict[str, int]:
    rows = engine.rows(
        f"SELECT coalesce(reason, '') AS reason, sum(count)::BIGINT AS n FROM {scan('reason', 'count')} "
        "WHERE event_type = 'log.dropped' GROUP BY 1 ORDER BY n DESC, 1"
    )
    return {row["reason"]: row["n"] or 0 for row in rows}


def counted_losses(path: Path, engine: Engine) -> Losses | None:
    """The account from numbers alone, without decoding a line; None where only reading can tell.

    That is where lines are damaged, since a whole event may stand behind a torn one, and where a running
    process may just be writing what seems to be missing.
    """
    writers = Writers(path)
    if engine.damaged_lines():
        return None
    account = Accounting(_seen(engine), *_said(engine))
    found = account.losses(writers.claims, writers.boards, writers.alive, 0)
    if any(writer.alive and writer.unknown for writer in found.writers):
        return None
    return found


def _seen(engine: Engine) -> dict[str, SeqSet]:
    """The numbers read, by writer, as runs; a writer with all from 1 on needs no sorting."""
    whole: dict[str, SeqSet] = {}
    partial: dict[str, list[tuple[int, int]]] = {}
    for row in engine.rows(
        "SELECT writer, count(*) AS read, max(seq) AS highest, sum(seq) AS numbers, "
        "sum(seq * seq) AS squares "
        f"FROM {scan()} GROUP BY writer"
    ):
        if _has_each_once(row):
            whole[row["writer"]] = Runs([(1, row["highest"])])
        else:
            partial[row["writer"]] = []
    if partial:
        for row in engine.rows(
            "SELECT writer, min(seq) AS low, max(seq) AS high FROM (SELECT writer, seq, "
            "seq - row_number() OVER (PARTITION BY writer ORDER BY seq) AS run "
            f"FROM (SELECT DISTINCT writer, seq FROM {scan()} WHERE list_contains($1, writer))) "
            "GROUP BY writer, run ORDER BY writer, low",
            [list(partial)],
        ):
            partial[row["writer"]].append((row["low"], row["high"]))
    return whole | {writer: Runs(runs) for writer, runs in partial.items()}


def _has_each_once(row: dict[str, Any]) -> bool:
    """Whether a writer's numbers are 1 to n; by their sums, so that none is held."""
    n = row["highest"]
    return bool(
        row["read"] == n
        and row["numbers"] == n * (n + 1) // 2
        and row["squares"] == n * (n + 1) * (2 * n + 1) // 6
    )


def _said(engine: Engine) -> tuple[dict[str, int], dict[str, list[tuple[int, int]]]]:
    """What the record itself says of numbers: the last ones of closed writers, and the ranges retired."""
    closed: dict[str, int] = {}
    retired: dict[str, list[tuple[int, int]]] = {}
    for row in engine.rows(
        "SELECT event_type, writer, seq, extra->>'$.writer' AS named, "
        "try_cast(extra->>'$.first_seq' AS BIGINT) AS first_seq, "
        "try_cast(extra->>'$.last_seq' AS BIGINT) AS last_seq "
        f"FROM {whole_lines()} WHERE event_type IN ('log.closed', 'log.retired')"
    ):
        if row["event_type"] == "log.closed":
            closed[row["writer"]] = max(row["seq"], row["last_seq"] or 0)
        elif row["named"] and row["first_seq"] is not None and row["last_seq"] is not None:
            retired.setdefault(row["named"], []).append((row["first_seq"], row["last_seq"]))
    return closed, retired


class Runs(SeqSet):
    """The numbers in some runs (first, last), in ascending order and apart; nothing is ever added."""

    def __init__(self, runs: list[tuple[int, int]]) -> None:
        super().__init__()
        self._runs = runs
        self._starts = [low for low, _ in runs]
        self.highest = runs[-1][1] if runs else 0

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self._runs)

    def __contains__(self, seq: int) -> bool:
        place = bisect.bisect_right(self._starts, seq) - 1
        return place >= 0 and seq <= self._runs[place][1]

    def missing(self, last: int) -> Iterator[tuple[int, int]]:
        """The ranges (first, last) of the numbers from 1 to `last` that are in no run."""
        at = 1
        for low, high in self._runs:
            if at < low and at <= last:
                yield at, min(low - 1, last)
            at = max(at, high + 1)
        if at <= last:
            yield at, last
