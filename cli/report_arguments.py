"""What `eval` and `score` share: where a report goes, and which rows count."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from ..modeling.atomic import atomic_path, check_writable, remove_leftovers
from ..modeling.errors import InputError


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave rows whose video is missing or unreadable out of the denominator, as some published scripts do; "
        "the report says so (default: they count as wrong)",
    )
    parser.add_argument("--output", metavar="FILE.json", help="also write the scores and settings there")
    parser.add_argument("--picture", metavar="FILE.png", help="also draw the scores there, as .png, .pdf or .svg")
    parser.add_argument(
        "--eval-results",
        metavar="DIR",
        help="also put the scores into this model folder, where its card shows them: scores/*.json, README.md, and "
        ".eval_results/*.yaml for benchmarks that are registered on the Hub",
    )
    parser.add_argument(
        "--beside",
        metavar="WHAT",
        help="with --eval-results: the scores are of another model, which the card compares with its own, such as "
        "'base model' or 'text only'",
    )


def check_report_arguments(args: argparse.Namespace) -> None:
    """Check where the report goes before anything is computed for it.

    Raises:
        InputError: If something cannot be written there.
    """
    if args.output and Path(args.output).is_dir():
        raise InputError(f"--output {args.output} is a folder: name a JSON file")
    if args.output:
        check_writable(args.output)
        remove_leftovers(Path(args.output).parent)
    if args.picture:
        from ..eval_tasks.report.picture import check_picture

        check_picture(args.picture)
    if args.beside and not args.eval_results:
        raise InputError("--beside goes with --eval-results, the folder whose card compares the scores with its own")
    if args.eval_results and not Path(args.eval_results).is_dir():
        raise InputError(f"--eval-results {args.eval_results} is no folder: name the folder of a saved model")


def write_reports(
    args: argparse.Namespace, reports: Mapping[str, Mapping[str, Mapping]], head: Mapping[str, object]
) -> None:
    """Write reports wherever the arguments say.

    Args:
        args (`argparse.Namespace`): The arguments.
        reports (`Mapping[str, Mapping[str, Mapping]]`): For each benchmark the reports of its runs by name; the first
            run is the one that is written as JSON and for the Hub.
        head (`Mapping[str, object]`): What stands before the scores in the JSON file.
    """
    first = {name: next(iter(runs.values())) for name, runs in reports.items()}
    if args.output:
        with atomic_path(args.output) as temporary:
            temporary.write_text(json.dumps({**head, "tasks": first}, indent=2) + "\n", encoding="utf-8")
    if args.picture:
        from ..eval_tasks.report.picture import draw_reports

        draw_reports(args.picture, reports)
    if args.eval_results:
        from ..hub_cards.eval_results import add_scores
        from ..hub_cards.scores import label_scores

        controls = (("video", getattr(args, "video", "own")), ("options", getattr(args, "options", "own")))
        shown = ", ".join(f"{part} {control}" for part, control in controls if control != "own") or "own"
        label = label_scores(getattr(args, "latents", "own"), args.beside, shown)
        for path in add_scores(args.eval_results, first, head, label):
            print(f"wrote {path}")
