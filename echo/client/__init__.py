"""The command-line client: ``manage.py wsclient``, and a library without Django.

``session`` is a run from the first connection to the exit code; ``connection`` runs the
sans-I/O core of ``websockets`` on a socket; ``trace`` decodes the bytes in both directions.
"""
