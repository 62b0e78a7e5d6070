"""The service as a process: it starts, says where, ends when it is told to, and its mistakes are one line."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support.processes import child_environment, run_python
from support.services import self_made_certificate

from Agent.cli.main import main
from Agent.server import RunningServer, ServerSettings
from Agent.store import open_store


@pytest.fixture
def started(tmp_path):
    """Starts commands that serve, and gives what they printed first; they are ended with the test."""
    processes = []

    def start(*words: str) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=child_environment(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "data")),
        )
        processes.append(process)
        first = process.stdout.readline()
        assert first, process.stderr.read()
        return process, first

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.process
def test_serve_runs_both_roles_and_ends_with_sigterm(started, tmp_path):
    ports = free_port(), free_port()
    process, first = started("Agent", "serve", "--port", str(ports[0]), "--query-port", str(ports[1]))
    assert first == f"ingest: http://127.0.0.1:{ports[0]}\n"
    posted = httpx.post(
        f"http://localhost:{ports[0]}/v1/runs", json={"run_id": "r", "agent_id": "a"}, timeout=30
    )
    assert posted.status_code == 201, posted.text
    assert httpx.get(f"http://localhost:{ports[1]}/v1/runs", timeout=30).json()["items"][0]["run_id"] == "r"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert (tmp_path / "data" / "agent-trace" / "service.db").exists()


@pytest.mark.integration
def test_serve_ends_with_130_at_an_interrupt_and_prints_no_traceback(started):
    process, first = started("Agent", "serve", "--port", "0", "--query-port", "0", "--json")
    assert first == "{\n"
    while not first.startswith("}"):
        first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.integration
def test_what_was_answered_outlives_a_kill(started, tmp_path):
    port = free_port()
    for number in range(3):
        process, _ = started("Agent.server.ingest", "--port", str(port), "--database", str(tmp_path / "k.db"))
        posted = httpx.post(
            f"http://localhost:{port}/v1/runs", json={"run_id": f"r{number}", "agent_id": "a"}, timeout=30
        )
        assert posted.status_code == 201
        process.kill()
        process.wait(30)
    with open_store(str(tmp_path / "k.db"), role="query") as store:
        from Agent.store import RunFilter

        found = store.list_runs(store.find_project("default"), RunFilter()).items
    assert sorted(run["run_id"] for run in found) == ["r0", "r1", "r2"]


@pytest.mark.integration
def test_mistakes_are_one_line_with_their_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = str(taken.getsockname()[1])
    cases = [
        (["Agent", "serve", "--port", port, "--query-port", "0"], 3, "cannot listen"),
        (["Agent", "serve", "--port", "0", "--database", "mysql://x/y"], 2, "not supported"),
        (["Agent", "serve", "--role", "query", "--query-port", "0"], 3, "database does not exist"),
        (["Agent", "serve", "--tls-key", "x.pem"], 2, "certificate"),
        (["Agent.server.ingest", "--port", port], 3, "cannot listen"),
        (["Agent.server.query", "--port", "0"], 3, "database does not exist"),
        (["Agent", "keys", "revoke", "nosuchid"], 3, "no key with that id"),
        (["Agent", "keys", "add", "--project", "a/b", "--scope", "query"], 2, "name of a project"),
        (["Agent", "keys", "content", "nosuch", "--on"], 3, "no project"),
    ]
    with taken:
        for words, code, said in cases:
            if words[0] == "Agent":
                returned = main(words[1:])
                printed, complained = capsys.readouterr()
            else:
                done = run_python(
                    "-m", *words, cwd=tmp_path, HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "data")
                )
                returned, printed, complained = done.returncode, done.stdout, done.stderr
            assert (returned, printed) == (code, ""), (words, complained)
            assert said in complained, (words, complained)
            assert len(complained.strip().splitlines()) == 1, complained


@pytest.mark.integration
def test_keys_are_made_listed_and_revoked_at_the_command_line(tmp_path):
    def keys(*words: str) -> str:
        done = run_python(
            "-m", "Agent", "keys", *words, cwd=tmp_path, AGENT_TRACE_DATABASE=str(tmp_path / "s.db")
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    token = keys(
        "add", "--project", "shop", "--scope", "ingest", "--scope", "query", "--label", "till"
    ).strip()
    key_id = token.split("_")[1]
    assert key_id in keys("list") and token not in keys("list")
    assert keys("revoke", key_id) == f"{key_id} of shop is revoked\n"
    keys("content", "shop", "--on")
    listed = json.loads(keys("list", "--json"))
    (key,) = listed["keys"]
    assert (key["project"], key["scopes"], key["label"]) == ("shop", ["ingest", "query"], "till")
    assert key["revoked_at"] is not None
    assert {"name": "shop", "content_allowed": True} in listed["projects"]


@pytest.mark.further
@pytest.mark.process
def test_the_core_works_without_the_extra_and_says_what_is_missing(tmp_path):
    code = (
        "import sys\n"
        "for name in ('sqlalchemy', 'fastapi', 'alembic', 'uvicorn', 'psycopg'): sys.modules[name] = None\n"
        "import Agent\n"
        "from Agent.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for words in (["serve"], ["keys", "list"]):
        done = run_python("-c", code, *words, cwd=tmp_path, HOME=str(tmp_path))
        assert done.returncode == 3, done.stderr
        assert 'pip install "agent-trace[server]"' in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert run_python("-c", code, "--help", cwd=tmp_path, HOME=str(tmp_path)).returncode == 0


@pytest.mark.further
def test_a_server_in_a_block_is_down_behind_it(tmp_path):
    settings = ServerSettings(str(tmp_path / "s.db"), ingest_port=0, query_port=0)
    with RunningServer(settings) as server:
        url = server.ingest_url
        assert httpx.get(f"{url}/health", timeout=30).status_code == 200
        assert server.alive()
    for _ in range(50):
        try:
            httpx.get(f"{url}/health", timeout=1)
        except httpx.ConnectError:
            return
        time.sleep(0.1)
    pytest.fail("the server still answers")


def test_a_small_answer_goes_at_once_over_a_connection_that_is_kept():
    """asyncio sets TCP_NODELAY where a socket names TCP; without it each answer waits 40 ms for an ACK."""
    from Agent.server.settings import listen_on

    for host in ("127.0.0.1", "::1"):
        with closing(listen_on(host, 0, 1)) as listening:
            assert listening.proto == socket.IPPROTO_TCP


@pytest.mark.further
def test_who_listens_for_others_is_told_what_is_missing_for_that(tmp_path):
    from Agent.server.role_servers import warnings_of

    url = str(tmp_path / "s.db")
    assert warnings_of(ServerSettings(url), ["ingest"]) == []
    no_key, no_tls = warnings_of(ServerSettings(url, host="0.0.0.0"), ["ingest", "query"])
    assert "agent-trace keys add" in no_key and "TLS" in no_tls
    with open_store(url, role="admin") as store:
        key = store.issue_key("shop", ["query"]).key
    assert len(warnings_of(ServerSettings(url, host="0.0.0.0"), ["query"])) == 1
    with open_store(url, role="admin") as store:
        store.revoke_key(key.key_id)
    assert len(warnings_of(ServerSettings(url, host="0.0.0.0"), ["query"])) == 2


@pytest.mark.further
def test_connections_without_a_request_are_ended_and_more_than_there_may_be_are_told_so(
    tmp_path, monkeypatch
):
    from Agent.server import limits

    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(limits, "HEAD_S", 1.0)
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        silent = [socket.create_connection(place) for _ in range(5)]
        slow = silent[0]
        slow.sendall(b"GET /health HTTP/1.1\r\n")  # and nothing more
        refused = httpx.get(f"{server.ingest_url}/health", timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        for each in silent:
            each.settimeout(30)
            assert each.recv(100) == b""
            each.close()
        assert httpx.get(f"{server.ingest_url}/health", timeout=30).status_code == 200


@pytest.mark.further
def test_one_client_of_another_machine_cannot_hold_all_connections(tmp_path, monkeypatch):
    from Agent.server import limits

    monkeypatch.setattr(limits, "MAX_OF_ONE_CLIENT", 3)
    # this machine's own addresses stand for other machines'
    monkeypatch.setattr(limits, "is_loopback", lambda _host: False)
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        held = [socket.create_connection(place, source_address=("127.0.0.1", 0)) for _ in range(3)]
        for address, status in (("127.0.0.1", 503), ("127.0.0.2", 200)):
            with httpx.Client(transport=httpx.HTTPTransport(local_address=address)) as client:
                assert client.get(f"{server.ingest_url}/health", timeout=30).status_code == status
        for each in held:
            each.close()


@pytest.mark.further
def test_a_body_that_goes_on_behind_its_answer_does_not_hold_its_connection(tmp_path, monkeypatch):
    from Agent.server import limits

    monkeypatch.setattr(limits, "REST_S", 0.5)
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        with socket.create_connection(place) as connection:
            connection.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9999\r\n\r\n")
            assert b"401" in connection.recv(4096)
            assert goes_on_until_it_is_ended(connection)


@pytest.mark.further
def test_who_reads_no_answers_does_not_hold_its_connection(tmp_path, monkeypatch):
    from Agent.server import limits

    monkeypatch.setattr(limits, "REST_S", 0.5)
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(place)
            connection.settimeout(5)
            with contextlib.suppress(OSError):  # ended while it asks
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000)
            assert goes_on_until_it_is_ended(connection)


def goes_on_until_it_is_ended(connection: socket.socket) -> bool:
    """Sends a byte now and then; False where nobody minds for 20 seconds."""
    for _ in range(400):
        try:
            connection.sendall(b"x")
        except TimeoutError:
            return False
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.further
def test_what_is_no_http_is_answered_as_every_other_problem(tmp_path):
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        with socket.create_connection(place) as connection:
            connection.sendall(b"HELO mail.example.com\r\n\r\n")
            connection.settimeout(30)
            head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert set(json.loads(body)["error"]) == {"code", "message", "path", "remedy"}


def test_a_certificate_that_is_none_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "cert.pem").write_text("nonsense")
    files = ["--tls-certificate", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "cert.pem")]
    database = ["--database", str(tmp_path / "service.db")]
    assert main(["serve", "--port", "0", "--query-port", "0", *files, *database]) == 3
    said = capsys.readouterr().err
    assert "PEM" in said and said.count("\n") == 1


def test_an_executor_that_is_not_there_is_told_when_the_server_starts():
    from Agent.server.role_servers import warnings_of

    settings = ServerSettings("service.db", executors=("no_such_module.of_mine", "json.decoder"))
    (said,) = warnings_of(settings, ["ingest", "replay"])
    assert "no_such_module.of_mine" in said
    assert warnings_of(settings, ["query"]) == []


@pytest.mark.first_case
@pytest.mark.parametrize(
    "parts",
    [
        (b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
        (b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"zz\r\n"),
        (b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
        (b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\0\0 x\r\n\r\n",),
        (b"Content-Length: 0\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
    ],
)
def test_what_is_no_http_behind_a_request_is_no_bug_of_ours(tmp_path, caplog, parts):
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        for pause_s in (0.0, 0.2):
            with socket.create_connection(place, timeout=30) as connection:
                connection.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\n")
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause_s)
                answered = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answered.startswith(b"HTTP/1.1 4"), answered
    assert "Traceback" not in caplog.text and "Fatal" not in caplog.text


def test_a_path_with_a_slash_too_many_is_unknown_and_leads_nowhere(tmp_path):
    settings = ServerSettings(str(tmp_path / "service.db"), ingest_port=0)
    with RunningServer(settings, ["ingest"]) as server:
        answer = httpx.get(f"{server.ingest_url}/health/", headers={"Host": "elsewhere.example.com"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.further
@pytest.mark.process
def test_connections_that_begin_no_handshake_are_bounded_and_ended(tmp_path, monkeypatch):
    from Agent.server import limits, server_thread

    certificate = self_made_certificate(tmp_path)

    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(limits, "_MAX_REFUSED", 3)
    monkeypatch.setattr(server_thread, "HEAD_S", 1.0)
    settings = ServerSettings(
        str(tmp_path / "service.db"), ingest_port=0, tls_certificate=certificate[0], tls_key=certificate[1]
    )
    with RunningServer(settings, ["ingest"]) as server:
        place = ("127.0.0.1", int(server.ingest_url.rpartition(":")[2]))
        silent = [socket.create_connection(place, timeout=60) for _ in range(20)]
        ended = 0
        for each in silent:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(100) == b""
            ended += 1
            each.close()
        assert ended == len(silent)
        deadline_s = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{server.ingest_url}/health", verify=False, timeout=30).status_code == 200
                break
            except httpx.TransportError:  # on a busy machine this handshake may take longer than HEAD_S, too
                assert time.monotonic() < deadline_s


def test_where_no_file_is_left_connections_are_turned_away_and_taken_again_later(monkeypatch):
    from Agent.server.limits import BoundedListener

    with BoundedListener(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.create_connection(listening.getsockname(), timeout=30):
            listening.accept()[0].close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        refused = socket.create_connection(listening.getsockname(), timeout=30)
        opened = []
        last = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 8, hard))
        try:
            with contextlib.suppress(OSError):  # when none is left
                while True:
                    opened.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(ConnectionAbortedError):
                listening.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in opened:
                os.close(each)
        with refused, contextlib.suppress(ConnectionResetError):
            assert refused.recv(100) == b""
        with socket.create_connection(listening.getsockname(), timeout=30) as later:
            accepted, _ = listening.accept()
            accepted.sendall(b"taken")
            assert later.recv(100) == b"taken"
            accepted.close()
