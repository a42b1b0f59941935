"""A build from raw video that asks about the future: cut clips, later frames of the same video as imagery."""

import json

import numpy as np
import pytest

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from datasets import load_dataset  # noqa: E402

from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records  # noqa: E402
from fourdthinker.dataset_builders.sources.windows import read_window  # noqa: E402

from ...made_clips import draw_masks, film_still_camera  # noqa: E402


@pytest.mark.slow
def test_a_video_with_a_mover_gives_rows_that_end_before_their_imagery(tmp_path):
    source, output = tmp_path / "videos", tmp_path / "data"
    source.mkdir()
    video = film_still_camera(source / "mover.mp4", seed=2, step=4, count=36)
    draw_masks(source / "mover.masks", step=4, count=36)
    command = ["build-data", "--source", str(source), "--output", str(output), "--objects", "files"]
    assert main([*command, "--questions", "future"]) == 0
    rows = load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows["task"]) == {"future_place", "future_distance"} and set(rows["source"]) == {"mover.mp4"}
    (record,) = load_records(output)
    clip = read_window(video, record.window)
    for row in rows:
        facts = json.loads(row["facts"])
        cut, until = facts["seconds"]
        assert row["timestamps"][-1] == pytest.approx(cut, abs=1e-3) and facts["object"] == "blue square"
        assert cut < row["imagery_timestamps"][0] <= row["imagery_timestamps"][-1] == pytest.approx(until, abs=1e-3)
        for second, picture, mask in zip(row["imagery_timestamps"], row["imagery"], row["imagery_masks"], strict=True):
            later = clip.frames[int(np.abs(np.array(clip.timestamps) - second).argmin())].resize(picture.size)
            outside = np.asarray(mask) == 0
            outside &= ~(np.roll(np.asarray(mask), 2, 0) | np.roll(np.asarray(mask), -2, 0)).astype(bool)
            outside &= ~(np.roll(np.asarray(mask), 2, 1) | np.roll(np.asarray(mask), -2, 1)).astype(bool)
            differing = np.abs(np.asarray(picture, int) - np.asarray(later, int)).max(axis=2) > 60
            assert differing[outside].mean() < 0.02 and differing[~outside].mean() > 0.3
    place = next(row for row in rows if row["task"] == "future_place")
    assert place["options"]["ABCD".index(place["answer"])] == "Shifted Right"
    # Another family asks nothing of it, and the records need not be made again.
    assert main([*command, "--questions", "object"]) == 0
    again = load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    assert not any(task.startswith("future") for task in again["task"])
