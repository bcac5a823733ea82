"""Clicks on the naive page's button, without a browser (which is in its favour).

``python -m ragvision_app.bench._clicks COUNT`` prints the seconds of each click's rerun. AppTest puts the
page in the place of the process's main module, so this is a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest


def main(count: int) -> list[float]:
    """Seconds a click, after one of warm-up."""
    page = AppTest.from_file(str(Path(__file__).with_name("_naive_page.py")), default_timeout=60).run()
    taken = []
    for _ in range(count + 1):
        began = time.perf_counter()
        page.button[0].click().run()
        taken.append(time.perf_counter() - began)
    return taken[1:]


if __name__ == "__main__":
    print(json.dumps({"seconds": main(int(sys.argv[1]))}))
