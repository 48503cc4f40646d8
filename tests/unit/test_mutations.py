"""The mutations of `make mutate` still fit the source that they break."""

import shutil

import pytest

from tests.mutations.catalogue import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_applies(tmp_path, mutation: Mutation):
    """Its words are there exactly once, what comes out is Python, and its tests exist."""
    for file, _, _ in mutation.edits:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    mutation.apply(tmp_path)
    for file, _, _ in mutation.edits:
        changed = (tmp_path / file).read_text()
        assert changed != (ROOT / file).read_text()
        if file.endswith(".py"):
            compile(changed, file, "exec")
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).is_file()


def test_names_are_told_apart():
    """Each has one of its own."""
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
