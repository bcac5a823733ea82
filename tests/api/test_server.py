"""The server as it is really started: a process, a port, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from test_real_workbench import png
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from core.errors import InvalidInput
from core.imports import upload_source
from core.workbench import Workbench
from ragvision_app import server

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(project: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``python -m ragvision_app run`` from another folder than the repository, and the link that it prints."""
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(project), "--port", "0", *options]
    process = subprocess.Popen(
        command,
        cwd=project.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    watchdog = threading.Timer(120, process.kill)  # a server that never gets ready must not hang the suite
    watchdog.start()
    try:
        link = next((word for line in process.stdout for word in line.split() if word.startswith("http")), None)
        assert link is not None, process.stderr.read()
        yield process, link
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def base_of(link: str) -> str:
    return link.partition("/label")[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served") / "cells"
    workbench = Workbench.open(root)
    workbench.store.add_class("functional")
    workbench.import_images([upload_source([(f"image{n}.png", png((n, 2 * n, 90))) for n in range(3)])])
    workbench.close()
    return root


@pytest.fixture(scope="module")
def local(project: Path) -> Iterator[str]:
    with running(project) as (_, link):
        yield link


def test_the_printed_link_opens_the_label_page_and_asks_for_no_token(local: str) -> None:
    assert local.startswith("http://127.0.0.1:") and local.endswith("/label")
    answer = httpx.get(local)
    assert answer.status_code == 200 and "<html" in answer.text
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_pages_and_api_are_on_one_port(local: str) -> None:
    base = base_of(local)
    health = httpx.get(f"{base}/api/ragvision/healthcheck")
    assert (health.status_code, health.json()) == (201, {"status": "ok"})
    ready = httpx.get(f"{base}/api/readiness")
    assert ready.status_code == 200 and ready.json()["project"] == "cells"
    assert httpx.get(f"{base}/_stcore/health").text == "ok"
    reference = httpx.get(f"{base}/api", follow_redirects=True)
    assert str(reference.url) == f"{base}/api/docs" and "POST /api/decisions" in reference.text
    missing = httpx.get(f"{base}/api/nowhere")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"


def test_climbing_out_of_the_image_folder_is_refused_by_the_whole_stack(local: str) -> None:
    host, port = base_of(local).removeprefix("http://").split(":")
    for path in ("/api/images/../../labels.db", "/api/images/..%2f..%2flabels.db/thumb", "/api//etc/passwd"):
        with socket.create_connection((host, int(port)), timeout=20) as raw:  # clients tidy such paths up
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))  # type: ignore[misc]
        assert answer.split(b" ", 2)[1] in {b"400", b"403", b"404"} and b"SQLite format" not in answer


def test_another_site_reaches_neither_pages_nor_decisions_nor_the_websocket(local: str) -> None:
    base = base_of(local)
    assert httpx.get(f"{base}/label", headers={"Host": "evil.example"}).status_code == 403
    answer = httpx.post(f"{base}/api/decisions", json={}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "foreign_origin"
    stream = base.replace("http", "ws") + "/_stcore/stream"
    with pytest.raises(InvalidStatus) as refused, connect(stream, origin="https://evil.example"):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403
    with connect(stream, origin=base):  # type: ignore[arg-type]
        pass  # our own page may


def test_a_body_over_the_cap_is_refused_before_it_was_sent(local: str) -> None:
    answer = httpx.post(
        f"{base_of(local)}/api/decisions", content=b" " * 3_000_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"


def test_streamlit_reports_nothing_and_watches_nothing_wherever_it_was_started(tmp_path: Path) -> None:
    script = (
        "from ragvision_app.server import configure_streamlit; configure_streamlit('127.0.0.1', 9);"
        "from streamlit import config as c;"
        "print([c.get_option(n) for n in ('browser.gatherUsageStats', 'server.fileWatcherType', 'server.address',"
        " 'server.port', 'theme.light.primaryColor', 'theme.dark.primaryColor', 'client.toolbarMode')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[False, 'none', '127.0.0.1', 9, '#2456c8', '#7aa5ff', 'minimal']"


def test_an_acknowledged_decision_survives_kill_9_and_is_stored_once(project: Path) -> None:
    body = {"id": str(uuid.uuid4()), "kind": "correct", "annotator": "kill", "made_at": "2026-11-24T12:00:00Z"}
    with running(project) as (process, link):
        api = f"{base_of(link)}/api"
        item = httpx.post(f"{api}/queue", json={"annotator": "kill", "limit": 1}).json()["items"][0]
        body |= {"image": item["id"], "class_id": 1}
        assert httpx.post(f"{api}/decisions", json=body).json()["outcome"] == "stored"
        process.kill()
    with running(project) as (_, link):
        api = f"{base_of(link)}/api"
        assert [label["event_id"] for label in httpx.get(f"{api}/labels?annotator=kill").json()["labels"]] == [
            body["id"]
        ]
        assert httpx.post(f"{api}/decisions", json=body).json()["outcome"] == "duplicate"


def test_a_wider_address_makes_up_a_token_and_prints_it_as_a_link(project: Path) -> None:
    with running(project, "--host", "0.0.0.0", RAGVISION_TOKEN="") as (_, link):
        base, token = base_of(link), link.partition("?token=")[2]
        assert len(token) >= 24
        assert httpx.get(f"{base}/label").status_code == 401
        assert httpx.get(f"{base}/api/readiness").json()["error"]["code"] == "token_needed"
        assert httpx.get(f"{base}/api/ragvision/healthcheck").status_code == 201
        with pytest.raises(InvalidStatus), connect(base.replace("http", "ws") + "/_stcore/stream"):
            pass
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(link)
            assert page.status_code == 200 and str(page.url) == f"{base}/label"
            assert browser.get(f"{base}/api/readiness").status_code == 200
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{base}/api/classes", headers=bearer).status_code == 200
        with connect(base.replace("http", "ws") + "/_stcore/stream", additional_headers=bearer):
            pass


def test_a_token_made_and_revoked_beside_a_running_server_counts_at_once(project: Path) -> None:
    def command(*arguments: str) -> str:
        line = [sys.executable, "-m", "ragvision_app", "token", *arguments, "--project", str(project)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    with running(project, "--host", "0.0.0.0", RAGVISION_TOKEN="") as (process, link):
        base = base_of(link)
        token = command("create", "batch", "--scope", "read").strip()
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{base}/api/readiness", headers=bearer).status_code == 200
        refused = httpx.post(f"{base}/api/queue", json={"annotator": "ada", "limit": 1}, headers=bearer)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_too_small")
        command("revoke", command("list").splitlines()[-1].split()[0])
        ended = httpx.get(f"{base}/api/readiness?x=1", headers=bearer)
        assert (ended.status_code, ended.json()["error"]["code"]) == (401, "token_revoked")
        process.terminate()
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines() if line.startswith("{")]
    # other machines reach it, so requests are logged without being asked
    assert [(line["route"], line["status"], line["token"]) for line in lines] == [
        ("/api/readiness", 200, "batch"),
        ("/api/queue", 403, "batch"),
        ("/api/readiness", 401, None),
    ]
    assert lines[2]["id"] == ended.headers["x-request-id"]


@pytest.mark.parametrize(
    "head",
    [
        "Authorization: Bearer {token}\r\nAuthorization: Bearer other",
        "Authorization: Bearer {token}\r\n bearer folded",
        "Authorization : Bearer {token}",
        "X: " + "a" * 200_000,
        "Authorization: Bearer " + "a" * 200_000,
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ],
    ids=["two", "folded", "space-before-colon", "huge", "huge-token", "two-lengths"],
)
def test_heads_that_two_servers_would_read_differently_open_nothing(project: Path, local: str, head: str) -> None:
    """Over a raw socket: clients do not send such things."""
    host, port = base_of(local).removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        text = head.replace("{token}", "rvw_x")
        raw.sendall(f"POST /api/decisions HTTP/1.1\r\nHost: {host}\r\n{text}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        with suppress(ConnectionResetError):  # what is too large is not read to its end
            while more := raw.recv(65536):
                answer += more
    assert answer.split(b" ", 2)[1:2] in ([], [b"400"], [b"401"], [b"415"], [b"431"]) and b"Traceback" not in answer
    assert httpx.get(f"{base_of(local)}/api/readiness").status_code == 200


def test_it_ends_when_told_to_although_a_page_is_open(project: Path) -> None:
    with running(project, RAGVISION_TOKEN="a-token-of-mine") as (process, link):
        assert link.endswith("?token=a-token-of-mine")  # asked for on loopback too, when given
        stream = base_of(link).replace("http", "ws") + "/_stcore/stream"
        with connect(stream, additional_headers={"Authorization": "Bearer a-token-of-mine"}):
            process.send_signal(signal.SIGINT)
            process.wait(30)
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("why", ["port", "project"])
def test_a_server_that_cannot_start_says_why_in_a_sentence(project: Path, tmp_path: Path, why: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if why == "port" else 0
        where = project if why == "port" else tmp_path / "file"
        command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(where), "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "http" not in done.stdout
    assert "Traceback" not in done.stderr
    assert (f"Port {port} is taken" if why == "port" else "file") in done.stderr


# --------------------------------------------------------------------------- parts
def test_loopback_needs_no_token_and_anything_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(server.TOKEN_VARIABLE, raising=False)
    for host in ("127.0.0.1", "localhost", "::1"):
        assert server.choose_token(host, None) is None
    for host in ("0.0.0.0", "::", "192.168.1.5", "workbench.example", ""):
        made = server.choose_token(host, None)
        assert made is not None and made != server.choose_token(host, None)
    monkeypatch.setenv(server.TOKEN_VARIABLE, "from-the-environment")
    assert server.choose_token("0.0.0.0", None) == "from-the-environment"
    assert server.choose_token("0.0.0.0", "given") == "given"


@pytest.mark.parametrize("token", ["two words", "ünïcode", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="ASCII"):
        server.choose_token("127.0.0.1", token)


def test_an_answer_does_not_wait_for_the_client_s_delayed_acknowledgement() -> None:
    with server.bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_link_can_be_opened_from_here() -> None:
    assert server.address("0.0.0.0", 7860, "a+b/c") == "http://127.0.0.1:7860/label?token=a%2Bb%2Fc"
    assert server.address("::", 7860) == "http://[::1]:7860/label"
    assert server.address("::1", 7860) == "http://[::1]:7860/label"
    assert server.address("workbench.example", 80) == "http://workbench.example:80/label"


def test_an_address_that_cannot_be_had_is_a_sentence() -> None:
    for host, port in (("127.0.0.1", 70000), ("no.such.host.invalid", 8501), ("203.0.113.1", 8501)):
        with pytest.raises(InvalidInput) as refused:
            server.bind(host, port)
        assert str(refused.value).endswith(".")
