"""What the local Hub answers, by the paths of its API."""

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

from .repository import (
    MAIN,
    Repository,
    blob_id,
    describe_file,
    describe_large,
    find_header_problems,
    is_large,
    sha256,
)

NOW = "2026-01-01T00:00:00.000Z"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}


class HubError(Exception):
    def __init__(self, status: int, code: str, message: str | None = None):
        self.status, self.code, self.message = status, code, message or code


class Routes:
    """The paths of the API, for a request handler with `send`, `role`, `hub`, `command`, `path_only` and `query`."""

    hub: Any

    def route(self, body: bytes) -> None:
        path = self.path_only
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/repos/delete":
            return self._delete(json.loads(body))
        if path == "/api/validate-yaml":
            fields = json.loads(body)
            problems = find_header_problems(fields["content"], fields.get("repoType", "model"))
            errors = [{"message": text} for text in problems]
            return self.send({"errors": errors, "warnings": []}, 400 if problems else 200)
        if path == "/api/whoami-v2":
            return self._whoami()
        if match := re.fullmatch(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/([a-z-]+)(?:/(.*))?)?", path):
            kind = KINDS[match[1]]
            verb = (match[3] or "info").replace("-", "_")
            if action := getattr(self, f"_api_{verb}", None):
                return action(self._repository(kind, match[2]), kind, match[2], match[4] or "", body)
        elif match := re.fullmatch(r"/(datasets/|spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._lfs_batch(json.loads(body))
        elif match := re.fullmatch(r"/_lfs/([0-9a-f]{64})", path):
            return self._lfs_object(match[1], body)
        elif match := re.fullmatch(
            r"/(datasets/|spaces/)?([^/]+/[^/]+)/resolve/((?:refs/(?:pr|convert)/)?[^/]+)/(.+)", path
        ):
            kind = KINDS[(match[1] or "models/").rstrip("/")]
            return self._resolve(self._repository(kind, match[2]), match[3], match[4])
        raise HubError(404, "NotServed", f"not served here: {self.command} {path}")

    # --- who may ---

    def _must_write(self) -> None:
        role = self.role()
        if role is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        if role != "write":
            raise HubError(403, "Forbidden", "This token has no write rights on this repository.")

    def _whoami(self) -> None:
        if self.role() is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        access = {"accessToken": {"role": self.role(), "displayName": "test"}}
        self.send({"type": "user", "name": self.hub.user, "orgs": [], "auth": access})

    def _repository(self, kind: str, name: str) -> Repository:
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and self.role() is None):
            raise HubError(401 if self.role() is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _at(self, repository: Repository, revision: str | None) -> tuple[str, dict[str, bytes]]:
        sha = repository.resolve(revision)
        if sha is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha, repository.commits[sha].files

    # --- repositories ---

    def _create(self, fields: dict) -> None:
        self._must_write()
        kind = fields.get("type") or "model"
        name = f"{fields.get('organization') or self.hub.user}/{fields['name']}"
        url = f"{self.hub.url}/{PREFIX[kind]}{name}"
        if (kind, name) in self.hub.repositories:
            message = {"error": "You already created this repo", "url": url}
            return self.send(message, 409, {"X-Error-Code": "RepoExists"})
        private = bool(fields.get("private") or fields.get("visibility") == "private")
        repository = self.hub.repositories[kind, name] = Repository(private=private)
        repository.commit(MAIN, "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.send({"url": url, "name": name, "id": name})

    def _delete(self, fields: dict) -> None:
        self._must_write()
        name = f"{fields.get('organization') or self.hub.user}/{fields['name']}"
        self.send({"ok": bool(self.hub.repositories.pop((fields.get("type") or "model", name), None))})

    def _api_settings(self, repository, kind, name, rest, body) -> None:
        self._must_write()
        fields = json.loads(body)
        private = bool(fields.get("private", repository.private))
        repository.private = private or fields.get("visibility") == "private"
        self.send({})

    # --- reading ---

    def _api_info(self, repository, kind, name, rest, body) -> None:
        self._api_revision(repository, kind, name, rest, body)

    def _api_revision(self, repository, kind, name, rest, body) -> None:
        sha, files = self._at(repository, rest)
        siblings = [
            {"rfilename": path, "size": len(data), "blobId": blob_id(data), **describe_large(path, data, "sha256")}
            for path, data in files.items()
        ]
        card = re.match(r"---\n(.*?)\n---", files.get("README.md", b"").decode(errors="replace"), re.DOTALL)
        header = yaml.safe_load(card[1]) if card and not find_header_problems(card[0], kind) else {}
        answer = {"id": name, "sha": sha, "siblings": siblings, "private": repository.private, "gated": False}
        answer |= {"disabled": False, "tags": header.get("tags", []), "cardData": header, "lastModified": NOW}
        answer |= {"createdAt": NOW, "downloads": 0, "likes": 0}
        self.send(answer | ({"modelId": name} if kind == "model" else {}), headers={"X-Repo-Commit": sha})

    def _api_tree(self, repository, kind, name, rest, body) -> None:
        revision, _, folder = rest.replace("refs/pr/", "refs%2Fpr%2F", 1).partition("/")
        sha, files = self._at(repository, unquote(revision))
        recursive = self.query.get("recursive", ["false"])[0].lower() == "true"
        entries, folders = [], set()
        for path, data in sorted(files.items()):
            if folder and not path.startswith(folder + "/"):
                continue
            parts = path[len(folder) + 1 if folder else 0 :].split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folders.add("/".join([*([folder] if folder else []), *parts[:depth]]))
            if recursive or len(parts) == 1:
                entries.append(describe_file(path, data))
        if folder and not entries and not folders:
            raise HubError(404, "EntryNotFound", f"{folder} does not exist on {sha}")
        named = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        entries = named + entries
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {"X-Repo-Commit": sha}
        if start + self.hub.page < len(entries):
            more = "&recursive=true" if recursive else ""
            headers["Link"] = f'<{self.hub.url}{self.path_only}?cursor={start + self.hub.page}{more}>; rel="next"'
        self.send(entries[start : start + self.hub.page], headers=headers)

    def _api_paths_info(self, repository, kind, name, rest, body) -> None:
        _, files = self._at(repository, rest)
        paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
        entries = []
        for path in paths:
            if path in files:
                entries.append(describe_file(path, files[path]))
            elif any(other.startswith(path.rstrip("/") + "/") for other in files):
                entries.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
        self.send(entries)

    def _api_commits(self, repository, kind, name, rest, body) -> None:
        self._at(repository, rest)
        authors = [{"user": self.hub.user}]
        history = [
            {"id": sha, "title": c.title, "message": c.description, "date": NOW, "authors": authors}
            for sha, c in repository.history(rest)
        ]
        self.send(history)

    def _api_refs(self, repository, kind, name, rest, body) -> None:
        answer: dict[str, list] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        names = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
        for ref, sha in repository.refs.items():
            start = next(start for start in names if ref.startswith(start))
            answer[names[start]].append({"name": ref.removeprefix(start), "ref": ref, "targetCommit": sha})
        self.send(answer)

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        sha, files = self._at(repository, revision)
        if path not in files:
            raise HubError(404, "EntryNotFound", f"{path} does not exist at {revision}")
        data = files[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{blob_id(data)}"', "Accept-Ranges": "bytes"}
        if not is_large(path, len(data)):
            return self._send_file(data, headers)
        # Large files live on another host: the answer names them and points there.
        headers |= {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data)), "Content-Length": "0"}
        self.hub.stored[sha256(data)] = data
        self.send(b"", 302, headers | {"Location": f"{self.hub.store_url}/_lfs/{sha256(data)}"})

    def _send_file(self, data: bytes, headers: dict) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.send(data, headers=headers, kind="application/octet-stream")
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            raise HubError(416, "RangeNotSatisfiable")
        headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.send(data[first : last + 1], 206, headers, "application/octet-stream")

    # --- writing ---

    def _api_preupload(self, repository, kind, name, rest, body) -> None:
        self._must_write()
        _, files = self._at(repository, rest)
        fields = json.loads(body)
        ignored = fields.get("gitIgnore", files.get(".gitignore", b"").decode()).split()
        answer = []
        for file in fields["files"]:
            large = is_large(file["path"], file["size"])
            data = files.get(file["path"])
            oid = None if data is None else sha256(data) if large else blob_id(data)
            entry = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "oid": oid}
            answer.append(entry | {"shouldIgnore": file["path"] in ignored})
        self.send({"files": answer})

    def _lfs_batch(self, fields: dict) -> None:
        self._must_write()
        objects = []
        for item in fields["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.stored:  # what is there already is not asked for again
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/_lfs/{item['oid']}", "header": {}}}
            objects.append(entry)
        self.send({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def _lfs_object(self, oid: str, body: bytes) -> None:
        if self.command == "PUT":
            if sha256(body) != oid:
                raise HubError(400, "BadDigest", "content does not match its hash")
            self.hub.stored[oid] = body
            self.hub.received.append(oid)
            return self.send(b"", headers={"ETag": f'"{oid}"'})
        self._send_file(self.hub.stored[oid], {"ETag": f'"{oid}"'})

    def _api_commit(self, repository, kind, name, rest, body) -> None:
        """Commit all of it or nothing: everything is checked before the branch moves."""
        self._must_write()
        head, files = self._at(repository, rest)
        files, title, description = self._apply(dict(files), head, body)
        for problem in find_header_problems(files.get("README.md", b"").decode(errors="replace"), kind):
            raise HubError(400, "InvalidMetadata", f"Invalid metadata in README.md: {problem}")
        url = f"{self.hub.url}/{PREFIX[kind]}{name}"
        answer = {"success": True}
        if self.query.get("create_pr") == ["1"]:
            number = self._open_pull(repository, kind, name, title, "open")
            answer["pullRequestUrl"] = f"{url}/discussions/{number}"
            rest = f"refs/pr/{number}"
        sha = repository.commit(
            rest if rest.startswith("refs/") else f"refs/heads/{rest or 'main'}", title, files, description
        )
        self.send(answer | {"commitOid": sha, "commitUrl": f"{url}/commit/{sha}"})

    def _apply(self, files: dict[str, bytes], head: str, body: bytes) -> tuple[dict[str, bytes], str, str]:
        title = description = ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    title, description = value.get("summary", ""), value.get("description", "")
                    if value.get("parentCommit") and not head.startswith(value["parentCommit"]):
                        message = "A commit has happened since. Please refresh and try again."
                        raise HubError(412, "PreconditionFailed", message)
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.hub.stored:
                        raise HubError(400, "LfsMissing", f"LFS object {value['oid']} was not uploaded")
                    files[value["path"]] = self.hub.stored[value["oid"]]
                case "deletedFile":
                    if value["path"] not in files:
                        raise HubError(404, "EntryNotFound", "A file with this name doesn't exist")
                    del files[value["path"]]
                case "deletedFolder":
                    start = value["path"].rstrip("/") + "/"
                    files = {path: data for path, data in files.items() if not path.startswith(start)}
        return files, title, description

    def _api_branch(self, repository, kind, name, rest, body) -> None:
        self._must_write()
        if self.command == "DELETE":
            repository.refs.pop(f"refs/heads/{rest}", None)
            return self.send({})
        if f"refs/heads/{rest}" in repository.refs:
            raise HubError(409, "BranchExists", "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint")
        repository.refs[f"refs/heads/{rest}"] = self._at(repository, start)[0]
        self.send({})

    def _api_tag(self, repository, kind, name, rest, body) -> None:
        self._must_write()
        if self.command == "DELETE":
            repository.refs.pop(f"refs/tags/{rest}", None)
            return self.send({})
        tag = json.loads(body)["tag"]
        if f"refs/tags/{tag}" in repository.refs:
            raise HubError(409, "TagExists", "Tag reference exists already.")
        repository.refs[f"refs/tags/{tag}"] = self._at(repository, rest)[0]
        self.send({})

    # --- pull requests ---

    def _open_pull(self, repository, kind, name, title, status) -> int:
        number = len(repository.pulls) + 1
        pull = {"title": title, "num": number, "author": {"name": self.hub.user}, "createdAt": NOW, "status": status}
        pull |= {"repo": {"name": name, "type": kind}, "isPullRequest": True, "events": [], "filesWithConflicts": []}
        repository.pulls[number] = pull | {"changes": {"base": MAIN}, "diff": ""}
        repository.refs[f"refs/pr/{number}"] = repository.head()
        return number

    def _api_discussions(self, repository, kind, name, rest, body) -> None:
        if not rest and self.command == "POST":
            self._must_write()
            number = self._open_pull(repository, kind, name, json.loads(body)["title"], "draft")
            return self.send({"num": number, "pullRequest": True})
        if not rest:
            pulls = list(repository.pulls.values())
            return self.send({"discussions": pulls, "count": len(pulls), "start": 0})
        number, _, change = rest.partition("/")
        pull = repository.pulls.get(int(number))
        if pull is None:
            raise HubError(404, "DiscussionNotFound")
        if not change:
            return self.send(pull)
        self._must_write()
        if change == "merge":
            if pull["status"] != "open":
                raise HubError(400, "NotOpen", f"A pull request that is {pull['status']} cannot be merged.")
            self._merge(repository, pull)
        else:
            pull["status"] = json.loads(body or b"{}").get("status", pull["status"])
        event = {"id": f"{number}-{pull['status']}", "type": "status-change", "createdAt": NOW}
        self.send({"newStatus": event | {"author": pull["author"], "data": {"status": pull["status"]}}})

    def _merge(self, repository: Repository, pull: dict) -> None:
        ref = f"refs/pr/{pull['num']}"
        title = f"{pull['title']} (#{pull['num']})"
        pull["changes"]["mergeCommitId"] = repository.commit(MAIN, title, dict(repository.files(ref)))
        pull["status"] = "merged"
