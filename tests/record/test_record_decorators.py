"""The decorators: the same function, and one event for each call."""

import asyncio
import functools
import inspect

import pytest
from record_kit import recording

from Agent.errors import ConfigurationError
from Agent.event.values.digest import code_digest
from Agent.record.emit.context import Response, current_player, current_scope
from Agent.record.encode import native
from Agent.testing import FakeClock
from Agent.utils import (
    AgentLogger,
    trace_agent_action,
    trace_errors,
    trace_learning_update,
    trace_performance,
)

DECORATORS = {
    "agent_action": trace_agent_action,
    "learning_update": trace_learning_update,
    "metric": trace_performance,
}
LABELS = {"agent_action": "action_type", "learning_update": "learning_stage", "metric": "metric_name"}


class Baker:
    """An agent with one method of each sort."""

    def __init__(self, agent_id="baker/1"):
        self.agent_id = agent_id
        self.agent_role = "baker"
        self.loaves = 0

    @trace_agent_action
    def bake(self, count, *, hot=True):
        """Bake."""
        self.loaves += count
        return {"loaves": self.loaves, "hot": hot}

    @trace_agent_action("deliver")
    async def deliver(self, to):
        await asyncio.sleep(0)
        return to

    @trace_agent_action(action_type="bake_all")
    def bake_all(self, counts):
        return [self.bake(count) for count in counts]

    @staticmethod
    @trace_agent_action
    def outer_static(flour, water=2):
        return flour + water

    @trace_agent_action
    @staticmethod
    def inner_static(flour, water=2):
        return flour + water

    @classmethod
    @trace_agent_action
    def outer_class(cls, count):
        return (cls.__name__, count)

    @trace_agent_action
    @classmethod
    def inner_class(cls, count):
        return (cls.__name__, count)

    @trace_agent_action
    def fail(self, number):
        raise ValueError(number)

    @trace_agent_action
    def fail_inside(self, number):
        self.fail(number)


@pytest.mark.parametrize("kind", DECORATORS)
@pytest.mark.parametrize("form", ["bare", "empty", "positional", "keyword"])
def test_each_form_of_a_decorator_traces(recorded, kind, form):
    decorate = DECORATORS[kind]
    keyword = {"agent_action": "action_type", "learning_update": "update_type", "metric": "operation"}[kind]
    forms = {
        "bare": decorate,
        "empty": decorate(),
        "positional": decorate("named"),
        "keyword": decorate(**{keyword: "named"}),
    }

    @forms[form]
    def act(x):
        return x + 1

    assert act(1) == 2
    event = recorded.only(kind)
    assert event["extra"][LABELS[kind]] == ("act" if form in {"bare", "empty"} else "named")
    assert event["extra"]["call"].endswith("act")
    assert event["extra"]["duration_ms"] >= 0
    if kind != "metric":
        assert event["extra"]["args"] == {"x": 1} and event["extra"]["result"] == 2


@pytest.mark.parametrize("decorate", [*DECORATORS.values(), trace_errors])
def test_a_decorated_function_is_still_itself(decorate):
    def act(x: int, *rest: str, hot: bool = True, **more: float) -> str:
        """Does it."""
        return str(x)

    async def act_async(x: int) -> str:
        return str(x)

    for function in (act, act_async):
        for decorated in (decorate(function), decorate()(function)):
            assert inspect.signature(decorated) == inspect.signature(function)
            assert decorated.__wrapped__ is function
            assert decorated.__name__ == function.__name__ and decorated.__doc__ == function.__doc__
            assert decorated.__annotations__ == function.__annotations__
            assert inspect.iscoroutinefunction(decorated) == inspect.iscoroutinefunction(function)


class WithCall:
    def __call__(self):
        return 1


@pytest.mark.parametrize("decorate", [*DECORATORS.values(), trace_errors])
@pytest.mark.parametrize(
    "what",
    [Baker, WithCall(), staticmethod(WithCall()), functools.partial(print), property(print)],
    ids=lambda what: type(what).__name__ + getattr(what, "__name__", ""),
)  # fmt: skip
def test_what_cannot_be_traced_is_refused_in_one_sentence(decorate, what):
    with pytest.raises(ConfigurationError) as refused:
        decorate()(what)
    assert refused.value.remedy
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("level", ["LOUD", "", 25, None, True, object()])
def test_an_unknown_level_is_refused_where_it_is_written(level):
    with pytest.raises(ConfigurationError, match="unknown level"):
        trace_agent_action("x", level=level)


def test_an_unknown_way_of_looking_at_state_is_refused():
    with pytest.raises(ConfigurationError, match="state="):
        trace_agent_action("x", state="sometimes")


def test_a_method_leaves_its_agent_arguments_result_and_time():
    clock = FakeClock()
    with recording(clock=clock) as found:
        baker = Baker()
        original = baker.bake
        assert original(2, hot=False) == {"loaves": 2, "hot": False}
        event = found.only("agent_action")
        assert event["logger"] == "agent.baker"
        assert event["extra"]["agent_id"] == "baker/1" and event["extra"]["agent_role"] == "baker"
        assert event["extra"]["args"] == {"count": 2, "hot": False}
        assert event["extra"]["result"] == {"loaves": 2, "hot": False}
        assert event["extra"]["call"] == "Baker.bake" and event["extra"]["root"] is True
        assert len(event["span_id"]) == 16


def test_an_async_method_is_timed_to_its_end(recorded):
    assert asyncio.run(Baker().deliver("anna")) == "anna"
    event = recorded.only("agent_action")
    assert event["extra"]["args"] == {"to": "anna"} and event["extra"]["result"] == "anna"


@pytest.mark.parametrize("name", ["outer_static", "inner_static"])
def test_a_static_method_loses_no_argument(recorded, name):
    for call in (getattr(Baker, name), getattr(Baker(), name)):
        assert call(5) == 7
        assert recorded.last["extra"]["args"] == {"flour": 5}
        assert "agent_id" not in recorded.last["extra"]


@pytest.mark.parametrize("name", ["outer_class", "inner_class"])
def test_a_class_method_is_no_agent(recorded, name):
    class Special(Baker):
        pass

    assert getattr(Special, name)(3) == ("Special", 3)
    assert recorded.last["extra"]["args"] == {"count": 3}
    assert "agent_id" not in recorded.last["extra"]


def test_every_sort_of_parameter_is_named(recorded):
    @trace_agent_action
    def act(a, /, b, c=3, *rest, d, e=5, **more):
        return None

    act(1, 2, d=4)
    assert recorded.last["extra"]["args"] == {"a": 1, "b": 2, "d": 4}
    act(1, 2, 3, 8, 9, d=4, e=6, f=7)
    assert recorded.last["extra"]["args"] == {"a": 1, "b": 2, "c": 3, "*rest": [8, 9], "d": 4, "e": 6, "f": 7}
    act(1, b=2, d=4)
    assert recorded.last["extra"]["args"] == {"a": 1, "b": 2, "d": 4}


@pytest.mark.parametrize("has_native", [True, False])
def test_a_keyword_argument_with_the_name_of_a_positional_one_is_recorded_beside_it(
    recorded, monkeypatch, has_native
):
    if not has_native:
        monkeypatch.setattr(native, "native", None)

    @trace_agent_action
    def note(name, word=None, /, *rest, **tags):
        return None

    note("red", name="tag", size=1)
    assert recorded.last["extra"]["args"] == {"name": "red", "**name": "tag", "size": 1}
    note("red", "w", 3, size=1, name="tag", word=2)
    assert recorded.last["extra"]["args"] == {
        "name": "red", "word": "w", "*rest": [3], "size": 1, "**name": "tag", "**word": 2,
    }  # fmt: skip
    with pytest.raises(TypeError):
        note(name="tag")
    assert recorded.last["extra"]["args"] == {"name": "tag"}


def test_a_keyword_argument_beside_a_secret_of_the_same_name_is_a_secret(recorded):
    @trace_agent_action
    def login(password, /, **more):
        return None

    login("hunter2-abc", password="s3cret-xyz")
    assert set(recorded.last["extra"]["args"]) == {"password", "**password"}
    assert "hunter2" not in str(recorded.last)
    assert "s3cret" not in str(recorded.last)


def test_arguments_are_those_at_entry(recorded):
    @trace_agent_action
    def act(given, nested):
        given.clear()
        nested[0].append(2)
        return given

    act({"x": 1}, [[1]])
    assert recorded.only("agent_action")["extra"]["args"] == {"given": {"x": 1}, "nested": [[1]]}


def test_a_wrong_call_fails_as_without_the_decorator(recorded):
    baker = Baker()
    for call in (
        lambda: baker.bake(),
        lambda: baker.bake(1, 2, 3),
        lambda: baker.bake(1, cold=2),
        lambda: Baker.bake(),
    ):
        with pytest.raises(TypeError):
            call()
    assert all(event["extra"]["outcome"] == "error" for event in recorded.of("agent_action"))


def test_nested_actions_are_spans_within_spans(recorded):
    Baker().bake_all([1, 2])
    first, second, outer = recorded.of("agent_action")
    assert first["parent_span_id"] == second["parent_span_id"] == outer["span_id"]
    assert "parent_span_id" not in outer
    assert [event["extra"].get("root") for event in (first, second, outer)] == [None, None, True]
    assert "state" in outer and "code" in outer
    assert not {"state", "code"} & (first.keys() | second.keys())


def test_the_outermost_action_of_each_agent_tells_its_state(recorded):
    class Guide:
        def __init__(self, baker):
            self.agent_id = "guide"
            self.baker = baker
            self.asked = 0

        @trace_agent_action
        def lead(self):
            self.asked += 1
            return self.baker.bake_all([1])

    Guide(Baker()).lead()
    inner, middle, outer = recorded.of("agent_action")
    assert "state" not in inner
    assert middle["state"]["set"] == {"loaves": 1} and "root" not in middle["extra"]
    assert outer["state"]["set"] == {"asked": 1} and outer["extra"]["root"] is True


def test_what_is_logged_in_an_action_happens_in_its_span(recorded):
    class Logging:
        def __init__(self):
            self.agent_id = "a"
            self.logger = AgentLogger("a")

        @trace_agent_action
        def act(self):
            return self.logger.log_decision("d")

    Logging().act()
    assert recorded.only("decision")["parent_span_id"] == recorded.only("agent_action")["span_id"]
    assert "span_id" not in recorded.only("decision")


def test_an_error_is_one_event_at_the_innermost_span(recorded):
    with pytest.raises(ValueError, match="7"):
        Baker().fail_inside(7)
    error = recorded.only("error")
    inner, outer = recorded.of("agent_action")
    assert error["parent_span_id"] == inner["span_id"]
    for action in (inner, outer):
        assert action["extra"]["outcome"] == "error" and action["extra"]["error_id"] == error["id"]
        assert "result" not in action["extra"]
    assert error["extra"]["agent_id"] == "baker/1"
    assert inner["extra"]["args"] == {"number": 7}
    assert current_scope.get() is None


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (ValueError, "error"),
        (asyncio.CancelledError, "cancelled"),
        (KeyboardInterrupt, "interrupted"),
        (SystemExit, "interrupted"),
        (GeneratorExit, "cancelled"),
        (StopIteration, "error"),
        (RecursionError, "error"),
        (type("Halt", (BaseException,), {}), "error"),
        (type("Halt", (BaseException,), {"__module__": 3}), "error"),
        (type("GreenletExit", (BaseException,), {}), "interrupted"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_way_in_which_a_call_ends_is_its_outcome(recorded, raised, outcome, is_async):
    error = raised("x")

    @trace_agent_action
    def act():
        raise error

    @trace_agent_action
    async def act_async():
        raise error

    with pytest.raises(BaseException) as got:  # noqa: PT012 - either the error itself or what async makes of it
        if is_async:
            act_async().send(None)
        else:
            act()
    assert got.value is error or isinstance(got.value.__cause__, StopIteration)
    action = recorded.only("agent_action")
    assert action["extra"]["outcome"] == outcome
    assert len(recorded.of("error")) == (outcome == "error")
    assert current_scope.get() is None


def test_a_cancelled_task_is_recorded_as_such(recorded):
    class Sleeper:
        agent_id = "s"

        @trace_agent_action
        async def sleep(self):
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(Sleeper().sleep())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorded.only("agent_action")["extra"]["outcome"] == "cancelled"
    assert recorded.of("error") == []


def test_tasks_of_one_agent_keep_their_spans_apart(recorded):
    class Asker:
        agent_id = "a"

        @trace_agent_action
        async def ask(self, depth):
            await asyncio.sleep(0)
            return depth and await self.ask(depth - 1)

    async def main():
        asker = Asker()
        await asyncio.gather(*(asker.ask(2) for _ in range(5)))

    asyncio.run(main())
    events = recorded.of("agent_action")
    by_span = {event["span_id"]: event for event in events}
    assert len(by_span) == 15
    assert sum(event["extra"].get("root", False) for event in events) == 5
    for event in events:
        depth = event["extra"]["args"]["depth"]
        if depth < 2:
            assert by_span[event["parent_span_id"]]["extra"]["args"]["depth"] == depth + 1


def test_a_function_speaks_for_the_agent_around_it(recorded):
    @trace_agent_action
    def help_out(n):
        return n

    class Agent:
        agent_id = "a"

        @trace_agent_action
        def act(self):
            return help_out(1)

    help_out(0)
    Agent().act()
    alone, inside, _ = recorded.of("agent_action")
    assert "agent_id" not in alone["extra"]
    assert inside["extra"]["agent_id"] == "a"


def test_an_agent_is_found_by_its_logger(recorded):
    class Quiet:
        def __init__(self):
            self.logger = AgentLogger("by-logger", "quiet")

        @trace_agent_action
        def act(self):
            return 1

    Quiet().act()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "by-logger"
    assert recorded.only("agent_action")["extra"]["agent_role"] == "quiet"


def slots_agent(weak):
    class Slots:
        __slots__ = ("agent_id", "n", *(["__weakref__"] if weak else []))

        def __init__(self, agent_id):
            self.agent_id = agent_id
            self.n = 0

        @trace_agent_action
        def act(self):
            self.n += 1

    return Slots


@pytest.mark.parametrize("weak", [True, False])
def test_an_object_with_slots_is_an_agent_like_others(recorded, weak):
    agent = slots_agent(weak)("a")
    agent.act()
    agent.act()
    agent.agent_id = "b"
    agent.act()
    actions = recorded.of("agent_action")
    assert [event["extra"]["agent_id"] for event in actions] == ["a", "a", "b"]
    assert [event["state"]["set"].get("n") for event in actions] == [1, 2, 3]


def test_agents_that_allow_no_weak_references_are_freed_once_others_act(recorded):
    freed = []

    class Slots(slots_agent(weak=False)):
        __slots__ = ()

        def __del__(self):
            freed.append(self.agent_id)

    used = Slots("used")
    used.act()
    for number in range(200):
        agent = Slots(f"s{number}")
        agent.act()
        agent.act()
    # Its first actions look at the fields of 64 agents between actions, which keeps those of this kind alive.
    assert 130 <= len(freed) < 200 and "used" not in freed
    used.act()
    actions = [event for event in recorded.of("agent_action") if event["extra"]["agent_id"] == "used"]
    assert [event["state"]["set"]["n"] for event in actions] == [1, 2]
    states = [event["extra"]["reason"] for event in recorded.of("state")]
    assert states.count("first") == 201  # none began anew


def test_an_agent_that_changes_its_id_is_followed(recorded):
    baker = Baker("one")
    baker.bake(1)
    baker.agent_id = "two"
    baker.bake(1)
    assert [event["extra"]["agent_id"] for event in recorded.of("agent_action")] == ["one", "two"]


def test_an_id_need_not_be_text(recorded):
    import uuid

    for agent_id in (5, uuid.UUID(int=7), 0):
        Baker(agent_id).bake(1)
        assert recorded.of("agent_action")[-1]["extra"]["agent_id"] == str(agent_id)


def test_an_object_whose_id_is_computed_is_an_agent(recorded):
    class Computed:
        @property
        def agent_id(self):
            return "computed"

        @trace_agent_action
        def act(self):
            return 1

    Computed().act()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "computed"


def test_an_object_that_dies_leaves_its_place_to_the_next(recorded):
    for number in range(50):
        Baker(f"b{number}").bake(1)
    ids = [event["extra"]["agent_id"] for event in recorded.of("agent_action")]
    assert ids == [f"b{number}" for number in range(50)]
    assert len(recorded.pipeline.agents._known) <= 1


def test_a_level_of_its_own_hides_a_function(recorded, level):
    level("agents", 20)
    hidden = trace_agent_action("hidden", level="DEBUG")(lambda: 1)
    shown = trace_agent_action("shown", level="warning")(lambda: 2)
    assert (hidden(), shown()) == (1, 2)
    assert recorded.only("agent_action")["level"] == "WARNING"
    level("agents", 100)
    assert shown() == 2
    assert len(recorded.of("agent_action")) == 1


def test_arguments_and_results_can_be_left_out(recorded):
    @trace_agent_action(capture_args=False, capture_result=False)
    def act(x):
        return x

    act(1)
    assert not {"args", "result"} & recorded.only("agent_action")["extra"].keys()


def test_the_code_that_ran_is_told_once(recorded):
    baker = Baker()
    for _ in range(3):
        baker.bake(1)
    # Repeated for each 500 modules of the program: the tests themselves may have more.
    told = [event["extra"] for event in recorded.of("code")]
    modules = [name for each in told for name in each.pop("modules", ())]
    assert len(modules) == len(set(modules)) and (len(told) - 1) * 500 < max(1, len(modules))
    code = told[0]
    assert told == [code] * len(told)
    action = recorded.of("agent_action")[0]
    assert action["code"] == code["digest"]
    assert code["qualname"] == "Baker.bake" and "self.loaves += count" in code["source"]
    assert code["digest"] == code_digest(code["module"], code["qualname"], code["source"])


def test_a_function_without_source_has_an_identity_too(recorded):
    space = {"trace_agent_action": trace_agent_action}
    exec("@trace_agent_action\ndef act(): return 1", space)
    space["act"]()
    assert len(recorded.only("agent_action")["code"]) == 16
    assert all("source" not in event["extra"] for event in recorded.of("code"))


def test_a_builtin_can_be_traced(recorded):
    assert trace_agent_action(len)([1, 2]) == 2
    assert recorded.only("agent_action")["extra"]["result"] == 2


def test_trace_errors_records_what_is_raised_and_raises_it(recorded):
    class Risky:
        agent_id = "r"

        @trace_errors()
        def act(self, x, *, y=2):
            if x:
                raise LookupError("gone")
            return y

        @trace_errors
        async def act_async(self):
            raise LookupError("gone")

    assert Risky().act(0) == 2
    assert recorded.events == []
    with pytest.raises(LookupError):
        Risky().act(1, y=3)
    error = recorded.only("error")
    assert error["extra"]["args"] == {"x": 1, "y": 3} and error["extra"]["call"].endswith("Risky.act")
    assert error["extra"]["agent_id"] == "r"
    with pytest.raises(LookupError):
        asyncio.run(Risky().act_async())
    assert len(recorded.of("error")) == 2


def test_the_same_error_through_many_hands_is_one_event(recorded):
    class Many:
        agent_id = "m"

        @trace_agent_action
        @trace_errors
        @trace_learning_update
        @trace_performance
        def act(self):
            try:
                raise ValueError("x")
            except ValueError:
                AgentLogger("m").exception("seen")
                raise

    with pytest.raises(ValueError, match="x"):
        Many().act()
    error = recorded.only("error")
    for kind in ("agent_action", "learning_update", "metric"):
        assert recorded.only(kind)["extra"]["error_id"] == error["id"]


@pytest.mark.parametrize("name", ["frozen dataclass", "refuses attributes", "hostile getattr"])
def test_an_exception_class_of_any_sort_is_recorded_once(recorded, name):
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Refusing(Exception):
        def __setattr__(self, key, value):
            raise TypeError("no")

    class Hostile(Exception):
        def __getattribute__(self, key):
            if key.startswith("__agent"):
                raise RuntimeError("no")
            return super().__getattribute__(key)

    cls = {"frozen dataclass": Frozen, "refuses attributes": Refusing, "hostile getattr": Hostile}[name]

    @trace_agent_action
    def inner():
        raise cls(5)

    @trace_agent_action
    def outer():
        inner()

    with pytest.raises(cls):
        outer()
    assert len(recorded.of("error")) == 1
    assert {event["extra"]["error_id"] for event in recorded.of("agent_action")} == {
        recorded.only("error")["id"]
    }


def test_an_errors_level_filters_errors(recorded, level):
    level("errors", 100)
    with pytest.raises(ValueError, match="1"):
        Baker().fail(1)
    assert recorded.of("error") == []
    assert recorded.only("agent_action")["extra"]["outcome"] == "error"


def test_a_decorated_constructor_leaves_its_arguments_to_the_first_state(recorded):
    class Made:
        @trace_agent_action
        def __init__(self, agent_id, *, password, size=1):
            self.agent_id = agent_id
            self.size = size

        @trace_agent_action
        def act(self):
            self.size += 1

    Made("m", password="hunter2", size=3).act()
    state = recorded.only("state")
    assert state["extra"]["init"]["args"] == ["m"]
    assert state["extra"]["init"]["kwargs"]["size"] == 3
    assert "hunter2" not in recorded.text
    assert len(recorded.of("agent_action")) == 1


class Recorder:
    def __init__(self, answer=None):
        self.answer = answer
        self.entered, self.left = [], []

    def enter(self, call):
        self.entered.append(call)
        return self.answer

    def leave(self, call, result, error):
        self.left.append((result, error))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_player_may_answer_for_the_body(recorded, is_async):
    def body(x):
        raise AssertionError("the body ran")

    async def body_async(x):
        raise AssertionError("the body ran")

    act = trace_agent_action("act")(body_async if is_async else body)
    call = (lambda: asyncio.run(act(1))) if is_async else (lambda: act(1))
    for answer, check in ((Response(result=5), None), (Response(error=KeyError("k")), KeyError)):
        player = Recorder(answer)
        token = current_player.set(player)
        try:
            if check is None:
                assert call() == 5
            else:
                with pytest.raises(check):
                    call()
        finally:
            current_player.reset(token)
        (described,) = player.entered
        assert (described.action_type, dict(described.args), described.is_root) == ("act", {"x": 1}, True)


def test_a_player_sees_how_a_body_ended(recorded):
    player = Recorder()
    token = current_player.set(player)
    try:
        Baker().bake(2)
        with pytest.raises(ValueError, match="3"):
            Baker().fail(3)
    finally:
        current_player.reset(token)
    (result, none), (nothing, error) = player.left
    assert result == {"loaves": 2, "hot": True} and none is None
    assert nothing is None and isinstance(error, ValueError)
    assert player.entered[0].agent_id == "baker/1" and player.entered[0].agent_role == "baker"
