"""`fourdthinker eval`: score a model on benchmarks or on own rows."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..eval_tasks.controls import OPTION_ORDERS, VIDEO_CONTROLS
from ..eval_tasks.latents import LATENTS, latent_transform
from ..eval_tasks.precision import dtype_name
from ..eval_tasks.predict import predict
from ..eval_tasks.tasks import benchmark_rows, find_benchmark
from ..modeling.atomic import atomic_path, check_writable
from ..modeling.errors import InputError
from .device import choose_device
from .eval_masks import add_masks_argument, score_masks
from .eval_models import check_models, choose_devices, compare_models, run_models
from .eval_overlap import add_overlap_arguments, check_overlap_arguments, find_rows_overlap
from .input_checks import check_model
from .models import add_revision_argument, describe_origin
from .questions import (
    add_question_arguments,
    check_question_arguments,
    first_rows,
    load_answering_model,
    longest_response,
    own_rows,
    valid_rows,
)
from .report_arguments import add_report_arguments, check_report_arguments, write_reports

if TYPE_CHECKING:
    from datasets import Dataset

    from ..eval_tasks.benchmark import Benchmark
    from ..eval_tasks.evaluation import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    models = parser.add_mutually_exclusive_group(required=True)
    models.add_argument("--model", metavar="MODEL", help="folder of a saved model, or its name on the Hub")
    models.add_argument(
        "--models",
        nargs="+",
        metavar="DIR",
        help="several, which are compared in pairs; one on each GPU if there are any",
    )
    add_masks_argument(models)
    add_revision_argument(parser)
    add_question_arguments(parser)
    parser.add_argument(
        "--latents", choices=LATENTS, default="own", help="what is fed back for the model's latents (default: own)"
    )
    _add_input_arguments(parser)
    parser.add_argument(
        "--device",
        help="where to run (default: the first GPU if there is one, else cpu); with --models several, comma-separated",
    )
    add_overlap_arguments(parser)
    add_report_arguments(parser)
    parser.add_argument(
        "--answers",
        metavar="FILE.jsonl",
        help="also write each question with its response there, for `fourdthinker score`; with several tasks or "
        "controls their names are added to the file's",
    )


def _add_input_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--video",
        choices=VIDEO_CONTROLS,
        default="own",
        help="what is shown: the row's own video (default), none, its first frame at all of its times, or another "
        "row's video of the same task",
    )
    parser.add_argument(
        "--options",
        choices=OPTION_ORDERS,
        default="own",
        help="order of the options: as they are (default) or shuffled, the letters with them",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is shuffled and sampled (default: 0)")
    parser.add_argument(
        "--controls",
        action="store_true",
        help="run every other --video and --options shuffled too, and compare them in pairs: how many points is the "
        "video worth? Five times the work",
    )
    parser.add_argument(
        "--ask-again",
        type=int,
        default=0,
        metavar="N",
        help="ask rows whose response names no option up to N times more, sampled, as DSI-Bench does; the report says "
        "so (default: 0)",
    )


def run(args: argparse.Namespace) -> None:
    """Answer the tasks' rows, print a report for each task, and write what the options ask for."""
    if args.revision and not args.model:
        raise InputError("--revision goes with --model: it is a branch, tag or commit of one repository")
    if args.masks:
        score_masks(args)
        return
    tasks = _check(args)
    # A file of the user's own is looked through before the model is loaded: it is read in a moment, and may be wrong.
    own = {args.dataset: valid_rows(own_rows(args), args)} if args.dataset else {}

    from ..eval_tasks.evaluation import pool_groups
    from ..eval_tasks.report.table import format_report

    models = args.models or [args.model]
    devices = choose_devices(args.device, len(models)) if args.models else [choose_device(args.device)]
    names = _distinct_names(models)
    runs: dict[str, dict[str, Evaluation]] = {}
    questions = own or dict.fromkeys(tasks)
    overlaps = _find_overlaps(args, questions) if args.check_overlap else {}
    evaluate_model = partial(_evaluate_model, args, questions, overlaps)
    for model, task, evaluation in run_models(evaluate_model, models, devices):
        runs.setdefault(task, {})[model] = evaluation
        print(format_report(evaluation.report, title=f"{task}: {model}, {args.latents} latents"), end="\n\n")
        if args.answers:
            parts = (names[model], task if len(questions) > 1 else "")
            _write_answers(args.answers, parts, evaluation)
    for group, pooled in pool_groups(runs, args.skip_missing).items():
        runs[group] = pooled
        for model, evaluation in pooled.items():
            print(format_report(evaluation.report, title=f"{group}: {model}, {args.latents} latents"), end="\n\n")
    for line in compare_models(runs, args.skip_missing):
        print(line)
    reports = {task: {model: one.report for model, one in by_model.items()} for task, by_model in runs.items()}
    write_reports(args, reports, _head(args, reports))


def _evaluate_model(
    args: argparse.Namespace,
    questions: Mapping[str, "Dataset | None"],
    overlaps: Mapping[str, tuple[list[int], dict]],
    name: str,
    device: str,
) -> Iterator[tuple[str, "Evaluation"]]:
    from ..eval_tasks.journal import open_journal
    from ..eval_tasks.unanswered import response_for

    # The model before the rows: it fails within seconds, while a benchmark's first use may render or download it.
    model, processor = load_answering_model(name, device, args.dtype, args.revision)
    answer = partial(
        predict,
        model,
        processor,
        batch_size=args.batch_size,
        latent_transform=latent_transform(args.latents),
        describe_failure=response_for,
        journal=open_journal(model, processor, {"latents": args.latents}),
        reading=args.reading,
    )
    for task, own in questions.items():
        benchmark, rows = _task_questions(task, own, args)
        kept, overlap = overlaps.get(task, (None, None))
        rows = rows if kept is None else rows.select(kept)
        evaluation = _evaluate(answer, processor, rows, benchmark, args)
        evaluation.report["settings"] |= {"dtype": dtype_name(model), **describe_origin(model)}
        if overlap:
            evaluation.report["overlap"] = overlap
        yield task, evaluation


def _find_overlaps(
    args: argparse.Namespace, questions: Mapping[str, "Dataset | None"]
) -> dict[str, tuple[list[int], dict]]:
    """What `find_rows_overlap` says of each task, once for all models."""
    found = {}
    for task, own in questions.items():
        benchmark, rows = _task_questions(task, own, args)
        found[task] = find_rows_overlap(rows, task, benchmark, args)
    return found


def _check(args: argparse.Namespace) -> list[str]:
    """Check the arguments before anything is loaded; the names of the benchmarks."""
    tasks = check_question_arguments(args)
    if args.ask_again < 0:
        raise InputError(f"--ask-again must be 0 or more, got {args.ask_again}")
    if args.controls and (args.video, args.options) != ("own", "own"):
        raise InputError("--controls runs every --video and --options itself: leave these out")
    check_report_arguments(args)
    check_overlap_arguments(args)
    if args.answers:
        check_writable(args.answers)
    for model in args.models or [args.model]:
        check_model(model, revision=args.revision)
    if args.models:
        check_models(args.models)
        if args.eval_results:
            raise InputError("--eval-results belongs to one model: give --model in place of --models")
    return tasks


def _evaluate(
    answer: Callable[..., list[str | None]],
    processor,
    rows: "Dataset",
    benchmark: "Benchmark | None",
    args: argparse.Namespace,
) -> "Evaluation":
    from ..eval_tasks.benchmark import FramePolicy
    from ..eval_tasks.evaluation import Shown, all_controls, evaluate
    from ..eval_tasks.shown_frames import describe_frames

    length = longest_response(args, benchmark)
    ask = partial(answer, benchmark=benchmark, max_new_tokens=length)
    shown = Shown(args.video, args.options, args.seed)
    controls = all_controls(args.seed) if args.controls else []
    evaluation = evaluate(ask, rows, benchmark, shown, controls, args.ask_again, args.skip_missing)
    evaluation.report["settings"] = {
        "frames": describe_frames(rows, benchmark.frames if benchmark else FramePolicy(), shown.video, processor),
        "decoding": f"greedy, at most {length} new tokens",
        "latents": args.latents,
        "reading": args.reading,
    }
    return evaluation


def _task_questions(
    task: str, own: "Dataset | None", args: argparse.Namespace
) -> tuple["Benchmark | None", "Dataset"]:
    """The benchmark of a name and its rows; of the user's own questions nothing, and these."""
    if own is not None:
        return None, own
    benchmark = find_benchmark(task)
    rows = first_rows(benchmark_rows(benchmark, need_videos=args.video != "none"), args)
    return benchmark, rows if benchmark.has_videos else valid_rows(rows, args)


def _head(args: argparse.Namespace, reports: Mapping[str, Mapping[str, dict]]) -> Mapping[str, object]:
    from ..eval_tasks.report.build import library_versions
    from ..hub_cards.run_facts import today

    settings = {
        "decoding": "greedy",
        "batch_size": args.batch_size,
        "max_new_tokens": args.max_new_tokens,
        "latents": args.latents,
        "reading": args.reading,
        "limit": args.limit,
        "on_bad_row": args.on_bad_row,
    }
    model = str((args.models or [args.model])[0])
    head = {"model": model, "settings": settings, "versions": library_versions(), "date": today()}
    if not args.models:
        return head
    # Beside the first one's scores under `tasks` those of all.
    by_model = {model: {task: runs[model] for task, runs in reports.items()} for model in args.models}
    return {**head, "models": by_model}


def _distinct_names(models: Sequence[str]) -> dict[str, str]:
    """For each of several models a name for its files: its folder's, with its place where two have the same."""
    if len(models) == 1:
        return {models[0]: ""}
    short = [Path(model).name for model in models]
    return {
        model: name if short.count(name) == 1 else f"{number}-{name}"
        for number, (model, name) in enumerate(zip(models, short, strict=True), start=1)
    }


def _write_answers(place: str, names: Sequence[str], evaluation: "Evaluation") -> None:
    path = Path(place)
    for control, answers in evaluation.answers.items():
        parts = [path.stem, *names, "" if len(evaluation.answers) == 1 or control == "own" else control]
        name = "-".join(part.replace(" ", "-").replace("/", "-") for part in parts if part)
        with atomic_path(path.with_name(name + path.suffix)) as temporary:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in answers)
            temporary.write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
