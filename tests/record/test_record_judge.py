"""The judge in C and the judge in Python: what one passes the other would write the same way."""

import copy
import datetime as dt
import json
import sys
import types
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_kit import recording
from sameness import same
from strategies import hostile_values, json_values, restorable_values

from Agent.event.values import values
from Agent.event.values.reading import DEFAULT_LIMITS, Limits
from Agent.event.values.values import decode_value, to_json
from Agent.record.emit import lines
from Agent.record.encode import capture as judging
from Agent.record.encode.capture import Capture, SweepingJudge, make_judge
from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.issuers import NAME_ENDS, NAMES_NEARBY, literals, looks_clean
from Agent.record.state.tracker import StateTracker
from Agent.utils import AgentLogger

needs_native = pytest.mark.skipif(judging.native is None, reason="the native judge was not built")


def _filled(literal):
    """A text that a literal of the quick look stands for."""
    return literal.decode().replace("#", "e").replace("?", "Z")


# Texts in which what the sweeps look for is likely to stand, in all its neighbourhoods.
_PIECES = st.sampled_from(
    [_filled(piece) for piece in (*literals().beginnings, *literals().heads, *NAMES_NEARBY, *NAME_ENDS)]
    + ["a" * 19, "b" * 20, "Z9" * 15, str(uuid.UUID(int=7)), "some/long/path/of/a/file", "deadbeef" * 3]
    + [
        "=",
        ":",
        ": ",
        "@",
        "://",
        "\\",
        "'",
        '"',
        "\n",
        "\t",
        " ",
        "_",
        "-",
        "+",
        "/",
        "w",
        "12345678:",
        ">",
        "$",
        "$6$",
        ",",
        " is ",
        " -p",
        " --user ",
        "identified by ",
        "1234567|",
        "~",
        "Q~",
        "é",
        "\x01",
    ]
    + ["PRIVATE KEY", "passw", "PassW", "nsk-", "u0041sk-"]
)
_LOADED_TEXTS = st.lists(_PIECES, max_size=8).map("".join)


def judges(known=(), *, enabled=True):
    redactor = Redactor(b"key", enabled=enabled)
    redactor.known_keys.update(known)
    return make_judge(redactor, DEFAULT_LIMITS), SweepingJudge(redactor, DEFAULT_LIMITS)


def answer(call, *args):
    """What it gives, None also where it raises: then the careful way is taken."""
    try:
        return call(*args)
    except Exception:
        return None


@needs_native
@given(st.lists(_LOADED_TEXTS, max_size=4))
def test_bytes_are_clean_to_both_or_to_neither(texts):
    quick, sweeping = judges()
    for raw in (orjson.dumps(texts), "".join(texts).encode(), orjson.dumps({text: text for text in texts})):
        assert quick.clean(raw) == sweeping.clean(raw) == looks_clean(raw)


@needs_native
def test_no_beginning_of_a_key_passes_in_a_long_run():
    quick, _ = judges()
    for beginning in map(_filled, literals().beginnings):
        for before in ("", " ", "x/", "n", "\n", "see-", "\\u0041"):
            raw = orjson.dumps({"m": before + beginning + "Q7" * 20})
            assert quick.clean(raw) == looks_clean(raw)
            assert before == "n" or not quick.clean(raw), raw


@needs_native
def test_no_head_of_a_key_passes_before_a_long_run():
    quick, _ = judges()
    for head in map(_filled, literals().heads):
        for before in ("", " ", "\n", "(", "see: "):
            raw = orjson.dumps({"m": before + head + "Q7" * 20})
            assert quick.clean(raw) == looks_clean(raw)
            assert not quick.clean(raw), raw


@needs_native
@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4))
def test_plain_payloads_get_the_same_bytes(payload):
    quick, sweeping = judges(_keys_in(payload))
    assert answer(quick.line_end, payload) == answer(sweeping.line_end, payload)
    assert answer(quick.value, payload) == answer(sweeping.value, payload)


def _keys_in(value):
    if type(value) is dict:
        return {key for key in value if type(key) is str}.union(*map(_keys_in, value.values()))
    return set().union(*map(_keys_in, value)) if type(value) in {list, tuple} else set()


@needs_native
@given(st.dictionaries(st.text(max_size=6), restorable_values, max_size=3))
def test_tagged_payloads_are_what_the_whole_walk_gives_and_come_back(payload):
    quick, _ = judges(_keys_in(payload), enabled=False)
    judged = answer(quick.tagged, payload, "/extra")
    if judged is None:
        return
    raw, types = judged
    for key, value in payload.items():
        place = "/extra/" + key.replace("~", "~0").replace("/", "~1")
        slow = to_json(value, place)
        assert json.loads(raw)[key] == json.loads(slow.json)
        mine = {at: tag for at, tag in (types or {}).items() if at == place or at.startswith(place + "/")}
        assert mine == (slow.types or {})
        assert same(decode_value(json.loads(raw)[key], types or {}, place), value)


@needs_native
def test_times_uuids_and_tuples_take_the_short_way():
    quick, _ = judges({"when", "day", "id", "at", "a/b"})
    payload = {
        "x": {"when": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "day": dt.date(1, 2, 3)},
        "y": {"id": uuid.UUID(int=1), "at": (1, 2.5), "a/b": [(1,)]},
    }
    raw, types = quick.tagged(payload, "/extra")
    assert json.loads(raw)["x"] == {"when": "2026-01-02T03:04:05.000006+00:00", "day": "0001-02-03"}
    assert types == {
        "/extra/x/when": "datetime",
        "/extra/x/day": "date",
        "/extra/y/id": "uuid",
        "/extra/y/at": "tuple",
        "/extra/y/a~1b/0": "tuple",
    }


@needs_native
@pytest.mark.parametrize(
    "value",
    [
        ("password", "hunter2"),
        {"unknown": 1},
        {1: 2},
        float("nan"),
        [float("inf")],
        {1, 2},
        uuid.UUID(int=1, is_safe=uuid.SafeUUID.unsafe),
        dt.datetime(2026, 1, 1, fold=1),
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.time(1),
        type("Text", (str,), {})("x"),
        type("Rows", (list,), {})(),
        [[[[[[[[[[[[1]]]]]]]]]]]],
        "\ud800",
        2**64,
        [(1,)] * 5000,
        "x" * 200_000,
    ],
    ids=lambda value: type(value).__name__ + repr(value)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_what_is_special_is_left_to_the_careful_way(value):
    quick, _ = judges()
    for call in (quick.tagged, quick.line_end):
        assert answer(call, {"x": value}, *(("/extra",) if call == quick.tagged else ())) is None


@needs_native
@given(hostile_values)
def test_values_that_fight_back_are_left_alone_and_none_leaks(recipe):
    quick, _ = judges()
    value = recipe()
    before = sys.getrefcount(value)
    for _ in range(3):
        answer(quick.tagged, {"x": value, "y": [value]}, "/extra")
        answer(quick.value, value)
    assert sys.getrefcount(value) == before


@needs_native
@given(
    st.dictionaries(
        st.sampled_from(["salt", "pin", "token", "tokens", "password", "cash", "session_id"]),
        st.one_of(
            st.integers(-200, 200), st.floats(), st.booleans(), st.none(), st.just(10**400), st.just("x")
        ),
    )
)
def test_numbers_that_are_no_secrets_pass_under_any_name(payload):
    redactor = Redactor(b"key")
    for name in payload:
        redactor.says(name)
    for value in (payload, [payload], {"cash": payload}):
        redactor.says("cash")
        raws = [
            judge.value(value)
            for judge in (make_judge(redactor, DEFAULT_LIMITS), SweepingJudge(redactor, DEFAULT_LIMITS))
        ]
        assert raws[0] == raws[1]
        if raws[0] is not None:
            body, types = redactor.payload(b'"x":' + raws[0], None, "")
            assert (body, types) == (b'"x":' + raws[0], None)


def test_a_small_number_under_the_name_of_a_secret_takes_the_quick_way():
    redactor = Redactor(b"key")
    for name in ("salt", "pin", "session_id"):
        redactor.says(name)
    for judge in (make_judge(redactor, DEFAULT_LIMITS), SweepingJudge(redactor, DEFAULT_LIMITS)):
        assert judge.value({"salt": 5, "pin": None, "session_id": 123456}) is not None
        assert judge.value({"pin": 1234}) is None
        assert judge.value({"salt": "x"}) is None


@needs_native
def test_no_reference_is_kept_or_lost():
    quick, _sweeping = judges({"a", "b"})
    value = {"a": [1.5, "x", (1, 2)], "b": uuid.UUID(int=3)}
    spare = copy.deepcopy(value)
    counts = [sys.getrefcount(one) for one in (value, value["a"], value["a"][2], value["b"], quick)]
    for _ in range(2000):
        quick.tagged({"x": value}, "/extra")
        quick.line_end({"x": value["a"][:2]})
        quick.clean(b'{"m":"password: x"}')
    assert counts == [sys.getrefcount(one) for one in (value, value["a"], value["a"][2], value["b"], quick)]
    assert value == spare


def test_narrow_limits_are_kept_by_the_judge_in_python():
    assert isinstance(make_judge(Redactor(b"key"), Limits(max_depth=4)), SweepingJudge)


def test_without_the_native_judge_the_same_lines_are_written(monkeypatch):
    def lines():
        with recording() as found:
            agent = AgentLogger("a1", "creator")
            agent.log_action("post", {"id": uuid.UUID(int=5), "n": [1, 2, (3, 4)], "password": "hunter2"})
            agent.log_action("post", {"text": 'a "quoted" text', "deep": {"x": {"y": None}}})
            agent.info("see sk-proj-" + "a1B2" * 8, {"k": float("nan")})
            return [
                {key: value for key, value in event.items() if key not in {"id", "timestamp"}}
                for event in found.events
            ]

    quick = lines()
    monkeypatch.setattr(judging, "native", None)
    assert lines() == quick


@needs_native
@given(
    st.dictionaries(st.sampled_from("abcdef"), json_values, max_size=5),
    st.dictionaries(st.sampled_from("abcdef"), json_values, max_size=5),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([int, str, dict, list]), max_size=2),
)
def test_of_a_state_only_what_may_differ_is_looked_at(present, last, ignored):
    last.update({name: copy.deepcopy(value) for name, value in present.items() if name in "abc"})
    expected = [
        (name, value)
        for name, value in present.items()
        if not (
            type(value) in {str, int, float, bool, type(None)}
            and name in last
            and type(last[name]) is type(value)
            and last[name] == value
        )
        and ignored.get(name) is not type(value)
    ]
    found = judging.native.differing(present, last, ignored)
    assert repr(found) == repr(expected if expected or not last.keys() <= present.keys() else None)


@needs_native
@given(st.integers(0, 999_999), st.integers(1, 2**63), st.lists(st.binary(max_size=20), max_size=5))
def test_a_line_is_stamped_the_same_way_by_both(microsecond, seq, parts):
    given_ = ('{"timestamp":"2026-11-20T10:30:45.', microsecond, "k3v9q2ma", seq, *parts)
    assert judging.native.stamped(*given_) == lines._stamped(*given_)


@needs_native
def test_a_line_is_made_of_ascii_and_bytes_only():
    for wrong in (("é", 1, "w", 1), ("p", 1, "ü", 1), ("p", 1, "w", 1, "text"), ("p", 1, "w", -1), ("p", 1)):
        with pytest.raises((TypeError, OverflowError)):
            judging.native.stamped(*wrong)


@needs_native
@pytest.mark.parametrize("key", ["a/b~c", "é/", "k" * 400, "", "~", "🙂" * 200])
def test_a_tag_stands_under_the_pointer_of_its_place(key):
    quick, _ = judges({key})
    _, types = quick.tagged({key: [{key: [0] * 11 + [(1,)]}]}, "/extra")
    place = key.replace("~", "~0").replace("/", "~1")
    assert types == {f"/extra/{place}/0/{place}/11": "tuple"}


class Plan:
    def __init__(self, **leaves):
        vars(self).update(leaves)


class Member:
    """An agent, where the capture is asked."""


_SHARED = Plan(count=1, name="one object at two places")
_LEAVES = st.one_of(st.none(), st.integers(), st.floats(), st.booleans(), _LOADED_TEXTS, st.just([1]))
_PLANS = st.one_of(
    st.dictionaries(st.sampled_from(["a", "count", "password", "b"]), _LEAVES, max_size=3).map(
        lambda d: Plan(**d)
    ),
    st.just(_SHARED),
    st.builds(Member),
)
_PAYLOADS = st.dictionaries(
    st.sampled_from(["x", "y", "z"]),
    st.recursive(_PLANS, lambda v: st.lists(v, max_size=3) | st.fixed_dictionaries({"in": v}), max_leaves=4),
    max_size=3,
)


@needs_native
@given(_PAYLOADS)
def test_payloads_with_objects_are_what_the_longest_way_gives(payload):
    def agent_of(value):
        return "m" if type(value) is Member else None

    slow_form = values.form_of_scalars
    short, long = (Capture(Redactor(b"key"), agent_of=agent_of) for _ in range(2))
    # twice: names are known from then on
    found = [short.body(payload) for _ in range(2)]
    values.form_of_scalars = lambda *_: None
    try:
        assert found == [long.careful_body(payload, "/extra") for _ in range(2)]
    finally:
        values.form_of_scalars = slow_form


@needs_native
def test_an_object_whose_question_changes_the_payload_takes_the_careful_way():
    payload = {"plan": Plan(count=1), "rest": [1]}

    def agent_of(value):
        payload["rest"] = [{"unknown name": float("nan")}]

    capture = Capture(Redactor(b"key"), agent_of=agent_of)
    capture.known_keys.update(["count", "repr", "class", "attributes", "digest"])
    assert capture.judge.tagged(payload, "/extra") is None
    raw, types = capture.body(payload)
    assert json.loads(b"{" + raw + b"}")["rest"] == [{"unknown name": "NaN"}]
    assert set(types) == {"/extra/plan", "/extra/rest/0/unknown name"}


@pytest.mark.further
@needs_native
def test_a_judge_is_collected_with_its_pipeline():
    import gc

    def judges():
        gc.collect()
        return [each for each in gc.get_objects() if type(each) is judging.native.Judge]

    others = judges()  # held, so that those of other tests cannot go meanwhile
    capture = Capture(Redactor(b"key"), agent_of=lambda value: None)
    for _ in range(3):
        capture.body({"plans": [Plan(count=1), Plan(count=2)]})
    assert capture.careful_count == 1  # whose names are known is looked at in C
    assert len(judges()) == len(others) + 1
    del capture
    assert len(judges()) == len(others)


_TAGS = st.sampled_from(
    ["", '{"":"opaque"}', '{"":"numpy:float64"}', '{"":"str"}', '{"":"tuple"}', '{"/a":"opaque"}']
)
_RAW = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    _LOADED_TEXTS,
    st.dictionaries(st.sampled_from(["name", "steps", "api_key"]), _LOADED_TEXTS | st.booleans(), max_size=2),
    st.lists(st.booleans() | st.none(), max_size=3),
)
_COMPARED = st.one_of(
    st.builds(
        lambda value, tags: orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS) + tags.encode(),
        _RAW,
        _TAGS,
    ),
    _LOADED_TEXTS.map(lambda text: b"agent " + text.encode()),
    _LOADED_TEXTS,
    st.floats(),
    st.none(),
)
_FIELDS = st.sampled_from(["name", "steps", "place", "a/b", "a~b", 'a"b', "api_key", "\u00fc"])


def in_python(capture, last, heavy, forms):
    """What the slow path makes of the last known fields of an agent."""
    tracker = StateTracker(Capture, lambda _: None, "a", types.SimpleNamespace(), None)
    tracker.last, tracker.heavy = dict(last), heavy | forms.keys()
    tracker.environments = {name: orjson.loads(form) for name, form in forms.items()}
    seen = tracker.last_seen(lambda *_: None, {})
    values = capture.user_body(seen.values, "/extra/fields", "a")
    return capture.joined(values, capture.dumped_body(seen.dumped, "/extra/fields"))


@needs_native
@given(
    st.dictionaries(_FIELDS, _COMPARED, max_size=4),
    st.frozensets(_FIELDS, max_size=1),
    st.dictionaries(_FIELDS, _RAW.filter(lambda raw: type(raw) is dict).map(orjson.dumps), max_size=2),
)
def test_the_last_known_fields_of_an_agent_are_the_same_bytes_to_both(last, heavy, forms):
    last = {name: value for name, value in last.items() if name not in forms}
    with recording() as recorded:
        capture = recorded.pipeline.capture
        capture.known_keys.update(["name", "steps", "place", "a/b", "a~b", 'a"b', "\u00fc"])
        quick = capture.judge.noted(last, heavy - forms.keys(), forms, "/extra/fields")
        if quick is not None:
            assert quick == in_python(capture, last, heavy - forms.keys(), forms)


@needs_native
@given(st.dictionaries(_FIELDS, _RAW, max_size=3))
def test_json_that_stays_is_json_that_the_slow_path_leaves_as_it_is(payload):
    redactor = Redactor(b"key")
    redactor.known_keys.update(["name", "steps", "place"])
    capture = Capture(redactor)
    body = orjson.dumps(payload)[1:-1]
    if capture.judge.stays(body, frozenset({"a/b"})):
        assert redactor.payload(body, None, "/extra")[0] == body
        assert looks_clean(body)


@needs_native
def test_most_last_states_take_the_fast_path():
    capture = Capture(Redactor(b"key"))
    capture.known_keys.update(["name", "steps", "place", "class", "repr", "reference", "other"])
    last = {"name": "x", "steps": 1, "place": b'1.5{"":"numpy:float64"}', "other": b"agent 7"}
    forms = {"class": b'{"repr":"<a>","reference":"environment a"}'}
    inner, types = capture.judge.noted(last, frozenset(), forms, "/extra/fields")
    assert orjson.loads(b"{" + inner + b"}") == {
        "name": "x",
        "steps": 1,
        "class": {"repr": "<a>", "reference": "environment a"},
        "place": 1.5,
        "other": "7",
    }
    assert types == {
        "/extra/fields/class": "opaque",
        "/extra/fields/place": "numpy:float64",
        "/extra/fields/other": "agent",
    }
