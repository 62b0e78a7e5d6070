"""Send one session to a service: new events in its files are delivered, and a cursor stores the progress.

The session is the write-ahead log: only the cursor is stored in addition, and it advances after events were
accepted. If a sender dies, the next one sends some events again, and the service stores each event once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import orjson

from Agent.archive.sealed.reader import ArchiveLines
from Agent.client.destination import MAX_BODY_EVENTS, Connection, Delivery, Destination, bodies_of
from Agent.client.sender import lock_sending
from Agent.errors import DamagedInput, NotDelivered
from Agent.event.model import Event
from Agent.export.allow_list import AllowList
from Agent.export.wire import event_to_wire, session_to_wire
from Agent.record.user_key import redaction_key
from Agent.tree.files.descriptors import close_lock
from Agent.tree.files.lines import DamageLog, LineDecoder
from Agent.tree.files.session import is_written, open_session, read_claims
from Agent.tree.layout import cursors_dir, read_file, safe_name, tree_files
from Agent.tree.read.follower import Follower
from Agent.tree.retention import write_cursor
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

MAX_ARTIFACT_BYTES: Final = 512 * 1024
"""The size limit of artifacts; larger ones are not sent."""


def artifact_text(session: Path, event: Event) -> str | None:
    """Return the text of the artifact of an `artifact.saved` event.

    Returns:
        None if it is larger than `MAX_ARTIFACT_BYTES`, not text, removed or damaged.
    """
    ref, size_bytes, digest = (event.extra.get(key) for key in ("ref", "size_bytes", "digest"))
    if not isinstance(ref, str) or not isinstance(size_bytes, int) or size_bytes > MAX_ARTIFACT_BYTES:
        return None
    try:
        path = artifact_path(session, event.run_id or ROOT_RUN, ref)
        content = b"".join(read_artifact(path, digest if isinstance(digest, str) else None))
        text = content.decode()
    except (DamagedInput, UnicodeDecodeError):
        return None  # the event is sent without it; the service reports this when a replay is requested
    return None if "\0" in text else text


_ARCHIVE: Final = "archive"
_CONTENT: Final = "content"
"""Key in a cursor: everything before it was sent with content, and the service accepted the content."""
_DATABASE: Final = "database"
"""Key in a cursor: the id of the database with the events; later another one may answer at the address."""
_MOST_CHANGES: Final = 3
"""How often the database may change before the whole session has been sent to one."""
_TOTAL_S: Final = 2.0
"""How long the total size of the files is cached; with many agents, reading it takes as long as sending."""
_POLL_S: Final = 0.5
"""The interval between checks of a followed session, in seconds."""
_OWN: Final = (_ARCHIVE, _CONTENT, _DATABASE)


def stored_cursor(session: Path, destination: Destination) -> dict[str, Any]:
    """Return a session's cursor for a destination; an empty one if it is missing or damaged."""
    path = cursors_dir(session) / f"{safe_name(destination.cursor_name)}.json"
    try:
        stored = orjson.loads(read_file(path))
    except (OSError, orjson.JSONDecodeError):
        return {}
    return stored if isinstance(stored, dict) else {}


@dataclass(eq=False)
class OutgoingSession:
    """A session that is being sent to a destination, by one process at a time.

    Args:
        session: its directory.
        destination: where it is sent.
        delivery: sends what is made of its events through the connection.
        connection: is closed with this object.
        allowed: decides what may leave this machine, and counts the rest.

    Raises:
        SessionInUse: another process sends the session to this destination.
    """

    session: Path
    destination: Destination
    _connection: Connection
    _delivery: Delivery
    _allowed: AllowList
    cursor_problem: str | None = None
    """Why the cursor cannot be stored; then the next sender starts from the beginning."""
    _follower: Follower = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = self._delivery.outcome
        """The counts and state of the delivery."""
        self.dropped = self._allowed.dropped
        """The values that were left out before sending, by path."""
        self._lock: int | None = lock_sending(self.session, self.destination)

    @property
    def damaged_lines(self) -> int:
        """Return the number of damaged lines, which are not sent."""
        return self._follower.damaged_lines

    @property
    def behind(self) -> bool:
        """Return whether there was more than one call of `ship` sends."""
        return self._follower.behind

    def ship(self) -> int:
        """Send what is new since the last call, at most about 1 MiB of lines; return the number of events.

        `behind` is True if there are more.

        Raises:
            Stopped, NotDelivered: see `Delivery`; the next call sends these events again.
        """
        raise NotImplementedError

    def ship_all(self, *, follow: bool, report_caught_up: Callable[[], None] = lambda: None) -> None:
        """Send the existing events; with `follow`, continue until no process writes to the session.

        Args:
            report_caught_up: called after each part.

        Raises:
            Stopped, NotDelivered: see `Delivery`.
        """
        while True:
            # Checked before sending: events written before the last program ended are then sent below.
            may_grow = follow and is_written(self.session)
            while self.ship() or self.behind:
                report_caught_up()
            if may_grow:
                time.sleep(_POLL_S)
            elif not self.end():
                return

    def _write_cursor(self, cursor: dict[str, Any]) -> None:
        try:
            write_cursor(self.session, self.destination.cursor_name, cursor)
        except OSError as error:
            self.cursor_problem = error.strerror or str(error)

    def unsent(self) -> int | None:
        """Return the number of spans that the receiver does not have; None if that is not counted."""
        return None

    def end(self) -> bool:
        """Add data that is known only at the end of the session; return whether anything has to be sent."""
        return False

    def close(self) -> None:
        """Close the connection and release the lock."""
        self._connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            close_lock(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Shipment(OutgoingSession):
    """Sends one session to a service.

    Args:
        session: its directory.
        destination: the service.
        wait: waits for a number of seconds and returns whether to stop; see `Delivery`.
        content: also send payloads and messages, which the service stores if the project accepts content.
            Events sent without content before are sent again; the service adds the missing parts.
        patience_s: see `Delivery`.
        again: send everything again; the service stores each event once.

    Raises:
        SessionInUse: another process sends the session to this service.
        SessionNotFound, DamagedInput: the session cannot be read.
    """

    def __init__(
        self,
        session: Path,
        destination: Destination,
        wait: Callable[[float], bool],
        *,
        content: bool = False,
        patience_s: float | None = None,
        again: bool = False,
    ) -> None:
        self._content = content
        connection = Connection(destination)
        session_message = session_to_wire(open_session(session))
        delivery = Delivery(connection, session_message, wait, content=content, patience_s=patience_s)
        super().__init__(session, destination, connection, delivery, AllowList(redaction_key()))
        self.damage = DamageLog()
        self._total_bytes, self._total_at_s = 0, -math.inf
        self._changes = 0
        try:
            self._stored = {} if again else stored_cursor(session, destination)
            if content and not self._stored.get(_CONTENT):
                self._stored = {}
            self._is_known = not self._stored
            self._follower = self._follow(self._files())
        except BaseException:
            self.close()
            raise

    @property
    def damaged_lines(self) -> int:
        """Return the number of damaged lines, of the archive too, which are not sent."""
        return super().damaged_lines + self.damage.count

    def ship(self) -> int:
        """Send the new events, see `OutgoingSession.ship`; the cursor then points past them."""
        self._request_database_once()
        events = self._follower.poll()
        if not events:
            self._changes = 0
            return 0
        try:
            for portion in bodies_of([self._wire(event) for event in events]):
                self._delivery.deliver(portion)
        except BaseException:
            # The follower has passed these events, but the service lacks them: go back to the stored cursor.
            self._follower.close()
            self._follower = self._follow(self._files())
            raise
        if not self._starts_anew():
            self._keep(self._stored.get(_ARCHIVE))
        return len(events)

    def _request_database_once(self) -> None:
        """Request the id of the database once, since the cursor may belong to another one."""
        if not self._is_known:
            self._delivery.deliver([])
            self._is_known = True
            self._starts_anew()

    def _starts_anew(self) -> bool:
        """Return whether the database is another than the cursor's; then everything has to be sent again."""
        before, now = self._stored.get(_DATABASE), self.outcome.database
        if not self._stored or before == now:
            return False
        self.outcome.is_other_database = True
        self._changes += 1
        if self._changes > _MOST_CHANGES:
            raise NotDelivered(
                f"{self.destination.place} accepts no events: another database answers again and again",
                remedy="let all services behind that address use one database",
            )
        self._stored = {}
        self._follower.close()
        self._follower = self._follow({})
        return True

    @property
    def share(self) -> float:
        """Return the part of the files that has been read, from 0 to 1."""
        now_s = time.monotonic()
        if now_s - self._total_at_s >= _TOTAL_S:
            self._total_bytes = sum(path.stat().st_size for path in tree_files(self.session) if path.exists())
            self._total_at_s = now_s
        return min(self._follower.read_bytes / self._total_bytes, 1.0) if self._total_bytes else 1.0

    def ship_archive(self) -> int:
        """Send the events that only the archive has, after their files were removed; return their number.

        Raises:
            Stopped, NotDelivered: see `Delivery.deliver`.
            DamagedInput: a part of the archive cannot be read.
        """
        self._request_database_once()
        cold = ArchiveLines(self.session)
        segments = len(cold.files())
        if not segments:
            return 0
        progress = self._stored.get(_ARCHIVE)
        before = progress if isinstance(progress, dict) and progress.get("segments") == segments else {}
        done = before.get("lines", 0)
        sent = 0
        decoder = LineDecoder(self.damage, read_claims(self.session).__contains__)
        cold_events = map(decoder.decode, cold.lines_to_read(None, {}))
        events = islice(enumerate(cold_events, start=1), done, None)
        while portion := list(islice(events, MAX_BODY_EVENTS)):
            waiting = [self._wire(event) for _, event in portion if event is not None]
            if not waiting:
                continue
            for body in bodies_of(waiting):
                self._delivery.deliver(body)
            if not self._starts_anew():
                self._keep({"segments": segments, "lines": portion[-1][0]})
            sent += len(waiting)
            if not self._stored:
                return sent + self.ship_archive()
        return sent

    def _wire(self, event: Event) -> bytes:
        saved = self._content and event.kind == "artifact.saved"
        text = artifact_text(self.session, event) if saved else None
        return event_to_wire(event, self._allowed, content=self._content, artifact_text=text)

    def _follow(self, cursor: dict[str, Any]) -> Follower:
        if not cursor:
            return Follower(self.session)
        try:
            return Follower(self.session, cursor=cursor)
        except DamagedInput:
            return Follower(self.session)  # sends all events again; the service ignores the known ones

    def _files(self) -> dict[str, Any]:
        """Return the part of the cursor that belongs to the follower."""
        return {name: value for name, value in self._stored.items() if name not in _OWN}

    def _keep(self, archive: object) -> None:
        took_all = self._content and not self.outcome.dropped
        self._stored = {
            **self._follower.cursor(),
            _ARCHIVE: archive,
            _CONTENT: took_all,
            _DATABASE: self.outcome.database,
        }
        self._write_cursor(self._stored)
