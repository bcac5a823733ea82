"""Every failing route answers in one shape."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from api_fakes import SHA, UNKNOWN_SHA, FakeWorkbench, assert_failure
from fastapi.testclient import TestClient

from core import errors

Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/queue", 405, "method_not_allowed"),
        ("PUT", "/decisions", 405, "method_not_allowed"),
        ("GET", f"/images/{UNKNOWN_SHA}/thumb", 404, "not_found"),
        ("GET", f"/images/{SHA}/huge", 404, "not_found"),
        ("GET", f"/images/{SHA.upper()}/thumb", 404, "not_found"),
        ("GET", f"/queue/items/{SHA}", 422, "invalid_input"),  # no annotator
        ("GET", f"/queue/items/{SHA}?annotator=", 422, "invalid_input"),
        ("GET", f"/queue/items/{UNKNOWN_SHA}?annotator=ada", 404, "not_found"),
        ("GET", f"/items/{UNKNOWN_SHA}/detail?annotator=ada", 404, "not_found"),
        ("GET", f"/items/{SHA}/detail", 422, "invalid_input"),
        ("GET", "/export?format=exe", 422, "unknown_adapter"),
        ("GET", "/labels?annotator=%00", 422, "invalid_input"),
    ],
)
def test_failing_address_answers_in_the_one_shape(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    assert_failure(client.request(method, path), status, code)


def test_wrong_method_with_a_json_body_names_what_is_allowed(client: TestClient) -> None:
    answer = client.put("/decisions", json={})
    assert_failure(answer, 405, "method_not_allowed", "PUT", "/decisions")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    [
        "/images/..%2f..%2flabels.db/thumb",
        "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd/thumb",
        "/images/..%5c..%5clabels.db/preview",
        f"/images/{SHA}%00/thumb",
        f"/images/{SHA}%0a/thumb",
        f"/images/{SHA[:-1]}/thumb",
        f"/images/{SHA}/..%2f..%2flabels.db",
    ],
)
def test_a_path_in_place_of_an_image_id_never_reaches_the_workbench(
    client: TestClient, fake: FakeWorkbench, path: str
) -> None:
    assert_failure(client.get(path), 404, "not_found")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"id": "not-a-uuid"}, "id"),
        ({"kind": "promote"}, "kind"),  # not a decision of the labelling loop
        ({"kind": "accept", "class_id": None}, "class_id"),
        ({"kind": "undo", "class_id": None}, "undoes"),
        ({"kind": "note", "class_id": None}, "note"),
        ({"image": "../../labels.db"}, "image"),
        ({"annotator": "   "}, "annotator"),
        ({"annotator": "a\nb"}, "annotator"),
        ({"annotator": "a" * 101}, "annotator"),
        ({"made_at": "yesterday"}, "made_at"),
        ({"made_at": "2026-11-24T12:00:00"}, "time zone"),
        ({"class_id": 2**63}, "class_id"),  # larger than SQLite's integers
        ({"class_id": -1}, "class_id"),
        ({"class_id": 99}, "99"),  # refused by the core
        ({"attention_ms": "soon"}, "attention_ms"),
        ({"note": "x" * 10_001}, "note"),
        ({"suggestionShown": True}, "suggestionShown"),  # a misspelt field must not lose provenance in silence
    ],
)
def test_a_decision_that_cannot_be_is_refused_and_names_the_field(
    client: TestClient, fake: FakeWorkbench, decision: Body, changes: dict[str, Any], word: str
) -> None:
    assert_failure(client.post("/decisions", json=decision(**changes)), 422, "invalid_input", word)
    assert fake.decisions == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b'{"annotator": NaN}', b"\xff\xfe", b'{"annotator": "\\ud800"}', b"[" * 9000],
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/queue", content=body, headers={"Content-Type": "application/json"})
    assert_failure(answer, 422, "invalid_input")


def test_the_name_of_a_field_that_there_is_not_comes_back_short(client: TestClient) -> None:
    answer = client.post("/queue", json={"annotator": "ada", "k" * 900_000: 1})
    assert_failure(answer, 422, "invalid_input", "kkk")
    assert len(answer.content) < 500


@pytest.mark.parametrize("body", ["", "[]", "null", '"x"'])
def test_a_body_that_is_no_object_is_told_in_plain_words(client: TestClient, body: str) -> None:
    answer = client.post("/queue", content=body, headers={"Content-Type": "application/json"})
    message = answer.json()["error"]["message"]
    assert message == "The request cannot be used: its body has to be a JSON object."


def test_an_id_of_the_wrong_form_is_told_without_its_pattern(client: TestClient) -> None:
    answer = client.post("/queue", json={"annotator": "ada", "have": ["x"]})
    assert answer.json()["error"]["message"] == "The request cannot be used: have.0: An id has 64 hexadecimal digits."


@pytest.mark.parametrize(
    "change", [{"limit": 0}, {"limit": 201}, {"order": "best"}, {"lmit": 3}, {"have": ["x"]}, {"have": [SHA] * 1001}]
)
def test_a_queue_request_out_of_bounds_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    assert_failure(client.post("/queue", json={"annotator": "ada"} | change), 422, "invalid_input", *list(change)[:1])


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.NotFound("There is no such thing."), 404, "not_found"),
        (errors.InvalidInput("That cannot be."), 422, "invalid_input"),
        (errors.InvalidSettings("That cannot be."), 422, "invalid_settings"),
        (errors.UnknownAdapter("recipe", "x", ["vote"]), 422, "unknown_adapter"),
        (errors.Conflict("Somebody else was first."), 409, "conflict"),
        (errors.ClassInUse("Labels point at it."), 409, "class_in_use"),
        (errors.NotReady("Add two classes first."), 409, "not_ready"),
        (errors.ImageTooLarge("Too large."), 413, "image_too_large"),
        (errors.UnsupportedImage("Not an image."), 415, "unsupported_image"),
        (errors.DamagedImage("It is cut off."), 422, "damaged_image"),
        (errors.ProjectError("The folder is gone."), 503, "project_error"),
        (errors.SchemaTooNew("Too new."), 503, "schema_too_new"),
        (errors.ModelUnavailable("No weights."), 503, "model_unavailable"),
        (errors.ReasoningFailed("No answer."), 502, "reasoning_failed"),
        (errors.UnsafeArchive("It climbs out."), 422, "unsafe_archive"),
    ],
)
def test_core_errors_keep_their_sentence_and_get_a_status(
    client: TestClient, fake: FakeWorkbench, failure: errors.RagVisionError, status: int, code: str
) -> None:
    fake.failure = failure
    answer = client.post("/queue", json={"annotator": "ada"})
    assert_failure(answer, status, code, str(failure))


def test_every_core_error_has_a_status_of_its_own_choice() -> None:
    from ragvision_app.routes.errors import status_of

    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.RagVisionError)]
    unmapped = [k.__name__ for k in kinds if k is not errors.RagVisionError and status_of(k.__new__(k)) == 500]
    assert unmapped == []


def test_a_locked_store_asks_to_try_again_so_that_the_outbox_keeps_the_decision(
    client: TestClient, fake: FakeWorkbench, decision: Body
) -> None:
    fake.failure = sqlite3.OperationalError("database is locked")
    answer = client.post("/decisions", json=decision())
    assert_failure(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_an_unknown_error_is_logged_under_the_id_that_the_client_is_told(
    client: TestClient, fake: FakeWorkbench, caplog: pytest.LogCaptureFixture
) -> None:
    fake.failure = ZeroDivisionError("secret detail in /home/ada")
    answer = client.get(f"/images/{SHA}/thumb")
    assert_failure(answer, 500, "internal_server_error", answer.headers["x-request-id"])
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text and "secret detail" in caplog.text


def test_readiness_says_503_when_the_store_cannot_be_read(client: TestClient, fake: FakeWorkbench) -> None:
    fake.failure = sqlite3.OperationalError("unable to open database file")
    assert_failure(client.get("/readiness"), 503, "store_unavailable")
    assert client.get("/ragvision/healthcheck").status_code == 201  # the process is there all the same
