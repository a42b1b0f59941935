"""What a trainer puts beside the weights it saves, a note of its arguments and our card, and how it publishes them."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.atomic import atomic_path
from ...modeling.file_names import TRAINING_ARGUMENTS

if TYPE_CHECKING:
    from transformers import Trainer

    from ...hub_cards.publishing.publish import Published


def note_arguments(folder: Path, arguments: Any) -> None:
    """Write a trainer's arguments as JSON, in the place of transformers' pickle, which nobody may open safely.

    Left out are places of this machine, tokens, and values that are neither text, number nor a container of them.

    Args:
        folder (`Path`): Where the weights are.
        arguments ([`~transformers.TrainingArguments`]): The trainer's.
    """
    from ...hub_cards.settings import without_paths

    names = [field.name for field in dataclasses.fields(arguments) if field.init]
    noted = {name: getattr(arguments, name) for name in names if "token" not in name.split("_")}
    with atomic_path(folder / TRAINING_ARGUMENTS) as temporary:
        temporary.write_text(json.dumps(without_paths(noted), indent=1) + "\n", encoding="utf-8")


def write_trainer_card(folder: Path, trainer: "Trainer", dataset: str | None = None) -> None:
    """Write our card for what a trainer has saved; a card of somebody else stays as it is.

    Args:
        folder (`Path`): A folder with saved weights and their configuration; any other stays without a card.
        trainer ([`~transformers.Trainer`]): The one that trained them.
        dataset (`str`, *optional*): Folder, file or Hub id of its rows.
    """
    from ...hub_cards import write_model_card
    from ...hub_cards.lineage import record_training

    if not (folder / "config.json").is_file():
        return
    record_training(folder, trainer, dataset=dataset)
    write_model_card(folder, draw=False)


def find_repository(trainer: "Trainer") -> str:
    """Where a trainer publishes: `hub_model_id` or, by default, the folder's name, below the token's owner.

    Raises:
        InputError: If the owner is not known, as there is no token or the Hub does not answer.
    """
    from ...hub_cards.publishing.hub_access import find_owner

    name = trainer.args.hub_model_id or Path(trainer.args.output_dir).absolute().name
    return name if "/" in name else f"{find_owner(trainer.args.hub_token)}/{name}"


def publish_trained(trainer: "Trainer", token: str | None, private: bool | None, **options: Any) -> "Published":
    """Publish what a trainer has saved in its `output_dir`; see [`~hub_cards.publish_model`].

    Args:
        trainer ([`~transformers.Trainer`]): One that has saved a model there.
        token (`str`, *optional*): By default the trainer's `hub_token`, then that of the environment.
        private (`bool`, *optional*): Of a new repository; by default `hub_private_repo`, then `True`.
        options: Further ones of `publish_model`.
    """
    from ...hub_cards import publish_model

    private = trainer.args.hub_private_repo if private is None else private
    public = private is False
    token = token or trainer.args.hub_token
    return publish_model(trainer.args.output_dir, find_repository(trainer), public=public, token=token, **options)
