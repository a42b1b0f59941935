"""Do latents earn their place? Train every arm of a plan on the same rows, and read all of them like a sceptic.

A cell is one arm with one seed. It is trained by the DIFT trainer and read as `fourdthinker diagnose` reads: by
restricted choice after the model's own reasoning and latents, which are then replaced in turn. A finished cell is a
file; a run that was cut off goes on with the next one, and several at a time share the cells. `report.md` and
`curves.svg` are written again after each cell.
"""

import argparse
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from cells import cell_path, run_cell
from filelock import FileLock, Timeout
from plan import Arm, read_plan, run_script
from summary import write_summary

from fourdthinker.modeling.errors import InputError


def main() -> None:
    """Run the cells that are missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, metavar="FILE.yaml", help="the study")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of its cells; finished ones are kept")
    parser.add_argument("--arms", metavar="NAMES", help="only these, comma-separated")
    parser.add_argument("--cells", type=int, metavar="N", help="end after N more cells of this process")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan, folder = read_plan(args.plan), Path(args.output)
    names = list(plan.arms) if args.arms is None else args.arms.split(",")
    if unknown := [name for name in names if name not in plan.arms]:
        raise InputError(f"the plan has no arm {unknown[0]!r}: it has {', '.join(plan.arms)}")
    cells = [(arm, seed) for arm, seed in plan.cells if arm.name in names]
    missing = [cell for cell in cells if not cell_path(folder, *cell).exists()]
    for arm, seed in cells:
        if (arm, seed) not in missing:
            run_cell(plan, arm, seed, folder)  # an error if it is of another plan
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    made = 0
    for arm, seed in missing:
        if made == args.cells:
            break
        claim = claim_cell(folder, arm, seed)
        if claim is None:  # another process is at it
            continue
        with claim:
            if cell_path(folder, arm, seed).exists():
                continue
            result = run_cell(plan, arm, seed, folder)
        made += 1
        own = result["right"][arm.read]
        print(f"{arm.name}, seed {seed}: {own.count('1') / len(own):.1%} of {len(own)}", flush=True)
        write_summary(plan, folder)
    print(write_summary(plan, folder))


def claim_cell(folder: Path, arm: Arm, seed: int) -> AbstractContextManager | None:
    """A lock to hold while a cell is made, or nothing if another process has it.

    The kernel frees it when its process ends, however that is.
    """
    try:
        return FileLock(folder / "locks" / f"{arm.name}-{seed}", blocking=False).acquire()
    except Timeout:
        return None


if __name__ == "__main__":
    run_script(main)
