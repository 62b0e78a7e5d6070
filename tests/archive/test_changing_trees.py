"""Trees that change while a command reads them, at the n-th file or directory that it opens."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import erase_kit as kit
import pytest
from erase_kills import apart

from Agent import AgentLogger, setup_logging
from Agent.archive.erase.erasing import erase, target_of
from Agent.archive.prune import Policy, prune
from Agent.archive.sealed.reader import unseal
from Agent.archive.sealed.sealing import seal
from Agent.cli.main import main
from Agent.errors import AgentTraceError
from Agent.tree.retention import Retention

LOOKS = {"open", "os.listdir", "os.scandir"}
HARMLESS = {
    "seal": lambda session: seal(session),
    "seal and remove": lambda session: seal(session, remove=True),
    "restore": lambda session: unseal(session),
}
REMOVING = {
    "erase": lambda session: erase(session.parent, target_of(agent="writer")),
    "retention": lambda session: Retention(session, 9000).run(),
    "prune": lambda session: prune(session.parent, Policy(keep_sessions=1)),
    "the session goes": shutil.rmtree,
    "its agents go": lambda session: shutil.rmtree(session / "agents"),
    "its archive goes": lambda session: shutil.rmtree(session / "archive", ignore_errors=True),
    "the root goes": lambda session: shutil.rmtree(session.parent),
}
EXACT = [
    ["journey", "reader", "{session}", "--json"],
    ["errors", "{session}", "--json"],
    ["sql", "SELECT count(*) AS n FROM events", "{session}", "--json"],
    ["tail", "--session", "{session}", "-n", "500", "--json"],
    ["interactions", "{session}", "--json"],
    ["prove", "{event}", "{session}", "--json"],
    ["causes", "{event}", "{session}", "--json"],
]
"""Those that say the same whatever form a session has."""
OTHERS = [
    ["diff", "{session}", "{other}", "--json"],
    ["sessions", "--json"],
    ["analyze", "{session}"],
    ["analyze", "{session}", "--html", "{out}"],
    ["debug", "reader fails", "--session", "{session}"],
    ["state", "reader", "{session}"],
    ["play", "{session}"],
    ["runs", "--json"],
    ["verify", "{session}", "--json"],
    ["doctor", "--json"],
    ["golden", "list"],
    ["recover", "--all", "--mirrors"],
    ["seal", "--all"],
    ["prune", "--keep-sessions", "1", "--dry-run"],
]
FORMS = ["live", "sealed", "removed"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded") / "trace"
    assert apart(lambda: kit.record(root))[0] == 0
    return root


@pytest.fixture(scope="module")
def clean():
    """A process that has recorded and read nothing yet: what is forked from it has no thread of another test."""
    path = os.pathsep.join(each for each in sys.path if each)
    command = [sys.executable, __file__]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **streams) as process:
        yield process
        process.stdin.close()


def ask(clean, recorded, place, command, form, change=None, at=0):
    """Exit code, stdout, stderr and looks of a command, with a change, by its name, at one of its looks."""
    root = place / "trace"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(recorded, root, symlinks=True)
    session, other = kit.session_directories(root)[:2]
    line = (recorded / session.name / "agents" / "reader.1.log").read_bytes().splitlines()[1]
    names = {
        "{session}": session.name.removeprefix("session_"),
        "{other}": other.name.removeprefix("session_"),
    }
    names |= {"{event}": json.loads(line)["id"], "{out}": str(place / "report.html")}
    words = [names.get(word, word) for word in command]
    (place / "err").unlink(missing_ok=True)
    clean.stdin.write(json.dumps([str(place), str(session), words, form, change, at]) + "\n")
    clean.stdin.flush()
    ended, answer = json.loads(clean.stdout.readline())
    said = (place / "err").read_text() if (place / "err").exists() else "nothing: it ended before it began"
    assert answer is not None, f"{command}, {form}: the process ended with {ended} and said {said}"
    code, looks = answer
    return code, (place / "out").read_text(), said, looks


def carry_out(place, session, words, form, change, at):
    """Run the command with the change at one of its looks: its exit code, and how often it looked."""
    place, session, looks, is_busy = Path(place), Path(session), 0, False
    if form != "live":
        seal(session, remove=form == "removed")

    def see(event, arguments):
        nonlocal looks, is_busy
        if is_busy or event not in LOOKS or not isinstance(arguments[0], (str, bytes, Path)):
            return
        if str(session.parent) not in os.fsdecode(arguments[0]):
            return
        looks += 1
        if looks == at:
            is_busy = True
            with contextlib.suppress(AgentTraceError, FileNotFoundError):  # what it meets is not asked here
                (HARMLESS | REMOVING)[change](session)
            is_busy = False

    with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
    os.environ["AGENT_TRACE_ROOT"] = str(session.parent)
    sys.addaudithook(see)
    code = main(["--debug", *words])
    sys.stdout.flush()
    sys.stderr.flush()
    return code, looks


def assert_answers(clean, recorded, place, chance, times):
    calm = {}
    for _ in range(times):
        command, form = chance.choice(EXACT if chance.random() < 0.6 else OTHERS), chance.choice(FORMS)
        is_harmless = command in EXACT and chance.random() < 0.7
        change = chance.choice(list(HARMLESS if is_harmless else REMOVING))
        key = " ".join([*command, form])
        if key not in calm:
            calm[key] = ask(clean, recorded, place, command, form)
        at = chance.randint(1, max(calm[key][3], 1))
        code, out, err, _ = ask(clean, recorded, place, command, form, change, at)
        what = f"{key}, {change} at look {at} of {calm[key][3]}: {code}, {err[-2000:]}"
        # Of two sessions that are gone, diff says that nothing could be compared.
        assert code in {0, 1, 3, 4} if command[0] == "diff" else code in {0, 1, 3}, what
        assert "Traceback" not in err, what
        if is_harmless:
            assert (code, out) == calm[key][:2], what


@pytest.mark.further
@pytest.mark.parametrize(
    "times",
    [
        pytest.param(6, marks=pytest.mark.process),
        pytest.param(80, marks=pytest.mark.integration),
        pytest.param(1000, marks=[pytest.mark.integration, pytest.mark.slow]),
    ],
)
def test_a_tree_that_changes_under_a_command_costs_neither_a_traceback_nor_a_count(
    clean, recorded, tmp_path, times
):
    assert_answers(clean, recorded, tmp_path, random.Random(random.randrange(2**32)), times)


@pytest.mark.integration
@pytest.mark.parametrize("command", EXACT, ids=lambda command: command[0])
def test_sealed_and_removed_at_any_look_a_session_gives_the_same_answer(clean, recorded, tmp_path, command):
    for form in ("live", "sealed"):
        calm = ask(clean, recorded, tmp_path, command, form)
        assert calm[0] in {0, 1}
        for at in range(1 + len(command) % 3, calm[3] + 1, 9):
            code, out, err, _ = ask(clean, recorded, tmp_path, command, form, "seal and remove", at)
            assert (code, out) == calm[:2], f"{form}, at look {at} of {calm[3]}: {err[-1500:]}"


@pytest.mark.integration
@pytest.mark.process
@pytest.mark.parametrize(
    "command", [EXACT[0], pytest.param(EXACT[5], marks=pytest.mark.slow)], ids=lambda command: command[0]
)
def test_a_session_that_comes_back_from_the_archive_gives_the_same_answer(clean, recorded, tmp_path, command):
    calm = ask(clean, recorded, tmp_path, command, "removed")
    assert calm[0] == 0
    for at in range(1, calm[3] + 1):
        code, out, err, _ = ask(clean, recorded, tmp_path, command, "removed", "restore", at)
        assert (code, out) == calm[:2], f"at look {at} of {calm[3]}: {err[-1500:]}"


@pytest.mark.process
def test_a_segment_that_rolls_under_a_reader_is_counted_once(tmp_path):
    root = tmp_path / "trace"

    def count():
        session = setup_logging(trace_root=root, segment_size_bytes=4096).path
        for number in range(60):
            AgentLogger("reader").log_action("read", {"number": number, "text": "x" * 200})
        looks = 0

        def see(event, arguments):
            nonlocal looks
            if event in LOOKS and isinstance(arguments[0], (str, Path)) and str(session) in str(arguments[0]):
                looks += 1
                if looks in {5, 12, 20}:
                    for _ in range(20):
                        AgentLogger("other").log_action("read", {"text": "x" * 300})
                        AgentLogger("reader").log_action("late", {"text": "x" * 200})

        sys.addaudithook(see)
        reader = kit.open_reader(session)
        read = [event.id for event in reader.events() if event.extra.get("action_type") == "read"]
        own = [event.id for event in reader.agent_events("reader") if event.extra["action_type"] == "read"]
        return len(own), len(set(own)), len(read) - len(set(read))

    assert apart(count, answers=True)[1] == [60, 60, 0]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(apart(partial(carry_out, *json.loads(line)), answers=True)), flush=True)
