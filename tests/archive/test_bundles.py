"""A session as one file: everything reads elsewhere as here, and hostile or damaged files leave nothing."""

import json
import re
import shutil
import stat
import zipfile
from hashlib import blake2b

import erase_kit as kit
import pytest
from support.session_files import session_directories

from Agent import LogAnalyzer, setup_logging, shutdown_logging
from Agent.archive.recover import recover_session
from Agent.archive.run_export import export_bundle, export_run
from Agent.archive.run_import import PackageLimits, import_run
from Agent.archive.sealed.sealing import seal
from Agent.archive.verify import verify
from Agent.cli.main import main
from Agent.errors import DamagedInput, InputError, SessionInUse, SessionNotFound, UsageError
from Agent.flight import find_run, list_runs, read_run
from Agent.tree.layout import list_sessions, tree_files
from Agent.utils import AgentLogger


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    place = tmp_path_factory.mktemp("recorded")
    kit.record(place / "trace")
    session, *others = session_directories(place / "trace")
    for other in others:
        shutil.rmtree(other)
    export_bundle(session, place / "session.zip")
    return session, place / "session.zip"


def logs(session):
    return {path.relative_to(session).as_posix(): path.read_bytes() for path in tree_files(session)}


def account(session):
    found = verify(session)
    rows = [(row.writer, row.state, row.taken, row.read, row.lost) for row in found.writers]
    return found.sound, rows, found.artifacts, found.chain.heads, found.chain.lines, found.chain.edits


def test_a_session_is_there_what_it_is_here(recorded, trace_root):
    session, file = recorded
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = import_run(file, trace_root)
    assert logs(done.session) == logs(session)
    assert account(done.session) == account(session) and account(session)[0]
    assert kit.documents(trace_root) == kit.documents(session.parent)
    for here, there in zip(list_runs(session.parent), list_runs(trace_root), strict=True):
        one, other = (
            read_run(find_run(each.run_id, place))
            for each, place in ((here, session.parent), (there, trace_root))
        )
        assert (one.steps, one.model_calls, one.artifacts) == (
            other.steps,
            other.model_calls,
            other.artifacts,
        )
        for artifact in one.artifacts:
            assert b"".join(one.read(artifact.ref)) == b"".join(other.read(artifact.ref))
    with LogAnalyzer(session) as here, LogAnalyzer(done.session) as there:
        query = (
            "SELECT ts_us, id, event_type, agent_id, message, extra FROM events ORDER BY ts_us, writer, seq"
        )
        rows = list(here.sql(query))
        assert len(rows) > 50 and list(there.sql(query)) == rows
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in done.session.rglob("*") if not path.is_symlink()}
    assert modes == {0o600, 0o700}


def test_a_bundle_of_an_import_has_the_same_bytes(recorded, trace_root, tmp_path):
    done = import_run(recorded[1], trace_root)
    export_bundle(done.session, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == recorded[1].read_bytes()


def test_a_sealed_session_without_its_log_files_gives_the_same_bundle(recorded, tmp_path):
    copy = tmp_path / "copy" / recorded[0].name
    shutil.copytree(recorded[0], copy, symlinks=True)
    assert seal(copy, remove=True).removed > 0
    export_bundle(copy, tmp_path / "sealed.zip")
    assert (tmp_path / "sealed.zip").read_bytes() == recorded[1].read_bytes()


def test_neither_host_nor_command_line_nor_code_to_load_goes_along(recorded, trace_root):
    done = import_run(recorded[1], trace_root)
    stored = json.loads((done.session / "session.json").read_bytes())
    assert (stored["host"], stored["argv"], stored["targets"], stored["pid"]) == ("", [], {}, 0)
    with zipfile.ZipFile(recorded[1]) as package:
        printed = json.loads(package.read("session.json"))
    assert not {"host", "argv", "targets", "pid", "configuration"} & printed.keys()


def test_what_a_session_was_forked_from_goes_along(recorded, trace_root, tmp_path):
    copy = tmp_path / "copy" / recorded[0].name
    shutil.copytree(recorded[0], copy, symlinks=True)
    stored = json.loads((copy / "session.json").read_bytes())
    origin = {"session_id": "20260101_000000", "run": "20260101_000000/a", "step": "tick:1"}
    (copy / "session.json").write_text(json.dumps({**stored, "forked_from": origin, "note": "mine"}))
    export_bundle(copy, tmp_path / "fork.zip")
    done = import_run(tmp_path / "fork.zip", trace_root)
    printed = json.loads((done.session / "session.json").read_bytes())
    assert printed["forked_from"] == origin and "note" not in printed


def test_secrets_were_replaced_when_they_were_recorded_and_stay_so(trace_root, tmp_path):
    secret = "sk-proj-" + "Zq7Rt2Lm9XvB4nKc8WdY1sHf" * 2
    setup_logging(trace_root=trace_root)
    AgentLogger("a").log_action("call", {"api_key": secret, "text": f"the key is {secret}"})
    shutdown_logging()
    export_bundle(session_directories(trace_root)[0], tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as package:
        assert all(secret.encode() not in package.read(name) for name in package.namelist())


def test_a_session_that_goes_on_was_killed_or_is_missing_is_refused(trace_root, tmp_path):
    setup_logging(trace_root=trace_root)
    AgentLogger("a").log_action("act")
    session = session_directories(trace_root)[0]
    with pytest.raises(SessionInUse):
        export_bundle(session, tmp_path / "x.zip")
    shutdown_logging()
    (session / ".state" / "board" / "aaaaaaaa.board").write_bytes(b"")
    with pytest.raises(UsageError, match="agent-trace recover"):
        export_bundle(session, tmp_path / "x.zip")
    recover_session(session)
    export_bundle(session, tmp_path / "x.zip")
    with pytest.raises(UsageError, match="already exists"):
        export_bundle(session, tmp_path / "x.zip")
    with pytest.raises(SessionNotFound):
        export_bundle(trace_root / "session_20260101_000000", tmp_path / "y.zip")


def test_edits_and_losses_arrive_as_such(recorded, trace_root, tmp_path):
    copy = tmp_path / "copy" / recorded[0].name
    shutil.copytree(recorded[0], copy, symlinks=True)
    path = max(tree_files(copy), key=lambda each: each.stat().st_size)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        b"".join([lines[0].replace(b'"level":"INFO"', b'"level":"WARN"'), b"torn\n", *lines[2:]])
    )
    export_bundle(copy, tmp_path / "x.zip")
    done = import_run(tmp_path / "x.zip", trace_root)
    assert logs(done.session) == logs(copy) and account(done.session)[1:] == account(copy)[1:]
    assert not verify(done.session).sound


def test_an_artifact_that_was_changed_does_not_go_along(recorded, tmp_path):
    copy = tmp_path / "copy" / recorded[0].name
    shutil.copytree(recorded[0], copy, symlinks=True)
    path = next(each for each in sorted(copy.rglob("runs/*/artifacts/**/*.txt")) if each.is_file())
    path.unlink()
    path.write_text("something else")
    with pytest.raises(DamagedInput, match="was changed"):
        export_bundle(copy, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists() and not list(tmp_path.glob(".*"))


def test_a_session_that_is_here_is_not_imported_twice_and_a_run_still_comes_in(
    recorded, trace_root, tmp_path
):
    session, file = recorded
    with pytest.raises(InputError, match="already exists here"):
        import_run(file, session.parent)
    import_run(file, trace_root)
    with pytest.raises(InputError, match="already exists here"):
        import_run(file, trace_root)
    run = next(iter(list_runs(session.parent)))
    export_run(find_run(run.run_id, session.parent), tmp_path / "run.zip")
    assert import_run(tmp_path / "run.zip", tmp_path / "other").run_id == run.run_id


# Hostile files.


def members_of(file):
    with zipfile.ZipFile(file) as package:
        return {info.filename: package.read(info) for info in package.infolist()}


def packed(target, members, mode=stat.S_IFREG | 0o600, **manifest):
    """A file with these members, and a manifest that tells of each as it is."""
    stored = json.loads(members["manifest.json"]) | manifest
    rest = {name: data for name, data in members.items() if name != "manifest.json"}
    stored["members"] = {
        name: [len(data), blake2b(data, digest_size=32).hexdigest()] for name, data in rest.items()
    } | manifest.get("members", {})
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in [*rest.items(), ("manifest.json", json.dumps(stored).encode())]:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (mode if name == "system.log" else 0o100600) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(info, data)
    return target


def assert_refused(file, tmp_path, **options):
    """It is refused, and nothing is written, below the root or beside it."""
    root = tmp_path / "place" / "deep" / "trace"
    root.mkdir(parents=True, exist_ok=True)
    (root / "README.md").write_text("x")
    before = sorted(map(str, (tmp_path / "place").rglob("*")))
    with pytest.raises(DamagedInput) as raised:
        import_run(file, root, **options)
    assert sorted(map(str, (tmp_path / "place").rglob("*"))) == before
    return str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", ".state/../../evil", ".state/chain/../../../evil", ".state/writers/aaaaaaaa.json",
        ".state/board/aaaaaaaa.board", ".state/chain/x.jsonl", ".state/.evil", ".evil", "archive/part-000001.json",
        "archive/part-000001.parquet", "agents/x.py", "agents/a/b.log", "trace_summary.json", "runs/root/events.jsonl",
        "runs/other/events.jsonl", "runs/root/replays/x/evil.py", "runs/root/replays/../report.json", "other.log",
        "a\\..\\evil", "C:/evil", "runs//x", "agents/a@evil!.log",
    ],
)  # fmt: skip
def test_a_name_that_no_session_has_is_refused(recorded, tmp_path, name):
    members = {**members_of(recorded[1]), name: b"x"}
    assert (
        "name" in (printed := assert_refused(packed(tmp_path / "x.zip", members), tmp_path))
        or "path" in printed
    )


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, stat.S_IFCHR | 0o600, stat.S_IFDIR | 0o700]
)
def test_links_and_devices_are_refused(recorded, tmp_path, mode):
    file = packed(tmp_path / "x.zip", members_of(recorded[1]), mode)
    assert "not a plain file" in assert_refused(file, tmp_path)


def test_a_bundle_that_was_cut_or_edited_is_refused(recorded, tmp_path):
    data = recorded[1].read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.zip").write_bytes(data[:size])
        assert_refused(tmp_path / "cut.zip", tmp_path)
    members = members_of(recorded[1])
    name = next(name for name in members if name.startswith("agents/"))
    with zipfile.ZipFile(tmp_path / "edited.zip", "w") as package:
        for each, held in members.items():
            package.writestr(each, held.replace(b"INFO", b"WARN") if each == name else held)
    assert f"{name} differs from the manifest" in assert_refused(tmp_path / "edited.zip", tmp_path)
    without = {each: held for each, held in members.items() if each != name}
    with zipfile.ZipFile(tmp_path / "less.zip", "w") as package:
        for each, held in without.items():
            package.writestr(each, held)
    assert "differ from those in its manifest" in assert_refused(tmp_path / "less.zip", tmp_path)


@pytest.mark.further
def test_a_small_file_that_unpacks_to_much_is_refused_before_anything_is_written(recorded, tmp_path, capsys):
    bomb = packed(
        tmp_path / "bomb.zip", {**members_of(recorded[1]), "errors.log": (b" " * (1 << 20) + b"\n") * 65}
    )
    root = tmp_path / "new" / "trace"
    assert main(["import", "bundle", str(bomb), "--root", str(root)]) == 3
    printed = capsys.readouterr().err
    assert "times its size" in printed and "--large" in printed and "Traceback" not in printed
    assert not root.parent.exists()
    assert main(["import", "bundle", str(bomb), "--root", str(root), "--large"]) in {0, 1}
    assert len(list_sessions(root)) == 1


def test_a_refused_import_leaves_no_new_root(recorded, tmp_path):
    members = members_of(recorded[1])
    name = next(name for name in members if name.startswith("agents/"))
    with zipfile.ZipFile(tmp_path / "edited.zip", "w") as package:
        for each, held in members.items():
            package.writestr(each, held.replace(b"INFO", b"WARN") if each == name else held)
    with pytest.raises(DamagedInput, match="differs from the manifest"):
        import_run(tmp_path / "edited.zip", tmp_path / "new" / "trace")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", [[], 3, None, "text", {}, [1], {"a": 1}, True])
def test_a_manifest_of_other_types_is_one_clear_error(recorded, tmp_path, value):
    members = members_of(recorded[1])
    manifest = json.loads(members["manifest.json"])
    entry = next(iter(manifest["members"]))
    changed = [value, *({**manifest, name: value} for name in manifest)]
    changed.append({**manifest, "members": {**manifest["members"], entry: value}})
    for each in changed:
        if each == manifest or (isinstance(each, dict) and each.get("run_id", 1) is None is value):
            continue
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as package:
            for name, held in members.items():
                package.writestr(name, json.dumps(each).encode() if name == "manifest.json" else held)
        printed = assert_refused(tmp_path / "x.zip", tmp_path)
        assert not re.search(r"indices|attribute|unpack|subscript|expected|unhashable|'<'", printed), (
            each,
            printed,
        )


def test_bombs_are_refused(recorded, tmp_path):
    members = members_of(recorded[1])
    bomb = packed(tmp_path / "bomb.zip", {**members, "errors.log": b"\n" * (64 << 20)})
    assert bomb.stat().st_size < 1 << 20
    assert "at most" in assert_refused(bomb, tmp_path, limits=PackageLimits(max_bytes=16 << 20))
    many = packed(tmp_path / "many.zip", members)
    assert "members" in assert_refused(many, tmp_path, limits=PackageLimits(max_members=2))


@pytest.mark.parametrize("name", [".state/retired.json", ".state/recovered.json"])
@pytest.mark.parametrize("held", [b"", b"[]", b"null", b'{"numbers": 3}', b"\xff", b'{"closed": {"a": "b"}}'])
def test_accounts_that_cannot_be_read_are_refused(recorded, tmp_path, name, held):
    file = packed(tmp_path / "x.zip", {**members_of(recorded[1]), name: held})
    assert "cannot be read" in assert_refused(file, tmp_path)


@pytest.mark.parametrize("held", [b"", b"x\n", b'{"n": 0}\n', b"[]\n" * 3, b"\x00" * 100, b'{"end": true}\n'])
def test_digests_that_are_no_digests_are_an_edit_that_verify_reports(recorded, trace_root, tmp_path, held):
    members = members_of(recorded[1])
    chains = [name for name in members if name.startswith(".state/chain/")]
    done = import_run(packed(tmp_path / "x.zip", members | dict.fromkeys(chains, held)), trace_root)
    assert not verify(done.session).sound


def test_a_bundle_cannot_be_of_one_run_and_a_run_has_no_names_of_a_bundle(recorded, tmp_path):
    members = members_of(recorded[1])
    run = json.loads(members["manifest.json"])["runs"][0]
    assert "whole session" in assert_refused(packed(tmp_path / "x.zip", members, run_id=run), tmp_path)
    assert "not a path" in assert_refused(packed(tmp_path / "y.zip", members, version=1), tmp_path)
    assert "this program knows" in assert_refused(packed(tmp_path / "z.zip", members, version=3), tmp_path)


def test_the_root_s_own_readme_is_kept(recorded, tmp_path):
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "README.md").write_text("mine")
    import_run(recorded[1], tmp_path / "trace")
    assert (tmp_path / "trace" / "README.md").read_text() == "mine"


def test_a_file_of_lines_that_are_no_events_is_refused(recorded, tmp_path):
    members = members_of(recorded[1])
    lines = sum(data.count(b"\n") for name, data in members.items() if name.endswith((".log", ".jsonl")))
    limits = PackageLimits(max_ratio=float("inf"), max_damaged=1000)
    for line in (b"\n", b"x\n"):
        many = packed(tmp_path / "many.zip", {**members, "agents/x.log": line * (lines + 1_001)})
        printed = assert_refused(many, tmp_path, limits=limits)
        assert "x.log consists of lines that are not events" in printed
    few = packed(tmp_path / "few.zip", {**members, "agents/x.log": b"\n" * 1_000})
    assert import_run(few, tmp_path / "few", limits=limits).events > 0
