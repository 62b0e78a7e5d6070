"""Secrets in large structures, and those that their place in a structure names."""

import base64
import functools
import json
import random
import string
import time

import orjson
import pytest
from record_kit import recording

from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.patterns import secrets_in
from Agent.utils import trace_agent_action

REDACTOR = Redactor(b"key")


def shaped(count, kind):
    """A value with many secrets, and its tags."""
    numbers = range(count)
    if kind == "members":
        return [{"user": f"u{at}", "password": f"Hunter{at}xY"} for at in numbers], {}
    if kind == "keys":
        return {f"password{at}": at for at in numbers}, {}
    if kind == "beside":
        return [{"name": "password", "value": at + 100} for at in numbers], {}
    tags = {f"/{at}/password/{part}": "tuple" for at in numbers for part in range(3)}
    if kind == "tagged":
        return [{"password": [[1], [2], [3]]} for _ in numbers], tags
    keys = [f"ghp_{at:04}" + "aB3dE6gH9j" * 3 + "aB" for at in numbers]
    return {key: [1, 2] for key in keys}, dict.fromkeys((f"/{key}" for key in keys), "tuple")


@pytest.mark.parametrize(
    "kind",
    [
        "members",
        "tagged keys",
        "keys",
        "beside",
        "tagged",
    ],
)
@pytest.mark.further
def test_many_secrets_in_a_structure_are_replaced_in_linear_time(kind):
    def took(count):
        value, tags = shaped(count, kind)
        begun = time.process_time()
        REDACTOR.value(value, "", tags)
        return time.process_time() - begun

    def least(count):
        return min(took(count) for _ in range(3))

    took(100)
    assert least(3_000) < 0.5 + 10 * least(500)


def test_tags_below_a_replaced_value_are_taken_away_and_those_below_a_replaced_key_follow_it():
    key = "ghp_" + "aB3dE6gH9j" * 3 + "aB3dE6"
    value = {key: {"password": [[1], 2], "b": [1]}, "a!": [1], "password": [[1]], "password-hint": [1]}
    tagged = [
        f"/{key}",
        f"/{key}/password",
        f"/{key}/password/0",
        f"/{key}/b",
        "/a!",
        "/password/0",
        "/password-hint",
    ]
    tags = dict.fromkeys(tagged, "tuple")
    clean = REDACTOR.value(value, "", tags)
    hidden = next(iter(clean))
    assert hidden.startswith("[redacted:") and clean["password"].startswith("[redacted:")
    assert tags == {
        f"/{hidden}": "tuple",
        f"/{hidden}/b": "tuple",
        f"/{hidden}/password": "redacted",
        "/a!": "tuple",
        "/password": "redacted",
        "/password-hint": "tuple",
    }


def drawn(source, count):
    return "".join(source.choices(string.ascii_letters + string.digits + "+/", k=count))


def key_in_lines(source, kind):
    if kind == "PuTTY":
        return [
            "Comment: bob",
            f"Private-Lines: {3}",
            *(drawn(source, 64) for _ in range(3)),
            "Private-MAC: 0",
        ]
    dashes = "----" if "SSH2" in kind else "-----"
    space = " " if "SSH2" in kind else ""
    return [
        f"{dashes}{space}BEGIN {kind}{space}{dashes}",
        *(["Proc-Type: 4,ENCRYPTED", ""] if kind.startswith("RSA") else []),
        *(drawn(source, 64) for _ in range(3)),
        drawn(source, 22) + "==",
        f"{dashes}{space}END {kind}{space}{dashes}",
    ]


ARRANGED = [
    lambda lines: lines,
    lambda lines: [f"{line}\n" for line in lines],
    lambda lines: [f"{line}\r\n" for line in lines],
    lambda lines: ["first", "second", *lines, "behind it"],
    lambda lines: [[line] for line in lines],
    lambda lines: [{"n": at, "text": line, "file": "id_rsa"} for at, line in enumerate(lines)],
    lambda lines: [{"line": {"no": at, "text": line}} for at, line in enumerate(lines)],
    lambda lines: [f"{at:4}\t{line}" for at, line in enumerate(lines)],
    lambda lines: list(enumerate(lines)),
    lambda lines: tuple(lines),
    lambda lines: [line.encode() for line in lines],
    lambda lines: {"columns": ["n", "line"], "rows": [[at, line] for at, line in enumerate(lines)]},
    lambda lines: dict(enumerate(lines)),
    lambda lines: json.dumps([{"text": line} for line in lines]),
    lambda lines: lines[:-1],
]


@pytest.mark.parametrize(
    "kind",
    [
        "RSA PRIVATE KEY",
        pytest.param("OPENSSH PRIVATE KEY", marks=pytest.mark.further),
        pytest.param("PGP PRIVATE KEY BLOCK", marks=pytest.mark.further),
        pytest.param("SSH2 ENCRYPTED PRIVATE KEY", marks=pytest.mark.further),
        "PuTTY",
    ],
)
def test_a_private_key_whose_lines_are_texts_of_their_own_is_replaced(kind):
    source = random.Random(7)
    for arranged in ARRANGED:
        lines = key_in_lines(source, kind)
        if kind == "PuTTY" and isinstance(arranged(lines), str):
            continue  # in a text, its lines have to be lines
        with recording() as found:

            @trace_agent_action
            def read(value):
                return {"read": value}

            read(arranged(lines))
            text = found.text
            assert "read" in text
            for line in lines:
                if len(line) > 20 and " " not in line:
                    assert line not in text, arranged(lines)
                    assert base64.b64encode(line.encode()).decode()[:20] not in text
            assert "behind it" in text or "behind it" not in json.dumps(arranged(lines), default=str)


@pytest.mark.parametrize(
    "value",
    [
        ["-----BEGIN RSA PRIVATE KEY-----", "is the first line of a key", "4f1c9a2b7d3e8f60"],
        ["grep 'BEGIN RSA PRIVATE KEY'", "src/keys/reader.py", "src/keys/writer.py"],
        [
            {"text": "-----BEGIN PRIVATE KEY-----", "at": "aB3dE6gH9jK2mN5pQ8"},
            {"text": "and so on", "at": "x"},
        ],
        ["-----BEGIN PRIVATE KEY-----", None, "a3B4c5D6e7F8g9H0"],
        ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "a3B4c5D6e7F8g9H0"],
    ],
)
def test_texts_behind_the_first_line_of_a_key_that_are_none_of_its_lines_are_kept(value):
    assert REDACTOR.value(value, "", {}) == value


@pytest.mark.further
def test_first_lines_of_many_keys_are_read_in_linear_time():
    def took(count):
        value = ["-----BEGIN PRIVATE KEY-----", "aB3dE6gH9jK2mN5pQ8"] * count
        begun = time.process_time()
        REDACTOR.value(value, "", {})
        return time.process_time() - begun

    def least(count):
        return min(took(count) for _ in range(3))

    took(100)
    assert least(3_000) < 0.5 + 10 * least(500)


IN_TWO_WORDS = [
    "passWord", "PassWord", "userPassWord", "passWord1", "passPhrase", "pass_word", "pass-word", "pass word", "pass phrase",
    "DB_PASS_WORD", "confirmPassWord", "PassWd", "passCode", "kennWort", "passWords",
]  # fmt: skip
IN_FORMS = [
    "PassWord ",
    " pass word",
    "Pass word:",
    "Pass word (required)",
    "user[passWord]",
    "*passWord",
    "passWord*",
]
QUOTED = ['"password"', "'password'", '\\"api_key\\"', "'passWord'", "\u201cpassword\u201d"]


@pytest.mark.first_case
@pytest.mark.parametrize("name", [*IN_TWO_WORDS, *IN_FORMS, *QUOTED])
def test_a_sure_name_in_two_words_or_in_quotes_names_a_secret_of_any_value(name):
    for value in ("weak", "Hunter2xY", 4711, ["a", "b"]):
        with recording() as found:

            @trace_agent_action
            def call(given, **named):
                return {name: value}

            call({name: value}, **{name: value})
            event = found.of("agent_action")[-1]["extra"]
            for part in (event["args"]["given"], event["args"], event["result"]):
                assert part[name].startswith("[redacted:"), (name, value)
    assert not REDACTOR.value([[name, "weak"]], "", {})[0][1].startswith("weak")


@pytest.mark.parametrize("name", [*IN_TWO_WORDS, *QUOTED[:-1]])
def test_a_sure_name_in_two_words_or_in_quotes_names_a_secret_in_texts(name):
    texts = [
        json.dumps({name: "Hunter2xY"}),
        json.dumps(json.dumps({name: "Hunter2xY"})),
        str({name: "Hunter2xY"}),
    ]
    if name in IN_TWO_WORDS:
        texts += [f"{name}=Hunter2xY", f"{name}: Hunter2xY", f'the {name} is "Hunter2xY"']
        assert (
            REDACTOR.arguments(["run", f"--{name}", "weak", f"--{name}=weak", f"{name}=Hunter2xY"]).count(
                "weak"
            )
            == 0
        )
    if " " not in name and name in IN_TWO_WORDS:
        texts += [f"<{name}>Hunter2xY</{name}>", f"call({name}='Hunter2xY')", f"run --{name} Hunter2xY"]
    for text in texts:
        assert not looks_clean(orjson.dumps({"m": text})), text
        assert "Hunter2xY" not in REDACTOR.text(text), text


@pytest.mark.parametrize(
    "name",
    ["bypass_words", "bypassWords", "by_pass_words", "passes_word_count", "pass_word_count", "passWordLength", "compassWord",
     "passing_word", "pass_through", '"author"', "'token_count'", "\u201ctitle\u201d"],
)  # fmt: skip
def test_names_that_only_resemble_a_sure_name_in_two_words_name_no_secret(name):
    value = {name: ["stop", "Hunter2xY"], "n": {name: "Hunter2xY"}}
    assert REDACTOR.value(value, "", {}) == value
    assert REDACTOR.text(f"{name}=Hunter2xY") == f"{name}=Hunter2xY"


def test_a_very_long_name_with_a_letter_beyond_ascii_is_not_its_own_secret():
    name = "myHasłoV11BaseDevpemStrLiveheaderbase64base64idstrB64Strdevs"
    assert REDACTOR.text(name) == name


IN_QUOTES = [
    'password = """@@"""', "API_KEY = '''@@'''", 'PASSWORD="""@@"""', 'db_password: str = """@@"""', 'd["password"] = \'\'\'@@\'\'\'',
    'connect(password="""@@""", user="bob")', 'password = """\n@@\n"""', 'password = """\\\n    @@\\\n    """', 'password = b"""@@"""',
    "password = [\n    '@@'\n]", "password = [\n  '@@']", 'API_KEYS = [\n    "@@",\n    "other",\n]', "passwords: [\r\n  '@@',\r\n]",
    '{"password": """@@"""}', "password = r'''@@'''",
]  # fmt: skip


@pytest.mark.parametrize("text", IN_QUOTES)
def test_secrets_in_triple_quotes_and_in_lists_of_several_lines_are_replaced(text):
    for secret in ("Zq81Kxy7Tw20", "aB3-dE6_gH9+jK2", "Qx\"7'Zk29Lp") if '"""' in text else ("Zq81Kxy7Tw20",):
        plain = f"x = 1\n{text.replace('@@', secret)}\ny = 2"
        for told in (plain, json.dumps({"code": plain}), json.dumps(json.dumps([plain]))):
            shown = json.dumps(json.dumps(secret))[3:-3] if '"' in secret else secret
            assert not looks_clean(orjson.dumps({"m": told})), told
            clean = REDACTOR.text(told)
            assert secret not in clean and shown not in clean and "Zk29Lp" not in clean, told
            assert "x = 1" in clean and "y = 2" in clean


@pytest.mark.parametrize(
    "text",
    [
        'class Password:\n    """Holds one of a person, in clear."""\n',
        'def password(self):\n    """Return it."""',
        'password = """Enter your password here"""',
        'password = """"""',
        "fields = [\n    'password',\n    'user1',\n]",
        "password_fields = [\n    'first',\n    'second',\n]",
        'API_KEY = """${API_KEY}"""',
        'token = """\nthe token of a sentence\n"""',
    ],
)
def test_documentation_in_triple_quotes_and_lists_of_words_are_kept(text):
    assert REDACTOR.text(text) == text
    assert REDACTOR.text(json.dumps(text)) == json.dumps(text)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "piece",
    ['password = """', "password = [\n  'a1", 'password="""a', "password = ['a',\n", 'pass word="""\n'],
)
def test_quotes_and_lists_that_do_not_end_are_read_in_linear_time(piece):
    def took(count):
        begun = time.process_time()
        secrets_in(piece * count)
        return time.process_time() - begun

    took(100)
    assert took(4_000) < 0.5 + 10 * took(500)


def takes(user, api_key, token, retries=3, *, mode=None):
    return user, api_key, token, retries, mode


@functools.wraps(takes)
def wrapped(*args, **kwargs):
    return takes(*args, **kwargs)


class Takes:
    def __init__(self, user, password, timeout=1):
        self.user, self.timeout = user, timeout

    def call(self, password, count=1):
        return count


def closing_over(password, user):
    return lambda: (password, user)


def callables(secret):
    """Callables that hold a secret, and `bob`."""
    return [
        lambda user="bob", password=secret, count=1: (user, password, count),
        lambda user="bob", *, password=secret: (user, password),
        lambda user="bob", password=(secret, "b"): (user, password),
        closing_over(secret, "bob"),
        functools.partial(takes, "bob", secret),
        functools.partial(takes, "bob", "x", secret + "Zk29Lp81"),
        functools.partial(wrapped, "bob", secret),
        functools.partial(functools.partial(takes, "bob"), secret),
        functools.partial(Takes, "bob", secret, 5),
        functools.partial(Takes("eve", "").call, secret, "bob"),
        functools.partial(lambda user, password: user, "bob", secret),
        functools.partial(closing_over(secret, "bob")),
    ]


@pytest.mark.parametrize("number", range(len(callables(""))))
def test_what_a_callable_holds_under_the_name_of_a_secret_is_replaced(number):
    for secret in ("Zq81Kxy7Tw20", "weak"):
        if number == 5 and secret == "weak":
            continue  # under `token` values that look random are secrets
        with recording() as found:

            class Keeper:
                agent_id = "keeper"

                @trace_agent_action
                def keep(self, given):
                    self.kept = given
                    return [given]

            Keeper().keep(callables(secret)[number])
            assert secret not in found.text
            assert "bob" in found.text and "held_as" not in found.text


def test_a_callable_without_a_secret_is_recorded_as_before():
    with recording() as found:

        @trace_agent_action
        def keep(given):
            return None

        keep(lambda user="bob", count=1, token="a word", secret=None: user)
        event = found.of("agent_action")[-1]
        content = event["extra"]["args"]["given"]["content"]
        assert content.keys() == {"code", "defaults"}
        assert content["defaults"] == ["bob", 1, "a word", None]
        assert event["types"]["/extra/args/given/content/defaults"] == "tuple"


@pytest.mark.parametrize("names", ["columns", "fields", "keys"])
def test_values_in_a_list_are_named_by_the_list_of_names_beside_it(names):
    value = {names: ["user", "password"], "values": ["bob", "swordfish"]}
    clean = REDACTOR.value(value, "", {})
    assert clean[names] == ["user", "password"] and clean["values"][0] == "bob"
    assert "swordfish" not in json.dumps(clean) and not looks_clean(orjson.dumps(value))
