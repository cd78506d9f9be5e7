"""Rapport without encryption, for the control of the search: `python -m tests.secrecy.unencrypted serve …`.

Nothing in the product can switch encryption off. This program replaces the two functions that seal and open a value,
in every process that it starts.
"""

import sys
from functools import partial

from api.command_line import main, serving
from infrastructure import codec
from infrastructure.encryption import Place
from infrastructure.supervisor import Supervisor

PROGRAM = (sys.executable, "-m", "tests.secrecy.unencrypted")


def as_it_is(value: str, _key: bytes, _place: Place) -> str:
    """Stands for both sealing and opening."""
    return value


if __name__ == "__main__":
    vars(codec).update(seal=as_it_is, unseal=as_it_is)
    vars(serving).update(
        Supervisor=partial(
            Supervisor, api_command=(*PROGRAM, "api-process"), projector_command=(*PROGRAM, "projector-process")
        )
    )
    sys.exit(main())
