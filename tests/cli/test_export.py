"""`agent-trace export otlp`: to a file, to the terminal, to a receiver, and what it says."""

from __future__ import annotations

import json
import re
import shutil

import pytest


def spans_in(text):
    requests = [json.loads(line) for line in text.splitlines()]
    return [span for each in requests for span in each["resourceSpans"][0]["scopeSpans"][0]["spans"]]


@pytest.mark.integration
def test_lines_of_otlp_json_are_the_same_in_a_file_and_on_the_terminal(recorded, run, tmp_path):
    target = tmp_path / "spans.jsonl"
    done = run("export", "otlp", "--root", str(recorded.root), "--file", str(target))
    assert done.returncode == 0, done.stderr
    spans = spans_in(target.read_text())
    assert f"{target}: {len(spans):,} spans" in done.stdout
    assert "left out: /extra" in done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    assert sum("parentSpanId" not in span for span in spans) == 1, "one trace, for one session"
    ids = {span["spanId"] for span in spans}
    assert len(ids) == len(spans) and all(span.get("parentSpanId", span["spanId"]) in ids for span in spans)
    printed = run("export", "otlp", recorded.session_id, "--root", str(recorded.root))
    assert printed.stdout == target.read_text()
    again = run("export", "otlp", "--root", str(recorded.root), "--file", str(target))
    assert again.returncode == 2 and "the file exists" in again.stderr


@pytest.mark.further
def test_a_receiver_gets_the_spans_and_json_says_how_many(recorded, run):
    pytest.importorskip("opentelemetry.proto", reason="OTLP needs opentelemetry-proto, of the extra [otel]")
    from support.otlp_double import OtlpReceiver

    with OtlpReceiver() as receiver:
        done = run("export", "otlp", "--root", str(recorded.root), "--endpoint", receiver.url, "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["spans"] == len(receiver.spans) > 1000
        assert answer["refused"] == 0 and answer["left_out"]["/extra/args"] > 0


@pytest.mark.integration
def test_resume_sends_what_is_left_after_a_failure_and_says_the_numbers(recorded, run, tmp_path):
    pytest.importorskip("opentelemetry.proto", reason="OTLP needs opentelemetry-proto, of the extra [otel]")
    from support.otlp_double import OtlpReceiver

    shutil.copytree(recorded.root, tmp_path / "trace")
    with OtlpReceiver({3: (400, {})}.get) as receiver:
        command = ("export", "otlp", "--resume", "--root", tmp_path / "trace", "--endpoint", receiver.url)
        failed = run(*command)
        assert failed.returncode == 3 and failed.stderr.count("\n") == 1
        assert "accepts no spans: it answers 400" in failed.stderr
        assert "; 1024 spans were sent, " in failed.stderr and "--resume sends the rest" in failed.stderr
        left = int(re.search(r", (\d+) were not", failed.stderr)[1])
        done = run(*command)
        assert f"{left:,} spans sent to {receiver.url}" in done.stdout
        assert "; 1,024 spans were there already" in done.stdout
        again = run(*command)
        assert again.stdout == f"everything is already at {receiver.url}: {1024 + left:,} spans\n"
        assert json.loads(run(*command, "--json").stdout)["already"] == 1024 + left == len(receiver.spans)


@pytest.mark.integration
def test_a_receiver_that_lost_its_data_gets_everything_again_and_the_rest_after_a_failure(
    recorded, run, tmp_path
):
    pytest.importorskip("opentelemetry.proto", reason="OTLP needs opentelemetry-proto, of the extra [otel]")
    from support.otlp_double import OtlpReceiver

    shutil.copytree(recorded.root, tmp_path / "trace")
    answers = {}
    with OtlpReceiver(answers.get) as receiver:
        command = ("export", "otlp", "--root", tmp_path / "trace", "--endpoint", receiver.url)
        count = json.loads(run(*command, "--again", "--json").stdout)["spans"]
        assert count == len(receiver.spans)
        told = run(*command, "--resume")
        assert "everything is already at" in told.stdout and "--again sends all of them again" in told.stderr
        for failed_request, were_there in ((1, 0), (3, 1024)):
            receiver.spans.clear()
            answers[receiver.requests + failed_request] = (400, {})
            assert run(*command, "--again").returncode == 3
            rest = json.loads(run(*command, "--resume", "--json").stdout)
            assert (rest["spans"], rest["already"]) == (count - were_there, were_there)
            assert len(receiver.spans) == count


def test_wrong_arguments_are_one_line_each(recorded, run):
    root = ("--root", str(recorded.root))
    for words, told in (
        (("--endpoint", "http://h:1", "--file", "x"), "give one of --file, --endpoint"),
        (("--endpoint", "http://h:1", "--traces-endpoint", "http://h:1/x"), "give one of --file, --endpoint"),
        (("--header", "a=b"), "need --endpoint"),
        (("--resume",), "need --endpoint"),
        (("--again",), "need --endpoint"),
        (("--endpoint", "http://h:1", "--again", "--resume"), "give one of them"),
        (("--endpoint", "http://h:1", "--header", "a"), "a header is written NAME=VALUE"),
        (("--endpoint", "nowhere"), "is not an address"),
        ((f"{recorded.session_id}/creator_001",), "a trace is a whole run"),
    ):
        done = run("export", "otlp", *root, *words)
        assert done.returncode == 2, (words, done)
        assert told in done.stderr and done.stderr.count("\n") == 1, (words, done.stderr)
    assert run("export", "otlp", "nothing", *root).returncode == 3
