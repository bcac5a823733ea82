"""``python -m ragvision_app``: see :mod:`ragvision_app.cli`."""

import os
import sys

# Before numpy is loaded: one core is left to the pages and the API while suggestions are computed, and
# several small products at once are faster on one thread each than fighting over all cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))

from ragvision_app.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
