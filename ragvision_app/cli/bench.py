"""``bench``: speed, as ratios measured in one run."""

from __future__ import annotations

from typing import Annotated

import typer


def bench(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    only: Annotated[str | None, typer.Option("--only", metavar="NAME", help="Measure this row alone.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Larger sizes: takes several times as long.")] = False,
) -> None:
    """Measure the workbench against simpler ways of doing the same, on this machine.

    [bold]Examples[/]

    python -m ragvision_app bench

    python -m ragvision_app bench --only decisions --json
    """
    from ragvision_app.bench import main

    raise typer.Exit(main(as_json=json, only=only, full=full))
