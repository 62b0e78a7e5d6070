"""The standard library's logging with JSON, concurrent-log-handler, loguru: one rotating file for all."""

from __future__ import annotations

import itertools
import logging
import logging.handlers
from typing import Any

from benchmarks.contenders.contract import (
    ACTION,
    AGENT_ID,
    AGENT_ROLE,
    LOGGER,
    MESSAGE,
    Contender,
    Identity,
    Opened,
    Place,
    files,
    identity_of,
    of_action_data,
)


def logger_over(handler: logging.Handler) -> logging.Logger:
    """The logger of the benchmark, whose records this handler writes and no other."""
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def _logging_call(handler: logging.Handler) -> Opened:
    """A logger whose records this handler writes, each as JSON by python-json-logger with orjson."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    failures = itertools.count()
    # Counted instead of printed: a traceback on stderr for each record would be most of what is measured.
    handler.handleError = lambda record: next(failures)  # type: ignore[method-assign,assignment]
    handler.setFormatter(OrjsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True))
    info = logger_over(handler).info

    def call(data: dict[str, Any]) -> object:
        return info(
            MESSAGE,
            extra={
                "agent_id": AGENT_ID,
                "agent_role": AGENT_ROLE,
                "event_type": "agent_action",
                "action_type": ACTION,
                "action_data": data,
            },
        )

    return Opened(call, close=handler.close, lost=failures.__next__)


def _open_stdlib(place: Place, _inherited: Any) -> Opened:
    path = place.directory / "stdlib.log"
    return _logging_call(
        logging.handlers.RotatingFileHandler(path, maxBytes=place.size_bytes, backupCount=place.backups)
    )


def _open_concurrent(place: Place, _inherited: Any) -> Opened:
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    path = str(place.directory / "concurrent.log")
    return _logging_call(
        ConcurrentRotatingFileHandler(path, "a", maxBytes=place.size_bytes, backupCount=place.backups)
    )


def _add_loguru_file(place: Place, enqueue: bool) -> Any:
    from loguru import logger

    logger.remove()
    logger.add(
        place.directory / "loguru.log",
        level="INFO",
        serialize=True,
        rotation=place.size_bytes,
        retention=place.backups,
        enqueue=enqueue,
    )
    return logger


def _loguru_opened(logger: Any, settle: Any, close: Any) -> Opened:
    info = logger.bind(
        agent_id=AGENT_ID, agent_role=AGENT_ROLE, event_type="agent_action", action_type=ACTION
    ).info

    def call(data: dict[str, Any]) -> object:
        return info(MESSAGE, action_data=data)

    return Opened(call, settle, close)


def _open_loguru(place: Place, _inherited: Any) -> Opened:
    logger = _add_loguru_file(place, enqueue=False)
    return _loguru_opened(logger, lambda: None, logger.remove)


def _lead_enqueued(place: Place) -> Any:
    return _add_loguru_file(place, enqueue=True)


def _open_enqueued(place: Place, inherited: Any) -> Opened:
    """The parent's logger, whose queue its thread empties; without a parent, one of its own."""
    logger = inherited if inherited is not None else _lead_enqueued(place)
    return _loguru_opened(logger, logger.complete, lambda: None)


def _loguru_identities(line: dict[str, Any]) -> list[Identity]:
    return [identity_of(line["record"]["extra"]["action_data"])]


_LOGGING = "python-json-logger's OrjsonFormatter, fields through extra="

CONTENDERS = {
    "stdlib logging": Contender(
        packages=("python-json-logger", "orjson"),
        how=f"RotatingFileHandler(maxBytes, backupCount), {_LOGGING}",
        open=_open_stdlib,
        grown=files("stdlib.log*"),
        identities=of_action_data,
    ),
    "concurrent-log-handler": Contender(
        packages=("concurrent-log-handler", "python-json-logger", "orjson"),
        how=f"ConcurrentRotatingFileHandler(maxBytes, backupCount), one for each process, {_LOGGING}",
        open=_open_concurrent,
        grown=files("concurrent.log*"),
        identities=of_action_data,
    ),
    "loguru": Contender(
        packages=("loguru",),
        how="add(file, serialize=True, rotation=size, retention=backups), fields bound and as keywords",
        open=_open_loguru,
        grown=files("loguru*.log"),
        identities=_loguru_identities,
        tail_events=200_000,
    ),
    "loguru, enqueued": Contender(
        packages=("loguru",),
        how="the same with enqueue=True: a thread of the parent writes; a kill loses the queue",
        open=_open_enqueued,
        grown=files("loguru*.log"),
        identities=_loguru_identities,
        lead=_lead_enqueued,
        tail_events=200_000,
    ),
}
