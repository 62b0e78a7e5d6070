"""Programs in which several meet at the same files, follow them, hold them back, or keep them small and whole."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from told import TEXTS, Told, act, end, in_threads, write_many

import Agent.config.recording
from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.archive import seal
from Agent.archive.prune import Policy, prune
from Agent.archive.recover import rebuild_mirrors, recover_session
from Agent.archive.sealed.reader import open_connection
from Agent.errors import AgentTraceError
from Agent.tree.files.session import replace_file
from Agent.tree.layout import list_sessions
from Agent.tree.read.follower import Follower
from Agent.tree.retention import Retention

MAX_SESSION_BYTES = 16_000
QUEUE_SIZE = 20


def claiming(told: Told, events: int, threads: int, **options: Any) -> None:
    """Three processes meet at the files of the same agents, with so few open that each is taken up anew."""
    setup_logging(segment_size_bytes=4096, max_open_files=4, mirrors=False, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    children = []
    for process in (1, 2):
        pid = os.fork()
        if pid == 0:
            told.say(f"P {os.getpid()}")
            _meet(told, process, events)
            shutdown_logging()
            told.say(f"D {process}")
            os._exit(0)
        children.append(pid)
    _meet(told, 0, events)
    for pid in children:
        os.waitpid(pid, 0)
    end(told)


def _meet(told: Told, process: int, count: int) -> None:
    loggers = [AgentLogger(f"met_{index}", "writer") for index in range(8)]
    for number in range(1, 1 + count):
        act(told, loggers[number % 8], process, 0, number)


def following(told: Told, events: int, threads: int, **options: Any) -> None:
    """A follower hands on each event that it yields and keeps its cursor; it can be killed anywhere between."""
    session = setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    write_many(told, 0, 0, 0, 1 + events, agents=3)
    handed_on = os.open("handed_on.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    follower = Follower(session.path)
    told.gate()
    count = 0
    for turn in range(1, 4):
        for event in follower.follow(lambda: True):
            os.write(handed_on, f"{event.id}\n".encode())
            count += 1
            if count % 3 == 0:
                replace_file(Path("cursor.json"), orjson.dumps({"count": count, "cursor": follower.cursor()}))
        write_many(told, 0, 0, 1 + turn * events, events, agents=3)
    end(told)


def retaining(told: Told, events: int, threads: int, **options: Any) -> None:
    """Rolled segments go while others are written: by the thread that retention has, and by hand beside it."""
    session = setup_logging(
        segment_size_bytes=4096, mirrors=False, max_session_bytes=MAX_SESSION_BYTES, **options
    )
    in_threads(told, 0, threads, 0, 40, agents=3)
    told.gate()
    for turn in range(1, 5):
        in_threads(told, 0, threads, 40 * turn, events, agents=3)
        retire(session.path)
    end(told)


def retire(session: Path) -> None:
    """One pass of retention."""
    with_words(lambda: Retention(session, MAX_SESSION_BYTES).run())


def with_words(keep: Callable[[], object]) -> None:
    """Do something that keeps a tree in order, as a program that says what failed and goes on."""
    try:
        keep()
    except (OSError, AgentTraceError) as error:
        name = errno.errorcode.get(getattr(error, "errno", None) or 0, str(error))
        with suppress(OSError):
            sys.stderr.write(f"program: {type(error).__name__} {name}\n")


SEALED_EVENTS, PART_BYTES = 60, 9000
AS_IT_WAS = "as_it_was"


def sealing(told: Told, events: int, threads: int, **options: Any) -> None:
    """A session that has ended is sealed in several parts, then its JSON lines are removed, while this one records.

    One of its lines is torn and one is no text, so that something is kept as it stands.
    """
    old = Path("old").absolute()
    session = setup_logging(trace_root=old, mirrors=False, segment_size_bytes=4096, **options)
    for number in range(SEALED_EVENTS):
        AgentLogger(f"old_{number % 3}", "writer").log_action(
            "write", {"number": number, "text": TEXTS[number % 4]}
        )
    shutdown_logging()
    with (session.path / "agents" / "old_1.log").open("ab") as file:
        file.write(b'{"timestamp":"2026-\n\xff\xfe no text\n')
    shutil.copytree(session.path, Path(AS_IT_WAS) / session.path.name)
    # loaded before the tracing begins: what counts are the calls of sealing
    with open_connection(session.path) as connection:
        connection.execute("SELECT 1").fetchall()
    setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    in_threads(told, 0, threads, 1, events)
    with_words(lambda: seal(session.path, part_bytes=PART_BYTES))
    with_words(lambda: seal(session.path, remove=True, part_bytes=PART_BYTES))
    in_threads(told, 0, threads, 1 + events, events)
    end(told)


def queueing(told: Told, events: int, threads: int, **options: Any) -> None:
    """Events that wait in memory for the thread that writes them: as many as that a kill may cost."""
    options = {"queue_size": QUEUE_SIZE, **options}
    setup_logging(segment_size_bytes=4096, mirrors=False, durability="queued", **options)
    told.mark = "Q"
    write_many(told, 0, 0, 0, 1)
    told.gate()
    in_threads(told, 0, threads, 1, events, agents=3)
    # so that what the thread met is in the health that is told
    Agent.config.recording._current.pipeline.flush()
    end(told)


def recovering(told: Told, events: int, threads: int, **options: Any) -> None:
    """A child is killed with half a line written; whoever then recovers its session can be killed anywhere."""
    pid = os.fork()
    if pid == 0:
        told.say(f"P {os.getpid()}")
        session = setup_logging(segment_size_bytes=4096, **options)
        in_threads(told, 0, threads, 0, events, agents=3)
        live = session.path / "agents" / "shared.log"
        with live.open("ab") as file:
            file.write(live.read_bytes().splitlines()[-1][:50])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    told.gate()
    root = Path(os.environ["AGENT_TRACE_ROOT"])
    for session in list_sessions(root):
        with_words(lambda path=session.path: recover_session(path))
    with_words(lambda: rebuild_mirrors(root))
    told.say("D 0")


OLD_SESSIONS, OLD_EVENTS = 3, 12


def pruning(told: Told, events: int, threads: int, **options: Any) -> None:
    """Old sessions under another root are removed while this process records."""
    old = Path("old").absolute()
    for _ in range(OLD_SESSIONS):
        setup_logging(trace_root=old, mirrors=False, **options)
        for number in range(OLD_EVENTS):
            AgentLogger(f"old_{number % 3}", "writer").log_action("write", {"number": number})
        shutdown_logging()
    setup_logging(segment_size_bytes=4096, mirrors=False, **options)
    write_many(told, 0, 0, 0, 1)
    told.gate()
    in_threads(told, 0, threads, 1, events)
    with_words(lambda: prune(old, Policy(keep_sessions=1)))
    in_threads(told, 0, threads, 1 + events, events)
    end(told)
