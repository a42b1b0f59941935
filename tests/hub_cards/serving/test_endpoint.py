"""The endpoint as clients meet it: OpenAI's own, and raw sockets that do what no client should."""

import base64
import http.client
import io
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from fourdthinker.cli import serve as serve_command
from fourdthinker.cli.main import parse_command

openai = pytest.importorskip("openai")

ENDLESS = {"max_tokens": 2048, "temperature": 1.5, "seed": 1}


@pytest.fixture(scope="module", autouse=True)
def no_ends(ban_ends):
    with ban_ends():
        yield


@pytest.fixture(scope="module")
def server(run_server):
    limits = {"batch": 4, "waiting": 6, "body_bytes": 300_000, "body_seconds": 1.5, "frames": 16, "video_seconds": 20}
    with run_server(**limits) as (server, port):
        yield server, port


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server[1]}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def video(make_video, tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "clip.mp4", 2)


def data_uri(data, kind="video/mp4"):
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def png(size=(56, 56)):
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return data_uri(file.getvalue(), "image/png")


def say(*parts):
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "Which way?"}]}]


def post(port, body, path="/v1/chat/completions", headers=None, timeout=60):
    """Status and JSON of an answer to a body, which is sent as it is unless it is an object."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, data, {"content-type": "application/json", **(headers or {})})
    response = connection.getresponse()
    value = json.loads(response.read())
    connection.close()
    return response.status, value


def running(server):
    return server[0]._engine.running


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    assert holds()


def test_whole_and_streamed_answers_are_one(client, video):
    clip = {"type": "video_url", "video_url": {"url": data_uri(open(video, "rb").read())}, "frames": 4}
    picture = {"type": "image_url", "image_url": {"url": png(), "detail": "auto"}}
    asked = {"model": "tiny", "messages": say(clip, picture), "max_tokens": 40, "extra_body": {"imagery": True}}
    whole = client.chat.completions.create(**asked)
    message = whole.choices[0].message
    text = message.reasoning_content + message.content
    assert text and whole.usage.completion_tokens <= 40 < whole.usage.prompt_tokens
    assert whole.choices[0].finish_reason in ("stop", "length")
    for block in message.imagery:
        note = getattr(message, block["field"])[block["start"] : block["end"]]
        assert note == f"[imagery {block['number']}: {block['latents']} latents]"
        assert len(block["maps"]) == block["latents"]
        for one in block["maps"]:
            drawn = Image.open(io.BytesIO(base64.b64decode(one["image"].partition(",")[2])))
            assert drawn.format == "PNG"
            assert one["kind"] == "image" or 0 <= one["start"] <= one["end"] <= 2
    assert message.imagery, "this model opens blocks"

    stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    *chunks, last = list(stream)
    parts = [chunk.choices[0].delta.model_dump() for chunk in chunks]
    assert "".join(part.get("reasoning_content") or "" for part in parts) == message.reasoning_content
    assert "".join(part["content"] or "" for part in parts) == message.content
    assert [block for part in parts for block in part.get("imagery") or ()] == message.imagery
    assert len([part for part in parts if part["content"]]) >= 3
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.usage == whole.usage and not last.choices


@pytest.mark.slow
def test_the_guide_runs_as_printed(server, video, tmp_path):
    guide = (Path(__file__).resolve().parents[3] / "docs/serving.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```console\n(.*?)```", guide, re.DOTALL)
    _, name, *argv = shlex.split(command)
    assert parse_command(name, serve_command, argv).port == 8000
    (script,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    script = script.replace(":8000/", f":{server[1]}/").replace('"trained"', '"tiny"')
    shutil.copy(video, tmp_path / "clip.mp4")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_a_seed_and_a_stop_text_are_honoured(client):
    asked = {"model": "tiny", "messages": say(), "max_tokens": 30, "temperature": 1.0}
    first = client.chat.completions.create(**asked, seed=7).choices[0].message.content
    assert client.chat.completions.create(**asked, seed=7).choices[0].message.content == first
    assert client.chat.completions.create(**asked, seed=8).choices[0].message.content != first
    stop = first[10:13]
    stopped = client.chat.completions.create(**asked, seed=7, stop=[stop])
    assert stopped.choices[0].message.content == first[: first.index(stop)].strip()
    assert stopped.choices[0].finish_reason == "stop"


def test_models_health_and_metrics(client, server):
    assert [one.id for one in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    connection = http.client.HTTPConnection("127.0.0.1", server[1])
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    assert 'fourdthinker_http_answers_total{path="/v1/models",status="200"}' in text
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"status": "ok", "waiting": 0, "running": 0}


def video_part(url, **more):
    return say({"type": "video_url", "video_url": {"url": url}, **more})


BAD = {
    "unknown field": ({"messages": say(), "top_k": 5}, 400, "top_k"),
    "n": ({"messages": say(), "n": 2}, 400, "n"),
    "tools": ({"messages": say(), "tools": []}, 400, "tools"),
    "logprobs": ({"messages": say(), "logprobs": True}, 400, "logprobs"),
    "temperature": ({"messages": say(), "temperature": 3}, 400, "temperature"),
    "huge temperature": ({"messages": say(), "temperature": 10**300}, 400, "temperature"),
    "top_p": ({"messages": say(), "top_p": 0}, 400, "top_p"),
    "seed": ({"messages": say(), "seed": "x"}, 400, "seed"),
    "stop": ({"messages": say(), "stop": [""]}, 400, "stop"),
    "max_tokens": ({"messages": say(), "max_tokens": True}, 400, "max_tokens"),
    "too many tokens": ({"messages": say(), "max_completion_tokens": 10**9}, 400, "max_completion_tokens"),
    "stream_options": ({"messages": say(), "stream_options": {"include_usage": True}}, 400, "stream_options"),
    "another model": ({"messages": say(), "model": "gpt-4"}, 404, "model"),
    "no messages": ({}, 400, "messages"),
    "empty messages": ({"messages": []}, 400, "messages"),
    "no text": ({"messages": [{"role": "user", "content": [say()[0]["content"][0] | {"text": " "}]}]}, 400, "text"),
    "role": ({"messages": [{"role": "tool", "content": "a"}]}, 400, "role"),
    "last is not the user": ({"messages": [*say(), {"role": "assistant", "content": "a"}]}, 400, "messages"),
    "field of a message": ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, 400, "messages[0]"),
    "field of a part": ({"messages": say({"type": "text", "text": "a", "cache": 1})}, 400, "content[0]"),
    "detail": ({"messages": say({"type": "image_url", "image_url": {"url": png(), "detail": "low"}})}, 400, "detail"),
    "frames": ({"messages": video_part(data_uri(b"a"), frames=0)}, 400, "frames"),
    "fps": ({"messages": video_part(data_uri(b"a"), fps=0)}, 400, "fps"),
    "video of the system": (
        {
            "messages": [
                {"role": "system", "content": say({"type": "image_url", "image_url": {"url": png()}})[0]["content"]}
            ]
        },
        400,
        "messages[0]",
    ),
    "part": ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "content[0]"),
    "path": ({"messages": video_part("/etc/passwd")}, 400, "video_url"),
    "file address": ({"messages": video_part("file:///etc/passwd")}, 400, "video_url"),
    "address": ({"messages": video_part("http://127.0.0.1/x.mp4")}, 400, "video_url"),
    "no base64": ({"messages": video_part("data:video/mp4;base64,???")}, 400, "video_url"),
    "no video": ({"messages": video_part(data_uri(b"hello" * 100))}, 400, "video_url"),
    "playlist": ({"messages": video_part(data_uri(b"#EXTM3U\n/etc/passwd\n"))}, 400, "video_url"),
    "image as video": ({"messages": video_part(png())}, 400, "video_url"),
    "broken image": ({"messages": say({"type": "image_url", "image_url": {"url": png()[:-200]}})}, 400, "image_url"),
    "special token": ({"messages": [{"role": "user", "content": "<|image_pad|>"}]}, 400, "text"),
    "lone surrogate": (b'{"messages": [{"role": "user", "content": "a\\ud800"}]}', 400, "text"),
    "surrogate field": (b'{"\\ud800": 1}', 400, None),
    "latent tokens": ({"messages": [{"role": "user", "content": "<|latent_pad|>"}]}, 400, "text"),
    "no JSON": (b"{", 400, None),
    "deep JSON": (b'{"messages": ' + b"[" * 100_000, 400, None),
    "NaN": (b'{"temperature": NaN}', 400, None),
    "huge image": (
        {"messages": say({"type": "image_url", "image_url": {"url": png((9000, 4000))}})},
        400,
        "image_url",
    ),
    "list": (b"[]", 400, None),
    "bytes": (b"\xff\xfe\x00", 400, None),
    "too large": (b" " * 400_000, 413, None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_has_its_status_and_names_the_field(server, name):
    body, status, param = BAD[name]
    got, value = post(server[1], body)
    assert got == status, value
    error = value["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert param is None or param in error["param"]
    message = error["message"]
    assert "\n" not in message and "Traceback" not in message and "/tmp" not in message and len(message) < 500


def test_broken_and_oversized_media_leave_the_server_answering(server, video, make_video, tmp_path):
    whole = open(video, "rb").read()
    for data, word in ((whole[:-300], "damaged"), (whole[:200] + bytes(len(whole) - 200), "")):
        status, value = post(server[1], {"messages": video_part(data_uri(data))})
        assert status == 400 and word in value["error"]["message"]
        assert "fourdthinker-" not in value["error"]["message"]
    long = open(make_video(tmp_path / "long.mp4", 30, rate=1), "rb").read()
    status, value = post(server[1], {"messages": video_part(data_uri(long))})
    assert status == 400 and "at most 20 s" in value["error"]["message"]
    status, value = post(server[1], {"messages": video_part(data_uri(whole), frames=17)})
    assert status == 400 and "between 1 and 16" in value["error"]["message"]
    many = [{"type": "image_url", "image_url": {"url": png()}}] * 17
    assert post(server[1], {"messages": say(*many)})[0] == 400
    assert post(server[1], {"messages": video_part(data_uri(whole)), "max_tokens": 2})[0] == 200


@pytest.mark.parametrize(
    "method,path,headers,status",
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/v1/chat/completions", {}, 405),
        ("POST", "/v1/chat/completions", {"content-type": "text/plain"}, 415),
        ("POST", "/v1/chat/completions", {"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ("GET", "/health", {"host": "evil.example"}, 400),
        ("POST", "/v1/chat/completions", {"origin": "http://evil.example"}, 400),
        ("GET", "/health", {"origin": "null"}, 400),
        ("GET", "/health", {"origin": "http://localhost:5173"}, 200),
    ],
)
def test_other_calls_get_errors_of_the_same_shape(server, method, path, headers, status):
    connection = http.client.HTTPConnection("127.0.0.1", server[1], timeout=30)
    connection.request(method, path, b"{}" if method == "POST" else None, headers)
    response = connection.getresponse()
    assert response.status == status
    value = json.loads(response.read())
    assert status == 200 or set(value["error"]) == {"message", "type", "param", "code"}


def test_a_key_is_asked_for(run_server):
    with run_server(api_key="secret") as (_, port):
        asked = {"messages": say(), "max_tokens": 2}
        assert post(port, asked)[0] == 401
        assert post(port, asked, headers={"authorization": "Bearer wrong"})[1]["error"]["code"] == "invalid_api_key"
        assert post(port, asked, headers={"authorization": "Bearer secret"})[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200


def send(port, body, stream=True):
    """A raw connection on which a request was sent."""
    data = json.dumps({**body, "stream": stream}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(server, stream):
    cancelled = server[0]._engine.counters.cancelled
    connection = send(server[1], {"messages": say(), **ENDLESS}, stream)
    wait_until(lambda: running(server) == 1)
    connection.close()
    wait_until(lambda: running(server) == 0)
    assert server[0]._engine.counters.cancelled == cancelled + 1


@pytest.mark.medium
def test_slow_clients_are_ended_and_hold_nobody_up(server):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    slow = []
    for _ in range(20):  # more than there are places
        connection = socket.create_connection(("127.0.0.1", server[1]), timeout=60)
        connection.sendall(head + b"content-length: 1000\r\n\r\n{")
        slow.append(connection)
    started = time.monotonic()
    assert post(server[1], {"messages": say(), "max_tokens": 2})[0] == 200
    for connection in slow:
        for _ in range(3):
            try:
                connection.sendall(b" ")
            except OSError:
                break
    answers = [read_until(connection, b"}}") for connection in slow]
    assert all(answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer for answer in answers)
    assert time.monotonic() - started < 30
    assert server[0].config.app.state.endpoint.admitted == 0


def test_what_is_no_http_is_turned_away(server):
    for junk in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n", b"a" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server[1]), timeout=30) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            assert b"200 OK" not in connection.recv(4096)
    assert post(server[1], {"messages": say(), "max_tokens": 2})[0] == 200


@pytest.mark.slow
def test_a_thousand_requests_at_once_are_all_told_something(server):
    results = []

    def ask():
        try:
            results.append(post(server[1], {"messages": say(), "max_tokens": 3}, timeout=300))
        except OSError as error:
            results.append((type(error).__name__, error))

    threads = [threading.Thread(target=ask) for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result for result in results if result[0] not in (200, 429)] == []
    assert {status for status, _ in results} == {200, 429}
    refused = [value["error"] for status, value in results if status == 429]
    assert {error["code"] for error in refused} == {"queue_full"}
    assert post(server[1], {"messages": say(), "max_tokens": 2})[0] == 200


@pytest.mark.medium
def test_stopping_lets_answers_end_and_turns_others_away(run_server):
    with run_server(grace=60.0) as (server, port):
        short = send(port, {"messages": say(), "max_tokens": 200, "temperature": 1.0, "seed": 3})
        wait_until(lambda: server._engine.running == 1)
        waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        waiting.connect()
        server.handle_exit(15, None)
        wait_until(lambda: server._engine.stopping)
        waiting.request(
            "POST", "/v1/chat/completions", json.dumps({"messages": say()}), {"content-type": "application/json"}
        )
        answer = waiting.getresponse()
        assert answer.status == 503 and json.loads(answer.read())["error"]["code"] == "server_stopping"
        text = read_all(short)
        assert text.rstrip().endswith(b"0") and b"data: [DONE]" in text


def test_grace_is_not_waited_beyond(run_server):
    with run_server(grace=0.5) as (server, port):
        endless = send(port, {"messages": say(), **ENDLESS})
        wait_until(lambda: server._engine.running == 1)
        started = time.monotonic()
        server.handle_exit(15, None)
        text = read_all(endless)
        assert b"server_stopping" in text and b"[DONE]" not in text
        assert time.monotonic() - started < 20


def read_all(connection):
    return read_until(connection, None)


def read_until(connection, end):
    """What a connection says up to `end`, or until it is closed."""
    text = b""
    while end is None or end not in text:
        piece = connection.recv(65536)
        if not piece:
            break
        text += piece
    return text
