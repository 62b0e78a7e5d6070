"""arize-phoenix as a process of its own, and how many spans it holds."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.served import free_port

_START_S = 240.0


class Phoenix:
    """A server on loopback with its defaults, which stands in a directory of its own.

    Args:
        command: phoenix's own.
        directory: where its database goes, or is from before.
    """

    def __init__(self, command: Path, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.version = ""
        self._command = command
        self._environment = {
            **os.environ,
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_WORKING_DIR": str(directory),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "HOME": str(directory),
        }
        self._log = directory / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """That of its process."""
        return self._process.pid if self._process is not None else 0

    def spans(self) -> int:
        """How many can be read now."""
        query = {"query": "{ projects { edges { node { recordCount } } } }"}
        request = urllib.request.Request(
            f"{self.url}/graphql", json.dumps(query).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            edges = json.load(answer)["data"]["projects"]["edges"]
        return sum(int(edge["node"]["recordCount"]) for edge in edges)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._command, "serve"], stdout=log, stderr=log, env=self._environment
            )
        asks = "from importlib.metadata import version; print(version('arize-phoenix'))"
        said = subprocess.run(
            [self._command.with_name("python"), "-c", asks], capture_output=True, text=True, check=True
        )
        self.version = said.stdout.strip()
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.__exit__(None, None, None)
                raise RuntimeError(f"phoenix did not start: {self._log.read_text()[-500:]}")
            time.sleep(0.3)
        return self

    def _answers(self) -> bool:
        try:
            self.spans()
        except OSError:
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
