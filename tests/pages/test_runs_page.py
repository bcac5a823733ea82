"""The Runs page: the worker's state in words, what is stale, and the history."""

from __future__ import annotations

import pytest
from page_project import page, shown

from core.run_status import RunStatus
from ragvision_app.components.runs_view import progress_line, run_rows, share, stale_sentence

STATES = ["idle", "no_images", "no_support", "loading", "computing", "done", "failed"]


def status(**changes: object) -> RunStatus:
    given = {"state": "computing", "sentence": "Suggestions are being computed.", "done": 120, "total": 300}
    return RunStatus(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_worker_has_its_words(served, monkeypatch, state):
    monkeypatch.setattr(type(served), "run_status", lambda self: status(state=state, sentence="The sentence."))
    at = page("runs")
    assert not at.exception
    assert "The sentence" in shown(at)


def test_what_is_stale_is_counted_and_said_to_be_mended(served, monkeypatch):
    monkeypatch.setattr(type(served), "run_status", lambda self: status(stale=42))
    assert "42 suggestions rest on an earlier support set" in page("runs").warning[0].value


def test_nothing_stale_is_not_mentioned():
    assert stale_sentence(status()) == ""
    assert stale_sentence(status(stale=1)).startswith("1 suggestion rests")


def test_progress_is_told_with_the_time_left():
    assert progress_line(status(seconds_left=8.4)) == "120 of 300 suggestions, about 8 s left"
    assert share(status()) == pytest.approx(0.4)
    assert share(status(done=0, total=0)) == 0.0


def test_once_all_scores_are_there_the_answers_of_a_slow_reasoner_are_counted():
    slow = status(done=300, reasoned=30, seconds_left=200.0)
    assert progress_line(slow) == "30 of 300 answers, about 3 min left"
    assert share(slow) == pytest.approx(0.1)
    assert progress_line(status(done=120, reasoned=30)).startswith("120 of 300 suggestions")


def test_a_new_project_has_no_history_and_opens_without_an_error(empty):
    at = page("runs")
    assert not at.exception
    assert not at.dataframe


def test_every_run_is_listed_newest_first_with_its_configuration(served):
    version = served.store.support_set().version
    start = served.store.start_run
    first = start("an encoder", "evidence", "vote", "{}", version, "1")
    second = start("an encoder", "evidence", "patch", "{}", version, "1")
    rows = run_rows(served, served.store.runs())
    assert [(r["Run"], r["Recipe"]) for r in rows] == [(second, "patch"), (first, "vote")]
    assert rows[0]["Support version"] == version[:12]
    assert rows[0]["Images"] == 0
    at = page("runs")
    assert not at.exception
    assert len(at.dataframe[0].value) == 2
