"""Encrypts a session as one file, and opens such sessions for reading.

`sealed.aes` is a line of JSON, followed by the session's files as a tar archive, compressed with zstd and
encrypted in chunks of 1 MiB with AES-256-GCM. The key of a file is derived from the user's key by HKDF with a
random salt; the nonce of a chunk is its number and whether it is the last; each chunk authenticates the first
line. So chunks cannot be changed, reordered, cut off, or moved to another session's file.

Parquet's own encryption is not used: without a download, DuckDB writes it only in a form that it calls
insecure; DuckDB cannot read what pyarrow writes; and artifacts and checkpoints are not Parquet.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import contextlib
import hashlib
import io
import os
import shutil
import signal
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson

from Agent.archive.recover import rebuild_mirrors, refuse_if_in_use, refuse_unrecovered
from Agent.archive.sealed.parts import damaged
from Agent.archive.sealed.sealing import seal
from Agent.errors import DamagedInput, MissingExtra, SessionEncrypted, UsageError
from Agent.event.clock import format_timestamp
from Agent.flight.checkpoints.files import make_directory
from Agent.tree.files.descriptors import locked
from Agent.tree.files.session import naming, open_session, sync_directory
from Agent.tree.layout import (
    FILE_MODE,
    MIRROR_FILES,
    NEW_FILE,
    OPENED_FROM,
    OPENED_ROOT,
    encrypted_file,
    entries_in,
    files_below,
    inode_at,
    is_encrypted,
    list_sessions,
    make_private,
    open_file,
    open_private,
    run_dirs,
    session_file,
    session_id_of,
    view_dir,
)
from Agent.tree.links import refuse_links
from Agent.tree.retention import delete_tree, drop_dead_links
from Agent.tree.write.artifacts import digest_of, new_hash

FORMAT: Final = "agent-trace encrypted session"
FILE_VERSION: Final = 1
KEY_BYTES: Final = 32
CHUNK_BYTES: Final = 1 << 20
_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 16
_MAX_HEADER_BYTES: Final = 4096
_COPY_BYTES: Final = 1 << 20
_ZSTD_LEVEL: Final = 3
_MEMORY_DISK: Final = Path("/dev/shm")  # noqa: S108 - directories in it are private and locked


@dataclass(frozen=True, slots=True)
class _Header:
    """The first line of the file, which is not encrypted."""

    session_id: str
    session_uid: str
    key_id: str
    """Distinguishes a wrong key from a damaged file; derived from the key without revealing it."""
    salt: str
    sealed_at: str
    format: str = FORMAT
    version: int = FILE_VERSION

    def line(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class EncryptedSession:
    """The result of `encrypt`."""

    session: Path
    files: int
    size_bytes: int
    """The size of the encrypted file."""
    removed: int
    """How many readable files were removed."""
    already: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"session": str(self.session)}


def key_of(data: bytes, where: str) -> bytes:
    """Read a key: 32 bytes, or these as hexadecimal or base64.

    Raises:
        UsageError: it is not a key; `where` names its source in the message.
    """
    if len(data) == KEY_BYTES:
        return data
    text = data.strip()
    for decode in (bytes.fromhex, base64.b64decode):
        with contextlib.suppress(ValueError, binascii.Error, UnicodeDecodeError):
            key = decode(text.decode("ascii"))
            if len(key) == KEY_BYTES:
                return key
    raise UsageError(
        f"{where} does not contain a key",
        remedy="a key is 32 random bytes; `openssl rand -hex 32` prints one",
    )


def _ciphers() -> Any:
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise MissingExtra(
            "an encrypted session needs cryptography", remedy="pip install 'agent-trace[encryption]'"
        ) from error
    return AESGCM, HKDF, hashes.SHA256


def _derived(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    _, hkdf, sha256 = _ciphers()
    derived: bytes = hkdf(algorithm=sha256(), length=KEY_BYTES, salt=salt, info=purpose).derive(key)
    return derived


def _key_id(key: bytes) -> str:
    return _derived(key, b"", b"agent-trace key id")[:8].hex()


def _cipher(key: bytes, header: _Header) -> Any:
    aes, _, _ = _ciphers()
    return aes(_derived(key, bytes.fromhex(header.salt), b"agent-trace session"))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


class _Encrypting(io.RawIOBase):
    """Writes chunks; `finish` writes the last one, without which the file is refused."""

    def __init__(self, file: IO[bytes], key: bytes, header: _Header) -> None:
        self._file = file
        self._line = header.line()
        self._cipher = _cipher(key, header)
        self._number = 0
        self._waiting = bytearray()
        file.write(self._line)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        # the last chunk is known only at the end, so one chunk is always held back
        while len(self._waiting) > CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        self._put(bytes(self._waiting), is_last=True)

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._number, is_last=is_last)
        self._file.write(self._cipher.encrypt(nonce, chunk, self._line))
        self._number += 1


class _Decrypting(io.RawIOBase):
    """Reads chunks and authenticates each one."""

    def __init__(self, file: IO[bytes], key: bytes, header: _Header, path: Path) -> None:
        self._file = file
        self._line = header.line()
        self._cipher = _cipher(key, header)
        self._path = path
        self._number = 0
        self._next = file.read(CHUNK_BYTES + _TAG_BYTES)
        self._plain = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain and not self._ended:
            self._plain = self._chunk()
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _chunk(self) -> bytes:
        from cryptography.exceptions import InvalidTag

        current, self._next = self._next, self._file.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = not self._next
        try:
            plain: bytes = self._cipher.decrypt(
                _nonce(self._number, is_last=self._ended), current, self._line
            )
        except (InvalidTag, ValueError):
            problem = (
                f"chunk {self._number + 1} of the encrypted session was changed, or the rest was cut off"
            )
            raise damaged(problem, self._path) from None
        self._number += 1
        return plain


def encrypt(
    session: Path,
    key: bytes,
    *,
    remove: bool = False,
    as_text: Callable[[bytes], str] | None = None,
) -> EncryptedSession:
    """Seal a session, and encrypt all of it as `sealed.aes` in its directory.

    The written file is read back and compared with the session before anything is removed. After a kill, the
    session is readable, or encrypted with leftovers that the next call removes.

    Args:
        session: its directory.
        key: 32 bytes.
        remove: remove everything else: all files of the session, its lines in the mirrors of the trace root,
            and links to its runs. Until then the readable files count.
        as_text: formats a line for the text mirrors, which are rewritten without the session; if None they
            are removed.

    Raises:
        SessionInUse: a process records the session or, with `remove`, under this root.
        UsageError: its program was killed, and it was not recovered.
        DamagedInput: the written file does not read back identically; nothing was removed.
        MissingExtra: cryptography is not installed.
    """
    _ciphers()
    refuse_links(session)
    vault = encrypted_file(session)
    if remove:
        for ref in list_sessions(session.parent):  # a recording process writes to the mirrors
            refuse_if_in_use(ref.path, "encrypt when no process records under this root")
    if is_encrypted(session):
        for member in _members(vault, key, session_id_of(session)):
            _digest_of(member)
        removed = _remove_readable(session, as_text) if remove else 0
        return EncryptedSession(session, 0, vault.stat().st_size, removed, already=True)
    refuse_if_in_use(session, "encrypt it after the process has ended", run_dirs(session))
    refuse_unrecovered(session)
    with locked(session) as is_alone:
        if not is_alone:
            raise UsageError("another process encrypts this session", path=session, remedy="wait for it")
        seal(session, remove)
        vault.unlink(missing_ok=True)  # of an earlier state; the readable files are authoritative
        aside = vault.with_name(f".{vault.name}.new")
        aside.unlink(missing_ok=True)
        try:
            digests = _write(session, aside, key)
            _compare(session, aside, key, digests)
            aside.rename(vault)
        finally:
            aside.unlink(missing_ok=True)
        sync_directory(session)
        removed = _remove_readable(session, as_text) if remove else 0
    return EncryptedSession(session, len(digests), vault.stat().st_size, removed)


def _is_excluded(session: Path, path: Path) -> bool:
    """Return whether a file of a session is a cache, or the encrypted file itself."""
    return path.name.lstrip(".").startswith(encrypted_file(session).name) or path.is_relative_to(
        view_dir(session)
    )


def _write(session: Path, target: Path, key: bytes) -> dict[str, str]:
    """Write the encrypted file; returns the digest of each file in it, by its name in the session."""
    import zstandard

    info = open_session(session)
    header = _Header(
        session_id=session_id_of(session),
        session_uid=info.session_uid,
        key_id=_key_id(key),
        salt=os.urandom(_SALT_BYTES).hex(),
        sealed_at=format_timestamp(time.time_ns() // 1000),
    )
    digests = {}
    fd = open_private(target, NEW_FILE)
    with naming(target), os.fdopen(fd, "wb") as file:
        encrypting = _Encrypting(file, key, header)
        buffered = io.BufferedWriter(encrypting, _COPY_BYTES)
        packed = zstandard.ZstdCompressor(_ZSTD_LEVEL).stream_writer(buffered, closefd=False)
        with packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            names: dict[tuple[int, int], str] = {}
            for path in files_below(session):
                if not _is_excluded(session, path):
                    name = path.relative_to(session).as_posix()
                    first = names.setdefault(inode_at(path) or (0, 0), name)
                    if first == name:
                        digests[name] = _add(tar, path, name)
                    else:  # a further name of a shared content
                        tar.addfile(_member(name, type=tarfile.LNKTYPE, linkname=first))
                        digests[name] = digests[first]
        buffered.flush()
        encrypting.finish()
        file.flush()
        os.fsync(file.fileno())
    return digests


def _add(tar: tarfile.TarFile, path: Path, name: str) -> str:
    fd, status = open_file(path)
    # in nanoseconds, since a sealed file is recognised by it
    pax_headers = {_TIME: str(status.st_mtime_ns)}
    member = _member(name, size=status.st_size, pax_headers=pax_headers)
    with os.fdopen(fd, "rb") as file:
        tar.addfile(member, file)
        file.seek(0)
        return hashlib.file_digest(file, new_hash).hexdigest()


_TIME: Final = "AGENT_TRACE.mtime_ns"


def _member(name: str, **pax_headers: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in {"mode": FILE_MODE, **pax_headers}.items():
        setattr(member, key, value)
    return member


def _read_header(path: Path, key: bytes, session_id: str) -> tuple[_Header, int]:
    """Return the first line and its size in bytes; raises an error if the key does not match."""
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb") as file:
        line = file.readline(_MAX_HEADER_BYTES)
    try:
        stored = orjson.loads(line)
        header = _Header(**stored)
        is_ours = header.line() == line and len(bytes.fromhex(header.salt)) == _SALT_BYTES
    except (ValueError, TypeError, AttributeError):
        is_ours = False
    if not is_ours or header.format != FORMAT:
        raise damaged("it is not an encrypted session", path)
    if header.version != FILE_VERSION:
        raise DamagedInput(
            f"it is of version {header.version!r}, this program knows {FILE_VERSION}",
            path=path,
            remedy="read it with a newer agent-trace",
        )
    if header.session_id != session_id:
        raise DamagedInput(
            f"it is of session {header.session_id}",
            path=path,
            remedy=f"put it back into session_{header.session_id}",
        )
    if header.key_id != _key_id(key):
        raise SessionEncrypted(
            "it was encrypted with another key", path=path, remedy=f"give the key with the id {header.key_id}"
        )
    return header, len(line)


class _Member(NamedTuple):
    """A file in an encrypted session."""

    name: str
    content: IO[bytes] | None
    """None for a further name of the file `link`."""
    link: str = ""
    mtime_ns: int = 0


def _as_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> _Member:
    for name in (member.name, member.linkname):
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"it holds {name[:200]!r}")
    if member.islnk():
        return _Member(member.name, None, member.linkname)
    if not member.isreg():
        raise ValueError(f"{member.name[:200]!r} is not a plain file")
    return _Member(member.name, tar.extractfile(member), "", int(member.pax_headers[_TIME]))


def _members(path: Path, key: bytes, session_id: str) -> Iterator[_Member]:
    """Yield the files in an encrypted session; read each one before the next."""
    import zstandard

    header, skipped = _read_header(path, key, session_id)
    fd, _ = open_file(path)
    with os.fdopen(fd, "rb") as file:
        file.seek(skipped)
        plain = io.BufferedReader(_Decrypting(file, key, header, path), _COPY_BYTES)
        try:
            unpacked = zstandard.ZstdDecompressor().stream_reader(plain, closefd=False)
            with unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
                for member in tar:
                    yield _as_member(tar, member)
            while plain.read(_COPY_BYTES):  # reading the last chunk proves that nothing was cut off
                pass
        except (tarfile.TarError, zstandard.ZstdError, ValueError, KeyError) as error:
            raise damaged(f"the encrypted session cannot be read: {error}", path) from None


def _digest_of(member: _Member) -> str:
    content = member.content
    return digest_of(iter(partial(content.read, _COPY_BYTES), b"") if content is not None else ())


def _compare(session: Path, path: Path, key: bytes, digests: dict[str, str]) -> None:
    """Read an encrypted file back; DamagedInput if it differs from the session's files."""
    found_digests: dict[str, str | None] = {}
    for member in _members(path, key, session_id_of(session)):
        found_digests[member.name] = (
            found_digests.get(member.link) if member.content is None else _digest_of(member)
        )
    if found_digests != digests:
        raise DamagedInput(
            "the encrypted session does not read back identically",
            path=session,
            remedy="the readable files are unchanged; please report this",
        )


def _remove_readable(session: Path, as_text: Callable[[bytes], str] | None) -> int:
    """Remove the readable files of an encrypted session, its lines in mirrors, and links to its runs."""
    # first the description: without it, the directory counts as encrypted even after a kill
    described = _remove(session_file(session))
    sync_directory(session)
    others = [entry for entry in entries_in(session) if entry != encrypted_file(session)]
    removed = sum(map(_remove, others))
    sync_directory(session)
    _renew_mirrors(session.parent, as_text)
    drop_dead_links(session.parent)
    return described + removed


def _renew_mirrors(root: Path, as_text: Callable[[bytes], str] | None) -> None:
    """Rewrite the mirrors from the readable sessions, if mirrors exist."""
    mirrors = {
        name: entries_in((root / name).parent, beginning=(root / name).name) for name in MIRROR_FILES.values()
    }
    if not any(mirrors.values()):
        return
    rebuild_mirrors(root, as_text=as_text)
    if as_text is None:
        for category, name in MIRROR_FILES.items():
            for path in mirrors[name] if category.endswith(".text") else ():
                path.unlink(missing_ok=True)


def _unpack(session: Path, key: bytes, target: Path) -> int:
    """Write the files of an encrypted session below an empty directory; returns their number."""
    number = 0
    for member in _members(encrypted_file(session), key, session_id_of(session)):
        path = target / member.name
        make_directory(path.parent)
        number += 1
        if member.content is None:
            os.link(target / member.link, path)
            continue
        with naming(path), os.fdopen(open_private(path, NEW_FILE), "wb") as file:
            shutil.copyfileobj(member.content, file, _COPY_BYTES)
            file.flush()
            os.utime(file.fileno(), ns=(member.mtime_ns, member.mtime_ns))
    return number


def decrypt(session: Path, key: bytes) -> int:
    """Decrypt a session in its directory; returns the number of files.

    After a kill, it is still encrypted.

    Raises:
        UsageError: it is not encrypted, or another process encrypts or decrypts it.
        DamagedInput, SessionEncrypted: it cannot be read with this key; nothing is changed.
    """
    if not is_encrypted(session):
        raise UsageError("the session is not encrypted", path=session)
    with locked(session) as is_alone:
        if not is_alone:
            raise UsageError("another process encrypts this session", path=session, remedy="wait for it")
        staging = session / ".decrypting"
        _remove(staging)
        make_private(staging)
        try:
            number = _unpack(session, key, staging)
            # leftovers of a kill are in the encrypted file, too, which has been read by now
            for entry in entries_in(session):
                if entry not in {encrypted_file(session), staging}:
                    _remove(entry)
            # the description last: once it exists, the readable files are authoritative
            entries = sorted(entries_in(staging), key=lambda each: each.name == session_file(session).name)
            for entry in entries:
                sync_directory(staging)
                entry.rename(session / entry.name)
        finally:
            _remove(staging)
        encrypted_file(session).unlink()
        sync_directory(session)
    return number


def _remove(entry: Path) -> int:
    """Remove a file, a link or a directory if it exists; returns the number of files."""
    if entry.is_dir() and not entry.is_symlink():
        number = len(files_below(entry))
        delete_tree(entry)
        return number
    number = int(os.path.lexists(entry))
    entry.unlink(missing_ok=True)
    return number


_opened: dict[tuple[Path, int, int], Path] = {}
_held = ExitStack()


def open_encrypted(session: Path, key: bytes) -> Path:
    """Decrypt a session into a private directory in memory, which is removed when the process ends.

    The directory is below `/dev/shm` or, on systems without it, below the temporary directory. A second call
    returns the same directory. Files written into it do not reach the session.

    Raises:
        DamagedInput, SessionEncrypted: it cannot be read with this key.
        OSError: it does not fit.
    """
    vault = encrypted_file(session).resolve()
    status = vault.stat()
    cache_key = (vault, status.st_mtime_ns, status.st_size)
    directory = _opened.get(cache_key)
    if directory is not None and directory.is_dir():
        return directory
    _remove_leftovers()
    above = Path(tempfile.mkdtemp(prefix=OPENED_ROOT, dir=_memory_disk()))
    _remove_at_exit(above)
    _held.enter_context(locked(above, wait=True))
    directory = above / session.name
    make_private(directory)
    try:
        _unpack(session, key, directory)
        origin = open_private(above / OPENED_FROM, NEW_FILE)
        with os.fdopen(origin, "wb") as file:
            file.write(os.fsencode(session))
    except BaseException:
        shutil.rmtree(above, ignore_errors=True)
        raise
    _opened[cache_key] = directory
    return directory


def _memory_disk() -> Path:
    usable = _MEMORY_DISK.is_dir() and os.access(_MEMORY_DISK, os.W_OK)
    return _MEMORY_DISK if usable else Path(tempfile.gettempdir())


def _remove_at_exit(directory: Path) -> None:
    if not _removed_at_exit:
        atexit.register(_remove_opened)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)  # a signal would end the process without running `atexit`
    _removed_at_exit[directory] = os.getpid()


_removed_at_exit: dict[Path, int] = {}
"""{directory: the process that opened a session there}; a forked child does not remove its parent's."""


def _remove_opened() -> None:
    for directory, pid in list(_removed_at_exit.items()):
        if os.getpid() == pid:
            shutil.rmtree(directory, ignore_errors=True)


def _end(number: int, _frame: object) -> None:
    _remove_opened()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _remove_leftovers() -> None:
    """Remove the directories of killed processes; a live process holds a lock on its directory."""
    for path in entries_in(_memory_disk(), beginning=OPENED_ROOT):
        with contextlib.suppress(OSError), locked(path) as is_alone:
            if is_alone and not path.is_symlink() and path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
