"""The test that drives one golden trace: a file of a few lines, for whoever has none yet."""

from __future__ import annotations

import json
import re
from pathlib import Path

from Agent.errors import UsageError
from Agent.replay.golden.trace import GoldenTrace

__all__ = ["source_of_test", "write_test"]

_MAX_CHARS = 100


def source_of_test(golden: GoldenTrace, why: str = "") -> str:
    """The test as text.

    Args:
        why: what the test is about, a clause without a full stop.
    """
    what = " ".join(why.split()) or f"the code still does what {golden.origin} did"
    told = f"{golden.name}: {what}".replace("\\", "/").replace('"', "'").rstrip(".")
    told = told if len(told) <= _MAX_CHARS else told[: _MAX_CHARS - 3] + ".."
    return (
        f'"""{told}."""\n\n\n'
        f"def test_{_identifier(golden.name)}(golden_trace):\n    golden_trace({_quoted(golden.name)})\n"
    )


def write_test(golden: GoldenTrace, path: Path | None = None, why: str = "") -> Path:
    """Write the test into a new file and say which.

    Args:
        path: of the file; `test_golden_NAME.py` beside the directory of golden traces without it.

    Raises:
        UsageError: there is a file of that name which is no such test.
    """
    target = path or golden.directory.parent.parent / f"test_golden_{_identifier(golden.name)}.py"
    if target.exists() and f"golden_trace({_quoted(golden.name)})" not in target.read_text("utf-8"):
        raise UsageError("the file already exists", path=target, remedy="choose another name with --test")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(source_of_test(golden, why), "utf-8")
    return target


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "run"


def _quoted(name: str) -> str:
    """The name as Python writes it, in the quotes that formatters leave alone."""
    return json.dumps(name) if name.isprintable() else repr(name)
