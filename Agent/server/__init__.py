"""The service: ingest, which only writes, and query, which only reads. Names only; needs the extra."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.server.app import make_app
    from Agent.server.running import RunningServer
    from Agent.server.serving import serve
    from Agent.server.settings import ServerSettings

__all__ = ["make_app", "RunningServer", "serve", "ServerSettings"]

_HOMES = {
    "make_app": "app",
    "RunningServer": "running",
    "serve": "serving",
    "ServerSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """A name, whose module is loaded when it is first asked for; MissingExtra without what it needs."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from Agent.store.extra import extra_needed

    with extra_needed():
        module = import_module(f"{__name__}.{home}")
    value = globals()[name] = getattr(module, name)
    return value
