"""The API on a real project: real store, real images, no model."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fakes import UNKNOWN_SHA, assert_failure
from fastapi.testclient import TestClient
from PIL import Image

from core.imports import upload_source
from core.workbench import Workbench
from ragvision_app import schemas
from ragvision_app.api import create_api
from ragvision_app.routes import queue as queue_routes


def png(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    opened = Workbench.open(tmp_path / "cells")
    opened.store.add_class("functional")
    opened.store.add_class("<script>alert(1)</script>")
    opened.import_images([upload_source([(f"image{n}.png", png((n, 2 * n, 90))) for n in range(5)])])
    yield opened
    opened.close()


@pytest.fixture
def real(workbench: Workbench) -> Iterator[TestClient]:
    with TestClient(create_api(workbench), base_url="http://127.0.0.1:8501") as client:
        yield client


def fetch(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/queue", json={"annotator": "ada"} | body)
    assert answer.status_code == 200, answer.text
    schemas.QueueOut.model_validate(answer.json(), extra="forbid")
    return dict(answer.json())


def decide(client: TestClient, item: dict[str, Any], kind: str = "correct", **fields: Any) -> dict[str, Any]:
    body = {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "image": item["id"],
        "annotator": "ada",
        "made_at": "2026-11-24T12:00:00Z",
        "lease_token": item["lease"] and item["lease"]["token"],
        "expected_version": item["version"],
    }
    answer = client.post("/decisions", json=body | fields)
    assert answer.status_code == 200, answer.text
    schemas.DecisionOut.model_validate(answer.json(), extra="forbid")
    return dict(answer.json())


def test_a_decision_sent_again_changes_nothing(real: TestClient, workbench: Workbench) -> None:
    item = fetch(real)["items"][0]
    sent = {"id": str(uuid.uuid4()), "class_id": 1}
    first, again = decide(real, item, **sent), decide(real, item, **sent)
    assert (first["outcome"], again["outcome"]) == ("stored", "duplicate")
    assert first["label"] == again["label"] and first["version"] == again["version"] == 1
    assert first["progress"]["labelled"] == again["progress"]["labelled"] == 1
    assert len(workbench.store.history(item["id"])) == 1


def test_an_undone_label_brings_the_image_back_and_leaves_the_list_of_what_can_be_undone(real: TestClient) -> None:
    item = fetch(real, limit=1)["items"][0]
    stored = decide(real, item, class_id=2)
    assert [u["event_id"] for u in fetch(real)["undoable"]] == [stored["id"]]
    undone = decide(real, item, kind="undo", undoes=stored["id"])
    assert undone["label"] is None and undone["progress"]["labelled"] == 0
    assert fetch(real)["undoable"] == []
    again = real.get(f"/queue/items/{item['id']}?annotator=ada").json()
    assert schemas.ItemOut.model_validate(again).version == 2
    assert real.get("/labels").json() == {"labels": []}


def test_two_annotators_are_not_given_the_same_image(real: TestClient) -> None:
    mine = {item["id"] for item in fetch(real, limit=3)["items"]}
    theirs = {item["id"] for item in fetch(real, annotator="bob", limit=5)["items"]}
    assert len(mine) == 3 and len(theirs) == 2 and not mine & theirs


def test_items_that_the_client_has_do_not_come_again(real: TestClient) -> None:
    have = [item["id"] for item in fetch(real, limit=2)["items"]]
    assert not set(have) & {item["id"] for item in fetch(real, have=have)["items"]}


def test_without_support_there_is_no_suggestion_but_a_reason_and_labelling_works(real: TestClient) -> None:
    answer = fetch(real, limit=1)
    suggestion = answer["items"][0]["suggestion"]
    assert suggestion["state"] == "none" and suggestion["reason"]
    assert decide(real, answer["items"][0], class_id=1)["outcome"] == "stored"


@pytest.mark.parametrize(("size", "side"), [("thumb", 64), ("small", 64), ("preview", 64)])
def test_images_are_encoded_again_and_never_larger_than_they_were(real: TestClient, size: str, side: int) -> None:
    item = fetch(real, limit=1)["items"][0]
    answer = real.get(f"/images/{item['id']}/{size}")
    assert answer.headers["content-type"] == "image/webp"
    image = Image.open(io.BytesIO(answer.content))
    assert image.format == "WEBP" and max(image.size) == side


def test_an_image_that_is_not_in_the_project_is_not_found(real: TestClient) -> None:
    assert_failure(real.get(f"/images/{UNKNOWN_SHA}/preview"), 404, "not_found")
    assert_failure(real.get(f"/queue/items/{UNKNOWN_SHA}?annotator=ada"), 404, "not_found")
    assert_failure(real.get(f"/items/{UNKNOWN_SHA}/detail?annotator=ada"), 404, "not_found")


def test_decisions_on_what_is_not_there_are_refused_by_name(real: TestClient) -> None:
    item = fetch(real, limit=1)["items"][0]
    body = {"kind": "correct", "annotator": "ada", "made_at": "2026-11-24T12:00:00Z"}
    unknown_image = body | {"id": str(uuid.uuid4()), "image": UNKNOWN_SHA, "class_id": 1}
    assert_failure(real.post("/decisions", json=unknown_image), 404, "not_found")
    unknown_class = body | {"id": str(uuid.uuid4()), "image": item["id"], "class_id": 99}
    answer = real.post("/decisions", json=unknown_class)
    assert answer.status_code in {404, 422} and "99" in answer.json()["error"]["message"]
    assert real.get("/labels").json() == {"labels": []}


def test_export_holds_what_was_decided_and_escapes_nothing_away(real: TestClient) -> None:
    item = fetch(real, limit=1)["items"][0]
    decide(real, item, class_id=2)
    for format in ("csv", "jsonl"):
        text = real.get(f"/export?format={format}").text
        assert item["id"] in text and "<script>alert(1)</script>" in text and "ada" in text


def test_classes_runs_and_detail_answer_as_documented(real: TestClient) -> None:
    item = fetch(real, limit=1)["items"][0]
    schemas.ClassesOut.model_validate(real.get("/classes").json(), extra="forbid")
    schemas.RunsOut.model_validate(real.get("/runs").json())
    schemas.DetailOut.model_validate(real.get(f"/items/{item['id']}/detail?annotator=ada").json(), extra="forbid")
    look_alikes = real.post("/queue/look-alikes", json={"annotator": "ada", "image": item["id"]})
    assert look_alikes.json() == {"items": []}  # nothing is alike before anything was suggested


def test_images_given_back_are_free_for_others_who_are_told_when_they_would_be_anyway(real: TestClient) -> None:
    held = fetch(real, limit=5)["items"]
    waiting = fetch(real, annotator="bob")
    assert waiting["items"] == [] and waiting["free_at"] == held[0]["lease"]["expires_at"]
    given = real.post("/queue/release", json={"annotator": "ada", "images": [i["id"] for i in held[:2]]})
    assert given.json() == {"released": 2}
    assert {i["id"] for i in fetch(real, annotator="bob")["items"]} == {i["id"] for i in held[:2]}
    real.post("/queue/release", json={"annotator": "ada"})
    assert fetch(real, annotator="bob", have=[])["free_at"] is None


def test_the_explanation_stream_ends_at_once_where_no_answer_is_to_come(real: TestClient) -> None:
    image = fetch(real)["items"][0]["id"]
    answer = real.get(f"/queue/items/{image}/explanation", params={"annotator": "ada"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "event: done\ndata: {}\n\n"


def test_the_explanation_streams_what_is_written_so_far_and_each_text_once(
    real: TestClient, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fetch(real)["items"][0]["id"]
    texts = iter([(None, True), ("A\nline", True), ("A\nline", True), ("A\nline and more", True), (None, False)])
    monkeypatch.setattr(workbench, "explanation_so_far", lambda sha, annotator: next(texts))
    answer = real.get(f"/queue/items/{image}/explanation", params={"annotator": "ada"})
    events = ['event: text\ndata: "A\\nline"', 'event: text\ndata: "A\\nline and more"', "event: done\ndata: {}"]
    assert answer.text == "".join(f"{event}\n\n" for event in events)


def test_beyond_the_most_listeners_a_stream_ends_at_once_and_a_place_is_free_again_after_one_has_left() -> None:
    async def listen() -> tuple[int, list[str], list[str]]:
        explanations = queue_routes._Explanations()
        streams = [explanations.tell(lambda: ("A line", True)) for _ in range(queue_routes.MOST_LISTENERS)]
        for stream in streams:
            assert "A line" in await anext(stream)
        beyond = [event async for event in explanations.tell(lambda: ("A line", True))]
        await streams[0].aclose()
        after = [event async for event in explanations.tell(lambda: ("A line", False))]
        return len(streams), beyond, after

    count, beyond, after = asyncio.run(listen())
    assert count == 100 and beyond == ["event: done\ndata: {}\n\n"]
    assert after == ['event: text\ndata: "A line"\n\n', "event: done\ndata: {}\n\n"]
