"""Questions about sealed sessions in an S3 server, which both engines read through fsspec: the same answer.

Spark's executor is a process of its own and has no address or key of the server in its environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.object_store import s3_server, why_no_server
from test_spark_questions import ASKED, QUESTIONS, SMALL, WHY_NOT, differences, two_hosts

from Agent.analysis.query import spark as spark_engine
from Agent.analysis.query.engine import Engine, open_trees
from Agent.analysis.query.spark import SparkEngine
from Agent.analysis.query.tables import SqlResult
from Agent.analysis.query.trees import Trees, remote_trees, sealed_trees

pytestmark = pytest.mark.slow

AN_EXECUTOR = "local-cluster[1,2,1024]"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trees]:
    """The trace roots of two hosts, 20,000 events with every fault, runs and the demo, as copies in a bucket."""
    if why := WHY_NOT or why_no_server():
        pytest.skip(f"Spark is not asked about an object store: {why}")
    local = two_hosts(tmp_path_factory, events=20_000, agents=24)
    roots = {tree.session.parent for tree in local.local}
    with s3_server("traces") as store:
        for root in roots:
            store.put(f"{root}/", f"traces/{root.name}", recursive=True)
        yield sealed_trees([f"s3://traces/{min(roots).name}", "s3://traces/host_b*"])


@pytest.fixture(scope="module")
def spark(trees: Trees) -> Iterator[SparkEngine]:
    started = spark_engine._started

    def without_keys(*given):
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            return started(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark_engine, "_started", without_keys)
        engine = SparkEngine(trees, AN_EXECUTOR, SMALL)
    with engine:
        yield engine


@pytest.fixture(scope="module")
def duckdb(trees: Trees) -> Iterator[Engine]:
    with open_trees((), remote_trees(trees.remote)) as engine:
        yield engine


@pytest.mark.parametrize("name", ["analyze", "learning", "debug"])
def test_both_engines_answer_a_question_about_a_store_alike(name, spark, duckdb):
    expected = QUESTIONS[name](duckdb)
    assert expected
    assert differences(expected, QUESTIONS[name](spark)) == []


def test_a_users_query_finds_the_same_rows_in_a_store(spark, duckdb):
    for query in (*ASKED[-2:], *(each for each in ASKED if " events " in each or " messages " in each)):
        expected, found = list(SqlResult(duckdb, query)), list(SqlResult(spark, query))
        assert expected, query
        assert differences(expected, found)[:5] == [], query


def test_a_file_that_is_gone_is_named_in_one_line(trees, spark):
    lost = remote_trees(trees.remote)[0]
    place = f"{lost.url}/archive/{lost.parts[0].name}.parquet"
    kept = lost.store.cat_file(place)
    lost.store.rm_file(place)
    try:
        with pytest.raises(spark_engine.InputError, match="FileNotFoundError") as told:
            spark.ends_us()
    finally:
        lost.store.pipe_file(place, kept)
    assert "\n" not in str(told.value)
