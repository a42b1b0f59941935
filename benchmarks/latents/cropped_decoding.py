"""Decoding an answer with the cropped cache against the full one: same weights, same prompts, the same tokens.

    python benchmarks/latents/cropped_decoding.py

A prompt of 1k, 8k or 32k tokens, nearly all of them of a video, is read once; then a latent block is decoded, and the
answer's tokens after it are timed, without and with the answer bottleneck (`answer_sees="latents"`), which drops the
video's columns from the cache when the block closes. Every figure is the median of `--repeats` warm runs, the two
ways by turns; the time of the drop counts, that of the prompt does not. Seconds are CPU time of one thread, which on
an idle machine is the time that passes; `wall` is that time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import DynamicCache, LogitsProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from decoding import END, PAD, START, configuration
from measuring import machine

from fourdthinker.modeling import FourDThinkerForConditionalGeneration
from fourdthinker.modeling.answer_mask import token_roles

TURN, QUESTION_TOKENS, CHUNK, BLOCK = 5, 40, 512, 6
WAYS = {"full": "all", "cropped": "latents"}


class OpenFirst(LogitsProcessor):
    """Makes the first token open a block."""

    def __init__(self, prompt_length: int):
        self.prompt_length = prompt_length

    def __call__(self, input_ids, scores):
        """Force the start token."""
        if input_ids.shape[1] == self.prompt_length:
            scores = torch.full_like(scores, -torch.inf)
            scores[:, START] = 0.0
        return scores


class StepClock:
    """Notes when each token comes, by CPU time and by the clock, as a streamer of `generate`."""

    def __init__(self):
        self.moments: list[tuple[float, float]] = []

    def put(self, _) -> None:
        """A token, or the prompt, has come."""
        self.moments.append((time.process_time(), time.perf_counter()))

    def seconds(self, first: int) -> tuple[float, float]:
        """Seconds since the moment of this number, of both kinds."""
        return tuple(last - begun for begun, last in zip(self.moments[first], self.moments[-1], strict=True))

    def end(self) -> None:
        """Nothing more comes."""


def build(args: argparse.Namespace) -> FourDThinkerForConditionalGeneration:
    """A random model whose video tokens need no tower: their embeddings stand for the features."""
    torch.manual_seed(0)
    config = configuration(args.hidden, args.layers, args.vocabulary)
    config.turn_token_id, config.latent_blocks = TURN, 1
    config.video_token_id = args.vocabulary - 1
    return FourDThinkerForConditionalGeneration(config).eval()


def make_prompt(length: int, model) -> torch.LongTensor:
    """A turn with a video and a question after it, and the beginning of the response."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(100, 7000, (1, length), generator=generator)
    ids[0, 0] = ids[0, -3] = TURN
    ids[0, 4 : length - 3 - QUESTION_TOKENS] = model.config.video_token_id
    return ids


@contextmanager
def answering(model, way: str) -> Iterator[None]:
    """The model with one of the `WAYS` in effect."""
    model.config.answer_sees = WAYS[way]
    yield
    model.config.answer_sees = "all"


def read_prompt(model, ids: torch.LongTensor) -> DynamicCache:
    """The cache of all but the last token, a piece at a time so that no mask is as large as the prompt squared."""
    cache = DynamicCache(config=model.config.get_text_config())
    roles = token_roles(ids, model.config)
    with answering(model, "cropped"):
        for first in range(0, ids.shape[1] - 1, CHUNK):
            last = min(first + CHUNK, ids.shape[1] - 1)
            positions = torch.arange(first, last).expand(3, 1, -1)
            seen = {"position_ids": positions, "roles": roles[:, :last]}
            model.model(ids[:, first:last], cache=cache, use_cache=True, **seen)
    return cache


def copy_cache(model, cache: DynamicCache) -> DynamicCache:
    """A copy to decode with."""
    copied = DynamicCache(config=model.config.get_text_config())
    for number, layer in enumerate(cache.layers):
        copied.update(layer.keys.clone(), layer.values.clone(), number)
    return copied


def answer(model, ids: torch.LongTensor, tokens: int, **settings):
    """What `generate` returns for one block and an answer of `tokens` tokens."""
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=BLOCK + tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        logits_processor=[OpenFirst(ids.shape[1])],
        return_dict_in_generate=True,
        **settings,
    )


def decode(model, ids: torch.LongTensor, cache: DynamicCache, tokens: int) -> tuple[tuple[float, float], DynamicCache]:
    """Seconds of the answer's tokens behind the block, of both kinds, and the cache afterwards."""
    clock = StepClock()
    model.model.rope_deltas = torch.zeros(1, 1, dtype=torch.long)
    output = answer(model, ids, tokens, cache=cache, streamer=clock)
    assert (output.sequences[0, ids.shape[1] :] == PAD).sum() == BLOCK - 2
    assert output.sequences[0, ids.shape[1] + BLOCK - 1] == END
    return clock.seconds(BLOCK), output.cache


def cache_bytes(cache: DynamicCache) -> int:
    """Bytes of keys and values."""
    return sum(part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values))


@torch.inference_mode()
def check_equal(model, ids: torch.LongTensor, args: argparse.Namespace) -> float:
    """How far the last logits of decoding with the cropped cache are from those of one pass with the training mask."""
    with answering(model, "cropped"):
        output = answer(model, ids, args.tokens, output_logits=True)
        whole = model(output.sequences, latent_embeds=output.latent_embeds[0]).logits[0, ids.shape[1] - 1 : -1]
    return (whole - torch.cat(output.logits)).abs().max().item()


@torch.inference_mode()
def measure(model, length: int, args: argparse.Namespace) -> str:
    """One row of the table, for a prompt of `length` tokens."""
    ids = make_prompt(length, model)
    # Whether the question in it saw the video makes no difference to the time.
    prompt = read_prompt(model, ids)
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    kept = {}
    for turn in range(args.repeats + 1):
        for way in WAYS:
            with answering(model, way):
                taken, cache = decode(model, ids, copy_cache(model, prompt), args.tokens)
            kept[way] = (cache.get_seq_length(), cache_bytes(cache) / 2**20)
            if turn:
                seconds[way].append(taken)
    cells = []
    for kind in range(2):
        speeds = {way: args.tokens / statistics.median(one[kind] for one in seconds[way]) for way in WAYS}
        cells += [f"{speeds[way]:.0f}" for way in WAYS] + [f"{speeds['cropped'] / speeds['full']:.2f}"]
    for number in range(2):
        cells += [f"{kept[way][number]:.{number * 2}f}" for way in WAYS]
    return f"| {length} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256, help="width of the language model (default: 256)")
    parser.add_argument("--layers", type=int, default=6, help="its depth (default: 6)")
    parser.add_argument("--vocabulary", type=int, default=8192, help="its tokens (default: 8192)")
    parser.add_argument("--prompts", type=int, nargs="+", default=[1024, 8192, 32768], help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=96, help="tokens of the answer (default: 96)")
    parser.add_argument("--repeats", type=int, default=7, help="runs that count (default: 7)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = build(args)
    print(machine("cpu", "float32"))
    print(f"{args.layers} layers of {args.hidden}, vocabulary {args.vocabulary}, {args.tokens} tokens, ", end="")
    print(f"{args.repeats} runs\n")
    print(
        "| prompt | full, tokens/s | cropped | ratio | wall: full | cropped | ratio | full, columns | cropped "
        "| full, MiB of cache | cropped |"
    )
    print("|---" * 11 + "|")
    for length in args.prompts:
        print(measure(model, length, args), flush=True)
    ids = make_prompt(args.prompts[0], model)
    difference = check_equal(model, ids, args)
    print(f"\nlargest difference of a logit from one pass with the training mask, {ids.shape[1]} tokens: ", end="")
    print(f"{difference:.1e}")


if __name__ == "__main__":
    main()
