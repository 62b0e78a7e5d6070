"""README and docs, followed as a reader follows them: each page in an empty directory, its blocks in order."""

import os
import re
from collections import Counter

import pytest
from support.markdown import blocks_of
from support.processes import REPOSITORY
from support.reader_of_pages import DATA, PRINTED, SHELLS, UNTRIED, Demo, Demos, PageFailed, Reader

FOLLOWED_ELSEWHERE = {"INCIDENT.md"}
"""test_incident_page.py follows it in a checkout, beside its example."""
PAGES = [
    page
    for page in sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
    if page.name not in FOLLOWED_ELSEWHERE and "```" in page.read_text(encoding="utf-8")
]
NOT_RUN = {
    "ARCHITECTURE.md": {"text": 5},
    "CLUSTER.md": {"elsewhere": 2},
    "COMMANDS.md": {"placeholders": 1, "elsewhere": 2},
    "DISTRIBUTED_DATABASE.md": {"elsewhere": 1, "sql": 1},
    "FORKS.md": {"placeholders": 1, "text": 1},
    "FORMAT.md": {"text": 2},
    "GOLDEN.md": {"text": 1},
    "INTEGRATIONS.md": {"placeholders": 2, "yaml": 1},
    "OPENTELEMETRY.md": {"placeholders": 4},
    "PAGES.md": {"placeholders": 2},
    "PRIVACY.md": {"text": 1},
    "RELIABILITY.md": {"text": 1},
    "REPLAY.md": {"text": 1},
    "SERVICE.md": {"placeholders": 3, "elsewhere": 1},
    "WHY.md": {"placeholders": 2, "text": 1},
}
"""Blocks of each page that a reader cannot run as they stand, by mark, and those that only show something, by language.

Those of SQL need Citus; `text` is a drawing, or what a command prints.
"""


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """The recordings of `agent-trace demo` that pages have in common, each made by the first of them in all processes."""
    own = tmp_path_factory.getbasetemp()
    return Demos((own if os.environ.get("PYTEST_XDIST_WORKER") is None else own.parent) / "demos")


def follow(text, directory, demos=None):
    for name in ("work", "tools"):
        (directory / name).mkdir()
    reader = Reader(directory / "work", directory / "tools", demos)
    try:
        for block in blocks_of(text):
            reader.follow(block)
    finally:
        reader.close()
    return dict(reader.done)


@pytest.mark.integration
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_reader_can_follow_the_page(page, demos, tmp_path):
    print(page.name, follow(page.read_text(encoding="utf-8"), tmp_path, demos))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```bash\nagent-trace sessions --json\nagent-trace errors\n```", "exit code 3"),
        ("```bash\nagent-trace sessions  # exit code 1: nothing there\n```", "exit code 0"),
        ("```bash\npip install '.[no_such_extra]'\n```", "no extra no_such_extra"),
        ("```python\nprint(1)  # -> 2\n```", "'2' was not printed"),
        ("```python\nprint(nothing)\n```", "NameError"),
        ("```bash\necho a b\n```\n```text printed\na ... c\n```", "'c' was not printed"),
        ("```toml\na = \n```", "is no toml"),
        ("```json\n{}\n{\n```", "is no json"),
        ("```python file=a.py\nimport nothing\n```\n```bash\npython a.py\n```", "No module named"),
    ],
)
def test_a_page_that_does_not_do_what_it_says_is_noticed(text, says, tmp_path):
    with pytest.raises(PageFailed, match=re.escape(says)):
        follow(text, tmp_path)


@pytest.mark.process
def test_a_demo_that_another_page_recorded_is_there_and_what_it_printed_is_compared(tmp_path):
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "README.md").write_text("recorded")
    demos = Demos(tmp_path / "demos")
    assert demos.find("agent-trace demo --agents 2") is None
    demos.keep("agent-trace demo --agents 2", Demo("it said a", "", tmp_path / "recorded"))
    call = "```bash\nagent-trace demo --agents 2  # two\n{}\n```\n```text printed\n{}\n```"
    for number, (line, shown, is_right) in enumerate(
        [
            ("grep recorded trace/README.md", "a recorded", True),
            ("grep x trace/README.md", "a", False),
            ("", "b", False),
        ]
    ):
        place = tmp_path / str(number)
        place.mkdir()
        if is_right:
            assert follow(call.format(line, shown), place, demos)["demos of other pages"] == 1
        else:
            with pytest.raises(PageFailed):
                follow(call.format(line, shown), place, demos)


def test_blocks_that_are_not_run_are_counted():
    marked = {}
    for page in PAGES:
        blocks = blocks_of(page.read_text(encoding="utf-8"))
        found = Counter(mark for block in blocks for mark in block.marks & UNTRIED)
        found += Counter(
            block.language
            for block in blocks
            if block.file_name is None
            and PRINTED not in block.marks
            and block.language not in {"python", *SHELLS, *DATA}
        )
        marked[page.name] = dict(found)
    assert {name: found for name, found in marked.items() if found} == {
        name: found for name, found in NOT_RUN.items() if found
    }
