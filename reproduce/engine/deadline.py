"""A limit on the time of a call that may hang for good, such as one to a file system or a collective library."""

import threading
from collections.abc import Callable


def within(seconds: float, function: Callable, *arguments):
    """`function(*arguments)`, in a thread that is left behind if it takes longer: then raises TimeoutError.

    For what may hang for good, such as a file system or a collective library; the process then ends by `os._exit`.
    """
    found: list = []

    def call():
        try:
            found.append((function(*arguments), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"not done after {seconds:g} s")
    value, error = found[0]
    if error is not None:
        raise error
    return value
