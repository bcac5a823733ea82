"""The frame around the pages: page list, sidebar, and what is said when there is no project."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from page_project import APP, page
from streamlit.testing.v1 import AppTest

from core.run_status import RunStatus
from core.workbench import Workbench
from ragvision_app import sidebar, state

PAGES = ["label", "support", "images", "runs", "export"]


def sidebar_text(at: AppTest) -> str:
    return "\n".join(
        str(e.value) for kind in ("markdown", "caption", "text", "error") for e in getattr(at.sidebar, kind)
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_a_project_without_a_model(served: Workbench, name: str) -> None:
    at = page(name)
    assert not at.exception
    assert "new" in sidebar_text(at)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_project(empty: Workbench, name: str) -> None:
    assert not page(name).exception


def test_the_address_without_a_page_leads_to_label(served: Workbench) -> None:
    at = AppTest.from_file(str(APP), default_timeout=20).run()
    assert not at.exception
    assert "new" in sidebar_text(at)  # the start itself draws no sidebar


def test_the_sidebar_names_project_progress_encoder_and_reasoner(served: Workbench) -> None:
    text = sidebar_text(page("label"))
    for word in ("new", "0 of 0 labelled", "efficientnet-lite0", "evidence", "ensemble"):
        assert word in text


def test_the_licence_of_the_images_is_on_every_page(served: Workbench) -> None:
    (served.project.root / "NOTICE.txt").write_text("Licence: CC BY-NC-SA 4.0.\n")
    assert "CC BY-NC-SA 4.0" in sidebar_text(page("support"))


def test_without_the_server_it_says_how_to_start_it(served: Workbench) -> None:
    assert "python -m ragvision_app run" in sidebar_text(page("support"))


def test_without_a_project_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(state.PROJECT_VARIABLE, raising=False)
    at = page("label")
    assert not at.exception
    assert [e.value for e in at.main.error if state.PROJECT_VARIABLE in e.value]


def test_pages_import_the_core_however_the_script_was_started(
    served: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    root = str(APP.parent.parent)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p or ".").resolve() != Path(root)])
    assert not page("support").exception
    assert root in sys.path


def test_the_served_workbench_is_the_very_same_for_the_pages(served: Workbench) -> None:
    from concurrent.futures import Future

    opening: Future[Workbench] = Future()
    state.serve_workbench(opening)
    try:
        opening.set_result(served)
        assert state.workbench() is served and state.is_served()
    finally:
        state.serve_workbench(None)
    assert not state.is_served()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            {"state": "computing", "done": 1200, "total": 9000, "seconds_left": 42.4},
            "1,200 of 9,000 suggestions, 42 s left",
        ),
        ({"state": "computing", "done": 1, "total": 9000, "seconds_left": 600}, "1 of 9,000 suggestions, 10 min left"),
        ({"state": "computing", "done": 1, "total": 2, "seconds_left": None}, "1 of 2 suggestions"),
        ({"state": "computing", "done": 1, "total": 2, "seconds_left": 0.2}, "1 of 2 suggestions, 1 s left"),
        (
            {"state": "computing", "done": 300, "total": 300, "reasoned": 30, "seconds_left": 60},
            "30 of 300 answers, 60 s left",
        ),
        ({"state": "no_support", "done": 0, "total": 9, "seconds_left": None}, "Add examples."),
    ],
)
def test_the_run_is_told_in_numbers_while_it_counts(status: dict[str, Any], sentence: str) -> None:
    assert sidebar.run_sentence(RunStatus(sentence="Add examples.", **status)) == sentence


def test_the_command_for_a_missing_model_is_left_to_the_settings_page(
    served: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = 'The encoder clip is not there. Get it with: hf download a/b --include "*.json" --include "*.bin"'
    status = RunStatus("done", f"All are ready. {missing} openai follows.", encoder="x", stands_in=missing)
    monkeypatch.setattr(type(served), "run_status", lambda self: status)
    text = sidebar_text(page("support"))
    assert "All are ready" in text and "openai follows" in text and sidebar.MISSING in text
    assert "download" not in text


def test_progress_names_what_was_put_aside_only_where_there_is_any() -> None:
    def progress(**counts: int) -> SimpleNamespace:
        return SimpleNamespace(**({"labelled": 0, "total": 300, "unsure": 0, "skipped": 0} | counts))

    assert sidebar.progress_sentence(progress(labelled=12)) == "12 of 300 labelled"  # type: ignore[arg-type]
    both = sidebar.progress_sentence(progress(labelled=12, unsure=1, skipped=2))  # type: ignore[arg-type]
    assert both == "12 of 300 labelled · 1 unsure · 2 skipped"


@pytest.mark.parametrize(
    ("notice", "title"),
    [
        ("under the licence CC BY-NC-SA 4.0: for evaluation only", "CC BY-NC-SA 4.0"),
        ("Licence: CC-BY 3.0.", "CC-BY 3.0"),
        ("Ours; not for others.", "About these images"),
    ],
)
def test_the_licence_that_a_notice_names_is_readable_without_a_click(notice: str, title: str) -> None:
    assert sidebar.notice_title(notice) == title
