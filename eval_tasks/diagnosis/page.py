"""The page of a diagnosis: verdict, tables, charts and examples in one file without scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.pages import load_page_template
from .charts import draw_accuracies, draw_changes, draw_cosines, draw_histogram, draw_shares
from .controls import CONTROLS
from .tables import control_table, describe_columns, latent_table

if TYPE_CHECKING:
    from .answering import Answers

_TEMPLATE = "page.html.jinja"


def write_page(path: Path, model: str, results: Mapping[str, tuple[dict[str, Any], "Answers", Any]]) -> None:
    """Write the page.

    Args:
        path (`Path`): The file.
        model (`str`): The name of the model.
        results (`Mapping[str, tuple]`): By task what [`~diagnosis.diagnose`] returned, and the rows.
    """
    from markupsafe import Markup

    tasks = []
    for task, (diagnosis, answers, _) in results.items():
        charts = [(title, note, Markup(chart)) for title, note, chart in _draw_charts(diagnosis, answers)]
        tasks.append(
            {
                "name": task,
                "diagnosis": diagnosis,
                "controls": control_table(diagnosis),
                "about": describe_columns(diagnosis),
                "left_out": list(diagnosis["left_out"].items()),
                "latents": latent_table(diagnosis["latents"]),
                "charts": charts,
                "examples": answers.examples,
            }
        )
    text = load_page_template(Path(__file__).parent, _TEMPLATE).render(
        model=model, tasks=tasks, descriptions=CONTROLS.values()
    )
    path.write_text(text, encoding="utf-8")


def _draw_charts(diagnosis: Mapping[str, Any], answers: "Answers") -> list[tuple[str, str, str]]:
    """Title, note and SVG of each chart."""
    numbers, margin = diagnosis["latents"], 100 * diagnosis["margin"]
    changed = {name: control["changed_answers"] for name, control in diagnosis["controls"].items()}
    charts = []
    if changed:
        note = f"Points, with 95 % interval; shaded: below {margin:g} points; orange: the smallest loss that shows."
        charts.append(("Change of accuracy", note, draw_changes(diagnosis)))
        charts.append(("Accuracy", "With 95 % interval; dashed: chance.", draw_accuracies(diagnosis)))
        note = "Answers that name another option than the model's own, or none any more."
        charts.append(("Changed answers", note, draw_shares(changed, note)))
    if cosines := _name_cosines(numbers):
        note = "Means of the model's own latents; those of a block or of all rows that are alike hold little."
        charts.append(("Cosines", note, draw_cosines(cosines, "cosines of latents")))
    imagining = [known for known in answers.latents if known is not None and len(known.vectors)]
    norms = [norm for known in imagining for norm in known.vectors.float().norm(dim=-1).tolist()]
    if norms:
        target = numbers["target_norm"]["mean"] if numbers["target_norm"] else None
        most = 1.05 * max(norms + ([] if target is None else [target])) or 1.0
        note = f"Dashed: mean of {numbers['target_norm_source']}." if target is not None else "Of every latent."
        charts.append(("Norms of latents", note, draw_histogram(norms, (0.0, most), "norms of latents", target)))
    times = [place[0] for known in imagining if known.patches for place in known.patches.places]
    if times:
        note = "When in the video the patch lies that a latent resembles most; 0 is its start, 1 its end."
        charts.append(("Nearest patch in time", note, draw_histogram(times, (0.0, 1.0), note)))
    return charts


def _name_cosines(numbers: Mapping[str, Any]) -> dict[str, float]:
    named = {"within a block": numbers["cosine_within_block"], "between rows": numbers["cosine_between_rows"]}
    for key, own, other in (
        ("imagery", "true imagery", "another's imagery"),
        ("nearest_patch", "nearest patch", "another video's"),
    ):
        if numbers[key]:
            named |= {own: numbers[key]["cosine"], other: numbers[key]["other"]}
    return {label: value for label, value in named.items() if value is not None}
