"""A stand-in for a server of Text Generation Inference: it checks requests and answers by TGI's own description."""

from tests.support.tgi.server import TgiServer

__all__ = ["TgiServer"]
