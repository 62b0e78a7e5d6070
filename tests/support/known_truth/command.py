"""`python -m tests.support.known_truth.command`: writes a session of known truth; `generator` is what it calls."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from Agent.errors import AgentTraceError

from .generator import FAULTS, make_session

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the session that the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.known_truth.command",
        description="Write a session whose contents are known, and its truth beside it as JSON.",
    )
    parser.add_argument("--events", type=int, default=100_000, help="about how many (default: 100,000)")
    parser.add_argument("--agents", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--processes", type=int, default=2, help="that seem to have recorded it (default: 2)")
    parser.add_argument("--out", default="trace", help="the trace root (default: trace)")
    parser.add_argument("--seed", type=int, default=0, help="0 to 999999; the same gives the same bytes")
    parser.add_argument("--sealed", action="store_true", help="leave Parquet only")
    parser.add_argument(
        "--fault",
        action="append",
        choices=[*FAULTS, "all"],
        default=[],
        help="plant it; repeatable; without any the session is healthy",
    )
    given = parser.parse_args(arguments)
    faults = list(FAULTS) if "all" in given.fault else given.fault
    began = time.monotonic()
    try:
        truth = make_session(
            given.out,
            events=given.events,
            agents=given.agents,
            processes=given.processes,
            seed=given.seed,
            faults=faults,
            sealed=given.sealed,
            progress=_show if sys.stderr.isatty() else lambda _done, _all: None,
        )
    except AgentTraceError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    took_s = time.monotonic() - began
    sys.stderr.write(
        f"{truth.events:,} events, {truth.json_bytes / 1e6:,.0f} MB as JSON lines, {took_s:.1f} s\n"
    )
    sys.stdout.write(f"{truth.session}\n")
    return 0


def _show(done: int, total: int) -> None:
    sys.stderr.write(f"\r{done:,} of {total:,} events ")
    if done >= total:
        sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main())
