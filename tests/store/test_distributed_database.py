"""The plan for several machines: its statements fit the schema, and the store writes none that the plan rules out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.databases import postgres_server
from support.markdown import blocks_of
from support.processes import REPOSITORY

pytest.importorskip("sqlalchemy", reason="the store needs the extra [server]")

from sqlalchemy import UniqueConstraint

import Agent.store
from Agent.store.engines import schema_sql
from Agent.store.schema import METADATA

PAGE = REPOSITORY / "docs" / "DISTRIBUTED_DATABASE.md"
STAND_INS = """
CREATE TABLE laid_out (number serial, name text, by text, beside text);
CREATE FUNCTION create_reference_table(name regclass) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO laid_out (name) VALUES (name::text) $$;
CREATE FUNCTION create_distributed_table(name regclass, by text, colocate_with text DEFAULT 'default')
  RETURNS void LANGUAGE sql AS $$ INSERT INTO laid_out (name, by, beside) VALUES (name::text, by, colocate_with) $$;
"""


@pytest.fixture(scope="module")
def laid_out():
    """The layout that the page's statements ask for, on the schema: (table, column, beside which)."""
    import psycopg

    url = postgres_server().make_database("several_machines")
    statements = [block.source for block in blocks_of(PAGE.read_text()) if block.language == "sql"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql())
        connection.execute(STAND_INS)
        for statement in statements:
            connection.execute(statement)
        return connection.execute("SELECT name, by, beside FROM laid_out ORDER BY number").fetchall()


@pytest.mark.integration
def test_the_statements_of_the_page_lay_out_every_table_once(laid_out):
    assert sorted(name for name, _, _ in laid_out) == sorted(METADATA.tables)


@pytest.mark.integration
def test_each_key_holds_the_column_by_which_its_table_is_laid_out(laid_out):
    for name, column, _ in laid_out:
        table = METADATA.tables[name]
        unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        unique += [index for index in table.indexes if index.unique]
        if column is None:
            continue  # on every machine, where any key holds
        assert column in table.primary_key.columns
        assert all(column in each.columns for each in unique)


@pytest.mark.further
def test_tables_lie_beside_one_that_is_laid_out_before_by_a_column_of_the_same_type(laid_out):
    known = {}
    for name, column, beside in laid_out:
        if beside not in (None, "default", "none"):
            of_other = METADATA.tables[beside].columns[known[beside]]
            assert type(METADATA.tables[name].columns[column].type) is type(of_other.type)
        known[name] = column


def test_the_store_writes_nothing_that_several_machines_do_not_take():
    found = []
    for path in Path(Agent.store.__file__).parent.rglob("*.py"):
        for word in (
            "with_for_update",
            "FOR UPDATE",
            r"recursive=True",
            r"\.rollup\(",
            r"grouping_sets",
            "tablesample",
        ):
            found += [f"{path.name}: {word}" for _ in re.finditer(word, path.read_text(), re.IGNORECASE)]
    assert found == []
