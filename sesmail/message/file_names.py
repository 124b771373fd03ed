"""Names of files: how they travel, and which of them SES refuses, wherever in an email they stand."""

from __future__ import annotations

import re

from sesmail.errors import InvalidEmail
from sesmail.message.parts import names_within
from sesmail.message.text import as_text, line

_REFUSED = """
ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its js jse ksh
lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msh1 msh2 mshxml msh1xml
msh2xml msi msp mst ops pcd pif plg prf prg reg scf scr sct shb shs sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp
url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf wsh xnk
"""
REFUSED_EXTENSIONS = frozenset(_REFUSED.split())
"""SES sends no email that has such a file: https://docs.aws.amazon.com/ses/latest/dg/mime-types.html"""

_NOT_CARRIED = re.compile(r'[\\/:*?"<>|]')
"""What no file on Windows may have in its name: SES is reported to refuse it as a bad request."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_OF_BYTES = re.compile("[\udc80-\udcff]")


def file_name(value: object) -> str:
    """A name that SES takes. Raises `InvalidEmail`."""
    text = as_text("filename", value)
    if isinstance(text, str) and _OF_BYTES.search(text) and not _SURROGATE.search(_OF_BYTES.sub("", text)):
        # Python's way to hand on a name on disk that is not UTF-8: https://peps.python.org/pep-0383/
        text = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace").replace("\ufffd", "_")
    filename = line("filename", text, 255)
    if (size := len(filename.encode())) > 255:
        raise InvalidEmail("filename", f"has {size} bytes in UTF-8", "at most 255")
    if (extension := _refused_extension(filename)) is not None:
        raise InvalidEmail("filename", f"SES sends no email with a .{extension} file: {_INSTEAD}")
    return filename


def carried_name(filename: str) -> str:
    """A name as it travels: readers could not save a file by another."""
    return _NOT_CARRIED.sub("_", filename)


_INSTEAD = "give it in a .zip, or a link to it"


def refuse_files_within(content: bytes, content_type: str) -> None:
    """Raise `InvalidEmail` where a forwarded email, or a part of one, holds a file that SES refuses."""
    for name in names_within(content, content_type):
        if (extension := _refused_extension(name)) is not None:
            raise InvalidEmail("content", f"SES sends no email with a .{extension} file, which is in it: {_INSTEAD}")


def _refused_extension(filename: str) -> str | None:
    extension = filename.rstrip(". ").rpartition(".")[2].lower()
    return extension if extension in REFUSED_EXTENSIONS and "." in filename else None
