"""Golden traces in continuous integration: JUnit, Markdown, and the commit that changed the behaviour."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.processes import child_environment, run_python

pytestmark = pytest.mark.usefixtures("one_user")

CHANGED = "Agent.demo.targets:changed_creator"


@pytest.mark.further
def test_a_check_writes_junit_and_markdown(ask, tmp_path):
    for agent, name in (("creator_001", "one"), ("creator_002", "two | <b>")):
        assert ask("golden", "add", f"last/{agent}", "--name", name).returncode == 0
    files = ("--junit", "golden.xml", "--markdown", "golden.md")
    assert ask("golden", "check", *files).returncode == 0
    suite = ElementTree.parse(tmp_path / "golden.xml").getroot().find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2", "failures": "0", "errors": "0"
    }  # fmt: skip
    assert [case.get("name") for case in suite] == ["one", "two | <b>"]
    assert (tmp_path / "golden.md").read_text().startswith("### Golden traces: 2 of 2 passed\n")
    assert ask("golden", "check", *files, "--target", CHANGED).returncode == 1
    suite = ElementTree.parse(tmp_path / "golden.xml").getroot().find("testsuite")
    assert suite.get("failures") == "2"
    failure = suite[0].find("failure")
    assert failure.get("type") == "DIVERGED" and ", recorded " in failure.get("message")
    assert "creator_001" in failure.text
    told = (tmp_path / "golden.md").read_text()
    assert "| one | DIVERGED | step " in told
    assert "| two \\| &lt;b&gt; | DIVERGED |" in told and "<summary>two | &lt;b&gt;</summary>" in told


@pytest.mark.further
def test_what_cannot_be_checked_is_an_error_beside_the_others(ask, tmp_path):
    for agent, name in (("creator_001", "a | moved"), ("creator_002", "damaged"), ("creator_003", "same")):
        assert ask("golden", "add", f"last/{agent}", "--name", name).returncode == 0
    place = tmp_path / "tests" / "golden_traces"
    (moved,) = (path for path in place.glob("*/golden.json") if "moved" in path.parent.name)
    moved.write_text(moved.read_text().replace("Agent.demo.targets:creator", "Agent.demo.targets:gone"))
    (place / "damaged" / "golden.json").write_text("{")
    done = ask("golden", "check", "--junit", "golden.xml", "--markdown", "golden.md")
    assert done.returncode == 3 and done.stdout.endswith("1 of 3 golden traces passed\n")
    told = {line.partition(": ")[0] for line in done.stdout.splitlines()}
    assert {"NOT CHECKED a | moved", "NOT CHECKED damaged", "IDENTICAL same"} <= told
    suite = ElementTree.parse(tmp_path / "golden.xml").getroot().find("testsuite")
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": "3", "failures": "0", "errors": "2"}
    assert "no 'gone'" in suite[0].find("error").get("message")
    assert "| damaged | NOT CHECKED | the golden trace cannot be read" in (tmp_path / "golden.md").read_text()
    answer = json.loads(ask("golden", "check", "--json").stdout)
    assert [each["verdict"] for each in answer["golden_traces"]] == [None, None, "IDENTICAL"]
    assert ask("golden", "check", "--target", CHANGED).returncode == 1  # one differs: that goes first


SHOP = """
from Agent import trace_agent_action

class Clerk:
    agent_role = "clerk"

    def __init__(self):
        self.agent_id = "clerk"
        self.sold = 0

    @trace_agent_action
    def sell(self, amount):
        self.sold += amount
        return self.sold

def build(spec):
    return Clerk()
"""
RECORD = """
from shop import Clerk
clerk = Clerk()
for amount in (1, 2, 3):
    clerk.sell(amount)
"""


class Repository:
    """A repository of a small program whose golden trace is kept outside of it."""

    def __init__(self, place: Path) -> None:
        self.place = place / "code"
        (self.place / "src").mkdir(parents=True)
        self.golden = place / "golden"
        self("init", "--quiet", "-b", "main")

    def __call__(self, *arguments: str) -> str:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.place, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, subject: str, text: str, *more: str) -> str:
        (self.place / "src" / "shop.py").write_text(text)
        (self.place / "notes.txt").write_text("\n".join((subject, *more)))
        self("add", "-A")
        self("commit", "--quiet", "-m", subject)
        return self("rev-parse", "HEAD")

    def run(self, *arguments: str, **settings: str):
        return run_python("-P", "-m", "Agent", *arguments, cwd=self.place / "src", **settings)


@pytest.fixture
def repository(tmp_path, trace_root):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    made = Repository(tmp_path)
    made.first = made.commit("Sell", SHOP)
    assert run_python("-c", RECORD, cwd=made.place / "src", AGENT_TRACE_ROOT=str(trace_root)).returncode == 0
    done = made.run(
        "golden", "add", "last", "--target", "shop:build", "--name", "sales", "--dir", str(made.golden),
        "--root", str(trace_root),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made.commit("Comment", SHOP + "\n# a comment\n")
    made.commit("Break the import", "import nothing_of_this_name\n" + SHOP)
    made.commit("Mend the import", SHOP + "\n# mended\n")
    made.bad = made.commit("Count in dozens", SHOP.replace("+= amount", "+= 12 * amount"))
    made.commit("Another comment", SHOP.replace("+= amount", "+= 12 * amount") + "\n# more\n")
    return made


@pytest.mark.integration
@pytest.mark.process
def test_bisect_names_the_commit_and_the_first_field(repository):
    before = (
        repository("status", "--porcelain"),
        repository("rev-parse", "HEAD"),
        repository("worktree", "list"),
    )
    ends = ("--good", repository.first, "--dir", str(repository.golden))
    done = repository.run("golden", "bisect", "sales", *ends, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["commit"], found["subject"]) == (repository.bad, "Count in dozens")
    assert found["author"] == "Ann" and found["files"] == ["notes.txt", "src/shop.py"]
    assert "sell of clerk" in found["difference"] and "recorded 1, replayed 12" in found["difference"]
    assert found["field"] and found["checked"] <= 6
    # nothing of the caller's repository has changed
    assert before == (
        repository("status", "--porcelain"), repository("rev-parse", "HEAD"), repository("worktree", "list")
    )  # fmt: skip
    assert (
        "bisect" not in repository("branch", "--all") and not (repository.place / ".git/BISECT_LOG").exists()
    )


@pytest.mark.integration
def test_bisect_refuses_ends_that_do_not_fit(repository):
    place = ("--dir", str(repository.golden))
    done = repository.run("golden", "bisect", "sales", "--good", "HEAD", *place)
    assert done.returncode == 4 and "with HEAD the golden trace sales is bad, not good" in done.stderr
    done = repository.run("golden", "bisect", "sales", "--good", repository.first, "--bad", "HEAD~2", *place)
    assert done.returncode == 4 and "is good, not bad" in done.stderr
    done = repository.run("golden", "bisect", "sales", "--good", "nonsense", *place)
    assert done.returncode == 3 and "no commit 'nonsense'" in done.stderr


@pytest.mark.integration
def test_git_bisect_run_takes_the_command(repository):
    repository("bisect", "start", "HEAD", repository.first)
    command = [
        sys.executable,
        "-P",
        "-m",
        "Agent",
        "golden",
        "bisect",
        "sales",
        "--dir",
        str(repository.golden),
    ]
    done = subprocess.run(
        ["git", "bisect", "run", "sh", "-c", 'cd src && exec "$@"', "-", *command],
        cwd=repository.place, env=child_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"{repository.bad} is the first bad commit" in done.stdout, done.stdout + done.stderr
