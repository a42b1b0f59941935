"""The citation, the security policy and the glossary say what holds."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_citation_is_of_this_version_and_names_both_papers():
    citation = yaml.safe_load(read("CITATION.cff"))
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    assert citation["title"] == metadata["metadata"]["name"]
    assert str(citation["version"]) == metadata["metadata"]["version"]
    assert citation["license"] == metadata["metadata"]["license_expression"]
    papers = {paper["url"].rpartition("/")[2]: paper for paper in citation["references"]}
    assert papers.keys() == {"2605.05997", "2603.00515"}
    assert all(paper["title"] and paper["authors"] and paper["year"] == 2026 for paper in papers.values())


@pytest.mark.parametrize(
    "term",
    [
        "Imagery frame",
        "Imagery mark",
        "Latent block",
        "Latent",
        "Self-feeding",
        "DIFT",
        "4DRL",
        "Position rule",
        "Prefix sharing",
    ],
)
def test_the_glossary_defines_each_term_once_with_its_home(term):
    entries = read("docs/concepts.md").split("\n\n")
    (entry,) = [entry for entry in entries if re.match(rf"\*\*{term}(?:\.\*\*|\*\* \()", entry)]
    homes = re.findall(r"\]\((\.\./[\w/.]+)\)", entry)
    assert homes and all((ROOT / "docs" / home).exists() for home in homes)


@pytest.mark.parametrize("name", ["CITATION.cff", "SECURITY.md", "docs", "examples"])
def test_source_archives_take_it_along(name):
    words = read("MANIFEST.in").split()
    assert name in words


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"))
)


def find_prose(name):
    return re.sub(r"^```.*?^```$", "", read(name), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_in_the_checkout(page):
    """Those to sources too, which the built site shows as plain text."""
    for link in re.findall(r"\]\(<?([^)\s>]+)>?\)", find_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        place = (ROOT / page).parent / target if target else ROOT / page
        assert place.exists(), link
        if anchor and place.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", find_prose(place.resolve().relative_to(ROOT)), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in anchors, link


def test_examples_of_own_rows_are_read(tmp_path):
    from fourdthinker.dataset_builders import read_row_file

    blocks = re.findall(r"```json\n(.*?)```", read("docs/own_data.md"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    rows = read_row_file(tmp_path / "rows.jsonl", "grpo").with_format(None)
    assert [row["options"] for row in rows] == [["left", "right"]] * len(lines)
    assert list(rows["answer"]) == ["A", "B", "B", "B", "B"]


def test_names_of_columns_are_those_that_are_read():
    from fourdthinker.dataset_builders.sources.own_rows import _NAMES

    table = re.search(r"\| column \|.*?\n\n", read("docs/own_data.md"), re.DOTALL)[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert {name for names in _NAMES.values() for name in names} - {"messages", "conversations"} <= named
