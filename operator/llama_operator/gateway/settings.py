"""Settings of a gateway, which the operator writes into its Deployment: `LLAMA_GATEWAY_*` variables."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "LLAMA_GATEWAY_"


class Settings(BaseSettings):
    """One gateway, which stands for one model."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    namespace: str = Field(description="Namespace of the model.")
    lease: str = Field(description="The Lease by which gateways and operator agree.")
    name: str = Field(description="This gateway's own name: its pod's.")
    upstream: str = Field(description="The Service of the model's pods: http://HOST:PORT.")
    idle_seconds: PositiveFloat = Field(description="Without a request for so long, the pods are stopped.")
    hold_seconds: NonNegativeFloat = Field(description="How long a request waits for pods before it is answered 503.")
    max_held_requests: PositiveInt = Field(description="Requests that wait at once; the next one is answered 503.")
    at_once: PositiveInt = Field(description="Requests that are let through together of those that had to wait.")
    api_keys_dir: Path | None = Field(
        default=None, description="Folder of API keys, one a file; unset: whoever gets here may wake the model."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the model's callers; 0: any.")
    admin_port: int = Field(default=8081, ge=0, le=65535, description="Port of /healthz, /readyz, /metrics; 0: any.")
    leave_seconds: NonNegativeFloat = Field(
        default=5.0, description="How long requests are still taken after SIGTERM: until routing has noticed."
    )
    stop_seconds: PositiveFloat = Field(default=30.0, description="How long requests may take to end after that.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level.")
    log_format: Literal["json", "text"] = Field(default="json", description="Form of the log's lines.")
