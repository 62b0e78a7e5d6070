"""No byte of a secret reaches a line, whatever way it comes in; what only looks like one stays."""

import base64
import dataclasses
import itertools
import json
import logging
import random
import re
import string
import types
from collections import Counter, OrderedDict, defaultdict
from functools import partial
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_kit import recording

from Agent import send, setup_logging, shutdown_logging
from Agent.bridges import TraceHandler
from Agent.event.codec import validate_event
from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.record.emit.context import caused_by
from Agent.record.encode.capture import Capture
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.names import is_secret_name
from Agent.record.secrets.patterns import secrets_in
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
)

CHANCE = random.Random(20261120)


def some(count, letters=string.ascii_letters + string.digits):
    """Characters that no other secret of this file has."""
    return "".join(CHANCE.choices(letters, k=count))


HEX = "0123456789abcdef"
BODY = "\n".join(some(64, string.ascii_letters + string.digits + "+/") for _ in range(4))


def pem(kind, newline="\n", header=""):
    return f"-----BEGIN {kind}-----\n{header}{BODY}\n-----END {kind}-----".replace("\n", newline)


def jwt():
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    return f"{header}.{some(60)}.{some(43)}"


SHAPED = {
    "openai": "sk-" + some(48),
    "openai project": f"sk-proj-{some(30)}_{some(20)}-{some(20)}",
    "anthropic": f"sk-ant-api03-{some(40)}-{some(20)}AA",
    "openrouter": "sk-or-v1-" + some(64, HEX),
    "stripe": "sk_live_" + some(24),
    "stripe restricted": "rk_live_" + some(24),
    "stripe webhook": "whsec_" + some(32),
    "github": "ghp_" + some(36),
    "github server": "ghs_" + some(36),
    "github fine-grained": f"github_pat_{some(22)}_{some(59)}",
    "gitlab": "glpat-" + some(20),
    "slack": f"xoxb-{some(12, '0123456789')}-{some(13, '0123456789')}-{some(24)}",
    "slack app": f"xapp-1-{some(11)}-{some(13, '0123456789')}-{some(40, HEX)}",
    "aws": "AKIA" + some(16, string.ascii_uppercase + string.digits),
    "google": "AIza" + some(35),
    "google oauth": "ya29." + some(60),
    "npm": "npm_" + some(36),
    "pypi": "pypi-" + some(60),
    "hugging face": "hf_" + some(34),
    "groq": "gsk_" + some(52),
    "digital ocean": "dop_v1_" + some(64, HEX),
    "databricks": "dapi" + some(32, HEX),
    "sendgrid": f"SG.{some(22)}.{some(43)}",
    "shopify": "shpat_" + some(32, HEX),
    "vault": "hvs." + some(24),
    "docker": "dckr_pat_" + some(27),
    "telegram": f"{some(10, '123456789')}:AA{some(33)}",
    "jwt": jwt(),
    "private key": pem("PRIVATE KEY"),
    "rsa key": pem("RSA PRIVATE KEY"),
    "encrypted key": pem("RSA PRIVATE KEY", header="Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n"),
    "windows key": pem("EC PRIVATE KEY", newline="\r\n"),
    "key on one line": pem("OPENSSH PRIVATE KEY", newline=" "),
    "key without its end": "-----BEGIN PRIVATE KEY-----\n" + BODY,
}
"""Secrets that are known by their own shape, wherever they stand."""

NAMES = [
    "password", "Password", "PASSWORD", "db_password", "dbPassword", "user-password", "passwd", "pwd", "pass",
    "passphrase", "secret", "client_secret", "clientSecret", "CLIENT_SECRET", "api_key", "apiKey", "APIKey",
    "X-Api-Key", "api key", "openai_api_key", "OPENAI_API_KEY", "access_key", "aws_secret_access_key", "private_key",
    "encryption_key", "signing-key", "token", "access_token", "accessToken", "refresh_token", "github_token",
    "GITHUB_TOKEN", "bot_token", "auth", "Authorization", "proxy_authorization", "Cookie", "Set-Cookie", "credentials",
    "connection_string", "csrf", "jwt", "ssn", "credit_card", "cvv",
]  # fmt: skip
"""Names under which everything is a secret."""

HARMLESS_NAMES = [
    "session_id", "author", "authors", "authority", "token_count", "prompt_tokens", "completion_tokens",
    "max_tokens", "valid_tokens", "next_token", "next_page_token", "stop_token", "tokenizer", "classname", "className",
    "businessname", "key", "keys", "primary_key", "foreign_key", "cache_key", "sort_key", "public_key", "monkey",
    "keyboard", "secretary", "passed", "passenger", "bypass", "compass", "pinned", "spinner", "option", "authored_at",
    "password_count", "password_changed_at", "secret_name", "cwd", "description", "discussion", "cardinality",
]  # fmt: skip

PLAIN_SECRET = "hunter2-" + some(5)


def in_text(name, secret):
    """The ways in which a named secret stands in a text."""
    return [
        f"{name}={secret}",
        f"{name}: {secret}",
        f"{name} = {secret}",
        f"{name}='{secret}'",
        f'{name}="{secret}"',
        f'{{"{name}": "{secret}"}}',
        f'{{"{name}":"{secret}"}}',
        f"{{'{name}': '{secret}'}}",
        json.dumps(json.dumps({name: secret})),
        f"before\n{name}={secret}\nafter",
        f"https://example.org/?a=1&{name}={secret}&b=2",
    ]


@dataclasses.dataclass
class Account:
    owner: str
    password: str


class Login(NamedTuple):
    user: str
    password: str


class Opaque:
    def __init__(self, secret):
        self.api_key = secret


def pieces(secret):
    """What must not be found of a secret: itself, and each longer part of it."""
    lines = [line for line in secret.replace("\\n", "\n").splitlines() if "-----" not in line]
    found = {secret, *(line.strip() for line in lines)}
    return {
        piece[start : start + 12] for piece in found for start in range(0, max(1, len(piece) - 11), 6)
    } - {""}


def leaks(text, secret):
    return [
        piece
        for piece in pieces(secret)
        if len(piece) > 6 and piece in text and not piece.startswith("-----")
    ]


def enter_everywhere(secret, name):
    """Hand a value to every entrance that there is, under harmless names and under the given one."""
    agent = AgentLogger("a1", "tester")
    agent.info(f"message {secret}")
    agent.info("extra", extra={"note": secret, name: secret, "deep": [{"list": [secret]}]})
    agent.bind(**{name: secret, "more": secret}).info("bound")
    agent.bind(note=secret).log_action("bound", {"x": 1})
    agent.log_action(f"act {secret}", {"value": secret, name: secret}, decision_context=[secret])
    agent.log_decision("d", {"t": (secret, 1)}, reasoning=secret)
    agent.log_state_change({"s": secret}, {"s": {name: secret}}, trigger=secret)
    agent.log_content_generation("t", secret, {"m": {secret}})
    agent.log_strategy_update("s", secret, [secret], reason=secret)
    agent.log_learning_update("s", {1: secret, (1, 2): secret})
    agent.receive(agent.send("b", {"text": secret, name: secret}))
    LearningLogger("rl", "a1").log_training_step(1, {"m": secret}, model_state={name: secret})
    InteractionLogger().log_interaction("like", secret, data={name: secret})
    PerformanceLogger().log_metric("m", 1.0, data={"d": secret})
    SystemLogger().log_config("c", secret, {name: secret})
    values = [
        Account(secret, "x"), Login(secret, "x"), OrderedDict(k=secret), defaultdict(list, k=[secret]),
        Counter({secret: 2}), {secret: 1}, {secret: {1, 2}}, {secret}, frozenset({secret}), (secret, "b"),
        [(name, secret)], {b"k": secret.encode()}, secret.encode(), bytearray(secret.encode()), Opaque(secret),
        types.SimpleNamespace(note=secret), secret + "\udcff", {1: {name: secret}}, {(name, 1): secret}, {None: secret},
    ]  # fmt: skip
    for value in values:
        agent.log_action("value", {"v": value})
        agent.info("value", extra={"v": value})

    class Keeper:
        def __init__(self):
            self.agent_id = "a1"
            self.held = secret
            self.more = {"k": [secret]}

        @trace_agent_action
        def act(self, given, *rest, **more):
            self.held = given + "x"
            self.more = {"k": {name: given}}
            return {"r": (given, rest, more)}

        @trace_learning_update
        def learn(self, given):
            return [given]

        @trace_agent_action
        def fail(self, given):
            raise ValueError(f"it was {given}", {name: given})

        @trace_errors
        def break_down(self, given):
            raise RuntimeError(given)

    keeper = Keeper()
    keeper.act(secret, secret, more=secret, password=secret)
    keeper.learn(secret)
    for call in (keeper.fail, keeper.break_down):
        with pytest.raises((ValueError, RuntimeError)):
            call(secret)
    with trace_context(agent, f"context {secret}", note=secret, password=secret), caused_by(secret):
        agent.info("inside")
        with measure_performance(f"block {secret}", data={"d": secret}):
            pass
    try:
        raise KeyError(secret) from ValueError(secret)
    except KeyError:
        agent.exception(f"handled {secret}", extra={"note": secret, name: secret, "password": secret})
    try:
        raise ExceptionGroup(secret, [ValueError(secret)])
    except ExceptionGroup:
        agent.bind(password=secret).exception("group")


@pytest.mark.first_case
@pytest.mark.parametrize("sort", SHAPED)
def test_a_shaped_secret_gets_through_no_entrance(sort):
    secret = SHAPED[sort]
    with recording() as found:
        enter_everywhere(secret, "note")
        assert not found.health.dropped
        # A telegram bot's number is public, the key is what stands behind it.
        wanted = secret.partition(":")[2] if sort == "telegram" else secret
        assert leaks(found.text, wanted) == []
        assert leaks(json.dumps(decoded_bytes(found)), wanted) == []
        assert "[redacted:" in found.text


def decoded_bytes(found):
    """What stands in the lines as base64, decoded."""
    texts = []
    for event in found.events:
        for pointer, tag in event.get("types", {}).items():
            if tag in {"bytes", "bytearray"}:
                node = event
                for token in pointer.split("/")[1:]:
                    token = token.replace("~1", "/").replace("~0", "~")
                    node = node[int(token)] if isinstance(node, list) else node[token]
                texts.append(base64.b64decode(node).decode("latin-1"))
    return texts


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_under_a_secret_name_gets_through_no_entrance(name):
    with recording() as found:
        agent = AgentLogger("a1")
        for value in (
            PLAIN_SECRET,
            [PLAIN_SECRET],
            {"inner": PLAIN_SECRET},
            (PLAIN_SECRET,),
            PLAIN_SECRET.encode(),
        ):
            agent.info("x", extra={name: value})
            agent.log_action("x", {name: value})
            agent.log_action("x", {"deep": [{name: value}]})
            agent.log_action("x", {1: {name: value}})
            agent.log_decision("x", {"headers": [(name, value)]})
            agent.log_decision("x", {"headers": {name.encode(): value}})
        with trace_context(agent, "c", **{name: PLAIN_SECRET}):
            agent.info("inside")
        assert PLAIN_SECRET not in found.text
        assert base64.b64encode(PLAIN_SECRET.encode()).decode() not in found.text
        assert not found.health.dropped


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {"api key", "Cookie", "Set-Cookie", "pass"}]
)
def test_a_named_secret_inside_a_text_gets_through_no_entrance(name):
    if name in {"csrf", "jwt", "ssn", "cvv"}:
        pytest.skip("in a text these are known by the shape of what stands behind them, if at all")
    for text in in_text(name, PLAIN_SECRET):
        with recording() as found:
            agent = AgentLogger("a1")
            agent.info(text)
            agent.info("x", extra={"text": text})
            agent.log_action("x", {"text": text})
            agent.log_action("x", {"text": text, "t": (1, text)})
            assert PLAIN_SECRET not in found.text, text


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {PLAIN_SECRET}",
        f"Authorization: Basic {base64.b64encode(b'me:' + PLAIN_SECRET.encode()).decode()}",
        f"curl -H 'Authorization: token {PLAIN_SECRET}' https://example.org",
        f"Cookie: session={PLAIN_SECRET}; theme=dark",
        f"Set-Cookie: sid={PLAIN_SECRET}; Path=/; HttpOnly",
        f"postgres://me:{PLAIN_SECRET}@db.example.org:5432/data",
        f"redis://:{PLAIN_SECRET}@cache:6379/0",
        f"amqp://me:p@{PLAIN_SECRET}/x@mq.example.org",
        f"host=db password={PLAIN_SECRET} dbname=x",
        f"Server=db;User Id=me;Password={PLAIN_SECRET};",
        f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={PLAIN_SECRET}{some(60)}==;",
        f"https://blob.example.org/x?sv=2026&sig={PLAIN_SECRET}&se=2027",
        f"export GITHUB_TOKEN={PLAIN_SECRET}",
        f"password: 'correct {PLAIN_SECRET} battery'",
        f"Account(owner='me', password='{PLAIN_SECRET}')",
        f'{{\\"password\\": \\"{PLAIN_SECRET}\\"}}',
    ],
)
def test_a_secret_in_the_manner_of_other_tools_is_found(text):
    with recording() as found:
        agent = AgentLogger("a1")
        agent.info(text)
        agent.log_action("x", {"text": text})
        agent.log_action("x", {"text": [text, (text,)]})
        trace_agent_action(lambda value: value)(text)
        assert PLAIN_SECRET not in found.text
        assert base64.b64encode(PLAIN_SECRET.encode()).decode()[4:-4] not in found.text


def test_the_same_secret_is_the_same_token_everywhere():
    key = SHAPED["github"]
    with recording() as found:
        agent = AgentLogger("a1")
        agent.log_action("x", {"text": f"key {key} end"})
        agent.log_action("x", {"token": key})
        agent.log_action("x", {"authorization": f"Bearer {key}"})
        agent.log_action("x", {"list": [key, (key,)]})
        agent.info(f"token={key}")
        token = found.pipeline.redactor.token(key)
        assert found.text.count(token) == 6
        assert found.text.count("[redacted:") == 6


def test_a_key_of_an_issuer_is_no_name_of_an_agent_a_role_or_a_logger(trace_root):
    """Program and files: the agent is one in all of them, and the program sees its own id."""
    keys = {
        place: f"ghp_{some(36)}" for place in ("id", "other", "role", "component", "type", "library", "extra")
    }

    class Worker:
        def __init__(self, agent_id):
            self.agent_id, self.count, self.peer = agent_id, 0, self
            self.logger = AgentLogger(agent_id, keys["role"])

        @trace_agent_action
        def work(self, other):
            self.count += 1
            self.peer = other
            foreign.warning("inside")
            return send(other.agent_id, "hello")

    foreign = logging.Logger(f"lib.{keys['library']}")  # noqa: LOG001 - not one of the process's
    foreign.addHandler(TraceHandler())
    session = setup_logging(trace_root=trace_root).path
    try:
        one, other = Worker(keys["id"]), Worker(f"bot-{keys['other']}")
        for _ in range(3):
            message = one.work(other)
        other.logger.receive(message)
        assert (message.sender, message.recipient) == (one.agent_id, other.agent_id)
        PerformanceLogger(keys["id"], keys["role"]).log_metric("speed", 1.0)
        SystemLogger(keys["component"]).info("ready")
        LearningLogger(keys["type"]).info("learnt")
        foreign.error("outside", extra={"agent_id": keys["extra"], "agent_role": keys["role"]})
    finally:
        shutdown_logging()
    files = [path for path in trace_root.rglob("*") if path.is_file()]
    for place, key in keys.items():
        assert not [
            path for path in files if key[4:] in str(path) or key[4:].encode() in path.read_bytes()
        ], place
    counts = json.loads((session / "trace_summary.json").read_bytes())["by_agent"]
    written = {path.name.partition("~")[0] for path in (session / "agents").iterdir()}
    assert len(counts) == len(written - {"agents.log"}) == 3, written
    assert sum(name.startswith("bot-[redacted:") for name in counts) == 1


def test_another_key_makes_other_tokens():
    assert Redactor(b"one key").token("secret") != Redactor(b"another key").token("secret")


def test_a_redacted_place_is_marked_and_the_rest_keeps_its_tags():
    with recording() as found:
        AgentLogger("a1").log_action("x", {"t": (1, 2), "password": (1, 2), "n": float("nan")})
        types_ = found.last["types"]
        assert types_ == {
            "/extra/action_data/t": "tuple",
            "/extra/action_data/password": "redacted",
            "/extra/action_data/n": "float",
        }


def test_a_secret_that_is_a_key_is_not_in_the_pointers_either():
    secret = SHAPED["stripe"]
    with recording() as found:
        AgentLogger("a1").log_action("x", {secret: (1, {secret: {2}})})
        assert secret not in found.text
        token = found.pipeline.redactor.token(secret)
        assert found.last["types"][f"/extra/action_data/{token}"] == "tuple"
        assert found.last["types"][f"/extra/action_data/{token}/1/{token}"] == "set"


class Cell:
    """A key that is no text."""


@pytest.mark.parametrize("key", ["password", ("password", 1), ("a", "api_key")])
@pytest.mark.parametrize("others", [{1: 2}, {Cell(): itertools.count(3)}])
def test_a_name_among_the_keys_of_a_mapping_with_other_keys_hides_its_value(key, others):
    for make in (dict, partial(defaultdict, partial(itertools.count, 1)), OrderedDict):
        with recording() as found:
            for _ in range(2):  # the second time every key is known

                class Holding:
                    agent_id = "a"
                    by_key = make({**others, key: PLAIN_SECRET})

                    @trace_agent_action
                    def act(self):
                        return self.by_key

                Holding().act()
            assert PLAIN_SECRET not in found.text
            assert "[redacted:" in found.text


@pytest.mark.parametrize("key", ["password", ("password", 1)])
def test_where_texts_are_kept_a_name_among_the_keys_hides_its_value_all_the_same(key):
    capture = Capture(Redactor(b"key").for_names_alone(), DEFAULT_LIMITS, lambda _: None)
    for _ in range(2):
        body, types = capture.body({"by_key": {1: 2, key: PLAIN_SECRET}})
        assert PLAIN_SECRET.encode() not in body
        assert types["/extra/by_key/1/1"] == "redacted"


def test_booleans_and_counts_under_secret_names_stay():
    with recording() as found:
        AgentLogger("a1").log_action("x", {"password": True, "token": 512, "secret": None, "pin": 4711})
        data = found.last["extra"]["action_data"]
        assert (data["password"], data["token"], data["secret"]) == (True, 512, None)
        assert data["pin"].startswith("[redacted:")


def test_a_name_that_was_ours_once_is_judged_all_the_same():
    with recording() as found:
        agent = AgentLogger("a1")
        try:
            raise ValueError("x")
        except ValueError:
            agent.exception("first", extra={"password": PLAIN_SECRET})
        agent.log_action("x", {"password": PLAIN_SECRET})
        agent.info("x", extra={"password": PLAIN_SECRET})
        assert PLAIN_SECRET not in found.text


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_a_harmless_name_hides_nothing(name):
    assert not is_secret_name(name)
    with recording() as found:
        AgentLogger("a1").log_action("x", {name: "some value 123"})
        assert found.last["extra"]["action_data"] == {name: "some value 123"}
        assert "types" not in found.last


INNOCENTS = [
    "123e4567-e89b-42d3-a456-426614174000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "/srv/data/projects/simulation/runs/2026-11-20/agents/creator_001/content.json",
    "C:\\Users\\someone\\projects\\simulation\\output_directory\\file.txt",
    "a_long_snake_case_name_for_a_feature_that_nobody_reads",
    "task-scheduler-with-a-long-kebab-case-name-v2",
    "disk_usage_statistics_collector_v2_interval",
    "pk_user_account_identifier",
    "sk-learn-pipeline-config",
    "risk_assessment_for_the_quarter",
    "2026-11-20T10:30:45.123456Z",
    "2026-11-20 10:30",
    "dGhpcyBpcyBqdXN0IGRhdGEgd2l0aG91dCBhIG1lYW5pbmc=",
    "x = y; total = sum(values); key=lambda item: item.size",
    "def author(name): return name == 'someone'",
    "if token == other_token: advance()",
    "max_tokens=256, prompt_tokens: 12, token_count=7",
    "for key, value in table.items(): print(f'{key}={value}')",
    "a basic understanding of bearer instruments",
    "Bearer authentication is required",
    "The author: Ann Smith; the key: patience",
    "password=None",
    "password: str = field(default=None)",
    "api_key=os.environ['OPENAI_API_KEY']",
    "next token: hello",
    "https://example.org:8080/path?x=1&y=2#part",
    "http://localhost:8000/agents/@me/followers",
    "someone@example.org wrote: see http://example.org/",
    "ratio 3:2, at 10:30: done",
    "PWD=/srv/data",
    "creator_001-post-017",
    "20261120_103045",
    "k3v9q2ma-1042",
    "emoji 🎉 and ümläuts: fine",
    "",
]


@pytest.mark.parametrize("text", INNOCENTS)
def test_what_is_no_secret_stays_as_it_is(text):
    with recording() as found:
        agent = AgentLogger("a1")
        agent.info(text or "x", extra={"text": text})
        agent.log_action("x", {"text": text, "list": [text, (text,)], text or "k": text})
        assert found.events[0]["message"] == (text or "x")
        assert found.events[0]["extra"]["text"] == text
        assert found.events[1]["extra"]["action_data"] == {
            "text": text,
            "list": [text, [text]],
            text or "k": text,
        }
        assert "redacted" not in found.text


@pytest.mark.parametrize("sort", SHAPED)
def test_the_quick_look_never_passes_what_the_close_look_would_take(sort):
    for text in (
        SHAPED[sort],
        f"see {SHAPED[sort]}",
        f"line\n{SHAPED[sort]}",
        f"x/{SHAPED[sort]}",
        f"k={SHAPED[sort]}",
    ):
        assert secrets_in(text), text
        assert not looks_clean(json.dumps({"m": text}, ensure_ascii=False).encode()), text


@given(st.text(max_size=200))
def test_the_close_look_is_stable_and_loses_no_other_text(text):
    redactor = Redactor(b"key")
    once = redactor.text(text)
    assert redactor.text(once) == once
    if not secrets_in(text):
        assert once == text


def test_a_very_long_text_costs_little_and_keeps_no_secret():
    import time

    prose = "The token of the author: a = b, see https://example.org/key=1 and so on. " * 2000
    begun = time.thread_time()
    clean = Redactor(b"key").text(prose + SHAPED["openai"] + prose)
    assert time.thread_time() - begun < 2
    assert SHAPED["openai"] not in clean
    assert len(clean) > 2 * len(prose)


@pytest.mark.parametrize("at", range(1950, 2060, 5))
def test_a_message_is_never_cut_in_the_middle_of_a_secret(at):
    secret = SHAPED["openai"]
    with recording() as found:
        AgentLogger("a1").info("w " * (at // 2) + secret + " end" * 400)
        assert leaks(found.text, secret) == []
        assert len(found.last["message"]) <= 2100


def test_the_beginning_of_a_traceback_is_not_cut_in_a_secret():
    secret = SHAPED["private key"]
    with recording() as found:
        try:
            raise ValueError(f"{secret}\n" + "words and more\n" * 1000)
        except ValueError:
            AgentLogger("a1").exception("x")
        assert leaks(found.text, secret) == []


def test_redaction_can_be_switched_off():
    with recording(redact=False) as found:
        AgentLogger("a1").log_action("x", {"password": "hunter2"})
        assert found.last["extra"]["action_data"] == {"password": "hunter2"}
        assert found.pipeline.redactor.arguments(["--password", "x"]) == ["--password", "x"]


def test_a_command_line_keeps_its_shape_and_loses_its_secrets():
    redactor = Redactor(b"key")
    key = SHAPED["aws"]
    argv = [
        "run.py",
        "--token",
        "abc",
        "--api-key=xyz",
        "-v",
        "--name",
        "Ann",
        key,
        "PASSWORD=hunter2",
        "--author=me",
    ]
    clean = redactor.arguments(argv)
    assert clean == [
        "run.py", "--token", redactor.token("abc"), f"--api-key={redactor.token('xyz')}", "-v", "--name", "Ann",
        redactor.token(key), f"PASSWORD={redactor.token('hunter2')}", "--author=me",
    ]  # fmt: skip


def test_every_line_with_a_token_is_a_valid_event():
    with recording() as found:
        enter_everywhere(SHAPED["github"], "password")
        assert [validate_event(event) for event in found.events if validate_event(event)] == []
        assert found.pipeline.redactor.count > 50


@pytest.mark.integration
def test_the_names_of_many_keys_do_not_grow_without_bound():
    redactor = Redactor(b"key")
    most = 0
    for number in range(70_000):
        redactor.is_denied(f"key_{number}")
        most = max(most, len(redactor.known_keys))
    for number in range(10_000):
        redactor.is_denied(f"password_{number}")
    assert 65_000 < most < 70_000 and "session_id" in redactor.known_keys
    assert len(redactor.number_keys) < 10_000
    assert redactor.is_denied("password_9999") and not redactor.is_denied("key_69999")


def test_foreign_logging_is_left_alone(caplog):
    with recording(), caplog.at_level(logging.DEBUG):
        AgentLogger("a1").info("x", extra={"password": PLAIN_SECRET})
    assert caplog.records == []


def test_the_directory_that_a_shell_is_in_is_no_password():
    redactor, tags = Redactor(b"k" * 32), {}
    told = redactor.object({"PWD": "/srv/shop", "OLDPWD": "/srv", "pwd": "/srv/shop", "PASSWORD": "/srv"})
    assert (told["PWD"], told["OLDPWD"]) == ("/srv/shop", "/srv")
    assert "/srv" not in told["pwd"] + told["PASSWORD"]
    assert redactor.value({"PWD": "hunter2"}, "", tags)["PWD"] != "hunter2"


class Word:
    def __init__(self, text):
        self.text, self.synonyms = text, [self]


def test_the_class_of_an_object_under_a_secret_name_is_no_secret():
    words = {0: Word("up"), "password": Word("7Hk2pQ9wZx4v"), "lamp": Word("lamp")}
    with recording() as found:
        AgentLogger("a").log_action("look", {"words": words, "more": "said 7Hk2pQ9wZx4v"})
        assert "7Hk2pQ9wZx4v" not in found.text
        forms = [pair[1] for pair in found.last["extra"]["action_data"]["words"]]
    assert forms[1].startswith("[redacted:")
    assert [form["class"].rpartition(".")[2] for form in (forms[0], forms[2])] == ["Word", "Word"]
    assert all(form["digest"].startswith("c1:") for form in (forms[0], forms[2]))


class Holder:
    agent_id = "a"

    def __init__(self, pat):
        self.pat = pat

    @trace_agent_action
    def act(self):
        return 1


@pytest.mark.parametrize(
    "held", [len, iter([1, 2]), re.compile(r"(?P<k>\w+)=(?P<v>\d+)"), Word("7Hk2pQ9wZx4v")]
)
def test_the_digest_of_an_object_under_a_name_that_may_be_that_of_a_secret_is_kept(held):
    with recording() as found:
        Holder(held).act()
        assert "7Hk2pQ9wZx4v" not in found.text
        form = found.of("state")[0]["extra"]["fields"]["pat"]
    assert form["digest"].startswith("c1:")


@pytest.mark.parametrize("beside", [("token", object()), ("a", object(), "b"), {1: {"token": [2]}}])
def test_a_name_that_passes_above_a_small_number_still_hides_what_comes_later(beside):
    capture = Capture(Redactor(b"key"))
    for number in (0, 1):
        body, _ = capture.user_body({"password": number, "beside": beside}, "/extra/fields")
        assert b'"password":%d' % number in body
    for value in ("correcthorse", 48291123):
        body, _ = capture.user_body({"password": value, "beside": beside}, "/extra/fields")
        assert str(value).encode() not in body
