"""``python -m jepawm_bench`` is ``jepawm-bench``."""

import sys

from jepawm_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
