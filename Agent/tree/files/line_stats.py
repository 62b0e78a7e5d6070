"""What one look at the bytes of a file says of its lines: how many, how long, and whether all are plain text.

In C where the native part was built, a pass of its own; else in Python, a pass for each question.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

__all__ = ["ODD_BYTES", "LineMarks"]

_marks_of: Callable[[bytes, int], tuple[int, int, int, int]] | None
try:
    from Agent.tree.files import _heads

    _marks_of = _heads.marks_of
except (ImportError, AttributeError):  # not built, or built from an older source
    _marks_of = None

ODD_BYTES: Final = (b"\r", b"\x00", b"\x01", b"\x02")
"""What no line of JSON holds and a reader of lines could take for its own."""
_ODD: Final = -1


class LineMarks:
    """Takes the bytes of a file in chunks."""

    def __init__(self) -> None:
        self._newlines = 0
        self._rest = 0
        self._state = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.longest = 0
        """Of the lines that do not end in the chunk in which they begin the longest, in bytes; of others no
        more than what stands before the first newline of a chunk."""

    def take(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        newlines, first, last = self._marked(chunk)
        self.longest = max(self.longest, self._rest + (len(chunk) if first < 0 else first))
        self._rest = self._rest + len(chunk) if first < 0 else len(chunk) - 1 - last
        self._newlines += newlines

    @property
    def lines(self) -> int:
        """How many there were, the last without a newline included."""
        return self._newlines + (1 if self._rest else 0)

    @property
    def ends_with_newline(self) -> bool:
        """Whether the last byte was one."""
        return self._newlines > 0 and not self._rest

    @property
    def is_odd(self) -> bool:
        """Whether there were bytes that are no UTF-8, or some of `ODD_BYTES`."""
        return self._state != 0 or bool(self._decoder.getstate()[0])

    def _marked(self, chunk: bytes) -> tuple[int, int, int]:
        if _marks_of is not None:
            newlines, first, last, self._state = _marks_of(chunk, self._state)
            return newlines, first, last
        if self._state != _ODD and (any(byte in chunk for byte in ODD_BYTES) or not self._decodes(chunk)):
            self._state = _ODD
        return chunk.count(b"\n"), chunk.find(b"\n"), chunk.rfind(b"\n")

    def _decodes(self, chunk: bytes) -> bool:
        # most chunks need no decoding, unless a character began in the one before
        if chunk.isascii() and not self._decoder.getstate()[0]:
            return True
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
        return True
