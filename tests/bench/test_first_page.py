"""What the first page must not wait for: held here, because a timing would only tell on a quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys

from core.workbench import Workbench
from ragvision_app.projects import ROOT
from ragvision_app.state import PROJECT_VARIABLE

FIRST_PAGE = """
import sys
from streamlit.testing.v1 import AppTest

page = AppTest.from_file("ragvision_app/app.py", default_timeout=60)
page.query_params["annotator"] = "ada"
page.run()
page.switch_page("../pages/label.py").run()
assert not page.exception, page.exception
assert "ragvision_app.components.reviewer" in sys.modules, "the Label page did not run"
print([m for m in ("pandas", "sqlite_utils", "onnxruntime", "torch") if m in sys.modules])
"""


def test_the_label_page_of_a_project_that_is_up_to_date_loads_nothing_heavy(tmp_path):
    Workbench.open(tmp_path / "project").close()
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PAGE],
        cwd=ROOT,
        env={**os.environ, PROJECT_VARIABLE: str(tmp_path / "project")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
