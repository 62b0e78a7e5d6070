"""What forks with and without a cause show: intervals that are known from print, and when nothing is shown."""

import pytest

from Agent.analysis.causality.chains import INFERRED, Edge, judged, judged_chance, newcombe, wilson
from Agent.analysis.debug import experiment_seam, experiments
from Agent.analysis.debug.experiment_seam import HowToTest, Measurable
from Agent.analysis.debug.experiments import complaint_of
from Agent.analysis.debug.question import read_question
from Agent.analysis.debug.report import Cause
from Agent.replay.forks import interventions

AGENTS = {"worker_1": "worker", "worker_2": "worker"}
SERIES = ["action:publish", "tool:search", "reward", "error"]


def test_intervals_are_those_that_are_printed():
    # Newcombe, Statistics in Medicine 17 (1998), pages 857 and 873
    assert [round(each, 4) for each in wilson(81, 263, 0.95)] == [0.2553, 0.3662]
    assert [round(each, 4) for each in wilson(15, 148, 0.95)] == [0.0624, 0.1605]
    assert [round(each, 4) for each in newcombe(56, 70, 48, 80, 0.95)] == [0.0524, 0.3339]


def test_numbers_apart_are_shown_and_numbers_that_overlap_are_not():
    shown = judged("it dropped", [10, 12, 11, 13, 9], [2, 3, 1, 2, 2], 1)
    assert (shown.verdict, shown.effect) == ("SHOWN", 9.0)
    assert 0 < shown.low < 9 < shown.high
    open_ = judged("it dropped", [10, 2, 7, 5], [3, 8, 6, 4], 1)
    assert (open_.verdict, open_.reason) == ("INCONCLUSIVE", "the interval contains zero")
    assert open_.low < 0 < open_.high


def test_an_effect_the_other_way_round_is_no_cause():
    assert judged("it dropped", [0, 0], [5, 5], 1).verdict == "CONTRARY"
    assert judged("it dropped", [0, 0], [5, 5], -1).verdict == "SHOWN"
    assert judged("it dropped", [0, 0], [5, 5], 0).verdict == "SHOWN"


def test_the_share_of_the_complaint_that_a_cause_explains_is_printed():
    shown = judged("it dropped", [54, 54], [13, 13], 1, expected=0.0)
    assert (shown.verdict, shown.complaint) == ("SHOWN", 54.0)
    assert "explains 41 of 54 (76%)" in str(shown)
    assert shown.to_dict()["share"] == pytest.approx(41 / 54)
    missing = judged("it dropped", [2.0, 2.0], [8.0, 8.0], -1, expected=10.0)
    assert "explains 6 of 8 (75%)" in str(missing)
    assert judged("it dropped", [2, 2], [30, 30], -1, expected=10.0).share == 1.0


def test_a_cause_that_explains_next_to_nothing_of_the_complaint_is_not_shown():
    little = judged("it dropped", [54, 54], [51, 51], 1, expected=0.0)
    assert (little.verdict, little.reason) == ("INCONCLUSIVE", "it explains too little of the complaint")
    assert "explains 3 of 54 (6%)" in str(little)


def test_where_the_run_did_not_get_worse_the_complaint_has_no_size():
    shown = judged("it dropped", [12, 12], [15, 15], -1, expected=10.0)
    assert (shown.verdict, shown.share) == ("SHOWN", None)
    assert "explains" not in str(shown)


def test_a_cause_begins_with_the_event_that_explains_the_complaint(monkeypatch, tmp_path):
    class Tester:
        def try_events(self, suspicions):
            without = {"aaaaaaaa-1": 1, "aaaaaaaa-2": 15, "aaaaaaaa-3": 0}
            return [
                [interventions.TestedIntervention(None, "", lacks="no seeds")],
                *(
                    [interventions.TestedIntervention(each, "left out", (0, 0), (without[each],) * 2, 14.0)]
                    for each, _, _ in suspicions
                ),
            ]

    monkeypatch.setattr(experiment_seam, "find", lambda *_: Tester())
    edges = (
        Edge("aaaaaaaa-1", "aaaaaaaa-2", INFERRED, "same_call", "it waits 3600 ticks"),
        Edge("aaaaaaaa-2", "aaaaaaaa-3", INFERRED, "same_call", "it stopped"),
        Edge("aaaaaaaa-3", "worker_1:action:publish:stopped", INFERRED, "rate", ""),
    )
    told = "first: a call failed\nthen: it waits 3600 ticks\nthen: it stopped"
    cause = Cause("a call failed; therefore it stopped", told, ("aaaaaaaa-1",), (), edges, 0.6)
    question = read_question("worker_1 stopped publishing", AGENTS, SERIES)
    (found,), lines = experiments.tested([cause], question, tmp_path, HowToTest())
    assert found.title == "it waits 3600 ticks; therefore it stopped"
    assert found.explanation == "first: it waits 3600 ticks\nthen: it stopped"
    assert (found.event_ids[0], found.confidence) == ("aaaaaaaa-2", 0.95)
    assert [edge.test.share for edge in found.edges] == [pytest.approx(1 / 14), 1.0, 0.0]
    assert "1 shown" in lines[0]


def test_what_cannot_be_tested_leaves_the_confidence_as_it_is(monkeypatch, tmp_path):
    class Tester:
        def try_events(self, suspicions):
            of_none = interventions.TestedIntervention(
                None, "", lacks="not testable: nothing recorded carries it"
            )
            return [[of_none], *([of_none] for _ in suspicions)]

    monkeypatch.setattr(experiment_seam, "find", lambda *_: Tester())
    edge = Edge("aaaaaaaa-1", "worker_1:action:publish:stopped", INFERRED, "rate", "")
    cause = Cause("it stopped", "first: it stopped", ("aaaaaaaa-1",), (), (edge,), 0.6)
    question = read_question("worker_1 stopped publishing", AGENTS, SERIES)
    (found,), _ = experiments.tested([cause], question, tmp_path, HowToTest())
    assert found.confidence == 0.6
    assert str(found.edges[0].test) == "INCONCLUSIVE: not testable: nothing recorded carries it"


def test_of_conditions_shares_are_compared():
    test = judged("it dropped", [True] * 18 + [False] * 2, [True] * 3 + [False] * 17, 0)
    assert test.verdict == "SHOWN"
    assert "Newcombe" in test.method
    assert test.with_it == 0.9
    few = judged("it dropped", [True, False, True], [False, True, False], 0)
    assert few.verdict == "INCONCLUSIVE"


def test_one_fork_of_each_shows_something_only_where_nothing_hangs_on_chance():
    assert judged("it dropped", [3], [0], 1).verdict == "SHOWN"
    assert judged("it dropped", [], [], 1).reason == "nothing was compared"
    assert judged("it dropped", ["x"], ["y"], 0).verdict == "INCONCLUSIVE"
    assert judged("it dropped", [3, 4], [0], 1).reason.startswith("randomness matters")


def test_a_run_is_unlucky_only_where_all_others_do_better():
    assert judged_chance("other seeds", 1, [2] * 19, -1).verdict == "SHOWN"
    one_as_bad = judged_chance("other seeds", 1, [2] * 18 + [1], -1)
    assert (one_as_bad.verdict, one_as_bad.reason) == ("INCONCLUSIVE", "1 of 19 other seeds do as badly")
    assert judged_chance("other seeds", 3, [2] * 19, -1).verdict == "CONTRARY"
    too_few = judged_chance("other seeds", 1, [2] * 5, -1)
    assert too_few.verdict == "INCONCLUSIVE"
    assert "19" in too_few.reason


@pytest.mark.parametrize(
    ("text", "sort", "series", "worse"),
    [
        ("worker_1 fails all the time", "count", ("error",), 1),
        ("worker_1 stopped publishing", "count", ("action:publish",), -1),
        ("the rewards of worker_1 fell", "reward", ("reward",), -1),
        ("worker_1 does search again and again", "count", ("tool:search",), 1),
        ("worker_1 does publish", "count", ("action:publish",), 0),
    ],
)
def test_what_is_measured_is_what_the_text_names(text, sort, series, worse):
    found = complaint_of(read_question(text, AGENTS, SERIES), (), HowToTest())
    assert found == (sort, series, ("worker_1",), worse)


def test_where_the_text_names_nothing_that_can_be_counted_the_leading_cause_says_it():
    question = read_question("worker_1 behaves oddly", AGENTS, SERIES)
    assert complaint_of(question, (), HowToTest()) is None
    edge = Edge("abcdefgh-1", "worker_1:action:publish:stopped", INFERRED, "state_before_change", "")
    cause = Cause("it stopped", "", (), (), (edge,), 0.6)
    assert complaint_of(question, [cause], HowToTest()) == ("count", ("action:publish",), ("worker_1",), -1)
    assert complaint_of(question, [cause], HowToTest(outcome="sold>3")) == ("state", (), ("worker_1",), 0)
    slow = read_question("worker_1 is very slow", AGENTS, SERIES)
    assert complaint_of(slow, [cause], HowToTest()) is None


def test_a_run_among_other_seeds_is_told_with_their_range_where_no_direction_is_known():
    test = judged_chance("other seeds", 38, [33, 38, 44] * 7, 0)
    assert test.reason == "38 is within what other seeds do, 33 to 44"


def test_what_is_counted_is_told_in_words():
    told = [
        Measurable("count", (each,), (), 1).in_words for each in ("action:publish", "tool:search", "error")
    ]
    assert told == ["the number of publish actions", "the number of calls of search", "the number of errors"]
