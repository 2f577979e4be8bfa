"""``python -m console``: the same as ``quarterdeck``."""

import sys

from console.cli import main

if __name__ == "__main__":
    sys.exit(main())
