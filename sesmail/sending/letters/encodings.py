"""In which encoding a list is written: told from its bytes where they tell, refused where they do not.

A wrong guess would not fail: it would greet everybody on the list by a garbled name.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import IO, NamedTuple

from sesmail.errors import ConfigurationError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    ("\u00ef\u00bb\u00bf".encode(), "utf-8"),  # the mark, taken for Latin-1 by some program and encoded once more
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_CHUNK_BYTES = 1 << 16


class Encoding(NamedTuple):
    """An encoding, by Python's name, and where the text begins: after how many bytes of marks."""

    name: str
    start: int


def encoding_of(file: IO[bytes], said: str | None = None) -> Encoding:
    """The encoding of a seekable file, all of which can be read in it; `said` is what somebody named.

    Raises `ConfigurationError` with what is wrong, without the file's name before it.
    """
    file.seek(0)
    head = file.read(4096)
    if head.startswith(_WORKBOOKS):
        raise ConfigurationError("is a workbook, not CSV: save it as CSV, in UTF-8. Nothing was queued.")
    marked, start = _mark(head)
    if said and marked and not marked.startswith(codecs.lookup(said).name.removesuffix("-sig")):
        raise ConfigurationError(f"says itself that it is in {marked}: leave --encoding out. Nothing was queued.")
    name = marked or said or _by_zeros(head)
    line = _first_line_not_in(file, Encoding(name, start))
    if line is None:
        return Encoding(name, start)
    if name == "utf-8" and not said and not marked and _is_western(file):
        return Encoding("cp1252", 0)
    advice = "" if said else ". Name its encoding with --encoding, such as " + _EXAMPLES
    raise ConfigurationError(f"is not in {name.upper()} (near line {line}){advice}. Nothing was queued.")


_EXAMPLES = "cp1252 (Western Europe), cp1250 (Central), cp1251 (Cyrillic) or mac_roman, or save it as CSV in UTF-8"


def _mark(head: bytes) -> tuple[str | None, int]:
    """What the marks at the beginning say, and how long they are: programs that add one do not look for another."""
    name, start = None, 0
    while found := [(mark, of) for mark, of in _MARKS if head.startswith(mark, start) and name in (None, of)]:
        name, start = found[0][1], start + len(found[0][0])
    return name, start


def _by_zeros(head: bytes) -> str:
    """UTF-16 without a mark has a zero beside every ASCII letter, always on the same side."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if bool(even) == bool(odd) or 4 * (even + odd) < len(head):
        return "utf-8"
    return "utf-16-le" if odd else "utf-16-be"


def _first_line_not_in(file: IO[bytes], encoding: Encoding) -> int | None:
    """The line with the first bytes that are no text in this encoding; None when there are none."""
    decoder = codecs.getincrementaldecoder(encoding.name)()
    file.seek(encoding.start)
    line = 1
    while True:
        chunk = file.read(_CHUNK_BYTES)
        try:
            line += decoder.decode(chunk, final=not chunk).count("\n")
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].decode(encoding.name, "replace").count("\n")
        if not chunk:
            return None


# Windows' Western encoding. Every byte is a letter in its sisters for other languages, too, so that "can be decoded"
# proves nothing: Dvořák in cp1250 is Dvoøák in cp1252. It is told by every word being spelt as one of these languages
# spells: https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WINDOWS/

_ALPHABETS = tuple(
    frozenset(letters + letters.upper())
    for letters in (
        "äöüßéç",  # German, with Turkish names
        "àâæçéèêëîïôœùûü",  # French
        "áéíóúüñçïàèò",  # Spanish, Catalan, Irish
        "áâãàçéêíóôõú",  # Portuguese
        "àèéìíîòóùú",  # Italian
        "åäöæøéü",  # the North
        "áâèéêëíïóôöúûü",  # Dutch
    )
)
# Letters in places where those languages do not have them, and other languages have another letter of the same byte:
# Latvian ē, Hungarian ő, Romanian ă, Polish ń, Czech ě and ů, South Slavic ć.
_ELSEWHERE = re.compile(r"ç(?=[b-df-hj-np-tv-z])|õ(?!e)|ã(?![oes]|$)|ñ(?![aeiouáéíóúü])|[ìù](?!$)|iæ$", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_ORDINAL = re.compile(r"(?<=\d)[ºª]|\b[Nn]º")
_MARKS_BESIDE_LETTERS = frozenset(
    b"\x82\x84\x85\x91\x92\x93\x94\xa0\xab\xbb".decode("cp1252")
)  # quotes, an ellipsis, a hard space
_MARKS_APART = re.compile(r"(?<![^\W\d_])[\u2013\u2014€£§°©®™·¡¿²³½¼¾\u00d7](?![^\W\d_])|(?<![^\W\d_])[¡¿]|(?<=m)[²³]")
# Quotes and an ellipsis in places where no language has them: in Apple's code they are letters, the ë of Zoë is an
# opening quote in cp1252, the í of García an apostrophe.
_LETTER = r"[^\W\d_]"
_ELIDED = "all|coll|dall|dell|nell|quell|sull|bell|sant|grand|aujourd|jusqu|lorsqu|presqu|puisqu|quelqu|quoiqu"
_ODD_MARKS = re.compile(
    rf"\u2026{_LETTER}|\u201d{_LETTER}|{_LETTER}[\u201e\u201a]"
    rf"|(?<!{_LETTER})(?!(?:{_ELIDED})\u2019){_LETTER}{{3,}}\u2019(?!(?:s|t|d|m|re|ve|ll)\b){_LETTER}",
    re.IGNORECASE,
)
_CLOSED_BY = {"\u201e": "\u201c", "\u201a": "\u2018"}
_UTF_8 = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def _is_western(file: IO[bytes]) -> bool:
    """Whether all of a file reads as cp1252. Not when some of it is UTF-8: then it is of two encodings."""
    file.seek(0)
    text = io.TextIOWrapper(file, "cp1252", newline="")
    try:
        return all(line.isascii() or _reads_western(line) for line in text)
    except UnicodeDecodeError:  # five bytes stand for nothing
        return False
    finally:
        text.detach()


def _reads_western(line: str) -> bool:
    if _UTF_8.search(line.encode("cp1252")) or _has_odd_marks(line):
        return False
    line = _ORDINAL.sub("", _MARKS_APART.sub("", line))
    others = set(_WORD.sub("", line)) - _MARKS_BESIDE_LETTERS
    return "".join(others).isascii() and all(word.isascii() or _is_spelt_western(word) for word in _WORD.findall(line))


def _has_odd_marks(line: str) -> bool:
    return _ODD_MARKS.search(line) is not None or any(
        line.count(opening) > line.count(closing)
        or (opening not in line and re.search(rf"{_LETTER}{closing}", line) is not None)
        for opening, closing in _CLOSED_BY.items()
    )


def _is_spelt_western(word: str) -> bool:
    strange = re.sub(r"[\x00-\x7f]", "", word)
    return (
        (len(word) == 1 or len(strange) < len(word))
        and not re.search(r"[^\x00-\x7f]{3}", word)
        and not re.search("[a-zß-ÿ][À-Þ]", word)
        and any(alphabet.issuperset(strange) for alphabet in _ALPHABETS)
        and not _ELSEWHERE.search(word)
    )
