"""How much of one value is kept: the bounds that `values.py` cuts at and `serialise.py` lets pass unread.

A bound protects the program that is being recorded, so each is a cost that one call may have, not a taste.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one captured value; what lies beyond is cut, tagged `truncated` and listed as opaque.

    The defaults keep what replay can use and stay far from what readers choke on: 131,072 characters hold a
    prompt of about 32,000 tokens; 1 MiB a value keeps a line with arguments, result and state well below the
    16 MiB at which DuckDB refuses a JSON object; 50,000 items cost some tens of milliseconds in the slowest
    case; 64 levels leave room below orjson's limit of 254 after tags have been written out.
    """

    max_string_chars: int = 131_072
    """Longest string, or base64 text of bytes, that is kept whole."""
    max_bytes: int = 1_048_576
    """Longest JSON text of one value, its tags included."""
    max_items: int = 50_000
    """Most values of all depths together."""
    max_depth: int = 64
    """Most containers around a value."""
    max_repeats: int = 50_000
    """Most containers that were met before; a value with more is cut by the usual bounds."""
    head_chars: int = 4_096
    """How much of a cut string is kept for people; it cannot be restored, so a long head buys little."""
    unread_bytes: int = field(init=False)
    """JSON of plain values up to this length cannot break any bound, so nobody has to look."""

    def __post_init__(self) -> None:
        if self.max_bytes < 1024 or self.max_items < 16 or not 1 <= self.max_depth <= 120:
            raise ValueError("limits need max_bytes >= 1024, max_items >= 16, 1 <= max_depth <= 120")
        if self.max_string_chars < 16 or self.head_chars < 0:
            raise ValueError("limits need max_string_chars >= 16 and head_chars >= 0")
        # n values take at least 2 n - 1 bytes of JSON, a string of n characters at least n + 2.
        unread = min(self.max_bytes, self.max_string_chars, 2 * self.max_items - 1)
        object.__setattr__(self, "unread_bytes", unread)

    def usual(self) -> Limits:
        """The same, with no more bytes and items than are usual."""
        return replace(
            self,
            max_bytes=min(self.max_bytes, DEFAULT_LIMITS.max_bytes),
            max_items=min(self.max_items, DEFAULT_LIMITS.max_items),
        )


DEFAULT_LIMITS = Limits()
