"""Build rows that ask in which part of the image an object will be some time after the video ends.

The video is cut off; its imagery is the later frame, with an overlay on the object. The four options are always two by
two neighbouring parts of a grid of nine, and given the options each is right equally often.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...modeling.tokens import IMAGERY_MARK, AnswerForm, format_response
from ..imagery import paint_object
from ..questions.motion import shuffle_options
from ..world import World, WorldClip
from ..world.place_scenes import FOCAL, FPS, FRAMES, PlaceWorld, draw_place_scene
from ..world.scene import WORLD_SOURCE, Scene, project
from .world_motion import first_clip, render_candidates, spread

TASK = "future_cell"
# Settings of the study of latents were found on other questions, of seeds from 3 * 2**41 + 2**39.
_FIRST = {"train": 3 * 2**41, "test": 3 * 2**41 + 2**40}
_LEVELS, _SIDES = ("upper", "central", "lower"), ("left", "middle", "right")
_LEAST_SEEN = 8 / 56**2  # of the image; an object that shows less is hidden by another

Cell = tuple[int, int]  # level and side, each 0 to 2


class PlaceClips(World):
    """A source of scenes and their clips.

    Args:
        settings ([`PlaceWorld`]): Of the scenes.
    """

    def __init__(self, settings: PlaceWorld):
        super().__init__(settings.side, FRAMES + 1, FPS)
        self.settings = settings

    def clip(self, seed: int) -> tuple[Scene, np.random.Generator, WorldClip]:  # type: ignore[override]
        """The scene of a seed, the generator that drew it, and its clip."""
        scene, rng = _draw(self.settings, seed)
        return scene, rng, self.render(scene)


def place_rows(
    split: str,
    rows: int,
    seed: int = 0,
    workers: int = 1,
    answer_form: AnswerForm = "letter",
    world: PlaceWorld | None = None,
    each_clip: int | None = None,
) -> Iterator[dict]:
    """Rows of the task `future_cell`, balanced over the parts of the image and the options beside them.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        rows (`int`): How many.
        seed (`int`, *optional*, defaults to 0): Another seed gives other clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        answer_form (`str`, *optional*, defaults to `"letter"`): Whether responses answer `B. upper left`, or with
            `"text"` `upper left`.
        world ([`PlaceWorld`], *optional*): Settings of the scenes.
        each_clip (`int`, *optional*): Most rows of one clip; by default 2 for training and 1 for testing.

    Yields:
        `dict`: The columns of the configuration `dift`.

    Raises:
        InputError: If the split is unknown, or a number is out of range.
    """
    first = first_clip(split, seed, _FIRST)
    world = world or PlaceWorld()
    each_clip = each_clip or {"train": 2, "test": 1}[split]
    pairs = [((level, side), block) for level in range(3) for side in range(3) for block in _blocks((level, side))]
    left = Counter(spread(pairs, rows))
    with tqdm(total=rows, desc=f"{split} rows", unit="row", disable=None) as bar:
        for number, scene, rng, render in _scenes(world, first, workers):
            if not left.total():
                return
            wanted = _wanted(scene, left, each_clip, rng)
            clip = render() if wanted else None
            for index, cell, block in wanted:
                row = _row(world, clip, index, cell, block, f"future-{number}-{index}", answer_form, rng)
                if row is not None:
                    left[cell, block] -= 1
                    bar.update()
                    yield row


def _draw(world: PlaceWorld, seed: int) -> tuple[Scene, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return draw_place_scene(world, rng), rng


def _scenes(
    world: PlaceWorld, first: int, workers: int
) -> Iterator[tuple[int, Scene, np.random.Generator, Callable[[], WorldClip]]]:
    """Scenes of one seed after the other, each with its seed, its generator, and what gives its clip."""
    if workers > 1:
        rendered = render_candidates(first, workers, _keep, partial(PlaceClips, world))
        for number, (scene, rng, clip) in zip(count(first), rendered, strict=False):
            yield number, scene, rng, lambda clip=clip: clip
        return
    with PlaceClips(world) as renderer:
        for number in count(first):
            scene, rng = _draw(world, number)
            yield number, scene, rng, partial(renderer.render, scene)


def _keep(rendered: Any, seed: int) -> Any:
    return rendered


def _cell_of(column: float, row: float) -> Cell:
    """The part of the image in which a place is, given as shares of its sides."""
    return min(int(3 * row), 2), min(int(3 * column), 2)


def _name(cell: Cell) -> str:
    """For example `upper left`."""
    return f"{_LEVELS[cell[0]]} {_SIDES[cell[1]]}"


def _blocks(cell: Cell) -> list[Cell]:
    """The two-by-two blocks of parts that a part is in, each by its upper left one."""
    level, side = cell
    return [(a, b) for a in (level - 1, level) for b in (side - 1, side) if a in (0, 1) and b in (0, 1)]


def _wanted(scene: Scene, left: Counter, most: int, rng: np.random.Generator) -> list[tuple]:
    """Objects to ask about, each with its part and a block, those first that are still short the most."""
    found, taken = [], Counter()
    for index, item in enumerate(scene.objects):
        if np.allclose(item.path[0], item.path[-1]):
            continue
        cell = _cell_of(*project(item.path[-1], scene.camera_to_world[-1], FOCAL)[:2])
        block = max(_blocks(cell), key=lambda one: (left[cell, one] - taken[cell, one], rng.random()))
        if left[cell, block] - taken[cell, block] > 0:
            taken[cell, block] += 1
            found.append((left[cell, block], rng.random(), index, cell, block))
    return [entry[2:] for entry in sorted(found, reverse=True)[:most]]


def _row(
    world: PlaceWorld,
    clip: WorldClip,
    index: int,
    cell: Cell,
    block: Cell,
    identity: str,
    answer_form: AnswerForm,
    rng: np.random.Generator,
) -> dict | None:
    """One row, or none where the object is hidden."""
    masks = [clip.masks[frame] == index for frame in (FRAMES - 1, FRAMES)]
    if min(mask.mean() for mask in masks) < _LEAST_SEEN:
        return None
    name, later = clip.names[index], world.times[-1]
    seen = project(clip.centres[:, index], clip.camera_to_world[0], FOCAL)
    right = _name(cell)
    others = [_name((block[0] + a, block[1] + b)) for a in (0, 1) for b in (0, 1)]
    options = [right, *(place for place in others if place != right)]
    wording = f"Where will the {name} be at {later:.1f} s, {world.ahead:.1f} s after the video ends?"
    question = shuffle_options(wording, options, rng)
    reasoning = f"I picture the {name} at {later:.1f} s {IMAGERY_MARK}."
    facts = {
        "object": name,
        "start_place": _name(_cell_of(*seen[FRAMES // 2, :2])),
        "last_place": _name(_cell_of(*seen[FRAMES - 1, :2])),
        "column": round(float(seen[-1, 0]), 4),
        "row": round(float(seen[-1, 1]), 4),
    }
    return {
        "id": identity,
        "source": WORLD_SOURCE,
        "task": TASK,
        **question,
        "frames": [Image.fromarray(frame) for frame in clip.rgb[:FRAMES]],
        "timestamps": [float(second) for second in world.times[:FRAMES]],
        "facts": json.dumps(facts),
        "imagery": [paint_object(clip.rgb[FRAMES], masks[1])],
        "imagery_timestamps": [float(later)],
        "imagery_masks": [Image.fromarray(masks[1].astype(np.uint8) * 255)],
        "response": format_response(reasoning, question["answer"], question["options"], answer_form),
    }
