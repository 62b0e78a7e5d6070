"""`golden`: keep recorded runs as tests: add, list, check, update, accept, shrink and remove them."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypedDict, Unpack

from Agent.cli import parameters, render
from Agent.cli.parameters import COUNT, DIRECTORY, Root, Run, Seconds, Workers, command
from Agent.cli.render import bar, emit_judged, verdict_text
from Agent.errors import DamagedInput, ReplayError, RunNotFound
from Agent.render import formats
from Agent.render.blocks import Column
from Agent.replay.golden import adding
from Agent.replay.golden import trace as stored
from Agent.replay.worker.fork_server import Progress, in_parallel

_DIRECTORY = {"default": Path("tests", "golden_traces")}
Directory = Annotated[Path, "--dir DIR", "Directory of golden traces.", DIRECTORY, _DIRECTORY]
OtherTarget = Annotated[parameters.Target, "Another target than the golden trace, or the session, names."]
Name = Annotated[str | None, "--name NAME"]
SomeNames = Annotated[tuple[str, ...], "[NAME]..."]
Names = Annotated[tuple[str, ...], "NAME..."]


@parameters.group(usual="list")
def golden() -> None:
    """Keep recorded runs as tests, and check them.

    A golden trace is a directory with everything that a replay of one run needs. `check`, or the pytest
    fixture golden_trace, replays it with the current code, without network access.

    Examples:
        agent-trace golden add last/creator_017 --name quota-incident
        agent-trace golden check --json
        agent-trace golden bisect quota-incident --good v1.4
    """


class HowToAdd(TypedDict):
    """How a run is checked and kept.

    Args:
        name: Name of the golden trace; default: the agent or run.
        replace_old: Replace the golden trace of that name.
        failing: Keep it even if the code behaves differently: a test that fails now.
    """

    name: Name
    target: OtherTarget
    normaliser: parameters.Normalise
    ignore: parameters.Ignore
    network: parameters.Network
    timeout_seconds: Seconds
    replace_old: Annotated[bool, "--replace"]
    failing: bool
    directory: Directory
    root: Root


@command(of=golden)
def add(
    run: Run,
    test_file: Annotated[
        Path | None, "--test [FILE]", parameters.OUTPUT, {"is_flag": False, "flag_value": ""}
    ],
    **how: Unpack[HowToAdd],
) -> int:
    """Keep a run as a golden trace.

    Replays the run twice with the current code, under two hash seeds, and keeps it if both match. If fields
    cannot be seen or differ between the two, it prints the ignore= line that leaves them out. Exit code 0:
    added; 1: the code behaves differently; 4: nothing was proved. RUN is last, a session, SESSION/agent_id,
    or a run.

    Args:
        test_file: Also write a test; default FILE: beside the golden traces.

    Examples:
        agent-trace golden add last/creator_017 --name quota-incident --test
        agent-trace golden add 20261120_103045 --target shop.agents:build --normalise ids,times
    """
    parameters.make_code_importable()
    with bar("replaying") as show:
        show(0.0)
        added = adding.add_golden(run, **how)
        show(1.0)
    test = None
    if added.is_kept and test_file is not None:
        test = adding.write_test(added.golden, test_file if test_file.name else None)
    render.document(lambda: _added(added, test))
    _show(added.failing)
    if added.ignorable:
        _name_ignorable(added.ignorable, run, is_kept=added.is_kept)
    if not added.is_kept:
        render.note("not added: a golden trace must pass; --failing keeps it as a test that fails now")
        return added.exit_code
    message = f"added {added.golden.directory}, {formats.size(added.golden.size_bytes)}"
    if test is not None:
        render.emit_text(f"{message}; its test: {test}")
    else:
        render.emit(f"{message}; its test, which --test writes:")
        for line in adding.source_of_test(added.golden).splitlines()[3:]:
            render.emit(f"  {line}")
    render.note("it contains inputs and outputs of the run; review it before you commit it")
    missing = [name for name in ("pytest", "syrupy") if find_spec(name) is None]
    if missing:
        render.note(f"its test needs {' and '.join(missing)}: pip install 'agent-trace[golden]'")
    return added.exit_code


@command(of=golden, name="list")
def list_(directory: Directory) -> None:
    """List the golden traces.

    Examples:
        agent-trace golden list
    """
    goldens = stored.list_goldens(directory)
    render.document(lambda: [_described(each) for each in goldens])
    if not goldens:
        render.note(f"no golden traces in {directory}; agent-trace golden add RUN makes one")
        return
    render.table(
        goldens,
        Column("NAME", "name"),
        Column("DRIVES", _driven),
        Column("TARGET", "target"),
        Column("MAY DIFFER", lambda each: _listed(str(each.normaliser), *each.ignore), spare=1),
        Column("RECORDED", lambda each: each.recorded_at[:16].replace("T", " "), spare=2),
        Column("SIZE", "size_bytes", formats.size, spare=3),
    )


def _listed(*names: str) -> str | None:
    return ", ".join(filter(None, names)) or None


def _driven(golden: stored.GoldenTrace) -> str:
    everyone = "the whole run" if golden.agents is None else formats.plural(len(golden.agents), "agent")
    return golden.agent_id or everyone


@command(of=golden)
def check(
    names: SomeNames,
    target: OtherTarget,
    workers: Workers,
    junit: Annotated[Path | None, "--junit FILE", parameters.OUTPUT],
    markdown: Annotated[Path | None, "--markdown FILE", parameters.OUTPUT],
    directory: Directory,
) -> int:
    """Replay golden traces with the current code: NAME, or all of them.

    Exit code 0: all pass; 1: one behaves differently; 3: one, or its target, cannot be loaded; 4: one proved
    nothing. The others are checked all the same.

    Args:
        workers: Number of parallel replays; default: all cores.
        junit: Also write the results as a test suite in JUnit's XML.
        markdown: Also write the results as Markdown, for the page of a build.

    Examples:
        agent-trace golden check
        agent-trace golden check --junit golden.xml --markdown golden.md
        agent-trace golden check quota-incident --target Agent.demo.targets:repaired_creator
    """
    parameters.make_code_importable()
    directories = _directories(names, directory)
    with bar("replaying golden traces") as show:
        reports = in_parallel(
            [partial(stored.try_golden, each, target) for each in directories], workers, show
        )
    if junit is not None:
        junit.write_bytes(stored.junit_report(reports))
    if markdown is not None:
        markdown.write_text(stored.markdown_report(reports), encoding="utf-8")
    codes = {report.exit_code for report in reports}
    exit_code = next((code for code in (1, 3, 4) if code in codes), 0)
    render.document(
        lambda: {
            "exit_code": exit_code,
            "golden_traces": [{**each.to_dict(), "why": _why(each)} for each in reports],
        }
    )
    for report in reports:
        if isinstance(report, stored.NotChecked):
            render.emit(str(report))
        elif report.passes:
            render.emit(f"{verdict_text(str(report.report.verdict))} {report.name}")
            for note in report.notes:
                render.emit(f"  {note}")
        else:
            _show(report, with_name=True)
    passed = sum(report.passes for report in reports)
    render.emit(f"{passed:,} of {formats.plural(len(reports), 'golden trace')} passed")
    return exit_code


def _why(report: stored.GoldenReport | stored.NotChecked) -> str | None:
    return None if report.passes else report.why


@command(of=golden)
def bisect(
    name: Annotated[str, "NAME"],
    good: Annotated[str | None, "--good COMMIT"],
    bad: Annotated[str, "--bad COMMIT"] = "HEAD",
    *,
    directory: Directory,
) -> int:
    """Find the commit with which a golden trace began to fail.

    Bisects the commits after --good in a temporary working tree, without touching yours, and prints the first
    bad commit with the first field that differs. Commits whose code cannot be replayed are skipped. Without
    --good it checks the code here once, for git bisect run: exit code 0 is good, 1 bad, 125 skip.

    Args:
        good: A commit with which it passes.
        bad: A later commit with which it fails.

    Examples:
        agent-trace golden bisect quota-incident --good v1.4
        git bisect run agent-trace golden bisect quota-incident
    """
    from Agent.replay.golden import bisecting

    parameters.make_code_importable()
    (golden_dir,) = _named((name,), directory)
    if good is None:
        return bisecting.step(golden_dir)
    with bar("bisecting"):
        first = bisecting.bisect_golden(golden_dir, good, bad, progress=render.note)
    render.document(first.to_dict)
    render.emit_text(f"{first.commit[:12]} is the first with which {name} fails: {first.subject}")
    render.emit_text(f"  {first.author}, {first.date}; {_listed(*first.files[:6])}")
    render.emit_text(f"  {first.difference}")
    skipped = f", {first.skipped} of them skipped" if first.skipped else ""
    render.note(f"{formats.plural(first.checked, 'commit')} checked{skipped}")
    return 0


@command(of=golden)
def update(names: Names, target: OtherTarget, directory: Directory) -> int:
    """Replace the recording by the current behaviour.

    Like pytest --snapshot-update: replays the recorded actions with recorded responses, and keeps the result
    as the new recording. A replay that proves nothing changes nothing (exit code 4).

    Examples:
        agent-trace golden update quota-incident
    """
    parameters.make_code_importable()
    reports = []
    directories = _named(names, directory)
    with bar("recording again") as show:
        for number, each in enumerate(directories, 1):
            reports.append(adding.update_golden(each, target))
            show(number / len(directories))
    render.document(lambda: [report.to_dict() for report in reports])
    for report in reports:
        _show(report, with_name=True)
    return max(report.exit_code for report in reports)


@command(of=golden)
def accept(
    name: Annotated[str, "NAME"],
    step: Annotated[int, "STEP", COUNT],
    reason: Annotated[str, "--reason TEXT", {"required": True}],
    target: OtherTarget,
    directory: Directory,
) -> int:
    """Accept the current behaviour from a step on.

    Up to STEP, the golden trace still checks the first recording; from STEP on, it holds the current
    behaviour. It stores step and reason. Refused if something differs before STEP.

    Args:
        reason: Why the new behaviour is right.

    Examples:
        agent-trace golden accept quota-incident 42 --reason "the quota is 20 since release 3"
    """
    parameters.make_code_importable()
    (golden_dir,) = _named((name,), directory)
    with bar("recording again"):
        report = adding.accept_golden(golden_dir, step, reason, target)
    render.document(report.to_dict)
    _show(report, with_name=True)
    return report.exit_code


class HowToShrink(TypedDict):
    """What `golden shrink` looks for.

    Args:
        name: Name of the small golden trace; default: NAME-shrunk.
    """

    target: OtherTarget
    name: Name
    normaliser: parameters.Normalise
    timeout_seconds: Seconds
    directory: Directory
    root: Root


@command(of=golden)
def shrink(
    trace: Annotated[str, "NAME|RUN"],
    test_path: Annotated[Path | None, "--test FILE", parameters.OUTPUT],
    **how: Unpack[HowToShrink],
) -> int:
    """Find the smallest part of a golden trace, or run, that still fails.

    Searches for the shortest beginning and the fewest agents that still fail in the same way, keeps them as a
    separate golden trace, and writes a test that fails now. Exit code 0: done.

    Args:
        test_path: Test file to write; default: beside the directory of golden traces.

    Examples:
        agent-trace golden shrink quota-incident
        agent-trace golden shrink last --target shop.agents:build --name smaller --test tests/test_it.py
    """
    parameters.make_code_importable()
    with bar("searching for a smaller failure") as show:
        shrunk_golden = shrunk(trace, show, **how)
    divergence = shrunk_golden.report.report.divergence
    why = str(divergence) if divergence is not None else shrunk_golden.report.report.reasons[0]
    test = adding.write_test(shrunk_golden.golden, test_path, f"fails since {why}")
    render.document(lambda: {**shrunk_golden.to_dict(), "test": str(test)})
    render.emit(
        f"{shrunk_golden.golden.name}: {shrunk_golden.actions[0]:,} of "
        f"{formats.plural(shrunk_golden.actions[1], 'action')}, "
        f"{shrunk_golden.agents[0]:,} of {formats.plural(shrunk_golden.agents[1], 'agent')}, "
        f"after {formats.plural(shrunk_golden.trials, 'trial')}"
    )
    if not shrunk_golden.is_smallest:
        render.note("no trials left: a smaller one may exist")
    _show(shrunk_golden.report)
    render.emit(
        f"kept as {shrunk_golden.golden.directory}; {test} fails until the code again does what was recorded"
    )
    return 0


def shrunk(trace: str, progress: Progress, **how: Unpack[HowToShrink]) -> adding.ShrunkGolden:
    """Find the smallest golden trace that fails in the same way as a golden trace or a run.

    Raises:
        RunNotFound, SessionNotFound: no golden trace and no run has that name.
        UsageError: it does not fail.
    """
    target, name, directory = how["target"], how["name"], how["directory"]
    try:
        return adding.shrink_golden(
            stored.find_golden(trace, directory), target, name=name, progress=progress
        )
    except RunNotFound as no_golden:
        with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as scratch:
            checks = {"normaliser": how["normaliser"], "timeout_seconds": how["timeout_seconds"]}
            try:
                added = adding.add_golden(
                    trace, target, how["root"], directory=scratch, failing=True, **checks
                )
            except RunNotFound:
                raise no_golden from None
            if not added.is_kept:
                why = (*added.report.report.reasons, "it contains nothing that can be replayed")[0]
                raise ReplayError(f"{trace} cannot be made smaller: {why}") from None
            new = name or f"{added.golden.name}-shrunk"
            return adding.shrink_golden(added.golden, name=new, directory=directory, progress=progress)


@command(of=golden)
def remove(names: Names, directory: Directory) -> None:
    """Remove golden traces; tests that use them then fail in CI.

    Examples:
        agent-trace golden remove quota-incident
    """
    removed = [stored.remove_golden(each.name, directory) for each in _named(names, directory)]
    render.document(lambda: [_described(each) for each in removed])
    for each in removed:
        render.emit(f"removed {each.directory}")


def _name_ignorable(names: tuple[str, ...], run: str, *, is_kept: bool) -> None:
    """Print how to ignore fields that cannot be seen or differ between replays."""
    listed = ", ".join(f'"{name}"' for name in names)
    again = f"agent-trace golden add {run} {' '.join(f'--ignore {name}' for name in names)}"
    render.note(f"cannot be seen, or differ between two replays: {', '.join(names)}")
    render.note(f"to ignore it in the program: instrument(..., ignore=[{listed}])")
    render.note(f"to ignore it here: {again}{' --replace' if is_kept else ''}")


def _named(names: tuple[str, ...], directory: Path) -> list[stored.GoldenTrace]:
    """The golden traces of these names, or all without a name; RunNotFound if one is missing."""
    if names:
        return [stored.find_golden(name, directory) for name in dict.fromkeys(names)]
    return stored.list_goldens(directory) or _none(directory)


def _directories(names: tuple[str, ...], directory: Path) -> list[Path]:
    """The directories of these golden traces, or of all; RunNotFound if one is missing."""
    for name in names:
        with suppress(DamagedInput):  # `try_golden` reports it with the others' results
            stored.find_golden(name, directory)
    directories = [stored.golden_place(name, directory) for name in dict.fromkeys(names)]
    return directories or stored.golden_places(directory) or _none(directory)


def _none(directory: Path) -> NoReturn:
    raise RunNotFound("no golden traces", path=directory, remedy="agent-trace golden add RUN makes one")


def _added(added: adding.AddedGolden, test: Path | None) -> dict[str, Any]:
    answer = {"added": added.is_kept, **_described(added.golden), "check": added.report.to_dict()}
    return answer if test is None else {**answer, "test": str(test)}


def _described(each: stored.GoldenTrace) -> dict[str, Any]:
    return {**each.to_object(), "directory": str(each.directory), "size_bytes": each.size_bytes}


def _show(report: stored.GoldenReport, *, with_name: bool = False) -> None:
    name = report.name if with_name else ""
    emit_judged(str(report), str(report.report.verdict), name=name, width=render.width_of_terminal())
