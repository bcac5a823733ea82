"""From a key press to the next image, in a real browser: the Label page against a Streamlit button with a rerun."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from core.store import Store
from ragvision_app.bench._chromium import chromium, new_page
from ragvision_app.bench._projects import demo_project, scratch
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least, exactly
from ragvision_app.bench._servers import streamlit_server, workbench_server

if TYPE_CHECKING:
    from playwright.sync_api import Page

WHAT = "key to next image"
ANNOTATOR = "bench"
OURS_IMAGE = ".rv-reviewer .rv-stage img"
NAIVE_IMAGE = "[data-testid=stImage] img"

# The same clock on both pages: from the keydown event until another image stands in the page with its pixels
# loaded, and further until the next frame is about to be painted.
CLOCK = """
(selector) => {
  const find = () => document.querySelector(selector);
  const bench = window.__bench = {done: [], since: null, before: null};
  const whole = (img) => img && img.src !== bench.before && img.complete && img.naturalWidth > 0;
  const look = () => {
    if (bench.since === null) return;
    const img = find();
    if (!img || img.src === bench.before) return;
    if (!img.complete) { img.addEventListener('load', look, {once: true}); return; }
    if (!whole(img)) return;
    const since = bench.since, there = performance.now();
    bench.since = null;
    requestAnimationFrame(() => bench.done.push([there - since, performance.now() - since]));
  };
  window.addEventListener('keydown', () => {
    bench.before = find()?.src ?? null;
    bench.since = performance.now();
  }, true);
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true,
                                                     attributeFilter: ['src']});
}
"""


class Keys:
    """A page on which a key shows the next image, and what each press took."""

    def __init__(self, page: Page, selector: str, key: str) -> None:
        self.page, self._key = page, key
        page.evaluate(CLOCK, selector)

    def press(self) -> None:
        """One key; returns when the next image is on screen."""
        before = self.page.evaluate("window.__bench.done.length")
        self.page.keyboard.press(self._key)
        self.page.wait_for_function("n => window.__bench.done.length > n", arg=before)

    def times(self) -> list[tuple[float, float]]:
        """(in the page, at the next frame) of every press, milliseconds; the first is warm-up."""
        return [tuple(pair) for pair in self.page.evaluate("window.__bench.done")][1:]


def open_label(page: Page, url: str) -> None:
    """The Label page with its next items preloaded."""
    page.goto(f"{url}/label?annotator={ANNOTATOR}")
    page.wait_for_selector(".rv-reviewer[data-state=ready]")
    _preloaded(page, 5)


def _preloaded(page: Page, images: int) -> None:
    page.wait_for_function(
        "n => Number(document.querySelector('.rv-reviewer').dataset.decoded) >= n", arg=images, timeout=60_000
    )


def burst(page: Page, presses: int) -> int:
    """Keys 50 ms apart; returns how many were refused, visibly, because the next image was not there yet."""
    refused = _count(page, "refused")
    began = time.perf_counter()
    for number in range(presses):
        page.keyboard.press("1")
        time.sleep(max(0.0, began + 0.05 * (number + 1) - time.perf_counter()))
    page.wait_for_selector(".rv-reviewer[data-unsent='0']", timeout=120_000)
    return _count(page, "refused") - refused


def _count(page: Page, name: str) -> int:
    return int(page.locator(".rv-reviewer").get_attribute(f"data-{name}") or "0")


def stored_decisions(database: Path) -> tuple[int, int]:
    """Decisions, and distinct images among them."""
    with closing(sqlite3.connect(database)) as db:
        row = db.execute("SELECT count(*), count(DISTINCT image) FROM events WHERE kind <> 'undo'").fetchone()
    return row[0], row[1]


def copy_originals(project: Path, folder: Path) -> Path:
    """The same image files for the naive page, in order of import."""
    folder.mkdir()
    with Store.open(project / "labels.db") as store:
        for number, sha256 in enumerate(store.query_images()):
            shutil.copy(project / "images" / sha256[:2] / sha256, folder / f"{number:04d}.png")
    return folder


def measure(scale: Scale) -> Row:
    """Presses in turn on both pages, each when the last one is done; then a burst on ours, checked in the store."""
    presses, in_burst = scale.pick(2, 30), scale.pick(4, 200)
    with scratch() as folder:
        project, images = demo_project(folder / "project", scale)
        copies = copy_originals(project, folder / "images")
        variables = {"NAIVE_IMAGES": str(copies), "NAIVE_STORE": str(folder / "naive.db")}
        script = Path(__file__).with_name("_naive_page.py")
        with (
            workbench_server(project) as ours,
            streamlit_server("run", script, environment=variables) as naive,
            chromium() as browser,
        ):
            ours.wait_until_listening()
            naive.wait_until_listening()
            ours.wait_until_predicted()
            label, other = new_page(browser), new_page(browser)
            open_label(label, ours.url)
            other.goto(naive.url)
            other.wait_for_selector(NAIVE_IMAGE)
            sides = Keys(label, OURS_IMAGE, "1"), Keys(other, NAIVE_IMAGE, "a")
            for _ in range(presses + 1):
                for side in sides:
                    side.press()
                    side.page.wait_for_timeout(150)  # as a person looks; both pages come to rest
            fast, slow = (side.times() for side in sides)
            own_clock = label.evaluate("window.__rvLatency ?? []")
            _preloaded(label, min(20, in_burst))  # what is always held ahead
            before, _ = stored_decisions(project / "labels.db")
            label.wait_for_selector(".rv-reviewer[data-unsent='0']")
            refused = burst(label, in_burst)
            after, distinct = stored_decisions(project / "labels.db")
    if before != presses + 1:
        raise RowFailed(f"{presses + 1} single keys were pressed and {before} decisions stored.")
    ours_ms, naive_ms = (statistics.median(t[0] for t in times) for times in (fast, slow))
    ours_frame, naive_frame = (statistics.median(t[1] for t in times) for times in (fast, slow))
    return Row(
        what=f"{WHAT}, {images}",
        ours=Figure("the Label page", ours_ms),
        against=Figure("st.image and st.button(shortcut=…) with one commit a rerun, the same images", naive_ms),
        ratio=naive_ms / ours_ms,
        n=presses,
        checks=(
            at_least("faster", naive_ms / ours_ms, 20, "×"),
            exactly(f"lost of {in_burst} keys 50 ms apart", in_burst - refused - (after - before), 0),
            exactly("decided twice", after - distinct, 0),
        ),
        facts={
            "stored of the keys 50 ms apart": after - before,
            "visibly refused of them": refused,
            "at the next frame, ours, ms": ours_frame,
            "at the next frame, the button, ms": naive_frame,
            "at the next frame, times faster": naive_frame / ours_frame,
            "by the page's own clock, ms": statistics.median(own_clock) if own_clock else "none",
        },
        note="Until the image stands in the page with its pixels loaded. A screen shows it at its next frame, on both "
        "sides; a headless browser's frames don't wait for a screen.",
    )
