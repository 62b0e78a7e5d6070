"""Possible causes of an issue, and the report on them as text, Markdown or plain values.

A cause is an explanation with its events, causal edges and confidence. The report has commands for the next
steps.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from Agent.analysis.causality.chains import Edge
from Agent.analysis.debug.question import Question
from Agent.errors import InputError
from Agent.event.code_places import CodePlace
from Agent.render.blocks import Entries, Entry, Grid, Section, Words
from Agent.render.formats import path_line
from Agent.render.html import notebook_html
from Agent.render.html import shown as printable
from Agent.render.layout import WIDTH, section, table
from Agent.tree.default_root import trace_root
from Agent.tree.files.session import open_session
from Agent.tree.layout import recorded_at

MAX_CONFIDENCE = 0.95
LINK = "; linked: "
"""In the reason of an edge, between what the effect is and what it shares with the cause."""


class ChangedField(NamedTuple):
    """A field of an agent, and the event that set it."""

    agent_id: str
    field: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation of an issue, with its reasons and the events and agents to look at."""

    title: str
    explanation: str
    event_ids: tuple[str, ...]
    """At most 12, likeliest first; the first six form the cause, and its confidence is about these."""
    agent_ids: tuple[str, ...]
    edges: tuple[Edge, ...]
    confidence: float
    """0 to 0.95; docs/EXPLAIN.md gives the share of true first causes at each value."""
    sort: str = "act"
    """The broken rule (`follow-up missing`, `rate changes` ...), `act`, `event`, `record` or `open`."""
    place: CodePlace | None = None
    """Where its first event with a known place was recorded: the line that raised, or the function."""
    field: ChangedField | None = None
    """The last unusual value of its path, if that is of a field of an agent."""

    def to_dict(self) -> dict[str, Any]:
        """Return the cause as plain values, ready for JSON."""
        return {
            "title": self.title,
            "explanation": self.explanation,
            "event_ids": list(self.event_ids),
            "agent_ids": list(self.agent_ids),
            "edges": [edge.to_dict() for edge in self.edges],
            "confidence": self.confidence,
            "sort": self.sort,
            "file": None if self.place is None else self.place.file,
            "line": None if self.place is None else self.place.line,
        }


CLEAR = 0.5
"""A cause with at least this confidence is a finding; below it is a hint."""
NOTHING_FOUND = "Nothing found that explains this."
ONLY_HINTS = f"No cause is sure: none has a confidence of {CLEAR} or more. The likeliest:"
NOT_UNDERSTOOD = "The text names nothing that this session has. What is unusual in it:"
CAUSE, HINT, UNKNOWN, NOTHING = "cause", "hint", "unknown", "nothing"
_VERDICTS = {HINT: ONLY_HINTS, UNKNOWN: NOT_UNDERSTOOD, NOTHING: NOTHING_FOUND}
_MOST_CHARS = 1_000
_FAILING = frozenset({"fails", "error comes up", "new error"})


@dataclass(frozen=True, slots=True, repr=False)
class DebugReport:
    """The ranked explanations of an issue; `print` it or read its fields."""

    issue: str
    session_id: str
    causes: tuple[Cause, ...]
    observations: tuple[str, ...]
    """Facts from the recording about what the text names."""
    evidence: tuple[dict[str, Any], ...]
    """Messages that match the text, best first."""
    looked_at: tuple[str, ...]
    commands: tuple[str, ...]
    """Commands for further investigation, including the replay of the first cause's agent."""
    tests: tuple[str, ...] = ()
    """How the causes were tested, or why they were not."""
    is_understood: bool = True
    """Whether the text names anything that the session has: an agent, a thing, a word, a moment."""

    @property
    def status(self) -> str:
        """Return how sure the answer is.

        `cause`: a cause has confidence 0.5 or more. `hint`: all are less certain. `unknown`: so are they, and
        the text names nothing that the session has. `nothing`: nothing is unusual.
        """
        if any(cause.confidence >= CLEAR for cause in self.causes):
            return CAUSE
        if not self.causes:
            return NOTHING
        return HINT if self.is_understood else UNKNOWN

    def __repr__(self) -> str:
        return f"<DebugReport on {self.issue!r}: {len(self.causes)} causes>"

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int = WIDTH) -> str:
        """Return the whole report, wrapped at `width` characters."""
        return "\n\n".join(part for part in self._parts(width) if part)

    def _parts(self, width: int) -> Iterator[str]:
        yield from self._opening(width)
        if self.causes:
            numbered = enumerate(self.causes, 1)
            yield "\n\n".join(
                f"{self._cause(n, cause, width)}{_events(cause, width)}" for n, cause in numbered
            )
        else:
            yield NOTHING_FOUND
        yield section("Tests", _wrapped(self.tests, width))
        yield section("Observations", _wrapped(self.observations, width))
        rows = [
            (f"{item['count']} x", item["message"], item["agent_id"], item["example_id"])
            for item in self.evidence
        ]
        yield section("Messages about it", table(rows, frozenset({0}), width - 2))
        yield section("Examined", _wrapped(self.looked_at, width))
        yield section("Next steps", self.commands)

    def _opening(self, width: int) -> list[str]:
        issue = textwrap.fill(f"Issue: {self.issue}", width, subsequent_indent="  ")
        is_unsure = self.status in {HINT, UNKNOWN}
        verdict = [textwrap.fill(_VERDICTS[self.status], width)] if is_unsure else []
        return [f"{issue}\nSession {self.session_id}", *verdict]

    def to_screen(self, causes: int = 3, lines: int = 40, width: int = WIDTH) -> str:
        """Return the report for one screen: as many causes as fit, and the next steps."""
        parts = self._opening(width)
        ending = section("Next steps", self.commands)
        # Besides the causes: a blank line after each part, and the line that counts the omitted causes.
        room = lines - len("\n\n".join(parts).splitlines()) - len(ending.splitlines()) - 4
        # Of what the recording says about the named agents, two facts fit beside causes.
        observed = section("Observations", _wrapped(self.observations[: 2 if self.causes else None], width))
        tests = section("Tests", _wrapped(self.tests, width))
        room -= len(tests.splitlines()) + len(observed.splitlines()) + 1
        shown: list[str] = []
        for number, cause in enumerate(self.causes[:causes], 1):
            text = self._cause(number, cause, width)
            room -= len(text.splitlines()) + 1
            if shown and room < 0:
                break
            shown.append(text)
        parts += shown or [NOTHING_FOUND]
        if len(self.causes) > len(shown):
            parts[-1] += f"\n\n   and {len(self.causes) - len(shown)} less likely: --all shows them"
        examined = "" if self.causes else section("Examined", _wrapped(self.looked_at, width))
        return "\n\n".join(part for part in (*parts, observed, examined, tests, ending) if part)

    @staticmethod
    def _cause(number: int, cause: Cause, width: int) -> str:
        head = textwrap.fill(f"{number}. {cause.title}", width, subsequent_indent="   ")
        # What the title says is not said again: how the cause begins.
        lines = [line for line in cause.explanation.splitlines() if not _begins(line, cause.title)]
        body = "".join(
            "\n" + textwrap.fill(line, width, initial_indent="   ", subsequent_indent="     ")
            for line in lines
        )
        level = f"confidence {cause.confidence:.2f}"
        level += "" if cause.confidence >= CLEAR else f", below {CLEAR}: a hint, not a finding"
        # Neighbours of a chain are often one and the same to leave out.
        tried = {str(edge.test): edge for edge in reversed(cause.edges) if edge.test is not None}
        tests = "".join(f"\n{_test_line(edge, width)}" for edge in reversed(tried.values()))
        sure = textwrap.fill(level, width, initial_indent="   ", subsequent_indent="   ")
        place = "" if cause.place is None else f"\n   at {_place(cause.place)}"
        return f"{head}\n{sure}{tests}{body}{place}"

    def to_markdown(self) -> str:
        """Return the report for an issue tracker."""
        lines = [f"# {self.issue}", "", f"Session `{self.session_id}`", ""]
        lines += [_VERDICTS.get(self.status, "## Causes"), ""]
        for number, cause in enumerate(self.causes, 1):
            lines += [
                f"### {number}. {cause.title}",
                "",
                f"Confidence {cause.confidence:.2f}.",
                "",
                *(f"- {line}" for line in cause.explanation.splitlines()),
                *([] if cause.place is None else [f"- at {_place(cause.place)}"]),
                "",
            ]
            if cause.edges:
                lines += [
                    *(
                        f"- `{e.cause_id}` -> `{e.effect_id}`: {e.basis} ({e.rule}), {e.reason}"
                        + (f". {e.test}" if e.test is not None else "")
                        for e in cause.edges
                    ),
                    "",
                ]
        for title, items in (
            ("Tests", self.tests),
            ("What the recording says", self.observations),
            (
                "Messages that speak of it",
                [f"{e['count']} x {e['message']} (`{e['example_id']}`)" for e in self.evidence],
            ),
            ("Looked at", self.looked_at),
        ):
            if items:
                lines += [f"## {title}", "", *(f"- {item}" for item in items), ""]
        if self.commands:
            lines += ["## To look further", "", "```sh", *self.commands, "```", ""]
        whole = (" ".join(line.splitlines()) for line in lines)  # recorded text cannot start a new line
        return "\n".join(printable(line, len(line)) for line in whole)

    def _repr_html_(self) -> str:
        causes = [
            Entry(f"{each.confidence:.2f}", each.title, each.explanation.splitlines()) for each in self.causes
        ]
        verdict = _VERDICTS.get(self.status, "Causes, with their confidence:")
        notes = (Words("\n".join(lines), "code") for lines in (self.tests, self.observations) if lines)
        evidence = [(item["count"], item["message"], item["agent_id"]) for item in self.evidence]
        messages = [Grid(("count", "message", "agent"), evidence, frozenset({0}))] if evidence else []
        head = [Words(f"Session {self.session_id}", "soft"), Words(verdict)]
        commands = Words("\n".join(self.commands), "code")
        return notebook_html([Section(self.issue, [*head, Entries(causes), *notes, *messages, commands])])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        return {
            "issue": self.issue,
            "session_id": self.session_id,
            "status": self.status,
            "threshold": CLEAR,
            "causes": [cause.to_dict() for cause in self.causes],
            "observations": list(self.observations),
            "evidence": [dict(item) for item in self.evidence],
            "looked_at": list(self.looked_at),
            "commands": list(self.commands),
            "tests": list(self.tests),
        }


def _begins(line: str, title: str) -> bool:
    """Whether a title begins with what a line of the explanation says."""
    return line.startswith("first: ") and title.startswith(line.removeprefix("first: "))


def _place(place: CodePlace) -> str:
    """Return where a cause is in the program, on a line of its own, so that a terminal can open it."""
    return printable(f"{path_line(place.file, place.line)} in {place.function}", _MOST_CHARS)


def _events(cause: Cause, width: int) -> str:
    """Return the line of a cause that names its events, likeliest first; empty if it has only one."""
    if len(cause.event_ids) < 2:
        return ""
    line = f"events: {', '.join(cause.event_ids)}"
    return "\n" + textwrap.fill(
        line, width, initial_indent="   ", subsequent_indent="     ", break_on_hyphens=False
    )


def _test_line(edge: Edge, width: int) -> str:
    """Return the result of testing one event of a cause."""
    text = f"{edge.test} (event {edge.cause_id})" if edge.cause_id != "chance" else str(edge.test)
    return textwrap.fill(text, width, initial_indent="   tested ", subsequent_indent="   ")


def _wrapped(items: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        lines += textwrap.wrap(item, max(width - 2, 1), subsequent_indent="  ")
    return lines


def commands_for(
    path: Path,
    causes: Sequence[Cause],
    question: Question,
    acting: Container[str],
    *,
    has_errors: bool = True,
) -> list[str]:
    """Return command lines for the next steps after a report.

    Args:
        path: the session.
        causes: what the report names.
        question: what the text names.
        acting: agents with recorded actions.
        has_errors: whether any agent has an error.
    """
    session = path.name.removeprefix("session_")
    where = f" --session {shlex.quote(session)}{_root_option(path)}"
    agents = list(
        dict.fromkeys([*(agent for cause in causes[:2] for agent in cause.agent_ids[:2]), *question.agents])
    )
    made = [f"agent-trace journey {shlex.quote(agent)}{where}" for agent in agents[:3]]
    if has_errors and any(cause.sort in _FAILING or len(cause.edges) > 1 for cause in causes):
        made.append(f"agent-trace errors{where}")
    event = next((cause.event_ids[0] for cause in causes if cause.event_ids), None)
    if event is not None:
        made.append(f"agent-trace causes {event}{where}")
    changed = next((cause.field for cause in causes[:1] if cause.field is not None), None)
    if changed is not None:
        names = f"{shlex.quote(changed.agent_id)} {shlex.quote(changed.field)}"
        made.append(f"agent-trace provenance {names} --at {changed.event_id}{where}")
    if agents:
        run = shlex.quote(f"{session}/{agents[0]}") + _root_option(path)
        if agents[0] in acting:
            made.append(f"agent-trace play {run}")
        target, has_script = _remembered(path, agents[0])
        if target:
            made.append(f"agent-trace replay {run} --target {shlex.quote(target)}")
        elif has_script:  # the replay runs the recorded program again, as a whole
            made.append(f"agent-trace replay {shlex.quote(session)}{_root_option(path)}")
    return made or [f"agent-trace analyze{where}"]


def _root_option(path: Path) -> str:
    """Return the option that locates the session, empty for the default root."""
    root = recorded_at(path).resolve().parent
    return "" if root == trace_root().resolve() else f" --root {shlex.quote(str(root))}"


def _remembered(path: Path, agent_id: str) -> tuple[str | None, bool]:
    """Return the target that replays the agent, if the session has one, and whether its script is here."""
    try:
        info = open_session(path)
    except InputError:
        return None, False  # its events are readable without it
    script = Path.cwd() / info.argv[0] if info.argv else None
    is_here = script is not None and script.suffix == ".py" and script.resolve().is_relative_to(Path.cwd())
    return info.target_for(agent_id), script is not None and is_here and script.is_file()
