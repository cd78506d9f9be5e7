"""Everything that faces outwards: HTTP routes, the command line, and the composition root that wires the layers."""
