"""Where mirrors refuse to write, and that every line of one parses."""

from __future__ import annotations

import json
import os

import pytest

from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.tree.write.mirror import Mirrors

CATEGORIES = {"agents", "learning", "interactions", "performance", "events", "system", "errors"}


def written(root, counts):
    mirrors = Mirrors(root)
    mirrors.add("errors", b'{"n":1}\n', True)
    mirrors.close()
    counts.update(mirrors.counts.snapshot())
    path = root / "errors" / "errors.jsonl"
    return path.read_bytes() if path.exists() else b""


def test_a_linked_directory_is_refused_and_counted(tmp_path):
    elsewhere, root, counts = tmp_path / "elsewhere", tmp_path / "root", {}
    elsewhere.mkdir()
    (elsewhere / "errors.jsonl").write_bytes(b"precious\n")
    root.mkdir()
    (root / "errors").symlink_to(elsewhere)
    written(root, counts)
    assert (elsewhere / "errors.jsonl").read_bytes() == b"precious\n"
    assert counts == {"mirror:ELOOP": 1}


@pytest.mark.parametrize("where", ["", "errors"])
@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o777, True), (0o1777, False), (0o755, False), (0o775, False)]
)
def test_a_directory_in_which_others_may_replace_files_is_refused_unless_it_is_sticky(
    tmp_path, where, mode, is_refused
):
    root, counts = tmp_path / "root", {}
    (root / "errors").mkdir(parents=True)
    (root / where).chmod(mode)
    data = written(root, counts)
    assert (data == b"", bool(counts)) == (is_refused, is_refused)
    if is_refused:
        assert counts == {"mirror:EPERM": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_root_of_another_user_is_recorded_into_with_one_warning(trace_root, capfd):
    trace_root.mkdir()
    os.chown(trace_root, 65534, 65534)
    trace_root.chmod(0o1777)
    (trace_root / "system").mkdir()
    os.chown(trace_root / "system", 65534, 65534)
    setup_logging(trace_root=trace_root)
    assert AgentLogger("a", "r").log_action("x")
    AgentLogger("a", "r").error("x")
    shutdown_logging()
    assert capfd.readouterr().err.count("belongs to another user") == 1
    # what stands in a directory that is another's is his to replace
    assert not list((trace_root / "system").iterdir())
    assert (trace_root / "errors" / "errors.jsonl").read_bytes()


def test_all_category_directories_stand_after_setup_and_every_line_of_a_mirror_parses(trace_root):
    setup_logging(trace_root=trace_root)
    assert {path.name for path in trace_root.iterdir()} >= CATEGORIES
    logger = AgentLogger("a", "r")
    for n in range(3):
        logger.log_action("x", {"n": n})
        logger.error("bad")
    shutdown_logging()
    assert not health()["mirrors"]
    for path in (trace_root / "agents" / "agents.log", trace_root / "errors" / "errors.jsonl"):
        lines = path.read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert all(json.loads(line)["id"] for line in lines)
        assert len(lines) >= 3


def test_a_torn_piece_in_a_mirror_costs_its_own_line_alone(tmp_path):
    (tmp_path / "agents").mkdir()
    path = tmp_path / "agents" / "agents.log"
    path.write_bytes(b'{"torn":')
    mirrors = Mirrors(tmp_path)
    mirrors.add("agents", b'{"n":1}\n', True)
    mirrors.add("agents", b'{"n":2}\n', True)
    mirrors.close()
    assert path.read_bytes() == b'{"torn":\n{"n":1}\n{"n":2}\n'
