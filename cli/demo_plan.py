"""The stages of `fourdthinker demo`, and about how long each takes."""

import argparse
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .training_progress import format_seconds

DEFAULT_SIZES = {"questions": 2400, "held_out": 320, "steps_scale": 1.0}
_RETRAIN_SECONDS = 3600.0
# Small operations gain little from a second thread: two commands with one each take less time than one by one.
TOGETHER = (
    ("text_only", "dift"),
    ("backbone-own", "text_only-own"),
    ("dift-own", "dift-zero"),
    ("grpo-own", "lmms_eval"),
)


class Stage(NamedTuple):
    """What is done, and about how long it takes on two cores, beside the other one where two run together.

    Attributes:
        title (`str`): What is printed before it starts.
        seconds (`float`): At the default sizes.
        fixed (`float`): How many of them remain at any size.
        size (`str`, *optional*): The argument of the command that the rest grows with.
    """

    title: str
    seconds: float
    fixed: float
    size: str | None = None


STAGES = {
    "first_answer": Stage("first answer: the shipped model about a clip rendered now", 16, 16),
    "backbone": Stage("backbone: the untrained model", 7, 7),
    "data": Stage("data: clips, questions and reasoning", 84, 20, "questions"),
    "text_only": Stage("training without imagery, to compare", 225, 12, "steps_scale"),
    "dift": Stage("training with imagery (DIFT)", 300, 12, "steps_scale"),
    "grpo": Stage("reinforcement learning (4DRL)", 70, 15, "steps_scale"),
    "backbone-own": Stage("score before training", 44, 8, "held_out"),
    "text_only-own": Stage("score without imagery", 35, 8, "held_out"),
    "dift-own": Stage("score after DIFT", 27, 8, "held_out"),
    "dift-zero": Stage("score after DIFT with latents zeroed", 27, 8, "held_out"),
    "grpo-own": Stage("score after 4DRL", 30, 8, "held_out"),
    "lmms_eval": Stage("the same score by lmms-eval", 36, 18, "held_out"),
}


def estimate_seconds(args: argparse.Namespace) -> dict[str, float]:
    """About how many seconds each stage takes on two cores; none for those that run a backbone of the user's own."""
    estimates = {}
    for name, stage in STAGES.items():
        share = getattr(args, stage.size) / DEFAULT_SIZES[stage.size] if stage.size else 1.0
        estimates[name] = stage.fixed + (stage.seconds - stage.fixed) * share
    if args.retrain:
        estimates["backbone"] = _RETRAIN_SECONDS
    return {name: estimates[name] for name in ("first_answer", "data")} if args.backbone else estimates


def total_seconds(names: Iterable[str], estimates: Mapping[str, float]) -> float:
    """How long some stages take together, two at a time where they run so."""
    groups: dict[tuple[str, ...], float] = {}
    for name in names:
        group = next((pair for pair in TOGETHER if name in pair), (name,))
        groups[group] = max(groups.get(group, 0.0), estimates[name])
    return sum(groups.values())


def about(seconds: float) -> str:
    """In words, for the terminal."""
    return f"about {format_seconds(seconds)} on two cores"
