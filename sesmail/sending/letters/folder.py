"""An application's letters as files: `welcome.subject.txt`, `welcome.txt`, `welcome.html`, and in `de/` the German."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBJECT = ".subject.txt"


def parts_in(folder: Path, name: str, language: str | None) -> dict[str, str]:
    """Subject, text and HTML of the letter of that name, as far as there are files. Raises `ConfigurationError`."""
    places = [*_places(folder, language)]
    for place in places:
        subject = place / f"{name}{SUBJECT}"
        if not subject.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError("The letter's name or language leads out of its folder. Nothing was queued.")
        if subject.is_file():
            bodies = {"text": place / f"{name}.txt", "html": place / f"{name}.html"}
            read = {part: _read(path) for part, path in bodies.items() if path.is_file()}
            return {"subject": _read(subject).strip(), **read}
    looked_in = " or ".join(map(str, places))
    raise ConfigurationError(
        f"There is no letter {name}: no file {name}{SUBJECT} in {looked_in}. Nothing was queued. Beside it belongs "
        f"{name}.txt or {name}.html, or both."
    )


def _places(folder: Path, language: str | None) -> Iterator[Path]:
    """The most exact first: `de-AT` and `de_AT`, `de`, none."""
    if language:
        tag = language.replace("_", "-")
        yield from dict.fromkeys(folder / each for each in (tag, tag.replace("-", "_"), tag.partition("-")[0]))
    yield folder


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path.name} is not in UTF-8: {error}. Nothing was queued.") from None
