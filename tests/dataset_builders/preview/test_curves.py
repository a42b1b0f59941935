"""Curves, paths and charts of a clip, against motions that are known."""

import re

import numpy as np
import pytest

pytest.importorskip("cv2", reason="masks need the data extra")
pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.clip_record import CameraPoses, ObjectTrack  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import encode_mask  # noqa: E402
from fourdthinker.dataset_builders.preview.charts import label_chart, path_chart, time_chart  # noqa: E402
from fourdthinker.dataset_builders.preview.curves import (  # noqa: E402
    Curve,
    camera_curves,
    camera_path,
    list_labels,
    object_curves,
)

SECONDS = tuple(np.linspace(0.0, 2.0, 5).tolist())


def turn_right(degrees):
    """Camera-to-world rotation of a camera that has turned to its right."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def make_camera(kind="up_to_scale", depth=2.0, start=0.0):
    """A camera that turns to its right by 10 degrees and goes a unit to its first right, but has no second pose."""
    poses = np.tile(np.eye(4), (5, 1, 1))
    for number, pose in enumerate(poses):
        pose[:3, :3] = turn_right(start) @ turn_right(2.5 * number)
        pose[:3, 3] = np.array([7.0, 0, 3.0]) + turn_right(start) @ np.array([0.25 * number, 0, 0])
    poses[1] = np.nan
    return CameraPoses(kind, poses, np.eye(3), depth)


def test_camera_curves_say_how_far_it_went_along_each_axis():
    curves = {curve.name: curve for curve in camera_curves(make_camera(start=130.0), SECONDS)}
    assert list(curves) == ["Pan Left", "Tilt Up", "Roll Clockwise", "Dolly In", "Truck Left", "Pedestal Up"]
    assert curves["Pan Left"].seconds == [0.0, 1.0, 1.5, 2.0]
    assert curves["Pan Left"].values == pytest.approx([0, -5, -7.5, -10])
    assert curves["Truck Left"].values[-1] == pytest.approx(-np.degrees(1.0 / 2.0), rel=0.02)
    assert curves["Pedestal Up"].values == pytest.approx([0, 0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("kind", ["still", "turn_only"])
def test_an_unknown_move_has_no_curve(kind):
    names = [curve.name for curve in camera_curves(make_camera(kind, None), SECONDS)]
    assert names == ["Pan Left", "Tilt Up", "Roll Clockwise"]


@pytest.mark.parametrize("kind,depth,length", [("up_to_scale", 2.0, 0.5), ("metric", 2.0, 1.0)])
def test_the_path_is_in_the_first_cameras_axes(kind, depth, length):
    path = camera_path(make_camera(kind, depth, start=130.0))
    assert path.shape == (4, 3)
    assert path[0] == pytest.approx([0, 0, 0]) and path[-1] == pytest.approx([length, 0, 0])


def test_object_curves_are_shares_of_the_picture():
    mask = np.zeros((100, 200), bool)
    mask[40:60, 100:140] = True
    track = ObjectTrack("dog", (encode_mask(mask), None), np.array([True, False]))
    left, top, size = object_curves(track, (0.0, 1.0))
    assert (left.values[0], top.values[0]) == pytest.approx((60.0, 50.0)) and size.values[0] == pytest.approx(20.0)
    assert np.isnan([left.values[1], top.values[1], size.values[1]]).all()


def test_labels_come_with_their_spans():
    facts = {
        "camera": [{"span": [0.0, 2.0], "parts": [["Pan Left", "Dolly In"], ["Stay"]]}],
        "objects": [
            {"object": 0, "kind": "direction", "label": "Moving Right", "span": [0.5, 1.0]},
            {"object": 0, "kind": "speed", "label": None, "span": [0.5, 1.0]},
        ],
    }
    assert list_labels(facts) == [
        ("camera: first Pan Left and Dolly In, then Stay", 0.0, 2.0),
        ("object 1, direction: Moving Right", 0.5, 1.0),
    ]


def lines(chart):
    """The points of each line of a chart, one list a stretch."""
    found = re.findall(r'class="line" stroke="[^"]+" d="([^"]*)"', chart)
    return [
        [[tuple(map(float, point.split())) for point in stretch.split("L")] for stretch in path.split("M") if stretch]
        for path in found
    ]


def test_a_line_is_broken_where_a_value_is_unknown():
    chart = time_chart([Curve("x", [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 5.0, float("nan"), 5.0, 0.0])], "degrees")
    ((first, second),) = lines(chart)
    assert len(first) == len(second) == 2
    assert first[0][1] > first[1][1], "larger values lie higher"
    assert first[0][0] < first[1][0] < second[0][0]
    assert ">2 s</text>" in chart and ">degrees</text>" in chart


def test_noise_is_not_drawn_large():
    ((points,),) = lines(time_chart([Curve("x", [0.0, 1.0], [0.0, 0.01])], "degrees"))
    assert abs(points[0][1] - points[1][1]) < 3


def test_a_path_is_drawn_at_one_scale():
    path = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    ((points,),) = lines(path_chart(path, "metres"))
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(y1 - y2, abs=0.3) and y0 == y1 and x1 == x2


def test_nothing_unknown_is_drawn():
    assert not time_chart([], "degrees") and not time_chart([Curve("x", [0.0], [float("nan")])], "degrees")
    assert not path_chart(np.zeros((1, 3)), "metres") and not label_chart([], (0.0, 1.0))


def test_names_in_charts_are_escaped():
    chart = label_chart([("<b>&", 0.0, 1.0)], (0.0, 1.0)) + time_chart([Curve('"<b>', [0.0, 1.0], [0.0, 1.0])], "<i>")
    assert "<b>" not in chart and "<i>" not in chart and "&lt;b&gt;&amp;" in chart
