"""docs/FORMAT.md shows the payload table that the code has."""

import difflib

from support.processes import REPOSITORY

from Agent.event.payloads import KINDS


def kinds_as_markdown() -> str:
    """Return the table for docs/FORMAT.md; a `?` marks a key that may be absent."""
    lines = ["| kind | category | form | keys |", "|---|---|---|---|"]
    for row in KINDS.values():
        keys = ", ".join(
            f"`{field.name}`{'' if field.required else '?'} {field.type}" for field in row.fields
        )
        span = " (a span)" if row.is_span else ""
        lines.append(f"| `{row.name}`{span} | {row.category} | {row.home} | {keys or 'those of the user'} |")
    return "\n".join(lines)


def test_the_table_of_kinds_is_the_one_that_the_code_has():
    page = (REPOSITORY / "docs" / "FORMAT.md").read_text(encoding="utf-8").partition("## Kinds")[2]
    shown = [line for line in page.splitlines() if line.startswith("|")]
    expected = kinds_as_markdown().splitlines()
    differing = "\n".join(difflib.unified_diff(shown, expected, "FORMAT.md", "payloads.py", lineterm="", n=1))
    assert not differing, f"\n{differing}"
