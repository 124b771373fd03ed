"""The documents for people: where they are, what is typed in them, and a program that runs the Python of one of them.

    python -m tests.documents docs/events.md

A block of Python is run, in the names that the blocks above it have made. An HTML comment right above it may say
otherwise: `<!-- examples/plain.py -->`, that it is a part of this file, which other tests run; or
`<!-- not run: needs AWS -->`, with the reason. Blocks that only the tests see go into a comment, too:
`<!-- invisible-code: python ... -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent

from sybil import Document, Example, Region
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]

COMMENT = re.compile(
    r"^[ ]*<!-- (?:not run: (?P<reason>\S.*)|(?P<file>examples/\S+)) -->(?=\n\s*```python\n)", re.MULTILINE
)
SHELL = re.compile(r"^[ ]*```(?:console)?\n(?P<lines>.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^[ ]*```.*?^[ ]*```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def typed(document: Path) -> Iterator[str]:
    """The command lines that a document tells people to type, in blocks and within sentences."""
    text = document.read_text()
    for block in SHELL.finditer(text):
        lines = dedent(block["lines"]).replace("\\\n", " ").splitlines()
        prompts = [line[2:] for line in lines if line.startswith("$ ")]
        yield from (one.strip() for line in prompts or lines for one in line.split("&&"))
    yield from INLINE.findall(FENCED.sub("", text))


def instead_of_running(document: Document) -> Iterable[Region]:
    """Sybil's parser for the comments that say what is done with the block below."""
    for comment in COMMENT.finditer(document.text):
        yield Region(comment.start(), comment.end(), comment["file"], _announce)


def _announce(comment: Example) -> None:
    def look_at(example: Example) -> None:
        example.document.pop_evaluator(look_at)
        compile(example.parsed, example.path, "exec")
        if comment.parsed and example.parsed.rstrip() not in (ROOT / comment.parsed).read_text():
            raise AssertionError(f"{example.path}, line {example.line}: this is not in {comment.parsed}")

    comment.document.push_evaluator(look_at)


def main(path: str) -> None:
    """Run all the Python of a document."""
    document = Document.parse(path, instead_of_running, PythonCodeBlockParser())
    document.namespace["__name__"] = "__main__"
    for example in document:
        print(f"line {example.line}", file=sys.stderr, flush=True)
        example.evaluate()


if __name__ == "__main__":
    main(sys.argv[1])
