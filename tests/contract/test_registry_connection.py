"""Requests to registries against real servers: TLS and trust, proxies, redirects, and connections that are used again."""

import contextlib
import datetime as dt
import http.client
import ipaddress
import os
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.contract.test_registry import assert_same, build, name_in

from drivetrain.images.descriptor import platform_of
from drivetrain.images.reference import parse_reference
from drivetrain.images.registry.client import Registry, RegistryOptions
from drivetrain.images.registry.connection import Connections, Request
from drivetrain.images.registry.credentials import Credentials, CredentialStore
from drivetrain.images.registry.proxy import proxy_for
from drivetrain.images.registry.retry import Passing, RetryPolicy
from drivetrain.images.store import ImageStore
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import OutsideFailed

IMPATIENT = RetryPolicy(attempts=1)


class Server:
    """Answers what a function says, and notes what it was asked."""

    def __init__(self, answer, context=None):
        self.requests = []
        self.connections = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                server.connections += 1
                super().setup()

            def log_message(self, *_):
                pass

            def handle_any(self):
                server.requests.append((self.command, self.path, dict(self.headers.items())))
                answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_CONNECT = handle_any  # noqa: N815 (the names that the base calls)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def say(handler, status=200, content=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


def relay(handler):
    """What a proxy does with a plain request: it asks the host that the URL names, which here is always this machine."""
    parts = urlsplit(handler.path)
    length = int(handler.headers.get("Content-Length") or 0)
    upstream = http.client.HTTPConnection("127.0.0.1", parts.port or 80)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    kept = {name: value for name, value in handler.headers.items() if not name.lower().startswith("proxy-")}
    upstream.request(handler.command, path, handler.rfile.read(length), kept)
    answer = upstream.getresponse()
    content = answer.read()
    handler.send_response(answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in ("connection", "transfer-encoding", "content-length"):
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
    upstream.close()


def tunnel_to(port):
    """What a proxy does with ``CONNECT``."""

    def answer(handler):
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            handler.send_response(200)
            handler.end_headers()
            handler.close_connection = True
            back = threading.Thread(target=pour, args=(upstream, handler.connection))
            back.start()
            pour(handler.connection, upstream)
            back.join()

    return answer


def pour(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for this machine and for ``registry.test``; its file, and what a server needs."""
    directory = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a registry")])
    now = dt.datetime.now(dt.timezone.utc)
    hosts = [x509.DNSName("localhost"), x509.DNSName("registry.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, both = directory / "certificate.pem", directory / "both.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both.write_bytes(file.read_bytes() + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return file, context


@pytest.fixture
def connections():
    """Make connections with an environment; closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(environ=None, *, insecure=False):
            made = Connections(environ or {}, insecure=insecure)
            stack.callback(made.close)
            return made

        yield make


def get(connections, url, **headers):
    with connections.send(Request(method="GET", url=url, headers=headers)) as response:
        response.load(1024 * 1024)
        return response


def check(host, tmp_path, **options):
    credentials = CredentialStore({"HOME": str(tmp_path)})
    with Registry(parse_reference(f"{host}/a/b"), credentials, RegistryOptions(retry=IMPATIENT, **options)) as registry:
        registry.check()


# TLS


def test_a_registry_with_a_certificate_that_the_environment_names_is_trusted(authority, tmp_path):
    file, context = authority
    with Server(say, context) as server:
        check(f"localhost:{server.port}", tmp_path, environ={"SSL_CERT_FILE": str(file)})
        assert server.requests[-1][1] == "/v2/"


def test_one_whose_certificate_nobody_vouches_for_is_refused(authority, tmp_path):
    with Server(say, authority[1]) as server, pytest.raises(OutsideFailed, match="certificate verify failed"):
        check(f"localhost:{server.port}", tmp_path)


def test_insecure_takes_any_certificate(authority, tmp_path):
    with Server(say, authority[1]) as server:
        check(f"localhost:{server.port}", tmp_path, insecure=True)
        assert server.requests


def test_what_a_registry_speaks_is_asked_without_credentials(tmp_path):
    def answer(handler):
        say(handler, 200 if "Authorization" in handler.headers else 401, WWW_Authenticate='Basic realm="x"')

    with Server(answer) as server:
        host = f"localhost:{server.port}"
        credentials = CredentialStore({"HOME": str(tmp_path)})
        credentials.keep(host, Credentials(username="alice", password="wonderland"))
        with Registry(parse_reference(f"{host}/a/b"), credentials, RegistryOptions()) as registry:
            registry.check()
        assert ["Authorization" in headers for _, _, headers in server.requests] == [False, False, True]


def test_a_registry_of_this_machine_that_leads_from_http_to_https_is_spoken_to_over_https(authority, tmp_path):
    file, context = authority
    with (
        Server(say, context) as secure,
        Server(lambda handler: say(handler, 308, Location=f"https://localhost:{secure.port}/v2/")) as plain,
    ):
        options = RegistryOptions(retry=IMPATIENT, environ={"SSL_CERT_FILE": str(file)})
        reference = parse_reference(f"localhost:{plain.port}/a/b")
        # this one does not speak both at one port, as others do
        with Registry(reference, CredentialStore({"HOME": str(tmp_path)}), options) as registry, pytest.raises(OutsideFailed):
            registry.check()
        assert len(plain.requests) == 1


def test_a_registry_of_this_machine_that_cuts_the_first_questions_is_asked_again(tmp_path):
    def answer():
        for _ in range(2):  # over plain HTTP, and with TLS
            listener.accept()[0].close()
        with listener.accept()[0] as connection:
            while connection.recv(4096):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        options = RegistryOptions(retry=RetryPolicy(sleep=lambda _: None))
        reference = parse_reference(f"localhost:{listener.getsockname()[1]}/a/b")
        with Registry(reference, CredentialStore({"HOME": str(tmp_path)}), options) as registry:
            registry.check()
        thread.join(30)


def test_certificates_that_are_not_there_are_named(tmp_path):
    with pytest.raises(OutsideFailed, match=f"SSL_CERT_FILE names cannot be read: '{tmp_path}/none'"):
        check("registry.test", tmp_path, environ={"SSL_CERT_FILE": str(tmp_path / "none")})


# Proxies


def test_a_whole_image_travels_through_a_proxy_that_wants_a_password(registry_server, tmp_path):
    port = registry_server.host.rpartition(":")[2]
    with Server(relay) as proxy:
        environ = {"http_proxy": f"http://me:my%20word@127.0.0.1:{proxy.port}", "HOME": str(tmp_path)}
        options = RegistryOptions(insecure=True, environ={**environ, "https_proxy": "http://127.0.0.1:9"}, retry=IMPATIENT)
        here = Transfers(store=ImageStore(tmp_path / "a"), credentials=CredentialStore(environ), options=options)
        there = Transfers(store=ImageStore(tmp_path / "b"), credentials=CredentialStore(environ), options=options)
        reference = name_in(f"registry.test:{port}")
        manifest = build(here, os.urandom(100_000))
        here.push(manifest, reference)
        assert_same(there, there.pull(reference, platform_of("linux/amd64")), manifest)
        assert {headers["Proxy-Authorization"] for _, _, headers in proxy.requests} == {"Basic bWU6bXkgd29yZA=="}


def test_tls_goes_through_a_proxy_s_tunnel(authority, connections):
    file, context = authority
    with Server(say, context) as server, Server(tunnel_to(server.port)) as proxy:
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(file)}
        assert get(connections(environ), "https://registry.test/v2/").status == 200
        assert proxy.requests[0][:2] == ("CONNECT", "registry.test:443")


@pytest.mark.parametrize(
    ("url", "environ", "host"),
    [
        ("https://a.example/v2/", {"https_proxy": "http://proxy:3128"}, "proxy"),
        ("https://a.example/v2/", {"HTTPS_PROXY": "proxy:3128"}, "proxy"),
        ("https://a.example/v2/", {"ALL_PROXY": "http://proxy"}, "proxy"),
        ("http://a.example/v2/", {"https_proxy": "http://proxy:3128"}, None),
        ("https://a.example/v2/", {"https_proxy": "http://proxy", "no_proxy": "example"}, None),
        ("https://a.example/v2/", {"https_proxy": "http://proxy", "NO_PROXY": "b.example"}, "proxy"),
        ("https://a.example:5000/v2/", {"https_proxy": "http://proxy", "no_proxy": "b.example, .A.example"}, None),
        ("https://a.example:5000/v2/", {"https_proxy": "http://proxy", "no_proxy": "a.example:5001"}, "proxy"),
        ("https://ba.example/v2/", {"https_proxy": "http://proxy", "no_proxy": "a.example"}, "proxy"),
        ("https://a.example/v2/", {"https_proxy": "http://proxy", "no_proxy": "*"}, None),
        ("https://localhost:5000/v2/", {"https_proxy": "http://proxy"}, None),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(url, environ, host):
    found = proxy_for(urlsplit(url), environ)
    assert (found.hostname if found is not None else None) == host


def test_a_proxy_of_another_kind_is_named_without_its_password():
    with pytest.raises(OutsideFailed, match="the proxy 'socks5://proxy' cannot be used") as caught:
        proxy_for(urlsplit("https://a.example/v2/"), {"all_proxy": "socks5://me:secret@proxy"})
    assert "secret" not in str(caught.value)


# Redirects


def test_the_authorization_stays_with_the_host_that_it_is_for(connections):
    with Server(say) as other:
        elsewhere = f"http://localhost:{other.port}/content"
        with Server(lambda handler: say(handler, 307, Location=elsewhere)) as first:
            answer = get(connections(), f"http://localhost:{first.port}/blob", Authorization="Bearer secret")
        assert answer.url == elsewhere
        assert "Authorization" in first.requests[0][2]
        assert "Authorization" not in other.requests[0][2]


def test_a_redirect_within_a_host_keeps_it(connections):
    def answer(handler):
        say(handler, 302, Location="/there") if handler.path == "/here" else say(handler)

    with Server(answer) as server:
        get(connections(), f"http://localhost:{server.port}/here", Authorization="Bearer secret")
    assert server.requests[1][2]["Authorization"] == "Bearer secret"


def test_redirects_that_never_end_are_given_up(connections):
    with Server(lambda handler: say(handler, 302, Location="/again")) as server, pytest.raises(Passing, match="without end"):
        get(connections(), f"http://localhost:{server.port}/")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://[nowhere", "http://host:99999/"])
def test_a_redirect_to_what_is_no_host_is_an_error(connections, target):
    with Server(lambda handler: say(handler, 302, Location=target)) as server, pytest.raises(OutsideFailed, match="leads to"):
        get(connections(), f"http://localhost:{server.port}/")


# Connections


def test_a_connection_is_used_for_many_requests(connections):
    with Server(lambda handler: say(handler, content=b"x" * 1000)) as server:
        made = connections()
        for _ in range(5):
            get(made, f"http://localhost:{server.port}/")
            with made.send(Request(method="HEAD", url=f"http://localhost:{server.port}/")) as response:
                assert response.headers["content-length"] == "1000"
    assert server.connections == 1


def test_one_that_the_server_has_closed_is_not_used_again(connections):
    def answer(handler):
        say(handler)
        handler.close_connection = True

    with Server(answer) as server:
        made = connections()
        for _ in range(3):
            assert get(made, f"http://localhost:{server.port}/").status == 200
            wait_until_closed(made)
    assert server.connections == 3


def wait_until_closed(connections):
    for idle in connections._idle.values():
        for one in idle:
            one.sock.settimeout(5)
            one.sock.recv(1, socket.MSG_PEEK)


def test_an_answer_that_is_cut_may_be_asked_for_again(connections):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    with Server(answer) as server, pytest.raises(Passing, match="early"):
        get(connections(), f"http://localhost:{server.port}/")


def test_an_answer_before_the_end_of_an_upload_is_heard(connections):
    def answer(handler):
        say(handler, 413)
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RD)

    with Server(answer) as server:
        size = 50_000_000
        body = lambda: (b"x" * 100_000 for _ in range(size // 100_000))  # noqa: E731
        request = Request(method="PUT", url=f"http://localhost:{server.port}/", headers={"Content-Length": str(size)}, body=body)
        with contextlib.suppress(Passing), connections().send(request) as response:
            assert response.status == 413
