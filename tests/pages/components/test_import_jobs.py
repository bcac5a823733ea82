"""Imports in the background: one at a time, told honestly, ended in every case."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Conflict, ImportFailed
from core.imports import ImportReport
from core.text import duration
from ragvision_app.components.import_jobs import ImportJob, ImportJobs

PROJECT = Path("a-project")


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def finished(job: ImportJob) -> ImportJob:
    eventually(lambda: not job.running)
    return job


def test_progress_and_report_of_an_import_can_be_read_while_and_after_it_runs():
    jobs, go, seen = ImportJobs(), threading.Event(), threading.Event()

    def work(progress):
        progress(3, 10, 1234)
        seen.set()
        assert go.wait(5)
        return ImportReport(total=10)

    job = jobs.start(PROJECT, "cells", work)
    assert seen.wait(5)
    assert (job.running, job.done, job.total, job.share) == (True, 3, 10, 0.3)
    go.set()
    assert finished(job).report == ImportReport(total=10)
    assert job.error == ""
    assert jobs.newest(PROJECT) is job


def test_a_second_import_is_refused_while_the_first_runs_and_welcome_after_it():
    jobs, go = ImportJobs(), threading.Event()
    first = jobs.start(PROJECT, "first", lambda _: go.wait(5) and ImportReport())
    with pytest.raises(Conflict, match="first"):
        jobs.start(PROJECT, "second", lambda _: ImportReport())
    jobs.start(Path("another-project"), "elsewhere", lambda _: ImportReport())
    jobs.dismiss(PROJECT)
    assert jobs.newest(PROJECT) is first  # a running import cannot be dismissed
    go.set()
    finished(first)
    assert finished(jobs.start(PROJECT, "second", lambda _: ImportReport())).error == ""


def test_a_refused_import_ends_with_its_sentence():
    def work(_):
        raise ImportFailed("There are no images in x.")

    assert finished(ImportJobs().start(PROJECT, "x", work)).error == "There are no images in x."


def test_a_defect_in_an_import_never_leaves_it_running_for_ever(monkeypatch):
    logged = []
    monkeypatch.setattr(threading, "excepthook", logged.append)

    def work(_):
        raise KeyError("a defect")

    job = finished(ImportJobs().start(PROJECT, "x", work))
    assert job.report is None
    assert "unexpectedly" in job.error
    eventually(lambda: bool(logged))
    assert logged[0].exc_type is KeyError  # it reaches the log, not only the page


def test_time_left_follows_the_pace_so_far():
    job = ImportJob("x", started=100.0, done=20, total=100)
    assert job.seconds_left(now=110.0) == pytest.approx(40.0)
    assert job.line(now=110.0) == "20 of 100 images, about 40 s left"


def test_time_left_is_not_guessed_from_the_first_few_images():
    assert ImportJob("x", started=100.0, done=4, total=100).seconds_left(now=110.0) is None
    assert ImportJob("x", started=100.0).line(now=110.0) == "Looking for images …"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1 s"), (45, "45 s"), (90, "2 min"), (3000, "50 min"), (7500, "2 h 05 min")]
)
def test_durations_are_as_exact_as_anybody_needs(seconds, text):
    assert duration(seconds) == text
