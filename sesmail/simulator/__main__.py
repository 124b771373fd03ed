"""The process that `Simulator` starts: `python -m sesmail.simulator OPTIONS_AS_JSON PARENT_PROCESS_ID`."""

from __future__ import annotations

import json
import sys

from sesmail.simulator.options import Options
from sesmail.simulator.server import CannotStart, die_with, serve

if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    try:
        serve(Options.from_json(json.loads(sys.argv[1])), announce="json")
    except CannotStart as error:
        sys.exit(str(error))
