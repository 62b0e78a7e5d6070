"""What the close look for secrets hides, the quick look never passes, in texts drawn from the close look's expressions."""

import json
import random
import re
import time
from collections import Counter, OrderedDict
from unittest.mock import Mock, patch

import orjson
import pytest
from support.drawn_texts import Drawer, name_cases

from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.event.values.values import to_json
from Agent.record.encode.capture import Capture, make_judge
from Agent.record.encode.redaction import Redactor, hides_text
from Agent.record.secrets import introduced, names, patterns
from Agent.record.secrets.issuers import looks_clean

REDACTOR = Redactor(b"key")
VALUES = [
    "hunter2-Zq81Kx",
    "swordfish",
    "hunter2x",
    "S3cr3t!pass",
    "qqq" + "Zt9" * 7,
    "4829 1123 99",
    "correcthorsebattery1",
    "Bearer Zq81Kxy7Tw20Lm",
    "ApiKey abcdefgh12345678zz",
    "zq" + "ab1" * 10,
]
ARRANGEMENTS = [expression for expression, _ in patterns._ARRANGEMENTS] + [
    patterns._OPTION,
    patterns._SPOKEN,
    patterns._NEXT,
    patterns._DIGITS,
    patterns._PHRASE,
]
HEADERS = ["Authorization", "proxy-authorization", "X-Authorization", "authorisation"]
TOOLS = ["", "curl ", "mysql ", "openssl ", "docker login ", "nonce=1 ", "redis-cli ", "ldapsearch ", "x "]
PLACES = [
    lambda text: text,
    lambda text: f"pre {text} post",
    lambda text: json.dumps({"a": text}),
    lambda text: json.dumps(json.dumps([text, 1])),
    lambda text: f"line\n{text}\nend",
    lambda text: repr({"a": text}),
    lambda text: f"({text})",
    lambda text: f"\t{text}",
    lambda text: f"\\x20{text}\\x20",
    lambda text: f"\x1b[32m{text}\x1b[0m",
    lambda text: f"a%3D{text}%20",
    lambda text: text.replace("a", "\\u0061").replace("k", "\\u006b"),
]


def drawn_name(source):
    expression = source.choice([names._SURE_NAME, names._SURE_NAME, names._LIKELY_NAME])
    name = Drawer(source).text(expression, re.VERBOSE)
    begin = source.choice(["", "", "", "my_", "DB_", "x", "--"])
    end = source.choice(["", "", "", "", "_prod", "_2", "_foo", "Foo", "s"])
    return source.choice(name_cases(begin + name + end))[:60]


def drawn_table(source, name, value):
    """An `INSERT`, or a table of text, in which the first, middle or last column is the secret's."""
    columns, row = ["id", "mail", name.strip()], ["1", "b@example.org", value]
    at = source.randrange(3)
    columns[at], columns[2] = columns[2], columns[at]
    row[at], row[2] = row[2], row[at]
    if source.random() < 0.4:
        said = source.choice([") VALUES (", ")\nVALUES (", ") values(", ")values (", ")\n  VALUES\n  ("])
        return f"INSERT INTO t ({', '.join(columns)}{said}{', '.join(map(repr, row))})"
    before, joint, after = source.choice(
        [("", ",", ""), ("", ", ", ""), ("", ";", ""), ("", "\t", ""), ("| ", " | ", " |"), ("", "   ", "")]
    )
    lines = [columns, *([["---"] * 3] if before else []), ["2", "x", ""], row]
    return source.choice(["", "found:\n"]) + "\n".join(before + joint.join(cells) + after for cells in lines)


def drawn_text(source):
    """A text that probably holds a secret, in one of the arrangements or forms of `patterns.py`."""
    value = source.choice(VALUES)
    sort = source.random()
    if sort < 0.6:
        arranged = Drawer(source, {"quoted": value, "bare": value}).text(source.choice(ARRANGEMENTS))
        text = drawn_name(source) + arranged
    elif sort < 0.66:
        text = drawn_table(source, drawn_name(source), value)
    elif sort < 0.73:
        text = source.choice(HEADERS) + Drawer(source).text(introduced.HEADER) + value
    elif sort < 0.85:
        form = source.choice(introduced._FORMS)
        text = Drawer(source, {"secret": value}).text(form.expression)
    else:
        text = source.choice(TOOLS) + Drawer(source).text(source.choice(list(patterns._FORMS.values())))
    return source.choice(PLACES)(text)


def check_texts(seed, count):
    source = random.Random(seed)
    judge = make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    hidden = 0
    for _ in range(count):
        text = drawn_text(source)
        raw = orjson.dumps({"m": text})
        is_clean = looks_clean(raw)
        assert judge.clean(raw) == is_clean, text
        if REDACTOR.text(text) != text:
            hidden += 1
            assert not is_clean, text
    assert hidden > count / 3


@pytest.mark.further
def test_no_text_that_the_close_look_hides_passes_the_quick_look():
    check_texts(1, 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_no_text_of_many_that_the_close_look_hides_passes_the_quick_look(seed):
    check_texts(seed, 20_000)


@pytest.mark.parametrize("stem", ["token", "api_key", "secret_value", "key", "client_keys", "my_secret"])
@pytest.mark.parametrize("piece", ["1", "v1", "_1", "_", "id", "_id_", "b64", "base"])
def test_a_name_with_a_long_number_behind_it_is_judged_at_once(stem, piece):
    name = (stem + piece * 100)[:98] + "x!"[: len(piece) % 2 + 1]
    begun = time.process_time()
    names.name_says.__wrapped__(name)
    patterns.secrets_in(f"{name}=hunter2-Zq81Kx {name}")
    assert time.process_time() - begun < 0.5


def drawn_payload(source):
    """A payload that may hold a secret in a text, under a name, beside a name, or behind a name."""
    name, value = drawn_name(source).strip() or "pwd", source.choice(VALUES)
    text = source.choice(PLACES)(name + source.choice(["=", ": ", '": "', "': '", " => "]) + value)
    return source.choice(
        [
            {name: value},
            {"v": [[name, value], ["x", "y"]]},
            {"v": {"name": name, "value": value}},
            {"v": {"Key": name, "Value": value}},
            {"v": ["--" + name, value]},
            {"v": {"columns": ["a", name], "rows": [["u", value]]}},
            {"v": {"headers": [[name, f"Bearer {value}"]]}},
            {"v": [source.choice(["curl", "zip", "mysql", "7z"]), source.choice(["-u", "-P", "-p"]), value]},
            {"v": ["curl", f"-u{name}:{value}"]},
            {"v": json.dumps({"env": [{"name": name, "value": value}]})},
            {"v": json.dumps(json.dumps({name: value}))},
            {"v": f"mysql -p{value} db"},
            {"v": [text, {"w": text}]},
            {text[:90]: 1},
        ]
    )


def keys_of(value):
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_of(item)


def check_payloads(seed, count):
    source = random.Random(seed)
    redactor = Redactor(b"key")
    judge = make_judge(redactor, DEFAULT_LIMITS)
    passed = 0
    for _ in range(count):
        payload = drawn_payload(source)
        for key in keys_of(payload):
            redactor.says(key)  # what is harmless is known from here on
        # whoever asks the judge has asked about the keys at the top
        if redactor.keys_pass(payload) and (judge.line_end(payload) or judge.tagged(payload, "/extra")):
            passed += 1
            assert REDACTOR.value(payload, "", {}) == payload
    assert passed > count / 20


def drawn_pairs(source, depth=3):
    """A value with tuples and mappings of other keys than texts, perhaps with the name of a secret in them."""
    name = source.choice(["colour", "size", "a b", drawn_name(source).strip() or "pwd"])
    value = source.choice(["red", VALUES[0], source.choice(VALUES)])
    if depth == 0:
        return source.choice([name, value, "colour", "red", 12345678, 0, 2.5, None, True])

    def inner():
        return drawn_pairs(source, depth - 1)

    return source.choice(
        [
            lambda: (name, inner()),
            lambda: ((name, 1), inner()),
            lambda: (inner(), inner()),
            lambda: (name, inner(), inner()),
            lambda: [inner(), inner()],
            lambda: {1: inner(), name: inner()},
            lambda: {(source.choice(["x", name]), 1): inner(), "colour": inner()},
            lambda: {source.choice(["colour", name]): inner()},
            lambda: Counter({name: 12345678, 3: 1}),
            lambda: OrderedDict([(1, inner()), (source.choice(["y", name]), inner())]),
            lambda: "text of " + source.choice(PLACES)(name + "=" + value),
        ]
    )()


def check_pairs(seed, count):
    source, alone = random.Random(seed), 0
    for _ in range(count):
        payload = {"v": drawn_pairs(source), "w": drawn_pairs(source)}
        capture = Capture(Redactor(b"key"))
        walked = Mock(wraps=capture.redactor.payload)
        with patch.object(capture.redactor, "payload", walked):
            told = capture.body(payload)
        parts = [to_json(value, f"/extra/{key}", reading=capture.reading) for key, value in payload.items()]
        raw = b",".join(
            b'"%s":%s' % (key.encode(), part.json) for key, part in zip(payload, parts, strict=True)
        )
        types = {place: tag for part in parts for place, tag in (part.types or {}).items()}
        closely = Redactor(b"key").payload(raw, types or None, "/extra")
        assert told == closely
        alone += not walked.called
    assert alone > count / 50


@pytest.mark.parametrize(
    ("tag", "value", "is_hidden"),
    [
        ("tuple", ["password", 1], True),
        ("tuple", [["password", 1], 1], True),
        ("tuple", ["colour", 1], False),
        ("tuple", ["a", "password", 1], False),
        ("tuple", [["colour", "red"], "password"], False),
        ("map", [[1, 2], ["token", []]], True),
        ("OrderedDict", [[["x", "api_key"], 2]], True),
        ("defaultdict:builtins.list", [[1, ["password"]], ["colour", 1]], False),
        ("Counter", {"password": 1}, False),
        ("tuple", None, True),
        ("map", "cut", True),
        ("str", "text", True),
    ],
)
def test_a_tag_tells_of_a_name_where_a_pair_begins_with_one(tag, value, is_hidden):
    assert hides_text({"/extra/v": tag}, {"v": value}, "/extra", REDACTOR.says) == is_hidden
    assert hides_text({"/extra/v": tag})


@pytest.mark.further
def test_pairs_are_searched_closely_wherever_that_changes_them():
    check_pairs(1, 700)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_pairs_are_searched_closely_wherever_that_changes_them(seed):
    check_pairs(seed, 20_000)


def test_no_payload_that_the_close_look_changes_takes_the_quick_way():
    check_payloads(1, 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_no_payload_of_many_that_the_close_look_changes_takes_the_quick_way(seed):
    check_payloads(seed, 20_000)
