"""A Hub on loopback for tests: commits, branches, tags, pull requests, large files, rights, and faults on demand.

    hub.environment(home)                               # what a client process needs to see this Hub and no other
    hub.repo("model", "me/tiny").files()                # {path: bytes} at the head of main
    hub.requests                                        # [(method, path, status)], in order
    hub.fail("PUT", r"/_lfs/", how="drop")              # break the next upload of a large file
    hub.fail_request(7, how="lost")                     # break the seventh request from now

huggingface_hub reads its environment when it is imported, so clients belong in a process of their own. Xet needs a
server of its own and is switched off, which leaves regular files and LFS. Not served: the dataset viewer, collections,
jobs, inference, logins.
"""

from .repository import Repository, blob_id, is_large, sha256
from .server import LocalHub

__all__ = ["LocalHub", "Repository", "blob_id", "is_large", "sha256"]
