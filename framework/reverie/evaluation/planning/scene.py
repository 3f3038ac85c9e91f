"""What is shown of an episode's thoughts: which entry, on which axis, with which pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.contracts.environment import EnvironmentFactory
from reverie.contracts.specs import ActionSpec
from reverie.evaluation.planning.fans import CAME, CHOSEN, ELITE, PLAN, Stroke
from reverie.evaluation.planning.thoughts import Fan, Future, Thought, Verdict, verdict
from reverie.evaluation.recording import Recording

Array = NDArray[Any]

PAST = 12
"""Most real steps before now that are drawn."""


@dataclass(frozen=True)
class Entry:
    """A number that fans are drawn of: an element of a vector entry, or the reward so far (no key)."""

    label: str
    key: str | None = None
    index: int = 0

    @property
    def title(self) -> str:
        """The label as a heading begins."""
        return f"{self.label[:1].upper()}{self.label[1:]}"

    def of(self, future: Future) -> Array:
        """(n, H + 1): what is expected of it."""
        return future.gain if self.key is None else future.obs[self.key][..., self.index]

    def before(self, recording: Recording, step: int, past: int) -> Array:
        """(past + 1,): what it was, up to now."""
        if self.key is None:
            return np.zeros(1)
        values: Array = recording.obs[self.key][max(0, step - past) : step + 1, self.index]
        return values

    def after(self, recording: Recording, step: int, ahead: int) -> Array:
        """(up to ahead + 1,): what it then was, from now on."""
        if self.key is None:
            return np.concatenate([[0.0], recording.reward[step + 1 : step + 1 + ahead].cumsum()])
        values: Array = recording.obs[self.key][step : step + 1 + ahead, self.index]
        return values


@dataclass
class Scene:
    """An episode and its thoughts, with everything that the drawings share.

    Args:
        title: such as `dreamer · Pendulum-v1`.
        planner: what people call it.
        recording: what really happened.
        thoughts: one per decision.
        action: the action space.
        factory: draws states, where it can.
        labels: of the elements of vector entries.
    """

    title: str
    planner: str
    recording: Recording
    thoughts: Sequence[Thought]
    action: ActionSpec
    factory: EnvironmentFactory
    labels: dict[str, Sequence[str]]
    entry: Entry = field(init=False)
    span: tuple[float, float] = field(init=False)
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        self.entry = self._telling_entry()
        self.span = self._span()
        self.verdict = verdict(self.recording, self.thoughts)

    @property
    def horizon(self) -> int:
        return max(thought.horizon for thought in self.thoughts)

    @property
    def past(self) -> int:
        """Steps before now that are drawn."""
        return 0 if self.entry.key is None else min(PAST, self.horizon)

    def _telling_entry(self) -> Entry:
        """The element that plans move most, measured by how much it moves in the episode."""
        best, most = Entry("reward so far"), 0.0
        for key, labels in self.labels.items():
            if any(key not in fan.future.obs for thought in self.thoughts for fan in thought.fans[:1]):
                continue
            spread = self.recording.obs[key].std(0) + 1e-3  # (size,)
            ends = [thought.fans[0].future.obs[key][:, -1].std(0) for thought in self.thoughts]  # each (size,)
            moved = np.nan_to_num(np.mean(ends, 0) / spread)
            index = int(moved.argmax())
            if moved[index] > most:
                best, most = Entry(labels[index], key, index), float(moved[index])
        return best

    def _span(self) -> tuple[float, float]:
        """One axis for all decisions, so that nothing jumps: what happened, what was chosen, and most of the fans."""
        values = []
        for thought in self.thoughts:
            values.append(self.entry.after(self.recording, thought.step, thought.horizon))
            values.append(self.entry.of(thought.chosen).ravel())
            for fan in thought.fans:
                found = self.entry.of(fan.future)
                finite = found[np.isfinite(found)]
                if finite.size:
                    values.append(np.percentile(finite, [1, 99]))
        joined = np.concatenate(values)
        joined = joined[np.isfinite(joined)]
        return (float(joined.min()), float(joined.max())) if joined.size else (0.0, 1.0)

    # -- lines -------------------------------------------------------------------------------------------------------

    def fan_strokes(self, thought: Thought, fan: Fan, *, chosen: bool, came: bool) -> list[Stroke]:
        """A round's futures, the worst first; on request the chosen one and what then happened."""
        values = self.entry.of(fan.future)
        strokes = [Stroke(one, 0, PLAN, 1.2) for one, elite in zip(values, fan.elite, strict=True) if not elite]
        strokes += [Stroke(one, 0, ELITE, 1.8) for one, elite in zip(values, fan.elite, strict=True) if elite]
        before = self.entry.before(self.recording, thought.step, self.past)
        if came:
            strokes.append(Stroke(self.entry.after(self.recording, thought.step, thought.horizon), 0, CAME, 4.5))
        if chosen:
            strokes.append(Stroke(self.entry.of(thought.chosen)[0], 0, CHOSEN, 3.0))
        if len(before) > 1:
            strokes.append(Stroke(before, 1 - len(before), CAME, 3.5))
        return strokes

    def action_strokes(self, thought: Thought, fan: Fan, *, chosen: bool) -> list[Stroke]:
        """The first entry of a round's continuous actions. Action h leads from step h to the next."""
        values = fan.future.actions[..., 0]  # (n, H)
        strokes = [Stroke(one, 0, PLAN, 1.2) for one, elite in zip(values, fan.elite, strict=True) if not elite]
        strokes += [Stroke(one, 0, ELITE, 1.8) for one, elite in zip(values, fan.elite, strict=True) if elite]
        if chosen:
            strokes.append(Stroke(thought.chosen.actions[0, :, 0], 0, CHOSEN, 3.0))
        past = self.past_actions(thought)[:, 0]
        if len(past):
            strokes.append(Stroke(past, -len(past), CAME, 3.5))
        return strokes

    def past_actions(self, thought: Thought) -> Array:
        """(P, A): the actions of the last steps; row r of a recording holds the action that led to it."""
        found: Array = self.recording.action[max(1, thought.step + 1 - self.past) : thought.step + 1]
        return found if self.past else found[:0]

    @staticmethod
    def shares(fan: Fan) -> Array:
        """(H, A): how many of the elites take each action."""
        shares: Array = fan.future.actions[fan.elite].mean(0)
        return shares

    # -- pictures ----------------------------------------------------------------------------------------------------

    def picture_of(self, obs: dict[str, Array], row: int) -> Array | None:
        """The image entry of a row, or a drawing of the state that its vectors stand for."""
        image = next((value[row] for value in obs.values() if value.ndim == 4), None)
        if image is not None:
            return np.asarray(image)
        return self.factory.render_observation({key: value[row] for key, value in obs.items()}) if obs else None

    def came(self, step: int) -> Array | None:
        """What was really seen."""
        return self.picture_of(self.recording.obs, step)

    def planned(self, thought: Thought, ahead: int) -> Array | None:
        """What the model expected to see under the chosen plan."""
        return self.picture_of({key: value[0] for key, value in thought.chosen.obs.items()}, ahead)

    # -- words -------------------------------------------------------------------------------------------------------

    def counted(self, thought: Thought) -> str:
        """Which decision of those that are shown."""
        return f"Decision {thought.step + 1} of {self.thoughts[-1].step + 1}"

    def search(self, thought: Thought) -> str:
        """What was searched."""
        rounds, plans, steps = thought.sizes
        times = f"{rounds} rounds of {plans}" if rounds > 1 else f"{plans}"
        return f"{self.planner}: {times} plans, {steps} steps ahead"
