"""What changed code does to globals, closures, defaults and attributes of functions is no IDENTICAL."""

from __future__ import annotations

import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.event.values.content_digest import content_of
from Agent.replay import replay_run
from Agent.replay.compare.program_state import LeftInProgram, left_otherwise

pytestmark = pytest.mark.process

PROGRAM = """
import contextvars
import functools
import time
from weakref import WeakKeyDictionary

from Agent import setup_logging, shutdown_logging, trace_agent_action

TOTALS = {"sum": 0, "other": 3}
COUNT = 0
RATES = {"us": 1.1}
CURRENT = contextvars.ContextVar("current", default=0)
CLOCK = []


class Charge:
    def __init__(self):
        self.kept = WeakKeyDictionary()

    def __get__(self, obj, cls=None):
        return self.kept.get(obj, 0)

    def __set__(self, obj, value):
        self.kept[obj] = value


def counter():
    count = 0

    def more(by):
        nonlocal count
        count += by
        return count

    return more


MORE = counter()


@functools.lru_cache(None)
def squared(number):
    return number * number


def noted(number, seen=[], *, most=0):
    seen.append(number)
    noted.__kwdefaults__["most"] = 1
    noted.calls = getattr(noted, "calls", 0) + 1


class Shelf:
    taken = 0

    def take(self):
        type(self).taken += 1
        STOCK.rows.append(1)


class Stock:
    def __init__(self):
        self.rows = []


STOCK = Stock()


class Clerk:
    agent_id, agent_role = "a", "clerk"
    charge = Charge()

    def __init__(self):
        self.n, self.shelf = 0, Shelf()

    @trace_agent_action
    def act(self):
        global COUNT
        self.n += 1
        self.charge = self.charge + 1
        TOTALS["sum"] += 1
        COUNT += 1
        CURRENT.set(CURRENT.get() + 1)
        MORE(1)
        squared(2)
        noted(7)
        self.shelf.take()
        return self.n * len(RATES)


def build(spec):
    return Clerk()


def main():
    setup_logging(trace_root="trace")
    clerk = Clerk()
    for _ in range(3):
        clerk.act()
    BEFORE_THE_END = TOTALS, COUNT
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


_RUN_AS_A_WHOLE = {"shop.COUNT", "shop.Clerk.charge.kept"}  # which takes ten times as long


@pytest.fixture
def place(tmp_path, monkeypatch):
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    return directory


def record(place: Path, source: str = PROGRAM) -> None:
    (place / "shop.py").write_text(source)
    subprocess.run([sys.executable, "shop.py"], check=True, env=child_environment(), cwd=place)


def changed(place: Path, before: str, after: str, source: str = PROGRAM, **options):
    assert source.count(before) == 1, before
    (place / "shop.py").write_text(source.replace(before, after))
    return replay_run("last", "shop:build", place / "trace", **options)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('TOTALS["sum"] += 1', 'TOTALS["sum"] += 2', "shop.TOTALS['sum']"),
        ("COUNT += 1", "COUNT += 2", "shop.COUNT"),
        ("CURRENT.get() + 1", "CURRENT.get() + 2", "shop.CURRENT"),
        ("MORE(1)", "MORE(2)", "shop.counter.<locals>.more.<closure>.count"),
        ("seen.append(number)", "seen.append(8)", "shop.noted.<default>.seen"),
        ('["most"] = 1', '["most"] = 2', "shop.noted.<default>.most"),
        ('"calls", 0) + 1', '"calls", 0) + 2', "shop.noted.calls"),
        ("self.charge + 1", "self.charge + 2", "shop.Clerk.charge.kept"),
        ("taken += 1", "taken += 2", "shop.Shelf.taken"),
        ("rows.append(1)", "rows.append(1.0)", "shop.STOCK.rows"),
    ],
)
def test_changed_code_that_leaves_the_program_otherwise_is_found(place, before, after, where):
    record(place)
    if where in _RUN_AS_A_WHOLE:
        report = changed(place, before, after)
        assert report.verdict == "DIVERGED", str(report)
        assert report.divergence.where == f"{where}, as the program left it"
    report = changed(place, before, after, program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"{where} did not end as in the recording" in str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("        self.n += 1", "        self.n = self.n + 1"),
        ("squared(2)", "squared(2), squared(3)"),
        ('RATES = {"us": 1.1}', 'RATES = {"eu": 1.0}'),
        ("self.n * len(RATES)", "(MEMO.setdefault(self.n, self.n)) * len(RATES)\n\n\nMEMO = {}"),
        ("BEFORE_THE_END = TOTALS", "BEFORE_THE_END = CLOCK, TOTALS"),
    ],
)
def test_refactored_code_stays_green(place, before, after):
    record(place)
    for options in ({}, {"program": False}) if "squared" in before else ({"program": False},):
        report = changed(place, before, after, **options)
        assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("line", ['KEYS[0]["password"] = "first-Q7zt9Lm2"', 'TOTALS["sum"] += 0'])
def test_a_secret_that_changed_code_may_have_left_in_the_program_is_no_more_than_equivalent(place, line):
    source = PROGRAM.replace("COUNT = 0\n", 'COUNT = 0\nKEYS = [{"password": "earlier-Q7zt9Lm2"}]\n')
    source = source.replace(
        "        COUNT += 1\n", f"        COUNT += 1\n        {line}\n        len(KEYS)\n"
    )
    record(place, source)
    again = line.replace("first", "second") if "first" in line else f"{line}; KEYS[0]['password'] = 'x' * 12"
    for options in ({}, {"program": False}):
        report = changed(place, line, again, source, **options)
        assert report.verdict == "EQUIVALENT", str(report)
        assert "redacted values" in str(report)
    report = changed(place, line, line, source)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_renamed_global_is_the_same(place):
    record(place)
    (place / "shop.py").write_text(PROGRAM.replace("TOTALS", "_SUMS"))
    for options in ({}, {"program": False}):
        report = replay_run("last", "shop:build", place / "trace", **options)
        assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_clock_in_a_global_is_no_red_and_no_green(place):
    source = PROGRAM.replace("        MORE(1)", "        CLOCK.append(time.perf_counter())\n        MORE(1)")
    source = source.replace("    for _ in", "    with recorded_sources():\n      for _ in")
    source = source.replace("        clerk.act()", "          clerk.act()")
    source = source.replace("import time", "import time\nfrom Agent.flight import recorded_sources")
    record(place, source)
    report = replay_run("last", "shop:build", place / "trace")
    assert report.verdict == "IDENTICAL", str(report)
    report = changed(place, "        self.n += 1", "        self.n = self.n + 1", source)
    assert report.verdict in {"IDENTICAL", "UNVERIFIED"}, str(report)


ORDERED = (
    PROGRAM.replace("        self.charge = self.charge + 1\n", "")
    .replace(
        """    clerk = Clerk()
    for _ in range(3):
        clerk.act()
""",
        """    for clerk in TWO:
        clerk.act()
""",
    )
    .replace(
        """def build(spec):
    return Clerk()
""",
        """class Second(Clerk):
    agent_id = "b"


TWO = [Clerk(), Second()]


def build(spec):
    return {"a": Clerk(), "b": Second()}
""",
    )
)


@pytest.mark.further
def test_another_order_of_agents_is_equivalent(place):
    record(place, ORDERED)
    report = changed(place, "for clerk in TWO", "for clerk in TWO[::-1]", ORDERED)
    assert report.verdict == "EQUIVALENT", str(report)
    assert "equal but for: the order in which agents act" in str(report)


@pytest.mark.integration
def test_a_new_global_is_named_and_keep_going_says_what_it_leaves_out(place):
    record(place)
    report = changed(place, "        MORE(1)", "        MORE(1)\n        noted.again = COUNT")
    assert report.verdict == "IDENTICAL", str(report)
    assert "note: the program now changes shop.noted.again, which the recording does not have" in str(report)
    report = changed(place, "COUNT += 1", "COUNT += 2", keep_going=3)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.texts == ("3", "6")
    assert "note: --keep-going looks for further differences where calls" in str(report)


def test_a_new_name_has_nothing_to_be_compared_with():
    recorded = LeftInProgram({"a.N": "c1:1"}, frozenset({"a.M"}))
    assert (
        left_otherwise(recorded, [LeftInProgram({"a.N": "c1:1", "a.NEW": "c1:2"}, frozenset({"a.M"}))]) == []
    )
    assert left_otherwise(recorded, [None]) == []
    (found,) = left_otherwise(recorded, [LeftInProgram({"a.N": "c1:1", "a.M": "c1:2"}, frozenset())])
    assert (found.name, found.recorded, found.is_steady) == ("a.M", "unchanged", True)
    (found,) = left_otherwise(recorded, [LeftInProgram({}, frozenset())])
    assert (found.name, found.is_steady) == ("a.N", False)


@pytest.mark.further
def test_a_program_without_such_state_tells_nothing(place):
    record(place, "from Agent import *\nsetup_logging(trace_root='trace')\n")
    log = next(place.glob("trace/session_*/system*.log")).read_text()
    assert '"program"' not in log


def test_a_new_or_missing_key_of_a_dict_of_the_program_is_a_difference():
    def left(unknown=frozenset(), **changed):
        return LeftInProgram(
            {f"a.T[{key!r}]": f"c1:{n}" for key, n in changed.items()}, frozenset(), {}, unknown
        )

    empty = LeftInProgram({}, frozenset({"a.T"}), {}, frozenset())
    for recorded, run in ((left(x=1), left(x=1, y=2)), (left(x=1, y=2), left(x=1)), (empty, left(y=2))):
        first = left_otherwise(recorded, [run, run])[0]
        assert (first.name, first.is_steady) == ("a.T['y']", True)
        assert "no value" in (recorded.shown(first.name), run.shown(first.name)) or recorded is empty
    assert left_otherwise(left(x=1, unknown=None), [left(x=1, y=2)]) == []  # an older recording
    assert left_otherwise(left(x=1, unknown=frozenset({"a.T['y']"})), [left(x=1, y=2)]) == []


def test_a_dict_that_gets_a_key_that_is_no_text_differs_itself_and_not_at_its_other_keys():
    keys = LeftInProgram({"a.T['x']": "c1:1"}, frozenset({"a.T['y']"}), {}, frozenset())
    whole = LeftInProgram({"a.T": "c1:5"}, frozenset(), {}, frozenset())
    for recorded, run in ((keys, whole), (whole, keys)):
        (found,) = left_otherwise(recorded, [run, run])
        assert (found.name, found.is_steady) == ("a.T", True)
        assert {recorded.shown("a.T"), run.shown("a.T")} == {
            "a dict with the keys 'x', 'y'",
            "content c1:5",
        }
    empty = LeftInProgram({"a.T": content_of({}).text}, frozenset(), {}, frozenset())
    found = left_otherwise(keys, [empty, empty])[0]
    assert (found.name, empty.shown(found.name)) == ("a.T['x']", "no value")


NUMBERED = """
import itertools
from Agent import setup_logging, shutdown_logging, trace_agent_action

IDS = itertools.count(1)

class Desk:
    def __init__(self, agent_id):
        self.agent_id, self.tickets = agent_id, []

    @trace_agent_action
    def ticket(self):
        self.tickets.append(next(IDS))
        return self.tickets[-1]

def build(spec):
    if spec.agent_id is None:
        return {agent_id: Desk(agent_id) for agent_id in spec.agent_ids}
    return Desk(spec.agent_id)

def main():
    for desk in (a := Desk("a"), Desk("b"), a):
        desk.ticket()
"""


def test_one_agent_that_shares_a_global_with_others_is_replayed_with_them(toy):
    toy.record(NUMBERED)
    refactored = ("self.tickets.append(next(IDS))", "number = next(IDS)\n        self.tickets.append(number)")
    report = toy.change(*refactored).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    assert "the whole session was replayed" in str(report)
    report = toy.change("append(number)", "append(-number)").replay("last/a")
    assert report.verdict == "DIVERGED", str(report)


LOOPED = """
from Agent import setup_logging, shutdown_logging, trace_agent_action

DAYS = {"now": 0}


class Clock:
    now = 0


class Sky:
    def __init__(self):
        self.now = 0


SKY = Sky()


def double(number):
    return number * 2


class Worker:
    agent_id = "ann"

    def __init__(self, rule=double):
        self.total, self.rule = 0, rule

    @trace_agent_action
    def work(self, load):
        load = min(load, 2)
        self.total += load
        return self.rule(self.total) + self.seen()

    def seen(self):
        return 0


def build(spec):
    return Worker()


def main():
    setup_logging(trace_root="trace")
    worker = Worker()
    for day in range(5):
        NOW = day
        worker.work(day)
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


def of_loop(now: str) -> str:
    """Return the program whose loop writes `now`, which its actions read."""
    return LOOPED.replace("NOW =", f"{now} =").replace("return 0", f"return {now}")


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("now", ["DAYS['now']", "Clock.now", "SKY.now"])
def test_an_edit_beside_state_that_the_loop_writes_is_judged_by_what_it_does(place, now):
    source = of_loop(now)
    record(place, source)
    report = changed(place, "self.total += load", "self.total = self.total + load", source)
    assert report.verdict == "IDENTICAL", str(report)
    assert report.changed_code == ("ann.work",)
    report = changed(place, "min(load, 2)", "min(load, 3)", source)
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 4), str(report)
    assert report.divergence.texts == ("13", "15")


@pytest.mark.further
def test_an_edit_that_the_calls_show_at_the_same_step_is_told_by_the_calls(place):
    source = of_loop("Clock.now")
    record(place, source)
    report = changed(place, "self.total += load", "self.total += load + 1", source)
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert not report.outcome.is_of_program


@pytest.mark.further
def test_a_changed_loop_beside_an_edit_without_effect_is_diverged_where_an_agent_shows_it(place):
    source = of_loop("DAYS['now']")
    record(place, source)
    other = source.replace("self.total += load", "self.total = self.total + load")
    (place / "shop.py").write_text(other.replace("= day\n", "= day + (day == 3)\n"))
    report = replay_run("last", "shop:build", place / "trace")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 4), str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("edit", ["self.total += load", "self.total = self.total + load"])
@pytest.mark.parametrize(
    "built",
    [
        "class Busy(shop.Worker):\n    def seen(self):\n        return 7\n\nbuild = lambda spec: Busy()\n",
        "def build(spec):\n    shop.DAYS['now'] = 7\n    return shop.Worker()\n",
        "def triple(number):\n    return number * 3\n\nbuild = lambda spec: shop.Worker(triple)\n",
    ],
)
def test_other_code_or_constants_of_the_target_are_not_excused_by_the_program(place, built, edit):
    """The program runs neither the target's class nor its function, and its dict has another value."""
    source = of_loop("DAYS['now']")
    record(place, source)
    (place / "busy.py").write_text(f"import shop\n\n{built}")
    (place / "shop.py").write_text(source.replace("self.total += load", edit))
    report = replay_run("last", "busy:build", place / "trace")
    assert report.verdict == "DIVERGED", str(report)


OF_GLOBAL = (
    LOOPED.replace("    worker = Worker()", "    global NOW\n    worker = Worker()")
    .replace("return 0", "return NOW")
    .replace("class Clock:", "NOW = 0\n\n\nclass Clock:")
)


@pytest.mark.further
def test_a_global_that_the_loop_writes_is_named_by_its_module(place):
    record(place, OF_GLOBAL)
    report = replay_run("last", "shop:build", place / "trace", program=False)
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: shop.NOW\n" in str(report)
    (place / "shop.py").write_text(OF_GLOBAL.replace("NOW = 0", "NOW = 7"))
    report = replay_run("last", "shop:build", place / "trace", program=False)
    assert "factory made shop.NOW=7, recorded 0\n" in str(report)


def test_an_edit_of_the_same_size_in_the_second_of_the_recording_is_seen(place):
    record(place, OF_GLOBAL)
    module = place / "shop.py"
    while time.time() % 1 > 0.5:
        time.sleep(0.01)
    module.touch()
    py_compile.compile(str(module), doraise=True)
    module.write_text(OF_GLOBAL.replace("NOW = 0", "NOW = 7"))
    report = replay_run("last", "shop:build", place / "trace", program=False)
    assert "factory made shop.NOW=7, recorded 0\n" in str(report)


def test_a_global_that_changed_code_left_otherwise_is_named_by_its_module(place):
    source = OF_GLOBAL.replace("return NOW", "return 0")
    source = source.replace("load = min", "global NOW\n        NOW += 2\n        load = min")
    record(place, source)
    report = changed(place, "NOW += 2", "NOW += 3", source, program=False)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == "shop.NOW, as it was before the step"


@pytest.mark.further
def test_a_report_says_which_code_changed_and_which_step_differs(place):
    source = of_loop("DAYS['now']")
    record(place, source)
    report = changed(place, "min(load, 2)", "min(load, 3)", source)
    assert report.headline == "DIVERGED ann: differs at step 4 of 5 actions", str(report)
    record(place)
    report = changed(place, "self.n += 1", "self.n = self.n + 1")
    assert report.headline == "IDENTICAL a: 3 of 3 actions covered; all fields seen"
    assert "each recorded call does the same, but a.act changed, so the program may call otherwise" in str(
        report
    )


@pytest.mark.first_case
@pytest.mark.parametrize("options", [{}, {"program": False}])
def test_a_method_that_an_action_adds_to_a_class_is_part_of_the_program(place, options):
    source = LOOPED.replace(
        "        self.total += load", "        type(self).bonus = lambda self: 1\n        self.total += load"
    )
    record(place, source)
    report = changed(place, "self.total += load", "self.total = self.total + load", source, **options)
    assert report.verdict == "IDENTICAL", str(report)
    report = changed(place, "type(self).bonus", "Clock.bonus", source, **options)
    assert report.verdict == ("UNVERIFIED" if options else "DIVERGED"), str(report)
    assert "methods of shop.Worker" in str(report)


@pytest.mark.further
def test_a_method_that_is_only_written_anew_is_no_difference(place):
    record(place, LOOPED)
    text = "    def worth(self):\n        return self.rule(self.total)\n\n    def seen"
    source = LOOPED.replace("    def seen", text).replace("self.rule(self.total) +", "self.worth() +")
    (place / "shop.py").write_text(source)
    for options in ({}, {"program": False}):
        report = replay_run("last", "shop:build", place / "trace", **options)
        assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("edit", ["time.time() + 3600", "time.time()"])
def test_times_that_agree_by_form_alone_do_not_excuse_an_edit(place, edit):
    """The calls get the recorded times, the program as a whole gets others."""
    source = of_loop("DAYS['now']").replace(
        "        load = min", "        self.at = time.time()\n        load = min"
    )
    source = source.replace(
        "from Agent import", "import time\n\nfrom Agent.flight import recorded_sources\nfrom Agent import"
    )
    source = source.replace(
        "    for day in range(5):\n        DAYS",
        "    for day in range(5):\n      with recorded_sources():\n        DAYS",
    )
    record(place, source)
    other = source.replace("time.time()", edit).replace(
        "self.total += load", "self.total = self.total + load"
    )
    (place / "shop.py").write_text(other)
    report = replay_run("last", "shop:build", place / "trace")
    assert report.verdict == ("DIVERGED" if "3600" in edit else "UNVERIFIED"), str(report)
    if "3600" in edit:
        assert (report.divergence.step, report.divergence.field) == (1, "state.at")


DISPATCHES = """
from functools import singledispatch, singledispatchmethod
from Agent import instrument, setup_logging, shutdown_logging

def half(one): return one / 2
def third(one): return one / 3

@singledispatch
def size(one): return 0

class Planner:
    agent_id = "p"
    @singledispatchmethod
    def show(self, one): return "?"
    def of_text(self, one): return "text"
    def of_number(self, one): return "number"
    show.register(int, of_number)
    show.register(str, of_text)
    def plan(self, one):
        size.register(float, half)
        return [self.show(one), size(one)]

def build(spec): return Planner()
if __name__ == "__main__":
    instrument(Planner, methods=["plan"])
    setup_logging(trace_root="trace")
    planner = Planner()
    for one in (1, "a", None):
        planner.plan(one)
    shutdown_logging()
"""


@pytest.mark.further
def test_the_order_in_which_functions_were_registered_for_classes_is_no_state_of_the_program(place):
    record(place, DISPATCHES)
    first, second = "    show.register(int, of_number)\n", "    show.register(str, of_text)\n"
    report = changed(place, first + second, second + first, DISPATCHES)
    assert report.verdict == "IDENTICAL", str(report)
    report = changed(place, "(float, half)", "(float, third)", DISPATCHES)
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where.startswith("shop.size.<registered>['builtins.float']"), str(report)
