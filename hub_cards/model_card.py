"""Render the card of a trained model: data, training, scores, and a loading snippet."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from ..eval_tasks.report.table import describe_marks, describe_worth
from ..modeling.errors import InputError
from .adapter_facts import adapter_chain, count_base_parameters
from .eval_results import PIPELINE_TAG, index_results
from .rendering import is_hub_id, one_line, recipe_text, render

TAGS = ["4dthinker", "latent-reasoning", "spatial-reasoning", "video"]


def model_card(
    folder: str | PathLike,
    scores: Mapping[str, Mapping] | None = None,
    recipe: Mapping | str | Path | None = None,
    datasets: str | Sequence[str] | None = None,
    base_model: str | None = None,
    *,
    license: str | None = None,
    repo_id: str | None = None,
) -> ModelCard:
    """Write the card of a saved model. `card.save(folder / "README.md")` puts it in its place.

    Args:
        folder (`str` or `PathLike`): A folder that `save_pretrained` wrote.
        scores (`Mapping[str, Mapping]`, *optional*): For each benchmark what `eval_tasks.score` returned for this
            model (or one such result alone), or `eval_tasks.report.build_report`. Numbers in the card come from here
            and nowhere else; where there is no blind control the card says so.
        recipe (`Mapping` or path, *optional*): The arguments of the run, or its YAML file.
        datasets (`str` or `Sequence[str]`, *optional*): What it was trained on: Hub ids, folders or words. Only Hub
            ids enter the header.
        base_model (`str`, *optional*): What it was trained from: a Hub id, or a description.
        license (`str`, *optional*): Hub licence id. Without it, a model with no base model is under Apache-2.0 and for
            any other the card refers to the base model's terms.
        repo_id (`str`, *optional*): Where the model will be published; the snippet loads it from there instead of from
            `folder`.

    Returns:
        `huggingface_hub.ModelCard`

    Raises:
        InputError: If `folder` holds no model.
    """
    folder = Path(folder)
    facts = _read_facts(folder)
    named = [datasets] if isinstance(datasets, str) else list(datasets or [])
    results = _by_benchmark(scores)
    title = (repo_id or folder.resolve().name).rpartition("/")[2]
    licence = license or ("apache-2.0" if base_model is None else None)
    data = ModelCardData(
        license=licence,
        base_model=base_model if base_model and is_hub_id(base_model) else None,
        datasets=[name for name in named if is_hub_id(name)] or None,
        pipeline_tag=PIPELINE_TAG,
        library_name="peft" if facts["adapter_of"] else "transformers",
        tags=list(TAGS),
        model_name=one_line(title) if results else None,
        eval_results=index_results(results) or None,
    )
    content = render(
        "model_card.md.jinja",
        header=data.to_yaml(),
        title=title,
        facts=facts,
        base_model=base_model,
        license=licence,
        datasets=named,
        recipe=recipe_text(recipe),
        results=results,
        notes={name: [*describe_marks(report), describe_worth(report)] for name, report in results.items()},
        location=repo_id or str(folder),
    )
    return ModelCard(content)


def _by_benchmark(scores: Mapping | None) -> dict[str, Mapping]:
    if not scores:
        return {}
    return {"evaluation": scores} if "accuracy" in scores else dict(scores)


def _read_facts(folder: Path) -> dict:
    """Facts from the folder itself."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no saved model (config.json): give a folder that a training wrote"
        ) from error
    below = adapter_chain(folder)
    return {
        "parameters": sum(_count_parameters(path) for path in sorted(folder.glob("*.safetensors"))),
        "adapter_of": below,
        "base_parameters": count_base_parameters(folder) if below else None,
        "latent_size": config.get("latent_size"),
        "position_rule": config.get("position_rule"),
    }


def _count_parameters(path: Path) -> int:
    """Number of values in a safetensors file, from its header alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for side in entry["shape"]:
                size *= side
            total += size
    return total
