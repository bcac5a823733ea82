"""The rows as a table for people."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from ragvision_app.bench._row import Check, Figure, Row
from ragvision_app.cli.console import out, show_table

_SIGN = {"at least": "≥", "at most": "≤", "exactly": "="}


def show(rows: list[Row], result: dict[str, Any]) -> None:
    """Prints one line a row, then what each row says beside its figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (
        ("row", "left"),
        ("ours", "right"),
        ("against", "right"),
        ("ratio", "right"),
        ("n", "right"),
        ("targets", "left"),
        ("", "left"),
    ):
        # in a narrow terminal the targets are wrapped, and nothing is cut
        wraps = heading == "targets"
        table.add_column(heading, justify=justify, no_wrap=not wraps, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            row.name,
            _figure(row.ours, row.unit),
            _figure(row.against, row.unit),
            "" if row.ratio is None else f"{number(row.ratio)}×",
            str(row.n or ""),
            "\n".join(_check(check) for check in row.checks),
            "[green]ok[/]" if row.ok else "[bold red]failed[/]" if row.error else "[bold red]missed[/]",
        )
    show_table(table)
    out.print()
    for row in rows:
        sides = " against ".join(side.what for side in (row.ours, row.against) if side is not None)
        out.print(f"[bold]{row.name}[/] {escape(row.what)}: {escape(sides)}" if sides else f"[bold]{row.name}[/]")
        for name, value in row.as_dict()["facts"].items():
            out.print(f"    {escape(name)}: {escape(number(value) if isinstance(value, float) else str(value))}")
        if row.note:
            out.print(f"    {escape(row.note)}")
        if row.error:
            out.print(f"    [bold red]{escape(row.error)}[/]")
    machine = result["machine"]
    out.print(
        f"\n{machine['cpus']} processors, load {machine['load']}, Python {machine['python']}. "
        "Ratios hold elsewhere, absolute figures don't."
    )


def _figure(side: Figure | None, unit: str) -> str:
    return "" if side is None else f"{number(side.value)} {unit}"


def _check(check: Check) -> str:
    unit = "×" if check.unit == "×" else f" {check.unit}" if check.unit else ""
    text = f"{check.what} {_SIGN[check.kind]} {number(check.limit)}{unit}"
    if check.unit != "×":
        text += f": {number(check.value)}"
    return text if check.ok else f"[red]{text}[/]"


def number(value: float) -> str:
    """Three significant digits, with thousands apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"
