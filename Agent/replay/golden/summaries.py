"""Summaries of checks for continuous integration: JUnit's XML, and Markdown for the page of a build."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from Agent.replay.compare.outcome import Verdict
from Agent.replay.golden.trace import GoldenReport

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: Sequence[GoldenReport]) -> bytes:
    """Return the checks as a test suite in JUnit's XML: DIVERGED is a failure, UNVERIFIED an error."""
    failed = [report for report in reports if not report.passes]
    errors = sum(report.report.verdict == Verdict.UNVERIFIED for report in failed)
    counts = {"tests": len(reports), "failures": len(failed) - errors, "errors": errors, "skipped": 0}
    suite = ElementTree.Element(
        "testsuite", {"name": "golden traces", **{name: str(count) for name, count in counts.items()}}
    )
    for report in reports:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": _clean(str(report.golden.directory.parent)), "name": _clean(report.name)},
        )
        if not report.passes:
            kind = "error" if report.report.verdict == Verdict.UNVERIFIED else "failure"
            about = {"type": str(report.report.verdict), "message": _clean(why(report))}
            ElementTree.SubElement(case, kind, about).text = _clean(str(report))
        elif report.notes:
            ElementTree.SubElement(case, "system-out").text = _clean("\n".join(report.notes))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    found: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return found + b"\n"


def markdown(reports: Sequence[GoldenReport]) -> str:
    """Return the checks as a table with each first difference, and the whole reports of those that fail."""
    passed = sum(report.passes for report in reports)
    lines = [
        f"### Golden traces: {passed:,} of {len(reports):,} passed",
        "",
        "| golden trace | verdict | first difference |",
        "|---|---|---|",
    ]
    for report in reports:
        first = "" if report.passes else _cell(why(report))
        lines.append(f"| {_cell(report.name)} | {report.report.verdict} | {first} |")
    for report in reports:
        if not report.passes:
            text = str(report)
            fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=2) + 1)
            fence = fence if len(fence) > 2 else "```"
            lines += [
                "",
                f"<details><summary>{_escaped(report.name)}</summary>",
                "",
                fence,
                text,
                fence,
                "",
                "</details>",
            ]
    return "\n".join(lines) + "\n"


def why(report: GoldenReport) -> str:
    """The first difference of a check that fails, or why it proved nothing, in one line."""
    outcome = report.report.outcome
    if outcome.divergence is not None:
        found = outcome.divergence
        recorded, replayed = found.texts
        where = found.where or found.field + found.path
        return f"{found.step_text}: {where}, recorded {recorded}, replayed {replayed}"
    if report.report.reasons:
        return report.report.reasons[0]
    return (
        f"may not differ in {' and '.join(report.undeclared)}"
        if report.undeclared
        else str(report.report.verdict)
    )


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(text: str) -> str:
    return " ".join(_escaped(text).replace("|", "\\|").split())
