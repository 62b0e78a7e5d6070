"""`golden` and `replay --all` as a user types them: runs kept as tests, checked, made small; all history."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("one_user")

CHANGED = "Agent.demo.targets:changed_creator"


@pytest.fixture
def kept(ask):
    """A golden trace of one creator, in the directory in which commands run."""
    done = ask("golden", "add", "last/creator_001", "--name", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_run_is_added_checked_listed_and_removed(ask, kept, tmp_path):
    assert kept.stdout.startswith("IDENTICAL creator_001")
    assert "added tests/golden_traces/one" in kept.stdout
    assert '  def test_one(golden_trace):\n      golden_trace("one")\n' in kept.stdout
    assert "review it before you commit it" in kept.stderr
    assert sorted(path.name for path in (tmp_path / "tests/golden_traces/one").iterdir()) == [
        "expected.txt",
        "golden.json",
        "recording.zip",
    ]
    done = ask("golden", "check")
    assert (done.returncode, done.stdout) == (0, "IDENTICAL one\n1 of 1 golden trace passed\n")
    listed = ask("golden", "list").stdout.splitlines()
    assert listed[1].split()[:3] == ["one", "creator_001", "Agent.demo.targets:creator"]
    assert json.loads(ask("golden", "list", "--json").stdout)[0]["name"] == "one"
    assert ask("golden", "remove", "one").stdout == "removed tests/golden_traces/one\n"
    assert ask("golden", "list").stdout == ""


@pytest.mark.further
def test_a_run_is_added_with_a_test_of_it(ask, tmp_path):
    done = ask("golden", "add", "last/creator_001", "--name", "the one", "--test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; its test: tests/test_golden_the_one.py" in done.stdout
    assert 'golden_trace("the one")' in (tmp_path / "tests/test_golden_the_one.py").read_text()
    (tmp_path / "checks").mkdir()
    done = ask("golden", "add", "last/creator_001", "--name", "two", "--json", "--test", "checks/test_two.py")
    assert json.loads(done.stdout)["test"] == "checks/test_two.py"
    assert 'golden_trace("two")' in (tmp_path / "checks/test_two.py").read_text()


@pytest.mark.integration
def test_what_the_written_test_needs_is_named_where_it_is_missing(ask, monkeypatch):
    monkeypatch.setattr(
        "Agent.cli.commands.golden.find_spec", lambda name: None if name == "syrupy" else name
    )
    done = ask("golden", "add", "last/creator_001", "--name", "needing", "--test")
    assert (done.returncode, done.stderr.count("syrupy")) == (0, 1), done.stderr
    assert "its test needs syrupy: pip install 'agent-trace[golden]'" in done.stderr


@pytest.mark.integration
def test_a_failing_one_is_told_and_made_small_with_a_test_that_fails(ask, kept, tmp_path):
    done = ask("golden", "check", "one", "--target", CHANGED)
    assert done.returncode == 1
    assert done.stdout.startswith("DIVERGED one: creator_001")
    assert done.stdout.endswith("0 of 1 golden trace passed\n")
    answer = json.loads(ask("golden", "check", "--target", CHANGED, "--json").stdout)
    assert (answer["exit_code"], answer["golden_traces"][0]["passes"]) == (1, False)
    step = answer["golden_traces"][0]["divergence"]["step"]
    done = ask("golden", "shrink", "one", "--target", CHANGED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"one-shrunk: {step} of ")
    assert "\x1b" not in done.stdout
    test = (tmp_path / "tests/test_golden_one_shrunk.py").read_text()
    assert 'golden_trace("one-shrunk")' in test
    assert ask("golden", "check", "one-shrunk").returncode == 1


@pytest.mark.integration
def test_a_passing_one_says_what_the_factory_builds_differently(ask, kept, tmp_path):
    (tmp_path / "later.py").write_text(
        "from Agent.demo import targets\n\n"
        "def creator(spec):\n    one = targets.creator(spec)\n    one.followers = 7\n    return one\n"
    )
    done = ask("golden", "check", "--target", "later:creator")
    assert done.returncode == 0, done.stdout
    first, told, last = done.stdout.splitlines()
    assert (first, last) == ("IDENTICAL one", "1 of 1 golden trace passed")
    assert told.startswith("  creator_001: factory made followers=7, recorded ")


@pytest.mark.further
def test_what_the_code_does_not_do_is_not_added(ask, tmp_path):
    done = ask("golden", "add", "last/creator_001", "--target", CHANGED)
    assert (done.returncode, list((tmp_path / "tests" / "golden_traces").iterdir())) == (1, [])
    assert "not added" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["golden", "add", "last/nobody"], 3, "nobody"),
        (["golden", "add", "1999"], 3, "1999"),
        (["golden", "add", "last/creator_001", "--normalise", "uuids"], 2, "ids, times, order and paths"),
        (["golden", "add", "last/creator_001", "--normalise", "floats=x"], 2, "'x' is not a number"),
        (["golden", "check"], 3, "agent-trace golden add RUN makes one"),
        (["golden", "check", "nothing"], 3, "agent-trace golden add RUN --name nothing"),
        (["golden", "remove", "nothing"], 3, "no golden trace 'nothing'"),
        (["golden", "shrink", "nothing"], 3, "no golden trace 'nothing'"),
        (["golden", "update"], 2, "golden update --help"),
        (["replay"], 2, "give a RUN, or --all"),
        (["replay", "last", "--all"], 2, "--all takes no RUN"),
        (["replay", "last", "--workers", "2"], 2, "require --all"),
        (["replay", "--all", "--since", "tick:4"], 2, "not a tick"),
        (["replay", "--all", "--agent", "nobody*"], 3, "there is no run to replay"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(ask, arguments, code, says):
    done = ask(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert says in done.stderr


@pytest.mark.integration
def test_all_history_is_driven_with_one_report(ask, recorded):
    done = ask("replay", "--all", "--agent", "creator_00[12]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("IDENTICAL 2 runs: 2 IDENTICAL\n")
    done = ask("replay", "--all", "--agent", "creator_00[12]", "--target", CHANGED, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["exit_code"], answer["verdict"]) == (1, 1, "DIVERGED")
    assert [run["run"] for run in answer["runs"]] == [
        f"{recorded.session_id}/creator_001",
        f"{recorded.session_id}/creator_002",
    ]
