"""Malformed input in bulk: at the decoding layer, through the application, and as bytes on raw connections.

The amounts are those of a quick run; `RAPPORT_FULL=1` takes the full ones.
"""
