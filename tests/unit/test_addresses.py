"""Addresses of database and broker as providers and pods give them: taken, or refused in a line that names the part."""

import getpass
import ssl
import subprocess

import pytest

from consumer.addresses.broker import parse_broker_url
from consumer.addresses.database import Pooler, parse_database_url
from consumer.addresses.uri import AddressError

SECRET = "hunter2-canary"
LOCAL = "postgresql://u@127.0.0.1/db"


def refusal(parse, text):
    """The line with which an address is refused; it never has the password."""
    with pytest.raises(AddressError) as caught:
        parse(text)
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


@pytest.mark.parametrize(
    ("text", "hosts", "database"),
    [
        ("postgresql://u@h1:5432,h2:5433/db?target_session_attrs=read-write", (("h1", 5432), ("h2", 5433)), "db"),
        ("postgres://u@h1,h2/db", (("h1", 5432), ("h2", 5432)), "db"),
        ("postgresql://u@[::1]:5433,[fe80::2]/db", (("::1", 5433), ("fe80::2", 5432)), "db"),
        ("postgresql://u@%2Fvar%2Frun%2Fpostgresql:5433/db", (("/var/run/postgresql", 5433),), "db"),
        ("postgresql://u@/db?host=/var/run/postgresql&port=5433", (("/var/run/postgresql", 5433),), "db"),
        ("postgresql:///db?host=h1,h2&port=6432&user=u", (("h1", 6432), ("h2", 6432)), "db"),
        ("postgresql://u@h/my%20db", (("h", 5432),), "my db"),
        (" postgresql://u@h/db\n", (("h", 5432),), "db"),
        ("postgresql://u@h", (("h", 5432),), None),
        ("postgresql://u@/db", (), "db"),
    ],
)
def test_hosts_of_an_address(text, hosts, database):
    """Several hosts, IPv6 addresses and Unix sockets are read as libpq reads them."""
    address = parse_database_url(text)
    assert address.hosts == hosts
    assert address.database == database
    assert address.user == "u"


def test_a_password_is_decoded_and_never_shown():
    """What is percent-encoded in it comes out as it is meant; a + stays one, and repr shows none of it."""
    address = parse_database_url(f"postgresql://u:{SECRET}%40%2F+@h/db?sslmode=require&sslpassword={SECRET}")
    assert address.password == f"{SECRET}@/+"
    assert SECRET not in repr(address)


def test_a_password_with_a_letter_that_a_url_splitter_refuses_is_taken():
    """The standard library takes a letter apart that stands for a/c, and calls the host wrong."""
    assert parse_database_url("postgresql://u:a℀b@h/db").password == "a℀b"


@pytest.mark.parametrize(
    "parameter",
    [
        "channel_binding=prefer", "connect_timeout=5", "connect_timeout=0", "application_name=x", "keepalives_idle=30",
        "gssencmode=disable", "load_balance_hosts=disable", "sslmode=verify-full&sslrootcert=system",
        "sslnegotiation=postgres",
        "target_session_attrs=any", "options=-c%20geqo%3Doff", "sslmode=require&sslsni=1", "client_encoding=UTF8",
        "tcp_user_timeout=9", "pgbouncer=false", "sslmode=", "ssl_min_protocol_version=TLSv1.2",
    ],
)  # fmt: skip
def test_a_parameter_of_libpq_is_taken(parameter):
    """It works, or it changes nothing; asyncpg's own reading of what is handed to it raises nothing either."""
    from asyncpg.connect_utils import _parse_connect_dsn_and_args

    given = parse_database_url(f"{LOCAL}?{parameter}").connect_arguments()
    rest = dict.fromkeys(
        ("dsn", "host", "port", "passfile", "ssl", "service", "servicefile", "direct_tls", "server_settings",
         "target_session_attrs", "krbsrvname", "gsslib")
    )  # fmt: skip
    addresses, parameters = _parse_connect_dsn_and_args(**rest | given)
    assert addresses == [("127.0.0.1", 5432)]
    assert (parameters.user, parameters.database, parameters.server_settings) == ("u", "db", None)


def test_what_providers_write_about_a_pooler_is_our_setting():
    """`pgbouncer=true` is the word of Prisma's for a pooler in transaction mode; without it there is none."""
    poolers = [parse_database_url(f"{LOCAL}{rest}").pooler for rest in ("?pgbouncer=true", "?pgbouncer=false", "")]
    assert poolers == [Pooler.TRANSACTION, Pooler.NONE, Pooler.NONE]


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("channel_binding=require", "channel_binding"), ("pgbouncer=1", "pgbouncer"), ("sslmode=yes", "sslmode"),
        ("sslmod=verify-full", "is sslmode meant?"), ("connect_timeout=soon", "connect_timeout"),
        ("target_session_attrs=writable", "target_session_attrs"), ("schema=public", "search_path"),
        ("sslrootcert=/no/such/file.crt&sslmode=verify-full", "/no/such/file.crt"),
        ("gssencmode=require", "gssencmode"),
        ("sslmode=require&sslrootcert=system", "sslrootcert"), ("connection_limit=5", "connection_limit"),
        ("ssl_min_protocol_version=3", "ssl_min_protocol_version"), ("sslnegotiation=direct", "sslnegotiation"),
        ("hostaddr=10.0.0.1", "hostaddr"), ("port=1,2", "port"), ("port=x", "port"), ("sslmode", "NAME=VALUE"),
        ("load_balance_hosts=random", "load_balance_hosts"), ("replication=database", "replication"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_honoured_is_named(parameter, named):
    """One that is dropped in silence may be a misspelt sslmode."""
    assert named in refusal(parse_database_url, f"{LOCAL}?{parameter}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"postgresql://u:{SECRET}#1@h/db", "%23"), (f"postgresql://u:{SECRET}/@h/db", "%2F"),
        (f"postgresql://u:{SECRET}@1@h/db", "%40"), (f"postgresql://u:{SECRET}%@h/db", "%25"),
        (f"postgresql://u:{SECRET}%zz@h/db", "%25"), (f"postgresql://u:{SECRET} @h/db", "%20"),
        (f"postgresql://u:{SECRET}@h:99999/db", "65535"), (f"postgresql://u:{SECRET}@h:0/db", "65535"),
        (f"postgresql://u:{SECRET}@::1/db", "IPv6"), (f"postgresql://u:{SECRET}@[::1/db", "host"),
        (f"postgresql://u:{SECRET}@fe80::1:5432/db", "IPv6"), ("postgresql://u@h,::1/db", "IPv6"),
        (f"postgresql://u:{SECRET}?x@h/db", "%3F"), (f"postgresql://u:12?{SECRET}=@h/db", "%3F"),
        (f"postgresql://u:12/{SECRET}@h/db", "%2F"), (f"postgresql://u@h/db?{SECRET}", "NAME=VALUE"),
        (f"host=h password={SECRET}", "a list of keywords"), (f"jdbc:postgresql://h/db?password={SECRET}", "postgresql://"),
        (f"postgresql://u:{SECRET}@h:²/db", "65535"),
        (f"postgresql://u:{SECRET}@a..b/db", "empty part"), (f"postgresql://u:{SECRET}@{'a' * 64}/db", "63"),
        (f"postgresql://u:{SECRET}@/db?host=a..b", "empty part"),
    ],
)  # fmt: skip
def test_what_no_address_can_hold_is_said_without_the_password(text, named):
    """The usual cause is a password that was not percent-encoded: the line says how each such character is written."""
    assert named in refusal(parse_database_url, text)


def test_a_user_without_a_name_is_asked_for_one(monkeypatch):
    """In a pod the process's user is often a bare number, and asyncpg would raise a KeyError."""
    monkeypatch.setattr(getpass, "getuser", lambda: {}["no such uid"])
    monkeypatch.delenv("PGUSER", raising=False)
    assert "names no user" in refusal(parse_database_url, "postgresql://h/db")


def test_the_certificates_of_the_system_are_checked_with_the_host_name():
    """sslrootcert=system is the file of no such name: libpq 16 and the providers mean the system's own."""
    context = parse_database_url(f"{LOCAL}?sslrootcert=system").connect_arguments()["ssl"]
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("amqp://u:p@h/v", "amqp://u:p@h/v"),
        ("amqp://u:p@h/%2F?heartbeat=30&connection_timeout=5000", "amqp://u:p@h/%2F"),
        ("amqps://u:p@h/v?verify=verify_none", "amqps://u:p@h/v?no_verify_ssl=1"),
        ("amqp://u:p@[::1]:5672/", "amqp://u:p@[::1]:5672/"),
        ("inprocess://", "inprocess://"),
    ],
)
def test_the_address_of_a_broker(text, taken):
    """RabbitMQ's parameters become those of the client; what the service's settings decide is left out."""
    assert parse_broker_url(text) == taken


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"amqp://u:{SECRET}@h1,h2/", "several hosts"), (f"amqp://u:{SECRET}@h/a/b", "%2F"),
        (f"amqp://u:{SECRET}@a..b/", "empty part"),
        (f"amqp://u:{SECRET}%@h/", "%25"), (f"amqp://u:{SECRET}@h:port/", "65535"),
        (f"amqps://u:{SECRET}@h/?cacertfile=/no/such/file", "parameter cacertfile: /no/such/file cannot"),
        (f"amqps://u:{SECRET}@h/?verfy=x", "is verify meant?"), ("amqp:///", "names no host"),
        (f"amqp://u:{SECRET}@/", "names no host"), (f"amqp://u:{SECRET}@xn--/", "no name of a computer"),
        (f"amqp://u:{SECRET}@h/{'v' * 300}", "a vhost of 300 bytes"),
        (f"amqps://u:{SECRET}@h/?verify=maybe", "verify"), (f"amqp://u:{SECRET}℀@h/x", "URL"),
    ],
)  # fmt: skip
def test_the_address_of_a_broker_is_refused_by_the_part_that_is_wrong(text, named):
    """Before anything starts, and without the password."""
    assert named in refusal(parse_broker_url, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"), ("''", "is in quotes"), ("“SCHEME://u:PASS@h”", "in quotes"),
        ('"SCHEME://u:PASS@h/x"', "is in quotes"),
        ("host=h user=u password=PASS", "is a list of keywords"), ("Host=h;Password=PASS", "is a list of keywords"),
        ("${DATABASE_URL}", "a variable that nothing has replaced"), ("$DATABASE_URL", "the name of a variable"),
        ("SCHEME://u:$(PASS)@h/x", "a variable that nothing"),
        ("SCHEME://{{ user }}:PASS@h/", "a variable that nothing"),
        ("export URL=SCHEME://u:PASS@h/x", "begins with a name and a ="), ("URL='SCHEME://u:PASS@h/x'", "begins with"),
        ("psql SCHEME://u:PASS@h/x", "begins with a word and a space"),
        ("SCHEME+driver://u:PASS@h/x", "names a driver"),
        ("OTHER://u:PASS@h/x", "is the address of a"), ("h:5432", "must start with SCHEME://"),
        ("SCHEME:u:PASS@h", "must start with SCHEME://"), ("mysql://u:PASS@h/x", "must start with SCHEME://"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("parse", "ours", "other"), [(parse_database_url, "postgresql", "amqp"), (parse_broker_url, "amqp", "postgresql")]
)
def test_what_is_given_in_place_of_a_url_is_named(parse, ours, other, text, why):
    """The error says what the text is and how the URL is written, and does not quote the password."""
    given, why = (each.replace("SCHEME", ours).replace("OTHER", other) for each in (text, why))
    line = refusal(parse, given.replace("PASS", SECRET.replace("-", "_") if "$(" in given else SECRET))
    assert why in line
    assert f"write {ours}://USER:PASSWORD@HOST:" in line
    assert "hunter2" not in line


def test_the_management_pages_are_no_broker():
    """The management pages have port 15672, where nobody speaks AMQP."""
    assert "management pages" in refusal(parse_broker_url, "http://h:15672/")
    assert "must start with postgresql://" in refusal(parse_database_url, "http://h:15672/")


@pytest.fixture
def service_file(tmp_path, monkeypatch):
    """The file of libpq's services."""
    path = tmp_path / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    path.write_text(
        f"[good]\nhost=h\nport=5433\nuser=u\ndbname=d\npassword={SECRET}\n[more]\nhost=h\nconnect_timeout=3\n"
        f"[percent]\npassword={SECRET}%\n"
    )
    return path


def test_a_service_is_what_its_file_says(service_file):
    """asyncpg reads the file, so what it makes of it is asked here."""
    from asyncpg.connect_utils import _parse_connect_dsn_and_args

    given = parse_database_url("postgresql://?service=good").connect_arguments()
    rest = dict.fromkeys(
        ("dsn", "host", "port", "passfile", "ssl", "service", "servicefile", "direct_tls", "server_settings",
         "target_session_attrs", "krbsrvname", "gsslib")
    )  # fmt: skip
    addresses, parameters = _parse_connect_dsn_and_args(**rest | given)
    assert addresses == [("h", 5433)]
    assert (parameters.user, parameters.database, parameters.password) == ("u", "d", SECRET)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nope", "defines no service 'nope'"), ("more", "has connect_timeout in 'more', which is not read"),
        ("percent", "has a % in 'percent'; write it as %%"), ("a%0Ab", "defines no service 'a\\nb'"),
    ],
)  # fmt: skip
def test_a_service_that_is_not_there_is_named(service_file, name, why):
    """The client ignores it, and connects to wherever the defaults lead."""
    line = refusal(parse_database_url, f"postgresql://?service={name}")
    assert f"parameter service: {service_file}" in line
    assert why in line


@pytest.mark.parametrize("content", [None, "no section\n", "[a]\n[a]\n", b"\xff"])
def test_a_file_of_services_that_cannot_be_read_is_named(service_file, content):
    """It is not there, or no such file."""
    service_file.unlink()
    if content is not None:
        service_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert f"parameter service: {service_file} cannot be" in refusal(parse_database_url, f"{LOCAL}?service=a")


def test_a_port_of_the_environment_that_is_none(monkeypatch):
    """It stands in where the address names no host; a Service called `pg` makes PGPORT=tcp://… no setting of ours."""
    monkeypatch.setenv("PGPORT", "tcp://10.0.0.1:5432")
    assert "PGPORT" in refusal(parse_database_url, "postgresql://u@/db")
    assert parse_database_url(LOCAL).hosts == (("127.0.0.1", 5432),)


@pytest.fixture
def certificate(tmp_path):
    """A certificate, its key, and the key under a password."""
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=worker", "-days", "2")
    subprocess.run(["openssl", *make, "-keyout", "key", "-out", "cert"], cwd=tmp_path, check=True, capture_output=True)
    lock = ("rsa", "-aes128", "-in", "key", "-out", "locked", "-passout", "pass:x1234")
    subprocess.run(["openssl", *lock], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_who_logs_in_by_a_certificate(certificate):
    """RabbitMQ's words for the files, and the mechanism, become the client's."""
    files = f"certfile={certificate}/cert&keyfile={certificate}/key&cacertfile={certificate}/cert"
    taken = parse_broker_url(f"amqps://h/%2F?auth_mechanism=EXTERNAL&{files}")
    assert taken.startswith("amqps://h/%2F?auth=external&certfile=")
    assert "&cafile=" in taken


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("amqp://u:p@h/v?auth_mechanism=external", "parameter auth_mechanism=external needs amqps:// and certfile"),
        ("amqps://u:p@h/v?auth=external", "parameter auth=external needs amqps:// and certfile"),
        ("amqp://u:p@h/v?cacertfile=X/cert", "parameter cacertfile has no effect without TLS: write amqps://"),
        ("amqp://u:p@h/v?verify=verify_peer", "parameter verify has no effect without TLS"),
        ("amqp://u:p@h/v?certfile=X/cert&auth_mechanism=external", "parameter certfile has no effect without TLS"),
        ("amqps://u:p@h/v?keyfile=X/key", "parameter keyfile needs certfile"),
        ("amqps://u:p@h/v?certfile=X/cert&keyfile=X/locked", "certfile: X/cert with its keyfile cannot be read"),
        ("amqps://u:p@h/v?certfile=X/none", "parameter certfile: X/none cannot be read: No such file or directory"),
        ("amqps://u:p@h/v?cacertfile=X/key", "parameter cacertfile: X/key cannot be read: it has no usable"),
    ],
)
def test_parameters_of_tls_that_cannot_be_honoured_are_named(certificate, rest, why):
    """Parameters that the client would ignore are refused; for an encrypted key OpenSSL would ask on the terminal."""
    assert why.replace("X/", f"{certificate}/") in refusal(parse_broker_url, rest.replace("X/", f"{certificate}/"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PGSSLMODE", "bogus", "PGSSLMODE: must be one of disable"), ("PGSSLMODE", "REQUIRE", "lower case"),
        ("PGSSLCERT", "/none", "PGSSLCERT: /none with its sslkey cannot be read"),
        ("PGTARGETSESSIONATTRS", "master", "PGTARGETSESSIONATTRS: must be one of any"),
        ("PGSSLMINPROTOCOLVERSION", "TLS9", "PGSSLMINPROTOCOLVERSION: must be one of TLSv1"),
    ],
)  # fmt: skip
def test_a_variable_that_completes_an_address_is_named(monkeypatch, variable, value, said):
    """The client finds it at the first connection, and the address would be blamed for it."""
    monkeypatch.setenv(variable, value)
    assert said in refusal(parse_database_url, "postgresql://u:p@h/db")


def test_a_variable_that_has_no_effect_is_not_checked(monkeypatch):
    """What the address says goes before it, and certificates of authorities are read only to verify."""
    monkeypatch.setenv("PGSSLMODE", "bogus")
    monkeypatch.setenv("PGSSLROOTCERT", "/none")
    parse_database_url("postgresql://u:p@h/db?sslmode=prefer")
    assert "PGSSLROOTCERT: /none" in refusal(parse_database_url, "postgresql://u:p@h/db?sslmode=require")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"*:*:*:u\n", "line 1 of the password file"), (b"# x\n\nh\n", "line 3"), (b"\xff\xfe*\n", "not UTF-8")],
)
def test_a_password_file_that_cannot_be_read_is_named(monkeypatch, tmp_path, content, said):
    """With its line, and nothing of it; where the address has a password, no file is read."""
    (path := tmp_path / "pgpass").write_bytes(content)
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    assert said in refusal(parse_database_url, "postgresql://u@h/db")
    parse_database_url("postgresql://u:p@h/db")
    path.write_bytes(b"# all\n*:*:*:u:a\\:b:c\n")
    parse_database_url("postgresql://u@h/db")
