"""Our benchmarks as tasks of lmms-eval: their files, messages and metrics, and runs of stock models."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fourdthinker.eval_tasks.lmms import TASKS_DIR
from fourdthinker.eval_tasks.lmms.names import task_files
from fourdthinker.eval_tasks.tasks import BENCHMARKS, expand_tasks, find_benchmark
from fourdthinker.eval_tasks.unanswered import UNREADABLE_VIDEO
from fourdthinker.modeling import prompts
from fourdthinker.modeling.errors import InputError

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")

PROMPTS = json.loads((Path(__file__).parent / "prompts.json").read_text(encoding="utf-8"))


@pytest.fixture
def load(monkeypatch, dsr_folder):
    """Loads tasks as a chat model's run does, by `--include_path`."""
    from lmms_eval.tasks import TaskManager, get_task_dict

    monkeypatch.setenv("DSR_BENCH_ROOT", str(dsr_folder))

    def load(*names, model_name="fourdthinker"):
        manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, model_name=model_name)
        return get_task_dict(list(names), manager, task_type="chat")

    return load


def test_task_files_are_those_of_the_benchmarks():
    """`python -m fourdthinker.eval_tasks.lmms` writes them anew."""
    assert {path.name: path.read_text(encoding="utf-8") for path in TASKS_DIR.iterdir()} == task_files()


def test_every_benchmark_has_a_name_that_no_other_project_takes():
    names = {Path(name).stem for name in task_files()}
    for benchmark in BENCHMARKS.values():
        plain = benchmark.name.removeprefix("fourd_")
        assert {benchmark.name, f"fourd_{plain}"} <= names
        assert not benchmark.has_videos or {f"{plain}_frames", f"fourd_{plain}_frames"} <= names


def test_names_on_the_command_line():
    assert expand_tasks("dyn_bench, dsr_bench,dyn_bench_camera") == [
        *("dyn_bench_camera", "dyn_bench_inter", "dyn_bench_scene"),
        "dsr_bench",
    ]
    assert expand_tasks("fourd_dsr_bench_cot,fourd_world") == ["dsr_bench_cot", "fourd_world"]
    with pytest.raises(InputError, match="unknown task 'fourd_dsr': choose from fourd_world, dsr_bench"):
        expand_tasks("fourd_dsr")
    with pytest.raises(InputError, match="no task is named: choose from fourd_world, .*; or all of a group: "):
        expand_tasks(" ,")
    with pytest.raises(InputError, match="dyn_bench is a group of tasks: name one of dyn_bench_camera, "):
        find_benchmark("dyn_bench")


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_prompts_are_worded_as_before(name):
    """A changed wording changes every number: it needs another `version` too."""
    assert BENCHMARKS[name].prompt("Which way does it move?", ["left", "right", "up", "down"]) == PROMPTS[name]


def test_training_and_evaluation_use_the_same_prompt():
    (turn,) = prompts.video_message("Which way?", ["left", "right"])
    for name in ("fourd_world", "dsr_bench_cot"):
        assert find_benchmark(name).prompt is prompts.question_text
        row = {"question": "Which way?", "options": ["left", "right"]}
        assert find_benchmark(name).text(row) == turn["content"][1]["text"]


def test_a_video_goes_out_by_its_path_and_its_twin_as_frames(load, dsr_folder):
    names = ("dsr_bench", "fourd_dsr_bench_frames", "dsr_bench_last_second_hidden")
    plain, twin, hidden = map(load(*names).get, names)
    video = {"type": "video", "url": str(dsr_folder / "videos" / "clip 5.mp4")}
    text = {"type": "text", "text": plain.doc_to_text(plain.test_docs()[11])}
    for task, media in ((plain, [video]), (hidden, [{**video, "end_time": pytest.approx(2.75)}])):
        assert task.doc_to_messages(task.test_docs()[11]) == [{"role": "user", "content": [*media, text]}]
    (turn,) = twin.doc_to_messages(twin.test_docs()[11])
    *frames, last = turn["content"]
    assert last == text and [part["url"].size for part in frames] == [(64, 48)] * 16
    assert plain.doc_to_visual(plain.test_docs()[11]) == [video["url"]]
    with pytest.raises(InputError, match="takes whole files: name the task dsr_bench_last_second_hidden_frames"):
        hidden.doc_to_visual(hidden.test_docs()[11])


def test_metadata_say_how_frames_are_taken_and_where_data_are_looked_for(load):
    (task,) = load("fourd_dsr_bench_cot").values()
    assert task.config.metadata == {
        "version": 2,
        "benchmark": "dsr_bench_cot",
        "dataset": "TencentARC/DSR_Suite-Data",
        "data_variable": "DSR_BENCH_ROOT",
        "frames": {"fps": 1.0, "max_frames": 50, "max_pixels": 256 * 28 * 28},
        "media": "video",
        "strict_rule": "dsr_bench_cot",
    }
    assert task.config.generation_kwargs["max_new_tokens"] == 2048 and task.VERSION == 2


@pytest.mark.medium
def test_metadata_name_the_frames_that_were_used_not_those_that_were_asked_for(load, tiny_model_folder):
    from fourdthinker.eval_tasks.lmms.model import FourDThinker

    names = ("dsr_bench", "dsr_bench_frames")

    def used(**arguments):
        model = FourDThinker(pretrained=str(tiny_model_folder), journal="none", **arguments)
        loaded = load(*names)
        found = [loaded[name].dump_config()["metadata"] for name in names]
        assert all(metadata["frames"]["max_frames"] == 32 for metadata in found), "what the protocol asks for stays"
        assert model.frames.fps == arguments.get("fps")
        return [metadata["frames_used"].partition(", at most 200704")[0] for metadata in found]

    assert used() == ["uniform, at most 32 frames"] * 2
    # Frames of the twin are sampled by the task: the model's arguments come too late for them.
    assert used(fps=2, max_frames=8) == ["2 fps, at most 8 frames", "uniform, at most 32 frames"]
    assert used(video="none") == ["no video"] * 2
    stock = load(*names, model_name="dummy")
    plain, twin = (stock[name].dump_config()["metadata"]["frames_used"] for name in names)
    assert plain == "as the model samples videos" and twin.startswith("uniform, at most 32 frames, at most 602112 ")


def test_one_response(load):
    (task,) = load("dsr_bench").values()
    docs = task.test_docs()
    results = {
        name: task.process_results(docs[0], [text]) for name, text in (("cot", "<think>B?</think>A"), ("no", "?"))
    }
    assert (results["cot"]["accuracy"], results["cot"]["strict_accuracy"]) == (1, 0), "Video-MME's rule reads B"
    assert (results["no"]["accuracy"], results["no"]["unparsed"], results["no"]["missing"]) == (0, 1, 0)
    assert results["cot"]["abs_dis"] == 1 and results["cot"]["macro_accuracy"]["score"] == 1
    missing = task.process_results(docs[2], ["A"])
    assert (missing["accuracy"], missing["missing"], missing["unparsed"]) == (0, 1, 0)
    unreadable = task.process_results(docs[4], [UNREADABLE_VIDEO])
    assert (unreadable["unreadable"], unreadable["missing"], unreadable["unparsed"]) == (1, 0, 0)


def test_four_threads_score_as_one_does(load):
    (task,) = load("dsr_bench").values()
    asked = [(doc, [f"<think>It is {'ABCD'[k % 4]}.</think> The answer is ({'ABCD'[k % 3]})"]) for k in range(60)
             for doc in list(task.test_docs())]  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: task.process_results(*pair), asked)) == [
            task.process_results(*pair) for pair in asked
        ]


def test_missing_data_give_one_line_and_no_retry(load, monkeypatch, tmp_path):
    monkeypatch.setenv("DSR_BENCH_ROOT", str(tmp_path / "gone"))
    with pytest.raises(InputError) as caught:
        load("dsr_bench")
    assert re.fullmatch(
        r".*gone: no such folder; set DSR_BENCH_ROOT to .*TencentARC/DSR_Suite-Data.*", str(caught.value)
    )


@pytest.mark.slow
def test_tasks_are_indexed_where_their_class_cannot_be_imported(monkeypatch):
    """An older lmms-eval, or a broken one, must still list everybody else's tasks."""
    from lmms_eval.tasks import TaskManager

    monkeypatch.setitem(sys.modules, "fourdthinker.eval_tasks.lmms.task", None)
    manager = TaskManager(include_path=str(TASKS_DIR))
    assert {"dsr_bench", "vsibench"} <= set(manager.all_tasks) and "vsibench" in manager.list_all_tasks()


def run_lmms_eval(folder: Path, *arguments: str, command: str = "lmms_eval", **environment: str):
    """Results and samples of a run. lmms-eval ends with code 0 after an error too, so only its files show it."""
    program = Path(sys.executable).parent / command
    start = [str(program)] if program.exists() else [sys.executable, "-m", "lmms_eval"]
    done = subprocess.run(
        [*start, *arguments, "--batch_size", "1", "--log_samples", "--output_path", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=570,
        cwd=folder,
    )
    files = list(folder.rglob("*_results.json"))
    assert len(files) == 1, done.stdout[-2000:] + done.stderr[-4000:]
    samples = {
        path.stem.partition("_samples_")[2]: [json.loads(line) for line in path.read_text().splitlines()]
        for path in folder.rglob("*_samples_*.jsonl")
    }
    return json.loads(files[0].read_text())["results"], samples


@pytest.mark.slow
def test_stock_models_of_the_older_kind_get_paths_by_include_path_alone(tmp_path, dsr_folder):
    """`dummy` opens the videos; the damaged one is none of those it is asked about."""
    results, samples = run_lmms_eval(
        tmp_path,
        *("--model", "dummy", "--model_args", "response=A,decode_num_frames=2", "--limit", "4"),
        *("--tasks", "dsr_bench,fourd_dsr_bench_1fps_frames", "--include_path", str(TASKS_DIR)),
        command="lmms-eval",
        FOURDTHINKER_NO_TASKS="1",
        DSR_BENCH_ROOT=str(dsr_folder),
    )
    for task in ("dsr_bench", "fourd_dsr_bench_1fps_frames"):
        names = ("accuracy", "strict_accuracy", "macro_accuracy", "unparsed", "missing", "unreadable", "abs_dis")
        assert [results[task][f"{name},none"] for name in names] == [1 / 4, 1 / 4, 1 / 4, 0, 1 / 2, 0, 1]
        assert len(samples[task]) == 4


@pytest.fixture(scope="module")
def stock_model_folder(tmp_path_factory):
    """Qwen2.5-VL as transformers has it, tiny and random."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    from fourdthinker.modeling.tiny.qwen2_5_vl import build_tokenizer, tiny_config

    tokenizer = build_tokenizer([*PROMPTS.values()], vocab_size=512)
    ours = tiny_config(tokenizer).to_dict()
    ids = {name: value for name, value in ours.items() if name.endswith("token_id")}
    config = Qwen2_5_VLConfig(text_config=ours["text_config"], vision_config=ours["vision_config"], **ids)
    folder = tmp_path_factory.mktemp("stock") / "model"
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_stock_chat_model_decodes_the_videos_and_gets_past_missing_ones(tmp_path, dsr_folder, stock_model_folder):
    pytest.importorskip("decord", reason="lmms-eval's Qwen models read videos with it")
    settings = "device=cpu,device_map=cpu,max_num_frames=4,min_pixels=784,max_pixels=12544"
    results, samples = run_lmms_eval(
        tmp_path,
        *("--model", "qwen2_5_vl", "--model_args", f"pretrained={stock_model_folder},{settings}"),
        *("--tasks", "dsr_bench,dsr_bench_frames", "--limit", "6", "--gen_kwargs", "max_new_tokens=2"),
        DSR_BENCH_ROOT=str(usable(dsr_folder, tmp_path)),
    )
    for task in ("dsr_bench", "dsr_bench_frames"):
        assert results[task]["missing,none"] == 1 / 3 and results[task]["unreadable,none"] == 0
        assert all(sample["filtered_resps"] for sample in samples[task]), "a missing video too has a response"


def usable(dsr_folder: Path, folder: Path) -> Path:
    """The data without the damaged video, at which stock models stop."""
    (folder / "dsr" / "videos").mkdir(parents=True)
    (folder / "dsr" / "benchmark.parquet").symlink_to(dsr_folder / "benchmark.parquet")
    for video in (dsr_folder / "videos").iterdir():
        if video.name == "clip 2.mp4":
            continue
        (folder / "dsr" / "videos" / video.name).symlink_to(video)
    (folder / "dsr" / "videos" / "clip 2.mp4").symlink_to(dsr_folder / "videos" / "clip 3.mp4")
    return folder / "dsr"
