"""Decisions stored durably by eight processes at once, against one commit at a time through a page."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from core.store import Store
from ragvision_app.bench._projects import scratch, texture
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, exactly
from ragvision_app.bench._servers import run_json
from ragvision_app.bench._synthetic import fill_images
from ragvision_app.projects import ROOT

WHAT = "decisions stored"
WRITERS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the decisions of all writers."""

    per_second: float
    lost: int  # acknowledged, and not in the store
    failures: int
    differences: int  # between the labels and a rebuild from the events


def many_writers(database: Path, each: int) -> Outcome:
    """Processes that all decide at once, each on its own images."""
    with Store.open(database) as store:
        class_id = store.add_class("defect").id
        fill_images(store, WRITERS * each)
    with ExitStack() as stack:
        writers = []
        for number in range(WRITERS):
            arguments = (database, class_id, f"annotator {number}", number * each, each)
            command = [sys.executable, "-m", "ragvision_app.bench._writer", *map(str, arguments)]
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            writers.append(stack.enter_context(process))
            stack.callback(process.kill)
        for writer in writers:
            if writer.stdout is None or writer.stdout.readline().strip() != "ready":
                raise RowFailed("A writing process did not start.")
        for writer in writers:
            if writer.stdin is not None:
                writer.stdin.write("go\n")
                writer.stdin.flush()
        reports = [json.loads(writer.communicate(timeout=300)[0]) for writer in writers]
    spent = max(r["ended"] for r in reports) - min(r["began"] for r in reports)
    acknowledged = {id_ for report in reports for id_ in report["acknowledged"]}
    with closing(sqlite3.connect(database)) as db:
        kept = {row[0] for row in db.execute("SELECT id FROM events")}
    with Store.open(database) as store:
        differences = len(store.check_projection())
    failures = sum(len(report["failures"]) for report in reports)
    return Outcome(len(acknowledged) / spent, len(acknowledged - kept), failures, differences)


def through_a_page(folder: Path, clicks: int) -> float:
    """Decisions a second by clicks on the naive page's button."""
    for seed in range(clicks + 3):
        texture(folder / "images" / f"{seed:04d}.jpg", seed, side=64)
    environment = {"NAIVE_IMAGES": str(folder / "images"), "NAIVE_STORE": str(folder / "naive.db")}
    seconds: list[float] = run_json("ragvision_app.bench._clicks", clicks, environment=environment)["seconds"]
    with closing(sqlite3.connect(folder / "naive.db")) as db:
        stored = db.execute("SELECT count(DISTINCT image) FROM decisions").fetchone()[0]
    if stored != clicks + 1:
        raise RowFailed(f"The naive page stored {stored} of {clicks + 1} decisions.")
    return 1 / statistics.median(seconds)


def measure(scale: Scale) -> Row:
    """Every acknowledged decision has to be there, and the labels equal to a rebuild from the events."""
    each, clicks, n = scale.pick(3, 125), scale.pick(2, 30), scale.pick(1, 3)
    outcomes, page = [], []
    with scratch() as folder:
        for turn in range(n):
            outcomes.append(many_writers(folder / f"{turn}.db", each))
            page.append(through_a_page(folder / f"page{turn}", clicks))
    fast, slow = statistics.median(o.per_second for o in outcomes), statistics.median(page)
    return Row(
        what=f"{WHAT}, each durable before it is acknowledged",
        ours=Figure(f"{WRITERS} writing processes at once, {each} decisions each", fast),
        against=Figure("a Streamlit button with one commit a rerun, without its browser", slow),
        unit="a second",
        ratio=fast / slow,
        n=n,
        checks=(
            exactly("acknowledged and lost", sum(o.lost for o in outcomes), 0),
            exactly("errors", sum(o.failures for o in outcomes), 0),
            exactly("labels that differ from a rebuild", sum(o.differences for o in outcomes), 0),
        ),
        note="Durable against a kill of the process; what a power cut does is up to the disk.",
    )
