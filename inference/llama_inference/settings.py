"""Settings: one frozen class per process; name, default, unit and effect in one place.

The names and their meaning are an interface with the operator, see `docs/architecture.md`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from llama_inference.errors import ConfigurationError
from llama_inference.values import BackendName, Json

PREFIX = "LLAMA_INFERENCE_"
OPERATORS_TOKEN_FILE = Path("/run/secrets/llama-operator.dev/hub/token")
Dtype = Literal["auto", "float32", "float16", "bfloat16"]


class Settings(BaseSettings):
    """The server's settings, from the environment; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", protected_namespaces=()
    )

    model: str = Field("", description="Hub repository, such as meta-llama/Llama-2-70b-chat-hf.")
    revision: str = Field("main", description="Branch, tag or commit.")
    model_dir: Path | None = Field(None, description="Local folder with a model: nothing is fetched from the Hub.")
    served_name: str = Field("", description="Name under /v1/models/{name}; the model's when empty.")
    endpoint: str = Field("https://huggingface.co", description="Hub endpoint.")
    cache_dir: Path = Field(Path("/var/cache/llama"), description="Where models are kept between restarts.")
    offline: bool = Field(
        default=False,
        description="Serve from the cache alone, which may be read only: nothing is asked of the Hub.",
    )
    token_file: Path | None = Field(None, description="File with the Hub token; may be absent and may change.")
    api_keys_dir: Path | None = Field(
        None, description="Folder with an API key in each file, named by it; set, a key is required, also while empty."
    )
    dtype: Dtype = Field("auto", description="auto: float16 on a GPU, else the widest type the processor computes.")
    max_context_tokens: PositiveInt | None = Field(None, description="Upper bound for prompt + output.")
    max_queue: NonNegativeInt = Field(64, description="Requests waiting for the engine; the next is answered 429.")
    generation_defaults: dict[str, Json] = Field(default_factory=dict, description="Parameter → default value.")
    generation_maximums: dict[str, Json] = Field(default_factory=dict, description="Parameter → largest value.")
    golden_prompts: list[dict[str, Json]] = Field(
        default_factory=list[dict[str, Json]],
        description="Prompts and what their answers must be, asked before the server is ready; see docs/predict.md.",
    )
    drain_seconds: NonNegativeFloat = Field(30.0, description="How long requests may finish after SIGTERM.")
    drain_notice_seconds: NonNegativeFloat = Field(
        5.0, description="How long requests are still taken after SIGTERM, not ready already, until routing notices."
    )
    cors_origins: list[str] = Field(
        default_factory=list[str],
        description='Origins whose pages may call from a browser, as a JSON list such as ["https://app.example.com"]; '
        '["*"] are all.',
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - a pod's own address is unknown
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    request_seconds: PositiveFloat = Field(
        60.0, description="How long a caller may take to send a request, head and body; then 408."
    )
    unread_seconds: PositiveFloat = Field(
        300.0, description="How long a caller may leave its answer unread; then the connection is closed."
    )
    download_timeout_seconds: PositiveFloat = Field(30.0, description="Silence after which a transfer is resumed.")
    download_workers: PositiveInt = Field(4, description="Files fetched at the same time.")
    retry_seconds: PositiveFloat = Field(2.0, description="First wait before a failed stage is tried again; doubles.")
    retry_max_seconds: PositiveFloat = Field(60.0, description="Longest wait before a failed stage is tried again.")
    backend: BackendName | Literal["package"] = Field(
        "native",
        description="native: many requests at once, and transformers for models and parameters that it does not cover; "
        "transformers: one request at a time; vllm: vLLM in this process; tgi: a TGI server at tgi_url; mock: words "
        "without a model; package: a Truss package, served by truss's own server in package_dir.",
    )
    max_body_bytes: PositiveInt = Field(
        default_factory=lambda given: 100 << 20 if given.get("backend") == "package" else 4 << 20,
        description="Largest request body; above it 413. By default 4 MiB, and 100 MiB for a package.",
    )
    package_dir: Path = Field(
        Path("/run/package"), description="Package backend: folder shared with its supervisor: socket and report."
    )
    package_concurrency: PositiveInt | None = Field(
        None, description="Package backend: predict_concurrency until the package itself says it; else 1."
    )
    max_concurrent_sequences: PositiveInt = Field(
        64, description="Sequences computed at once, each beam one; not for the transformers backend."
    )
    kv_cache_tokens: PositiveInt | None = Field(
        None, description="Native engine: tokens whose keys and values are kept at once; by default what memory holds."
    )
    step_tokens: PositiveInt | None = Field(
        None,
        description="Native engine: tokens of one step, prompts being read included; more than "
        "max_concurrent_sequences. By default 128 more on a CPU, 2048 more on a GPU.",
    )
    batch_invariant: bool = Field(
        default=False,
        description="Native engine, one rank: what else is computed changes no bit of a request's scores, so that a "
        "seed repeats without exception; slower.",
    )
    tensor_parallel: Literal["auto"] | PositiveInt = Field(
        "auto", description="Native engine: ranks of this pod, one process each. auto: the GPUs that it sees, else 1."
    )
    nodes: PositiveInt = Field(1, description="Pods that compute one model together, each with as many ranks.")
    node_rank: NonNegativeInt = Field(0, description="This pod's number among them; 0 leads and answers requests.")
    leader_address: str = Field("", description="Where the leader is reached from the other nodes.")
    leader_port: int = Field(29500, ge=1, le=65535, description="Port that the leader waits for the other nodes on.")
    vllm_arguments: dict[str, Json] = Field(
        default_factory=dict, description="vLLM backend: more fields of its AsyncEngineArgs, as a JSON object."
    )
    tgi_url: str = Field("http://127.0.0.1:8081", description="TGI backend: where the TGI server answers.")
    tgi_model_link: Path | None = Field(
        None,
        description="TGI backend: a link that is made to the model's folder once it is complete, for a TGI server that "
        "waits for it beside this one.",
    )
    mock_first_token_seconds: NonNegativeFloat = Field(
        0.0, description="Mock backend: seconds from a request's turn to its first token."
    )
    mock_step_seconds: NonNegativeFloat = Field(
        0.0, description="Mock backend: seconds from each token to the next; every request has this rate of its own."
    )
    mock_tokens: PositiveInt | None = Field(
        None, description="Mock backend: output tokens of each sequence; by default until the room is used up."
    )
    playground: bool = Field(default=False, description="Serve a page at / that tries predict out.")

    @property
    def name(self) -> str:
        """What callers call the model."""
        return self.served_name or self.model or (self.model_dir.name if self.model_dir else self.backend)

    @property
    def has_own_cache(self) -> bool:
        """Whether the cache is this deployment's alone: a server that the operator gives its token file fills its own.

        Told by what pods have had from the beginning, for one variable more would replace all that run.
        """
        return not self.offline and self.token_file == OPERATORS_TOKEN_FILE

    @property
    def source(self) -> str:
        """What is served: the repository, or the local folder."""
        return self.model or (str(self.model_dir) if self.model_dir else self.backend)


def read(**overrides: Json) -> Settings:
    """Read the environment; `overrides` (None means not given) win over it.

    Raises:
        ConfigurationError: naming the variable, its value's fault, and what is expected.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ConfigurationError(f"{name}: {first['msg']} (it is {first['input']!r})") from None
    except SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        raise ConfigurationError(f"{PREFIX}{field.upper()} is not valid JSON") from None
    if settings.backend not in ("mock", "package") and not settings.model and settings.model_dir is None:
        raise ConfigurationError(f"set {PREFIX}MODEL to a Hub repository, or --model-dir to a local folder")
    if settings.step_tokens is not None and settings.step_tokens <= settings.max_concurrent_sequences:
        limit = f"above the {settings.max_concurrent_sequences} of {PREFIX}MAX_CONCURRENT_SEQUENCES"
        raise ConfigurationError(f"{PREFIX}STEP_TOKENS is {settings.step_tokens}; it must be {limit}")
    _check_ranks(settings)
    _check_invariance(settings)
    return settings


def _check_invariance(settings: Settings) -> None:
    """Raise a ConfigurationError where the settings ask for what only one rank of ours can keep."""
    if not settings.batch_invariant:
        return
    if settings.backend not in ("native", "transformers"):
        message = f"{PREFIX}BATCH_INVARIANT is true, which {settings.backend} cannot keep"
        raise ConfigurationError(f"{message}: use native, or leave it out")
    if settings.nodes > 1 or settings.tensor_parallel not in ("auto", 1):
        message = f"{PREFIX}BATCH_INVARIANT is true, which one rank alone can keep"
        raise ConfigurationError(f"{message}: leave it out, or {PREFIX}TENSOR_PARALLEL and {PREFIX}NODES")


def _check_ranks(settings: Settings) -> None:
    """Raise a ConfigurationError where the settings of several ranks contradict each other."""
    nodes, node = settings.nodes, settings.node_rank
    if node >= nodes:
        raise ConfigurationError(f"{PREFIX}NODE_RANK is {node}; with {PREFIX}NODES={nodes} it must be below {nodes}")
    if nodes > 1 and not settings.leader_address:
        raise ConfigurationError(f"{PREFIX}NODES is {nodes}: set {PREFIX}LEADER_ADDRESS to where node 0 is reached")
    several = nodes > 1 or settings.tensor_parallel not in ("auto", 1)
    if several and settings.backend != "native":
        message = f"{PREFIX}BACKEND is {settings.backend}, which computes with one rank"
        raise ConfigurationError(f"{message}: use native, or leave out {PREFIX}TENSOR_PARALLEL and {PREFIX}NODES")
