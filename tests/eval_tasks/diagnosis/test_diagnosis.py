"""Three checkpoints whose latents are known by construction are told apart; few questions name none of them."""

import numpy as np
import pytest
import torch

from fourdthinker.eval_tasks.diagnosis import answering
from fourdthinker.eval_tasks.diagnosis.answering import answer_controls
from fourdthinker.eval_tasks.diagnosis.controls import CONTROLS
from fourdthinker.eval_tasks.diagnosis.diagnosis import compare_answers, diagnose
from fourdthinker.eval_tasks.diagnosis.encoding import Encoder
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model
from fourdthinker.modeling.tokens import LATENT_START

from ...built_checkpoints import KINDS, build_checkpoint, make_questions

VERDICTS = {
    "carry": "the latents carry the answer",
    "markers": "only the markers matter",
    "ignore": "no effect of 4 points or more",
}
SEEDS, QUESTIONS, FEW = 20, 100, 10


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pool(kind):
    """Questions, their diagnosis and all answers of a checkpoint."""
    rows = make_questions(150, seed=0, imagery=True)
    return rows, *diagnose(*build_checkpoint(kind), rows, batch_size=150, max_new_tokens=12, progress=False)


@pytest.mark.slow
def test_the_checkpoint_is_recognised(kind, pool):
    _, diagnosis, _ = pool
    assert diagnosis["verdict"]["sentence"] == VERDICTS[kind]
    assert list(diagnosis["controls"]) == list(CONTROLS) and not diagnosis["left_out"]
    numbers = diagnosis["controls"]
    assert 0.8 < diagnosis["own"]["accuracy"] < 0.97
    for name in ("half", "double"):
        assert numbers[name]["changed_answers"] == 0
    assert numbers["blind"]["accuracy"] < 0.4
    # What the latents carry is read without the video too; what the markers make the model look at is not there.
    if kind == "carry":
        assert numbers["reread"]["changed_answers"] == 0
    else:
        assert numbers["reread"]["accuracy"] < 0.4
    assert numbers["forbidden"]["changed_answers"] == (0 if kind == "ignore" else pytest.approx(0.75, abs=0.1))
    for name in ("zero", "noise", "mean", "other", "pad", "markers"):
        assert numbers[name]["changed_answers"] == (pytest.approx(0.75, abs=0.1) if kind == "carry" else 0)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "named"), [(QUESTIONS, True), (FEW, False)])
def test_it_is_recognised_from_any_hundred_questions_and_never_from_ten(kind, pool, count, named):
    rows, _, answers = pool
    found = []
    for seed in range(SEEDS):
        places = np.random.default_rng(seed).choice(len(rows), count, replace=False)
        responses = {name: [given[place] for place in places] for name, given in answers.responses.items()}
        found.append(compare_answers([rows[place] for place in places], responses)["verdict"]["sentence"])
    if named:
        assert found.count(VERDICTS[kind]) >= 19
    else:
        assert set(found) == {"too few questions to tell"}


def test_a_video_that_cannot_be_decoded_is_left_out_of_all_comparisons(caplog):
    rows = make_questions(4, seed=2)
    rows[2]["frames"][1] = {"bytes": b"no image", "path": None}
    diagnosis, answers = diagnose(*build_checkpoint("carry"), rows, ["zero"], 4, 12, progress=False)
    assert (diagnosis["n"], diagnosis["missing"], diagnosis["own"]["parse_failures"]) == (3, 1, 0)
    for given in answers.responses.values():
        assert [response is None for response in given] == [False, False, True, False]
    assert caplog.text.count("row 2 was not asked") == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_own_answers_are_those_of_an_evaluation_and_batches_do_not_matter(tiny_folders, family, only_letters):
    model, processor = load_model(tiny_folders(family))
    only_letters(model, processor, also=[LATENT_START])
    rows = make_questions(6, seed=4)
    controls = [name for name in CONTROLS if name != "oracle"]
    found = [
        diagnose(model, processor, rows, controls, batch_size, 14, progress=False)[1].responses
        for batch_size in (6, 2)
    ]
    assert found[0] == found[1]
    assert found[0]["own"] == predict(model, processor, rows, 6, 14, progress=False)
    assert not any(LATENT_START in response for response in found[0]["forbidden"])


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["response", "choice"])
@pytest.mark.parametrize(
    ("family", "settings"),
    [("qwen2_5_vl", {}), ("qwen3_vl", {}), ("qwen2_5_vl", {"answer_sees": "latents", "latent_blocks": 1})],
)
def test_rereading_goes_on_from_the_models_own_words_and_latents(tiny_folders, family, settings, reading, monkeypatch):
    """With the video it says what the model said; without, the answer knows nothing but those words and latents."""
    model, processor = load_model(tiny_folders(family), **settings)
    if settings:
        model.config.turn_token_id = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    start = model.config.latent_start_token_id
    bias = torch.zeros(model.config.get_text_config().vocab_size)
    bias[start] = 3.0
    model.lm_head.register_forward_hook(lambda head, args, scores: scores + bias)
    rows = make_questions(6, seed=6)
    options = {"max_new_tokens": 24, "progress": False, "reading": reading}
    answers = answer_controls(model, processor, rows, ["reread"], 6, **options)
    assert all(one.tokens.count(model.config.latent_end_token_id) for one in answers.latents)

    plain = answering.measure_latents

    def of_the_first(*arguments):
        return [plain(*arguments)[0]] * 6

    with monkeypatch.context() as patched:
        patched.setattr(answering, "measure_latents", of_the_first)
        shared = answer_controls(model, processor, rows, ["reread"], 6, **options).responses["reread"]
    assert len(set(shared)) == 1
    monkeypatch.setattr(Encoder, "encode_blind", lambda self, batch: batch.inputs)
    seeing = answer_controls(model, processor, rows, ["reread"], 6, **options)
    assert seeing.responses["reread"] == seeing.responses["own"] == answers.responses["own"]


@pytest.mark.slow
def test_another_seed_gives_other_noise_and_other_donors():
    rows = make_questions(30, seed=5)
    both = [
        diagnose(*build_checkpoint("carry"), rows, ["noise", "other", "zero"], 30, 12, seed=seed, progress=False)[1]
        for seed in (0, 1)
    ]
    for name, same in (("own", True), ("zero", True), ("noise", False), ("other", False)):
        assert (both[0].responses[name] == both[1].responses[name]) is same, name
