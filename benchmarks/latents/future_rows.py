"""Rows of the laboratory: where will an object be some time after the video ends?

The video is cut off; its imagery is the later frame, with the object painted. Scenes are rendered as those of the
rendered world, with a camera that stands still and objects that go far. The four options are always two by two
neighbouring places of a grid of nine, and given the options each is right equally often.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.imagery import paint_object
from fourdthinker.dataset_builders.questions.motion import shuffle_options
from fourdthinker.dataset_builders.world import World, WorldClip
from fourdthinker.dataset_builders.world.scene import COLOURS, SHAPES, Scene, SceneObject, project
from fourdthinker.modeling.atomic import atomic_dir
from fourdthinker.modeling.tokens import IMAGERY_MARK, format_response

FRAMES, FPS = 8, 2.0
# Settings were found on other questions, of seeds from 3 * 2**41 + 2**39.
SEEDS = {"train": 3 * 2**41, "test": 3 * 2**41 + 2**40}
_LEVELS, _SIDES = ("upper", "central", "lower"), ("left", "middle", "right")
_GROUNDS = 8
_FIELD_OF_VIEW = np.radians(66.0)
_FOCAL = 0.5 / np.tan(_FIELD_OF_VIEW / 2)  # in image sides


@dataclass(frozen=True)
class FutureWorld:
    """Settings of the laboratory's scenes.

    Attributes:
        side (`int`): Side of a frame in pixels.
        ahead (`float`): Seconds from the last frame to the time that is asked about.
        objects (`tuple[int, int]`): Fewest and most in a scene, all of different colours.
        reach (`tuple[float, float]`): Metres that a moving object goes while the video lasts.
        size (`tuple[float, float]`): Half an object's height in metres.
        resting (`float`): Share of the objects that do not move; nobody asks about these.
    """

    side: int = 56
    ahead: float = 1.5
    objects: tuple[int, int] = (3, 4)
    reach: tuple[float, float] = (3.0, 8.0)
    size: tuple[float, float] = (0.7, 1.1)
    resting: float = 0.2

    @property
    def times(self) -> np.ndarray:
        """Seconds of the video's frames and, last, of the time that is asked about."""
        seconds = np.arange(FRAMES) / FPS
        return np.append(seconds, seconds[-1] + self.ahead)


def draw_scene(world: FutureWorld, rng: np.random.Generator) -> Scene:
    """Draw a scene whose paths have the nine times of `world.times`."""
    pose = _camera(rng)
    count = int(rng.integers(world.objects[0], world.objects[1] + 1))
    colours = rng.choice(list(COLOURS), count, replace=False)
    placed: list[SceneObject] = []
    while len(placed) < count:
        item = _object(world, pose, str(colours[len(placed)]), rng)
        gaps = [np.linalg.norm(item.path - other.path, axis=1) - item.size - other.size for other in placed]
        if all(gap.min() > 0.3 for gap in gaps):
            placed.append(item)
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    poses = np.tile(pose, (FRAMES + 1, 1, 1))
    return Scene(tuple(placed), poses, float(_FIELD_OF_VIEW), int(rng.integers(_GROUNDS)), light)


def _camera(rng: np.random.Generator) -> np.ndarray:
    pitch = np.radians(rng.uniform(30, 60))
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack(
        [(1, 0, 0), (0, -np.sin(pitch), -np.cos(pitch)), (0, np.cos(pitch), -np.sin(pitch))]
    )
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec([0, 0, rng.uniform(-15, 15)], degrees=True).as_matrix()
    pose[:3, 3] = (0, 0, rng.uniform(5, 8))
    return pose


def _object(world: FutureWorld, pose: np.ndarray, colour: str, rng: np.random.Generator) -> SceneObject:
    """One object, in view when the video ends and at the time that is asked about."""
    progress = world.times / world.times[FRAMES - 1]
    while True:
        size = rng.uniform(*world.size)
        column, row = rng.uniform(0.05, 0.95, 2)
        ray = pose[:3, :3] @ np.array([(column - 0.5) / _FOCAL, (row - 0.5) / _FOCAL, 1.0])
        if ray[2] > -0.1:
            continue
        end = pose[:3, 3] + ray * (size - pose[2, 3]) / ray[2]
        angle = rng.uniform(0, 2 * np.pi)
        reach = 0.0 if rng.random() < world.resting else rng.uniform(*world.reach)
        way = reach * np.array([np.cos(angle), np.sin(angle), 0.0])
        path = end + (progress[:, None] - 1) * way
        seen = project(path, pose, _FOCAL)
        inside = (np.abs(seen[:, :2] - 0.5) < 0.46).all(axis=1) & (seen[:, 2] > 2.5) & (seen[:, 2] < 20)
        # Seen in the second half of the video at least, and later on.
        if inside[FRAMES // 2 :].all():
            return SceneObject(colour, str(rng.choice(SHAPES)), float(size), path)


def cell_of(column: float, row: float) -> tuple[int, int]:
    """Level and side of a place in the image, each 0 to 2."""
    return min(int(3 * row), 2), min(int(3 * column), 2)


def name_cell(cell: tuple[int, int]) -> str:
    """For example `upper left`."""
    return f"{_LEVELS[cell[0]]} {_SIDES[cell[1]]}"


def blocks_around(cell: tuple[int, int]) -> list[tuple[int, int]]:
    """The two-by-two blocks of places that a place is in, each by its upper left one."""
    level, side = cell
    return [(a, b) for a in (level - 1, level) for b in (side - 1, side) if a in (0, 1) and b in (0, 1)]


def future_rows(world: FutureWorld, split: str, count: int, each_clip: int = 1) -> Iterator[dict]:
    """Rows of the `dift` configuration, `count` of them, balanced over the places and the options beside them.

    Args:
        world ([`FutureWorld`]): Settings.
        split (`str`): `"train"` or `"test"`, which share no clip.
        count (`int`): How many.
        each_clip (`int`): Most rows of one clip.
    """
    pairs = [((a, b), block) for a in range(3) for b in range(3) for block in blocks_around((a, b))]
    left = Counter({pair: count // len(pairs) + (n < count % len(pairs)) for n, pair in enumerate(pairs)})
    seed = SEEDS[split]
    with World(side=world.side, frames=FRAMES + 1, fps=FPS) as renderer:
        while left.total():
            rng = np.random.default_rng(seed)
            scene = draw_scene(world, rng)
            wanted = _wanted(scene, left, each_clip, rng)
            if wanted:
                clip = renderer.render(scene)
                for index, cell, block in wanted:
                    row = _row(world, clip, index, cell, block, f"future-{seed}-{index}", rng)
                    if row is not None:
                        left[cell, block] -= 1
                        yield row
            seed += 1


def _wanted(scene: Scene, left: Counter, most: int, rng: np.random.Generator) -> list[tuple]:
    """Objects to ask about, each with its place and a block, those first that are still short the most."""
    found, taken = [], Counter()
    for index, item in enumerate(scene.objects):
        if np.allclose(item.path[0], item.path[-1]):
            continue
        cell = cell_of(*project(item.path[-1], scene.camera_to_world[-1], _FOCAL)[:2])
        block = max(blocks_around(cell), key=lambda one: (left[cell, one] - taken[cell, one], rng.random()))
        if left[cell, block] - taken[cell, block] > 0:
            taken[cell, block] += 1
            found.append((left[cell, block], rng.random(), index, cell, block))
    return [entry[2:] for entry in sorted(found, reverse=True)[:most]]


def _row(
    world: FutureWorld, clip: WorldClip, index: int, cell: tuple, block: tuple, identity: str, rng: np.random.Generator
) -> dict | None:
    masks = [clip.masks[frame] == index for frame in (FRAMES - 1, FRAMES)]
    if min(mask.mean() for mask in masks) < 8 / 56**2:  # hidden by another
        return None
    name, later = clip.names[index], world.times[-1]
    seen = project(clip.centres[:, index], clip.camera_to_world[0], _FOCAL)
    right = name_cell(cell)
    others = [name_cell((block[0] + a, block[1] + b)) for a in (0, 1) for b in (0, 1)]
    options = [right, *(place for place in others if place != right)]
    wording = f"Where will the {name} be at {later:.1f} s, {world.ahead:.1f} s after the video ends?"
    question = shuffle_options(wording, options, rng)
    reasoning = f"I picture the {name} at {later:.1f} s {IMAGERY_MARK}."
    facts = {
        "object": name,
        "start_place": name_cell(cell_of(*seen[FRAMES // 2, :2])),
        "last_place": name_cell(cell_of(*seen[FRAMES - 1, :2])),
        "column": round(float(seen[-1, 0]), 4),
        "row": round(float(seen[-1, 1]), 4),
    }
    return {
        "id": identity,
        "source": "latents-lab",
        "task": "future_place",
        **question,
        "frames": [Image.fromarray(frame) for frame in clip.rgb[:FRAMES]],
        "timestamps": [float(second) for second in world.times[:FRAMES]],
        "facts": json.dumps(facts),
        "imagery": [paint_object(clip.rgb[FRAMES], masks[1])],
        "imagery_timestamps": [float(later)],
        "imagery_masks": [Image.fromarray(masks[1].astype(np.uint8) * 255)],
        # The place itself: which letter an option has is not what is studied, and takes a tiny model long to learn.
        "response": format_response(reasoning, question["answer"], question["options"], "text"),
    }


def write_rows(world: FutureWorld, folder: Path, train: int, test: int, each_clip: int = 2) -> None:
    """Write a data folder as `build-data` does, with the settings in `future_world.json`; test rows share no clip."""
    with atomic_dir(folder) as building:
        splits = {"train": list(future_rows(world, "train", train, each_clip))}
        splits["test"] = list(future_rows(world, "test", test))
        write_dataset({"dift": splits}, building)
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
    world = FutureWorld(side=args.side, objects=tuple(args.objects), reach=tuple(args.reach))
    write_rows(world, Path(args.output), args.train, args.test)


if __name__ == "__main__":
    main()
