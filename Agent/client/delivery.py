"""Gets events delivered: in bodies that fit, again while nobody answers, one by one where they are refused.

A service keeps each event once by session and id, so sending again can do no harm. `shipment.py` says which
events are due.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from Agent.client.destination import Connection, ServiceResponse
from Agent.errors import NotDelivered
from Agent.export.writing import encode_body

__all__ = ["Delivery", "DeliveryOutcome", "Stopped", "bodies_of"]

MAX_BODY_EVENTS: Final = 2000
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_TOO_MUCH_OR_WRONG: Final = frozenset({400, 413, 422})
# Where one event after another is refused and none was ever taken, it is not the events that are wrong.
_MAX_REFUSED_AT_FIRST: Final = 20


class Stopped(Exception):
    """Whoever sends has to stop; what was not delivered is sent again by the next one."""


@dataclass(slots=True)
class DeliveryOutcome:
    """What became of what was sent so far."""

    sent: int = 0
    """Events that the service has; `stored` of them were new to it."""
    stored: int = 0
    refused: int = 0
    bodies: int = 0
    bytes: int = 0
    """Before compression."""
    retries: int = 0
    problem: str | None = None
    """What stands in the way now, None while it works."""
    database: str | None = None
    """Which database answered last, by the id that the service gives it."""
    is_other_database: bool = False
    """Whether everything was sent again, since another database answers than before."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why events were refused."""
    dropped: Counter[str] = field(default_factory=Counter)
    """What the service left out of them, by path; of what is sent without content that is nothing."""


class Delivery:
    """Delivers the events of one session.

    Args:
        connection: to the service.
        session: what the bodies say of it.
        wait: waits so many seconds and says whether to stop.
        content: what the bodies say of that.
        patience_s: how long nobody needs to answer before `NotDelivered` is raised; for ever without it.
    """

    def __init__(
        self,
        connection: Connection,
        session: Mapping[str, Any],
        wait: Callable[[float], bool],
        *,
        content: bool = False,
        patience_s: float | None = None,
    ) -> None:
        self.outcome = DeliveryOutcome()
        self._connection = connection
        self._session = session
        self._wait = wait
        self._content = content
        self._patience_s = patience_s

    def deliver(self, events: Sequence[bytes]) -> None:
        """Send these events; back when the service has them, but for those that it refused.

        Without events it asks which database answers.

        Raises:
            Stopped: `wait` said so.
            NotDelivered: the service takes nothing from this sender, or patience is at its end.
        """
        body = encode_body(self._session, events, content=self._content)
        answer = self._answer_to(body)
        database = answer.body.get("database")
        self.outcome.database = database if isinstance(database, str) else None
        if not events:
            return
        if answer.status in _TOO_MUCH_OR_WRONG:
            if len(events) > 1:
                half = len(events) // 2
                self.deliver(events[:half])
                self.deliver(events[half:])
                return
            self._refuse(answer)
            return
        refused = answer.body.get("refused")
        count = len(refused) if isinstance(refused, list) else 0
        for each in (refused or [])[:100] if count else ():
            if isinstance(each, dict):
                self.outcome.reasons[str(each.get("problem") or each.get("reason"))[:200]] += 1
        dropped = answer.body.get("dropped")
        for path, times in dropped.items() if isinstance(dropped, dict) else ():
            self.outcome.dropped[str(path)[:200]] += times if isinstance(times, int) else 1
        stored = answer.body.get("stored", answer.body.get("accepted"))
        self.outcome.bodies += 1
        self.outcome.bytes += len(body)
        self.outcome.refused += count
        self.outcome.sent += len(events) - count
        self.outcome.stored += stored if isinstance(stored, int) else len(events) - count

    def _refuse(self, answer: ServiceResponse) -> None:
        self.outcome.refused += 1
        self.outcome.reasons[answer.problem] += 1
        if not self.outcome.sent and self.outcome.refused >= _MAX_REFUSED_AT_FIRST:
            raise self._not_delivered(answer.problem, answer.remedy)

    def _answer_to(self, body: bytes) -> ServiceResponse:
        """The answer to a body, as soon as somebody gives one that is final."""
        waited_s, next_s = 0.0, _FIRST_WAIT_S
        while True:
            asked_s: float | None = None
            try:
                answer = self._connection.post(body)
            except OSError as error:
                problem = _told(error)
            else:
                if 200 <= answer.status < 300 or answer.status in _TOO_MUCH_OR_WRONG:
                    self.outcome.problem = None
                    return answer
                problem, asked_s = answer.problem, answer.retry_after_s
                if answer.status not in _TRY_AGAIN and answer.status < 500:
                    self.outcome.problem = problem
                    raise self._not_delivered(problem, _remedy_of(answer))
            self.outcome.problem = problem
            if self._patience_s is not None and waited_s >= self._patience_s:
                raise self._not_delivered(problem, "nothing is lost: send again when it is back")
            # Full jitter, so that many senders do not come back together.
            wait_s = min(random.uniform(next_s / 2, next_s), _LONGEST_WAIT_S)
            if asked_s is not None:
                wait_s = min(asked_s, _LONGEST_WAIT_S)
            if self._patience_s is not None:
                wait_s = min(wait_s, max(self._patience_s - waited_s, 0.01))
            self.outcome.retries += 1
            if self._wait(wait_s):
                raise Stopped
            waited_s += wait_s
            next_s = min(next_s * 2, _LONGEST_WAIT_S)

    def _not_delivered(self, problem: str, remedy: str | None) -> NotDelivered:
        place = self._connection.destination.place
        return NotDelivered(f"{place} accepts no events: {problem}", remedy=remedy)


def bodies_of(events: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Events in portions that fit a body; one that fits none is a portion of its own."""
    portions: list[Sequence[bytes]] = []
    first, size_bytes = 0, 0
    for number, event in enumerate(events):
        if number > first and (number - first >= MAX_BODY_EVENTS or size_bytes + len(event) > MAX_BODY_BYTES):
            portions.append(events[first:number])
            first, size_bytes = number, 0
        size_bytes += len(event) + 1
    if first < len(events):
        portions.append(events[first:])
    return portions


def _told(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); set SSL_CERT_FILE to a trusted one"
    reason = error.strerror or str(error) or type(error).__name__
    return f"no answer ({' '.join(str(reason).split())[:200].lower()})"


def _remedy_of(answer: ServiceResponse) -> str:
    if answer.status in {401, 403}:  # what the service says of headers helps nobody here
        return "give a key of that service, as api_key or --api-key; agent-trace keys add creates one there"
    if answer.remedy is not None:
        return answer.remedy
    if answer.location is not None:
        return f"it redirects to {answer.location[:200]}: use that address"
    return "use the address of an Agent Trace service, such as http://localhost:8000"
