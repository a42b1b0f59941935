"""`python -m fourdthinker.eval_tasks.lmms`: write the task files again, after a benchmark was added."""

from . import TASKS_DIR
from .names import write_task_files

if __name__ == "__main__":
    write_task_files(TASKS_DIR)
