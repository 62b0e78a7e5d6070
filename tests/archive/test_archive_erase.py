"""Erasing an agent, a run or a value: nothing of it is left anywhere, and everything else reads as before."""

import json
import os
import shutil
from pathlib import Path

import erase_kit as kit
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.processes import run_python
from support.session_files import session_directories

import Agent
from Agent import setup_logging, shutdown_logging
from Agent.archive.erase.erasing import erase, pending, plan_file, target_of, write_plan
from Agent.archive.erase.target import AGENT, Target
from Agent.archive.sealed.reader import open_reader
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify
from Agent.errors import NotErased, SessionInUse, SessionNotFound, UsageError
from Agent.flight import (
    LocalCheckpointStore,
    Recorder,
    find_run,
    list_runs,
    read_run,
    record_model_stream,
    record_tool,
)
from Agent.tree.read.follower import Follower
from Agent.tree.read.removal_logs import read_account
from Agent.tree.retention import write_cursor
from Agent.utils import AgentLogger


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded") / "trace"
    return root, kit.record(root)


@pytest.fixture
def root(recorded, tmp_path):
    shutil.copytree(recorded[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def sealed(root, how):
    if how != "live":
        for session in session_directories(root):
            seal(session, remove=how == "removed")


def assert_sound(root, erased):
    found = [verify(session) for session in session_directories(root)]
    assert all(each.sound for each in found)
    assert sum(each.erased for each in found) == erased
    assert sum(row.retired for each in found for row in each.writers) == erased


@pytest.mark.first_case
@pytest.mark.parametrize("how", ["live", "sealed", "removed"])
def test_no_form_of_a_value_is_left_and_all_else_reads_as_before(root, how):
    sealed(root, how)
    needles = kit.forms(kit.VALUE)
    assert len(kit.traces(root, needles)) > 20
    before, documents = kit.events(root), kit.documents(root)
    done = erase(root, target_of(match=kit.VALUE))
    assert done.proof.clean and done.proof.unpacked_files
    present = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert done.proof.files == len(present)
    assert kit.traces(root, needles) == []
    after = kit.events(root)
    assert after.items() <= before.items()
    assert len(before) - len(after) == done.events == 24
    gone = [json.loads(before[key]) for key in before.keys() - after.keys()]
    assert {event.get("type") or event["extra"]["event_type"] for event in gone} == {
        "agent_action", "artifact.saved", "error", "interaction", "log"
    }  # fmt: skip
    assert len(documents) == 24
    assert kit.documents(root).items() <= documents.items() and len(kit.documents(root)) == 20
    assert_sound(root, 24)
    assert not plan_file(root).exists() and not list(root.rglob("*.new"))


@pytest.mark.further
@pytest.mark.parametrize("how", ["live", "removed"])
def test_an_agent_goes_with_its_runs_checkpoints_and_artifacts(root, recorded, how):
    sealed(root, how)
    before, documents = kit.events(root), kit.documents(root)
    done = erase(root, target_of(agent="writer"))
    assert done.proof.clean
    after = kit.events(root)
    assert after.items() <= before.items()
    own = recorded[1]["run1"]
    for key, line in before.items():
        event = json.loads(line)
        agent = event.get("agent_id") or event.get("extra", {}).get("agent_id")
        goes = agent == "writer" or ("type" in event and event["run_id"] == own)
        assert (key in after) is not goes, line
    assert kit.traces(root, [b'"agent_id":"writer"']) == []
    assert not list(root.rglob("agents/writer*"))
    kept = {key: state for key, state in documents.items() if key[0] != own and key[2] != "writer"}
    assert kit.documents(root) == kept and kept
    assert not list(root.rglob(own))
    assert_sound(root, len(before) - len(after))


def test_a_run_goes_with_the_runs_begun_in_it_and_what_the_session_recorded_in_them(root, recorded):
    runs = recorded[1]
    before = kit.events(root)
    done = erase(root, target_of(run=runs["run0"]))
    assert done.proof.clean
    after = kit.events(root)
    for key, line in before.items():
        assert (key in after) is (json.loads(line).get("run_id") not in {runs["run0"], runs["inner0"]})
    assert {run.run_id for run in list_runs(root)} == {runs["run1"], runs["inner1"]}
    assert kit.traces(root, [f'"run_id":"{runs["run0"]}"'.encode()]) == []
    assert [link.name for link in (root / "runs").iterdir() if not link.exists()] == []
    assert_sound(root, len(before) - len(after))


def test_a_dry_run_says_the_same_and_changes_nothing(root):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    told = erase(root, target_of(match=kit.VALUE), dry_run=True)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    done = erase(root, target_of(match=kit.VALUE))
    assert [(each.events, each.artifacts, each.checkpoints) for each in told.sessions] == [
        (each.events, each.artifacts, each.checkpoints) for each in done.sessions
    ]
    assert told.proof is None and told.mirror_lines == done.mirror_lines > 20


def test_a_dry_run_tells_how_far_it_is(root):
    told = []
    erase(root, target_of(agent="a1"), dry_run=True, progress=lambda *step: told.append(step))
    assert [step for step, part in told if part == 0] == ["asking who records", "looking for runs", "looking"]


def test_lines_of_an_agents_runs_go_however_they_are_spaced():
    target = Target(AGENT, "a1", frozenset(f"run{number}" for number in range(5)))
    line = '{"timestamp":"2026-11-20T10:30:45.123456Z","id":"zzzzzzzz-1","schema_version":1,"type":"run.started",'
    for stored, goes in (('"run_id":"run3"', True), ('"run_id" : "run4"', True), ('"run_id":"run9"', False)):
        assert (target.judge(f"{line}{stored}}}".encode(), "s").kept is None) is goes, stored


def test_artifacts_that_share_their_bytes_all_go_and_others_stay(root, recorded):
    run_id = recorded[1]["run0"]
    erase(root, target_of(match=kit.VALUE))
    record = read_run(find_run(run_id, root))
    assert {each.path for each in record.artifacts} == {
        "steps/two.json", "notes/other.txt", "calls/" + record.model_calls[0].call_id + "/output.txt"
    }  # fmt: skip
    for artifact in record.artifacts:
        assert b"".join(record.read(artifact.ref))
    session = record.ref.session
    assert all(blob.stat().st_nlink > 1 for blob in (session / "blobs").rglob("*") if blob.is_file())


def test_what_only_a_mirror_still_holds_goes_too(root):
    for session in session_directories(root):
        shutil.rmtree(session)
    assert kit.traces(root, kit.forms(kit.VALUE))
    done = erase(root, target_of(match=kit.VALUE))
    assert done.proof.clean and done.mirror_lines == 14
    assert kit.traces(root, kit.forms(kit.VALUE)) == []
    assert (root / "errors" / "errors.log").exists() is False or b"LookupError" not in (
        root / "errors" / "errors.log"
    ).read_bytes()


def test_a_file_of_the_users_that_holds_it_is_named_and_left_alone(root):
    note = root / "notes.md"
    note.write_text(f"about {kit.VALUE}")
    done = erase(root, target_of(match=kit.VALUE))
    assert not done.proof.clean
    assert [left.file for left in done.proof.left] == ["notes.md"]
    assert note.exists() and not plan_file(root).exists()


def test_who_follows_reads_a_rewritten_file_from_its_beginning_and_misses_nothing(root):
    session = session_directories(root)[0]
    follower = Follower(session)
    follower.poll()
    write_cursor(session, "shipper", follower.cursor())
    follower.close()
    erase(root, target_of(match=kit.VALUE))
    stored = json.loads(next((session / ".state" / "cursors").iterdir()).read_bytes())
    resumed = Follower(session, cursor=stored)
    again = {event.id for event in resumed.poll()}
    resumed.close()
    assert again and again <= set(kit.events(root))


@pytest.mark.further
@pytest.mark.process
def test_a_crashed_session_is_finished_first_and_its_torn_line_goes(trace_root, tmp_path):
    program = tmp_path / "crash.py"
    program.write_text(
        "import os, sys\n"
        "from Agent import setup_logging\n"
        "from Agent.utils import AgentLogger, trace_context\n"
        f"setup_logging(trace_root={str(trace_root)!r})\n"
        "for n in range(20): AgentLogger('a').log_action('x', {'n': n})\n"
        "AgentLogger('b').log_action('x', {'n': 1})\n"
        "block = trace_context(AgentLogger('a'), 'secret-name work'); block.__enter__()\n"
        "os._exit(9)\n"
    )
    assert run_python(str(program), cwd=tmp_path).returncode == 9
    (session,) = session_directories(trace_root)
    with (session / "agents" / "a.log").open("ab") as file:
        file.write(b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"aaaaaaaa-99","secret-name')
    with (session / "agents" / "b.log").open("ab") as file:
        file.write(b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"aaaa')
    done = erase(trace_root, target_of(match="secret-name"))
    assert done.proof.clean and kit.traces(trace_root, [b"secret-name"]) == []
    found = verify(session)
    assert found.sound and found.torn_tails == 1


def test_it_refuses_while_something_records_and_while_checkpoints_are_written(root):
    setup_logging(trace_root=root)
    AgentLogger("a").log_action("x")
    with pytest.raises(SessionInUse, match="writes to it"):
        erase(root, target_of(agent="writer"))
    shutdown_logging()
    store = LocalCheckpointStore(session_directories(root)[0])
    store.save_checkpoint("r", "s", {"a": 1})
    with pytest.raises(SessionInUse, match="writes checkpoints"):
        erase(root, target_of(agent="writer"))
    store.close()
    assert erase(root, target_of(agent="writer")).proof.clean


def test_an_agent_that_another_one_names_is_left_in_its_record(trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("a").log_action("greet", {"to": "b"})
    AgentLogger("b").log_action("listen", {"from": "a"})
    shutdown_logging()
    assert erase(trace_root, target_of(agent="a")).proof.clean
    assert [json.loads(line)["extra"]["action_data"] for line in kit.events(trace_root).values()
            if b"listen" in line] == [{"from": "a"}]  # fmt: skip


@pytest.mark.first_case
@pytest.mark.parametrize("how", ["live", "sealed", "removed"])
@pytest.mark.parametrize(
    "damage",
    [
        b'{"timestamp":"2026-',
        b"\xff\xfe\n",
        pytest.param(b"no event\n", marks=pytest.mark.further),
        pytest.param(b"x" * 9_000_000, marks=pytest.mark.further),
    ],
)
def test_an_agents_damaged_lines_go_with_it_though_they_do_not_name_it(trace_root, how, damage):
    setup_logging(trace_root=trace_root)
    for agent in ("goes", "stays"):
        AgentLogger(agent).log_action("write", {"n": 1})
    shutdown_logging()
    (session,) = session_directories(trace_root)
    for agent in ("goes", "stays"):
        with (session / "agents" / f"{agent}.log").open("ab") as file:
            file.write(damage)
    sealed(trace_root, how)
    done = erase(trace_root, target_of(agent="goes"))
    assert done.proof.clean, done.proof.left
    assert done.sessions[0].damaged_lines == 1
    assert not list(session.glob("agents/goes*"))
    left = verify(session)
    assert (left.lost, left.unknown) == (0, 0)
    assert [event.kind for event in open_reader(session).agent_events("stays")] == ["agent_action"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_what_cannot_be_rewritten_is_an_error_and_the_next_one_goes_on(root):
    directory = session_directories(root)[0] / "agents"
    directory.chmod(0o500)
    with pytest.raises(NotErased):
        erase(root, target_of(match=kit.VALUE))
    directory.chmod(0o700)
    assert erase(root, None).proof.clean


def test_what_cannot_be_replaced_is_an_error_and_the_next_one_goes_on(root, monkeypatch):
    real, calls = Path.replace, []

    def refuse(self, target):
        calls.append(target)
        if len(calls) == 6:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(NotErased, match="continues where it stopped"):
        erase(root, target_of(match=kit.VALUE))
    assert pending(root).value == kit.VALUE
    done = erase(root, None)
    assert done.resumed and done.proof.clean
    assert kit.traces(root, kit.forms(kit.VALUE)) == []


@pytest.mark.integration
def test_a_session_whose_archive_is_its_record_is_sealed_again_by_the_erasure_that_goes_on(root, monkeypatch):
    sealed(root, "removed")
    assert not list(root.glob("session_*/agents/*.log"))

    def refuse(session, remove=False):
        raise OSError(28, "No space left on device", str(session))

    with monkeypatch.context() as patch:
        patch.setattr("Agent.archive.erase.files.seal", refuse)
        with pytest.raises(NotErased):
            erase(root, target_of(match=kit.VALUE))
    assert list(root.glob("session_*/agents/*.log"))
    done = erase(root, None)
    assert done.resumed and done.proof.clean
    assert not list(root.glob("session_*/agents/*.log"))
    assert kit.traces(root, kit.forms(kit.VALUE)) == []
    assert_sound(root, 24)


def test_another_erasure_finishes_the_one_that_was_cut_short_first(root):
    write_plan(root, target_of(match=kit.VALUE))
    done = erase(root, target_of(agent="writer"))
    assert (done.kind, done.proof.clean) == ("agent", True)
    assert kit.traces(root, kit.forms(kit.VALUE)) == []


def test_a_summary_that_a_killed_erasure_left_is_made_anew(root):
    summaries = [session / "trace_summary.json" for session in session_directories(root)]
    old = [path.read_bytes() for path in summaries]
    assert all(b"jane@example.org" in data for data in old)
    erase(root, target_of(match=kit.VALUE))
    for path, data in zip(summaries, old, strict=True):
        path.write_bytes(data)
    write_plan(root, target_of(match=kit.VALUE))
    done = erase(root, None)
    assert done.resumed and done.proof.clean and done.events == 0
    assert kit.traces(root, kit.forms(kit.VALUE)) == []


def test_a_value_in_names_goes_with_the_names(trace_root):
    setup_logging(trace_root=trace_root)
    AgentLogger("jane-doe").log_action("x")
    AgentLogger("other").log_action("y")
    recorder = Recorder(agent="other")
    run_id = recorder.start_run(run_id="about-jane-doe")
    recorder.save_artifact("a.txt", "x" * 5000)
    recorder.finish_run()
    with recorder.run():
        recorder.save_artifact("of/jane-doe/notes.txt", "y" * 5000)
        recorder.save_artifact("of/other.txt", "y" * 5000)
    shutdown_logging()
    done = erase(trace_root, target_of(match="jane-doe"))
    assert done.proof.clean, done.proof.left
    assert kit.traces(trace_root, [b"jane-doe"]) == [] and run_id == "about-jane-doe"
    (session,) = session_directories(trace_root)
    assert verify(session).sound and verify(session).artifacts == 1
    assert len([path for path in (session / "blobs").rglob("*") if path.is_file()]) == 1


@pytest.mark.first_case
@pytest.mark.parametrize("how", ["live", pytest.param("sealed", marks=pytest.mark.further), "removed"])
@pytest.mark.parametrize("sort", ["tool", "large tool", "stream", "UTF-16", "array"])
def test_a_value_that_is_nowhere_in_one_piece_is_found_and_goes(trace_root, sort, how):
    pieces = ["to jane", ".", "doe@exam", "ple.com", " we write"] + ["x" * 20_000] * (sort == "large tool")

    @record_tool
    def speak():
        yield from [{"delta": {"role": "r", "content": each}} for each in pieces]

    setup_logging(trace_root=trace_root)
    recorder = Recorder()
    with recorder.run("a"):
        if "tool" in sort:
            list(speak())
        elif sort == "stream":
            list(record_model_stream(lambda: iter(pieces), model_name="m", prompt="p"))
        elif sort == "array":
            recorder.save_artifact("a.npy", numpy.array(["jane.doe@example.com"]))
        else:
            recorder.save_artifact("a.txt", "to jane.doe@example.com".encode("utf-16"), "text/plain")
        recorder.save_artifact("b.txt", "other")
    shutdown_logging()
    sealed(trace_root, how)
    found = erase(trace_root, target_of(match="jane.doe@example.com"))
    assert found.proof is not None and found.proof.clean
    assert found.events >= 1
    left = b"".join(path.read_bytes() for path in trace_root.rglob("*") if path.is_file())
    for part in ("doe@exam", "jane.doe".encode("utf-16-le"), "jane.doe".encode("utf-32-le")):
        assert (part.encode() if isinstance(part, str) else part) not in left
    assert b"other" in left
    assert erase(trace_root, target_of(match="doe@exam")).events == 0


def test_mistakes_are_told(tmp_path, trace_root):
    with pytest.raises(UsageError, match="exactly one option"):
        target_of()
    with pytest.raises(UsageError, match="exactly one option"):
        target_of(agent="a", match="abc")
    with pytest.raises(UsageError, match="too short"):
        target_of(match="ab")
    with pytest.raises(SessionNotFound):
        erase(tmp_path / "nowhere", target_of(agent="a"))
    trace_root.mkdir()
    with pytest.raises(UsageError, match="no erasure was interrupted"):
        erase(trace_root, None)


def test_the_account_tells_erased_events_from_those_of_a_policy(root):
    erase(root, target_of(match=kit.VALUE))
    assert [read_account(session).reasons for session in session_directories(root)] == [{"erased": 12}] * 2


words = st.text(min_size=3, max_size=12).filter(lambda text: text.strip() == text and len(text.encode("utf-8", "surrogatepass")) >= 3)  # fmt: skip
shapes = st.recursive(
    st.sampled_from(["{}", "a {} b", "{}{}"]).map(lambda form: ("text", form)),
    lambda inner: st.one_of(
        st.tuples(st.just("list"), inner), st.tuples(st.just("dict"), inner), st.tuples(st.just("key"), inner),
        st.tuples(st.just("bytes"), inner), st.tuples(st.just("json"), inner), st.tuples(st.just("tuple"), inner),
    ),
    max_leaves=3,
)  # fmt: skip


def built(shape, value):
    kind, inner = shape
    if kind == "text":
        return inner.format(value, value) if inner.count("{}") > 1 else inner.format(value)
    held = built(inner, value)
    if kind == "list":
        return [1, held]
    if kind == "dict":
        return {"held": held}
    if kind == "key":
        return {str(held): 1}
    if kind == "bytes":
        return str(held).encode("utf-8", "surrogatepass")
    return json.dumps(held, default=str) if kind == "json" else (held, None)


@pytest.mark.further
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=words, shapes=st.lists(shapes, min_size=1, max_size=4), others=st.lists(words, max_size=4))
def test_whatever_was_recorded_no_form_of_it_remains(tmp_path, value, shapes, others):
    root = tmp_path / os.urandom(6).hex()
    setup_logging(trace_root=root, redact=False)
    for number, shape in enumerate(shapes):
        AgentLogger(f"agent{number}").log_action("hold", {"value": built(shape, value)})
    recorder = Recorder(agent="runner")
    with recorder.run(), recorder.step("one") as step:
        step.output = [built(shape, value) for shape in shapes]
        recorder.save_artifact("kept.json", {"value": value})
    for other in others:
        AgentLogger("other").log_action("hold", {"value": other})
    shutdown_logging()
    before = kit.events(root)
    done = erase(root, target_of(match=value))
    after = kit.events(root)
    own = [json.dumps(value)[1:-1].encode(), value.encode("utf-8", "surrogatepass")]
    structural = {left.file for left in done.proof.left}
    assert kit.traces(root, own) == [] or structural
    assert after.items() <= before.items()
    assert done.events == len(before) - len(after)
    assert all(verify(session).sound for session in session_directories(root))
    for other in others:
        if not any(value in text for text in (other, json.dumps(other), repr(other))):
            assert any(json.dumps(other, ensure_ascii=False).encode("utf-8", "replace")[1:-1] in line
                       or json.dumps(other).encode()[1:-1] in line for line in before.values())  # fmt: skip
    shutil.rmtree(root)


@pytest.mark.further
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(
    value=st.sampled_from([kit.VALUE, "jane.doe@example.org", "Jürgen Groß", "id-4711-x"]),
    places=st.lists(st.sampled_from(sorted(kit.PLACES)), min_size=1, max_size=4, unique=True),
    afterwards=st.lists(st.sampled_from(sorted(kit.AFTERWARDS)), max_size=3, unique=True),
)
def test_wherever_a_persons_data_goes_nothing_of_it_is_left_in_the_whole_tree(
    tmp_path, value, places, afterwards
):
    root = tmp_path / os.urandom(6).hex()
    _recorded_in(root, value, places, afterwards)
    before = kit.events(root)
    assert kit.traces(root, kit.forms(value)) or places == ["run: tool"]
    done = erase(root, target_of(match=value))
    assert kit.traces(root, kit.forms(value)) == []
    assert done.proof.clean and done.proof.not_looked_into == {}
    assert kit.events(root).items() <= before.items()
    assert all(verify(session).sound for session in session_directories(root))
    shutil.rmtree(root)


@pytest.mark.first_case
@pytest.mark.parametrize("place", sorted(kit.PLACES))
def test_a_persons_data_in_one_place_goes_and_its_neighbours_stay(tmp_path, place):
    root = tmp_path / "trace"
    _recorded_in(root, kit.VALUE, [place], ["pages", "followed"])
    assert kit.traces(root, kit.forms(kit.VALUE))
    done = erase(root, target_of(match=kit.VALUE))
    assert done.proof.clean and kit.traces(root, kit.forms(kit.VALUE)) == []
    assert any(b"neighbour" in line for line in kit.events(root).values())


def _recorded_in(root, value, places, afterwards):
    setup_logging(trace_root=root, redact=False)
    AgentLogger("other").log_action("hold", {"value": "neighbour"})
    for place in places:
        kit.PLACES[place](value)
    shutdown_logging()
    for session in session_directories(root):
        for what in afterwards:
            kit.AFTERWARDS[what](session)


def kills(root, kind, value, numbers):
    program = Path(__file__).with_name("erase_kills.py")
    paths = (Path(Agent.__file__).resolve().parents[1], Path(__file__).parents[1])
    done = run_python(
        str(program), str(root), kind, value, *map(str, numbers),
        cwd=root.parent, PYTHONPATH=os.pathsep.join(map(str, paths)),
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_every_kill_is_survived(root, kind, value, numbers):
    before, documents = (
        kit.events(root),
        {"/".join(map(str, key)): repr(state) for key, state in kit.documents(root).items()},
    )
    whole = root.with_name("whole")
    shutil.copytree(root, whole, symlinks=True)
    erase(whole, target_of(**{kind: value}))
    kept = {key: line.decode() for key, line in kit.events(whole).items()}
    kept_documents = {"/".join(map(str, key)): repr(state) for key, state in kit.documents(whole).items()}
    answers = kills(root, kind, value, numbers)
    assert {answer["code"] for answer in answers} <= {77, 0} and answers[0]["code"] == 77
    for answer in answers:
        between, after = answer["between"], answer["after"]
        assert between["sound"] and after["sound"], answer["k"]
        assert kept.items() <= between["events"].items(), answer["k"]
        assert between["events"].items() <= {key: line.decode() for key, line in before.items()}.items()
        assert kept_documents.items() <= between["documents"].items() <= documents.items()
        assert answer["finish"] == 0 and answer["told"]["clean"], answer["k"]
        assert answer["told"]["resumed"] is answer["planned"]
        assert after["events"] == kept and after["documents"] == kept_documents, answer["k"]
        assert answer["traces"] == [] and not answer["plan_left"], answer["k"]
    return answers


@pytest.mark.integration
def test_killed_at_any_step_the_next_one_finishes(root):
    answers = assert_every_kill_is_survived(root, "match", kit.VALUE, range(1, 400, 29))
    assert sum(answer["planned"] for answer in answers) >= 3


@pytest.mark.integration
def test_killed_at_any_step_over_an_archive_the_next_one_finishes(root):
    sealed(root, "removed")
    assert_every_kill_is_survived(root, "agent", "writer", range(2, 300, 83))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["live", "sealed", "removed"])
@pytest.mark.parametrize("kind", ["match", "agent", "run"])
def test_killed_at_every_step_the_next_one_finishes(root, recorded, kind, how):
    sealed(root, how)
    value = {"match": kit.VALUE, "agent": "writer", "run": recorded[1]["run0"]}[kind]
    answers = assert_every_kill_is_survived(root, kind, value, range(1, 400, 3))
    assert answers[-1]["code"] == 0
