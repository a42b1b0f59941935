"""Send a folder to the Hub so that `main` is as it was or as it should be, never between.

1. Large files go first: the Hub keeps them by hash, so none is sent twice, whatever happens.
2. One commit then adds, changes and deletes everything, on the head that was looked at. What is too much for one
   commit goes through a pull request ([`send_by_pull_request`]), which is merged when it is whole.
3. Whatever fails, the Hub is asked what it holds: the answer to a commit may be lost after it was made.
"""

from collections.abc import Callable, Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from ...modeling.errors import InputError
from .folder import LocalFile, LocalFolder
from .hub_access import FAILURES, KEPT, RemoteState, Repository, describe_failure, status_of

MAX_FILES = 500  # of one commit
MAX_COMMIT_BYTES = 100_000_000  # of the small files in it, which travel inside the request
_BATCH_BYTES = 2_000_000_000  # of large files between two lines of progress
AGAIN = "run the same command again"
Report = Callable[[str], None]


def send_folder(
    repository: Repository,
    folder: LocalFolder,
    before: RemoteState,
    private: bool,
    message: str,
    description: str,
    report: Report,
) -> str:
    """Make the repository hold a folder and nothing else.

    Args:
        repository ([`Repository`]): Where; it is created if it is not there.
        folder ([`LocalFolder`]): What.
        before ([`RemoteState`]): What was there when it was looked at.
        private (`bool`): Of a repository that is created.
        message (`str`): Title of the commit.
        description (`str`): Its text.
        report (`Callable[[str], None]`): Takes lines on how far it is.

    Returns:
        `str`: The commit that holds the folder.

    Raises:
        InputError: If it could not be sent; the line says what the Hub holds now and what to do.
    """
    if before.head is None:
        before = _create(repository, private)
    assert before.head is not None
    if before.is_copy(folder):
        return before.head
    operations = plan_operations(folder, before)
    try:
        upload_large_files(repository, operations, folder, report)
        if len(operations) <= MAX_FILES and small_bytes(operations, folder) <= MAX_COMMIT_BYTES:
            try:
                _check_unchanged(folder, _additions(operations))
                return commit(repository, operations, message, description, before.head)
            except FAILURES as error:
                if status_of(error) != 413:
                    raise
        from .pull_request import send_by_pull_request

        return send_by_pull_request(repository, folder, before, message, description, report)
    except FAILURES as error:
        if isinstance(error, InputError):
            raise
        return settle(repository, folder, before.head, error)


def plan_operations(folder: LocalFolder, before: RemoteState) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What turns one state of a repository into a folder."""
    names = before.differing(folder)
    added = [CommitOperationAdd(name, _source(folder.files[name])) for name in names]
    return [*added, *(CommitOperationDelete(name, is_folder=False) for name in before.stale(folder))]


def _source(file: LocalFile) -> str | bytes:
    return file.source if isinstance(file.source, bytes) else str(file.source)


def _additions(operations: Sequence[CommitOperationAdd | CommitOperationDelete]) -> list[CommitOperationAdd]:
    return [operation for operation in operations if isinstance(operation, CommitOperationAdd)]


def small_bytes(operations: Sequence[CommitOperationAdd | CommitOperationDelete], folder: LocalFolder) -> int:
    """Bytes that travel inside a commit, after [`upload_large_files`] has found out which do."""
    small = (one for one in _additions(operations) if one._upload_mode == "regular")
    return sum(folder.files[one.path_in_repo].size for one in small)


def upload_large_files(
    repository: Repository,
    operations: Sequence[CommitOperationAdd | CommitOperationDelete],
    folder: LocalFolder,
    report: Report,
) -> None:
    """Send what the Hub stores by hash, before any commit names it.

    Raises:
        InputError: If a file was changed since it was read.
        One of `FAILURES`: If the Hub does not take it.
    """
    total = sum(folder.files[one.path_in_repo].size for one in _additions(operations))
    sent = size = 0
    batch = list[CommitOperationAdd]()
    waiting = _additions(operations)
    for number, addition in enumerate(waiting):
        batch.append(addition)
        size += folder.files[addition.path_in_repo].size
        if size < _BATCH_BYTES and number + 1 < len(waiting):
            continue
        _check_unchanged(folder, batch)
        # The Hub would leave out what a .gitignore names, without a word.
        repository.api.preupload_lfs_files(
            repository.name,
            additions=batch,
            repo_type=repository.kind,
            gitignore_content="",
            free_memory=False,
        )
        sent += size
        if total >= _BATCH_BYTES:
            report(f"sent {sent / 1e9:.1f} of {total / 1e9:.1f} GB")
        batch, size = [], 0


def _check_unchanged(folder: LocalFolder, additions: Sequence[CommitOperationAdd]) -> None:
    for addition in additions:
        if folder.files[addition.path_in_repo].has_changed():
            raise InputError(f"{addition.path_in_repo} was changed while it was published: {AGAIN}")


def commit(
    repository: Repository,
    operations: Sequence[CommitOperationAdd | CommitOperationDelete],
    message: str,
    description: str,
    parent: str,
    revision: str | None = None,
) -> str:
    """Make one commit on a parent, and give its hash.

    Raises:
        One of `FAILURES`: If it was not made, or nobody knows.
    """
    return repository.api.create_commit(
        repository.name,
        list(operations),
        commit_message=message,
        commit_description=description,
        repo_type=repository.kind,
        revision=revision,
        parent_commit=parent,
    ).oid


def _create(repository: Repository, private: bool) -> RemoteState:
    """Create the repository, and look whether it is there: its answer may be lost, or say that it is there already."""
    options = {"space_sdk": "gradio"} if repository.kind == "space" else {}
    failure: BaseException | None = None
    try:
        repository.api.create_repo(repository.name, repo_type=repository.kind, private=private, **options)
    except FAILURES as error:
        failure = error
    try:
        state = repository.read()
    except FAILURES as error:
        line = f"{describe_failure(failure or error)}; whether {repository.name} was created is not known"
        raise InputError(f"{line}, and nothing was sent: {AGAIN}") from error
    if state.head is None:
        reason = describe_failure(failure) if failure else "the token may not see it"
        raise InputError(f"{repository.name} was not created: {reason}; nothing was sent") from failure
    # Someone else may have created it since it was looked at: nothing of theirs was shown, nor who reads it.
    if (private and not state.private) or state.files.keys() - {*KEPT, "README.md"}:
        raise InputError(f"{repository.name} was created by someone else meanwhile, and nothing was sent: {AGAIN}")
    return state


def settle(repository: Repository, folder: LocalFolder, before: str, error: BaseException) -> str:
    """After a failure, ask the Hub what it holds: the commit, if it was made after all.

    Raises:
        InputError: If it was not made, or the Hub does not say.
    """
    reason = describe_failure(error)
    try:
        head = repository.read_head()
        files = repository.read_files(head) if head else {}
    except FAILURES as second:
        if status_of(error) in (401, 403):
            raise InputError(f"{repository.name} is unchanged: {reason}") from error
        line = f"{reason}, and the Hub does not say what {repository.name} holds now ({describe_failure(second)})"
        raise InputError(f"{line}: {AGAIN}, which looks first") from error
    if head is None:
        raise InputError(f"{repository.name} is gone from the Hub: {AGAIN}") from error
    if head != before:
        if RemoteState(head, files).is_copy(folder):
            return head
        line = f"{repository.name} has a newer commit of someone else ({head[:7]}), and nothing was changed"
        raise InputError(f"{line}: look at it, then publish again") from error
    raise InputError(f"{repository.name} is unchanged: {reason}. What was sent is kept: {AGAIN}") from error
