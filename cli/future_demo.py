"""`fourdthinker demo --future`: a model whose answers about later places see its latents and not the video."""

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .demo import Demo, scaled_recipe
from .demo_plan import FUTURE_PLAN, estimate_seconds
from .training_run import load_rows

LATENTS = 8
_READ = ("--reading", "choice", "--max-new-tokens", "60", "--batch-size", "100")
# What replaces the latents: those that a verdict takes, and what the table says of some.
_CONTROLS = ("zero", "noise", "mean", "other", "pad", "markers", "forbidden", "oracle", "reread")
_SHOWN = {
    "other": "another row's latents",
    "mean": "the mean of all latents",
    "reread": "its own, encoded again without the video",
    "oracle": "the true imagery",
}


def run_future_demo(folder: Path, args: argparse.Namespace) -> None:
    """Run each command of the way but those finished before, and print the table.

    Args:
        folder (`Path`): Where its stages are kept.
        args (`argparse.Namespace`): Arguments of the command, with sizes.

    Raises:
        InputError: If a command fails.
    """
    started = time.monotonic()
    demo = FutureDemo(folder, FUTURE_PLAN, estimate_seconds(args, FUTURE_PLAN))
    demo.print_plan()
    demo.stages({"backbone": ["init", "--tiny", "--latent-size", str(LATENTS)]})
    # Two million parameters bind an option to its letter hardly better than chance; its text they can say. 4DRL has
    # no stage here, and its rows are few. At small sizes a gate may fail by chance, which the card then says.
    sizes = ["--clips", str(args.questions), "--grpo-clips", "1", "--held-out", str(args.held_out)]
    world = ["--source", "world", "--questions", "places", "--answer", "text", *sizes, "--allow-failed-gates"]
    demo.stages({"data": ["build-data", *world, "--workers", str(os.cpu_count() or 1)]})
    features = ["--set", f"feature_cache={folder / 'features'}"]
    recipes = {name: scaled_recipe(f"demo/future/{name}", args.steps_scale) for name in ("text_only", "bottleneck")}
    demo.stages({name: ["dift", *recipe, *features, *demo.places("backbone")] for name, recipe in recipes.items()})
    demo.compare()
    demo.write_card("bottleneck")
    print(demo.table())
    print(f"\n{folder / 'bottleneck'} is the trained model, its card is README.md there;")
    print(f"{folder / 'scores' / 'diagnosis' / 'index.html'} shows its answers with the latents replaced.")
    print(f"{time.monotonic() - started:.0f} s on {os.cpu_count()} cores.")


class FutureDemo(Demo):
    """The folder of the demo of questions about places in the future."""

    def compare(self) -> None:
        """Score the bottleneck and text alone, and the former with its latents replaced, but what was done before."""
        models = [str(self.folder / name) for name in ("bottleneck", "text_only")]
        data = ["--dataset", str(self.folder / "data")]
        replaced = ["--controls", ",".join(_CONTROLS), "--eval-results", models[0]]
        commands = {
            "comparison": ["eval", "--models", *models],
            "diagnosis": ["diagnose", "--model", models[0], *replaced],
        }
        self.stages({name: [*command, *data, *_READ] for name, command in commands.items()})

    def write_card(self, model: str) -> None:
        """Put the card of a model beside its weights, with the scores of text alone in it."""
        from ..dataset_builders.sources.world_places import TASK
        from ..hub_cards import write_model_card
        from ..hub_cards.scores import store_scores

        head = json.loads(self._output("comparison").read_text(encoding="utf-8"))
        for name, label in (("text_only", "text only"), (model, "")):
            reports = {TASK: self._report(name)}
            store_scores(self.folder / model, reports, {**head, "model": name}, label)
        write_model_card(self.folder / model)

    def table(self) -> str:
        """Accuracy of both, of a rule, and with the latents replaced, with 95 % intervals."""
        from ..eval_tasks.scores import format_comparison

        diagnosis, text = self._diagnosis(), self._report("text_only")
        own = {"n": diagnosis["n"], **diagnosis["own"]}
        lines: list[tuple[str, list[Mapping[str, Any]]]] = [
            ("the place last seen, or a guess", [self._last_place()]),
            ("text only", [text]),
            (f"{LATENTS} latents, the answer sees no video", [own]),
        ]
        lines += [(f"  with {words}", [diagnosis["controls"][name]]) for name, words in _SHOWN.items()]
        return format_comparison(lines, ["where it will be"])

    def _report(self, model: str) -> dict[str, Any]:
        stored = json.loads(self._output("comparison").read_text(encoding="utf-8"))["models"]
        (report,) = stored[str(self.folder / model)].values()
        return report

    def _diagnosis(self) -> dict[str, Any]:
        stored = json.loads((self._output("diagnosis") / "diagnosis.json").read_text(encoding="utf-8"))
        (task,) = stored["tasks"].values()
        return task

    def _last_place(self) -> Mapping[str, Any]:
        """How many questions are right by a rule: the place where the object was last seen, or a guess without it."""
        from ..eval_tasks.statistics import wilson_interval
        from ..modeling.tokens import OPTION_LETTERS

        rows = load_rows(str(self.folder / "data"), "dift", "test").select_columns(["facts", "options", "answer"])
        n, right, chance = len(rows), 0.0, 0.0
        for row in rows:
            last, options = json.loads(row["facts"])["last_place"], row["options"]
            chance += 1 / len(options) / n
            said = options[OPTION_LETTERS.index(row["answer"])]
            right += last == said if last in options else 1 / len(options)
        return {"n": n, "chance": chance, "accuracy": right / n, "interval": wilson_interval(round(right), n)}

    def _output(self, name: str) -> Path:
        if name in ("comparison", "diagnosis"):
            return self.folder / "scores" / (f"{name}.json" if name == "comparison" else name)
        return super()._output(name)
