"""The recorder's doors to chance and time."""

import random

import pytest

from Agent import setup_logging, shutdown_logging, trace_agent_action
from Agent.archive.run_export import export_run
from Agent.archive.run_import import import_run
from Agent.archive.sealed.reader import open_reader
from Agent.flight import Recorder, find_run, recorded_sources, recorder
from Agent.record.emit import installed
from Agent.record.emit.context import states_of
from Agent.record.sources import sources
from Agent.testing import record_in_memory


class Trader:
    agent_id, agent_role = "trader", "trader"

    @trace_agent_action
    def bid(self, rng):
        return rng.uniform(0.0, 1.0)


def test_the_recorder_and_recorders_of_ones_own_adopt():
    try:
        one, other = recorder.adopt(random.Random(1)), Recorder(agent="x").adopt(random.Random(2))
        with record_in_memory() as sink, recorder.run("trader") as run:
            with recorder.step("bid"):
                Trader().bid(one)
            Trader().bid(other)
        bids = [event for event in sink.events if event.kind == "agent_action"]
        assert [list(event.extra["reads"].values()) for event in bids] == [[[[0, 2]]], [[[0, 2]]]]
        assert {event.run_id for event in bids} == {run.run_id}
    finally:
        sources._adoptions.lasting_notice = installed.open_reads = None
        sources._adoptions.is_lasting = False


def test_an_exported_run_takes_the_states_along_that_its_draws_begin_with(tmp_path):
    numpy = pytest.importorskip("numpy")
    try:
        rng, old = recorder.adopt(random.Random(1)), recorder.adopt(numpy.random.RandomState(1))
        setup_logging(trace_root=tmp_path / "trace")
        Trader().bid(rng)  # outside of the run, where the states are told
        Trader().bid(old)
        with recorder.run("trader") as run:
            Trader().bid(rng)
            Trader().bid(old)
        shutdown_logging()
        export_run(find_run(run.run_id, tmp_path / "trace"), tmp_path / "run.zip")
        imported = import_run(tmp_path / "run.zip", tmp_path / "elsewhere")
        events = list(open_reader(imported.session).events())
        needed = set().union(*(states_of(event.extra) for event in events))
        assert len(needed) == 2
        assert {event.id for event in events if event.kind == "source.state"} == needed
    finally:
        shutdown_logging()
        sources._adoptions.lasting_notice = installed.open_reads = None
        sources._adoptions.is_lasting = False


def test_the_block_is_had_beside_the_recorder():
    assert recorded_sources is sources.recorded_sources


def test_adopting_never_raises_and_needs_no_recording():
    class Hostile(random.Random):
        def __init__(self):
            super().__init__(1)

        def __getattribute__(self, name):
            if name == "__dict__":
                raise OSError("no")
            return super().__getattribute__(name)

    hostile = Hostile()
    assert recorder.adopt(hostile) is hostile
    assert recorder.adopt("seven") == "seven"
