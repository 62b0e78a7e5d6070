"""The content of a value beyond its attributes, by class: the table that digests and the docs share.

Readers use functions written in C, or read attributes without any hook of the class. None of them calls a
user-written method or consumes anything.
"""

from __future__ import annotations

import gc
import sys
import threading
from _weakref import ref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from operator import is_not
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CellType,
    CodeType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple

from Agent.event.classes import (
    by_class,
    class_name,
    find_class,
    find_in_classes,
    mro_of,
    namespace_of,
    solid_base,
    text_or_none,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.script_names import class_text, module_name, without_class_ids
from Agent.event.values.arrays import bytes_of, columns_of
from Agent.event.values.digest import ALGORITHM, WITH_MORE


class Unreadable(Exception):
    """The content of the value cannot be read; the message gives the reason."""


TRACING = "tracing object"
"""The handle kind of loggers, recorders and tools of this package."""

_HANDLES = {
    name: kind
    for kind, names in {
        "lock": "_thread.lock _thread.RLock threading._RLock _multiprocessing.SemLock",
        "thread": "threading.Thread _thread._ThreadHandle",
        "file": (
            "_io._IOBase tempfile._TemporaryFileWrapper tempfile.TemporaryDirectory mmap.mmap "
            "posix.ScandirIterator"
        ),
        "socket": (
            "_socket.socket _ssl._SSLContext _ssl._SSLSocket select.epoll selectors.BaseSelector "
            "asyncio.transports.BaseTransport multiprocessing.connection._ConnectionBase"
        ),
        "event loop": "asyncio.events.AbstractEventLoop",
        "task": "_asyncio.Future asyncio.futures.Future",
        "executor": "concurrent.futures._base.Executor",
        "logger": "logging.Logger logging.LoggerAdapter logging.Handler",
        "process": "subprocess.Popen multiprocessing.process.BaseProcess",
        "database connection": "sqlite3.Connection sqlite3.Cursor",
        "traceback": "builtins.traceback",
        "frame": "builtins.frame",
        "source of entropy": "random.SystemRandom",
    }.items()
    for name in names.split()
}
_HANDLES_OF_MODULES = (
    ("structlog.", "logger"),
    ("asyncio.streams.", "stream"),
    ("asyncio.base_events.", "server"),
    ("asyncio.subprocess.", "process"),
)
_OWN_PACKAGES = tuple(
    f"Agent.{name}." for name in ("record", "utils", "flight", "tree", "client", "config", "testing")
)
_VALUES_OF_OURS = ("Agent.record.messages.", "Agent.event.")

_DESCRIPTORS = (MemberDescriptorType, GetSetDescriptorType)


@by_class
def handle_of(cls: type) -> str | None:
    """Return the handle kind of a class's objects; None if they are not handles."""
    names = [class_name(base) for base in mro_of(cls)]
    if "_io.StringIO" in names or "_io.BytesIO" in names:
        return None
    for name in names:
        kind = _HANDLES.get(name)
        if kind is not None:
            return kind
        for module, kind in _HANDLES_OF_MODULES:
            if name.startswith(module):
                return kind
    if find_in_classes(cls, "__agent_trace_recorded__") is not None:
        return TRACING  # a recorded model, whose calls get recorded responses
    if names[0].startswith(_OWN_PACKAGES) and not names[0].startswith(_VALUES_OF_OURS):
        return TRACING
    return None


_WRAPPING_FILES = frozenset(
    ["_io.TextIOWrapper", "_io.BufferedReader", "_io.BufferedWriter", "_io.BufferedRandom"]
)


def is_over_memory(value: Any) -> bool:
    """Whether a file object works on bytes in memory, which makes it a value and not a handle."""
    io = sys.modules.get("_io")
    if io is None or handle_of(type(value)) != "file":
        return False
    for _ in range(_MOST_WRAPPERS):
        cls = type(value)
        if class_name(cls) in _WRAPPING_FILES:
            try:
                value = value.buffer if cls is io.TextIOWrapper else value.raw
            except ValueError:  # it was detached
                return False
        else:
            return issubclass(cls, io.BytesIO)
    return False


def reference_of(value: object) -> str | None:
    """Return the name of a class, a module, or a function that reads a source; None for other values."""
    cls = type(value)
    if cls in CALLABLE:
        name = _source_function(value)
        return None if name is None else f"function {name}"
    if issubclass(cls, type):
        name = class_name(value)  # type: ignore[arg-type]
        if find_class(name) is not value and solid_base(value) is not value:  # type: ignore[arg-type]
            return None
        for module, former in _FORMER_MODULES:
            if name.startswith(module):
                name = former + name.removeprefix(module)
        return f"class {name}"
    if cls is ModuleType or issubclass(cls, ModuleType):
        own = ModuleType.__getattribute__(value, "__dict__")
        name = own.get("__name__")
        was_imported = own.get("__spec__") is not None or sys.modules.get(name) is value
        # One that the program made is its data.
        return f"module {name}" if was_imported or type(name) is not str else None
    return None


# Recordings contain the names of logger classes with their original modules.
_FORMER_MODULES = (
    ("Agent.record.loggers.loggers.", "Agent.record.loggers."),
    ("Agent.record.loggers.program_loggers.", "Agent.record.program_loggers."),
    ("Agent.record.loggers.resources.", "Agent.record.resources."),
    ("Agent.record.loggers.typed_loggers.", "Agent.record.typed_loggers."),
)
CALLABLE = frozenset({MethodType, BuiltinFunctionType, FunctionType})
_SOURCE_MODULES = frozenset({"time", "posix", "nt"})


def _source_function(value: Any) -> str | None:
    """Return the name of a function of `random`, `numpy.random`, `time` or `os`, or of its replacement.

    The state of a module's global generator does not belong to those who hold such a function: it is a source
    of the whole process. While sources are recorded, functions of this package replace them.
    """
    if type(value) is FunctionType:
        if not value.__code__.co_filename.startswith(_SEAM_FILES):
            return None
        original = value.__dict__.get("__wrapped__")
        if original is not None:
            return _source_function(original) if type(original) in CALLABLE else None
        generator = _hidden_generator("random")
        return next(
            (f"random.{name}" for name, each in getattr(generator, "__dict__", {}).items() if each is value),
            None,
        )
    owner = value.__self__
    if type(owner) is ModuleType:
        return f"{value.__module__}.{value.__name__}" if value.__module__ in _SOURCE_MODULES else None
    if type(owner) is type and owner.__module__ == "datetime":
        return f"datetime.{owner.__name__}.{value.__name__}"
    for module in ("random", "numpy.random"):
        if owner is not None and owner is _hidden_generator(module):
            return f"{module}.{value.__name__}"
    return None


def _hidden_generator(module: str) -> Any:
    loaded = sys.modules.get(module)
    if module == "numpy.random":
        return getattr(getattr(loaded, "mtrand", None), "_rand", None)
    return None if loaded is None else vars(loaded).get("_inst")


def _class(value: Any) -> Pieces:
    """Return the content and bases of a class that no module has under its name, such as a local one."""
    own = {
        name: item
        for name, item in sorted(namespace_of(value).items())
        if name not in OF_EVERY_CLASS and name not in _MADE_OF_FIELDS and type(item) not in _DESCRIPTORS
    }
    return Pieces("class", (class_text(value), mro_of(value)[1:]), mapping=tuple(own.items()))


OF_EVERY_CLASS = frozenset(
    ["__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__", "_abc_impl"]
)
"""Members of a class that are none of its data."""
_MADE_OF_FIELDS = frozenset(
    [
        *("__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__", "__signature__"),
        *("__pydantic_complete__", "__pydantic_fields_complete__", "__pydantic_parent_namespace__"),
        *("__pydantic_setattr_handlers__", "__pydantic_extra_info__"),
    ]
)
"""What pydantic derives from a model's fields and decorators: it has addresses, and parts appear late."""


class Name(NamedTuple):
    """A module name and a name in it; the module may be the running script."""

    module: Any
    name: str


class Pieces(NamedTuple):
    """The parts inside a value, in an order that is the same in every run."""

    label: str
    """The form of the parts."""
    ordered: tuple[Any, ...] = ()
    members: Iterable[Any] | None = None
    """Members whose order has no meaning."""
    mapping: tuple[tuple[Any, Any], ...] | None = None
    raw: bytes | None = None
    """Bytes that are the content."""
    has_code: bool = False
    """Whether it includes code, which differs between Python versions."""
    algorithm: str = ALGORITHM
    """The prefix of a digest of them; `WITH_MORE` if those of earlier versions left out some of the parts."""


_Reader = Callable[[Any], Pieces]


def pieces_of(value: Any, base: type) -> Pieces | None:
    """Return the content of the C part of a value; None if it has only attributes.

    Args:
        base: the C class that determines its layout.

    Raises:
        Unreadable: it holds something that cannot be read.
    """
    return None if base is object else reader_of(base)(value)


@by_class
def reader_of(base: type) -> _Reader:
    """Return the function that reads the C part of values with this base."""
    own = namespace_of(base)
    if issubclass(base, tuple) and own.get("n_fields") != own.get("n_sequence_fields"):
        return partial(_struct_sequence, base=base)
    for each in mro_of(base):
        reader = _READERS.get(each) or _BY_NAME.get(class_name(each))
        if reader is not None:
            return reader
    if issubclass(base, BaseException):
        return partial(_exception, base=base)
    return _reduction_of(base, class_name(base))


def _struct_sequence(value: Any, base: type) -> Pieces:
    """Return the content of a tuple made in C with fields beside its items, as in `time` and `os`."""
    members = sorted(namespace_of(base).items())
    fields = [(name, each.__get__(value)) for name, each in members if type(each) is MemberDescriptorType]
    return Pieces("tuple", (*tuple.__iter__(value), fields), algorithm=WITH_MORE)


def _mapping(base: type) -> _Reader:
    items: Any = vars(base)["items"]
    return lambda value: Pieces(base.__name__, mapping=tuple(items(value)))


def _items(base: type) -> _Reader:
    return lambda value: Pieces(base.__name__, tuple(base.__iter__(value)))  # type: ignore[attr-defined]


def _set(base: type) -> _Reader:
    return lambda value: Pieces(base.__name__, members=list(base.__iter__(value)))  # type: ignore[attr-defined]


def _defaultdict(value: Any) -> Pieces:
    factory = vars(defaultdict)["default_factory"].__get__(value)
    return Pieces("defaultdict", (factory,), mapping=tuple(dict.items(value)))


def _ordered_dict(value: Any) -> Pieces:
    items = tuple(OrderedDict.items(value))
    is_moved = any(map(is_not, OrderedDict.__iter__(value), dict.__iter__(value)))
    return Pieces("OrderedDict", mapping=items, algorithm=WITH_MORE if is_moved else ALGORITHM)


def _memoryview(value: Any) -> Pieces:
    try:
        about = (value.format, list(value.shape or ()))
        pieces = Pieces("memoryview", about, raw=memoryview.tobytes(value))
    except ValueError as error:
        raise Unreadable("a released memoryview") from error
    return pieces if value.readonly else pieces._replace(ordered=(*about, "w"), algorithm=WITH_MORE)


def _array(value: Any) -> Pieces:
    array: Any = sys.modules["array"].array
    return Pieces(f"array:{vars(array)['typecode'].__get__(value)}", raw=array.tobytes(value))


def _function(value: Any) -> Pieces:
    function: Any = value
    file = function.__code__.co_filename
    if file.startswith(_PACKAGE_FILES) and "__wrapped__" in function.__dict__:
        return Pieces("traced", (function.__dict__["__wrapped__"],))
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    members = (function.__defaults__, function.__kwdefaults__, tuple(cells), dict(function.__dict__) or None)
    name = Name(function.__module__, str(function.__qualname__))
    code = None if is_at_its_name(function) else function.__code__
    given = _given_to(function)
    algorithm = WITH_MORE if given else ALGORITHM
    return Pieces("function", (name, *members, code, *given), has_code=code is not None, algorithm=algorithm)


def _given_to(function: Any) -> tuple[Any, ...]:
    """Return the name and the documentation of a function if the program set them, not its source."""
    name, doc = function.__name__, function.__doc__
    wrapped = function.__dict__.get("__wrapped__")
    sources = [function.__code__.co_consts[:1], (wrapped.__doc__,) if type(wrapped) is FunctionType else ()]
    is_own = type(doc) is not str or any(type(each) is str and each == doc for each in chain(*sources))
    if is_own and name == function.__qualname__.rpartition(".")[2]:
        return ()
    return name, None if is_own else doc


def is_at_its_name(function: Any) -> bool:
    """Whether a module has the function under the function's name, so that the name identifies it."""
    return any(
        each is function for each in at_name(sys.modules.get(function.__module__), function.__qualname__)
    )


def at_name(module: Any, qualname: str) -> Iterator[Any]:
    """Yield what a module has under a qualified name, and everything that it wraps."""
    member = module
    for part in qualname.split("."):
        try:
            namespace = namespace_of(member) if issubclass(type(member), type) else vars(member)
        except TypeError:
            return  # it has no attributes to descend into
        member = namespace.get(part)
    for _ in range(_MOST_WRAPPERS):
        yield member
        wrapped = getattr(member, "__func__", None) if type(member) in _HOLDERS else None
        member = wrapped or getattr(member, "__dict__", {}).get("__wrapped__")
        if member is None:
            return


_HOLDERS = (staticmethod, classmethod)
_MOST_WRAPPERS = 16


_PACKAGE_FILES = __file__[: -len("event/values/class_contents.py")]
_SEAM_FILES = f"{_PACKAGE_FILES}record/sources/"


_EMPTY_CELL = "<empty cell>"


def contents_of_cell(cell: Any) -> list[Any]:
    """Return the content of a cell of a closure; an empty list if it has none."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _cell(cell: Any) -> Any:
    return next(iter(contents_of_cell(cell)), _EMPTY_CELL)


def _builtin(value: Any) -> Pieces:
    owner = value.__self__
    if owner is None or type(owner) is ModuleType:
        return Pieces("builtin", (Name(value.__module__, value.__qualname__),))
    return Pieces("builtin method", (value.__qualname__, owner))


def _wrapper(value: Any) -> Pieces:
    return Pieces("slot", (str(value.__name__), getattr(value, "__self__", None)))


def _partial(value: Any) -> Pieces:
    return Pieces("partial", tuple([read(value) for read in _READ_PARTIAL]))


_READ_PARTIAL = [vars(partial)[name].__get__ for name in ("func", "args", "keywords")]


def _code(value: CodeType) -> Pieces:
    names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
    counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    contents = (value.co_name, names, counts, value.co_consts)
    return Pieces("code", contents, raw=value.co_code, has_code=True)


def _generator(value: Any, prefix: str = "gi") -> Pieces:
    """Return the content of a generator, coroutine or asynchronous generator; of a running one its name."""
    code, frame = getattr(value, f"{prefix}_code"), getattr(value, f"{prefix}_frame")
    if getattr(value, f"{prefix}_running"):
        return Pieces("running generator", (code.co_qualname,))
    if frame is None:
        return Pieces("finished generator", (code.co_name,))
    if _frames.noted is not None:
        _frames.noted[id(code)] = f"{module_name(frame.f_globals.get('__name__'))}.{code.co_qualname}", code
        if _frames.are_left_out:
            return Pieces("generator", (code.co_qualname,))
    # The function precedes the local variables and the stack with the iterators of loops. Debuggers and
    # tracers add the frame and a copy of its variables before the function, so skip what precedes it.
    referents = gc.get_referents(value)
    at = next(
        (at for at, each in enumerate(referents) if type(each) is FunctionType and referents[at + 1] is code),
        0,
    )
    # The slot for a handled exception is None or empty, depending on who ran before.
    while referents[-1] is None:
        referents.pop()
    return Pieces("generator", (frame.f_lasti, *referents[at:]), has_code=True)


class _Frames(threading.local):
    """What reading the frames of generators notes in this thread."""

    noted: dict[int, tuple[str, CodeType]] | None = None
    are_left_out = False


_frames = _Frames()
_digests_of_code: dict[int, tuple[CodeType, str]] = {}
_MOST_GENERATORS = 64
_GENERATORS = (GeneratorType, CoroutineType, AsyncGeneratorType)


def digests_without_code(
    value: object, digest: Callable[[], str], content_of: Callable[[CodeType], Any]
) -> dict[str, Any]:
    """Return `without_code` of a `Content`, and `generators` and `without_frames` for suspended generators.

    Args:
        value: the value with code in it.
        digest: computes its digest without code.
        content_of: returns the content of code.
    """
    noted: dict[int, tuple[str, CodeType]] = {}
    _frames.noted = noted
    try:
        found: dict[str, Any] = {"without_code": digest()}
        if not 0 < len(noted) <= _MOST_GENERATORS:
            return found
        _frames.are_left_out = True
        if type(value) not in _GENERATORS:
            found["without_frames"] = digest()
    finally:
        _frames.noted, _frames.are_left_out = None, False
    for identity, (_, code) in noted.items():
        if _digests_of_code.get(identity, (None,))[0] is not code:
            if len(_digests_of_code) >= _MOST_GENERATORS:
                _digests_of_code.clear()
            _digests_of_code[identity] = code, content_of(code).text
    names = ((name, _digests_of_code[identity][1]) for identity, (name, _) in noted.items())
    return found | {"generators": tuple(names)}


def _proxy(value: Any) -> Pieces:
    return Pieces(type(value).__name__, tuple(gc.get_referents(value)[:1]))


def _generator_of_numbers(value: Any) -> Pieces:
    base: Any = sys.modules["_random"].Random
    return Pieces("random", (base.getstate(value),))


def _context_variable(value: Any) -> Pieces:
    try:
        return Pieces("context variable", (value.name, value.get()))
    except LookupError:
        return Pieces("context variable", (value.name,))


def _local(value: Any) -> Pieces:
    """Return what thread-local storage holds for this thread."""
    local = vars(sys.modules["_thread"])["_local"]
    return Pieces("local", mapping=tuple(sorted(local.__getattribute__(value, "__dict__").items())))


def _weak(value: Any) -> Pieces:
    target, callback = ref.__call__(value), vars(ref)["__callback__"].__get__(value)
    # The containers of `weakref` remove what is gone in callbacks of their own.
    if callback is None or (type(callback) is FunctionType and _is_of_weakref(callback)):
        return Pieces("weak reference", (target,))
    return Pieces("weak reference", (target, callback), algorithm=WITH_MORE)


def _is_of_weakref(function: Any) -> bool:
    return text_or_none(function.__globals__.get("__name__")) in {"weakref", "_weakrefset"}


def _file(value: Any) -> Pieces:
    base: Any = solid_base(type(value))
    if base.closed.__get__(value):
        return Pieces(f"closed {base.__name__}")
    content, position = base.getvalue(value), base.tell(value)
    if type(content) is bytes:
        return Pieces(base.__name__, (position,), raw=content)
    newline = newline_of(value)
    if newline == "\n":
        return Pieces(base.__name__, (content, position))
    return Pieces(base.__name__, (content, position, newline), algorithm=WITH_MORE)


def newline_of(file: Any) -> str | None:
    """Return what an open `StringIO` makes of the ends of lines, as it was given to it."""
    base: Any = solid_base(type(file))
    newline: str | None = base.__getstate__(file)[1]
    return newline


def _alias(value: Any) -> Pieces:
    origin = getattr(value, "__origin__", None)
    return Pieces("generic", (origin, value.__args__))


def _constant_name(value: Any) -> Pieces:
    return Pieces("constant", (repr(value),))


def _c_data(value: Any) -> Pieces:
    pointed = _pointed_bytes(value)
    if pointed is not None:
        return Pieces("ctypes bytes", raw=pointed)
    view = memoryview(value)
    raw = view.tobytes()
    if any(raw) and _has_pointers(type(value)):
        raise Unreadable("ctypes data with pointers")
    return Pieces("ctypes", (view.format, list(view.shape or ())), raw=raw)


def _pointed_bytes(value: Any) -> bytes | None:
    """Return the bytes object that a `c_char_p` points to; None for other data and other memory."""
    if find_in_classes(type(value), "_type_") != "z":
        return None
    base = next(each for each in mro_of(type(value)) if class_name(each) == "_ctypes._CData")
    target = vars(base)["_objects"].__get__(value)
    begins = id(target) + bytes.__basicsize__ - 1
    if type(target) is not bytes or memoryview(value).tobytes() != begins.to_bytes(
        _POINTER_BYTES, sys.byteorder
    ):
        return None
    return target


_POINTER_BYTES = 8 if sys.maxsize > 2**32 else 4


def _has_pointers(cls: type) -> bool:
    kind = class_name(next(base for base in mro_of(cls) if class_name(base).startswith("_ctypes.")))
    if kind == "_ctypes._SimpleCData":
        return find_in_classes(cls, "_type_") in "zZPOX"
    if kind == "_ctypes.Array":
        return _has_pointers(find_in_classes(cls, "_type_"))
    if kind in {"_ctypes.Structure", "_ctypes.Union"}:
        fields = [field for base in mro_of(cls) for field in namespace_of(base).get("_fields_", ())]
        return any(_has_pointers(field[1]) for field in fields)
    return True


_SUPPRESSED: Any = BaseException.__dict__["__suppress_context__"]
_LEFT_OUT_OF_ERRORS = frozenset({"__traceback__", "__context__", "__dict__", "__suppress_context__", "args"})


def _exception(value: Any, base: type) -> Pieces:
    """Return arguments, cause, and the extra fields of built-in exception classes."""
    arguments: Any = BaseException.__dict__["args"]
    fields: dict[str, Any] = {}
    for each in mro_of(base):
        for name, member in namespace_of(each).items():
            if name in _LEFT_OUT_OF_ERRORS or type(member) not in _DESCRIPTORS:
                continue
            try:
                field = member.__get__(value)
            except AttributeError:
                continue  # an empty slot
            if field is not None:
                fields[name] = field
    algorithm = ALGORITHM
    if _SUPPRESSED.__get__(value) and "__cause__" not in fields:  # it was raised from None
        fields["__suppress_context__"], algorithm = True, WITH_MORE
    return Pieces("error", (arguments.__get__(value), sorted(fields.items())), algorithm=algorithm)


def _numpy_array(value: Any) -> Pieces:
    numpy = sys.modules["numpy"]
    dtype, shape = value.dtype, list(value.shape)
    if dtype.hasobject or dtype.kind == "T":
        if dtype.names:
            fields = tuple(numpy.ndarray.__getitem__(value, name) for name in dtype.names)
            return Pieces("ndarray", (_dtype_text(dtype), shape, *fields))
        items = numpy.ndarray.tolist(numpy.ndarray.view(value, numpy.ndarray).reshape(-1))
        return Pieces("ndarray", (_dtype_text(dtype), shape, items))
    return Pieces("ndarray", (_dtype_text(dtype), shape), raw=bytes_of(value))


def _dtype_text(dtype: Any) -> str:
    return f"{dtype.descr if dtype.names else dtype.str}/{dtype.itemsize}"


def _numpy_void(value: Any) -> Pieces:
    if value.dtype.hasobject:
        return Pieces("void", (_dtype_text(value.dtype), *value.item()))
    return Pieces("void", (_dtype_text(value.dtype),), raw=bytes_of(value))


def _row_of_table(value: Any) -> Pieces:
    row: Any = solid_base(type(value))
    return Pieces("row", (row.keys(value), *row.__iter__(value)))


def _numpy_dtype(value: Any) -> Pieces:
    if value.metadata:
        return Pieces("dtype", (_dtype_text(value), dict(value.metadata)), algorithm=WITH_MORE)
    return Pieces("dtype", (_dtype_text(value),))


_C_CALLABLES = frozenset({"method_descriptor", "cython_function_or_method", "wrapper_descriptor"})


def _reduction_of(base: type, name: str) -> _Reader:
    """Return a function that reads what a C class passes to `copy` and `pickle`, by its own C function."""
    for each in mro_of(base):
        if each is object:
            break
        for reduction in ("__reduce__", "__getnewargs__", "__getstate__", "__reduce_cython__"):
            member = namespace_of(each).get(reduction)
            if member is not None and type(member).__name__ in _C_CALLABLES:
                return partial(_reduced, member=member, name=name, is_whole=reduction != "__reduce__")
    return partial(_in_memory, name=name)


def _reduced(value: Any, member: Callable[[Any], Any], name: str, *, is_whole: bool) -> Pieces:
    try:
        reduction = member(value)
        if name.startswith("pydantic_core."):
            reduction = without_class_ids(reduction)
    except Exception as error:
        pass_on(error)
        raise Unreadable(f"{name} cannot be taken apart ({type(error).__name__})") from error
    return Pieces("reduced", reduction[1:] if type(reduction) is tuple and not is_whole else (reduction,))


def _in_memory(value: Any, name: str) -> Pieces:
    try:
        return Pieces("buffer", raw=memoryview(value).tobytes())
    except (TypeError, BufferError, ValueError) as error:
        raise Unreadable(f"{name} is written in C and shows nothing of itself") from error


def _array_of_pandas(value: Any) -> Pieces:
    """Return its type and items; its attributes are caches that the reduction repeats."""
    pieces = _reduction_of(type(value), "pandas.arrays")(value)
    made_by, state = pieces.ordered
    return pieces._replace(ordered=(made_by, state[:2]))


def _array_of_arrow(value: Any) -> Pieces:
    """Return its type and its items as Arrow writes them: without what slices and pieces leave in memory."""
    arrow: Any = sys.modules["pyarrow"]
    try:
        whole = value.combine_chunks() if hasattr(value, "chunks") else value
        raw = arrow.record_batch([whole], [""]).serialize().to_pybytes()
    except Exception as error:
        pass_on(error)
        raise Unreadable(f"pyarrow cannot write the array ({type(error).__name__})") from error
    return Pieces("arrow", (str(value.type),), raw=raw)


_READERS: dict[type, _Reader] = {
    dict: _mapping(dict),
    list: _items(list),
    tuple: _items(tuple),
    set: _set(set),
    frozenset: _set(frozenset),
    deque: lambda value: Pieces("deque", (vars(deque)["maxlen"].__get__(value), *deque.__iter__(value))),
    str: lambda value: Pieces("str", (str.__str__(value),)),
    int: lambda value: Pieces("int", (int.__int__(value),)),
    float: lambda value: Pieces("float", (float.__float__(value),)),
    complex: lambda value: Pieces("complex", (repr(complex.__complex__(value)),)),
    bytes: lambda value: Pieces("bytes", raw=bytes.__getitem__(value, slice(None))),
    bytearray: lambda value: Pieces("bytearray", raw=bytes(bytearray.__getitem__(value, slice(None)))),
    memoryview: _memoryview,
    SimpleNamespace: lambda _: Pieces("namespace"),
    ModuleType: lambda _: Pieces("module"),
    MappingProxyType: _proxy,
    type: _class,
    FunctionType: _function,
    MethodType: lambda value: Pieces("method", (value.__func__, value.__self__)),
    BuiltinFunctionType: _builtin,
    CodeType: _code,
    CellType: lambda value: Pieces("cell", (_cell(value),)),
    GeneratorType: _generator,
    type({}.keys()): _proxy,
    type({}.values()): _proxy,
    type({}.items()): _proxy,
    type(list[int]): _alias,
    type(int | str): _alias,
    type(...): _constant_name,
    type(NotImplemented): _constant_name,
    type("".join): _builtin,
    type("".__len__): _wrapper,
    type(str.__len__): _wrapper,
    type(str.join): _wrapper,
    property: lambda value: Pieces("property", (value.fget, value.fset, value.fdel)),
    staticmethod: lambda value: Pieces("staticmethod", (value.__func__,)),
    classmethod: lambda value: Pieces("classmethod", (value.__func__,)),
}
"""Readers by C class, for classes that are always loaded."""

_BY_NAME: dict[str, _Reader] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _defaultdict,
    "array.array": _array,
    "pandas._libs.arrays.NDArrayBacked": _array_of_pandas,
    "pandas._libs.internals.BlockManager": lambda value: Pieces("table", (columns_of(value), value.axes)),
    "pyarrow.lib.Array": _array_of_arrow,
    "pyarrow.lib.ChunkedArray": _array_of_arrow,
    "functools.partial": _partial,
    "functools._lru_cache_wrapper": lambda value: Pieces("cached", (value.__wrapped__,)),
    "weakref.ReferenceType": _weak,
    "builtins.weakref": _weak,
    "weakref.ProxyType": lambda _: _no("a weak proxy"),
    "re.Pattern": lambda value: Pieces("pattern", (value.pattern, value.flags)),
    "re.Match": lambda value: Pieces("match", (value.re, value.string, value.pos, value.endpos, value.regs)),
    "_io.StringIO": _file,
    "_io.BytesIO": _file,
    "sqlite3.Row": _row_of_table,
    "_struct.Struct": lambda value: Pieces("struct", (value.format,)),
    "numpy.ndarray": _numpy_array,
    "numpy.void": _numpy_void,
    **dict.fromkeys(
        # the second names are those of numpy before 2.0
        ["numpy.longdouble", "numpy.clongdouble", "numpy.float128", "numpy.complex256"],
        lambda value: Pieces("long double", (_dtype_text(value.dtype),), raw=bytes_of(value)),
    ),
    "numpy.dtype": _numpy_dtype,
    "numpy.ufunc": lambda value: Pieces("ufunc", (value.__name__,)),
    "_ctypes._CData": _c_data,
    "builtins.coroutine": lambda value: _generator(value, "cr"),
    "builtins.async_generator": lambda value: _generator(value, "ag"),
    "numpy.random.bit_generator.BitGenerator": lambda value: Pieces("bits", (value.state,)),
    "_queue.SimpleQueue": lambda value: Pieces(
        "queue", tuple(each for each in gc.get_referents(value) if type(each) is not type)
    ),
    "_random.Random": _generator_of_numbers,
    "_contextvars.ContextVar": _context_variable,
    "_thread._local": _local,
    **dict.fromkeys(
        ["_hashlib.HASH", "_hashlib.HMAC", "_blake2.blake2b", "_blake2.blake2s"],
        lambda value: Pieces("hash", (value.name,), raw=value.copy().digest()),
    ),
}
"""Readers by name, for classes of modules that this package does not load."""


def _no(what: str) -> Pieces:
    raise Unreadable(what)
