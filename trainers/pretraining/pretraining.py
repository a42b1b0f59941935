"""Pretrain the tiny Qwen2.5-VL backbone from random weights, on a CPU."""

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainingArguments


@dataclass(frozen=True)
class PretrainingConfig:
    """Settings of the pretraining of the tiny backbone.

    Attributes:
        clips (`int`): Rendered clips of each leg.
        perception_steps (`int`): Optimizer steps in which the vision tower learns alone, before the first leg.
        steps (`tuple[int, ...]`): Optimizer steps of each leg. A leg goes on from the weights of the one before, with
            a new optimizer and clips of its own.
        batch_size (`int`): Samples a step.
        learning_rate (`float`): Peak of each leg; linear warm-up over 5 %, then cosine to zero.
        seed (`int`): Source of the clips, the weights and the order; the next leg has the next one.
        workers (`int`): Rendering processes.
    """

    clips: int = 12_000
    perception_steps: int = 2_000
    steps: tuple[int, ...] = (5_000, 1_500)
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    workers: int = 2


def pretrain(
    model: PreTrainedModel, batches: Dataset, output_dir: str, config: PretrainingConfig, steps: int
) -> list[dict]:
    """Train all weights, the vision tower's too, for one leg.

    Args:
        model: A model with random weights.
        batches (`Dataset`): `steps` whole batches, see `PretrainingBatches`.
        output_dir (`str`): Trainer's scratch folder.
        config (`PretrainingConfig`): How.
        steps (`int`): Optimizer steps.

    Returns:
        `list[dict]`: The log.
    """
    arguments = TrainingArguments(
        output_dir=output_dir,
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 20,
        weight_decay=0.01,
        adam_beta2=0.98,
        logging_steps=100,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        remove_unused_columns=False,
        dataloader_num_workers=1,
        dataloader_prefetch_factor=4,
    )
    model.requires_grad_(True)
    trainer = _CrossEntropyTrainer(model, arguments, train_dataset=batches, data_collator=_unwrap_batch)
    trainer.train()
    return trainer.state.log_history


class _CrossEntropyTrainer(Trainer):
    """Logs and minimises the cross entropy itself, not as a part of the DIFT loss."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs, use_cache=False, logits_to_keep=1)
        return (outputs.ce_loss, outputs) if return_outputs else outputs.ce_loss


def _unwrap_batch(batches: list) -> dict:
    """The dataset's items are whole batches already."""
    return dict(batches[0])
