"""``python -m ragvision_app``: see :mod:`ragvision_app.cli`."""

import sys

from ragvision_app.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
