"""Where an event's code is: from `code` events and tracebacks, which are recorded text and may be anything."""

import pytest

from Agent.event.code_places import CodePlace, CodePlaces, code_place, frame_of

CODE = {
    "digest": "d1",
    "module": "shop.bakery",
    "qualname": "Baker.bake",
    "file": "/home/ada/bakery.py",
    "line": 12,
}
PLACE = CodePlace("/home/ada/bakery.py", 12, "shop.bakery.Baker.bake")
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/home/ada/main.py", line 3, in <module>\n    bake()\n'
    '  File "/home/ada/bakery.py", line 40, in bake\n    oven.heat()\n'
    '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n    raise\n'
    "ValueError: cold\n"
)


def places(*codes):
    found = CodePlaces()
    for each in codes:
        found.add(each)
    return found


def test_an_action_is_where_the_function_of_its_digest_begins():
    assert places(CODE).of("agent_action", {"call": "Baker.bake"}, "d1") == PLACE
    assert places(CODE).of("code", CODE) == PLACE


def test_an_action_without_a_digest_is_placed_by_the_name_of_its_function_if_one_function_has_it():
    nested = ("agent_action", {"call": "Baker.bake"})
    assert places(CODE).of(*nested) == PLACE
    assert places(CODE, CODE | {"digest": "d2", "line": 90}).of(*nested) is None
    assert places(CODE).of("agent_action", {"call": "Baker.knead"}) is None


def test_an_error_is_where_the_programs_own_code_raised_it():
    assert places().of("error", {"traceback": TRACEBACK}) == CodePlace("/home/ada/bakery.py", 40, "bake")
    assert places(CODE).of("error", {"traceback": "no frames", "call": "Baker.bake"}) == PLACE
    assert frame_of(None) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"file": None},
        {"file": "bakery.py"},
        {"file": "../../etc/passwd"},
        {"file": "javascript:alert(1)"},
        {"file": "/home/ada/x\n.py"},
        {"file": "/home/ada/\u202e.py"},
        {"file": "/" + "a" * 5000},
        {"file": ["/home/ada/bakery.py"]},
        {"line": 0},
        {"line": True},
        {"line": "12"},
        {"line": 10**30},
    ],
)
def test_what_is_no_place_in_a_file_gives_none(changed):
    assert code_place(CODE | changed) is None


def test_a_code_event_of_an_older_recording_has_no_place():
    older = {key: value for key, value in CODE.items() if key not in {"file", "line"}}
    found = places(older)
    assert not found and found.of("agent_action", {"call": "Baker.bake"}, "d1") is None
