"""`fourdthinker build-data`: build rows of 4D reasoning from a folder of videos or from the rendered world."""

import argparse
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset_builders.mask_models.checkpoints import KINDS, find_checkpoint
from ..dataset_builders.pipeline.settings import (
    ALL_VIDEOS,
    FORMATS,
    OBJECT_SOURCES,
    QUESTION_FAMILIES,
    STAGES,
    TOKEN_PIXELS,
)
from ..dataset_builders.pipeline.worker_pool import TIME_LIMIT
from ..modeling.errors import InputError, count_noun, first_line
from .check_data import add_gate_arguments, check_gate_packages, run_gates
from .dataset_record import finish_card
from .engine_arguments import LOCAL, add_engine_arguments, check_engine
from .input_checks import check_seed
from .new_folder import new_folder
from .question_families import FUTURE, MLLM4D, MOTION, PLACES, SPACE, read_families, write_dsr_split
from .writer_arguments import TEMPLATE, add_writer_arguments, check_writer, describe_writing, read_writer

if TYPE_CHECKING:
    from ..dataset_builders.fourd_cot import WorldQuestions, Written
    from ..dataset_builders.model_files import ModelFiles
    from ..dataset_builders.pipeline.stage_tasks import Video
    from ..dataset_builders.pipeline.video_dataset import BuildReport

WORLD = "world"
WORLD_QUESTIONS = 100
_WORLD_NAME = "the rendered world"
_A_DAY = 86400  # seconds
_CODES = 6  # that are printed with an example
_BACKBONE = next(iter(TOKEN_PIXELS))
# Options that the rendered world does not take: their defaults, and why.
_OF_VIDEOS = {
    "stage": (STAGES[-1], "has no stages"),
    "objects": (OBJECT_SOURCES[0], "knows its objects"),
    "objects_model": (None, "knows its objects"),
    "names": (None, "knows its objects"),
    "backbone": (_BACKBONE, "has frames of 56 x 56 pixels"),
    "license": (None, "has a licence of its own"),
    "depth": (None, "knows its depth"),
    "format": ("auto", "has a layout of its own"),
    "fps": (None, "has times of its own"),
    "writer": (TEMPLATE, "has words of its own"),
    "engine": (LOCAL, "is made by processes of this machine"),
}
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
_NAMES = 'one object such as {"walk.mp4": "brown dog"}'
# What a folder of either kind of question holds.
CONFIGURATIONS = {
    MOTION: ("dift", "grpo"),
    FUTURE: ("dift", "grpo"),
    PLACES: ("dift", "grpo"),
    MLLM4D: ("mllm4d_sft", "mllm4d_cold_start", "mllm4d_grpo"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--source",
        required=True,
        metavar="FOLDER|world",
        help="folder of video files, or `world` for rendered scenes (write ./world for a folder of that name)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder to write, new or empty; the same command goes on with a build from videos that was cut off",
    )
    parser.add_argument("--frames", type=int, default=8, help="frames in a row, of videos (default: 8)")
    parser.add_argument(
        "--clips",
        type=int,
        help="videos: stop after this many with questions (default: all); world: training questions of each task"
        f" (default: {WORLD_QUESTIONS})",
    )
    parser.add_argument(
        "--grpo-clips", type=int, help="world: training questions of each task for 4DRL (default: as many as --clips)"
    )
    parser.add_argument(
        "--held-out",
        type=int,
        help="videos: how many of each hundred videos, with all their rows, are the split `test` (default: 0); world: "
        "test questions of each task (default: a quarter of the training ones)",
    )
    parser.add_argument(
        "--questions",
        metavar="FAMILIES",
        default=MOTION,
        help=f"what to ask, separated by commas: {', '.join(QUESTION_FAMILIES)}. motion (default) is camera,object. "
        "mllm4d asks where camera and objects are, for MLLM-4D's three stages; dsr how distances, directions and "
        "speeds change, as DSR-Bench does: both take depth of videos. future asks what comes after a cut, with later "
        "frames as imagery. The rendered world also has places: in which part of the image an object will be. It "
        "mixes mllm4d and dsr alone, and with dsr --clips counts rendered clips",
    )
    parser.add_argument(
        "--depth",
        metavar="MODEL",
        help="videos: guess depth in metres by a model of transformers (folder or Hub name), for clips that come "
        "without depth; the metre of the camera's path is taken from it",
    )
    parser.add_argument(
        "--answer",
        choices=("letter", "text"),
        default="letter",
        help="world: end responses with `B. Pan Right` or with `Pan Right` (default: letter)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of wording, options and scenes (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes or threads to use (default: 1)")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="videos: longest time for one clip in one stage; the clip is left out after it"
        f" (default: {TIME_LIMIT:g})",
    )
    parser.add_argument(
        "--stage",
        choices=STAGES,
        default=STAGES[-1],
        help="videos: end after this stage, having run the earlier ones where they are out of date (default: rows)",
    )
    parser.add_argument(
        "--objects",
        choices=OBJECT_SOURCES,
        default="flow",
        help="videos: where moving objects come from: optical flow (default); SAM 3, which looks for what --names "
        "says; SAM 2, EdgeTAM or SAM 3's tracker, which follow what flow has found; mask files beside videos; none",
    )
    parser.add_argument(
        "--objects-model",
        metavar="FOLDER|ID",
        help="videos: weights of the model that --objects names, a folder or a name on the Hub (default: "
        + ", ".join(f"{kind.checkpoint} for {name}" for name, kind in KINDS.items())
        + ")",
    )
    parser.add_argument(
        "--names",
        metavar="FILE",
        help='videos: JSON file that says what the moving object is called: {"walk.mp4": "brown dog"}; for SAM 3 what '
        'to look for, several names in a list; "*" stands for all other videos',
    )
    parser.add_argument(
        "--records",
        action="store_true",
        help="world, with --questions mllm4d: write the test questions to OUTPUT/records as well, in MLLM-4D's own "
        "format with their videos, which the task mllm4d_bench reads; with --questions dsr: those, or without a split "
        "`test` all, to OUTPUT/dsr in DSR-Bench's format, which the task dsr_bench reads",
    )
    parser.add_argument(
        "--backbone",
        choices=tuple(TOKEN_PIXELS),
        default=_BACKBONE,
        help="videos: kind of model to train; frames, and places in reasoning, are in its pixels: sides are multiples "
        "of 28 (qwen2_5_vl, default) or 32 (qwen3_vl)",
    )
    parser.add_argument(
        "--license",
        "--licence",
        metavar="ID",
        help="videos: Hub id of their licence, such as cc-by-4.0, for the card (default: the sources' terms apply)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="videos: whose poses, depth and masks to import; auto (default) takes every layout that it finds, and "
        "trajectories beside clips (clip.tum, clip.kitti, clip.euroc.csv)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        metavar="N",
        help="videos: pictures a second of layouts without times (megasam, colmap)",
    )
    add_writer_arguments(parser)
    add_engine_arguments(parser)
    add_gate_arguments(parser)
    parser.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="write preview/index.html as well: N of the rows with their frames, masks, curves and texts, and which "
        "clips were left out",
    )


def run(args: argparse.Namespace) -> int:
    """Write a folder that `load_dataset` reads, say what is in it and what was left out, and test the rows."""
    videos = _check(args)
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
    if args.records and args.questions == MLLM4D and args.source == WORLD:
        print(f"for the task mllm4d_bench: MLLM4D_BENCH_ROOT={output / 'records'}")
    elif args.records and written:
        print(f"for the task dsr_bench: DSR_BENCH_ROOT={write_dsr_split(output, written)}")
    if written:
        name, description = _describe(args)
        finish_card(output, args, add_arguments, name, description)
    code = run_gates(output, args.allow_failed_gates) if written else 0
    if args.preview is not None:
        print(f"preview: {_write_preview(output, args.preview)}")
    return code


def progress(args: argparse.Namespace) -> str | None:
    """What an interrupted command goes on from, if anything."""
    return None if args.source == WORLD else f"what the stages have made is kept in {args.output}"


def _check(args: argparse.Namespace) -> "list[Video]":
    """Check the options.

    Returns:
        `list[Video]`: What there is to build from, if that is not the rendered world.
    """
    for name in ("clips", "grpo_clips", "held_out", "workers", "preview"):
        least = 0 if name == "held_out" and args.source != WORLD else 1
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
    if not 0 < args.time_limit <= _A_DAY:
        raise InputError(f"--time-limit must be positive and at most a day ({_A_DAY}), got {args.time_limit:g}")
    if args.answer != "letter" and args.source != WORLD:
        raise InputError("--answer goes with --source world: rows of videos answer with the letter and its text")
    if args.grpo_clips is not None and (args.source != WORLD or args.questions not in (MOTION, FUTURE, PLACES)):
        raise InputError("--grpo-clips goes with --source world: rows of videos serve DIFT and 4DRL alike")
    families = read_families(args.questions)
    if args.source == WORLD and args.questions not in CONFIGURATIONS and not set(families) <= set(SPACE):
        raise InputError(
            f"--questions {args.questions} cannot be asked about the rendered world: give {MOTION}, {FUTURE}, "
            f"{PLACES}, or {' and '.join(SPACE)}"
        )
    if args.questions == PLACES and args.source != WORLD:
        raise InputError(f"--questions {PLACES} goes with --source world: of videos ask {FUTURE}")
    if args.records and not set(families) & set(SPACE):
        raise InputError("--records goes with --questions mllm4d (world) or dsr, whose format it writes")
    check_seed(args.seed)  # COLMAP takes 32 bits
    check_writer(args)
    check_engine(args)
    if args.source == WORLD:
        for name, (default, why) in _OF_VIDEOS.items():
            if getattr(args, name) != default:
                raise InputError(f"--{name.replace('_', '-')} goes with videos: the rendered world {why}")
        return []
    if args.preview is not None and args.stage != STAGES[-1]:
        raise InputError(f"--preview shows rows, which --stage {args.stage} does not make: leave one of the two out")
    if args.frames < 2:
        raise InputError(f"a row of {args.frames} frames shows no motion; ask for at least 2")
    if args.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", args.license):
        raise InputError(f"--license takes the Hub id of a licence, such as cc-by-4.0 or other, got {args.license!r}")
    if args.objects_model is not None and args.objects not in KINDS:
        raise InputError(f"--objects-model goes with --objects {', '.join(KINDS)}: {args.objects} uses no weights")
    if args.objects in KINDS and KINDS[args.objects].finds_names and args.names is None:
        raise InputError(
            f"--objects {args.objects} looks for things by name: give --names a file such as "
            f'{{"{ALL_VIDEOS}": ["person", "dog"]}}'
        )
    if args.held_out is not None and args.held_out > 99:
        raise InputError(f"--held-out takes at most 99 of each hundred videos, got {args.held_out}")
    if args.fps is not None and not 0 < args.fps <= 1000:
        raise InputError(f"--fps must be positive and at most 1000, got {args.fps:g}")
    from ..dataset_builders.pipeline.stage_runner import list_videos

    return list_videos(Path(args.source), args.format, args.fps)


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
        names=_read_names(args.names),
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


def _read_names(path: str | None) -> dict[str, tuple[str, ...]]:
    from ..dataset_builders.questions.object_questions import check_name

    if path is None:
        return {}
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--names {path} cannot be read ({first_line(error)}): name a file that holds {_NAMES}, as JSON"
        ) from error
    found: dict[str, Any] = stored if isinstance(stored, dict) else {"": None}
    lists = {video: [names] if isinstance(names, str) else names for video, names in found.items()}
    if not all(names and isinstance(names, list) and all(map(_is_text, names)) for names in lists.values()):
        raise InputError(f"--names {path} must hold {_NAMES}")
    return {video: tuple(check_name(name) for name in names) for video, names in lists.items()}


def _is_text(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip())


def write_card(
    source: str, license: str | Sequence[str] | None, written: "Written", description: str | None = None
) -> str:
    """The text of a dataset's card."""
    from ..hub_cards import dataset_card

    card = dataset_card(
        written.files, written.counts, description, license, sources=[source], contents=written.contents
    )
    return str(card)
