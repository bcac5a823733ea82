"""From process start to the first element on the first page, against ``streamlit hello``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ragvision_app.bench._chromium import chromium, new_page
from ragvision_app.bench._projects import demo_project, scratch
from ragvision_app.bench._row import Figure, Row, Scale, at_most
from ragvision_app.bench._servers import Server, streamlit_server, workbench_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WHAT = "first page after start"
# the first thing that a script put on its page
ELEMENT = "[data-testid=stMainBlockContainer] [data-testid=stElementContainer]:not(:has(style:only-child))"


def time_to_page(
    start: Callable[[], AbstractContextManager[Server]], browser: Browser, path: str, selector: str
) -> float:
    """Milliseconds from before the process starts until something of the page's script is visible."""
    page = new_page(browser)
    try:
        began = time.perf_counter()
        with start() as server:
            server.wait_until_listening()
            page.goto(server.url + path, wait_until="commit")
            page.locator(selector).locator("visible=true").first.wait_for()
            return (time.perf_counter() - began) * 1000
    finally:
        page.context.close()


def measure(scale: Scale) -> Row:
    """Starts in turn, each in a new process and a new browser profile; the first of each is warm-up."""
    n = scale.pick(1, 5)
    with scratch() as folder, chromium() as browser:
        project, images = demo_project(folder / "project", scale)
        if scale is not Scale.TINY:
            with workbench_server(project) as server:
                server.wait_until_listening()
                server.wait_until_predicted()  # a start as it is on every day but the first
        taken: dict[str, list[float]] = {"ours": [], "label": [], "hello": []}
        for turn in range(n + (scale is not Scale.TINY)):
            for name, start, path, selector in (
                ("ours", lambda: workbench_server(project), "/", ELEMENT),
                ("hello", lambda: streamlit_server("hello"), "/", ELEMENT),
                ("label", lambda: workbench_server(project), "/label?annotator=bench", ".rv-reviewer .rv-stage img"),
            ):
                spent = time_to_page(start, browser, path, selector)
                if turn or scale is Scale.TINY:
                    taken[name].append(spent)
    ours, hello = statistics.median(taken["ours"]), statistics.median(taken["hello"])
    return Row(
        what=f"{WHAT}, {images}",
        ours=Figure("run, until the first element of its page is visible in Chromium", ours),
        against=Figure("streamlit hello, the same", hello),
        ratio=ours / hello,
        n=n,
        checks=(at_most("its time", ours / hello, 1.5, "×"),),
        facts={"until the first image to label is on screen, ms": statistics.median(taken["label"])},
    )
