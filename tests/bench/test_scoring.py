"""Four readings of one record of states."""

import numpy as np
import pytest

from jepawm_bench.scoring import score
from jepawm_envs.predicates import Predicate


class Line:
    """A world on a line; the distance is the state's absolute value."""

    main_distance = "x"
    predicates = (Predicate("line/near", 1, {"x": 1.0}, hold=2), Predicate("line/strict", 1, {"x": 0.1}, hold=2))

    def distances(self, states, goal):
        return {"x": np.abs(np.asarray(states)[..., 0] - goal[0])}


def read(*positions):
    return score(Line(), np.array(positions, dtype=float)[:, None], [0.0])


def test_passing_through_is_any_but_not_final():
    result = read(5, 3, 0.5, 3, 4).predicates["line/near@1"]
    assert (result.final, result.any, result.steps_to_success, result.hold) == (False, True, 2, False)


def test_arriving_at_the_last_step_is_final_but_not_held():
    result = read(5, 4, 3, 0.5).predicates["line/near@1"]
    assert (result.final, result.any, result.steps_to_success, result.hold) == (True, True, 3, False)


def test_staying_is_held():
    assert read(5, 0.9, 0.9).predicates["line/near@1"].hold


def test_the_start_does_not_count():
    result = read(0, 3, 3)
    assert not result.predicates["line/near@1"].any
    assert result.min_distance == 3


def test_the_limit_itself_is_outside():
    assert not read(5, 1.0).predicates["line/near@1"].final


def test_every_predicate_is_read_from_the_same_rollout():
    result = read(5, 0.5, 0.05, 0.5)
    assert result.predicates["line/near@1"].steps_to_success == 1
    assert result.predicates["line/strict@1"].steps_to_success == 2
    assert not result.predicates["line/strict@1"].final
    assert (result.final_distance, result.min_distance) == pytest.approx((0.5, 0.05))
