"""Frames and times are those of the ffmpeg command, pixel by pixel, over all kinds of files that are made here."""

import re
import shutil
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fourdthinker.modeling.video_decoding import read_frames
from fourdthinker.modeling.video_file import VideoError

from ...made_videos import (
    MATRICES,
    SIZE,
    add_cover,
    animate,
    cut,
    encode,
    join,
    picture,
    record_sound,
    set_matrix,
    trim,
)

TRANSPORT = 188  # bytes of a packet of a transport stream


def joined(path: Path, **second) -> Path:
    """Two recordings in one file."""
    parts = [path.with_name(f"{name}{path.suffix}") for name in "ab"]
    codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
    encode(parts[0], count=10, codec=codec, rate=25)
    encode(parts[1], **{"count": 10, "codec": codec, "rate": 25, **second})
    return join(path, *parts)


def from_within(path: Path) -> Path:
    """A recording that begins between two key frames."""
    whole = encode(path.with_name("whole.ts"), count=30, options={"g": "10"})
    path.write_bytes(whole.read_bytes()[8 * TRANSPORT :])
    return path


def margins(path: Path) -> Path:
    """H.264 whose header cuts margins off that are no multiple of what processors align to."""
    filters = "h264_metadata=crop_left=4:crop_right=8:crop_top=2:crop_bottom=6"
    whole = encode(path.with_name("whole.mp4"))
    subprocess.run([find_ffmpeg(), "-v", "error", "-i", whole, "-c", "copy", "-bsf:v", filters, path], check=True)
    return path


def written(**arguments):
    return lambda path: encode(path, **arguments)


KINDS = {
    "plain.mp4": written(),
    "index_first.mp4": written(container={"movflags": "faststart"}),
    "fragments.mp4": written(container={"movflags": "frag_keyframe+empty_moov"}, options={"g": "5"}),
    "b_frames.mp4": written(options={"bf": "3"}),
    "open_groups.mkv": written(count=40, options={"x264-params": "open-gop=1:keyint=10:bframes=3"}),
    "trimmed.mp4": trim,
    "cover_art.mp4": add_cover,
    # Containers without times, with times of packets alone, and with uneven or late ones.
    "b_frames.avi": written(count=20, options={"bf": "2"}),
    "mpeg4.avi": written(codec="mpeg4"),
    "mpeg4_b_frames.avi": written(count=20, codec="mpeg4", options={"bf": "2"}),
    "motion_jpeg.avi": written(codec="mjpeg", pixels="yuvj420p"),
    "uneven.mkv": written(milliseconds=[0, 50, 100, 600, 650, 1500, 1501, 1502]),
    "uneven.mp4": written(milliseconds=[0, 50, 100, 600, 650, 1500]),
    "late.mkv": written(milliseconds=[3000 + 100 * number for number in range(12)]),
    "transport.ts": written(options={"bf": "2"}),
    "windows_media.wmv": written(codec="wmv2"),
    "windows_media_old.asf": written(count=20, codec="wmv1", rate=25),
    "mpeg2.ts": written(count=20, codec="mpeg2video", rate=25, options={"bf": "2"}),
    "interlaced.ts": written(codec="mpeg2video", rate=25, options={"flags": "+ildct+ilme"}),
    "joined.ts": joined,
    "other_size.ts": lambda path: joined(path, size=(96, 48)),
    "from_within.ts": from_within,
    "program.mpg": written(count=20, codec="mpeg2video", rate=25, options={"bf": "2"}),
    "mpeg1.mpg": written(count=20, codec="mpeg1video", rate=25),
    "joined.mpg": joined,
    "elementary.m2v": written(count=20, codec="mpeg2video", rate=25, options={"bf": "2"}),
    "vp8.ogg": written(count=20, codec="libvpx"),
    "flash.flv": written(codec="flv"),
    "h264.flv": written(options={"bf": "2"}),
    "hidden_frames.webm": written(
        count=40, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}
    ),
    "vp9.webm": written(count=30, codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "hevc.mp4": written(codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"}),
    "pil.gif": animate,
    "own.gif": written(codec="gif", pixels="rgb8"),
    # Matrices, ranges, depths and layouts of colours.
    "bt709.mp4": written(matrix=1),
    "fcc.mp4": written(matrix=4),
    "bt470.mp4": written(matrix=5),
    "smpte170.mp4": written(matrix=6),
    "smpte240.mp4": written(matrix=7),
    "bt2020.mp4": written(matrix=9, pixels="yuv420p10le"),
    "full_range.mp4": written(full_range=True),
    "full_range_bt709.mp4": written(full_range=True, matrix=1),
    "full_range_ten_bit.mkv": written(full_range=True, matrix=1, pixels="yuv420p10le"),
    "422.mp4": written(pixels="yuv422p", matrix=1),
    "444.mp4": written(pixels="yuv444p", matrix=1),
    "prores.mov": written(codec="prores_ks", pixels="yuv422p10le"),
    "prores_alpha.mov": written(codec="prores_ks", pixels="yuva444p10le"),
    "grey.mkv": written(codec="ffv1", pixels="gray"),
    "grey_ten_bit.mkv": written(codec="ffv1", pixels="gray10le"),
    "planes_of_rgb.mkv": written(codec="ffv1", pixels="gbrp10le"),
    "alpha.mov": written(codec="png", pixels="rgba"),
    "sixteen_bit.mov": written(codec="png", pixels="rgb48be"),
    "odd_size.mkv": written(codec="ffv1", size=(63, 47), matrix=1),
    "margins.mp4": margins,
    # Pixels that are not square, and pictures that lie otherwise than they are stored.
    "wide.mp4": written(aspect=Fraction(2, 1)),
    "pal.mkv": written(aspect=Fraction(16, 15)),
    "ntsc.mkv": written(aspect=Fraction(8, 9), matrix=1),
    "wide_turned.mp4": lambda path: set_matrix(path, "quarter turn left", aspect=Fraction(4, 3)),
    **{f"{name.replace(' ', '_')}.mp4": lambda path, name=name: set_matrix(path, name) for name in MATRICES},
}
# The command transposes and scales before it converts colours, we after that: edges differ by a fraction of a pixel.
ROUNDED_OTHERWISE = {"wide_turned.mp4": 3.0}


@cache
def find_ffmpeg() -> str | None:
    """The ffmpeg command of this machine, or that of the wheel `imageio-ffmpeg`."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return shutil.which("ffmpeg")
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def run_ffmpeg(path: Path) -> tuple[np.ndarray, list[float]]:
    """Frames of shape `(T, height, width, 3)` with square pixels, and their seconds, by the ffmpeg command."""
    arguments = ["-hide_banner", "-i", f"file:{path}", "-map", "0:V:0", "-vf", "scale=iw*sar:ih,showinfo"]
    output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([find_ffmpeg(), *arguments, *output], capture_output=True, check=True)
    log = done.stderr.decode(errors="replace")
    width, height = map(int, re.search(r" s:(\d+)x(\d+) ", log).groups())
    seconds = [float(number) for number in re.findall(r"pts_time:\s*(\S+)", log)]
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3), seconds


def check_against_ffmpeg(path: Path, tolerance: float | None = None) -> None:
    wanted, seconds = run_ffmpeg(path)
    clip = read_frames(path)
    assert clip.timestamps == pytest.approx([second - seconds[0] for second in seconds], abs=1e-4)
    shown = np.stack([np.asarray(frame) for frame in clip.frames])
    assert shown.shape == wanted.shape
    difference = np.abs(shown.astype(int) - wanted)
    assert difference.max() <= 1 if tolerance is None else difference.mean() <= tolerance


needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="no ffmpeg command: pip install imageio-ffmpeg")


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_as_the_ffmpeg_command_shows_it(tmp_path, name):
    KINDS[name](tmp_path / name)
    check_against_ffmpeg(tmp_path / name, ROUNDED_OTHERWISE.get(name))


@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_shows_the_white_corner_where_it_belongs(tmp_path, name):
    (frame,) = read_frames(set_matrix(tmp_path / "clip.mp4", name, count=1)).frames
    stored = picture(0)
    flipped = {"left to right": stored[:, ::-1], "top to bottom": stored[::-1]}
    upright = {
        "as stored": stored,
        "mirrored left to right": flipped["left to right"],
        "mirrored top to bottom": flipped["top to bottom"],
        "half turn": stored[::-1, ::-1],
        "quarter turn right": np.rot90(stored, 3),
        "quarter turn left": np.rot90(stored),
        "transposed": stored.transpose(1, 0, 2),
        "transposed and turned": np.rot90(stored, 2).transpose(1, 0, 2),
    }[name]
    assert frame.size == (upright.shape[1], upright.shape[0])
    assert np.abs(np.asarray(frame).astype(int) - upright).mean() < 6


def test_a_trimmed_file_shows_what_its_edit_list_says(tmp_path):
    clip = read_frames(trim(tmp_path / "clip.mp4"))
    assert clip.timestamps == pytest.approx([number / 10 for number in range(10)])
    assert np.abs(np.asarray(clip.frames[0]).astype(int) - picture(15)).mean() < 6


def test_cover_art_is_no_video(tmp_path):
    assert len(read_frames(add_cover(tmp_path / "clip.mp4")).frames) == 12
    with pytest.raises(VideoError, match="holds no video stream") as caught:
        read_frames(add_cover(tmp_path / "song.mp4", record_sound))
    assert caught.value.code == "no_picture"


def test_times_are_counted_where_a_container_has_none(tmp_path):
    clip = read_frames(encode(tmp_path / "clip.avi", count=40, options={"bf": "2"}))
    assert clip.timestamps == pytest.approx([number / 10 for number in range(40)])


def test_joined_recordings_go_on_in_time(tmp_path):
    clip = read_frames(joined(tmp_path / "clip.ts"))
    assert clip.timestamps == pytest.approx([number / 25 for number in range(20)])


@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_are_converted_by_the_matrix_of_the_file(tmp_path, matrix):
    green = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    green[..., 1] = 255

    def frame_by(red: float, blue: float) -> np.ndarray:
        luma = 1 - red - blue
        values = (16 + 219 * luma, 128 - 224 * luma / (2 * (1 - blue)), 128 - 224 * luma / (2 * (1 - red)))
        sizes = (green[..., 0].size, green[..., 0].size // 4, green[..., 0].size // 4)
        planes = [np.full(size, round(value), np.uint8) for value, size in zip(values, sizes, strict=True)]
        return np.concatenate(planes).reshape(SIZE[1] * 3 // 2, SIZE[0])

    planes = frame_by(0.2126, 0.0722) if matrix == 1 else frame_by(0.299, 0.114)
    path = encode(tmp_path / "clip.mkv", count=1, codec="ffv1", matrix=matrix, draw=lambda *_: planes, drawn="yuv420p")
    assert np.abs(np.asarray(read_frames(path).frames[0]).astype(int) - green).max() <= 2


def test_pixels_become_square(tmp_path):
    assert read_frames(encode(tmp_path / "clip.mp4", aspect=Fraction(2, 1))).frames[0].size == (2 * SIZE[0], SIZE[1])
    turned = set_matrix(tmp_path / "turned.mp4", "quarter turn right", aspect=Fraction(4, 3))
    width, height = read_frames(turned).frames[0].size
    assert height / width == pytest.approx(SIZE[0] * 4 / 3 / SIZE[1], rel=0.02)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animated_image_is_a_clip(tmp_path, suffix):
    clip = read_frames(animate(tmp_path / f"clip{suffix}"))
    assert clip.timestamps == pytest.approx([number * 0.08 for number in range(6)])
    difference = np.abs(np.asarray(clip.frames[5]).astype(int) - picture(5))
    assert difference.max() == 0 if suffix == ".webp" else difference.mean() < 6
    assert read_frames(tmp_path / f"clip{suffix}", times=[0.16, 0.4]).timestamps == pytest.approx([0.16, 0.4])


@pytest.mark.parametrize("name", ["clip.flv", "clip.mpg", "clip.mp4"])
def test_containers_that_name_their_streams_late_do_not_crash(tmp_path, name):
    whole = encode(tmp_path / "whole.mpg", count=25, rate=25, codec="mpeg2video")
    if name == "clip.flv":
        whole = encode(tmp_path / "whole.flv", count=25, rate=25, codec="flv")
    whole.rename(tmp_path / name)
    assert len(read_frames(tmp_path / name).frames) == 25


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.flv", "clip.mpg", "clip.wmv"])
def test_a_file_that_is_cut_off_is_damaged(tmp_path, name):
    codecs = {"clip.avi": "mpeg4", "clip.flv": "flv", "clip.mpg": "mpeg2video", "clip.wmv": "wmv2"}
    container = {"movflags": "faststart"} if name == "clip.mp4" else {}
    rng = np.random.default_rng(0)
    path = encode(
        tmp_path / name,
        count=40,
        rate=25,
        codec=codecs.get(name, "libx264"),
        container=container,
        draw=lambda _, size: rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8),  # large packets
    )
    with pytest.raises(VideoError, match="is cut short|damaged") as caught:
        read_frames(cut(path, 0.6), max_frames=4)
    assert caught.value.code == "damaged"
