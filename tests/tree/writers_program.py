"""Programs that write one session through session writers; started by the tests as processes of their own.

writers_program.py many SESSION THREADS EVENTS SEGMENT_BYTES
writers_program.py victim SESSION THREADS SEGMENT_BYTES        acknowledges each returned write on stdout, for ever
"""

import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tree_kit import Recorder, make_line

from Agent.tree.write.writer import SessionWriter

AGENTS = 5


def in_threads(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def many(session, threads, events, segment_bytes):
    sink = SessionWriter(session, segment_size_bytes=segment_bytes, max_open_files=4)

    def work(number):
        store = sink.board.thread_slot()
        streams = [sink.open_stream(f"agent_{n}", "agents") for n in range(AGENTS)]
        chance = random.Random(number)
        for turn in range(events):
            agent = chance.randrange(AGENTS)
            seq = sink.next_seq()
            store(seq)
            line = make_line(
                sink.writer,
                seq,
                agent_id=f"agent_{agent}",
                us=time.time_ns() // 1000,
                place=[os.getpid(), number, turn],
                text="x" * chance.randrange(120),
            )
            if not streams[agent].write(line):
                raise SystemExit(f"not written: {sink.counters()}")

    in_threads(threads, work)
    Recorder(sink).close()
    if sink.counters():
        raise SystemExit(str(sink.counters()))


def victim(session, threads, segment_bytes):
    sink = SessionWriter(session, segment_size_bytes=segment_bytes, max_open_files=4)

    def work(number):
        store = sink.board.thread_slot()
        chance = random.Random()
        while True:
            agent_id = f"agent_{chance.randrange(AGENTS)}"
            seq = sink.next_seq()
            store(seq)
            line = make_line(
                sink.writer,
                seq,
                agent_id=agent_id,
                us=time.time_ns() // 1000,
                text="x" * chance.choice([10, 200, 9000]),
            )
            if sink.open_stream(agent_id, "agents").write(line):
                # one write below the size that a pipe takes as a whole
                os.write(1, b"%s-%d\n" % (sink.writer.encode(), seq))

    in_threads(threads, work)


if __name__ == "__main__":
    program, directory, *numbers = sys.argv[1:]
    {"many": many, "victim": victim}[program](Path(directory), *map(int, numbers))
