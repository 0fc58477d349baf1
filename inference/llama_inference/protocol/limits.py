"""A deployment's own defaults and maximums, checked once at start and applied to every request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_inference.backends.abilities import fit
from llama_inference.errors import ConfigurationError, InvalidRequestError
from llama_inference.protocol.parameters import PARAMETERS, check
from llama_inference.values import BackendName, Json


@dataclass(frozen=True, slots=True)
class Limits:
    """What a deployment says about requests.

    Attributes:
        defaults: parameter → value for requests that do not give it.
        maximums: parameter → largest value; never above the contract's.
    """

    defaults: Mapping[str, Json] = field(default_factory=dict[str, Json])
    maximums: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def parse(
        cls, defaults: Mapping[str, Json], maximums: Mapping[str, Json], *, backend: BackendName = "native"
    ) -> "Limits":
        """Check what the operator passed on, for the backend that is to honour it.

        Raises:
            ConfigurationError: naming the field of `spec.generation` and what it must be.
        """
        for name, value in maximums.items():
            _check_maximum(name, value)
        for name, value in defaults.items():
            path = f"spec.generation.defaults.{name}"
            try:
                fit(backend, {name: value}, {name: check(name, value)})
            except InvalidRequestError as error:
                raise ConfigurationError(f"{path}: {error}") from None
            if name in maximums and value > maximums[name]:
                raise ConfigurationError(f"{path} is {value}, above spec.generation.maximums.{name}: {maximums[name]}")
        return cls(dict(defaults), dict(maximums))

    def default(self, name: str, vocabulary: int | None = None) -> Json:
        """The value of a parameter that a request does not give; the contract's own is lowered to the maximum.

        Raises:
            InvalidRequestError: the deployment's default is a token id that this model does not know.
        """
        if name in self.defaults:
            return check(name, self.defaults[name], vocabulary)
        value = PARAMETERS[name].default
        return min(value, self.maximums[name]) if value is not None and name in self.maximums else value

    def hold(self, name: str, value: Json, *, bound: str | None = None) -> None:
        """Refuse a value above this deployment's maximum for it, or for the parameter `bound`.

        Raises:
            InvalidRequestError: naming both values.
        """
        maximum = self.maximums.get(bound or name)
        if maximum is not None and value > maximum:
            message = f"{name} is {value}; this deployment allows at most {maximum}"
            raise InvalidRequestError(message, param=name)


def _check_maximum(name: str, value: Json) -> None:
    path = f"spec.generation.maximums.{name}"
    parameter = PARAMETERS.get(name)
    if parameter is None or parameter.kind.maximum is None:
        numeric = ", ".join(sorted(key for key, row in PARAMETERS.items() if row.kind.maximum is not None))
        raise ConfigurationError(f"{path}: there is no numeric parameter of this name; there are {numeric}")
    try:
        check(name, value)
    except InvalidRequestError as error:
        raise ConfigurationError(f"{path}: {error}") from None
