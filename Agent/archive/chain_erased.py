"""What an erasure leaves in the chains: of each block the digest it had, and the one it has afterwards.

`erase` calls it before it rewrites a file. Killed in between, the file is what the chain calls `was` or
`written`, and later what it calls `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from Agent.archive.chain_check import Places, leaf_of, states_of
from Agent.tree.chain import BlockState, FileChain, read_chains, write_chain
from Agent.tree.layout import chain_file, chains_dir
from Agent.tree.lines import id_of
from Agent.tree.retired import ERASED
from Agent.tree.session import replace_durably

__all__ = ["ERASED_NAME", "account_in_chains", "names_in_chain"]

ERASED_NAME: Final = "[erased]"
"""Stands in the place of the name of a file of which nothing is left."""


def account_in_chains(
    session: Path,
    going: dict[str, Callable[[bytes], bytes | None]],
    lines_of: Callable[[str], Iterable[bytes]],
) -> int:
    """Enter what the blocks of some files will be; how many blocks lose lines.

    Args:
        session: the session's directory.
        going: by name the files that are about to be rewritten, with what stays of a line.
        lines_of: the lines of a file as they stand now.

    Raises:
        OSError: a file cannot be read, or a chain not be replaced.
    """
    if not going:
        return 0
    chains = read_chains(session)
    changed = 0
    with Places(session) as places:
        files = [file for chain in chains.values() for file in chain.files.values()]
        found = places.assign(files, lambda _: False)
        for chain in chains.values():
            before = changed
            for file in chain.files.values():
                name = found.get(id(file))
                if name in going:
                    changed += _enter(file, name, going[name], lines_of)
            # a damaged chain stays as it is; verify reports it
            if changed > before and chain.problem is None:
                replace_durably(chain_file(session, chain.writer), write_chain(chain))
    return changed


def _enter(
    file: FileChain,
    name: str,
    keep: Callable[[bytes], bytes | None],
    lines_of: Callable[[str], Iterable[bytes]],
) -> int:
    for states in states_of(file):
        after = list(_after(file, states, iter(lines_of(name)), keep))
        if len(after) < len(file.blocks):
            continue  # it is not what the chain says, at least not so
        lost = sum(state != new for state, (new, _) in zip(states, after, strict=True))
        for block, state, (new, _) in zip(file.blocks, states, after, strict=True) if lost else ():
            block.was = state if state != block.written else None
            block.now = new
            if new != block.written:
                block.why = ERASED
        if lost:
            file.file, file.first_id = name, next((id_of(first) for _, first in after if first), None)
        if not any(new.lines for new, _ in after):
            file.file = ERASED_NAME
        return lost
    return 0


def _after(
    file: FileChain,
    states: list[BlockState],
    lines: Iterator[bytes],
    keep: Callable[[bytes], bytes | None],
) -> Iterator[tuple[BlockState, bytes | None]]:
    """What each block will be, and its first line; ends at one that is not what the chain says."""
    for block, state in zip(file.blocks, states, strict=True):
        own = list(islice(lines, state.lines))
        data = b"".join(line + b"\n" for line in own)
        if len(data) != state.size_bytes or (data and leaf_of(block.kind, data) != state.leaf):
            return
        kept = [left for line in own if (left := keep(line)) is not None]
        rest = b"".join(line + b"\n" for line in kept)
        leaf = state.leaf if kept == own else leaf_of(block.kind, rest)
        yield BlockState(len(rest), len(kept), leaf), next(iter(kept), None)


def names_in_chain(path: Path) -> Iterator[bytes] | None:
    """The names in a chain's file; None where it is none. Its digests hold any short text by chance."""
    if path.parent.name != chains_dir(Path()).name or path.parent.parent.name != ".state":
        return None
    return _names(path)


def _names(path: Path) -> Iterator[bytes]:
    for line in path.read_bytes().split(b"\n"):
        try:
            stored = orjson.loads(line) if line else {}
            if "file" in stored:
                yield str(stored["file"]).encode() + b"\n"
        except (orjson.JSONDecodeError, TypeError):
            yield line + b"\n"
