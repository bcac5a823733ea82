"""Accuracy on anybody's folder: the table, and sentences for folders that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from core.settings import RECIPES, PipelineSettings
from ragvision_app.evaluate import evaluate, folder, main

app = typer.Typer()
app.command()(main)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Reddish and bluish noise: classes that every recipe can tell apart."""
    root = tmp_path_factory.mktemp("labelled")
    for channel, name in ((0, "red"), (2, "blue")):
        (root / name / "deeper").mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng(i).integers(0, 90, (40, 50, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(root / name / ("deeper" if i % 2 else ".") / f"{i}.png")
        (root / name / "notes.txt").write_text("not an image")
    return root


def test_classes_that_are_easy_to_tell_apart_are_told_apart_by_every_recipe(images):
    settings = PipelineSettings(input_resolution=64, support_res=64)
    found = folder(images)
    assert found.classes == ["blue", "red"] and len(found.files) == 12
    results = evaluate(found, settings, shots=2, seeds=2)
    assert [r.recipe for r in results] == list(RECIPES)
    assert all(r.accuracy == (1.0, 1.0) for r in results)


def test_the_table_names_the_command_and_every_recipe(images):
    result = CliRunner().invoke(app, ["--dataset", str(images), "--shots", "2", "--seeds", "1", "--resolution", "64"])
    assert result.exit_code == 0, result.output
    for recipe in RECIPES:
        assert f"| {recipe} | 1.000" in result.output
    assert "--shots 2 --seeds 1 --resolution 64" in result.output


def test_baselines_are_scored_beside_the_recipes_when_asked_for(images):
    settings = PipelineSettings(input_resolution=64, support_res=64)
    results = evaluate(folder(images), settings, shots=2, seeds=1, baselines=True)
    named = {r.recipe: r.accuracy[0] for r in results}
    assert len(named) == len(RECIPES) + 2
    assert named["vote by plain cosine"] == 1.0


def test_a_file_that_is_no_image_is_left_out_by_name(images, tmp_path):
    import shutil

    root = shutil.copytree(images, tmp_path / "copy")
    (root / "red" / "broken.png").write_bytes(b"no image at all")
    arguments = ["--dataset", str(root), "--shots", "2", "--seeds", "1", "--resolution", "64"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "broken.png" in result.output


@pytest.mark.parametrize(("shots", "words"), [(6, "smallest class"), (99, "smallest class")])
def test_more_shots_than_images_say_so(images, shots, words):
    result = CliRunner().invoke(app, ["--dataset", str(images), "--shots", str(shots), "--resolution", "64"])
    assert result.exit_code == 1 and words in result.output


def test_a_folder_without_sub_folders_says_what_to_do(tmp_path):
    result = CliRunner().invoke(app, ["--dataset", str(tmp_path)])
    assert result.exit_code == 1 and "sub-folders" in result.output
