"""By how much each node's clock is off rank 0's, by round trips through the store, as NTP does it."""

import time

from reproduce.engine.preflight.board import Board

ROUNDS = 8  # of which the quickest counts: it was held up least on its way
PONG_SECONDS = 10.0


def measure(board: Board, ranks: list[int]) -> dict[int, dict]:
    """Rank 0's part: by rank, {"offset", "uncertainty"} in seconds, or {} for one that does not answer.

    The other clock was read at some moment of the round trip. Its offset is reckoned from the middle of it, so it is
    certain to half the trip (Mills, RFC 5905, section 8).
    """
    return {rank: _measure(board, rank) for rank in ranks}


def _measure(board: Board, rank: int) -> dict:
    best: dict = {}
    for number in range(ROUNDS):
        sent = time.time()
        board.tell(f"ping/{rank}/{number}", None)
        there = board.told(f"pong/{rank}/{number}", PONG_SECONDS)
        received = time.time()
        if there is None:
            for later in range(number + 1, ROUNDS):  # lets it go on, should it wake up
                board.tell(f"ping/{rank}/{later}", None)
            return {}
        half = (received - sent) / 2
        if not best or half < best["uncertainty"]:
            best = {"offset": there - (sent + half), "uncertainty": half}
    return best


def answer(board: Board, rank: int, seconds: float) -> None:
    """The part of every other rank that is measured; `seconds`: how long it waits for its turn."""
    for number in range(ROUNDS):
        board.told(f"ping/{rank}/{number}", seconds if number == 0 else PONG_SECONDS)
        board.tell(f"pong/{rank}/{number}", time.time())
