"""Secrets and harmless texts of our own: shapes written from issuers' documentation and from tools' manuals.

They were written without a look at the matchers. A shape is drawn several times: the secrets differ, their surroundings
do not. It is a text, as a message has it, or a value, as an argument has it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import shapes_of_tools
from benchmarks.drawn_secrets import (
    HEX,
    LETTERS,
    LOWER,
    URL_SAFE,
    WORD,
    Draw,
    Shape,
    base64_of,
    chosen,
    hex_of,
    in_text,
    in_value,
    issued,
    of,
    password,
    word,
)

DRAWS = 5


def secret_values() -> dict[str, list[tuple[Any, str]]]:
    """Shape -> (text or value, secret), drawn."""
    return {
        name: [shape(chance) for _ in range(DRAWS)]
        for name, shape, chance in _with_chance(SECRETS | shapes_of_tools.SECRETS)
    }


def harmless_values() -> dict[str, list[Any]]:
    """Shape -> texts or values, drawn."""
    return {name: [shape(chance) for _ in range(DRAWS)] for name, shape, chance in _with_chance(HARMLESS)} | {
        name: [text] for name, text in shapes_of_tools.HARMLESS.items()
    }


def _with_chance(shapes: dict[str, Any]) -> Iterator[tuple[str, Any, Draw]]:
    return ((name, shape, random.Random(name)) for name, shape in shapes.items())


def _jwt(r: Draw) -> tuple[str, str]:
    parts = [
        {"alg": "HS256", "typ": "JWT"},
        {"sub": of(r, string.digits, 10), "iat": r.randrange(10**9, 2 * 10**9)},
    ]
    head = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    signature = of(r, URL_SAFE, 43)
    return f"refused the session {head}.{signature} of the gateway", signature


def _pem(r: Draw) -> tuple[str, str]:
    lines = [of(r, WORD + "+/", 64) for _ in range(6)]
    return "-----BEGIN EC PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END EC PRIVATE KEY-----", lines[3]


def _basic(r: Draw) -> tuple[str, str]:
    given = base64.b64encode(f"deploy:{password(r)}".encode()).decode()
    return (
        f"> GET /v2/ HTTP/1.1\n> Host: registry.internal\n> Authorization: Basic {given}\n> Accept: */*",
        given,
    )


SECRETS: dict[str, Shape] = {
    # issuers' documented formats, in a sentence or alone
    "GitHub classic": issued("ghp_", WORD, 36, "pushed with {} from the runner"),
    "GitHub fine-grained": issued("github_pat_", WORD, 82, "git clone https://x-access-token:{}@github.com/o/r"),
    "GitLab": issued("glpat-", URL_SAFE, 20),
    "AWS key id": issued("AKIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, "assumed by {}, region eu-west-1"),
    "AWS secret": in_text("aws_secret_access_key = @@", base64_of(30)),
    "Stripe": issued("sk_live_", WORD, 24, "stripe.api_key: {}"),
    "Slack bot": issued("xoxb-314159265358-3141592653589-", WORD, 24, "{} is revoked"),
    "Slack webhook": in_text("POST https://hooks.slack.com/services/T01ABCDEF/B02GHIJKL/@@", word(24)),
    "Google API": issued("AIza", URL_SAFE, 35, "https://maps.googleapis.com/maps/api/geocode/json?key={}&address=x"),
    "OpenAI": issued("sk-proj-", URL_SAFE, 48, "Incorrect API key provided: {}"),
    "Anthropic": issued("sk-ant-api03-", URL_SAFE, 95),
    "Hugging Face": issued("hf_", LETTERS, 34, "huggingface-cli login --token {}"),
    "npm": issued("npm_", WORD, 36, "//registry.npmjs.org/:_authToken={}"),
    "PyPI": issued("pypi-AgEIcHlwaS5vcmc", URL_SAFE, 90, "twine upload -u __token__ -p {} dist/*"),
    "SendGrid": issued("SG.", URL_SAFE, 22, "{}.aZ09bY18cX27dW36eV45fU54gT63hS72iR81jQ90kP9 bounced"),
    "Vault": issued("hvs.", URL_SAFE, 24, "VAULT_TOKEN={} vault kv get app"),
    "DigitalOcean": issued("dop_v1_", HEX, 64),
    "Shopify": issued("shpat_", HEX, 32, "shop 17 uses {}"),
    "Discord webhook": in_text("https://discord.com/api/webhooks/1012345678901234567/@@", word(68)),
    "Telegram bot": in_text("https://api.telegram.org/bot6123456789:AA@@/getMe", word(33)),
    "Grafana": issued("glsa_", WORD, 32, "service account {}_1a2b3c4d"),
    "Databricks": issued("dapi", HEX, 32, "host adb-17.azuredatabricks.net, {}"),
    "age key": issued("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "JWT": _jwt,
    "private key": _pem,
    # headers
    "Basic header": _basic,
    "Bearer header": in_text("request headers: {'Authorization': 'Bearer @@', 'Accept': '*/*'}", word(40)),
    "X-Api-Key": in_text("X-Api-Key: @@\r\nContent-Length: 17", hex_of(32)),
    "cookie": in_text("Set-Cookie: sessionid=@@; HttpOnly; Path=/; Secure", word(32)),
    "proxy header": in_text("Proxy-Authorization: Digest @@", word(32)),
    "header pairs": in_value(lambda s: [["Host", "api.example.net"], ["Authorization", f"Token {s}"]], hex_of(40)),
    "raw header pairs": in_value(lambda s: {"headers": [{"name": "x-auth-token", "value": s}]}, word(32)),
    # env dumps, YAML, files
    "env dump": in_text("PATH=/usr/bin\nDB_PASSWORD=@@\nLANG=C.UTF-8"),
    "export line": in_text('export PGPASSWORD="@@"', chosen),
    "docker run": in_text("docker run -d -e MYSQL_ROOT_PASSWORD=@@ -p 3306:3306 mysql:8", chosen),
    "compose YAML": in_text("    environment:\n      POSTGRES_USER: app\n      POSTGRES_PASSWORD: @@\n", chosen),
    "Kubernetes secret": in_text("kind: Secret\nstringData:\n  username: app\n  password: '@@'\n"),
    "properties file": in_text("spring.datasource.username=app\nspring.datasource.password=@@\n", chosen),
    "ini file": in_text("[smtp]\nhost = mail.example.net\npasswd = @@\n"),
    "Terraform": in_text('  master_password      = "@@"\n  engine = "postgres"'),
    "netrc": in_text("machine api.example.net login ci password @@", word(20)),
    "nested dict": in_value(lambda s: {"db": {"host": "db1", "credentials": {"user": "app", "pass": s}}}, chosen),
    "keys in camel case": in_value(lambda s: {"clientSecret": s, "clientId": "web"}, word(40)),
    # connection strings
    "postgres URL": in_text("could not connect to postgresql://app:@@@db.internal:5432/orders", word(18)),
    "redis URL": in_text("redis://:@@@cache:6379/0", word(24)),
    "mongodb URL": in_text("mongodb+srv://svc:@@@cluster0.ab1cd.mongodb.net/?w=majority", word(18)),
    "amqp in a dict": in_value(lambda s: {"broker": f"amqps://agent:{s}@mq.internal:5671/%2F"}, word(20)),
    "ADO string": in_text("Server=tcp:sql1,1433;User ID=app;Password=@@;Encrypt=True", word(18)),
    "Azure storage": in_text(
        "DefaultEndpointsProtocol=https;AccountName=st;AccountKey=@@;EndpointSuffix=core.windows.net", base64_of(64)
    ),
    "libpq words": in_text("host=db1 user=app password=@@ sslmode=require", word(18)),
    # command lines
    "curl user": in_text("curl -sS -u admin:@@ https://nexus.internal/repository/x.jar", word(16)),
    "curl header": in_text("curl -H 'PRIVATE-TOKEN: @@' https://git.internal/api/v4/projects", word(20)),
    "argv list": in_value(lambda s: ["mysqldump", "--user", "root", "--password", s, "orders"], chosen),
    "argv with an equals sign": in_value(lambda s: ["deploy", f"--api-token={s}", "--env=prod"], word(32)),
    "sshpass": in_text("sshpass -p '@@' ssh ops@10.0.3.7 uptime"),
    "psql": in_text("PGPASSWORD=@@ psql -h db1 -U app -c 'select 1'", word(14)),
    # what programs print
    "traceback": in_text(
        'Traceback (most recent call last):\n  File "app.py", line 17, in login\n'
        "    client.login(user='app', password='@@')\nAuthError: 401"
    ),
    "repr of a class": in_text("Settings(host='db1', api_key='@@', debug=False)", word(32)),
    "JSON in a message": in_text('sent {"user": "app", "access_token": "@@", "expires_in": 3600}', word(43)),
    "query string": in_text('GET /v1/items?limit=10&access_token=@@&page=2 HTTP/1.1" 200', word(40)),
    "sentence": in_text("I set the password to @@ for now, please change it after the migration", password),
}  # fmt: skip


def _uuid(r: Draw) -> str:
    text = of(r, HEX, 32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _sha(r: Draw) -> str:
    return hashlib.sha1(r.randbytes(8)).hexdigest()


def _said(text: Any) -> Callable[[Draw], Any]:
    return lambda _r: text


HARMLESS: dict[str, Callable[[Draw], Any]] = {
    # prose
    "advice": _said("Choose a password that you use nowhere else; a token expires after an hour."),
    "question": _said("Did you forget your password? Ask the administrator for a new key to the office."),
    "policy": _said("Passwords must have at least 12 characters, one digit and one sign."),
    "secret of success": _said("The secret of the bakery is its sourdough, and its key ingredient is time."),
    "token count": _said("The prompt has 1,532 tokens and the answer 240 tokens; max_tokens is 4096."),
    "tokenizer": _said("token: 'hello' is followed by the token 'world' in the tokenizer's table"),
    "pass": _said("3 tests pass: 17 passed, 2 failed, pass rate 89.5 %"),
    "authorization prose": _said("Authorization is required; basic training starts on Monday, bearer of bad news"),
    "key results": _said("Key: revenue; value: up by 12 percent. Key takeaway: ship earlier."),
    "login failed": _said("login failed for user anna: the account is locked after 5 attempts"),
    "keyboard": _said("press any key to continue, or hit the escape key twice"),
    "session prose": _said("session: morning standup; cookie: chocolate chip; passport control is upstairs"),
    # code and schemas
    "assignment from env": _said('password = os.environ["DB_PASSWORD"]\napi_key = settings.api_key'),
    "function signature": _said("def login(user: str, password: str, token: str | None = None) -> Session: ..."),
    "comparison": _said("if password == confirm_password and len(token) > 8: return True"),
    "getpass": _said("password = getpass.getpass('Password: ')"),
    "JSON schema": _said(
        {"type": "object", "properties": {"password": {"type": "string", "minLength": 12}, "token": {"type": "string"}}}
    ),
    "schema as text": _said('{"password": {"type": "string", "format": "password", "description": "of the user"}}'),
    "SQL": _said("SELECT id, password_hash IS NOT NULL AS has_password FROM users WHERE api_key_id = $1"),
    "SQL DDL": _said("CREATE TABLE users (id bigint, password text NOT NULL, token varchar(64))"),
    "HTML form": _said('<input type="password" name="password" placeholder="Your password" autocomplete="off">'),
    "shell reference": _said('curl -H "Authorization: Bearer $TOKEN" "$URL"; export API_KEY=${API_KEY:?unset}'),
    "helm template": _said("password: {{ .Values.postgres.password | quote }}"),
    "GitHub expression": _said("token: ${{ secrets.GITHUB_TOKEN }}"),
    "Kubernetes reference": _said("valueFrom:\n  secretKeyRef:\n    name: db-credentials\n    key: password"),
    "masked": _said("password=******** token=<redacted> api_key=[hidden]"),
    "placeholder": _said("export OPENAI_API_KEY=your-api-key-here  # or sk-..."),
    "flags": _said({"password": None, "has_token": True, "token_count": 17, "secret": False}),
    "tool schema": _said(
        {"name": "login", "parameters": {"type": "object", "required": ["password"],
         "properties": {"password": {"description": "what the user typed", "type": "string"}}}}
    ),
    "TypeScript": _said("interface Login { user: string; password: string; rememberMe?: boolean }"),
    "argparse": _said('parser.add_argument("--password", help="password of the account", default=None)'),
    "regex": _said(r"PASSWORD = re.compile(r'(?i)passw(or)?d\s*[:=]\s*(\S+)')"),
    "keyboard map": _said({"key": "Enter", "code": "Enter", "keyCode": 13, "shiftKey": False}),
    "sort key": _said("sorted(rows, key=lambda row: row['name']); primary_key='customer_id'; foreign key = order_id"),
    # ids, hashes
    "UUID": lambda r: f"request {_uuid(r)} answered in 17 ms",
    "UUIDs in a list": lambda r: {"ids": [_uuid(r), _uuid(r)], "parent_id": _uuid(r)},
    "git log": lambda r: f"commit {_sha(r)}\nAuthor: Anna <anna@example.org>\n\n    Rotate the log files",
    "git short": lambda r: f"{_sha(r)[:7]} Merge branch 'tokens' ({_sha(r)[:10]}..{_sha(r)[:10]})",
    "docker digest": lambda r: f"pulled postgres@sha256:{of(r, HEX, 64)}",
    "pip hash": lambda r: f"requests==2.32.3 --hash=sha256:{of(r, HEX, 64)}",
    "SRI": lambda r: f'<script src="/app.js" integrity="sha384-{base64_of(48)(r)}"></script>',
    "ETag": lambda r: f'ETag: W/"{of(r, HEX, 32)}"\nCache-Control: max-age=3600',
    "trace parent": lambda r: f"traceparent: 00-{of(r, HEX, 32)}-{of(r, HEX, 16)}-01",
    "trace ids": lambda r: {"trace_id": of(r, HEX, 32), "span_id": of(r, HEX, 16)},
    "object id": lambda r: f"ObjectId('{of(r, HEX, 24)}') was not found in orders",
    "ULID": lambda r: f"event 01{of(r, '0123456789ABCDEFGHJKMNPQRSTVWXYZ', 24)} is stored",
    "md5 sums": lambda r: f"{of(r, HEX, 32)}  data/part-0001.parquet\n{of(r, HEX, 32)}  data/part-0002.parquet",
    "memory address": lambda r: f"<Agent object at 0x7f{of(r, HEX, 10)}> was collected",
    "base64 image": lambda r: f'<img src="data:image/png;base64,iVBORw0KGgo{base64_of(150)(r)}">',
    "base64 field": lambda r: {"image": base64.b64encode(r.randbytes(120)).decode(), "media_type": "image/png"},
    "chat ids": lambda r: {"id": f"chatcmpl-{of(r, WORD, 29)}", "call_id": f"call_{of(r, WORD, 24)}"},
    "public key": lambda r: f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{base64_of(33)(r)} anna@laptop",
    "fingerprint": lambda r: f"SHA256:{of(r, WORD, 43)} is the host key's fingerprint (ED25519)",
    "video link": lambda r: f"https://www.youtube.com/watch?v={of(r, URL_SAFE, 11)} and https://bit.ly/{of(r, WORD, 7)}",
    # numbers
    "prices": lambda r: f"EUR {r.randrange(10**4)}.{r.randrange(10, 99)} plus 19 % VAT, order 2026-{r.randrange(10**6):06}",
    "phone-like": lambda r: f"ticket +49 30 {r.randrange(10**6, 10**7)}, customer no. {r.randrange(10**9, 10**10)}",
    "ISBN and IP": lambda r: f"978-3-16-{r.randrange(10**5, 10**6)}-0 from 10.{r.randrange(256)}.{r.randrange(256)}.7:5432",
    "timings": lambda r: f"p50={r.random():.6f}s p99={r.random() * 9:.6f}s seed={r.randrange(2**32)} pass={r.randrange(9)}",
    "coordinates": lambda r: {"lat": r.random() * 90, "lon": r.random() * 180, "geohash": of(r, LOWER, 12)},
    "log line": lambda r: f"2026-11-20T10:30:45Z INFO worker-{r.randrange(99)} pid={r.randrange(9999)} token bucket refilled: 100",
}  # fmt: skip
