"""How events get delivered: portions, patience, what is tried again, what is refused, and what ends it."""

from __future__ import annotations

import orjson
import pytest

from Agent.client.destination import (
    MAX_BODY_BYTES,
    MAX_BODY_EVENTS,
    Connection,
    Delivery,
    Destination,
    ServiceResponse,
    Stopped,
    bodies_of,
)
from Agent.errors import ConfigurationError, NotDelivered

TAKEN = ServiceResponse(200, {"stored": 1, "refused": []})
URL = "http://127.0.0.1:9"


class Scripted(Connection):
    """Answers what it is told to, one after another, the last for ever."""

    def __init__(self, *answers):
        super().__init__(Destination(URL))
        self.answers = list(answers)
        self.bodies = []

    def post(self, body, path="/v1/events"):
        self.bodies.append(orjson.loads(body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(self.bodies[-1])
        if isinstance(answer, OSError):
            raise answer
        return answer


def delivery(connection, *, patience_s=None, stop_after=None):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        return stop_after is not None and len(waits) >= stop_after

    made = Delivery(connection, {"session_uid": "u"}, wait, patience_s=patience_s)
    return made, waits


def events(count, size_bytes=20):
    return [orjson.dumps({"id": n, "x": "y" * size_bytes}) for n in range(count)]


def test_what_is_taken_is_counted():
    service = Scripted(ServiceResponse(200, {"stored": 2, "refused": [{"index": 0, "problem": "no id"}]}))
    made, waits = delivery(service)
    made.deliver(events(4))
    assert (made.outcome.sent, made.outcome.stored, made.outcome.refused) == (3, 2, 1)
    assert made.outcome.reasons == {"no id": 1}
    assert [event["id"] for event in service.bodies[0]["events"]] == [0, 1, 2, 3]
    assert waits == []


@pytest.mark.parametrize(
    "trouble",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError("timed out"),
        ServiceResponse(500, {}),
        ServiceResponse(503, {}),
        ServiceResponse(429, {}),
    ],
    ids=str,
)
def test_trouble_that_passes_is_waited_out(trouble):
    made, waits = delivery(Scripted(trouble, trouble, trouble, TAKEN))
    made.deliver(events(1))
    assert made.outcome.sent == 1
    assert made.outcome.retries == 3
    assert made.outcome.problem is None
    assert all(
        low <= wait <= high for wait, (low, high) in zip(waits, [(0.25, 0.5), (0.5, 1), (1, 2)], strict=True)
    )


def test_waits_grow_to_a_minute_and_no_further():
    made, waits = delivery(Scripted(ServiceResponse(503, {})), stop_after=30)
    with pytest.raises(Stopped):
        made.deliver(events(1))
    assert max(waits) <= 60
    assert min(waits[10:]) >= 30


def test_a_service_that_says_when_to_come_back_is_obeyed():
    made, waits = delivery(Scripted(ServiceResponse(429, {}, retry_after_s=7.0), TAKEN))
    made.deliver(events(1))
    assert waits == [7.0]


def test_patience_ends_with_an_error_that_says_that_nothing_is_lost():
    made, waits = delivery(Scripted(ConnectionRefusedError(111, "Connection refused")), patience_s=3.0)
    with pytest.raises(NotDelivered, match=r"no answer \(connection refused\); nothing is lost"):
        made.deliver(events(1))
    assert sum(waits) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "give a key"), (403, "give a key"), (404, "make another"), (301, "make another")],
)
def test_a_key_or_an_address_that_is_wrong_is_told_at_once(status, remedy):
    answer = ServiceResponse(
        status, {"error": {"code": "x", "message": "the key is revoked", "remedy": "make another"}}
    )
    made, waits = delivery(Scripted(answer))
    with pytest.raises(NotDelivered, match=rf"answers {status}.*the key is revoked; {remedy}"):
        made.deliver(events(1))
    assert waits == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_event_that_is_refused_does_not_hold_up_the_others(status):
    def judge(body):
        ids = [event["id"] for event in body["events"]]
        return (
            ServiceResponse(status, {"error": {"message": "event 5 is bad"}})
            if 5 in ids
            else ServiceResponse(200, {"stored": len(ids)})
        )

    made, _ = delivery(Scripted(judge))
    made.deliver(events(11))
    assert (made.outcome.sent, made.outcome.refused) == (10, 1)
    assert next(iter(made.outcome.reasons)).endswith("event 5 is bad")


def test_a_service_that_refuses_everything_from_the_first_on_is_not_asked_a_thousand_times():
    service = Scripted(ServiceResponse(422, {"error": {"message": "another wire"}}))
    made, _ = delivery(service)
    with pytest.raises(NotDelivered, match="another wire"):
        made.deliver(events(1000))
    assert len(service.bodies) < 60


def test_bodies_hold_a_bounded_number_of_events_and_bytes():
    assert [len(portion) for portion in bodies_of(events(2 * MAX_BODY_EVENTS + 1))] == [
        MAX_BODY_EVENTS,
        MAX_BODY_EVENTS,
        1,
    ]
    large = events(5, MAX_BODY_BYTES // 2 - 100)
    assert [len(portion) for portion in bodies_of(large)] == [2, 2, 1]
    assert [len(portion) for portion in bodies_of(events(1, 2 * MAX_BODY_BYTES))] == [1]
    assert bodies_of([]) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x:abc",
        "http://x y",
        "http://x?q=1",
        "http://u:p@x",
        "http://\n",
        None,
        7,
    ],
)
def test_an_address_that_is_none_is_refused_when_it_is_given(url):
    with pytest.raises(ConfigurationError):
        Destination(url)


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "Zoë"])
def test_a_key_that_no_header_can_hold_is_refused_and_never_shown(key):
    with pytest.raises(ConfigurationError):
        Destination(URL, key)
    assert "s3cret" not in repr(Destination(URL, "s3cret"))


def test_each_place_and_key_has_a_cursor_of_its_own_and_none_shows_the_key():
    names = {
        Destination(url, key).cursor_name
        for url in (URL, "http://127.0.0.1:10")
        for key in (None, "s3cret", "other")
    }
    assert len(names) == 6
    assert "s3cret" not in "".join(names)
    assert Destination(URL + "/").cursor_name == Destination(URL).cursor_name


def test_a_key_is_said_to_be_readable_only_where_it_is():
    assert Destination("http://example.com", "k").shows_key
    assert not Destination("https://example.com", "k").shows_key
    assert not Destination("http://localhost:8000", "k").shows_key
    assert not Destination("http://example.com").shows_key
