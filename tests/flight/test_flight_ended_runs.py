"""Files of runs that have ended are kept by nobody: a program may make runs without end."""

import gc

import pytest

from Agent import setup_logging, shutdown_logging
from Agent.archive.verify import verify
from Agent.config import recording
from Agent.flight import Recorder
from Agent.tree.write.segment_writer import OwnFile


def kept():
    gc.collect()
    # isinstance would ask the object for its class, and hostile objects of other tests raise
    return sum(type(each) is OwnFile for each in gc.get_objects())


@pytest.mark.parametrize("durability", ["kernel", "queued"])
def test_a_program_that_makes_runs_without_end_keeps_no_file_of_those_that_ended(tmp_path, durability):
    session = setup_logging(trace_root=tmp_path, durability=durability, max_open_files=4).path
    try:
        before = kept()
        for _ in range(60):
            with Recorder(agent="a").run():
                pass
        recording._current.pipeline.flush()
        assert kept() <= before + 10
        chain = recording._current.writer._state.chain
        chain.cover()
        ended = [place for place in chain._files.values() if place.path.endswith("/events.jsonl")]
        assert sum(not place.is_rolled for place in ended) <= 10
    finally:
        shutdown_logging()
    assert len(list((session / "runs").glob("*/events.jsonl"))) == 60
    assert verify(session).sound
