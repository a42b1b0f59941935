"""Train a model with 4DRL on rows of your own, with a reward of your own beside the one for the right answer.

python examples/grpo_with_own_reward.py models/trained rows.jsonl models/trained_by_reward
"""

import sys

from fourdthinker.dataset_builders import read_row_file
from fourdthinker.modeling import load_model
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.rewards.answer_rewards import accuracy_reward


def brevity_reward(completions: list, rollout_text: list[str], **columns) -> list[float]:
    """1 for at most 60 words. `rollout_text` is a completion as text; `columns` are those of its rows, as `answer`."""
    return [float(len(text.split()) <= 60) for text in rollout_text]


def main(folder: str, file: str, output: str) -> None:
    """Train for one epoch, two prompts with four completions each a step, and save the model with its processor."""
    rows = read_row_file(file, "grpo", report=print)
    model, processor = load_model(folder)
    args = LatentGRPOConfig(
        output,
        num_train_epochs=1,
        reward_weights=[1.0, 0.1],
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=128,
        beta=0.0,
        save_strategy="no",
        report_to="none",
    )
    trainer = LatentGRPOTrainer(model, [accuracy_reward, brevity_reward], args, rows, processing_class=processor)
    trainer.train()
    trainer.save_model(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
