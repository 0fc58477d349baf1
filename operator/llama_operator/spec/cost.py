"""`spec.cost`: what a GPU costs, so that the status can say what tokens cost."""

from typing import Annotated

from pydantic import Field

from llama_operator.spec.part import Part


class CostSpec(Part):
    """What a GPU costs."""

    price_per_gpu_hour: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Price of one GPU for an hour, in whatever currency; set, the status has the cost of a million "
        "generated tokens.",
    )
