"""The files of the benchmark: cases with their events, truth, and answers, each in JSON lines; FORMAT.md describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CASES, TRUTH, EVENTS = "cases.jsonl", "truth.jsonl", "events.jsonl"

T = TypeVar("T")


class FormatError(Exception):
    """A file is not what FORMAT.md says.

    Args:
        message: what is wrong, with what was expected.
        path: the file.
        line: its line, counted from 1; 0 for the whole file.
    """

    def __init__(self, message: str, path: Path, line: int = 0) -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {message}")
        self.path, self.line = path, line


@dataclass(frozen=True)
class Case:
    """What somebody who enters gets: a session and a complaint; whether there is a fault is part of the task.

    Args:
        folder: holds `events.jsonl`, and `tree/` where the sessions were kept as Agent Trace records them.
    """

    case: str
    complaint: str
    folder: Path

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events in the order in which they were recorded.

        Raises:
            FormatError: a line is no JSON object.
        """
        for _, value in _objects(self.folder / EVENTS):
            yield value


@dataclass(frozen=True)
class Truth:
    """What is known about a case.

    Args:
        faulty: false for a healthy twin: the same session without the fault, under the same complaint.
        accepted: ids of the events that count as the cause; empty for a healthy twin.
        lag: events between cause and symptom, as a share of all events; None for a healthy twin.
        labels: what scores are grouped by, such as `world`, `kind` and `evidence`.
    """

    case: str
    faulty: bool
    accepted: frozenset[str] = frozenset()
    lag: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """One thing that is blamed: the events that it rests on, best first, and how sure that is, from 0 to 1."""

    event_ids: tuple[str, ...]
    confidence: float = 1.0


@dataclass(frozen=True)
class Answer:
    """What an entry says about a case: causes, likeliest first; none if it finds nothing wrong."""

    case: str
    causes: tuple[Cause, ...] = ()


def read_cases(directory: Path) -> list[Case]:
    """Return the cases of a directory, in order.

    Raises:
        FormatError: `cases.jsonl` is not as it should be, or the events of a case are missing.
    """

    def made(value: Mapping[str, Any]) -> Case:
        name = _of(value, "case", str)
        if Path(name).name != name or name in {"", ".", ".."}:
            raise ValueError(f"`case` is {name!r}, which is no name of a folder")
        found = Case(name, _of(value, "complaint", str), directory / name)
        if not (found.folder / EVENTS).is_file():
            raise ValueError(f"{found.folder / EVENTS} is missing")
        return found

    return _read(directory / CASES, made)


def read_truth(path: Path) -> list[Truth]:
    """Return the truth of every case; a directory stands for its `truth.jsonl`.

    Raises:
        FormatError: the file is not as it should be.
    """

    def made(value: Mapping[str, Any]) -> Truth:
        faulty = _of(value, "faulty", bool)
        lag: Any = value.get("lag")
        accepted = _texts(value, "accepted")
        labels = value.get("labels", {})
        if not isinstance(labels, dict) or not all(isinstance(each, str) for each in labels.values()):
            raise ValueError("`labels` has to be an object of texts")
        if faulty and not accepted:
            raise ValueError("a faulty case needs at least one event in `accepted`")
        if faulty and not (_is_number(lag) and 0 <= lag <= 1):
            raise ValueError("a faulty case needs a `lag` from 0 to 1")
        return Truth(_of(value, "case", str), faulty, frozenset(accepted), lag if faulty else None, labels)

    return _read(path / TRUTH if path.is_dir() else path, made)


def read_answers(path: Path) -> list[Answer]:
    """Return what an entry answered.

    Raises:
        FormatError: the file is not as it should be.
    """

    def cause(value: Any) -> Cause:
        if not isinstance(value, dict):
            raise ValueError("each of `causes` has to be an object")  # noqa: TRY004 - becomes a FormatError
        confidence = value.get("confidence", 1.0)
        if not (_is_number(confidence) and 0 <= confidence <= 1):
            raise ValueError(f"`confidence` is {confidence!r}, and has to be a number from 0 to 1")
        return Cause(tuple(_texts(value, "event_ids")), float(confidence))

    def made(value: Mapping[str, Any]) -> Answer:
        causes = value.get("causes", [])
        if not isinstance(causes, list):
            raise ValueError("`causes` has to be a list")  # noqa: TRY004 - becomes a FormatError
        return Answer(_of(value, "case", str), tuple(map(cause, causes)))

    return _read(path, made)


def write_answers(answers: Iterable[Answer], path: Path) -> None:
    """Write what an entry answered, a line for each case."""
    with path.open("w", encoding="utf-8") as written:
        for answer in answers:
            causes = [
                {"event_ids": list(cause.event_ids), "confidence": cause.confidence}
                for cause in answer.causes
            ]
            written.write(json.dumps({"case": answer.case, "causes": causes}) + "\n")


def _read(path: Path, made: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Make something of each line; no case may come twice."""
    found: dict[str, T] = {}
    for line, value in _objects(path):
        try:
            one = made(value)
        except ValueError as error:
            raise FormatError(str(error), path, line) from None
        if value["case"] in found:
            raise FormatError(f"case {value['case']!r} comes twice", path, line)
        found[value["case"]] = one
    return list(found.values())


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except json.JSONDecodeError as error:
                    raise FormatError(f"no JSON: {error}", path, number) from None
                if not isinstance(value, dict):
                    raise FormatError("a line has to be a JSON object", path, number)
                yield number, value
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", path) from None
    except UnicodeDecodeError:
        raise FormatError("is no UTF-8", path) from None


def _of(value: Mapping[str, Any], name: str, kind: type[T]) -> T:
    found = value.get(name)
    if not isinstance(found, kind):
        raise ValueError(f"`{name}` has to be {'true or false' if kind is bool else 'a text'}")  # noqa: TRY004
    return found


def _texts(value: Mapping[str, Any], name: str) -> list[str]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"`{name}` has to be a list of texts")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
