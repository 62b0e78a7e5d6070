"""`agent-trace serve` as a process of its own, which can be ended, killed, and started again at the same place."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from support.processes import child_environment

_START_S = 60.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def self_made_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for this machine that nobody vouches for, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not here")
    paths = directory / "cert.pem", directory / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*words.split(), *more, *files], check=True, capture_output=True, timeout=60)
    return paths


class ServedProcess:
    """A service on a database; its ports stay the same however often it is started.

    Args:
        database_url: as `--database` takes it.
        directory: where it is started, and where it writes what it says.
        options: further ones of the command.
        program: what is run instead of the command, with the same options.
    """

    def __init__(
        self, database_url: str, directory: Path, *options: str, program: tuple[str, ...] = ("-m", "Agent")
    ) -> None:
        self._ports = free_port(), free_port()
        self._words = ["serve", "--database", database_url, "--json", "--rate", "0", *options]
        self._words += ["--port", str(self._ports[0]), "--query-port", str(self._ports[1])]
        self._directory = directory
        self._program = program
        self._process: subprocess.Popen[str] | None = None

    @property
    def ingest_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def query_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    @property
    def said(self) -> str:
        """What it wrote on stderr so far."""
        return self._said.read_text(encoding="utf-8")

    @property
    def _said(self) -> Path:
        return self._directory / "service.stderr.txt"

    def start(self) -> dict[str, str]:
        """Back when it answers; the URLs of its roles."""
        with self._said.open("a", encoding="utf-8") as said:
            self._process = subprocess.Popen(
                [sys.executable, *self._program, *self._words],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd=self._directory,
                env=child_environment(HOME=str(self._directory)),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        impatient = threading.Timer(_START_S, self._process.kill)
        impatient.start()
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith("}"):
                break
        impatient.cancel()
        assert lines, f"the service did not start: {self.said}"
        urls: dict[str, str] = json.loads("".join(lines))
        return urls

    def kill(self) -> None:
        """SIGKILL, whatever it does just now."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdout is not None
        process.send_signal(number)
        code = process.wait(_START_S)
        process.stdout.close()
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
