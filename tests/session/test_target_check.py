import pytest

from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.target_check import LibvirtCheck
from tests.session.fakes import console_token

UUID = "5a2f6a4e-9f0c-4b43-8d6f-0d1f6c0f8a11"
OTHER = "00000000-9f0c-4b43-8d6f-0d1f6c0f8a11"

# As libvirt's QEMU driver writes it, shortened.
STATUS = """<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
<domstatus state='running' reason='booted' pid='4711'>
  <monitor path='/var/lib/libvirt/qemu/domain-1/monitor.sock' type='unix'/>
  <domain type='kvm' id='1'>
    <name>instance-00000001</name>
    <uuid>{uuid}</uuid>
    <devices>
      <input type='mouse' bus='ps2'/>
      {graphics}
    </devices>
  </domain>
</domstatus>
"""
VNC = "<graphics type='vnc' port='5901' autoport='yes' listen='0.0.0.0'/>"
SPICE = "<graphics type='spice' port='5902' tlsPort='5903' autoport='yes'/>"
SECURE = "<graphics type='spice' tlsPort='5903' autoport='yes'/>"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "other", VNC.replace("5901", "5909"), OTHER)
    return tmp_path


def write(folder, name, graphics, uuid=UUID):
    (folder / f"{name}.xml").write_text(STATUS.format(uuid=uuid, graphics=graphics))


def token(**fields):
    return console_token(**{"instance_uuid": UUID, "port": 5901} | fields)


def refused(folder, **fields):
    with pytest.raises(Refused) as caught:
        LibvirtCheck(folder).check(token(**fields))
    return caught.value


@pytest.mark.parametrize(
    ("graphics", "fields"),
    [
        (VNC, {}),
        (VNC, {"instance_uuid": UUID.upper()}),
        (VNC, {"console_type": "vnc-direct"}),
        (VNC, {"console_type": None}),
        (VNC + SPICE, {}),
        (VNC + SPICE, {"console_type": "spice-html5", "port": 5902}),
        (SPICE, {"console_type": "spice-direct", "port": 5902, "tls_port": 5903}),
        (SPICE, {"console_type": "spice-direct", "port": 0, "tls_port": 5903}),
        (SECURE, {"console_type": "spice-direct", "port": 5903}),
    ],
)
def test_the_instances_own_console(folder, graphics, fields):
    write(folder, "mine", graphics)
    LibvirtCheck(folder).check(token(**fields))


@pytest.mark.parametrize(
    ("graphics", "fields"),
    [
        (VNC, {"port": 5902}),
        (VNC, {"port": 5909}),
        (VNC, {"console_type": "spice-html5"}),
        (SPICE, {"port": 5902}),
        (SPICE, {"console_type": "spice-html5", "port": 5902, "tls_port": 5904}),
        (SPICE, {"console_type": "spice-html5", "port": 0}),
        (SECURE, {"console_type": "spice-html5", "port": 5902}),
        ("<graphics type='vnc' socket='/run/vnc.sock'/>", {}),
        ("<graphics type='vnc' port='-1' autoport='yes'/>", {}),
        ("", {}),
    ],
)
def test_somebody_elses(folder, graphics, fields):
    write(folder, "mine", graphics)
    found = refused(folder, **fields)
    assert found.reason is CloseReason.TARGET_UNREACHABLE
    assert "is not the instance's console any more" in found.detail
    assert UUID in found.detail


def test_a_machine_that_does_not_run(folder):
    assert f"no machine of instance {UUID} runs here" in refused(folder).detail


def test_a_domain_without_its_status(folder):
    xml = STATUS.format(uuid=UUID, graphics=VNC)
    (folder / "mine.xml").write_text(xml[xml.index("<domain ") : xml.index("</domstatus>")])
    LibvirtCheck(folder).check(token())


def test_what_is_no_machines_xml_is_passed_over(folder):
    write(folder, "mine", VNC)
    (folder / "a.xml").write_text(f"<broken {UUID}")
    (folder / "b.xml").write_text(f"<network><uuid>{UUID}</uuid></network>")
    (folder / "c.xml").write_text(f"<domain><uuid>{OTHER}</uuid><metadata>{UUID}</metadata></domain>")
    (folder / "d.pid").write_text(UUID)
    (folder / "e.xml").symlink_to(folder / "gone")
    LibvirtCheck(folder).check(token())


def test_a_token_without_an_instance(folder):
    assert "names no instance" in refused(folder, instance_uuid=None).detail


def test_a_folder_that_cannot_be_read(tmp_path):
    found = refused(tmp_path / "none")
    assert found.reason is CloseReason.INTERNAL
    assert "none cannot be read: No such file or directory" in found.detail
