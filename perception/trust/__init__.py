"""How far a model can be trusted: corrupted pictures, attacks, and what its decisions rest on."""
