"""Diagnose a model on one set of questions: answers under every control, compared pairwise, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...modeling.errors import InputError
from ..answers import extract_answer
from ..predict import BATCH_SIZE, MAX_NEW_TOKENS
from ..scores import score
from .answering import Answers, answer_controls
from .controls import CONTROLS, OWN, find_impossible
from .paired import correct_by_holm, mcnemar, paired_interval, smallest_change
from .statistics import summarize_latents
from .verdict import LEVEL, MARGIN, judge

POWER = 0.8
_KEYS = ("task", "options", "answer")


def diagnose(
    model,
    processor,
    rows: Sequence[Mapping],
    controls: Sequence[str] = tuple(CONTROLS),
    batch_size: int = BATCH_SIZE,
    max_new_tokens: int = MAX_NEW_TOKENS,
    margin: float = MARGIN,
    seed: int = 0,
    progress: bool = True,
) -> tuple[dict[str, Any], Answers]:
    """Find out whether a model's answers depend on its latents.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Questions with `task`, `question`, `options`, `answer`, `frames` and `timestamps`;
            those with `imagery` allow the oracle.
        controls (`Sequence[str]`, *optional*): Names of [`CONTROLS`]; by default all.
        batch_size, max_new_tokens, seed, progress: See [`answer_controls`].
        margin (`float`, *optional*, defaults to 0.04): Changes of accuracy below this count as no effect.

    Returns:
        `tuple[dict, Answers]`: The diagnosis, as [`compare_answers`] describes it, and the answers that it is made of.

    Raises:
        InputError: If there are no rows, or none could be answered.
    """
    from ...modeling.dataset_files import keep_videos_encoded

    if not len(rows):
        raise InputError("no rows to diagnose with: check the split and --limit")
    keys, has_imagery = [], False
    for row in keep_videos_encoded(rows):
        keys.append({name: row[name] for name in _KEYS})
        has_imagery = has_imagery or bool(row.get("imagery"))
    impossible = find_impossible(controls, model.config.latent_size, has_imagery)
    possible = [name for name in controls if name not in impossible]
    answers = answer_controls(model, processor, rows, possible, batch_size, max_new_tokens, seed, progress)
    diagnosis = compare_answers(keys, answers.responses, margin)
    diagnosis["left_out"] = impossible
    diagnosis["latents"] = summarize_latents(answers.latents, model.config)
    return diagnosis, answers


def compare_answers(
    rows: Sequence[Mapping], responses: Mapping[str, Sequence[str | None]], margin: float = MARGIN
) -> dict[str, Any]:
    """Compare the answers under each control with the model's own.

    Args:
        rows (`Sequence[Mapping]`): Rows with `task`, `options` and `answer`.
        responses (`Mapping[str, Sequence[str | None]]`): By control, `"own"` among them, a response for each row.
        margin (`float`, *optional*, defaults to 0.04): As in [`diagnose`].

    Returns:
        `dict`: `n` questions that were answered, `missing` ones; `own`, what [`score`] says of the model's own
        answers; `controls`, for each its `accuracy` and `interval`, `parse_failures`, `lost` and `gained` (questions
        that it alone gets wrong, or right), `change` with `change_interval` (95 %, Tango), `changed_answers` (share of
        answers that name another option, or none any more), `p` (McNemar, exact), `p_corrected` (Holm) and
        `smallest_change`; `smallest_change` of all, for answers that differ in one direction; and the `verdict`.

    Raises:
        InputError: If no row was answered.
    """
    places = [place for place, response in enumerate(responses[OWN]) if response is not None]
    if not places:
        raise InputError("none of the videos can be decoded: the warnings say why")
    asked = [rows[place] for place in places]
    read = {name: _read(asked, [given[place] for place in places]) for name, given in responses.items()}
    scores = {name: score(read[name]) for name in read}
    names = [name for name in responses if name != OWN]
    counts = {name: _count_changes(read[OWN], read[name]) for name in names}
    p_values = {name: mcnemar(gained, lost) for name, (gained, lost, _) in counts.items()}
    corrected = correct_by_holm(p_values)
    level = LEVEL / max(len(names), 1)
    n = len(asked)
    comparisons = {}
    for name in names:
        gained, lost, changed = counts[name]
        comparisons[name] = {
            **{key: scores[name][key] for key in ("accuracy", "interval", "parse_failures")},
            "lost": lost,
            "gained": gained,
            "change": (gained - lost) / n,
            "change_interval": list(paired_interval(gained, lost, n)),
            "changed_answers": changed / n,
            "p": p_values[name],
            "p_corrected": corrected[name],
            "smallest_change": smallest_change(n, (gained + lost) / n, level, POWER),
        }
    blind_spot = smallest_change(n, 0.0, level, POWER)
    return {
        "n": n,
        "missing": len(rows) - n,
        "own": scores[OWN],
        "controls": comparisons,
        "smallest_change": blind_spot,
        "power": POWER,
        "level": level,
        "margin": margin,
        "verdict": asdict(judge(comparisons, blind_spot, margin)),
    }


def _read(rows: Sequence[Mapping], responses: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with responses and the letters that are read from them."""
    return [
        {**row, "response": response, "letter": extract_answer(response, row["options"])}
        for row, response in zip(rows, responses, strict=True)
    ]


def _count_changes(own: Sequence[Mapping], control: Sequence[Mapping]) -> tuple[int, int, int]:
    """Questions that only the control gets right, that only the model's own latents get right, and changed answers."""
    pairs = [(a["letter"], b["letter"], a["answer"]) for a, b in zip(own, control, strict=True)]
    gained = sum(mine != key and theirs == key for mine, theirs, key in pairs)
    lost = sum(mine == key and theirs != key for mine, theirs, key in pairs)
    return gained, lost, sum(mine != theirs for mine, theirs, _ in pairs)
