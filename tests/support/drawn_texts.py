"""Texts drawn from regular expressions, so that a test meets whatever an expression matches, not examples of it."""

import random
from functools import lru_cache
from re import _constants as kinds
from re import _parser as parser

LETTERS = "abcdefgkprostuvwyXKP0123456789_"
_IN_CATEGORY = {kinds.CATEGORY_DIGIT: "0123456789", kinds.CATEGORY_SPACE: " \t\n"}
_MOST_OF_RANGE = 64


@lru_cache(maxsize=256)
def _parsed(expression, flags):
    return parser.parse(expression, flags)


class Drawer:
    """Draws texts that an expression matches, unless a negative assertion in it forbids them.

    Args:
        source: the `random.Random`.
        given: {name of a group: text that stands in its place}.
    """

    def __init__(self, source: random.Random, given: dict[str, str] | None = None) -> None:
        self._random = source
        self._given = given or {}
        self._names: dict[int, str] = {}
        self._drawn: dict[int, str] = {}

    def text(self, expression: str, flags: int = 0) -> str:
        """Return one text."""
        parsed = _parsed(expression, flags)
        self._names = {number: name for name, number in parsed.state.groupdict.items()}
        self._drawn = {}
        return self._sequence(parsed)

    def _sequence(self, items) -> str:
        return "".join(self._item(kind, argument) for kind, argument in items)

    def _item(self, kind, argument) -> str:
        if kind is kinds.LITERAL:
            return chr(argument)
        if kind in (kinds.NOT_LITERAL, kinds.ANY):
            return self._random.choice(LETTERS)
        if kind is kinds.IN:
            return self._random.choice(_characters(argument))
        if kind is kinds.BRANCH:
            return self._sequence(self._random.choice(argument[1]))
        if kind is kinds.SUBPATTERN:
            return self._group(argument[0], argument[-1])
        if kind is kinds.GROUPREF:
            return self._drawn.get(argument, "")
        if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT):
            least, most, inner = argument
            count = self._random.randint(least, min(most, least + self._random.choice([3, 8, 40])))
            return "".join(self._sequence(inner) for _ in range(count))
        if kind is kinds.ATOMIC_GROUP:
            return self._sequence(argument)
        if kind is kinds.ASSERT:
            return self._sequence(argument[1]) if argument[0] < 0 else ""
        assert kind in (kinds.AT, kinds.ASSERT_NOT), kind
        return ""

    def _group(self, number, inner) -> str:
        name = self._names.get(number)
        text = self._given[name] if name in self._given else self._sequence(inner)
        if number is not None:
            self._drawn[number] = text
        return text


def _characters(items) -> list[str]:
    found: list[str] = []
    for kind, argument in items:
        if kind is kinds.LITERAL:
            found.append(chr(argument))
        elif kind is kinds.RANGE:
            found += map(chr, range(argument[0], min(argument[1], argument[0] + _MOST_OF_RANGE) + 1))
        elif kind is kinds.CATEGORY:
            found += _IN_CATEGORY.get(argument, LETTERS)
    if items[0][0] is kinds.NEGATE:
        return [letter for letter in LETTERS if letter not in found] or ["z"]
    return found


def name_cases(name: str) -> list[str]:
    """Return a name in the spellings of several languages: with `_`, `-` and `.`, in capitals, in camel case."""
    first, *rest = name.split("_")
    camel = first + "".join(word[:1].upper() + word[1:] for word in rest)
    return [name, name.upper(), name.title(), camel, name.replace("_", "-"), name.replace("_", ".")]
