"""What the suites of the peers hold their handlers and formatters to, asked of the bridges, in our words.

Sources: CPython's tests of rotating handlers and of handlers at large, python-json-logger's of its formatters,
structlog's of its output and contexts. The suites themselves are run by `tests/peers/run.py`; where the bridges
differ, `tests/peers/deviations.toml` says why, and docs/RELIABILITY.md in short.
"""

import copy
import datetime
import decimal
import enum
import io
import json
import logging
import logging.handlers
import multiprocessing
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter
from support.session_files import only_session

from Agent import health, setup_logging, shutdown_logging
from Agent.bridges import TraceHandler, structlog_processor, structlog_renderer
from Agent.event.codec import decode_line
from Agent.event.values.values import decode_value
from Agent.tree.read.reader import TreeReader


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
    assert (len(files) > 1) == (count > 1), health()
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


# What the suites themselves showed, run by tests/peers.


@pytest.mark.parametrize(
    "odd", [{}, {"levelno": "WARNING"}, {"levelno": None, "levelname": "?"}, {"levelno": 2.5}]
)
def test_a_record_without_a_number_for_its_level_is_told_and_raises_nothing(recorded, log, odd):
    record = logging.makeLogRecord({"msg": "m", **odd})
    log.handlers[0].handle(record)
    event = recorded.only("log")
    assert event["level"] == "INFO" and event["message"] == "m"
    assert event["extra"]["level_name"] == record.levelname


@pytest.mark.parametrize(
    "formatter", [None, logging.Formatter("%(asctime)s %(message)s"), JsonFormatter("%(asctime)s")]
)
def test_a_record_leaves_the_handler_as_it_came(recorded, log, formatter):
    seen = []
    log.handlers[0].setFormatter(formatter)
    log.addFilter(lambda record: not seen.append((record, dict(vars(record)))))
    log.info("took %d", 3, extra={"own": 1})
    ((record, before),) = seen
    after = vars(record)
    # The standard library's own formatter leaves its traces in a record, ours adds none.
    traces = {"message", "asctime"} if type(formatter) is logging.Formatter else set()
    assert {key: after[key] for key in after if key not in traces} == before


def test_structlogs_formatter_finds_no_keys_that_nobody_set(recorded, log):
    rendered = []

    def keep(_logger, _name, event_dict):
        rendered.append(set(event_dict) - {"_record", "_from_structlog"})
        return "text"

    extra = structlog.stdlib.ExtraAdder()
    log.handlers[0].setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[keep], foreign_pre_chain=[extra])
    )
    log.info("x", extra={"own": 1})
    assert rendered == [{"event", "own"}]
    assert recorded.only("log")["message"] == "text"


def test_call_sites_are_the_programs_where_our_package_is_among_the_ignored(recorded, log):
    site = structlog.processors.CallsiteParameterAdder(
        {structlog.processors.CallsiteParameter.FUNC_NAME}, additional_ignores=["Agent"]
    )

    def render(_logger, _name, event_dict):
        return event_dict["func_name"]

    log.handlers[0].setFormatter(structlog.stdlib.ProcessorFormatter(processors=[site, render]))
    wrapped = structlog.wrap_logger(
        log,
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    wrapped.info("x")
    assert recorded.only("log")["message"].startswith("test_call_sites_are_the_programs")


def test_a_formatter_that_raises_costs_no_record(recorded, log):
    class Broken(logging.Formatter):
        def format(self, record):
            raise LookupError("no")

    log.handlers[0].setFormatter(Broken())
    log.info("kept %d", 1, extra={"own": 1})
    event = recorded.only("log")
    assert event["message"] == "kept 1" and event["extra"]["own"] == 1
    assert recorded.health.dropped == {} and recorded.health.notes


def test_one_odd_key_hides_no_other(recorded, log):
    log.info("x", extra={"text": "t", 5: "five", "5": "text of it", None: 0})
    extra = recorded.only("log")["extra"]
    assert extra == {"event_type": "log", "text": "t", "5": "five", "user.5": "text of it", "None": 0}


def test_a_message_too_long_to_be_one_stands_whole_beside_its_beginning(recorded, log):
    text = "".join(f"{number} " for number in range(2000))
    log.info(text)
    log.error(text, exc_info=ValueError("v"))
    for event in (recorded.only("log"), recorded.only("error")):
        assert event["extra"]["full_message"] == text
        assert len(event["message"]) == 2000 and text.startswith(event["message"])


def test_an_exception_stands_under_the_name_and_in_the_form_that_a_formatter_gives_it(recorded, log):
    try:
        raise LookupError("gone")
    except LookupError:
        log.handlers[0].setFormatter(JsonFormatter("%(exc_info)s", rename_fields={"exc_info": "stack_trace"}))
        log.exception("renamed")
    try:
        raise LookupError("gone")
    except LookupError:
        log.handlers[0].setFormatter(JsonFormatter(exc_info_as_array=True, stack_info_as_array=True))
        log.exception("in lines", stack_info=True)
    try:
        raise LookupError("gone")
    except LookupError:
        log.handlers[0].setFormatter(JsonFormatter("%(exc_info)s %(message)s"))
        log.exception("named")
    renamed, lines, named = (event["extra"] for event in recorded.of("error"))
    assert renamed["stack_trace"] == renamed["traceback"].rstrip("\n") and "exc_info" not in renamed
    assert lines["exc_info"] == lines["traceback"].splitlines() and isinstance(lines["stack_info"], list)
    assert "exc_info" not in named and named["traceback"].endswith("LookupError: gone\n")


def test_a_group_of_exceptions_is_told_with_what_it_holds_and_with_its_notes(recorded, log):
    try:
        inner = ValueError("err 1")
        inner.add_note("note of the inner")
        group = ExceptionGroup("my group", [inner, ExceptionGroup("deeper", [TypeError("err 2")])])
        group.add_note("note of the group")
        raise group
    except ExceptionGroup:
        log.exception("oops")
    error = recorded.only("error")["extra"]
    assert error["error_message"] == "my group (2 sub-exceptions)"
    for text in (
        "ExceptionGroup: my group",
        "note of the group",
        "ValueError: err 1",
        "note of the inner",
        "err 2",
    ):
        assert text in error["traceback"]


def test_a_large_group_is_recorded_with_its_first_hundred_exceptions_and_the_number_of_the_rest(
    recorded, log
):
    def rows(count):
        return [ValueError(f"row {number}") for number in range(count)]

    class Rejected(ExceptionGroup):
        def __init__(self, message, rows, table):
            self.args = (table, message, rows)

        def __new__(cls, message, rows, table):
            return super().__new__(cls, message, rows)

    groups = [
        ExceptionGroup("few", rows(100)),
        ExceptionGroup("many", rows(5_000)),
        ExceptionGroup(
            "nested", [*rows(3), ExceptionGroup("inner", rows(96)), ExceptionGroup("one more", rows(1))]
        ),
        ExceptionGroup("deep", [ExceptionGroup("inner", rows(5_000))]),
        Rejected("own", rows(300), "orders"),
    ]
    for group in groups:
        log.error("oops", exc_info=group)
    errors = [event["extra"] for event in recorded.of("error")]
    assert [error.get("error_left_out") for error in errors] == [None, 4_900, 1, 1, 200]
    assert [len(error["error_args"][1]) for error in errors[:4]] == [100, 100, 4, 0]
    assert [len(error["error_args"][2]) for error in errors[4:]] == [100]
    assert "exceptions" in errors[0]["error_members"] and "error_members" not in errors[1]
    assert "many (5000 sub-exceptions)" in errors[1]["error_message"]


def test_a_group_whose_members_are_shared_at_each_level_costs_no_more_than_a_large_one(recorded, log):
    group = ValueError("once")
    for level in range(60):  # printed by Python, the innermost would stand there 2**60 times
        group = ExceptionGroup(f"level {level}", [group, group])
    log.error("oops", exc_info=group)
    error = recorded.only("error")["extra"]
    assert error["error_message"] == "level 59 (2 sub-exceptions)" and error["error_left_out"] == 2


def test_a_group_with_an_argument_nobody_can_print_keeps_its_notes(recorded, log):
    class Huge:
        def __repr__(self):
            raise RuntimeError("not this one")

    group = ExceptionGroup("my group", [ValueError(Huge(), "x")])
    group.add_note("note of the group")
    log.error("oops", exc_info=group)
    traceback = recorded.only("error")["extra"]["traceback"]
    assert (
        "my group (1 sub-exception)" in traceback and "note of the group" in traceback and "Huge" in traceback
    )


@pytest.mark.parametrize(
    ("rendered", "message"), [("text", "text"), (b"caf\xc3\xa9", "café"), ((("x",), {}), "<builtins.tuple>"), (7, "7")]
)  # fmt: skip
def test_behind_a_renderer_its_text_is_the_message_and_is_handed_on(recorded, rendered, message):
    assert structlog_processor(None, "warning", rendered) is rendered
    event = recorded.only("log")
    assert (event["level"], event["message"]) == ("WARNING", message)


def test_a_handler_that_is_closed_has_its_lines_in_the_mirror(trace_root, log):
    setup_logging(trace_root=trace_root)
    for number in range(10):
        log.info("n", extra={"number": number})
    log.handlers[0].close()
    lines = [
        json.loads(line) for line in (trace_root / "system/system.jsonl").read_bytes().split(b"\n") if line
    ]
    told = [line["extra"]["number"] for line in lines if line["message"] == "n"]
    assert told == list(range(10))


def _log_many(root, child, count):
    setup_logging(trace_root=root, rotation={"system": (20_000, 2000)})
    handler = TraceHandler()
    logger = logging.Logger(f"worker {child}", 1)  # noqa: LOG001 - not one of the process's
    logger.addHandler(handler)
    for number in range(count):
        logger.debug("n", extra={"child": child, "number": number, "padding": "é\u2028\n" * 10})
    handler.close()


@pytest.mark.integration
def test_a_mirror_that_many_processes_rotate_has_every_line_whole_and_once(trace_root):
    processes, count = 6, 300
    forking = multiprocessing.get_context("fork")
    children = [
        forking.Process(target=_log_many, args=(trace_root, number, count)) for number in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * processes
    files = list((trace_root / "system").glob("system.jsonl*"))
    assert len(files) > 5
    lines = [json.loads(line) for path in files for line in path.read_bytes().split(b"\n") if line]
    told = [(line["extra"]["child"], line["extra"]["number"]) for line in lines if line["message"] == "n"]
    assert sorted(told) == [(process, number) for process in range(processes) for number in range(count)]
