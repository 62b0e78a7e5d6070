"""The peers' suites: where each is had from, what it needs, and which plugin puts our part in the place of theirs.

Nothing of a peer is kept in the project: files are obtained at run time, into a directory of their own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STRUCTLOG = "26.1.0"
JSON_LOGGER = "4.2.0"
CONCURRENT = "0.9.26"
CONCURRENT_COMMIT = "6757b43728185de741008bb9c4d1e0d334f71e6e"
"""Its source distributions have no tests; this commit is the release."""

REQUIREMENTS = (
    "pytest>=9",
    "pytest-asyncio",
    "freezegun",
    "msgspec",
    "orjson",
    "simplejson",
    "time-machine",
    "tzdata",
    f"structlog=={STRUCTLOG}",
    f"python-json-logger=={JSON_LOGGER}",
    f"concurrent-log-handler=={CONCURRENT}",
)
"""What the suites import, in an environment of their own."""


class NotObtained(Exception):
    """A suite could not be had; the text says why and what would help."""


@dataclass(frozen=True)
class Suite:
    """One suite of a peer."""

    name: str
    version: str
    plugin: str
    obtain: Callable[[Path], Path]
    """Puts the suite's files under the directory that is given; the directory to run in."""
    targets: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def _unpack(archive: Path, into: Path) -> Path:
    """The one directory in an archive."""
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    (directory,) = (path for path in into.iterdir() if path.is_dir())
    return directory


def _from_index(requirement: str) -> Callable[[Path], Path]:
    """Obtains a source distribution from the package index."""

    def obtain(into: Path) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
        done = subprocess.run(
            [*command, "--dest", str(into), requirement], capture_output=True, text=True, check=False
        )
        archives = list(into.glob("*.tar.gz"))
        if done.returncode or len(archives) != 1:
            raise NotObtained(f"pip download {requirement}: {done.stderr.strip()[-300:]}")
        return _unpack(archives[0], into)

    return obtain


def _download(address: str, archive: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        raise NotObtained(f"{address}: {error}") from error


def _from_interpreter(_: Path) -> Path:
    """CPython's own tests: those of the interpreter that runs, where they are installed, and left in their place."""
    if importlib.util.find_spec("test.support") is None:
        raise NotObtained("this interpreter comes without its tests (Debian: libpython3-testsuite)")
    found = importlib.util.find_spec("test.test_logging")
    if found is None or found.origin is None:
        raise NotObtained("this interpreter comes without test.test_logging")
    return Path(found.origin).parent


def _from_repository(into: Path) -> Path:
    """concurrent-log-handler's tests: from its repository, or from a clone that an option names."""
    told = os.environ.get("PEER_CONCURRENT_LOG_HANDLER")
    archive = into / "source.tar.gz"
    if told:
        done = subprocess.run(
            ["git", "-C", told, "archive", "--prefix=clone/", "-o", str(archive), CONCURRENT_COMMIT],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotObtained(f"{told}: {done.stderr.strip()}")
    else:
        _download(
            f"https://codeload.github.com/Preston-Landers/concurrent-log-handler/tar.gz/{CONCURRENT_COMMIT}",
            archive,
        )
    return _unpack(archive, into)


SUITES = (
    Suite(
        "cpython",
        "{}.{}.{}".format(*sys.version_info[:3]),
        "cpython_plugin",
        _from_interpreter,
        ("test_logging.py",),
        # Settings of no project, no handler of pytest's on the root logger, and no test where there is none: the
        # loop variable of a `for` that makes methods.
        (
            "-c",
            os.devnull,
            "--rootdir=.",
            "-p",
            "no:logging",
            "-p",
            "no:warnings",
            "--deselect",
            "test_logging.py::test_compute_rollover",
        ),
    ),
    Suite(
        "python-json-logger",
        JSON_LOGGER,
        "json_logger_plugin",
        _from_index(f"python-json-logger=={JSON_LOGGER}"),
        ("tests",),
    ),
    Suite(
        "structlog",
        STRUCTLOG,
        "structlog_plugin",
        _from_index(f"structlog=={STRUCTLOG}"),
        ("tests",),
    ),
    Suite(
        "concurrent-log-handler",
        CONCURRENT,
        "concurrent_plugin",
        _from_repository,
        ("tests/test_stresstest.py",),
    ),
)
