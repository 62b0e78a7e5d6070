"""Names on disk: agents' ids become safe file names, sessions are made exclusively and found again."""

import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.errors import SessionNotFound
from Agent.event.kinds import Category
from Agent.tree import layout
from Agent.tree.layout import (
    FORKED,
    RESUMED,
    agent_files,
    create_session_dir,
    find_session,
    list_sessions,
    parse_file_name,
    safe_name,
    session_file,
    tree_files,
)

HOSTILE_IDS = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a_b",
    "a\\b",
    "a b",
    "A_B",
    "a_B",
    "x" * 300,
    "x" * 301,
    "ä" * 150,
    "CON",
    "con",
    "con.txt",
    "nul",
    "LPT1",
    "com0.tar.gz",
    "\N{ROBOT FACE}",
    "\ud800",
    "a\0b",
    "a\nb",
    "a@b",
    "@",
    "agent.1",
    "agent.01",
    "agent.",
    "agent..",
    ".hidden",
    "-rf",
    "~",
    "a~b",
    "agent~aaaaaaaaaaaaaaaa",
    "\N{KELVIN SIGN}",
    "k",
    "\N{LATIN SMALL LETTER LONG S}",
    "s",
    "İ",
    "i",
    "ß",
    "ss",
    "log",
    "agents.log",
    "\N{FULLWIDTH LATIN CAPITAL LETTER A}",
    " ",
    "a ",
    "a.",
    "٣",
    "agent.٣",
]
ids = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="aA.@~-_1 /", max_size=8),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Nd"]), max_size=5),
    st.sampled_from(HOSTILE_IDS),
)


@pytest.mark.parametrize("agent_id", ["creator_001", "a", "7", "audience-12", "tools.search", "user_x.y-z"])
def test_an_ordinary_id_is_its_own_file_name(agent_id):
    assert safe_name(agent_id) == agent_id


@pytest.mark.parametrize("agent_id", HOSTILE_IDS)
def test_a_hostile_id_gets_one_plain_file_name(agent_id, tmp_path):
    name = safe_name(agent_id)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*", name)
    assert len(name.encode()) <= 120
    assert not re.search(r"\.[0-9]+\Z", name)
    assert name.partition(".")[0].lower() not in {"con", "nul", "aux", "prn", "lpt1", "com0"}
    path = tmp_path / f"{name}@abcdefgh.999999.log"
    path.touch()
    assert path.parent == tmp_path
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_hostile_ids_never_share_a_name_even_without_case():
    names = {safe_name(agent_id).casefold() for agent_id in HOSTILE_IDS}
    assert len(names) == len(set(HOSTILE_IDS))


@given(st.lists(ids, min_size=2, max_size=8, unique=True))
def test_two_ids_never_share_a_name(agent_ids):
    assert len({safe_name(agent_id).casefold() for agent_id in agent_ids}) == len(agent_ids)


@given(ids, st.none() | st.from_regex(r"[a-z2-7]{8}", fullmatch=True), st.none() | st.integers(1, 10**9))
def test_what_a_file_name_says_is_read_back(agent_id, writer, segment):
    name = safe_name(agent_id)
    parts = name + ("" if writer is None else f"@{writer}") + ("" if segment is None else f".{segment}")
    assert parse_file_name(f"{parts}.log") == (name, writer, segment)


@pytest.mark.parametrize(
    "name", ["session.json", ".a.log.abcdefgh.new", "a.log.1", "a.txt", ".log", "a@b@c.log"]
)
def test_other_names_are_no_log_files(name):
    assert parse_file_name(name) is None


def test_an_agents_files_are_found_in_order_and_no_others(tmp_path):
    agents = tmp_path / "agents"
    agents.mkdir()
    names = ["a.1.log", "a.2.log", "a.10.log", "a.log", "a@bbbbbbbb.1.log", "a@bbbbbbbb.log"]
    for name in [
        *reversed(names),
        "ab.log",
        "a_b.log",
        "a~aaaaaaaaaaaaaaaa.log",
        "a.txt",
        ".a.log.bbbbbbbb.new",
    ]:
        (agents / name).touch()
    assert [path.name for path in agent_files(tmp_path, "a")] == names
    assert agent_files(tmp_path, "nobody") == []
    assert len(tree_files(tmp_path)) == len(names) + 3


def test_every_category_has_a_session_file_and_a_mirror():
    assert {category.value for category in Category} - {"agents"} == set(layout.CATEGORY_FILES)
    assert {category.value for category in Category} <= set(layout.MIRROR_FILES)


def test_root_and_session_are_private_and_the_root_says_what_it_is(tmp_path):
    root = tmp_path / "trace"
    session, session_id = create_session_dir(root, "20261120_103045")
    assert session_id == "20261120_103045"
    for directory in (root, session, session / "agents", session / ".state", session / ".state" / "writers"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    readme = root / "README.md"
    assert stat.S_IMODE(readme.stat().st_mode) == 0o600
    readme.write_text("mine")
    create_session_dir(root, "20261120_103046")
    assert readme.read_text() == "mine"


def test_sessions_of_one_second_each_get_a_directory(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_session_dir(tmp_path, "20261120_103045"), range(12)))
    found = [session_id for _, session_id in made]
    assert sorted(found) == sorted(["20261120_103045", *(f"20261120_103045-{n}" for n in range(2, 13))])
    listed = [session.session_id for session in list_sessions(tmp_path)]
    assert listed == ["20261120_103045", *(f"20261120_103045-{n}" for n in range(2, 13))]


def test_a_session_is_found_by_id_prefix_path_and_as_the_last(tmp_path):
    for session_id in ("20261119_000000", "20261120_103045", "20261120_103045", "20261120_110000"):
        create_session_dir(tmp_path, session_id)
    last = tmp_path / "session_20261120_110000"
    assert find_session(tmp_path) == find_session(tmp_path, "last") == last
    assert find_session(tmp_path, "20261119").name == "session_20261119_000000"
    assert find_session(tmp_path, "session_20261120_103045").name == "session_20261120_103045"
    assert find_session(tmp_path, "20261120_103045-2").name == "session_20261120_103045-2"
    assert find_session(tmp_path, str(last)) == find_session(tmp_path, last) == last


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("20261120", "beginning of 2"),
        ("1999", "no session '1999'"),
        ("", "no session"),
        ("/nowhere/at/all", "no session there"),
    ],
)
def test_a_session_that_is_not_there_is_told_in_one_line(ref, told, tmp_path):
    create_session_dir(tmp_path, "20261120_103045")
    create_session_dir(tmp_path, "20261120_103046")
    with pytest.raises(SessionNotFound, match=told) as caught:
        find_session(tmp_path, ref)
    assert caught.value.remedy


def test_last_is_what_a_program_recorded_and_last_fork_what_was_made_of_it(tmp_path):
    made = {}
    for name, key in (("20261120_100000", None), ("20261120_110000", FORKED), ("20261120_120000", RESUMED)):
        made[name], _ = create_session_dir(tmp_path, name)
        session_file(made[name]).write_bytes(orjson.dumps({"session_id": name, **({key: {}} if key else {})}))
    assert find_session(tmp_path, "last") == find_session(tmp_path) == made["20261120_100000"]
    assert find_session(tmp_path, "last-fork") == made["20261120_120000"]
    shutil.rmtree(made["20261120_100000"])
    with pytest.raises(SessionNotFound, match=r"only forked or resumed runs.*last-fork"):
        find_session(tmp_path, "last")


def test_without_a_fork_there_is_no_last_fork(tmp_path):
    create_session_dir(tmp_path, "20261120_103045")
    with pytest.raises(SessionNotFound, match="no forked or resumed run"):
        find_session(tmp_path, "last-fork")


def test_an_empty_root_has_no_last_session(tmp_path):
    with pytest.raises(SessionNotFound, match="no session here yet"):
        find_session(tmp_path / "none")


def test_a_directory_with_nothing_of_a_session_in_it_is_none_and_never_the_last(tmp_path):
    session, session_id = create_session_dir(tmp_path, "20261120_103045")
    (tmp_path / "session_notatime").mkdir()
    (tmp_path / "session_20990101_000000").mkdir()
    (tmp_path / "session_20990101_000000" / "notes.txt").touch()
    assert [listed.session_id for listed in list_sessions(tmp_path)] == [session_id]
    assert find_session(tmp_path) == session
    with pytest.raises(SessionNotFound):
        find_session(tmp_path, "notatime")
