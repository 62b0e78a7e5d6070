"""The pytest fixture `golden_trace`, in test runs of their own as a user starts them."""

import os
import shutil
import sys
import tomllib
from importlib.metadata import entry_points

import pytest
from support.processes import REPOSITORY, run_python

from Agent.replay.golden.adding import write_test
from Agent.replay.golden.trace import list_goldens

pytestmark = pytest.mark.integration

pytest_plugins = ["pytester"]

SHOP = """
from Agent.utils import trace_agent_action

class Till:
    def __init__(self):
        self.agent_id, self.agent_role = "till", "till"
        self.coins = 0

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount
        return {"coins": self.coins}

def build(spec):
    return Till()
"""
RECORD = """
import sys
from pathlib import Path
from Agent import setup_logging, shutdown_logging
from Agent.replay import add_golden
import shop

setup_logging(trace_root="trace")
till = shop.Till()
for amount in (1, 2, 3):
    till.pay(amount)
shutdown_logging()
assert add_golden("last/till", "shop:build", "trace").is_kept
"""
CHANGED = SHOP.replace('{"coins": self.coins}', '{"coins": self.coins, "paid": amount}')
CHANCE = SHOP.replace("self.coins += amount", "self.coins += amount + 0 * __import__('random').randint(1, 2)")
TEST = "def test_till(golden_trace):\n    golden_trace('till')\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A project with a golden trace."""
    place = tmp_path_factory.mktemp("project")
    (place / "shop.py").write_text(SHOP)
    # added in its own directory, as a user does it
    done = run_python(
        "-c", RECORD, cwd=place, HOME=str(place), AGENT_TRACE_SESSION="", AGENT_TRACE_ROOT="trace"
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def project(pytester, kept, monkeypatch):
    """That project as pytester's own."""
    # a reporter of snapshots says nothing in a process of pytest-xdist
    for name in (
        "CI",
        "AGENT_TRACE_ROOT",
        "PYTEST_ADDOPTS",
        "PYTEST_XDIST_WORKER",
        "PYTEST_XDIST_WORKER_COUNT",
    ):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(kept / "tests", pytester.path / "tests")
    pytester.makepyfile(shop=SHOP)
    pytester.makeini("[pytest]\npythonpath = .\n")
    (pytester.path / "tests" / "test_till.py").write_text(TEST)
    return pytester


def driven(project, *arguments):
    plugins = [] if _is_installed() else ["-p", "Agent.testing.pytest_plugin"]
    return project.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", *plugins, *arguments)


def _is_installed():
    return any(point.value == "Agent.testing.pytest_plugin" for point in entry_points(group="pytest11"))


def test_the_package_declares_the_plugin_and_what_it_needs():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"agent_trace": "Agent.testing.pytest_plugin"}
    assert any(need.startswith("syrupy") for need in project["optional-dependencies"]["golden"])


def test_a_test_passes_while_the_code_does_what_was_recorded(project):
    done = driven(project)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*1 snapshot passed*"])


@pytest.mark.parametrize("arguments", [(), ("tests",), ("tests/test_till.py",)])
def test_the_pytest_command_finds_the_code_of_a_project_without_a_configuration(project, arguments):
    (project.path / "tox.ini").unlink()
    plugins = () if _is_installed() else ("-p", "Agent.testing.pytest_plugin")
    # -P leaves the current directory off the path, as the command `pytest` does and `python -m pytest` does not
    done = project.run(sys.executable, "-P", "-m", "pytest", "-p", "no:randomly", *plugins, *arguments)
    done.assert_outcomes(passed=1)


def test_golden_traces_in_a_directory_of_another_name_are_found_by_the_test_that_is_written(project):
    (project.path / "tests" / "golden_traces").rename(project.path / "goldens")
    (project.path / "tests" / "test_till.py").unlink()
    golden = list_goldens(project.path / "goldens")[0]
    for name in ("test_beside.py", "tests/deeper/test_below.py"):
        test = write_test(golden, project.path / name)
        assert f'directory="{os.path.relpath(project.path / "goldens", test.parent)}"' in test.read_text()
    driven(project).assert_outcomes(passed=2)


def test_a_test_fails_with_the_first_difference_and_what_can_be_done(project):
    project.makepyfile(shop=CHANGED)
    done = driven(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "golden trace till: the code does not do what was recorded",
            "*first difference: step 1, pay of till*",
            "*result[[]'paid']",
            "*recorded: no value",
            "*replayed: 1",
            "*pytest --snapshot-update keeps the new behaviour",
            "*agent-trace golden shrink till",
        ]
    )


def test_an_accepted_change_passes_and_what_is_before_it_still_counts(project):
    later = SHOP.replace(
        '{"coins": self.coins}', '{"coins": self.coins + (self.coins > 2)}'
    )  # from step 2 on
    project.makepyfile(shop=later)
    driven(project).stdout.fnmatch_lines(["*agent-trace golden accept till 2 --reason*"])
    words = ["golden", "accept", "till", "2", "--reason", "a coin as a present"]
    done = run_python("-m", "Agent", *words, cwd=project.path)
    assert done.returncode == 0, done.stderr
    assert "new behaviour from step 2 on" in done.stdout
    driven(project).assert_outcomes(passed=1)
    project.makepyfile(shop=later.replace("self.coins > 2", "self.coins > 0"))
    done = driven(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*before step 2, where a change was accepted*"])


def test_an_update_flag_keeps_what_the_code_does_now(project):
    project.makepyfile(shop=CHANGED)
    driven(project, "--snapshot-update").assert_outcomes(passed=1)
    driven(project).assert_outcomes(passed=1)
    project.makepyfile(shop=SHOP)
    driven(project).assert_outcomes(failed=1)


def test_a_replay_that_proved_nothing_fails_and_no_update_changes_that(project):
    project.makepyfile(shop=CHANCE)
    before = {path: path.read_bytes() for path in (project.path / "tests").rglob("till/*")}
    for arguments in ([], ["--snapshot-update"]):
        done = driven(project, *arguments)
        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines(["UNVERIFIED till*", "*because random read by Till.pay*"])
    assert {path: path.read_bytes() for path in (project.path / "tests").rglob("till/*")} == before


def test_a_missing_golden_trace_is_skipped_with_the_command_that_adds_it_and_fails_in_ci(
    project, monkeypatch
):
    (project.path / "tests" / "test_till.py").write_text(TEST.replace("'till'", "'tils'"))
    done = driven(project, "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*did you mean till?*agent-trace golden add RUN --name tils*"])
    monkeypatch.setenv("CI", "true")
    done = driven(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*agent-trace golden add RUN --name tils*in CI*is a failure*"])


def test_an_update_removes_no_golden_trace_that_no_test_asked_for(project):
    shutil.copytree(project.path / "tests/golden_traces/till", project.path / "tests/golden_traces/other")
    driven(project, "--snapshot-update").assert_outcomes(passed=1)
    assert sorted(path.name for path in (project.path / "tests/golden_traces").iterdir()) == ["other", "till"]
    assert len(list((project.path / "tests/golden_traces/other").iterdir())) == 3


def test_an_expectation_that_somebody_changed_by_hand_fails(project):
    expected = project.path / "tests/golden_traces/till/expected.txt"
    expected.write_text(expected.read_text().replace("actions: 3", "actions: 4"))
    done = driven(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*does not match the recording*", "actions: 3"])


def test_without_syrupy_only_a_test_that_asks_for_the_fixture_fails(project):
    project.makepyfile(test_other="def test_other():\n    pass\n")
    done = driven(project, "-p", "no:syrupy")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["golden_trace needs syrupy; pip install 'agent-trace[golden]'"])


def test_loading_the_plugin_loads_no_replay_no_engine_and_no_syrupy(tmp_path):
    script = (
        "import sys, Agent.testing.pytest_plugin; "
        "print([name for name in ('Agent.replay', 'Agent.testing.canary', 'Agent.archive', 'duckdb', 'rich', "
        "'syrupy', 'zstandard') if name in sys.modules])"
    )
    done = run_python("-c", script, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
