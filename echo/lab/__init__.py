"""The experiments of the pages Transports, Market and Protocol, one module for each.

Each runs for real, on this site, and is bounded in size, time and number; what they share
is in ``bounds``. The server connects to nothing but itself.
"""
