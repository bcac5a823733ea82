"""Examples and images through the API: the reference system's form, and what it must never do again."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_fakes import assert_failure
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import png

from core.imports import _importer
from core.workbench import Workbench
from ragvision_app import schemas
from ragvision_app.api import create_api
from ragvision_app.schemas.reference import SupportUploadOut

PATH = "/support/upload/image"


def upload(client: TestClient, name: str = "clean", seed: int = 0, kind: str = "rings", **form: Any) -> httpx.Response:
    return client.post(PATH, data={"className": name, **form}, files={"file": (f"{kind}{seed}.png", png(kind, seed))})


def names(workbench: Workbench) -> list[str]:
    return [c.name for c in workbench.store.classes()]


# --------------------------------------------------------------------------- the reference's form
def test_an_upload_answers_with_the_references_fields_and_ours(real: TestClient, workbench: Workbench) -> None:
    answer = upload(real, "dirty", classes='["clean", "dirty"]', index="7")
    assert answer.status_code == 200, answer.text
    told = SupportUploadOut.model_validate(answer.json(), extra="forbid")
    assert (told.success, told.className, told.index, told.filename) == (True, "dirty", 7, "rings0.png")
    (member,) = workbench.store.support()
    assert (member.id, member.image, member.class_id) == (told.supportId, told.imageId, told.classId)
    assert names(workbench) == ["clean", "dirty"] and member.added_by == "api" and not told.duplicate


def test_index_0_deletes_nobodys_images(real: TestClient, workbench: Workbench) -> None:
    for seed in range(3):
        upload(real, "clean", seed, index=str(seed))
    before = [m.image for m in workbench.store.support()]
    assert upload(real, "dirty", 9, index="0").status_code == 200
    assert [m.image for m in workbench.store.support()][:3] == before and len(workbench.store.support()) == 4


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../../x", "..", "C:\\Windows", "a/b", "<script>alert(1)</script>", "ünïcode 类", "CON", "."],
)
def test_a_class_name_is_a_name_and_no_path(real: TestClient, workbench: Workbench, name: str) -> None:
    outside = {p.name for p in workbench.project.root.parent.iterdir()}
    answer = upload(real, name)
    assert (answer.status_code, answer.json()["className"]) == (200, name)
    assert names(workbench) == [name]
    assert {p.name for p in workbench.project.root.parent.iterdir()} == outside
    stored = {p.name for p in (workbench.project.images_dir).glob("*/*")}
    assert stored == {answer.json()["imageId"]}


def test_missing_classes_are_made_in_their_order_and_existing_ones_kept(real: TestClient, workbench: Workbench) -> None:
    workbench.store.add_class("Dirty")
    upload(real, "clean", classes=json.dumps(["clean", "dirty", "broken"]))
    assert names(workbench) == ["Dirty", "clean", "broken"]
    upload(real, "DIRTY", 1)
    assert workbench.store.support()[1].class_id == workbench.store.classes()[0].id
    workbench.store.archive_class(workbench.store.classes()[2].id)
    assert upload(real, "broken", 2).status_code == 200
    assert names(workbench) == ["Dirty", "clean", "broken"]


def test_an_upload_sent_again_changes_nothing(real: TestClient, workbench: Workbench) -> None:
    first = upload(real).json()
    version = workbench.store.support_set().version
    again = upload(real).json()
    assert again == first | {"duplicate": True}
    assert workbench.store.support_set().version == version and len(workbench.store.support_versions()) == 2


@pytest.mark.parametrize("path", [PATH, "/images"])
def test_a_full_disk_is_the_servers_failure_and_may_be_tried_again(
    real: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_importer, "write_atomic", full)
    answer = upload(real) if path == PATH else real.post(path, files={"file": ("q.png", png("rings", 0))})
    assert answer.status_code == 503
    assert "No space left" in answer.text and "make room" in answer.text


def test_an_image_of_the_queue_becomes_an_example(real: TestClient, workbench: Workbench) -> None:
    queued = real.post("/images", files={"file": ("q.png", png("rings", 0))}).json()
    assert upload(real).json()["imageId"] == queued["id"]
    assert workbench.store.query_images() == []


def test_an_example_of_another_class_is_a_conflict_that_names_it(real: TestClient, workbench: Workbench) -> None:
    upload(real, "clean")
    assert_failure(upload(real, "dirty", classes='["clean", "dirty"]'), 409, "conflict", "'clean'")
    assert names(workbench) == ["clean"] and len(workbench.store.support()) == 1


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "className"),
        ({"className": ""}, "className"),
        ({"className": "   "}, "class name is empty"),
        ({"className": "a\nb"}, "control character"),
        ({"className": "x" * 201}, "201 characters"),
        ({"className": "clean", "classes": "clean, dirty"}, "not JSON"),
        ({"className": "clean", "classes": '"clean"'}, "must be a list"),
        ({"className": "clean", "classes": "[1, 2]"}, "must be a list"),
        ({"className": "clean", "classes": '["clean", ""]'}, "class name is empty"),
        ({"className": "clean", "classes": json.dumps(["c"] * 201)}, "at most 200"),
        ({"className": "clean", "classes": "[" * 5000}, "not JSON"),
        ({"className": "claen", "classes": '["clean", "dirty"]'}, "none of those"),
        ({"className": "clean", "index": "-1"}, "index"),
        ({"className": "clean", "index": "first"}, "index"),
        ({"className": "clean", "index": str(2**63)}, "index"),
        ({"className": "clean", "folder": "/tmp"}, "'folder'"),
    ],
)
def test_a_form_that_cannot_be_used_is_refused_and_nothing_is_made(
    real: TestClient, workbench: Workbench, form: dict[str, str], words: str
) -> None:
    answer = real.post(PATH, data=form, files={"file": ("a.png", png("rings", 0))})
    assert_failure(answer, 422, "invalid_input", words)
    assert names(workbench) == [] and workbench.store.count_images() == 0


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "damaged_image"),
        (b"GIF89a" + b"0" * 50, 415, "unsupported_image"),
        (b"PK\3\4" + b"0" * 50, 415, "unsupported_image"),
        (png("rings", 0)[:-30], 422, "damaged_image"),
    ],
)
@pytest.mark.parametrize("path", [PATH, "/images"])
def test_what_is_no_image_makes_no_class_and_no_image(
    real: TestClient, workbench: Workbench, path: str, data: bytes, status: int, code: str
) -> None:
    form = {"className": "clean", "classes": '["clean"]'} if path == PATH else None
    assert_failure(real.post(path, data=form, files={"file": ("x.png", data)}), status, code)
    assert names(workbench) == [] and workbench.store.count_images() == 0


def test_a_png_called_zip_is_the_png_that_it_is(real: TestClient) -> None:
    answer = real.post("/images", files={"file": ("C:\\fakepath\\a.zip", png("rings", 0))})
    assert (answer.status_code, answer.json()["name"]) == (200, "a.zip")


# --------------------------------------------------------------------------- the parser
def test_two_files_and_a_file_by_another_name_are_refused(real: TestClient) -> None:
    one = ("a.png", png("rings", 0))
    assert_failure(real.post("/images", files=[("file", one), ("file", one)]), 422, "invalid_input", "Too many files")
    assert_failure(real.post("/images", files={"image": one}), 422, "invalid_input", "'image'")
    assert_failure(real.post("/images", files={"x": (None, "y"), "file": one}), 422, "invalid_input", "Too many fields")
    assert_failure(real.post(PATH, files={"className": one, "file": one}), 422, "invalid_input")
    assert_failure(
        real.post(PATH, files={"file": (None, "text"), "className": (None, "x")}), 422, "invalid_input", "file"
    )
    twice = [("className", (None, "a")), ("className", (None, "b")), ("file", one)]
    assert_failure(real.post(PATH, files=twice), 422, "invalid_input", "twice")


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
)
def test_a_form_that_is_none_is_refused(real: TestClient, kind: str) -> None:
    for content in (b"", b"--x", b"\r\n--x\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--\r\n"):
        assert_failure(real.post(PATH, content=content, headers={"Content-Type": kind}), 422, "invalid_input", "form")


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_other_types_are_refused_unread(real: TestClient, kind: str) -> None:
    for path in (PATH, "/images"):
        answer = real.post(path, content=b"{}", headers={"Content-Type": kind})
        assert_failure(answer, 415, "unsupported_media_type", "multipart/form-data")


def test_a_foreign_page_cannot_upload(real: TestClient, workbench: Workbench) -> None:
    form: dict[str, Any] = {
        "files": {"file": ("a.png", png("rings", 0))},
        "headers": {"Origin": "https://evil.example"},
    }
    for path in (PATH, "/images"):
        assert_failure(real.post(path, **form), 403, "foreign_origin")
    assert workbench.store.count_images() == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.sampled_from(["x", "xx", "--", 'x"', "é"]))
def test_no_bytes_at_all_bring_the_parser_to_an_unknown_error(real: TestClient, body: bytes, boundary: str) -> None:
    kind = f"multipart/form-data; boundary={boundary}".encode()
    answer = real.post("/images", content=b"--x\r\n" + body + b"\r\n--x--\r\n", headers={"Content-Type": kind})
    assert answer.status_code in {415, 422}, answer.text


# --------------------------------------------------------------------------- sizes
def test_a_form_over_the_limit_of_images_is_refused_by_its_declared_length(
    real: TestClient, workbench: Workbench
) -> None:
    limits = replace(workbench.settings.images, max_bytes=10_000)
    workbench.save_settings(replace(workbench.settings, images=limits))
    answer = real.post("/images", files={"file": ("a.png", b"\0" * 1_100_000)})
    assert_failure(answer, 413, "body_too_large", "1,010,000")
    answer = real.post("/images", files={"file": ("a.png", b"\0" * 20_000)})
    assert_failure(answer, 413, "image_too_large", "10,000")


def sent_in_parts(workbench: Workbench, parts: int, size: int = 100_000) -> tuple[int, int, dict[bytes, bytes]]:
    """(reads, status, headers) of a form without a length that comes in parts and never ends."""
    reads, answers = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' if reads == 1 else b""
        if reads > parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": head + b"\0" * size, "more_body": True}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "POST", "path": "/images", "raw_path": b"/images", "root_path": ""}
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
    asyncio.run(create_api(workbench)(scope, receive, send))
    return reads, answers[0]["status"], dict(answers[0]["headers"])


def test_a_form_that_does_not_say_its_size_is_not_read_to_its_end_and_leaves_no_file(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    limits = replace(workbench.settings.images, max_bytes=1_000_000)
    workbench.save_settings(replace(workbench.settings, images=limits))
    reads, status, _ = sent_in_parts(workbench, 1000)
    assert (reads, status) == (20, 413)
    assert sent_in_parts(workbench, 3)[1] == 422  # the client left half-way: nobody reads this
    assert set(tmp_path.iterdir()) == before


def test_uploads_at_once_are_bounded(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragvision_app.api.ON_DISK", 500_000)
    reads, status, headers = sent_in_parts(workbench, 1000)
    assert (reads, status, headers[b"retry-after"]) == (5, 429, b"2")


# --------------------------------------------------------------------------- ours
def test_the_support_set_is_listed_and_an_example_taken_out(real: TestClient, workbench: Workbench) -> None:
    for seed in range(2):
        upload(real, "clean", seed)
    listed = schemas.SupportOut.model_validate(real.get("/support").json(), extra="forbid")
    assert [(s.name, s.class_name) for s in listed.support] == [("rings0.png", "clean"), ("rings1.png", "clean")]
    assert listed.version == workbench.store.support_set().version
    gone = real.delete(f"/support/{listed.support[0].id}")
    assert gone.json() == {"removed": listed.support[0].id, "version": workbench.store.support_set().version}
    assert [s["name"] for s in real.get("/support").json()["support"]] == ["rings1.png"]
    assert workbench.store.query_images() == [listed.support[0].image]
    assert_failure(real.delete(f"/support/{listed.support[0].id}"), 404, "not_found")
    assert_failure(real.delete("/support/-1"), 422, "invalid_input")
    assert_failure(real.delete(f"/support/{2**63}"), 422, "invalid_input")


def test_a_foreign_page_cannot_take_an_example_out(real: TestClient, workbench: Workbench) -> None:
    taken = upload(real).json()["supportId"]
    assert_failure(real.delete(f"/support/{taken}", headers={"Origin": "https://evil.example"}), 403, "foreign_origin")
    assert len(workbench.store.support()) == 1


def test_a_class_is_made_and_a_second_of_its_name_refused(real: TestClient) -> None:
    made = real.post("/classes", json={"name": "clean", "description": "no dirt"})
    assert made.status_code == 201
    assert schemas.ClassOut.model_validate(made.json(), extra="forbid").description == "no dirt"
    assert real.get("/classes").json()["classes"] == [made.json()]
    assert_failure(real.post("/classes", json={"name": "CLEAN"}), 422, "invalid_input", "already")
    assert_failure(real.post("/classes", json={"name": "a\x00"}), 422, "invalid_input")


def test_an_image_goes_into_the_queue_once(real: TestClient, workbench: Workbench) -> None:
    first = real.post("/images", files={"file": ("a.png", png("rings", 3))}).json()
    again = real.post("/images", files={"file": ("b.png", png("rings", 3))}).json()
    schemas.ImageOut.model_validate(first, extra="forbid")
    assert (first["duplicate"], again["duplicate"], first["id"]) == (False, True, again["id"])
    assert workbench.store.query_images() == [first["id"]]
    assert real.get(first["url"].removeprefix("/api")).headers["content-type"] == "image/webp"


def test_uploads_side_by_side_make_each_class_once(real: TestClient, workbench: Workbench) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(seed: int) -> int:
        return upload(real, ("clean", "dirty")[seed % 2], seed, classes='["clean", "dirty"]').status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(12))) == {200}
    assert names(workbench) == ["clean", "dirty"] and len(workbench.store.support()) == 12
