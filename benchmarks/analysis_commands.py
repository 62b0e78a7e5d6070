"""Every command on one session: seconds, processor seconds, megabytes at the peak.

`python -m benchmarks.analysis_commands --session PATH` asks a session that is there;
`--sealed 100000000 --live 1000000` makes one first, which takes a while: what is live are segments of it that
stand as JSON lines again. Commands that change a session come last, on one that was made here or with
`--change`; the very last removes it. The budget is 2 GiB for each command, however large the session.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from Agent.archive import unseal
from Agent.archive.sealed.parts import drop_part, read_parts
from Agent.tree.files.session import update_session
from Agent.tree.layout import list_sessions
from benchmarks.children import OWN, STOPPED, Ran, run_child
from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table
from tests.support.known_truth import make_session

MOST_MB = 2048
_NEGATIVE = 1
"""The exit code of an answer in the negative: something was found."""


@dataclass(frozen=True)
class Asked:
    """What the questions are about."""

    session: Path
    agent: str
    event: str
    may_change: bool = False
    """Whether it may be changed, and at last removed, by the commands that do."""

    def commands(self) -> dict[str, list[str]]:
        """Every command, by the name it has in the table; those that change something come last, in their order."""
        where, agent = str(self.session), self.agent
        page = str(self.session.parent / "page.html")
        made = {
            "sessions": ["sessions", "--root", str(self.session.parent)],
            "analyze": ["analyze", where],
            "analyze --json": ["analyze", where, "--json"],
            "analyze --html": ["analyze", where, "--html", page],
            "journey": ["journey", agent, where],
            "journey --all --json": ["journey", agent, where, "--all", "--json"],
            "journey --tree": ["journey", agent, where, "--tree"],
            "journey --gaps": ["journey", agent, where, "--gaps"],
            "errors": ["errors", where],
            "errors --tail": ["errors", where, "--tail"],
            "debug": ["debug", f"Agent {agent} stopped publishing", "-s", where],
            "debug, of an error": ["debug", "lookup times out", "-s", where],
            "causes": ["causes", self.event, where],
            "causes --effects": ["causes", self.event, where, "--effects"],
            "diff --by": ["diff", "--stats", "--by", "agent_role", where],
            "diff, with itself": ["diff", "--stats", where, where],
            "tail -n 20": ["tail", "-n", "20", "-s", where],
            "tail -n 20 --agent": ["tail", "-n", "20", "-s", where, "--agent", agent],
            "tail -n 20 --level error": ["tail", "-n", "20", "-s", where, "-l", "error"],
            "learning": ["learning", "-s", where],
            "learning, of one agent": ["learning", agent, where],
            "interactions": ["interactions", where],
            "performance": ["performance", where],
            "state": ["state", agent, where],
            "state --checkpoints": ["state", agent, where, "--checkpoints"],
            "play, one agent": ["play", f"{where}/{agent}"],
            "runs": ["runs", "--root", str(self.session.parent)],
            "runs, the root run": ["runs", where],
            "verify": ["verify", where],
        }
        queries = {
            "sql, rewards by agent": "SELECT agent_id, sum(reward) FROM rewards GROUP BY ALL",
            "sql, newest 20": "SELECT * FROM events ORDER BY ts_us DESC, writer, seq LIMIT 20",
            "sql, all ids in order": "SELECT id FROM events ORDER BY ts_us, writer, seq",
            "sql, distinct spans": "SELECT count(DISTINCT span_id) FROM events",
        }
        made |= {name: ["sql", query, where] for name, query in queries.items()}
        return made | self._changing() if self.may_change else made

    def _changing(self) -> dict[str, list[str]]:
        where, root = str(self.session), str(self.session.parent)
        everything = ["prune", "--root", root, "--keep-sessions", "0"]
        return {
            "recover": ["recover", where],
            "recover, again": ["recover", where],
            "seal": ["seal", where],
            "verify, all sealed": ["verify", where],
            "seal --remove": ["seal", where, "--remove"],
            "verify, all removed": ["verify", where],
            "prune --dry-run": [*everything, "--dry-run"],
            "prune": everything,
        }


def about(session: Path, *, may_change: bool = False) -> Asked:
    """An agent in the middle, and an error of the session to look for its causes; else any action."""
    query = (
        "SELECT agent_id, id FROM events WHERE event_type IN ('error', 'agent_action') "
        "ORDER BY event_type DESC, ts_us, writer, seq LIMIT 1"
    )
    found = run_child([*OWN, "sql", query, str(session), "--json"])
    if found.exit_code:
        raise RuntimeError(f"the session cannot be asked: {found.err.decode(errors='replace')}")
    row = json.loads(found.out)[0]
    return Asked(session, row["agent_id"], row["id"], may_change)


def thaw(session: Path, events: int) -> int:
    """Let so many sealed events, or a few more, stand as JSON lines again; how many they are."""
    thawed = 0
    parts = [part for part in read_parts(session) if part.json_removed]
    keep = []
    for part in reversed(parts):
        if thawed >= events:
            break
        keep.append(part)
        thawed += part.events
    for part in keep:
        unseal(session, only=[part])
        drop_part(part)
    return thawed


def measure_commands(
    asked: Asked, title: str, only: list[str] | None = None, patience_s: float = 1800.0
) -> Report:
    """A table of every command, and a row of the budget for the largest of them."""
    table = Table(title, ("command", "s", "processor s", "peak MB", ""))
    ran: dict[str, Ran] = {}
    for name, arguments in asked.commands().items():
        if only and not any(name.startswith(each) for each in only):
            continue
        ran[name] = found = run_child([*OWN, *arguments], patience_s=patience_s)
        line = (name, f"{found.wall_s:.2f}", f"{found.cpu_s:.2f}", f"{found.peak_mb:,.0f}", _outcome(found))
        progress(f"{title}: {', '.join(line)}")
        table.lines.append(line)
    report = Report(tables=[table])
    if ran:
        name, most = max(ran.items(), key=lambda pair: pair[1].peak_mb)
        failed = [each for each, found in ran.items() if found.exit_code not in (0, _NEGATIVE)]
        report.rows.append(
            Row(
                f"memory of any command, {title}",
                f"{most.peak_mb:,.0f} MB ({name})",
                f"failed: {', '.join(failed)}" if failed else "",
                f"<= {MOST_MB} MB",
                most.peak_mb <= MOST_MB and not failed,
            )
        )
    return report


def _outcome(found: Ran) -> str:
    if found.exit_code in (0, _NEGATIVE):
        return ""
    if found.exit_code == STOPPED:
        return "stopped: it took too long"
    last = found.err.decode(errors="replace").strip().splitlines()
    return f"exit {found.exit_code}: {last[-1][:120] if last else ''}"


def made(directory: Path, given: argparse.Namespace) -> Path:
    """The session that is asked for: one that is there, or a new one."""
    if given.session is not None:
        return Path(given.session).resolve()
    progress(f"making {given.sealed:,} events")
    truth = make_session(directory / "trace", events=given.sealed, agents=given.agents, seed=1, sealed=True)
    if given.live:
        progress(f"{thaw(truth.session, given.live):,} of them are JSON lines again")
    return truth.session


def measure(given: argparse.Namespace, directory: Path) -> Report:
    session = made(directory, given)
    if given.change or given.session is None:
        # so that it is recovered as one whose processes were killed is
        update_session(session, ended_at=None)
    asked = about(session, may_change=given.change or given.session is None)
    return measure_commands(asked, session.name, given.only, given.patience)


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.analysis_commands", "Every command, measured on one session.")
    parser.add_argument("--session", help="a session that is there; it is left as it is without --change")
    parser.add_argument(
        "--change", action="store_true", help="measure what changes and at last removes it, too"
    )
    parser.add_argument("--sealed", type=int, default=100_000_000, help="else: events to make and to seal")
    parser.add_argument("--live", type=int, default=1_000_000, help="of those, events to leave as JSON lines")
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--only", action="append", help="commands whose name begins so; repeatable")
    parser.add_argument("--patience", type=float, default=1800.0, help="seconds after which one is stopped")
    given = parser.parse_args(arguments)
    if given.session is not None:
        given.session = str(Path(given.session).resolve())
        if given.change and len(list_sessions(Path(given.session).parent)) > 1:
            parser.error("--change removes every session of the trace root, and there are others")
    elif given.quick:
        given.sealed, given.live, given.agents = 300_000, 30_000, 100
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
