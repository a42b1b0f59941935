"""Few frames of a long video cost few decoded frames, and are exactly those of decoding all of it."""

import numpy as np
import pytest

from fourdthinker.modeling.video_decoding import read_frames
from fourdthinker.modeling.video_source import open_source

from ..made_videos import encode, join, trim

COUNT, RATE, GROUP = 200, 25, 20
OPEN = {"x264-params": f"open-gop=1:keyint={GROUP}:bframes=3"}
KINDS = {
    "b_frames.mp4": {"options": {"g": str(GROUP), "bf": "3"}},
    "fragments.mp4": {"options": {"g": str(GROUP)}, "container": {"movflags": "frag_keyframe+empty_moov"}},
    "open_groups.mp4": {"options": OPEN},
    "open_groups.mkv": {"options": OPEN},
    "open_groups.ts": {"options": OPEN},
    "refreshed_without_key_frames.mp4": {"options": {"x264-params": f"intra-refresh=1:keyint={GROUP}:bframes=0"}},
    "transport.ts": {"codec": "mpeg2video", "options": {"g": str(GROUP), "bf": "2"}},
    "flash.flv": {"codec": "flv", "options": {"g": str(GROUP)}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": str(GROUP)}},
    "hidden_frames.webm": {
        "codec": "libvpx",
        "options": {
            "g": str(GROUP),
            "auto-alt-ref": "1",
            "lag-in-frames": "8",
            "deadline": "realtime",
            "cpu-used": "8",
        },
    },
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"preset": "ultrafast", "x265-params": f"log-level=none:keyint={GROUP}:open-gop=1:bframes=3"},
    },
    "b_frames.avi": {"options": {"g": str(GROUP), "bf": "2"}},  # its times are counted from the start
    "uneven.mkv": {"milliseconds": [int(index * 40 + 300 * (index > 90)) for index in range(COUNT)]},
}
ONE_PASS = {"b_frames.avi", "uneven.mkv"}  # no key frames to go to


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_sampled_frames_are_those_of_decoding_everything(tmp_path, name):
    path = encode(tmp_path / name, **{"count": COUNT, "rate": RATE, **KINDS[name]})
    everything = read_frames(path)
    source = open_source(path)
    assert source.seekable == (name not in {"b_frames.avi"})
    rng = np.random.default_rng(0)
    alone = [[number] for number in range(0, COUNT, 9)]
    for numbers in (*alone, [0, 60, 199], sorted(rng.choice(COUNT, 5, replace=False).tolist())):
        times = [everything.timestamps[number] + rng.uniform(-0.009, 0.009) for number in numbers]
        sample = read_frames(path, times=times)
        assert sample.timestamps == [everything.timestamps[number] for number in numbers]
        for frame, number in zip(sample.frames, numbers, strict=True):
            assert np.array_equal(np.asarray(frame), np.asarray(everything.frames[number]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS.keys() - ONE_PASS - {"refreshed_without_key_frames.mp4"}))
def test_the_number_of_decoded_frames_is_bounded(tmp_path, name):
    path = encode(tmp_path / name, **{"count": COUNT, "rate": RATE, **KINDS[name]})
    source, wanted = open_source(path), [1.0, 7.2]
    decoded = 0
    for group in source.groups(wanted):
        for now, _ in source.frames(group[0]):
            decoded += 1
            if now > group[-1]:
                break
    assert decoded <= len(wanted) * (2 * GROUP + 2)  # where the last key frame is none, from the one before it


def test_frames_hidden_by_an_edit_list_stay_hidden(tmp_path):
    path = trim(tmp_path / "clip.mp4")
    everything = read_frames(path)
    sample = read_frames(path, times=[0.0, 0.7])
    assert sample.timestamps == pytest.approx([0.0, 0.7])
    assert np.array_equal(np.asarray(sample.frames[1]), np.asarray(everything.frames[7]))


def test_joined_recordings_are_read_in_one_pass(tmp_path):
    part = encode(tmp_path / "part.ts", count=60, rate=RATE, options={"g": "20"})
    path = join(tmp_path / "clip.ts", part, part)
    assert not open_source(path).seekable
    assert read_frames(path, times=[1.0, 4.0]).timestamps == pytest.approx([1.0, 4.0])
