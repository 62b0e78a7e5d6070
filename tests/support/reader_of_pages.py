"""Follows a page of the documentation as a reader does: in an empty directory, block after block.

Python blocks are typed into one interpreter, or saved where the page names a file (`file=NAME` behind the language).
Each line of a shell block is run; servers and what follows without end run beside the rest, with a time limit. What
installs the project or runs its own checks is done by `.ci/run`, so here its extras and tools are only looked up.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from support.markdown import Block
from support.perfetto_classes import perfetto_classes
from support.processes import REPOSITORY, be_one_user, child_environment

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHELLS = {"bash", "sh", "shell", "console"}


def _json_lines(text: str) -> None:
    """One document, or one a line."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


DATA = {"json": _json_lines, "toml": tomllib.loads}
"""What is shown of files: it is at least what it says it is."""
PRINTED = "printed"
"""Mark of a block of text that shows what the last command printed: `...` stands for anything, spaces for any space."""
UNTRIED = {"placeholders", "elsewhere"}
"""Marks of blocks that are not run: names have to be replaced first, or it needs what a test has not."""
LINE_SECONDS = 600  # for what hangs: the demo takes 20 s of processor, of a machine with other work
ENDLESS_SECONDS = 4

_EXIT_CODE = re.compile(r"#.*\bexit code (\d(?: or \d)*)")
_SHOWN = re.compile(r"#\s*->\s*(.+)$", re.MULTILINE)
_INSTALL = re.compile(r"(?:python3? -m venv \S+|source \.venv/bin/activate|(?:\S*/)?pip install .*)")
_EXTRAS = re.compile(r"\[([\w,]+)\]")
_OWN_CHECK = re.compile(r"\.venv/bin/(?:pytest|ruff|mypy|lint-imports|python -m benchmarks)\b.*")
_ENDLESS = re.compile(r"agent-trace (?:view\b|tail\b.* (?:-f|--follow)(?: |$)|ship\b.* --follow)")
_SERVE = re.compile(r"agent-trace serve\b")
_DEMO = re.compile(r"agent-trace demo(?: --(?:agents|ticks) \d+)*")

_INTERPRETER = """
import json, sys, traceback
from pathlib import Path
from support.markdown import Block, run_block
namespace = {"__name__": "__main__"}
sys.path.insert(0, "")
for line in sys.stdin:
    block = Block(**json.loads(line))
    try:
        run_block(block, namespace, Path("page.md"))
    except BaseException:
        print(traceback.format_exc(), "\\x00raised", sep="\\n", flush=True)
    else:
        print("\\x00done", flush=True)
"""


class PageFailed(AssertionError):
    """A block did not do what the page says."""


@dataclass(frozen=True)
class Demo:
    """What a call of `agent-trace demo` printed and recorded in a directory without a trace."""

    out: str
    err: str
    trace: Path


class Demos:
    """What calls of `agent-trace demo` recorded, for all readers of a directory, of other processes too.

    Args:
        directory: where they are kept, by the words of the call.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def one_at_a_time(self, call: str) -> Iterator[None]:
        """Let no other reader look for the same call meanwhile: the second of two finds what the first recorded."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._place(call).with_suffix(".lock").open("a") as lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def find(self, call: str) -> Demo | None:
        """What the call recorded; None if it was not kept."""
        place = self._place(call)
        if not (place / "out").exists():
            return None
        return Demo((place / "out").read_text("utf-8"), (place / "err").read_text("utf-8"), place / "trace")

    def keep(self, call: str, demo: Demo) -> None:
        """Keep a copy of what the call recorded."""
        place = self._place(call)
        shutil.copytree(demo.trace, place / "trace", symlinks=True)
        (place / "err").write_text(demo.err, "utf-8")
        (place / "out").write_text(demo.out, "utf-8")  # last: a copy with it is whole

    def _place(self, call: str) -> Path:
        return self._directory / re.sub(r"\W+", "-", call)


class Reader:
    """One reader in one directory; close it at the end.

    Args:
        directory: empty; the reader works there.
        tools: another directory, for the commands that the reader has.
        demos: what demos recorded for other readers; the same call need not be made again.
    """

    def __init__(self, directory: Path, tools: Path, demos: Demos | None = None) -> None:
        self._demos = demos
        self.done: Counter[str] = Counter()
        """How many blocks were run, and how many lines of each kind."""
        self._directory = directory
        self._tools = tools
        self._ports = {port: str(_free_port()) for port in ("8000", "8001", "8002")}
        self._beside: list[subprocess.Popen[str]] = []
        self._interpreter: subprocess.Popen[str] | None = None
        self._printed: list[str] = []
        """What the commands of the last block of a shell printed."""
        plugins = {point.value for point in entry_points(group="pytest11")}
        plugin = "" if "Agent.testing.pytest_plugin" in plugins else " -p Agent.testing.pytest_plugin"
        # as its command starts it: the current directory is not on the path (-P)
        for name, what in {
            "agent-trace": "-m Agent", "python": "", "python3": "", "pytest": f"-P -m pytest{plugin}"
        }.items():  # fmt: skip
            (tools / "bin").mkdir(exist_ok=True)
            command = tools / "bin" / name
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {what} "$@"\n')
            command.chmod(0o700)
        be_one_user(tools)
        self._environment = child_environment(
            PATH=f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
            HOME=str(tools),
            XDG_CONFIG_HOME=str(tools),
            XDG_DATA_HOME=str(tools),
            AGENT_TRACE_SESSION="",
            PYTEST_ADDOPTS="-p no:randomly -p no:cacheprovider",
        )
        for name in ("AGENT_TRACE_ROOT", "CI", "PYTEST_CURRENT_TEST"):
            self._environment.pop(name, None)

    def follow(self, block: Block) -> None:
        """Do what the block says.

        Raises:
            PageFailed: it cannot be done, or ends otherwise than the page says.
        """
        marks = UNTRIED & block.marks
        if marks:
            self.done.update(marks)
        elif block.file_name is not None:
            (self._directory / block.file_name).write_text(self._here(block.source), encoding="utf-8")
            self.done["files"] += 1
        elif block.language == "python":
            self._type(block)
            self.done["python"] += 1
        elif PRINTED in block.marks:
            self._compare(block)
            self.done["printed"] += 1
        elif block.language in SHELLS:
            self._printed = []
            for line in block.source.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    self._run(self._here(line), block)
            self.done["shell"] += 1
        elif block.language in DATA:
            try:
                DATA[block.language](block.source)
            except ValueError as error:
                raise PageFailed(f"the block of line {block.line} is no {block.language}: {error}") from None
            self.done["data"] += 1

    def close(self) -> None:
        """End all that still runs."""
        if self._interpreter is not None:
            assert self._interpreter.stdin is not None
            self._interpreter.stdin.close()
            self._interpreter.wait(30)
            assert self._interpreter.stdout is not None
            self._interpreter.stdout.close()
        for process in self._beside:
            _end(process)

    def _here(self, text: str) -> str:
        """The text with the ports that this reader has."""
        return re.sub(
            r"(localhost|127\.0\.0\.1):(800[012])\b",
            lambda found: f"{found[1]}:{self._ports[found[2]]}",
            text,
        )

    def _type(self, block: Block) -> None:
        if self._interpreter is None:
            path = f"{self._environment['PYTHONPATH']}{os.pathsep}{REPOSITORY / 'tests'}"
            self._interpreter = subprocess.Popen(
                [sys.executable, "-c", _INTERPRETER],
                cwd=self._directory,
                env={**self._environment, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        typed = {"language": "python", "source": self._here(block.source), "line": block.line}
        assert self._interpreter.stdin is not None
        assert self._interpreter.stdout is not None
        self._interpreter.stdin.write(json.dumps(typed) + "\n")
        self._interpreter.stdin.flush()
        printed, outcome = "", "ended"
        for line in self._interpreter.stdout:
            if line.startswith("\x00"):
                outcome = line[1:].strip()
                break
            printed += line
        if outcome != "done":
            raise PageFailed(f"the block of line {block.line} {outcome}\n{printed}")
        where = 0
        for each in _SHOWN.findall(block.source):
            where = printed.find(each.strip(), where)
            if where < 0:
                raise PageFailed(f"line {block.line}: {each!r} was not printed, but\n{printed}")

    def _compare(self, block: Block) -> None:
        told, where = " ".join("\n".join(self._printed).split()), 0
        for part in block.source.split("..."):
            wanted = " ".join(part.split())
            where = told.find(wanted, where)
            if where < 0:
                raise PageFailed(f"line {block.line}: {wanted!r} was not printed, but\n{told}")
            where += len(wanted)

    def _run(self, line: str, block: Block) -> None:
        command = line
        parts = [part.strip() for part in command.partition("  #")[0].split("&&")]
        wanted = []
        for part in parts:
            if _INSTALL.fullmatch(part):
                _check_extras(part)
                self.done["installations"] += 1
            elif _OWN_CHECK.fullmatch(part):
                self.done["own checks"] += 1
            else:
                wanted.append(part.removeprefix(".venv/bin/"))
        if not wanted:
            return
        if "export perfetto" in line and not _perfetto_fits():
            self.done["commands that need another protobuf"] += 1
            return
        self.done["commands"] += 1
        if _SERVE.search(command):
            self._serve(command, block)
            return
        command = " && ".join(wanted) if len(wanted) < len(parts) else command
        trace = self._directory / "trace"
        is_demo = len(wanted) == 1 and _DEMO.fullmatch(wanted[0]) is not None and not trace.exists()
        if self._demos is None or not is_demo:
            self._carry_out(command, line, block)
            return
        with self._demos.one_at_a_time(wanted[0]):
            demo = self._demos.find(wanted[0])
            if demo is None:
                self._demos.keep(wanted[0], Demo(*self._carry_out(command, line, block), trace))
                return
        shutil.copytree(demo.trace, trace, symlinks=True)
        self._printed += [demo.out, demo.err]
        self.done["demos of other pages"] += 1

    def _carry_out(self, command: str, line: str, block: Block) -> tuple[str, str]:
        """Run a command of a line to its end; return what it printed."""
        code = _EXIT_CODE.search(line)
        endless = _ENDLESS.search(command) is not None
        process = self._start(command, subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=ENDLESS_SECONDS if endless else LINE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT if endless else signal.SIGKILL)
            out, err = process.communicate(timeout=30)
            if not endless:
                raise PageFailed(f"line {block.line} ff., {line}: did not end\n{out}{err}") from None
        self._printed += [out, err]
        expected = (
            {0, 130, -signal.SIGINT} if endless else set(map(int, code[1].split(" or "))) if code else {0}
        )
        if process.returncode not in expected or "Traceback" in err:
            raise PageFailed(
                f"line {block.line} ff., {line}: exit code {process.returncode} in place of {expected}\n{out}{err}"
            )
        return out, err

    def _serve(self, line: str, block: Block) -> None:
        options = "" if "--port" in line or "--query-port" in line else (
            f" --port {self._ports['8000']} --query-port {self._ports['8001']}"
        )  # fmt: skip
        line = _SERVE.sub(lambda found: f"{found[0]}{options}", line.partition("  #")[0].rstrip(" &"))
        log = self._tools / f"service-{len(self._beside)}.log"
        with log.open("w", encoding="utf-8") as written:
            process = self._start(line, written.fileno())
        self._beside.append(process)
        end = time.monotonic() + LINE_SECONDS
        while not all(_answers(int(self._ports[port])) for port in ("8000", "8001")):
            if process.poll() is not None or time.monotonic() > end:
                raise PageFailed(
                    f"line {block.line} ff., {line}: no service ({process.poll()})\n{log.read_text()}"
                )
            time.sleep(0.1)

    def _start(self, line: str, output: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [shutil.which("bash") or "sh", "-c", line],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,  # a group of its own, which can be ended as a whole
        )


def _check_extras(command: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in _EXTRAS.findall(command):
        missing = set(extras.split(",")) - project["optional-dependencies"].keys()
        if missing:
            raise PageFailed(f"{command}: there is no extra {', '.join(sorted(missing))}")


def _perfetto_fits() -> bool:
    """Whether the protobuf installed here, which other packages may hold back, fits the extra [perfetto]."""
    try:
        perfetto_classes()
    except pytest.skip.Exception:
        return False
    return True


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1)
        return asking.connect_ex(("127.0.0.1", port)) == 0
