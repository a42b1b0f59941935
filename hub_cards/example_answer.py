"""Let a model answer about a clip that ships with this package, and keep picture and text of it for its card."""

import hashlib
import json
import shutil
from os import PathLike
from pathlib import Path
from typing import Any

from ..modeling.atomic import atomic_path
from ..modeling.visualization.answer_picture import draw_answer

ASSETS = "assets"
PICTURE, CLIP, RECORD = "imagery.jpg", "example.mp4", "example.json"
# The clip is rendered: it has no licence but this package's.
SHIPPED_CLIP = Path(__file__).parents[1] / "modeling" / "tiny" / "trained" / CLIP
QUESTION = "Which way does the camera move between 0.0 s and 3.5 s?"
OPTIONS = ("Pedestal Up", "Truck Left", "Pedestal Down", "Truck Right")
RIGHT = "Truck Right"
_FRAMES, _LONGEST = 8, 512


def answer_example(folder: str | PathLike) -> dict[str, Any]:
    """Answer the question about the shipped clip, and write clip, text and picture of it below `assets/`.

    What is there already and of the same weights stays. Without a latent block in the response there is no picture.

    Args:
        folder (`str` or `PathLike`): A saved model or adapter.

    Returns:
        `dict`: `question`, `options`, `right`, `reasoning`, `answer`, `text` and `blocks` of the response, `weights`.
    """
    folder = Path(folder)
    assets, weights = folder / ASSETS, hash_weights(folder)
    known = read_example(folder)
    if known is not None and known["weights"] == weights:
        return known
    clip, response, maps = _answer(folder)
    assets.mkdir(exist_ok=True)
    if not (folder / CLIP).is_file():  # the shipped model has it already
        shutil.copyfile(SHIPPED_CLIP, assets / CLIP)
    (assets / PICTURE).unlink(missing_ok=True)
    if maps is not None:
        draw_answer(assets / PICTURE, QUESTION, clip, response, maps)
    found = {"question": QUESTION, "options": list(OPTIONS), "right": RIGHT, **response, "weights": weights}
    with atomic_path(assets / RECORD) as temporary:
        temporary.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def find_clip(folder: Path) -> str | None:
    """The place of the shipped clip in a model's folder, `None` if it is not there."""
    return next((place for place in (CLIP, f"{ASSETS}/{CLIP}") if (folder / place).is_file()), None)


def read_example(folder: Path) -> dict[str, Any] | None:
    """What [`answer_example`] has written into a folder; `None` where it has not, or not whole."""
    try:
        found = json.loads((folder / ASSETS / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    names = {"question", "options", "right", "reasoning", "answer", "blocks", "weights"}
    return found if isinstance(found, dict) and names <= found.keys() else None


def hash_weights(folder: Path) -> str:
    """SHA-256 over the weight files of a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _answer(folder: Path) -> tuple:
    import torch

    from ..dataset_builders.sources.video_reader import read_frames
    from ..eval_tasks.predict import decode_greedily
    from ..modeling import load_model
    from ..modeling.processing import conversation_text, encode
    from ..modeling.visualization.imagery_maps import imagery_maps

    model, processor = load_model(folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    clip = read_frames(SHIPPED_CLIP, max_frames=_FRAMES)
    inputs = encode(processor, [conversation_text(processor, QUESTION, OPTIONS)], [clip]).to(model.device)
    output = decode_greedily(model, inputs, _LONGEST)
    response = processor.read_response(output.sequences[0, inputs["input_ids"].shape[1] :])
    latents = output.latent_embeds[0]
    return clip, response, imagery_maps(model, inputs, latents) if len(latents) else None
