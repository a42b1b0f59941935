"""Completions of one prompt are compared with one another, on whichever processes they were sampled."""

import json

import pytest
import torch
from datasets import Dataset
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

# Twelve completions are three groups of four; with six a process, the second group stands on both.
SETTINGS = {
    "num_generations": 4,
    "max_completion_length": 6,
    "max_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}

SCRIPT = """
import json
import sys

from datasets import Dataset

from fourdthinker.modeling import load_model
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

folder, rows, out, settings = sys.argv[1:]
seen = {}


def reward(completions, completion_ids, id, **columns):
    # No two alike, not even those of two processes that sample the same.
    earned = [trainer.accelerator.process_index + row**2 + sum(ids) / 1000 for row, ids in enumerate(completion_ids)]
    seen.update(ids=id, rewards=earned, completions=completion_ids)
    return earned


class TellingTrainer(LatentGRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        seen["advantages"] = batch["advantages"].tolist()
        return batch


model, processor = load_model(folder)
args = LatentGRPOConfig(out, **json.loads(settings))
trainer = TellingTrainer(model, reward, args, Dataset.from_parquet(rows, cache_dir=out), processing_class=processor)
trainer.train()
with open(f"{out}/process-{args.process_index}.json", "w") as file:
    json.dump(seen, file)
"""


@pytest.fixture
def rows():
    frames = [Image.new("RGB", (56, 56), (shade, 0, 0)) for shade in (0, 200)]
    fixed = {"options": ["l", "r", "u", "d"], "answer": "A", "frames": frames, "timestamps": [0.0, 0.5]}
    return Dataset.from_list([{"id": f"row-{number}", "question": f"{number}?", **fixed} for number in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize(("family", "scale_rewards"), [("qwen2_5_vl", "group"), ("qwen3_vl", "batch")], scope="module")
def test_a_group_split_over_processes_is_one_group(rows, tiny_model_folder, tmp_path, in_two_processes, scale_rewards):
    file, out = tmp_path / "rows.parquet", tmp_path / "out"
    rows.to_parquet(file)
    settings = {**SETTINGS, "per_device_train_batch_size": 6, "scale_rewards": scale_rewards}
    in_two_processes(SCRIPT, tiny_model_folder, file, out, json.dumps(settings))
    first, second = (json.loads((out / f"process-{number}.json").read_text()) for number in range(2))
    assert first["ids"][4:] == second["ids"][:2] and len(set(first["ids"][4:])) == 1, "a group on both"
    assert len(set(first["ids"] + second["ids"])) == 3
    assert first["completions"][4:] != second["completions"][:2], "which each sampled for itself"
    rewards, advantages = (torch.tensor(first[name] + second[name]) for name in ("rewards", "advantages"))

    alone = LatentGRPOTrainer(
        (parts := load_model(tiny_model_folder))[0],
        lambda completions, **columns: rewards.tolist(),
        LatentGRPOConfig(str(tmp_path / "one"), **{**settings, "per_device_train_batch_size": 12}),
        rows,
        processing_class=parts[1],
    )
    alone.model.train()
    batch = alone._generate_and_score_completions([row for row in rows for _ in range(4)])
    torch.testing.assert_close(advantages, batch["advantages"], atol=1e-6, rtol=0)
    groups = rewards.view(3, 4)
    spread = groups.std(1, keepdim=True) if scale_rewards == "group" else rewards.std()
    expected = (groups - groups.mean(1, keepdim=True)) / (spread + 1e-4)
    torch.testing.assert_close(advantages, expected.flatten(), atol=1e-6, rtol=0)
    torch.testing.assert_close(advantages.view(3, 4).sum(1), torch.zeros(3), atol=1e-5, rtol=0)
