"""Diagnose a model on one set of questions: answers under every control, compared pairwise, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError
from ..choice import check_reading
from ..predict import BATCH_SIZE, MAX_NEW_TOKENS
from ..scores import Verdict, judge, row_video, score
from ..statistics import difference_interval, mcnemar_p, shares_videos
from .answering import Answers, answer_controls
from .controls import CONTROLS, OWN, find_impossible
from .paired import correct_by_holm, paired_interval, smallest_change
from .statistics import summarize_latents
from .verdict import LEVEL, MARGIN, conclude

if TYPE_CHECKING:
    from ..benchmark import Benchmark
    from ..journal import Journal

POWER = 0.8
# What of a row decides whether an answer is right, and which questions belong together.
_KEYS = ("id", "task", "options", "answer", "video", "video_id")


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
    benchmark: "Benchmark | None" = None,
    journal: "Journal | None" = None,
    reading: str = "response",
) -> tuple[dict[str, Any], Answers]:
    """Find out whether a model's answers depend on its latents.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Questions with `task`, `question`, `options`, `answer`, `frames` and `timestamps`;
            those with `imagery` allow the oracle.
        controls (`Sequence[str]`, *optional*): Names of [`CONTROLS`]; by default all.
        batch_size, max_new_tokens, seed, progress, benchmark, journal, reading: See [`answer_controls`].
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
        keys.append({name: row[name] for name in _KEYS if name in row})
        has_imagery = has_imagery or bool(row.get("imagery"))
    impossible = find_impossible(controls, model.config.latent_size, has_imagery)
    possible = [name for name in controls if name not in impossible]
    settings = (batch_size, max_new_tokens, seed, progress, benchmark, journal, check_reading(reading))
    answers = answer_controls(model, processor, rows, possible, *settings)
    latents = summarize_latents(answers.latents, model.config)
    diagnosis = compare_answers(keys, answers.responses, margin, latents["activation_rate"])
    diagnosis |= {"left_out": impossible, "reading": reading, "latents": latents}
    return diagnosis, answers


def compare_answers(
    rows: Sequence[Mapping],
    responses: Mapping[str, Sequence[str | None]],
    margin: float = MARGIN,
    activation_rate: float | None = None,
) -> dict[str, Any]:
    """Compare the answers under each control with the model's own.

    Args:
        rows (`Sequence[Mapping]`): Rows with `task`, `options` and `answer`; perhaps `video_id` or `video`.
        responses (`Mapping[str, Sequence[str | None]]`): By control, `"own"` among them, a response for each row.
        margin (`float`, *optional*, defaults to 0.04): As in [`diagnose`].
        activation_rate (`float`, *optional*): Share of the model's own answers with a latent block, if known.

    Returns:
        `dict`: `n` questions that were answered, `missing` ones; `own`, the `accuracy` of the model's own answers with
        `interval`, `chance` and `parse_failures`; `controls`, for each these numbers, `lost` and `gained` (questions
        that it alone gets wrong, or right), `change` with `change_interval` (95 %; Tango's, or by bootstrap over
        videos where questions share them), `changed_answers` (share of answers that name another option, or none any
        more), `p` (McNemar, exact), `p_corrected` (Holm) and `smallest_change`, with answers that differ as often as
        here; `smallest_change` of all, with answers that differ in one direction only; and the `verdict`.

    Raises:
        InputError: If no row was answered.
    """
    places = [place for place, response in enumerate(responses[OWN]) if response is not None]
    if not places:
        raise InputError("none of the videos can be decoded: the warnings say why")
    compared_rows = [rows[place] for place in places]
    read = {
        name: [judge({**row, "response": given[place]}) for place, row in zip(places, compared_rows, strict=True)]
        for name, given in responses.items()
    }
    names = [name for name in responses if name != OWN]
    comparisons = {name: _compare(compared_rows, read[OWN], read[name]) for name in names}
    corrected = correct_by_holm({name: numbers["p"] for name, numbers in comparisons.items()})
    level, n = LEVEL / max(len(names), 1), len(compared_rows)
    for name, numbers in comparisons.items():
        discordance = (numbers["gained"] + numbers["lost"]) / n
        numbers |= {"p_corrected": corrected[name], "smallest_change": smallest_change(n, discordance, level, POWER)}
    blind_spot = smallest_change(n, 0.0, level, POWER)
    return {
        "n": n,
        "missing": len(rows) - n,
        "own": _summarize(compared_rows, read[OWN]),
        "controls": comparisons,
        "smallest_change": blind_spot,
        "power": POWER,
        "level": level,
        "margin": margin,
        "verdict": asdict(conclude(comparisons, blind_spot, margin, activation_rate=activation_rate)),
    }


def _summarize(rows: Sequence[Mapping], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    scores = score([dict(row) for row in rows], verdicts=verdicts)
    return {key: scores[key] for key in ("accuracy", "interval", "chance", "parse_failures")}


def _compare(rows: Sequence[Mapping], own: Sequence[Verdict], control: Sequence[Verdict]) -> dict[str, Any]:
    """Accuracy under a control, and how it differs from that of the model's own answers."""
    mine, theirs = ([verdict.correct for verdict in verdicts] for verdicts in (own, control))
    gained = sum(b and not a for a, b in zip(mine, theirs, strict=True))
    lost = sum(a and not b for a, b in zip(mine, theirs, strict=True))
    videos = [row_video(row) for row in rows]
    shared = None not in videos and shares_videos(videos)
    interval = difference_interval(theirs, mine, videos) if shared else paired_interval(gained, lost, len(rows))
    return {
        **_summarize(rows, control),
        "lost": lost,
        "gained": gained,
        "change": (gained - lost) / len(rows),
        "change_interval": list(interval),
        "changed_answers": sum(a.letter != b.letter for a, b in zip(own, control, strict=True)) / len(rows),
        "p": mcnemar_p(theirs, mine),
    }
