"""Makes a site of the documents: `python3 run.py docs` builds it and serves it on this machine.

    python3 run.py docs                 build, check, and serve on http://127.0.0.1:8000
    python3 run.py docs --port 8080     the same on another port
    python3 run.py docs --check         build and check only, as `run.py check` does

Sphinx builds it with MyST, which reads Markdown as GitHub shows it, and with the theme Furo, which asks no other host
for fonts or scripts; its search runs in the reader's browser. The sections and links of docs/README.md are the
site's contents: a page belongs to the section that links it first. What pages link to outside of docs/ (an example, a
Lua script) becomes a page that shows the file, so that the site is whole without a host of its own.

A warning of Sphinx, a link that leads nowhere, a page that needs more than two clicks, or a file that would be
fetched from elsewhere is a failure, and each is named.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "docs"
MOST_CLICKS = 2

# What stands beside docs/ and is a page all the same, by its name on the site.
PAGES = {
    "README.md": "overview",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
}
PICTURES = {".png", ".svg", ".webp"}
LANGUAGES = {
    ".py": "python",
    ".lua": "lua",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".toml": "toml",
    ".sh": "bash",
    ".json": "json",
}

FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"^ *<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
LINKING = {"a": "href", "form": "action"}  # the search is a form
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
SECTION = re.compile(r"^## ", re.MULTILINE)
PAGE_LINK = re.compile(r"\[(?P<label>[^\]]+)\]\((?P<name>[\w/-]+)\.md\)")


def main() -> None:
    """What the command line asks for; exits with 1 where the site has a fault."""
    parser = argparse.ArgumentParser(prog="run.py docs", description="Build the documentation as a site.")
    parser.add_argument("--check", action="store_true", help="build and check only; do not serve")
    parser.add_argument("--port", type=int, default=8000, help="serve on this port of 127.0.0.1 (8000)")
    arguments = parser.parse_args()
    site = build(BUILT)
    faults = problems(site)
    print("\n".join(faults) or f"The site is in {site}: every link leads somewhere, nothing is fetched from elsewhere.")
    if faults:
        sys.exit(1)
    if not arguments.check:
        serve(site, arguments.port)


def serve(site: Path, port: int) -> None:
    """Show it to this machine until Ctrl-C."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"Look at http://127.0.0.1:{server.server_port} and stop with Ctrl-C.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


# --- From the documents to what Sphinx reads


def build(folder: Path) -> Path:
    """Build the site into `folder`; the folder of its HTML. Exits with Sphinx's own code where it warns of anything."""
    from sphinx.cmd.build import build_main  # noqa: PLC0415  # `problems` is tested without it

    source, site = folder / "source", folder / "html"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    Stage(source).write()
    options = ["-q", "-n", "-W", "--keep-going", "-d", str(folder / "doctrees"), "-b", "html"]
    if code := build_main([*options, str(source), str(site)]):
        sys.exit(code)
    for page in site.rglob("*.html"):
        page.write_text(for_everybody(page.read_text(encoding="utf-8")), encoding="utf-8")
    return site


def for_everybody(html: str) -> str:
    """A page with what WCAG asks for and the theme lacks: its headings have a level, keys scroll what is too wide."""
    return html.replace('role="heading">', 'role="heading" aria-level="2">').replace("<pre>", '<pre tabindex="0">')


class Stage:
    """The folder that Sphinx reads: our pages under their names on the site, with their links made to lead there."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists and is empty."""
        self._folder = folder
        self._shown: set[Path] = set()

    def write(self) -> None:
        """Write everything."""
        for path in sorted((ROOT / "docs").glob("*.md")):
            self._put(page_name(path), self._page(path))
        for name, page in PAGES.items():
            self._put(page, self._page(ROOT / name))
        self._put("index", self._page(ROOT / "docs" / "README.md") + contents())
        (self._folder / "conf.py").write_text(CONFIGURATION.format(version=version()), encoding="utf-8")
        (self._folder / "site.css").write_text(STYLE, encoding="utf-8")

    def _put(self, name: str, text: str) -> None:
        path = self._folder / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _page(self, path: Path) -> str:
        """A document without what only the tests read, its links leading to pages of the site."""
        text = COMMENT.sub("", path.read_text(encoding="utf-8")).replace("```mermaid", "```text")  # GitHub draws it
        parts = re.split(f"({FENCED.pattern})", text, flags=FENCED.flags)
        return "".join(part if FENCED.fullmatch(part) else self._with_links(part, path) for part in parts)

    def _with_links(self, text: str, page: Path) -> str:
        def link(found: re.Match[str]) -> str:
            return f"]({self._target((page.parent / found['path']).resolve())}{found['anchor'] or ''})"

        return LINK.sub(link, text)

    def _target(self, path: Path) -> str:
        """Where a file of the project is on the site."""
        if path == ROOT / "docs":
            return "index.md"
        if path.suffix == ".md" and (path.parent == ROOT / "docs" or path.name in PAGES):
            return f"{page_name(path)}.md"
        if path.suffix in PICTURES:
            (self._folder / "pictures").mkdir(exist_ok=True)
            shutil.copy(path, self._folder / "pictures")
            return f"pictures/{path.name}"
        return self._show(path)

    def _show(self, path: Path) -> str:
        """A page that shows a file, or all files of a folder."""
        name = "files/" + re.sub(r"[/.]", "-", str(path.relative_to(ROOT)))
        if path not in self._shown:
            self._shown.add(path)
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if is_text(file))
            blocks = [shown(file, heading=str(file.relative_to(path)) if file != path else "") for file in files]
            self._put(
                name,
                f"---\norphan: true\nnosearch: true\n---\n\n# {path.relative_to(ROOT)}\n\n"
                + "\n\n".join(blocks)
                + "\n",
            )
        return f"{name}.md"


def page_name(path: Path) -> str:
    """A document's name on the site."""
    if path.parent == ROOT:
        return PAGES[path.name]
    return "index" if path.name == "README.md" else path.stem


def contents() -> str:
    """The site's table of contents, from the sections of docs/README.md: each page where it is linked first."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for name, page in PAGES.items():
        index = index.replace(f"](../{name})", f"]({page}.md)")
    seen: set[str] = set()
    trees = []
    for section in SECTION.split(index)[1:]:
        labels = {name: label for label, name in PAGE_LINK.findall(section) if name not in seen}
        seen.update(labels)
        if labels:
            heading = section.partition("\n")[0]
            entries = [f"{label} <{name}>" for name, label in labels.items()]
            trees.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *entries, "```", ""]))
    return "".join(trees)


def is_text(path: Path) -> bool:
    """Whether it is a file to be shown."""
    return path.is_file() and path.suffix in {*LANGUAGES, ".html", ".txt", ".md", ".csv"}


def shown(path: Path, heading: str) -> str:
    """A file as a block of code."""
    language = LANGUAGES.get(path.suffix, "text")
    block = f"~~~~{language}\n{path.read_text(encoding='utf-8').rstrip()}\n~~~~"
    return f"## {heading}\n\n{block}" if heading else block


def version() -> str:
    """The release that the site is about."""
    found = re.search(
        r'^__version__ = "(.+)"', (ROOT / "sesmail" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else ""


CONFIGURATION = """\
project = "sesmail"
release = "{version}"
html_title = "sesmail {version}"
extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_show_copyright = False
html_theme_options = {{"footer_icons": []}}
suppress_warnings = ["misc.highlighting_failure"]  # Pygments takes Lua's `<= ... >` for an attribute of Lua 5.4
"""

# Tables are what these pages have most of: they may be as wide as the page, and scroll by themselves on a telephone.
STYLE = """\
.content { width: 54em; }
table.docutils { margin-left: 0; }
table.docutils td, table.docutils th { text-align: left; vertical-align: top; }
td code, th code { overflow-wrap: normal; }
"""


# --- What is wrong with a built site


class _Page(HTMLParser):
    """What a page of HTML leads to, what it loads, and what can be led to within it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag in LINKING and LINKING[tag] in values:
            self.links.add(values[LINKING[tag]])
        elif tag in {"link", "script", "img", "iframe", "source"}:
            self.loads.update(values[name] for name in ("href", "src") if name in values)


def problems(site: Path) -> list[str]:
    """Each fault in words: links that lead nowhere, what is loaded from elsewhere, pages that are too far away."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        where = path.relative_to(site)
        elsewhere = sorted(load for load in page.loads if urlsplit(load).netloc)
        faults += [f"{where}: {load} is loaded from elsewhere" for load in elsewhere]
        faults += [f"{where}: {link} leads nowhere" for link in sorted(page.links) if not leads(link, path, pages)]
    for sheet in sorted(site.rglob("*.css")):
        found = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text(encoding="utf-8"))
        faults += [f"{sheet.relative_to(site)}: {load} is loaded from elsewhere" for load in found]
    return faults + [
        f"{path.relative_to(site)} is not reached in {MOST_CLICKS} clicks" for path in far_away(site, pages)
    ]


def leads(link: str, page: Path, pages: dict[Path, _Page]) -> bool:
    """Whether a link within the site leads to something that is there; of other hosts nothing can be said."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].anchors


def far_away(site: Path, pages: dict[Path, _Page]) -> list[Path]:
    """The pages that need more than two clicks from the first one."""
    near = {site / "index.html"}
    for _ in range(MOST_CLICKS):
        links = [(page, urlsplit(link)) for page in near for link in pages[page].links]
        near |= {
            (page.parent / unquote(link.path)).resolve() for page, link in links if not link.scheme and link.path
        } & set(pages)
    return sorted(set(pages) - near)


if __name__ == "__main__":
    main()
