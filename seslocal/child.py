"""The process that `Simulator` starts: `python -m seslocal.child OPTIONS_AS_JSON PARENT_PROCESS_ID`."""

from __future__ import annotations

import json
import os
import select
import sys
import threading

from seslocal.cannot_start import CannotStart
from seslocal.options import Options
from seslocal.server import serve

PARENT_POLL_SECONDS = 0.5


def main() -> None:
    """Serve by the options until stopped, or until the parent is gone."""
    die_with(int(sys.argv[2]))
    try:
        serve(Options.from_json(json.loads(sys.argv[1])), announce="json")
    except CannotStart as error:
        sys.exit(str(error))


def die_with(parent: int) -> None:
    """End this process as soon as its parent is gone, however the parent ended.

    The end of standard input says so at once; a forked child of the parent may hold that pipe open, so the parent's
    process id is looked at too.
    """

    def watch() -> None:
        while os.getppid() == parent:
            ready, _, _ = select.select([sys.stdin.buffer], [], [], PARENT_POLL_SECONDS)
            if ready and not os.read(sys.stdin.fileno(), 1):
                break
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    main()
