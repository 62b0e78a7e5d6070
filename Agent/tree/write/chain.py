"""The chain of one writer: a digest of each block of its lines, and a hash tree over the blocks.

A thread makes blocks of what stands in the files, the end of the writer makes the last ones; no logging call
does. `.state/chain/<writer>.jsonl` gets a line for each block. `Agent.archive.chain_check`
compares.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, shake_128
from operator import add
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from Agent.event.clock import format_timestamp
from Agent.tree.files.descriptors import give_back, out_of_the_way
from Agent.tree.files.lines import Inode, id_of
from Agent.tree.files.segment import ErrorCounters
from Agent.tree.layout import (
    DIRECTORY_MODE,
    FILE_MODE,
    NO_FOLLOW,
    chain_file,
    chains_dir,
    entries_in,
    open_file,
)

BLOCK_LINES: Final = 64
"""How many lines a block holds that can be proved line by line."""
BLOCK_BYTES: Final = 256 * 1024
"""About how large a block is that is proved as a whole."""
FINE_BYTES: Final = 2 * 1024 * 1024
"""Where more than this came within a second its blocks are made of bytes, at a third of the cost."""
_AT_THE_END: Final = 4
"""How many times as much it may be at the end, which comes once."""
_ATTEMPTS_AT_THE_END: Final = 2
"""The counts of failures are written by then; what fails twice is what `verify` calls uncovered."""
_READ_BYTES: Final = 1024 * 1024
_INTERVAL_S: Final = 1.0
# what a file holds beyond its full blocks is covered this often
_ALL_EVERY_S: Final = 60.0
# looking for what has grown takes at most this part of the time
_SHARE: Final = 0.03
_BURST_S: Final = 0.0003
_PAUSE_S: Final = 0.001
_PATIENCE_S: Final = 10.0
_QUIET_S: Final = 5.0
_ENOUGH_BYTES: Final = BLOCK_LINES * 100
_SAVED_BYTES: Final = 64 * 1024
SALT_BYTES: Final = 16
VERSION: Final = 2
"""Of a chain whose digests are salted; its head covers that, and which blocks are proved as a whole."""
LINES, BYTES = "lines", "bytes"
_END: Final = b'{"end":true}\n'


class BlockState(NamedTuple):
    """What a block comes to: as it was written, or as an erasure left it."""

    size_bytes: int
    lines: int
    leaf: bytes
    seed: bytes = b""
    """What its salts are made of; an erasure removes it, so that nothing confirms a guess of a line."""
    left_salts: bytes = b""
    """The salts of the lines that an erasure left."""
    gone: tuple[tuple[int, bytes], ...] = ()
    """The places of erased lines, and their salted digests, with which the leaf is computed again."""

    def salts(self) -> bytes:
        """The salts of its lines, one after another; empty where its digests have none."""
        return self.left_salts or salts_of(self.seed, self.lines)


@dataclass(slots=True)
class ChainBlock:
    """One block: `number` is its place in the tree of its writer, which has the leaf `written`."""

    number: int
    kind: str
    time: str
    written: BlockState
    was: BlockState | None = None
    """What it was before it became `now`, where that is not what was written."""
    now: BlockState | None = None
    """What an erasure made of it."""
    why: str | None = None


@dataclass(slots=True)
class FileChain:
    """The blocks of one file, in order; it is found again by `first_id`, the id on its first line."""

    writer: str
    index: int
    file: str
    first_id: str | None
    blocks: list[ChainBlock] = field(default_factory=list)


@dataclass(slots=True)
class WriterChain:
    """The chain of one writer as it stands on the disk."""

    writer: str
    files: dict[int, FileChain] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)
    ended: bool = False
    """Whether the writer ended, and everything that it wrote is in a block."""
    problem: str | None = None
    """What is wrong with the chain's own file; `leaves` end there."""
    version: int = VERSION
    """1: its digests have no salts."""

    def head(self, count: int | None = None) -> str:
        """The head over all its blocks, or over the first of them."""
        leaves = self.leaves[:count]
        root = root_of(leaves)
        return head_text(
            self.writer, len(leaves), salted_root(root) if leaves and self.version == VERSION else root
        )

    def path(self, block: ChainBlock) -> list[tuple[Literal["left", "right"], bytes]]:
        """What leads from the leaf of a block to the root in the head."""
        path = audit_path(self.leaves, block.number)
        if self.version == VERSION:
            path.append(("left", _SALTED))
            if block.kind == BYTES:
                path.insert(0, ("left", _WHOLE))
        return path


@dataclass(slots=True)
class _Place:
    """One file of the writer, and how far it is covered."""

    index: int
    path: Path
    is_rolled: bool = False
    offset: int = 0
    first_id: str | None = None
    enough_bytes: int = _ENOUGH_BYTES
    """How much has to stand behind it for a full block, as far as its lines so far tell."""
    told: Path | None = None
    """The name that the chain knows."""
    seen_bytes: int = 0
    """How much of it was last seen under its name."""
    missed: bool = False
    """Whether the last pass found no such file."""


class LineChain:
    """Covers what one writer has written.

    Args:
        session: the session's directory.
        writer: the writer's id.
        counts: where failures are counted.
        on_head: told (blocks, root) when blocks are in the chain's file.
        on_gone: told of a file that is no longer there; whether it goes on being written to.
    """

    def __init__(
        self,
        session: Path,
        writer: str,
        counts: ErrorCounters,
        on_head: Callable[[int, bytes], None],
        on_gone: Callable[[Inode], bool] | None = None,
    ) -> None:
        self._session = session
        self._writer = writer
        self._counts = counts
        self._on_head = on_head
        self._on_gone = on_gone
        self._places: dict[Inode, _Place] = {}
        self._next_index = itertools.count().__next__
        self._tree = Frontier()
        self._saved = (0, self._tree.root())
        # in one piece: each record of a list would be left between holes that the lines of a file made
        self._unsaved = bytearray()
        self._turn = threading.RLock()
        self._busy = False
        self._wanted = False
        self._ends = False
        """Whether the next pass is the last one."""
        self._ended = False
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._all_at_s = time.monotonic() + _ALL_EVERY_S

    def began(self, inode: Inode, path: Path) -> None:
        """Take note of a new file of this writer; with the first one the thread begins."""
        self._places[inode] = _Place(self._next_index(), path)
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="agent-trace-chain", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                return  # none can begin at the end of the interpreter; the end of the writer covers all

    def rolled(self, inode: Inode, path: Path) -> None:
        """Take note of the name of a full segment."""
        place = self._places.get(inode)
        if place is not None:
            place.path, place.is_rolled = path, True

    def let_go(self, inode: Inode) -> int:
        """Forget a file that is no longer there; how many bytes it held when it last was."""
        place = self._places.pop(inode, None)
        return 0 if place is None else place.seen_bytes

    def cover(self) -> str:
        """Make blocks of every whole line that stands in files now, and give the head over all of them."""
        self._wanted = True
        if self._turn.acquire(timeout=_PATIENCE_S):
            try:
                self._wanted = False
                self._pass(everything=True, background=False)
            finally:
                self._turn.release()
        return head_text(self._writer, *self._saved)

    def close(self, *, ended: bool) -> None:
        """Cover what is left, and end the thread.

        Args:
            ended: whether nothing can be written any more, which the chain then says.
        """
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout=_PATIENCE_S)
        for _ in range(_ATTEMPTS_AT_THE_END if ended else 1):
            self._ends = ended
            self.cover()
            if self._ended:
                return

    def _run(self) -> None:
        pause_s = _INTERVAL_S
        while not self._stopping.wait(pause_s):
            began = time.monotonic()
            with self._turn:
                everything = began >= self._all_at_s
                if everything:
                    self._all_at_s = began + _ALL_EVERY_S
                looked_s = self._pass(everything=everything, background=True)
            pause_s = max(_INTERVAL_S, looked_s / _SHARE)

    def _pass(self, *, everything: bool, background: bool) -> float:
        """Cover what has grown; how long looking for it took, in seconds."""
        if self._busy or self._ended:
            return 0.0  # a signal handler ends the program while its own thread is in here
        self._busy = True
        began = time.monotonic()
        looked_s = 0.0
        try:
            if self._unsaved:
                self._save()  # what a full disk refused: no more of it is held than one pass makes
            grown = self._grown(is_last=everything and not background)
            looked_s = time.monotonic() - began
            limit_bytes = FINE_BYTES if background else FINE_BYTES * _AT_THE_END
            is_fine = sum(size for _, _, size in grown) <= limit_bytes
            for inode, place, size in grown:
                if background and self._gives_way():
                    break
                if everything or size >= place.enough_bytes:
                    try:
                        self._cover_file(
                            inode, place, is_fine=is_fine, everything=everything, background=background
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
        except Exception as error:  # noqa: BLE001 - a value that has no room is no reason for the program to fail
            self._counts.add(f"chain:{type(error).__name__}")
        finally:
            self._busy = False
        return looked_s

    def _gives_way(self) -> bool:
        """Whether somebody waits for the thread to leave the rest to them."""
        return self._wanted or self._stopping.is_set()

    def _grown(self, *, is_last: bool) -> list[tuple[Inode, _Place, int]]:
        """The files that hold more than is covered, with the number of bytes."""
        found = []
        for inode, place in list(self._places.items()):
            try:
                status = os.lstat(place.path)
            except (FileNotFoundError, NotADirectoryError):
                if place.is_rolled:  # retention took it
                    self._places.pop(inode, None)
                else:
                    self._missed(inode, place, is_last=is_last)
                continue
            if (status.st_dev, status.st_ino) != inode:
                if not place.is_rolled:
                    self._missed(inode, place, is_last=is_last)
                continue
            place.missed, place.seen_bytes = False, status.st_size
            size = status.st_size - place.offset
            if size > 0:
                found.append((inode, place, size))
            elif place.is_rolled and time.time() - status.st_mtime > _QUIET_S:
                self._places.pop(inode, None)
        return found

    def _missed(self, inode: Inode, place: _Place, *, is_last: bool) -> None:
        """Tell of a file that is not there twice: at first it is being rolled, or its directory emptied."""
        if not place.missed and not is_last:
            place.missed = True
        elif self._on_gone is None or not self._on_gone(inode):
            self._places.pop(inode, None)

    def _cover_file(
        self, inode: Inode, place: _Place, *, is_fine: bool, everything: bool, background: bool
    ) -> None:
        path = place.path
        try:
            fd, status = open_file(path)
        except FileNotFoundError:
            return  # rolled or removed since; the next pass looks again
        found = (status.st_dev, status.st_ino)
        fd = out_of_the_way(fd)
        try:
            if found != inode:
                return
            for data, end, is_last in self._whole_lines(fd, place, status.st_size):
                if background and self._gives_way():
                    return
                if place.offset == 0:
                    place.first_id = id_of(data)
                if not is_fine:
                    blocks = _coarse_blocks(data, end)
                else:
                    lines = data[: end - 1].split(b"\n")
                    if is_last and not everything:
                        rest = len(lines) % BLOCK_LINES  # the last block waits until it is full
                        size = sum(map(len, lines[len(lines) - rest :])) + rest + len(data) - end
                        place.enough_bytes = size * BLOCK_LINES // max(rest, 1)
                        del lines[len(lines) - rest :]
                    blocks = _fine_blocks(lines)
                for state in self._paced(blocks) if is_fine and background else blocks:
                    self._add(place, path, LINES if is_fine else BYTES, state)
        finally:
            give_back(fd, found)

    def _whole_lines(self, fd: int, place: _Place, size_bytes: int) -> Iterator[tuple[bytes, int, bool]]:
        """What stands behind the covered lines, about a megabyte at a time.

        With where the last line ends, and whether the file ends there.
        """
        # A megabyte for each of thousands of small files finds no room among what the pass keeps of those
        # before it, so the heap would grow with every file.
        want_bytes = min(_READ_BYTES, max(size_bytes - place.offset, 0) + 1)
        while data := os.pread(fd, want_bytes, place.offset):
            end, is_last = data.rfind(b"\n") + 1, len(data) < want_bytes
            if end:
                yield data, end, is_last
            elif not is_last:
                want_bytes *= 2
                continue
            if is_last:
                return
            want_bytes = _READ_BYTES

    def _paced(self, blocks: Iterator[BlockState]) -> Iterator[BlockState]:
        """The same with pauses: without them each logging call would wait for this thread."""
        burst_began = time.perf_counter()
        for block in blocks:
            yield block
            if not self._stopping.is_set() and time.perf_counter() - burst_began > _BURST_S:
                time.sleep(_PAUSE_S)
                burst_began = time.perf_counter()

    def _add(self, place: _Place, path: Path, kind: str, state: BlockState) -> None:
        block = ChainBlock(self._tree.count, kind, format_timestamp(time.time_ns() // 1000), state)
        name = None if place.told == path else path.relative_to(self._session).as_posix()
        place.told = path
        self._unsaved += _record(block, place.index, name, place.first_id, VERSION)
        self._tree.add(tree_leaf(kind, state.leaf))
        place.offset += state.size_bytes

    def _save(self) -> None:
        """Append the blocks that are not in the chain's file yet; OSError if that is refused."""
        if not self._unsaved:
            return
        # without blocks, where only the end is told, there is nothing that could be salted
        root = self._tree.root()
        made = (self._tree.count, salted_root(root) if self._tree.count else root)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW
        chains_dir(self._session).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        fd = os.open(chain_file(self._session, self._writer), flags, FILE_MODE)
        fd = out_of_the_way(fd)
        status = os.fstat(fd)
        try:
            while self._unsaved:
                # a refusal half way goes on at that very byte the next time: nobody else appends here
                del self._unsaved[: os.write(fd, self._unsaved)]
        finally:
            give_back(fd, (status.st_dev, status.st_ino))
        self._saved = made
        self._on_head(*made)


def _fine_blocks(lines: list[bytes]) -> Iterator[BlockState]:
    for at in range(0, len(lines), BLOCK_LINES):
        part = lines[at : at + BLOCK_LINES]
        seed = os.urandom(SALT_BYTES)
        leaf = leaf_of_lines(part, salts_of(seed, len(part)))
        yield BlockState(sum(map(len, part)) + len(part), len(part), leaf, seed)


def _coarse_blocks(data: bytes, end: int) -> Iterator[BlockState]:
    at, whole = 0, memoryview(data)
    while at < end:
        begin, most = at, min(at + BLOCK_BYTES, end)
        at = data.rfind(b"\n", begin, most) + 1 or data.find(b"\n", begin) + 1
        seed = os.urandom(SALT_BYTES)
        leaf = leaf_of_bytes(whole[begin:at], seed)
        yield BlockState(at - begin, data.count(b"\n", begin, at), leaf, seed)


def read_chains(session: Path) -> dict[str, WriterChain]:
    """The chains of a session by writer; empty where it has none."""
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
    left = _left_from if is_salted and kind == LINES else lambda other, _: _state_from(other)
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


def _left_from(stored: dict[str, Any], written: BlockState) -> BlockState:
    """What an erasure left of salted lines: it has the leaf that was written, or it is an edit."""
    state = _state_from({**stored, "leaf": written.leaf.hex()})
    gone = tuple((place, bytes.fromhex(digest)) for place, digest in stored.get("gone", ()))
    if any(place not in range(written.lines) or len(digest) != 32 for place, digest in gone):
        raise ValueError("an erased line without a place or a digest")
    return state._replace(left_salts=_salts_in(stored, "salts", state.lines), gone=gone)


def _salts_in(stored: dict[str, Any], key: str, count: int) -> bytes:
    salts = bytes.fromhex(stored.get(key, ""))
    if len(salts) not in {0, SALT_BYTES * count}:
        raise ValueError(f"{key} of another length")
    return salts


def write_chain(chain: WriterChain) -> bytes:
    """The file of a chain, as an erasure leaves it."""
    told: set[int] = set()
    records: list[bytes] = []
    pairs = ((block, file) for file in chain.files.values() for block in file.blocks)
    for block, file in sorted(pairs, key=lambda pair: pair[0].number):
        name = None if file.index in told else file.file
        told.add(file.index)
        records.append(_record(block, file.index, name, file.first_id, chain.version))
    return b"".join(records) + (_END if chain.ended else b"")


def _record(block: ChainBlock, index: int, name: str | None, first_id: str | None, version: int) -> bytes:
    """The line of a block; the name and the first id of its file where the name is given."""
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
    """The salts of the lines of a block; none of them tells anything of another one or of the seed."""
    return shake_128(seed).digest(SALT_BYTES * lines) if seed else b""


def digests_of_lines(
    lines: Sequence[bytes], salts: bytes = b"", gone: Iterable[tuple[int, bytes]] = ()
) -> list[bytes]:
    """The digests of the lines of a block without newlines, with those of erased lines in their places."""
    if salts:
        each = struct.unpack(f"{SALT_BYTES}s" * (len(salts) // SALT_BYTES), salts)
        digests = [hasher.digest() for hasher in map(sha256, map(add, each, lines))]
    else:
        digests = [sha256(line).digest() for line in lines]
    for place, digest in gone:
        digests.insert(place, digest)
    return digests


def leaf_of_lines(
    lines: Sequence[bytes], salts: bytes = b"", gone: Iterable[tuple[int, bytes]] = ()
) -> bytes:
    """The leaf of a block whose lines can be proved one by one, made of their digests."""
    digests = digests_of_lines(lines, salts, gone)
    return sha256((_SALTED_LINES if salts else _LINES) + b"".join(digests)).digest()


def leaf_of_bytes(block: bytes | memoryview, seed: bytes = b"") -> bytes:
    """The leaf of a block that is proved as a whole; the interpreter lock is free while it is made."""
    hasher = sha256(_SALTED_BYTES + seed if seed else _BYTES)
    hasher.update(block)
    return hasher.digest()


def tree_leaf(kind: str, leaf: bytes) -> bytes:
    """The leaf of a salted block in the tree, which covers its kind: parts of a whole block have no check."""
    return _node(_WHOLE, leaf) if kind == BYTES else leaf


def salted_root(root: bytes) -> bytes:
    """The root in the head of a salted chain, which can therefore not be passed off as an older one."""
    return _node(_SALTED, root)


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


class Frontier:
    """The root of leaves that come one after another, of which only whole subtrees are kept."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.count = 0
        self._subtrees: list[tuple[int, bytes]] = []
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Take the next leaf."""
        self.count += 1
        size = 1
        while self._subtrees and self._subtrees[-1][0] == size:
            leaf = _node(self._subtrees.pop()[1], leaf)
            size *= 2
        self._subtrees.append((size, leaf))

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._subtrees:
            return sha256(b"").digest()
        root = self._subtrees[-1][1]
        for _, left in reversed(self._subtrees[:-1]):
            root = _node(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over some leaves."""
    return Frontier(leaves).root()


def audit_path(leaves: Sequence[bytes], index: int) -> list[tuple[Literal["left", "right"], bytes]]:
    """What leads from a leaf to the root: on which side the next digest stands, and the digest."""
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
    """The head of one writer: its id, how many blocks, and the root over them."""
    return f"{writer}:{count}:{root.hex()}"


def session_head(heads: Iterable[str]) -> str:
    """The head of a session: one digest over the heads of its writers."""
    return sha256("\n".join(sorted(heads)).encode()).hexdigest()
