"""A 4DRL step, part by part, against the same step with no work shared between completions.

    python benchmarks/grpo.py                 # the demo model and a 0.1 B shape on this machine
    python benchmarks/grpo.py --accelerator   # the 3B shape in bfloat16 on the first GPU

A step is all from prompts to new weights, with 8 completions for each of 8 prompts: rolling out, rewarding, scoring by
reference and policy, and the update (backward, clipping, AdamW, and what is left over). Our side runs the frozen tower
and the prompt once for all its completions and rolls all rows out together. The plain side runs both for each
completion, in the rollout and whenever it is scored, and rolls out one row at a time. Completions all have one length,
so that both sides do the same work, and both must give one batch the same scores before they are measured.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
from datasets import Dataset, disable_progress_bars
from dift import OPTIONS, QUESTION, configuration, make_processor
from measuring import machine
from PIL import Image
from torch.nn.functional import pad
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from fourdthinker.cli.init import TINY_BACKBONE
from fourdthinker.modeling import FourDThinkerForConditionalGeneration, load_model
from fourdthinker.modeling.generation_latent import LatentGenerateOutput
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.video_inputs import encode_videos
from fourdthinker.trainers.grpo.rollout import Rollout, encode_prompts

PARTS = ("rollout", "rewards", "scoring", "update")
# Sides of a frame, and number of frames.
CLIPS = {"demo": (56, 56, 8), "small": (224, 224, 8), "large": (448, 252, 16)}
SECONDS_A_FRAME = 0.5


class OurTrainer(LatentGRPOTrainer):
    """The trainer as it is; keeps the seconds of each part of each step."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.steps: list[dict[str, float]] = []
        self.seconds: dict[str, float] = defaultdict(float)
        with redirect_stderr(io.StringIO()):  # what is sampled with, which is no result
            super().__init__(*args, **kwargs)
        self.add_callback(StepClock(self))
        for printer in (PrinterCallback, ProgressCallback):
            self.remove_callback(printer)

    def now(self) -> float:
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the seconds inside."""
        started = self.now()
        yield
        self.seconds[name] += self.now() - started

    def _roll_out(self, prompts, trainer):
        with self.part("rollout"):
            return super()._roll_out(prompts, trainer)

    def _calculate_rewards(self, *args, **kwargs):
        with self.part("rewards"):
            return super()._calculate_rewards(*args, **kwargs)

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        with self.part("scoring"):
            self.scores = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        return self.scores


class PlainTrainer(OurTrainer):
    """Nothing shared: pixels and prompt go with every completion, and each is rolled out alone."""

    def __init__(self, model, *, args, **kwargs: Any):
        args.freeze_vision = False  # so that every pass gets pixels
        args.share_prompts = False
        super().__init__(model, args=args, **kwargs)
        self._base_model.model.visual.requires_grad_(False)

    def _sample_completions(self, rollout: Rollout) -> tuple[dict[str, torch.Tensor], LatentGenerateOutput]:
        parts = []
        for number, row in enumerate(rollout.rows):
            alone = Rollout(rows=[row])
            parts.append(super()._sample_completions(alone))
            rollout.prompt_numbers.append(number)
            rollout.videos += alone.videos
            rollout.latents += alone.latents
        longest = max(tokens["input_ids"].shape[1] for tokens, _ in parts)
        tokens = {
            name: torch.cat([pad(one[name], (longest - one[name].shape[1], 0)) for one, _ in parts])
            for name in parts[0][0]
        }
        sequences = [pad(output.sequences, (longest - one["input_ids"].shape[1], 0)) for one, output in parts]
        latents = [latents for _, output in parts for latents in output.latent_embeds]
        return tokens, LatentGenerateOutput(sequences=torch.cat(sequences), latent_embeds=latents)


class StepClock(TrainerCallback):
    """Writes down a step when it ends."""

    def __init__(self, trainer: OurTrainer):
        self.trainer, self.started = trainer, 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self.trainer.seconds.clear()
        self.started = self.trainer.now()

    def on_step_end(self, args, state, control, **kwargs):
        whole, parts = self.trainer.now() - self.started, self.trainer.seconds
        parts["update"] = whole - sum(parts[part] for part in PARTS[:-1])
        self.trainer.steps.append({**parts, "step": whole})


SIDES = {"plain": PlainTrainer, "ours": OurTrainer}


def make_rows(prompts: int, clip: tuple[int, int, int]) -> Dataset:
    """Rows whose clips are noise, each another."""
    width, height, frames = clip
    draw = np.random.default_rng(0)
    rows = [
        {
            "id": f"row-{number}",
            "question": QUESTION,
            "options": OPTIONS,
            "answer": "ABCD"[number % 4],
            "frames": [
                Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(frames)
            ],
            "timestamps": [SECONDS_A_FRAME * step for step in range(frames)],
        }
        for number in range(prompts)
    ]
    return Dataset.from_list(rows)


def make_model(shape: str, args: argparse.Namespace, folder: Path) -> Path:
    """A folder to load policy and reference from: the shipped backbone, or a random model."""
    if shape == "demo":
        return TINY_BACKBONE
    processor = make_processor()
    torch.manual_seed(0)
    with torch.device(args.device):
        model = FourDThinkerForConditionalGeneration(configuration(processor, args))
    model.to(getattr(torch, args.dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_trainer(side: str, model: Path, shape: str, args: argparse.Namespace, steps: int, folder: Path) -> OurTrainer:
    """A trainer of a side for a number of steps, at the same weights and rows as the other's."""
    completions = args.prompts * args.completions
    config = LatentGRPOConfig(
        str(folder / side),
        per_device_train_batch_size=min(args.at_once, completions),
        gradient_accumulation_steps=-(-completions // args.at_once),
        num_generations=args.completions,
        max_completion_length=args.length,
        max_steps=steps,
        model_init_kwargs={"dtype": args.dtype},  # of the reference
        activation_checkpointing=args.accelerator,
        use_cpu=args.device == "cpu",
        bf16=args.accelerator,
        report_to="none",
        save_strategy="no",
        seed=0,
    )
    policy, processor = load_model(model, dtype=torch.float32)
    rows = make_rows(args.prompts, CLIPS[shape])
    trainer = SIDES[side](policy, args=config, train_dataset=rows, processing_class=processor)
    trainer.generation_config.suppress_tokens += trainer.eos_token_ids  # completions of one length
    return trainer


def check_the_same(trainers: dict[str, OurTrainer], clip: tuple[int, int, int], args: argparse.Namespace) -> None:
    """Both sides give the tokens of one batch, rolled out by ours, the same log-probs and entropies."""
    scores = {}
    rows = [row for row in make_rows(1, clip) for _ in range(args.completions)]
    batch: dict[str, Any] = {}
    for side in ("ours", "plain"):
        trainer = trainers[side]
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        if side == "ours":
            batch = trainer._generate_and_score_completions(rows)
        else:
            encoded = encode_prompts(trainer.processing_class, rows[:1]).to(args.device)
            batch["videos"] = encode_videos(trainer._base_model, encoded, frozen=False) * len(rows)
        with torch.no_grad():
            trainer._compute_loss(trainer.model, batch)  # itself zero where policy and reference are one
        scores[side] = torch.stack(trainer.scores[:2])
    torch.testing.assert_close(scores["plain"], scores["ours"], atol=args.tolerance, rtol=args.tolerance)


def measured(side: str, trainer: OurTrainer) -> dict[str, float]:
    """Median seconds of each part of a step, and of the step, without the first."""
    trainer.train()
    steps = trainer.steps[1:]
    assert len(steps) == trainer.args.max_steps - 1, side
    return {part: statistics.median(step[part] for step in steps) for part in (*PARTS, "step")}


def print_shape(shape: str, args: argparse.Namespace) -> None:
    """Measure a shape: a heading, a line for each side, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(shape, args, folder / "model")
        repeats = {"ours": args.repeats, "plain": args.plain_repeats}
        build = partial(make_trainer, model=model, shape=shape, args=args, folder=folder)
        trainers = {side: build(side, steps=repeats[side] + 1) for side in SIDES}
        check_the_same(trainers, CLIPS[shape], args)
        describe(shape, trainers["ours"], args)
        print(f"| side | {', s | '.join(PARTS)}, s | step, s | completion tokens/s | steps |")
        print(f"|{'---|' * (len(PARTS) + 4)}")
        taken = {}
        for side in ("ours", "plain"):
            taken[side] = measured(side, trainers.pop(side))
            seconds = [f"{taken[side][part]:.3f}" for part in (*PARTS, "step")]
            speed = args.prompts * args.completions * args.length / taken[side]["step"]
            print(f"| {' | '.join([side, *seconds, f'{speed:.0f}', str(repeats[side])])} |", flush=True)
        ratios = {part: taken["plain"][part] / taken["ours"][part] for part in ("rollout", "scoring", "step")}
        summary = ", ".join(f"{part} {ratio:.2f}" for part, ratio in ratios.items())
        print(f"\nplain : ours: {summary}\n", flush=True)


def describe(shape: str, trainer: OurTrainer, args: argparse.Namespace) -> None:
    """Print what is measured."""
    text, (width, height, frames) = trainer._base_model.config.text_config, CLIPS[shape]
    weights = sum(weight.numel() for weight in trainer._base_model.parameters())
    print(
        f"{shape}: {weights / 1e6:.1f} M weights, {text.num_hidden_layers} layers of {text.hidden_size}, vocabulary "
        f"{text.vocab_size}; {args.prompts} prompts x {args.completions} completions of {args.length} tokens, clips "
        f"of {frames} frames of {width} x {height}; {trainer.args.per_device_train_batch_size} rows in a pass\n"
    )


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes",
        nargs="+",
        choices=("demo", "small"),
        default=["demo", "small"],
        help="which models (default: both)",
    )
    parser.add_argument("--prompts", type=int, default=8, help="prompts of a step (default: 8)")
    parser.add_argument("--completions", type=int, default=8, help="completions of a prompt (default: 8)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a completion (default: 128)")
    parser.add_argument("--at-once", type=int, default=8, help="rows in a scoring pass with gradient (default: 8)")
    parser.add_argument("--hidden", type=int, default=512, help="width of the small language model (default: 512)")
    parser.add_argument("--layers", type=int, default=8, help="its depth and its tower's (default: 8)")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="its tokens (default: 151936)")
    parser.add_argument("--repeats", type=int, default=5, help="steps of our side that count (default: 5)")
    parser.add_argument(
        "--plain-repeats", type=int, default=3, help="steps of the plain side, which takes minutes (default: 3)"
    )
    parser.add_argument("--accelerator", action="store_true", help="measure the 3B shape on the first GPU instead")
    args = parser.parse_args()
    args.device, args.dtype, args.tolerance = "cpu", "float32", 1e-4
    if args.accelerator:
        # bfloat16 keeps 8 bits, and the sides round in other places.
        args.device, args.dtype, args.tolerance, args.shapes = "cuda", "bfloat16", 2e-2, ["large"]
    return args


def main() -> None:
    """Measure and print a table for each shape."""
    args = arguments()
    disable_progress_bars()
    print(f"{machine(args.device, args.dtype)}, TRL {trl.__version__}\n")
    for shape in args.shapes:
        print_shape(shape, args)


if __name__ == "__main__":
    main()
