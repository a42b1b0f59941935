"""A chat-completions server on loopback that answers as a test tells it to."""

import base64
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "test-model"


@dataclass
class Reply:
    """What the server sends: a message of a model, or `body` as it is."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    headers: dict = field(default_factory=dict)
    finish: str = "stop"
    wait: float = 0.0  # seconds before it
    drip: float = 0.0  # seconds between its bytes
    cut: bool = False  # the connection ends in the middle

    def encode(self):
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.text}
        return json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        ).encode()


class Request(dict):
    """The body of a request, with its headers."""

    headers: Message

    @property
    def picture(self):
        """The JPEG file in it, if there is one."""
        parts = self["messages"][1]["content"]
        if isinstance(parts, str):
            return None
        (url,) = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))

    @property
    def draft(self):
        """The reasoning that is to be worded anew."""
        return json.loads(self["messages"][1]["content"])["draft"]

    @property
    def attempt(self):
        """How many answers have been refused before."""
        return (len(self["messages"]) - 2) // 2


def good_answer(request):
    """What an obedient model says."""
    if request.picture is not None:
        return Reply(json.dumps({"name": "Striped Box"}))
    return Reply(json.dumps({"reasoning": f"Let me think. {request.draft}"}))


@contextmanager
def serve(answer=good_answer):
    """Start the server; `answer` makes a [`Reply`] of a [`Request`]. Yields its address and the requests so far."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as in `local_hub`

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not body:  # the client has gone between head and body
                self.close_connection = True
                return
            request = Request(json.loads(body))
            request.headers = self.headers
            requests.append(request)
            reply = answer(request)
            time.sleep(reply.wait)
            body = reply.encode()
            self.send_response(reply.status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": len(body),
                **reply.headers,
            }.items():
                self.send_header(name, str(value))
            self.end_headers()
            try:
                if reply.cut:
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                elif reply.drip:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(body)
            except OSError:  # the client has given up
                self.close_connection = True

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
