"""The lmms-eval task class of all our benchmarks; a task file gives it nothing but a name."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets import DatasetDict
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask
from lmms_eval.models import MODEL_REGISTRY_V2

from ...modeling.errors import InputError
from ..benchmark import Benchmark
from ..shown_frames import describe_frames
from ..tasks import benchmark_rows, check_rows
from ..unanswered import MISSING_VIDEO, UNREADABLE_VIDEO
from ..videos import has_video
from .current_model import current_model
from .documents import judge_response, metric_list, row_media, user_turn
from .names import read_task_name

_SPLIT = "test"
_OWN_MODEL = "fourdthinker"


class BenchmarkTask(ConfigurableMessagesTask):
    """A benchmark of `eval_tasks.tasks` under the name in its task file: `NAME`, `fourd_NAME`, and with `_frames`.

    Args:
        config (`dict`): The task file's content: `task`, and what is to replace our settings.
        model_name (`str`, *optional*): The `--model` of the run.
    """

    def __init__(self, config: dict, model_name: str | None = None, **kwargs):
        self.benchmark, self.as_frames = read_task_name(config["task"])
        self._undecoded: set[str] = set()
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
        """The media alone, for models that take no messages: paths of videos, or images.

        Raises:
            InputError: If a part of a video is to be shown, which its path alone does not say.
        """
        media = self._media(doc)
        if any(part.keys() & {"start_time", "end_time"} for part in media):
            raise InputError(
                f"{self.benchmark.name} shows a part of a video, and this model takes whole files: name the task "
                f"{self.benchmark.name}_frames"
            )
        return [part["url"] for part in media]

    def doc_to_messages(self, doc: Mapping, **rounds: Any) -> list[dict]:
        """The user turn."""
        return user_turn(self.benchmark, doc, self._media(doc))

    def process_results(self, doc: Mapping, results: Sequence, full_docs: Any = None) -> dict[str, Any]:
        """Score one response. The base class would try five times, and hide the error."""
        response = results[0][0] if isinstance(results[0], list) else results[0]
        if self.benchmark.has_videos and not has_video(doc):
            response = MISSING_VIDEO
        elif doc["id"] in self._undecoded:
            response = UNREADABLE_VIDEO
        return judge_response(self.benchmark, doc, response or "")

    def dump_config(self) -> dict:
        """The settings that lmms-eval writes beside the scores, with the frames that the model is shown.

        Only of our own model and of frames that go out as images is it known which these are.
        """
        config = super().dump_config()
        rows, policy = self.dataset[_SPLIT], self.benchmark.frames
        as_images = self.as_frames or not self.benchmark.has_videos
        model = current_model() if self.model_name in (None, _OWN_MODEL) else None
        if model:
            used = model.describe_frames(rows, policy, as_images)
        else:
            used = describe_frames(rows, policy) if as_images else "as the model samples videos"
        return {**config, "metadata": {**config["metadata"], "frames_used": used}}

    def construct_requests(self, doc_id: int, ctx: str, **kwargs):
        """A request in the form that the model takes: messages, or text and media for one of the older kind."""
        if self._is_for_simple_model():
            return ConfigurableTask.construct_requests(self, doc_id, ctx, **kwargs)
        return super().construct_requests(doc_id, ctx, **kwargs)

    def _media(self, doc: Mapping) -> list[dict]:
        """The media of a row. Our own model says which videos it could not read, other models would stop there."""
        stock = self._model_name() not in (None, _OWN_MODEL)
        if stock and self.benchmark.has_videos and not has_video(doc):
            return []
        try:
            return row_media(self.benchmark, doc, self.as_frames)
        except InputError:
            if not stock:
                raise
            self._undecoded.add(doc["id"])
            return []

    def _model_name(self) -> str | None:
        # The command line, which the evaluator hands to a task. From Python there is none.
        name = getattr(getattr(self, "args", None), "model", None)
        return name if isinstance(name, str) else None

    def _is_for_simple_model(self) -> bool:
        # Of a task file without a class lmms-eval chooses the kind of task by the kind of model.
        name, force = self._model_name(), bool(getattr(getattr(self, "args", None), "force_simple", False))
        return name is not None and MODEL_REGISTRY_V2.resolve(name, force_simple=force).model_type == "simple"


def _config(benchmark: Benchmark, as_frames: bool) -> dict:
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
            "benchmark": benchmark.name,
            "dataset": benchmark.dataset,
            "data_variable": benchmark.variable,
            "frames": asdict(benchmark.frames),
            "media": "frames" if as_frames or not benchmark.has_videos else "video",
            "strict_rule": benchmark.rule,
        },
    }
