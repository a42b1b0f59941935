"""Best of n: score reasoning paths by the ST-reward, and select the best of each row above a threshold.

MLLM-4D makes the rows of its cold start so: three paths a row, and for each kind of question a threshold, the mean of
the best rewards. Its text keeps a row's best path, as is done here; the algorithm that it prints keeps all that reach
the threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...eval_tasks.scores import align_table
from ...modeling.errors import InputError
from ...modeling.tokens import IMAGERY_MARK
from ..rewards.parsing import well_formed_reasoning
from ..rewards.spatiotemporal import CENTER_COLUMNS, spatiotemporal_reward

# What a reward reads of a row.
SCORED_COLUMNS = ("answer", "options", *CENTER_COLUMNS)
_ROUNDING = 1e-9  # or a mean of equal rewards could lie above all of them


@dataclass(frozen=True)
class ScoredRow:
    """A row's paths, scored.

    Attributes:
        task (`str`): Kind of question.
        rewards (`list[float]`): One a path.
        best (`str`, *optional*): The path with the highest reward of those that can be trained on.
        best_reward (`float`): Its reward; 0 without one.
    """

    task: str
    rewards: list[float]
    best: str | None
    best_reward: float

    def reaches(self, threshold: float) -> bool:
        """Whether the best path is worth keeping; one that earns nothing never is."""
        return self.best is not None and 0 < self.best_reward and self.best_reward >= threshold - _ROUNDING


def score_paths(row: Mapping, paths: Sequence[str], center_scale: str = "metric") -> ScoredRow:
    """Score the paths of a row by [`spatiotemporal_reward`].

    Args:
        row (`Mapping`): Columns `task`, `answer`, `options`, `camera_centers` and `object_centers`.
        paths (`Sequence[str]`): Responses, at least one.
        center_scale (`str`, *optional*, defaults to `"metric"`): As the reward takes it.

    Raises:
        InputError: If the row has no answer to compare with.
    """
    columns = {name: [row[name]] * len(paths) for name in SCORED_COLUMNS}
    scores = spatiotemporal_reward(paths, **columns, center_scale=center_scale)
    rewards = [reward for reward in scores if reward is not None]
    if len(rewards) < len(paths):
        raise InputError(f"row {row.get('id', '?')} has no answer to score its paths by")
    usable = [(reward, path) for reward, path in zip(rewards, paths, strict=True) if is_trainable(path)]
    best_reward, best = max(usable, key=lambda pair: pair[0], default=(0.0, None))
    return ScoredRow(row["task"], rewards, best, best_reward)


def is_trainable(path: str) -> bool:
    """Whether a path has the agreed format, and in it neither imagery nor any token that is no word."""
    return well_formed_reasoning(path) is not None and IMAGERY_MARK not in path and "<|" not in path


def resolve_thresholds(scored: Sequence[ScoredRow], overrides: Mapping[str | None, float]) -> dict[str, float]:
    """The threshold of each kind of question: as given for it, or for all (`None`), or the mean of its best rewards.

    Raises:
        InputError: If one is given for a kind that no row has.
    """
    tasks = sorted({row.task for row in scored})
    unknown = [task for task in overrides if task is not None and task not in tasks]
    if unknown:
        raise InputError(f"a threshold is given for {unknown[0]!r}, but the rows are of {', '.join(tasks)}")
    settled = {}
    for task in tasks:
        best = [row.best_reward for row in scored if row.task == task]
        settled[task] = overrides.get(task, overrides.get(None, sum(best) / len(best)))
    return settled


def explain_empty_choice(scored: Sequence[ScoredRow], sampled: bool) -> str:
    """Why no row was kept, and what to do about it.

    Args:
        scored (`Sequence[ScoredRow]`): The rows, none of which reaches its threshold.
        sampled (`bool`): Whether a model was asked for the paths, or a file gave them.
    """
    if any(row.best is not None for row in scored):
        return "no path reaches its threshold, so nothing was written: lower it with --threshold"
    remedy = "give paths of that form"
    if sampled:
        remedy = "train the model for longer on rows of mllm4d_cold_start, or allow longer paths with --max-new-tokens"
    return f"no path is of the form <think>…</think><answer>…</answer>, so nothing was written: {remedy}"


def format_choice(scored: Sequence[ScoredRow], thresholds: Mapping[str, float]) -> str:
    """A table: for each kind and for all, rows, rows kept, threshold, mean reward of all paths and of the best."""
    table = [("type", "rows", "kept", "threshold", "mean reward", "mean best")]
    for task in (*thresholds, None):
        rows = [row for row in scored if task in (None, row.task)]
        rewards = [reward for row in rows for reward in row.rewards]
        table.append(
            (
                task or "all",
                str(len(rows)),
                str(sum(row.reaches(thresholds[row.task]) for row in rows)),
                "" if task is None else f"{thresholds[task]:.3f}",
                f"{sum(rewards) / len(rewards):.3f}",
                f"{sum(row.best_reward for row in rows) / len(rows):.3f}",
            )
        )
    return "\n".join(align_table(table))
