"""The Support page: what it shows in each state of the project, and the choice of the recipe."""

from __future__ import annotations

import pytest
from page_project import page, shown

from core.calibration import LeaveOneOut


def result(recipe: str, right: int) -> LeaveOneOut:
    return LeaveOneOut(recipe, 20, right / 20, right / 20, 0.5, (1, 2), {})


FIGURES = {name: result(name, right) for name, right in (("ensemble", 17), ("patch", 16), ("whole", 15), ("vote", 11))}


def test_a_new_project_opens_without_an_error_and_without_figures(empty):
    at = page("support")
    assert not at.exception
    assert not [b for b in at.button if b.key and b.key.startswith("use_")]


def test_until_the_worker_is_done_the_page_says_so_and_waits_for_nothing(served):
    at = page("support")
    assert not at.exception
    assert "Computing" in shown(at)
    assert "right" not in shown(at)


def test_one_filled_class_is_told_what_is_missing(served):
    for member in served.store.support():
        if member.class_id == 2:
            served.remove_support(member.id, by="ada")
    assert "two classes have images" in shown(page("support"))


def test_the_figures_of_the_four_recipes_are_shown_when_they_are_there(served, monkeypatch):
    monkeypatch.setattr(type(served), "leave_one_out", lambda self: FIGURES)
    at = page("support")
    assert not at.exception
    assert "No recipe does better" in shown(at)
    assert {b.key: b.disabled for b in at.button if b.key and b.key.startswith("use_")} == {
        "use_ensemble": True,
        "use_patch": False,
        "use_whole": False,
        "use_vote": False,
    }


def test_another_recipe_is_in_force_after_one_click_and_after_a_restart(served):
    at = page("support")
    at.button(key="use_patch").click().run()
    assert not at.exception
    assert served.settings.pipeline.recipe == "patch"
    assert served.store.settings().pipeline.recipe == "patch"
    assert at.button(key="use_patch").disabled
    assert not at.button(key="use_ensemble").disabled


@pytest.mark.parametrize("classes", [9, 20])
def test_many_classes_open_without_an_error(served, classes):
    for number in range(classes - 3):
        served.store.add_class(f"class {number}")
    served.store.add_class("<img src=x onerror=alert(1)>" + "🙂" * 100)
    assert not page("support").exception
