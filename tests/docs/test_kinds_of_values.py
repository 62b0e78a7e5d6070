"""docs/REPLAY.md shows the table of kinds of values that the code has."""

from support.processes import REPOSITORY

from Agent.event.values.class_contents import KINDS


def test_the_table_of_kinds_of_values_is_the_one_that_the_code_has():
    page = (REPOSITORY / "docs" / "REPLAY.md").read_text(encoding="utf-8")
    rows = [f"| {row.kind} | {row.values} | {row.meaning} |" for row in KINDS]
    expected = "\n".join(["| kind | values | what replay does |", "|---|---|---|", *rows])
    assert expected in page, f"the table in docs/REPLAY.md has to be:\n{expected}"
