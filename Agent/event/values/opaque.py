"""The form of a value that cannot be restored: a short text, its class, its attributes; and locks.

No `__repr__` written in Python is called: it may loop, lock, query a database or draw a random number, and
recording would then change the program. Plain attributes say more and can be redacted by name.
"""

from __future__ import annotations

import _thread
import math
import re
from binascii import b2a_base64
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from threading import RLock
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from Agent.event.classes import (
    MOST_CLASSES,
    attributes_of,
    by_class,
    class_name,
    find_class,
    known_name,
    mro_of,
    note_other_forms,
    own_attributes,
    restore_attributes,
    text_or_none,
)
from Agent.event.values.digest import ALGORITHM, digest_bytes
from Agent.event.values.plain import has_own_hash

CONTENT = "content"
"""Key in a form for all that the object holds, if it can be restored."""
OBJECT = "object"
"""Tag of an object inside such content that consists of its attributes."""
CYCLE = "up"
"""Key in a form for a container that contains itself: the pointer to the outer occurrence."""
NAMED = "named"
"""Key in a form for the name that the object's module has for it, `module:NAME`."""
SAME = "same"
"""Tag inside such content for an object that occurs elsewhere in the value; the node is its pointer."""
SHARED = "shared"
"""Key in a form for surrounding containers that the object also holds: {pointer: pointer inside it}."""
STAND_IN = "stand_in"
"""Tag of a task, or a function that holds one, inside such content; also the key of a form with some."""
TEXT_CHARS = 200
SHOWN_ATTRIBUTES = 16
_SAFE_REPRS = (type(...), type(NotImplemented), re.Pattern, memoryview)
_ADDRESS = re.compile(r"\bat 0x[0-9A-Fa-f]+")
_ARGS: Any = BaseException.__dict__["args"]


WRITTEN_OUTSIDE = "changed between its actions"
"""Reference recorded for an object that is changed by code other than its agent's actions."""


ELSEWHERE = ("shared with ", "environment ", WRITTEN_OUTSIDE)
"""Prefixes of references to objects that the agent's state does not fully record."""


NOT_READ = "not read in this call"
"""Reference recorded for an argument with much content in calls that do not read it."""


def refers_elsewhere(shown: object) -> bool:
    """Whether a recorded JSON value contains such a reference."""
    if type(shown) is list:
        return any(map(refers_elsewhere, shown))
    if type(shown) is not dict:
        return False
    return str(shown.get("reference")).startswith(ELSEWHERE) or any(map(refers_elsewhere, shown.values()))


class StandIn:
    """Replaces a task of the recorded process, or a function that held one.

    Args:
        name: the class of the replaced object.
        used: called with a description of the call or the attribute read; it raises.
    """

    __slots__ = ("_name", "_used")

    def __init__(self, name: str, used: Callable[[str], Any]) -> None:
        self._name, self._used = name, used

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Report the call to `used`."""
        return self._used(self._name)

    def __getattr__(self, attribute: str) -> Any:
        return self._used(f"{attribute} of {self._name}")


class OpaqueKind(StrEnum):
    """The description of a value that no codec restores; each kind is a key of its form on disk."""

    COMPARABLE = "digest"
    REFERENCE = "reference"
    HANDLE = "handle"
    UNSEEN = "unseen"


class Content(NamedTuple):
    """The content of a value."""

    kind: OpaqueKind
    text: str
    """The digest with its algorithm, the reference, the kind of handle, or why the value is unseen."""
    size_bytes: int = 0
    agents: frozenset[str | int] = frozenset()
    """The agents that it leads to."""
    without_code: str = ""
    """The digest without code, if the content has code: it stays the same when code is edited."""
    made: tuple[str | float, ...] = ()
    """Ids and moments in the content, in order: a library may have made them."""
    without_made: str = ""
    """The digest of the rest, if the content has any."""
    generators: tuple[tuple[str, str], ...] = ()
    """The functions of suspended generators in the content, each with the digest of its code."""
    without_frames: str = ""
    """The digest without their places and variables; empty if the value itself is a generator."""


class ReachedObjects:
    """Objects reached by earlier walks over parts of the same value.

    If many objects lead to one large graph, walks from each of them would take quadratic time. Once the walks
    have visited `MANY_NODES`, an object that an earlier walk reached counts by its position in that walk,
    unless it holds little.

    Args:
        are_of_one_moment: whether all walks are parts of one, so that a generator is read once for all.
        leaves_out_made: whether ids and moments that may have been made anew are left out of whole digests.
    """

    __slots__ = ("generators", "made", "nodes", "places")

    def __init__(self, *, are_of_one_moment: bool = False, leaves_out_made: bool = True) -> None:
        self.nodes = 0
        self.made: list[str | float] | None = [] if leaves_out_made else None
        """The ids and moments that digests left out; None if they leave none out."""
        self.places: dict[int, tuple[Content, int, object]] = {}
        """{id: (content of the value where that walk began, position in it, the object)}."""
        self.generators: dict[int, tuple[object, tuple[str, Any]]] | None = {} if are_of_one_moment else None
        """{id: (a random generator, its reduced form)}: many parts may hold one, which takes long to read."""

    def by_place(self, value: object) -> Content | None:
        """Return the content of an object by its position in an earlier walk; None if no walk reached it."""
        known = self.places.get(id(value)) if self.nodes > MANY_NODES else None
        return None if known is None else known[0]._replace(text=f"{known[0].text}@{known[1]}")


MANY_NODES = 2_000


def describe(
    value: object,
    content: Content,
    failure: BaseException | None = None,
    *,
    shows: bool = True,
    attributes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON object for a value that cannot be restored by a codec.

    Keys: `repr` (at most 200 characters, no memory address), `class`, `attributes` (up to 16 plain ones, if
    it has any), `failure` (why capture gave up), `size_bytes` (of large content), `agents` (the number that
    it leads to, if any), `without_code` (the digest without code, if it has code), `made` (ids and moments in
    the content, in order) and `without_made` (the digest of the rest, if it has any), `generators` and
    `without_frames` (the same for the code and the frames of suspended generators), what restores it
    (`content`, `named`, `shared`, `up`), and one of `digest`, `reference`, `handle` and `unseen`.

    Args:
        shows: whether to add `attributes`.
        attributes: those of the value, if the caller has read them.
    """
    cls = type(value)
    is_ordinary = _is_ordinary(cls)
    seen: dict[str, Any] = (
        form_head(cls)
        if is_ordinary
        else {"repr": shorten(_ADDRESS.sub("at 0x...", _text(value, cls))), "class": class_name(cls)}
    )
    if shows and (is_ordinary or not issubclass(cls, (type, ModuleType))):
        shown = _plain_attributes(value, attributes)
        if shown:
            seen["attributes"] = shown
    if failure is not None:
        seen["failure"] = class_name(type(failure))
    _, _, size_bytes, agents, without_code, made, without_made, generators, without_frames = content
    if size_bytes > LARGE_BYTES:
        seen["size_bytes"] = size_bytes
    if agents:
        seen["agents"] = len(agents)
    if without_code:
        seen["without_code"] = without_code
    if made:
        seen["made"] = list(made)
        seen["without_made"] = without_made
    if generators:
        seen["generators"] = list(map(list, generators))
    if without_frames:
        seen["without_frames"] = without_frames
    seen[content.kind._value_] = content.text
    return seen


def form_head(cls: type) -> dict[str, Any]:
    """Return the beginning of the form of an object whose class has no short text."""
    name = known_name(cls)
    return {"repr": f"<{name} object>", "class": name}


LARGE_BYTES = 4096
"""Content above this size has `size_bytes` in its form."""


@by_class
def _is_ordinary(cls: type) -> bool:
    """Whether its objects have no short text."""
    return not issubclass(cls, (type, ModuleType, BaseException, *_SAFE_REPRS, *_FUNCTIONS))


_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)


def shorten(text: str) -> str:
    """Return the text cut to 200 characters, as valid UTF-8."""
    if len(text) > TEXT_CHARS:
        text = text[: TEXT_CHARS - 3] + "..."
    return text.encode("utf-8", "replace").decode()


def head_of_text(text: str, chars: int) -> dict[str, Any]:
    """Return the form of a string that was cut: its head, its length, the digest of the whole."""
    head = text[: max(chars, 0)].encode("utf-8", "replace").decode()
    digest = f"{ALGORITHM}:{digest_bytes(text.encode('utf-8', 'surrogatepass'))}"
    return {"head": head, "chars": len(text), "digest": digest}


def head_of_bytes(data: bytes | bytearray, chars: int) -> dict[str, Any]:
    """Return the form of bytes that were cut, as `head_of_text` does; the head is base64."""
    head = bytes(data[: max(chars, 0) // 4 * 3])
    return {
        "head": b2a_base64(head, newline=False).decode("ascii"),
        "bytes": len(data),
        "digest": f"{ALGORITHM}:{digest_bytes(bytes(data))}",
    }


def _text(value: Any, cls: type) -> str:
    # Compare classes by `is`: a metaclass may define `__eq__` and `__hash__`.
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
    """Whether an exact scalar is small enough to be shown; checked without converting it."""
    kind = type(value)
    if kind is str:
        return len(value) <= TEXT_CHARS  # type: ignore[arg-type]
    if kind is int:
        return value.bit_length() <= 63  # type: ignore[attr-defined,no-any-return]
    return kind is float or kind is bool or value is None


def _plain_attributes(value: object, attributes: dict[str, Any] | None) -> dict[str, Any]:
    try:
        if has_waiters(type(value)):
            attributes = attributes_without_waiters(value)
        elif attributes is None:
            attributes = own_attributes(value)
    except (ValueError, RuntimeError, AttributeError, TypeError):
        return {}  # it hides them, or another thread changes them; the form works without
    return shown_of(attributes, SHOWN_ATTRIBUTES, TEXT_CHARS)


def _shown_of(attributes: dict[str, Any], most: int, most_chars: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, attribute in list(attributes.items()):
        kind = type(attribute)
        if kind is int:
            is_shown = -_BELOW_INTEGERS < attribute < _BELOW_INTEGERS
        elif kind is bool or attribute is None:
            is_shown = True
        elif kind is float:
            # NaN has no JSON, and a tag would promise that it can be restored.
            is_shown = math.isfinite(attribute)
        elif kind is str:
            is_shown = len(attribute) <= most_chars and text_or_none(attribute) is not None
        else:
            continue
        if len(shown) == most:
            break
        if not (type(name) is str and name.isascii()) and text_or_none(name) is None:
            continue
        if is_shown and len(name) <= most_chars:
            shown[name] = attribute
    return shown


shown_of: Callable[[dict[str, Any], int, int], dict[str, Any]] = _shown_of
"""Returns the attributes that a form shows, up to a number of attributes and of characters.

`record/` replaces it by a C function.
"""
_BELOW_INTEGERS = 1 << 63
"""Integers of 64 bits are shown."""


# Locks and types that use them: conditions, semaphores, events and queues of the standard library.
#
# Holders and waiters belong to the process. An idle lock consists of its state alone, so a new one can
# replace it when a recorded value is restored.

_ASYNC = ("Lock", "Event", "Semaphore", "BoundedSemaphore", "Barrier")
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue")
_OF_C: dict[str, Callable[[], Any]] = {"_thread.lock": _thread.allocate_lock, "_thread.RLock": RLock}
_STATE: dict[str, tuple[str, ...]] = {
    "threading.Condition": ("_lock",),
    "asyncio.locks.Condition": ("_lock",),
    **{f"queue.{name}": ("maxsize", "queue", "unfinished_tasks", "is_shutdown") for name in _QUEUES},
}
"""The attributes kept for classes whose constructor makes the rest; other classes keep all attributes."""
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
"""Classes whose objects have no list of waiters until the first one waits."""


def is_name_of_lock(name: str) -> bool:
    """Whether this module can build objects of the class with that name."""
    return name in _KNOWN


@by_class
def is_lock(cls: type) -> bool:
    """Whether the class is exactly one of those."""
    return class_name(cls) in _KNOWN


@by_class
def has_waiters(cls: type) -> bool:
    """Whether objects of the class keep a list of waiters."""
    return any(class_name(base).startswith(_WITH_WAITERS) for base in mro_of(cls))


def attributes_without_waiters(value: object) -> dict[str, Any]:
    """Return an object's attributes as they are while nobody holds it or waits for it.

    Raises ValueError if the class hides its `__dict__`.
    """
    attributes = attributes_of(value)
    attributes.pop("_loop", None)  # the loop of the first waiter
    if "_locked" in attributes:
        attributes["_locked"] = False
    for name in WAITING:
        if name in attributes:
            is_without = any(class_name(base) in _WITHOUT_A_LIST for base in mro_of(type(value)))
            attributes[name] = None if is_without else deque()
    return attributes


def parts_of_idle(value: object) -> dict[str, Any] | None:
    """Return what restores an object of these classes; None while it is held or waited for."""
    if not _is_idle(value):
        return None
    name = class_name(type(value))
    if name in _OF_C:
        return {}
    parts = attributes_without_waiters(value)
    kept = _STATE.get(name)
    return parts if kept is None else {each: parts[each] for each in kept if each in parts}


def make_lock(name: str, parts: Mapping[str, Any]) -> Any:
    """Build an object of these classes from its parts; LookupError if its module is not loaded."""
    if name in _OF_C:
        return _OF_C[name]()
    cls: Any = find_class(name)
    if cls is None:
        raise LookupError(name)
    if name.endswith(".Condition"):
        lock = cls(parts["_lock"])
    elif name in _STATE:
        lock = cls()
        restore_attributes(lock, parts)
    else:
        lock = object.__new__(cls)
        restore_attributes(lock, parts)
    return lock


def _is_idle(value: Any) -> bool:
    name = class_name(type(value))
    if name == "_thread.lock":
        return not value.locked()
    if name == "_thread.RLock":
        return repr(value).startswith("<unlocked ")  # no method shows it to other threads
    attributes = attributes_of(value)
    if attributes.get("_locked") or attributes.get("_owner") is not None:
        return False
    if any(attributes.get(each) for each in WAITING):
        return False
    return all(_is_idle(member) for member in attributes.values() if class_name(type(member)) in _KNOWN)


class _InVain(NamedTuple):
    content: Content
    times: int
    nodes: int
    """How many values the walks over these objects visited."""


_in_vain: dict[type, _InVain] = {}
_OFTEN = 8
"""After this many objects of a class that were too large, its objects are not walked any more."""
_MOST_NODES = 200_000
"""Nor after so many values: a walk over 100,000 takes 0.2 s, and each agent may be given such an object."""


def often_reference(cls: type) -> Content | None:
    """Return the content for objects of a class that was too large too often to be walked; else None."""
    known = _in_vain.get(cls) if _in_vain and not has_own_hash(cls) else None
    is_often = known is not None and (known.times >= _OFTEN or known.nodes >= _MOST_NODES)
    return known.content if known is not None and is_often else None


def count_in_vain(cls: type, content: Content, nodes: int) -> None:
    """Count that an object of a class was too large, and how many values a walk visited until that showed."""
    known = _in_vain.get(cls)
    if known is None and len(_in_vain) >= MOST_CLASSES:
        return
    if known is None or known.content != content:
        known = _InVain(content, 0, 0)
    was_walked = often_reference(cls) is None
    _in_vain[cls] = _InVain(content, known.times + 1, known.nodes + nodes)
    if was_walked and often_reference(cls) is not None:
        note_other_forms()
