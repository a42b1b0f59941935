"""`fourdthinker best-of-n`: sample reasoning paths, score them, and keep the best as rows to train on."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.errors import InputError, count_noun
from ..modeling.row_rules import ON_BAD_ROW
from .build_data import write_card
from .device import choose_device
from .input_checks import check_dataset, check_file, check_model, check_seed
from .models import add_revision_argument, open_model
from .new_folder import new_folder
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from ..trainers.best_of_n.selection import ScoredRow

CONFIGURATION = "mllm4d_cold_start"  # of the rows that are written
_SAMPLING = {"n": 3, "temperature": 1.0, "max_new_tokens": 1024, "batch_size": 8, "seed": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--model", metavar="MODEL", help="sample paths from this model: a folder, or a name on the Hub"
    )
    origin.add_argument(
        "--paths", metavar="FILE.jsonl", help="score these paths: one JSON object a line, with `id` and `paths`"
    )
    add_revision_argument(parser)
    parser.add_argument("--dataset", required=True, help="folder or Hub id of rows with true centres")
    parser.add_argument("--dataset-config", default="mllm4d_grpo", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write, new or empty")
    parser.add_argument(
        "--threshold",
        nargs="+",
        default=[],
        metavar="[TYPE=]REWARD",
        help="least reward of a path that is kept, for one type of question or for all (default: the mean of the "
        "type's best rewards)",
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT rows")
    parser.add_argument(
        "--on-bad-row",
        choices=ON_BAD_ROW,
        default="stop",
        help="how to handle invalid rows: stop before the first one is answered (default) or skip them",
    )
    parser.add_argument(
        "--center-scale",
        choices=("metric", "relative"),
        default="metric",
        help="how the reward measures distances (default: metric)",
    )
    parser.add_argument("--n", type=int, help=f"with --model: paths for each row (default: {_SAMPLING['n']})")
    parser.add_argument("--temperature", type=float, help="with --model: sampling temperature (default: 1)")
    parser.add_argument(
        "--max-new-tokens", type=int, help=f"with --model: longest path (default: {_SAMPLING['max_new_tokens']})"
    )
    parser.add_argument("--batch-size", type=int, help="with --model: rows sampled at once (default: 8)")
    parser.add_argument("--seed", type=int, help="with --model: random seed of sampling (default: 0)")
    parser.add_argument("--device", help="with --model: where to run (default: the first GPU if there is one)")


def run(args: argparse.Namespace) -> None:
    """Write the rows that were kept, and print how many of each type they are."""
    output = new_folder(args.output)
    sampling = _sampling(args)
    overrides = _thresholds(args.threshold)
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    if args.model:
        check_model(args.model, revision=args.revision)
    else:
        check_file(args.paths, "--paths")
    check_dataset(args.dataset, args.dataset_config, "train")
    from ..trainers.best_of_n.paths_file import read_paths
    from ..trainers.best_of_n.selection import explain_empty_choice, format_choice, resolve_thresholds, score_paths
    from ..trainers.common.row_validation import validate_rows

    rows = _rows(args)
    known = set(rows["id"])
    rows = validate_rows(rows, "best-of-n", args.on_bad_row)
    ids = rows["id"]
    file = Path(args.paths) if args.paths else _sampled_file(output)
    if args.model:
        _sample(args, rows, file, sampling)
    paths = read_paths(file, known)
    columns = rows.remove_columns("frames")
    scored = {
        number: score_paths(columns[number], paths[identity], args.center_scale)
        for number, identity in enumerate(ids)
        if identity in paths
    }
    thresholds = resolve_thresholds(list(scored.values()), overrides)
    print(format_choice(list(scored.values()), thresholds))
    if len(scored) < len(rows):
        print(f"without a path: {count_noun(len(rows) - len(scored), 'row')}")
    kept = {number: row for number, row in scored.items() if row.reaches(thresholds[row.task])}
    if not kept:
        raise InputError(explain_empty_choice(list(scored.values()), bool(args.model)))
    _write(output, rows, kept, args.model or args.paths)
    print(f"{count_noun(len(kept), 'row')} written to {output}")


def progress(args: argparse.Namespace) -> str | None:
    """Describe what an interrupted sampling resumes from."""
    file = _sampled_file(Path(args.output))
    return f"the paths sampled so far are in {file}" if args.model and file.exists() else None


def _sampled_file(output: Path) -> Path:
    return output.with_name(f"{output.name}-paths.jsonl")


def _sampling(args: argparse.Namespace) -> dict:
    """What paths are sampled with, checked before anything is loaded."""
    named = {name: getattr(args, name) for name in _SAMPLING}
    for name, value in {**named, "device": args.device, "revision": args.revision}.items():
        if args.paths and value is not None:
            raise InputError(f"--{name.replace('_', '-')} goes with --model: paths of a file are there already")
    sampling = {name: default if named[name] is None else named[name] for name, default in _SAMPLING.items()}
    for name in ("n", "max_new_tokens", "batch_size"):
        if sampling[name] < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {sampling[name]}")
    check_seed(int(sampling["seed"]))
    if not 0 < sampling["temperature"] < float("inf"):
        raise InputError(f"--temperature must be positive, got {sampling['temperature']}")
    return sampling


def _thresholds(overrides: Sequence[str]) -> dict[str | None, float]:
    """The threshold of each type that has one of its own; under `None` that of all."""
    thresholds: dict[str | None, float] = {}
    for item in overrides:
        task, equals, value = item.rpartition("=")
        try:
            reward = float(value)
        except ValueError:
            reward = -1.0
        if not 0 <= reward <= 1 or (equals and not task):
            raise InputError(f"--threshold {item}: write a reward between 0 and 1, or TYPE=REWARD")
        thresholds[task if equals else None] = reward
    return thresholds


def _rows(args: argparse.Namespace) -> "Dataset":
    from ..dataset_builders.schema import MLLM4D_FEATURES

    rows = load_rows(args.dataset, args.dataset_config, "train")
    missing = [name for name in MLLM4D_FEATURES["mllm4d_grpo"] if name not in rows.column_names]
    if missing:
        raise InputError(
            f"{args.dataset} has no column {', '.join(missing)}: give it rows of `build-data --questions mllm4d`"
        )
    return rows.select(range(min(args.limit or len(rows), len(rows))))


def _sample(args: argparse.Namespace, rows: "Dataset", file: Path, sampling: Mapping) -> None:
    """Sample the paths of the rows that have none in the file yet."""
    from tqdm import tqdm

    from ..trainers.best_of_n.path_sampling import sample_paths
    from ..trainers.best_of_n.paths_file import SampledPaths

    settings = dict(sampling)
    batch_size, seed = settings.pop("batch_size"), settings["seed"]
    # Of the newest revision no note was ever kept.
    revision = {"revision": args.revision} if args.revision else {}
    sampled = SampledPaths(file, {"model": args.model, **revision, **settings})
    numbers = [number for number, identity in enumerate(rows["id"]) if identity not in sampled.done]
    model, processor = open_model(args.model, choose_device(args.device), args.revision)
    with tqdm(
        total=len(rows), initial=len(sampled.done), desc="sampling", unit="row", file=sys.stderr, disable=None
    ) as bar:
        for start in range(0, len(numbers), batch_size):
            batch = [rows[number] for number in numbers[start : start + batch_size]]
            paths = sample_paths(
                model,
                processor,
                batch,
                settings["n"],
                settings["temperature"],
                settings["max_new_tokens"],
                seed=seed + numbers[start],  # so that a run that goes on draws what an undisturbed one would
            )
            sampled.add([row["id"] for row in batch], paths)
            bar.update(len(batch))


def _write(output: Path, rows: "Dataset", kept: Mapping[int, "ScoredRow"], origin: str) -> None:
    from ..dataset_builders.fourd_cot import write_dataset
    from ..hub_cards.rendering import short_name
    from ..modeling.atomic import atomic_dir

    without: dict[str, list] = {"imagery": [], "imagery_timestamps": [], "imagery_masks": []}
    chosen = ({**rows[number], **without, "response": row.best} for number, row in kept.items())
    with atomic_dir(output) as folder:
        card = partial(write_card, f"the best reasoning of {short_name(origin)}", None)
        write_dataset({CONFIGURATION: {"train": chosen}}, folder, card)
