"""Every row of the table of keys, every form in which tools write a secret, and harmless texts beside them."""

import base64
import json
import logging
import random
import re
import string
import time
from contextlib import suppress
from urllib.parse import quote

import orjson
import pytest
from record_kit import recording
from support.drawn_texts import Drawer

from Agent import setup_logging, shutdown_logging
from Agent.bridges import TraceHandler
from Agent.event.values.reading import DEFAULT_LIMITS
from Agent.flight import Recorder, record_tool
from Agent.record.encode.capture import make_judge
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets import names as secret_names
from Agent.record.secrets.issuers import ALPHABETS, looks_clean, tokens
from Agent.record.secrets.names import LIKELY, NONE, SURE, is_words, name_says, plain_name
from Agent.record.secrets.patterns import secrets_in
from Agent.utils import AgentLogger, trace_agent_action

CHANCE = random.Random(20261121)
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
REDACTOR = Redactor(b"key")


def some(count, letters=ALNUM, chance=CHANCE):
    return "".join(chance.choices(letters, k=count))


LETTERS = {
    name: [char for char in map(chr, range(33, 127)) if re.fullmatch(f"[{letters}]", char)]
    for name, letters in ALPHABETS.items()
}


def recorded(text):
    """The text as a message of it is recorded: the quick look first, then the close one."""
    return text if looks_clean(orjson.dumps({"m": text})) else REDACTOR.text(text)


def sample(token, chance=CHANCE):
    """A key of a row, drawn; nothing in it repeats a word."""
    parts = [token.prefix]
    for alphabet, least, most in token.parts:
        parts.append(alphabet if most == 0 else some(least, LETTERS[alphabet], chance))
    return "".join(parts)


def is_drawn(token, key):
    return not is_words(key[len(token.prefix) :])


def test_a_token_of_a_sentence_and_the_response_of_a_digest_are_replaced_and_names_with_numbers_are_kept():
    for _ in range(50):
        key, response = f"{some(24)}1aB2cD3eF4", some(32, HEX)
        for sentence in (
            "Invalid token {}",
            "token '{}' has expired",
            "the token {}, please",
            "sent Basic {} to it",
        ):
            assert key not in recorded(sentence.format(key)), key
        for digest in ('nonce="{1}", uri="/", response="{0}"', "nonce={1} response={0}"):
            assert response not in recorded(digest.format(response, some(16, HEX)))
        assert response in recorded(f"the response={response}")
    for harmless in (
        "token container_1445087491445_0005_01_000002", "the token end_of_sequence_marker_v2 ends",
        "token org.apache.hadoop.security.AMRMTokenIdentifier2", "token src/tokenizers/models/bert_tokenizer2.py",
        "basic AuthenticationConfiguration2Factory", "12 ms per token latency_ms_p50_2026_11_20",
        "token distribution-2026-11-20T10:30:45", "basic arithmetic/operations/tests/12",
    ):  # fmt: skip
        assert recorded(harmless) == harmless


def test_a_key_of_every_row_is_replaced_wherever_it_stands():
    for token in tokens():
        key = next(key for key in iter(lambda: sample(token), None) if is_drawn(token, key))
        for around in ("{}", "see {} now", "line\n{}", "https://h/{}", "k='{}'", "({})", '{{"m": "{}"}}'):
            text = around.format(key)
            assert key[len(token.prefix) :] not in recorded(text), (token, text)


def test_every_row_says_who_issues_the_key_and_where_that_is_documented():
    for token in tokens():
        assert token.issuer and token.source and token.prefix and token.parts
        assert re.compile(token.expression)


def test_a_prefix_alone_a_placeholder_and_words_behind_a_prefix_are_no_key():
    for token in tokens():
        least = sum(least for _, least, _ in token.parts) or 20
        for text in (token.prefix, f"{token.prefix}{'x' * least}", f"keys begin with {token.prefix}..."):
            assert recorded(text) == text


# {S} is the secret.
FORMS = {
    "Authorization: ApiKey {S}": some(20),
    "Authorization: Negotiate {S}": some(40),
    "Authorization: Custom-Scheme abcdefgh{S}": "12345678zz",
    'Authorization: Digest username="bob", realm="x", uri="/", response="{S}"': some(32, HEX),
    "Authorization: AWS4-HMAC-SHA256 Credential=A/2/s3, SignedHeaders=host, Signature={S}": some(64, HEX),
    "curl -H 'Authorization: Hawk id=\"a\", mac=\"{S}\"' https://h/": some(30),
    '{"headers": {"authorization": "Custom {S}"}}': some(20),
    '{"headers": [["Authorization", "Splunk {S}"]]}': some(20) + "7a",
    "https://{S}@github.com/a/b.git": some(40),
    "GET https://h/a?key={S}&x=1": some(38) + "7",
    "https://h/callback?code={S}&state=1": some(30) + "7",
    "https://b.s3.amazonaws.com/k?X-Amz-Signature={S}": some(64, HEX),
    "https://storage.googleapis.com/k?X-Goog-Signature={S}": some(128, HEX),
    '{"kty":"EC","crv":"P-256","d":"{S}","x":"abc"}': some(43),
    "machine h.org login bob password {S}": some(12),
    "machine h.org\n  login bob\n  password {S}": some(12),
    "curl -u bob:{S} https://h/": some(12),
    "curl --user 'bob:{S}' https://h/": some(12),
    "mysql -u root -p{S} shop": some(12),
    "sshpass -p '{S}' ssh h": some(12),
    "docker login -u bob -p {S}": some(14),
    "<config><password>{S}</password></config>": some(12),
    "<apiToken>\n  {S}\n</apiToken>": some(20) + "7",
    '<add key="ApiToken" value="{S}"/>': some(20) + "7",
    "CREATE USER bob IDENTIFIED BY '{S}'": some(12),
    "SET PASSWORD FOR 'bob'@'h' = '{S}'": some(12),
    "user: bob\npassword: |\n  {S}\nhost: h": some(14) + "7a",
    "password: >-\r\n    {S}": some(14) + "7a",
    "Incorrect API key provided: {S}. You can find yours at x": some(22) + "7a",
    "the token '{S}' is expired": some(20) + "7a",
    "wifi key: {S}": some(14) + "7a",
    "Authentication: {S}": some(20) + "7a",
    "Fastly-Key: {S}": some(20) + "7a",
    "ALTER ROLE bob WITH PASSWORD '{S}'": some(12),
    'Content-Disposition: form-data; name="password"\r\n\r\n{S}\r\n--b': some(12),
    "password:\n  {S}\n": some(11) + "7",
    "the api key is {S}, keep it": some(24) + "7",
    "bob:$apr1$abcdefgh${S}": some(22),
    "$2b$12${S}": some(53),
    "root:$6$abcdefgh${S}:19000:0": some(86),
    "$argon2id$v=19$m=65536,t=3,p=4$abcdefghijklmnop${S}": some(43),
    "{SSHA}{S}": some(32),
    "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{S}\nPrivate-MAC: x": some(48),
    "IBAN: {S}": "DE89370400440532013000",
    "card number: {S}": "4111 1111 1111 1111",
    "pin: {S}": "482913",
    "ssn: {S}": "078-05-1120",
    "Your verification code: {S}": "482913",
    "seed phrase: {S}": "abandon ability able about above absent absorb abstract absurd abuse access accident",
    "PHPSESSID={S}": some(25) + "7",
    "https://discord.com/api/webhooks/123456789012345678/{S}": some(68),
    "client.run('MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.{S}')": some(38),
    "use abc8Q~{S}": some(34),
    "password%3D{S}": some(12),
    "Authorization%3A%20Bearer%20{S}": some(24) + "7",
    "$env:API_KEY = '{S}'": some(20),
    "-ClientSecret '{S}'": some(20),
    'var apiToken string = "{S}"': some(20) + "7",
    "API_TOKEN ?= {S}": some(20) + "7",
    'setPassword("{S}")': some(10),
    "PAT {S}AZDO4xY9": some(76),
    "see {S}, and go on": f"{some(10, HEX)}msh{some(15, HEX)}p1{some(5, HEX)}jsn{some(12, HEX)}",
    "with {S} now": f"1/1{some(15, '0123456789')}:{some(32, HEX)}",
    "AZURE_DEVOPS_EXT_PAT={S}": some(48, "abcdefghijklmnopqrstuvwxyz") + "2a7b",
    "EXA_KEY={S}": "5bc8fbbc-bde5-4099-8164-d8399f767c45",
    "sumologic_key: {S}": some(62, "abcdefghijklmnopqrstuvwxyz") + "2a",
    "kind: Secret\ndata:\n  extra: {S}\n": base64.b64encode(b"admin:hunter2swordfish").decode(),
}  # fmt: skip
NAMES = (
    "dbpass userpass privkey passkey sessionid authkey bearer tokens passwort contraseña mot_de_passe пароль 密码 암호 sid pw "
    "mnemonic seed_phrase api_key_value token_value webhook_url DB_PWD_PROD SECRET_KEY_BASE AWS_SESSION_TOKEN "
    "exa_key sumo_api_key rapidapi_key azdo_token clé_secrète cle_api compte_mdp geheimnis kata_sandi mật_khẩu كلمة_المرور codice_segreto recovery_key"
).split()


def test_a_secret_in_every_form_of_other_tools_is_replaced():
    for form, secret in FORMS.items():
        clean = recorded(form.replace("{S}", secret))
        assert not any(secret[at : at + 10] in clean for at in range(0, max(1, len(secret) - 9), 5)), (
            form,
            clean,
        )


def test_a_key_without_a_prefix_is_replaced_between_the_dots_of_a_name_of_a_logger_or_a_file():
    keys = f"abc8Q~{some(34)}", f"MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.{some(38)}"
    for key in keys:
        for text in (f"agent.{key}", f"art/{key}.txt", f"a.b.{key}.log is full"):
            clean = recorded(text)
            assert key[-20:] not in clean and key[6:20] not in clean, clean
    harmless = "shop.ModelOfAVeryLongNameAtAll.method.and_a_function_of_a_long_name"
    assert recorded(harmless) == harmless


def test_a_redacted_text_of_every_form_stays_as_it_is():
    for form, secret in FORMS.items():
        once = recorded(form.replace("{S}", secret))
        assert recorded(once) == once, form


def test_the_password_of_a_url_is_replaced_though_it_is_made_of_words_and_the_name_of_a_user_is_not():
    for password in ("correct-horse-battery-staple", "somebodysLongPassword", "kQxWvUtRpLmNzBcDs", "abc"):
        for url in (
            "postgres://app:{}@db.example/prod",
            "redis://:{}@cache:6379/0",
            "see amqp://me:{}@[::1]/x.",
        ):
            clean = recorded(url.format(password))
            assert password not in clean and clean.startswith(url.partition("{}")[0]), clean
    for harmless in (
        "https://a-long-name-of-a-user@example.org/x",
        "postgres://app:$PASSWORD@db.example/prod",
    ):
        assert recorded(harmless) == harmless


def test_the_scheme_of_a_header_stays_and_its_credential_goes():
    for scheme in ("Basic", "Bearer", "ApiKey", "Digest", "NTLM", "Klaviyo-API-Key", "SSWS", "Unheard-Of"):
        secret = some(23) + "7"
        assert (
            recorded(f"Authorization: {scheme} {secret}")
            == f"Authorization: {scheme} {REDACTOR.token(secret)}"
        )
        clean = REDACTOR.object({"Authorization": f"{scheme} {secret}"})
        assert clean == {"Authorization": f"{scheme} {REDACTOR.token(secret)}"}


def test_names_in_many_languages_and_spellings_hide_what_stands_under_them():
    for name in NAMES:
        secret = some(14) + "7a"
        with recording() as found:
            agent = AgentLogger("a")
            for _ in range(2):
                agent.log_action("x", {name: secret})
                agent.log_action("x", {"deep": [{name: [secret]}]})
                agent.info(f"{name}={secret}")
                agent.info(f'{{"{name}": "{secret}"}}')
            assert secret not in found.text, name
            assert len(found.events) == 8


HOLDERS = [
    lambda s: {"headers": [["Authorization", s]]},
    lambda s: {"headers": [["Accept", "text/html"], ["Cookie", s]]},
    lambda s: {"headers": [[b"authorization", s.encode()]]},
    lambda s: {"env": [{"Name": "DB_PASSWORD", "Value": s}]},
    lambda s: {"param": {"field": "password", "value": s}},
    lambda s: {"param": {"id": "password", "v": s}},
    lambda s: {"form": [{"label": "Password", "text": s}]},
    lambda s: {"selector": "#password", "text": s},
    lambda s: {"argv": ["login", "--password", s]},
    lambda s: {"raw": ["Accept", "text/html", "Authorization", s]},
    lambda s: {"row": [("password", s, True)]},
    lambda s: {("password", 1): s},
    lambda s: {"jwk": {"kty": "RSA", "n": "abc", "d": s}},
    lambda s: {"password": {"value": s}},
    lambda s: {"properties": {"password": {"type": "string", "default": s}}},
    lambda s: {"stack": [{"ParameterKey": "DbPassword", "ParameterValue": s}]},
    lambda s: {"stack": {"option_value": s, "option_name": "db_password"}},
    lambda s: {"body": f'[{{"ParameterKey": "DbPassword", "ParameterValue": "{s}"}}]'},
    lambda s: {"line": f"aws cloudformation deploy ParameterKey=DbPassword,ParameterValue={s}"},
]


def test_a_secret_beside_its_name_is_replaced_in_every_arrangement():
    for number, holder in enumerate(HOLDERS):
        secret = f"Zq{number:02d}" + some(16) + "7a"
        with recording() as found:
            agent = AgentLogger("a")
            for _ in range(2):
                agent.log_action("x", holder(secret))
                agent.info("x", extra={"held": holder(secret)})
            assert secret not in found.text, found.text
            assert base64.b64encode(secret.encode()).decode() not in found.text
            assert not found.health.dropped


COMMANDS = [
    "docker login -u bob -p {} registry.example.org", "/usr/bin/docker login -p{}", "sudo podman login -p {}",
    "mysql -uroot -p{} shop", "mysqldump -h db -p{}", "mariadb -p{}", "7z a -p{} x.7z", "zip -P {} x.zip y",
    "sshpass -p {} ssh -p 2222 host", "sshpass -p{} scp a b", "curl -u bob:{} https://h", "curl --user bob:{}",
    "sqlcmd -S h -P {}", "redis-cli -a {} ping", "ldapsearch -w {}", "mongosh -u bob -p {}",
]  # fmt: skip
OTHER_COMMANDS = [
    "docker run -p 127.0.0.1:8080:80 img", "mkdir -p build2dir/x9", "ssh -p 2222 host", "mysql -P 33060 shop",
    "mysql -u root -p shop4orders", "cp -a a1b2c3d4 e5", "python -u bob:a1b2c3", "tar -p login a1b2c3d4",
    "docker login -u bob --password-stdin", "sshpass -p $SSH_PASSWORD ssh -p 22022 host", "curl -u bob https://h",
]  # fmt: skip


def test_the_password_option_of_a_command_is_replaced_in_a_list_of_its_words_and_in_its_text():
    for command in COMMANDS:
        for secret in ("swordfish", some(12) + "7a"):
            words = command.format(secret).split()
            with recording() as found:
                agent = AgentLogger("a")
                agent.log_action("x", {"argv": words})
                agent.info(f"running {words}")
                agent.info("running %s" % json.dumps(words))
                assert secret not in found.text, found.text
    for command in OTHER_COMMANDS:
        words = command.split()
        assert REDACTOR.object({"argv": words}) == {"argv": words}
        assert recorded(f"running {words}") == f"running {words}"


AS_OTHERS_WRITE = [
    "{b'password': b'%s'}", "CREATE LOGIN x WITH PASSWORD = N'%s'", "passwords: ['%s', 'b']", 'api_keys = ["a", "%s"]',
    "passwords[0]=%s", "api_keys[bob] = '%s'", 'let api_key: &str = "%s";', "the password `%s` was refused",
    "Authorization: %s was refused", "https://h/login?user=a&password=%%21%s", "password=%%40%s&x=1",
    "env:\n- name: DB_API_KEY\n  value: %s\n", "<key>api_key</key>\n  <string>%s</string>", "%%7B%%22api_key%%22%%3A%%22%s%%22%%7D",
    "\x1b[36mapi_key\x1b[0m=\x1b[35m%s\x1b[0m", "\x1b[1;33mauth_token\x1b[0m\x1b[2m: \x1b[0m%s", "tool\0--api-key\0%s\0x",
    "密码\uff1a%s", "password\uff1a%s", "パスワード\uff1d%s",
]  # fmt: skip
AS_OTHERS_WRITE_WITHOUT_SECRETS = [
    "set the `password` to `string`", "the password `swordfish` is an example", "tokens: ['the', 'cat']", "passwords: []",
    "secrets: ['db', 'cache']", "password = %s", "password=%(password)s", "- name: DB_PASSWORD\n  valueFrom: secretKeyRef",
    "- name: DB_PASSWORD\n  value: $(DB_PASSWORD)", "<key>api_key</key><string>None</string>", "\x1b[36mpassword\x1b[0m=None",
    "Authorization: pending approval of the manager", "密码\uff1a无", "keys[0] = first", "password: list[str] = []",
]  # fmt: skip


def test_a_secret_is_replaced_as_terminals_shells_lists_and_other_languages_write_it():
    """Drawn and quoted, styled, percent-encoded, indexed, on the next line: none stays, and what is beside it does."""
    for form in AS_OTHERS_WRITE:
        for _ in range(5):
            secret = some(9) + "7aZ" + some(9)
            text = form % secret
            told = recorded(text)
            assert secret not in told, told
            assert told[0] == text[0]
            assert recorded(told) == told
    for text in AS_OTHERS_WRITE_WITHOUT_SECRETS:
        assert recorded(text) == text


def test_the_rows_of_a_table_are_named_by_its_first():
    secret = some(9) + "7aZ" + some(9)
    for table in (
        [["user", "password"], ["bob", secret], ["eve", secret]],
        [["id", "api_key", "n"], [1, secret, 2]],
    ):
        assert secret not in json.dumps(REDACTOR.object({"x": table}))
    kept = {
        "x": [["type", "password"], ["name", "pw1"], ["placeholder", "Enter it"]],
        "y": [["a", "b"], ["c", "d"]],
    }
    assert REDACTOR.object(kept) == kept


HARMLESS_VALUES = [
    {"password": {"type": "string", "description": "the password"}},
    {"api_key": {"type": ["string", "null"], "minLength": 8}},
    {"token": {"$ref": "#/$defs/Token"}},
    {
        "name": "login",
        "parameters": {"properties": {"password": {"type": "string"}}, "required": ["password", "user"]},
    },
    {"pin": 7, "otp": 3, "secret_number": 42},
    {"tokens": ["the", "cat"], "token": "hello"},
    {"tokens": 512},
    {"license_key": "MIT", "account_key": "savings", "secret_santa": "Bob", "signature": "def f(x)"},
    {"session_key": "agent-7", "api_key_header": "X-Api-Key", "exa": "5bc8fbbc-bde5-4099-8164-d8399f767c45"},
    {"pat": "Pat", "hexa_key": "a1"},
    {"label": "Password", "text": "Enter your password"},
    {"words": ["password", "username"]},
    {"name": "colour", "value": "a1b2c3d4e5f6"},
    {"ParameterKey": "Environment", "ParameterValue": "a1b2c3d4e5f6"},
    {"암호화": "AES-256", "암호문": "a1b2c3d4e5f6"},
]
HARMLESS_TEXTS = [
    "Forgot password: click here to reset", "secret: love and patience", "cookie: chocolate chip", "license_key: MIT",
    "authorization: pending", "authorization: pending approval of the manager", "secret_santa=Bob",
    "ssh_key=/home/u/.ssh/id_rsa", "ASIAPACIFICREGION2026", "AROADSIDEASSISTANCE", "[a](http://b:c@d)",
    "{'password': user_input, 'token': tok}", "-    password = get()\n+    password = read_password()",
    "account_key=savings", "password_hash=abc", "session key: 2020-01", "token: com.example.activity/4505",
    "sessionid: 0x14ede63a5a70002", "auth:SIMPLE", "The basics of bearer tokens", "pod api-server-7d9f8b6c5d-x2v9k",
    "docker run -p 8080:80 image", "mkdir -p a/b && cp -u c d", "5 > 3 and key > 2", "cost: $5 and $7 in total",
    "getPassword('db')", "password = os.environ['DB_PASSWORD']", "api_key: ${API_KEY}", "password: <your password>",
    "token=xxxxxxxxxxxxxxxxxxxx", "x-api-key: YOUR_API_KEY_HERE", "hf_requiredCharacteristicTypesForDisplayMetadata",
    "SUMO_KEY: AbCeFG123", "api_token = 'abc_123_xyz'", "fake_token='9f2c6d1a0b3c4d5e'", 'nonexistentKey: "k9Xw2pQ7rT4m"',
    "Authentication: required", "authentication=oauth2", "unexpected token 'x1' at line 3", "key: |\n  see below",
    "the key provided: none", "token 'identifier' was expected", "password provided by the user", "wifi: on",
    "otp: sent", "pin: verified", "jwt: parsed", "password: changed", "password: incorrect", "password = forgotten",
    'session_key="agent-7"', "api_key_header: X-Api-Key", "postman-pat: Pat", "msh0123456789p1234jsn01234567 is",
    "the id 00c1UWb5fxzpF7STG7nVLe3lARUsRJlNONwktN9ugk", "AZDO0123456789abcdefghijAZDOklmnopqrstuvwxyzAZDO0123",
    "1/2:fcc589f8d0a9f94f03e7914c0f87f17f", "status code: 200, exit_code=1", "see https://example.org/?page=2&sort=key", "my-bot xoxb-my-bot-token-goes-here",
]  # fmt: skip


def test_what_only_looks_like_a_secret_is_recorded_as_it_is():
    for text in HARMLESS_TEXTS:
        assert recorded(text) == text
    for value in HARMLESS_VALUES:
        assert REDACTOR.object(value) == value


@pytest.mark.parametrize(
    "expression", [secret_names._SURE_NAME, secret_names._LIKELY_NAME, secret_names._VARIABLE]
)
def test_no_name_that_an_expression_finds_is_let_through_before_it_is_compiled(expression):
    drawer, found = Drawer(CHANCE), 0
    for _ in range(3_000):
        name = CHANCE.choice(["", "my_", "x"]) + drawer.text(expression)
        plain = plain_name(name)
        if re.search(expression, name if expression == secret_names._VARIABLE else plain) and plain.isascii():
            found += 1
            assert secret_names._may_be_found(plain), plain
    assert found > 500


def test_a_name_says_surely_likely_or_nothing():
    says = {
        SURE: "password apiKey DB_PASSWORD client_secret refreshToken privkey dbpass пароль 암호 otp_code authorization",
        LIKELY: "token sid session_key api_key_header AZURE_DEVOPS_PAT tokens license_key secret_word webhook_url password_hash signature",
        NONE: "key compass max_tokens token_count author public_key password_file token_type session_id tokenizer",
    }
    for wanted, names in says.items():
        assert {name: name_says(name) for name in names.split()} == dict.fromkeys(names.split(), wanted)


def test_under_a_name_that_describes_a_secret_a_value_is_judged_by_its_form_alone():
    key = "ghp_" + some(36)
    values = {"token_type": "bearer", "db_password_file": "/run/secrets/db", "key": "users/17/cart"}
    assert REDACTOR.object(values) == values
    for name in values:
        assert REDACTOR.object({name: key})[name] != key


def test_rows_of_letters_are_no_key_and_may_be_a_password():
    for value in ("AbCeFG123", "abc123def456", "qwerty-123-asdf"):
        assert recorded(f"service_api_key: {value}") == f"service_api_key: {value}"
        assert value not in recorded(f"password: {value}")
        assert f"{value}9" not in recorded(f"service_api_key: {value}9x7")
    for weak in ("abc123", "qwerty12", "abcdef123"):
        assert weak not in recorded(f"service_api_key: {weak}")
    assert "k9Xw2pQ7rT4m" not in recorded("user_token: k9Xw2pQ7rT4m, non_admin_token: k9Xw2pQ7rT4m")


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode])
def test_base64_is_not_taken_for_keys(encode):
    blobs = [encode(CHANCE.randbytes(60_000)).decode() for _ in range(20)]
    assert sum(bool(secrets_in(blob)) for blob in blobs) <= 1


def test_what_is_drawn_is_a_key_though_it_begins_like_advice():
    for drawn in ("pdl_sdbx_My_6q5HncuEFjiaAe7tt", "password=my_7xK2p9Qw4Lm", "token: the-9f3Kd82mQ1z"):
        assert secrets_in(drawn), drawn
    for advice in ("password=my_secret_password", "api_key: your-api-key-here", "token = put_the_token_here"):
        assert not secrets_in(advice), advice


def test_a_mark_in_the_middle_of_base64_begins_no_key():
    blob = base64.b64encode(CHANCE.randbytes(600)).decode().rstrip("=")
    key = "YCnLZdq7WZ9gmJBhaOG7la1Th96akkeBsNgAogbK"
    assert secrets_in(f"key /{key}")
    for sign in "+/":
        assert not secrets_in(f"{blob}{sign}{key}{sign}{blob}")
    assert secrets_in(f"https://files.example.org/home/some/long/path/of/plain/words/{key}")


@pytest.mark.parametrize("secret", ["swordfish", "hunter2", "4711x"])
def test_a_secret_argument_is_replaced_in_all_that_its_call_tells(secret):
    class Door:
        def __init__(self):
            self.agent_id = "door"

        @trace_agent_action
        def open(self, user, password, options=None):
            AgentLogger("door").info(f"opening with {password}", extra={"note": password})
            AgentLogger("door").log_action(f"try {password}", {"seen": [password]})
            self.look(password)
            if user == "eve":
                try:
                    raise KeyError(password)
                except KeyError as error:
                    raise RuntimeError(f"{user} may not: {password}", {"k": password}) from error
            return {"user": user, "line": f"{user}:{password}", "raw": password.encode()}

        @trace_agent_action
        def look(self, thing):
            return thing

    with recording() as found:
        door = Door()
        door.open("bob", password=secret)
        with pytest.raises(RuntimeError):
            door.open("eve", secret)
        inside = [event for event in found.events if event["extra"].get("event_type") != "code"]
        told = json.dumps(inside)
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode() not in told
        assert {event["extra"]["event_type"] for event in inside} >= {"agent_action", "error", "log"}
        assert found.pipeline.redactor.token(secret) in told
        # Outside of the call nobody knows it any more.
        AgentLogger("door").info(f"later {secret}")
        assert f"later {secret}" in found.text
        assert not found.health.dropped


def test_the_secrets_of_a_call_are_bounded():
    @trace_agent_action
    def call(**given):
        return list(given.values())

    with recording() as found:
        call(**{f"password_{number}": f"value-{number}-{some(8)}" for number in range(200)})
        assert not found.health.dropped


def test_a_short_secret_is_no_part_of_words():
    with recording() as found:

        @trace_agent_action
        def call(pin):
            return "order 47110 of code 4711"

        call(pin="4711")
        assert found.of("agent_action")[-1]["extra"]["result"].startswith("order 47110 of code [redacted:")


@pytest.mark.integration
def test_texts_made_to_be_slow_are_read_in_linear_time():
    pieces = [
        "key", "token=", "a-", "password: ", "authorization: ", "://a:", "login x ", "$1$a", "<token>", '\\"', "A.", "_a1",
        "-----BEGIN PRIVATE KEY-----", "cookie: ", "data:\n x: ", "kind: secret\n", "abcdef ", "key is ", "x" * 50 + "@",
        "echo a", "echo a|", "htpasswd -b ", "password for a ", "secret a1 ", "password={a", "password: x[", "{", "%(a)", "a-b=",
        "insert into t (token) values (1,'a'),", "insert into t (token, a) values (?, ?) (", "a,token\n", "| token |\n", "\ttoken\t",
        "login('a', 'b", "expect pass", "<a value='b' ", "wifi:s:a;", "use a1b2c3 as the ", "in with a/", ":5432:a:b:", "is your ",
        "user x\nPASS ", "x@tcp( ", "input_value='password\n ", "snmpget -a ", "http -a ", "lftp -u", "rar ", "a1b2c3d4=password='a1b2c3d4'",
    ]  # fmt: skip
    for piece in pieces:
        small, large = (piece * (size // len(piece)) for size in (5_000, 40_000))
        took = []
        for text in (small, large):
            begun = time.process_time()
            secrets_in(text)
            took.append(time.process_time() - begun)
        # Eight times the text: sixteen times the time is far from the square, and leaves room for a busy machine.
        assert took[1] < 16 * took[0] + 0.5, (piece, took)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("snmp-server community {} RO", " RO"),
        ("snmp-server community 7 {}", "community 7 "),
        (" key-string 7 {}", "key-string 7 "),
        ("tacacs-server key {}", "tacacs-server key "),
        ("radius-server key 7 {}", "radius-server key 7 "),
        ("username admin privilege 15 secret {}", "username admin privilege 15 secret "),
        ("sqlplus -S scott/{}@db", "sqlplus -S scott/"),
        ("net user bob {} /add", "net user bob "),
        ("vault login -method=token {}", "vault login -method=token "),
        ('ConvertTo-SecureString "{}" -AsPlainText -Force', "-AsPlainText -Force"),
        ("send: AUTH PLAIN {}", "AUTH PLAIN "),
    ],
)
def test_passwords_of_devices_and_consoles_are_replaced(text, kept):
    for _ in range(20):
        secret = f"a{some(20)}7"
        for told in (text.format(secret), f"ran {text.format(secret)}\nand went on"):
            clean = recorded(told)
            assert secret not in clean, told
            assert kept in clean
            assert clean.startswith(told[:4])


@pytest.mark.parametrize(
    "text",
    [
        "snmp-server community",
        "the key-string pairs of a table",
        "a -server key that opens the room",
        "the username and the secret 7 of 12",
        "username: bob, no secret was given",
        "sqlplus /nolog",
        "sqlplus bin/tool of 19c",
        "net user growth of 12 percent",
        "net user bob /domain",
        "net user growth in Q3 2026",
        "vault login -method=userpass username=bob",
        "vault login attempts: 3 of 5",
        "ConvertTo-SecureString $plain -AsPlainText",
        "AUTH PLAIN LOGIN CRAM-MD5",
        "250-AUTH PLAIN LOGIN",
    ],
)
def test_what_only_looks_like_a_password_of_a_device_or_console_is_kept(text):
    assert recorded(text) == text


def test_a_value_beside_its_name_under_one_letter_is_replaced():
    secret = some(20)
    assert REDACTOR.value({"k": "password", "v": secret}, "", {})["v"] != secret
    assert REDACTOR.value({"k": "colour", "v": secret}, "", {})["v"] == secret


OWN = random.Random(20261127)
"""Of the tests below, so that those above draw what they drew before."""


def found_sample(token):
    """A key of a row that is found between blanks."""
    return next(key for key in iter(lambda: sample(token, OWN), "") if key not in recorded(f"a {key} b"))


ENCODED = {
    "a line in JSON": lambda key: json.dumps({"a": f"b\n{key}\tc"}),
    "a line in JSON in JSON": lambda key: json.dumps(json.dumps([f"b\r{key}\f"])),
    "an accent in JSON": lambda key: json.dumps(f"\xe9{key}\xe9"),
    "the repr of a text": lambda key: repr(f"a\t{key}\x07"),
    "the repr of bytes": lambda key: repr(b"\xff" + key.encode() + b"\xff"),
    "the repr of a sign beyond 65,535": lambda key: ascii(f"\U0001f511{key}\U0001f511"),
    "an octal escape": lambda key: f"caf\\303\\251{key}\\303\\251",
    "a blank as hexadecimal": lambda key: f"a\\x20{key}\\x20b",
    "colours": lambda key: f"\x1b[1;38;5;208m{key}\x1b[0m",
    "a line that is cleared": lambda key: f"\x1b[2K\x1b[1G{key}\x1b[K",
    "colours of tput": lambda key: f"\x1b(B\x1b[m{key}\x1b(B\x1b[m",
    "colours in JSON": lambda key: json.dumps(f"\x1b[1m{key}\x1b[0m"),
    "colours of a shell": lambda key: f"\\033[31m{key}\\e[0m",
    "colours without ESC": lambda key: f"[32m{key}[0m",
    "NUL": lambda key: f"\0{key}\0",
    "a query": lambda key: f"key%3D{key}%26a%3Db",
    "a URL in a URL": lambda key: f"?next={quote('https://h/?k=')}{key}%20",
    "a URL in a URL in a URL": lambda key: f"?next={quote(quote('https://h/?k='))}{key}%2520",
    "mail": lambda key: f"a=20{key}=20b",
}


@pytest.mark.first_case
@pytest.mark.parametrize("place", ENCODED)
def test_no_key_of_any_row_stays_beside_an_encoded_character(place):
    judge = make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    for token in tokens():
        key = found_sample(token)
        text = ENCODED[place](key)
        assert key[: len(token.prefix) + 8] not in recorded(text), text
        assert not judge.clean(orjson.dumps({"m": text})), text


def test_keys_by_form_do_not_stay_behind_an_encoded_character():
    for encoded in ("\\n", "\\x20", "\\u001b[32m", "%20", "\\t"):
        for key in (
            f"M{some(24, chance=OWN)}.{some(6, chance=OWN)}.{some(30, chance=OWN)}",
            f"{some(3, LETTERS['a'], OWN)}8Q~{some(31, chance=OWN)}",
            f"Bearer {some(24, chance=OWN)}1aB2",
            f"Basic {base64.b64encode(f'bob:{some(14, chance=OWN)}'.encode()).decode()}",
        ):
            assert key[8:] not in recorded(f"a{encoded}{key}"), (encoded, key)


@pytest.mark.further
def test_a_name_or_a_key_with_escaped_letters_is_read_as_json_reads_it():
    judge = make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    for _ in range(100):
        secret, key = f"{some(14, chance=OWN)}7a", f"ghp_{some(36, chance=OWN)}"
        text = f'{{"password": "{secret}", "a": "{key}"}}'
        letters = OWN.sample("paswordgh" + ALNUM[:52], 12)
        text = text.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in letters})
        for whole in (text, json.dumps(text), json.dumps(json.dumps(text))):
            assert recorded(whole).count("[redacted:") == 2, whole
            assert not judge.clean(orjson.dumps({"m": whole}))


def test_styles_within_styles_are_read_without_an_end_of_the_stack():
    assert recorded("\x1b[" * 5_000 + "0m" * 5_000 + " password=hunter2-Zq81Kx").count("[redacted:") == 1


WAYS_TO_QUOTE = {
    "all of it": lambda url: quote(url, safe=""),
    "but slashes": quote,
    "but colons": lambda url: quote(url, safe=":"),
    "but @": lambda url: quote(url, safe="@"),
    "but colons and slashes": lambda url: quote(url, safe=":/"),
    "in lower case": lambda url: re.sub("%..", lambda match: match[0].lower(), quote(url, safe="")),
    "twice": lambda url: quote(quote(url, safe=""), safe=""),
    "twice but slashes": lambda url: quote(quote(url)),
}


@pytest.mark.parametrize("way", WAYS_TO_QUOTE)
def test_the_password_of_a_url_in_a_url_is_replaced_and_its_host_is_kept(way):
    judge = make_judge(Redactor(b"key"), DEFAULT_LIMITS)
    for _ in range(20):
        password = some(14, "xyzQWK0123456789", OWN)
        for url in ("https://bob:{}@h.org/a", "postgresql://bob:{}@db.org:5432/x?a=b", "redis://:{}@h.org"):
            for text in ("https://h/login?next={}&a=b", '{{"url": "{}"}}', "{}"):
                whole = text.format(WAYS_TO_QUOTE[way](url.format(password)))
                assert password not in (clean := recorded(whole)) and ".org" in clean, whole
                assert not judge.clean(orjson.dumps({"m": whole}))


def test_a_quoted_url_without_a_password_is_kept():
    for url in (
        "https://h.org:8080/@me",
        "https://h.org/a:b@c",
        "https://bob@h.org/",
        "https://bob:${X}@h.org/",
    ):
        for quoted in WAYS_TO_QUOTE.values():
            assert recorded(f"https://h/?next={quoted(url)}") == f"https://h/?next={quoted(url)}"


def test_what_resembles_an_escape_makes_no_key_of_the_rest_of_a_word():
    for text in (
        f"a\\w{some(6, chance=OWN)}desk-{some(24, HEX, OWN)}",
        f"x%ZZtask-{some(24, HEX, OWN)}",
        f"[12task-{some(24, HEX, OWN)}",
    ):
        assert recorded(text) == text


class Courier:
    """Passes a text on wherever a program may put one."""

    agent_id = "courier"

    @trace_agent_action
    def take(self, text):
        return len(text)

    @trace_agent_action
    def give(self, _number):
        return {"output": [self.text]}

    @trace_agent_action
    def fail(self, _number):
        raise ValueError(self.text)

    @trace_agent_action
    def tell(self, _number):
        AgentLogger("courier").info(self.text)
        HEARD.warning("%s", self.text)

    @trace_agent_action
    def call(self, _number):
        look_up(query=self.text)


@record_tool
def look_up(query):
    return {"found": query}


HEARD = logging.Logger("heard")  # noqa: LOG001 - not one of the process's
HEARD.addHandler(TraceHandler())
PLACES = "take give fail tell call".split()


@pytest.mark.further
def test_no_key_of_an_issuer_reaches_a_file_from_any_place_in_any_encoding(trace_root):
    """Keys of every row of the table, in all pairs of an encoding and a place in turn."""
    courier = Courier()
    rows = [token for token in tokens() for _ in range(3)]
    keys = [found_sample(token) for token in rows]
    pairs = [(place, encoding) for place in PLACES for encoding in ENCODED]
    said = []
    setup_logging(trace_root=trace_root)
    with Recorder(agent="courier").run():
        for at, (token, key) in enumerate(zip(rows, keys, strict=True)):
            place, encoding = pairs[at % len(pairs)]
            courier.text = ENCODED[encoding](key)
            said.append((key[: len(token.prefix) + 8], key[-12:], place, encoding))
            with suppress(ValueError):
                getattr(courier, place)(courier.text if place == "take" else at)
    del courier.text
    shutdown_logging()
    lines = b"".join(path.read_bytes() for path in trace_root.rglob("*") if path.is_file()).decode()
    assert lines.count('"type":"tool.call"') >= len(said) // 5
    assert len(said) > 800 and len({(place, encoding) for *_, place, encoding in said}) == len(pairs)
    assert not [one for one in said if one[0] in lines or one[1] in lines]
