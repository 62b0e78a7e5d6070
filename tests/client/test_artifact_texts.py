"""What artifacts hold goes along with content alone, and only as text that is short and what was saved."""

import orjson

from Agent import shutdown_logging
from Agent.client.shipment import MAX_ARTIFACT_BYTES, artifact_text
from Agent.export.allow_list import AllowList
from Agent.export.wire import event_to_wire, read_batch
from Agent.flight import recorder
from Agent.tree.layout import list_sessions
from Agent.tree.read.reader import TreeReader

PROSE = "the patient is Jane Doe"


def saved(root):
    """The session, and its events that tell of artifacts, by path."""
    shutdown_logging()
    (session,) = list_sessions(root)
    events = TreeReader(session.path).events(kinds={"artifact.saved"})
    return session.path, {event.extra["path"].removeprefix("artifacts/"): event for event in events}


def test_short_texts_are_read_and_what_is_no_text_or_too_long_is_not(trace_root):
    with recorder.run("weather"):
        recorder.save_artifact("note.txt", PROSE)
        recorder.save_artifact("image.bin", b"\xff\xfe\x00")
        recorder.save_artifact("zeros.txt", "a\0b")
        recorder.save_artifact("long.txt", "x" * (MAX_ARTIFACT_BYTES + 1))
        recorder.save_artifact("gone.txt", PROSE)
        recorder.save_artifact("changed.txt", PROSE)
    session, events = saved(trace_root)
    (found,) = session.glob("runs/*/artifacts/gone.txt")
    found.unlink()
    (found,) = session.glob("runs/*/artifacts/changed.txt")
    found.write_text("something else")
    texts = {name: artifact_text(session, event) for name, event in events.items()}
    assert texts.pop("note.txt") == PROSE
    assert texts == dict.fromkeys(["image.bin", "zeros.txt", "long.txt", "gone.txt", "changed.txt"])


def test_a_reference_that_leads_elsewhere_reads_nothing(trace_root, tmp_path):
    from dataclasses import replace

    (tmp_path / "secret.txt").write_text(PROSE)
    with recorder.run("weather"):
        recorder.save_artifact("note.txt", PROSE)
    session, events = saved(trace_root)
    for ref in (
        "artifact://artifacts/../../../secret.txt",
        "/etc/passwd",
        "artifact://artifacts//etc/passwd",
        7,
    ):
        event = events["note.txt"]
        extra = {**event.extra, "ref": ref, "digest": None, "size_bytes": 1}
        assert artifact_text(session, replace(event, extra=extra)) is None


def test_the_text_is_on_the_wire_with_content_and_stored_where_a_project_takes_it(trace_root):
    with recorder.run("weather"):
        recorder.save_artifact("note.txt", PROSE)
    session, events = saved(trace_root)
    event = events["note.txt"]
    text = artifact_text(session, event)
    uid = "01920000-0000-7000-8000-000000000000"
    for sent, taken in ((False, True), (True, False), (True, True)):
        wire = event_to_wire(event, AllowList(), content=sent, artifact_text=text)
        assert (PROSE in wire.decode()) is sent
        body = {"session": {"session_uid": uid}, "events": [orjson.loads(wire)], "content": sent}
        batch, dropped = read_batch(body, content=taken)
        assert (PROSE in str(batch)) is (sent and taken)
        assert ("/artifact_text" in dropped) is (sent and not taken)
