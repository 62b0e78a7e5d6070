"""The artifacts of a session's runs: regular files with readable names; equal contents are stored once.

Users open the files in a run's `artifacts/`. A file of 4 KiB or more is a hard link to a file in the
session's `blobs/`, which holds each content once, named by its digest. `Agent.flight` saves artifacts with
this module; `read_artifact` reads them and checks the digest.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from Agent.errors import DamagedInput, InputError
from Agent.event.model import RedactedBytes
from Agent.tree.files.descriptors import write_all
from Agent.tree.files.session import give_name, open_session, sync_directory
from Agent.tree.layout import (
    NEW_FILE,
    NO_LINK,
    make_private,
    open_file,
    open_private,
    run_dir,
    runs_dir,
    safe_name,
)
from Agent.tree.links import refuse_ways_out

if TYPE_CHECKING:
    from hashlib import blake2b as Hash  # noqa: N812 - the class under the name of what it is

ARTIFACT_SCHEME: Final = "artifact://artifacts/"
"""Prefix of a reference; the path below the run's `artifacts/` follows."""

ROOT_RUN: Final = "root"
"""The directory of a session's root run."""

_SUFFIX = re.compile(r"\.[a-z0-9]{1,16}\Z")
_MAX_DEPTH: Final = 16
# Smaller contents take one disk block either way, so a link would cost more than it saves.
_MIN_SHARED_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1024 * 1024
_MAX_COUNTERS: Final = 65_536


class StoredArtifact(NamedTuple):
    """A stored artifact."""

    ref: str
    size_bytes: int
    digest: str
    """BLAKE2b of the stored bytes, 64 hex digits."""


def artifacts_dir(session: Path, run_id: str) -> Path:
    """Directory of a run's artifacts."""
    return run_dir(session, run_id) / "artifacts"


def blobs_dir(session: Path) -> Path:
    """Directory of the contents of a session's artifacts, by digest."""
    return session / "blobs"


def safe_path(name: str) -> str:
    """Return a path below `artifacts/` for an artifact; no name can lead outside.

    Safe parts of the name are kept; other parts become readable text and a hash, so that two names never
    share a file. A suffix like `.json` is kept.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if len(parts) > _MAX_DEPTH:
        parts[_MAX_DEPTH - 1 :] = ["/".join(parts[_MAX_DEPTH - 1 :])]
    if not parts:
        return safe_name(name)
    *directories, last = parts
    match = _SUFFIX.search(last)
    suffix = match[0] if match is not None and match.start() > 0 else ""
    stem = last.removesuffix(suffix)
    return "/".join([*map(safe_name, directories), safe_name(stem) + suffix])


def artifact_ref(path: str) -> str:
    """Return the reference to an artifact at a safe path."""
    return ARTIFACT_SCHEME + path


def artifact_path(session: Path, run_id: str, ref: str) -> Path:
    """Return the path of the file that a reference names.

    Raises:
        DamagedInput: it is not a reference, or would lead outside the run.
        InputError: a link on the way to the file leads outside.
    """
    path = PurePosixPath(ref.removeprefix(ARTIFACT_SCHEME))
    if not ref.startswith(ARTIFACT_SCHEME) or path.is_absolute() or {"..", ""} & {*path.parts} or "\0" in ref:
        raise DamagedInput(
            f"{ref[:200]!r} is not an artifact reference",
            path=run_dir(session, run_id),
            remedy=f"references begin with {ARTIFACT_SCHEME}",
        )
    directory = artifacts_dir(session, run_id)
    refuse_ways_out(directory, directory.joinpath(*path.parts))
    return directory.joinpath(*path.parts)


def make_run_dir(session: Path, run_id: str) -> Path:
    """Create the directory of a run, and a relative link to it in the root's `runs/`.

    The link to a root run is named after the session's `session_uid`, because every session has a root run.

    Raises:
        OSError: the directory cannot be created; failure to create the link is ignored.
    """
    directory = run_dir(session, run_id)
    for path in (runs_dir(session), directory):
        with contextlib.suppress(FileExistsError):
            make_private(path)
    links = session.parent / "runs"
    with contextlib.suppress(OSError, InputError):  # the link is for people only and can be recreated
        name = directory.name if run_id != ROOT_RUN else open_session(session).session_uid
        make_private(links, exist_ok=True)
        (links / name).symlink_to(Path("..", session.name, "runs", directory.name))
    return directory


def read_artifact(path: Path, digest: str | None = None) -> Iterator[bytes]:
    """Yield the bytes of an artifact in chunks; the last chunk only if the digest of all matches.

    Raises:
        DamagedInput: it is missing, or differs from what was saved.
    """
    hasher = new_hash()
    try:
        fd, _ = open_file(path)
    except OSError as error:
        raise DamagedInput(
            f"the artifact cannot be read: {error.strerror or error}", path=path, remedy="it was removed"
        ) from None
    block = b""
    try:
        while chunk := os.read(fd, _CHUNK_BYTES):
            hasher.update(chunk)
            if block:
                yield block
            block = chunk
    finally:
        os.close(fd)
    if digest is not None and hasher.hexdigest() != digest:
        raise DamagedInput(
            "the artifact was changed: its digest differs",
            path=path,
            remedy="restore it from a copy",
        )
    if block:
        yield block


def new_hash() -> Hash:
    """Return a new hash object for contents: BLAKE2b with 32 bytes."""
    # Imported here because it loads OpenSSL, which would slow down importing the package.
    from hashlib import blake2b

    return blake2b(digest_size=32)


def digest_of(chunks: Iterable[bytes]) -> str:
    """Return the digest of a content that is given in chunks."""
    hasher = new_hash()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


class ArtifactFiles:
    """Stores the artifacts of one session; safe to use from several threads and processes.

    Args:
        session: its directory.
        sync: whether to sync each artifact to the disk.
    """

    def __init__(self, session: Path, *, sync: bool = False) -> None:
        self.session = session
        self._sync = sync
        self._has_blobs = False
        self._bases: dict[tuple[str, str], str] = {}
        self._next_number: dict[str, int] = {}

    def save(
        self, run_id: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]
    ) -> StoredArtifact:
        """Store a content under a name in a run; if the name is taken it gets a number, never overwriting.

        Args:
            run_id: the run.
            path: path below the run's `artifacts/`, as returned by `safe_path`.
            content: the bytes, or their chunks, of which only one is in memory at a time.

        Raises:
            OSError: it cannot be stored; no file is left under the name.
            DamagedInput: the path leads outside the run.
        """
        if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise DamagedInput(f"{path[:200]!r} leads out of the run", path=run_dir(self.session, run_id))
        try:
            return self._save(run_id, path, content)
        except FileNotFoundError:
            if not isinstance(content, bytes):
                raise
            # The directory was removed: forget the cached directories and create them again.
            self._bases.clear()
            self._has_blobs = False
            return self._save(run_id, path, content)

    def _save(
        self, run_id: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]
    ) -> StoredArtifact:
        base = self._make_directory(run_id, path.rpartition("/")[0])
        if isinstance(content, bytes) and len(content) < _MIN_SHARED_BYTES:
            digest, size_bytes = digest_of([content]), len(content)
            final = self._claim(base, path, lambda free: self._write_new(free, [content]))
        else:
            final, digest, size_bytes = self._save_shared(base, path, content)
        return StoredArtifact(artifact_ref(final), size_bytes, digest)

    def _save_shared(
        self, base: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]
    ) -> tuple[str, str, int]:
        """Store a content, shared with equal ones; returns its final path, digest and size."""
        new = self._new_file()
        hasher, size_bytes = new_hash(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size_bytes
            for chunk in (content,) if isinstance(content, bytes) else content:
                hasher.update(chunk)
                size_bytes += len(chunk)
                yield chunk

        try:
            self._write_new(str(new), counted())
            digest = hasher.hexdigest()
            source = self._blob_of(digest, new) if size_bytes >= _MIN_SHARED_BYTES else new
            final = self._claim(base, path, lambda free: give_name(source, new, Path(free)))
        finally:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
        return final, digest, size_bytes

    def _blob_of(self, digest: str, new: Path) -> Path:
        """Return the shared file of this content: the existing blob if it is intact, else a new one."""
        blob = blobs_dir(self.session) / digest[:2] / digest
        try:
            os.link(new, blob, follow_symlinks=False)
        except FileNotFoundError:
            make_private(blob.parent, exist_ok=True)
            with contextlib.suppress(OSError):  # without a blob, the content is just not shared
                os.link(new, blob, follow_symlinks=False)
        except FileExistsError:
            # The blob may have been changed through one of its other names.
            if not _same_content(blob, new):
                return new
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
        return blob if blob.exists() else new

    def _claim(self, base: str, path: str, put: Callable[[str], None]) -> str:
        """Store a content under the first free name: `name.json`, `name-2.json`, ...; returns the name."""
        path_in_run = f"{base}/{path}"
        number = self._next_number.get(path_in_run, 1)
        while True:
            free = path if number == 1 else _numbered(path, number)
            try:
                put(f"{base}/{free}")
            except FileExistsError:
                number += 1
                continue
            if len(self._next_number) >= _MAX_COUNTERS:
                self._next_number.clear()
            self._next_number[path_in_run] = number + 1
            if self._sync:
                sync_directory(Path(base, free).parent)
            return free

    def _write_new(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a new file; it is removed if writing fails."""
        fd = open_private(path, NEW_FILE)
        try:
            try:
                for chunk in chunks:
                    write_all(fd, chunk)
                if self._sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - the paths of the hot way are text
            raise

    def _new_file(self) -> Path:
        directory = blobs_dir(self.session)
        if not self._has_blobs:
            make_private(directory, exist_ok=True)
            self._has_blobs = True
        return directory / f".{os.getpid()}-{os.urandom(6).hex()}.new"

    def _make_directory(self, run_id: str, directory: str) -> str:
        """Create a directory below a run's artifacts if needed; returns the run's artifacts directory."""
        existing = self._bases.get((run_id, directory))
        if existing is not None:
            return existing
        base = directory_path = make_run_dir(self.session, run_id) / "artifacts"
        for part in ("", *directory.split("/")):
            directory_path /= part
            with contextlib.suppress(FileExistsError):
                make_private(directory_path)
        if len(self._bases) >= _MAX_COUNTERS:
            self._bases.clear()
        self._bases[run_id, directory] = str(base)
        return str(base)


def _numbered(path: str, number: int) -> str:
    match = _SUFFIX.search(path)
    suffix = match[0] if match is not None else ""
    return f"{path.removesuffix(suffix)}-{number}{suffix}"


def _same_content(one: Path, other: Path) -> bool:
    try:
        first, status = open_file(one)
    except OSError:
        return False
    second, other_status = open_file(other)
    try:
        if status.st_size != other_status.st_size:
            return False
        while chunk := os.read(first, _CHUNK_BYTES):
            if chunk != os.read(second, len(chunk)):
                return False
    finally:
        os.close(first)
        os.close(second)
    return True
