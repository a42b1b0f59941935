"""Ask the Hub what a repository holds, and say in words why a request failed."""

import errno
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    httpx,  # the library's own client: httpx, and from version 2 on httpx2
    validate_repo_id,
)

from ...modeling.errors import InputError, first_line
from .folder import LocalFolder

# What requests to the Hub raise; an upload that was refused is a RuntimeError with the refusal as its cause.
FAILURES = (
    *(HfHubHTTPError, httpx.HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled),
    *(OSError, RuntimeError, ValueError, KeyError),  # the last three also for answers that cannot be read
)
KEPT = (".gitattributes",)  # the Hub's own file, which says what is large
_REASONS = {
    400: "the Hub rejects it",
    401: "there is no token, or the Hub does not know it: log in by `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there: use one with write access",
    404: "there is no such repository, or the token may not see it",
    409: "another change is being made there",
    412: "someone else published meanwhile",
    413: "it is too large for one request",
    429: "there were too many requests: wait some minutes",
    507: "the storage of the account is full: make room",
}


@dataclass(frozen=True)
class RemoteState:
    """What a repository holds.

    Attributes:
        head (`str`, *optional*): Its newest commit; `None` where there is no repository.
        files (`Mapping[str, str]`): Hash of each file, of large ones SHA-256, else git's.
        private (`bool`): Whether only members see it.
        tags (`Mapping[str, str]`): The commit of each tag.
        branches (`Collection[str]`): Names of its branches.
    """

    head: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    private: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    branches: Collection[str] = ()

    def differing(self, folder: LocalFolder) -> list[str]:
        """Names of the files that are not the same there."""
        return [name for name, file in folder.files.items() if not file.is_same(self.files.get(name))]

    def stale(self, folder: LocalFolder) -> list[str]:
        """Names of the files that are there only."""
        return sorted(self.files.keys() - folder.files.keys() - set(KEPT))

    def is_copy(self, folder: LocalFolder) -> bool:
        """Whether it holds the folder and nothing else."""
        return not self.differing(folder) and not self.stale(folder)


@dataclass(frozen=True)
class Repository:
    """A repository, and the one who asks.

    Attributes:
        api (`HfApi`): With the endpoint and the token.
        name (`str`): ORG/NAME.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
    """

    api: HfApi
    name: str
    kind: str

    @property
    def url(self) -> str:
        """Its page."""
        start = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{self.api.endpoint}/{start}{self.name}"

    def read(self) -> RemoteState:
        """What is there now.

        Raises:
            One of `FAILURES`: If the Hub does not answer as it should.
        """
        try:
            info = self.api.repo_info(self.name, repo_type=self.kind)
        except RepositoryNotFoundError:
            # Without a token, what is private looks like what is not there.
            if self.api.token is False or not _has_token(self.api):
                raise
            return RemoteState()
        refs = self.api.list_repo_refs(self.name, repo_type=self.kind)
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        branches = [branch.name for branch in refs.branches]
        return RemoteState(info.sha, self.read_files(info.sha), bool(info.private), tags, branches)

    def read_head(self) -> str | None:
        """The newest commit; `None` where there is no repository."""
        try:
            return self.api.repo_info(self.name, repo_type=self.kind).sha
        except RepositoryNotFoundError:
            return None

    def read_files(self, revision: str) -> dict[str, str]:
        """Hash of every file at a revision."""
        tree = self.api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type=self.kind)
        return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in tree if hasattr(file, "blob_id")}


def find_owner(token: str | None = None) -> str:
    """Whose token it is.

    Args:
        token (`str`, *optional*): By default that of the environment or of `hf auth login`.

    Raises:
        InputError: If the Hub does not say.
    """
    try:
        return HfApi(token=token).whoami()["name"]
    except FAILURES as error:
        reason = describe_failure(error)
        raise InputError(f"whose repositories are meant is not known ({reason}): name ORG/NAME") from error


def is_private_model(api: HfApi, model: str, revision: str | None) -> bool:
    """Whether only members see a model.

    Args:
        api (`HfApi`): With the token.
        model (`str`): ORG/NAME.
        revision (`str`, *optional*): A branch, tag or commit that must be there.

    Raises:
        InputError: If there is no such model or revision.
        One of `FAILURES`: If the Hub does not answer as it should.
    """
    try:
        return bool(api.model_info(model, revision=revision).private)
    except RevisionNotFoundError as error:
        raise InputError(f"{model} has no revision {revision} on the Hub: give a tag or a commit of it") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"there is no model {model} that this token may see: publish it first") from error


def check_name(name: str) -> None:
    """See that a name is ORG/NAME.

    Raises:
        InputError: If not.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} is no name of a repository: give ORG/NAME") from error
    if name.count("/") != 1:
        raise InputError(f"{name!r} has no owner: give ORG/NAME")


def _has_token(api: HfApi) -> bool:
    return bool(api.token if isinstance(api.token, str) else get_token())


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error is about, also where it is the cause of another."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None


def describe_failure(error: BaseException) -> str:
    """Why a request failed, in words that say what to do about it."""
    status = status_of(error)
    if status is not None:
        reason = _REASONS.get(status, "the Hub had an error" if status >= 500 else "the Hub refused")
        said = _what_the_hub_said(error) if status in (400, 403, 413) or status not in _REASONS else ""
        return f"{reason} ({status}{f': {said}' if said else ''})"
    if isinstance(error, LocalTokenNotFoundError):
        return "there is no token: log in by `hf auth login`, or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it"
    if isinstance(error, httpx.HTTPError) or isinstance(error.__cause__, httpx.HTTPError):
        return f"the connection to the Hub broke ({first_line(error.__cause__ or error)})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error.filename or 'temporary files'}): make room"
    if isinstance(error, KeyError):
        return f"an answer of the Hub lacks {error}"
    return first_line(error.__cause__ or error)


def _what_the_hub_said(error: BaseException) -> str:
    link: Any = error
    while link is not None and getattr(link, "response", None) is None:
        link = link.__cause__ or link.__context__
    text = getattr(link, "server_message", None) or ""
    return re.sub(r"\s+", " ", text).strip().rstrip(".")[:200]
