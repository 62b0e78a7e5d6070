"""Whatever a value does, recording neither raises nor stays silent; and what a disk refuses is counted and told."""

import gc
import os
import signal
import sys
import threading

import pytest
from hostile import HOSTILE
from record_kit import recording

from Agent import caused_by, tick
from Agent.event.values import opaque
from Agent.event.values.opaque import Content, OpaqueKind
from Agent.record.emit.pipeline import RecordOptions
from Agent.testing import FakeClock
from Agent.utils import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    measure_performance,
    trace_agent_action,
    trace_context,
    trace_errors,
    trace_learning_update,
    trace_performance,
)


class Exploding:
    """Raises at every question that is put to it."""

    def _explode(self, *_, **__):
        raise RuntimeError("boom")

    __repr__ = __str__ = __eq__ = __lt__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = _explode
    __contains__ = __getitem__ = __call__ = __reduce__ = __getstate__ = __format__ = __index__ = _explode
    __hash__ = _explode

    def __getattr__(self, name):
        raise RuntimeError(f"boom {name}")


class ExplodingKey(str):
    """A key whose hash explodes once it is in a dict."""

    armed = False

    def __hash__(self):
        if ExplodingKey.armed:
            raise RuntimeError("boom")
        return 5

    def __eq__(self, other):
        return self is other


class ExplodingMapping(dict):
    def keys(self):
        raise RuntimeError("boom")

    items = values = __iter__ = __len__ = keys


class ExplodingClass(type):
    def __instancecheck__(cls, instance):
        raise RuntimeError("boom")

    def __eq__(cls, other):
        raise RuntimeError("boom")

    def __hash__(cls):
        raise RuntimeError("boom")


class OfExplodingClass(metaclass=ExplodingClass):
    pass


class ExplodingError(Exception):
    def __str__(self):
        raise RuntimeError("boom")

    __repr__ = __str__


def cycle():
    loop = [1]
    loop.append({"loop": loop})
    return loop


def armed_keys():
    ExplodingKey.armed = False
    made = {ExplodingKey("a"): 1, "b": 2}
    ExplodingKey.armed = True
    return made


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


OWN = {
    "exploding": Exploding,
    "exploding key": armed_keys,
    "exploding mapping": lambda: ExplodingMapping(a=1),
    "of an exploding class": OfExplodingClass,
    "exploding error": lambda: ExplodingError("x"),
    "cycle": cycle,
    "deep": lambda: deep(500),
    "very deep": lambda: deep(100_000),
    "huge text": lambda: "y" * 5_000_000,
    "huge text in a dict": lambda: {"k": ["y" * 2_000_000] * 2},
    "surrogate": lambda: "\udcff\ud800",
    "surrogate key": lambda: {"\udcff": 1},
    "huge int": lambda: 10**5000,
    "nan": lambda: float("nan"),
    "many": lambda: list(range(200_000)),
    "null byte": lambda: "\0",
    "generator": lambda: (x for x in [1]),
    "class": lambda: Exploding,
    "module": lambda: sys,
    "ellipsis": lambda: ...,
    "none": lambda: None,
    "empty": dict,
}
VALUES = {**OWN, **{f"hostile {name}": recipe for name, recipe in HOSTILE.items() if name != "doubling"}}
# Its text is asked for only where it is a message or a name; there it never comes back, as in any program.
ENDLESS = {"hostile endless repr"}
LARGE = {
    "huge text",
    "huge text in a dict",
    "many",
    "very deep",
    "hostile double cycle",
    "hostile deep",
    "hostile module",
    "module",
}


@pytest.fixture(autouse=True)
def disarmed():
    yield
    ExplodingKey.armed = False


def ask_for_text(v):
    """Use the value as a message and as a name."""
    agent = AgentLogger("a", "r")
    for method in (agent.debug, agent.info, agent.warning, agent.error, agent.critical, agent.exception):
        method(v)
    agent.receive(agent.send(v, v))
    for make in (AgentLogger, LearningLogger, InteractionLogger, PerformanceLogger, SystemLogger):
        make(v).info("m")
    AgentLogger("a", v).info("m")

    class Named:
        def __init__(self, agent_id):
            self.agent_id = agent_id

        @trace_agent_action
        def act(self):
            return 1

    assert Named(v).act() == 1


def call_everything(v):
    """Hand one value to every argument of every method that there is."""
    agent = AgentLogger("a", "r")
    for method in (agent.debug, agent.info, agent.warning, agent.error, agent.critical, agent.exception):
        method("m", extra=v)
        method("m", extra={"k": v})
        method("m", causes=v)
    agent.bind(k=v).info("m")
    agent.bind(k=v).log_action("act", {"x": 1})
    for arguments in ((v,), ("x", v), ("x", {"k": v}), ("x", [v]), ("x", None, v)):
        agent.log_action(*arguments)
        agent.log_action(*arguments)
    agent.log_action("x", causes=v)
    agent.log_decision(v, v, v)
    agent.log_state_change(v, v, v)
    agent.log_content_generation(v, v, v)
    agent.log_strategy_update(v, v, v, v)
    agent.log_learning_update(v, v)
    agent.receive(agent.send("b", v))
    learning = LearningLogger("rl", "a")
    learning.log_training_step(v, v, v)
    learning.log_reward(v, v, v)
    learning.log_exploration_exploitation(v, v, v)
    learning.log_policy_update(v, v, v)
    learning.log_convergence(v, v, v, v)
    learning.log_learning_update(v, v)
    interactions = InteractionLogger("a")
    interactions.log_interaction(v, v, v, v, v)
    interactions.log_content_interaction(v, v, v, v)
    interactions.log_connection(v, v, v, v, v)
    interactions.log_cascade(v, v, v, v, v, v)
    interactions.log_collaboration(v, v, v, v)
    performance = PerformanceLogger("a")
    performance.log_metric(v, v, v, v)
    performance.log_latency(v, v, v)
    performance.log_throughput(v, v, v, v)
    performance.log_resource(v, v, v, v)
    performance.flush()
    system = SystemLogger()
    system.log_init(v, v)
    system.log_config(v, v, v, v)
    system.log_module(v, v, v)
    system.log_simulation_start(v, v)
    system.log_simulation_end(v, v, v)
    system.log_checkpoint(v, v)
    system.log_phase(v, v, v)
    system.log_milestone(v, v)
    with trace_context(agent, v, k=v), measure_performance(v, data=v), tick(v), caused_by(v):
        agent.info("inside")
        agent.log_action("inside", {"x": 1})


def call_some(v):
    """The same with a value so large that each call takes a while."""
    agent = AgentLogger("a", "r")
    agent.info("m", extra={"k": v})
    agent.log_action("x", v)
    agent.log_decision(v, reasoning=v)
    agent.bind(k=v).log_action("x", {"k": [v]})
    InteractionLogger("a").log_collaboration(v)
    with trace_context(agent, v, k=v):
        agent.log_state_change(v, v, v)


def call_every_decorator(v):
    class Agent:
        def __init__(self):
            self.agent_id = "a"
            self.held = v

        @trace_agent_action
        def act(self, x, *rest, **more):
            self.held = x
            return x

        @trace_learning_update
        @trace_performance
        @trace_errors
        async def act_async(self, x):
            self.more = [x]
            return {"x": x}

        @trace_agent_action
        def fail(self, x):
            error = ValueError(x)
            error.attribute = x
            raise error

    agent = Agent()
    assert agent.act(v, v, k=v) is v
    # Not asyncio.run, which asks for the text of a result itself.
    with pytest.raises(StopIteration) as done:
        agent.act_async(v).send(None)
    assert done.value.value["x"] is v
    with pytest.raises(ValueError):
        agent.fail(v)
    if issubclass(type(v), Exception):

        @trace_agent_action
        def raise_it():
            raise v

        with pytest.raises(type(v)):
            raise_it()


@pytest.mark.integration
@pytest.mark.parametrize("name", VALUES)
def test_no_value_makes_recording_raise_or_write_a_bad_line(name, monkeypatch):
    # Once objects of some class were too large to be digested, each class is looked up among those.
    outcome = opaque._InVain(Content(OpaqueKind.UNSEEN, "more than 16 MB"), 1, 0)
    monkeypatch.setitem(opaque._in_vain, Exploding, outcome)
    with recording() as found:
        found.takes_odd_values = True
        (call_some if name in LARGE else call_everything)(VALUES[name]())
        call_every_decorator(VALUES[name]())
        if name not in ENDLESS:
            ask_for_text(VALUES[name]())
        ExplodingKey.armed = False
        assert len(found.events) > 20
        assert not found.health.dropped, found.health.notes
        assert max(map(len, found.sink.lines)) < 16_000_000


@pytest.mark.integration
def test_a_value_that_doubles_at_each_level_is_cut(recorded):
    value = HOSTILE["doubling"]()
    AgentLogger("a").log_action("x", {"k": value})
    assert trace_agent_action(lambda given: given)(value) is value
    with pytest.raises(ValueError):
        trace_errors(_raise)(ValueError(value))
    assert len(recorded.events) == 4
    assert not recorded.health.dropped


def test_a_key_that_utf_8_cannot_hold_is_recorded_each_time(recorded):
    agent = AgentLogger("a")
    for key in ("\udcff", "password\udcff"):
        for _ in range(3):
            agent.log_action("x", {"in": {key: 1}})
            agent.info("m", extra={key: 1})
    assert len(recorded.events) == 12
    assert not recorded.health.dropped, recorded.health.notes


def _raise(error):
    raise error


@pytest.mark.integration
def test_fifty_megabytes_are_cut_and_go_on(recorded):
    text = "y" * 50_000_000
    assert trace_agent_action(lambda given: given)(text) is text
    AgentLogger("a").log_action(text, {"text": text})
    AgentLogger("a").info(text, extra={"text": text})
    assert len(recorded.events) == 4
    assert max(map(len, recorded.sink.lines)) < 100_000
    assert recorded.last["types"] == {"/extra/full_message": "truncated", "/extra/text": "truncated"}
    assert not recorded.health.dropped


class ExplodingProperties:
    """An agent each of whose properties raises."""

    @property
    def agent_id(self):
        raise RuntimeError("no id")

    @property
    def agent_role(self):
        raise RuntimeError("no role")

    @property
    def logger(self):
        raise RuntimeError("no logger")

    @trace_agent_action
    def act(self):
        return 1


class ExplodingDict:
    def __init__(self):
        object.__setattr__(self, "agent_id", "a")

    @property
    def __dict__(self):
        raise RuntimeError("no dict")

    @trace_agent_action
    def act(self):
        return 1


@pytest.mark.parametrize("cls", [ExplodingProperties, ExplodingDict])
def test_an_agent_whose_attributes_explode_still_acts(recorded, cls):
    assert cls().act() == 1
    assert len(recorded.of("agent_action")) == 1


def _exploding(name):
    def explode(*_):
        raise RuntimeError(name)

    return type(
        "Odd", (ExceptionGroup,), {name: property(explode) if name != "__getattribute__" else explode}
    )


@pytest.mark.first_case
@pytest.mark.parametrize(
    "name",
    sorted(
        {*dir(ExceptionGroup), "__notes__"}
        - {"__class__", "__new__", "__init__", "__init_subclass__", "__class_getitem__"}
    ),
)
def test_an_exception_of_which_any_attribute_explodes_is_recorded_with_its_call(name, recorded):
    class Clerk:
        agent_id = "clerk"

        @trace_agent_action()
        def act(self, error):
            raise error

    raised = _exploding(name)("inner", [ValueError(1), _exploding(name)("innermost", [KeyError(2)])])
    caught = None
    try:
        Clerk().act(raised)
    except ExceptionGroup as error:
        caught = error
    assert caught is raised
    assert not recorded.health.dropped
    (told,) = recorded.of("agent_action")
    (error,) = recorded.of("error")
    assert told["extra"]["error_id"] == error["id"]


class Halt(BaseException):
    pass


class HaltingClass(type):
    def __getattribute__(cls, name):
        if is_armed:
            raise Halt(name)
        return super().__getattribute__(name)


class OfHaltingClass(metaclass=HaltingClass):
    pass


is_armed = False


def test_a_class_beside_the_agents_may_refuse_every_question(recorded, monkeypatch):
    ran = []

    class Agent:
        agent_id = "a"

        @trace_agent_action
        def act(self):
            ran.append(1)

    monkeypatch.setitem(globals(), "is_armed", True)
    for _ in range(3):
        Agent().act()
    monkeypatch.setitem(globals(), "is_armed", False)
    assert ran == [1, 1, 1]
    assert len(recorded.of("agent_action")) == 3


def test_a_dict_that_changes_while_it_is_read_is_recorded(recorded):
    shared = {f"k{number}": number for number in range(500)}
    stop = threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"n{number % 50}"] = [number]
            shared.pop(f"n{(number * 7) % 50}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            AgentLogger("a").log_action("act", shared)
    finally:
        stop.set()
        thread.join()
    assert len(recorded.events) == 300
    assert not recorded.health.dropped


def test_a_repr_or_property_that_logs_is_only_another_event(recorded):
    logger = AgentLogger("inner")

    class Chatty:
        agent_id = "chatty"

        def __str__(self):
            logger.info("asked for my text")
            return "chatty"

        __repr__ = __str__

        @property
        def agent_role(self):
            logger.info("asked for my role")
            return "talker"

        @trace_agent_action
        def act(self):
            return self

    AgentLogger("a").info(Chatty())
    AgentLogger("a").log_action(Chatty(), {"x": Chatty()})
    Chatty().act()
    assert len(recorded.of("agent_action")) == 2
    assert not recorded.health.dropped


@pytest.mark.further
def test_a_finaliser_that_logs_may_come_at_any_moment(recorded):
    logger = AgentLogger("dying")

    class Dying:
        def __init__(self):
            self.me = self

        def __del__(self):
            logger.log_action("die", {"x": 1})
            PerformanceLogger("dying").log_metric("m", 1.0)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(200):
            Dying()
            AgentLogger("a").info(f"m {number}", extra={"l": [[1], (2,)]})
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert len([event for event in recorded.events if event["extra"]["agent_id"] == "dying"]) == 400
    ids = [event["id"] for event in recorded.events]
    assert len(set(ids)) == len(ids)


def test_a_signal_handler_may_log_in_the_middle_of_logging(recorded):
    logger = AgentLogger("handler")
    count = 0

    def handle(*_):
        nonlocal count
        count += 1
        logger.log_action("signal", {"n": count})
        logger.info("signal", extra={"pair": (1, 2)})

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(3000):
            AgentLogger("a").log_action("act", {"n": number})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 0
    assert len(recorded.events) == 3000 + 2 * count
    ids = [event["id"] for event in recorded.events]
    assert len(set(ids)) == len(ids)


def test_a_refused_write_is_counted_told_once_and_reported_when_writing_works_again(recorded, capfd):
    logger = AgentLogger("a")
    logger.log_action("before")
    recorded.sink.is_failing = True
    assert [logger.log_action("lost") for _ in range(5)] == [""] * 5
    assert logger.info("lost too") == ""
    assert recorded.health.dropped == {"the file system refused the write": 6}
    recorded.sink.is_failing = False
    assert logger.log_action("after") != ""
    dropped = recorded.only("log.dropped")
    assert dropped["extra"]["count"] == 6
    assert dropped["extra"]["reason"] == "the file system refused the write"
    assert dropped["level"] == "WARNING"
    logger.log_action("later")
    assert len(recorded.of("log.dropped")) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and err.startswith("agent-trace: events are being lost")


def test_a_report_of_losses_that_is_lost_itself_comes_later():
    clock = FakeClock()
    with recording(clock=clock) as recorded:
        logger = AgentLogger("a")
        stream = recorded.sink.open_stream(None, "agents")
        answers = iter([False] * 3 + [True, False] + [True] * 10)
        write = stream.write
        stream.write = lambda line: next(answers) and write(line)
        # Three lost, one written, its report lost; the next attempt waits a while.
        for _ in range(6):
            logger.log_action("act")
        assert recorded.of("log.dropped") == []
        clock.advance(60)
        logger.log_action("act")
        assert sum(event["extra"]["count"] for event in recorded.of("log.dropped")) == 4
        assert sum(recorded.health.dropped.values()) == 4


def test_decorated_calls_go_on_while_nothing_can_be_written(recorded):
    class Agent:
        agent_id = "a"

        @trace_agent_action
        def act(self, x):
            if x < 0:
                raise ValueError(x)
            return x

    recorded.sink.is_failing = True
    agent = Agent()
    assert [agent.act(number) for number in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="-1"):
        agent.act(-1)
    with trace_context(AgentLogger("a"), "c"), measure_performance("m"):
        pass
    recorded.sink.is_failing = False
    with pytest.raises(ValueError, match="-2"):
        agent.act(-2)
    assert recorded.only("error")["extra"]["error_message"] == "-2"
    assert recorded.of("log.dropped")


def test_an_error_that_could_not_be_written_is_written_by_the_next_who_sees_it(recorded):
    @trace_agent_action
    def inner():
        recorded.sink.is_failing = True
        raise ValueError("x")

    @trace_agent_action
    def outer():
        try:
            inner()
        except ValueError:
            recorded.sink.is_failing = False
            raise

    with pytest.raises(ValueError, match="x"):
        outer()
    assert recorded.only("agent_action")["extra"]["error_id"] == recorded.only("error")["id"]


def test_a_stream_that_raises_is_counted_not_passed_on(recorded, capfd):
    stream = recorded.sink.open_stream(None, "agents")

    def explode(line):
        raise OSError("gone")

    stream.write = explode
    assert AgentLogger("a").log_action("act") == ""
    assert AgentLogger("a").info("m") == ""
    assert sum(recorded.health.dropped.values()) == 2
    assert "agent-trace: " in capfd.readouterr().err


def test_trouble_whose_text_explodes_is_told_all_the_same(recorded, capfd):
    recorded.health.trouble("here", ExplodingError("x"))
    recorded.health.trouble("here", ExplodingError("x"))
    recorded.health.trouble("there", ValueError("two\nlines"))
    err = capfd.readouterr().err
    assert err.count("agent-trace: ") == 2 and err.count("\n") == 2
    assert recorded.health.notes == {"here: ExplodingError": 2, "there: ValueError": 1}


def test_a_closed_stderr_is_nobodys_reason_to_fail(recorded, monkeypatch):
    for stream in (None, open(os.devnull)):  # noqa: SIM115 - one that cannot be written
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "__stderr__", stream)
        recorded.health.drop(f"reason {stream}")
    assert len(recorded.health.dropped) == 2


def test_infinite_recursion_in_the_program_stays_the_programs(recorded):
    class Agent:
        agent_id = "a"

        @trace_agent_action
        def act(self, n):
            return self.act(n + 1)

    with pytest.raises(RecursionError):
        Agent().act(0)
    AgentLogger("a").info("still here")
    assert recorded.last["message"] == "still here"
    assert "parent_span_id" not in recorded.last


def test_a_call_near_the_recursion_limit_raises_in_the_last_frames_alone_and_is_counted_before(recorded):
    raised, deepest = {"log": [], "act": []}, [0]
    logger = AgentLogger("a")

    class Acting:
        agent_id = "b"

        @trace_agent_action
        def act(self):
            return 1

    acting = Acting()

    def down(depth):
        deepest[0] = depth
        for name, call in (("log", lambda: logger.log_action("x")), ("act", acting.act)):
            try:
                call()
            except RecursionError:
                raised[name].append(depth)
        down(depth + 1)

    with pytest.raises(RecursionError):
        down(0)
    # the lambda takes a frame of its own
    assert all(depth > deepest[0] - 3 for depth in raised["log"]), (raised, deepest)
    assert all(depth > deepest[0] - 7 for depth in raised["act"]), (raised, deepest)
    assert [*recorded.health.dropped] in ([], ["the recursion limit left no room for the call"])
    assert logger.info("still here")


def test_no_state_is_kept_of_an_agent_that_is_gone():
    import weakref

    with recording(RecordOptions(state_period=2)) as found:

        class Agent:
            def __init__(self, number):
                self.agent_id = f"a{number}"

            @trace_agent_action
            def act(self):
                return 1

        refs = []
        for number in range(20):
            agent = Agent(number)
            agent.act()
            refs.append(weakref.ref(agent))
        del agent
        gc.collect()
        assert [ref() for ref in refs] == [None] * 20
        assert found.pipeline.agents.living() == []


def test_agents_that_all_talk_with_each_other_keep_no_head_for_each_pair(recorded):
    loggers = [AgentLogger(f"agent_{number}") for number in range(30)]
    for one in loggers:
        for other in loggers:
            other.receive(one.send(other.agent_id, "hello"))
    slots = [slot for logger in loggers for slot in logger._own_binding.slots.values()]
    assert sum(len(slot.heads) for slot in slots) == 0
    assert len(slots) >= 30


def test_labels_of_many_agents_are_kept_once_and_up_to_a_bound(recorded):
    recorded.pipeline.room.left = 5
    loggers = [AgentLogger(f"agent_{number}", "walker" if number % 2 else "runner") for number in range(20)]
    ids = [logger.log_action(f"act_{number % 4}") for number in range(9) for logger in loggers]
    assert all(ids)
    heads = {id(slot.heads): slot.heads for each in loggers for slot in each._own_binding.slots.values()}
    assert sorted(map(len, heads.values())) == [2, 3]
