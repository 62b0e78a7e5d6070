"""Runs at the start of every Python process that a program of `agent-trace run` starts.

Its directory is in PYTHONPATH of these processes. A `sitecustomize` of the user runs first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_NAME = "sitecustomize"

own = sys.modules.pop(_NAME)
sys.path[:] = [each for each in sys.path if not each or Path(each).resolve() != _HERE]
try:
    import_module(_NAME)
except ModuleNotFoundError as error:
    if error.name != _NAME:
        raise
finally:
    sys.modules.setdefault(_NAME, own)

if str(_HERE.parents[2]) not in sys.path:
    sys.path.append(str(_HERE.parents[2]))
import_module("Agent.cli.run_program").begin_in_child()
