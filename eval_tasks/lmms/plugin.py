"""Entry point `lmms_eval.models`: register the model `fourdthinker` and add our task folder to lmms-eval's index."""

import functools
import logging
import os

from ..lmms import TASKS_DIR

logger = logging.getLogger(__name__)

OPT_OUT = "FOURDTHINKER_NO_TASKS"
MODEL_CLASS = "fourdthinker.eval_tasks.lmms.model.FourDThinker"
_MARK = "_indexes_fourdthinker"


def manifests() -> list:
    """Called by lmms-eval when it collects models, which is before it indexes tasks.

    lmms-eval has an entry-point group for models only, so this also makes its `TaskManager` index our folder; set
    `FOURDTHINKER_NO_TASKS=1` to have it left alone and pass `--include_path "$(fourdthinker tasks-dir)"` instead.

    Returns:
        `list[ModelManifest]`: Our one model, or nothing if lmms-eval is not the one we know. It never raises: an
        exception here would hide the models of every other plugin.
    """
    try:
        if not os.environ.get(OPT_OUT):
            _index_our_tasks()
    except Exception as error:
        logger.warning("fourdthinker's tasks are not indexed (%s); pass --include_path %s", error, TASKS_DIR)
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id="fourdthinker", chat_class_path=MODEL_CLASS)]
    except Exception as error:
        logger.warning("the model 'fourdthinker' is not available in this lmms-eval (%s)", error)
        return []


def _index_our_tasks() -> None:
    from lmms_eval.tasks import TaskManager

    original = TaskManager.initialize_tasks
    if _MARK in vars(original):
        return

    @functools.wraps(original)
    def initialize_tasks(self, include_path=None, include_defaults=True):
        paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
        return original(self, include_path=[*paths, str(TASKS_DIR)], include_defaults=include_defaults)

    setattr(initialize_tasks, _MARK, True)
    TaskManager.initialize_tasks = initialize_tasks
