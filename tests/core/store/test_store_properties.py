"""Whatever is decided, in whatever order and however often it arrives: the labels are what the events add up to."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_values import Clock, add_images, decision, quick_folder, sha

from core.errors import InvalidInput
from core.store import Store
from core.store.projection import IN_FORCE
from core.types import Decision, Outcome

IMAGES, ANNOTATORS = 3, ("anna", "berta")
KINDS = ("accept", "correct", "unsure", "skip", "note", "adjudicate", "promote")


@dataclass(frozen=True)
class Told:
    """A decision and, for an undo, which decision of the list it takes back (perhaps a later one)."""

    kind: str
    image: int
    by: str
    class_id: int
    back: int


def decisions(told: list[Told]) -> list[Decision]:
    """Undoes name decisions of the same annotator and image where there is one, else an id that never comes."""
    ids = [str(uuid.UUID(int=n + 1)) for n in range(len(told))]
    made = []
    for n, one in enumerate(told):
        more: dict[str, object] = {"id": ids[n]}
        if one.kind == "undo":
            own = [
                ids[k]
                for k, other in enumerate(told)
                if (other.image, other.by) == (one.image, one.by) and other.kind not in ("undo", "promote")
            ]
            more["undoes"] = own[one.back % len(own)] if own else str(uuid.UUID(int=10**9))
        if one.kind == "note":
            more["note"] = f"note {n}" if one.back % 3 else ""
        if one.kind in ("accept", "correct", "adjudicate"):
            more["class_id"] = one.class_id
        if one.back % 2:
            more["expected_version"] = 0
        made.append(decision(one.kind, sha(one.image), one.by, **more))  # type: ignore[arg-type]
    return made


TOLD = st.builds(
    Told,
    st.sampled_from((*KINDS, "undo", "undo", "undo")),
    st.integers(0, IMAGES - 1),
    st.sampled_from(ANNOTATORS),
    st.integers(1, 2),
    st.integers(0, 30),
)


def by_hand(arrived: list[Decision], image: str, annotator: str) -> tuple[str, int | None, str | None] | None:
    """The label by the definition, written another way: strike out what is taken back, then read backwards."""
    own = [d for d in arrived if d.image == image and d.annotator == annotator]
    struck = {d.undoes for d in own if d.kind == "undo"}
    valid = [d for d in own if d.kind != "undo" and d.id not in struck]
    note = next((d.note or None for d in reversed(valid) if d.note is not None), None)
    for d in reversed(valid):
        if d.kind in ("accept", "correct", "adjudicate"):
            return "labelled", d.class_id, note
        if d.kind in ("unsure", "skip"):
            return {"unsure": "unsure", "skip": "skipped"}[d.kind.value], None, note
    return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told=st.lists(TOLD, max_size=25), seed=st.integers(0, 2**32), support=st.integers(0, IMAGES))
def test_events_in_any_order_and_duplicated_project_to_what_a_rebuild_gives(
    told: list[Told], seed: int, support: int
) -> None:
    chance = random.Random(seed)
    sent = decisions(told)
    arriving = sent + chance.choices(sent, k=len(sent) // 2) if sent else []
    chance.shuffle(arriving)
    with quick_folder() as folder, Store.open(Path(folder) / "labels.db", clock=Clock()) as store:
        store.add_class("a")
        store.add_class("b")
        add_images(store, IMAGES)
        if support < IMAGES:
            store.add_support(sha(support), 1, by="anna")
        stored: list[Decision] = []
        for one in arriving:
            repeated = one.id in {d.id for d in stored}
            outcome = store.decide(one).outcome
            assert (outcome is Outcome.DUPLICATE) == repeated
            if not repeated:
                stored.append(one)
        assert store.check_projection() == []
        for image in map(sha, range(IMAGES)):
            assert [e["id"] for e in store.history(image)] == [d.id for d in stored if d.image == image]
            for annotator in ANNOTATORS:
                label = store.label(image, annotator)
                found = None if label is None else (label.state, label.class_id, label.note)
                assert found == by_hand(stored, image, annotator)
        before = store.labels()
        assert store.rebuild_labels() == [] and store.labels() == before


class Labelling(RuleBasedStateMachine):
    """Two people label, undo, take breaks and lose leases, while the support set changes under them."""

    @initialize()
    def begin(self) -> None:
        self.folder = quick_folder()
        self.clock = Clock()
        self.store = Store.open(Path(self.folder.name) / "labels.db", clock=self.clock)
        self.store.add_class("a")
        self.store.add_class("b")
        self.images = add_images(self.store, 5)
        self.tokens: dict[tuple[str, str], int] = {}
        self.last_token = 0

    @rule(by=st.sampled_from(ANNOTATORS), limit=st.integers(1, 3))
    def ask_for_images(self, by: str, limit: int) -> None:
        support = {member.image for member in self.store.support()}
        other = next(name for name in ANNOTATORS if name != by)
        decided = {x.image for x in self.store.labels() if x.state in IN_FORCE}
        for lease in self.store.lease_next(by, limit=limit, lease_seconds=60):
            assert lease.image not in support | decided
            known = self.tokens.get((lease.image, by))
            if lease.token != known:
                assert lease.token > self.last_token
                self.last_token = lease.token
            self.tokens[lease.image, by] = lease.token
            with self.store._pool.read() as db:
                live = db.execute(
                    "SELECT count(*) FROM leases WHERE image = ? AND annotator = ? AND expires_at > ?",
                    (lease.image, other, self.clock()),
                ).fetchone()[0]
            assert live == 0

    @rule(
        by=st.sampled_from(ANNOTATORS),
        number=st.integers(0, 4),
        kind=st.sampled_from(("accept", "unsure", "skip")),
        class_id=st.integers(1, 2),
    )
    def decide(self, by: str, number: int, kind: str, class_id: int) -> None:
        image = self.images[number]
        others = [x for x in self.store.labels() if x.image == image and x.annotator != by and x.state in IN_FORCE]
        token = self.tokens.get((image, by))
        result = self.store.decide(
            decision(kind, image, by, class_id if kind == "accept" else None, lease_token=token, expected_version=None)
        )
        if kind == "skip" or not others or token is None:
            assert result.outcome is Outcome.STORED
        assert result.label is not None
        assert len(self.store.history(image)) == result.version

    @rule(by=st.sampled_from(ANNOTATORS), depth=st.integers(0, 3))
    def take_back(self, by: str, depth: int) -> None:
        events = self.store.undoable(by)
        if depth < len(events):
            target = events[depth]
            self.store.decide(decision("undo", target.image, by, undoes=target.event_id))
            assert target.event_id not in {event.event_id for event in self.store.undoable(by)}

    @rule(seconds=st.sampled_from((10, 61)))
    def wait(self, seconds: int) -> None:
        self.clock.go_on(seconds)

    @rule(number=st.integers(0, 4), class_id=st.integers(1, 2))
    def change_support(self, number: int, class_id: int) -> None:
        member = next((m for m in self.store.support() if m.image == self.images[number]), None)
        if member is None:
            try:
                self.store.add_support(self.images[number], class_id, by="anna")
            except InvalidInput:  # the class is archived
                assert class_id not in {c.id for c in self.store.classes()}
        else:
            self.store.remove_support(member.id, by="anna")

    @rule(class_id=st.integers(1, 2))
    def archive_or_restore(self, class_id: int) -> None:
        if class_id in {c.id for c in self.store.classes()}:
            self.store.archive_class(class_id)
        else:
            self.store.restore_class(class_id)

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def everything_adds_up(self) -> None:
        assert self.store.check_projection() == []
        progress = self.store.counts("anna")
        assert progress.labelled + progress.unsure + progress.skipped + progress.left == progress.total
        assert progress.total == 5 - len(self.store.support())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


Labelling.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLabelling = Labelling.TestCase
