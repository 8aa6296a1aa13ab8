"""Measures the service against its floors, on real servers; `scripts/bench` runs it.

No part of the product imports it, and it reaches the service only as callers do: over HTTP, by the
command line, and, for the floors, by the same drivers and the same programs that the service uses.
"""
