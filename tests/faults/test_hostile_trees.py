"""Pipes, devices, directories and links in the place of any file, and lines that no program writes.

Every reading command answers: no hang, no traceback; a damaged line is counted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from test_typed_mutations import recorded as recorded  # noqa: PLC0414 - a fixture

from Agent.cli.main import EXIT_BUG, main
from Agent.event.codec import MAX_DEPTH, DamagedLine, decode_line
from Agent.tree.layout import read_file

COMMANDS = [
    ["sessions"], ["analyze"], ["journey", "a2"], ["errors"], ["causes", "{id}"], ["diff", "last", "last"],
    ["tail", "-n", "500"], ["tail", "--json"], ["play", "last"], ["state", "a2"], ["runs"], ["runs", "{run}", "--steps"],
    ["debug", "a2 fails"], ["learning"], ["verify"],
]  # fmt: skip
PATIENCE_S = 30
STANDING_IN = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a loop": lambda path: path.symlink_to(path.name),
}


@pytest.fixture
def impatient():
    """What waits for a pipe fails the test instead of holding it up."""

    def give_up(_number, _frame):
        raise TimeoutError(f"nothing came for {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def ask(root, capsys, patch, commands=COMMANDS):
    patch.setenv("AGENT_TRACE_ROOT", str(root))
    session = next(root.glob("session_*"))
    runs = sorted(path.name for path in session.glob("runs/*"))
    names = {"{run}": runs[0] if runs else "x", "{id}": "aaaaaaaa-5"}
    for command in commands:
        signal.alarm(PATIENCE_S)
        code = main(["--debug", *(names.get(word, word) for word in command)])
        signal.alarm(0)
        said = capsys.readouterr()
        assert code != EXIT_BUG, (command, said.err[-3000:])
        assert "Traceback" not in said.err, (command, said.err[-3000:])


@pytest.mark.integration
@pytest.mark.parametrize("thing", STANDING_IN)
def test_what_is_no_file_in_the_place_of_any_holds_up_no_command(
    recorded, tmp_path, capsys, monkeypatch, impatient, thing
):
    files = [path.relative_to(recorded) for path in recorded.glob("session_*/**/*") if path.is_file()]
    files += [path.parent / "trace_summary.json" for path in files if path.name == "session.json"]
    assert len(files) > 15
    for number, name in enumerate(files):
        root = tmp_path / f"trace_{number}"
        shutil.copytree(recorded, root, symlinks=True)
        (root / name).unlink(missing_ok=True)
        STANDING_IN[thing](root / name)
        ask(root, capsys, monkeypatch, [*COMMANDS[number % 3 :: 3], ["verify"], ["sessions"], ["recover"]])


def nested(depth, number):
    return (
        b'{"timestamp":"2026-11-20T10:30:45.123456Z","id":"zzzzzzzz-%d","schema_version":1,"session_id":"s",'
        b'"level":"INFO","logger":"l","message":"m","extra":{"agent_id":"a2","event_type":"agent_action",'
        b'"action_type":"x","args":{"x":%s},"result":%s},"state":{"set":{"d":%s}}}'
        % (number, *[b'{"a":' * (depth - 3) + b"1" + b"}" * (depth - 3)] * 3)
    )


@pytest.mark.integration
def test_lines_nested_deeply_are_answered_or_damaged(recorded, tmp_path, capsys, monkeypatch, impatient):
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    depths = (100, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 500, 900, 990, 1000, 1023, 1024, 1025, 100_000)
    with next(root.glob("session_*/agents/a2.log")).open("ab") as file:
        for number, depth in enumerate(depths, 1):
            file.write(nested(depth, number) + b"\n")
    ask(root, capsys, monkeypatch, [*COMMANDS, ["journey", "a2", "--json"], ["state", "a2", "--json"]])
    assert main(["verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged_lines"] == sum(depth > MAX_DEPTH for depth in depths)


def test_the_depth_of_a_line_has_a_limit():
    assert decode_line(nested(MAX_DEPTH, 1)).seq == 1
    with pytest.raises(DamagedLine, match="nested deeper"):
        decode_line(nested(MAX_DEPTH + 1, 1))
    wide = nested(100, 1).replace(b'"message":"m"', b'"message":"%s"' % (b"{[" * 1000))
    assert decode_line(wide).seq == 1


@pytest.mark.parametrize(
    ("kind", "payload", "number"),
    [
        ("agent_action", {"duration_ms": 10**400}, 1),
        ("agent_action", {"duration_ms": 1e308}, 1),
        ("metric", {"value": 10**400}, 1),
        ("log.closed", {"last_seq": 2**63}, 1),
        ("log.dropped", {"count": -(10**400)}, 1),
        ("log", {}, 10**18),
    ],
)
def test_numbers_with_which_nothing_can_be_counted_are_damage(kind, payload, number):
    line = {
        "timestamp": "2026-11-20T10:30:45.123456Z",
        "id": f"zzzzzzzz-{number}",
        "schema_version": 1,
        "extra": {"event_type": kind, **payload},
    }
    with pytest.raises(DamagedLine, match=r"out of range|not an event id|infinity"):
        decode_line(json.dumps(line).encode())
    sound = {**line, "id": "zzzzzzzz-1", "extra": {**line["extra"], **dict.fromkeys(payload, 5)}}
    assert decode_line(json.dumps(sound).encode()).kind == kind


@pytest.mark.parametrize("thing", STANDING_IN)
def test_what_is_no_file_is_never_waited_for(thing, tmp_path, impatient):
    STANDING_IN[thing](tmp_path / "x")
    signal.alarm(PATIENCE_S)
    with pytest.raises(OSError, match=r"not a plain file|symbolic links"):
        read_file(tmp_path / "x")
