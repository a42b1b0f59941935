"""Repositories of the local Hub: commits, references, and the rules of large files and card headers."""

import hashlib
import re
import time
from dataclasses import dataclass, field

import yaml

LARGE_SUFFIXES = (".safetensors", ".parquet", ".arrow", ".bin", ".pt", ".mp4", ".zip", ".tar", ".png")
LARGE_FROM = 10 * 1024 * 1024
MAIN = "refs/heads/main"


def blob_id(content: bytes) -> str:
    """What git calls a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_large(path: str, size: int) -> bool:
    return size >= LARGE_FROM or path.endswith(LARGE_SUFFIXES)


def describe_large(path: str, content: bytes, name: str = "oid") -> dict:
    """What listings say of a large file; a repository's own listing names the hash otherwise than trees do."""
    if not is_large(path, len(content)):
        return {}
    return {"lfs": {name: sha256(content), "size": len(content), "pointerSize": 130}}


def describe_file(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    return entry | describe_large(path, content)


@dataclass
class Commit:
    title: str
    description: str
    files: dict[str, bytes]
    parent: str | None


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # refs/heads/main, refs/tags/v1, refs/pr/1
    pulls: dict[int, dict] = field(default_factory=dict)

    def commit(self, ref: str, title: str, files: dict[str, bytes], description: str = "") -> str:
        parent = self.refs.get(ref)
        sha = hashlib.sha1(f"{title}{parent}{len(self.commits)}{time.time_ns()}".encode()).hexdigest()
        self.commits[sha] = Commit(title, description, files, parent)
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str | None) -> str | None:
        """The full hash of a branch, tag, `refs/...` or hash; none if there is no such revision."""
        revision = revision or "main"
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/{revision}"):
            if ref in self.refs:
                return self.refs[ref]
        found = [sha for sha in self.commits if sha.startswith(revision)] if len(revision) >= 7 else []
        return found[0] if len(found) == 1 else None

    def head(self) -> str:
        return self.refs[MAIN]

    def files(self, revision: str | None = None) -> dict[str, bytes]:
        return self.commits[self.resolve(revision)].files

    def history(self, revision: str | None = None) -> list[tuple[str, Commit]]:
        """Commits with their hashes, the newest first."""
        sha, entries = self.resolve(revision), []
        while sha:
            entries.append((sha, self.commits[sha]))
            sha = self.commits[sha].parent
        return entries


def find_header_problems(text: str, kind: str) -> list[str]:
    """What the Hub rejects in a card's header; here the few rules that people trip over."""
    match = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", text, re.DOTALL)
    if not match:
        return []  # a warning on the Hub, no error
    try:
        header = yaml.safe_load(match[1]) or {}
    except yaml.YAMLError as error:
        return [f"YAML: {error}"]
    if not isinstance(header, dict):
        return ["metadata must be a mapping"]
    problems = []
    licences = header.get("license")
    for licence in licences if isinstance(licences, list) else [licences]:
        if licence is not None and not re.fullmatch(r"[a-z0-9.\-]+", str(licence)):
            problems.append(f'"license" must be one of the ids of the Hub, not {licence!r}')
    for name in ("tags", "datasets", "task_categories"):
        if name in header and not isinstance(header[name], list):
            problems.append(f'"{name}" must be an array')
    bases = header.get("base_model", []) if kind == "model" else []
    for base in [bases] if isinstance(bases, str) else bases:
        if not re.fullmatch(r"[\w.\-]+/[\w.\-]+|[\w.\-]+", str(base)):
            problems.append(f'"base_model" must be an id on the Hub, not {base!r}')
    for index in header.get("model-index", []):
        for result in index.get("results", []):
            if not all(key in result for key in ("task", "dataset", "metrics")):
                problems.append('"model-index" results need task, dataset and metrics')
    return problems
