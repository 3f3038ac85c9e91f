"""Inside the dream: a trained world model as a Gymnasium environment, and for a person to play."""
