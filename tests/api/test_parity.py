"""docs/reference-parity.md: every row has its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ragvision_app.schemas.reference import InvocationRequest, SupportUploadForm

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference-parity.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.endswith("| test |")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:60])
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row.rpartition(" | ")[2])
    assert named, "this row names no test"
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, f"{path} has no {name}"


def test_every_field_of_the_reference_has_its_row() -> None:
    fields = [field.alias or name for name, field in InvocationRequest.model_fields.items()]
    assert len(fields) == 12 and len(ROWS) > 30
    for field in (*fields, *SupportUploadForm.model_fields):
        assert any(field in row for row in ROWS), field
