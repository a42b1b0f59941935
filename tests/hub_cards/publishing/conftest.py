"""Folders to publish, and a client process for many publications."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ...local_hub import LocalHub

CARD = "---\nlicense: apache-2.0\n---\n\n# Tiny\n"
CONFIG = {"model_type": "tiny", "auto_map": {"AutoModel": "modeling_tiny.Tiny"}}


def safetensors(values=(0.0,), **notes):
    """A file with one tensor, and notes in its header."""
    header = {"weight": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, 4 * len(values)]}}
    text = json.dumps({**header, **({"__metadata__": notes} if notes else {})}).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack(f"<{len(values)}f", *values)


@pytest.fixture
def model_folder(tmp_path):
    """A folder that may be published: two large files by the Hub's rules, code, a card, a file in a folder."""
    return write_model(tmp_path / "tiny")


def write_model(folder, value=0.0):
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "modeling_tiny.py").write_text("import json\n\n\nclass Tiny:\n    pass\n")
    (folder / "README.md").write_text(f"{CARD}{value}\n")
    tokenizer = {"is_local": True, "local_files_only": True, "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "model.safetensors").write_bytes(safetensors([value]))
    (folder / "assets/picture.png").write_bytes(b"\x89PNG\0" + struct.pack("<f", value))
    return folder


class Client:
    """Publishes with a Hub, each time in a process of its own that can be killed.

    Args:
        hub ([`LocalHub`]): It is emptied before each use by the fixture.
    """

    def __init__(self, hub, home):
        self.hub = hub
        script = Path(__file__).with_name("publish_client.py")
        environment = {**os.environ, **hub.environment(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
        )

    def publish(self, folder, repo_id="me/tiny", kind="model", before=None, **options):
        """Exit code and output; `before` gets the process id when all is ready."""
        arguments = {"folder": str(folder), "repo_id": repo_id, "kind": kind, "check": False, **options}
        self._write(json.dumps(arguments))
        pid = int(self._process.stdout.readline())
        if before is not None:
            before(pid)
        self._write("")
        code, output = json.loads(self._process.stdout.readline())
        return code, output

    def _write(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def stop(self):
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def started_client(tmp_path_factory):
    hub = LocalHub().start()
    client = Client(hub, tmp_path_factory.mktemp("client"))
    yield client
    client.stop()
    hub.stop()


@pytest.fixture
def client(started_client):
    """A client of an empty Hub, without faults."""
    hub = started_client.hub
    hub.heal()
    hub.repositories.clear()
    hub.stored.clear()
    hub.requests.clear()
    hub.received.clear()
    return started_client


def contents(folder):
    """What a folder holds as it should stand on the Hub."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files["tokenizer_config.json"] = b'{\n  "padding_side": "left"\n}\n'
    return files


@pytest.fixture
def published():
    """What stands on `main` of a repository, but for the Hub's own file."""

    def read(hub, name="me/tiny", kind="model"):
        files = dict(hub.repo(kind, name).files())
        files.pop(".gitattributes")
        return files

    return read
