"""Every method of every logger leaves the event that the payload table promises, and gives its id."""

import copy
import pickle

import pytest
from record_kit import recording

from Agent.event.codec import validate_event
from Agent.event.payloads import KINDS
from Agent.record.loggers.loggers import EventLogger
from Agent.testing import FakeClock
from Agent.utils import AgentLogger, InteractionLogger, LearningLogger, PerformanceLogger, SystemLogger

AGENT = lambda: AgentLogger("a/1", "creator")  # noqa: E731
CALLS = {
    "agent_action": lambda: AGENT().log_action("create", {"kind": "video"}, {"topic": "AI"}),
    "decision": lambda: AGENT().log_decision("timing", {"at": "18:00"}, reasoning="peak"),
    "state_change": lambda: AGENT().log_state_change({"a": 1}, {"a": 2}, trigger="threshold"),
    "state_change without a trigger": lambda: AGENT().log_state_change({"a": 1}, {"a": 2}),
    "content_generation": lambda: AGENT().log_content_generation("video", "c1", {"length_s": 30}),
    "strategy_update": lambda: AGENT().log_strategy_update("posting", {"a": 1}, {"a": 2}, reason="reward"),
    "learning_update of an agent": lambda: AGENT().log_learning_update("bandit", {"epsilon": 0.1}),
    "agent_message": lambda: AGENT().send("b", {"text": "hello"}).event_id,
    "agent_message received": lambda: AGENT().receive(AgentLogger("b").send("a/1", "x")),
    "training_step": lambda: LearningLogger("rl", "a").log_training_step(1, {"loss": 0.5}, {"rate": 0.1}),
    "reward": lambda: LearningLogger("bandit").log_reward("act_1", 1.5, cumulative_reward=10.0),
    "exploration": lambda: LearningLogger("bandit", "a").log_exploration_exploitation("x", True, epsilon=0.1),
    "policy_update": lambda: LearningLogger().log_policy_update({"p": 1}, old_policy=[1], new_policy=[2]),
    "convergence": lambda: LearningLogger("rl", "a").log_convergence("loss", 0.01, True, threshold=0.1),
    "learning_update": lambda: LearningLogger("rl", "a").log_learning_update("ppo", {"kl": 0.1}),
    "interaction": lambda: InteractionLogger("a").log_interaction("like", "a", "b", "c1", {"n": 1}),
    "interaction with content": lambda: InteractionLogger().log_content_interaction("a", "c1", "share"),
    "connection": lambda: InteractionLogger().log_connection("a", "b", "follow", strength=0.5),
    "cascade": lambda: InteractionLogger().log_cascade("c1", 12, depth=3, root_agent_id="a"),
    "collaboration": lambda: InteractionLogger().log_collaboration(["a", "b"], "duet", "c1"),
    "metric": lambda: PerformanceLogger("a").log_metric("size", 12.0, unit="MB"),
    "metric of a latency": lambda: PerformanceLogger().log_latency("load", 12.5),
    "throughput": lambda: PerformanceLogger().log_throughput("posts", 100, 2.0),
    "resource": lambda: PerformanceLogger().log_resource(memory_bytes=1, cpu_percent=2.0, open_files=3),
    "system.init": lambda: SystemLogger("engine").log_init(),
    "system.config": lambda: SystemLogger().log_config("rate", 1, 2),
    "system.module": lambda: SystemLogger().log_module("engine", "1.0"),
    "simulation_start": lambda: SystemLogger().log_simulation_start("run", {"agents": 3}),
    "simulation_end": lambda: SystemLogger().log_simulation_end("run", "done", 12.5),
    "checkpoint": lambda: SystemLogger().log_checkpoint("cp", {"tick": 3}),
    "phase": lambda: SystemLogger().log_phase("growth", previous="start"),
    "milestone": lambda: SystemLogger().log_milestone("1000 posts"),
    **{f"log {name}": lambda name=name: getattr(AGENT(), name)("m", extra={"k": 1})
       for name in ("debug", "info", "warning", "error", "critical", "exception")},
}  # fmt: skip
TYPED_LOGGERS = (AgentLogger, LearningLogger, InteractionLogger, PerformanceLogger, SystemLogger)
LEVELS = {"training_step": "DEBUG", "exploration": "DEBUG"}


@pytest.mark.parametrize("call", CALLS)
def test_a_method_leaves_its_event_and_gives_the_id(recorded, call):
    kind = call.partition(" ")[0]
    identity = CALLS[call]()
    event = recorded.last
    assert event["id"] == identity
    assert event["extra"]["event_type"] == kind
    if kind != "log":
        assert event["level"] == LEVELS.get(kind, "INFO")
    assert event["message"]
    assert "{" not in event["message"]
    assert not recorded.health.dropped and not recorded.health.notes


def test_every_method_of_a_typed_logger_is_called_here():
    methods = {name for cls in TYPED_LOGGERS for name in vars(cls) if name.startswith("log_")}
    assert methods - {name for call in CALLS.values() for name in call.__code__.co_names} == set()


@pytest.mark.parametrize("call", CALLS)
def test_a_message_is_that_of_its_kind_and_does_not_repeat_its_beginning(recorded, call):
    CALLS[call]()
    template = KINDS[recorded.last["extra"]["event_type"]].message
    message, beginning = recorded.last["message"], template.partition("{")[0]
    assert message.startswith(beginning)
    assert not (beginning and message.removeprefix(beginning).startswith(beginning))


@pytest.mark.parametrize("call", [call for call in CALLS if not call.startswith(("log", "agent_message"))])
def test_the_fields_of_an_event_are_those_of_its_kind(recorded, call):
    CALLS[call]()
    event = recorded.last["extra"]
    known = {field.name for field in KINDS[event["event_type"]].fields} | {
        "agent_id",
        "agent_role",
        "event_type",
    }
    # The kind of learning stands in every event of its logger.
    assert set(event) - known - {"learning_type"} == set()


def test_free_messages_have_the_level_of_their_method(recorded):
    logger = AgentLogger("a")
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, name)("m")
    assert [event["level"] for event in recorded.events] == ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@pytest.mark.parametrize(("limit", "seen"), [(0, 5), (10, 5), (20, 4), (30, 3), (40, 2), (50, 1), (100, 0)])
def test_a_level_lets_through_what_is_at_least_as_high(recorded, level, limit, seen):
    level("agents", limit)
    logger = AgentLogger("a")
    ids = [getattr(logger, name)("m") for name in ("debug", "info", "warning", "error", "critical")]
    assert len(recorded.events) == seen
    assert [bool(identity) for identity in ids] == [False] * (5 - seen) + [True] * seen


@pytest.mark.parametrize("call", CALLS)
def test_a_method_below_the_level_leaves_nothing(recorded, level, call):
    for category in ("agents", "learning", "interactions", "performance", "system", "events", "errors"):
        level(category, 100)
    assert CALLS[call]() == ""
    assert recorded.events == []


def test_the_course_of_the_simulation_has_a_level_of_its_own(recorded, level):
    level("events", 100)
    logger = SystemLogger()
    assert logger.log_milestone("m") == ""
    assert logger.log_init() != ""
    level("events", 0)
    level("system", 100)
    assert logger.log_milestone("m") != ""
    assert logger.log_init() == ""


def test_bound_fields_stand_in_every_event(recorded):
    logger = AgentLogger("a").bind(request="r1").bind(user="u1")
    logger.info("m", extra={"k": 1})
    logger.log_action("act", {"x": 1})
    logger.log_action("act", {"x": (1, 2)})
    for event in recorded.events:
        assert (event["extra"]["request"], event["extra"]["user"]) == ("r1", "u1")
    assert recorded.last["types"] == {"/extra/action_data/x": "tuple"}


def test_bound_values_keep_their_types(recorded):
    logger = AgentLogger("a").bind(pair=(1, 2))
    logger.log_action("act", {"x": (3,)})
    logger.info("m")
    assert recorded.events[0]["types"] == {"/extra/action_data/x": "tuple", "/extra/pair": "tuple"}
    assert recorded.events[1]["types"] == {"/extra/pair": "tuple"}


def test_binding_leaves_the_logger_as_it_was(recorded):
    logger = AgentLogger("a")
    logger.log_action("warm")
    bound = logger.bind(k=1)
    logger.log_action("plain")
    bound.log_action("bound")
    assert ["k" in event["extra"] for event in recorded.events] == [False, False, True]


def test_what_is_given_with_a_message_goes_over_what_is_bound(recorded):
    AgentLogger("a").bind(k=1).info("m", extra={"k": 2})
    assert recorded.last["extra"]["k"] == 2


@pytest.mark.parametrize("key", ["agent_id", "agent_role", "event_type"])
def test_a_users_key_with_the_name_of_ours_moves_and_is_counted(recorded, key):
    logger = AgentLogger("a", "creator")
    logger.info("m", extra={key: "mine"})
    logger.bind(**{key: "mine"}).info("m")
    logger.bind(**{key: "mine"}).log_action("act")
    try:
        raise ValueError("x")
    except ValueError:
        logger.exception("m", extra={key: "mine"})
    for event in recorded.events:
        assert event["extra"][f"user.{key}"] == "mine"
        assert event["extra"]["agent_id"] == "a" and event["extra"]["agent_role"] == "creator"
    assert sum(recorded.health.notes.values()) == 4


@pytest.mark.parametrize("key", ["action_type", "action_data", "result"])
def test_a_bound_field_with_the_name_of_a_payload_key_moves(recorded, key):
    AgentLogger("a").bind(**{key: "mine"}).log_action("act", {"x": 1})
    assert recorded.last["extra"]["action_type"] == "act"
    assert recorded.last["extra"][f"user.{key}"] == "mine"


def test_no_line_holds_a_key_twice(recorded):
    logger = AgentLogger("a").bind(
        **{"agent_id": 1, "action_type": 2, "learning_type": 3, "user.agent_id": 4}
    )
    logger.log_action("act")
    LearningLogger("rl", "a").bind(learning_type="mine").log_learning_update("s")
    for line in recorded.sink.lines:
        import json

        json.loads(line, object_pairs_hook=_no_doubles)


def _no_doubles(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)


def test_an_exception_is_one_event_and_later_mentions_name_it(recorded):
    logger = AgentLogger("a")
    try:
        raise ValueError("broken")
    except ValueError:
        first = logger.exception("while baking", extra={"oven": 3})
        second = logger.exception("again")
    error = recorded.only("error")
    assert error["id"] == first
    assert error["message"] == "while baking"
    assert error["extra"]["error_type"] == "ValueError"
    assert error["extra"]["error_message"] == "broken"
    assert error["extra"]["oven"] == 3
    assert "test_an_exception_is_one_event" in error["extra"]["traceback"]
    mention = recorded.only("log")
    assert (mention["id"], mention["extra"]["error_id"], mention["level"]) == (second, first, "ERROR")


def test_outside_a_handler_exception_is_an_error_message(recorded):
    AgentLogger("a").exception("nothing was raised")
    assert recorded.only("log")["level"] == "ERROR"


def test_one_exception_in_two_recordings_is_one_event_in_each():
    error = ValueError("x")
    for _ in range(2):
        with recording() as found:
            found.pipeline.session_id = f"session {id(found)}"
            try:
                raise error
            except ValueError:
                AgentLogger("a").exception("m")
            assert len(found.of("error")) == 1


def test_errors_of_one_cause_have_one_fingerprint(recorded):
    for number in (1, 2):
        try:
            raise ValueError(f"agent 'a{number}' is {number} too many")
        except ValueError:
            AgentLogger("a").exception("m")
    try:
        raise KeyError("other")
    except KeyError:
        AgentLogger("a").exception("m")
    prints = [event["extra"]["fingerprint"] for event in recorded.of("error")]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("given", ["one", ["one"], ("one", "two"), {"one"}, ["one", "", "one"]])
def test_causes_are_named(recorded, given):
    logger = AgentLogger("a")
    ids = {"one": logger.info("1"), "two": logger.info("2"), "": ""}
    causes = ids[given] if isinstance(given, str) else type(given)(ids[name] for name in given)
    logger.log_action("act", causes=causes)
    logger.info("m", causes=causes)
    logger.bind(k=1).log_decision("d", causes=causes)
    expected = [ids[name] for name in (given if not isinstance(given, str) else [given]) if name]
    assert len(recorded.events) == 5
    for event in recorded.events[2:]:
        assert list(dict.fromkeys(event["causes"])) == list(dict.fromkeys(expected))


@pytest.mark.parametrize("cause", ["nonsense", "a-b-c", 5, None, b"x", "\udcff-1", "x" * 10_000])
def test_a_cause_that_is_no_events_id_is_left_out_and_counted(recorded, cause):
    AgentLogger("a").info("m", causes=[cause])
    assert "causes" not in recorded.last
    assert bool(recorded.health.notes) == (cause is not None)


def test_a_logger_without_an_agent_speaks_for_nobody(recorded):
    LearningLogger("rl").log_reward("x", 1.0)
    assert "agent_id" not in recorded.last["extra"]
    assert recorded.last["logger"] == "learning.rl"


def test_a_loggers_name_says_what_it_is(recorded):
    for logger in (
        AgentLogger("a", "creator"),
        InteractionLogger(),
        PerformanceLogger(),
        SystemLogger("engine"),
    ):
        logger.info("m")
    assert [event["logger"] for event in recorded.events] == [
        "agent.creator", "interaction", "performance", "system.engine",
    ]  # fmt: skip


def test_a_logger_goes_over_to_the_next_recording():
    logger = AgentLogger("a")
    bound = logger.bind(k=(1,))
    for _ in range(3):
        with recording() as found:
            logger.log_action("act")
            logger.log_action("act")
            bound.log_action("act")
            assert len(found.events) == 3


def test_a_logger_can_be_copied_and_pickled(recorded):
    logger = AgentLogger("a", "creator").bind(k=1)
    logger.log_action("act")
    for other in (copy.copy(logger), copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):
        other.log_action("act")
        assert recorded.last["extra"]["k"] == 1 and recorded.last["extra"]["agent_id"] == "a"
    assert "creator" in repr(logger) and " a" in repr(logger)


def test_numbers_count_from_one_and_time_never_runs_back():
    clock = FakeClock()
    with recording(clock=clock) as found:
        logger = AgentLogger("a")
        for step in (5, -3, 0, 7):
            clock.advance(step)
            logger.log_action("act")
            logger.info("m")
        stamps = [event["timestamp"] for event in found.events]
        assert stamps == sorted(stamps)
        assert [event["id"].rpartition("-")[2] for event in found.events] == [str(n) for n in range(1, 9)]


def test_time_has_six_digits_in_utc():
    clock = FakeClock(start_ns=1_700_000_000_000_001_999)
    with recording(clock=clock) as found:
        AgentLogger("a").info("m")
        clock.advance(0.999_998)
        AgentLogger("a").info("m")
        clock.advance(0.000_002)
        AgentLogger("a").info("m")
        assert [event["timestamp"] for event in found.events] == [
            "2023-11-14T22:13:20.000001Z",
            "2023-11-14T22:13:20.999999Z",
            "2023-11-14T22:13:21.000001Z",
        ]


def test_an_event_logger_of_any_category_validates(recorded):
    from Agent.event.kinds import Category

    for category in Category:
        EventLogger("own", category).info("m", extra={"k": 1})
    assert all(validate_event(event) == [] for event in recorded.events)
    assert len(recorded.events) == len(Category)


def test_the_number_of_prepared_heads_is_bounded(recorded):
    from Agent.record.encode.event_template import MAX_HEADS

    logger = AgentLogger("a")
    for number in range(2000):
        message = f"message {number}"
        logger.info(message)
    logger.info("y" * 100_000)
    slot = recorded.pipeline.binding("a", "agent", "agent.agent").slot("log", 20)
    assert len(slot.heads) == MAX_HEADS
    assert max(map(len, slot.heads)) < 1000
    assert recorded.events[1999]["message"] == "message 1999"


def test_a_long_message_is_cut_and_stands_whole_beside():
    with recording() as found:
        AgentLogger("a1").info("word " * 1000, extra={"n": 1})
        event = found.last
        assert len(event["message"]) < 2100
        assert event["extra"]["full_message"] == "word " * 1000
        assert event["extra"]["n"] == 1


def test_a_none_that_a_kind_needs_stands_as_null_and_any_other_is_left_out(recorded):
    LearningLogger("rl", "a1").log_reward(None, None)
    assert {"reward": None, "learning_type": "rl"}.items() <= recorded.last["extra"].items()
    assert recorded.last["extra"].keys().isdisjoint({"action_id", "cumulative_reward"})
    SystemLogger().log_checkpoint(None)
    assert recorded.last["extra"]["name"] is None and "data" not in recorded.last["extra"]
