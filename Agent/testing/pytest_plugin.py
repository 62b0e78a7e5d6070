"""The pytest plugin: the fixture `golden_trace` replays a recorded run with the current code.

pytest imports this module in every test run, so it imports nothing before the fixture is used;
`golden_traces.py` does the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from Agent.testing.golden_traces import GoldenTraces


@pytest.fixture
def golden_trace(request: pytest.FixtureRequest) -> GoldenTraces:
    """Call it with the name of a golden trace: the test fails unless the code behaves as recorded."""
    if not request.config.pluginmanager.hasplugin("syrupy"):
        pytest.fail("golden_trace needs syrupy; pip install 'agent-trace[golden]'", pytrace=False)
    from Agent.testing.golden_traces import golden_traces_for

    return golden_traces_for(request)
