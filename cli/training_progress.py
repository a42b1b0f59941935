"""Print training progress: one line per log entry, and a progress bar in a terminal."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Trainer

# What a line shows of an entry; all of it is in the training log.
_SHOWN = (
    "loss", "ce_loss", "sim_loss", "mean_token_accuracy", "reward", "reward_std", "kl", "completions/mean_length",
    "latents/blocks_per_completion", "grad_norm", "learning_rate", "tokens_per_second",
)  # fmt: skip
_SHOWN_OF_EVALUATION = ("loss", "accuracy", "reward", "whole_blocks")


def format_entry(logs: Mapping[str, float], step: int, steps: int, seconds_left: float | None = None) -> str:
    """One line for an entry of a trainer's log.

    Args:
        logs (`Mapping[str, float]`): The entry, as transformers makes it.
        step (`int`): Optimizer steps so far.
        steps (`int`): Optimizer steps in all.
        seconds_left (`float`, *optional*): About how long the rest takes.
    """
    if "train_runtime" in logs:
        loss = f", mean loss {logs['train_loss']:.4g}" if "train_loss" in logs else ""
        return f"trained to step {step} in {format_seconds(logs['train_runtime'])}{loss}"
    words = [f"step {step:>{len(str(steps))}}/{steps}"]
    if any(name.startswith("eval_") for name in logs):
        words.append("evaluation")
        shown = {
            name.removeprefix("eval_"): value for name, value in logs.items() if name.endswith(_SHOWN_OF_EVALUATION)
        }
    else:
        shown = {name: logs[name] for name in _SHOWN if name in logs}
        if not any("loss" in name or "reward" in name for name in shown):  # none of ours: show what there is
            shown = {name: value for name, value in logs.items() if name != "total_flos"}
    words += [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items()
    ]
    if seconds_left is not None:
        words.append(f"{format_seconds(seconds_left)} left")
    return "  ".join(words)


def format_seconds(seconds: float) -> str:
    """A length of time to read, such as `45 s`, `3 min` or `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show_progress(trainer: "Trainer", with_bar: bool = True) -> None:
    """Let a trainer print lines by `format_entry` in place of dictionaries.

    Args:
        trainer (`Trainer`): Its progress callbacks are replaced.
        with_bar (`bool`, *optional*, defaults to `True`): Whether a terminal also gets a bar.
    """
    from tqdm import tqdm
    from transformers import PrinterCallback, ProgressCallback

    class TrainingLines(ProgressCallback):
        """One line for each entry of the log, from the main process; the bar is absent where there is no terminal."""

        def on_train_begin(self, args, state, control, **kwargs):
            self._begin, self._first_step = time.monotonic(), state.global_step
            if state.is_world_process_zero:
                shown = with_bar and sys.stderr.isatty()
                self.training_bar = tqdm(
                    total=state.max_steps,
                    initial=state.global_step,
                    unit="step",
                    dynamic_ncols=True,
                    disable=not shown,
                )
            self.current_step = state.global_step

        def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
            """No second bar."""

        def on_log(self, args, state, control, logs=None, **kwargs):
            if not state.is_world_process_zero or not logs:
                return
            done, left = state.global_step - self._first_step, state.max_steps - state.global_step
            seconds_left = (time.monotonic() - self._begin) / done * left if done > 0 and left > 0 else None
            tqdm.write(format_entry(logs, state.global_step, state.max_steps, seconds_left))
            sys.stdout.flush()

    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(TrainingLines())
