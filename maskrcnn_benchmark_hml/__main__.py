"""``python -m maskrcnn_benchmark_hml`` is the console script ``hml``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
