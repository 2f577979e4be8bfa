"""``python -m services.sandbox --home DIR``: the sandbox without the console's command line."""

import argparse
import asyncio
import os
from pathlib import Path

from services.sandbox.home import default_home
from services.sandbox.server import Options, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="services.sandbox")
    parser.add_argument("--scenario", default="good")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--cluster", type=Path)
    given = parser.parse_args()
    home = (given.home or default_home(os.environ)).absolute()
    options = Options(home, given.scenario, given.speed, given.ready_file and given.ready_file.absolute(), given.cluster)
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
