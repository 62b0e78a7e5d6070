"""Relations that break, wherever they break: the scan, the detectors, and the way from them to a cause."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import debug_issue
from Agent.analysis.debug import root_causes
from Agent.analysis.debug.question.question import read_question
from Agent.analysis.debug.root_causes import nearby
from Agent.analysis.debug.root_causes.acts import Log, read_acts
from Agent.analysis.debug.root_causes.causes import DETECTORS, cause_of, causes_in
from Agent.analysis.debug.root_causes.detectors import follow_ups, relations, values
from Agent.analysis.debug.root_causes.issue import Issue
from Agent.analysis.debug.root_causes.ranking import Hypothesis, Step, _oddness, _told, rank
from Agent.analysis.debug.root_causes.reading import Axis, steps
from Agent.analysis.debug.root_causes.scan import (
    Finding,
    Observation,
    scan_beyond,
    scan_counts,
    scan_drifts,
    scan_novel,
    scan_rare,
)
from Agent.analysis.debug.root_causes.transitions import surprises
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
    assert any(edge.cause_id == cause for edge in first.edges)


def test_the_same_shop_without_the_fault_accuses_nobody(builder: SessionBuilder) -> None:
    shop(builder, leak=False)
    report = debug_issue("most movers stand around because there is no trolley", session=builder.path)
    assert report.status != "cause"


@pytest.mark.parametrize(("slope", "since"), [(0.5, BREAK), (-0.5, BREAK), (0.5, 0), (0.0, BREAK)])
def test_a_number_that_drifts_from_some_step_on_is_found_and_one_that_always_rises_is_not(
    slope: float, since: int
) -> None:
    draw = random.Random(7)
    made = [
        (n, f"a{k}", draw.random() + (k == 1) * slope * max(0, n - since))
        for n in range(STEPS)
        for k in range(4)
    ]
    drifts = scan_drifts("drifts", "x", observed(made))
    if since and slope:
        (drift,) = drifts
        assert drift.group == (("agent", "a1"),) and abs(drift.step - BREAK) <= 2 and drift.nats > 10
        assert drift.found == made[-3][2]
    else:
        assert drifts == []


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


def test_what_leads_to_a_named_thing_is_near_it_and_less_so_by_each_hop() -> None:
    log = lives(40, odd=20).log()
    nearby.walk(log, {"p-20": 0.9}, {})
    by_name = {(act.name, act.values.get("order") or act.values["parcel"]): act.near for act in log.acts}
    assert by_name["send", "p-20"] == by_name["pack", "o-20"] == 0.9
    assert 0 < by_name["take", "o-20"] < 0.9
    assert by_name["take", "o-20"] > by_name["take", "o-7"]


@pytest.mark.parametrize("odd", [20, -1])
def test_one_value_that_is_not_carried_on_is_found_wherever_it_is(odd: int) -> None:
    told = found(relations.find, lives(40, odd=odd), "not carried on")
    assert {each.first.values["order"] for each in told} == ({"o-20"} if odd > 0 else set())


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


def test_a_cause_names_what_shares_something_with_its_first_event_and_nothing_twice() -> None:
    log = parcels(odd=20)
    breaks = list(values.find(log))
    found = rank(log, breaks, Refused())
    named = [act.id for each in found for act in each.acts]
    assert len(named) == len(set(named))
    for each in found:
        first = each.first
        assert all(act.agent == first.agent or set(act.tokens) & set(first.tokens) for act in each.acts)


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
    assert Issue(question, diary.log()).told == {}


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


def test_the_words_of_a_text_are_sought_in_the_names_of_fields_too() -> None:
    diary = Diary()
    for n in range(20):
        diary.write(n, "yard", action_type="load", **({"ballast": 4} if n == 7 else {"crates": 4}))
    log = diary.log()
    told = Issue(read_question("the ballast was far too heavy", {}, []), log).told
    assert [log.acts[place].step for place in told] == [7]


def test_one_odd_event_tells_more_than_the_beginning_of_a_series_that_is_a_little_odder() -> None:
    acts = [each.act for each in observed([(n, "a", n) for n in range(12)])]
    series, single = Finding("level", "x", acts[:9], 4.0), Finding("new", "x", acts[:1], 3.0)
    (told, *_) = _told([series, single]).values()
    assert _oddness(told) == (3.0, 0.0, 1.0)


def test_a_single_event_that_chance_makes_as_odd_counts_for_little() -> None:
    acts = [each.act for each in observed([(n, "a", n) for n in range(12)])]
    (told, *_) = _told([Finding("far from usual", "x", acts[:1], 0.8)]).values()
    odd, _, single = _oddness(told)
    assert odd == 0.8 and 0.0 < single < 0.5


@pytest.mark.parametrize(
    ("rule", "odd", "told"),
    [
        (
            "not carried on",
            {"paid": 3},
            "till: charge has paid 3 at tick 20, but the last quote of the same order has price 10; "
            "otherwise they are equal",
        ),
        (
            "amounts part",
            {"paid": 3},
            "till: charge has paid 3 and price 10 at tick 20; otherwise they are equal",
        ),
        (
            "follow-up missing",
            {"order": "o-lost"},
            "desk: no charge follows quote at tick 20 (it does in 38 of 39)",
        ),
        ("value beyond range", {"paid": 999}, "till: paid of charge is 999 at tick 20 (10 to 13 before)"),
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
    assert told in {words.told(each.first, each) for each in found}


def test_an_event_is_told_by_what_tells_it_from_others_of_its_sort() -> None:
    diary = Diary()
    for n in range(8):
        diary.write(n, "cook", action_type="fry", dish=f"d-{n}", pan="big", eggs=n + n % 2, day=n)
    log = diary.log()
    assert Wording(log).told(log.acts[3], None) == "cook: called fry (dish d-3, eggs 4) at tick 3"


def test_a_snapshot_of_a_state_is_no_cause_however_odd_it_is() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "tank", action_type="fill", level=5 if n != 30 else 90)
        diary.write(
            n, "tank", kind="state", fields={"level": 5 if n < 30 else 90, "mood": f"m{n}"}, reason="periodic"
        )
        diary.write(n, "guard", action_type="look", sees="leak" if n == 40 else "nothing")
    log = diary.log()
    found = causes_in(log, read_question("the guard sees a leak", {}, []))
    assert found and all(act.kind != "state" for each in found for act in each.acts)
    assert found[0].first.step in {30, 40}


def test_a_path_names_no_consequence_that_is_neither_odd_nor_asked_for() -> None:
    first = Diary()
    for n in range(10):
        first.write(n, "a", action_type="x", n=n + 1)
    log = first.log()
    odd = Finding("value beyond range", "x n", [log.acts[2]], 9.0, usual=(0, 1), found=3)
    plain, asked = Step(log.acts[5], None, "link"), Step(log.acts[5], None, "link", is_asked=True)
    for step, told in (
        (plain, "a: n of x is 3 at tick 2 (0 to 1 before)"),
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
    assert Wording(log).told(found[0].first, found[0]) == "store: count is 900 at tick 40 (0 to 40 before)"
    assert _noun(log.acts[0].name) == "change of count, drug and version"


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


def test_the_numbers_that_decide_stand_in_one_module_and_each_is_used() -> None:
    folder = Path(root_causes.__file__).parent
    defined: dict[str, set[str]] = {}
    used: set[str] = set()
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for each in tree.body:
            if (
                isinstance(each, ast.AnnAssign)
                and isinstance(each.target, ast.Name)
                and each.target.id[0] != "_"
            ):
                value = each.value.values[0] if isinstance(each.value, ast.Dict) else each.value
                if isinstance(value, ast.Constant) and type(value.value) in {int, float}:
                    defined.setdefault(path.name, set()).add(each.target.id)
        if path.name != "constants.py":
            used |= {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    assert defined == {"constants.py": defined["constants.py"]}
    assert defined["constants.py"] <= used
