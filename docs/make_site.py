"""Build the documentation: gather its pages into one folder and have Zensical build `site/` from them.

python docs/make_site.py [serve]

Pages lie where GitHub shows them: in `docs/`, beside the measurements and at the root. Zensical wants them below one
folder and links that stay in it. So they are copied to `build/docs/pages`, links between them rewritten; a link to any
other file of the project becomes its text. mkdocstrings sees nothing through the editable install of a namespace, and
takes types as they stand, so `build/docs/fourdthinker` is a copy of the sources with plain types in the docstrings.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("modeling", "trainers", "dataset_builders", "eval_tasks", "hub_cards")
# Pages outside `docs/`, and where the site has them.
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
}
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def published_pages(root: Path) -> dict[str, str]:
    """What becomes a page: its path in the project, and the one in the site. The README leads to the front page."""
    pages = {
        path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix()
        for path in sorted((root / "docs").rglob("*.md"))
    }
    measured = {
        path.relative_to(root).as_posix(): path.relative_to(root / "benchmarks").as_posix()
        for path in sorted((root / "benchmarks" / "results").rglob("*.md"))
    }
    return {**pages, **measured, **ELSEWHERE}


def rewrite_links(text: str, page: str, pages: dict[str, str]) -> str:
    """The text of a page with links that hold in the site.

    Args:
        text: Markdown.
        page: path of the page in the project.
        pages: what `published_pages` gives.
    """

    def rewrite(match: re.Match) -> str:
        label, link = match.groups()
        target, _, anchor = link.partition("#")
        if not target or re.match(r"[a-z]+:", link):
            return match[0]
        path = os.path.normpath(PurePosixPath(page).parent / target)
        if path not in pages:
            return label
        moved = os.path.relpath(pages[path], PurePosixPath(pages[page]).parent)
        return f"[{label}]({moved}{'#' + anchor if anchor else ''})"

    parts = _FENCED.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(rewrite, part) for part in parts)


def plain_docstrings(source: str) -> str:
    """A module whose docstrings say ``(float)`` for ``(`float`, *optional*, defaults to `0.1`)``.

    The page has a column for defaults. Names in brackets, which transformers' own tools link, become code.
    """
    source = re.sub(r"^(\s+\w+) \(([^()\n]*`[^()\n]*)\):", _plain_type, source, flags=re.MULTILINE)
    return re.sub(r"\[(`)~?([\w.]+`)\](?![\[(])", r"\1\2", source)


def _plain_type(match: re.Match) -> str:
    types = re.split(r", \*optional\*|, defaults to", match[2])[0].replace("`", "")
    return f"{match[1]} ({types}):"


def gather(root: Path, folder: Path) -> None:
    """Write all pages, their pictures and the links to the sources into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = published_pages(root)
    for page, place in pages.items():
        if page == "README.md":
            continue
        target = folder / "pages" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewrite_links((root / page).read_text(encoding="utf-8"), page, pages), encoding="utf-8")
    shutil.copytree(root / "docs" / "pictures", folder / "pages" / "pictures")
    for curves in (root / "benchmarks" / "results").rglob("*.svg"):
        shutil.copyfile(curves, folder / "pages" / curves.relative_to(root / "benchmarks"))
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            target = folder / "fourdthinker" / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(plain_docstrings(path.read_text(encoding="utf-8")), encoding="utf-8")


def main(command: str = "build") -> int:
    """Gather the pages and run Zensical, which ends with another code than 0 on a dead link."""
    gather(ROOT, ROOT / "build" / "docs")
    arguments = ["build", "--strict", "--clean"] if command == "build" else [command]
    try:
        return subprocess.run([sys.executable, "-m", "zensical", *arguments, "-f", "mkdocs.yml"], cwd=ROOT).returncode
    except KeyboardInterrupt:  # the way to end `serve`
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
