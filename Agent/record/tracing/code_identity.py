"""Which code ran: a digest of a function's source, and the `code` event that tells what the digest means."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from Agent.event.values.digest import code_digest
from Agent.tree.undisturbed import undisturbed

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline

_MAX_SOURCE_CHARS = 16_384


def _importable(module: str) -> str:
    """The name under which a replay imports the module: a script's own, where it runs as `__main__`."""
    if module != "__main__":
        return module
    script = sys.modules[module]
    spec = getattr(script, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    return os.path.splitext(os.path.basename(getattr(script, "__file__", None) or module))[0]  # noqa: PTH119, PTH122


class CodeIdentity:
    """Module, qualified name, source and digest of one function.

    Where there is no source (an interactive prompt, a frozen program) the compiled code stands for it.
    """

    __slots__ = ("digest", "module", "qualname", "source", "tail", "tail_unchanged")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.module = _importable(str(getattr(function, "__module__", "")))
        self.qualname = str(getattr(function, "__qualname__", type(function).__qualname__))
        self.source: str | None
        try:
            self.source = inspect.getsource(function)
        except (OSError, TypeError):
            self.source = None
        code = getattr(function, "__code__", None)
        told = self.source or (
            code.co_code.hex() + repr(code.co_names) if code is not None else self.qualname
        )
        self.digest = code_digest(self.module, self.qualname, told)
        # What the line of an action ends with, for an agent without state and for one that changed nothing.
        self.tail = b',"code":"%s"' % self.digest.encode()
        self.tail_unchanged = self.tail + b',"state":{"set":{},"unset":[]}'

    @undisturbed()
    def tell(self, pipeline: Pipeline) -> None:
        """Write the `code` event; callers look into `pipeline.codes_told` first, since once is enough."""
        pipeline.codes_told.add(self)
        payload: dict[str, Any] = {"digest": self.digest, "module": self.module, "qualname": self.qualname}
        if self.source is not None:
            payload["source"] = self.source[:_MAX_SOURCE_CHARS]
        slot = pipeline.binding(None, None, "system", "system").slot("code", 10)
        pipeline.emit(slot, self.qualname, payload)
