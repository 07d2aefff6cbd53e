"""The race from the shell: ``manage.py race``, on raw sockets, with every byte counted.

``run`` is the race from the reservation to the figures; ``lanes`` are the five ways; ``stream``
counts the bytes of a socket; ``heads`` is what a browser says in its requests. Does what the
page Transports does, request by request, so that both cost the same. Needs no database.
"""
