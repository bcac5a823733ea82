"""The hot loop's script in a real browser, against a server whose bad days can be chosen."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from tests.browser.fake_api import Fake, create, sha

pytestmark = pytest.mark.browser


class Site:
    """A fake server on its port, and what the tests ask of the page."""

    def __init__(self, fake: Fake, url: str) -> None:
        self.fake, self.url = fake, url

    def open(self, page: Page, annotator: str = "ada") -> None:
        page.goto(f"{self.url}/?annotator={annotator}")

    def ready(self, page: Page, ahead: int = 12) -> None:
        """The image is on screen and the next ones are decoded."""
        expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "ready", timeout=15_000)
        page.wait_for_function(
            "n => Number(document.querySelector('.rv-reviewer').dataset.decoded) >= n", arg=ahead, timeout=20_000
        )

    def sent(self, page: Page) -> None:
        expect(page.locator(".rv-reviewer")).to_have_attribute("data-unsent", "0", timeout=15_000)

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.fake.events]


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**settings: Any) -> Site:
        fake = Fake(**settings)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create(fake), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return Site(fake, f"http://127.0.0.1:{port}")

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(timeout=10)


def number_on_screen(page: Page) -> int:
    return int(page.locator("[data-item-id]").get_attribute("data-item-id") or "-1", 16)


def expect_on_screen(page: Page, number: int) -> None:
    expect(page.locator("[data-item-id]")).to_have_attribute("data-item-id", sha(number))


# --------------------------------------------------------------------------- keys
def test_a_key_labels_the_image_on_screen_and_shows_the_next(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    expect_on_screen(page, 0)
    flag = site.fake.item(0)["suggestion"]["flag"]
    page.keyboard.press("a")
    expect_on_screen(page, 1)
    page.keyboard.press(str(3 - site.fake.item(1)["suggestion"]["flag"]))
    expect_on_screen(page, 2)
    page.keyboard.press("s")
    expect_on_screen(page, 3)
    page.keyboard.press("u")
    expect_on_screen(page, 4)
    site.sent(page)
    first, second, third, fourth = site.fake.events
    assert (first["kind"], first["image"], first["class_id"], first["suggestion_shown"]) == (
        "accept",
        sha(0),
        flag,
        True,
    )
    assert (second["kind"], second["image"], second["expected_version"]) == ("correct", sha(1), 0)
    assert (third["kind"], fourth["kind"], third["class_id"]) == ("skip", "unsure", None)
    assert all(e["attention_ms"] >= 0 and e["lease_token"] is not None for e in site.fake.events)


@pytest.mark.parametrize("key", ["Enter", " ", "a", "A"])
def test_every_accept_key_accepts_once(page: Page, serve: Callable[..., Site], key: str) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press(key)
    expect_on_screen(page, 1)
    site.sent(page)
    assert site.kinds == ["accept"]


def test_the_key_of_the_suggested_class_accepts_it_and_never_clears_it(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    flag = site.fake.item(0)["suggestion"]["flag"]
    page.keyboard.press(str(flag))
    site.sent(page)
    assert [(e["kind"], e["class_id"]) for e in site.fake.events] == [("accept", flag)]


def test_twenty_classes_have_keys_beyond_nine_and_names_stay_text(page: Page, serve: Callable[..., Site]) -> None:
    evil = "<img src=x onerror=alert(1)>"
    site = serve(classes=20, name_of=lambda i: evil if i == 0 else "x" * 200 if i == 1 else f"kind {i + 1}")
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    site.open(page)
    site.ready(page)
    expect(page.locator(".rv-class").nth(0)).to_contain_text(evil)
    page.keyboard.press("0")
    expect_on_screen(page, 1)
    page.keyboard.press("f")  # the eleventh: letters follow, the reserved ones left out
    expect_on_screen(page, 2)
    site.sent(page)
    assert [e["class_id"] for e in site.fake.events] == [10, 11]
    assert alerts == []
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_keys_20_ms_apart_are_each_stored_or_visibly_refused(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=400, image_delay=0.25)  # images come slower than the keys, also on a busy machine
    site.open(page)
    site.ready(page)
    pressed = page.evaluate(
        """async () => {
          const shown = [];
          for (let i = 0; i < 150; i++) {
            shown.push(document.querySelector('[data-item-id]')?.dataset.itemId ?? null);
            document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true, cancelable: true}));
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
          return shown;
        }"""
    )
    site.sent(page)
    refused = int(page.locator(".rv-reviewer").get_attribute("data-refused") or "0")
    assert refused > 0  # the server was too slow on purpose
    assert len(site.fake.events) + refused == len(pressed)
    images = [e["image"] for e in site.fake.events]
    assert len(set(images)) == len(images)
    assert set(images) <= set(pressed)  # only what had been on screen


def test_a_held_key_labels_one_image(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.down("a")
    for _ in range(10):
        page.keyboard.down("a")  # the browser marks these as repeats
    page.keyboard.up("a")
    site.sent(page)
    assert site.kinds == ["accept"]
    expect(page.locator(".rv-toast")).to_contain_text("Key held down")


def test_a_key_before_the_image_is_on_screen_is_refused_and_not_kept(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(image_delay=0.8)
    site.open(page)
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "waiting")
    page.keyboard.press("1")
    expect(page.locator(".rv-toast")).to_contain_text("Not yet")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-refused", "1")
    site.ready(page, ahead=1)
    expect_on_screen(page, 0)
    assert site.fake.events == []


def test_streamlits_own_keys_and_modifiers_do_nothing(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    for key in ("r", "c", "Control+a", "Alt+1", "x"):
        page.keyboard.press(key)
    page.keyboard.press("u")
    site.sent(page)
    assert site.kinds == ["unsure"]


def test_enter_on_a_button_reached_by_tab_does_that_button_once(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.get_by_role("button", name="Skip").focus()
    page.keyboard.press("Enter")
    expect_on_screen(page, 1)
    page.keyboard.press("Space")
    expect_on_screen(page, 2)
    page.keyboard.press("1")  # class keys work wherever the focus is
    expect_on_screen(page, 3)
    site.sent(page)
    assert [k if k == "skip" else "label" for k in site.kinds] == ["skip", "skip", "label"]


def test_a_click_leaves_the_keys_where_they_were(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.get_by_role("button", name="Unsure").click()
    expect_on_screen(page, 1)
    page.keyboard.press("Enter")
    expect_on_screen(page, 2)
    site.sent(page)
    assert site.kinds == ["unsure", "accept"]


# --------------------------------------------------------------------------- suggestions
@pytest.mark.parametrize("state", ["withheld", "pending", "none", "failed"])
def test_accept_without_a_suggestion_is_refused_and_class_keys_work(
    page: Page, serve: Callable[..., Site], state: str
) -> None:
    site = serve(state_of=lambda i: state)
    site.open(page)
    site.ready(page)
    expect(page.get_by_role("button", name="Nothing to accept")).to_be_disabled()
    page.keyboard.press("Enter")
    expect(page.locator(".rv-toast")).to_contain_text("press a class key")
    expect_on_screen(page, 0)
    page.keyboard.press("2")
    expect_on_screen(page, 1)
    site.sent(page)
    assert [(e["kind"], e["suggestion_shown"], e["suggested_class"]) for e in site.fake.events] == [
        ("correct", False, None)
    ]
    expect(page.locator(".rv-heat, .rv-card, .rv-box")).to_have_count(0)


def test_a_suggestion_that_arrives_shows_a_cue_and_cannot_be_accepted_by_accident(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(state_of=lambda i: "pending", run_state="computing")
    site.open(page)
    site.ready(page)
    page.evaluate(
        """() => new MutationObserver(() => {
          if (window.__early || document.querySelector('.rv-reviewer').dataset.suggestion !== 'shown') return;
          window.__early = true;
          document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
        }).observe(document.querySelector('.rv-reviewer'), {attributes: true, subtree: true, childList: true})"""
    )
    site.fake.state_of = lambda i: "shown"
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-suggestion", "shown", timeout=10_000)
    expect(page.locator(".rv-flag")).to_have_class(re.compile("rv-arrived"))
    expect(page.locator(".rv-toast")).to_contain_text("look first")
    assert site.fake.events == []
    page.wait_for_timeout(600)
    page.keyboard.press("Enter")
    site.sent(page)
    assert site.kinds == ["accept"]


VLM = "qwen2-vl Qwen2-VL-2B-Instruct-0123456789ab \u00b7 cpu \u00b7 float32"


def test_a_slow_reasoners_words_come_in_while_it_writes_and_its_answer_takes_their_place(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(reasoner=VLM, drafts=("A dark", "A dark line crosses"))
    site.open(page)
    site.ready(page)
    explanation, reasoner = page.locator("[data-part=explanation]"), page.locator("[data-part=reasoner]")
    expect(reasoner).to_contain_text("by the scores \u00b7 Qwen2-VL-2B-Instruct still looking")
    expect(explanation).to_contain_text("Qwen2-VL-2B-Instruct A dark line crosses")
    flag = page.locator("[data-part=flag-name]").text_content()
    site.fake.answered |= set(range(40))
    expect(explanation).to_have_text("A dark line crosses the cell, as in E2.")
    expect(reasoner).to_contain_text("by Qwen2-VL-2B-Instruct 0.83 \u00b7")
    expect(page.locator("[data-part=flag-name]")).to_have_text(flag or "")
    page.keyboard.press("a")
    site.sent(page)
    assert site.fake.events[0]["prediction_id"] == 1000


@pytest.mark.parametrize(
    ("done", "words"), [(120, "suggestions 120 of 300 \u00b7 40 seconds"), (300, "answers 7 of 300")]
)
def test_the_status_line_counts_suggestions_and_then_the_answers_of_a_slow_reasoner(
    page: Page, serve: Callable[..., Site], done: int, words: str
) -> None:
    site = serve(reasoner=VLM, run_state="computing", run_done=done, run_reasoned=7)
    site.open(page)
    site.ready(page)
    expect(page.locator("[data-part=run]")).to_have_text(words)


def test_a_reasoner_that_disagrees_never_changes_what_the_accept_key_does(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(reasoner=VLM, against_the_scores=True)
    site.open(page)
    site.ready(page)
    flag = page.locator("[data-part=flag-name]").text_content()
    site.fake.answered.add(0)
    expect(page.locator(".rv-reasoner-second b")).to_contain_text("Qwen2-VL-2B-Instruct says")
    expect(page.locator("[data-part=flag-name]")).to_have_text(flag or "")
    page.keyboard.press("a")
    site.sent(page)
    first = site.fake.events[0]
    assert (first["kind"], first["prediction_id"]) == ("accept", 0)  # the one that was on the screen
    assert first["class_id"] == first["suggested_class"]


def test_an_image_that_comes_with_the_reasoners_flag_shows_what_the_scores_say(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(reasoner=VLM, against_the_scores=True, answered=set(range(300)))
    site.open(page)
    site.ready(page)
    expect(page.locator(".rv-class.rv-suggested .rv-tag")).to_have_text("suggested")
    expect(page.locator(".rv-class:not(.rv-suggested) .rv-tag")).to_have_text("by the scores")
    said = page.locator(".rv-class:not(.rv-suggested) .rv-clip").text_content()
    expect(page.locator("[data-part=reasoner]")).to_contain_text(
        f"by Qwen2-VL-2B-Instruct 0.83 \u00b7 the scores say {said}"
    )


def test_no_line_of_the_explanation_begins_with_the_comma_after_a_piece_of_evidence(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    together = page.locator("[data-part=explanation] .rv-together").first
    expect(together).to_have_text("E2,")
    expect(together).to_have_css("white-space", "nowrap")
    expect(page.locator("[data-part=explanation]")).to_contain_text("E1 and E2, upper left")


def test_a_reasoner_that_fails_is_named_with_its_reason_and_the_scores_can_be_accepted(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(reasoner=VLM, failing="The server is away.")
    site.open(page)
    site.ready(page)
    expect(page.locator("[data-part=explanation]")).to_contain_text("gave no answer: The server is away.")
    page.keyboard.press("a")
    site.sent(page)
    assert site.kinds == ["accept"]


def test_a_fast_hand_opens_no_streams(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(reasoner=VLM)
    site.open(page)
    site.ready(page)
    for _ in range(10):
        page.keyboard.press("a")
        page.wait_for_timeout(60)
    site.sent(page)
    opened = sum(line.endswith("/explanation") for line in site.fake.requests)
    assert opened <= 1  # of the first image, which was looked at while the others were loaded


def test_evidence_numbers_light_the_same_boxes_on_hover_focus_and_tap(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    chip = page.locator(".rv-explanation .rv-chip", has_text="E2")
    lit_box, lit_card = page.locator(".rv-box.rv-lit"), page.locator(".rv-card.rv-lit")
    chip.hover()
    expect(lit_box).to_have_attribute("data-number", "2")
    expect(lit_card).to_have_attribute("data-number", "2")
    page.mouse.move(5, 5)
    expect(lit_box).to_have_count(0)
    page.locator(".rv-card").nth(2).focus()
    expect(lit_box).to_have_attribute("data-number", "3")
    page.evaluate("document.activeElement.blur()")
    chip.dispatch_event("click")  # a tap has no hover before it
    expect(lit_box).to_have_attribute("data-number", "2")


def test_heatmap_and_evidence_toggle_and_stay_as_chosen(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    expect(page.locator(".rv-heat")).to_be_visible()
    page.keyboard.press("h")
    page.keyboard.press("e")
    expect(page.locator(".rv-heat")).to_be_hidden()
    expect(page.locator(".rv-strip")).to_be_hidden()
    page.keyboard.press("a")
    page.reload()
    site.ready(page)
    expect(page.locator(".rv-heat")).to_be_hidden()
    page.keyboard.press("h")
    expect(page.locator(".rv-heat")).to_be_visible()


# --------------------------------------------------------------------------- states
def test_without_classes_the_page_says_where_to_add_them(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(classes=0, state_of=lambda i: "none", run_state="no_support")
    site.open(page)
    site.ready(page, ahead=1)
    expect(page.locator(".rv-banner")).to_contain_text("no classes yet")
    expect(page.get_by_role("link", name="Add them")).to_have_attribute("href", "support")
    page.keyboard.press("1")
    expect_on_screen(page, 0)
    assert site.fake.events == []


def test_without_support_the_class_keys_work_and_the_page_links_to_support(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(state_of=lambda i: "none", run_state="no_support")
    site.open(page)
    site.ready(page)
    expect(page.get_by_role("link", name="Go to Support")).to_be_visible()
    page.keyboard.press("1")
    expect_on_screen(page, 1)
    site.sent(page)
    assert site.kinds == ["correct"]


def test_without_images_the_page_says_to_import_some(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=0)
    site.open(page)
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "no-images")
    expect(page.get_by_role("link", name="Go to Images")).to_be_visible()
    expect(page.locator("[data-item-id]")).to_have_count(0)


def test_images_that_others_hold_are_waited_for_and_not_called_done(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=3, held_by_others=True, free_at="2026-11-24T14:32:00Z")
    site.open(page)
    expect(page.locator(".rv-message")).to_contain_text("3 images are reserved")
    expect(page.locator(".rv-message")).to_contain_text(re.compile(r"the first is free at \d\d:32 at the latest"))
    site.fake.held_by_others = False
    site.ready(page, ahead=2)
    expect_on_screen(page, 0)


def test_skipped_images_that_others_hold_are_not_called_done(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=2)
    site.open(page)
    site.ready(page, ahead=1)
    page.keyboard.press("s")
    expect_on_screen(page, 1)
    site.sent(page)
    site.fake.held_by_others = True
    page.keyboard.press("1")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "taken", timeout=15_000)
    expect(page.locator(".rv-message")).to_contain_text("1 image is reserved for other annotators (skipped by you")


def test_when_all_is_done_the_unsure_ones_are_one_click_away(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=1)
    site.open(page, annotator="ada%20%26%20co")
    expect_on_screen(page, 0)
    page.keyboard.press("u")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "empty", timeout=15_000)
    link = page.get_by_role("link", name="Look at my unsure ones")
    expect(link).to_have_attribute("href", "label?order=unsure&annotator=ada%20%26%20co")


# --------------------------------------------------------------------------- what is reserved
def test_a_closed_page_gives_back_what_it_holds_but_no_image_with_an_unsent_decision(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(count=30)
    site.open(page)
    site.ready(page, ahead=12)
    page.route("**/api/decisions", lambda route: route.abort())
    page.keyboard.press("1")
    expect_on_screen(page, 1)
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-unsent", "1")
    page.unroute("**/api/decisions")
    page.goto("about:blank")
    assert site.fake.release_came.wait(10)
    assert set(site.fake.released) == site.fake.given - {sha(0)}
    assert {sha(1), sha(2)} <= set(site.fake.released)


def test_another_order_gives_back_before_it_asks(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=30)
    site.open(page)
    site.ready(page, ahead=12)
    given, asked = set(site.fake.given), len(site.fake.requests)
    page.evaluate("window.__data.order = 'random'; window.__mount(); null")
    site.ready(page, ahead=12)
    assert set(site.fake.released) == given
    since = [line for line in site.fake.requests[asked:] if line.startswith("POST /api/queue")]
    assert since[0] == "POST /api/queue/release" and "POST /api/queue" in since[1:]
    page.evaluate("window.__data.order = null; window.__mount(); null")  # the first one again
    site.ready(page, ahead=12)
    page.keyboard.press("1")
    expect_on_screen(page, 1)


def test_near_the_end_one_holds_half_of_what_is_left_and_always_twenty(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=48)
    site.open(page)
    site.ready(page, ahead=24)
    assert len(site.fake.given) <= 27
    for number in range(1, 28):
        page.keyboard.press("1")
        expect_on_screen(page, number)
    # 20 are left beside this one; more are asked for at three quarters of twenty
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-ahead", re.compile("^(1[6-9]|20)$"))
    for number in range(28, 48):
        page.keyboard.press("1")
        expect_on_screen(page, number)
    page.keyboard.press("1")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "empty", timeout=15_000)


# --------------------------------------------------------------------------- undo
def test_undo_goes_back_over_many_items_and_brings_each_on_screen(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    for number, key in enumerate(("1", "2", "s", "u"), start=1):
        page.keyboard.press(key)
        expect_on_screen(page, number)
    for back in (3, 2, 1, 0):
        page.keyboard.press("z")
        expect_on_screen(page, back)
    expect(page.locator(".rv-banner")).to_contain_text("functional")
    page.keyboard.press("z")
    expect(page.locator(".rv-toast")).to_contain_text("Nothing to undo")
    page.keyboard.press("2")
    expect_on_screen(page, 1)
    site.sent(page)
    assert site.kinds.count("undo") == 4
    assert {e["image"]: e["class_id"] for e in site.fake.stands().values()} == {sha(0): 2}


def test_undo_after_a_refresh_takes_back_what_was_decided_before_it(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press("1")
    expect_on_screen(page, 1)
    page.keyboard.press("u")
    expect_on_screen(page, 2)
    site.sent(page)
    page.reload()
    site.ready(page)
    page.keyboard.press("z")
    expect_on_screen(page, 1)
    expect(page.locator(".rv-banner")).to_contain_text("unsure")
    page.keyboard.press("z")
    expect_on_screen(page, 0)
    site.sent(page)
    assert site.fake.stands() == {}


def test_a_skipped_image_comes_back_last(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(count=3)
    site.open(page)
    site.ready(page, ahead=2)
    page.keyboard.press("s")
    expect_on_screen(page, 1)
    page.keyboard.press("1")
    expect_on_screen(page, 2)
    page.keyboard.press("1")
    expect_on_screen(page, 0)
    expect(page.locator("[data-part=skipped]")).to_have_text("skipped before")
    page.keyboard.press("1")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "empty", timeout=15_000)
    expect(page.locator(".rv-message")).to_contain_text("All done")
    expect(page.get_by_role("link", name="Export the labels")).to_be_visible()
    page.keyboard.press("z")
    expect_on_screen(page, 0)


def test_look_alikes_are_labelled_with_one_key_and_undone_with_one(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press("b")
    tiles = page.locator(".rv-tile")
    expect(tiles).to_have_count(24)
    tiles.nth(3).click()
    accept = page.get_by_role("button", name="Label 23 images")
    expect(accept).to_be_enabled()
    page.keyboard.press("1")  # the image is covered: not a label
    expect(page.locator(".rv-toast")).to_contain_text("covered")
    page.keyboard.press("Enter")
    expect(tiles).to_have_count(0)
    site.sent(page)
    labelled = [e for e in site.fake.events if e["kind"] == "accept"]
    assert len(labelled) == 23 and len({e["group"] for e in labelled}) == 1
    assert number_on_screen(page) not in {int(e["image"], 16) for e in labelled}
    page.keyboard.press("z")
    expect_on_screen(page, 0)
    site.sent(page)
    assert site.kinds.count("undo") == 23
    assert site.fake.stands() == {}


# --------------------------------------------------------------------------- nothing is lost
def test_a_server_that_goes_away_gets_every_decision_once_in_order(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page, ahead=28)
    page.keyboard.press("1")
    site.sent(page)
    site.fake.down = True
    for number in range(1, 26):
        expect_on_screen(page, number)
        page.keyboard.press("2")
    expect(page.locator("[data-part=saved]")).to_contain_text("25 unsent")
    expect(page.locator("[data-part=saved]")).to_contain_text("server away")
    assert len(site.fake.events) == 1
    site.fake.down = False
    site.sent(page)
    expect(page.locator("[data-part=saved]")).to_contain_text("All saved")
    assert [int(e["image"], 16) for e in site.fake.events] == list(range(26))


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_was_revoked_is_not_told_as_a_server_that_is_away(
    page: Page, serve: Callable[..., Site], status: int
) -> None:
    site = serve()
    site.open(page)
    site.ready(page, ahead=28)
    site.fake.down_as, site.fake.down = status, True
    page.keyboard.press("1")
    saved = page.locator("[data-part=saved]")
    expect(saved).to_contain_text("1 unsent – sign in again")
    saved.click()
    expect(page.get_by_text("as soon as this browser has signed in again")).to_be_visible()
    page.keyboard.press("Escape")
    site.fake.down = False
    site.sent(page)
    expect(saved).to_contain_text("All saved")
    assert len(site.fake.events) == 1


def test_when_the_preloaded_images_run_out_the_page_says_so_and_goes_on_by_itself(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve(count=90)
    site.open(page)
    site.ready(page, ahead=29)
    site.fake.down = True
    for _ in range(200):
        if page.locator(".rv-reviewer").get_attribute("data-state") == "away":
            break
        page.keyboard.press("1")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "away")
    expect(page.locator(".rv-message")).to_contain_text("The server does not answer")
    expect(page.locator(".rv-message")).to_contain_text("kept in this browser")
    site.fake.down = False
    site.ready(page, ahead=5)
    site.sent(page)
    images = [e["image"] for e in site.fake.events]
    assert len(set(images)) == len(images) >= 25
    assert number_on_screen(page) not in {int(i, 16) for i in images}


def test_a_tab_closed_with_unsent_decisions_loses_none(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    site.fake.down = True
    for number, key in enumerate(("1", "2", "u"), start=1):
        page.keyboard.press(key)
        expect_on_screen(page, number)
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-unsent", "3")
    context = page.context
    page.close()
    site.fake.down = False
    again = context.new_page()
    site.open(again)
    site.ready(again)  # before that the page says nothing of what is unsent
    site.sent(again)
    assert [(int(e["image"], 16), e["kind"]) for e in site.fake.events][2] == (2, "unsure")
    assert len(site.fake.events) == 3
    assert number_on_screen(again) == 3
    again.keyboard.press("z")  # what the closed tab decided can still be undone
    expect_on_screen(again, 2)


def test_another_annotators_outbox_is_not_touched(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    site.fake.down = True
    page.keyboard.press("1")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-unsent", "1")
    site.fake.down = False
    page.evaluate("window.stop()")
    site.open(page, annotator="grace")
    site.ready(page)
    mine = {e["annotator"] for e in site.fake.events}
    assert "grace" not in mine


def unsent_of_ada(page: Page, site: Site, annotator: str = "ada") -> None:
    """Two decisions in this browser that the server, which is away, has not got."""
    site.open(page, annotator)
    site.ready(page)
    site.fake.down = True
    for number in (1, 2):
        page.keyboard.press("1")
        expect_on_screen(page, number)
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-unsent", "2")


@pytest.mark.parametrize("annotator", ["ada", "ada:2"])
def test_any_page_says_what_waits_in_this_browser_and_sends_it_in_order(
    page: Page, serve: Callable[..., Site], annotator: str
) -> None:
    site = serve()
    unsent_of_ada(page, site, annotator)
    page.goto(f"{site.url}/another-page")
    line = page.locator(".rv-unsent")
    expect(line).to_have_text(
        f"2 unsent decisions of {annotator}: the server does not answer, they are kept and sent when it does"
    )
    page.evaluate("localStorage.setItem('rv-outbox:other:ada:000000000000000001:x', '{}')")
    site.fake.down = False
    expect(line).to_be_empty(timeout=15_000)
    assert [(e["annotator"], int(e["image"], 16)) for e in site.fake.events] == [(annotator, 0), (annotator, 1)]
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('rv-outbox'))") == [
        "rv-outbox:other:ada:000000000000000001:x"  # of another project, which this server is not
    ]


def test_a_decision_that_is_refused_on_another_page_is_kept_and_named(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(refuse=lambda d: "There is no class 1: it was archived.")
    unsent_of_ada(page, site)
    site.fake.down = False
    page.goto(f"{site.url}/another-page")
    expect(page.locator(".rv-unsent")).to_contain_text("2 decisions of ada refused by the server")
    expect(page.get_by_role("link", name="See why")).to_have_attribute("href", "label?annotator=ada")
    site.fake.refuse = lambda d: None
    site.open(page)
    page.locator("[data-part=saved]").click()
    page.get_by_role("button", name="Send again").click()
    site.sent(page)
    assert len(site.fake.events) == 2


def test_two_tabs_of_one_annotator_deliver_each_decision_once(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    site.fake.down = True
    page.keyboard.press("1")
    other = page.context.new_page()
    other.goto(f"{site.url}/?annotator=ada")
    expect(other.locator(".rv-reviewer")).to_have_attribute("data-unsent", "1")
    site.fake.down = False
    site.sent(page)
    site.sent(other)
    assert [int(e["image"], 16) for e in site.fake.events] == [0]


def test_what_the_server_refuses_is_kept_shown_and_can_be_sent_again(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(refuse=lambda d: "There is no class 2: it was archived." if d["class_id"] == 2 else None)
    site.open(page)
    site.ready(page)
    page.keyboard.press("2")
    expect_on_screen(page, 1)
    page.keyboard.press("u")
    site.sent(page)
    saved = page.locator("[data-part=saved]")
    expect(saved).to_contain_text("1 refused by the server")
    assert site.kinds == ["unsure"]
    page.reload()
    site.ready(page)
    saved.click()
    expect(page.get_by_role("dialog")).to_contain_text("it was archived")
    site.fake.refuse = lambda d: None
    page.get_by_role("button", name="Send again").click()
    site.sent(page)
    expect(saved).to_contain_text("All saved")
    assert len(site.fake.events) == 2


def test_a_conflict_is_said_and_both_are_kept(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(conflict=lambda d: True)
    site.open(page)
    site.ready(page)
    page.keyboard.press("1")
    expect(page.locator(".rv-toast")).to_contain_text("grace decided in between")
    assert len(site.fake.events) == 1


def test_reruns_and_another_page_neither_lose_nor_repeat_anything(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press("1")
    page.evaluate("window.__mount(); window.__mount(); null")  # reruns of the script
    expect_on_screen(page, 1)
    page.keyboard.press("1")
    expect_on_screen(page, 2)
    page.evaluate("window.__anotherPageAndBack()")
    expect(page.locator(".rv-reviewer")).to_have_attribute("data-state", "ready")
    expect_on_screen(page, 2)
    # the evidence of an image that was on screen before is drawn again, not left blank
    page.wait_for_function(
        """() => {
          const crops = [...document.querySelectorAll('.rv-crop')];
          const drawn = (crop) => crop.getContext('2d').getImageData(84, 84, 1, 1).data[3] === 255;
          return crops.length > 0 && crops.every(drawn);
        }"""
    )
    page.keyboard.press("1")
    expect_on_screen(page, 3)
    site.sent(page)
    assert [int(e["image"], 16) for e in site.fake.events] == [0, 1, 2]


# --------------------------------------------------------------------------- note, details, help
def test_a_note_is_typed_without_labelling_anything(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press("n")
    field = page.get_by_label("Note on this image")
    expect(field).to_be_focused()
    page.keyboard.type("a1 crack, sure 2")
    page.keyboard.press("Enter")
    site.sent(page)
    expect_on_screen(page, 0)
    assert [(e["kind"], e["note"]) for e in site.fake.events] == [("note", "a1 crack, sure 2")]
    page.keyboard.press("n")
    page.keyboard.type("thrown away")
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    assert len(site.fake.events) == 1


def test_d_asks_for_details_of_the_image_on_screen_and_question_mark_for_help(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    page.keyboard.press("d")
    assert page.evaluate("window.__details") == [["details", sha(0)]]
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("1")
    expect_on_screen(page, 0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert site.fake.events == []


def test_a_key_that_no_class_has_and_details_without_a_server_are_refused_in_words(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    for key in ("9", "x"):
        page.keyboard.press(key)
        expect(page.locator(".rv-toast")).to_contain_text(f"No class has the key {key.upper()}.")
    site.fake.down = True
    page.keyboard.press("d")
    expect(page.locator(".rv-toast")).to_contain_text("No details now.")
    expect_on_screen(page, 0)
    assert site.fake.events == []


def test_what_the_accept_button_says_without_a_suggestion_fits(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(state_of=lambda i: "none")
    site.open(page)
    site.ready(page)
    words = page.locator("[data-part=accept-name]")
    expect(words).to_contain_text("Nothing to accept")
    assert words.evaluate("node => node.scrollWidth <= node.clientWidth")


@pytest.mark.parametrize("classes", [2, 9, 20])
def test_every_button_is_large_enough_and_nothing_overflows(
    page: Page, serve: Callable[..., Site], classes: int
) -> None:
    site = serve(classes=classes, name_of=lambda i: "W" * 200)
    site.open(page)
    site.ready(page, ahead=1)
    for width, height in ((1280, 720), (1920, 1080), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        too_small = page.evaluate(
            "[...document.querySelectorAll('.rv-reviewer button:not(.rv-chip)')].filter((b) => b.offsetParent"
            " && b.getBoundingClientRect().height < 31.5).map((b) => b.className)"
        )
        assert too_small == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if width >= 1280:
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_the_wheel_zooms_to_the_pointer_and_a_double_click_shows_the_whole_image(
    page: Page, serve: Callable[..., Site]
) -> None:
    site = serve()
    site.open(page)
    site.ready(page, ahead=1)
    whole = page.locator(".rv-image").bounding_box()
    assert whole is not None
    x, y = whole["x"] + whole["width"] * 0.75, whole["y"] + whole["height"] * 0.25
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    expect(page.locator(".rv-stage")).to_have_class(re.compile("rv-zoomed"))
    near = page.locator(".rv-image").bounding_box()
    assert near is not None and near["width"] > 1.5 * whole["width"]
    assert (x - near["x"]) / near["width"] == pytest.approx(0.75, abs=0.01)  # the point under the pointer stays
    assert (y - near["y"]) / near["height"] == pytest.approx(0.25, abs=0.01)
    page.locator(".rv-stage").dblclick()
    assert page.locator(".rv-image").bounding_box() == whole


def test_an_image_is_never_squeezed(page: Page, serve: Callable[..., Site]) -> None:
    site = serve(size_of=lambda i: (1600, 400))
    site.open(page)
    site.ready(page, ahead=1)
    box = page.locator(".rv-image").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(4.0, rel=0.01)


def test_the_outbox_is_written_before_the_next_image_is_shown(page: Page, serve: Callable[..., Site]) -> None:
    site = serve()
    site.open(page)
    site.ready(page)
    site.fake.down = True
    stored = page.evaluate(
        """() => {
          document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', bubbles: true}));
          return Object.keys(localStorage).filter((k) => k.startsWith('rv-outbox:')).map((k) => localStorage[k]);
        }"""
    )
    assert [json.loads(text)["image"] for text in stored] == [sha(0)]
