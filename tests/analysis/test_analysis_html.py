"""The page about a session: whole, escaped, without a network, small."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from analysis_kit import START_US, WRITER, SessionBuilder

from Agent.analysis import LogAnalyzer, analyze_session
from Agent.analysis.questions.errors import journey_tail
from Agent.analysis.report.sections import error_sections
from Agent.analysis.report.session_report import session_page
from Agent.cli.main import main
from Agent.errors import InputError
from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.model import Event
from Agent.render.blocks import Bars, Curve, Grid, Words
from Agent.render.html import block_html
from Agent.render.layout import sections_text

VOID = {"meta"}


def page(path: Path) -> str:
    with LogAnalyzer(path) as log:
        return session_page(path, log.reader, log.engine)


class Read(HTMLParser):
    """The elements of a page, which must be properly nested, and the text that a reader sees."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


HOSTILE = "<script>alert(1)</script>\"' onload=x </style></title><img src=//evil.example/x> &amp; \u202e]]>"


def write_a_bit_of_everything(builder: SessionBuilder, name: str) -> None:
    builder.emit("agent_action", name, role=name, action_type=name, duration_ms=2.0, span=builder.span())
    builder.pass_time(1)
    builder.emit(
        "error", name, level="ERROR", message=name, error_type=name, error_message=name, traceback=name
    )
    for number in range(8):
        builder.pass_time(1)
        builder.emit("reward", name, reward=number / 3)
        builder.emit("training_step", name, metrics={name: number})
        builder.emit("metric", name, metric_name=name, value=number, unit=name)
    builder.emit("interaction", name, interaction_type=name, source_id=name, content_id=name)
    builder.emit("cascade", name, content_id=name, size=3, depth=2)
    builder.emit("agent_message", name, direction="sent", message_id="m", sender=name, recipient=name)
    builder.emit("phase", message=name, name=name)


def test_what_a_session_says_stays_text(builder: SessionBuilder) -> None:
    write_a_bit_of_everything(builder, HOSTILE)
    read = Read(page(builder.path))
    assert {name for name, _ in read.tags}.isdisjoint(
        {"script", "img", "iframe", "object", "link", "base", "form", "a"}
    )
    allowed = {
        "class", "viewbox", "role", "aria-label", "tabindex", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width",
        "height", "points", "text-anchor", "lang", "charset", "http-equiv", "content", "name",
        "fill", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    }  # fmt: skip
    assert {key for _, attributes in read.tags for key in attributes} <= allowed
    assert "<script>alert(1)</script>" in read.text
    assert "\u202e" not in read.text


@pytest.mark.integration
def test_a_notebook_shows_the_session_as_text(builder: SessionBuilder) -> None:
    write_a_bit_of_everything(builder, HOSTILE)
    shown = LogAnalyzer(builder.path)._repr_html_()
    assert shown == analyze_session(builder.path)._repr_html_()
    read = Read(shown)
    assert {name for name, _ in read.tags}.isdisjoint({"script", "img", "style", "a"})
    assert f"Session {builder.session_id}" in read.text and "<script>alert(1)</script>" in read.text


def test_what_was_recorded_begins_no_line_of_a_report(builder: SessionBuilder) -> None:
    forged = "lost\n  0 x  nothing was lost\u2028  0 x  nothing either"
    builder.emit("log", "a", message=forged)
    builder.emit("error", "a", level="ERROR", message=forged, error_type="E", error_message=forged)
    found = LogAnalyzer(builder.path).find_error_patterns()
    (row,) = found["fingerprints"]
    tail = journey_tail(LogAnalyzer(builder.path).reader, row)
    shown = sections_text(error_sections(found, [row], {row["example_id"]: tail}), 80)
    assert len(tail) == 2 and "nothing was lost" in shown
    assert not [line for line in shown.splitlines() if line.lstrip().startswith("0 x")]


def test_the_page_asks_no_network_and_says_so_to_the_browser(builder: SessionBuilder) -> None:
    write_a_bit_of_everything(builder, "plain")
    document = page(builder.path)
    read = Read(document)
    policies = [a["content"] for name, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies and "default-src 'none'" in str(policies[0]) and "script" not in str(policies[0])
    assert (
        not re.search(r"(?:https?:)?//\w", document) and "url(" not in document and "@import" not in document
    )
    assert str(builder.root) not in document


def test_every_section_says_what_is_in_the_session(builder: SessionBuilder) -> None:
    write_a_bit_of_everything(builder, "quill")
    text = Read(page(builder.path)).text
    for title in (
        "Activity over time",
        "Errors",
        "Agents",
        "Learning",
        "Performance",
        "Interactions",
        "Completeness",
    ):
        assert title in text
    assert re.search(r"1 error in 1 pattern", text)
    assert "8 rewards" in text and "total reward 9.333" in text


def test_an_empty_or_tiny_session_has_a_page_too(builder: SessionBuilder) -> None:
    builder.emit("log", None, message="one line")
    text = Read(page(builder.path)).text
    assert "None." in text and "Learning" not in text


@pytest.mark.integration
def test_a_thousand_agents_fit_into_a_page_that_can_be_mailed(
    builder: SessionBuilder, tmp_path: Path
) -> None:
    # all in one file, which takes less time to write than 1,200
    for seq in range(1, 2401):
        failed = seq % 2 == 0
        extra = {"agent_id": f"agent_{(seq - 1) // 2:04}", "agent_role": "worker"}
        extra |= {"error_type": f"E{seq % 60}"} if failed else {"action_type": "act", "duration_ms": 1.0}
        event = Event(
            format_timestamp(START_US + seq),
            f"{WRITER}-{seq}",
            1,
            "error" if failed else "agent_action",
            builder.session_id,
            level="ERROR" if failed else "INFO",
            message="word " * 1000,
            extra=extra | {"event_type": "error" if failed else "agent_action"},
        )
        builder.write_line(encode_event(event), "all")
    written = LogAnalyzer(builder.path).write_html(tmp_path / "report.html")
    assert written.stat().st_size < 1_000_000
    assert written.stat().st_mode & 0o777 == 0o600
    text = Read(written.read_text()).text
    assert "agent_0000" in text and "975 more agents" in text and "200 more agents are not shown" in text


def test_a_place_that_cannot_be_written_is_one_clear_error(builder: SessionBuilder, tmp_path: Path) -> None:
    builder.emit("log", "a")
    with pytest.raises(InputError, match="cannot be written"):
        LogAnalyzer(builder.path).write_html(tmp_path / "nowhere" / "report.html")
    assert list(tmp_path.glob("*.part")) == []


def test_the_command_writes_the_page(
    builder: SessionBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.emit("log", "a")
    target = tmp_path / "out.html"
    assert main(["analyze", str(builder.path), "--html", str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"{target} (")
    assert Read(target.read_text()).text


def test_what_a_block_says_is_escaped_printable_and_of_a_bounded_length() -> None:
    assert block_html(Words("<i>&\u202e", 'a"b')) == '<p class="a&#34;b">&lt;i&gt;&amp;\\u202e</p>'
    assert len(Read(block_html(Grid(("a",), [("x" * 1000,)]))).text) < 500
    assert len(Read(block_html(Words("x" * 1000, "code"))).text) == 1000


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [5.0, 5.0, 5.0], [-3.0, 1e9], [1e-12, 2e-12], [-7.0, -6.0], [100.0, 101.0]]
)
def test_a_curve_stays_inside_its_frame(values: list[float]) -> None:
    read = Read(block_html(Curve(values, ["tip"] * len(values), ("a", "b"), "c")))
    assert [0 <= float(a["cy"] or -1) <= 170 for name, a in read.tags if name == "circle"] == [True] * len(
        values
    )


def test_bars_are_as_high_as_their_numbers() -> None:
    read = Read(block_html(Bars([{"a": 1, "b": 3}, {}], ["a", "b"], ["", ""], ("x", "y"), "bars")))
    tall = {
        a["class"]: float(a["height"] or 0) for name, a in read.tags if name == "rect" and a["class"] != "hit"
    }
    assert tall["c1"] == pytest.approx(3 * tall["c0"], rel=0.01)
