"""``predict``: every line adds up, every file is accounted for, failures are sentences."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading

import pytest
from PIL import Image

from core.imports import SourceFile
from core.types import ImageRecord
from ragvision_app import predict_folders
from tests.cli.conftest import picture

FIELDS = {
    "image", "status", "reason", "flag", "scores", "logits", "runner_up", "margin", "evidence", "contributions",
    "explanation", "cited_evidence", "calibrated", "encoder", "reasoner", "recipe", "support_version", "prompt", "ms",
    "ms_by_step",
}  # fmt: skip


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_adds_up(line):
    difference = line["logits"][line["flag"]] - line["logits"][line["runner_up"]]
    parts = line["contributions"]
    gh, gw = parts["grid"]
    assert len(parts["values"]) == gh and all(len(row) == gw for row in parts["values"])
    by_place = math.fsum(v for row in parts["values"] for v in row) + parts["whole"]
    by_place += parts["text"] + parts["constant"]
    by_image = math.fsum(parts["by_support_image"].values()) + parts["text"] + parts["constant"]
    assert by_place == pytest.approx(difference, abs=1e-4)
    assert by_image == pytest.approx(difference, abs=1e-4)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, examples, photos):
    """One run of the default configuration in a process of its own, as from a shell."""
    from tests.cli.conftest import shell

    out = tmp_path_factory.mktemp("out") / "new folder" / "predictions.jsonl"
    done = shell("predict", "--support", examples, "--queries", photos, "--out", out)
    return done, out


def test_every_file_is_a_line_and_every_line_has_the_same_fields(predicted, photos):
    done, out = predicted
    assert done.returncode == 0, done.stderr
    lines = lines_of(out)
    assert all(set(line) == FIELDS for line in lines)
    names = [line["image"] for line in lines]
    assert sorted(names) == sorted(
        p.relative_to(photos).as_posix() for p in photos.rglob("*") if p.is_file() and p.suffix != ".txt"
    )


def test_every_line_adds_up_over_places_and_over_support_images(predicted):
    lines = [line for line in lines_of(predicted[1]) if line["status"] == "ok"]
    assert len(lines) == 7
    for line in lines:
        check_adds_up(line)
        assert line["contributions"]["whole"] == 0.0
        assert math.fsum(line["scores"].values()) == pytest.approx(1, abs=1e-6)


def test_names_are_those_of_folders_and_files(predicted, examples, photos):
    for line in lines_of(predicted[1]):
        assert (photos / line["image"]).is_file()
        if line["status"] != "ok":
            continue
        assert set(line["scores"]) == set(line["logits"]) == {"stripes", "dots"}
        assert line["flag"] == max(line["logits"], key=line["logits"].get) != line["runner_up"]
        with Image.open(photos / line["image"]) as query:
            query_size = query.size
        for item in line["evidence"]:
            assert item["support_image"].startswith(f"{item['class']}/")
            with Image.open(examples / item["support_image"]) as support:
                assert_inside(item["support_box"], support.size)
            assert_inside(item["query_box"], query_size)
        assert all((examples / name).is_file() for name in line["contributions"]["by_support_image"])
        assert set(line["cited_evidence"]) <= {item["number"] for item in line["evidence"]}
        for number in line["cited_evidence"]:
            assert f"E{number}" in line["explanation"]


def assert_inside(box, size):
    left, top, right, bottom = box
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]


def test_kinds_that_differ_plainly_are_told_apart(predicted):
    for line in lines_of(predicted[1]):
        if line["status"] == "ok":
            kind = "dots" if "dots" in line["image"] else "stripes"
            assert line["flag"] == kind, line["image"]


def test_an_unreadable_query_is_a_line_with_the_reason_and_named_on_stderr(predicted):
    done, out = predicted
    lines = {line["image"]: line for line in lines_of(out)}
    for name in ("text.jpg", "cut.png", "moving.gif"):
        line = lines[name]
        assert line["status"] == "unreadable" and line["reason"].endswith(".")
        assert line["flag"] is None and line["scores"] == {} and line["contributions"] is None
        assert name in done.stderr
    assert "text" in lines["text.jpg"]["reason"]
    assert "Traceback" not in done.stderr


def test_two_files_of_the_same_bytes_get_the_same_answer(predicted):
    lines = {line["image"]: line for line in lines_of(predicted[1])}
    one, other = lines["stripes0.png"], lines["twin.png"]
    # to the last digits: their places in a batch differ, and with them the order of the sums
    assert one["logits"] == pytest.approx(other["logits"], abs=1e-6)
    assert one["contributions"]["by_support_image"] == pytest.approx(
        other["contributions"]["by_support_image"], abs=1e-6
    )


@pytest.mark.parametrize("recipe", ["patch", "whole", "vote"])
def test_every_recipe_adds_up(call, tmp_path, examples, photos, recipe):
    out = tmp_path / "p.jsonl"
    assert call("predict", "--support", examples, "--queries", photos, "--recipe", recipe, "--out", out).code == 0
    lines = [line for line in lines_of(out) if line["status"] == "ok"]
    assert lines and {line["recipe"] for line in lines} == {recipe}
    for line in lines:
        check_adds_up(line)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from tests.core.encoders.tiny_models import tiny_clip, tiny_vision

    root = tmp_path_factory.mktemp("models")
    return {
        "clip": tiny_clip(root / "clip", side=64, patch=16),
        "hf-vision": tiny_vision("siglip-headless", root / "siglip", side=64, patch=16),
    }


@pytest.mark.parametrize(
    ("encoder", "options", "grid"),
    [
        ("clip", [], [4, 4]),
        ("clip", ["--recipe", "whole"], [4, 4]),
        ("clip", ["--recipe", "patch", "--dense", "maskclip"], [4, 4]),
        ("clip", ["--resolution", 128, "--patch-size", 32], [4, 4]),
        ("clip", ["--resolution", 96, "--patch-size", 24, "--patch-mode", "crops"], [4, 4]),
        ("hf-vision", ["--patch-size", 32], [2, 2]),
    ],
)
def test_models_of_ones_own_predict_and_add_up(call, tmp_path, examples, photos, models, encoder, options, grid):
    out = tmp_path / "p.jsonl"
    sizes = [] if "--resolution" in options else ["--resolution", 64]
    sizes += [] if "--patch-size" in options else ["--patch-size", 16]
    done = call(
        "predict", "--support", examples, "--queries", photos, "--out", out,
        "--encoder", encoder, "--encoder-model", models[encoder], *sizes, *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "Loading weights" not in done.err and "LOAD REPORT" not in done.err
    lines = [line for line in lines_of(out) if line["status"] == "ok"]
    assert len(lines) == 7
    for line in lines:
        check_adds_up(line)
        assert line["contributions"]["grid"] == grid and line["encoder"].startswith(
            f"{encoder}-{models[encoder].name}-"
        )
        # a class token has no positions; a mean over positions has
        has_place = encoder == "hf-vision" or line["recipe"] == "patch"
        assert (line["contributions"]["whole"] == 0) == has_place
        if line["recipe"] == "whole":
            assert not any(v for row in line["contributions"]["values"] for v in row)


def test_weights_that_are_not_there_are_one_sentence_with_the_command(call, tmp_path, examples, photos, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    out = tmp_path / "p.jsonl"
    done = call("predict", "--support", examples, "--queries", photos, "--out", out, "--encoder", "clip")
    assert done.code == 1 and not out.exists()
    assert done.err.count("\n") == 1 and "download openai/clip-vit-base-patch32 --revision refs/pr/15" in done.err


def test_a_model_for_the_default_encoder_is_refused_and_not_ignored(call, tmp_path, examples, photos, models):
    options = ["--out", tmp_path / "p.jsonl", "--encoder-model", models["clip"]]
    done = call("predict", "--support", examples, "--queries", photos, *options)
    assert done.code == 1 and "encoder_model must be empty" in done.err


def test_lines_go_to_stdout_and_nothing_else_does(call, examples, photos):
    done = call("predict", "--support", examples, "--queries", photos, "--out", "-")
    assert done.code == 0 and len([json.loads(line) for line in done.out.splitlines()]) == 10


def test_the_same_image_twice_in_a_class_counts_once_and_is_named(call, tmp_path, photos):
    for number in range(3):
        picture(tmp_path / "s" / "stripes" / f"{number}.png", "stripes", number)
        picture(tmp_path / "s" / "dots" / f"{number}.png", "dots", number)
    (tmp_path / "s" / "dots" / "copy.png").write_bytes((tmp_path / "s" / "dots" / "1.png").read_bytes())
    done = call("predict", "--support", tmp_path / "s", "--queries", photos, "--out", tmp_path / "p.jsonl")
    assert done.code == 0 and "dots/copy.png: the same as dots/1.png" in done.err
    line = next(line for line in lines_of(tmp_path / "p.jsonl") if line["status"] == "ok")
    check_adds_up(line)
    assert "dots/copy.png" not in line["contributions"]["by_support_image"]


def test_the_same_image_in_two_classes_is_refused_naming_both(call, tmp_path, photos):
    picture(tmp_path / "s" / "a" / "one.png", "dots", 1)
    picture(tmp_path / "s" / "b" / "other.png", "dots", 1)
    done = call("predict", "--support", tmp_path / "s", "--queries", photos, "--out", tmp_path / "p.jsonl")
    assert done.code == 1 and "a/one.png" in done.err and "b/other.png" in done.err
    assert not (tmp_path / "p.jsonl").exists()


def test_one_class_alone_says_what_is_missing(call, tmp_path, photos):
    picture(tmp_path / "s" / "only" / "one.png", "dots", 1)
    done = call("predict", "--support", tmp_path / "s", "--queries", photos, "--out", tmp_path / "p.jsonl")
    assert done.code == 1 and "Error:" in done.err and "class" in done.err
    assert not (tmp_path / "p.jsonl").exists()


def test_a_class_without_images_is_named_and_the_rest_goes_on(call, tmp_path, photos):
    for number in range(2):
        picture(tmp_path / "s" / "stripes" / f"{number}.png", "stripes", number)
        picture(tmp_path / "s" / "dots" / f"{number}.png", "dots", number)
    (tmp_path / "s" / "empty").mkdir()
    done = call("predict", "--support", tmp_path / "s", "--queries", photos, "--out", tmp_path / "p.jsonl")
    assert done.code == 0 and "empty" in done.err
    line = next(line for line in lines_of(tmp_path / "p.jsonl") if line["status"] == "ok")
    assert set(line["logits"]) == {"stripes", "dots"}
    check_adds_up(line)


def test_a_class_name_is_data_whatever_it_holds(call, tmp_path, photos):
    name = "<img src=x onerror=alert(1)> [bold]ü 😀"
    for number in range(2):
        picture(tmp_path / "s" / name / f"[red]{number}.png", "stripes", number)
        picture(tmp_path / "s" / "dots" / f"{number}.png", "dots", number)
    done = call("predict", "--support", tmp_path / "s", "--queries", photos, "--out", tmp_path / "p.jsonl")
    assert done.code == 0
    line = next(line for line in lines_of(tmp_path / "p.jsonl") if line["status"] == "ok")
    assert set(line["logits"]) == {name, "dots"}


def test_every_query_unreadable_is_a_failure_but_says_so_line_by_line(call, tmp_path, examples):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "a.png").write_bytes(b"")
    done = call("predict", "--support", examples, "--queries", tmp_path / "q", "--out", tmp_path / "p.jsonl")
    assert done.code == 1 and [line["status"] for line in lines_of(tmp_path / "p.jsonl")] == ["unreadable"]


def test_a_reasoner_that_fails_on_every_image_is_a_failure_whose_lines_are_written(
    call, tmp_path, examples, photos, monkeypatch
):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # nobody listens there
    out = tmp_path / "out.jsonl"
    done = call("predict", "--support", examples, "--queries", photos, "--reasoner", "openai", "--out", out)
    assert done.code == 1 and "the reasoner failed on each" in done.err
    assert {line["status"] for line in lines_of(out)} <= {"failed", "unreadable"}


@pytest.mark.parametrize("option", ["encoder", "recipe", "reasoner"])
def test_an_unknown_name_lists_those_there_are(call, tmp_path, examples, photos, option):
    known = {"encoder": "efficientnet-lite0", "recipe": "ensemble", "reasoner": "evidence"}[option]
    done = call(
        "predict", "--support", examples, "--queries", photos, "--out", tmp_path / "p.jsonl", f"--{option}", "nothing"
    )
    assert done.code == 1 and known in done.err and "Traceback" not in done.err
    assert not (tmp_path / "p.jsonl").exists()


@pytest.mark.parametrize(("side", "most"), [(300, 2 * predict_folders.BATCH), (4500, 5)])
def test_what_lies_decoded_and_waiting_is_bounded(monkeypatch, side, most):
    """10,000 queries must not be decoded ahead of the encoder, nor a folder of huge photographs by the eight."""
    lock = threading.Lock()
    held = {"now": 0, "most": 0}

    class Pixels:
        def __init__(self):
            with lock:
                held["now"] += 1
                held["most"] = max(held["most"], held["now"])

        def __del__(self):
            with lock:
                held["now"] -= 1

    def read(file, limits):
        record = ImageRecord(file.name, file.name, "", side, side, 1, "", "")
        return predict_folders.Query(file.name, record, Pixels())

    monkeypatch.setattr(predict_folders, "read_query", read)
    files = [SourceFile(f"{number}.png", 1000, bytes) for number in range(200)]
    seen = []
    for batch in predict_folders.batches(files, limits=None):
        seen += [query.name for query in batch]
        del batch
    assert seen == [file.name for file in files]
    assert 1 < held["most"] <= most


def test_names_that_are_no_text_and_names_that_steer_the_terminal_are_spelt_out(call, tmp_path):
    """A Linux name is bytes: not always UTF-8, and sometimes with line ends or escape sequences in it."""
    support, queries = tmp_path / "support", tmp_path / "queries"
    for seed, (folder, file) in enumerate((("a", "1.png"), (os.fsdecode(b"b\xff"), os.fsdecode(b"2\xfe.png")))):
        picture(support / folder / file, ("disc", "stripes")[seed], seed)
    names = [os.fsdecode(b"q\xff.png"), "line\u2028end\x85.png", os.fsdecode(b"dir\xfd/in.png")]
    for seed, name in enumerate(names):
        picture(queries / name, "disc", seed + 5)
    (queries / "\x1b[31mred\nError.png").write_text("no image")
    (queries / os.fsdecode(b"old\xff.gif")).write_text("no image")
    out = tmp_path / "out.jsonl"
    done = call("predict", "--support", support, "--queries", queries, "--out", out)
    assert done.code == 0, done.err
    lines = lines_of(out)
    assert {line["image"] for line in lines} == {
        "q\\xff.png", names[1], "dir\\xfd/in.png", "\x1b[31mred\nError.png", "old\\xff.gif"
    }  # fmt: skip
    read = [line for line in lines if line["status"] == "ok"]
    assert len(read) == 3
    for line in read:
        assert set(line["scores"]) == {"a", "b\\xff"}
        assert "b\\xff/2\\xfe.png" in line["contributions"]["by_support_image"]
        check_adds_up(line)
    assert "\x1b" not in done.err and "\nError.png" not in done.err


def test_a_device_or_a_pipe_as_out_is_written_into_and_not_replaced(call, tmp_path, examples, photos):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    done = call("predict", "--support", examples, "--queries", photos, "--out", pipe)
    reader.join()
    assert done.code == 0, done.err
    assert pipe.is_fifo() and all(json.loads(line) for line in got[0].splitlines())


def test_a_folder_as_out_is_named_before_any_work(call, tmp_path, examples, photos):
    done = call("predict", "--support", examples, "--queries", photos, "--out", tmp_path)
    assert done.code == 1
    assert done.err.strip() == f"Error: Is a directory: {tmp_path}."
    assert not list(tmp_path.iterdir())


def test_a_link_as_out_stays_a_link(call, tmp_path, examples, photos):
    (tmp_path / "link").symlink_to(tmp_path / "there.jsonl")
    assert call("predict", "--support", examples, "--queries", photos, "--out", tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink() and lines_of(tmp_path / "there.jsonl")


def test_zips_among_the_images_are_named(call, tmp_path, examples, photos):
    support, queries = shutil.copytree(examples, tmp_path / "s"), shutil.copytree(photos, tmp_path / "q")
    for zip_ in (support / "all.zip", support / "dots" / "more.zip", queries / "rest.zip"):
        zip_.write_bytes(b"PK")
    done = call("predict", "--support", support, "--queries", queries, "--out", tmp_path / "p.jsonl")
    assert done.code == 0
    for name in ("all.zip", "dots/more.zip", "rest.zip"):
        assert name in done.err
    assert "rest.zip" not in (tmp_path / "p.jsonl").read_text(encoding="utf-8")


def test_a_reasoner_whose_model_is_not_there_is_one_sentence_with_the_command_that_gets_it(
    call, tmp_path, examples, photos
):
    out = tmp_path / "p.jsonl"
    more = ("--reasoner", "qwen2-vl", "--reasoner-model", "nobody/no-such-model", "--out", out)
    done = call("predict", "--support", examples, "--queries", photos, *more)
    assert done.code == 1 and "hf download nobody/no-such-model" in done.err and not out.exists()
    assert "Traceback" not in done.err
