"""A thing that a text names by its number is followed through the events that name it, in whatever form."""

from __future__ import annotations

import re

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import DebugReport
from Agent.analysis.debug.debug_issue import debug_issue
from Agent.analysis.debug.question import MAX_NAMED, events_naming, pattern_of, read_question, things_in
from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import whole_lines

BOOKS, SHEETS, LOST = 60, 4, (33, 2)


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("book_030 was never finished", {("book", "30")}),
        ("what became of Book 30?", {("book", "30")}),
        ("order #37 and doc-0261.pdf are gone", {("order", "37"), ("doc", "261", "pdf")}),
        ("nothing happens after 3 hours at tick 40, since 07:20", set()),
        ("it fails 3 times", {("fails", "3")}),
        ("nobody is named", set()),
    ],
)
def test_names_with_a_number_are_things(text: str, things: set[tuple[str, ...]]) -> None:
    assert set(things_in(text)) == things


@pytest.mark.parametrize(
    ("said", "is_named"),
    [
        ('{"book":"book_030"}', True),
        ('{"book":30}', True),
        ('{"book_id": "30"}', True),
        ("book-30 came in", True),
        ('{"book":300}', False),
        ('{"book":130}', False),
        ('{"notebook":30}', False),
        ('{"book":"x","page":30}', False),
    ],
)
def test_a_thing_is_known_in_every_form_of_its_name_and_in_no_other(said: str, is_named: bool) -> None:
    assert bool(re.search(pattern_of(("book", "30")), said)) is is_named


def press(builder: SessionBuilder, lost: tuple[int, int] | None) -> str:
    """Books whose sheets go to printers and on to a binder; of one book a sheet may never arrive."""
    missing = ""
    for book in range(BOOKS):
        builder.tick = book
        name = f"book_{book:03d}"
        arrived = 0
        for sheet in range(SHEETS):
            letter = {
                "message_id": f"{book}-{sheet}", "sender": "desk", "recipient": f"printer_{sheet}",
                "body": {"book": name, "sheet": sheet},
            }  # fmt: skip
            sent = builder.emit("agent_message", "desk", role="desk", direction="sent", **letter)
            if (book, sheet) == lost:
                missing = sent
                continue
            builder.emit("agent_message", f"printer_{sheet}", role="printer", direction="received", **letter)
            builder.emit(
                "agent_action", f"printer_{sheet}", role="printer", action_type="print",
                args={"book": name}, duration_ms=1.0,
            )  # fmt: skip
            arrived += 1
        if arrived == SHEETS:
            builder.emit("agent_action", "binder", role="binder", action_type="bind", args={"book": name})
        builder.pass_time(0.05)
    for tick in range(BOOKS, BOOKS + 12):
        builder.tick = tick  # no more orders come, and nobody binds any more
        for sheet in range(SHEETS):
            builder.emit("agent_action", f"printer_{sheet}", role="printer", action_type="rest")
        builder.pass_time(0.05)
    return missing


def place(report: DebugReport, event_id: str) -> int | None:
    places = (n for n, cause in enumerate(report.causes, 1) if event_id in cause.event_ids)
    return next(places, None)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("text", "most"), [("book_033 was never finished", 1), ("why is book 33 not bound?", 2)]
)
def test_the_lost_message_about_the_thing_is_among_the_first_causes_though_all_work_ends_later(
    builder: SessionBuilder, text: str, most: int
) -> None:
    missing = press(builder, LOST)
    report = debug_issue(text, session=builder.path)
    assert (place(report, missing) or most + 1) <= most, str(report)


def test_what_too_many_events_name_says_nothing(builder: SessionBuilder) -> None:
    for n in range(MAX_NAMED + 1):
        builder.emit("log", "a", message=f"line 7 of {n}")
    builder.emit("log", "a", message="part 8")
    engine = open_engine(builder.path)
    try:
        assert events_naming(engine, whole_lines(), (("line", "7"),)) == ()
        assert [each.seq for each in events_naming(engine, whole_lines(), (("part", "8"),))] == [
            MAX_NAMED + 2
        ]
    finally:
        engine.close()


def test_what_is_too_long_for_a_name_is_none(builder: SessionBuilder) -> None:
    builder.emit("log", "a", message="order_37 came in")
    digits = "9" * 6000
    assert things_in(f"order_{digits} and order 037") == (("order", "37"),)
    assert read_question(f"creator_{digits} is lost", {"creator_1": None}, []).agents == ()
    assert debug_issue(f"order_{digits} is lost", session=builder.path).issue.endswith("is lost")
