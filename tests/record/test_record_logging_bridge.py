"""Third-party `logging` records in the tree."""

import json
import logging
import logging.config
import logging.handlers
import os
import queue
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonFormatter
from record_kit import recording

from Agent.bridges import TraceHandler
from Agent.errors import MissingExtra
from Agent.utils import AgentLogger, trace_agent_action


@pytest.fixture
def log():
    """A logger of its own that speaks to the tree alone."""
    logger = logging.Logger("third.party", 1)  # noqa: LOG001 - not one of the process's
    logger.addHandler(TraceHandler())
    return logger


def test_a_record_is_a_log_event_under_its_own_name(recorded, log):
    log.warning("took %d of %s", 3, "five", extra={"attempt": 2, "host": "h"})
    event = recorded.only("log")
    assert (event["level"], event["logger"], event["message"]) == ("WARNING", "third.party", "took 3 of five")
    assert event["extra"] == {"event_type": "log", "attempt": 2, "host": "h"}


@pytest.mark.parametrize(
    ("number", "level", "name"),
    [(1, "DEBUG", "Level 1"), (10, "DEBUG", None), (25, "INFO", "Level 25"), (40, "ERROR", None), (99, "CRITICAL", "Level 99")],
)  # fmt: skip
def test_a_level_of_its_own_is_the_nearest_below(recorded, log, number, level, name):
    log.log(number, "x")
    event = recorded.only("log")
    assert event["level"] == level and event["extra"].get("level_name") == name


def test_a_record_belongs_to_the_agent_whose_action_runs(recorded, log):
    class Worker:
        agent_id = "w"
        agent_role = "worker"

        @trace_agent_action
        def work(self):
            log.info("inside", extra={"agent_id": "other"})

    Worker().work()
    inside, action = recorded.only("log"), recorded.only("agent_action")
    assert inside["parent_span_id"] == action["span_id"]
    assert inside["extra"]["agent_id"] == "w" and inside["extra"]["agent_role"] == "worker"
    assert inside["extra"]["user.agent_id"] == "other" and inside["logger"] == "third.party"


def test_a_record_that_names_an_agent_is_that_agents_where_none_acts(recorded, log):
    log.info("outside", extra={"agent_id": "a1", "agent_role": "guide"})
    log.info("outside", extra={"agent_id": 5})
    named, unnamed = recorded.of("log")
    assert named["extra"] == {"agent_id": "a1", "agent_role": "guide", "event_type": "log"}
    assert unnamed["extra"] == {"event_type": "log", "agent_id": 5}


def test_an_exception_is_one_error_however_often_it_is_logged(recorded, log):
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("could not %s", "find", extra={"key": 1})
        log.critical("again", exc_info=True)
        AgentLogger("a").exception("and again")
    error = recorded.only("error")
    assert error["message"] == "could not find" and error["extra"]["error_type"] == "LookupError"
    assert error["extra"]["key"] == 1 and "gone" in error["extra"]["traceback"]
    assert error["logger"] == "third.party"
    mentions = recorded.of("log")
    assert [event["level"] for event in mentions] == ["CRITICAL", "ERROR"]
    assert {event["extra"]["error_id"] for event in mentions} == {error["id"]}


def test_an_exception_below_error_keeps_the_level_of_its_record(recorded, log):
    log.info("retrying", exc_info=OSError("busy"))
    error, mention = recorded.only("error"), recorded.only("log")
    assert mention["level"] == "INFO" and mention["extra"]["error_id"] == error["id"]
    log.error("no exception", exc_info=True)  # noqa: LOG014 - that is the case
    assert recorded.of("log")[-1]["message"] == "no exception"


@pytest.mark.parametrize("level", ["info", "error"])
def test_a_value_under_the_name_of_a_secret_among_the_arguments_is_none_in_the_message(recorded, log, level):
    said = {"user": "bob", "password": "Xk29fjQwPz81mV", "api_key": b"zq81Kx7Tw20", "pin": 48291123, "n": 7}
    text = "%(user)s came with %(password)r and %(api_key)s, %(pin)d, %(n)d times"
    handler = log.handlers[0]
    handler.setFormatter(JsonFormatter("%(message)s", rename_fields={"message": "told"}))
    getattr(log, level)(text, said)
    handler.setFormatter(None)
    getattr(log, level)(text, said, exc_info=LookupError("gone"))
    getattr(log, level)(text * 500, said)
    texts = recorded.text
    assert not [value for value in ("Xk29fjQwPz81mV", "zq81Kx7Tw20", "48291123") if value in texts]
    assert "bob came with '[redacted:" in texts and "7 times" in texts


def test_names_among_the_arguments_of_a_message_hide_nothing_where_nothing_is_redacted():
    with recording(redact=False) as events:
        logger = logging.Logger("plain")  # noqa: LOG001 - likewise
        logger.addHandler(TraceHandler())
        logger.info("%(password)s", {"password": "Xk29fjQwPz81mV"})
        assert events.only("log")["message"] == "Xk29fjQwPz81mV"


def test_what_came_through_a_queue_keeps_the_text_of_its_exception(recorded, log):
    waiting = queue.Queue()
    sender = logging.Logger("sender")  # noqa: LOG001 - likewise
    sender.addHandler(logging.handlers.QueueHandler(waiting))
    try:
        raise LookupError("gone")
    except LookupError:
        sender.exception("sent", extra={"n": 1})
    log.handle(waiting.get())
    event = recorded.only("log")
    assert event["level"] == "ERROR" and event["extra"]["n"] == 1 and "LookupError: gone" in event["message"]


def test_a_stack_is_kept_where_it_was_asked_for(recorded, log):
    log.info("here", stack_info=True)
    assert "test_a_stack_is_kept" in recorded.only("log")["extra"]["stack_info"]


@pytest.mark.parametrize("message", [{"event": "x", "n": 1}, {"message": "hello", "n": 1}])
def test_a_mapping_as_message_gives_fields(recorded, log, message):
    before = dict(message)
    log.info(message)
    event = recorded.only("log")
    assert event["message"] == message.get("message", "") and event["extra"]["n"] == 1
    assert message == before


class Raising:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class LogsItself:
    def __init__(self, log):
        self.log = log

    def __str__(self):
        self.log.info("from within %s", self)
        return "itself"


@pytest.mark.parametrize(
    "args",
    [("%d", "x"), ("%s %s", 1), ("%s", Raising()), (Raising(),), ("%(a)s", {"b": 1}), ("x", 1), ("%", 1)],
    ids=lambda args: type(args[-1]).__name__ + str(len(args)),
)
def test_arguments_that_do_not_fit_cost_no_record(recorded, log, args, capfd):
    log.info(*args)
    event = recorded.only("log")
    assert event["extra"].keys() >= {"args"} or len(args) == 1
    assert recorded.health.dropped == {}
    assert capfd.readouterr() == ("", "")


def test_a_value_that_logs_itself_ends(recorded, log):
    log.info("%s", LogsItself(log))
    events = recorded.of("log")
    assert events[-1]["message"] == "itself"
    assert sum(event["message"].startswith("from within") for event in events) == 3
    assert sum(recorded.health.dropped.values()) == 1


def test_no_value_and_no_formatter_raises_into_the_caller(recorded, log, capfd):
    cycle = []
    cycle.append(cycle)

    class Broken(JsonFormatter):
        def process_log_record(self, log_data):
            raise KeyError("broken")

    for value in (cycle, "\udcff", 2**70, float("nan"), b"\xff", object(), Raising(), {1: {2, 3}}):
        log.info("\udcff %s", "x", extra={"value": value})
    log.handlers[0].setFormatter(Broken())
    log.info("kept %d", 1)
    assert [event["message"] for event in recorded.of("log")][-1] == "kept 1"
    assert len(recorded.of("log")) == 9
    assert recorded.health.dropped == {}


def test_secrets_in_records_are_replaced(recorded, log):
    log.info("token %s", "ghp_" + "a1B2" * 9, extra={"password": "hunter2-hunter2", "note": "fine"})
    assert "hunter2" not in recorded.text and "a1B2a1B2" not in recorded.text
    assert recorded.only("log")["extra"]["note"] == "fine"


def test_a_json_formatter_says_which_fields_there_are_and_what_they_are_called(recorded, log):
    formatter = JsonFormatter(
        "%(levelname)s %(lineno)d %(asctime)s",
        rename_fields={"lineno": "line"},
        static_fields={"app": "shop"},
    )
    log.handlers[0].setFormatter(formatter)
    log.info("x", extra={"n": 1})
    extra = recorded.only("log")["extra"]
    assert extra["levelname"] == "INFO" and extra["app"] == "shop" and extra["n"] == 1
    assert isinstance(extra["line"], int) and extra["asctime"][:2] == "20"


def test_the_text_of_another_formatter_is_the_message(recorded, log):
    log.handlers[0].setFormatter(logging.Formatter("<%(name)s> %(message)s"))
    log.info("x %d", 1)
    assert recorded.only("log")["message"] == "<third.party> x 1"


def test_filters_and_levels_hold(recorded, log, level):
    handler = log.handlers[0]
    handler.addFilter(lambda record: "secret" not in record.msg)
    handler.setLevel(logging.INFO)
    log.debug("low")
    log.info("secret")
    log.info("told")
    level("system", 30)
    log.info("too low for the tree")
    log.warning("high enough")
    assert [event["message"] for event in recorded.of("log")] == ["told", "high enough"]


def test_a_filter_may_put_another_record_in_place(recorded, log):
    def replaced(record):
        other = logging.makeLogRecord({**vars(record), "msg": "another"})
        return other if sys.version_info >= (3, 12) else bool(setattr(record, "msg", "another")) or True

    log.handlers[0].addFilter(replaced)
    log.info("one")
    assert recorded.only("log")["message"] == "another"


def test_threads_log_at_one_time(recorded, log):
    def work(number):
        for step in range(200):
            log.info("step", extra={"worker": number, "step": step})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = {(event["extra"]["worker"], event["extra"]["step"]) for event in recorded.of("log")}
    assert len(seen) == 800


def test_a_handler_is_configured_by_name(recorded):
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"tree": {"class": "Agent.bridges.TraceHandler", "level": "INFO"}},
            "loggers": {"configured.by.name": {"handlers": ["tree"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger("configured.by.name")
    try:
        logger.debug("low")
        logger.info("high")
    finally:
        logger.handlers.clear()
    assert recorded.only("log")["message"] == "high"


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_another_thread_logs_leaves_no_lock_behind(recorded, log):
    stop = threading.Event()

    def chatter():
        while not stop.is_set():
            log.info("chatter")

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                log.info("child")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_without_its_library_the_handler_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)
    with pytest.raises(MissingExtra, match="bridges"):
        TraceHandler()


@given(
    template=st.text(max_size=20),
    args=st.lists(
        st.one_of(st.text(max_size=5), st.integers(), st.none(), st.binary(max_size=4)), max_size=3
    ),
    extra=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_any_template_arguments_and_keys_make_one_line(template, args, extra):
    logger = logging.Logger("any", 1)  # noqa: LOG001 - likewise
    logger.addHandler(TraceHandler())
    with recording() as found:
        try:
            logger.info(template, *args, extra=extra)
        except KeyError:  # `logging` itself refuses names of its own
            return
        assert len(found.of("log")) == 1
        json.loads(found.sink.lines[-1])
