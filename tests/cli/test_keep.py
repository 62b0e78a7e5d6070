"""The commands `recover`, `verify` and `prune`, as they are typed."""

import json
import os
import shutil

import pytest

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.cli.main import main
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader
from Agent.utils import LearningLogger


@pytest.fixture
def root(recorded, tmp_path):
    """A copy of the recorded session that may be changed."""
    shutil.copytree(recorded.root, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_a_whole_record_is_proven_sound(ask, recorded):
    done = ask("verify")
    assert done.returncode == 0
    assert "is sound" in done.stdout and "closed" in done.stdout
    answer = json.loads(ask("verify", recorded.session_id, "--json").stdout)
    assert answer["sound"] and answer["taken"] == answer["read"] > 1000
    assert answer["lost"] == answer["unknown"] == answer["damaged_lines"] == 0
    assert answer["odd_payloads"] == []


def test_a_payload_that_is_not_as_its_kind_says_is_shown_and_the_session_stays_sound(run, tmp_path):
    setup_logging(trace_root=tmp_path / "odd")
    first, *_ = [LearningLogger().log_reward("a", reward) for reward in ("high", float("nan"), 1, "low")]
    shutdown_logging()
    done = run("verify", "--root", tmp_path / "odd")
    assert done.returncode == 0 and "is sound" in done.stdout
    assert f"reward.reward is str, not number: 2 events, the first is {first}" in done.stderr
    answer = json.loads(run("verify", "--root", tmp_path / "odd", "--json").stdout)
    problem = {"problem": "reward.reward is str, not number", "events": 2, "first": first}
    assert answer["sound"] and answer["odd_payloads"] == [problem]


def test_a_session_is_verified_by_its_path_and_by_one_of_its_agents(run, root):
    session = list_sessions(root)[-1].path
    by_path = run("verify", session, "--json")
    by_agent = run("verify", "last/somebody", "--root", root, "--json")
    assert by_path.returncode == by_agent.returncode == 0
    assert json.loads(by_path.stdout)["session_id"] == json.loads(by_agent.stdout)["session_id"]


def test_a_lost_file_makes_the_answer_negative(run, root):
    session = list_sessions(root)[-1].path
    gone = max((session / "agents").iterdir(), key=lambda path: path.stat().st_size)
    events = gone.read_bytes().count(b"\n")
    gone.unlink()
    done = run("verify", "--root", root)
    assert done.returncode == 1
    assert f"not sound: {events:,} lost" in done.stdout
    answer = json.loads(run("verify", "--root", root, "--json").stdout)
    assert (answer["sound"], answer["lost"]) == (False, events)


@pytest.mark.parametrize("kept", [(), ("session.json",), ("trace_summary.json",)])
def test_a_session_whose_files_were_all_emptied_is_not_sound(run, root, kept):
    for path in list_sessions(root)[-1].path.rglob("*"):
        if path.is_file() and path.name not in kept:
            path.write_bytes(b"")
    done = run("verify", "--root", root)
    assert done.returncode == 1
    assert "not sound" in done.stdout and "cannot be read" in done.stdout
    answer = json.loads(run("verify", "--root", root, "--json").stdout)
    assert answer["damaged_files"] and not answer["sound"]


def _flipped(part):
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 255
    data[len(data) // 2] ^= 255
    part.write_bytes(data)


def _linked(part):
    part.unlink()
    part.symlink_to("/etc/passwd")


def _piped(part):
    part.unlink()
    os.mkfifo(part)


_DAMAGES = {
    "flipped": (_flipped, "differs from what was sealed"),
    "replaced": (
        lambda part: part.write_bytes(b"PAR1" + bytes(999) + b"PAR1"),
        "differs from what was sealed",
    ),
    "missing": (lambda part: part.unlink(), "missing"),
    "emptied": (lambda part: part.write_bytes(b""), "empty"),
    "linked": (_linked, "a symbolic link, which is not followed"),
    "piped": (_piped, "not a plain file"),
    "undescribed": (lambda part: part.with_suffix(".json").write_bytes(b"{"), "cannot be read"),
}


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(("damage", "told"), _DAMAGES.values(), ids=_DAMAGES)
def test_a_damaged_part_of_the_archive_is_named_with_a_remedy_by_every_command(run, root, damage, told):
    assert run("seal", "--remove", "--root", root).returncode == 0
    session = list_sessions(root)[-1].path
    damage(session / "archive" / "part-000001.parquet")
    done = run("verify", "--root", root)
    assert done.returncode == 1
    assert (
        "archive/part-000001." in done.stdout
        and told in done.stdout
        and "restore it from a copy" in done.stderr
    )
    assert not json.loads(run("verify", "--root", root, "--json").stdout)["sound"]
    for command in (
        ("analyze",),
        ("sql", "SELECT * FROM events"),
        ("seal", "last", "--restore"),
        ("errors",),
    ):
        done = run(*command, "--root", root)
        if damage is _flipped and done.returncode == 0:
            continue  # these bytes mean nothing to the question
        assert done.returncode == 3, command
        assert "archive" in done.stderr and "restore it from a copy" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("put", "told"), [(_linked, "a symbolic link, which is not followed"), (_piped, "not a plain file")]
)
def test_what_took_the_place_of_a_log_file_is_named_and_never_followed(run, root, tmp_path, put, told):
    agents = list_sessions(root)[-1].path / "agents"
    agent = min(path.stem for path in agents.glob("creator_*.log"))
    file = agents / f"{agent}.log"
    put(file)
    for command, remedy in {
        ("export", "bundle", "last", tmp_path / "bundle.zip"): "put the recorded file back",
        ("erase", "--agent", agent, "--yes"): "put the recorded file back",
        ("journey", agent): "agent-trace verify",
        ("state", agent, "--at", "tick:1"): "agent-trace verify",
    }.items():
        done = run(*command, "--root", root)
        assert done.returncode == 3, command
        assert told in done.stderr and str(file) in done.stderr and remedy in done.stderr, command
    assert told in run("verify", "--root", root).stdout


def test_a_session_whose_archive_was_removed_cannot_be_restored(run, root):
    assert run("seal", "--remove", "--root", root).returncode == 0
    shutil.rmtree(list_sessions(root)[-1].path / "archive")
    done = run("seal", "last", "--restore", "--root", root)
    assert done.returncode == 3 and "restore its archive/ from a copy" in done.stderr


def test_calls_that_could_not_be_recorded_are_not_called_none_lost(run, trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("a").log_action("before")
    shutil.rmtree(trace_root)
    while AgentLogger("a").log_action("lost"):
        pass
    assert AgentLogger("a").log_action("after")
    shutdown_logging()
    done = run("verify", "--root", trace_root)
    assert done.returncode == 0
    assert "could not be written: the session's directory was removed" in done.stdout
    assert "never written" in done.stdout and "none lost" not in done.stdout


def test_a_damaged_line_makes_the_answer_negative_and_is_its_writers(run, root):
    session = list_sessions(root)[-1].path
    path = max((session / "agents").iterdir(), key=lambda path: path.stat().st_size)
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:-5]
    path.write_bytes(b"\n".join(lines))
    done = run("verify", "--root", root, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    writer = lines[1].partition(b'"id":"')[2][:8].decode()
    (row,) = [row for row in answer["writers"] if row["writer"] == writer]
    assert (row["damaged_lines"], row["lost"]) == (1, 1)


def test_recover_has_nothing_to_do_where_a_session_ended_well(run, root):
    done = run("recover", "--root", root)
    assert done.returncode == 0
    assert "nothing to do, nothing lost" in done.stdout


@pytest.mark.further
def test_recover_ends_a_torn_file_and_says_so(run, root):
    session = list_sessions(root)[-1].path
    path = session / "system.log"
    path.write_bytes(path.read_bytes()[:-30])
    done = run("recover", "--root", root, "--json")
    assert done.returncode == 0
    (answer,) = json.loads(done.stdout)["sessions"]
    assert answer["changed"] and answer["torn_tails"][0]["file"] == "system.log"
    shown = run("recover", "--all", "--root", root)
    assert "nothing to do" in shown.stdout
    assert run("verify", "--root", root, "--json").stdout.count('"torn_tails": 1') == 2


def test_recover_makes_the_category_files_anew(run, root):
    before = (root / "errors" / "errors.log").read_bytes()
    shutil.rmtree(root / "errors")
    done = run("recover", "--mirrors", "--root", root)
    assert done.returncode == 0 and "rebuilt" in done.stdout
    assert sorted(before.split()) == sorted((root / "errors" / "errors.log").read_bytes().split())


def test_prune_says_what_goes_and_then_removes_it(run, root):
    (name,) = [ref.session_id for ref in list_sessions(root)]
    told = run("prune", "--keep-sessions", "0", "--dry-run", "--root", root)
    assert f"would remove {name}" in told.stdout and list_sessions(root)
    done = run("prune", "--keep-sessions", "0", "--root", root)
    assert (done.returncode, f"removed {name}" in done.stdout) == (0, True)
    assert list_sessions(root) == []


@pytest.mark.further
def test_sessions_that_ended_long_enough_ago_become_parquet_and_answer_as_before(run, root):
    session = list_sessions(root)[-1].path
    questions = [("errors", "--json"), ("sql", "SELECT count(*) AS n FROM events", "--json")]
    before = [run(*question, "--root", root).stdout for question in questions]
    kept = run("seal", "--all", "--remove", "--keep-plain-days", "30", "--root", root)
    assert (kept.returncode, "no session ended more than 30 days ago" in kept.stderr) == (0, True)
    assert not (session / "archive").exists()
    stored = json.loads((session / "session.json").read_bytes())
    (session / "session.json").write_text(json.dumps(stored | {"ended_at": "2026-01-01T00:00:00.000000Z"}))
    done = run("seal", "--all", "--remove", "--keep-plain-days", "30", "--root", root)
    assert (done.returncode, "JSON files removed" in done.stdout) == (0, True)
    assert [run(*question, "--root", root).stdout for question in questions] == before
    assert run("seal", "--keep-plain-days", "30", "--root", root).returncode == 2


def test_prune_as_data(run, root):
    answer = json.loads(
        run("prune", "--older-than", "4w", "--max-bytes", "1.5GiB", "-n", "--json", "--root", root).stdout
    )
    assert (answer["sessions"], answer["kept"], answer["dry_run"]) == ([], 1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "prune needs a policy"),
        (("--older-than", "soon"), "'soon' is not an age, write 12h, 30d or 4w"),
        (("--max-bytes", "2XB"), "'2XB' is not a size, write 500MB or 2GB"),
        (("--keep-sessions", "-1"), "-1"),
    ],
)
def test_a_mistaken_policy_is_one_line(run, root, arguments, said):
    done = run("prune", *arguments, "--root", root)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_no_session_of_that_name_is_one_line(ask):
    for command in ("verify", "recover"):
        done = ask(command, "20000101")
        assert done.returncode == 3
        assert "no session '20000101'" in done.stderr and done.stderr.count("\n") == 1


def test_an_event_that_was_never_recorded_is_in_no_block(ask):
    done = ask("prove", "zzzzzzzz-1")
    assert done.returncode == 3 and "no block covers zzzzzzzz-1" in done.stderr


def test_where_nothing_is_recorded_there_is_nothing_to_recover(run, tmp_path):
    done = run("recover", "--all", AGENT_TRACE_ROOT=str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (0, "") and "no session was recorded" in done.stderr


@pytest.fixture
def three(trace_root):
    """Three sessions of one event."""
    made = []
    for _ in range(3):
        made.append(setup_logging(trace_root=trace_root).path)
        AgentLogger("a").log_action("x")
        shutdown_logging()
    return made


def test_recover_all_goes_on_behind_a_session_that_is_empty_or_pruned_meanwhile(
    three, trace_root, monkeypatch, capsys
):
    for left in three[0].iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    (three[0] / "agents").mkdir()

    def pruned_under(session):
        found = TreeReader(session)
        if session == three[1]:
            shutil.rmtree(session)
        return found

    monkeypatch.setattr("Agent.archive.recover.open_reader", pruned_under)
    assert main(["recover", "--all", "--json", "--root", str(trace_root)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [each["path"] for each in answer["sessions"]] == [str(three[2])]
    assert [each["session_id"] for each in answer["passed_over"]] == [
        path.name.removeprefix("session_") for path in three[:2]
    ]
    assert list(three[0].rglob("*")) == [three[0] / "agents"]
    assert not three[1].exists()


def test_recover_names_what_stands_in_the_place_of_a_directory_and_goes_on_with_the_others(
    three, trace_root, capsys
):
    state = three[1] / ".state"
    shutil.rmtree(state)
    state.symlink_to(".state")
    assert main(["recover", str(three[1]), "--root", str(trace_root)]) == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"({state}); remove or rename it" in told
    assert main(["recover", "--all", "--root", str(trace_root)]) == 3
    assert three[2].name.removeprefix("session_") in capsys.readouterr().out
    state.unlink()
    assert main(["recover", "--all", "--root", str(trace_root)]) == 0
    assert state.is_dir()


def test_old_sessions_and_runs_of_a_database_are_deleted(run, tmp_path):
    from Agent.export import RunMessage
    from Agent.store import RunFilter, open_store

    url = str(tmp_path / "service.db")
    with open_store(url) as store:
        project = store.find_project("default")
        old, new = 1_600_000_000_000_000, 4_000_000_000_000_000
        runs = [RunMessage("r-old", started_us=old, ended_us=old), RunMessage("r-new", started_us=new)]
        store.ingest(project, runs=runs)
    prune = ("prune", "--database", url, "--older-than", "90d")
    told = run(*prune, "--dry-run")
    assert told.stdout == "0 sessions, 1 run and 0 events would be deleted\n", told.stderr
    done = json.loads(run(*prune, "--json").stdout)
    assert (done["runs"], done["sessions"], done["dry_run"]) == (1, 0, False)
    with open_store(url, role="query") as store:
        assert [each["run_id"] for each in store.list_runs(project, RunFilter()).items] == ["r-new"]
    assert run("prune", "--database", url).returncode == 2
    assert run(*prune, "--project", "nothing").returncode == 3


@pytest.mark.further
@pytest.mark.process
def test_verify_shows_the_killed_and_damaged_of_many_writers_and_the_sums_of_the_others(run, tmp_path):
    setup_logging(trace_root=tmp_path / "many")
    AgentLogger("first", "r").log_action("x", {})
    for number in range(24):
        pid = os.fork()
        if not pid:
            AgentLogger(f"a{number}", "r").log_action("x", {})
            if number % 12:
                shutdown_logging()
            os._exit(0)
        os.waitpid(pid, 0)
    shutdown_logging()
    shown = run("verify", "--root", tmp_path / "many").stdout
    assert len(shown.splitlines()) < 32 and shown.count("killed") == 2
    others = next(line for line in shown.splitlines() if "5 others" in line)
    assert others.split()[4:] == ["15", "15", *["0"] * 6]
    assert "20 of 25 writers shown" in run("verify", "--root", tmp_path / "many").stderr
    everything = run("verify", "--root", tmp_path / "many", "--all").stdout
    assert everything.count("closed") == 23 and "others" not in everything
    assert len(json.loads(run("verify", "--root", tmp_path / "many", "--json").stdout)["writers"]) == 25
