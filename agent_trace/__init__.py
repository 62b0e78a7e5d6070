"""`agent_trace` is `Agent` under the name of the distribution: the same modules, not copies of them.

`import agent_trace.flight` gives the module `Agent.flight`, so each class and registry exists once, whichever
name a program uses. Type checkers find submodules under `Agent` only.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

import Agent
from Agent import *  # noqa: F403 - for type checkers; an import gives `Agent` itself

_ALIAS = f"{__name__}."


class _SameModule(MetaPathFinder, Loader):
    """Finds `agent_trace.NAME` as the module `Agent.NAME`."""

    def __init__(self) -> None:
        self._own_specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for submodules that `Agent` has."""
        del path, target
        if not fullname.startswith(_ALIAS):
            return None
        try:
            found = importlib.util.find_spec(_own_name(fullname))
        except ModuleNotFoundError:
            return None
        return None if found is None else ModuleSpec(fullname, self, origin=found.origin)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, imported under its own name."""
        module = importlib.import_module(_own_name(spec.name))
        self._own_specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Put back the module's own spec, which the import system has replaced by the alias's."""
        spec = module.__spec__
        if spec is not None and spec.name in self._own_specs:
            module.__spec__ = self._own_specs.pop(spec.name)

    def get_code(self, fullname: str) -> CodeType | None:
        """What `python -m` runs."""
        spec = importlib.util.find_spec(_own_name(fullname))
        loader = None if spec is None else spec.loader
        return loader.get_code(_own_name(fullname)) if isinstance(loader, InspectLoader) else None


def _own_name(alias: str) -> str:
    return f"{Agent.__name__}.{alias.removeprefix(_ALIAS)}"


sys.meta_path.insert(0, _SameModule())
sys.modules[__name__] = Agent
