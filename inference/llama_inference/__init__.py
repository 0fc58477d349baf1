"""The predict server: loads one Llama-architecture model and answers `POST /predict`."""

from importlib.metadata import version

__version__ = version("llama-inference")
