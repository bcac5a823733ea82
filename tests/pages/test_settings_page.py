"""The Settings page: only what applies, refusals beside the field, costs before applying, and the health panel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_project import fill, page, shown

from core.choices import Speed
from core.imports import upload_source
from core.loaded import LoadedModel
from core.settings import PipelineSettings, Settings
from ragvision_app.components.settings_draft import SettingsDraft, changes
from ragvision_app.components.settings_fields import specs
from ragvision_app.components.settings_health import facts, headline, parameters, short_path, size


def files(first: int, count: int):
    from page_project import files as made

    return made(first, count)


@pytest.fixture
def served(empty):
    """Two classes with examples, and two images to label."""
    fill(empty)
    empty.import_images([upload_source(files(900, 2))])
    return empty


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def pick(at, label: str, value: str):
    return next(s for s in at.selectbox if s.label == label).set_value(value).run()


def labels(at) -> set[str]:
    return {
        w.label for kind in ("selectbox", "text_input", "number_input", "toggle", "radio") for w in getattr(at, kind)
    }


def button(at, label: str):
    return next(b for b in at.button if b.label == label)


def plain(at) -> str:
    return shown(at).replace("\\", "")


def test_only_what_applies_to_the_chosen_ones_is_shown(served) -> None:
    at = page("settings")
    assert not at.exception
    assert not labels(at) & {"Model of the encoder", "Patch features", "Model of the reasoner"}
    pick(at, "Encoder", "clip")
    assert {"Model of the encoder", "Patch features", "Patches of another size"} <= labels(at)
    pick(at, "Encoder", "hf-vision")
    assert "Patch features" not in labels(at) and "Model of the encoder" in labels(at)
    pick(at, "Reasoner", "qwen2-vl")
    assert {"Model of the reasoner", "Visual tokens, at most"} <= labels(at)
    assert served.settings == Settings()  # nothing is in force yet


def test_switching_clears_what_the_other_cannot_have_and_says_so(served) -> None:
    pipeline = PipelineSettings(encoder="clip", encoder_model="a/b", dense="maskclip", patch_mode="crops")
    served.save_settings(replace(served.settings, pipeline=pipeline))
    at = page("settings")
    pick(at, "Encoder", "efficientnet-lite0")
    told = plain(at)
    assert "encoder_model was “a/b”; it is cleared" in told and "patch_mode" in told
    button(at, "Apply").click().run()
    assert served.settings.pipeline == PipelineSettings()
    assert not at.exception


def test_missing_weights_are_told_with_the_command_before_and_labelling_goes_on(served) -> None:
    at = page("settings")
    pick(at, "Encoder", "clip")
    assert any("download openai/clip-vit-base-patch32" in c.value for c in at.code)
    assert "Labelling goes on with the default encoder; once it is there, it is taken up" in plain(at)
    assert "What it costs: Nothing is computed anew" in plain(at)
    button(at, "Apply").click().run()
    assert served.settings.pipeline.encoder == "clip"
    assert "Applied. Nothing is computed anew: what works now goes on." in plain(at)
    assert any("download openai/clip-vit-base-patch32" in c.value for c in at.code)  # now in the health panel


def test_what_is_missing_is_told_of_the_model_that_was_just_typed(served) -> None:
    at = page("settings")
    pick(at, "Encoder", "clip")
    next(t for t in at.text_input if t.label == "Model of the encoder").set_value("/nowhere/my-clip").run()
    assert "looked for the folder “/nowhere/my-clip”" in plain(at)
    assert "looked for model.safetensors of openai" not in plain(at)


def test_the_order_of_the_queue_is_called_as_on_the_label_page(served) -> None:
    order = next(s for s in page("settings").selectbox if s.label == "Order of the queue")
    assert order.value == "uncertainty" and order.options[0] == "Least certain first"


def test_a_refusal_stands_on_the_page_and_nothing_can_be_applied(served) -> None:
    at = page("settings")
    next(n for n in at.number_input if n.label == "Query side, pixels").set_value(200).run()
    assert any("does not divide input_resolution 200" in e.value.replace("\\", "") for e in at.error)
    assert button(at, "Apply").disabled
    next(n for n in at.number_input if n.label == "Query side, pixels").set_value(256).run()
    assert not at.error and not button(at, "Apply").disabled


def test_what_a_change_costs_is_said_before_it_is_applied(served, monkeypatch) -> None:
    monkeypatch.setattr("core.workbench.speed_of", lambda engine, store: Speed(2.0, None))
    at = page("settings")
    assert "Nothing is changed" in plain(at)
    next(n for n in at.number_input if n.label == "Query side, pixels").set_value(448).run()
    assert "1 change:" in plain(at) and "Query side, pixels: 224 → 448" in plain(at)
    assert "What it costs: Encodes 2 images, about 4 s." in plain(at)
    button(at, "Discard").click().run()
    assert "Nothing is changed" in plain(at) and served.settings == Settings()


def test_labelling_settings_hold_at_once_and_start_no_run(served) -> None:
    at = page("settings")
    next(n for n in at.number_input if n.label == "Annotators an image").set_value(2).run()
    assert "nothing is computed again" in plain(at)
    button(at, "Apply").click().run()
    assert served.settings.labelling.overlap == 2
    assert "Applied." in plain(at) and "New suggestions" not in plain(at)


def test_what_somebody_else_changed_meanwhile_is_not_undone(served) -> None:
    at = page("settings")
    next(n for n in at.number_input if n.label == "Annotators an image").set_value(3).run()
    served.save_settings(replace(served.settings, pipeline=PipelineSettings(recipe="vote")))
    button(at, "Apply").click().run()
    assert served.settings.labelling.overlap == 3 and served.settings.pipeline.recipe == "vote"


def test_an_empty_project_has_its_settings_too(empty) -> None:
    at = page("settings")
    assert not at.exception and "not loaded" in plain(at)
    assert "starts once two classes have images" in plain(at)


def test_no_key_is_on_the_page(served, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    told = plain(page("settings"))
    assert "OPENAI_API_KEY is set" in told and "very-secret" not in told


def test_an_openai_server_that_is_not_named_is_a_sentence(served) -> None:
    at = page("settings")
    pick(at, "Reasoner", "openai")
    assert "set OPENAI_BASE_URL, for example" in plain(at)


# --------------------------------------------------------------------------- plain functions
def test_every_field_has_a_label_and_help_with_its_bounds_and_default() -> None:
    told = specs(PipelineSettings)
    assert "From 1 to 64. Unless set: 3." in told["k_retrieval"].help
    assert "`temperature`" in told["temperature"].help and "Unless set: 0.2." in told["temperature"].help
    assert len({s.label for s in told.values()}) == len(told) and told["dense"].choices


def test_changes_are_listed_short() -> None:
    draft = SettingsDraft.of(Settings())
    draft.pipeline |= {"encoder": "clip", "encoder_model": "x" * 100, "swap_options": False}
    draft.images |= {"max_pixels": 1000}
    told = changes(draft)
    assert told[0] == "Encoder: efficientnet-lite0 → clip" and len(told[1]) < 80
    assert "Both orders of the classes: on → off" in told and "Pixels, at most: 100,000,000 → 1,000" in told


def test_a_long_path_is_told_by_its_last_whole_folders() -> None:
    assert short_path("/models/clip") == "/models/clip"
    told = short_path("/opt/" + "very-long-folder/" * 6 + "models/clip.safetensors")
    assert told == "…/very-long-folder/models/clip.safetensors"
    assert short_path("x" * 100) == "…" + "x" * 57


def test_figures_are_readable() -> None:
    assert [size(n) for n in (None, 18_900, 18_900_000, 4_400_000_000)] == ["–", "19 kB", "19 MB", "4.4 GB"]
    assert [parameters(n) for n in (42, 151_277_313, 2_208_985_600)] == ["42", "151.3 M", "2.2 B"]


def test_a_stand_in_is_named_beside_what_was_chosen() -> None:
    told = headline(LoadedModel("encoder", "clip", "efficientnet-lite0", "standing in"))
    assert "clip" in told and "stood in for by efficientnet-lite0" in told
    assert facts(LoadedModel("encoder", "clip", "", "not loaded")) == []
