"""Compare what a reader found in the trees with what is in them: python check.py ANSWERS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

EXPECTED = Path(__file__).with_name("expected.json")


def differences(answers: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each answer that is missing or not as expected."""
    for tree, wanted in json.loads(EXPECTED.read_text(encoding="utf-8")).items():
        given = answers.get(tree)
        if not isinstance(given, Mapping):
            yield f"{tree}: no answers"
            continue
        for name, value in wanted.items():
            if name not in given:
                yield f"{tree}: no answer to {name}"
            elif given[name] != value:
                yield f"{tree}: {name}: {_first(value, given[name])}"


def _first(wanted: Any, given: Any) -> str:
    """Say where two answers differ first."""
    if isinstance(wanted, list) and isinstance(given, list):
        for place, (one, other) in enumerate(zip(wanted, given, strict=False)):
            if one != other:
                return f"at place {place + 1} {other!r}, expected {one!r}"
        return f"{len(given)} of them, expected {len(wanted)}"
    if isinstance(wanted, dict) and isinstance(given, dict):
        key = min(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
        return f"{key}: {given.get(key)!r}, expected {wanted.get(key)!r}"
    return f"{given!r}, expected {wanted!r}"


def main(path: Path) -> int:
    """Print what differs; return 1 if something does, 3 if the answers cannot be read, else 0."""
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"check.py: {path}: {error}", file=sys.stderr)
        return 3
    if not isinstance(answers, dict):
        print(f"check.py: {path}: has to be an object, with a tree's name for each answers", file=sys.stderr)
        return 3
    found = list(differences(answers))
    print("\n".join(found) or "every answer is as expected")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python check.py ANSWERS")
    sys.exit(main(Path(sys.argv[1])))
