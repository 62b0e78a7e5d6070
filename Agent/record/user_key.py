"""The secret key of a user, made at first use: for redaction tokens, and for signatures of targets."""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from Agent.record.health import note, say
from Agent.tree.files.session import SessionInfo
from Agent.tree.layout import make_private, open_private, read_file


def config_home(environment: Mapping[str, str]) -> str | None:
    """The directory of the user's configuration files by XDG; None if there is no home directory."""
    home = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):  # noqa: PTH117 - XDG says to ignore a relative path
        home = os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    return home if os.path.isabs(home) else None  # noqa: PTH117


def redaction_key(
    environment: Mapping[str, str] | None = None, lacking: Callable[[str], None] = note
) -> bytes:
    """The secret key for redaction tokens, kept in the user's configuration directory.

    It is created at first use. If it cannot be stored, a key for this process is used, so tokens of one
    secret match only within the process; `lacking` is called with that message. If an existing key is
    unusable, a message on stderr says so.
    """
    environment = os.environ if environment is None else environment
    home = config_home(environment)
    key = os.urandom(32)
    if home is None:
        lacking("the home directory for the redaction key is missing; tokens match within this process only")
        return key
    path = Path(home) / "agent-trace" / "redaction.key"
    try:
        return _read_key(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # created below
    except OSError as error:
        reason = error.strerror or error
        lacking(f"the redaction key could not be read ({reason}); tokens match within this process only")
        say(f"the redaction key {path} cannot be used ({reason}); this process uses a temporary one")
        return key
    try:
        return _store_key(key, path)
    except OSError as error:
        reason = error.strerror or error
        lacking(f"the redaction key could not be saved ({reason}); tokens match within this process only")
        return key


def sign_targets(session_uid: str, targets: Mapping[str, str]) -> dict[str, str]:
    """Sign the targets of a session, by agent id, with the user's key.

    Code that a session names runs in a replay without being given, so a trace of somebody else must not name
    any.
    """
    # A key of its own: redaction makes digests of any text of a program with the other one.
    key = hmac.digest(redaction_key(lacking=lambda _why: None), b"signatures of targets", "sha256")
    return {
        agent_id: hmac.digest(key, f"{session_uid}\0{agent_id}\0{name}".encode(), "sha256").hex()
        for agent_id, name in targets.items()
    }


def signed_targets(info: SessionInfo) -> dict[str, str]:
    """The targets of a session that the user signed, by agent id."""
    if not info.targets:
        return {}
    signatures = sign_targets(info.session_uid, info.targets)
    return {
        agent_id: name
        for agent_id, name in info.targets.items()
        if hmac.compare_digest(
            signatures[agent_id].encode(), str(info.target_signatures.get(agent_id, "")).encode()
        )
    }


def _store_key(key: bytes, path: Path) -> bytes:
    """Store a new key; if another process was faster, return its key."""
    make_private(path.parent, parents=True, exist_ok=True)
    # Written aside and then linked, so that two processes that start together agree on one key.
    aside = path.with_name(f"redaction.key.{os.getpid()}")
    fd = open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        with open(fd, "wb") as file:
            file.write(key)
        with contextlib.suppress(FileExistsError):  # the other process's key is read now
            os.link(aside, path)
    finally:
        aside.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = read_file(Path(os.path.realpath(path)))
    if len(key) < 16:
        raise OSError("it does not contain a key")
    return key
