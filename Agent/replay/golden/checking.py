"""A golden trace checked: its recording unpacked, the present code driven over it, the outcome judged.

Green means that something was proved: UNVERIFIED fails with its reasons, and EQUIVALENT passes only where the
golden trace declares in what the two may differ.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from Agent.archive.run_import import import_run
from Agent.replay.compare.outcome import short
from Agent.replay.golden.trace import CONCURRENT_ORDER, Accepted, GoldenTrace
from Agent.replay.judging.report import ReplayReport, Verdict
from Agent.replay.plan.reference import RunReference
from Agent.replay.rerun import RedriveOptions, drive_again
from Agent.tree.files.session import update_session

__all__ = ["GoldenReport", "check_golden", "unpacked"]

_DECLARED = ", as declared"
_INHERENT = {
    "redacted values": re.compile(r"\d+ redacted values\b"),
    "ids of events": re.compile(r"\d+ ids of events\b"),
    CONCURRENT_ORDER: re.compile(re.escape(CONCURRENT_ORDER)),
}


@dataclass(frozen=True)
class GoldenReport:
    """What checking a golden trace proved; `str()` of it is for people, `to_dict()` for programs."""

    golden: GoldenTrace
    report: ReplayReport
    before: Accepted | None = None
    """The accepted change before which the older recording does not hold any more."""

    dropped: tuple[Accepted, ...] = ()
    """Accepted changes that an update left out: the code does something else before them now."""

    @property
    def name(self) -> str:
        """The golden trace's name."""
        return self.golden.name

    @property
    def undeclared(self) -> tuple[str, ...]:
        """In what an EQUIVALENT replay is less than equal although nobody declared it."""
        if self.report.verdict is not Verdict.EQUIVALENT:
            return ()
        found = (kind_of(told) for told in self.report.outcome.normalisers)
        return tuple(dict.fromkeys(kind for kind in found if kind and kind not in self.golden.accepts))

    @property
    def passes(self) -> bool:
        """Whether the code does what was recorded: IDENTICAL, or EQUIVALENT as declared."""
        return self.report.verdict in {Verdict.IDENTICAL, Verdict.EQUIVALENT} and not self.undeclared

    @property
    def exit_code(self) -> int:
        """0 where it passes, 4 where nothing was proved, else 1."""
        return 0 if self.passes else self.report.exit_code or 1

    @property
    def outcome_text(self) -> str:
        """What came of it in lines that are the same each time: what `expected.txt` is compared with."""
        outcome = self.report.outcome
        if self.passes:
            return self.expected_text
        lines = [f"does not do what was recorded: {self.report.verdict}"]
        if outcome.divergence is not None:
            found = outcome.divergence
            lines.append(f"step {found.step}, {found.action} of {found.agent_id}: {found.field}{found.path}")
            lines += [f"recorded: {short(found.recorded)}", f"replayed: {short(found.replayed)}"]
        lines += [f"because {reason}" for reason in self.report.reasons]
        lines += [f"equal but for {kind}, which is not declared" for kind in self.undeclared]
        return "\n".join(lines) + "\n"

    @property
    def expected_text(self) -> str:
        """What `expected.txt` has to say of this recording."""
        outcome = self.report.outcome
        who = f"agents: {', '.join(outcome.agents)}\nactions: {outcome.counts.actions}\n"
        return f"does what was recorded\n{who}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the replay's proof among them."""
        shown = self.report.to_dict()
        del shown["session"], shown["path"]  # both were temporary
        return {
            **shown,
            "name": self.name,
            "passes": self.passes,
            "exit_code": self.exit_code,
            "undeclared": list(self.undeclared),
            "accepted": [asdict(each) for each in self.golden.accepted],
            "dropped": [asdict(each) for each in self.dropped],
            "failed_before": None if self.before is None else self.before.step,
        }

    def __str__(self) -> str:
        lines = str(self.report).splitlines()
        lines[-1] = f"  target {self.report.target}, golden trace {self.golden.directory}"
        if self.before is not None:
            lines.insert(1, f"  before step {self.before.step}, where a change was accepted")
        lines += [f"  {change}" for change in self.golden.accepted]
        lines += [f"  no longer kept, since the code differs before it: {change}" for change in self.dropped]
        if self.undeclared:
            lines.insert(1, f"  fails: nobody declared that it may differ in {' and '.join(self.undeclared)}")
        return "\n".join(lines)


def kind_of(told: str) -> str | None:
    """In what two sides differ, of a line of a report; None where a normaliser was declared for it."""
    if told.endswith(_DECLARED):
        return None
    return next((kind for kind, pattern in _INHERENT.items() if pattern.match(told)), told)


def check_golden(
    golden: GoldenTrace, target: str | None = None, stop: Event | None = None, *, keep_going: int = 0
) -> GoldenReport:
    """Replay the recording with the present code, in another process that has no network.

    Where changes were accepted, each older recording has to hold up to its change first.

    Args:
        target: other code than the golden trace names, as `module:factory`.
        stop: set by another thread, it ends the check with CancelledError.
        keep_going: how many differences to look for behind the first one.

    Raises:
        DamagedInput: the recording is not what it was.
    """
    for change in golden.accepted:
        if change.file:
            with unpacked(golden, golden.directory / change.file) as reference:
                found = check_unpacked(up_to(golden, change), reference, target, stop, keep_going=keep_going)
            if not found.passes:
                return replace(found, golden=golden, before=change)
    with unpacked(golden) as reference:
        return check_unpacked(golden, reference, target, stop, keep_going=keep_going)


def up_to(golden: GoldenTrace, change: Accepted) -> GoldenTrace:
    """What the golden trace says of the older recording, which ends before an accepted change."""
    return replace(golden, agents=change.agents, asked_for=change.asked_for)


def check_unpacked(
    golden: GoldenTrace,
    reference: RunReference,
    target: str | None = None,
    stop: Event | None = None,
    *,
    keep_going: int = 0,
) -> GoldenReport:
    """The same, of a recording that is unpacked already.

    Args:
        keep_going: how many differences to look for behind the first one.
    """
    options = RedriveOptions(
        golden.timeout_seconds,
        golden.normaliser,
        golden.network,
        golden.agents,
        golden.asked_for,
        stop,
        ignore=golden.ignore,
        keep_going=keep_going,
    )
    return GoldenReport(golden, drive_again(reference, target or golden.target, options))


@contextmanager
def unpacked(golden: GoldenTrace, recording: Path | None = None) -> Iterator[RunReference]:
    """The recording as a session of its own in a directory that goes away.

    Args:
        recording: an older one.
    """
    with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as place:
        session = import_run(recording or golden.recording, Path(place, "trace")).session
        update_session(session, configuration=golden.settings, argv=(golden.program,))
        yield RunReference(session, golden.agent_id)
