"""Spans a second into the service, beside arize-phoenix: `python -m benchmarks.ingest_beside_phoenix --phoenix BIN`.

Both run on this machine with their defaults, each on an SQLite file of its own, and take the same bodies of OTLP
over HTTP on `/v1/traces`, from as many connections. They take turns, the order turning each round. A turn lasts
until every span can be read from the database: phoenix answers before it stores, so the clock goes on until its
own count says that all are there; the service answers once they are committed, and its tables are counted, too.

Phoenix's port for gRPC ignores `PHOENIX_HOST`. So all of it runs in a network namespace with nothing but loopback
(`unshare -rn`), into which the command moves itself first.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.command import options, progress, run
from benchmarks.method import quartiles_of_ratios
from benchmarks.phoenix import Phoenix
from benchmarks.served import Served
from benchmarks.table import Report, Row, Table

FULL, QUICK = (5, 4), (2, 2)
"""Rounds, and bodies a turn."""
SPANS = 500
CONNECTIONS = 4
LEAST = 5.0
LOOK_S = 0.25
"""How often it is asked whether all is there: seldom, since asking takes time from storing."""
_INSIDE = "AGENT_BENCHMARK_ON_LOOPBACK"


def send(url: str, bodies: Sequence[bytes], content_type: str = "application/x-protobuf") -> None:
    """Posts them to a path, by a few connections at one time; RuntimeError where one is refused."""
    place = urlsplit(url)
    waiting = list(bodies)
    problems: list[str] = []

    def post() -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=120)
        with closing(connection):
            while waiting:
                try:
                    body = waiting.pop()
                except IndexError:  # another one took the last
                    return
                connection.request("POST", place.path, body, {"Content-Type": content_type})
                answer = connection.getresponse()
                told = answer.read()
                if answer.status != 200:
                    problems.append(f"{answer.status}: {told[:200]!r}")

    threads = [threading.Thread(target=post) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise RuntimeError(f"{url} refused {len(problems)} bodies: {problems[0]}")


def turn(url: str, bodies: Sequence[bytes], stored: Callable[[], int]) -> float:
    """Spans a second, until the last of them can be read."""
    before, wanted = stored(), SPANS * len(bodies)
    began = time.perf_counter()
    send(url, bodies)
    while stored() - before < wanted:
        if time.perf_counter() - began > 600:
            raise RuntimeError(f"{url} stored {stored() - before} of {wanted} spans")
        time.sleep(LOOK_S)
    return wanted / (time.perf_counter() - began)


def steps_in(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM steps").fetchone()
        return int(count)


def made_bodies(interpreter: Path, directory: Path, count: int) -> list[bytes]:
    directory.mkdir()
    program = Path(__file__).with_name("phoenix_spans.py")
    subprocess.run([interpreter, program, directory, str(count), str(SPANS)], check=True)
    return [path.read_bytes() for path in sorted(directory.iterdir())]


def measure(given: argparse.Namespace, directory: Path) -> Report:
    rounds, each = QUICK if given.quick else FULL
    progress("making the spans")
    bodies = made_bodies(given.phoenix.with_name("python"), directory / "bodies", (rounds + 1) * each)
    rates: dict[str, list[float]] = {"Agent Trace": [], "phoenix": []}
    database = directory / "service.db"
    with (
        Phoenix(given.phoenix, directory / "phoenix") as phoenix,
        Served(f"sqlite:///{database}", directory) as service,
    ):
        turns: dict[str, Callable[[Sequence[bytes]], float]] = {
            "Agent Trace": lambda some: turn(
                f"{service.ingest_url}/v1/traces", some, lambda: steps_in(database)
            ),
            "phoenix": lambda some: turn(f"{phoenix.url}/v1/traces", some, phoenix.spans),
        }
        for number in range(rounds + 1):  # the first one warms up
            progress(f"round {number} of {rounds}")
            some = bodies[number * each : (number + 1) * each]
            order = list(turns) if number % 2 else list(reversed(turns))
            for name in order:
                rate = turns[name](some)
                if number:
                    rates[name].append(rate)
                progress(f"  {name}: {rate:,.0f} spans a second")
    return report(rates, each, phoenix.version)


def report(rates: dict[str, list[float]], each: int, version: str) -> Report:
    made = Report()
    low, middle, high = quartiles_of_ratios(rates["Agent Trace"], rates["phoenix"])
    medians = {name: statistics.median(values) for name, values in rates.items()}
    made.rows.append(
        Row(
            "spans a second, stored",
            f"{medians['Agent Trace']:,.0f}, {middle:.1f} x ({low:.1f} to {high:.1f})",
            f"arize-phoenix {version}: {medians['phoenix']:,.0f}",
            f">= {LEAST:g} x",
            middle >= LEAST,
        )
    )
    table = Table("Spans a second, by round", ("", *(str(n + 1) for n in range(len(rates["phoenix"])))))
    table.lines += [(name, *(f"{rate:,.0f}" for rate in values)) for name, values in rates.items()]
    made.tables.append(table)
    how = f"{each} bodies of {SPANS} spans a turn, protobuf, {CONNECTIONS} connections"
    made.configurations = {
        "Agent Trace": f"agent-trace serve, SQLite, synchronous=FULL, POST /v1/traces, {how}",
        "phoenix": f"phoenix serve, SQLite, its defaults, no authentication, POST /v1/traces, {how}",
    }
    made.figures["spans_per_s"] = rates
    return made


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.ingest_beside_phoenix", __doc__.partition("\n")[0])
    parser.add_argument("--phoenix", type=Path, required=True, metavar="BIN", help="phoenix's command")
    given = parser.parse_args(arguments)
    given.phoenix = given.phoenix.absolute()
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        again = f'ip link set lo up && exec "{sys.executable}" -m benchmarks.ingest_beside_phoenix "$@"'
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", again, "sh", *arguments])
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
