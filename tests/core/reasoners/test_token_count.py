"""What a prompt costs is counted without the model, and is what the model then counts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core.ports import ReasonRequest
from core.prompt_preview import preview_prompt
from core.reasoners import create_reasoner, prompt_format
from core.settings import PipelineSettings
from core.types import Box, ClassRecord, ClassScore, Evidence, QueryImage

CLASSES = (ClassRecord(1, "clean", "1", "#0072b2"), ClassRecord(2, "dirty", "2", "#e69f00", description="mud"))


def request() -> ReasonRequest:
    evidence = tuple(
        Evidence(i + 1, 1 + i % 2, 0.7, 0.1, Box(0, 0, 90, 90), f"{i:064x}", Box(10, 10, 90, 90), 1) for i in range(3)
    )
    query = QueryImage("q" * 64, "q.png", 300, 200, load=lambda: Image.new("RGB", (300, 200), (90, 90, 90)))
    scores = (ClassScore(1, 0.4, 0.0), ClassScore(2, 0.6, 0.4))
    return ReasonRequest(
        query, CLASSES, scores, evidence, {}, "leave-one-out", lambda _: Image.new("RGB", (200, 200), (200, 0, 0))
    )


def settings_of(folder: Path | str) -> PipelineSettings:
    return PipelineSettings(
        reasoner="qwen2-vl", reasoner_model=str(folder), max_visual_tokens=96, user_prompt="Über {{scores}}: which?"
    )


def test_the_count_without_the_model_is_the_models_own(folder: Path) -> None:
    settings = settings_of(folder)
    preview = preview_prompt(request(), settings, prompt_format("qwen2-vl", settings))
    assert preview is not None and preview.tokens.counted_by == folder.name and not preview.tokens.note
    reasoner = create_reasoner("qwen2-vl", settings)
    prompt = preview.prompt
    from core.reasoners.qwen2_vl import _Row

    inputs = reasoner._inputs([_Row(reasoner._conversation(prompt), prompt)])  # type: ignore[attr-defined]
    assert preview.tokens.total == inputs["input_ids"].shape[1]
    assert preview.tokens.visual == sum((p.width // 28) * (p.height // 28) for p in prompt.images)


def test_the_preview_is_what_the_model_was_asked(folder: Path) -> None:
    settings = settings_of(folder)
    preview = preview_prompt(request(), settings, prompt_format("qwen2-vl", settings))
    answer = create_reasoner("qwen2-vl", settings).reason(request())
    assert preview is not None and answer.transcript.startswith(preview.prompt.as_text())


def test_a_template_without_a_system_role_is_counted_as_it_is_asked(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    other = tmp_path / "no-system"
    shutil.copytree(folder, other)
    whole = json.loads((other / "chat_template.json").read_text())["chat_template"]
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + whole
    (other / "chat_template.json").write_text(json.dumps({"chat_template": refusing}))
    reading = prompt_format("qwen2-vl", settings_of(other))
    preview = preview_prompt(request(), settings_of(other), reading)
    assert preview is not None and preview.tokens.counted_by == "no-system"


@pytest.mark.parametrize("break_it", ["missing", "no tokenizer", "damaged"])
def test_without_a_tokenizer_the_count_is_an_estimate_and_says_why(folder: Path, tmp_path: Path, break_it: str) -> None:
    import shutil

    name: Path | str = "nobody/no-such-model"
    if break_it != "missing":
        name = tmp_path / "broken"
        shutil.copytree(folder, name)
        if break_it == "damaged":
            (name / "tokenizer.json").write_text("{")
        else:
            (name / "tokenizer.json").unlink()
    preview = preview_prompt(request(), settings_of(name), prompt_format("qwen2-vl", settings_of(name)))
    assert preview is not None and not preview.tokens.counted_by
    assert "estimated" in preview.tokens.note and preview.tokens.text > 50


def test_the_evidence_reasoner_reads_no_prompt() -> None:
    assert prompt_format("evidence", PipelineSettings()).forms == ()
