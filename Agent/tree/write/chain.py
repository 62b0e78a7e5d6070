"""The chain of one writer: a digest of each block of its lines, and a hash tree over the blocks.

A background thread digests new lines in blocks, and closing the writer digests the rest; logging calls never
do. `.state/chain/<writer>.jsonl` has one line per block. `Agent.archive.chain_check` compares it with the
files.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, shake_128
from operator import add, itemgetter
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from Agent.event.background_threads import BackgroundThread
from Agent.event.clock import format_timestamp
from Agent.event.system_clock import SystemClock
from Agent.tree.files.descriptors import give_back, out_of_the_way
from Agent.tree.files.lines import Inode, id_of
from Agent.tree.files.segment import ErrorCounters
from Agent.tree.layout import (
    NO_FOLLOW,
    chain_file,
    chains_dir,
    entries_in,
    make_private,
    open_file,
    open_private,
)

BLOCK_LINES: Final = 64
"""Number of lines in a block whose lines can be proved one by one."""
BLOCK_BYTES: Final = 256 * 1024
"""Approximate size of a block that is proved as a whole."""
FINE_BYTES: Final = 2 * 1024 * 1024
"""If a pass finds more new bytes than this, it makes blocks of bytes, at 1/3 of the cost."""
_WAITING_BYTES: Final = 32 * 1024 * 1024
"""In such a pass a file waits for a whole block, so that hundreds of files are not opened each second, while
all of them together have fewer new bytes than this; digesting these takes about 0.1 s at the end."""
_AT_THE_END: Final = 4
"""Factor on `FINE_BYTES` for passes outside the background thread, such as the last one."""
_ATTEMPTS_AT_THE_END: Final = 2
"""After two failed attempts the rest stays uncovered, which `verify` reports."""
_READ_BYTES: Final = 1024 * 1024
_INTERVAL_S: Final = 1.0
# how often lines that do not fill a block are covered, too
_ALL_EVERY_S: Final = 60.0
# checking which files have grown takes at most 3% of the time
_SHARE: Final = 0.03
_BURST_S: Final = 0.0003
_PAUSE_S: Final = 0.001
_PATIENCE_S: Final = 10.0
_QUIET_S: Final = 5.0
_ENOUGH_BYTES: Final = BLOCK_LINES * 100
_SAVED_BYTES: Final = 64 * 1024
SALT_BYTES: Final = 16
VERSION: Final = 2
"""Version with salted digests; the head covers the version and the kind of each block."""
LINES, BYTES = "lines", "bytes"
_END: Final = b'{"end":true}\n'


class BlockState(NamedTuple):
    """Size, lines and digest of a block: as written, or after an erasure."""

    size_bytes: int
    lines: int
    leaf: bytes
    seed: bytes = b""
    """Seed of the salts; an erasure removes it, so that a guess of an erased line cannot be confirmed."""
    left_salts: bytes = b""
    """The salts of the lines that remain after an erasure."""
    gone: tuple[tuple[int, bytes], ...] = ()
    """(place, salted digest) of erased lines, needed to recompute the leaf."""

    def salts(self) -> bytes:
        """Return the salts of its lines, concatenated; empty if its digests are not salted."""
        return self.left_salts or salts_of(self.seed, self.lines)


@dataclass(slots=True)
class ChainBlock:
    """One block: `number` is its place in the writer's tree, whose leaf there is that of `written`."""

    number: int
    kind: str
    time: str
    written: BlockState
    was: BlockState | None = None
    """Its state before the last erasure, if that differs from `written`."""
    now: BlockState | None = None
    """Its state after an erasure; None if nothing was erased."""
    why: str | None = None


@dataclass(slots=True)
class FileChain:
    """The blocks of one file, in order; `first_id`, the id on its first line, identifies the file."""

    writer: str
    index: int
    file: str
    first_id: str | None
    blocks: list[ChainBlock] = field(default_factory=list)


@dataclass(slots=True)
class WriterChain:
    """The chain of one writer, as read from disk."""

    writer: str
    files: dict[int, FileChain] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)
    ended: bool = False
    """Whether the writer ended and every line that it wrote is in a block."""
    problem: str | None = None
    """Damage of the chain's file; `leaves` end there."""
    version: int = VERSION
    """Version 1 has unsalted digests."""

    def head(self, count: int | None = None) -> str:
        """Return the head over all blocks, or over the first `count`."""
        leaves = self.leaves[:count]
        root = root_of(leaves)
        return head_text(
            self.writer, len(leaves), salted_root(root) if leaves and self.version == VERSION else root
        )

    def path(self, block: ChainBlock) -> list[tuple[Literal["left", "right"], bytes]]:
        """Return the audit path from the leaf of a block to the root in the head."""
        path = audit_path(self.leaves, block.number)
        if self.version == VERSION:
            path.append(("left", _SALTED))
            if block.kind == BYTES:
                path.insert(0, ("left", _WHOLE))
        return path


@dataclass(slots=True)
class _CoveredFile:
    """One file of the writer, and the offset up to which it is covered."""

    index: int
    path: str
    is_rolled: bool = False
    offset: int = 0
    first_id: str | None = None
    enough_bytes: int = 0
    """Estimated size of a full block, from the lines so far; a pass waits for as many new bytes.

    0 before it was read: then the estimate is that of the file that was read last."""
    recorded_path: str | None = None
    """The path that was last written to the chain."""
    seen_bytes: int = 0
    """The size when it was last seen under its name."""
    missed: bool = False
    """Whether the last pass did not find the file."""


class LineChain:
    """Covers the lines of one writer with blocks.

    Args:
        session: the session's directory.
        writer: the writer's id.
        counts: counts failures.
        on_head: called with (blocks, root) after blocks were saved to the chain's file.
        on_missing: called for a file that is missing; returns whether it is still written to.
    """

    def __init__(
        self,
        session: Path,
        writer: str,
        counts: ErrorCounters,
        on_head: Callable[[int, bytes], None],
        on_missing: Callable[[Inode], bool] | None = None,
    ) -> None:
        self._session = session
        self._writer = writer
        self._counts = counts
        self._on_head = on_head
        self._on_missing = on_missing
        self._files: dict[Inode, _CoveredFile] = {}
        self._next_index = itertools.count().__next__
        self._tree = Frontier()
        self._saved = (0, self._tree.root())
        # one buffer instead of a list: many small records between larger freed blocks fragment the heap
        self._unsaved = bytearray()
        self._turn = threading.RLock()
        self._busy = False
        self._wanted = False
        self._ends = False
        """Whether the next pass is the last."""
        self._ended = False
        self._thread: BackgroundThread | None = None
        self._stopping = threading.Event()
        self._all_at_s = SystemClock.monotonic_s() + _ALL_EVERY_S
        self._enough_bytes = _ENOUGH_BYTES
        """The estimate of the file that was read last: hundreds of files are not opened to find it again."""

    def began(self, inode: Inode, path: str) -> None:
        """Register a new file of this writer; the first one starts the thread."""
        self._files[inode] = _CoveredFile(self._next_index(), path)
        if self._thread is None and not self._stopping.is_set():
            self._thread = BackgroundThread(self._run, "agent-trace-chain")
            try:
                self._thread.start()
            except RuntimeError:
                return  # no thread can start at interpreter exit; closing the writer covers all lines

    def rolled(self, inode: Inode, path: str) -> None:
        """Register the new name of a rolled segment."""
        position = self._files.get(inode)
        if position is not None:
            position.path, position.is_rolled = path, True

    def let_go(self, inode: Inode) -> int:
        """Forget a removed file; returns its size in bytes when it was last seen."""
        position = self._files.pop(inode, None)
        return 0 if position is None else position.seen_bytes

    def cover(self) -> str:
        """Cover every complete line that is in files now, and return the head."""
        self._wanted = True
        if self._turn.acquire(timeout=_PATIENCE_S):
            try:
                self._wanted = False
                self._pass(everything=True, background=False)
            finally:
                self._turn.release()
        return head_text(self._writer, *self._saved)

    def close(self, *, ended: bool) -> None:
        """Cover the rest, and end the thread.

        Args:
            ended: whether no more lines can be written; the chain then records its end.
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=_PATIENCE_S)
        for _ in range(_ATTEMPTS_AT_THE_END if ended else 1):
            self._ends = ended
            self.cover()
            if self._ended:
                return

    def _run(self) -> None:
        pause_s = _INTERVAL_S
        while not self._stopping.wait(pause_s):
            began = SystemClock.monotonic_s()
            with self._turn:
                everything = began >= self._all_at_s
                if everything:
                    self._all_at_s = began + _ALL_EVERY_S
                looked_s = self._pass(everything=everything, background=True)
            pause_s = max(_INTERVAL_S, looked_s / _SHARE)

    def _pass(self, *, everything: bool, background: bool) -> float:
        """Cover new lines; returns how long finding them took, in seconds."""
        if self._busy or self._ended:
            return 0.0  # re-entered from a signal handler that ends the program during a pass
        self._busy = True
        began = SystemClock.monotonic_s()
        looked_s = 0.0
        try:
            if self._unsaved:
                self._save()  # after a full disk, retry first, so that at most one pass is held in memory
            grown = self._grown(is_last=everything and not background)
            looked_s = SystemClock.monotonic_s() - began
            limit_bytes = FINE_BYTES if background else FINE_BYTES * _AT_THE_END
            waiting_bytes = sum(size for _, _, size in grown)
            is_fine = waiting_bytes <= limit_bytes
            if not is_fine:
                grown.sort(key=itemgetter(2), reverse=True)
            for inode, position, size in grown:
                if background and self._has_waiting_caller():
                    break
                if is_fine:
                    is_enough = size >= (position.enough_bytes or self._enough_bytes)
                else:
                    is_enough = size >= BLOCK_BYTES or waiting_bytes > _WAITING_BYTES
                if everything or is_enough:
                    waiting_bytes -= size
                    try:
                        self._cover_file(
                            inode, position, is_fine=is_fine, everything=everything, background=background
                        )
                    except OSError as error:
                        self._counts.fail("chain", error)
                        self._ends = False
                if len(self._unsaved) >= _SAVED_BYTES:
                    self._save()
            if self._ends:
                self._unsaved += _END
            self._save()
            self._ended = self._ends
        except OSError as error:
            self._counts.fail("chain", error)
        except Exception as error:  # noqa: BLE001 - a failure such as MemoryError must not reach the program
            self._counts.add(f"chain:{type(error).__name__}")
        finally:
            self._busy = False
        return looked_s

    def _has_waiting_caller(self) -> bool:
        """Return whether another thread waits to cover the rest."""
        return self._wanted or self._stopping.is_set()

    def _grown(self, *, is_last: bool) -> list[tuple[Inode, _CoveredFile, int]]:
        """Return the files with uncovered bytes, and how many."""
        grown = []
        for inode, position in list(self._files.items()):
            try:
                status = os.lstat(position.path)
            except (FileNotFoundError, NotADirectoryError):
                if position.is_rolled:  # removed by retention
                    self._files.pop(inode, None)
                else:
                    self._missed(inode, position, is_last=is_last)
                continue
            if (status.st_dev, status.st_ino) != inode:
                if not position.is_rolled:
                    self._missed(inode, position, is_last=is_last)
                continue
            position.missed, position.seen_bytes = False, status.st_size
            size = status.st_size - position.offset
            if size > 0:
                grown.append((inode, position, size))
            elif position.is_rolled and SystemClock.wall_ns() / 1e9 - status.st_mtime > _QUIET_S:
                self._files.pop(inode, None)
        return grown

    def _missed(self, inode: Inode, position: _CoveredFile, *, is_last: bool) -> None:
        """Report a file as removed when it is missing twice, since once can be a roll in progress."""
        if not position.missed and not is_last:
            position.missed = True
        elif self._on_missing is None or not self._on_missing(inode):
            self._files.pop(inode, None)

    def _cover_file(
        self, inode: Inode, position: _CoveredFile, *, is_fine: bool, everything: bool, background: bool
    ) -> None:
        try:
            fd, status = open_file(position.path)
        except FileNotFoundError:
            return  # rolled or removed in between; the next pass checks again
        inode_now = (status.st_dev, status.st_ino)
        fd = out_of_the_way(fd)
        try:
            if inode_now != inode:
                return
            for data, end, is_last in self._whole_lines(fd, position, status.st_size):
                if background and self._has_waiting_caller():
                    return
                if position.offset == 0:
                    position.first_id = id_of(data)
                if not is_fine:
                    blocks = _coarse_blocks(data, end)
                else:
                    lines = data[: end - 1].split(b"\n")
                    if is_last and not everything:
                        incomplete = (
                            len(lines) % BLOCK_LINES
                        )  # lines of an incomplete block wait for the next pass
                        size = sum(map(len, lines[len(lines) - incomplete :])) + incomplete + len(data) - end
                        position.enough_bytes = size * BLOCK_LINES // max(incomplete, 1)
                        self._enough_bytes = min(position.enough_bytes or self._enough_bytes, BLOCK_BYTES)
                        del lines[len(lines) - incomplete :]
                    blocks = _fine_blocks(lines)
                for state in self._paced(blocks) if is_fine and background else blocks:
                    self._add(position, LINES if is_fine else BYTES, state)
        finally:
            give_back(fd, inode_now)

    def _whole_lines(
        self, fd: int, position: _CoveredFile, size_bytes: int
    ) -> Iterator[tuple[bytes, int, bool]]:
        """Yield the bytes after the covered lines, about 1 MiB at a time.

        Each with the end of its last complete line, and whether the file ends there.
        """
        # Read no more than the file has: 1 MiB for each of thousands of small files would fragment the heap,
        # which would grow with every file.
        want_bytes = min(_READ_BYTES, max(size_bytes - position.offset, 0) + 1)
        while data := os.pread(fd, want_bytes, position.offset):
            # of lines written since the file was opened a part may have been read
            is_last = len(data) < want_bytes or position.offset + len(data) >= size_bytes
            end = data.rfind(b"\n") + 1
            if end:
                yield data, end, is_last
            elif not is_last:
                want_bytes *= 2
                continue
            if is_last:
                return
            want_bytes = _READ_BYTES

    def _paced(self, blocks: Iterator[BlockState]) -> Iterator[BlockState]:
        """Yield the blocks with pauses, so that logging calls need not wait for this thread."""
        burst_began = SystemClock.monotonic_s()
        for block in blocks:
            yield block
            if not self._stopping.is_set() and SystemClock.monotonic_s() - burst_began > _BURST_S:
                SystemClock.pause(_PAUSE_S)
                burst_began = SystemClock.monotonic_s()

    def _add(self, position: _CoveredFile, kind: str, state: BlockState) -> None:
        block = ChainBlock(self._tree.count, kind, format_timestamp(SystemClock.wall_ns() // 1000), state)
        name = None
        if position.recorded_path != position.path:
            name = position.path.removeprefix(f"{self._session}{os.sep}").replace(os.sep, "/")
        position.recorded_path = position.path
        self._unsaved += _record(block, position.index, name, position.first_id, VERSION)
        self._tree.add(tree_leaf(kind, state.leaf))
        position.offset += state.size_bytes

    def _save(self) -> None:
        """Append the unsaved blocks to the chain's file; OSError if that fails."""
        if not self._unsaved:
            return
        # a chain without blocks has only an end record and no salted root
        root = self._tree.root()
        head = (self._tree.count, salted_root(root) if self._tree.count else root)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW
        make_private(chains_dir(self._session), exist_ok=True)
        fd = open_private(chain_file(self._session, self._writer), flags)
        fd = out_of_the_way(fd)
        status = os.fstat(fd)
        try:
            while self._unsaved:
                # after an error the next save continues at this byte: no other process appends here
                del self._unsaved[: os.write(fd, self._unsaved)]
        finally:
            give_back(fd, (status.st_dev, status.st_ino))
        self._saved = head
        self._on_head(*head)


def _fine_blocks(lines: list[bytes]) -> Iterator[BlockState]:
    for at in range(0, len(lines), BLOCK_LINES):
        part = lines[at : at + BLOCK_LINES]
        seed = os.urandom(SALT_BYTES)
        leaf = leaf_of_lines(part, salts_of(seed, len(part)))
        yield BlockState(sum(map(len, part)) + len(part), len(part), leaf, seed)


def _coarse_blocks(data: bytes, end: int) -> Iterator[BlockState]:
    at, data_view = 0, memoryview(data)
    while at < end:
        begin, most = at, min(at + BLOCK_BYTES, end)
        at = data.rfind(b"\n", begin, most) + 1 or data.find(b"\n", begin) + 1
        seed = os.urandom(SALT_BYTES)
        leaf = leaf_of_bytes(data_view[begin:at], seed)
        yield BlockState(at - begin, data.count(b"\n", begin, at), leaf, seed)


def read_chains(session: Path) -> dict[str, WriterChain]:
    """Read the chains of a session, by writer."""
    return {path.stem: _read_chain(path) for path in entries_in(chains_dir(session), ".jsonl")}


def _read_chain(path: Path) -> WriterChain:
    chain = WriterChain(path.stem)
    try:
        fd, _ = open_file(path)
        with os.fdopen(fd, "rb") as file:
            data = file.read()
    except OSError as error:
        chain.problem = f"it cannot be read: {error.strerror or error}"
        return chain
    # a kill may have left the beginning of a line
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            _take(chain, orjson.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            chain.problem = f"line {number} differs from what was written: {error}"
            break
    return chain


def _take(chain: WriterChain, stored: dict[str, Any]) -> None:
    if chain.ended:
        raise ValueError("it had ended")
    if stored.get("end") is True:
        chain.ended = True
        return
    if stored["n"] != len(chain.leaves):
        raise ValueError(f"block {len(chain.leaves)} is expected there")
    if stored["n"] == 0:
        chain.version = stored.get("v", 1)
        if chain.version not in {1, VERSION}:
            raise ValueError(f"it is of version {chain.version!r}")
    index, kind, is_salted = stored["f"], str(stored["of"]), chain.version == VERSION
    if kind not in {LINES, BYTES}:
        raise ValueError(f"a block of {kind!r}")
    written = _state_from(stored)
    if is_salted:
        written = written._replace(seed=_salts_in(stored, "seed", 1))
    block = ChainBlock(stored["n"], kind, str(stored["time"]), written)
    left = _erased_state if is_salted and kind == LINES else lambda other, _: _state_from(other)
    block.was, block.now = (
        None if stored.get(name) is None else left(stored[name], written) for name in ("was", "now")
    )
    block.why = stored.get("why")
    if "file" in stored:
        first_id = stored["first"]
        file = chain.files.setdefault(index, FileChain(chain.writer, index, "", None))
        file.file, file.first_id = str(stored["file"]), None if first_id is None else str(first_id)
    chain.files[index].blocks.append(block)
    chain.leaves.append(tree_leaf(kind, written.leaf) if is_salted else written.leaf)


def _state_from(stored: dict[str, Any]) -> BlockState:
    size_bytes, lines, leaf = stored["size"], stored["lines"], bytes.fromhex(stored["leaf"])
    if not 0 <= lines <= size_bytes or len(leaf) != 32:
        raise ValueError("a block without a size or a digest")
    return BlockState(size_bytes, lines, leaf)


def _erased_state(stored: dict[str, Any], written: BlockState) -> BlockState:
    """Read the state after an erasure of salted lines; its leaf must equal the written one."""
    state = _state_from({**stored, "leaf": written.leaf.hex()})
    erased = tuple((place, bytes.fromhex(digest)) for place, digest in stored.get("gone", ()))
    if any(place not in range(written.lines) or len(digest) != 32 for place, digest in erased):
        raise ValueError("an erased line without a place or a digest")
    return state._replace(left_salts=_salts_in(stored, "salts", state.lines), gone=erased)


def _salts_in(stored: dict[str, Any], key: str, count: int) -> bytes:
    salts = bytes.fromhex(stored.get(key, ""))
    if len(salts) not in {0, SALT_BYTES * count}:
        raise ValueError(f"{key} of another length")
    return salts


def write_chain(chain: WriterChain) -> bytes:
    """Return the bytes of a chain's file after an erasure."""
    named: set[int] = set()
    records: list[bytes] = []
    pairs = ((block, file) for file in chain.files.values() for block in file.blocks)
    for block, file in sorted(pairs, key=lambda pair: pair[0].number):
        name = None if file.index in named else file.file
        named.add(file.index)
        records.append(_record(block, file.index, name, file.first_id, chain.version))
    return b"".join(records) + (_END if chain.ended else b"")


def _record(block: ChainBlock, index: int, name: str | None, first_id: str | None, version: int) -> bytes:
    """Return the line of a block, with the name and first id of its file if the name is given."""
    record: dict[str, Any] = {"n": block.number, "f": index}
    if block.number == 0 and version != 1:
        record["v"] = version
    if name is not None:
        record |= {"file": name, "first": first_id}
    record |= {"of": block.kind, "time": block.time, **_state_object(block.written)}
    for key, state in (("was", block.was), ("now", block.now)):
        if state is not None:
            record[key] = _state_object(state)
    if block.why is not None:
        record["why"] = block.why
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _state_object(state: BlockState) -> dict[str, Any]:
    stored: dict[str, Any] = {"size": state.size_bytes, "lines": state.lines, "leaf": state.leaf.hex()}
    if state.seed:
        stored["seed"] = state.seed.hex()
    if state.left_salts:
        stored["salts"] = state.left_salts.hex()
        stored["gone"] = [(place, digest.hex()) for place, digest in state.gone]
    return stored


_LINES, _NODE, _BYTES, _SALTED_LINES, _SALTED_BYTES = b"\0", b"\1", b"\2", b"\3", b"\4"
_WHOLE, _SALTED = sha256(b"whole").digest(), sha256(b"salted").digest()


def salts_of(seed: bytes, lines: int) -> bytes:
    """Return the salts of a block's lines; one salt reveals neither another nor the seed."""
    return shake_128(seed).digest(SALT_BYTES * lines) if seed else b""


def digests_of_lines(
    lines: Sequence[bytes], salts: bytes = b"", erased: Iterable[tuple[int, bytes]] = ()
) -> list[bytes]:
    """Return the digests of a block's lines (without newlines), with those of erased lines in place."""
    if salts:
        each = struct.unpack(f"{SALT_BYTES}s" * (len(salts) // SALT_BYTES), salts)
        digests = [hasher.digest() for hasher in map(sha256, map(add, each, lines))]
    else:
        digests = [sha256(line).digest() for line in lines]
    for position, digest in erased:
        digests.insert(position, digest)
    return digests


def leaf_of_lines(
    lines: Sequence[bytes], salts: bytes = b"", erased: Iterable[tuple[int, bytes]] = ()
) -> bytes:
    """Return the leaf of a block whose lines can be proved one by one, computed from their digests."""
    digests = digests_of_lines(lines, salts, erased)
    return sha256((_SALTED_LINES if salts else _LINES) + b"".join(digests)).digest()


def leaf_of_bytes(block: bytes | memoryview, seed: bytes = b"") -> bytes:
    """Return the leaf of a block that is proved as a whole; hashing releases the GIL."""
    hasher = sha256(_SALTED_BYTES + seed if seed else _BYTES)
    hasher.update(block)
    return hasher.digest()


def tree_leaf(kind: str, leaf: bytes) -> bytes:
    """Return a salted block's leaf in the tree, which covers its kind: a BYTES block has no line proofs."""
    return _node(_WHOLE, leaf) if kind == BYTES else leaf


def salted_root(root: bytes) -> bytes:
    """Return the root in the head of a salted chain; it differs from that of an unsalted chain."""
    return _node(_SALTED, root)


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


class Frontier:
    """Computes the root of a growing list of leaves, keeping only the roots of complete subtrees."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.count = 0
        self._subtrees: list[tuple[int, bytes]] = []
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Add the next leaf."""
        self.count += 1
        size = 1
        while self._subtrees and self._subtrees[-1][0] == size:
            leaf = _node(self._subtrees.pop()[1], leaf)
            size *= 2
        self._subtrees.append((size, leaf))

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._subtrees:
            return sha256(b"").digest()
        root = self._subtrees[-1][1]
        for _, left in reversed(self._subtrees[:-1]):
            root = _node(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over a list of leaves."""
    return Frontier(leaves).root()


def audit_path(leaves: Sequence[bytes], index: int) -> list[tuple[Literal["left", "right"], bytes]]:
    """Return the audit path from a leaf to the root: (side of the sibling, its digest) per level."""
    path: list[tuple[Literal["left", "right"], bytes]] = []
    begin, end = 0, len(leaves)
    while end - begin > 1:
        middle = begin + (1 << (end - begin - 1).bit_length() - 1)
        if index < middle:
            path.append(("right", root_of(leaves[middle:end])))
            end = middle
        else:
            path.append(("left", root_of(leaves[begin:middle])))
            begin = middle
    return path[::-1]


def head_text(writer: str, count: int, root: bytes) -> str:
    """Return the head of one writer: its id, the number of blocks, and the root over them."""
    return f"{writer}:{count}:{root.hex()}"


def session_head(heads: Iterable[str]) -> str:
    """Return the head of a session: one digest over the heads of its writers."""
    return sha256("\n".join(sorted(heads)).encode()).hexdigest()
