"""Where calls of the recorded actions prove nothing, the recorded program runs again as a whole."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.archive import seal
from Agent.archive.verify import verify
from Agent.errors import DamagedInput, ReplayError, TargetNotGiven
from Agent.replay import replay_run, replay_runs
from Agent.replay.golden.adding import add_golden
from Agent.replay.golden.trace import check_golden
from Agent.tree.layout import chains_dir

pytestmark = pytest.mark.process

PROGRAM = """
from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


class Meadow:
    def __init__(self):
        self.grass = [3] * 700

    def grow(self, day):
        for place in range(700):
            self.grass[place] += place * day % 5


class Cow:
    def __init__(self, name, meadow):
        self.agent_id, self.agent_role, self.meadow = name, "cow", meadow
        self.place = self.fat = 0

    @trace_agent_action
    def graze(self):
        eaten = self.meadow.grass[self.place] // 2
        self.meadow.grass[self.place] -= eaten
        self.fat += eaten
        self.place = (self.place + 13) % 700
        return eaten


def build(spec):
    meadow = Meadow()
    cows = {name: Cow(name, meadow) for name in ("berta", "lotte")}
    return cows if spec.agent_id is None else cows[spec.agent_id]


def main():
    setup_logging(trace_root="trace")
    meadow = Meadow()
    cows = [Cow(name, meadow) for name in ("berta", "lotte")]
    for day in range(12):
        meadow.grow(day)
        for cow in cows:
            cow.graze()
    END
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """Records the program in a directory of its own, and replays it there after a change."""
    place = tmp_path / "farm"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    return Farm(place)


class Farm:
    def __init__(self, place: Path) -> None:
        self.path = place / "cows.py"

    def record(self, text=PROGRAM, end="pass", arguments=(), settings=None) -> None:
        self.path.write_text(text.replace("END", end))
        environment = {**child_environment(), **(settings or {})}
        subprocess.run([sys.executable, "cows.py", *arguments], check=True, env=environment, timeout=60)

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert text.count(old) == 1
        self.path.write_text(text.replace(old, new))

    def replay(self, run: str = "last", **options):
        return replay_run(run, "cows:build", "trace", **options)


def remarks(report) -> str:
    return " ".join(report.outcome.remarks)


@pytest.mark.further
def test_an_unchanged_program_is_identical_though_untraced_code_changes_a_large_world(farm):
    farm.record()
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert (report.outcome.counts.covered, report.outcome.counts.actions) == (24, 24)
    assert "cows.py was run again as a whole, 2 times" in remarks(report)


@pytest.mark.further
def test_one_agent_alone_is_as_good_as_the_program(farm):
    farm.record()
    assert farm.replay("last/lotte").verdict == "IDENTICAL"


def test_a_changed_rule_is_diverged_at_the_step_that_does_otherwise(farm):
    farm.record()
    farm.change("self.fat += eaten", "self.fat += eaten + (self.fat > 20)")
    report = farm.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.fat"), str(report)


@pytest.mark.further
def test_an_agent_that_only_changed_code_makes_is_no_earlier_difference_than_what_made_it(farm):
    text = PROGRAM.replace(
        "            cow.graze()",
        "            with tick(day):\n                cow.graze()\n        if cows[0].fat > 30 and len(cows) == 2:\n            cows.append(Cow('calf', meadow))",
    )
    text = text.replace("from Agent import ", "from Agent import tick, ")
    farm.record(text)
    farm.change("self.fat += eaten", "self.fat += eaten * 3")
    report = farm.replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == (
        "DIVERGED",
        1,
        "state.fat",
    ), str(report)


@pytest.mark.further
def test_untraced_code_that_was_changed_is_diverged_where_an_agent_first_shows_it(farm):
    farm.record()
    farm.change("place * day % 5", "place * day % 5 + 2 * (day == 7)")
    report = farm.replay()
    assert (report.verdict, report.divergence.agent_id, report.divergence.field) == (
        "DIVERGED",
        "berta",
        "result",
    ), str(report)
    assert report.divergence.step == 15


SCHEDULED = """
from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


class Cow:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.fat = name, "cow", 0

    @trace_agent_action
    def graze(self, grass):
        self.fat += grass
        return self.fat


def build(spec):
    cows = {name: Cow(name) for name in ("berta", "lotte")}
    return cows if spec.agent_id is None else cows[spec.agent_id]


def hours(day):
    return 3 if day % 7 < 5 else 2


def grass(day):
    return 10 + day


def main():
    setup_logging(trace_root="trace")
    cows = [Cow(name) for name in ("berta", "lotte")]
    for day in range(12):
        for _ in range(hours(day)):
            for cow in cows:
                cow.graze(grass(day))
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("else 2", "else 1", "step 33, graze of berta: args, 15 and 16"),
        ("3 if day % 7 < 5", "4 if day % 7 < 5", "step 7, graze of berta: args, 11 and 10"),
        ("10 + day", "10 + day * (day < 6)", "step 35, graze of berta: args, 16 and 10"),
        (
            "for cow in cows:",
            "for cow in cows[1:]:",
            "step 1, graze of berta: calls, agent_action graze of berta and <absent>",
        ),
    ],
    ids=["fewer calls", "more calls", "other arguments", "an agent that is never called"],
)
def test_a_changed_scheduler_is_diverged_though_each_recorded_call_does_the_same(farm, old, new, differs):
    farm.record(SCHEDULED)
    farm.change(old, new)
    report = farm.replay()
    assert report.verdict == "DIVERGED", str(report)
    found = report.outcome.divergence
    place = f"step {found.step}, {found.action} of {found.agent_id}"
    assert f"{place}: {found.field}, {found.recorded} and {found.replayed}" == differs, str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("package", ["", "farm_of_cows"])
@pytest.mark.parametrize("changed", ["weather.py", "cows.py"])
def test_a_changed_module_that_the_target_does_not_import_is_diverged(farm, changed, package):
    """The script, and the world that it imports, in an ordinary layout: agents, world and main are apart."""
    place = farm.path.parent / package
    place.mkdir(exist_ok=True)
    dotted = f"{package}." if package else ""
    (place / "herd.py").write_text(
        "from Agent.utils import trace_agent_action\n"
        + SCHEDULED[SCHEDULED.index("class Cow:") : SCHEDULED.index("def hours")]
    )
    (place / "weather.py").write_text("def grass(day):\n    return 10 + day\n")
    farm.record(f"""
from Agent import setup_logging, shutdown_logging
from {dotted}herd import Cow
from {dotted}weather import grass

if __name__ == "__main__":
    setup_logging(trace_root="trace")
    cow = Cow("berta")
    for day in range(12):
        cow.graze(grass(day) + 1)
    shutdown_logging()
""")
    assert replay_run("last", f"{dotted}herd:build", "trace").verdict == "IDENTICAL"
    path = (farm.path.parent if changed == farm.path.name else place) / changed
    path.write_text(
        path.read_text().replace("10 + day", "10 + 2 * day").replace("grass(day) + 1", "grass(day) + 2")
    )
    report = replay_run("last", f"{dotted}herd:build", "trace")
    assert report.verdict == "DIVERGED", str(report)
    assert changed.removesuffix(".py") in str(report)


@pytest.mark.integration
def test_a_changed_module_counts_though_the_program_has_more_than_a_thousand(farm):
    place = farm.path.parent
    for number in range(1100):
        (place / f"part_{number}.py").write_text("")
    (place / "weather.py").write_text("def wind(day):\n    return day\n")
    farm.record(
        "import importlib\nfrom weather import wind\n"
        "PARTS = [importlib.import_module(f'part_{number}') for number in range(1100)]\n"
        + SCHEDULED.replace("10 + day", "10 + wind(day)")
    )
    (place / "weather.py").write_text("def wind(day):\n    return 2 * day\n")
    report = farm.replay()
    assert report.verdict == "DIVERGED", str(report)
    assert "but in no replayed method: weather" in str(report)


@pytest.mark.integration
def test_a_changed_override_that_is_not_traced_is_diverged(farm):
    """The recorded method is that of its base, so the calls of the actions do without the override."""
    override = """
class Calf(Cow):
    def graze(self):
        self.place += 5
        return super().graze()


def build(spec):"""
    farm.record(
        PROGRAM.replace("def build(spec):", override).replace("Cow(name, meadow)", "Calf(name, meadow)")
    )
    assert farm.replay().verdict == "IDENTICAL"
    farm.change("self.place += 5", "self.place += 6")
    report = farm.replay()
    assert report.verdict == "DIVERGED", str(report)


WEB = """
from Agent import setup_logging, shutdown_logging, trace_agent_action

CHOSEN = 1


class Node:
    def __init__(self):
        self.out = None


class Web:
    def __init__(self, agent_id):
        self.agent_id, self.nodes = agent_id, [Node(), Node(), Node()]

    @trace_agent_action
    def link(self):
        self.nodes[0].out = self.nodes[CHOSEN]


def build(spec):
    return Web(spec.agent_id)


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    web = Web("w")
    web.link()
    shutdown_logging()
"""


@pytest.mark.further
def test_another_of_equal_objects_is_diverged_if_the_program_ran_again(farm):
    farm.record(WEB)
    assert farm.replay().verdict == "IDENTICAL"
    farm.change("CHOSEN = 1", "CHOSEN = 2")
    report = farm.replay()
    assert report.verdict == "DIVERGED", str(report)
    assert "holds the object at /1" in str(report) and "holds the object at /2" in str(report)


@pytest.mark.further
def test_an_agent_without_a_truth_value_is_replayed(farm):
    farm.record(
        PROGRAM.replace(
            "    @trace_agent_action",
            "    def __bool__(self):\n        return 1 // 0\n\n    @trace_agent_action",
        )
    )
    assert farm.replay().verdict == "IDENTICAL", str(farm.replay())


@pytest.mark.further
def test_one_agent_does_what_it_did_and_the_note_says_that_its_program_does_not(farm):
    farm.record(SCHEDULED)
    farm.change("else 2", "else 1")
    report = farm.replay("last/lotte")
    assert report.verdict == "IDENTICAL", str(report)
    assert "the program as a whole differs first at another agent: step 33, graze of berta" in remarks(report)


@pytest.mark.further
def test_a_golden_trace_that_passes_says_that_code_around_the_calls_changed(farm):
    farm.record(SCHEDULED)
    golden = add_golden("last", "cows:build", "trace").golden
    assert check_golden(golden).notes == ()
    farm.change("else 2", "else 1")
    checked = check_golden(golden)
    assert checked.passes
    assert checked.notes == ("changed, but in no replayed method: cows; the recorded calls do the same",)


HERD = """
import asyncio

from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


class Cow:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.fat = name, "cow", 0

    @trace_agent_action
    async def graze(self, grass):
        await asyncio.sleep(0)
        self.fat += grass
        return self.fat


def build(spec):
    cows = {name: Cow(name) for name in ("berta", "lotte")}
    return cows if spec.agent_id is None else cows[spec.agent_id]


def grass(day):
    return 10 + day


async def main():
    setup_logging(trace_root="trace")
    cows = [Cow(name) for name in ("berta", "lotte")]
    for day in range(6):
        await asyncio.gather(*(cow.graze(grass(day)) for cow in cows))
    shutdown_logging()


if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.further
def test_a_changed_scheduler_of_tasks_that_only_code_orders_is_diverged(farm):
    farm.record(HERD)
    farm.change("10 + day", "10 + 2 * day")
    report = farm.replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)
    assert "argument grass" in str(report)


WAITS = {
    "a timer": "await asyncio.sleep(0.001)",
    "a thread": "await asyncio.to_thread(int)",
    "sets of tasks": "await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))])",
}


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_changed_scheduler_of_tasks_that_something_else_may_order_is_not_green(farm, wait):
    farm.record(HERD.replace("await asyncio.sleep(0)", wait))
    farm.change("10 + day", "10 + 2 * day")
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "records the same each time, but not what was recorded" in report.reasons[0]


@pytest.mark.further
def test_a_difference_of_the_actions_stays_one_though_their_scheduler_changed_too(farm):
    farm.record(HERD)
    farm.change("10 + day", "10 + 2 * day")
    farm.change("self.fat += grass", "self.fat += grass + (self.fat > 30)")
    report = farm.replay()
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
def test_a_scheduler_that_is_written_otherwise_is_identical(farm):
    farm.record(SCHEDULED)
    farm.change("return 3 if day % 7 < 5 else 2", "return 2 + (day % 7 < 5)")
    assert farm.replay().verdict == "IDENTICAL"


@pytest.mark.further
def test_a_change_without_an_effect_is_identical(farm):
    farm.record()
    farm.change(
        "eaten = self.meadow.grass[self.place] // 2", "eaten = int(self.meadow.grass[self.place] / 2)"
    )
    report = farm.replay()
    assert (report.verdict, report.changed_code) == ("IDENTICAL", ("berta.graze", "lotte.graze")), str(report)


@pytest.mark.integration
def test_a_program_that_does_otherwise_each_time_proves_nothing(farm):
    farm.record(PROGRAM.replace("place * day % 5", "os.urandom(1)[0] % 5").replace("\n", "\nimport os\n", 1))
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "cows.py, run again as a whole, does not record the same" in remarks(report)


DRAWING = PROGRAM.replace("eaten = ", "eaten = (DRAW < 2) * ").replace("\n", "\nimport random\n", 1)
SEEDED = DRAWING.replace(
    "    meadow = Meadow()\n    cows = [", "    random.seed(7)\n    meadow = Meadow()\n    cows = ["
)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("drawn", ["random.randrange(3)", "CHANCE.randrange(3)"])
def test_a_seed_of_the_program_is_the_seed_of_its_agents(farm, drawn):
    text = SEEDED.replace("\nclass Meadow", "\nCHANCE = random.Random(3)\n\n\nclass Meadow")
    farm.record(text.replace("DRAW < 2", drawn))
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert farm.replay("last/berta").verdict == "IDENTICAL"


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DRAWING.replace("DRAW", "random.random()"), "it draws without a seed: random by Cow.graze (cows.py"),
        (
            SEEDED.replace("DRAW", "random.Random().random()"),
            "it draws without a seed: a random.Random outside the exposed state by Cow.graze (cows.py",
        ),
    ],
)
def test_draws_without_a_seed_prove_nothing_even_if_they_change_nothing(farm, text, told):
    farm.record(text)
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert told in remarks(report), str(report)


@pytest.mark.further
def test_a_field_to_ignore_needs_a_target(farm):
    farm.record()
    with pytest.raises(TargetNotGiven, match="options that ignore, allow or refuse something need one"):
        replay_run("last", root="trace", ignore=["fat"])


@pytest.mark.integration
def test_recorded_draws_need_a_target(farm):
    text = DRAWING.replace("DRAW", "random.random()").replace(
        "            cow.graze()", "            with recorded_sources():\n                cow.graze()"
    )
    farm.record("from Agent.flight import recorded_sources\n" + text)
    report = replay_run("last", root="trace")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "only a replay with a target repeats the recorded draws" in str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("generator", "verdict"), [("RandomState(7)", "IDENTICAL"), ("RandomState()", "UNVERIFIED")]
)
def test_a_seed_counts_though_creating_the_generator_is_what_loads_numpys_module(farm, generator, verdict):
    text = PROGRAM.replace(
        "    meadow = Meadow()\n    cows = [",
        f"    meadow = Meadow()\n    meadow.grass[0] += numpy.random.{generator}.randint(3)\n    cows = [",
    )
    farm.record(text.replace("\n", "\nimport numpy\n", 1))
    # In a process of its own, which has not loaded numpy.
    command = [sys.executable, "-P", "-m", "Agent", "replay", "last", "--root", "trace"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), timeout=120)
    assert done.stdout.startswith(verdict), done.stdout


@pytest.mark.further
def test_a_program_whose_actions_leave_nothing_proves_nothing(farm):
    text = PROGRAM.replace("cow.graze()", "cow.graze(), AgentLogger('told').info('a day')")
    text = text.replace("from Agent import", "from Agent import AgentLogger,", 1)
    for line in ("self.meadow.grass[self.place] -= eaten", "self.fat += eaten", "return eaten"):
        text = text.replace(line, "pass")
    farm.record(text.replace("self.place = (self.place + 13) % 700", "pass"))
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)


@pytest.mark.further
def test_what_is_redacted_in_both_is_no_more_than_equivalent(farm):
    text = PROGRAM.replace(
        "self.place = self.fat = 0", "self.place = self.fat = 0; self.password = 'hunter2-is-long'"
    )
    farm.record(text)
    report = farm.replay()
    assert (report.verdict, "redacted" in report.outcome.normalisers[0]) == ("EQUIVALENT", True), str(report)


@pytest.mark.further
def test_a_damaged_recording_is_proved_by_no_program(farm):
    farm.record(
        PROGRAM.replace("meadow.grow(day)", "meadow.grow(day); AgentLogger('told').info('a day')").replace(
            "from Agent import", "from Agent import AgentLogger,", 1
        )
    )
    (log,) = Path("trace").glob("session_*/agents/told.log")
    log.write_bytes(log.read_bytes().replace(b'"a day"', b'"a day', 1))
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)


def log_of_berta():
    (log,) = Path("trace").glob("session_*/agents/berta.log")
    return log


def change_a_number():
    log, data = log_of_berta(), log_of_berta().read_bytes()
    log.write_bytes(data.replace(b'"result":1', b'"result":2', 1))
    assert log.read_bytes() != data


def swap_two_events():
    first, second, *rest = log_of_berta().read_bytes().splitlines(keepends=True)
    log_of_berta().write_bytes(b"".join([second, first, *rest]))


def remove_the_digests():
    shutil.rmtree(chains_dir(log_of_berta().parents[1]))


def flip_a_bit_of_the_archive():
    seal(log_of_berta().parents[1], remove=True)
    (part,) = Path("trace").glob("session_*/archive/*.parquet")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


@pytest.mark.first_case
@pytest.mark.parametrize(
    "edit", [change_a_number, swap_two_events, remove_the_digests, flip_a_bit_of_the_archive]
)
@pytest.mark.parametrize("target", ["cows:build", None])
def test_a_recording_that_verify_calls_edited_proves_nothing(farm, edit, target):
    farm.record(PROGRAM.replace("meadow.grow(day)", "pass"))
    session = log_of_berta().parents[1]
    edit()
    assert not verify(session).sound
    with suppress(DamagedInput):  # a part of the archive that cannot be read at all
        report = replay_run("last", target, "trace")
        assert report.verdict == "UNVERIFIED", str(report)
        assert f": agent-trace verify {session.name.removeprefix('session_')}" in str(report)


@pytest.mark.further
def test_an_edited_recording_is_not_a_difference_and_no_golden_trace(farm):
    farm.record(PROGRAM.replace("meadow.grow(day)", "pass"))
    change_a_number()
    report = farm.replay()
    assert (report.verdict, report.divergence.field) == ("UNVERIFIED", "result"), str(report)
    assert "the recording was changed after it was written: agents/berta.log lines 1 to" in str(report)
    with pytest.raises(ReplayError, match=r"changed after it was written: agents/berta\.log"):
        add_golden("last", "cows:build", "trace", name="cows")


@pytest.mark.first_case
@pytest.mark.parametrize("remove", [False, True])
def test_a_sealed_recording_is_as_it_was_written(farm, remove):
    farm.record(PROGRAM.replace("meadow.grow(day)", "pass"))
    seal(log_of_berta().parents[1], remove=remove)
    assert farm.replay().verdict == "IDENTICAL"


@pytest.mark.further
def test_files_are_written_in_a_copy_of_the_working_directory(farm):
    farm.record(end='open("result.txt", "a").write("done\\n")')
    Path("result.txt").write_text("mine")
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert Path("result.txt").read_text() == "mine"
    assert {path.name for path in Path().iterdir()} - {"__pycache__"} == {"cows.py", "result.txt", "trace"}
    assert len(list(Path("trace").glob("session_*"))) == 1


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.parametrize(
    ("reads", "verdict"),
    [("pass", "DIVERGED"), ("os.listdir()", "UNVERIFIED"), ("open('out.txt', 'a')", "UNVERIFIED")],
)
def test_output_that_is_redirected_beside_the_script_counts_once_the_program_asks_for_it(
    farm, reads, verdict
):
    farm.path.write_text(
        world_only(effect=EFFECTS["a list"][0]).replace("def main():", f"def main():\n    {reads}")
    )
    farm.path.write_text(farm.path.read_text().replace("\n", "\nimport os\n", 1))
    with open("out.txt", "w") as output:
        subprocess.run(
            [sys.executable, "cows.py"], check=True, env=child_environment(), stdout=output, timeout=60
        )
        output.write("the end")
    farm.change(*EFFECTS["a list"])
    changed = farm.replay()
    assert changed.verdict == verdict, str(changed)


@pytest.mark.further
def test_a_run_begins_without_the_files_that_the_recorded_run_made(farm):
    text = PROGRAM.replace(
        "meadow = Meadow()\n    cows = [",
        "meadow = Meadow()\n    meadow.grass[0] += os.path.exists('kept.txt')\n    cows = [",
    )
    farm.record(text.replace("\n", "\nimport os\n", 1), end='open("kept.txt", "a").write("done")')
    assert Path("kept.txt").exists()
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.first_case
@pytest.mark.further
@pytest.mark.parametrize(
    ("attempt", "told"),
    [
        ('open("FOREIGN/file", "w")', "to write FOREIGN/file"),
        ('import os; os.mkdir("FOREIGN/new")', "to write FOREIGN/new"),
        ('import os; os.remove("FOREIGN/kept")', "to write FOREIGN/kept"),
        ('import os; os.rename("FOREIGN/kept", "FOREIGN/moved")', "to write FOREIGN/kept"),
        ('import sqlite3; sqlite3.connect("FOREIGN/data.db")', "to write FOREIGN/data.db"),
        ('import subprocess; subprocess.run(["true"])', "a new process"),
        ("import os; os.kill(os.getppid(), 0)", "a signal to another process"),
        ('import socket; socket.create_connection(("127.0.0.1", 9))', "network"),
        ('import socket; socket.socket().bind(("0.0.0.0", 0))', "network"),
    ],
)
def test_what_a_program_may_not_do_is_refused_and_named(farm, tmp_path, attempt, told):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "kept").write_text("kept")
    attempt = attempt.replace("FOREIGN", str(foreign))
    guarded = f"import sys\n    if 'Agent.replay' in sys.modules: {attempt}"
    text = PROGRAM.replace(
        "    meadow = Meadow()\n    cows = [", f"    {guarded}\n    meadow = Meadow()\n    cows = ["
    )
    farm.record(text)
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert told.replace("FOREIGN", str(foreign)) in remarks(report), str(report)
    assert [path.name for path in foreign.iterdir()] == ["kept"]


@pytest.mark.further
def test_a_library_may_try_whether_it_can_bind_an_address_of_this_machine(farm):
    tried = "import socket\nwith socket.socket() as tried:\n    tried.bind(('127.0.0.1', 0))\n"
    farm.record(tried + PROGRAM)
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_program_may_use_the_shared_memory_of_the_standard_library(farm):
    farm.record("import multiprocessing\nshared = multiprocessing.Array('i', 3)\n" + PROGRAM)
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_target_with_other_code_than_the_program_is_judged_by_its_own(farm):
    farm.record()
    other = farm.path.read_text().replace("// 2", "// 3")
    Path("changed.py").write_text(other)
    report = replay_run("last", "changed:build", "trace")
    assert report.verdict != "IDENTICAL", str(report)
    assert "cows.py, run again as a whole, proves nothing: the target has different code" in remarks(report)


@pytest.mark.further
def test_code_or_constants_that_the_factory_sets_are_not_those_of_the_program(farm):
    farm.record(PROGRAM.replace("// 2", "// self.bite").replace("Cow:", "Cow:\n    bite = 2\n"))
    Path("stable.py").write_text(
        "import cows\n\ndef build(spec):\n    cows.Cow.bite = 3\n    return cows.build(spec)\n"
    )
    report = replay_run("last", "stable:build", "trace")
    assert report.verdict != "IDENTICAL", str(report)
    assert report.outcome.set_by_factory == ["cows.Cow.bite"]


@pytest.mark.further
def test_a_difference_of_the_target_alone_is_named_beside_the_verdict_of_the_program(farm):
    farm.record(
        PROGRAM.replace("meadow.grow(day)", "pass")
        .replace("// 2", "// len(self.__doc__)")
        .replace("Cow:", "Cow:\n    'ab'\n")
    )
    Path("stable.py").write_text(
        "import cows\n\ndef build(spec):\n    cows.Cow.__doc__ = 'abc'\n    return cows.build(spec)\n"
    )
    report = replay_run("last", "stable:build", "trace")
    assert report.verdict == "IDENTICAL", str(report)
    assert "or the target builds other objects" in remarks(report)


@pytest.mark.further
def test_a_program_that_is_not_here_leaves_the_verdict_as_it_was(farm, tmp_path, monkeypatch):
    farm.record()
    monkeypatch.chdir(tmp_path)
    report = replay_run("last", "cows:build", "farm/trace")
    assert report.verdict == "UNVERIFIED", str(report)


@pytest.mark.further
def test_nothing_runs_again_where_somebody_says_so(farm):
    farm.record()
    report = replay_run("last", "cows:build", "trace", program=False)
    assert (report.verdict, "run again" in remarks(report)) == ("UNVERIFIED", False), str(report)


@pytest.mark.further
def test_all_sessions_are_judged_so(farm):
    farm.record()
    assert [each.verdict for each in replay_runs("cows:build", "trace").runs] == ["IDENTICAL"]
    found = replay_runs("cows:build", "trace", program=False)
    assert [each.verdict for each in found.runs] == ["UNVERIFIED"]


@pytest.mark.further
@pytest.mark.parametrize("target", ["cows:build", None])
def test_each_session_of_a_program_that_records_two_is_compared_with_its_own(farm, target):
    text = PROGRAM.replace("class Cow:\n", "class Cow:\n    meals = 0\n\n")
    text = text.replace("return eaten", "Cow.meals += 1\n        return eaten, Cow.meals")
    farm.record(text.replace("    main()\n", "    main()\n    main()\n"))
    first, second = sorted(each.name.removeprefix("session_") for each in Path("trace").glob("session_*"))
    for run in (first, second):
        report = replay_run(run, target, "trace")
        assert report.verdict == "IDENTICAL", str(report)

    farm.change("Cow.meals += 1", "Cow.meals += 1 + (Cow.meals == 40)")
    assert [replay_run(run, target, "trace").verdict for run in (first, second)] == ["IDENTICAL", "DIVERGED"]

    shutil.rmtree(f"trace/session_{first}")
    report = replay_run(second, target, "trace")
    assert "it recorded 2 sessions" in str(report), str(report)


@pytest.mark.further
def test_a_program_runs_with_its_arguments_and_settings(farm):
    days = "range(int(__import__('sys').argv[1]))"
    farm.record(PROGRAM.replace("range(12)", days), arguments=["9"], settings={"AGENT_TRACE_LEVEL": "INFO"})
    report = farm.replay()
    assert (report.verdict, report.outcome.counts.actions) == ("IDENTICAL", 18), str(report)


WORLD_ONLY = """
import time
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


@dataclass
class Note:
    text: str


class World:
    def __init__(self):
        self.clock, self.number = 0, 0
        self.log, self.queue, self.notes = [], deque(), [Note("begin")]
        self.counts, self.nested, self.array = Counter(), {"deep": {"list": [0]}}, np.zeros(700)
        self.agents = []
        EXTRA


class Worker:
    def __init__(self, name, world):
        self.agent_id, self.agent_role, self.world, self.done = name, "worker", world, 0
        LINK

    @trace_agent_action
    def act(self):
        self.done += 1
        is_late = self.done == 7
        EFFECT
        return self.done


def make():
    world = World()
    return world, {name: Worker(name, world) for name in ("ann", "bob")}


def build(spec):
    workers = make()[1]
    return workers if spec.agent_id is None else workers[spec.agent_id]


def main():
    setup_logging(trace_root="trace")
    world, workers = make()
    for _ in range(10):
        world.clock += 1
        for worker in workers.values():
            worker.act()
    shutdown_logging()


if __name__ == "__main__":
    main()
"""
EFFECTS = {
    "a number": ("self.world.number += 1", "self.world.number += 1 + is_late"),
    "a list": ("self.world.log.append('up')", "self.world.log.append('UP' if is_late else 'up')"),
    "a queue": ("self.world.queue.append(1)", "self.world.queue.append(1 + is_late)"),
    "a counter": ("self.world.counts['a'] += 1", "self.world.counts['b' if is_late else 'a'] += 1"),
    "a nested list": (
        "self.world.nested['deep']['list'][0] += 1",
        "self.world.nested['deep']['list'][0] += 1 + is_late",
    ),
    "a record": ("self.world.notes[0].text += 'x'", "self.world.notes[0].text += 'y' if is_late else 'x'"),
    "an array": ("self.world.array[3] += 1", "self.world.array[3] += 1 + is_late"),
}
LINKS = {"a world alone": "pass", "a world of agents": "world.agents.append(self)"}


def world_only(link="pass", effect="pass", extra="pass"):
    return WORLD_ONLY.replace("LINK", link).replace("EFFECT", effect).replace("EXTRA", extra)


@pytest.mark.further
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_a_change_that_shows_in_the_world_alone_is_never_identical(farm, link, effect):
    farm.record(world_only(link, effect[0]))
    unchanged = farm.replay()
    assert unchanged.verdict == "IDENTICAL", str(unchanged)
    farm.change(*effect)
    changed = farm.replay()
    assert changed.verdict == "DIVERGED" and changed.divergence.field == "state.world", str(changed)


@pytest.mark.integration
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize(
    "extra",
    ["self.began = time.time_ns()", "self.many = [[number] for number in range(120_000)]"],
    ids=["another in each run", "too large"],
)
def test_a_world_of_which_nobody_can_tell_how_it_ended_proves_no_changed_code(farm, link, extra):
    farm.record(world_only(link, EFFECTS["a list"][0], extra))
    assert farm.replay().verdict == "IDENTICAL"
    farm.change(*EFFECTS["a list"])
    changed = farm.replay()
    assert changed.verdict == "UNVERIFIED", str(changed)


AUCTION = """
from Agent import setup_logging, shutdown_logging, trace_agent_action


class Lot:
    def __init__(self, reserve):
        self.best, self.history = reserve, []


class House:
    def __init__(self):
        self.lots = {f"lot{number}": Lot(number % 50) for number in range(450)}
        self.bidders = {}

    def place(self, name, price):
        self.lots[name].history.append(price)
        self.lots[name].best = max(price, self.lots[name].best)


class Bidder:
    def __init__(self, name, house):
        self.agent_id, self.agent_role, self.house, self.budget = name, "bidder", house, 400
        house.bidders[name] = self

    @trace_agent_action
    def bid(self, name):
        price = self.house.lots[name].best + 3
        self.house.place(name, price)
        self.budget -= price // 4
        return price


def make():
    house = House()
    return house, {name: Bidder(name, house) for name in ("ann", "bob")}


def build(spec):
    bidders = make()[1]
    return bidders if spec.agent_id is None else bidders[spec.agent_id]


def main():
    setup_logging(trace_root="trace")
    house, bidders = make()
    for number in range(8):
        for bidder in bidders.values():
            bidder.bid(f"lot{number * 50 + 7}")
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


@pytest.mark.further
def test_a_method_of_the_world_that_leaves_another_world_behind_is_never_identical(farm):
    farm.record(AUCTION)
    assert farm.replay().verdict == "IDENTICAL"
    farm.change("history.append(price)", "history.append(price + 1)")
    changed = farm.replay()
    assert changed.verdict == "DIVERGED" and changed.divergence.field == "state.house", str(changed)


@pytest.mark.further
def test_where_the_program_does_not_run_again_how_the_world_ends_decides_on_changed_code(farm):
    farm.record(AUCTION)
    farm.change("def main():", "# nothing that runs in an action\ndef main():")
    for run in ("last", "last/ann"):
        edited = farm.replay(run, program=False)
        assert edited.verdict == "IDENTICAL" and edited.outcome.changed_modules, str(edited)
    farm.change("history.append(price)", "history.append(price + 1)")
    for run in ("last", "last/ann"):
        changed = farm.replay(run, program=False)
        assert changed.verdict == "UNVERIFIED", str(changed)
        assert any("house leads to did not end as in the recording" in each for each in changed.reasons), str(
            changed
        )


OF_IDS = """
import sys
import uuid

from Agent import setup_logging, trace_agent_action
from Agent.flight import recorded_sources

class Clerk:
    agent_id = "clerk"

    def __init__(self):
        self.key, self.rule = "", lambda number: number + 1

    @trace_agent_action
    def open(self, number):
        self.key = uuid.uuid4().hex
        return self.rule(number)

    @trace_agent_action
    def told(self):
        return sys.argv[1:]

def build(spec):
    return Clerk()

if __name__ == "__main__":
    setup_logging(trace_root="trace")
    with recorded_sources():
        clerk = Clerk()
        for number in range(3):
            clerk.open(number)
        clerk.told()
"""


def test_actions_read_the_recorded_command_line(farm):
    farm.record(OF_IDS, arguments=["--days", "3"])
    assert farm.replay(program=False).verdict == "IDENTICAL"
    farm.change("sys.argv[1:]", "sys.argv[1:][1:]")  # of another length: byte code has times in whole seconds
    report = farm.replay(program=False)
    assert (report.verdict, report.divergence.action) == ("DIVERGED", "told"), str(report)


@pytest.mark.further
def test_ids_that_recorded_sources_answer_agree_by_form_in_another_run_of_the_program(farm):
    farm.record(OF_IDS)
    farm.change("return self.rule(number)", "return self.rule(number) + 0")
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "run again as a whole" in remarks(report)
    assert "values agree but for ids and times" in str(report)
    farm.change("lambda number: number + 1", "lambda number: 1 + number")
    report = farm.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "code changed in field rule of clerk" in str(report)
    farm.change("lambda number: 1 + number", "lambda number: 2 + number")
    assert farm.replay().verdict == "DIVERGED"


AROUND = """
import contextvars
from Agent import setup_logging, shutdown_logging, trace_agent_action

RATE = 2
ZONE = contextvars.ContextVar("zone", default=1)


class Cow:
    def __init__(self, agent_id):
        self.agent_id = agent_id

    @trace_agent_action
    def graze(self, day):
        return day * worth()


def worth():
    return ZONE.get() * RATE


def build(spec):
    return Cow(spec.agent_id)


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    cow = Cow("berta")
    for day in range(1, 4):
        token = ZONE.set(day)
        cow.graze(day)
        ZONE.reset(token)
    shutdown_logging()
"""


@pytest.mark.further
def test_a_changed_module_is_no_difference_where_the_program_as_a_whole_does_the_same(farm):
    """What surrounds a call, here a context variable, is why a replay of the calls alone differs."""
    farm.record(AROUND)
    assert farm.replay().verdict == "IDENTICAL"
    farm.change("RATE = 2", "RATE = 1 + 1")
    report = farm.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "step 2, graze of berta" in str(report) and "recorded the same 3 events" in str(report)
    farm.change("RATE = 1 + 1", "RATE = 3")
    report = farm.replay()
    assert (report.verdict, report.divergence.step, report.divergence.replayed) == ("DIVERGED", 1, 3), str(
        report
    )
    assert not report.outcome.is_of_program  # the calls by themselves show where


@pytest.mark.further
def test_a_count_that_constructors_keep_in_their_class_is_not_set_by_the_factory(farm):
    """So the program may run again, which shows what untraced code wrote into a dict of the module."""
    counted = AROUND.replace("    def __init__", "    count = 0\n\n    def __init__").replace(
        "        self.agent_id = agent_id\n",
        "        self.agent_id = agent_id\n        type(self).count += 1\n",
    )
    farm.record(
        counted.replace("return ZONE.get() * RATE", "return ZONES['here']")
        .replace("RATE = 2", "ZONES = {'here': 1}")
        .replace("token = ZONE.set(day)", "ZONES['here'] = day")
        .replace("        ZONE.reset(token)\n", "")
    )
    report = farm.replay()
    assert (report.verdict, report.outcome.set_by_factory) == ("IDENTICAL", []), str(report)
