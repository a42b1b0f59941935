"""`fourdthinker demo`: the whole way on the rendered world, from a backbone to a scored model with its card."""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..modeling.atomic import atomic_dir, atomic_path, check_writable, remove_leftovers
from ..modeling.errors import InputError
from .input_checks import check_model
from .packaged_recipes import find_recipe
from .training_run import logged_recipe

SUMMARY = "run data, training and evaluation once on the rendered world and print the table"

_MAX_NEW_TOKENS = 176
# A row of the table: what it says, which model, which latents.
_ROWS = (
    ("before training", "backbone", "own"),
    ("text only", "text_only", "own"),
    ("after DIFT", "dift", "own"),
    ("after DIFT, latents zeroed", "dift", "zero"),
    ("after 4DRL", "grpo", "own"),
)
_TASKS = ("camera_motion", "object_motion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--output", default="demo", metavar="DIR", help="output folder of data, models and results (default: demo)"
    )
    parser.add_argument("--backbone", metavar="PATH", help="a real checkpoint instead of the tiny backbone")
    parser.add_argument(
        "--retrain", action="store_true", help="pretrain the tiny backbone instead of copying it (about an hour)"
    )
    parser.add_argument("--questions", type=int, default=2400, help="training questions of each task (default: 2400)")
    parser.add_argument("--held-out", type=int, default=400, help="held-out questions of each task (default: 400)")
    parser.add_argument(
        "--steps-scale", type=float, default=1.0, help="multiply the recipes' steps, e.g. 0.01 for a smoke test"
    )


def run(args: argparse.Namespace) -> None:
    """Run each command of the way, skip what an earlier demo has finished, and print the table."""
    if args.questions < 1 or args.held_out < 1 or args.steps_scale <= 0:
        raise InputError("--questions, --held-out and --steps-scale must be positive")
    for module in ("pybullet", "lmms_eval"):  # before the first step, not after a quarter of an hour
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"no module named {module!r}", name=module)
    check_writable(Path(args.output) / "backbone")
    if args.backbone:
        check_model(args.backbone)
    started = time.monotonic()
    demo = Demo(Path(args.output))
    origin = ["--backbone", args.backbone] if args.backbone else ["--tiny", *(["--retrain"] if args.retrain else [])]
    demo.stage("backbone", ["init", *origin])
    sizes = ["--clips", str(args.questions), "--held-out", str(args.held_out)]
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
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for place in (folder, folder / "scores"):
            remove_leftovers(place)

    def stage(self, name: str, arguments: list[str]) -> None:
        """Run one `fourdthinker` command that writes the sub-folder `name`, unless it is there."""
        if (self.folder / name).exists():
            print(f"{self.folder / name}: done before", file=sys.stderr)
            return
        self._call([sys.executable, "-m", "fourdthinker.cli", *arguments, "--output", str(self.folder / name)])

    def places(self, start: str) -> list[str]:
        """Arguments of a training command that goes on from the model `start`."""
        return ["--model", str(self.folder / start), "--dataset", str(self.folder / "data")]

    def score(self, model: str, latents: str) -> None:
        """Score a model on the held-out questions, unless that was done."""
        file = self._scores(model, latents)
        if not file.exists():
            command = [sys.executable, "-m", "fourdthinker.cli", "eval", "--model", str(self.folder / model)]
            settings = ["--latents", latents, "--max-new-tokens", str(_MAX_NEW_TOKENS), "--batch-size", "100"]
            self._call([*command, *settings, "--output", str(file)])

    def score_with_lmms_eval(self, model: str) -> None:
        """Score a model with lmms-eval as well, and compare."""
        given = f"pretrained={self.folder / model}"
        longest = f"max_new_tokens={_MAX_NEW_TOKENS}"
        results = self.folder / "scores" / "lmms_eval"
        command = [sys.executable, "-m", "lmms_eval", "--model", "fourdthinker", "--model_args", given]
        if not results.exists():
            with atomic_dir(results) as folder:
                wanted = ["--tasks", "fourd_world", "--gen_kwargs", longest, "--batch_size", "100"]
                self._call([*command, *wanted, "--output_path", str(folder)])
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

    def _scores(self, model: str, latents: str) -> Path:
        return self.folder / "scores" / f"{model}-{latents}.json"

    def _read(self, model: str, latents: str) -> dict:
        return json.loads(self._scores(model, latents).read_text())["tasks"]["fourd_world"]

    def _call(self, command: list[str]) -> None:
        print(
            f"\n$ {' '.join(['fourdthinker', *command[3:]] if 'fourdthinker.cli' in command else command)}", flush=True
        )
        held_out = {"FOURD_WORLD_DATA": str(self.folder / "data")}
        done = subprocess.run(command, env={**os.environ, **held_out}, check=False)
        if done.returncode in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if done.returncode:
            raise InputError(
                f"the step above ended with code {done.returncode}: mend it and run the demo again to go on"
            )


def _recipe(name: str, scale: float) -> list[str]:
    """A recipe, with its steps scaled."""
    import yaml

    recipe = f"demo/{name}"
    steps = yaml.safe_load(find_recipe(recipe).read_text())["max_steps"]
    return ["--recipe", recipe, *(["--set", f"max_steps={max(1, round(steps * scale))}"] if scale != 1 else [])]
