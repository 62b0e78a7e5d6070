"""Queries load DuckDB's extension without the Python part of its package, which a program may import later."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
from analysis_kit import SessionBuilder

from Agent.archive.sealed.duckdb_module import numbers_of

pytestmark = pytest.mark.process

_ASK = """
import sys
from pathlib import Path
from Agent.analysis.query.engine import open_engine
engine = open_engine(Path(sys.argv[1]))
query = "SELECT count(*) AS n FROM events WHERE level = 'INFO'"
print(engine.user_tuples(query), "duckdb" in sys.modules)
"""
_IMPORT_LATER = """
import duckdb, pyarrow
numbers = pyarrow.table({"x": [1, 2, 3]})
print(duckdb.sql("SELECT sum(x) FROM numbers WHERE x > 1").fetchall(), engine.user_arrow(query).to_pylist())
engine.close()
"""


def printed(builder: SessionBuilder, code: str) -> list[str]:
    builder.emit("log", "a", message="one")
    command = [sys.executable, "-c", code, str(builder.path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_query_loads_only_the_extension(builder: SessionBuilder) -> None:
    if numbers_of(duckdb.__version__) != (2, 0):
        pytest.skip("of other versions the whole package is loaded")
    assert printed(builder, _ASK) == ["[(1,)] False"]


@pytest.mark.further
def test_a_program_may_import_duckdb_after_a_query(builder: SessionBuilder) -> None:
    pytest.importorskip("pyarrow")
    assert printed(builder, _ASK + _IMPORT_LATER)[1] == "[(5,)] [{'n': 1}]"
