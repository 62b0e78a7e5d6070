"""The pages beside arize-phoenix and `inspect view`: `python -m benchmarks.viewers --inspect BIN --phoenix BIN`.

All show the same evaluation, made by `inspect_log.py`: `inspect view` the log in its own form, the pages the session
that `import inspect` makes of it, phoenix the spans that `export otlp --content` sends it of that session. Each is
opened in a headless Chromium of its own, by turns, in a fresh profile, three times; the servers are started anew each
time, and of the pages the first time is without an index. A window is the next part that a reader asks for: a
zoom, the next 1,000 spans of the trace, another sample. Then the memory of the server's processes and of the
browser's is read, the heap after a collection.

Options: `--samples N`, `--turns N` (5 events each), `--directory DIR`, `--kept DIR` (made there once, and used again).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.command import options, progress, run
from benchmarks.phoenix import Phoenix
from benchmarks.served import free_port
from benchmarks.table import Report, Table

ROUNDS = 3
PATIENCE_MS = 300_000
CHROMIUM = "/usr/bin/chromium"
PROJECT = "viewers"
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@dataclass
class Viewer:
    """How one program is opened: its server, what its first content is, and how a reader asks for more."""

    name: str
    served: Callable[[], Any]
    """A context that gives the address and the process id of its server."""
    first: str
    """The selector of its first content."""
    further: Callable[[Any], None]
    """Asks for another window, and returns once it is shown."""
    reading: str = "reading the session"
    """A text that is there until everything was read."""


def processes_below(pid: int) -> list[int]:
    """A process and all it started."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def memory_mb(pid: int) -> float:
    """The memory of a process, its part of shared pages (proportional set size); 0 if it has ended."""
    with suppress(OSError):
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024
    return 0.0


@contextmanager
def started(command: list[str], address: Callable[[Any], str], **how: Any) -> Iterator[tuple[str, int]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **how)
    try:
        url = address(process)
        place = urlsplit(url)
        await_answer(f"{place.scheme}://{place.netloc}/")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def await_answer(url: str) -> None:
    """Return once a server answers, whatever it says."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=60).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise TimeoutError(f"{url} does not answer")


def pages_of(root: Path) -> Viewer:
    def address(process: Any) -> str:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("}"):
                return str(json.loads("".join(lines))["url"])
        raise RuntimeError("view did not start")

    def zoom(page: Any) -> None:
        asked: list[Any] = []
        page.on("request", lambda request: asked.append(request) if "/window" in request.url else None)
        page.on("requestfinished", lambda request: asked.remove(request) if request in asked else None)
        page.keyboard.press("+")
        page.evaluate(FRAMES)
        while asked:
            page.wait_for_timeout(5)
        page.evaluate(FRAMES)

    command = [sys.executable, "-m", "Agent", "view", "--no-open", "--json", "--root", str(root)]
    return Viewer("agent-trace view", lambda: started(command, address), ".label", zoom)


def inspect_of(command: Path, logs: Path) -> Viewer:
    port = free_port()
    words = [str(command), "view", "start", "--log-dir", str(logs), "--port", str(port)]

    def another(page: Any) -> None:
        page.get_by_text("sample-001", exact=True).first.click()
        page.get_by_text("MODEL CALL").first.wait_for()

    url = f"http://127.0.0.1:{port}/"
    return Viewer("inspect view", lambda: started(words, lambda _: url), "text=sample-000", another)


def phoenix_of(command: Path, directory: Path, session: Path) -> Viewer:
    trace = trace_of(session)

    @contextmanager
    def served() -> Iterator[tuple[str, int]]:
        with Phoenix(command, directory) as phoenix:
            yield f"{phoenix.url}/projects/{project_of(phoenix.url)}/traces/{trace}", phoenix.pid

    def more(page: Any) -> None:
        page.get_by_role("button", name="Load More").click()
        page.get_by_text("Viewing 1000 of").wait_for(state="hidden")

    return Viewer("arize-phoenix", served, "text=invoke_agent", more)


def asked(url: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["data"]


def project_of(url: str) -> str:
    edges = asked(url, "{ projects { edges { node { id name } } } }")["projects"]["edges"]
    return next(str(edge["node"]["id"]) for edge in edges if edge["node"]["name"] == PROJECT)


def trace_of(session: Path) -> str:
    """The trace of a session's root run, as the exporter names it."""
    name, root = session.name.removeprefix("session_"), str(session.parent)
    command = [sys.executable, "-m", "Agent", "export", "otlp", name, "--root", root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as export:
        first = json.loads(next(iter(export.stdout or ())))
        export.terminate()
    return str(first["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"])


def opened(playwright: Any, viewer: Viewer) -> dict[str, float]:
    """Start the server and a browser, open the first page, ask for a window, and read the memories."""
    began = time.perf_counter()
    with viewer.served() as (url, pid):
        found = {"start_s": time.perf_counter() - began}
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        own = processes_of_browser()
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        code: set[str] = set()
        page.on("response", lambda answer: code.add(answer.url) if is_code(answer) else None)
        began = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator(viewer.first).first.wait_for()
        found["first_s"] = time.perf_counter() - began
        page.get_by_text(viewer.reading).first.wait_for(state="hidden")
        found["read_s"] = time.perf_counter() - began
        page.wait_for_timeout(3_000)  # what the page still loads is not part of the window
        began = time.perf_counter()
        viewer.further(page)
        found["window_s"] = time.perf_counter() - began
        tools = page.context.new_cdp_session(page)
        tools.send("HeapProfiler.collectGarbage")
        found["heap_mb"] = tools.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        found["browser_mb"] = sum(memory_mb(each) for root in own for each in processes_below(root))
        found["server_mb"] = memory_mb(pid)
        found["children_mb"] = sum(map(memory_mb, processes_below(pid)[1:]))
        sources = (page.request.get(each).body() for each in code)
        found["code_kb"] = sum(len(gzip.compress(source, 6)) for source in sources) / 1_000
        browser.close()
    return found


def is_code(answer: Any) -> bool:
    return answer.ok and answer.request.resource_type in {"script", "stylesheet"}


def processes_of_browser() -> list[int]:
    """The browsers that this process and its driver started."""
    names = {pid: Path(f"/proc/{pid}/cmdline") for pid in processes_below(os.getpid())}
    told = {pid: path.read_bytes() for pid, path in names.items() if path.exists()}
    return [pid for pid, words in told.items() if b"--headless" in words and b"--type=" not in words]


def made(given: argparse.Namespace, directory: Path) -> tuple[Path, Path, Path]:
    """The log in Inspect's form, the session of it, and phoenix's directory with its spans; made unless there."""
    log, logs, root = directory / "log.json", directory / "eval", directory / "trace"
    own = [sys.executable, "-m", "Agent"]
    if not root.exists():
        progress("making the log")
        program = Path(__file__).with_name("inspect_log.py")
        interpreter = given.inspect.with_name("python")
        counts = [str(given.samples), str(given.turns)]
        subprocess.run([interpreter, "-P", program, log, *counts], check=True)
        convert = [
            given.inspect,
            "log",
            "convert",
            "--to",
            "eval",
            "--stream",
            "1",
            "--output-dir",
            logs,
            log,
        ]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [*own, "import", "inspect", log, "--root", root], check=True, stdout=subprocess.DEVNULL
        )
    (session,) = root.glob("session_*/")
    if given.phoenix is not None and not (directory / "phoenix").exists():
        progress("sending the spans to phoenix")
        with Phoenix(given.phoenix, directory / "phoenix") as phoenix:
            export = [*own, "export", "otlp", "--content", "--root", root, "--endpoint", phoenix.url]
            subprocess.run([*export, "--service", PROJECT], check=True, stdout=subprocess.DEVNULL)
            before = -1
            while (now := phoenix.spans()) != before:  # it answers before it stores
                before = now
                time.sleep(20)
            (directory / "spans.txt").write_text(f"{now}")
    return logs, root, session


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from playwright.sync_api import sync_playwright

    directory = given.kept or directory
    logs, root, session = made(given, directory)
    viewers = [pages_of(root), inspect_of(given.inspect, logs)]
    if given.phoenix is not None:
        viewers.append(phoenix_of(given.phoenix, directory / "phoenix", session))
    shutil.rmtree(session / ".state" / "view", ignore_errors=True)  # the index, which the first round makes
    found: dict[str, list[dict[str, float]]] = {viewer.name: [] for viewer in viewers}
    with sync_playwright() as playwright:
        for number in range(ROUNDS):
            for viewer in viewers[number:] + viewers[:number]:
                found[viewer.name].append(opened(playwright, viewer))
                progress(f"{viewer.name}: {found[viewer.name][-1]}, load {os.getloadavg()[0]:.0f}")
    report = Report()
    headings = (
        "",
        "first content",
        "all read",
        "a window",
        "server, its children",
        "browser, its heap",
        "JS and CSS",
    )
    events = given.samples * given.turns * 5
    table = Table(f"{events:,} events in {given.samples} samples", headings)
    for name, rounds in found.items():
        told = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        each_s = ", ".join(f"{each['first_s']:.1f}" for each in rounds)
        table.lines.append(
            (
                name, f"{told['first_s']:.1f} s ({each_s})", f"{told['read_s']:.1f} s", f"{told['window_s']:.2f} s",
                f"{told['server_mb']:.0f} MB, {told['children_mb']:.0f} MB",
                f"{told['browser_mb']:.0f} MB, {told['heap_mb']:.0f} MB", f"{told['code_kb']:,.0f} KB",
            )
        )  # fmt: skip
    report.tables.append(table)
    report.figures |= found
    return report


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.viewers", __doc__.partition("\n")[0])
    parser.add_argument("--inspect", type=Path, required=True, metavar="BIN", help="inspect's command")
    parser.add_argument(
        "--phoenix", type=Path, metavar="BIN", help="phoenix's command; without it, it is left out"
    )
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--turns", type=int, default=40, help="of each sample, 5 events each")
    parser.add_argument("--kept", type=Path, help="where the recordings are made once and stay")
    given = parser.parse_args(arguments)
    for name in ("inspect", "phoenix", "kept"):
        if (path := getattr(given, name)) is not None:
            setattr(given, name, path.absolute())
    if find_spec("playwright") is None:
        parser.error("this needs playwright, and Chromium: pip install playwright")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
