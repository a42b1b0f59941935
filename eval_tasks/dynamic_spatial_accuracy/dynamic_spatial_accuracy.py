"""A module of the library `evaluate`: accuracy on multiple-choice questions about videos, by `fourdthinker`'s scores.

evaluate.load("eval_tasks/dynamic_spatial_accuracy").compute(
    predictions=["The answer is B."], references=["B"], options=[["left", "right"]]
)
"""

# The loader of `evaluate` reads import lines by a pattern that takes one name a line.
import datasets
import evaluate

from fourdthinker.eval_tasks.scores import score

_DESCRIPTION = "Share of responses that choose the right option, the answer read from free text; with its interval."
_INPUTS = """
Args:
    predictions (`list[str]`): Responses; `None` where the model could not be asked, which counts as wrong.
    references (`list[str]`): The letters of the right options.
    options (`list[list[str]]`): The texts that were offered, without letters.
    tasks (`list[str]`, *optional*): The type of each question.
    policy (`str`, *optional*, defaults to `"tolerant"`): How answers are read: `"tolerant"`, `"strict"`, `"reward"`.
    rule (`str`, *optional*): With `"strict"`, the benchmark's own rule.

Returns:
    `dict`: What `fourdthinker.eval_tasks.scores.score` returns: accuracy, interval, counts, and the same by task.
"""


class DynamicSpatialAccuracy(evaluate.Metric):
    """Wraps `fourdthinker.eval_tasks.scores.score`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            predictions=datasets.Value("string"),
            references=datasets.Value("string"),
            options=datasets.List(datasets.Value("string")),
        )
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(self, predictions, references, options, tasks=None, policy="tolerant", rule=None) -> dict:
        tasks = tasks or ["questions"] * len(predictions)
        columns = zip(predictions, references, options, tasks, strict=True)
        names = ("response", "answer", "options", "task")
        return score([dict(zip(names, values, strict=True)) for values in columns], policy, rule)
