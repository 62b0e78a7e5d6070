"""Loggers for the program itself: performance, framework, progress of the simulation."""

from __future__ import annotations

from typing import Any

from Agent.event.kinds import Category
from Agent.record.emit import installed
from Agent.record.emit.installed import LIMITS, flush_active
from Agent.record.encode.safe_text import as_message, as_text
from Agent.record.loggers.loggers import INFO, Causes, EventLogger, awaitable


class PerformanceLogger(EventLogger):
    """Records durations, rates and resources; events are buffered, so a kill may lose one buffer."""

    def __init__(self, agent_id: str | None = None, agent_role: str | None = None) -> None:
        super().__init__("performance", Category.PERFORMANCE, agent_id, agent_role)

    def log_metric(
        self,
        metric_name: str,
        value: float,
        unit: str | None = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record one measurement."""
        if self._limit.value > INFO:
            return ""
        unit = None if unit is None else as_text(unit)
        values = {"metric_name": metric_name, "value": value, "unit": unit, "data": data}
        return self._record("metric", metric_name, values, causes, buffered=True)

    def log_latency(
        self, operation: str, duration_ms: float, data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record how long an operation took."""
        if self._limit.value > INFO:
            return ""
        values = {
            "metric_name": operation, "value": duration_ms, "unit": "ms", "duration_ms": duration_ms,
            "data": data,
        }  # fmt: skip
        return self._record("metric", operation, values, causes, buffered=True)

    def log_throughput(
        self, operation: str, count: float, duration_s: float, data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record how many operations were done in how many seconds."""
        if self._limit.value > INFO:
            return ""
        values = {
            "operation": operation, "count": count, "duration_s": duration_s,
            "per_second": rate_of(count, duration_s), "data": data,
        }  # fmt: skip
        return self._record("throughput", operation, values, causes, buffered=True)

    def log_resource(
        self,
        memory_bytes: int | None = None,
        cpu_percent: float | None = None,
        open_files: int | None = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record the process's use of memory, processor and files."""
        if self._limit.value > INFO:
            return ""
        values = {
            "memory_bytes": memory_bytes, "cpu_percent": cpu_percent, "open_files": open_files, "data": data,
        }  # fmt: skip
        return self._record("resource", "Resources", values, causes, buffered=True)

    def flush(self) -> None:
        """Write the buffered events now."""
        flush_active()

    # Awaitable variants.
    alog_metric = awaitable(log_metric)
    alog_latency = awaitable(log_latency)
    alog_throughput = awaitable(log_throughput)
    alog_resource = awaitable(log_resource)


class SystemLogger(EventLogger):
    """Records the framework and the simulation's progress: start, end, phases, checkpoints, settings."""

    def __init__(self, component: str = "system") -> None:
        self.component = as_message(component)
        name = f"system.{self.component}" if self.component != "system" else "system"
        super().__init__(name, Category.SYSTEM)

    def log_init(self, component: Any = None, data: Any = None, *, causes: Causes = None) -> str:
        """Record that a component is ready."""
        name = component if component is not None else self.component
        return self._course("system.init", as_text(name), causes, component=name, data=data)

    def log_config(
        self,
        name: Any,
        old_value: Any = None,
        new_value: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a change of configuration."""
        values = {"name": name, "old_value": old_value, "new_value": new_value, "data": data}
        return self._course("system.config", as_text(name), causes, **values)

    def log_module(self, module: Any, version: Any = None, data: Any = None, *, causes: Causes = None) -> str:
        """Record that a module was loaded."""
        return self._course(
            "system.module", as_text(module), causes, module=module, version=version, data=data
        )

    def log_simulation_start(
        self, name: Any = None, configuration: Any = None, *, causes: Causes = None
    ) -> str:
        """Record the start of a simulation and its configuration."""
        return self._course(
            "simulation_start", "Simulation starts", causes, name=name, configuration=configuration
        )

    def log_simulation_end(
        self,
        name: Any = None,
        outcome: Any = None,
        duration_ms: float | None = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record the end of a simulation and its outcome."""
        values = {"name": name, "outcome": outcome, "duration_ms": duration_ms}
        return self._course("simulation_end", "Simulation ends", causes, **values)

    def log_checkpoint(self, name: Any, data: Any = None, *, causes: Causes = None) -> str:
        """Record a checkpoint of the simulation."""
        return self._course("checkpoint", as_text(name), causes, name=name, data=data)

    def log_phase(self, name: Any, previous: Any = None, data: Any = None, *, causes: Causes = None) -> str:
        """Record the beginning of a phase."""
        written = self._course("phase", as_text(name), causes, name=name, previous=previous, data=data)
        if installed.active is not None and installed.active.watcher is not None:
            installed.active.watcher.phase_began(as_text(name))
        return written

    def log_milestone(self, name: Any, data: Any = None, *, causes: Causes = None) -> str:
        """Record that a milestone was reached."""
        return self._course("milestone", as_text(name), causes, name=name, data=data)

    def _course(self, kind: str, label: str, causes: Causes, /, **values: Any) -> str:
        from Agent.event.payloads import KINDS

        # Events about the simulation have another category than those of the framework, with another level.
        if LIMITS[KINDS[kind].category.value].value > INFO:
            return ""
        return self._record(kind, label, values, causes)

    # Awaitable variants.
    alog_init = awaitable(log_init)
    alog_config = awaitable(log_config)
    alog_module = awaitable(log_module)
    alog_simulation_start = awaitable(log_simulation_start)
    alog_simulation_end = awaitable(log_simulation_end)
    alog_checkpoint = awaitable(log_checkpoint)
    alog_phase = awaitable(log_phase)
    alog_milestone = awaitable(log_milestone)


def rate_of(count: Any, duration_s: Any) -> float | None:
    """Return the rate per second; None if it cannot be computed."""
    try:
        return float(count / duration_s)
    except Exception:  # noqa: BLE001 - not numbers, or a duration of 0
        return None
