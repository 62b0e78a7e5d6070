from typing import Self

class Rows:
    def __new__(
        cls,
        agents: dict[str, int],
        kinds: dict[str, int],
        writers: dict[str, int],
        parties: dict[str, int],
        roles: dict[int, str],
        schema: int,
        /,
    ) -> Self: ...
    def take(
        self, lines: bytes, source: int, offset: int, place: int, numbered: bool, /
    ) -> tuple[tuple[bytes, ...], list[tuple[int, int, int]]]: ...
