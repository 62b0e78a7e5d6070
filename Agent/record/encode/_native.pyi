from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

class Judge:
    def __init__(
        self,
        *,
        known_keys: set[str],
        dumps: Callable[..., bytes],
        looks_clean: Callable[[bytes], bool] | None,
        options: int,
        tag_options: int,
        unread_bytes: int,
        prefixes: Iterable[bytes],
        near_names: Iterable[bytes],
        name_ends: Iterable[bytes],
        form_of: Callable[[Any], dict[str, Any] | None] | None = None,
    ) -> None: ...
    def line_end(self, payload: dict[str, Any], /) -> bytes | None: ...
    def tagged(self, payload: Any, pointer: str, /) -> tuple[bytes, dict[str, str] | None] | None: ...
    def value(self, value: Any, /) -> bytes | None: ...
    def clean(self, raw: bytes, /) -> bool: ...

def differing(
    present: dict[str, Any], last: dict[str, Any], ignored: dict[str, type], /
) -> list[tuple[str, Any]] | None: ...
def held(arguments: dict[str, Any], /) -> tuple[Any, ...] | None: ...
def still_holds(arguments: dict[str, Any], held: tuple[Any, ...], /) -> bool: ...
def set_watched(
    functions: tuple[Any, ...],
    drawing: tuple[Any, ...],
    seeding: tuple[Any, ...],
    own: str,
    not_own: str,
    hidden: object,
    /,
) -> bool: ...
def watch_calls(
    hook: Callable[[FrameType, str, Any], object] | None, known: dict[int, Any] | None, /
) -> None: ...
def told_hook() -> Callable[[FrameType, str, Any], object] | None: ...
def before_touch(function: Callable[[], object] | None, /) -> None: ...
def stamped(prefix: str, microsecond: int, writer: str, seq: int, /, *parts: bytes) -> tuple[bytes, str]: ...
