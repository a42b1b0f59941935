"""`fourdthinker build-data`: build rows of 4D reasoning from a folder of videos or from the rendered world."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset_builders.mask_models.checkpoints import KINDS, find_checkpoint
from ..dataset_builders.pipeline.settings import ALL_VIDEOS, STAGES, TOKEN_PIXELS
from ..modeling.errors import InputError, count_noun
from .build_arguments import CONFIGURATIONS, WORLD, WORLD_QUESTIONS, add_arguments, check_arguments, read_names
from .check_data import check_gate_packages, run_gates
from .dataset_record import finish_card
from .new_folder import new_folder
from .question_families import FUTURE, PLACES, read_families, write_dsr_split
from .writer_arguments import TEMPLATE, describe_writing, read_writer

if TYPE_CHECKING:
    from ..dataset_builders.fourd_cot import WorldQuestions, Written
    from ..dataset_builders.model_files import ModelFiles
    from ..dataset_builders.pipeline.stage_tasks import Video
    from ..dataset_builders.pipeline.video_dataset import BuildReport

_WORLD_NAME = "the rendered world"
_CODES = 6  # that are printed with an example
_DESCRIPTION = (
    "Questions about the motion of cameras and objects in videos, whose answers follow from geometry, with reasoning "
    "that imagines frames on the way. Sides of frames are multiples of {pixels} pixels, which the processor of "
    "{backbone} leaves as they are; places in reasoning are in these pixels."
)
_PLACES_DESCRIPTION = (
    "Rendered clips that are cut off, and questions in which of nine parts of the image an object will be 1.5 s "
    "later. The reasoning imagines that later frame, with an overlay on the object. To name the part where the object "
    "was last seen is right in about half of the questions: compare a model with that as well as with chance."
)


def run(args: argparse.Namespace) -> int:
    """Write a folder that `load_dataset` reads, say what is in it and what was left out, and test the rows."""
    videos = check_arguments(args)
    check_gate_packages()
    if args.source == WORLD:
        output = new_folder(args.output)
        written: Written | None = _build_world(args, output)
    else:
        output = _video_output(args.output)
        print(f"{count_noun(len(videos), 'video')} found in {args.source}", flush=True)
        written = _build_videos(args, videos, output)
    for config, splits in (written.counts if written else {}).items():
        for split, rows in splits.items():
            print(f"{config}, {split}: {count_noun(rows, 'row')}")
    print(f"written to {output}")
    if written:
        name, description = _describe(args)
        finish_card(output, args, add_arguments, name, description)
        if args.records:
            print(_write_records(args, output, written))
    code = run_gates(output, args.allow_failed_gates) if written else 0
    if args.preview is not None:
        print(f"preview: {_write_preview(output, args.preview)}")
    return code


def _write_records(args: argparse.Namespace, output: Path, written: "Written") -> str:
    """Write the test questions in the format of a benchmark, where the rendered world has not done so already."""
    if "dsr" not in read_families(args.questions):
        return f"for the task mllm4d_bench: MLLM4D_BENCH_ROOT={output / 'records'}"
    folder = write_dsr_split(output, written)
    if folder is None:
        return "no records for the task dsr_bench: no row asks its questions, which take poses in metres and depth"
    return f"for the task dsr_bench: DSR_BENCH_ROOT={folder}"


def progress(args: argparse.Namespace) -> str | None:
    """What an interrupted command goes on from, if anything."""
    return None if args.source == WORLD else f"what the stages have made is kept in {args.output}"


def _video_output(path: str) -> Path:
    """The folder of a build from videos: a new one, or one that such a build has begun."""
    from ..dataset_builders.pipeline.stage_files import is_build_folder

    output = Path(path)
    return output if is_build_folder(output) else new_folder(path)


def _build_world(args: argparse.Namespace, output: Path) -> "Written":
    from ..dataset_builders.fourd_cot import build_world
    from ..modeling.atomic import atomic_dir

    questions = args.clips or WORLD_QUESTIONS
    with atomic_dir(output) as folder:
        sizes = {"train": questions, "test": args.held_out or max(1, questions // 4)}
        card = partial(write_card, _WORLD_NAME, "apache-2.0")
        families = read_families(args.questions)
        if "dsr" in families:
            from ..dataset_builders.sources.world_space import build_space

            return build_space(folder, sizes, families, args.seed, args.workers, card)
        names = CONFIGURATIONS[args.questions]
        asked: dict[str, WorldQuestions] = {FUTURE: "future", PLACES: "places"}
        written = build_world(
            folder,
            sizes,
            args.seed,
            args.workers,
            args.answer,
            card,
            names,
            args.grpo_clips,
            asked.get(args.questions, "motion"),
        )
        if args.records:
            from ..dataset_builders.sources.mllm4d_records import write_records
            from ..dataset_builders.sources.world_mllm4d import mllm4d_rows

            write_records(folder / "records", mllm4d_rows("test", sizes["test"], "grpo", args.seed, args.workers))
        return written


def _build_videos(args: argparse.Namespace, videos: "Sequence[Video]", output: Path) -> "Written | None":
    from ..dataset_builders.pipeline.settings import BuildSettings
    from ..dataset_builders.pipeline.video_dataset import QUARANTINE, build_from_videos

    source = Path(args.source)
    name, description = _describe(args)
    settings = BuildSettings(
        args.seed,
        args.frames,
        objects=args.objects,
        mask_model=find_checkpoint(args.objects, args.objects_model) if args.objects in KINDS else None,
        names=read_names(args.names),
        backbone=args.backbone,
        licence=args.license,
        questions=read_families(args.questions),
        depth=_find_depth(args.depth),
        writer=read_writer(args),
    )
    known = {ALL_VIDEOS, *(video.source for video in videos)}
    if strangers := [video for video in settings.names if video not in known]:
        raise InputError(
            f"--names {args.names} names {strangers[0]}, which is no video of {source}: write paths below it"
        )
    report = build_from_videos(
        source,
        videos,
        output,
        settings,
        # Without a licence the videos' own terms hold for their frames.
        lambda made, licences: write_card(name, licences or None, made, description),
        workers=args.workers,
        time_limit=args.time_limit,
        last_stage=args.stage,
        clips=args.clips,
        held_out=args.held_out or 0,
        engine=args.engine,
        address=args.address,
    )
    where = output / QUARANTINE
    _print_report(report, where, args.stage)
    if report.writing is not None:
        print("\n".join(describe_writing(report.writing, args.writer_price)))
    if args.stage == STAGES[-1] and report.written is None:
        page = "" if args.preview is None else f", and {_write_preview(output, args.preview)} shows it"
        earlier = ", and the rows of an earlier build stay" if (output / "README.md").is_file() else ""
        raise InputError(f"no clip of {source} gives a row{earlier}: {where} says why{page}")
    return report.written


def _describe(args: argparse.Namespace) -> tuple[str, str | None]:
    """What the rows are made from, and a paragraph about them for the card."""
    from ..dataset_builders.sources.video_files import path_text

    if args.source == WORLD:
        return _WORLD_NAME, _PLACES_DESCRIPTION if args.questions == PLACES else None
    source = Path(args.source)
    description = _DESCRIPTION.format(pixels=TOKEN_PIXELS[args.backbone], backbone=args.backbone)
    if args.writer != TEMPLATE:
        description += f" Names of objects and reasoning are worded by {args.writer_model} and checked against facts."
    return path_text(Path(source.name)) if source.name else "videos", description


def _find_depth(name: str | None) -> "ModelFiles | None":
    from ..dataset_builders.geometry.depth_model import find_depth_model

    return None if name is None else find_depth_model(name)


def _write_preview(output: Path, count: int) -> Path:
    from ..dataset_builders.preview.page import write_preview

    return write_preview(output, count)


def _print_report(report: "BuildReport", where: Path, stage: str) -> None:
    """Counts by code with one example each, in at most ten lines."""
    from ..dataset_builders.clip_error import shorten_reason
    from ..dataset_builders.review.verdicts import REVIEW

    unclear = report.counts.get("unclear", 0)
    if stage in ("questions", "rows"):
        print(
            f"{report.giving} of {report.clips} clips (windows of the videos) gave questions; "
            f"{len(report.faults) - unclear} could not be used, {unclear} show nothing clear enough to ask"
        )
    else:
        print(
            f"stage {stage} is done for {report.clips} clips (windows of the videos); "
            f"{len(report.faults) - unclear} of them could not be used, {unclear} are unclear"
        )
    codes = list(report.counts.items())
    for code, count in codes[:_CODES]:
        example = next(fault for fault in report.faults if fault["code"] == code)
        reason = shorten_reason(example["reason"])
        print(f"  {count} {code}, for example {example['clip']}: {reason}; {example['remedy']}")
    if len(codes) > _CODES:
        print(f"  {sum(count for _, count in codes[_CODES:])} with other codes")
    if report.faults:
        print(f"listed in {where}")
    spans, same = report.agreement
    if spans:
        print(
            f"instructions.json says the same as the geometry of {same} in {count_noun(spans, 'span')}; it is not used"
        )
    if review := report.review:
        print(
            f"review: {count_noun(review.rows, 'question')} and {count_noun(review.overlays, 'overlay')} left out, "
            f"{count_noun(review.renamed, 'name')} corrected ({where.parent / REVIEW})"
        )


def write_card(
    source: str, license: str | Sequence[str] | None, written: "Written", description: str | None = None
) -> str:
    """The text of a dataset's card."""
    from ..hub_cards import dataset_card

    card = dataset_card(
        written.files, written.counts, description, license, sources=[source], contents=written.contents
    )
    return str(card)
