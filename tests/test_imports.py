"""The dependency law of design.md: what each part of the package may know of the others."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rfbproxy"
IO = {"socket", "ssl", "time", "random", "secrets", "os", "asyncio", "select", "selectors", "threading", "subprocess"}
DOORS = (
    "rfbproxy.service",
    "rfbproxy.serving",
    "rfbproxy.renewal",
    "rfbproxy.workers",
    "rfbproxy.assembly",
    "rfbproxy.api_assembly",
    "rfbproxy.spice_assembly",
    "rfbproxy.cli",
    "rfbproxy.config_check",
    "rfbproxy.tap",
    "rfbproxy.foreground",
    "rfbproxy.under_twistd",
    "rfbproxy.__main__",
)
SHARED = (
    "stream.py",
    "loan.py",
    "prompt.py",
    "congestion.py",
    "interactive.py",
    "tls.py",
    "tls_layer.py",
    "file_stamp.py",
    "x509_subject.py",
)  # between client and target
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imported(tree):
    """Dotted names of everything imported, anywhere in a module; `from a import b` is both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(module):
    return set(imported(ast.parse((PACKAGE / module).read_text())))


def within(name, *parts):
    return any(name == part or name.startswith(part + ".") for part in parts)


def those(*folders_and_files):
    chosen = [module for module in MODULES if module.startswith(folders_and_files)]
    assert chosen
    return chosen


def own(module):
    return {name for name in imports_of(module) if within(name, "rfbproxy")}


def other(module):
    return {name.split(".")[0] for name in imports_of(module)} - {"rfbproxy"}


@pytest.mark.parametrize("module", those("rfb/", "wire.py", "errors.py", "secret.py"))
def test_rfb_has_no_io_no_clock_and_no_randomness(module):
    assert all(
        within(name, "rfbproxy.rfb", "rfbproxy.wire", "rfbproxy.errors", "rfbproxy.secret") for name in own(module)
    )
    assert other(module) <= (set(sys.stdlib_module_names) - IO) | {"cryptography"}


@pytest.mark.parametrize("module", those("spice/"))
def test_spice_has_no_io_no_clock_and_no_randomness(module):
    assert all(
        within(name, "rfbproxy.spice", "rfbproxy.wire", "rfbproxy.errors", "rfbproxy.secret") for name in own(module)
    )
    assert other(module) <= (set(sys.stdlib_module_names) - IO) | {"cryptography"}


@pytest.mark.parametrize("module", those("websocket/"))
def test_websocket_has_no_io_and_only_its_masks_know_autobahns(module):
    assert all(within(name, "rfbproxy.websocket", "rfbproxy.wire", "rfbproxy.errors") for name in own(module))
    unmasking = {"_nvx_xormasker"} if module == "websocket/masks.py" else set()
    assert other(module) <= (set(sys.stdlib_module_names) - IO) | unmasking


@pytest.mark.parametrize("module", those("client/"))
def test_client_knows_nothing_of_targets_or_sessions(module):
    assert not any(
        within(name, "rfbproxy.target", "rfbproxy.session", "rfbproxy.consoleauth", "rfbproxy.demo", *DOORS)
        for name in own(module)
    )


@pytest.mark.parametrize("module", those("target/"))
def test_target_knows_nothing_of_clients_or_sessions(module):
    assert not any(
        within(name, "rfbproxy.client", "rfbproxy.session", "rfbproxy.consoleauth", "rfbproxy.demo", *DOORS)
        for name in own(module)
    )


@pytest.mark.parametrize("module", those("session/"))
def test_session_joins_what_it_is_given(module):
    assert not any(within(name, "rfbproxy.demo", "rfbproxy.config", *DOORS) for name in own(module))
    flags = {"socket"} if module == "session/socket_end.py" else set()
    assert not (other(module) - flags) & {"socket", "ssl", "autobahn"}


@pytest.mark.parametrize("module", those("consoleauth/"))
def test_consoleauth_knows_no_network_and_only_threads_know_twisted(module):
    assert all(within(name, "rfbproxy.consoleauth", "rfbproxy.errors", "rfbproxy.secret") for name in own(module))
    assert not other(module) & {"socket", "ssl", "asyncio", "autobahn"}
    assert ("twisted" in other(module)) <= (module in ("consoleauth/threaded.py", "consoleauth/threads.py"))


@pytest.mark.parametrize("module", those("api/"))
def test_the_api_knows_consoles_and_only_its_adapters_know_twisted(module):
    forbidden = ("rfbproxy.target", "rfbproxy.session", "rfbproxy.demo", "rfbproxy.rfb", "rfbproxy.spice", *DOORS)
    assert not any(within(name, *forbidden) for name in own(module))
    adapters = ("api/access.py", "api/request.py", "api/resource.py", "api/server.py")
    assert not other(module) & {"socket", "ssl", "autobahn", "sqlalchemy"}
    if module not in adapters:
        assert "twisted" not in other(module)
        assert not any(within(name, "rfbproxy.client") for name in own(module))


@pytest.mark.parametrize("module", those("metrics.py", "exposition.py"))
def test_metrics_are_plain_numbers(module):
    known = ("rfbproxy.metrics", "rfbproxy.reasons", "rfbproxy.consoleauth", "rfbproxy.__version__")
    assert all(name == "rfbproxy" or within(name, *known) for name in own(module))
    assert other(module) <= set(sys.stdlib_module_names) - IO | {"prometheus_client"}
    assert ("prometheus_client" in other(module)) is (module == "exposition.py")


@pytest.mark.parametrize("module", those("demo/"))
def test_the_demo_knows_rfb_alone(module):
    assert all(
        within(name, "rfbproxy.demo", "rfbproxy.rfb", "rfbproxy.wire", "rfbproxy.errors", "rfbproxy.secret")
        for name in own(module)
    )


@pytest.mark.parametrize("module", those(*SHARED, "transport.py", "reasons.py"))
def test_what_client_and_target_share_knows_neither(module):
    shared = [f"rfbproxy.{file.removesuffix('.py')}" for file in SHARED]
    known = ("rfbproxy.reasons", "rfbproxy.errors", "rfbproxy.wire", "rfbproxy.websocket", *shared)
    assert all(within(name, *known) for name in own(module))


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if not within("rfbproxy." + module.removesuffix(".py").replace("/", "."), *DOORS)],
)
def test_only_the_doors_assemble(module):
    assert not any(within(name, *DOORS) for name in own(module)), "imports a door"
    if not module.startswith("session/"):
        assert not any(within(name, "rfbproxy.session") for name in own(module)), "imports what only a door assembles"


def test_the_law_is_held_over_every_module():
    top = {
        "__init__.py",
        "__main__.py",
        "api_assembly.py",
        "address.py",
        "api_client.py",
        "assembly.py",
        "config.py",
        "consoles.py",
        "foreground.py",
        "graphics_xml.py",
        "issue.py",
        "listening.py",
        "spice_assembly.py",
        "under_twistd.py",
    }
    top |= {
        "config_check.py",
        "config_files.py",
        "config_sample.py",
        "written.py",
    }
    top |= {
        "deferreds.py",
        "heartbeat.py",
        "importing.py",
        "purging.py",
        "reactor.py",
        "readiness.py",
        "renewal.py",
        "serving.py",
        "signals.py",
        "store_options.py",
    }
    top |= {m for m in MODULES if m.startswith(("cli/", "options/", "workers/"))}
    top |= {"log_file.py", "log_text.py", "quick_logger.py", "service.py", "systemd.py", "tap.py", "viewer_file.py"}
    top |= {"web/__init__.py"}
    held = {
        m
        for m in MODULES
        if m.startswith(
            ("rfb/", "spice/", "websocket/", "client/", "target/", "session/", "consoleauth/", "demo/", "api/")
        )
    }
    held |= {*SHARED, "wire.py", "errors.py", "secret.py", "transport.py", "reasons.py", "metrics.py", "exposition.py"}
    assert set(MODULES) <= held | top


@pytest.mark.parametrize(
    ("module", "later"),
    [
        ("rfbproxy.__main__", {"argparse", "cryptography", "json"}),
        ("rfbproxy.cli.main", {"sqlalchemy", "twisted", "oslo_config", "OpenSSL"}),
        ("rfbproxy.tap", {"sqlalchemy", "rfbproxy.assembly", "rfbproxy.session"}),
        ("rfbproxy.workers.worker", {"oslo_config", "prometheus_client"}),
        ("rfbproxy.workers.supervisor", {"jsonschema"}),
    ],
)
def test_what_takes_long_to_import_waits_until_it_is_needed(module, later):
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert not later & set(found.stdout.split())


def test_the_walk_sees_every_form_of_import():
    tree = ast.parse("import a.b\nfrom c import d\ndef f():\n    import e\n    from g.h import i as j\n")
    assert set(imported(tree)) == {"a.b", "c", "c.d", "e", "g.h", "g.h.i"}


def test_the_plugin_names_the_service_maker():
    plugin = (ROOT / "twisted" / "plugins" / "consoleproxy.py").read_text()
    assert len(plugin.splitlines()) <= 12
    assert "rfbproxy" in plugin
