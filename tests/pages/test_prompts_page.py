"""The Prompts page: drafts, versions, preview, refusals, and what is put in force."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest
from page_project import files, fill, page, shown
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.errors import Busy
from core.prompt_format import PromptFormat
from core.prompt_presets import PRESETS
from core.prompt_preview import TokenCount
from core.prompts import PromptTemplate, template_of
from core.settings import PipelineSettings
from ragvision_app.components import prompts_tryout as tryout
from ragvision_app.components import prompts_view as view

VEHICLES = next(p for p in PRESETS if p.name == "vehicle clean/dirty").template


@pytest.fixture
def served(empty):
    """Two classes with examples, and two images to label."""
    fill(empty)
    empty.import_images([_source(files(900, 2))])
    return empty


def _source(named):
    from core.imports import upload_source

    return upload_source(named)


def area(at: AppTest, label: str):
    return next(a for a in at.text_area if a.label == label)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def html(at: AppTest) -> str:
    return "\n".join(str(h.proto.body) for h in at.main.get("html"))


def test_the_built_in_words_are_in_the_editor_and_in_force(served) -> None:
    at = page("prompts")
    assert not at.exception
    assert area(at, "System prompt").value == PromptTemplate().in_force.system
    assert "in force, as built-in" in shown(at).replace("\\", "") and "No model reads prompts now" in shown(at)
    assert button(at, "Use for the project").disabled and button(at, "Save").disabled


def test_an_edit_changes_the_preview_and_is_not_in_force_yet(served) -> None:
    at = page("prompts")
    area(at, "User prompt").set_value("Which of {{classes}}?").run()
    assert "Which of “functional”, “defective”?" in html(at)
    assert "not saved yet" in shown(at)
    assert served.settings.pipeline.user_prompt == ""


def test_saving_makes_numbered_versions_and_the_same_words_make_none(served) -> None:
    at = page("prompts")
    for words in ("First?", "Second?", "First?"):
        area(at, "User prompt").set_value(words)
        next(t for t in at.text_input if t.label == "Save as").set_value("mine").run()
        if not button(at, "Save").disabled:
            button(at, "Save").click().run()
    assert [r.title for r in served.store.prompts()] == ["mine v2", "mine v1"]
    assert "mine v1; they are not in force" in shown(at)


def test_words_that_are_too_long_are_refused_with_their_length_and_none_is_cut_off(served) -> None:
    at = page("prompts")
    area(at, "User prompt").set_value("x" * 8001).run()
    assert any("has 8,001 characters; 8,000 are the most" in e.value.replace("\\", "") for e in at.error)
    assert len(area(at, "User prompt").value) == 8001 and button(at, "Save").disabled


def test_a_preset_is_loaded_and_used_and_named_by_its_version(served) -> None:
    at = page("prompts")
    at.selectbox(key="prompt_load").set_value(VEHICLES.version).run()
    assert area(at, "System prompt").value.startswith("You are a vehicle cleanliness inspector")
    assert "Using it:" in shown(at)
    button(at, "Use for the project").click().run()
    assert not at.exception
    assert template_of(served.settings.pipeline).version == VEHICLES.version
    assert served.store.prompt_titles()[VEHICLES.version] == "vehicle clean/dirty v1"
    assert "In force: vehicle clean/dirty v1." in shown(at).replace("\\", "")
    assert not button(at, "Use for the project").proto.is_form_submitter
    assert button(at, "Use for the project").disabled  # it is in force now


def test_an_unknown_placeholder_is_refused_on_the_page_with_those_there_are(served) -> None:
    at = page("prompts")
    area(at, "System prompt").set_value("Look at {{picture}}.").run()
    assert any("{{classes}}" in e.value.replace("\\", "") for e in at.error)
    assert button(at, "Use for the project").disabled and button(at, "Save").disabled
    assert not at.exception


def test_a_placeholder_that_biases_says_what_it_costs(served) -> None:
    at = page("prompts")
    area(at, "User prompt").set_value("Scores: {{scores}}").run()
    assert any("biases the model" in w.value for w in at.warning)


def test_parameters_have_the_bounds_of_the_settings_and_a_combination_that_cannot_be_is_refused(served) -> None:
    at = page("prompts")
    patch = next(n for n in at.number_input if n.label == "Patch side, pixels")
    assert (patch.min, patch.max) == (8, 512) and "support_patch_size" in patch.help
    names = {n.help.split("`")[1] for n in at.number_input} | {t.help.split("`")[1] for t in at.toggle}
    assert names == {*view.RETRIEVAL, *view.ANSWER}
    patch.set_value(48).run()
    assert any("does not divide" in e.value for e in at.error)
    assert button(at, "Use for the project").disabled
    assert served.settings.pipeline.support_patch_size == 32


def test_without_images_or_classes_the_page_says_what_to_do(empty) -> None:
    at = page("prompts")
    assert not at.exception and "no images to label yet" in shown(at)
    empty.import_images([_source(files(900, 1))])
    at = page("prompts")
    assert not at.exception and "no classes yet" in shown(at)


def test_a_name_with_markup_is_shown_as_text(empty) -> None:
    fill(empty, classes=("<img src=x onerror=alert(1)>", "dirty"))
    empty.import_images([_source(files(900, 1))])
    at = page("prompts")
    assert not at.exception
    area(at, "User prompt").set_value("Is 5 < 7 & <b>bold</b>?").run()
    assert "<img src=x" not in html(at) and "<b>" not in html(at)
    assert "Is 5 &lt; 7 &amp; ‹b&gt;bold" in html(at)


# --------------------------------------------------------------------------- the try-out
class Service:
    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.future: Future = Future()

    def submit(self, image, overrides, *, on_text=None):
        self.asked.append({"image": image, **overrides})
        on_text("It is cl")
        return self.future

    def close(self) -> None:
        pass


def test_a_try_out_is_asked_in_the_background_with_the_draft_and_stores_nothing(served, monkeypatch) -> None:
    service = Service()
    monkeypatch.setattr(served, "inference", service)
    at = page("prompts")
    area(at, "User prompt").set_value("Is it {{classes}}?").run()
    button(at, "Try on this image").click().run()
    assert service.asked[0]["user_prompt"] == "Is it {{classes}}?"
    assert service.asked[0]["image"] == served.store.query_images()[0]
    assert "It is cl" in shown(at)
    assert served.settings.pipeline.user_prompt == "" and served.store.prompts() == []


def test_a_missing_reasoner_is_a_sentence_with_its_command_and_a_missing_encoder_is_stood_in_for(
    served, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    pipeline = replace(served.settings.pipeline, encoder="clip", reasoner_model="nobody/no-such-model")
    served.save_settings(replace(served.settings, pipeline=replace(pipeline, reasoner="qwen2-vl")))
    at = page("prompts")
    assert button(at, "Try on this image").disabled
    assert any("hf download nobody/no-such-model" in c.value for c in at.code)
    service = Service()
    monkeypatch.setattr(served, "inference", service)
    next(s for s in at.selectbox if s.label == "Reasoner").set_value("evidence").run()
    button(at, "Try on this image").click().run()
    assert service.asked[0]["encoder"] == "efficientnet-lite0" and service.asked[0]["reasoner"] == "evidence"


def test_a_try_out_that_is_refused_or_fails_says_why(served) -> None:
    class Full(Service):
        def submit(self, image, overrides, *, on_text=None):
            raise Busy("16 requests wait already.", retry_after=3)

    class Bench:
        inference = Full()

    assert tryout.start(Bench(), "a", PipelineSettings()).error == "16 requests wait already."  # type: ignore[arg-type]
    failed: Future = Future()
    failed.set_exception(ZeroDivisionError("a secret"))
    asked = tryout.TryOut("a", PipelineSettings(), failed)
    assert "internal error" in asked.error and "secret" not in asked.error and asked.result is None


# --------------------------------------------------------------------------- plain functions
def test_an_estimate_is_called_one() -> None:
    told = view.tokens_line(TokenCount(100, 20), 1024)
    assert told.startswith("**About 120 tokens**") and "about 100 of text" in told
    exact = view.tokens_line(TokenCount(100, 20, "Qwen2-VL"), 1024)
    assert exact.startswith("**120 tokens**") and "about" not in exact
    assert "about 20 of pictures" in view.tokens_line(TokenCount(100, 20, "", "", visual_exact=False), 1024)


def test_every_picture_of_the_preview_stands_with_the_line_that_announces_it() -> None:
    from types import SimpleNamespace

    small, query = Image.new("RGB", (56, 56)), Image.new("RGB", (112, 112))
    parts = ("Decide.\n\nClasses:\nA: “a”\n\nE1: of “a”. ", small, "\nE2: of “<b>”. ", small, "\n\nThe query:\n", query)
    prompt = SimpleNamespace(system="", parts=(*parts, "\nWhich?"), images=(small, small, query))
    told = view.preview_html(SimpleNamespace(prompt=prompt, follow_up=""))  # type: ignore[arg-type]
    above, *pieces = told.split('<div class="rv-piece">')
    assert above.endswith("<pre>Decide.\n\nClasses:\nA: “a”</pre>")
    assert [p.partition("<figure")[0] for p in pieces] == [
        "<pre>E1: of “a”. </pre>", "<pre>E2: of “&lt;b&gt;”. </pre>", "<pre>The query:</pre>"
    ]  # fmt: skip
    assert [p.count("<img") for p in pieces] == [1, 1, 1] and 'class="rv-query"' in pieces[-1]
    assert pieces[-1].split("</figure></div>")[1].startswith("<pre>Which?</pre>")


def test_the_differences_of_two_versions_are_signed_and_escaped() -> None:
    told = view.diff_html(PromptTemplate("<b>old</b>", "same"), PromptTemplate("<b>new</b>", "same"))
    assert '<pre class="rv-minus">− &lt;b&gt;old' in told and '<pre class="rv-plus">+ &lt;b&gt;new' in told
    assert "The same." in told


def test_a_colour_that_is_none_and_a_probability_beyond_one_do_not_reach_the_markup() -> None:
    told = view.bars_html([("a<b", "red;background:url(x)", 7.0)])
    assert "url(" not in told and "width:100.0%" in told and "a&lt;b" in told


def test_the_words_in_force_are_not_saved_anew_under_other_settings(served) -> None:
    from ragvision_app.components.prompts_draft import PromptDraft

    saved = served.settings.pipeline
    words = PromptTemplate().in_force
    draft = PromptDraft(saved, words.system, words.user, "", {})
    assert draft.settings(saved) == (saved, "")
    assert draft.settings(replace(saved, recipe="vote"))[0] == replace(saved, recipe="vote")


def test_the_picture_in_a_preview_is_the_very_one() -> None:
    import base64
    import io

    told = view.data_url(Image.new("RGB", (56, 84), (200, 0, 0)))
    back = Image.open(io.BytesIO(base64.b64decode(told.partition(",")[2])))
    assert back.size == (56, 84)


def test_a_reasoner_without_prompts_has_no_forms() -> None:
    assert view.forms_of(PipelineSettings()) == [] == list(PromptFormat().forms)
    assert view.forms_of(PipelineSettings(reasoner="openai")) == ["letter", "json"]


def test_one_turns_from_image_to_image_and_no_further(served) -> None:
    at = page("prompts")
    assert "1 of 2" in shown(at) and at.button(key="prompt_back").disabled
    at.button(key="prompt_next").click().run()
    assert "2 of 2" in shown(at) and at.button(key="prompt_next").disabled
    images = served.store.query_images()
    assert [served.store.query_image(n) for n in range(3)] == [*images, None]
    assert served.store.image(images[1]).name in shown(at).replace("\\", "")
