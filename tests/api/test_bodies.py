"""Refusals before anything is parsed: foreign origins, wrong types, big bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from api_fakes import FakeWorkbench, assert_failure
from fastapi.testclient import TestClient

from ragvision_app import body
from ragvision_app.body import GuardBodies

Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:9999",  # another program on this machine
        "http://localhost:8501",  # not the name that was asked for
        "http://127.0.0.1:8501.evil.example",
        "null",
        "",
    ],
)
def test_a_foreign_origin_cannot_decide(client: TestClient, fake: FakeWorkbench, decision: Body, origin: str) -> None:
    answer = client.post("/decisions", json=decision(), headers={"Origin": origin})
    assert_failure(answer, 403, "foreign_origin")
    assert fake.decisions == {}


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:8501"}, {"Sec-Fetch-Site": "same-origin"}])
def test_our_own_pages_and_programs_can_decide(client: TestClient, decision: Body, headers: dict[str, str]) -> None:
    assert client.post("/decisions", json=decision(), headers=headers).status_code == 200


def test_a_cross_site_request_without_an_origin_is_refused(client: TestClient, decision: Body) -> None:
    answer = client.post("/decisions", json=decision(), headers={"Sec-Fetch-Site": "cross-site"})
    assert_failure(answer, 403, "foreign_origin")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_what_a_form_can_send_is_refused(client: TestClient, fake: FakeWorkbench, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert_failure(client.post("/decisions", content=b"{}", headers=headers), 415, "unsupported_media_type")
    assert fake.decisions == {}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", ["/decisions", "/labels"])
def test_a_method_that_no_route_has_is_a_405_whatever_the_body(client: TestClient, method: str, path: str) -> None:
    assert_failure(client.request(method, path), 405, "method_not_allowed")
    answer = client.request(method, path, headers={"Origin": "https://evil.example"})
    assert_failure(answer, 403, "foreign_origin")


def test_only_posts_have_bodies_as_the_guard_takes_for_granted(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"].values()
    with_body = {method for methods in described for method, route in methods.items() if "requestBody" in route}
    assert with_body == {"post"}


def test_a_charset_beside_the_type_is_fine(client: TestClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/queue", content=b'{"annotator": "ada"}', headers=headers).status_code == 200


def test_a_big_body_is_refused_by_its_declared_length(client: TestClient) -> None:
    answer = client.post("/decisions", content=b" " * 1_000_001, headers={"Content-Type": "application/json"})
    assert_failure(answer, 413, "body_too_large", "1,000,000")


def reads_of(headers: list[tuple[bytes, bytes]], parts: int) -> tuple[int, list[dict[str, Any]]]:
    """How often the guard read of a body of ``parts`` times 100 kB, and what it answered."""
    reads, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b" " * 100_000, "more_body": reads < parts}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a refused body must not reach the routes")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-type", b"application/json"), *headers],
    }
    asyncio.run(GuardBodies(never)(scope, receive, send))
    return reads, sent


def test_a_declared_length_over_the_cap_is_refused_unread() -> None:
    reads, sent = reads_of([(b"content-length", b"10000000")], parts=100)
    assert (reads, sent[0]["status"]) == (0, 413)


@pytest.mark.parametrize(
    "length", [[], [(b"content-length", b"5")], [(b"content-length", b"-1")], [(b"content-length", b"x")]]
)
def test_a_big_body_that_does_not_say_so_is_not_read_to_its_end(length: list[tuple[bytes, bytes]]) -> None:
    reads, sent = reads_of(length, parts=100)
    assert (reads, sent[0]["status"]) == (11, 413)
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_client_that_leaves_half_way_is_not_answered() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(GuardBodies(send)(scope, receive, send))  # type: ignore[arg-type]
    assert sent == []


def test_a_body_just_under_the_cap_is_read(client: TestClient) -> None:
    body = b'{"annotator": "ada"}'.ljust(1_000_000)
    answer = client.post("/queue", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("pause", [0.01, 60.0])
def test_a_body_that_drips_or_stops_gives_its_room_back(monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.1)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        received.append(b"x")
        return {"type": "http.request", "body": b"x", "more_body": len(received) < 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError("half a body was handed on")

    received: list[bytes] = []
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/decisions", "headers": headers, "root_path": ""}
    asyncio.run(GuardBodies(never)(scope, receive, send))
    assert sent[0]["status"] == 408 and len(received) < 1000


def test_a_slow_body_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.1)
    came: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        came.append(b"x" * 10_000)
        return {"type": "http.request", "body": came[-1], "more_body": len(came) < 20}

    async def read() -> int:
        return sum([len(part) async for part in body._parts(receive)])  # type: ignore[arg-type]

    assert asyncio.run(read()) == 200_000
