"""Makes the picture of a terminal that README.md shows: python -m docs.terminal.

What stands in it is what the commands answer while a real worker mails a letter through the local SES, until its
24-hour quota is used up. To be run again, and looked at, when the commands say something else.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import tempfile
import time
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from demo.__main__ import HERE, PROGRAMS, settings, start, wait_for_worker
from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator

PICTURE = Path(__file__).parent / "pictures" / "terminal.svg"
COLUMNS = 80
RATE, QUOTA = 14, 200
FONT_FROM_ELSEWHERE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
LETTER = ["--subject", "News", "--html", HERE / "letter.html", "--key", "november", "--list", "news"]


def main() -> None:
    """Write the picture."""
    screen = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        redis = running.enter_context(EmbeddedRedis(Path(folder) / "redis"))
        ses = running.enter_context(Simulator(rate=RATE, quota=QUOTA))
        environment = settings(redis.url, ses.url) | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
        (Path(folder) / "celeryconfig.py").touch()
        start(running, folder, environment, "celery -A sesmail worker --loglevel=info")
        wait_for_worker(Path(folder))
        people = "\n".join(["email,name,boat", *(f"reader{number}@example.org,Ann,Otter" for number in range(600))])
        queue = [PROGRAMS / "sesmail", "send", "--csv", "-", *LETTER]
        subprocess.run(queue, cwd=folder, env=environment, input=people, text=True, check=True, capture_output=True)
        wait_for_emails(ses, QUOTA // 4)
        show(screen, "sesmail status", folder, environment)
        wait_for_emails(ses, QUOTA * 9 // 10)  # the rest is kept for transactional email
        time.sleep(5)
        show(screen, "sesmail why", folder, environment)
    svg = screen.export_svg(title="Why does my mail wait?", theme=MONOKAI, unique_id="terminal")
    PICTURE.write_text(FONT_FROM_ELSEWHERE.sub("", svg), encoding="utf-8")


def wait_for_emails(ses: Simulator, number: int) -> None:
    """Until SES has taken so many."""
    while ses.report()["accepted"]["calls"] < number:
        time.sleep(0.1)


def show(screen: Console, command: str, folder: str, environment: dict[str, str]) -> None:
    """A command and what it says to a terminal."""
    ours, theirs = pty.openpty()
    program, *arguments = command.split()
    done = subprocess.Popen([PROGRAMS / program, *arguments], cwd=folder, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # Linux's way to say that nobody writes any more
        pass
    done.wait()
    os.close(ours)
    screen.print(f"[bold]$ {command}[/bold]")
    screen.print(Text.from_ansi(said.decode().replace("\r\n", "\n")))


if __name__ == "__main__":
    main()
