"""From an issue to the acts that may have begun it, however far before it they lie.

Relations that hold in a session are mined from it, one scan finds where they break (`detectors`, `scan`), and
one score orders what may have begun the issue (`ranking`). `acts` is what all of them read.
"""

from Agent.analysis.debug.root_causes.acts import Log
from Agent.analysis.debug.root_causes.causes import root_causes
from Agent.analysis.debug.root_causes.reading import read_log, survey

__all__ = ["Log", "read_log", "root_causes", "survey"]
