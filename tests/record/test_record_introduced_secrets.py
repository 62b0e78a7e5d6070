"""Short credentials that only what stands before them gives away, in payloads that are plain otherwise."""

from __future__ import annotations

import pytest
from record_kit import recording

from Agent.record.encode import capture as judging
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import looks_clean
from Agent.utils import AgentLogger, trace_agent_action

SECRETS = [
    ("sent Bearer x8Kq2mZp7a", "x8Kq2mZp7a"),
    ("Authorization Basic YWJjOjEyMw", "YWJjOjEyMw"),
    ("secret:hunter22", "hunter22"),
    ("token:a1b2c3d4", "a1b2c3d4"),
    ("api_key:a1b2c3", "a1b2c3"),
    ("curl --api-key abc123 https://example.org", "abc123"),
    ("login --user anna --password  hunter22", "hunter22"),
    ("tool --client-secret 'two words'", "two words"),
    ("[('X-Api-Key', 'abc123def')]", "abc123def"),
    ('[["X-Api-Key", "abc123def"]]', "abc123def"),
    ("{'name': 'Authorization', 'value': 'swordfish'}", "swordfish"),
    ('{"name":"Authorization","value":"Bearer swordfish"}', "swordfish"),
    ({"name": "Authorization", "value": "swordfish"}, "swordfish"),
    ({"value": "swordfish", "key": "X-Api-Key"}, "swordfish"),
    ({"headers": [{"header": "Cookie", "value": "swordfish"}]}, "swordfish"),
]
TABLES = [
    ({"columns": ["user", "password"], "row": ["anna", "swordfish"]}, "swordfish"),
    ({"columns": ("user", "password"), "rows": [("anna", "swordfish"), ("bob", "")]}, "swordfish"),
    ({"index": [0], "columns": ["id", "api_key"], "data": [["anna", "abc123def"]]}, "abc123def"),
    ({"fields": ["password", "ranks"], "records": [["swordfish", [["anna"]]]]}, "swordfish"),
]
HARMLESS = [
    "The bearer of this letter is basic in every way",
    "Bearer tokens are described in section two",
    "key: value pairs, and a token: the next word",
    "starts at 10:30:00, see https://example.org:8080/a",
    "ratio:3 and author:anna",
    "run --verbose --token-count 3 --output file",
    "git commit --author anna",
    "words like 'secret', 'garden' and \"key\", \"board\"",
    {"name": "colour", "value": "red"},
    {"name": "token_count", "value": "12"},
    {"key": "monkey", "value": "banana"},
    {"value": 1.5, "name": "reward"},
    {"columns": ["user", "password_hint_shown"], "rows": [["anna", True], ["bob", False]]},
    {"columns": ["name", "likes"], "data": [["anna", 12], ["secretary", 3]]},
    {"columns": ["name", "password"], "rows": "none"},
    {"columns": ["user", "password"], "rows": [["anna"], ["bob", None]]},
    {"fields": [1, 2], "values": ["anna", "bob"]},
]


@pytest.fixture(params=["native", "python"])
def judge(request, monkeypatch):
    """Either judge of the hot path."""
    if request.param == "python":
        monkeypatch.setattr(judging, "native", None)
    elif judging.native is None:
        pytest.skip("the native judge was not built")


@pytest.mark.parametrize(("value", "secret"), SECRETS, ids=str)
def test_a_short_credential_reaches_no_line(judge, value, secret):
    with recording() as found:
        for _ in range(2):  # the second time goes the short way
            AgentLogger("a").log_action("call", value)
            AgentLogger("a").log_action("call", {"note": value})
        # the name comes first where it is to tell in a text what follows
        message = str(value) if "'value': 'swordfish', '" not in str(value) else "m"
        AgentLogger("a").info(message, {"note": value})
        assert len(found.events) == 5
        assert secret not in found.text
        assert found.text.count("[redacted:") == (6 if message != "m" else 5)


@pytest.mark.parametrize(("value", "secret"), TABLES, ids=str)
def test_a_value_in_a_row_has_the_name_of_its_column(judge, value, secret):
    with recording() as found:
        for _ in range(2):
            AgentLogger("a").log_action("call", value)
            AgentLogger("a").info("m", {"note": value})
        assert secret not in found.text
        assert found.text.count("[redacted:") == 4
        assert found.text.count("anna") == 4


@pytest.mark.parametrize("value", HARMLESS, ids=str)
def test_what_only_reminds_of_one_stays_as_it_is(judge, value):
    with recording() as found:
        for _ in range(2):
            AgentLogger("a").log_action("call", {"note": value})
        AgentLogger("a").info(str(value))
        assert [event["extra"]["action_data"] for event in found.of("agent_action")] == [{"note": value}] * 2
        assert found.of("log")[0]["message"] == str(value)
        assert "types" not in found.events[0]


def test_the_same_secret_has_the_same_token_however_it_is_introduced():
    redactor = Redactor(b"key")
    token = redactor.token("abc123def")
    assert redactor.text("--api-key abc123def") == f"--api-key {token}"
    assert redactor.text("('X-Api-Key', 'abc123def')") == f"('X-Api-Key', '{token}')"
    header = {"name": "Authorization", "value": "Bearer abc123def"}
    assert redactor.object(header) == {"name": "Authorization", "value": f"Bearer {token}"}


def test_a_redacted_text_stays_as_it_is_when_it_is_redacted_again():
    redactor = Redactor(b"key")
    for value, _ in SECRETS:
        if isinstance(value, str):
            once = redactor.text(value)
            assert redactor.text(once) == once


def test_json_without_texts_of_that_kind_is_clean():
    assert looks_clean(b'{"value":1,"name":"a","at":"10:30","text":"two words"}')


def test_an_action_that_is_called_like_a_secret_around_it_is_hidden_each_time():
    @trace_agent_action("swordfish")
    def inner():
        return 1

    @trace_agent_action
    def outer(password):
        return [inner() for _ in range(3)]

    with recording() as found:
        inner()  # the line's head is known from here on
        outer("swordfish")
        named = [event["message"] for event in found.of("agent_action")]
    assert named[0] == "Agent action: swordfish"
    assert all("swordfish" not in message for message in named[1:])
