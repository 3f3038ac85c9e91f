"""How components are found: specs, hooks, the guarded plugin manager and the catalogue. No torch, no hydra."""
