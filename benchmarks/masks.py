"""Whether mask models give back what a clip took: memory over many clips, on tiny random models.

    python benchmarks/masks.py                 # 50 clips for each kind of model
    python benchmarks/masks.py --clips 10 --kinds sam2

Each kind runs in a process of its own, over clips of different lengths and sizes; sessions are those of the builder.
Resident memory is read after every clip. The models are tiny, so what a session keeps (frames, masks, features,
memories) is a large part of it: a leak of one clip's frames would show at once.
"""

import argparse
import gc
import tempfile
from pathlib import Path

import numpy as np
from measuring import machine, printed_by, resident
from PIL import Image

from fourdthinker.dataset_builders.mask_models.checkpoints import KINDS, find_checkpoint
from fourdthinker.dataset_builders.mask_models.sessions import follow_seeds, load_mask_model, segment_by_names
from fourdthinker.dataset_builders.mask_models.tiny import write_tiny_mask_model

FRAMES, SIZES = (8, 12, 16), ((160, 120), (320, 240), (120, 200))


def run_clips(kind: str, clips: int) -> list[float]:
    """Resident memory in MiB after each clip."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_mask_model(find_checkpoint(kind, str(write_tiny_mask_model(kind, Path(folder) / kind))))
    held = []
    for number in range(clips):
        (width, height), count = SIZES[number % len(SIZES)], FRAMES[number % len(FRAMES)]
        pixels = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        frames = [Image.fromarray(frame) for frame in pixels]
        if KINDS[kind].finds_names:
            segment_by_names(loaded, frames, ["red square", "dog"])
        else:
            mask = np.zeros((height, width), bool)
            mask[height // 4 : height // 2, width // 4 : width // 2] = True
            follow_seeds(loaded, frames, [{count // 2: mask}, {count // 3: mask}], ["square", "thing"])
        gc.collect()
        held.append(resident())
    return held


def main() -> None:
    """Measure each kind in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(*run_clips(args.measure, args.clips))
        return
    print(machine("cpu", "float32"), end="\n\n")
    print("| model | after 5 clips, MiB | after half | at the end | growth a clip over the second half, MiB |")
    print("|---|---|---|---|---|")
    for kind in args.kinds:
        held = printed_by(__file__, ["--measure", kind, "--clips", str(args.clips)])
        half = len(held) // 2
        growth = np.polyfit(range(len(held) - half), held[half:], 1)[0]
        early = held[min(4, half)]
        print(f"| {kind} | {early:.0f} | {held[half]:.0f} | {held[-1]:.0f} | {growth:.2f} |", flush=True)


if __name__ == "__main__":
    main()
