"""A verdict in words about a checkpoint's latents, from paired comparisons corrected for their number. Pure Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .controls import CONTROLS

LEVEL = 0.05
MARGIN = 0.04  # of accuracy; a smaller effect counts as none
# Where the questions could not have shown a change of half of the answers, a pattern of tests says nothing.
LARGEST_BLIND_SPOT = 0.5

CARRY, MARKERS, NONE, UNKNOWN = "carry", "markers", "none", "unknown"
POSITIONS, MISLEAD, ANY, HARM = "positions", "mislead", "any", "harm"
EMPTY = "empty"
_SENTENCES = {
    CARRY: "the latents carry the answer",
    MARKERS: "only the markers matter",
    NONE: "no effect of {margin} points or more",
    UNKNOWN: "too few questions to tell",
    POSITIONS: "the latents' positions matter, not what they hold",
    MISLEAD: "another's latents mislead the model, but it does not need its own",
    ANY: "the answer needs vectors like latents, but not the row's own",
    HARM: "the answers are better without the model's latents",
    EMPTY: "no answer opened a latent block, so nothing was replaced",
}
_CONTENT = [name for name, control in CONTROLS.items() if control.kind == "content"]
_JUDGED = [name for name, control in CONTROLS.items() if control.kind in ("content", "structure")]


@dataclass(frozen=True)
class Conclusion:
    """What is concluded.

    Attributes:
        name (`str`): `"carry"`, `"markers"`, `"none"`, `"unknown"`, `"positions"`, `"mislead"`, `"any"`,
            `"harm"` or `"empty"`.
        sentence (`str`): The conclusion in words.
        reason (`str`): The comparisons that it rests on.
    """

    name: str
    sentence: str
    reason: str


def conclude(
    comparisons: Mapping[str, Mapping[str, Any]],
    blind_spot: float | None,
    margin: float = MARGIN,
    level: float = LEVEL,
    activation_rate: float | None = None,
) -> Conclusion:
    """Judge a checkpoint by its comparisons.

    A control costs accuracy if its change is negative and its p value, corrected for the number of comparisons
    (Holm), is at most `level`. It has no effect if the whole 95 % interval of its change lies within `margin`. An
    effect that is neither shown nor excluded names nothing.

    - *carry*: another row's latents cost accuracy, and so does a replacement that holds nothing (zeros, noise, the
      mean, the pad's embedding).
    - *markers*: no replacement has an effect, nor leaving all latents out between the markers, but forbidding blocks
      costs accuracy.
    - *none*: neither a replacement, nor markers alone, nor forbidding blocks has an effect.
    - *positions*, *mislead*, *any*, *harm*, *empty*: see their sentences.

    Args:
        comparisons (`Mapping[str, Mapping]`): By control `change`, `change_interval` and `p_corrected`.
        blind_spot (`float`, *optional*): The smallest change that the questions could have shown at all; `None` if
            not even a change of every answer.
        margin, level (`float`, *optional*): See above.
        activation_rate (`float`, *optional*): Share of the model's own answers with a latent block, if known.
    """
    if activation_rate == 0:
        return _word(EMPTY, "a model that was trained for too few steps opens none", margin)
    missing = [name for name in _JUDGED if name not in comparisons]
    if missing:
        return _word(UNKNOWN, f"{', '.join(missing)} did not run", margin, "the controls that ran do not tell")
    if blind_spot is None or blind_spot > LARGEST_BLIND_SPOT:
        least = "no change at all" if blind_spot is None else f"changes of {100 * blind_spot:.0f} points or more only"
        return _word(UNKNOWN, f"the questions could have shown {least}", margin)

    def find(costs: bool, names: Sequence[str]) -> list[str]:
        sign = -1 if costs else 1
        return [
            name
            for name in names
            if comparisons[name]["p_corrected"] <= level and sign * comparisons[name]["change"] > 0
        ]

    def has_no_effect(*names: str) -> bool:
        intervals = (comparisons[name]["change_interval"] for name in names)
        return all(-margin < low and high < margin for low, high in intervals)

    costly = find(True, _JUDGED)
    lost_content = [name for name in costly if name in _CONTENT and name != "other"]
    name = UNKNOWN
    if "other" in costly:
        name = CARRY if lost_content else MISLEAD
    elif lost_content and has_no_effect("other"):
        name = ANY
    elif has_no_effect(*_CONTENT):
        if "forbidden" in costly and has_no_effect("markers"):
            name = MARKERS
        elif "forbidden" in costly and "markers" in costly:
            name = POSITIONS
        elif has_no_effect("forbidden", "markers"):
            name = NONE
    if name == UNKNOWN and not costly and (better := find(False, _JUDGED)):
        return _word(HARM, f"accuracy rises with {_list(better)}", margin)
    return _word(name, _explain(name, costly, margin), margin)


def _explain(name: str, costly: Sequence[str], margin: float) -> str:
    shown = f"accuracy falls with {_list(costly)}" if costly else "no control costs accuracy for certain"
    if name in (MARKERS, POSITIONS):
        return f"{shown}; what the latents hold changes it by less than {100 * margin:g} points"
    if name == NONE:
        return f"every interval lies within {100 * margin:g} points"
    if name == UNKNOWN:
        return f"{shown}, and not every interval lies within {100 * margin:g} points"
    return shown


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _word(name: str, reason: str, margin: float, sentence: str | None = None) -> Conclusion:
    return Conclusion(name, sentence or _SENTENCES[name].format(margin=f"{100 * margin:g}"), reason)
