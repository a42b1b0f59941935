"""One cell of a study: train an arm with a seed by the DIFT trainer, and read it as `fourdthinker diagnose` does."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from datasets import Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measuring import processor_name
from plan import Arm, Plan, cell_key, load_rows, rows_key, shape_imagery, shape_responses
from reread import RereadTrainer
from transformers import TrainerCallback

from fourdthinker.eval_tasks.diagnosis.answering import answer_controls
from fourdthinker.eval_tasks.diagnosis.controls import OWN, find_impossible
from fourdthinker.eval_tasks.scores import is_correct
from fourdthinker.modeling import load_model
from fourdthinker.modeling.atomic import atomic_dir, atomic_path, scratch_dir
from fourdthinker.modeling.dataset_files import keep_videos_encoded
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer

_KEYS = ("id", "task", "options", "answer")


class Reader:
    """Reads the test rows of a study by restricted choice, after the model's own reasoning and latents.

    Args:
        plan ([`Plan`]): The study.
        rows (`Dataset`): The test rows.
    """

    def __init__(self, plan: Plan, rows: Dataset):
        self.plan, self.rows = plan, rows
        self._keys = [
            {name: row[name] for name in _KEYS} for row in keep_videos_encoded(rows.select_columns(list(_KEYS)))
        ]

    def read(self, model, processor, controls: Sequence[str], most: int | None = None) -> dict[str, str]:
        """Which rows are right under each control, the model's own latents first: one digit a row, 1 if right."""
        rows = self.rows if most is None else self.rows.select(range(min(most, len(self.rows))))
        answers = answer_controls(
            model,
            processor,
            rows,
            [name for name in controls if name != OWN],
            self.plan.read_batch,
            self.plan.max_new_tokens,
            progress=False,
            reading="choice",
        )
        return {name: self._judge(responses) for name, responses in answers.responses.items()}

    def _judge(self, responses: Sequence[str | None]) -> str:
        keys = self._keys[: len(responses)]
        rows = zip(keys, responses, strict=True)
        right = [is_correct({**key, "response": response or ""}) for key, response in rows]
        return "".join(str(int(one)) for one in right)


class LearningCurve(TrainerCallback):
    """Reads the arm at regular steps; the time of reading does not count as training time."""

    def __init__(self, reader: Reader, arm: Arm, model, processor):
        self.reader, self.arm, self.model, self.processor = reader, arm, model, processor
        self.points: list[dict] = []
        self._started, self._reading = time.process_time(), 0.0

    @property
    def seconds(self) -> float:
        """CPU seconds of training so far."""
        return time.process_time() - self._started - self._reading

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Start the clock."""
        self._started, self._reading = time.process_time(), 0.0

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Read if it is time to."""
        every = self.reader.plan.curve_every
        if not every or state.global_step % every:
            return
        seconds, started = self.seconds, time.process_time()
        right = self.reader.read(self.model, self.processor, [self.arm.read], self.reader.plan.curve_rows)
        share = right[self.arm.read].count("1") / len(right[self.arm.read])
        self.points.append({"step": state.global_step, "cpu_seconds": round(seconds, 1), "accuracy": share})
        self._reading += time.process_time() - started


def cell_path(folder: Path, arm: Arm, seed: int) -> Path:
    """Where the numbers of a finished cell lie."""
    return folder / "cells" / f"{arm.name}-{seed}.json"


def run_cell(plan: Plan, arm: Arm, seed: int, folder: Path) -> dict:
    """Train and read a cell that is not in `folder` yet; its model goes to `models` there, its numbers to `cells`.

    Raises:
        InputError: If the cell that is there was made with other settings or from other rows.
    """
    path = cell_path(folder, arm, seed)
    key = cell_key(plan, arm, rows_key(plan))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("key") != key:
            raise InputError(f"{path} is of another plan or other rows: name another --output or remove the file")
        return found
    model, processor = load_model(plan.model, dtype=torch.float32)
    if arm.latents is not None:
        model.config.latent_size = arm.latents
    reader = Reader(plan, shape_imagery(load_rows(plan, "test"), arm))
    curve = LearningCurve(reader, arm, model, processor)
    steps = round(arm.steps * plan.steps)
    with scratch_dir("study") as scratch:
        config = make_config(plan, arm, seed, steps, scratch, folder / "features")
        rows = shape_responses(shape_imagery(load_rows(plan, "train"), arm), arm)
        make_trainer = RereadTrainer if arm.reread else DIFTTrainer
        trainer = make_trainer(model, args=config, train_dataset=rows, processing_class=processor, callbacks=[curve])
        trainer.train()
    seconds = curve.seconds
    controls = [] if arm.rows != "imagery" else [*plan.controls, *({arm.read} - {OWN} - set(plan.controls))]
    impossible = find_impossible(controls, model.config.latent_size, has_imagery=True)
    controls = [name for name in controls if name not in impossible]
    result = {
        "arm": arm.name,
        "seed": seed,
        "key": key,
        "steps": steps,
        "machine": processor_name(),
        "cpu_seconds": round(seconds, 1),
        "read": arm.read,
        "right": reader.read(model, processor, controls),
        "curve": curve.points,
        "log": trainer.state.log_history,
    }
    (folder / "models").mkdir(parents=True, exist_ok=True)
    with atomic_dir(folder / "models" / path.stem) as building:
        model.save_pretrained(building)
        processor.save_pretrained(building)
    write_json(path, result)
    return result


def make_config(plan: Plan, arm: Arm, seed: int, steps: int, scratch: Path, features: Path) -> DIFTConfig:
    """The trainer's settings.

    Raises:
        InputError: If the plan names a setting that `DIFTConfig` does not have.
    """
    settings = {
        "max_steps": steps,
        "per_device_train_batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, steps // 20),
        "seed": seed,
        "use_cpu": not torch.cuda.is_available(),
        "drop_imagery": arm.rows != "imagery",
        "precompute_videos": True,
        "precompute_targets": arm.rows == "imagery",
        "feature_cache": str(features),
        "eval_generations": 0,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": max(1, steps // 20),
        "disable_tqdm": True,
        **plan.settings,
        **arm.settings,
    }
    try:
        return DIFTConfig(str(scratch), **settings)
    except TypeError as error:
        raise InputError(f"arm {arm.name}: {error}") from error


def write_json(path: Path, content: Mapping) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
