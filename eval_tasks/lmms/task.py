"""The lmms-eval task class of all our benchmarks; a task file gives it nothing but a name."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import DatasetDict
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask
from lmms_eval.models import MODEL_REGISTRY_V2

from ..tasks import benchmark_rows, check_rows, find_benchmark
from .documents import judge_response, metric_list, row_media, row_messages
from .names import read_task_name

_SPLIT = "test"


class BenchmarkTask(ConfigurableMessagesTask):
    """A benchmark of `eval_tasks.tasks` under the name in its task file: `NAME`, `fourd_NAME`, and with `_frames`.

    Args:
        config (`dict`): The task file's content: `task`, and what is to replace our settings.
        model_name (`str`, *optional*): The `--model` of the run.
    """

    def __init__(self, config: dict, model_name: str | None = None, **kwargs):
        name, self.as_frames = read_task_name(config["task"])
        self.benchmark = find_benchmark(name)
        # The loader leaves `class` in the content, and the configuration dataclass knows no such field.
        own = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config={**_config(self.benchmark, self.as_frames), **own}, model_name=model_name, **kwargs)

    def download(self, dataset_kwargs: dict | None = None) -> None:
        """Read the rows; with and without frames, as the base class does."""
        rows = benchmark_rows(self.benchmark)
        if not self.benchmark.has_videos:
            check_rows(rows)
        images = [column for column in ("frames",) if column in rows.column_names]
        self.dataset = DatasetDict({_SPLIT: rows})
        self.dataset_no_image = DatasetDict({_SPLIT: rows.remove_columns(images)})

    def doc_to_text(self, doc: Mapping) -> str:
        """The text of the user turn."""
        return self.benchmark.text(doc)

    def doc_to_target(self, doc: Mapping) -> str:
        """The letter of the right option."""
        return doc["answer"]

    def doc_to_visual(self, doc: Mapping) -> list:
        """The media alone, for models that take no messages: paths of videos, or images."""
        return [part["url"] for part in row_media(self.benchmark, doc, self.as_frames)]

    def doc_to_messages(self, doc: Mapping, **rounds: Any) -> list[dict]:
        """The user turn."""
        return row_messages(self.benchmark, doc, self.as_frames)

    def process_results(self, doc: Mapping, results: Sequence, full_docs: Any = None) -> dict[str, Any]:
        """Score one response. The base class would try five times, and hide the error."""
        response = results[0][0] if isinstance(results[0], list) else results[0]
        return judge_response(self.benchmark, doc, response or "")

    def construct_requests(self, doc_id: int, ctx: str, **kwargs):
        """A request in the form that the model takes: messages, or text and media for one of the older kind."""
        if self._is_for_simple_model():
            return ConfigurableTask.construct_requests(self, doc_id, ctx, **kwargs)
        return super().construct_requests(doc_id, ctx, **kwargs)

    def _is_for_simple_model(self) -> bool:
        # lmms-eval tells tasks of a class nothing about the model; from Python nothing says it at all.
        name = getattr(getattr(self, "args", None), "model", None)
        force = bool(getattr(getattr(self, "args", None), "force_simple", False))
        return isinstance(name, str) and MODEL_REGISTRY_V2.resolve(name, force_simple=force).model_type == "simple"


def _config(benchmark, as_frames: bool) -> dict:
    return {
        "test_split": _SPLIT,
        "output_type": "generate_until",
        # The class has methods for these. lmms-eval only looks whether there is anything.
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "process_results": "judge_response",
        # The command strips <think>…</think> by default and the Python API does not. Our parser skips it itself.
        "reasoning_tags": "none",
        "generation_kwargs": {"max_new_tokens": benchmark.max_new_tokens, "temperature": 0, "do_sample": False},
        "metric_list": metric_list(benchmark),
        "metadata": {
            "version": benchmark.version,
            "dataset": benchmark.dataset,
            "data_variable": benchmark.variable,
            "frames": {
                "fps": benchmark.frames.fps,
                "max_frames": benchmark.frames.max_frames,
                "max_pixels": benchmark.frames.max_pixels,
            },
            "media": "frames" if as_frames else "video",
            "strict_rule": benchmark.rule,
        },
    }
