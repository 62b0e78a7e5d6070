"""Runs the peers' own suites with our part in the place of theirs: `python tests/peers/run.py`.

    --only NAME      one suite (may be repeated): cpython, python-json-logger, structlog, concurrent-log-handler
    -k WORDS         only cases that fit, as pytest reads it
    --work DIR       keep environment and files there, and use them again
    --unchanged      the suites as they are, with nothing of ours: what fails then is no question to us
    --missing-ok     a suite that cannot be had is told, and is no failure
    --explained      list each case that differs, with the reason
    --json           the counts as JSON on stdout

concurrent-log-handler's tests come from its repository; PEER_CONCURRENT_LOG_HANDLER names a clone to take them from.
Exit code 1 where a case fails without a reason in deviations.toml, or a row of it is needed no more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from peer_suites import REQUIREMENTS, SUITES, NotObtained, Suite
from peer_verdicts import Judgement, Outcome, judge, read_table

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COLUMNS = ("passed", "deviates", "not applicable", "not reached", "skipped by the suite", "unexplained")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def environment_in(work: Path) -> Path:
    """The interpreter of an environment with what the suites import."""
    directory = work / "environment"
    python = directory / "bin" / "python"
    mark = directory / ".made-from"
    wanted = "\n".join([sys.version, *REQUIREMENTS])
    if not mark.exists() or mark.read_text() != wanted:
        _say("installing what the suites import")
        venv.create(directory, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *REQUIREMENTS], check=True)
        mark.write_text(wanted)
    return python


def files_of(suite: Suite, work: Path) -> Path:
    """The directory with a suite's files, which are obtained where they are not there yet."""
    into = work / suite.name
    marker = into / ".directory"
    if not marker.exists():
        into.mkdir(parents=True, exist_ok=True)
        directory = suite.obtain(into)
        marker.write_text(str(directory))
    return Path(marker.read_text())


def run_suite(
    suite: Suite, python: Path, work: Path, words: str | None = None, *, unchanged: bool = False
) -> list[Outcome]:
    """Run a suite with our part in it, or as it is; how each case ended."""
    directory = files_of(suite, work)
    results = work / f"{suite.name}.jsonl"
    read = work / f"{suite.name}.jsonl.read"
    for old in (results, read):
        old.unlink(missing_ok=True)
    home = work / "home"
    for made in (home, work / "files"):
        made.mkdir(exist_ok=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AGENT_TRACE", "PYTEST"))},
        **suite.environment,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PEER_OUTCOMES": str(results),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "AGENT_TRACE_ROOT": str(work / "trace"),
    }
    command = [
        str(python), "-m", "pytest", "-q", "--no-header", "--tb=short", f"--basetemp={work / 'files' / suite.name}", "-p", "no:cacheprovider",
        "-p", "outcomes_plugin", *(() if unchanged else ("-p", suite.plugin)), *suite.arguments, *(("-k", words) if words else ()), *suite.targets,
    ]  # fmt: skip
    with (work / f"{suite.name}.txt").open("w") as told:
        done = subprocess.run(
            command, cwd=directory, env=environment, stdout=told, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode not in (0, 1) or not results.exists():
        raise RuntimeError(f"{suite.name}: pytest ended with {done.returncode}, see {told.name}")
    if read.exists():
        _say_what_was_read([json.loads(line) for line in read.read_text().splitlines()])
    return [Outcome(**json.loads(line)) for line in results.read_text().splitlines()]


def _say_what_was_read(counts: list[dict[str, Any]]) -> None:
    """How many records the mirrors had, over the cases in which none was meant to be given up."""
    whole = [count for count in counts if count["everything"]]
    logged, found = (sum(count[key] for count in whole) for key in ("logged", "read"))
    told = [count["told"] for count in counts if count["told"]]
    _say(
        f"  {found} of {logged} records read from mirrors in {len(whole)} cases; told as lost: {told or 'none'}"
    )


def _table(judged: dict[str, tuple[Suite, Judgement, float]]) -> str:
    head = ["suite", *COLUMNS, "seconds"]
    rows = [
        [f"{name} {suite.version}", *(str(judgement.counts[column]) for column in COLUMNS), f"{seconds:.0f}"]
        for name, (suite, judgement, seconds) in judged.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=[suite.name for suite in SUITES])
    parser.add_argument("-k", dest="words")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--unchanged", action="store_true")
    parser.add_argument("--missing-ok", action="store_true")
    parser.add_argument("--explained", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def run_in(work: Path, wanted: argparse.Namespace) -> int:
    """Run what is wanted, tell it, and give the exit code."""
    rows = read_table()
    python = environment_in(work)
    judged: dict[str, tuple[Suite, Judgement, float]] = {}
    bad = False
    for suite in SUITES:
        if wanted.only and suite.name not in wanted.only:
            continue
        _say(f"{suite.name} {suite.version}")
        start = time.monotonic()
        try:
            outcomes = run_suite(suite, python, work, wanted.words, unchanged=wanted.unchanged)
        except NotObtained as error:
            _say(f"  not run: {error}")
            bad = bad or not wanted.missing_ok
            continue
        known = [] if wanted.unchanged else rows.get(suite.name, [])
        judgement = judge(outcomes, known, whole=not wanted.words)
        judged[suite.name] = (suite, judgement, time.monotonic() - start)
        for problem in judgement.problems:
            _say(f"  {problem}")
        if wanted.explained:
            for case, verdict, reason in judgement.explained:
                _say(f"  {case}: {verdict}: {reason}")
        bad = bad or bool(judgement.problems)
    if wanted.json:
        print(json.dumps({name: dict(judgement.counts) for name, (_, judgement, _) in judged.items()}))
    else:
        print(_table(judged))
    return 1 if bad else 0


def main() -> int:
    """Run in a directory that is kept, or in one that goes away."""
    wanted = _arguments()
    if wanted.work is not None:
        wanted.work.mkdir(parents=True, exist_ok=True)
        return run_in(wanted.work.resolve(), wanted)
    with tempfile.TemporaryDirectory(prefix="agent-trace-peers-") as work:
        return run_in(Path(work), wanted)


if __name__ == "__main__":
    raise SystemExit(main())
