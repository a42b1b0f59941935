"""The licence of a model by those of what it was made from, and what follows from them for its users."""

from collections.abc import Sequence

from .licences import BASE_LICENCES, Licence, choose_licence, describe_terms
from .lineage import Material, Stage
from .rendering import hub_link, inline, is_hub_id


def find_model_licence(license: str | Licence | None, base: str | None, stages: Sequence[Stage]) -> Licence | None:
    """The licence for a model's card.

    Args:
        license (`str` or `Licence`, *optional*): The one that its makers chose, a Hub id.
        base (`str`, *optional*): Hub id, folder or description of the model that it was trained from.
        stages (`Sequence[Stage]`): How it was made.

    Returns:
        `Licence`, or `None` where the terms of the base model or of a data set are not known, or no licence keeps
            those of all.
    """
    if license is not None:
        return Licence(license) if isinstance(license, str) else license
    known = BASE_LICENCES.get(base or "")
    first = stages[0].model if stages else None
    start = [known.key] if known else first.licences if first else ["apache-2.0"] if stages or base is None else []
    data = [one.licences for stage in stages for one in stage.data]
    if not start or not all(data):
        return None
    return choose_licence([*start, *(name for licences in data for name in licences)])


def describe_materials(stages: Sequence[Stage]) -> list[str]:
    """Lines of Markdown: each model and data set that took part with its licence, then what follows from them."""
    materials: dict[tuple[str, str], Material] = {}
    for stage in stages:
        # Later stages start from what earlier ones have made.
        if stage is stages[0] and stage.model is not None:
            materials["", stage.model.name] = stage.model
        for one in stage.data:
            materials.setdefault(("datasets/", one.name), one)
    lines = []
    for (kind, name), one in materials.items():
        licence = ", ".join(one.licences) or "licence not recorded"
        if not one.licences and is_hub_id(name):
            licence = "under the terms that its card names"
        words = f" ({inline(one.description)})" if one.description and one.description != name else ""
        lines.append(f"{hub_link(name, kind)}{words}: {inline(licence)}")
    found = [licence for one in materials.values() for licence in one.licences]
    return [*lines, *map(inline, describe_terms(found))]
