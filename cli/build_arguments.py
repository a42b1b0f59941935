"""Arguments of `build-data`."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset_builders.mask_models.checkpoints import KINDS
from ..dataset_builders.pipeline.settings import (
    ALL_VIDEOS,
    FORMATS,
    OBJECT_SOURCES,
    QUESTION_FAMILIES,
    STAGES,
    TOKEN_PIXELS,
)
from ..dataset_builders.pipeline.worker_pool import TIME_LIMIT
from ..modeling.errors import InputError, first_line
from .check_data import add_gate_arguments
from .engine_arguments import LOCAL, add_engine_arguments, check_engine
from .input_checks import check_seed
from .question_families import FUTURE, MLLM4D, MOTION, PLACES, SPACE, read_families
from .writer_arguments import TEMPLATE, add_writer_arguments, check_writer

if TYPE_CHECKING:
    from ..dataset_builders.pipeline.stage_tasks import Video

WORLD = "world"
WORLD_QUESTIONS = 100
_A_DAY = 86400  # seconds
_FRAMES = 8
_BACKBONE = next(iter(TOKEN_PIXELS))
# Options that the rendered world does not take: their defaults, and why.
_OF_VIDEOS = {
    "stage": (STAGES[-1], "has no stages"),
    "frames": (_FRAMES, "has clips of eight frames"),
    "time_limit": (TIME_LIMIT, "has no videos that could hang"),
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
    parser.add_argument(
        "--frames", type=int, default=_FRAMES, help="frames in a row, of videos (default: %(default)s)"
    )
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


def check_arguments(args: argparse.Namespace) -> "list[Video]":
    """Check the options.

    Returns:
        `list[Video]`: What there is to build from, if that is not the rendered world.

    Raises:
        InputError: Naming the option, or if there is no video.
    """
    for name in ("clips", "grpo_clips", "held_out", "workers", "preview"):
        least = 0 if name == "held_out" and args.source != WORLD else 1
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
    if not 0 < args.time_limit <= _A_DAY:
        raise InputError(f"--time-limit must be positive and at most a day ({_A_DAY}), got {args.time_limit:g}")
    if args.answer != "letter" and args.source != WORLD:
        raise InputError("--answer goes with --source world: rows of videos answer with the letter and its text")
    families = read_families(args.questions)
    if args.answer != "letter" and "dsr" in families:
        raise InputError("--answer text does not go with --questions dsr, which end with the letter and its text")
    if args.grpo_clips is not None and (args.source != WORLD or args.questions not in (MOTION, FUTURE, PLACES)):
        raise InputError("--grpo-clips goes with --source world: rows of videos serve DIFT and 4DRL alike")
    if args.source == WORLD and args.questions not in CONFIGURATIONS and not set(families) <= set(SPACE):
        raise InputError(
            f"--questions {args.questions} cannot be asked about the rendered world: give {MOTION}, {FUTURE}, "
            f"{PLACES}, or {' and '.join(SPACE)}"
        )
    if args.questions == PLACES and args.source != WORLD:
        raise InputError(f"--questions {PLACES} goes with --source world: of videos ask {FUTURE}")
    if args.records and "dsr" not in families and (args.source != WORLD or args.questions != MLLM4D):
        raise InputError(
            "--records goes with --questions dsr, or mllm4d of the rendered world: it writes their formats"
        )
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


def read_names(path: str | None) -> dict[str, tuple[str, ...]]:
    """The names of objects by video that the file of `--names` holds.

    Raises:
        InputError: If it cannot be read, or holds something else.
    """
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
