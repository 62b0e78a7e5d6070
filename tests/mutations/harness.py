"""Mutants of traced programs, driven again: none that does something else may pass for the same.

    python tests/mutations/harness.py --count 1000 --seed 1

    --count N        so many mutants, ten of each program
    --unmutated N    so many programs driven again without a change (200)
    --seed S         of the first program; each further one has the next number
    --workers N      so many at a time (2)
    --blind          with a verdict that always says IDENTICAL: the harness must find fault with it
    --fresh          a new process for each re-drive, as `replay_run` starts one, in the place of a fork
    --keep DIR       keep programs and records there
    --json           one JSON object

The oracle (`plain_oracle.py`) runs each mutant without this project and says whether it does something else. One
that does must not end IDENTICAL or EQUIVALENT. One that does not is an equivalent mutant and is counted apart:
it must not end DIVERGED. Exit code 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

if __name__ in {"__main__", "__mp_main__"}:
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (0, 2)]

from mutant_trials import run


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--unmutated", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    directory = given.keep or Path(tempfile.mkdtemp(prefix="agent-trace-mutations-"))
    began = time.perf_counter()
    try:
        tally = run(
            given.count,
            given.seed,
            directory.resolve(),
            unmutated=given.unmutated,
            workers=given.workers,
            is_blind=given.blind,
            is_fresh=given.fresh,
        )
    finally:
        if given.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    if given.json:
        print(json.dumps(tally.to_object(), indent=2))
    else:
        print("\n".join(map(str, tally.problems)))
        print("\n".join(tally.lines()))
        print(f"{time.perf_counter() - began:.0f} s")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
