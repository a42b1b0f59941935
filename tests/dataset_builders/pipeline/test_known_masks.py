"""Poses are not found from what mask files beside a video cover (`--objects files`)."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.clip_record import Window  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_files import StageResult  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_tasks import Video, WindowTask  # noqa: E402

from ...made_videos import write_video  # noqa: E402
from ..geometry.textured_scene import one_wall, path, render, scene_with_depth  # noqa: E402


def write_clip(folder, poses, seed, size, board_size, place_of):
    """A camera's motion behind a board that moves by itself, whose place in the picture is a function of the frame."""
    clip = render(scene_with_depth(np.random.default_rng(seed)), poses, size[0], size)
    board = render(one_wall(np.random.default_rng(9)), path("Stay", 0), size[0], board_size)
    (folder / "walk.masks").mkdir(parents=True)
    for index, frame in enumerate(clip.frames):
        left, top = place_of(index)
        mask = Image.new("L", size)
        mask.paste(1, (left, top, left + board_size[0], top + board_size[1]))
        frame.paste(board.frames[index], (left, top))
        mask.save(folder / "walk.masks" / f"{index:05d}.png")
    write_video(folder / "walk.mp4", clip, 8)
    return folder


def camera_of(source, output, objects: str):
    """The camera that a build finds, and its labels."""
    main(["build-data", "--source", str(source), "--output", str(output), "--objects", objects, "--stage", "facts"])
    (record,) = load_records(output)
    labels = {label for fact in record.facts["camera"] for part in fact["parts"] for label in part}
    return record.camera, labels


@pytest.mark.parametrize(
    ("label", "amount", "kind", "seed", "size", "board"),
    [
        ("Pan Right", 15, "turn_only", 4, (320, 240), (220, 200)),  # 57 % of the picture
        # 46 %, which COLMAP alone does not see through
        ("Truck Right", 1.6, "up_to_scale", 6, (480, 360), (330, 240)),
    ],
)
@pytest.mark.slow
def test_the_camera_behind_a_large_mover_is_found_with_its_masks_alone(
    label, amount, kind, seed, size, board, tmp_path
):
    poses = path(label, amount)
    source = write_clip(tmp_path / "clips", poses, seed, size, board, lambda i: (4 * i, 30 + int(10 * np.sin(i))))
    camera, labels = camera_of(source, tmp_path / "masked", "files")
    assert camera.kind == kind and labels == {label}
    camera, labels = camera_of(source, tmp_path / "plain", "none")
    assert camera is None or label not in labels


@pytest.mark.slow
def test_a_camera_that_follows_a_large_mover_is_not_taken_for_one_that_stands(tmp_path):
    """The mover keeps its place in the picture; the path is solved with it masked out."""
    source = write_clip(  # 46 %
        tmp_path / "clips", path("Truck Right", 1.6), 6, (480, 360), (330, 240), lambda _: (60, 50)
    )
    camera, labels = camera_of(source, tmp_path / "masked", "files")
    assert camera.kind == "up_to_scale" and labels == {"Truck Right"}
    camera, labels = camera_of(source, tmp_path / "plain", "none")
    assert camera.kind == "still" and labels == {"Stay"}, "which is wrong, and what masks are for"


@pytest.mark.medium
def test_a_video_without_the_masks_that_are_asked_for_says_so(tmp_path, capsys):
    source = write_clip(tmp_path / "clips", path("Truck Right", 0.5), 6, (160, 120), (60, 50), lambda _: (60, 50))
    shutil.rmtree(source / "walk.masks")
    build = ["build-data", "--source", str(source), "--output", str(tmp_path / "out"), "--objects", "files"]
    assert main([*build, "--questions", "future"]) == 2
    (fault,) = map(json.loads, (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines())
    assert "no masks, which would lie in walk.masks as 00000.png" in fault["reason"]
    assert "metres" not in fault["reason"] + capsys.readouterr().err


def test_changed_masks_alone_make_poses_again(tmp_path):
    """Not the names beside them, nor masks that no setting asks for."""
    video, folder = tmp_path / "a.mp4", tmp_path / "a.masks"

    def keys(objects="files"):
        window = Window(0, 0.0, 1.0, (0.0, 0.5, 1.0))
        task = WindowTask(Video(video, "a.mp4", "a", {}), 0, None, window, BuildSettings(objects=objects), "facts")
        task.results["poses"] = StageResult("", {"same": "result"}, None)
        return task.key("poses"), task.key("objects")

    without, by_flow = keys(), keys("flow")
    assert without[0] == by_flow[0]
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "00000.png")
    first = keys()
    assert first[0] != without[0] and keys("flow") == by_flow
    (folder / "names.txt").write_text("1: board\n")
    named = keys()
    assert named[0] == first[0] and named[1] != first[1]
    Image.new("L", (8, 8), 1).resize((16, 16)).save(folder / "00000.png")
    assert keys()[0] != first[0]
