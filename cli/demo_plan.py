"""The stages of `fourdthinker demo`, and about how long each takes."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .training_progress import format_seconds

_RETRAIN_SECONDS = 3600.0


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


class Plan(NamedTuple):
    """What a demo does.

    Attributes:
        name (`str`): What its questions are about.
        stages (`Mapping[str, Stage]`): In their order.
        together (`Sequence[tuple[str, ...]]`): Stages that run side by side: small operations gain little from a
            second thread, so that two commands with one each take less time than one by one.
        sizes (`Mapping[str, float]`): Defaults of the arguments that stages grow with.
    """

    name: str
    stages: Mapping[str, Stage]
    together: Sequence[tuple[str, ...]]
    sizes: Mapping[str, float]


_MOTION_STAGES = {
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
_FUTURE_STAGES = {
    "backbone": Stage("backbone: the untrained model, with eight latents in a block", 7, 7),
    "data": Stage("data: clips that end early, and where an object is later", 300, 15, "questions"),
    "text_only": Stage("training without imagery, to compare", 1150, 15, "steps_scale"),
    "bottleneck": Stage("training with imagery, through which answers go", 1550, 15, "steps_scale"),
    "comparison": Stage("score both", 150, 12, "held_out"),
    "diagnosis": Stage("score with the latents replaced", 330, 12, "held_out"),
}
MOTION_PLAN = Plan(
    "motion",
    _MOTION_STAGES,
    (
        ("text_only", "dift"),
        ("backbone-own", "text_only-own"),
        ("dift-own", "dift-zero"),
        ("grpo-own", "lmms_eval"),
    ),
    {"questions": 2400, "held_out": 320, "steps_scale": 1.0},
)
FUTURE_PLAN = Plan(
    "the future",
    _FUTURE_STAGES,
    (("text_only", "bottleneck"), ("comparison", "diagnosis")),
    {"questions": 4000, "held_out": 500, "steps_scale": 1.0},
)


def estimate_seconds(args: argparse.Namespace, plan: Plan) -> dict[str, float]:
    """About how many seconds each stage takes on two cores; none for those that run a backbone of the user's own."""
    estimates = {}
    for name, stage in plan.stages.items():
        share = getattr(args, stage.size) / plan.sizes[stage.size] if stage.size else 1.0
        estimates[name] = stage.fixed + (stage.seconds - stage.fixed) * share
    if args.retrain:
        estimates["backbone"] = _RETRAIN_SECONDS
    return {name: estimates[name] for name in ("first_answer", "data")} if args.backbone else estimates


def total_seconds(plan: Plan, names: Iterable[str], estimates: Mapping[str, float]) -> float:
    """How long some stages of a plan take together, two at a time where they run so."""
    groups: dict[tuple[str, ...], float] = {}
    for name in names:
        group = next((pair for pair in plan.together if name in pair), (name,))
        groups[group] = max(groups.get(group, 0.0), estimates[name])
    return sum(groups.values())


def about(seconds: float) -> str:
    """In words, for the terminal."""
    return f"about {format_seconds(seconds)} on two cores"
