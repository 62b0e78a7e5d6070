"""How often the true event is named: `python -m benchmarks.fault_set --half HALF [--json]`.

The halves are `tuning`, `final`, `healthy`, `blind`, `blind-healthy`, `second-blind`, `second-blind-healthy`,
`third-blind` and `third-blind-healthy`.
`--list` tells the cases of one without running any. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.fault_set.blind_cases import BLIND, BLIND_HEALTHY
from benchmarks.fault_set.cases import halves, healthy
from benchmarks.fault_set.scoring import as_object, as_text, score
from benchmarks.fault_set.second_blind_cases import SECOND_BLIND, SECOND_BLIND_HEALTHY
from benchmarks.fault_set.third_blind_cases import THIRD_BLIND, THIRD_BLIND_HEALTHY


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_set",
        description="Faults in running simulations: is the true event among the first three causes?",
    )
    sets = {**halves(), "healthy": healthy(), "blind": list(BLIND), "blind-healthy": list(BLIND_HEALTHY)}
    sets |= {"second-blind": list(SECOND_BLIND), "second-blind-healthy": list(SECOND_BLIND_HEALTHY)}
    sets |= {"third-blind": list(THIRD_BLIND), "third-blind-healthy": list(THIRD_BLIND_HEALTHY)}
    parser.add_argument("--half", choices=tuple(sets), required=True)
    parser.add_argument("--json", action="store_true", help="one JSON object, with every result")
    parser.add_argument("--list", action="store_true", help="the cases only; nothing is run")
    given = parser.parse_args(arguments)
    cases, is_healthy = sets[given.half], given.half.endswith("healthy")
    if given.list:
        print("\n".join(case.name for case in cases))
        return 0
    results = score(cases, faulty=not is_healthy)
    kind = "healthy" if is_healthy else given.half  # healthy sessions are told in false alarms
    found = {**as_object(kind, results), "half": given.half}
    print(json.dumps(found, indent=2) if given.json else as_text(kind, results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
