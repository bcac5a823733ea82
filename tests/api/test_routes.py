"""What the routes answer when all is well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from api_fakes import SHA, SUGGESTIONS, SUPPORT_SHA, WEBP, FakeWorkbench
from fastapi.testclient import TestClient

from ragvision_app import schemas

Body = Callable[..., dict[str, Any]]


def test_healthcheck_answers_as_the_reference_system_does(client: TestClient) -> None:
    answer = client.get("/ragvision/healthcheck")
    assert (answer.status_code, answer.json()) == (201, {"status": "ok"})


def test_readiness_names_project_worker_and_models(client: TestClient) -> None:
    answer = client.get("/readiness")
    assert answer.status_code == 200
    ready = schemas.ReadinessOut.model_validate(answer.json(), extra="forbid")
    assert (ready.project, ready.worker, ready.sentence) == ("cells", "done", "All suggestions are there.")
    assert (ready.encoder, ready.reasoner, ready.device) == ("efficientnet-lite0", "evidence", "cpu · onnxruntime")


def test_classes_come_as_data_whatever_their_names(client: TestClient) -> None:
    answer = schemas.ClassesOut.model_validate(client.get("/classes").json())
    assert [c.name for c in answer.classes] == ["functional", "<img src=x onerror=alert(1)>"]


@pytest.mark.parametrize("state", sorted(SUGGESTIONS))
def test_queue_answers_as_its_schema_says_in_every_state(client: TestClient, fake: FakeWorkbench, state: str) -> None:
    fake.suggestion = state
    answer = client.post("/queue", json={"annotator": "ada", "limit": 5, "order": "random", "have": []})
    assert answer.status_code == 200
    queue = schemas.QueueOut.model_validate(answer.json(), extra="forbid")
    (item,) = queue.items
    assert item.suggestion.state == state
    assert item.image_url == f"/api/images/{SHA}/preview"
    assert item.lease is not None and item.lease.token == 12
    assert fake.calls == [("next_items", "ada", 5, "random", [])]


def test_a_shown_suggestion_carries_scores_heatmap_and_evidence_with_its_support_image(client: TestClient) -> None:
    suggestion = client.get(f"/queue/items/{SHA}?annotator=ada").json()["suggestion"]
    assert suggestion["heatmap"] == {"grid": [2, 2], "values": [0.5, -0.1, 0.6, 0.3], "scale": 0.6}
    assert suggestion["cited"] == [1] and suggestion["calibrated"] == "leave-one-out"
    (evidence,) = suggestion["evidence"]
    assert evidence["support_url"] == f"/api/images/{SUPPORT_SHA}/preview"
    assert (evidence["query_box"], evidence["support_box"]) == ([0, 0, 32, 32], [32, 0, 64, 32])
    assert (evidence["support_name"], evidence["support_width"]) == ("cell0001.png", 300)


@pytest.mark.parametrize("state", sorted(set(SUGGESTIONS) - {"shown"}))
def test_a_suggestion_that_is_not_shown_gives_nothing_away(client: TestClient, fake: FakeWorkbench, state: str) -> None:
    fake.suggestion = state
    for path in (f"/queue/items/{SHA}?annotator=ada", f"/items/{SHA}/detail?annotator=ada"):
        suggestion = client.get(path).json()["suggestion"]
        assert suggestion["reason"]
        hidden = {"flag", "runner_up", "margin", "scores", "heatmap", "evidence", "explanation", "cited"}
        assert not any(suggestion[name] for name in hidden)


def test_a_withheld_prediction_does_not_leave_the_server_even_if_the_core_hands_it_over() -> None:
    withheld = replace(SUGGESTIONS["shown"], state="withheld", reason="Withheld on purpose.")
    answer = schemas.suggestion_json(withheld)
    assert answer == schemas.suggestion_json(SUGGESTIONS["withheld"])


def test_an_item_that_the_client_has_is_not_sent_again(client: TestClient) -> None:
    assert client.post("/queue", json={"annotator": "ada", "have": [SHA]}).json()["items"] == []


def test_look_alikes_are_items(client: TestClient) -> None:
    answer = client.post("/queue/look-alikes", json={"annotator": "ada", "image": SHA})
    assert schemas.ItemsOut.model_validate(answer.json()).items[0].id == SHA


def test_detail_adds_up_as_it_says(client: TestClient) -> None:
    answer = client.get(f"/items/{SHA}/detail?annotator=ada").json()
    detail = schemas.DetailOut.model_validate(answer, extra="forbid")
    heat, scores = detail.suggestion.heatmap, {s.class_id: s.logit for s in detail.suggestion.scores}
    assert heat is not None and detail.whole is not None and detail.constant is not None
    assert sum(heat.values) + detail.whole + detail.constant == pytest.approx(scores[2] - scores[1])
    assert sum(s.contribution for s in detail.by_support) + detail.constant == pytest.approx(scores[2] - scores[1])


def test_a_decision_sent_twice_is_stored_once(client: TestClient, fake: FakeWorkbench, decision: Body) -> None:
    first = client.post("/decisions", json=decision())
    again = client.post("/decisions", json=decision())
    assert [first.status_code, again.status_code] == [200, 200]
    assert [first.json()["outcome"], again.json()["outcome"]] == ["stored", "duplicate"]
    assert first.json()["id"] == again.json()["id"] == decision()["id"]
    assert len(fake.decisions) == 1
    schemas.DecisionOut.model_validate(first.json(), extra="forbid")


def test_every_field_of_a_decision_reaches_the_core(client: TestClient, fake: FakeWorkbench, decision: Body) -> None:
    everything = decision(
        undoes="1b9f6a52-6f0e-4f5e-9a63-5b7b0f0a4f11",
        note="a scratch: ünïcödé <b>",
        prediction_id=7,
        suggested_class=1,
        suggestion_shown=True,
        expected_version=3,
        attention_ms=840,
        lease_token=12,
        group="bulk-1",
    )
    client.post("/decisions", json=everything)
    (stored,) = fake.decisions.values()
    assert {name: getattr(stored, name) for name in everything} == everything


def test_what_can_be_undone_comes_newest_first(client: TestClient, decision: Body) -> None:
    other = "1b9f6a52-6f0e-4f5e-9a63-5b7b0f0a4f11"
    client.post("/decisions", json=decision())
    client.post("/decisions", json=decision(id=other, group="g"))
    undoable = client.post("/queue", json={"annotator": "ada"}).json()["undoable"]
    assert [u["event_id"] for u in undoable] == [other, decision()["id"]]
    assert undoable[0] == {"event_id": other, "image": SHA, "kind": "correct", "class_id": 2, "group": "g"}


def test_a_stuck_preview_does_not_hold_up_a_decision(client: TestClient, fake: FakeWorkbench, decision: Body) -> None:
    fake.blocked = threading.Event()
    with ThreadPoolExecutor(40) as pool:
        previews = [pool.submit(client.get, f"/images/{SHA}/thumb") for _ in range(40)]
        stored = client.post("/decisions", json=decision())
        assert stored.json()["outcome"] == "stored"
        assert not any(p.done() for p in previews)
        fake.blocked.set()
        assert all(p.result().status_code == 200 for p in previews)


# --------------------------------------------------------------------------- images
def test_an_image_may_be_cached_for_ever_and_is_never_sniffed(client: TestClient, fake: FakeWorkbench) -> None:
    answer = client.get(f"/images/{SHA}/small")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, WEBP, "image/webp")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert fake.calls == [("preview", SHA, 320)]


def test_an_image_that_the_browser_has_is_not_rendered_again(client: TestClient, fake: FakeWorkbench) -> None:
    etag = client.get(f"/images/{SHA}/thumb").headers["etag"]
    fake.calls.clear()
    answer = client.get(f"/images/{SHA}/thumb", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content, fake.calls) == (304, b"", [])
    assert client.get(f"/images/{SHA}/small", headers={"If-None-Match": etag}).status_code == 200


# --------------------------------------------------------------------------- records
@pytest.mark.parametrize(("format", "kind"), [("csv", "text/csv"), ("jsonl", "application/x-ndjson")])
def test_export_is_a_download_named_after_the_project(client: TestClient, format: str, kind: str) -> None:
    answer = client.get(f"/export?format={format}")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
    assert answer.headers["content-disposition"] == f'attachment; filename="cells-labels.{format}"'
    assert answer.headers["cache-control"] == "no-store"


def test_export_leaves_no_file_behind(
    client: TestClient, fake: FakeWorkbench, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client.get("/export")
    fake.failure = ValueError("disk full")
    assert client.get("/export").status_code == 500
    assert list(tmp_path.iterdir()) == []


def test_labels_can_be_asked_for_one_annotator(client: TestClient, decision: Body) -> None:
    client.post("/decisions", json=decision())
    everybody = schemas.LabelsOut.model_validate(client.get("/labels").json(), extra="forbid")
    assert [label.annotator for label in everybody.labels] == ["ada"]
    assert client.get("/labels?annotator=bob").json() == {"labels": []}


def test_answers_other_than_images_are_never_cached(client: TestClient) -> None:
    for path in ("/classes", "/labels", "/runs", "/readiness", "/nowhere"):
        assert client.get(path).headers["cache-control"] == "no-store"


# --------------------------------------------------------------------------- reference
def test_the_reference_lists_every_route_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page, spec = client.get("/docs"), client.get("/openapi.json").json()
    assert page.status_code == 200
    assert "http://" not in page.text and "https://" not in page.text and "<script" not in page.text
    for path in spec["paths"]:
        assert f"/api{path}" in page.text
    assert {"/decisions", "/queue", "/images/{sha}/{size}", "/ragvision/healthcheck"} <= set(spec["paths"])


def test_the_examples_of_the_reference_are_valid_requests() -> None:
    for example in schemas.DecisionRequest.model_json_schema()["examples"]:
        assert schemas.DecisionRequest.model_validate(example).to_core().class_id == 2


@pytest.mark.parametrize("images", [[SHA], None])
def test_what_is_reserved_is_given_back_by_name_or_all_of_it(
    client: TestClient, fake: FakeWorkbench, images: list[str] | None
) -> None:
    answer = client.post("/queue/release", json={"annotator": "ada", "images": images})
    assert (answer.status_code, answer.json()) == (200, {"released": 1})
    assert fake.calls == [("release", "ada", images)]
