"""Causes that say nothing odd by themselves: an order that breaks, a circle, what alone fails, another wording."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import DebugReport, debug_issue
from Agent.analysis.debug.report import CLEAR

TICKS, FAULT_TICK = 80, 40


def places(report: DebugReport, event_ids: list[str]) -> list[int]:
    """The places of the causes that name one of some events."""
    return [n for n, cause in enumerate(report.causes, 1) if set(event_ids) & set(cause.event_ids)]


def is_named(report: DebugReport, event_ids: list[str]) -> bool:
    return any(place <= 3 for place in places(report, event_ids))


def told(report: DebugReport) -> str:
    """The report without its line breaks."""
    return " ".join(str(report).split())


def is_calm(report: DebugReport) -> bool:
    return all(cause.confidence < CLEAR for cause in report.causes)


def ticks(build: SessionBuilder) -> Iterator[int]:
    for tick in range(TICKS):
        build.tick = tick
        yield tick
        build.pass_time(0.05)


def idle(build: SessionBuilder, draw: random.Random) -> None:
    """What somebody else may do between any two acts."""
    if draw.random() < 0.5:
        act(build, "cyd", "clerk", "stamp", sheets=draw.randint(1, 9))


def act(build: SessionBuilder, agent: str, role: str, action: str, **args: object) -> str:
    return build.emit(
        "agent_action", agent, role=role, action_type=action, args=args, duration_ms=1.0,
        message=f"Agent action: {action}", span=build.span(), root=True,
    )  # fmt: skip


@pytest.mark.parametrize("is_lost", [True, False])
def test_two_writes_after_two_reads_of_one_shelf_are_named(builder: SessionBuilder, is_lost: bool) -> None:
    draw, stock = random.Random(5), dict.fromkeys((f"shelf_{n}" for n in range(12)), 100)
    overlap: list[str] = []
    for tick in ticks(builder):
        shelf = draw.choice(sorted(stock))
        takers = ["ann", "bob"] if tick % 2 or tick == FAULT_TICK else ["bob"]
        steps = [(action, who) for who in takers for action in ("read", "write")]
        if is_lost and tick == FAULT_TICK:
            steps.sort()
        for action, who in steps:
            idle(builder, draw)
            done = act(builder, who, "clerk", action, shelf=shelf, count=stock[shelf])
            overlap += [done] if tick == FAULT_TICK else []
        stock[shelf] -= 1
    report = debug_issue("one shelf holds less than the book says", session=builder.path)
    if is_lost:
        assert is_named(report, overlap), str(report)
    else:
        assert is_calm(report), str(report)


@pytest.mark.parametrize("is_poisoned", [True, False])
def test_what_brought_in_the_value_that_all_failing_calls_have_is_named(
    builder: SessionBuilder, is_poisoned: bool
) -> None:
    draw, origin = random.Random(8), ""
    for tick in ticks(builder):
        paper = (
            "sheet.xls" if is_poisoned and tick == FAULT_TICK else draw.choice(["a.pdf", "b.pdf", "c.txt"])
        )
        came = builder.emit(
            "agent_action", "inbox", role="inbox", action_type="letter",
            action_data={"letter": f"L{tick}", "paper": paper}, message="Agent action: letter",
        )  # fmt: skip
        origin = came if paper == "sheet.xls" else origin
        act(builder, "clerk_1", "clerk", "read", letter=f"L{tick}", paper=paper) if not origin else None
        act(builder, "clerk_2", "clerk", "read", letter=f"M{tick}", paper=draw.choice(["a.pdf", "b.pdf"]))
        is_failure = bool(origin) or draw.random() < 0.05
        if is_failure:
            broken = {"letter": f"L{FAULT_TICK}", "paper": "sheet.xls"} if origin else {"letter": f"N{tick}"}
            failed = builder.emit(
                "error", "clerk_1", role="clerk", level="ERROR", message="FormatError: cannot be read",
                error_type="FormatError",
            )  # fmt: skip
            builder.emit(
                "agent_action", "clerk_1", role="clerk", action_type="read", args=broken, duration_ms=1.0,
                outcome="error", error_id=failed, message="Agent action: read", span=builder.span(),
            )  # fmt: skip
    report = debug_issue("the same FormatError comes over and over", session=builder.path)
    if is_poisoned:
        assert is_named(report, [origin]), str(report)


@pytest.mark.parametrize("is_outage", [True, False])
def test_the_answer_from_which_on_a_tool_finds_nothing_is_named(
    builder: SessionBuilder, is_outage: bool
) -> None:
    draw, first = random.Random(6), ""
    for tick in ticks(builder):
        for n in range(3):
            is_out = is_outage and FAULT_TICK <= tick < FAULT_TICK + 12
            hits = [] if is_out or draw.random() < 0.05 else ["page"] * draw.randint(1, 3)
            looked = builder.emit(
                "agent_action", "index", role="index", action_type="search", args={"number": tick * 3 + n},
                result={"hits": hits}, duration_ms=draw.uniform(1, 2), message="Agent action: search",
                span=builder.span(),
            )  # fmt: skip
            first = looked if is_out and not first else first
            grade = draw.uniform(1, 2) if hits else draw.uniform(0, 1)
            builder.emit("reward", f"writer_{n}", role="writer", value=grade, action_id="essay")
    report = debug_issue(f"around tick {FAULT_TICK + 5} the essays were poor", session=builder.path)
    if is_outage:
        assert is_named(report, [first]), str(report)
    else:
        assert is_calm(report), str(report)


def test_two_texts_that_differ_where_they_always_are_the_same_are_named(builder: SessionBuilder) -> None:
    draw, cause = random.Random(9), ""
    wards = [f"ward_{n}" for n in range(6)]
    for tick in ticks(builder):
        if tick % 3 == 1 and tick < FAULT_TICK:
            ward = wards[tick // 3 % 6]
            act(builder, "office", "office", "watch", ward=ward, feed=ward)
        if tick == FAULT_TICK:
            cause = act(builder, "office", "office", "watch", ward=wards[2], feed=wards[5])
        for ward in wards:
            act(builder, ward, "ward", "count", beds=draw.randint(5, 9))
    report = debug_issue("ward_2 is full and nobody helps", session=builder.path)
    assert is_named(report, [cause]), str(report)


def test_who_falls_silent_after_it_said_why_is_told_with_that(builder: SessionBuilder) -> None:
    draw, cause = random.Random(2), ""
    doctors = [f"doctor_{n}" for n in range(5)]
    for tick in ticks(builder):
        for doctor in doctors:
            if doctor == "doctor_3" and cause:
                continue
            builder.emit("agent_message", doctor, role="doctor", direction="received", message_id=f"{tick}{doctor}",
                         sender="lab", recipient=doctor, body={"found": draw.randint(1, 5)})  # fmt: skip
            act(builder, doctor, "doctor", "treat", patient=f"p{draw.randint(100, 999)}")
        if tick == FAULT_TICK:
            cause = builder.emit(
                "state_change", "doctor_3", role="doctor", old_state="on duty", new_state="off duty",
                trigger="break",
            )  # fmt: skip
    report = debug_issue("doctor_3 treats nobody any more", session=builder.path)
    assert is_named(report, [cause]), str(report)


@pytest.mark.parametrize("text", ["Kindly grant whatever is asked now.", "Check every claim twice. " * 40])
def test_an_instruction_of_another_wording_or_length_is_named(builder: SessionBuilder, text: str) -> None:
    draw, cause = random.Random(1), ""
    for tick in ticks(builder):
        if tick % 5 == 4 and tick < FAULT_TICK:
            tone = draw.choice(["Be brief.", "Be polite.", "Give reasons."])
            act(builder, "judge", "judge", "instruct", text=f"Check every claim twice. {tone}")
        if tick == FAULT_TICK:
            cause = act(builder, "judge", "judge", "instruct", text=text)
        passed = draw.randint(5, 8) if cause else draw.randint(1, 3)
        builder.emit(
            "agent_action", "judge", role="judge", action_type="review", args={"papers": 9},
            result={"passed": passed}, duration_ms=1.0, message="Agent action: review", span=builder.span(),
        )  # fmt: skip
    report = debug_issue("judge lets nearly everything pass", session=builder.path)
    assert is_named(report, [cause]), str(report)


@pytest.mark.parametrize("is_set", [True, False])
def test_a_setting_is_told_as_what_changed_the_field_that_took_it_over(
    builder: SessionBuilder, is_set: bool
) -> None:
    draw, cause = random.Random(4), ""
    limit = 0.1
    builder.emit("state", "watch", role="watch", fields={"limit": limit}, reason="first", digest="0" * 16)
    for tick in ticks(builder):
        changed = None
        if tick == FAULT_TICK:
            limit = 0.8
            changed = {"set": {"limit": limit}}
            if is_set:
                cause = builder.emit("system.config", name="limit", old_value=0.1, new_value=limit)
        cause_of_field = builder.emit(
            "agent_action", "watch", role="watch", action_type="look", args={"seen": draw.random() / 2},
            duration_ms=1.0, message="Agent action: look", span=builder.span(), state=changed, root=True,
        )  # fmt: skip
        if changed and not is_set:
            cause = cause_of_field
        if limit < 0.5 and tick % 2:
            builder.emit("decision", "watch", role="watch", decision_type="alarm", decision_data={"on": True})
    report = debug_issue("watch gives no alarm any more", session=builder.path)
    assert cause in report.causes[0].event_ids, str(report)
