"""`fourdthinker dift`: train with dynamic-imagery fine-tuning."""

import argparse

from .training_run import add_run_arguments, build_config, load_rows, read_run, save_run, train

SUMMARY = "Train with DIFT: supervised fine-tuning in which the model learns to imagine."
PARSES_CONFIG = True  # the file also fills `DIFTConfig`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Train a model on the `dift` rows of a dataset and save it with its processor and training log."""
    job = read_run(args)
    import torch

    from ..modeling import load_model
    from ..trainers import DIFTConfig, DIFTTrainer

    config = build_config(DIFTConfig, job)
    rows = load_rows(job, "dift")
    # Small steps vanish in half-precision weights; `bf16: true` computes in half precision all the same.
    model, processor = load_model(job.model, dtype=torch.float32)
    trainer = DIFTTrainer(model, args=config, train_dataset=rows, processing_class=processor)
    train(trainer, job)
    if trainer.is_world_process_zero():
        save_run(model, processor, job, trainer.state.log_history)
        print(f"trained model in {job.output}")
