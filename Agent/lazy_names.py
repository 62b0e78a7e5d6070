"""Names that are loaded when they are first asked for, and the one error where their extra is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from Agent.errors import MissingExtra


def lazy_names(
    package: str,
    homes: Mapping[str, str],
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[[str], Any]:
    """A `__getattr__` for the module of a package.

    Args:
        package: its full name.
        homes: by module, below the package or by its full name, the public names that it holds.
        within: the block that a module is imported in, such as one that explains what is not installed.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        with within():
            module = import_module(home if home.startswith("Agent.") else f"{package}.{home}")
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find


_OF_EXTRA: Final = {
    "alembic": "alembic",
    "fastapi": "fastapi",
    "google": "protobuf",
    "mcp": "mcp",
    "mcp_types": "mcp",
    "numpy": "numpy",
    "opentelemetry": "opentelemetry-proto",
    "psycopg": "psycopg[binary]",
    "pydantic": "fastapi",
    "sqlalchemy": "sqlalchemy",
    "starlette": "fastapi",
    "uvicorn": "uvicorn",
}


@contextmanager
def extra_needed(extra: str = "server", what: str = "the service") -> Iterator[None]:
    """Turns the failed import of a library of an extra into one clear error.

    Args:
        extra: the extra that installs the library.
        what: what needs it.

    Raises:
        MissingExtra: a library of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = _OF_EXTRA.get((error.name or "").partition(".")[0])
        if library is None:
            raise
        raise MissingExtra(
            f"{what} needs {library}, which is not installed",
            remedy=f'install it with: pip install "agent-trace[{extra}]"',
        ) from None
