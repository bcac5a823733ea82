"""The second start with the same images: nothing is encoded again."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from ragvision_app.bench._projects import scratch, textured_project
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, exactly
from ragvision_app.bench._servers import run_json

WHAT = "second start with the same images"


def timed_start(project: Path) -> dict[str, Any]:
    """One start in a new process; ``all`` is the time with the interpreter's own start."""
    began = time.perf_counter()
    result = run_json("ragvision_app.bench._start", project)
    if result["state"] != "done":
        raise RowFailed(f"The start did not come to its end: {result['sentence']}")
    return {**result, "all": time.perf_counter() - began}


def measure(scale: Scale) -> Row:
    """From process start until every suggestion is there: first on an empty cache, then again."""
    images, n = scale.pick(6, 100), scale.pick(1, 3)
    with scratch() as folder:
        project = textured_project(folder / "project", images, per_class=2 if scale is Scale.TINY else 10)
        kept = shutil.copytree(project, folder / "kept")
        first, second = [], []
        for _ in range(n):
            shutil.rmtree(project)
            shutil.copytree(kept, project)
            first.append(timed_start(project))
            second.append(timed_start(project))
    slow, fast = (statistics.median(r["all"] for r in results) for results in (first, second))
    again = max(r["encoded"] for r in second)
    return Row(
        what=f"{WHAT}, {images} images",
        ours=Figure("the second start, until every suggestion is there", fast * 1000),
        against=Figure("the first start", slow * 1000),
        ratio=slow / fast,
        n=n,
        checks=(exactly("images encoded again", again, 0),),
        facts={"images encoded at the first start": first[0]["encoded"]},
    )
