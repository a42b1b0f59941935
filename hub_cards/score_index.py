"""Scores as entries of `model-index`, the list of results in the header of a model's card."""

from collections.abc import Mapping

from huggingface_hub import EvalResult

from .rendering import one_line

PIPELINE_TAG = "video-text-to-text"


def index_results(reports: Mapping[str, Mapping]) -> list[EvalResult]:
    """Entries of `model-index`: one for each benchmark as a whole, and for each of its tasks."""
    entries = []
    for benchmark, whole in reports.items():
        for task, numbers in [("", whole), *whole.get("tasks", {}).items()]:
            low, high = numbers["interval"]
            entries.append(
                EvalResult(
                    task_type=PIPELINE_TAG,
                    dataset_type=one_line(benchmark),
                    dataset_name=one_line(f"{benchmark} ({task})" if task else benchmark),
                    dataset_config=one_line(task) if task else None,
                    metric_type="accuracy",
                    metric_name="accuracy",
                    metric_value=round(numbers["accuracy"], 4),
                    metric_args={
                        "n": numbers["n"],
                        "interval_95": [round(low, 4), round(high, 4)],
                        "chance": round(numbers["chance"], 4),
                    },
                )
            )
    return entries
