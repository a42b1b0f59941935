"""`build-data --preview` and `view` on a real build: the page, the recording, and the viewer that serves it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from fourdthinker.cli.main import main

pytest.importorskip("pycolmap", reason="builds from videos need the data extra")
from ..made_clips import film_still_camera  # noqa: E402

NAME = 'walk <b>"one".mp4'
COMMAND = [sys.executable, "-m", "fourdthinker.cli", "view"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build with a preview: a square that goes right before a still camera, and a file that is no video."""
    folder = tmp_path_factory.mktemp("view")
    (folder / "videos").mkdir()
    film_still_camera(folder / "videos" / NAME, step=6)
    (folder / "videos/notes.mp4").write_text("no video")
    command = ["build-data", "--source", str(folder / "videos"), "--output", str(folder / "data"), "--preview", "5"]
    assert main(command) == 0
    return folder


@pytest.fixture(scope="module")
def recording(built):
    """What `view --save-only` writes, in a process of its own, read back by rerun."""
    pytest.importorskip("rerun", reason="recordings need the view extra")
    from rerun.chunk import RrdReader

    path = built / "walk.rrd"
    done = view(built / "data", "--save-only", "--rrd", path)
    assert done.returncode == 0, done.stderr
    assert "(clip 1 of 1)" in done.stdout
    return RrdReader(path)


def view(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def read(recording, entity, column):
    """The values of a component of an entity, one a time at which it is logged."""
    chunks = [chunk.to_record_batch() for chunk in recording.stream() if chunk.entity_path == entity]
    tables = [chunk for chunk in chunks if column in chunk.schema.names]
    return [value for chunk in tables for value in chunk.column(column).to_pylist()]


def test_the_page_shows_masks_and_curves_of_the_record(built):
    from PIL import Image

    text = (built / "data/preview/index.html").read_text(encoding="utf-8")
    assert "walk &lt;b&gt;&#34;one&#34;.mp4" in text and "<b>&#34;" not in text
    assert "<td>stands still</td>" in text and "not_video" in text
    assert "Moving object in the picture, percent" in text and "camera: Stay</text>" in text
    frame = np.asarray(Image.open(built / "data/preview/pictures/0001-frame-01.jpg").convert("RGB")).astype(int)
    yellow = np.abs(frame - (255, 190, 0)).max(axis=2) < 60
    # The square is at 20 to 68 across and 70 to 118 down in the first frame; the scene has some yellow of its own.
    assert yellow[66:122, 16:72].sum() > 200
    assert yellow[66:122, 16:72].mean() > 4 * yellow[:, 80:].mean()


def test_a_recording_holds_all_of_the_clip(recording):
    assert [entry.application_id for entry in recording.recordings()] == ["fourdthinker"]
    entities = {chunk.entity_path for chunk in recording.stream()}
    assert entities >= {
        *(
            "/world/camera",
            "/world/camera/image",
            "/world/camera/image/masks",
            "/world/camera/image/boxes",
            "/world/path",
        ),
        *("/curves/camera/pan_left", "/curves/object_1/from_the_left", "/labels", "/clip", "/questions/1"),
    }
    pictures = read(recording, "/world/camera/image", "EncodedImage:blob")
    assert 8 <= len(pictures) <= 16
    for entity, column in (
        ("/world/camera", "Transform3D:translation"),
        ("/world/camera/image/masks", "SegmentationImage:buffer"),
        ("/curves/object_1/from_the_left", "Scalars:scalars"),
    ):
        assert len(read(recording, entity, column)) == len(pictures)


def test_masks_boxes_and_curves_say_where_the_object_is(recording):
    centres = [value[0] for value in read(recording, "/world/camera/image/boxes", "Boxes2D:centers")]
    assert centres[0] == pytest.approx((44, 94), abs=6)
    from_left = [value[0] for value in read(recording, "/curves/object_1/from_the_left", "Scalars:scalars")]
    assert from_left[-1] - from_left[0] == pytest.approx(100 * 6 * 15 / 256, abs=4)
    (first, *_) = read(recording, "/world/camera/image/masks", "SegmentationImage:buffer")
    mask = np.array(first[0], dtype=np.uint8).reshape(192, 256)
    assert 0.6 < (mask == 1)[70:118, 20:68].mean() <= 1 and (mask == 1).sum() < 1.3 * 48 * 48


def test_texts_say_what_is_asked_and_how_it_came_about(recording):
    (about,) = read(recording, "/clip", "TextDocument:text")
    assert f"video: {NAME}" in about[0] and "camera: stands still" in about[0]
    labels = [value[0] for value in read(recording, "/labels", "TextLog:text")]
    assert any(label.startswith("camera: Stay (0.00 s") for label in labels)
    questions = read(recording, "/questions/1", "TextDocument:text")
    assert "[x] Stay" in questions[0][0] and "<output_image>" in questions[0][0]
    kinds = read(recording, "/questions/1", "TextDocument:media_type")
    assert kinds[0][0] == "text/plain"


def test_a_clip_that_gave_nothing_is_shown_with_the_reason(tmp_path):
    pytest.importorskip("rerun", reason="recordings need the view extra")
    from PIL import Image
    from rerun.chunk import RrdReader

    from fourdthinker.dataset_builders.clip_record import ClipRecord, Window
    from fourdthinker.dataset_builders.pipeline.stage_files import Fault
    from fourdthinker.dataset_builders.viewing.build_clips import BuiltClip
    from fourdthinker.dataset_builders.viewing.recording import write_recording
    from fourdthinker.modeling.clip import Clip

    record = ClipRecord("fog-000", "fog.mp4", None, Window(0, 0.0, 0.5, (0.0, 0.5)), (64, 48))
    frames = Clip([Image.new("RGB", (64, 48))] * 2, [0.0, 0.5])
    fault = Fault("poses", "no_texture", "nothing can be followed", "give another clip")
    write_recording(tmp_path / "fog.rrd", BuiltClip(record, frames, [], [fault], 1, 1))
    stored = RrdReader(tmp_path / "fog.rrd")
    (about,) = read(stored, "/clip", "TextDocument:text")
    assert "no_texture in poses: nothing can be followed; give another clip" in about[0]
    assert len(read(stored, "/world/camera/image", "EncodedImage:blob")) == 2
    assert not read(stored, "/world/camera/image", "Pinhole:resolution")
    assert [path.name for path in tmp_path.iterdir()] == ["fog.rrd"]


@pytest.fixture
def served(built):
    """A running `view`: its process and the address that it prints."""
    pytest.importorskip("rerun", reason="the viewer needs the view extra")
    process = subprocess.Popen(
        [*COMMAND, str(built / "data"), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    killer = threading.Timer(240, process.kill)
    killer.start()
    lines = []
    while not lines or not lines[-1].startswith("open "):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line)
    yield process, lines[-1].removeprefix("open ").strip()
    process.kill()
    process.communicate()
    killer.cancel()


def fetch(address, path, **headers):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_viewer_is_served_on_this_machine_and_ends_cleanly(served, built, number):
    process, url = served
    address = urlsplit(url).netloc
    assert address.startswith("127.0.0.1:")
    assert parse_qs(urlsplit(url).query)["url"] == [f"http://{address}/clip.rrd"]

    page, text = fetch(address, "/?url=x")
    assert page.status == 200 and b"re_viewer.js" in text
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self' data: blob:;" in policy and "http" not in policy
    assert fetch(address, "/re_viewer_bg.wasm")[1][:4] == b"\0asm"
    (recording,) = (built / "data/recordings").iterdir()
    assert fetch(address, "/clip.rrd")[1] == recording.read_bytes()
    start, _ = fetch(address, "/")
    assert start.status == 302 and start.headers["Location"] == url
    assert fetch(address, "/../README.md")[0].status == 404
    # A page from elsewhere whose name was made to lead to this machine may not read the frames.
    assert fetch(address, "/clip.rrd", Host="elsewhere.example")[0].status == 403

    # The program that holds the viewer's files has ended.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert not children.exists() or not any(
        b"rerun" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children.read_text().split()
    )

    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and error == "" and out.strip().endswith("ended")


def fails(capsys, arguments, words):
    assert main(["view", *map(str, arguments)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and told[0].startswith("fourdthinker: error: ") and words in told[0]


def test_bad_input_takes_one_line(built, tmp_path, capsys):
    pytest.importorskip("rerun", reason="recordings need the view extra")
    data = built / "data"
    clip = json.loads((data / ".stages/build.json").read_text()) and next((data / ".stages").glob("*/000")).parent.name
    fails(capsys, [tmp_path], "holds no build from videos")
    fails(capsys, [data, "wal"], f"has no clip 'wal'; did you mean {clip}-000? (1 in all)")
    fails(capsys, [data, "--port", "70000"], "--port must be between 0 and 65535")
    fails(capsys, [data, "--source", tmp_path], "say with --source where the videos are now")
    fails(capsys, [data, "--rrd", tmp_path], "name a file that ends in .rrd with --rrd")
    assert os.listdir(tmp_path) == []


def test_without_rerun_the_extra_is_named(built, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    fails(capsys, [built / "data"], "rerun is not installed: pip install rerun-sdk")


def test_a_page_needs_rows(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    command = ["build-data", "--source", str(tmp_path / "videos"), "--output", str(tmp_path / "data")]
    assert main([*command, "--preview", "3", "--stage", "poses"]) == 2
    assert "--preview shows rows, which --stage poses does not make" in capsys.readouterr().err
    assert main([*command, "--preview", "0"]) == 2
    assert "--preview must be at least 1" in capsys.readouterr().err
