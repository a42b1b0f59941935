"""`fourdthinker grpo`: train with 4DRL."""

import argparse

from .training_run import add_run_arguments, build_config, load_rows, read_run, save_run, train

SUMMARY = "Train with 4DRL: TRL's GRPO on completions that think in latents."
PARSES_CONFIG = True  # the file also fills `LatentGRPOConfig`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Train a model on the `grpo` rows of a dataset and save it with its processor and training log."""
    job = read_run(args)
    import torch

    from ..modeling import load_model
    from ..trainers import LatentGRPOConfig, LatentGRPOTrainer

    config = build_config(LatentGRPOConfig, job)
    rows = load_rows(job, "grpo")
    # Small steps vanish in half-precision weights; `bf16: true` computes in half precision all the same.
    model, processor = load_model(job.model, dtype=torch.float32)
    trainer = LatentGRPOTrainer(model, args=config, train_dataset=rows, processing_class=processor)
    train(trainer, job)
    if trainer.is_world_process_zero():
        save_run(model, processor, job, trainer.state.log_history)
        print(f"trained model in {job.output}")
