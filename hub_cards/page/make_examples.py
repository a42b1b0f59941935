"""Render the examples that ship with the page: `python -m fourdthinker.hub_cards.page.make_examples`."""

from itertools import count
from pathlib import Path

from ...dataset_builders.sources.world_motion import SEED_RANGES, motion_questions
from ...dataset_builders.world import World
from ...dataset_builders.world.clip_file import write_clip
from .shipped_examples import FOLDER, Example, read_examples, write_list

_SIDE = 224
_TASKS = ("camera_motion", "object_motion", "camera_motion")
_DULL = "Staying in Place"


def make_examples(folder: Path = FOLDER) -> list[Example]:
    """Write clips of the rendered world that no training saw, each with a question, and a list of them.

    Each is about another clip and has another right answer; the object of the second one moves.

    Args:
        folder (`Path`): Where; what an earlier call wrote is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for one in read_examples(folder):
        one.video.unlink(missing_ok=True)
    examples: list[Example] = []
    known = {_DULL}
    seeds = count(SEED_RANGES["test"])
    with World(side=_SIDE) as world:
        while len(examples) < len(_TASKS):
            seed = next(seeds)
            clip = world.clip(seed)
            for task, label, row in motion_questions(clip, seed):
                if task == _TASKS[len(examples)] and label not in known:
                    known.add(label)
                    path = folder / f"example_{len(examples) + 1}.mp4"  # not its answer
                    write_clip(path, clip.rgb, world.fps)
                    examples.append(Example(path, row["question"], row["options"]))
                    break
    write_list(folder, examples)
    return examples


if __name__ == "__main__":
    for example in make_examples():
        print(f"{example.video} ({example.video.stat().st_size} bytes): {example.question}")
