"""The command line `rapport`: one module for each command, read only when it is asked for.

parser     what can be said, and the help; parser_of_backups and parser_parts are parts of it
terminal   what all commands share: where they write, and how they fail
serving    serve
processes  api-process and projector-process, which serve starts
importing  import
keys       keys create, list and revoke
status     status
rebuilding rebuild
catalogue  events
history    history
backups    backup, restore and check log
epochs     epoch begin and list
encryption encryption show, rotate, save and bring
checking   verify-settings and check
tenants    the tenant that the settings name
pages      pages of the documentation that are made of the program
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from api.command_line.parser import PROCESSES, make_parser, make_process_parser
from api.command_line.terminal import CommandFailed, fail


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. 0: done. 1: done, with something to look at. 2: not understood."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_process_parser() if words[:1] and words[0] in PROCESSES else make_parser()
    given = parser.parse_args(words)
    module = import_module(f"api.command_line.{given.module}")
    try:
        status: int = module.run(given)
    except CommandFailed as failure:
        return fail(str(failure), failure.status)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever reads us, such as head, has seen enough; nothing more can be written, not even by the interpreter.
        sys.stdout = None
        return 0
    return status
