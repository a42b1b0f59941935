"""`fourdthinker diagnose`: find out whether a model's answers depend on its latents."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..eval_tasks.data_folder import find_data
from ..eval_tasks.diagnosis.controls import CONTROLS, choose_controls
from ..eval_tasks.diagnosis.verdict import MARGIN
from ..eval_tasks.precision import dtype_name
from ..eval_tasks.tasks import benchmark_rows, find_benchmark
from ..modeling.errors import InputError
from .device import choose_device
from .input_checks import check_model
from .models import add_model_arguments, describe_origin
from .new_folder import new_folder
from .questions import (
    add_question_arguments,
    check_question_arguments,
    first_rows,
    load_answering_model,
    longest_response,
    own_rows,
    valid_rows,
)
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from ..eval_tasks.benchmark import Benchmark
    from ..eval_tasks.diagnosis.answering import Answers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    add_question_arguments(parser)
    parser.add_argument(
        "--controls", metavar="NAMES", help=f"comma-separated (default: all), of: {', '.join(CONTROLS)}"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=100 * MARGIN,
        help="points of accuracy; smaller effects count as none (default: %(default)g)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (noise, whose latents are swapped)")
    parser.add_argument("--device", help="where to run (default: the first GPU if there is one, else cpu)")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="new folder for diagnosis.json, answers.jsonl and the page index.html (default: print tables only)",
    )

    parser.add_argument(
        "--eval-results",
        metavar="DIR",
        help="also put the verdict into this model folder, where its card shows it",
    )


def run(args: argparse.Namespace) -> None:
    """Answer the tasks' rows under every control, print tables, and write JSON, answers and page to `--output`."""
    controls = choose_controls(args.controls)
    tasks = check_question_arguments(args)
    if not 0 < args.margin < 100:
        raise InputError(f"--margin must be between 0 and 100 points, got {args.margin:g}")
    output = new_folder(args.output) if args.output else None
    if args.eval_results and not (Path(args.eval_results) / "config.json").is_file():
        raise InputError(f"--eval-results {args.eval_results} holds no model: name the folder of a saved model")
    check_model(args.model, revision=args.revision)
    # A file of the user's own is looked through before the model is loaded: it is read in a moment, and may be wrong.
    own = {}
    if args.dataset:
        own[args.dataset] = valid_rows(_add_imagery(own_rows(args), Path(args.dataset)), args)

    from ..eval_tasks.diagnosis.diagnosis import diagnose
    from ..eval_tasks.diagnosis.tables import format_diagnosis
    from ..eval_tasks.journal import open_journal

    # The model before the rows: it fails within seconds, while a benchmark's first use may render or download it.
    model, processor = load_answering_model(args.model, choose_device(args.device), args.dtype, args.revision)
    journal = open_journal(model, processor, {"diagnosis": 1})
    results = {}
    for task in own or tasks:
        benchmark = None if own else find_benchmark(task)
        rows = _benchmark_rows(benchmark, args) if benchmark else own[task]
        length = longest_response(args, benchmark)
        settings = (controls, args.batch_size, length, args.margin / 100, args.seed)
        diagnosis, answers = diagnose(
            model, processor, rows, *settings, benchmark=benchmark, journal=journal, reading=args.reading
        )
        diagnosis["settings"] = {"dtype": dtype_name(model), "max_new_tokens": length, **describe_origin(model)}
        print(format_diagnosis(diagnosis, title=f"{task}: {args.model}"), end="\n\n")
        results[task] = (diagnosis, answers, rows)
    if output:
        _write(output, args, results)
    if args.eval_results:
        _write_verdict(args, results)


def progress(args: argparse.Namespace) -> str:
    """What an interrupted run goes on from."""
    return "finished answers under controls are kept"


def _benchmark_rows(benchmark: "Benchmark", args: argparse.Namespace) -> "Dataset":
    rows = first_rows(benchmark_rows(benchmark), args)
    return rows if benchmark.has_videos else valid_rows(_add_imagery(rows, find_data(benchmark)), args)


def _add_imagery(rows: "Dataset", folder: Path) -> "Dataset":
    """The rows with the imagery that the supervised rows of their folder have under the same ids."""
    from ..modeling.dataset_files import keep_videos_encoded

    if "imagery" in rows.column_names or not (folder / "dift").is_dir():
        return rows
    try:
        pictured = keep_videos_encoded(load_rows(str(folder), "dift", "test"))
    except InputError:  # no held-out rows
        return rows
    place_of = {name: place for place, name in enumerate(pictured["id"])}
    places = [place_of.get(name) for name in keep_videos_encoded(rows)["id"]]
    for name in ("imagery", "imagery_masks"):
        if name in pictured.column_names:
            images = pictured[name]
            column = [None if place is None else images[place] for place in places]
            rows = rows.add_column(name, column, feature=pictured.features[name])
    return rows


def _write(folder: Path, args: argparse.Namespace, results: "Mapping[str, tuple[dict, Answers, Dataset]]") -> None:
    from ..eval_tasks.diagnosis.page import write_page
    from ..modeling.atomic import atomic_dir

    found = {
        "model": str(args.model),
        "settings": _settings(args),
        "tasks": {task: one[0] for task, one in results.items()},
    }
    with atomic_dir(folder) as unfinished:
        (unfinished / "diagnosis.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        lines = [line for task, (_, answers, rows) in results.items() for line in _answer_lines(task, answers, rows)]
        (unfinished / "answers.jsonl").write_text("".join(lines), encoding="utf-8")
        write_page(unfinished / "index.html", str(args.model), results)
    print(f"wrote {folder / 'index.html'}, diagnosis.json and answers.jsonl")


def _write_verdict(args: argparse.Namespace, results: "Mapping[str, tuple[dict, Answers, Dataset]]") -> None:
    from ..hub_cards import write_model_card
    from ..hub_cards.diagnosis import store_diagnosis

    path = store_diagnosis(args.eval_results, {task: one[0] for task, one in results.items()}, _settings(args))
    print(f"wrote {path} and {write_model_card(args.eval_results, draw=False)}")


def _settings(args: argparse.Namespace) -> dict:
    names = ("batch_size", "limit", "margin", "reading", "seed", "on_bad_row")
    return {"decoding": "greedy", **{name: getattr(args, name) for name in names}}


def _answer_lines(task: str, answers: "Answers", rows: "Dataset") -> Iterator[str]:
    """One JSON line a row: its key, and the response under each control."""
    for place, row in enumerate(rows.select_columns(["id", "answer"])):
        responses = {name: given[place] for name, given in answers.responses.items()}
        yield json.dumps({"task": task, **row, "responses": responses}, ensure_ascii=False) + "\n"
