"""The runner: rows are found by file name, the JSON has the documented shape, and failures are told."""

from __future__ import annotations

import json

import pytest

import ragvision_app.bench as bench
from core.errors import UnknownAdapter
from ragvision_app.bench._row import Check, Figure, Row, RowFailed, Scale, at_least, at_most, exactly
from ragvision_app.cli.commands import main as command_line

DOCUMENTED = {"measured_at", "machine", "scale", "ok", "rows"}
DOCUMENTED_ROW = {
    "name",
    "what",
    "ok",
    "ours",
    "against",
    "unit",
    "ratio",
    "n",
    "checks",
    "facts",
    "note",
    "error",
    "seconds",
}


class FakeRow:
    """A row's module, and what it was asked for."""

    WHAT = "something"

    def __init__(self, answer: Row | Exception) -> None:
        self.answer = answer
        self.scales: list[Scale] = []

    def measure(self, scale: Scale) -> Row:
        self.scales.append(scale)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def faster(ratio: float) -> Row:
    return Row(
        what="something",
        ours=Figure("ours", 1.0),
        against=Figure("theirs", ratio),
        ratio=ratio,
        n=3,
        checks=(at_least("faster", ratio, 20, "×"),),
        facts={"more": 1.23456},
    )


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch):
    """The bench with one made-up row instead of its own."""

    def use(answer: Row | Exception) -> FakeRow:
        row = FakeRow(answer)
        monkeypatch.setattr(bench, "row_names", lambda: ["made-up"])
        monkeypatch.setattr(bench, "load_adapter", lambda package, name, kind: row)
        return row

    return use


def test_every_row_of_the_design_is_there_and_no_helper_is_taken_for_one():
    assert {
        "key-to-image",
        "embed",
        "second-start",
        "retrieve",
        "rescore",
        "decisions",
        "first-page",
        "page-scripts",
        "memory-server",
        "memory-import",
    } <= set(bench.row_names())
    assert not [name for name in bench.row_names() if name.startswith(("-", "_"))]


def test_an_unknown_row_is_answered_with_those_there_are(capfd):
    assert command_line(["bench", "--only", "nonsense"]) == 1
    said = capfd.readouterr().err
    assert "nonsense" in said
    assert all(name in said.replace("\n", " ") for name in bench.row_names())
    with pytest.raises(UnknownAdapter):
        bench.main(only="nonsense")


def test_json_has_the_documented_shape(one_row, capfd):
    one_row(faster(25.0))
    assert bench.main(as_json=True) == 0
    result = json.loads(capfd.readouterr().out)
    assert set(result) == DOCUMENTED
    assert result["ok"] is True and result["scale"] == "usual"
    (row,) = result["rows"]
    assert set(row) == DOCUMENTED_ROW
    assert (row["name"], row["ratio"], row["n"], row["error"]) == ("made-up", 25.0, 3, None)
    assert row["checks"] == [
        {"what": "faster", "value": 25.0, "kind": "at least", "limit": 20, "unit": "×", "ok": True}
    ]
    assert row["facts"] == {"more": 1.235}


def test_a_missed_target_is_exit_code_1_and_said_in_the_table(one_row, capfd):
    one_row(faster(19.9))
    assert bench.main() == 1
    out = capfd.readouterr().out
    assert "missed" in out and "≥ 20×" in out


def test_without_a_terminal_nothing_of_the_table_is_cut(one_row, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    long = "shared by every row of a queue that is long"
    row = Row(
        what="something",
        ours=Figure("ours", 123456.0),
        against=Figure("theirs", 23456789.0),
        ratio=190.0,
        n=3,
        checks=(at_least(long, 190.0, 20, "×"),),
    )
    one_row(row)
    assert bench.main() == 0
    line = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("made-up"))
    assert "190×" in line and f"{long} ≥ 20×" in line and line.rstrip().endswith("ok") and "…" not in line


@pytest.mark.parametrize("failure", [RowFailed("No Chromium could be started."), ZeroDivisionError("no times")])
def test_a_row_that_fails_is_told_and_does_not_stop_the_others(one_row, capfd, failure):
    row = one_row(failure)
    bench.row_names = lambda: ["made-up", "made-up"]
    assert bench.main(as_json=True) == 1
    rows = json.loads(capfd.readouterr().out)["rows"]
    assert len(rows) == len(row.scales) == 2
    assert not rows[0]["ok"] and str(failure) in rows[0]["error"]


def test_full_asks_every_row_for_all_its_work(one_row):
    row = one_row(faster(25.0))
    bench.main(full=True)
    assert row.scales == [Scale.FULL]


@pytest.mark.parametrize(
    ("check", "ok"),
    [
        (at_least("faster", 20, 20), True),
        (at_least("faster", 19.99, 20), False),
        (at_most("peak", 1500, 1500), True),
        (at_most("peak", 1500.1, 1500), False),
        (exactly("lost", 0, 0), True),
        (exactly("lost", 1, 0), False),
    ],
)
def test_a_target_is_met_at_its_limit_and_missed_beyond(check, ok):
    assert check.ok is ok
    assert Row(what="", checks=(check,)).ok is ok


def test_a_check_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="at least, at most or exactly"):
        Check("faster", 1, "more than", 2)
