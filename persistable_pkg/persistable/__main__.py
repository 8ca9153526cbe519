"""`python -m persistable`: the command line."""

from __future__ import annotations

import sys

from persistable.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
