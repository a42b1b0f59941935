"""Render the card of a trained model from what lies in its folder."""

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from ..modeling.atomic import atomic_path
from .citations import cite
from .diagnosis import describe_diagnosis
from .example_answer import answer_example
from .licences import Licence
from .lineage import Stage, read_lineage
from .model_facts import base_revision, read_facts
from .model_licence import describe_materials, find_model_licence
from .model_parts import (
    describe_example,
    find_base,
    list_facts,
    list_stages,
    list_versions,
    name_methods,
    summarize,
)
from .own_text import END, GIVEN_MARKER, MARKER, is_generated, keep_own_text
from .rendering import is_hub_id, one_line, recipe_text, render
from .run_facts import project_links
from .score_index import PIPELINE_TAG, index_results
from .scores import OWN, Run, describe_run, own_reports, read_scores, score_table

CARD = "README.md"
TAGS = ["4dthinker", "latent-reasoning", "spatial-reasoning", "video"]
_PLOT = "training.png"
_SPACE, _SPACES = "Space", "https://huggingface.co/spaces/"


def model_card(
    folder: str | PathLike,
    scores: Mapping[str, Mapping] | None = None,
    recipe: Mapping | str | Path | None = None,
    datasets: str | Sequence[str] | None = None,
    base_model: str | None = None,
    *,
    license: str | Licence | None = None,
    repo_id: str | None = None,
    revision: str | None = None,
    space: str | None = None,
) -> ModelCard:
    """Write the card of a saved model. `card.save(folder / "README.md")` puts it in its place.

    What is not given is read from the folder: `scores/` ([`store_scores`]), `lineage.json` ([`record_training`]),
    `diagnosis.json` ([`store_diagnosis`]), `assets/` ([`answer_example`]) and `training.png`. A card with `scores`,
    `recipe`, `datasets` or `base_model` of the caller is not written anew later, by [`write_model_card`] or when it is
    published: no file holds these.

    Args:
        folder (`str` or `PathLike`): A folder that `save_pretrained` wrote.
        scores (`Mapping[str, Mapping]`, *optional*): For each benchmark what `eval_tasks.score` returned for this
            model (or one such result alone), or `eval_tasks.report.build_report`. Numbers in the card come from here
            and nowhere else; where there is no blind control the card says so.
        recipe (`Mapping` or path, *optional*): The settings of the run, or a YAML file of them; shown without paths.
        datasets (`str` or `Sequence[str]`, *optional*): What it was trained on: Hub ids, folders or words. Only Hub
            ids enter the header.
        base_model (`str`, *optional*): What it was trained from: a Hub id, or a description.
        license (`str` or `Licence`, *optional*): Hub licence id. By default the one that the licences of base
            model and data ask for; of a model with no base model Apache-2.0; nothing where they are not known.
        repo_id (`str`, *optional*): Where the model will be published; the snippet loads it from there instead of from
            `folder`.
        revision (`str`, *optional*): Tag or commit that the snippet pins.
        space (`str`, *optional*): Hub id of a Space that shows the model.

    Returns:
        `huggingface_hub.ModelCard`

    Raises:
        InputError: If `folder` holds no model, or a file there that the card is made from cannot be read.
    """
    folder = Path(folder)
    is_given = any(value is not None for value in (scores, recipe, datasets, base_model))
    facts, stages = read_facts(folder), read_lineage(folder)
    runs = read_scores(folder) if scores is None else [Run(OWN, _by_benchmark(scores))]
    results = own_reports(runs)
    named = [datasets] if isinstance(datasets, str) else list(datasets or [])
    base = base_model or find_base(stages)
    licence = find_model_licence(license, base, stages)
    title = (repo_id or folder.resolve().name).rpartition("/")[2]
    learned_from = [*named, *(one.name for stage in stages for one in stage.data)]
    example = describe_example(folder)
    recipe = recipe if recipe is not None else (stages[-1].settings if stages else None)
    last = stages[-1] if stages else None
    uses = [text for stage in stages for text in name_methods(stage)]
    content = render(
        "model_card.md.jinja",
        header=_make_header(title, facts, licence, base, learned_from, results),
        marker=GIVEN_MARKER if is_given else MARKER,
        end=END,
        title=title,
        summary=summarize(facts, stages),
        fact_lines=list_facts(facts, base, licence),
        example=example,
        adapters=facts["adapter_of"],
        snippet=_snippet(folder, facts, stages, repo_id, revision),
        clip_words=f"about a video `clip.mp4` ([one to try]({example['clip']}))"
        if example
        else "about a video of your own, `clip.mp4`",
        benchmarks=[
            {"name": name, "table": score_table(name, runs), "sentences": describe_run(name, runs)} for name in results
        ],
        diagnosis=describe_diagnosis(folder),
        stages=list_stages(stages),
        datasets=named,
        recipe=recipe_text(recipe),
        plot=_PLOT if (folder / _PLOT).is_file() else None,
        materials=describe_materials(stages),
        version_lines=list_versions(last, facts),
        links={**project_links(), **({_SPACE: f"{_SPACES}{space}"} if space else {})},
        citations=cite(last.version if last else None, uses, int(last.date[:4]) if last and last.date else None),
    )
    return ModelCard(content)


def _make_header(
    title: str,
    facts: Mapping[str, Any],
    licence: Licence | None,
    base: str | None,
    learned_from: Sequence[str],
    results: Mapping[str, Mapping],
) -> str:
    """The header of the card as YAML; names that are no Hub ids stay out of it."""
    base_id = base if base and is_hub_id(base) else None
    data = ModelCardData(
        language="en",
        license=licence and licence.id,
        license_name=licence and licence.name,
        license_link=licence and licence.link,
        base_model=base_id,
        base_model_relation=("adapter" if facts["adapter_of"] else "finetune") if base_id else None,
        datasets=list(dict.fromkeys(filter(is_hub_id, learned_from))) or None,
        metrics=["accuracy"] if results else None,
        pipeline_tag=PIPELINE_TAG,
        library_name="peft" if facts["adapter_of"] else "transformers",
        tags=list(TAGS),
        model_name=one_line(title) if results else None,
        eval_results=index_results(results) or None,
    )
    return data.to_yaml()


def write_model_card(
    folder: str | PathLike,
    revision: str | None = None,
    repo_id: str | None = None,
    *,
    license: str | Licence | None = None,
    space: str | None = None,
    draw: bool = True,
) -> Path:
    """Write a model's card anew from its folder, as it is before it is published.

    A card that this package did not write stays as it is. Of one that it did, what stands below its last line stays.

    Args:
        folder (`str` or `PathLike`): A folder that `save_pretrained` wrote.
        revision, repo_id, license, space: As of [`model_card`]; without `license` or `space` that of the present card
            is kept.
        draw (`bool`, *optional*, defaults to `True`): Let the model answer about the shipped clip first, if these
            weights have not yet; see [`answer_example`].

    Returns:
        `Path`: `README.md`.
    """
    path = Path(folder) / CARD
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if before is not None and not is_generated(before):
        return path
    if draw:
        answer_example(folder)
    text = renew_model_card(folder, before, revision, repo_id, license=license, space=space)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def renew_model_card(
    folder: str | PathLike,
    before: str | None,
    revision: str | None = None,
    repo_id: str | None = None,
    *,
    license: str | Licence | None = None,
    space: str | None = None,
) -> str:
    """The text of a card that is made anew from its folder.

    Args:
        folder (`str` or `PathLike`): A folder that `save_pretrained` wrote.
        before (`str`, *optional*): The card that it replaces, whose licence, Space and own text are kept.
        revision, repo_id, license, space: As of [`model_card`].
    """
    if license is None:
        license = _present_licence(before) or (None if read_lineage(folder) else "unknown")
    space = space or _present_space(before)
    card = model_card(folder, license=license, repo_id=repo_id, revision=revision, space=space)
    return keep_own_text(str(card), before)


def _present_licence(text: str | None) -> Licence | None:
    """The licence in the header of a card."""
    if text is None:
        return None
    header = ModelCard(text, ignore_metadata_errors=True).data
    return Licence(header.license, header.license_name, header.license_link) if header.license else None


def _present_space(text: str | None) -> str | None:
    """The Space that a card links."""
    found = re.search(rf"^- \[{_SPACE}\]\(<{_SPACES}([^>\n]+)>\)$", text or "", re.MULTILINE)
    return found[1] if found else None


def _by_benchmark(scores: Mapping) -> dict[str, Mapping]:
    if not scores:
        return {}
    return {"evaluation": scores} if "accuracy" in scores else dict(scores)


def _snippet(
    folder: Path, facts: Mapping[str, Any], stages: Sequence[Stage], repo_id: str | None, revision: str | None
) -> str:
    revisions = {stage.model.name: stage.model.revision for stage in stages if stage.model is not None}
    below = [{"name": name, "revision": revisions.get(name)} for name in facts["adapter_of"]]
    if below and below[-1]["revision"] is None:
        below[-1]["revision"] = base_revision(folder)
    location = repo_id or str(folder)
    return render("model_snippet.py.jinja", adapters=below, location=location, revision=revision)
