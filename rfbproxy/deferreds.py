"""One Deferred, waited for by several."""

from typing import TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def following(answered: Deferred[T]) -> Deferred[T]:
    """Fires as `answered` does; may be cancelled or left, while `answered` goes on for others' sake."""
    own: Deferred[T] = Deferred()

    def pass_on(outcome: T) -> T:
        if not own.called:
            own.callback(outcome)
        return outcome

    answered.addBoth(pass_on)
    return own
