"""Rows and trainers of tiny models."""

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, DIFTTrainer

OPTIONS = ["Pan Left", "Pan Right", "Tilt Up", "Tilt Down"]

FEATURES = Features(
    {
        **dict.fromkeys(("id", "task", "question", "answer", "response"), Value("string")),
        "options": List(Value("string")),
        "frames": List(ImageFeature()),
        "timestamps": List(Value("float64")),
        "imagery": List(ImageFeature()),
        "imagery_masks": List(ImageFeature()),
    }
)


@pytest.fixture
def dift_dataset():
    """Rows as `load_dataset` gives them."""
    return lambda rows: Dataset.from_list(rows, features=FEATURES)


@pytest.fixture
def make_dift_row():
    """A row with as many imagery frames as asked for, its clip, sizes and words different for every number."""

    def make(number=0, imagery=2, **changes):
        draw = np.random.default_rng(number)
        widths = [56 + 28 * (index % 2) for index in range(imagery)]

        def make_image(height=56, width=56):
            return Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8))

        frames = 2 + 2 * (number % 3)
        marks = " and ".join(["I picture it <output_image>"] * imagery)
        return {
            "id": f"row-{number}",
            "task": "camera_motion",
            "question": "Which way does the camera move?" + " Look well." * number,
            "options": OPTIONS,
            "answer": "B",
            "frames": [make_image() for _ in range(frames)],
            "timestamps": [0.5 * step for step in range(frames)],
            "response": f"<think>{marks}. It pans{', slowly' * number}.</think><answer>B. Pan Right</answer>",
            "imagery": [make_image(56, width) for width in widths],
            "imagery_masks": [Image.new("L", (width, 56), 255) for width in widths],
            **changes,
        }

    return make


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    """What is true of training holds for each family of models."""
    return request.param


@pytest.fixture
def make_dift_trainer(tiny_model_folder, dift_dataset, tmp_path):
    """A DIFT trainer of the tiny model on some rows, on the CPU; `prepare` gets the model before the trainer does."""

    def make(rows, prepare=None, **settings):
        model, processor = load_model(tiny_model_folder)
        if prepare is not None:
            prepare(model)
        fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}
        defaults = {"per_device_train_batch_size": len(rows), "logging_steps": 1, "warmup_steps": 0}
        defaults["save_strategy"] = "no"
        args = DIFTConfig(str(tmp_path / "out"), **fixed, **{**defaults, **settings})
        return DIFTTrainer(model, args=args, train_dataset=dift_dataset(rows), processing_class=processor)

    return make
