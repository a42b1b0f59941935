"""The sections of `gpu.py`: each measures one part and returns its lines of Markdown.

Each imports the benchmark it takes from, so that one which cannot be imported leaves the others their turn.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import torch
from measuring import medians

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = {"1k tokens": 1024, "4k tokens": 4096, "16k tokens": 16384}
# A row of the tiny trial must still hold a video.
TINY_LENGTHS = {"1k tokens": 512, "4k tokens": 768, "16k tokens": 1024}


def settings(args: argparse.Namespace) -> argparse.Namespace:
    """What the other benchmarks read from their command lines, at the 3B or the tiny shape."""
    shapes = {
        "3b": {
            "hidden": 2048,
            "layers": 36,
            "vocabulary": 151_936,
            "prompt": 64,
            "tokens": 96,
            "prompts": 8,
            "completions": 8,
            "length": 128,
            "accelerator": True,
        },
        "tiny": {
            "hidden": 128,
            "layers": 2,
            "vocabulary": 8192,
            "prompt": 8,
            "tokens": 32,
            "prompts": 2,
            "completions": 2,
            "length": 12,
            "accelerator": False,
        },
    }
    dtype = "float32" if args.shape == "tiny" else "bfloat16"
    return argparse.Namespace(
        **shapes[args.shape],
        device=args.device,
        dtype=dtype,
        repeats=args.repeats,
        checkpointing=True,
    )


def free(args: argparse.Namespace) -> None:
    """Give back what a part has left, also after it ran out of memory."""
    gc.collect()
    if args.device == "cuda":
        torch.cuda.empty_cache()


@cache
def _models(shape: str, device: str) -> dict[str, torch.nn.Module]:
    """The stock class and ours for decoding, built once for all parts."""
    import decoding as decoding_benchmark

    args = settings(argparse.Namespace(shape=shape, device=device, repeats=1))
    with torch.device(device):  # drawing three billion weights takes a CPU minutes
        return {kind: decoding_benchmark.build(kind, args) for kind in decoding_benchmark.KINDS}


@cache
def _step_limit(shape: str, device: str) -> float | None:
    """Steps a second if each only read the language model's weights; none without a GPU."""
    import decoding as decoding_benchmark

    language_model = _models(shape, device)["latents"].model.language_model
    weights = sum(weight.numel() * weight.element_size() for weight in language_model.parameters())
    return decoding_benchmark.bandwidth(device) / weights if device == "cuda" else None


def decoding(part: str, args: argparse.Namespace) -> str:
    """Tokens a second with latents off and on."""
    import decoding as decoding_benchmark

    rows, kind_of_cache = part.split(", ")
    batch, ours = int(rows.split()[0]), settings(args)
    limit = _step_limit(args.shape, args.device)
    runs = {
        kind: decoding_benchmark.decode(model, list(range(batch)), ours, kind_of_cache)
        for kind, model in _models(args.shape, args.device).items()
    }
    steps = {kind: ours.tokens / seconds for kind, seconds in medians(runs, args.repeats).items()}
    lines = [
        f"{ours.tokens} new tokens; the limit is {f'{limit:.0f} steps/s' if limit else 'known on a GPU only'}\n",
        "| latents | tokens/s | steps/s | share of the limit | seconds : latents off |",
        "|---|---|---|---|---|",
    ]
    for name, kind in (("off", "stock"), ("on", "latents")):
        ratio = steps["stock"] / steps[kind]
        share = f"{steps[kind] / limit:.0%}" if limit else "–"
        lines.append(f"| {name} | {batch * steps[kind]:.0f} | {steps[kind]:.1f} | {share} | {ratio:.3f} |")
    return "\n".join(lines)


# The same with the other cache.
compiled = decoding


def dift(part: str, args: argparse.Namespace) -> str:
    """A DIFT step of one length, ours and then the plain loop's, each alone in memory."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    length = (TINY_LENGTHS if args.shape == "tiny" else LENGTHS)[part]
    taken, lines = {}, []
    for side in ("ours", "plain"):
        try:
            taken[side], cells = _dift_step(side, length, args)
        except torch.OutOfMemoryError:
            if side == "ours":
                raise
            cells = "out of memory | – | – | – | –"
        free(args)
        lines.append(f"| {side} | {cells} |")
    ratio = f"{taken['plain'] / taken['ours']:.2f}" if "plain" in taken else "not measured: out of memory"
    head = "| side | step, s | tokens/s | most memory, GiB | loss | gradient norm |\n|---|---|---|---|---|---|"
    return "\n".join([f"one row of {length} tokens\n", head, *lines, "", f"plain : ours, seconds: {ratio}"])


def _dift_step(side: str, length: int, args: argparse.Namespace) -> tuple[float, str]:
    """Median seconds of a step, and the cells of a side's line."""
    import dift as dift_benchmark

    training = dift_benchmark.Training(side, settings(args))
    batches = training.batches(length, () if side == "plain" else dift_benchmark.OURS[side])
    loss, norm = training.gradient(batches())
    training.optimizer.zero_grad()
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = medians({side: lambda: training.step(batches)}, args.repeats)[side]
    most = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if args.device == "cuda" else "–"
    return seconds, f"{seconds:.3f} | {length / seconds:.0f} | {most} | {loss:.4f} | {norm:.4f}"


def grpo(part: str, args: argparse.Namespace) -> str:
    """The parts of a 4DRL step."""
    import grpo as grpo_benchmark
    from datasets import disable_progress_bars

    disable_progress_bars()
    ours, shape = settings(args), "small" if args.shape == "tiny" else "large"
    completions = ours.prompts * ours.completions
    ours.at_once = ours.completions if part.startswith("8 ") else completions
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = grpo_benchmark.make_model(shape, ours, folder / "model")
        free(args)
        trainer = grpo_benchmark.make_trainer("ours", model, shape, ours, args.repeats + 1, folder)
        try:
            taken = grpo_benchmark.measured("ours", trainer)
        finally:
            trainer.accelerator.free_memory()  # or the next part would find it full
    names = [*grpo_benchmark.PARTS, "step"]
    seconds = " | ".join(f"{taken[name]:.3f}" for name in names)
    speed = completions * ours.length / taken["step"]
    most = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if args.device == "cuda" else "–"
    return "\n".join(
        [
            f"{ours.prompts} prompts x {ours.completions} completions of {ours.length} tokens\n",
            f"| {', s | '.join(names)}, s | completion tokens/s | most memory, GiB |",
            f"|{'---|' * (len(names) + 2)}",
            f"| {seconds} | {speed:.0f} | {most} |",
        ]
    )


def tests(part: str, args: argparse.Namespace) -> str:
    """The tests marked `gpu`: their outcomes and what they measured."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={log}", "tests/gpu"]
        environment = {**os.environ, "GPU_TESTS_DEVICE": args.device}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if not log.exists():
            raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
        lines = ["| test | outcome | measured |", "|---|---|---|"]
        for case in ElementTree.parse(log).iter("testcase"):
            measured = ", ".join(f"{one.get('name')} {one.get('value')}" for one in case.iter("property"))
            lines.append(f"| {case.get('name')} | {_outcome(case)} | {measured} |")
    if len(lines) == 2:
        raise RuntimeError("pytest found no test marked gpu")
    return "\n".join(lines)


def _outcome(case: ElementTree.Element) -> str:
    """Passed, or how it ended and the first line of why."""
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            lines = (found.get("message") or "").strip().splitlines()
            return f"{kind}: {lines[0] if lines else ''}".replace("|", "/")
    return "passed"
