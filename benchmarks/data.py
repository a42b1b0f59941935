"""How fast `build-data` turns videos into rows, stage by stage, and how much memory it takes for few and many of them.

    python benchmarks/data.py                                     # videos made on the spot
    python benchmarks/data.py --source VIDEOS --memory-clips 10   # a folder of your own

Every build is the command itself, in processes of its own. The stages are run one after the other on one output
folder, so that each command adds one stage; the same command once more finds nothing to do, and what that costs is
taken off. A clip is a window of at most 4 s, as in the command's own counts. The floor is PyAV decoding all
frames of the same videos once, in one thread and with nothing done to them. CPU seconds stand beside those of the
clock because other work on the machine changes them less.

Made videos are 1280 x 720 at 30 frames a second, of textured planes at several depths: one in three turns the camera,
one moves it, and before one that stands still a thing moves. Those for memory are linked again and again, so each is a
video of its own to the build.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from fourdthinker.dataset_builders.pipeline.settings import STAGES
from fourdthinker.dataset_builders.sources.video_files import find_videos

RATE, SECONDS = 30, 4
SIZE, SMALL_SIZE = (1280, 720), (320, 240)
WALL, WALL_DEPTH = (20.0, 12.0), 8.0  # metres
CARD = 1.2  # metres a side
KINDS = ("turn", "move", "still")
_COUNTS = re.compile(r"(\d+) of (\d+) clips .* gave questions", re.DOTALL)


class Build(NamedTuple):
    """What one command took.

    Attributes:
        seconds, cpu (`float`): Of the wall clock, and of all processes together.
        giving, clips (`int`): Windows with questions, and all of them.
        main, worker (`float`): Peak resident memory of the command and of its largest worker, MiB (Linux).
    """

    seconds: float
    cpu: float
    giving: int
    clips: int
    main: float
    worker: float


def texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Blobs of a few sizes, which corners and flow find; `(height, width, 3)`, uint8."""
    layers = [
        cv2.resize(rng.uniform(0, 1, (height // step + 2, width // step + 2, 3)), (width, height))
        for step in (8, 20, 60)
    ]
    return (255 * np.clip(sum(layers) / len(layers) * 1.6 - 0.3, 0, 1)).astype(np.uint8)


def draw_frame(planes, size: tuple[int, int], yaw: float, place: np.ndarray) -> np.ndarray:
    """The picture of a camera at `place` that has turned right by `yaw` radians; shape `(height, width, 3)`.

    Args:
        planes: `(texture, corner, metres a texture pixel)` of planes that face the first camera, the farthest first.
        size (`tuple[int, int]`): Width and height in pixels.
        yaw (`float`): In radians.
        place (`np.ndarray` of shape `(3,)`): In metres; x right, y down, z forward.
    """
    width, height = size
    intrinsics = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]])
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    picture = np.zeros((height, width, 3), np.uint8)
    for pixels, corner, scale in planes:
        axes = np.column_stack(([scale, 0, 0], [0, scale, 0], np.subtract(corner, place)))
        cv2.warpPerspective(pixels, intrinsics @ turn @ axes, size, picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def make_video(path: Path, kind: str, seed: int, size: tuple[int, int], seconds: float) -> None:
    """Write one video: the camera turns, moves or stands still, and before the last a thing moves."""
    rng = np.random.default_rng(seed)
    wall = (texture(rng, 1600, 960), (-WALL[0] / 2, -WALL[1] / 2, WALL_DEPTH), WALL[0] / 1600)
    places = [(x, rng.uniform(-1.2, 0.4), rng.uniform(2.5, 6)) for x in rng.uniform(-2.5, 2, 6)]
    cards = [(texture(rng, 200, 200), place, CARD / 200) for place in sorted(places, key=lambda place: -place[2])]
    thing, way, count = texture(rng, 200, 200), rng.choice((-1, 1)), round(seconds * RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        for number in range(count):
            passed = number / count
            planes, yaw, place = [wall, *cards], 0.0, np.zeros(3)
            if kind == "turn":
                yaw = way * 0.35 * passed
            elif kind == "move":
                place = np.array([0, 0, 1.4 * passed]) if seed % 2 else np.array([way * 1.2 * passed, 0, 0])
            else:
                planes.append((thing, (way * 1.5 * (passed - 0.5) - CARD / 2, -0.4, 2.4), CARD / 200))
            pixels = draw_frame(planes, size, yaw, place)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))


def make_videos(folder: Path, count: int, size: tuple[int, int], seconds: float) -> Path:
    """Write `count` videos, cycling through the kinds."""
    folder.mkdir()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        make_video(folder / f"{number:03d}-{kind}.mp4", kind, number, size, seconds)
    return folder


def link_videos(videos: Sequence[Path], folder: Path, count: int) -> Path:
    """Make a folder of `count` links, cycling through the videos."""
    folder.mkdir()
    for number in range(count):
        video = videos[number % len(videos)].resolve()
        (folder / f"{number:04d}{video.suffix}").symlink_to(video)
    return folder


def run_build(source: Path, output: Path, workers: int, stage: str = STAGES[-1]) -> Build:
    """Build, or go on with a build, up to a stage."""
    command = [sys.executable, "-m", "fourdthinker.cli", "build-data", "--source", source, "--output", output]
    command += ["--workers", workers, "--stage", stage, "--allow-failed-gates"]
    started, cpu_before = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    peaks: dict[int, float] = {}
    ended = threading.Event()
    watch = threading.Thread(target=_watch_memory, args=(process.pid, peaks, ended))
    watch.start()
    printed = process.communicate()[0]
    seconds = time.perf_counter() - started
    ended.set()
    watch.join()
    found = _COUNTS.search(printed)
    if process.returncode != 0 or found is None:
        raise SystemExit(f"build-data ended with {process.returncode}:\n{printed}")
    cpu, main = _cpu_of_children() - cpu_before, peaks.pop(process.pid, 0.0)
    return Build(seconds, cpu, int(found[1]), int(found[2]), main, max(peaks.values(), default=0.0))


def _cpu_of_children() -> float:
    """CPU seconds of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch_memory(pid: int, peaks: dict[int, float], ended: threading.Event) -> None:
    """Note the peak memory of a process and of its children, in MiB, until it ends."""
    while not ended.wait(0.2):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        for each in (pid, *map(int, children)):
            try:
                status = Path(f"/proc/{each}/status").read_text()
            except OSError:  # it has ended meanwhile
                continue
            if found := re.search(r"VmHWM:\s+(\d+)", status):
                peaks[each] = int(found[1]) / 1024


def decode_all(videos: Sequence[Path]) -> tuple[float, int]:
    """CPU seconds that decoding every frame takes in one thread, and how many there are."""
    started, frames = time.process_time(), 0
    for video in videos:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            frames += sum(1 for _ in container.decode(stream))
    return time.process_time() - started, frames


def stage_table(source: Path, folder: Path, videos: Sequence[Path]) -> str:
    """What each stage takes with one worker, and decoding alone."""
    spent = {}
    for stage in STAGES:
        build, start = (run_build(source, folder / "stages", 1, stage) for _ in range(2))
        spent[stage] = (build.seconds - start.seconds, build.cpu - start.cpu)
    clips = start.clips
    spent["all of these"] = (sum(seconds for seconds, _ in spent.values()), sum(cpu for _, cpu in spent.values()))
    spent["start of the last"] = (start.seconds, start.cpu)
    decoding, frames = decode_all(videos)
    spent[f"decoding alone, {frames} frames"] = (decoding, decoding)
    lines = ["| stage | seconds | CPU seconds | clips a minute |", "|---|---|---|---|"]
    for name, (seconds, cpu) in spent.items():
        rate = f"{60 * clips / seconds:.1f}" if seconds >= 0.1 else ""
        lines.append(f"| {name} | {seconds:.1f} | {cpu:.1f} | {rate} |")
    return f"{len(videos)} videos, {clips} clips, one worker:\n\n" + "\n".join(lines)


def worker_table(source: Path, folder: Path, videos: Sequence[Path]) -> str:
    """The whole command with one worker and with two."""
    builds = {workers: run_build(source, folder / f"workers-{workers}", workers) for workers in (1, 2)}
    lines = [
        "| workers | seconds | CPU seconds | videos a minute | clips a minute | with questions | times as fast |",
        "|---|---|---|---|---|---|---|",
    ]
    for workers, build in builds.items():
        rates = f"{60 * len(videos) / build.seconds:.1f} | {60 * build.clips / build.seconds:.1f}"
        gain = f"{build.giving} of {build.clips} | {builds[1].seconds / build.seconds:.2f}"
        lines.append(f"| {workers} | {build.seconds:.1f} | {build.cpu:.1f} | {rates} | {gain} |")
    return "\n".join(lines)


def memory_table(videos: Sequence[Path], folder: Path, counts: Sequence[int]) -> str:
    """Peak memory for few and for many videos."""
    lines = ["| videos | seconds | command, MiB | a worker, MiB |", "|---|---|---|---|"]
    for count in counts:
        source = link_videos(videos, folder / f"linked-{count}", count)
        build = run_build(source, folder / f"memory-{count}", 1)
        lines.append(f"| {count} | {build.seconds:.0f} | {build.main:.0f} | {build.worker:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Build, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, metavar="DIR", help="videos (default: made on the spot)")
    parser.add_argument("--videos", type=int, default=12, help="how many are made (default: 12)")
    parser.add_argument(
        "--memory-clips",
        type=int,
        nargs="*",
        default=[10, 100],
        metavar="N",
        help="builds whose memory is measured, by their number of videos (default: 10 100)",
    )
    args = parser.parse_args()
    # Each process takes one core, so that two workers on two cores are compared with one on one.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    from measuring import machine  # imports torch

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = args.source or make_videos(folder / "videos", args.videos, SIZE, SECONDS)
        videos = find_videos(source)
        print(f"{machine('cpu', 'uint8')}\nPyAV {av.__version__}, OpenCV {cv2.__version__}\n", flush=True)
        print(f"{stage_table(source, folder, videos)}\n", flush=True)
        print(f"{worker_table(source, folder, videos)}\n", flush=True)
        if args.memory_clips:
            small = args.source or make_videos(folder / "small", len(KINDS) * 2, SMALL_SIZE, SECONDS / 2)
            print(memory_table(find_videos(small), folder, args.memory_clips))


if __name__ == "__main__":
    main()
