"""`play_run` tells what the record holds, in the order in which it began, and runs nothing."""

import pytest

from Agent.archive.verify import verify
from Agent.errors import AgentNotFound, ReplayError
from Agent.replay import play_run, replay_run
from Agent.replay import playback as playback_module
from Agent.tree.layout import list_sessions, run_ids

TALE = """
class Teller:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "teller"
        self.logger = AgentLogger(name, "teller")
        self.told, self.mood = 0, "calm"

    @trace_agent_action
    def tell(self, text):
        self.told += 1
        self.logger.log_action("noted", {"text": text})
        return self.shout(text) if self.told < 3 else self.fail()

    @trace_agent_action
    def shout(self, text):
        self.mood = "loud"
        return text.upper()

    @trace_agent_action
    def fail(self):
        del self.mood
        raise ValueError("no more")

def main():
    from Agent import tick
    first, second = Teller("a"), Teller("b")
    with tick(4):
        first.tell("one")
    second.tell("two")
    first.tell("three")
    try:
        first.tell("four")
    except ValueError:
        pass
"""


def test_steps_come_in_order_with_their_depth(toy):
    playback = play_run("last", root=toy.record(TALE).root)
    assert [(step.agent_id, step.action, step.depth, step.outcome) for step in playback] == [
        ("a", "tell", 0, "ok"),
        ("a", "noted", 1, "note"),
        ("a", "shout", 1, "ok"),
        ("b", "tell", 0, "ok"),
        ("b", "noted", 1, "note"),
        ("b", "shout", 1, "ok"),
        ("a", "tell", 0, "ok"),
        ("a", "noted", 1, "note"),
        ("a", "shout", 1, "ok"),
        ("a", "tell", 0, "error"),
        ("a", "noted", 1, "note"),
        ("a", "fail", 1, "error"),
    ]
    assert playback.sound
    assert playback.exit_code == 0
    first = playback.steps[0]
    assert (first.args, first.result, first.tick) == ({"text": "one"}, "ONE", 4)
    assert first.changed == {"told": 1, "mood": "loud"}
    assert playback.steps[-3].removed == ("mood",)
    assert playback.steps[-3].error == "ValueError: no more"


def test_one_agent_is_played_alone(toy):
    playback = play_run("last/b", root=toy.record(TALE).root)
    assert [step.action for step in playback] == ["tell", "noted", "shout"]
    text = str(playback)
    assert "b tell {'text': 'two'} -> 'TWO'" in text
    assert "told = 1" in text


def test_steps_are_shown_before_the_whole_record_is_accounted_for(toy, monkeypatch):
    toy.record(TALE)
    playback = play_run("last/b", root=toy.root)
    asked = []
    monkeypatch.setattr(playback_module, "verify", lambda session: asked.append(1) or verify(session))
    shown = playback.lines()
    assert "3 steps" in next(shown)
    assert "b tell {'text': 'two'} -> 'TWO'" in next(shown)
    assert not asked
    assert list(shown)[-1] == "the recording is sound"
    assert playback.exit_code == 0 and asked == [1]


def test_no_code_is_needed(toy):
    toy.record(TALE)
    toy.path.unlink()
    assert len(play_run("last", root=toy.root)) == 12


def test_damage_is_told(toy):
    toy.record(TALE)
    path = list_sessions(toy.root)[-1].path / "agents" / "b.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"not an event\n", *lines[2:]]))
    playback = play_run("last/b", root=toy.root)
    assert not playback.sound
    assert playback.exit_code == 1
    assert any("b.log:2" in place for place in playback.damage)


@pytest.mark.parametrize("damage", ["description", "edit", "lost"])
def test_it_is_sound_exactly_if_verify_says_so(damage, toy):
    toy.record(TALE)
    session = list_sessions(toy.root)[-1].path
    assert play_run("last", root=toy.root).sound
    if damage == "description":
        (session / "session.json").write_bytes(b"[1,2")
    elif damage == "edit":
        path = session / "agents" / "b.log"
        path.write_bytes(path.read_bytes().replace(b"two", b"ten"))
    else:
        (session / "agents" / "b.log").unlink()
    playback = play_run("last", root=toy.root)
    verification = verify(session)
    assert not verification.sound
    assert (playback.sound, playback.exit_code) == (False, 1)
    assert playback.damage == tuple(verification.faults()) != ()
    assert "the recording has" in str(playback)


def test_an_agent_that_is_not_there_is_an_error(toy):
    toy.record(TALE)
    with pytest.raises(AgentNotFound, match="no agent 'zz'"):
        play_run("last/zz", root=toy.root)


RECORDED_RUN = """
from Agent.flight import record_tool
from Agent.flight import recorder

@record_tool
def search(query):
    return {"hits": [query]}

def main():
    with recorder.run("asker"):
        with recorder.step("look_up"):
            search("tea")
"""


def test_a_run_of_the_recorder_is_played_by_its_id(toy):
    root = toy.record(RECORDED_RUN).root
    (run_id,) = [name for name in run_ids(list_sessions(root)[-1].path) if name != "root"]
    for name in (run_id, run_id[:12], "last"):
        steps = [(step.action, step.depth, step.result) for step in play_run(name, root=root)]
        assert [step[:2] for step in steps] == [("look_up", 0), ("search", 1)]
        assert steps[1][2] == {"hits": ["tea"]}
    assert play_run(run_id, root=root).run == run_id


def test_what_cannot_be_driven_says_what_can_be_done_instead(toy):
    root = toy.record(RECORDED_RUN).root
    (run_id,) = [name for name in run_ids(list_sessions(root)[-1].path) if name != "root"]
    with pytest.raises(ReplayError, match="is a run of the recorder") as told:
        replay_run(run_id, root=root)
    assert f"agent-trace play {run_id}" in told.value.remedy
    with pytest.raises(ReplayError, match="nothing to replay") as told:
        replay_run("last", root=root)
    assert told.value.exit_code == 4
