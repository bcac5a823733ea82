"""Refusals before anything is parsed: foreign origins, wrong types, big bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_fakes import FakeWorkbench, assert_failure
from fastapi.testclient import TestClient

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


def test_a_charset_beside_the_type_is_fine(client: TestClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/queue", content=b'{"annotator": "ada"}', headers=headers).status_code == 200


def test_a_big_body_is_refused_by_its_declared_length(client: TestClient) -> None:
    answer = client.post("/decisions", content=b" " * 1_000_001, headers={"Content-Type": "application/json"})
    assert_failure(answer, 413, "body_too_large", "1,000,000")


def test_a_big_body_without_a_length_is_not_read_to_its_end(client: TestClient) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 100_000

    answer = client.post("/decisions", content=endless(), headers={"Content-Type": "application/json"})
    assert_failure(answer, 413, "body_too_large")


def test_a_body_just_under_the_cap_is_read(client: TestClient) -> None:
    body = b'{"annotator": "ada"}'.ljust(1_000_000)
    answer = client.post("/queue", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
