from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
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
        suffixes: Iterable[bytes],
        inner_names: Iterable[bytes],
        other_scripts: Iterable[bytes],
        saying: Iterable[bytes],
        form_of: Callable[[Any], dict[str, Any] | None] | None = None,
    ) -> None: ...
    def line_end(self, payload: dict[str, Any], /) -> bytes | None: ...
    def tagged(
        self, payload: Any, pointer: str, forms: dict[int, dict[str, Any]] = ..., below: int = ..., /
    ) -> tuple[bytes, dict[str, str] | None] | None: ...
    def value(self, value: Any, /) -> bytes | None: ...
    def clean(self, raw: bytes, /) -> bool: ...
    def stays(self, body: bytes, own: frozenset[str], /) -> bool: ...
    def noted(
        self, last: dict[str, Any], heavy: frozenset[str], forms: dict[str, bytes], pointer: str, /
    ) -> tuple[bytes, dict[str, str] | None] | None: ...

def parts_within(
    values: list[Any],
    agent_of: Callable[[object], str | None],
    has_dict_alone: Callable[[type], bool],
    among: set[int] | None,
    /,
) -> set[int] | bool: ...
def fields_named(value: object, names: tuple[str, ...], /) -> dict[str, Any] | None: ...
def differing(
    present: dict[str, Any], last: dict[str, Any], ignored: dict[str, type], /
) -> list[tuple[str, Any]] | None: ...

class Lane:
    def __init__(
        self,
        *,
        judge: Judge,
        state_period: int,
        entry_looks: int,
        strict_state: bool,
        probes: int,
        sink: object,
        wall_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        stamps: object,
        threads: object,
        begin_second: Callable[[int], str],
        health: object,
        emit: Callable[..., str],
        read: Callable[..., None],
        report_drops: Callable[[], None],
        no_room: Callable[..., str],
        scope: ContextVar[Any],
        room_error: type[Exception],
        write_globals: dict[str, Any],
        pipeline: object,
        known: dict[int, Any],
        gone: object,
        probe: object,
        plain_read: Callable[[Any], Mapping[str, Any]],
    ) -> None: ...
    def hold(self, function: Callable[[Any, bytes, bytes, bytes, bytes], str] | None, /) -> None: ...
    def put(self, slot: Any, head: bytes, links: bytes, extra: bytes, rest: bytes, /) -> str: ...
    def emit_plain(self, slot: Any, label: str, payload: dict[str, Any], /) -> str: ...
    def emit_state(
        self,
        slot: Any,
        label: str,
        fields: bytes,
        types: dict[str, str] | None,
        said: dict[str, Any],
        more: list[tuple[bytes, bytes, dict[str, str] | None]],
        /,
    ) -> bool: ...

class Opener:
    def __init__(
        self,
        spec: Any,
        begin: Callable[[tuple[Any, ...], dict[str, Any]], Any],
        installed: dict[str, Any],
        player: ContextVar[Any],
        scope: ContextVar[Any],
        call_type: type[Any],
        /,
    ) -> None: ...
    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any: ...

def learn(classes: dict[str, type], /) -> None: ...
def quicken(call_type: type, /) -> None: ...
def moved(marks: list[list[Any]], /) -> list[int]: ...
def unlike_before(
    objects: tuple[Any, ...], mark_of: Callable[[Any], tuple[int | str, ...]], seen_at: int | None, /
) -> Sequence[Any]: ...
def same_content(copy: object, now: object, /) -> bool: ...
def random_mark(generator: object) -> tuple[int, int] | None: ...
def numpy_mark(generator: object) -> tuple[int, int] | None: ...
def attributes_named(value: object, names: tuple[str, ...], /) -> dict[str, Any]: ...
def looks_up_plainly(cls: type, /) -> bool: ...
def named_form(
    inner: bytes, types: dict[str, str] | None, pointer: str, /
) -> tuple[bytes, list[str]] | None: ...
def count_members(value: object) -> int: ...
def whole(value: Any, most: int, /) -> tuple[Any, ...] | None: ...
def is_whole(value: Any, whole: tuple[Any, ...], /) -> bool: ...
def learn_pass(
    used: tuple[Any, ...],
    plan: type,
    stands: type,
    reached: type,
    plans: dict[type, Any],
    storages: dict[type, Any],
    ways: dict[type, Any],
    readers: dict[type, Any],
    codecs: dict[type, Any],
    /,
) -> None: ...
def run_pass(walk: object, value: Any, /) -> None: ...
def part_at(value: Any, pointer: str, begin: int, /) -> Any: ...
def copied(walk: object, value: Any, pointer: str, depth: int, /) -> Any: ...
def most_needed(value: Any, /) -> int: ...
def snapshot(value: Any, /) -> tuple[Any, ...] | None: ...
def still_is(value: Any, snapshot: tuple[Any, ...], /) -> bool: ...
def judge_types(function: Callable[[type], bool | None], enum_type: type, /) -> None: ...
def tag_numbers(kind: type, tag: str, /) -> None: ...
def held(arguments: dict[str, Any], /) -> tuple[Any, ...] | None: ...
def are_few_scalars(attributes: dict[str, Any], /) -> bool: ...
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
