"""Recipes: composed by Hydra, validated by pydantic, wired and checked before anything trains."""
