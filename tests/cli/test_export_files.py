"""`export perfetto`, `parquet` and `csv` as commands: what they print, and how they refuse."""

from __future__ import annotations

import json
import sys

from support.perfetto_classes import perfetto_classes


def test_a_session_is_written_as_each_kind_of_file(run, recorded, tmp_path):
    perfetto_classes()
    place = ("--root", str(recorded.root))
    done = run("export", "perfetto", "last", "x.pftrace", *place, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (
        told["slices"] > 1000
        and told["flows"] > 0
        and told["size_bytes"] == (tmp_path / "x.pftrace").stat().st_size
    )
    done = run("export", "csv", "last/creator_017", "x.csv", "-q", "SELECT agent_id FROM events", *place)
    assert done.returncode == 0, done.stderr
    header, *rows = (tmp_path / "x.csv").read_text().splitlines()
    assert header == "agent_id" and set(rows) == {"creator_017"}
    assert f"{len(rows):,} rows" in done.stdout
    done = run("export", "parquet", "last", "x.parquet", *place)
    assert done.returncode == 0 and "rows" in done.stdout, done.stderr


def test_mistakes_are_one_line_with_a_remedy(run, recorded, tmp_path):
    place = ("--root", str(recorded.root))
    (tmp_path / "there.csv").write_text("mine")
    for arguments, code, says in (
        (("csv", "last", "there.csv"), 2, "the file exists (there.csv); give a new one"),
        (("csv", "last", "new.csv", "-q", "DROP VIEW events"), 2, "only a single reading statement"),
        (("parquet", "20010101_000000", "new.parquet"), 3, "no session"),
        (("perfetto", "last"), 2, "missing argument 'FILE'"),
        (
            ("csv", "last", "no/such/folder.csv"),
            3,
            "no such directory (no/such); create it: mkdir -p no/such",
        ),
        (("csv", "last", "-"), 2, "'-' is not supported; name a file"),
    ):
        done = run("export", *arguments, *place)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert says in done.stderr
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert not (tmp_path / "new.csv").exists()


def test_a_protobuf_that_does_not_fit_perfetto_is_one_clear_error(recorded, run, tmp_path, monkeypatch):
    place = tmp_path / "perfetto" / "protos" / "perfetto" / "trace"
    place.mkdir(parents=True)
    for above in (place, *place.parents[:3]):
        (above / "__init__.py").touch()
    raising = "class VersionError(Exception): pass\nraise VersionError('gencode 6.31.1 runtime 5.29.6')\n"
    (place / "perfetto_trace_pb2.py").write_text(raising)
    for name in [name for name in sys.modules if name.partition(".")[0] == "perfetto"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    done = run("export", "perfetto", "last", tmp_path / "x.pftrace", "--root", recorded.root)
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "gencode 6.31.1" in done.stderr and "pip install --upgrade protobuf" in done.stderr
    assert not (tmp_path / "x.pftrace").exists()
