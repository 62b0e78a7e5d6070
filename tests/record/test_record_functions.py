"""What is read off a function's code is what `inspect` says of it."""

import functools
import inspect
import types

from Agent.record.tracing.function_facts import is_async_generator, is_coroutine, is_generator, parameters_of

POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def nothing(): ...
def every_sort(a, /, b, c=1, *d, e, f=2, **g): ...
def only_by_name(*, e, f=2): ...
def only_the_rest(*rest, **more): ...
def with_locals(a, b):
    c = a + b
    return lambda: c


async def coroutine(self, a): ...
def generator(self, a):
    yield a


async def async_generator(self, a):
    yield a


@types.coroutine
def iterable_coroutine(a):
    yield a


@functools.wraps(every_sort)
def wrapper(*args, **kwargs):
    return every_sort(*args, **kwargs)


@functools.wraps(generator)
def hands_on_a_generator(*args):
    return generator(*args)


def marked(a, b): ...


marked.is_slow = True


async def marked_coroutine(a): ...


marked_coroutine.is_slow = True


def signed(*args): ...


signed.__signature__ = inspect.signature(every_sort)


class Callable_:
    def __call__(self, a, *rest): ...
    def method(self, a): ...


FUNCTIONS = [
    nothing, every_sort, only_by_name, only_the_rest, with_locals, coroutine, generator, async_generator,
    iterable_coroutine, wrapper, hands_on_a_generator, marked, marked_coroutine, signed, Callable_(),
    Callable_().method, lambda a, b=1: a, functools.partial(every_sort, 1), functools.partial(coroutine, 1),
    len, dict, print, functools.lru_cache(every_sort),
]  # fmt: skip


def test_code_and_inspect_say_the_same():
    for function in FUNCTIONS:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:
            parameters = []
        rest = [one.name for one in parameters if one.kind is inspect.Parameter.VAR_POSITIONAL]
        positional = tuple(one.name for one in parameters if one.kind in POSITIONAL)
        assert parameters_of(function) == (positional, rest[0] if rest else None), function
        assert is_coroutine(function) is inspect.iscoroutinefunction(function), function
        assert is_async_generator(function) is inspect.isasyncgenfunction(function), function
        assert is_generator(function) is (
            inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        ), function
