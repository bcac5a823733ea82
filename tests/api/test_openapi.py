"""The API's description: current, with an example beside everything, and saying every rule that it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from core.settings import LISTS
from ragvision_app.api import openapi_json
from ragvision_app.cli.commands import main
from ragvision_app.schemas import DecisionRequest, labelling, records, reference
from ragvision_app.schemas.examples import ANSWERS, FAILED_INVOCATION

ROOT = Path(__file__).resolve().parents[2]
SPEC = json.loads(openapi_json())
ROUTES = [(method, path) for path, methods in SPEC["paths"].items() for method in methods]


def route(method: str, path: str) -> dict[str, Any]:
    return dict(SPEC["paths"][path][method])


def problems(value: Any, schema: dict[str, Any]) -> list[str]:
    """How ``value`` differs from ``schema``; fields that no model has are differences too."""
    whole = {**closed(schema), "components": closed(SPEC["components"])}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) and "type" in schema else {}
    return {**strict, **{name: closed(part) for name, part in schema.items()}}


def test_the_document_in_docs_is_the_one_that_is_served(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (ROOT / "docs/openapi.json").read_text(encoding="utf-8")
    assert kept == openapi_json(), "make it anew: python -m ragvision_app openapi > docs/openapi.json"
    assert main(["openapi"]) == 0
    assert capsys.readouterr().out == kept
    assert client.get("/openapi.json").json() == json.loads(kept)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_has_an_example_that_is_one(method: str, path: str) -> None:
    if path == "/images/{sha}/{size}":
        return  # a picture
    assert (method, path) in ANSWERS
    (answer,) = (a for status, a in route(method, path)["responses"].items() if status.startswith("2"))
    kind, content = next(iter(answer["content"].items()))
    if kind == "application/json":
        assert problems(content["example"], content["schema"]) == []
    else:
        assert isinstance(content["example"], str)


@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if "requestBody" in route(*r)])
def test_every_body_has_an_example_that_is_one(method: str, path: str) -> None:
    (content,) = route(method, path)["requestBody"]["content"].values()
    assert problems(content["example"], content["schema"]) == []


def test_the_example_of_a_failure_is_one() -> None:
    assert problems(FAILED_INVOCATION, {"$ref": "#/components/schemas/InvocationFailed"}) == []


def test_rules_of_a_decision_are_said() -> None:
    schema = SPEC["components"]["schemas"]["DecisionRequest"]
    good = schema["examples"][0]
    assert problems(good, schema) == []
    assert DecisionRequest.model_validate(good).to_core().class_id == 2
    for change in ({"class_id": None}, {"kind": "undo"}, {"kind": "note"}, {"annotator": "a\nb"}, {"kind": "promote"}):
        bad = good | change
        assert problems(bad, schema) != []
        with pytest.raises(ValueError, match="validation error"):
            DecisionRequest.model_validate(bad)
    assert schema["properties"]["id"]["format"] == "uuid" and schema["properties"]["made_at"]["format"] == "date-time"
    orders = SPEC["components"]["schemas"]["QueueRequest"]["properties"]["order"]["anyOf"][0]
    assert orders["enum"] == list(LISTS)


def test_bounds_of_the_reference_route_stand_in_the_document() -> None:
    fields = SPEC["components"]["schemas"]["InvocationRequest"]["properties"]
    assert fields["kRetrieval"]["anyOf"][0] | {"type": "integer"} == {"type": "integer", "minimum": 1, "maximum": 64}
    assert fields["temperature"]["anyOf"][0]["maximum"] == 2.0
    assert all(field.get("description") for field in fields.values())


def test_forms_are_described_as_forms() -> None:
    for path in ("/support/upload/image", "/images"):
        body = route("post", path)["requestBody"]
        assert body["required"] and list(body["content"]) == ["multipart/form-data"]
        assert body["content"]["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"


def test_the_page_for_people_shows_bodies_and_answers(client: TestClient) -> None:
    page = client.get("/docs").text
    for word in ("encodedImage", "classScores", "multipart/form-data", "flagClassId", "event: done"):
        assert word in page


def test_no_file_of_schemas_grows_beyond_reading() -> None:
    for module in (labelling, records, reference):
        assert len(Path(str(module.__file__)).read_text().splitlines()) < 460
