"""What people read while a program runs: text twins of the system and error mirrors, and stderr if asked for.

Both take the finished lines on their way to the mirrors, so that the path of other events is free of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import MirrorSink

_TWINNED = frozenset({"system", "errors"})
_ENVELOPE = frozenset({"agent_id", "agent_role", "event_type", "traceback"})


class MirrorsForPeople:
    """Mirrors of which two have a text twin, and whose lines are shown on stderr where that is asked for.

    Args:
        mirrors: the category files; None where only the console is wanted.
        console: whether each event is shown on stderr.
    """

    def __init__(self, mirrors: MirrorSink | None, *, console: bool) -> None:
        self.takers = mirrors
        self._console = console
        self._shown = b""

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """The function that takes a category's lines; None where nobody reads them."""
        take = self.takers.adder(category) if self.takers is not None else None
        twinned = self.takers is not None and category in _TWINNED
        twin = self.takers.adder(f"{category}.text") if self.takers is not None and twinned else None
        if twin is None and not self._console:
            return take

        def take_for_people(line: bytes) -> None:
            """Give a line on, and its text to whoever reads text."""
            if take is not None:
                take(line)
            event = orjson.loads(line)
            if twin is not None:
                twin(as_text(event).encode("utf-8", "replace"))
            # An error goes to two mirrors and is shown once.
            if self._console and line is not self._shown:
                self._shown = line
                _show(event)

        return take_for_people

    def flush(self) -> None:
        """Write out what the mirrors hold."""
        if self.takers is not None:
            self.takers.flush()

    def close(self) -> None:
        """Write out and stop."""
        if self.takers is not None:
            self.takers.close()


def _one_line(text: Any) -> str:
    """A text that cannot begin a line of its own: control characters stand as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def _json_line(details: dict[str, Any]) -> str:
    """JSON that a terminal only shows: what it would obey, such as C1 controls, stands as escapes of JSON."""
    text = orjson.dumps(details).decode()
    if text.isprintable():
        return text
    import json

    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def as_text(event: dict[str, Any]) -> str:
    """An event as the text twins hold it: one line, its payload and traceback indented below."""
    extra = event["extra"]
    time = event["timestamp"].replace("T", " ").removesuffix("Z")
    who = f" [{_one_line(extra['agent_id'])}]" if "agent_id" in extra else ""
    logger = _one_line(event["logger"])
    lines = [f"{time} {event['level']} {logger}{who} {_one_line(event['message'])} ({event['id']})"]
    details = {key: value for key, value in extra.items() if key not in _ENVELOPE}
    if details:
        lines.append(f"    {_json_line(details)}")
    if "traceback" in extra:
        lines.extend(f"    {_one_line(line)}" for line in str(extra["traceback"]).splitlines())
    return "\n".join(lines) + "\n"


def _show(event: dict[str, Any]) -> None:
    who = event["extra"].get("agent_id") or event["logger"]
    text = (
        f"{event['timestamp'][11:23]} {event['level']:<8} {_one_line(who)}: {_one_line(event['message'])}\n"
    )
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
    except (OSError, ValueError, RuntimeError):  # the last where a signal handler interrupts its own writing
        return
