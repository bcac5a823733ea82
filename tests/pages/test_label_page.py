"""The Label page's layout and the details panel; the loop itself is tested in a real browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from page_project import page, shown
from streamlit.testing.v1 import AppTest

from core.labelling import Detail, Suggestion
from core.settings import LISTS
from core.types import ClassRecord, ClassScore, Contributions, ImageRecord, Prediction, Status
from ragvision_app import state
from ragvision_app.components import label_view, outbox, theme
from ragvision_app.components.details import heatmap_figure, scores_figure, shares, sum_sentence, support_figure
from ragvision_app.components.reviewer import FOLDER, SCRIPTS, bundle, css, html

CLASSES = [ClassRecord(1, "functional", "1", "#0072b2"), ClassRecord(2, "defective", "2", "#e69f00")]


def image(number: int, name: str | None = None) -> ImageRecord:
    return ImageRecord(f"{number:064x}", name or f"cell{number:04d}.png", "test", 300, 150, 10, "0", "2026-11-24")


def prediction(classes: list[ClassRecord] = CLASSES) -> Prediction:
    scores = tuple(
        ClassScore(c.id, 1 / len(classes), 0.75 if i == 1 else 0.0, patch=math.log(0.3), whole=None)
        for i, c in enumerate(classes)
    )
    parts = Contributions(2, 1, (1, 2), (0.5, -0.25), 0.125, 0.375, {f"{7:064x}": 0.625, f"{8:064x}": -0.25})
    return Prediction(
        f"{1:064x}",
        Status.OK,
        2,
        1,
        0.2,
        scores,
        (),
        parts,
        "defective",
        (),
        "",
        "encoder",
        "evidence",
        "ensemble",
        "v1",
    )


def detail(count: int = 2) -> Detail:
    by_support = tuple((image(100 + i), (-1) ** i / (i + 1)) for i in range(count))
    return Detail(image(1), Suggestion("shown", prediction=prediction(), scale=0.5), by_support)


# --------------------------------------------------------------------------- the page
def test_without_a_name_the_page_asks_for_one_and_mounts_nothing(served) -> None:
    at = page("label")
    assert not at.exception
    assert [field.label for field in at.text_input] == ["Your name"]
    assert mounted(at) == []


def mounted(at: AppTest) -> list[str]:
    return [element.type for element in at.main if "bidi" in element.type.lower()]


def test_the_name_given_goes_into_the_address_and_the_loop_is_mounted(served) -> None:
    at = page("label")
    at.text_input[0].input("  ada  ")
    at.button[0].click().run()
    assert not at.exception
    assert at.query_params["annotator"] == "ada"
    assert at.session_state[state.ANNOTATOR] == "ada"
    assert not at.text_input
    assert len(mounted(at)) == 1


@pytest.mark.parametrize("bad", ["x" * 101, "two\nlines"])
def test_a_name_that_cannot_be_is_refused_with_a_sentence(bad: str) -> None:
    name, problem = label_view.annotator_name(bad)
    assert name == "" and problem.endswith(".")


def test_names_are_trimmed_and_an_empty_one_is_no_problem() -> None:
    assert label_view.annotator_name("  ada ") == ("ada", "")
    assert label_view.annotator_name("   ") == ("", "")


def test_only_an_image_id_opens_the_details() -> None:
    asked = f"{3:064x}"
    assert label_view.clicked_details(SimpleNamespace(details=asked)) == asked
    assert label_view.clicked_details({"details": asked}) == asked
    for nothing in (None, {}, {"details": None}, {"details": 3}, {"details": "../etc"}):
        assert label_view.clicked_details(nothing) is None


# --------------------------------------------------------------------------- the component's files
def test_the_script_is_one_module_without_imports_and_every_file_is_in_it() -> None:
    script = bundle()
    assert "import " not in "".join(line for line in script.splitlines(True) if line.startswith("import"))
    assert script.count("export ") == 1 and "export default function reviewer" in script
    assert {path.name for path in FOLDER.glob("*.js")} == set(SCRIPTS)


def test_no_name_is_declared_twice_across_the_files() -> None:
    for script in (bundle(), outbox.bundle()):
        names = re.findall(r"^(?:async )?(?:const|let|function|class) (\w+)", script, re.MULTILINE)
        assert len(names) == len(set(names))


def test_strings_never_become_markup() -> None:
    script = bundle() + outbox.bundle()
    for risky in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval("):
        assert risky not in script
    assert "<script" not in html()


def test_every_style_is_scoped_to_the_component() -> None:
    text = re.sub(r"/\*.*?\*/", "", css(), flags=re.DOTALL)
    text = re.sub(r"@keyframes [\w-]+ \{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", text)
    selectors = [s.strip() for s in re.findall(r"([^{}]+)\{", text)]
    loose = [s for s in selectors if not s.startswith("@") and not all(".rv-reviewer" in p for p in split_top(s))]
    assert loose == []


def split_top(selector: str) -> list[str]:
    """A selector list at its top-level commas."""
    parts, depth = [""], 0
    for letter in selector:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


# --------------------------------------------------------------------------- the details panel
def test_the_scores_chart_shows_probabilities_in_class_colours_and_the_halves_that_exist() -> None:
    figure = scores_figure(prediction(), CLASSES, theme.LIGHT)
    bars, *marks = figure.data
    assert list(bars.marker.color) == ["#0072b2", "#e69f00"]
    assert [m.name for m in marks] == ["patches alone"]
    assert list(marks[0].x) == pytest.approx([0.3, 0.3])


def test_a_vision_language_models_own_probabilities_are_marked_beside_the_scores() -> None:
    told = replace(prediction(), reasoner="qwen2-vl Tiny-0123456789ab · cpu", class_probabilities={CLASSES[0].id: 0.8})
    mark = scores_figure(told, CLASSES, theme.LIGHT).data[-1]
    assert mark.name == "qwen2-vl Tiny alone" and list(mark.x) == pytest.approx([0.8])


def test_classes_of_the_same_long_beginning_keep_a_bar_each_and_no_markup() -> None:
    classes = [ClassRecord(i, f"<b>{'x' * 60}</b>{i}", None, "#0072b2") for i in range(3)]
    labels = list(scores_figure(prediction(classes), classes, theme.DARK).data[0].y)
    assert len(set(labels)) == 3
    assert not any("<" in label for label in labels)


def test_shares_are_by_magnitude_and_the_rest_is_one_bar() -> None:
    rows = shares(detail(20))
    assert len(rows) == 14
    assert rows[-1][0] == "7 others"
    assert sum(share for *_, share in rows) == pytest.approx(1.0)
    assert sum(part for _, part, _ in rows) == pytest.approx(sum((-1) ** i / (i + 1) for i in range(20)))


def test_support_bars_have_the_colour_of_the_class_that_they_support() -> None:
    figure = support_figure(detail(2), "defective", "functional", theme.LIGHT, ("#e69f00", "#0072b2"))
    assert list(zip(figure.data[0].x, figure.data[0].marker.color, strict=True)) == [
        (-0.5, "#0072b2"),
        (1.0, "#e69f00"),
    ]


def test_the_heatmap_covers_the_whole_image_with_a_scale_around_zero() -> None:
    parts = prediction().contributions
    assert parts is not None
    figure = heatmap_figure(detail(), parts, 0.5, theme.LIGHT, ("#e69f00", "#0072b2"))
    heat = figure.data[0]
    assert [list(row) for row in heat.z] == [[0.5, -0.25]]
    assert (list(heat.x), list(heat.y)) == ([75.0, 225.0], [75.0])
    assert (heat.zmin, heat.zmax) == (-0.5, 0.5)
    assert (figure.layout.images[0].sizex, figure.layout.images[0].sizey) == (300, 150)


def test_the_sum_is_told_in_numbers_that_add_up() -> None:
    parts = prediction().contributions
    assert parts is not None
    assert sum_sentence(prediction(), parts) == (
        "It adds up: +0.250 places in the image +0.125 whole image +0.375 constant = +0.750, the flag's lead in logits."
    )
    with_names = replace(parts, whole=0.0, text=0.125)
    assert "places in the image +0.125 class names +0.375 constant = +0.750" in sum_sentence(prediction(), with_names)


def test_classes_whose_colours_are_too_alike_are_drawn_in_blue_and_orange() -> None:
    assert theme.support_colours("#e69f00", "#0072b2") == ("#e69f00", "#0072b2")
    assert theme.support_colours("#0072b2", "#0080c0") == (theme.FOR, theme.AGAINST)
    assert theme.support_colours("#0072b2", None) == (theme.FOR, theme.AGAINST)


def test_the_panel_says_why_there_is_nothing_behind_an_image(served, monkeypatch) -> None:
    withheld = Detail(image(1), Suggestion("withheld", "Withheld on purpose: label this one on your own."))
    monkeypatch.setattr(type(served), "detail", lambda self, sha, annotator: withheld)
    at = page("label")
    at.session_state[state.DETAILS] = f"{1:064x}"
    at.text_input[0].input("ada")
    at.button[0].click().run()
    assert not at.exception
    assert "Withheld on purpose" in shown(at)
    assert not at.get("plotly_chart")


def test_the_panel_draws_scores_shares_and_heatmap(served, monkeypatch) -> None:
    monkeypatch.setattr(type(served), "detail", lambda self, sha, annotator: detail())
    at = page("label")
    at.session_state[state.DETAILS] = f"{1:064x}"
    at.text_input[0].input("ada")
    at.button[0].click().run()
    assert not at.exception
    assert len(at.get("plotly_chart")) == 3
    assert "It adds up" in shown(at)


def test_every_queue_that_can_be_asked_for_has_a_name_on_the_page() -> None:
    assert set(label_view.QUEUES) == set(LISTS)


def test_the_queue_of_the_link_is_chosen_and_an_unknown_one_is_the_default(served) -> None:
    at = page("label", annotator="ada", order="unsure")
    assert not at.exception and at.selectbox[0].value == "unsure"
    at = page("label", annotator="ada", order="magic")
    assert not at.exception and at.selectbox[0].value == "uncertainty"
