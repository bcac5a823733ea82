"""One image asked about now: the workbench's own answer, in a bounded queue, and nothing kept."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import png, write_folder
from waiting import wait

import core.workbench
from core.errors import (
    Busy,
    DamagedImage,
    InvalidSettings,
    ModelUnavailable,
    NotFound,
    NotReady,
    TookTooLong,
    UnsupportedImage,
)
from core.imports import sources_for
from core.inference import InferenceService, overridden
from core.ports import ReasonRequest
from core.reasoning import failed
from core.settings import PipelineSettings
from core.types import Answer, Status
from core.workbench import Workbench, create_engine


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """Three examples a class and four queries; the worker is not started."""
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(write_folder(tmp_path / "examples", 3, by_class=True), by="ada")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 2, first=100)]))
    yield opened
    opened.close()


class Held:
    """A reasoner that answers when it is let go."""

    id = "held"

    def __init__(self) -> None:
        self.go, self.asked, self.texts = threading.Event(), 0, ["It has", "It has stripes."]

    def reason(self, request: ReasonRequest) -> Answer:
        self.asked += 1
        for text in self.texts:
            if request.on_text is not None:
                request.on_text(text)
        assert self.go.wait(60)
        return Answer(request.scores[0].class_id, "It has stripes.")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    reasoner = Held()
    monkeypatch.setattr(core.workbench, "create_reasoner", lambda name, settings: reasoner)
    yield reasoner
    reasoner.go.set()


@pytest.fixture
def small(workbench: Workbench) -> Iterator[Callable[..., InferenceService]]:
    """A service of other capacity or patience than the workbench's own."""
    made: list[InferenceService] = []

    def make(**options: Any) -> InferenceService:
        service = InferenceService(
            workbench.store,
            settings=lambda: workbench.settings.pipeline,
            compose=lambda settings: create_engine(settings, workbench._load, project=workbench.project),
            limits=lambda: workbench.settings.images,
            **options,
        )
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


# --------------------------------------------------------------------------- the answer
def test_the_answer_is_the_workbenchs_own_prediction(workbench: Workbench) -> None:
    workbench.start_worker()
    wait(lambda: workbench.run_status().state in ("done", "failed"))
    for image in workbench.store.query_images():
        stored = workbench.store.latest_prediction(image)
        assert stored is not None and stored.prediction.contributions is not None
        data = workbench.project.image_path(image).read_bytes()
        for asked in (image, data):
            result = workbench.inference.infer(asked)
            assert result.image == image == hashlib.sha256(data).hexdigest()
            found, own = result.prediction, stored.prediction
            assert (found.flag, found.support_version, found.encoder) == (own.flag, own.support_version, own.encoder)
            assert [s.logit for s in found.scores] == pytest.approx([s.logit for s in own.scores], abs=2e-3)
            assert [(e.support_image, e.query_box) for e in found.evidence] == [
                (e.support_image, e.query_box) for e in own.evidence
            ]
            assert {e.support_image for e in found.evidence} == set(result.support)


def test_an_image_that_is_sent_is_not_kept(workbench: Workbench) -> None:
    workbench.inference.infer(workbench.store.query_images()[0])  # makes the caches
    before = {p.relative_to(workbench.project.root): p.stat().st_size for p in workbench.project.root.rglob("*.*")}
    result = workbench.inference.infer(png("rings", 77, (60, 90)))
    assert (result.width, result.height, result.prediction.image) == (60, 90, result.image)
    assert not workbench.store.has_images([result.image])
    after = {p.relative_to(workbench.project.root): p.stat().st_size for p in workbench.project.root.rglob("*.*")}
    assert {n: s for n, s in after.items() if ".db" not in n.name} == {
        n: s for n, s in before.items() if ".db" not in n.name
    }
    assert not [p for p in workbench.project.root.rglob("*") if result.image in p.name]


def test_other_settings_answer_under_those_settings(workbench: Workbench) -> None:
    image = workbench.store.query_images()[0]
    result = workbench.inference.infer(image, {"recipe": "vote", "max_patches_per_class": 1, "temperature": 0})
    assert result.prediction.recipe == "vote" and len(result.prediction.evidence) == 2
    assert result.settings.temperature == 0.0 and workbench.settings.pipeline.recipe == "ensemble"
    assert workbench.inference.infer(image).prediction.recipe == "ensemble"


def test_a_changed_support_set_counts_at_once(workbench: Workbench) -> None:
    image = workbench.store.query_images()[0]
    before = workbench.inference.infer(image).prediction
    workbench.remove_support(workbench.store.support()[0].id, by="ada")
    after = workbench.inference.infer(image).prediction
    assert after.support_version == workbench.store.support_set().version != before.support_version
    assert [s.logit for s in after.scores] != [s.logit for s in before.scores]


def test_another_prompt_fits_nothing_anew_and_few_configurations_are_held(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, made, closed = [], [], []
    whole_fit, whole_make = core.inference.fit_support, core.workbench.create_engine
    monkeypatch.setattr(core.inference, "fit_support", lambda *a: (fits.append(a), whole_fit(*a))[1])

    def make(settings: PipelineSettings, *args: Any, **more: Any) -> Any:
        engine = whole_make(settings, *args, **more)
        made.append(engine)
        close = engine.close
        engine.close = lambda: (closed.append(engine), close())  # type: ignore[method-assign]
        return engine

    monkeypatch.setattr(core.workbench, "create_engine", make)
    image = workbench.store.query_images()[0]
    for number in range(5):
        workbench.inference.infer(image, {"user_prompt": f"Prompt {number}"})
    assert (len(fits), len(made)) == (1, 5) and closed == made[:2]
    workbench.inference.infer(image, {"user_prompt": "Prompt 4"})
    assert len(made) == 5
    workbench.inference.infer(image, {"k_retrieval": 1})
    assert len(fits) == 2
    workbench.inference.close()
    assert closed == made


def test_the_explanation_so_far_is_told_while_it_is_made(workbench: Workbench, held: Held) -> None:
    told: list[str] = []

    def listen(text: str) -> None:
        told.append(text)
        raise ZeroDivisionError("a listener with a bug")

    future = workbench.inference.submit(png("rings", 5), on_text=listen)
    wait(lambda: len(told) == 2)
    assert told == held.texts and not future.done()
    held.go.set()
    assert future.result(60).prediction.explanation == "It has stripes."


# --------------------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", DamagedImage), (b"GIF89a" + b"0" * 40, UnsupportedImage), (png("rings", 1)[:-20], DamagedImage)],
)
def test_what_is_no_image_is_refused_as_an_import_refuses_it(
    workbench: Workbench, data: bytes, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        workbench.inference.infer(data)
    assert workbench.inference.infer(png("rings", 1)).prediction.status is Status.OK  # and the next one is answered


def test_limits_of_images_hold_here_too(workbench: Workbench) -> None:
    settings = workbench.settings
    workbench.save_settings(replace(settings, images=replace(settings.images, max_pixels=100)))
    with pytest.raises(core.errors.ImageTooLarge, match="96 × 80"):
        workbench.inference.infer(png("rings", 1))


def test_an_unknown_image_is_not_found(workbench: Workbench) -> None:
    with pytest.raises(NotFound):
        workbench.inference.infer("0" * 64)


def test_nothing_to_compare_with_is_said(tmp_path: Path) -> None:
    empty = Workbench.open(tmp_path / "empty")
    try:
        with pytest.raises(NotReady, match="at least two classes"):
            empty.inference.infer(png("rings", 1))
    finally:
        empty.close()


@pytest.mark.parametrize("part", [{"reasoner": "qwen2-vl"}, {"encoder": "clip"}])
def test_a_missing_model_is_an_error_and_no_stand_in(workbench: Workbench, part: dict[str, str]) -> None:
    model = {f"{name}_model": "nobody/nothing" for name in part}
    with pytest.raises(ModelUnavailable, match="hf download nobody/nothing"):
        workbench.inference.infer(png("rings", 1), part | model)
    assert workbench.inference.infer(png("rings", 1)).prediction.flag is not None


def test_a_reasoner_that_fails_leaves_scores_and_no_flag(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        id = "away"

        def reason(self, request: ReasonRequest) -> Answer:
            return failed("The server is away.")

    monkeypatch.setattr(core.workbench, "create_reasoner", lambda name, settings: Away())
    prediction = workbench.inference.infer(png("rings", 1)).prediction
    assert (prediction.status, prediction.flag, prediction.reason) == (Status.FAILED, None, "The server is away.")
    assert prediction.scores and prediction.evidence


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": "warm"}, "a number"),
        ({"temperature": float("nan")}, "a number"),
        ({"temperature": 3}, "between 0.0 and 2.0"),
        ({"k_retrieval": True}, "a whole number"),
        ({"k_retrieval": 2.5}, "a whole number"),
        ({"swap_options": 1}, "true or false"),
        ({"user_prompt": None}, "text"),
        ({"input_resolution": 225}, "does not divide"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_waits(
    workbench: Workbench, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidSettings, match=words):
        workbench.inference.submit(png("rings", 1), overrides)
    assert overridden(PipelineSettings(), {"temperature": 1}).temperature == 1.0


# --------------------------------------------------------------------------- the queue
def test_the_queue_is_bounded_and_everybody_who_was_let_in_is_answered(
    small: Callable[..., InferenceService], held: Held
) -> None:
    service = small(capacity=2)
    running = service.submit(png("rings", 1))
    wait(lambda: held.asked == 1)
    waiting = [service.submit(png("rings", n)) for n in (2, 3)]
    with pytest.raises(Busy, match="2 requests wait") as refused:
        service.submit(png("rings", 4))
    assert 1 <= refused.value.retry_after <= 120
    waiting[0].cancel()
    again = service.submit(png("rings", 5))  # the place of the one that was given up
    held.go.set()
    for future in (running, waiting[1], again):
        assert future.result(60).prediction.flag is not None
    with pytest.raises(CancelledError):
        waiting[0].result()
    assert held.asked == 3  # the one that was given up cost nothing


def test_a_reasoner_that_hangs_blocks_nobody_for_ever(small: Callable[..., InferenceService], held: Held) -> None:
    service = small(seconds=0.5)
    hanging, behind = service.submit(png("rings", 1)), service.submit(png("rings", 2))
    for future in (hanging, behind):
        with pytest.raises(TookTooLong, match=r"within 0\.5 seconds"):
            future.result(60)
    wait(lambda: held.asked == 1)

    def refused() -> bool:
        try:
            service.submit(png("rings", 3)).cancel()
        except Busy as error:
            return "busy with one image" in str(error)
        return False

    wait(refused)
    held.go.set()

    def goes_on() -> bool:
        try:
            service._seconds = 60.0
            return service.submit(png("rings", 4)).result(60).prediction.flag is not None
        except Busy:
            return False

    wait(goes_on)
    assert held.asked == 2  # nobody was left for the second one


def test_time_in_the_queue_does_not_make_a_model_look_stuck(small: Callable[..., InferenceService], held: Held) -> None:
    service = small(seconds=60)
    first, second = service.submit(png("rings", 1)), service.submit(png("rings", 2))
    wait(lambda: held.asked == 1)
    service._waiting[0].at -= 100  # it has waited, so that somebody else's image is what took the time
    held.go.set()
    first.result(60)
    held.go.clear()
    wait(lambda: held.asked == 2 or second.done())
    service.submit(png("rings", 3)).cancel()
    held.go.set()


def test_closing_tells_those_that_wait_and_ends_the_thread(workbench: Workbench, held: Held) -> None:
    running = workbench.inference.submit(png("rings", 1))
    wait(lambda: held.asked == 1)
    waiting = workbench.inference.submit(png("rings", 2))
    threading.Timer(0.2, held.go.set).start()
    workbench.close()
    assert running.result(60).prediction.flag is not None
    with pytest.raises(NotReady, match="closed"):
        waiting.result(60)
    assert not [t for t in threading.enumerate() if t.name == "inference" and t is workbench.inference._thread]
    with pytest.raises(NotReady, match="being closed"):
        workbench.inference.submit(png("rings", 3))


def test_a_workbench_that_is_never_asked_starts_no_thread(workbench: Workbench) -> None:
    assert workbench.inference._thread is None
