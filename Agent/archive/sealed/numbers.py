"""The numbers of sealed events without their lines: counted by the engine, a bit for each.

`reader` accounts with it for what no longer stands in files; analysis takes bits of lines the same way.
"""

# ruff: noqa: S608 - statements are put together from names of this package; values are quoted
from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from Agent.archive.sealed.parquet_rows import literal
from Agent.event.clock import format_timestamp
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.write.kept_counts import Tally

__all__ = ["NUMBER_BITS", "PIECE", "Doubtful", "add_numbers", "bits_of", "count_others", "rows_to_read"]

_BATCH_ROWS: Final = 4096
PIECE: Final = "seq >> 16"
"""Which 65536 numbers one belongs to, as `SeqSet.add_bits` takes them."""
NUMBER_BITS: Final = "bitstring_agg((seq & 65535)::INTEGER, 0, 65535)::BLOB"
"""The numbers of a group of one piece; a bit for each, since retention leaves them scattered."""
_LOWEST_FIRST: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""The engine's bit strings begin with the highest bit of a byte, ours with the lowest."""

Doubtful = list[tuple[str, int]]
"""(writer, piece) where a number comes twice: only reading tells which line is the event."""


def bits_of(answer: Any) -> int:
    """What `NUMBER_BITS` gave, the lowest number in the lowest bit."""
    return int.from_bytes(bytes(answer).translate(_LOWEST_FIRST), "little")


def add_numbers(connection: Any, rows: str, kinds: Collection[str], seen: dict[str, SeqSet]) -> Doubtful:
    """Put the numbers of events into `seen` that need no reading; which pieces were left out.

    Args:
        connection: to DuckDB.
        rows: sealed rows as a relation, with a condition after WHERE.
        kinds: those to be read.
        seen: the numbers by writer.
    """
    doubtful: Doubtful = []
    cursor = connection.execute(
        f"SELECT writer, {PIECE} AS piece, count(*), {NUMBER_BITS} FROM {rows} "
        f"AND NOT coalesce({_to_read(kinds)}, true) GROUP BY ALL"
    )
    while row := cursor.fetchone():
        writer, piece, count, answer = row
        bits = bits_of(answer)
        if bits.bit_count() == count:
            seen.setdefault(writer, SeqSet()).add_bits(piece, bits)
        else:
            doubtful.append((writer, piece))
    return doubtful


def count_others(
    connection: Any, rows: str, kinds: Collection[str], doubtful: Doubtful, tally: Tally
) -> None:
    """Count the events whose lines `rows_to_read` leaves out; arguments as for `add_numbers`."""
    others = f"{rows} AND NOT {rows_to_read(kinds, doubtful)}"
    cursor = connection.execute(f"SELECT event_type, level, agent_id, count(*) FROM {others} GROUP BY ALL")
    while found := cursor.fetchmany(_BATCH_ROWS):
        for kind, level, agent_id, number in found:
            tally.add(kind, level, agent_id, number)
    first_us, last_us = connection.execute(f"SELECT min(ts_us), max(ts_us) FROM {others}").fetchone()
    if first_us is not None:
        tally.reach(format_timestamp(first_us), format_timestamp(last_us))


def rows_to_read(kinds: Collection[str], doubtful: Doubtful) -> str:
    """The condition on the rows that `add_numbers` left out."""
    condition = f"coalesce({_to_read(kinds)}, true)"
    if doubtful:
        listed = ", ".join(f"({literal(writer)}, {piece})" for writer, piece in doubtful)
        condition += f" OR (writer, {PIECE}) IN ({listed})"
    return f"({condition})"


def _to_read(kinds: Collection[str]) -> str:
    """Damaged lines, those that are kept as they stand, and events of these kinds; NULL counts as true."""
    if not kinds:
        return "(event_type IS NULL OR raw IS NOT NULL)"
    listed = ", ".join(map(literal, sorted(kinds)))
    return f"(event_type IS NULL OR raw IS NOT NULL OR event_type IN ({listed}))"
