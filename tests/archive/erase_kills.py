"""Kills an erasure before its k-th change of a file, looks at what is left, lets the next one finish, and looks again.

Run as a program: `erase_kills.py ROOT KIND VALUE K...`; prints a line of JSON for each k. Each part runs in a
process of its own, forked from this one, which does nothing itself that threads would outlive.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import erase_kit as kit

from Agent.archive.erase.erasing import erase, pending, plan_file, target_of
from Agent.archive.verify import verify

CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.truncate",
    "os.mkdir",
    "os.utime",
    "shutil.rmtree",
}
KILLED, ENDED, FAILED = 77, 0, 1


def die_before_change(k: int) -> Callable[[], int]:
    """End this process without a word before its k-th change of a file; returns what counts the changes."""
    count = 0

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event not in CHANGES and not writes and event != "sqlite3.connect":
            return
        count += 1
        if count == k:
            os._exit(KILLED)

    sys.addaudithook(see)
    return lambda: count


def apart(work: Callable[[], object], *, answers: bool = False) -> tuple[int, Any]:
    """Do something in a forked process: its exit code and its answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = work()
            if answers:
                os.write(writing, json.dumps(answer).encode())
            os._exit(ENDED)
        except BaseException:
            traceback.print_exc()
            os._exit(FAILED)
    os.close(writing)
    data = b"".join(iter(lambda: os.read(reading, 65536), b""))
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(data) if data else None


def seen(root: Path) -> dict[str, Any]:
    """What can be read, as JSON."""
    sound = all(verify(session).sound for session in kit.session_directories(root))
    return {
        "events": {key: line.decode() for key, line in kit.events(root).items()},
        "documents": {"/".join(map(str, key)): repr(state) for key, state in kit.documents(root).items()},
        "sound": sound,
    }


def one(root: Path, kind: str, value: str, k: int) -> dict[str, Any]:
    """Kill before the k-th change, look, finish, look again."""
    place = root.with_name(f"{root.name}-{k}")
    shutil.copytree(root, place, symlinks=True)

    def killed() -> None:
        die_before_change(k)
        erase(place, target_of(**{kind: value}))

    def finished() -> dict[str, Any]:
        done = erase(place, None if pending(place) is not None else target_of(**{kind: value}))
        return {"resumed": done.resumed, "clean": done.proof.clean}

    code, _ = apart(killed)
    _, between = apart(lambda: seen(place), answers=True)
    planned = plan_file(place).exists()
    last, told = apart(finished, answers=True)
    _, after = apart(lambda: seen(place), answers=True)
    found = kit.traces(place, kit.forms(value)) if kind == "match" else []
    answer = {"k": k, "code": code, "planned": planned, "finish": last, "told": told, "traces": found}
    answer |= {"between": between, "after": after, "plan_left": plan_file(place).exists()}
    shutil.rmtree(place)
    return answer


if __name__ == "__main__":
    for number in sys.argv[4:]:
        print(json.dumps(one(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(number))), flush=True)
