"""What a notebook shows of a report: the blocks of the one renderer, bounded, recorded text as text."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from analysis_kit import SessionBuilder

from Agent import LogAnalyzer
from Agent.analysis import DebugReport
from Agent.analysis.debug.report import Cause
from Agent.render.blocks import Curve
from Agent.render.html import TextInNotebook, block_html
from Agent.replay import HistoryReport, Playback, ReplayReport, ReplayResult, play_run

HOSTILE = "<script>alert(1)</script>\x1b[31m"
MOST = 60_000


def checked(html):
    assert "<script" not in html and "\x1b" not in html
    assert "&lt;script&gt;" in html and len(html) < MOST
    return html


def test_a_debug_report_shows_its_causes():
    cause = Cause(HOSTILE, f"{HOSTILE}\nmore", (), (), (), 0.7)
    report = DebugReport(HOSTILE, "s", (cause,) * 5, (HOSTILE,), (), (), ("agent-trace analyze",))
    assert "0.70" in checked(report._repr_html_())


def test_a_journey_shows_its_first_events(builder: SessionBuilder):
    for _ in range(400):
        builder.emit("log", "a", message=HOSTILE * 100)
    html = checked(LogAnalyzer(builder.path).trace_agent_journey("a")._repr_html_())
    assert "350 more." in html


def test_a_playback_is_shown_without_its_end(builder: SessionBuilder):
    for _ in range(400):
        builder.emit("agent_action", "a", action_type=HOSTILE)
    checked(play_run(builder.path)._repr_html_())


def test_a_chart_has_its_look_without_a_style_sheet():
    drawn = block_html(Curve([0.0, 2.0, 1.0], ["0", "2", "1"], ("a", "b"), "reward"))
    assert 'fill="none"' in drawn.partition("<polyline")[2].partition(">")[0]
    assert drawn.count("<text") == drawn.count('fill="currentColor"')


@pytest.mark.parametrize("report", [HistoryReport, Playback, ReplayReport, ReplayResult])
def test_every_verdict_is_shown_in_a_notebook(report):
    assert issubclass(report, TextInNotebook)


def test_a_verdict_has_its_look_and_its_lines_a_limit():
    class Report(TextInNotebook):
        def __str__(self):
            return f"DIVERGED {HOSTILE}\n" + f"  {HOSTILE}\n" * 10_000

    assert '<p class="bad">DIVERGED' in checked(Report()._repr_html_())


def test_a_started_session_is_shown():
    from Agent.config.recording import RecordingSession

    session = RecordingSession("id", HOSTILE, HOSTILE, SimpleNamespace(level="INFO"))
    checked(session._repr_html_())


KERNEL = """
import json, sys, nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(f"from Agent import LogAnalyzer\\nLogAnalyzer({sys.argv[1]!r}).trace_agent_journey('a')")]
book = nbformat.v4.new_notebook(cells=cells)
NotebookClient(book, kernel_name="python3", timeout=60).execute()
print(json.dumps(book.cells[0].outputs[0]["data"]))
"""


@pytest.mark.integration
def test_a_kernel_shows_a_journey_as_html(builder: SessionBuilder):
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    builder.emit("log", "a", message=HOSTILE)
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(builder.path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "a: 1 event" in checked(json.loads(done.stdout.splitlines()[-1])["text/html"])
