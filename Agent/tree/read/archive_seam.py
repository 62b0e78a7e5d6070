"""The seam for segments whose lines no longer stand in their files, such as those of an archive.

`reader` asks it beside the files; `Agent.archive` provides it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from Agent.tree.files.lines import RawLine
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.files.tally import Tally

__all__ = ["ColdLines"]


class ColdLines(Protocol):
    """Lines of segments that are not there as files, under the names that they had."""

    def files(self) -> dict[Path, str | None]:
        """The names of the segments, in order, and the agent of the first event of each."""

    def lines(self, path: Path) -> Iterator[RawLine]:
        """The lines of one segment in the order in which they stood, without blank ones."""

    def all_lines(self) -> Iterator[RawLine]:
        """The lines of all segments, each segment's in their order."""

    def lines_to_read(
        self, kinds: Collection[str], seen: dict[str, SeqSet], tally: Tally | None = None
    ) -> Iterator[RawLine]:
        """The lines of events of some kinds, and those of which only reading tells what they are.

        Before the first of them, the numbers of all other events are put into `seen`, by writer, and those
        events are counted in `tally`.
        """

    def ordered_lines(self, since_us: int | None, until_us: int | None) -> Iterator[RawLine]:
        """The lines of all segments in order of (timestamp, writer, seq).

        A line that is no event stands behind those before it in its segment.
        """
