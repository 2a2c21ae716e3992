"""The load balancers of docs/how-to/load-balancer, started from exactly those files, and one that mixes proxies.

The former come to the proxy from an address of their own, so that a browser's can be told from theirs.
"""

from pathlib import Path

from tests.certificates import certificate
from tests.live.processes import Process
from tests.ports import free_port

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "load-balancer"
ADDRESS = "127.0.0.9"  # of the load balancer, as the proxy sees it


def filled(name: str, folder: Path, **words: str) -> Path:
    """A file of the manual with its words replaced."""
    text = (FILES / name).read_text()
    for word, value in words.items():
        assert f"@{word}@" in text
        text = text.replace(f"@{word}@", value)
    assert "@" not in text.partition("\n\n")[2], "every word is replaced"
    (folder / name).write_text(text)
    return folder / name


class Haproxy:
    """HAProxy: `https` takes TLS off, `tcp` says who the client is in a PROXY header."""

    def __init__(self, folder: Path, proxy_port: int, *, https: int, tcp: int) -> None:
        pem = folder / "haproxy.pem"
        certificate(pem, pem)
        file = filled(
            "haproxy.cfg",
            folder,
            PROXY=f"127.0.0.1:{proxy_port} source {ADDRESS}",
            HTTPS=f"127.0.0.1:{https}",
            TCP=f"127.0.0.1:{tcp}",
            PEM=str(pem),
        )
        self.process = Process("haproxy", ["haproxy", "-db", "-f", str(file)], folder)
        for port in (https, tcp):
            self.process.wait_for_port(port)


class Nginx:
    """Nginx under the prefix `/console/`, which it takes away or leaves.

    Args:
        strips: whether it takes the prefix away, as the manual has it.
    """

    def __init__(self, folder: Path, proxy_port: int, port: int, *, strips: bool = True) -> None:
        file = filled("nginx.conf", folder, PROXY=f"127.0.0.1:{proxy_port}", HTTP=f"127.0.0.1:{port}")
        if not strips:
            text = file.read_text()
            assert "proxy_pass http://console_proxies/;" in text
            file.write_text(text.replace("proxy_pass http://console_proxies/;", "proxy_pass http://console_proxies;"))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        main = folder / "main.conf"
        main.write_text(
            f"daemon off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
            f"http {{\n{paths}\naccess_log off; proxy_bind {ADDRESS};\ninclude {file};\n}}\n"
        )
        self.process = Process("nginx", ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(main)], folder)
        self.process.wait_for_port(port)


class RoundRobin:
    """HAProxy sending each connection to the next proxy, whatever it carries."""

    def __init__(self, folder: Path, proxy_ports: list[int]) -> None:
        self.port = free_port()
        file = folder / "round-robin.cfg"
        servers = "".join(f"  server proxy{port} 127.0.0.1:{port}\n" for port in proxy_ports)
        file.write_text(
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1m\n  timeout server 1m\n"
            f"listen consoles\n  bind 127.0.0.1:{self.port}\n  balance roundrobin\n{servers}"
        )
        self.process = Process("round-robin", ["haproxy", "-db", "-f", str(file)], folder)
        self.process.wait_for_port(self.port)
