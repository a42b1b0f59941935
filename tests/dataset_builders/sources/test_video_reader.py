"""Reading videos: sampling is exact, and every kind of bad file ends in one line that names it."""

import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.sources.video_reader import FrameTimestampError, read_frames
from fourdthinker.modeling.errors import InputError

from ...made_videos import cut, record_sound


def write_video(path, seconds, size=(64, 48), codec="libx264", pixels="yuv420p", options=None, container_options=None):
    """Encode one frame for each of `seconds`, its brightness telling its number (10 a step)."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.options = options or {}
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, moment in enumerate(seconds):
            noise = np.random.default_rng(index).integers(0, 8, (size[1], size[0], 3))
            frame = av.VideoFrame.from_ndarray((noise + 10 * index % 240).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def evenly(count=20):
    return [index / 20 for index in range(count)]


def number(image) -> int:
    """Which frame of `write_video` an image is."""
    return round((np.asarray(image).mean() - 3.5) / 10)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("videos") / "steps.mp4", evenly())


def test_every_frame(video):
    clip = read_frames(video)
    assert clip.timestamps == pytest.approx(evenly())
    assert [number(frame) for frame in clip.frames] == list(range(20))
    assert {(frame.mode, frame.size) for frame in clip.frames} == {("RGB", (64, 48))}


def test_sampling_by_rate_count_and_times(video):
    assert read_frames(video, fps=4).timestamps == pytest.approx([0, 0.25, 0.5, 0.75])
    clip = read_frames(video, max_frames=3)
    assert clip.timestamps == pytest.approx([0, 0.5, 0.95], abs=0.051)
    assert [number(frame) for frame in clip.frames] == [round(second * 20) for second in clip.timestamps]
    assert read_frames(video, fps=10, max_frames=2).timestamps == pytest.approx([0, 0.95])
    assert read_frames(video, times=[0.11, 0.69]).timestamps == pytest.approx([0.1, 0.7])
    # Sampling faster than the video gives each frame once, at its own time.
    assert read_frames(video, fps=100).timestamps == pytest.approx(evenly())
    assert len(read_frames(video, max_frames=1).frames) == 1


def test_asked_time_without_a_frame(video):
    with pytest.raises(FrameTimestampError, match="steps.mp4: no frame within 0.1 s of 5 s"):
        read_frames(video, times=[0, 5])
    with pytest.raises(FrameTimestampError, match="two of the requested times"):
        read_frames(video, times=[0.1, 0.101])


@pytest.mark.parametrize("sampling", [{"fps": 0}, {"fps": -1}, {"max_frames": 0}, {"times": []}, {"times": [1, 0]}])
def test_senseless_sampling(video, sampling):
    with pytest.raises(InputError):
        read_frames(video, **sampling)


def test_uneven_frame_times_are_true(tmp_path):
    seconds = [0, 0.05, 0.1, 0.6, 0.65, 1.5]
    clip = read_frames(write_video(tmp_path / "uneven.mp4", seconds))
    assert clip.timestamps == pytest.approx(seconds, abs=1e-3)
    assert [number(frame) for frame in clip.frames] == list(range(6))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("one_frame.mp4", {"seconds": [0]}),
        ("matroska.mkv", {}),
        ("b_frames.mp4", {"options": {"bf": "3"}}),
        ("motion_jpeg.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("ten_bit.mkv", {"pixels": "yuv420p10le"}),
        ("alpha.mov", {"codec": "png", "pixels": "rgba"}),
        ("odd.mkv", {"size": (63, 47), "codec": "ffv1", "pixels": "yuv444p"}),
        ("transport.ts", {}),
        ("starts_late.mkv", {"seconds": [second + 3 for second in evenly()]}),
    ],
)
def test_unusual_but_sound_videos(tmp_path, name, arguments):
    arguments = {"seconds": evenly(), **arguments}
    clip = read_frames(write_video(tmp_path / name, **arguments))
    assert len(clip.frames) == len(arguments["seconds"])
    start = arguments["seconds"][0]
    assert clip.timestamps == pytest.approx([second - start for second in arguments["seconds"]], abs=1e-3)
    assert clip.frames[0].mode == "RGB"
    assert clip.frames[0].size == arguments.get("size", (64, 48))


def test_rotation_of_a_phone_video_is_undone(tmp_path):
    path = write_video(tmp_path / "phone.mp4", [0])
    left_white = np.zeros((48, 64, 3), np.uint8)
    left_white[:, :32] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(left_white, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 4 + 40  # after version, times, id, duration, layer and volume

    def numbers(*values):
        return b"".join(int(value).to_bytes(4, "big", signed=True) for value in values)

    # Phones held upright store (0 1 0 / -1 0 0): turn a quarter clockwise to show. The left side comes to the top.
    turned = numbers(0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    (frame,) = read_frames(path).frames
    assert frame.size == (48, 64)
    pixels = np.asarray(frame)
    assert pixels[:28].mean() > 240 and pixels[36:].mean() < 15


def test_large_frames_are_shrunk_on_the_way(video):
    (width, height) = read_frames(video, max_frames=2, max_pixels=1000).frames[0].size
    assert width * height <= 1000 and width / height == pytest.approx(4 / 3, rel=0.05)


def bad_files(folder: Path):
    noise = evenly(60)
    sound = write_video(folder / "sound.mp4", noise, options={"qp": "10", "g": "10"})
    faststart = write_video(
        folder / "faststart.mp4", noise, options={"qp": "10", "g": "10"}, container_options={"movflags": "faststart"}
    )
    matroska = write_video(folder / "matroska.mkv", noise, options={"qp": "10", "g": "10"})
    flipped = bytearray(faststart.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(flipped) // 3, len(flipped) - 10, 300):
        flipped[place] ^= 1 << int(rng.integers(8))

    def write(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    (folder / "folder.mp4").mkdir()
    return {
        "missing": (folder / "missing.mp4", "does not exist"),
        "folder": (folder / "folder.mp4", "is a folder"),
        "empty": (write("empty.mp4", b""), "is empty"),
        "html": (write("page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20), "no video"),
        "random bytes": (write("random.mp4", rng.bytes(20_000)), "no video"),
        "image": (_image(folder / "picture.mp4"), "no video"),
        "audio only": (record_sound(folder / "audio.mp4"), "no video stream"),
        "cut before its index": (cut(sound, 0.6), "damaged"),
        "cut after its index": (cut(faststart, 0.6), "cut short"),
        "cut Matroska": (cut(matroska, 0.6), "cut short"),
        "flipped bits": (write("flipped.mp4", bytes(flipped)), "damaged"),
        "concat script": (write("list.mp4", b"ffconcat version 1.0\nfile 'sound.mp4'\n"), "no video"),
        "playlist": (
            write("hls.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsound.mp4\n#EXT-X-ENDLIST\n"),
            "no video",
        ),
        "image sequence": (folder / "frame%03d.png", "does not exist"),
        "address": (Path(f"concat:{sound}|{sound}"), "does not exist"),
    }


def _image(path):
    Image.new("RGB", (64, 48)).save(path, format="PNG")
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return bad_files(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "folder",
        "empty",
        "html",
        "random bytes",
        "image",
        "audio only",
        "cut before its index",
        "cut after its index",
        "cut Matroska",
        "flipped bits",
        "concat script",
        "playlist",
        "image sequence",
        "address",
    ],
)
def test_bad_file_is_reported_in_one_line(bad, kind):
    path, words = bad[kind]
    with pytest.raises(InputError, match=words) as caught:
        read_frames(path, max_frames=4)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_like_an_address_is_still_a_file(tmp_path, monkeypatch, video):
    monkeypatch.chdir(tmp_path)
    Path("concat:a|b.mp4").write_bytes(video.read_bytes())
    assert len(read_frames("concat:a|b.mp4").frames) == 20


def test_huge_frames_are_rejected_before_decoding(tmp_path):
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = write_video(tmp_path / "huge.mkv", [0], size=(400, 300), codec="mjpeg", pixels="yuvj420p")
    content = path.read_bytes()
    start = content.index(b"\xff\xc0") + 5  # height and width in the JPEG frame header
    assert content[start : start + 4] == (300).to_bytes(2, "big") + (400).to_bytes(2, "big")
    path.write_bytes(content[:start] + 2 * (20_000).to_bytes(2, "big") + content[start + 4 :])
    with pytest.raises(InputError, match="20000 x 20000 pixels|damaged"):
        read_frames(path)
    memory_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes
    assert memory_peak < memory_before + 200_000


@pytest.mark.parametrize("name", ["backpack.mp4", "cat.mp4", "teddy.mp4"])
def test_phone_clips(shared_file, name):
    clip = read_frames(shared_file(f"videos/{name}"), max_frames=24)
    assert len(clip.frames) == 24
    assert {frame.size for frame in clip.frames} == {(368, 480)}
    assert clip.timestamps[0] == 0 and 4 < clip.timestamps[-1] < 8
