"""Oracle for the stranger programs: with ORACLE=path, append one JSON line per traced call; otherwise do nothing.

Use `@watch` directly under the tool's decorator, or `watch_class(cls, [methods], id_attr)` before instrument().
"""
import collections
import datetime
import enum
import functools
import hashlib
import inspect
import json
import os
import random
import threading
import types

_PATH = os.environ.get("ORACLE")
_LOCK = threading.Lock()
_OPAQUE = ("mesa", "simpy", "asyncio", "threading", "_thread", "langgraph", "langchain_core", "agents", "smolagents",
           "pydantic_ai", "Agent", "agent_trace", "haystack", "llama_index", "autogen_core", "autogen_agentchat",
           "agentpy", "logging", "queue", "_queue", "concurrent", "weakref", "gymnasium", "salabim", "contextvars",
           "_asyncio", "pettingzoo", "axelrod", "openai")
_is_agent_cache = {}


def _is_agent_type(cls):
    if cls not in _is_agent_cache:
        found = False
        for base in cls.__mro__:
            for value in list(vars(base).values()):
                if getattr(value, "_oracle_watched", False):
                    found = True
        _is_agent_cache[cls] = found
    return _is_agent_cache[cls]


def agent_name(obj, attr=None):
    for key in ([attr] if attr else []) + ["agent_id", "unique_id"]:
        value = getattr(obj, key, None)
        if value is not None:
            return str(value)
    return type(obj).__name__


def fields(obj):
    out = {}
    for base in reversed(type(obj).__mro__):
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in ("__dict__", "__weakref__"):
                continue
            if name.startswith("__") and not name.endswith("__"):
                name = "_%s%s" % (base.__name__.lstrip("_"), name)
            try:
                out[name] = object.__getattribute__(obj, name)
            except AttributeError:
                pass
    out.update(getattr(obj, "__dict__", {}))
    if isinstance(obj, threading.Thread):
        out = {k: v for k, v in out.items() if not k.startswith("_")}
    return out


def _digest(value):
    return hashlib.sha1(repr(value).encode()).hexdigest()[:12]


def _opaque(cls):
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in _OPAQUE:
            return True
    return False


def text(value, seen=(), top=False):
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)) and not isinstance(value, enum.Enum):
        return repr(value)
    if isinstance(value, enum.Enum):
        return "%s.%s" % (type(value).__name__, value.name)
    if id(value) in seen:
        return "<cycle %s>" % type(value).__name__
    if len(seen) > 14:
        return "<deep %s>" % type(value).__name__
    seen = seen + (id(value),)
    t = lambda v: text(v, seen)
    if isinstance(value, type):
        return "<class %s>" % value.__name__
    if isinstance(value, dict):
        body = ", ".join("%s: %s" % (t(k), t(v)) for k, v in list(value.items()))
        return ("" if type(value) is dict else type(value).__name__) + "{" + body + "}"
    if isinstance(value, (set, frozenset)):
        return "set(" + ", ".join(sorted(t(v) for v in value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(t(v) for v in value) + "]"
    if isinstance(value, tuple):
        return type(value).__name__ + "(" + ", ".join(t(v) for v in value) + ")"
    if isinstance(value, collections.deque):
        return "deque([" + ", ".join(t(v) for v in value) + "], %r)" % value.maxlen
    if isinstance(value, random.Random):
        return "Random<%s>" % _digest(value.getstate())
    if isinstance(value, (datetime.date, datetime.timedelta, datetime.time)):
        return repr(value)
    if isinstance(value, BaseException):
        return "%s(%s)" % (type(value).__name__, ", ".join(t(v) for v in value.args))
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)):
        return "<function %s>" % getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, (types.GeneratorType, types.CoroutineType, types.ModuleType)):
        return "<%s>" % type(value).__name__
    module = type(value).__module__.split(".")[0]
    if module == "numpy":
        import numpy as np
        if isinstance(value, np.ndarray):
            return "array(%s, %s, %s)" % (value.dtype, value.shape, t(value.tolist()))
        if isinstance(value, np.generic):
            return "np." + repr(value.item())
        if isinstance(value, np.random.Generator):
            return "Generator<%s>" % _digest(str(value.bit_generator.state))
        if isinstance(value, np.random.RandomState):
            return "RandomState<%s>" % _digest(str(value.get_state()))
    if module == "pandas":
        if hasattr(value, "to_csv"):
            return "%s<%r>" % (type(value).__name__, value.to_csv())
        return repr(value)
    if module == "networkx":
        return "Graph(nodes=%s, edges=%s)" % (t({n: dict(d) for n, d in value.nodes(data=True)}),
                                             t([(a, b, dict(d)) for a, b, d in value.edges(data=True)]))
    if module in ("decimal", "fractions", "uuid", "pathlib", "ipaddress"):
        return repr(value)
    if not top and _is_agent_type(type(value)):
        return "<agent %s>" % agent_name(value)
    if not top and _opaque(type(value)):
        return "<%s>" % type(value).__name__
    return type(value).__name__ + "(" + ", ".join(
        "%s=%s" % (k, t(v)) for k, v in fields(value).items() if not k.startswith("_abc_")) + ")"


def _given(self, args, kwargs):
    return text((args, kwargs)) + " " + text(self, top=True)


def _emit(self, action, result, attr, given):
    line = json.dumps({"agent": agent_name(self, attr), "action": action, "result": result,
                       "state": text(self, top=True), "given": given})
    with _LOCK:
        with open(_PATH, "a") as out:
            out.write(line + "\n")


def watch(function=None, *, id_attr=None):
    if function is None:
        return lambda f: watch(f, id_attr=id_attr)
    if not _PATH:
        return function
    name = function.__name__
    if inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        async def wrapper(self, *args, **kwargs):
            given = _given(self, args, kwargs)
            try:
                result = await function(self, *args, **kwargs)
            except Exception as error:
                _emit(self, name, "raise " + text(error), id_attr, given)
                raise
            _emit(self, name, text(result), id_attr, given)
            return result
    elif inspect.isgeneratorfunction(function):
        @functools.wraps(function)
        def wrapper(self, *args, **kwargs):
            items = []
            given = _given(self, args, kwargs)
            try:
                for item in function(self, *args, **kwargs):
                    items.append(text(item))
                    yield item
            except Exception as error:
                _emit(self, name, "raise " + text(error), id_attr, given)
                raise
            _emit(self, name, "yields [" + ", ".join(items) + "]", id_attr, given)
    else:
        @functools.wraps(function)
        def wrapper(self, *args, **kwargs):
            given = _given(self, args, kwargs)
            try:
                result = function(self, *args, **kwargs)
            except Exception as error:
                _emit(self, name, "raise " + text(error), id_attr, given)
                raise
            _emit(self, name, text(result), id_attr, given)
            return result
    wrapper._oracle_watched = True
    return wrapper


def watch_class(cls, methods, id_attr=None):
    if _PATH:
        for name in methods:
            setattr(cls, name, watch(getattr(cls, name), id_attr=id_attr))
    return cls
