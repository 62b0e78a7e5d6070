"""A run as one file: the same bytes each time, read elsewhere as here, and hostile files that get nowhere."""

import json
import os
import shutil
import stat
import zipfile
from hashlib import blake2b

import erase_kit as kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.session_files import session_directories

from Agent import LogAnalyzer, setup_logging, shutdown_logging
from Agent.archive.run_export import export_run
from Agent.archive.run_import import PackageLimits, import_run
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify
from Agent.errors import AgentTraceError, DamagedInput, InputError, SessionInUse, UsageError
from Agent.flight import Recorder, find_run, list_runs, read_run
from Agent.utils import AgentLogger


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    place = tmp_path_factory.mktemp("recorded")
    runs = kit.record(place / "trace")
    file = place / "run.zip"
    export_run(find_run(runs["run0"], place / "trace"), file)
    return place / "trace", runs, file


def summary_of(record):
    found = record.summary
    return (
        found.state,
        found.agent,
        found.labels,
        found.started_at,
        found.duration_s,
        found.steps,
        found.artifacts,
    )


def test_a_run_reads_elsewhere_as_it_does_here(recorded, trace_root):
    root, runs, file = recorded
    done = import_run(file, trace_root)
    assert [each.run_id for each in list_runs(trace_root)] == [runs["inner0"], runs["run0"]]
    here, there = read_run(find_run(runs["run0"], root)), read_run(find_run(runs["run0"], trace_root))
    assert (there.steps, there.model_calls, there.artifacts) == (here.steps, here.model_calls, here.artifacts)
    assert there.children == here.children == (runs["inner0"],)
    assert summary_of(there) == summary_of(here)
    for artifact in there.artifacts:
        assert b"".join(there.read(artifact.ref)) == b"".join(here.read(artifact.ref))
    whole = {key: state for key, state in kit.documents(root).items() if key[0] == runs["run0"]}
    assert len(whole) == 12 and kit.documents(trace_root) == whole
    wanted = {key: line for key, line in kit.events(root).items()
              if json.loads(line).get("run_id") in {runs["run0"], runs["inner0"]}}  # fmt: skip
    assert kit.events(trace_root) == wanted
    found = verify(done.session)
    assert found.sound and [row.state for row in found.writers] == ["closed"]
    assert (trace_root / "runs" / runs["run0"]).resolve() == done.session / "runs" / runs["run0"]
    assert LogAnalyzer(done.session.name.removeprefix("session_"), trace_root).losses()["clean"]


def test_the_same_run_gives_the_same_bytes_also_after_its_import(recorded, trace_root, tmp_path):
    root, runs, file = recorded
    again, back = tmp_path / "again.zip", tmp_path / "back.zip"
    export_run(find_run(runs["run0"], root), again)
    import_run(file, trace_root)
    export_run(find_run(runs["run0"], trace_root), back)
    assert file.read_bytes() == again.read_bytes() == back.read_bytes()


@pytest.mark.integration
def test_a_root_run_takes_the_whole_session_along(recorded, trace_root, tmp_path):
    root, _, _ = recorded
    session = session_directories(root)[0]
    seal(session, remove=True)
    export_run(find_run(session.name.removeprefix("session_"), root), tmp_path / "all.zip")
    done = import_run(tmp_path / "all.zip", trace_root)
    own = {key: line for key, line in kit.events(root).items() if key in kit.events(trace_root)}
    assert kit.events(trace_root) == own and done.events == len(own) > 80
    assert verify(done.session).sound and done.run_id is None
    with pytest.raises(InputError, match="already exists here"):
        import_run(tmp_path / "all.zip", trace_root)


def test_neither_host_nor_command_line_nor_code_to_load_goes_along(recorded, trace_root):
    done = import_run(recorded[2], trace_root)
    stored = json.loads((done.session / "session.json").read_bytes())
    assert (stored["host"], stored["argv"], stored["targets"], stored["pid"]) == ("", [], {}, 0)
    assert stored["configuration"] == {} and stored["imported"]["file"] == "run.zip"


def test_a_run_that_is_here_is_not_imported_over_itself(recorded, trace_root):
    root, _, file = recorded
    with pytest.raises(InputError, match="already exists here"):
        import_run(file, root)
    import_run(file, trace_root)
    with pytest.raises(InputError, match="already exists here"):
        import_run(file, trace_root)
    assert len(session_directories(trace_root)) == 1


def test_a_session_of_the_same_second_gets_another_name(recorded, trace_root):
    root, runs, file = recorded
    taken = trace_root / f"session_{session_directories(root)[0].name.removeprefix('session_')}"
    taken.mkdir(parents=True)
    (taken / "mine").write_text("x")
    done = import_run(file, trace_root)
    assert done.session.name == f"{taken.name}-2" and (taken / "mine").read_text() == "x"
    assert read_run(find_run(runs["run0"], trace_root)).summary.state == "success"


def test_a_file_that_is_there_and_a_run_that_goes_on_are_refused(recorded, trace_root, tmp_path):
    root, runs, file = recorded
    with pytest.raises(UsageError, match="already exists"):
        export_run(find_run(runs["run0"], root), file)
    with pytest.raises(UsageError, match="one agent's part"):
        export_run(find_run(f"{session_directories(root)[0].name}/writer", root), tmp_path / "x.zip")
    setup_logging(trace_root=trace_root)
    recorder = Recorder()
    run_id = recorder.start_run("a")
    with pytest.raises(SessionInUse):
        export_run(find_run(run_id, trace_root), tmp_path / "x.zip")
    recorder.finish_run()
    export_run(find_run(run_id, trace_root), tmp_path / "x.zip")
    AgentLogger("a").log_action("after")
    shutdown_logging()


def test_an_artifact_that_was_changed_does_not_go_along_nor_come_in(recorded, tmp_path):
    root, runs, file = recorded
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    name = f"runs/{runs['run0']}/artifacts/notes/other.txt"
    path = session_directories(copy)[0] / name
    path.unlink()
    path.write_text("something else")
    with pytest.raises(DamagedInput, match="was changed"):
        export_run(find_run(runs["run0"], copy), tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists() and not list(tmp_path.glob(".*"))
    changed = {**members_of(file), name: b"something else"}
    assert "was changed" in assert_refused(packed(tmp_path / "x.zip", changed), tmp_path)
    path.unlink()
    assert export_run(find_run(runs["run0"], copy), tmp_path / "y.zip").members


# Hostile files.


def members_of(file):
    with zipfile.ZipFile(file) as package:
        return {info.filename: package.read(info) for info in package.infolist()}


def entry(name, data, mode=stat.S_IFREG | 0o600, method=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    info.create_system = 3
    info.external_attr = mode << 16
    return info, data


def packed(target, members, extra=(), *, manifest=None, told=None):
    """A file with these members, in which the manifest tells of each as it is, but for what is `told`."""
    stored = json.loads(members["manifest.json"])
    rest = {name: data for name, data in members.items() if name != "manifest.json"}
    named = {**rest, **{info.filename: data for info, data in extra}}
    stored["members"] = {
        name: [len(data), blake2b(data, digest_size=32).hexdigest()] for name, data in named.items()
    } | (told or {})
    stored |= manifest or {}
    with zipfile.ZipFile(target, "w") as package:
        for name, data in rest.items():
            package.writestr(*entry(name, data))
        for info, data in extra:
            package.writestr(info, data)
        package.writestr(*entry("manifest.json", json.dumps(stored).encode()))
    return target


def everything(place):
    return {str(path.relative_to(place)): path.lstat().st_mtime_ns for path in place.rglob("*")}


def assert_refused(file, tmp_path, **options):
    """It is refused, and nothing at all is written, below the root or beside it."""
    place = tmp_path / "place"
    root = place / "deep" / "trace"
    root.mkdir(parents=True, exist_ok=True)
    (root / "README.md").write_text("x")
    before = everything(place)
    with pytest.raises(DamagedInput) as raised:
        import_run(file, root, **options)
    after = {name: at for name, at in everything(place).items() if name != "deep/trace"}
    assert after == {name: at for name, at in before.items() if name != "deep/trace"}
    return str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", "..", "runs/../../evil", "a/./b", "runs//x", "C:/evil", "a\\..\\..\\evil",
        "runs/{run}/artifacts/../../../../../evil", "runs/{run}/artifacts/.hidden", "runs/{run}/artifacts/",
        "runs/other/artifacts/x", "runs/{run}/checkpoints/index.sqlite", ".state/writers/aaaaaaaa.json",
        ".state/retired.json", "archive/part-000001.json", "agents/x.py", "agents/a/b.log", "trace_summary.json",
        "runs/root/events.jsonl", "runs/{run}/events@aaaaaaaa.jsonl", "agents/a.1.log", "agents/ü.log",
        "runs/{run}/artifacts/" + "d/" * 30 + "x", "runs/{run}/artifacts/" + "n" * 300, "evil\0.log",
    ],
)  # fmt: skip
def test_a_name_that_is_no_run_s_is_refused(recorded, tmp_path, name):
    extra = [entry(name.replace("{run}", recorded[1]["run0"]), b"x")]
    assert_refused(packed(tmp_path / "x.zip", members_of(recorded[2]), extra), tmp_path)


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)
def test_what_is_no_plain_file_is_refused(recorded, tmp_path, kind):
    name = f"runs/{recorded[1]['run0']}/artifacts/x"
    extra = [entry(name, b"/etc/passwd", kind | 0o777)]
    assert "not a plain file" in assert_refused(
        packed(tmp_path / "x.zip", members_of(recorded[2]), extra), tmp_path
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", [str, str.upper])
def test_a_name_that_is_there_twice_is_refused(recorded, tmp_path, change):
    members = members_of(recorded[2])
    name = f"runs/{recorded[1]['run0']}/artifacts/notes/page.txt"
    again = name.replace("page.txt", change("page.txt"))
    file = packed(tmp_path / "x.zip", members, [entry(again, b"other")])
    assert "twice" in assert_refused(file, tmp_path)


def test_wrong_digests_sizes_and_members_are_refused(recorded, tmp_path):
    members = members_of(recorded[2])
    name = f"runs/{recorded[1]['run0']}/artifacts/notes/other.txt"
    data = members[name]
    real = blake2b(data, digest_size=32).hexdigest()
    for told in (
        [len(data), "0" * 64],
        [len(data) - 1, real],
        [len(data) + 1, real],
        [-1, real],
        [len(data), "x"],
    ):
        assert_refused(packed(tmp_path / "x.zip", members, told={name: told}), tmp_path)
    missing = {key: value for key, value in members.items() if key != name}
    assert_refused(packed(tmp_path / "x.zip", missing, told={name: [len(data), real]}), tmp_path)
    unnamed = {**members, "manifest.json": members["manifest.json"]}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as package:
        for key, value in unnamed.items():
            package.writestr(*entry(key, value))
        package.writestr(*entry(f"runs/{recorded[1]['run0']}/artifacts/more", b"x"))
    assert "differ from those" in assert_refused(tmp_path / "x.zip", tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        {"format": "other"}, {"version": 2}, {"version": "1"}, {"schema_version": 99}, {"schema_version": 0},
        {"run_id": "../x"}, {"run_id": "nobody"}, {"runs": ["../x"]}, {"runs": "x"}, {"runs": []},
        {"runs": ["root"]}, {"session_id": "../../x"}, {"session_id": "x"}, {"session_uid": "../../x"},
        {"session_uid": 1}, {"members": []}, {"members": {"a": 1}}, {"session_id": None},
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused(recorded, tmp_path, manifest):
    assert_refused(packed(tmp_path / "x.zip", members_of(recorded[2]), manifest=manifest), tmp_path)


@pytest.mark.integration
def test_bombs_are_refused_before_they_go_off(recorded, tmp_path):
    members = members_of(recorded[2])
    name = f"runs/{recorded[1]['run0']}/artifacts/bomb"
    bomb = packed(tmp_path / "x.zip", members, [entry(name, b"\0" * 50_000_000)])
    assert bomb.stat().st_size < 200_000
    assert "at most" in assert_refused(bomb, tmp_path, limits=PackageLimits(max_bytes=1_000_000))
    many = packed(tmp_path / "y.zip", members, [entry(f"{name}{n}", b"") for n in range(300)])
    assert "members" in assert_refused(many, tmp_path, limits=PackageLimits(max_members=200))
    import zstandard

    packs = [key for key in members if key.endswith(".jsonl.zst")]
    line = b'{"format":1,"pad":"' + b"x" * 30_000_000 + b'"}\n'
    lying = {**members, packs[0]: zstandard.ZstdCompressor().compress(line)}
    assert "decompress" in assert_refused(
        packed(tmp_path / "z.zip", lying), tmp_path, limits=PackageLimits(max_bytes=1_000_000)
    )


def test_an_entry_that_is_larger_than_it_says_is_refused(recorded, tmp_path):
    members = members_of(recorded[2])
    name = f"runs/{recorded[1]['run0']}/artifacts/liar"
    file = packed(tmp_path / "x.zip", members, [entry(name, b"\0" * 5_000_000)])
    data = bytearray(file.read_bytes())
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(name.encode()))
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")  # the size in the table of contents
    file.write_bytes(data)
    assert_refused(file, tmp_path)


def test_lines_that_are_no_events_of_the_run_are_refused(recorded, tmp_path):
    members = members_of(recorded[2])
    run = recorded[1]["run0"]
    name = f"runs/{run}/events.jsonl"
    lines = members[name].splitlines(keepends=True)
    moved = json.loads(lines[0]) | {"run_id": recorded[1]["inner0"]}
    far = json.loads(lines[0]) | {"id": json.loads(lines[0])["id"][:9] + str(10**15)}
    astray = json.loads(lines[0]) | {"type": "artifact.saved", "ref": None}
    for wrong in (
        [json.dumps(astray).encode() + b"\n", *lines[1:]],
        [*lines, b"no event\n"], [*lines, lines[0]], [json.dumps(moved).encode() + b"\n", *lines[1:]],
        [json.dumps(far).encode() + b"\n", *lines[1:]], [], [b"[" * 100_000 + b"\n"],
    ):  # fmt: skip
        assert_refused(packed(tmp_path / "x.zip", {**members, name: b"".join(wrong)}), tmp_path)


def test_checkpoints_that_do_not_load_are_refused(recorded, tmp_path):
    members = members_of(recorded[2])
    (name,) = [key for key in members if key.endswith(".jsonl.zst")]
    chunk = next(key for key in members if "/chunks/" in key)
    assert_refused(packed(tmp_path / "x.zip", {**members, chunk: b"nothing"}), tmp_path)
    without = {key: data for key, data in members.items() if key != chunk}
    assert_refused(packed(tmp_path / "x.zip", without), tmp_path)
    assert_refused(packed(tmp_path / "x.zip", {**members, name: b"nothing" * 9}), tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06", b"not a zip" * 100, b"\x28\xb5\x2f\xfd" * 9])
def test_what_is_no_zip_file_is_refused(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    assert_refused(tmp_path / "x.zip", tmp_path)


def test_a_contents_table_that_claims_too_much_is_not_even_read(recorded, tmp_path):
    data = bytearray(recorded[2].read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 8 : at + 12] = b"\xfe\xff\xfe\xff"
    (tmp_path / "x.zip").write_bytes(data)
    assert "members" in assert_refused(tmp_path / "x.zip", tmp_path, limits=PackageLimits(max_members=1000))


def outcome(file, place):
    """What an import came to; anything but a success or an error of ours is a failure of the test."""
    root = place / "trace"
    root.mkdir(parents=True)
    try:
        done = import_run(file, root, limits=PackageLimits(max_members=500, max_bytes=5_000_000))
    except AgentTraceError:
        assert not session_directories(root) and not list(root.glob(".importing-*"))
        assert {path.name for path in place.iterdir()} == {"trace"}
        return False
    assert verify(done.session).sound and {path.name for path in place.iterdir()} == {"trace"}
    outside = [
        path for path in root.rglob("*") if path.is_symlink() and not path.resolve().is_relative_to(root)
    ]
    assert outside == []
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_the_file_it_is_refused_or_whole(recorded, tmp_path, data):
    raw = bytearray(recorded[2].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "copy"]))
        if kind == "flip":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 50))]
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            raw[at:at] = raw[at : at + data.draw(st.integers(1, 400))]
        if not raw:
            break
    place = tmp_path / os.urandom(6).hex()
    place.mkdir()
    file = tmp_path / "changed.zip"
    file.write_bytes(raw)
    outcome(file, place)
    shutil.rmtree(place)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_its_members_hold_it_is_refused_or_whole(recorded, tmp_path, data):
    members = members_of(recorded[2])
    names = sorted(name for name in members if name != "manifest.json")
    name = data.draw(st.sampled_from(names))
    if name.endswith((".json", ".jsonl", ".log")) and data.draw(st.booleans()):
        lines = members[name].splitlines() or [b"{}"]
        at = data.draw(st.integers(0, len(lines) - 1))
        try:
            value = json.loads(lines[at])
            key = data.draw(st.sampled_from(sorted(value)))
            value[key] = data.draw(json_values)
            lines[at] = json.dumps(value).encode()
        except ValueError:
            lines[at] = data.draw(st.binary(max_size=30))
        members[name] = b"\n".join(lines) + b"\n"
    else:
        members[name] = data.draw(st.binary(max_size=200))
    extra = data.draw(
        st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=9)), max_size=2)
    )
    place = tmp_path / os.urandom(6).hex()
    place.mkdir()
    usable = [(each, held) for each, held in extra if not each.isspace() and "\ud800" <= "\udfff" not in each]
    try:
        entries = [entry(each, held) for each, held in usable]
        file = packed(tmp_path / "changed.zip", members, entries)
    except (UnicodeEncodeError, UserWarning):
        return
    outcome(file, place)
    shutil.rmtree(place)


def test_what_a_killed_import_left_is_removed_by_the_next(recorded, trace_root):
    left = trace_root / ".importing-0123456789abcdef"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    import_run(recorded[2], trace_root)
    assert not left.exists()
