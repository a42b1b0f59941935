"""`fourdthinker eval`: score a model on benchmarks or on own rows."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..eval_tasks.latents import LATENTS, latent_transform
from ..eval_tasks.predict import BATCH_SIZE, MAX_NEW_TOKENS, check_sizes, predict
from ..eval_tasks.scores import format_scores, score
from ..eval_tasks.tasks import BENCHMARKS, check_task, task_rows
from ..modeling.atomic import atomic_path, check_writable, remove_leftovers
from ..modeling.errors import InputError
from ..modeling.records import RECORD_KINDS
from ..modeling.row_rules import ON_BAD_ROW
from .device import choose_device
from .input_checks import check_dataset, check_model
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of a saved model")
    questions = parser.add_mutually_exclusive_group()
    known = ", ".join(BENCHMARKS)
    questions.add_argument("--tasks", default="fourd_world", help=f"names, comma-separated, of: {known}")
    questions.add_argument(
        "--dataset",
        metavar="PATH",
        help=f"questions of your own instead: a {RECORD_KINDS} file, or a folder made by build-data",
    )
    parser.add_argument(
        "--image-root",
        metavar="DIR",
        help="base folder of relative paths in the file of --dataset (default: the file's own folder)",
    )
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="rows decoded at once (default: 32)")
    parser.add_argument("--limit", type=int, help="score only the first LIMIT rows of each task")
    parser.add_argument(
        "--max-new-tokens", type=int, default=MAX_NEW_TOKENS, help="longest response (default: %(default)s)"
    )
    parser.add_argument(
        "--latents", choices=LATENTS, default="own", help="what is fed back for the model's latents (default: own)"
    )
    parser.add_argument(
        "--on-bad-row",
        choices=ON_BAD_ROW,
        default="stop",
        help="how to handle invalid rows: stop before the first one is answered (default) or skip them",
    )
    parser.add_argument("--device", help="where to run (default: the first GPU if there is one, else cpu)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the scores and settings there")


def run(args: argparse.Namespace) -> None:
    """Answer the tasks' rows, print a table for each task, and write the scores to `--output`."""
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    if args.output and Path(args.output).is_dir():
        raise InputError(f"--output {args.output} is a folder: name a JSON file")
    check_sizes(args.batch_size, args.max_new_tokens)
    if args.output:
        check_writable(args.output)
        remove_leftovers(Path(args.output).parent)
    tasks = [] if args.dataset else [check_task(task) for task in dict.fromkeys(args.tasks.split(","))]
    if args.dataset:
        check_dataset(args.dataset, "grpo", "test")
    check_model(args.model)
    # A file of the user's own is looked through before the model is loaded: it is read in a moment, and may be wrong.
    own = {args.dataset: _own_rows(args)} if args.dataset else {}

    from ..modeling import load_model

    # The model before the rows: it fails within seconds, while a benchmark's first use may render or download it.

    device = choose_device(args.device)
    model, processor = load_model(args.model)
    model.to(device)
    scores = {}
    for task in own or tasks:
        rows = own[task] if own else _select_rows(task_rows(task), args)
        responses = predict(
            model, processor, rows, args.batch_size, args.max_new_tokens, latent_transform(args.latents)
        )
        scored = rows.select_columns(["id", "task", "options", "answer"]).to_list()
        scores[task] = score([{**row, "response": response} for row, response in zip(scored, responses, strict=True)])
        print(format_scores(scores[task], title=f"{task}: {args.model}, {args.latents} latents"), end="\n\n")
    if args.output:
        _write(Path(args.output), args, scores)


def _own_rows(args: argparse.Namespace) -> "Dataset":
    return _select_rows(load_rows(args.dataset, "grpo", "test", args.image_root, args.on_bad_row), args)


def _select_rows(rows: "Dataset", args: argparse.Namespace) -> "Dataset":
    from ..trainers.common.row_validation import validate_rows

    rows = rows.select(range(min(args.limit or len(rows), len(rows))))
    return validate_rows(rows, "eval", args.on_bad_row)


def _write(path: Path, args: argparse.Namespace, scores: dict) -> None:
    settings = {
        "decoding": "greedy",
        "batch_size": args.batch_size,
        "max_new_tokens": args.max_new_tokens,
        "latents": args.latents,
        "limit": args.limit,
        "on_bad_row": args.on_bad_row,
    }
    result = {"model": str(args.model), "settings": settings, "tasks": scores}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
