"""Questions a minute of an evaluation: in batches, one at a time, through lmms-eval; and what decoding videos costs.

    python benchmarks/eval.py                # the shipped model on rendered questions of `fourd_world`
    python benchmarks/eval.py --model DIR    # another one

Every figure is the median of `--repeats` warm runs, the ways by turns. No journal is kept. Start-up (imports, the
model, lmms-eval's index of tasks) does not count: of lmms-eval's run only what comes after its requests are built.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["FOURDTHINKER_JOURNAL"] = "none"

import numpy as np
from measuring import machine, medians

from fourdthinker.cli.init import TINY_TRAINED
from fourdthinker.dataset_builders.fourd_cot import build_world
from fourdthinker.dataset_builders.world.clip_file import write_clip
from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.precision import choose_dtype
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model, video_messages
from fourdthinker.modeling.processing import row_clip


class Decoding:
    """Counts the clips that are decoded, and their seconds."""

    def __init__(self):
        self.clips, self.seconds = 0, 0.0

    @contextmanager
    def counted(self) -> Iterator["Decoding"]:
        """Count while this is entered."""
        read = video_messages.read_clip

        def read_clip(*args, **kwargs):
            started = time.perf_counter()
            try:
                return read(*args, **kwargs)
            finally:
                self.clips += 1
                self.seconds += time.perf_counter() - started

        video_messages.read_clip = read_clip
        try:
            yield self
        finally:
            video_messages.read_clip = read


def as_videos(rows, folder: Path) -> list[dict]:
    """The same questions about video files."""
    questions = []
    for row in rows:
        clip = row_clip(row)
        path = folder / f"{row['id']}.mp4"
        write_clip(path, np.stack([np.asarray(frame) for frame in clip.frames]), clip.frames_per_second)
        kept = {key: row[key] for key in ("id", "task", "question", "options", "answer")}
        questions.append({**kept, "video": str(path)})
    return questions


def through_lmms_eval(model_folder: str, batch_size: int, limit: int) -> Callable[[], float]:
    """A run of lmms-eval in this process; it gives the seconds from its requests to its scores."""
    from lmms_eval import evaluator
    from lmms_eval.tasks import TaskManager

    from fourdthinker.eval_tasks.lmms import TASKS_DIR
    from fourdthinker.eval_tasks.lmms.model import FourDThinker

    class Timed(FourDThinker):
        started = 0.0

        def generate_until(self, requests):
            self.started = time.perf_counter()
            return super().generate_until(requests)

    model = Timed(pretrained=model_folder, batch_size=batch_size)
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, model_name="fourdthinker")

    def run() -> float:
        evaluator.simple_evaluate(
            model=model, tasks=["fourd_world"], limit=limit, task_manager=manager, bootstrap_iters=0, log_samples=True
        )
        return time.perf_counter() - model.started

    return run


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Print the table."""
    (folder / "world").mkdir()
    build_world(folder / "world", clips={"test": args.rows // 2}, configurations=("grpo",))
    os.environ[fourd_world.DATA_VARIABLE] = str(folder / "world")
    rows = fourd_world.read_rows(folder / "world")
    videos = as_videos(rows, folder)
    model, processor = load_model(args.model, dtype=choose_dtype(None, "cpu"))
    lmms_eval = through_lmms_eval(args.model, args.batch_size, len(rows))
    inside: list[float] = []
    ways = {
        "one at a time": lambda: predict(model, processor, rows, 1, args.max_new_tokens, progress=False),
        "in batches": lambda: predict(model, processor, rows, args.batch_size, args.max_new_tokens, progress=False),
        "in batches, video files": lambda: predict(
            model, processor, videos, args.batch_size, args.max_new_tokens, progress=False
        ),
        "through lmms-eval": lambda: inside.append(lmms_eval()),
    }
    seconds = medians(ways, args.repeats)
    seconds["through lmms-eval"] = float(np.median(inside[1:]))
    print(f"{len(rows)} questions, batches of {args.batch_size}, {args.repeats} runs\n")
    print("| way | questions a minute | against batches |\n|---|---|---|")
    for name, taken in seconds.items():
        print(f"| {name} | {60 * len(rows) / taken:.0f} | {seconds['in batches'] / taken:.2f} |")
    for name in ("in batches", "in batches, video files"):
        with Decoding().counted() as decoding:
            started = time.perf_counter()
            ways[name]()
            whole = time.perf_counter() - started
        share = decoding.seconds / whole
        print(f"\n{name}: {decoding.clips / len(rows):.2f} decodings a question, {share:.1%} of the time", end="")
    print()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default=str(TINY_TRAINED), help="folder of a saved model (default: the shipped one)"
    )
    parser.add_argument("--rows", type=int, default=64, help="questions (default: 64)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows at once (default: 32)")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="longest response (default: 512)")
    parser.add_argument("--repeats", type=int, default=3, help="runs that count (default: 3)")
    args = parser.parse_args()
    print(machine("cpu", "float32"))
    print(f"load before: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    main()
