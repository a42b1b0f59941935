"""In mixed precision, decoding and scoring use one precision, however the policy is wrapped.

Their log-probs agree with an adapter as well as without one. Processes of a distributed run start this file as a
script.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import IA3Config, LoraConfig
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

ADAPTERS = {
    "none": lambda: None,
    "lora": lambda: LoraConfig(r=4),
    "rslora": lambda: LoraConfig(r=4, use_rslora=True),
    "dora": lambda: LoraConfig(r=4, use_dora=True),
    "ia3": lambda: IA3Config(
        target_modules=r".*language_model.*\.(k_proj|v_proj|down_proj)", feedforward_modules=r".*\.down_proj"
    ),
    "whole tables": lambda: LoraConfig(r=4, modules_to_save=["embed_tokens", "lm_head"]),
    "one whole tied table": lambda: LoraConfig(
        r=4, modules_to_save=["embed_tokens", "lm_head"], ensure_weight_tying=True
    ),
}

# Logits here are between 2 and 4, of which bfloat16 keeps 1 / 64; a different order of sums may tip the last bit.
LAST_BIT = 1 / 64

pytestmark = pytest.mark.slow


def make_rows(count):
    """Rows whose clips differ in length, size and rate."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(count):
        frames, side, seconds = 2 + 2 * (number % 3), 56 + 28 * (number % 2), 0.25 * (1 + number % 4)
        pixels = torch.randint(0, 255, (frames, side, 56, 3), generator=generator, dtype=torch.uint8)
        rows.append(
            {
                "id": f"clip-{number}",
                "question": "Which way does the camera move?" + " Look well." * number,
                "options": ["Pan Left", "Pan Right"],
                "answer": "AB"[number % 2],
                "frames": [Image.fromarray(frame.numpy()) for frame in pixels],
                "timestamps": [seconds * step for step in range(frames)],
            }
        )
    return rows


def talkative_model(folder):
    """The tiny model, which opens latent blocks and ends turns often: the first coordinate of its last state is
    constant, so that the head's first column acts as a bias. Logits stay small: bfloat16 has 8 significant bits."""
    model, processor = load_model(folder)
    head = model.lm_head.weight
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = head[:, 0] = 20.0
        model.model.language_model.norm.weight[0] = 0.025
        head[model.config.latent_start_token_id, 0] += 24.0
        head[processor.tokenizer.eos_token_id, 0] += 18.0
    return model, processor


class SpyingTrainer(LatentGRPOTrainer):
    """Compares what decoding computed with what scoring computes, inside the step that `train` runs."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gaps = []
        self.blocks = 0

    def _generate_and_score_completions(self, inputs):
        self.generation_config.output_logits = True
        model, outputs = self._base_model, []
        generate = model.generate
        model.generate = lambda **kwargs: outputs.append(generate(**kwargs)) or outputs[-1]
        try:
            batch = super()._generate_and_score_completions(inputs)
        finally:
            del model.generate
        ids = batch["completion_ids"]
        logits = torch.stack(outputs[0].logits, dim=1)[:, : ids.shape[1]].float()
        self.blocks += int((ids == model.config.latent_start_token_id).sum())
        return {**batch, "decoded": logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]}

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        self.scored = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        return self.scored

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        text = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
        for scored in (self.scored[0], inputs.get("old_per_token_logps")):
            if scored is not None:
                self.gaps.append((scored.detach() - inputs["decoded"])[text].abs())
        return loss


def replay_gap(folder, output, adapter="none", noise=0.0, **settings):
    """The largest and the mean gap over the text of a step.

    Args:
        folder: The tiny model's.
        output: Where the trainer may write.
        adapter (`str`): A key of `ADAPTERS`.
        noise (`float`): Deviation of what is added to the adapter's weights; with 0 a new one changes nothing.
        settings: Those of [`LatentGRPOConfig`].
    """
    model, processor = talkative_model(folder)
    fixed = {
        "per_device_train_batch_size": 12,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 1,
        "beta": 0.0,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 1,
    }
    trainer = SpyingTrainer(
        model,
        lambda completions, completion_ids, **columns: [len(ids) % 5 / 4 for ids in completion_ids],
        LatentGRPOConfig(str(output), **{**fixed, **settings}),
        Dataset.from_list(make_rows(6)),
        processing_class=processor,
        peft_config=ADAPTERS[adapter](),
    )
    torch.manual_seed(3)
    if noise:
        with torch.no_grad():
            for weight in trainer.model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight), alpha=noise)
    trainer.train()
    gaps = torch.cat(trainer.gaps)
    assert trainer.blocks > 0 and len(gaps) > 50
    return {"largest": gaps.max().item(), "mean": gaps.mean().item(), "precision": trainer.accelerator.mixed_precision}


TRAINED_TOWER = {"freeze_vision": False}
WAYS = {
    "by default": ("qwen2_5_vl", {}),
    "each prompt for itself": ("qwen2_5_vl", {"share_prompts": False}),
    "trained tower": ("qwen3_vl", TRAINED_TOWER),
    "trained tower, each prompt for itself": ("qwen2_5_vl", {**TRAINED_TOWER, "share_prompts": False}),
    "gradient checkpointing": ("qwen3_vl", {"gradient_checkpointing": True}),
    "old log-probs": ("qwen2_5_vl", {"per_device_train_batch_size": 6, "steps_per_generation": 2}),
}


@pytest.mark.parametrize(("family", "settings"), WAYS.values(), ids=WAYS)
def test_an_adapter_that_changes_nothing_leaves_the_gap_as_it_is(tiny_folders, tmp_path, family, settings):
    without = replay_gap(tiny_folders(family), tmp_path, bf16=True, **settings)
    within = replay_gap(tiny_folders(family), tmp_path, "lora", bf16=True, **settings)
    assert within["precision"] == without["precision"] == "bf16"
    assert 0 < within["largest"] <= without["largest"] + 1e-6 and within["mean"] <= without["mean"] + 1e-6
    assert without["largest"] < 2 * LAST_BIT and without["mean"] < LAST_BIT / 20


@pytest.mark.parametrize("adapter", [name for name in ADAPTERS if name != "none"])
def test_an_adapter_that_was_trained_is_scored_as_it_was_rolled_out(tiny_folders, tmp_path, adapter):
    folder = tiny_folders("qwen2_5_vl")
    rounded = replay_gap(folder, tmp_path, adapter, noise=0.05, bf16=True)
    assert rounded["largest"] < 2 * LAST_BIT and rounded["mean"] < LAST_BIT / 20
    assert replay_gap(folder, tmp_path, adapter, noise=0.05, bf16=False)["largest"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["gradients shared", "weights sharded"])
def test_two_processes_score_as_they_rolled_out(tiny_folders, tmp_path, in_two_processes, sharded):
    cases = {
        "without": {"bf16": True},
        "with": {"bf16": True, "adapter": "lora"},
        "trained": {"bf16": True, "adapter": "lora", "noise": 0.05},
    }
    arguments = (tiny_folders("qwen2_5_vl"), tmp_path, json.dumps(cases))
    in_two_processes(Path(__file__).read_text(), *arguments, sharded=sharded)
    for rank in range(2):
        gaps = json.loads((tmp_path / f"gaps-{rank}.json").read_text())
        assert 0 < gaps["with"]["largest"] <= gaps["without"]["largest"] + 1e-6
        assert max(gaps["trained"]["largest"], gaps["without"]["largest"]) < 2 * LAST_BIT


if __name__ == "__main__":
    model_folder, output_folder, cases = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    measured = {name: replay_gap(model_folder, output_folder / "run", **one) for name, one in cases.items()}
    rank = torch.distributed.get_rank()
    (output_folder / f"gaps-{rank}.json").write_text(json.dumps(measured))
    torch.distributed.destroy_process_group()
