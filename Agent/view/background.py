"""Answers that take seconds: explanations of a session, differences, provenance of values, and forks.

A worker process computes each of them as a job, since that takes processor time and up to 1 GB of memory; the
pages still respond.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import AgentTraceError, InputError, UsageError
from Agent.event.pointers import escape
from Agent.replay.compare.python_text import differing_texts, python_text
from Agent.replay.worker.jobs import Job, run_job
from Agent.tree.files.session import open_session
from Agent.tree.layout import session_id_of

MOST_CHARS: Final = 2_000
MAX_REQUEST_BYTES: Final = 1_000_000
_VALUE_CHARS: Final = 300
_KEPT: Final = 32
_MOST_WAITING: Final = 8
_AT_ONCE: Final = 2
_LEAST_INTERVAL_S: Final = 30.0
_FORK_S: Final = 600.0
"""The timeout of a fork's code, in seconds."""
_MOST_FORKS: Final = 1_000
"""The maximum number of forks in a sweep."""


@dataclass(slots=True)
class _Computation:
    answer: dict[str, Any] | None = None
    failure: AgentTraceError | None = None
    version: int = -1
    """The number of events of the session at the time of the request."""
    again_s: float = 0.0
    """The earliest time to compute it again after the session has grown."""
    is_waiting: bool = False


class Background:
    """The answers about one session, each computed once per request and content of the session.

    Args:
        session: the session's directory.
    """

    def __init__(self, session: Path) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._computations: OrderedDict[bytes, _Computation] = OrderedDict()
        self._threads = ThreadPoolExecutor(_AT_ONCE, "background")
        self._closed = threading.Event()

    def answer(
        self, kind: str, request: Mapping[str, Any], version: int = 0, number: int = 0
    ) -> dict[str, Any] | None:
        """Return the answer of a worker process; None until it is ready.

        A greater version means that the session has grown; the answer is then computed again after a while.

        Args:
            kind: a key of `KINDS`.
            request: the arguments of its function, as JSON values.
            version: the number of events of the session.
            number: distinguishes otherwise equal requests, each of which is computed.

        Raises:
            UsageError: the request is too large, or too many others are waiting.
            AgentTraceError: the computation failed.
        """
        sent = orjson.dumps(dict(request), option=orjson.OPT_SORT_KEYS)
        if len(sent) > MAX_REQUEST_BYTES:
            raise UsageError(
                f"{len(sent)} bytes are too many for a request", remedy="make the request smaller"
            )
        key = b"%b %d %b" % (kind.encode(), number, sent)
        with self._lock:
            computation = self._computations.setdefault(key, _Computation())
            self._computations.move_to_end(key)
            if (
                computation.version != version
                and not computation.is_waiting
                and time.monotonic() >= computation.again_s
            ):
                if sum(each.is_waiting for each in self._computations.values()) >= _MOST_WAITING:
                    del self._computations[key]
                    raise UsageError("too many other requests are waiting", remedy="retry in a minute")
                computation.is_waiting, computation.version = True, version
                self._threads.submit(self._compute, kind, request, computation)
            for old in [name for name, each in self._computations.items() if not each.is_waiting][:-_KEPT]:
                del self._computations[old]
            if computation.failure is not None:
                raise computation.failure
            return computation.answer

    def close(self) -> None:
        """Stop all worker processes."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    def _compute(self, kind: str, request: Mapping[str, Any], computation: _Computation) -> None:
        began = time.monotonic()
        answer: dict[str, Any] | None = None
        failure: AgentTraceError | None = None
        try:
            answer = self._of_job(kind, request)
        except AgentTraceError as error:
            failure = error
        except OSError as error:
            failure = InputError(f"no process can be started: {error.strerror}")
        ended = time.monotonic()
        with self._lock:
            computation.answer, computation.failure, computation.is_waiting = answer, failure, False
            computation.again_s = ended + max(_LEAST_INTERVAL_S, 10 * (ended - began))

    def _of_job(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer of a worker process; None if it was stopped."""
        whole = {"kind": kind, "session": str(self._session.absolute()), "request": request}
        try:
            result = run_job(_JOB, whole, stop=self._closed)
        except CancelledError:
            return None
        except AgentTraceError as error:
            raise InputError(f"nothing was found: {error.message}", remedy=error.remedy) from None
        if result.answer is None:
            raise InputError(f"nothing was found: {result.failure}")
        return result.answer


# Code of the worker process.


def _explain(session: Path, text: str, *, is_tested: bool = False) -> dict[str, Any]:
    from Agent.analysis.debug.debug_issue import debug_issue

    return debug_issue(text, session, test=is_tested).to_dict()


def _compare(session: Path, other: str) -> dict[str, Any]:
    from Agent.replay.diff.run_comparison import compare_runs

    comparison = compare_runs(session, other, session.parent, every_agent=True)
    fields = comparison.to_dict()
    listed = comparison.of_agents[:MOST_CHARS]
    return {
        **{name: fields[name] for name in ("a", "b", "differ", "compared", "states", "notes")},
        "text": str(comparison),
        "first": None if comparison.divergence is None else _describe(comparison.divergence),
        "agents": [_describe(each) for each in listed],
    }


def _differences(session: Path, other: str, agent: str) -> dict[str, Any]:
    from Agent.replay.diff.run_comparison import differing_events

    listed, more = differing_events(session, other, agent, session.parent)
    return {"pairs": [_describe(each) for each in listed], "more": more}


def _trace_back(session: Path, agent: str, field: str, at: str) -> dict[str, Any]:
    from Agent.analysis.analyzer import LogAnalyzer

    with LogAnalyzer(session) as log:
        origin = log.provenance(agent, field, at)
    # As text, since any number may be in a value.
    for each in (*origin["hops"], *origin["inputs"]):
        each["value"] = _text(each["value"])
    return {**origin, "value": _text(origin["value"])}


def _text(value: Any) -> str:
    return python_text(value)[:_VALUE_CHARS]


def _run_with(session: Path, agent: str, *, is_inside: bool) -> tuple[str, Callable[[Any], Any]]:
    """Return the run in which to change an agent, and a function that converts a patch of the agent for it.

    For an agent that acts inside others it is the whole run, if the session has a target for it: replayed
    alone, the agent would only receive what was recorded.
    """
    info = open_session(session)
    if not is_inside or "*" not in info.targets:
        return f"{session_id_of(session)}/{agent}", lambda patch: patch

    def in_whole_run(patch: Any) -> Any:
        if isinstance(patch, Mapping):
            return {agent: patch}
        return [each | {"path": f"/{escape(agent)}{each['path']}"} for each in patch]

    return session_id_of(session), in_whole_run


def _fork(
    session: Path,
    agent: str,
    at: str,
    patch: list[Any],
    live: list[str],
    *,
    is_inside: bool,
    seed: int | None = None,
    outcome: str | None = None,
    vary: Sequence[str] = (),
    seeds: int = 0,
) -> dict[str, Any]:
    """Fork a run once, once per combination, or until the last point at which the change has an effect."""
    from Agent.replay import fork_run, sweep_forks, turning_point
    from Agent.replay.forks.outcome import varied_patches

    run, of_run = _run_with(session, agent, is_inside=is_inside)
    how: dict[str, Any] = {"root": session.parent, "live": live, "timeout_seconds": _FORK_S}
    answer: dict[str, Any] = {"session": None, "stopped": None, "changed": [], "last": None}
    if vary or seeds:
        patches = [of_run(each) for each in varied_patches(patch or None, vary)]
        count = len(patches or [None]) * max(1, seeds)
        if count > _MOST_FORKS:
            remedy = f"give values and seeds for {_MOST_FORKS:,}"
            raise UsageError(f"{count:,} forks are too many", remedy=remedy)
        tried = range(1, seeds + 1)
        swept = sweep_forks(run, at, patches=patches, seeds=tried, outcome=outcome or "error", **how)
        bars = [[text.strip(), number] for text, number in swept.distribution]
        return answer | {"text": swept.text(with_bars=False), "bars": bars}
    if outcome:
        turning = turning_point(run, at, of_run(patch), outcome, **how)
        last = None if turning.last is None else turning.last.event_id
        return answer | {"text": str(turning), "stopped": turning.stopped, "last": last}
    _, forked = fork_run(run, at, of_run(patch) or None, seed=seed, **how)
    changed = forked.outcome.changed
    made = {"session": session_id_of(forked.session), "stopped": forked.stopped, "changed": changed}
    return answer | made | {"text": str(forked)}


def _describe(result: Any) -> dict[str, Any]:
    """Describe a difference of two events: the text, both values and both events."""
    is_event = result.field == "events"
    one, other = (result.a, result.b) if is_event else differing_texts(result.a, result.b)
    return {
        "agent": result.agent_id,
        "tick": result.tick,
        "what": result.action,
        "where": result.where,
        "a": str(one)[:MOST_CHARS],
        "b": str(other)[:MOST_CHARS],
        "id_a": result.event_a,
        "id_b": result.event_b,
        "common": None if result.common_cause is None else result.common_cause.event_a,
    }


KINDS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "explain": _explain,
    "compare": _compare,
    "differences": _differences,
    "provenance": _trace_back,
    "fork": _fork,
}


def answered(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a job: return the answer about a session, as JSON values."""
    answer = KINDS[whole["kind"]](Path(whole["session"]), **whole["request"])
    plain: dict[str, Any] = orjson.loads(orjson.dumps(answer, default=str))
    return plain


_JOB: Final = Job("computation", f"{__name__}:answered")
