"""``python -m services.sandbox --home DIR``: the sandbox without the console's command line."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from services.model.errors import Unavailable
from services.sandbox.errors import ApiError
from services.sandbox.home import HomeTaken, default_home
from services.sandbox.server import Options, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="services.sandbox")
    parser.add_argument("--scenario", default="good")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--cluster", type=Path)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    home = (given.home or default_home(os.environ)).absolute()
    options = Options(
        home, given.scenario, given.speed, given.ready_file and given.ready_file.absolute(), given.cluster, given.seed
    )
    try:
        asyncio.run(run(options))
    except (ApiError, HomeTaken, Unavailable) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
