"""Every question about whole sessions through both engines over the same sealed sessions: the same answer.

Spark runs here as it runs on many machines: executors are processes of their own (`local-cluster`).
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.known_truth import FAULTS, make_session

from Agent.analysis import questions
from Agent.analysis.causality.graph import around_event
from Agent.analysis.debug.recorded import around_complaint
from Agent.analysis.query.engine import Engine, open_trees
from Agent.analysis.query.spark import SparkEngine
from Agent.analysis.query.tables import SqlResult
from Agent.analysis.query.trees import ChosenEvents, Trees, of_agent, sealed_trees, selected_session
from Agent.analysis.query.views import scan
from Agent.analysis.questions import errors, interactions, journeys, learning
from Agent.analysis.report import session_report
from Agent.archive.sealed.reader import open_reader
from Agent.archive.sealed.sealing import seal
from Agent.errors import InputError, UsageError
from Agent.event.codec import encode_event
from Agent.tree.layout import list_sessions

pytestmark = pytest.mark.slow

WHY_NOT = (
    "pyspark is not installed"
    if importlib.util.find_spec("pyspark") is None
    else "there is no Java"
    if shutil.which("java") is None
    else ""
)
CLUSTER = "local-cluster[2,1,1024]"
JAVA = "-XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.driver.memory": "512m",
    "spark.sql.codegen.wholeStage": "false",  # to compile a query takes longer than so few rows do
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # three Java processes on two cores: no threads of their own for memory, and Spark's classes are not verified
    "spark.driver.extraJavaOptions": JAVA,
    "spark.executor.extraJavaOptions": JAVA,
}
AN_AGENT = "agent_00001"
ANYWHERE = Trees((), ("memory://host/session_20261120_103045",))
REPORTS = {
    name.removesuffix("_report"): each
    for module in pkgutil.iter_modules(questions.__path__, f"{questions.__name__}.")
    for name, each in vars(importlib.import_module(module.name)).items()
    if name.endswith("_report") and each.__module__ == module.name
}
QUESTIONS: dict[str, Callable[[Any], Any]] = REPORTS | {
    "errors": errors.error_patterns,
    "ends": lambda engine: engine.ends_us(),
    "analyze": lambda engine: session_report.trees_summary(ANYWHERE, engine),
    "timeline": journeys.timeline,
    "learning by episode": lambda engine: learning.agent_learning(engine, None, None, by="episode"),
    "learning by time": lambda engine: learning.learning_report(engine, by="time"),
    "learning of one": lambda engine: learning.learning_report(engine, AN_AGENT),
    "interaction": lambda engine: interactions.interaction_report(engine, edges=True),
    "interactions of one content": lambda engine: one_cascade(engine),
    "debug": lambda engine: selected(engine, around_complaint(engine, f"{AN_AGENT} fails", 3_000)),
    "journey": lambda engine: selected(engine, of_agent(AN_AGENT)),
    "causes": lambda engine: selected(
        engine, around_event(engine, a_late_error(engine), 0.05, with_effects=True)
    ),
}

KILLED_DURING = {"errors", "interaction"}
"""An executor is killed; `interaction` makes tables of one another in rounds, so rows of all of them are lost."""


def one_cascade(engine: Any) -> dict[str, Any]:
    with interactions.interaction_lines(engine) as lines:
        content = interactions.top_cascades(engine, lines, 1)[0]["content_id"]
        return interactions.cascade(engine, lines, content)


def a_late_error(engine: Any) -> str:
    query = f"SELECT id FROM {scan()} WHERE level = 'ERROR' ORDER BY ts_us DESC, id LIMIT 1"
    found: str = engine.rows(query)[0]["id"]
    return found


def selected(engine: Any, chosen: ChosenEvents) -> list[str]:
    """The lines of the session that the rows are kept as."""
    with selected_session(engine, ANYWHERE, chosen) as path:
        return [encode_event(event).decode() for event in open_reader(path).events()]


A_RUN = """
from Agent import AgentLogger, LearningLogger
from Agent.flight import record_tool, recorder
with recorder.run("nightly", {"environment": "o'brien's"}):
    recorder.record_model_call(
        step_id="answer", call_id="c", model_name="m", prompt="Hello", output="Hi", prompt_tokens=1
    )
    @record_tool
    def search(q):
        return [q, 1]
    search("x'y")
    with recorder.step("fetch", "Fetch") as step:
        step.output = {"hits": [1, 2.5e-7], "path": "a\\\\b \u00fc"}
AgentLogger("z'1").log_action("look", {"far": True}, {"seen": None})
for episode in range(60):
    learner = LearningLogger("z'1").bind(episode=episode)
    learner.log_reward("a", episode / 7)
"""
THE_DEMO = """
import os
from pathlib import Path
from Agent.demo.platform import Settings, record_session
record_session(Path(os.environ["AGENT_TRACE_ROOT"]), Settings(agents=12, ticks=30, seed=7))
"""
LARGE = {"action_states", "actions", "decisions", "events", "learning", "messages", "rewards", "spans"}
"""Views of more than 20,000 rows; of these ten of every thousand numbers of a writer are compared."""
WHERE_FEW = "WHERE id LIKE '%21_' "
ASKED = [
    f"SELECT * FROM {view} {WHERE_FEW * (view in LARGE)}ORDER BY ts_us, id"
    for view in SparkEngine.view_names()
] + [
    "SELECT event_type, level, count(*) AS n, min(tick) AS low, max(tick) AS high FROM events "
    "GROUP BY ALL ORDER BY event_type, level",
    "SELECT agent_id, sum(reward) AS r, avg(reward) AS mean FROM rewards GROUP BY agent_id "
    "ORDER BY agent_id NULLS LAST",
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """Sessions of two hosts: 252,000 events of 200 agents with every fault and damaged lines; a run, whose
    lines are flat, and the demo."""
    if WHY_NOT:
        pytest.skip(f"Spark is not asked: {WHY_NOT}")
    return two_hosts(tmp_path_factory, events=252_000, agents=200)


def two_hosts(made: pytest.TempPathFactory, events: int, agents: int) -> Trees:
    places = [made.mktemp(name) for name in ("host_a", "host_b")]
    make_session(places[0], events=events, agents=agents, seed=5, faults=list(FAULTS), sealed=True)
    environment = os.environ | {"AGENT_TRACE_ROOT": str(places[1])}
    for program in (A_RUN, THE_DEMO):
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    for found in list_sessions(places[1]):
        seal(found.path)
    return sealed_trees(list(map(str, places)))


@pytest.fixture(scope="module")
def spark(trees: Trees) -> Iterator[SparkEngine]:
    with SparkEngine(trees, CLUSTER, SMALL) as engine:
        yield engine


@pytest.fixture(scope="module")
def duckdb(trees: Trees) -> Iterator[Engine]:
    with open_trees(trees.local) as engine:
        yield engine


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two answers differ; numbers by more than 1e-9 of themselves, JSON by what it says."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [] if list(one) == list(other) else [f"{place}: keys {list(one)} and {list(other)}"]
        return found + [
            each for key in one.keys() & other for each in differences(one[key], other[key], f"{place}/{key}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        found = [] if len(one) == len(other) else [f"{place}: {len(one)} and {len(other)} of them"]
        pairs = enumerate(zip(one, other, strict=False))
        return found + [each for at, pair in pairs for each in differences(*pair, f"{place}[{at}]")]
    if isinstance(one, int | float) and isinstance(other, int | float):
        return [] if math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) else [f"{place}: {one}, {other}"]
    if isinstance(one, str) and isinstance(other, str) and one[:1] in {"{", "["} and one != other:
        return differences(said(one), said(other), place)
    return [] if one == other else [f"{place}: {one!r} and {other!r}"]


def said(text: str) -> Any:
    """What JSON text says; keys that are null are as good as none."""
    value = json.loads(text)
    if not isinstance(value, dict):
        return value
    return {key: value[key] for key in sorted(value) if value[key] is not None}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_engines_answer_a_question_alike(name: str, spark: SparkEngine, duckdb: Engine) -> None:
    expected = QUESTIONS[name](duckdb)
    assert expected
    if name in KILLED_DURING:
        with an_executor_killed():
            found = QUESTIONS[name](spark)
    else:
        found = QUESTIONS[name](spark)
    assert differences(expected, found) == []


def test_a_users_query_finds_the_same_rows_in_every_view(spark: SparkEngine, duckdb: Engine) -> None:
    for query in ASKED:
        expected, found = list(SqlResult(duckdb, query)), list(SqlResult(spark, query))  # type: ignore[arg-type]
        assert expected, query
        assert differences(expected, found)[:5] == [], query


def test_a_users_query_only_reads(spark: SparkEngine, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for query in (
        "DROP VIEW events",
        "SELECT reflect('java.lang.System', 'getProperty', 'user.home')",
        "SELECT TRANSFORM(id) USING 'cat' FROM events",
        f"SELECT * FROM json.`{tmp_path}/other.json`",
        "SELECT nothing FROM events",
    ):
        with pytest.raises(UsageError):
            spark.user_tuples(query)


@contextmanager
def an_executor_killed() -> Iterator[None]:
    """Kill an executor a second after the block begins; it must not end before."""
    killed: list[int] = []

    def kill_one() -> None:
        time.sleep(1)
        killed.append(executors()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    yield
    assert killed, "the answer came before the kill"
    killer.join()


def executors() -> list[int]:
    """The processes of the executors that this process started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"CoarseGrainedExecutorBackend" in command and is_ours(int(entry.name)):
            found.append(int(entry.name))
    return found


def is_ours(pid: int) -> bool:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid == os.getpid():
            return True
    return False


def test_a_session_that_is_not_sealed_is_named_with_the_remedy(tmp_path: Path) -> None:
    truth = make_session(tmp_path, events=1_000, agents=3)
    with pytest.raises(InputError, match="agent-trace seal") as told:
        sealed_trees([str(tmp_path)])
    assert str(truth.session) in str(told.value)
