"""The soak in small: the same processes, account and judgement, for some seconds."""

from pathlib import Path

import pytest
from sampling import slope, trend
from soak import Plan, run
from soak_processes import Bits, read_bits

pytestmark = pytest.mark.integration


def test_some_seconds_of_many_processes_lose_nothing(tmp_path):
    plan = Plan(
        seconds=8.0,
        processes=3,
        agents=40,
        rate=200.0,
        max_session_bytes=500_000,
        segment_size_bytes=4096,
        sample_s=0.5,
        analyze_s=5.0,
        resume_s=1.5,
        judge_growth=False,
    )
    soak = run(plan, tmp_path)
    assert soak.problems == []
    account = soak.report["account"]
    assert account["numbers_taken"] == account["read"] + account["retired"] > 3 * 8 * 50
    assert account["retired"] > 0
    assert account["followed"] > 0
    assert soak.report["follower"]["resumed"] >= 2
    assert {"step", "fail", "note", "message", "metric", "reward", "log"} <= set(account["made"])


def test_a_soak_whose_files_lack_an_event_is_told(tmp_path, monkeypatch):
    import soak as module

    def judge_what_is_left(soak: module.Soak) -> None:
        path = max((soak.session / "agents").glob("*.log"), key=lambda path: path.stat().st_size)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:2] + lines[3:]))
        judge(soak)

    judge = module._judge
    monkeypatch.setattr(module, "_judge", judge_what_is_left)
    plan = Plan(seconds=2.0, processes=1, agents=4, rate=100.0, sample_s=0.5, judge_growth=False)
    problems = run(plan, tmp_path).problems
    assert any("lost" in problem for problem in problems), problems


@pytest.mark.parametrize(("rise", "expected"), [(0.0, 0.0), (2.0, 150.0)])
def test_the_trend_is_that_of_the_last_three_quarters(rise, expected):
    warming = [(float(at), 1000.0 - at) for at in range(25)]
    then = [(float(at), 50.0 + rise * at) for at in range(25, 101)]
    assert trend(warming + then).growth == pytest.approx(expected)
    assert slope([1.0, 1.0], [3.0, 4.0]) == 0.0


def test_bits_hold_each_number_once(tmp_path: Path):
    bits = Bits(tmp_path / "a-k3v7q2ma.bits")
    assert [bits.add(number) for number in (7, 8, 8, 1_000_000)] == [True, True, False, True]
    assert read_bits(tmp_path, "a-") == {"k3v7q2ma": {7, 8, 1_000_000}}
