"""Trainers of 4DRL that keep what decoding computed, their rows, and what is read off their batches."""

import torch
from datasets import Dataset
from PIL import Image

from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

OPTIONS = ["Pan Left", "Pan Right", "Tilt Up", "Dolly In"]
LORA = r".*language_model.*\.(q_proj|v_proj|gate_proj)"
SETTINGS = {
    "num_generations": 4,
    "max_completion_length": 24,
    "beta": 0.0,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}


def make_rows(count, seed=0):
    """Rows whose clips differ in length, size and rate, so that no two prompts have one shape or one clock."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        frames, side, seconds = 2 + 2 * (number % 3), 56 + 28 * (number % 2), 0.25 * (1 + number % 4)
        pixels = torch.randint(0, 255, (frames, side, 56, 3), generator=generator, dtype=torch.uint8)
        rows.append(
            {
                "id": f"clip-{number}",
                "question": "Which way does the camera move?" + " Look well." * number,
                "options": OPTIONS,
                "answer": "ABCD"[number % 4],
                "frames": [Image.fromarray(frame.numpy()) for frame in pixels],
                "timestamps": [seconds * step for step in range(frames)],
            }
        )
    return rows


def repeated(rows, count):
    return [dict(row) for row in rows for _ in range(count)]


def varied_reward(completions, completion_ids, **columns):
    return [len(ids) % 5 / 4 for ids in completion_ids]


def constant_reward(completions, **columns):
    return [0.5] * len(completions)


def alternating_reward(completions, **columns):
    return [float(number % 2) for number in range(len(completions))]


class SpyingTrainer(LatentGRPOTrainer):
    """Keeps what decoding computed beside each batch, and what every scoring pass returned."""

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
        logits = torch.stack(outputs[0].logits, dim=1)[:, : ids.shape[1]].float() / self.temperature
        log_probs = logits.log_softmax(-1)
        batch["decoded"] = log_probs.gather(-1, ids[..., None])[..., 0]
        batch["decoded_entropy"] = -(log_probs.exp() * log_probs).sum(-1)
        return batch

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        scores = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        self.scored = scores
        return scores


def make_trainer(parts, tmp_path, rewards=varied_reward, prompts=3, peft_config=None, **settings):
    model, processor = parts
    settings = {**SETTINGS, "per_device_train_batch_size": 12, "gradient_checkpointing": False, "seed": 1, **settings}
    trainer = SpyingTrainer(
        model,
        rewards,
        LatentGRPOConfig(str(tmp_path), **settings),
        Dataset.from_list(make_rows(1)),
        processing_class=processor,
        peft_config=peft_config,
    )
    if trainer.ref_model is not None:  # it was read from the folder, which knows no bias
        trainer.ref_model.lm_head.bias = torch.nn.Parameter(model.lm_head.bias.clone(), requires_grad=False)
    if trainer.args.gradient_checkpointing:  # as `train` does
        trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    return trainer


def roll_out(trainer, prompts=3):
    """All slices of one generation batch, shuffled and split as in training."""
    rows = repeated(make_rows(prompts), trainer.num_generations)
    trainer._step = 0
    trainer._prepare_inputs(rows)
    return trainer._buffered_inputs


def training(parts, tmp_path, **settings):
    """A trainer that can run from a dataset, for two steps."""

    def varied_reward(completions, completion_ids, log_extra, **columns):
        log_extra("shown", processor.batch_decode(completion_ids, skip_special_tokens=True))
        return [len(ids) % 5 / 4 for ids in completion_ids]

    model, processor = parts
    settings = {**SETTINGS, "per_device_train_batch_size": 8, "max_steps": 2, "learning_rate": 1e-2, **settings}
    args = LatentGRPOConfig(str(tmp_path), **settings)
    rows = Dataset.from_list(make_rows(4))
    trainer = LatentGRPOTrainer(model, varied_reward, args, rows, processing_class=processor)
    if trainer.ref_model is not None:
        trainer.ref_model.lm_head.bias = torch.nn.Parameter(model.lm_head.bias.clone(), requires_grad=False)
    return trainer


def gradients_of(model):
    return [parameter.grad.abs().max().item() for parameter in model.parameters() if parameter.grad is not None]


def text_mask(batch):
    return (batch["completion_mask"] * batch["tool_mask"]).bool()


def blocks(trainer, batch):
    return (batch["completion_ids"] == trainer._base_model.config.latent_start_token_id).sum(-1)
