"""Links from events to lines of code: what becomes one, and what stays text."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from fastapi.testclient import TestClient

from Agent import setup_logging, shutdown_logging, trace_agent_action
from Agent.errors import UsageError
from Agent.server.pages import Pages, editor_of

NOW = "2126-01-01T00:00:00.000000Z"


def linked(file, name="vscode", timestamp=NOW):
    code = {"file": str(file), "line": 12}
    editor_of(name).add_link(code, timestamp)
    return code


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("vscode", "vscode://file/P:12"),
        ("cursor", "cursor://file/P:12"),
        ("pycharm", "pycharm://open?file=/P&line=12"),
        ("zed://file/{path}:{line}", "zed://file/P:12"),
        ("vscode://vscode-remote/ssh-remote+box{path}:{line}", "vscode://vscode-remote/ssh-remote+box/P:12"),
    ],
)
def test_each_editor_has_its_address(tmp_path, name, address):
    file = tmp_path / "bakery.py"
    file.touch()
    assert linked(file, name)["link"] == address.replace("P", str(file).removeprefix("/"))


@pytest.mark.parametrize(
    "name", ["a \"quoted\" 'name'", "a b", "<img src=x>", "a%2e", "a?b#c", "a&line=9", "ü", "x:9"]
)
def test_every_character_of_a_path_is_quoted_in_its_link(tmp_path, name):
    file = tmp_path / name / "bakery.py"
    file.parent.mkdir()
    file.touch()
    link = linked(file)["link"]
    parts = urlsplit(link)
    assert not set(link) & set("\"'<> ") and not parts.query and not parts.fragment
    assert unquote(parts.path) == f"{file}:12"


def test_a_path_on_windows_keeps_its_drive():
    assert editor_of("vscode").link(r"C:\work\bakery.py", 3) == "vscode://file/C%3A/work/bakery.py:3"


def test_only_a_python_file_of_this_machine_gets_a_link(tmp_path):
    (tmp_path / "shop.code-workspace").touch()
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "script").touch()
    there = str(tmp_path)
    refused = (
        f"{there}/gone.py", f"{there}/shop.code-workspace", f"{there}/folder.py", f"{there}/pipe.py",
        r"\\server\share\x.py", f"/{there}/script", "/dev/null", "/a\0b.py", "/" + "a" * 5000, "\ud800/x.py",
    )  # fmt: skip
    for file in refused:
        assert linked(file) == {"file": file, "line": 12}
    assert "link" in linked(tmp_path / "script")


def test_a_file_that_was_changed_after_the_event_says_so(tmp_path):
    file = tmp_path / "bakery.py"
    file.touch()
    assert linked(file)["is_newer"] is False
    assert linked(file, timestamp="2020-01-01T00:00:00.000000Z")["is_newer"] is True


@pytest.mark.parametrize(
    "text",
    [
        "emacs", "", "vscode://file", "javascript:alert('{path}')", "JavaScript:{path}", "data:text/html,{path}",
        "file://{path}", "{path}", "//evil/{path}", "vs code:{path}", "vscode:\n{path}", "blob:{path}",
    ],
)  # fmt: skip
def test_what_is_no_address_of_an_editor_is_refused_with_a_remedy(text):
    with pytest.raises(UsageError) as refused:
        editor_of(text)
    assert refused.value.remedy


def test_none_is_no_editor():
    assert editor_of("none") is None


class Baker:
    def __init__(self):
        self.agent_id = "baker"

    @trace_agent_action
    def bake(self):
        raise ValueError("cold")


@pytest.fixture
def session(trace_root: Path) -> Path:
    setup_logging(trace_root=trace_root, mirrors=False)
    with pytest.raises(ValueError, match="cold"):
        Baker().bake()
    shutdown_logging()
    (found,) = trace_root.glob("session_*")
    return found


def answers(session: Path, editor: str) -> dict[str, dict]:
    """What the pages say about the code of each event, by kind."""
    name = session.name.removeprefix("session_")
    app = Pages(session.parent, token=None, editor=editor_of(editor))
    lines = [json.loads(line) for path in session.rglob("*.log") for line in path.read_bytes().splitlines()]
    with TestClient(app, base_url="http://127.0.0.1:8123") as client:
        end_s = time.monotonic() + 20
        while client.get(f"/api/{name}/overview").json()["state"] != "ready" and time.monotonic() < end_s:
            time.sleep(0.02)
        found = {}
        for line in lines:
            answer = client.get(f"/api/{name}/event/{line['id']}")
            assert "default-src" in answer.headers["Content-Security-Policy"]
            found[line["extra"]["event_type"]] = answer.json()["code"]
    app.close()
    return found


def test_an_action_links_to_its_function_and_an_error_to_the_line_that_raised(session):
    first = Baker.bake.__wrapped__.__code__.co_firstlineno
    found = answers(session, "vscode")
    assert found["agent_action"]["link"] == f"vscode://file{Path(__file__).resolve()}:{first}"
    assert found["error"]["link"] == f"vscode://file{Path(__file__).resolve()}:{first + 2}"
    assert found["agent_action"]["function"].endswith("Baker.bake")
    assert found["log.opened"] is None


def test_without_an_editor_the_place_is_text(session):
    found = answers(session, "none")["agent_action"]
    assert "link" not in found and found["place"].endswith(f":{found['line']}")


def test_a_recording_without_files_and_lines_shows_no_place(session):
    for path in session.rglob("*.log"):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            for key in ("file", "line", "traceback"):
                line["extra"].pop(key, None)
        path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    assert set(answers(session, "vscode").values()) == {None}
