"""Watching a planner think: what it considered before each decision, and what then happened."""

from reverie.evaluation.planning.pictures import PlanPictures, plan
from reverie.evaluation.planning.thoughts import Thinker, Verdict, think

__all__ = ["PlanPictures", "Thinker", "Verdict", "plan", "think"]
