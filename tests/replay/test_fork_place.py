"""A fork is a session of its own beside the original; where none can be made, the error says so."""

import pytest

from Agent.errors import InputError
from Agent.replay.forks.fork import new_session
from Agent.tree.files.session import Lineage


def test_a_root_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    lineage = Lineage("last/a", "20261120_103045", "uid", "tick:3")
    with pytest.raises(InputError, match="no session can be made there") as caught:
        new_session(tmp_path / "file" / "trace", lineage, {}, {})
    assert str(tmp_path / "file" / "trace") in str(caught.value) and caught.value.remedy
