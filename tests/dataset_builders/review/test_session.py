"""Judging a real build, over HTTP and by the builder: what was decided is kept, shown and honoured."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from datasets import load_dataset

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.review.items import open_build  # noqa: E402
from fourdthinker.dataset_builders.review.page import ReviewPage  # noqa: E402
from fourdthinker.dataset_builders.review.session import ReviewSession  # noqa: E402
from fourdthinker.dataset_builders.review.verdicts import REVIEW, ReviewFile  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

from ...made_clips import film_still_camera  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    film_still_camera(folder / "one.mp4", seed=2, step=8)
    film_still_camera(folder / "two.mp4", seed=3, step=7)
    return folder


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory):
    output = tmp_path_factory.mktemp("built") / "data"
    assert build(clips, output) == 0
    return output


def build(clips, output):
    return main(["build-data", "--source", str(clips), "--output", str(output)])


def rows_of(output):
    stored = load_dataset("parquet", data_files=str(output / "dift" / "*.parquet"), split="train")
    return {row["id"]: row for row in stored.remove_columns(["frames", "imagery", "imagery_masks"])}


class Server:
    """`fourdthinker review` in a process of its own, asked as its page asks."""

    def __init__(self, output, reviewer):
        command = [sys.executable, "-m", "fourdthinker.cli", "review", str(output), "--port", "0"]
        # A proxy that is not there: nothing may go through it.
        environment = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        self.process = subprocess.Popen(
            [*command, "--reviewer", reviewer], stdout=subprocess.PIPE, text=True, env=environment
        )
        self.start = self.process.stdout.readline()
        self.address = self.process.stdout.readline().removeprefix("open ").strip()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()

    def get(self, path="", **headers):
        return self._opener.open(urllib.request.Request(self.address + path, headers=headers), timeout=60)

    def ask(self, endpoint, *data):
        """What an endpoint shows: its parts of the page."""
        call = f"{self.address}gradio_api/call/{endpoint}"
        request = urllib.request.Request(
            call, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
        )
        event = json.load(self._opener.open(request, timeout=60))["event_id"]
        answer = self._opener.open(f"{call}/{event}", timeout=60).read().decode()
        assert "event: complete" in answer, answer
        return json.loads(answer.rpartition("data: ")[2])


def shown(parts):
    return re.search(r'data-subject="(\w*)"', parts[1])[1]


def test_items_are_overlays_before_their_rows(built):
    items = open_build(built).items
    assert {item.id for item in items if item.is_row} == set(rows_of(built))
    places = {item.subject: number for number, item in enumerate(items)}
    for item in items:
        if item.is_row and item.track:
            assert places[item.track] < places[item.subject]
    assert {item.name for item in items if not item.is_row} == {"moving object", ""}
    assert len(places) == len(items)


def test_verdicts_over_http_survive_a_kill_and_the_next_build_honours_them(clips, built, capsys):
    items = open_build(built).items
    renamed, rejected = (
        next(i for i in items if not i.is_row and i.name and i.id.startswith(clip)) for clip in ("one", "two")
    )
    with Server(built, "ann") as ann:
        assert ann.start.startswith(f"0 judged · {len(items)} left")
        first = ann.ask("first")
        assert shown(first) == items[0].subject and "data:image/jpeg;base64," in first[1]
        after = ann.ask("accept", shown(first), "")
        assert shown(after) == items[1].subject and f"{len(items) - 1} left" in after[0]
        assert shown(ann.ask("accept", shown(first), "")) == items[1].subject, "a key pressed twice judges one item"
        assert shown(ann.ask("back", items[1].subject, "")) == items[0].subject
        assert f"{len(items)} left" in ann.ask("undo", items[0].subject, "")[0]
        refused = ann.ask("reject", rejected.subject, "  ")
        assert shown(refused) == rejected.subject and "needs a reason" in refused[2]
        refused = ann.ask("rename", renamed.subject, "<script>alert(1)</script>")
        assert "must be plain words" in refused[2] and "<script>" not in refused[2]
        assert refused[3] == "<script>alert(1)</script>", "the text stays to be mended"
        assert ann.ask("rename", renamed.subject, "the blue square")[3] == ""
        ann.ask("reject", rejected.subject, 'wrong "mask"')
        os.kill(ann.process.pid, signal.SIGKILL)
    with open(built / REVIEW, "ab") as file:
        file.write(b'{"subject": "torn')  # the machine died, too
    with Server(built, "ann") as ann:
        about = [i for i in items if i.is_row and i.name and i.id.startswith("two")]
        left = len(items) - 2 - len(about)  # rows about a rejected object are settled with it
        assert ann.start.startswith(f"2 judged · {left} left · you agree with 1 of 2 (50%)")
    with Server(built, "ben") as ben:
        assert f"{len(items)} left" in ben.start, "another reviewer begins anew"
        page = ben.ask("reject", renamed.subject, "no object")
        assert "reviewers agree on 0 of 1 (0%)" in page[0]
        ben.ask("undo", renamed.subject, "")

    before = rows_of(built)
    assert build(clips, built) == 0
    assert "and 1 overlay left out, 1 name corrected" in capsys.readouterr().out
    rows = rows_of(built)
    gone = {i.id for i in items if i.is_row and i.name and i.id.startswith("two")}
    assert set(rows) == set(before) - gone and gone
    about = [row for row in rows.values() if row["id"].startswith("one") and "object" in row["id"]]
    assert about and all("the blue square" in row["question"] + row["response"] for row in about)
    assert all("moving object" not in row["question"] + row["response"] for row in about)
    session = ReviewSession(open_build(built), "ann")
    assert session.verdicts()[renamed.subject].name == "blue square", "a corrected name is no other object"
    assert session.item(renamed.subject).name == "blue square"

    state = {path: path.stat().st_mtime_ns for path in built.rglob("*.parquet")}
    assert build(clips, built) == 0
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*.parquet")} == state, "nothing is made again"
    lines = (built / REVIEW).read_text(encoding="utf-8").splitlines()
    assert len(ReviewFile(built).read()) == len(lines) - 1


def test_one_row_can_be_rejected(clips, built):
    session = ReviewSession(open_build(built), "cid")
    row = next(item for item in session.build.items if item.is_row and not item.name)
    session.judge(row.subject, "reject", "unclear question")
    assert build(clips, built) == 0
    assert row.id not in rows_of(built)
    session.judge(row.subject, "undo")
    assert build(clips, built) == 0
    assert row.id in rows_of(built)
    with pytest.raises(InputError, match="only moving objects"):
        session.judge(row.subject, "rename", "dog")
    with pytest.raises(InputError, match="not in the build any more"):
        session.judge("0" * 24, "accept")


def test_the_page_asks_for_nothing_from_elsewhere(built):
    with Server(built, "ann") as ann:
        answer = ann.get()
        page, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
        assert ann.address.startswith("http://127.0.0.1:")
        assert "connect-src 'self'" in policy and "https:" not in policy
        fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"'](https?:[^\"']+)", page)
        assert fetched == []
        assert "fonts.googleapis" not in page
        with pytest.raises(urllib.error.HTTPError) as caught:
            ann.get(Host="evil.example")
        assert caught.value.code == 400


def test_ends_in_one_line(built, capsys):
    server = Server(built, "ann")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.stdout.read().strip().splitlines()[-1].startswith("ended: ")
    assert server.process.wait(60) == 0


def test_every_item_can_be_shown_and_the_end_is_said(built):
    page = ReviewPage(ReviewSession(open_build(built), "dan"))
    parts, seen = page.first(), []
    while (subject := shown(parts)) and len(seen) < 100:
        seen.append(subject)
        assert "data:image/jpeg;base64," in parts[1] and parts[2].endswith("></div>")
        parts = page.judge("accept", subject)
    assert seen == [item.subject for item in page.session.build.items]
    assert "All done" in parts[1] and "· 0 left · you agree with" in parts[0]
    assert shown(page.go("", -1)) == seen[-1], "the last one can be gone back to"


@pytest.mark.parametrize("argv", [["--port", "70000"], ["--reviewer", " "]])
def test_bad_options(built, capsys, argv):
    assert main(["review", str(built), *argv]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_folder_without_a_build(tmp_path, capsys):
    assert main(["review", str(tmp_path)]) == 2
    assert "holds no build from videos" in capsys.readouterr().err
