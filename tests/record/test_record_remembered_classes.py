"""What recording remembers of classes and objects is bounded: programs make both without end."""

import gc

from record_kit import recording

from Agent import AgentLogger, instrument
from Agent.event import classes
from Agent.event.payloads import KINDS
from Agent.event.values import class_codecs, class_contents, codecs, opaque
from Agent.record.state import followed_values, identity
from Agent.record.state import introspection as exposure


def test_of_classes_that_are_made_without_end_a_part_is_remembered(monkeypatch):
    most = 50
    monkeypatch.setattr(classes, "MOST_CLASSES", most)
    kept = (
        class_codecs.class_reducer.known, classes.places_of.known, codecs.plan_of.known,
        class_contents.handle_of.known, opaque._is_ordinary.known, exposure.exposure_of.known, exposure._sorts,
        followed_values.is_value.known,
    )  # fmt: skip
    for known in kept:
        known.clear()
    with recording() as found:
        logger = AgentLogger("a")
        for number in range(3 * most):
            made = type(f"Made{number}", (), {"agent_id": f"made_{number}"})()
            made.part = type(f"Part{number}", (), {})()
            exposure.read_state(made)
            logger.log_action("x", {"part": made.part, "agent": made})
        assert not found.health.dropped
    assert [len(known) for known in kept if not 0 < len(known) <= most] == []


def test_a_class_that_cannot_be_remembered_is_looked_at_each_time():
    class Unhashable(type):
        def __hash__(cls):
            raise RuntimeError("not mine")

    known = {}
    assert classes.remember(known, Unhashable("Odd", (), {}), 7) == 7
    assert known == {}


def test_an_object_that_was_named_is_forgotten_when_it_is_gone():
    class Plain:
        def act(self):
            return 1

    before = len(identity.object_identities)
    for number in range(100):
        instrument(Plain(), ["act"], agent_id=lambda _, number=number: f"plain_{number}")
    gc.collect()
    assert len(identity.object_identities) <= before + 1


def test_agents_share_what_does_not_differ_between_them(tmp_path):
    from Agent import setup_logging, shutdown_logging
    from Agent.record.emit import installed

    setup_logging(trace_root=tmp_path)
    try:
        pipeline = installed.active_pipeline()
        one, two = (
            pipeline.binding(name, "role", "agent.role", "agents").slot("agent_action", 20) for name in "ab"
        )
        assert one.own_keys is two.own_keys and {"agent_id", "agent_role", "action_type"} <= one.own_keys
        assert one.mirror is two.mirror is not None
        bare = pipeline.binding(None, None, "system", "system").slot("agent_action", 20)
        assert "agent_role" not in bare.own_keys - {field.name for field in KINDS["agent_action"].fields}
    finally:
        shutdown_logging()
