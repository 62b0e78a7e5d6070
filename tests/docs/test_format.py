"""docs/FORMAT.md shows the payload table that the code has."""

from support.processes import REPOSITORY

from Agent.event.payloads import kinds_as_markdown


def test_the_table_of_kinds_is_the_one_that_the_code_has():
    assert kinds_as_markdown() in (REPOSITORY / "docs" / "FORMAT.md").read_text(encoding="utf-8")
