"""Pipes, devices, loops of links and foreign names in any place of a tree, and lines that no program writes.

Every reading command answers: no hang, no traceback; a damaged line is counted.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
from pathlib import Path

import pytest
from support.processes import run_python
from test_typed_mutations import COMMANDS as READING
from test_typed_mutations import PROGRAM, SEALED, WORKING
from test_typed_mutations import recorded as recorded  # noqa: PLC0414 - a fixture

from Agent.cli.main import EXIT_BUG, EXIT_UNREADABLE, EXIT_USAGE, main
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
IN_PLACE_OF_A_DIRECTORY = {
    **STANDING_IN,
    "a link to its parent": lambda path: path.symlink_to("."),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a file": Path.touch,
    "a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "a directory that cannot be read": lambda path: path.mkdir(mode=0),
}
FOREIGN_NAMES = [
    b"\xff", b"\xff.log", b"events@\xff.jsonl", b"\xff.json", b"\xff.jsonl", b"\xff.board", b"\xff.writer", b"\xff.pack",
    b"\xff.parquet", b".\xff.new", b"spill-\xff", b"session_\xff", b".removing-session_\xff.1",
]  # fmt: skip
HOUSEKEEPING = [
    *WORKING, ["seal"], ["seal", "--restore"], ["recover", "--all", "--mirrors"], ["prune", "--keep-sessions", "5"],
    ["prune", "--checkpoints"], ["erase", "--match", "zzzz", "--yes"], ["doctor"], ["verify", "--json"],
]  # fmt: skip
LOOPS = {"a loop", "a link to its parent"}


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
    names = {"{run}": runs[0] if runs else "x", "{id}": "aaaaaaaa-5", "{golden}": str(root.parent / "golden")}
    names |= {"{out}": str(root.parent / "report.html"), "{zip}": str(root.parent / "run.zip")}
    codes = []
    for command in commands:
        signal.alarm(PATIENCE_S)
        codes.append(main(["--debug", *(names.get(word, word) for word in command)]))
        signal.alarm(0)
        said = capsys.readouterr()
        assert codes[-1] != EXIT_BUG, (command, said.err[-3000:])
        assert "Traceback" not in said.err, (command, said.err[-3000:])
    return codes


def directories(root):
    """Those of a tree, below the root."""
    return sorted(Path(place) for place, _, _ in os.walk(root) if Path(place) != root)


def with_foreign_names(places, make=lambda path: Path(os.fsdecode(path)).write_bytes(b"{}\n")):
    """Put an entry of each foreign name into each of these directories; their paths."""
    paths = [os.fsencode(place) + b"/" + name for place in places for name in FOREIGN_NAMES]
    for path in paths:
        make(path)
    return paths


@pytest.mark.further
@pytest.mark.parametrize("make", [None, os.mkdir])
def test_names_that_are_not_utf8_are_passed_over_named_and_kept(
    recorded, tmp_path, capsys, monkeypatch, impatient, make
):
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    commands = [
        ["sessions", "--json"],
        ["analyze"],
        ["journey", "a2", "--json"],
        ["play", "last"],
        ["tail", "--json"],
    ]
    commands += [["verify"], ["recover"], ["seal"], ["erase", "--agent", "a1", "--yes"], ["verify"]]
    before = ask(root, capsys, monkeypatch, commands)
    shutil.rmtree(root)
    shutil.copytree(recorded, root, symlinks=True)
    foreign = with_foreign_names([root, *directories(root)], *([make] if make else []))
    assert ask(root, capsys, monkeypatch, commands) == before
    assert all(map(os.path.lexists, foreign))
    main(["verify", "--json"])
    told = [each["path"] for each in json.loads(capsys.readouterr().out)["passed_over"]]
    session = next(root.glob("session_2*"))
    inside = [
        path for path in foreign if path.startswith(os.fsencode(session) + b"/") and os.path.lexists(path)
    ]
    assert len(told) == len(set(told)) == len(inside)
    assert r".state/\xff.json" in told
    assert main(["doctor", "--json"]) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["entries"]["state"] == "warn"
    assert r"session_\xff (its name is not UTF-8)" in checks["entries"]["found"]


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(8))
def test_whatever_stands_anywhere_in_a_tree_every_command_answers(
    recorded, tmp_path, capsys, monkeypatch, impatient, seed
):
    draw = random.Random(seed)
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    for _ in range(draw.randint(1, 3)):
        places = directories(root)
        place, thing = (
            draw.choice(places),
            draw.choice([*IN_PLACE_OF_A_DIRECTORY, "a foreign name", "a copy"]),
        )
        if place.name.startswith("session_"):
            continue
        if thing == "a foreign name":
            with_foreign_names([place])
        elif thing == "a copy":
            copy = os.fsencode(place.parent) + b"/%d\xff" % len(places)
            shutil.copytree(os.fsencode(place), copy, symlinks=True)
        else:
            if thing == "a directory that cannot be read" and os.geteuid() == 0:
                print("root reads every directory: left out")
                continue
            shutil.rmtree(place)
            try:
                IN_PLACE_OF_A_DIRECTORY[thing](place)
            except PermissionError:
                print(f"this user makes no {thing}: left out")
    reading = [*COMMANDS, *READING, *SEALED]
    ask(root, capsys, monkeypatch, draw.sample(reading, 15))
    ask(root, capsys, monkeypatch, draw.sample(HOUSEKEEPING, 6))
    ask(root, capsys, monkeypatch, draw.sample(reading, 5))


@pytest.mark.integration
@pytest.mark.parametrize("thing", sorted(LOOPS))
def test_loops_of_links_are_passed_over_and_named_once(
    recorded, tmp_path, capsys, monkeypatch, impatient, thing
):
    for number, place in enumerate(directories(recorded)):
        root = tmp_path / f"trace_{number}"
        shutil.copytree(recorded, root, symlinks=True)
        name = place.relative_to(recorded)
        shutil.rmtree(root / name)
        IN_PLACE_OF_A_DIRECTORY[thing](root / name)
        commands = [["sessions"], [["analyze"], ["errors"]][number % 2], ["runs"], ["tail", "-n", "5"]]
        codes = ask(root, capsys, monkeypatch, commands)
        if name.name.startswith("session_"):
            continue
        assert codes == [0, 0, 0, 0], name
        verdict = main(["verify", "--json"])
        told = json.loads(capsys.readouterr().out)
        assert verdict == (0 if told["sound"] else 1)
        if len(name.parts) > 1:
            assert told["passed_over"] == [{"path": "/".join(name.parts[1:]), "reason": "a loop of links"}], (
                name
            )
        elif number % 2:
            main(["doctor"])
            assert f"{name} (a loop of links)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(("name", "warnings"), [("runs", 1), ("agents", 1), ("errors", 1), (".programs", 0)])
def test_recording_beside_a_loop_warns_once_and_records_the_rest(tmp_path, name, warnings):
    root = tmp_path / "trace"
    root.mkdir()
    (root / name).symlink_to(name)
    done = run_python("-c", PROGRAM, str(root), cwd=tmp_path, HOME=str(tmp_path), AGENT_TRACE_SESSION="")
    assert (done.returncode, len(done.stderr.splitlines())) == (0, warnings), done.stderr
    assert main(["verify", "--root", str(root)]) == 0


@pytest.mark.process
def test_a_root_whose_path_is_not_utf8_is_recorded_into_and_read(tmp_path, capsys, monkeypatch):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    done = run_python("-c", PROGRAM, str(root), cwd=tmp_path, HOME=str(tmp_path), AGENT_TRACE_SESSION="")
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(root))
    for command in (["sessions", "--json"], ["verify", "--json"], ["journey", "a2"], ["config", "show"]):
        assert main(command) == 0, command
        assert "\\xff" in capsys.readouterr().out or command == ["journey", "a2"]
    for command in (["analyze"], ["sql", "SELECT 1"], ["seal"]):
        assert main(command) == 3, command
        assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["\udcff"],
        ["journey", "\udcff"],
        ["sql", "SELECT '\udcff'"],
        ["erase", "--match", "x\udcffx", "--yes"],
    ],
)
def test_an_argument_that_is_not_utf8_is_refused_in_one_line(command, capsys):
    assert main(command) == EXIT_USAGE
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "not UTF-8" in told[0]
    assert r"\xff" in told[0]
    assert "pass it in UTF-8" in told[0]


def test_an_argument_in_utf8_under_a_locale_of_ascii_is_refused_with_the_remedy(capsys):
    """As Python reads it with `LC_ALL=C PYTHONUTF8=0`."""
    assert main(["journey", "größe".encode().decode("ascii", "surrogateescape")]) == EXIT_USAGE
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "größe" in told[0]
    assert told[0].endswith("set PYTHONUTF8=1")


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
    with pytest.raises(OSError, match=r"not a plain file|a symbolic link, which is not followed"):
        read_file(tmp_path / "x")


def _rows(selection):
    """Write what a query of a part's rows finds in its place."""

    def write(path):
        import duckdb

        duckdb.sql(f"COPY ({selection.format(path)}) TO '{path}.new' (FORMAT parquet)")
        Path(f"{path}.new").replace(path)

    return write


DAMAGED_PARTS = {
    "nothing": lambda path: path.write_bytes(b""),
    "its half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "magic bytes alone": lambda path: path.write_bytes(b"PAR1PAR1"),
    "a footer longer than the file": lambda path: path.write_bytes(
        path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1"
    ),
    "a footer of noise": lambda path: path.write_bytes(
        path.read_bytes()[:-300] + random.Random(3).randbytes(292) + path.read_bytes()[-8:]
    ),
    "flipped bytes": lambda path: path.write_bytes(
        bytes(byte ^ (255 if at % 997 == 500 else 0) for at, byte in enumerate(path.read_bytes()))
    ),
    "another table": _rows("SELECT 1 AS a"),
    "columns of other types": _rows("SELECT * REPLACE (line::VARCHAR AS line) FROM '{}'"),
    "lines of a file that it does not describe": _rows("SELECT * REPLACE ('agents/x.log' AS file) FROM '{}'"),
    "numbers of lines that are none": _rows("SELECT * REPLACE ('x' || line AS line) FROM '{}'"),
}


@pytest.mark.integration
@pytest.mark.parametrize(
    "is_removed",
    [pytest.param(True, id="sealed"), pytest.param(False, id="half-sealed", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("damage", DAMAGED_PARTS)
def test_whatever_stands_in_a_part_of_the_archive_every_command_answers_in_its_own_words(
    recorded, tmp_path, capsys, monkeypatch, impatient, damage, is_removed
):
    """Those that need the part are refused (exit code 3); what is restored is what was sealed, and nothing is lost."""
    root = tmp_path / "trace"
    shutil.copytree(recorded, root, symlinks=True)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(root))
    lines = {path: path.read_bytes() for path in root.glob("session_*/agents/*.log")}
    assert main(["seal", "--all", *["--remove"][:is_removed]]) == 0
    damaged = {path: path.read_bytes() for path in root.glob("session_*/archive/*.parquet")}
    assert lines
    assert damaged
    for part in damaged:
        DAMAGED_PARTS[damage](part)
        damaged[part] = part.read_bytes()
    capsys.readouterr()
    more = [["sql", "SELECT count(*) FROM events"], ["erase", "--agent", "a2", "--dry-run"]]
    ask(root, capsys, monkeypatch, [*COMMANDS, *SEALED, *more])
    for command in (["seal", "--all", "--remove"], ["seal", "--restore"]):
        (code,) = ask(root, capsys, monkeypatch, [command])
        assert code in {0, EXIT_UNREADABLE}
    there = {path: path.read_bytes() for path in lines if path.exists()}
    assert there.items() <= lines.items()
    if code == 0 or not is_removed:
        assert there == lines
    if code != 0:
        assert damaged.items() <= {path: path.read_bytes() for path in damaged}.items()
