"""lmms-eval integration: task files and model plugin; the computation is in `fourdthinker.eval_tasks`."""

from pathlib import Path

TASKS_DIR = Path(__file__).parent / "tasks"
