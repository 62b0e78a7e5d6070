"""Values that stand for a secret, and code, prose and labels that speak of one, stay; weak and odd secrets do not."""

import io

import pandas
import pytest
from record_kit import recording

from Agent.record.encode.artifact_bytes import PARQUET, encode_artifact
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.names import is_even, is_placeholder, is_prose, looks_drawn, marks_an_example
from benchmarks.secrets import recorded

REDACTOR = Redactor(b"key")
DRAWN = "Zq7Rt9zXc5vB2"

STAND_INS = [
    "changeme", "changeme-placeholder", "your-api-key", "YOUR_API_KEY_HERE", "my-secret-token", "EXAMPLE_KEY_1", "example",
    "<password>", "${DB_PASSWORD}", "$DB_PASSWORD", "{{ vault.password }}", "%(password)s", "%s", "{user}:{password}", "@@TOKEN@@",
    "Bearer <token>", "********", "sk-****1234", "xxxxxxxxxxxx", "[Redacted]", "abc..[redacted]", "None", "disabled", "SecretStr",
    "abcdefghijklmnopqrstuvwxyz123", "abc123def456ghi789jkl012", "0123456789012345678901234567890", "aaaabbbbccccddddeeeeffff",
    "not-a-real-key", "test_token", "$1", "<xsd:element name=",
]  # fmt: skip
SECRETS = [
    "hunter2", "password123", "admin", "Pa$sword1", "P@ssw0rd", "correct horse battery", "swordfish", "Summer2026!", "qwerty12",
    "abc123", DRAWN, "{acd3c08b-74e8-4f44-a2d0-80694c24f461}", "12345678-abcd-abcd-abcd-1234567890ab", "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "Tr0ub4dor&3", "***hunter2***", "secret1",
]  # fmt: skip


def test_placeholders_are_told_by_their_class_and_weak_passwords_are_none():
    assert [value for value in STAND_INS if not is_placeholder(value)] == []
    assert [value for value in SECRETS if is_placeholder(value)] == []


def test_text_around_a_name_keeps_stand_ins_and_hides_secrets():
    for form in ('password = "{}"', "password: '{}'", '{{"api_key": "{}"}}', 'secret_key => "{}"'):
        for value in STAND_INS:
            text = form.format(value)
            assert recorded(text, REDACTOR) == text
        for value in SECRETS:
            assert value not in recorded(form.format(value), REDACTOR)


def test_evenness_is_judged_of_long_values_alone():
    assert (
        not is_even("aaaabbbb")
        and is_even("ab" * 12)
        and not is_even("a1B2" * 9)
        and is_even("1234567890" * 3)
    )
    assert not any(
        map(is_even, ("9f8e7d6c5b4a39281706f5e4d3c2b1a0", "Xw937qtWSXJss1lFaKe9", "4815162342108756394107"))
    )
    assert marks_an_example("RANDOMSTRINGHERE") and marks_an_example("IOSFODNN7EXAMPLE")
    assert not marks_an_example("IOSFODNN7QX3PLMZ")
    assert is_prose("Password is required") and not is_prose("correct horse battery staple")


HARMLESS = [
    # schemas, models, forms
    "password = Column(String(128), nullable=False)", "password: Mapped[str] = mapped_column(String(60))", "password!: string;",
    'def login(user: str, passwd: str = "", acct: str = "") -> str: ...', "password: ReadableBuffer, salt: ReadableBuffer",
    "password VARCHAR(255) NOT NULL", '<input type="password" name="password" placeholder="Enter your password">',
    "securitySchemes:\n  ApiKeyAuth:\n    type: apiKey\n    name: X-API-Key", '{"password": "Password is required"}',
    # code
    "api_key: process.env.KEY", "password = data.aws_secret.db.secret_string", "username, password = auth", "self._cookies = cookies",
    "userpass = username + b':' + password", 'headers = {"authorization": "Bearer " + token}', 'creds = " --password=%s" % password',
    "assert password == expected", "login(username=user, password=pw)", '("Auth: ", Style(color="white", bold=True))',
    'sensitive = ["Cookie", "Authorization", "Proxy-Authorization"]', "SQLITE_AUTH: Final = 23", 'publicKeyToken="b77a5c561934e089"',
    # tools
    "--password-file /run/secrets/db", "docker run --secret id=npm,src=.npmrc x", "the --username and --password options of it",
    'curl -sL --user "$1:$2" "$3"', "pip install detect-secrets==1.5.0", "docs: [abort-multipart-upload](https://h/a?b:c)",
    "password: !vault |", "TOKEN: ${{ secrets.GITHUB_TOKEN }}", "mysql -u root -p", "ls -la && cp -p a b",
    "curl -k https://h/ | openssl x509 -noout", "openssl enc -k", "openssl rsa -in k.pem -passin pass:$PW -passin file:pw.txt",
    "smbclient -U bob //h/share", "smbclient -U bob%$PW //h/share", r"net use Z: \\h\share", r"net use * \\h\share /persistent:yes",
    r"net use Z: \\h\share * /user:bob", "tar -U -k f.tar", "we net use 5 of them",
    # sentences and logs
    "password reset requested for user 7", "Failed password for root from 10.0.0.1 port 22 ssh2", "your password expires in 14 days",
    "csrf: disabled", "jwt: malformed", "1Password v8.10.1", "Pass 'name' to disambiguate", "Authorization: none", "auth: none",
    # counts, digests, signatures, files
    "max_tokens: 512, tokens=153, total_tokens: 900", "x-hub-signature-256: sha256=" + "9f8e7d6c5b4a3928" * 4,
    "signature: MEUCIQDf4Zq7Rt9zXc5vB2hJ1kL8mN3pQ6sT0uV", "https://h/video_box.ico-7a388b69018576d24b59331fd60aab0c.png",
    'if "-----BEGIN PRIVATE KEY-----" in text:', "<UserSecretsId>79a3edd0-2092-40a2-a04d-dcb46d5ca9ed</UserSecretsId>",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq7Rt9zXc5vB2hJ1kL8mN3pQ6sT0uVwXyZ bob@h", "sntryu_" + "9f8e7d6c5b4a392" * 4,
]  # fmt: skip


def test_code_prose_and_labels_that_speak_of_secrets_stay():
    assert [text for text in HARMLESS if recorded(text, REDACTOR) != text] == []


FORMS = [
    "jdbc:oracle:thin:scott/{}@//h:1521/orcl", "redis-cli -a {} ping", "ldapsearch -D cn=a -w {} -b dc=x", "mongosh -u a -p {}",
    "sqlcmd -U sa -P {} -Q x", "zip -P {} a.zip b", "htpasswd -b file bob {}", "echo {} | sudo -S ls", "echo 'bob:{}' | chpasswd",
    "smbclient -U bob%{} //h/share", "smbclient //h/share --user=D/bob%{} -c ls", "rpcclient -U 'bob%{}' h", "net ads join -U admin%{}",
    "openssl enc -aes-256-cbc -in a -k {} -out b", "openssl rsa -in k.pem -passin pass:{} -out k2.pem", "openssl pkcs12 -passout pass:{}",
    r"net use Z: \\h\share {} /user:D\bob", r"net use \\h\share /user:bob {}", r"net use * \\h\share {}",
    "keytool -storepass {} -list", "curl -u {}: https://h/", "Password for user bob: {}", "set password {}", "| password | {} |",
    "password -> {}", "password\t{}", "username admin privilege 15 password 0 {}", "requirepass {}", "bindpw {}", "psk={}",
    '(password . "{}")', '<Setting Name="ApiKey">{}</Setting>', "<input type=password name=password value='{}'>", "{SHA}{}Rt9zXc5vB2",
    "pbkdf2:sha256:600000$abcd1234${}Rt9zXc5vB2", "scrypt:32768:8:1$abcd1234${}Rt9zXc5vB2", "x-functions-key: {}",
    "pre_shared_key = {}", "auth failed with password {}", "api_key: str = '{}'", "DB_PASSWORD: Final = '{}'",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{}{}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    "https://hooks.zapier.com/hooks/catch/1234567/{}/", "https://outlook.office.com/webhook/9f8e7d6c-1234-4321-{}",
]  # fmt: skip


def test_secrets_in_the_manner_of_more_tools_and_files_are_replaced():
    assert [form for form in FORMS if DRAWN in recorded(form.replace("{}", DRAWN), REDACTOR)] == []


def test_a_one_time_code_and_a_key_of_mailchimp_are_replaced():
    for text, secret in (
        ("2FA code 482913", "482913"),
        ("use 3012a5754bbd716926f99c028f7ea428-us18 now", "3012a5754bbd716926f99c028f7ea428"),
    ):
        assert secret not in recorded(text, REDACTOR)


def test_a_key_with_a_letter_glued_to_it_is_replaced_and_a_longer_digest_is_none():
    google = "AIza" + "Zq7Rt9zXc5vB2hJ1kL8mN3pQ6sT0uVwXyZa"
    assert google not in recorded(google + "x", REDACTOR)
    assert recorded(google + "abcd123", REDACTOR) == google + "abcd123"


def test_structure_is_strict_and_says_when_there_is_no_secret():
    for name in ("token", "secret", "auth"):
        for value in ("a1b2c3d4", "ab12-cd34-ef56", "Xk29fLq0", DRAWN):
            assert value not in str(REDACTOR.object({name: value, "deep": {name: [value]}}))
    for value in (
        {"token": "hello"},
        {"token": ["the", "cat", 17]},
        {"auth": "none"},
        {"password": "disabled"},
    ):
        assert REDACTOR.object(value) == value
    for value in ("changeme", "example", "swordfish"):
        assert value not in str(REDACTOR.object({"password": value}))
    assert looks_drawn("ab12-cd34-ef56") and not looks_drawn("user-17-left") and not looks_drawn("2026-11-21")


@pytest.mark.parametrize(
    ("media_type", "read"), [("text/csv", pandas.read_csv), (PARQUET, pandas.read_parquet)]
)
def test_a_column_of_words_named_token_stays_and_one_of_credentials_does_not(media_type, read):
    def stored(frame):
        with recording() as found:
            encoded = encode_artifact(found.pipeline.capture, frame, media_type, "frame")
        return read(io.BytesIO(bytes(encoded.content)))

    words = pandas.DataFrame({"token": ["the", "cat", "sat"], "count": [1, 2, 3]})
    keys = pandas.DataFrame({"token": [DRAWN, "word"], "password": ["swordfish", "other"]})
    assert stored(words).equals(words)
    assert stored(keys)["token"].str.startswith("[redacted:").tolist() == [True, False]
    assert stored(keys)["password"].str.startswith("[redacted:").all()
