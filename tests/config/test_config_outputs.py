"""Formatters, filters and handlers of `LOGGING_CONFIG`: who gets which event, in what form."""

import copy
import io
import json
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.processes import run_python

import Agent
from Agent import (
    AgentLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
)
from Agent.config.handlers import open_outlets
from Agent.config.logging_config import LOGGING_CONFIG, options_in
from Agent.config.text_mirrors import as_log_record
from Agent.errors import ConfigurationError


class Kept(logging.Handler):
    """Keeps the records that it is given."""

    def __init__(self, level=0):
        super().__init__(level)
        self.records = []

    def emit(self, record):
        self.records.append(record)


class QuietFilter(logging.Filter):
    """Lets nothing pass that says so in its payload."""

    def filter(self, record):
        return not getattr(record, "quiet", False)


@pytest.fixture
def config():
    return copy.deepcopy(LOGGING_CONFIG)


@pytest.fixture
def kept(config):
    """A handler of the test's own at the logger `agent`."""
    handler = Kept()
    config["handlers"]["kept"] = {"()": lambda: handler}
    config["loggers"]["agent"]["handlers"].append("kept")
    return handler


def recorded_ids(session):
    return [json.loads(line)["id"] for path in session.path.rglob("*.log") for line in lines_of(path)]


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def test_an_additional_handler_gets_each_event_as_a_record_in_order(kept, config):
    session = setup_logging(config)
    logger = AgentLogger("creator_001", "creator")
    ids = [logger.log_action("create", {"n": n}) for n in range(200)]
    assert [record.event_id for record in kept.records] == ids
    record = kept.records[7]
    assert (record.name, record.levelname, record.levelno) == ("agent.creator", "INFO", 20)
    assert record.getMessage() == "Agent action: create"
    assert (record.agent_id, record.agent_role, record.event_type) == (
        "creator_001",
        "creator",
        "agent_action",
    )
    assert (record.action_type, record.action_data) == ("create", {"n": 7})
    assert record.session_id == session.session_id and record.tick is None
    assert record.event["id"] == ids[7] and record.event["extra"]["action_data"] == {"n": 7}
    assert abs(record.created - time.time()) < 60
    shutdown_logging()
    assert set(ids) <= set(recorded_ids(session))


def test_keys_with_the_names_of_a_records_own_stay_in_the_event(kept, config):
    setup_logging(config)
    AgentLogger("a").info(
        "told 100 %s", {"args": [1], "name": "x", "msg": "y", "event": 3, "tick": 9, "other": 4}
    )
    record = kept.records[-1]
    assert record.getMessage() == "told 100 %s"
    assert (record.name, record.args, record.tick, record.other) == ("agent.agent", (), None, 4)
    assert record.event["extra"]["args"] == [1]


def test_what_a_handler_gets_is_redacted(kept, config):
    setup_logging(config)
    AgentLogger("a").log_action("login", {"password": "correct horse battery", "user": "u"})
    shown = str(vars(kept.records[0]))
    assert "correct horse" not in shown and "redacted" in shown


def test_handlers_get_the_loggers_that_name_them_and_roots_those_of_all(config):
    handlers = {name: Kept() for name in ("agents", "root", "errors", "nobody")}
    for name, handler in handlers.items():
        config["handlers"][name] = {"()": lambda handler=handler: handler}
    config["loggers"]["agent"]["handlers"] = ["agent_file", "agents"]
    config["loggers"]["error"]["handlers"] = ["error_file", "errors"]
    config["loggers"]["performance"]["propagate"] = False
    config["root"]["handlers"] = ["root"]
    setup_logging(config, buffer_entries=0)
    AgentLogger("a").info("one")
    SystemLogger().info("two")
    PerformanceLogger().info("three")
    AgentLogger("a").error("four")
    try:
        raise ValueError("five")
    except ValueError:
        AgentLogger("a").exception("five")
    got = {name: [record.getMessage() for record in handler.records] for name, handler in handlers.items()}
    assert got == {
        "agents": ["one", "four", "five"],
        "root": ["one", "two", "four", "five"],
        "errors": ["four", "five"],
        "nobody": [],
    }
    assert "ValueError: five" in logging.Formatter().format(handlers["errors"].records[-1])


def test_levels_and_filters_of_handlers_and_loggers_are_obeyed(config, trace_root):
    class Strict(Kept):
        told = []

        def emit(self, record):
            self.told.append(record.getMessage())

    config["filters"]["quiet"] = {"()": QuietFilter}
    config["handlers"]["strict"] = {"class": Strict, "filters": ["quiet"], "level": "WARNING"}
    config["loggers"]["learning"].update(handlers=["learning_file", "strict"], filters=["quiet"])
    config["loggers"]["agent"]["handlers"].append("strict")
    config["handlers"]["agent_file"].update(level="WARNING", filters=["quiet"])
    session = setup_logging(config)
    for logger in (AgentLogger("a"), LearningLogger("a")):
        for level in ("info", "warning"):
            getattr(logger, level)(f"loud {level}")
            getattr(logger, level)(f"still {level}", {"quiet": True})
    shutdown_logging()
    agents, learning = (trace_root / name / f"{name}.log" for name in ("agents", "learning"))
    assert [json.loads(line)["message"] for line in lines_of(agents)] == ["loud warning"]
    assert [json.loads(line)["message"] for line in lines_of(learning)] == ["loud info", "loud warning"]
    assert Strict.told == ["loud warning", "loud warning"]
    told = [json.loads(line)["message"] for path in session.path.rglob("*.log") for line in lines_of(path)]
    assert sum("still" in message for message in told) == 4


def test_a_formatter_makes_the_lines_of_a_category_file_and_the_record_stays_json(config, trace_root):
    config["formatters"]["mine"] = {
        "format": "{levelname:8} {agent_id} {message} {action_data}",
        "style": "{",
    }
    config["handlers"]["agent_file"]["formatter"] = "mine"
    session = setup_logging(config)
    logger = AgentLogger("a1")
    for n in range(150):
        logger.log_action("go", {"n": n})
    shutdown_logging()
    lines = lines_of(trace_root / "agents" / "agents.log")
    assert lines == [f"INFO     a1 Agent action: go {{'n': {n}}}" for n in range(150)]
    assert len([json.loads(line) for line in lines_of(session.path / "agents" / "a1.log")]) >= 150


def test_datefmt_classes_and_factories_of_formatters_work(config, trace_root):
    class Shouting(logging.Formatter):
        def __init__(self, mark="!", **more):
            super().__init__(**more)
            self.mark = mark

        def format(self, record):
            return record.getMessage().upper() + self.mark

    config["formatters"]["dated"] = {"format": "%(asctime)s|%(message)s", "datefmt": "%Y"}
    config["formatters"]["shouting"] = {"()": Shouting, "mark": "?"}
    config["handlers"]["agent_file"]["formatter"] = "dated"
    config["handlers"]["event_file"]["formatter"] = "shouting"
    config["handlers"]["system_file"]["formatter"] = "text"
    config["loggers"]["system"]["handlers"] = ["system_file", "event_file"]
    setup_logging(config)
    AgentLogger("a").info("one")
    SystemLogger().info("two")
    shutdown_logging()
    assert lines_of(trace_root / "agents" / "agents.log") == [f"{time.strftime('%Y')}|one"]
    assert lines_of(trace_root / "events" / "events.log") == ["TWO?"]
    assert "INFO" in lines_of(trace_root / "system" / "system.jsonl")[0]
    assert lines_of(trace_root / "system" / "system.jsonl") == lines_of(trace_root / "system" / "system.log")


def test_the_json_formatter_gives_the_very_line_of_the_record(config):
    stream = io.StringIO()
    config["handlers"]["out"] = {"class": "logging.StreamHandler", "stream": stream, "formatter": "json"}
    config["root"]["handlers"] = ["out"]
    session = setup_logging(config)
    AgentLogger("a").log_action("x", {"f": 0.1, "big": 2**70, "text": "ä\n\u2028", "t": (1, 2), "e": 1e300})
    shutdown_logging()
    line = next(line for line in stream.getvalue().splitlines(keepends=True) if "Agent action" in line)
    assert line in (session.path / "agents" / "a.log").read_text()


def test_no_handlers_mean_no_file_and_the_record_is_whole(config, trace_root):
    config["loggers"]["agent"]["handlers"] = []
    config["loggers"]["error"]["handlers"] = []
    session = setup_logging(config)
    AgentLogger("a").error("told")
    SystemLogger().info("told")
    shutdown_logging()
    assert not (trace_root / "agents").exists() and not (trace_root / "errors").exists()
    assert (trace_root / "system" / "system.log").exists()
    assert "told" in (session.path / "agents" / "a.log").read_text()


def test_a_category_may_go_into_the_file_of_another_once(config, trace_root):
    config["loggers"]["learning"]["handlers"] = ["agent_file"]
    config["loggers"]["error"]["handlers"] = ["agent_file"]
    setup_logging(config)
    LearningLogger("a").info("one")
    AgentLogger("a").error("two")
    shutdown_logging()
    lines = lines_of(trace_root / "agents" / "agents.log")
    assert [json.loads(line)["message"] for line in lines] == ["one", "two"]
    assert not (trace_root / "learning").exists()


def test_a_twin_belongs_to_the_logger_of_its_category(config, trace_root):
    config["loggers"]["agent"]["handlers"] = ["system_file"]
    config["loggers"]["system"]["handlers"] = []
    setup_logging(config)
    AgentLogger("a").info("one")
    SystemLogger().info("two")
    shutdown_logging()
    lines = lines_of(trace_root / "system" / "system.jsonl")
    assert [json.loads(line)["message"] for line in lines] == ["one"]
    assert not (trace_root / "system" / "system.log").exists()


def test_a_changed_filename_is_honoured_below_the_root_or_where_it_says(config, trace_root, tmp_path):
    config["handlers"]["agent_file"]["filename"] = "people/all agents.log"
    config["handlers"]["learning_file"]["filename"] = tmp_path / "elsewhere" / "learning.log"
    # The name that a text twin would have: the twin gives way.
    config["handlers"]["system_file"].update(filename="system/system.log", formatter="text")
    setup_logging(config)
    for logger in (AgentLogger("a"), LearningLogger("a"), SystemLogger()):
        logger.info("told")
    shutdown_logging()
    assert len(lines_of(trace_root / "people" / "all agents.log")) == 1
    assert len(lines_of(tmp_path / "elsewhere" / "learning.log")) == 1
    assert len(lines_of(trace_root / "system" / "system.log")) == 1
    assert not (trace_root / "agents" / "agents.log").exists() and not (trace_root / "learning").exists()
    assert not (trace_root / "system" / "system.jsonl").exists()
    for path in (trace_root / "people" / "all agents.log", tmp_path / "elsewhere" / "learning.log"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_in_a_form_of_its_own_is_rotated_by_its_own_size(config, trace_root):
    config["formatters"]["short"] = {"format": "%(message)s"}
    config["handlers"]["agent_file"].update(formatter="short", maxBytes=4000, backupCount=3)
    setup_logging(config)
    logger = AgentLogger("a")
    for n in range(2000):
        logger.info(f"message {n:5}")  # noqa: G004
    shutdown_logging()
    files = sorted((trace_root / "agents").glob("agents.log*"))
    assert [path.name for path in files] == ["agents.log", "agents.log.1", "agents.log.2", "agents.log.3"]
    assert all(path.stat().st_size <= 4000 for path in files)
    assert lines_of(files[0])[-1] == "message  1999"


def test_a_handler_that_raises_is_counted_and_told_once_and_nobody_else_suffers(kept, config, capfd):
    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("broken")

        def close(self):
            super().close()
            raise OSError("broken, too")

    class Failing(logging.StreamHandler):
        """Handles its failure as those of the standard library do."""

    config["handlers"]["broken"] = {"()": Broken}
    config["handlers"]["failing"] = {"()": Failing, "stream": None}
    config["loggers"]["agent"]["handlers"] = ["broken", "failing", "kept", "agent_file"]
    session = setup_logging(config)
    closed = io.StringIO()
    closed.close()
    outlets = sys.modules["Agent.config.recording"]._current.pipeline.mirrors.takers
    outlets._handlers["failing"].stream = closed
    ids = [AgentLogger("a").info("told") for _ in range(5)]
    assert all(ids) and [record.event_id for record in kept.records] == ids
    counted = Agent.health()["handlers"]
    assert counted == {"handler 'broken': OSError": 5, "handler 'failing': ValueError": 5}
    shutdown_logging()
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("agent-trace: handler")]
    assert len(told) == 2, told
    assert set(ids) <= set(recorded_ids(session))


def test_a_formatter_or_filter_that_raises_leaves_the_json_line(config, trace_root, capfd):
    def broken(record):
        raise KeyError("x")

    config["formatters"]["bad"] = {"format": "%(nothing)s"}
    config["filters"]["bad"] = {"()": lambda: broken}
    config["handlers"]["agent_file"]["formatter"] = "bad"
    config["loggers"]["learning"]["filters"] = ["bad"]
    setup_logging(config)
    AgentLogger("a").info("one")
    LearningLogger("a").info("two")
    AgentLogger("a").info("three")
    Agent.health()
    shutdown_logging()
    lines = lines_of(trace_root / "agents" / "agents.log")
    assert [json.loads(line)["message"] for line in lines] == ["one", "three"]
    assert json.loads(lines_of(trace_root / "learning" / "learning.log")[0])["message"] == "two"
    assert capfd.readouterr().err.count("`Agent.health()` counts it") == 2


def test_a_handler_that_logs_through_us_does_not_go_round(kept, config):
    from Agent.bridges import TraceHandler

    foreign = logging.getLogger("tests.outputs.foreign")
    foreign.propagate = False
    foreign.setLevel("DEBUG")
    bridge = TraceHandler()
    foreign.addHandler(bridge)

    class Talkative(logging.Handler):
        def emit(self, record):
            foreign.info("sent %s", record.event_id)
            AgentLogger("of the handler").info("sent")

    class Onward(logging.Handler):
        def emit(self, record):
            foreign.handle(record)

    config["handlers"]["talkative"] = {"()": Talkative}
    config["handlers"]["onward"] = {"()": Onward}
    config["root"]["handlers"] = ["talkative", "onward"]
    try:
        session = setup_logging(config)
        told = AgentLogger("a").info("told")
        shutdown_logging()
    finally:
        foreign.removeHandler(bridge)
    messages = [
        json.loads(line)["message"] for path in session.path.rglob("*.log") for line in lines_of(path)
    ]
    assert messages.count("told") == 1
    assert messages.count(f"sent {told}") == 1 and messages.count("sent") == 1
    assert [record.getMessage() for record in kept.records] == ["told"]


def test_a_formatter_that_logs_does_not_go_round(config, trace_root):
    class Talkative(logging.Formatter):
        def format(self, record):
            AgentLogger("of the formatter").info("formatted")
            return record.getMessage()

    config["formatters"]["talkative"] = {"()": Talkative}
    config["handlers"]["agent_file"]["formatter"] = "talkative"
    session = setup_logging(config)
    AgentLogger("a").info("told")
    shutdown_logging()
    assert lines_of(trace_root / "agents" / "agents.log") == ["told"]
    messages = [
        json.loads(line)["message"] for path in session.path.rglob("*.log") for line in lines_of(path)
    ]
    assert messages.count("told") == 1 and messages.count("formatted") <= 1


def test_threads_share_handlers_and_each_ones_order_is_kept(kept, config):
    setup_logging(config)

    def work(name):
        logger = AgentLogger(name)
        for n in range(200):
            logger.log_action("x", {"n": n})

    threads = [threading.Thread(target=work, args=(f"a{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        mine = [record.action_data["n"] for record in kept.records if record.agent_id == f"a{number}"]
        assert mine == list(range(200))


def test_handlers_of_the_standard_library_are_built_as_dictconfig_builds_them(config, tmp_path):
    config["formatters"]["plain"] = {"format": "%(levelname)s %(message)s"}
    rolling, memory = tmp_path / "rolling.log", tmp_path / "memory.log"
    config["handlers"] |= {
        "rolling": {
            "class": "logging.handlers.RotatingFileHandler", "filename": str(rolling), "maxBytes": 300,
            "backupCount": 1, "formatter": "plain",
        },
        "buffered": {"class": "logging.handlers.MemoryHandler", "capacity": 100, "target": "target"},
        "target": {"class": "logging.FileHandler", "filename": str(memory), "formatter": "plain"},
        "queued": {"()": logging.handlers.QueueHandler, "queue": queue.Queue()},
    }  # fmt: skip
    config["loggers"]["agent"]["handlers"] += ["rolling", "buffered", "target", "queued"]
    setup_logging(config)
    for n in range(30):
        AgentLogger("a").info(f"message {n}")
    shutdown_logging()
    assert lines_of(rolling)[-1] == "INFO message 29"
    assert rolling.with_name("rolling.log.1").exists()
    assert len(lines_of(memory)) == 60


def test_a_user_class_by_its_name_gets_its_arguments(config, tmp_path):
    (tmp_path / "own_handlers.py").write_text(
        "import logging\nclass Teller(logging.Handler):\n    told = []\n"
        "    def __init__(self, prefix): super().__init__(); self.prefix = prefix\n"
        "    def emit(self, record): self.told.append(self.prefix + record.getMessage())\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        config["handlers"]["own"] = {"class": "own_handlers.Teller", "prefix": ">"}
        config["root"]["handlers"] = ["own"]
        setup_logging(config)
        AgentLogger("a").info("told")
        assert sys.modules["own_handlers"].Teller.told == [">told"]
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("own_handlers", None)


@pytest.mark.parametrize(
    ("handler", "word"),
    [
        ({"class": "no_such_module.Handler"}, "no_such_module"),
        ({"class": "logging.NoSuchHandler"}, "NoSuchHandler"),
        ({"class": "logging.FileHandler"}, "filename"),
        ({"class": "logging.StreamHandler", "colour": "red"}, "colour"),
        ({"class": "logging.StreamHandler", "formatter": "jsn"}, "did you mean 'json'"),
        ({"class": "logging.StreamHandler", "level": "LOUD"}, "LOUD"),
        ({"class": "logging.StreamHandler", "filters": ["nothing"]}, "nothing"),
        ({"class": "logging.FileHandler", "filename": "/no/such/directory/x.log"}, "no/such"),
    ],
)
def test_a_handler_that_cannot_be_is_refused_and_what_runs_goes_on(config, handler, word, trace_root):
    running = setup_logging()
    config["handlers"]["own"] = handler
    config["loggers"]["agent"]["handlers"].append("own")
    with pytest.raises(ConfigurationError) as refused:
        setup_logging(config)
    assert word in str(refused.value) and "own" in refused.value.message
    assert refused.value.remedy and "\n" not in str(refused.value)
    assert AgentLogger("a").info("told") and setup_logging().path == running.path
    shutdown_logging()
    assert len(list(trace_root.glob("session_*"))) == 1


@pytest.mark.parametrize(
    "formatter", [{"format": "%(x"}, {"()": "no.such"}, {"style": "!"}, {"class": 5}], ids=str
)
def test_a_formatter_that_cannot_be_is_refused(config, formatter, trace_root):
    config["formatters"]["own"] = formatter
    config["handlers"]["agent_file"]["formatter"] = "own"
    with pytest.raises(ConfigurationError, match="own"):
        setup_logging(config)
    assert not trace_root.exists()


def test_the_users_own_logging_is_left_as_it_is(kept, config):
    mine = logging.NullHandler()
    mine.set_name("console")
    before = list(logging.getLogger().handlers)
    config["handlers"]["console"] = {"class": "logging.StreamHandler", "stream": io.StringIO()}
    config["root"]["handlers"] = ["console"]
    setup_logging(config)
    shutdown_logging()
    assert logging.getLogger().handlers == before
    assert logging.getHandlerByName("console") is mine if hasattr(logging, "getHandlerByName") else True
    assert logging._handlers["console"] is mine


def test_the_same_configuration_again_changes_nothing_and_another_begins_anew(kept, config):
    first = setup_logging(config)
    assert setup_logging(config).path == first.path
    assert setup_logging(level="INFO").path == first.path
    assert first.options.outputs is not None
    config["loggers"]["learning"]["handlers"] = []
    second = setup_logging(config)
    assert second.path != first.path
    AgentLogger("a").info("told")
    assert [record.getMessage() for record in kept.records] == ["told"]
    assert setup_logging(LOGGING_CONFIG).options.outputs is None


def test_the_session_tells_names_and_classes_and_no_argument_of_a_handler(config):
    config["handlers"]["mail"] = {
        "class": "logging.handlers.SMTPHandler", "mailhost": "mail", "fromaddr": "a", "toaddrs": ["b"],
        "subject": "s", "credentials": ("user", "the secret of mail"),
    }  # fmt: skip
    config["loggers"]["error"]["handlers"] = ["mail"]
    session = setup_logging(config)
    text = (session.path / "session.json").read_text()
    assert "logging.handlers.SMTPHandler" in text and "the secret" not in text


def test_without_category_files_handlers_still_get_everything(kept, config, trace_root):
    setup_logging(config, mirrors=False)
    AgentLogger("a").info("told")
    shutdown_logging()
    assert len(kept.records) == 1 and not (trace_root / "agents").exists()


@pytest.mark.process
def test_a_forked_child_hands_out_its_own_events(config, tmp_path):
    path = tmp_path / "both.log"
    config["formatters"]["plain"] = {"format": "%(process)d %(message)s"}
    config["handlers"]["both"] = {"class": "logging.FileHandler", "filename": str(path), "formatter": "plain"}
    config["loggers"]["agent"]["handlers"].append("both")
    setup_logging(config)
    AgentLogger("a").info("parent")
    pid = os.fork()
    if pid == 0:
        AgentLogger("a").info("child")
        os._exit(0)
    os.waitpid(pid, 0)
    AgentLogger("a").info("parent")
    assert lines_of(path) == [f"{os.getpid()} parent", f"{pid} child", f"{os.getpid()} parent"]


@pytest.mark.further
@pytest.mark.process
def test_a_program_that_ends_has_its_last_lines_in_the_handlers_file(tmp_path):
    program = (
        "import copy\nfrom Agent.config.logging_config import LOGGING_CONFIG, setup_logging\nimport Agent\n"
        "LOGGING_CONFIG['handlers']['x'] = {'class': 'logging.FileHandler', 'filename': 'x.log'}\n"
        "LOGGING_CONFIG['root']['handlers'] = ['x']\n"
        "Agent.AgentLogger('a').info('told')\n"
    )
    done = run_python("-c", program, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "told\n" in (tmp_path / "x.log").read_text()


def test_a_record_survives_pickling_and_makes_no_event_of_itself(kept, config):
    import pickle

    from Agent.bridges import TraceHandler

    setup_logging(config)
    AgentLogger("a").log_action("x", {"n": 1})
    received = logging.makeLogRecord(pickle.loads(pickle.dumps(vars(kept.records[0]))))
    assert received.action_data == {"n": 1}
    before = Agent.health()["events"]
    TraceHandler().handle(received)
    assert Agent.health()["events"] == before


def test_what_is_no_event_makes_no_record():
    with pytest.raises(ValueError):
        as_log_record(b"no json")


def test_without_choices_of_the_users_a_line_goes_straight_to_its_file(config, trace_root):
    """What nobody asked for costs nothing: no module is loaded, and no function stands between."""
    from Agent.config.handlers import open_copies
    from Agent.config.options import Options

    assert setup_logging(config).options.outputs is None
    shutdown_logging()
    mirrors, copies = open_copies(trace_root, Options(), None)
    assert copies.takers is mirrors
    assert type(copies.adder("agents")) is type(mirrors.adder("agents"))
    mirrors.close()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 60) | st.sampled_from(["", "x", "INFO", "agent_file", "json", "é"])
    | st.sampled_from(["logging.StreamHandler", "logging.NullHandler", "ext://sys.stdout", "no.such"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["class", "()", "level", "formatter", "filters", "handlers", "x"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PLACES = st.sampled_from(
    [
        *((section,) for section in (*LOGGING_CONFIG, "disable_existing_loggers")),
        *((section, name) for section in ("formatters", "filters", "handlers", "loggers") for name in ("own", 5)),
        *(("handlers", "agent_file", key) for key in ("filename", "maxBytes", "formatter", "level", "filters", "class")),
        *(("handlers", "own", key) for key in ("class", "()", "formatter", "level", "filters", "stream")),
        *(("loggers", "agent", key) for key in ("handlers", "level", "filters", "propagate")),
        *(("root", key) for key in ("handlers", "level", "filters")),
    ]
)  # fmt: skip


@given(st.lists(st.tuples(PLACES, JUNK), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_a_configuration_holds_it_is_taken_or_refused_in_one_clear_error(changes):
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["own"] = {"class": "logging.NullHandler"}
    config["loggers"]["agent"]["handlers"].append("own")
    for place, value in changes:
        node = config
        for key in place[:-1]:
            node = node.setdefault(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node[place[-1]] = value
    try:
        outlets = open_outlets(options_in(config).outputs)
    except ConfigurationError as error:
        told = str(error)
        assert error.remedy and "\n" not in told, told  # noqa: PT017 - most of them are no error
    else:
        if outlets is not None:
            outlets.close()
