"""The README's pictures, from a demo that is made, labelled a little and served for this alone: `make screenshots`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

from core.types import Decision, Kind  # noqa: E402
from core.workbench import Workbench  # noqa: E402
from ragvision_app.demo import choose, create_demo, truth  # noqa: E402

PICTURES = ROOT / "docs" / "screenshots"
SIZE = {"width": 1280, "height": 720}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
FEATURED = "cell1668.png"  # its defect is plain to see, and so is what speaks for it
BY_KEY = 8  # images before it that are labelled in the browser, so that the pace has something to show


def main() -> None:
    """Takes all pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "demo"
        create_demo(project)
        prepare(project)
        with served(project) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("RAGVISION_CHROMIUM") or None, args=CHROMIUM_FLAGS
            )
            wait_for_suggestions(address)
            label_page(browser, address)
            for name in ("support", "images"):
                other_page(browser, address, name)
            prompts_and_settings(browser, address)
            browser.close()
    for picture in sorted(PICTURES.glob("*.png")):
        sys.stdout.write(f"{picture.relative_to(ROOT)}  {picture.stat().st_size // 1024} kB\n")


def prepare(project: Path) -> None:
    """Import order and nothing withheld, and what comes before the featured image labelled (with the truth)."""
    workbench = Workbench.open(project, create=False)
    settings = workbench.settings
    labelling = replace(settings.labelling, order="import", withhold_share=0.0)
    workbench.save_settings(replace(settings, labelling=labelling))
    labels, classes = truth(), {c.name: c.id for c in workbench.store.classes()}
    names = choose(labels).queries
    sha256_of = {image.name: image.sha256 for image in workbench.store.images(limit=1000, offset=0)}
    for name in names[: names.index(FEATURED) - BY_KEY]:
        decision = Decision(
            id=str(uuid.uuid4()),
            kind=Kind.CORRECT,
            image=sha256_of[name],
            annotator="ada",
            made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            class_id=classes[labels[name]],
        )
        workbench.decide(decision)
    workbench.close()


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of a server of this project, with every suggestion computed."""
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(project), "--port", "0"]
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "400"}
    )
    try:
        assert server.stdout is not None
        link = next((m for line in server.stdout if (m := re.search(r"(http://\S+)/label", line))), None)
        if link is None:
            raise SystemExit("The server did not start.")
        yield link[1]
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for_suggestions(address: str) -> None:
    """Until the worker has computed all of them."""
    for _ in range(300):
        with urllib.request.urlopen(f"{address}/api/readiness", timeout=10) as answer:
            if json.load(answer)["worker"] == "done":
                return
        time.sleep(1)
    raise SystemExit("The suggestions were not ready after five minutes.")


def label_page(browser: Browser, address: str) -> None:
    """Label in light and dark on the featured image, and the details panel."""
    page = open_page(browser, f"{address}/label?annotator=ada", "light")
    loop, stage = page.locator(".rv-reviewer"), page.locator("[data-item-id]")
    for _ in range(BY_KEY):
        expect(loop).to_have_attribute("data-suggestion", "shown", timeout=60_000)
        shown = stage.get_attribute("data-item-id") or ""
        page.keyboard.press("a")
        expect(stage).not_to_have_attribute("data-item-id", shown)
    expect(page.get_by_text(FEATURED).first).to_be_visible()
    expect(loop).to_have_attribute("data-unsent", "0")
    page.wait_for_timeout(7000)  # the flash of the last key fades, the sidebar's counts follow
    page.screenshot(path=PICTURES / "label.png")
    page.keyboard.press("d")
    chart = page.locator(".st-key-rv_details .js-plotly-plot")
    expect(chart.first).to_be_visible(timeout=30_000)
    page.wait_for_timeout(1000)
    page.add_style_tag(content="header[data-testid=stHeader] { visibility: hidden; }")  # lies over the panel's corner
    page.locator(".st-key-rv_details").screenshot(path=PICTURES / "details.png")
    page.close()

    dark = open_page(browser, f"{address}/label?annotator=ada", "dark")
    expect(dark.locator(".rv-reviewer")).to_have_attribute("data-suggestion", "shown", timeout=60_000)
    dark.wait_for_timeout(1500)
    dark.screenshot(path=PICTURES / "label-dark.png")
    dark.close()


def other_page(browser: Browser, address: str, name: str) -> None:
    """Another page, once its pictures are there."""
    page = open_page(browser, f"{address}/{name}", "light")
    expect(page.locator("img[src*='/api/images/']").first).to_be_visible(timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


def prompts_and_settings(browser: Browser, address: str) -> None:
    """A preset in the editor with its preview, and the health panel beside the choices."""
    page = open_page(browser, f"{address}/prompts", "light")
    page.get_by_role("combobox", name="Start from a version or a preset").click()
    page.get_by_role("option", name="solar cells").click()
    expect(page.locator(".rv-prompt:not(.rv-compare)")).to_contain_text("electroluminescence", timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / "prompts.png")
    page.goto(f"{address}/settings")
    expect(page.get_by_text("Machine and cache")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / "settings.png")
    page.close()


def open_page(browser: Browser, url: str, scheme: str) -> Page:
    """A fresh visitor with this colour scheme."""
    page = browser.new_page(viewport=SIZE, color_scheme=scheme, device_scale_factor=1.5)  # type: ignore[arg-type]
    page.goto(url)
    return page


if __name__ == "__main__":
    main()
