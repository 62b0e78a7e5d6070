"""The sentences of `debug` against the log that they are about: counts, agents, order, quotes, names."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st
from test_root_causes import Diary, found

from Agent.analysis import debug_issue
from Agent.analysis.causality.chains import INFERRED, Edge, judged
from Agent.analysis.debug.experiment_seam import Measurable
from Agent.analysis.debug.experiments import _with_tests
from Agent.analysis.debug.report import Cause
from Agent.analysis.debug.root_causes.acts import leaf, scalars
from Agent.analysis.debug.root_causes.causes import cause_of
from Agent.analysis.debug.root_causes.detectors import follow_ups, relations, values
from Agent.analysis.debug.root_causes.ranking import ChainStep, Hypothesis
from Agent.analysis.debug.root_causes.scan import Beside, Finding
from Agent.analysis.debug.root_causes.wording import Wording, short
from Agent.event.payloads import NAMED_BY
from Agent.tree.files.session import session_file

LACKS = re.compile(
    r"no (\w+)(?: of the same order)? (follows|comes before) (a repeated )?(\w+)(?: with order \w+)?"
    r"(?: \d+ times from tick \d+ on| at tick \d+)( before the next| since the last)?.* "
    r"\(it does in (\d+) of (\d+)"
)


def recounted(
    diary: Diary, lacks: str, name: str, *, is_after: bool, is_until_again: bool
) -> tuple[int, int]:
    """Return how many events of a name have one of another name about the same order beside them, and of how many."""
    lives: dict[str, list[str]] = defaultdict(list)
    for row in diary.rows:
        lives[row["extra"]["order"]].append(row["extra"]["action_type"])
    kept = number = 0
    for life in lives.values():
        for n, each in enumerate(life):
            if each == name:
                beside = life[n + 1 :] if is_after else life[:n][::-1]
                if is_until_again and name in beside:
                    beside = beside[: beside.index(name)]
                number += 1
                kept += lacks in beside
    return kept, number


@given(st.integers(0, 10_000), st.floats(0, 0.3), st.floats(0, 0.2))
def test_every_count_is_that_of_the_whole_log(seed: int, lacking: float, again: float) -> None:
    chance = random.Random(seed)
    diary = Diary()
    for n in range(60):
        for _ in range(1 + (chance.random() < again)):
            for name in ("forward", "check", "match"):
                if name == "forward" or chance.random() >= lacking:
                    diary.write(
                        n, "desk" if name == "forward" else "risk", action_type=name, order=f"o{n:02}"
                    )
    words = Wording(diary.log())
    for each in follow_ups.find(words.log):
        told = words.finding(each)
        if each.missing is None or each.missing.is_of_repeated:
            continue
        said = LACKS.search(told)
        assert said, told
        lacks, relation, _, name, until, kept, of = said.groups()
        counted = recounted(
            diary, lacks, name, is_after=relation == "follows", is_until_again=until is not None
        )
        assert (int(kept), int(of)) == counted, told


def test_one_break_and_all_of_them_are_counted_alike() -> None:
    diary = Diary()
    for n in range(60):
        for name in ("forward", "check") if n < 50 else ("forward",):
            diary.write(n, "desk", action_type=name, order=f"o{n:02}")
    log = diary.log()
    for act in log.acts:
        act.near = 1.0
    lacking = [each for each in follow_ups.find(log) if each.rule == "follow-up missing"]
    told = {Wording(log).finding(each).rpartition("(")[2] for each in lacking}
    assert {each.local for each in lacking} == {True, False}
    assert told == {"it does in 50 of 60)"}


def test_what_happens_after_the_next_one_is_not_said_to_be_missing_altogether() -> None:
    diary = Diary()
    for n in range(60):
        two = n == 40
        diary.write(n, "gate", action_type="forward", stamp=f"s{n:02}", part="a")
        if two:
            diary.write(n, "gate", action_type="forward", stamp=f"s{n:02}", part="b")
        diary.write(n, "engine", action_type="match", stamp=f"s{n:02}")
    for n in range(60, 70):
        diary.write(n, "gate", action_type="rest")
    (first, *_) = found(follow_ups.find, diary, "follow-up missing")
    assert Wording(diary.log()).finding(first) == (
        "no match follows forward with stamp s40 at tick 40 before the next forward of the same stamp "
        "(it does in 60 of 61)"
    )


def test_what_happens_too_often_to_a_thing_is_not_missing() -> None:
    """What happens often to one place is not looked at there, and so cannot be missing there."""
    diary = Diary()
    for n in range(12):
        for step in range(4):
            tick = 6 * n + step
            diary.write(tick, "cache", action_type="put", item=f"item_{n:02}")
            for _ in range(40 if n == 7 else 1):
                diary.write(tick, "shop", action_type="read", item=f"item_{n:02}", price=10)
    for tick in range(80, 100):
        diary.write(tick, "shop", action_type="rest")
    log = diary.log()
    for act in log.acts:
        act.near = 1.0
    told = [Wording(log).finding(each) for each in follow_ups.find(log)]
    assert not [each for each in told if "no read follows put" in each and "item_07" in each]


def test_a_message_that_was_not_received_is_told_as_such() -> None:
    diary = Diary()
    for n in range(60):
        box = f"box_{n:02}"
        diary.write(n, "crane", action_type="unload", box=box)
        sent = {"sender": "customs", "recipient": "yard", "box": box}
        diary.write(n, "customs", "agent_message", direction="sent", **sent)
        if n != 40:
            diary.write(n, "yard", "agent_message", direction="received", **sent)
        diary.write(n, "yard", action_type="hand_out", box=box)
    for n in range(60, 70):
        diary.write(n, "crane", action_type="rest")
    log = diary.log()
    told = {Wording(log).finding(each) for each in follow_ups.find(log)}
    assert (
        "no message received from customs by yard follows unload with box box_40 at tick 40 "
        "(it does in 59 of 60)"
    ) in told


@pytest.mark.parametrize(
    ("agents", "role", "told"),
    [
        (["ann"], "tool_user", "ann"),
        (["ann", "bob"], "tool_user", "a tool_user"),
        (["ann", "bob"], None, "an agent such as ann"),
        (["7"], "desk", "desk 7"),
    ],
)
def test_the_other_end_of_a_message_is_told_as_an_agent_and_not_as_its_role(
    agents: list[str], role: str | None, told: str
) -> None:
    diary = Diary()
    for n in range(60):
        box, agent = f"box_{n:02}", agents[n % len(agents)]
        diary.write(n, agent, action_type="unload", box=box)
        diary.rows[-1]["agent_role"] = role
        if n != 40:
            diary.write(n, agent, "agent_message", direction="sent", sender=agent, recipient="yard", box=box)
            diary.rows[-1]["agent_role"] = role
            diary.write(
                n, "yard", "agent_message", direction="received", sender=agent, recipient="yard", box=box
            )
        diary.write(n, "yard", action_type="hand_out", box=box)
    for n in range(60, 70):
        diary.write(n, "crane", action_type="rest")
    log = diary.log()
    found = " ".join(Wording(log).finding(each) for each in follow_ups.find(log))
    assert f"no message received from {told} by yard follows unload with box box_40 at tick 40" in found
    assert f"no message sent to yard by {told} comes before hand_out with box box_40 at tick 40" in found
    rate = Finding(
        "rate changes",
        log.by_sort["yard", "agent_message", f"received from {role or 'ann'}"][0].name,
        log.acts[:1],
        9.0,
        usual=1,
        found=2,
    )
    assert f"on average 2 messages received from {told} per tick" in Wording(log).finding(rate)


def test_what_several_agents_show_is_told_of_all_of_them() -> None:
    diary = Diary()
    for n in range(40):
        for deer in range(3):
            if n >= 30:
                diary.write(n, f"deer{deer}", "error", error_type="Collapse")
                diary.rows[-1]["message"] = "collapsed of thirst"
            diary.write(n, f"deer{deer}", action_type="walk")
    (first, *_) = found(values.find_rates, diary, "error comes up")
    words = Wording(diary.log())
    assert words.sentence(first.first, first).startswith(
        "deer0, deer1 and deer2: had the error Collapse 30 times"
    )


def test_a_mean_is_said_to_be_one() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "fox", action_type="step", energy=(80 if n < 30 else 20) + n % 7)
    (first, *_) = found(values.find, diary, "level shifts")
    told = Wording(diary.log()).finding(first)
    assert told == "energy of step is 22.97 on average from tick 30 on (82.83 before)"


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ("step", "on average 2 step per tick"),
        ("state_change", "on average 2 changes of state per tick"),
        ("sent to barn", "on average 2 messages sent to barn per tick"),
    ],
)
def test_what_is_counted_is_told_in_the_plural_unless_it_is_a_name(about: str, told: str) -> None:
    diary = Diary()
    for n in range(3):
        diary.write(n, "fox", action_type="step", energy=n)
    log = diary.log()
    finding = Finding("rate changes", about, [log.acts[1]], 9.0, usual=1, found=2)
    assert Wording(log).finding(finding) == f"{told} from tick 1 on (1 before)"


@pytest.mark.parametrize("text", ["not released, driver sent away", "two  blanks", "a,b"])
def test_a_text_of_the_log_is_quoted_as_it_is(text: str) -> None:
    diary = Diary()
    for n in range(3):
        diary.write(n, "gate", "log")
        diary.rows[-1]["message"] = text
    log = diary.log()
    assert Wording(log).sentence(log.acts[1], None) == f'gate: logged "{text}" at tick 1'


def test_a_long_text_ends_in_dots_within_its_quotes() -> None:
    assert short("word " * 20)[-4:] == '..."'


def test_what_is_known_from_later_events_is_not_called_usual() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "ranger", action_type="survey", place=f"pond_{n % 3}", depth=[6, 40][n == 5] + n % 3)
    told = {Wording(diary.log()).finding(each) for each in relations.find(diary.log())}
    assert "survey with place pond_2 has depth 42 at tick 5; elsewhere it is about 8" in told
    assert not [each for each in told if "as usual" in each]


def chained(diary: Diary, shared: Any, *, between: int = 0) -> Cause:
    log = diary.log()
    steps = [ChainStep(log.acts[n], None, shared, is_asked=True) for n in (*[between] * bool(between), -1)]
    return cause_of(Hypothesis([log.acts[-12]], [], 1.0, 0.5, steps), Wording(log))


def test_events_that_share_only_a_common_number_are_not_cause_and_effect() -> None:
    diary = Diary()
    for n in range(40):
        diary.write(n, f"clerk{n}", action_type="rest")
    for n in range(40, 52):
        diary.write(n, f"desk{n}", action_type=["ask", "bid"][n % 2], qty=50, lot=f"lot-{n // 46}")
    cause = chained(diary, ("qty", 50))
    assert "therefore" not in cause.title
    assert "then: desk51: called bid (lot lot-1) at tick 51 (both have qty 50)" in cause.explanation
    assert "therefore desk51: called bid" in chained(diary, "lot-0").title


def test_what_the_title_says_is_not_said_again_below_it() -> None:
    diary = Diary()
    for n in range(12):
        diary.write(n, f"desk{n}", action_type=NAMES[n], lot="lot-1", n=n)
    cause = chained(diary, "lot-1", between=4)
    assert cause.title == (
        "desk0: called ask (lot lot-1) at tick 0; therefore desk11: called levy (lot lot-1) at tick 11"
    )
    assert cause.explanation == (
        "first: desk0: called ask (lot lot-1) at tick 0\nthen: desk4: called earn (lot lot-1) at tick 4"
    )


NAMES = ["ask", "bid", "call", "deal", "earn", "fold", "gain", "hold", "issue", "join", "keep", "levy"]


def test_a_step_is_told_with_its_own_time_if_its_finding_began_before_the_last_step() -> None:
    diary = Diary()
    for n in range(12):
        diary.write(n, "desk", action_type=NAMES[n], lot="lot-1")
    log = diary.log()
    fails = Finding("fails", "call", [log.acts[2]], 9.0, extras=(log.acts[7],))
    steps = [ChainStep(log.acts[5], None, "lot-1", is_asked=True), ChainStep(log.acts[7], fails, "lot-1")]
    cause = cause_of(Hypothesis([log.acts[0]], [], 1.0, 0.5, steps), Wording(log))
    assert cause.title == (
        "desk: called ask (lot lot-1) at tick 0; therefore called hold (lot lot-1) at tick 7"
    )
    assert cause.explanation == (
        "first: desk: called ask (lot lot-1) at tick 0\nthen: desk: called fold (lot lot-1) at tick 5"
    )


def test_a_silence_is_no_cause_of_what_happened_before_it() -> None:
    diary = Diary()
    for n in range(12):
        diary.write(n, "cab" if n < 8 else "desk", action_type=NAMES[n], lot="lot-1")
    log = diary.log()
    silence = Finding(
        "rate changes", "hold", [log.acts[9]], 9.0, (("agent", "cab"),), 0.5, 0, extras=(log.acts[6],)
    )
    found = {}
    for after in (7, 10):
        step = ChainStep(log.acts[after], None, "lot-1", is_asked=True)
        found[after] = cause_of(Hypothesis([log.acts[6]], [silence], 1.0, 0.5, [step]), Wording(log))
    silent = "no hold from tick 9 on (0.5 per tick before)"
    assert found[10].title == f"cab: {silent}; therefore desk: called keep (lot lot-1) at tick 10"
    assert found[7].title == (
        "cab: called gain (lot lot-1) at tick 6; therefore called hold (lot lot-1) at tick 7"
    )
    assert found[7].explanation.splitlines()[1:] == [f"afterwards: {silent}"]
    steps = [
        ChainStep(log.acts[6], silence, "lot-1", is_asked=True),
        ChainStep(log.acts[7], None, "lot-1", is_asked=True),
    ]
    cause = cause_of(Hypothesis([log.acts[5]], [], 1.0, 0.5, steps), Wording(log))
    assert "then: cab: called gain (lot lot-1) at tick 6" in cause.explanation.splitlines()


def test_the_link_that_is_printed_is_one_of_the_two_events_that_are_printed() -> None:
    diary = Diary()
    for n in range(12):
        diary.write(n, f"desk{n}", action_type="ask", lot=f"lot-{n // 2}", box=f"box-{(n + 1) // 2}")
    diary.write(12, "desk0", action_type="bid", lot="lot-0")
    for n in range(13, 30):
        diary.write(n, "door", action_type="rest")
    log = diary.log()

    def steps(*shared: str) -> list[ChainStep]:
        return [ChainStep(log.acts[n], None, each) for n, each in enumerate(shared, 1)]

    # Of events that are alike the last is told; the one between is, too, where it alone links them.
    cause = cause_of(Hypothesis([log.acts[0]], [], 1.0, 0.5, steps("lot-0", "box-1", "lot-1")), Wording(log))
    assert cause.explanation.splitlines()[1:] == [
        f"then: desk{n}: called ask (lot lot-{n // 2}, box box-{(n + 1) // 2}) at tick {n}" for n in (1, 2, 3)
    ]
    assert [each.reason.rpartition("; linked: ")[2] for each in cause.edges] == [
        f"both have {each}" for each in ("lot-0", "box-1", "lot-1")
    ]


def test_an_item_of_a_list_is_told_with_its_place_and_a_list_as_a_whole() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "ranger", action_type="survey", place=f"pond_{n % 3}", at=[(1, 60)[n == 5] + n % 3, 9])
    log = diary.log()
    told = {Wording(log).finding(each) for each in relations.find(log)}
    assert "survey with place pond_2 has at[0] 62 at tick 5; elsewhere it is about 3" in told
    assert (
        Wording(log).sentence(log.acts[4], None)
        == "ranger: called survey (place pond_1, at [2, 9]) at tick 4"
    )


def test_a_part_of_a_name_is_told_in_words() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "porter", action_type="bring", to=f"ward_{n % 5}/{9 if n == 50 else n % 4}")
    told = {Wording(diary.log()).finding(each) for each in found(values.find, diary, "new value")}
    assert "the third part of to in bring is 9 for the first time at tick 50 (before: 0, 1, 2)" in told


def test_an_error_that_was_logged_is_told_with_the_words_of_the_log() -> None:
    diary = Diary()
    for n in range(3):
        diary.write(n, "ward", "error", error_type="TimeoutError", error_message="late")
        diary.rows[-1]["message"] = "gave up, asked again"
    log = diary.log()
    told = Wording(log).sentence(log.acts[0], None)
    assert told == 'ward: logged "gave up, asked again" with TimeoutError at tick 0'


def test_a_key_names_only_the_events_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMED_BY, "spending", "resource")
    diary = Diary()
    diary.write(0, "a", "spending", resource="tokens", amount=2)
    diary.write(0, "a", "decision", decision_type="go", resource="tokens")
    assert [(act.name, set(act.values)) for act in diary.log().acts] == [
        ("tokens", {"amount"}),
        ("go", {"resource"}),
    ]


def test_what_an_agent_never_did_is_told_so(builder: SessionBuilder) -> None:
    for n in range(6):
        for agent in ("a", "b", "c"):
            builder.emit("agent_action", agent, agent_role="shop", action_type="open")
            if agent != "a":
                builder.emit("agent_action", agent, agent_role="shop", action_type="close", n=n)
    said = debug_issue("a does not close", session=builder.path).observations
    assert "a never called close; its 2 peers 6 times each." in said


@pytest.mark.parametrize(
    ("kind", "payload", "text", "said"),
    [
        ("decision", {"decision_type": "wait"}, "a does not wait", "a never decided wait; its 1 peer 6 times."),
        ("reward", {"reward": 1.0}, "a gets no reward", "a never recorded reward; its 1 peer 6 times."),
        (
            "interaction", {"interaction_type": "like"},
            "a does not like", "a never interacted (like); its 1 peer 6 times.",
        ),
    ],
)  # fmt: skip
def test_what_an_agent_did_is_told_by_the_verb_of_its_kind(
    builder: SessionBuilder, kind: str, payload: dict[str, Any], text: str, said: str
) -> None:
    for n in range(6):
        builder.emit("agent_action", "a", agent_role="shop", action_type="open")
        builder.emit(kind, "b", agent_role="shop", **payload, n=n)
    assert said in debug_issue(text, session=builder.path).observations


@pytest.mark.parametrize("text", ["ward_9/3 was occupied", "WARD_9/3"])
def test_a_name_that_the_session_lacks_is_said_and_no_cause_is_sure(
    builder: SessionBuilder, text: str
) -> None:
    for n in range(40):
        builder.emit("agent_action", "porter", action_type="bring", to=f"ward_{n % 5}/{n % 4}", tick=n)
        if n == 30:
            builder.emit("log", "porter", level="ERROR", message="occupied", tick=n)
    report = debug_issue(text, session=builder.path)
    assert f"{text[:8]} is not in this session." in report.observations
    assert all(cause.confidence < 0.5 for cause in report.causes)
    known = debug_issue(text.replace("9", "3"), session=builder.path).observations
    assert not [each for each in known if "is not in this session" in each]


def test_a_number_that_names_nothing_is_no_name(builder: SessionBuilder) -> None:
    for n in range(40):
        builder.emit("agent_action", "porter", action_type="bring", to=f"ward_{n % 5}/{n % 4}", tick=n)
    for text in ("since day 67 beds are full", "after 12 hours porter sleeps", "gate 77 is closed"):
        said = debug_issue(text, session=builder.path).observations
        assert not [each for each in said if "is not in this session" in each]


def test_a_replay_without_target_is_proposed_where_the_script_is(
    builder: SessionBuilder, tmp_path, monkeypatch
) -> None:
    builder.emit("agent_action", "a", action_type="act")
    session_file(builder.path).write_text(
        f'{{"session_id": "{builder.session_id}", "session_uid": "", "argv": ["run.py"]}}'
    )

    def proposed() -> list[str]:
        return [each for each in debug_issue("a", session=builder.path).commands if " replay " in each]

    monkeypatch.chdir(tmp_path)
    assert proposed() == []
    (tmp_path / "run.py").touch()
    assert len(proposed()) == 1


def test_a_cause_that_forks_move_to_its_end_is_told_by_its_end() -> None:
    edges = (Edge("aaaaaaaa-1", "aaaaaaaa-2", INFERRED, "shared_value", "bob: called look at tick 7"),)
    cause = Cause(
        "bob: called rest at tick 3; therefore called look at tick 7",
        "first: bob: called rest at tick 3\nalso: rest is repeated", ("aaaaaaaa-1",), ("bob",), edges, 0.4,
    )  # fmt: skip
    same, fewer = judged("x", [5.0] * 4, [5.0] * 4, 1), judged("x", [5.0, 5.1] * 10, [1.0, 1.1] * 10, 1)
    tests = [("aaaaaaaa-1", "", same), ("aaaaaaaa-2", "", fewer)]
    begun = _with_tests(cause, tests, Measurable("count", ("action:look",), ("bob",), 1))
    assert begun.title == "bob: called look at tick 7"
    assert begun.explanation == "first: bob: called look at tick 7\nalso: rest is repeated"


def test_what_a_list_names_at_a_seldom_used_place_is_not_missing() -> None:
    diary = Diary()
    for n in range(60):
        diary.write(n, "call", action_type="phone", person=f"p{n:02}")
        held = [f"p{n:02}"] if n != 40 else ["p38", "p39", "p40"]
        diary.write(n, "lift", action_type="take", orders=held)
    for n in range(60, 70):
        diary.write(n, "lift", action_type="rest")
    log = diary.log()
    words = Wording(log)
    for act in log.acts:
        act.near = 1.0
    lacking = [
        each for each in follow_ups.find(log) if each.missing and each.first.values.get("person") == "p40"
    ]
    assert lacking
    assert not [words.finding(each) for each in lacking if words.is_true(each)]


@pytest.mark.parametrize("name", ["paid", "grid", "monkey", "casino", "id", "no"])
def test_a_word_that_ends_like_an_identifier_is_told_whole(name: str) -> None:
    assert leaf(f"args.{name}") == name


@pytest.mark.parametrize("name", ["order_id", "orderId", "order-no", "orderID", "ORDER_KEY", "order_number"])
def test_a_thing_is_told_without_the_suffix_of_its_field(name: str) -> None:
    assert leaf(f"args.{name}") == "order"


def test_a_name_keeps_a_number_that_does_not_vary() -> None:
    diary = Diary()
    for n in range(4):
        diary.write(n, "node", action_type=["http2_get", f"retry_{n}"][n % 2])
    assert [act.name for act in diary.log().acts] == ["http2_get", "retry_#", "http2_get", "retry_#"]


def test_only_a_field_that_no_earlier_event_had_is_called_new() -> None:
    diary = Diary()
    for n in range(40):
        fields = {"litres": n} | ({"label": "x"} if n % 4 else {}) | ({"printed": 1} if n in {8, 31} else {})
        diary.write(n, "packer", action_type="fill", **({**fields, "seal": 2} if n == 35 else fields))
    told = {Wording(diary.log()).finding(each) for each in found(values.find, diary, "fields differ")}
    assert "fill has printed for the first time at tick 8" in told
    assert "fill has a combination of fields (with printed) for the first time at tick 31" in told
    assert "fill has seal for the first time at tick 35" in told


def test_a_new_order_of_two_events_says_whether_they_are_of_one_agent() -> None:
    diary = Diary()
    for n in range(60):
        for keg in ("K0", "K1", "K2"):
            agent = "desk1" if n % 2 or (n, keg) == (50, "K1") else "desk0"
            diary.write(n, agent, action_type=["fill", "tap"][n % 2], keg=keg)
    told = {Wording(diary.log()).finding(each) for each in found(follow_ups.find, diary, "order never seen")}
    assert (
        "fill directly follows tap by the same agent about the same keg for the first time at tick 50" in told
    )


def test_the_ratio_of_two_numbers_is_the_mean_of_their_ratios() -> None:
    diary, chance = Diary(), random.Random(3)
    kept: list[float] = []
    for n in range(80):
        seconds = chance.uniform(400, 1600)
        kg = seconds * (0.5 if n < 60 else 0.65) + chance.uniform(-9, 9)
        kept.append(kg / seconds)
        diary.write(n, "mixer", action_type="feed", kg=kg, auger_s=seconds)
    (first, *_) = [each for each in values.find(diary.log()) if each.about == "feed kg per auger_s"]
    at = first.first.place
    assert (first.usual, first.found) == (
        pytest.approx(sum(kept[:at]) / at), pytest.approx(sum(kept[at:]) / (80 - at)),
    )  # fmt: skip


def test_what_holds_in_less_than_half_of_all_events_is_no_reason() -> None:
    diary = Diary()
    for n in range(40):
        diary.write(n, "desk", action_type="call", asked=1.0, given=1.0)
    log = diary.log()
    for kept, is_said in ((19, False), (20, True)):
        beside = Beside("asked", 1.0, "given", 1.0, 0.0, shares=(kept, 40))
        assert (
            Wording(log).is_true(Finding("amounts part", "call", [log.acts[3]], 9.0, beside=beside))
            is is_said
        )


def test_what_replays_compare_an_object_by_is_not_told() -> None:
    form = {"repr": "<shop.Box object>", "class": "shop.Box", "attributes": {"size": 3}, "without_code": "c1/3.11:aa",
            "digest": "c1/3.11:bb", "made": ["x"], "without_made": "c1/3.11:cc"}  # fmt: skip
    assert [path for path, _ in scalars(form, "state.box")] == [
        "state.box.repr", "state.box.class", "state.box.attributes.size",
    ]  # fmt: skip


def test_the_remaining_events_of_a_cause_are_named_by_their_ids() -> None:
    diary = Diary()
    for n in range(12):
        diary.write(n, "desk", action_type=NAMES[n], lot="lot-1")
    log = diary.log()
    cause = cause_of(Hypothesis(log.acts[:6], [], 1.0, 0.5, []), Wording(log))
    assert cause.explanation.splitlines()[-1] == "its other events: e-3, e-4, e-5"
