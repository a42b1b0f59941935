"""A rendered clip written as a video shows the same frames at the same times."""

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders import World
from fourdthinker.dataset_builders.world.clip_file import write_clip
from fourdthinker.modeling.video_decoding import read_frames


def test_a_written_clip_is_read_back_frame_by_frame(tmp_path):
    with World(side=112) as world:
        rendered = world.clip(2**40)
    write_clip(tmp_path / "new" / "clip.mp4", rendered.rgb, world.fps)
    clip = read_frames(tmp_path / "new" / "clip.mp4", max_frames=len(rendered.rgb))
    assert clip.timestamps == rendered.timestamps
    read = np.stack([np.asarray(frame) for frame in clip.frames]).astype(int)
    error = np.abs(read[:, None] - rendered.rgb[None]).mean(axis=(2, 3, 4))
    assert (error.argmin(axis=1) == np.arange(len(rendered.rgb))).all(), "each frame is most like its own"
    assert error.diagonal().max() < 6
