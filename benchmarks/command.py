"""What the commands have in common: options, a directory for the files, progress, the answer."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.starts import compile_package
from benchmarks.table import Report, print_report


def options(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser with what every measurement takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description=description)
    parser.add_argument("--quick", action="store_true", help="much shorter, with wider spreads")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    form.add_argument("--markdown", action="store_true", help="tables as docs/PERFORMANCE.md has them")
    parser.add_argument(
        "--directory", type=Path, help="where the files go: a real disk (default: the temporary directory)"
    )
    return parser


def require(parser: argparse.ArgumentParser, *modules: str, extras: str) -> None:
    """End the command with what to install where one of these modules is absent."""
    absent = [name for name in modules if find_spec(name) is None]
    if absent:
        parser.error(f"this needs {' and '.join(absent)}: pip install '.[{extras}]'")


def progress(text: str) -> None:
    """A line on stderr about what is being done."""
    print(text, file=sys.stderr, flush=True)


def run(given: argparse.Namespace, measure: Callable[[Path], Report]) -> int:
    """Measure in a directory that is removed afterwards, and print what came of it."""
    compile_package()
    directory = Path(tempfile.mkdtemp(prefix="agent-trace-benchmark-", dir=given.directory)).resolve()
    # configuration of the user or of a project that happens to be here has no part in it
    for name in [name for name in os.environ if name.startswith("AGENT_TRACE_")]:
        del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = str(directory / "configuration")
    before = Path.cwd()
    os.chdir(directory)
    try:
        report = measure(directory)
    finally:
        os.chdir(before)
        shutil.rmtree(directory, ignore_errors=True)
    if given.json:
        print(json.dumps(report.as_object(), indent=2))
    else:
        print_report(report, markdown=given.markdown)
    return 0
