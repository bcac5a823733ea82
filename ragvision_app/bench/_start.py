"""A start as a server makes it, in a process of its own: open the project, compute what is missing, say what it took.

``python -m ragvision_app.bench._start PROJECT``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from core.engine import Engine
from core.images import open_stored
from core.project import Project
from core.runs import RunWorker
from core.settings import PipelineSettings
from core.store import Store
from core.workbench import create_engine
from ragvision_app.bench._servers import peak_megabytes

WAIT_SECONDS = 1700


def start(root: Path) -> dict[str, object]:
    """Seconds until every suggestion was there, and how many images went through an encoder."""
    began = time.perf_counter()
    project = Project.open(root)
    engines: list[Engine] = []
    with Store.open(project.labels_db) as store:
        limits = store.settings().images

        def compose(settings: PipelineSettings) -> Engine:
            engines.append(
                create_engine(settings, lambda key: open_stored(project.image_path(key), limits), project=project)
            )
            return engines[-1]

        worker = RunWorker(
            store,
            settings=lambda: store.settings().pipeline,
            compose=compose,
            prepare=lambda image: None,  # previews are the pages' own
            code_version="bench",
        )
        worker.start()
        while worker.status.state not in ("done", "failed") and time.perf_counter() - began < WAIT_SECONDS:
            time.sleep(0.005)
        status, spent = worker.status, time.perf_counter() - began
        worker.stop()
    return {
        "state": status.state,
        "sentence": status.sentence,
        "seconds": spent,
        "encoded": sum(engine.encoded for engine in engines),
        "megabytes": peak_megabytes(),
    }


if __name__ == "__main__":
    print(json.dumps(start(Path(sys.argv[1]))))
