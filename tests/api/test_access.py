"""Tokens made by the command line: what each may do, when it ends, how often it may ask. And attackers."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from api_fakes import FakeWorkbench, assert_failure
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.errors import InvalidInput
from core.store import Store
from core.store.tokens import PREFIX, TokenRecord, hash_of, proof_of
from ragvision_app import request_log, websocket_watch
from ragvision_app.access import SCOPE_KEY, Scope, is_hot, needed_scope
from ragvision_app.api import create_api
from ragvision_app.guard import Guard
from ragvision_app.ratelimit import Buckets, Rate, RateLimit, configured_rate
from ragvision_app.request_log import RequestLog

START = "correct-horse-battery"
HOST = "http://workbench.example:7860"
STREAM = "ws://workbench.example:7860/_stcore/stream"


class Clock:
    """A clock that goes when told to, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "labels.db") as opened:
        yield opened


def giving(store: Store) -> Callable[[], Awaitable[Store]]:
    async def give() -> Store:
        return store

    return give


def served(store: Store, api: ASGIApp | None = None, **guard: Any) -> ASGIApp:
    """The real guard and log around routes that tell whom they were called for."""

    async def tell(request: Request) -> JSONResponse:
        access = request.scope[SCOPE_KEY]
        return JSONResponse({"name": access.name, "scope": access.scope.word, "id": access.token_id})

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.receive_text()
                await websocket.send_text(websocket.headers["x-ragvision-scope"])
        except WebSocketDisconnect:
            return

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes = [WebSocketRoute("/_stcore/stream", socket), Route("/{path:path}", tell, methods=methods)]
    if api is not None:
        routes.insert(0, Mount("/api", app=api))  # type: ignore[arg-type]
    guard.setdefault("token", START)
    return RequestLog(Guard(Starlette(routes=routes), store=giving(store), **guard))


def client_of(app: ASGIApp, base: str = HOST) -> TestClient:
    return TestClient(app, base_url=base, follow_redirects=False, client=("192.0.2.1", 50000))


@pytest.fixture
def client(store: Store) -> TestClient:
    return client_of(served(store))


@pytest.fixture
def local(store: Store) -> TestClient:
    return client_of(served(store, token=None), "http://127.0.0.1:8501")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def made(store: Store) -> dict[str, tuple[TokenRecord, str]]:
    return {scope: store.create_token(f"for {scope}", scope) for scope in ("read", "label", "admin")}


# --------------------------------------------------------------------------- what a token may do
ROUTES = [
    ("GET", "/api/labels", "read"),
    ("HEAD", "/api/images/abc/thumb", "read"),
    ("OPTIONS", "/api/decisions", "read"),
    ("POST", "/api/queue", "label"),
    ("POST", "/api/queue/release", "label"),
    ("POST", "/api/decisions", "label"),
    ("POST", "/api/ragvision/invocations", "label"),
    ("POST", "/api/support/upload/image", "admin"),
    ("POST", "/api/classes", "admin"),
    ("PUT", "/api/settings", "admin"),
    ("DELETE", "/api/images/abc", "admin"),
    ("POST", "/api/something-new", "admin"),
    ("PUT", "/api/decisions", "admin"),
    ("GET", "/label", "label"),
    ("GET", "/_stcore/health", "label"),
    ("POST", "/_stcore/agent/interact", "admin"),
    # spelled another way they are no routes of ours, and what is unknown needs admin
    ("POST", "/api//decisions", "admin"),
    ("POST", "/api/decisions/../settings", "label"),  # below a labelling route; the router knows no such path
    ("POST", "/api/Decisions", "admin"),
    ("POST", "/api/decisionsx", "admin"),
    ("POST", "/api", "admin"),
]


@pytest.mark.parametrize(("method", "path", "needed"), ROUTES)
def test_the_table_of_scopes(method: str, path: str, needed: str) -> None:
    assert needed_scope("http", method, path).word == needed


@pytest.mark.parametrize(("method", "path", "needed"), [row for row in ROUTES if ".." not in row[1]])
def test_each_scope_may_what_those_before_it_may(
    client: TestClient, made: dict[str, tuple[TokenRecord, str]], method: str, path: str, needed: str
) -> None:
    for scope, (record, token) in made.items():
        answer = client.request(method, path, headers=bearer(token))
        if Scope[scope.upper()] >= Scope[needed.upper()]:
            assert answer.status_code == 200
            if method != "HEAD":
                assert answer.json() == {"name": record.name, "scope": scope, "id": record.id}
        else:
            assert answer.status_code == 403
            if path.startswith("/api") and method != "HEAD":
                assert_failure(answer, 403, "scope_too_small", f"“for {scope}”", f"scope {scope}", f"needs {needed}")


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "MERGE"]), st.text(max_size=40))
def test_no_spelling_of_a_path_writes_with_less_than_label(method: str, rest: str) -> None:
    assert needed_scope("http", method, f"/api/{rest}") >= Scope.LABEL
    assert needed_scope("websocket", "GET", f"/api/{rest}") is Scope.ADMIN


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_changes_the_method(client: TestClient, made: dict[str, tuple[TokenRecord, str]], name: str) -> None:
    _, token = made["read"]
    assert client.post("/api/decisions", headers=bearer(token) | {name: "GET"}).status_code == 403
    assert client.post("/api/decisions?_method=GET", headers=bearer(token)).status_code == 403


def test_the_start_token_may_everything(client: TestClient) -> None:
    answer = client.post("/api/settings", headers=bearer(START))
    assert answer.json() == {"name": "start", "scope": "admin", "id": None}


def test_on_this_machine_no_token_is_needed_and_a_wrong_one_is_refused(local: TestClient, store: Store) -> None:
    assert local.post("/api/settings").json() == {"name": "loopback", "scope": "admin", "id": None}
    record, token = store.create_token("batch", "read")
    assert local.get("/api/labels", headers=bearer(token)).json()["name"] == "batch"
    assert local.post("/api/settings", headers=bearer(token)).status_code == 403  # what it says, it is held to
    store.revoke_token(record.id)
    assert_failure(local.get("/api/labels", headers=bearer(token)), 401, "token_revoked", "“batch” is revoked")
    assert_failure(local.get("/api/labels", headers=bearer("wrong")), 401, "token_unknown")
    assert_failure(local.get("/api/labels?token="), 401, "token_unknown")
    assert local.get("/api/labels", headers={"Authorization": "Basic YTpi"}).status_code == 200  # a proxy's, not ours


def test_a_rebound_name_is_let_in_with_a_token_only(local: TestClient, store: Store) -> None:
    """A foreign page whose name was rebound to this machine has no token; a program behind a proxy has."""
    _, token = store.create_token("proxy", "read")
    host = {"Host": "proxy.example"}
    assert local.get("/api/labels", headers=host).status_code == 403
    assert local.get("/api/labels", headers=host | bearer(token)).status_code == 200


# --------------------------------------------------------------------------- its end
def test_a_token_that_another_process_revoked_is_refused_at_the_next_request(
    client: TestClient, store: Store, tmp_path: Path
) -> None:
    record, token = store.create_token("ada", "label")
    assert client.get("/api/labels", headers=bearer(token)).status_code == 200
    with Store.open(tmp_path / "labels.db") as elsewhere:
        elsewhere.revoke_token(record.id)
    assert_failure(client.get("/api/labels", headers=bearer(token)), 401, "token_revoked")


def test_a_token_ends_when_it_expires(tmp_path: Path) -> None:
    now = ["2026-11-25T00:00:00.000Z"]
    with Store.open(tmp_path / "labels.db", clock=lambda: now[0]) as store:
        record, token = store.create_token("short", "read", expires_at="2026-11-26T00:00:00Z")
        client = client_of(served(store))
        now[0] = "2026-11-25T23:59:59.999Z"
        assert client.get("/api/labels", headers=bearer(token)).status_code == 200
        now[0] = "2026-11-26T00:00:00.000Z"
        assert_failure(client.get("/api/labels", headers=bearer(token)), 401, "token_expired")
        assert not store.token_in_force(record.id)


def test_its_last_use_is_written_once_a_minute_at_most(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record, token = store.create_token("batch", "read")
    written: list[int] = []
    note = store.token_was_used
    monkeypatch.setattr(store, "token_was_used", lambda token_id: (written.append(token_id), note(token_id)))
    with client_of(served(store)) as client:  # one event loop, which the notes outlive a request in
        for _ in range(5):
            assert client.get("/api/labels", headers=bearer(token)).status_code == 200
        deadline = time.monotonic() + 30
        while store.tokens()[0].last_used_at is None:  # written beside the answers
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert written == [record.id] and store.tokens()[0].last_used_at is not None


def test_neither_token_nor_cookie_can_be_had_from_the_project(client: TestClient, store: Store, tmp_path: Path) -> None:
    _, token = store.create_token("ada", "admin")
    client.get(f"/?token={token}")
    kept = (tmp_path / "labels.db").read_bytes() + (tmp_path / "labels.db-wal").read_bytes()
    cookies = list(client.cookies.values())
    assert hash_of(proof_of(token)).encode() in kept  # the test looks where tokens are
    assert cookies and token.encode() not in kept and all(cookie.encode() not in kept for cookie in cookies)
    stranger = client_of(served(store))
    stolen = hash_of(proof_of(token))
    assert stranger.get("/api/labels", headers=bearer(stolen)).status_code == 401
    assert stranger.get("/api/labels", headers=bearer(cookies[0])).status_code == 401  # a cookie is not the token


def test_tokens_are_long_random_and_known_to_scanners(store: Store) -> None:
    tokens = {store.create_token("x", "read")[1] for _ in range(20)}
    assert len(tokens) == 20
    assert all(re.fullmatch(re.escape(PREFIX) + r"[\w-]{43}", token) for token in tokens)  # 256 bits


# --------------------------------------------------------------------------- browsers
def test_a_label_token_opens_the_pages_and_says_so_to_them(client: TestClient, store: Store) -> None:
    _, token = store.create_token("ada", "label")
    answer = client.get(f"/label?token={token}")
    assert answer.status_code == 303 and token not in answer.headers["set-cookie"]
    assert client.get("/label").json()["name"] == "ada"
    assert client.post("/api/decisions").status_code == 200
    assert client.post("/api/settings").status_code == 403
    with client.websocket_connect(STREAM) as socket:
        socket.send_text("rerun")
        assert socket.receive_text() == "label"


def test_no_client_can_claim_a_scope_by_the_header_that_pages_read(client: TestClient, store: Store) -> None:
    _, token = store.create_token("ada", "label")
    with client.websocket_connect(STREAM, headers=bearer(token) | {"X-RagVision-Scope": "admin"}) as socket:
        socket.send_text("rerun")
        assert socket.receive_text() == "label"


def test_a_read_token_opens_no_page(client: TestClient, store: Store) -> None:
    _, token = store.create_token("viewer", "read")
    answer = client.get(f"/label?token={token}")
    assert answer.status_code == 403 and "needs label" in answer.text and "set-cookie" not in answer.headers
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM, headers=bearer(token)):
        pass


def test_the_cookie_of_a_revoked_token_opens_nothing_any_more(client: TestClient, store: Store) -> None:
    record, token = store.create_token("ada", "label")
    client.get(f"/label?token={token}")
    assert client.get("/label").status_code == 200
    store.revoke_token(record.id)
    assert client.get("/label").status_code == 401 and client.post("/api/decisions").status_code == 401


@pytest.mark.parametrize("busy", [True, False])
def test_an_open_page_is_cut_off_when_its_token_is_revoked(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    if not busy:
        monkeypatch.setattr(websocket_watch, "EVERY_SECONDS", 0.02)
    record, token = store.create_token("ada", "label")
    with client.websocket_connect(STREAM, headers=bearer(token)) as socket:
        socket.send_text("rerun")
        assert socket.receive_text() == "label"
        store.revoke_token(record.id)
        if busy:
            socket.send_text("one more")
        with pytest.raises(WebSocketDisconnect) as cut:
            socket.receive_text()
    assert cut.value.code == 1008


def test_cookies_of_other_workbenches_on_this_machine_do_no_harm(local: TestClient) -> None:
    proof = proof_of("another workbench's")
    cookie = f"ragvision_{hash_of(proof)[:8]}={proof}; x=y"
    assert local.get("/label", headers={"Cookie": cookie}).status_code == 200


# --------------------------------------------------------------------------- attackers
def test_two_tokens_in_one_request_are_refused(client: TestClient) -> None:
    """A proxy that looks at the first and a server that looks at the last would disagree."""
    twice = [("Authorization", f"Bearer {START}"), ("Authorization", "Bearer other")]
    assert_failure(client.get("/api/labels", headers=twice), 400, "token_twice")  # type: ignore[arg-type]
    assert_failure(client.get(f"/api/labels?token={START}", headers=bearer(START)), 400, "token_twice")
    assert client.get(f"/label?token={START}&token={START}").status_code == 400


@pytest.mark.parametrize(
    "token",
    [b"\xff\xfe", "ünïcode".encode(), b"rvw_" + b"\xf0\x9f\x92\xa5", b"a" * 60_000, b"rvw_" + b"a" * 60_000, b"\x00"],
)
def test_no_bytes_in_a_token_break_anything(client: TestClient, token: bytes) -> None:
    answer = client.get("/api/labels", headers={"Authorization": b"Bearer " + token})
    assert_failure(answer, 401, "token_unknown")
    assert client.get("/label?token=%FF%00%F0%9F%92%A5%ED%A0%80").status_code == 401


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_credentials_but_the_right_ones_open_anything(authorization: bytes, cookie: bytes) -> None:
    app = Guard(Starlette(), token=START)
    headers = [(b"authorization", b"Bearer " + authorization), (b"cookie", b"ragvision_00000000=" + cookie)]
    status: list[int] = []

    async def send(message: Any) -> None:
        status.extend([message["status"]] if "status" in message else [])

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/api/labels", "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert status == [401]


@pytest.mark.parametrize(
    "path", ["/api//decisions", "/api/%64ecisions", "/api/decisions/", "/api/x/../decisions", "//api/decisions"]
)
def test_no_spelling_of_a_path_gets_past_the_guard(client: TestClient, store: Store, path: str) -> None:
    _, token = store.create_token("viewer", "read")
    assert client.post(HOST + path).status_code == 401
    assert client.post(HOST + path, headers=bearer(token)).status_code == 403


# --------------------------------------------------------------------------- how often
def test_a_token_s_calls_are_limited_and_others_are_not(store: Store) -> None:
    clock = Clock()
    client = client_of(served(store, limit=RateLimit(Rate(60, 3), clock=clock)))
    _, one = store.create_token("one", "read")
    _, two = store.create_token("two", "read")
    assert [client.get("/api/labels", headers=bearer(one)).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = client.get("/api/labels", headers=bearer(one))
    assert_failure(answer, 429, "rate_limited", "1 second")
    assert answer.headers["retry-after"] == "1"
    assert client.get("/api/labels", headers=bearer(two)).status_code == 200
    clock.now += 1
    assert [client.get("/api/labels", headers=bearer(one)).status_code for _ in range(2)] == [200, 429]


def test_an_annotator_at_twenty_keys_a_second_with_previews_is_never_refused(store: Store) -> None:
    clock = Clock()
    limit = RateLimit(Rate(), clock=clock)
    # ten minutes: a decision, a preview and five thumbnails of evidence a key, a queue request each ten keys
    for key in range(20 * 600):
        calls = ["/api/decisions", "/api/images/x/preview", *["/api/images/x/thumb"] * 5]
        calls += ["/api/queue"] if key % 10 == 0 else []
        assert all(limit.call("ada", hot=is_hot(path)) == 0 for path in calls)
        clock.now += 1 / 20
    # somebody who hammers the rest of the API with the same token does not slow the loop down
    while limit.call("ada", hot=False) == 0:
        pass
    assert limit.call("ada", hot=True) == 0


def test_on_this_machine_nobody_is_limited(store: Store) -> None:
    client = client_of(served(store, token=None, limit=RateLimit(Rate(1, 1))), "http://127.0.0.1:8501")
    assert {client.get("/api/labels").status_code for _ in range(5)} == {200}


def test_guessing_a_start_token_that_somebody_made_up_is_slowed_down(store: Store) -> None:
    clock = Clock()
    client = client_of(served(store, limit=RateLimit(Rate(60, 5), clock=clock)))
    _, known = store.create_token("ada", "read")
    statuses = [client.get("/api/labels", headers=bearer(f"guess{n}")).status_code for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert client.get("/api/labels", headers=bearer(START)).status_code == 429  # not even compared
    assert client.get("/api/labels", headers=bearer(known)).status_code == 200  # cannot be guessed: goes on
    clock.now += 1
    assert client.get("/api/labels", headers=bearer(START)).status_code == 200


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(pauses: list[float], rate: int, burst: int) -> None:
    clock = Clock()
    buckets, passed, start = Buckets(Rate(rate, burst), clock=clock), 0, clock.now
    for pause in pauses:
        clock.now += pause
        wait = buckets.take("x")
        passed += wait == 0
        assert passed <= burst + (clock.now - start) * rate / 60 + 1e-3
        if wait:
            later = Clock()
            later.now = clock.now + wait
            buckets._clock, kept = later, buckets._clock
            assert buckets.wait("x") == 0  # Retry-After holds
            buckets._clock = kept


def test_a_flood_of_addresses_takes_no_more_memory_than_is_set_aside() -> None:
    buckets = Buckets(Rate(), remembered=100)
    for number in range(5000):
        buckets.take(number)
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("text", "rate"),
    [("", Rate(600, 120)), ("600", Rate(600, 120)), ("60/5", Rate(60, 5)), ("1", Rate(1, 1)), ("OFF", None)],
)
def test_the_rate_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, rate: Rate | None) -> None:
    monkeypatch.setenv("RAGVISION_RATE_LIMIT", text)
    assert configured_rate() == rate


@pytest.mark.parametrize("text", ["many", "0", "-1", "5/0", "1.5", "٣", "600/"])
def test_a_rate_that_cannot_be_is_a_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RAGVISION_RATE_LIMIT", text)
    with pytest.raises(InvalidInput, match="requests a minute"):
        configured_rate()


# --------------------------------------------------------------------------- the log
@contextmanager
def request_lines() -> Iterator[list[str]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    request_log.log_to_stderr(True)
    request_log.log.handlers[:] = [handler]
    lines: list[str] = []
    try:
        yield lines
    finally:
        request_log.log_to_stderr(False)
        lines += stream.getvalue().splitlines()


def test_a_request_of_the_api_is_one_line_of_json(store: Store) -> None:
    client = client_of(served(store, create_api(FakeWorkbench())))  # type: ignore[arg-type]
    record, token = store.create_token("night\N{BULLET}batch", "label")
    body = json.dumps({"annotator": "ada", "limit": 1})
    headers = {"X-Request-Id": "mine-1", "Content-Type": "application/json"}
    with request_lines() as lines:
        answer = client.post("/api/queue?secret=1", content=body, headers=bearer(token) | headers)
        client.get("/static/x.js", headers=bearer(token))  # pages' own files have no line
    assert answer.status_code == 200 and answer.headers["x-request-id"] == "mine-1"
    line = json.loads(lines[0])
    assert len(lines) == 1 and line.pop("time").endswith("Z") and line.pop("ms") >= 0
    assert line == {
        "id": "mine-1",
        "method": "POST",
        "route": "/api/queue",
        "status": 200,
        "bytes_in": len(body),
        "bytes_out": len(answer.content),
        "token": "night\N{BULLET}batch",
        "token_id": record.id,
        "client": "192.0.2.1",
    }


def test_the_log_says_whose_request_was_refused(store: Store) -> None:
    client = client_of(served(store, create_api(FakeWorkbench())))  # type: ignore[arg-type]
    record, token = store.create_token("curious", "read")
    with request_lines() as lines:
        client.post("/api/classes", json={"name": "mine"}, headers=bearer(token))
        client.post("/api/classes", json={"name": "mine"}, headers=bearer(f"{token}x"))
    told = [(line["status"], line["token"], line["token_id"]) for line in map(json.loads, lines)]
    assert told == [(403, "curious", record.id), (401, None, None)]


def test_the_log_names_the_route_not_what_was_asked_of_it(store: Store) -> None:
    client = client_of(served(store, create_api(FakeWorkbench())))  # type: ignore[arg-type]
    with request_lines() as lines:
        client.get(f"/api/images/{'ab' * 32}/thumb", headers=bearer(START))
        client.get("/api/nowhere", headers=bearer(START))
    routes = [json.loads(line)["route"] for line in lines]
    assert routes == ["/api/images/{sha}/{size}", "/api/nowhere"]


def test_no_token_and_no_control_character_gets_into_the_log(store: Store) -> None:
    client = client_of(served(store, create_api(FakeWorkbench())))  # type: ignore[arg-type]
    _, token = store.create_token("ada", "label")
    with request_lines() as lines:
        client.get(f"/api/labels?token={token}")
        client.get(f"/api/labels?token={START}x")
        client.get(f"/label?token={token}x")
        client.get(f"/api/{token}", headers=bearer(token))
        client.get("/api/%1b[31mred%0a{}", headers=bearer(token))
        client.get("/api/labels", headers={"X-Request-Id": "a\x1b[31m", **bearer(token)})
    text = "\n".join(lines)
    assert len(lines) == 6 and "/label" in text
    assert token not in text and START not in text and "\x1b" not in text
    assert all(json.loads(line)["id"].isalnum() for line in lines)


@pytest.mark.parametrize("given_id", ["", "x" * 65, "a b", "ü", "../x", '"'])
def test_a_request_id_that_cannot_be_written_anywhere_is_replaced(client: TestClient, given_id: str) -> None:
    headers = {b"Authorization": f"Bearer {START}".encode(), b"X-Request-Id": given_id.encode()}
    answer = client.get("/api/labels", headers=headers)
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_a_refusal_has_an_id_and_a_line_too(client: TestClient) -> None:
    with request_lines() as lines:
        answer = client.get("/api/labels")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM):
            pass
    refused, socket = map(json.loads, lines)
    assert (refused["id"], refused["status"], refused["token"]) == (answer.headers["x-request-id"], 401, None)
    assert (socket["method"], socket["route"], socket["status"]) == ("WEBSOCKET", "/_stcore/stream", 403)


def test_an_unknown_error_is_found_in_the_log_under_the_request_s_id(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeWorkbench(failure=RuntimeError("a bug"))
    client = client_of(served(store, create_api(fake)))  # type: ignore[arg-type]
    answer = client.get("/api/labels", headers=bearer(START) | {"X-Request-Id": "find-me"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "find-me"
    assert "find-me" in answer.json()["error"]["message"] and "find-me" in caplog.text


def test_requests_are_logged_where_other_machines_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGVISION_LOG_REQUESTS", raising=False)
    assert not request_log.wanted(None, loopback=True) and request_log.wanted(None, loopback=False)
    assert request_log.wanted(True, loopback=True) and not request_log.wanted(False, loopback=False)
    monkeypatch.setenv("RAGVISION_LOG_REQUESTS", "1")
    assert request_log.wanted(None, loopback=True)
    monkeypatch.setenv("RAGVISION_LOG_REQUESTS", "yes")
    with pytest.raises(InvalidInput, match="1 or 0"):
        request_log.wanted(None, loopback=True)


def test_a_store_that_cannot_be_read_lets_nobody_in_and_says_so(client: TestClient, store: Store) -> None:
    _, token = store.create_token("ada", "read")
    store.close()
    assert_failure(
        client.get("/api/labels", headers=bearer(token)), 503, "service_unavailable", "no token can be checked"
    )
    assert client.get("/api/labels", headers=bearer(START)).status_code == 200


def test_every_route_that_label_opens_is_there_and_no_other_writes_without_admin() -> None:
    paths: dict[str, dict[str, Any]] = create_api(FakeWorkbench()).openapi()["paths"]  # type: ignore[arg-type]
    opened = {
        (method.upper(), f"/api{path}")
        for path, methods in paths.items()
        for method in methods
        if method != "get" and needed_scope("http", method.upper(), f"/api{path}") is not Scope.ADMIN
    }
    labelling = ["decisions", "queue", "queue/look-alikes", "queue/release", "ragvision/invocations"]
    assert opened == {("POST", f"/api/{name}") for name in labelling}
