"""Control of a running program from its page, in a real Chromium, and who else cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.processes import child_environment

from Agent.replay import replay_run
from Agent.server.pages import PagesServer
from Agent.tree.files.control import read_program
from Agent.tree.layout import list_sessions

pytestmark = pytest.mark.integration

PROGRAM = """
import sys, time
from pathlib import Path
from Agent import setup_logging, shutdown_logging, tick, trace_agent_action

class Sheep:
    def __init__(self):
        self.agent_id, self.agent_role, self.weight = "dolly", "sheep", 10

    @trace_agent_action
    def eat(self, grass):
        self.weight += grass
        return self.weight

def build(spec):
    return Sheep()

if __name__ == "__main__":
    setup_logging(trace_root="trace", control=True)
    dolly, number = Sheep(), 0
    while not Path("end").exists():
        with tick(number):
            dolly.eat(number % 3)
        number += 1
        time.sleep(0.05)
    shutdown_logging()
"""


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A program that runs, in the test's directory; returns its session."""
    (tmp_path / "farm.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    program = subprocess.Popen([sys.executable, "farm.py"], cwd=tmp_path, env=child_environment())
    try:
        end = time.monotonic() + 60
        while not (sessions := list_sessions(tmp_path / "trace")) or not _has_ticked(sessions[0].path):
            assert program.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield sessions[0].path
        (tmp_path / "end").touch()
        assert program.wait(30) == 0
    finally:
        program.kill()
        program.wait()


def _has_ticked(session):
    program = read_program(session)
    return program is not None and program.has_ticked


def untouched(session):
    """Whether nobody has paused the program or changed an agent."""
    files = [each for each in session.rglob("*.log") if each.is_file()]
    return read_program(session).state == "running" and not any(
        b"intervention" in f.read_bytes() for f in files
    )


@pytest.fixture
def controlling(running):
    """The pages of the running session, which may control it; they outlive the tabs of a test."""
    with PagesServer(running.parent, allow_control=True) as server:
        yield server


def test_the_page_pauses_steps_and_changes_the_program_and_the_run_replays(running, controlling, open_tab):
    tab = open_tab(controlling)
    page, strip = tab.page, tab.page.locator(".control")
    strip.get_by_role("button", name="Pause").click()
    strip.locator("b", has_text="paused before tick").wait_for()
    paused_at = read_program(running).tick
    strip.get_by_role("button", name="10 steps").click()
    strip.locator("b", has_text=f"paused before tick {paused_at + 10}").wait_for()
    page.locator(".label").first.click()
    strip.get_by_label("Field").select_option("weight")
    strip.get_by_label("New value").fill("heavy")
    strip.get_by_role("button", name="Change").click()
    strip.get_by_text("weight of dolly is of type int, and heavy is not").wait_for()
    strip.get_by_label("New value").fill("5000")
    strip.get_by_role("button", name="Change").click()
    strip.get_by_text(f"Changed before tick {paused_at + 10}").wait_for()
    assert tab.serious() == []
    strip.get_by_role("button", name="Go on").click()
    strip.locator("b", has_text="running").wait_for()
    (running.parent.parent / "end").touch()
    strip.wait_for(state="hidden")
    report = replay_run("last", "farm:build", "trace")
    assert report.verdict == "IDENTICAL" and report.outcome.by_hand == {"dolly.weight": 1}, str(report)


@pytest.fixture
def reading(running):
    """The pages of the running session, which only read."""
    with PagesServer(running.parent) as server:
        yield server


def test_a_page_that_may_not_control_offers_nothing(running, reading, open_tab):
    page = open_tab(reading).page
    page.locator(".label").first.wait_for()
    assert page.locator(".control").count() == 0
    assert untouched(running)


def test_a_page_of_another_port_of_this_host_controls_nothing(running, controlling, open_tab, tmp_path):
    page = open_tab(controlling).page
    page.locator(".label").first.wait_for()  # the browser holds the cookie now
    (tmp_path / "evil.html").write_text("<p>evil</p>")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        attacker = page.context.new_page()
        attacker.goto(f"http://127.0.0.1:{evil.server_port}/evil.html")
        target = f"http://127.0.0.1:{controlling.port}/api/{running.name.removeprefix('session_')}/control"
        answers = []
        attacker.on("response", lambda each: answers.append((each.request.method, each.status)))
        for kind in ("application/json", "text/plain"):
            for mode in ("cors", "no-cors"):
                attacker.evaluate(
                    "async ([url, body, kind, mode]) => { try { await fetch(url, {method: 'POST', mode, "
                    "credentials: 'include', headers: {'Content-Type': kind}, body}) } catch {} }",
                    [target, json.dumps({"command": "pause"}), kind, mode],
                )
        attacker.evaluate(
            "([url]) => new Promise(done => { const f = document.createElement('form'); f.method = 'POST'; "
            "f.action = url; f.enctype = 'text/plain'; f.target = 'x'; const i = document.createElement('iframe'); "
            "i.name = 'x'; document.body.append(i, f); f.submit(); setTimeout(done, 1000); })",
            [target],
        )
        evil.shutdown()
    assert {status for method, status in answers if method == "POST"} == {403}, answers
    assert untouched(running)


def test_the_cookie_of_an_earlier_server_controls_nothing(running):
    with PagesServer(running.parent, allow_control=True) as first:
        port, stale = first.port, first.token
    with PagesServer(running.parent, port=port, allow_control=True) as second:
        for token, code in ((stale, 403), (second.token, 200)):
            own = f"http://127.0.0.1:{port}"
            headers = {
                "Content-Type": "application/json", "Origin": own, "Cookie": f"agent_trace_{port}={token}"
            }  # fmt: skip
            body = json.dumps({"command": "resume"}).encode()  # refused by the program, which is not paused
            asked = urllib.request.Request(f"{own}/api/newest/control", data=body, headers=headers)
            try:
                with urllib.request.urlopen(asked) as answer:
                    found = answer.status
            except urllib.error.HTTPError as error:
                found = error.code
                error.close()
            assert found == code
    assert untouched(running)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_host_controls_nothing(running):
    """Without the token the server refuses, and the directory of the session is closed."""
    with PagesServer(running.parent, allow_control=True) as server:
        tried = f"""
import json, os, urllib.error, urllib.request
"127.0.0.1".encode("idna")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
base = "http://127.0.0.1:{server.port}"
url = base + "/api/newest/control"
for token in (None, "stale"):
    headers = {{"Content-Type": "application/json", "Origin": base}}
    if token:
        headers["Authorization"] = "Bearer " + token
    body = json.dumps({{"command": "pause"}}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers))
    except urllib.error.HTTPError as error:
        print(error.code)
for act in (lambda: open({str(running)!r} + "/.state/control/request.json", "w"),
            lambda: open({str(running)!r} + "/.state/control/program.json"),
            lambda: os.kill({read_program(running).pid}, 19)):
    try:
        act()
    except PermissionError:
        print("refused")
"""
        done = subprocess.run(
            [sys.executable, "-c", tried], cwd="/", capture_output=True, text=True, check=False
        )
    assert done.stdout.split() == ["403", "403", "refused", "refused", "refused"], done
    assert untouched(running)
