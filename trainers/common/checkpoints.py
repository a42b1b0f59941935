"""Distinguish complete checkpoints from those that were cut off, and remove these."""

import shutil
import sys
from pathlib import Path

from accelerate import PartialState
from transformers.trainer import TRAINER_STATE_NAME

from ...modeling.errors import InputError

COMPLETE = "complete"  # the file that is written into a checkpoint last


def is_complete(checkpoint: Path) -> bool:
    """Whether a folder is a checkpoint that was written to its end."""
    return _is_checkpoint(checkpoint) and (checkpoint / COMPLETE).is_file()


def _is_checkpoint(folder: Path) -> bool:
    """Whether a trainer may have written it: not a link, nor a copy that somebody named otherwise."""
    return folder.name.removeprefix("checkpoint-").isdecimal() and folder.is_dir() and not folder.is_symlink()


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that was written to its end; nothing is changed."""
    return max(filter(is_complete, folder.glob("checkpoint-*")), key=_step, default=None)


def remove_torn_checkpoints(folder: Path) -> None:
    """Remove checkpoints that an interruption cut off, each with a line on stderr.

    One that has the trainer's state, which is written last, may be another trainer's whole one: it stays, unused.

    Every process calls it: the main one removes, and the others go on when it has, or some would resume from another
    checkpoint than the rest.
    """
    state = PartialState()
    if state.is_main_process:
        for path in filter(_is_checkpoint, folder.glob("checkpoint-*")):
            if is_complete(path):
                continue
            if (path / TRAINER_STATE_NAME).exists():
                print(f"{path} has no file `{COMPLETE}` and is left out", file=sys.stderr)
            else:
                print(f"{path} is not complete and is removed", file=sys.stderr)
                shutil.rmtree(path)
    state.wait_for_everyone()


def find_checkpoint(folder: Path, resume: str | bool | None) -> str | None:
    """What to resume from.

    Args:
        folder (`Path`): The run's output folder.
        resume (`str` or `bool`, *optional*): As [`~transformers.Trainer.train`] takes it. `True` is the newest
            complete checkpoint, if there is one, and removes torn ones; a path must be of a complete one.

    Raises:
        InputError: If the path is of a checkpoint that was cut off.
    """
    if not resume:
        return None
    if resume is True:
        remove_torn_checkpoints(folder)
        found = last_complete_checkpoint(folder)
        return None if found is None else str(found)
    if not (Path(resume) / COMPLETE).is_file():
        raise InputError(
            f"{resume} has no file `{COMPLETE}`, so it was cut off while it was written: name an earlier checkpoint, "
            "or make that file if another trainer wrote it to its end"
        )
    return str(resume)


def mark_complete(checkpoint: Path, keep: int | None, best: str | None = None) -> None:
    """Mark a checkpoint that was written to its end, and only then remove old ones.

    transformers removes old ones first: a kill there would leave none that is complete.

    Args:
        checkpoint (`Path`): The newest one.
        keep (`int`, *optional*): How many stay in its folder; all by default.
        best (`str`, *optional*): One that stays in any case.
    """
    (checkpoint / COMPLETE).touch()
    kept = {checkpoint, Path(best or checkpoint)}
    complete = sorted(filter(is_complete, checkpoint.parent.glob("checkpoint-*")), key=_step)
    for old in complete[:-keep] if keep else []:
        if old not in kept:
            for name in (COMPLETE, TRAINER_STATE_NAME):  # first, so that what an interruption leaves counts as cut off
                (old / name).unlink(missing_ok=True)
            shutil.rmtree(old)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))
