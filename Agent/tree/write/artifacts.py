"""The artifacts of a session's runs: readable names that are plain files, equal contents stored once.

A run's `artifacts/` holds what people open. Behind each file of some size stands its content by digest in the
session's `blobs/`, under which an equal artifact of any run is a second name of the same bytes (a hard link).
`Agent.flight` saves through it; whoever reads goes through `read_artifact`, which checks the digest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from Agent.errors import DamagedInput, InputError
from Agent.event.model import RedactedBytes
from Agent.tree.files.descriptors import write_all
from Agent.tree.files.session import open_session, sync_directory
from Agent.tree.layout import (
    DIRECTORY_MODE,
    FILE_MODE,
    NEW_FILE,
    NO_LINK,
    open_file,
    run_dir,
    runs_dir,
    safe_name,
)

if TYPE_CHECKING:
    from hashlib import blake2b as Hash  # noqa: N812 - the class under the name of what it is

ARTIFACT_SCHEME: Final = "artifact://artifacts/"
"""How a reference begins; the path below the run's `artifacts/` follows."""

ROOT_RUN: Final = "root"
"""The directory of what was recorded outside of all runs of a session."""

_SUFFIX = re.compile(r"\.[a-z0-9]{1,16}\Z")
_MAX_DEPTH: Final = 16
# A smaller content takes one block of the disk in either way, and the link costs more than the block.
_MIN_SHARED_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1024 * 1024
_MAX_COUNTERS: Final = 65_536
# What a file system answers that knows no hard links, or no more of them.


class Stored(NamedTuple):
    """An artifact that is on the disk."""

    ref: str
    size_bytes: int
    digest: str
    """BLAKE2b of the stored bytes, 64 hex digits."""


def artifacts_dir(session: Path, run_id: str) -> Path:
    """Where the artifacts of a run lie."""
    return run_dir(session, run_id) / "artifacts"


def blobs_dir(session: Path) -> Path:
    """Where the contents of a session's artifacts lie by digest."""
    return session / "blobs"


def safe_path(name: str) -> str:
    """The path of an artifact below `artifacts/`, which leads nowhere else whatever the name is.

    Each part of a harmless name stays as it is; any other becomes readable text and a hash, so that two names
    never share a file. A suffix like `.json` is kept.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if len(parts) > _MAX_DEPTH:
        parts[_MAX_DEPTH - 1 :] = ["/".join(parts[_MAX_DEPTH - 1 :])]
    if not parts:
        return safe_name(name)
    *directories, last = parts
    found = _SUFFIX.search(last)
    suffix = found[0] if found is not None and found.start() > 0 else ""
    stem = last.removesuffix(suffix)
    return "/".join([*map(safe_name, directories), safe_name(stem) + suffix])


def artifact_ref(path: str) -> str:
    """The reference to an artifact at a safe path."""
    return ARTIFACT_SCHEME + path


def artifact_path(session: Path, run_id: str, ref: str) -> Path:
    """The file that a reference names.

    Raises:
        DamagedInput: it is no reference, or would lead out of the run.
    """
    path = PurePosixPath(ref.removeprefix(ARTIFACT_SCHEME))
    if not ref.startswith(ARTIFACT_SCHEME) or path.is_absolute() or {"..", ""} & {*path.parts} or "\0" in ref:
        raise DamagedInput(
            f"{ref[:200]!r} is not an artifact reference",
            path=run_dir(session, run_id),
            remedy=f"references begin with {ARTIFACT_SCHEME}",
        )
    return artifacts_dir(session, run_id).joinpath(*path.parts)


def make_run_dir(session: Path, run_id: str) -> Path:
    """Make the directory of a run, and the relative link to it in the root's `runs/`.

    That of a root run is called by the session's `session_uid`, since each session has one.

    Raises:
        OSError: it cannot be made; a link that cannot is no reason to do without the run.
    """
    directory = run_dir(session, run_id)
    for path in (runs_dir(session), directory):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=DIRECTORY_MODE)
    links = session.parent / "runs"
    with contextlib.suppress(OSError, InputError):  # a way for people, which can be made again
        name = directory.name if run_id != ROOT_RUN else open_session(session).session_uid
        links.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        (links / name).symlink_to(Path("..", session.name, "runs", directory.name))
    return directory


def read_artifact(path: Path, digest: str | None = None) -> Iterator[bytes]:
    """The bytes of an artifact in chunks; the last one comes only if all have the digest given.

    Raises:
        DamagedInput: it is not there, or is not what was saved.
    """
    hasher = new_hash()
    try:
        fd, _ = open_file(path)
    except OSError as error:
        raise DamagedInput(
            f"the artifact cannot be read: {error.strerror or error}", path=path, remedy="it was removed"
        ) from None
    held = b""
    try:
        while chunk := os.read(fd, _CHUNK_BYTES):
            hasher.update(chunk)
            if held:
                yield held
            held = chunk
    finally:
        os.close(fd)
    if digest is not None and hasher.hexdigest() != digest:
        raise DamagedInput(
            "the artifact was changed: its digest differs",
            path=path,
            remedy="restore it from a copy",
        )
    if held:
        yield held


def new_hash() -> Hash:
    """The hash by which contents are distinguished."""
    # Not at the top: it loads OpenSSL, which importing the package should not cost.
    from hashlib import blake2b

    return blake2b(digest_size=32)


class ArtifactFiles:
    """Stores the artifacts of one session; threads and processes may do so at the same time.

    Args:
        session: its directory.
        sync: whether an artifact is on the disk itself when it is saved.
    """

    def __init__(self, session: Path, *, sync: bool = False) -> None:
        self.session = session
        self._sync = sync
        self._has_blobs = False
        self._bases: dict[tuple[str, str], str] = {}
        self._next_number: dict[str, int] = {}

    def save(self, run_id: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]) -> Stored:
        """Store a content under a name of a run; a name that is taken gets a number, nothing is overwritten.

        Args:
            run_id: whose it is.
            path: below the run's `artifacts/`, as `safe_path` makes it.
            content: all of it, or its chunks, which are never in memory together.

        Raises:
            OSError: it cannot be stored; nothing stands under the name then.
            DamagedInput: the path leads out of the run.
        """
        if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise DamagedInput(f"{path[:200]!r} leads out of the run", path=run_dir(self.session, run_id))
        try:
            return self._save(run_id, path, content)
        except FileNotFoundError:
            if not isinstance(content, bytes):
                raise
            # The directory was removed under us; what is saved from here on is worth having.
            self._bases.clear()
            self._has_blobs = False
            return self._save(run_id, path, content)

    def _save(self, run_id: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]) -> Stored:
        base = self._make_directory(run_id, path.rpartition("/")[0])
        if isinstance(content, bytes) and len(content) < _MIN_SHARED_BYTES:
            hasher = new_hash()
            hasher.update(content)
            digest, size_bytes = hasher.hexdigest(), len(content)
            final = self._claim(base, path, lambda free: self._write_new(free, [content]))
        else:
            final, digest, size_bytes = self._save_shared(base, path, content)
        return Stored(artifact_ref(final), size_bytes, digest)

    def _save_shared(
        self, base: str, path: str, content: RedactedBytes | Iterable[RedactedBytes]
    ) -> tuple[str, str, int]:
        """Store a content once for all that are equal; the path that it got, its digest and size."""
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
        """The file that holds this content for all: the one that is there, where it is whole."""
        blob = blobs_dir(self.session) / digest[:2] / digest
        try:
            os.link(new, blob, follow_symlinks=False)
        except FileNotFoundError:
            blob.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            with contextlib.suppress(OSError):  # then the content stands under its own name alone
                os.link(new, blob, follow_symlinks=False)
        except FileExistsError:
            # Somebody may have written into a file of that content through one of its names.
            if not _same_content(blob, new):
                return new
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
        return blob if blob.exists() else new

    def _claim(self, base: str, path: str, put: Callable[[str], None]) -> str:
        """Put a content under the first free name, exclusively: `name.json`, `name-2.json`, ..."""
        wanted = f"{base}/{path}"
        number = self._next_number.get(wanted, 1)
        while True:
            free = path if number == 1 else _numbered(path, number)
            try:
                put(f"{base}/{free}")
            except FileExistsError:
                number += 1
                continue
            if len(self._next_number) >= _MAX_COUNTERS:
                self._next_number.clear()
            self._next_number[wanted] = number + 1
            if self._sync:
                sync_directory(Path(base, free).parent)
            return free

    def _write_new(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file that did not exist; nothing is left of it if that fails."""
        fd = os.open(path, NEW_FILE, FILE_MODE)
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
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            self._has_blobs = True
        return directory / f".{os.getpid()}-{os.urandom(6).hex()}.new"

    def _make_directory(self, run_id: str, directory: str) -> str:
        """Make a directory below a run's artifacts, where it was not made before; where the artifacts lie."""
        known = self._bases.get((run_id, directory))
        if known is not None:
            return known
        base = made = make_run_dir(self.session, run_id) / "artifacts"
        for part in ("", *directory.split("/")):
            made /= part
            with contextlib.suppress(FileExistsError):
                made.mkdir(mode=DIRECTORY_MODE)
        if len(self._bases) >= _MAX_COUNTERS:
            self._bases.clear()
        self._bases[run_id, directory] = str(base)
        return str(base)


def _numbered(path: str, number: int) -> str:
    found = _SUFFIX.search(path)
    suffix = found[0] if found is not None else ""
    return f"{path.removesuffix(suffix)}-{number}{suffix}"


def give_name(source: Path, new: Path, name: Path) -> None:
    """Let a content be found under a name that is free; FileExistsError if it is not.

    Args:
        source: a file that holds it, which gets another name if the file system knows several.
        new: another one, or the same, which gets this name otherwise.
        name: the name.
    """
    try:
        os.link(source, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # The blob has all the names that it can have, or there are no links here: the new file is the name's.
        if name.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken", str(name)) from None
        new.rename(name)


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
