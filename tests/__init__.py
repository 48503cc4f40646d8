"""The tests. However they are run, what a shell has set does not reach them: this comes before any other import."""

from tests.environment import clean

clean()
