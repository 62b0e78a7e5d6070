"""The built files of the pages: how large they are, and that they come from the sources beside them."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tomllib

import pytest
from support.processes import REPOSITORY

from Agent.server.pages.app import static_files

STATIC = REPOSITORY / "Agent" / "server" / "pages" / "static"
LIMIT_BYTES = 150_000


def test_scripts_and_style_sheets_take_at_most_150_kb_compressed():
    sizes = {name: len(gzip.compress(one.content)) for name, one in static_files().items()}
    assert {"view.js", "view.css", "document.css", "page.css", "mark.svg"} <= sizes.keys()
    assert sum(sizes.values()) <= LIMIT_BYTES


def test_no_file_asks_another_server_or_evaluates_text():
    for name, one in static_files().items():
        text = one.content.decode()
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), name
        assert (
            re.search(r"\beval\(|new Function\(|innerHTML|insertAdjacentHTML|document\.write", text) is None
        ), name


def test_a_wheel_has_the_files():
    excluded = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    assert excluded["packages"] == ["Agent", "agent_trace"] and excluded["exclude"] == ["*.c", "*.h"]
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    assert not {"*.js", "*.css", "*.html", "static/", "templates/"} & set(ignored)


@pytest.mark.integration
def test_the_files_are_those_that_the_sources_give(tmp_path):
    if shutil.which("node") is None or not (REPOSITORY / "ui" / "node_modules" / "esbuild").is_dir():
        pytest.skip("node or esbuild is missing: npm ci in ui")
    shutil.copytree(REPOSITORY / "ui", tmp_path / "ui", symlinks=True)
    subprocess.run(["node", "build.mjs"], cwd=tmp_path / "ui", check=True, capture_output=True, timeout=120)
    for path in (tmp_path / "Agent/server/pages/static").iterdir():
        assert path.read_bytes() == (STATIC / path.name).read_bytes(), f"{path.name}: npm run build in ui"
