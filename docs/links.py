"""The links that lead away from this project: python -m docs.links asks each whether it lives. Needs a network.

Those within the documents are checked by `python -m docs.site --check`.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import click
import urllib3

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"https://[a-z0-9.-]+\.[a-z]+/[^\s)<>\"'`|\]{}\\,;]*")
MADE_UP = re.compile(r"(^|\.)(example\.(com|org|net)|amazonaws\.com(\.cn)?|amazonwebservices\.eu)$")
"""Hosts of examples and of AWS's API: nobody is meant to open those."""
WRITTEN = ("*.md", "docs/*.md", "sesmail/**/*.py", "sesmail/**/*.lua", "seslocal/**/*.py", "deploy/*.yaml")


def links() -> dict[str, Path]:
    """Each link to somebody else's page, and a file that has it."""
    files = [path for pattern in WRITTEN for path in sorted(ROOT.glob(pattern))]
    found = {link.rstrip(".:*"): path for path in files for link in LINK.findall(path.read_text(encoding="utf-8"))}
    return {link: path for link, path in found.items() if not MADE_UP.search(host_of(link))}


def host_of(link: str) -> str:
    """Whose page it is."""
    return urlsplit(link).hostname or ""


def trouble_with(link: str) -> str:
    """Why it does not live; empty where it does."""
    try:
        answer = urllib3.request("GET", link, headers={"User-Agent": "Mozilla/5.0"}, timeout=20, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return type(error).__name__
    answers_browsers_only = answer.status in {403, 405, 429}
    return "" if answer.status < 400 or answers_browsers_only else f"answers {answer.status}"


def main() -> None:
    """Ask each; exit code 1 where one does not live."""
    found = links()
    with ThreadPoolExecutor(8) as pool:
        troubles = dict(zip(found, pool.map(trouble_with, found), strict=True))
    dead = {link: trouble for link, trouble in troubles.items() if trouble}
    for link, trouble in sorted(dead.items()):
        click.echo(f"{found[link].relative_to(ROOT)}: {link}: {trouble}")
    click.echo(f"{len(found) - len(dead)} of {len(found)} links live.")
    sys.exit(bool(dead))


if __name__ == "__main__":
    main()
