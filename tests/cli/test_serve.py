"""`fourdthinker serve`: a process of its own, from its arguments to its last answer."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from fourdthinker.cli.main import main

from ..local_hub import Repository

pytest.importorskip("fastapi")

KEY = "the key of a test"


@pytest.mark.parametrize(
    "options,words",
    [
        (["--host", "0.0.0.0"], "--no-auth"),
        (["--host", "::"], "--no-auth"),
        (["--host", "example.org"], "--no-auth"),
        (["--api-key", "a", "--no-auth"], "exclude"),
        (["--port", "70000"], "--port"),
        (["--batch-size", "0"], "--batch-size"),
        (["--queue", "0"], "--queue"),
        (["--grace", "-1"], "--grace"),
        (["--grace", "inf"], "--grace"),
        ([], "no model folder"),
    ],
)
def test_bad_arguments_end_in_one_line(capsys, options, words):
    assert main(["serve", "--model", "/nowhere/model", *options]) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1


def test_a_port_in_use_ends_in_one_line(tiny_model_folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--model", str(tiny_model_folder), "--port", port, "--device", "cpu", "--no-page"]) == 2
    line = capsys.readouterr().err
    assert f"port {port}" in line and line.count("\n") == 1


@contextmanager
def start(*options, errors=None, **environment):
    """The command in a process of its own, and its port; `errors` is a file for its stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fourdthinker.cli", "serve", "--port", "0", "--device", "cpu", "--no-page", *options],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert "/v1" in line, line
        yield process, int(line.rpartition(":")[2].partition("/")[0])
    finally:
        process.kill()
        process.wait()


def post(port, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    body = json.dumps({"messages": [{"role": "user", "content": "Which way?"}], **fields})
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection.getresponse()


@pytest.mark.slow
def test_a_process_answers_and_ends_within_its_grace(tiny_model_folder):
    with start("--model", str(tiny_model_folder), "--grace", "1", FOURDTHINKER_API_KEY=KEY) as (process, port):
        answer = json.loads(post(port, max_tokens=3).read())
        assert answer["usage"]["completion_tokens"] <= 3
        running = post(port, max_tokens=2048, temperature=2.0, stream=True, seed=5)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        text = running.read().decode()
        assert process.wait(60) == 0
        assert time.monotonic() - started < 60
        assert "[DONE]" in text or "server_stopping" in text
        assert process.stdout.read().endswith("ended\n")


@pytest.mark.slow
def test_a_checkpoint_of_the_hub_is_served_at_the_revision_that_is_named(hub, tiny_model_folder, tmp_path):
    """Its newest commit has other files: only the pinned one can give the folder's answer."""
    files = {
        path.relative_to(tiny_model_folder).as_posix(): path.read_bytes()
        for path in tiny_model_folder.rglob("*")
        if path.is_file()
    }
    repository = hub.repositories.setdefault(("model", "me/tiny"), Repository())
    pinned = repository.commit("refs/heads/main", "good", files)
    repository.commit("refs/heads/main", "broken", {**files, "model.safetensors": b"broken"})
    environment = {**hub.environment(tmp_path / "home"), "FOURDTHINKER_API_KEY": KEY}
    with (tmp_path / "errors").open("w") as errors:
        named = ("--model", "me/tiny", "--revision", pinned)
        with start(*named, errors=errors, **environment) as (_, port):
            served = json.loads(post(port, max_tokens=20).read())
    assert served["model"] == "tiny"
    assert f"model me/tiny at commit {pinned}\n" in (tmp_path / "errors").read_text()
    with start("--model", str(tiny_model_folder), FOURDTHINKER_API_KEY=KEY) as (_, port):
        local = json.loads(post(port, max_tokens=20).read())
    assert served["choices"] == local["choices"]
