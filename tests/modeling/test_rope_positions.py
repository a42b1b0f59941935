"""Rotary positions of text, images and videos."""

import inspect

import pytest
import torch
from transformers import Qwen2_5_VLModel, Qwen3VLModel

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.rope_positions import IMAGE, TEXT, VIDEO, qwen_positions, token_types

RULE = {"spatial_merge_size": 2, "tokens_per_second": 2}


def rows_of(*rows):
    types = torch.tensor(rows)
    return torch.ones_like(types), types


@pytest.mark.parametrize(("seconds", "first_text"), [(1.0, 59), (2.0, 107)])
def test_text_after_a_long_video(seconds, first_text):
    """4DThinker's clips: 25 grids of 24 x 42 patches after 10 text tokens, 20 text tokens after them."""
    ids, types = rows_of([TEXT] * 10 + [VIDEO] * (25 * 12 * 21) + [TEXT] * 20)
    positions, deltas = qwen_positions(
        ids, types, video_grid_thw=torch.tensor([[25, 24, 42]]), second_per_grid_ts=torch.tensor([seconds]), **RULE
    )
    after = positions[:, 0, 10 + 25 * 12 * 21 :]
    assert after[:, 0].tolist() == [first_text] * 3
    assert after[:, -1].tolist() == [first_text + 19] * 3
    assert deltas.tolist() == [[first_text + 20 - ids.shape[1]]]


def test_ticks_are_cut_off_not_rounded():
    """0.9 s a grid at 2 ticks a second: grids begin at ticks 0, 1.8, 3.6 and 5.4."""
    ids, types = rows_of([TEXT, *[VIDEO] * 4, TEXT])
    grids = {"video_grid_thw": torch.tensor([[4, 2, 2]]), "second_per_grid_ts": torch.tensor([0.9])}
    positions, _ = qwen_positions(ids, types, **grids, **RULE)
    assert positions[0, 0].tolist() == [0, 1, 2, 4, 6, 7]


def test_image_has_no_time_and_its_larger_side_counts():
    ids, types = rows_of([TEXT] * 2 + [IMAGE] * 6 + [TEXT])
    positions, _ = qwen_positions(ids, types, image_grid_thw=torch.tensor([[1, 4, 6]]), **RULE)
    assert positions[:, 0].tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]


def test_padding_on_either_side_changes_nothing():
    row = [TEXT, *[VIDEO] * 8, TEXT, TEXT]
    grid = torch.tensor([[2, 4, 4]])
    plain, delta = qwen_positions(*rows_of(row), video_grid_thw=grid, **RULE)
    for types in ([TEXT] * 3 + row, row + [TEXT] * 3):
        mask = torch.zeros(1, 14, dtype=torch.long)
        start = 3 if types[:4] == [TEXT] * 4 else 0
        mask[:, start : start + 11] = 1
        filled, filled_delta = qwen_positions(*rows_of(types), video_grid_thw=grid, attention_mask=mask, **RULE)
        assert torch.equal(filled[:, :, start : start + 11], plain)
        assert torch.equal(filled_delta, delta)
    nothing = torch.zeros(1, 3, dtype=torch.long)
    positions, delta = qwen_positions(nothing, nothing, attention_mask=nothing, **RULE)
    assert not positions.any() and delta.tolist() == [[0]], "a row of padding alone"


def test_a_video_without_seconds_has_one_a_grid():
    ids, types = rows_of([TEXT, *[VIDEO] * 3, TEXT])
    grid = torch.tensor([[3, 2, 2]])
    without, known = (
        qwen_positions(ids, types, video_grid_thw=grid, second_per_grid_ts=rate, **RULE) for rate in (None, [1.0])
    )
    assert torch.equal(without[0], known[0]) and without[0][0, 0].tolist() == [0, 1, 3, 5, 6]


def test_visuals_next_to_each_other_and_spread_over_rows_take_their_own_grids():
    ids, types = rows_of([IMAGE, IMAGE, VIDEO, VIDEO], [TEXT, VIDEO, VIDEO, TEXT])
    positions, _ = qwen_positions(
        ids,
        types,
        image_grid_thw=torch.tensor([[1, 2, 2], [1, 2, 2]]),
        video_grid_thw=torch.tensor([[2, 2, 2], [2, 2, 2]]),
        second_per_grid_ts=[0.5, 3.0],
        **RULE,
    )
    assert positions[0].tolist() == [[0, 1, 2, 3], [0, 1, 7, 8]]


def test_grids_that_do_not_fit_the_tokens_are_rejected():
    ids, types = rows_of([TEXT, VIDEO, VIDEO, VIDEO])
    with pytest.raises(InputError, match="do not fit"):
        qwen_positions(ids, types, video_grid_thw=torch.tensor([[2, 2, 2]]), **RULE)


def test_latents_are_text(tiny_model):
    config = tiny_model.config
    ids = torch.tensor([[1, config.image_token_id, config.latent_token_id, config.video_token_id]])
    assert token_types(ids, config).tolist() == [[TEXT, IMAGE, TEXT, VIDEO]]


def seen_positions(model):
    """Every set of positions that the language model gets, as `(time, height, width)`."""
    seen = []

    def note(module, args, kwargs):
        seen.append(kwargs["position_ids"][-3:].clone())

    model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    return seen


def stock_positions(stock_class, model, inputs):
    """What the installed transformers itself makes of a prompt."""
    arguments = {**inputs, "mm_token_type_ids": token_types(inputs["input_ids"], model.config)}
    known = inspect.signature(stock_class.get_rope_index).parameters
    return stock_class.get_rope_index(model.model, **{k: v for k, v in arguments.items() if k in known})[0]


@pytest.mark.parametrize(
    ("family", "rule"), [("qwen2_5_vl", "qwen2_5_vl"), ("qwen2_5_vl", "transformers")], indirect=["family"]
)
def test_forward_and_prefill_use_the_rule(prompts, tiny_model, rule):
    tiny_model.config.position_rule = rule
    inputs = prompts()
    seen = seen_positions(tiny_model)
    tiny_model(**inputs)
    tiny_model.generate(**inputs, max_new_tokens=1, do_sample=False)
    kept = inputs["attention_mask"].bool().expand(3, -1, -1)
    assert torch.equal(seen[0][kept], seen[1][kept])
    row = seen[0][:, 0, inputs["attention_mask"][0].bool()]
    types = token_types(inputs["input_ids"], tiny_model.config)[0, inputs["attention_mask"][0].bool()]
    first, last_visual = int((types == VIDEO).nonzero().min()), int((types == VIDEO).nonzero().max())
    if rule == "qwen2_5_vl":
        # 8 frames at 2 a second: 4 grids of 1 s, 2 x 2 merged tokens, so time reaches 6 past the first position.
        assert int(row[0, last_visual + 1]) == first + 7
    else:
        assert torch.equal(seen[0][kept], stock_positions(Qwen2_5_VLModel, tiny_model, inputs)[kept])


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_qwen3_vl_has_the_positions_of_the_stock_model(prompts, tiny_model):
    inputs = prompts()
    seen = seen_positions(tiny_model)
    tiny_model(**inputs)
    kept = inputs["attention_mask"].bool().expand(3, -1, -1)
    assert torch.equal(seen[0][kept], stock_positions(Qwen3VLModel, tiny_model, inputs)[kept])


@pytest.mark.parametrize("rule", ["the family's own", "transformers"])
def test_the_next_position_follows_from_the_number_of_tokens_without_padding(prompts, tiny_model, rule):
    if rule == "transformers":
        tiny_model.config.position_rule = rule
    names = ("input_ids", "attention_mask", "video_grid_thw", "second_per_grid_ts")
    inputs = {name: value for name, value in prompts().items() if name in names}
    positions, deltas = tiny_model.model.get_rope_index(**inputs)
    assert len(set(inputs["attention_mask"].sum(1).tolist())) == 3
    assert torch.equal(positions[0, :, -1:] + 1, deltas + inputs["attention_mask"].sum(1, keepdim=True))


@pytest.mark.medium
@pytest.mark.parametrize("rule", ["the family's own", "transformers"])
def test_decoding_continues_the_rule(prompts, generate_at, tiny_model, rule):
    if rule == "transformers":
        tiny_model.config.position_rule = rule
    inputs = prompts()
    seen = seen_positions(tiny_model)
    output = generate_at(inputs, ([2], [5], [3]))
    length = inputs["input_ids"].shape[1]
    mask = torch.cat([inputs["attention_mask"], torch.ones(3, 16, dtype=torch.long)], dim=1)
    names = ("pixel_values_videos", "video_grid_thw", "second_per_grid_ts")
    vision = {name: inputs[name] for name in names if name in inputs}
    steps = torch.cat(seen[1:], dim=2)
    tiny_model(
        input_ids=output.sequences, attention_mask=mask, latent_embeds=torch.cat(output.latent_embeds), **vision
    )
    assert torch.equal(steps, seen[-1][:, :, length:-1])


@pytest.mark.medium
@pytest.mark.parametrize("types", ["the processor's", "none", "text alone"])
def test_missing_token_types_are_rebuilt(prompts, tiny_model, types):
    inputs = prompts()
    expected = tiny_model(**inputs).logits
    generated = tiny_model.generate(**inputs, max_new_tokens=4, do_sample=False)
    if types == "none":
        inputs.pop("mm_token_type_ids")
    elif types == "text alone":  # as processors of some versions, which leave out videos
        inputs["mm_token_type_ids"].zero_()
    assert torch.equal(tiny_model(**inputs).logits, expected)
    assert torch.equal(tiny_model.generate(**inputs, max_new_tokens=4, do_sample=False), generated)


def test_left_padding_does_not_change_a_row(prompts, tiny_model):
    batch = prompts()
    logits = tiny_model(**batch).logits
    for row in range(3):
        single = tiny_model(**prompts([row])).logits[0]
        torch.testing.assert_close(logits[row, -single.shape[0] :], single, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
@pytest.mark.parametrize(("seconds", "first_text"), [(1.0, 59), (2.0, 107)])
def test_words_after_a_long_video_in_forward_prefill_and_decoding(tiny_model, seconds, first_text):
    config = tiny_model.config
    ids = torch.tensor([[5] * 10 + [config.video_token_id] * (25 * 12 * 21) + [6, 7, 8]])
    patch_values = 3 * config.vision_config.temporal_patch_size * config.vision_config.patch_size**2
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": torch.zeros(25 * 24 * 42, patch_values),
        "video_grid_thw": torch.tensor([[25, 24, 42]]),
        "second_per_grid_ts": torch.tensor([seconds]),
    }
    seen = seen_positions(tiny_model)
    with torch.no_grad():
        tiny_model(**inputs, logits_to_keep=1)
    tiny_model.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=None)
    forward, prefill, first, second = seen
    for positions in (forward, prefill):
        assert positions[:, 0, -3:].tolist() == [[first_text, first_text + 1, first_text + 2]] * 3
    assert first.flatten().tolist() == [first_text + 3] * 3
    assert second.flatten().tolist() == [first_text + 4] * 3
