"""The process that sends a session while it is recorded: `python -m Agent.client.sender_process`.

`sender.py` starts it, tells it through a pipe what to do, and reads its answers from there, all as JSON. It
shares nothing with the agent's process but the files, so a slow or dead service cannot hold an agent up.
When the agent's process is gone, however it went, this one sends what is left and ends.
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
from Agent.client.shipment import Shipment
from Agent.errors import AgentTraceError, NotDelivered, SessionInUse
from Agent.record.health import say

_GRACE_S: Final = 30.0
"""How long it goes on trying after the agent's process ended."""


class _Found(Enum):
    """What a look at the session came to; the value is how long to wait before the next one, in seconds."""

    SENT = 0.5
    INTERRUPTED = 0.0
    ELSEWHERE = 1.0
    TURNED_AWAY = 60.0


class _Orders:
    """What the agent's process wants, read from the pipe without ever waiting longer than asked."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._next: dict[str, Any] | None = None
        self._alone_since_s: float | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the agent's process is gone."""
        return self._alone_since_s is not None

    @property
    def is_over(self) -> bool:
        """Whether the time after that is over, too."""
        return self._left_s() <= 0.0

    def _left_s(self) -> float:
        began_s = self._alone_since_s
        return _GRACE_S if began_s is None else began_s + _GRACE_S - time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait for an order, at most so long; whether there is one, or nothing more to wait for."""
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
            _let_go_of_stderr()
        return self._next is not None

    def take(self) -> dict[str, Any] | None:
        """The next order, None if there is none."""
        order, self._next = self._next, None
        return order

    def answer(self, answer: dict[str, Any]) -> None:
        """Tell what came of an order."""
        # Where the agent's process is gone, the next look at the pipe says so.
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(orjson.dumps(answer))


def _let_go_of_stderr() -> None:
    """Whoever reads what the agent's program prints would wait for this process, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class _Sending:
    """Follows one session, and does what it is told meanwhile."""

    def __init__(self, orders: _Orders, order: dict[str, Any]) -> None:
        self._orders = orders
        self._session = Path(order["session"])
        self._destination = Destination(order["url"], order.get("api_key"))
        self._content = bool(order.get("content"))
        self._shipment: Shipment | None = None
        self._told: set[str] = set()
        self._deadline_s: float | None = None

    def run(self) -> None:
        """Send until the agent's process is gone and nothing is left, or nothing can be done about it."""
        while True:
            found = self._look()
            if self._orders.is_alone and (found in {_Found.SENT, _Found.ELSEWHERE} or self._orders.is_over):
                return
            if self._orders.wait(found.value):
                self._obey()

    def _look(self) -> _Found:
        try:
            if self._shipment is None:
                self._shipment = Shipment(self._session, self._destination, self._wait, content=self._content)
            while self._shipment.ship() or self._shipment.behind:
                pass
        except SessionInUse:
            return _Found.ELSEWHERE
        except Stopped:
            return _Found.INTERRUPTED
        except NotDelivered as error:
            self._tell(str(error))
            return _Found.TURNED_AWAY
        return _Found.SENT

    def _wait(self, seconds: float) -> bool:
        """What a delivery waits by; an order interrupts it, and so does the end of the time that it has."""
        outcome = self._shipment.outcome if self._shipment is not None else None
        if outcome is not None and outcome.problem:
            place = self._destination.place
            self._tell(f"{place} accepts no events now: {outcome.problem}; they are kept and sent later")
        if self._deadline_s is None:
            return self._orders.wait(seconds)
        left_s = self._deadline_s - time.monotonic()
        if left_s <= seconds:
            return True
        time.sleep(seconds)
        return False

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            say(what)

    def _obey(self) -> None:
        order = self._orders.take()
        if order is not None:
            # A program that ends does not wait for a service that is away: it is asked once.
            timeout_s = float(order.get("timeout_s", 0.0)) if order.get("order") == "flush" else 0.0
            self._deadline_s = time.monotonic() + timeout_s
            try:
                found = self._look()
            finally:
                self._deadline_s = None
            self._answer(order, found)

    def _answer(self, order: dict[str, Any], found: _Found) -> None:
        answer: dict[str, Any] = {
            "order": order.get("order"),
            "delivered": found is _Found.SENT,
            "elsewhere": found is _Found.ELSEWHERE,
        }
        if self._shipment is not None:
            outcome = self._shipment.outcome
            answer |= {
                "sent": outcome.sent,
                "stored": outcome.stored,
                "refused": outcome.refused,
                "reasons": dict(outcome.reasons),
                "retries": outcome.retries,
                "problem": outcome.problem,
                "dropped": dict(self._shipment.dropped),
            }
        self._orders.answer(answer)


def main() -> int:
    """Send the session that the first order names; the exit code."""
    # The keyboard's interrupt is the agent's: what that leaves behind is still to be sent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    orders = _Orders(Connection(int(sys.argv[1])))
    while not orders.wait(_GRACE_S):
        if orders.is_alone:
            return 2
    try:
        _Sending(orders, orders.take() or {}).run()
    except (AgentTraceError, OSError) as error:
        say(f"nothing more is sent: {error}; `agent-trace ship` sends the rest")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
