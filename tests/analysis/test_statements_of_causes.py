"""What `debug` says about a session is true of it: rates, ranges, counts, times and places."""

from __future__ import annotations

from test_root_causes import Diary, found

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.analysis import debug_issue
from Agent.analysis.debug.root_causes.acts import RANDOM_ID
from Agent.analysis.debug.root_causes.causes import cause_of
from Agent.analysis.debug.root_causes.detectors import follow_ups, relations, values
from Agent.analysis.debug.root_causes.ranking import ChainStep, Hypothesis
from Agent.analysis.debug.root_causes.scan import Finding, scan_novel
from Agent.analysis.debug.root_causes.wording import Wording


def test_a_rate_is_that_of_one_tick_however_many_ticks_are_counted_together() -> None:
    diary = Diary()
    for tick in range(500):  # over 120 ticks, several make one slice
        diary.write(tick, "clock", action_type="tick")
        for _ in range(2 if tick < 250 else 0):
            diary.write(tick, "pump", action_type="push")
    (first, *_) = [each for each in found(values.find_rates, diary, "rate changes") if each.about == "push"]
    assert (first.usual, first.found) == (2.0, 0.0)
    assert Wording(diary.log()).finding(first) == "no push from tick 250 on (2 per tick before)"


def test_the_last_digit_of_a_counter_says_nothing() -> None:
    def diary(step: int) -> Diary:
        written = Diary()
        for n in range(200):
            late = 10 * round((n * 7 % 31) + 1) if n >= 100 else (n * 7 % 31) + 1
            written.write(n, "a", action_type="x", number=10 * n if n >= 100 else n, amount=late * step)
        return written

    assert {each.about for each in found(values.find, diary(1), "rounded")} == {"x amount"}


def test_two_values_that_recur_together_are_no_distance_from_the_tick() -> None:
    diary = Diary()
    for n in range(40):
        tick = 0 if n < 20 else n
        diary.write(tick, "table", action_type="put", percent=0.2 if n < 20 else 0.3 + n % 7)
    assert not [each for each in found(relations.find, diary, "amounts part") if each.beside is not None]


def test_a_random_id_numbers_nothing() -> None:
    """Two recordings of one program differ in such ids, and must get the same causes."""
    assert all(map(RANDOM_ID.match, ("7be5fa2900000001", "148e521a00000036", "9f0c1d2e-0001")))
    assert not any(
        map(RANDOM_ID.match, ("P-058", "order_0250", "2026-11-29", "bay-01ac", "00000036", "deadbeef"))
    )


def test_a_value_that_is_rare_is_not_listed_among_the_usual_ones() -> None:
    diary = Diary()
    for n in range(40):
        diary.write(n, "a", action_type="x", arm="scout" if n in {7, 30} else "mine")
    log = diary.log()
    log.acts[30].near = 1.0
    seen = values.columns(log.acts, log.roles)["arm"]
    (rare,) = [each for each in scan_novel("new value", "x arm", seen) if each.local]
    assert Wording(log).finding(rare) == "arm of x is scout at tick 30, as it rarely is (mostly: mine)"


def test_a_later_event_of_a_finding_is_told_with_its_own_time() -> None:
    diary = Diary()
    for n in range(10):
        diary.write(n, "a", action_type="x", n=n + 1)
    log = diary.log()
    fails = Finding("fails", "x", [log.acts[2], log.acts[7]], 9.0)
    step = ChainStep(log.acts[7], fails, "link")
    cause = cause_of(Hypothesis([log.acts[1]], [], 1.0, 0.5, [step]), Wording(log))
    assert cause.title == "a: called x (n 2) at tick 1; therefore x fails at tick 7"


def test_a_change_of_state_to_what_it_was_is_none() -> None:
    diary = Diary()
    for n in range(3):
        zone = {"zone": n}
        diary.write(n, "office", kind="state_change", old_state=zone, new_state=zone)
    log = diary.log()
    assert Wording(log).sentence(log.acts[1], None) == "office: left zone unchanged at tick 1"


def test_what_is_missing_is_told_of_the_thing_that_lacks_it() -> None:
    diary = Diary()
    for n in range(60):
        for name in ("label", "analyse") if n != 40 else ("label",):
            diary.write(n, "lab", action_type=name, tube=f"tube_{n:03}")
    for n in range(60, 70):
        diary.write(n, "lab", action_type="rest")
    (first, *_) = found(follow_ups.find, diary, "follow-up missing")
    told = Wording(diary.log()).finding(first)
    assert told == "no analyse follows label with tube tube_040 at tick 40 (it does in 59 of 60)"


def test_errors_that_an_agent_logged_are_counted_as_its_errors(tmp_path) -> None:
    setup_logging(trace_root=tmp_path)
    town = AgentLogger("town_2", "town")
    for n in range(6):
        town.log_action("consume", {"volt": 230 - n})
    town.error("no voltage")
    shutdown_logging()
    said = " ".join(debug_issue("town_2 has no voltage", root=tmp_path).observations)
    assert 'town_2 has 1 error "no voltage", last at' in said


def test_peers_that_did_something_equally_often_are_told_by_one_number(tmp_path) -> None:
    setup_logging(trace_root=tmp_path)
    bots = [AgentLogger(f"bot_{n}", "bot") for n in range(4)]
    for _ in range(12):
        for bot in bots:
            bot.log_action("work")
    shutdown_logging()
    said = " ".join(debug_issue("bot_1 does little work", root=tmp_path).observations)
    assert "its 3 peers 12 times each" in said
