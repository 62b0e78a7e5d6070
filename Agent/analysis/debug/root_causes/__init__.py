"""Find the acts that may have caused an issue, at any distance before it.

The package mines relations that hold in a session, finds where they break in one scan (`detectors`, `scan`),
and ranks the candidate causes by one score (`ranking`). All of them read `acts`.
"""

from Agent.analysis.debug.root_causes.acts import Log
from Agent.analysis.debug.root_causes.causes import root_causes
from Agent.analysis.debug.root_causes.detectors.values import Baseline
from Agent.analysis.debug.root_causes.reading import read_log, survey
from Agent.analysis.debug.root_causes.symptoms import Issue

__all__ = ["Baseline", "Issue", "Log", "read_log", "root_causes", "survey"]
