"""A Python process that has imported the packages already, and forks one for each command.

``python -m echo.tests.forkserver FD`` takes its requests from that socket; forks.py sends
them. A child goes on as ``python manage.py …``, ``python -m …`` or ``python -c …`` does, in
its own directory, with its own environment and files. Nothing of the site is imported here:
its settings and models depend on the environment.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

REQUEST_BYTES = 128 * 1024
FILES = 4  # standard input, output and error, and where the parent's report goes
# What servers and commands import, but for what needs settings, and for Daphne's server,
# which makes an event loop when it is imported: each process must have its own.
PACKAGES = (
    *("autobahn.twisted", "twisted.internet.asyncioreactor", "twisted.web.http"),
    *("channels.generic.http", "channels_redis.pubsub", "environs", "psycopg_pool"),
    *("django.contrib.admin.templatetags.log", "django.contrib.staticfiles.handlers"),
    *("django.core.management.commands.migrate", "django.db.backends.sqlite3.base"),
    *("django.test", "google.protobuf.descriptor_pb2", "prometheus_client"),
    *("pythonjsonlogger", "servestatic.middleware", "uvicorn.lifespan.on"),
    *("uvicorn.loops.uvloop", "uvicorn.protocols.http.h11_impl"),
    *("uvicorn.protocols.http.httptools_impl", "websockets.client", "websockets.proxy"),
)


class Server:
    """Forks a child for each request, and reports the child's id and then its end."""

    def __init__(self, requests: socket.socket) -> None:
        self.requests = requests
        self.selector = selectors.DefaultSelector()
        self.selector.register(requests, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Return a request in the child that is to run it, and None when no more come."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is not self.requests:
                    self.report_end(key)
                    continue
                data, files, _, _ = socket.recv_fds(self.requests, REQUEST_BYTES, FILES)
                if not data:
                    return None
                if self.fork(files) == 0:
                    return dict(json.loads(data))

    def fork(self, files: list[int]) -> int:
        *standard, report = files
        if (pid := os.fork()) == 0:
            for number, file in enumerate(standard):
                os.dup2(file, number)
            # Or they would close what has their numbers later, when they are collected.
            self.selector.close()
            self.requests.close()
            open_files = [int(name) for name in os.listdir("/proc/self/fd")]
            os.closerange(3, max(open_files) + 1)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            sys.stderr = open(  # noqa: SIM115
                2, "w", buffering=1, errors="backslashreplace", closefd=False
            )
            return 0
        for file in standard:
            os.close(file)
        os.write(report, b"%d\n" % pid)
        handle = os.pidfd_open(pid)
        self.selector.register(handle, selectors.EVENT_READ, (pid, report))
        return pid

    def report_end(self, key: selectors.SelectorKey) -> None:
        pid, report = key.data
        _, status = os.waitpid(pid, 0)
        self.selector.unregister(key.fileobj)
        os.close(key.fd)
        with suppress(BrokenPipeError):  # nobody waits for this end any more
            os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(report)


def run(command: list[str], environment: dict[str, str], directory: str) -> None:
    """Do what ``python`` does with these arguments."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    kind, *arguments = command
    if kind == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *arguments[1:]]
        exec(arguments[0], {"__name__": "__main__"})
    else:
        sys.argv = command
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    for package in PACKAGES:
        import_module(package)
    gc.freeze()  # so that children do not copy what no collection will free
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for children
    request = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        signal.signal(signal.SIGINT, interrupt)
        if request["new_session"]:
            os.setsid()
        run(request["command"], request["environment"], request["directory"])
