"""The examples run from any directory, record where they are told to, and end with exit code 0."""

import json
from pathlib import Path

import pytest
from support.markdown import blocks_of
from support.processes import REPOSITORY, run_python

pytestmark = pytest.mark.integration

# tests/integration/test_ray_actors.py, and below
TRIED_ELSEWHERE = {"ray_actors", "incident_response", "mesa_wealth"}
EXAMPLES = sorted(each for each in (REPOSITORY / "examples").glob("*.py") if each.stem not in TRIED_ELSEWHERE)
REPLAYED = {
    "gymnasium_lake": ("gymnasium", "test", "build"),
    "pettingzoo_agents": ("pettingzoo", "test", "build"),
    "autogen_agents": ("autogen_agentchat", "frameworks", "AssistantAgent"),
    "autogen_team": ("autogen_agentchat", "frameworks", "Panel"),
    "langgraph_clerk": ("langgraph", "test", "Clerk"),
    "openai_agents_clerk": ("agents", "frameworks", "Clerk"),
    "pydantic_ai_clerk": ("pydantic_ai", "frameworks", "Clerk"),
    "smolagents_clerk": ("smolagents", "frameworks", "Clerk"),
}
"""Examples of frameworks, which fit into 15 lines and replay: {example: (package, its extra, target)}."""
WITH_EXAMPLES = f"{REPOSITORY}:{REPOSITORY / 'examples'}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_one_session_which_replays_where_a_framework_ran(
    example: Path, tmp_path, trace_root
):
    package, extra, target = REPLAYED.get(example.stem, (None, None, None))
    if package is not None:
        body = example.read_text(encoding="utf-8").partition('"""\n')[2]
        assert len([line for line in body.splitlines() if line.strip()]) <= 15
        pytest.importorskip(package, reason=f"{package} is not installed; it is in the extra [{extra}]")
    done = run_python(str(example), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert len(list(trace_root.glob("session_*"))) == 1
    assert not list(tmp_path.glob("trace/*.py"))
    if package is not None:
        asked = "-m", "Agent", "replay", "last", "--target", f"{example.stem}:{target}"
        replayed = run_python(*asked, cwd=tmp_path, PYTHONPATH=WITH_EXAMPLES)
        assert replayed.stdout.startswith("IDENTICAL "), replayed.stdout + replayed.stderr
        assert replayed.returncode == 0


def test_the_model_of_mesa_is_the_one_that_the_reader_of_its_page_runs_and_replays():
    example, page = REPOSITORY / "examples" / "mesa_wealth.py", REPOSITORY / "docs" / "INTEGRATIONS.md"
    body = example.read_text(encoding="utf-8").partition('"""\n')[2].strip()
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    (block,) = [block for block in blocks if block.file_name == "wealth.py"]
    assert block.source.strip() == body
    assert len([line for line in body.splitlines() if line.strip()]) <= 15
    ran = [line for block in blocks if block.language == "bash" for line in block.source.splitlines()]
    assert "python wealth.py" in ran
    assert any(line.startswith("agent-trace replay last --target wealth:build") for line in ran)


@pytest.mark.slow  # tests/docs/test_incident_page.py follows the page of it
def test_the_incident_goes_from_the_complaint_to_the_test_that_keeps_it_away(tmp_path, trace_root):
    done = run_python(str(REPOSITORY / "examples" / "incident_response.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(trace_root.glob("session_*"))) == 2, "a fork is a session of its own"
    assert not list(trace_root.glob("*.py"))
    told = done.stdout
    for number in range(1, 8):
        assert f"\n{number}. " in f"\n{told}", told
    assert "replayed: IDENTICAL" in told
    assert "inspected: desk: sent researcher a message (language ne) at tick 6" in told
    assert "dropped before answer of researcher of tick 6: 40 with it, 5 without" in told
    assert "40 with it, 5 without; effect +35" in told
    assert "answered 12 of 12 questions" in told
    assert "they differ at tick 6, researcher, tool.call: argument language" in told
    assert (tmp_path / "golden_traces" / "looping-researcher").is_dir()
    asked = "-m", "Agent", "golden", "check", "--dir", "golden_traces"
    checked = run_python(*asked, cwd=tmp_path, PYTHONPATH=WITH_EXAMPLES)
    assert checked.returncode == 0, checked.stderr
    assert "IDENTICAL" in checked.stdout


NOTEBOOK = """
import json, sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(book, kernel_name="python3", timeout=120).execute()
shown = [output["data"] for cell in book.cells for output in cell.get("outputs", []) if "data" in output]
print(json.dumps(["text/html" in data for data in shown]))
"""


@pytest.mark.slow
def test_the_notebook_runs_and_every_answer_is_shown_as_a_page(tmp_path):
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    done = run_python("-c", NOTEBOOK, str(REPOSITORY / "examples" / "notebook.ipynb"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True] * 7
