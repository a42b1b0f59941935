"""Our seam with lmms-eval. These tests fail when upstream moves what the plugin holds on to."""

import os
import shutil
import subprocess
import sys

import pyarrow.parquet
import pytest

from fourdthinker.eval_tasks.lmms import TASKS_DIR, plugin
from fourdthinker.eval_tasks.predict import MAX_NEW_TOKENS
from fourdthinker.modeling.errors import InputError

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_the_plugin_is_cheap():
    code = "import sys, fourdthinker.eval_tasks.lmms.plugin; print('torch' in sys.modules, 'lmms_eval' in sys.modules)"
    assert run_python(code) == "False False"


INDEX = """
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.tasks import TaskManager
from fourdthinker.eval_tasks.lmms.names import task_files
ours = {{name.removesuffix(".yaml") for name in task_files()}}
found = [set(TaskManager(include_path=path, include_defaults=False).all_tasks) for path in (None, {folder!r}, [{folder!r}])]
print(MODEL_REGISTRY_V2.resolve("fourdthinker").class_path, *(names >= ours for names in found), [len(names - ours) for names in found])
"""  # noqa: E501


@pytest.mark.slow
def test_lmms_eval_finds_model_and_tasks_through_the_installed_entry_point(tmp_path):
    (tmp_path / "other.yaml").write_text("task: other\ndataset_path: none\n")
    assert run_python(INDEX.format(folder=str(tmp_path))) == f"{plugin.MODEL_CLASS} True True True [0, 1, 1]"


@pytest.mark.slow
def test_opting_out_leaves_the_index_alone(tmp_path):
    (tmp_path / "other.yaml").write_text("task: other\ndataset_path: none\n")
    output = run_python(INDEX.format(folder=str(tmp_path)), **{plugin.OPT_OUT: "1"})
    assert output == f"{plugin.MODEL_CLASS} False False False [0, 1, 1]"


def test_calling_it_twice_wraps_once():
    from lmms_eval.tasks import TaskManager

    plugin.manifests()
    once = TaskManager.initialize_tasks
    (manifest,) = plugin.manifests()
    assert TaskManager.initialize_tasks is once
    assert manifest.chat_class_path == plugin.MODEL_CLASS and manifest.model_id == "fourdthinker"


def test_an_upstream_that_moved_never_breaks_other_plugins(monkeypatch, caplog):
    from lmms_eval.tasks import TaskManager

    monkeypatch.delattr(TaskManager, "initialize_tasks")
    assert [manifest.model_id for manifest in plugin.manifests()] == ["fourdthinker"]
    assert "--include_path" in caplog.text
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", None)
    assert plugin.manifests() == []


def test_the_task_decodes_as_our_command_does(world_folder, monkeypatch):
    from lmms_eval.tasks import TaskManager, get_task_dict

    monkeypatch.setenv("FOURD_WORLD_DATA", str(world_folder))
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, model_name="fourdthinker")
    config = get_task_dict(["fourd_world"], manager, task_type="chat")["fourd_world"].config
    settings = {"max_new_tokens": MAX_NEW_TOKENS, "temperature": 0, "do_sample": False}
    assert {name: config.generation_kwargs[name] for name in settings} == settings
    assert config.reasoning_tags == "none"


def test_a_row_that_cannot_be_asked_is_named_when_the_task_is_read(world_folder, tmp_path, monkeypatch):
    from lmms_eval.tasks import TaskManager, get_task_dict

    # `datasets` finds what it has read by a folder's name and card, not by its content.
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    shutil.copytree(world_folder, tmp_path / "world")
    (file,) = (tmp_path / "world").rglob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    questions = table["question"].to_pylist()
    questions[3] = None  # not the first, which lmms-eval looks at itself
    place = table.column_names.index("question")
    pyarrow.parquet.write_table(
        table.set_column(place, table.field(place), pyarrow.array(questions, pyarrow.string())), file
    )
    monkeypatch.setenv("FOURD_WORLD_DATA", str(tmp_path / "world"))
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, model_name="fourdthinker")
    with pytest.raises(InputError, match="^row camera_motion-3: question is null: write a text$"):
        get_task_dict(["fourd_world"], manager, task_type="chat")


def test_task_messages_hold_the_frames_and_the_training_prompt(world_folder, monkeypatch):
    from lmms_eval.tasks import TaskManager, get_task_dict

    from fourdthinker.modeling.prompts import question_text

    monkeypatch.setenv("FOURD_WORLD_DATA", str(world_folder))
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False, model_name="fourdthinker")
    task = get_task_dict(["fourd_world"], manager, task_type="chat")["fourd_world"]
    doc = task.dataset["test"][3]
    (message,) = task.doc_to_messages(doc)
    *frames, prompt = message["content"]
    assert [frame["url"].size for frame in frames] == [(56, 56)] * len(doc["timestamps"])
    assert prompt == {"type": "text", "text": question_text(doc["question"], doc["options"])}
    assert task.doc_to_target(doc) == doc["answer"]
    results = task.process_results(doc, [f"<think>A?</think><answer>{doc['answer']}</answer>"])
    assert (results["accuracy"], results["object_motion"], results["camera_motion"]) == (1.0, 1.0, None)
