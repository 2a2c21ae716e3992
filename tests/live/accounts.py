"""Users and passwords that are really checked: by PAM for Xvnc, a command for x11vnc, a SASL database for QEMU."""

import os
import subprocess
from functools import cached_property
from pathlib import Path

import pytest

from tests.live.processes import program

PAM_SERVICES = Path("/etc/pam.d")  # pam_start() knows no other place
USER = "alice"


class Accounts:
    """Lines `user:password` of a file; whoever is in it may come in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._known = folder / "known"
        self._known.touch()
        self._pam_service = PAM_SERVICES / f"rfbproxy-live-{os.getpid()}"

    def add(self, user: str, password: str) -> None:
        with self._known.open("a") as known:
            known.write(f"{user}:{password}\n")

    @cached_property
    def pam_service(self) -> str:
        """The name of a PAM service of this run alone; only root may add one."""
        check = self._script("pam", f'grep -qxF "$PAM_USER:$(tr -d "\\0")" {self._known}')
        rules = f"auth required pam_exec.so quiet expose_authtok {check}\naccount required pam_permit.so\n"
        try:
            self._pam_service.write_text(rules)
        except OSError as error:
            pytest.fail(f"a PAM service is needed for VeNCrypt Plain: {error}", pytrace=False)
        return self._pam_service.name

    @cached_property
    def command(self) -> Path:
        """A program that reads a user and a password, a line each, and ends with 0 if they are known."""
        return self._script("command", f'read -r user; read -r password; grep -qxF "$user:$password" {self._known}')

    def _script(self, name: str, line: str) -> Path:
        file = self._folder / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o700)
        return file

    def remove(self) -> None:
        """Leave nothing outside the folder."""
        self._pam_service.unlink(missing_ok=True)


def sasl_configuration(folder: Path, mechanisms: str | None) -> None:
    """Make a folder for SASL_CONF_PATH of QEMU; without `mechanisms` all are offered that the connection allows."""
    folder.mkdir()
    chosen = f"mech_list: {mechanisms}\n" if mechanisms else ""
    (folder / "qemu.conf").write_text(f"{chosen}sasldb_path: {folder / 'sasldb'}\n")


def sasl_account(folder: Path, user: str, password: str) -> None:
    """Add a user to the database there."""
    command = [program("saslpasswd2"), "-c", "-p", "-a", "qemu", "-f", folder / "sasldb", user]
    subprocess.run(command, input=password.encode(), check=True, timeout=30)
