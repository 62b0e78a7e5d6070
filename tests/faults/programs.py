"""Programs that record and say over a socket what each call returned; harness.py starts, traces and kills them.

A launcher imports everything once and forks one process for each command, so that a run costs milliseconds and
the system calls of the interpreter's start are not among those that are counted. Acknowledgements go out by
`sendto`, so that a tampered `write` or `close` is always one of the package's.
"""

import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import orjson
from flight_programs import checkpointing, erasing, stepping, storing, thinning
from flight_programs import sabotage as sabotage_flight
from flight_programs import warm_up as warm_up_flight
from keeping_programs import claiming, following, pruning, queueing, recovering, retaining, sealing
from told import Told, end, in_threads, write_many

import Agent.config.text_mirrors
import Agent.tree.read.reader
import Agent.tree.retention
import Agent.tree.write.mirror
import Agent.tree.write.writer
from Agent import AgentLogger, PerformanceLogger, health, setup_logging, shutdown_logging
from Agent.tree.files.session import update_session
from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import write_summary


def writing(told: Told, events: int, threads: int, **options: Any) -> None:
    """Plain writing; `options` are those of `setup_logging`."""
    setup_logging(**options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    in_threads(told, 0, threads, 1, events)
    end(told)


def rolling(told: Told, events: int, threads: int, **options: Any) -> None:
    """Segments that are full after a handful of lines."""
    writing(told, events, threads, segment_size_bytes=4096, mirrors=False, **options)


def mirroring(told: Told, events: int, threads: int, **options: Any) -> None:
    """Mirrors that rotate every few batches."""
    rotation = {"agents": (3000, 2), "errors": (2000, 1), "system": (2000, 1)}
    setup_logging(rotation=rotation, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    for turn in range(4):
        in_threads(told, 0, threads, 1 + turn * events, events)
        # the batches go out by time otherwise, which a short program does not live to see
        Agent.config.recording._current.pipeline.flush()
    end(told)


def starting(told: Told, events: int, threads: int, **options: Any) -> None:
    """Session, claims, board, first events of many agents with few open files; begins without being told to."""
    os.environ["AGENT_TRACE_MAX_OPEN_FILES"] = "4"
    told.gate()
    in_threads(told, 0, threads, 0, events, agents=8)
    end(told)


def forking(told: Told, events: int, threads: int, **options: Any) -> None:
    """A fork while threads write; both sides go on, for the same agents."""
    setup_logging(segment_size_bytes=4096, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    half = max(events // 2, 1)
    beside = threading.Thread(target=write_many, args=(told, 0, 1, 0, half))
    if threads > 1:
        beside.start()
    write_many(told, 0, 0, 1, half)
    pid = os.fork()
    if pid == 0:
        told.say(f"P {os.getpid()}")
        write_many(told, 1, 0, 0, events)
        told.say(f"H 1 {json.dumps(health())}")
        shutdown_logging()
        told.say("D 1")
        os._exit(0)
    write_many(told, 0, 0, 1 + half, half)
    if threads > 1:
        beside.join()
    os.waitpid(pid, 0)
    end(told)


def buffering(told: Told, events: int, threads: int, buffer_entries: int = 10, **options: Any) -> None:
    """Performance metrics, of which one buffer may be lost, between events that may not."""
    setup_logging(buffer_entries=buffer_entries, **options)
    metrics = PerformanceLogger()
    write_many(told, 0, 0, 0, 1)
    told.gate()
    for number in range(1, events + 1):
        identity = metrics.log_metric("number", float(number))
        told.say(f"B {identity or '-'} 0 0 {number}")
        if number % 7 == 0:
            write_many(told, 0, 0, number, 1)
    end(told)


def ending(told: Told, events: int, threads: int, **options: Any) -> None:
    """The end of a session: last states, `log.closed`, boards, description, summary."""
    setup_logging(segment_size_bytes=4096, **options)
    in_threads(told, 0, threads, 0, events, agents=3)
    metrics = PerformanceLogger()
    for number in range(3):
        told.say(f"B {metrics.log_metric('number', float(number)) or '-'} 0 0 {number}")
    told.say("D 0")
    told.gate()
    shutdown_logging()


def summarising(told: Told, events: int, threads: int, **options: Any) -> None:
    """Caches and the description of a session that has ended are made again and again."""
    session = setup_logging(segment_size_bytes=4096, **options)
    in_threads(told, 0, threads, 0, events)
    shutdown_logging()
    told.say("D 0")
    told.gate()
    for number in range(2):
        write_summary(session.path)
        update_session(session.path, targets={f"agent_{number}": "module:factory"})


def faulting(told: Told, events: int, threads: int, **options: Any) -> None:
    """Writing with small segments; then, when the fault is over, more events that must all arrive."""
    setup_logging(segment_size_bytes=4096, max_open_files=4, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    in_threads(told, 0, threads, 1, events, agents=6)
    told.say(f"H 0 {json.dumps(health())}")
    # after the window in which calls were made to fail
    write_many(told, 2, 0, 0, 12)
    end(told)


def limited(told: Told, events: int, threads: int, limit_bytes: int = 6000, **options: Any) -> None:
    """Files may not grow beyond a limit for a while, which tears lines (RLIMIT_FSIZE)."""
    import resource

    setup_logging(**options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    in_threads(told, 0, threads, 1, events)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    told.say(f"H 0 {json.dumps(health())}")
    write_many(told, 2, 0, 0, 12)
    end(told)


SCENARIOS: dict[str, Callable[..., None]] = {
    scenario.__name__: scenario
    for scenario in (
        writing,
        rolling,
        mirroring,
        starting,
        forking,
        claiming,
        following,
        retaining,
        recovering,
        pruning,
        sealing,
        stepping,
        storing,
        checkpointing,
        thinning,
        erasing,
        queueing,
        buffering,
        ending,
        summarising,
        faulting,
        limited,
    )
}


def sabotage(mutation: str, seed: int) -> None:
    """Have one write in a thousand go wrong in one of four ways, as a broken writer would.

    `ahead` is a follower whose cursor is where it has read, not where it has yielded; `unsaid` is retention that
    removes without an account; what is done to runs is in `flight_programs`.
    """
    if sabotage_flight(mutation):
        return
    if mutation == "unsaid":
        Agent.tree.retention.write_account = lambda session, account: None
        return
    if mutation == "ahead":
        sound = Follower.cursor

        def cursor(self: Any) -> dict[str, Any]:
            self._yielded = len(self._ahead)
            return sound(self)

        Follower.cursor = cursor  # type: ignore[method-assign]
        return
    sound_stream = Agent.tree.write.writer.SessionStream
    chance = random.Random(seed)
    count = iter(range(chance.randrange(1000), 10**9))

    class SpoilingStream(sound_stream):  # type: ignore[misc, valid-type]
        """Of another class than those whose lines are written in C, so that its `write` is called."""

        def write(self, line: Any) -> bool:
            plain = super().write
            if next(count) % 1000 != 999:
                return plain(line)
            if mutation == "drop":
                return True
            if mutation == "double":
                return plain(line) and plain(line)
            if mutation == "glue":
                return plain(line[:-1])
            assert mutation == "tear"
            return plain(line[: len(line) // 2])

    Agent.tree.write.writer.SessionStream = SpoilingStream  # type: ignore[misc]


def allow_tracing() -> None:
    """Let strace attach where only descendants may be traced (Yama)."""
    import ctypes

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)


def run(command: dict[str, Any], told: Told) -> None:
    for name in [name for name in os.environ if name.startswith("AGENT_TRACE")]:
        del os.environ[name]
    os.environ.update(command["environment"])
    os.chdir(command["cwd"])
    fd = os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
    if command.get("mutation"):
        sabotage(command["mutation"], command["seed"])
    allow_tracing()
    SCENARIOS[command["scenario"]](told, command["events"], command["threads"], **command["options"])


def serve(control: socket.socket) -> None:
    """Fork a process for each command; say its pid, wait for it, say how it ended."""
    while True:
        data, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            run(orjson.loads(data), Told(socket.socket(fileno=fds[0])))
            return
        os.close(fds[0])
        control.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        # a wait that was interrupted is not told apart: whoever reads this waits for one number
        control.send(str(os.waitstatus_to_exitcode(status)).encode())


def warm_up() -> None:
    """Record one session somewhere, so that nothing is left to be imported."""
    with tempfile.TemporaryDirectory() as directory:
        setup_logging(trace_root=directory)
        AgentLogger("warm", "up").log_action("write", {})
        PerformanceLogger().log_metric("number", 1.0)
        warm_up_flight()
        shutdown_logging()


if __name__ == "__main__":
    os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
    warm_up()
    serve(socket.socket(fileno=int(sys.argv[1])))
