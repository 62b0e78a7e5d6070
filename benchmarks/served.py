"""The service as a process of its own, on a free port of this machine: started, held up, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """`agent-trace serve` on a database, without a limit of requests.

    Args:
        database_url: as `--database` takes it.
        directory: where it is started.
        options: further ones of the command.
    """

    def __init__(self, database_url: str, directory: Path, *options: str) -> None:
        ports = free_port(), free_port()
        self.ingest_url, self.query_url = (f"http://127.0.0.1:{port}" for port in ports)
        self._words = [sys.executable, "-m", "Agent", "serve", "--database", database_url, "--json"]
        self._words += ["--rate", "0", "--port", str(ports[0]), "--query-port", str(ports[1]), *options]
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> dict[str, str]:
        """Back when it answers; the URLs of its roles."""
        self._process = subprocess.Popen(
            self._words, stdout=subprocess.PIPE, text=True, cwd=self._directory, start_new_session=True
        )
        lines = []
        for line in self._process.stdout or ():
            lines.append(line)
            if line.startswith("}"):
                urls: dict[str, str] = json.loads("".join(lines))
                return urls
        raise RuntimeError(f"the service did not start: exit code {self._process.wait()}")

    def hold(self) -> None:
        """It takes connections and does nothing more."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def processor_s(self) -> float:
        """Seconds of processor that it took so far; what it waited for the others is not in them."""
        if self._process is None:
            return 0.0
        # behind the name in brackets the 12th and 13th field are user and system time
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        return sum(map(int, stat.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """SIGKILL, whatever it does just now."""
        process = self._process
        if process is not None:
            self._signal(signal.SIGKILL)
            process.communicate()
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
