"""What the whole tree has promised: layers, events, refusals, documentation, the repository itself."""
