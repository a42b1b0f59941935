"""Plot a training run from its log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.atomic import atomic_path

if TYPE_CHECKING:  # it takes a second to import, which a command should not take before its first line
    from matplotlib.figure import Figure

TRAINING_PLOT = "training.png"
# A panel: its heading, and the logged names that it draws, of which a run has some.
_PANELS = (
    ("loss", ("loss", "ce_loss", "sim_loss", "eval_loss")),
    ("cosine of latents with their targets", tuple(f"cosine_{index}" for index in range(1, 17))),
    ("length of latents over that of their targets", ("norm_ratio",)),
    (
        "shares: of tokens, rows and blocks",
        ("mean_token_accuracy", "eval_accuracy", "eval_rows_with_blocks", "eval_whole_blocks"),
    ),
    ("reward", ("reward", "rewards/accuracy_reward/mean", "rewards/format_reward/mean")),
    (
        "latent blocks",
        ("latents/blocks_per_completion", "latents/completions_with_blocks", "latents/whole_blocks"),
    ),
    ("shares: of completions and groups", ("completions/clipped_ratio", "frac_reward_zero_std")),
    ("entropy and KL of the text", ("entropy", "kl")),
    ("seconds of a step", ("step_time", "rollout_seconds", "scoring_seconds")),
    ("tokens a second", ("tokens_per_second",)),
    ("learning rate", ("learning_rate",)),
)
_COLUMNS = 2
# Inches. Laying panels out by the size of their texts would take as long again as drawing them, after every run.
_PANEL = (4.7, 1.95)
_BETWEEN = (0.75, 0.85)  # for the numbers at the axis, and for the step and the next heading
_MARGIN = 0.1


def write_training_plot(log_history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw what a trainer logged against its steps, one panel for each kind of number.

    Args:
        log_history (`Sequence[Mapping]`): `trainer.state.log_history`.
        path (`Path`): The PNG to write. If nothing was logged at two steps, none is written and an earlier one is
            removed.
    """
    panels = [(heading, names, found) for heading, names in _PANELS if (found := _curves(log_history, names))]
    if not any(len(steps) > 1 for _, _, curves in panels for steps, _ in curves.values()):
        path.unlink(missing_ok=True)
        return
    figure = _make_panels(-(-len(panels) // _COLUMNS))
    for axis, (heading, names, curves) in zip(figure.axes, panels, strict=False):
        for name, (steps, values) in curves.items():
            axis.plot(steps, values, label=_readable(name), marker="o" if len(steps) < 20 else None, markersize=3)
        axis.set_title(heading, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if len(names) > 1:  # whichever of them there are, the heading names none
            axis.legend(fontsize=8)
    for axis in figure.axes[len(panels) :]:
        axis.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _make_panels(rows: int) -> "Figure":
    """A figure of empty panels against steps."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    width, height = ((size + gap) * count for size, gap, count in zip(_PANEL, _BETWEEN, (_COLUMNS, rows), strict=True))
    width, height = width + 2 * _MARGIN, height + 2 * _MARGIN
    figure = Figure(figsize=(width, height))
    for axis in figure.subplots(rows, _COLUMNS).flat:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.subplots_adjust(
        left=(_MARGIN + _BETWEEN[0]) / width,
        right=1 - _MARGIN / width,
        bottom=(_MARGIN + 0.6 * _BETWEEN[1]) / height,
        top=1 - (_MARGIN + 0.4 * _BETWEEN[1]) / height,
        wspace=_BETWEEN[0] / _PANEL[0],
        hspace=_BETWEEN[1] / _PANEL[1],
    )
    return figure


def _curves(
    log_history: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, tuple[list[int], list[float]]]:
    """For each of these names that was logged its steps and values."""
    curves = {}
    for name in names:
        points = [(entry["step"], entry[name]) for entry in log_history if name in entry]
        if points:
            steps, values = zip(*points, strict=True)
            curves[name] = (list(steps), list(values))
    return curves


def _readable(name: str) -> str:
    return (
        name.removeprefix("rewards/")
        .removesuffix("/mean")
        .removeprefix("latents/")
        .removeprefix("completions/")
        .replace("_", " ")
    )
