"""Edits of a record are named by `verify` with their block, and nothing that the product does is taken for one."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import erase_kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.processes import REPOSITORY, child_environment

from Agent import AgentLogger, PerformanceLogger, setup_logging, shutdown_logging
from Agent.archive import seal, unseal
from Agent.archive.chain_check import check_chains, prove_event
from Agent.archive.erase.erasing import erase, target_of
from Agent.archive.recover import recover_session
from Agent.archive.verify import verify
from Agent.errors import InputError, UsageError
from Agent.event.codec import decode_line
from Agent.flight import Recorder
from Agent.tree.files.segment import ErrorCounters
from Agent.tree.layout import chain_file, chains_dir, list_sessions, tree_files
from Agent.tree.write import chain
from Agent.tree.write.chain import LineChain, read_chains


def record(root):
    """A session of two writers with rolled segments, blocks of both kinds, and a run."""
    session = setup_logging(trace_root=root, segment_size_bytes=40_000, buffer_entries=5).path
    loggers = [AgentLogger(f"agent_{number}", "trader") for number in range(4)]
    for number in range(900):
        loggers[number % 3].log_action("buy", {"n": number, "why": "x" * (number % 40)})
        if number % 50 == 0:
            PerformanceLogger().log_metric("latency", number, "ms")
    with Recorder(agent="agent_3").run():
        for number in range(80):
            loggers[3].log_action("think", {"n": number})
    shutdown_logging()
    return session


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    return record(tmp_path_factory.mktemp("chain") / "trace")


@pytest.fixture
def session(closed, tmp_path):
    return Path(shutil.copytree(closed, tmp_path / closed.name))


def edits(session, *heads):
    return verify(session, heads).chain.edits


def told(session):
    """The heads in `log.closed` events, by writer."""
    found = {}
    for path in session.glob("system*.log"):
        for line in path.read_bytes().splitlines():
            extra = json.loads(line)["extra"]
            if extra["event_type"] == "log.closed":
                found[extra["writer"]] = extra["head"]
    return found


def test_a_recorded_session_is_covered_to_its_last_line(closed):
    found = verify(closed)
    lines = sum(path.read_bytes().count(b"\n") for path in tree_files(closed))
    assert found.sound
    assert (found.chain.lines, found.chain.uncovered, found.chain.edits, found.chain.gaps) == (
        lines,
        0,
        [],
        [],
    )
    assert len(found.chain.heads) == 2 == len(told(closed))
    assert len(list((closed / "agents").iterdir())) > 6
    assert found.to_dict()["chain"]["head"] == found.chain.head


def test_an_event_of_a_writer_that_never_began_here_is_not_what_a_kept_head_stands_for(session):
    head = verify(session).chain.head
    path = max(session.glob("agents/agent_1*.log"))
    line = path.read_bytes().splitlines(keepends=True)[-1]
    event = json.loads(line)
    with path.open("ab") as file:
        file.write(line.replace(event["id"].encode(), b"zzzzzzzz-1"))
    assert [edit.file for edit in edits(session, head)] == [f"agents/{path.name}"]
    assert not verify(session, [head]).sound
    assert verify(session).chain.uncovered == 1


EDITS = ("byte", "delete", "swap", "repeat", "insert", "truncate", "remove", "newline", "empty")


def edited(data, kind, chance):
    """Some bytes with one edit, and the first line (from 1) of which something is different."""
    lines = data.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    if kind == "byte":
        place = chance.randrange(len(data))
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        return bytes(changed), data.count(b"\n", 0, place) + 1
    if kind == "delete":
        del lines[at]
    elif kind == "swap":
        at = chance.randrange(len(lines) - 1)
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    elif kind == "repeat":
        lines.insert(at, lines[at])
    elif kind == "insert":
        lines.insert(at, b"{}\n")
    elif kind == "newline":
        lines.insert(at, b"\n")
    elif kind == "truncate":
        size = chance.randrange(1, len(data))
        return data[:size], data.count(b"\n", 0, size) + 1
    elif kind == "empty":
        return b"", 1
    return b"".join(lines), at + (2 if kind == "repeat" else 1)


@pytest.mark.further
@given(st.sampled_from(EDITS), st.randoms(use_true_random=False))
@settings(suppress_health_check=list(HealthCheck))
def test_every_edit_of_a_closed_session_is_named_with_its_block(closed, kind, chance):
    path = chance.choice([path for path in tree_files(closed) if path.read_bytes().count(b"\n") > 2])
    name, data = path.relative_to(closed).as_posix(), path.read_bytes()
    status = path.stat()
    try:
        if kind == "remove":
            path.unlink()
            line = 1
        else:
            changed, line = edited(data, kind, chance)
            path.write_bytes(changed)
        report = check_chains(closed, told_of_all)
        assert report is not None
        named = [edit for edit in report.edits if _stem(edit.file) == _stem(name)]
        assert named, (kind, line)
        if kind != "remove":
            assert named[0].file == name
        # A line that is inserted or repeated behind the last of a block moves what begins the next one.
        if named[0].block is not None:
            assert named[0].first_line <= line <= named[0].last_line + 1, (kind, line, named)
            assert named[0].time is not None
        else:
            assert (kind, line) == ("repeat", data.count(b"\n") + 1), named
        assert len(report.edits) == 1, report.edits
    finally:
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


told_of_all: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _heads_that_log_closed_tells(closed):
    told_of_all.update(told(closed))


def _stem(name):
    return name.rpartition("/")[0], Path(name).name.split(".")[0].split("@")[0]


def test_events_that_are_added_to_a_closed_session_are_named(session):
    path = session / "agents" / "agent_1.log"
    line = path.read_bytes().splitlines(keepends=True)[-1]
    (session / "agents" / "new.log").write_bytes(line)
    with path.open("ab") as file:
        file.write(line + line[:40] + b"\n")
    report = check_chains(session, {})
    assert [(edit.file, edit.problem[0]) for edit in report.edits] == [
        ("agents/agent_1.log", "1"),
        ("agents/new.log", "1"),
    ]
    assert report.uncovered == 3


def test_files_that_change_places_are_named(session):
    one, two = session / "agents" / "agent_0.log", session / "agents" / "agent_1.log"
    one.rename(session / "aside")
    two.rename(one)
    (session / "aside").rename(two)
    assert len(edits(session)) == 2
    shutil.copy(session / "agents" / "agent_0.1.log", session / "agents" / "agent_0.2.log")
    assert len(edits(session)) == 3


@pytest.mark.integration
def test_an_edit_of_the_chain_itself_is_named(session):
    for path in sorted(chains_dir(session).iterdir()):
        data, name = path.read_bytes(), f".state/chain/{path.name}"
        lines = data.splitlines(keepends=True)
        for changed in (
            b"".join(lines[:-3]),
            b"".join(lines[:1] + lines[2:]),
            data.replace(b'"leaf":"', b'"leaf":"0', 1),
            lines[0].replace(b'"leaf":"', b'"leaf":"0').replace(b'0"}', b'"}') + b"".join(lines[1:]),
            b"",
        ):
            path.write_bytes(changed)
            assert name in {edit.file for edit in edits(session)}, changed[:80]
        path.unlink()
        assert name in {edit.file for edit in edits(session)}
        path.write_bytes(data)
    assert edits(session) == []
    shutil.rmtree(chains_dir(session))
    assert len(edits(session)) == 2


def forge(session):
    """Change an event and make every digest anew, as somebody who can write to the files can."""
    path = session / "agents" / "agent_1.log"
    path.write_bytes(path.read_bytes().replace(b'"n":', b'"n":7', 1))
    counts = ErrorCounters()
    for writer in read_chains(session):
        chain_file(session, writer).unlink()
        anew = LineChain(session, writer, counts, lambda *_: None)
        files = [path for path in tree_files(session) if writer.encode() in path.read_bytes()[:200]]
        for path in [each for each in files if not each.name.startswith("system")]:
            status = path.stat()
            anew.began((status.st_dev, status.st_ino), path)
        head = anew.cover()
        for path in session.glob("system*.log"):
            data = path.read_bytes()
            for line in data.splitlines():
                extra = json.loads(line)["extra"]
                if extra["event_type"] == "log.closed" and extra["writer"] == writer:
                    path.write_bytes(data.replace(extra["head"].encode(), head.encode()))
                    if path in files:
                        anew.began((path.stat().st_dev, path.stat().st_ino), path)
        anew.close(ended=True)


@pytest.mark.integration
def test_digests_that_were_made_anew_are_found_by_a_head_that_was_kept(session):
    before = check_chains(session, {})
    forge(session)
    assert verify(session).sound
    assert [edit.file for edit in edits(session, before.head)] == ["session"]
    wrong = [edit for edit in edits(session, *before.heads) if "the head that was kept" in edit.problem]
    assert len(wrong) >= 1
    for head in ("", "12", before.head[:-1], f"{before.heads[0]}0", "../../x:1"):
        with pytest.raises(UsageError):
            edits(session, head)


def stored_chain(session):
    """The chain with the first block of an agent's file: its path, its entries, that block's, and the file."""
    for path in sorted(chains_dir(session).iterdir()):
        entries = [json.loads(line) for line in path.read_bytes().splitlines()]
        for entry in entries:
            if entry.get("file", "").startswith("agents/"):
                return path, entries, entry, session / entry["file"]
    raise AssertionError("no chain has a file of an agent")


def store(path, entries):
    path.write_text("".join(f"{json.dumps(each)}\n" for each in entries))


def unsalted(lines):
    return hashlib.sha256(b"\0" + b"".join(hashlib.sha256(line).digest() for line in lines)).hexdigest()


def state_of(lines, **more):
    return {"size": sum(map(len, lines)) + len(lines), "lines": len(lines), **more}


def in_older_form(session, entries, entry, lines):
    entry |= {"now": state_of(lines, leaf=unsalted(lines)), "why": "erased"}


def of_an_older_version(session, entries, entry, lines):
    in_older_form(session, entries, entry, lines)
    for each in entries:
        each.pop("v", None)
        each.pop("seed", None)


def of_a_whole_block(session, entries, entry, lines):
    block = b"".join(line + b"\n" for line in lines)
    leaf = hashlib.sha256(b"\2" + block).hexdigest()
    entry |= {"of": "bytes", "now": state_of(lines, leaf=leaf), "why": "erased"}


def with_its_salts(session, entries, entry, lines):
    salts = chain.salts_of(bytes.fromhex(entry["seed"]), len(lines))
    entry |= {"now": state_of(lines, salts=salts.hex(), gone=[]), "why": "erased"}


def with_a_line_for_one_that_went(session, entries, entry, lines):
    """The edited line stands in the place of one that is said to be erased."""
    salts = chain.salts_of(bytes.fromhex(entry["seed"]), len(lines))
    gone = [[len(lines) - 1, hashlib.sha256(salts[-16:] + lines[-1]).hexdigest()]]
    entry |= {"now": state_of(lines, salts=salts.hex(), gone=gone), "why": "erased"}


def behind_a_block_that_went(session, entries, entry, lines):
    """All blocks of the file are said to be erased, and their numbers entered as removed."""
    for each in entries:
        if each.get("f") == entry["f"]:
            each |= {"now": {"size": 0, "lines": 0}, "why": "erased"}
    from Agent.archive.erase.files import MatchingLines, enter

    found = MatchingLines()
    for line in lines:
        found.note(decode_line(line))
    enter(session, found)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "disguise",
    [
        in_older_form,
        of_an_older_version,
        of_a_whole_block,
        with_its_salts,
        with_a_line_for_one_that_went,
        behind_a_block_that_went,
    ],
)
def test_an_edit_that_is_made_to_look_like_an_erasure_is_found_by_a_head_that_was_kept(session, disguise):
    before = check_chains(session, {})
    path, entries, entry, log = stored_chain(session)
    everything = log.read_bytes().split(b"\n")
    lines = everything[: entry["lines"]]
    lines[-1] = lines[-1].replace(b"INFO", b"info")
    log.write_bytes(b"\n".join(lines + everything[entry["lines"] :]))
    disguise(session, entries, entry, lines)
    store(path, entries)
    for head in (before.head, *before.heads):
        if head.startswith(path.stem) or ":" not in head:
            assert edits(session, head), head
            assert not verify(session, [head]).sound


@pytest.mark.first_case
@pytest.mark.parametrize("how", ["edited", "added", "added for one that went", "moved"])
def test_an_edit_behind_a_real_erasure_is_found_and_what_was_left_has_a_proof(tmp_path, how, monkeypatch):
    session = setup_logging(trace_root=tmp_path / "trace").path
    for number in range(100):
        AgentLogger("one").log_action("buy", {"n": f"number {number % 4}."})
    shutdown_logging()
    head = verify(session).chain.head
    log = session / "agents" / "one.log"
    gone = [line for line in log.read_bytes().splitlines() if b"number 2." in line]
    assert erase(tmp_path / "trace", target_of(match="number 2.")).proof.clean
    found = verify(session, [head])
    assert found.sound and found.erased == 25
    assert [(gap.lines, gap.unchecked) for gap in found.chain.gaps] == [(25, 0)]
    proof = prove_event(session, json.loads(log.read_bytes().splitlines()[40])["id"])
    assert checked(proof, head, tmp_path, monkeypatch)
    assert nothing_confirms(session, gone)

    path, entries, entry, _ = stored_chain(session)
    lines = log.read_bytes().splitlines()
    if how == "edited":
        lines[5] = lines[5].replace(b"INFO", b"info")
    elif how == "moved":
        lines[5], lines[6] = lines[6], lines[5]
    else:
        lines.insert(5, lines[5])
        salts = entry["now"]["salts"]
        entry["now"]["salts"] = salts[:160] + "00" * 16 + salts[160:]
        if how != "added":
            entry["now"]["gone"].pop(0)
    entry["now"] |= state_of(lines[: entry["now"]["lines"] + how.startswith("added")])
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    store(path, entries)
    assert [edit.file for edit in edits(session, head)] == ["agents/one.log"]


def nothing_confirms(session, gone):
    """Whether no digest in the chains is made of an erased line and of anything else that stands there."""
    stored = b"".join(path.read_bytes() for path in chains_dir(session).iterdir())
    entries = [json.loads(line) for line in stored.splitlines()]
    changed = [entry for entry in entries if "now" in entry]
    assert changed and not any("seed" in entry or "was" in entry for entry in changed)
    salts = {b""}
    for entry in entries:
        for text in (entry.get("seed", ""), entry.get("now", {}).get("salts", "")):
            whole = bytes.fromhex(text)
            salts |= {whole[at : at + 16] for at in range(0, len(whole), 16)}
            salts |= {chain.salts_of(whole, 64)[at : at + 16] for at in range(0, 1024, 16)}
    digests = {hashlib.sha256(salt + line).hexdigest() for salt in salts for line in gone}
    return not any(digest.encode() in stored for digest in digests)


def test_what_an_erasure_left_of_a_block_that_is_proved_as_a_whole_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "FINE_BYTES", 0)
    session = record(tmp_path / "trace")
    head = verify(session).chain.head
    gone = [
        line for path in tree_files(session) for line in path.read_bytes().splitlines() if b'"n":37' in line
    ]
    erase(tmp_path / "trace", target_of(match='"n":37'))
    found = verify(session, [head])
    assert found.sound and sum(gap.lines for gap in found.chain.gaps) == len(gone)
    assert all(gap.unchecked for gap in found.chain.gaps)
    assert nothing_confirms(session, gone)


def test_a_session_recorded_without_salts_verifies_and_what_cannot_be_checked_is_counted(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:  # as the first version with digests wrote them
        patch.setattr(chain, "VERSION", 1)
        patch.setattr(chain, "SALT_BYTES", 0)
        patch.setattr(chain, "tree_leaf", lambda _kind, leaf: leaf)
        patch.setattr(chain, "salted_root", lambda root: root)
        session = record(tmp_path / "trace")
    assert not any(b'"v":' in path.read_bytes() for path in chains_dir(session).iterdir())
    head = verify(session).chain.head
    proof = prove_event(session, events_of(session)[7])
    assert proof["salt"] == "" and checked(proof, head, tmp_path, monkeypatch)
    erase(tmp_path / "trace", target_of(match='"n":37'))
    found = verify(session, [head])
    assert found.sound, found.chain.edits
    (gap, *_) = found.chain.gaps
    assert gap.why == "erased" and gap.lines + gap.unchecked == 64 * gap.blocks
    log = session / gap.file
    log.write_bytes(log.read_bytes().replace(b"INFO", b"info", 1))
    assert edits(session)


def test_a_head_of_a_writer_holds_for_what_came_later(tmp_path):
    session = setup_logging(trace_root=tmp_path).path
    logger = AgentLogger("one")
    logger.log_action("a")
    from Agent.config import recording

    early = recording._current.writer.head()
    for number in range(200):
        logger.log_action("b", {"n": number})
    running = verify(session, [early])
    assert running.sound and running.chain.uncovered == 200
    shutdown_logging()
    assert verify(session, [early]).sound
    assert not verify(session, [early[:-1] + ("0" if early[-1] != "0" else "1")]).sound


# What the product itself does to a record.


@pytest.mark.integration
def test_sealed_lines_are_compared_in_the_archive(session):
    before = verify(session).chain
    seal(session, remove=True)
    assert not list((session / "agents").glob("*.log"))
    sealed = verify(session)
    assert sealed.sound and sealed.chain.to_dict() == before.to_dict()
    unseal(session)
    assert verify(session).chain.to_dict() == before.to_dict()


def test_what_retention_took_is_a_gap_and_no_edit(tmp_path):
    session = setup_logging(trace_root=tmp_path, segment_size_bytes=8_000, max_session_bytes=60_000).path
    logger = AgentLogger("one")
    from Agent.config import recording

    for number in range(2000):
        logger.log_action("a", {"n": number})
        if number % 100 == 0:
            recording._current.writer.head()
    shutdown_logging()
    found = verify(session)
    assert found.sound, found.chain.edits
    assert {gap.why for gap in found.chain.gaps} == {"retired"}
    assert sum(gap.lines for gap in found.chain.gaps) <= sum(row.retired for row in found.writers)
    assert found.chain.uncovered == 0


@pytest.mark.integration
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("what", ["agent", "match", "run"])
def test_what_was_erased_is_a_gap_and_the_head_stays(tmp_path, what, sealed):
    runs = erase_kit.record(tmp_path)
    heads = {ref.path: check_chains(ref.path, {}).head for ref in list_sessions(tmp_path)}
    if sealed:
        for session in heads:
            seal(session, remove=True)
    value = {"agent": "writer", "match": erase_kit.VALUE, "run": runs["run0"]}[what]
    done = erase(tmp_path, target_of(**{what: value}))
    assert done.proof.clean, done.proof.left
    erased = 0
    for session, head in heads.items():
        found = verify(session, [head])
        assert found.sound, [*map(str, found.chain.edits)]
        erased += sum(gap.lines for gap in found.chain.gaps if gap.why == "erased")
        assert found.chain.uncovered == 0
    assert erased == done.events
    # what was left can be edited no better than before
    path = max(tree_files(session), key=lambda each: each.stat().st_size, default=None)
    if path is not None:
        path.write_bytes(path.read_bytes().replace(b'"schema_version":1', b'"schema_version":2', 1))
        assert edits(session)


@pytest.mark.integration
def test_an_erasure_after_another_and_one_that_was_cut_short_are_no_edits(tmp_path, monkeypatch):
    from Agent.archive.erase import files as module

    erase_kit.record(tmp_path)
    heads = {ref.path: check_chains(ref.path, {}).head for ref in list_sessions(tmp_path)}
    erase(tmp_path, target_of(match="Hello"))
    real = module.rewrite
    for left in range(4):
        budget = iter([None] * left)

        def killed(path, judge, forms, budget=budget):
            next(budget)
            return real(path, judge, forms)

        with monkeypatch.context() as patch:
            patch.setattr(module, "rewrite", killed)
            with pytest.raises(StopIteration):
                erase(tmp_path, target_of(agent="writer"))
        for session, head in heads.items():
            assert check_chains(session, {}, [head]).edits == []
    erase(tmp_path, None)
    for session, head in heads.items():
        assert check_chains(session, {}, [head]).edits == []


FORKING = """
import os, sys, time
from Agent.tree.write import chain
chain._INTERVAL_S = 0.02
from Agent import AgentLogger, setup_logging
setup_logging(trace_root=sys.argv[1], segment_size_bytes=20_000)
def work(name):
    for number in range(400):
        AgentLogger(name).log_action("a", {"n": number})
        AgentLogger("shared").log_action("b", {"n": number})
        time.sleep(0.0005)
children = []
for index in range(2):
    pid = os.fork()
    if not pid:
        work(f"child_{index}")
        sys.exit(0)
    children.append(pid)
work("parent")
for pid in children:
    os.waitpid(pid, 0)
"""

ENDLESS = FORKING.replace("range(400)", "range(10**9)").replace(
    "children = []", "print('on', flush=True)\nchildren = []"
)


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_each_process_has_its_own_chain(tmp_path):
    subprocess.run(
        [sys.executable, "-c", FORKING, tmp_path], check=True, env=child_environment(), timeout=120
    )
    (session,) = [ref.path for ref in list_sessions(tmp_path)]
    found = verify(session)
    assert found.sound, found.chain.edits
    assert len(found.chain.heads) == 3 and found.chain.uncovered == 0


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_after_a_kill_only_the_end_is_uncovered_and_never_called_edited(tmp_path):
    for turn in range(4):
        root = tmp_path / str(turn)
        program = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, root],
            env=child_environment(),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            program.stdout.readline()
            time.sleep(random.Random(turn).uniform(0.3, 1.2))
            while (running := verify(list_sessions(root)[-1].path)).chain is None:
                time.sleep(0.05)  # on a busy machine there is no block yet
            assert not running.chain.edits
        finally:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            program.stdout.close()
        session = list_sessions(root)[-1].path
        while any(row.state == "running" for row in verify(session).writers):
            time.sleep(0.05)
        found = verify(session)
        assert found.chain.edits == [] and found.chain.uncovered > 0
        lines = sum(path.read_bytes().count(b"\n") for path in tree_files(session))
        assert found.chain.lines + found.chain.uncovered in range(lines, lines + 4)
        if turn == 0 and found.chain.blocks:
            chains = sorted(chains_dir(session).iterdir(), key=lambda path: path.stat().st_size)
            data = chains[-1].read_bytes()
            chains[-1].write_bytes(b"".join(data.splitlines(keepends=True)[:-4]))
            assert "the board" in edits(session)[-1].problem
            chains[-1].write_bytes(data)
        recover_session(session)
        assert edits(session) == []


def test_sessions_recorded_before_verify_as_before(tmp_path):
    trees = [path.parent for path in (REPOSITORY / "tests" / "golden").rglob("session.json")]
    assert trees
    for number, tree in enumerate(trees):
        session = Path(shutil.copytree(tree, tmp_path / str(number) / tree.name))
        assert verify(session).chain is None


# Proofs.


def events_of(session):
    return [json.loads(line)["id"] for path in tree_files(session) for line in path.read_bytes().splitlines()]


def checked(proof, head, place, monkeypatch):
    """Whether the lines of Python in the page take a proof for one."""
    page = (REPOSITORY / "docs" / "RELIABILITY.md").read_text()
    source = page.partition("```python file=check_proof.py\n")[2].partition("```")[0]
    assert 15 <= source.count("\n") <= 30
    (place / "proof.json").write_text(json.dumps(proof))
    monkeypatch.setattr(sys, "argv", ["check_proof.py", str(place / "proof.json"), head])
    with pytest.raises(SystemExit) as ended:
        exec(compile(source, "check_proof.py", "exec"), {})
    return not ended.value.code


@pytest.mark.parametrize("fine_bytes", [0, 1 << 24])
def test_the_page_checks_the_proof_of_any_event_and_refuses_any_other(tmp_path, monkeypatch, fine_bytes):
    monkeypatch.setattr(chain, "FINE_BYTES", fine_bytes)
    session = record(tmp_path)
    head = verify(session).chain.head
    chance = random.Random(3)

    def holds(proof, head):
        return checked(proof, head, tmp_path, monkeypatch)

    for event_id in chance.sample(events_of(session), 4):
        proof = prove_event(session, event_id)
        assert holds(proof, head) and len(json.dumps(proof)) < (9_000 if fine_bytes else 500_000)
        assert json.loads(proof["event"])["id"] == event_id
    assert not holds(proof, "0" * 64)
    other = prove_event(session, events_of(session)[0])
    for key in ("event", "path", "heads", "lines", "bytes", "writer"):
        if key in proof and other[key] != proof[key]:
            assert not holds({**proof, key: other[key]}, head), key
    assert not holds(
        {**proof, "event": proof["event"].replace("INFO", "WARN").replace("DEBUG", "INFO")}, head
    )


def test_what_has_no_proof_is_said_in_one_line(session):
    (known, *_) = events_of(session)
    for wrong in ("k3v9q2ma-17", f"{known}999"):
        with pytest.raises(InputError):
            prove_event(session, wrong)
    with pytest.raises(UsageError):
        prove_event(session, "nothing")
    path = session / "agents" / "agent_0.log"
    first = json.loads(path.read_bytes().splitlines()[0])["id"]
    path.write_bytes(path.read_bytes().replace(b'"n":', b'"m":', 3))
    with pytest.raises(InputError, match="differs from what was written"):
        prove_event(session, first)
