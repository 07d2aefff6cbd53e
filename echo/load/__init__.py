"""The load that `manage.py bench` and ``bench/`` put on a server; knows nothing of the site."""
