"""The command-line client: ``manage.py wsclient``, and a library without Django.

``session`` is a run from the first connection to the exit code; ``connection`` puts the
sans-I/O core of ``websockets`` on a socket; ``trace`` reads the bytes that go by.
"""
