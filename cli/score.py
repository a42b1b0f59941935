"""`fourdthinker score`: score answers that were made elsewhere, by the readers of the benchmarks."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from ..modeling.records import RECORD_KINDS
from .report_arguments import add_report_arguments, check_report_arguments, write_reports

if TYPE_CHECKING:
    from ..eval_tasks.benchmark import Benchmark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "answers",
        metavar="FILE.jsonl",
        help="answers: lines with `id` and `response` (null where it was not asked), a JSON list of such, or "
        "a sample file of lmms-eval",
    )
    questions = parser.add_mutually_exclusive_group()
    questions.add_argument(
        "--task",
        metavar="NAME",
        help="benchmark whose questions were answered (default: `task`, `options` and `answer` in the lines)",
    )
    questions.add_argument("--dataset", metavar="PATH", help=f"questions of your own instead: a {RECORD_KINDS} file")
    parser.add_argument("--limit", type=int, help="the answers are to the first LIMIT questions")
    parser.add_argument("--against", metavar="FILE.jsonl", help="answers of another run, to compare in pairs")
    parser.add_argument(
        "--blind",
        metavar="FILE.jsonl",
        help="answers of the same model without the video: the report then says how many points the video is worth",
    )
    add_report_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Score the answers, print the report, and write it where the options say."""
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    check_report_arguments(args)
    from ..eval_tasks.report.build import build_report, compare_runs, data_hash, library_versions, report_controls
    from ..eval_tasks.report.table import format_difference, format_report
    from ..eval_tasks.tasks import find_benchmark

    benchmark = find_benchmark(args.task) if args.task else None
    questions = _questions(args, benchmark)
    name = args.task or args.dataset or "answers"
    answered = {path: _answered(path, questions, args.limit) for path in _files(args)}
    own = answered[args.answers]
    rule = benchmark.rule if benchmark else None
    summaries = benchmark.summaries if benchmark else None
    compared = [path for path in (args.answers, args.against) if path]
    runs = {path: build_report(answered[path], rule, args.skip_missing, summaries) for path in compared}
    report = runs[args.answers]
    if args.blind:
        report["controls"] = report_controls(own, {"video none": answered[args.blind]}, args.skip_missing)
    report["data"] = {"rows": len(own), "sha256": data_hash(own)}
    for path, one in runs.items():
        print(format_report(one, title=f"{name}: {path}"), end="\n\n")
    if args.against:
        report["against"] = {args.against: compare_runs(own, answered[args.against], args.skip_missing)}
        print(format_difference(report["against"][args.against], args.answers, args.against))
    write_reports(args, {name: runs}, {"answers": args.answers, "versions": library_versions()})


def _files(args: argparse.Namespace) -> list[str]:
    return [path for path in (args.answers, args.against, args.blind) if path]


def _questions(args: argparse.Namespace, benchmark: "Benchmark | None") -> list[dict] | None:
    """The questions that were answered; `None` if the answers bring them."""
    if benchmark is None and args.dataset is None:
        return None
    from ..eval_tasks.report.build import question_rows
    from ..eval_tasks.tasks import benchmark_rows
    from .training_run import load_rows

    rows = benchmark_rows(benchmark, need_videos=False) if benchmark else load_rows(args.dataset, "grpo", "test")
    return question_rows(rows.select(range(min(args.limit or len(rows), len(rows)))))


def _answered(path: str, questions: Sequence[dict] | None, limit: int | None) -> list[dict]:
    from ..eval_tasks.report.answer_files import join_answers, own_questions, read_answers

    answers = read_answers(Path(path))
    if questions is None:
        return own_questions(answers[:limit])
    rows = join_answers(questions, answers)
    if unanswered := len(rows) - len(answers):
        first = {str(row["id"]) for row in rows[: len(answers)]} | set(range(len(answers)))
        limited = all(answer.row in first for answer in answers)
        print(
            f"{path}: {unanswered} of {len(rows)} questions have no answer there and count as missing"
            + (f"; if its run was limited, give --limit {len(answers)}" if limited else ""),
            file=sys.stderr,
        )
    return rows
