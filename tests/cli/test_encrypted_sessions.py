"""`seal --encrypt` as it is typed: every command reads with the key, and says what is missing without it."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from Agent.archive import encrypted
from Agent.archive.sealed.sealing import seal

pytestmark = pytest.mark.usefixtures("one_user")

pytest.importorskip("cryptography", reason="cryptography is not installed; it is in the extra [encryption]")

READING = [
    ("analyze", "last"),
    ("ask", "last/creator_001", "builtins:vars", "--at", "tick:7"),
    ("causes", "EVENT"),
    ("debug", "creator_017 stopped publishing"),
    ("diff", "last/creator_001", "last/creator_001"),
    ("errors", "last"),
    ("export", "csv", "last", "x.csv", "-q", "SELECT * EXCLUDE (filename) FROM events"),
    ("export", "bundle", "last", "x.zip"),
    ("export", "inspect", "last/creator_017", "x.json"),
    ("export", "otlp", "last", "--file", "x.jsonl"),
    ("interactions", "last"),
    ("journey", "creator_017"),
    ("learning", "creator_017"),
    ("performance", "last"),
    ("play", "last/creator_017"),
    ("prove", "EVENT"),
    ("provenance", "creator_017", "cooldown_until"),
    ("replay", "last/creator_001"),
    ("runs", "last"),
    ("sql", "SELECT event_type, count(*) FROM events GROUP BY ALL ORDER BY ALL"),
    ("state", "creator_017"),
    ("tail", "-n", "20"),
    ("verify", "last"),
    ("watch", "followers > 100"),
]
REPORT = re.compile(r"(, report in \S+|; the report is not kept, since the session is encrypted)")


@pytest.fixture(scope="module")
def places(recorded, tmp_path_factory):
    """Two copies of the session's root, one of them encrypted; the file with the key; the event of a line."""
    place = tmp_path_factory.mktemp("places")
    shutil.copytree(recorded.root, place / "plain", symlinks=True)
    shutil.copytree(recorded.root, place / "encrypted", symlinks=True)
    seal(place / "plain" / recorded.session.name, remove=True)
    key = place / "key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    line = next((recorded.session / "agents").glob("creator_017.log")).read_bytes().splitlines()[40]
    encrypted.encrypt(place / "encrypted" / recorded.session.name, bytes.fromhex("ab" * 32), remove=True)
    return place, key, json.loads(line)["id"]


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(encrypted, "_MEMORY_DISK", tmp_path / "memory")


def answer(done):
    text = re.sub(r" --root \S+|\S*/(?=session_)", "", done.stdout)
    assert "agent-trace-opened" not in text
    text = re.sub(r"[0-9.]+ KiB", "KiB", text)  # what a bundle says of times compresses differently
    return done.returncode, REPORT.sub("", text)


@pytest.mark.integration
@pytest.mark.parametrize("words", READING, ids=lambda words: " ".join(words[:2]))
def test_a_command_answers_the_same_with_the_key_and_says_in_one_line_what_is_missing_without(
    run, places, tmp_path, words
):
    place, key, event = places
    asked = [event if word == "EVENT" else word for word in words]
    before = run(*asked, AGENT_TRACE_ROOT=str(place / "plain"))
    assert before.returncode in {0, 1}, before.stderr
    for name in ("x.csv", "x.json", "x.jsonl", "x.zip"):
        (tmp_path / name).unlink(missing_ok=True)
    locked = run(*asked, AGENT_TRACE_ROOT=str(place / "encrypted"))
    assert (locked.returncode, locked.stdout) == (3, ""), locked.stderr
    assert "is encrypted" in locked.stderr and "AGENT_TRACE_ENCRYPTION_KEY_FILE" in locked.stderr
    assert locked.stderr.count("agent-trace: ") == 1 and "Traceback" not in locked.stderr
    after = run(*asked, AGENT_TRACE_ROOT=str(place / "encrypted"), AGENT_TRACE_ENCRYPTION_KEY_FILE=str(key))
    assert answer(after) == answer(before), after.stderr


@pytest.mark.integration
def test_the_lists_name_what_is_encrypted(run, places):
    place, key, _ = places
    root = {"AGENT_TRACE_ROOT": str(place / "encrypted")}
    assert "encrypted" in run("sessions", **root).stdout
    (row,) = json.loads(run("sessions", "--json", **root).stdout)["sessions"]
    assert (row["state"], row["events"]) == ("encrypted", None)
    assert "1 session is encrypted" in run("runs", **root).stderr
    known = run("sessions", **root, AGENT_TRACE_ENCRYPTION_KEY_FILE=str(key)).stdout
    assert "closed" in known and "encrypted" not in known


@pytest.mark.integration
def test_commands_over_many_sessions_pass_over_what_is_encrypted_and_say_so(run, recorded, places, tmp_path):
    root, (place, _, _) = tmp_path / "trace", places
    shutil.copytree(place / "encrypted", root, symlinks=True)
    shutil.copytree(recorded.session, root / "session_20990101_000000", symlinks=True)
    here = {"AGENT_TRACE_ROOT": str(root)}
    metrics = run("runs", "--metrics", **here)
    assert metrics.returncode == 0 and "it is encrypted" in metrics.stdout + metrics.stderr, metrics.stderr
    shipped = run("ship", "--all", "--to", "http://127.0.0.1:9", "--patience", "0.1", **here)
    assert "the session is encrypted" in shipped.stderr and "accepts no events" in shipped.stderr
    replayed = run("replay", "--all", "--no-program", **here)
    assert "proved nothing: the session is encrypted" in replayed.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    ("key", "size_bytes", "told"),
    [("cd", None, "another key"), ("ab", -1, "cut off"), ("ab", 0, "is not an")],
)
def test_a_session_that_its_key_does_not_open_hides_no_other_session(
    run, recorded, places, tmp_path, key, size_bytes, told
):
    root, other = tmp_path / "trace", tmp_path / "key"
    shutil.copytree(places[0] / "encrypted", root, symlinks=True)
    locked = root / recorded.session.name
    shutil.copytree(recorded.session, root / "session_20990101_000000", symlinks=True)
    vault = (locked / "sealed.aes").read_bytes()
    (locked / "sealed.aes").write_bytes(vault[:size_bytes])
    other.write_text(key * 32)
    other.chmod(0o600)
    here = {"AGENT_TRACE_ROOT": str(root), "AGENT_TRACE_ENCRYPTION_KEY_FILE": str(other)}
    listed = run("sessions", "--json", **here)
    rows = {row["session_id"]: row for row in json.loads(listed.stdout)["sessions"]}
    row = rows.pop(locked.name.removeprefix("session_"))
    assert (row["state"], row["events"]) == ("encrypted", None)
    assert (row["problem"] is None) is (key == "cd")
    assert [row["state"] for row in rows.values()] == ["closed"]
    assert "1 session is encrypted" in run("runs", **here).stderr
    opened = run("analyze", row["session_id"], **here)
    assert opened.returncode == 3 and told in opened.stderr


def test_a_session_is_encrypted_and_restored(run, recorded, places, tmp_path):
    root = tmp_path / "trace"
    shutil.copytree(recorded.root, root, symlinks=True)
    here, key = {"AGENT_TRACE_ROOT": str(root)}, {"AGENT_TRACE_ENCRYPTION_KEY_FILE": str(places[1])}
    refused = run("seal", "--encrypt", **here)
    assert refused.returncode == 2 and "openssl rand -hex 32" in refused.stderr
    assert run("seal", "--encrypt", "--restore", **here, **key).returncode == 2
    done = run("seal", "--encrypt", **here, **key)
    assert done.returncode == 0 and "--remove removes them" in done.stderr
    done = run("seal", "--all", "--encrypt", "--remove", "--json", **here, **key)
    assert done.returncode == 0 and json.loads(done.stdout)
    assert [path.name for path in (root / recorded.session.name).iterdir()] == ["sealed.aes"]
    assert "already encrypted" in run("seal", "--encrypt", "--remove", **here, **key).stdout
    assert "and encrypted" in run("seal", **here).stdout
    assert not any(b"creator_017" in path.read_bytes() for path in root.rglob("*") if path.is_file())
    dry = run("erase", "--match", "creator_017", "--dry-run", **here)
    assert dry.returncode == 0 and "not looked into: 1 encrypted session" in dry.stderr
    locked = run("seal", "--restore", **here)
    assert locked.returncode == 3 and "openssl" not in locked.stderr  # which would make another key
    assert "set AGENT_TRACE_ENCRYPTION_KEY_FILE to the file with its key" in locked.stderr
    erased = run("erase", "--match", "creator_017", "--yes", **here)
    assert erased.returncode == 0 and "encrypted session" in erased.stderr
    done = run("seal", "--restore", **here, **key)
    assert done.returncode == 0 and "decrypted" in done.stdout
    assert run("verify", **here).returncode == 0


@pytest.mark.further
def test_a_fork_of_an_encrypted_session_is_refused_in_one_line(run, places):
    place, key, _ = places
    done = run(
        "fork", "last/creator_001", "--step", "tick:40", "--modify", '{"followers": 5}',
        AGENT_TRACE_ROOT=str(place / "encrypted"), AGENT_TRACE_ENCRYPTION_KEY_FILE=str(key),
    )  # fmt: skip
    assert done.returncode == 2 and "seal SESSION --restore" in done.stderr, done.stderr
