"""The model zoo and the bundle: predict, train, spec and card in one artefact."""
