"""Programs that call tools and are killed: every call that returned is in the record, whole, and can be replayed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.flight import ToolReplayer, find_run, read_run

pytestmark = pytest.mark.integration

PROGRAM = """
import os
import sys
import threading

from Agent.flight import record_tool
from Agent.flight import recorder


@record_tool
def double(number, text):
    return {"number": number, "twice": 2 * number, "text": text}


@record_tool
def large(number):
    return [number, *["x" * 1000] * 40]


@record_tool
def count(number):
    yield number
    yield number + 1


def work(run_id, thread, threads):
    with recorder.attach(run_id):
        for number in range(thread, 10**9, threads):
            double(number, "\\u00fc" * 50)
            if number % 7 == 0:
                large(number)
            list(count(number))
            os.write(1, b"%d\\n" % number)


run_id = recorder.start_run("killed")
recorder.start_step("work")
os.write(1, run_id.encode() + b"\\n")
threads = int(sys.argv[1])
running = [threading.Thread(target=work, args=(run_id, n, threads), daemon=True) for n in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
"""


def killed(directory: Path, threads: int, acknowledgements: int) -> tuple[str, list[int]]:
    """The run's id, and the numbers whose calls had returned when the program died."""
    program = directory / "program.py"
    program.write_text(PROGRAM)
    writer = subprocess.Popen(
        [sys.executable, str(program), str(threads)], stdout=subprocess.PIPE, env=child_environment()
    )
    channel, said = writer.stdout.fileno(), b""
    with writer:
        try:
            while said.count(b"\n") <= acknowledgements:
                more = os.read(channel, 65536)
                assert more, "the program ended by itself"
                said += more
        finally:
            writer.kill()
        while more := os.read(channel, 65536):
            said += more
    run_id, *numbers = said.split(b"\n")[:-1]
    return run_id.decode(), [int(number) for number in numbers]


@pytest.mark.parametrize("seed", range(8))
def test_every_call_that_returned_is_in_the_record_after_a_kill(seed, tmp_path, trace_root):
    chance = random.Random(f"{seed} {random.randrange(2**32)}")
    threads = chance.choice((1, 1, 3))
    run_id, acknowledged = killed(tmp_path, threads, chance.randrange(1, 120))
    record = read_run(find_run(run_id))
    assert (record.summary.state, record.summary.open_steps) == ("crashed", ("work",))
    calls = [event.extra for event in record.events() if event.kind == "tool.call"]
    for tool in ("double", "count"):
        found = Counter(call["args"]["number"] for call in calls if call["name"] == tool)
        assert [number for number in acknowledged if found[number] != 1] == []
        assert max(found.values()) == 1
        # what is there beyond that was done by threads whose call had not been told of yet
        assert len(found) - len(acknowledged) <= threads
    replayer = ToolReplayer(run_id)
    for number in acknowledged:
        assert replayer.replay("double", {"number": number, "text": "ü" * 50})["twice"] == 2 * number
        assert list(replayer.replay("count", {"number": number})) == [number, number + 1]
        if number % 7 == 0:
            assert replayer.replay("large", {"number": number})[0] == number
    assert replayer.inexact == []
