"""A process that publishes on request: huggingface_hub is imported once, each publication is a fork of it.

On standard input a line of arguments as JSON, then, after it has answered with the fork's process id, an empty line;
it answers with the fork's exit code and what it printed.
"""

import json
import os
import sys
import tempfile
import traceback
from time import sleep


def publish(arguments: dict) -> int:
    from fourdthinker.hub_cards.publishing.publish import publish_folder
    from fourdthinker.modeling.errors import InputError

    try:
        publish_folder(**arguments)
    except InputError as error:
        print(f"error: {error}")
        return 2
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


def main() -> None:
    import huggingface_hub.utils._http as http

    import fourdthinker.hub_cards.publishing.publish  # noqa: F401

    http.time.sleep = lambda seconds: sleep(min(seconds, 0.01))  # between its own repetitions
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as output:
            start, go = os.pipe()
            child = os.fork()
            if child == 0:
                os.dup2(output.fileno(), 1)
                os.read(start, 1)
                code = publish(json.loads(line))
                sys.stdout.flush()
                os._exit(code)
            print(child, flush=True)
            sys.stdin.readline()
            os.write(go, b".")
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.close(start)
            os.close(go)
            output.seek(0)
            print(json.dumps([code, output.read()]), flush=True)


if __name__ == "__main__":
    main()
