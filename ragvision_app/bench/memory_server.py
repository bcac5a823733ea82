"""Peak memory of the server with the demo: every page opened, keys pressed, all suggestions computed."""

from __future__ import annotations

from ragvision_app.bench._chromium import chromium, new_page
from ragvision_app.bench._projects import demo_project, scratch
from ragvision_app.bench._row import Figure, Row, Scale, at_most
from ragvision_app.bench._servers import workbench_server
from ragvision_app.bench.first_page import ELEMENT
from ragvision_app.bench.key_to_image import burst, open_label

WHAT = "peak memory of the server"
LIMIT = 1500  # MB
PAGES = ("support", "images", "runs", "export")


def measure(scale: Scale) -> Row:
    """Resident memory as the kernel counts it, at its highest."""
    keys = scale.pick(2, 60)
    with scratch() as folder, chromium() as browser:
        project, images = demo_project(folder / "project", scale)
        with workbench_server(project) as server:
            server.wait_until_listening()
            server.wait_until_predicted()
            computed = server.peak_megabytes()
            page = new_page(browser)
            open_label(page, server.url)
            burst(page, keys)
            for name in PAGES:
                page.goto(f"{server.url}/{name}")
                page.locator(ELEMENT).locator("visible=true").first.wait_for()
                page.wait_for_timeout(1000)
            peak = server.peak_megabytes()
    return Row(
        what=f"{WHAT}, {images}",
        ours=Figure("suggestions computed, every page opened", peak),
        unit="MB",
        n=1,
        checks=(at_most("peak", peak, LIMIT, "MB"),),
        facts={"before the first page, MB": computed, "keys pressed": keys},
    )
