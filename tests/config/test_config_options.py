"""Options: arguments over environment over configuration over defaults; what cannot be is refused with a remedy."""

import copy
import os
import resource
import stat
from pathlib import Path

import pytest
from support.pipes import closed_pipe_later

import Agent
from Agent.config.load import ENVIRONMENT, options_from, user_path
from Agent.config.logging_config import LOGGING_CONFIG, health, options_in, setup_logging
from Agent.config.options import SETTABLE, Options, checked, with_changes
from Agent.errors import ConfigurationError
from Agent.record.user_key import redaction_key
from Agent.tree.write.mirror import DEFAULT_ROTATION


def test_defaults_hold_where_nothing_is_said():
    assert options_from({}, {}) == Options()


def test_arguments_go_over_the_environment_over_the_base():
    base = Options(level="ERROR", max_open_files=5, buffer_entries=1)
    environment = {"AGENT_TRACE_LEVEL": "WARNING", "AGENT_TRACE_MAX_OPEN_FILES": "6"}
    options = options_from({"level": "INFO"}, environment, base)
    assert (options.level, options.max_open_files, options.buffer_entries) == ("INFO", 6, 1)


def test_an_argument_of_none_says_nothing():
    assert options_from({"level": None}, {"AGENT_TRACE_LEVEL": "ERROR"}).level == "ERROR"


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("on", True), ("YES", True), ("0", False), ("False", False)]
)
def test_switches_are_read_from_the_environment(text, value):
    assert options_from({}, {"AGENT_TRACE_CONSOLE": text}).console is value


def test_every_variable_sets_its_option():
    given = {
        "trace_root": "/x/y",
        "level": "INFO",
        "levels": "learning=INFO,agents=WARNING",
        "rotation": "agents=5000:2",
        "state": "strict",
        "durability": "queued",
        "queue_full": "drop_new",
        "large_arguments": "always",
        "capture": "metadata",
        "captures": "tool:search=full,field:args.prompt=metadata",
    }
    assert set(ENVIRONMENT.values()) == set(SETTABLE)
    for suffix, name in ENVIRONMENT.items():
        default = getattr(Options(), name)
        text = given.get(name) or ("0" if default is True else "1" if default is False else "9999")
        changed = options_from({}, {f"AGENT_TRACE_{suffix}": text})
        assert getattr(changed, name) != default, name
        assert options_from({}, {f"AGENT_TRACE_{suffix}": ""}) == Options()


@pytest.mark.parametrize(
    "environment",
    [
        {"AGENT_TRACE_LEVEL": "LOUD"},
        {"AGENT_TRACE_CONSOLE": "perhaps"},
        {"AGENT_TRACE_MAX_OPEN_FILES": "many"},
        {"AGENT_TRACE_MAX_OPEN_FILES": "1"},
        {"AGENT_TRACE_SEGMENT_SIZE_BYTES": "-5"},
        {"AGENT_TRACE_STATE": "sometimes"},
        {"AGENT_TRACE_DURABILITY": "perhaps"},
        {"AGENT_TRACE_QUEUE_FULL": "drop_old"},
        {"AGENT_TRACE_LEVELS": "learning"},
        {"AGENT_TRACE_LEVELS": "learnign=INFO"},
        {"AGENT_TRACE_ROTATION": "agents=5000"},
        {"AGENT_TRACE_ROTATION": "agents=5000:few"},
        {"AGENT_TRACE_PRESET": "nothing"},
    ],
)
def test_a_wrong_variable_is_refused_with_a_remedy(environment):
    with pytest.raises(ConfigurationError) as refused:
        options_from({}, environment)
    assert refused.value.remedy and "\n" not in str(refused.value)
    assert next(iter(environment)) in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": "red"},
        {"level": "LOUD"},
        {"level": 20},
        {"levels": ["INFO"]},
        {"levels": {"nothing": "INFO"}},
        {"levels": {"agents": "LOUD"}},
        {"console": "yes"},
        {"mirrors": 1},
        {"redact": "no"},
        {"buffer_entries": True},
        {"buffer_entries": 2.5},
        {"buffer_entries": -1},
        {"max_open_files": "5"},
        {"segment_size_bytes": 10},
        {"trace_root": 5},
        {"trace_root": ""},
        {"rotation": {"agents": 5}},
        {"rotation": {"agents": (0, 1)}},
        {"rotation": {"agents": (1, 1, 1)}},
        {"rotation": {"nothing": (1, 1)}},
        {"rotation": [1]},
        {"state": "never"},
        {"queue_size": 0},
        {"queue_full": "drop_old"},
        {"max_session_bytes": -1},
        {"keep_sessions": True},
        {"outputs": {}},
        {"preset": "nothing"},
        {"preset": 5},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_a_remedy_and_nothing_begins(trace_root, wrong):
    with pytest.raises(ConfigurationError) as refused:
        setup_logging(**wrong)
    assert refused.value.remedy and "\n" not in str(refused.value)
    assert not trace_root.exists()
    assert Agent.health()["recording"] is False


def test_what_is_right_is_taken_as_it_is():
    options = Options(levels={"agents": "off", "learning": "info"}, rotation={"agents": [5, 0]})
    assert checked(options) is options
    assert with_changes(options, {"level": "error"}).level == "error"


def changed_config(path, value):
    config = copy.deepcopy(LOGGING_CONFIG)
    node = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return config


def test_the_configuration_as_it_comes_says_nothing():
    assert options_in(LOGGING_CONFIG) == Options()
    sizes = {
        name: (handler["maxBytes"], handler["backupCount"])
        for name, handler in LOGGING_CONFIG["handlers"].items()
    }
    assert sizes["agent_file"] == (200 * 1024 * 1024, 10)
    assert sizes["learning_file"] == (100 * 1024 * 1024, 10)
    assert sizes["error_file"] == (50 * 1024 * 1024, 5)


def test_the_configuration_and_the_mirrors_agree_on_the_defaults():
    from Agent.config.logging_config import HANDLER_CATEGORIES

    for name, category in HANDLER_CATEGORIES.items():
        handler = LOGGING_CONFIG["handlers"][name]
        assert DEFAULT_ROTATION[category.value] == (handler["maxBytes"], handler["backupCount"])


def test_sizes_and_levels_are_taken_from_a_configuration():
    config = changed_config(("handlers", "error_file", "maxBytes"), 5000)
    config["loggers"]["learning"]["level"] = "WARNING"
    options = options_in(config)
    assert options.rotation == {"errors": (5000, 5)}
    assert options.levels == {"learning": "WARNING"}


def test_a_configuration_may_leave_out_what_it_does_not_change():
    options = options_in({"version": 1, "loggers": {"agent": {"level": "INFO"}}})
    assert options == Options(levels={"agents": "INFO"})
    assert options_in({}) == Options()


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"version": 2},
        {"formatters": ["plain"]},
        {"formaters": {}},
        {"incremental": True},
        {"root": []},
        {"root": {"filters": ["quiet"]}},
        {"root": {"handlers": "agent_file"}},
        {"handlers": []},
        {"handlers": {"agent_file": 5}},
        {"handlers": {"agent_fiel": {"maxBytes": 5000}}},
        {"handlers": {"agent_file": {"formatter": "nothing"}}},
        {"handlers": {"agent_file": {"filters": ["nothing"]}}},
        {"handlers": {"agent_file": {"mode": "w"}}},
        {"handlers": {"agent_file": {"encoding": "latin-1"}}},
        {"handlers": {"agent_file": {"when": "midnight"}}},
        {"loggers": {"unknown": {"level": "INFO"}}},
        {"loggers": {"agent": "INFO"}},
        changed_config(("handlers", "agent_file", "filename"), "../elsewhere.log"),
        changed_config(("handlers", "agent_file", "filename"), "agents/../../elsewhere.log"),
        changed_config(("handlers", "agent_file", "filename"), "session_20261120_103045/agents/a.log"),
        changed_config(("handlers", "agent_file", "filename"), ".hidden/agents.log"),
        changed_config(("handlers", "agent_file", "filename"), "agents/\nagents.log"),
        changed_config(("handlers", "agent_file", "filename"), "learning/learning.log"),
        changed_config(("handlers", "agent_file", "filename"), ""),
        changed_config(("handlers", "agent_file", "filename"), 5),
        changed_config(("handlers", "agent_file", "class"), "other.Handler"),
        changed_config(("handlers", "agent_file", "level"), "LOUD"),
        changed_config(("handlers", "agent_file", "maxBytes"), 0),
        changed_config(("handlers", "agent_file", "maxBytes"), "200MB"),
        changed_config(("handlers", "agent_file", "backupCount"), -1),
        changed_config(("loggers", "agent", "level"), "LOUD"),
        changed_config(("loggers", "agent", "handlers"), "agent_file"),
        changed_config(("loggers", "agent", "handlers"), ["agent_fiel"]),
        changed_config(("loggers", "agent", "filters"), ["nothing"]),
        changed_config(("loggers", "agent", "hanlders"), []),
        changed_config(("loggers", "agent.creator"), {"level": "INFO"}),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused_with_a_remedy(config):
    with pytest.raises(ConfigurationError) as refused:
        setup_logging(config)
    assert refused.value.remedy and "\n" not in str(refused.value)
    assert Agent.health()["recording"] is False


def test_what_is_changed_in_place_is_seen(monkeypatch):
    monkeypatch.setitem(LOGGING_CONFIG["handlers"]["agent_file"], "maxBytes", 7000)
    monkeypatch.setitem(LOGGING_CONFIG["loggers"]["system"], "level", "ERROR")
    options = options_in(LOGGING_CONFIG)
    assert options.rotation == {"agents": (7000, 10)} and options.levels == {"system": "ERROR"}
    assert options.outputs is None
    monkeypatch.setitem(LOGGING_CONFIG["handlers"]["agent_file"], "filename", "agents/all.log")
    assert options_in(LOGGING_CONFIG).outputs.forms["agents"].filename == "agents/all.log"


def test_the_redaction_key_is_made_once_for_the_user_alone(tmp_path):
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    key = redaction_key(environment)
    path = tmp_path / "config" / "agent-trace" / "redaction.key"
    assert path.read_bytes() == key and len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert redaction_key(environment) == key
    assert list(path.parent.iterdir()) == [path]


def test_the_redaction_key_is_beside_the_users_file_though_xdg_home_is_relative(tmp_path):
    environment = {"XDG_CONFIG_HOME": "relative", "HOME": str(tmp_path)}
    assert redaction_key(environment) == redaction_key(environment)
    assert (Path(user_path(environment)).parent / "redaction.key").is_file()


def test_a_pipe_in_the_place_of_the_redaction_key_is_told_and_not_waited_for(tmp_path):
    place = tmp_path / ".config" / "agent-trace"
    place.mkdir(parents=True)
    told = []
    with closed_pipe_later(place / "redaction.key"):
        assert len(redaction_key({"HOME": str(tmp_path)}, told.append)) == 32
    assert "could not be read (not a plain file)" in told[0]


def test_a_key_that_cannot_be_written_leaves_no_file_behind(tmp_path):
    told = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk does, it fails the write alone
    try:
        redaction_key({"HOME": str(tmp_path)}, told.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the redaction key could not be saved (File too large)" in told[0]
    assert list((tmp_path / ".config" / "agent-trace").iterdir()) == []


def test_without_a_place_for_it_a_key_serves_one_process(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a directory should be")
    for environment in ({}, {"XDG_CONFIG_HOME": "relative"}, {"XDG_CONFIG_HOME": str(blocked)}):
        told = []
        keys = {redaction_key(environment, told.append) for _ in range(2)}
        assert len(keys) == 2 and {len(key) for key in keys} == {32}
        assert len(told) == 2 and all("within this process only" in lack for lack in told)


def test_a_damaged_key_is_not_used_and_that_is_told(tmp_path, capfd):
    path = tmp_path / "agent-trace" / "redaction.key"
    path.parent.mkdir()
    path.write_bytes(b"short")
    told = []
    assert len(redaction_key({"XDG_CONFIG_HOME": str(tmp_path)}, told.append)) == 32
    assert path.read_bytes() == b"short"
    assert told == [
        "the redaction key could not be read (it does not contain a key); tokens match within this process only"
    ]
    assert f"the redaction key {path} cannot be used (it does not contain a key)" in capfd.readouterr().err


def test_health_says_where_the_redaction_key_could_not_be_kept(trace_root, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("HOME")
    setup_logging(trace_root=trace_root)
    assert health()["notes"] == {
        "the home directory for the redaction key is missing; tokens match within this process only": 1
    }


@pytest.mark.process
def test_processes_that_come_first_together_agree_on_one_key(tmp_path):
    children = []
    read, write = os.pipe()
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            os.write(write, redaction_key({"XDG_CONFIG_HOME": str(tmp_path)}))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    keys = {os.read(read, 32) for _ in range(4)}
    os.close(read)
    os.close(write)
    assert len(keys) == 1


@pytest.mark.parametrize(
    "changes", [{"segment_size_bytes": 10**26}, {"queue_size": 2**63}, {"trace_root": "a\0b"}]
)
def test_a_value_that_nothing_can_hold_is_refused_before_a_session_is_created(trace_root, changes):
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        setup_logging(**{"trace_root": trace_root, **changes})
    assert not trace_root.exists()
