"""Has the garbage collector spend its time on connections, not on modules.

Python looks at all objects whenever a quarter more of them are there: in a storm of
handshakes that took a quarter of the processor's time, and each look at Django's modules
held up the event loop for 50 ms and more.
"""

import gc

# New objects before the young ones are looked at; Python's own 700 is reached after every
# seventh handshake.
YOUNG_OBJECTS = 5_000
# Looks at the young objects before one at the older ones, and of those before one at all.
# Python's own 10 would leave dead cycles, megabytes of them, for twice as long each.
LOOKS = 5


def exempt_modules() -> None:
    """Exempt what is there now; a server calls it once, when it has imported everything."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, LOOKS, LOOKS)
