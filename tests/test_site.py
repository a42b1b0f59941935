"""The documentation as a site: it builds without a warning, asks no other host for anything, and reads on a phone."""

import functools
import http.server
import re
import runpy
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from .chromium import open_chromium

ROOT = Path(__file__).resolve().parents[1]
# Elements whose address is fetched when a page is shown; that of `a` is not.
FETCHED = {"img", "script", "iframe", "source", "video", "audio", "embed", "object", "track", "input", "use", "image"}
LINKS_THAT_FETCH = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
    "prefetch",
    "manifest",
}


@pytest.fixture(scope="module")
def make_site():
    return runpy.run_path(str(ROOT / "docs" / "make_site.py"))


@pytest.fixture(scope="module")
def site(make_site, tmp_path_factory):
    """The built site."""
    pytest.importorskip("zensical", reason="the site needs the docs extra")
    pytest.importorskip("mkdocstrings", reason="the site needs the docs extra")
    folder = tmp_path_factory.mktemp("docs")
    make_site["gather"](ROOT, folder / "build" / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return folder / "site"


class Requests(HTMLParser):
    """Collects what a browser fetches to show a page, and where its links lead."""

    def __init__(self, text: str):
        super().__init__()
        self.fetched, self.links, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.add(values.get("id"))
        if tag in FETCHED or (tag == "link" and LINKS_THAT_FETCH & set(values.get("rel", "").split())):
            self.fetched += [values[name] for name in ("src", "href", "data", "poster") if values.get(name)]
            self.fetched += [part.split()[0] for part in (values.get("srcset") or "").split(",") if part.strip()]
        elif tag == "a" and values.get("href"):
            self.links.append(values["href"])


def navigation(entries):
    for entry in entries:
        for target in entry.values():
            yield from navigation(target) if isinstance(target, list) else [target]


def test_navigation_and_pages_are_the_same(make_site):
    listed = list(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = set(make_site["published_pages"](ROOT).values())
    assert len(listed) == len(set(listed))
    assert set(listed) == {page for page in pages if not page.startswith("results/")}


def test_links_are_rewritten_to_where_pages_are(make_site):
    pages = {"docs/a.md": "a.md", "docs/in/b.md": "in/b.md", "SECURITY.md": "security.md", "README.md": "index.md"}
    rewrite = functools.partial(make_site["rewrite_links"], pages=pages)
    assert rewrite("[s](../SECURITY.md#x) [b](in/b.md)", "docs/a.md") == "[s](security.md#x) [b](in/b.md)"
    assert rewrite("[s](../../SECURITY.md) [a](../a.md#y)", "docs/in/b.md") == "[s](../security.md) [a](../a.md#y)"
    assert rewrite("[`x`](../modeling/x.py), [w](https://a.b/c)", "docs/a.md") == "`x`, [w](https://a.b/c)"
    assert rewrite("```\n[s](../SECURITY.md)\n```", "docs/a.md") == "```\n[s](../SECURITY.md)\n```"
    assert rewrite("![p](pictures/p.svg)", "docs/a.md") == "![p](pictures/p.svg)"


def test_what_a_page_fetches_is_seen():
    page = Requests(
        '<link rel="stylesheet" href="//a.b/x.css"><link rel="next" href="c.html"><a id="top" href="https://a.b">'
        '<img src="p.svg" srcset="https://a.b/1.png 1x, 2.png 2x"><script src="https://a.b/y.js"></script>'
    )
    assert page.fetched == ["//a.b/x.css", "p.svg", "https://a.b/1.png", "2.png", "https://a.b/y.js"]
    assert page.links == ["https://a.b"] and "top" in page.anchors


def test_docstrings_are_made_plain(make_site):
    plain = make_site["plain_docstrings"]
    assert (
        plain("    Args:\n        size (`int`, *optional*, defaults to `4`):\n") == "    Args:\n        size (int):\n"
    )
    assert plain("        path (`str` or `os.PathLike`): A file.\n") == "        path (str or os.PathLike): A file.\n"
    assert plain("of [`DIFTTrainer`] and [`~trl.SFTConfig`]") == "of `DIFTTrainer` and `trl.SFTConfig`"
    assert plain("def f(a): return a[`b`](c)") == "def f(a): return a[`b`](c)"


@pytest.mark.slow
def test_no_page_asks_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        outside = [url for url in Requests(page.read_text(encoding="utf-8")).fetched if urlsplit(url).netloc]
        assert not outside, page.relative_to(site)
    for style in site.rglob("*.css"):
        addresses = re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')]+)", style.read_text(encoding="utf-8"))
        assert not [url for url in addresses if urlsplit(url).netloc], style.relative_to(site)


@pytest.mark.slow
def test_links_inside_the_site_lead_somewhere(site):
    parsed = {
        page: Requests(page.read_text(encoding="utf-8")) for page in site.rglob("*.html") if page.name != "404.html"
    }
    for page, requests in parsed.items():
        for link in (*requests.links, *requests.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / parts.path).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.relative_to(site)} leads to {link}"
            if parts.fragment and target in parsed:
                assert parts.fragment in parsed[target].anchors, f"{page.relative_to(site)} leads to {link}"


@pytest.mark.slow
def test_reference_shows_the_docstrings_of_public_names(site):
    for page, names in {
        "modeling": ("load_model", "from_backbone", "LatentRules", "dift_loss", "InputError"),
        "trainers": ("DIFTConfig", "DIFTTrainer", "LatentGRPOConfig", "LatentGRPOTrainer", "accuracy_reward"),
        "dataset_builders": ("FourDCoT", "read_row_file", "World"),
        "eval_tasks": ("extract_answer", "score"),
        "hub_cards": ("model_card", "dataset_card"),
    }.items():
        text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
        headings = re.findall(r'<h\d id="fourdthinker\.([\w.]+)"', text)
        assert set(names) <= {heading.rpartition(".")[2] for heading in headings}, page
        assert text.count("doc-contents") >= len(names)


@pytest.fixture(scope="module")
def address(site):
    """The site on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as chromium:
        yield chromium


SHOWN = {
    "light": None,  # every page of the navigation
    "dark": ["index.html", "method.html", "errors.html", "reference/trainers.html"],
}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SHOWN)
def test_pages_fit_a_desktop_and_a_phone(site, address, browser, scheme):
    """No sideways scroll, no console error, no request to another host, and the reader's own light or dark."""
    names = SHOWN[scheme] or sorted(
        path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.parent.name != "results"
    )
    page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800})
    trouble = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url) if _leaves(request.url, address) else None)
    for name in names:
        page.goto(f"{address}/{name}", timeout=120_000)
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} at {width} px"
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth || !i.alt).map(i => i.src)"
        assert not page.evaluate(broken), name
    assert not trouble
    colors = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    text, ground = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert (text < ground) == (scheme == "light")
    page.close()


def _leaves(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))
