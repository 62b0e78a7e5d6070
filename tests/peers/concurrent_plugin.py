"""concurrent-log-handler's stress test with our mirrors as its handlers, and a stricter reading beside its own.

Its validator takes a line that it cannot read for no fault; here every line must be one whole event of ours, and
where no file is given up, each record that was logged must be there once. What recording itself counted as lost is
told as well.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import concurrent_log_handler
import pytest
from outcomes_plugin import called
from record_handlers import MirrorHandler

from Agent import health


class CountingHandler(MirrorHandler):
    """The mirror, which counts its rolls as the stress test wants them, and tells what it lost when it is closed."""

    @property
    def num_rollovers(self) -> int:
        """How often this process rolled the file."""
        self.flush()
        return _Rolls.count

    def close(self) -> None:
        self.flush()
        lost = health().get("mirrors", {})
        if lost:
            with Path(self.baseFilename).with_name("lost.jsonl").open("a") as file:
                file.write(json.dumps(lost) + "\n")
        super().close()

    @staticmethod
    def baseLockFilename(path: str) -> tuple[str, str]:
        """Where the lock of rotation is."""
        directory, name = os.path.split(path)
        return directory, f".{name}.lock"


class _Rolls:
    """How often the live file was renamed, or removed, in this process; children begin with none."""

    count = 0


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    renamed = event == "os.rename" and os.fspath(arguments[1]).endswith("/stress_test.log.1")
    if renamed or (event == "os.remove" and os.fspath(arguments[0]).endswith("/stress_test.log")):
        _Rolls.count += 1


sys.addaudithook(_watch)
os.register_at_fork(after_in_child=lambda: setattr(_Rolls, "count", 0))
concurrent_log_handler.ConcurrentRotatingFileHandler = CountingHandler
concurrent_log_handler.ConcurrentTimedRotatingFileHandler = CountingHandler


def _read_strictly(options: Any, everything: bool) -> list[str]:
    """What is wrong with the files, in sentences."""
    problems = []
    records: Counter[str] = Counter()
    lines = 0
    for path in Path(options.log_dir).glob(f"{options.log_file}*"):
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            lines += 1
            try:
                event = json.loads(line)
            except ValueError:
                problems.append(f"{path.name}:{number} is no whole event: {line[:200]!r}")
                continue
            if event["extra"].get("event_type") == "log":
                records[event["message"].split(" - ", 2)[2].rsplit("-", 1)[0]] += 1
    doubled = [record for record, count in records.items() if count > 1]
    problems += [f"{record} is there {records[record]} times" for record in doubled[:5]]
    expected = options.num_processes * options.log_calls
    if everything and len(records) != expected:
        problems.append(f"{expected - len(records)} of {expected} records are missing")
    told = Path(options.log_dir, "lost.jsonl")
    counts = {
        "processes": options.num_processes,
        "logged": expected,
        "everything": everything and not options.induce_failure,
        "read": sum(records.values()),
        "lines": lines,
        "told": [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else [],
    }
    with Path(os.environ["PEER_OUTCOMES"] + ".read").open("a") as file:
        file.write(json.dumps(counts) + "\n")
    return problems


@pytest.fixture(autouse=True)
def strict(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each case in a directory of its own, read strictly beside the suite's own validator."""
    import stresstest

    called()
    monkeypatch.chdir(tmp_path)
    theirs = stresstest.validate_log_file
    problems: list[str] = []

    def validate(options: Any, run_time: float, expect_all: bool = True) -> bool:
        found = _read_strictly(options, expect_all)
        if not options.induce_failure:
            problems.extend(found)
        return bool(theirs(options, run_time, expect_all))

    told: list[str] = []
    run = stresstest.run_stress_test

    def run_and_tell(options: Any) -> int:
        code = int(run(options))
        if code and not options.induce_failure:
            # Its own message names the options alone.
            raise AssertionError("; ".join(line for line in told if line.startswith("Error")))
        return code

    monkeypatch.setattr(
        stresstest, "print", lambda *words: told.append(" ".join(map(str, words))), raising=False
    )
    monkeypatch.setattr(stresstest, "validate_log_file", validate)
    monkeypatch.setattr(request.module, "run_stress_test", run_and_tell)
    yield
    assert not problems, problems[:10]
