"""Files that are to be erased: artifacts and their blobs, replays, whole runs, and values in descriptions.

`erase` calls these for each session, behind the lines that tell of artifacts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.erase.target import AGENT, MATCH, ErasedArtifact, Target
from Agent.errors import DamagedInput
from Agent.tree.files.lines import open_file
from Agent.tree.files.session import replace_file
from Agent.tree.layout import claims_dir, cursors_dir, entries_in, recovered_file, runs_dir, session_file
from Agent.tree.retention.retention import delete_tree
from Agent.tree.write.artifacts import artifacts_dir, blobs_dir

__all__ = [
    "ERASED_TEXT",
    "chunks_of",
    "find_artifacts",
    "find_replays",
    "remove_artifacts",
    "remove_leftovers",
    "remove_runs",
    "scrub",
    "sweep_blobs",
]

ERASED_TEXT: Final = "[erased]"
"""Stands in the place of a value in a description."""
_CHUNK_BYTES: Final = 1024 * 1024


def chunks_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file in chunks; OSError if it cannot be read."""
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def files_below(directory: Path) -> list[Path]:
    """Every plain file below a directory, links not followed."""
    found = []
    for place, _, names in os.walk(directory):
        found += [Path(place, name) for name in names]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def find_artifacts(
    session: Path, target: Target, holds: Callable[[Path], bool], told: Iterable[tuple[str, str]]
) -> frozenset[ErasedArtifact]:
    """The artifacts that go: those that hold the value, and those of which lines tell that go.

    Args:
        session: the session's directory.
        target: what is erased.
        holds: whether a file holds the value.
        told: (directory of the run, path) of what `artifact.saved` events tell of that go.
    """
    session_id = session.name.removeprefix("session_")
    found = {ErasedArtifact(session_id, run_dir, path) for run_dir, path in told}
    if target.kind == MATCH:
        for run in _directories(runs_dir(session)):
            base = artifacts_dir(session, run.name)
            for path in files_below(base):
                name = path.relative_to(base).as_posix()
                if target.is_named_by(name) or holds(path):
                    found.add(ErasedArtifact(session_id, run.name, name))
    return frozenset(found)


def remove_artifacts(session: Path, artifacts: Iterable[ErasedArtifact]) -> None:
    """Remove artifacts of a session; OSError where one cannot be removed."""
    session_id = session.name.removeprefix("session_")
    for artifact in artifacts:
        if artifact.session_id != session_id:
            continue
        base = artifacts_dir(session, artifact.run_dir)
        path = base.joinpath(*artifact.path.split("/"))
        # The path comes out of the recording: nothing outside of the run's own directory is touched.
        if ".." in path.parts or not path.resolve().is_relative_to(base.resolve()):
            continue
        if path.is_file() and not path.is_symlink():
            path.unlink()
        _remove_empty(path.parent, base)


def _remove_empty(directory: Path, base: Path) -> None:
    """Remove the directories of an artifact's name that hold nothing any more."""
    while directory != base and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent


def sweep_blobs(session: Path) -> None:
    """Remove the contents that have no name any more, and what savers that were killed left half written."""
    for path in files_below(blobs_dir(session)):
        if path.name.endswith(".new") or path.lstat().st_nlink == 1:
            path.unlink()


def find_replays(session: Path, target: Target, holds: Callable[[Path], bool]) -> list[Path]:
    """The directories of replays in which something of the target stands; they can be made again."""
    found = []
    for run in _directories(runs_dir(session)):
        for replay in _directories(run / "replays"):
            files = files_below(replay)
            if target.kind != MATCH:
                quoted = [orjson.dumps(name) for name in (target.value, *target.runs)]
                hit = any(any(name in path.read_bytes() for name in quoted) for path in files)
            else:
                hit = any(holds(path) for path in files) or target.is_named_by(replay.name)
            if hit:
                found.append(replay)
    return found


def remove_runs(session: Path, target: Target) -> None:
    """Remove the directories of the runs that go, and the links to them.

    Of a value: those whose names hold it, once nothing but their name is left.
    """
    for run in _directories(runs_dir(session)):
        named = target.kind == MATCH and target.is_named_by(run.name)
        if run.name in target.run_dirs or named:
            delete_tree(run)
    for link in entries_in(session.parent / "runs"):
        if link.is_symlink() and link.readlink().parts[-3:-2] == (session.name,) and not link.exists():
            link.unlink()


def remove_leftovers(session: Path) -> None:
    """Remove what was half written, or kept beside what replaced it, by processes that are no more."""
    for path in files_below(session):
        name = path.name
        if (name.startswith(".") and name.endswith(".new")) or name.startswith("index.sqlite.damaged"):
            path.unlink(missing_ok=True)
    for pattern in ("archive/.*.erasing", ".state/spill-*", "runs/*/checkpoints.*.removed"):
        for path in session.glob(pattern):
            delete_tree(path)


def scrub(session: Path, target: Target) -> bool:
    """Take the target out of the descriptions of a session; whether any file was changed.

    Raises:
        DamagedInput: one of them is no JSON.
        OSError: one of them cannot be replaced.
    """
    paths = [session_file(session), recovered_file(session)]
    for directory in (claims_dir(session), cursors_dir(session)):
        paths += sorted(directory.glob("*.json"))
    changed = [_scrub_file(path, target) for path in paths if path.exists()]
    return any(changed)


def _scrub_file(path: Path, target: Target) -> bool:
    try:
        stored = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DamagedInput(
            f"it cannot be read, so nothing can be erased from it: {error}",
            path=path,
            remedy="repair or remove it, and erase again",
        ) from None
    clean = _without_value(stored, target) if target.kind == MATCH else _without_names(stored, target)
    if clean == stored:
        return False
    replace_file(path, orjson.dumps(clean, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return True


def _without_value(value: Any, target: Target) -> Any:
    if isinstance(value, dict):
        return {_without_value(key, target): _without_value(item, target) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_value(item, target) for item in value]
    if isinstance(value, str):
        plain = value.replace(target.value, ERASED_TEXT)
        return plain if target.forms.find_in_text(plain) is None else ERASED_TEXT
    if value is not None and not isinstance(value, bool) and target.is_named_by(orjson.dumps(value).decode()):
        return 0
    return value


def _without_names(stored: Any, target: Target) -> Any:
    """A description without the replay target of an agent, and without what of it was open in a crash."""
    if not isinstance(stored, dict):
        return stored
    clean = dict(stored)
    if target.kind == AGENT and isinstance(clean.get("targets"), dict):
        clean["targets"] = {key: item for key, item in clean["targets"].items() if key != target.value}
    if isinstance(clean.get("writers"), dict):
        clean["writers"] = {
            writer: _without_spans(account, target) for writer, account in clean["writers"].items()
        }
    return clean


def _without_spans(account: Any, target: Target) -> Any:
    if not isinstance(account, dict) or "open_spans" not in account:
        return account
    kept = [
        span
        for span in account["open_spans"]
        if not (target.kind == AGENT and span.get("agent_id") == target.value)
        and not target.is_named_by(str(span.get("name")))
    ]
    return {**account, "open_spans": kept}


def _directories(parent: Path) -> list[Path]:
    return [path for path in entries_in(parent) if path.is_dir() and not path.is_symlink()]
