"""What the text of an issue names: agents, roles, things, series of acts, topics, times, events and messages.

No language model is used. Names are matched exactly, then approximately; other words by their stems and a
short list of synonyms. Agents may be named by a bare number, as in Mesa. Things are named by name and number:
"book 30 was never finished"; the events that name one say what happened to it, in any notation: book_030,
"book": 30, book-id 30. Messages are found by full-text search (SQLite FTS5).
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import IS_ERROR, reads_files, scan

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


Things = tuple[tuple[str, ...], ...]
"""Numbered names, each split into words and numbers."""

MAX_NAME: Final = 100
MAX_NAMED: Final = 5_000
"""If more events than this name the things, the match says little and is dropped."""
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:#/-]*[A-Za-z0-9]|[A-Za-z0-9]", re.ASCII)
_PART: Final = re.compile(r"[a-z]+|[0-9]+")
_MAX_THINGS: Final = 3
# Allowed between the parts of a name, and between a key and its value: "order_id": 37
_BETWEEN: Final = r"[^a-z0-9]{0,4}(?:(?:id|no|nr|num|number)[^a-z0-9]{1,4})?"


class Naming(NamedTuple):
    """An event that names a thing: its position in the recording and its time."""

    writer: str
    seq: int
    tick: int | None
    ts_us: int

    @property
    def id(self) -> str:
        """The event's id."""
        return f"{self.writer}-{self.seq}"


def things_in(text: str) -> Things:
    """Return the numbered names in a text, at most three, split into words and numbers: ("book", "30").

    A bare number is joined with the word before it. Names that the session does not contain are harmless.
    """
    tokens = _NAME.findall(text)
    names = [token for token in tokens if not token.isdigit()]
    names += [f"{word} {number}" for word, number in pairwise(tokens) if number.isdigit()]
    found: dict[tuple[str, ...], None] = {}
    for name in names:
        words = _PART.findall(name.lower())
        if len(name) > MAX_NAME or not words or bare(words[0]) in BEFORE_AMOUNTS:
            continue
        parts = parts_of(name)
        if any(map(str.isdigit, parts)) and not all(map(str.isdigit, parts)) and len("".join(parts)) > 2:
            found[parts] = None
    return tuple(found)[:_MAX_THINGS]


def pattern_of(thing: tuple[str, ...]) -> str:
    """Return a lower-case regular expression for all notations of a name, valid in RE2 and Python."""
    parts = [f"0*{part}" if part.isdigit() else part for part in thing]
    return f"(^|[^a-z0-9]){_BETWEEN.join(parts)}([^a-z0-9]|$)"


def events_naming(
    engine: Engine, lines: str, things: Things, most: int = MAX_NAMED + 1
) -> tuple[Naming, ...]:
    """Return the events that name any of some things, by writer; none if there are too many to be useful."""
    if not things:
        return ()
    rows = engine.rows(
        f"SELECT writer, seq, tick, ts_us FROM {lines} WHERE event_type <> 'code' AND "
        f"regexp_matches(lower(concat_ws(' ', message, extra::VARCHAR)), $1) "
        f"ORDER BY writer, seq LIMIT {most}",
        ["|".join(map(pattern_of, things))],
    )
    return () if len(rows) > MAX_NAMED else tuple(Naming(**row) for row in rows)


def absent(engine: Engine, lines: str, text: str, things: Things, names: Collection[str]) -> list[str]:
    """Return the names in a text that no event has, although the session has others with other numbers.

    Args:
        engine, lines: as for `events_naming`.
        text: the issue.
        things: the numbered names in it.
        names: agents, and values of events.
    """
    if not things:
        return []
    known = set(map(parts_of, names))
    shapes = {_shape(parts) for parts in known}
    found = []
    for thing in things:
        said = re.search(pattern_of(thing), text.lower())
        if (
            said
            and thing not in known
            and _shape(thing) in shapes
            and not events_naming(engine, lines, (thing,), most=1)
        ):
            found.append(text[said.start() : said.end()].strip(" \t\n,;:.!?'\"()[]"))
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """Split a name into words and numbers at any separator: ("creator", "7")."""
    words = _PART.findall(name.lower())
    return tuple((word.lstrip("0") or "0") if word.isdigit() else word for word in words)


def _shape(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("#" if part.isdigit() else part for part in parts)


_TOKEN = re.compile(r"[^\s,;:!?\"'()\[\]{}<>]+")
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
    return [_CANON.get(stem(word), stem(word)) for word in _PART.findall(lowered)]


def read_question(text: str, agents: Mapping[str, str | None], series: Iterable[str]) -> Question:
    """Return what a text names.

    Args:
        text: the issue in a person's words.
        agents: {agent id: role} of the session.
        series: what the agents of the session do.
    """
    named, guessed, rest = _agents_in(text, agents)
    roles = () if named else _roles_in(rest, {role for role in agents.values() if role})
    whole = rest.replace("n't", " not").replace("n\u2019t", " not")
    plain = re.findall(r"[a-z]+", whole.lower())
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
    mentioned = (a for a in agents if a and not a.isdecimal() and a.lower() in lowered)
    for agent_id in sorted(mentioned, key=len, reverse=True):
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


MAX_MESSAGES = 20_000
TOP = 8
_WHEN: Final = (
    ", min(timestamp) AS first_seen, max(timestamp) AS last_seen, "
    "arg_max(id, (ts_us, writer, seq)) AS example_id"
)
_CAMEL_CASE: Final = re.compile(r"([a-z])([A-Z])")


def matching_messages(engine: Engine, lines: str, question: Question) -> list[dict[str, Any]]:
    """Return the messages that best match a question; among equals, errors and rare messages first.

    `lines` is the table expression that `held_lines` yields.

    Returns:
        Dicts with message, agent_id, event_type, is_error, count, first_seen, last_seen, example_id (the
        last) and `rank` (bm25, lower is better). Empty if the text has no word left to search for.
    """
    if not question.words:
        return []
    # From files, the payload is read for this one key only.
    held = f"(SELECT *, extra->>'$.error_id' AS error_id FROM {lines})"
    source = scan("error_id") if reads_files(lines) else held

    def grouped(columns: str, *messages: str) -> list[dict[str, Any]]:
        among = " AND message IN (SELECT unnest($2))" if messages else ""
        return engine.rows(
            f"SELECT message, agent_id, event_type, {IS_ERROR} AS is_error, count(*) AS count{columns} "
            f"FROM {source} "
            "WHERE message <> '' AND (len($1) = 0 OR list_contains($1, agent_id)) "
            f"AND event_type NOT IN ('state', 'code', 'log.opened', 'log.closed'){among} "
            "GROUP BY message, agent_id, event_type, is_error ORDER BY is_error DESC, count, message, "
            f"agent_id, event_type LIMIT {MAX_MESSAGES}",
            [list(question.agents), list(messages)] if messages else [list(question.agents)],
        )

    if not engine.is_archived or not reads_files(lines):
        return _search(grouped(_WHEN), question.words)
    # An archive stores neither the text of a time nor an id: they are put together for what is found only.
    found = _search(grouped(""), question.words)
    named = grouped(_WHEN, *{document["message"] for document in found}) if found else []
    by_key = {_key(document): document for document in named}
    return [by_key[_key(document)] | document for document in found]


def _key(document: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(document[name] for name in ("message", "agent_id", "event_type", "is_error"))


def _search(documents: Sequence[dict[str, Any]], words: Sequence[str]) -> list[dict[str, Any]]:
    import sqlite3
    from contextlib import closing

    begins = [begin for begin in dict.fromkeys(stem(word) for word in words) if len(begin) > 2]
    if not begins:
        return []
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute(
                "CREATE VIRTUAL TABLE messages USING fts5(message, tokenize = \"unicode61 separators '_'\")"
            )
        except sqlite3.OperationalError:  # an SQLite that was built without FTS5
            return _search_plainly(documents, begins)
        # Quote each prefix, so that SQLite reads nothing in the text as a search operator.
        terms = " OR ".join(f'"{begin}"*' for begin in begins)
        database.executemany(
            "INSERT INTO messages(rowid, message) VALUES (?, ?)",
            ((place, _searchable(document["message"])) for place, document in enumerate(documents)),
        )
        found = database.execute(
            "SELECT rowid, bm25(messages) FROM messages WHERE messages MATCH ? "
            "ORDER BY bm25(messages), rowid LIMIT ?",
            (terms, TOP),
        ).fetchall()
    return [documents[place] | {"rank": rank} for place, rank in found]


def _search_plainly(documents: Sequence[dict[str, Any]], begins: Sequence[str]) -> list[dict[str, Any]]:
    """Search without FTS5; `rank` is the negative number of matching words."""
    ranked = []
    for document in documents:
        words = _searchable(document["message"]).lower().replace("_", " ").split()
        shared = sum(1 for begin in begins if any(word.startswith(begin) for word in words))
        if shared:
            ranked.append(document | {"rank": -float(shared)})
    return sorted(ranked, key=lambda document: document["rank"])[:TOP]


def _searchable(message: str) -> str:
    """Return a message that SQLite can store, with CamelCase words split (TrendToolError)."""
    return _CAMEL_CASE.sub(r"\1 \2", message).encode("utf-8", "replace").decode()
