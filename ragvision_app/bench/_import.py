"""Import and predict a folder in one process, as the server would, and say what it took.

``python -m ragvision_app.bench._import PROJECT SUPPORT IMAGES``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from core.imports.folder import folder_source
from core.workbench import Workbench
from ragvision_app.bench._servers import peak_megabytes

WAIT_SECONDS = 3000


def import_and_predict(root: Path, support: Path, images: Path) -> dict[str, object]:
    """Seconds and peak memory of both steps."""
    workbench = Workbench.open(root)
    began = time.perf_counter()
    workbench.import_support(support, by="bench")
    report = workbench.import_images([folder_source(images)])
    imported, after_import = time.perf_counter() - began, peak_megabytes()
    began = time.perf_counter()
    workbench.start_worker()
    while workbench.run_status().state not in ("done", "failed") and time.perf_counter() - began < WAIT_SECONDS:
        time.sleep(0.05)
    status, predicted = workbench.run_status(), time.perf_counter() - began
    run = workbench.store.current_run()
    count = 0 if run is None else workbench.store.count_predictions(run.id)
    workbench.close()
    return {
        "state": status.state,
        "sentence": status.sentence,
        "added": len(report.added),
        "predictions": count,
        "import_seconds": imported,
        "predict_seconds": predicted,
        "megabytes_after_import": after_import,
        "megabytes": peak_megabytes(),
    }


if __name__ == "__main__":
    print(json.dumps(import_and_predict(*map(Path, sys.argv[1:4]))))
