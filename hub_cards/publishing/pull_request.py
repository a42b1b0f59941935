"""Send what is too much for one commit: fill a pull request in several commits, and merge it when it is whole.

Readers of `main` see nothing of it before. An interrupted one is found again by its title, which names the content of
the folder and the head that it replaces.
"""

import hashlib
from collections.abc import Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from ...modeling.errors import InputError
from .folder import LocalFolder
from .hub_access import RemoteState, Repository
from .upload import (
    AGAIN,
    MAX_COMMIT_BYTES,
    MAX_FILES,
    Report,
    commit,
    plan_operations,
    small_bytes,
    upload_large_files,
)

_PART_FILES = MAX_FILES // 2
_PART_BYTES = MAX_COMMIT_BYTES // 4


def send_by_pull_request(
    repository: Repository, folder: LocalFolder, before: RemoteState, message: str, description: str, report: Report
) -> str:
    """Fill a pull request with a folder, merge it, and give the commit on `main`; see [`send_folder`].

    Large files have been sent before.

    Raises:
        InputError: If someone else has committed meanwhile.
        One of `FAILURES`: If the Hub does not answer as it should; what is in the pull request is kept.
    """
    api, name, kind = repository.api, repository.name, repository.kind
    number = _open_pull_request(repository, folder, before, message, description)
    reference = f"refs/pr/{number}"
    left = None
    while operations := plan_operations(folder, state := _read(repository, reference)):
        if left is not None and len(operations) >= left:
            raise InputError(f"pull request {number} of {name} does not take {operations[0].path_in_repo}: {AGAIN}")
        assert state.head is not None
        left = len(operations)
        report(f"pull request {number}: {left} files left")
        part = _take_part(repository, operations, folder, report)
        commit(repository, part, f"{message}: part", description, state.head, reference)
    details = api.get_discussion_details(name, number, repo_type=kind)
    if details.status == "draft":
        api.change_discussion_status(name, number, new_status="open", repo_type=kind)
    if repository.read_head() != before.head:
        line = f"{name} has a newer commit of someone else, and nothing was changed on main"
        raise InputError(f"{line}: look at it, then publish again")
    if details.status != "merged":
        api.merge_pull_request(name, number, comment=message, repo_type=kind)
    head = repository.read_head()
    if head is None or not RemoteState(head, repository.read_files(head)).is_copy(folder):
        raise InputError(f"pull request {number} of {name} is whole, and main does not show it yet: {AGAIN}")
    return head


def _open_pull_request(
    repository: Repository, folder: LocalFolder, before: RemoteState, message: str, description: str
) -> int:
    """The pull request of this folder on this head: one that was left open, or a new one."""
    title = f"{message}: {_digest(folder, before)}"
    # On a public repository anybody may open one of that title, and change it until it is merged.
    owner = repository.api.whoami()["name"]
    open_ones = repository.api.get_repo_discussions(
        repository.name, repo_type=repository.kind, discussion_type="pull_request"
    )
    for one in open_ones:
        if one.title == title and one.author == owner and one.status in ("open", "draft"):
            return one.num
    made = repository.api.create_pull_request(
        repository.name, title=title, description=description or message, repo_type=repository.kind
    )
    return made.num


def _digest(folder: LocalFolder, before: RemoteState) -> str:
    text = f"{before.head}\n" + "\n".join(f"{name} {file.sha256}" for name, file in sorted(folder.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(repository: Repository, reference: str) -> RemoteState:
    head = repository.api.repo_info(repository.name, repo_type=repository.kind, revision=reference).sha
    return RemoteState(head, repository.read_files(head))


def _take_part(
    repository: Repository,
    operations: Sequence[CommitOperationAdd | CommitOperationDelete],
    folder: LocalFolder,
    report: Report,
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """The first operations that fit into one commit; at least one."""
    part = list(operations[:_PART_FILES])
    upload_large_files(repository, part, folder, report)  # which are there already; it finds out which are small
    size = 0
    for number, operation in enumerate(part):
        size += small_bytes([operation], folder)
        if number and size > _PART_BYTES:
            return part[:number]
    return part
