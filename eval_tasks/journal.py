"""Finished answers on disk, so that an evaluation that was killed goes on where it was."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError
from .conversations import digest

VARIABLE = "FOURDTHINKER_JOURNAL"
NO_JOURNAL = "none"
_PACKAGES = ("fourdthinker", "transformers", "torch")


class Journal:
    """The answers of one model under one set of settings: one line of JSON each.

    Every process writes a file of its own and reads those of all others, so runs that share the folder disturb
    nobody, and a last line that was torn is simply not an answer.

    Args:
        folder (`str` or `os.PathLike`): Where the files of this model and these settings are; made when first needed.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._answers = _read_answers(self.folder)
        self._file: Path | None = None

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> str | None:
        """The answer to a question, if it is known."""
        return self._answers.get(key)

    def add(self, answers: Mapping[str, str]) -> None:
        """Keep answers, on disk before this returns.

        Raises:
            InputError: If they cannot be written.
        """
        lines = "".join(
            json.dumps({"key": key, "response": response}, ensure_ascii=False) + "\n"
            for key, response in answers.items()
        )
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = self.folder / f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            with open(self._file, "ab", buffering=0) as file:
                file.write(lines.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise InputError(
                f"cannot write answers to {self.folder} ({error.strerror}): free some space, name another folder in "
                f"{VARIABLE}, or set it to {NO_JOURNAL}"
            ) from error
        self._answers.update(answers)


def open_journal(
    model, processor, settings: Mapping[str, Any], place: str | os.PathLike | None = None
) -> Journal | None:
    """The journal of a model under settings that change its answers.

    Args:
        model: The model, on its device; its weights are read once for a digest.
        processor: Its processor.
        settings (`Mapping`): Whatever changes an answer and is the same for all of a run, such as `latents`. What
            the conversation, its media and the decoding are belongs to the key of each answer.
        place (`str` or `os.PathLike`, *optional*): A folder for all journals, or `"none"`; by default the
            environment variable `FOURDTHINKER_JOURNAL`, else a folder below `HF_HOME`.

    Returns:
        `Journal`, or nothing where none is wanted.
    """
    place = place or os.environ.get(VARIABLE)
    if place == NO_JOURNAL:
        return None
    if not place:
        from huggingface_hub.constants import HF_HOME

        place = Path(HF_HOME) / "fourdthinker" / "answers"
    return Journal(Path(place) / digest([model_digest(model, processor), run_conditions(model), dict(settings)]))


def run_conditions(model) -> dict[str, str]:
    """What besides the weights decides how numbers are rounded: device, attention, versions."""
    from importlib.metadata import version

    versions = {package: version(package) for package in _PACKAGES}
    return {"device": model.device.type, "attention": str(model.config._attn_implementation), **versions}


def model_digest(model, processor) -> str:
    """A digest of weights, configuration and processor, wherever they were loaded from."""
    import torch

    found = hashlib.blake2b(digest_size=16)
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    tokenizer = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    for name in ("padding", "truncation"):  # of the last call
        tokenizer.pop(name, None)
    parts = (config, tokenizer, processor.chat_template, model.generation_config.eos_token_id)
    found.update(json.dumps(parts, sort_keys=True, default=str).encode())
    for part in (processor.image_processor, processor.video_processor):
        found.update(part.to_json_string().encode())
    for name, weight in model.state_dict().items():
        found.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        found.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _read_answers(folder: Path) -> dict[str, str]:
    answers = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line.decode("utf-8", "surrogatepass"))
                answers[entry["key"]] = entry["response"]
            except (ValueError, KeyError, TypeError):
                continue  # torn when its process was killed
    return answers
