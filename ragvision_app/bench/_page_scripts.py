"""The real script run of every page on two projects in turn.

``python -m ragvision_app.bench._page_scripts TURNS SMALL LARGE`` prints, a page, the milliseconds of each run.
AppTest puts the page in the place of the process's main module, so this is a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from core.errors import RagVisionError
from ragvision_app.projects import ROOT
from ragvision_app.state import PROJECT_VARIABLE

APP = ROOT / "ragvision_app" / "app.py"


def page_names() -> list[str]:
    """Every file in ``pages/``."""
    return sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def opened(project: Path, page: str) -> AppTest:
    """A session that is on the page."""
    os.environ[PROJECT_VARIABLE] = str(project)
    session = AppTest.from_file(str(APP), default_timeout=120)
    session.query_params["annotator"] = "bench"
    session.run()
    session.switch_page(f"../pages/{page}.py")
    return _run(session, page)


def _run(session: AppTest, page: str) -> AppTest:
    session.run()
    if session.exception or session.error:
        shown = [*session.exception, *session.error][0].value
        raise RagVisionError(f"The page {page} failed: {shown}")
    return session


def main(turns: int, projects: list[Path]) -> dict[str, list[list[float]]]:
    """Page → for each project the milliseconds of its runs, after one of warm-up."""
    taken: dict[str, list[list[float]]] = {}
    for page in page_names():
        sessions = [opened(project, page) for project in projects]
        taken[page] = [[] for _ in projects]
        for _ in range(turns):
            for project, session, times in zip(projects, sessions, taken[page], strict=True):
                os.environ[PROJECT_VARIABLE] = str(project)
                began = time.perf_counter()
                _run(session, page)
                times.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])))
