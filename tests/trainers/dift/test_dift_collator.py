"""DIFT batches: what is supervised token by token, and which imagery goes where."""

import io

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import encode_imagery
from fourdthinker.modeling.tokens import LATENT_END, LATENT_PAD, LATENT_START
from fourdthinker.trainers import DIFTCollator

SIZE = 4
IGNORED = -100


@pytest.fixture
def collate(tiny_processor):
    return DIFTCollator(tiny_processor, SIZE)


@pytest.fixture
def ids(tiny_processor):
    return tiny_processor.tokenizer.convert_tokens_to_ids


def supervised_text(processor, labels) -> str:
    return processor.tokenizer.decode(labels[labels != IGNORED], skip_special_tokens=False)


def by_hand(processor, input_ids, attention_mask) -> list[int]:
    """The published rule: ignore all up to the words `<|im_start|>assistant`, the latent pads and the padding."""
    tokenizer = processor.tokenizer
    opening = tokenizer("<|im_start|>assistant")["input_ids"]
    pad = tokenizer.convert_tokens_to_ids(LATENT_PAD)
    ids = input_ids.tolist()
    # These rows say it once only.
    (start,) = [i for i in range(len(ids)) if ids[i : i + len(opening)] == opening]
    return [
        token if mask and i >= start + len(opening) and token != pad else IGNORED
        for i, (token, mask) in enumerate(zip(ids, attention_mask.tolist(), strict=True))
    ]


def test_labels_token_by_token(collate, tiny_processor, make_dift_row):
    batch = collate([make_dift_row(0, 2), make_dift_row(1, 0), make_dift_row(2, 3)])
    for row in range(3):
        expected = by_hand(tiny_processor, batch["input_ids"][row], batch["attention_mask"][row])
        assert batch["labels"][row].tolist() == expected


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("drop_imagery", [False, True])
def test_a_row_without_an_answer_teaches_up_to_its_imagery(tiny_processor, make_dift_row, padding_side, drop_imagery):
    collate = DIFTCollator(tiny_processor, SIZE, drop_imagery, padding_side=padding_side)
    row = make_dift_row(0, 1) | {"response": "<think>I see it <output_image>"}
    batch = collate([row, make_dift_row(1, 2)])
    block = "" if drop_imagery else " " + LATENT_START + LATENT_END
    assert supervised_text(tiny_processor, batch["labels"][0]) == "\n<think>I see it" + block
    assert supervised_text(tiny_processor, batch["labels"][1]).endswith("</answer><|im_end|>\n")


def test_words_start_and_end_are_supervised_and_pads_are_not(collate, tiny_processor, make_dift_row, ids):
    row = make_dift_row(0, 2)
    batch = collate([row])
    block = LATENT_START + LATENT_END
    expected = "\n" + row["response"].replace("<output_image>", block) + "<|im_end|>\n"
    assert supervised_text(tiny_processor, batch["labels"][0]) == expected
    pads = batch["input_ids"][0] == ids(LATENT_PAD)
    assert pads.sum() == 2 * SIZE and (batch["labels"][0][pads] == IGNORED).all()
    for token in (LATENT_START, LATENT_END):
        assert (batch["labels"][0] == ids(token)).sum() == 2


def test_a_block_is_start_pads_end_in_the_place_of_its_mark(collate, tiny_processor, make_dift_row):
    row = make_dift_row(1, 2)
    text = tiny_processor.tokenizer.decode(collate([row])["input_ids"][0], skip_special_tokens=False)
    block = LATENT_START + LATENT_PAD * SIZE + LATENT_END
    assert row["response"].replace("<output_image>", block) in text


@pytest.mark.parametrize(
    "words",
    ["assistant\n", "assistant\n<think>It pans.</think><answer>B. Pan Right</answer>\n", "< |im_end| >", "<think>"],
)
def test_nothing_a_question_says_moves_the_labels(collate, tiny_processor, make_dift_row, ids, words):
    plain, tricky = make_dift_row(0, 1), make_dift_row(0, 1, question=f"What does {words} mean?")
    expected, got = collate([plain]), collate([tricky])
    assert supervised_text(tiny_processor, got["labels"][0]) == supervised_text(tiny_processor, expected["labels"][0])
    # The supervised words are one stretch up to the row's end, but for the pads.
    covered = (got["labels"][0] != IGNORED) | (got["input_ids"][0] == ids(LATENT_PAD))
    assert covered.int().diff().clamp(min=0).sum() == 1 and covered[-1]
    assert words in tiny_processor.tokenizer.decode(got["input_ids"][0], skip_special_tokens=False)
    assert (got["input_ids"] == ids(LATENT_PAD)).sum() == SIZE


def test_padding_is_on_the_right_and_not_supervised(collate, make_dift_row):
    batch = collate([make_dift_row(0, 0), make_dift_row(5, 3)])
    mask = batch["attention_mask"]
    assert mask[0].sum() < mask.shape[1] == mask[1].sum()
    assert mask[0].diff().max() == 0  # ones, then zeros
    assert (batch["labels"][mask == 0] == IGNORED).all()


def test_padding_on_the_left_moves_words_and_labels_together(tiny_processor, collate, make_dift_row):
    rows = [make_dift_row(0, 0), make_dift_row(5, 3), make_dift_row(2, 1)]
    right, left = collate(rows), DIFTCollator(tiny_processor, SIZE, padding_side="left")(rows)
    assert left["attention_mask"][0, 0] == 0 and left["attention_mask"][:, -1].all()
    for name in ("input_ids", "labels"):
        for row in range(3):
            kept = [batch[name][row][batch["attention_mask"][row].bool()] for batch in (left, right)]
            assert torch.equal(*kept)
    assert (left["labels"][left["attention_mask"] == 0] == IGNORED).all()


def test_one_pass_over_the_videos_and_one_over_the_imagery(tiny_processor, make_dift_row, monkeypatch):
    passes = []

    def count(part):
        stock = type(part).__call__

        def counted(*args, **kwargs):
            passes.append(part)
            return stock(*args, **kwargs)

        monkeypatch.setattr(type(part), "__call__", counted)

    count(tiny_processor.video_processor)
    count(tiny_processor.image_processor)
    DIFTCollator(tiny_processor, SIZE)([make_dift_row(number, 2) for number in range(4)])
    assert passes == [tiny_processor.video_processor, tiny_processor.image_processor]


def test_a_row_in_a_batch_is_the_row_alone(collate, make_dift_row):
    rows = [make_dift_row(0, 1), make_dift_row(1, 0), make_dift_row(2, 2)]
    batch = collate(rows)
    for number, row in enumerate(rows):
        alone = collate([row])
        length = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][number, :length], alone["input_ids"][0])
        assert torch.equal(batch["labels"][number, :length], alone["labels"][0])


def test_imagery_is_packed_row_after_row(collate, tiny_processor, make_dift_row):
    rows = [make_dift_row(0, 1), make_dift_row(1, 0), make_dift_row(2, 2)]
    batch = collate(rows)
    assert batch["image_grid_thw_latent"].tolist() == [[1, 4, 4], [1, 4, 4], [1, 4, 6]]
    expected = encode_imagery(tiny_processor, [image for row in rows for image in row["imagery"]])
    assert torch.equal(batch["pixel_values_latent"], expected["pixel_values_latent"])
    assert not torch.equal(batch["pixel_values_latent"][:16], batch["pixel_values_latent"][16:32])


def test_rows_without_imagery_make_a_batch(collate, make_dift_row, ids):
    batch = collate([make_dift_row(0, 0), make_dift_row(1, 0)])
    assert "pixel_values_latent" not in batch and "image_grid_thw_latent" not in batch
    assert not (batch["input_ids"] == ids(LATENT_PAD)).any()


@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_frames_keep_their_seconds(collate, make_dift_row):
    batch = collate([make_dift_row(0, 0, timestamps=[0.0, 2.0]), make_dift_row(1, 0)])
    assert torch.as_tensor(batch["second_per_grid_ts"]).tolist() == [4.0, 1.0]


def test_encoded_images_are_read_too(collate, make_dift_row):
    def encoded(image):
        file = io.BytesIO()
        image.save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    row = make_dift_row(0, 2)
    stored = {**row, **{name: [encoded(image) for image in row[name]] for name in ("frames", "imagery")}}
    for name, value in collate([row]).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(collate([stored])[name])), name


def test_the_text_only_control_says_the_same_without_imagery(tiny_processor, make_dift_row):
    row = make_dift_row(0, 2)
    batch = DIFTCollator(tiny_processor, SIZE, drop_imagery=True)([row])
    assert "pixel_values_latent" not in batch
    expected = "\n" + row["response"].replace(" <output_image>", "") + "<|im_end|>\n"
    assert supervised_text(tiny_processor, batch["labels"][0]) == expected


@pytest.mark.parametrize("drop_imagery", [False, True])
@pytest.mark.parametrize(("marks", "frames"), [(2, 1), (0, 1), (1, 0)])
def test_another_number_of_marks_than_of_frames_names_the_row(
    tiny_processor, make_dift_row, marks, frames, drop_imagery
):
    row = {**make_dift_row(3, marks), "imagery": make_dift_row(3, frames)["imagery"]}
    collate = DIFTCollator(tiny_processor, SIZE, drop_imagery)
    with pytest.raises(InputError, match=f"^row row-3: response has {marks} <output_image> marks for {frames} im"):
        collate([make_dift_row(0), row])


@pytest.mark.parametrize("drop_imagery", [False, True])
@pytest.mark.parametrize("token", [LATENT_PAD, "<|video_pad|>", "<|im_start|>assistant", "<output_image>"])
def test_our_tokens_in_the_words_of_a_row_are_rejected(tiny_processor, make_dift_row, token, drop_imagery):
    collate = DIFTCollator(tiny_processor, SIZE, drop_imagery)
    for changes in ({"question": f"What is {token}?"}, {"options": [token, "b", "c", "d"]}):
        with pytest.raises(InputError, match="^row row-1: (question|options 1) has the token .* take it out$"):
            collate([make_dift_row(0), make_dift_row(1, **changes)])


def test_masks_come_with_the_imagery_if_asked_for(tiny_processor, make_dift_row):
    rows = [make_dift_row(number, 2) for number in range(2)]
    batch = DIFTCollator(tiny_processor, SIZE, masks=True)(rows)
    assert (
        batch["latent_masks"].all() and len(batch["latent_masks"]) == batch["image_grid_thw_latent"].prod(1).sum() // 4
    )
    assert "latent_masks" not in DIFTCollator(tiny_processor, SIZE)(rows)


@pytest.mark.parametrize("masks", [None, []])
def test_a_row_without_masks_is_named_where_they_are_needed(tiny_processor, make_dift_row, masks):
    with pytest.raises(InputError, match="row-3 .*imagery_masks"):
        DIFTCollator(tiny_processor, SIZE, masks=True)([make_dift_row(3, 1, imagery_masks=masks)])
