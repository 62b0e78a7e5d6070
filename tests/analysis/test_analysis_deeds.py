"""Of a large session a part is read: whole for those whom the text names, an even sample of all else."""

from __future__ import annotations

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import deeds
from Agent.analysis.deeds import Deeds, Steps, read_deeds
from Agent.analysis.engine import open_engine
from Agent.analysis.held_lines import held_lines
from Agent.analysis.views import whole_lines

TICKS = 60


@pytest.fixture
def session(builder: SessionBuilder) -> SessionBuilder:
    """Ten clerks that stamp every tick, and letters to them of which the last of each is never received."""
    for tick in range(TICKS):
        builder.tick = tick
        for n in range(10):
            builder.emit("agent_action", f"clerk_{n}", role="clerk", action_type="stamp", args={"sheets": n})
        letter = {"message_id": f"m{tick}", "sender": "desk", "recipient": f"clerk_{tick % 10}", "body": {}}
        builder.emit("agent_message", "desk", role="desk", direction="sent", **letter)
        if tick < TICKS - 10:
            builder.emit("agent_message", f"clerk_{tick % 10}", role="clerk", direction="received", **letter)
        builder.emit("resource", name="memory", value=tick)
        builder.pass_time(0.1)
    return builder


def read(session: SessionBuilder, focus: list[str], *, is_held: bool) -> Deeds:
    engine = open_engine(session.path)
    steps = Steps(by_tick=True, first=0, width=1, count=TICKS)
    try:
        if not is_held:
            return read_deeds(engine, whole_lines(), steps, focus)
        with held_lines(engine, 1) as lines:
            return read_deeds(engine, lines, steps, focus)
    finally:
        engine.close()


@pytest.mark.parametrize("most", [deeds.MAX_OF_SORT, 50])
def test_held_lines_and_lines_of_files_give_the_same_events(
    session: SessionBuilder, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(deeds, "MAX_OF_SORT", most)
    held, files = (read(session, ["clerk_3"], is_held=each) for each in (True, False))
    assert held == files
    assert held.sampled is (most == 50)
    assert held.lost == {f"m{tick}" for tick in range(TICKS - 10, TICKS)}


def test_who_is_named_is_read_whole_and_of_the_others_an_even_sample_to_the_end(
    session: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deeds, "MAX_OF_SORT", 50)
    monkeypatch.setattr(deeds, "FEWEST_OF_SORT", 10)
    monkeypatch.setattr(deeds, "MAX_EVENTS", 300)
    found = read(session, ["clerk_3"], is_held=True).all
    stamps = [deed for deed in found if deed.label == "stamp"]
    assert sum(deed.agent == "clerk_3" for deed in stamps) == TICKS
    assert {deed.extra["message_id"] for deed in found if deed.extra.get("recipient") == "clerk_3"} == {
        f"m{tick}" for tick in range(3, TICKS, 10)
    }
    others = [deed.step for deed in stamps if deed.agent != "clerk_3"]
    assert 10 <= len(others) < 100
    assert min(others) < 10 and max(others) >= TICKS - 10
