"""What an erasure leaves in the chains: of each block the digest it had, and the one it has afterwards.

`erase` calls it before it rewrites a file. Killed in between, the file is what the chain calls `was` or
`written`, and later what it calls `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import orjson

from Agent.archive.maintenance.chain_check import ChainedFiles, leaf_of, standing, walk
from Agent.tree.files.lines import id_of
from Agent.tree.files.session import replace_durably
from Agent.tree.layout import chain_file, chains_dir
from Agent.tree.read.removal_logs import ERASED
from Agent.tree.write.chain import BlockState, FileChain, read_chains, write_chain

__all__ = ["ERASED_NAME", "account_in_chains", "names_in_chain"]

ERASED_NAME: Final = "[erased]"
"""Stands in the place of the name of a file of which nothing is left."""


def account_in_chains(session: Path, going: Mapping[str, Callable[[bytes], bytes | None]]) -> None:
    """Enter what the blocks of some files will be.

    Args:
        session: the session's directory.
        going: by name the files that are about to be rewritten, with what stays of a line.

    Raises:
        OSError: a file cannot be read, or a chain not be replaced.
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
    """Enter what the blocks of a file will be; whether any loses lines. An edited one stays as it is."""
    states, wrong = standing(chained, name, file)
    if wrong:
        return False
    is_changed, first = False, None
    after: list[BlockState] = []
    for found in walk(file, states, chained.lines(name)):
        kept = [left + b"\n" for line in found.lines if (left := keep(line[:-1])) is not None]
        is_changed |= kept != found.lines
        first = first or next(iter(kept), None)
        after.append(BlockState(sum(map(len, kept)), len(kept), leaf_of(found.block.kind, kept)))
    if not is_changed:
        return False
    for block, state, new in zip(file.blocks, states, after, strict=True):
        block.was = state if state != block.written else None
        block.now = new
        if new != block.written:
            block.why = ERASED
    file.file, file.first_id = (ERASED_NAME, None) if first is None else (name, id_of(first))
    return True


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
