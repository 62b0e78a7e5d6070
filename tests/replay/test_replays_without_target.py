"""Without a target, the recorded script runs again as a whole."""

import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from support.processes import child_environment

from Agent.errors import TargetNotGiven
from Agent.replay import replay_run

pytestmark = pytest.mark.process

SHOP = """
class Trader:
    def __init__(self, name, chance):
        self.name, self.chance, self.cash = name, chance, 10

    def trade(self, price):
        if self.chance.random() < 0.5:
            self.cash -= price
        return self.cash
"""
PROGRAM = """
import random

from Agent import instrument, setup_logging, shutdown_logging, tick
from shop import Trader

instrument(Trader, methods=["trade"], agent_id="name")
setup_logging(trace_root="trace")
chance = random.Random(SEED)
traders = [Trader(name, chance) for name in ("ann", "bob")]
for day in range(6):
    with tick(day):
        for trader in traders:
            trader.trade(1 + day % 3)
shutdown_logging()
"""


class Desk:
    def __init__(self, place):
        self.place = place

    def record(self, program=PROGRAM.replace("SEED", "4"), shop=SHOP):
        (self.place / "main.py").write_text(program)
        (self.place / "shop.py").write_text(shop)
        subprocess.run([sys.executable, "main.py"], check=True, env=child_environment(), timeout=60)

    def change(self, file, old, new):
        path = self.place / file
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    place = tmp_path / "desk"
    place.mkdir()
    monkeypatch.chdir(place)
    return Desk(place)


def replayed(run="last", **options):
    return replay_run(run, root="trace", **options)


def test_an_unchanged_script_is_identical_and_the_report_says_what_ran(desk):
    desk.record()
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    assert (report.outcome.counts.covered, report.outcome.counts.actions) == (12, 12)
    assert "no target was given: main.py was run again as a whole, 2 times" in str(report)
    assert str(report).splitlines()[-1].startswith("  program main.py, report in ")


def test_a_changed_method_is_diverged_at_its_step(desk):
    desk.record()
    desk.change("shop.py", "self.cash -= price", "self.cash -= price * (1 if self.cash > 7 else 2)")
    report = replayed()
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.field in {"result", "state.cash"}
    assert any("trade" in name for name in report.changed_code), report.changed_code


@pytest.mark.further
def test_a_changed_script_is_diverged_where_an_agent_first_shows_it(desk):
    desk.record()
    desk.change("main.py", "1 + day % 3", "1 + day % 3 + (day == 4)")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 4), str(report)
    assert "main" in " ".join(report.outcome.changed_modules)


@pytest.mark.further
@pytest.mark.parametrize(
    ("chance", "told"),
    [
        ("random.Random()", "a random.Random outside the exposed state by Trader.trade (shop.py"),
        ("random.SystemRandom()", "by Trader.trade (shop.py"),
        ("random", "random by Trader.trade (shop.py"),
    ],
)
def test_a_draw_without_a_seed_is_unverified_with_its_place(desk, chance, told):
    shop = SHOP.replace("< 0.5", "< 1.5")  # whose value does not matter, so that the runs agree
    desk.record(PROGRAM.replace("random.Random(SEED)", chance), shop)
    report = replayed()
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4), str(report)
    assert told in " ".join(report.reasons), str(report)
    assert "--target module:factory" in str(report)


@pytest.mark.further
def test_draws_that_the_program_records_need_no_seed(desk):
    text = PROGRAM.replace("random.Random(SEED)", "random").replace(
        "for day in", "random.seed(3)\nrecorded = recorded_sources()\nrecorded.__enter__()\nfor day in"
    )
    desk.record(text.replace("from shop", "from Agent.flight import recorded_sources\nfrom shop"))
    assert replayed().exit_code == 0, str(replayed())


@pytest.mark.further
def test_the_random_name_of_a_temporary_directory_is_no_draw_of_the_program(desk):
    shop = SHOP.replace(
        "        return self.cash", "        with TemporaryDirectory():\n            return self.cash"
    )
    desk.record(PROGRAM.replace("SEED", "4"), f"from tempfile import TemporaryDirectory\n{shop}")
    assert replayed().verdict == "IDENTICAL", str(replayed())


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        ("copy.deepcopy(random.Random(4))", "IDENTICAL"),
        ("random.Random(); chance.seed(4)", "IDENTICAL"),
        ("random.Random(); chance.random(); chance.seed(4)", "UNVERIFIED"),
        ("unseeded = random.Random(); chance = copy.deepcopy(unseeded)", "UNVERIFIED"),
        ("random.Random(); chance.setstate(random.getstate())", "UNVERIFIED"),
    ],
)
def test_a_generator_with_a_known_seed_or_state_before_its_first_draw_is_seeded(desk, made, verdict):
    desk.record("import copy\n" + PROGRAM.replace("chance = random.Random(SEED)", f"chance = {made}"))
    report = replayed()
    assert report.verdict == verdict, str(report)


@pytest.mark.further
def test_a_seeded_global_generator_is_as_good(desk):
    desk.record(PROGRAM.replace("random.Random(SEED)", "random\nrandom.seed(4)"))
    assert replayed().verdict == "IDENTICAL", str(replayed())


@pytest.mark.further
def test_a_result_file_that_the_script_writes_anew_hides_no_difference(desk):
    text = PROGRAM.replace("SEED", "4") + "open('out.txt', 'w').write(str([each.cash for each in traders]))\n"
    desk.record(text + "print(open('out.txt').read())\n")
    desk.change("main.py", "1 + day % 3", "1 + day % 3 + (day == 4)")
    assert replayed().verdict == "DIVERGED", str(replayed())
    desk.record(text + "open('out.txt', 'a').write('and more')\n")
    assert replayed().verdict == "IDENTICAL", str(replayed())


@pytest.mark.further
def test_a_script_that_reads_what_its_recording_wrote_proves_no_difference(desk):
    text = PROGRAM.replace("SEED", "4").replace("range(6)", "range(7 if os.path.exists('out.txt') else 6)")
    (desk.place / "out.txt").write_text("there")
    desk.record("import os\n" + text + "open('out.txt', 'a').write('more')\n")
    desk.change("main.py", "1 + day % 3", "1 + day % 3 + 0 * day")
    assert replayed().verdict == "UNVERIFIED", str(replayed())


KEPT = """
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from Agent import instrument, setup_logging, shutdown_logging
from shop import Trader

instrument(Trader, methods=["trade"], agent_id="name")
setup_logging(trace_root="trace")
Path("kept.db").unlink(missing_ok=True)
with closing(sqlite3.connect("kept.db")) as base, base:
    base.execute("create table prices (price)")
    base.execute("insert into prices values (3)")
price = int(Path("config.txt").read_text())
trader = Trader("ann", random.Random(4))
for _ in range(4):
    trader.trade(price)
shutdown_logging()
"""


@pytest.mark.further
def test_the_file_that_keeps_a_run_from_proving_anything_is_named_with_a_remedy(desk):
    (desk.place / "config.txt").write_text("2")
    os.utime(desk.place / "config.txt", (1_700_000_000, 1_700_000_000))
    desk.record(KEPT)
    assert replayed().verdict == "IDENTICAL", str(replayed())
    desk.change("shop.py", "self.cash -= price", "self.cash -= 2 * price")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "it asks for kept.db, left by the recorded run: remove it or put back" in str(report)
    assert "config.txt" not in str(report)
    (desk.place / "kept.db").unlink()
    report = replayed()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)


@pytest.mark.further
def test_a_file_that_was_written_after_the_recording_is_named(desk):
    (desk.place / "config.txt").write_text("2")
    os.utime(desk.place / "config.txt", (1_700_000_000, 1_700_000_000))
    desk.record(KEPT)
    time.sleep(1.1)  # a program may still write files in the second after its recording
    (desk.place / "config.txt").write_text("3")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "it reads config.txt, newer than the recording" in str(report)
    first, reason = str(report).splitlines()[:2]
    assert first == "UNVERIFIED ann: 0 of 4 actions covered; the whole program ran again"
    assert "recorded 2, replayed 3" in reason, reason


@pytest.mark.further
def test_such_a_file_is_also_named_if_it_is_read_before_anything_is_recorded(desk):
    (desk.place / "config.txt").write_text("2")
    os.utime(desk.place / "config.txt", (1_700_000_000, 1_700_000_000))
    desk.record(
        KEPT.replace("setup_logging(t", "assert Path('config.txt').read_text() == '2'\nsetup_logging(t")
    )
    time.sleep(1.1)
    (desk.place / "config.txt").write_text("3")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "it recorded 0 sessions (AssertionError" in str(report)
    assert "it reads config.txt, newer than the recording: put back the old one" in str(report)


HAGGLING = """
class Seller:
    def __init__(self, name):
        self.name, self.offer = name, 100

    def answer(self, bid):
        return self.offer <= bid

    def close(self, deal):
        self.deal = deal


class Broker:
    name = "broker"

    def settle(self, seller, bid):
        for _ in range(3):
            if seller.answer(bid):
                return seller.offer
            seller.offer -= 10
        raise ValueError(seller.offer)
"""
DEALS = """
from Agent import instrument, setup_logging, shutdown_logging
from shop import Broker, Seller

instrument(Seller, methods=["answer", "close"], agent_id="name")
instrument(Broker, methods=["settle"], agent_id="name")
setup_logging(trace_root="trace")
broker = Broker()
for name, bid in (("ann", 90), ("bob", 20), ("cy", 80)):
    seller = Seller(name)
    try:
        broker.settle(seller, bid)
    except ValueError:
        seller.close(False)
    else:
        seller.close(True)
shutdown_logging()
"""


@pytest.mark.further
@pytest.mark.parametrize(
    ("old", "new", "step", "where"),
    [
        ("seller.offer -= 10", "seller.offer -= 10 + (seller.name == 'bob')", 3, "offer, in answer of bob"),
        ("self.offer <= bid", "self.offer <= bid + 60 * (self.name == 'bob')", 3, "answer of bob"),
        ("self.deal = deal", "self.deal = deal or self.name == 'bob'", 4, "field deal"),
    ],
)
def test_a_difference_inside_an_action_has_its_step_and_not_that_of_the_agents_next_one(
    desk, old, new, step, where
):
    desk.record(DEALS, HAGGLING)
    desk.change("shop.py", old, new)
    report = replayed()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", step), str(report)
    assert where in str(report)
    report = replayed("last/bob")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", step), str(report)


NESTED = """
class Trader:
    def __init__(self, name, chance):
        self.name, self.log = name, []

    def trade(self, price):
        self.log.append(self.offer() > 2)
        return self.name

    def offer(self):
        return 3
"""


@pytest.mark.further
def test_a_difference_in_a_nested_method_of_the_same_agent_names_that_method(desk):
    desk.record(PROGRAM.replace('["trade"]', '["trade", "offer"]').replace("SEED", "4"), NESTED)
    desk.change("shop.py", "return 3", "return 3.0")
    report = replayed()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert report.divergence.where == "result of offer of ann"
    assert report.changed_code == ("ann.offer", "bob.offer")


@pytest.mark.further
def test_one_agent_is_replayed_with_all_others(desk):
    desk.record()
    report = replayed("last/bob")
    assert report.verdict == "IDENTICAL", str(report)
    assert "with all agents, not bob alone" in str(report)


@pytest.mark.further
def test_a_recording_that_a_kill_ended_is_not_compared_with_a_whole_run(desk):
    text = PROGRAM.replace("\nshutdown_logging()", "\nimport os\nos.kill(os.getpid(), 9)")
    (desk.place / "shop.py").write_text(SHOP)
    (desk.place / "main.py").write_text(text.replace("SEED", "4"))
    done = subprocess.run([sys.executable, "main.py"], env=child_environment(), timeout=60)
    assert done.returncode == -9
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "did not end cleanly" in " ".join(report.reasons)


@pytest.mark.further
def test_without_the_script_the_error_names_both_ways(desk, tmp_path, monkeypatch):
    desk.record()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetNotGiven, match="the directory of the recorded script"):
        replay_run("last", root=desk.place / "trace")


@pytest.mark.further
def test_what_only_a_target_can_do_still_asks_for_one(desk):
    desk.record()
    for option in ({"ignore": ["cash"]}, {"program": False}, {"network": True}, {"strict_factory": True}):
        with pytest.raises(TargetNotGiven):
            replayed(**option)


@pytest.mark.further
def test_a_draw_from_numpy_without_a_seed_is_named_with_its_place(desk):
    shop = SHOP.replace("self.chance.random()", "numpy.random.random()").replace("< 0.5", "< 1.5")
    desk.record(PROGRAM.replace("SEED", "4"), "import numpy\n" + shop)
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "numpy.random by Trader.trade (shop.py:8)" in " ".join(report.reasons), str(report)
    desk.record(
        PROGRAM.replace("SEED", "4").replace("chance =", "import numpy; numpy.random.seed(1); chance ="),
        "import numpy\n" + shop,
    )
    assert replayed().verdict == "IDENTICAL", str(replayed())


@pytest.mark.further
@pytest.mark.parametrize(
    ("draw", "place"),
    [
        ("random.random()", "random by Trader.trade (shop.py:8)"),
        ("len(str(uuid.uuid4()))", "os.urandom by Trader.trade (shop.py:8)"),
    ],
)
def test_an_action_with_an_adopted_generator_hides_no_other_draw(desk, draw, place):
    shop = SHOP.replace("self.name, self.chance,", "self.name, self.model,")
    shop = shop.replace("name, chance, 10", "name, SimpleNamespace(random=chance), 10")
    shop = shop.replace("self.chance.random()", f"self.model.random.random() + {draw} * 0")
    desk.record(
        PROGRAM.replace("SEED", "4"), "import random, uuid; from types import SimpleNamespace\n" + shop
    )
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert place in " ".join(report.reasons), str(report)


@pytest.mark.further
def test_the_clock_that_makes_runs_differ_is_named_with_its_place(desk):
    shop = "import time\n" + SHOP.replace(
        "return self.cash", "self.at = time.time()\n        return self.cash"
    )
    desk.record(PROGRAM.replace("SEED", "4"), shop)
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "it reads a clock: time.time by Trader.trade (shop.py:10)" in " ".join(report.reasons)


LIBRARY = """
import random
import time
from datetime import datetime

def took(work):
    begun = datetime.now()
    work()
    return str(datetime.now() - begun)

token = random.random()

class Made:
    def __init__(self):
        random.random()
        self.at = time.time()
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    (library / "made_library").mkdir(parents=True)
    (library / "made_library" / "__init__.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(library))
    monkeypatch.setenv("PYTHONPATH", str(library))
    return library


def record_with(desk, library, shop):
    """Record the program, whose shop imports from the library."""
    (desk.place / "main.py").write_text(PROGRAM.replace("SEED", "4"))
    (desk.place / "shop.py").write_text(shop)
    paths = os.pathsep.join([child_environment()["PYTHONPATH"], str(library)])
    subprocess.run(
        [sys.executable, "main.py"], check=True, env=child_environment(PYTHONPATH=paths), timeout=60
    )


@pytest.mark.further
def test_a_difference_behind_the_last_tick_is_not_before_those_in_ticks(desk):
    text = PROGRAM.replace("SEED", "4").replace("\nshutdown", "\nTrader('zoe', chance).trade(1)\nshutdown")
    desk.record(text)
    desk.change("shop.py", "return self.cash", "return self.cash + (price == 3 or self.name == 'zoe')")
    report = replayed()
    assert (report.verdict, report.divergence.tick, report.divergence.agent_id) == ("DIVERGED", 2, "ann")


@pytest.mark.further
def test_what_only_libraries_draw_and_read_proves_nothing_against_a_program(desk, library):
    shop = SHOP.replace("name, chance, 10", "name, chance, 10\n        self.made_at = Made().at")
    record_with(desk, library, f"import random\nfrom made_library import Made\n{shop}")
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    assert "random by <module> (made_library/__init__.py:11); 2 runs drew otherwise" in str(report)
    desk.change("shop.py", "return self.cash", "return self.cash + (price == 3)")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 2), str(report)
    desk.change("shop.py", "(price == 3)", "0 * int(random.random())")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "it draws without a seed: random by Trader.trade (shop.py:" in " ".join(report.reasons)


@pytest.mark.further
@pytest.mark.parametrize("place", ["library", "program"])
def test_a_process_that_looks_something_up_or_belongs_to_an_import_is_no_obstacle(desk, library, place):
    started = 'import subprocess\nassert subprocess.run(["true"]).returncode == 0\n'
    (library / "made_library" / "__init__.py").write_text(started if place == "library" else "")
    looked_up = 'import ctypes.util\nctypes.util.find_library("dl")\n' if place == "program" else ""
    record_with(desk, library, f"import made_library\n{looked_up}{SHOP}")
    assert replayed().verdict == "IDENTICAL", str(replayed())
    desk.change("shop.py", "return self.cash", "return self.cash + (price == 3)")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 2), str(report)
    desk.change("shop.py", "import made_library", "import subprocess\nsubprocess.run(['true'])")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a new process by <module> (shop.py:2)" in str(report)


POOLED = """
import multiprocessing
import os
import random
from concurrent.futures import ProcessPoolExecutor

FORK = multiprocessing.get_context("fork")
POOLS = {"Pool": lambda: FORK.Pool(2), "executor": lambda: ProcessPoolExecutor(2, FORK)}

def priced(day):
    return 1 + day % 3

def prices(kind, day):
    with POOLS[kind]() as pool:
        return iter(list(pool.map(priced, [day, day])))
"""


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("kind", ["Pool", "executor"])
def test_workers_that_record_nothing_may_compute_what_agents_are_given(desk, kind):
    program = PROGRAM.replace("SEED", "4").replace("import Trader", "import Trader, prices")
    program = program.replace(
        "    with tick(day):", f"    todays = prices({kind!r}, day)\n    with tick(day):"
    )
    desk.record(program.replace("1 + day % 3", "next(todays)"), SHOP + POOLED)
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    desk.change("shop.py", "1 + day % 3", "1 + day % 4")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 3), str(report)
    desk.change("shop.py", "1 + day % 4", "1 + day % 3 + random.getrandbits(64)")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    elsewhere = desk.place.parent / "elsewhere"
    desk.change("shop.py", "random.getrandbits(64)", f"(open({str(elsewhere)!r}, 'w') is None)")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"to write {elsewhere} is not allowed" in str(report)
    assert not elsewhere.exists()
    desk.change("shop.py", f"(open({str(elsewhere)!r}, 'w') is None)", "os.system('true')")
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a new process is not allowed" in str(report)


@pytest.mark.further
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_a_pool_spawns_are_guarded_as_those_that_it_forks(desk, method):
    body, at = PROGRAM.replace("SEED", "4"), "setup_logging("
    main = f"def main():\n{textwrap.indent(body[body.index(at) :], '    ')}"
    program = f'{body[: body.index(at)]}\n{main}\nif __name__ == "__main__":\n    main()\n'
    program = program.replace("import Trader", "import Trader, prices")
    program = program.replace("with tick(day):", "todays = prices('Pool', day)\n        with tick(day):")
    program = program.replace("1 + day % 3", "next(todays)")
    desk.record(program, SHOP + POOLED.replace('context("fork")', f'context("{method}")'))
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    desk.change("shop.py", "1 + day % 3", "1 + day % 4")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 3), str(report)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = f"__import__('socket').create_connection({server.getsockname()!r})"
        desk.change("shop.py", "1 + day % 4", f"1 + day % 3 + ({asked} is None)")
        report = replayed()
        assert report.verdict == "UNVERIFIED", str(report)
        assert "network is not allowed" in str(report)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.further
def test_a_worker_that_is_killed_while_it_records_is_a_recording_that_did_not_end(desk):
    traded = "def priced(day):\n    return Trader(f'worker {day}', random.Random(1)).trade(1)"
    shop = SHOP + POOLED.replace("def priced(day):\n    return 1 + day % 3", traded)
    program = PROGRAM.replace("SEED", "4").replace("import Trader", "import Trader, prices")
    desk.record(program.replace("    with tick(day):", "    prices('Pool', day)\n    with tick(day):"), shop)
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the recording did not end cleanly" in str(report)
    assert "call close() and join() in it" in " ".join(str(report).split())


@pytest.mark.further
def test_handles_that_were_not_compared_are_listed(desk):
    desk.record(
        shop=SHOP.replace("10\n", "10\n        self.lock = Lock()\n", 1).replace(
            "\nclass", "from threading import Lock\n\nclass", 1
        )
    )
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    assert "handles, not compared: ann.lock, bob.lock" in str(report)


@pytest.mark.further
def test_a_package_that_ran_as_a_module_runs_as_one_again(desk):
    package = desk.place / "market"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shop.py").write_text(SHOP)
    (package / "__main__.py").write_text(PROGRAM.replace("SEED", "4").replace("from shop", "from .shop"))
    command = [sys.executable, "-m", "market"]
    subprocess.run(command, check=True, env=child_environment(), timeout=60)
    assert replayed().verdict == "IDENTICAL", str(replayed())
    desk.change("market/__main__.py", "1 + day % 3", "1 + day % 3 + (day == 4)")
    assert (replayed().verdict, replayed().divergence.tick) == ("DIVERGED", 4), str(replayed())
    desk.change("market/__main__.py", "1 + day % 3 + (day == 4)", "1 + day % 3")
    desk.change("market/shop.py", "return self.cash", "return self.cash + (price == 3)")
    report = replayed()
    assert (report.verdict, report.divergence.tick) == ("DIVERGED", 2), str(report)


@pytest.mark.further
def test_durations_that_libraries_measure_may_differ_if_they_do_so_in_every_run(desk, library):
    shop = SHOP.replace("name, chance, 10", "name, chance, 10\n        self.took = took(work)")
    shop = shop.replace("return self.cash", "self.told = f'0:00:01.00000{price}'\n        return self.cash")
    shop = f"import time\n\ndef work():\n    time.sleep(0.01)\n    sum(range(200_000))\n\n{shop}"
    record_with(desk, library, f"from made_library import took\n{shop}")
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    assert "values agree but for ids and times, which each run makes anew" in str(report)
    desk.change("shop.py", "'0:00:01", "'0:00:02")  # no clock measured these
    assert replayed().verdict != "IDENTICAL"
    desk.change("shop.py", "'0:00:02", "'0:00:01")
    desk.change("shop.py", "chance, 10\n", "chance, 9\n")
    report = replayed()
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
def test_a_duration_that_the_program_computes_is_compared(desk, library):
    shop = SHOP.replace("return self.cash", "self.told = f'0:00:01.00000{price}'\n        return self.cash")
    record_with(desk, library, f"from made_library import took\ntook(list)\n{shop}")
    desk.change("shop.py", "01.00000", "02.00000")
    report = replayed()
    assert report.verdict == "DIVERGED", str(report)


PLACES = """
from pathlib import Path

from Agent import instrument, setup_logging, shutdown_logging

HERE = Path(__file__).resolve().parent


class Files:
    def __init__(self):
        self.main, self.count = HERE / "main.txt", 1


class Keeper:
    def __init__(self):
        self.agent_id, self.home, self.files = "ann", HERE, Files()
        self.sizes = {str(HERE / str(number)): HERE / str(number) for number in range(200)}

    def keep(self, name):
        self.files.main = HERE / name
        self.sizes[str(HERE / name)] = len(name)
        return {"text": f"{name} in {HERE}", "at": [HERE.as_uri()], "files": self.files}


instrument(Keeper, methods=["keep"])
setup_logging(trace_root="trace")
keeper = Keeper()
for name in ("a", "b", "c"):
    keeper.keep(name)
shutdown_logging()
"""


@pytest.mark.further
def test_the_directory_of_the_script_is_the_same_in_the_copy_in_which_it_runs(desk):
    desk.record(PLACES)
    report = replayed()
    assert report.verdict == "IDENTICAL", str(report)
    desk.change("main.py", "len(name)", "name.__len__()")
    report = replayed()
    assert report.verdict == "IDENTICAL" and report.changed_code, str(report)
    desk.change("main.py", "self.files.main = HERE / name", 'self.files.main = HERE / f"x{name}"')
    report = replayed()
    assert report.verdict == "DIVERGED", str(report)
    assert "agent-trace-replay" not in str(report)


MAKER = """
from Agent import setup_logging, shutdown_logging, trace_agent_action

class Maker:
    agent_id = "maker"

    def __init__(self):
        self.made = None

    @trace_agent_action
    def make(self, base):
        BODY

if __name__ == "__main__":
    setup_logging(trace_root="trace")
    maker = Maker()
    print([USE for base in (1, 2)])
    shutdown_logging()
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("body", "use", "old", "new", "place"),
    [
        ("return (base * i for i in range(3))", "list(maker.make(base))", "* i", "* i + 1", "in result"),
        (
            "self.made = base; yield base * 2",
            "list(maker.make(base))",
            "* 2",
            "* 3",
            "the number of its items",
        ),
        ("return lambda price: price - base", "maker.make(base)(9)", "- base", "+ base", "in result"),
        ("self.made = lambda price: price - base", "maker.make(base)", "- base", "+ base", "in field made"),
        ("return [{'f': lambda: base - 1}]", "maker.make(base)", "- 1", "+ 1", "in result[0]['f']"),
    ],
)
def test_changed_code_that_untraced_code_calls_is_never_green(desk, monkeypatch, body, use, old, new, place):
    monkeypatch.syspath_prepend(str(desk.place))
    desk.record(MAKER.replace("BODY", body).replace("USE", use))
    assert replayed().verdict == "IDENTICAL"
    desk.change("main.py", old, new)
    report = replayed()
    assert report.verdict == "UNVERIFIED", str(report)
    assert any("code changed" in reason and place in reason for reason in report.reasons), str(report)
    assert replayed(target="main:Maker").verdict in {"UNVERIFIED", "DIVERGED"}


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    "body",
    [
        "return __name__",
        "import pickle; return len(pickle.dumps(Maker()))",
        "import sys; return sys.modules['__main__'].__dict__.get('Maker') is Maker",
        "import sys; return len(sys._current_frames()), len(__import__('inspect').stack())",
    ],
)
def test_unchanged_code_that_sees_how_it_is_called_is_not_diverged(desk, monkeypatch, body):
    monkeypatch.syspath_prepend(str(desk.place))
    desk.record(MAKER.replace("BODY", body).replace("USE", "maker.make(base)"))
    report = replayed(target="main:Maker")
    assert report.verdict in {"IDENTICAL", "UNVERIFIED"}, str(report)
    assert report.verdict == "IDENTICAL" or any("run again as a whole" in each for each in report.reasons)
