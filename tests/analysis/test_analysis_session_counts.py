"""A session that nobody summed up is counted by the engine, and comes to what its summary would say."""

from __future__ import annotations

from pathlib import Path

import pytest
from known import Known

from Agent.analysis.session import session_counts
from Agent.archive import open_reader
from Agent.tree.read.reader import summarise


def summed(session: Path) -> dict[str, object]:
    summary = summarise(session, open_reader(session))
    return {
        "events": summary["events"],
        "agents": len(summary["by_agent"]),
        "errors": summary["errors"]["count"],
        "lost": summary["losses"]["lost"],
        "first_timestamp": summary["first_timestamp"],
        "last_timestamp": summary["last_timestamp"],
    }


@pytest.mark.further
def test_counts_of_files_and_of_the_archive_are_those_of_the_summary(known: Known) -> None:
    counts = session_counts(known.truth.session)
    assert counts == summed(known.truth.session)
    assert counts["lost"] > 0
    assert session_counts(known.sealed.session) == counts
