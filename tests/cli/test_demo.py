"""The demo: the same for everybody, whole or not at all, and its truth never enters the project."""

from __future__ import annotations

import sqlite3
import uuid

import pytest

from core.errors import NotReady, ProjectError
from core.types import Decision, Kind
from core.workbench import Workbench
from ragvision_app import demo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("projects") / "demo"
    seen = []
    demo.create_demo(root, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (320, 320)
    return root


@pytest.fixture
def small(monkeypatch):
    """A demo of a few images, for what does not depend on how many."""
    plan = {**demo.recipe(), "support_images_per_class": 2, "queries": 6}
    monkeypatch.setattr(demo, "recipe", lambda: plan)


def test_the_choice_is_the_pinned_one():
    choice = demo.choose(demo.truth())
    assert choice.sha256 == demo.recipe()["choice_sha256"]
    assert [len(images) for images in choice.support.values()] == [10, 10] and len(choice.queries) == 300


def test_support_and_queries_share_no_image_and_only_sure_cells_are_chosen():
    labels = demo.truth()
    choice = demo.choose(labels)
    support = [name for images in choice.support.values() for name in images]
    assert not set(support) & set(choice.queries) and len(set(choice.queries)) == 300
    assert all(labels[name] == class_ for class_, images in choice.support.items() for name in images)
    assert set(choice.queries) <= set(labels)


def test_the_choice_does_not_depend_on_the_order_in_which_the_package_lists_its_images():
    labels = demo.truth()
    assert demo.choose(dict(sorted(labels.items(), reverse=True))) == demo.choose(labels)


def test_the_project_holds_the_choice_and_no_label(made):
    workbench = Workbench.open(made, create=False)
    try:
        store = workbench.store
        names = {c.id: c.name for c in store.classes()}
        assert list(names.values()) == ["functional", "defective"]
        assert sorted(names[s.class_id] for s in store.support()) == ["defective"] * 10 + ["functional"] * 10
        assert store.count_images() == 320 and list(store.labels()) == []
        assert "CC BY-NC-SA 4.0" in workbench.notice and "evaluation only" in workbench.notice
    finally:
        workbench.close()


def test_no_table_tells_a_query_of_one_class_from_one_of_the_other(made):
    """Whatever is stored of a query is its name and what the file itself says."""
    labels = demo.truth()
    with sqlite3.connect(f"file:{made / 'labels.db'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT name, source FROM images WHERE sha256 NOT IN (SELECT image FROM support)").fetchall()
        assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)
    db.close()
    assert {name for name, _ in rows} == set(demo.choose(labels).queries)
    assert len({source for _, source in rows}) == 1


def test_a_demo_that_was_interrupted_is_made_again_from_the_start(tmp_path, small, monkeypatch):
    with monkeypatch.context() as broken:

        def stop(*_args, **_kwargs):
            raise KeyboardInterrupt

        broken.setattr("core.store.Store.add_support_many", stop)
        with pytest.raises(KeyboardInterrupt):
            demo.create_demo(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
    demo.create_demo(tmp_path / "demo")
    assert (tmp_path / "demo" / "labels.db").is_file() and not (tmp_path / "demo.partial").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, small):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ProjectError, match="not empty"):
        demo.create_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_without_the_package_the_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "recipe", lambda: {"package": "a_package_that_is_not_there"})
    with pytest.raises(NotReady, match=r"requirements-demo\.txt"):
        demo.create_demo(tmp_path / "demo")


def label(store, image, class_id, annotator):
    store.decide(
        Decision(
            id=str(uuid.uuid4()),
            kind=Kind.CORRECT,
            image=image,
            annotator=annotator,
            made_at="2026-11-24T12:00:00+00:00",
            class_id=class_id,
        )
    )


def test_demo_check_compares_labels_with_the_truth_by_the_images_bytes(tmp_path, call):
    root = tmp_path / "demo"
    demo.create_demo(root)
    truth = demo.truth()
    workbench = Workbench.open(root, create=False)
    try:
        store = workbench.store
        ids = {c.name: c.id for c in store.classes()}
        support = {s.image for s in store.support()}
        queries = [i for i in store.images(limit=400, offset=0) if i.sha256 not in support]
        functional = [q for q in queries if truth[q.name] == "functional"][:4]
        defective = [q for q in queries if truth[q.name] == "defective"][:2]
        for query in [*functional, *defective]:
            label(store, query.sha256, ids["functional"], "ada")  # right on 4 of 6; balanced, on half
        label(store, defective[0].sha256, ids["defective"], "bob")
    finally:
        workbench.close()
    report = demo.check_demo(root)
    ada, bob = report.labels["ada"], report.labels["bob"]
    assert (ada.answered, ada.right, ada.balanced_accuracy) == (6, 4, 0.5)
    assert ada.accuracy == pytest.approx(4 / 6)
    assert (bob.answered, bob.right) == (1, 1)
    assert report.queries == 300 and report.suggestions.answered == 0
    printed = call("demo-check", "--project", root).out
    assert "labels of ada" in printed and "66.7%" in printed and "50.0%" in printed


def test_demo_check_of_another_project_says_so(tmp_path):
    Workbench.open(tmp_path / "other", create=True).close()
    with pytest.raises(NotReady, match="none of the demo's images"):
        demo.check_demo(tmp_path / "other")
