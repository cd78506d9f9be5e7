"""`rapport rebuild`: a read model made anew from the log, while the one that answers goes on answering."""

from argparse import Namespace
from functools import partial

from api.command_line.processes import make_projector
from api.command_line.tenants import opened
from api.command_line.terminal import CommandFailed, output, progress, settings_of
from api.server import collect_rarely
from infrastructure.projector import RebuildHasStopped
from projections.read_model import ReadModelNotFound


def run(given: Namespace) -> int:
    """Rebuild one read model, with a progress bar."""
    with opened(settings_of(given), "rapport rebuild") as (databases, _, tenant):
        projector = make_projector(databases, tenant)
        collect_rarely()
        with progress() as report:
            try:
                digests = projector.rebuild(given.name, partial(report, given.name))
            except ReadModelNotFound:
                known = ", ".join(sorted({model.name for model in projector.models}))
                message = f"there is no read model {given.name}; there are {known}"
                raise CommandFailed(message) from None
            except RebuildHasStopped as stopped:
                raise CommandFailed(str(stopped)) from None
            finally:
                projector.close()
    output().print(f"{given.name} is rebuilt and answers now. Its tables, by digest:")
    for name, digest in digests.items():
        output().print(f"  {name}  {digest}", soft_wrap=True)
    return 0
