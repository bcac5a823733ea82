"""``predict``: a folder of images, a folder of examples, one JSON line an image."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from core.errors import ImportFailed
from core.settings import DENSE, DEVICES, PATCH_MODES, RECIPES, ImageLimits, PipelineSettings
from core.text import quoted
from ragvision_app.cli.console import listed, progress_bar, say, warn

DEFAULTS = PipelineSettings()


def predict(
    support: Annotated[
        Path, typer.Option("--support", metavar="DIR", help="Examples: one sub-folder a class.", show_default=False)
    ],
    queries: Annotated[
        Path, typer.Option("--queries", metavar="DIR", help="Images to predict, sub-folders too.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.jsonl", help="Where the lines go; - is stdout.", show_default=False)
    ],
    encoder: Annotated[str, typer.Option(help="Name of the encoder.")] = DEFAULTS.encoder,
    encoder_model: Annotated[
        str, typer.Option(metavar="ID|DIR", help="Model of the encoder clip or hf-vision: hub id or folder.")
    ] = DEFAULTS.encoder_model,
    resolution: Annotated[int, typer.Option(help="Side to which images are resized.")] = DEFAULTS.input_resolution,
    patch_size: Annotated[int, typer.Option(help="Side of a patch, pixels.")] = DEFAULTS.support_patch_size,
    dense: Annotated[str, typer.Option(help=f"Patch features of CLIP: {', '.join(DENSE)}.")] = DEFAULTS.dense,
    patch_mode: Annotated[
        str, typer.Option(help=f"Patches of another size than the model's: {', '.join(PATCH_MODES)}.")
    ] = DEFAULTS.patch_mode,
    recipe: Annotated[str, typer.Option(help=f"How class scores are made: {', '.join(RECIPES)}.")] = DEFAULTS.recipe,
    reasoner: Annotated[str, typer.Option(help="Name of the reasoner.")] = DEFAULTS.reasoner,
    reasoner_model: Annotated[
        str, typer.Option(metavar="ID|DIR", help="Model of the reasoner: hub id or folder, or its name on the server.")
    ] = DEFAULTS.reasoner_model,
    device: Annotated[str, typer.Option(help=f"Where models of torch run: {', '.join(DEVICES)}.")] = DEFAULTS.device,
) -> None:
    """Predict a folder of images from a folder of examples. Needs no project.

    Every line holds one image's flag, class probabilities, numbered evidence and the contributions, which add up to
    the difference between the flag's logit and the runner-up's. A file that cannot be read is a line too, with the
    reason.

    [bold]Examples[/]

    python -m ragvision_app predict --support examples --queries photos --out predictions.jsonl

    python -m ragvision_app predict --support examples --queries photos --recipe patch --out - | jq .flag

    python -m ragvision_app predict --support examples --queries photos --out c.jsonl --encoder clip
    """
    from core.imports import folder_source
    from core.text import json_line
    from core.workbench import create_engine
    from ragvision_app.predict_folders import predict_lines, read_examples, zips_unread

    settings = PipelineSettings(
        encoder=encoder,
        encoder_model=encoder_model,
        dense=dense,
        patch_mode=patch_mode,
        recipe=recipe,
        reasoner=reasoner,
        reasoner_model=reasoner_model,
        device=device,
        input_resolution=resolution,
        support_res=resolution,
        support_patch_size=patch_size,
    )
    limits = ImageLimits()
    for folder, what in ((support, "support"), (queries, "query")):
        if not folder.is_dir():
            raise ImportFailed(f"{quoted(folder)} is not a folder, so no {what} images can be read from it.")

    source = folder_source(queries)
    examples = read_examples(support, limits)
    listed("Support images that cannot be read are left out:", examples.refused)
    listed("Support images that are there twice count once:", ((n, f"the same as {of}") for n, of in examples.repeated))
    if source.archives:
        warn(zips_unread(queries, source.archives))
    total = len(source) + len(source.refused)
    unreadable: list[tuple[str, str]] = []
    without_flag: list[tuple[str, str]] = []
    failed = 0
    with lines_to(out) as file, progress_bar("Predicting", total=total) as bar:
        lines = predict_lines(lambda load: create_engine(settings, load), examples, source, limits)
        for number, line in enumerate(lines, 1):
            file.write(json_line(line))
            if line["status"] == "unreadable":
                unreadable.append((line["image"], line["reason"]))
            elif line["flag"] is None:
                without_flag.append((line["image"], line["reason"] or "abstained"))
                failed += line["status"] == "failed"
            bar(number, total)

    listed("Images that cannot be read; their lines say so:", unreadable)
    listed("Images without a flag; their lines say why:", without_flag)
    done = total - len(unreadable)
    if str(out) != "-":
        say(f"{done:,} image{'' if done == 1 else 's'} predicted into {quoted(out.absolute())}.")
    if len(unreadable) == total:
        warn("No image could be read.")
        raise typer.Exit(1)
    if failed == done:
        warn("No image got a flag, since the reasoner failed on each; scores and evidence are there.")
        raise typer.Exit(1)


@contextmanager
def lines_to(out: Path) -> Iterator[IO[str]]:
    """The output file, which takes its name only when all lines are in it; stdout for ``-``."""
    from core.files import open_atomic

    if str(out) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(out) as file:
        yield file
