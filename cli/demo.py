"""`fourdthinker demo`: the whole way on the rendered world, from a backbone to a scored model with its card."""

import argparse
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ..modeling.atomic import atomic_dir, atomic_path, check_writable, remove_leftovers
from ..modeling.errors import InputError
from .input_checks import check_model
from .packaged_recipes import find_recipe
from .training_progress import format_seconds
from .training_run import logged_recipe

_CLI = [sys.executable, "-m", "fourdthinker.cli"]
_MAX_NEW_TOKENS = 176
# 20 steps of 4DRL use 160 rows; of each task this many are rendered.
_GRPO_QUESTIONS = 240
_DEFAULT_SIZES = {"questions": 2400, "held_out": 320, "steps_scale": 1.0}
_RETRAIN_SECONDS = 3600.0
# A row of the table: what it says, which model, which latents.
_ROWS = (
    ("before training", "backbone", "own"),
    ("text only", "text_only", "own"),
    ("after DIFT", "dift", "own"),
    ("after DIFT, latents zeroed", "dift", "zero"),
    ("after 4DRL", "grpo", "own"),
)
_TASKS = ("camera_motion", "object_motion")


class _Stage(NamedTuple):
    """What is done, and about how long it takes on two cores.

    Attributes:
        title (`str`): What is printed before it starts.
        seconds (`float`): At the default sizes.
        fixed (`float`): How many of them remain at any size.
        size (`str`, *optional*): The argument of the command that the rest grows with.
    """

    title: str
    seconds: float
    fixed: float
    size: str | None = None


_STAGES = {
    "first_answer": _Stage("first answer: the shipped model about a clip rendered now", 25, 25),
    "backbone": _Stage("backbone: the untrained model", 10, 10),
    "data": _Stage("data: clips, questions and reasoning", 115, 20, "questions"),
    "text_only": _Stage("training without imagery, to compare", 160, 12, "steps_scale"),
    "dift": _Stage("training with imagery (DIFT)", 250, 12, "steps_scale"),
    "grpo": _Stage("reinforcement learning (4DRL)", 73, 15, "steps_scale"),
    "backbone-own": _Stage("score before training", 42, 8, "held_out"),
    "text_only-own": _Stage("score without imagery", 29, 8, "held_out"),
    "dift-own": _Stage("score after DIFT", 29, 8, "held_out"),
    "dift-zero": _Stage("score after DIFT with latents zeroed", 29, 8, "held_out"),
    "grpo-own": _Stage("score after 4DRL", 29, 8, "held_out"),
    "lmms_eval": _Stage("the same score by lmms-eval", 34, 18, "held_out"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--output", default="demo", metavar="DIR", help="output folder of data, models and results (default: demo)"
    )
    parser.add_argument("--backbone", metavar="PATH", help="a real checkpoint instead of the tiny backbone")
    parser.add_argument(
        "--retrain", action="store_true", help="pretrain the tiny backbone instead of copying it (about an hour)"
    )
    parser.set_defaults(**_DEFAULT_SIZES)
    parser.add_argument("--questions", type=int, help="training questions of each task (default: %(default)s)")
    parser.add_argument("--held-out", type=int, help="held-out questions of each task (default: %(default)s)")
    parser.add_argument("--steps-scale", type=float, help="multiply the recipes' steps, e.g. 0.01 for a smoke test")


def run(args: argparse.Namespace) -> None:
    """Answer a first question, run each command of the way but those finished before, and print the table."""
    if args.questions < 1 or args.held_out < 1 or args.steps_scale <= 0:
        raise InputError("--questions, --held-out and --steps-scale must be positive")
    for module in ("pybullet", "lmms_eval"):  # before the first stage, not after ten minutes
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"no module named {module!r}", name=module)
    check_writable(Path(args.output) / "backbone")
    if args.backbone:
        check_model(args.backbone)
    started = time.monotonic()
    demo = Demo(Path(args.output), _estimates(args))
    demo.print_plan()
    demo.first_answer()
    origin = ["--backbone", args.backbone] if args.backbone else ["--tiny", *(["--retrain"] if args.retrain else [])]
    demo.stage("backbone", ["init", *origin])
    grpo_questions = min(args.questions, _GRPO_QUESTIONS)
    sizes = ["--clips", str(args.questions), "--grpo-clips", str(grpo_questions), "--held-out", str(args.held_out)]
    # Two million parameters bind an option to its letter hardly better than chance; its text they can say.
    world = ["--source", "world", "--answer", "text", *sizes]
    # The demo shows how the parts work together, whatever the gates find in the world.
    demo.stage("data", ["build-data", *world, "--allow-failed-gates", "--workers", str(os.cpu_count() or 1)])
    for command, name, start in (
        ("dift", "text_only", "backbone"),
        ("dift", "dift", "backbone"),
        ("grpo", "grpo", "dift"),
    ):
        demo.stage(name, [command, *_recipe(name, args.steps_scale), *demo.places(start)])
    for _, model, latents in _ROWS:
        demo.score(model, latents)
    demo.score_with_lmms_eval("grpo")
    demo.write_card("grpo")
    print(demo.table())
    print(f"\n{demo.folder / 'grpo'} is the trained model, its card is README.md there.")
    print(f"{time.monotonic() - started:.0f} s on {os.cpu_count()} cores.")


def progress(args: argparse.Namespace) -> str | None:
    """What an interrupted demo goes on from."""
    return f"what is finished is in {args.output}" if Path(args.output).is_dir() else None


class Demo:
    """The folder of a demo: a sub-folder for each stage and a JSON file for each score.

    Args:
        folder (`Path`): Where.
        estimates (`dict[str, float]`): For each stage of `_STAGES` whose length is known, about how many seconds.
    """

    def __init__(self, folder: Path, estimates: dict[str, float]):
        self.folder, self.estimates = folder, estimates
        for place in (folder, folder / "scores", folder / "first_answer"):
            remove_leftovers(place)

    def print_plan(self) -> None:
        """Say how long the stages that are left take together, if that is known."""
        left = [name for name in _STAGES if not self._output(name).exists()]
        if left and self.estimates.keys() >= set(left):
            print(f"{len(left)} stages, {_about(sum(self.estimates[name] for name in left))} in all.")

    def first_answer(self) -> None:
        """Ask the shipped model about a clip rendered now: question, answer, right answer and a picture."""
        from ..dataset_builders.sources.held_out_clip import render_held_out_clip
        from ..modeling.prompts import format_options

        if not self._begin("first_answer"):
            return
        picture = self._output("first_answer")
        model, clip = self.folder / "trained", picture.with_name("clip.mp4")
        row = render_held_out_clip(clip)
        if not model.exists():
            self._call([*_CLI, "init", "--trained", "--output", str(model)])
        print(f"\nAbout {clip}, which was rendered now: {row['question']}\n{format_options(row['options'])}")
        options = ["--options", *row["options"], "--imagery", str(picture)]
        self._call([*_CLI, "ask", str(clip), row["question"], "--model", str(model), *options])
        print(f"\nThe right answer: {row['options'][ord(row['answer']) - ord('A')]}")
        if picture.exists():
            print(f"Where each latent of its imagery points: {picture}", flush=True)

    def stage(self, name: str, arguments: list[str]) -> None:
        """Run one `fourdthinker` command that writes the sub-folder `name`, unless it is there."""
        if self._begin(name):
            self._call([*_CLI, *arguments, "--output", str(self._output(name))])

    def places(self, start: str) -> list[str]:
        """Arguments of a training command that goes on from the model `start`."""
        return ["--model", str(self.folder / start), "--dataset", str(self.folder / "data")]

    def score(self, model: str, latents: str) -> None:
        """Score a model on the held-out questions, unless that was done."""
        name = f"{model}-{latents}"
        if self._begin(name):
            settings = ["--latents", latents, "--max-new-tokens", str(_MAX_NEW_TOKENS), "--batch-size", "100"]
            self._call(
                [*_CLI, "eval", "--model", str(self.folder / model), *settings, "--output", str(self._output(name))]
            )

    def score_with_lmms_eval(self, model: str) -> None:
        """Score a model with lmms-eval as well, and compare."""
        model_args = f"pretrained={self.folder / model}"
        gen_kwargs = f"max_new_tokens={_MAX_NEW_TOKENS}"
        results = self._output("lmms_eval")
        command = [sys.executable, "-m", "lmms_eval", "--model", "fourdthinker", "--model_args", model_args]
        if self._begin("lmms_eval"):
            with atomic_dir(results) as folder:
                settings = ["--tasks", "fourd_world", "--gen_kwargs", gen_kwargs, "--batch_size", "100"]
                self._call([*command, *settings, "--output_path", str(folder)])
                # It ends with code 0 even after an error of its own.
                if not any(folder.rglob("*_results.json")):
                    raise InputError("lmms_eval wrote no results: its message stands above")
        (file,) = results.rglob("*_results.json")
        theirs = json.loads(file.read_text())["results"]["fourd_world"]
        ours = self._read(model, "own")
        print(f"accuracy by fourdthinker eval {ours['accuracy']:.4f}, by lmms_eval {theirs['accuracy,none']:.4f}")

    def write_card(self, model: str) -> None:
        """Put the card of a model beside its weights."""
        from ..hub_cards import model_card

        card = model_card(
            self.folder / model,
            scores={"fourd_world": self._read(model, "own")},
            recipe=logged_recipe(self.folder / model),
            datasets=["the rendered world, `dift` and `grpo` rows of `fourdthinker build-data --source world`"],
        )
        with atomic_path(self.folder / model / "README.md") as path:
            path.write_text(str(card), encoding="utf-8")

    def table(self) -> str:
        """Accuracy of each stage on both kinds of question, with 95 % intervals."""
        from ..eval_tasks.scores import format_comparison

        lines = []
        for label, model, latents in _ROWS:
            tasks = self._read(model, latents)["tasks"]
            lines.append((label, [tasks[task] for task in _TASKS]))
        return format_comparison(lines, [task.replace("_", " ") for task in _TASKS])

    def _read(self, model: str, latents: str) -> dict:
        return json.loads(self._output(f"{model}-{latents}").read_text())["tasks"]["fourd_world"]

    def _output(self, name: str) -> Path:
        """What a stage leaves when it is done."""
        if name == "first_answer":
            return self.folder / name / "imagery.png"
        if name == "lmms_eval":
            return self.folder / "scores" / name
        # The name of a score is a model's and its latents'.
        return self.folder / "scores" / f"{name}.json" if "-" in name else self.folder / name

    def _begin(self, name: str) -> bool:
        """Whether a stage is still to be done; it is announced."""
        output = self._output(name)
        if output.exists():
            print(f"{output}: done before", file=sys.stderr)
            return False
        seconds = self.estimates.get(name)
        length = "" if seconds is None else f": {_about(seconds)}"
        print(f"\n[{list(_STAGES).index(name) + 1}/{len(_STAGES)}] {_STAGES[name].title}{length}", flush=True)
        return True

    def _call(self, command: list[str]) -> None:
        own = command[: len(_CLI)] == _CLI
        print(f"$ {shlex.join(['fourdthinker', *command[len(_CLI) :]] if own else command)}", flush=True)
        held_out = {"FOURD_WORLD_DATA": str(self.folder / "data")}
        started = time.monotonic()
        done = subprocess.run(command, env={**os.environ, **held_out}, check=False)
        if done.returncode in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if done.returncode:
            raise InputError(
                f"the step above ended with code {done.returncode}: fix it and run the demo again to continue"
            )
        print(f"took {format_seconds(time.monotonic() - started)}", flush=True)


def _estimates(args: argparse.Namespace) -> dict[str, float]:
    """About how many seconds each stage takes on two cores; none for those that run a backbone of the user's own."""
    estimates = {}
    for name, stage in _STAGES.items():
        share = getattr(args, stage.size) / _DEFAULT_SIZES[stage.size] if stage.size else 1.0
        estimates[name] = stage.fixed + (stage.seconds - stage.fixed) * share
    if args.retrain:
        estimates["backbone"] = _RETRAIN_SECONDS
    return {name: estimates[name] for name in ("first_answer", "data")} if args.backbone else estimates


def _about(seconds: float) -> str:
    return f"about {format_seconds(seconds)} on two cores"


def _recipe(name: str, scale: float) -> list[str]:
    """A recipe, with its steps scaled."""
    import yaml

    recipe = f"demo/{name}"
    steps = yaml.safe_load(find_recipe(recipe).read_text())["max_steps"]
    return ["--recipe", recipe, *(["--set", f"max_steps={max(1, round(steps * scale))}"] if scale != 1 else [])]
