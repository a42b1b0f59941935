"""A diagnosis as plain tables."""

import textwrap
from collections.abc import Mapping
from typing import Any

from ..scores import align_table
from .controls import OWN

_WIDTH = 100  # of sentences below tables


def format_diagnosis(diagnosis: Mapping[str, Any], title: str) -> str:
    """Tables of a diagnosis: the controls, the latents, the verdict.

    Args:
        diagnosis (`Mapping`): What [`~diagnosis.diagnose`] returned.
        title (`str`): A first line.
    """
    lines = [title, *align_table(control_table(diagnosis)), *textwrap.wrap(describe_columns(diagnosis), _WIDTH)]
    lines += [f"not run: {name} ({reason})" for name, reason in diagnosis["left_out"].items()]
    lines += ["", *align_table(latent_table(diagnosis["latents"]))]
    verdict = diagnosis["verdict"]
    lines += ["", *textwrap.wrap(f"verdict: {verdict['sentence']} ({verdict['reason']})", _WIDTH)]
    return "\n".join(lines)


def control_table(diagnosis: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The controls, one a line, below the model's own answers; the first line names the columns."""
    header = ("control", "accuracy", "change", "95 % interval", "p (Holm)", "could show", "changed", "unparsed")
    own = diagnosis["own"]
    table = [header, (OWN, percent(own["accuracy"]), "", "", "", "", "", str(own["parse_failures"]))]
    for name, numbers in diagnosis["controls"].items():
        low, high = numbers["change_interval"]
        table.append(
            (
                name,
                percent(numbers["accuracy"]),
                points(numbers["change"]),
                f"{points(low)} to {points(high)}",
                f"{numbers['p_corrected']:.2g}",
                "nothing" if numbers["smallest_change"] is None else points(numbers["smallest_change"], sign=False),
                percent(numbers["changed_answers"]),
                str(numbers["parse_failures"]),
            )
        )
    return table


def describe_columns(diagnosis: Mapping[str, Any]) -> str:
    """What the columns of the table of controls hold."""
    power, level = percent(diagnosis["power"], 0), f"{diagnosis['level']:.2g}"
    missing = diagnosis["missing"]
    left_out = f"; {missing} more have no video that can be decoded" if missing else ""
    settings = diagnosis.get("settings")
    made = (
        f" Weights in {settings['dtype']}, greedy decoding, at most {settings['max_new_tokens']} new tokens."
        if settings
        else ""
    )
    read = " Answers are read as the likeliest option." if diagnosis.get("reading") == "choice" else ""
    own = diagnosis["own"]
    low, high = own["interval"]
    return (
        f"{diagnosis['n']} questions{left_out}.{made}{read} Own accuracy: {percent(low)} to {percent(high)} (95 %), "
        f"chance {percent(own['chance'])}. Changes are in points of accuracy. Could show: the smallest "
        f"true change that these questions find with a probability of {power}, at the level of {level} that the "
        "correction leaves. Changed: answers that name another option."
    )


def latent_table(latents: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the latents, one fact a line; the first line names the columns."""
    rate = latents["activation_rate"]
    table = [
        ("latents of the model's own answers", ""),
        ("answers with a latent block", "unknown" if rate is None else percent(rate)),
        ("blocks an answer, of those with any", _number(latents["blocks_if_any"])),
        ("cosine within a block", _number(latents["cosine_within_block"])),
        ("cosine between rows, at one place", _number(latents["cosine_between_rows"])),
        ("norm", _spread(latents["norm"])),
    ]
    if latents["target_norm"]:
        table.append((f"norm of targets ({latents['target_norm_source']})", _spread(latents["target_norm"])))
    for key, what in (("imagery", "the true imagery"), ("nearest_patch", "the nearest patch of the video")):
        if numbers := latents[key]:
            table.append((f"cosine to {what}", _number(numbers["cosine"])))
            if numbers["margin"] is not None:
                low, high = numbers["interval"]
                more = f"{numbers['margin']:+.3f} ({low:+.3f} to {high:+.3f})"
                table.append((f"more than to {what} of another row", more))
    return table


def percent(share: float, digits: int = 1) -> str:
    """A share as `43.2 %`."""
    return f"{100 * share:.{digits}f} %"


def points(change: float, sign: bool = True) -> str:
    """A change of accuracy in points, as `-3.1`."""
    return f"{100 * change:+.1f}" if sign else f"{100 * change:.1f}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _spread(numbers: Mapping[str, float] | None) -> str:
    if numbers is None:
        return "unknown"
    return f"{numbers['mean']:.2f}" + (f" ± {numbers['spread']:.2f}" if numbers["spread"] else "")
