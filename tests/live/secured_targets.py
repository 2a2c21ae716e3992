"""Machines and desktops that ask for TLS, a user or both: QEMU, Xvnc and x11vnc, in each way that they know."""

from collections.abc import Sequence
from pathlib import Path

from tests.live.accounts import USER, Accounts, sasl_account, sasl_configuration
from tests.live.pki import Identity
from tests.live.targets import Qemu, X11vnc, Xvnc

ANONYMOUS = ["tls-creds-anon,id=tls,endpoint=server"]
XVNC_SUBTYPES = ["Plain", "TLSNone", "TLSVnc", "TLSPlain", "X509None", "X509Vnc", "X509Plain"]
LOWEST_OPENSSL = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = lowest
[lowest]
CipherString = DEFAULT:@SECLEVEL=0
"""


def x509(identity: Identity, *, verify_peer: bool = False) -> list[str]:
    """QEMU's certificate; whoever has another may be turned away. It is served even if it is over."""
    verify = "on" if verify_peer else "off"
    return [f"tls-creds-x509,id=tls,dir={identity.folder},endpoint=server,verify-peer={verify},sanity-check=off"]


class TlsQemu(Qemu):
    """VeNCrypt with one subtype, which follows from the credentials and from whether there is a password."""

    def __init__(self, name: str, folder: Path, credentials: Sequence[str], *, password: bool = False) -> None:
        super().__init__(name, folder, password=password, vnc=",tls-creds=tls", objects=credentials)


class SaslQemu(Qemu):
    """SASL, alone or inside TLS.

    QEMU 7.2 offers every mechanism that the library has, but only inside X509; everywhere else it wants one that
    encrypts the session, which of Debian's plain modules DIGEST-MD5 alone does. (Over a UNIX socket it would be
    content with less, but fails there: it wants to tell SASL an address.)

    Args:
        mechanisms: what it offers; None for all.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        credentials: Sequence[str] = (),
        *,
        mechanisms: str | None = None,
    ) -> None:
        configuration = folder / f"{name}-sasl"
        sasl_configuration(configuration, mechanisms)
        super().__init__(
            name,
            folder,
            username=USER,
            vnc=",sasl=on" + (",tls-creds=tls" if credentials else ""),
            objects=credentials,
            environment={"SASL_CONF_PATH": str(configuration)},
        )
        assert self.password is not None
        sasl_account(configuration, USER, self.password)


class TlsXvnc(Xvnc):
    """An Xvnc with one of its VeNCrypt subtypes, which include Plain without TLS."""

    def __init__(self, name: str, folder: Path, subtype: str, identity: Identity, accounts: Accounts) -> None:
        self._subtype = subtype
        self._identity = identity
        self._accounts = accounts
        username = USER if subtype.endswith("Plain") else None
        password = subtype.endswith("Vnc")
        super().__init__(name, folder, password=password, username=username)

    def _security_options(self) -> list[str]:
        options = ["-SecurityTypes", self._subtype]
        if self._subtype.startswith("X509"):
            options += ["-X509Cert", str(self._identity.cert), "-X509Key", str(self._identity.key)]
        if self._subtype.endswith("Vnc"):
            options += self._password_options()
        if self.username is not None and self.password is not None:
            self._accounts.add(self.username, self.password)
            options += ["-PAMService", self._accounts.pam_service, "-PlainUsers", self.username]
        return options


class TlsX11vnc(X11vnc):
    """An x11vnc that offers anonymous TLS and X509 at once, with what it asks for inside of them.

    Anonymous TLS needs OpenSSL's security level 0 on its side too, which its own options cannot ask for.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        desktop: Xvnc,
        identity: Identity,
        *,
        password: bool = False,
        accounts: Accounts | None = None,
    ) -> None:
        self._identity = identity
        self._accounts = accounts
        super().__init__(name, folder, desktop, password=password, username=USER if accounts else None)

    def _security_options(self) -> list[str]:
        plain = "plain:" if self._accounts else ""
        options = ["-ssl", str(self._identity.both), "-vencrypt", f"{plain}force"]
        if self.password is None:
            return [*options, "-nopw"]
        if self._accounts is None:
            file = self.folder / "passwd"
            file.write_text(f"{self.password}\n")
            return [*options, "-passwdfile", str(file)]
        assert self.username is not None
        self._accounts.add(self.username, self.password)
        return [*options, "-unixpw_cmd", str(self._accounts.command)]

    def _environment(self) -> dict[str, str]:
        configuration = self.folder / "openssl.cnf"
        configuration.write_text(LOWEST_OPENSSL)
        return {"OPENSSL_CONF": str(configuration), "HOME": str(self.folder)}
