"""The receiver of OTLP over HTTP that a session is exported to, also from OpenTelemetry's variables."""

from __future__ import annotations

import os
import shlex
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from Agent.client.destination import Destination
from Agent.errors import ConfigurationError
from Agent.export.otlp import TRACES_PATH

DEFAULT_SERVICE: Final = "agent-trace"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_SERVICE_NAME: Final = "service.name"


class Certificates(NamedTuple):
    """The paths of files for TLS; None if unused."""

    authority: str | None = None
    """The certificates to trust."""
    client: str | None = None
    client_key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings; OSError if a file cannot be read or is invalid."""
        ssl_context = ssl.create_default_context(cafile=self.authority)
        if self.client is not None:
            ssl_context.load_cert_chain(self.client, self.client_key)
        return ssl_context


@dataclass(frozen=True)
class OtlpDestination(Destination):
    """The address of a receiver of OTLP over HTTP.

    Args:
        url: its address, with or without `/v1/traces`: `http://localhost:6006`.
        headers: further headers, such as a key.
        service: the name of the program that recorded, `service.name`; in Phoenix the project.
        attributes: further attributes of the program, such as `deployment.environment.name`.
        is_whole: whether `url` is the whole address, to which `/v1/traces` is not added.
        is_compressed: whether bodies are compressed with gzip.
        certificates: files for TLS.

    Raises:
        ConfigurationError: an invalid address or header, or a certificate that cannot be read.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    service: str = DEFAULT_SERVICE
    attributes: tuple[tuple[str, str], ...] = ()
    is_whole: bool = False
    certificates: Certificates = field(default_factory=Certificates)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.headers:
            is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            if not is_name or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the header {name[:40]!r} has invalid characters", remedy="use ASCII, NAME=VALUE"
                )
        try:
            self.tls_context()
        except OSError as error:
            files = ", ".join(path for path in self.certificates if path)
            raise ConfigurationError(
                f"a certificate for {self.place} cannot be read ({error.strerror or error})",
                remedy=f"look at the files that OTEL_EXPORTER_OTLP_CERTIFICATE and its like name: {files}",
            ) from None

    @property
    def place(self) -> str:
        """Return the address without `/v1/traces` and without a slash at its end; the whole one as it is."""
        return self.url if self.is_whole else self.url.rstrip("/").removesuffix(TRACES_PATH)

    @property
    def path(self) -> str:
        """Return the path that a request appends to `place`."""
        return "" if self.is_whole else TRACES_PATH

    @property
    def command(self) -> str:
        """Return the command that exports the rest of a session there, without the session and keys."""
        option = "--traces-endpoint" if self.is_whole else "--endpoint"
        service = "" if self.service == DEFAULT_SERVICE else f" --service {shlex.quote(self.service)}"
        headers = "".join(f" --header {name}=..." for name, _ in self.headers)
        return f"export otlp --resume {option} {self.place}{service}{headers}"

    @property
    def shows_key(self) -> bool:
        """Return whether headers, which may hold a key, would be sent unencrypted over a network."""
        return bool(self.headers) and self._is_open

    @property
    def more_headers(self) -> Mapping[str, str]:
        """Return the further headers."""
        return dict(self.headers)

    @property
    def cursor_name(self) -> str:
        """Return the name of a session's cursor for this receiver, and of the lock of its exporter."""
        identity = repr((self.place, self.headers, self.service)).encode()
        return f"otlp-{urlsplit(self.url).hostname}-{blake2b(identity, digest_size=5).hexdigest()}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the settings of TLS connections."""
        return self.certificates.context()

    def to_order(self) -> dict[str, Any]:
        """Return the data for the sender process."""
        fields = {name: value for name, value in asdict(self).items() if name != "api_key"}
        return {
            **fields,
            "headers": dict(self.headers),
            "attributes": dict(self.attributes),
            "certificates": list(self.certificates),
            "protocol": "otlp",
        }

    @classmethod
    def from_order(cls, order: Mapping[str, Any]) -> Self:
        """Read the result of `to_order`."""
        fields = {name: value for name, value in order.items() if name in cls.__dataclass_fields__}
        for name in ("headers", "attributes"):
            fields[name] = tuple(fields[name].items())
        return cls(**{**fields, "certificates": Certificates(*fields["certificates"])})


def otlp_destination(
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    service: str | None = None,
    *,
    traces_endpoint: str | None = None,
) -> OtlpDestination:
    """Make a destination; missing values are read from OpenTelemetry's environment variables.

    A variable for traces, such as OTEL_EXPORTER_OTLP_TRACES_HEADERS, takes precedence over that for all
    signals. Compression, certificates and attributes of the program can only be set by variables.

    Args:
        endpoint: default: OTEL_EXPORTER_OTLP_ENDPOINT.
        headers: default: OTEL_EXPORTER_OTLP_HEADERS.
        service: default: OTEL_SERVICE_NAME, then that of OTEL_RESOURCE_ATTRIBUTES, then `agent-trace`.
        traces_endpoint: the whole address, if no endpoint is given; default:
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.

    Raises:
        ConfigurationError: the endpoint is missing, or it or a certificate is invalid.
    """
    full_endpoint = None if endpoint else traces_endpoint or os.environ.get(TRACES_ENDPOINT)
    url = endpoint or full_endpoint or os.environ.get(ENDPOINT)
    if not url:
        raise ConfigurationError(
            "no receiver is named", remedy="give its address, such as http://localhost:6006"
        )
    if not (endpoint or traces_endpoint) and _variable("PROTOCOL") == "grpc":
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for grpc; spans are exported over HTTP",
            remedy="give the receiver's HTTP address, which usually has port 4318",
        )
    if headers is None:
        headers = _pairs(_variable("HEADERS"))
    name, attributes = described_program(service)
    return OtlpDestination(
        url,
        headers=tuple(headers.items()),
        service=name,
        attributes=tuple(attributes.items()),
        is_whole=full_endpoint is not None and not full_endpoint.rstrip("/").endswith(TRACES_PATH),
        is_compressed=_variable("COMPRESSION") != "none",
        certificates=Certificates(
            *(_variable(each) or None for each in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        ),
    )


def described_program(service: str | None = None) -> tuple[str, dict[str, str]]:
    """Return the name and further attributes of the program, as given or from the environment."""
    attributes = _pairs(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = attributes.pop(_SERVICE_NAME, None)
    return service or os.environ.get("OTEL_SERVICE_NAME") or named or DEFAULT_SERVICE, attributes


def _variable(name: str) -> str:
    """Return the variable for traces, else that for all signals; "" without either."""
    start = "OTEL_EXPORTER_OTLP_"
    return os.environ.get(f"{start}TRACES_{name}") or os.environ.get(start + name, "")


def _pairs(text: str) -> dict[str, str]:
    """Read `name=value,name=value`, percent-encoded."""
    pairs = (each.partition("=") for each in text.split(","))
    return {unquote(name.strip()): unquote(value.strip()) for name, equals, value in pairs if equals}
