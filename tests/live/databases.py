"""Database servers of the Debian packages, each run by an unprivileged user in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy

from tests.live.processes import Process, program, until
from tests.ports import free_port

PASSWORD = "geheim"


class DatabaseServer:
    """A server on a TCP port of its own. `stop` and `start` keep what is in it.

    Args:
        folder: for its output.
    """

    name: str
    user: str  # that runs it, where root may not

    def __init__(self, folder: Path) -> None:
        self._outputs = folder
        self.port = free_port()
        # Not below pytest's folder, which is for its owner alone.
        self.folder = Path(tempfile.mkdtemp(prefix=f"rfbproxy-live-{self.name}-"))
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        self._process: Process | None = None
        try:
            self._make()
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        raise NotImplementedError

    def _make(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _as_user(self, command: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        user = pwd.getpwnam(self.user)
        as_user = [program("setpriv"), "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        return [*as_user, *command]

    def _run(self, command: Sequence[str], **options: object) -> None:
        done = subprocess.run(
            self._as_user(command), cwd=self.folder, capture_output=True, text=True, timeout=100, **options
        )
        if done.returncode != 0:
            pytest.fail(f"{command[0]}: {done.stdout}{done.stderr}", pytrace=False)

    def start(self) -> None:
        self._process = Process(self.name, self._as_user(self._command()), self._outputs, cwd=self.folder)
        self._process.wait_for_port(self.port)
        until(self._lets_in, f"a login to {self.name}")

    def _lets_in(self) -> bool:
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError:  # PostgreSQL listens before it is ready
            return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(30)
            self._process = None

    def freeze(self) -> None:
        """Let it answer nothing any more, though its connections stay."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", f"{self.name} is frozen")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for process in [self._process.pid, *self._children()]:
            os.kill(process, number)

    def _children(self) -> list[int]:
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task")
        return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgresql(DatabaseServer):
    name, user = "postgresql", "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://proxy:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def _program(self, name: str) -> str:
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not found:
            pytest.fail(f"{name} is not installed: sh tests/live/debian.sh", pytrace=False)
        return str(found[-1])

    def _make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o644)
        how = ["--username=proxy", "--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        self._run([self._program("initdb"), "--pgdata=data", "--no-sync", *how])

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        return [self._program("postgres"), "-D", "data", *(f"--{name}={value}" for name, value in settings.items())]

    def stop(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGINT)  # SIGTERM would wait for the clients
        super().stop()


class Mariadb(DatabaseServer):
    name, user = "mariadb", "mysql"

    @property
    def url(self) -> str:
        return f"mysql+pymysql://proxy:{PASSWORD}@127.0.0.1:{self.port}/tokens"

    def _make(self) -> None:
        how = ["--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve"]
        self._run([program("mariadb-install-db"), "--no-defaults", f"--datadir={self.folder / 'data'}", *how])

    def _command(self) -> list[str]:
        (self.folder / "init.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS tokens;\n"
            f"CREATE USER IF NOT EXISTS proxy@127.0.0.1 IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON tokens.* TO proxy@127.0.0.1;\n"
        )
        (self.folder / "init.sql").chmod(0o644)
        settings = {
            "datadir": self.folder / "data",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "init-file": self.folder / "init.sql",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "innodb-buffer-pool-size": "16M",
            "innodb-flush-log-at-trx-commit": 0,
        }
        return [program("mariadbd"), "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]
