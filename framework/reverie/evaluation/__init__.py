"""How good an agent and its world model are: the protocol, reference policies, dream videos, learning curves."""
