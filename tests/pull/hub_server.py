"""A hub on 127.0.0.1 that speaks Hugging Face's and Ollama's protocols, and misbehaves as told.

    hub = HubServer({"R1-Q4_K_M.gguf": data})         # its repository is org/R1-GGUF
    hub.change = lambda request, reply: ...           # another reply, or None for the usual one

It counts the bytes of files that it handed to the kernel (`file_bytes_sent`) and keeps the head of
every request. Nothing here sleeps: a stalled reply waits until the server is stopped."""
import dataclasses
import functools
import hashlib
import json
import re
import socket
import ssl
import threading
import urllib.parse

REPO = "org/R1-GGUF"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SEND_BYTES = 64 * 1024


@functools.lru_cache(maxsize=16)  # of a gigabyte it takes a second, and every reply names it
def sha256(data):
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=16)
def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclasses.dataclass
class Request:
    method: str
    target: str
    headers: dict

    @property
    def path(self):
        return urllib.parse.unquote(urllib.parse.urlsplit(self.target).path)

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.target).query))

    @property
    def range(self):
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2])) if found else None


@dataclasses.dataclass
class Reply:
    status: int = 200
    headers: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    length: int = None      # of the Content-Length field; None: that of the body
    cut_after: int = None   # bytes of the body, then the connection is closed
    stall_after: int = None  # bytes of the body, then nothing
    chunked: bool = False
    raw: bytes = None       # instead of everything
    is_file: bool = False   # counts


class HubServer:
    def __init__(self, files=None, repo=REPO, cdn=None, tls=None, small=()):
        self.files = dict(files or {})
        self.repo, self.cdn, self.small = repo, cdn, set(small)
        self.change = lambda request, reply: None
        self.before = lambda request: None
        self.requests = []
        self.file_bytes_sent = 0
        self.page_files = 1000
        self.ranges = True
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.stopped.set()
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            stream = connection.makefile("rb")
            while (request := self.read_request(stream, connection)) is not None:
                if not self.answer(connection, request):
                    break
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def read_request(self, stream, connection):
        line = stream.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = {}
        while (text := stream.readline(65536).decode("latin-1").strip()):
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        request = Request(line[0], line[1], headers)
        with self.lock:
            self.requests.append(request)
        if request.method == "CONNECT":
            self.tunnel(connection, request)
            return None
        return request

    def tunnel(self, connection, request):
        """A proxy's tunnel to one of our own servers."""
        host, port = request.target.rsplit(":", 1)
        there = socket.create_connection((host, int(port)))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def copy(source, target):
            try:
                while data := source.recv(SEND_BYTES):
                    target.sendall(data)
            except OSError:
                pass
            try:
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        back = threading.Thread(target=copy, args=(there, connection), daemon=True)
        back.start()
        copy(connection, there)
        back.join()
        there.close()

    def answer(self, connection, request):
        self.before(request)
        reply = self.usual(request)
        changed = self.change(request, reply)
        reply = reply if changed is None else changed
        if reply.raw is not None:
            connection.sendall(reply.raw)
            return False
        head = f"HTTP/1.1 {reply.status} x\r\n"
        if reply.chunked:
            head += "transfer-encoding: chunked\r\n"
        else:
            length = len(reply.body) if reply.length is None else reply.length
            head += f"content-length: {length}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers) + "\r\n"
        connection.sendall(head.encode("latin-1"))
        if request.method == "HEAD":
            return True
        body = memoryview(reply.body)
        if reply.cut_after is not None:
            body = body[:reply.cut_after]
        if reply.stall_after is not None:
            body = body[:reply.stall_after]
        self.send_body(connection, reply, body)
        if reply.stall_after is not None:
            self.stopped.wait()
        return reply.cut_after is None and reply.stall_after is None

    def send_body(self, connection, reply, body):
        if reply.chunked:
            connection.sendall(b"%x\r\n" % len(body) + bytes(body) + b"\r\n0\r\n\r\n")
            return
        while len(body):
            sent = connection.send(body[:SEND_BYTES])
            if reply.is_file:
                with self.lock:
                    self.file_bytes_sent += sent
            body = body[sent:]

    # ---- what a well-behaved hub says ----------------------------------------------------------

    def usual(self, request):
        path = request.path
        if path.startswith("http://"):  # we are a proxy: the target is a whole address
            path = "/" + path.split("/", 3)[3]
        if path == f"/api/models/{self.repo}/revision/main":
            return Reply(body=json.dumps({"sha": COMMIT}).encode())
        if path == f"/api/models/{self.repo}/tree/{COMMIT}":
            return self.tree(request)
        found = re.fullmatch(rf"/{self.repo}/resolve/({COMMIT}|main)/(.+)", path)
        if found and found[2] in self.files:
            return self.resolve(request, found[2])
        if path.startswith("/cdn/") and path[5:] in self.files:
            return self.file(request, path[5:])
        return self.registry(request, path)

    def tree(self, request):
        names = sorted(self.files)
        start = int(request.query.get("cursor", 0))
        entries = [{"type": "directory", "path": "some", "size": 0, "oid": "0" * 40}]
        for name in names[start:start + self.page_files]:
            data = self.files[name]
            entry = {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
            if name in self.small:
                entry["oid"] = git_sha1(data)
            else:
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        reply = Reply(body=json.dumps(entries).encode())
        if start + self.page_files < len(names):
            here = urllib.parse.urlsplit(request.target).path
            reply.headers.append(
                ("link", f'<{self.url}{here}?recursive=1&cursor={start + self.page_files}>; '
                         'rel="next"'))
        return reply

    def resolve(self, request, name):
        data = self.files[name]
        headers = [("x-repo-commit", COMMIT)]
        if name in self.small:
            reply = self.file(request, name)
            reply.headers = headers + [("etag", f'"{git_sha1(data)}"')] + [
                field for field in reply.headers if field[0] != "etag"]
            return reply
        headers += [("x-linked-size", len(data)), ("x-linked-etag", f'"{sha256(data)}"')]
        if self.cdn is None:
            reply = self.file(request, name)
            reply.headers = headers + reply.headers
            return reply
        return Reply(302, headers + [("location", f"{self.cdn.url}/cdn/{name}?signature=1")])

    def file(self, request, name):
        data = self.files[name]
        headers = [("etag", f'"{sha256(data)[:32]}"'), ("accept-ranges", "bytes")]
        if request.range is None or not self.ranges:
            return Reply(200, headers, data, is_file=True)
        first, last = request.range
        if first >= len(data):
            return Reply(416, [("content-range", f"bytes */{len(data)}")])
        last = min(last, len(data) - 1)
        headers.append(("content-range", f"bytes {first}-{last}/{len(data)}"))
        return Reply(206, headers, memoryview(data)[first:last + 1], is_file=True)

    def registry(self, request, path):
        """Files named "name:tag" are models of the registry."""
        found = re.fullmatch(r"/v2/(?:library/)?(.+)/manifests/(.+)", path)
        name = found and f"{found[1]}:{found[2]}"
        if name in self.files:
            data = self.files[name]
            layers = [{"mediaType": "application/vnd.ollama.image.model", "size": len(data),
                       "digest": "sha256:" + sha256(data)},
                      {"mediaType": "application/vnd.ollama.image.license", "size": 3,
                       "digest": "sha256:" + sha256(b"MIT")}]
            return Reply(body=json.dumps({"schemaVersion": 2, "layers": layers}).encode())
        found = re.fullmatch(r"/v2/.+/blobs/sha256:([0-9a-f]+)", path)
        for name, data in self.files.items():
            if found and found[1] == sha256(data):
                if self.cdn is not None:
                    return Reply(307, [("location", f"{self.cdn.url}/cdn/{name}")])
                return self.file(request, name)
        return Reply(404, body=b'{"error":"not found"}')
