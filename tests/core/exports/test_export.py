"""What leaves: every label with its provenance, readable by anything, harmful to nobody."""

import csv
import hashlib
import io
import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core import exports
from core.errors import InvalidInput, NotFound, ProjectError
from core.exports import COLUMNS, label_rows
from core.exports import csv as csv_format
from core.exports import folder as folder_format
from core.exports import jsonl as jsonl_format
from core.exports._names import folder_names, safe_name
from core.imports import import_images, import_support, upload_source
from core.ports import adapter_names, load_adapter
from core.project import Project
from core.prompts import PromptTemplate
from core.store import Store
from core.types import Calibrated, ClassScore, Decision, Kind, Prediction, Status

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "../../etc",
    "CON",
    "🐱" * 200,
    "a/b\\c:d",
    "=1+1",
    ".hidden",
    "labels.jsonl",
]


def png(number):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def sha(number):
    return hashlib.sha256(png(number)).hexdigest()


@pytest.fixture
def project(tmp_path):
    return Project.open(tmp_path / "project", create=True)


@pytest.fixture
def store(project):
    with Store.open(project.labels_db) as opened:
        import_images(project, opened, [upload_source([(f"cell{n}.png", png(n)) for n in range(4)])])
        yield opened


def decide(store, number, kind, class_id=None, annotator="Ada", **more):
    event = f"00000000-0000-4000-8000-{len(store.labels()):04x}{number:04x}{abs(hash(annotator)) % 0xFFFF:04x}"
    store.decide(Decision(event, kind, sha(number), annotator, f"2026-01-0{number + 1}T00:00:00Z", class_id, **more))
    return event


def predict(store, number, good, bad):
    scores = (ClassScore(good, 0.75, 1.0), ClassScore(bad, 0.25, -0.1))
    prediction = Prediction(
        sha(number), Status.OK, good, bad, 0.5, scores, (), None, "why", (), "", "lite0@1", "evidence", "ensemble",
        "v" * 16, Calibrated.LEAVE_ONE_OUT,
    )  # fmt: skip
    run = store.start_run("lite0@1", "evidence", "ensemble", "{}", "v" * 16, "code")
    return store.save_predictions(run, [prediction])[0]


@pytest.fixture
def labelled(store):
    good, bad = store.add_class("good").id, store.add_class("bad").id
    prediction = predict(store, 0, good, bad)
    event = decide(
        store, 0, Kind.CORRECT, bad, prediction_id=prediction, suggested_class=good, suggestion_shown=True,
        attention_ms=850, note="crack,\nupper \"left\"",
    )  # fmt: skip
    decide(store, 1, Kind.ACCEPT, good, "Bob")
    decide(store, 2, Kind.UNSURE)
    return store, event, prediction


# --------------------------------------------------------------------------- rows
def test_a_row_carries_the_whole_provenance(labelled):
    store, event, prediction = labelled
    row = next(label_rows(store))
    assert row.to_dict() == {
        "image": sha(0),
        "name": "cell0.png",
        "source": "upload",
        "state": "labelled",
        "class_name": "bad",
        "annotator": "Ada",
        "decided_at": "2026-01-01T00:00:00.000Z",
        "event_id": event,
        "kind": "correct",
        "class_id": 2,
        "suggested_class": "good",
        "suggested_class_id": 1,
        "suggestion_shown": True,
        "attention_ms": 850,
        "note": 'crack,\nupper "left"',
        "conflict": False,
        "prediction_id": prediction,
        "predicted_class": "good",
        "predicted_probability": 0.75,
        "label_probability": 0.25,
        "calibrated": "leave-one-out",
        "encoder": "lite0@1",
        "reasoner": "evidence",
        "recipe": "ensemble",
        "support_version": "v" * 16,
        "prompt": None,
        "prompt_name": None,
    }


def test_rows_are_in_the_order_of_import_and_can_be_one_annotators(labelled):
    store, *_ = labelled
    assert [(r.name, r.annotator, r.state) for r in label_rows(store)] == [
        ("cell0.png", "Ada", "labelled"),
        ("cell1.png", "Bob", "labelled"),
        ("cell2.png", "Ada", "unsure"),
    ]
    assert [r.name for r in label_rows(store, "Bob")] == ["cell1.png"]


def test_a_label_of_an_archived_class_keeps_its_name_and_an_undone_one_is_gone(labelled):
    store, event, _ = labelled
    store.archive_class(2)
    assert next(label_rows(store)).class_name == "bad"
    store.decide(
        Decision("11111111-1111-4111-8111-111111111111", Kind.UNDO, sha(0), "Ada", "2026-02-01T00:00:00Z", undoes=event)
    )
    assert [r.name for r in label_rows(store)] == ["cell1.png", "cell2.png"]


def test_a_prediction_that_never_was_costs_no_label(store):
    class_id = store.add_class("good").id
    decide(store, 0, Kind.ACCEPT, class_id, prediction_id=999)
    row = next(label_rows(store))
    assert (row.class_name, row.prediction_id, row.encoder) == ("good", 999, None)


# --------------------------------------------------------------------------- every format
def test_a_prediction_of_another_image_lends_its_numbers_to_no_label(labelled):
    store, _, of_the_first = labelled
    decide(store, 1, Kind.ACCEPT, 1, prediction_id=of_the_first)
    row = next(row for row in label_rows(store, "Ada") if row.image == sha(1))
    assert (row.prediction_id, row.encoder, row.predicted_class) == (of_the_first, None, None)


def test_each_file_is_a_format_and_nothing_else_is():
    assert adapter_names(exports) == ["csv", "folder", "jsonl"]


@pytest.mark.parametrize("name", ["csv", "jsonl", "folder"])
def test_every_format_says_what_it_wrote_and_leaves_nothing_half_done(name, labelled, project, tmp_path):
    store, *_ = labelled
    adapter, out = load_adapter(exports, name, "export format"), tmp_path / "out" / f"labels.{name}"
    out.parent.mkdir()
    report = adapter.export(label_rows(store), out, project=project)
    assert (report.path, report.labels) == (out, 3)

    def broken():
        yield next(label_rows(store))
        raise NotFound("gone")

    before = out.read_bytes() if out.is_file() else None
    with pytest.raises(NotFound):
        adapter.export(broken(), out if out.is_file() else out.with_name("second"), project=project)
    assert [p.name for p in out.parent.iterdir()] == [out.name]  # no temporary file, nothing half done
    assert before is None or out.read_bytes() == before


@pytest.mark.parametrize("name", ["csv", "jsonl", "folder"])
def test_no_labels_is_an_empty_export(name, store, project, tmp_path):
    report = load_adapter(exports, name, "export format").export(label_rows(store), tmp_path / "out", project=project)
    assert report.labels == 0 and report.path.exists()


@pytest.mark.parametrize("name", ["csv", "jsonl", "folder"])
def test_a_place_that_cannot_be_written_is_a_sentence(name, labelled, project, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError, match="failed"):
        load_adapter(exports, name, "export format").export(
            label_rows(labelled[0]), tmp_path / "file" / "out", project=project
        )


# --------------------------------------------------------------------------- csv and jsonl
def test_csv_is_read_by_the_standard_reader(labelled, tmp_path):
    csv_format.export(label_rows(labelled[0]), tmp_path / "l.csv")
    with (tmp_path / "l.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["class_name"], rows[0]["note"]) == ("bad", 'crack,\nupper "left"')
    assert (rows[0]["suggestion_shown"], rows[0]["attention_ms"], rows[2]["class_name"]) == ("true", "850", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "'quoted", "''"])
def test_no_cell_begins_like_a_formula(text):
    assert csv_format.guarded(text) == f"'{text}"
    assert csv_format.unguarded(csv_format.guarded(text)) == text


def test_a_class_called_like_a_formula_is_guarded_in_the_file(store, tmp_path):
    decide(store, 0, Kind.ACCEPT, store.add_class('=HYPERLINK("x")').id, note="-2 cells")
    csv_format.export(label_rows(store), tmp_path / "l.csv")
    text = (tmp_path / "l.csv").read_text(encoding="utf-8")
    assert '"\'=HYPERLINK(""x"")"' in text and "'-2 cells" in text


@given(st.text())
def test_the_guard_can_be_taken_off(text):
    guarded = csv_format.guarded(text)
    assert csv_format.unguarded(guarded) == text
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_jsonl_has_one_object_a_line_whatever_the_note(store, tmp_path):
    decide(store, 0, Kind.ACCEPT, store.add_class("太阳 🐱").id, note="a\nb\u2028c")
    jsonl_format.export(label_rows(store), tmp_path / "l.jsonl")
    lines = (tmp_path / "l.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 2 and lines[1] == ""
    assert (json.loads(lines[0])["class_name"], json.loads(lines[0])["note"]) == ("太阳 🐱", "a\nb\u2028c")


# --------------------------------------------------------------------------- folder
def placed(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())


def test_the_tree_holds_each_labelled_image_in_its_class(labelled, project, tmp_path):
    store, *_ = labelled
    report = folder_format.export(label_rows(store), tmp_path / "out", project=project)
    files = [f"bad/cell0-{sha(0)[:12]}.png", f"good/cell1-{sha(1)[:12]}.png"]
    assert placed(tmp_path / "out") == [*files[:1], "classes.json", *files[1:], "labels.jsonl"]
    assert (tmp_path / "out" / files[0]).read_bytes() == png(0)
    assert (report.labels, report.images, report.left_out) == (3, 2, 0)
    rows = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [*files, None]


def test_hostile_class_names_stay_inside_the_tree_and_come_back(store, project, tmp_path):
    ids = [store.add_class(name).id for name in HOSTILE]
    for number in range(4):
        for half in (0, 1):
            decide(store, number, Kind.CORRECT, ids[number + 4 * half], annotator=f"A{half}")
    rows = [row for row in label_rows(store) if row.annotator == "A0"]
    rows += [row for row in label_rows(store) if row.annotator == "A1"]
    for half in (rows[:4], rows[4:]):
        out = tmp_path / f"deep/er/out{len(half)}{half[0].annotator}"
        folder_format.export(half, out, project=project)
        assert len(placed(out)) == 6
        true_names = json.loads((out / "classes.json").read_text(encoding="utf-8"))
        assert sorted(true_names.values()) == sorted(row.class_name for row in half)
        assert all(len(p.name.encode()) <= 150 and (p.parent == out) for p in out.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "project"]


def test_an_exported_tree_imports_as_support_under_the_true_names(store, project, tmp_path):
    ids = [store.add_class(name).id for name in HOSTILE[:4]]
    for number, class_id in enumerate(ids):
        decide(store, number, Kind.CORRECT, class_id)
    folder_format.export(label_rows(store), tmp_path / "out", project=project)
    other = Project.open(tmp_path / "other", create=True)
    with Store.open(other.labels_db) as elsewhere:
        import_support(other, elsewhere, tmp_path / "out", by="Ada")
        names = {c.id: c.name for c in elsewhere.classes()}
        assert {s.image: names[s.class_id] for s in elsewhere.support()} == {
            sha(n): store.class_by_id(i).name for n, i in enumerate(ids)
        }


def test_an_image_on_which_people_disagree_is_in_no_class_until_it_is_settled(store, project, tmp_path):
    good, bad = store.add_class("good").id, store.add_class("bad").id
    decide(store, 0, Kind.CORRECT, good, "Ada")
    decide(store, 0, Kind.CORRECT, bad, "Bob")
    decide(store, 1, Kind.CORRECT, good, "Ada")
    decide(store, 1, Kind.ACCEPT, good, "Bob")
    report = folder_format.export(label_rows(store), tmp_path / "one", project=project)
    assert placed(tmp_path / "one") == ["classes.json", f"good/cell1-{sha(1)[:12]}.png", "labels.jsonl"]
    assert (report.images, report.left_out) == (1, 1)
    decide(store, 0, Kind.ADJUDICATE, bad, "Eve")
    folder_format.export(label_rows(store), tmp_path / "two", project=project)
    assert f"bad/cell0-{sha(0)[:12]}.png" in placed(tmp_path / "two")


def test_links_take_no_space_and_copies_are_apart(labelled, project, tmp_path):
    store, *_ = labelled
    for link in (True, False):
        folder_format.export(label_rows(store), tmp_path / str(link), project=project, link=link)
        file = next((tmp_path / str(link) / "bad").iterdir())
        assert file.samefile(project.image_path(sha(0))) is link
        assert file.read_bytes() == png(0)


def test_where_links_cannot_be_made_the_images_are_copied(labelled, project, tmp_path, monkeypatch):
    def other_disk(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_disk)
    report = folder_format.export(label_rows(labelled[0]), tmp_path / "out", project=project, link=True)
    assert report.images == 2


def test_a_folder_with_something_in_it_is_never_written_over(labelled, project, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InvalidInput, match="not empty"):
        folder_format.export(label_rows(labelled[0]), tmp_path / "mine", project=project)
    with pytest.raises(InvalidInput, match="is a file"):
        folder_format.export(label_rows(labelled[0]), tmp_path / "mine" / "thesis.txt", project=project)
    assert placed(tmp_path / "mine") == ["thesis.txt"]


def test_a_lost_original_is_named_and_nothing_is_left(labelled, project, tmp_path):
    project.image_path(sha(1)).unlink()
    with pytest.raises(NotFound, match=sha(1)[:12]):
        folder_format.export(label_rows(labelled[0]), tmp_path / "out", project=project)
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


# --------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("defective", "defective"),
        ("Riss, oben (2)", "Riss, oben (2)"),
        ("太阳 🐱", "太阳 🐱"),
        ("CONtact", "CONtact"),
    ],
)
def test_a_harmless_name_stays_as_it_is(name, folder):
    assert safe_name(name) == folder


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80) | st.sampled_from(HOSTILE)
    )
)
def test_folder_names_are_safe_and_told_apart_by_every_file_system(names):
    folders = folder_names(names, taken=("labels.jsonl",))
    assert list(folders) == list(dict.fromkeys(names))
    for folder in folders.values():
        assert 0 < len(folder.encode()) <= 255
        assert not set(folder) & set('/\\:*?"<>|\0\n\r\t') and folder[0] not in ".- " and folder[-1] not in ". "
        assert folder.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert len({f.casefold() for f in folders.values()} - {"labels.jsonl"}) == len(folders)


def test_names_that_differ_in_case_or_in_the_form_of_an_accent_get_folders_apart():
    folders = folder_names(["Good", "good", "GOOD", "\u00c4", "A\u0308", "ﬁn", "fin"])
    assert folders["Good"] == "Good" and folders["good"].startswith("good~")
    assert len({unicodedata.normalize("NFKD", folder).casefold() for folder in folders.values()}) == 7


def test_a_label_names_the_prompt_that_its_prediction_was_asked_with(labelled, monkeypatch):
    store, *_ = labelled
    saved = store.save_prompt("vehicles", PromptTemplate("Inspect.", "Clean?"), "ada")
    whole = store.prediction_by_id
    monkeypatch.setattr(store, "prediction_by_id", lambda number: replace(whole(number), prompt=saved.version))
    row = next(label_rows(store))
    assert (row.prompt, row.prompt_name) == (saved.version, "vehicles v1")
