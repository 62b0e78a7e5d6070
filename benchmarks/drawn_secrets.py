"""Draws secrets, and puts them into texts and values."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from typing import Any

Draw = random.Random
Shape = Callable[[Draw], tuple[Any, str]]
"""From a generator to a text or value, and the secret in it."""

LETTERS = string.ascii_letters
WORD = LETTERS + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
URL_SAFE = WORD + "-_"
_PLAIN = "river copper violet harbor ember saddle walnut thunder orchid marble".split()


def of(r: Draw, alphabet: str, length: int) -> str:
    return "".join(r.choice(alphabet) for _ in range(length))


def password(r: Draw) -> str:
    """What a password manager makes: 16 characters, each class among them."""
    return of(r, LETTERS, 6) + r.choice("!#%*+") + of(r, string.digits, 2) + of(r, WORD, 7)


def chosen(r: Draw) -> str:
    """What a person makes: a word, a number, a sign."""
    return f"{r.choice(_PLAIN).capitalize()}{r.randrange(10, 9999)}{r.choice('!?$')}"


def issued(prefix: str, alphabet: str, length: int, around: str = "{}") -> Shape:
    def shape(r: Draw) -> tuple[str, str]:
        body = of(r, alphabet, length)
        return around.format(prefix + body), body

    return shape


def in_text(around: str, make: Callable[[Draw], str] = password) -> Shape:
    def shape(r: Draw) -> tuple[str, str]:
        secret = make(r)
        return around.replace("@@", secret), secret

    return shape


def in_value(build: Callable[[str], Any], make: Callable[[Draw], str] = password) -> Shape:
    def shape(r: Draw) -> tuple[Any, str]:
        secret = make(r)
        return build(secret), secret

    return shape


def hex_of(length: int) -> Callable[[Draw], str]:
    return lambda r: of(r, HEX, length)


def word(length: int) -> Callable[[Draw], str]:
    return lambda r: of(r, WORD, length)


def base64_of(length: int) -> Callable[[Draw], str]:
    return lambda r: base64.b64encode(r.randbytes(length)).decode()


def digits(length: int) -> Callable[[Draw], str]:
    """Digits, as in a one-time code."""
    return lambda r: of(r, string.digits, length)


def wide(text: str) -> str:
    """The text in the wide letters of Chinese and Japanese fonts."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)
