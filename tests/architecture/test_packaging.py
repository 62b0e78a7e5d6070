"""What is built and declared: licence, extras, and a wheel without sources of its built parts."""

import importlib.util
import sys
import tomllib
from types import SimpleNamespace
from typing import Generic, TypeVar

from support.processes import REPOSITORY

Made = TypeVar("Made")


class Hook(Generic[Made]):
    """What hatch has when it builds; it is installed nowhere else."""


DECLARED = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]


def test_the_declared_licence_is_the_one_in_the_repository():
    assert PROJECT["license"] == "MIT"
    for name in PROJECT["license-files"]:
        assert (REPOSITORY / name).read_text(encoding="utf-8").startswith("MIT License")


def test_the_extra_all_has_every_extra_that_a_user_may_want():
    """Spark is the engine of a cluster: 400 MB that need Java."""
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("agent-trace[").removesuffix("]").split(",")
    assert sorted(named) == sorted(extras.keys() - {"all", "test", "bench", "docs", "frameworks", "cluster"})


def test_a_wheel_has_both_packages_and_no_c_source():
    wheel = DECLARED["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["Agent", "agent_trace"]
    assert "*.c" in wheel["exclude"]


def test_project_pages_a_user_looks_for_are_there():
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        assert (REPOSITORY / name).stat().st_size > 500, name


def test_a_wheel_links_to_the_repository_that_its_publisher_states_and_to_nothing_else(monkeypatch):
    assert "urls" in PROJECT["dynamic"] and "urls" not in PROJECT
    assert "custom" in DECLARED["tool"]["hatch"]["metadata"]["hooks"]
    hooks = {
        "hatchling.builders.hooks.plugin.interface": {"BuildHookInterface": Hook},
        "hatchling.metadata.plugin.interface": {"MetadataHookInterface": object},
    }
    for name, held in hooks.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**held))
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for address, urls in (("", {}), ("https://example.org/x", {"Repository": "https://example.org/x"})):
        monkeypatch.setenv("AGENT_TRACE_REPOSITORY_URL", address)
        metadata = {}
        module.AddressHook().update(metadata)
        assert metadata == {"urls": urls}


def test_a_wheel_for_another_machine_is_tried_by_importing_every_built_part():
    command = DECLARED["tool"]["cibuildwheel"]["test-command"]
    sources = sorted(
        path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".")
        for path in (REPOSITORY / "Agent").rglob("_*.c")
    )
    assert sources == sorted(command.removesuffix("'").partition("import ")[2].split(", "))
