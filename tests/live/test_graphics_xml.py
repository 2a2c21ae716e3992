"""libvirt takes what `graphics-xml` prints: its own schema says so."""

import subprocess
from pathlib import Path

import pytest

from rfbproxy.config import Config
from rfbproxy.graphics_xml import graphics_xml

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
DOMAIN = """<domain type="kvm">
  <name>machine</name>
  <memory>65536</memory>
  <os><type>hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""


def validate(devices: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "domain.xml").write_text(DOMAIN.format(devices=devices))
    return subprocess.run(
        ["xmllint", "--noout", "--relaxng", SCHEMA, folder / "domain.xml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("vnc", ""),
        ("vnc", "[DEFAULT]\nvncserver_listen = 0.0.0.0\n"),
        ("vnc", "[vnc]\nkeymap =\nserver_listen =\n"),
        ("spice", ""),
        ("spice", "[spice]\nkeymap = de-ch\nserver_listen = [2001:db8::1]\n"),
        ("spice", "[spice]\nrequire_secure = True\nserver_listen = node1.example\n"),
        ("spice", "[spice]\nagent_enabled = False\nkeymap =\nserver_listen =\n"),
    ],
)
def test_libvirt_takes_it(tmp_path: Path, protocol: str, options: str) -> None:
    (tmp_path / "nova.conf").write_text(options)
    result = validate(graphics_xml(Config([str(tmp_path / "nova.conf")]), protocol), tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_schema_tells_good_from_bad(tmp_path: Path) -> None:
    assert validate('<graphics type="spice" autoport="perhaps" />', tmp_path).returncode != 0
