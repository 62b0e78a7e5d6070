"""The target by name, the process apart, the run that is meant: each mistake is one clear error or reason."""

import json
import os
import stat

import pytest

from Agent.errors import AgentNotFound, SessionNotFound, TargetNotFound, TargetNotGiven, UsageError
from Agent.record.user_key import sign_targets
from Agent.replay import replay_run, replay_runs
from Agent.tree.files.session import open_session, update_session
from Agent.tree.layout import list_sessions

ADDER = """
import os, sys, time

class Adder:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "adder"
        self.total = 0

    @trace_agent_action
    def add(self, amount):
        self.total += amount
        return self.total

def build(spec):
    return Adder()

def main():
    agent = Adder()
    agent.add(1)
    agent.add(2)
"""


def tree(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_without_a_target_there_is_a_hint(toy):
    toy.record(ADDER)
    with pytest.raises(TargetNotGiven, match="--target module:factory") as caught:
        replay_run("last/a", root=toy.root)
    assert caught.value.exit_code == 4


@pytest.mark.further
def test_the_session_remembers_its_target(toy):
    toy.record(ADDER)
    session = list_sessions(toy.root)[-1].path
    targets = {"a": f"{toy.name}:build"}
    signatures = sign_targets(open_session(session).session_uid, targets)
    update_session(session, targets=targets, target_signatures=signatures)
    assert replay_run("last/a", root=toy.root).verdict == "IDENTICAL"
    assert replay_run("last", root=toy.root).verdict == "IDENTICAL"


@pytest.mark.parametrize("forged", [{}, {"a": "0" * 64}, {"a": "é"}, {"a": 7}, "of another session"])
def test_a_target_that_the_user_did_not_record_is_called_only_if_it_is_given(toy, forged):
    toy.record(ADDER)
    session = list_sessions(toy.root)[-1].path
    name = f"{toy.name}:build"
    signatures = sign_targets("another", {"a": name}) if forged == "of another session" else forged
    update_session(session, targets={"a": name}, target_signatures=signatures)
    for run in ("last/a", "last"):
        with pytest.raises(TargetNotGiven, match="nothing shows that you recorded it") as refused:
            replay_run(run, root=toy.root)
        assert f"--target {name}" in str(refused.value.remedy)
    assert replay_run("last/a", target=name, root=toy.root).verdict == "IDENTICAL"


@pytest.mark.parametrize("target", ["nonsense", "module:", ":factory"])
def test_a_target_that_is_no_name_is_a_usage_error(toy, target):
    toy.record(ADDER)
    with pytest.raises(UsageError, match="not module:factory"):
        replay_run("last/a", target=target, root=toy.root)


def test_a_function_that_cannot_be_imported_is_a_usage_error(toy):
    toy.record(ADDER)
    with pytest.raises(UsageError, match="cannot be imported by a name"):
        replay_run("last/a", target=lambda spec: None, root=toy.root)


def test_a_function_is_a_target_by_its_name(toy):
    import importlib

    toy.record(ADDER)
    module = importlib.import_module(toy.name)
    report = replay_run("last/a", target=module.build, root=toy.root)
    assert (report.verdict, report.target) == ("IDENTICAL", f"{toy.name}:build")


@pytest.mark.further
@pytest.mark.parametrize(
    ("old", "new", "factory", "reason"),
    [
        ("return Adder()", "raise RuntimeError('not today')", "build", "raised RuntimeError: not today"),
        ("return Adder()", "return None", "build", "returned nothing"),
        ("return Adder()", "return object()", "build", "has no agent_id: instrument its class"),
        ("return Adder()", "return {'b': Adder()}", "build", "the factory returned b, not a"),
        ("return Adder()", "return [object()]", "build", "a list, and its object has no agent_id"),
        ("return Adder()", "return [Adder(), Adder()]", "build", "two objects with the agent_id 'a'"),
        (
            "def build(spec)",
            "def build(spec, more)",
            "build",
            ":build must take one argument, the spec, or none",
        ),
        (
            '= "a", "adder"',
            '= "z", "adder"',
            "build",
            "the object for a has the agent_id 'z'; a factory gets a spec, and returns the object of the agent "
            "whose id is spec.agent_id",
        ),
        ("    @trace_agent_action\n", "", "build", "recorded no event"),
        ("self.total += amount", "os._exit(3)", "build", "ended with 3 before it could report"),
        ("self.total += amount", "sys.exit(3)", "build", "proves nothing"),
    ],
)
def test_what_goes_wrong_with_a_target_is_the_reason(toy, old, new, factory, reason):
    toy.record(ADDER)
    if old != new:
        toy.change(old, new)
    report = toy.replay(factory=factory)
    if reason == "proves nothing":
        assert (report.verdict, report.divergence.field) == ("DIVERGED", "outcome")
        assert report.divergence.replayed == "interrupted"
    else:
        assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4)
        assert reason in report.reasons[0], report.reasons


LEAVER = """
import sys

CODE = 3

class Halt(BaseException): pass

class Leaver:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "leaver"
        self.days = 0

    @trace_agent_action
    def halt(self):
        self.days += 1
        raise Halt("noon")

    @trace_agent_action
    def leave(self):
        self.days += 1
        sys.exit(CODE)

def build(spec):
    return Leaver()

def main():
    agent = Leaver()
    for action in (agent.halt, agent.leave):
        try:
            action()
        except BaseException:
            pass
"""


def test_an_action_that_ends_by_an_exception_that_is_none_of_exception_is_replayed(toy):
    assert toy.record(LEAVER).replay().verdict == "IDENTICAL"


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "step", "field"),
    [
        ('Halt("noon")', 'Halt("night")', 1, "error"),
        ('raise Halt("noon")', "raise SystemExit(3)", 1, "outcome"),
        ("CODE = 3", "CODE = 4", 2, "exit_code"),
        ("sys.exit(CODE)", "raise KeyboardInterrupt", 2, "outcome"),
    ],
)
def test_a_changed_exception_that_is_none_of_exception_is_a_difference(toy, old, new, step, field):
    report = toy.record(LEAVER).change(old, new).replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", step, field)


def test_an_agent_of_the_factory_that_never_acted_is_passed_over(toy):
    toy.record(ADDER).change("return Adder()", "return {'a': Adder(), 'b': object()}")
    assert toy.replay().verdict == "IDENTICAL"


@pytest.mark.parametrize("listed", ["[Adder()]", "(Adder(),)"])
def test_a_factory_may_return_its_agents_in_a_list(toy, listed):
    toy.record(ADDER).change("return Adder()", f"return {listed}")
    assert toy.replay().verdict == "IDENTICAL"


@pytest.mark.further
@pytest.mark.parametrize(
    ("old", "new", "factory", "says"),
    [
        ("import os, sys, time", "import no_such_module", "build", "cannot be imported: ModuleNotFoundError"),
        ("return Adder()", "return Adder() # ", "missing", "has no 'missing'"),
        ("def build(spec)", "build = 3\ndef other(spec)", "build", "is a int, not a function"),
    ],
)
def test_a_target_that_cannot_be_imported_is_an_error_and_leaves_no_report(toy, old, new, factory, says):
    toy.record(ADDER).change(old, new)
    with pytest.raises(TargetNotFound, match=says) as raised:
        toy.replay(factory=factory)
    assert raised.value.exit_code == 3
    with pytest.raises(TargetNotFound, match=says):
        replay_runs(f"{toy.name}:{factory}", toy.root, agents="*")
    assert not list(toy.root.glob("session_*/runs/root/replays/*"))


def test_a_factory_without_parameters_is_called_without_the_spec(toy):
    toy.record(ADDER).change("def build(spec)", "def build()")
    assert toy.replay().verdict == "IDENTICAL"


NAMED = """
class Named:
    def __init__(self, agent_id{parameters}):
        self.agent_id, self.agent_role = agent_id, "adder"
        self.step = {step}

    @trace_agent_action
    def add(self, amount):
        return amount * self.step

{instrumented}

def main():
    for agent in (Named("a"{given}), Named("b"{given})):
        agent.add(2)
"""


@pytest.mark.parametrize("run", ["last/a", "last"])
def test_a_class_is_a_target_that_gets_the_agents_id(toy, run):
    toy.record(NAMED.format(parameters="", step="1", instrumented="", given=""))
    assert replay_run(run, f"{toy.name}:Named", toy.root).verdict == "IDENTICAL"


def test_a_class_is_a_target_that_gets_recorded_constructor_arguments(toy):
    instrumented = "from Agent import instrument\ninstrument(Named, agent_id='agent_id', methods=[])"
    toy.record(NAMED.format(parameters=", *, step", step="step", instrumented=instrumented, given=", step=3"))
    assert replay_run("last/b", f"{toy.name}:Named", toy.root).verdict == "IDENTICAL"


def test_a_class_that_needs_more_says_which_function_to_write(toy):
    toy.record(NAMED.format(parameters=", step", step="step", instrumented="", given=", 3"))
    report = replay_run("last/b", f"{toy.name}:Named", toy.root)
    assert report.verdict == "UNVERIFIED"
    assert f"--target {toy.name}:build" in report.reasons[0]
    assert "return Named(spec.agent_id, ...)" in report.reasons[0]


@pytest.mark.further
def test_a_child_that_hangs_is_stopped(toy):
    toy.record(ADDER).change("self.total += amount", "time.sleep(60)")
    report = toy.replay(timeout_seconds=1.5)
    assert report.verdict == "UNVERIFIED"
    assert "did not end within 1.5 s" in report.reasons[0]


def test_what_the_driven_code_prints_is_kept_apart(toy, capfd):
    toy.record(ADDER).change(
        "self.total += amount", "self.total += amount; print('out'); print('err', file=sys.stderr)"
    )
    report = toy.replay()
    assert (report.stdout, report.stderr) == ("out\nout\n", "err\nerr\n")
    assert capfd.readouterr() == ("", "")


def test_a_replay_writes_only_its_own_directory(toy):
    toy.record(ADDER)
    before = tree(toy.root)
    report = toy.replay()
    after = tree(toy.root)
    session = list_sessions(toy.root)[-1].path
    new = set(after) - set(before)
    assert new == {(report.path / "report.json").relative_to(toy.root)}
    assert {path: after[path] for path in before} == before
    assert report.path.parent == session / "runs" / "root" / "replays"
    assert stat.S_IMODE((report.path / "report.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(report.path.stat().st_mode) == 0o700
    kept = json.loads((report.path / "report.json").read_text())
    assert (kept["verdict"], kept["counts"]["driven"]) == ("IDENTICAL", 2)


def test_a_target_that_sets_up_recording_records_elsewhere(toy):
    toy.record(ADDER)
    toy.change(
        "def build(spec):",
        f"def build(spec):\n    import Agent\n    Agent.setup_logging(trace_root={str(toy.root)!r})\n    Agent.utils.AgentLogger('x', 'y').info('hello')",
    )
    before = tree(toy.root)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report) + report.stderr
    assert set(tree(toy.root)) - set(before) == {(report.path / "report.json").relative_to(toy.root)}


def test_a_session_that_cannot_be_written_is_replayed_all_the_same(toy):
    toy.record(ADDER)
    session = list_sessions(toy.root)[-1].path
    (session / "runs").write_text("in the way")
    report = toy.replay()
    assert (report.verdict, report.path) == ("IDENTICAL", None)


@pytest.mark.further
def test_a_run_is_found_by_every_name_that_it_has(toy):
    toy.record(ADDER)
    ref = list_sessions(toy.root)[-1]
    for run in (f"{ref.session_id}/a", f"{ref.session_id[:10]}/a", f"{ref.path}/a", "last/a"):
        assert toy.replay(run).run == f"{ref.session_id}/a", run
    assert toy.replay(ref.path, agent_id="a").verdict == "IDENTICAL"


def test_a_run_that_is_not_there_is_an_error(toy):
    with pytest.raises(SessionNotFound):
        toy.replay("last")
    toy.record(ADDER)
    with pytest.raises(SessionNotFound, match="no session 'nothing'"):
        toy.replay("nothing")
    with pytest.raises(AgentNotFound, match="no agent 'zz'"):
        toy.replay("last/zz")


@pytest.mark.integration
def test_the_child_runs_under_another_hash_seed(toy, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    toy.record(ADDER)
    seeds = {toy.replay().outcome.environment["hash_seed"] for _ in range(2)}
    assert len(seeds) == 2
    assert "1" not in seeds


@pytest.mark.further
@pytest.mark.process
def test_a_class_of_the_main_program_is_found_under_its_module_name(toy):
    from support.processes import run_python

    source = """
from dataclasses import dataclass

@dataclass
class Order:
    amount: int

class Clerk:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "clerk"
        self.orders = []

    @trace_agent_action
    def take(self, order):
        self.orders.append(order)
        return order

def build(spec):
    return Clerk()

if __name__ == "__main__":
    Clerk().take(Order(3))
    """
    toy.write(source)
    done = run_python(str(toy.path), cwd=toy.directory, AGENT_TRACE_ROOT=str(toy.root))
    assert done.returncode == 0, done.stderr
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("return order", "return Order(order.amount + 1)").replay()
    assert (report.verdict, report.divergence.path) == ("DIVERGED", "/amount")


@pytest.mark.integration
def test_a_recording_that_was_killed_is_verified_over_its_complete_steps(toy):
    from support.processes import run_python

    toy.write(
        ADDER
        + """
class Killer(Adder):
    @trace_agent_action
    def die(self):
        self.total += 1
        os.kill(os.getpid(), 9)
"""
    )
    script = (
        f"import sys; sys.path.insert(0, {str(toy.directory)!r})\n"
        f"import {toy.name} as toy\n"
        "agent = toy.Killer()\nagent.add(1)\nagent.add(2)\nagent.die()\n"
    )
    done = run_python("-c", script, cwd=toy.directory, AGENT_TRACE_ROOT=str(toy.root))
    assert done.returncode == -9
    report = toy.replay()
    assert (report.verdict, report.scope) == ("IDENTICAL", "prefix"), str(report)
    assert report.outcome.counts.driven == 2
    assert "complete steps" in report.headline


@pytest.mark.integration
def test_measurements_that_a_kill_cost_leave_no_difference(toy):
    from support.processes import run_python

    toy.write("""
import os
from Agent.utils import measure_performance

class Tool:
    agent_id = "tool"

    @trace_agent_action
    def look(self, word):
        return word.upper()

class Agent:
    def __init__(self, tool):
        self.agent_id, self.tool, self.logger = "a", tool, AgentLogger("a", "x")

    @trace_agent_action
    def go(self, word):
        with measure_performance("look", self.logger):
            self.logger.info("looking")
            return self.tool.look(word)

def build(spec):
    return Agent(spec.peer("tool"))
""")
    script = (
        f"import sys, os; sys.path.insert(0, {str(toy.directory)!r})\n"
        f"import {toy.name} as toy\n"
        "agent = toy.Agent(toy.Tool())\nagent.go('x')\nagent.go('y')\nos.kill(os.getpid(), 9)\n"
    )
    assert run_python("-c", script, cwd=toy.directory, AGENT_TRACE_ROOT=str(toy.root)).returncode == -9
    report = toy.replay()
    assert (report.verdict, report.scope) == ("IDENTICAL", "prefix"), str(report)
    assert report.outcome.counts.answers == 2


def test_damage_in_the_record_is_no_green(toy):
    toy.record(ADDER)
    session = list_sessions(toy.root)[-1].path
    path = session / "agents" / "a.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken}\n" + b"".join(lines[2:]))
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert report.reasons


def test_a_read_only_process_leaves_the_environment_as_it_was(toy):
    before = dict(os.environ)
    toy.record(ADDER).replay()
    assert dict(os.environ) == before
