"""Malformed input in bulk: at the decoding layer, through the application, and as bytes on raw connections.

And a program that nobody here wrote, which holds every operation to its description. The amounts are those of a quick
run; `make fuzz` takes the full ones.
"""
