"""Prompts: what fills them, what is refused, and that a value is never taken for a placeholder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidSettings
from core.prompt_presets import PRESETS
from core.prompts import EXPLAINED, PromptTemplate, differences, filled, template_of, values_for
from core.reasoning import safe_name
from core.settings import PLACEHOLDERS, PipelineSettings
from core.types import ClassRecord, ClassScore

CLASSES = (ClassRecord(1, "clean", "1", "#0072b2"), ClassRecord(2, "dirty", "2", "#e69f00", 1))
SCORES = (ClassScore(1, 0.25, -1.0), ClassScore(2, 0.75, 0.1))


def values(classes: tuple[ClassRecord, ...] = CLASSES, image_name: str = "car.jpg") -> dict[str, str]:
    return values_for(classes, SCORES, support_count=8, image_name=image_name, safe=safe_name)


def test_every_placeholder_is_filled_and_explained_with_its_cost() -> None:
    text = "{{classes}} | {{class_count}} | {{ support_count }} | {{image_name}} | {{scores}}"
    assert filled(text, values()) == "“clean”, “dirty” | 2 | 8 | “car.jpg” | “dirty” 0.75, “clean” 0.25"
    assert set(EXPLAINED) == set(PLACEHOLDERS) == set(values())
    assert all(p.means and p.costs for p in EXPLAINED.values())


def test_single_braces_are_the_prompts_own() -> None:
    text = '{"class": "A", "deep": {"explanation": {}}} {{{{ }} {{"a": 1}}'
    PromptTemplate(user=text).check()
    assert filled(text, values()) == text


@pytest.mark.parametrize("name", ["class", "Classes", "image name", "scores.best", "класс"])
def test_an_unknown_placeholder_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InvalidSettings, match=r"stands for nothing.*\{\{classes\}\}.*\{\{scores\}\}"):
        PromptTemplate(system=f"Look at {{{{{name}}}}}.").check()
    with pytest.raises(InvalidSettings, match="user_prompt names"):
        PipelineSettings(user_prompt=f"Look at {{{{{name}}}}}.")


def test_a_prompt_that_is_too_long_is_refused() -> None:
    PromptTemplate("x" * 8_000).check()
    with pytest.raises(InvalidSettings, match="8,001 characters"):
        PromptTemplate("x" * 8_001).check()


def test_a_class_that_is_named_like_a_placeholder_is_not_expanded_again() -> None:
    sly = (ClassRecord(1, "{{image_name}}", "1", "#0072b2"), CLASSES[1])
    assert "car.jpg" not in filled("{{classes}}", values(sly))


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_name_brings_braces_or_lines_into_a_prompt(class_name: str, file_name: str) -> None:
    given_values = values((ClassRecord(1, class_name, "1", "#0072b2"), CLASSES[1]), file_name)
    for value in given_values.values():
        assert "{" not in value and "}" not in value and "\n" not in value
    # even where a value could name a placeholder, the text is gone through once
    raw = {**given_values, "image_name": "{{scores}}"}
    assert filled("{{image_name}}", raw) == "{{scores}}"


@given(st.text(max_size=200))
def test_filling_changes_nothing_but_placeholders(text: str) -> None:
    if not any(name in text for name in PLACEHOLDERS):
        assert filled(text, values()) == text


def test_the_same_words_have_the_same_version_and_empty_ones_are_the_built_in() -> None:
    built_in = PromptTemplate()
    assert built_in.version == built_in.in_force.version == PRESETS[0].template.version
    assert PromptTemplate(user=" Which? ").version == PromptTemplate(user="Which?").version != built_in.version
    assert template_of(PipelineSettings(user_prompt="Which?")).version == PromptTemplate(user="Which?").version


def test_every_preset_can_be_used_and_has_a_version_of_its_own() -> None:
    for preset in PRESETS:
        preset.template.check()
        PipelineSettings(system_prompt=preset.template.system, user_prompt=preset.template.user)
    assert len({p.template.version for p in PRESETS}) == len({p.name for p in PRESETS}) == len(PRESETS)
    assert "vehicle clean/dirty" in {p.name for p in PRESETS}


def test_a_comparison_says_which_lines_came_and_went() -> None:
    before, after = (
        PromptTemplate("Be brief.\nLook twice.", "Which?"),
        PromptTemplate("Be brief.\nLook once.", "Which?"),
    )
    found = differences(before, after)
    assert [(d.sign, d.text) for d in found["system"]] == [
        (" ", "Be brief."),
        ("-", "Look twice."),
        ("+", "Look once."),
    ]
    assert found["user"] == []
