"""The chain of a writer: what it covers, when, and that no failure of it reaches the program."""

import errno
import hashlib
import os
import random
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory import traced_bytes
from tree_kit import Recorder, make_line

from Agent.tree.files.segment import ErrorCounters
from Agent.tree.layout import boards_dir, chain_file, tree_files
from Agent.tree.write import chain
from Agent.tree.write.chain import (
    LineChain,
    audit_path,
    head_text,
    leaf_of_bytes,
    leaf_of_lines,
    read_chains,
    root_of,
    write_chain,
)
from Agent.tree.write.crash_board import read_board
from Agent.tree.write.writer import SessionWriter


def mth(leaves):
    """The root as section 2.1 of RFC 6962 defines it, written down anew."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


@given(st.integers(0, 70), st.randoms(use_true_random=False))
def test_the_root_is_that_of_the_standard_and_every_path_leads_to_it(count, chance):
    leaves = [chance.randbytes(32) for _ in range(count)]
    root = root_of(leaves)
    assert root == mth(leaves)
    for index, leaf in enumerate(leaves):
        at = leaf
        for side, digest in audit_path(leaves, index):
            at = hashlib.sha256(b"\1" + (digest + at if side == "left" else at + digest)).digest()
        assert at == root


def covered(session, writer):
    """The bytes of each block, as the chain's file says, checked against the files."""
    found = []
    by_first = {
        path.read_bytes().split(b'"id":"')[1].split(b'"')[0].decode(): path for path in tree_files(session)
    }
    for file in read_chains(session)[writer].files.values():
        data, at = by_first[file.first_id].read_bytes(), 0
        for block in file.blocks:
            part = data[at : at + block.written.size_bytes]
            at += len(part)
            lines = part.split(b"\n")[:-1]
            assert part.endswith(b"\n") and len(lines) == block.written.lines
            state = block.written
            leaf = (
                leaf_of_lines(lines, state.salts())
                if block.kind == "lines"
                else leaf_of_bytes(part, state.seed)
            )
            assert leaf == block.written.leaf
            found.append(part)
    return found


@pytest.mark.parametrize("fine_bytes", [0, 1 << 24])
def test_a_closed_writer_has_every_line_of_every_segment_in_one_block(session, monkeypatch, fine_bytes):
    monkeypatch.setattr(chain, "FINE_BYTES", fine_bytes)
    recorder = Recorder(SessionWriter(session, segment_size_bytes=20_000, max_open_files=2))
    for number in range(600):
        recorder.write(
            f"agent_{number % 5}", text="x" * (number % 90), big="y" * (300_000 if number == 400 else 0)
        )
        if number % 150 == 0:
            recorder.sink.head()
    recorder.close()
    blocks = covered(session, recorder.sink.writer)
    everything = b"".join(path.read_bytes() for path in tree_files(session))
    assert sum(map(len, blocks)) == len(everything)
    assert sorted(b"".join(blocks).split(b"\n")) == sorted(everything.split(b"\n"))
    known = read_chains(session)[recorder.sink.writer]
    assert known.problem is None and known.leaves
    assert write_chain(known).count(b"\n") == len(known.leaves) + known.ended


def test_files_with_less_than_a_block_are_not_each_opened_to_find_that_out(session, monkeypatch):
    monkeypatch.setattr(chain, "_INTERVAL_S", 3600.0)
    recorder, opened = Recorder(SessionWriter(session)), []
    real_open = chain.open_file

    def noting(path):
        if str(path).startswith(str(session)):  # the thread of an earlier session may still end
            opened.append(path)
        return real_open(path)

    monkeypatch.setattr(chain, "open_file", noting)
    for number in range(20 * 30):
        recorder.write(f"agent_{number % 20}", text="x" * 300)
    lines = recorder.sink._state.chain
    lines._pass(everything=False, background=True)
    assert len(opened) == 1, "each has 30 lines, of over 6,400 bytes"
    for number in range(20 * 40):
        recorder.write(f"agent_{number % 20}", text="x" * 300)
    lines._pass(everything=False, background=True)
    assert len(opened) == 21
    recorder.close()
    assert len(covered(session, recorder.sink.writer)) >= 40


def test_files_of_a_fast_writer_wait_for_a_whole_block_until_too_much_waits_in_all(session, monkeypatch):
    monkeypatch.setattr(chain, "_INTERVAL_S", 3600.0)
    monkeypatch.setattr(chain, "FINE_BYTES", 0)
    monkeypatch.setattr(chain, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(chain, "_WAITING_BYTES", 70_000)
    recorder = Recorder(SessionWriter(session))

    def covered_after(*kilobytes):
        for number, count in enumerate(kilobytes):
            for _ in range(count):
                recorder.write(f"agent_{number}", text="x" * 1_000)
        recorder.sink._state.chain._pass(everything=False, background=True)
        known = read_chains(session).get(recorder.sink.writer)
        files = known.files.values() if known else []
        return sorted(file.file.rpartition("/")[2].removesuffix(".log") for file in files if file.blocks)

    assert covered_after(10, 15, 20) == []
    assert covered_after(0, 0, 20) == ["agent_2"], "it has a whole block"
    assert covered_after(20, 20, 0) == ["agent_1", "agent_2"], "the largest first, until 70 kB or less wait"
    recorder.close()
    assert covered(session, recorder.sink.writer)


def test_a_block_holds_at_most_64_lines_or_about_256_kilobytes(session, monkeypatch):
    recorder = Recorder(SessionWriter(session))
    for _ in range(200):
        recorder.write()
    recorder.sink.head()
    monkeypatch.setattr(chain, "FINE_BYTES", 0)
    for _ in range(2500):
        recorder.write(text="x" * 200)
    recorder.close()
    blocks = [
        block for file in read_chains(session)[recorder.sink.writer].files.values() for block in file.blocks
    ]
    assert {block.kind for block in blocks} == {"lines", "bytes"}
    assert max(block.written.lines for block in blocks if block.kind == "lines") == 64
    sizes = [block.written.size_bytes for block in blocks if block.kind == "bytes"]
    assert 200_000 < max(sizes) <= chain.BLOCK_BYTES


def test_the_thread_covers_full_blocks_while_the_writer_goes_on(session, monkeypatch):
    monkeypatch.setattr(chain, "_INTERVAL_S", 0.01)
    recorder = Recorder(SessionWriter(session))
    for _ in range(200):
        recorder.write()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        known = read_chains(session).get(recorder.sink.writer)
        if known is not None and len(known.leaves) == 3:
            break
        time.sleep(0.01)
    assert [block.written.lines for file in known.files.values() for block in file.blocks] == [64, 64, 64]
    recorder.close()
    assert len(read_chains(session)[recorder.sink.writer].leaves) == 5


def test_lines_that_are_written_during_a_pass_wait_until_they_fill_a_block(session, monkeypatch):
    monkeypatch.setattr(chain, "_INTERVAL_S", 3600.0)
    recorder, real_open = Recorder(SessionWriter(session)), chain.open_file
    for _ in range(100):
        recorder.write()

    def writing(path):
        opened = real_open(path)
        for _ in range(30):
            recorder.write()
        return opened

    monkeypatch.setattr(chain, "open_file", writing)
    recorder.sink._state.chain._pass(everything=False, background=True)
    monkeypatch.undo()
    known = read_chains(session)[recorder.sink.writer]
    assert [block.written.lines for file in known.files.values() for block in file.blocks] == [64]
    recorder.close()
    assert covered(session, recorder.sink.writer)


@pytest.mark.process
def test_a_pass_over_small_files_takes_no_more_memory_than_they_hold(session):
    made = LineChain(session, "writer", ErrorCounters(), lambda _blocks, _root: None)
    for number in range(20):
        path = session / "agents" / f"agent_{number}.log"
        path.write_bytes(b"".join(make_line("writer", number * 30 + k) for k in range(1, 31)))
        status = path.stat()
        made.began((status.st_dev, status.st_ino), str(path))

    def cover():
        made.cover()
        made.close(ended=False)

    _, most_bytes = traced_bytes(cover)
    assert sum(len(file.blocks) for file in read_chains(session)["writer"].files.values()) == 20
    assert most_bytes < chain._READ_BYTES // 4


def test_the_board_keeps_the_head_and_log_closed_may_tell_it(session):
    recorder = Recorder(SessionWriter(session))
    recorder.write()
    first = recorder.sink.head()
    recorder.write()
    second = recorder.sink.head()
    board = read_board(boards_dir(session) / f"{recorder.sink.writer}.board")
    assert {head_text(recorder.sink.writer, *head) for head in board.heads} == {first, second}
    assert second == read_chains(session)[recorder.sink.writer].head()
    recorder.close()


def test_a_torn_line_is_covered_when_it_has_an_end(session):
    recorder = Recorder(SessionWriter(session))
    recorder.write()
    path = session / "agents" / "creator_001.log"
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"timestamp":"20')
    recorder.sink.head()
    assert sum(map(len, covered(session, recorder.sink.writer))) == whole
    with path.open("ab") as file:
        file.write(b"\n")
    recorder.sink.head()
    assert sum(map(len, covered(session, recorder.sink.writer))) == path.stat().st_size
    recorder.close()


def test_a_full_disk_delays_the_chain_and_is_counted(session, monkeypatch):
    recorder = Recorder(SessionWriter(session))
    for _ in range(300):
        recorder.write()
    real, chance = os.write, random.Random(1)
    target = chain_file(session, recorder.sink.writer)

    def refuses(fd, data):
        if os.path.lexists(target) and os.path.samestat(os.fstat(fd), target.stat()):
            if chance.random() < 0.5:
                raise OSError(errno.ENOSPC, "full")
            return real(fd, data[: max(len(data) // 3, 1)])
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuses)
        for _ in range(12):
            recorder.sink.head()
            recorder.write()
    assert recorder.sink.counters()["chain:ENOSPC"] > 0
    recorder.close()
    known = read_chains(session)[recorder.sink.writer]
    assert known.problem is None
    assert b"".join(covered(session, recorder.sink.writer)).count(b"\n") == 313


def test_whatever_goes_wrong_in_the_chain_is_counted_and_goes_no_further(session, monkeypatch):
    recorder = Recorder(SessionWriter(session))
    recorder.write()
    monkeypatch.setattr(chain, "leaf_of_lines", lambda *_: 1 / 0)
    recorder.close()
    assert recorder.sink.counters()["chain:ZeroDivisionError"] >= 1


def test_a_removed_directory_costs_nothing_but_the_chain(session):
    import shutil

    recorder = Recorder(SessionWriter(session))
    recorder.write()
    shutil.rmtree(session)
    recorder.sink.close(clean=False)
    assert not session.exists()


def test_a_damaged_chain_reads_up_to_the_damage(session):
    recorder = Recorder(SessionWriter(session))
    for _ in range(400):
        recorder.write()
    recorder.close()
    path = chain_file(session, recorder.sink.writer)
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (b"{\n", b"[]\n", b"3\n", orjson.dumps({"n": 2}) + b"\n", lines[3], b"\xff\n"):
        path.write_bytes(b"".join([*lines[:2], bad, *lines[3:]]))
        known = read_chains(session)[recorder.sink.writer]
        assert len(known.leaves) == 2 and "line 3" in known.problem
    path.write_bytes(b"".join(lines[:-1])[:-20])
    assert len(read_chains(session)[recorder.sink.writer].leaves) == len(lines) - 2


def test_an_inode_that_is_used_again_begins_anew(session, tmp_path):
    told = []
    made = LineChain(session, "a" * 8, None, lambda *head: told.append(head))
    path = session / "agents" / "one.log"
    path.write_bytes(b"first\n")
    status = path.stat()
    inode = (status.st_dev, status.st_ino)
    made.began(inode, str(path))
    made.cover()
    with path.open("r+b") as file:
        file.write(b"other\n")
    made.began(inode, str(path))
    made.cover()
    made.close(ended=False)
    assert told[-1][0] == 2
    assert [len(file.blocks) for file in read_chains(session)["a" * 8].files.values()] == [1, 1]


def test_a_writer_that_could_not_read_a_file_does_not_say_that_everything_is_covered(session, monkeypatch):
    recorder = Recorder(SessionWriter(session))
    for number in range(30):
        recorder.write(f"agent_{number % 3}")
    real = chain.open_file

    def refuses(path):
        if path.endswith("agent_1.log"):
            raise OSError(errno.EIO, "broken")
        return real(path)

    monkeypatch.setattr(chain, "open_file", refuses)
    recorder.close()
    assert recorder.sink.counters()["chain:EIO"] == 2, "it is tried once more"
    monkeypatch.undo()
    assert not read_chains(session)[recorder.sink.writer].ended


def test_a_line_that_was_written_aside_is_covered(session):
    recorder = Recorder(SessionWriter(session))
    recorder.write()
    files = recorder.sink._state.files
    files.busy = True
    assert recorder.write("late") > 0
    files.busy = False
    recorder.close()
    assert (session / "agents" / f"late@{recorder.sink.writer}.log").exists()
    known = read_chains(session)[recorder.sink.writer]
    assert known.ended and {file.file for file in known.files.values()} >= {
        f"agents/late@{recorder.sink.writer}.log"
    }
    assert sum(block.written.lines for file in known.files.values() for block in file.blocks) == 4
