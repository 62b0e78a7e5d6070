"""Plant made-up secrets through every entrance and search the recorded files for them: `doctor --canary`.

`canary_entries.py` plants them, in a separate process with a temporary trace root.
"""

from __future__ import annotations

import io
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zstandard import ZstdDecompressor

from Agent.config.process import child_environment
from Agent.errors import AgentTraceError
from Agent.testing.canary_entries import ARGV, ENTRANCES, Plant, plants, secret_arguments

DURABILITIES = ("kernel", "queued")
CLEAN, LEAKED, UNRECORDED, ABSENT = "not found", "FOUND", "NOT RECORDED", "not installed"
_TIMEOUT_S: Final = 300
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ENDING_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found: its shape, and the file under the trace root that contains it."""

    shape: str
    file: str


@dataclass(slots=True)
class Entrance:
    """The result for the secrets that were planted through one entrance."""

    name: str
    durability: str
    planted: int
    state: str = CLEAN
    leaks: list[Leak] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    """Shapes whose harmless marker is in no file: nothing was recorded, so redaction was not tested."""

    @property
    def is_wrong(self) -> bool:
        """Whether a secret was found, or the entrance recorded nothing."""
        return self.state in {LEAKED, UNRECORDED}


@dataclass(slots=True)
class Searched:
    """The results for all entrances, and how much was searched."""

    entrances: list[Entrance] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0

    @property
    def wrong(self) -> list[Entrance]:
        """The entrances through which a secret leaked, or that could not be checked."""
        return [entrance for entrance in self.entrances if entrance.is_wrong]


def plant_and_search(before: Callable[[str], object] = lambda _durability: None) -> Searched:
    """Plant secrets through every entrance under each durability, and search the files for them.

    Args:
        before: called with each durability before it is tested.
    """
    searched = Searched()
    for durability in DURABILITIES:
        before(durability)
        with tempfile.TemporaryDirectory(prefix="agent-trace-canary-") as directory:
            seed = secrets.token_hex(16)
            root = Path(directory, "trace")
            missing = plant_all(root, durability, seed)
            contents = contents_of(root)
            searched.entrances += search(contents, durability, seed, missing)
            searched.files += len(contents)
            searched.size_bytes += sum(map(len, contents.values()))
    return searched


def plant_all(root: Path, durability: str, seed: str) -> list[str]:
    """Plant secrets in a separate process; return the names of the entrances that are not installed."""
    command = [sys.executable, "-m", "Agent.testing.canary_entries", str(root), durability]
    done = subprocess.run(  # noqa: S603 - our own module
        [*command, *secret_arguments(seed)],
        input=seed,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AgentTraceError(f"the program that plants the secrets failed: {last[0]}")
    return done.stdout.split("\n")[:-1]


def contents_of(root: Path) -> dict[str, bytes]:
    """Every file under the root by relative path, also decompressed where needed, and all file names."""
    contents = {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
    for name, data in list(contents.items()):
        if data.startswith(_ZSTD):
            reader = ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
            contents[f"{name}, decompressed"] = reader.read()
    contents["file names"] = "\n".join(str(path.relative_to(root)) for path in root.rglob("*")).encode()
    return contents


def search(
    contents: Mapping[str, bytes], durability: str, seed: str, missing: Iterable[str] = ()
) -> list[Entrance]:
    """Search files for the secrets of every entrance: plain, escaped, quoted and in base64."""
    absent = set(missing)
    everything = b"\n".join(contents.values())
    endings = {everything[at : at + _ENDING_BYTES] for at in range(len(everything) - _ENDING_BYTES + 1)}
    entrances = []
    for name in (*ENTRANCES, ARGV):
        planted = plants(seed, name)
        entrance = Entrance(name, durability, len(planted))
        entrances.append(entrance)
        if name in absent:
            entrance.state = ABSENT
            continue
        for plant in planted:
            _judge(entrance, plant, contents, everything, endings)
        if entrance.leaks:
            entrance.state = LEAKED
        elif entrance.unrecorded:
            entrance.state = UNRECORDED
    return entrances


def _judge(
    entrance: Entrance,
    plant: Plant,
    contents: Mapping[str, bytes],
    everything: bytes,
    endings: Collection[bytes],
) -> None:
    # a fast filter: if the last bytes of a form occur nowhere, the form itself need not be searched for
    forms = [form for form in plant.forms() if form[-_ENDING_BYTES:] in endings and form in everything]
    entrance.leaks += [
        Leak(plant.shape, file)
        for file, data in (contents.items() if forms else ())
        if any(form in data for form in forms)
    ]
    if plant.marker.encode() not in everything:
        entrance.unrecorded.append(plant.shape)
