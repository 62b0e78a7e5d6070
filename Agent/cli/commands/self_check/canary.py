"""`doctor --canary`: plants made-up secrets through every entrance and searches the files for them.

The program that plants is `entry_points.py`, in a process of its own and a temporary trace root; this is
the search, and the table.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from Agent.cli.output import render
from Agent.errors import AgentTraceError
from Agent.testing.canary.secrets import Plant, plants

__all__ = ["Entrance", "Leak", "canary", "search"]

DURABILITIES = ("kernel", "queued")
CLEAN, LEAKED, UNRECORDED, ABSENT = "not found", "FOUND", "NOT RECORDED", "not installed"
STYLES: Mapping[str, Mapping[str, object]] = {
    CLEAN: {"fg": "green"},
    LEAKED: {"fg": "red", "bold": True},
    UNRECORDED: {"fg": "red", "bold": True},
    ABSENT: {"fg": "yellow"},
}
_TIMEOUT_S = 300
_ZSTD = b"\x28\xb5\x2f\xfd"
_ENDING_BYTES = 6


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found: its shape, and the file under the trace root."""

    shape: str
    file: str


@dataclass(slots=True)
class Entrance:
    """What came of the secrets that were planted through one entrance."""

    name: str
    durability: str
    planted: int
    state: str = CLEAN
    leaks: list[Leak] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    """Shapes whose harmless marker is in no file: what nobody recorded, nobody can have redacted."""

    @property
    def is_wrong(self) -> bool:
        """Whether a secret was found, or nothing was there to be searched."""
        return self.state in {LEAKED, UNRECORDED}


def canary(*, as_json: bool) -> int:
    """Run it and print what was found; 0 where no secret was, else 1."""
    entrances: list[Entrance] = []
    files = size_bytes = 0
    for durability in DURABILITIES:
        if not as_json:
            render.note(f"planting secrets under durability {durability} ...")
        with tempfile.TemporaryDirectory(prefix="agent-trace-canary-") as place:
            seed = secrets.token_hex(16)
            root = Path(place, "trace")
            missing = _plant(root, durability, seed)
            contents = _contents(root)
            entrances += search(contents, durability, seed, missing)
            files += len(contents)
            size_bytes += sum(map(len, contents.values()))
    wrong = [entrance for entrance in entrances if entrance.is_wrong]
    if as_json:
        render.emit_json(
            {
                "ok": not wrong,
                "files": files,
                "bytes": size_bytes,
                "entrances": [asdict(entrance) for entrance in entrances],
            }
        )
    else:
        _show(entrances)
        planted = sum(entrance.planted for entrance in entrances if entrance.state != ABSENT)
        render.emit()
        render.emit(
            f"{planted:,} secrets planted, {files} files and {render.size(size_bytes)} searched: "
            + (f"{render.plural(len(wrong), 'entrance')} failed" if wrong else "none found")
        )
    return 1 if wrong else 0


def _plant(root: Path, durability: str, seed: str) -> list[str]:
    """Let a process of its own record; the entrances that are not installed."""
    import Agent
    from Agent.testing.canary.entry_points import argument_words

    package_parent = str(Path(Agent.__file__).resolve().parents[1])
    environment = {name: value for name, value in os.environ.items() if name != "AGENT_TRACE_SESSION"}
    paths = (package_parent, environment.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    command = [sys.executable, "-m", "Agent.testing.canary.entry_points", str(root), durability]
    done = subprocess.run(  # noqa: S603 - our own module
        [*command, *argument_words(seed)],
        input=seed,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AgentTraceError(f"the program that plants the secrets failed: {last[0]}")
    return done.stdout.split("\n")[:-1]


def _contents(root: Path) -> dict[str, bytes]:
    """Every file under the root by its path below it, and unpacked where it is compressed; every name."""
    found = {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }
    for name, data in list(found.items()):
        if data.startswith(_ZSTD):
            found[f"{name}, decompressed"] = _unpacked(data)
    found["file names"] = "\n".join(str(path.relative_to(root)) for path in root.rglob("*")).encode()
    return found


def _unpacked(data: bytes) -> bytes:
    import io

    from zstandard import ZstdDecompressor

    return ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


def search(
    contents: Mapping[str, bytes], durability: str, seed: str, missing: Iterable[str] = ()
) -> list[Entrance]:
    """Look for the secrets of every entrance in these files, as they are, escaped, quoted and as base64."""
    from Agent.testing.canary import entry_points  # noqa: F401 - it fills the table
    from Agent.testing.canary.secrets import ARGV, ENTRANCES

    absent = set(missing)
    everything = b"\n".join(contents.values())
    endings = {everything[at : at + _ENDING_BYTES] for at in range(len(everything) - _ENDING_BYTES + 1)}
    found = []
    for name in (*ENTRANCES, ARGV):
        planted = plants(seed, name)
        entrance = Entrance(name, durability, len(planted))
        found.append(entrance)
        if name in absent:
            entrance.state = ABSENT
            continue
        for plant in planted:
            _judge(entrance, plant, contents, everything, endings)
        if entrance.leaks:
            entrance.state = LEAKED
        elif entrance.unrecorded:
            entrance.state = UNRECORDED
    return found


def _judge(
    entrance: Entrance,
    plant: Plant,
    contents: Mapping[str, bytes],
    everything: bytes,
    endings: Collection[bytes],
) -> None:
    # what does not even end anywhere need not be looked for in megabytes
    forms = [form for form in plant.forms() if form[-_ENDING_BYTES:] in endings and form in everything]
    entrance.leaks += [
        Leak(plant.shape, file)
        for file, data in (contents.items() if forms else ())
        if any(form in data for form in forms)
    ]
    if plant.marker.encode() not in everything:
        entrance.unrecorded.append(plant.shape)


def _show(entrances: Iterable[Entrance]) -> None:
    """One line an entrance; what was found stands below it."""
    rows = list(entrances)
    width = max(len(row.name) for row in rows)
    for durability in DURABILITIES:
        render.heading(f"durability {durability}")
        for row in rows:
            if row.durability != durability:
                continue
            state = render.paint(row.state.ljust(13), **STYLES[row.state])
            render.emit(f"  {state}  {row.name.ljust(width)}  {row.planted:>3} planted")
            for shape in dict.fromkeys(leak.shape for leak in row.leaks):
                files = [render.clean(leak.file) for leak in row.leaks if leak.shape == shape]
                more = f" and {render.plural(len(files) - 1, 'other file')}" if len(files) > 1 else ""
                render.emit(f"{'':17}{shape} in {files[0]}{more}")
            if row.unrecorded:
                render.emit(f"{'':17}found in no file, so not checked: {', '.join(row.unrecorded)}")
