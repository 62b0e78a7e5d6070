"""What may differ between a recording and its replay: only what was declared, and never the wrong thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.errors import UsageError
from Agent.replay import Normaliser
from Agent.replay.compare.comparison import Comparison, Recorded

ONE, TWO = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "9b2e1c7a-0d5f-4c5e-8f56-2f1d6a1f0b11"
THREE, FOUR = "01234567-89ab-4def-8123-456789abcdef", "fedcba98-7654-4210-8fed-cba987654321"


def differs(recorded, replayed, types=None, **declared):
    comparison = Comparison(normaliser=Normaliser(**declared))
    found = comparison.difference(Recorded(recorded, types or {}, ""), Recorded(replayed, types or {}, ""))
    return None if found is None else found.path, dict(comparison.overlooked.counts)


@pytest.mark.parametrize(
    ("kind", "recorded", "replayed"),
    [
        ({"ids": True}, f"order {ONE} is paid", f"order {TWO} is paid"),
        ({"ids": True}, "span 8f2c11d0a4e96b37", "span 00f0a1d2c3b4a596"),
        ({"ids": True}, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVS0"),
        ({"times": True}, "at 2026-11-20T10:30:45.123Z", "at 2027-01-02T03:04:05Z"),
        ({"times": True}, 1_763_634_645.25, 1_763_999_999),
        ({"times": True}, 1_763_634_645_250, 1_763_999_999_001),
        ({"order": True}, [1, {"a": 2}, 3], [3, 1, {"a": 2}]),
        ({"floats": 1e-6}, 0.1 + 0.2, 0.3),
        ({"floats": 1e-6}, 2, 2.0000000001),
        ({"paths": True}, "read /tmp/run-1/data/a.csv", "read /home/me/data/a.csv"),
        ({"paths": True}, "/tmp/tmpab12cd34", "/var/folders/tmpzz99yy88"),
    ],
)
def test_a_declared_difference_is_overlooked_and_counted_and_otherwise_seen(kind, recorded, replayed):
    assert differs(recorded, replayed)[0] == ("/0" if isinstance(recorded, list) else "")
    path, counts = differs({"x": recorded}, {"x": replayed}, **kind)
    assert path is None
    assert sum(counts.values()) == 1


@pytest.mark.parametrize(
    ("kind", "recorded", "replayed"),
    [
        ({"ids": True}, f"order {ONE} is paid", f"order {TWO} is open"),
        ({"ids": True}, [ONE, ONE], [TWO, THREE]),
        ({"ids": True}, [ONE, TWO], [THREE, THREE]),
        ({"ids": True}, [ONE, TWO, ONE], [THREE, FOUR, FOUR]),
        ({"ids": True}, "abc", "abd"),
        ({"times": True}, "at 2026-11-20 by Ann", "at 2026-11-21 by Bob"),
        ({"times": True}, 17, 18),
        ({"times": True}, 1_763_634_645, 1_763_634_645_000),
        ({"times": True}, True, 1_763_634_645),
        ({"order": True}, [1, 1, 2], [1, 2, 2]),
        ({"order": True}, [1, 2], [1, 2, 3]),
        ({"floats": 1e-6}, 1.0, 1.1),
        ({"floats": 1e-6}, 1, 2),
        ({"floats": 1e-6}, 1, True),
        ({"paths": True}, "/tmp/run-1/a.csv", "/tmp/run-2/b.csv"),
        ({"paths": True}, "a/b", "c/b"),
        ({"times": True, "order": True, "floats": 1e-6, "paths": True}, ONE, TWO),
    ],
)
def test_everything_else_is_still_a_difference(kind, recorded, replayed):
    assert differs(recorded, replayed, **kind)[0] is not None


def test_ids_keep_their_counterparts_over_the_whole_replay():
    comparison = Comparison(normaliser=Normaliser(ids=True))

    def same(recorded, replayed):
        return comparison.difference(Recorded(recorded, {}, ""), Recorded(replayed, {}, "")) is None

    assert same({"id": ONE}, {"id": THREE})
    assert same({"parent": ONE}, {"parent": THREE})
    assert not same({"parent": ONE}, {"parent": FOUR})
    assert not same({"parent": TWO}, {"parent": THREE})


def test_a_try_that_fails_binds_no_id():
    comparison = Comparison(normaliser=Normaliser(ids=True, order=True))
    recorded = [{"id": ONE, "n": 1}, {"id": TWO, "n": 2}]
    replayed = [{"id": THREE, "n": 2}, {"id": FOUR, "n": 1}]
    assert comparison.difference(Recorded(recorded, {}, ""), Recorded(replayed, {}, "")) is None
    assert comparison.difference(Recorded(ONE, {}, ""), Recorded(FOUR, {}, "")) is None
    assert comparison.difference(Recorded(ONE, {}, ""), Recorded(THREE, {}, "")) is not None


def test_moments_and_durations_of_datetime_may_differ_and_other_tags_not():
    types = {"/at": "datetime", "/took": "timedelta"}
    one, other = (
        {"at": "2026-11-20T10:00:00", "took": [0, 1, 0]},
        {"at": "2027-01-01T00:00:00", "took": [0, 2, 0]},
    )
    assert differs(one, other, types)[0] == "/at"
    assert differs(one, other, types, times=True) == (None, {"times": 2})
    assert differs({"at": "1"}, {"at": "2"}, {"/at": "Decimal"}, times=True)[0] == "/at"


def test_sets_of_ids_are_compared_as_sets():
    assert differs([ONE, TWO], [FOUR, THREE], {"": "set"}, ids=True)[0] is None
    assert differs([ONE, TWO], [FOUR, "x"], {"": "set"}, ids=True)[0] is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_of_equal_values_nothing_is_overlooked(value):
    every = {"ids": True, "times": True, "order": True, "floats": 1e-9, "paths": True}
    assert differs(value, value, **every) == (None, {})


@pytest.mark.parametrize(
    "stored", [{"uuids": True}, {"ids": 1}, {"floats": True}, {"floats": 2.0}, {"floats": "x"}]
)
def test_what_no_normaliser_has_is_refused(stored):
    with pytest.raises(UsageError):
        Normaliser.from_object(stored)


def test_a_normaliser_survives_its_file():
    normaliser = Normaliser(ids=True, floats=1e-9)
    assert normaliser.to_object() == {"ids": True, "floats": 1e-9}
    assert Normaliser.from_object(normaliser.to_object()) == normaliser
    assert (str(normaliser), bool(normaliser), bool(Normaliser())) == ("ids, floats=1e-09", True, False)


STAMPED = """
import uuid, time

class Desk:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "desk"
        self.orders = {}

    @trace_agent_action
    def order(self, what):
        made = str(uuid.uuid4())
        self.orders[what] = made
        return {"id": made, "at": time.time(), "what": what}

    @trace_agent_action
    def look(self, what):
        return self.orders[what]

def build(spec):
    return Desk()

def main():
    desk = Desk()
    desk.order("tea")
    desk.order("jam")
    desk.look("tea")
"""


@pytest.mark.further
def test_ids_and_times_that_were_not_recorded_prove_nothing_until_they_are_declared(toy):
    toy.record(STAMPED)
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert {read.source for read in report.outcome.sources} == {"uuid.uuid4", "time.time"}
    report = toy.replay(normaliser=Normaliser(ids=True, times=True))
    assert report.verdict == "EQUIVALENT", str(report)
    told = "\n".join(report.outcome.normalisers)
    assert "uuid.uuid4 read by Desk.order" in told
    assert "ids that differ, as declared" in told
    # one of the two is not enough
    assert toy.replay(normaliser=Normaliser(ids=True)).verdict == "UNVERIFIED"


def test_a_wrong_reference_is_seen_through_a_normaliser(toy):
    toy.record(STAMPED).change("return self.orders[what]", 'return self.orders["jam"]')
    report = toy.replay(normaliser=Normaliser(ids=True, times=True))
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4)
    assert report.divergence.action == "look"
    assert any("this may be why the replay differs" in reason for reason in report.reasons)


ASKS = """
import uuid
from Agent.flight import record_tool

@record_tool
def search(query, request_id):
    return ["found " + query]

class Asker:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "asker"

    @trace_agent_action
    def ask(self, query):
        return search(query, str(uuid.uuid4()))

def build(spec):
    return Asker()

def main():
    Asker().ask("tea")
"""


def test_a_tool_answers_a_call_whose_arguments_differ_as_declared(toy):
    toy.record(ASKS)
    assert toy.replay(normaliser=Normaliser(ids=True)).verdict == "EQUIVALENT"
    toy.change("search(query, str", "search(query + '!', str")
    assert toy.replay(normaliser=Normaliser(ids=True)).divergence.field == "args"


UNORDERED = """
class Shelf:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "shelf"
        self.logger = AgentLogger("a", "shelf")

    @trace_agent_action
    def sort(self, names):
        for name in sorted(names):
            self.logger.log_decision(name, {})
        return sorted(names)

def build(spec):
    return Shelf()

def main():
    Shelf().sort(["b", "a", "c"])
"""


@pytest.mark.further
def test_another_order_of_results_and_effects_can_be_declared_and_missing_ones_not(toy):
    toy.record(UNORDERED)
    source = toy.source
    toy._save(source.replace("sorted(names)", "sorted(names, reverse=True)"))
    assert toy.replay().verdict == "DIVERGED"
    report = toy.replay(normaliser=Normaliser(order=True))
    assert report.verdict == "EQUIVALENT", str(report)
    toy._save(source.replace("sorted(names):", "sorted(names)[1:]:"))
    assert toy.replay(normaliser=Normaliser(order=True)).verdict == "DIVERGED"
