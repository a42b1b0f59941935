"""Mistakes are found before torch is imported, and what a user can cause ends in one line."""

import errno
import io
import json
import os
import socket
import subprocess
import sys

import pytest

from fourdthinker.cli import user_errors
from fourdthinker.cli.input_checks import HTTP_CLIENTS, TRACKERS, check_dataset, check_model, check_packages
from fourdthinker.cli.main import COMMANDS, Command, main
from fourdthinker.modeling.errors import InputError

# Runs commands that fail, one after the other, in a process that never needs torch.
FAILING_COMMANDS = """
import contextlib, io, json, sys
from fourdthinker.cli.main import main

ends = []
for argv in json.loads(sys.stdin.read()):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    heavy = sorted({"torch", "transformers", "datasets", "trl"} & set(sys.modules))
    ends.append([code, errors.getvalue(), heavy])
print(json.dumps(ends))
"""


def run_failing(commands, **environment):
    done = subprocess.run(
        [sys.executable, "-c", FAILING_COMMANDS],
        input=json.dumps([[str(word) for word in command] for command in commands]),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_one_line_without_torch(cases, **environment):
    for (command, words), (code, error, heavy) in zip(
        cases, run_failing([command for command, _ in cases], **environment), strict=True
    ):
        assert code == 2, (command, error)
        assert error.count("\n") == 1 and words in error, (command, error)
        assert heavy == [], (command, heavy)


@pytest.fixture
def places(tmp_path):
    """A folder that passes for a model, one that passes for rows, and a file."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.medium
def test_wrong_training_commands_end_at_once(places):
    model, data, out = places / "model", places / "data", places / "out"
    start = ["--model", model, "--dataset", data, "--output", out]
    cases = [
        (["dift", *start, "--lerning_rate", "1"], "did you mean --learning_rate?"),
        (["dift", *start, "--set", "lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["dift", *start, "--learning_rate", "fast"], "learning_rate: invalid float value: 'fast'"),
        (["dift", *start, "--max_steps", "1.5"], "max_steps: invalid int value: '1.5'"),
        (["dift", *start, "--use_cpu", "maybe"], "use_cpu: invalid bool value: 'maybe'"),
        (["dift", *start, "--set", "seed=[1, 2]"], "seed: takes one value, not the list [1, 2]"),
        (["dift", *start, "--self_feeding", "always"], "self_feeding: invalid choice: 'always' (choose from none, "),
        (["dift", *start, "--eval_strategy", "often"], "eval_strategy: invalid choice: 'often'"),
        (["dift", *start, "--optim", "adam"], "optim: invalid choice: 'adam'"),
        (["dift", *start, "--self_feed_passes", "0"], "self_feed_passes is 0"),
        (["dift", *start, "--max_length", "64"], "leave max_length unset"),
        (["dift", *start, "--teacher_forcing", "0.5"], "teacher_forcing is a part of self-feeding"),
        (["dift", *start, "--packing", "t"], "set pack_rows instead"),
        (["grpo", *start, "--use_vllm"], "set use_vllm"),
        (["grpo", *start, "--generation_kwargs", "5"], "generation_kwargs: '5' is no mapping"),
        (["dift", *start, "--lr_scheduler_kwargs", "fast"], "lr_scheduler_kwargs: 'fast' is no mapping: write it as"),
        (
            ["dift", *start, "--dataloader_num_workers", "-1"],
            "dataloader_num_workers is -1: give a number of 0 or more",
        ),
        (["grpo", *start, "--adam_beta2", "1"], "adam_beta2 is 1.0: give a number of 0 or more and below 1"),
        (["dift", *start, "--use_peft", "--lora_dropout", "1"], "lora_dropout is 1.0: give a share"),
        (["dift", *start, "--num_train_epochs", "-1"], "num_train_epochs is -1.0: give a positive number, or set max"),
        (["grpo", *start, "--max_grad_norm", "-1"], "max_grad_norm is -1.0: give a number of 0 or more"),
        (["dift", *start, "--warmup_steps", "-5"], "warmup_steps is -5.0: give a number of 0 or more"),
        (["dift", *start, "--save_steps", "0"], "save_steps is 0.0: give a positive number, or set save_strategy to"),
        (["dift", *start, "--logging_steps", "-1"], "logging_steps is -1.0: give a positive number"),
        (["dift", *start, "--push_to_hub", "true"], "push_to_hub has no effect here: leave it out, and upload the"),
        (["grpo", *start, "--resume_from_checkpoint", "last"], "resume_from_checkpoint has no effect here: the same"),
        (["grpo", *start, "--loss_type", "foo"], "loss_type is 'foo': choose one of grpo, dr_grpo, dapo, "),
        (["grpo", *start, "--scale_rewards", "foo"], "scale_rewards is 'foo': choose one of group, batch, none"),
        (["grpo", *start, "--multi_objective_aggregation", "sum"], "multi_objective_aggregation is 'sum': choose one"),
        (["grpo", *start, "--importance_sampling_level", "word"], "importance_sampling_level is 'word': choose one"),
        (["dift", *start, "--dtype", "half"], "dtype: invalid choice: 'half'"),
        (["dift", *start, "--lr_scheduler_kwargs", "{a"], "neither a word nor a list or mapping in YAML"),
        (["dift", *start, "--report_to", "notepad"], "report_to: unknown tracker 'notepad': choose from none, all, "),
        (
            ["dift", *start, "--report_to", "none", "clearml"],
            "clearml needs clearml, which is not installed: pip install",
        ),
        (["dift", *start, "--load_in_4bit"], "load_in_4bit needs bitsandbytes, which is not installed"),
        (["dift", *start, "--optim", "paged_adamw_8bit"], "optim: paged_adamw_8bit needs bitsandbytes"),
        (["dift", *start, "--optim", "schedule_free_sgd"], "needs schedulefree"),
        (["dift", *start, "--bf16", "--fp16"], "bf16 and fp16 are both true: set one of them"),
        (["dift", *start, "--load_best_model_at_end"], "eval_strategy and save_strategy to be the same, which are no"),
        (
            ["grpo", *start, "--load_best_model_at_end", "--eval_strategy", "steps", "--eval_steps", "3"],
            "save_steps is 500, which is no multiple of 3",
        ),
        (["dift", *start, "--attn_implementation", "flash_attention_2"], "needs flash-attn, which is not installed"),
        (["grpo", *start, "--temperature", "0"], "temperature is 0.0: give a positive number"),
        (["grpo", *start, "--num_generations", "1"], "num_generations is 1: give 2 or more"),
        (
            ["grpo", *start, "--num_generations", "3", "--per_device_train_batch_size", "4"],
            "num_generations is 3, which does not divide the 4 completions of a rollout",
        ),
        (["grpo", *start, "--generation_batch_size", "12"], "generation_batch_size is 12, no multiple of 8"),
        (
            ["grpo", *start, "--generation_batch_size", "16", "--steps_per_generation", "2"],
            "generation_batch_size and steps_per_generation say the same",
        ),
        (
            ["grpo", *start, "--eval_strategy", "steps", "--per_device_eval_batch_size", "4"],
            "per_device_eval_batch_size is 4, which with 1 processes holds no whole groups of 8",
        ),
        (["grpo", *start, "--reward_funcs", "nope"], "reward_funcs has 'nope': choose from accuracy_reward, "),
        (["grpo", *start, "--reward_funcs", "nopkg.mod.fn"], "nopkg.mod cannot be imported (ModuleNotFoundError"),
        (["grpo", *start, "--reward_weights", "1.0"], "reward_weights [1.0] do not fit the rewards accuracy_reward"),
        (["dift", *start, "--fsdp_config", places / "no.json"], "cannot read fsdp_config"),
        (["dift", *start[2:]], "no model given"),
        (["dift", *start, "--model", places / "gone"], "there is no model folder"),
        (["dift", *start, "--model", data], "has no config.json"),
        (["dift", *start, "--model", "someone/model"], "not in the Hub's cache, and HF_HUB_OFFLINE is set"),
        (["dift", *start, "--dataset", places / "rows.jsonl"], "cannot read train rows for 'dift'"),
        (["dift", *start, "--dataset", "rows.tsv"], "there is no such file or folder"),
        (["dift", *start, "--dataset", "someone/data"], "HF_HUB_OFFLINE is set"),
        (["dift", *start, "--eval_dataset", places / "gone", "--eval_strategy", "steps"], "cannot read test rows"),
        (["dift", *start, "--output", places / "file"], "exists already and holds no model"),
        (["dift", *start, "--output", model], "holds no model of an earlier training (no training_log.json)"),
        (["dift", *start, "--output", places / "file" / "deeper" / "out"], "Not a directory"),
        (["dift", *start, "--config", places / "no.yaml"], "cannot read"),
        (["grpo", *start, "--latent_mask", "none"], "latent_mask: invalid choice: 'none'"),
        (["grpo", *start, "--reward_weights", "1", "much"], "reward_weights: invalid float value: 'much'"),
        (["grpo", *start, "--reward_funcs", "[a, b]", "--center_scale", "inches"], "center_scale: invalid choice"),
    ]
    installed = [name for name in ("clearml", "bitsandbytes", "schedulefree", "flash_attn") if _is_installed(name)]
    if _is_installed("kernels"):  # which stand in for the package
        installed.append("flash_attn")
    missed = [name.replace("_", "-") for name in installed]
    cases = [(command, words) for command, words in cases if not any(name in words for name in missed)]
    assert_one_line_without_torch(cases, HF_HUB_OFFLINE="1")
    assert sorted(path.name for path in places.iterdir()) == ["data", "file", "model"]


def _is_installed(module):
    from importlib.util import find_spec

    return find_spec(module) is not None


@pytest.mark.medium
def test_a_folder_has_no_revision(places, make_video):
    video, rows = make_video(places / "clip.mp4", 1), places / "rows.jsonl"
    rows.write_text('{"video": "clip.mp4", "question": "?", "options": ["a", "b"], "answer": "a", "response": "a"}')
    model = ["--model", places / "model", "--revision", "v1"]
    run = ["--dataset", rows, "--output", places / "out"]
    words = "model is a folder, which has no revision v1: leave the revision out, or give a name on the Hub"
    commands = [
        ["ask", video, "Where?", *model],
        ["eval", *model],
        ["diagnose", *model],
        ["best-of-n", *model, *run],
        ["dift", *model, *run],
        ["grpo", *model, *run],
        ["dift", "--model", places / "model", "--model_revision", "v1", *run],
        ["init", "--backbone", places / "model", "--revision", "v1", "--output", places / "out"],
    ]
    other = [
        (["eval", "--models", places / "model", places / "data", "--revision", "v1"], "--revision goes with --model"),
        (["dift", *model, "--model_revision", "v1", *run], "revision and model_revision are two names of one setting"),
        (["init", "--tiny", "--revision", "v1", "--output", places / "out"], "--revision goes with --backbone only"),
        (["best-of-n", "--paths", rows, "--revision", "v1", *run], "--revision goes with --model"),
    ]
    assert_one_line_without_torch([*((command, words) for command in commands), *other], HF_HUB_OFFLINE="1")


@pytest.mark.medium
def test_other_wrong_commands_end_at_once(places, make_video):
    video = make_video(places / "clip.mp4", 1)
    model, data, file = places / "model", places / "data", places / "file"
    gone, rows, notes = places / "gone", places / "rows.csv", places / "notes.txt"
    rows.write_text("video,question,answer\n\n")
    notes.touch()
    (places / "broken.mp4").write_bytes(b"<html>")
    assert_one_line_without_torch(
        [
            (["ask", gone, "Where?", "--model", model], "cannot read the video"),
            (["ask", video, "Where?", "--model", gone], "there is no model folder"),
            (["ask", video, "Where?", "--model", model, "--imagery", file / "a.png"], "Not a directory"),
            (["ask", places / "broken.mp4", "Where?", "--model", model], "is no video that can be read"),
            (["eval", "--model", model, "--dataset", places / "gone.jsonl"], "there is no such file or folder"),
            (["eval", "--model", model, "--dataset", rows], "rows.csv has no rows"),
            (["eval", "--model", model, "--dataset", notes], "give a .jsonl, .json, .csv, .tsv or .parquet file"),
            (["dift", "--model", model, "--dataset", rows, "--output", places / "out"], "rows.csv has no rows"),
            (["eval", "--model", gone], "there is no model folder"),
            (["eval", "--model", model, "--output", file / "scores.json"], "Not a directory"),
            (["init", "--tiny", "--output", file / "model"], "Not a directory"),
            (["init", "--backbone", gone, "--output", places / "out"], "there is no model folder"),
            (["build-data", "--source", gone, "--output", places / "out"], "does not exist"),
            (["build-data", "--source", data, "--output", places / "out"], "holds no video; it takes files named"),
            (["build-data", "--source", "world", "--output", file / "out"], "Not a directory"),
            (
                ["best-of-n", "--model", gone, "--dataset", data, "--output", places / "out"],
                "there is no model folder",
            ),
            (["best-of-n", "--paths", gone, "--dataset", data, "--output", places / "out"], "cannot read --paths"),
            (["best-of-n", "--model", model, "--dataset", gone, "--output", places / "out"], "cannot read train rows"),
            (["demo", "--output", file], "Not a directory"),
        ]
    )


@pytest.mark.medium
def test_a_hub_that_cannot_be_reached_ends_in_one_line(places):
    start = ["--dataset", places / "data", "--output", places / "out"]
    assert_one_line_without_torch(
        [
            (["dift", "--model", "someone/model", *start], "the Hub cannot be reached"),
            (["init", "--backbone", "someone/model", "--output", places / "out"], "the Hub cannot be reached"),
            (["eval", "--model", "a--b"], "there is no model folder a--b, and no repository of the Hub can have this"),
            (
                ["dift", "--model", places / "model", *start[2:], "--dataset", "some..one/data"],
                "there is no dataset folder some..one/data, and no repository",
            ),
        ],
        HF_HUB_OFFLINE="0",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(places / "hub"),
        HF_TOKEN="",
    )


def test_a_folder_of_this_name_elsewhere_is_no_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "data").mkdir(parents=True)
    with pytest.raises(InputError, match="from data: there is no such file or folder"):
        check_dataset("data", "dift", "train")


def test_what_is_in_a_cache_needs_no_hub(places, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(places / "hub"))
    with pytest.raises(InputError, match="cannot read train rows for 'dift' from someone/data"):
        check_dataset("someone/data", "dift", "train")
    for name in ("models--someone--model", "datasets--someone--data"):
        (places / "hub" / name).mkdir(parents=True)
    check_model("someone/model")
    check_dataset("someone/data", "dift", "train")


@pytest.mark.parametrize("settings", [{"WANDB_API_KEY": "k"}, {"WANDB_MODE": "offline"}, {"NETRC": "netrc"}, {}])
def test_wandb_needs_a_key(tmp_path, monkeypatch, settings):
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), "NETRC": "", **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    if settings:
        check_packages({"report_to": "wandb"})
        return
    with pytest.raises(InputError, match="report_to: wandb needs a login: run `wandb login`, or set WANDB_API_KEY"):
        check_packages({"report_to": ["none", "wandb"]})


def test_every_tracker_of_transformers_is_known():
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert INTEGRATION_TO_CALLBACK.keys() <= TRACKERS.keys()


def test_installed_packages_pass():
    check_packages({"report_to": ["none"], "optim": "adamw_torch_fused", "load_in_4bit": "no", "deepspeed": None})


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def install(error):
        module = type(sys)("fourdthinker.cli.fails")
        module.add_arguments = lambda parser: None

        def run(args):
            raise error

        module.run = run
        monkeypatch.setitem(COMMANDS, "fails", Command("fails", "fail"))
        monkeypatch.setitem(sys.modules, "fourdthinker.cli.fails", module)
        return ["fails"]

    return install


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("Using 4-bit needs bitsandbytes: pip install it"), "needs bitsandbytes"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/there"),
            "/there: Permission denied: name another place",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_what_a_user_can_cause_ends_in_one_line(failing, capsys, error, words):
    assert main(failing(error)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fourdthinker: error: ") and words in line


def test_a_tracker_that_is_not_set_up_ends_in_one_line(failing, capsys):
    usage = type("UsageError", (Exception,), {"__module__": "wandb.errors"})
    assert main(failing(usage("api_key not configured"))) == 2
    assert "wandb: api_key not configured; set it up, or give `report_to: none`" in capsys.readouterr().err


# Requests to the Hub that fail, by the installed huggingface_hub and by each HTTP client that a version of it uses.
FAILING_REQUESTS = """
import importlib, importlib.util, json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from fourdthinker.cli.input_checks import HTTP_CLIENTS
from fourdthinker.cli.user_errors import describe_user_error

requests = {
    "create_repo": lambda: HfApi().create_repo("someone/model", token="hf_none"),
    "model_info": lambda: HfApi().model_info("someone/model"),
    "hf_hub_download": lambda: hf_hub_download("someone/model", "config.json"),
    "snapshot_download": lambda: snapshot_download("someone/model"),
}
if sys.argv[2] == "0":  # where there is a network, huggingface_hub tries a download again for some ten seconds
    del requests["hf_hub_download"], requests["snapshot_download"]
for name in filter(importlib.util.find_spec, HTTP_CLIENTS):
    requests[name] = lambda name=name: importlib.import_module(name).get(sys.argv[1])
lines = {}
for name, request in requests.items():
    try:
        request()
    except Exception as error:
        lines[name] = [type(error).__name__, describe_user_error(error)]
print(json.dumps(lines))
"""


@pytest.mark.parametrize("command", ["dift", "grpo", "eval"])
def test_help_names_every_kind_of_file_that_is_read(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert ".jsonl, .json, .csv, .tsv or .parquet file" in " ".join(capsys.readouterr().out.split())


@pytest.mark.medium
@pytest.mark.parametrize("offline", ["0", "1"])
def test_failed_requests_to_the_hub_are_one_line_with_either_http_client(tmp_path, offline):
    with socket.socket() as closed:  # bound, so that nothing else takes the port, and not listening
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        places = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", FAILING_REQUESTS, endpoint, offline],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **places},
        )
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)
    assert {"create_repo", "model_info"} < lines.keys() and lines.keys() & set(HTTP_CLIENTS)
    for request, (error, line) in lines.items():
        assert line and line.startswith("the Hub cannot be used: ") and "\n" not in line, (request, error, line)


@pytest.mark.parametrize(
    "error", [ImportError("cannot import name 'a'", name="fourdthinker.b"), OSError(errno.EIO, "Input/output error")]
)
def test_other_errors_stay_defects(error):
    assert user_errors.describe_user_error(error) is None
