"""Dense frames of a window: its own among others, twelve a second where the video has so many."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scenedetect", reason="windows need the data extra")
from fourdthinker.dataset_builders.clip_error import ClipError  # noqa: E402
from fourdthinker.dataset_builders.clip_record import Window  # noqa: E402
from fourdthinker.dataset_builders.sources.windows import DENSE_RATE, read_dense, read_window  # noqa: E402


@pytest.mark.parametrize("rate,least,most", [(30, 12.0, 16.0), (24, 12.0, 13.0), (20, 19.0, 20.0), (10, 9.5, 10.0)])
def test_the_rate_is_at_least_twelve_where_the_video_has_it(make_video, tmp_path, rate, least, most):
    path = Path(make_video(tmp_path / "clip.mp4", 3, rate=rate))
    times = tuple(round(step / rate, 6) for step in range(rate // 2, 2 * rate, rate // 5))
    window = Window(0, times[0], times[-1], times)
    dense, own = read_dense(path, window)
    assert [dense.timestamps[number] for number in own] == pytest.approx(list(times), abs=1e-3)
    assert dense.timestamps[0] == pytest.approx(times[0]) and dense.timestamps[-1] == pytest.approx(times[-1])
    assert least <= dense.frames_per_second <= most
    assert max(np.diff(dense.timestamps)) <= max(1 / DENSE_RATE, 1 / rate) + 2e-3
    for number, frame in zip(own, read_window(path, window).frames, strict=True):
        assert np.array_equal(np.asarray(dense.frames[number]), np.asarray(frame)), "the same pixels as the window's"


def test_a_frame_that_is_no_longer_there_is_damage(make_video, tmp_path):
    path = Path(make_video(tmp_path / "clip.mp4", 1, rate=10))
    with pytest.raises(ClipError, match=r"no frame at 0\.550 s"):
        read_dense(path, Window(0, 0.0, 0.55, (0.0, 0.55)))
