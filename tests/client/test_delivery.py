"""How events get delivered: portions, patience, what is tried again, what is refused, and what ends it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time

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


def taken(count, refused=()):
    return ServiceResponse(200, {"accepted": count, "duplicates": 0, "refused": list(refused)})


TAKEN = taken(1)
URL = "http://127.0.0.1:9"


class Scripted(Connection):
    """Answers what it is told to, one after another, the last for ever."""

    def __init__(self, *answers):
        super().__init__(Destination(URL))
        self.answers = list(answers)
        self.bodies = []
        self.timeouts = []

    def post(self, body, path="/v1/events", *, timeout_s=30.0):
        self.timeouts.append(timeout_s)
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
    service = Scripted(
        ServiceResponse(200, {"accepted": 2, "duplicates": 1, "refused": [{"index": 0, "problem": "no id"}]})
    )
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
    assert sum(waits) == pytest.approx(3.0, abs=0.1)


def test_patience_is_the_time_that_passes_however_long_each_request_takes(monkeypatch):
    clock = itertools.count(step=2)  # a request takes two seconds
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    service = Scripted(TimeoutError("timed out"))
    made, waits = delivery(service, patience_s=5.0)
    with pytest.raises(NotDelivered, match="timed out"):
        made.deliver(events(1))
    assert sum(waits) == pytest.approx(5.0 - 2 * len(service.bodies) + 2, abs=2)
    assert service.timeouts[0] == 5.0
    assert all(1.0 <= timeout_s <= 5.0 for timeout_s in service.timeouts)


def test_one_request_that_takes_all_of_the_patience_is_not_the_last(monkeypatch):
    clock = itertools.count(step=30)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    service = Scripted(TimeoutError("timed out"), TAKEN)
    made, _ = delivery(service, patience_s=30.0)
    made.deliver(events(1))
    assert (made.outcome.sent, service.timeouts) == (1, [30.0, 1.0])


_COUNTS = {"accepted": 1, "duplicates": 1, "refused": []}
STRANGE = [
    {},
    {"status": "ok"},
    {"accepted": 3},
    {**_COUNTS, "accepted": 2.0},
    {**_COUNTS, "accepted": True},
    {**_COUNTS, "accepted": -1, "duplicates": 3},
    {**_COUNTS, "accepted": "2"},
    {**_COUNTS, "duplicates": 2},
    {**_COUNTS, "duplicates": None},
    {**_COUNTS, "refused": {"index": 0}},
    {**_COUNTS, "refused": [{}] * 2},
]


@pytest.mark.parametrize("body", STRANGE, ids=str)
@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_answer_that_does_not_account_for_each_event_is_no_answer(status, body):
    service = Scripted(ServiceResponse(status, body))
    made, _ = delivery(service, patience_s=2.0)
    with pytest.raises(NotDelivered, match="another program may listen there"):
        made.deliver(events(2))
    assert made.outcome.sent == 0


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_that_is_not_the_services_costs_no_event(status):
    service = Scripted(TAKEN, ServiceResponse(status, {}))
    made, _ = delivery(service)
    made.deliver(events(1))
    with pytest.raises(NotDelivered, match=str(status)):
        made.deliver(events(1))
    assert made.outcome.refused == 0


def test_a_refused_event_does_not_hide_which_database_has_the_others():
    service = Scripted(
        ServiceResponse(200, {**_COUNTS, "duplicates": 0, "database": "first"}),
        ServiceResponse(413, {"error": {"message": "too large"}}),
    )
    made, _ = delivery(service)
    made.deliver(events(1))
    made.deliver(events(1))
    assert (made.outcome.sent, made.outcome.refused, made.outcome.database) == (1, 1, "first")


_HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "nothing": (b"", b""),
    "the head": (_HEAD, b"X"),
    "the body": (_HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "go on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.first_case
@pytest.mark.parametrize(("first", "again"), DRIPS.values(), ids=DRIPS)
def test_an_answer_that_comes_in_drips_is_given_up_in_time(first, again):
    ended = threading.Event()

    def drip():
        with contextlib.suppress(OSError):  # who asked has hung up
            answering, _ = listening.accept()
            with answering:
                answering.sendall(first)
                while not ended.wait(0.05):
                    answering.sendall(again)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip)
        thread.start()
        connection = Connection(Destination(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        begun_s = time.monotonic()
        try:
            with pytest.raises(OSError, match="timed out"):
                connection.post(b"{}", timeout_s=0.5)
            assert time.monotonic() - begun_s < 5
        finally:
            ended.set()
            connection.close()
            thread.join()


@pytest.mark.parametrize("keeps", [True, False])
def test_an_answer_is_read_whole_whether_its_connection_is_kept_or_not(keeps):
    body = b'{"database": "' + b"x" * 300_000 + b'"}'
    close = b"" if keeps else b"Connection: close\r\n"

    def answer():
        answering, _ = listening.accept()
        with answering, answering.makefile("rb") as asked:
            for _ in range(2 if keeps else 1):
                head = dict(
                    line.lower().split(b": ") for line in iter(asked.readline, b"\r\n") if b": " in line
                )
                asked.read(int(head[b"content-length"]))
                answering.sendall(_HEAD + close + b"Content-Length: %d\r\n\r\n" % len(body))
                answering.sendall(body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        connection = Connection(Destination(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        for _ in range(2 if keeps else 1):
            assert connection.post(b"{}").body == orjson.loads(body)
        connection.close()
        thread.join()


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
            ServiceResponse(status, {"error": {"message": "event 5 is bad"}}) if 5 in ids else taken(len(ids))
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
