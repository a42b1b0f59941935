"""Windows of a video: within one shot, as dense as the motion asks, few of a long video; bad files cost themselves."""

import av
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scenedetect", reason="shots need the data extra")
from fourdthinker.dataset_builders.clip_error import CLIP_ERROR_CODES, ClipError  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_tasks import ShotsTask, Video  # noqa: E402
from fourdthinker.dataset_builders.pipeline.worker_pool import Ended, Made, WorkerPool  # noqa: E402
from fourdthinker.dataset_builders.sources.shots import find_shots  # noqa: E402
from fourdthinker.dataset_builders.sources.windows import find_windows, read_window, search_windows  # noqa: E402
from fourdthinker.modeling.video_decoding import read_frames  # noqa: E402
from fourdthinker.modeling.video_file import VideoError  # noqa: E402

from ...made_videos import animate, cut, encode  # noqa: E402

SIZE, RATE = (160, 96), 24


def texture(seed: int) -> np.ndarray:
    """A wide picture with blobs of all sizes, in which corners can be followed; shape `(96, 1600, 3)`."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (96 // cell, 1600 // cell, 3), dtype=np.uint8)).resize((1600, 96))
        )
        for cell in (4, 8, 24)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def film(path, shots: list[tuple[int, float, float]], **arguments):
    """Shots of `(texture, seconds, pixels a second to the right)`, one after another."""
    frames = []
    for seed, seconds, speed in shots:
        wide = texture(seed)
        for number in range(round(seconds * RATE)):
            left = round(number * speed / RATE)
            frames.append(wide[:, left : left + SIZE[0]])
    return encode(path, count=len(frames), rate=RATE, size=SIZE, draw=lambda number, _: frames[number], **arguments)


@pytest.mark.medium
def test_no_window_crosses_a_cut(tmp_path):
    lengths = [1.5, 6.5, 0.2, 2.0, 1.0]
    path = film(tmp_path / "film.mp4", [(seed, seconds, 20 + 8 * seed) for seed, seconds in enumerate(lengths)])
    cuts = np.cumsum(lengths)[:-1]
    search = search_windows(path, max_windows=10)
    spans = [(window.start, window.end) for window in search.windows]
    assert all(not start < cut <= end for start, end in spans for cut in cuts)
    # Half overlap in the second shot; the third is too short.
    wanted = [(0, 1.5), (1.5, 5.5), (3.5, 7.5), (8.2, 10.2), (10.2, 11.2)]
    assert np.allclose(spans, wanted, atol=0.15)
    assert [window.shot for window in search.windows] == [0, 1, 1, 3, 4]
    assert len(search.dropped) == 1 and "shot 2" in search.dropped[0] and "too short" in search.dropped[0]


@pytest.mark.parametrize("quality", ["18", "23"])
@pytest.mark.parametrize("seed", [1, 5])
@pytest.mark.parametrize("seconds", [0.4, 1.5])
@pytest.mark.slow
def test_no_window_crosses_a_dissolve(tmp_path, seconds, seed, quality):
    """Two panning shots of 4 s each, of which the first fades into the second."""
    mixed, wide = round(seconds * RATE), (texture(seed), texture(seed + 1))

    def draw(number: int, _) -> np.ndarray:
        share = np.clip((number - 4 * RATE + mixed) / mixed, 0, 1)
        first, second = (wide[shot][:, left : left + SIZE[0]] for shot, left in ((0, number), (1, 300 - number)))
        return ((1 - share) * first + share * second).astype(np.uint8)

    options = {"crf": quality, "threads": "1"}  # with more threads the encoder's choices depend on the machine
    path = encode(tmp_path / "film.mp4", count=8 * RATE - mixed, rate=RATE, size=SIZE, draw=draw, options=options)
    begin, end = 4 - seconds, 4
    spans = [(window.start, window.end) for window in find_windows(path, max_windows=10)]
    # The faintest tenth of either shot cannot be seen.
    assert all(stop <= begin + 0.15 * seconds or start >= end - 0.15 * seconds for start, stop in spans)
    assert spans[0][0] < 0.1 and spans[0][1] > begin - 0.8
    assert spans[-1][0] < end + 0.8 and spans[-1][1] > 7.5 - seconds


def test_a_light_that_is_switched_on_is_no_dissolve(tmp_path):
    wide = texture(1)

    def draw(number: int, _) -> np.ndarray:
        return (wide[:, number // 3 : number // 3 + SIZE[0]] * np.clip(number / 36, 0.4, 1)).astype(np.uint8)

    path = encode(tmp_path / "light.mp4", count=3 * RATE, rate=RATE, size=SIZE, draw=draw)
    assert len(find_windows(path)) == 1


def test_a_dissolve_of_one_pixel_is_read():
    """Whatever is left of its contrast is rounding, which a shift may take away."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        one, other = rng.integers(0, 255, (2, 1, 1, 3))
        mixed = [((1 - share) * one + share * other) for share in np.linspace(0, 1, 9)]
        pixels = [*[one] * 5, *mixed, *[other] * 5]

        class Pixels:
            def frames(self, start, pixels=pixels):
                return ((number / 10, pixel) for number, pixel in enumerate(pixels))

            def to_image(self, pixel):
                return Image.fromarray(pixel.astype(np.uint8))

        assert find_shots(Pixels(), 0, 60)


def test_a_fast_pan_and_a_flash_are_no_cut(tmp_path):
    wide = texture(1)
    frames = [wide[:, 8 * number : 8 * number + SIZE[0]] for number in range(96)]
    frames[40] = np.full_like(frames[40], 250)  # a photographer's flash
    path = encode(tmp_path / "pan.mp4", count=96, rate=RATE, size=SIZE, draw=lambda number, _: frames[number])
    spans = [(window.start, window.end) for window in find_windows(path)]
    assert all(end - start > 1.5 for start, end in spans)


@pytest.mark.medium
@pytest.mark.parametrize(("speed", "slowest", "fastest"), [(0, 6, 6.5), (60, 7, 9.5), (200, 13, 15)])
def test_the_rate_follows_the_motion(tmp_path, speed, slowest, fastest):
    path = film(tmp_path / "clip.mp4", [(3, 3.0, speed)])
    (window,) = find_windows(path)
    seconds = window.end - window.start
    assert slowest <= (len(window.timestamps) - 1) / seconds <= fastest
    shift = speed * seconds / (len(window.timestamps) - 1) / SIZE[0]
    assert shift < 0.06 or len(window.timestamps) > 13 * seconds


@pytest.mark.medium
def test_windows_hold_true_times_of_frames(tmp_path):
    path = film(tmp_path / "clip.mp4", [(0, 5.0, 30), (1, 5.0, 30)], options={"g": "12", "bf": "2"})
    everything = read_frames(path)
    for window in find_windows(path, seed=3):
        clip = read_window(path, window)
        assert clip.timestamps == list(window.timestamps) and window.start == window.timestamps[0]
        for moment, frame in zip(clip.timestamps, clip.frames, strict=True):
            assert np.array_equal(
                np.asarray(frame), np.asarray(everything.frames[everything.timestamps.index(moment)])
            )


@pytest.mark.slow
def test_few_windows_are_spread_and_drawn_by_the_seed(tmp_path):
    path = film(tmp_path / "clip.mp4", [(seed, 1.0, 20) for seed in range(9)])
    drawn = [find_windows(path, seed=seed, max_windows=3) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for windows in drawn:
        assert len(windows) == 3
        assert [int(window.start // 3) for window in windows] == [0, 1, 2]


@pytest.mark.slow
def test_a_long_video_is_not_decoded_whole(tmp_path):
    """A quarter of an hour at two frames a second; what lies outside of the stretches cannot even be decoded."""
    wide = texture(5)
    frames = [wide[:, left : left + SIZE[0]] for left in range(0, 1400, 2)]
    path = encode(
        tmp_path / "long.mkv",
        milliseconds=list(range(0, 900_000, 500)),
        size=SIZE,
        codec="mjpeg",
        pixels="yuvj420p",
        draw=lambda number, _: frames[number % len(frames)],
    )
    windows = find_windows(path, max_windows=4)
    assert [int(window.start // 225) for window in windows] == [0, 1, 2, 3]
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [
            (float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux() if packet.size
        ]
    place = content.index(packets[0][1])  # the first frame says when the video begins: it stays
    for seconds, packet in packets[1:]:
        place = content.index(packet, place + 1)
        if all(abs(seconds - window.start) > 30 for window in windows):
            content[place + len(packet) // 2 : place + len(packet) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    assert find_windows(path, max_windows=4) == windows
    assert read_window(path, windows[3]).timestamps == list(windows[3].timestamps)
    with pytest.raises(VideoError, match="damaged"):
        read_frames(path, fps=1)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_clip_of_too_few_frames_is_too_short(tmp_path, count):
    with pytest.raises(ClipError, match="6 frames over 0.5 to 4 s") as caught:
        find_windows(encode(tmp_path / "clip.mp4", count=count))
    assert caught.value.code == "too_short"


@pytest.mark.parametrize("milliseconds", [[0, 100_000], [10_000 * number for number in range(12)]])
def test_slides_are_too_short(tmp_path, milliseconds):
    """Stretches of a long video, and windows of a shot, in which no frame lies."""
    with pytest.raises(ClipError) as caught:
        find_windows(encode(tmp_path / "slides.mkv", milliseconds=milliseconds))
    assert caught.value.code == "too_short"


def test_a_camera_that_records_now_and_then_gives_windows(tmp_path):
    wide = texture(2)
    milliseconds = [start + 100 * number for start in (0, 4_000_000) for number in range(30)]
    path = encode(
        tmp_path / "guard.mkv",
        milliseconds=milliseconds,
        size=SIZE,
        draw=lambda number, _: wide[:, number : number + SIZE[0]],
    )
    assert [window.end <= 3 for window in find_windows(path)] == [True]


def test_animated_images_give_windows(tmp_path):
    for suffix in (".gif", ".webp"):
        (window,) = find_windows(animate(tmp_path / f"clip{suffix}", count=12))
        assert len(read_window(tmp_path / f"clip{suffix}", window).frames) == len(window.timestamps)


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(1) as pool:
        yield pool


def search_in_worker(pool, path):
    """The code, reason and remedy of what is wrong with a video; `None` if it has windows."""
    tasks = iter([(0, ShotsTask(Video(path, path.name, path.stem, {}), BuildSettings()))])
    for event in pool.run(lambda: next(tasks, None)):
        if isinstance(event, Made):
            fault = event.value[1].fault
        elif isinstance(event, Ended) and event.death is not None:
            fault = event.death
    return fault


def bad_files(folder):
    def write(name: str, content: bytes):
        (folder / name).write_bytes(content)
        return folder / name

    noise = np.random.default_rng(0)
    sound = encode(
        folder / "whole.mp4", count=40, draw=lambda _, size: noise.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    )
    flipped = bytearray(sound.read_bytes())
    for place in noise.integers(2000, len(flipped) // 2, 200):
        flipped[place] ^= 1 << int(noise.integers(8))
    return {
        "empty": [write("empty.mp4", b""), folder / "missing.mp4"],
        "not_video": [
            write("page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20),
            write("random.mp4", noise.bytes(20_000)),
            write("list.mp4", b"ffconcat version 1.0\nfile 'whole.mp4'\n"),
            write("hls.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nwhole.mp4\n#EXT-X-ENDLIST\n"),
        ],
        "damaged": [cut(sound, 0.6), write("flipped.mp4", bytes(flipped))],
    }


@pytest.mark.medium
def test_every_fault_has_its_code(tmp_path, pool):
    for code, paths in bad_files(tmp_path).items():
        for path in paths:
            fault = search_in_worker(pool, path)
            assert fault is not None and fault.code == code, path.name
            assert fault.reason and fault.remedy and "\n" not in fault.reason + fault.remedy
            assert str(tmp_path) not in fault.reason


@pytest.mark.medium
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mpg", "a.flv", "a.wmv", "a.gif", "a.webp"])
def test_random_damage_costs_the_clip_alone(tmp_path, pool, name):
    codec = {"a.avi": "mjpeg", "a.wmv": "wmv2", "a.mpg": "mpeg2video"}.get(name, "libx264")
    path = tmp_path / name
    if name in ("a.gif", "a.webp"):
        animate(path, count=12)
    else:
        encode(path, rate=25, codec=codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(12):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if trial % 4 == 0 else whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 40)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        fault = search_in_worker(pool, path)
        assert fault is None or (fault.code in CLIP_ERROR_CODES and "\n" not in fault.reason)
