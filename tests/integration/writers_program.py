"""Programs that write as fast as they can; run by test_many_writers.py in processes of their own.

writers_program.py root THREADS EVENTS     one session, four processes (two forked, two started), each with threads
writers_program.py child THREADS EVENTS PROCESS
writers_program.py victim                  writes for ever and says on stdout which ids were given back
"""

import multiprocessing
import os
import subprocess
import sys
import threading

from Agent import AgentLogger, health, setup_logging, shutdown_logging

TEXTS = ["short", 'with "quotes" and\na new line', "ünïcödé " * 20, "x" * 700]


def write_events(process: int, thread: int, events: int) -> None:
    """Every thread logs for an agent of its own and, each second time, for one that all of them share."""
    own = AgentLogger(f"agent_{process}_{thread}", "writer")
    shared = AgentLogger("shared", "writer")
    for number in range(events):
        logger = shared if number % 2 else own
        logger.log_action(
            "write",
            {"process": process, "thread": thread, "number": number, "text": TEXTS[number % len(TEXTS)]},
        )


def run_process(process: int, threads: int, events: int) -> None:
    workers = [threading.Thread(target=write_events, args=(process, n, events)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def forked(process: int, threads: int, events: int) -> None:
    run_process(process, threads, events)
    shutdown_logging()


def root(threads: int, events: int) -> None:
    setup_logging()
    AgentLogger("shared", "writer").log_action("open", {})
    print("opened", flush=True)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=forked, args=(n, threads, events)) for n in (0, 1)]
    for child in children:
        child.start()
    arguments = [sys.executable, __file__, "child", str(threads), str(events)]
    started = [subprocess.Popen([*arguments, str(n)]) for n in (2, 3)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert [child.wait() for child in started] == [0, 0]
    shutdown_logging()
    print(health(), file=sys.stderr)


def victim() -> None:
    def write(thread: int) -> None:
        logger = AgentLogger(f"agent_{thread}", "victim")
        for number in range(1_000_000):
            identity = logger.log_action(
                "write", {"thread": thread, "number": number, "text": TEXTS[number % 4]}
            )
            os.write(1, f"{identity}\n".encode())

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    if sys.argv[1] == "victim":
        victim()
    elif sys.argv[1] == "root":
        root(int(sys.argv[2]), int(sys.argv[3]))
    else:
        run_process(int(sys.argv[4]), int(sys.argv[2]), int(sys.argv[3]))
