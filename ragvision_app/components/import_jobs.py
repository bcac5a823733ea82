"""Imports that go on when the page is left: one thread an import, one import at a time a project.

Pages read :class:`ImportJob` to draw progress; nothing here knows of Streamlit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Conflict, RagVisionError
from core.text import duration

if TYPE_CHECKING:
    from core.imports import ImportReport

log = logging.getLogger("ragvision.import")

Progress = Callable[..., None]
Work = Callable[[Progress], "ImportReport"]


@dataclass(slots=True)
class ImportJob:
    """One import: what it does, how far it is, and what came of it."""

    title: str
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    error: str = ""

    @property
    def running(self) -> bool:
        """False once it ended, well or not."""
        return self.finished is None

    @property
    def share(self) -> float:
        """0 … 1, for a progress bar."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def seconds_left(self, now: float | None = None) -> float | None:
        """From the pace so far; None where it cannot be told yet."""
        if not self.running or not self.total or self.done < 5:
            return None
        elapsed = (time.monotonic() if now is None else now) - self.started
        return elapsed / self.done * max(0, self.total - self.done)

    def line(self, now: float | None = None) -> str:
        """``1,200 of 10,000 images, about 2 min left``"""
        if not self.total:
            return "Looking for images …"
        left = self.seconds_left(now)
        text = f"{self.done:,} of {self.total:,} images"
        return text if left is None else f"{text}, about {duration(left)} left"


class ImportJobs:
    """The newest import of each project of this process."""

    def __init__(self) -> None:
        self._jobs: dict[Path, ImportJob] = {}
        self._lock = threading.Lock()

    def newest(self, project: Path) -> ImportJob | None:
        """The one that runs, or the last that ran; None before the first."""
        with self._lock:
            return self._jobs.get(project)

    def dismiss(self, project: Path) -> None:
        """Forgets a finished one; a running one stays."""
        with self._lock:
            job = self._jobs.get(project)
            if job is not None and not job.running:
                del self._jobs[project]

    def start(self, project: Path, title: str, work: Work) -> ImportJob:
        """Runs ``work`` in a thread of its own; Conflict while another import of the project runs."""
        with self._lock:
            there = self._jobs.get(project)
            if there is not None and there.running:
                raise Conflict(f"An import is running already ({there.title}). Wait until it is done.")
            job = self._jobs[project] = ImportJob(title)
        threading.Thread(target=self._run, args=(job, work), name="import", daemon=True).start()
        return job

    @staticmethod
    def _run(job: ImportJob, work: Work) -> None:
        def progress(done: int, total: int, *_: object) -> None:
            job.done, job.total = done, total

        try:
            job.report = work(progress)
        except RagVisionError as error:
            job.error = str(error)
        except OSError as error:
            log.exception("import failed")
            job.error = f"The import stopped: {error.strerror or error}. What was imported so far is kept."
        finally:
            if job.report is None and not job.error:  # a defect of ours: the thread's traceback is in the log
                job.error = (
                    "The import stopped unexpectedly. What was imported so far is kept; the log has the details."
                )
            job.finished = time.monotonic()


JOBS = ImportJobs()
