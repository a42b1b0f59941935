"""Publish a model, a dataset or a Space: check, show, send, compare, load back, tag."""

import re
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi

from ...modeling.atomic import check_writable
from ...modeling.errors import InputError, first_line
from ..own_text import is_generated
from .findings import Finding
from .folder import LocalFolder, find_files, hash_files
from .hub_access import FAILURES, RemoteState, Repository, check_name, describe_failure, is_private_model
from .loading_back import check_loads, read_folder
from .preparation import CARD, prepare_files
from .preview import describe_plan, format_bytes
from .record import record_path, write_record
from .refusals import describe_faults, find_faults
from .upload import AGAIN, Report, send_folder

MAX_SIZE = 100_000_000_000  # bytes


class Published(NamedTuple):
    """What was published.

    Attributes:
        repo_id (`str`): ORG/NAME.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
        commit (`str`, *optional*): The commit that holds the folder; `None` after a dry run.
        tag (`str`, *optional*): Its tag.
        url (`str`): Its page.
    """

    repo_id: str
    kind: str
    commit: str | None
    tag: str | None
    url: str


def publish_model(folder: str | PathLike, repo_id: str, **options) -> Published:
    """Publish a saved model or adapter with its processor, code and card.

    Args:
        folder (`str` or `PathLike`): What `save_pretrained` or a training has written. Where it has our card and the
            example that the card shows, the model answers that first, if these weights have not: files below `assets/`
            are written anew.
        repo_id (`str`): Where: ORG/NAME. A new repository is private unless `public=True`.
        options: Those of [`publish_folder`].

    Returns:
        [`Published`]

    Raises:
        InputError: See [`publish_folder`].
    """
    return publish_folder(folder, repo_id, "model", **options)


def publish_dataset(folder: str | PathLike, repo_id: str, **options) -> Published:
    """Publish a folder of rows with its card; see [`publish_model`] for the arguments."""
    return publish_folder(folder, repo_id, "dataset", **options)


def publish_space(
    folder: str | PathLike, repo_id: str, model: str | None = None, revision: str | None = None, **options
) -> Published:
    """Publish the page about a model as a Space; see [`publish_model`] for further arguments.

    Args:
        folder (`str` or `PathLike`): The Space's files; with `model` they are written there first.
        repo_id (`str`): Where: ORG/NAME.
        model (`str`, *optional*): The published model that the page shows; it must be on the Hub.
        revision (`str`, *optional*): Its tag or commit, which must be there too.
        options: Those of [`publish_folder`].
    """
    if model is not None:
        from ..page.space import write_space_folder

        check_name(model)
        _look_for_model(model, revision, **options)
        write_space_folder(Path(folder), model=model, revision=revision)
    elif revision is not None:
        raise InputError("a revision is of a model: name the model too")
    return publish_folder(folder, repo_id, "space", **options)


def publish_folder(
    folder: str | PathLike,
    repo_id: str,
    kind: str,
    *,
    public: bool = False,
    tag: str | None = None,
    allow: Collection[str] = (),
    max_size: int = MAX_SIZE,
    dry_run: bool = False,
    check: bool = True,
    check_seconds: float | None = None,
    message: str = "Publish with fourdthinker",
    token: str | None = None,
    report: Report = print,
) -> Published:
    """Make a repository hold a folder and nothing else, in one step; see `docs/publishing.md`.

    Args:
        folder (`str` or `PathLike`): What to publish. Its files stay as they are, but for the example of our card.
        repo_id (`str`): Where: ORG/NAME.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
        public (`bool`, *optional*, defaults to `False`): Create a public repository, if it is new.
        tag (`str`, *optional*): Name of the revision, which the card's code then loads.
        allow (`Collection[str]`, *optional*): Names of findings that are let pass and noted in the commit.
        max_size (`int`, *optional*): Most bytes of all files.
        dry_run (`bool`, *optional*, defaults to `False`): Only check and show.
        check (`bool`, *optional*, defaults to `True`): Load what was published in a process of its own.
        check_seconds (`float`, *optional*): How long each of the two loadings may take; by default half an hour, and a
            second more for every 2 MB.
        message (`str`, *optional*): Title of the commit.
        token (`str`, *optional*): Of the Hub; by default the one of the environment or of `hf auth login`.
        report (`Callable[[str], None]`, *optional*): Takes each line for the user.

    Returns:
        [`Published`]

    Raises:
        InputError: If something must not be published, or the Hub does not take it; the line says what is on the Hub.
    """
    path = Path(folder)
    check_name(repo_id)
    _check_tag(tag)
    found = prepare_files(find_files(path), repo_id, tag)
    allowed = _refuse(found, kind, set(allow), max_size)
    if kind == "model" and not dry_run and _answers_example(found, report):
        found = prepare_files(find_files(path), repo_id, tag)
    repository = Repository(HfApi(token=token), repo_id, kind)
    local = hash_files(found)
    before = _look(repository, dry_run, report)
    for line in describe_plan(local, repo_id, kind, before, not public):
        report(line)
    for finding in allowed:
        report(f"let pass by --allow: {finding.name} {finding.fault}")
    if before is not None:
        _check_tag_is_free(repository, local, before, tag)
    if dry_run or before is None:
        report("nothing was sent: this was a dry run")
        return Published(repo_id, kind, None, None, repository.url)
    check_writable(record_path(path))
    expected = read_folder(local, kind, check_seconds) if check else None
    description = "".join(f"Allowed: {finding.name} {finding.fault}\n" for finding in allowed)
    commit = send_folder(repository, local, before, not public, message, description, report)
    return _finish(repository, local, commit, tag, expected, check_seconds, report)


def _answers_example(folder: LocalFolder, report: Report) -> bool:
    """Have the example in a model's card answered by the weights beside it, if the folder has one."""
    from ..example_answer import answer_example, find_clip

    card = folder.text(CARD)
    if card is None or not is_generated(card) or find_clip(folder.path) is None:
        return False
    answer_example(folder.path)
    report("card: its example is answered by these weights")
    return True


def _finish(
    repository: Repository,
    local: LocalFolder,
    commit: str,
    tag: str | None,
    expected: Any,
    check_seconds: float | None,
    report: Report,
) -> Published:
    """Compare what is there with what was sent, load it back, tag it, and note it."""
    start = f"{repository.name} holds the folder as commit {commit[:7]}"
    try:
        state = RemoteState(commit, repository.read_files(commit))
    except FAILURES as error:
        raise InputError(f"{start}, but it could not be compared: {describe_failure(error)}. {AGAIN}") from error
    if wrong := [*state.differing(local), *state.stale(local)]:
        raise InputError(f"{repository.name} at {commit[:7]} differs from the folder in {wrong[0]}: {AGAIN}")
    report(f"compared: {len(local.files)} files at {commit[:7]} have the hashes of the folder")
    if expected is None:
        report("not loaded back: " + ("a Space runs on the Hub" if repository.kind == "space" else "--no-check"))
    else:
        report(check_loads(repository, local, commit, expected, check_seconds))
    if tag is not None:
        set_tag(repository, tag, commit, start)
    try:
        record = write_record(local.path, repository.name, repository.kind, commit, tag, repository.url)
    except OSError as error:
        reason = describe_failure(error)
        raise InputError(f"{start}, but {record_path(local.path)} was not written: {reason}. {AGAIN}") from error
    report(
        f"published {repository.url} as commit {commit}" + (f", tag {tag}" if tag else "") + f" (noted in {record})"
    )
    return Published(repository.name, repository.kind, commit, tag, repository.url)


def _refuse(folder: LocalFolder, kind: str, allow: set[str], max_size: int) -> list[Finding]:
    """Stop at what must not be published; gives what was let pass."""
    faults = find_faults(folder, kind)
    if unknown := allow - {fault.name for fault in faults}:
        raise InputError(f"--allow {min(unknown)}: nothing was found there; leave it out")
    if refused := [fault for fault in faults if fault.name not in allow]:
        raise InputError(describe_faults(folder.path, refused))
    if folder.size > max_size:
        size, most = format_bytes(folder.size), format_bytes(max_size)
        raise InputError(f"{folder.path} has {size}, more than {most}: give a larger --max-size if it is meant")
    return faults


def _look(repository: Repository, dry_run: bool, report: Report) -> RemoteState | None:
    """What is on the Hub; `None` if it cannot be asked and this is a dry run."""
    try:
        return repository.read()
    except FAILURES as error:
        reason = describe_failure(error)
        if dry_run:
            report(f"not compared with the Hub: {reason}")
            return None
        raise InputError(f"{repository.name} cannot be read, and nothing was sent: {reason}") from error


def _look_for_model(
    model: str,
    revision: str | None,
    *,
    token: str | None = None,
    dry_run: bool = False,
    report: Report = print,
    **_: Any,
) -> None:
    """See that what a page is to show is there, and say who can see it."""
    try:
        private = is_private_model(HfApi(token=token), model, revision)
    except InputError:
        raise
    except FAILURES as error:
        reason = describe_failure(error)
        if not dry_run:
            raise InputError(f"{model} cannot be looked for, and nothing was sent: {reason}") from error
        report(f"whether {model} is on the Hub was not asked: {reason}")
        return
    if private:
        report(f"{model} is private: its page needs a secret HF_TOKEN that may read it")


def _check_tag(tag: str | None) -> None:
    if tag is None:
        return
    if not re.fullmatch(r"[\w][\w.-]*", tag) or ".." in tag or tag == "main" or tag.endswith((".lock", ".")):
        raise InputError(f"--tag {tag!r}: a tag is letters, digits, dots and dashes, such as v1")
    if re.fullmatch(r"[0-9a-f]{40}", tag):  # which libraries do not ask the Hub about
        raise InputError(f"--tag {tag} reads like a commit: choose another name, such as v1")


def _check_tag_is_free(repository: Repository, local: LocalFolder, before: RemoteState, tag: str | None) -> None:
    if tag in before.branches:
        raise InputError(
            f"{repository.name} has a branch {tag}, so a tag of that name would not be found: choose another"
        )
    if tag is None or tag not in before.tags:
        return
    if before.tags[tag] != before.head or not before.is_copy(local):
        commit = before.tags[tag][:7]
        raise InputError(f"tag {tag} of {repository.name} is already at {commit}: choose another name")


def set_tag(repository: Repository, tag: str, commit: str, start: str) -> None:
    """Put a tag at a commit; if the answer is lost, look whether it is there.

    Raises:
        InputError: If it is not; the line begins with `start`.
    """
    api, name, kind = repository.api, repository.name, repository.kind
    try:
        refs = api.list_repo_refs(name, repo_type=kind)
        if any(one.name == tag and one.target_commit == commit for one in refs.tags):
            return
        api.create_tag(name, tag=tag, revision=commit, repo_type=kind)
    except FAILURES as error:
        reason = describe_failure(error)
        try:
            tags = {one.name: one.target_commit for one in api.list_repo_refs(name, repo_type=kind).tags}
        except FAILURES as second:
            line = f"{start}, and whether tag {tag} was made is not known ({first_line(second)})"
            raise InputError(f"{line}: {AGAIN}") from error
        if tags.get(tag, commit) != commit:
            line = f"{start}, but tag {tag} was put at {tags[tag][:7]} meanwhile"
            raise InputError(f"{line}: publish again with another tag") from error
        if tag not in tags:
            raise InputError(f"{start}, but tag {tag} was not made: {reason}. {AGAIN}") from error
