"""Programs that are changed and replayed: a changed one may never be green, an unchanged one never DIVERGED.

    python tests/mutations/harness.py --pairs 300 --seed 1
    python tests/mutations/harness.py --count 1000 --seed 1

    --pairs N        N pairs of a kind of value and a place, each replayed unchanged and with one leaf changed
    --only KIND      only these kinds of values (repeatable; `--list` prints them)
    --place PLACE    only these places (repeatable)
    --depth D        how many kinds may be within each other, in addition to the first (2)
    --innermost KIND these kinds in all that can hold one (repeatable)
    --types          print the matrix by kind of value; without it by family
    --useless        print each unchanged pair whose replay is UNVERIFIED, as well
    --as-before      replace every content digest by a constant: the harness must find many false greens
    --list           print kinds and places

    --count N        N mutants of the code of made programs, ten of each program
    --unmutated N    so many made programs replayed without a change (200)
    --blind          with a verdict that is always IDENTICAL: the harness must find fault with it
    --fresh          a new process for each replay of a mutant, in place of a fork

    --seed S         of the first program
    --workers N      processes (2)
    --keep DIR       keep programs and recordings there
    --json           print one JSON object

The oracle of a pair is the program itself: run without Agent Trace, under the hash seed of the replay, it prints the
leaf by its Python path. The oracle of a mutant (`plain_oracle.py`) runs its code without Agent Trace as well. Exit
code 1 where a verdict is wrong. Programs of wrong pairs are kept, with the two lines that show the verdict again.
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

import mutant_trials
import pair_trials
from pair_programs import ALL_KINDS, FAMILIES
from value_places import PLACES


def main(arguments: list[str]) -> int:
    """The command."""
    given = _given(arguments)
    if given.list:
        print("\n".join(f"{FAMILIES[kind]}: {kind}" for kind in ALL_KINDS))
        print("\n".join(f"place: {place.name}" for place in PLACES))
        return 0
    directory = (given.keep or Path(tempfile.mkdtemp(prefix="agent-trace-mutations-"))).resolve()
    began = time.perf_counter()
    tally: pair_trials.Tally | mutant_trials.Tally
    if given.pairs:
        tally = pair_trials.run(
            given.pairs,
            given.seed,
            directory,
            kinds=given.only,
            places=given.place,
            depth=given.depth,
            innermost=given.innermost,
            workers=given.workers,
            is_blinded=given.as_before,
            tell=lambda trial: _tell(trial, directory, given),
        )
        lines = [
            *pair_trials.matrix(tally.trials, by_kind=given.types, kinds=given.only, places=given.place),
            *tally.lines(),
        ]
    else:
        tally = mutant_trials.run(
            given.count,
            given.seed,
            directory,
            unmutated=given.unmutated,
            workers=given.workers,
            is_blind=given.blind,
            is_fresh=given.fresh,
        )
        lines = [*map(str, tally.problems), *tally.lines()]
    if given.json:
        print(json.dumps(tally.to_object(), indent=2))
    else:
        print("\n".join(lines))
        print(f"seed {given.seed}: {time.perf_counter() - began:.0f} s")
    if given.keep is None and not (given.pairs and tally.problems):
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if tally.problems else 0


def _given(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--only", action="append", choices=ALL_KINDS, metavar="KIND")
    parser.add_argument("--place", action="append", choices=[place.name for place in PLACES], metavar="PLACE")
    parser.add_argument("--innermost", action="append", choices=ALL_KINDS, metavar="KIND")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--unmutated", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    for flag in ("types", "useless", "as-before", "list", "blind", "fresh", "json"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args(arguments)


def _tell(trial: pair_trials.Trial, directory: Path, given: argparse.Namespace) -> None:
    if not given.json and (trial.problem or (given.useless and trial.is_useless)):
        print("\n".join(trial.lines(directory)), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
