"""A value near the name of a secret, in the product of names, syntaxes and values, none of which the rules list together."""

import json
import random
import time

import orjson
import pytest

from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.record.encode.capture import make_judge
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.patterns import secrets_in
from benchmarks.secrets import recorded, recorded_value

REDACTOR = Redactor(b"key")
WORDS = "amber badger canyon falcon glacier harbor lantern meadow orchid panther raven saffron tiger velvet".split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
NAMES = [
    *("password", "Passwort", "Kennwort", "contraseña", "пароль", "密码", "wachtwoord", "DB_PASSWORD"),
    *("db-password", "dbPassword", "passphrase", "client_secret", "SECRET_KEY"),
]
SYNTAXES = [
    *("{n}: {v}", "{n} - {v}", "{n} → {v}", "{n}: `{v}`", "{n} ({v})", "[{n}] {v}", "**{n}**: {v}"),
    *(
        "<b>{n}</b>: {v}",
        "<td>{n}</td><td>{v}</td>",
        "<dt>{n}</dt>\n<dd>{v}</dd>",
        "{n}\n{v}\n",
        "{n}:\n\n    {v}\n",
    ),
    *("{n}\n------\n{v}\n", "- {n}\n  - {v}\n", "the {n} you asked for: {v}", "{n} (do not share): {v}"),
    *("{n} for bob: {v}", "{n} [bob]: {v}", "{v} is the {n}", "{v} ({n})", '{n}: Some("{v}")'),
    *("Found {n} of type String with value {v}", '{n} {{ value: "{v}" }}', '{n} {{\n  default = "{v}"\n}}'),
    *(
        "Q: {n}?\nA: {v}",
        "> what is the {n} again?\n\nIt's {v}\n",
        "|kind|{n}|\n|x|{v}|",
        "\\textbf{{{n}:}} \\texttt{{{v}}}",
        "{n}... {v}",
        "I enter '{v}' as the {n}",
        "getenv('{n}', '{v}')",
        "Your {n} is <strong>{v}</strong>.",
    ),
    *(
        "The {n} in the file of settings: `{v}`.",
        "rotated the {n} -> {v}",
        "la {n} per il server di prova è {v}",
    ),
    *("A {n} is generated for root@localhost: {v}", '{{"key": "{n}", "id": 3, "value": "{v}"}}'),
]
NOT_NAMED = [
    "The password of user 7c9e6679-7425-40de-944b-e07fc1f90ae7 was changed.",
    "password reset requested, request_id: 8fA3kZq91Lm",
    "password wrong. Order AB12cd34EF is shipped.",
    "The password policy is at https://docs.example.com/Policy2026v3",
    "KeyError: 'password' at 0x7f3a9c1e7b8d",
    "Password hashing takes 3f2a9c1e7b8d4f6a5c0e9d8b7a6f5e4d3c2b1a09",
    "password: ${DB_PASSWORD} token_id=AbC123dEf456",
    "the password was rotated by deploy-bot2 on 2026-11-26T10:22:01Z",
    "Change the password for U02ABCDEF12 in the console.",
    "forgot password? see docs/SecretStore2.md",
    "password [redacted:0123456789abcdef] for LanternCoral2231",
    "secret rotation (v1beta12, 35 ms)",
    "fix(auth): hash passwords with Argon2id (closes PROJ-2213)",
    "password hash algorithm: PBKDF2WithHmacSHA256",
    "credentials ok, using a GeForce RTX4090Ti",
    "Der Schlüssel: unter der Matte",
    "MISO pin: GPIO19",
    "1. Ask the user for the password 2. Log in 3. Download Report2026Q3",
    "Login with SSO asks for the password twice on iOS 17.4 (iPhone15Pro)",
    "password = input('Password: ').strip()",
]
BESIDE = [
    [{"role": "user", "content": "what is the db password?"}, {"role": "assistant", "content": "It is @@."}],
    [{"from": "bot", "text": "Please send me your API key"}, {"from": "user", "text": "@@"}],
    {"setting": "smtp.password", "old": None, "new": "@@"},
    {"question": "What is the new password?", "answer": "@@"},
    {"type": "random_password", "name": "db", "instances": [{"attributes": {"length": 16, "result": "@@"}}]},
    {"query": "select login, password from users", "result": [["bob", "@@"]]},
    [{"role": "assistant", "content": "Please type your password."}, {"role": "user", "content": "@@"}],
]
NOT_BESIDE = [
    {"login.password": "Password", "login.password.placeholder": "Enter your password"},
    {"message": "password reset", "request_id": "req_8fA3kZq91Lm", "model": "Qwen2.5-7B-Instruct"},
    {"question": "What is the new password?", "answer": "I cannot tell you."},
    {"type": "random_password", "name": "db", "result": "3f2a9c1e7b8d4f6a5c0e9d8b7a6f5e4d3c2b1a09"},
    [{"role": "user", "content": "reset my password"}, {"role": "assistant", "content": "Done."}],
]


def drawn(source):
    """A password: words with a number, or letters of both cases, perhaps with digits."""
    if source.random() < 0.4:
        one, two = source.sample(WORDS, 2)
        return f"{one.capitalize()}{two.capitalize()}{source.randint(10, 9999)}"
    letters = [source.choice(LETTERS) for _ in range(source.randint(14, 20))]
    for _ in range(source.randint(1, 4)):
        letters[source.randint(1, len(letters) - 2)] = source.choice(DIGITS)
    return "".join(letters)


def test_a_value_near_a_name_is_replaced_in_every_syntax():
    source = random.Random(5)
    left = [
        text
        for syntax in SYNTAXES
        for name in NAMES
        if (value := drawn(source)) in recorded((text := syntax.format(n=name, v=value)), REDACTOR)
    ]
    # is one in a hundred, since drawn letters may look like a name
    assert len(left) <= 0.01 * len(SYNTAXES) * len(NAMES), left


@pytest.mark.parametrize(
    "name", ["API-Schlüssel", "clé API", "API-ключ", "密钥", "令牌", "アクセストークン", "токен"]
)
def test_words_for_a_key_in_other_languages_are_names(name):
    assert "8fA3kZq91LmPq2" not in recorded(f"{name}: 8fA3kZq91LmPq2", REDACTOR)


@pytest.mark.parametrize("text", NOT_NAMED)
def test_what_has_its_own_label_or_is_no_password_stays(text):
    assert recorded(text, REDACTOR) == text


@pytest.mark.parametrize("value", BESIDE, ids=str)
def test_a_password_beside_a_text_that_speaks_of_one_is_replaced(value):
    source = random.Random(6)
    for _ in range(5):
        secret = drawn(source)
        held = json.loads(json.dumps(value).replace("@@", secret))
        assert secret not in recorded_value(held, REDACTOR)


@pytest.mark.parametrize("value", NOT_BESIDE, ids=str)
def test_what_is_no_password_stays_beside_a_text_that_speaks_of_one(value):
    assert json.loads(recorded_value(value, REDACTOR)) == value


def test_a_replaced_text_stays_as_it_is():
    source = random.Random(7)
    for syntax in SYNTAXES:
        once = recorded(syntax.format(n=source.choice(NAMES), v=drawn(source)), REDACTOR)
        assert recorded(once, REDACTOR) == once


@pytest.mark.further
def test_the_quick_look_passes_nothing_that_stands_near_a_name():
    source = random.Random(8)
    judge = make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    glue = [
        *" \n\t:=<>()[]{}-|,;.'\"`#?→",
        " of the ",
        " is ",
        "<br>",
        " bob ",
        " for ",
        "\r\n",
        "&nbsp;",
        " 12 ",
    ]
    names = [
        *NAMES,
        "API key",
        "access token",
        "pass",
        "pw",
        "senha",
        "mot de passe",
        "api_token",
        "encryption key",
    ]
    hidden = 0
    for _ in range(4_000):
        between = "".join(source.choices(glue, k=source.randint(1, 4)))
        before, after = source.choice(["", "x ", "a\n"]), source.choice(["", ".", " y"])
        text = f"{before}{source.choice(names)}{between}{drawn(source)}{after}"
        raw = orjson.dumps({"m": text})
        is_clean = looks_clean(raw)
        assert judge.clean(raw) == is_clean, text
        if REDACTOR.text(text) != text or secrets_in(text):
            hidden += 1
            assert not is_clean, text
    assert hidden > 2_000


@pytest.mark.parametrize(
    "piece",
    [
        "password a ",
        "x1Y (password",
        "A1b ",
        *(
            pytest.param(piece, marks=pytest.mark.further)
            for piece in ("secret <a ", "password\n", "secret, Aa1 ", "passwort: (")
        ),
    ],
)
def test_many_names_are_read_in_linear_time(piece):
    def took(count):
        begun = time.process_time()
        secrets_in(piece * count + "password")
        return time.process_time() - begun

    took(200)
    assert took(8_000) < 0.2 + 16 * took(2_000)
