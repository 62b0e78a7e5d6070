"""Find the commit that changed what a golden trace checks, by git's bisection in another working tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import InputError, ReplayError, UsageError
from Agent.replay.golden.trace import GoldenTrace

GOOD, BAD, SKIP = 0, 1, 125
"""Exit codes that `git bisect run` understands."""
_WORD: Final = {GOOD: "good", BAD: "bad", SKIP: "skip"}


@dataclass(frozen=True, slots=True)
class FirstBadCommit:
    """The first commit with which a golden trace fails."""

    golden: str
    commit: str
    subject: str
    author: str
    date: str
    files: tuple[str, ...]
    """The files that it changed."""
    difference: str
    """The first difference: step, agent and field with both values."""
    field: str
    checked: int
    """The number of commits that were checked."""
    skipped: int
    """How many of these could not be checked."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**asdict(self), "files": list(self.files)}


def bisect_golden(
    golden: GoldenTrace,
    good: str,
    bad: str = "HEAD",
    *,
    directory: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FirstBadCommit:
    """Find the first commit with which a golden trace fails.

    Commits are checked out in a temporary working tree; the caller's is not touched, and changes in it that
    are not committed are not checked. Every commit is checked with the given golden trace. A commit that
    cannot be checked, such as one without the target, is skipped.

    Args:
        golden: the golden trace.
        good: a commit with which it passes.
        bad: a later one with which it fails.
        directory: where commands are run, in the repository; default: the working directory.
        progress: called with each commit and its result.

    Raises:
        InputError: not a repository, or no such commit.
        ReplayError: it fails with the good commit, passes with the bad one, or only commits that cannot be
            checked are left.
    """
    here = (directory or Path.cwd()).resolve()
    root = Path(_git(here, "rev-parse", "--show-toplevel"))
    ends = [
        _git(here, "rev-parse", "--verify", "--quiet", f"{end}^{{commit}}", what=end) for end in (good, bad)
    ]
    with _working_tree(root, ends[1]) as tree:
        checks = _Checks(golden, root, tree, here.relative_to(root), progress)
        for end, name, expected in ((ends[1], bad, BAD), (ends[0], good, GOOD)):
            if (result := checks.at(end)) != expected:
                raise ReplayError(
                    f"with {name} the golden trace {golden.name} is {_WORD[result]}, not {_WORD[expected]}"
                    f"{': ' + checks.why[end] if end in checks.why else ''}",
                    remedy="--good names a commit with which it passes, --bad one with which it fails",
                )
        _git(tree, "bisect", "start", "--no-checkout", ends[1], ends[0])
        while True:
            current = _git(tree, "rev-parse", "BISECT_HEAD")
            output = _git(tree, "bisect", _WORD[checks.at(current)], may_fail=True)
            if "is the first bad commit" in output:
                return checks.report(output.partition(" ")[0])
            if "We cannot bisect more" in output or "only 'skip'ped commits left" in output.lower():
                raise ReplayError(
                    "only commits that cannot be checked are left between a good and a bad one",
                    remedy="name commits --good and --bad between which the target can be imported",
                )
            if _git(tree, "rev-parse", "BISECT_HEAD") == current:
                raise ReplayError(f"git cannot bisect further: {output.strip()[:200]}")


def step(golden: GoldenTrace) -> int:
    """Check the code of the working directory; return an exit code for `git bisect run`."""
    from Agent.replay.golden.trace import check_golden

    try:
        return _meaning(check_golden(golden).exit_code)
    except (InputError, ReplayError):
        return SKIP


def _meaning(exit_code: int) -> int:
    return exit_code if exit_code in {GOOD, BAD} else SKIP


@dataclass(frozen=True, slots=True)
class _Checks:
    """Checks of commits in the temporary working tree, each commit once."""

    _golden: GoldenTrace
    _root: Path
    _tree: Path
    _below: Path
    _progress: Callable[[str], None]
    found: dict[str, int] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    _fields: dict[str, str] = field(default_factory=dict)

    def at(self, commit: str) -> int:
        """Return whether the golden trace passes with a commit: GOOD, BAD or SKIP."""
        if commit not in self.found:
            _git(self._tree, "checkout", "--quiet", "--force", "--detach", commit)
            self.found[commit] = self._check(commit)
            self._progress(f"{commit[:10]} {_WORD[self.found[commit]]}")
        return self.found[commit]

    def _check(self, commit: str) -> int:
        directory = self._tree / self._below
        if not directory.is_dir():
            self.why[commit] = f"no directory {self._below}"
            return SKIP
        done = subprocess.run(  # noqa: S603 - this interpreter, this package
            [
                *(sys.executable, "-P", "-m", "Agent", "golden", "check", self._golden.name, "--json"),
                *("--dir", str(self._golden.directory.parent.resolve())),
            ],
            cwd=directory,
            env=self._environment(),
            capture_output=True,
            check=False,
        )
        try:
            (report,) = orjson.loads(done.stdout)["golden_traces"]
        except (orjson.JSONDecodeError, KeyError, ValueError):
            self.why[commit] = done.stderr.decode(errors="replace").strip()[-300:]
            return SKIP
        divergence = report.get("divergence") or {}
        self._fields[commit] = str(divergence.get("where") or divergence.get("field") or "")
        self.why[commit] = str(report.get("why") or "") or "; ".join(report.get("reasons") or ())
        return _meaning(done.returncode)

    def _environment(self) -> dict[str, str]:
        """Return the environment in which the repository's code is imported only from the working tree."""
        own = str(Path(__file__).resolve().parents[3])
        paths = [Path(each or os.curdir).resolve() for each in sys.path]
        inside = [
            self._tree / path.relative_to(self._root) for path in paths if path.is_relative_to(self._root)
        ]
        inherited = [Path(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
        outside = [path for path in inherited if not path.resolve().is_relative_to(self._root)]
        # import this package from where it runs now, unless the repository contains it
        if not Path(own).is_relative_to(self._root):
            outside.append(Path(own))
        inherited_variables = {
            name: value for name, value in os.environ.items() if name != "AGENT_TRACE_SESSION"
        }
        listed = dict.fromkeys(str(path) for path in (*inside, *outside))
        return {**inherited_variables, "PYTHONPATH": os.pathsep.join(listed), "PYTHONDONTWRITEBYTECODE": "1"}

    def report(self, commit: str) -> FirstBadCommit:
        """Describe the first bad commit."""
        subject, author, date = _git(self._tree, "show", "-s", "--format=%s%n%an%n%as", commit).split("\n")[
            :3
        ]
        files = _git(
            self._tree, "diff-tree", "--no-commit-id", "--name-only", "-r", "--root", commit
        ).splitlines()
        return FirstBadCommit(
            golden=self._golden.name,
            commit=commit,
            subject=subject,
            author=author,
            date=date,
            files=tuple(files),
            difference=self.why[commit],
            field=self._fields.get(commit, ""),
            checked=len(self.found),
            skipped=sum(result == SKIP for result in self.found.values()),
        )


@contextmanager
def _working_tree(root: Path, commit: str) -> Iterator[Path]:
    """Create a temporary working tree of the repository, with its own bisection state."""
    with tempfile.TemporaryDirectory(prefix="agent-trace-bisect-") as directory:
        tree = Path(directory).resolve() / "tree"
        _git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree), may_fail=True)


def _git(directory: Path, *arguments: str, what: str = "", may_fail: bool = False) -> str:
    # in a git hook, variables name the index and the working tree of the caller
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - git, without a shell
            ["git", *arguments],  # noqa: S607 - the user's git
            cwd=directory,
            env=environment | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", remedy="install it, or check commits by hand") from None
    if done.returncode and not may_fail:
        message = (
            f"no commit {what!r} in this repository" if what else f"git {arguments[0]}: {done.stderr.strip()}"
        )
        raise InputError(message, path=directory, remedy="run it in the repository of the code")
    return (done.stdout + (done.stderr if may_fail else "")).strip()
