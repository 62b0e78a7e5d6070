"""What is kept of a value that cannot be restored: a short text, its class, its attributes; and locks.

No `__repr__` written in Python is ever called: one may loop, lock, query a database or draw a random number,
and a recording that does so changes what it records. Plain attributes say more and can be redacted by name.
"""

from __future__ import annotations

import _thread
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from threading import RLock
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from Agent.event.classes import (
    attributes_of,
    class_name,
    find_class,
    mro_of,
    remember,
    restore_attributes,
    text_or_none,
)
from Agent.event.values.digest import ALGORITHM, digest_bytes

CONTENT = "content"
"""The key of a form under which everything stands that the object holds, where it can be made again."""
OBJECT = "object"
"""The tag of an object inside such content, whose attributes are all that it is."""
CYCLE = "up"
"""The key of a form for a container that leads back to itself: the pointer to where it stands."""
NAMED = "named"
"""The key of a form under which stands the name that an object's module has for it, `module:NAME`."""
SAME = "same"
"""The tag inside such content of what occurs elsewhere in the value, too: its node is the pointer to it."""
SHARED = "shared"
"""The key of a form under which stands which containers around it the object holds: {where: where in it}."""
STAND_IN = "stand_in"
"""The tag of a task or a function that holds one inside such content, and the key of a form with some."""
TEXT_CHARS = 200
SHOWN_ATTRIBUTES = 16
_SAFE_REPRS = (type(...), type(NotImplemented), re.Pattern, memoryview)
_ADDRESS = re.compile(r"\bat 0x[0-9A-Fa-f]+")
_ARGS: Any = BaseException.__dict__["args"]


WRITTEN_OUTSIDE = "changed between its actions"
"""The reference recorded for an object that code other than its agent's actions changes."""


ELSEWHERE = ("shared with ", "environment ", WRITTEN_OUTSIDE)
"""What begins a reference to an object of which its agent's state does not tell all."""


def refers_elsewhere(shown: object) -> bool:
    """Whether a recorded value, as JSON, holds such a reference."""
    if type(shown) is list:
        return any(map(refers_elsewhere, shown))
    if type(shown) is not dict:
        return False
    return str(shown.get("reference")).startswith(ELSEWHERE) or any(map(refers_elsewhere, shown.values()))


class StandIn:
    """Stands where a task of the recorded process stood, or a function that held one.

    Args:
        name: the class of what stood there.
        used: is told what is called or read, and raises.
    """

    __slots__ = ("_name", "_used")

    def __init__(self, name: str, used: Callable[[str], Any]) -> None:
        self._name, self._used = name, used

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Say that it is called."""
        return self._used(self._name)

    def __getattr__(self, attribute: str) -> Any:
        return self._used(f"{attribute} of {self._name}")


class OpaqueKind(StrEnum):
    """What can be said of a value that no codec restores; each is a key of its form on disk."""

    COMPARABLE = "digest"
    REFERENCE = "reference"
    HANDLE = "handle"
    UNSEEN = "unseen"


class Content(NamedTuple):
    """What stands for the content of a value."""

    kind: OpaqueKind
    text: str
    """The digest with its algorithm, what names it, which handle it is, or why it cannot be seen."""
    size_bytes: int = 0
    agents: frozenset[str | int] = frozenset()
    """The agents that it leads to."""
    without_code: str = ""
    """The digest of the rest, where the content holds code: the same while somebody edits the code."""
    made: tuple[str | float, ...] = ()
    """Ids and moments in the content, in order: a library may have made them."""
    without_made: str = ""
    """The digest of the rest, where there are any."""


def describe(value: object, content: Content, failure: BaseException | None = None) -> dict[str, Any]:
    """The JSON object that stands for a value that cannot be restored.

    Keys: `repr` (at most 200 characters, no memory address), `class`, `attributes` (up to 16 plain ones,
    where there are any), `failure` (why capture gave up, where it did), `size_bytes` (of large content),
    `agents` (how many it leads to, where there are any), `without_code` (the digest of what is no code, where
    there is code), `made` (ids and moments in the content, in order) and `without_made` (the digest of
    the rest, where there are any), what makes it again (`content`, `named`, `shared`, `up`), and one of
    `digest`, `reference`, `handle` and `unseen`.
    """
    cls = type(value)
    seen: dict[str, Any] = (
        form_head(cls)
        if _is_ordinary(cls)
        else {"repr": shorten(_ADDRESS.sub("at 0x...", _text(value, cls))), "class": class_name(cls)}
    )
    shown = _plain_attributes(value)
    if shown:
        seen["attributes"] = shown
    if failure is not None:
        seen["failure"] = class_name(type(failure))
    if content.size_bytes > LARGE_BYTES:
        seen["size_bytes"] = content.size_bytes
    if content.agents:
        seen["agents"] = len(content.agents)
    if content.without_code:
        seen["without_code"] = content.without_code
    if content.made:
        seen["made"] = list(content.made)
        seen["without_made"] = content.without_made
    seen[content.kind.value] = content.text
    return seen


def form_head(cls: type) -> dict[str, Any]:
    """What the form of an object begins with whose class has no short text of its own."""
    name = class_name(cls)
    return {"repr": f"<{name} object>", "class": name}


LARGE_BYTES = 4096
"""Content above that has its size in its form."""


def _is_ordinary(cls: type) -> bool:
    """Whether its objects have no short text of their own."""
    try:
        return _ordinary[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        found = not issubclass(cls, (type, ModuleType, BaseException, *_SAFE_REPRS, *_FUNCTIONS))
        return remember(_ordinary, cls, found)


_ordinary: dict[type, bool] = {}
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)


def shorten(text: str) -> str:
    """The text, cut to 200 characters, as UTF-8 can hold it."""
    if len(text) > TEXT_CHARS:
        text = text[: TEXT_CHARS - 3] + "..."
    return text.encode("utf-8", "replace").decode()


def head_of_text(text: str, chars: int) -> dict[str, Any]:
    """What stands for a string that was cut: its head, its length, the digest of the whole."""
    head = text[: max(chars, 0)].encode("utf-8", "replace").decode()
    digest = f"{ALGORITHM}:{digest_bytes(text.encode('utf-8', 'surrogatepass'))}"
    return {"head": head, "chars": len(text), "digest": digest}


def head_of_bytes(data: bytes | bytearray, chars: int) -> dict[str, Any]:
    """The same for bytes; the head is base64."""
    from binascii import b2a_base64

    head = bytes(data[: max(chars, 0) // 4 * 3])
    return {
        "head": b2a_base64(head, newline=False).decode("ascii"),
        "bytes": len(data),
        "digest": f"{ALGORITHM}:{digest_bytes(bytes(data))}",
    }


def _text(value: Any, cls: type) -> str:
    # Classes are compared by `is`: a metaclass may have an `__eq__` and a `__hash__` of its own.
    if cls is FunctionType or cls is BuiltinFunctionType:
        return f"<function {_function_name(value)}>"
    if cls is MethodType:
        return f"<method {_function_name(value.__func__)} of {class_name(type(value.__self__))}>"
    if issubclass(cls, type):
        return f"<class {class_name(value)}>"
    if cls is ModuleType:
        return f"<module {text_or_none(vars(value).get('__name__')) or '?'}>"
    if issubclass(cls, BaseException):
        arguments = _ARGS.__get__(value)
        shown = ", ".join(repr(a) if _is_short(a) else "..." for a in arguments[:4])
        return f"{class_name(cls).rpartition('.')[2]}({shown})"
    safe = any(cls is known for known in _SAFE_REPRS)
    return repr(value) if safe else f"<{class_name(cls)} object>"


def _function_name(function: object) -> str:
    if type(function) is FunctionType or type(function) is BuiltinFunctionType:
        callee: Any = function
        module, name = text_or_none(callee.__module__), text_or_none(callee.__qualname__)
        return f"{module}.{name}" if module else str(name)
    return class_name(type(function))


def _is_short(value: object) -> bool:
    """Whether an exact scalar is small enough to be shown, so that a huge one costs nothing."""
    kind = type(value)
    if kind is str:
        return len(value) <= TEXT_CHARS  # type: ignore[arg-type]
    if kind is int:
        return value.bit_length() <= 63  # type: ignore[attr-defined,no-any-return]
    return kind is float or kind is bool or value is None


def _plain_attributes(value: object) -> dict[str, Any]:
    if issubclass(type(value), type | ModuleType):
        return {}
    try:
        attributes = attributes_without_waiters(value) if has_waiters(type(value)) else attributes_of(value)
    except (ValueError, RuntimeError, AttributeError, TypeError):
        return {}  # it hides them, or another thread changes them: the value is named all the same
    shown: dict[str, Any] = {}
    for name, attribute in attributes.items():
        if type(attribute) not in _SHOWN:
            continue
        if len(shown) == SHOWN_ATTRIBUTES:
            break
        if text_or_none(name) is not None and len(name) <= TEXT_CHARS and _is_shown(attribute):
            shown[name] = attribute
    return shown


_SHOWN = frozenset({str, int, float, bool, type(None)})


def _is_shown(attribute: object) -> bool:
    if type(attribute) is str:
        return _is_short(attribute) and text_or_none(attribute) is not None
    # A NaN has no JSON, and a tag would promise that it comes back.
    return _is_short(attribute) and (type(attribute) is not float or math.isfinite(attribute))


# Locks, and what is built on them: conditions, semaphores, events and queues of the standard library.
#
# Who holds or waits for one belongs to the process. One that nobody holds or waits for is its state alone,
# so that a new one can take its place when a recorded value is made again.

_ASYNC = ("Lock", "Event", "Semaphore", "BoundedSemaphore", "Barrier")
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue")
_OF_C: dict[str, Callable[[], Any]] = {"_thread.lock": _thread.allocate_lock, "_thread.RLock": RLock}
_STATE: dict[str, tuple[str, ...]] = {
    "threading.Condition": ("_lock",),
    "asyncio.locks.Condition": ("_lock",),
    **{f"queue.{name}": ("maxsize", "queue", "unfinished_tasks", "is_shutdown") for name in _QUEUES},
}
"""What is passed on of those whose constructor makes the rest; of the others all attributes are."""
_KNOWN = frozenset(
    [
        *_OF_C,
        *_STATE,
        "threading._RLock",
        *(f"threading.{name}" for name in ("Event", "Semaphore", "BoundedSemaphore", "Barrier")),
        *(f"asyncio.locks.{name}" for name in _ASYNC),
        *(f"asyncio.queues.{name}" for name in _QUEUES),
    ]
)
WAITING = ("_waiters", "_getters", "_putters")
_WITH_WAITERS = ("asyncio.locks.", "asyncio.queues.", "threading.Condition")
_WITHOUT_A_LIST = frozenset({"asyncio.locks.Lock", "asyncio.locks.Semaphore"})
"""Classes whose objects have no list of waiters before somebody waits."""


def is_name_of_lock(name: str) -> bool:
    """Whether the class of that name is one of those that this module can make."""
    return name in _KNOWN


def is_lock(cls: type) -> bool:
    """Whether it is one of those classes, and no subclass."""
    return class_name(cls) in _KNOWN


def has_waiters(cls: type) -> bool:
    """Whether objects of the class keep a list of who waits for them."""
    try:
        return _waited_for[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        return remember(
            _waited_for, cls, any(class_name(base).startswith(_WITH_WAITERS) for base in mro_of(cls))
        )


_waited_for: dict[type, bool] = {}


def attributes_without_waiters(value: object) -> dict[str, Any]:
    """The attributes of an object whose class has waiters, as they are while nobody waits for it or holds it.

    Raises ValueError where the class hides its `__dict__`.
    """
    found = attributes_of(value)
    found.pop("_loop", None)  # the loop in which somebody waited first
    if "_locked" in found:
        found["_locked"] = False
    for name in WAITING:
        if name in found:
            is_without = any(class_name(base) in _WITHOUT_A_LIST for base in mro_of(type(value)))
            found[name] = None if is_without else deque()
    return found


def parts_of_idle(value: object) -> dict[str, Any] | None:
    """What makes an object of one of these classes again; None while somebody holds it or waits for it."""
    if not _is_idle(value):
        return None
    name = class_name(type(value))
    if name in _OF_C:
        return {}
    parts = attributes_without_waiters(value)
    kept = _STATE.get(name)
    return parts if kept is None else {each: parts[each] for each in kept if each in parts}


def make_lock(name: str, parts: Mapping[str, Any]) -> Any:
    """An object of one of these classes with those parts; LookupError where its module is not loaded."""
    if name in _OF_C:
        return _OF_C[name]()
    cls: Any = find_class(name)
    if cls is None:
        raise LookupError(name)
    if name.endswith(".Condition"):
        made = cls(parts["_lock"])
    elif name in _STATE:
        made = cls()
        restore_attributes(made, parts)
    else:
        made = object.__new__(cls)
        restore_attributes(made, parts)
    return made


def _is_idle(value: Any) -> bool:
    name = class_name(type(value))
    if name == "_thread.lock":
        return not value.locked()
    if name == "_thread.RLock":
        return repr(value).startswith("<unlocked ")  # no method says it to other threads
    attributes = attributes_of(value)
    if attributes.get("_locked") or attributes.get("_owner") is not None:
        return False
    if any(attributes.get(each) for each in WAITING):
        return False
    return all(_is_idle(held) for held in attributes.values() if class_name(type(held)) in _KNOWN)
