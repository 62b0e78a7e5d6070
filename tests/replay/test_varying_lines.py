"""Where a difference is another one in each process, the report names the lines that may cause it."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime

import pytest

from Agent.replay.compare.program_state import varying_lines

PROGRAM = """
import os

def numbered(name):
    return os.getpid()

class Clerk:
    agent_id, agent_role = "a", "clerk"
    def __init__(self):
        self.seen = {"x", "y", "zz", "w", "q", "tt"}
    @trace_agent_action
    def pid(self):
        return os.getpid()
    @trace_agent_action
    def hashed(self):
        return hash("abc")
    @trace_agent_action
    def helped(self):
        return numbered("x")
def build(spec): return Clerk()
def main(): Clerk().METHOD()
"""


@pytest.mark.further
def test_a_difference_of_each_process_names_its_line(toy):
    for method, line in (("pid", "os.getpid() in Clerk.pid"), ("helped", "os.getpid() in numbered")):
        report = toy.record(PROGRAM.replace("METHOD", method)).replay()
        assert report.verdict == "UNVERIFIED", str(report)
        assert f"maybe because of {line} ({toy.name}.py:" in str(report)


def walks(self, words):
    known = set(words)
    for each in known | {"a"}:
        print(each)
    found = [each + "!" for each in self.seen]
    return found, ",".join(known), known.pop(), threading.get_ident()


def asks_the_clock_of_a_loop(self, loop):
    begin = loop.time()
    now = self._loop.time() + asyncio.get_running_loop().time()
    return begin, now, self.watch.time(), datetime.now().time(), loop.times()


def does_not(self, words):
    known = set(words)
    for each in sorted(known):
        print(each, len(known), each in known, self.seen == known, max(known))
    return str.join("a", "b"), words.pop(), [*words]


def test_lines_that_take_the_order_of_a_set_are_found():
    begin = walks.__code__.co_firstlineno
    told = varying_lines([walks], ["seen"])
    assert told == [
        f"the order of a set in walks (test_varying_lines.py:{begin + 2})",
        f"the order of a set in walks (test_varying_lines.py:{begin + 4})",
        f"get_ident() in walks (test_varying_lines.py:{begin + 5})",
        f"the order of a set in walks (test_varying_lines.py:{begin + 5})",
    ]
    assert varying_lines([does_not], ["seen"]) == []


def test_lines_that_ask_the_clock_of_an_event_loop_are_found():
    begin = asks_the_clock_of_a_loop.__code__.co_firstlineno
    place = "loop.time() in asks_the_clock_of_a_loop (test_varying_lines.py:"
    assert varying_lines([asks_the_clock_of_a_loop], []) == [f"{place}{begin + 1})", f"{place}{begin + 2})"]


def test_the_clock_of_an_event_loop_is_named(toy):
    text = PROGRAM.replace("import os", "import asyncio\nimport os").replace("def pid", "async def pid")
    text = text.replace("return os.getpid()\n    @", "return asyncio.get_running_loop().time()\n    @")
    report = toy.record(text.replace("Clerk().METHOD()", "asyncio.run(Clerk().pid())")).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert f"maybe because of loop.time() in Clerk.pid ({toy.name}.py:" in str(report)
