"""Loggers for learning and for interactions between agents; `program_loggers.py` has the others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from Agent.event.kinds import Category
from Agent.record.emit import installed
from Agent.record.emit.installed import LIMITS, flush_active
from Agent.record.encode.safe_text import as_message, as_text
from Agent.record.loggers.loggers import DEBUG, INFO, Causes, EventLogger, awaitable, present


class LearningLogger(EventLogger):
    """Records what an agent learns: training steps, rewards, exploration, policies, convergence.

    Args:
        learning_type: bandit, rl, evolution or any other word; part of each event.
        agent_id: the agent that learns; default: the agent of the surrounding action.
    """

    def __init__(
        self, learning_type: str = "learning", agent_id: str | None = None, agent_role: str | None = None
    ) -> None:
        self.learning_type = as_message(learning_type)
        super().__init__(f"learning.{self.learning_type}", Category.LEARNING, agent_id, agent_role)

    def log_training_step(
        self, step: Any, metrics: Any = None, model_state: Any = None, *, causes: Causes = None
    ) -> str:
        """Record one step of training with its metrics."""
        if self._limit.value > DEBUG:
            return ""
        payload = present(
            "step", step=step, metrics=metrics, model_state=model_state, learning_type=self.learning_type
        )
        return self._emit("training_step", DEBUG, as_text(step), payload, causes)

    def log_reward(
        self, action_id: Any, reward: float, cumulative_reward: float | None = None, *, causes: Causes = None
    ) -> str:
        """Record the reward that an action earned."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "reward",
            reward=reward,
            action_id=action_id,
            cumulative_reward=cumulative_reward,
            learning_type=self.learning_type,
        )
        return self._emit("reward", INFO, as_text(reward), payload, causes)

    def log_exploration_exploitation(
        self, action_selected: Any, exploration: bool, epsilon: float | None = None, *, causes: Causes = None
    ) -> str:
        """Record whether an action was chosen to explore or to exploit."""
        if self._limit.value > DEBUG:
            return ""
        explores = as_bool(exploration)
        mode = "exploration" if explores else "exploitation"
        payload = present(
            "action_selected",
            action_selected=action_selected,
            exploration=explores,
            epsilon=epsilon,
            mode=mode,
            learning_type=self.learning_type,
        )
        label = f"{mode.capitalize()}: {as_text(action_selected)}"
        return self._emit("exploration", DEBUG, label, payload, causes)

    def log_policy_update(
        self,
        policy_data: Any = None,
        old_policy: Any = None,
        new_policy: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a change of the policy."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            policy_data=policy_data,
            old_policy=old_policy,
            new_policy=new_policy,
            learning_type=self.learning_type,
        )
        return self._emit("policy_update", INFO, "Policy update", payload, causes)

    def log_convergence(
        self,
        metric: Any,
        value: Any = None,
        converged: bool | None = None,
        threshold: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record how far learning has converged."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "metric",
            metric=metric,
            value=value,
            converged=None if converged is None else as_bool(converged),
            threshold=threshold,
            learning_type=self.learning_type,
        )
        return self._emit("convergence", INFO, as_text(metric), payload, causes)

    def log_learning_update(
        self, learning_stage: Any, update_data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a learning update."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "learning_stage",
            learning_stage=learning_stage,
            update_data=update_data,
            learning_type=self.learning_type,
        )
        return self._emit("learning_update", INFO, learning_stage, payload, causes)

    # The same, awaited.
    alog_training_step = awaitable(log_training_step)
    alog_reward = awaitable(log_reward)
    alog_exploration_exploitation = awaitable(log_exploration_exploitation)
    alog_policy_update = awaitable(log_policy_update)
    alog_convergence = awaitable(log_convergence)
    alog_learning_update = awaitable(log_learning_update)


class InteractionLogger(EventLogger):
    """Records interactions between agents, and between agents and content."""

    def __init__(self, agent_id: str | None = None, agent_role: str | None = None) -> None:
        super().__init__("interaction", Category.INTERACTIONS, agent_id, agent_role)

    def log_interaction(
        self,
        interaction_type: str,
        source_id: Any = None,
        target_id: Any = None,
        content_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a like, a share, a comment or any other interaction."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "interaction_type",
            interaction_type=interaction_type,
            source_id=source_id,
            target_id=target_id,
            content_id=content_id,
            data=data,
        )
        return self._emit("interaction", INFO, interaction_type, payload, causes)

    def log_content_interaction(
        self,
        agent_id: Any,
        content_id: Any,
        interaction_type: str,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record what an agent did with a piece of content."""
        return self.log_interaction(interaction_type, agent_id, None, content_id, data, causes=causes)

    def log_connection(
        self,
        source_id: Any,
        target_id: Any,
        connection_type: str = "follow",
        strength: float | None = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a connection between two agents, such as following."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "source_id target_id",
            source_id=source_id,
            target_id=target_id,
            connection_type=as_text(connection_type),
            strength=strength,
            data=data,
        )
        label = f"Connection: {as_text(source_id)} -> {as_text(target_id)}"
        return self._emit("connection", INFO, label, payload, causes)

    def log_cascade(
        self,
        content_id: Any,
        size: int,
        depth: int | None = None,
        root_agent_id: Any = None,
        parent_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record how far content has spread: `size` shares, at most `depth` steps from its author."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "content_id size",
            content_id=content_id,
            size=size,
            depth=depth,
            root_agent_id=root_agent_id,
            parent_id=parent_id,
            data=data,
        )
        label = f"Cascade of {as_text(content_id)}: {as_text(size)}"
        return self._emit("cascade", INFO, label, payload, causes)

    def log_collaboration(
        self,
        participants: Iterable[Any],
        collaboration_type: str = "collaboration",
        content_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record that agents work together."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "collaboration_type",
            collaboration_type=collaboration_type,
            participants=as_list(participants),
            content_id=content_id,
            data=data,
        )
        return self._emit("collaboration", INFO, collaboration_type, payload, causes)

    # The same, awaited.
    alog_interaction = awaitable(log_interaction)
    alog_content_interaction = awaitable(log_content_interaction)
    alog_connection = awaitable(log_connection)
    alog_cascade = awaitable(log_cascade)
    alog_collaboration = awaitable(log_collaboration)


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
        payload = present(
            "metric_name value",
            metric_name=metric_name,
            value=value,
            unit=None if unit is None else as_text(unit),
            data=data,
        )
        return self._emit("metric", INFO, metric_name, payload, causes, buffered=True)

    def log_latency(
        self, operation: str, duration_ms: float, data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record how long an operation took."""
        if self._limit.value > INFO:
            return ""
        payload = present(
            "metric_name value",
            metric_name=operation,
            value=duration_ms,
            unit="ms",
            duration_ms=duration_ms,
            data=data,
        )
        return self._emit("metric", INFO, operation, payload, causes, buffered=True)

    def log_throughput(
        self, operation: str, count: float, duration_s: float, data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record how many operations were done in how many seconds."""
        if self._limit.value > INFO:
            return ""
        per_second = rate_of(count, duration_s)
        payload = present(
            "operation count duration_s",
            operation=operation,
            count=count,
            duration_s=duration_s,
            per_second=per_second,
            data=data,
        )
        return self._emit("throughput", INFO, operation, payload, causes, buffered=True)

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
        payload = present(
            memory_bytes=memory_bytes, cpu_percent=cpu_percent, open_files=open_files, data=data
        )
        return self._emit("resource", INFO, "Resources", payload, causes, buffered=True)

    def flush(self) -> None:
        """Write the buffered events now."""
        flush_active()

    # The same, awaited.
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
        return self._course(
            "system.init", as_text(name), present("component", component=name, data=data), causes
        )

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
        payload = present("name", name=name, old_value=old_value, new_value=new_value, data=data)
        return self._course("system.config", as_text(name), payload, causes)

    def log_module(self, module: Any, version: Any = None, data: Any = None, *, causes: Causes = None) -> str:
        """Record that a module was loaded."""
        payload = present("module", module=module, version=version, data=data)
        return self._course("system.module", as_text(module), payload, causes)

    def log_simulation_start(
        self, name: Any = None, configuration: Any = None, *, causes: Causes = None
    ) -> str:
        """Record the start of a simulation and its configuration."""
        payload = present(name=name, configuration=configuration)
        return self._course("simulation_start", "Simulation starts", payload, causes)

    def log_simulation_end(
        self,
        name: Any = None,
        outcome: Any = None,
        duration_ms: float | None = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record the end of a simulation and its outcome."""
        payload = present(name=name, outcome=outcome, duration_ms=duration_ms)
        return self._course("simulation_end", "Simulation ends", payload, causes)

    def log_checkpoint(self, name: Any, data: Any = None, *, causes: Causes = None) -> str:
        """Record a checkpoint of the simulation."""
        return self._course("checkpoint", as_text(name), present("name", name=name, data=data), causes)

    def log_phase(self, name: Any, previous: Any = None, data: Any = None, *, causes: Causes = None) -> str:
        """Record the beginning of a phase."""
        payload = present("name", name=name, previous=previous, data=data)
        written = self._course("phase", as_text(name), payload, causes)
        if installed.active is not None and installed.active.watcher is not None:
            installed.active.watcher.phase_began(as_text(name))
        return written

    def log_milestone(self, name: Any, data: Any = None, *, causes: Causes = None) -> str:
        """Record that a milestone was reached."""
        return self._course("milestone", as_text(name), present("name", name=name, data=data), causes)

    def _course(self, kind: str, label: str, payload: dict[str, Any], causes: Causes) -> str:
        from Agent.event.payloads import KINDS

        # The course of the simulation is of another category than the framework, with a level of its own.
        if LIMITS[KINDS[kind].category.value].value > INFO:
            return ""
        return self._emit(kind, INFO, label, payload, causes)

    # The same, awaited.
    alog_init = awaitable(log_init)
    alog_config = awaitable(log_config)
    alog_module = awaitable(log_module)
    alog_simulation_start = awaitable(log_simulation_start)
    alog_simulation_end = awaitable(log_simulation_end)
    alog_checkpoint = awaitable(log_checkpoint)
    alog_phase = awaitable(log_phase)
    alog_milestone = awaitable(log_milestone)


_MAX_PARTICIPANTS = 10_000


def as_bool(value: Any) -> bool:
    """Whether the value counts as true; one that cannot say so counts as false."""
    try:
        return bool(value)
    except Exception:  # noqa: BLE001 - an array of several, or whatever a stranger's __bool__ does
        return False


def as_list(values: Any) -> list[Any]:
    """The values as a list; what cannot be iterated is the only one, and a text is one value."""
    if values is None:
        return []
    try:
        return [values] if isinstance(values, str) else list(islice(values, _MAX_PARTICIPANTS))
    except Exception:  # noqa: BLE001 - a stranger's __iter__ may do anything
        return [values]


def rate_of(count: Any, duration_s: Any) -> float | None:
    """How many a second; None where that is no number."""
    try:
        return float(count / duration_s)
    except Exception:  # noqa: BLE001 - no numbers, or no time that has passed
        return None
