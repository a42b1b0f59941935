"""The page of a build: it shows what the rows hold, and nothing in a row can become a part of the page."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.preview.page import write_preview
from fourdthinker.modeling.errors import InputError

HOSTILE = '<script>alert(1)</script>"\'><img src="https://elsewhere.example/x.png" onerror="alert(2)">&amp;{{ 7 * 7 }}'
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "article",
        "div",
        "h1",
        "h2",
        "h3",
        "details",
        "summary",
    ),
    *("p", "span", "ul", "li", "table", "tr", "th", "td", "b", "br", "code", "pre", "figure", "img", "figcaption"),
    *("svg", "path", "rect", "circle", "text", "g"),
}


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.handlers, self.texts, self.right = set(), [], [], [], []
        self._in_right = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self._in_right = tag == "li" and ("class", "right") in attrs

    def handle_data(self, data):
        self.texts.append(data)
        if self._in_right:
            self.right.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def make_row(number, size=(56, 28), **columns):
    frames = [Image.new("RGB", size, (40 * place, 0, number)) for place in range(3)]
    row = {"id": f"walk-000-camera-{number}", "source": "walk.mp4", "task": "camera_motion", "question": "Which way?"}
    row |= {"options": ["Pan Left", "Pan Right"], "answer": "B", "frames": frames, "timestamps": [0.0, 0.5, 1.25]}
    row |= {"facts": '{"seconds": [0.0, 1.25], "Pan Right": 24.6}', "imagery": frames[:1], "imagery_timestamps": [0.5]}
    row |= {"response": "<think>I see it <output_image> there.</think><answer>B. Pan Right</answer>"}
    return {**row, **columns}


def build(folder, rows, test=()):
    folder.mkdir()
    write_dataset({"dift": {"train": rows, **({"test": test} if test else {})}}, folder)
    return folder


def open_page(path):
    return Page(path.read_text(encoding="utf-8"))


def test_a_row_is_shown_with_all_that_it_holds(tmp_path):
    path = write_preview(build(tmp_path / "data", [make_row(0, size=(800, 448))]), 5)
    page = open_page(path)
    assert path == tmp_path / "data/preview/index.html"
    for text in ("Which way?", "A. Pan Left", "24.6", "walk.mp4", "0.50 s imagined", "1.25 s", "imagery 1, 0.50 s"):
        assert text in page.text
    assert "".join(page.right).strip() == "B. Pan Right ✓"
    assert "I see it imagery 1 there." in page.text
    assert len(page.links) == 4
    for link in page.links:
        with Image.open(path.parent / link) as picture:
            assert max(picture.size) == 360 and picture.size[0] / picture.size[1] == pytest.approx(800 / 448, abs=0.01)


def test_texts_and_names_cannot_become_markup(tmp_path):
    row = make_row(0, question=HOSTILE, source=HOSTILE, task=HOSTILE, options=[HOSTILE, "b"], answer="A")
    row |= {"response": HOSTILE + "<output_image>" + HOSTILE, "facts": json.dumps({HOSTILE: HOSTILE})}
    folder = build(tmp_path / "data", [row])
    fault = {"clip": HOSTILE, "source": HOSTILE, "stage": HOSTILE, "code": HOSTILE, "reason": HOSTILE, "remedy": ""}
    (folder / "quarantine.jsonl").write_text(json.dumps(fault) + "\n")
    (folder / "gates.json").write_text(json.dumps([{HOSTILE: HOSTILE}]))
    page = open_page(write_preview(folder, 1))
    assert page.tags <= ALLOWED and page.handlers == []
    assert all(link.startswith("pictures/") for link in page.links)
    # Task in the header and the row, right option in both, source, question, response twice, fact twice, fault four
    # times, gate twice.
    assert page.text.count(" ".join(HOSTILE.split())) >= 15


def test_the_page_takes_nothing_from_elsewhere(tmp_path):
    text = write_preview(build(tmp_path / "data", [make_row(0)]), 1).read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text and "@import" not in text


def test_rows_are_drawn_from_all_splits_and_stay_the_same(tmp_path):
    rows = [make_row(number, task=f"task {number % 2}") for number in range(30)]
    folder = build(tmp_path / "data", rows[:20], rows[20:])
    first = write_preview(folder, 12).read_text(encoding="utf-8")
    page = Page(first)
    assert "30 rows, 20 train, 10 test. Shown here: 12, drawn at random." in page.text
    assert "task 0 15" in page.text and "task 1 15" in page.text and "Pan Right 15" in page.text
    assert "split train" in page.text and "split test" in page.text
    assert len({link[:13] for link in page.links}) == 12
    assert write_preview(folder, 12).read_text(encoding="utf-8") == first


def test_a_new_page_replaces_the_old_one_as_a_whole(tmp_path):
    folder = build(tmp_path / "data", [make_row(number) for number in range(3)])
    write_preview(folder, 3)
    write_preview(folder, 1)
    assert {path.name[:4] for path in (folder / "preview/pictures").iterdir()} == {"0001"}
    assert {path.name for path in folder.iterdir()} == {"README.md", "dift", "preview"}


@pytest.mark.parametrize("wrapped", [True, False])
def test_gates_are_shown_where_there_are_any(tmp_path, wrapped):
    folder = build(tmp_path / "data", [make_row(0)])
    assert "Gates" not in open_page(write_preview(folder, 1)).text
    gates = [{"gate": "one frame", "accuracy": 0.51234567, "passed": False}, {"gate": "letters", "p": None}]
    (folder / "gates.json").write_text(json.dumps({"gates": gates} if wrapped else gates))
    page = write_preview(folder, 1).read_text(encoding="utf-8")
    assert "Gates gate accuracy passed p one frame 0.5123 no letters" in Page(page).text
    assert '<td class="failed">no</td>' in page
    (folder / "gates.json").write_text('[{"gate": ')
    assert "Gates" not in open_page(write_preview(folder, 1)).text


def test_gates_of_the_card_are_shown(tmp_path):
    folder = build(tmp_path / "data", [make_row(0)])
    with open(folder / "README.md", "a", encoding="utf-8") as card:
        card.write(
            "\n<!-- gates -->\n## Gates\n\n```text\ngate     outcome\n<b>one   FAIL\n```\n<!-- end of gates -->\n"
        )
    page = write_preview(folder, 1).read_text(encoding="utf-8")
    assert "<pre>gate     outcome\n&lt;b&gt;one   FAIL</pre>" in page


def test_what_was_left_out_is_counted_by_code(tmp_path):
    folder = build(tmp_path / "data", [make_row(0)])
    fault = {
        "clip": "a-000",
        "source": "a.mp4",
        "stage": "poses",
        "code": "unclear",
        "reason": "no move",
        "remedy": "move",
    }
    faults = [fault, {**fault, "clip": "b-000"}, {**fault, "stage": "shots", "code": "damaged"}]
    (folder / "quarantine.jsonl").write_text("".join(json.dumps(fault) + "\n" for fault in faults))
    text = open_page(write_preview(folder, 1)).text
    assert "Shown here: all." in text
    assert "unclear in poses a-000: no move; move 2 damaged in shots a-000: no move; move 1" in text
    assert "Every clip that was left out" in text and "b-000 unclear poses no move move" in text


def test_measurements_do_not_fill_the_overview(tmp_path):
    folder = build(tmp_path / "data", [make_row(0)])
    reason = f"no path fits ({', '.join(f'error_{number} {number}' for number in range(40))}); nothing moves"
    fault = {"clip": "a-000", "source": "a.mp4", "stage": "facts", "code": "unclear", "reason": reason, "remedy": ""}
    (folder / "quarantine.jsonl").write_text(json.dumps(fault))
    text = open_page(write_preview(folder, 1)).text
    assert "a-000: no path fits; nothing moves 1" in text and text.count("error_39") == 1, "the list has them"


def test_many_right_options_are_cut_short(tmp_path):
    rows = [make_row(number, options=[f"{number} m", "none"], answer="A") for number in range(25)]
    assert "5 others 5" in open_page(write_preview(build(tmp_path / "data", rows), 1)).text


@pytest.mark.medium
def test_rows_that_are_not_of_videos_need_no_extra(tmp_path):
    folder = build(tmp_path / "data", [make_row(0)])
    code = f"""
import sys
for name in ("cv2", "pycocotools", "pycolmap", "scenedetect", "scipy", "rerun"):
    sys.modules[name] = None
from pathlib import Path
from fourdthinker.dataset_builders.preview.page import write_preview
print(write_preview(Path({str(folder)!r}), 1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (folder / "preview/index.html").is_file()


def test_a_folder_without_rows_is_named(tmp_path):
    with pytest.raises(InputError, match="has no rows in dift"):
        write_preview(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
