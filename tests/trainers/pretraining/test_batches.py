"""Batches for the tiny backbone: the prompts of a clip, and a loss on responses only."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.sources.world_descriptions import DescribedClip
from fourdthinker.dataset_builders.world.cells import CELL_NUMBERS
from fourdthinker.trainers.pretraining.batches import PretrainingBatches


@pytest.fixture(scope="module")
def told():
    """A clip told in words."""
    objects = [
        ("red box", "The red box is there.", "The red box rests."),
        ("blue ball", "The blue ball is here.", "The blue ball rolls."),
    ]
    return DescribedClip(
        rgb=np.zeros((2, 56, 56, 3), np.uint8),
        camera="The camera stands still.",
        objects=objects,
        cells=np.zeros((1, 4, 4, CELL_NUMBERS), np.float16),
        painted=np.zeros((56, 56, 3), np.uint8),
        painted_caption="The red box at left near.",
        fps=2.0,
    )


@pytest.fixture(scope="module")
def batches(tiny_processor, told):
    readings = {"options": lambda rng: ("read A", "It is A."), "scene": lambda rng: ("read B", "It is B.")}
    return PretrainingBatches([told, told], readings, tiny_processor, batches=150, batch_size=2)


def turns(processor, batch) -> list[tuple[str, str]]:
    """What each row asks, and what of it is learnt."""
    texts = [text.split("<|im_start|>user\n")[1] for text in processor.tokenizer.batch_decode(batch["input_ids"])]
    learnt = [processor.tokenizer.decode(row[row != -100]) for row in batch["labels"]]
    prompts = [text.split("<|im_end|>")[0].split("<|vision_end|>")[-1] for text in texts]
    return list(zip(prompts, learnt, strict=True))


@pytest.mark.medium
def test_every_kind_comes_and_learns_its_response_alone(batches, tiny_processor, told):
    expected = {
        "Describe the video.": told.caption,
        "Describe the video, the red box last.": (
            "The blue ball is here. The red box is there. The camera stands still. The red box rests."
        ),
        "Describe the video, the blue ball last.": (
            "The red box is there. The blue ball is here. The camera stands still. The blue ball rolls."
        ),
        "Describe the red box.": "The red box is there. The red box rests.",
        "Describe the blue ball.": "The blue ball is here. The blue ball rolls.",
        "What is painted red?": "The red box at left near.",
        "read A": "It is A.",
        "read B": "It is B.",
    }
    seen = Counter()
    for batch in map(batches.__getitem__, range(len(batches))):
        for prompt, learnt in turns(tiny_processor, batch):
            assert learnt == f"{expected[prompt]}<|im_end|>\n"
            seen[prompt] += 1
    assert set(seen) == set(expected)


def test_a_batch_depends_on_the_seed_and_its_number_alone(batches, tiny_processor):
    again = PretrainingBatches(batches.clips, batches.readings, tiny_processor, batches=150, batch_size=2)
    other = PretrainingBatches(batches.clips, batches.readings, tiny_processor, batches=150, batch_size=2, seed=1)
    texts = [[turns(tiny_processor, source[index])[0][0] for index in range(20)] for source in (batches, again, other)]
    assert texts[0] == texts[1] != texts[2]
