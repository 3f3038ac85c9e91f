"""From a recipe to an agent: build its parts, imagine with them, probe them, load them again."""
