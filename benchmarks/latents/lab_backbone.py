"""A backbone for the laboratory: the tiny one, which has learnt to see its frames and to say what they show.

First its vision tower learns what the cells of a frame show, then, with the tower frozen, its language model learns to
say where each object is during a video. Without that no answer depends on the video after some hundred steps, and
nothing can be said about latents.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cells import make_config
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from future_rows import FPS, FRAMES, SEEDS, FutureWorld, describe_places, draw_scene
from PIL import Image
from plan import Arm, Plan

from fourdthinker.dataset_builders.world import World, WorldClip
from fourdthinker.dataset_builders.world.cells import cell_targets
from fourdthinker.modeling import load_model
from fourdthinker.modeling.atomic import atomic_dir, scratch_dir
from fourdthinker.trainers import DIFTTrainer
from fourdthinker.trainers.pretraining.perception import teach_tower

_FEATURES = Features(
    {
        **{name: Value("string") for name in ("id", "source", "task", "question", "answer", "response")},
        "options": List(Value("string")),
        "frames": List(ImageFeature()),
        "timestamps": List(Value("float64")),
        "imagery": List(ImageFeature()),
    }
)


def make_backbone(
    source: str,
    world: FutureWorld,
    folder: Path,
    clips: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    saying_steps: int,
) -> None:
    """Teach a tiny backbone to see the laboratory's frames and to say where things are, and save it.

    Args:
        source (`str`): Folder of the backbone to start from.
        world ([`FutureWorld`]): Settings of the scenes, which are none of those that questions are asked about.
        folder (`Path`): Where the backbone goes, with `perception.json`, the log.
        clips, steps, batch_size (`int`), learning_rate (`float`): See [`teach_tower`].
        saying_steps (`int`): Steps in which the language model learns to say where objects are.
    """
    model, processor = load_model(source, dtype=torch.float32)
    # Frames keep their size: two of them are one grid.
    longest = 2 * world.side**2
    for part in (processor.image_processor, processor.video_processor):
        part.size = {"shortest_edge": 28 * 28, "longest_edge": longest}
    patches = world.side // model.config.vision_config.patch_size
    frames, targets, rows = [], [], []
    with World(side=world.side, frames=FRAMES + 1, fps=FPS) as renderer:
        for seed in range(SEEDS["perception"], SEEDS["perception"] + clips):
            clip = renderer.render(draw_scene(world, np.random.default_rng(seed)))
            clip = replace(clip, rgb=clip.rgb[:FRAMES])
            frames.append(clip.rgb)
            targets.append(np.concatenate([cell_targets(clip, patches), cell_places(patches)], axis=-1))
            rows.append(place_row(world, clip, seed))
    log = teach_tower(
        model.model.visual,
        processor.video_processor,
        frames,
        targets,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    log += teach_saying(model, processor, Dataset.from_list(rows, _FEATURES), saying_steps)
    with atomic_dir(folder) as building:
        model.save_pretrained(building)
        processor.save_pretrained(building)
        (building / "perception.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


def cell_places(cells: int) -> np.ndarray:
    """Where each cell is, `(pairs of frames, cells, cells, 2)`: down and right from the centre, in thirds.

    A tower of relative positions tells them from how far it is to the edges, but only if it must; the language model
    cannot name a place that no token knows.
    """
    at = 3 * ((np.arange(cells) + 0.5) / cells - 0.5)
    places = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    return np.broadcast_to(places, (FRAMES // 2, *places.shape)).astype(np.float16)


def place_row(world: FutureWorld, clip: WorldClip, seed: int) -> dict:
    """A row without imagery that asks where the objects are, and answers it for every second frame."""
    return {
        "id": f"places-{seed}",
        "source": "latents-lab",
        "task": "places",
        "question": "Where are the objects?",
        "options": [],
        "answer": "",
        "frames": [Image.fromarray(frame) for frame in clip.rgb],
        "timestamps": [float(second) for second in world.times[:FRAMES]],
        "imagery": [],
        "response": f"<answer>{describe_places(world, clip, np.random.default_rng([seed, 1]))}</answer>",
    }


def teach_saying(model, processor, rows: Dataset, steps: int) -> list[dict]:
    """Train the language model on rows of [`place_row`]; the tower stays as it is. Returns the log."""
    if not steps:
        return []
    arm = Arm("places", rows="text", settings={"ce_loss_weight": 1.0})
    with scratch_dir("places") as scratch:
        config = make_config(Plan("", "", {}), arm, 0, steps, scratch, scratch / "features")
        trainer = DIFTTrainer(model, args=config, train_dataset=rows, processing_class=processor)
        trainer.train()
    return trainer.state.log_history


def main() -> None:
    """Make a backbone for the settings of a data folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR", help="backbone to start from")
    parser.add_argument("--world", metavar="FILE.json", help="the data's future_world.json (default: its defaults)")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder")
    parser.add_argument("--clips", type=int, default=3000, help="clips to learn from (default: 3000)")
    parser.add_argument("--steps", type=int, default=600, help="optimizer steps (default: 600)")
    parser.add_argument("--batch-size", type=int, default=12, help="clips a step (default: 12)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak (default: 1e-3)")
    parser.add_argument(
        "--saying-steps", type=int, default=1000, help="steps of the language model, 16 clips each (default: 1000)"
    )
    args = parser.parse_args()
    settings = json.loads(Path(args.world).read_text(encoding="utf-8")) if args.world else {}
    numbers = (args.clips, args.steps, args.batch_size, args.learning_rate, args.saying_steps)
    make_backbone(args.model, FutureWorld(**settings), Path(args.output), *numbers)


if __name__ == "__main__":
    main()
