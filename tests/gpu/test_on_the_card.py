"""What a GPU could break: decoding in a batch, replaying, bfloat16 and other attention kernels.

The models are tiny. `GPU_TESTS_DEVICE=cpu` runs all but the kernels on a CPU.
"""

import os
from importlib import import_module
from pathlib import Path

import pytest
import torch
from transformers.utils import is_flash_attn_2_available

from fourdthinker.modeling import FourDThinkerForConditionalGeneration, load_model

DEVICE = os.environ.get("GPU_TESTS_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="PyTorch sees no GPU"),
]

TIMES, LENGTHS, NEW = ([2], [5], [3, 9]), (12, 7, 9), 16


@pytest.fixture
def decode(tiny_model_folder, monkeypatch):
    """Decodes some of three prompts of different lengths greedily, row `i` opening blocks at the steps `TIMES[i]`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    say_at = import_module("decoding").SayAt

    class SayAt(say_at):
        def __call__(self, input_ids, scores):
            return super().__call__(input_ids, scores.clone())  # the given ones are recorded as logits

    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randint(20, 250, (length,), generator=draw) for length in LENGTHS]

    def run(model, rows=(0, 1, 2), **options):
        longest = max(LENGTHS[row] for row in rows)
        ids, mask = (
            torch.zeros(len(rows), longest, dtype=torch.long),
            torch.zeros(len(rows), longest, dtype=torch.long),
        )
        for number, row in enumerate(rows):
            ids[number, -LENGTHS[row] :], mask[number, -LENGTHS[row] :] = prompts[row], 1
        blocks = SayAt(model.config.latent_start_token_id, [set(TIMES[row]) for row in rows], longest)
        return mask.to(DEVICE), model.generate(
            input_ids=ids.to(DEVICE),
            attention_mask=mask.to(DEVICE),
            logits_processor=[blocks],
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
            **options,
        )

    return run


@pytest.fixture
def build(tiny_model_folder):
    """The tiny model on the device, in a precision and with an attention kernel."""

    def make(dtype=torch.float32, attention="sdpa"):
        model = load_model(tiny_model_folder, dtype=dtype, attn_implementation=attention)[0]
        return model.to(DEVICE).eval()

    return make


def replayed_logits(model, mask, output):
    """Logits of one forward over what was decoded, with its latents fed again."""
    whole = torch.cat([mask, mask.new_ones(len(mask), NEW)], dim=1)
    with torch.no_grad():
        states = model(
            input_ids=output.sequences, attention_mask=whole, latent_embeds=torch.cat(output.latent_embeds)
        ).logits
    return states[:, -NEW - 1 : -1].float()


def log_prob_gap(one, other, ids):
    """The most by which the log-probs of tokens `ids (rows, tokens)` differ between two sets of logits."""
    scores = [logits.float().log_softmax(-1).gather(-1, ids[..., None]) for logits in (one, other)]
    return (scores[0] - scores[1]).abs().max().item()


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_batch_decodes_as_its_rows_do_alone(decode, build, cache, record_property):
    model = build()
    _, together = decode(model, cache_implementation=cache)
    gaps = []
    for row in range(3):
        _, alone = decode(model, rows=(row,), cache_implementation=cache)
        assert torch.equal(together.sequences[row, -NEW:], alone.sequences[0, -NEW:])
        assert len(alone.latent_embeds[0]) == 4 * len(TIMES[row])
        gaps.append((together.latent_embeds[row] - alone.latent_embeds[0]).abs().max().item())
    record_property("largest gap between latents", f"{max(gaps):.1e}")
    assert max(gaps) < 1e-4


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-3), (torch.bfloat16, 0.5)], ids=["fp32", "bf16"])
def test_a_replay_gives_the_log_probs_of_decoding(decode, build, dtype, limit, record_property):
    model = build(dtype)
    mask, output = decode(model)
    gap = log_prob_gap(replayed_logits(model, mask, output), torch.stack(output.logits, 1), output.sequences[:, -NEW:])
    record_property("largest gap between log-probs", f"{gap:.1e}")
    assert gap < limit


def test_bfloat16_scores_what_float32_decoded(decode, build, record_property):
    """The same tokens and latents, so that the gap is that of one forward."""
    exact, half = build(), build(torch.bfloat16)
    mask, output = decode(exact)
    ids = output.sequences[:, -NEW:]
    gap = log_prob_gap(replayed_logits(exact, mask, output), replayed_logits(half, mask, output), ids)
    record_property("largest gap between log-probs", f"{gap:.1e}")
    assert 0 < gap < 0.5


@pytest.mark.parametrize("kernel", ["flash_attention_2", "flex_attention"])
def test_other_attention_kernels_give_the_same_log_probs(decode, build, kernel, record_property):
    if DEVICE == "cpu":
        pytest.skip("attention kernels for a GPU")
    if kernel == "flash_attention_2" and not is_flash_attn_2_available():
        pytest.skip("flash-attn is not installed")
    if kernel == "flex_attention" and not FourDThinkerForConditionalGeneration._supports_flex_attn:
        pytest.skip("transformers has no flex attention for this backbone")
    exact, half = build(), build(torch.bfloat16, kernel)
    mask, output = decode(exact)
    ids = output.sequences[:, -NEW:]
    gap = log_prob_gap(replayed_logits(exact, mask, output), replayed_logits(half, mask, output), ids)
    record_property("largest gap between log-probs", f"{gap:.1e}")
    assert gap < 0.5
