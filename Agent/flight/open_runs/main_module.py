"""Classes of the program that was recorded, `__main__` then, in a process that imported it under its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.errors import InputError
from Agent.event.classes import find_class
from Agent.tree.files.session import open_session

__all__ = ["RecordedProgram"]


class RecordedProgram(Mapping[str, Any]):
    """{`__main__.QualName`: class} for a session; only modules that are loaded already are looked at."""

    def __init__(self, session: Path) -> None:
        self._session = session

    def __getitem__(self, name: str) -> type:
        if name.startswith("__main__.") and find_class(name) is None:
            found = {id(cls): cls for cls in self._candidates(name.removeprefix("__main__."))}
            if len(found) == 1:
                return next(iter(found.values()))
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True  # what it holds is not known before it is asked

    def find(self, name: str) -> type | None:
        """The loaded class of that `module.QualName`."""
        return self.get(name) or find_class(name)

    def modules(self) -> list[str]:
        """Names of the loaded modules that may be the program: those whose file is called as its own."""
        return [
            name
            for name, module in list(sys.modules.items())
            if self._file_name
            and isinstance(file := getattr(module, "__file__", None), str)
            and file.endswith(self._file_name)
            and Path(file).name == self._file_name
        ]

    def _candidates(self, qualname: str) -> Iterator[type]:
        found = (find_class(f"{name}.{qualname}") for name in self.modules())
        return (cls for cls in found if cls is not None)

    @cached_property
    def _file_name(self) -> str | None:
        """What the program's file was called; None where nobody knows."""
        try:
            argv = open_session(self._session).argv
        except InputError:
            return None
        return Path(argv[0]).name if argv else None
