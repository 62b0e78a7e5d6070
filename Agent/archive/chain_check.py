"""Compares a session's lines with the chains of its writers: names edited blocks, proves single events.

Lines removed by policy are explained by the account of retired numbers, erased lines by the records of the
erasure in the chain, and sealed lines are read from the archive.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.archive.sealed.parts import Part, is_retired, read_parts, segments_only_archived
from Agent.archive.sealed.reader import file_lines, open_connection
from Agent.errors import DamagedInput, InputError, UsageError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.tree.files.lines import MAX_LINE_BYTES, first_id, id_of
from Agent.tree.files.session import open_session, read_claims, replace_durably
from Agent.tree.layout import (
    boards_dir,
    chain_file,
    chains_dir,
    entries_in,
    open_file,
    parse_file_name,
    read_file,
    segment_order,
    tree_files,
)
from Agent.tree.read.removal_logs import ERASED, read_account
from Agent.tree.write.chain import (
    LINES,
    SALT_BYTES,
    BlockState,
    ChainBlock,
    FileChain,
    WriterChain,
    digests_of_lines,
    head_text,
    leaf_of_bytes,
    leaf_of_lines,
    read_chains,
    session_head,
    write_chain,
)
from Agent.tree.write.crash_board import read_board


@dataclass(frozen=True, slots=True)
class Edit:
    """A difference from what was written: the first differing block of a file."""

    file: str
    problem: str
    first_line: int | None = None
    last_line: int | None = None
    time: str | None = None
    """When the block was written."""
    block: str | None = None
    """`writer:number`."""
    further: int = 0
    """How many later blocks of the file differ as well."""

    def __str__(self) -> str:
        lines = f" lines {self.first_line:,} to {self.last_line:,}" if self.first_line is not None else ""
        block = f" (block {self.block} of {self.time})" if self.block is not None else ""
        further = f", and {self.further:,} later blocks" if self.further else ""
        return f"{self.file}{lines}: {self.problem}{block}{further}"


@dataclass(frozen=True, slots=True)
class ChainGap:
    """Blocks that can no longer be compared, and why: `erased` or `retired`."""

    file: str
    why: str
    blocks: int
    lines: int
    """How many lines were removed."""
    unchecked: int = 0
    """How many remaining lines can no longer be compared with the head."""


@dataclass(slots=True)
class ChainReport:
    """The result of comparing a session's lines with its chains."""

    heads: tuple[str, ...] = ()
    """`writer:blocks:root` of each writer."""
    blocks: int = 0
    lines: int = 0
    """Number of unchanged lines, without those of files with an edit."""
    uncovered: int = 0
    """Number of lines in no block: the last lines of a killed or running writer, writers without a chain."""
    edits: list[Edit] = field(default_factory=list)
    gaps: list[ChainGap] = field(default_factory=list)

    @property
    def head(self) -> str:
        """One digest over the heads of all writers."""
        return session_head(self.heads)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"head": self.head, **asdict(self), "heads": list(self.heads)}


_MOST_NEAR_BYTES: Final = 1 << 20


class ChainedFiles(ExitStack):
    """The files that the chains of a session cover, found as log files or in the archive.

    Raises:
        DamagedInput: the account of retired numbers, or a description in the archive, cannot be read.
    """

    def __init__(self, session: Path, chains: Mapping[str, WriterChain]) -> None:
        super().__init__()
        self._session = session
        self._account = read_account(session)
        self._sealed: dict[str, tuple[Part, str]] = {}
        self._connection: Any = None
        self._near: dict[tuple[Path, str], list[bytes]] = {}
        """Lines of one part, by file, which were read together."""
        self.first_ids: dict[str, str | None] = {}
        self._find_files()
        self._find_in_archive()
        self._find_files()  # restored from the archive in the meantime
        files = [file for chain in chains.values() for file in chain.files.values()]
        states = self._match_files(files)
        self.files = sorted(((file, states.get(id(file))) for file in files), key=self._order_in_archive)
        """(chain, name) of each file; the name is None if the file is missing."""

    def _find_files(self) -> None:
        for path in tree_files(self._session):
            name = path.relative_to(self._session).as_posix()
            if name not in self.first_ids:
                self.first_ids[name] = first_id(path)

    def _find_in_archive(self) -> None:
        """Find files that are only in the archive, under the names that they would be restored to."""
        for part, segment in segments_only_archived(self._session, read_parts(self._session)):
            name = segment.file
            if self.first_ids.get(name) not in {None, segment.first_id}:
                name = segment.beside or name  # another file that had this name
            self._sealed[name] = part, segment.file
            self.first_ids[name] = segment.first_id

    def _opened(self, name: str) -> int | None:
        """Open a file; None if it was sealed and removed in between."""
        try:
            return open_file(self._session / name)[0]
        except FileNotFoundError:
            self._find_in_archive()
            if name not in self._sealed:
                raise
            return None

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file with their newlines; OSError if it cannot be read."""
        fd = None if name in self._sealed else self._opened(name)
        if fd is not None:
            with os.fdopen(fd, "rb") as file:
                # a line longer than any event cannot match a digest, so its beginning is enough
                is_new = True
                while piece := file.readline(MAX_LINE_BYTES):
                    if is_new:
                        yield piece
                    is_new = piece.endswith(b"\n")
            return
        yield from self._lines_of_part(*self._sealed[name])

    def _order_in_archive(self, named: tuple[FileChain, str | None]) -> tuple[Path, str]:
        """Return a key by which files that are read together follow one another."""
        part, own_name = self._sealed.get(named[1] or "", (None, ""))
        return (Path() if part is None else part.parquet), own_name

    def _lines_of_part(self, part: Part, name: str) -> Iterable[bytes]:
        """Read a file of the archive and the small ones after it, since each query takes 10 ms."""
        if (part.parquet, name) not in self._near:
            if self._connection is None:
                self._connection = self.enter_context(open_connection(self._session))
            sizes = {segment.file: segment.size_bytes for segment in part.segments if segment.file >= name}
            totals = accumulate(sizes[file] for file in sorted(sizes))
            names = [
                file for file, total in zip(sorted(sizes), totals, strict=True) if total <= _MOST_NEAR_BYTES
            ]
            if name not in names:
                return (line + b"\n" for _, _, line in file_lines(self._connection, part, [name]))
            self._near = {(part.parquet, each): [] for each in names}
            for file, _, line in file_lines(self._connection, part, names):
                self._near[part.parquet, file].append(line + b"\n")
        return self._near[part.parquet, name]

    def reason_missing(self, file: FileChain) -> str | None:
        """Return why a file is missing: `erased` or `retired`; None if nothing explains it."""
        if all(block.now is not None and block.now.lines == 0 for block in file.blocks):
            return "erased"
        return "retired" if is_retired(file.first_id, self._account) else None

    def _match_files(self, files: Iterable[FileChain]) -> dict[int, str]:
        """The current name of each file, by `id` of its chain; missing files are left out."""
        by_id = {event_id: name for name, event_id in self.first_ids.items() if event_id is not None}
        by_inode: dict[int, str] = {}
        waiting: list[FileChain] = []
        for file in files:
            name = by_id.get(file.first_id or "")
            if name is not None and _stem(name) == _stem(file.file):
                by_inode[id(file)] = name
            elif self.reason_missing(file) is None:
                waiting.append(file)
        # Their first line changed: match them by name, else in the order of the segments.
        names = set(self.first_ids).difference(by_inode.values())
        free = dict.fromkeys(sorted(names, key=lambda name: (_order(name), name)))
        for file in [each for each in waiting if each.file in free]:
            by_inode[id(file)] = file.file
            del free[file.file]
        for file in [each for each in waiting if id(each) not in by_inode]:
            alike = next((name for name in free if _stem(name) == _stem(file.file)), None)
            if alike is not None:
                by_inode[id(file)] = alike
                del free[alike]
        return by_inode


def _stem(name: str) -> tuple[str, str]:
    directory, _, base = name.rpartition("/")
    parsed = parse_file_name(base)
    return directory, base if parsed is None else parsed.stem


def _order(name: str) -> tuple[str, str, float]:
    parsed = parse_file_name(name.rpartition("/")[2])
    return (name, "", 0.0) if parsed is None else segment_order(parsed)


def _states_of(file: FileChain) -> list[list[BlockState]]:
    """Return the possible states of a file's blocks, likeliest first; an erasure may be unfinished."""
    written = [block.written for block in file.blocks]
    if all(block.now is None for block in file.blocks):
        return [written]
    before = [block.was or block.written for block in file.blocks]
    now = [block.now or block.written for block in file.blocks]
    if not any(state.lines for state in now):
        return [before, written]  # it still exists, so the erasure that removes it was interrupted
    return [now, before, written] if before != written else [now, written]


def leaf_of(kind: str, lines: Sequence[bytes], state: BlockState | None = None) -> bytes:
    """Return the leaf of a block's lines (with newlines), using the salts and erased lines of its state."""
    if kind != LINES:
        return leaf_of_bytes(b"".join(lines), b"" if state is None else state.seed)
    salts, erased = (b"", ()) if state is None else (state.salts(), state.gone)
    return leaf_of_lines([line[:-1] for line in lines], salts, erased)


class CheckedBlock(NamedTuple):
    """The lines found at the position of a block."""

    block: ChainBlock
    state: BlockState
    """The expected state."""
    line: int
    """The number of its first line."""
    lines: list[bytes]
    problem: str | None
    """What differs; None if nothing does."""


def walk(file: FileChain, states: Iterable[BlockState], lines: Iterator[bytes]) -> Iterator[CheckedBlock]:
    """Read the lines of a file block by block and compare them."""
    number = 1
    for block, state in zip(file.blocks, states, strict=True):
        in_file = list(islice(lines, state.lines))
        problem = None
        if len(in_file) < state.lines or (in_file and not in_file[-1].endswith(b"\n")):
            problem = "cut short"
        elif in_file and (
            sum(map(len, in_file)) != state.size_bytes or leaf_of(block.kind, in_file, state) != state.leaf
        ):
            problem = "not what was written"
        yield CheckedBlock(block, state, number, in_file, problem)
        number += state.lines


def current_states(
    chained: ChainedFiles, name: str, file: FileChain
) -> tuple[list[BlockState], list[CheckedBlock]]:
    """Return the expected states of a file's blocks, and the blocks that differ, without their lines.

    Raises:
        OSError: the file cannot be read.
    """
    tried = []
    for states in _states_of(file):
        wrong = [each._replace(lines=[]) for each in walk(file, states, chained.lines(name)) if each.problem]
        tried.append((states, wrong))
    fitting = [states for states, wrong in tried if not wrong]
    if not fitting:
        return tried[0]
    # A file without its last blocks matches, too; further lines show that it was not rewritten yet.
    return max(fitting, key=lambda states: sum(state.lines for state in states)), []


def check_chains(
    session: Path, heads_by_writer: Mapping[str, str], expected_heads: Iterable[str] = ()
) -> ChainReport | None:
    """Compare all files with the chains; None if the session was recorded without chains.

    Args:
        session: the session's directory.
        heads_by_writer: the heads in `log.closed` events, by writer.
        expected_heads: heads of the session or of writers that were stored elsewhere.

    Raises:
        DamagedInput: the account of retired numbers, or a part of the archive, cannot be read.
        UsageError: an element of `expected_heads` is not a head.
    """
    # before the chains: a running writer updates its board after its chain file
    boards = _heads_of_boards(session)
    chains = read_chains(session)
    expected_heads = [_plain(head) for head in expected_heads]
    if not chains and not expected_heads and (not heads_by_writer or _is_copied(session)):
        return None
    report = ChainReport(heads=tuple(chain.head() for chain in chains.values()))
    with ChainedFiles(session, chains) as chained:
        covered: dict[str, int] = {}
        for file, name in chained.files:
            report.blocks += len(file.blocks)
            if name is None:
                _report_missing(chained, file, report)
            else:
                covered[name] = _compare(chained, name, file, report)
        ended = {writer for writer, chain in chains.items() if chain.ended}
        # A head does not cover writers without a chain, but a genuine writer at least has a claim.
        writers = {*chains, *read_claims(session)} if expected_heads else None

        def is_added(writer: str) -> bool:
            return writer in ended or (writers is not None and writer not in writers)

        edited = {edit.file for edit in report.edits}
        for name in chained.first_ids:
            count, added = _lines_behind(chained, name, covered.get(name, 0), is_added)
            report.uncovered += count
            if added and name not in edited:
                problem = (
                    f"{added:,} of the events after the last block were added after their writer had ended"
                )
                if writers is not None:
                    problem += ", or by one that never began here"
                report.edits.append(Edit(name, problem))
    report.edits.sort(key=lambda edit: edit.time or "~")
    report.edits += _wrong_heads(session, chains, boards, heads_by_writer, expected_heads, report.head)
    return report


def _plain(head: str) -> str:
    text = head.strip().lower()
    digest = text.rpartition(":")[2]
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or text.count(":") not in {0, 2}:
        raise UsageError(
            f"{head[:80]!r} is not a head", remedy="agent-trace verify prints the head of a session"
        )
    return text


def _is_copied(session: Path) -> bool:
    try:
        return not open_session(session).other.keys().isdisjoint({"imported", "merged_from"})
    except InputError:
        return False


def _report_missing(chained: ChainedFiles, file: FileChain, report: ChainReport) -> None:
    why = chained.reason_missing(file)
    if why is None:
        report.edits.append(_edit_of_all(file, file.file, "it is missing"))
    else:
        lines = sum(block.written.lines for block in file.blocks)
        report.gaps.append(ChainGap(file.file, why, len(file.blocks), lines))


def _edit_of_all(file: FileChain, name: str, problem: str) -> Edit:
    first = file.blocks[0]
    return _edit(file, name, CheckedBlock(first, first.written, 1, [], problem), len(file.blocks) - 1)


def _edit(file: FileChain, name: str, found_block: CheckedBlock, further: int) -> Edit:
    last, block = found_block.line + found_block.state.lines - 1, f"{file.writer}:{found_block.block.number}"
    return Edit(
        name, str(found_block.problem), found_block.line, last, found_block.block.time, block, further
    )


def _compare(chained: ChainedFiles, name: str, file: FileChain, report: ChainReport) -> int:
    """Report a file's first differing block and its erased lines; returns how many lines its blocks cover."""
    try:
        states, wrong = current_states(chained, name, file)
    except OSError as error:
        report.edits.append(_edit_of_all(file, name, f"it cannot be read: {error.strerror}"))
        return 0
    pairs = zip(file.blocks, states, strict=True)
    changed = [(block.written, state) for block, state in pairs if state != block.written]
    if changed:
        why = next((block.why for block in file.blocks if block.why is not None), "erased")
        lost = sum(written.lines - state.lines for written, state in changed)
        unchecked = sum(state.lines for _, state in changed if not state.left_salts)
        report.gaps.append(ChainGap(name, why, len(changed), lost, unchecked))
    lines = sum(state.lines for state in states)
    if wrong:
        report.edits.append(_edit(file, name, wrong[0], len(wrong) - 1))
    else:
        report.lines += lines
    return lines


def _heads_of_boards(session: Path) -> dict[str, list[str]]:
    heads: dict[str, list[str]] = {}
    for path in entries_in(boards_dir(session), ".board"):
        board = read_board(path)
        if board is not None and board.heads:
            heads[path.stem] = [head_text(path.stem, count, root) for count, root in board.heads]
    return heads


def _lines_behind(
    chained: ChainedFiles, name: str, covered: int, is_added: Callable[[str], bool]
) -> tuple[int, int]:
    """Count the lines after the last block of a file, and those among them that were added by an edit."""
    count = added = 0
    try:
        for line in islice(chained.lines(name), covered, None):
            count += 1
            added += _is_of(line, is_added)
    except OSError:
        return 0, 0  # reading its events reports it
    return count, added


def _is_of(line: bytes, is_wanted: Callable[[str], bool]) -> bool:
    """Return whether a line is an event of a writer that matches; False for a torn line."""
    event_id = id_of(line)
    if event_id is None or not is_wanted(split_event_id(event_id)[0]):
        return False
    try:
        decode_line(line.removesuffix(b"\n"))
    except DamagedLine:
        return False
    return True


def _wrong_heads(
    session: Path,
    chains: Mapping[str, WriterChain],
    boards: Mapping[str, list[str]],
    heads_by_writer: Mapping[str, str],
    expected_heads: Iterable[str],
    head: str,
) -> Iterator[Edit]:
    """Chains whose head differs from the one recorded in `log.closed` or kept elsewhere."""
    for writer, chain in chains.items():
        if chain.problem is not None:
            yield Edit(_chain_name(session, writer), chain.problem)
    for source, heads in (
        ("log.closed", heads_by_writer.values()),
        ("the head that was kept", expected_heads),
    ):
        for expected in heads:
            writer, _, digest = expected.partition(":")
            if not digest and expected != head:
                yield Edit("session", f"its head is {head}, not the one that was kept")
            elif digest and not _has_head(chains.get(writer), expected):
                lead = "does not lead" if writer in chains else "is missing, so nothing leads"
                yield Edit(_chain_name(session, writer), f"it {lead} to {source}, {expected}")
    for writer, heads in boards.items():
        # the process may have been killed while it wrote the newer one
        if not any(_has_head(chains.get(writer), each) for each in heads):
            yield Edit(_chain_name(session, writer), f"it does not lead to the board, {heads[0]}")


def _has_head(chain: WriterChain | None, head: str) -> bool:
    """Return whether a chain, or its first blocks, has this head."""
    writer, _, digest = head.partition(":")
    count = digest.partition(":")[0]
    if chain is None:
        chain = WriterChain(writer)
    return count.isdigit() and int(count) <= len(chain.leaves) and head == chain.head(int(count))


def _chain_name(session: Path, writer: str) -> str:
    # the writer id in a kept head is not used as a file name
    return chain_file(session, writer).relative_to(session).as_posix()


def prove_event(session: Path, event_id: str) -> dict[str, Any]:
    """Build a proof that an event is part of a session, for someone who has the session's head.

    Raises:
        UsageError: the id is not an event id.
        InputError: no block covers the event, or an erasure changed the block.
        DamagedInput: the block differs from what was written.
    """
    try:
        writer, _ = split_event_id(event_id)
    except ValueError:
        raise UsageError(
            f"{event_id[:80]!r} is not an event id", remedy="an event id looks like k3v9q2ma-1042"
        ) from None
    chains = read_chains(session)
    chain = chains.get(writer)
    if chain is None:
        raise InputError(
            f"no block covers {event_id}",
            path=session,
            remedy="it does not exist, or its writer recorded no digests",
        )
    mark = b'"id":"%s"' % event_id.encode()
    with ChainedFiles(session, chains) as chained:
        files = [(file, name) for file, name in chained.files if file.writer == writer and name is not None]
        for file, name in files:
            for block in walk(file, current_states(chained, name, file)[0], chained.lines(name)):
                for number, line in enumerate(block.lines, start=block.line):
                    if mark in line and id_of(line) == event_id:
                        if leaf_of(block.block.kind, block.lines, block.state) != block.block.written.leaf:
                            raise _unprovable(session / name, block.block)
                        return _proof(chains, chain, block, number, name)
    raise InputError(
        f"no block covers {event_id}",
        path=session,
        remedy="it does not exist, or is after the last block of a writer that was killed or still runs",
    )


def _unprovable(path: Path, block: ChainBlock) -> InputError:
    if block.why is not None:
        return InputError(
            "an erasure removed other lines of its block",
            path=path,
            remedy="the rest of a block has no proof",
        )
    return DamagedInput(
        "its block differs from what was written", path=path, remedy="agent-trace verify has details"
    )


def _proof(
    chains: Mapping[str, WriterChain], chain: WriterChain, found_block: CheckedBlock, number: int, name: str
) -> dict[str, Any]:
    block, state, index = found_block.block, found_block.state, number - found_block.line
    heads = sorted(each.head() for each in chains.values())
    if block.kind == LINES:
        salts = state.salts()
        digests = digests_of_lines([line[:-1] for line in found_block.lines], salts, state.gone)
        salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
        content: dict[str, Any] = {"lines": [digest.hex() for digest in digests]}
    else:
        content, salt = {"bytes": base64.b64encode(b"".join(found_block.lines)).decode()}, state.seed
    return {
        "event": found_block.lines[index][:-1].decode(),
        "place": f"{name}:{number}",
        "time": block.time,
        "writer": chain.writer,
        "block": block.number,
        "blocks": len(chain.leaves),
        "salt": salt.hex(),
        **content,
        "path": [[side, digest.hex()] for side, digest in chain.path(block)],
        "heads": heads,
        "head": session_head(heads),
    }


ERASED_NAME: Final = "[erased]"
"""Replaces the name of a file that was erased completely."""


def account_in_chains(session: Path, going: Mapping[str, Callable[[bytes], bytes | None]]) -> None:
    """Record in the chains the future states of blocks, before their files are rewritten.

    Args:
        session: the session's directory.
        going: file name to a function that returns what remains of a line, for files to be rewritten.

    Raises:
        OSError: a file cannot be read, or a chain cannot be replaced.
    """
    if not going:
        return
    chains = read_chains(session)
    with ChainedFiles(session, chains) as chained:
        changed = {
            file.writer
            for file, name in chained.files
            if name is not None and name in going and _enter(chained, name, file, going[name])
        }
    for writer in changed:
        # a damaged chain stays as it is; verify reports it
        if chains[writer].problem is None:
            replace_durably(chain_file(session, writer), write_chain(chains[writer]))


def _enter(chained: ChainedFiles, name: str, file: FileChain, keep: Callable[[bytes], bytes | None]) -> bool:
    """Record the future states of a file's unedited blocks; returns whether any loses lines."""
    states, wrong = current_states(chained, name, file)
    if wrong:
        return False
    first = None
    after: list[BlockState] = []
    for found_block in walk(file, states, chained.lines(name)):
        kept_lines = [keep(line[:-1]) for line in found_block.lines]
        first = first or next((line for line in kept_lines if line is not None), None)
        after.append(_after(found_block, kept_lines))
    if after == states:
        return False
    for block, state, new in zip(file.blocks, states, after, strict=True):
        block.was = state if state != block.written else None
        block.now = new if new != block.written else None
        if block.now is not None:
            block.why = ERASED
    if first is not None:  # else the old name identifies it until it is removed
        file.file, file.first_id = name, id_of(first)
    return True


def _after(block: CheckedBlock, kept_lines: Sequence[bytes | None]) -> BlockState:
    """Return the state of a block after each line (without newline) is replaced by what remains of it."""
    state, lines = block.state, [line[:-1] for line in block.lines]
    if kept_lines == lines:
        return state
    left = [line + b"\n" for line in kept_lines if line is not None]
    size_bytes = sum(map(len, left))
    salts = state.salts()
    if block.block.kind != LINES or not salts:
        return BlockState(size_bytes, len(left), leaf_of(block.block.kind, left))
    if not left or any(line not in {None, was} for line, was in zip(kept_lines, lines, strict=True)):
        # nothing remains to check; or a part of a damaged line remains, which looks like an edit
        return BlockState(size_bytes, len(left), state.leaf)
    digests, erased = digests_of_lines(lines, salts), dict(state.gone)
    kept_positions = [place for place in range(block.block.written.lines) if place not in erased]
    left_salts = b""
    for index, line in enumerate(kept_lines):
        if line is None:
            erased[kept_positions[index]] = digests[index]
        else:
            left_salts += salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
    return BlockState(
        size_bytes, len(left), state.leaf, left_salts=left_salts, gone=tuple(sorted(erased.items()))
    )


def forget_erased(session: Path) -> None:
    """Remove the salts of erased lines from the chains, once the files are rewritten.

    Raises:
        OSError: a chain cannot be replaced.
    """
    for writer, chain in read_chains(session).items():
        before = write_chain(chain)
        for file in chain.files.values():
            for block in [each for each in file.blocks if each.now is not None]:
                block.was, block.written = None, block.written._replace(seed=b"")
            if all(block.now is not None and block.now.lines == 0 for block in file.blocks):
                file.file, file.first_id = ERASED_NAME, None
        after = write_chain(chain)
        if chain.problem is None and after != before:
            replace_durably(chain_file(session, writer), after)


def names_in_chain(path: Path) -> Iterator[bytes] | None:
    """Return the file names in a chain file, without its digests; None for other files."""
    if path.parent.name != chains_dir(Path()).name or path.parent.parent.name != ".state":
        return None
    return _names(path)


def _names(path: Path) -> Iterator[bytes]:
    for line in read_file(path).split(b"\n"):
        try:
            stored = orjson.loads(line) if line else {}
            if "file" in stored:
                yield str(stored["file"]).encode() + b"\n"
        except (orjson.JSONDecodeError, TypeError):
            yield line + b"\n"
