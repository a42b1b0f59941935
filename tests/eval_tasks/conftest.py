"""Small benchmark folders, and models whose answers depend on the clip."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from fourdthinker.dataset_builders.world.scene import WORLD_SOURCE
from fourdthinker.eval_tasks.benchmarks import dsr_bench

FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "task": Value("string"),
        "question": Value("string"),
        "options": List(Value("string")),
        "answer": Value("string"),
        "frames": List(Image()),
        "timestamps": List(Value("float64")),
        "facts": Value("string"),
    }
)
CARD = """---
configs:
- config_name: grpo
  data_files:
  - split: test
    path: grpo/test-*.parquet
---
"""


def make_row(index: int, task: str) -> dict:
    """A row whose clip, question length and frame count differ from its neighbours'."""
    random = np.random.default_rng(index)
    n_frames = 4 + 2 * (index % 2)
    frames = [PILImage.fromarray(random.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(n_frames)]
    return {
        "id": f"{task}-{index}",
        "source": WORLD_SOURCE,
        "task": task,
        "question": "Which way does it move?" + " Look again." * (index % 3),
        "options": ["left", "right", "up", "down"],
        "answer": "ABCD"[index % 4],
        "frames": frames,
        "timestamps": [0.5 * step for step in range(n_frames)],
        "facts": json.dumps({"index": index}),
    }


def write_world(folder, rows) -> None:
    (folder / "grpo").mkdir(parents=True)
    Dataset.from_list(rows, features=FEATURES).to_parquet(folder / "grpo" / "test-00000-of-00001.parquet")
    (folder / "README.md").write_text(CARD)


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory):
    """Eight rows as on disk: five camera questions, then three object questions."""
    folder = tmp_path_factory.mktemp("world") / "data"
    tasks = ["camera_motion"] * 5 + ["object_motion"] * 3
    write_world(folder, [make_row(index, task) for index, task in enumerate(tasks)])
    return folder


@pytest.fixture(scope="module")
def talking_model_folder(tmp_path_factory, tiny_model_folder):
    """The tiny model with weights so large that what it says depends on the clip; as made, it repeats itself."""
    import torch

    from fourdthinker.modeling import load_model

    model, processor = load_model(tiny_model_folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.4, generator=generator)
    folder = tmp_path_factory.mktemp("talking") / "model"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def talking(talking_model_folder):
    """That model and its processor."""
    from fourdthinker.modeling import load_model

    return load_model(talking_model_folder)


@pytest.fixture(scope="module")
def only_letters():
    """Gives a model a head of its own by which greedy decoding says letters of options and nothing else."""
    import torch

    def hold(model, processor, also=()):
        letters = processor.tokenizer.convert_tokens_to_ids(list("ABCD"))
        others = processor.tokenizer.convert_tokens_to_ids(list(also))
        head = model.lm_head.weight.detach()
        rows = torch.zeros_like(head)
        rows[others] = head[others]
        # Of two opposite rows one is above the zero of all other tokens.
        first, second = head[letters[0]], head[letters[1]]
        rows[letters] = torch.stack([first, -first, second, -second])
        model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(rows)

    return hold


WAYS = ("left", "right", "up", "down")


@pytest.fixture(scope="session")
def dsr_rows():
    """One question of each type, two to a video."""
    return [
        {
            "videoID": f"clip {number // 2}",
            "question": f"Which way does <object {number}> go?",
            "options": [f"{letter}. (1) Goes {way}." for letter, way in zip("ABCD", WAYS, strict=True)],
            "answer": "ABCD"[number % 4],
            "type": task,
        }
        for number, task in enumerate(dsr_bench.TYPES)
    ]


@pytest.fixture(scope="session")
def dsr_folder(tmp_path_factory, make_video, dsr_rows):
    """DSR-Bench with videos of four seconds; of its seven videos the second is missing and the third is damaged."""
    folder = tmp_path_factory.mktemp("dsr bench")
    (folder / "videos").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(dsr_rows), folder / "benchmark.parquet")
    for number in (0, 3, 4, 5, 6):
        make_video(folder / "videos" / f"clip {number}.mp4", seconds=4, shade=20 * number)
    (folder / "videos" / "clip 2.mp4").write_bytes(b"no video")
    return folder
