"""`AgentTracer`: an agent's runs, steps and failures, recorded here and sent to a service.

Recording is all that an agent waits for. What is recorded is sent by a process of its own (`sender.py`), so
a service that is slow, down or gone costs the agent nothing, and nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from Agent.client.agent_run import AgentRun
from Agent.client.destination import Destination
from Agent.client.sender import Sender, finish_sender, sender_for
from Agent.errors import UsageError
from Agent.flight.runs.recorder import Recorder
from Agent.record.emit import installed
from Agent.record.health import note, say
from Agent.record.loggers.loggers import as_fields, present

__all__ = ["AgentTracer"]

_EXIT_TIMEOUT_S: Final = 5.0


class AgentTracer:
    """Traces the runs of one agent.

    Args:
        agent_id: which agent, as a short label: `customer_support`.
        agent_version: which version of it, such as `1.0.0`.
        api_url: of the ingest service, such as `http://localhost:8000`; without it runs are recorded only,
            and `agent-trace ship` can send them later.
        api_key: for a service that is not on this machine.
        environment: such as `production`; a label of every run.
        send_content: send payloads and messages, too; a service keeps them where the project takes content.
        exit_timeout_s: how long the end of the program waits for events that are still on their way.

    Raises:
        ConfigurationError: an address that is none, or a key that cannot be one.
        UsageError: no agent's name.
    """

    def __init__(
        self,
        agent_id: str,
        agent_version: str | None = None,
        api_url: str | None = None,
        api_key: str | None = None,
        *,
        environment: str | None = None,
        send_content: bool = False,
        exit_timeout_s: float = _EXIT_TIMEOUT_S,
    ) -> None:
        if not isinstance(agent_id, str) or not agent_id:
            raise UsageError("agent_id is not a name", remedy="use a short one, such as customer_support")
        self.agent_id = agent_id
        self.agent_version = agent_version
        self.destination = None if api_url is None else Destination(api_url, api_key)
        self._recorder = Recorder(
            agent_id, labels=present(agent_version=agent_version, environment=environment)
        )
        self._content = send_content
        self._exit_timeout_s = exit_timeout_s
        self._sender: Sender | None = None
        if self.destination is not None and self.destination.shows_key:
            say(f"the API key goes to {self.destination.place} unencrypted; use https")

    def start_run(self, labels: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> AgentRun:
        """Begin a run: a block, or a value with `finish()`.

        Args:
            labels: what it can be found by, beside the agent's version and environment.
            run_id: its id, where it has one already: small letters, digits, `_`, `-` and `.`.
        """
        run = AgentRun(self._recorder, as_fields(labels), run_id)
        try:
            self._begin_to_send()
        except Exception as error:  # noqa: BLE001 - sending is no reason to stop an agent
            note(f"beginning to send: {type(error).__name__}")
            say(f"nothing is sent ({error}); `agent-trace ship` sends later")
        return run

    def _begin_to_send(self) -> None:
        pipeline = installed.active_pipeline()
        if self.destination is None or pipeline is None or pipeline.artifacts is None:
            return
        session = pipeline.artifacts.session
        sender = self._sender
        if sender is None or sender.session != session:
            self._sender = sender_for(
                session,
                self.destination,
                content=self._content,
                exit_timeout_s=self._exit_timeout_s,
            )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything recorded so far is with the service; whether it is.

        Nobody needs to: it is sent anyway. It is for programs that ask the service right afterwards.
        """
        installed.flush_active()
        if self._sender is None:
            return False
        return bool(self._sender.flush(timeout_s).get("delivered"))

    async def aflush(self, timeout_s: float = 10.0) -> bool:
        """The same without holding up the event loop."""
        from asyncio import to_thread

        return await to_thread(self.flush, timeout_s)

    def health(self) -> dict[str, Any]:
        """How sending goes: events sent and refused, what was left out by path, what stands in the way."""
        if self._sender is not None:
            self._sender.flush(0.0)
            return {name: value for name, value in self._sender.last.items() if name != "order"}
        return {"delivered": False, "sent": 0, "problem": "nothing is being sent"}

    def close(self) -> None:
        """Send the rest and end the process that does; the program's end does so, too."""
        sender, self._sender = self._sender, None
        installed.flush_active()
        if sender is not None:
            finish_sender(sender)

    async def aclose(self) -> None:
        """The same without holding up the event loop."""
        from asyncio import to_thread

        await to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()
