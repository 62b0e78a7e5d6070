"""A report of the table is a command, a page and a method; one more row is all that a new one takes."""

import json
import subprocess
import sys

import pytest
from support.processes import child_environment

from Agent import AgentLogger, LogAnalyzer, setup_logging, shutdown_logging
from Agent.analysis.reports import REPORTS
from Agent.errors import UsageError

ADDED = '''
import sys, types, typing
from Agent.analysis import reports
from Agent.analysis.query.views import scan
from Agent.render.blocks import Column, Section, grid

def retries_report(engine, agent_id, *, least: int = 1, order: typing.Literal["agent", "times"] | None = None):
    """Count retries.

    Args:
        least: only agents with so many retries.
        order: by what they are sorted.

    Returns:
        `of`: the agent that was asked for.
    """
    retries = f"SELECT agent_id FROM {scan('action_type')} WHERE action_type = 'retry'"
    rows = engine.rows(f"SELECT agent_id, count(*) AS times FROM ({retries}) GROUP BY 1")
    return {"of": agent_id, "order": order, "retries": [row for row in rows if row["times"] >= least]}

def retries_sections(report):
    table = grid(report["retries"], Column("agent", "agent_id"), Column("times", "times"))
    return iter([Section("Retries", [table])] if report["retries"] else [])

module = types.ModuleType("Agent.analysis.questions.retries")
module.retries_report, module.retries_sections = retries_report, retries_sections
sys.modules[module.__name__] = module
of_module = "questions.retries:retries_"
reports.REPORTS["retries"] = reports.Report(
    "retries", "Show what was tried again.", "Each agent with its retries.",
    of_module + "report", of_module + "sections", "nothing was tried again", names_agent=True,
)
'''


@pytest.fixture
def root(tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    logger = AgentLogger("fetcher_1")
    for _ in range(3):
        logger.log_action("retry", {"page": 7})
    shutdown_logging()
    return tmp_path / "trace"


def run_with_one_more(code):
    return subprocess.run(
        [sys.executable, "-c", ADDED + code],
        env=child_environment(COLUMNS="80"),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_is_returned_by_its_name(name, root):
    assert json.dumps(LogAnalyzer(root=root).report(name))


def test_an_unknown_report_is_one_error_that_names_the_others(root):
    with pytest.raises(UsageError, match=r"no report 'nothing'.*performance"):
        LogAnalyzer(root=root).report("nothing")


@pytest.mark.further
@pytest.mark.process
def test_a_row_of_the_table_makes_a_command_with_help_and_json(root):
    run = "from Agent.cli.main import main\nsys.exit(main(sys.argv[1:] or {}))"
    text = run_with_one_more(run.format(["retries", "--root", str(root)]))
    assert text.returncode == 0, text.stderr
    assert "fetcher_1" in text.stdout
    answer = run_with_one_more(run.format(["retries", "--root", str(root), "--json"]))
    assert json.loads(answer.stdout)["retries"] == [{"agent_id": "fetcher_1", "times": 3}]
    overview = run_with_one_more(run.format(["--help"])).stdout
    assert "retries" in overview and "Show what was tried again." in overview
    assert "Each agent with its retries." in run_with_one_more(run.format(["retries", "--help"])).stdout


@pytest.mark.further
@pytest.mark.process
def test_its_keyword_only_parameters_are_options_with_their_help(root):
    run = "from Agent.cli.main import main\nsys.exit(main({}))"
    asked = ["retries", "fetcher_1", "--root", str(root), "--json", "--least", "4", "--order", "times"]
    answer = run_with_one_more(run.format(asked))
    assert json.loads(answer.stdout) == {"of": "fetcher_1", "order": "times", "retries": []}, answer.stderr
    text = run_with_one_more(run.format([*asked[:4], "--least", "4"]))
    assert text.returncode == 0 and "nothing was tried again" in text.stderr
    wrong = run_with_one_more(run.format(["retries", "--order", "size"]))
    assert wrong.returncode == 2 and "'agent', 'times'" in wrong.stderr
    shown = " ".join(run_with_one_more(run.format(["retries", "--help"])).stdout.split())
    assert "--order [agent|times] By what they are sorted. --engine" in shown
    assert "Only agents with so many retries. [default: 1]" in shown


@pytest.mark.process
def test_the_method_takes_the_agent_and_the_options(root):
    shown = run_with_one_more(f"""
from Agent import LogAnalyzer
from Agent.errors import UsageError
log = LogAnalyzer(root={str(root)!r})
print(log.report("retries", "fetcher_1", least=2, order="agent"), log.report("retries")["of"])
try: log.report("retries", most=3)
except UsageError as error: print(error)
""")
    assert (
        "'of': 'fetcher_1', 'order': 'agent', 'retries': [{'agent_id': 'fetcher_1', 'times': 3}]"
        in shown.stdout
    )
    assert shown.stdout.splitlines()[0].endswith("} None")
    assert "no option 'most'" in shown.stdout and "least, order" in shown.stdout


@pytest.mark.process
def test_a_row_of_the_table_makes_a_page(root):
    shown = run_with_one_more(f"""
from pathlib import Path
from Agent.server.pages.documents import report_page
page = report_page(Path({str(root)!r}), "last", "retries")
print(page.title, page.sections)
""")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("Retries ") and "fetcher_1" in shown.stdout
