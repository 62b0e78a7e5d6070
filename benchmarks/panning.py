"""How smoothly the pages of a large session move: `python -m benchmarks.panning ROOT...`.

A page in headless Chromium shows the newest session of each trace root, such as those that `benchmarks.view` makes with
`--make-large` and `--make-small`. It is panned for 20 s by the wheel, once a frame; scrubbed to 200 moments; and shown
1,000 other windows. Script and paint of a frame are all tasks of the renderer's main thread between two frames, as
Chromium's trace has them; a scrub lasts from the pointer's press until every pane has its answer and is drawn. The heap
is read after a collection, with the array buffers beside it.

Options: `--seconds N`, `--windows N`.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row
from benchmarks.view import percentile
from benchmarks.viewers import CHROMIUM, PATIENCE_MS, memory_mb, pages_of

SCRUBS = 200
HEAPS = 5
"""How often the heap is read while windows are shown."""
COUNTING = """(() => {
    new MutationObserver((_, watching) => {
        if (document.querySelector('.label') === null) return;
        watching.disconnect();
        requestAnimationFrame(() => window.firstLanes = performance.timeOrigin + performance.now());
    }).observe(document, {childList: true, subtree: true});
    const asked = window.fetch;
    window.pending = 0;
    window.fetch = async (...given) => {
        window.pending++;
        try { return await asked(...given); } finally { window.pending--; }
    };
    const frame = () => new Promise(done => requestAnimationFrame(done));
    window.settled = async () => {
        for (let still = 0; still < 2;) {
            await frame();
            still = window.pending === 0 ? still + 1 : 0;
        }
    };
    window.press = (selector, share, up = true) => {
        const target = document.querySelector(selector), box = target.getBoundingClientRect();
        const how = {bubbles: true, pointerId: 1, clientX: box.left + share * box.width, clientY: box.top + 10};
        target.setPointerCapture = () => undefined;
        target.dispatchEvent(new PointerEvent('pointerdown', how));
        if (up) target.dispatchEvent(new PointerEvent('pointerup', how));
    };
})()"""
FIRST_LANES = """async () => {
    while (window.firstLanes === undefined) await new Promise(requestAnimationFrame);
    return window.firstLanes;
}"""
PANNING = """async seconds => {
    const plot = document.querySelector('.plot'), times = [];
    const ends = performance.now() + 1000 * seconds;
    let speed = 24;
    for (let now = 0; now < ends; times.push(now)) {
        now = await new Promise(done => requestAnimationFrame(done));
        if (times.length % 300 === 299) speed = -speed;
        plot.dispatchEvent(new WheelEvent('wheel', {deltaX: speed, bubbles: true, cancelable: true}));
    }
    return times;
}"""
SCRUBBING = """async shares => {
    const took = [];
    for (const share of shares) {
        const began = performance.now();
        window.press('.marks', share);
        await window.settled();
        took.push(performance.now() - began);
    }
    return took;
}"""
WINDOWS = """async shares => {
    for (const share of shares) {
        window.press('.minimap', share);
        await new Promise(done => setTimeout(done, 80));
        await window.settled();
    }
}"""


def traced(browser: Any, page: Any, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Pan; return the intervals between frames, and how long the tasks of each took by the clock and the processor."""
    browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
    times = page.evaluate(PANNING, seconds)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    begun = [each for each in events if each["name"] == "FireAnimationFrame"]
    thread = max(
        {(each["pid"], each["tid"]) for each in begun},
        key=lambda key: sum((e["pid"], e["tid"]) == key for e in begun),
    )
    starts = sorted(each["ts"] for each in begun if (each["pid"], each["tid"]) == thread)
    clock_ms, processor_ms = [0.0] * len(starts), [0.0] * len(starts)
    for each in events:
        is_task = each["name"].endswith("RunTask") and each.get("ph") == "X"
        if not is_task or (each["pid"], each["tid"]) != thread:
            continue
        # The task that fires a frame belongs to it.
        frame = bisect.bisect_right(starts, each["ts"] + each["dur"]) - 1
        if frame >= 0:
            clock_ms[frame] += each["dur"] / 1_000
            processor_ms[frame] += each.get("tdur", 0) / 1_000
    return [b - a for a, b in itertools.pairwise(times)], clock_ms, processor_ms


def shares(count: int) -> list[float]:
    """Places all over a line, in an order without a pattern that an eye would see."""
    return [0.02 + 0.96 * (number * 0.618034 % 1) for number in range(1, count + 1)]


def heap_mb(tools: Any) -> tuple[float, float]:
    """The heap after a collection, and the array buffers beside it."""
    tools.send("HeapProfiler.collectGarbage")
    told = tools.send("Runtime.getHeapUsage")
    return told["usedSize"] / 1e6, told.get("backingStorageSize", 0) / 1e6


def measure_root(playwright: Any, root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Open the newest session of a root, move in it, and read the memories."""
    with pages_of(root).served() as (url, pid):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(COUNTING)
        began = time.time()
        page.goto(url, wait_until="commit")
        page.locator(".label").first.wait_for()
        # By the page's own clock: a locator looks again only after 0.1 s, 0.5 s and so on.
        found: dict[str, Any] = {"first_lanes_s": page.evaluate(FIRST_LANES) / 1000 - began}
        page.get_by_text("reading the session").first.wait_for(state="hidden")
        page.locator(".card.pending").first.wait_for(
            state="hidden"
        )  # its child process would be part of the figures
        page.locator(".verdict").wait_for()
        said = page.locator(".verdict").inner_text()
        found["events"] = int(said.split(" events")[0].split()[-1].replace(",", ""))
        page.locator(".label").nth(1).click()
        for _ in range(3):
            page.keyboard.press("+")
        page.evaluate("window.settled()")
        tools = page.context.new_cdp_session(page)
        intervals, clock_ms, processor_ms = traced(browser, page, given.seconds)
        found |= {
            "frames": len(intervals),
            "frame_p95_ms": percentile(clock_ms, 0.95),
            "frame_processor_p95_ms": percentile(processor_ms, 0.95),
            "interval_p95_ms": percentile(intervals, 0.95),
            "late_percent": 100 * sum(each > 25 for each in intervals) / len(intervals),
        }
        progress(f"{root.name}: panned, {json.dumps(found)}")
        page.evaluate("window.settled()")
        took = page.evaluate(SCRUBBING, shares(SCRUBS))
        found |= {"scrub_p50_ms": percentile(took, 0.5), "scrub_p95_ms": percentile(took, 0.95)}
        heaps = [heap_mb(tools)]
        for _ in range(HEAPS):
            page.evaluate(WINDOWS, shares(given.windows // HEAPS))
            heaps.append(heap_mb(tools))
            progress(f"{root.name}: heap {heaps[-1][0]:.1f} MB, buffers {heaps[-1][1]:.1f} MB")
        found |= {"heaps_mb": heaps, "server_mb": memory_mb(pid)}
        browser.close()
    return found


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from playwright.sync_api import sync_playwright

    report = Report()
    with sync_playwright() as playwright:
        for root in given.roots:
            report.figures[root.name] = found = measure_root(playwright, root, given)
            found["load"] = os.getloadavg()[0]
            report.rows += budgets(f"{root.name}, {found['events']:,} events", found)
            told = ", ".join(f"{heap:.1f}" for heap, _ in found["heaps_mb"])
            report.notes.append(
                f"{root.name}: heap over {given.windows:,} windows {told} MB; load {found['load']:.0f}"
            )
    return report


def budgets(name: str, found: dict[str, Any]) -> list[Row]:
    heaps = [sum(each) for each in found["heaps_mb"]]
    most_mb = 150 + 50 * found["events"] / 1e6
    rows = (
        ("first lanes", found["first_lanes_s"], "", 1.0, "s"),
        ("script and paint of a frame, p95", found["frame_p95_ms"], f"processor {found['frame_processor_p95_ms']:.1f} ms", 8, "ms"),
        ("intervals above 25 ms", found["late_percent"], f"p95 {found['interval_p95_ms']:.1f} ms", 2, "%"),
        ("scrub, p95", found["scrub_p95_ms"], f"p50 {found['scrub_p50_ms']:.0f} ms", 100, "ms"),
        ("heap and buffers, most", max(heaps), "", 150, "MB"),
        ("heap and buffers, growth after the first fifth", heaps[-1] - heaps[1], "", 5, "MB"),
        ("server", found["server_mb"], "", most_mb, "MB"),
    )  # fmt: skip
    return [
        Row(f"{what}: {name}", f"{figure:.1f} {unit}", beside, f"<= {most:.0f} {unit}", figure <= most)
        for what, figure, beside, most, unit in rows
    ]


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.panning", __doc__.partition("\n")[0])
    parser.add_argument("roots", nargs="+", type=Path, metavar="ROOT", help="a trace root")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--windows", type=int, default=1_000)
    given = parser.parse_args(arguments)
    given.roots = [root.absolute() for root in given.roots]
    if find_spec("playwright") is None:
        parser.error("this needs playwright, and Chromium: pip install playwright")
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
