"""Build rows of MLLM-4D's and DSR-Bench's kinds from rendered scenes, as a build from videos with depth makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ...modeling.clip import Clip
from ...modeling.errors import InputError
from ..clip_record import ClipRecord
from ..fourd_cot import Written
from ..pipeline.derived_rows import MLLM4D, MOTION, write_configurations
from ..pipeline.question_stage import balance_candidates
from ..pipeline.rows import make_rows
from ..questions.clip_questions import ask_about_clip, design_options, list_candidates
from ..questions.spatial_facts import spatial_facts
from ..world import World, WorldClip
from ..world.varied_scenes import draw_scene
from ..world.worker_pool import worker_pool
from .world_motion import first_clip
from .world_records import world_record

SIDE, FRAMES, FPS = 112, 24, 6.0
_CLIPS_A_TASK = 8


def space_rows(
    split: str, clips: int, families: Sequence[str], seed: int = 0, workers: int = 1, frames: int = 8
) -> Iterator[dict]:
    """Rows about rendered clips, their answers balanced over the split.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        clips (`int`): How many are rendered; some give no row.
        families (`Sequence[str]`): Of `mllm4d` and `dsr`, what to ask.
        seed (`int`, *optional*, defaults to 0): Another seed gives other training clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        frames (`int`, *optional*, defaults to 8): Frames in a row.

    Yields:
        `dict`: The columns of the configurations `dift` or, of MLLM-4D's kinds, `mllm4d_cold_start`.

    Raises:
        InputError: If the split is unknown, or the seed is out of range.
    """
    first = first_clip(split, seed if split == "train" else 0)
    seeds = range(first, first + clips)
    records = {record.clip: record for record in _in_batches(_describe_clips, seeds, workers)}
    candidates = {name: list_candidates(record.facts, families) for name, record in records.items()}
    designs = design_options(balance_candidates(candidates, seed))
    asked = {name: ask_about_clip(record, candidates[name], designs, frames, seed) for name, record in records.items()}
    names = {clip_name(number): number for number in seeds}
    wanted = [(names[name], questions) for name, questions in asked.items() if questions]
    yield from _in_batches(_make_clip_rows, wanted, workers)


def build_space(
    folder: Path,
    clips: Mapping[str, int],
    families: Sequence[str],
    seed: int,
    workers: int,
    card: Callable[[Written], str],
) -> Written:
    """Render scenes and write the rows about them as a dataset.

    Args:
        folder (`Path`): An existing folder.
        clips (`Mapping[str, int]`): Clips to render, by split.
        families, seed, workers: As in [`space_rows`].
        card (`Callable`): Makes the text of the `README.md`.

    Raises:
        InputError: If no clip gives a row.
    """
    made: dict[str, dict[str, list[dict]]] = {MOTION: {}, MLLM4D: {}}
    for split, count in clips.items():
        for row in space_rows(split, count, families, seed, workers):
            made[MLLM4D if "camera_centers" in row else MOTION].setdefault(split, []).append(row)
    if not any(made.values()):
        raise InputError("no rendered clip gives a row: render more with --clips")
    written = write_configurations(made, folder)
    (folder / "README.md").write_text(card(written), encoding="utf-8")
    return written


def clip_name(seed: int) -> str:
    """What the clip of a seed is called in ids."""
    return f"world-{seed}"


def render_clip(world: World, seed: int) -> tuple[WorldClip, ClipRecord]:
    """A rendered clip with its exact record."""
    clip = world.render(draw_scene(seed, FRAMES))
    return clip, world_record(clip, clip_name(seed))


def open_world() -> World:
    """The renderer of these clips."""
    return World(SIDE, FRAMES, FPS)


def _in_batches(work, items: Sequence, workers: int) -> Iterator:
    """What `work` makes of each item, in order, by some processes."""
    batches = [items[start : start + _CLIPS_A_TASK] for start in range(0, len(items), _CLIPS_A_TASK)]
    if workers <= 1:
        for batch in batches:
            yield from work(batch)
        return
    with worker_pool(workers) as pool:
        for made in pool.imap(work, batches):
            yield from made


def _describe_clips(seeds: Sequence[int]) -> list[ClipRecord]:
    """Records with their facts; depth, which nothing needs after them, is dropped."""
    described = []
    with open_world() as world:
        for seed in seeds:
            _, record = render_clip(world, seed)
            record.facts = {"space": spatial_facts(record)}
            described.append(replace(record, depth=None))
    return described


def _make_clip_rows(wanted: Sequence[tuple[int, list[dict]]]) -> list[dict]:
    rows = []
    with open_world() as world:
        for seed, questions in wanted:
            clip = world.render(draw_scene(seed, FRAMES))
            pictures = [Image.fromarray(np.asarray(frame)) for frame in clip.rgb]
            rows += make_rows(Clip(pictures, list(clip.timestamps)), questions)
    return rows
