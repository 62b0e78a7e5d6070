"""structlog's events in the tree."""

import asyncio
import logging
import subprocess
import sys

import pytest
import structlog

from Agent.bridges import structlog_processor, structlog_renderer
from Agent.utils import AgentLogger, trace_agent_action


@pytest.fixture
def configure():
    """Configures structlog for one test; gives what was printed beside the tree."""
    printed = []

    def printer(logger, method_name, event_dict):
        printed.append(dict(event_dict))
        raise structlog.DropEvent

    def use(*processors, **options):
        chain = processors or (structlog_processor, printer)
        structlog.configure(processors=[*chain], cache_logger_on_first_use=False, **options)
        return printed

    structlog.contextvars.clear_contextvars()
    yield use
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_an_event_is_written_and_goes_on_as_it_was(recorded, configure):
    printed = configure()
    structlog.get_logger().bind(user="u").warning("fetched", rows=3)
    event = recorded.only("log")
    assert (event["level"], event["logger"], event["message"]) == ("WARNING", "structlog", "fetched")
    assert event["extra"] == {"event_type": "log", "user": "u", "rows": 3}
    assert printed == [{"user": "u", "event": "fetched", "rows": 3}]


def test_a_renderer_writes_into_the_tree_alone(recorded, configure, capfd):
    configure(structlog_renderer)
    structlog.get_logger().info("told")
    assert recorded.only("log")["message"] == "told"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("merge", [False, True])
def test_context_variables_of_structlog_are_part_of_each_event(recorded, configure, merge):
    configure(*([structlog.contextvars.merge_contextvars] if merge else []), structlog_renderer)
    with structlog.contextvars.bound_contextvars(request="r-1", rows=1):
        structlog.get_logger().info("fetched", rows=3)
    structlog.get_logger().info("later")
    inside, later = recorded.of("log")
    assert inside["extra"] == {"event_type": "log", "request": "r-1", "rows": 3}
    assert later["extra"] == {"event_type": "log"}


@pytest.mark.parametrize(
    ("method", "level"),
    [("debug", "DEBUG"), ("info", "INFO"), ("msg", "INFO"), ("warn", "WARNING"), ("error", "ERROR"), ("fatal", "CRITICAL")],
)  # fmt: skip
def test_the_level_is_that_of_the_method(recorded, configure, method, level):
    configure(structlog.processors.add_log_level, structlog_renderer)
    getattr(structlog.get_logger(), method)("x")
    assert recorded.only("log")["level"] == level
    assert "level" not in recorded.only("log")["extra"]


def test_an_exception_is_one_error_event(recorded, configure):
    printed = configure()
    log = structlog.get_logger()
    try:
        raise LookupError("gone")
    except LookupError as error:
        log.exception("could not find", key=1)
        log.info("mentioned", exc_info=error)
    event = recorded.only("error")
    assert event["message"] == "could not find" and event["extra"]["key"] == 1
    assert recorded.only("log")["extra"]["error_id"] == event["id"]
    assert printed[0]["exc_info"] is True


def test_an_event_stands_in_the_span_of_the_action_that_runs(recorded, configure):
    configure(structlog_renderer)

    class Worker:
        agent_id = "w"

        @trace_agent_action
        async def work(self):
            await structlog.get_logger().ainfo("inside")

    asyncio.run(Worker().work())
    event, action = recorded.only("log"), recorded.only("agent_action")
    assert event["parent_span_id"] == action["span_id"] and event["extra"]["agent_id"] == "w"


def test_an_agent_that_is_bound_is_the_agent(recorded, configure):
    configure(structlog_renderer)
    structlog.get_logger().bind(agent_id="a1").info("x")
    AgentLogger("a1").info("y")
    assert [event["extra"]["agent_id"] for event in recorded.of("log")] == ["a1", "a1"]


def test_names_of_loggers_are_kept(recorded, configure):
    factory = structlog.stdlib.LoggerFactory()
    configure(structlog.stdlib.add_logger_name, structlog_renderer, logger_factory=factory,
              wrapper_class=structlog.stdlib.BoundLogger)  # fmt: skip
    logging.getLogger("shop.orders").setLevel(logging.DEBUG)
    structlog.get_logger("shop.orders").info("x")
    event = recorded.only("log")
    assert event["logger"] == "shop.orders" and "logger" not in event["extra"]


def test_no_value_breaks_the_program_or_the_line(recorded, configure):
    configure(structlog_renderer)

    class Raising:
        def __str__(self):
            raise RuntimeError("no text")

        __repr__ = __str__

    log = structlog.get_logger()
    for value in (Raising(), "\udcff", 2**80, {1, 2}, float("inf")):
        log.info("\udcff", value=value, agent_id=value)
    log.info(Raising())
    assert len(recorded.of("log")) == 6 and recorded.health.dropped == {}


def test_what_is_below_the_level_is_only_handed_on(recorded, configure, level):
    printed = configure()
    level("system", 30)
    structlog.get_logger().info("low")
    assert recorded.events == [] and len(printed) == 1


@pytest.mark.process
def test_without_its_library_the_bridge_says_what_to_install():
    program = (
        "import sys; sys.modules['structlog'] = None\n"
        "from Agent.errors import MissingExtra\n"
        "from Agent.bridges import TraceHandler\n"
        "try:\n    from Agent.bridges import structlog_processor\n"
        "except MissingExtra as error:\n    assert 'agent-trace[bridges]' in str(error)\n"
        "else:\n    raise SystemExit('it was loaded')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
