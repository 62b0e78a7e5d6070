"""Classify exceptions: failure type and code of `event/kinds.py`, from class names and HTTP status.

A recorded error has only names; for an exception object, its base classes and its status code are used too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from Agent.event.classes import attributes_of, class_name, mro_of
from Agent.event.kinds import FailureCode, FailureType, StepType

_OF_STEPS: Final = {
    StepType.TOOL.value: FailureType.TOOL,
    StepType.RETRIEVE.value: FailureType.RETRIEVAL,
    StepType.RESPOND.value: FailureType.MODEL,
}
_MODEL_MODULES: Final = frozenset(
    "openai anthropic cohere mistralai litellm groq together ollama replicate vertexai".split()
)
_MODEL_NAMES: Final = r"(?i)model|llm|completion|context_?length|token_?limit|content_?filter|prompt"
# The first match counts: a `ConnectTimeout` is a timeout, not a connection failure.
_CODES: Final = (
    (FailureCode.TIMEOUT, r"(?i)time_?d?out|deadline"),
    (FailureCode.RATE_LIMITED, r"(?i)rate_?limit|too_?many_?requests|throttl|quota|overloaded"),
    (FailureCode.UNAUTHORIZED, r"(?i)unauthori|authenticat|permission|forbidden|access_?denied|credential"),
    (FailureCode.CANCELLED, r"(?i)cancel|keyboard_?interrupt|generator_?exit"),
    (FailureCode.LOOP, r"(?i)recursion|max_?(?:iteration|turn|step)s?|loop_?(?:limit|detected)"),
    (FailureCode.REFUSED, r"(?i)content_?(?:filter|policy)|refus(?:al|ed_?by)|moderation|safety|guardrail"),
    (FailureCode.EMPTY_RETRIEVAL, r"(?i)empty_?(?:retrieval|result)|no_?(?:results?|documents?|match)"),
    (FailureCode.NOT_FOUND, r"(?i)not_?found|no_?such|does_?not_?exist|unknown_?tool"),
    (FailureCode.SCHEMA_INVALID, r"(?i)validation|schema|decode_?error|pars(?:e|ing|er)|serializ"),
    (
        FailureCode.CONNECTION,
        r"(?i)connect|network|socket|gaierror|broken_?pipe|ssl|proxy|un(?:reach|avail)able",
    ),
)
_STATUS: Final = {
    401: FailureCode.UNAUTHORIZED,
    403: FailureCode.UNAUTHORIZED,
    404: FailureCode.NOT_FOUND,
    408: FailureCode.TIMEOUT,
    422: FailureCode.SCHEMA_INVALID,
    429: FailureCode.RATE_LIMITED,
    502: FailureCode.CONNECTION,
    503: FailureCode.CONNECTION,
    504: FailureCode.TIMEOUT,
}
_STATUS_NAMES: Final = ("status_code", "http_status", "status", "code")
_MAX_CHAIN: Final = 8


@lru_cache(maxsize=4096)
def classify(
    error_type: str, step_type: str | None = None, error_module: str | None = None
) -> tuple[FailureType, FailureCode]:
    """Return which part of an agent failed, and how, from the class name of the exception.

    Args:
        error_type: the class name, such as `ConnectTimeout`.
        step_type: the type of the step that raised it, if any.
        error_module: the module of the class; for a model's library, the model failed.
    """
    return _type_of(error_type, step_type, error_module), _code_of(error_type)


def _type_of(error_type: str, step_type: str | None, error_module: str | None) -> FailureType:
    library = (error_module or "").partition(".")[0]
    if library in _MODEL_MODULES:
        return FailureType.MODEL
    failure_type = _OF_STEPS.get(step_type or "")
    if failure_type is not None:
        return failure_type
    return FailureType.MODEL if re.search(_MODEL_NAMES, error_type) else FailureType.ORCHESTRATION


def _code_of(error_type: str) -> FailureCode:
    return next((code for code, names in _CODES if re.search(names, error_type)), FailureCode.UNKNOWN)


def classify_exception(error: BaseException, step_type: str | None = None) -> tuple[FailureType, FailureCode]:
    """Classify an exception object by its status code, its base classes and the exceptions that caused it."""
    chain = _chain(error)
    names = [class_name(type(one)).rpartition(".") for one in chain]
    kinds = [_type_of(name, step_type, module) for module, _, name in names]
    failure_type = next((kind for kind in kinds if kind is not FailureType.ORCHESTRATION), kinds[0])
    for one in chain:
        code = _status_of(one) or _code_by_bases(one)
        if code is not FailureCode.UNKNOWN:
            return failure_type, code
    return failure_type, FailureCode.UNKNOWN


def _code_by_bases(error: BaseException) -> FailureCode:
    for cls in mro_of(type(error)):
        code = _code_of(class_name(cls).rpartition(".")[2])
        if code is not FailureCode.UNKNOWN:
            return code
    return FailureCode.UNKNOWN


def _status_of(error: BaseException) -> FailureCode | None:
    """Return the code for the HTTP status in an exception, which is read without running the class's code."""
    try:
        attributes = attributes_of(error)
    except ValueError:
        return None  # its attributes cannot be read without running code
    for name in _STATUS_NAMES:
        status = attributes.get(name)
        if type(status) is int and status in _STATUS:
            return _STATUS[status]
    return None


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while len(chain) < _MAX_CHAIN:
        before = chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__)
        if before is None or any(before is known for known in chain):
            break
        chain.append(before)
    return chain
