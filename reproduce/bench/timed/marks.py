"""Where in an update a trainer is, told from outside: by hooks of its network and around its methods."""

import contextlib
from collections.abc import Callable, Iterator

from reproduce.engine.trainer import Trainer


@contextlib.contextmanager
def pass_marks(trainer: Trainer, mark: Callable[[str], None]) -> Iterator[None]:
    """Inside the block `mark` is called with "begin", "forward_end" and "backward_end" of every pass."""
    handles = [
        trainer.model.register_forward_pre_hook(lambda *_: mark("begin")),
        trainer.model.register_forward_hook(lambda *_: mark("forward_end")),
    ]
    try:
        with wrapped(trainer, "accumulate", after=lambda: mark("backward_end")):  # it returns when backward does
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def wrapped(
    thing: object, method: str, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Inside the block a method of one object has something called before it and after it."""
    original = getattr(thing, method)

    def around(*arguments):
        before()
        result = original(*arguments)
        after()
        return result

    setattr(thing, method, around)
    try:
        yield
    finally:
        delattr(thing, method)
