"""What the Support page says about the four recipes."""

from __future__ import annotations

from dataclasses import replace

from core.calibration import LeaveOneOut
from ragvision_app.components.recipes_view import advice, names_sentence, recipe_cards, waiting_sentence


def result(recipe: str, right: int, rows: int = 20) -> LeaveOneOut:
    return LeaveOneOut(recipe, rows, right / rows, right / rows, 0.5, (1, 2), {})


def test_every_recipe_has_a_card_before_anything_is_computed():
    cards = recipe_cards({}, "patch")
    assert [c.name for c in cards] == ["ensemble", "patch", "whole", "vote"]
    assert [c.chosen for c in cards] == [False, True, False, False]
    assert all(c.figure == "–" and c.detail == "" for c in cards)
    assert advice(cards) == ""


def test_cards_carry_the_figures_of_their_own_recipe():
    cards = {c.name: c for c in recipe_cards({"vote": result("vote", 13), "whole": result("whole", 17)}, "vote")}
    assert cards["whole"].figure == "85 %"
    assert cards["whole"].detail == "17 of 20 right"
    assert cards["vote"].detail == "13 of 20 right"
    assert cards["whole"].best and not cards["vote"].best


def test_the_weight_of_the_class_names_is_told_where_there_is_one():
    def told(weight, rows=20):
        return names_sentence({"vote": replace(result("vote", 13, rows), text_weight=weight)}, "vote")

    assert told(None) == "" == names_sentence({}, "vote")
    assert "get no weight" in told(0.0)
    assert "a weight of 0.35 beside the images, chosen by leave-one-out" in told(0.35)


def test_a_tie_has_no_best():
    cards = recipe_cards({"vote": result("vote", 17), "whole": result("whole", 17)}, "vote")
    assert not any(c.best for c in cards)


def said(right: int, chosen: int, rows: int) -> str:
    return advice(
        recipe_cards({"patch": result("patch", right, rows), "ensemble": result("ensemble", chosen, rows)}, "ensemble")
    )


def test_a_small_difference_is_named_and_called_what_it_may_be():
    assert said(18, 16, 20) == "Patch is right on 2 more of the 20 images than Ensemble, which may well be chance."


def test_a_clear_difference_is_worth_a_try():
    assert said(18, 12, 20) == "Patch is right on 6 more of the 20 images than Ensemble: worth a try."


def test_the_same_share_says_more_on_more_images():
    assert "chance" in said(18, 15, 20)
    assert "worth" in said(180, 150, 200)


def test_nothing_is_advised_where_the_chosen_recipe_is_the_best():
    assert said(15, 15, 20) == said(12, 15, 20) == "No recipe does better than the chosen one on these 20 images."


def test_without_figures_the_reason_is_given():
    assert "two classes" in waiting_sentence("computing", [10, 0])
    assert "second image" in waiting_sentence("computing", [1, 1])
    assert "failed" in waiting_sentence("failed", [5, 5])
    assert "Computing" in waiting_sentence("computing", [5, 5])
