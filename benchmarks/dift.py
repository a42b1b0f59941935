"""A DIFT step against a plain loop of the same maths: same weights, same rows, same optimizer.

    python benchmarks/dift.py                 # step time and peak memory by length at a 0.1 B shape on this machine
    python benchmarks/dift.py --accelerator   # the 3B shape in bfloat16 on the first GPU

A step is all from a row to new weights: collating, forward, backward, clipping, AdamW. The plain loop does what the
research code does: three processor passes for a batch, the imagery through the tower each time, logits of all
positions in fp32, the stock cross entropy. Ours is measured with the imagery's targets kept (`precompute_targets`),
with nothing kept, and with the videos' features kept as well. Both sides must agree on the loss and on the length of
its gradient before they are measured.
"""

import argparse
import ctypes
import gc
import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from datasets import Dataset, disable_progress_bars
from measuring import machine, medians, peak, printed_by
from PIL import Image
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel, ProcessorMixin, Qwen2_5_VLForConditionalGeneration

from fourdthinker.dataset_builders.schema import DIFT_FEATURES
from fourdthinker.modeling import FourDThinkerConfig, FourDThinkerForConditionalGeneration
from fourdthinker.modeling.latent_pooling import pool_features
from fourdthinker.modeling.processing import conversation_text, decode_image
from fourdthinker.modeling.prompts import PROMPT_SUFFIX, video_message
from fourdthinker.modeling.rope_positions import qwen_positions
from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config
from fourdthinker.modeling.tokens import IMAGERY_MARK, LATENT_END, LATENT_PAD, LATENT_START, expand_imagery_marks
from fourdthinker.trainers import DIFTCollator
from fourdthinker.trainers.common.images import keep_images_encoded
from fourdthinker.trainers.common.tied_embeddings import input_gradient_by_rows
from fourdthinker.trainers.dift.feature_cache import FeatureCache

WIDTH, HEIGHT, TOKENS_A_GRID = 448, 252, 16 * 9  # of a frame, and of two of them
IMAGERY, RESPONSE_TOKENS = 4, 200
QUESTION, OPTIONS = "Which way does the camera move?", ["Pan Left", "Pan Right", "Tilt Up", "Tilt Down"]
WORD = " slowly"
IGNORED = -100
# What the plain loop holds of the logits at once: they, their log-softmax, and the gradient of either.
LOGITS_AT_ONCE = 4
# Weights, gradients and the two moments of AdamW.
WEIGHTS_AT_ONCE = 4

OURS = {"ours": ("targets",), "nothing kept": (), "videos kept": ("targets", "videos")}
SIDES = ("plain", *OURS)


def configuration(processor: ProcessorMixin, args: argparse.Namespace) -> FourDThinkerConfig:
    """A Qwen2.5-VL shape: the 3B one, or a small one with its vocabulary and with a tower in its proportion."""
    small = {
        "hidden_size": args.hidden,
        "layers": args.layers,
        "heads": args.hidden // 64,
        "kv_heads": max(1, args.hidden // 256),
        "vision_hidden_size": args.hidden * 5 // 8,
        "vision_layers": args.layers,
        "vision_heads": args.hidden // 128,
    }
    large = {
        "hidden_size": 2048,
        "layers": 36,
        "heads": 16,
        "kv_heads": 2,
        "intermediate_size": 11008,
        "vision_hidden_size": 1280,
        "vision_layers": 32,
        "vision_heads": 16,
        "vision_intermediate_size": 3420,
    }
    config = tiny_config(processor.tokenizer, **(large if args.accelerator else small))
    config.text_config.vocab_size = args.vocabulary
    return config


def make_processor() -> ProcessorMixin:
    """The stock processor around a tokenizer that knows the words of the rows."""
    texts = [f"system\nYou are a helpful assistant. {QUESTION} {'. '.join(OPTIONS)}{PROMPT_SUFFIX}{WORD}"] * 2
    return build_processor(build_tokenizer(texts, vocab_size=1024))


def make_row(processor: ProcessorMixin, length: int, latent_size: int) -> dict[str, Any]:
    """A row of exactly this many tokens: mostly video, a response with imagery, and a question as long as needed."""

    def tokens(text: str) -> int:
        return len(processor.tokenizer(text)["input_ids"])

    def response(words: int) -> str:
        parts = [f"{WORD * (words // IMAGERY)} {IMAGERY_MARK}"] * IMAGERY
        return f"<think>{''.join(parts)}{WORD * (words % IMAGERY)}</think><answer>B. Pan Right</answer>"

    def words(question: str) -> int:
        text = expand_imagery_marks(row["response"], latent_size)
        return tokens(conversation_text(processor, question, OPTIONS, text)) - 1  # one stands for the video

    draw = np.random.default_rng(length)

    def picture() -> dict[str, Any]:
        file = io.BytesIO()
        noise = draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "jpeg", quality=90)
        return {"bytes": file.getvalue(), "path": None}

    spoken = tokens(f"\n{expand_imagery_marks(response(0), 0)}<|im_end|>\n")
    row = dict.fromkeys(DIFT_FEATURES, "") | {"options": OPTIONS, "response": response(RESPONSE_TOKENS - spoken)}
    grids = (length - words(QUESTION)) // TOKENS_A_GRID
    if grids < 1:
        raise SystemExit(f"{length} tokens leave no room for a video: give at least {words(QUESTION) + TOKENS_A_GRID}")
    frames = 2 * grids
    return row | {
        "question": QUESTION + WORD * (length - grids * TOKENS_A_GRID - words(QUESTION)),
        "frames": [picture() for _ in range(frames)],
        "timestamps": [0.5 * number for number in range(frames)],
        "imagery": [picture() for _ in range(IMAGERY)],
        "imagery_timestamps": [0.5 * number for number in range(IMAGERY)],
        "imagery_masks": [],
    }


class PlainCollator:
    """The research code's: the user's view for the video, the assistant's for the imagery, both for the ids."""

    def __init__(self, processor: ProcessorMixin, latent_size: int):
        self.processor, self.latent_size = processor, latent_size
        self.ids = processor.tokenizer.convert_tokens_to_ids

    def __call__(self, rows: list[Mapping]) -> dict[str, Any]:
        """Collate rows."""
        videos = [[decode_image(frame) for frame in row["frames"]] for row in rows]
        imagery = [decode_image(image) for row in rows for image in row["imagery"]]
        rates = [(len(row["frames"]) - 1) / (row["timestamps"][-1] - row["timestamps"][0]) for row in rows]
        picture = f"{LATENT_START}{self.processor.image_token}{LATENT_END}"
        responses = [f"{row['response'].replace(IMAGERY_MARK, picture)}<|im_end|>\n" for row in rows]
        questions = [
            self.processor.apply_chat_template(
                video_message(row["question"], row["options"]), tokenize=False, add_generation_prompt=True
            )
            for row in rows
        ]
        film = {
            "videos": videos,
            "videos_kwargs": {
                "do_sample_frames": False,
                "video_metadata": [
                    {"fps": fps, "total_num_frames": len(video), "frames_indices": list(range(len(video)))}
                    for fps, video in zip(rates, videos, strict=True)
                ],
            },
        }
        settings = {"padding": True, "padding_side": "right", "return_tensors": "pt"}
        user = self.processor(text=questions, **film, **settings)
        assistant = self.processor(text=responses, images=imagery, **settings)
        both = [question + answer for question, answer in zip(questions, responses, strict=True)]
        full = self.processor(text=both, images=imagery, **film, **settings)
        batch = self._with_pads(full["input_ids"], full["attention_mask"])
        return {
            **batch,
            "pixel_values_videos": user["pixel_values_videos"],
            "video_grid_thw": user["video_grid_thw"],
            "second_per_grid_ts": user["second_per_grid_ts"],
            "pixel_values_latent": assistant["pixel_values"],
            "image_grid_thw_latent": assistant["image_grid_thw"],
        }

    def _with_pads(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Ids with latent pads in the place of image tokens, and labels of what follows the assistant's name."""
        image, start, pad = map(self.ids, (self.processor.image_token, LATENT_START, LATENT_PAD))
        fill = self.processor.tokenizer.pad_token_id
        opening = self.processor.tokenizer("<|im_start|>assistant")["input_ids"]
        sequences, labels = [], []
        for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
            sequence = []
            for token, kept in zip(ids, mask, strict=True):
                if kept and token != image:
                    sequence += [token] + [pad] * (self.latent_size if token == start else 0)
            at = next(n for n in range(len(sequence)) if sequence[n : n + len(opening)] == opening) + len(opening)
            sequences.append(sequence)
            labels.append([token if n >= at and token != pad else IGNORED for n, token in enumerate(sequence)])
        longest = max(map(len, sequences))
        filled = {
            "input_ids": [ids + [fill] * (longest - len(ids)) for ids in sequences],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences],
            "labels": [ids + [IGNORED] * (longest - len(ids)) for ids in labels],
        }
        return {name: torch.tensor(values) for name, values in filled.items()}


def plain_loss(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    """The DIFT loss with the stock class, as one would write it."""
    config, inner = model.config, model.model
    ids, labels, mask = batch["input_ids"], batch["labels"], batch["attention_mask"]
    with torch.no_grad():
        features = inner.get_image_features(batch["pixel_values_latent"], batch["image_grid_thw_latent"])
        targets = pool_features(features.pooler_output, config.latent_size).flatten(0, 1)
    pads = ids == config.latent_token_id
    embeds = inner.get_input_embeddings()(ids)
    embeds = embeds.masked_scatter(pads[..., None], targets.to(embeds.dtype))
    vision = {name: batch[name] for name in ("video_grid_thw", "second_per_grid_ts")}
    # Qwen's own rule, by which both sides go on after a video; transformers 5 has another.
    positions, _ = qwen_positions(
        ids,
        2 * (ids == config.video_token_id).int(),
        **vision,
        attention_mask=mask,
        spatial_merge_size=config.vision_config.spatial_merge_size,
        tokens_per_second=config.vision_config.tokens_per_second,
    )
    states = inner(
        input_ids=ids,
        inputs_embeds=embeds,
        attention_mask=mask,
        position_ids=positions,
        pixel_values_videos=batch["pixel_values_videos"],
        use_cache=False,
        **vision,
    ).last_hidden_state
    logits = model.lm_head(states)
    ce = model.loss_function(logits=logits, labels=labels, vocab_size=config.text_config.vocab_size)
    predictions = states[:, :-1][pads[:, 1:]]
    # As many latents an image everywhere, so the mean over images of their means is the mean.
    sim = (1.0 - cosine_similarity(predictions.float(), targets.float(), dim=-1)).mean()
    return config.ce_loss_weight * ce + config.sim_loss_weight * sim


def our_loss(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    """The DIFT loss as `DIFTTrainer` computes it."""
    return model(**batch, use_cache=False, logits_to_keep=1).loss


class Training:
    """One model and its optimizer, at either side."""

    def __init__(self, side: str, args: argparse.Namespace):
        self.plain, self.args, self.processor = side == "plain", args, make_processor()
        kind = Qwen2_5_VLForConditionalGeneration if self.plain else FourDThinkerForConditionalGeneration
        torch.manual_seed(0)
        with torch.device(args.device):
            self.model = kind(configuration(self.processor, args)).to(getattr(torch, args.dtype))
        self.model.model.visual.requires_grad_(False)
        self.model.train()
        if args.checkpointing:
            before_5_24 = self.model.gradient_checkpointing_enable
            getattr(self.model, "activation_checkpointing_enable", before_5_24)()
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-5, weight_decay=0.01, fused=True)
        self._folder = tempfile.TemporaryDirectory()

    def batches(self, length: int, kept: tuple[str, ...] = ()) -> Callable[[], dict[str, Any]]:
        """Collates the row of this length, with what is to be kept of it computed before."""
        size = self.model.config.latent_size
        rows = keep_images_encoded(Dataset.from_list([make_row(self.processor, length, size)], features=DIFT_FEATURES))
        cache = FeatureCache(self.model, self.processor, self._folder.name)
        if "targets" in kept:
            rows = cache.add_targets(rows)
        if "videos" in kept:
            rows = cache.add_videos(rows)
        collate = (PlainCollator if self.plain else DIFTCollator)(self.processor, size)
        return lambda: send_to_device(collate([rows[0]]), self.args.device)

    def gradient(self, batch: dict[str, Any]) -> tuple[float, float]:
        """The loss, and the length of its gradient before it is clipped."""
        with input_gradient_by_rows(self.model, enabled=not self.plain):
            loss = (plain_loss if self.plain else our_loss)(self.model, batch)
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        return loss.item(), norm.item()

    def step(self, batches: Callable[[], dict[str, Any]]) -> None:
        """From a row to new weights."""
        self.gradient(batches())
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.args.device != "cpu":
            torch.cuda.synchronize()


def check_the_same(plain: Training, ours: Training, length: int, tolerance: float) -> None:
    """Both sides compute the same loss, with the same gradient by its length, from rows of either kind."""
    expected = plain.gradient(plain.batches(length)())
    plain.optimizer.zero_grad()
    for name, kept in OURS.items():
        computed = ours.gradient(ours.batches(length, kept)())
        ours.optimizer.zero_grad()
        assert np.allclose(computed, expected, rtol=tolerance, atol=tolerance), (name, length, computed, expected)


def fits(training: Training, length: int, models: int) -> bool:
    """Whether the plain loop would stay within the memory limit, with as many models at hand."""
    args = training.args
    weights = sum(weight.numel() * weight.element_size() for weight in training.weights)
    logits = length * args.vocabulary * (4 if args.dtype == "float32" else 5)
    return models * WEIGHTS_AT_ONCE * weights + LOGITS_AT_ONCE * logits < args.memory * 1e9


def step_memory(training: Training, length: int) -> tuple[float, float]:
    """MiB before a warm step, which are weights and optimizer state, and at its peak."""
    batches = training.batches(length, () if training.plain else OURS["ours"])
    training.step(batches)
    gc.collect()
    if training.args.device == "cpu":
        ctypes.CDLL(None).malloc_trim(0)  # or what the allocator has kept would hide a part of the next step
        return peak(lambda: training.step(batches))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    training.step(batches)
    return before / 2**20, torch.cuda.max_memory_allocated() / 2**20


def describe(training: Training) -> None:
    """Print the machine, the versions and the shape."""
    args, config = training.args, training.model.config
    text, vision = config.text_config, config.vision_config
    trained = sum(weight.numel() for weight in training.weights)
    frozen = sum(weight.numel() for weight in training.model.model.visual.parameters())
    recomputed = "recomputed" if args.checkpointing else "kept"
    print(machine(args.device, args.dtype))
    print(
        f"{trained / 1e6:.0f} M weights in {text.num_hidden_layers} layers of {text.hidden_size}, vocabulary "
        f"{text.vocab_size}, tied; {frozen / 1e6:.0f} M frozen in {vision.depth} layers of {vision.hidden_size}"
    )
    print(
        f"one row a step: frames of {WIDTH} x {HEIGHT}, {IMAGERY} of imagery, {RESPONSE_TOKENS} supervised tokens; "
        f"activations {recomputed}; {args.repeats} steps\n"
    )


def print_times(trainings: dict[str, Training], lengths: list[int]) -> None:
    """One line a length."""
    args = trainings["ours"].args
    fitting = [length for length in lengths if fits(trainings["plain"], length, models=2)]
    for length in fitting:  # before any step, since the sides do not make equally many
        check_the_same(trainings["plain"], trainings["ours"], length, args.tolerance)
    print(f"| tokens | {', s | '.join(SIDES)}, s | plain : ours | plain, tokens/s | ours, tokens/s |")
    print(f"|{'---|' * (len(SIDES) + 4)}")
    for length in lengths:
        batches = {name: trainings["ours"].batches(length, kept) for name, kept in OURS.items()}
        if length in fitting:
            batches["plain"] = trainings["plain"].batches(length)
        runs = {
            side: partial(trainings["plain" if side == "plain" else "ours"].step, collated)
            for side, collated in batches.items()
        }
        # As in training; by turns each would find the memory that the one before gave back.
        taken = medians(runs, args.repeats, by_turns=False)
        seconds = [f"{taken[side]:.2f}" if side in taken else "–" for side in SIDES]
        ratio = f"{taken['plain'] / taken['ours']:.2f}" if "plain" in taken else "–"
        speeds = [f"{length / taken[side]:.0f}" if side in taken else "–" for side in ("plain", "ours")]
        print(f"| {' | '.join([str(length), *seconds, ratio, *speeds])} |", flush=True)


def print_memory(trainings: dict[str, Training], lengths: list[int]) -> None:
    """One line a length."""
    args = trainings["ours"].args
    print("\nMemory of a step at its peak, above weights and optimizer state; gradients are in it:\n")
    print("| tokens | plain, MiB | ours, MiB | ours : plain |\n|---|---|---|---|")
    fitting = [length for length in lengths if fits(trainings["plain"], length, models=1)]
    if args.device == "cpu":
        trainings.clear()  # room for the processes that measure
        gc.collect()
    for length in lengths:
        more = {}
        for side in ("plain", "ours") if length in fitting else ("ours",):
            if args.device == "cpu":
                before, most = printed_by(__file__, [*sys.argv[1:], "--peak", side, "--lengths", str(length)])
            else:
                before, most = step_memory(trainings[side], length)
            more[side] = most - before
        ratio = f"{more['ours'] / more['plain']:.3f}" if "plain" in more else "–"
        cells = [f"{more[side]:.0f}" if side in more else "–" for side in ("plain", "ours")]
        print(f"| {' | '.join([str(length), *cells, ratio])} |", flush=True)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    lengths = [512, 1024, 2048, 4096, 8192]
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=lengths, help="tokens of a row (default: 512 to 8192)"
    )
    parser.add_argument("--hidden", type=int, default=512, help="width of the language model (default: 512)")
    parser.add_argument("--layers", type=int, default=8, help="its depth and the tower's (default: 8)")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="its tokens (default: 151936)")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, on both sides")
    parser.add_argument("--repeats", type=int, default=5, help="steps that count (default: 5)")
    parser.add_argument("--memory", type=float, default=18, help="GB that the plain loop may take (default: 18)")
    parser.add_argument("--accelerator", action="store_true", help="measure the 3B shape on the first GPU instead")
    parser.add_argument("--peak", choices=("plain", "ours"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device, args.dtype, args.tolerance = "cpu", "float32", 1e-4
    if args.accelerator:
        # bfloat16 keeps 8 bits, and the sides round logits of other shapes.
        args.device, args.dtype, args.tolerance = "cuda", "bfloat16", 2e-2
        args.memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return args


def main() -> None:
    """Measure and print two tables."""
    args = arguments()
    disable_progress_bars()
    if args.peak:
        print(*step_memory(Training(args.peak, args), args.lengths[0]))
        return
    trainings = {side: Training(side, args) for side in ("plain", "ours")}
    describe(trainings["ours"])
    print_times(trainings, args.lengths)
    print_memory(trainings, args.lengths)


if __name__ == "__main__":
    main()
