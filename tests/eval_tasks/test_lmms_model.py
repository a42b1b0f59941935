"""The lmms-eval model answers any task that generates text, whatever its messages hold."""

import logging

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")

from lmms_eval.api.instance import Instance

from fourdthinker.eval_tasks.lmms.model import FourDThinker
from fourdthinker.eval_tasks.unanswered import MISSING_VIDEO, UNREADABLE_VIDEO
from fourdthinker.modeling import video_messages
from fourdthinker.modeling.errors import InputError

GREEDY = {"max_new_tokens": 10, "until": ["\n\n", "e"], "do_sample": False, "temperature": 0}


def text(words):
    return {"type": "text", "text": words}


def picture(seed, size=(56, 56)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def image(seed):
    return {"type": "image", "url": picture(seed)}


def user(*content):
    return {"role": "user", "content": list(content)}


@pytest.fixture(scope="module")
def clip(make_video, tmp_path_factory):
    path = tmp_path_factory.mktemp("a folder") / "a clip.mp4"
    make_video(path, seconds=6)
    return str(path)


@pytest.fixture(scope="module")
def conversations(clip, make_video, tmp_path_factory):
    other = str(tmp_path_factory.mktemp("other") / "b.mp4")
    make_video(other, seconds=3, shade=90)
    video = {"type": "video", "url": clip}
    return {
        "text": [user(text("Which way is up?"))],
        "system": [{"role": "system", "content": [text("Be brief.")]}, user(text("Which way is up?"))],
        "one image": [user(image(1), text("What is it?"))],
        "images among text": [user(text("First"), image(1), text("then"), image(2), text("what changed?"))],
        "other order": [user(text("First"), image(2), text("then"), image(1), text("what changed?"))],
        "video": [user(video, text("Which way?"))],
        "part of it": [user({**video, "start_time": 2.0, "end_time": 4.0}, text("Which way?"))],
        "part as lmms-eval passes it on": [
            user({"type": "video", "url": {"path": clip, "video_start": 2.0, "video_end": 4.0}}, text("Which way?"))
        ],
        "two videos": [user(video, text("and"), {"type": "video", "url": other}, text("the same?"))],
        "video and image": [user(video, image(1), text("Where is it in the video?"))],
        "turns": [user(video, text("Which?")), {"role": "assistant", "content": [text("Left.")]}, user(text("Sure?"))],
    }


@pytest.fixture(scope="module")
def model(talking_model_folder):
    return FourDThinker(pretrained=str(talking_model_folder), batch_size=4, journal="none")


def requests_for(model, messages, settings=GREEDY, metadata=None, rows=None, kind="generate_until"):
    """One request for each conversation of a task `made`; `messages` is a list, or a function of a row."""
    rows = Dataset.from_list([{"number": number} for number in range(len(messages))]) if rows is None else rows
    model.task_dict = {"made": {"test": rows}}
    make = messages if callable(messages) else lambda doc, **_: messages[doc["number"]]
    return [
        Instance(
            request_type=kind,
            arguments=("", make, dict(settings), number, "made", "test"),
            idx=0,
            metadata={"task": "made", "doc_id": number, "repeats": 1, "version": 1, **(metadata or {})},
        )
        for number in range(len(rows))
    ]


def answer(model, messages, **how):
    return model.generate_until(requests_for(model, messages, **how))


@pytest.fixture(scope="module")
def answers(model, conversations):
    return dict(zip(conversations, answer(model, list(conversations.values())), strict=True))


@pytest.mark.medium
def test_every_kind_of_conversation_is_answered_in_one_batch_as_alone(model, conversations, answers):
    assert all(answers.values())
    for name, messages in conversations.items():
        assert answer(model, [messages]) == [answers[name]], name


def test_what_stands_where_matters(answers):
    assert answers["images among text"] != answers["other order"]
    assert answers["text"] != answers["system"]
    assert answers["video"] != answers["part of it"] == answers["part as lmms-eval passes it on"]
    assert answers["video"] != answers["turns"]


@pytest.fixture
def decoded(monkeypatch):
    """The paths of videos that were decoded, one for each time."""
    paths, read = [], video_messages.read_frames

    def count(path, **how):
        paths.append((str(path), how))
        return read(path, **how)

    monkeypatch.setattr(video_messages, "read_frames", count)
    return paths


def test_a_video_of_several_questions_is_decoded_and_encoded_once(model, clip, decoded):
    video = {"type": "video", "url": clip}
    messages = [[user(video, text(f"Question {number}?"))] for number in range(4)]
    alone = [answer(model, [one])[0] for one in messages]
    decoded.clear()
    passed = []
    hook = model.model.model.visual.register_forward_pre_hook(lambda module, args: passed.append(len(args[0])))
    try:
        assert answer(model, messages) == alone
        together = passed.copy()
        answer(model, messages[:1])
    finally:
        hook.remove()
    assert len(decoded) == 2, "once for the batch of four, once for the last question"
    assert together == passed[len(together) :], "the tower saw as many patches for four questions as for one"


def test_frames_with_the_times_of_their_row_are_a_video(model):
    frames = [picture(seed) for seed in range(4)]
    rows = Dataset.from_list([{"number": 0, "timestamps": [0.0, 2.0, 4.0, 6.0]}])
    images = [user(*({"type": "image", "url": frame} for frame in frames), text("Which way?"))]
    video = [user({"type": "video", "url": frames, "timestamps": [0.0, 2.0, 4.0, 6.0]}, text("Which way?"))]
    as_video = answer(model, [images], rows=rows)
    assert as_video == answer(model, [video]) != answer(model, [images])


def test_the_frame_policy_is_the_arguments_then_the_tasks(model, talking_model_folder, clip, decoded):
    messages = [[user({"type": "video", "url": clip}, text("Which way?"))]]
    task = {"frames": {"fps": None, "max_frames": 3, "max_pixels": 784}}
    answer(model, messages)
    answer(model, messages, metadata=task)
    own = FourDThinker(pretrained=str(talking_model_folder), fps=2, max_pixels=3136, journal="none")
    answer(own, messages, metadata=task)
    kept = [{key: how[key] for key in ("fps", "max_frames")} for _, how in decoded]
    assert kept == [
        {"fps": 1.0, "max_frames": 50},
        {"fps": None, "max_frames": 3},
        {"fps": 2, "max_frames": 3},
    ]


def test_a_video_that_cannot_be_shown_is_counted_and_the_others_are_answered(model, clip, tmp_path, caplog):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    paths = [str(tmp_path / "nowhere.mp4"), str(broken), clip]
    got = answer(model, [[user({"type": "video", "url": path}, text("Which way?"))] for path in paths])
    assert got[:2] == [MISSING_VIDEO, UNREADABLE_VIDEO] and got[2] not in (MISSING_VIDEO, UNREADABLE_VIDEO, "")
    assert "row made 0 was not asked" in caplog.text and "nowhere.mp4" in caplog.text


@pytest.mark.medium
def test_controls_of_the_video(talking_model_folder, clip, make_video, tmp_path):
    paths = [clip, str(tmp_path / "b.mp4")]
    make_video(tmp_path / "b.mp4", seconds=3, shade=90)
    messages = [[user({"type": "video", "url": path}, text("Which way?"))] for path in paths]

    def under(control):
        return answer(FourDThinker(pretrained=str(talking_model_folder), video=control, journal="none"), messages)

    own, blind, still, shuffled = (under(control) for control in ("own", "none", "first", "shuffled"))
    assert own[0] != own[1] and shuffled == own[::-1]
    assert blind[0] == blind[1] == under("none")[0] and blind != own
    assert still != own


def test_rounds_see_the_answers_before(model, clip):
    seen = []

    def rounds(doc, round_idx=None, previous_output=None, previous_round_info=None):
        first = [user({"type": "video", "url": clip}, text(f"Which way, {doc['number']}?"))]
        if round_idx is None:
            return first
        seen.append((doc["number"], round_idx, list(previous_output), previous_round_info))
        if round_idx > doc["number"]:
            return None, True, previous_output, None
        return [user(text(f"Is it {previous_output[-1]}?"))], False, previous_output, round_idx

    rows = Dataset.from_list([{"number": number} for number in range(3)])
    requests = requests_for(model, rounds, rows=rows, kind="generate_until_multi_round")
    got = model.generate_until_multi_round(requests)
    assert [len(outputs) for outputs in got] == [1, 2, 3]
    quoted = [model.processor.read_response(output)["text"] for output in got[2]]
    assert (2, 2, quoted[:2], 1) in seen
    assert answer(model, [[user(text(f"Is it {quoted[0]}?"))]]) == [got[2][1]]


@pytest.mark.medium
def test_a_task_that_samples_is_answered_greedily_unless_asked(model, talking_model_folder, conversations, caplog):
    messages = list(conversations.values())[:4]
    sampled = {**GREEDY, "do_sample": True, "temperature": 1.5, "top_p": 0.95, "top_k": 50}
    with caplog.at_level(logging.WARNING):
        assert answer(model, messages, settings=sampled) == answer(model, messages)
    assert "task made samples; it is answered greedily" in caplog.text
    drawing = FourDThinker(pretrained=str(talking_model_folder), batch_size=4, sampling="task", journal="none")
    drawn = answer(drawing, messages, settings=sampled)
    assert drawn != answer(model, messages)
    drawing.batch_size = 1
    assert answer(drawing, messages, settings=sampled) == drawn, "a draw belongs to its row, not to its batch"
    twice = requests_for(drawing, messages[:1], settings=sampled) * 2
    first, second = drawing.generate_until(twice)
    assert first == drawn[0] != second, "two samples of one question are two draws"


@pytest.mark.slow
def test_memory_that_does_not_suffice_halves_the_batch_and_loses_nothing(model, conversations, answers, caplog):
    model.batch_size, sizes, generate = 8, [], model.model.generate

    def scarce(*args, **kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return generate(*args, **kwargs)

    model.model.generate = scarce
    try:
        assert answer(model, list(conversations.values())) == list(answers.values())
        assert sizes[:3] == [7, 4, 2], "one of the eight is asked in two spellings, so it is asked once"
        assert max(sizes[3:]) == 2, "a batch that is too large is not tried again"
    finally:
        del model.model.generate
        model.batch_size = 4
    assert "going on with 2 rows at once" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_num_frames": 32}, "unknown argument 'max_num_frames'; it takes pretrained, peft, dtype,"),
        ({"fps": 0}, "fps is 0: give a number above 0"),
        ({"max_frames": 2.5}, "max_frames is 2.5: give a whole number above 0"),
        ({"dtype": "half8"}, "unknown dtype 'half8'"),
        ({"video": "some"}, "unknown video 'some'"),
        ({"sampling": "beam"}, "unknown sampling 'beam'"),
        ({"batch_size": "many"}, "must be a number above 0 or auto"),
        ({"pretrained": None}, "pretrained is missing"),
    ],
)
def test_wrong_arguments_are_one_line(talking_model_folder, arguments, words):
    with pytest.raises(InputError) as raised:
        FourDThinker(**{"pretrained": str(talking_model_folder), **arguments})
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_what_it_does_not_do_is_one_line(model):
    with pytest.raises(NotImplementedError, match="^the model 'fourdthinker' answers tasks that generate text only$"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="takes text, images and videos, and no audio"):
        answer(model, [[user({"type": "audio", "url": "a.wav"}, text("What is said?"))]])


@pytest.fixture(scope="module")
def adapter(talking_model_folder, tmp_path_factory):
    """A LoRA adapter of that model, with weights that change what it says."""
    from peft import LoraConfig, get_peft_model

    from fourdthinker.modeling import load_model

    torch.manual_seed(1)
    wrapped = get_peft_model(
        load_model(talking_model_folder)[0], LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
    )
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    wrapped.save_pretrained(folder)
    return folder


@pytest.mark.medium
def test_an_adapter_a_number_format_and_a_way_of_attention_are_used(
    model, talking_model_folder, adapter, conversations, tmp_path
):
    messages = list(conversations.values())[:6]

    def make(**arguments):
        return FourDThinker(pretrained=str(talking_model_folder), batch_size=4, journal=str(tmp_path), **arguments)

    own = answer(model, messages)
    adapted = make(peft=str(adapter))
    changed = answer(adapted, messages)
    assert changed != own
    assert not any("lora" in name for name, _ in adapted.model.named_parameters()), "it is merged"

    half = make(dtype="bfloat16")
    assert (half.model.dtype, model.model.dtype) == (torch.bfloat16, torch.float32)
    assert len(answer(half, messages)) == 6

    eager, sdpa = make(attn_implementation="eager"), make(attn_implementation="sdpa")
    ways = [each.model.config._attn_implementation for each in (eager, sdpa, model)]
    assert ways == ["eager", "sdpa", "sdpa"]
    assert answer(eager, messages) == answer(sdpa, messages) == own
    # Each keeps its answers apart, since each may round otherwise.
    assert len({each.journal.folder for each in (adapted, half, eager, sdpa)}) == 4
    assert answer(make(peft=str(adapter)), messages) == changed, "from the journal"


def test_attention_that_is_not_there_is_one_line(talking_model_folder):
    with pytest.raises(InputError, match="^attn_implementation flash_attention_2 cannot be used here: [^\n]*$"):
        FourDThinker(pretrained=str(talking_model_folder), attn_implementation="flash_attention_2")
