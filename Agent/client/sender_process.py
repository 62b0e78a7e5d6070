"""The process that sends a session while it is recorded: `python -m Agent.client.sender_process`.

`sender.py` starts it, sends orders through a pipe and reads the responses, all as JSON. It shares only the
files with the agent's process, so a slow or dead service cannot delay an agent. After the agent's process has
ended or crashed, this one sends the rest and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.client.destination import Destination, Stopped
from Agent.client.otlp import OtlpDestination, OtlpShipment
from Agent.client.shipment import OutgoingSession, Shipment
from Agent.errors import AgentTraceError, NotDelivered, SessionInUse
from Agent.record.health import say

_GRACE_S: Final = 30.0
"""The seconds for which it continues to try after the agent's process has ended."""
_OF_OUTCOME: Final = ("sent", "stored", "refused", "reasons", "retries", "problem")
"""The parts of the outcome in every response."""


class _SendState(Enum):
    """The result of one attempt to send; its value is the wait before the next attempt, in seconds."""

    SENT = 0.5
    INTERRUPTED = 0.0
    ELSEWHERE = 1.0
    TURNED_AWAY = 60.0


class _Commands:
    """The orders of the agent's process, read from the pipe with a timeout."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._next: dict[str, Any] | None = None
        self._alone_since_s: float | None = None

    @property
    def is_alone(self) -> bool:
        """Return whether the agent's process has ended."""
        return self._alone_since_s is not None

    @property
    def is_over(self) -> bool:
        """Return whether the time for retries after its end is over."""
        return self._left_s() <= 0.0

    def _left_s(self) -> float:
        began_s = self._alone_since_s
        return _GRACE_S if began_s is None else began_s + _GRACE_S - time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait for an order; return whether there is one, or the time for retries is over."""
        if self._next is not None or self.is_over:
            return True
        if self.is_alone:
            time.sleep(max(min(seconds, self._left_s()), 0.0))
            return self.is_over
        try:
            if self._pipe.poll(seconds):
                self._next = orjson.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._alone_since_s = time.monotonic()
            _redirect_stderr()
        return self._next is not None

    def take(self) -> dict[str, Any] | None:
        """Return the next order, or None."""
        order, self._next = self._next, None
        return order

    def answer(self, answer: dict[str, Any]) -> None:
        """Send the response to an order."""
        # If the agent's process has ended, the next read of the pipe notices it.
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(orjson.dumps(answer))


def _redirect_stderr() -> None:
    """Redirect stderr to /dev/null, so that a reader of the agent's stderr does not wait for this process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class _Sending:
    """Follows and sends one session, and executes orders."""

    def __init__(self, orders: _Commands, order: dict[str, Any]) -> None:
        self._orders = orders
        self._session = Path(order["session"])
        self._destination = _destination_of(order)
        self._content = bool(order.get("content"))
        self._shipment: OutgoingSession | None = None
        self._reported: set[str] = set()
        self._deadline_s: float | None = None

    def run(self) -> None:
        """Send until the agent's process has ended and all is sent or the time for retries is over."""
        while True:
            state = self._send_pending()
            if self._orders.is_alone and state is _SendState.SENT and self._ends():
                continue  # the end of the session adds further events to send
            if self._orders.is_alone and (
                state in {_SendState.SENT, _SendState.ELSEWHERE} or self._orders.is_over
            ):
                return
            if self._orders.wait(state.value):
                self._handle_command()

    def _new_shipment(self) -> OutgoingSession:
        if isinstance(self._destination, OtlpDestination):
            how = {"content": self._content, "resume": True}
            return OtlpShipment(self._session, self._destination, self._wait, **how)
        return Shipment(self._session, self._destination, self._wait, content=self._content)

    def _ends(self) -> bool:
        return self._shipment is not None and self._shipment.end()

    def _send_pending(self) -> _SendState:
        try:
            if self._shipment is None:
                self._shipment = self._new_shipment()
            while self._shipment.ship() or self._shipment.behind:
                pass
        except SessionInUse:
            return _SendState.ELSEWHERE
        except Stopped:
            return _SendState.INTERRUPTED
        except NotDelivered as error:
            self._report_once(str(error))
            return _SendState.TURNED_AWAY
        return _SendState.SENT

    def _wait(self, seconds: float) -> bool:
        """Wait during a delivery; return whether an order or the deadline interrupts it."""
        outcome = self._shipment.outcome if self._shipment is not None else None
        if outcome is not None and outcome.problem:
            url = self._destination.place
            self._report_once(f"{url} accepts no events now: {outcome.problem}; they are kept and sent later")
        if self._deadline_s is None:
            return self._orders.wait(seconds)
        left_s = self._deadline_s - time.monotonic()
        if left_s <= seconds:
            return True
        time.sleep(seconds)
        return False

    def _report_once(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            say(message)

    def _handle_command(self) -> None:
        order = self._orders.take()
        if order is not None:
            # A program that ends does not wait for an unreachable service: only one attempt is made.
            timeout_s = float(order.get("timeout_s", 0.0)) if order.get("order") == "flush" else 0.0
            self._deadline_s = time.monotonic() + timeout_s
            try:
                state = self._send_pending()
            finally:
                self._deadline_s = None
            self._answer(order, state)

    def _answer(self, order: dict[str, Any], state: _SendState) -> None:
        answer: dict[str, Any] = {
            "order": order.get("order"),
            "delivered": state is _SendState.SENT,
            "elsewhere": state is _SendState.ELSEWHERE,
        }
        if self._shipment is not None:
            outcome = self._shipment.outcome
            answer |= {name: getattr(outcome, name) for name in _OF_OUTCOME}
            answer["dropped"] = self._shipment.dropped
            if state is not _SendState.SENT:
                answer["unsent"] = self._shipment.unsent()
        self._orders.answer(answer)


def _destination_of(order: dict[str, Any]) -> Destination:
    if order.get("protocol") == "otlp":
        return OtlpDestination.from_order(order)
    return Destination(order["url"], order.get("api_key"))


def main() -> int:
    """Send the session in the first order, and return the exit code."""
    # Ctrl-C is for the agent's process: the events that it leaves must still be sent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    orders = _Commands(Connection(int(sys.argv[1])))
    while not orders.wait(_GRACE_S):
        if orders.is_alone:
            return 2
    order = orders.take() or {}
    try:
        _Sending(orders, order).run()
    except (AgentTraceError, OSError) as error:
        say(f"nothing more is sent: {error}; `agent-trace {_destination_of(order).command}` sends the rest")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
