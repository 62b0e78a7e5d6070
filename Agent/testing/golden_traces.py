"""The fixture `golden_trace`: find golden traces near the test, check them, and update them.

It uses syrupy: `--snapshot-update` keeps the current behaviour, and syrupy's report counts golden traces.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import SnapshotCollections
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from Agent.errors import AgentTraceError, RunNotFound
from Agent.replay.golden.adding import update_golden
from Agent.replay.golden.trace import DEFAULT_DIRECTORY, GoldenReport, GoldenTrace, check_golden, find_golden
from Agent.replay.plan.target import Target, target_name


class ExpectedOutcome(SingleFileSnapshotExtension):
    """The syrupy extension that reads the expected outcome from the golden trace's directory."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    @classmethod
    def get_location(cls, *, test_location: Any, index: Any) -> str:  # noqa: ARG003 - syrupy names them
        """The file with the expected outcome of a golden trace."""
        return str(Path(str(index), "expected.txt"))

    @classmethod
    def matches_test_location(cls, *, test_location: Any, snapshot_location: str) -> bool:  # noqa: ARG003
        """Any test may use any golden trace."""
        return True

    def discover_snapshots(self, **_: Any) -> SnapshotCollections:
        """None, since syrupy must not delete golden traces that this test run does not use."""
        return SnapshotCollections()


class GoldenTraces:
    """Golden traces for the fixture `golden_trace`.

    Args:
        directories: where to look for them, nearest first.
        snapshot: syrupy's own fixture.
        code_directories: where to look for targets besides `sys.path`, as `agent-trace golden check` does.
        directory: the test's directory, for relative paths that the test gives.
    """

    def __init__(
        self,
        directories: list[Path],
        snapshot: SnapshotAssertion,
        code_directories: Sequence[Path] = (),
        directory: Path = Path(),
    ) -> None:
        self._test_directory = directory
        self._directories = directories
        self._code_directories = tuple(code_directories)
        self._snapshot = snapshot.use_extension(ExpectedOutcome)

    def __call__(
        self, name: str, *, target: Target | None = None, directory: str | Path | None = None
    ) -> GoldenReport:
        """Replay a golden trace; fail the test unless the current code behaves as recorded.

        Args:
            name: the name of the golden trace.
            target: a target that replaces the recorded one: `module:factory`, or the function itself.
            directory: the directory of the golden traces, relative to the test's directory; default:
                `golden_traces` beside
                the test or above it, else `tests/golden_traces` of the project.
        """
        __tracebackhide__ = True
        golden = self._find(
            name, self._directories if directory is None else [self._test_directory / directory]
        )
        try:
            code = None if target is None else target_name(target, None, None)
            with _importable(self._code_directories + _project_of(golden)):
                report = check_golden(golden, code)
                if not report.passes and self._is_update:
                    report = update_golden(golden, code)
        except AgentTraceError as error:
            pytest.fail(f"golden trace {name}: {error}", pytrace=False)
        # In an update syrupy stores what it is compared with, so a failed replay must not be compared.
        is_checked = report.passes or not self._is_update
        is_expected = is_checked and self._snapshot(name=str(golden.directory)) == report.outcome_text
        if not report.passes:
            pytest.fail(_failure_text(report), pytrace=False)
        if not is_expected:
            pytest.fail(
                f"golden trace {name}: {golden.expected} does not match the recording\n"
                f"it should be:\n{report.outcome_text}",
                pytrace=False,
            )
        return report

    @property
    def _is_update(self) -> bool:
        return bool(self._snapshot.update_snapshots)

    def _find(self, name: str, directories: Sequence[Path]) -> GoldenTrace:
        __tracebackhide__ = True
        missing: RunNotFound | None = None
        for directory in directories:
            try:
                return find_golden(name, directory)
            except RunNotFound as error:
                missing = missing if missing is not None and "did you mean" in str(missing) else error
            except AgentTraceError as error:
                pytest.fail(str(error), pytrace=False)
        if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
            pytest.fail(f"{missing}; in CI, a missing golden trace is a failure", pytrace=False)
        return pytest.skip(str(missing))


def golden_traces_for(request: pytest.FixtureRequest) -> GoldenTraces:
    """The golden traces that a test can use: beside its file, above it, or in the project's directory."""
    root = request.config.rootpath
    directory = request.path.parent
    candidates = [
        each / DEFAULT_DIRECTORY.name for each in (directory, *directory.parents) if each.is_relative_to(root)
    ]
    directories = [each for each in dict.fromkeys([*candidates, root / DEFAULT_DIRECTORY]) if each.is_dir()]
    return GoldenTraces(
        directories or [root / DEFAULT_DIRECTORY],
        request.getfixturevalue("snapshot"),
        [root, request.config.invocation_params.dir],
        directory,
    )


def _project_of(golden: GoldenTrace) -> tuple[Path, ...]:
    """The project's directory, if the golden trace is in a project's default directory."""
    depth = len(DEFAULT_DIRECTORY.parts)
    directory = golden.directory.absolute().parent
    return (directory.parents[depth - 1],) if directory.parts[-depth:] == DEFAULT_DIRECTORY.parts else ()


@contextmanager
def _importable(directories: Sequence[Path]) -> Iterator[None]:
    """Append directories to `sys.path`, which the replay's process inherits, within the block."""
    before = sys.path[:]
    sys.path += [name for name in dict.fromkeys(map(str, directories)) if name not in before]
    try:
        yield
    finally:
        sys.path[:] = before


def _failure_text(report: GoldenReport) -> str:
    lines = [f"golden trace {report.name}: the code does not do what was recorded", str(report)]
    output = (report.report.stdout + report.report.stderr).strip()
    if output:
        lines.append(f"  it printed:\n{output[-2_000:]}")
    if report.report.verdict == "UNVERIFIED":
        lines.append("  a replay that proved nothing fails: docs/REPLAY.md lists the reasons")
    else:
        lines.append("  if the change is intended: pytest --snapshot-update keeps the new behaviour")
        step = 1 if report.report.divergence is None else report.report.divergence.step
        lines.append(
            f'  or only from that step on: agent-trace golden accept {report.name} {step} --reason "..."'
        )
        lines.append(f"  to find the smallest part that fails: agent-trace golden shrink {report.name}")
    return "\n".join(lines)
