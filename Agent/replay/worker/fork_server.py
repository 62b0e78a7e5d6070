"""A process that has loaded this package and forks for each request, at 10% of an interpreter's cost.

`ForkServer` replaces `spawn` in `jobs.py`. A forked child has the caller's environment and working directory,
its own process group and output files, and exits as an interpreter does. There are four differences: all
children of a server share one hash seed (not the caller's), resource limits and umask are those at the start
of the server, the modules of replay and forks are already loaded, and a child that has answered exits without
freeing objects, so no `__del__` runs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import io
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson

from Agent.archive.sealed.reader import cores
from Agent.errors import AgentTraceError, ReplayError
from Agent.record.secrets.issuers import literals
from Agent.record.secrets.names import name_says
from Agent.record.secrets.nearby import speaks_of_secret
from Agent.replay.worker import program
from Agent.replay.worker.jobs import (
    Child,
    ChildResult,
    answer,
    as_object,
    child_environment,
    end_with_parent,
    from_object,
    launched_by,
    launches_anew,
    report_progress,
    run_module,
    spawn,
    write_request,
)

if TYPE_CHECKING:
    from Agent.replay.worker.workbench import Prepared

_MODULES = (
    "asyncio",
    "ctypes",
    "pickle",
    "Agent.utils",
    "Agent.config.handlers",
    "Agent.config.logging_config",
    "Agent.config.recording",
    "Agent.config.session_join",
    "Agent.record.tracing.traced_call",
    "Agent.replay.drive.interleaved",
    "Agent.replay.worker.jobs",
    "Agent.replay.worker.program",
    "Agent.replay.worker.workbench",
    "Agent.replay.forks.fork",
    "Agent.replay.forks.unrecorded",
    "Agent.replay.forks.experiment",
)
"""Loaded before the first request: the code that handles one, and what every recorded program imports."""
_INTERPRETER_SETTINGS = frozenset(
    {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED", "PYTHONPATH"}
)
"""Settings that do not require a new interpreter: the child applies them, or the request carries them."""

_COMMAND = f"import sys; from {__name__} import main; main(int(sys.argv[1]), *sys.argv[2:])"
_WAIT_S = 5.0
_NUMBER = struct.Struct("i")
_OWN_THREADS = "agent-trace"


_LOOK_S = 0.2


class ForkServer(AbstractContextManager["ForkServer"]):
    """Forks a child process for each request from a warm process, which the first request starts.

    Leaving the context ends the server, but not children that still run.

    Args:
        target: a replay request; its session is read and its target imported before the first fork.
            `Worker` uses this and reads the answer from the control socket.
        output: the files for what the import prints.
    """

    def __init__(self, target: Path | None = None, output: tuple[IO[bytes], IO[bytes]] | None = None) -> None:
        self._arguments = [] if target is None else [str(target)]
        self._output = output or (subprocess.DEVNULL, None)
        self._lock = Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server process."""
        if self._control is not None and self._process is not None:
            self._control.close()
            try:
                self._process.wait(_WAIT_S)
            except subprocess.TimeoutExpired:  # the target's import is still running
                self._process.kill()
                self._process.wait()
        self._control = self._process = None

    def __call__(self, module: str, request: Path, environment: Mapping[str, str]) -> Child:
        """Run the module on the request in a fork.

        A new interpreter is used if the environment has other Python settings than the server, or if the
        server was killed.
        """
        control = self.start()
        if _settings(environment) != _settings(self._environment):
            return spawn(module, request, environment)
        try:
            return self._fork(control, module, request, environment)
        except ConnectionError:
            return spawn(module, request, environment)

    def _fork(
        self, control: socket.socket, module: str, request: Path, environment: Mapping[str, str]
    ) -> ForkedChild:
        settings = {**environment, "PYTHONHASHSEED": self._environment["PYTHONHASHSEED"]}
        task = {
            "module": module,
            "request": str(request),
            "directory": str(Path.cwd()),
            "environment": settings,
        }
        with contextlib.ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            socket.send_fds(control, [b"."], [theirs.fileno(), stdout.fileno(), stderr.fileno()])
            theirs.close()
            ours.sendall(orjson.dumps(task) + b"\n")
            child = ForkedChild(ours, stdout, stderr)
            stack.pop_all()  # the child owns them from here on
        return child

    def start(self) -> socket.socket:
        """Return the control socket of the server; start the server if it does not run."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self.close()
            if self._control is None:
                self._environment = child_environment()
                self._control, theirs = socket.socketpair()
                with theirs:
                    self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
                        [sys.executable, "-c", _COMMAND, str(theirs.fileno()), *self._arguments],
                        env=self._environment,
                        stdin=subprocess.DEVNULL,
                        stdout=self._output[0],
                        stderr=self._output[1],
                        pass_fds=[theirs.fileno()],
                        process_group=0,
                    )
            return self._control


@contextlib.contextmanager
def forked_children() -> Iterator[None]:
    """Fork child processes in the block, if the system supports it and no outer block set a launcher."""
    if not launches_anew() or not all(hasattr(os, name) for name in ("fork", "waitid", "setpgid")):
        yield
        return
    with ForkServer() as server, launched_by(server):
        yield


class ForkedChild:
    """A forked child process, with the part of `subprocess.Popen` that `jobs.run_module` uses."""

    def __init__(self, link: socket.socket, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._link = link
        self._outputs = (stdout, stderr)
        self.returncode: int | None = None
        pid = self._next_number()
        if pid is None:
            raise ConnectionError("the process that forks children for replays was killed")
        self.pid = pid

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end and return stdout and stderr; subprocess.TimeoutExpired if it takes longer."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise subprocess.TimeoutExpired("a forked child", timeout or 0)
        code = self._next_number()
        self.returncode = -signal.SIGKILL if code is None else code
        self._link.close()
        stdout, stderr = map(_text, self._outputs)
        return stdout, stderr

    def _next_number(self) -> int | None:
        """Return the next number from the supervisor of the child; None if the supervisor was killed."""
        received = self._link.recv(_NUMBER.size)
        return _NUMBER.unpack(received)[0] if received else None

    def kill(self) -> None:
        """Kill the child; its process id is not reused before `communicate` returns."""
        os.kill(self.pid, signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") and name not in _INTERPRETER_SETTINGS
    }


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return the task in a child, and None in the server at the end."""
    while True:
        try:
            got, descriptors, *_ = socket.recv_fds(control, 1, 3)
        except ConnectionError:
            return None  # the requesting process has ended
        _reap()
        if not got:
            return None
        if os.fork() == 0:
            control.close()
            link_descriptor, stdout, stderr = descriptors
            return _watch_over(socket.socket(fileno=link_descriptor), stdout, stderr)
        for descriptor in descriptors:
            os.close(descriptor)


def _reap() -> None:
    """Reap the supervisors that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch_over(link: socket.socket, stdout: int, stderr: int) -> dict[str, Any]:
    """Fork the child of one request and report its process id and exit code; return only in the child."""
    task: dict[str, Any] = orjson.loads(link.makefile("rb").readline())
    parent_id = os.getpid()
    child = os.fork()
    if child == 0:
        link.close()
        end_with_parent(parent_id)
        _begin(task, stdout, stderr)
        return task
    try:
        _report(link, child)
    finally:
        os._exit(0)


def _report(link: socket.socket, child: int) -> None:
    with contextlib.suppress(OSError):  # the child did this itself and may have ended
        os.setpgid(child, child)
    link.sendall(_NUMBER.pack(child))
    caller = Thread(target=_end_without_caller, args=(link, child), daemon=True)
    caller.start()
    # Reap the child only after the caller knows its end, so that the id that it may kill is not reused.
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None  # noqa: S101 - None is possible only with WNOHANG
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    link.sendall(_NUMBER.pack(code))
    caller.join()
    os.waitpid(child, 0)


def _end_without_caller(link: socket.socket, child: int) -> None:
    """Kill a child and its forks when the caller is gone; the child is not reaped yet, so its id is safe."""
    with contextlib.suppress(OSError):
        while link.recv(1):
            pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _begin(task: dict[str, Any], stdout: int, stderr: int) -> None:
    """Set up the child like a new interpreter: process group, output, directory, environment."""
    os.setpgid(0, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    os.chdir(task["directory"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX")


def main(descriptor: int, target: str | None = None) -> None:
    """Serve until the other end closes the socket; in a forked child, run its task."""
    for module in _MODULES:
        importlib.import_module(module)
    _warm()
    with socket.socket(fileno=descriptor) as control:
        prepared = None if target is None else _prepare(Path(target), control)
        if target is not None and prepared is None:
            return
        gc.collect()
        gc.freeze()
        task = _serve(control)
    if task is None:
        return
    if prepared is not None:
        from Agent.replay.worker.workbench import replay

        answer(orjson.loads(Path(task["request"]).read_bytes()), partial(replay, prepared=prepared))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a regular exit would free all imports and copy every shared page
    sys.argv = [task["module"], task["request"]]
    # Run a fresh copy of the module as `__main__`, as `python -m` does.
    sys.modules.pop(task["module"], None)
    runpy.run_module(task["module"], run_name="__main__", alter_sys=True)
    # `runpy` has put this process's own `__main__` back, but the recording ends at exit, and names functions
    # and classes by what the program's has.
    if program.main_module is not None:
        sys.modules["__main__"] = program.main_module
    _end()


def _warm() -> None:
    """Fill caches that each child would otherwise fill: the patterns of secrets, and the source reader."""
    literals()
    name_says("some_token")
    speaks_of_secret("some text")
    inspect.getsource(_warm)


def _end() -> NoReturn:
    """End a child after its answer as an interpreter would, but without freeing objects and modules."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as children of `multiprocessing` do
    atexit._run_exitfuncs()  # noqa: SLF001 - the same
    for each in gc.get_objects():  # objects from before the fork are frozen, so they are not listed
        if type(each) in _BUFFERED:
            with contextlib.suppress(OSError, ValueError):  # a full disk, a closed file
                each.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


_BUFFERED = frozenset({io.BufferedRandom, io.BufferedWriter, io.TextIOWrapper})
"""Files of the program that it has not closed."""


def _prepare(request_path: Path, control: socket.socket) -> Prepared | None:
    """Read the session, import the target, and report whether forks can share the result."""
    from Agent.replay.plan.target import TargetNotImported, target_not_found
    from Agent.replay.worker.workbench import Workbench

    request = orjson.loads(request_path.read_bytes())
    sys.path[:] = request["sys_path"]
    prepared = None
    reply: dict[str, object] = {"ready": False}
    try:
        prepared = Workbench(request).prepare()
        if _has_threads():
            prepared = None
        reply = {"ready": prepared is not None}
    except TargetNotImported as error:
        reply = {"error": as_object(target_not_found(str(error)))}
    sys.stdout.flush()
    sys.stderr.flush()
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")  # libraries run threads
    control.sendall(orjson.dumps(reply) + b"\n")
    return prepared


def _has_threads() -> bool:
    """Whether the import started a thread, which a fork would lose; threads of this package handle forks."""
    return any(
        thread is not threading.main_thread() and not thread.name.startswith(_OWN_THREADS)
        for thread in threading.enumerate()
    )


class Worker(AbstractContextManager["Worker"]):
    """A process that has imported a target and forks for each replay; safe to use from several threads.

    Args:
        session: the session, read once.
        target: `module:factory`.
    """

    def __init__(self, session: Path, target: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="agent-trace-worker-")
        here = Path(self._directory.name)
        request = {"session": str(session.absolute()), "agent_id": None, "target": target}
        path = write_request(
            request | {"sys_path": sys.path, "outcome_path": str(here / "outcome.json")}, here
        )
        self._stdout, self._stderr = here / "stdout.txt", here / "stderr.txt"
        self._files = self._stdout.open("wb"), self._stderr.open("wb")
        self._server = ForkServer(path, self._files)
        self._lock = threading.Lock()
        self._reply: dict[str, Any] | None = None
        """The answer after the import of the target; None before it."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        module: str,
        request: Mapping[str, Any],
        directory: Path,
        timeout_seconds: float | None = None,
        stop: Event | None = None,
    ) -> ChildResult:
        """Run one replay request in a fork, or by `run_module` if the target cannot be shared.

        Raises:
            TargetNotFound: the target cannot be imported.
            CancelledError: `stop` was set.
        """
        with self._lock:
            if self._reply is None:
                ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
                answer = _received(self._server.start(), ends_at, stop)
                if answer is None:
                    return ChildResult(*self._printed(), None)
                self._reply = orjson.loads(answer or b"{}")
        if "error" in self._reply:
            raise from_object(self._reply["error"])
        if not self._reply.get("ready"):
            return run_module(module, request, directory, timeout_seconds, stop)
        with launched_by(self._server):
            ended = run_module(module, request, directory, timeout_seconds, stop)
        stdout, stderr = self._printed()
        return replace(ended, stdout=stdout + ended.stdout, stderr=stderr + ended.stderr)

    def close(self) -> None:
        """End the process; the callers end its running forks."""
        self._server.close()
        for file in self._files:
            file.close()
        self._directory.cleanup()

    def _printed(self) -> tuple[str, str]:
        """Return what the target printed during its import."""
        return self._stdout.read_text("utf-8", "replace"), self._stderr.read_text("utf-8", "replace")


class Workers(AbstractContextManager["Workers"]):
    """Workers by session and target, kept from the first replay to the last; none for a single replay.

    Args:
        wanted: session and target of every planned replay.
    """

    def __init__(self, wanted: Iterable[tuple[Path, str]]) -> None:
        self._left = Counter(wanted)
        can_fork = hasattr(os, "fork") and hasattr(socket, "send_fds")
        self._shared = {key for key, count in self._left.items() if count > 1 and can_fork}
        self._begun: dict[tuple[Path, str], Worker] = {}
        self._lock = threading.Lock()

    def __exit__(self, *_: object) -> None:
        for worker in self._begun.values():
            worker.close()

    @contextmanager
    def of(self, session: Path, target: str) -> Iterator[Worker | None]:
        """Yield the worker for one of the replays; None if it needs a separate process."""
        key = session, target
        with self._lock:
            if key in self._shared and key not in self._begun:
                self._begun[key] = Worker(session, target)
            begun = self._begun.get(key)
        try:
            yield begun
        finally:
            with self._lock:
                self._left[key] -= 1
                if not self._left[key]:
                    done = self._begun.pop(key, None)
                    if done is not None:
                        done.close()


def _received(connection: socket.socket, ends_at: float | None, stop: Event | None) -> bytes | None:
    """Return one line, b"" if the other side is gone, or None after the time limit.

    Raises:
        CancelledError: `stop` was set.
    """
    with connection.makefile("rb") as file:
        while not select.select([connection], [], [], _LOOK_S)[0]:
            if stop is not None and stop.is_set():
                raise CancelledError
            if ends_at is not None and time.monotonic() >= ends_at:
                return None
        with contextlib.suppress(ConnectionError):
            return file.readline()  # sent as a whole
    return b""


# Parallel work: replays in worker processes, and tasks in forks of a worker process.
#
# `history.py` and the check of many golden traces use `in_parallel`; sweeps and experiments use `Forks`.

T = TypeVar("T")
Progress = Callable[[float], None]
"""Called with the share that is done, 0.0 to 1.0."""


def in_parallel(
    jobs: Sequence[Callable[[Event], T]], workers: int | None = None, progress: Progress | None = None
) -> list[T]:
    """Return the results of jobs in their order; an interrupt or a failing job ends the others.

    Args:
        jobs: each takes an event that is set when it must end.
        workers: number of parallel jobs; default: the number of cores.
        progress: called with the share that is done.
    """
    stop = Event()
    pool = ThreadPoolExecutor(max_workers=max(1, workers or cores()), thread_name_prefix="agent-trace-replay")
    with forked_children() if len(jobs) > 1 else nullcontext():
        futures: list[Future[T]] = [pool.submit(copy_context().run, job, stop) for job in jobs]
        try:
            if progress is not None:
                progress(0.0)
            for count, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(count / len(futures))
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in futures]


class Forks:
    """Runs tasks in forks of this process, which share everything that it has loaded.

    Args:
        directory: for the answers; it is deleted after this process has ended.
        workers: number of parallel forks.
        reports_progress: whether to report progress to the parent process.
    """

    def __init__(self, directory: Path, workers: int, *, reports_progress: bool) -> None:
        self._directory = directory
        self._workers = workers
        self._reports_progress = reports_progress
        self._asked = self._ended = 0

    def run(self, tasks: Sequence[Callable[[], dict[str, Any]]]) -> list[dict[str, Any] | None]:
        """Return each task's result or `{"error": ...}`, in order; None where the process died."""
        gc.collect()
        gc.freeze()  # keeps existing objects in pages shared with the forks
        self._asked += len(tasks)
        running: set[int] = set()
        answers = []
        for task in tasks:
            if len(running) == self._workers:
                self._wait(running)
            descriptor, path = tempfile.mkstemp(dir=self._directory)
            os.close(descriptor)
            answers.append(Path(path))
            parent_id = os.getpid()
            pid = os.fork()
            if pid == 0:
                end_with_parent(parent_id)
                _answer(task, Path(path))
            running.add(pid)
        while running:
            self._wait(running)
        return [orjson.loads(path.read_bytes() or b"null") for path in answers]

    def _wait(self, running: set[int]) -> None:
        pid, _ = os.wait()
        running.discard(pid)
        self._ended += 1
        if self._reports_progress:
            report_progress(self._directory, self._ended, max(self._asked, self._ended))


def _answer(task: Callable[[], dict[str, Any]], path: Path) -> NoReturn:
    """Run a task in the fork, write its answer, and end the process."""
    try:
        try:
            response = task()
        except BaseException as error:  # noqa: BLE001 - reported to the parent; nobody else would see it
            answer = error if isinstance(error, AgentTraceError) else ReplayError(repr(error))
            response = {"error": as_object(answer)}
        written = path.with_suffix(".new")
        written.write_bytes(orjson.dumps(response, default=repr))
        written.replace(path)
    finally:
        os._exit(0)
