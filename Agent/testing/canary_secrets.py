"""Made-up secrets of common shapes, each used once, so that a found one tells where it came in.

`canary_entries.py` plants them, `canary.py` searches the files for them; both make them of one seed.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from Agent.archive.erase.target import base64_forms

_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits
_HEX = "0123456789abcdef"
Make = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Plant:
    """One secret on its way in.

    `value` carries it, a text or a mapping as a program would hand it over; `marker`, harmless, stands beside
    it and has to be found: it shows that the entrance led into the files at all.
    """

    entrance: str
    shape: str
    secret: str
    marker: str
    value: Any

    @property
    def text(self) -> str:
        """The value as it stands in a message."""
        return self.value if isinstance(self.value, str) else str(self.value)

    @property
    def fields(self) -> dict[str, Any]:
        """The value as keyword arguments or attributes."""
        return dict(self.value) if isinstance(self.value, dict) else {"note": self.value}

    def forms(self) -> Iterator[bytes]:
        """The bytes by which it would be found: as it is, escaped, quoted, inside base64 at each offset."""
        raw = self.secret.encode()
        yield from {raw, json.dumps(self.secret)[1:-1].encode(), quote(raw, safe="").encode()}
        yield from base64_forms(raw)


def _api_keys(some: Callable[[str, int], str]) -> dict[str, tuple[str, Make]]:
    keys = {
        "OpenAI key": f"sk-proj-{some(_ALNUM, 40)}",
        "Anthropic key": f"sk-ant-api03-{some(_ALNUM, 40)}",
        "GitHub token": f"ghp_{some(_ALNUM, 36)}",
        "AWS key id": f"AKIA{some(_UPPER, 16)}",
        "Google key": f"AIza{some(_ALNUM, 35)}",
        "Slack token": f"xoxb-{some(string.digits, 12)}-{some(_ALNUM, 24)}",
        "Stripe key": f"sk_live_{some(_ALNUM, 24)}",
        "Hugging Face token": f"hf_{some(_ALNUM, 34)}",
        "JSON web token": f"eyJ{some(_ALNUM, 20)}.eyJ{some(_ALNUM, 30)}.{some(_ALNUM, 43)}",
    }
    return {name: (key, lambda secret: f"called with {secret} and failed") for name, key in keys.items()}


def _texts(some: Callable[[str, int], str]) -> dict[str, tuple[str, Make]]:
    return {
        "private key": (
            some(_ALNUM, 64),
            lambda secret: f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
        ),
        "bearer header": (some(_ALNUM, 32), lambda secret: f"Authorization: Bearer {secret}"),
        "short bearer header": (some(_ALNUM, 12) + "7a", lambda secret: f"sent Bearer {secret}"),
        "basic header": (
            base64.b64encode(f"{some(_ALNUM, 5)}:{some(_ALNUM, 6)}".encode()).decode().rstrip("="),
            lambda secret: f"sent Basic {secret}",
        ),
        "URL with credentials": (some(_ALNUM, 16), lambda secret: f"postgres://app:{secret}@db.example/prod"),
        "signed URL": (some(_ALNUM, 32), lambda secret: f"https://blob.example/a?se=1&sig={secret}"),
        "cookie": (some(_ALNUM, 24), lambda secret: f"Cookie: session={secret}"),
        "assignment": (some(_ALNUM, 12), lambda secret: f"password={secret}"),
        # With a digit: eight letters of one case cannot be told from a word.
        "short assignment": (
            some(_ALNUM, 7) + some(string.digits, 1),
            lambda secret: f"secret:{secret}",
        ),
        "command line": (some(_ALNUM, 14), lambda secret: f"curl --api-key {secret}"),
        "JSON in a text": (some(_ALNUM, 14), lambda secret: f'{{"client_secret": "{secret}"}}'),
    }


def _mappings(some: Callable[[str, int], str]) -> dict[str, tuple[str, Make]]:
    return {
        "password": (some(_ALNUM, 9), lambda secret: {"password": secret}),
        "API key by name": (some(_HEX, 32), lambda secret: {"api_key": secret}),
        "nested credential": (
            some(_ALNUM, 11),
            lambda secret: {"service": {"options": [{"client_secret": secret}]}},
        ),
        "header object": (
            some(_ALNUM, 10),
            lambda secret: {"headers": [{"name": "Authorization", "value": secret}]},
        ),
        "header pair": (some(_ALNUM, 10) + "7a", lambda secret: {"headers": [("X-Api-Key", secret)]}),
        "bytes": (f"ghp_{some(_ALNUM, 36)}", lambda secret: {"body": secret.encode()}),
        "key of a mapping": (f"ghp_{some(_ALNUM, 36)}", lambda secret: {"cache": {secret: 1}}),
    }


def plants(seed: str, entrance: str) -> list[Plant]:
    """The secrets for one entrance; the same for the same seed."""
    chance = random.Random(f"{seed}/{entrance}")

    def some(alphabet: str, length: int) -> str:
        return "".join(chance.choice(alphabet) for _ in range(length))

    shapes = {**_api_keys(some), **_texts(some), **_mappings(some)}
    found = []
    for shape, (secret, make) in shapes.items():
        marker = f"canary{some(_HEX, 10)}"
        value = make(secret)
        value = f"{marker} {value}" if isinstance(value, str) else {"note": marker, **value}
        found.append(Plant(entrance, shape, secret, marker, value))
    return found


Enter = Callable[[Plant], object]
ENTRANCES: dict[str, Enter] = {}
ARGV = "command line"
"""Planted by whoever starts the program that plants, in its arguments."""
NEEDS = {"logging bridge": "pythonjsonlogger", "structlog bridge": "structlog"}
"""Entrances that need a library, and its module."""


def entrance(name: str) -> Callable[[Enter], Enter]:
    """Enter a function into the table."""

    def enter(function: Enter) -> Enter:
        ENTRANCES[name] = function
        return function

    return enter
