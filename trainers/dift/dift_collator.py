"""Collate rows to a DIFT batch: texts with latent blocks, labels, video pixels and imagery pixels."""

from collections.abc import Mapping, Sequence

import torch
from transformers import BatchFeature, ProcessorMixin

from ...modeling.errors import InputError
from ...modeling.latent_loss import IGNORED_LABEL
from ...modeling.processing import encode, row_clip, row_prompt
from ...modeling.row_rules import lacks_answer, marks_fault, name_row
from ...modeling.tokens import LATENT_PAD, drop_imagery_marks, expand_imagery_marks
from .answer_alignment import answer_mask
from .cached_videos import encode_cached
from .feature_cache import TARGETS_COLUMN, VIDEO_FEATURES_COLUMN, read_targets
from .imagery_inputs import encode_row_imagery

_END = "<|im_end|>\n"


class DIFTCollator:
    """Makes batches of the rows of a `dift` dataset.

    A response that ends in its last imagery mark has no answer: words and imagery are learnt, and how to go on is not.

    Args:
        processor: A Qwen2.5-VL processor whose tokenizer has the latent tokens.
        latent_size (`int`): Latents in a block.
        drop_imagery (`bool`, *optional*, defaults to `False`): Leave out marks and imagery: the text-only control.
        masks (`bool`, *optional*, defaults to `False`): Add the imagery's masks, for `latent_pooling="region"`.
        ids (`bool`, *optional*, defaults to `False`): Add the rows' `ids`, which no model takes.
        answers (`bool`, *optional*, defaults to `False`): Add the `answer_mask`, see [`answer_mask`].
        padding_side (`str`, *optional*, defaults to `"right"`): Where shorter rows are filled.
    """

    def __init__(
        self,
        processor: ProcessorMixin,
        latent_size: int,
        drop_imagery: bool = False,
        masks: bool = False,
        ids: bool = False,
        padding_side: str = "right",
        answers: bool = False,
    ):
        self.processor, self.latent_size, self.drop_imagery = processor, latent_size, drop_imagery
        self.masks, self.ids, self.padding_side, self.answers = masks, ids, padding_side, answers
        self._pad = processor.tokenizer.convert_tokens_to_ids(LATENT_PAD)

    def __call__(self, rows: Sequence[Mapping]) -> BatchFeature:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): Columns `id`, `question`, `options`, `response`, `frames`, `timestamps`,
                `imagery`, and with `masks` also `imagery_masks`.

        Returns:
            `BatchFeature`: What `encode` gives; `labels` of shape `(batch, length)`; and, if any row has imagery, what
            `encode_imagery` gives, row after row. Rows that went through a [`FeatureCache`] give `latent_targets` in
            the place of imagery pixels, and `mm_encoder_outputs` in the place of video pixels; they need no
            `frames` and no `timestamps`.

        Raises:
            InputError: If a row has another number of marks than of imagery frames, no text or special tokens where
                words belong, or frames that do not fit their times.
        """
        responses = [self._response(row) for row in rows]
        texts = [row_prompt(self.processor, row, response) for row, response in zip(rows, responses, strict=True)]
        if VIDEO_FEATURES_COLUMN in rows[0]:
            files = [row[VIDEO_FEATURES_COLUMN] for row in rows]
            batch = encode_cached(self.processor, texts, files, self.padding_side)
        else:
            batch = encode(self.processor, texts, [row_clip(row) for row in rows], padding_side=self.padding_side)
        spoken = [f"\n{response}{_END}" for response in responses]
        unfinished = [lacks_answer(row["response"]) for row in rows]
        batch["labels"] = response_labels(self.processor, batch, spoken, unfinished)
        batch["labels"][batch["input_ids"] == self._pad] = IGNORED_LABEL
        if self.answers:
            batch["answer_mask"] = answer_mask(self.processor, batch, rows, spoken)
        if not self.drop_imagery:
            batch.update(self._imagery(rows))
        if self.ids:
            batch["ids"] = [str(row["id"]) for row in rows]
        return batch

    def _imagery(self, rows: Sequence[Mapping]) -> Mapping:
        if TARGETS_COLUMN in rows[0]:
            kept = [read_targets(row[TARGETS_COLUMN]) for row in rows if len(row["imagery"])]
            return {"latent_targets": torch.cat(kept)} if kept else {}
        return encode_row_imagery(self.processor, rows, self.masks, self.latent_size)

    def _response(self, row: Mapping) -> str:
        with name_row(row):
            if fault := marks_fault(row["response"], len(row["imagery"])):
                raise InputError(fault)
        if self.drop_imagery:
            return drop_imagery_marks(row["response"])
        return expand_imagery_marks(row["response"], self.latent_size)


def response_labels(
    processor: ProcessorMixin, batch: BatchFeature, spoken: Sequence[str], unfinished: Sequence[bool] = ()
) -> torch.LongTensor:
    """Labels that cover the last words of each row.

    They are found by their length from the row's end, so nothing that a question says can move them. DIFT supervises
    what follows `<|im_start|>assistant`, the line break included (4DThinker's collator).

    Args:
        processor: A Qwen2.5-VL processor.
        batch (`BatchFeature`): Encoded conversations, padded on either side.
        spoken (`Sequence[str]`): With what each row ends.
        unfinished (`Sequence[bool]`, *optional*): Whether each row's end of turn has no label; by default all have.

    Returns:
        `torch.LongTensor` of shape `(batch, length)`: The ids, -100 before these words and after the rows' ends.
    """
    lengths = torch.tensor([len(ids) for ids in processor.tokenizer(list(spoken))["input_ids"]])[:, None]
    positions = torch.arange(batch["input_ids"].shape[1])
    ends = (positions * batch["attention_mask"]).amax(1, keepdim=True) + 1
    outside = (positions < ends - lengths) | (positions >= ends)
    if any(unfinished):
        turn_ends = positions >= ends - len(processor.tokenizer(_END)["input_ids"])
        outside |= turn_ends & torch.tensor(unfinished)[:, None]
    return batch["input_ids"].masked_fill(outside, IGNORED_LABEL)
