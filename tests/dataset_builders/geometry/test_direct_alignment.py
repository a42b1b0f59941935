"""Cameras before plain walls: edges tell that they stand, and no turn, move or title is taken for one that stands."""

import cv2
import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS
from fourdthinker.dataset_builders.geometry.direct_alignment import MIN_TILE_SHARE, standing_tile_share
from fourdthinker.dataset_builders.geometry.point_tracks import track_points
from fourdthinker.dataset_builders.geometry.turns import MIN_STANDING_SHARE, STILL_PIXELS, standing_share, still_pixels
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling.processing import Clip

from ...made_videos import encode
from .textured_scene import _texture, one_wall, path, render, scene_with_depth

pytest.importorskip("pycolmap", reason="poses need the data extra")
from fourdthinker.dataset_builders.geometry.poses import estimate_camera  # noqa: E402

SIZE = (320, 240)
FRAMES = 10
ROOM = ((0, 150, 320, 152), (20, 90, 60, 300), (250, 70, 290, 300), (130, 25, 190, 45))  # a skirting and three boards


def draw_room(boxes=ROOM, shift=(0.0, 0.0), angle=0.0, zoom=1.0):
    """A plain wall, lit from the left, with a few plain boxes on it, as a camera sees that was shifted and turned."""
    scale = 4
    wall = np.tile(np.linspace(190, 150, (SIZE[0] + 200) * scale, dtype=np.float32), ((SIZE[1] + 200) * scale, 1))
    for number, (left, top, right, bottom) in enumerate(boxes):
        left, right = (-100 if left == 0 else left, 420 if right == 320 else right)
        wall[(top + 100) * scale : (bottom + 100) * scale, (left + 100) * scale : (right + 100) * scale] = (
            60 + 25 * number
        )
    matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), angle, zoom)
    matrix[:, 2] += shift
    full = (
        np.vstack([matrix, [0, 0, 1]])
        @ np.diag([1 / scale, 1 / scale, 1])
        @ np.array([[1, 0, -100 * scale], [0, 1, -100 * scale], [0, 0, 1]])
    )
    smooth = cv2.GaussianBlur(wall, (0, 0), scale)
    return cv2.warpAffine(smooth, full[:2], SIZE, flags=cv2.INTER_LINEAR)


def as_frames(pictures, noise=1.5):
    rng = np.random.default_rng(0)
    noisy = [np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8) for picture in pictures]
    return [Image.fromarray(picture).convert("RGB") for picture in noisy]


def with_mover(pictures):
    """A textured board that crosses the middle and carries nearly all the points along."""
    board = _texture(3)[:90, :110]
    for number, picture in enumerate(pictures):
        left, top = 70 + 7 * number, 50 + 3 * number
        picture[top : top + 90, left : left + 110] = board
    return pictures


def test_a_camera_stands_before_a_plain_wall_with_a_mover():
    clip = Clip(as_frames(with_mover([draw_room() for _ in range(FRAMES)])), [number / 5 for number in range(FRAMES)])
    tracks = track_points(clip.frames)
    assert still_pixels(tracks) > STILL_PIXELS and standing_share(tracks) < MIN_STANDING_SHARE
    camera = estimate_camera(clip, solve=None)
    assert camera.kind == "still" and camera.errors["standing_tile_share"] >= MIN_TILE_SHARE


@pytest.mark.medium
@pytest.mark.parametrize(
    "motion",
    [
        lambda share: {"shift": (2.0 * share, 0.0)},
        lambda share: {"shift": (0.0, 2.0 * share)},
        lambda share: {"angle": 1.0 * share},
        lambda share: {"zoom": 1 + 0.02 * share},
        lambda share: {"shift": (3.0 * (share == 1), 0.0)},  # one knock
    ],
    ids=["right", "down", "roll", "zoom", "knock"],
)
def test_small_motions_before_a_plain_wall_are_seen(motion):
    pictures = [draw_room(**motion(share)) for share in np.linspace(0, 1, FRAMES)]
    assert standing_tile_share(as_frames(pictures)) < MIN_TILE_SHARE
    assert standing_tile_share(as_frames(with_mover(pictures))) < MIN_TILE_SHARE


def test_a_camera_that_moves_along_the_only_edges_is_not_still():
    """Slanting lines across the whole picture, which a camera that moves along them does not shift."""
    lines = tuple((0, top, 320, top + 20) for top in (40, 90, 140, 190))
    along = 2 * np.array([np.cos(np.radians(5)), -np.sin(np.radians(5))])
    pictures = [draw_room(lines, along * number, angle=5) for number in range(FRAMES)]
    assert standing_tile_share(as_frames(pictures)) == 0


def test_titles_clocks_and_bars_hold_no_picture_in_place():
    """Before a camera that pans, between black bars."""
    pictures = [draw_room(shift=(-1.5 * number, 0.0)).astype(np.uint8) for number in range(FRAMES)]
    for picture in pictures:
        picture[:20], picture[-20:], picture[:, :12], picture[:, -12:] = 0, 0, 0, 0
        for place in ((20, 35), (220, 35), (20, 212), (200, 212)):
            cv2.putText(picture, "12:00:01", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 2)
    assert standing_tile_share(as_frames(pictures)) < MIN_TILE_SHARE


def test_text_that_never_changes_holds_no_picture_in_place():
    """All over the picture, before a wall so plain that only noise shows that it was filmed."""
    frames = [np.array(frame.convert("L")) for frame in as_frames([draw_room(())] * FRAMES)]
    for frame in frames:
        for row in range(50, 200, 40):
            cv2.putText(frame, "a burnt-in text", (30, row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2)
    assert standing_tile_share([Image.fromarray(frame).convert("RGB") for frame in frames]) == 0


@pytest.mark.parametrize("step", [0.0, -3.0], ids=["standing", "panning"])
def test_what_masks_cover_tells_nothing_of_a_camera(step):
    """A patterned thing that keeps its place in the picture, as one that a camera follows does."""
    pictures, place = (
        [draw_room(shift=(step * number, 0.0)) for number in range(FRAMES)],
        (slice(45, 195), slice(60, 260)),
    )
    for picture in pictures:
        picture[place] = _texture(3)[:150, :200]
    mask = np.zeros(SIZE[::-1], bool)
    mask[place] = True
    frames = as_frames(pictures)
    assert standing_tile_share(frames) >= MIN_TILE_SHARE
    assert (standing_tile_share(frames, [mask] * FRAMES) >= MIN_TILE_SHARE) == (step == 0)


@pytest.mark.parametrize("size", [(1, 1), (200, 3)])
def test_pictures_too_small_for_edges_tell_nothing(size):
    rng = np.random.default_rng(0)
    frame = Image.fromarray(rng.integers(0, 255, size[::-1], dtype=np.uint8)).convert("RGB")
    assert standing_tile_share([frame] * 6) == 0


def nearly_plain_clip(label, seed, folder):
    """A slow, pure motion before walls of faint texture, noisy, darker in its corners, and compressed."""
    rng = np.random.default_rng([seed, CAMERA_LABELS.index(label)])
    pixels, focal = rng.uniform(2, 8), rng.uniform(0.7, 1.5) * SIZE[0]
    amount = pixels / (SIZE[0] / 3 if label.startswith(("Roll", "Dolly")) else focal)
    amount = np.degrees(amount) if label in CAMERA_LABELS[:6] else 4 * amount
    clip = render([one_wall, scene_with_depth][seed % 2](rng), path(label, amount, frames=FRAMES), focal, SIZE)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] / np.array(SIZE[::-1])[:, None, None] - 0.5
    dark, contrast = 1 - rng.uniform(0, 0.8) * (rows**2 + columns**2), [0.02, 0.05, 0.1, 0.3][seed % 4]
    seen = as_frames([(150 + contrast * (np.asarray(f.convert("L"), float) - 128)) * dark for f in clip.frames])
    codec, options = [("libx264", {"crf": "20"}), ("libx264", {"crf": "35"}), ("mpeg4", {"q:v": "12"})][seed % 3]
    file = encode(
        folder / "clip.mkv", FRAMES, codec=codec, size=SIZE, options=options, draw=lambda n, _: np.asarray(seen[n])
    )
    return read_frames(file, fps=10, max_frames=FRAMES).frames


@pytest.mark.parametrize("kind", ["turns", "moves"])
@pytest.mark.slow
def test_no_slow_motion_before_a_nearly_plain_wall_is_called_still(kind, tmp_path):
    labels = CAMERA_LABELS[:6] if kind == "turns" else CAMERA_LABELS[6:]
    for seed in range(12):  # each of six motions, four contrasts and three codecs as often
        assert standing_tile_share(nearly_plain_clip(labels[seed % 6], seed, tmp_path)) < MIN_TILE_SHARE
