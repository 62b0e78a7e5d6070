"""Many files of many writers as one sequence in order, with flat memory and hardly a descriptor.

The segments of one stem and writer are a chain, nearly in order as it stands; chains are merged.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from Agent.event.model import Event
from Agent.tree.files.lines import (
    Inode,
    LineDecoder,
    OrderKey,
    RawLine,
    event_key,
    first_id,
    line_key,
    read_lines,
)
from Agent.tree.layout import parse_file_name, stem_files
from Agent.tree.read.archive_seam import ColdLines
from Agent.tree.write.rotation import numbered

__all__ = ["FileSequence", "chains_of", "first_event", "merged_lines"]

_MEMORY_BYTES: Final = 16 * 1024 * 1024
_MEMORY_LINES: Final = 32 * 1024
# a segment may be rolled a few times while it is read
_ROLLS_AHEAD: Final = 64

Ordered = tuple[OrderKey, int, RawLine, Event | None]


@dataclass(frozen=True, slots=True)
class FileSequence:
    """The files of one stem by one writer: rolled segments in ascending order, and the live name."""

    live: Path
    numbers: tuple[int, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of each chain may be in memory."""

    chunk_bytes: int
    held_bytes: int
    lines: int

    @classmethod
    def of(cls, chains: int) -> Self:
        share_bytes = _MEMORY_BYTES // max(chains, 1)
        return cls(
            chunk_bytes=min(max(share_bytes, 8 * 1024), 256 * 1024),
            held_bytes=max(share_bytes, 8 * 1024),
            lines=min(max(_MEMORY_LINES // max(chains, 1), 16), 2048),
        )


def chains_of(paths: Iterable[Path]) -> list[FileSequence]:
    """The chains that files belong to."""
    found: defaultdict[Path, list[tuple[float, Path]]] = defaultdict(list)
    for path in paths:
        name = parse_file_name(path.name)
        if name is not None:
            writer = "" if name.writer is None else f"@{name.writer}"
            order = float("inf") if name.segment is None else name.segment
            found[path.with_name(f"{name.stem}{writer}{path.suffix}")].append((order, path))
    return [
        FileSequence(
            live,
            tuple(int(order) for order, _ in sorted(files) if order != float("inf")),
            tuple(path for _, path in sorted(files)),
        )
        for live, files in found.items()
    ]


def first_event(chain: FileSequence, decoder: LineDecoder) -> Event | None:
    """The first event of a chain, reading no further."""
    for raw in _chain_lines(chain, 8 * 1024, decoder):
        event = decoder.decode(raw) if raw.complete else None
        if event is not None:
            return event
    return None


def merged_lines(
    chains: list[FileSequence],
    decoder: LineDecoder,
    is_unfinished: Callable[[RawLine], bool],
    cold: ColdLines | None = None,
    sequence: Iterator[RawLine] | None = None,
) -> Iterator[Ordered]:
    """The lines of all chains in order; an event that stood behind a torn line comes decoded.

    Within a chain, lines of different threads may stand a little out of order: they are sorted within a
    window of up to 2,048 lines. One that is later still comes late, never twice and never not at all.

    Args:
        chains: what to read.
        decoder: the one that decodes the lines afterwards.
        is_unfinished: whether a line without its newline may still get it, and so is left out.
        cold: where the lines of a chain's file are that is not there.
        sequence: further lines, in order.
    """
    room = _Room.of(len(chains) + (sequence is not None))
    gone = frozenset() if cold is None else frozenset(cold.files())
    ordered = [
        _in_order(_chain_lines(chain, room.chunk_bytes, decoder, cold, gone), room, decoder, is_unfinished)
        for chain in chains
    ]
    if sequence is not None:
        ordered.append(_in_order(sequence, room, decoder, is_unfinished))
    return ordered[0] if len(ordered) == 1 else heapq.merge(*ordered)


def _in_order(
    lines: Iterator[RawLine],
    room: _Room,
    decoder: LineDecoder,
    is_unfinished: Callable[[RawLine], bool],
) -> Iterator[Ordered]:
    held: list[Ordered] = []
    held_bytes = 0
    for serial, raw in enumerate(lines):
        if not raw.complete and is_unfinished(raw):
            continue
        key = line_key(raw.line) or decoder.key_of(raw.line)
        if key is None:
            # What stands behind a torn line is believed only if it was not read before, so that has to come
            # first.
            held.sort()
            yield from held
            held, held_bytes = [], 0
            event = decoder.decode(raw)
            if event is not None:
                yield event_key(event), serial, raw, event
            continue
        held.append((key, serial, raw, None))
        held_bytes += len(raw.line)
        if len(held) >= 2 * room.lines or held_bytes > room.held_bytes:
            held.sort()
            half = (len(held) + 1) // 2
            yield from held[:half]
            del held[:half]
            held_bytes = sum(len(raw.line) for _, _, raw, _ in held)
    held.sort()
    yield from held


def _chain_lines(
    chain: FileSequence,
    chunk_bytes: int,
    decoder: LineDecoder,
    cold: ColdLines | None = None,
    gone: frozenset[Path] = frozenset(),
) -> Iterator[RawLine]:
    """The lines of a chain, those of segments that are rolled meanwhile included."""
    last = 0
    done: dict[Inode, str | None] = {}
    began = _inode(chain.live)
    for number in chain.numbers:
        if cold is not None and numbered(chain.live, number) in gone:
            yield from cold.lines(numbered(chain.live, number))
        yield from _file_lines(numbered(chain.live, number), chain, number, chunk_bytes, decoder, done)
        last = number
    while True:
        following = _next_number(chain, last, began)
        if following is None:
            break
        # rolled since the files were listed; retention may have removed some of those since
        last = following
        yield from _file_lines(numbered(chain.live, last), chain, last, chunk_bytes, decoder, done)
    if cold is not None and chain.live in gone:
        yield from cold.lines(chain.live)
    yield from _file_lines(chain.live, chain, last, chunk_bytes, decoder, done)


def _file_lines(
    path: Path,
    chain: FileSequence,
    last: int,
    chunk_bytes: int,
    decoder: LineDecoder,
    done: dict[Inode, str | None],
) -> Iterator[RawLine]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return  # rolled, or removed by retention, which has said so before
    except OSError as error:
        decoder.damage.note_unreadable(path, (-1, hash(path)), error)
        return
    inode = (status.st_dev, status.st_ino)
    begins_with = first_id(path)
    # the inode of a segment that was removed is given to a new file
    if inode in done and done[inode] == begins_with:
        return
    done[inode] = begins_with
    try:
        for raw in read_lines(
            path, inode, chunk_bytes=chunk_bytes, find_again=lambda inode: _find_again(chain, last, inode)
        ):
            if raw.line:
                yield raw
    except FileNotFoundError:
        # removed by retention, which has said so before
        return
    except OSError as error:
        decoder.damage.note_unreadable(path, inode, error)


def _next_number(chain: FileSequence, last: int, began: Inode | None) -> int | None:
    """The number of the segment that was rolled after the last one read, None if there is none."""
    live, following = _inode(chain.live), _inode(numbered(chain.live, last + 1))
    if following is not None:
        return last + 1 if following != live else None
    if live == began:
        return None
    # the one in between may have been removed by retention
    stem = chain.live.stem.partition("@")[0]
    later = [
        number
        for same in chains_of(stem_files(chain.live.parent, stem, chain.live.suffix))
        if same.live == chain.live
        for number in same.numbers
        if number > last
    ]
    return min(later, default=None)


def _find_again(chain: FileSequence, last: int, inode: Inode) -> Path | None:
    for number in range(last + 1, last + _ROLLS_AHEAD):
        path = numbered(chain.live, number)
        if _inode(path) == inode:
            return path
    return None


def _inode(path: Path) -> Inode | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)
