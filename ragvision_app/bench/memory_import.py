"""Peak memory of importing and predicting many images of 300 pixels."""

from __future__ import annotations

from ragvision_app.bench._projects import scratch, support_folder, textures
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_most
from ragvision_app.bench._servers import run_json

WHAT = "peak memory of import and predict"
LIMIT = 2500  # MB


def measure(scale: Scale) -> Row:
    """One process does both, as the server does; 10,000 images with ``--full``."""
    count = scale.pick(6, 500, 10_000)
    with scratch() as folder:
        support = support_folder(folder / "support", scale.pick(2, 10))
        images = textures(folder / "images", count)
        found = run_json("ragvision_app.bench._import", folder / "project", support, images, timeout=3600)
    if found["state"] != "done":
        raise RowFailed(f"The suggestions were not computed: {found['sentence']}")
    if found["added"] != count or found["predictions"] != count:
        raise RowFailed(f"Of {count} images {found['added']} were imported and {found['predictions']} predicted.")
    return Row(
        what=f"{WHAT}, {count:,} images of 300 pixels",
        ours=Figure("import, then every suggestion with its evidence", found["megabytes"]),
        unit="MB",
        n=1,
        checks=(at_most("peak", found["megabytes"], LIMIT, "MB"),),
        facts={
            "after the import, MB": found["megabytes_after_import"],
            "import, seconds": found["import_seconds"],
            "predict, seconds": found["predict_seconds"],
        },
    )
