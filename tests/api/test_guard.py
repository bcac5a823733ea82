"""Who may talk to the server: tokens for pages, API and websockets alike; host names on loopback."""

from __future__ import annotations

import pytest
from api_fakes import assert_failure
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from ragvision_app.guard import Guard

TOKEN = "correct-horse-battery"
STREAM = "ws://workbench.example:7860/_stcore/stream"  # in full: the test client keeps cookies by host


def app_behind(**guard: object) -> ASGIApp:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {request.url.path}")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    app = Starlette(
        routes=[
            WebSocketRoute("/_stcore/stream", socket),
            Route("/{path:path}", page, methods=["GET", "POST", "HEAD"]),
        ]
    )
    return Guard(app, **guard)  # type: ignore[arg-type]


@pytest.fixture
def guarded() -> TestClient:
    return TestClient(app_behind(token=TOKEN), base_url="http://workbench.example:7860", follow_redirects=False)


@pytest.fixture
def local() -> TestClient:
    return TestClient(app_behind(token=None), base_url="http://127.0.0.1:8501")


# --------------------------------------------------------------------------- token
def test_the_link_signs_in_and_takes_the_token_out_of_the_address(guarded: TestClient) -> None:
    answer = guarded.get(f"/label?annotator=ada+b&token={TOKEN}&x=%26")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/label?annotator=ada+b&x=%26"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and TOKEN not in cookie
    assert guarded.get("/label?annotator=ada").text == "GET /label"  # the client kept the cookie


def test_the_cookie_alone_opens_api_and_websocket(guarded: TestClient) -> None:
    guarded.get(f"/?token={TOKEN}")
    assert guarded.post("/api/decisions").status_code == 200
    with guarded.websocket_connect(STREAM, headers={"Origin": "http://workbench.example:7860"}) as socket:
        assert socket.receive_text() == "hello"


def test_a_program_sends_the_token_as_bearer(guarded: TestClient) -> None:
    answer = guarded.post("/api/queue", headers={"Authorization": f"bearer {TOKEN}"})
    assert answer.text == "POST /api/queue"
    with guarded.websocket_connect("/_stcore/stream", headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"ragvision={TOKEN}"},
        {"Cookie": "a\x01=;;;=b"},
    ],
)
def test_without_the_token_the_api_answers_401_in_the_error_shape(guarded: TestClient, headers: dict[str, str]) -> None:
    answer = guarded.get("/api/labels", headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    wrong = headers.get("Authorization", "").startswith("Bearer")
    assert answer.json()["error"]["code"] == ("token_unknown" if wrong else "token_needed")


def test_without_the_token_a_websocket_is_not_accepted(guarded: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/_stcore/stream"):
        pass


def test_a_wrong_token_shows_the_sign_in_page_and_sets_no_cookie(guarded: TestClient) -> None:
    answer = guarded.get("/label?token=wrong")
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert "not a token of this server" in answer.text and "<form" in answer.text


def test_healthcheck_needs_no_token_and_nothing_beside_it_is_open(guarded: TestClient) -> None:
    assert guarded.get("/api/ragvision/healthcheck").status_code == 200
    for path in ("/api/ragvision/healthcheck/", "/api/readiness", "/", "/_stcore/health", "/static/index.js"):
        assert guarded.get(path).status_code == 401


def test_signing_in_never_leads_to_another_server(guarded: TestClient) -> None:
    for path in ("//evil.example/x", "/%5Cevil.example", "///evil.example"):
        location = guarded.get(f"http://workbench.example:7860{path}?token={TOKEN}").headers["location"]
        assert location.startswith("/") and not location.startswith(("//", "/\\"))


def test_a_visit_from_a_link_elsewhere_is_loaded_once_more_to_send_the_strict_cookie(guarded: TestClient) -> None:
    """Browsers hold a Strict cookie back when a link in a chat is followed."""
    first = guarded.get("/label?annotator=a%22b", headers={"Sec-Fetch-Site": "cross-site"})
    assert first.status_code == 401
    assert '<meta http-equiv="refresh" content="0;url=/label?annotator=a%22b">' in first.text
    second = guarded.get("/label?annotator=ada", headers={"Sec-Fetch-Site": "same-origin"})
    assert 'http-equiv="refresh"' not in second.text  # no loop for somebody who has no cookie


def test_two_workbenches_on_one_machine_keep_their_cookies_apart() -> None:
    names = set()
    for token in (TOKEN, "another-token"):
        client = TestClient(app_behind(token=token), base_url="http://h", follow_redirects=False)
        names.add(client.get(f"/?token={token}").headers["set-cookie"].partition("=")[0])
    assert len(names) == 2


def test_over_https_the_cookie_is_secure() -> None:
    client = TestClient(app_behind(token=TOKEN), base_url="https://h", follow_redirects=False)
    assert "secure" in client.get(f"/?token={TOKEN}").headers["set-cookie"].lower()


def test_the_api_takes_the_token_in_the_address_without_a_redirect(guarded: TestClient) -> None:
    assert guarded.get(f"/api/export?token={TOKEN}").text == "GET /api/export"


# --------------------------------------------------------------------------- loopback
@pytest.mark.parametrize(
    "host", ["127.0.0.1:8501", "localhost:8501", "LOCALHOST", "[::1]:8501", "127.8.8.8", "a.localhost:1"]
)
def test_loopback_asks_for_no_token(local: TestClient, host: str) -> None:
    assert local.get("/label", headers={"Host": host}).text == "GET /label"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8501", "localhost.evil.example", "192.168.0.7", "", "[::1"]
)
def test_a_rebound_name_reaches_neither_page_nor_api_nor_websocket(local: TestClient, host: str) -> None:
    for path in ("/label", "/api/labels"):
        answer = local.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "host_not_allowed"
    with pytest.raises(WebSocketDisconnect), local.websocket_connect("/_stcore/stream", headers={"Host": host}):
        pass


def test_a_proxy_s_name_can_be_allowed() -> None:
    client = TestClient(
        app_behind(token=None, allowed_hosts=["Workbench.Example"]), base_url="http://workbench.example"
    )
    assert client.get("/label").status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null"])
def test_a_foreign_page_cannot_open_the_websocket(local: TestClient, guarded: TestClient, origin: str) -> None:
    guarded.get(f"/?token={TOKEN}")
    for client, address in ((local, "ws://127.0.0.1:8501/_stcore/stream"), (guarded, STREAM)):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(address, headers={"Origin": origin}):
            pass


def test_pages_cannot_be_framed_elsewhere_nor_sniffed(local: TestClient) -> None:
    headers = local.get("/label").headers
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("SAMEORIGIN", "nosniff")


def test_a_refusal_has_the_one_shape(local: TestClient) -> None:
    answer = local.get("/api/labels", headers={"Host": "evil.example"})
    assert_failure(answer, 403, "host_not_allowed", "'evil.example'")


@pytest.mark.parametrize("path", ["/api/images/%0A/thumb", "/api/items/a%0Ab/detail", "/api/%00", "/api/%E2%80%A8"])
def test_a_line_end_in_an_address_of_the_api_is_a_404_in_the_one_shape_not_a_page(local: TestClient, path: str) -> None:
    """A mount's pattern ends at a line end, so such a request would reach the pages' server instead."""
    assert_failure(local.get(path), 404, "not_found")
