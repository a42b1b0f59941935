"""Rows of a benchmark that a training set holds too are found, copies that were altered included."""

import io

import numpy as np
import pytest
from PIL import Image

from fourdthinker.eval_tasks.overlap import clean_rows, find_overlap
from fourdthinker.modeling.clip import Clip
from fourdthinker.modeling.errors import InputError

SIZE = (96, 72)


def make_clip(seed: int, frames: int = 6) -> list[Image.Image]:
    """Blobs of several sizes that drift, as different from clip to clip as real videos at least."""
    generator = np.random.default_rng(seed)
    layers = [Image.fromarray(generator.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (3, 5, 9)]
    wide = [np.asarray(layer.resize((SIZE[0] + 24, SIZE[1]), Image.Resampling.BICUBIC), float) for layer in layers]
    scene = sum(wide) / len(wide)
    step = int(generator.integers(0, 4))
    return [Image.fromarray(scene[:, step * n : step * n + SIZE[0]].astype(np.uint8)) for n in range(frames)]


def encode_again(clip: list[Image.Image]) -> list[Image.Image]:
    encoded = []
    for frame in clip:
        file = io.BytesIO()
        frame.save(file, "JPEG", quality=30)
        encoded.append(Image.open(file).convert("RGB"))
    return encoded


def crop_tenth(clip: list[Image.Image], left: float = 0.03, top: float = 0.08) -> list[Image.Image]:
    width, height = SIZE
    box = (round(left * width), round(top * height), round((left + 0.9) * width), round((top + 0.9) * height))
    return [frame.crop(box) for frame in clip]


ALTERATIONS = {
    "copied": lambda clip: clip,
    "re-encoded": encode_again,
    "resized": lambda clip: [frame.resize((56, 56)) for frame in clip],
    "cropped": crop_tenth,
    "mirrored": lambda clip: [frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for frame in clip],
    "cropped and re-encoded": lambda clip: encode_again(crop_tenth(clip, 0.1, 0.0)),
}


def rows_of(clips: dict[str, list[Image.Image]]) -> list[dict]:
    return [{"id": name, "question": f"Where does {name} go?", "options": ["up", "down"]} for name in clips]


def as_clip(frames: list[Image.Image] | Clip | None) -> Clip | None:
    """Frames as a clip of four a second."""
    if frames is None or isinstance(frames, Clip):
        return frames
    return Clip(frames, [number / 4 for number in range(len(frames))])


def overlaps_of(clips: dict, training_clips: dict) -> dict[str, str]:
    found = find_overlap(
        rows_of(clips),
        rows_of(training_clips),
        lambda row: as_clip(clips[row["id"]]),
        lambda row: as_clip(training_clips[row["id"]]),
    )
    return {overlap.row: overlap.other for overlap in found if overlap.kind == "video"}


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True])
def test_planted_copies_are_found_and_nothing_else(swapped):
    training = {f"train {seed}": make_clip(seed) for seed in range(60)}
    benchmark = {f"test {seed}": make_clip(1000 + seed) for seed in range(30)}
    planted = {name: alter(training[f"train {n}"]) for n, (name, alter) in enumerate(ALTERATIONS.items())}
    expected = {name: f"train {n}" for n, name in enumerate(ALTERATIONS)}
    if swapped:  # the altered copy is in the training set
        expected = {other: name for name, other in expected.items()}
        assert overlaps_of(training, {**benchmark, **planted}) == expected
    else:
        assert overlaps_of({**benchmark, **planted}, training) == expected


def make_fast_clip(seed: int, rate: float, start: float = 0.0) -> Clip:
    """Eight seconds in which all that is seen changes within a second, sampled at a rate."""
    scenes = [make_clip(100 * seed + number, 4) for number in range(8)]
    times = [float(time) for time in np.arange(start, 8, 1 / rate)]
    return Clip([scenes[int(time)][int(4 * (time % 1))] for time in times], times)


@pytest.mark.medium
@pytest.mark.parametrize(("rate", "start"), [(1, 0.0), (1, 0.4), (2, 0.0), (3, 0.1), (0.7, 0.0), (10, 0.0)])
def test_a_clip_with_fast_motion_is_found_however_it_was_sampled_for_training(rate, start):
    training = {f"train {seed}": make_fast_clip(seed, rate, start) for seed in range(4)}
    benchmark = {f"test {seed}": make_fast_clip(seed, 4) for seed in (2, 7)}
    assert overlaps_of(benchmark, training) == {"test 2": "train 2"}


def test_times_that_begin_anew_do_not_hide_a_copy():
    """A copy in training rows whose times start at another second, or that runs at another speed."""
    clip = make_fast_clip(1, 2)
    later = Clip(clip.frames, [time + 30 for time in clip.timestamps])
    slower = Clip(clip.frames, [1.25 * time for time in clip.timestamps])
    for training in (later, slower):
        assert overlaps_of({"test": make_fast_clip(1, 4)}, {"train": training}) == {"test": "train"}


def test_plain_frames_and_missing_videos_are_no_copies():
    plain = {"a": [Image.new("RGB", SIZE, "grey")] * 3}
    assert overlaps_of(plain, plain) == {}
    assert overlaps_of({"a": None}, {"a": make_clip(0)}) == {}


def question(name: str, text: str, options: list[str]) -> dict:
    return {"id": name, "question": text, "options": options}


def test_copied_questions_are_found_and_templates_are_not():
    words = "While the man in the red coat walks past the second window, which way does the small dog behind him turn"
    training = [question("t0", f"{words}?", ["left", "right"])]
    training += [
        question(f"t{n}", "Which way does the camera move in this video?", ["left", "up"]) for n in range(1, 9)
    ]
    rows = [
        question("copied", f"{words.upper()} ?", ["right", "left"]),
        question("template", "Which way does the camera move in this video?", ["left", "up"]),
        question("own", "How far is the lamp from the table at the end of the clip, in metres?", ["1", "2"]),
    ]
    found = find_overlap(rows, training, lambda row: None, lambda row: None)
    assert [(overlap.row, overlap.other, overlap.kind) for overlap in found] == [("copied", "t0", "question")]
    assert clean_rows(rows, found) == [1, 2]
    with pytest.raises(InputError, match="leaves no row"):
        clean_rows(rows[:1], found)
