"""What the exact gradient of a row's own latents costs: one unroll against as many parallel passes as latents.

    python benchmarks/self_feeding_cost.py                  # time and peak memory by length, on this machine
    python benchmarks/self_feeding_cost.py --lengths 8192 --repeats 3

A step is forward and backward of one row of text with latent blocks; weights are random. Teacher forcing, one plain
pass that feeds targets, is there for comparison. Each way is measured with kept and with recomputed activations. Time
is CPU time of the process, by turns, so that other work on the machine counts less; memory is the peak above what was
there before the step, gradients included, each in a forked process of its own. How far the gradients of both exact
ways differ is printed in the end.
"""

import argparse
import time
from functools import partial

import torch
from measuring import in_fork, machine, medians, peak

from fourdthinker.modeling import FourDThinkerForConditionalGeneration
from fourdthinker.modeling.self_feeding import SelfFeeding
from fourdthinker.modeling.tiny.qwen2_5_vl import build_tokenizer, tiny_config

LATENTS = 4  # of a block
ANSWER = 64  # tokens after the last block
BETWEEN = 16  # and between two of them
VOCABULARY = 1024


class Step:
    """Forward and backward of one row.

    Args:
        args (`argparse.Namespace`): Shape of the model and of the row.
        length (`int`): Tokens of the row.
        recompute (`bool`): Whether activations are recomputed in the backward pass.
    """

    ways = ("teacher forcing", "parallel passes", "one unroll")

    def __init__(self, args: argparse.Namespace, length: int, recompute: bool):
        torch.manual_seed(0)
        tokenizer = build_tokenizer(["Which way does the camera move?"] * 2, vocab_size=VOCABULARY)
        config = tiny_config(
            tokenizer,
            hidden_size=args.hidden,
            layers=args.layers,
            heads=args.hidden // 64,
            kv_heads=max(1, args.hidden // 256),
            latent_size=LATENTS,
        )
        config.latent_norm, config.latent_target_norm = "match", 1.0
        self.model = FourDThinkerForConditionalGeneration(config).train()
        if recompute:
            self.model.model.language_model.gradient_checkpointing_enable()
        block = [config.latent_start_token_id, *[config.latent_token_id] * LATENTS, config.latent_end_token_id]
        text = torch.arange(length) % 100 + 100
        end = length - ANSWER
        for _ in range(args.blocks):
            text[end - len(block) : end] = torch.tensor(block)
            end -= len(block) + BETWEEN
        labels = text.masked_fill((torch.arange(length) < end) | (text == config.latent_token_id), -100)
        self.batch = {"input_ids": text[None], "labels": labels[None], "logits_to_keep": 1, "use_cache": False}
        self.batch["latent_targets"] = torch.randn(args.blocks, LATENTS, args.hidden)
        latents = args.blocks * LATENTS
        exact = (None, SelfFeeding(latents, None), SelfFeeding(gradient=None))
        self.feedings = dict(zip(self.ways, exact, strict=True))

    def run(self, way: str) -> None:
        """One step; the gradient of the step before is dropped first."""
        self.model.zero_grad(set_to_none=True)
        self.model(**self.batch, self_feeding=self.feedings[way]).loss.backward()

    def gradient(self, way: str) -> torch.Tensor:
        """The gradient of all weights, flat."""
        self.run(way)
        return torch.cat([weight.grad.flatten() for weight in self.model.parameters() if weight.grad is not None])


def memory_of(args: argparse.Namespace, length: int, recompute: bool, way: str) -> float:
    """The peak of one way above what was there before, in MiB."""
    step = Step(args, length, recompute)
    step.run(way)  # what libraries allocate once
    step.model.zero_grad(set_to_none=True)
    before, highest = peak(lambda: step.run(way))
    return highest - before


def main() -> None:
    """Check that both exact ways have one gradient, measure all ways, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024], help="tokens of a row")
    parser.add_argument("--blocks", type=int, default=2, help=f"latent blocks of a row, {LATENTS} latents each")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model")
    parser.add_argument("--layers", type=int, default=8, help="layers of the model")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each way, of which the median is printed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("cpu", "float32"))
    print(f"{args.layers} layers of {args.hidden}, {args.blocks * LATENTS} latents, median of {args.repeats}\n")
    print("| tokens | activations | way | seconds | of teacher forcing | peak, MiB | of teacher forcing |")
    print("|---|---|---|---|---|---|---|")
    gaps, ways = [], Step.ways
    shapes = [(length, recompute) for length in args.lengths for recompute in (False, True)]
    # Before anything runs here: forked processes would fill what it has freed, which is not seen.
    peaks = {shape: {way: in_fork(partial(memory_of, args, *shape, way)) for way in ways} for shape in shapes}
    for length, recompute in shapes:
        memory = peaks[length, recompute]
        step = Step(args, length, recompute)
        parallel, unrolled = step.gradient("parallel passes"), step.gradient("one unroll")
        gaps.append(((unrolled - parallel).norm() / parallel.norm()).item())
        seconds = medians({way: partial(step.run, way) for way in ways}, args.repeats, clock=time.process_time)
        del step, parallel, unrolled
        for way in ways:
            shares = [values[way] / values["teacher forcing"] for values in (seconds, memory)]
            kept = "recomputed" if recompute else "kept"
            numbers = f"{seconds[way]:.2f} | {shares[0]:.2f} | {memory[way]:.0f} | {shares[1]:.2f}"
            print(f"| {length} | {kept} | {way} | {numbers} |", flush=True)
    print(f"\nGradients of the two exact ways differ by {max(gaps):.1e} of their length at most.")


if __name__ == "__main__":
    main()
