"""How often the true event is named: `python -m benchmarks.fault_set [--healthy] [--json] [--list]`.

Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.fault_set.cases import CASES, healthy
from benchmarks.fault_set.scoring import as_object, as_text, score


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_set",
        description="Faults in running simulations: is the true event among the first three causes?",
    )
    parser.add_argument(
        "--healthy", action="store_true", help="sessions without a fault: is the report quiet?"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, with every result")
    parser.add_argument("--list", action="store_true", help="the cases only; nothing is run")
    given = parser.parse_args(arguments)
    cases = healthy() if given.healthy else CASES
    if given.list:
        print("\n".join(case.name for case in cases))
        return 0
    results = score(cases, faulty=not given.healthy)
    found = as_object(results, healthy=given.healthy)
    print(json.dumps(found, indent=2) if given.json else as_text(results, healthy=given.healthy))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
