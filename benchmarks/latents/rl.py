"""4DRL from a cell of a study: on prompts that it gets right neither always nor never, and read as the study reads.

    python benchmarks/latents/rl.py --plan study.yaml --output DIR --cell bottleneck-0

The plan's `rl` holds the settings: `candidates` training prompts are sampled `samples` times each, those whose share
of right samples is in `right_between` are kept, 20 to 80 % by default, and everything else goes to `LatentGRPOConfig`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from cells import Reader, write_json
from datasets import Dataset
from plan import Plan, load_rows, read_plan, run_script
from summary import mean_interval, right_answers

from fourdthinker.dataset_builders.pipeline.settings import digest
from fourdthinker.eval_tasks.diagnosis.controls import OWN
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.eval_tasks.sampling import Sampling
from fourdthinker.eval_tasks.scores import is_correct
from fourdthinker.modeling import load_model
from fourdthinker.modeling.atomic import scratch_dir
from fourdthinker.modeling.dataset_files import keep_videos_encoded
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

_CANDIDATES, _SAMPLES, _RIGHT_BETWEEN = 400, 8, (0.2, 0.8)
_SETTINGS = {
    "per_device_train_batch_size": 64,
    "num_generations": 8,
    "temperature": 1.0,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "max_steps": 200,
    "beta": 0.0,
    "activation_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def keep_uncertain(shares: Sequence[float], between: Sequence[float] = _RIGHT_BETWEEN) -> list[int]:
    """Places of the prompts whose share of right samples is between two numbers, these included."""
    least, most = between
    return [place for place, share in enumerate(shares) if least <= share <= most]


def sample_shares(plan: Plan, model, processor, rows: Dataset, samples: int) -> list[float]:
    """The share of right answers of each row, of so many samples of its own."""
    keys = list(keep_videos_encoded(rows.select_columns(["id", "task", "options", "answer"])))
    right = [0] * len(keys)
    for number in range(samples):
        settings = {"sampling": Sampling(), "sample": number, "progress": False}
        responses = predict(model, processor, rows, plan.read_batch, plan.max_new_tokens, **settings)
        for place, (key, response) in enumerate(zip(keys, responses, strict=True)):
            right[place] += is_correct({**key, "response": response or ""})
    return [count / samples for count in right]


def find_shares(plan: Plan, model, processor, rows: Dataset, samples: int, path: Path, key: str) -> list[float]:
    """What [`sample_shares`] gives, which is kept in a file: it takes as long as training.

    Raises:
        InputError: If what is kept is of another cell.
    """
    if not path.exists():
        write_json(path, {"key": key, "right": sample_shares(plan, model, processor, rows, samples)})
    return _read_own(path, key)["right"]


def _read_own(path: Path, key: str) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("key") != key:
        raise InputError(f"{path} is of another cell or other settings: remove it")
    return content


def run_key(plan: Plan, cell: Path, latent_gradient: bool) -> str:
    """A hash of what a run follows from: the cell's settings and answers, the plan's `rl`, and the way of training."""
    content = json.loads(cell.read_text(encoding="utf-8"))
    return digest([*_checkpoint_parts(content), plan.rl, latent_gradient])[:16]


def _checkpoint_parts(content: dict) -> list:
    """What tells a cell's checkpoint from one that was trained again: its answers differ from machine to machine."""
    return [content["key"], content["right"]]


def train(
    plan: Plan, cell: Path, model_folder: Path, seed: int, results: Path, latent_gradient: bool, key: str
) -> dict:
    """Choose prompts, train, and read before and after."""
    before = json.loads(cell.read_text(encoding="utf-8"))
    if before["read"] != OWN or plan.arms[before["arm"]].rows != "imagery":
        raise InputError(f"{cell.stem} does not answer from predicted latents: name a cell of an arm that does")
    settings = dict(plan.rl)
    candidates, samples = settings.pop("candidates", _CANDIDATES), settings.pop("samples", _SAMPLES)
    between = settings.pop("right_between", _RIGHT_BETWEEN)
    model, processor = load_model(model_folder, dtype=torch.float32)
    rows = load_rows(plan, "train")
    rows = rows.select(range(min(candidates, len(rows))))
    kept = results / f"{cell.stem}-shares-{len(rows)}x{samples}.json"
    shares = find_shares(plan, model, processor, rows, samples, kept, digest(_checkpoint_parts(before))[:16])
    chosen = keep_uncertain(shares, between)
    if not chosen:
        bounds = " to ".join(f"{share:.0%}" for share in between)
        raise InputError(f"{cell.stem} gets none of {len(rows)} prompts right in {bounds} of {samples} samples")
    settings = {"max_completion_length": plan.max_new_tokens, **_SETTINGS, **settings, "seed": seed}
    settings["latent_gradient"] = latent_gradient
    with scratch_dir("rl") as scratch:
        config = LatentGRPOConfig(str(scratch), use_cpu=not torch.cuda.is_available(), **settings)
        trainer = LatentGRPOTrainer(model, args=config, train_dataset=rows.select(chosen), processing_class=processor)
        trainer.train()
    reader = Reader(plan, load_rows(plan, "test"))
    right = reader.read(model, processor, plan.controls)
    after = {**before, "seed": seed, "right": right}
    gain = mean_interval(right_answers([after]) - right_answers([before]))
    earned = [entry["rewards/accuracy_reward/mean"] for entry in trainer.state.log_history if "reward" in entry]
    return {
        "cell": cell.stem,
        "key": key,
        "prompts": len(chosen),
        "of": len(rows),
        "steps": settings["max_steps"],
        "settings": {**plan.rl, "latent_gradient": latent_gradient},
        "right": right,
        "gain": gain[0],
        "interval": gain[1],
        "reward": earned,
    }


def main() -> None:
    """Train one cell further."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, metavar="FILE.yaml", help="the study")
    parser.add_argument("--output", required=True, metavar="DIR", help="the study's folder")
    parser.add_argument("--cell", required=True, metavar="ARM-SEED", help="where to start")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--latent-gradient", action="store_true", help="with the gradient through latents, which the paper leaves out"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.output)
    kind = "rl-whole" if args.latent_gradient else "rl"
    path = folder / "rl" / f"{args.cell}-{kind}-{args.seed}.json"
    plan, cell, model = read_plan(args.plan), folder / "cells" / f"{args.cell}.json", folder / "models" / args.cell
    if not cell.exists():
        raise InputError(f"the study has no finished cell {args.cell}: look into {folder / 'cells'}")
    key = run_key(plan, cell, args.latent_gradient)
    if not path.exists():
        if not model.exists():
            raise InputError(f"{model} is not there: remove {cell}, and let study.py train it again")
        write_json(path, train(plan, cell, model, args.seed, path.parent, args.latent_gradient, key))
    result = _read_own(path, key)
    low, high = result["interval"]
    print(
        f"{result['cell']}: {100 * result['gain']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f} over questions)"
    )


if __name__ == "__main__":
    run_script(main)
