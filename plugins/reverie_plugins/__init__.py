"""Built-in plugins of Reverie."""
