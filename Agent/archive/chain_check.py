"""Compares a session's lines with the chains of its writers: names edited blocks, proves single events.

What a policy retired is explained by the account of retired numbers, what an erasure took by what
`chain_erased` left in the chain, and lines that were sealed are read out of the archive.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

from Agent.archive.sealed_lines import file_lines
from Agent.archive.sealed_parts import Part, SealedSegment, read_parts
from Agent.archive.sealed_write import open_connection
from Agent.errors import DamagedInput, InputError, UsageError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.tree.board import read_board
from Agent.tree.chain import LINES, Block, BlockState, FileChain, WriterChain, read_chains
from Agent.tree.hash_tree import audit_path, head_text, leaf_of_bytes, leaf_of_lines, root_of, session_head
from Agent.tree.layout import boards_dir, chain_file, parse_file_name, segment_order, tree_files
from Agent.tree.lines import first_id, id_of, open_file
from Agent.tree.retired import RetiredAccount, read_account
from Agent.tree.session import open_session

__all__ = ["ChainReport", "Edit", "Gap", "Places", "check_chains", "leaf_of", "prove_event", "states_of"]

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Edit:
    """Something that is not what was written: of each file the first block that differs."""

    file: str
    problem: str
    first_line: int | None = None
    last_line: int | None = None
    time: str | None = None
    """When the block was made."""
    block: str | None = None
    """`writer:number`."""
    further: int = 0
    """How many later blocks of the file differ as well."""

    def __str__(self) -> str:
        lines = f" lines {self.first_line:,} to {self.last_line:,}" if self.first_line is not None else ""
        made = f" (block {self.block} of {self.time})" if self.block is not None else ""
        further = f", and {self.further:,} later blocks" if self.further else ""
        return f"{self.file}{lines}: {self.problem}{made}{further}"


@dataclass(frozen=True, slots=True)
class Gap:
    """Blocks that cannot be compared any more, and why: `erased` or `retired`."""

    file: str
    why: str
    blocks: int
    lines: int
    """How many lines are gone."""


@dataclass(slots=True)
class ChainReport:
    """What the chains of a session say about its lines."""

    heads: tuple[str, ...] = ()
    """`writer:blocks:root` of each writer."""
    blocks: int = 0
    lines: int = 0
    """Lines that are what was written, those of files with an edit left out."""
    uncovered: int = 0
    """Lines that no block covers: the end of a killed or running writer, writers without a chain."""
    edits: list[Edit] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @property
    def head(self) -> str:
        """One digest over the heads of all writers."""
        return session_head(self.heads)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        edits = [{name: getattr(edit, name) for name in edit.__slots__} for edit in self.edits]
        gaps = [{name: getattr(gap, name) for name in gap.__slots__} for gap in self.gaps]
        return {
            "head": self.head,
            "heads": list(self.heads),
            "blocks": self.blocks,
            "lines": self.lines,
            "uncovered": self.uncovered,
            "edits": edits,
            "gaps": gaps,
        }


class _Bytes(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class _Joined:
    """The bytes of lines out of the archive, as those of a file."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        parts, have = [self._held], len(self._held)
        while have < size and (line := next(self._lines, None)) is not None:
            parts.append(line + b"\n")
            have += len(line) + 1
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]

    def close(self) -> None:
        """Nothing to close."""


class Places(ExitStack):
    """Where the files of a session are, by name: as they stand, or in the archive."""

    def __init__(self, session: Path) -> None:
        super().__init__()
        self._session = session
        self._sealed: dict[str, tuple[Part, SealedSegment]] = {}
        self._connection: Any = None
        self.first_ids: dict[str, str | None] = {}
        for path in tree_files(session):
            self.first_ids[path.relative_to(session).as_posix()] = first_id(path)
        for part in read_parts(session):
            for segment in part.segments if part.json_removed else ():
                if segment.file not in self.first_ids:
                    self._sealed[segment.file] = (part, segment)
                    self.first_ids[segment.file] = segment.first_id
        self._by_id = {event_id: name for name, event_id in self.first_ids.items() if event_id is not None}

    def open(self, name: str) -> _Bytes:
        """The bytes of a file; OSError if it cannot be read."""
        if name in self._sealed:
            if self._connection is None:
                self._connection = self.enter_context(open_connection(self._session))
            rows = file_lines(self._connection, self._sealed[name][0], [name])
            return _Joined(row[2] for row in rows)
        fd, _ = open_file(self._session / name)
        return os.fdopen(fd, "rb")

    def assign(self, files: Iterable[FileChain], is_gone: Callable[[FileChain], bool]) -> dict[int, str]:
        """The name under which each file is found, by `id` of its chain; without those that are nowhere."""
        found: dict[int, str] = {}
        waiting: list[FileChain] = []
        for file in files:
            name = self._by_id.get(file.first_id or "")
            if name is not None and _stem(name) == _stem(file.file):
                found[id(file)] = name
            elif not is_gone(file):
                waiting.append(file)
        # Their first line is another one: under the same name, else in the order of the segments.
        free = {name: _order(name) for name in self.first_ids if name not in set(found.values())}
        for file in [each for each in waiting if each.file in free]:
            found[id(file)] = file.file
            del free[file.file]
        for file in [each for each in waiting if id(each) not in found]:
            alike = sorted((order, name) for name, order in free.items() if _stem(name) == _stem(file.file))
            if alike:
                found[id(file)] = alike[0][1]
                del free[alike[0][1]]
        return found


def _stem(name: str) -> tuple[str, str]:
    directory, _, base = name.rpartition("/")
    parsed = parse_file_name(base)
    return directory, base if parsed is None else parsed.stem


def _order(name: str) -> tuple[str, str, float]:
    parsed = parse_file_name(name.rpartition("/")[2])
    return (name, "", 0.0) if parsed is None else segment_order(parsed)


def states_of(file: FileChain) -> list[list[BlockState]]:
    """What the blocks of a file may be now, the likeliest first: an erasure may have been cut short."""
    written = [block.written for block in file.blocks]
    if all(block.now is None for block in file.blocks):
        return [written]
    before = [block.was or block.written for block in file.blocks]
    now = [block.now or block.written for block in file.blocks]
    return [now, before, written] if before != written else [now, written]


def leaf_of(kind: str, data: bytes) -> bytes:
    """The leaf of a block of whole lines."""
    return leaf_of_lines(data[:-1].split(b"\n")) if kind == LINES else leaf_of_bytes(data)


def check_chains(session: Path, told: Mapping[str, str], kept: Iterable[str] = ()) -> ChainReport | None:
    """Compare all files with the chains; None where the session was recorded without.

    Args:
        session: the session's directory.
        told: the heads in `log.closed` events, by writer.
        kept: heads that were kept elsewhere, of the session or of writers.

    Raises:
        DamagedInput: the account of retired numbers, or a part of the archive, cannot be read.
        UsageError: a head that was kept is none.
    """
    # before the chains: a writer that runs tells its board behind its file
    boards = _heads_of_boards(session)
    chains = read_chains(session)
    kept = [_plain(head) for head in kept]
    if not chains and not kept and (not told or _is_imported(session)):
        return None
    report = ChainReport(heads=tuple(chain.head() for chain in chains.values()))
    with Places(session) as places:
        files = [file for chain in chains.values() for file in chain.files.values()]
        account = read_account(session)
        found = places.assign(files, lambda file: _why_gone(file, account) is not None)
        covered: dict[str, int] = {}
        edits: list[tuple[str, Edit]] = []
        for file in files:
            name = found.get(id(file))
            report.blocks += len(file.blocks)
            if name is None:
                edits += _gone(file, account, report)
                continue
            edit, covered[name] = _compare(places, name, file, report)
            if edit is not None:
                edits.append((edit.time or "", edit))
        ended = {writer for writer, chain in chains.items() if chain.ended}
        for name in places.first_ids:
            count, added = _lines_behind(places, name, covered.get(name, 0), ended, account)
            report.uncovered += count
            if added and not any(edit.file == name for _, edit in edits):
                problem = (
                    f"{added:,} of the events after the last block were added after their writer had ended"
                )
                edits.append(("~", Edit(name, problem)))
    report.edits = [edit for _, edit in sorted(edits, key=lambda pair: pair[0])]
    report.edits += _wrong_heads(session, chains, boards, told, kept, report.head)
    return report


def _plain(head: str) -> str:
    text = head.strip().lower()
    digest = text.rpartition(":")[2]
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or text.count(":") not in {0, 2}:
        raise UsageError(
            f"{head[:80]!r} is not a head", remedy="agent-trace verify prints the head of a session"
        )
    return text


def _is_imported(session: Path) -> bool:
    try:
        return "imported" in open_session(session).other
    except InputError:
        return False


def _why_gone(file: FileChain, account: RetiredAccount) -> str | None:
    """Why a file may be away."""
    if all(block.now is not None and block.now.lines == 0 for block in file.blocks):
        return "erased"
    if file.first_id is None:
        return "retired" if account.files or account.removing else None
    try:
        writer, seq = split_event_id(file.first_id)
    except ValueError:
        return None
    return "retired" if seq in account.numbers.get(writer, ()) else None


def _gone(file: FileChain, account: RetiredAccount, report: ChainReport) -> list[tuple[str, Edit]]:
    lines = sum(block.written.lines for block in file.blocks)
    why = _why_gone(file, account)
    if why is not None:
        report.gaps.append(Gap(file.file, why, len(file.blocks), lines))
        return []
    first = file.blocks[0]
    block = f"{file.writer}:{first.number}"
    edit = Edit(file.file, "it is gone", 1, first.written.lines, first.time, block, len(file.blocks) - 1)
    return [(first.time, edit)]


def _compare(places: Places, name: str, file: FileChain, report: ChainReport) -> tuple[Edit | None, int]:
    """The first block of a file that differs, and how many bytes of the file its blocks cover."""
    best: tuple[Edit | None, list[BlockState]] | None = None
    for states in states_of(file):
        edit = _first_difference(places, name, file, states)
        if best is None or edit is None:
            best = (edit, states)
        if edit is None:
            break
    assert best is not None  # noqa: S101 - there is at least what was written
    edit, states = best
    changed = [
        (block.written, state)
        for block, state in zip(file.blocks, states, strict=True)
        if state != block.written
    ]
    if changed:
        lines = sum(written.lines - state.lines for written, state in changed)
        why = next((block.why for block in file.blocks if block.why is not None), "erased")
        report.gaps.append(Gap(name, why, len(changed), lines))
    if edit is None:
        report.lines += sum(state.lines for state in states)
    return edit, sum(state.size_bytes for state in states)


def _first_difference(places: Places, name: str, file: FileChain, states: list[BlockState]) -> Edit | None:
    edit: Edit | None = None
    further, line = 0, 1
    try:
        with closing(places.open(name)) as data:
            for block, state in zip(file.blocks, states, strict=True):
                found = data.read(state.size_bytes)
                if len(found) != state.size_bytes or _differs(block, state, found):
                    if edit is None:
                        edit = _edit(name, file, block, state, line, len(found))
                    else:
                        further += 1
                line += state.lines
    except OSError as error:
        block = file.blocks[0]
        return Edit(name, f"it cannot be read: {error.strerror}", 1, block.written.lines, block.time)
    if edit is None:
        return None
    return Edit(edit.file, edit.problem, edit.first_line, edit.last_line, edit.time, edit.block, further)


def _differs(block: Block, state: BlockState, found: bytes) -> bool:
    return bool(found) and (not found.endswith(b"\n") or leaf_of(block.kind, found) != state.leaf)


def _edit(name: str, file: FileChain, block: Block, state: BlockState, line: int, found_bytes: int) -> Edit:
    problem = "not what was written" if found_bytes == state.size_bytes else "truncated"
    last = line + state.lines - 1
    return Edit(name, problem, line, last, block.time, f"{file.writer}:{block.number}")


def _heads_of_boards(session: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in boards_dir(session).glob("*.board"):
        board = read_board(path)
        if board is not None and board.heads:
            found[path.stem] = [head_text(path.stem, count, root) for count, root in board.heads]
    return found


def _lines_behind(
    places: Places, name: str, offset: int, ended: Collection[str], account: RetiredAccount
) -> tuple[int, int]:
    """How many lines stand behind the last block of a file; how many are events of writers that had ended."""
    count = added = 0
    try:
        with closing(places.open(name)) as data:
            while offset > 0 and (skipped := data.read(min(offset, _CHUNK_BYTES))):
                offset -= len(skipped)
            held = b""
            while chunk := data.read(_CHUNK_BYTES):
                *lines, held = (held + chunk).split(b"\n")
                count += len(lines)
                added += sum(_is_of(line, ended, account) for line in lines)
    except OSError:
        return 0, 0  # reading its events tells of it
    return count + bool(held), added + _is_of(held, ended, account)


def _is_of(line: bytes, writers: Collection[str], account: RetiredAccount) -> bool:
    """Whether a line is an event of one of the writers, torn ones and those that are about to go left out."""
    event_id = id_of(line)
    if event_id is None:
        return False
    writer, seq = split_event_id(event_id)
    if writer not in writers or seq in account.numbers.get(writer, ()):
        return False
    try:
        decode_line(line)
    except DamagedLine:
        return False
    return True


def _wrong_heads(
    session: Path,
    chains: Mapping[str, WriterChain],
    boards: Mapping[str, list[str]],
    told: Mapping[str, str],
    kept: Iterable[str],
    head: str,
) -> Iterator[Edit]:
    """Chains whose head differs from the one recorded in `log.closed` or kept elsewhere."""
    for writer, chain in chains.items():
        if chain.problem is not None:
            yield Edit(_chain_name(session, writer), chain.problem)
    for told_by, heads in (("log.closed", told.values()), ("the head that was kept", kept)):
        for wanted in heads:
            writer, _, rest = wanted.partition(":")
            if not rest and wanted != head:
                yield Edit("session", f"its head is {head}, not the one that was kept")
            elif rest and not _leads_to(chains.get(writer), wanted):
                yield Edit(_chain_name(session, writer), f"it does not lead to {told_by}, {wanted}")
    for writer, heads in boards.items():
        # a kill may have come while the newer one was written
        if not any(_leads_to(chains.get(writer), each) for each in heads):
            yield Edit(_chain_name(session, writer), f"it does not lead to the board, {heads[0]}")


def _leads_to(chain: WriterChain | None, head: str) -> bool:
    """Whether a chain, or a beginning of it, has that head."""
    writer, _, rest = head.partition(":")
    count = rest.partition(":")[0]
    leaves = [] if chain is None else chain.leaves
    if not count.isdigit() or int(count) > len(leaves):
        return False
    return head == head_text(writer, int(count), root_of(leaves[: int(count)]))


def _chain_name(session: Path, writer: str) -> str:
    # a writer out of a kept head is no name that is looked at
    return chain_file(session, writer).relative_to(session).as_posix()


def prove_event(session: Path, event_id: str) -> dict[str, Any]:
    """What proves to somebody who has the head of a session that an event is part of it.

    Raises:
        UsageError: it is no id of an event.
        InputError: no block covers it, or an erasure changed the block.
        DamagedInput: the block is not what was written.
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
            f"writer {writer} has no chain", path=session, remedy="it was recorded without digests"
        )
    account = read_account(session)
    with Places(session) as places:
        files = list(chain.files.values())
        found = places.assign(files, lambda file: _why_gone(file, account) is not None)
        mark = b'"id":"%s"' % event_id.encode()
        for file in files:
            name = found.get(id(file))
            for block, line, data in _blocks(places, name, file) if name is not None else ():
                for number, text in enumerate(data.split(b"\n")[:-1] if mark in data else ()):
                    if id_of(text) == event_id:
                        if leaf_of(block.kind, data) != block.written.leaf:
                            raise _unprovable(session / str(name), block)
                        return _proof(chains, chain, block, data, text, f"{name}:{line + number}")
    raise InputError(
        f"no block covers {event_id}",
        path=session,
        remedy="it does not exist, or is after the last block of a writer that was killed or still runs",
    )


def _blocks(places: Places, name: str, file: FileChain) -> Iterator[tuple[Block, int, bytes]]:
    """The blocks of a file, each with the number of its first line and its bytes."""
    layouts = states_of(file)
    states = next(
        (each for each in layouts if _first_difference(places, name, file, each) is None), layouts[0]
    )
    line = 1
    with closing(places.open(name)) as data:
        for block, state in zip(file.blocks, states, strict=True):
            yield block, line, data.read(state.size_bytes)
            line += state.lines


def _unprovable(path: Path, block: Block) -> InputError:
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
    chains: Mapping[str, WriterChain], chain: WriterChain, block: Block, data: bytes, text: bytes, place: str
) -> dict[str, Any]:
    lines = data.split(b"\n")[:-1]
    heads = sorted(each.head() for each in chains.values())
    content: dict[str, Any] = (
        {"lines": [sha256(line).hexdigest() for line in lines]}
        if block.kind == LINES
        else {"bytes": base64.b64encode(data).decode()}
    )
    return {
        "event": text.decode(),
        "place": place,
        "time": block.time,
        "writer": chain.writer,
        "block": block.number,
        "blocks": len(chain.leaves),
        **content,
        "path": [[side, digest.hex()] for side, digest in audit_path(chain.leaves, block.number)],
        "heads": heads,
        "head": session_head(heads),
    }
