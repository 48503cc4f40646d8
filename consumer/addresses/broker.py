"""The address of the broker, as providers and RabbitMQ's documentation give it, made into what aiormq takes."""

import ssl
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode, urlsplit

from consumer.addresses.mistaken_forms import refuse_other_forms
from consumer.addresses.uri import AddressError, one_of, parse_uri, unknown_parameter

SCHEMES = ("amqp", "amqps", "inprocess")
EXAMPLE = "amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps:// and 5671 with TLS"
FILES = {"cacertfile": "cafile", "cafile": "cafile", "capath": "capath", "certfile": "certfile", "keyfile": "keyfile"}
"""Files of certificates: RabbitMQ's name for each and aiormq's."""
OF_TLS = (*FILES, "verify", "no_verify_ssl")
"""Parameters that have no effect on a connection without TLS."""
WITHOUT_EFFECT = (
    "heartbeat", "connection_timeout", "timeout", "channel_max", "frame_max", "locale", "name", "connection_attempts",
    "retry_delay", "socket_timeout", "blocked_connection_timeout", "fail_if_no_peer_cert", "depth",
)  # fmt: skip
"""What this service decides by itself: PROVISIONER_HEARTBEAT_SECONDS and PROVISIONER_BROKER_TIMEOUT_SECONDS."""
MAX_VHOST_BYTES = 255
"""A short string of AMQP."""


def parse_broker_url(text: str) -> str:
    """Return the address of a broker as aiormq takes it.

    Raises:
        AddressError: one line that names the parameter or the part, and never a password.
    """
    refuse_other_forms(text.strip(), SCHEMES, EXAMPLE)
    uri = parse_uri(text.strip())
    if uri.scheme == "inprocess":
        return f"{uri.scheme}://"
    if len(uri.hosts) > 1:
        raise AddressError("has several hosts, and the client takes one: write a name that leads to all of them")
    if not (uri.hosts and uri.hosts[0][0]):
        raise AddressError(f"names no host; write {EXAMPLE}")
    _check_host(uri.hosts[0][0])
    vhost = uri.path.removeprefix("/")
    if "/" in vhost:
        raise AddressError("has a / in its vhost; write it as %2F")
    if (length := len(unquote(vhost).encode())) > MAX_VHOST_BYTES:
        raise AddressError(f"has a vhost of {length} bytes, and AMQP allows {MAX_VHOST_BYTES}")
    try:
        urlsplit(text)
    except ValueError:  # its text quotes the password
        raise AddressError("cannot be read as a URL") from None
    parameters = _parameters(uri.parameters)
    _check_tls(uri.scheme, uri.parameters)
    _check_files(uri.parameters)
    return text.strip().partition("?")[0] + ("?" + urlencode(parameters, quote_via=quote) if parameters else "")


def _check_host(host: str) -> None:
    """Decode a host's name as the client will. Raises AddressError where it is none."""
    try:
        host.encode("idna").decode("idna")
    except UnicodeError:
        raise AddressError("has a host that is no name of a computer") from None


def _parameters(given: Mapping[str, str]) -> dict[str, str]:
    taken: dict[str, str] = {}
    for name, value in given.items():
        if name in FILES:
            taken[FILES[name]] = value
        elif name == "verify":
            if one_of(name, value, ("verify_peer", "verify_none")) == "verify_none":
                taken["no_verify_ssl"] = "1"
        elif name == "no_verify_ssl":
            taken[name] = one_of(name, value, ("0", "1"))
        elif name in ("auth", "auth_mechanism"):
            taken["auth"] = one_of(name, value, ("plain", "external"))
        elif name not in WITHOUT_EFFECT:
            raise unknown_parameter(name, (*FILES, *WITHOUT_EFFECT, "verify", "no_verify_ssl", "auth_mechanism"))
    return taken


def _check_tls(scheme: str, given: Mapping[str, str]) -> None:
    """Check that parameters of TLS come with TLS: the client would ignore them otherwise."""
    if scheme == "amqp" and (without := [name for name in OF_TLS if given.get(name)]):
        raise AddressError(f"parameter {without[0]} has no effect without TLS: write amqps://, or leave it out")
    for name in ("auth", "auth_mechanism"):
        if given.get(name, "").lower() == "external" and not (scheme == "amqps" and given.get("certfile")):
            raise AddressError(f"parameter {name}=external needs amqps:// and certfile: a certificate says who you are")
    if given.get("keyfile") and not given.get("certfile"):
        raise AddressError("parameter keyfile needs certfile, the certificate of that key")


def _check_files(given: Mapping[str, str]) -> None:
    """Read certificates and key once, so that a wrong path is found at the start."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in FILES.keys() - {"keyfile"}:
        path = given.get(name)
        try:
            if path and name == "certfile":
                # OpenSSL would ask on the terminal for an encrypted key's password; an empty one makes it an error.
                context.load_cert_chain(path, given.get("keyfile") or None, password=lambda: "")
            elif path:
                context.load_verify_locations(**{FILES[name]: path})
        except OSError as error:
            with_key = " with its keyfile" if name == "certfile" and given.get("keyfile") else ""
            why = "it has no usable certificate or key" if isinstance(error, ssl.SSLError) else error.strerror
            raise AddressError(f"parameter {name}: {path}{with_key} cannot be read: {why}") from None
