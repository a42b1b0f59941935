"""A page's server downloads nothing that a request names."""

import asyncio
import json

import httpx
import pytest

from fourdthinker.hub_cards.page.uploads_only import UploadsOnlyMiddleware

JSON = {"content-type": "application/json"}


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


def post(path: str, content: bytes, headers=JSON) -> httpx.Response:
    async def ask():
        transport = httpx.ASGITransport(UploadsOnlyMiddleware(echo, skip=("/v1/",)))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(ask())


def question(video) -> bytes:
    return json.dumps({"data": [video, "Which way?", "", 8], "fn_index": 1}).encode()


@pytest.mark.parametrize("address", ["http://example.org/a.mp4", "HTTPS://example.org/a.mp4", " http://example.org"])
@pytest.mark.parametrize("shape", [lambda file: file, lambda file: {"video": file}, lambda file: [[file]]])
def test_a_file_named_by_an_address_is_refused(address, shape):
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    response = post("/gradio_api/queue/join", question(shape(file)))
    assert response.status_code == 400 and "uploads only" in response.json()["detail"]


def test_an_upload_and_what_is_no_json_pass_unchanged():
    upload = question(
        {"path": "/tmp/gradio/clip.mp4", "url": "http://127.0.0.1:8000/gradio_api/file=/tmp/gradio/clip.mp4"}
    )
    for body in (upload, b"", b"[" * 100_000, b"http://example.org"):
        response = post("/gradio_api/queue/join", body)
        assert response.status_code == 200 and response.content == body


def test_what_is_long_is_refused_and_uploads_and_the_endpoint_are_left_alone():
    assert post("/gradio_api/queue/join", b" " * 1_000_001).status_code == 413
    named = question({"path": "http://example.org/a.mp4"})
    assert post("/v1/chat/completions", named).status_code == 200
    assert post("/gradio_api/upload", named, {"content-type": "multipart/form-data; boundary=x"}).status_code == 200
