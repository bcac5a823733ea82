"""The reference system's request, answered here: its field names, and its failures told as failures."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Any

import httpx
import pytest
from api_fakes import assert_failure
from fastapi.testclient import TestClient
from pictures import KINDS, png
from PIL import Image

import core.workbench
from core.errors import ModelUnavailable
from core.ports import ReasonRequest
from core.reasoning import failed
from core.settings import PipelineSettings
from core.types import Answer
from core.workbench import Workbench
from ragvision_app.api import create_api
from ragvision_app.schemas.reference import InvocationFailed, InvocationOut, InvocationRequest, decoded_image

PATH = "/ragvision/invocations"
WHOLE = {  # the reference's request with every field that it has
    "systemPrompt": "You inspect patterns.",
    "userPrompt": "Stripes or rings?",
    "kRetrieval": 3,
    "maxPatchesPerClass": 2,
    "maxNewTokens": 32,
    "inputResolution": 224,
    "supportRes": 224,
    "supportPatchSize": 32,
    "temperature": 0.2,
    "topP": 0.9,
}


def encoded(kind: str = "rings", seed: int = 100) -> str:
    return base64.b64encode(png(kind, seed)).decode()


@pytest.fixture
def with_support(real: TestClient) -> TestClient:
    """Two classes of three examples each, uploaded through the API alone."""
    for index, (kind, seed) in enumerate((k, s) for k in KINDS for s in range(3)):
        form = {"className": kind, "classes": json.dumps(KINDS), "index": str(index)}
        answer = real.post("/support/upload/image", data=form, files={"file": (f"{kind}{seed}.png", png(kind, seed))})
        assert answer.status_code == 200, answer.text
    return real


def assert_failed(answer: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """A failure as this route tells it: its status, success false, a sentence, a code, and never a flag."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = dict(answer.json())
    told = InvocationFailed.model_validate(body, extra="forbid")
    assert (told.success, told.error_code, told.flag, told.flag_class_id) == (False, code, None, None)
    assert len(told.error) < 500 and told.error.endswith((".", "nobody/nothing"))  # a sentence, or a command
    for word in words:
        assert word in told.error
    return body


def reasoner(monkeypatch: pytest.MonkeyPatch, answer: Callable[[ReasonRequest], Answer], **attributes: Any) -> None:
    """Has every question answered by ``answer``."""
    kind = type("Told", (), {"id": "told", "reason": lambda self, request: answer(request), **attributes})
    monkeypatch.setattr(core.workbench, "create_reasoner", lambda name, settings: kind())


# --------------------------------------------------------------------------- the answer
@pytest.mark.parametrize("kind", KINDS)
def test_the_references_request_is_answered_with_its_fields_and_with_evidence(
    with_support: TestClient, workbench: Workbench, kind: str
) -> None:
    answer = with_support.post(PATH, json={"encodedImage": encoded(kind)} | WHOLE)
    assert answer.status_code == 200, answer.text
    told = InvocationOut.model_validate(answer.json(), extra="forbid")
    assert told.success is True and told.flag == kind and told.explanation and told.error is None
    assert told.class_scores.keys() == set(KINDS) and sum(told.class_scores.values()) == pytest.approx(1)
    assert told.class_scores[kind] == max(told.class_scores.values()) and told.elapsed_time_ms >= 0
    assert {c.name: c.id for c in workbench.store.classes()}[kind] == told.flag_class_id
    assert 2 <= len(told.evidence) <= 4 and {e.class_name for e in told.evidence} == set(KINDS)
    support = workbench.store.images_by_id({e.support_image for e in told.evidence})
    for e in told.evidence:
        left, top, right, bottom = e.query_box
        assert 0 <= left < right <= 96 and 0 <= top < bottom <= 80
        assert support[e.support_image].name == e.support_name and e.support_name.startswith(e.class_name)
        assert with_support.get(e.support_url.removeprefix("/api")).status_code == 200
    assert any(e.cited for e in told.evidence)
    assert told.encoder.startswith("efficientnet-lite0") and told.support_version  # type: ignore[union-attr]
    assert not workbench.store.has_images([told.image_id or ""])  # and it was not stored


def test_snake_case_is_accepted_too(with_support: TestClient) -> None:
    camel = with_support.post(PATH, json={"encodedImage": encoded()} | WHOLE).json()
    snake = {field.name: WHOLE[alias] for field in fields(PipelineSettings) if (alias := _camel(field.name)) in WHOLE}
    assert len(snake) == len(WHOLE)
    same = with_support.post(PATH, json={"encoded_image": encoded()} | snake).json()
    assert {**same, "elapsedTimeMs": 0} == {**camel, "elapsedTimeMs": 0}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def test_an_image_alone_is_answered_under_the_projects_settings(with_support: TestClient, workbench: Workbench) -> None:
    chosen = replace(workbench.settings.pipeline, recipe="vote", max_patches_per_class=1)
    workbench.save_settings(replace(workbench.settings, pipeline=chosen))
    told = with_support.post(PATH, json={"encodedImage": encoded()}).json()
    assert (told["recipe"], len(told["evidence"]), told["warnings"]) == ("vote", 2, [])


def test_parameters_reach_the_pipeline(with_support: TestClient) -> None:
    def told(**given: Any) -> dict[str, Any]:
        return dict(with_support.post(PATH, json={"encodedImage": encoded()} | given).json())

    usual = told()
    assert told(kRetrieval=1)["classScores"] != usual["classScores"]
    assert len(told(maxPatchesPerClass=1)["evidence"]) == 2
    assert told(inputResolution=320)["encoder"] != usual["encoder"]
    coarse = told(inputResolution=256, supportRes=256, supportPatchSize=64)["evidence"][0]["queryBox"]
    assert (coarse[2] - coarse[0], coarse[3] - coarse[1]) == (24, 20)  # a quarter of 96 × 80


def test_the_models_folder_of_the_reference_is_accepted_and_said_to_be_ignored(with_support: TestClient) -> None:
    told = with_support.post(PATH, json={"encodedImage": encoded(), "supportClipLocalDir": "../../models"}).json()
    assert told["success"] is True
    (warning,) = told["warnings"]
    assert warning.startswith("supportClipLocalDir was ignored") and "models" not in warning.split(":")[0]


def test_prompts_that_no_model_reads_are_said_to_have_no_effect(with_support: TestClient) -> None:
    told = with_support.post(PATH, json={"encodedImage": encoded()} | WHOLE).json()
    assert any("systemPrompt" in w and "had no effect" in w and "evidence" in w for w in told["warnings"])


def test_prompts_that_a_model_reads_are_named_by_their_version(
    with_support: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasoner(monkeypatch, lambda r: Answer(r.scores[0].class_id, "So it is [E1].", (1,)), prompt_version="abc")
    told = with_support.post(PATH, json={"encodedImage": encoded()} | WHOLE).json()
    assert (told["promptVersion"], told["warnings"], told["explanation"]) == ("abc", [], "So it is [E1].")
    assert [e["number"] for e in told["evidence"] if e["cited"]] == [1]


def test_an_abstention_is_an_answer_without_a_flag(with_support: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    reasoner(monkeypatch, lambda request: Answer(None, "It could be either."))
    told = InvocationOut.model_validate(with_support.post(PATH, json={"encodedImage": encoded()}).json())
    assert (told.success, told.flag, told.flag_class_id) == (True, None, None)
    assert told.explanation == "It could be either." and told.class_scores


# --------------------------------------------------------------------------- the image
@pytest.mark.parametrize(
    "text",
    [
        "data:image/png;base64,{}",
        "data:;base64,{}",
        "DATA:image/png;name=x;BASE64,{}",
        " {} ",
        "{}\r\n",
        lambda b: "\n".join(b[i : i + 76] for i in range(0, len(b), 76)),
    ],
)
def test_base64_with_line_ends_and_data_uris_are_read(text: Any) -> None:
    whole = encoded()
    assert decoded_image(text(whole) if callable(text) else text.format(whole)) == png("rings", 100)


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "abc",
        "ab-_",
        "é" * 4,
        "data:image/png,abcd",
        "data:image/png;base64",
        "%%%%",
        "data:;base64,",
        " ",
        "QQ==Q",
    ],
)
def test_what_is_no_base64_is_refused_with_the_field_named(real: TestClient, text: str) -> None:
    assert_failed(real.post(PATH, json={"encodedImage": text}), 422, "invalid_input", "encodedImage")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GIF89a" + b"0" * 50, 415, "unsupported_image"),
        (b"<svg onload=alert(1)>", 415, "unsupported_image"),
        (b"../../etc/passwd", 415, "unsupported_image"),
        (png("rings", 1)[:-40], 422, "damaged_image"),
    ],
)
def test_what_is_no_image_is_refused_in_the_routes_own_shape(
    with_support: TestClient, data: bytes, status: int, code: str
) -> None:
    assert_failed(with_support.post(PATH, json={"encodedImage": base64.b64encode(data).decode()}), status, code)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    with_support: TestClient, workbench: Workbench
) -> None:
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    text = base64.b64encode(out.getvalue()).decode()
    assert_failed(with_support.post(PATH, json={"encodedImage": text}), 413, "image_too_large", "12,000 × 12,000")


# --------------------------------------------------------------------------- failures
@pytest.mark.parametrize("name", [n for n in InvocationRequest.model_fields if n in PipelineSettings.__slots__])
def test_bounds_are_those_of_the_settings(real: TestClient, name: str) -> None:
    of = next(f for f in fields(PipelineSettings) if f.name == name)
    for bound, step in ((of.metadata["low"], -1), (of.metadata["high"], 1)):
        if bound is not None:
            body = {"encodedImage": encoded(), _camel(name): bound + step}
            assert_failed(real.post(PATH, json=body), 422, "invalid_input", _camel(name))


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"kRetrieval": "many"}, "invalid_input", "kRetrieval"),
        ({"temperature": float("nan")}, "invalid_input", "temperature"),
        ({"temperatur": 1}, "invalid_input", "temperatur"),
        ({"systemPrompt": "x" * 20_001}, "invalid_input", "systemPrompt"),
        ({"inputResolution": 230}, "invalid_settings", "does not divide"),
        ({"encodedImage": None}, "invalid_input", "encodedImage"),
    ],
)
def test_a_field_that_cannot_be_is_named(real: TestClient, change: dict[str, Any], code: str, word: str) -> None:
    body = {"encodedImage": encoded()} | change
    answer = real.post(PATH, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert_failed(answer, 422, code, word)


def test_nothing_to_compare_with_is_a_conflict_with_the_state(real: TestClient) -> None:
    assert_failed(real.post(PATH, json={"encodedImage": encoded()}), 409, "not_ready", "at least two classes")


def test_a_model_that_is_missing_is_503_with_the_command_that_gets_it(
    with_support: TestClient, workbench: Workbench
) -> None:
    chosen = replace(workbench.settings.pipeline, reasoner="qwen2-vl", reasoner_model="nobody/nothing")
    workbench.save_settings(replace(workbench.settings, pipeline=chosen))
    answer = with_support.post(PATH, json={"encodedImage": encoded()})
    assert_failed(answer, 503, "model_unavailable", "hf download nobody/nothing")


@pytest.mark.parametrize(
    "answers",
    [
        lambda request: failed("The server answered a web page.", "<html>"),
        lambda request: Answer(4711, "It is clean."),  # a class that nobody offered
        lambda request: [][1],
        lambda request: (_ for _ in ()).throw(ModelUnavailable("The model's server is away.")),
    ],
)
def test_a_reasoner_that_fails_is_no_success_and_gives_no_flag_but_scores_and_evidence(
    with_support: TestClient, monkeypatch: pytest.MonkeyPatch, answers: Callable[[ReasonRequest], Answer]
) -> None:
    reasoner(monkeypatch, answers)
    body = assert_failed(with_support.post(PATH, json={"encodedImage": encoded()}), 502, "reasoning_failed")
    assert body["classScores"].keys() == set(KINDS) and body["evidence"] and body["explanation"] == ""
    assert body["reasoning"] == "failed" and not any(e["cited"] for e in body["evidence"])


def test_an_error_that_nobody_expected_is_500_in_the_routes_own_shape(
    with_support: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **more: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(core.workbench, "create_engine", broken)
    body = assert_failed(with_support.post(PATH, json={"encodedImage": encoded()}), 500, "internal_server_error")
    assert "secret" not in str(body)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "invalid_input"),
        ({"content": b"[" * 9000, "headers": {"Content-Type": "application/json"}}, 422, "invalid_input"),
        ({"content": b" " * 32_000_001, "headers": {"Content-Type": "application/json"}}, 413, "body_too_large"),
        ({"json": {}, "headers": {"Origin": "https://evil.example"}}, 403, "foreign_origin"),
    ],
)
def test_refusals_before_the_body_is_read_have_the_routes_own_shape(
    client: TestClient, request_: dict[str, Any], status: int, code: str
) -> None:
    assert_failed(client.post(PATH, **request_), status, code)


def test_another_method_is_405_in_the_routes_own_shape(client: TestClient) -> None:
    assert_failed(client.get(PATH), 405, "method_not_allowed")


# --------------------------------------------------------------------------- many at once
class Gate:
    """A reasoner's answer that waits until it is let through."""

    def __init__(self) -> None:
        self.open, self.asked = threading.Event(), 0

    def __call__(self, request: ReasonRequest) -> Answer:
        self.asked += 1
        assert self.open.wait(60)
        return Answer(request.scores[0].class_id, "So it is.")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    reasoner(monkeypatch, made)
    yield made
    made.open.set()


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_of_twenty_at_once_seventeen_are_answered_and_three_are_told_when_to_come_back(
    with_support: TestClient, gate: Gate
) -> None:
    def ask(seed: int) -> httpx.Response:
        return with_support.post(PATH, json={"encodedImage": encoded("rings", seed)})

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(ask, 0)
        wait(lambda: gate.asked == 1)
        others = [pool.submit(ask, seed) for seed in range(1, 20)]
        wait(lambda: sum(f.done() for f in others) == 3)
        for future in [f for f in others if f.done()]:
            assert_failed(future.result(), 429, "busy", "16 requests wait")
            assert 1 <= int(future.result().headers["retry-after"]) <= 120
        gate.open.set()
        answers = [f.result() for f in (first, *others)]
    assert sorted(a.status_code for a in answers) == [200] * 17 + [429] * 3
    ids = [a.json()["imageId"] for a in answers if a.status_code == 200]
    assert len(set(ids)) == 17 and gate.asked == 17


def test_a_client_that_leaves_gives_its_place_up(with_support: TestClient, workbench: Workbench, gate: Gate) -> None:
    """Over ASGI, where a client's leaving can be said outright."""
    body = json.dumps({"encodedImage": encoded()}).encode()
    first = workbench.inference.submit(png("rings", 1))
    wait(lambda: gate.asked == 1)

    async def leave() -> list[Any]:
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0) if len(messages) > 1 else messages[0]

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1")]
        scope = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "root_path": ""}
        scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
        await create_api(workbench)(scope, receive, send)
        return sent

    assert asyncio.run(leave())[0]["status"] == 499
    gate.open.set()
    assert first.result(60).prediction.flag is not None
    assert with_support.post(PATH, json={"encodedImage": encoded()}).status_code == 200
    assert gate.asked == 2  # the one that left was never asked about


def test_decisions_and_pages_of_the_api_do_not_wait_for_a_reasoner_that_hangs(
    with_support: TestClient, gate: Gate
) -> None:
    with ThreadPoolExecutor(4) as pool:
        hanging = [pool.submit(with_support.post, PATH, json={"encodedImage": encoded()}) for _ in range(4)]
        wait(lambda: gate.asked == 1)
        assert with_support.get("/readiness").status_code == 200
        assert with_support.post("/queue", json={"annotator": "ada"}).status_code == 200
        assert not any(f.done() for f in hanging)
        gate.open.set()
        assert all(f.result().status_code == 200 for f in hanging)


def test_large_bodies_at_once_are_bounded_and_small_ones_never_refused(workbench: Workbench) -> None:
    from ragvision_app.body import BodyRule, Budget, GuardBodies

    async def scene() -> list[int]:
        statuses: list[int] = []
        held = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await held.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        large = BodyRule(lambda: 32_000_000)
        guard = GuardBodies(app, {"/large": large}, Budget(5_000_000))

        async def ask(path: str, size: int) -> None:
            async def receive() -> Any:
                return {"type": "http.request", "body": b" " * size, "more_body": False}

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                    headers = dict(message["headers"])
                    assert message["status"] != 429 or headers[b"retry-after"] == b"2"

            headers = [(b"content-type", b"application/json")]
            await guard({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)

        first = [asyncio.create_task(ask("/large", 2_000_000)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await ask("/large", 2_000_000)
        small = asyncio.create_task(ask("/decisions", 900_000))
        held.set()
        await asyncio.gather(*first, small)
        await ask("/large", 4_900_000)  # all was given back
        return statuses

    assert asyncio.run(scene()) == [429, 200, 200, 200, 200]


def test_the_other_routes_keep_the_one_shape(client: TestClient) -> None:
    assert_failure(
        client.post("/decisions", content=b" " * 1_000_001, headers={"Content-Type": "application/json"}),
        413,
        "body_too_large",
    )
