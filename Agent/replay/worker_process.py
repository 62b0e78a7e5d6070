"""The process behind a `Worker`: imports a target once, and forks for each replay that it is asked for.

`worker.py` starts it as `python -m Agent.replay.worker_process REQUEST SOCKET`. Each connection that arrives
over the socket is one replay: a fork that waits and tells how it ended, and its fork that replays.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from pathlib import Path

import orjson

from Agent.replay.child import Prepared, Redrive, carry_out
from Agent.replay.target import TargetNotImported

_CHUNK_BYTES = 1 << 16
_OWN_THREADS = "agent-trace"


def main(request_path: str, control_fd: int) -> None:
    """Import the target that a request names, then fork for each connection that arrives."""
    request = orjson.loads(Path(request_path).read_bytes())
    sys.path[:] = request["sys_path"]
    control = socket.socket(fileno=control_fd)
    try:
        prepared = Redrive({"agent_id": None, **request}).prepare()
    except TargetNotImported as error:
        control.sendall(orjson.dumps({"not_imported": str(error)}) + b"\n")
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if prepared is None or _has_threads():
        control.sendall(b'{"ready":false}\n')
        return
    gc.collect()
    gc.freeze()  # so that a collection in a fork copies no page of what all of them share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    control.sendall(b'{"ready":true}\n')
    while True:
        data, fds, *_ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _mind(socket.socket(fileno=fds[0]), prepared)
        os.close(fds[0])


def _has_threads() -> bool:
    """Whether the import began a thread, which a fork would lose; those of recording know of forks."""
    return any(
        thread is not threading.main_thread() and not thread.name.startswith(_OWN_THREADS)
        for thread in threading.enumerate()
    )


def _mind(connection: socket.socket, prepared: Prepared) -> None:
    """Replay in a fork of this one, wait for its end, and say how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    connection.sendall(b"%d\n" % os.getpid())
    path = b""
    while not path.endswith(b"\n"):
        path += connection.recv(_CHUNK_BYTES) or b"\n"
    request_path = Path(os.fsdecode(path[:-1]))
    child = os.fork()
    if child == 0:
        connection.close()
        _replay(request_path, prepared)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # nobody waits for it any more
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _replay(request_path: Path, prepared: Prepared) -> None:
    """Carry out one request; never returns."""
    code = 1
    try:
        for number, name in ((1, "stdout.txt"), (2, "stderr.txt")):
            file = os.open(request_path.with_name(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
            os.close(file)
        carry_out(orjson.loads(request_path.read_bytes()), prepared)
        code = 0
    except SystemExit as exiting:
        code = exiting.code if isinstance(exiting.code, int) else int(exiting.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter would tell it
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
