"""Layouts of other people's data: what is true of a clip comes out of its files, in each of them."""

import json
import shutil

import numpy as np
import pytest

for needed in ("cv2", "pycocotools", "scipy", "OpenEXR"):
    pytest.importorskip(needed, reason="layouts need the data extra")
from fourdthinker.dataset_builders.clip_record import CameraPoses  # noqa: E402
from fourdthinker.dataset_builders.geometry.camera_motion import camera_labels  # noqa: E402
from fourdthinker.dataset_builders.geometry.object_paths import measure_path  # noqa: E402
from fourdthinker.dataset_builders.layouts.depth_maps import object_depths, scene_depth  # noqa: E402
from fourdthinker.dataset_builders.layouts.source import LAYOUTS, find_imported  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

from .written_layouts import RATE, SPANS, WRITERS  # noqa: E402

FPS = {"megasam": RATE, "colmap": RATE}  # of layouts without times


@pytest.fixture(params=WRITERS)
def clip(request, layouts):
    """The clip of each layout."""
    (clip,) = find_imported(layouts(request.param), request.param, FPS.get(request.param))
    return clip


def object_points(clip, seconds, size):
    """Places of each object in the first camera's axes, by name."""
    maps = list(clip.depths(seconds))
    lens = clip.lens(seconds[0], seconds[-1])
    camera = CameraPoses(clip.kind, clip.trajectory().at(seconds), lens.matrix(size), scene_depth(maps))
    found = {}
    for track in clip.objects(seconds, size):
        path = measure_path(track, camera, seconds, size, object_depths(track.masks, maps))
        found[track.name] = path.points
    return found


@pytest.mark.slow
def test_camera_is_read_alike_from_every_layout(clip):
    trajectory = clip.trajectory()
    seconds = trajectory.seconds
    poses = trajectory.at(seconds)
    depth = scene_depth(list(clip.depths(seconds)))
    assert seconds == pytest.approx(np.arange(23) / RATE, abs=1e-3)
    assert 3 < depth < 9
    for (first, last), label in SPANS.items():
        assert camera_labels(poses[first : last + 1], scene_depth=depth) == [label]
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.sum() == pytest.approx(2.8, rel=0.02)
    assert clip.lens(0, 4).matrix(clip.frame_size())[0, 0] == pytest.approx(
        208 * (0.5 if clip.layout == "megasam" else 1), rel=0.01
    )


@pytest.mark.medium
@pytest.mark.parametrize("layout", ["vipe", "spatialvid"])
def test_objects_of_masks_are_apart_and_as_far_as_they_are(layouts, layout):
    (clip,) = find_imported(layouts(layout), layout)
    points = object_points(clip, list(clip.annotated()), (320, 240))
    names = ["blue board", "yellow board"] if layout == "vipe" else ["moving object"]
    assert list(points) == names
    way = points[names[0]][-1] - points[names[0]][0]
    assert np.linalg.norm(way - [1.1, 0.22, 0]) < 0.02 * np.hypot(1.1, 0.22) + 0.02
    if layout == "vipe":
        resting = points["yellow board"]
        assert np.abs(resting - resting.mean(axis=0)).max() < 0.05


@pytest.mark.medium
def test_points_of_stereo4d_move_or_rest(layouts):
    (clip,) = find_imported(layouts("stereo4d"), "stereo4d")
    ways = [track[np.isfinite(track[:, 0])][[0, -1]] for track in clip.tracks]
    lengths = [np.linalg.norm(last - first) for first, last in ways]
    assert min(lengths[:9:3]) == pytest.approx(np.hypot(1.1, 0.22), rel=0.02) and max(lengths[9:]) < 1e-3


@pytest.mark.medium
def test_labels_that_come_along_are_read_but_never_used(layouts):
    (clip,) = find_imported(layouts("spatialvid"), "spatialvid")
    assert clip.instructions() == [(0.0, 1.6, ["Dolly In"]), (3.2, 4.4, ["Truck Right"])]


@pytest.mark.medium
def test_layouts_are_found_wherever_they_lie(layouts, tmp_path):
    for name in ("vipe", "megasam"):
        shutil.copytree(layouts(name), tmp_path / "sets" / name)
    found = find_imported(tmp_path, fps=RATE)
    assert [clip.layout for clip in found] == ["megasam", "vipe"]
    with pytest.raises(InputError, match="no clip in the layout of colmap: it needs images/ and sparse/0"):
        find_imported(tmp_path, "colmap")
    with pytest.raises(InputError, match="says nothing of time: give its pictures a second with --fps"):
        find_imported(tmp_path)


def test_samples_of_every_layout_say_what_is_true(shared_file):
    truth = json.loads(shared_file("layouts/truth.json").read_text())
    root = shared_file("layouts")
    for layout in ("vipe", "spatialvid", "megasam", "stereo4d"):
        each = 3 if layout == "megasam" else 1
        (clip,) = find_imported(root / layout, layout, truth["fps"] / each if each > 1 else None)
        trajectory = clip.trajectory()
        seconds = trajectory.seconds
        poses, depth = trajectory.at(seconds), scene_depth(list(clip.depths(seconds)))
        for span in truth["camera"]:
            first, last = (round(second * truth["fps"] / each) for second in span["seconds"])
            part = poses[first : last + 1]
            if each == 1:
                assert camera_labels(part, scene_depth=depth) == span["labels"]
                assert np.linalg.norm(part[-1, :3, 3] - part[0, :3, 3]) == pytest.approx(
                    span.get("metres", 0), rel=0.02, abs=1e-3
                )
        ball, _ = truth["objects"]
        if layout in ("vipe", "spatialvid"):
            points = object_points(clip, list(seconds), clip.frame_size())
            mover, *rest = points.values()
            # The depth is that of its surface: from there its middle lies farther along the line of sight.
            behind = np.linalg.norm(ball["centre_first"]) - np.linalg.norm(mover[0])
            sight = mover[-1] - poses[len(mover) - 1, :3, 3]
            middle = mover[-1] + behind * sight / np.linalg.norm(sight)
            assert np.linalg.norm(middle - ball["centre_last"]) < 0.02 * np.linalg.norm(middle - ball["centre_first"])
            assert all(np.ptp(still, axis=0).max() < 0.35 for still in rest)  # of a box one face, then two


def test_a_change_of_any_file_is_noticed(layouts, tmp_path):
    shutil.copytree(layouts("vipe"), tmp_path / "vipe")
    for path in sorted((tmp_path / "vipe").rglob("ball*")):
        (clip,) = find_imported(tmp_path, "vipe")
        before = clip.state()
        with path.open("ab") as file:
            file.write(b" ")
        assert path == clip.video or clip.state() != before, path


def test_every_layout_has_a_writer_here():
    assert set(WRITERS) == set(LAYOUTS)
