"""Decoding with latents against the stock class: same weights, same prompts, the same number of tokens.

    python benchmarks/decoding.py                 # speed and peak memory on this machine
    python benchmarks/decoding.py --accelerator   # the 3B shape in bfloat16, batch 1 and 64, on the first GPU

Every figure is the median of `--repeats` warm runs, the two classes by turns. Latent blocks open at random times that
differ from row to row; the stock class says a plain token there instead.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from measuring import machine, medians, peak, printed_by
from transformers import LogitsProcessor, Qwen2_5_VLForConditionalGeneration

from fourdthinker.modeling import FourDThinkerConfig, FourDThinkerForConditionalGeneration

PAD, START, END, PLAIN = 8000, 8001, 8002, 17
KINDS = {"stock": Qwen2_5_VLForConditionalGeneration, "latents": FourDThinkerForConditionalGeneration}


class SayAt(LogitsProcessor):
    """Makes each row say one token at its own times."""

    def __init__(self, token: int, times: list[set[int]], prompt_length: int):
        self.token, self.times, self.prompt_length = token, times, prompt_length

    def __call__(self, input_ids, scores):
        """Force the token in the rows whose time it is."""
        step = input_ids.shape[1] - self.prompt_length
        for row, times in enumerate(self.times):
            if step in times:
                scores[row] = -torch.inf
                scores[row, self.token] = 0.0
        return scores


def configuration(hidden: int, layers: int, vocabulary: int) -> FourDThinkerConfig:
    """A Qwen2.5-VL configuration of this width and depth, with heads of 64 or 128."""
    head = 128 if hidden >= 2048 else 64
    half = head // 2
    text = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": int(5.375 * hidden) // 64 * 64,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // head,
        "num_key_value_heads": max(1, hidden // head // 8),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [half // 4, 3 * half // 8, 3 * half // 8],
        },
    }
    vision = {"depth": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": hidden}
    ids = {"latent_token_id": PAD, "latent_start_token_id": START, "latent_end_token_id": END}
    return FourDThinkerConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)


def build(kind: str, args: argparse.Namespace) -> torch.nn.Module:
    """The stock class or ours, with the same random weights."""
    torch.manual_seed(0)
    model = KINDS[kind](configuration(args.hidden, args.layers, args.vocabulary))
    return model.to(args.device, getattr(torch, args.dtype)).eval()


def decode(model: torch.nn.Module, rows: list[int], args: argparse.Namespace, cache=None) -> Callable[[], None]:
    """A run that decodes these rows together, each with its own prompt and its own times of three latent blocks.

    On a GPU, transformers compiles the forward of a run with `cache="static"`.
    """
    draws = [np.random.default_rng(row) for row in rows]
    prompts = torch.tensor(np.stack([draw.integers(100, 7000, args.prompt) for draw in draws]), device=args.device)
    slots = np.arange(0, args.tokens - 8, 8)
    times = [set((draw.choice(slots, 3, replace=False) + draw.integers(0, 3)).tolist()) for draw in draws]
    token = START if isinstance(model, FourDThinkerForConditionalGeneration) else PLAIN

    def run() -> None:
        with torch.inference_mode():
            model.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=args.tokens,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                logits_processor=[SayAt(token, times, args.prompt)],
                cache_implementation=cache,
            )
        if args.device != "cpu":
            torch.cuda.synchronize()

    return run


def peak_memory(kind: str, argv: list[str]) -> tuple[float, float]:
    """Of a process that decodes 16 rows with one class: its memory before, and how much more that took, in MiB."""
    before, most = printed_by(__file__, [*argv, "--peak", kind])
    return before, most - before


def measure_peak(args: argparse.Namespace) -> None:
    """Print resident memory before and at the peak of a warm run."""
    args.prompt = 1024  # so that states kept of every layer would show
    run = decode(build(args.peak, args), list(range(16)), args)
    run()
    print(*peak(run))


def bandwidth(device: str) -> float:
    """Measured bytes a second that a copy on this device reads and writes."""
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(6):
        torch.cuda.synchronize()
        started = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * source.numel() / statistics.median(seconds[1:])


def measure_accelerator(args: argparse.Namespace) -> None:
    """Tokens a second at the 3B shape with either cache, and the share of what reading all weights would allow."""
    args.hidden, args.layers, args.vocabulary, args.dtype = 2048, 36, 151_936, "bfloat16"
    models = {kind: build(kind, args) for kind in KINDS}
    describe(args)
    language_model = models["latents"].model.language_model
    weights = sum(weight.numel() * weight.element_size() for weight in language_model.parameters())
    limit = bandwidth(args.device) / weights
    print(f"{torch.cuda.get_device_name()}: {weights / 1e9:.2f} GB of weights, at most {limit:.0f} steps/s\n")
    print("| rows | cache | stock, tokens/s | latents, tokens/s | share of the limit |\n|---|---|---|---|---|")
    for batch in (1, 64):
        for cache in ("dynamic", "static"):
            runs = {kind: decode(model, list(range(batch)), args, cache) for kind, model in models.items()}
            steps = {kind: args.tokens / seconds for kind, seconds in medians(runs, args.repeats).items()}
            speeds = " | ".join(f"{batch * steps[kind]:.0f}" for kind in ("stock", "latents"))
            print(f"| {batch} | {cache} | {speeds} | {steps['latents'] / limit:.0%} |")


def describe(args: argparse.Namespace) -> None:
    """Print the machine, the versions and the shape."""
    print(machine(args.device, args.dtype))
    shape = f"{args.layers} layers of {args.hidden}, vocabulary {args.vocabulary}, prompt {args.prompt}"
    print(f"{shape}, {args.tokens} new tokens, {args.repeats} runs\n")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256, help="width of the language model (default: 256)")
    parser.add_argument("--layers", type=int, default=6, help="its depth (default: 6)")
    parser.add_argument("--vocabulary", type=int, default=8192, help="its tokens (default: 8192)")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt (default: 64)")
    parser.add_argument("--tokens", type=int, default=96, help="tokens to generate (default: 96)")
    parser.add_argument("--repeats", type=int, default=7, help="runs that count (default: 7)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--accelerator", action="store_true", help="measure the 3B shape on the first GPU instead")
    parser.add_argument("--peak", choices=sorted(KINDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        measure_peak(args)
        return
    if args.accelerator:
        args.device = "cuda"
        measure_accelerator(args)
        return

    models = {kind: build(kind, args) for kind in KINDS}
    describe(args)
    print("| rows at once | stock, tokens/s | latents, tokens/s | latents : stock, seconds |\n|---|---|---|---|")
    for batch in (1, 16):
        taken = medians(
            {kind: decode(model, list(range(batch)), args) for kind, model in models.items()}, args.repeats
        )
        speeds = [f"{batch * args.tokens / taken[kind]:.0f}" for kind in ("stock", "latents")]
        print(f"| {batch} | {' | '.join(speeds)} | {taken['latents'] / taken['stock']:.3f} |")
    singles = [decode(models["latents"], [row], args) for row in range(16)]
    ways = {"together": decode(models["latents"], list(range(16)), args), "alone": lambda: [run() for run in singles]}
    taken = medians(ways, args.repeats)
    print(
        f"\n16 rows together against one after the other: {taken['alone'] / taken['together']:.1f} times the tokens/s"
    )
    if args.device == "cpu":
        peaks = {kind: peak_memory(kind, sys.argv[1:]) for kind in KINDS}
        whole = {kind: before + more for kind, (before, more) in peaks.items()}
        print(f"peak memory: stock {whole['stock']:.0f} MiB, latents {whole['latents']:.0f} MiB, ", end="")
        print(f"ratio {whole['latents'] / whole['stock']:.3f}")
        growth = {kind: more for kind, (_, more) in peaks.items()}
        print(f"of it by decoding: stock {growth['stock']:.1f} MiB, latents {growth['latents']:.1f} MiB")


if __name__ == "__main__":
    main()
