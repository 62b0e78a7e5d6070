"""What the suites of the peers hold their handlers and formatters to, asked of the bridges, in our words.

Sources: CPython's tests of rotating handlers and of handlers at large, python-json-logger's of its formatters,
structlog's of its output and contexts. Where the bridges differ, docs/RELIABILITY.md lists it with the reason.
"""

import copy
import datetime
import decimal
import enum
import io
import json
import logging
import logging.handlers
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter
from support.session_files import only_session

from Agent import setup_logging, shutdown_logging
from Agent.bridges import TraceHandler, structlog_renderer
from Agent.event.codec import decode_line
from Agent.event.values import decode_value
from Agent.tree.reader import TreeReader


@pytest.fixture
def log():
    logger = logging.Logger("peer", 1)  # noqa: LOG001 - not one of the process's
    logger.addHandler(TraceHandler())
    return logger


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


# Rotation, as CPython's RotatingFileHandlerTest asks for it.


@pytest.mark.parametrize("count", [1, 40])
def test_a_file_rolls_before_it_grows_beyond_its_size_and_keeps_every_record_in_order(trace_root, log, count):
    session = setup_logging(trace_root=trace_root, segment_size_bytes=4096)
    for number in range(count):
        log.info("%s", "x" * 400, extra={"number": number})
    shutdown_logging()
    files = sorted(session.path.glob("system*.log"))
    assert (len(files) > 1) == (count > 1)
    assert all(path.stat().st_size <= 4096 for path in files)
    numbers = [event.extra["number"] for event in TreeReader(session.path).events() if event.kind == "log"]
    assert numbers == list(range(count))


def test_a_record_larger_than_a_file_is_one_record_all_the_same(trace_root, log):
    session = setup_logging(trace_root=trace_root, segment_size_bytes=4096)
    log.info("before")
    log.info("large", extra={"value": "y" * 20_000})
    log.info("after")
    shutdown_logging()
    events = [event for event in TreeReader(session.path).events() if event.kind == "log"]
    assert [event.message for event in events] == ["before", "large", "after"]
    assert len(events[1].extra["value"]) == 20_000


def test_no_file_is_made_before_the_first_record(trace_root, log):
    assert not trace_root.exists()
    log.info("first")
    assert [path.name for path in only_session(trace_root).glob("system*.log")] == ["system.log"]


# Handlers at large.


def test_one_record_through_two_handlers_is_what_each_makes_of_it(recorded, log):
    stream = io.StringIO()
    other = logging.StreamHandler(stream)
    other.setFormatter(logging.Formatter("%(levelname)s:%(message)s"))
    log.addHandler(other)
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("failed %d", 1)
    assert stream.getvalue().startswith("ERROR:failed 1\nTraceback")
    assert recorded.only("error")["message"] == "failed 1"


def test_a_closed_or_flushed_handler_can_still_be_called(recorded, log):
    handler = log.handlers[0]
    handler.flush()
    handler.close()
    log.info("after")
    assert recorded.only("log")["message"] == "after"


def test_records_of_a_queue_listener_arrive_in_order(recorded):
    import queue

    waiting = queue.Queue()
    listener = logging.handlers.QueueListener(waiting, TraceHandler())
    sender = logging.Logger("sender", 1)  # noqa: LOG001 - not one of the process's
    sender.addHandler(logging.handlers.QueueHandler(waiting))
    listener.start()
    for number in range(100):
        sender.info("n", extra={"number": number})
    listener.stop()
    assert [event["extra"]["number"] for event in recorded.of("log")] == list(range(100))


def test_a_memory_handler_hands_its_records_on(recorded):
    memory = logging.handlers.MemoryHandler(10, flushLevel=logging.ERROR, target=TraceHandler())
    logger = logging.Logger("memory", 1)  # noqa: LOG001 - not one of the process's
    logger.addHandler(memory)
    logger.debug("held")
    assert recorded.events == []
    logger.error("out")
    memory.close()
    assert [event["message"] for event in recorded.of("log")] == ["held", "out"]


# Formatters, as python-json-logger's suite asks for them.


@pytest.mark.parametrize("formatter", [JsonFormatter, OrjsonFormatter])
@pytest.mark.parametrize(
    ("style", "template"),
    [("%", "%(levelname)s %(lineno)d"), ("{", "{levelname} {lineno}"), ("$", "${levelname} ${lineno}"), (",", "levelname,lineno")],
)  # fmt: skip
def test_formats_of_each_style_name_fields(recorded, log, formatter, style, template):
    log.handlers[0].setFormatter(formatter(template, style=style))
    log.info("x")
    extra = recorded.only("log")["extra"]
    assert extra["levelname"] == "INFO" and extra["lineno"] > 0


def test_fields_are_renamed_and_added_and_defaults_hold(recorded, log):
    formatter = JsonFormatter(
        ["message", "levelname"], rename_fields={"levelname": "LEVEL", "n": "number"},
        static_fields={"stream": "kafka"}, defaults={"unit": "s", "n": 0},
    )  # fmt: skip
    log.handlers[0].setFormatter(formatter)
    log.info("x", extra={"n": 2, "unit": "ms"})
    extra = recorded.only("log")["extra"]
    assert extra == {"event_type": "log", "LEVEL": "INFO", "stream": "kafka", "unit": "ms", "number": 2}


VALUES = {
    "datetime": datetime.datetime(2026, 11, 20, 10, 30, tzinfo=datetime.UTC),
    "date": datetime.date(1999, 12, 31),
    "time": datetime.time(23, 59, 59, 999999),
    "timedelta": datetime.timedelta(days=1, seconds=30),
    "uuid": uuid.UUID(int=5),
    "bytes": b"some-bytes",
    "complex": 1 + 2j,
    "decimal": decimal.Decimal("0.10"),
    "enum": Colour.RED,
    "dataclass": Point(1, 2),
    "nested": {"a": [1, {"b": (2, 3)}], "none": None},
    "ordered": OrderedDict(b=1, a=2),
    "numeric keys": {1: "one", 2.5: "two"},
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_json_cannot_hold_come_back_as_what_they_were(recorded, log, name):
    value = VALUES[name]
    log.info("x", extra={"value": value})
    event = decode_line(recorded.sink.lines[-1])
    back = decode_value(event.extra["value"], event.types or {}, "/extra/value")
    assert back == value and type(back) is type(value)


def test_values_no_codec_knows_are_told_not_lost(recorded, log):
    log.info("x", extra={"kind": int, "error": ValueError("v"), "worker": threading.current_thread()})
    extra = recorded.only("log")["extra"]
    assert {"kind", "error", "worker"} <= extra.keys() and recorded.health.dropped == {}


def test_a_message_that_is_a_mapping_stays_the_callers(recorded, log):
    message = {"message": "told", "nested": {"a": [1]}}
    before = copy.deepcopy(message)
    log.error(message, exc_info=ValueError("v"))
    assert message == before
    assert recorded.only("error")["message"] == "told"


# Output and contexts, as structlog's suite asks for them.


@pytest.fixture
def configured():
    structlog.contextvars.clear_contextvars()
    structlog.configure(processors=[structlog_renderer], cache_logger_on_first_use=False)
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_binding_makes_another_logger_and_unbinding_takes_away(recorded, configured):
    log = structlog.get_logger().bind(a=1)
    log.bind(b=2).info("both")
    log.info("one")
    log.unbind("a").new(c=3).info("new")
    kept = [set(event["extra"]) - {"event_type"} for event in recorded.of("log")]
    assert kept == [{"a", "b"}, {"a"}, {"c"}]


def test_contexts_of_threads_are_their_own(recorded, configured):
    def work(number):
        structlog.contextvars.bind_contextvars(number=number)
        structlog.get_logger().info("told", expected=number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event["extra"]["number"] for event in recorded.of("log")) == list(range(8))
    assert all(event["extra"]["number"] == event["extra"]["expected"] for event in recorded.of("log"))


def test_every_event_is_one_line_of_json(recorded, configured):
    structlog.get_logger().info("first\nsecond\r\n\u2028third", more="a\nb")
    (line,) = recorded.sink.lines
    assert line.count(b"\n") == 1 and json.loads(line)["extra"]["more"] == "a\nb"
