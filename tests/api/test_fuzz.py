"""What schemathesis makes of the API's own description: no 500, and no answer that is not in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pictures import KINDS, png
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Mount

from core.workbench import Workbench
from ragvision_app.api import create_api, openapi_json

SPEC = json.loads(openapi_json())
ROUTES = [(method, path) for path, methods in SPEC["paths"].items() for method in methods]
EXAMPLES = 40
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[str]]]:
    """A project with two classes, examples and a queue, and its API where the server has it."""
    workbench = Workbench.open(tmp_path_factory.mktemp("fuzzed") / "cells")
    for kind in KINDS:
        for seed in range(2):
            workbench.upload_support(f"{kind}{seed}.png", png(kind, seed), kind, by="ada")
    for seed in range(3):
        workbench.upload_image(f"q{seed}.png", png("rings", 50 + seed))
    app = Starlette(routes=[Mount("/api", app=create_api(workbench))])
    yield schemathesis.openapi.from_asgi("/api/openapi.json", app), workbench.store.query_images()
    workbench.close()


def with_real_values(case: schemathesis.Case, images: list[str], number: int) -> None:
    """Ids, classes and pictures that there are, in the place of made-up ones: only so the routes do their work."""
    image = images[number % len(images)]
    if "sha" in case.path_parameters:
        case.path_parameters["sha"] = image
    body = case.body
    if not isinstance(body, dict):
        return
    real = {"image": image, "class_id": 1 + number % 2, "file": png("stripes", 90 + number % 4)}
    real |= {"encodedImage": base64.b64encode(png("rings", 50 + number)).decode(), "classes": '["stripes", "new"]'}
    real |= {"className": ("stripes", "new")[number % 2], "undoes": None}
    body.update({name: value for name, value in real.items() if name in body})


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_answer_is_one_that_the_description_has(fuzzed: tuple[Any, list[str]], method: str, path: str) -> None:
    schema, images = fuzzed
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(), number=st.integers(0, 9), real=st.booleans())
    def hold(case: schemathesis.Case, number: int, real: bool) -> None:
        if real:
            with_real_values(case, images, number)
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    hold()
    assert any(200 <= status < 300 for status in statuses), statuses  # else nothing but refusals was seen
