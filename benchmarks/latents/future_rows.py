"""Rows of the laboratory: in which part of the image will an object be some time after the video ends?

The rows of `fourdthinker build-data --source world --questions places --answer text`, in scenes of any setting. The
answer is the part itself: which letter an option has is not what is studied, and takes a tiny model long to learn.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.sources.world_places import place_rows
from fourdthinker.dataset_builders.world.place_scenes import PlaceWorld
from fourdthinker.modeling.atomic import atomic_dir


def write_rows(world: PlaceWorld, folder: Path, train: int, test: int) -> None:
    """Write a data folder as `build-data` does, with the settings in `future_world.json`; test rows share no clip."""
    with atomic_dir(folder) as building:
        sizes = {"train": train, "test": test}
        rows = {
            split: list(place_rows(split, count, answer_form="text", world=world)) for split, count in sizes.items()
        }
        write_dataset({"dift": rows}, building)
        (building / "future_world.json").write_text(json.dumps(asdict(world)) + "\n", encoding="utf-8")


def main() -> None:
    """Write rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder")
    parser.add_argument("--train", type=int, default=4000, help="training rows (default: 4000)")
    parser.add_argument("--test", type=int, default=500, help="held-out rows (default: 500)")
    parser.add_argument("--side", type=int, default=56, help="pixels of a frame's side (default: 56)")
    parser.add_argument("--objects", type=int, nargs=2, default=(3, 4), help="fewest and most (default: 3 4)")
    parser.add_argument("--reach", type=float, nargs=2, default=(3.0, 8.0), help="metres (default: 3 8)")
    args = parser.parse_args()
    world = PlaceWorld(side=args.side, objects=tuple(args.objects), reach=tuple(args.reach))
    write_rows(world, Path(args.output), args.train, args.test)


if __name__ == "__main__":
    main()
