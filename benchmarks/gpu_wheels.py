"""Wheels to carry to a GPU machine that reaches no registry (`make gpu-wheels`).

    python benchmarks/gpu_wheels.py --output .gpu-wheels
    python benchmarks/gpu_wheels.py --output .gpu-wheels --present torch torchvision transformers peft pandas pytest

Such a machine is taken to have Linux on x86-64, Python 3.12, and `--present` with all that those depend on. Carried is
what `setup.cfg` asks for beyond that, without what reads video files, and pytest, each in the version installed here.
"""

import argparse
import configparser
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PRESENT = ("torch", "torchvision", "transformers", "accelerate", "peft", "pyarrow")
# Reads video files, which nothing does that is measured, and would take more than half of the room.
NOT_NEEDED = ("av",)
LIMIT_MIB = 64
MACHINE = {
    "python_version": "3.12",
    "python_full_version": "3.12.3",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
}
# pip matches each exactly.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (39, 35, 34, 31, 28, 27, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def asked_for() -> list[str]:
    """The requirements of `setup.cfg` without what reads videos, and pytest for the tests marked `gpu`."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line.strip() for line in setup["options"]["install_requires"].splitlines()]
    asked = [line for line in lines if line and not line.startswith("#")]
    return [line for line in asked if Requirement(line).name not in NOT_NEEDED] + ["pytest"]


def with_dependencies(requirements: Iterable[str]) -> dict[str, str]:
    """Names and installed versions of these packages and of all that they need on the GPU machine.

    What is not installed here, such as packages of another platform or Python, is named with an empty version.
    """
    versions: dict[str, str] = {}
    waiting, seen = [Requirement(line) for line in requirements], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            versions[name] = ""
            continue
        versions[name] = found.version
        for needed in map(Requirement, found.requires or ()):
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({**MACHINE, "extra": extra}) for extra in extras):
                waiting.append(needed)
    return versions


def download(packages: dict[str, str], folder: Path) -> None:
    """Fetch one wheel of each package; the folder holds nothing else afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", MACHINE["python_version"], "--implementation", "cp"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    named = [f"{name}=={version}" if version else name for name, version in sorted(packages.items())]
    if subprocess.run([*command, "--dest", str(folder), *named], check=False).returncode:
        raise SystemExit(f"pip could not fetch all of: {' '.join(named)}")


def main() -> None:
    """Download, and fail where the wheels are larger than what such a machine takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--present", nargs="+", default=PRESENT, metavar="NAME", help="packages that are there")
    args = parser.parse_args()
    there = with_dependencies(args.present)
    carried = {name: version for name, version in with_dependencies(asked_for()).items() if name not in there}
    download(carried, args.output)
    sizes = {path.name: path.stat().st_size / 2**20 for path in sorted(args.output.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size:6.1f} MiB  {name}")
    print(f"{sum(sizes.values()):6.1f} MiB in all, at most {LIMIT_MIB}")
    if sum(sizes.values()) >= LIMIT_MIB:
        raise SystemExit("Too large: name what is there already with --present (make gpu-wheels PRESENT='torch ...')")


if __name__ == "__main__":
    main()
