from typing import Any, Self

class Lines:
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...
    def look(self) -> None: ...
    def marks(self) -> bytes: ...

class Files:
    def __new__(
        cls, files: tuple[tuple[str, int, int, int], ...], newest_schema: int, longest_line: int, /
    ) -> Self: ...
    def lines(
        self,
        columns: tuple[tuple[str, str, str | None, str | None], ...],
        kinds: tuple[str, ...] | None,
        levels: int,
        since_us: int,
        until_us: int,
        ids: tuple[str, ...] | None,
        spans: tuple[str, ...] | None,
        /,
    ) -> Lines: ...
    def numbers(self) -> dict[str, bytes] | None: ...
    def ends_us(self) -> tuple[int, int] | None: ...
