"""Real upstreams on loopback, written with plain asyncio streams, and a runner that notices what is left behind."""

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import ssl
import warnings

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from midstream.core.http import Outgoing, Timeouts
from midstream.egress import Egress


class Upstream:
    """A server that does to each connection what `script(exchange)` says. Counts connections, keeps request heads."""

    def __init__(self, script, tls=None):
        self.script, self.tls = script, tls
        self.connections, self.heads, self.bodies = 0, [], []
        self.port = None
        self.hung_up = asyncio.Event()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=2**22, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while True:
                await self.script(Exchange(self, reader, writer, number))
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError, asyncio.LimitOverrunError):
            pass
        except RuntimeError as error:  # uvloop's way to say that the peer is gone
            if "closed" not in str(error):
                raise
        finally:
            self.hung_up.set()
            writer.transport.abort()
            self._tasks.discard(task)


class Exchange:
    """connection: which of the server's connections this is, from 1."""

    def __init__(self, upstream, reader, writer, connection):
        self.upstream, self.reader, self.writer, self.connection = upstream, reader, writer, connection

    async def request(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        body = await self.reader.readexactly(length)
        self.upstream.heads.append(head)
        self.upstream.bodies.append(body)
        return head

    async def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def reply(self, body=b"ok", status="200 OK", **headers):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body)

    async def hang(self):
        """Until the client closes; raises then."""
        while True:
            if not await self.reader.read(65536):
                raise ConnectionResetError

    def end(self):
        """FIN after what was written, and the script is over."""
        self.writer.close()
        raise ConnectionResetError

    def reset(self):
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise ConnectionResetError


@pytest.fixture
def serve():
    return Upstream


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine function; afterwards no task is left and nothing complained to the loop."""

    def runner(scenario):
        complaints = []
        gc.freeze()  # what the tests before hold need not be walked by the collection below

        async def watched():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            before = asyncio.all_tasks()
            result = await asyncio.wait_for(scenario(), 30)
            await asyncio.sleep(0.005)
            left = asyncio.all_tasks() - before
            assert not left, left
            return result

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = (uvloop.run if request.param == "uvloop" else asyncio.run)(watched())
        gc.collect()
        assert complaints == []
        return result

    return runner


@pytest.fixture
def door():
    """An egress that is closed at the end and sees no proxy of the machine."""

    @contextlib.asynccontextmanager
    async def make(**options):
        options.setdefault("environ", {})
        egress = Egress(**options)
        try:
            yield egress
        finally:
            await egress.close()
            assert egress.open == 0
            assert egress.idle == 0

    return make


@pytest.fixture
def ask():
    """ask(url, method="POST", body=b"", headers=(), trusted=True, redirects=0, **seconds by phase) -> Outgoing"""

    def make(url, method="POST", body=b"{}", headers=(), trusted=True, redirects=0, **phases):
        return Outgoing(method, url, tuple(headers), body, trusted, Timeouts(**phases), redirects)

    return make


class Authority:
    """A CA of our own: `pem` is its certificate file, `server(name)` a context for a server of that name."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Midstream test CA")])
        self._certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), None)
        self.pem = str(folder / "ca.pem")
        (folder / "ca.pem").write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, constraints, names, days=1):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def server(self, name="127.0.0.1", days=1):
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            names = [x509.IPAddress(ipaddress.ip_address(name))]
        except ValueError:
            names = [x509.DNSName(name)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, x509.BasicConstraints(ca=False, path_length=None), names, days)
        path = self._folder / f"{name}-{days}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))
