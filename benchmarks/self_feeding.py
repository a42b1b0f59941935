"""Do latents carry the answer? Text-only, published and self-fed DIFT, each read with other latents in their place.

    fourdthinker build-data --source world --answer text --clips 8000 --held-out 800 --output data
    fourdthinker init --tiny --output backbone
    python benchmarks/self_feeding.py --model backbone --data data --output results.json

Rows are the world's object-motion questions without their options (five motions: guessing is right in one of five).
The response pictures the object at the start and at the end and names its motion at once: nothing is put into words
before the imagery that would answer already. Each arm trains from the same backbone with several seeds, then reads the
held-out questions with latents of its own, of the true imagery, with zeros, and with another row's. An answer is right
if every token of it is the likeliest after the right words before it.
"""

import argparse
import json
import platform
import re
import statistics
import time
from pathlib import Path

import torch
import transformers
from datasets import load_dataset
from torch.nn.utils.rnn import pad_sequence

from fourdthinker.eval_tasks.scores import wilson_interval
from fourdthinker.modeling import load_model
from fourdthinker.modeling.atomic import atomic_path
from fourdthinker.modeling.processing import encode, encode_imagery, row_clip
from fourdthinker.modeling.self_feeding import SelfFeeding
from fourdthinker.modeling.tokens import drop_imagery_marks, expand_imagery_marks
from fourdthinker.trainers.common.video_inputs import encode_videos, video_inputs
from fourdthinker.trainers.dift.dift_collator import response_labels

LATENTS = 8  # two blocks of four
ARMS = {
    "text only": {"imagery": False, "settings": {"ce_loss_weight": 1.0}},
    "published": {"imagery": True, "settings": {"ce_loss_weight": 0.1, "sim_loss_weight": 1.0}},
    "self-fed": {
        "imagery": True,
        "settings": {"ce_loss_weight": 1.0, "sim_loss_weight": 1.0, "latent_norm": "match"},
        "feeding": SelfFeeding(gradient=1),
        "teacher_forcing": 0.5,
    },
}
READ_WITH = ("own", "true", "zeroed", "shuffled")


class Rows:
    """Questions of one split, collated once.

    Args:
        model, processor: The backbone.
        data (`str`): Folder of rows.
        split (`str`): `"train"` or `"test"`.
        imagery (`bool`): Whether responses hold it.
    """

    def __init__(self, model, processor, data: str, split: str, imagery: bool):
        rows = load_dataset(data, "dift", split=split)
        rows = rows.filter(lambda task: task == "object_motion", input_columns="task")
        self.pad = processor.tokenizer.pad_token_id
        self.ids, self.labels, self.positions, self.videos, targets = [], [], [], [], []
        for some in rows.iter(100):
            chunk = [dict(zip(some, values, strict=True)) for values in zip(*some.values(), strict=True)]
            self._add(model, processor, chunk, imagery)
            if imagery:
                images = [image for row in chunk for image in row["imagery"]]
                targets.append(model.imagery_targets(**encode_imagery(processor, images)))
        self.targets = torch.cat(targets).unflatten(0, (len(self), -1)) if imagery else None

    def __len__(self) -> int:
        return len(self.ids)

    def _add(self, model, processor, chunk: list[dict], imagery: bool) -> None:
        responses = [short_response(row["response"], imagery, model.config.latent_size) for row in chunk]
        texts = [
            f"<|im_start|>user\n<|vision_start|>{processor.video_token}<|vision_end|>{row['question']}<|im_end|>\n"
            f"<|im_start|>assistant\n{response}<|im_end|>\n"
            for row, response in zip(chunk, responses, strict=True)
        ]
        batch = encode(processor, texts, [row_clip(row) for row in chunk], padding_side="right")
        labels = response_labels(processor, batch, [f"\n{response}<|im_end|>\n" for response in responses])
        labels[batch["input_ids"] == model.config.latent_token_id] = -100
        vision = {name: batch[name] for name in ("video_grid_thw", "second_per_grid_ts", "attention_mask")}
        positions, _ = model.model.get_rope_index(batch["input_ids"], **vision)
        self.videos += encode_videos(model, batch, frozen=True)
        for row, mask in enumerate(batch["attention_mask"].bool()):
            self.ids.append(batch["input_ids"][row, mask])
            self.labels.append(labels[row, mask])
            self.positions.append(positions[:, row, mask].T)

    def batch(self, numbers: list[int]) -> dict:
        """The model's arguments for these rows, padded on the right."""
        ids = pad_sequence([self.ids[n] for n in numbers], batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(self.ids[n]) for n in numbers])
        batch = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
            "labels": pad_sequence([self.labels[n] for n in numbers], batch_first=True, padding_value=-100),
            "position_ids": pad_sequence([self.positions[n] for n in numbers], batch_first=True).permute(2, 0, 1),
            **video_inputs([self.videos[n] for n in numbers]),
        }
        if self.targets is not None:
            batch["latent_targets"] = self.targets[numbers].flatten(0, 1)
        return batch


def short_response(response: str, imagery: bool, latent_size: int) -> str:
    """Only that the object is pictured, and the answer."""
    pictured, answer = re.search(r"(I picture [^.]*(?:\.\d[^.]*)*)\. .*(<answer>.*</answer>)", response).groups()
    short = f"<think>{pictured}.</think>{answer}"
    return expand_imagery_marks(short, latent_size) if imagery else drop_imagery_marks(short)


def train(model, rows: Rows, arm: dict, seed: int, args: argparse.Namespace) -> None:
    """AdamW with a warm-up and a cosine, as the demo's recipes."""
    for name, value in arm["settings"].items():
        setattr(model.config, name, value)
    if model.config.latent_norm == "match":
        model.config.latent_target_norm = rows.targets.norm(dim=-1).mean().item()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=args.learning_rate, weight_decay=0.01)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, 20, args.steps)
    draw, order = torch.Generator().manual_seed(seed), []
    model.train()
    for step in range(args.steps):
        if len(order) < args.batch:
            order = torch.randperm(len(rows), generator=draw).tolist()
        numbers, order = order[: args.batch], order[args.batch :]
        batch = rows.batch(numbers)
        if "feeding" in arm:
            # At first all blocks feed on their targets, from this share of the steps on none.
            share = 1 - step / (arm["teacher_forcing"] * args.steps)
            batch["self_feeding"] = arm["feeding"]
            batch["teacher_forced"] = torch.rand(len(batch["latent_targets"]), generator=draw) < share
        output = model(**batch, use_cache=False, logits_to_keep=1)
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def read(model, rows: Rows) -> dict[str, float]:
    """Right answers with each kind of latents, and how near the model's own are to their targets.

    That is the mean cosine after the targets' mean, which any constant would share with them, is taken from both.
    """
    model.eval()
    right = dict.fromkeys(READ_WITH if rows.targets is not None else ("own",), 0)
    cosines = []
    for start in range(0, len(rows), 100):
        numbers = list(range(start, min(start + 100, len(rows))))
        batch = rows.batch(numbers)
        if rows.targets is None:
            right["own"] += answered(model, batch)
            continue
        own, targets = own_latents(model, batch), rows.targets[numbers].flatten(1, 2)
        kinds = {"own": own, "true": targets, "zeroed": own * 0, "shuffled": own.roll(1, 0)}
        for kind in READ_WITH:
            right[kind] += answered(model, {**batch, "latent_embeds": kinds[kind].flatten(0, 1)})
        mean, length = rows.targets.mean(0).flatten(0, 1), rows.targets.norm(dim=-1).mean()
        scaled = own * length / own.norm(dim=-1, keepdim=True)
        cosines.append(torch.cosine_similarity(scaled - mean, targets - mean, dim=-1))
    return {**right, "centred_cosine": torch.cat(cosines).mean().item()} if cosines else right


def answered(model, batch: dict) -> int:
    """How many rows have all supervised tokens right."""
    output = model(**batch, use_cache=False)
    labels = batch["labels"][:, 1:]
    return int(((output.logits[:, :-1].argmax(-1) == labels) | (labels == -100)).all(1).sum())


def own_latents(model, batch: dict) -> torch.Tensor:
    """The latents that rows would decode, of shape `(rows, latents of a row, hidden)`."""
    seen = []
    hook = model.model.register_forward_pre_hook(
        lambda module, given, named: seen.append(named["latent_embeds"]), with_kwargs=True
    )
    model(**batch, self_feeding=SelfFeeding(), use_cache=False, logits_to_keep=1)
    hook.remove()
    return seen[-1].unflatten(0, (-1, LATENTS))


def main() -> None:
    """Train and read every arm with every seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR", help="backbone to start from")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of world rows")
    parser.add_argument("--output", required=True, metavar="FILE.json", help="results; runs that are there are kept")
    parser.add_argument("--steps", type=int, default=600, help="steps of each run (default: 600)")
    parser.add_argument("--batch", type=int, default=32, help="rows a step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak (default: 1e-3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm (default: 3)")
    args = parser.parse_args()
    path = Path(args.output)
    results = json.loads(path.read_text()) if path.exists() else []
    splits: dict[tuple[bool, str], Rows] = {}
    for seed in range(args.seeds):
        for name, arm in ARMS.items():
            if any((result["arm"], result["seed"]) == (name, seed) for result in results):
                continue
            torch.manual_seed(seed)
            model, processor = load_model(args.model, dtype=torch.float32)
            for split in ("train", "test"):
                if (arm["imagery"], split) not in splits:
                    splits[arm["imagery"], split] = Rows(model.eval(), processor, args.data, split, arm["imagery"])
            started = time.perf_counter()
            train(model, splits[arm["imagery"], "train"], arm, seed, args)
            seconds = round(time.perf_counter() - started)
            held_out = splits[arm["imagery"], "test"]
            results.append(
                {"arm": name, "seed": seed, "seconds": seconds, "n": len(held_out), **read(model, held_out)}
            )
            print(results[-1], flush=True)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    describe(args)
    print(table(results))


def describe(args: argparse.Namespace) -> None:
    """Print the machine, the versions and the size of a run."""
    print(f"\n{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{args.steps} steps of {args.batch} rows, learning rate {args.learning_rate}, {args.seeds} seeds\n")


def table(results: list[dict]) -> str:
    """Mean accuracy over the seeds, its 95 % interval over all questions of all seeds, and each seed's own."""
    lines = ["| trained | read with | accuracy | 95 % interval | each seed |", "|---|---|---|---|---|"]
    for name in ARMS:
        runs = [result for result in results if result["arm"] == name]
        for latents in READ_WITH:
            shares = [run[latents] / run["n"] for run in runs if latents in run]
            if not shares:
                continue
            low, high = wilson_interval(sum(run[latents] for run in runs), sum(run["n"] for run in runs))
            seeds = ", ".join(f"{share:.1%}" for share in shares)
            mean = f"{statistics.mean(shares):.1%}"
            lines.append(f"| {name} | {latents} | {mean} | {low:.1%} to {high:.1%} | {seeds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
