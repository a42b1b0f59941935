"""Cache of the frozen vision tower's features: computed once, kept on disk, looked up by content."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import send_to_device
from datasets import Dataset
from huggingface_hub.constants import HF_HOME
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import PreTrainedModel, ProcessorMixin

from ...dataset_builders.loading import VIDEO_COLUMN
from ...modeling.atomic import atomic_path
from ...modeling.dataset_files import keep_videos_encoded
from ...modeling.errors import InputError
from ...modeling.processing import FRAMES_PER_SECOND, MAX_FRAMES, conversation_text, encode, row_clip
from ..common.distributed import place_on
from ..common.images import clip_columns
from ..common.video_inputs import encode_videos
from .cached_videos import describe_tokens, load_kept, pack_videos
from .imagery_inputs import encode_row_imagery

TARGETS_COLUMN, VIDEO_FEATURES_COLUMN = "latent_targets_file", "video_features_file"
_ROWS_AT_ONCE = 16


class FeatureCache:
    """A folder with one file for each row's imagery targets, and one for its video's features.

    A file's name is a digest of the images and of all that their features follow from: the tower's weights, the
    processors' settings, the precision, and for targets their number and pooling. So runs may share a folder, in any
    number of processes, and a run that was cut off goes on where it was.

    Args:
        model ([`FourDThinkerForConditionalGeneration`]): Whose tower.
        processor: The model's processor.
        folder (`str` or `Path`, *optional*): Where; by default `fourdthinker/features` under `HF_HOME`.
        precision (`torch.dtype`, *optional*): Run the tower under autocast to it, as training will.
        device (`torch.device`, *optional*): Where to run it; by default where it is.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        folder: str | Path | None = None,
        precision: torch.dtype | None = None,
        device: torch.device | None = None,
    ):
        self.model, self.processor, self.precision = model, processor, precision
        self.folder = Path(folder) if folder else Path(HF_HOME) / "fourdthinker" / "features"
        self.device = model.device if device is None else device
        self._tower = _tower_digest(model, precision)

    def add_targets(self, rows: Dataset) -> Dataset:
        """Add a column with the file of each row's imagery targets; missing files are computed."""
        config = self.model.config
        regions = config.latent_pooling == "region"
        if regions and "imagery_masks" not in rows.column_names:
            raise InputError(
                'rows have no imagery_masks, which the pooling "region" needs: build the data again, or choose '
                "another latent_pooling"
            )
        settings = f"{self.processor.image_processor.to_json_string()} {config.latent_size} {config.latent_pooling}"
        columns = ["imagery", *(["imagery_masks"] if regions else [])]

        def compute(some: Sequence[Mapping]) -> list[dict[str, torch.Tensor]]:
            batch = encode_row_imagery(self.processor, some, regions, config.latent_size)
            if not batch:
                return [{} for _ in some]
            targets = self.model.imagery_targets(**send_to_device(batch, self.device))
            return [{"targets": part} for part in targets.split([len(row["imagery"]) for row in some])]

        return self._add_column(rows, TARGETS_COLUMN, columns, settings, compute)

    def add_videos(self, rows: Dataset) -> Dataset:
        """Add a column with the file of each row's video features and tokens; missing files are computed."""
        text = conversation_text(self.processor, "Which?")  # any: videos alone are computed
        settings = f"{self.processor.video_processor.to_json_string()} {describe_tokens(self.processor)}"

        def compute(some: Sequence[Mapping]) -> list[dict[str, torch.Tensor]]:
            batch = encode(self.processor, [text] * len(some), [row_clip(row) for row in some]).to(self.device)
            return pack_videos(self.processor, text, batch, encode_videos(self.model, batch, frozen=True))

        return self._add_column(rows, VIDEO_FEATURES_COLUMN, clip_columns(rows), settings, compute)

    def _add_column(
        self,
        rows: Dataset,
        column: str,
        inputs: list[str],
        settings: str,
        compute: Callable[[Sequence[Mapping]], list[dict[str, torch.Tensor]]],
    ) -> Dataset:
        state = PartialState()
        needed = rows.select_columns([*dict.fromkeys(["id", *inputs])])
        known = hashlib.sha256(f"{column} {self._tower} {settings}".encode()).hexdigest()
        files = [
            str(self.folder / name[:2] / f"{name}.safetensors")
            for name in _names(rows.select_columns([column for column in inputs if column != "id"]), known)
        ]
        # Each process has its share of all files: what is absent changes while others look.
        unique = list({file: number for number, file in enumerate(files)}.items())
        share = unique[state.process_index :: state.num_processes]
        mine = [(file, number) for file, number in share if not os.path.exists(file)]
        with (
            place_on(self.model.model.visual, self.device),
            torch.no_grad(),
            tqdm(total=len(mine), desc=f"precomputing {column}", disable=None if mine else True) as bar,
        ):
            for start in range(0, len(mine), _ROWS_AT_ONCE):
                some = mine[start : start + _ROWS_AT_ONCE]
                with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
                    computed = compute([needed[number] for _, number in some])
                for (file, _), tensors in zip(some, computed, strict=True):
                    _write(Path(file), tensors)
                bar.update(len(some))
        state.wait_for_everyone()
        if not all(map(os.path.exists, files)):
            raise InputError(
                f"features that another process has kept are not in {self.folder}: give feature_cache a folder that "
                "all machines share"
            )
        return rows.add_column(column, files)


def read_targets(file: str) -> torch.Tensor | None:
    """Imagery targets `(images, latent_size, hidden)` that [`FeatureCache`] kept; none for a row without imagery."""
    return load_kept(file).get("targets")


def _write(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def _names(rows: Dataset, known: str) -> list[str]:
    names, video_content = [], cache(_file_content)  # a video may have several rows
    for row in keep_videos_encoded(rows):
        digest = hashlib.sha256(known.encode())
        if video := row.pop(VIDEO_COLUMN, None):
            digest.update(f"{FRAMES_PER_SECOND} {MAX_FRAMES}".encode() + video_content(video))
        for column, values in row.items():
            digest.update(f"{column} {len(values or ())}".encode())
            for value in values or ():
                digest.update(_content(value) if isinstance(value, Mapping) else repr(value).encode())
        names.append(digest.hexdigest())
    return names


def _content(image: Mapping) -> bytes:
    return hashlib.sha256(image["bytes"]).digest() if image.get("bytes") else _file_content(image["path"])


def _file_content(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _tower_digest(model: PreTrainedModel, precision: torch.dtype | None) -> str:
    tower = model.model.visual
    digest = hashlib.sha256(f"{model.config.vision_config.to_json_string()} {precision}".encode())
    for name, weight in tower.state_dict().items():
        digest.update(f"{name} {weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
