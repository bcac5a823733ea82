"""The Python client, against the server as it is really started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pictures import KINDS, png
from test_server import base_of, running

from ragvision_app import client as client_module
from ragvision_app.client import Client, ReasonerFailed, Refused, TooBusy, Unavailable, encode_image, run_rag_inference

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty project, served with a token."""
    with running(tmp_path_factory.mktemp("served") / "fresh", RAGVISION_TOKEN=TOKEN) as (_, link):
        yield base_of(link)


@pytest.fixture
def workbench(server: str) -> Iterator[Client]:
    with Client(server, TOKEN) as client:
        yield client


def pictures(kind: str, first: int, count: int) -> list[tuple[str, bytes]]:
    return [(f"{kind}{seed}.png", png(kind, seed)) for seed in range(first, first + count)]


@pytest.fixture
def with_support(workbench: Client) -> Client:
    workbench.upload_support_images({kind: pictures(kind, 0, 3) for kind in KINDS})
    return workbench


# --------------------------------------------------------------------------- journeys
def test_two_classes_uploaded_through_the_api_alone_then_the_references_request_as_its_own_client_sends_it(
    tmp_path: Path,
) -> None:
    """No class of ours in between: forms and camelCase JSON over HTTP, to a server on a project that is empty."""
    with running(tmp_path / "empty", RAGVISION_TOKEN="") as (_, link), httpx.Client(timeout=120) as plain:
        api = f"{base_of(link)}/api"
        assert plain.get(f"{api}/ragvision/healthcheck").status_code == 201
        for index, (kind, seed) in enumerate((kind, seed) for kind in KINDS for seed in range(3)):
            uploaded = plain.post(
                f"{api}/support/upload/image",
                data={"className": kind, "classes": json.dumps(KINDS), "index": str(index)},
                files={"file": (f"{kind}{seed}.png", png(kind, seed), "image/png")},
            )
            assert uploaded.status_code == 200, uploaded.text
            told = uploaded.json()
            assert [told[name] for name in ("success", "className", "index", "filename")] == [
                *(True, kind, index, f"{kind}{seed}.png"),
            ]
        for kind in KINDS:
            request = {
                "encodedImage": encode_image(png(kind, 100)),
                "systemPrompt": "You inspect patterns.",
                "userPrompt": "Which of the two?",
                "kRetrieval": 5,
                "maxPatchesPerClass": 3,
                "maxNewTokens": 64,
                "inputResolution": 224,
                "supportRes": 224,
                "supportPatchSize": 32,
                "temperature": 0.2,
                "topP": 0.9,
                "supportClipLocalDir": "/models/clip",
            }
            answer = plain.post(f"{api}/ragvision/invocations", json=request)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["success"] is True and told["flag"] == kind and told["error"] is None
            assert told["explanation"] and set(told["classScores"]) == set(KINDS) and told["evidence"]
            assert isinstance(told["imageId"], str) and isinstance(told["elapsedTimeMs"], int)
            assert isinstance(told["rawResponse"], str) and any("supportClipLocalDir" in w for w in told["warnings"])


def test_the_same_with_the_client_and_then_a_label(with_support: Client, tmp_path: Path) -> None:
    (tmp_path / "query.png").write_bytes(png("rings", 200))
    answer = with_support.run_rag_inference(
        system_prompt="You inspect patterns.",
        user_prompt="Which of the two?",
        encoded_image=encode_image(tmp_path / "query.png"),
        temperature=0.2,
        top_p=0.9,
        k_retrieval=3,
        max_patches_per_class=2,
        max_new_tokens=32,
        input_resolution=224,
        support_res=224,
        support_patch_size=32,
    )
    assert answer["flag"] == "rings" and answer["evidence"]
    image = with_support.upload_image(tmp_path / "query.png")
    assert image["id"] == answer["imageId"]
    rings = next(c["id"] for c in with_support.classes() if c["name"] == "rings")
    first = with_support.decide(image["id"], "correct", "ada", class_id=rings)
    again = with_support.decide(image["id"], "correct", "ada", id=first["id"], class_id=rings)
    assert (first["outcome"], again["outcome"]) == ("stored", "duplicate")
    assert [label["image"] for label in with_support.labels("ada")] == [image["id"]]
    assert image["id"].encode() in with_support.export("jsonl")
    assert isinstance(with_support.queue("ada"), list) and isinstance(with_support.runs(), list)
    assert with_support.healthcheck() == {"status": "ok"} and with_support.readiness()["project"] == "fresh"


def test_support_sent_twice_changes_nothing_and_can_be_taken_out(with_support: Client) -> None:
    before = with_support.support()
    again = with_support.upload_support_images({kind: pictures(kind, 0, 3) for kind in KINDS})
    assert all(told["duplicate"] for told in again) and [told["index"] for told in again] == list(range(6))
    assert with_support.support() == before
    extra = with_support.upload_support_image(("extra.png", png("rings", 55)), "rings")
    with_support.remove_support(extra["supportId"])
    assert with_support.support() == before
    assert with_support.add_class("another")["name"] == "another"


def test_the_function_of_the_references_name_takes_its_keywords(with_support: Client, server: str) -> None:
    answer = run_rag_inference(
        encoded_image=encode_image(png("stripes", 300)), k_retrieval=3, base_url=f"{server}/api", token=TOKEN
    )
    assert answer["flag"] == "stripes"


def test_forty_at_once_are_all_answered_whatever_the_queue_holds(with_support: Client, server: str) -> None:
    """More than the queue takes: some are sent away with 429, and the client comes back; none is lost."""

    def ask(seed: int) -> dict[str, Any]:
        with Client(server, TOKEN, retries=30) as one:
            return one.run_rag_inference(encoded_image=encode_image(png("rings", 400 + seed)))

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(40)))
    assert len({answer["imageId"] for answer in answers}) == 40
    assert all(answer["success"] for answer in answers)


# --------------------------------------------------------------------------- failures
def test_a_refusal_is_raised_with_the_servers_own_sentence(with_support: Client, server: str) -> None:
    with pytest.raises(Refused, match="kRetrieval") as refused:
        with_support.run_rag_inference(encoded_image=encode_image(png("rings", 1)), k_retrieval=0)
    assert (refused.value.status, refused.value.code) == (422, "invalid_input")
    with pytest.raises(Refused, match="not an image") as refused:
        with_support.run_rag_inference(encoded_image=encode_image(b"hello"))
    assert (refused.value.status, refused.value.code) == (415, "unsupported_image")
    with pytest.raises(Refused, match="example of 'rings' already") as refused:
        with_support.upload_support_image(("rings0.png", png("rings", 0)), "stripes")
    assert (refused.value.status, refused.value.code) == (409, "conflict")
    with Client(server) as stranger, pytest.raises(Refused, match="token") as refused:
        stranger.classes()
    assert refused.value.status == 401


def test_no_server_is_said_as_such() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(Unavailable, match="There is no workbench"):
        client.healthcheck()


def test_importing_the_client_loads_nothing_heavy_and_no_part_of_the_server() -> None:
    code = "import sys, ragvision_app.client; print(sorted(m for m in sys.modules if m.split('.')[0] in LOOKED_FOR))"
    looked_for = "('core', 'fastapi', 'starlette', 'streamlit', 'pydantic', 'numpy', 'PIL', 'torch', 'sqlite_utils')"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("LOOKED_FOR", looked_for)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def answering(*answers: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    """A client of a server that answers this, in this order: what a real one does too seldom."""
    seen: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        told = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(told, Exception):
            raise told
        return told

    return Client(transport=httpx.MockTransport(answer), retries=3), seen


BUSY = {"error": {"code": "busy", "message": "16 requests wait already."}}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(client_module, "time", SimpleNamespace(sleep=waits.append))  # its own alone: others sleep, too
    return waits


def test_429_is_tried_again_after_the_seconds_that_the_server_asks_for(slept: list[float]) -> None:
    client, seen = answering(
        httpx.Response(429, headers={"Retry-After": "7"}, json=BUSY),
        httpx.Response(429, headers={"Retry-After": "100000"}, json=BUSY),
        httpx.Response(200, json={"status": "ok"}),
    )
    assert client.healthcheck() == {"status": "ok"}
    assert slept == [7.0, client_module.LONGEST_WAIT] and len(seen) == 3


def test_429_is_not_tried_for_ever(slept: list[float]) -> None:
    client, seen = answering(httpx.Response(429, headers={"Retry-After": "soon"}, json=BUSY))
    with pytest.raises(TooBusy, match="16 requests wait") as busy:
        client.classes()
    assert busy.value.retry_after == 1.0 and len(seen) == 4 and slept == [1.0] * 3


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            httpx.Response(502, json={"error": "The model said nothing.", "errorCode": "reasoning_failed"}),
            ReasonerFailed,
            "said",
        ),
        (httpx.Response(503, json={"error": {"code": "x", "message": "Not now."}}), Unavailable, "Not now"),
        (httpx.Response(500, text="<html>"), Unavailable, "answered 500"),
        (httpx.Response(404, json=[1]), Refused, "answered 404"),
        (httpx.Response(400, json={"error": {"message": 7}}), Refused, "answered 400"),
        (httpx.Response(200, text="<html>"), Unavailable, "other than JSON"),
        (httpx.ReadTimeout("slow"), Unavailable, "in time"),
        (httpx.RemoteProtocolError("cut off"), Unavailable, "no workbench"),
    ],
)
def test_every_failure_is_typed_and_is_not_tried_again(
    slept: list[float], answer: Any, kind: type[Exception], words: str
) -> None:
    client, seen = answering(answer)
    with pytest.raises(kind, match=words):
        client.run_rag_inference(encoded_image="x")
    assert len(seen) == 1 and slept == []


def test_what_is_not_given_is_not_sent_and_the_token_is() -> None:
    seen: list[httpx.Request] = []
    transport = httpx.MockTransport(lambda r: (seen.append(r), httpx.Response(200, json={}))[1])
    with Client("http://host:1/api/", "secret", transport=transport) as client:
        client.run_rag_inference(encoded_image="x", top_p=0.5)
    (request,) = seen
    assert json.loads(request.content) == {"encodedImage": "x", "topP": 0.5}
    assert str(request.url) == "http://host:1/api/ragvision/invocations"
    assert request.headers["authorization"] == "Bearer secret"
