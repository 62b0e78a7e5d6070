"""What is built and declared: licence, extras, and a wheel without sources of its built parts."""

import tomllib

from support.processes import REPOSITORY

DECLARED = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]


def test_the_declared_licence_is_the_one_in_the_repository():
    assert PROJECT["license"] == "MIT"
    for name in PROJECT["license-files"]:
        assert (REPOSITORY / name).read_text(encoding="utf-8").startswith("MIT License")


def test_the_extra_all_has_every_extra_that_a_user_may_want():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("agent-trace[").removesuffix("]").split(",")
    assert sorted(named) == sorted(extras.keys() - {"all", "test", "bench", "frameworks"})


def test_a_wheel_has_both_packages_and_no_c_source():
    wheel = DECLARED["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["Agent", "agent_trace"]
    assert "*.c" in wheel["exclude"]


def test_project_pages_a_user_looks_for_are_there():
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        assert (REPOSITORY / name).stat().st_size > 500, name
