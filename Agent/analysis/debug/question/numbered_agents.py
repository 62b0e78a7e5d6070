"""Agents named by a bare number, as in Mesa, and the numbers in a text that refer to them.

Most numbers in a complaint are ticks, amounts or times: "household 7 freezes" names an agent, "since step 7"
and "after 7 hours" do not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

_NUMBER: Final = re.compile(r"(?<![0-9.:])[0-9]+(?![0-9%]|[.:][0-9])")
_BEFORE: Final = re.compile(r"([A-Za-z]+)([\s#:_(-]*)\Z")
_LISTED: Final = re.compile(r"[\s,&#]*(?:\b(?:and|or)\b)?[\s#]*", re.IGNORECASE)
_AFTER: Final = re.compile(r"[\s-]*([A-Za-z]+)")
_AGENT: Final = frozenset({"agent", "id", "no", "nr", "number", "unit"})
BEFORE_AMOUNTS: Final = frozenset(
    "tick step round turn hour day minute second epoch iteration period after in by from about around at "
    "every for than to until till since least most only over under before within nearly almost last first "
    "between above below of and or on the is was are were all with version seed".split()
)
"""Words, without plural s, after which a number is a time or an amount."""
_UNIT: Final = frozenset(
    "agent tick step round turn hour day minute second week month year time percent s ms min h x k of or and "
    "more less fewer other degree error event message point kb mb gb".split()
)


def numbers_meant(text: str, agents: Mapping[str, str | None]) -> list[str]:
    """Return the agents with a bare number as name that a text refers to, in text order.

    Args:
        text: the text without the names of other agents.
        agents: {agent id: role} of the session.
    """
    if not any(map(str.isdecimal, agents)):
        return []
    words = {bare(word) for role in agents.values() if role for word in re.findall(r"[A-Za-z]+", role)}
    called, maybe = [], []
    end = -1
    for found in _NUMBER.finditer(text):
        name = found.group()
        if name not in agents:
            continue
        is_listed = end >= 0 and _LISTED.fullmatch(text[end : found.start()]) is not None
        if is_listed or _is_called(text[: found.start()], words | _AGENT):
            called.append(name)
            end = found.end()
        elif not _is_amount(text, found, words):
            maybe.append(name)
    return list(dict.fromkeys(called or maybe))


def _is_called(before: str, names: Collection[str]) -> bool:
    """Whether the word or number sign directly before a number marks it as an agent."""
    found = _BEFORE.search(before)
    if found is None:
        return before.endswith("#")
    return bare(found[1]) in names or found[2].endswith(" #")


def _is_amount(text: str, found: re.Match[str], roles: Collection[str]) -> bool:
    """Whether a number belongs to a time, an amount or another name."""
    before, after = _BEFORE.search(text[: found.start()]), _AFTER.match(text, found.end())
    is_part = text[: found.start()][-1:] in {"_", "-", "#"} or text[found.end() : found.end() + 1] == "_"
    if is_part or (before is not None and bare(before[1]) in BEFORE_AMOUNTS):
        return True
    return after is not None and bare(after[1]) in {*_UNIT, *roles}


def bare(word: str) -> str:
    """Return a word in lower case without plural s."""
    word = word.lower()
    return word.removesuffix("s") if len(word) > 3 else word
