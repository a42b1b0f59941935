"""The lmms-eval side: task files, model plugin. Thin; what they compute lives in `fourdthinker.eval_tasks`."""

from pathlib import Path

TASKS_DIR = Path(__file__).parent / "tasks"
