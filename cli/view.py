"""`fourdthinker view`: one clip of a build in rerun's viewer."""

import argparse
import signal
from pathlib import Path

from ..modeling.atomic import remove_leftovers
from ..modeling.errors import InputError

RECORDINGS = "recordings"
_PORT = 9090


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("output", metavar="OUT", help="folder that `build-data` has written from videos")
    parser.add_argument("clip", metavar="CLIP", nargs="?", help="name of a clip (default: the first with questions)")
    parser.add_argument(
        "--source", metavar="FOLDER", help="where the videos are now, if not where the build has read them"
    )
    parser.add_argument(
        "--rrd", metavar="FILE", help=f"recording to write (default: {RECORDINGS}/CLIP.rrd in the folder of the build)"
    )
    parser.add_argument("--save-only", action="store_true", help="write the recording and serve no viewer")
    parser.add_argument(
        "--port", type=int, default=_PORT, help=f"port of the viewer on this machine; 0: any (default: {_PORT})"
    )


def run(args: argparse.Namespace) -> None:
    """Write the recording of a clip and serve it until Ctrl-C."""
    import rerun  # noqa: F401 - before the clip is decoded, not after

    from ..dataset_builders.viewing.build_clips import open_clip
    from ..dataset_builders.viewing.recording import write_recording

    if not 0 <= args.port <= 65535:
        raise InputError(f"--port must be between 0 and 65535, got {args.port}")
    output = Path(args.output)
    built = open_clip(output, args.clip, None if args.source is None else Path(args.source))
    recording = Path(args.rrd or output / RECORDINGS / f"{built.record.clip}.rrd")
    if recording.suffix != ".rrd" or recording.is_dir():
        raise InputError(f"{recording} is no name of a recording: name a file that ends in .rrd with --rrd")
    remove_leftovers(recording.parent)
    write_recording(recording, built)
    print(f"{built.record.clip} (clip {built.number} of {built.count}): {recording}")
    if not args.save_only:
        _serve(recording, args.port)


def _serve(recording: Path, port: int) -> None:
    """Serve the viewer until the process is interrupted or terminated."""
    from ..dataset_builders.viewing.web_viewer import ViewerServer, viewer_files

    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ViewerServer(recording, viewer_files(), port) as server:
            print(f"open {server.url}\nCtrl-C ends the viewer", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print("ended")
    finally:
        signal.signal(signal.SIGTERM, previous)
