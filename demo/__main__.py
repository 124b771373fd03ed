"""Mail an e-letter to 600 addresses of a local SES at exactly its rate, and check that it did.

Starts a Redis-compatible server, a local SES with AWS's limits, a Celery worker and beat, and queues the letter as you
would. Ends by itself; Ctrl-C ends it sooner, and nothing is left behind. Exit code 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sesmail.embedded import EmbeddedRedis, supervised
from sesmail.simulator import Simulator

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
RATE = 50
STALLED_SECONDS = 30
STOP_SECONDS = 15

screen = Console(highlight=False)


def main() -> int:
    """Run the demo; the exit code."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="sesmail-demo-") as folder:
        say("a Redis-compatible server with its data on disk")
        redis = running.enter_context(EmbeddedRedis(Path(folder) / "redis"))
        say(f"a local SES that takes {options.rate} recipients a second")
        ses = running.enter_context(Simulator(rate=options.rate, quota=50_000))
        environment = settings(redis.url, ses.url)
        (Path(folder) / "celeryconfig.py").touch()  # else one from elsewhere on the path would count
        start(running, folder, environment, "celery -A sesmail worker --loglevel=info")
        start(running, folder, environment, "celery -A sesmail beat --loglevel=info")
        wait_for_worker(Path(folder))
        queue(running, options, folder, environment)
        expected = sum(1 for _ in csv.DictReader(options.csv.open(encoding="utf-8-sig")))
        went_out = watch(ses, expected, options.rate)
        return verdict(ses.report(), expected, options.rate) if went_out else stalled(Path(folder), expected)
    return 1


def arguments() -> argparse.Namespace:
    """What may be asked otherwise."""
    parser = argparse.ArgumentParser(prog="run.py demo", description=__doc__)
    parser.add_argument("--csv", type=Path, default=HERE / "people.csv", help="the list (default: 600 addresses)")
    parser.add_argument("--html", type=Path, default=HERE / "letter.html", help="the letter (default: about 60 KB)")
    parser.add_argument("--text", type=Path, default=HERE / "letter.txt", help="the letter as plain text")
    parser.add_argument("--subject", default="{{name}}, the harbour in November", help="may use {{columns}} too")
    parser.add_argument(
        "--rate", type=int, default=RATE, help="what the local SES allows a second (default: %(default)s)"
    )
    return parser.parse_args()


def settings(redis_url: str, ses_url: str) -> dict[str, str]:
    """The environment of all that is started: nothing of it leads to AWS."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("SESMAIL_", "CELERY_", "AWS_"))
    } | {
        "SESMAIL_REDIS_URL": redis_url,
        "SESMAIL_FROM_EMAIL": "The harbour <letter@example.com>",
        "AWS_ENDPOINT_URL_SESV2": ses_url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def say(what: str) -> None:
    """What is started."""
    screen.print(f"[green]start[/]  {what}")


def start(running: ExitStack, folder: str, environment: dict[str, str], command: str) -> None:
    """Start one of Celery's programs in the empty folder."""
    say(command)
    name = command.split()[3]
    with (Path(folder) / f"{name}.log").open("wb") as log:
        launch(
            running, [PROGRAMS / "celery", *command.split()[1:]], cwd=folder, env=environment, stdout=log, stderr=log
        )


def wait_for_worker(folder: Path) -> None:
    """`sesmail send` says so where no worker has ever been heard. One that does not start is told of at the end."""
    until = time.monotonic() + STALLED_SECONDS
    while " ready." not in (folder / "worker.log").read_text(errors="replace") and time.monotonic() < until:
        time.sleep(0.1)


def launch(running: ExitStack, program: list[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program; it is stopped before what was started earlier, also if we are killed.

    Ctrl-C does not reach it, so that it can still write down what it did while Redis is there.
    """
    process = supervised(program, **options)
    running.callback(stop, process)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop; make it stop."""
    with process:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()


def queue(running: ExitStack, options: argparse.Namespace, folder: str, environment: dict[str, str]) -> None:
    """Queue the letter with the command that everybody uses."""
    letter = ["--subject", options.subject, "--html", options.html.resolve(), "--text", options.text.resolve()]
    screen.print(f"[green]queue[/]  sesmail send --csv {options.csv.name} --html {options.html.name} --key demo ...")
    command = [PROGRAMS / "sesmail", "send", "--csv", options.csv.resolve(), *letter, "--key", "demo"]
    if code := launch(running, command, cwd=folder, env=environment).wait():
        sys.exit(code)


def watch(ses: Simulator, expected: int, rate: int) -> bool:
    """Show the letter going out; False when nothing moves any more."""
    accepted, moved_at = 0, time.monotonic()
    columns = (TextColumn("[green]send[/]  "), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeElapsedColumn(), console=screen) as bar:
        row = bar.add_task("", total=expected, rate=f"limit {rate}/s")
        while accepted < expected and time.monotonic() - moved_at < STALLED_SECONDS:
            time.sleep(0.25)
            report = ses.report()
            if report["accepted"]["calls"] != accepted:
                accepted, moved_at = report["accepted"]["calls"], time.monotonic()
            fastest = report["max_recipients_in_any_second"]
            bar.update(row, completed=accepted, rate=f"limit {rate}/s, most in any second {fastest}")
    return accepted >= expected


def verdict(report: dict[str, Any], expected: int, rate: int) -> int:
    """Compare what SES saw with what was asked for."""
    accepted = report["accepted"]["calls"]
    seconds = (report["last_accepted_at"] or 0) - (report["first_accepted_at"] or 0)
    twice, fastest = report["duplicates"]["extra_messages"], report["max_recipients_in_any_second"]
    checks = {
        f"{accepted} accepted of {expected} rows": accepted == expected,
        f"{twice} sent twice": twice == 0,
        f"{fastest} at most in any second; the limit is {rate}": fastest <= rate,
        f"{report['refused_calls']} throttled": True,
        f"{(accepted - 1) / seconds if seconds else 0:.1f} a second over {seconds:.1f} s": True,
    }
    for text, holds in checks.items():
        screen.print(f"[green]  ok[/]   {text}" if holds else f"[red]  NOT[/]  {text}")
    return 0 if all(checks.values()) else 1


def stalled(folder: Path, expected: int) -> int:
    """Nothing moves: show what the worker said."""
    screen.print(
        f"[red]Nothing went out for {STALLED_SECONDS} s, with fewer than {expected} accepted.[/] The worker's log:"
    )
    screen.print((folder / "worker.log").read_text(errors="replace")[-4000:], markup=False)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        screen.print("[yellow]Interrupted; all is stopped.[/]")
        sys.exit(130)
