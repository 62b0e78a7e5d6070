"""How much is kept of values: all, all without secrets, or shapes; by category, tool and field."""

import datetime
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.session_files import only_session, session_events

from Agent import setup_logging, shutdown_logging
from Agent.archive.verify import verify
from Agent.config.load import options_from
from Agent.errors import ConfigurationError, RecordingMiss
from Agent.event.codec import validate_event
from Agent.flight import (
    LocalCheckpointStore,
    Recorder,
    ToolReplayer,
    find_run,
    read_run,
    record_tool,
)
from Agent.record.encode.capture_levels import CaptureLevels, shape_of
from Agent.record.encode.redaction import Redactor
from Agent.utils import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    trace_agent_action,
    trace_context,
)

SECRET = "sk-proj-" + "a1B2c3D4e5" * 4
NAME = "Jane Roe"
SHAPE = re.compile(r"\[[a-z_./+\-A-Z0-9]+(?: \d+)?:[0-9a-f]{16}\]")


class Agent:
    """Has a state, arguments and results that are nobody else's business."""

    def __init__(self):
        self.agent_id = "worker"
        self.memory = [NAME]

    @trace_agent_action
    def act(self, who, when=None):
        self.memory.append(who)
        return {"said": f"hello {who}"}


@record_tool
def search(query):
    return {"hits": [query]}


@record_tool
def fetch(query):
    return {"hits": [query]}


def program(value=NAME):
    """Sends a value through every way in; the run's id."""
    agent = Agent()
    agent.act(value, datetime.datetime(2026, 1, 1))
    agent.act(value)
    logger = AgentLogger("worker")
    logger.info(value, extra={"who": value})
    logger.log_decision("choose", {"who": value}, f"because of {value}")
    logger.log_state_change({"who": value}, {"who": None}, f"{value} left")
    logger.send("other", {"text": value})
    with trace_context(logger, "work", who=value):
        logger.log_action("inside", {"who": value})
    LearningLogger("worker").log_training_step(1, {"loss": 0.25, "label": value})
    InteractionLogger().log_interaction("like", "worker", "other", "content-1", {"note": value})
    PerformanceLogger().log_metric("latency", 1.5, data={"who": value})
    SystemLogger().log_config("owner", value, None)
    try:
        raise LookupError(f"no {value}", value)
    except LookupError:
        logger.exception(value, extra={"who": value})
    recorder = Recorder(agent="worker", labels={"who": value})
    with recorder.run() as run:
        with recorder.step("one") as step:
            step.output = {"who": value, "n": 3}
            search(value)
            search(value * 4000)
            fetch(value)
        recorder.record_model_call("one", model_name="m", prompt=f"Hi {value}", output={"who": value})
        recorder.save_artifact("notes/page.txt", f"about {value}")
        recorder.save_artifact("raw.bin", b"\0" + value.encode("utf-8", "surrogatepass"))
        with LocalCheckpointStore(run_session()) as store:
            store.save_checkpoint(run.run_id, "s1", {"who": value, "t": (1, 2)}, messages=[{"text": value}])
    return run.run_id


def run_session():
    from Agent.config.recording import current_session

    return current_session().path


def recorded(root, value=NAME, **options):
    setup_logging(trace_root=root, **options)
    run_id = program(value)
    from Agent import health

    assert health()["dropped"] == {} and not any("trouble" in note for note in health()["notes"])
    shutdown_logging()
    return run_id


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}


def files_with(root, text):
    return sorted(
        str(path.relative_to(root)) for path, data in everything(root).items() if text.encode() in data
    )


def test_of_metadata_no_value_is_on_the_disk_and_every_event_is_valid(trace_root):
    run_id = recorded(trace_root, capture="metadata")
    assert files_with(trace_root, NAME) == [] and files_with(trace_root, "hello") == []
    import zstandard

    for path in trace_root.rglob("*.zst"):
        assert NAME.encode() not in zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    events = session_events(only_session(trace_root))
    assert len(events) > 30 and [problem for event in events for problem in validate_event(event)] == []
    assert verify(only_session(trace_root)).sound
    record = read_run(find_run(run_id, trace_root))
    assert [step.step_id for step in record.steps] == ["one"] and len(record.artifacts) == 7
    for artifact in record.artifacts:
        kept = json.loads(b"".join(record.read(artifact.ref)))
        texts = list(kept.values()) if artifact.path.endswith("args.json") else [kept]
        assert all(map(SHAPE.fullmatch, texts)), artifact.path


def test_of_metadata_names_numbers_and_references_stay(trace_root):
    recorded(trace_root, capture="metadata")
    events = session_events(only_session(trace_root))
    actions = [
        event["extra"] for event in events if event.get("extra", {}).get("event_type") == "agent_action"
    ]
    assert {action["action_type"] for action in actions} == {"act", "inside"}
    called = next(action for action in actions if action["action_type"] == "act")
    assert called["call"] == "Agent.act" and called["duration_ms"] > 0
    assert list(called["args"]) == ["who", "when"] and called["args"]["when"].startswith("[datetime 19:")
    assert called["args"]["who"].startswith("[str 8:") and called["result"].startswith("[dict 1:")
    tool = next(event for event in events if event.get("type") == "tool.call")
    assert (tool["name"], list(tool["args"])) == ("search", ["query"])
    step = next(event for event in events if event.get("type") == "step.finished")
    assert step["output_ref"] == "artifact://artifacts/steps/one.json"
    error = next(event for event in events if event.get("extra", {}).get("event_type") == "error")
    assert error["extra"]["error_type"] == "LookupError" and SHAPE.fullmatch(error["extra"]["error_message"])
    assert all(SHAPE.fullmatch(each) for each in error["extra"]["error_args"])
    logs = [event for event in events if event.get("extra", {}).get("event_type") == "log"]
    assert all(SHAPE.fullmatch(event["message"]) for event in logs)
    assert any(event["message"] == "Decision: choose" for event in events if "message" in event)
    metric = next(event for event in events if event.get("extra", {}).get("event_type") == "metric")
    assert metric["extra"]["value"] == 1.5


def test_equal_values_have_equal_shapes_wherever_they_stand_and_in_every_session(trace_root, tmp_path):
    recorded(trace_root, capture="metadata")
    recorded(tmp_path / "again", capture="metadata")
    shapes = []
    for root in (trace_root, tmp_path / "again"):
        events = session_events(only_session(root))
        found = {
            event["args"]["query"] for event in events if event.get("type") == "tool.call" and "args" in event
        }
        found |= {
            event["extra"]["args"]["who"]
            for event in events
            if event.get("extra", {}).get("event_type") == "agent_action" and "args" in event["extra"]
        }
        shapes.append(found)
    assert len(shapes[0]) == 1 and shapes[0] == shapes[1]
    recorded(tmp_path / "other", value="Jane Doe", capture="metadata")
    assert not any(
        shape.encode() in data for shape in shapes[0] for data in everything(tmp_path / "other").values()
    )


def test_a_shape_cannot_be_tested_against_a_guess_without_the_key():
    one, other = (Redactor(key) for key in (b"a" * 32, b"b" * 32))
    assert shape_of(NAME, "", {}, one) == shape_of(NAME, "", {}, one) != shape_of(NAME, "", {}, other)


def test_values_that_differ_in_type_alone_have_different_shapes():
    redactor = Redactor(b"k" * 32)
    shapes = [shape_of(value, "", dict(types), redactor) for value, types in [
        (1, {}), ("1", {}), (True, {}), (1.0, {}), ([1], {}), ([1], {"": "tuple"}), ({"a": 1}, {}), ("1", {"": "decimal"}),
    ]]  # fmt: skip
    assert len(set(shapes)) == len(shapes)
    assert shape_of({"a": 1, "b": 2}, "", {}, redactor) == shape_of({"b": 2, "a": 1}, "", {}, redactor)
    types = {"/x/0": "tuple", "/x": "set", "/y": "date"}
    assert shape_of([[1]], "/x", types, redactor).startswith("[set 1:")
    assert types == {"/x": "opaque", "/y": "date"}


@pytest.mark.integration
def test_redacted_is_what_recording_always_did(trace_root, tmp_path):
    recorded(trace_root, value=SECRET)
    recorded(tmp_path / "said", value=SECRET, capture="redacted", captures={"learning": "redacted"})
    for root in (trace_root, tmp_path / "said"):
        assert not any(SECRET.encode() in data for path, data in everything(root).items() if path.name != "raw.bin"
                       and "blobs" not in path.parts)  # fmt: skip
    kinds = [
        [event.get("type") or event["extra"]["event_type"] for event in session_events(only_session(root))]
        for root in (trace_root, tmp_path / "said")
    ]
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_full_keeps_texts_says_so_and_still_hides_what_stands_under_a_secrets_name(trace_root, capfd):
    setup_logging(trace_root=trace_root, capture="full")
    AgentLogger("worker").log_action("call", {"note": f"with {SECRET}", "api_key": "hunter2hunter2", "n": 1})
    recorder = Recorder()
    with recorder.run():
        recorder.save_artifact("page.txt", f"with {SECRET}")
        recorder.save_artifact("page.json", {"note": SECRET, "password": "hunter2hunter2"})
    shutdown_logging()
    assert "secrets inside texts are recorded" in capfd.readouterr().err
    assert len(files_with(trace_root, SECRET)) == 4  # the record, its mirror, two artifacts
    assert files_with(trace_root, "hunter2") == []
    session = json.loads((only_session(trace_root) / "session.json").read_bytes())
    assert session["configuration"]["capture"] == "full"


def test_even_full_hides_secrets_in_messages_names_and_the_command_line(trace_root, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--api-key", "hunter2hunter2", SECRET])
    setup_logging(trace_root=trace_root, capture="full")
    AgentLogger("worker").info(f"called with {SECRET}")
    with Recorder().run(), Recorder().step(SECRET, SECRET):
        pass
    shutdown_logging()
    assert "session.json" not in str(files_with(trace_root, SECRET))
    assert not any(SECRET in str(path) for path in trace_root.rglob("*"))
    assert files_with(trace_root, "called with sk-proj") == []


def test_the_command_line_is_a_name_and_shapes(trace_root, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--user", NAME])
    recorded(trace_root, capture="metadata")
    argv = json.loads((only_session(trace_root) / "session.json").read_bytes())["argv"]
    assert argv[0] == "program" and all(SHAPE.fullmatch(word) for word in argv[1:]) and len(argv) == 3


def values_of(root, kind, key):
    return [
        event.get("extra", event)[key]
        for event in session_events(only_session(root))
        if (event.get("type") or event["extra"]["event_type"]) == kind and key in event.get("extra", event)
    ]


def test_a_field_has_a_level_of_its_own_by_path_or_name(trace_root):
    run_id = recorded(trace_root, captures={"field:args.who": "metadata", "field:label": "metadata"})
    assert all(SHAPE.fullmatch(args["who"]) for args in values_of(trace_root, "agent_action", "args"))
    (metrics,) = values_of(trace_root, "training_step", "metrics")
    assert metrics["loss"] == 0.25 and SHAPE.fullmatch(metrics["label"])
    assert values_of(trace_root, "decision", "decision_data") == [{"who": NAME}]
    record = read_run(find_run(run_id, trace_root))
    output = json.loads(b"".join(record.read("artifact://artifacts/steps/one.json")))
    assert output == {"who": NAME, "n": 3}


def test_a_rule_about_a_field_holds_inside_of_artifacts_and_checkpoints(trace_root):
    run_id = recorded(trace_root, captures={"field:who": "metadata"})
    record = read_run(find_run(run_id, trace_root))
    output = json.loads(b"".join(record.read("artifact://artifacts/steps/one.json")))
    assert output["n"] == 3 and SHAPE.fullmatch(output["who"])
    with LocalCheckpointStore(only_session(trace_root)) as store:
        state, types = store.recorded_state(run_id, "s1")
    assert SHAPE.fullmatch(state["who"]) and types == {"/who": "opaque", "/t": "tuple"}


def test_artifacts_have_levels_by_their_path(trace_root):
    run_id = recorded(
        trace_root, captures={"field:artifacts/notes/*": "metadata", "field:prompt": "metadata"}
    )
    record = read_run(find_run(run_id, trace_root))
    content = {each.path.rpartition("/")[2]: b"".join(record.read(each.ref)) for each in record.artifacts}
    assert SHAPE.fullmatch(json.loads(content["page.txt"])) and SHAPE.fullmatch(
        json.loads(content["prompt.txt"])
    )
    assert content["raw.bin"] == b"\0" + NAME.encode()
    saved = values_of(trace_root, "artifact.saved", "capture")
    assert sorted(saved) == ["metadata"] * 2 + ["redacted"] * 5


def test_a_tool_has_a_level_of_its_own(trace_root):
    recorded(trace_root, capture="metadata", captures={"tool:fe*": "redacted"})
    by_tool = {}
    for event in session_events(only_session(trace_root)):
        if event.get("type") == "tool.call" and "args" in event:
            by_tool[event["name"]] = event["args"]["query"]
    assert by_tool["fetch"] == NAME and SHAPE.fullmatch(by_tool["search"])


def test_a_large_answer_of_a_tool_has_the_level_of_the_tool(trace_root):
    run_id = recorded(trace_root, captures={"tool:search": "metadata"})
    record = read_run(find_run(run_id, trace_root))
    parts = [each for each in record.artifacts if each.path.endswith(("args.json", "result.json"))]
    assert len(parts) == 2
    kept = {each.path[-9:]: json.loads(b"".join(record.read(each.ref))) for each in parts}
    assert SHAPE.fullmatch(kept["sult.json"]) and SHAPE.fullmatch(kept["args.json"]["query"])


def test_calls_recorded_as_shapes_are_matched_exactly_and_their_answers_are_missed(trace_root):
    run_id = recorded(trace_root, capture="metadata", captures={"field:result": "redacted"})
    setup_logging(trace_root=trace_root, capture="metadata", captures={"field:result": "redacted"})
    replayer = ToolReplayer(run_id)
    assert replayer.replay("search", {"query": NAME}) == {"hits": [NAME]}
    assert replayer.replay("search", {"query": NAME * 4000}) == {"hits": [NAME * 4000]}
    assert [match.is_exact for match in replayer.matches] == [True, True]
    with pytest.raises(RecordingMiss):
        replayer.replay("fetch", {"query": "somebody else"})
    shutdown_logging()


def test_an_answer_of_which_the_shape_alone_is_kept_is_never_given(trace_root):
    run_id = recorded(trace_root, capture="metadata")
    setup_logging(trace_root=trace_root, capture="metadata")
    with pytest.raises(RecordingMiss, match="cannot be restored"):
        ToolReplayer(run_id).replay("search", {"query": NAME})
    shutdown_logging()


def test_a_category_has_a_level_of_its_own(trace_root):
    recorded(trace_root, captures={"learning": "metadata"})
    (metrics,) = values_of(trace_root, "training_step", "metrics")
    assert SHAPE.fullmatch(metrics)
    assert values_of(trace_root, "decision", "decision_data") == [{"who": NAME}]


def test_of_two_rules_the_stricter_holds_and_a_field_before_a_tool(trace_root):
    levels = CaptureLevels(
        "redacted", {"field:a*": "full", "field:ab": "metadata", "tool:t": "metadata"}, Redactor(b"k" * 32)
    )
    assert levels.of_artifact(["x/ab"], None) == "metadata" and levels.of_artifact(["x/ac"], "t") == "full"
    assert levels.of_artifact(["x/b"], "t") == "metadata" and levels.of_artifact(["x/b"], None) == "redacted"


def test_redacted_fields_are_read_where_others_are_kept_full(trace_root):
    recorded(trace_root, value=SECRET, captures={"field:action_data": "full", "field:raw.bin": "metadata"})
    found = files_with(trace_root, SECRET)
    lines = [
        line
        for data in everything(trace_root).values()
        for line in data.splitlines()
        if SECRET.encode() in line
    ]
    assert found and all(b'"action_data"' in line for line in lines)
    assert all(line.count(SECRET.encode()) == 1 for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"capture": "all"}, "use full, redacted, metadata"),
        ({"captures": {"field:x": "no"}}, "use full, redacted, metadata"),
        ({"captures": {"nothing": "full"}}, "unknown category"),
        ({"captures": {"field:": "full"}}, "name a category"),
        ({"captures": {"other:x": "full"}}, "name a category"),
        ({"captures": "full"}, "captures is not a mapping"),
    ],
)
def test_a_level_that_is_none_is_refused(options, told):
    with pytest.raises(ConfigurationError, match=told):
        options_from(options, {})


def test_levels_come_from_the_environment_and_from_files(tmp_path, monkeypatch):
    environment = {
        "AGENT_TRACE_CAPTURE": "metadata",
        "AGENT_TRACE_CAPTURES": "tool:search=full,field:a.b=redacted",
    }
    options = options_from({}, environment)
    assert (options.capture, options.captures) == (
        "metadata",
        {"tool:search": "full", "field:a.b": "redacted"},
    )
    with pytest.raises(ConfigurationError, match="write it as learning=metadata"):
        options_from({}, {"AGENT_TRACE_CAPTURES": "tool:search"})
    (tmp_path / "agent-trace.toml").write_text(
        'capture = "full"\n[captures]\nlearning = "metadata"\n"field:args.prompt" = "redacted"\n'
    )
    monkeypatch.chdir(tmp_path)
    options = options_from({"captures": {"tool:x": "full"}}, {})
    assert options.capture == "full"
    assert options.captures == {"learning": "metadata", "field:args.prompt": "redacted", "tool:x": "full"}


def test_by_default_nothing_stands_in_the_way_of_a_line(trace_root):
    from Agent.record.emit.installed import active_pipeline

    setup_logging(trace_root=trace_root)
    pipeline = active_pipeline()
    assert pipeline.redactor.levels is None and pipeline.emit_plain != pipeline.emit
    shutdown_logging()
    setup_logging(trace_root=trace_root, capture="full")
    assert active_pipeline().emit_plain != active_pipeline().emit  # nothing to look for either
    shutdown_logging()


@pytest.mark.further
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(min_size=5, max_size=20).filter(
        lambda text: text.strip() == text and not SHAPE.search(text)
    )
)
def test_whatever_the_value_its_shape_alone_is_on_the_disk(tmp_path_factory, value):
    root = tmp_path_factory.mktemp("any") / "trace"
    marked = f"zQ7~{value}"
    recorded(root, value=marked, capture="metadata")
    for form in ("zQ7~", json.dumps(marked)[1:-1]):
        assert files_with(root, form) == []
