"""The demo project: real photographs of solar cells, chosen by a seed, and what its labels are worth.

The images come from the package ``elpv-dataset``, a requirement of the demo alone. Its labels decide which
images become support and which are eligible as queries; they never enter the project as labels of queries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import NotReady, ProjectError
from core.imports import ImageSource, SourceFile
from core.project import NOTICE_FILE
from core.text import quoted
from core.types import Origin
from core.workbench import Workbench
from ragvision_app.projects import ROOT

RECIPE = ROOT / "data" / "demo_recipe.json"
_INSTALL = "pip install --force-reinstall -r requirements-demo.txt"

NOTICE = """\
The images in this project are from the ELPV dataset (solar cells seen by electroluminescence),
https://github.com/zae-bayern/elpv-dataset, as published in the PyPI package elpv-dataset 1.0.0.post1,
under the licence CC BY-NC-SA 4.0: for evaluation only, not for commercial use.

Deitsch, S., Christlein, V., Berger, S. et al. Automatic classification of defective photovoltaic module cells
in electroluminescence images. Solar Energy 185 (2019) 455-468.
Buerhop-Lutz, C., Deitsch, S., Maier, A. et al. A benchmark for visual identification of defective solar cells
in electroluminescence imagery. EU PVSEC (2018) 1287-1289.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """File names: class name → support images, and the queries in the order of the queue's import."""

    support: Mapping[str, tuple[str, ...]]
    queries: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the whole choice: the same seed has to give the same demo everywhere."""
        return hashlib.sha256(json.dumps([dict(self.support), self.queries]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Worth:
    """How well a set of answers agrees with the truth."""

    answered: int
    right: int
    right_by_class: Mapping[str, tuple[int, int]]  # class → (right, of)

    @property
    def accuracy(self) -> float:
        """Share that is right; 0 where nothing was answered."""
        return self.right / self.answered if self.answered else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the share that is right in each."""
        shares = [right / of for right, of in self.right_by_class.values() if of]
        return sum(shares) / len(shares) if shares else 0.0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What ``demo-check`` prints: queries in all, the labels' worth by annotator, and the suggestions'."""

    queries: int
    labels: Mapping[str, Worth]
    suggestions: Worth
    suggestions_where_labelled: Worth


def recipe() -> dict[str, Any]:
    """``data/demo_recipe.json``."""
    result: dict[str, Any] = json.loads(RECIPE.read_text(encoding="utf-8"))
    return result


def images_folder() -> Path:
    """Where the package keeps its images; raises :class:`NotReady` where it is not installed."""
    spec = importlib.util.find_spec(recipe()["package"])
    if spec is None or not spec.submodule_search_locations:
        raise NotReady(
            "The demo's images are not installed. Run `make run`, or `pip install -r requirements-demo.txt`, "
            "or start on your own images with `--images FOLDER`."
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "images"


def truth() -> dict[str, str]:
    """File name → class name, of the images that are surely one or the other."""
    by_probability = {c["defect_probability"]: name for name, c in recipe()["classes"].items()}
    found: dict[str, str] = {}
    for line in (images_folder().parent / "labels.csv").read_text(encoding="ascii").splitlines():
        path, probability, _module_type = line.split()
        if float(probability) in by_probability:
            found[Path(path).name] = by_probability[float(probability)]
    return found


def choose(labels: Mapping[str, str]) -> Choice:
    """Support and queries. The order is by a digest of seed and name: the same on every Python, for ever."""
    plan = recipe()

    def order(name: str) -> str:
        return hashlib.sha256(f"{plan['seed']}:{name}".encode()).hexdigest()

    names = sorted(labels, key=order)
    shots = plan["support_images_per_class"]
    support = {c: tuple([n for n in names if labels[n] == c][:shots]) for c in plan["classes"]}
    taken = {n for chosen in support.values() for n in chosen}
    return Choice(support, tuple(n for n in names if n not in taken)[: plan["queries"]])


def create_demo(root: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Makes the demo project at ``root``, whole or not at all; raises :class:`ProjectError` where one is."""
    if root.exists() and any(root.iterdir()):
        raise ProjectError(f"{quoted(root)} is not empty. Remove it first if you want the demo from the start.")
    folder, labels = images_folder(), truth()
    choice = choose(labels)
    # made beside its place and moved there at the end: a demo that was interrupted is not taken for a whole one
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _fill(partial, folder, choice, on_progress)
    if root.exists():
        root.rmdir()
    partial.replace(root)


def _fill(root: Path, folder: Path, choice: Choice, on_progress: Callable[[int, int], None] | None) -> None:
    names = [name for chosen in choice.support.values() for name in chosen] + list(choice.queries)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise NotReady(f"The package of the demo's images lacks {missing[0]}. Install it again: {_INSTALL}.")
    files = [SourceFile(name, (folder / name).stat().st_size, (folder / name).read_bytes) for name in names]
    workbench = Workbench.open(root, create=True)
    try:
        report = workbench.import_images(
            [ImageSource("ELPV dataset, CC BY-NC-SA 4.0", files)],
            on_progress=None if on_progress is None else lambda done, total, _bytes: on_progress(done, total),
        )
        if report.refused:
            raise NotReady(
                f"{report.refused[0].name} of the demo: {report.refused[0].reason} Install it again: {_INSTALL}."
            )
        sha256_of = {image.name: image.sha256 for image in report.accepted}
        pairs: list[tuple[str, int]] = []
        for name, plan in recipe()["classes"].items():
            class_ = workbench.store.add_class(name, key=plan["key"], description=plan["description"])
            pairs += [(sha256_of[image], class_.id) for image in choice.support[name]]
        workbench.store.add_support_many(pairs, by="demo", origin=Origin.UPLOAD)
    finally:
        workbench.close()
    (root / NOTICE_FILE).write_text(NOTICE, encoding="utf-8")


def check_demo(root: Path) -> DemoReport:
    """The project's labels and suggestions against the package's labels, matched by the images' bytes.

    Raises :class:`NotReady` where the project holds none of the demo's images.
    """
    folder, labels = images_folder(), truth()
    true_class = {hashlib.sha256((folder / name).read_bytes()).hexdigest(): label for name, label in labels.items()}
    workbench = Workbench.open(root, create=False)
    try:
        store = workbench.store
        names = {c.id: c.name for c in store.classes(include_archived=True)}
        support = {s.image for s in store.support()}
        queries = [i.sha256 for i in store.images(limit=store.count_images(), offset=0) if i.sha256 not in support]
        known = {q: true_class[q] for q in queries if q in true_class}
        if not known:
            raise NotReady(
                f"The project {quoted(root)} holds none of the demo's images, so there is nothing to compare."
            )
        by_annotator: dict[str, dict[str, str]] = {}
        for label in store.labels():
            if label.state == "labelled" and label.class_id is not None:
                by_annotator.setdefault(label.annotator, {})[label.image] = names[label.class_id]
        run = store.current_run()
        suggested: dict[str, str] = {}
        if run is not None:
            for query in known:
                found = store.prediction(run.id, query)
                if found is not None and found[1].flag is not None:
                    suggested[query] = names[found[1].flag]
    finally:
        workbench.close()
    labelled = {image for answers in by_annotator.values() for image in answers}
    return DemoReport(
        queries=len(known),
        labels={annotator: _worth(answers, known) for annotator, answers in sorted(by_annotator.items())},
        suggestions=_worth(suggested, known),
        suggestions_where_labelled=_worth({i: c for i, c in suggested.items() if i in labelled}, known),
    )


def _worth(answers: Mapping[str, str], known: Mapping[str, str]) -> Worth:
    answered = {image: answer for image, answer in answers.items() if image in known}
    by_class: dict[str, tuple[int, int]] = {}
    for image, answer in answered.items():
        right, of = by_class.get(known[image], (0, 0))
        by_class[known[image]] = (right + (answer == known[image]), of + 1)
    return Worth(len(answered), sum(right for right, _ in by_class.values()), by_class)
