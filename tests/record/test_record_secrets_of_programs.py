"""Passwords that people choose, and keys, as agents, tables, consoles and calls carry them."""

import json
import random

import pytest

from Agent.record.encode.redaction import Redactor
from benchmarks.secrets import recorded_value

REDACTOR = Redactor(b"key")
WORDS = "amber badger canyon falcon glacier harbor lantern meadow orchid panther raven saffron tiger velvet".split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def chosen(source):
    """Two capitalised words and a number, or letters with one digit, as people and generators make passwords."""
    if source.random() < 0.5:
        one, two = source.sample(WORDS, 2)
        return f"{one.capitalize()}{two.capitalize()}{source.randint(10, 9999)}"
    letters = [source.choice(LETTERS) for _ in range(source.randint(14, 20))]
    letters[source.randint(1, len(letters) - 2)] = source.choice("0123456789")
    return "".join(letters)


TEXTS = [
    "id,username,password,role\n7,bob,@@,admin\n",
    '"name","url","username","password"\n"shop","https://s.example.com","bob","@@"\n',
    "host\tuser\tpassword\ndb1\tbob\t@@\n",
    "benutzer;passwort;rolle\nbob;@@;admin\n",
    "| id | user | password |\n|----|------|----------|\n|  7 | bob  | @@ |",
    " id | user | password\n----+------+----------\n  1 | bob  | @@\n(1 row)",
    "-[ RECORD 1 ]--+-----\nuser           | bob\npassword       | @@\n",
    "| Setting | Value |\n|---|---|\n| Host | db1 |\n| Password | @@ |",
    "│ NAME        │ VALUE │\n├─────────────┼───────┤\n│ DB_PASSWORD │ @@ │",
    "│  user   │ password │\n│ varchar │ varchar │\n├─────────┼──────────┤\n│ bob     │ @@ │",
    "   user      password\n0   bob  @@",
    "username    app\npassword    @@\n",
    "Created.\n\n- **Username:** bob\n- **Password:** @@\n",
    "**Password**: @@",
    "data-props=&quot;{&quot;password&quot;:&quot;@@&quot;}&quot;",
    "Log in with username shopper@example.com and password @@. Then buy tea.",
    "Das Kennwort lautet @@, bitte gleich ändern.",
    "the password for the staging server is @@",
    "hey, pwd for grafana: `@@` :lock:",
    "page.fill('#password', '@@')",
    "mysqli_connect('db', 'app', '@@', 'shop')",
    'DriverManager.getConnection("jdbc:mysql://db/app", "app", "@@");',
    "127.0.0.1:6379> AUTH @@\nOK",
    "db.internal:5432:app:bob:@@\n",
    "keytool -list -keystore k.jks -storepass @@",
    "<AdministratorPassword><Value>@@</Value></AdministratorPassword>",
    "    DefaultPassword    REG_SZ    @@",
    "Enter passphrase for key 'id_rsa': @@\nIdentity added",
]
VALUES = [
    [["user", "password"], ["bob", "@@"], ["eve", "@@"]],
    {"scheme": "postgresql", "netloc": "bob:@@@db.internal:5432", "path": "/app"},
    [{"id": "adminPassword", "type": "string", "defaultValue": "@@"}],
    {"action": "fill", "selector": "input[name=password]", "text": "@@"},
    {"type": "input_text", "element": {"id": "login-password", "tag": "input"}, "value": "@@"},
    {"detail": [{"loc": ["body", "password"], "msg": "too short", "input": "@@"}]},
]
HARMLESS = [
    "usage: app [-h] [--token TOKEN] [--password PASSWORD]",
    "feature/rotate-api-keys-2026 -> origin/feature/rotate-api-keys-2026",
    "| Method | Password | Token |\n|---|---|---|\n| Basic | Required | Unused |\n| Bearer | Unused | Required |",
    "Feature      Password   Passkey\nPhishing     Weak       Strong",
    "NAME         CREATED\ndb-password  2026-01-01T00:00:00",
    "The password is sha256 of the name. Token issued at 2026-11-26T13:00:00Z.",
    {"apiKey": {"type": "apiKey", "name": "X-API-Key", "in": "header"}},
    {"auth": "oauth2", "password_hashers": ["argon2", "bcrypt"], "password": "********"},
    {"boarding_pass": "printed", "CACHE_KEY": "a1b2c3d4e5f6a7b8"},
    {"name": "User", "type": ["null", "string"], "default": None},
    [["type", "password"], ["name", "pw1"]],
]


def with_secret(value, secret):
    if isinstance(value, str):
        return value.replace("@@", secret)
    return json.loads(json.dumps(value).replace("@@", secret))


@pytest.mark.parametrize("value", [*TEXTS, *VALUES], ids=str)
def test_a_password_that_people_choose_stays_in_no_clear_text(value):
    source = random.Random(str(value))
    for _ in range(20):
        secret = chosen(source)
        assert secret not in recorded_value(with_secret(value, secret), REDACTOR)


def test_recovery_codes_below_their_title_go():
    codes = ["d3a62-c9ad1", "81538-2e4eb", "5e949-e6435"]
    told = recorded_value("Recovery codes:\n- " + "\n- ".join(codes) + "\nKeep them.", REDACTOR)
    assert not any(code in told for code in codes) and told.endswith("Keep them.")


@pytest.mark.parametrize("value", HARMLESS, ids=str)
def test_what_stands_where_a_password_could_stays(value):
    kept = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    assert recorded_value(value, REDACTOR) == kept
