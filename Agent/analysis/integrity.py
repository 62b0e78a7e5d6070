"""Whether the record is whole: what was lost, what is damaged, what had begun and not ended.

The numbers are gathered by the engine; what their gaps mean is decided by the tree's own account.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from Agent.analysis.engine import Engine
from Agent.analysis.views import scan, whole_lines
from Agent.errors import DamagedInput
from Agent.event.clock import format_timestamp
from Agent.tree.claim import read_claims
from Agent.tree.losses import Accounting, Losses
from Agent.tree.reader import TreeReader
from Agent.tree.retired import read_account
from Agent.tree.scan import Writers, add_said
from Agent.tree.seqset import SeqSet

_LOWEST_FIRST: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""The engine's bit strings begin with the highest bit of a byte, ours with the lowest."""


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
    return {"total_lost": found.total_lost, "dropped": _dropped(path, engine)} | found.to_dict()


def _dropped(path: Path, engine: Engine) -> dict[str, int]:
    rows = engine.rows(
        f"SELECT coalesce(reason, '') AS reason, sum(count)::BIGINT AS n FROM {scan('reason', 'count')} "
        "WHERE event_type = 'log.dropped' GROUP BY 1"
    )
    counts = Counter({row["reason"]: row["n"] or 0 for row in rows})
    with suppress(DamagedInput):  # which `losses` tells of
        counts.update(read_account(path).dropped_before(path))
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def counted_losses(path: Path, engine: Engine) -> Losses | None:
    """The account from numbers alone, without decoding a line; None where only reading can tell.

    That is where lines are damaged, since a whole event may stand behind a torn one, and where a running
    process may just be writing what seems to be missing.
    """
    writers = Writers(path)
    if engine.damaged_lines():
        return None
    # before the numbers: a writer that ends in between has all of its own in the files by then
    said = _said(engine)
    account = Accounting(_seen(engine), *said)
    try:
        # after the files: what retention removed meanwhile it had entered before
        add_said(account, path)
    except DamagedInput:
        return None
    found = account.losses(writers.claims, writers.boards, writers.alive, 0)
    running = writers.alive | set(read_claims(path)) - set(writers.claims)
    if any(writer.unknown + writer.lost and writer.writer in running for writer in found.writers):
        return None
    return found


def _seen(engine: Engine) -> dict[str, SeqSet]:
    """The numbers read, by writer, as runs; a writer with all from 1 on needs no sorting."""
    whole: dict[str, SeqSet] = {}
    partial: dict[str, SeqSet] = {}
    for row in engine.rows(
        "SELECT writer, count(*) AS read, max(seq) AS highest, sum(seq) AS numbers, "
        "sum(seq * seq) AS squares "
        f"FROM {scan()} GROUP BY writer"
    ):
        if _has_each_once(row):
            whole[row["writer"]] = SeqSet.of_ranges([(1, row["highest"])])
        else:
            partial[row["writer"]] = SeqSet()
    if partial:
        # a bit for each number: after retention they may be as scattered as they are many
        for row in engine.rows(
            "SELECT writer, seq >> 16 AS piece, "
            "bitstring_agg((seq & 65535)::INTEGER, 0, 65535)::BLOB AS bits "
            f"FROM {scan()} WHERE list_contains($1, writer) GROUP BY writer, piece",
            [list(partial)],
        ):
            bits = int.from_bytes(bytes(row["bits"]).translate(_LOWEST_FIRST), "little")
            partial[row["writer"]].add_bits(row["piece"], bits)
    return whole | partial


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
        f"FROM {whole_lines()} "
        "WHERE event_type = 'log.closed' OR (event_type = 'log.retired' AND (extra->'$.count') IS NULL)"
    ):
        if row["event_type"] == "log.closed":
            closed[row["writer"]] = max(row["seq"], row["last_seq"] or 0)
        elif row["named"] and row["first_seq"] is not None and row["last_seq"] is not None:
            retired.setdefault(row["named"], []).append((row["first_seq"], row["last_seq"]))
    return closed, retired
