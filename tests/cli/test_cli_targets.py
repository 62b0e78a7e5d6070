"""A target that is mistyped is refused before anything is read."""

import pytest

from Agent.cli.main import main

COMMANDS = [
    ["replay", "last"],
    ["replay", "--all"],
    ["fork", "last", "--step", "step_1", "--seed", "1"],
    ["resume", "last", "--step", "step_1"],
    ["debug", "it fails", "--test"],
    ["golden", "add", "last"],
    ["golden", "check"],
    ["golden", "accept", "some", "3", "--reason", "r"],
]
SHOP = """
raise_at_import = []
def build(spec):
    return None
class Shop:
    @classmethod
    def made(cls, spec):
        return cls()
if raise_at_import is not None:
    build_late = build
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(tmp_path / "none"))
    (tmp_path / "targets_of_shop.py").write_text(SHOP)
    (tmp_path / "broken_shop.py").write_text("import json\nraise OSError('no shop')\n")
    (tmp_path / "ending_shop.py").write_text("import os\nos._exit(5)\n")
    package = tmp_path / "shop_package"
    package.mkdir()
    (package / "__init__.py").write_text("def packed(spec): ...\n")
    (package / "agents.py").write_text("def build(spec): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.process
@pytest.mark.usefixtures("here")
def test_every_command_refuses_a_target_that_cannot_be_found_before_it_reads(capsys):
    for command in COMMANDS:
        assert main([*command, "--target", "targets_of_shop:biuld"]) == 3, command
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == (
            "agent-trace: the target targets_of_shop has no 'biuld'; did you mean targets_of_shop:build?\n"
        ), command


@pytest.mark.process
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("no_such_shop:build", 3, "No module named 'no_such_shop'"),
        ("targets_of_shop.agents:build", 3, "is not a package"),
        ("shop_package.agent:build", 3, "No module named 'shop_package.agent'"),
        ("broken_shop:build", 3, "OSError: no shop (broken_shop.py:2)"),
        ("ending_shop:build", 3, "ends the process that imports it"),
        ("targets_of_shop:raise_at_import", 3, "is a list, not a function"),
        ("targets_of_shop", 2, "is not module:factory"),
        ("targets_of_shop:", 2, "is not module:factory"),
        (":build", 2, "is not module:factory"),
    ],
)
def test_what_is_wrong_with_a_target_is_one_line_with_a_remedy(capsys, target, code, words):
    assert main(["replay", "last", "--target", target]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert (said.out, said.err.count("\n"), "; " in said.err) == ("", 1, True), said.err


@pytest.mark.process
@pytest.mark.usefixtures("here")
def test_a_target_that_is_there_is_found_and_then_the_run_is_looked_for(capsys):
    for target in (
        "targets_of_shop:build",
        "targets_of_shop:Shop",
        "targets_of_shop:Shop.made",
        "targets_of_shop:build_late",
        "shop_package:packed",
        "shop_package.agents:build",
        "os.path:join",
        "Agent.demo.targets:creator",
    ):
        assert main(["replay", "last", "--target", target]) == 3
        assert "no session here yet" in capsys.readouterr().err, target
