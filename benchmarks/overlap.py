"""Are altered copies of training videos found among many, and nothing else? And how long does it take?

    python benchmarks/overlap.py                  # 500 benchmark clips against 500 training clips
    python benchmarks/overlap.py --clips 60

The clips are rendered (`world`: one style of room, so that they are more alike than real videos) or drawn (`cuts`: all
that is seen changes twice a second, so that a frame that was sampled elsewhere shows something else). Of the
benchmark's clips one in ten is a copy of a training clip: re-encoded, resized, cropped by a tenth, mirrored, and
several of these together. Training clips are sampled at several rates.
"""

import argparse
import io
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import machine
from PIL import Image

from fourdthinker.dataset_builders.world.clip_file import write_clip
from fourdthinker.dataset_builders.world.renderer import World
from fourdthinker.eval_tasks.video_overlap import SAMPLING, alike_videos
from fourdthinker.modeling.video_decoding import read_frames

SIDE, FRAMES, RATE = 80, 16, 4.0
RATES = (1.0, 1.5)  # at which training clips are sampled


def crop(frames: np.ndarray, left: float, top: float) -> np.ndarray:
    """Nine tenths of either side."""
    kept = round(0.9 * SIDE) // 2 * 2
    x, y = round(left * (SIDE - kept)), round(top * (SIDE - kept))
    return frames[:, y : y + kept, x : x + kept]


def compress(frames: np.ndarray) -> np.ndarray:
    """With a loss that shows."""
    decoded = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=25)
        decoded.append(np.asarray(Image.open(file)))
    return np.stack(decoded)


def resize(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    """To another size."""
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


# All of them are encoded again, the first one with a loss that shows.
ALTERATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "re-encoded": compress,
    "resized": lambda frames: resize(frames, 128, 72),
    "cropped": lambda frames: crop(frames, 0.3, 0.8),
    "mirrored": lambda frames: frames[:, :, ::-1],
    "cropped, mirrored and resized": lambda frames: resize(crop(frames, 1.0, 0.1)[:, :, ::-1], 96, 96),
}


def draw_world(seeds: range) -> list[np.ndarray]:
    """Rendered clips."""
    with World(side=SIDE, frames=FRAMES, fps=RATE) as world:
        return [world.clip(seed).rgb for seed in seeds]


def draw_cuts(seeds: range) -> list[np.ndarray]:
    """Clips of blobs, other ones after every second frame."""
    return [np.concatenate([_draw_shot(seed, number) for number in range(FRAMES // 2)]) for seed in seeds]


def _draw_shot(seed: int, number: int) -> np.ndarray:
    generator = np.random.default_rng((seed, number))
    layers = [Image.fromarray(generator.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (3, 5, 9)]
    wide = [np.asarray(layer.resize((SIDE + 8, SIDE), Image.Resampling.BICUBIC), np.float32) for layer in layers]
    scene = (sum(wide) / len(wide)).astype(np.uint8)
    return np.stack([scene[:, 4 * step : 4 * step + SIDE] for step in range(2)])


def measure(draw: Callable[[range], list[np.ndarray]], name: str, clips: int, folder: Path) -> None:
    """Print a line for each rate."""
    training = draw(range(clips))
    benchmark = draw(range(clips, 2 * clips))
    kinds = list(ALTERATIONS)
    copies: dict[int, int] = {}
    for number in range(0, clips, 10):
        kind = kinds[number // 10 % len(kinds)]
        benchmark[number] = ALTERATIONS[kind](training[clips - 1 - number])
        copies[number] = clips - 1 - number
    for role, videos in (("training", training), ("benchmark", benchmark)):
        for number, frames in enumerate(videos):
            write_clip(folder / name / role / f"{number}.mp4", np.ascontiguousarray(frames), RATE)
    rows, training_rows = (
        [{"id": number, "video": str(folder / name / role / f"{number}.mp4")} for number in range(clips)]
        for role in ("benchmark", "training")
    )
    for rate in RATES:
        started = time.process_time()
        found = {
            place: (other, likeness)
            for place, other, likeness in alike_videos(
                rows,
                training_rows,
                lambda row: read_frames(row["video"], SAMPLING.fps, SAMPLING.max_frames),
                lambda row, rate=rate: read_frames(row["video"], rate),
            )
        }
        seconds = time.process_time() - started
        right = {place for place, other in copies.items() if found.get(place, (None,))[0] == other}
        missed = Counter(kinds[place // 10 % len(kinds)] for place in copies.keys() - right)
        wrong = len(found.keys() - right)
        least = min((found[place][1] for place in right), default=0)
        cells = (name, f"{rate:g}", f"{len(right)} of {len(copies)}", str(wrong), f"{least:.1%}", f"{seconds:.0f}")
        print(
            f"| {' | '.join(cells)} | {', '.join(f'{kind}: {count}' for kind, count in missed.items())} |", flush=True
        )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clips", type=int, default=500, help="clips of the benchmark, and of training (default: 500)"
    )
    parser.add_argument("--sets", nargs="+", choices=("world", "cuts"), default=["world", "cuts"])
    args = parser.parse_args()
    print(machine("cpu", "-"), file=sys.stderr)
    print(f"{args.clips} clips against {args.clips}\n")
    print(
        "| clips | training frames a second | copies found | false alarms | least alike copy | CPU seconds | missed |"
    )
    print("|---|---|---|---|---|---|---|")
    draws = {"world": draw_world, "cuts": draw_cuts}
    for name in args.sets:
        with tempfile.TemporaryDirectory() as folder:
            measure(draws[name], name, args.clips, Path(folder))


if __name__ == "__main__":
    main()
