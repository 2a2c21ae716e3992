"""A keystone and a compute API that answer what a test tells them to."""

import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEYSTONE_TOKEN = "keystones-token"


class OpenStack:
    """Both on one port of 127.0.0.1: `/identity/v3` and `/v2.1`.

    Attributes:
        consoles: what the compute API knows, by token.
        newest: the newest microversion that it speaks.
        status: what it answers instead; None: what is right.
        silent: seconds before it answers.
        login_status: what keystone answers to a login.
        asked: method, path and microversion of each request.
    """

    def __init__(self, server):
        self.port = server.server_port
        self.consoles = {}
        self.newest = (2, 100)
        self.status = None
        self.body = None
        self.silent = 0
        self.login_status = 201
        self.keystone_silent = 0
        self.asked = []
        self.logins = []

    @property
    def url(self):
        return f"nova+http://127.0.0.1:{self.port}/v2.1"

    @property
    def login(self):
        return {
            "auth_type": "password",
            "auth_url": f"http://127.0.0.1:{self.port}/identity",
            "username": "nova",
            "password": "geheim",
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    def answer(self, method, path, headers, body):
        """Status and JSON."""
        version = headers.get("OpenStack-API-Version", "")
        self.asked.append((method, path, version))
        if path.startswith("/identity"):
            time.sleep(self.keystone_silent)
            return self._keystone(method, path, body)
        time.sleep(self.silent)
        if headers.get("X-Auth-Token") != KEYSTONE_TOKEN:
            return 401, {}
        if self.status is not None:
            return self.status, {"error": {"message": f"about {path}"}} if self.body is None else self.body
        name, _, number = version.partition(" ")
        asked = tuple(map(int, number.split(".")))
        if name != "compute" or asked > self.newest:
            return 406, {"computeFault": {"message": f"Version {number} is not supported by the API."}}
        console = self.consoles.get(path.removeprefix("/v2.1/os-console-auth-tokens/"))
        if console is None:
            return 404, {"itemNotFound": {"code": 404, "message": "Token not found"}}
        if asked < (2, 99):
            console = {name: value for name, value in console.items() if name != "tls_port"}
        return 200, {"console": console}

    def _keystone(self, method, path, body):
        if path == "/identity/v3/auth/tokens" and method == "POST":
            self.logins.append(json.loads(body))
            token = {"methods": ["password"], "expires_at": "2100-01-01T00:00:00.000000Z", "user": {"id": "u"}}
            return self.login_status, {"token": token} if self.login_status == 201 else {"error": {"message": "geheim"}}
        href = f"http://127.0.0.1:{self.port}/identity/v3/"
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": href}]}
        return (200, {"version": version}) if "v3" in path else (300, {"versions": {"values": [version]}})


@contextmanager
def openstack():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = self.server.openstack.answer(self.command, self.path, self.headers, body)
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            if status == 201:
                self.send_header("X-Subject-Token", KEYSTONE_TOKEN)
            with suppress(ConnectionError):  # of a client that did not wait
                self.end_headers()
                self.wfile.write(text)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.openstack = OpenStack(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.openstack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
