"""Encrypted sessions: nothing of them is readable without the key, everything with it, and edits are refused."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import erase_kit as kit
import pytest
from support.pipes import closed_pipe_later
from support.session_files import session_directories

from Agent import LogAnalyzer, setup_logging, shutdown_logging
from Agent.archive import encrypted
from Agent.archive.encrypted import CHUNK_BYTES, decrypt, encrypt, key_of
from Agent.archive.erase.erasing import target_of
from Agent.archive.erase.target import prove
from Agent.archive.prune import Policy, prune
from Agent.archive.sealed.reader import unseal
from Agent.archive.verify import verify
from Agent.cli.main import main
from Agent.config.keys import session_key
from Agent.demo.platform import Settings, record_session
from Agent.errors import (
    AgentTraceError,
    ConfigurationError,
    DamagedInput,
    InputError,
    SessionEncrypted,
    SessionInUse,
    UsageError,
)
from Agent.flight import find_run, list_runs, read_run
from Agent.tree.files.session import SessionInfo, create_session
from Agent.tree.layout import find_session, is_encrypted, readable_sessions, session_id_of, tree_files
from Agent.utils import AgentLogger

pytest.importorskip("cryptography", reason="cryptography is not installed; it is in the extra [encryption]")
KEY = bytes(range(32))
OPENED = "agent-trace-opened-*"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A trace root with two sessions that have runs, artifacts, shared contents and checkpoints."""
    root = tmp_path_factory.mktemp("original") / "trace"
    kit.record(root)
    return root


@pytest.fixture
def copy(original, tmp_path):
    names = {}

    def copied(source, target):
        """Also copies that two names are of one file, as those of shared artifacts are."""
        first = names.setdefault(os.stat(source).st_ino, target)  # noqa: PTH116
        return shutil.copy2(source, target) if first == target else os.link(first, target)

    shutil.copytree(original, tmp_path / "trace", symlinks=True, copy_function=copied)
    return tmp_path / "trace"


@pytest.fixture
def with_key(tmp_path, monkeypatch):
    """The key is in a file that the environment names, and the disk in memory is a directory of this test."""
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    file.chmod(0o600)
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(encrypted, "_MEMORY_DISK", memory)
    monkeypatch.setenv("AGENT_TRACE_ENCRYPTION_KEY_FILE", str(file))
    return memory


@pytest.fixture
def without_key(monkeypatch):
    monkeypatch.delenv("AGENT_TRACE_ENCRYPTION_KEY_FILE", raising=False)
    monkeypatch.delenv("AGENT_TRACE_ENCRYPTION_KEY", raising=False)


def everything(place):
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def encrypt_all(root, remove=True):
    return [encrypt(session, KEY, remove=remove) for session in session_directories(root)]


def test_nothing_of_it_is_readable_neither_content_nor_names(copy):
    sessions = session_directories(copy)
    words = {kit.VALUE, "writer", "reader"} | {each.run_id for each in list_runs(copy)}
    words |= {each.message for session in sessions for each in events_of(session) if len(each.message) > 10}
    words |= {path.name for session in sessions for path in session.rglob("*.txt")}
    held = b"\n".join(everything(copy).values()).decode("utf-8", "replace") + "\n".join(everything(copy))
    assert len(words) > 15 and len([word for word in words if word in held]) > 15 and kit.VALUE in held
    for done in encrypt_all(copy):
        assert done.removed >= done.files > 10
    left = everything(copy)
    assert {name for name in left if name.startswith("session_")} == {
        f"{session.name}/sealed.aes" for session in sessions
    }
    for name, data in left.items():
        if name != "README.md":
            for word in words:
                assert word.encode() not in data and word not in name, (name, word)
    assert KEY not in b"".join(left.values()) and KEY.hex().encode() not in b"".join(left.values())
    # compressed, in Parquet, in SQLite, in base64 and in links
    proof = prove(copy, target_of(match=kit.VALUE))
    assert proof.clean and proof.not_looked_into["encrypted session"] == len(sessions)
    assert not [path for path in copy.rglob("*") if path.is_symlink()]


def events_of(session):
    from Agent.archive.sealed.reader import open_reader

    return open_reader(session).events()


@pytest.mark.integration
def test_with_the_key_everything_reads_as_before(original, copy, with_key):
    encrypt_all(copy)
    assert [ref.session_id for ref in readable_sessions(copy)] == list(
        map(session_id_of, session_directories(copy))
    )
    assert kit.events(copy) == {}  # nothing of it is read without opening
    for ref, before in zip(readable_sessions(copy), session_directories(original), strict=True):
        assert [event.id for event in events_of(ref.path)] == [event.id for event in events_of(before)]
        one, other = verify(ref.path), verify(before)
        assert one.sound and (one.writers, one.artifacts, one.chain) == (
            other.writers,
            other.artifacts,
            other.chain,
        )
        with LogAnalyzer(ref.session_id, copy) as here, LogAnalyzer(before) as there:
            query = "SELECT id, event_type, agent_id, extra FROM events ORDER BY ts_us, writer, seq"
            assert list(here.sql(query)) == list(there.sql(query))
    for here, there in zip(list_runs(copy), list_runs(original), strict=True):
        assert here.run_id == there.run_id
        one, other = read_run(find_run(here.run_id, copy)), read_run(find_run(there.run_id, original))
        assert (one.steps, one.model_calls) == (other.steps, other.model_calls)
        for artifact in one.artifacts:
            assert b"".join(one.read(artifact.ref)) == b"".join(other.read(artifact.ref))
    opened = [place for above in with_key.glob(OPENED) for place in above.glob("session_*")]
    assert len(opened) == 2 and kit.documents(opened[0].parent) | kit.documents(
        opened[1].parent
    ) == kit.documents(original)
    for path in (*with_key.glob(OPENED), *with_key.glob(f"{OPENED}/**/*")):
        assert stat.S_IMODE(path.stat().st_mode) in {0o700, 0o600}
    assert find_session(copy, "last") == find_session(copy, session_directories(copy)[-1])


def test_without_the_key_one_error_says_what_is_missing(copy, without_key):
    encrypt_all(copy)
    for name in ("last", session_id_of(session_directories(copy)[0]), session_directories(copy)[0]):
        with pytest.raises(SessionEncrypted, match="AGENT_TRACE_ENCRYPTION_KEY_FILE") as raised:
            find_session(copy, name)
        assert raised.value.exit_code == 3
    with pytest.raises(SessionEncrypted):
        LogAnalyzer(root=copy)
    assert list(list_runs(copy)) == []


def test_another_key_and_what_is_no_key_are_told_apart(copy, tmp_path):
    encrypt_all(copy)
    session = session_directories(copy)[0]
    with pytest.raises(InputError, match="another key"):
        decrypt(session, bytes(32))
    assert is_encrypted(session)
    assert key_of(KEY, "x") == key_of(KEY.hex().encode() + b"\n", "x") == KEY
    assert key_of(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", "x") == KEY
    for data in (b"", b"password", KEY[:31], KEY + b"\n" * 2, KEY.hex().encode()[:-2], b"\xff" * 40):
        with pytest.raises(UsageError, match="does not contain a key"):
            key_of(data, "x")
    file = tmp_path / "key"
    environment = {"AGENT_TRACE_ENCRYPTION_KEY_FILE": str(file)}
    with pytest.raises(ConfigurationError, match="cannot be read"):
        session_key(copy, environment)
    file.write_bytes(KEY)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others can read"):
        session_key(copy, environment)
    file.chmod(0o600)
    assert (
        session_key(copy, environment) == session_key(copy, {"AGENT_TRACE_ENCRYPTION_KEY": KEY.hex()}) == KEY
    )
    assert session_key(copy, {}) is None
    (copy / "key").write_bytes(KEY)
    (copy / "key").chmod(0o600)
    with pytest.raises(ConfigurationError, match="below the trace root"):
        session_key(copy, {"AGENT_TRACE_ENCRYPTION_KEY_FILE": str(copy / "key")})


@pytest.mark.parametrize("place", ["/dev/null", "pipe", "directory"])
def test_a_key_file_that_is_no_regular_file_is_one_error_and_waits_for_nobody(tmp_path, place):
    (tmp_path / "directory").mkdir()
    with closed_pipe_later(tmp_path / "pipe"), pytest.raises(ConfigurationError, match="not a plain file"):
        session_key(tmp_path / "trace", {"AGENT_TRACE_ENCRYPTION_KEY_FILE": str(tmp_path / place)})


def test_a_key_file_may_be_a_link(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "link").symlink_to("key")
    assert session_key(tmp_path / "trace", {"AGENT_TRACE_ENCRYPTION_KEY_FILE": str(tmp_path / "link")}) == KEY


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An encrypted session of several chunks, in a root of its own."""
    root = tmp_path_factory.mktemp("large") / "trace"
    setup_logging(trace_root=root)
    for _ in range(40):
        AgentLogger("a").log_action("x", {"text": os.urandom(40_000).hex()})
    shutdown_logging()
    session = session_directories(root)[0]
    before = everything(session)
    encrypt(session, KEY, remove=True)
    assert (session / "sealed.aes").stat().st_size > 1.4 * CHUNK_BYTES
    return session, before


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.1, 0.5, 0.9, 0.99999, 1.0])
def test_any_changed_byte_is_noticed(large, tmp_path, part):
    data = bytearray((large[0] / "sealed.aes").read_bytes())
    session = tmp_path / "trace" / large[0].name
    session.mkdir(parents=True)
    data[min(round(part * len(data)), len(data) - 1)] ^= 1
    (session / "sealed.aes").write_bytes(data)
    with pytest.raises(AgentTraceError):
        decrypt(session, KEY)
    assert os.listdir(session) == ["sealed.aes"]  # noqa: PTH208


def test_what_was_cut_off_reordered_added_or_moved_is_noticed(large, tmp_path, with_key):
    data = (large[0] / "sealed.aes").read_bytes()
    head = data.index(b"\n") + 1
    size = CHUNK_BYTES + 16
    chunks = [data[at : at + size] for at in range(head, len(data), size)]
    assert len(chunks) > 1
    session = tmp_path / "trace" / large[0].name
    session.mkdir(parents=True)
    for held in (
        b"", data[:head], data[: head + 5], data[: head + size], data[:-1], data + b"x", data + data[head:],
        data[:head] + b"".join(chunks[::-1]), data[:head] + chunks[0] * 2 + b"".join(chunks[1:]),
        data.replace(large[0].name.removeprefix("session_").encode(), b"20200101_000000", 1),
    ):  # fmt: skip
        (session / "sealed.aes").write_bytes(held)
        with pytest.raises(DamagedInput):
            find_session(tmp_path / "trace", "last")
    assert not list(with_key.glob(OPENED))
    other = tmp_path / "trace" / "session_20200101_000000"
    session.rename(other)
    (other / "sealed.aes").write_bytes(data)
    with pytest.raises(DamagedInput, match="it is of session"):
        find_session(tmp_path / "trace", "last")


@pytest.mark.further
def test_no_answer_names_the_place_where_it_was_opened(tmp_path, with_key, capfd):
    root = tmp_path / "trace"
    record_session(root, Settings(agents=2, ticks=4, seed=7))
    encrypt_all(root)
    agent, target = "last/creator_001", "--target Agent.demo.targets:creator"
    for asked in (
        "sessions --json",
        f"play {agent} --json",
        f"replay {agent} {target} --json",
        f"fork {agent} --step tick:2 --modify {{}} {target}",
    ):
        main([*asked.split(), "--root", str(root)])
        printed = "".join(capfd.readouterr())
        assert str(root / "session_") in printed, asked
        assert OPENED.strip("*") not in printed and str(with_key) not in printed, asked


@pytest.mark.further
def test_listed_runs_name_their_encrypted_session(copy, with_key, capfd):
    encrypt_all(copy)
    main(["runs", "--json", "--root", str(copy)])
    printed = capfd.readouterr().out
    assert str(copy / "session_") in printed and str(with_key) not in printed


def test_restoring_gives_the_same_bytes(original, copy):
    encrypt_all(copy)
    for session, before in zip(session_directories(copy), session_directories(original), strict=True):
        assert decrypt(session, KEY) > 10 and not is_encrypted(session)
        unseal(session)
        here, there = everything(session), everything(before)
        assert {name: here.get(name) for name in there} == there
        assert {path.relative_to(session).as_posix() for path in tree_files(session)} == {
            path.relative_to(before).as_posix() for path in tree_files(before)
        }
        shared = [path for path in session.rglob("blobs/**/*") if path.is_file()]
        assert shared and all(path.stat().st_nlink > 1 for path in shared)


def test_without_remove_the_readable_files_stay_and_count(copy, without_key):
    session = session_directories(copy)[0]
    before = everything(session)
    first = encrypt(session, KEY)
    assert first.removed == 0 and not is_encrypted(session) and find_session(copy, session) == session
    assert before.items() <= everything(session).items()
    assert encrypt(session, KEY).files == first.files + 0  # neither the encrypted file nor a cache is in it
    assert encrypt(session, KEY, remove=True).removed > 10 and is_encrypted(session)
    again = encrypt(session, KEY, remove=True)
    assert again.already and again.removed == 0
    (session / "left.log").write_text("left")
    data = (session / "sealed.aes").read_bytes()
    (session / "sealed.aes").write_bytes(data[:-1])
    with pytest.raises(DamagedInput):
        encrypt(session, KEY, remove=True)  # what is left may be all that there is
    with pytest.raises(DamagedInput):
        decrypt(session, KEY)
    assert (session / "left.log").exists() and not (session / ".decrypting").exists()
    (session / "sealed.aes").write_bytes(data)
    decrypt(session, KEY)
    with pytest.raises(UsageError, match="not encrypted"):
        decrypt(session, KEY)
    assert verify(session).sound


def test_a_kill_while_files_are_removed_leaves_an_encrypted_session_that_the_next_call_finishes(
    copy, monkeypatch
):
    session = session_directories(copy)[0]
    real = encrypted.delete_tree

    def killed(path):
        if path.name == "runs":
            raise KeyboardInterrupt
        real(path)

    monkeypatch.setattr(encrypted, "delete_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        encrypt(session, KEY, remove=True)
    monkeypatch.setattr(encrypted, "delete_tree", real)
    assert is_encrypted(session) and (session / "runs").is_dir()
    done = encrypt(session, KEY, remove=True)
    assert done.already and done.removed > 1
    assert [path.name for path in session.iterdir()] == ["sealed.aes"]


@pytest.mark.further
def test_a_kill_before_that_leaves_a_readable_session(copy, monkeypatch):
    session = session_directories(copy)[0]
    monkeypatch.setattr(encrypted, "_compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        encrypt(session, KEY, remove=True)
    assert not is_encrypted(session) and verify(session).sound and not list(session.glob("*.aes*"))


def test_a_kill_while_it_is_restored_leaves_it_encrypted(copy, monkeypatch):
    session = session_directories(copy)[0]
    encrypt(session, KEY, remove=True)
    real, moved = Path.rename, []

    def killed(path, target):
        if len(moved) > 2:
            raise KeyboardInterrupt
        moved.append(target)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        decrypt(session, KEY)
    monkeypatch.setattr(Path, "rename", real)
    assert is_encrypted(session)
    decrypt(session, KEY)
    assert verify(session).sound and not is_encrypted(session)


def test_what_is_recorded_or_was_killed_is_refused(copy):
    session = session_directories(copy)[0]
    (session / ".state" / "board" / "aaaaaaaa.board").write_bytes(b"")
    with pytest.raises(UsageError, match="agent-trace recover"):
        encrypt(session, KEY)
    (session / ".state" / "board" / "aaaaaaaa.board").unlink()
    setup_logging(trace_root=copy)
    AgentLogger("a").log_action("act")
    own = session_directories(copy)[-1]
    with pytest.raises(SessionInUse):
        encrypt(own, KEY)
    with pytest.raises(SessionInUse, match="writes to it"):
        encrypt(session, KEY, remove=True)  # its lines are in the mirrors, which this process writes
    assert not is_encrypted(session)
    shutdown_logging()


def test_nothing_is_recorded_beside_an_opened_session(copy, with_key):
    encrypt_all(copy)
    opened = find_session(copy, "last")
    with pytest.raises(UsageError, match="--restore"):
        create_session(opened.parent, SessionInfo.begun_now())


def test_an_encrypted_session_is_pruned_as_others_are(copy):
    encrypt_all(copy)
    prune(copy, Policy(keep_sessions=1), now_s=time.time() + 7 * 86_400)
    assert len(session_directories(copy)) == 1


LOOK = """
import os, signal, sys
from pathlib import Path
import Agent
from Agent.archive import encrypted
encrypted._MEMORY_DISK = Path(sys.argv[2])
from Agent.tree.layout import find_session
print(find_session(Path(sys.argv[1]), "last"), flush=True)
if sys.argv[3] != "ends":
    os.kill(os.getpid(), getattr(signal, sys.argv[3]))
"""


@pytest.mark.integration
def test_what_was_opened_is_gone_with_its_process_and_after_a_kill_with_the_next(copy, with_key):
    encrypt_all(copy)

    def look(how):
        return subprocess.run(
            [sys.executable, "-c", LOOK, copy, with_key, how], capture_output=True, text=True, check=False
        )

    done = look("ends")
    assert done.returncode == 0 and done.stdout.startswith(str(with_key)), done.stderr
    assert not list(with_key.iterdir())
    assert look("SIGTERM").returncode == -signal.SIGTERM and not list(with_key.iterdir())
    assert look("SIGKILL").returncode == -signal.SIGKILL
    (left,) = with_key.iterdir()
    assert look("ends").returncode == 0 and not left.exists() and not list(with_key.iterdir())


def test_a_program_that_records_its_environment_does_not_record_the_key(trace_root, monkeypatch):
    monkeypatch.setenv("AGENT_TRACE_ENCRYPTION_KEY", KEY.hex())
    setup_logging(trace_root=trace_root)
    AgentLogger("a").log_action("x", {"environment": dict(os.environ)})
    AgentLogger("a").info(f"AGENT_TRACE_ENCRYPTION_KEY={KEY.hex()}")
    shutdown_logging()
    held = everything(trace_root)
    assert any(b"AGENT_TRACE_ENCRYPTION_KEY" in data for data in held.values())
    assert not any(KEY.hex().encode() in data for data in held.values())
