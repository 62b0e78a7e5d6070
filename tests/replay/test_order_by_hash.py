"""A difference without changed code counts if other hash seeds show it, too."""

from dataclasses import replace

import pytest

from Agent.replay import attempts

READER = """
from pathlib import Path

class Reader:
    agent_id = "a"

    @trace_agent_action
    def read(self):
        return Path(__file__).with_name("answer.txt").read_text()

def build(spec):
    return Reader()

def main():
    Reader().read()
"""


@pytest.mark.further
def test_a_difference_has_to_come_under_two_more_hash_seeds(toy, monkeypatch):
    answer = toy.directory / "answer.txt"
    answer.write_text("one")
    toy.record(READER)
    answer.write_text("two")
    monkeypatch.setattr(attempts, "launches_anew", lambda: True)
    in_child = attempts.Attempts.once
    for other, verdict, replays in ((None, "DIVERGED", 3), (2, "UNVERIFIED", 2), (3, "UNVERIFIED", 3)):
        count = 0

        def with_another_order(*args, other=other, **kwargs):
            nonlocal count
            count += 1
            outcome = in_child(*args, **kwargs)
            if count == other:
                outcome.divergence = replace(outcome.divergence, replayed="another")
            return outcome

        monkeypatch.setattr(attempts.Attempts, "once", with_another_order)
        report = toy.replay()
        assert (report.verdict, count) == (verdict, replays), str(report)
        assert ("the difference varies between processes" in str(report)) == (other is not None)


SLOW_LIBRARY = """
import time

def watched(function):
    began = time.time()
    return function(), time.time() - began < 1e9
"""


@pytest.mark.further
def test_so_has_one_beside_clocks_that_only_libraries_read(toy, tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "slow_library.py").write_text(SLOW_LIBRARY)
    monkeypatch.syspath_prepend(str(library))
    answer = toy.directory / "answer.txt"
    answer.write_text("one")
    text = READER.replace("class Reader", "from slow_library import watched\n\nclass Reader")
    toy.record(
        text.replace("return Path", "return watched(lambda: Path").replace("read_text()", "read_text())")
    )
    answer.write_text("two")
    monkeypatch.setattr(attempts, "launches_anew", lambda: True)
    in_child, count = attempts.Attempts.once, 0

    def with_another_order(*args, **kwargs):
        nonlocal count
        count += 1
        outcome = in_child(*args, **kwargs)
        if count == 2:
            outcome.divergence = replace(outcome.divergence, replayed="another")
        return outcome

    monkeypatch.setattr(attempts.Attempts, "once", with_another_order)
    report = toy.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the difference varies between processes" in str(report)
    count = 9
    assert toy.replay().verdict == "DIVERGED"


KEEPS_A_HASH = """
class Key:
    def __init__(self, name):
        self.name, self.kept = name, hash(name)

class Reader:
    agent_id = "a"

    @trace_agent_action
    def read(self):
        key = Key("k")
        return key

def build(spec):
    return Reader()

def main():
    Reader().read()
"""


@pytest.mark.further
def test_with_changed_code_a_value_counts_that_varied_between_processes_only_if_the_change_is_why(
    toy, monkeypatch
):
    monkeypatch.setattr(attempts, "launches_anew", lambda: True)
    in_child = attempts.Attempts.once

    def with_another_hash(*args, **kwargs):
        outcome = in_child(*args, **kwargs)
        outcome.divergence = replace(outcome.divergence, replayed=next(hashes))
        return outcome

    monkeypatch.setattr(attempts.Attempts, "once", with_another_hash)
    toy.record(KEEPS_A_HASH)
    toy.change('key = Key("k")', 'made = key = Key("k")')
    hashes = iter(range(1, 9))
    report = toy.replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the difference varies between processes, maybe because of hash() in Key.__init__" in str(report)
    hashes = iter([1] * 9)
    assert toy.replay().verdict == "DIVERGED"  # it does not vary
    toy.record(KEEPS_A_HASH.replace("hash(name)", "4"))
    toy.change("return key", 'key.kept = hash("k"); return key')
    hashes = iter(range(1, 9))
    assert toy.replay().verdict == "DIVERGED"
