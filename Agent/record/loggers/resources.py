"""Record memory, CPU time and open files of the process at intervals, as `resource` events.

The figures are from /proc and the standard library; a figure that a platform lacks is a missing key.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from Agent.errors import ConfigurationError
from Agent.event.background_threads import BackgroundThread
from Agent.event.kinds import LEVELS, Category
from Agent.event.system_clock import SystemClock
from Agent.record.emit.installed import LIMITS, current_pipeline

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline

_LEVEL = LEVELS["INFO"]
_SHORTEST_S = 0.01
_LIMIT = LIMITS[Category.PERFORMANCE.value]
_running: dict[int, ResourceSampler] = {}


class ResourceSampler:
    """Records the resource use of the process, at the start, every `interval_s` seconds and at the end.

    Use it in a `with` statement, or call `start()` and `stop()`. It stops when the recording in which it was
    started ends. A forked child has no running sampler until it starts one.

    Args:
        interval_s: seconds between two samples, at least 0.01.

    Raises:
        ConfigurationError: the interval is not a number of at least 0.01.
    """

    def __init__(self, interval_s: float = 5.0) -> None:
        is_number = isinstance(interval_s, int | float) and not isinstance(interval_s, bool)
        if not is_number or not math.isfinite(interval_s) or interval_s < _SHORTEST_S:
            raise ConfigurationError(
                f"interval_s is {interval_s!r}", remedy=f"use a number of seconds of at least {_SHORTEST_S}"
            )
        self.interval_s = float(interval_s)
        self._before_ns = (0, 0)
        self.forget()

    def forget(self) -> None:
        """Reset to the state before `start`, in a forked child, in which the thread does not exist."""
        self._pipeline: Pipeline | None = None
        self._thread: BackgroundThread | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Return whether samples are being taken."""
        return self._thread is not None

    def start(self) -> Self:
        """Start sampling; no effect if already running. Failures are counted, not raised."""
        if self._thread is not None:
            return self
        try:
            self._pipeline = current_pipeline()
        except RuntimeError:  # recording could not be set up, which was already reported
            return self
        self._before_ns = (SystemClock.monotonic_ns(), SystemClock.processor_ns())
        self._stopping = threading.Event()
        self._sample(self._pipeline, is_first=True)
        thread = BackgroundThread(partial(self._run, self._pipeline, self._stopping), "agent-trace-resources")
        try:
            thread.start()
        except RuntimeError as error:  # the limit of threads is reached, or the interpreter is shutting down
            self._pipeline.health.trouble("the start of a resource sampler", error)
            return self
        self._thread = thread
        _running[id(self)] = self
        return self

    def stop(self) -> None:
        """Take a last sample and stop."""
        thread, pipeline, self._thread = self._thread, self._pipeline, None
        _running.pop(id(self), None)
        if thread is None or pipeline is None:
            return
        self._stopping.set()
        thread.join(5)
        self._sample(pipeline)

    def _run(self, pipeline: Pipeline, stopping: threading.Event) -> None:
        while not stopping.wait(self.interval_s) and not pipeline.closed:
            self._sample(pipeline)

    def _sample(self, pipeline: Pipeline, *, is_first: bool = False) -> None:
        if pipeline.closed or _LIMIT.value > _LEVEL:
            return
        try:
            payload = usage()
            now_ns = (SystemClock.monotonic_ns(), SystemClock.processor_ns())
            passed_ns = now_ns[0] - self._before_ns[0]
            # A percentage needs two readings with more time between them than the resolution of the clocks.
            if not is_first and passed_ns >= 1_000_000:
                payload["cpu_percent"] = round((now_ns[1] - self._before_ns[1]) * 100 / passed_ns, 2)
            self._before_ns = now_ns
            binding = pipeline.binding(None, None, "performance", Category.PERFORMANCE.value)
            pipeline.emit(binding.slot("resource", _LEVEL), "Resources", payload)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pipeline.health.trouble("a resource sample", error)


def usage() -> dict[str, Any]:
    """Return current figures: `memory_bytes` (resident), `open_files`, and in `data` peak and threads."""
    figures: dict[str, Any] = {}
    try:
        with open("/proc/self/statm", "rb") as statm:
            figures["memory_bytes"] = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass  # no such file on this system; the sample lacks the figure
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            # One of them is the directory that is being listed.
            figures["open_files"] = max(len(os.listdir(directory)) - 1, 0)  # noqa: PTH208 - numbers, not paths
            break
        except OSError:
            continue  # this system has another directory for them, or none
    data: dict[str, Any] = {"threads": threading.active_count()}
    try:
        import resource
    except ImportError:
        pass  # no such module on this system; the sample lacks the figure
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data["peak_memory_bytes"] = peak if sys.platform == "darwin" else peak * 1024
    return {**figures, "data": data}


def stop_samplers() -> None:
    """Stop all running samplers, each with a last sample, before recording ends."""
    for sampler in list(_running.values()):
        sampler.stop()


def _after_fork_in_child() -> None:
    samplers = list(_running.values())
    _running.clear()
    for sampler in samplers:
        sampler.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
