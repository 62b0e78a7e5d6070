"""The tables of docs/PERFORMANCE.md count losses and leave rounds out: that they would notice is tested here."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def benchmarks_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no part of the package; the processes that they start find them through the environment, too."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def written(path: Path, numbers: list[int]) -> Path:
    from benchmarks.contenders.contract import fields

    path.write_bytes(b"".join(orjson.dumps({"action_data": fields(0, n)}) + b"\n" for n in numbers))
    return path


def read(path: Path, each: int):
    from benchmarks.contenders.contract import of_action_data
    from benchmarks.read_back import read_back

    return read_back([path], of_action_data, workers=1, each=each)


def test_what_stands_there_once_is_neither_lost_nor_doubled(tmp_path):
    kept = read(written(tmp_path / "a.log", [0, 1, 2, 3]), 4)
    assert (kept.events, kept.lost, kept.doubled, kept.damaged) == (4, 0, 0, 0)


def test_an_event_that_is_missing_is_lost_and_one_that_stands_twice_is_doubled(tmp_path):
    kept = read(written(tmp_path / "a.log", [0, 2, 2, 3]), 5)
    assert (kept.events, kept.lost, kept.doubled, kept.damaged) == (3, 2, 1, 0)


def test_a_torn_line_is_damaged_and_its_event_lost(tmp_path):
    path = written(tmp_path / "a.log", [0, 1, 2])
    path.write_bytes(path.read_bytes()[:-20])
    kept = read(path, 3)
    assert (kept.lost, kept.damaged) == (1, 1)


def test_an_event_of_nobody_is_damaged(tmp_path):
    kept = read(written(tmp_path / "a.log", [0, 1, 7]), 2)
    assert (kept.lost, kept.damaged) == (0, 1)


def test_a_round_in_which_the_floor_took_twice_its_median_is_left_out():
    from benchmarks.method import sound_rounds

    assert sound_rounds([1.0, 1.1, 2.3, 0.9, 1.0]) == [0, 1, 3, 4]


def test_ratios_are_made_within_a_round():
    from benchmarks.method import quartiles_of_ratios

    # the second round was twice as slow for both
    assert quartiles_of_ratios([1.0, 2.0, 1.0], [2.0, 4.0, 2.0]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("processes", "threads"), [(2, 1), (1, 3)])
def test_workers_of_agent_trace_are_read_back_whole_in_record_and_mirror(tmp_path, processes, threads):
    from benchmarks.contenders import load
    from benchmarks.contenders.contract import Place
    from benchmarks.read_back import read_back
    from benchmarks.scaling_run import Run, run_once

    run = Run("Agent Trace", processes, threads, 500)
    # small enough that record and mirror are rotated
    took = run_once(run, Place(tmp_path, 64 * 1024, 100))
    contender = load("Agent Trace")
    assert took.said_lost == 0
    assert 0 < took.calls_s <= took.written_s
    for files in (contender.grown(tmp_path), contender.copies(tmp_path)):
        assert len(files) > processes
        kept = read_back(files, contender.identities, workers=run.workers, each=run.each)
        assert (kept.lost, kept.doubled, kept.damaged) == (0, 0, 0)


def test_a_run_that_fails_says_so(tmp_path):
    from benchmarks.contenders.contract import Place
    from benchmarks.scaling_run import Run, run_once

    with pytest.raises(RuntimeError, match="exit code"):
        run_once(Run("nobody", 1, 1, 10), Place(tmp_path, 1024, 1))


def test_every_contender_says_how_it_is_set_up_and_what_it_needs():
    from benchmarks import contenders

    for name in contenders.NAMES:
        contender = contenders.load(name)
        assert contender.how, name
        assert contender.identities is not None or name in contenders.DECORATED, name


def test_naming_the_contenders_loads_neither_them_nor_the_package(tmp_path):
    import subprocess

    probe = (
        "import sys; from benchmarks import contenders; [contenders.load(n) for n in contenders.NAMES];"
        "print(sorted({'Agent', 'structlog', 'eliot', 'loguru', 'logfire', 'reeltime'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
