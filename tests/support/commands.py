"""What each command is asked by the tests that ask all of them: one table, which a new command is added to."""

import re
import shlex
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from Agent.cli.main import cli

UNSEEN = "".join(
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}
)
"""Controls, marks that hide or turn text, and ends of lines: those of the Unicode that this Python knows."""
EVIL = f"e{UNSEEN}l"
AGENT = "creator_017"
LONG_NAME = "a-writer-of-the-editorial-office-by-the-river"
MEANT = {
    "EVIL": EVIL,
    "UNSEEN": UNSEEN.replace("\0", ""),
    "AGENT": AGENT,
    "LONG_NAME": LONG_NAME,
    "REPAIRED": "Agent.demo.targets:repaired_creator",
    "CHANGED": "Agent.demo.targets:changed_creator",
    "ZEROS": "0" * 64,
}
"""What words in capitals stand for in the arguments below; each test adds EVENT, RUN, LONG, ONE or OTHER."""


def commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """The names of all commands with their own click commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))
        elif command is not None:
            yield " ".join((*before, name)), command


COMMANDS = dict(commands(cli))


class Asked(NamedTuple):
    """The arguments of each call of a command, by test; None where it is not called.

    A command without arguments is called as ""; a row without any is called so by all of the tests.
    """

    evil: Sequence[str] | None = ("",)
    """In `test_terminal_answers`: a session of texts that a terminal obeys; None if no recording is shown."""
    narrow: Sequence[str] | None = ("",)
    """In `test_narrow_terminal`: the demo, and a session of long names; None if it prints what is not ours."""
    long: str | None = ""
    """In `test_long_lines`: two sessions of long texts; None if it reads no lines of a session."""


REPORTS = [
    name
    for name, command in COMMANDS.items()
    if "engine" in {each.name for each in command.params}
    and not any(each.required for each in command.params)
]
"""The commands about a session or many that need no argument: no row below, if they are only called so."""
ASKED = {name: Asked() for name in REPORTS} | {
    "analyze": Asked(narrow=["", "--html report.html", "LONG", "last/AGENT"]),
    "errors": Asked(evil=["", "--tail"], narrow=["", "--tail", "LONG --tail"]),
    "learning": Asked(evil=["", "EVIL"], narrow=["", "creator_001"]),
    "interactions": Asked(evil=["", "--content EVIL"], narrow=["", "--content creator_001-post-001"]),
    "performance": Asked(narrow=["", "LONG"]),
    "sql": Asked(
        evil=[
            "'SELECT agent_id, message, kind FROM events'",
            "'SELECT agent_id, state FROM action_states'",
            "'SELECT agent_id, message, extra FROM events' --csv",
            "'SELECT agent_id, message, extra FROM events' --json",
            "\"SELECT 'UNSEEN' FROM nowhere\"",
        ],
        narrow=[
            "--schema",
            "'SELECT * FROM events LIMIT 3'",
            "'SELECT agent_id, message FROM events LIMIT 3'",
        ],
        long="'SELECT count(*) FROM events'",
    ),
    "sessions": Asked(),
    "journey": Asked(
        evil=["EVIL", "EVIL --all", "EVIL --tree", "EVILx"],
        narrow=["AGENT", "AGENT --all", "AGENT --tree", "LONG_NAME -s LONG", "AGENT --all-sessions"],
        long="a",
    ),
    "debug": Asked(
        evil=["EVIL", "EVIL --markdown", "EVIL --all"],
        narrow=["'Agent AGENT stopped publishing' --all", "'LONG_NAME fails' -s LONG --all"],
        long="'a fails'",
    ),
    "causes": Asked(
        evil=["EVENT", "EVENT --format dot", "EVENT --format svg", "EVENT --effects"],
        narrow=["EVENT", "EVENT --effects"],
        long="EVENT",
    ),
    "tail": Asked(evil=["-n 100", "-n 5 -a EVIL"], narrow=["-n 100", "-n 3 -l error"], long="-n 50"),
    "play": Asked(evil=["last"], narrow=["last/AGENT"], long="last/a"),
    "replay": Asked(
        evil=["last", "EVIL"],
        narrow=[
            "last/AGENT",
            "last/AGENT --target REPAIRED --keep-going=3",
            "--all --agent 'creator_00[1-4]' --target CHANGED",
        ],
        long=None,
    ),
    "state": Asked(
        evil=["EVIL", "EVIL --why EVIL", "EVIL --plot EVIL", "EVIL --checkpoints"],
        narrow=[
            "AGENT",
            "AGENT --why cooldown_until",
            "AGENT --plot followers",
            "AGENT --checkpoints",
            "LONG_NAME LONG",
        ],
        long="a",
    ),
    "provenance": Asked(
        evil=["EVIL EVIL", "EVIL /EVIL/EVIL"],
        narrow=["AGENT cooldown_until", "AGENT pending --at tick:20", "LONG_NAME agent_role LONG"],
        long="a total",
    ),
    "watch": Asked(
        evil=["agent_id", "EVIL"],
        narrow=["'followers > 100'", "'cooldown_until > 1000 and tick > 2' last/AGENT"],
        long="'total > 0'",
    ),
    "ask": Asked(
        evil=["last EVIL", "last/EVIL builtins:vars"],
        narrow=["last/AGENT builtins:vars --at tick:7"],
        long=None,
    ),
    "resume": Asked(evil=["EVIL --step EVIL"], narrow=["last/creator_001 --step tick:40"], long=None),
    "fork": Asked(
        evil=["EVIL --step EVIL"],
        narrow=[
            "last/creator_001 --step tick:40 --modify '{\"followers\": 5000}'",
            "last/creator_001 --step tick:40 --sweep --vary followers=10,999 --outcome followers",
        ],
        long=None,
    ),
    "diff": Asked(
        evil=["last last", "last EVIL"],
        narrow=["last/creator_001 last-fork/creator_001", "last LONG --stats", "last --by agent_role"],
        long="ONE OTHER",
    ),
    "control": Asked(
        evil=["last status", "last set EVIL EVIL=EVIL", "EVIL pause"],
        narrow=["last status", "LONG set LONG_NAME words=1"],
        long=None,
    ),
    "runs": Asked(
        evil=["", "EVIL", "RUN", "RUN --artifacts", "RUN --artifact out/evil.json"],
        narrow=["", "a-long-run", "a-long-run --steps", "a-long-run --artifacts", "last-fork"],
    ),
    "golden add": Asked(
        evil=["last --name EVIL"],
        narrow=["last/creator_001 --name a-creator-that-was-kept", "last/creator_002 --test"],
        long=None,
    ),
    "golden list": Asked(long=None),
    "golden check": Asked(evil=["EVIL"], narrow=["", "creator_002 --target CHANGED"], long=None),
    "golden shrink": Asked(evil=["EVIL"], narrow=["creator_002 --target CHANGED"], long=None),
    "golden accept": Asked(
        evil=["EVIL EVIL"], narrow=["creator_002 42 --reason 'as it is now' --target CHANGED"], long=None
    ),
    "golden update": Asked(evil=["EVIL"], narrow=["creator_002"], long=None),
    "golden bisect": Asked(evil=["EVIL"], narrow=["creator_002"], long=None),
    "golden remove": Asked(evil=["EVIL"], narrow=["creator_002"], long=None),
    "lnav install": Asked(evil=["--to FORMATS"], narrow=["--to formats"], long=None),
    "export bundle": Asked(
        evil=["last x.zip", "EVIL y.zip"], narrow=["last events.zip", "LONG long.zip"], long=None
    ),
    "export csv": Asked(evil=["last x.csv", "EVIL x.csv"], narrow=["last events.csv"], long=None),
    "export inspect": Asked(
        evil=["last x.json", "EVIL y.json"], narrow=["last log.json", "LONG/LONG_NAME long.json"], long=None
    ),
    "export otlp": Asked(
        evil=["last --file -", "EVIL --file -"], narrow=["last --file spans.json"], long=None
    ),
    "export parquet": Asked(evil=["last x.parquet"], narrow=["last events.parquet"], long=None),
    "export perfetto": Asked(evil=["last x.pftrace"], narrow=["last events.pftrace"], long=None),
    "import bundle": Asked(evil=["EVIL"], narrow=["events.zip --root imported", "spans.json"], long=None),
    "import jsonl": Asked(evil=["EVIL"], narrow=["spans.json"], long=None),
    "import otlp": Asked(evil=["EVIL"], narrow=["spans.json"], long=None),
    "import inspect": Asked(evil=["EVIL"], narrow=["spans.json"], long=None),
    "recover": Asked(narrow=["", "--all --mirrors"]),
    "verify": Asked(narrow=["", "LONG", "--head ZEROS"]),
    "prove": Asked(evil=["EVENT", "EVIL"], narrow=["EVENT"], long="EVENT"),
    "prune": Asked(
        evil=["--keep-sessions 0 --dry-run"],
        narrow=["--keep-sessions 1 --dry-run", "--checkpoints --dry-run"],
        long=None,
    ),
    "erase": Asked(
        evil=["--agent EVIL --dry-run", "--match EVIL --dry-run"],
        narrow=["--agent AGENT --dry-run", "--agent AGENT --yes"],
        long="--agent a --dry-run",
    ),
    "seal": Asked(),
    "keys add": Asked(
        evil=["--project EVIL --scope query"],
        narrow=["--project shop --scope ingest --label 'agents in production'"],
        long=None,
    ),
    "keys list": Asked(long=None),
    "keys content": Asked(evil=["EVIL --on"], narrow=["shop --off"], long=None),
    "keys revoke": Asked(evil=["EVIL"], narrow=["none"], long=None),
    "ship": Asked(evil=["--to EVIL"], narrow=["--to http://127.0.0.1:9 --patience 0.1"], long=None),
    "doctor": Asked(long=None),
    "config show": Asked(long=None),
    "config path": Asked(long=None),
    "config presets": Asked(evil=["", "EVIL"], narrow=["", "production"], long=None),
    "version": Asked(long=None),
    "merge": Asked(evil=["EVIL EVIL", "last last"], narrow=["last LONG"], long=None),
    "demo": Asked(evil=None, narrow=["--agents 6 --ticks 24 --root another"], long=None),
    "lnav show": Asked(narrow=None, long=None),
    "mcp": Asked(evil=None, narrow=None, long=None),
    "run": Asked(evil=["EVIL"], narrow=None, long=None),
    "serve": Asked(evil=None, narrow=None, long=None),
    "view": Asked(evil=None, narrow=None, long=None),
}
"""Commands that change the recording come after those that read it, `seal` after those that read lines."""
READING = frozenset(list(ASKED)[: list(ASKED).index("golden add")])
"""The commands that are asked for JSON too in a narrow terminal."""


def words_of(arguments: str, **known: str) -> list[str]:
    """The words of a call, with what the words in capitals stand for in a test."""
    meant = MEANT | known
    capitals = re.compile("|".join(sorted(meant, key=len, reverse=True)))
    return [capitals.sub(lambda match: meant[match[0]], word) for word in shlex.split(arguments)]
