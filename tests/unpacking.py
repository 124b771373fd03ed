"""Archives that tests unpack, also with a Python 3.11 of before 3.11.4."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """By the safe filter, where this Python has it: https://docs.python.org/3/library/tarfile.html#hints-for-further-verification."""
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(folder)
