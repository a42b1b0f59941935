"""What `eval` and `diagnose` have in common: arguments, their checks, the rows that are asked, and the model."""

import argparse
from typing import TYPE_CHECKING

from ..eval_tasks.choice import READINGS
from ..eval_tasks.precision import DTYPES, choose_dtype
from ..eval_tasks.predict import BATCH_SIZE, MAX_NEW_TOKENS, check_sizes
from ..eval_tasks.tasks import expand_tasks, find_benchmark, list_tasks
from ..modeling.errors import InputError
from ..modeling.records import RECORD_KINDS
from ..modeling.row_rules import ON_BAD_ROW
from .input_checks import check_dataset, check_seed
from .models import open_model
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from ..eval_tasks.benchmark import Benchmark


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """`--tasks` or `--dataset`, and how their rows are asked."""
    questions = parser.add_mutually_exclusive_group()
    questions.add_argument(
        "--tasks",
        default="fourd_world",
        help=f"names, comma-separated (default: %(default)s), of: {list_tasks()}",
    )
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
    parser.add_argument(
        "--reading",
        choices=READINGS,
        default="response",
        help="what counts as the answer: what the response says (default), or by choice the likeliest of the options "
        "after the model's own reasoning, so that a broken format does not count",
    )
    parser.add_argument("--limit", type=int, help="ask only the first LIMIT rows of each task")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        help=f"longest response (default: the benchmark's own; {MAX_NEW_TOKENS} for own questions)",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=ON_BAD_ROW,
        default="stop",
        help="how to handle invalid rows: stop before the first one is answered (default) or skip them",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="number format of the weights; auto is the checkpoint's (default: float32 on a CPU, else auto). Only in "
        "float32 the answers do not depend on --batch-size",
    )


def check_question_arguments(args: argparse.Namespace) -> list[str]:
    """Check these arguments and `--seed` before anything is loaded.

    Returns:
        `list[str]`: The names of the benchmarks; none for `--dataset`.
    """
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    check_seed(args.seed)
    check_sizes(args.batch_size, MAX_NEW_TOKENS if args.max_new_tokens is None else args.max_new_tokens)
    if args.dataset:
        check_dataset(args.dataset, "grpo", "test")
        return []
    if args.image_root is not None:
        raise InputError("--image-root goes with --dataset: a benchmark's files lie in the folder of its data")
    names = expand_tasks(args.tasks)
    for name in names:
        if args.on_bad_row == "skip" and find_benchmark(name).has_videos:
            raise InputError(f"--on-bad-row skip does not go with --tasks {name}, of which every row counts")
    return names


def longest_response(args: argparse.Namespace, benchmark: "Benchmark | None") -> int:
    """The tokens that a response may have."""
    return args.max_new_tokens or (benchmark.max_new_tokens if benchmark else MAX_NEW_TOKENS)


def own_rows(args: argparse.Namespace) -> "Dataset":
    """The first rows of `--dataset`."""
    return first_rows(load_rows(args.dataset, "grpo", "test", args.image_root, args.on_bad_row), args)


def first_rows(rows: "Dataset", args: argparse.Namespace) -> "Dataset":
    """As many rows as `--limit` says."""
    return rows.select(range(min(args.limit or len(rows), len(rows))))


def valid_rows(rows: "Dataset", args: argparse.Namespace) -> "Dataset":
    """The rows that can be asked and scored; others stop the command or are skipped, as `--on-bad-row` says."""
    from ..trainers.common.row_validation import validate_rows

    return validate_rows(rows, "eval", args.on_bad_row)


def load_answering_model(name: str, device: str, dtype: str | None, revision: str | None = None):
    """A saved model on its device, in the number format that `--dtype` names, and its processor."""
    return open_model(name, device, revision, dtype=choose_dtype(dtype, device))
