"""What texts of one place have in common: a text that lacks what all others say is another sort of text."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

__all__ = ["LACKS", "Wordings"]

LACKS: Final = "^"
"""Ends a path: whether a text lacks words that all earlier ones there have."""
MIN_WORDS: Final = 3
_WORD: Final = re.compile(r"[a-z]{2,}")


class Wordings:
    """The words that every text of a place has had so far."""

    def __init__(self) -> None:
        self._common: dict[tuple[str, ...], frozenset[str]] = {}
        self._seen: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def lacks(self, place: tuple[str, ...], text: str) -> bool | None:
        """Whether a text lacks what all before it had; None where it is too short, or they had nothing."""
        words = frozenset(_WORD.findall(text.lower()))
        if len(words) < MIN_WORDS:
            return None
        common = self._common.get(place)
        if common is None:
            self._common[place] = words
            return None
        shared = common & words
        # what half of the words go missing from is no variant of the others
        is_other = 2 * len(shared) < len(common)
        if not is_other or not common:
            self._common[place] = shared
        return is_other if common else None
