"""`init`: a folder with a new package, in truss's own shape."""

from pathlib import Path
from typing import Final

import click
import yaml

from kubectl_llama.ask.resource import label
from kubectl_llama.edge import terminal
from kubectl_llama.errors import CliError, RefusedError

_MODEL: Final = '''"""
The `Model` class is the interface between the model that you bring and the server.

`load` runs once when the server starts; `predict` for each request.
"""


class Model:
    def __init__(self, **kwargs):
        # kwargs holds config, secrets, data_dir and environment.
        self._model = None

    def load(self):
        # Load the model here and assign it to self._model.
        self._model = str.upper

    def predict(self, model_input):
        # Run the model on the input of a request; what is returned is its answer.
        return {"answer": self._model(model_input["prompt"])}
'''


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("-n", "--name", metavar="NAME", help="Name of the model; else that of the folder.")
def command(directory: Path, *, name: str | None) -> None:
    """Write a new Truss package into a folder: config.yaml and model/model.py.

    The files are those of `truss init`, so that truss itself takes them as well.
    """
    if (directory / "config.yaml").exists() or (directory / "model").exists():
        fix = "name a folder that does not exist yet"
        raise RefusedError(f"{directory} holds a package already", fix=fix, field="DIR", code="Exists")
    called = name or directory.resolve().name
    config = {
        "model_name": called,
        "python_version": "py313",
        "requirements": [],
        "resources": {"accelerator": None, "cpu": "1", "memory": "2Gi", "use_gpu": False},
        "secrets": {},
        "model_metadata": {"example_model_input": {"prompt": "hello"}},
    }
    try:
        (directory / "model").mkdir(parents=True)
        (directory / "model" / "__init__.py").touch()
        (directory / "model" / "model.py").write_text(_MODEL)
        (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    except OSError as error:
        raise CliError(f"{directory} cannot be written: {error.strerror}", field="DIR") from None
    terminal.say(f"wrote {directory}; serve it with: kubectl llama push {directory}")
    terminal.say(f"""then ask it: kubectl llama predict {label(called)} -d '{{"prompt": "hello"}}'""")
