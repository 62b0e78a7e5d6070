"""The settings of a server: its database, its address and its limits."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from Agent.errors import InputError, UsageError

ServerRole = Literal["ingest", "query", "replay"]

INGEST_PORT: Final = 8000
QUERY_PORT: Final = 8001
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a server."""

    database_url: str
    host: str = "127.0.0.1"
    """The address to listen on; if it is not loopback, every request needs a key."""
    require_key: bool = False
    """Whether requests need a key on loopback too, if other users of this machine are not trusted."""
    ingest_port: int = INGEST_PORT
    query_port: int = QUERY_PORT
    max_sent_bytes: int = 8 * _MIB
    """The size limit of a body as sent."""
    max_unpacked_bytes: int = 32 * _MIB
    """The size limit of an unpacked body."""
    body_timeout_s: float = 30.0
    """The timeout for receiving a body."""
    requests_per_second: float = 100.0
    """The rate limit of a key, averaged over 2 s; 0 for no limit."""
    replay_workers: int = 2
    """The number of replays that run at the same time, each in a process."""
    replay_timeout_s: float = 60.0
    """The timeout of a replay, including the start of its process."""
    replay_memory_bytes: int = 1024 * _MIB
    """The limit of the address space of a replay's process."""
    replay_max_events: int = 200_000
    """The most events of a session whose runs can be replayed."""
    executors: tuple[str, ...] = ()
    """Modules that call `register_executor`, imported only for replays; no other user code is loaded."""
    pages_root: Path | None = None
    """The trace root whose pages the query role also serves, on loopback alone; None for no pages."""
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
        """Return whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def needs_keys(self) -> bool:
        """Return whether every request needs a key."""
        return self.require_key or not self.loopback


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is loopback."""
    name = host.strip("[]").casefold()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def listen_on(host: str, port: int, backlog: int, kind: type[socket.socket] = socket.socket) -> socket.socket:
    """Return a socket that listens on this address.

    Args:
        host: a name or an address.
        port: 0 for any free one.
        backlog: how many connections may wait.
        kind: the class of the socket.

    Raises:
        InputError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the protocol is given; else each small response waits 40 ms for an ACK.
    listening = kind(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}",
            remedy="choose another with --host or --port",
        ) from None
    return listening


def default_database_url(environment: Mapping[str, str]) -> str:
    """Return the URL of the default database: SQLite in the user's data directory.

    Raises:
        UsageError: the environment has no home directory.
    """
    home = Path(environment.get("XDG_DATA_HOME", ""))
    if not home.is_absolute():  # the XDG specification says to ignore relative paths
        home = Path(environment.get("HOME", ""), ".local", "share")
    if not home.is_absolute():
        raise UsageError(
            "the home directory for the database is missing", remedy="choose one with --database"
        )
    return f"sqlite:///{home / 'agent-trace' / 'service.db'}"
