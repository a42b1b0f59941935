"""`fourdthinker init`: make a model folder to start from."""

import argparse
import json
import shutil
from pathlib import Path

from ..modeling.errors import InputError
from .input_checks import check_model, check_seed
from .models import add_revision_argument, print_note
from .new_folder import new_folder

_SHIPPED = Path(__file__).parents[1] / "modeling" / "tiny"
TINY_BACKBONE = _SHIPPED / "backbone"  # sees and describes the rendered world; knows no latent block yet
TINY_TRAINED = _SHIPPED / "trained"  # the same after DIFT: answers with imagery
# Beside it: its scores, a held-out clip, the curves of its training.
EVAL_RESULTS, EXAMPLE, TRAINING_PLOT = "eval_results.json", "example.mp4", "training.png"

_PRETRAINING = ("perception_steps", "steps", "clips", "seed")  # settings that the lineage tells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--tiny", action="store_true", help="the 2.2 M parameter backbone that sees the rendered world"
    )
    origin.add_argument(
        "--trained",
        action="store_true",
        help="the tiny backbone after DIFT on the rendered world, with a clip to ask about",
    )
    origin.add_argument(
        "--backbone",
        metavar="PATH",
        help="a Qwen2.5-VL or Qwen3-VL checkpoint, or a published 4DThinker one: a folder or a Hub id",
    )
    add_revision_argument(parser, "--backbone")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write, new or empty")
    parser.add_argument(
        "--retrain",
        action="store_true",
        help="with --tiny: pretrain it instead of copying it: about an hour; resumes after an interruption",
    )
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="with --retrain: optimizer steps of each phase; each starts with a new optimizer (default: as shipped)",
    )
    parser.add_argument(
        "--perception-steps",
        type=int,
        help="with --retrain: steps before these, in which the vision tower learns alone (default: as shipped)",
    )
    parser.add_argument("--clips", type=int, help="with --retrain: rendered clips (default: as the shipped one)")
    parser.add_argument(
        "--seed", type=int, default=0, help="with --retrain: random seed of clips, weights and order (default: 0)"
    )
    parser.add_argument(
        "--latent-size", type=int, help="with --backbone or --tiny: latents in a block (default: its own, or 4)"
    )


def run(args: argparse.Namespace) -> None:
    """Write a folder that every other command takes as a model."""
    from ..modeling.atomic import atomic_dir

    output = new_folder(args.output)
    if args.retrain and not args.tiny:
        raise InputError("--retrain goes with --tiny; another backbone is trained by `fourdthinker dift`")
    for name, owner in (
        ("steps", "retrain"),
        ("perception_steps", "retrain"),
        ("clips", "retrain"),
        ("revision", "backbone"),
    ):
        if getattr(args, name) is not None and not getattr(args, owner):
            raise InputError(f"--{name.replace('_', '-')} goes with --{owner} only")
    if args.latent_size is not None and (args.trained or args.retrain):
        raise InputError(
            "--latent-size goes with --backbone or with --tiny alone: --trained and --retrain have their own number"
        )
    sizes = {"clips": args.clips, "perception-steps": args.perception_steps, "latent-size": args.latent_size}
    for name, size in [*sizes.items(), *(("steps", steps) for steps in args.steps or ())]:
        if size is not None and size < 1:
            raise InputError(f"--{name} must be at least 1, got {size}")
    check_seed(args.seed)  # of each leg it is one more
    if args.backbone:
        remedy = "give a Qwen2.5-VL or Qwen3-VL checkpoint, a folder or a Hub id"
        check_model(args.backbone, remedy, args.revision)
    checkpoints = _checkpoints(output)
    with atomic_dir(output) as folder:
        if args.backbone:
            _convert(args, folder)
        elif args.retrain:
            _retrain(args, folder, checkpoints)
        else:
            _copy_shipped(TINY_TRAINED if args.trained else TINY_BACKBONE, folder, args.latent_size)
        if args.tiny:
            _write_backbone_card(folder, output)
        if args.trained:
            write_trained_card(folder, output)
    if args.retrain:
        shutil.rmtree(checkpoints)
    print(f"model in {output}")


def progress(args: argparse.Namespace) -> str | None:
    """Describe what an interrupted training of the tiny backbone resumes from."""
    checkpoints = _checkpoints(Path(args.output))
    legs = sorted(path.name for path in checkpoints.glob("leg-*")) if args.retrain else []
    return f"{checkpoints} holds {', '.join(legs)}" if legs else None


def _checkpoints(output: Path) -> Path:
    """Beside the output, which appears only when it is complete."""
    return output.with_name(f"{output.name}-checkpoints")


def _copy_shipped(shipped: Path, folder: Path, latent_size: int | None) -> None:
    from ..hub_cards.example_answer import ASSETS
    from ..hub_cards.lineage import LINEAGE
    from ..hub_cards.scores import SCORES
    from ..modeling import load_model
    from ..modeling.file_names import TRAINING_LOG

    # Loaded and saved, not copied: the folder gets today's code files, which do not ship twice.
    model, processor = load_model(shipped, dtype="auto")
    if latent_size is not None:  # which no weight depends on
        model.config.latent_size = latent_size
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for name in (TRAINING_LOG, EVAL_RESULTS, EXAMPLE, LINEAGE, TRAINING_PLOT):
        if (shipped / name).exists():
            shutil.copyfile(shipped / name, folder / name)
    for name in (ASSETS, SCORES):
        if (shipped / name).is_dir():
            shutil.copytree(shipped / name, folder / name)


def _convert(args: argparse.Namespace, folder: Path) -> None:
    from ..modeling import from_backbone

    settings = {"latent_size": args.latent_size, "revision": args.revision}
    model, processor = from_backbone(args.backbone, report=print_note, **settings)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _retrain(args: argparse.Namespace, folder: Path, checkpoints: Path) -> None:
    from ..trainers.pretraining.phases import retrain
    from ..trainers.pretraining.pretraining import PretrainingConfig

    settings = {name: getattr(args, name) for name in _PRETRAINING} | {"steps": args.steps and tuple(args.steps)}
    config = PretrainingConfig(**{name: value for name, value in settings.items() if value is not None})
    shutil.copytree(retrain(config, checkpoints), folder, dirs_exist_ok=True)


def _write_backbone_card(folder: Path, place: Path) -> None:
    """Describe the tiny backbone in `folder`, which will be found at `place`."""
    from ..hub_cards import write_model_card
    from ..hub_cards.lineage import Material, Stage, write_lineage
    from ..modeling.file_names import TRAINING_LOG

    log = json.loads((folder / TRAINING_LOG).read_text(encoding="utf-8"))
    data = Material(
        "the rendered world", None, ["apache-2.0"], description="clips with dense captions, and options read from text"
    )
    settings = {"tiny": True, "retrain": True, **{name: log["config"][name] for name in _PRETRAINING}}
    write_lineage(folder, [Stage("pretraining", data=[data], settings=settings, steps=sum(log["config"]["steps"]))])
    write_model_card(folder, repo_id=str(place), draw=False)


def write_trained_card(folder: Path, place: Path) -> None:
    """Describe the trained tiny model in `folder`, which will be found at `place`, by its records and its scores."""
    from ..hub_cards import write_model_card

    write_model_card(folder, repo_id=str(place), license="apache-2.0")
