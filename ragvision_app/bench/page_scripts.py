"""Script time of every page with 100,000 images in the project, against the same with 100."""

from __future__ import annotations

import statistics

from core.workbench import Workbench
from ragvision_app.bench._projects import scratch, texture
from ragvision_app.bench._row import Figure, Row, Scale, at_most
from ragvision_app.bench._servers import run_json
from ragvision_app.bench._synthetic import fill_project

WHAT = "page scripts"


def measure(scale: Scale) -> Row:
    """The row's figures are those of the page with the greatest ratio."""
    small, large = scale.pick(30, 100), scale.pick(60, 100_000)
    turns = scale.pick(1, 9)
    with scratch() as folder:
        projects = folder / "small", folder / "large"
        for project, images in zip(projects, (small, large), strict=True):
            workbench = Workbench.open(project)
            fill_project(workbench.store, images, per_class=scale.pick(2, 10), decided=scale.pick(2, 20))
            texture(workbench.project.image_path(workbench.store.query_images()[0]), 0)  # Prompts opens the first one
            workbench.close()
        taken = run_json("ragvision_app.bench._page_scripts", turns, *projects)
    medians = {page: [statistics.median(times) for times in both] for page, both in taken.items()}
    worst = max(medians, key=lambda page: medians[page][1] / medians[page][0])
    few, many = medians[worst]
    return Row(
        what=f"{WHAT}, {large:,} images with their predictions against {small}",
        ours=Figure(f"the page {worst} with {large:,} images", many),
        against=Figure(f"the same with {small}", few),
        ratio=many / few,
        n=turns,
        checks=(at_most("its time", many / few, 2, "×"),),
        facts={
            f"{page}, ms": f"{few:.3g} with {small}, {many:.3g} with {large:,}" for page, (few, many) in medians.items()
        },
        note="The page with the greatest ratio; each run is the whole script, without a browser.",
    )
