"""The command `devcluster`: each verb parses, calls one function, prints."""

import json
import subprocess
import sys

import click

from devcluster import builds, cluster, images, loads
from devcluster import status as statuses
from devcluster.errors import DevclusterError
from devcluster.layout import Layout


class Group(click.Group):
    """Ends with the report of what went wrong, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except DevclusterError as error:
            click.echo(error.report(), err=True)
            ctx.exit(1)


@click.group(cls=Group)
def main() -> None:
    """A real single-node Kubernetes on a bare Debian or Ubuntu machine, without Docker."""


@main.command()
def up() -> None:
    """Make the cluster run; mend one that was killed, keep one that is healthy."""
    cluster.up(Layout.from_environment())


@main.command()
@click.option("--images", is_flag=True, help="Remove the loaded images, too.")
def down(images: bool) -> None:
    """Stop the cluster and remove all of it but the cache and the loaded images."""
    cluster.down(Layout.from_environment(), images=images)


@main.command()
def status() -> None:
    """Show each process; the exit status is 0 when all are healthy."""
    rows = statuses.observe(Layout.from_environment())
    click.echo(statuses.table(rows))
    sys.exit(0 if rows and all(row.healthy for row in rows) else 1)


@main.command()
@click.option("--load", is_flag=True, help="Load them into the running cluster, too.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def build(load: bool, names: tuple[str, ...]) -> None:
    """Build the images NAME (operator, inference, hub; all of them by default) that are not built yet."""
    builds.build(Layout.from_environment(), names, load=load)


@main.command(name="images")
def images_command() -> None:
    """Print, as JSON, the names under which the images are or would be built from the files as they are now."""
    click.echo(json.dumps({name: plan.reference for name, plan in images.plans().items()}))


@main.command()
@click.argument("image", metavar="FILE_OR_IMAGE")
def load(image: str) -> None:
    """Load an OCI archive, or one of the images that were built, into the running cluster."""
    for name in loads.load(Layout.from_environment(), image):
        click.echo(name)


@main.command()
@click.argument("process", required=False)
@click.option("-n", "--lines", default=50, show_default=True, help="How many lines from the end.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing what is added.")
def logs(process: str | None, lines: int, follow: bool) -> None:
    """Print the end of the log of PROCESS, or of every process."""
    layout = Layout.from_environment()
    files = sorted(layout.logs.glob(f"{process or '*'}.log"))
    if not files:
        names = ", ".join(sorted(file.stem for file in layout.logs.glob("*.log"))) or "none yet"
        raise DevclusterError(f"no log of {process or 'any process'}", hint=f"there are logs of: {names}")
    subprocess.run(["tail", f"-n{lines}", *(["-F"] if follow else []), *map(str, files)], check=False)


@main.command()
def kubeconfig() -> None:
    """Print the path of the administrator's kubeconfig."""
    click.echo(Layout.from_environment().kubeconfig)


@main.command()
def env() -> None:
    """Print what to `eval` so that kubectl and helm are found and speak to the cluster."""
    layout = Layout.from_environment()
    click.echo(f'export KUBECONFIG="{layout.kubeconfig}"')
    click.echo(f'export PATH="{layout.bin}:$PATH"')
