"""Permissions of saved files."""

from pathlib import Path


def share_weights_like_config(folder: str | Path, config: str = "config.json") -> None:
    """Give the weights in a folder the permissions of its configuration.

    safetensors writes files that only their owner can read, whatever the umask says.

    Args:
        folder (`str` or `Path`): A folder that `save_pretrained` wrote.
        config (`str`, *optional*, defaults to `"config.json"`): Its configuration; without one nothing changes,
            as in a process that does not save.
    """
    reference = Path(folder) / config
    if not reference.is_file():
        return
    mode = reference.stat().st_mode & 0o777
    for weights in reference.parent.glob("*.safetensors"):
        weights.chmod(mode)
