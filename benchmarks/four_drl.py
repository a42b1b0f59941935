"""Does 4DRL raise held-out accuracy? The same questions before and after, from one DIFT checkpoint, over seeds.

    fourdthinker demo --output demo
    fourdthinker build-data --source world --clips 1 --held-out 1600 --output held_out
    python benchmarks/four_drl.py --model demo/dift --data demo/data --held-out held_out --output results.json

Each seed trains with a recipe on the `grpo` rows of `--data`, whose clips DIFT has not seen either, and then answers
the test questions of `--held-out` greedily, as the checkpoint did before. Training draws no clip from the range of
those. Runs that the results file holds are kept, so one that is stopped loses a seed at most.

A gain is the mean, over questions and seeds, of right after (1 or 0) less right before. Two things vary, and each gets
a 95 % interval: questions, from the normal law on each question's gain averaged over the seeds; and seeds, from
Student's t on each seed's gain averaged over the questions. The interval over both has the root of the sum of their
squared half-widths, which is on the wide side, as seeds vary partly because questions do. Questions of one kind stand
on clips of their own; a camera and an object question may share one.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import trl
from measuring import machine
from transformers import PrinterCallback

from fourdthinker.cli.config_file import read_config_file
from fourdthinker.cli.training_run import Run, build_config, load_rows
from fourdthinker.cli.yaml_values import parse_value
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.eval_tasks.scores import is_correct, wilson_interval
from fourdthinker.modeling import load_model
from fourdthinker.modeling.atomic import atomic_path
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "demo" / "grpo.yaml"
BEFORE = "DIFT"
EARNED = {
    "accuracy": "rewards/accuracy_reward/mean",
    "format": "rewards/format_reward/mean",
    "equal groups": "frac_reward_zero_std",
}
ENDS = 10  # steps at either end of a training whose rewards are reported
NORMAL = statistics.NormalDist().inv_cdf(0.975)
# Student's t at 97.5 %, by degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def train(model, processor, rows, args: argparse.Namespace, seed: int) -> list[dict[str, float]]:
    """Train in place, and return what each step earned."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(args.model, args.data, Path(folder) / "run", {**args.settings, "seed": seed})
        (config,) = build_config((LatentGRPOConfig,), run)
        trainer = LatentGRPOTrainer(model, args=config, train_dataset=rows, processing_class=processor)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    return [{name: step[logged] for name, logged in EARNED.items()} for step in steps]


def right_answers(model, processor, rows, args: argparse.Namespace) -> list[int]:
    """1 or 0 for each row."""
    answers = rows.remove_columns("frames")
    responses = predict(model, processor, rows, args.batch_size, args.max_new_tokens)
    return [int(is_correct({**row, "response": response})) for row, response in zip(answers, responses, strict=True)]


def gain(before: Sequence[int], after: Sequence[Sequence[int]]) -> dict[str, tuple[float, float] | float]:
    """The mean gain and its half-widths, as the head of this file says.

    Args:
        before (`Sequence[int]`): 1 or 0 for each question.
        after (`Sequence[Sequence[int]]`): The same for each seed, two at least.

    Returns:
        `dict`: `mean`, and the half-widths `questions`, `seeds` and `both`, as shares of one.
    """
    gains = [[now - then for now, then in zip(run, before, strict=True)] for run in after]
    by_question = [statistics.mean(values) for values in zip(*gains, strict=True)]
    by_seed = [statistics.mean(values) for values in gains]
    questions = NORMAL * statistics.stdev(by_question) / len(before) ** 0.5
    seeds = STUDENT[len(after) - 2] * statistics.stdev(by_seed) / len(after) ** 0.5
    mean = statistics.mean(by_seed)
    return {"mean": mean, "questions": questions, "seeds": seeds, "both": (questions**2 + seeds**2) ** 0.5}


def accuracy_table(runs: Mapping[str, Mapping], kinds: Mapping[str, Sequence[int]]) -> str:
    """Accuracy of each model on each kind of question, with Wilson's interval."""
    lines = [f"| model | {' | '.join(f'{kind} (n = {len(numbers)})' for kind, numbers in kinds.items())} |"]
    lines.append(f"|{'---|' * (len(kinds) + 1)}")
    for name, run in runs.items():
        cells = []
        for numbers in kinds.values():
            right = sum(run["right"][number] for number in numbers)
            low, high = wilson_interval(right, len(numbers))
            cells.append(f"{right / len(numbers):.1%} ({low:.1%} to {high:.1%})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gain_table(runs: Mapping[str, Mapping], kinds: Mapping[str, Sequence[int]]) -> str:
    """Gains in points by kind of question, with their intervals and each seed's own."""
    lines = [
        "| questions | gain, points | over questions | over seeds | over both | each seed |",
        "|---|---|---|---|---|---|",
    ]
    after = [run for name, run in runs.items() if name != BEFORE]
    for kind, numbers in kinds.items():
        before = [runs[BEFORE]["right"][number] for number in numbers]
        answers = [[run["right"][number] for number in numbers] for run in after]
        measured = gain(before, answers)
        spans = [span(measured["mean"], measured[width]) for width in ("questions", "seeds", "both")]
        each = ", ".join(f"{100 * (sum(answer) - sum(before)) / len(before):+.1f}" for answer in answers)
        lines.append(f"| {kind} | {100 * measured['mean']:+.1f} | {' | '.join(spans)} | {each} |")
    return "\n".join(lines)


def span(mean: float, half: float) -> str:
    """An interval in points."""
    return f"{100 * (mean - half):+.1f} to {100 * (mean + half):+.1f}"


def training_table(runs: Mapping[str, Mapping]) -> str:
    """What completions earned at either end of each training."""
    lines = [f"| run | {' | '.join(f'{name}, first {ENDS} | last {ENDS}' for name in EARNED)} | minutes |"]
    lines.append(f"|{'---|' * (2 * len(EARNED) + 2)}")
    for run_name, run in runs.items():
        if run_name == BEFORE:
            continue
        ends = (run["earned"][:ENDS], run["earned"][-ENDS:])
        cells = [f"{statistics.mean(step[name] for step in end):.3f}" for name in EARNED for end in ends]
        lines.append(f"| {run_name} | {' | '.join(cells)} | {run['seconds'] / 60:.1f} |")
    return "\n".join(lines)


def kinds_of(rows) -> dict[str, list[int]]:
    """Numbers of the questions of each kind, and of all."""
    tasks = list(rows["task"])
    kinds = {
        task.replace("_", " "): [number for number, kind in enumerate(tasks) if kind == task]
        for task in sorted(set(tasks))
    }
    return {**kinds, "all": list(range(len(tasks)))}


def arguments() -> argparse.Namespace:
    """What the command line asks for; `settings` are the recipe's with what `--set` changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR", help="DIFT checkpoint to start from")
    parser.add_argument("--data", required=True, metavar="DIR", help="rows to train on")
    parser.add_argument("--held-out", required=True, metavar="DIR", help="rows whose test split is answered")
    parser.add_argument("--output", required=True, metavar="FILE.json", help="results; runs that are there are kept")
    parser.add_argument("--recipe", default=str(RECIPE), metavar="FILE.yaml", help="settings (default: the demo's)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="FIELD=VALUE", help="settings that win over the recipe"
    )
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="train on these kinds of question (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help=f"trainings, 2 to {len(STUDENT) + 1} (default: 3)")
    parser.add_argument("--batch-size", type=int, default=100, help="questions answered at once (default: 100)")
    parser.add_argument("--max-new-tokens", type=int, default=176, help="longest response (default: 176)")
    args = parser.parse_args()
    if not 2 <= args.seeds <= len(STUDENT) + 1:
        parser.error(f"--seeds is {args.seeds}: an interval over seeds takes 2 to {len(STUDENT) + 1}")
    recipe = read_config_file(args.recipe)
    changed = dict(item.split("=", 1) for item in args.set)
    args.settings = {**recipe, **{name: parse_value(value) for name, value in changed.items()}}
    for place in ("model", "dataset", "output"):
        args.settings.pop(place, None)
    return args


def kept_results(path: Path, asked: Mapping) -> dict:
    """The results so far, or none yet; raises on those of other settings."""
    if not path.exists():
        return {"asked": dict(asked), "runs": {}}
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["asked"] != asked:
        raise SystemExit(f"{path} holds runs of other settings: delete it, or choose another --output")
    return results


def main() -> None:
    """Answer before, train and answer with each seed, and print the tables."""
    args = arguments()
    path = Path(args.output)
    names = ("model", "data", "held_out", "settings", "tasks", "max_new_tokens")
    results = kept_results(path, {name: getattr(args, name) for name in names})
    held_out = load_rows(args.held_out, "grpo", "test")
    rows = load_rows(args.data, "grpo", "train")
    if args.tasks:
        rows = rows.filter(lambda task: task in args.tasks, input_columns="task")
    for seed in (None, *range(args.seeds)):
        name = BEFORE if seed is None else f"4DRL, seed {seed}"
        if name in results["runs"]:
            continue
        model, processor = load_model(args.model, dtype=torch.float32)
        started = time.perf_counter()
        run: dict = {} if seed is None else {"earned": train(model, processor, rows, args, seed)}
        run["seconds"] = round(time.perf_counter() - started)
        run["right"] = right_answers(model, processor, held_out, args)
        results["runs"][name] = run
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(results) + "\n", encoding="utf-8")
    kinds = kinds_of(held_out)
    print(f"\n{machine('cpu', 'float32')}, TRL {trl.__version__}")
    print(f"{len(rows)} prompts to train on; settings: {json.dumps(args.settings)}")
    for make in (accuracy_table, gain_table):
        print(f"\n{make(results['runs'], kinds)}")
    print(f"\n{training_table(results['runs'])}")


if __name__ == "__main__":
    main()
