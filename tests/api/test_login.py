"""A configured login (OIDC) as the API sees it: the browser's signed cookie, and whose decisions it may send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fakes import FakeWorkbench, assert_failure
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import Mount
from streamlit import config
from streamlit.auth_util import set_cookie_with_chunks
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from core.errors import InvalidInput
from core.store import Store
from core.store.tokens import hash_of
from ragvision_app import login
from ragvision_app.api import create_api
from ragvision_app.guard import Guard

SECRET = "a-cookie-secret-of-thirty-two-chars"
HOST = "127.0.0.1:8501"
AUTH = f"""[auth]
redirect_uri = "http://{HOST}/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "workbench"
client_secret = "s"
server_metadata_url = "http://127.0.0.1:1/.well-known/openid-configuration"
"""


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Writes Streamlit's secrets, and has it read them."""
    before, path = config.get_option("secrets.files"), tmp_path / "secrets.toml"

    def write(text: str) -> None:
        path.write_text(text)
        config.set_option("secrets.files", [str(path)])
        secrets_singleton._reset()

    yield write
    config.set_option("secrets.files", before)
    secrets_singleton._reset()


def cookie(secret: str = SECRET, **claims: Any) -> str:
    """The Cookie header of a browser that logged in, made by Streamlit's own code."""
    claims = {"email": "ada@lab.example", "is_logged_in": True, "origin": f"http://{HOST}"} | claims
    parts: list[str] = []

    def sign(name: str, value: str) -> bytes:
        return create_signed_value(secret, name, value)

    def put(name: str, value: str) -> None:
        parts.append(f"{name}={sign(name, value).decode()}")

    set_cookie_with_chunks(put, sign, "_streamlit_user", claims, cookie_attr_size=100)
    return "; ".join(parts)


@pytest.fixture
def fake() -> FakeWorkbench:
    return FakeWorkbench()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "labels.db") as opened:
        yield opened


@pytest.fixture
def client(secrets: Callable[[str], None], fake: FakeWorkbench, store: Store) -> TestClient:
    secrets(AUTH)

    async def give() -> Store:
        return store

    app = Starlette(routes=[Mount("/api", app=create_api(fake))])  # type: ignore[arg-type]
    assert login.is_configured()
    guard = Guard(app, token=None, store=give, login=login.name_in)
    return TestClient(guard, base_url=f"http://{HOST}")


QUEUE = {"annotator": "ada@lab.example", "limit": 1}


def test_the_hot_loop_s_calls_carry_the_login_by_themselves(
    client: TestClient, fake: FakeWorkbench, decision: Callable[..., dict[str, Any]]
) -> None:
    headers = {"Cookie": cookie(), "Origin": f"http://{HOST}"}
    assert client.post("/api/queue", json=QUEUE, headers=headers).status_code == 200
    stored = client.post("/api/decisions", json=decision(annotator="ada@lab.example"), headers=headers)
    assert stored.status_code == 200
    assert [each.annotator for each in fake.decisions.values()] == ["ada@lab.example"]


def test_a_decision_in_another_s_name_is_refused(
    client: TestClient, fake: FakeWorkbench, decision: Callable[..., dict[str, Any]]
) -> None:
    headers = {"Cookie": cookie()}
    for name in ("eve", "ADA@lab.example", "ada@lab.example2"):
        answer = client.post("/api/decisions", json=decision(annotator=name), headers=headers)
        assert_failure(answer, 403, "forbidden", "logged in as ada@lab.example")
        assert client.post("/api/queue", json=QUEUE | {"annotator": name}, headers=headers).status_code == 403
        sha = decision()["image"]
        assert client.get(f"/api/items/{sha}/detail?annotator={name}", headers=headers).status_code == 403
    twice = json.dumps(decision(annotator="ada@lab.example"))[:-1] + ', "annotator": "eve"}'
    headers |= {"Content-Type": "application/json"}
    assert client.post("/api/decisions", content=twice, headers=headers).status_code == 403
    assert client.post("/api/decisions?annotator=eve", content=b"[1]", headers=headers).status_code >= 400
    assert fake.decisions == {}


def test_without_a_login_a_browser_gets_nothing_from_the_api(client: TestClient) -> None:
    answer = client.post("/api/queue", json=QUEUE)
    assert_failure(answer, 401, "login_needed", "Log in")
    assert client.get("/api/labels").status_code == 401
    assert client.get("/api/ragvision/healthcheck").status_code == 201


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "another-secret-another-secret-12"},
        {"is_logged_in": False},
        {"is_logged_in": "yes"},
        {"origin": "http://other.example"},
        {"origin": None},
        {"email": None},
        {"email": "ada@lab.example", "email_verified": False},
    ],
)
def test_a_login_that_does_not_hold_is_none(client: TestClient, wrong: dict[str, Any]) -> None:
    assert client.post("/api/queue", json=QUEUE, headers={"Cookie": cookie(**wrong)}).status_code == 401


def test_a_cookie_that_was_tampered_with_is_none(client: TestClient) -> None:
    good = cookie()
    for bad in (good[:-1], good[:-2] + "aa", good.replace("_streamlit_user=", "_streamlit_user=x"), "_streamlit_user=",
                "_streamlit_user=chunks-99999999", "_streamlit_user=ünï"):  # fmt: skip
        headers = {b"Cookie": bad.encode()}
        assert client.post("/api/queue", json=QUEUE, headers=headers).status_code == 401, bad


def test_a_login_too_large_for_one_cookie_is_put_together(client: TestClient) -> None:
    large = cookie(groups=[hash_of(str(number)) for number in range(200)])  # what cannot be compressed
    assert "_streamlit_user_1=" in large
    assert client.post("/api/queue", json=QUEUE, headers={"Cookie": large}).status_code == 200


def test_a_login_labels_and_administers_nothing(client: TestClient) -> None:
    answer = client.post("/api/classes", json={}, headers={"Cookie": cookie()})
    assert_failure(answer, 403, "scope_too_small", "needs admin")


def test_a_program_with_a_token_names_whom_it_writes_for(client: TestClient, store: Store) -> None:
    _, token = store.create_token("import", "label")
    headers = {"Authorization": f"Bearer {token}", "Cookie": cookie()}
    assert client.post("/api/queue", json=QUEUE | {"annotator": "eve"}, headers=headers).status_code == 200


def test_nothing_changes_without_a_login(secrets: Callable[[str], None]) -> None:
    secrets('[other]\nx = "1"\n')
    assert not login.is_configured() and login.providers() == []
    login.check()


def test_secrets_that_cannot_be_read_stop_the_server_instead_of_leaving_it_open(secrets: Callable[[str], None]) -> None:
    secrets("[auth\n")
    with pytest.raises(InvalidInput, match="cannot be read"):
        login.check()
    secrets('[auth]\nclient_id = "x"\n')
    with pytest.raises(InvalidInput, match="no redirect_uri and no cookie_secret"):
        login.check()


def test_several_providers_are_offered_by_name(secrets: Callable[[str], None]) -> None:
    secrets(AUTH.replace("client_id", "[auth.google]\nclient_id") + '[auth.okta]\nclient_id = "o"\n')
    assert login.providers() == ["google", "okta"]
    secrets(AUTH)
    assert login.providers() == []


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "a@x", "name": "A"}, "a@x"),
        ({"email": "a@x", "email_verified": False, "name": "A"}, "A"),
        ({"preferred_username": "ada", "name": "A", "sub": "1"}, "ada"),
        ({"email": "", "name": " Ada L. ", "sub": "1"}, "Ada L."),
        ({"name": "a\nb", "sub": "1"}, "1"),
        ({"name": "x" * 101, "sub": "1"}, "1"),
        ({"email": 3, "sub": None}, None),
        ({}, None),
    ],
)
def test_whose_name_a_login_gives(claims: dict[str, Any], name: str | None) -> None:
    assert login.name_of(claims) == name


@given(st.binary(max_size=200))
def test_no_bytes_in_the_cookie_break_anything(raw: bytes) -> None:
    assert login.name_in(Headers(raw=[(b"host", HOST.encode()), (b"cookie", b"_streamlit_user=" + raw)])) is None
