"""structlog and eliot, as their own guides have it."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path
from typing import Any

from benchmarks.contenders.contract import (
    ACTION,
    AGENT_ID,
    AGENT_ROLE,
    LOGGER,
    MESSAGE,
    Contender,
    Opened,
    Place,
    files,
    of_action_data,
)
from benchmarks.contenders.handlers import logger_over


def _processors(render: Any) -> list[Any]:
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        render,
    ]


def _bound(**configuration: Any) -> Any:
    import structlog

    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        **configuration,
    )
    info = structlog.get_logger(LOGGER).bind(agent_id=AGENT_ID, agent_role=AGENT_ROLE).info

    def call(data: dict[str, Any]) -> object:
        return info(MESSAGE, event_type="agent_action", action_type=ACTION, action_data=data)

    return call


def _open_on(path: Path) -> Opened:
    import orjson
    import structlog

    file = path.open("ab")
    call = _bound(
        processors=_processors(structlog.processors.JSONRenderer(serializer=orjson.dumps)),
        logger_factory=structlog.BytesLoggerFactory(file=file),
    )
    return Opened(call, close=file.close)


def _open_shared(place: Place, _inherited: Any) -> Opened:
    return _open_on(place.directory / "structlog.log")


def _open_own(place: Place, _inherited: Any) -> Opened:
    return _open_on(place.directory / f"structlog{place.label}.log")


def _open_rotating(place: Place, _inherited: Any) -> Opened:
    """Its way to a rotating file leads through `logging`: the text is made first, the handler writes it."""
    import orjson
    import structlog

    handler = logging.handlers.RotatingFileHandler(
        place.directory / "structlog.log", maxBytes=place.size_bytes, backupCount=place.backups
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger_over(handler)

    def render(_logger: Any, _name: str, event: dict[str, Any]) -> str:
        return orjson.dumps(event).decode()

    call = _bound(processors=_processors(render), logger_factory=structlog.stdlib.LoggerFactory())
    return Opened(call, close=handler.close)


def _open_eliot(place: Place, _inherited: Any) -> Opened:
    import eliot

    file = (place.directory / f"eliot{place.label}.log").open("ab")
    destination = eliot.FileDestination(file=file)
    eliot.add_destinations(destination)
    log_message = eliot.log_message

    def call(data: dict[str, Any]) -> object:
        return log_message(
            "agent_action", agent_id=AGENT_ID, agent_role=AGENT_ROLE, action_type=ACTION, action_data=data
        )

    return Opened(call, close=file.close)


_STRUCTLOG = "merge_contextvars, add_log_level, TimeStamper(iso, utc), orjson, filtering bound logger, cached"

CONTENDERS = {
    "structlog, one file": Contender(
        packages=("structlog", "orjson"),
        how=f"{_STRUCTLOG}; BytesLogger on one file that all append to, no rotation",
        open=_open_shared,
        grown=files("structlog.log*"),
        identities=of_action_data,
        rotates=False,
    ),
    "structlog, a file each": Contender(
        packages=("structlog", "orjson"),
        how=f"{_STRUCTLOG}; BytesLogger, a file a process, no rotation",
        open=_open_own,
        grown=files("structlog*.log"),
        identities=of_action_data,
        rotates=False,
    ),
    "structlog, rotating": Contender(
        packages=("structlog", "orjson"),
        how=f"{_STRUCTLOG}; through logging's RotatingFileHandler with the format %(message)s",
        open=_open_rotating,
        grown=files("structlog.log*"),
        identities=of_action_data,
    ),
    "eliot": Contender(
        packages=("eliot",),
        how="log_message, FileDestination on one file opened in bytes (its own orjson), no rotation",
        open=_open_eliot,
        grown=files("eliot*.log"),
        identities=of_action_data,
        rotates=False,
    ),
}
