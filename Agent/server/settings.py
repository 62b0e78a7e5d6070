"""What a server is told: its database, where it listens, and its limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from Agent.errors import UsageError

ServerRole = Literal["ingest", "query", "replay"]

INGEST_PORT: Final = 8000
QUERY_PORT: Final = 8001
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is run."""

    database_url: str
    host: str = "127.0.0.1"
    """Beyond loopback every request needs a key."""
    require_key: bool = False
    """Whether one is needed on loopback, too: where other users of this machine are not trusted."""
    ingest_port: int = INGEST_PORT
    query_port: int = QUERY_PORT
    max_sent_bytes: int = 8 * _MIB
    """The largest body as it is sent."""
    max_unpacked_bytes: int = 32 * _MIB
    """The largest body once it is unpacked."""
    body_timeout_s: float = 30.0
    """How long a sender may take for a body."""
    requests_per_second: float = 100.0
    """What a key may ask, on average over two seconds; 0 for no limit."""
    replay_workers: int = 2
    """How many replays run at the same time; each is a process."""
    replay_timeout_s: float = 60.0
    """How long a replay may take, the start of its process included."""
    replay_memory_bytes: int = 1024 * _MIB
    """The address space of a replay's process."""
    replay_max_events: int = 200_000
    """The largest session of which a run can be replayed."""
    executors: tuple[str, ...] = ()
    """Modules that call `register_executor`, for replays alone; nothing else of the user's is ever loaded."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise UsageError(
                "TLS needs a certificate and its key", remedy="give both --tls-certificate and --tls-key"
            )
        for path in (self.tls_certificate, self.tls_key):
            if path is not None and not path.is_file():
                raise UsageError("no such file", path=path)

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host)

    @property
    def needs_keys(self) -> bool:
        """Whether every request needs a key."""
        return self.require_key or not self.loopback


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    name = host.strip("[]").casefold()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def default_database_url(environment: Mapping[str, str]) -> str:
    """The user's own database, where none is named: SQLite in the directory for data.

    Raises:
        UsageError: the environment names no home.
    """
    home = Path(environment.get("XDG_DATA_HOME", ""))
    if not home.is_absolute():  # a relative one is to be ignored, says XDG
        home = Path(environment.get("HOME", ""), ".local", "share")
    if not home.is_absolute():
        raise UsageError("there is no home directory for the database", remedy="choose one with --database")
    return f"sqlite:///{home / 'agent-trace' / 'service.db'}"
