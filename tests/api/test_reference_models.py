"""The reference's request on its kinds of models: a CLIP and a Qwen2-VL, tiny, saved and loaded for real."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pictures import KINDS, png

from core.workbench import Workbench
from ragvision_app.schemas.reference import InvocationOut
from tests.core.encoders.tiny_models import tiny_clip
from tests.core.reasoners.tiny_qwen2_vl import save_tiny

PATH = "/ragvision/invocations"
SIZES = {"input_resolution": 64, "support_res": 64, "support_patch_size": 16}
SENT = {"inputResolution": 64, "supportRes": 64, "supportPatchSize": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    root = tmp_path_factory.mktemp("models")
    qwen = root / "tiny-qwen2-vl"
    save_tiny(qwen)
    yield {
        "encoder": "clip",
        "encoder_model": str(tiny_clip(root / "tiny-clip")),
        "reasoner": "qwen2-vl",
        "reasoner_model": str(qwen),
        "max_visual_tokens": 96,
    }
    from core.reasoners import qwen2_vl

    qwen2_vl.release()  # no other test finds it in memory


@pytest.fixture
def chosen(workbench: Workbench, models: dict[str, Any]) -> None:
    pipeline = replace(workbench.settings.pipeline, **SIZES, **models)
    workbench.save_settings(replace(workbench.settings, pipeline=pipeline))


def ask(client: TestClient, **fields: Any) -> InvocationOut:
    body = {"encodedImage": base64.b64encode(png("rings", 100)).decode()} | SENT | {"maxNewTokens": 4} | fields
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return InvocationOut.model_validate(answer.json(), extra="forbid")


def test_a_clip_retrieves_and_a_vision_language_model_flags_and_explains(chosen: None, real: TestClient) -> None:
    for kind in KINDS:
        for seed in range(2):
            form = {"className": kind, "classes": '["stripes", "rings"]'}
            real.post("/support/upload/image", data=form, files={"file": (f"{kind}{seed}.png", png(kind, seed))})
    told = ask(real, systemPrompt="You inspect patterns.", userPrompt="Stripes or rings?", temperature=0.5, topP=0.9)
    assert told.flag in KINDS and told.reasoning == "answered" and told.warnings == []
    assert told.encoder is not None and told.encoder.startswith("clip")
    assert told.reasoner is not None and told.reasoner.startswith("qwen2-vl tiny-qwen2-vl")
    assert "You inspect patterns." in told.raw_response and "Stripes or rings?" in told.raw_response
    assert len(told.evidence) >= 2 and told.class_scores.keys() == set(KINDS)
    other = ask(real, systemPrompt="You are somebody else.")
    assert told.prompt_version and other.prompt_version and told.prompt_version != other.prompt_version
    # sampling acts on the explanation alone
    warm = ask(real, systemPrompt="You inspect patterns.", userPrompt="Stripes or rings?", temperature=1.5, topP=0.5)
    assert (warm.flag, warm.class_scores, warm.prompt_version) == (told.flag, told.class_scores, told.prompt_version)


def test_with_a_clip_the_names_of_classes_are_enough(chosen: None, real: TestClient, workbench: Workbench) -> None:
    pipeline = replace(workbench.settings.pipeline, reasoner="evidence", reasoner_model="")
    workbench.save_settings(replace(workbench.settings, pipeline=pipeline))
    for name in KINDS:
        assert real.post("/classes", json={"name": name}).status_code == 201
    told = ask(real)
    assert told.flag in KINDS and told.class_scores.keys() == set(KINDS) and told.evidence == []
