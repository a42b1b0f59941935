"""Parts of a model's card that are more than a value: what it is, its facts, stages, versions, its example."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .example_answer import ASSETS, PICTURE, find_clip, read_example
from .licences import Licence
from .lineage import Material, Stage
from .rendering import Markup, hub_link, inline, is_hub_id
from .run_facts import short_commit


def find_base(stages: Sequence[Stage]) -> str | None:
    """The model that the last stage started from, or the last of those before it that is on the Hub."""
    names = [stage.model.name for stage in reversed(stages) if stage.model is not None]
    return next((name for name in names if is_hub_id(name)), names[0] if names else None)


def summarize(facts: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """What the model is, in three lines."""
    count = f" of {_short_count(facts['base_parameters'] or facts['parameters'])} parameters" * bool(
        facts["parameters"]
    )
    steps = f", {facts['latent_size']} steps each time" if facts["latent_size"] else ""
    *names, last = list(dict.fromkeys(stage.name for stage in stages)) or [""]
    trained = f"Trained by {', '.join(names)}{' and ' if names else ''}{last}." if last else ""
    return (
        f"A vision-language model{count} that answers questions about motion in a video and thinks with 4D imagery:\n"
        f"while it reasons it writes latent blocks, in which its own last hidden state is fed back as the next input"
        f"{steps}, and goes on in text.\n{inline(trained)}{' ' * bool(trained)}It follows 4DThinker "
        "([arXiv 2605.05997](https://arxiv.org/abs/2605.05997))."
    )


def list_facts(facts: Mapping[str, Any], base: str | None, licence: Licence | None) -> list[str]:
    """Lines on sizes, origin and licence."""
    lines = []
    if facts["parameters"]:
        whole = f", {facts['base_parameters']:,} of its base model" if facts["base_parameters"] else ""
        of_adapter = f" of this adapter (PEFT){whole}" if facts["adapter_of"] else ""
        lines.append(f"**Parameters:** {facts['parameters']:,}{of_adapter}")
    if base:
        lines.append(f"**Trained from:** {hub_link(base)}")
    if licence is None:
        lines.append("**Licence:** not chosen; the terms of what it was made from apply")
    else:
        name = inline(licence.key)
        lines.append(f"**Licence:** {f'[{name}]({licence.link})' if licence.link else name}")
    return lines


def describe_example(folder: Path) -> dict[str, Any] | None:
    """The example that lies in a folder, with what its picture shows; `None` where there is none."""
    found, clip = read_example(folder), find_clip(folder)
    if found is None or clip is None:
        return None
    has_picture = (folder / ASSETS / PICTURE).is_file()
    answer = found["answer"] or "none"
    return {
        **found,
        "clip": clip,
        "lines": [found["question"], "", *found["reasoning"].splitlines(), "", f"Answer: {answer}"],
        "picture": f"{ASSETS}/{PICTURE}" if has_picture else None,
        "alt": f"Frames of a clip, heat maps of the latents that the model decoded about it, and its answer: {answer}",
    }


def list_stages(stages: Sequence[Stage]) -> list[list[str]]:
    """The table of stages, the heading first, without columns that say nothing; empty where none is recorded."""
    if not stages:
        return []
    rows = [["stage", "started from", "data", "steps", "date", "code", "machine"]]
    for stage in stages:
        code = " ".join(part for part in (stage.version, stage.commit and short_commit(stage.commit)) if part)
        data = ", ".join(_name_with_commit(one, "datasets/") for one in stage.data)
        start = _name_with_commit(stage.model) if stage.model else "nothing"
        steps = "" if stage.steps is None else str(stage.steps)
        rows.append(
            [stage.name, Markup(start), Markup(data or "–"), steps, stage.date or "", code, stage.machine or ""]
        )
    filled = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    return [[row[place] for place in filled] for row in rows]


def _name_with_commit(material: Material, kind: str = "") -> str:
    configuration = f" ({inline(material.configuration)})" if material.configuration else ""
    commit = f" at {inline(material.revision[:7])}" if material.revision else ""
    return f"{hub_link(material.name, kind)}{configuration}{commit}"


def list_versions(last: Stage | None, facts: Mapping[str, Any]) -> list[str]:
    """Lines on the libraries of the last stage, and on how the weights are stored and used."""
    lines = []
    if last is not None and last.versions:
        versions = {**({"fourdthinker": last.version} if last.version else {}), **last.versions}
        lines.append(inline(f"Trained with {', '.join(f'{name} {number}' for name, number in versions.items())}."))
    if facts["dtype"]:
        lines.append(inline(f"Weights are stored in {facts['dtype']}."))
    if facts["position_rule"]:
        lines.append(f"Position ids after a video follow the rule {inline(facts['position_rule'])} (`position_rule`).")
    return lines


def name_methods(stage: Stage) -> list[str]:
    """Names of the configurations and rewards of a stage, by which papers are cited."""
    rewards = stage.settings.get("reward_funcs") or []
    return [*(one.configuration or "" for one in stage.data), *map(str, rewards)]


def _short_count(count: int) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,}"
