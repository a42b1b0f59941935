"""`fourdthinker demo`: the whole way on the rendered world, from a backbone to a scored model with its card."""

import argparse
import importlib.util
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..modeling.atomic import atomic_dir, atomic_path, check_writable, remove_leftovers
from ..modeling.errors import InputError
from .demo_plan import FUTURE_PLAN, MOTION_PLAN, Plan, about, estimate_seconds, total_seconds
from .input_checks import check_model
from .models import add_revision_argument
from .packaged_recipes import find_recipe
from .side_by_side import run_side_by_side
from .training_progress import format_seconds

_CLI = [sys.executable, "-m", "fourdthinker.cli"]
_MAX_NEW_TOKENS = 176
# 20 steps of 4DRL use 160 rows; of each task this many are rendered.
_GRPO_QUESTIONS = 240
# A row of the table: what it says, which model, which latents.
_ROWS = (
    ("before training", "backbone", "own"),
    ("text only", "text_only", "own"),
    ("after DIFT", "dift", "own"),
    ("after DIFT, latents zeroed", "dift", "zero"),
    ("after 4DRL", "grpo", "own"),
)
_TASKS = ("camera_motion", "object_motion")
_COUNTS = {"questions": "training questions of each task", "held_out": "held-out questions of each task"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="output folder of data, models and results (default: demo, or demo-future with --future)",
    )
    parser.add_argument(
        "--future",
        action="store_true",
        help="train a model instead whose answers about where an object will be see eight latents and not the video, "
        "the arm with the highest score in the study of latents, beside text alone (40 to 70 minutes on two cores)",
    )
    parser.add_argument("--backbone", metavar="PATH", help="a real checkpoint instead of the tiny backbone")
    add_revision_argument(parser, "--backbone")
    parser.add_argument(
        "--retrain", action="store_true", help="pretrain the tiny backbone instead of copying it (about an hour)"
    )
    for name, text in _COUNTS.items():
        default = f"{MOTION_PLAN.sizes[name]}, or {FUTURE_PLAN.sizes[name]} with --future"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument(
        "--steps-scale", type=float, default=1.0, help="multiply the recipes' steps, e.g. 0.01 for a smoke test"
    )


def run(args: argparse.Namespace) -> None:
    """Answer a first question, run each command of the way but those finished before, and print the table."""
    plan = FUTURE_PLAN if args.future else MOTION_PLAN
    for name in _COUNTS:
        if getattr(args, name) is None:
            setattr(args, name, plan.sizes[name])
    if args.questions < 1 or args.held_out < 1 or args.steps_scale <= 0:
        raise InputError("--questions, --held-out and --steps-scale must be positive")
    if args.future and (args.backbone or args.retrain or args.revision):
        raise InputError("--future starts from the shipped backbone: leave --backbone, --revision and --retrain out")
    # Before the first stage, not after ten minutes.
    for module in ("pybullet", "cv2") if args.future else ("pybullet", "lmms_eval"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"no module named {module!r}", name=module)
    folder = output_folder(args)
    check_writable(folder / "backbone")
    if args.future:
        from .future_demo import run_future_demo

        run_future_demo(folder, args)
        return
    if args.backbone:
        check_model(args.backbone, revision=args.revision)
    elif args.revision:
        raise InputError("--revision goes with --backbone only")
    started = time.monotonic()
    demo = Demo(folder, plan, estimate_seconds(args, plan))
    demo.print_plan()
    demo.first_answer()
    origin = ["--backbone", args.backbone] if args.backbone else ["--tiny", *(["--retrain"] if args.retrain else [])]
    origin += ["--revision", args.revision] if args.revision else []
    demo.stages({"backbone": ["init", *origin]})
    grpo_questions = min(args.questions, _GRPO_QUESTIONS)
    sizes = ["--clips", str(args.questions), "--grpo-clips", str(grpo_questions), "--held-out", str(args.held_out)]
    # Two million parameters bind an option to its letter hardly better than chance; its text they can say.
    world = ["--source", "world", "--answer", "text", *sizes]
    # At the default sizes all gates pass; at others one may fail by chance, which the card then says.
    demo.stages({"data": ["build-data", *world, "--allow-failed-gates", "--workers", str(os.cpu_count() or 1)]})
    demo.stages(
        {
            name: ["dift", *scaled_recipe(f"demo/{name}", args.steps_scale), *demo.places("backbone")]
            for name in ("text_only", "dift")
        }
    )
    demo.stages({"grpo": ["grpo", *scaled_recipe("demo/grpo", args.steps_scale), *demo.places("dift")]})
    demo.score(("backbone", "own"), ("text_only", "own"))
    demo.score(("dift", "own"), ("dift", "zero"))
    demo.score(("grpo", "own"), with_lmms_eval="grpo")
    demo.write_card("grpo")
    print(demo.table())
    print(f"\n{demo.folder / 'grpo'} is the trained model, its card is README.md there.")
    print(f"{time.monotonic() - started:.0f} s on {os.cpu_count()} cores.")


def output_folder(args: argparse.Namespace) -> Path:
    """Where the demo writes."""
    return Path(args.output or ("demo-future" if args.future else "demo"))


def progress(args: argparse.Namespace) -> str | None:
    """What an interrupted demo goes on from."""
    folder = output_folder(args)
    return f"what is finished is in {folder}" if folder.is_dir() else None


class Demo:
    """The folder of a demo: a sub-folder for each stage and a JSON file for each score.

    Args:
        folder (`Path`): Where.
        plan ([`Plan`]): Its stages.
        estimates (`dict[str, float]`): For each stage whose length is known, about how many seconds.
    """

    def __init__(self, folder: Path, plan: Plan, estimates: dict[str, float]):
        self.folder, self.plan, self.estimates = folder, plan, estimates
        self._note_plan()
        for place in (folder, folder / "scores", folder / "first_answer"):
            remove_leftovers(place)

    def _note_plan(self) -> None:
        """Keep in the folder which demo it is of, since stages of both have the same names.

        Raises:
            InputError: If it is of the other one.
        """
        note = self.folder / "demo.txt"
        begun = (self.folder / "backbone").exists()
        found = note.read_text(encoding="utf-8").strip() if note.exists() else MOTION_PLAN.name if begun else None
        if found is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(note) as temporary:
                temporary.write_text(f"{self.plan.name}\n", encoding="utf-8")
        elif found != self.plan.name:
            raise InputError(f"{self.folder} holds the demo about {found}: name another --output")

    def print_plan(self) -> None:
        """Say how long the stages that are left take together, if that is known."""
        left = [name for name in self.plan.stages if not self._output(name).exists()]
        if left and self.estimates.keys() >= set(left):
            print(f"{len(left)} stages, {about(total_seconds(self.plan, left, self.estimates))} in all.")

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
            self._run({"init": [*_CLI, "init", "--trained", "--output", str(model)]})
        print(f"\nAbout {clip}, which was rendered now: {row['question']}\n{format_options(row['options'])}")
        options = ["--options", *row["options"], "--imagery", str(picture)]
        self._run({"ask": [*_CLI, "ask", str(clip), row["question"], "--model", str(model), *options]})
        print(f"\nThe right answer: {row['options'][ord(row['answer']) - ord('A')]}")
        if picture.exists():
            print(f"Where each latent of its imagery points: {picture}", flush=True)

    def stages(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Run `fourdthinker` commands side by side, each writing the sub-folder of its name, but those done before."""
        self._run(
            {
                name: [*_CLI, *arguments, "--output", str(self._output(name))]
                for name, arguments in commands.items()
                if self._begin(name)
            }
        )

    def places(self, start: str) -> list[str]:
        """Arguments of a training command that goes on from the model `start`."""
        return ["--model", str(self.folder / start), "--dataset", str(self.folder / "data")]

    def score(self, *readings: tuple[str, str], with_lmms_eval: str | None = None) -> None:
        """Score models on the held-out questions side by side, but those done before.

        Args:
            readings (`tuple[str, str]`): Model and latents of each.
            with_lmms_eval (`str`, *optional*): A model that lmms-eval scores as well, to compare.
        """
        commands = {}
        for model, latents in readings:
            if self._begin(name := f"{model}-{latents}"):
                settings = ["--latents", latents, "--max-new-tokens", str(_MAX_NEW_TOKENS), "--batch-size", "100"]
                places = ["--model", str(self.folder / model), "--output", str(self._output(name))]
                commands[name] = [*_CLI, "eval", *places, *settings]
        with ExitStack() as stack:
            if with_lmms_eval and self._begin("lmms_eval"):
                folder = stack.enter_context(atomic_dir(self._output("lmms_eval")))
                commands["lmms_eval"] = self._lmms_eval(with_lmms_eval, folder)
            self._run(commands)
            # It ends with code 0 even after an error of its own.
            if "lmms_eval" in commands and not any(folder.rglob("*_results.json")):
                raise InputError("lmms_eval wrote no results: its message stands above")
        if with_lmms_eval:
            (file,) = self._output("lmms_eval").rglob("*_results.json")
            theirs = json.loads(file.read_text())["results"]["fourd_world"]
            ours = self._read(with_lmms_eval, "own")
            print(f"accuracy by fourdthinker eval {ours['accuracy']:.4f}, by lmms_eval {theirs['accuracy,none']:.4f}")

    def _lmms_eval(self, model: str, output: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "lmms_eval", "--model", "fourdthinker"),
            *(
                "--model_args",
                f"pretrained={self.folder / model}",
                "--gen_kwargs",
                f"max_new_tokens={_MAX_NEW_TOKENS}",
            ),
            *("--tasks", "fourd_world", "--batch_size", "100", "--output_path", str(output)),
        ]

    def write_card(self, model: str) -> None:
        """Put the card of a model beside its weights, with the scores of every stage in it."""
        from ..hub_cards import write_model_card
        from ..hub_cards.scores import store_scores

        for label, scored, latents in _ROWS:
            if (output := self._output(f"{scored}-{latents}")).is_file():
                head = json.loads(output.read_text(encoding="utf-8"))
                store_scores(self.folder / model, head["tasks"], head, "" if scored == model else label)
        write_model_card(self.folder / model)

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
        length = "" if seconds is None else f": {about(seconds)}"
        stages = self.plan.stages
        print(f"\n[{list(stages).index(name) + 1}/{len(stages)}] {stages[name].title}{length}", flush=True)
        return True

    def _run(self, commands: Mapping[str, Sequence[str]]) -> None:
        if not commands:
            return
        for command in commands.values():
            own = command[: len(_CLI)] == _CLI
            print(f"$ {shlex.join(['fourdthinker', *command[len(_CLI) :]] if own else command)}", flush=True)
        started = time.monotonic()
        codes = run_side_by_side(commands, {**os.environ, "FOURD_WORLD_DATA": str(self.folder / "data")})
        if {130, -signal.SIGINT} & {*codes.values()}:
            raise KeyboardInterrupt
        for name, code in codes.items():
            if code:
                step = "the step above" if len(codes) == 1 else f"{name} above"
                raise InputError(f"{step} ended with code {code}: fix it and run the demo again to continue")
        print(f"took {format_seconds(time.monotonic() - started)}", flush=True)


def scaled_recipe(name: str, scale: float) -> list[str]:
    """Arguments of a training command: a packaged recipe, with its steps scaled."""
    import yaml

    recipe = yaml.safe_load(find_recipe(name).read_text())
    least = {"max_steps": 1, "warmup_steps": 0}
    scaled = {key: max(one, round(recipe[key] * scale)) for key, one in least.items() if scale != 1 and key in recipe}
    return ["--recipe", name, *(word for key, steps in scaled.items() for word in ("--set", f"{key}={steps}"))]
