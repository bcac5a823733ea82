"""Speed and memory, as figures measured in one run: ``python -m ragvision_app bench``.

A row is one file of this folder, found by its name (helpers begin with an underscore). It defines
``measure(scale) -> Row`` and does the same work twice: by the workbench's own code, and by the plain way or
the peer that it is compared with. Ratios hold on any machine; absolute times do not.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from core.errors import RagVisionError
from core.ports import adapter_names, load_adapter
from ragvision_app.bench._row import Row, Scale

log = logging.getLogger("ragvision.bench")


def row_names() -> list[str]:
    """Every row there is, as ``--only`` takes it."""
    return adapter_names(sys.modules[__name__])


def measure(name: str, scale: Scale) -> Row:
    """One row. Raises UnknownAdapter, which lists the rows, for a name that there is not.

    A row that fails is a Row with its ``error``: the others are measured all the same.
    """
    module = load_adapter(sys.modules[__name__], name, "row of the bench")
    began = time.perf_counter()
    try:
        row: Row = module.measure(scale)
    except RagVisionError as error:
        row = Row(what=module.WHAT, error=str(error))
    except Exception as error:
        log.exception("the row %s failed", name)
        row = Row(what=module.WHAT, error=f"{type(error).__name__}: {error}".splitlines()[0])
    return replace(row, name=name, seconds=round(time.perf_counter() - began, 1))


def document(rows: list[Row], scale: Scale) -> dict[str, Any]:
    """What ``--json`` prints; docs/bench.md names the fields."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": round(os.getloadavg()[0], 1),
        },
        "scale": scale.value,
        "ok": all(row.ok for row in rows),
        "rows": [row.as_dict() for row in rows],
    }


def main(*, as_json: bool = False, only: str | None = None, full: bool = False) -> int:
    """Measures the rows and prints them; 1 when one fails or misses its target, else 0."""
    from ragvision_app.bench._table import show
    from ragvision_app.cli.console import err

    names = row_names()
    if only is not None:
        load_adapter(sys.modules[__name__], only, "row of the bench")  # an unknown name is told before the first row
        names = [only]
    scale = Scale.FULL if full else Scale.USUAL
    rows = []
    for number, name in enumerate(names, 1):
        with err.status(f"{name} ({number} of {len(names)})"):
            rows.append(measure(name, scale))
    result = document(rows, scale)
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        show(rows, result)
    return 0 if result["ok"] else 1
