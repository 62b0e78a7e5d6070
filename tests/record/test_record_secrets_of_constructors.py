"""Secrets that a constructor takes by position, and secrets that become keys of what a call returns."""

import dataclasses

import pytest
from record_kit import recording

from Agent.record.secrets.names import SURE, name_says
from Agent.record.tracing.instrument import instrument
from Agent.utils import trace_agent_action

SECRET = "Po1positionalT8vKp3L0"
OTHER = "Po2positionalT8vKp3L0"


class Plain:
    def __init__(self, uid, password, api_key=SECRET):
        self.uid = uid

    def step(self):
        return 1


class Weak(Plain):
    def __init__(self, uid, pin):
        self.uid = uid


class Rest(Plain):
    def __init__(self, uid, *passwords):
        self.uid = uid


class PassedOn(Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Inherited(Plain):
    pass


class Made(Plain):
    def __new__(cls, uid, password):
        return super().__new__(cls)

    def __init__(self, *args):
        self.uid = args[0]


@dataclasses.dataclass
class Data(Plain):
    uid: str
    password: str = ""


class OfC(Plain, dict):
    def __new__(cls, given, password):
        return super().__new__(cls)

    __init__ = dict.__init__
    uid = "c"


def first_state(cls, *args, **kwargs):
    """The first state of an object of an instrumented class."""
    with recording() as recorded, instrument(cls, methods=["step"], agent_id="uid"):
        cls(*args, **kwargs).step()
        return recorded.only("state")


def init_of(cls, *args, **kwargs):
    return first_state(cls, *args, **kwargs)["extra"]["init"]


@pytest.mark.parametrize("cls", [Plain, Inherited, PassedOn, Made, Data])
def test_a_constructor_argument_by_position_is_judged_by_the_name_of_its_parameter(cls):
    state = first_state(cls, "a", SECRET)
    uid, token = state["extra"]["init"]["args"]
    assert uid == "a"
    assert token.startswith("[redacted:")
    assert state["types"]["/extra/init/args/1"] == "redacted"
    if cls is not Made:
        assert init_of(cls, "a", password=SECRET)["kwargs"]["password"] == token


def test_further_arguments_are_judged_by_the_names_of_theirs():
    first, second, third = init_of(Plain, "a", SECRET, OTHER)["args"]
    assert first == "a"
    assert len({second, third}) == 2
    assert all(each.startswith("[redacted:") for each in (second, third))
    rest = init_of(Rest, "a", SECRET, OTHER)["args"]
    assert rest == [first, second, third]


def test_what_is_no_secret_under_its_name_stays_in_a_constructor_as_in_a_method():
    for value in (None, True, 12):
        assert init_of(Weak, "a", value)["args"] == ["a", value]
    assert init_of(Weak, "a", 123456)["args"][1].startswith("[redacted:")


def test_a_structure_under_a_secret_parameter_is_one_secret():
    for value in ({"old": SECRET}, [["user", "password"], ["bob", SECRET]], (SECRET, b"x")):
        state = first_state(Plain, "a", value)
        assert state["extra"]["init"]["args"][1].startswith("[redacted:")
        assert [place for place in state["types"] if place.startswith("/extra/init/args/1")] == [
            "/extra/init/args/1"
        ]


def test_a_row_of_a_table_is_one_secret_under_the_name_of_a_secret():
    token = init_of(Plain, ["user", "password"], ["bob", SECRET])["args"][1]
    assert str(token).startswith("[redacted:")


def test_the_other_arguments_stay_what_they_are():
    state = first_state(Plain, "a", SECRET, None)
    assert state["extra"]["init"]["args"][::2] == ["a", None]
    state = first_state(Plain, ("a", 1), SECRET)
    assert state["extra"]["init"]["args"][0] == ["a", 1]
    assert state["types"]["/extra/init/args/0"] == "tuple"


def test_without_redaction_constructor_arguments_are_in_clear():
    with recording(redact=False) as recorded, instrument(Plain, methods=["step"], agent_id="uid"):
        Plain("a", SECRET).step()
        assert recorded.only("state")["extra"]["init"]["args"] == ["a", SECRET]


def test_a_constructor_in_c_takes_the_names_of_its_new():
    assert init_of(OfC, {"x": 1}, password=SECRET)["kwargs"]["password"].startswith("[redacted:")


def test_constructors_without_names_of_secrets_are_encoded_at_once(monkeypatch):
    class Walker:
        uid = "w"

        def __init__(self, place, speed):
            self.place = place

        def step(self):
            return 1

    with recording() as recorded, instrument(Walker, methods=["step"], agent_id="uid"):
        capture = recorded.pipeline.capture
        Walker("here", 1)
        before = capture.careful_count
        monkeypatch.setattr(type(capture), "_redact", lambda *_, **__: pytest.fail("the slow path"))
        Walker("there", 2)
        assert capture.careful_count == before


class Keeper:
    agent_id = "k"

    @trace_agent_action()
    def keyed(self, password, how=None):
        return how(password) if how else {password: 1}


@pytest.mark.parametrize(
    "how",
    [
        lambda secret: {secret: 1},
        lambda secret: {"sessions": [{f"of {secret}": {"user": "bob"}}]},
        lambda secret: {1: 2, secret: 3},
        lambda secret: {(secret, 1): 3},
        lambda secret: __import__("collections").Counter([secret]),
        lambda secret: {secret: (1, 2), "user": {3}},
    ],
)
def test_a_secret_argument_is_no_key_of_the_result(how):
    with recording() as recorded:
        Keeper().keyed(SECRET, how)
        line = recorded.of("agent_action")[-1]
    assert SECRET not in str({**line, "label": ""})
    assert "[redacted:" in str(line["extra"]["result"])


def test_a_mapping_with_a_secret_key_is_marked_and_keeps_the_tags_of_its_values():
    with recording() as recorded:
        Keeper().keyed(SECRET, lambda secret: {secret: (1, 2), "user": 2})
        line = recorded.of("agent_action")[-1]
    (key, value), other = line["extra"]["result"].items()
    assert value == [1, 2]
    assert other == ("user", 2)
    assert line["types"]["/extra/result"] == "redacted"
    assert line["types"][f"/extra/result/{key}"] == "tuple"


def test_names_that_the_code_chose_stay_although_a_secret_is_equal_to_them():
    with recording() as recorded:
        for word in ("password", "result", "args", "outcome"):
            Keeper().keyed(word, how=None)
            extra = recorded.of("agent_action")[-1]["extra"]
            assert set(extra["args"]) <= {"password", "how"}
            assert list(extra["result"].values()) == [1]


def test_answers_to_security_questions_and_passwords_of_ssh_have_names_of_secrets():
    for name in ("sshpass", "SSHPASS", "ssh_pass", "security_answer", "securityAnswers", "secret_answer"):
        assert name_says(name) == SURE
    for name in ("answer", "answers", "security_question", "compass", "bypass", "security_answer_count"):
        assert name_says(name) != SURE
