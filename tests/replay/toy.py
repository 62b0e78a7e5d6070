"""A module of toy agents in a file of its own: recorded in this process, changed, and replayed in another."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from Agent import setup_logging, shutdown_logging
from Agent.replay import ReplayReport, replay_run

_numbers = itertools.count(1)

HEAD = """
from Agent.utils import AgentLogger, LearningLogger, trace_agent_action, trace_learning_update, trace_context
"""


class Toy:
    """One toy module: its source, the root that it is recorded under, and what replays it."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self.root = root
        self.name = f"toy_module_{next(_numbers)}"
        self.source = ""

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}.py"

    def write(self, source: str) -> Toy:
        self._save(HEAD + textwrap.dedent(source))
        return self

    def _save(self, source: str) -> None:
        self.source = source
        self.path.write_text(source)
        # Two versions of one module within a second and of one size would share their bytecode.
        second = 1_000_000_000 + 2 * next(_numbers)
        os.utime(self.path, (second, second))

    def record(self, source: str, **options: Any) -> Toy:
        """Write the module and run its `main()` as one session."""
        self.write(source)
        module = importlib.import_module(self.name)
        setup_logging(trace_root=self.root, **options)
        try:
            module.main()
        finally:
            shutdown_logging()
            del sys.modules[self.name]
        return self

    def change(self, old: str, new: str) -> Toy:
        """Change one line of the module; the change must be one."""
        assert self.source.count(old) == 1, (old, self.source.count(old))
        self._save(self.source.replace(old, new))
        return self

    def replay(self, run: str = "last/a", factory: str = "build", **options: Any) -> ReplayReport:
        return replay_run(run, target=f"{self.name}:{factory}", root=self.root, **options)
