"""``bench``: speed, as ratios measured in one run."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer


def bench(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    only: Annotated[str | None, typer.Option("--only", metavar="NAME", help="Measure this row alone.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Import and predict 10,000 images for the memory row; takes minutes.")
    ] = False,
) -> None:
    """Measure the workbench against simpler ways of doing the same, on this machine.

    Exit code 1 when a row misses its target or fails. The rows that open pages need a Chromium and
    requirements-dev.txt.

    [bold]Examples[/]

    python -m ragvision_app bench

    python -m ragvision_app bench --only decisions --json
    """
    raise typer.Exit(importlib.import_module("ragvision_app.bench").main(as_json=json, only=only, full=full))
