"""Moving objects by flow: exact masks of made scenes and of the rendered world, and hand-drawn ones of a real clip."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.clip_error import ClipError
from fourdthinker.dataset_builders.clip_record import CameraPoses
from fourdthinker.dataset_builders.geometry.masks import decode_mask, encode_mask
from fourdthinker.dataset_builders.geometry.object_chains import Chain
from fourdthinker.dataset_builders.geometry.object_tracks import find_objects, name_by_place
from fourdthinker.modeling.processing import Clip

from ..near_scenes import sample_near_scene

SIZE = (320, 192)  # width, height


def noise_texture(seed, height, width, tint=(1.0, 1.0, 1.0)):
    """Blobs of several sizes, for flow to hold on to."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (height // step, width // step), dtype=np.uint8) for step in (4, 12, 32)]
    grey = np.mean([cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in layers], axis=0)
    return grey[..., None] * np.array(tint)


def made_clip(places, pan=0.0, radius=24, tints=None, rate=8.0):
    """A textured disc, at `places` (column and row or `None`) of each frame, before a background that shifts by `pan`
    pixels a frame; and its exact masks."""
    width, height = SIZE
    wide = noise_texture(0, height, 3 * width)
    rows, columns = np.mgrid[:height, :width]
    frames, masks = [], []
    for number, place in enumerate(places):
        shift = round(pan * number) + width
        frame = wide[:, shift : shift + width].copy()
        mask = np.zeros((height, width), dtype=bool)
        if place is not None:
            mask = (columns - place[0]) ** 2 + (rows - place[1]) ** 2 <= radius**2
            tint = (1.4, 0.4, 0.3) if tints is None else tints[number]
            disc = noise_texture(1, 2 * radius + 1, 2 * radius + 1, tint)
            inside = np.argwhere(mask) - [place[1] - radius, place[0] - radius]
            frame[mask] = disc[inside[:, 0], inside[:, 1]]
        frames.append(Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)))
        masks.append(mask)
    return Clip(frames, [number / rate for number in range(len(frames))]), masks


def overlaps(track, masks):
    """Intersection over union in each frame; 0 where the track has no mask."""
    found = [
        np.zeros_like(mask) if rle is None else decode_mask(rle) for rle, mask in zip(track.masks, masks, strict=True)
    ]
    return np.array([(a & b).sum() / max((a | b).sum(), 1) for a, b in zip(found, masks, strict=True)])


def test_masks_survive_their_encoding():
    mask = np.random.default_rng(0).random((31, 47)) < 0.3
    encoded = json.loads(json.dumps(encode_mask(mask)))
    np.testing.assert_array_equal(decode_mask(encoded), mask)


@pytest.mark.parametrize("pan", [0.0, 5.0])
@pytest.mark.slow
def test_one_mover_before_a_still_and_a_panning_camera(pan):
    clip, masks = made_clip([(60 + 8 * number, 90) for number in range(12)], pan)
    (track,) = find_objects(clip)
    assert track.name == "moving object" and track.sure.all()
    assert overlaps(track, masks).mean() > 0.85
    assert track.errors["background_share"] > 0.9 and track.errors["static_size"] < 0.1


def test_the_background_alone_is_no_object():
    assert find_objects(made_clip([None] * 8, pan=6.0)[0]) == []


@pytest.mark.medium
def test_an_object_at_rest_at_first_and_between_is_carried():
    columns = [60] * 3 + [60 + 8 * step for step in range(1, 6)] + [100] * 4 + [100 + 8 * step for step in range(1, 6)]
    clip, masks = made_clip([(column, 90) for column in columns])
    (track,) = find_objects(clip)
    assert (overlaps(track, masks) > 0.6).all(), overlaps(track, masks).round(2)


@pytest.mark.medium
def test_a_track_ends_where_another_object_takes_over():
    """The disc changes its colour and its place between two frames, as where two things take turns."""
    places = [(50 + 6 * step, 60) for step in range(8)] + [(230 - 6 * step, 140) for step in range(8)]
    tints = [(1.4, 0.4, 0.3)] * 8 + [(0.3, 0.5, 1.4)] * 8
    tracks = find_objects(made_clip(places, tints=tints)[0])
    assert len(tracks) == 2
    for track in tracks:
        seen = [number for number, rle in enumerate(track.masks) if rle is not None]
        assert max(seen) < 8 or min(seen) >= 8
        # Nothing else moves meanwhile, so that a question about the time of one need not say which of the two.
        assert track.name == "moving object" and track.sure[seen].sum() >= 5


def test_masks_that_have_lost_most_of_the_object_are_not_sure():
    """Carrying loses a little of the edge each time; a head that is all that still moves is something else."""
    mask = np.ones((4, 4), dtype=bool)
    gained = dict(enumerate([0.0, -0.05, -0.1, -0.15, -0.2, -0.25, -0.3, -0.95, -1.0]))
    chain = Chain(dict.fromkeys(range(9), mask), {}, np.ones(1), doubtful={2}, gained=gained)
    assert chain.sure_frames() == {0, 1, 3, 4, 5, 6}
    assert chain.size_error() == pytest.approx(0, abs=1e-9)
    chain.gained[5] = 0.15  # an arm is won, two fifths of the area: a fifth of the linear size
    assert chain.size_error() == pytest.approx(0.2)


@pytest.mark.slow
def test_names_are_the_users_or_by_place():
    clip, _ = made_clip([(60 + 8 * number, 90) for number in range(10)])
    assert [track.name for track in find_objects(clip, names=("red disc", "unused"))] == ["red disc"]
    both = [np.asarray(frame).copy() for frame in clip.frames]
    other, _ = made_clip([(290 - 3 * number, 140) for number in range(10)])
    for picture, frame in zip(both, other.frames, strict=True):
        picture[100:, 220:] = np.asarray(frame)[100:, 220:]
    names = {track.name for track in find_objects(Clip([Image.fromarray(p) for p in both], clip.timestamps))}
    assert names == {"moving object on the left", "moving object on the right"}


def test_places_that_are_kept_give_names():
    def things(*places, frames=3):
        masks = []
        for column, row in places:
            mask = np.zeros((100, 100), dtype=bool)
            mask[row - 3 : row + 3, column - 3 : column + 3] = True
            masks.append(dict.fromkeys(range(frames), mask))
        return masks

    assert name_by_place("dog", things((80, 50), (20, 50), (50, 50))) == [
        "dog on the right",
        "dog on the left",
        "dog in the middle",
    ]
    assert name_by_place("dog", things((50, 80), (50, 20))) == ["dog at the bottom", "dog at the top"]
    assert name_by_place("dog", things((50, 50), (55, 55))) == []
    assert name_by_place("dog", things((20, 50), (40, 50), (60, 50), (80, 50))) == []
    first, second = things((20, 20), (80, 20))
    crossing = {**second, 2: first[2]}, {**first, 2: second[2]}
    assert name_by_place("dog", crossing) == []
    assert name_by_place("dog", [{0: first[0]}, {2: second[2]}]) == []


@pytest.mark.medium
def test_what_covers_most_of_the_picture_moves_before_a_camera_that_stands():
    places = [(130 + 6 * number, 96) for number in range(8)]
    clip, masks = made_clip(places, radius=90)
    camera = CameraPoses("still", np.tile(np.eye(4), (8, 1, 1)), np.eye(3))
    (track,) = find_objects(clip, camera)
    assert overlaps(track, masks).mean() > 0.85


def test_what_cannot_be_told_is_refused_with_numbers():
    rng = np.random.default_rng(0)
    flicker = [Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)) for _ in range(5)]
    with pytest.raises(ClipError, match=r"explains 0\.\d+ of the flow to \d+\.\d+ px of 384") as caught:
        find_objects(Clip(flicker, [0.0, 0.1, 0.2, 0.3, 0.4]))
    assert caught.value.code == "unclear"
    with pytest.raises(ClipError) as caught:
        find_objects(Clip(flicker[:2], [0.0, 0.1]))
    assert caught.value.code == "too_short"


@pytest.mark.slow
def test_what_may_stand_still_before_a_moving_camera_is_left_out():
    """A disc that shifts along the epipolar lines of a sideways move may be a nearer thing at rest; one that crosses
    them is not."""
    intrinsics = np.array([[300.0, 0, 160], [0, 300, 96], [0, 0, 1]])
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 0.3, 10)
    camera = CameraPoses("up_to_scale", poses, intrinsics, 4.0)
    along, _ = made_clip([(250 - 8 * number, 90) for number in range(10)], pan=3.0)
    across, _ = made_clip([(160, 40 + 8 * number) for number in range(10)], pan=3.0)
    assert find_objects(along, camera) == [] and len(find_objects(along)) == 1
    assert len(find_objects(across, camera)) == 1


@pytest.mark.slow
def test_exact_masks_of_the_rendered_world():
    world = pytest.importorskip("fourdthinker.dataset_builders.world.renderer")
    found = []
    with world.World(side=400, frames=12, fps=10.0) as rendered:
        for seed in (1, 8, 9, 14, 26, 28):  # still cameras, and one that pans; most pans over this ground are rejected
            clip = rendered.render(sample_near_scene(np.random.default_rng(seed), rendered.frames, 8))
            tracks = find_objects(Clip([Image.fromarray(frame) for frame in clip.rgb], clip.timestamps))
            gone = np.linalg.norm(clip.centres[-1] - clip.centres[0], axis=1)
            shares = (clip.masks[..., None] == np.arange(len(gone))).mean(axis=(0, 1, 2))
            for number in np.flatnonzero((gone > 0.5) & (shares > 0.01)):
                exact = list(clip.masks == number)
                found.append(max([overlaps(track, exact).mean() for track in tracks], default=0.0))
    assert len(found) >= 5 and np.mean(found) >= 0.7, found


@pytest.mark.slow
@pytest.mark.parametrize("rate", [6, 10, 15])
def test_hand_drawn_masks_of_a_real_clip(shared_file, rate):
    """A man who runs before a panning camera, drawn by hand in five frames."""
    from fourdthinker.modeling.video_decoding import read_frames

    path = shared_file("videos/paragliding-launch.mp4")
    drawn = json.loads((Path(__file__).parent / "paragliding_masks.json").read_text())
    every = read_frames(path)
    moments = {int(np.abs(np.array(every.timestamps) - float(second)).argmin()): rle for second, rle in drawn.items()}
    chosen = sorted({*range(0, len(every.frames), 30 // rate), *moments})
    clip = Clip([every.frames[number] for number in chosen], [every.timestamps[number] for number in chosen])
    (track,) = find_objects(clip)
    for number, rle in moments.items():
        position = chosen.index(number)
        found, exact = decode_mask(track.masks[position]), decode_mask(rle)
        assert (found & exact).sum() / (found | exact).sum() >= 0.6, every.timestamps[number]


@pytest.mark.slow
def test_small_walkers_before_a_still_camera_are_no_object(shared_file):
    from fourdthinker.modeling.video_decoding import read_frames

    path = shared_file("videos/street.mp4")
    assert find_objects(read_frames(path)) == []
