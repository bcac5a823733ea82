"""A person sets up a support set in a real browser, on the real server: nothing is lost, nothing is run.

Without the embeddings: what the worker makes of the support set is tested where it lives.
"""

from __future__ import annotations

import io
import itertools
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from core.workbench import Workbench
from tests.browser.servers import wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count(1)
SCRIPT_NAME = "<img src=x onerror=document.title='ran'>"


def picture(seed: int) -> bytes:
    """A small image that no other seed gives."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def files(first: int, count: int) -> list[dict[str, object]]:
    """Images as Playwright hands them to a file chooser."""
    return [
        {"name": f"cell{number}.png", "mimeType": "image/png", "buffer": picture(number)}
        for number in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all, since a server takes seconds to start."""
    root = tmp_path_factory.mktemp("support") / "cells"
    Workbench.open(root).close()
    return root


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """The real server on that project."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (project.parent / "server.log").open("w")
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(project), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}/api/ragvision/healthcheck", project.parent / "server.log")
        yield f"http://127.0.0.1:{port}/support"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


@pytest.fixture
def classes(project: Path) -> tuple[str, str]:
    """Two classes of four images each and nothing else: those of earlier tests are archived."""
    workbench = Workbench.open(project)
    for old in workbench.store.classes():
        workbench.store.archive_class(old.id)
    number = next(_numbers)
    names = (f"functional {number}", f"defective {number}")
    for place, name in enumerate(names):
        record = workbench.store.add_class(name)
        chosen = [(f"cell{seed}.png", picture(seed)) for seed in range(100 * place, 100 * place + 4)]
        workbench.add_support_files(chosen, record.id, by="ada")
    workbench.close()
    return names


@pytest.fixture
def board(page: Page, address: str, classes: tuple[str, str]) -> Locator:
    """The support board, drawn."""
    page.goto(address)
    found = page.locator(".rv-gallery[data-ready=true]")
    expect(found).to_be_visible(timeout=30_000)
    return found


def section(board: Locator, name: str) -> Locator:
    return board.get_by_role("region", name=f"Class {name}", exact=True)


def tiles(board: Locator, name: str) -> Locator:
    return section(board, name).locator(".rvg-tile[data-image]")


def confirmed(board: Locator) -> None:
    """Everything that was done here has been stored by the server."""
    expect(board).to_have_attribute("data-unconfirmed", "0", timeout=20_000)


def stored(project: Path) -> dict[str, list[str]]:
    """Class name → names of its examples, as the database has them."""
    workbench = Workbench.open(project, create=False)
    try:
        names = {c.id: c.name for c in workbench.store.classes()}
        found: dict[str, list[str]] = {name: [] for name in names.values()}
        support = workbench.store.support()
        records = workbench.store.images_by_id([s.image for s in support])
        for member in support:
            found[names[member.class_id]].append(records[member.image].name)
        return {name: sorted(images) for name, images in found.items()}
    finally:
        workbench.close()


@pytest.mark.browser
def test_an_image_is_dragged_to_another_class_and_undo_takes_it_back(board, classes, project):
    functional, defective = classes
    before = stored(project)
    tiles(board, functional).first.drag_to(section(board, defective))
    expect(tiles(board, defective)).to_have_count(5)
    confirmed(board)
    assert [len(v) for v in stored(project).values()] == [3, 5]
    board.get_by_role("button", name="Undo").click()
    expect(tiles(board, functional)).to_have_count(4)
    confirmed(board)
    assert stored(project) == before


@pytest.mark.browser
def test_keys_move_and_remove_without_a_mouse_and_none_of_a_quick_series_is_lost(board, classes, project, page):
    functional, defective = classes
    for left in (3, 2, 1):
        tiles(board, functional).first.focus()
        page.keyboard.press("2")
        expect(tiles(board, functional)).to_have_count(left)
    tiles(board, defective).first.focus()
    page.keyboard.press("Delete")
    expect(tiles(board, defective)).to_have_count(6)
    confirmed(board)
    assert [len(v) for v in stored(project).values()] == [1, 6]


@pytest.mark.browser
def test_four_moves_within_one_millisecond_are_all_stored(board, classes, project):
    functional, defective = classes
    section(board, functional).evaluate(
        """node => {
            for (const tile of [...node.querySelectorAll(".rvg-tile")])
                tile.dispatchEvent(new KeyboardEvent("keydown", { key: "2", bubbles: true }));
        }"""
    )
    confirmed(board)
    assert [len(v) for v in stored(project).values()] == [0, 8]
    expect(tiles(board, defective)).to_have_count(8)


@pytest.mark.browser
def test_several_images_are_selected_and_moved_by_button_as_on_a_touch_screen(board, classes, project):
    functional, defective = classes
    tiles(board, functional).nth(0).click()
    tiles(board, functional).nth(2).click()
    bar = board.get_by_role("toolbar", name="Selected images")
    expect(bar).to_contain_text("2 images selected")
    bar.get_by_label("Move to class").select_option(label=f"2  {defective}")
    expect(tiles(board, defective)).to_have_count(6)
    expect(bar).to_be_hidden()
    confirmed(board)
    assert [len(v) for v in stored(project).values()] == [2, 6]


@pytest.mark.browser
def test_a_new_class_takes_dropped_files_and_names_what_it_refuses(board, project, page):
    board.get_by_label("New class name").fill("cracked")
    page.keyboard.press("Enter")
    expect(section(board, "cracked")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        board.get_by_role("button", name="Add images to cracked").click()
    text = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    chooser.value.set_files([*files(300, 30), text])
    expect(tiles(board, "cracked")).to_have_count(30, timeout=20_000)
    confirmed(board)
    expect(board.locator(".rvg-message")).to_contain_text("notes.png")
    expect(board.locator(".rvg-message")).to_contain_text("30 images added to cracked")
    assert len(stored(project)["cracked"]) == 30


@pytest.mark.browser
def test_files_dropped_from_the_desktop_land_in_the_class_under_the_pointer(board, classes, project):
    functional, defective = classes
    section(board, defective).evaluate(
        """async (node, bytes) => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                node.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: files }));
        }""",
        list(picture(400)),
    )
    expect(tiles(board, defective)).to_have_count(5)
    confirmed(board)
    assert "dropped.png" in stored(project)[defective]
    assert "dropped.png" not in stored(project)[functional]


@pytest.mark.browser
def test_a_refused_key_keeps_the_form_open_with_what_was_typed(board, classes, project):
    functional, defective = classes
    board.get_by_role("button", name=f"Edit {functional}").click()
    form = section(board, functional).locator("form")
    form.get_by_label("Name").fill("works")
    form.get_by_label("Key").fill("2")
    form.get_by_role("button", name="Save").click()
    expect(board.locator(".rvg-message")).to_contain_text(defective)
    expect(form.get_by_label("Name")).to_have_value("works")
    assert "works" not in stored(project)
    form.get_by_label("Key").fill("7")
    form.get_by_role("button", name="Save").click()
    expect(section(board, "works").locator("kbd")).to_have_text(re.compile("7"))
    expect(board.locator("form.rvg-fields")).to_have_count(0)
    confirmed(board)
    assert "works" in stored(project)


@pytest.mark.browser
def test_a_class_named_like_a_script_is_text_and_runs_nothing(board, project, page):
    board.get_by_label("New class name").fill(SCRIPT_NAME)
    page.keyboard.press("Enter")
    expect(section(board, SCRIPT_NAME).get_by_role("heading")).to_have_text(SCRIPT_NAME)
    confirmed(board)
    assert page.title() != "ran"
    assert board.locator("img[src=x]").count() == 0


@pytest.mark.browser
def test_an_archived_class_can_be_restored_with_its_images(board, classes, project):
    functional, defective = classes
    board.get_by_role("button", name=f"Edit {defective}").click()
    section(board, defective).get_by_role("button", name="Archive").click()
    expect(section(board, defective)).to_have_count(0)
    confirmed(board)
    assert list(stored(project)) == [functional]
    board.get_by_text(re.compile(r"\d+ archived class")).click()
    board.get_by_role("button", name=f"Restore {defective}").click()
    expect(tiles(board, defective)).to_have_count(4)
    confirmed(board)
    assert [len(v) for v in stored(project).values()] == [4, 4]


@pytest.mark.browser
def test_an_import_goes_on_when_its_page_is_left_and_is_reported_by_name_on_return(page, address, project):
    page.goto(address.replace("/support", "/images"))
    page.locator("input[type=file]").first.set_input_files(
        [*files(500, 40), {"name": "torn.png", "mimeType": "image/png", "buffer": picture(600)[:2000]}]
    )
    page.get_by_role("button", name="Import 41 files").click()
    begun = page.get_by_text("This goes on when you leave the page").or_(page.get_by_text("40 added"))
    expect(begun).to_be_visible(timeout=20_000)  # Streamlit drops a click that it has not yet sent
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.get_by_role("link", name="Images").click()
    expect(page.get_by_text("40 added")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("1 refused")).to_be_visible()
    workbench = Workbench.open(project, create=False)
    try:
        names = {record.name for record in workbench.store.images()}
    finally:
        workbench.close()
    assert {str(f["name"]) for f in files(500, 40)} <= names
    assert "torn.png" not in names


@pytest.mark.browser
def test_names_are_refused_in_words_and_stay_to_be_mended(board, classes, page):
    field, message = board.get_by_label("New class name"), board.locator(".rvg-message")
    board.get_by_role("button", name="Add class").click()
    expect(message).to_contain_text("Type a name")
    emoji = "\U0001f600"
    field.fill(emoji * 201)
    expect(message).to_be_hidden()
    field.press("Enter")
    expect(message).to_contain_text("201 characters; 200 are the most")
    expect(field).to_have_value(emoji * 201)
    field.fill(emoji * 150)
    field.press("Enter")
    confirmed(board)
    expect(section(board, emoji * 150)).to_be_visible()
    expect(message).to_be_hidden()


@pytest.mark.browser
def test_every_refused_file_is_named_and_the_next_success_clears_them(board, classes):
    functional, _ = classes
    adding = section(board, functional).get_by_role("button", name="Add images")
    with board.page.expect_file_chooser() as chosen:
        adding.click()
    broken = [{"name": f"broken{n:02d}.png", "mimeType": "image/png", "buffer": b"no image"} for n in range(12)]
    chosen.value.set_files(broken)
    lines = board.locator(".rvg-lines > div")
    expect(lines).to_have_count(12)
    lines.last.scroll_into_view_if_needed()
    expect(lines.last).to_be_in_viewport()
    with board.page.expect_file_chooser() as chosen:
        adding.click()
    chosen.value.set_files(files(900 + next(_numbers), 1))
    expect(lines).to_have_text([re.compile("1 image added")])
