"""Errors a user can act on: one clear line, a non-zero exit code, no traceback."""

import errno
import functools
import io
import os
import sys

EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 75  # asked to stop (SIGTERM, SIGUSR1) and stopped after a checkpoint: the same command goes on
EXIT_LOST = 76  # another process of the run died or hangs: the same command goes on from the last checkpoint


ACCESS = "make it accessible to this user, or name another path"
SPACE = "free space or raise the limit, or name another path, then run the same command again"
BROKEN = "name another path, or have the file system repaired"
PATH = "name another path"
# What a path or a disk of the user's can cause. A file that is not there is none of these: it may be a bug of ours.
REMEDIES = {
    errno.EACCES: ACCESS, errno.EPERM: ACCESS, errno.EROFS: ACCESS, errno.ENOSPC: SPACE, errno.EDQUOT: SPACE,
    errno.EFBIG: SPACE, errno.EIO: BROKEN, errno.ESTALE: BROKEN, errno.ELOOP: PATH, errno.ENAMETOOLONG: PATH,
    errno.ENOTDIR: PATH, errno.EISDIR: PATH,
}  # fmt: skip


class UserError(Exception):
    """Bad input. The message says what, where, the rule and the remedy, in one line; `more` are lines below it."""

    exit_code = EXIT_USER_ERROR

    def __init__(self, message: str, *more: str):
        super().__init__(message, *more)
        self.lines = (message, *more)

    def __str__(self) -> str:
        return "\n  ".join(self.lines)


class ConfigError(UserError):
    """A config file or an override that breaks a rule."""


class DataError(UserError):
    """A missing, misshapen or corrupt data set or image."""


class LogError(UserError):
    """A log that cannot be written, or that is not one of ours when it has to be."""


class TrainingError(UserError):
    """A run that must not go on, such as one with a non-finite loss."""


class CheckpointError(UserError):
    """A checkpoint that cannot be written, or whose content belongs to another run."""


class NetworkError(UserError):
    """A network of hosts that cannot be made on this machine, or a job on it that does not end."""


class LostError(UserError):
    """Another process of the run died or hangs."""

    exit_code = EXIT_LOST


class Preempted(UserError):
    """The run was asked to stop, and did so after a checkpoint."""

    exit_code = EXIT_PREEMPTED


def say(error: UserError) -> None:
    """Print the one line of an error; that of a run that stopped as asked does not call itself one."""
    text = "\n  ".join(map(shown, error.lines))
    print(text if isinstance(error, Preempted) else f"error: {text}", file=sys.stderr, flush=True)


def wrote(path: object, more: str = "") -> None:
    """Print what was written."""
    print(f"wrote {shown(str(path))}{more}")


def shown(text: str) -> str:
    """Foreign text for a terminal: on one line, control characters and halves of pairs as \\xNN or \\uNNNN."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def shown_lines(text: str) -> str:
    """As `shown`, of a text of several lines."""
    return "\n".join(map(shown, text.split("\n")))


def of_system(error: OSError) -> UserError | None:
    """An error of a path or a disk as one line; None for any other, which may be a bug and keeps its traceback."""
    if error.errno == errno.ENOENT and _nowhere():
        return UserError("the current folder is gone: change to one that is there, then run the same command again")
    if error.errno not in REMEDIES:
        return None
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return UserError(f"{where}{error.strerror}: {REMEDIES[error.errno]}")


def _nowhere() -> bool:
    """Whether the current folder was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def command(main):
    """Wrap a ``main(argv=None, ...) -> int | None`` so that an error of the user's prints one line, with its exit code.

    That is a `UserError`, and an `OSError` that `of_system` knows. What stdout's encoding lacks, such as "±" in ASCII,
    is printed as \\xNN.
    """

    @functools.wraps(main)
    def wrapped(argv=None, *more, **named):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return main(argv, *more, **named) or 0
        except UserError as error:
            say(error)
            return error.exit_code
        except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
            sys.stdout = open(os.devnull, "w")  # else the interpreter complains again while it exits
            return 0
        except OSError as error:
            said = of_system(error)
            if said is None:
                raise
            say(said)
            return said.exit_code
        except KeyboardInterrupt:
            print("interrupted: run the same command again to continue", file=sys.stderr, flush=True)
            return 130

    return wrapped
