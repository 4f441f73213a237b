"""A person's own copy of a shared parameter, where rounds train one (Ditto), decides for that person."""

import numpy as np

from edge_agent.infer.bundle import load_model
from tests.coordinator.fleet import CONTEXT


def test_a_copy_of_a_shared_parameter_changes_the_score_where_its_shape_is_the_models() -> None:
    model = load_model(CONTEXT)
    rows = {given.name: np.ones((2, *given.shape[1:]), np.dtype(given.dtype)) for given in model.spec.inputs}
    plain = model.predict(rows)
    changed = []
    for part in model.spec.of_share("shared"):
        assert model.shapes[part.name] == tuple(part.shape)
        own = np.full(part.shape, 0.7, np.float32)
        changed.append(not np.array_equal(model.predict({**rows, part.name: own}), plain))
    assert any(changed)
    np.testing.assert_array_equal(model.predict(rows), plain)  # nothing stays for the next person
