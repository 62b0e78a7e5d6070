"""What a terminal gets: JSON as valid as ever, no character that it obeys, and lines that fit."""

import io
import json
import sys

from Agent.cli import render
from Agent.cli.commands.sql import FORMATS
from Agent.cli.commands.tail import _Screen
from Agent.cli.event_lines import Selection
from Agent.cli.main import _report
from Agent.event.codec import encode_event
from Agent.event.model import Event


class Terminal(io.TextIOWrapper):
    """A standard output that is, or is not, a terminal."""

    def __init__(self, *, is_terminal):
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def shown(monkeypatch, emit, value, *, is_terminal):
    output = Terminal(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", output)
    emit(value)
    return output.buffer.getvalue()


EVIL = "".join(map(chr, (0x1B, 0x7F, 0x9B, 0x202E, 0x2067, 0x200F, 0x2028))) + "käse ✓ 名前"


def test_json_holds_no_character_that_a_terminal_obeys_and_is_the_same(monkeypatch):
    value = {"text": EVIL}
    line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    returns = line[:-2] + b"\r}\r\n"
    for is_terminal in (True, False):
        for emit, given in (
            (render.emit_json, value),
            (render.emit_json_bytes, line),
            (render.emit_json_bytes, returns),
            (render.emit_json_bytes, b'{"text":"\x7f"}'),
        ):
            seen = shown(monkeypatch, emit, given, is_terminal=is_terminal)
            assert json.loads(seen) == (json.loads(given) if isinstance(given, bytes) else value)
            assert seen.decode().replace("\n", "").isprintable(), seen
    assert "käse ✓ 名前" in render.harmless_json(line).decode()


def test_bytes_of_the_user_are_changed_for_a_terminal_alone(monkeypatch):
    for data in (b"\xff\xfe{\n", EVIL.encode(), b"a\r\nb"):
        assert shown(monkeypatch, render.emit_bytes, data, is_terminal=False) == data
        assert (
            shown(monkeypatch, render.emit_bytes, data, is_terminal=True)
            .decode()
            .replace("\n", "")
            .isprintable()
        )
    assert shown(monkeypatch, render.emit_bytes, b"\xff\xfe{\n", is_terminal=True) == b"\\xff\\xfe{\n"


def test_events_and_answers_in_sql_do_not_drive_a_terminal_either(monkeypatch):
    event = Event("2026-11-20T10:30:45.123456Z", "aaaaaaaa-1", 1, "log", "s", message=EVIL)
    line = encode_event(event)[:-1]
    for is_terminal in (True, False):
        seen = [
            shown(monkeypatch, _Screen(Selection(), as_json=True).show, [(line, event)], is_terminal=is_terminal),
            *(
                shown(
                    monkeypatch, lambda rows, form=form: FORMATS[form]([EVIL], rows), iter([[(EVIL,)]]),
                    is_terminal=is_terminal,
                )
                for form in ("json", "csv")
            ),
        ]  # fmt: skip
        assert json.loads(seen[0])["message"] == EVIL and json.loads(seen[1]) == [{EVIL: EVIL}]
        *documents, table = (text.decode().replace("\n", "").isprintable() for text in seen)
        # columns of a pipe are data for another program; JSON has escapes that mean the same
        assert all(documents) and table == is_terminal


def test_notes_errors_and_tables_fit_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    told = "a sentence of many words that says what went wrong, and which command shows more of it"
    wide = [render.Column(f"COLUMN{n}", lambda row, n=n: row[n], right=n == 6) for n in range(7)]
    seen = []
    for stream, show in (
        ("stderr", lambda: render.note(told)),
        ("stderr", lambda: _report(told, 3)),
        ("stdout", lambda: render.emit_beside("a head  ", 8, told)),
        ("stdout", lambda: render.table([range(7)], *wide)),
    ):
        output = Terminal(is_terminal=True)
        monkeypatch.setattr(sys, stream, output)
        show()
        output.flush()
        seen.append(output.buffer.getvalue().decode())
        assert max(map(len, seen[-1].splitlines())) <= 60, seen[-1]
    assert " ".join(seen[0].split()) == told
    assert " ".join(seen[1].split()) == f"agent-trace: {told}"
