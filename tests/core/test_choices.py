"""Choosing an encoder and a reasoner: what applies, what is cleared, what is refused, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.choices import (
    ENCODER_ONLY,
    REASONER_ONLY,
    Speed,
    check,
    cost_of,
    encoder_names,
    in_use,
    offending,
    really_used,
    reasoner_names,
    switched,
    wanting,
)
from core.errors import InvalidSettings
from core.settings import PipelineSettings

DEFAULT = PipelineSettings()
PACE = Speed(50.0, None)
CLIP = PipelineSettings(encoder="clip", encoder_model="nobody/a-clip", dense="maskclip", patch_mode="crops")


def test_only_what_the_chosen_ones_look_at_is_in_use() -> None:
    used = in_use(DEFAULT)
    assert {"recipe", "k_retrieval", "input_resolution"} <= used
    assert not used & {*ENCODER_ONLY, *REASONER_ONLY}
    assert {"dense", "encoder_model", "patch_mode"} <= in_use(CLIP)
    assert "dense" not in in_use(replace(CLIP, encoder="hf-vision"))
    for other in ({"encoder": "clip"}, {"encoder": "hf-vision"}, {"reasoner": "qwen2-vl"}):
        assert "device" in in_use(replace(DEFAULT, **other))
    assert "device" not in used | in_use(replace(DEFAULT, reasoner="openai"))
    assert set(REASONER_ONLY) <= in_use(replace(DEFAULT, reasoner="qwen2-vl"))


def test_the_defaults_come_first_in_the_lists() -> None:
    assert encoder_names()[0] == "efficientnet-lite0" and "clip" in encoder_names()
    assert reasoner_names()[0] == "evidence" and "qwen2-vl" in reasoner_names()


def test_another_encoder_loses_what_it_cannot_have_and_that_is_said() -> None:
    found = switched(CLIP, encoder="efficientnet-lite0")
    assert found.settings == DEFAULT
    assert [s.split(" ")[0] for s in found.said] == ["encoder_model", "dense", "patch_mode"]
    check(found.settings)


def test_sizes_are_made_to_fit_and_that_is_said() -> None:
    odd = PipelineSettings(encoder="hf-vision", input_resolution=518, support_res=518, support_patch_size=14)
    found = switched(odd, encoder="efficientnet-lite0")
    assert (found.settings.input_resolution, found.settings.support_patch_size) == (512, 32)
    assert "input_resolution is 512 now, not 518" in " ".join(found.said)
    back = switched(found.settings, encoder="hf-vision")
    assert back.settings.support_patch_size == 14 and back.settings.input_resolution % 14 == 0
    check(back.settings)


@pytest.mark.parametrize("encoder", ["clip", "hf-vision", "efficientnet-lite0"])
@pytest.mark.parametrize("side", [32, 96, 224, 1024])
def test_every_switch_gives_settings_that_are_not_refused(encoder: str, side: int) -> None:
    start = PipelineSettings(input_resolution=side, support_res=side)
    check(switched(start, encoder=encoder).settings)


def test_switching_to_the_same_changes_nothing() -> None:
    assert switched(CLIP, encoder="clip", reasoner="evidence").settings == CLIP


def test_a_reasoners_model_goes_with_it_and_its_prompts_stay() -> None:
    before = PipelineSettings(reasoner="qwen2-vl", reasoner_model="a/b", user_prompt="Which?")
    found = switched(before, reasoner="evidence")
    assert found.settings.reasoner_model == "" and found.settings.user_prompt == "Which?"
    assert len(found.said) == 1


def test_a_size_that_the_encoder_cannot_have_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidSettings, match="multiple of 32") as refused:
        check(PipelineSettings(input_resolution=112, support_res=112, support_patch_size=16))
    assert offending(str(refused.value)) in ("input_resolution", "support_patch_size")
    with pytest.raises(InvalidSettings):
        check(PipelineSettings(encoder="clip", input_resolution=120, support_res=120, support_patch_size=24))


def test_the_setting_that_a_refusal_names_is_found() -> None:
    with pytest.raises(InvalidSettings) as refused:
        PipelineSettings(input_resolution=100)
    assert offending(str(refused.value)) == "support_patch_size"
    assert offending("temperature is 3; it must be between 0 and 2.") == "temperature"
    assert offending("Something else.") == ""


def test_missing_weights_are_a_sentence_and_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert wanting(DEFAULT) == []
    (found,) = wanting(PipelineSettings(encoder="clip"))
    assert found.role == "encoder" and "model.safetensors" in found.why and "Get it with" not in found.why
    assert (
        found.command.endswith('--include "*.safetensors"') and "download openai/clip-vit-base-patch32" in found.command
    )
    (folder,) = wanting(PipelineSettings(encoder="clip", encoder_model="./nowhere/at/all"))
    assert folder.command == "" and "nowhere" in folder.why


def test_what_a_change_costs(tmp_path: Path) -> None:
    def told(after: PipelineSettings, before: PipelineSettings = DEFAULT, speed: Speed = PACE) -> str:
        return " ".join(cost_of(before, after, queries=9_000, support=1_000, embeddings=tmp_path, speed=speed))

    assert told(DEFAULT).startswith("Nothing is computed anew")
    assert told(replace(DEFAULT, recipe="vote")) == "9,000 images are scored again from stored embeddings: seconds."
    larger = replace(DEFAULT, input_resolution=448, support_res=448)
    assert told(larger) == "Encodes 10,000 images, about 13 min."  # four times the pixels
    assert told(larger, speed=Speed()).endswith("not known yet on this machine.")
    assert told(PipelineSettings(encoder="clip")).endswith("not known yet on this machine.")  # another encoder's pace
    folder = tmp_path / "efficientnet-lite0-abc-p32-448"
    folder.mkdir()
    (folder / "index.bin").write_bytes(bytes(40) * 10_000)
    assert told(larger).startswith("No image is encoded again")
    asked = replace(DEFAULT, reasoner="qwen2-vl")
    assert told(replace(asked, user_prompt="Which?"), asked, Speed(50.0, 2.0)) == (
        "qwen2-vl is asked about 9,000 images again, about 5 h 00 min."
    )
    assert cost_of(DEFAULT, larger, queries=0, support=0, embeddings=tmp_path, speed=Speed()) == [
        "Nothing is to be computed: there are no images yet."
    ]


def test_a_model_that_is_missing_costs_nothing_since_the_default_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert really_used(PipelineSettings(encoder="clip", dense="maskclip")) == DEFAULT
    assert really_used(DEFAULT) == DEFAULT


def test_a_model_belongs_to_its_encoder_and_is_not_handed_to_another() -> None:
    found = switched(CLIP, encoder="hf-vision")
    assert found.settings.encoder_model == "" and found.settings.patch_mode == "crops"
    assert any(s.startswith("encoder_model was “nobody/a-clip”") for s in found.said)
