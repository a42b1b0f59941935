"""Is the laboratory fit to show what latents are worth? Three readers of the same rows, in minutes.

A small reader of the frozen tower's video features with the name of the object says what the video holds; one of the
true imagery, what perfect latents could say; text-only training of the language model, where the comparison starts.
The laboratory is fit if the imagery is worth at least 15 points more than the video, and text-only training is at
least 8 points below what the video holds. All are read by restricted choice among the row's options.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from cells import run_cell, write_json
from datasets import Dataset
from plan import Plan, load_rows, read_plan, rows_key, run_script
from safetensors.torch import load_file
from summary import mean_interval, right_answers
from torch import nn

from fourdthinker.eval_tasks.statistics import wilson_interval
from fourdthinker.modeling import load_model
from fourdthinker.modeling.dataset_files import keep_videos_encoded
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import OPTION_LETTERS
from fourdthinker.trainers.common.images import keep_images_encoded
from fourdthinker.trainers.dift.feature_cache import TARGETS_COLUMN, VIDEO_FEATURES_COLUMN, FeatureCache

IMAGERY_GAIN, TEXT_GAP = 0.15, 0.08
_TEXT = "text"  # the arm
_HELD_BACK = 0.1  # share of the training rows by which the best epoch is chosen


class Rows:
    """Features and answers of a split.

    Attributes:
        video (`torch.Tensor` of shape `(rows, grids, tokens of a grid, hidden)`).
        imagery (`torch.Tensor` of shape `(rows, latents, hidden)`): The pooled targets, as latents would hold them.
        names (`list[str]`): The object that is asked about.
        right (`list[str]`), options (`list[list[str]]`): Texts.
    """

    def __init__(self, rows: Dataset, cache: FeatureCache, grids: int):
        plain = list(keep_videos_encoded(rows.select_columns(["options", "answer", "facts"])))
        rows = cache.add_videos(cache.add_targets(keep_images_encoded(rows)))
        video = [load_file(file)["features"].float() for file in rows[VIDEO_FEATURES_COLUMN]]
        self.video = torch.stack(video).unflatten(1, (grids, -1))
        self.imagery = torch.stack([load_file(file)["targets"].flatten(0, 1).float() for file in rows[TARGETS_COLUMN]])
        self.names = [json.loads(row["facts"])["object"] for row in plain]
        self.options = [row["options"] for row in plain]
        self.right = [row["options"][OPTION_LETTERS.index(row["answer"])] for row in plain]


class Reader(nn.Module):
    """Attention from the object's name to the tokens of each grid, and a small network over what it found there.

    Args:
        hidden (`int`): Width of the features.
        shape (`tuple[int, int]`): Grids, and tokens in each.
        words (`int`): Words that names are made of.
        answers (`int`): Possible answers.
        width, heads (`int`): Size.
    """

    def __init__(self, hidden: int, shape: tuple[int, int], words: int, answers: int, width: int = 96, heads: int = 4):
        super().__init__()
        grids, tokens = shape
        self.heads, self.dropout = heads, nn.Dropout(0.1)
        self.place = nn.Parameter(0.1 * torch.randn(tokens, width))
        self.enter = nn.Linear(hidden, width)
        self.mix = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.ask = nn.Linear(words, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.answer = nn.Sequential(
            nn.Linear(grids * width + words, 2 * width), nn.GELU(), nn.Dropout(0.2), nn.Linear(2 * width, answers)
        )

    def forward(self, features: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        """Logits `(rows, answers)` from features `(rows, grids, tokens, hidden)` and names `(rows, words)`."""
        rows, grids, tokens, _ = features.shape
        states = self.mix((self.enter(self.dropout(features)) + self.place).flatten(0, 1)).unflatten(0, (rows, grids))
        query = self.ask(names)[:, None, None].unflatten(-1, (self.heads, -1))
        keys, values = (part(states).unflatten(-1, (self.heads, -1)) for part in (self.key, self.value))
        weights = ((query * keys).sum(-1) / keys.shape[-1] ** 0.5).softmax(2)
        found = (weights[..., None] * values).sum(2).flatten(1)
        return self.answer(torch.cat([found, names], 1))


def fit_reader(
    train: tuple[torch.Tensor, Rows], test: tuple[torch.Tensor, Rows], steps: int, seed: int, batch_size: int = 64
) -> list[bool]:
    """Train a reader and say which test rows it gets right; the best of ten stops, by rows held back from training."""
    torch.manual_seed(seed)
    words = sorted({word for name in train[1].names for word in name.split()})
    answers = sorted({*train[1].right, *test[1].right})
    mean, spread = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2)) + 1e-3

    def encode(features: torch.Tensor, rows: Rows):
        names = torch.tensor([[float(word in name.split()) for word in words] for name in rows.names])
        offered = torch.tensor([[answer in options for answer in answers] for options in rows.options])
        right = torch.tensor([answers.index(answer) for answer in rows.right])
        return (features - mean) / spread, names, offered, right

    x, names, offered, right = encode(*train)
    order = torch.randperm(len(x))
    count = max(1, int(_HELD_BACK * len(x)))
    held, used = order[:count], order[count:]
    reader = Reader(x.shape[-1], x.shape[1:3], len(words), len(answers))
    optimizer = torch.optim.AdamW(reader.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    best, weights = -1.0, None
    for step in range(1, steps + 1):
        some = used[torch.randint(len(used), (batch_size,))]
        reader.train()
        logits = reader(x[some], names[some]).masked_fill(~offered[some], -1e4)
        loss = nn.functional.cross_entropy(logits, right[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 10) == 0:
            share = float(np.mean(_choose(reader, x[held], names[held], offered[held], right[held])))
            if share >= best:
                best, weights = share, {name: value.clone() for name, value in reader.state_dict().items()}
    reader.load_state_dict(weights)
    return _choose(reader, *encode(*test))


@torch.no_grad()
def _choose(reader: Reader, x, names, offered, right) -> list[bool]:
    reader.eval()
    logits = torch.cat([reader(*part) for part in zip(x.split(200), names.split(200), strict=True)])
    return (logits.masked_fill(~offered, -torch.inf).argmax(-1) == right).tolist()


def copy_last_place(rows: Dataset) -> float:
    """Accuracy of naming the place where the object was last seen, or any option if that is none of them."""
    facts = [json.loads(fact) for fact in rows["facts"]]
    shares = []
    for fact, options, answer in zip(facts, rows["options"], rows["answer"], strict=True):
        right = options[OPTION_LETTERS.index(answer)]
        place = fact.get("last_place")
        shares.append(float(place == right) if place in options else 1 / len(options))
    return float(np.mean(shares))


def main() -> None:
    """Fit the readers, train the text arm, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, metavar="FILE.yaml", help="the study that is to follow")
    parser.add_argument("--output", required=True, metavar="DIR", help="its folder; what is there is kept")
    parser.add_argument("--reader-steps", type=int, default=1200, help="steps of a reader (default: 1200)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each (default: 1)")
    parser.add_argument("--no-text", action="store_true", help="the readers alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan, folder = read_plan(args.plan), Path(args.output)
    result = read_features(plan, folder, args.reader_steps, args.seeds)
    if not args.no_text:
        if _TEXT not in plan.arms:
            raise InputError(f"{args.plan} has no arm {_TEXT}: add one with rows: text")
        cells = [run_cell(plan, plan.arms[_TEXT], seed, folder) for seed in range(args.seeds)]
        mean, (low, high), _ = mean_interval(right_answers(cells))
        result[_TEXT] = {"accuracy": mean, "interval": [low, high], "steps": cells[0]["steps"]}
    result["verdict"] = judge(result)
    write_json(folder / "headroom.json", result)
    print(json.dumps(result, indent=1))
    print(describe(result["verdict"]))


def read_features(plan: Plan, folder: Path, steps: int, seeds: int) -> dict:
    """What the readers get right; kept, since features do not change.

    Raises:
        InputError: If what is kept is of another plan or other rows.
    """
    path, made_of = folder / "readers.json", [plan.model, plan.settings, rows_key(plan), steps, seeds]
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("made of") != made_of:
            raise InputError(f"{path} is of another plan or other rows: name another --output or remove the file")
        return found
    model, processor = load_model(plan.model, dtype=torch.float32)
    model.config.latent_pooling = plan.settings.get("latent_pooling", model.config.latent_pooling)
    cache = FeatureCache(model, processor, folder / "features")
    splits = {name: load_rows(plan, name) for name in ("train", "test")}
    grids = len(splits["test"][0]["frames"]) // model.config.vision_config.temporal_patch_size
    rows = {name: Rows(split, cache, grids) for name, split in splits.items()}
    n = len(splits["test"])
    result: dict = {"n": n, "train_rows": len(splits["train"]), "chance": 1 / len(rows["test"].options[0])}
    result["last place copied"] = {"accuracy": copy_last_place(splits["test"])}
    inputs = {"video": lambda one: one.video, "true imagery": lambda one: one.imagery[:, None]}
    for name, pick in inputs.items():
        pairs = [(pick(rows[split]), rows[split]) for split in ("train", "test")]
        right = [fit_reader(*pairs, steps, seed) for seed in range(seeds)]
        share = float(np.mean(right))
        result[name] = {"accuracy": share, "interval": list(wilson_interval(round(share * n), n))}
    write_json(path, {**result, "made of": made_of})
    return result


def judge(result: dict) -> dict:
    """The gate: both distances with what is required of them, and whether the laboratory is fit."""
    gain = result["true imagery"]["accuracy"] - result["video"]["accuracy"]
    verdict = {"imagery minus video": gain, "needs": IMAGERY_GAIN}
    if _TEXT in result:
        gap = result["video"]["accuracy"] - result[_TEXT]["accuracy"]
        verdict |= {"video minus text": gap, "needs of text": TEXT_GAP}
        verdict["fit"] = gain >= IMAGERY_GAIN and gap >= TEXT_GAP
    return verdict


def describe(verdict: dict) -> str:
    """What [`judge`] found, in one line."""
    gain = verdict["imagery minus video"]
    line = f"true imagery is worth {100 * gain:.1f} points more than the video (needed: {100 * IMAGERY_GAIN:.0f})"
    if "fit" not in verdict:
        return line
    gap = verdict["video minus text"]
    line += f", text alone is {100 * gap:.1f} points below what is found in the video (needed: {100 * TEXT_GAP:.0f})"
    return f"the rows are {'fit' if verdict['fit'] else 'not fit'} for a study: {line}"


if __name__ == "__main__":
    run_script(main)
