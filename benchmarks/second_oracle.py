"""What detect-secrets finds, as a second oracle beside gitleaks: of texts drawn from its detectors, and of lines.

detect-secrets (https://github.com/Yelp/detect-secrets, in the test extra) has detectors of two sorts: those of
forms and names, which say what a secret is, and those of entropy, which take each digest for one. The two sorts
are counted apart. Addresses of the internet, which it finds as well, are no secrets here.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gitleaks_cases import some_of

_SAMPLES = 10
_AROUND = ("{}", "using {} now", '{{"note": "{}"}}', "line\n{}\nline")
_SUFFIXES = frozenset(".py .js .json .yaml .yml .md .toml .html .rst .txt".split())
_LONGEST_LINE, _LARGEST_FILE = 2000, 500_000


@dataclass
class Line:
    """A line of a file, and what detect-secrets finds in it."""

    place: str
    text: str
    named: list[str] = field(default_factory=list)
    """The secrets of detectors of forms and names."""
    drawn: list[str] = field(default_factory=list)
    """What detectors of entropy take for secrets."""


def _is_of_entropy(sort: str) -> bool:
    return "Entropy" in sort


def found_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, sort, secret) of what detect-secrets finds in a file by its default settings."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    with default_settings():
        for one in scan_file(str(path)):
            if not one.type.startswith("Public IP"):
                yield one.line_number, one.type, one.secret_value or ""


def generated(seed: int = 1) -> dict[str, list[tuple[str, str]]]:
    """Kind -> (text, secret) drawn from the documented formats, as far as detect-secrets finds it in the text."""
    chance = random.Random(seed)
    found: dict[str, list[tuple[str, str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        for sort, formats in FORMATS.items():
            for at in range(_SAMPLES * len(formats)):
                drawn = some_of(formats[at % len(formats)], chance)
                text = chance.choice(_AROUND).replace("{}", drawn)
                path.write_text(text)
                # Of a private key detect-secrets names the first line alone.
                secrets = [drawn] if sort == "Private Key" else []
                secrets += [secret for _, one, secret in found_in(path) if one == sort and not secrets]
                found.setdefault(sort, []).extend((text, secret) for secret in secrets)
    return found


_NAMES = "api_key auth-key service_key db_key private_key client_secret db_pass password passwd pwd secret contraseña"
FORMATS = {
    "AWS Access Key": ["AKIA[A-Z0-9]{16}", "ASIA[A-Z0-9]{16}", 'aws_secret_access_key = "[A-Za-z0-9/+]{40}"'],
    "Artifactory Credentials": ['artifactory="AKCp[A-Za-z0-9]{69}"'],
    "Azure Storage Account access key": [
        "AccountName=shop;AccountKey=[A-Za-z0-9+/]{86}==;EndpointSuffix=core"
    ],
    "Basic Auth Credentials": ["https://bob:[A-Za-z0-9]{12}@example.org/a"],
    "Cloudant Credentials": [
        "https://bob:[0-9a-f]{64}@bob.cloudant.com",
        'cloudant_password = "[0-9a-f]{64}"',
        "cloudant_api_key='[a-z]{24}'",
    ],
    "Discord Bot Token": [r"M[A-Za-z0-9]{23}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}"],
    "GitHub Token": ["gh[pousr]_[A-Za-z0-9]{36}"],
    "GitLab Token": ["glpat-[A-Za-z0-9_-]{20}", "glrt-[A-Za-z0-9_-]{20}", "GR1348941[A-Za-z0-9_-]{20}"],
    "IBM COS HMAC Credentials": [
        'cos_hmac_secret_access_key = "[0-9a-f]{48}"',
        "secret_access_key: [0-9a-f]{48}",
    ],
    "IBM Cloud IAM Key": ['ibm_cloud_api_key = "[A-Za-z0-9_-]{44}"', "iam_api_key: [A-Za-z0-9_-]{44}"],
    "JSON Web Token": [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\\.eyJzdWIiOiIxMjM0NTY3ODkwIn0\\.[A-Za-z0-9_-]{43}"
    ],
    "Mailchimp Access Key": ["[0-9a-f]{32}-us[1-9]", "[0-9a-f]{32}-us1[0-9]"],
    "NPM tokens": [
        "//registry.npmjs.org/:_authToken=npm_[A-Za-z0-9]{36}",
        "//npm.example.org/:_authToken=[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ],
    "OpenAI Token": [
        "sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
        "sk-proj-[A-Za-z0-9_-]{20}T3BlbkFJ[A-Za-z0-9]{20}",
    ],
    "Private Key": [
        f"-----BEGIN {kind}PRIVATE KEY-----\n[A-Za-z0-9+/]{{64}}\n"
        for kind in ("", "RSA ", "EC ", "DSA ", "OPENSSH ")
    ],
    "PyPI Token": ["pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{70}"],
    "Secret Keyword": [
        f"{name}{sign}[A-Za-z0-9]{{12,20}}{end}"
        for name in _NAMES.split()
        for sign, end in ((' = "', '"'), (": '", "'"), (' := "', '"'), ("=", ""))
    ],
    "SendGrid API Key": [r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"],
    "Slack Token": [
        "xox[bp]-[0-9]{12}-[0-9]{12}-[a-z0-9]{24}",
        "https://hooks.slack.com/services/T[A-Z0-9]{8}/B[A-Z0-9]{8}/[A-Za-z0-9]{24}",
    ],
    "SoftLayer Credentials": ['softlayer_api_key = "[a-z0-9]{64}"'],
    "Square OAuth Secret": ["sq0csp-[A-Za-z0-9_-]{43}"],
    "Stripe Access Key": ["[rs]k_live_[A-Za-z0-9]{24}"],
    "Telegram Bot Token": ["[1-9][0-9]{9}:AA[A-Za-z0-9_-]{33}"],
    "Twilio API Key": ["SK[0-9a-f]{32}"],
}
"""The formats that the detectors look for, as their issuers document them; detectors accept more than those."""


def lines_of(place: Path, most: int = 60_000, *, seen: bool = True) -> list[Line]:
    """Lines of the sources and documents below a folder that speak of passwords, drawn by the file.

    With `seen`, what detect-secrets finds in them.
    """
    paths = [path for path in sorted(place.rglob("*")) if path.suffix in _SUFFIXES or path.name == "METADATA"]
    random.Random(1).shuffle(paths)
    lines: list[Line] = []
    for path in paths:
        if len(lines) >= most:
            break
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            continue
        if b"passw" in path.read_bytes().lower():
            lines += _read(path, str(path.relative_to(place)), seen=seen)
    return lines


def lines_with(texts: Iterable[str]) -> list[Line]:
    """The same of lines that were read already, such as those of logs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.log"
        path.write_text("\n".join(text.replace("\r", " ") for text in texts))
        return _read(path, "log", seen=True)


def _read(path: Path, name: str, *, seen: bool) -> list[Line]:
    texts = path.read_text("utf-8", "replace").split("\n")
    lines = [Line(f"{name}:{number}", text) for number, text in enumerate(texts, 1)]
    for number, sort, secret in found_in(path) if seen else ():
        (lines[number - 1].drawn if _is_of_entropy(sort) else lines[number - 1].named).append(secret)
    return [line for line in lines if line.text.strip() and len(line.text) < _LONGEST_LINE]
