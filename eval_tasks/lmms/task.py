"""The lmms-eval task class that reads our benchmarks."""

from datasets import DatasetDict
from lmms_eval.api.task import ConfigurableMessagesTask

from ..tasks import check_rows, task_rows


class RowsTask(ConfigurableMessagesTask):
    """A task whose rows come from `eval_tasks.tasks` under the task's own name, not from a dataset on the Hub.

    Args:
        config (`dict`): The task file's content.
        model_name (`str`, *optional*): The `--model` of the run.
    """

    def __init__(self, config: dict, model_name: str | None = None, **kwargs):
        # The loader leaves `class` in the content, and the configuration dataclass knows no such field.
        config = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config=config, model_name=model_name, **kwargs)

    def download(self, dataset_kwargs: dict | None = None) -> None:
        """Read the rows; with and without frames, as the base class does."""
        rows = task_rows(self.config.task)
        check_rows(rows)
        self.dataset = DatasetDict({self.config.test_split: rows})
        self.dataset_no_image = DatasetDict({self.config.test_split: rows.remove_columns("frames")})
