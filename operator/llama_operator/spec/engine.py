"""The part of the spec that names the engine: which there are, and what each of them needs."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from llama_operator.spec.part import Part
from llama_operator.spec.values import RULES, Image, Schema, Text, rule

EngineName: TypeAlias = Literal["native", "transformers", "vllm", "tgi", "mock"]
NAMES: Final = (
    "Which engine generates. native: many requests at once, beams included, and transformers for models and parameters "
    "that it does not cover; transformers: its generate, one request at a time; vllm: vLLM in the server's process, "
    "which needs an image that has it; tgi: a server of Text Generation Inference beside ours in each pod; mock: words "
    "without a model, for load tests and for clusters without GPUs."
)
ENGINE_RULES: Final[Schema] = {
    RULES: [
        rule(
            "self.name != 'vllm' || has(self.image)",
            "engine vllm needs an image of its own: the default one has no vLLM; build one with "
            "inference/vllm.Dockerfile and name it in image",
            path=".image",
        ),
        rule(
            "self.name != 'tgi' || self.dtype in ['auto', 'float16', 'bfloat16']",
            "TGI has no float32: set dtype to auto, float16 or bfloat16",
            path=".dtype",
        ),
    ]
}


class Tgi(Part):
    """The TGI server beside ours."""

    image: Image = Field(
        default="ghcr.io/huggingface/text-generation-inference:3.3.6", description="Image of the TGI server."
    )
    args: Annotated[tuple[Text, ...], Field(max_length=64)] = Field(
        default=(), description="More arguments for `text-generation-launcher`."
    )
