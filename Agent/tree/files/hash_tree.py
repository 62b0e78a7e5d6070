"""The hash tree over blocks of lines, with the nodes of RFC 6962: its root stands for every byte of them.

`chain` makes a leaf of each block as it is written; `Agent.archive.maintenance.chain_check` compares and
proves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Literal

__all__ = ["Frontier", "audit_path", "head_text", "leaf_of_bytes", "leaf_of_lines", "root_of", "session_head"]

_LINES, _NODE, _BYTES = b"\0", b"\1", b"\2"


def leaf_of_lines(lines: Iterable[bytes]) -> bytes:
    """The leaf of a block whose lines can be proved one by one, made of their digests without newlines."""
    return sha256(_LINES + b"".join([sha256(line).digest() for line in lines])).digest()


def leaf_of_bytes(block: bytes | memoryview) -> bytes:
    """The leaf of a block that is proved as a whole; the interpreter lock is free while it is made."""
    hasher = sha256(_BYTES)
    hasher.update(block)
    return hasher.digest()


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
