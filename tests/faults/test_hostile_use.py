"""Programs that do to recording what programs do: forks and signals anywhere, re-entry, late ends, planted links.

Each runs in a process of its own and prints the ids that its calls returned; all of them have to be in the files,
once, and nothing may come out of recording but those ids.
"""

import os
import stat
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from oracle import read_plainly
from support.processes import run_python
from support.session_files import only_session, session_directories

from Agent import AgentLogger, health, setup_logging, shutdown_logging
from Agent.event.ids import session_id_for
from Agent.tree.read.reader import TreeReader

PRELUDE = """
import atexit, faulthandler, gc, os, random, signal, sys, threading, time, traceback
from Agent import AgentLogger, health, setup_logging, shutdown_logging

faulthandler.dump_traceback_later(40, exit=True)
faulthandler.register(signal.SIGUSR1)

def tell(*ids):
    # by itself and at once, so that a killed or forked process says what it knows
    os.write(1, "".join(f"{identity or '-'}\\n" for identity in ids).encode())
"""


def run(body, root, expect=0, **settings):
    """What the program printed: ids, and "-" for a call that gave none."""
    settings = {"AGENT_TRACE_ROOT": str(root), **settings}
    done = run_python("-c", PRELUDE + textwrap.dedent(body), cwd=root.parent, **settings)
    assert done.returncode == expect, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout.split(), done.stderr


def assert_all_there(told, root, *, refused=0):
    assert told
    assert told.count("-") == refused
    ids = [identity for identity in told if identity != "-"]
    assert len(ids) == len(set(ids))
    session = only_session(root)
    found = read_plainly(session)
    assert found.torn == []
    assert {identity: len(events) for identity, events in found.events.items() if len(events) > 1} == {}
    missing = set(ids) - set(found.events)
    assert missing == set()
    reader = TreeReader(session)
    assert Counter(event.id for event in reader.events()) == dict.fromkeys(found.events, 1)
    losses = reader.losses()
    assert (losses.total_lost, losses.total_unknown) == (0, 0)
    return found


@pytest.mark.integration
@pytest.mark.parametrize("mirrors", ["0", "1"])
def test_a_storm_of_signals_whose_handler_logs_loses_nothing(mirrors, trace_root):
    told, _ = run(
        """
        setup_logging(segment_size_bytes=4096, max_open_files=4, rotation={"agents": (20000, 2)})
        loggers = [AgentLogger(f"agent_{n}", "x") for n in range(6)]
        ids, late = [], []
        def handler(*_):
            late.append(loggers[len(late) % 6].log_action("interrupt", {"n": len(late), "text": "y" * 300}))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            ids.append(loggers[len(ids) % 6].log_action("work", {"n": len(ids), "text": "x" * 300}))
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(late) > 100, len(late)
        assert not health()["dropped"], health()
        tell(*ids, *late)
        """,
        trace_root,
        AGENT_TRACE_MIRRORS=mirrors,
    )
    assert_all_there(told, trace_root)


@pytest.mark.integration
def test_handlers_that_raise_out_of_logging_leave_it_usable(trace_root):
    told, _ = run(
        """
        # as KeyboardInterrupt is; what is an Exception is taken for one of recording's own and counted
        class Out(BaseException): pass
        setup_logging(segment_size_bytes=4096, max_open_files=4)
        loggers = [AgentLogger(f"agent_{n}", "x") for n in range(6)]
        raised = []
        def handler(_, frame):
            raised.append("".join(traceback.format_stack(frame, 6)))
            raise Out
        signal.signal(signal.SIGALRM, handler)
        ids, thrown = [], 0
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.0005))
                while time.monotonic() < end and len(raised) == thrown:
                    ids.append(loggers[len(ids) % 6].log_action("work", {"n": len(ids), "text": "x" * 300}))
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert len(raised) == thrown, "swallowed here: " + raised[-1]
            except Out:
                thrown += 1
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert thrown > 20, thrown
        # and then from another thread, so that no lock was left behind
        thread = threading.Thread(target=lambda: ids.append(loggers[0].log_action("after", {})))
        thread.start(); thread.join(10)
        assert not thread.is_alive()
        tell(*ids)
        """,
        trace_root,
    )
    ids = set(told) - {"-"}
    found = read_plainly(only_session(trace_root))
    assert ids <= set(found.events)
    assert all(len(events) == 1 for events in found.events.values())


@pytest.mark.integration
@pytest.mark.parametrize("way", ["main", "handler", "error text", "thread"])
def test_a_fork_in_any_state_makes_a_writer_of_its_own(way, trace_root):
    told, _ = run(
        """
        way = sys.argv[1] if len(sys.argv) > 1 else os.environ["WAY"]
        setup_logging(segment_size_bytes=4096, max_open_files=4)
        loggers = [AgentLogger(f"agent_{n}", "x") for n in range(6)]
        children = []
        stop = threading.Event()
        def busy(n):
            done = []
            while not stop.is_set() and len(done) < 4000:
                done.append(loggers[n].log_action("busy", {"text": "z" * 200}))
            tell(*done)
        forking = []
        def fork():
            # a timer that fires faster than a fork is made would nest them without end
            if forking: return
            forking.append(True)
            pid = os.fork()
            if pid:
                children.append(pid)
                forking.clear()
                return
            tell(*[loggers[n % 6].log_action("child", {"n": n, "text": "c" * 300}) for n in range(20)])
            shutdown_logging()
            os._exit(0)
        from Agent import trace_agent_action
        class Forks(Exception):
            def __str__(self):
                fork()
                return "forked"
        class Failing:
            agent_id = "failing"
            @trace_agent_action("fail")
            def fail(self): raise Forks
        threads = [threading.Thread(target=busy, args=(n,)) for n in range(2)]
        for thread in threads: thread.start()
        ids = []
        if way == "handler":
            signal.signal(signal.SIGALRM, lambda *_: len(children) < 12 and fork())
            signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
        for n in range(12 if way != "handler" else 1500):
            ids.append(loggers[n % 6].log_action("work", {"n": n, "text": "x" * 300}))
            if way == "main": fork()
            if way == "error text":
                try: Failing().fail()
                except Forks: pass
            if way == "thread":
                thread = threading.Thread(target=fork); thread.start(); thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        stop.set()
        for thread in threads: thread.join()
        for pid in children:
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
        assert children
        tell(*ids)
        """,
        trace_root,
        WAY=way,
    )
    assert_all_there(told, trace_root)


@pytest.mark.further
@pytest.mark.process
def test_a_fork_while_another_thread_begins_to_record_hangs_nobody(trace_root):
    told, _ = run(
        """
        def first(): tell(AgentLogger("one", "x").log_action("first", {}))
        thread = threading.Thread(target=first)
        thread.start()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            tell(AgentLogger("two", "x").log_action("child", {}))
            shutdown_logging()
            os._exit(0)
        thread.join()
        assert os.waitpid(pid, 0)[1] == 0
        """,
        trace_root,
    )
    found = {}
    for session in session_directories(trace_root):
        found.update(read_plainly(session).events)
    assert set(told) - {"-"} <= set(found)
    assert "-" not in told


@pytest.mark.integration
def test_logging_from_repr_finalisers_and_log_handlers_re_enters_safely(trace_root):
    told, _ = run(
        """
        import logging
        from Agent import trace_agent_action
        setup_logging(segment_size_bytes=4096, max_open_files=4)
        logger = AgentLogger("agent", "x")
        ids = []
        class Chatty:
            def __repr__(self):
                ids.append(logger.log_action("repr", {"depth": len(ids)}))
                return "chatty"
            __str__ = __repr__
            def __del__(self):
                ids.append(logger.log_action("del", {"text": "d" * 300}))
        class Failure(Exception):
            __str__ = Chatty.__repr__
        class Failing:
            agent_id = "failing"
            @trace_agent_action("fail")
            def fail(self): raise Failure
        class Handler(logging.Handler):
            def emit(self, record):
                ids.append(logger.log_action("handler", {"said": record.getMessage()}))
        class Cycle:
            def __init__(self): self.me, self.end = self, Chatty()
        logging.getLogger("user").addHandler(Handler())
        gc.set_threshold(7)
        for n in range(300):
            Cycle()
            ids.append(logger.log_action("work", {"object": Chatty(), "n": n}))
            logging.getLogger("user").warning("number %d", n)
            try: Failing().fail()
            except Failure: pass
        gc.collect()
        assert len(ids) > 1300, len(ids)
        tell(*ids)
        """,
        trace_root,
    )
    assert_all_there(told, trace_root)


@pytest.mark.integration
def test_what_logs_while_the_interpreter_ends_is_recorded_or_refused_without_a_word_to_the_program(
    trace_root,
):
    told, _ = run(
        """
        logger = AgentLogger("agent", "x")
        tell(logger.log_action("first", {}))
        atexit.register(lambda: tell(logger.log_action("atexit", {})))
        def daemon():
            while True: tell(logger.log_action("daemon", {}))
        threading.Thread(target=daemon, daemon=True).start()
        class Last:
            def __del__(self): tell(logger.log_action("last", {}))
        kept = Last()
        sys.modules["kept"] = kept
        time.sleep(0.05)
        """,
        trace_root,
    )
    ids = [identity for identity in told if identity != "-"]
    found = read_plainly(only_session(trace_root))
    assert len(ids) > 2
    # the last line of a daemon thread may have been cut off with it
    whole = [identity for identity in ids if len(identity) > 9]
    assert set(whole) - set(found.events) == set()
    assert {event["extra"]["action_type"] for event in found.of_kind("agent_action")} >= {"first", "atexit"}
    losses = TreeReader(only_session(trace_root)).losses()
    assert losses.total_lost == 0, losses
    assert len(session_directories(trace_root)) == 1


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize("end", ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)", "os.abort()"])
def test_however_a_program_ends_what_it_was_told_is_there(end, trace_root):
    expect = -6 if "abort" in end else 3
    told, _ = run(
        f"tell(*[AgentLogger('a', 'x').log_action('w', {{}}) for _ in range(50)])\n{end}", trace_root, expect
    )
    assert_all_there(told, trace_root)


@pytest.mark.integration
def test_cancelled_coroutines_leave_no_open_span_and_say_that_they_were_cancelled(trace_root):
    told, _ = run(
        """
        import asyncio
        from Agent import trace_agent_action, trace_context
        block = AgentLogger("block", "x")
        class Worker:
            def __init__(self, name): self.agent_id = name
            @trace_agent_action("work")
            async def work(self, seconds):
                async with asyncio.timeout(5):
                    with trace_context(block, "inner", number=1):
                        await asyncio.sleep(seconds)
        async def main():
            tasks = [asyncio.create_task(Worker(f"w{n}").work(30 if n % 2 else 0)) for n in range(40)]
            await asyncio.sleep(0.05)
            for task in tasks: task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 20, answers
        asyncio.run(main())
        tell(AgentLogger("a", "x").log_action("end", {}))
        """,
        trace_root,
    )
    found = assert_all_there(told, trace_root)
    work = [event for event in found.of_kind("agent_action") if event["extra"]["action_type"] == "work"]
    assert Counter(event["extra"].get("outcome") for event in work) == {None: 20, "cancelled": 20}
    assert TreeReader(only_session(trace_root)).in_flight() == []


@pytest.mark.slow
def test_ten_thousand_agents_are_recorded_with_sixty_four_open_files(trace_root):
    told, _ = run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        loggers = [AgentLogger(f"agent_{n}", "x") for n in range(10_000)]
        ids = [logger.log_action("one", {}) for logger in loggers]
        ids += [loggers[n].log_action("two", {}) for n in random.sample(range(10_000), 2000)]
        assert not health()["dropped"], health()
        assert len(os.listdir("/proc/self/fd")) <= 64
        tell(*ids)
        """,
        trace_root,
    )
    assert len(told) == 12_000
    session = only_session(trace_root)
    found = read_plainly(session)
    assert set(told) <= set(found.events)
    assert all(len(events) == 1 for events in found.events.values())
    assert len(list((session / "agents").iterdir())) == 10_000
    assert TreeReader(session).losses().clean


def test_a_planted_link_where_the_next_session_would_be_is_not_entered(trace_root, tmp_path):
    import time

    target = tmp_path / "elsewhere"
    target.mkdir()
    trace_root.mkdir()
    now = time.time_ns() // 1000
    for second in range(-1, 30):
        name = f"session_{session_id_for(now + second * 1_000_000)}"
        (trace_root / name).symlink_to(target)
    setup_logging(trace_root=trace_root)
    identity = AgentLogger("a", "x").log_action("w", {})
    path = Path(health()["path"])
    shutdown_logging()
    assert list(target.iterdir()) == []
    assert not path.is_symlink() and path.name.endswith("-2")
    assert identity in read_plainly(path).events


@pytest.mark.parametrize("what", ["agents/agents.log", "system/system.jsonl", "errors/errors.jsonl"])
def test_a_planted_link_under_a_mirrors_name_is_not_followed(what, trace_root, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    (trace_root / what).parent.mkdir(parents=True)
    (trace_root / what).symlink_to(target)
    setup_logging(trace_root=trace_root)
    logger = AgentLogger("a", "x")
    identity = logger.log_action("w", {})
    logger.error("it failed")
    shutdown_logging()
    assert target.read_bytes() == b"untouched"
    assert identity in read_plainly(only_session(trace_root)).events


@pytest.mark.process
def test_a_pipe_under_a_mirrors_name_makes_nobody_wait(trace_root):
    (trace_root / "agents").mkdir(parents=True)
    os.mkfifo(trace_root / "agents" / "agents.log")
    told, _ = run("tell(*[AgentLogger('a', 'x').log_action('w', {}) for _ in range(200)])", trace_root)
    assert_all_there(told, trace_root)


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("umask", ["0", "0o177", "0o777"])
def test_files_are_private_whatever_the_umask(umask, tmp_path):
    trace_root = tmp_path / "made" / "trace"
    told, _ = run(
        f"""
        os.umask({umask})
        setup_logging(segment_size_bytes=4096)
        tell(*[AgentLogger(f"a{{n % 3}}", "x").log_action("w", {{"text": "x" * 500}}) for n in range(60)])
        from Agent.flight import Recorder
        recorder = Recorder(agent="a1")
        run_id = recorder.start_run()
        recorder.save_artifact("notes/some.txt", "some text", run_id=run_id)
        """,
        tmp_path / "trace",
        AGENT_TRACE_ROOT=str(trace_root),
    )
    assert_all_there(told, trace_root)
    assert stat.S_IMODE(trace_root.parent.lstat().st_mode) & 0o700 == 0o700
    for path in [trace_root, *trace_root.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() and path.name != "README.md":
            assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom permissions bind")
def test_permissions_that_come_and_go_cost_only_what_is_told():
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        root = place / "trace"
        root.mkdir()
        os.chown(root, 65534, 65534)
        told, _ = run(
            """
            # what is imported later would be looked for where nobody may look
            import tempfile
            with tempfile.TemporaryDirectory() as warm:
                setup_logging(trace_root=warm)
                AgentLogger("warm", "up").log_action("w", {})
                shutdown_logging()
            os.setgid(65534); os.setuid(65534)
            setup_logging(max_open_files=4, mirrors=False)
            session = health()["path"]
            loggers = [AgentLogger(f"agent_{n}", "x") for n in range(12)]
            stop = threading.Event()
            def flicker():
                while not stop.is_set():
                    os.chmod(session + "/agents", 0); time.sleep(0.002)
                    os.chmod(session + "/agents", 0o700); time.sleep(0.002)
            thread = threading.Thread(target=flicker); thread.start()
            end = time.monotonic() + 1
            ids = []
            while time.monotonic() < end:
                ids.append(loggers[len(ids) % 12].log_action("w", {"n": len(ids)}))
            stop.set(); thread.join()
            assert "" in ids
            assert any("EACCES" in name for name in health()["writer"]), health()
            ids.append(loggers[0].log_action("after", {}))
            assert sum(health()["dropped"].values()) == ids.count(""), health()
            tell(*ids)
            """,
            root,
            HOME=name,
            XDG_CONFIG_HOME=f"{name}/config",
        )
        found = read_plainly(only_session(root))
        assert set(told) - {"-"} <= set(found.events)
        reported = sum(event["extra"]["count"] for event in found.of_kind("log.dropped"))
        assert reported == told.count("-")
        losses = TreeReader(only_session(root)).losses()
        assert losses.total_lost == told.count("-")
