"""Parse an issue text: agents, roles, series of acts, topics, times and event ids.

No language model is used. Names are matched exactly, then approximately; other words by their stems and a
short list of synonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from Agent.analysis.debug.question.entity_mentions import Naming, Things, parts_of, things_in
from Agent.analysis.debug.question.numbered_agents import numbers_meant

_TOKEN = re.compile(r"[^\s,;:!?\"'()\[\]{}<>]+")
_WORD = re.compile(r"[a-z]+|[0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TICK = re.compile(r"\b(?:tick|step|round|turn)\s*#?\s*([0-9]+)", re.IGNORECASE)
_MOMENT = re.compile(
    r"\b(tick|step|round|turn|second|minute|hour|day|night|week|month|quarter|year|shift|season|period|"
    r"episode|cycle)\s*#?\s*([0-9]+)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?<![0-9:])([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?(?![0-9:])")
_ASKING = frozenset({"cause", "caused", "causes", "event", "happen", "happened", "lead", "led"})
_EVENT_ID = re.compile(r"\b[a-z2-7]{8}-[0-9]+\b")

# The words of a group are synonyms in a question; the first one represents the group.
_SYNONYMS = (
    ("create", "generate", "produce", "make", "write", "publish", "post", "upload"),
    ("message", "send", "reply", "respond", "answer"),
    ("fetch", "query", "search", "lookup", "retrieve"),
    ("interaction", "interact", "engage"),
)
_TOPICS: Mapping[str, tuple[str, ...]] = {
    "error": ("error", "fail", "failure", "crash", "exception", "raise", "traceback", "broken"),
    "reward": ("reward", "score", "return", "payoff", "utility"),
    "exploration": ("explore", "exploit", "epsilon"),
    "learning": ("learn", "train", "policy", "strategy", "converge"),
    "message": ("message", "send", "receive", "reply", "respond", "answer", "silent"),
    "slow": ("slow", "slower", "latency", "hang", "hung", "timeout", "duration", "delay", "late"),
    "loop": ("loop", "stuck", "retry", "repeat", "forever", "again", "endless", "cycle"),
    "absence": (
        "stop",
        "not",
        "never",
        "no",
        "cease",
        "idle",
        "inactive",
        "quit",
        "miss",
        "without",
        "nothing",
    ),
    "growth": ("memory", "leak", "grow", "swell", "bloat", "ram", "oom", "descriptor", "handle", "bigger"),
    "drop": (
        "collapse",
        "drop",
        "fall",
        "fell",
        "decline",
        "decrease",
        "worse",
        "low",
        "lose",
        "lost",
        "poor",
        "bad",
        "weak",
        "fewer",
        "less",
        "down",
    ),
}
_EMPTY_WORDS = frozenset(
    "a an and agent agents any are as at be been but by can did do does doing for from had has have he "
    "her his how i in is it its me my no not of on or our she since so that the their them they this to "
    "too was we were what when where which who why will with you your after before suddenly longer more "
    "all seems seem".split()
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a text names in one session."""

    text: str
    agents: tuple[str, ...]
    """Ids of the agents that it names, exactly or approximately."""
    guessed: Mapping[str, str]
    """{agent id: word} for the agents that match a word of the text only approximately."""
    roles: tuple[str, ...]
    series: tuple[str, ...]
    """What agents do, as named by `activity_series`, where the text names it."""
    topics: frozenset[str]
    words: tuple[str, ...]
    """Words left for the message search."""
    ticks: tuple[int, ...]
    moments: tuple[tuple[str, int], ...]
    """Numbered times in the text, including ticks: ("day", 40)."""
    clock: tuple[tuple[int, int], ...]
    """Times of day in the text: (seconds since midnight UTC, tolerance in seconds)."""
    event_ids: tuple[str, ...]
    things: Things = ()
    """Numbered names that are not agents: an order, a document."""
    naming: tuple[Naming, ...] = ()
    """The events that name `things`; empty until they are looked up."""

    @property
    def describes(self) -> bool:
        """Whether it has other words than those that ask for the cause of an event."""
        ids = {event_id.partition("-")[0] for event_id in self.event_ids}
        return bool({*self.words} - ids - _ASKING)


def stem(word: str) -> str:
    """Return a word without its ending: generating, generation and generate have the same stem."""
    word = word.lower().removesuffix("n't")
    for ending in (
        "ations",
        "ation",
        "ating",
        "ated",
        "ions",
        "ates",
        "ate",
        "ion",
        "ings",
        "ing",
        "ers",
        "ed",
        "es",
        "s",
        "e",
    ):
        if ending == "s" and word.endswith("ss"):
            continue
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word


_CANON = {stem(word): stem(group[0]) for group in _SYNONYMS for word in group}
_TOPIC_OF = {stem(word): topic for topic, words in _TOPICS.items() for word in words}


def stems(text: str) -> list[str]:
    """Return the stems of the words in a text or name, with synonyms unified."""
    lowered = _CAMEL.sub(" ", text).lower()
    return [_CANON.get(stem(word), stem(word)) for word in _WORD.findall(lowered)]


def read_question(text: str, agents: Mapping[str, str | None], series: Iterable[str]) -> Question:
    """Return what a text names.

    Args:
        text: the issue in a person's words.
        agents: {agent id: role} of the session.
        series: what the agents of the session do.
    """
    named, guessed, rest = _agents_in(text, agents)
    roles = () if named else _roles_in(rest, {role for role in agents.values() if role})
    bare = rest.replace("n't", " not").replace("n\u2019t", " not")
    plain = re.findall(r"[a-z]+", bare.lower())
    topics = {_TOPIC_OF[stem(word)] for word in plain if stem(word) in _TOPIC_OF}
    words = [word for word in plain if word not in _EMPTY_WORDS and len(word) > 2]
    return Question(
        text=text,
        agents=tuple(named),
        guessed=guessed,
        roles=roles,
        series=_series_in(words, roles, series),
        topics=frozenset(topics),
        words=tuple(dict.fromkeys(words)),
        ticks=tuple(int(number) for number in _TICK.findall(text)),
        moments=tuple((unit.lower(), int(number)) for unit, number in _MOMENT.findall(text)),
        clock=tuple(_clock(*found) for found in _CLOCK.findall(text)),
        event_ids=tuple(_EVENT_ID.findall(text)),
        things=things_in(_CLOCK.sub(" ", _EVENT_ID.sub(" ", rest))),
    )


def _clock(hour: str, minute: str, second: str) -> tuple[int, int]:
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return seconds, 10 if second else 120


def _agents_in(text: str, agents: Mapping[str, str | None]) -> tuple[list[str], dict[str, str], str]:
    """Return the agents that a text names, the guessed ones, and the text without their names."""
    named: list[str] = []
    rest = text
    lowered = text.lower()
    # Longest first, so that creator_1 is not found in creator_10.
    told = (a for a in agents if a and not a.isdecimal() and a.lower() in lowered)
    for agent_id in sorted(told, key=len, reverse=True):
        pattern = re.compile(rf"(?<![\w-]){re.escape(agent_id)}(?![\w]|-\w)", re.IGNORECASE)
        if pattern.search(rest):
            rest = pattern.sub(" ", rest)
            named.append(agent_id)
    for number in numbers_meant(rest, agents):
        rest = re.sub(rf"(?<![0-9]){number}(?![0-9])", " ", rest)
        named.append(number)
    guessed = {} if named else _near(rest, agents)
    for agent_id, word in guessed.items():
        named.append(agent_id)
        rest = rest.replace(word, " ")
    return named, guessed, rest


def _near(text: str, agents: Mapping[str, str | None]) -> dict[str, str]:
    """Return the agents whose names match approximately: creator 7 for creator_007, craetor_007."""
    import difflib

    by_parts: dict[tuple[str, ...], list[str]] = {}
    for agent_id in agents:
        by_parts.setdefault(parts_of(agent_id), []).append(agent_id)
    tokens = [token.rstrip(".") for token in _TOKEN.findall(text)]
    candidates = [token for token in tokens if any(map(str.isdigit, token)) and any(map(str.isalpha, token))]
    candidates += [f"{first} {second}" for first, second in pairwise(tokens) if second.isdigit()]
    found: dict[str, str] = {}
    for word in candidates:
        same = by_parts.get(parts_of(word), [])
        if len(same) == 1:
            found[same[0]] = word
            continue
        if " " not in word and not _EVENT_ID.fullmatch(word):
            digits = [part for part in parts_of(word) if part.isdigit()]
            alike = [a for a in agents if [part for part in parts_of(a) if part.isdigit()] == digits]
            close = difflib.get_close_matches(word, alike, n=1, cutoff=0.8)
            found.update(dict.fromkeys(close, word))
    return found


def _roles_in(text: str, roles: set[str]) -> tuple[str, ...]:
    words = set(stems(text))
    return tuple(sorted(role for role in roles if set(stems(role)) <= words))


def _series_in(words: list[str], roles: tuple[str, ...], series: Iterable[str]) -> tuple[str, ...]:
    """Return the series that share most of their words with the text, if at least half of them match."""
    asked = {_CANON.get(stem(word), stem(word)) for word in words} - {stem(role) for role in roles}
    scores = {}
    for name in series:
        own = stems(name.partition(":")[2] or name)
        shared = sum(1 for word in own if word in asked)
        if own and shared:
            scores[name] = shared / len(own)
    best = max(scores.values(), default=0.0)
    return tuple(sorted(name for name, score in scores.items() if score >= max(0.5, best - 0.01)))
