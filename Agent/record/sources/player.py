"""The seam through which a replay answers sources; nothing else in here knows about replay.

`replay/` installs a `SourcePlayer` as `installed.source_player`; every seam asks it first.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from Agent.record.sources.adopted import Adopted

T = TypeVar("T")


class SourcePlayer(Protocol):
    """Gives what was read in the recording, or what the source gives now, which it notes."""

    def read(self, source: str, frame: FrameType, now: Callable[[], T], decode: Callable[[Any], T]) -> T:
        """What the source gave the action that is replayed; `decode` makes it of its JSON."""

    def variable(self, name: str, frame: FrameType, now: Callable[[], Any]) -> Any:
        """What a variable of the environment held: text, None for nothing, a list under the name `*`."""

    def draw(self, adopted: Adopted, count: int, now: Callable[[], T]) -> T:
        """A draw from an adopted generator, which is put first where it stood in the recording."""

    def restarted(self, adopted: Adopted, *, is_known: bool, mark: str | None = None) -> None:
        """A generator was seeded or set.

        Args:
            is_known: by values that the code has, not by entropy.
            mark: what tells these values from others, where draws are kept by value.
        """
