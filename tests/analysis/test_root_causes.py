"""Relations that break, wherever they break: the scan, the detectors, and the way from them to a cause."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import debug_issue
from Agent.analysis.debug.question import read_question
from Agent.analysis.debug.root_causes import scan
from Agent.analysis.debug.root_causes.acts import Log, read_acts
from Agent.analysis.debug.root_causes.causes import DETECTORS, cause_of, findings_in
from Agent.analysis.debug.root_causes.detectors import follow_ups, relations, values
from Agent.analysis.debug.root_causes.measures import surprises
from Agent.analysis.debug.root_causes.ranking import ChainStep, Hypothesis, _oddness, findings_by_place, rank
from Agent.analysis.debug.root_causes.reading import Axis, steps
from Agent.analysis.debug.root_causes.scan import (
    Finding,
    Observation,
    scan_beyond,
    scan_counts,
    scan_drifts,
    scan_lone,
    scan_novel,
    scan_numbers,
    scan_rare,
)
from Agent.analysis.debug.root_causes.symptoms import Issue, walk
from Agent.analysis.debug.root_causes.wording import Wording, _noun

STEPS, BREAK = 60, 30


class Diary:
    """Rows of events put together by hand."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(
        self, step: int, agent: str, kind: str = "agent_action", state: Any = None, **extra: Any
    ) -> str:
        place = len(self.rows)
        self.rows.append(
            {
                "id": f"e-{place}", "ts_us": place, "tick": step, "agent_id": agent, "event_type": kind,
                "agent_role": agent.rstrip("0123456789"), "message": "", "level": "INFO", "extra": extra,
                "state": state, "span_id": None, "parent_span_id": None, "causes": [],
            }
        )  # fmt: skip
        return f"e-{place}"

    def log(self) -> Log:
        return read_acts(self.rows, lambda row: row["tick"])


def observed(made: list[tuple[int, str, Any]], **extra: Any) -> list[Observation]:
    diary = Diary()
    for step, agent, _ in made:
        diary.write(step, agent, action_type="x", **extra)
    return [Observation(act, value) for act, (_, _, value) in zip(diary.log().acts, made, strict=True)]


def found(find: Callable[[Log], Iterator[Finding]], diary: Diary, rule: str) -> list[Finding]:
    every = [each for each in find(diary.log()) if each.rule == rule]
    return sorted(every, key=lambda each: -each.nats)


def test_what_breaks_a_rule_for_one_agent_begins_where_it_begins_and_is_its_own() -> None:
    seen = observed([(n, f"a{k}", k == 2 and n >= BREAK) for n in range(STEPS) for k in range(5)])
    (best, *_) = scan_rare("rule", "x", seen)
    assert (best.step, best.group) == (BREAK, (("agent", "a2"),))
    assert best.nats > 20


def test_what_always_was_so_breaks_no_rule() -> None:
    always = observed([(n, f"a{k}", k == 2) for n in range(STEPS) for k in range(5)])
    now_and_then = observed([(n, f"a{k}", (7 * n + k) % 20 == 0) for n in range(STEPS) for k in range(5)])
    assert scan_rare("rule", "x", always) == []
    assert all(each.nats < 5 for each in scan_rare("rule", "x", now_and_then))


def test_one_violation_weighs_as_much_as_there_was_past_without_one() -> None:
    few = scan_rare("rule", "x", observed([(n, "a", n == 9) for n in range(10)]))
    many = scan_rare("rule", "x", observed([(n, "a", n == 400) for n in range(500)]))
    assert 0 < few[0].nats < 4 < many[0].nats < 8


def test_a_new_value_is_surprising_where_new_ones_had_ceased_to_come() -> None:
    settled = observed([(n, "a", "b" if n == 50 else "a") for n in range(STEPS)])
    fresh = observed([(n, "a", f"v{n}") for n in range(STEPS)])
    assert scan_novel("new", "x", settled)[0].found == "b"
    assert scan_novel("new", "x", fresh) == []


def test_a_number_far_beyond_the_range_is_found_and_a_series_that_keeps_rising_is_not() -> None:
    draw = random.Random(3)
    far = observed([(n, "a", 40.0 if n == 40 else draw.uniform(1, 5)) for n in range(STEPS)])
    rising = observed([(n, "a", n + draw.random()) for n in range(STEPS)])
    assert scan_beyond("far", "x", far)[0].step == 40
    assert all(each.nats < 4 for each in scan_beyond("far", "x", rising))


@pytest.mark.parametrize(("lone", "value"), [(0, 40), (2, 1), (1, 3), (5, 40)])
def test_a_number_that_only_one_of_the_first_events_has_is_found(lone: int, value: int) -> None:
    lonely = scan_lone("far", "x", observed([(n, "a", value if n == lone else 3) for n in range(9)]))
    # `scan_beyond` finds those that three others come before.
    assert [(each.step, each.found, each.usual) for each in lonely] == (
        [(lone, value, (3, 3))] if value != 3 and lone < 3 else []
    )


def test_a_level_that_shifts_for_one_is_found_and_what_all_do_or_what_creeps_is_not() -> None:
    draw = random.Random(4)

    def series(level: Callable[[int, int], float]) -> dict[str, list[Observation]]:
        return {
            f"a{k}": observed([(n, f"a{k}", draw.gauss(level(k, n), 1.0)) for n in range(STEPS)])
            for k in range(6)
        }

    (best, *_) = scan_numbers("level", "x", series(lambda k, n: 8.0 if k == 3 and n >= BREAK else 2.0))
    assert best.group == (("agent", "a3"),)
    assert abs(best.step - BREAK) <= 1
    assert scan_numbers("level", "x", series(lambda _, n: 8.0 if n >= BREAK else 2.0)) == []
    assert (
        scan_numbers("level", "x", {"a": observed([(n, "a", n / 5 + draw.random()) for n in range(STEPS)])})
        == []
    )


def test_who_stops_is_found_beside_those_who_go_on() -> None:
    series = {f"a{k}": [0 if k == 1 and n >= BREAK else 2 for n in range(STEPS)] for k in range(5)}
    seen = observed([(n, "a1", 0) for n in range(STEPS)])
    (best, *_) = scan_counts("rate", "x", series, lambda _, n: seen[n].act)
    assert (best.group, best.step, best.found) == ((("agent", "a1"),), BREAK, 0)


@pytest.mark.parametrize("is_broken", [True, False])
def test_what_always_follows_about_a_thing_is_missed(is_broken: bool) -> None:
    diary, number = Diary(), 0
    for step in range(STEPS):
        for k in range(4):
            diary.write(step, f"a{k}", action_type="take", args={"tool": f"t{number}"})
            if not (is_broken and k == 2 and step >= BREAK):
                diary.write(step, f"a{k}", action_type="hand_back", args={"tool": f"t{number}"})
            number += 1
    missing = found(follow_ups.find, diary, "follow-up missing")
    assert bool(missing) is is_broken
    assert not is_broken or (missing[0].step, missing[0].first.agent) == (BREAK, "a2")


@pytest.mark.parametrize(("keeper", "times"), [(2, 1), (2, 12), (None, 0)])
def test_what_an_agent_leaves_open_is_found_without_the_name_of_a_thing(
    keeper: int | None, times: int
) -> None:
    diary = Diary()
    for step in range(STEPS):
        for k in range(4):
            diary.write(step, f"a{k}", action_type="ask")
            diary.write(step, f"a{k}", action_type="take")
            if not (k == keeper and BREAK <= step < BREAK + times):
                diary.write(step, f"a{k}", action_type="hand_back")
    left = found(follow_ups.find, diary, "left open")
    assert [(each.step, each.first.agent, each.about, each.found) for each in left[:1]] == (
        [] if keeper is None else [(BREAK, "a2", "take -> hand_back", times)]
    )


def test_an_agent_that_stops_leaves_nothing_open() -> None:
    diary = Diary()
    for step in range(STEPS):
        for k in range(4):
            if k != 2 or step < BREAK:
                diary.write(step, f"a{k}", action_type="hand_back")
                diary.write(step, f"a{k}", action_type="take")
    assert found(follow_ups.find, diary, "left open") == []


@pytest.mark.parametrize("is_twice", [True, False])
def test_what_comes_once_a_thing_and_comes_again_is_found(is_twice: bool) -> None:
    diary = Diary()
    for step in range(300):
        diary.write(step // 5, "desk", action_type="pay", args={"bill": f"b{step}"})
        if is_twice and step == 200:
            diary.write(step // 5, "desk", action_type="pay", args={"bill": f"b{step}"})
    again = found(follow_ups.find, diary, "happens again")
    assert [each.step for each in again[:1]] == ([40] if is_twice else [])


def test_a_few_things_that_come_round_again_are_not_repeated() -> None:
    diary = Diary()
    for step in range(300):
        diary.write(step // 5, "desk", action_type="lend", args={"book": f"b{step % 160}"})
    assert found(follow_ups.find, diary, "happens again") == []


def test_two_numbers_that_are_equal_in_every_event_and_then_part_are_found() -> None:
    diary = Diary()
    for step in range(STEPS):
        for k in range(3):
            real = 100 + 7 * step + k
            read = real + 12 if k == 1 and step >= BREAK else real
            diary.write(step, f"a{k}", action_type="weigh", args={"real": real}, result={"read": read})
    (first, *_) = found(relations.find, diary, "amounts part")
    assert (first.step, first.group) == (BREAK, (("agent", "a1"),))


@pytest.mark.parametrize("since", [STEPS // 2, STEPS])
def test_two_numbers_that_were_equal_and_part_for_good_are_found(since: int) -> None:
    diary = Diary()
    for step in range(STEPS):
        due = 31 + 17 * step % 90
        diary.write(
            step, "desk", action_type="book", due=due, booked=due - 1 - due % 7 if step >= since else due
        )
    parted = found(relations.find, diary, "amounts part")
    assert [each.step for each in parted[:1]] == ([since] if since < STEPS else [])


@pytest.mark.parametrize("usual", [0, 21, -3])
@pytest.mark.parametrize("odd", [BREAK, None])
def test_a_time_that_is_not_as_far_from_its_event_as_the_others_is_found(usual: int, odd: int | None) -> None:
    diary = Diary()
    for step in range(STEPS):
        due = step + (usual + 5 if step == odd else usual)
        diary.write(step, f"desk{step % 3}", action_type="lend", args={"book": f"b-{step % 17}", "due": due})
    log = diary.log()
    parted = [each for each in relations.find(log) if each.rule == "amounts part" and not each.local]
    assert {each.step for each in parted} == ({odd} if odd is not None else set())
    if odd is not None:
        apart = {0: "", 21: " + 21", -3: " - 3"}[usual]
        told = f"desk0: lend has due {odd + usual + 5} at tick {odd}; in 59 of 60 such events due is the tick{apart}"
        assert Wording(log).sentence(parted[0].first, parted[0]) == told


def test_failures_begin_where_they_begin() -> None:
    diary = Diary()
    for step in range(STEPS):
        for k in range(4):
            failed = {"outcome": "error"} if k == 1 and step >= BREAK else {}
            diary.write(step, f"a{k}", action_type="read", **failed)
    (first, *_) = found(values.find_rates, diary, "fails")
    assert (first.step, first.group) == (BREAK, (("agent", "a1"),))


@pytest.mark.parametrize("is_broken", [True, False])
def test_what_follows_one_guest_does_not_count_for_the_next_one_in_the_same_bed(is_broken: bool) -> None:
    diary = Diary()
    for step in range(STEPS):
        ward = step % 4
        bed = f"{ward}-{step // 4 % 5}"
        diary.write(step, "nurse", action_type="leave", args={"guest": f"g{step}", "bed": bed})
        if not (is_broken and ward == 2 and step >= BREAK):
            diary.write(step, "cleaner", action_type="clean", args={"bed": bed})
    missing = found(follow_ups.find, diary, "follow-up missing")
    assert bool(missing) is is_broken
    if is_broken:
        assert missing[0].step == BREAK
        assert dict(missing[0].group).get("args.bed~0") == "2"


def test_keys_that_name_things_are_one_field_and_link_to_the_events_about_these_things() -> None:
    diary = Diary()
    for step in range(STEPS):
        drug = ("morphine", "heparin", "insulin", "digoxin")[step % 4]
        diary.write(step, "ward", action_type="give", args={"drug": drug})
        diary.write(
            step, "store", "state_change", old_state={f"level.{drug}": 4}, new_state={f"level.{drug}": 5}
        )
    log = diary.log()
    changed = [act for act in log.acts if act.kind == "state_change"]
    assert {act.name for act in changed} == {"new_state.level.*"}
    assert changed[0].before == {"new_state.level.*": 4}
    assert "morphine" in changed[0].tokens
    assert "morphine" in log.acts[0].tokens


def test_without_ticks_a_step_is_a_place_among_all_events() -> None:
    step_of = steps(Axis(by_tick=False, first=0, last=10**9), 240)
    # two bursts with an hour between them
    assert [step_of({"tick": None}) for _ in range(5)] == [0, 0, 1, 1, 2]


def shop(builder: SessionBuilder, *, leak: bool) -> str | None:
    """Movers take a trolley for each box and bring it back; from one tick on one of them brings none back."""
    draw, cause, free, number = random.Random(7), None, 40, 0
    for tick in range(90):
        builder.tick = tick
        if draw.random() < 0.3:
            who = draw.randrange(6)
            builder.emit(
                "state_change", f"mover_{who}", role="mover", trigger="by hand",
                old_state={"lamp": "on"}, new_state={"lamp": "off"},
            )  # fmt: skip
        if tick == 25:
            changed = builder.emit(
                "state_change", "mover_4", role="mover", trigger="new rules",
                old_state={"rules": "v1"}, new_state={"rules": "v2"},
            )  # fmt: skip
            cause = changed if leak else None
        for k in range(6):
            number += 1
            if not free:
                builder.emit(
                    "error", f"mover_{k}", role="mover", level="ERROR", error_type="Empty",
                    error_message="no trolley", message="Empty: no trolley",
                )  # fmt: skip
                continue
            free -= 1
            builder.emit(
                "agent_action", f"mover_{k}", role="mover", action_type="load", args={"box": f"x{number}"}
            )
            if leak and k == 4 and tick >= 25:
                continue
            free += 1
            builder.emit(
                "agent_action", f"mover_{k}", role="mover", action_type="return", args={"box": f"x{number}"}
            )
        builder.pass_time(1)
    return cause


def test_what_began_a_shortage_forty_ticks_later_at_others_is_among_the_first_three_causes(
    builder: SessionBuilder,
) -> None:
    cause = shop(builder, leak=True)
    report = debug_issue("most movers stand around because there is no trolley", session=builder.path)
    first = next(each for each in report.causes[:3] if cause in each.event_ids)
    assert "mover_4" in first.agent_ids
    assert any(cause in {edge.cause_id, edge.effect_id} for edge in first.edges)


def test_the_same_shop_without_the_fault_accuses_nobody(builder: SessionBuilder) -> None:
    shop(builder, leak=False)
    report = debug_issue("most movers stand around because there is no trolley", session=builder.path)
    assert report.status != "cause"


def test_a_level_that_every_agent_moves_once_is_worth_little_and_one_that_only_one_moves_is_worth_much() -> (
    None
):
    def shifts(movers: set[int]) -> list[Finding]:
        made = [
            (step, f"a{n}", float(n in movers and step >= BREAK + n))
            for step in range(STEPS)
            for n in range(6)
        ]
        series: dict[str, list[Observation]] = {}
        for each in observed(made):
            series.setdefault(each.act.agent, []).append(each)
        return scan_numbers("level shifts", "x", series)

    (alone,) = shifts({2})
    assert alone.first.step == BREAK + 2 and alone.nats > 5
    assert max((each.nats for each in shifts(set(range(6)))), default=0.0) < alone.nats - 1.5


@pytest.mark.parametrize(("slope", "since"), [(0.5, BREAK), (-0.5, BREAK), (0.5, 0), (0.0, BREAK)])
def test_a_number_that_drifts_from_some_step_on_is_found_and_one_that_always_rises_is_not(
    slope: float, since: int
) -> None:
    draw = random.Random(7)
    series = {
        f"a{k}": observed(
            [(n, f"a{k}", draw.random() + (k == 1) * slope * max(0, n - since)) for n in range(STEPS)]
        )
        for k in range(4)
    }
    drifts = scan_drifts("drifts", "x", series)
    if since and slope:
        (drift,) = drifts
        assert drift.group == (("agent", "a1"),) and abs(drift.step - BREAK) <= 2 and drift.nats > 10
        assert drift.found == series["a1"][-1].value
    else:
        assert drifts == []


@pytest.mark.parametrize("times", [1, STEPS - BREAK])
def test_a_line_of_text_of_the_level_of_an_error_is_an_onset_if_it_comes_again(times: int) -> None:
    diary = Diary()
    for step in range(STEPS):
        diary.write(step, "walker1", action_type="walk")
        if BREAK <= step < BREAK + times:
            diary.write(step, "walker1", "log")
            diary.rows[-1] |= {"level": "ERROR", "message": "fell into a hole"}
    onsets = found(values.find_rates, diary, "error comes up")[:1]
    expected = [(BREAK, "fell into a hole")] if times > 1 else []
    assert [(each.step, each.about) for each in onsets] == expected


def lives(orders: int, *, odd: int) -> Diary:
    """Orders that are taken, packed and sent; of one the wrong shelf was packed by another agent."""
    diary = Diary()
    for n in range(orders):
        diary.write(n, "desk1", action_type="take", order=f"o-{n}", shelf=f"s-{n % 4}")
        shelf = f"s-{(n + (n == odd)) % 4}"
        diary.write(n, "packer1", action_type="pack", order=f"o-{n}", parcel=f"p-{n}", shelf=shelf)
        diary.write(n + 1, "van1", action_type="send", parcel=f"p-{n}")
    return diary


@pytest.mark.parametrize("since", [6, BREAK, STEPS])
@pytest.mark.parametrize("unit", [1, 100])
def test_numbers_that_are_rounded_from_a_step_on_are_found(unit: int, since: int) -> None:
    draw = random.Random(4)
    diary = Diary()
    for step in range(STEPS):
        for k in range(5):
            paid = draw.randrange(100, 900) * unit
            diary.write(step, "desk1", action_type="pay", share=(paid - paid % (10 * unit)) / 100
                        if step >= since else paid / 100)  # fmt: skip
    (*first,) = found(values.find, diary, "rounded")[:1]
    assert [(abs(each.step - since) <= 1, len(each.acts)) for each in first] == [(True, 1)] * (since < STEPS)


def test_a_counter_that_all_bring_to_a_round_number_at_once_is_not_rounded() -> None:
    diary = Diary()
    for step in range(1, 28):
        for k in range(8):
            diary.write(step, f"a{k}", action_type="count", number=step)
    assert found(values.find, diary, "rounded") == []


@pytest.mark.parametrize("odd", [20, None])
def test_a_value_that_is_part_of_another_is_missed(odd: int | None) -> None:
    diary = Diary()
    for n in range(STEPS):
        diary.write(
            n,
            "desk1",
            action_type="enrol",
            client=f"C{100 + n}",
            profile=f"p-C{101 if n == odd else 100 + n}/x",
        )
    told = found(relations.find, diary, "not as beside it")
    expected = [] if odd is None else [(odd, "p-C101/x", f"C{100 + odd}", f"p-C{100 + odd}/x")]
    assert [
        (each.step, each.found if each.beside is None else each.beside.value, each.beside.level, each.beside.usual)
        for each in told[:1] if each.beside is not None
    ] == expected  # fmt: skip


@pytest.mark.parametrize("short", [7, None])
def test_a_shift_that_does_not_begin_when_the_one_before_it_ends_is_told_of_both(short: int | None) -> None:
    draw = random.Random(2)
    diary, ends = Diary(), dict.fromkeys(("osprey", "gannet", "petrel"), 0)
    for n in range(12):
        for boat, begins in ends.items():
            ends[boat] = begins + draw.randint(4, 9)
            is_short = (n, boat) == (short, "gannet")
            diary.write(n, "desk1", action_type="assign", boat=boat, first=begins, last=ends[boat] - is_short)
    parted = found(relations.find, diary, "not carried on")
    assert [(each.step, each.extras[0].step, each.first.values["boat"]) for each in parted[:1]] == (
        [] if short is None else [(short + 1, short, "gannet")]
    )


def test_what_leads_to_a_named_thing_is_near_it_and_less_so_by_each_hop() -> None:
    log = lives(40, odd=20).log()
    walk(log, {"p-20": 0.9}, {})
    by_name = {(act.name, act.values.get("order") or act.values["parcel"]): act.near for act in log.acts}
    assert by_name["send", "p-20"] == by_name["pack", "o-20"] == 0.9
    assert 0 < by_name["take", "o-20"] < 0.9
    assert by_name["take", "o-20"] > by_name["take", "o-7"]


@pytest.mark.parametrize("odd", [20, -1])
def test_one_value_that_is_not_carried_on_is_found_wherever_it_is(odd: int) -> None:
    told = found(relations.find, lives(40, odd=odd), "not carried on")
    assert {each.first.values["order"] for each in told} == ({"o-20"} if odd > 0 else set())


@pytest.mark.parametrize("odd", [20, -1])
def test_one_value_that_is_not_what_another_determines_is_found(odd: int) -> None:
    draw = random.Random(6)
    halls = {"fish": "ice", "cable": "dry", "fruit": "cool"}
    diary = Diary()
    for n in range(60):
        goods = draw.choice([*halls])
        hall = next(each for each in halls.values() if each != halls[goods]) if n == odd else halls[goods]
        diary.write(n, "yard", action_type="store", goods=goods, hall=hall)
    told = found(relations.find, diary, "not as beside it")
    assert {each.step for each in told} == ({20} if odd > 0 else set())


@pytest.mark.parametrize("odd", [20, -1])
def test_one_number_far_from_those_with_the_same_value_is_found_inside_the_range_of_all(odd: int) -> None:
    draw = random.Random(5)
    diary = Diary()
    for n in range(60):
        weights = {"paper": 3.0, "card": 6.0} if n != odd else {"paper": 6.0, "card": 6.0}
        sort = ("paper", "card")[n % 2]
        diary.write(n, "store", action_type="weigh", sort=sort, kilos=weights[sort] + draw.uniform(-0.1, 0.1))
    told = found(relations.find, diary, "far from usual")
    assert [each.step for each in told[:1]] == ([20] if odd > 0 else [])


def test_a_value_that_nearly_all_events_have_shows_no_relation() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "yard", action_type="store", goods=f"{n % 3}", hall="ice" if n % 29 else "dry")
    assert found(relations.find, diary, "not as beside it") == []


class Refused:
    """Speaks of one event: the last time that something was refused."""

    def __init__(self, text: str = "a parcel was refused") -> None:
        self.text = text

    def symptoms(self, log: Log, findings: Sequence[Finding]) -> dict[int, float]:
        return {max(act.place for act in log.acts if act.name == "refuse"): 1.0}


def parcels(*, odd: int) -> Log:
    """Parcels are weighed and sent on; many are weighed wrongly, and the one of `odd` is refused in the end."""
    diary = Diary()
    for step in range(STEPS):
        for k in range(3):
            kg = 880 + step if (k == 0 and step in {20, 40}) else 10 + (step + k) % 5
            diary.write(step, f"a{k}", action_type="weigh", kg=kg, parcel=f"p-{step}-{k}")
    diary.write(STEPS, "door", action_type="refuse", parcel=f"p-{odd}-0")
    return diary.log()


@pytest.mark.parametrize("odd", [20, 40])
def test_of_two_alike_the_one_that_leads_to_what_the_issue_speaks_of_is_likelier(odd: int) -> None:
    log = parcels(odd=odd)
    wrong = [act for act in log.acts if act.values.get("kg", 0) >= 900]
    breaks = [Finding("value beyond range", "kg", [act], 6.0) for act in wrong]
    first = rank(log, breaks, Refused())[0]
    assert (first.first.name, first.first.step) == ("weigh", odd)
    assert [(step.act.name, step.shared) for step in first.chain] == [("refuse", f"p-{odd}-0")]


def test_a_cause_names_what_shares_something_with_one_of_its_events_and_nothing_twice() -> None:
    log = parcels(odd=20)
    breaks = list(values.find(log))
    found = rank(log, breaks, Refused())
    named = [act.id for each in found for act in each.acts]
    assert len(named) == len(set(named))
    for each in found:
        assert any(
            all(act.agent == one.agent or set(act.tokens) & set(one.tokens) for act in each.acts)
            for one in each.acts
        )


def test_without_a_text_a_cause_leads_only_where_a_link_is_recorded() -> None:
    log = parcels(odd=20)
    wrong = [act for act in log.acts if act.values.get("kg", 0) >= 900]
    breaks = [Finding("value beyond range", "kg", [act], 6.0) for act in wrong]
    found = rank(log, breaks, Refused(""))
    assert {(each.first.name, len(each.acts), len(each.chain)) for each in found if each.findings} == {
        ("weigh", 1, 0)
    }


def test_where_nothing_is_odd_nothing_is_a_cause() -> None:
    assert rank(parcels(odd=20), [], Refused()) == []


def test_agents_without_a_role_that_do_the_same_are_peers() -> None:
    diary = Diary()
    for n in range(30):
        for name in ("ann", "bob", "cid"):
            diary.write(n, name, action_type="till")
        diary.write(n, "mill", action_type="grind")
    for row in diary.rows:
        row["agent_role"] = None
    log = diary.log()
    assert {act.agent: act.role for act in log.acts} == {
        "ann": "ann",
        "bob": "ann",
        "cid": "ann",
        "mill": "mill",
    }


def test_a_word_that_every_event_holds_tells_none_from_another() -> None:
    diary = Diary()
    for step in range(STEPS):
        diary.write(step, "a1", action_type="weighing", kg=10)
    question = read_question("weighing is odd", {"a1": "a"}, {"weighing"})
    assert Issue(question, diary.log()).matched == {}


@pytest.mark.parametrize("is_skipped", [True, False])
def test_the_step_that_one_thing_skips_surprises_before_and_after_the_gap(is_skipped: bool) -> None:
    diary = Diary()
    for step in range(STEPS):
        for name in ("order", "book", "ship"):
            if not (is_skipped and step == BREAK and name == "book"):
                diary.write(step, f"a{step % 3}", action_type=name, parcel=f"p-{step}")
    log = diary.log()
    surprise = surprises(log)
    most = [max(log.acts, key=lambda act, nats=nats: nats[act.place]) for nats in surprise]
    if is_skipped:
        assert [(act.name, act.step) for act in most] == [("ship", BREAK), ("order", BREAK)]
    else:
        assert max(map(max, surprise)) < 1


@pytest.mark.parametrize("changed", ["fox", "owl"])
def test_of_a_field_that_is_recorded_whole_an_event_holds_what_changed(changed: str) -> None:
    grams = {name: 100 + n for n, name in enumerate(["owl", "fox", "boa", "elk"])}
    diary = Diary()
    for name in grams:
        diary.write(0, "vet", action_type="weigh", animal=name)
    diary.write(1, "files", "state", fields={"cards": grams})
    diary.write(2, "files", action_type="file", state={"set": {"cards": grams | {changed: 7}}})
    *_, act = diary.log().acts
    cards = {path: value for path, value in act.values.items() if path.startswith("state.cards")}
    assert cards == {"state.cards.*": 7, "state.cards.*@": changed}
    assert act.before == {"state.cards.*": grams[changed]}


@pytest.mark.parametrize("euros", [14, 92])
def test_settings_whose_names_differ_in_a_value_are_compared_with_each_other(euros: int) -> None:
    diary = Diary()
    rooms = ["attic", "yard", "tower", "garden"]
    for step in range(8):
        for room in rooms:
            diary.write(step, "desk", action_type="let", room=room)
    for step, (room, price) in enumerate(zip(rooms, [90, 94, 97, euros], strict=True)):
        diary.write(
            step, "boss", "strategy_update", strategy_type=f"rate {room}", new_strategy={"euros": price}
        )
    far = found(values.find, diary, "value beyond range")
    assert [each.found for each in far] == ([14] if euros == 14 else [])


@pytest.mark.parametrize("odd", [40, -1])
def test_a_failure_that_is_reported_like_a_success_is_found_though_nearly_all_succeed(odd: int) -> None:
    diary = Diary()
    for n in range(60):
        is_bad = n % 8 == 0
        outcome = {"outcome": "error"} if is_bad else {"result": "on"}
        diary.write(n, "hall", action_type="start", test=f"t-{n}", **outcome)
        diary.write(n, "boss", action_type="sign", test=f"t-{n}", says="off" if is_bad and n != odd else "on")
    told = found(relations.find, diary, "not as beside it")
    assert {each.step for each in told} == ({40} if odd > 0 else set())


def test_the_words_of_a_text_are_sought_in_the_names_of_fields_too() -> None:
    diary = Diary()
    for n in range(20):
        diary.write(n, "yard", action_type="load", **({"ballast": 4} if n == 7 else {"crates": 4}))
    log = diary.log()
    told = Issue(read_question("the ballast was far too heavy", {}, []), log).matched
    assert [log.acts[place].step for place in told] == [7]


def test_one_odd_event_tells_more_than_the_beginning_of_a_series_that_is_a_little_odder() -> None:
    acts = [each.act for each in observed([(n, "a", n) for n in range(12)])]
    series, single = Finding("level", "x", acts[:9], 4.0), Finding("new", "x", acts[:1], 3.0)
    (told, *_) = findings_by_place([series, single]).values()
    assert _oddness(told) == (3.0, 0.0, 1.0)


def test_a_single_event_that_chance_makes_as_odd_counts_for_little() -> None:
    acts = [each.act for each in observed([(n, "a", n) for n in range(12)])]
    (told, *_) = findings_by_place([Finding("far from usual", "x", acts[:1], 0.8)]).values()
    odd, _, single = _oddness(told)
    assert odd == 0.8 and 0.0 < single < 0.5


@pytest.mark.parametrize(
    ("rule", "odd", "told"),
    [
        (
            "not carried on",
            {"paid": 3},
            "till: charge has paid 3 at tick 20, but the last quote of the same order has price 10; "
            "in 39 of 40 such events they are equal",
        ),
        (
            "amounts part",
            {"paid": 3},
            "till: charge has paid 3 and price 10 at tick 20; in 39 of 40 such events they are equal",
        ),
        (
            "not as beside it",
            {"table": "bar"},
            "till: charge with price 10 has table bar at tick 20; elsewhere it is mostly hall",
        ),
        (
            "follow-up missing",
            {"order": "o-lost"},
            "desk: no charge follows quote with order o-20 at tick 20 (it does in 39 of 40)",
        ),
        (
            "value beyond range",
            {"paid": 999},
            "till: paid of charge is 999 at tick 20 (earlier values: 10 to 13)",
        ),
    ],
)
def test_a_break_is_told_in_plain_words_with_both_values(rule: str, odd: dict[str, Any], told: str) -> None:
    diary = Diary()
    for n in range(40):
        price = 10 + n % 4
        diary.write(n, "desk", action_type="quote", order=f"o-{n}", price=price)
        charge = {"order": f"o-{n}", "price": price, "paid": price, "table": ["hall", "yard"][n % 2]}
        diary.write(n, "till", action_type="charge", **(charge | odd if n == 20 else charge))
    log = diary.log()
    words = Wording(log)
    found = [each for find in DETECTORS for each in find(log) if each.rule == rule and not each.local]
    assert told in {words.sentence(each.first, each) for each in found}


def test_an_event_is_told_by_what_tells_it_from_others_of_its_sort() -> None:
    diary = Diary()
    for n in range(8):
        diary.write(n, "cook", action_type="fry", dish=f"d-{n}", pan="big", eggs=n + n % 2, day=n)
    log = diary.log()
    assert Wording(log).sentence(log.acts[3], None) == "cook: called fry (dish d-3, eggs 4) at tick 3"


def test_a_snapshot_of_a_state_is_no_cause_however_odd_it_is() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "tank", action_type="fill", level=5 if n != 30 else 90)
        diary.write(
            n, "tank", kind="state", fields={"level": 5 if n < 30 else 90, "mood": f"m{n}"}, reason="periodic"
        )
        diary.write(n, "guard", action_type="look", sees="leak" if n == 40 else "nothing")
    log = diary.log()
    question = read_question("the guard sees a leak", {}, [])
    issue = Issue(question, log)
    found = rank(log, findings_in(log, question, issue), issue)
    assert found and all(act.kind != "state" for each in found for act in each.acts)
    assert found[0].first.step in {30, 40}


def test_how_often_states_are_recorded_is_no_finding() -> None:
    diary = Diary()
    for n in range(60):
        for k in range(12):
            diary.write(n, f"tank{k}", action_type="fill", level=5)
            if n == 0 or n > 55:
                diary.write(n, f"tank{k}", kind="state", fields={"level": 5}, reason="periodic")
    assert not found(values.find_rates, diary, "rate changes")


def test_a_path_names_no_consequence_that_is_neither_odd_nor_asked_for() -> None:
    first = Diary()
    for n in range(10):
        first.write(n, "a", action_type="x", n=n + 1)
    log = first.log()
    odd = Finding("value beyond range", "x n", [log.acts[2]], 9.0, usual=(0, 1), found=3, since=1)
    plain, asked = ChainStep(log.acts[5], None, "link"), ChainStep(log.acts[5], None, "link", is_asked=True)
    for step, told in (
        (plain, "a: n of x is 3 at tick 2 (earlier values: 0 to 1)"),
        (asked, "called x (n 6) at tick 5"),
    ):
        cause = cause_of(Hypothesis([log.acts[2]], [odd], 1.0, 0.5, [step]), Wording(log))
        assert cause.title.endswith(told)


def test_a_change_of_several_fields_is_named_by_all_of_them() -> None:
    diary = Diary()
    for n in range(60):
        old, new = {"count": n, "drug": "a", "version": n}, {"count": n + 1, "drug": "a", "version": n + 1}
        diary.write(
            n, "store", kind="state_change", old_state=old, new_state=new if n != 40 else new | {"count": 900}
        )
    log = diary.log()
    found = [each for each in values.find(log) if each.rule == "value beyond range" and each.first.step == 40]
    assert (
        Wording(log).sentence(found[0].first, found[0])
        == "store: count is 900 at tick 40 (earlier values: 0 to 40)"
    )
    assert _noun(log.acts[0].name) == "change of count, drug and version"
    assert _noun("rider_# refused, overload, overload") == '"rider_... refused, overload, overload"'


def test_an_amount_that_parts_is_linked_to_the_balance_that_lacks_it() -> None:
    diary, draw = Diary(), random.Random(7)
    vault = booked = 0
    wrong = ""
    for step in range(STEPS):
        amount = draw.randint(11, 99) * 100
        vault, booked = vault + amount, booked + (amount // 10 if step == BREAK else amount)
        diary.write(step, "teller", action_type="pack", action_data={"bag": f"b{step}", "amount": amount})
        entry = {"bag": f"b{step}", "amount": amount // 10 if step == BREAK else amount}
        event = diary.write(step, "keeper", action_type="book", action_data=entry)
        wrong = event if step == BREAK else wrong
        if step % 9 == 8:
            data = {"counted": vault, "booked": booked, "difference": vault - booked}
            diary.write(step, "auditor", action_type="count", action_data=data)
    log = diary.log()
    (act,) = [each for each in log.acts if each.id == wrong]
    before = set(act.tokens)
    relations.link_amounts(log, [*relations.find(log)])
    (token,) = set(act.tokens) - before
    assert token[0] == "difference"
    assert [each.agent for each in log.by_token[token]][:2] == ["keeper", "auditor"]


def booked(odd: int | None, *, wrong: str = "") -> Diary:
    """Accounts that are opened, invoiced in one currency or another, and told to those who look after it."""
    diary = Diary()
    for n in range(STEPS):
        currency = ("euro", "euro", "yen")[n % 3]
        diary.write(n, "desk1", action_type="open", account=f"A-{n}", currency=currency)
        diary.write(n, "desk1", action_type="invoice", account=f"A-{n}", number=f"I-{n}")
        if currency == "yen" and not (n == odd and wrong == "untold"):
            diary.write(n, "desk2", action_type="change", account=f"A-{n}")
        if n % 5 == 0:
            diary.write(n, "desk1", action_type="invoice", account=f"A-{n}", number=f"I-{n}")
            if not (n == odd and wrong == "kept"):
                diary.write(n, "desk2", action_type="cancel", account=f"A-{n}", number=f"I-{n}")
    return diary


@pytest.mark.parametrize(
    ("odd", "wrong", "told"),
    [(20, "untold", ("open -> change", (("currency", "yen"),))), (25, "kept", ("invoice -> cancel", ()))],
)
def test_what_follows_only_some_values_or_only_repeated_acts_is_missed(
    odd: int, wrong: str, told: tuple[str, tuple[tuple[str, str], ...]]
) -> None:
    for broken in (odd, None):
        missing = found(follow_ups.find, booked(broken, wrong=wrong), "follow-up missing")
        at = [(each.about, each.group, each.step) for each in missing if len(each.acts) == 1]
        assert ((*told, odd) in at) is (broken is not None)


@pytest.mark.parametrize("odd", [4, None])
def test_two_values_that_are_equal_in_all_but_one_of_a_few_events_part(odd: int | None) -> None:
    diary = Diary()
    for n in range(7):
        diary.write(n, "desk1", action_type="insert", slot=3 * n, first=3 * n + (n == odd))
    parted = found(relations.find, diary, "amounts part")
    assert [(each.step, each.beside.value, each.beside.level) for each in parted if each.beside] == (
        [] if odd is None else [(odd, 3 * odd + 1, 3 * odd)]
    )


@pytest.mark.parametrize("since", [BREAK, STEPS])
def test_numbers_that_leave_those_that_they_go_along_with_are_found(since: int) -> None:
    draw = random.Random(5)
    diary, carried = Diary(), dict.fromkeys(("shop1", "shop2", "shop3"), 0)
    for step in range(STEPS):
        for shop in carried:
            for _ in range(3):
                cents = draw.choice((285, 345, 419, 199, 255))
                points, carried[shop] = divmod(cents + carried[shop], 10)
                if shop == "shop2" and step >= since:
                    points, carried[shop] = cents // 10, 0
                diary.write(step, shop, action_type="book", cents=cents, points=points)
    shifts = [
        each for each in found(values.find, diary, "level shifts") if each.about == "book points per cents"
    ]
    assert [(abs(each.step - since) <= 1, each.group, len(each.acts)) for each in shifts] == (
        [(True, (("agent", "shop2"),), 1)] if since < STEPS else []
    )
    assert all(each.found < each.usual < 0.11 for each in shifts)


def test_what_happens_again_is_told_of_the_thing_for_which_it_does() -> None:
    diary = Diary()
    for n in range(STEPS):
        diary.write(
            n, "nurse1", action_type="stick_label", sample=f"S-{n}", patient=f"P-{n if n != 40 else 12}"
        )
        diary.write(n, "lab1", action_type="report", sample=f"S-{n}")
        diary.write(n, "desk1", action_type="admit", patient=f"P-{n}")
    log = diary.log()
    again = [each for each in follow_ups.find(log) if each.rule == "happens again" and not each.local]
    assert {Wording(log).finding(each) for each in again} == {
        "stick_label is repeated for patient P-12 at tick 40"
    }


def test_a_single_deviation_near_what_is_asked_is_not_said_to_be_the_first_of_its_kind() -> None:
    diary = Diary()
    for n in range(STEPS):
        diary.write(
            n,
            "gate1",
            action_type="handle",
            what="open" if n in {10, 40} else "crate",
            size=n if n in {10, 40} else n % 3,
        )
    log = diary.log()
    log.acts[40].near = 1.0
    near = [each for each in values.find(log) if each.local]
    assert {Wording(log).finding(each) for each in near} == {
        "what of handle is open at tick 40, as it rarely is (mostly: crate)",
        "size of handle is 40 at tick 40 (eight in ten are 0 to 2)",
    }


def test_a_level_is_told_by_the_numbers_themselves_though_it_is_judged_beside_the_others() -> None:
    made = [
        (step, f"a{n}", step % 7 + 100 * (n == 2 and step >= BREAK))
        for step in range(STEPS)
        for n in range(6)
    ]
    series: dict[str, list[Observation]] = {}
    for each in observed(made):
        series.setdefault(each.act.agent, []).append(each)
    (shift,) = scan_numbers("level shifts", "x", series)
    own = [each.value for each in series["a2"]]
    assert shift.usual == pytest.approx(sum(own[:BREAK]) / BREAK)
    assert shift.found == pytest.approx(sum(own[BREAK:]) / (STEPS - BREAK))


def retried(numbers: list[int]) -> Diary:
    """Return events about things, each tried as often as `numbers` says, one try a tick and all in turns."""
    diary = Diary()
    for n in range(max(numbers)):
        for thing, tries in enumerate(numbers):
            if n < tries:
                diary.write(n, "scout", action_type="search", matter=f"M{thing:02}")
    return diary


def test_what_is_tried_far_more_often_for_one_thing_is_found_where_it_exceeds_the_usual() -> None:
    (best, *_) = found(follow_ups.find, retried([1, 2, 1, 3, 2, 1, 20, 2, 1, 2]), "too often")
    assert (best.found.thing, best.usual, best.of, len(best.acts)) == ("M06", 3, 20, 18)
    assert best.first.step == 2
    told = Wording(retried([1, 2, 1, 3, 2, 1, 20, 2, 1, 2]).log()).finding(best)
    assert told == (
        "search happens 20 times for matter M06 (at most 3 for any other), more than usual from tick 2 on"
    )


@pytest.mark.parametrize(
    "numbers", [[9, 8, 7, 6, 5, 4, 3, 2, 2, 1], [1, 1, 1, 1, 1, 1, 1, 2], [30, 28, 31, 60]]
)
def test_what_is_tried_often_for_several_things_is_usual(numbers: list[int]) -> None:
    assert found(follow_ups.find, retried(numbers), "too often") == []


def test_entries_of_tables_are_not_compared_with_each_other() -> None:
    """Twelve notes in each message would make a hundred relations, of which one odd line breaks many."""

    def synchronized(*, keys_are_names: bool) -> Diary:
        diary = Diary()
        for n in range(60):
            notes = {f"note_{k}": {"line": n // 5 + k + 3 * (n == 40 and k == 3)} for k in range(12)}
            named = f"note_{n % 12}" if keys_are_names else "any"
            diary.write(n, f"device{n % 3}", action_type="merge", edited=named, notes=notes)
        return diary

    def number(*, keys_are_names: bool) -> int:
        return sum(1 for _ in relations.find(synchronized(keys_are_names=keys_are_names).log()))

    assert number(keys_are_names=False) > 20
    assert number(keys_are_names=True) < 3


def test_errors_that_are_all_of_another_sort_are_grouped_once_and_not_for_each_sort(monkeypatch) -> None:
    grouped: list[int] = []
    members_of = scan.members_of

    def counted(acts: Sequence[Any], places: Any = None) -> Any:
        grouped.append(len(acts))
        return members_of(acts, places)

    monkeypatch.setattr(scan, "members_of", counted)
    monkeypatch.setattr(values, "members_of", counted)
    diary = Diary()
    for number in range(400):
        diary.write(number // 4, "ann1", "error", error_type=f"E{number // 2}", error_message="it broke")
    list(values.find_rates(diary.log()))
    assert 400 <= sum(grouped) < 10 * 400
