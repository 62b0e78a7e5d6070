"""A replay that would write into files of the user's names them, and refuses where no writes are asked for."""

from pathlib import Path

from Agent.replay.worker import jobs

WRITER = """
import logging, os, pathlib, sqlite3
HERE = pathlib.Path(__file__).parent
open(HERE / "at_import.txt", "a").close()

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): self.n = 0
    @trace_agent_action
    def act(self):
        self.n += 1
        with (HERE / "rows.csv").open("a") as rows: rows.write("x")
        with open(HERE / "rows.csv") as read_only: read_only.read()
        with open(HERE / "state.bin", "r+b") as both: both.write(b"x")
        os.truncate(HERE / "cut.txt", 0)
        (HERE / "new.txt").write_text("mine"); (HERE / "new.txt").write_text("again"); os.remove(HERE / "new.txt")
        open(os.devnull, "w").close()
        sqlite3.connect(HERE / "base.db").close(); sqlite3.connect(":memory:").close()
        return self.n

def build(spec): return Agent()
def main(): Agent().act()
"""
FILES = ("at_import.txt", "rows.csv", "state.bin", "cut.txt", "base.db")


def written(toy):
    for name in FILES:
        (toy.directory / name).write_bytes(b"kept")
    toy.record(WRITER)
    for name in FILES:
        (toy.directory / name).write_bytes(b"kept")


def test_files_that_were_there_and_are_opened_for_writing_are_named_with_their_places(toy):
    written(toy)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    opened = report.outcome.opened_for_writing
    assert [Path(each.split()[0]).name for each in opened] == list(FILES)
    assert all(f"({toy.name}.py:" in each for each in opened)
    assert "Agent.act" in opened[1] and "cut.txt cut by" in opened[3]


def test_writes_are_refused_where_none_are_asked_for(toy, monkeypatch):
    written(toy)
    toy.change('open(HERE / "at_import.txt", "a").close()\n', "")
    in_child = jobs.run_module
    monkeypatch.setattr(
        jobs,
        "run_module",
        lambda name, request, *rest: in_child(name, {**request, "no_writes": True}, *rest),
    )
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert any("--no-writes refused" in reason and "rows.csv" in reason for reason in report.reasons)
    assert (toy.directory / "rows.csv").read_bytes() == b"kept"
