"""Mutations of correctness notes 1 to 3: resets, ends of vector environments, arrival alignment."""

from mutating import Mutation
from suites import AGENT, AGENTS, ALIGNED, BEHAVIOUR, CELLS, COLLECTOR, FRESH, PROTOCOL, REPLAY, ROWS, RSSM, WORLD_MODEL

_CONVERTER = "reverie.training.rows:LoopConverter.step"
_BATCH = "reverie.training.replay.replay:Replay._batch"

RESETS = [
    Mutation(
        1,
        "the recurrent state survives a reset",
        "episodes leak into one another; the model learns transitions that never happen",
        "reverie_plugins.rssm.dynamics:RSSM.observe",
        "deter.masked_fill(forget_t, 0.0)",
        "deter",
        (
            f"{RSSM}test_is_first_clears_deter_stoch_and_action",
            f"{AGENTS}test_nothing_crosses_an_episode_border_not_even_the_action",
        ),
    ),
    Mutation(
        1,
        "the stochastic state survives a reset",
        "the same, through the other half of the state",
        "reverie_plugins.rssm.dynamics:RSSM.observe",
        "stoch.masked_fill(forget_t, 0.0)",
        "stoch",
        (
            f"{RSSM}test_is_first_clears_deter_stoch_and_action",
            f"{AGENTS}test_nothing_crosses_an_episode_border_not_even_the_action",
        ),
    ),
    Mutation(
        1,
        "the previous action survives a reset",
        "the last action of an episode is said to have led to the first observation of the next",
        "reverie_plugins.rssm.dynamics:RSSM.observe",
        "action.masked_fill(forget, 0.0)",
        "action",
        (
            f"{RSSM}test_is_first_clears_deter_stoch_and_action",
            f"{AGENTS}test_nothing_crosses_an_episode_border_not_even_the_action",
        ),
    ),
    Mutation(
        1,
        "states are cleared only where every row begins",
        "a shortcut that works in tests with one row",
        "reverie_plugins.rssm.dynamics:RSSM.observe",
        "is_first.any(0)",
        "is_first.all(0)",
        (f"{RSSM}test_filtering_equals_the_reference",),
    ),
    Mutation(
        1,
        "episodes do not begin in the learned state",
        "2023's initial state is trained and never used",
        "reverie_plugins.rssm.dynamics:RSSM.observe",
        "torch.where(forget_t, fresh.deter, deter)",
        "deter",
        (f"{CELLS}test_a_learned_beginning",),
    ),
    Mutation(
        1,
        "a fresh chunk feels the action that led into it",
        "an action is applied to a state that nobody knows: zeros plus an action is a state of no episode",
        "reverie.contracts.view:View._fresh",
        "fresh[:, 0] = True",
        "fresh[:, 0] = fresh[:, 0]",
        (f"{FRESH}test_the_first_action_of_a_fresh_chunk_is_forgotten_and_a_carried_one_is_not",),
    ),
    Mutation(
        1,
        "a carried state is dropped",
        "chunks start blind although the state before them was stored",
        "reverie.contracts.view:View.observed",
        "self._carried, sampling",
        "None, sampling",
        (f"{FRESH}test_a_chunk_goes_on_from_the_state_that_is_carried_in",),
    ),
    Mutation(
        1,
        "the agent is not told of resets while it acts",
        "acting filters otherwise than training does; the policy sees states it was never trained on",
        "reverie.training.collector:Collector._agent_actions",
        "self._is_first | self._fresh",
        "self._fresh",
        (
            f"{AGENTS}test_states_filtered_while_acting_are_those_of_training",
            f"{COLLECTOR}test_the_agent_hears_of_first_observations_exactly_when_they_wait",
        ),
    ),
    Mutation(
        1,
        "an evaluation begins in the middle of nowhere",
        "the first state of every evaluated episode is wrong",
        "reverie.evaluation.episodes:_Table.run",
        "is_first = np.ones(len(self.seeds), dtype=bool)",
        "is_first = np.zeros(len(self.seeds), dtype=bool)",
        (f"{PROTOCOL}test_the_policy_sees_the_whole_batch_until_the_end",),
    ),
    Mutation(
        2,
        "the reset is expected one step early",
        "the terminal transition is taken for a reset and deleted, and the goal reward with it",
        _CONVERTER,
        "AutoresetMode.NEXT_STEP and self._ended[i]",
        "AutoresetMode.NEXT_STEP and taken.is_last[i]",
        (f"{ALIGNED}test_loops_of_all_three_autoreset_modes_are_aligned", f"{ROWS}test_next_step_by_hand"),
    ),
    Mutation(
        2,
        "the ignored action is recorded",
        "an action that nobody executed is said to have led to the first observation",
        _CONVERTER,
        "found.append(fresh[one])",
        "found.append(taken[one])",
        (f"{ALIGNED}test_loops_of_all_three_autoreset_modes_are_aligned", f"{ROWS}test_next_step_by_hand"),
    ),
    Mutation(
        2,
        "the first observation stands in for the final one",
        "with same-step resets the last observation of every episode belongs to the next one",
        _CONVERTER,
        "_with_final(taken[one], infos, i)",
        "taken[one]",
        (f"{ALIGNED}test_loops_of_all_three_autoreset_modes_are_aligned", f"{ROWS}test_same_step_by_hand"),
    ),
    Mutation(
        2,
        "the mask of transitions is off by one",
        "heads that read transitions never see the terminal one, and do see one across the border",
        "reverie.contracts.view:View.transition",
        "valid = ~(self.batch.is_first | first)",
        "valid = ~(self.batch.is_last | first)",
        (
            f"{AGENTS}test_heads_see_the_transition_that_the_rows_describe",
            f"{WORLD_MODEL}test_a_head_that_reads_transitions_has_no_loss_where_there_is_none",
        ),
    ),
]

ALIGNMENT = [
    Mutation(
        3,
        "rewards are those of departure",
        "the reward head learns the reward of the next step; nothing crashes and curves still rise",
        _BATCH,
        'reward=tensors["reward"]',
        'reward=tensors["reward"].roll(-1, 1)',
        (
            f"{ALIGNED}test_collector_replay_and_batch_are_aligned_at_every_index",
            f"{REPLAY}test_chunks_are_consecutive_rows_of_one_stream_with_every_column",
        ),
    ),
    Mutation(
        3,
        "actions are those of departure",
        "the model predicts o_t from the action that follows it",
        _BATCH,
        'action=tensors["action"]',
        'action=tensors["action"].roll(-1, 1)',
        (
            f"{ALIGNED}test_collector_replay_and_batch_are_aligned_at_every_index",
            f"{REPLAY}test_chunks_are_consecutive_rows_of_one_stream_with_every_column",
        ),
    ),
    Mutation(
        3,
        "the agent remembers the action before the last",
        "acting is shifted against training by one step",
        "reverie.assembly.agent:Agent.act",
        "AgentState(latent, action, carry",
        "AgentState(latent, state.action, carry",
        (
            f"{AGENT}test_the_model_is_told_what_was_executed",
            f"{AGENTS}test_states_filtered_while_acting_are_those_of_training",
        ),
    ),
    Mutation(
        3,
        "heads of transitions read the state after as the one before",
        "a Q head or a reward of an action learns from the future",
        "reverie.contracts.view:View.transition",
        "[after[:, :1], after[:, :-1]]",
        "[after[:, :1], after[:, 1:]]",
        (f"{AGENTS}test_heads_see_the_transition_that_the_rows_describe",),
    ),
    Mutation(
        3,
        "imagined rewards are read one state late",
        "training and imagination disagree about what a reward belongs to",
        "reverie.assembly.imagination:_mean",
        "states[:, :-1]",
        "states[:, 1:]",
        ("tests/golden/test_imagination.py::test_reward_heads_read_the_transition_that_leads_to_the_reward",),
    ),
    Mutation(
        3,
        "the policy is judged in the state that its action led to",
        "the log-probability belongs to another state; the score function becomes noise",
        "reverie_plugins.dreamer.imagined:imagine_for_reinforce",
        "trajectory.states[:, :-1]",
        "trajectory.states[:, 1:]",
        (f"{BEHAVIOUR}test_reinforce",),
    ),
    Mutation(
        3,
        "a data set is read as if its actions had arrived",
        "imported experience is shifted by one against collected experience",
        "reverie.training.rows:episode_rows",
        "{key: value[1:] for key, value in obs.items()}",
        "{key: value[:-1] for key, value in obs.items()}",
        (f"{ALIGNED}test_episodes_of_a_data_set_are_aligned", f"{ROWS}test_an_episode_of_a_data_set_by_hand"),
    ),
]

MUTATIONS = [*RESETS, *ALIGNMENT]
