"""`python -m benchmarks.fault_set --half tuning|final|healthy [--json]`: how often the true event is named.

`--list` tells the cases of a half without running one. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.fault_set.cases import halves, healthy
from benchmarks.fault_set.scoring import as_object, as_text, score


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_set",
        description="Faults in running simulations: is the true event among the first three causes?",
    )
    parser.add_argument("--half", choices=("tuning", "final", "healthy"), required=True)
    parser.add_argument("--json", action="store_true", help="one JSON object, with every result")
    parser.add_argument("--list", action="store_true", help="the cases only; nothing is run")
    given = parser.parse_args(arguments)
    cases = healthy() if given.half == "healthy" else halves()[given.half]
    if given.list:
        print("\n".join(case.name for case in cases))
        return 0
    results = score(cases, faulty=given.half != "healthy")
    found = as_object(given.half, results)
    print(json.dumps(found, indent=2) if given.json else as_text(given.half, results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
