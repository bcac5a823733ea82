"""Prompts and Settings in a real browser, on the real server with a tiny vision-language model of random weights."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.imports import sources_for
from core.workbench import Workbench
from tests.browser.servers import wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "core"))
sys.path.insert(0, str(ROOT / "tests" / "core" / "reasoners"))
pytestmark = pytest.mark.browser
SLOW = 90_000  # milliseconds: a model is loaded


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with two examples each, four images, and the tiny model as the reasoner."""
    from pictures import write_folder
    from tiny_qwen2_vl import save_tiny

    folder = tmp_path_factory.mktemp("prompts")
    model = save_tiny(folder / "tiny-qwen2-vl")
    workbench = Workbench.open(folder / "cells")
    workbench.import_support(write_folder(folder / "examples", 2, by_class=True), by="ada")
    workbench.import_images(sources_for([write_folder(folder / "queries", 2, first=100)]))
    settings = workbench.settings
    pipeline = replace(
        settings.pipeline,
        reasoner="qwen2-vl",
        reasoner_model=str(model),
        max_new_tokens=4,
        max_visual_tokens=96,
        max_patches_per_class=1,
    )
    labelling = replace(settings.labelling, withhold_share=0.0, order="import")
    workbench.save_settings(replace(settings, pipeline=pipeline, labelling=labelling))
    workbench.close()
    return folder / "cells"


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """The real server; no hub is asked, and its cache is empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = project.parent / "server.log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(project.parent / "hub")}
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(project), "--port", str(port)]
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}/api/ragvision/healthcheck", log)
            wait_for_answers(f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for_answers(address: str, log: Path) -> None:
    """Until the model was loaded and has answered on every image: that takes as long as the machine is busy."""
    state = ""
    for _ in range(1200):
        with urllib.request.urlopen(f"{address}/api/readiness", timeout=30) as answer:
            state = json.load(answer)["worker"]
        if state == "done":
            return
        time.sleep(0.25)
    raise AssertionError(f"the worker is {state}:\n{log.read_text()}")


def test_an_edited_prompt_is_previewed_tried_put_in_force_and_named_by_predictions(
    page: Page, address: str, project: Path
) -> None:
    page.goto(f"{address}/prompts")
    expect(page.get_by_text("in force, as built-in")).to_be_visible(timeout=SLOW)
    preview = page.locator(".rv-prompt:not(.rv-compare)")
    expect(preview.locator("img").first).to_be_visible(timeout=SLOW)
    expect(page.get_by_text(re.compile(r"^\d+ tokens"))).to_be_visible(timeout=SLOW)  # counted, not estimated

    # another preset is another preview, and nothing is in force yet
    page.get_by_role("combobox", name="Start from a version or a preset").click()
    page.get_by_role("option", name="vehicle clean/dirty").click()
    expect(preview).to_contain_text("vehicle cleanliness inspector", timeout=SLOW)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as vehicle clean/dirty v1.")).to_be_visible(timeout=SLOW)

    # an edit is the next number under the name
    user = page.get_by_role("textbox", name="User prompt")
    user.fill("Clean or dirty? There are {{class_count}}: {{classes}}.")
    user.blur()
    expect(preview).to_contain_text("Clean or dirty? There are 2: “", timeout=SLOW)
    expect(page.get_by_text("These words are not saved yet.")).to_be_visible(timeout=SLOW)
    workbench = Workbench.open(project)
    assert workbench.settings.pipeline.user_prompt == ""

    # tried on one image: the model is really asked, and nothing is stored
    page.get_by_role("tab", name="Try-out").click()
    page.get_by_role("button", name="Try on this image").click()
    expect(page.get_by_text("Probabilities of the model")).to_be_visible(timeout=SLOW)
    page.get_by_text("Transcript", exact=True).click()
    expect(page.get_by_text(re.compile("Option letters:"))).to_be_visible(timeout=SLOW)
    assert [r.title for r in workbench.store.prompts()] == ["vehicle clean/dirty v1"]

    page.get_by_role("button", name="Use for the project").click()
    expect(page.get_by_text("In force: vehicle clean/dirty v2.")).to_be_visible(timeout=SLOW)
    saved = workbench.store.prompts()[0]
    workbench.close()
    assert saved.title == "vehicle clean/dirty v2" and saved.author

    page.goto(f"{address}/label?annotator=ada")
    expect(page.locator("[data-part=reasoner]")).to_contain_text("prompt vehicle clean/dirty v2", timeout=SLOW)


def test_an_encoder_without_weights_is_a_sentence_and_a_command_and_labelling_goes_on(page: Page, address: str) -> None:
    page.goto(f"{address}/settings")
    expect(page.get_by_text("Nothing is changed.")).to_be_visible(timeout=SLOW)
    page.get_by_role("combobox", name="Encoder").click()
    page.get_by_role("option", name="clip").click()
    command = page.get_by_text(re.compile(r"hf download openai/clip-vit-base-patch32"))
    expect(command.first).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("Labelling goes on with the default encoder")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("stood in for by efficientnet-lite0")).to_be_visible(timeout=SLOW)
    expect(command.first).to_be_visible(timeout=SLOW)

    page.goto(f"{address}/label?annotator=bob")
    loop, stage = page.locator(".rv-reviewer"), page.locator("[data-item-id]")
    expect(loop).to_have_attribute("data-suggestion", "shown", timeout=SLOW)
    first = stage.get_attribute("data-item-id") or ""
    page.keyboard.press("1")
    expect(stage).not_to_have_attribute("data-item-id", first)
    expect(loop).to_have_attribute("data-unsent", "0")


def test_a_change_moves_no_field_and_applying_it_leaves_the_tab_open(page: Page, address: str) -> None:
    page.goto(f"{address}/settings")
    tab = page.get_by_role("tab", name="Labelling")
    tab.click()
    field = page.get_by_role("spinbutton", name="Images held ready")
    expect(field).to_be_visible(timeout=SLOW)
    before = field.bounding_box()
    field.fill("31")
    field.blur()
    expect(page.get_by_text("Images held ready: 30 → 31")).to_be_visible(timeout=SLOW)
    assert field.bounding_box() == before
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Applied.")).to_be_visible(timeout=SLOW)
    expect(tab).to_have_attribute("aria-selected", "true")
    annotators = page.get_by_role("spinbutton", name="Annotators an image")
    annotators.fill("2")
    annotators.blur()
    expect(page.get_by_text("Annotators an image: 1 → 2")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("Applied.")).to_have_count(0)  # it came, and it goes, without a tab that closes
    expect(tab).to_have_attribute("aria-selected", "true")
    assert annotators.is_visible()


def test_a_size_that_cannot_be_is_refused_beside_its_field(page: Page, address: str) -> None:
    page.goto(f"{address}/settings")
    side = page.get_by_role("spinbutton", name="Query side, pixels")
    expect(side).to_be_visible(timeout=SLOW)
    side.fill("200")
    side.blur()
    expect(page.get_by_text("does not divide input_resolution 200")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Apply")).to_be_disabled(timeout=SLOW)
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("Nothing is changed.")).to_be_visible(timeout=SLOW)
    expect(side).to_have_value("224", timeout=SLOW)
