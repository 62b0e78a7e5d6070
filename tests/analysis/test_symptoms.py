"""Which events an issue speaks of, and where the blame for them comes from."""

from __future__ import annotations

from typing import Any

import pytest

from Agent.analysis.debug.question import read_question
from Agent.analysis.debug.root_causes.acts import Act, Log, read_acts
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.symptoms import Issue, SharedLinks, Subject, blame, symptoms

DAYS = 40
ROLES = {"farm": None, "dairy": None, "shop": None}


def row(place: int, day: int, agent: str, **extra: Any) -> dict[str, Any]:
    return {
        "id": f"e-{place}", "ts_us": place, "tick": day, "agent_id": agent, "event_type": "agent_action",
        "agent_role": agent, "message": "", "level": "INFO", "extra": extra, "state": None, "span_id": None,
        "parent_span_id": None, "causes": [],
    }  # fmt: skip


def cheeses() -> Log:
    """Each day a farm fills a can, a dairy makes a cheese of it and a shop cuts that."""
    rows: list[dict[str, Any]] = []
    for day in range(DAYS):
        for agent, extra in (
            ("farm", {"action_type": "milk", "can": f"can-{day}"}),
            ("dairy", {"action_type": "make", "can": f"can-{day}", "wheel": f"wheel-{day}"}),
            (
                "shop",
                {"action_type": "cut", "wheel": f"wheel-{day}", "taste": "sour" if day == 20 else "good"},
            ),
        ):
            rows.append(row(len(rows), day, agent, **extra))
    return read_acts(rows, lambda each: each["tick"])


def at(log: Log, name: str, day: int) -> Act:
    return next(act for act in log.acts if act.name == name and act.step == day)


def test_blame_flows_back_over_what_events_share_to_where_a_value_came_from() -> None:
    log = cheeses()
    cut = at(log, "cut", 20)
    blamed = blame(log, {cut.place: 1.0})
    milk = {day: blamed.reaches[at(log, "milk", day).place] for day in range(DAYS)}
    assert max(milk, key=lambda day: milk[day]) == 20
    # what comes later brought nothing about
    assert not any(blamed.reaches[act.place] for act in log.acts if act.step > 20)
    # and the links on which most of it came lead back to where it began
    _, make, can = blamed.onward[at(log, "milk", 20).place]
    _, end, wheel = blamed.onward[make]
    assert (can, wheel, end) == ("can-20", "wheel-20", cut.place)


def test_the_last_setting_of_an_agent_gets_as_much_blame_as_what_the_agent_did_just_before() -> None:
    rows: list[dict[str, Any]] = []
    for day in range(DAYS):
        if day == 2:
            rows.append(row(len(rows), day, "oven-1", action_type="set_heat", heat=90))
        rows += [row(len(rows) + n, day, f"oven-{n}", action_type="bake") for n in range(6)]
        rows.append(row(len(rows), day, "oven-1", action_type="cool"))
    log = read_acts(rows, lambda each: each["tick"])
    reaches = blame(log, {at(log, "cool", DAYS - 1).place: 1.0}).reaches
    baked = next(act for act in reversed(log.acts) if (act.name, act.agent) == ("bake", "oven-1"))
    assert reaches[at(log, "set_heat", 2).place] >= reaches[baked.place] > 0


def test_no_more_blame_is_passed_on_than_there_is() -> None:
    log = cheeses()
    once = sum(blame(log, {at(log, "cut", 20).place: 1.0}).reaches)
    assert 0.9 < once - 1.0 < 0.9 / (1 - 0.9)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("what did the shop cut on day 7", 7),
        ("wheel-31 is no good", 31),
        ("the shop sold something sour", 20),
    ],
)
def test_the_event_that_says_or_holds_what_the_text_names_is_the_symptom(text: str, day: int) -> None:
    log = cheeses()
    issue = Issue(read_question(text, ROLES, []), log)
    shares = issue.symptoms(log, [])
    assert sum(shares.values()) == pytest.approx(1.0)
    likeliest = max(shares, key=lambda place: shares[place])
    assert (log.acts[likeliest].name, log.acts[likeliest].step) == ("cut", day)


@pytest.mark.parametrize("text", ["why did it cost 6.17?", "we paid 6.17 euros. Really", "(6.17)"])
def test_an_event_that_holds_a_number_of_the_text_is_likelier_the_symptom(text: str) -> None:
    rows = [
        row(day, day, f"till-{day % 7}", action_type="pay", euros=6.17 if day == 20 else 5 + day / 128)
        for day in range(DAYS)
    ]
    log = read_acts(rows, lambda each: each["tick"])
    tills: dict[str, str | None] = {f"till-{n}": None for n in range(7)}
    issue = Issue(read_question(text, tills, []), log)
    assert issue.subject(log).numbers == {20: 1.0}
    without = Issue(read_question(text.replace("6.17", "that"), tills, []), log)
    assert issue.symptoms(log, [])[20] > without.symptoms(log, [])[20]


@pytest.mark.parametrize("text", ["16.17 euros", "v6.17", "on 6.17.2031", "order6.17"])
def test_a_part_of_a_number_or_a_name_is_no_number_of_the_text(text: str) -> None:
    rows = [row(day, day, "till", action_type="pay", euros=6.17 + day % 2) for day in range(4)]
    log = read_acts(rows, lambda each: each["tick"])
    assert not Issue(read_question(text, {"till": None}, []), log).subject(log).numbers


def test_an_event_that_the_text_names_by_its_id_is_the_symptom_alone() -> None:
    log = cheeses()
    for act in log.acts:
        act.id = f"abcdefgh-{act.place}"
    seen = at(log, "cut", 12)
    text = f"the shop sold something sour on day 7, see {seen.id} and abcdefgh-999999"
    assert Issue(read_question(text, ROLES, []), log).symptoms(log, []) == {seen.place: 1.0}
    unknown = Issue(read_question("wheel-31 is no good, see abcdefgh-999999", ROLES, []), log)
    assert len(unknown.symptoms(log, [])) > 1


def test_of_events_that_fit_alike_the_odd_one_is_the_symptom() -> None:
    log = cheeses()
    odd = at(log, "cut", 20)
    told = [
        Finding("new value", "taste", [odd], 6.0),
        Finding("about it", "", [log.acts[0]], 6.0, local=True),
    ]
    shares = symptoms(log, Subject({}, {}, {}, ()), told)
    others = [shares.get(act.place, 0.0) for act in log.acts if act.name == "cut" and act is not odd]
    assert shares[odd.place] > 3 * max(others)


def test_a_session_without_acts_has_no_symptom() -> None:
    log = read_acts([], lambda each: each["tick"])
    assert symptoms(log, Subject({}, {}, {}, ()), []) == {}
    assert blame(log, {}).reaches == []


def wards(*, at_lab: bool) -> Log:
    """A pharmacy makes bags that patients get; later they fall ill, or the lab reports it. All doses are 120."""
    rows: list[dict[str, Any]] = []
    for day in range(DAYS):
        patient = f"patient-{day % 5}"
        rows += [
            row(len(rows), day, "pharmacy", action_type="make", bag=f"bag-{day}", patient=patient, most=120),
            row(
                len(rows) + 1,
                day,
                patient,
                action_type="get",
                bag=f"bag-{day}",
                most=120,
                new_state={"load": day},
            ),
            row(len(rows) + 2, day, f"patient-{(day + 1) % 5}", action_type="rest", most=120),
            row(len(rows) + 3, day, "doctor", action_type="visit", patient=patient, most=120),
            row(len(rows) + 4, day, patient, action_type="live", new_state={"load": day + 0.5}, most=120),
        ]
        if at_lab:
            rows.append(row(len(rows), day, "lab", action_type="report", load=day + 0.5, most=120))
    return read_acts(rows, lambda each: each["tick"])


@pytest.mark.parametrize("at_lab", [False, True])
def test_a_path_leads_over_rare_values_and_the_state_of_an_agent_rather_than_what_many_events_share(
    at_lab: bool,
) -> None:
    log = wards(at_lab=at_lab)
    make, get, ill = (at(log, name, day) for name, day in (("make", 20), ("get", 20), ("live", 25)))
    end = at(log, "report", 25) if at_lab else ill
    onward = blame(log, {end.place: 1.0}).onward
    path, place = [], make.place
    while place in onward and place != end.place:
        _, place, shared = onward[place]
        path.append((place, shared))
    wanted = [(get.place, "bag-20"), (ill.place, ("agent", "patient-0"))]
    assert path == [*wanted, *([(end.place, ("=", 25.5))] if at_lab else [])]


def test_what_all_events_of_a_sort_or_many_by_chance_have_links_nothing() -> None:
    log = wards(at_lab=True)
    links, make, live = SharedLinks(log), at(log, "make", 20), at(log, "report", 25)
    assert links.closest(make, live) is None
    assert links.closest(make, at(log, "get", 20)) == "bag-20"
