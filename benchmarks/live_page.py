"""How fast a recorded event is on the page of a running session: `python -m benchmarks.live_page`.

A program records 2,000 events a second of 100 agents for ten minutes while a page in headless Chromium follows
it. The program notes how many events it had written when; the page notes in each frame how many it shows. An
event counts as shown once the frame after it was drawn. Memory is that of the server's process (its proportional
set size, and of it what is private and in no file) and of the page's heap after a collection, ten times.

Options: `--minutes N`, `--rate N` (events a second).
"""

from __future__ import annotations

import argparse
import bisect
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.command import options, progress, require, run
from benchmarks.table import Report, Row, Table
from benchmarks.viewers import CHROMIUM, memory_mb, pages_of

AGENTS = 100
BATCH_S = 0.01
WRITER = f"""
import sys, time
from Agent import AgentLogger, setup_logging, shutdown_logging
root, seconds, rate = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
setup_logging(trace_root=root)
agents = [AgentLogger(f"agent_{{number:03d}}", "worker") for number in range({AGENTS})]
batch = max(1, round(rate * {BATCH_S}))
written, began = 0, time.time()
with open(sys.argv[4], "w") as told:
    while time.time() - began < seconds:
        for _ in range(batch):
            agents[written % {AGENTS}].log_action("step", {{"n": written}}, {{"ok": True}})
            written += 1
        told.write(f"{{time.time()}} {{written}}\\n")
        time.sleep(max(0.0, began + written / rate - time.time()))
shutdown_logging()
"""
WATCHER = """() => {
    const shown = window.shown = [];
    let before = -1;
    const look = () => {
        const said = /([\\d,]+) events/.exec(document.querySelector('.verdict')?.textContent ?? '');
        const number = said ? Number(said[1].replaceAll(',', '')) : -1;
        if (number !== before) {
            before = number;
            requestAnimationFrame(() => shown.push([Date.now(), number]));
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


def delays_ms(written: list[tuple[float, int]], shown: list[tuple[float, int]], extra: int) -> list[float]:
    """How long after each batch the page showed at least as many events; `extra` are not of the agents."""
    numbers = [number - extra for _, number in shown]
    delays = []
    for at_s, number in written:
        place = bisect.bisect_left(numbers, number)
        if place < len(numbers):
            delays.append(max(0.0, shown[place][0] - at_s * 1000))
    return delays


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from playwright.sync_api import sync_playwright

    root, told = directory / "trace", directory / "written"
    seconds = 60.0 * (0.25 if given.quick else given.minutes)
    command = [sys.executable, "-P", "-c", WRITER, str(root), str(seconds), str(given.rate), str(told)]
    table = Table("Memory, MB", ("second", "events", "server", "private", "page's heap"))
    with subprocess.Popen(command) as writer, sync_playwright() as playwright:
        while not list(root.glob("session_*")):
            time.sleep(0.1)
        time.sleep(1)
        with (
            pages_of(root).served() as (url, pid),
            playwright.chromium.launch(executable_path=CHROMIUM) as browser,
        ):
            page = browser.new_page()
            page.goto(url)
            page.locator(".verdict").wait_for()
            page.evaluate(WATCHER)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            began, next_s = time.time(), 5.0
            while writer.poll() is None:
                time.sleep(0.5)
                if time.time() - began >= next_s:
                    next_s += seconds / 10
                    table.lines.append(memory_line(page, session, pid, time.time() - began))
                    progress(" ".join(table.lines[-1]))
            time.sleep(3)
            table.lines.append(memory_line(page, session, pid, time.time() - began))
            watched_s = page.evaluate("window.shown[0][0]") / 1000
            shown = [(at, number) for at, number in page.evaluate("window.shown") if number >= 0]
    lines = [line.split() for line in told.read_text().splitlines()]
    written = [(float(at), int(number)) for at, number in lines]
    extra = shown[-1][1] - written[-1][1]
    # what was there before the page is not late, and the last events come with the end of the session
    delays = delays_ms([each for each in written if watched_s + 2 < each[0]], shown, extra)
    median, (p95, worst) = statistics.median(delays), (statistics.quantiles(delays, n=20)[18], max(delays))
    rate = written[-1][1] / (written[-1][0] - written[0][0])
    report = Report(tables=[table], figures={"delays_ms": len(delays), "rate": rate})
    what = f"event to frame, {written[-1][1]:,} events at {rate:,.0f} a second"
    report.rows = [
        Row(f"{what}: median", f"{median:.0f} ms"),
        Row(f"{what}: p95", f"{p95:.0f} ms", "", "250 ms", p95 <= 250),
        Row(f"{what}: worst", f"{worst:.0f} ms", "", "1,000 ms", worst <= 1_000),
    ]
    report.notes.append(f"{len(delays):,} of {len(written):,} batches of {given.rate * BATCH_S:.0f} events; "
                        f"{extra} events are not of the agents")  # fmt: skip
    return report


def memory_line(page: Any, session: Any, pid: int, at_s: float) -> tuple[str, ...]:
    session.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    events = page.evaluate("window.shown.length ? window.shown.at(-1)[1] : 0")
    heap_mb = metrics["JSHeapUsedSize"] / 1e6
    server = f"{memory_mb(pid):.0f}", f"{private_mb(pid):.0f}"
    return f"{at_s:.0f}", f"{events:,}", *server, f"{heap_mb:.1f}"


def private_mb(pid: int) -> float:
    """The memory of a process that is in no file (RssAnon)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def main(arguments: list[str]) -> int:
    """The command."""
    parser = options("benchmarks.live_page", "From a recorded event to the frame that shows it.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second (default: 2,000)")
    given = parser.parse_args(arguments)
    require(parser, "playwright", extras="bench")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
