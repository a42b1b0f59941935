"""The plan of a study: what is trained on which rows, and how the answers are read. One YAML file."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset, concatenate_datasets
from PIL import Image

from fourdthinker.cli.trainer_settings import check_settings
from fourdthinker.dataset_builders.pipeline.settings import digest
from fourdthinker.eval_tasks.diagnosis.controls import CONTROLS, OWN
from fourdthinker.modeling.dataset_files import load_split
from fourdthinker.modeling.errors import InputError, first_line
from fourdthinker.modeling.processing import row_images
from fourdthinker.modeling.tokens import IMAGERY_MARK

ROWS = ("imagery", "text", "words")


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        name (`str`): In tables and files.
        rows (`str`): `"imagery"`: responses with their latent blocks; `"text"`: without; `"words"`: with where the
            object was in words, about as long as the block, in its place.
        steps (`float`): Times the study's steps.
        read (`str`): What is fed at latents when the arm's own accuracy is read: `"own"`, or a control of
            `fourdthinker diagnose` that is the arm's way of answering, such as `"pad"`.
        reread (`bool`): Learn answers from latents that are encoded again without the video, see `RereadTrainer`.
        latents (`int`, *optional*): Latents of a block; by default the backbone's.
        imagery_side (`int`, *optional*): Side in pixels to which imagery frames are enlarged, so that more tokens are
            pooled. By default they are as large as those of the video, unless a block has more latents than
            these have tokens.
        answers (`int`, *optional*): Rows whose answers are known, by default all. They are repeated to make up a
            half; the others end in their imagery and teach it alone. Arms without imagery have only the first.
        seeds (`int`, *optional*): In place of the study's number.
        compare (`list[str]`, *optional*): The arms it is compared with, in place of the study's.
        settings (`dict`): Of `DIFTConfig`.
    """

    name: str
    rows: str = "imagery"
    steps: float = 1.0
    read: str = OWN
    reread: bool = False
    latents: int | None = None
    imagery_side: int | None = None
    answers: int | None = None
    seeds: int | None = None
    compare: list[str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.rows not in ROWS:
            raise InputError(f"arm {self.name}: rows is {self.rows!r}: choose one of {', '.join(ROWS)}")
        if self.read != OWN and self.read not in CONTROLS:
            raise InputError(f"arm {self.name}: read is {self.read!r}: choose own or one of {', '.join(CONTROLS)}")


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        model, data (`str`): Folder of the backbone, and of rows as `build-data` writes them.
        arms (`dict[str, Arm]`): By name.
        steps, batch_size (`int`), learning_rate (`float`): Of each arm alike.
        seeds (`int`): Runs of each arm: seeds 0, 1 and so on.
        train_rows, test_rows (`int`, *optional*): The first so many; all by default.
        controls (`list[str]`): Interventions under which arms with latents are read, see `fourdthinker diagnose`.
        max_new_tokens, read_batch (`int`): Longest response, and rows read at once.
        curve_every (`int`): Steps between two readings of the first `curve_rows` test rows; 0 for none.
        compare (`list[str]`): The arms that each arm is compared with.
        draw (`list[str]`): The arms whose curves are drawn; all by default.
        settings (`dict`): Of `DIFTConfig`, for all arms.
        rl (`dict`): Of the 4DRL stage, see `rl.py`.
    """

    model: str
    data: str
    arms: dict[str, Arm]
    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-3
    seeds: int = 3
    train_rows: int | None = None
    test_rows: int | None = None
    controls: list[str] = field(default_factory=list)
    max_new_tokens: int = 96
    read_batch: int = 100
    curve_every: int = 0
    curve_rows: int = 200
    compare: list[str] = field(default_factory=lambda: ["text"])
    draw: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    rl: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[tuple[Arm, int]]:
        """Every arm with every seed of its own; all arms of one seed before any of the next."""
        counts = {arm.name: self.seeds if arm.seeds is None else arm.seeds for arm in self.arms.values()}
        return [
            (arm, seed)
            for seed in range(max(counts.values(), default=0))
            for arm in self.arms.values()
            if seed < counts[arm.name]
        ]

    def compared_with(self, name: str) -> list[str]:
        """The arms that an arm is compared with."""
        own = self.arms[name].compare
        return [other for other in (self.compare if own is None else own) if other != name]


def read_plan(path: str | Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: If it has names that no plan or arm has, or values that mean nothing.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"the plan {path} cannot be read: {first_line(error)}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("arms"), Mapping):
        raise InputError(f"{path} is no plan of a study: it needs arms, each with its settings by name")
    arms = {name: _build(Arm, {"name": name, **(spec or {})}, f"arm {name}") for name, spec in content["arms"].items()}
    plan = _build(Plan, {**content, "arms": arms}, str(path))
    for arm in arms.values():
        try:
            check_settings("dift", {**plan.settings, **arm.settings})
        except InputError as error:
            raise InputError(f"{path}, arm {arm.name}: {error}") from error
    named = {*plan.compare, *plan.draw, *(name for arm in arms.values() for name in arm.compare or ())}
    if unknown := sorted(named - set(arms)):
        raise InputError(f"{path} compares or draws {unknown[0]!r}, which is no arm of it")
    return plan


def run_script(main: Callable[[], None]) -> None:
    """Run a script of the study: invalid input ends in one line and exit code 2, as in `fourdthinker`."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _build(kind, values: Mapping[str, Any], where: str):
    known = {one.name for one in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"{where}: unknown {unknown[0]!r}: choose of {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def load_rows(plan: Plan, split: str) -> Dataset:
    """The rows of a split that the plan asks for, the same for every arm.

    Raises:
        InputError: If the plan's data cannot be read, or have no such split.
    """
    try:
        rows = load_split(plan.data, "dift", split)
    except (OSError, ValueError) as error:
        raise InputError(f"the rows of {plan.data} cannot be read: {first_line(error)}") from error
    most = plan.train_rows if split == "train" else plan.test_rows
    return rows if most is None else rows.select(range(min(most, len(rows))))


def rows_key(plan: Plan) -> str:
    """A hash of the texts of a plan's rows, which differs for other rows."""
    hashed = hashlib.sha256()
    for split in ("train", "test"):
        for row in load_rows(plan, split).select_columns(["id", "question", "options", "answer", "response"]):
            hashed.update(json.dumps(row, sort_keys=True).encode())
    return hashed.hexdigest()[:16]


def cell_key(plan: Plan, arm: Arm, rows: str) -> str:
    """A hash of all that a cell depends on beside its seed: the arm, the plan's settings, and `rows_key`."""
    other = ("arms", "seeds", "compare", "draw", "data", "rl", "read_batch")
    chosen = {one.name: getattr(plan, one.name) for one in fields(Plan) if one.name not in other}
    own = {name: value for name, value in asdict(arm).items() if name not in ("seeds", "compare")}
    if arm.imagery_side is None:  # as in cells that were made before there was this field
        del own["imagery_side"]
    return digest([chosen, own, rows])[:16]


def shape_imagery(rows: Dataset, arm: Arm) -> Dataset:
    """The rows with their imagery frames as large as an arm has them."""
    if arm.imagery_side is None:
        return rows
    side = (arm.imagery_side, arm.imagery_side)

    def enlarge(row: Mapping) -> dict[str, list]:
        return {"imagery": [frame.resize(side, Image.Resampling.BICUBIC) for frame in row_images(row, "imagery")]}

    return rows.map(enlarge, features=rows.features)


def shape_responses(rows: Dataset, arm: Arm) -> Dataset:
    """The training rows with the responses that an arm learns from; marks go where `drop_imagery` drops them."""
    if arm.answers is not None:
        rows = keep_answers(rows, arm)
    if arm.rows != "words":
        return rows
    responses = [
        put_words(response, json.loads(facts), name)
        for response, facts, name in zip(rows["response"], rows["facts"], rows["id"], strict=True)
    ]
    return _replace_responses(rows, responses)


def keep_answers(rows: Dataset, arm: Arm) -> Dataset:
    """Rows of which few have answers, see [`Arm`]."""
    answered = rows.select(range(min(arm.answers, len(rows))))
    if arm.rows != "imagery":
        return answered
    rest = rows.select(range(len(answered), len(rows)))
    cut = [response[: response.rindex(IMAGERY_MARK) + len(IMAGERY_MARK)] for response in rest["response"]]
    repeated = [answered] * max(1, round(len(rest) / len(answered)))
    return concatenate_datasets([*repeated, _replace_responses(rest, cut)])


def _replace_responses(rows: Dataset, responses: list[str]) -> Dataset:
    return rows.remove_columns("response").add_column("response", responses)


def put_words(response: str, facts: Mapping[str, Any], name: str) -> str:
    """A response with the places where the object was before its first mark.

    Raises:
        InputError: If the facts of the row with this name do not say them.
    """
    if not {"start_place", "last_place"} <= set(facts):
        raise InputError(f"row {name}: rows of words need start_place and last_place in facts: leave that arm out")
    words = f"from {facts['start_place']} to {facts['last_place']}"
    return re.sub(rf" ?{re.escape(IMAGERY_MARK)}", f" {words} {IMAGERY_MARK}", response, count=1)
