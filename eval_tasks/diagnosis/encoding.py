"""Encode the questions of a diagnosis in batches: with their videos, whose features are computed once, and without."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError
from ..controls import hide_video, video_key
from ..conversations import Conversation, decode, digest, digest_messages, row_prompt
from ..unanswered import cause_not_asked

if TYPE_CHECKING:
    import torch

    from ...modeling.clip import Clip
    from ..benchmark import Benchmark

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Rows that are decoded together.

    Attributes:
        indices (`list[int]`): Their places among all rows.
        rows (`list[Mapping]`): The rows.
        inputs (`dict`): Encoded prompts on the model's device, with the features of their videos.
        videos (`list[tuple[torch.Tensor, list[int]] | None]`): For each row the features of its video
            `(visual tokens, hidden)` and its grid in patches, if it has one.
        clips (`list[Clip | None]`): The videos.
    """

    indices: list[int]
    rows: list[Mapping]
    inputs: dict[str, Any]
    videos: "list[tuple[torch.Tensor, list[int]] | None]"
    clips: "list[Clip | None]"


class Encoder:
    """Encodes batches of rows; knows what is asked and shown, but keeps no decoded video.

    Args:
        model: The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): The rows.
        benchmark ([`Benchmark`], *optional*): Whose rows they are.

    Attributes:
        groups (`list[tuple]`): The task of every row, and what tells its video from others.
        digests (`dict[int, str]`): Of the rows encoded so far: what is asked and shown, imagery included.
    """

    def __init__(self, model, processor, rows: Sequence[Mapping], benchmark: "Benchmark | None"):
        from ...modeling.dataset_files import keep_videos_encoded

        self._model, self._processor, self._rows, self._benchmark = model, processor, rows, benchmark
        self._max_pixels = benchmark.frames.max_pixels if benchmark else None
        self.groups, self._lengths = [], []
        self.digests: dict[int, str] = {}
        for row in keep_videos_encoded(rows):  # once: a row of a dataset is read from the disk with all its images
            self.groups.append((row["task"], video_key(row)))
            self._lengths.append(row_prompt(row, benchmark).length)

    def plan_batches(self, batch_size: int) -> list[list[int]]:
        """The places of the rows of each batch, rows of like length together."""
        order = sorted(range(len(self._lengths)), key=self._lengths.__getitem__)
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def encode(self, indices: Sequence[int]) -> Batch | None:
        """Encode rows, without those whose video cannot be decoded; `None` if none is left."""
        rows, conversations, decoded = [], [], []
        clips: dict = {}
        for index in indices:
            try:
                row = self._rows[index]
                messages = row_prompt(row, self._benchmark).messages()
                conversations.append(decode(self._processor, messages, clips))
                self.digests[index] = digest([digest_messages(messages), _digest_imagery(row), self._max_pixels])
            except (InputError, OSError) as error:
                logger.warning("row %d was not asked: %s", index, cause_not_asked(error))
                continue
            rows.append(row)
            decoded.append(index)
        if not rows:
            return None
        inputs, videos = self._encode_videos(self._to_inputs(conversations), conversations)
        return Batch(decoded, rows, inputs, videos, [one.clips[0] if one.clips else None for one in conversations])

    def encode_blind(self, batch: Batch) -> dict[str, Any]:
        """The prompts of a batch without their videos."""
        prompts = [row_prompt(hide_video(row), self._benchmark) for row in batch.rows]
        return self._to_inputs([decode(self._processor, prompt.messages(), {}) for prompt in prompts])

    def _encode_videos(self, inputs: dict[str, Any], conversations: Sequence[Conversation]) -> tuple[dict, list]:
        """The inputs with features in the place of pixels, and for each conversation those of its video."""
        import torch

        if "pixel_values_videos" not in inputs:
            return inputs, [None] * len(conversations)
        grids = inputs["video_grid_thw"]
        with torch.no_grad():
            video = self._model.get_video_features(inputs.pop("pixel_values_videos"), grids, return_dict=True)
        each = iter(zip(video.pooler_output, grids.tolist(), strict=True))
        videos = [next(each) if one.clips else None for one in conversations]
        return {**inputs, "mm_encoder_outputs": {"video": video}}, videos

    def _to_inputs(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        from ...modeling.processing import encode

        texts = [one.text for one in conversations]
        clips = [clip for one in conversations for clip in one.clips]
        encoded = encode(self._processor, texts, clips, max_pixels=self._max_pixels)
        return dict(encoded.to(self._model.device))


def _digest_imagery(row: Mapping) -> str:
    images = [*(row.get("imagery") or ()), *(row.get("imagery_masks") or ())]
    return digest_messages([{"role": "assistant", "content": [{"type": "image", "image": one} for one in images]}])
